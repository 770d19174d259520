// SPDX-License-Identifier: BSD-3-Clause
/* Whole databases: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, SELECT. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"

#include "common/base/glob.h"
#include "common/base/mem.h"
#include "common/base/num.h"

/* Keys found, with what they must be like. Expired ones are gathered apart. */
struct matches {
    struct slice pattern;
    bool any;
    int type; /* -1: any; -2: none */
    int64_t now_ms;
    struct object **found;
    size_t n;
    size_t cap;
    struct object **over;
    size_t over_n;
    size_t over_cap;
};

static void push(struct object ***list, size_t *n, size_t *cap, struct object *o)
{
    if (*n == *cap) {
        *cap = MAX(*cap * 2, 64);
        *list = mem_realloc(*list, *cap * sizeof(**list));
    }
    (*list)[(*n)++] = o;
}

static void consider(void *arg, struct object *o)
{
    struct matches *m = arg;
    if (UNLIKELY(object_expired(o, m->now_ms))) {
        push(&m->over, &m->over_n, &m->over_cap, o);
    } else if ((m->any || glob_match(m->pattern, object_key(o), false)) &&
               (m->type == -1 || m->type == (int)o->type)) {
        push(&m->found, &m->n, &m->cap, o);
    }
}

static void matches_init(struct matches *m, const struct call *c, struct slice pattern)
{
    *m = (struct matches){.pattern = pattern, .type = -1, .now_ms = c->now_ms};
    m->any = slice_eq(pattern, SLICE("*"));
}

/* Writes the keys, and removes those that are over (if this node may). */
static void matches_reply(struct matches *m, struct call *c)
{
    resp_array(&c->w, m->n);
    for (size_t i = 0; i < m->n; i++) {
        resp_bulk(&c->w, object_key(m->found[i]));
    }
    for (size_t i = 0; i < m->over_n; i++) {
        struct slice key = object_key(m->over[i]);
        struct probe p = keyspace_probe_key(c->ks, key);
        db_peek(&c->db, &p, key);
    }
    mem_free(m->found);
    mem_free(m->over);
}

void cmd_keys(struct call *c)
{
    struct matches m;
    matches_init(&m, c, c->argv[1]);
    keyspace_each(c->ks, c->db.index, consider, &m);
    matches_reply(&m, c);
}

/* What strtoul takes, as Redis does: an empty text is 0, and a negative number is a cursor too, one
 * with nothing behind it. */
static bool parse_cursor(struct call *c, uint64_t *out)
{
    struct slice text = c->argv[1];
    bool negative = text.len > 1 && text.ptr[0] == '-';
    if (negative || (text.len > 1 && text.ptr[0] == '+')) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    while (text.len > 1 && text.ptr[0] == '0') {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    *out = 0;
    if (text.len > 0 && !num_parse_u64(text, out)) {
        resp_error(&c->w, "ERR invalid cursor");
        return false;
    }
    *out = negative && *out != 0 ? UINT64_MAX : *out;
    return true;
}

static bool parse_scan(struct call *c, struct matches *m, uint64_t *count)
{
    for (size_t i = 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            return arg_syntax_error(c);
        }
        if (arg_is(c, i, "COUNT")) {
            int64_t n;
            if (!arg_int(c, i + 1, &n)) {
                return false;
            }
            if (n < 1) {
                return arg_syntax_error(c);
            }
            *count = (uint64_t)n;
        } else if (arg_is(c, i, "MATCH")) {
            m->pattern = c->argv[i + 1];
            m->any = slice_eq(m->pattern, SLICE("*"));
        } else if (arg_is(c, i, "TYPE")) {
            m->type = object_type_from_name(c->argv[i + 1]);
            m->type = m->type < 0 ? -2 : m->type;
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

void cmd_scan(struct call *c)
{
    uint64_t cursor;
    uint64_t next;
    uint64_t count = 10;
    struct matches m;
    matches_init(&m, c, SLICE("*"));
    if (!parse_cursor(c, &cursor) || !parse_scan(c, &m, &count)) {
        return;
    }
    if (!keyspace_scan(c->ks, c->db.index, cursor, count, &next, consider, &m)) {
        next = 0; /* not one of ours: nothing comes behind it */
    }
    char digits[NUM_I64_MAX_LEN];
    resp_array(&c->w, 2);
    resp_bulk(&c->w, slice_of(digits, num_print_u64(digits, next)));
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
    resp_int(&c->w, (int64_t)keyspace_keys(c->ks, c->db.index));
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
