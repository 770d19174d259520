// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/config_command.h"

#include "common/app/help.h"
#include "common/app/redis_directives.h"
#include "common/base/glob.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

/* --- GET --- */

static bool is_pattern(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (strchr("*?[\\", s.ptr[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool row_matches(const struct option *o, const struct slice *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool hidden = (o->flags & OPT_HIDDEN) != 0;
        if (is_pattern(patterns[i]) ? !hidden && glob_match(patterns[i], slice_str(o->name), true)
                                    : slice_is(patterns[i], o->name)) {
            return true;
        }
    }
    return false;
}

static bool name_matches(const char *name, const struct slice *patterns, size_t count)
{
    const struct option o = {.name = name};
    return row_matches(&o, patterns, count);
}

/* Redis's directives that are no options of ours, where only one value is possible. */
struct foreign {
    const struct options_table *table;
    const struct slice *patterns;
    size_t count;
    struct resp_writer *w; /* NULL: they are counted */
    size_t n;
};

static void get_foreign(void *arg, const char *name, const char *value)
{
    struct foreign *f = arg;
    if (options_find(f->table, slice_str(name)) != NULL ||
        !name_matches(name, f->patterns, f->count)) {
        return;
    }
    f->n++;
    if (f->w != NULL) {
        resp_bulkz(f->w, name);
        resp_bulkz(f->w, value);
    }
}

static void get(const struct config_context *c, const struct slice *patterns, size_t count,
                struct resp_writer *w)
{
    const struct options_table *t = c->table;
    struct foreign foreign = {.table = t, .patterns = patterns, .count = count};
    if (c->foreign) {
        redis_directives_each(get_foreign, &foreign);
    }
    bool *shown = mem_zalloc(t->count + 1);
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        shown[i] = row_matches(&t->rows[i], patterns, count);
        n += shown[i];
    }
    resp_map(w, n + foreign.n);
    struct str value = {0};
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        if (!shown[i]) {
            continue;
        }
        resp_bulkz(w, o->name);
        str_clear(&value);
        options_print(t, c->values, options_find(t, slice_str(o->name)), &value);
        resp_bulk(w, str_slice(&value));
    }
    foreign.w = w;
    if (c->foreign) {
        redis_directives_each(get_foreign, &foreign);
    }
    str_fini(&value);
    mem_free(shown);
}

/* --- SET --- */

/* One SET under way: its options, and what they were. */
struct change {
    const struct option *option; /* NULL: a directive of Redis's, which is so or has no effect */
    struct slice value;
    struct str before;
    bool differs;
};

struct setting {
    const struct config_context *c;
    struct change *changes;
    size_t count;
    const struct option *culprit; /* whose value could not be set or applied */
    struct errmsg err;
};

/* What is fixed may be "set" to what it is: tools send back all that CONFIG GET gave them. */
static bool is_now(const struct config_context *c, const struct option *o, struct slice value)
{
    struct str now = {0};
    options_print(c->table, c->values, o, &now);
    bool same = slice_eq(str_slice(&now), value);
    str_fini(&now);
    return same;
}

static const char *why_not(const struct config_context *c, const struct setting *s, size_t upto,
                           const struct option *o, struct slice value)
{
    if ((o->flags & OPT_FIXED) != 0 && !is_now(c, o, value)) {
        return "can't set immutable config";
    }
    if ((o->flags & OPT_PROTECTED) != 0 && !c->allow_protected) {
        return "can't set protected config";
    }
    for (size_t i = 0; i < upto; i++) {
        if (s->changes[i].option == o) {
            return "duplicate parameter";
        }
    }
    return NULL;
}

/* One that is no option of ours. False: the error is written. */
static bool look_up_foreign(const struct config_context *c, struct slice name, struct slice value,
                            struct resp_writer *w)
{
    struct errmsg err;
    enum redis_directive found =
        c->foreign ? redis_directive_check(name, value, &err) : DIRECTIVE_UNKNOWN;
    if (found == DIRECTIVE_UNKNOWN) {
        resp_errorf(w, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                    (int)MIN(name.len, (size_t)128), name.ptr);
    } else if (found == DIRECTIVE_REFUSED) {
        resp_errorf(w, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                    (int)MIN(name.len, (size_t)128), name.ptr, err.text);
    } else {
        return true;
    }
    return false;
}

/* False: the error is written. */
static bool look_up(struct setting *s, const struct slice *pairs, struct resp_writer *w)
{
    for (size_t i = 0; i < s->count; i++) {
        struct slice name = pairs[2 * i];
        const struct option *o = options_find(s->c->table, name);
        if (o == NULL) {
            if (!look_up_foreign(s->c, name, pairs[2 * i + 1], w)) {
                return false;
            }
            continue;
        }
        const char *reason = why_not(s->c, s, i, o, pairs[2 * i + 1]);
        if (reason != NULL) {
            resp_errorf(w, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                        (int)MIN(name.len, (size_t)128), name.ptr, reason);
            return false;
        }
        s->changes[i].option = o;
        s->changes[i].value = pairs[2 * i + 1];
        options_print(s->c->table, s->c->values, o, &s->changes[i].before);
    }
    return true;
}

/* What was just printed reads back, so this cannot fail. */
static void put_back(struct setting *s, size_t upto)
{
    for (size_t i = 0; i < upto; i++) {
        struct errmsg ignored;
        INVARIANT(s->changes[i].option == NULL ||
                  options_set(s->c->table, s->c->values, s->changes[i].option,
                              str_slice(&s->changes[i].before), &ignored));
    }
}

static bool set_all(struct setting *s)
{
    const struct config_context *c = s->c;
    struct str after = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < s->count; i++) {
        struct change *ch = &s->changes[i];
        if (ch->option == NULL) {
            continue;
        }
        ok = options_set(c->table, c->values, ch->option, ch->value, &s->err);
        if (!ok) {
            s->culprit = ch->option;
            put_back(s, i);
            break;
        }
        str_clear(&after);
        options_print(c->table, c->values, ch->option, &after);
        ch->differs = !slice_eq(str_slice(&after), str_slice(&ch->before));
    }
    str_fini(&after);
    return ok;
}

