// SPDX-License-Identifier: BSD-3-Clause
/* Strings as a whole: SET, GET and their relatives. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"

#include "common/base/mem.h"
#include "common/base/num.h"

/* ---- options of SET and GETEX ---- */

enum option {
    OPT_NX = 1 << 0,
    OPT_XX = 1 << 1,
    OPT_GET = 1 << 2,
    OPT_KEEPTTL = 1 << 3,
    OPT_PERSIST = 1 << 4,
    OPT_EX = 1 << 5,
    OPT_PX = 1 << 6,
    OPT_EXAT = 1 << 7,
    OPT_PXAT = 1 << 8,
};
#define OPT_EXPIRES (OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT)

struct options {
    unsigned set;
    size_t expire_arg; /* of EX, PX, EXAT, PXAT */
};

struct option_row {
    const char *name;
    enum option option;
    unsigned excludes; /* what may not have come before */
    bool of_set;
    bool of_getex;
};

static const struct option_row option_rows[] = {
    {"NX", OPT_NX, OPT_XX, true, false},
    {"XX", OPT_XX, OPT_NX, true, false},
    {"GET", OPT_GET, 0, true, false},
    {"KEEPTTL", OPT_KEEPTTL, OPT_PERSIST | OPT_EXPIRES, true, false},
    {"PERSIST", OPT_PERSIST, OPT_EXPIRES | OPT_KEEPTTL, false, true},
    {"EX", OPT_EX, OPT_KEEPTTL | OPT_PERSIST | (OPT_EXPIRES & ~OPT_EX), true, true},
    {"PX", OPT_PX, OPT_KEEPTTL | OPT_PERSIST | (OPT_EXPIRES & ~OPT_PX), true, true},
    {"EXAT", OPT_EXAT, OPT_KEEPTTL | OPT_PERSIST | (OPT_EXPIRES & ~OPT_EXAT), true, true},
    {"PXAT", OPT_PXAT, OPT_KEEPTTL | OPT_PERSIST | (OPT_EXPIRES & ~OPT_PXAT), true, true},
};

static bool parse_options(struct call *c, size_t i, bool of_set, struct options *out)
{
    *out = (struct options){0};
    for (; i < c->argc; i++) {
        const struct option_row *row = option_rows;
        const struct option_row *end = option_rows + ARRAY_LEN(option_rows);
        while (row < end && !((of_set ? row->of_set : row->of_getex) && arg_is(c, i, row->name))) {
            row++;
        }
        if (row == end || (out->set & row->excludes) != 0) {
            return arg_syntax_error(c);
        }
        out->set |= row->option;
        if ((row->option & OPT_EXPIRES) != 0) {
            if (++i == c->argc) {
                return arg_syntax_error(c);
            }
            out->expire_arg = i;
        }
    }
    return true;
}

static bool parse_expire(struct call *c, const struct options *o, int64_t *at_ms)
{
    return arg_expire(c, o->expire_arg, (o->set & (OPT_EX | OPT_EXAT)) != 0 ? UNIT_S : UNIT_MS,
                      (o->set & (OPT_EX | OPT_PX)) != 0, at_ms);
}

/* ---- GET and its relatives ---- */

/* False: of another type. */
static bool reply_value(struct call *c, const struct object *o)
{
    if (o == NULL) {
        resp_nil(&c->w);
        return true;
    }
    if (!check_string(c, o)) {
        return false;
    }
    reply_string(c, o);
    return true;
}

void cmd_get(struct call *c)
{
    struct probe p = call_probe(c, 1);
    reply_value(c, db_read(&c->db, &p, c->argv[1]));
}

void cmd_mget(struct call *c)
{
    struct probes w = {.step = 1};
    resp_array(&c->w, c->argc - 1);
    for (size_t i = 1; i < c->argc; i++) {
        const struct object *o = db_read(&c->db, probes_at(c, &w, i), c->argv[i]);
        if (o == NULL || o->type != OBJECT_STRING) {
            resp_nil(&c->w);
        } else {
            reply_string(c, o);
        }
    }
}

void cmd_getdel(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (reply_value(c, o) && o != NULL) {
        db_remove(&c->db, &p, o, c->ks->settings.lazy_user_del);
        record_say_del(c, &p, c->argv[1], c->ks->settings.lazy_user_del);
        notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
        c->changes++;
    }
}

void cmd_getex(struct call *c)
{
    struct options opt;
    if (!parse_options(c, 2, false, &opt)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_nil(&c->w);
        return;
    }
    int64_t at = OBJECT_NO_EXPIRE;
    if (!check_string(c, o) || (opt.expire_arg != 0 && !parse_expire(c, &opt, &at))) {
        return;
    }
    reply_string(c, o);
    if (opt.expire_arg != 0 && at <= c->now_ms) {
        db_remove(&c->db, &p, o, c->ks->settings.lazy_expire);
        record_say_del(c, &p, c->argv[1], c->ks->settings.lazy_expire);
        notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
    } else if (opt.expire_arg != 0) {
        db_set_expire(&c->db, &p, o, at);
        record_say_expire(c, &p, c->argv[1], at);
        notify(&c->db, NOTIFY_GENERIC, "expire", c->argv[1]);
    } else if ((opt.set & OPT_PERSIST) != 0 && object_expire(o) != OBJECT_NO_EXPIRE) {
        db_set_expire(&c->db, &p, o, at);
        record_say(c, &p, (struct slice[]){SLICE("PERSIST"), c->argv[1]}, 2);
        notify(&c->db, NOTIFY_GENERIC, "persist", c->argv[1]);
    } else {
        return;
    }
    c->changes++;
}

