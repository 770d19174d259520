// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/options.h"
#include "common/app/options_priv.h"
#include "common/base/mem.h"
#include "common/base/words.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_WIDTH 78

/* Whether the words would be read back as they are. */
static bool needs_quotes(struct slice v)
{
    bool blank = true; /* the byte before */
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\'' || (c == ' ' && blank)) {
            return true;
        }
        blank = c == ' ';
    }
    return v.len == 0 || blank;
}

static void append_line(struct str *to, const struct option *o, struct slice value)
{
    str_appendz(to, o->name);
    str_append_char(to, ' ');
    if (needs_quotes(value)) {
        str_append_quoted(to, value);
    } else {
        str_append_slice(to, value);
    }
    str_append_char(to, '\n');
}

/* All lines of an option; a string that may be repeated has one for each of its parts. */
static void append_option(struct str *to, const struct option *o, struct slice value)
{
    if ((o->flags & OPT_REPEAT) == 0 || o->type != OPT_STR || value.len == 0) {
        append_line(to, o, value);
        return;
    }
    struct slice line;
    while (options_next_line(&value, &line)) {
        append_line(to, o, line);
    }
}

/* --- rewriting --- */

struct rewriter {
    const struct options_table *table;
    struct str *now;     /* per row: its value in memory */
    struct str *in_file; /* per row: as the file gives it, repeated ones together */
    bool *found;
    bool *written;
    struct str out;
};

static void rewriter_init(struct rewriter *r, const struct options_table *t, const void *values)
{
    *r = (struct rewriter){.table = t};
    r->now = mem_zalloc((t->count + 1) * sizeof(*r->now));
    r->in_file = mem_zalloc((t->count + 1) * sizeof(*r->in_file));
    r->found = mem_zalloc((t->count + 1) * sizeof(*r->found));
    r->written = mem_zalloc((t->count + 1) * sizeof(*r->written));
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].alias_of == NULL) {
            options_print(t, values, &t->rows[i], &r->now[i]);
        }
    }
}

static void rewriter_fini(struct rewriter *r)
{
    for (size_t i = 0; i < r->table->count; i++) {
        str_fini(&r->now[i]);
        str_fini(&r->in_file[i]);
    }
    mem_free(r->now);
    mem_free(r->in_file);
    mem_free(r->found);
    mem_free(r->written);
    str_fini(&r->out);
}

/* The option that a line sets, its words in `w`; NULL: a comment, an include, something unknown. */
static const struct option *option_of_line(const struct rewriter *r, struct slice line,
                                           struct words *w)
{
    if (line.len == 0 || line.ptr[0] == '#' || !words_split(w, line) || w->argc < 1) {
        return NULL;
    }
    return options_find(r->table, w->argv[0]);
}

static void note_file_values(struct rewriter *r, struct slice text)
{
    struct words w = {0};
    struct slice line;
    while (options_next_line(&text, &line)) {
        const struct option *o = option_of_line(r, line, &w);
        if (o == NULL) {
            continue;
        }
        size_t row = (size_t)(o - r->table->rows);
        struct str value = {0};
        words_join(&w, 1, &value);
        if (r->found[row] && (o->flags & OPT_REPEAT) != 0) {
            options_join(o, &r->in_file[row], str_slice(&value));
        } else {
            str_clear(&r->in_file[row]);
            str_append_slice(&r->in_file[row], str_slice(&value));
        }
        r->found[row] = true;
        str_fini(&value);
    }
    words_fini(&w);
}

/* Whether the text given in the file (or the default) means the value that is in memory. */
static bool means_now(const struct rewriter *r, const struct option *o, struct slice text)
{
    size_t row = (size_t)(o - r->table->rows);
    void *values = mem_zalloc(r->table->size);
    struct str printed = {0};
    struct errmsg err;
    bool same = false;
    options_init(r->table, values);
    if (options_set(r->table, values, o, text, &err)) {
        options_print(r->table, values, o, &printed);
        same = slice_eq(str_slice(&printed), str_slice(&r->now[row]));
    }
    str_fini(&printed);
    options_fini(r->table, values);
    mem_free(values);
    return same;
}

static void rewrite_lines(struct rewriter *r, struct slice text)
{
    struct words w = {0};
    struct slice line;
    for (;;) {
        const char *start = text.ptr;
        if (!options_next_line(&text, &line)) {
            break;
        }
        const struct option *o = option_of_line(r, line, &w);
        size_t row = o == NULL ? 0 : (size_t)(o - r->table->rows);
        if (o == NULL || means_now(r, o, str_slice(&r->in_file[row]))) {
            str_append(&r->out, start, (size_t)(text.ptr - start));
            if (r->out.ptr[r->out.len - 1] != '\n') {
                str_append_char(&r->out, '\n');
            }
        } else if (!r->written[row]) {
            append_option(&r->out, o, str_slice(&r->now[row]));
        }
        if (o != NULL) {
            r->written[row] = true;
        }
    }
    words_fini(&w);
}

static void append_missing(struct rewriter *r)
{
    static const char heading[] = "\n# Generated by CONFIG REWRITE\n";
    bool headed = strstr(str_cstr(&r->out), heading + 1) != NULL;
    for (size_t i = 0; i < r->table->count; i++) {
        const struct option *o = &r->table->rows[i];
        if (o->alias_of != NULL || r->written[i] || means_now(r, o, slice_str(o->fallback))) {
            continue;
        }
        if (!headed) {
            str_appendz(&r->out, heading);
            headed = true;
        }
        append_option(&r->out, o, str_slice(&r->now[i]));
    }
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            bytes = slice_of(bytes.ptr + n, bytes.len - (size_t)n);
        }
    }
    return true;
}

