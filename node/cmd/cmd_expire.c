// SPDX-License-Identifier: BSD-3-Clause
/* Times to live: the EXPIRE and TTL families, PERSIST. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"

#include "common/base/num.h"

enum condition {
    IF_NONE = 1 << 0,    /* NX */
    IF_ANY = 1 << 1,     /* XX */
    IF_GREATER = 1 << 2, /* GT */
    IF_LESS = 1 << 3,    /* LT */
};

static bool parse_conditions(struct call *c, unsigned *out)
{
    *out = 0;
    for (size_t i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "NX")) {
            *out |= IF_NONE;
        } else if (arg_is(c, i, "XX")) {
            *out |= IF_ANY;
        } else if (arg_is(c, i, "GT")) {
            *out |= IF_GREATER;
        } else if (arg_is(c, i, "LT")) {
            *out |= IF_LESS;
        } else {
            resp_errorf(&c->w, "ERR Unsupported option %.*s", (int)MIN(c->argv[i].len, 128U),
                        c->argv[i].ptr);
            return false;
        }
    }
    if ((*out & IF_NONE) != 0 && *out != IF_NONE) {
        resp_error(&c->w, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*out & IF_GREATER) != 0 && (*out & IF_LESS) != 0) {
        resp_error(&c->w, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* No expiry counts as one that never comes. */
static bool conditions_hold(unsigned conditions, int64_t now_at, int64_t new_at)
{
    bool none = now_at == OBJECT_NO_EXPIRE;
    return !((conditions & IF_NONE) != 0 && !none) && !((conditions & IF_ANY) != 0 && none) &&
           !((conditions & IF_GREATER) != 0 && (none || new_at <= now_at)) &&
           !((conditions & IF_LESS) != 0 && !none && new_at >= now_at);
}

/* Those who follow get the conditions, too. */
static void say_expiry(struct call *c, const struct probe *p, int64_t at)
{
    enum { WORDS_MAX = 16 };
    struct slice words[WORDS_MAX];
    char digits[NUM_I64_MAX_LEN];
    if (!record_wanted(c)) {
        return;
    }
    words[0] = SLICE("PEXPIREAT");
    words[1] = c->argv[1];
    words[2] = slice_of(digits, num_print_i64(digits, at));
    record_say_log(c, p, words, 3);
    size_t n = c->argc > WORDS_MAX ? 3 : c->argc;
    memcpy(words + 3, c->argv + 3, (n - 3) * sizeof(*words));
    record_say_feed(c, words, n);
}

static void set_expiry(struct call *c, enum time_unit unit, bool relative)
{
    unsigned conditions;
    int64_t at;
    if (!parse_conditions(c, &conditions) || !arg_int(c, 2, &at)) {
        return;
    }
    /* Zero and less are fine here: the key goes at once. */
    if ((unit == UNIT_S && __builtin_mul_overflow(at, 1000, &at)) ||
        (relative && __builtin_add_overflow(at, c->now_ms, &at))) {
        arg_expire_error(c);
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (o == NULL || !conditions_hold(conditions, object_expire(o), at)) {
        resp_int(&c->w, 0);
        return;
    }
    if (at <= c->now_ms) {
        db_remove(&c->db, &p, o, c->ks->settings.lazy_expire);
        record_say_del(c, &p, c->argv[1], c->ks->settings.lazy_expire);
        notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
    } else {
        db_set_expire(&c->db, &p, o, at);
        say_expiry(c, &p, at);
        notify(&c->db, NOTIFY_GENERIC, "expire", c->argv[1]);
    }
    c->changes++;
    resp_int(&c->w, 1);
}

void cmd_expire(struct call *c)
{
    set_expiry(c, UNIT_S, true);
}

void cmd_pexpire(struct call *c)
{
    set_expiry(c, UNIT_MS, true);
}

void cmd_expireat(struct call *c)
{
    set_expiry(c, UNIT_S, false);
}

void cmd_pexpireat(struct call *c)
{
    set_expiry(c, UNIT_MS, false);
}

void cmd_persist(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    bool had = o != NULL && object_expire(o) != OBJECT_NO_EXPIRE;
    if (had) {
        db_set_expire(&c->db, &p, o, OBJECT_NO_EXPIRE);
        notify(&c->db, NOTIFY_GENERIC, "persist", c->argv[1]);
        c->changes++;
    }
    resp_int(&c->w, had);
}

static void reply_expiry(struct call *c, enum time_unit unit, bool relative)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_look(&c->db, &p, c->argv[1]);
    int64_t at = o == NULL ? OBJECT_NO_EXPIRE : object_expire(o);
    if (o == NULL) {
        resp_int(&c->w, -2);
    } else if (at == OBJECT_NO_EXPIRE) {
        resp_int(&c->w, -1);
    } else {
        at = relative ? MAX(at - c->now_ms, 0) : at;
        resp_int(&c->w, unit == UNIT_MS ? at : at / 1000 + (at % 1000 >= 500));
    }
}

void cmd_ttl(struct call *c)
{
    reply_expiry(c, UNIT_S, true);
}

void cmd_pttl(struct call *c)
{
    reply_expiry(c, UNIT_MS, true);
}

void cmd_expiretime(struct call *c)
{
    reply_expiry(c, UNIT_S, false);
}

void cmd_pexpiretime(struct call *c)
{
    reply_expiry(c, UNIT_MS, false);
}