/* ---- SET and its relatives ---- */

static inline void store(struct call *c, const struct probe *p, size_t key, struct object *old,
                         size_t value, int64_t at_ms)
{
    db_set_string(&c->db, p, c->argv[key], old, c->argv[value], at_ms);
    notify(&c->db, NOTIFY_STRING, "set", c->argv[key]);
    c->changes++;
}

/* The log has the time that a key keeps; a follower keeps its own. It must not answer GET. */
static void say_set(struct call *c, const struct probe *p, unsigned options, int64_t at)
{
    enum { FEW = 16 };
    struct slice few[FEW];
    if ((options & OPT_EXPIRES) != 0 || !record_followed(c)) {
        record_say_set(c, p, c->argv[1], c->argv[2], at);
        return;
    }
    struct slice *words = c->argc > FEW ? mem_alloc(c->argc * sizeof(*words)) : few;
    size_t n = 0;
    for (size_t i = 0; i < c->argc; i++) {
        if (i < 3 || !arg_is(c, i, "GET")) {
            words[n++] = c->argv[i];
        }
    }
    record_say_feed(c, words, n);
    if (words != few) {
        mem_free(words);
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice time = slice_of(digits, num_print_i64(digits, at));
    record_say_log(c, p,
                   (struct slice[]){SLICE("SET"), c->argv[1], c->argv[2], SLICE("PXAT"), time},
                   at == OBJECT_NO_EXPIRE ? 3 : 5);
}

static void set_with_options(struct call *c)
{
    struct options opt;
    int64_t at = OBJECT_NO_EXPIRE;
    if (!parse_options(c, 3, true, &opt) || (opt.expire_arg != 0 && !parse_expire(c, &opt, &at))) {
        return;
    }
    struct probe p = call_probe(c, 1);
    bool get = (opt.set & OPT_GET) != 0;
    struct object *old = get ? db_read(&c->db, &p, c->argv[1]) : db_find(&c->db, &p, c->argv[1]);
    if (get && !reply_value(c, old)) {
        return;
    }
    if (((opt.set & OPT_NX) != 0 && old != NULL) || ((opt.set & OPT_XX) != 0 && old == NULL)) {
        if (!get) {
            resp_nil(&c->w);
        }
        return;
    }
    if ((opt.set & OPT_KEEPTTL) != 0 && old != NULL) {
        at = object_expire(old);
    }
    store(c, &p, 1, old, 2, at);
    say_set(c, &p, opt.set, at);
    if (opt.expire_arg != 0) {
        notify(&c->db, NOTIFY_GENERIC, "expire", c->argv[1]);
    }
    if (!get) {
        resp_ok(&c->w);
    }
}

void cmd_set(struct call *c)
{
    if (UNLIKELY(c->argc > 3)) {
        set_with_options(c);
        return;
    }
    struct probe p = call_probe(c, 1);
    store(c, &p, 1, db_peek(&c->db, &p, c->argv[1]), 2, OBJECT_NO_EXPIRE);
    resp_ok(&c->w);
}

static void set_expiring(struct call *c, enum time_unit unit)
{
    int64_t at;
    if (!arg_expire(c, 2, unit, true, &at)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    store(c, &p, 1, db_peek(&c->db, &p, c->argv[1]), 3, at);
    record_say_set(c, &p, c->argv[1], c->argv[3], at);
    notify(&c->db, NOTIFY_GENERIC, "expire", c->argv[1]);
    resp_ok(&c->w);
}

void cmd_setex(struct call *c)
{
    set_expiring(c, UNIT_S);
}

void cmd_psetex(struct call *c)
{
    set_expiring(c, UNIT_MS);
}

void cmd_setnx(struct call *c)
{
    struct probe p = call_probe(c, 1);
    bool is_new = db_find(&c->db, &p, c->argv[1]) == NULL;
    if (is_new) {
        store(c, &p, 1, NULL, 2, OBJECT_NO_EXPIRE);
    }
    resp_int(&c->w, is_new);
}

void cmd_getset(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *old = db_read(&c->db, &p, c->argv[1]);
    if (reply_value(c, old)) {
        store(c, &p, 1, old, 2, OBJECT_NO_EXPIRE);
        record_say_set(c, &p, c->argv[1], c->argv[2], OBJECT_NO_EXPIRE);
    }
}

static bool check_pairs(struct call *c)
{
    if (c->argc % 2 == 1) {
        return true;
    }
    resp_errorf(&c->w, ERR_WRONG_ARGS, c->cmd->full_name);
    return false;
}

static void set_pairs(struct call *c)
{
    struct probes w = {.step = 2};
    for (size_t i = 1; i < c->argc; i += 2) {
        const struct probe *p = probes_at(c, &w, i);
        store(c, p, i, db_peek(&c->db, p, c->argv[i]), i + 1, OBJECT_NO_EXPIRE);
    }
}

void cmd_mset(struct call *c)
{
    if (check_pairs(c)) {
        set_pairs(c);
        resp_ok(&c->w);
    }
}

void cmd_msetnx(struct call *c)
{
    if (!check_pairs(c)) {
        return;
    }
    for (size_t i = 1; i < c->argc; i += 2) {
        struct probe p = call_probe(c, i);
        if (db_find(&c->db, &p, c->argv[i]) != NULL) {
            resp_int(&c->w, 0);
            return;
        }
    }
    set_pairs(c);
    resp_int(&c->w, 1);
}