static bool apply_all(struct setting *s)
{
    const struct config_context *c = s->c;
    for (size_t i = 0; c->on_change != NULL && i < s->count; i++) {
        struct change *ch = &s->changes[i];
        if (!ch->differs || c->on_change(c->arg, ch->option, &s->err)) {
            continue;
        }
        s->culprit = ch->option;
        put_back(s, s->count);
        for (size_t j = 0; j <= i; j++) {
            struct errmsg again;
            if (s->changes[j].differs && !c->on_change(c->arg, s->changes[j].option, &again)) {
                log_event(LOG_WARNING, "config", "cannot go back name=%s reason=%s",
                          s->changes[j].option->name, again.text);
            }
        }
        return false;
    }
    return true;
}

static void set(const struct config_context *c, const struct slice *pairs, size_t words,
                struct resp_writer *w)
{
    if (words % 2 != 0) {
        resp_error(w, ERR_SYNTAX);
        return;
    }
    struct setting s = {.c = c, .count = words / 2};
    s.changes = mem_zalloc(s.count * sizeof(*s.changes));
    if (look_up(&s, pairs, w)) {
        if (set_all(&s) && apply_all(&s)) {
            resp_ok(w);
        } else {
            resp_errorf(w, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                        s.culprit->name, s.err.text);
        }
    }
    for (size_t i = 0; i < s.count; i++) {
        str_fini(&s.changes[i].before);
    }
    mem_free(s.changes);
}

bool config_is_secret(const struct options_table *t, const struct slice *argv, size_t argc,
                      size_t i)
{
    if (i < 3 || i >= argc || i % 2 == 0 || !slice_is(argv[1], "set")) {
        return false;
    }
    const struct option *o = options_find(t, argv[i - 1]);
    return o == NULL ? redis_directive_is_secret(argv[i - 1]) : (o->flags & OPT_SECRET) != 0;
}

/* --- the others --- */

static void rewrite(const struct config_context *c, struct resp_writer *w)
{
    struct errmsg err;
    if (c->path == NULL) {
        resp_error(w, "ERR The server is running without a config file");
    } else if (!options_rewrite(c->table, c->values, c->path, &err)) {
        log_event(LOG_WARNING, "config", "rewrite failed reason=%s", err.text);
        resp_errorf(w, "ERR Rewriting config file: %s", err.text);
    } else {
        log_event(LOG_NOTICE, "config", "rewritten path=%s", c->path);
        resp_ok(w);
    }
}

static void help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Directives whose names match, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Changes directives, all of them or none.",
        "RESETSTAT",
        "    Starts the counters of INFO anew.",
        "REWRITE",
        "    Writes the values in use into the configuration file.",
        NULL,
    };
    command_help_reply(w, "CONFIG", lines);
}

void config_command(const struct config_context *c, const struct slice *argv, size_t argc,
                    struct resp_writer *w)
{
    static const struct {
        const char *name;
        size_t least, most;
    } subs[] = {{"get", 3, SIZE_MAX},
                {"set", 4, SIZE_MAX},
                {"resetstat", 2, 2},
                {"rewrite", 2, 2},
                {"help", 2, 2}};
    size_t sub = 0;
    if (argc < 2) {
        resp_errorf(w, ERR_WRONG_ARGS, "config");
        return;
    }
    while (sub < ARRAY_LEN(subs) && !slice_is(argv[1], subs[sub].name)) {
        sub++;
    }
    if (sub == ARRAY_LEN(subs)) {
        help_unknown(w, "CONFIG", argv[1]);
        return;
    }
    if (argc < subs[sub].least || argc > subs[sub].most) {
        resp_errorf(w, "ERR wrong number of arguments for 'config|%s' command", subs[sub].name);
        return;
    }
    switch (sub) {
    case 0:
        get(c, argv + 2, argc - 2, w);
        break;
    case 1:
        set(c, argv + 2, argc - 2, w);
        break;
    case 2:
        if (c->reset_stats != NULL) {
            c->reset_stats(c->arg);
        }
        resp_ok(w);
        break;
    case 3:
        rewrite(c, w);
        break;
    default:
        help(w);
        break;
    }
}
