// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/options.h"
#include "common/app/options_priv.h"
#include "common/app/redis_directives.h"
#include "common/base/mem.h"
#include "common/base/words.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define INCLUDE_DEPTH 8

/* One load: a text, or a file with what it includes, or a command line with its file. */
struct loader {
    const struct options_table *table;
    void *values;
    options_extra_fn extra;
    void *arg;
    struct errmsg *err;
    struct str *repeated; /* per row: what an OPT_REPEAT option was given so far */
    bool *was_given;
    struct str *ignored; /* names of directives without effect; NULL: nobody asks */
    bool with_files;     /* "include" is known */
    int depth;
};

static void loader_init(struct loader *l, const struct options_table *t, void *values,
                        options_extra_fn extra, void *arg, struct errmsg *err)
{
    *l = (struct loader){.table = t, .values = values, .extra = extra, .arg = arg, .err = err};
    l->repeated = mem_zalloc((t->count + 1) * sizeof(*l->repeated));
    l->was_given = mem_zalloc((t->count + 1) * sizeof(*l->was_given));
}

static void loader_fini(struct loader *l)
{
    for (size_t i = 0; i < l->table->count; i++) {
        str_fini(&l->repeated[i]);
    }
    mem_free(l->repeated);
    mem_free(l->was_given);
}

void options_join(const struct option *o, struct str *so_far, struct slice value)
{
    str_append_char(so_far, o->type == OPT_STR ? '\n' : ' ');
    str_append_slice(so_far, value);
}

static bool set_repeated(struct loader *l, const struct option *o, struct slice value)
{
    size_t row = (size_t)(o - l->table->rows);
    struct str *all = &l->repeated[row];
    if (l->was_given[row]) {
        options_join(o, all, value);
    } else {
        str_append_slice(all, value);
        l->was_given[row] = true;
    }
    return options_set(l->table, l->values, o, str_slice(all), l->err);
}

static bool load_foreign(struct loader *l, struct slice name, struct slice value)
{
    switch (redis_directive_check(name, value, l->err)) {
    case DIRECTIVE_DONE:
        return true;
    case DIRECTIVE_IGNORED:
        if (l->ignored != NULL) {
            str_append_char(l->ignored, ' ');
            str_append_slice(l->ignored, name);
        }
        return true;
    case DIRECTIVE_REFUSED:
        return false;
    case DIRECTIVE_UNKNOWN:
        break;
    }
    struct str copy = {0};
    str_append_slice(&copy, name);
    bool ok = l->extra != NULL;
    if (ok) {
        ok = l->extra(l->arg, str_cstr(&copy), value, l->err);
    } else {
        errmsg_set(l->err, "unknown directive");
    }
    str_fini(&copy);
    return ok;
}

/* A directive's words: its name, then its value. */
static bool load_words(struct loader *l, const struct words *w)
{
    const struct option *o = options_find(l->table, w->argv[0]);
    bool many = o == NULL || o->type == OPT_STR || o->type == OPT_CUSTOM;
    bool may_be_bare = o != NULL && o->type == OPT_CUSTOM; /* `save` alone: none */
    if (o != NULL && ((w->argc < 2 && !may_be_bare) || (w->argc > 2 && !many))) {
        errmsg_set(l->err, "wrong number of arguments");
        return false;
    }
    struct str value = {0};
    bool ok;
    words_join(w, 1, &value);
    if (o == NULL) {
        ok = load_foreign(l, w->argv[0], str_slice(&value));
    } else if ((o->flags & OPT_REPEAT) != 0) {
        ok = set_repeated(l, o, str_slice(&value));
    } else {
        ok = options_set(l->table, l->values, o, str_slice(&value), l->err);
    }
    str_fini(&value);
    return ok;
}

static void wrap_directive(struct errmsg *err, struct slice name)
{
    errmsg_wrap(err, "directive '%.*s'", (int)MIN(name.len, (size_t)64), name.ptr);
}

bool options_next_line(struct slice *text, struct slice *line)
{
    static const char blanks[] = " \t\r";
    if (text->len == 0) {
        return false;
    }
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->ptr);
    *line = slice_of(text->ptr, len);
    size_t used = end == NULL ? len : len + 1;
    *text = slice_of(text->ptr + used, text->len - used);
    while (line->len > 0 && memchr(blanks, line->ptr[0], 3) != NULL) {
        *line = slice_of(line->ptr + 1, line->len - 1);
    }
    while (line->len > 0 && memchr(blanks, line->ptr[line->len - 1], 3) != NULL) {
        line->len--;
    }
    return true;
}

static bool load_include(struct loader *l, const struct words *w);

static bool load_lines(struct loader *l, struct slice text, const char *name)
{
    struct words w = {0};
    struct slice line;
    bool ok = true;
    for (int number = 1; ok && options_next_line(&text, &line); number++) {
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        if (!words_split(&w, line)) {
            errmsg_set(l->err, "unbalanced quotes");
            ok = false;
        } else if (w.argc == 0) {
            continue;
        } else if (l->with_files && slice_is(w.argv[0], "include")) {
            ok = load_include(l, &w);
        } else if (!load_words(l, &w)) {
            wrap_directive(l->err, w.argv[0]);
            ok = false;
        }
        if (!ok) {
            errmsg_wrap(l->err, "%s:%d", name, number);
        }
    }
    words_fini(&w);
    return ok;
}

