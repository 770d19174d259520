// SPDX-License-Identifier: BSD-3-Clause
/* Whole databases: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, SELECT. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/scan_args.h"

/* Keys found, with what they must be like. Expired ones are gathered apart. */
struct matches {
    struct scan_args args;
    int64_t now_ms;
    struct scan_found found;
    struct scan_found over;
};

static void consider(void *arg, struct object *o)
{
    struct matches *m = arg;
    if (UNLIKELY(object_expired(o, m->now_ms))) {
        scan_found_add(&m->over, o);
    } else if ((m->args.type == SCAN_TYPE_ANY || m->args.type == (int)o->type) &&
               scan_matches(&m->args, object_key(o))) {
        scan_found_add(&m->found, o);
    }
}

/* Writes the keys, and removes those that are over (if this node may). */
static void matches_reply(struct matches *m, struct call *c)
{
    for (size_t i = 0; i < m->found.n; i++) {
        resp_bulk(&c->w, object_key(m->found.of[i]));
    }
    for (size_t i = 0; i < m->over.n; i++) {
        struct slice key = object_key(m->over.of[i]);
        struct probe p = keyspace_probe_key(c->ks, key);
        db_peek(&c->db, &p, key);
    }
    scan_found_fini(&m->found);
    scan_found_fini(&m->over);
}

void cmd_keys(struct call *c)
{
    struct matches m = {.args = {.pattern = c->argv[1], .type = SCAN_TYPE_ANY},
                        .now_ms = c->now_ms};
    m.args.any = slice_eq(m.args.pattern, SLICE("*"));
    keyspace_each_in(c->ks, c->db.index, c->shard, consider, &m);
    resp_array(&c->w, m.found.n);
    matches_reply(&m, c);
}

void cmd_scan(struct call *c)
{
    uint64_t cursor;
    uint64_t next;
    struct matches m = {.now_ms = c->now_ms};
    if (!scan_cursor(c, 1, &cursor) || !scan_options(c, 2, true, &m.args)) {
        return;
    }
    if (!keyspace_scan(c->ks, c->db.index, cursor, m.args.count, &next, consider, &m)) {
        next = 0; /* not one of ours: nothing comes behind it */
    }
    scan_reply(c, next, m.found.n);
    matches_reply(&m, c);
}

void cmd_randomkey(struct call *c)
{
    for (int tries = 0;; tries++) {
        struct object *o = keyspace_random(c->ks, c->db.index, c->rng);
        if (o == NULL) {
            resp_nil(&c->w);
            return;
        }
        /* On a replica expired keys stay: after some tries one of them is as good as none. */
        if (!object_expired(o, c->now_ms) || (tries > 100 && !c->ks->settings.expires_keys)) {
            resp_bulk(&c->w, object_key(o));
            return;
        }
        struct slice key = object_key(o);
        struct probe p = keyspace_probe_key(c->ks, key);
        db_peek(&c->db, &p, key);
    }
}

void cmd_dbsize(struct call *c)
{
    resp_int(&c->w, (int64_t)keyspace_keys_in(c->ks, c->db.index, c->shard));
}

/* ---- emptying ---- */

static void flush(struct call *c, int db)
{
    bool lazily = c->ks->settings.lazy_user_flush;
    if (c->argc == 2 && (arg_is(c, 1, "ASYNC") || arg_is(c, 1, "SYNC"))) {
        lazily = arg_is(c, 1, "ASYNC");
    } else if (c->argc > 1) {
        arg_syntax_error(c);
        return;
    }
    c->changes += keyspace_flush(c->ks, db, c->shard, lazily, c->now_ms);
    resp_ok(&c->w);
}

void cmd_flushall(struct call *c)
{
    flush(c, -1);
}

void cmd_flushdb(struct call *c)
{
    flush(c, c->db.index);
}

/* ---- numbers of databases ---- */

void cmd_swapdb(struct call *c)
{
    int64_t a;
    int64_t b;
    if (!arg_int_or(c, 1, &a, "ERR invalid first DB index") ||
        !arg_int_or(c, 2, &b, "ERR invalid second DB index")) {
        return;
    }
    if (a < 0 || a >= c->ks->n_dbs || b < 0 || b >= c->ks->n_dbs) {
        resp_error(&c->w, ERR_DB_INDEX);
        return;
    }
    keyspace_swap(c->ks, (int)a, (int)b, c->shard, c->now_ms);
    c->changes++;
    resp_ok(&c->w);
}

void cmd_select(struct call *c)
{
    int index;
    if (!arg_small(c, 1, &index)) {
        return;
    }
    if (index < 0 || index >= c->ks->n_dbs) {
        resp_error(&c->w, ERR_DB_INDEX);
        return;
    }
    c->session->db = index;
    resp_ok(&c->w);
}