static void sync_directory_of(const char *path)
{
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    mem_free(copy);
}

bool options_replace_file(const char *path, struct slice bytes, struct errmsg *err)
{
    struct str aside = {0};
    struct stat st;
    bool ok = false;
    str_printf(&aside, "%s.XXXXXX", path);
    int fd = mkostemp(aside.ptr, O_CLOEXEC);
    if (fd < 0) {
        errmsg_set(err, "%s: %s", str_cstr(&aside), strerror(errno));
        goto out;
    }
    ok = write_all(fd, bytes) &&
         fchmod(fd, stat(path, &st) == 0 ? st.st_mode & 07777 : 0644) == 0 && fsync(fd) == 0 &&
         rename(aside.ptr, path) == 0;
    if (!ok) {
        errmsg_set(err, "%s: %s", path, strerror(errno));
        (void)unlink(aside.ptr);
    }
    close(fd);
    sync_directory_of(path);
out:
    str_fini(&aside);
    return ok;
}

bool options_rewrite(const struct options_table *t, const void *values, const char *path,
                     struct errmsg *err)
{
    struct rewriter r;
    struct str text = {0};
    bool ok = access(path, F_OK) != 0 || options_read_file(path, &text, err);
    if (!ok) {
        str_fini(&text);
        return false;
    }
    rewriter_init(&r, t, values);
    note_file_values(&r, str_slice(&text));
    rewrite_lines(&r, str_slice(&text));
    append_missing(&r);
    ok = options_replace_file(path, str_slice(&r.out), err);
    rewriter_fini(&r);
    str_fini(&text);
    return ok;
}

/* --- the texts made from the table --- */

/* Words of `text`, broken into lines that begin with `lead`. */
static void append_wrapped(struct str *to, const char *lead, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (column > 0 && column + 1 + word > TEXT_WIDTH) {
            str_append_char(to, '\n');
            column = 0;
        }
        if (column == 0) {
            str_appendz(to, lead);
            column = strlen(lead);
        } else {
            str_append_char(to, ' ');
            column++;
        }
        str_append(to, text, word);
        column += word;
        text += word + strspn(text + word, " ");
    }
    str_append_char(to, '\n');
}

static bool is_shown(const struct option *o)
{
    return o->alias_of == NULL && (o->flags & OPT_HIDDEN) == 0;
}

static void append_section(struct str *to, const char **now, const struct option *o,
                           const char *format)
{
    if (o->section != NULL && (*now == NULL || strcmp(*now, o->section) != 0)) {
        str_printf(to, "%s", to->len > 0 ? "\n" : "");
        str_appendz(to, format);
        str_appendz(to, o->section);
        str_append_char(to, '\n');
        *now = o->section;
    }
}

static void append_names(struct str *to, const struct option *o)
{
    struct str names = {0};
    str_appendz(&names, "One of:");
    for (size_t i = 0; o->names[i] != NULL; i++) {
        str_printf(&names, "%s %s", i > 0 ? "," : "", o->names[i]);
    }
    append_wrapped(to, "# ", str_cstr(&names));
    str_fini(&names);
}

void options_conf_text(const struct options_table *t, struct str *to)
{
    const char *section = NULL;
    str_printf(to,
               "# %s: every directive at its default. Remove the '#' before one to change it.\n"
               "# Each may also be given on the command line: --directive value\n",
               t->program);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        if (!is_shown(o)) {
            continue;
        }
        append_section(to, &section, o, "# === ");
        str_append_char(to, '\n');
        append_wrapped(to, "# ", o->text);
        if (o->type == OPT_ENUM) {
            append_names(to, o);
        }
        if ((o->flags & OPT_FIXED) != 0) {
            append_wrapped(to, "# ", "Cannot be changed by CONFIG SET.");
        }
        str_append_char(to, '#');
        append_line(to, o, slice_str(o->fallback));
    }
}

static const char *kind_text(const struct option *o)
{
    switch (o->type) {
    case OPT_INT:
        return "<number>";
    case OPT_BOOL:
        return "yes|no";
    case OPT_MEMORY:
        return "<bytes>";
    case OPT_MS:
        return (o->flags & OPT_SECONDS) != 0 ? "<seconds>" : "<ms>";
    case OPT_ENUM:
        return "<word>";
    case OPT_STR:
    case OPT_CUSTOM:
        break;
    }
    return "<text>";
}

void options_help_text(const struct options_table *t, struct str *to)
{
    const char *section = NULL;
    str_printf(to,
               "Usage: %s [FILE | -] [--directive value ...]\n"
               "       %s --check-conf [FILE | -] [--directive value ...]   says what is wrong\n"
               "       %s --print-conf   a file with every directive at its default, explained\n"
               "       %s --help | --version\n\n",
               t->program, t->program, t->program, t->program);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        if (!is_shown(o)) {
            continue;
        }
        append_section(to, &section, o, "");
        str_printf(to, "  --%s %s  (default: %s)\n", o->name, kind_text(o),
                   o->fallback[0] == '\0' ? "\"\"" : o->fallback);
        append_wrapped(to, "      ", o->text);
    }
}
