// SPDX-License-Identifier: BSD-3-Clause
/* DUMP and RESTORE. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/clock.h"
#include "node/keyspace/notify.h"
#include "node/types/rdb.h"

#include "common/base/num.h"

void cmd_dump(struct call *c)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_nil(&c->w);
        return;
    }
    struct str payload = {0};
    rdb_write_payload(&payload, o, true);
    resp_bulk(&c->w, str_slice(&payload));
    str_fini(&payload);
}

struct restoring {
    bool replace;
    bool absolute;
    int64_t idle_s;    /* -1: not told */
    int64_t frequency; /* -1: not told */
    int64_t at_ms;     /* OBJECT_NO_EXPIRE: none */
};

static bool parse_options(struct call *c, struct restoring *r)
{
    for (size_t i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (arg_is(c, i, "REPLACE")) {
            r->replace = true;
        } else if (arg_is(c, i, "ABSTTL")) {
            r->absolute = true;
        } else if (arg_is(c, i, "IDLETIME") && more && r->frequency == -1) {
            if (!arg_int(c, ++i, &r->idle_s)) {
                return false;
            }
            if (r->idle_s < 0) {
                resp_error(&c->w, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (arg_is(c, i, "FREQ") && more && r->idle_s == -1) {
            if (!arg_int(c, ++i, &r->frequency)) {
                return false;
            }
            if (r->frequency < 0 || r->frequency > 255) {
                resp_error(&c->w, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

static bool parse_ttl(struct call *c, struct restoring *r)
{
    int64_t ttl;
    if (!arg_int(c, 2, &ttl)) {
        return false;
    }
    if (ttl < 0 || (ttl > 0 && !r->absolute && __builtin_add_overflow(ttl, c->now_ms, &r->at_ms))) {
        resp_error(&c->w, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    if (ttl == 0) {
        r->at_ms = OBJECT_NO_EXPIRE;
    } else if (r->absolute) {
        r->at_ms = ttl;
    }
    return true;
}

/* NULL: the error is written. */
static struct object *read_payload(struct call *c, const struct restoring *r)
{
    struct slice in = c->argv[3];
    if (!rdb_check_payload(&in)) {
        resp_error(&c->w, "ERR DUMP payload version or checksum are wrong");
        return NULL;
    }
    unsigned type;
    struct str scratch = {0};
    struct object *o = NULL;
    if (rdb_read_byte(&in, &type)) {
        o = rdb_read_value(&in, type, c->argv[1], r->at_ms, &scratch);
    }
    str_fini(&scratch);
    if (o != NULL && in.len > 0) {
        object_free(&o);
    }
    if (o == NULL) {
        resp_error(&c->w, "ERR Bad data format");
    }
    return o;
}

/* The same with the time absolute. The access clock is no part of the data. */
static void say_restored_feed(struct call *c, const struct restoring *r)
{
    enum { WORDS_MAX = 16 };
    struct slice words[WORDS_MAX];
    char digits[NUM_I64_MAX_LEN];
    if (r->absolute || r->at_ms == OBJECT_NO_EXPIRE || c->argc >= WORDS_MAX) {
        return; /* its own words do; so many are no use */
    }
    memcpy(words, c->argv, c->argc * sizeof(*words));
    words[2] = slice_of(digits, num_print_i64(digits, r->at_ms));
    words[c->argc] = SLICE("ABSTTL");
    record_say_feed(c, words, c->argc + 1);
}

static void say_restored(struct call *c, const struct probe *p, const struct restoring *r)
{
    if (record_followed(c)) {
        say_restored_feed(c, r);
    }
    if (r->absolute && r->replace) {
        return; /* its own words do */
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice words[8] = {SLICE("RESTORE"), c->argv[1],       {.ptr = digits},
                             c->argv[3],       SLICE("REPLACE"), SLICE("ABSTTL")};
    words[2].len = num_print_i64(digits, r->at_ms == OBJECT_NO_EXPIRE ? 0 : r->at_ms);
    record_say_log(c, p, words, 6);
}

void cmd_restore(struct call *c)
{
    struct restoring r = {.idle_s = -1, .frequency = -1};
    if (!parse_options(c, &r)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *old = db_find(&c->db, &p, c->argv[1]);
    if (old != NULL && !r.replace) {
        resp_error(&c->w, "BUSYKEY Target key name already exists.");
        return;
    }
    struct object *o = parse_ttl(c, &r) ? read_payload(c, &r) : NULL;
    if (o == NULL) {
        return;
    }
    if (old != NULL) {
        db_remove(&c->db, &p, old, c->ks->settings.lazy_server_del);
        c->changes++;
    }
    if (r.at_ms != OBJECT_NO_EXPIRE && r.at_ms <= c->now_ms && !c->db.applying &&
        db_may_expire(&c->db, &p)) {
        object_free(&o); /* over before it begins */
        if (old != NULL) {
            record_say_del(c, &p, c->argv[1], c->ks->settings.lazy_server_del);
            notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
        }
        resp_ok(&c->w);
        return;
    }
    db_add(&c->db, &p, o);
    if (r.frequency >= 0) {
        clock_set_frequency(c->ks, o, c->now_ms, (unsigned)r.frequency);
    } else if (r.idle_s >= 0) {
        clock_set_idle(c->ks, o, c->now_ms, r.idle_s);
    }
    say_restored(c, &p, &r);
    notify(&c->db, NOTIFY_GENERIC, "restore", c->argv[1]);
    c->changes = 1;
    resp_ok(&c->w);
}