bool options_read_file(const char *path, struct str *to, struct errmsg *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "re");
    if (f == NULL) {
        errmsg_set(err, "can't open config file '%s': %s", path, strerror(errno));
        return false;
    }
    size_t n;
    do {
        char *room = str_reserve(to, 64 * 1024);
        n = fread(room, 1, 64 * 1024, f);
        room[n] = '\0';
        to->len += n;
    } while (n > 0 && to->len <= OPTIONS_FILE_MAX);
    bool ok = true;
    if (ferror(f)) {
        errmsg_set(err, "can't read config file '%s': %s", path, strerror(errno));
        ok = false;
    } else if (to->len > OPTIONS_FILE_MAX) {
        errmsg_set(err, "config file '%s' is longer than 16 MiB", path);
        ok = false;
    }
    if (!standard) {
        (void)fclose(f);
    }
    return ok;
}

static bool load_file(struct loader *l, const char *path)
{
    struct str text = {0};
    if (l->depth >= INCLUDE_DEPTH) {
        errmsg_set(l->err, "config files include one another too deeply");
        return false;
    }
    l->depth++;
    bool ok = options_read_file(path, &text, l->err) &&
              load_lines(l, str_slice(&text), strcmp(path, "-") == 0 ? "stdin" : path);
    l->depth--;
    str_fini(&text);
    return ok;
}

/* A pattern that matches nothing includes nothing (a conf.d may be empty); a plain name must be
 * there. */
static bool load_include(struct loader *l, const struct words *w)
{
    struct str pattern = {0};
    words_join(w, 1, &pattern);
    glob_t found;
    bool ok = true;
    int rc = glob(str_cstr(&pattern), 0, NULL, &found);
    if (rc == 0) {
        for (size_t i = 0; ok && i < found.gl_pathc; i++) {
            ok = load_file(l, found.gl_pathv[i]);
        }
        globfree(&found);
    } else if (rc != GLOB_NOMATCH || strpbrk(str_cstr(&pattern), "*?[") == NULL) {
        ok = load_file(l, str_cstr(&pattern)); /* its error says why not */
    }
    str_fini(&pattern);
    return ok;
}

bool options_load_text(const struct options_table *t, void *values, struct slice text,
                       const char *name, options_extra_fn extra, void *arg, struct errmsg *err)
{
    struct loader l;
    loader_init(&l, t, values, extra, arg, err);
    bool ok = load_lines(&l, text, name);
    loader_fini(&l);
    return ok;
}

bool options_load_file(const struct options_table *t, void *values, const char *path,
                       options_extra_fn extra, void *arg, struct errmsg *err)
{
    struct loader l;
    loader_init(&l, t, values, extra, arg, err);
    l.with_files = true;
    bool ok = load_file(&l, path);
    loader_fini(&l);
    return ok;
}

/* argv[from..] up to the next --name. */
static bool load_argument(struct loader *l, char **argv, int from, int to)
{
    struct words w = {.argc = (size_t)(to - from)};
    w.argv = mem_alloc(w.argc * sizeof(*w.argv));
    for (int i = from; i < to; i++) {
        w.argv[i - from] = slice_str(argv[i]);
    }
    w.argv[0] = slice_str(argv[from] + 2);
    bool ok = load_words(l, &w);
    if (!ok) {
        errmsg_wrap(l->err, "command line: directive '%.64s'", argv[from] + 2);
    }
    words_fini(&w);
    return ok;
}

static bool starts_option(const char *word)
{
    return strncmp(word, "--", 2) == 0 && word[2] != '\0';
}

static bool load_arguments(struct loader *l, int argc, char **argv, int first)
{
    /* Given again on the command line, an OPT_REPEAT option replaces what the file says. */
    memset(l->was_given, 0, l->table->count * sizeof(*l->was_given));
    for (size_t i = 0; i < l->table->count; i++) {
        str_clear(&l->repeated[i]);
    }
    for (int i = first; i < argc;) {
        int end = i + 1;
        if (!starts_option(argv[i])) {
            errmsg_set(l->err, "command line: '%.64s' is not an option: they begin with --",
                       argv[i]);
            return false;
        }
        while (end < argc && !starts_option(argv[end])) {
            end++;
        }
        if (!load_argument(l, argv, i, end)) {
            return false;
        }
        i = end;
    }
    return true;
}

bool options_load(const struct options_table *t, void *values, int argc, char **argv,
                  options_extra_fn extra, void *arg, char **conf_path, struct str *ignored,
                  struct errmsg *err)
{
    struct loader l;
    int first = 1;
    bool ok = true;
    *conf_path = NULL;
    loader_init(&l, t, values, extra, arg, err);
    l.with_files = true;
    l.ignored = ignored;
    if (argc > 1 && !starts_option(argv[1])) {
        first = 2;
        ok = load_file(&l, argv[1]);
        if (ok && strcmp(argv[1], "-") != 0) {
            char whole[PATH_MAX];
            *conf_path = mem_strdup(realpath(argv[1], whole) != NULL ? whole : argv[1]);
        }
    }
    ok = ok && load_arguments(&l, argc, argv, first);
    if (!ok) {
        mem_free(*conf_path);
        *conf_path = NULL;
    }
    loader_fini(&l);
    return ok;
}
