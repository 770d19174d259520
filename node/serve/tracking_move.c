// SPDX-License-Identifier: BSD-3-Clause
/* What was read by a proxy's lanes outlives the primary that it was read at (docs/PUBSUB.md,
 * "Tracking"): the proxy is told what is remembered, and asks the next primary to go on with it. */
#include "node/cmd/tracked.h"
#include "node/repl/repl.h"
#include "node/serve/client.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"
#include "node/serve/tracking_priv.h"

#include "common/base/mem.h"
#include "common/base/num.h"

/* The entry up to which all changes were told, or are about to be. */
static void write_position(const struct server *s, uint32_t shard, struct resp_writer *w)
{
    const struct history *h = s->repl == NULL ? NULL : replicate_history(s, (int)shard);
    resp_int(w, h == NULL ? 0 : (int64_t)history_term(h));
    resp_int(w, h == NULL ? 0 : (int64_t)h->version);
}

void tracking_tell_remembered(struct server *s, struct client *c, uint32_t shard, struct slice key)
{
    struct resp_writer w = {.out = client_push(c), .proto = 3};
    resp_push(&w, 5);
    resp_bulkz(&w, "track");
    resp_int(&w, shard);
    write_position(s, shard, &w);
    resp_bulk(&w, key);
    client_pushed(c);
}

static void tell_position(struct server *s, struct client *c, uint32_t shard, const char *what)
{
    struct resp_writer w = {.out = client_push(c), .proto = 3};
    resp_push(&w, 4);
    resp_bulkz(&w, what);
    resp_int(&w, shard);
    write_position(s, shard, &w);
    client_pushed(c);
}

void tracking_tell_gone(struct server *s, struct client *c, uint32_t shard)
{
    tell_position(s, c, shard, "untrack");
}

void tracking_tell_told(struct server *s, struct client *c, uint32_t shard)
{
    tell_position(s, c, shard, "told");
}

/* --- broadcasts --- */

void tracking_tell_begin(struct server *s, struct client *c)
{
    for (int i = 0; s->repl != NULL && i < s->ks->n_shards; i++) {
        if (keyspace_serves(s->ks, i)) {
            tracking_tell_told(s, c, (uint32_t)i);
        }
    }
}

void tracking_touch(struct server *s, uint32_t shard)
{
    struct trackers *t = s->trackers;
    if (t->n_shards < s->ks->n_shards) {
        t->touched_turn =
            mem_realloc(t->touched_turn, (size_t)s->ks->n_shards * sizeof(*t->touched_turn));
        memset(&t->touched_turn[t->n_shards], 0,
               (size_t)(s->ks->n_shards - t->n_shards) * sizeof(*t->touched_turn));
        t->n_shards = s->ks->n_shards;
    }
    if (t->touched_turn[shard] == t->turn) {
        return;
    }
    t->touched_turn[shard] = t->turn;
    if (t->n_touched == t->cap_touched) {
        t->cap_touched = MAX(t->cap_touched * 2, 16);
        t->touched = mem_realloc(t->touched, t->cap_touched * sizeof(*t->touched));
    }
    t->touched[t->n_touched++] = shard;
}

static void tell_positions_to(struct server *s, struct client *c)
{
    const struct trackers *t = s->trackers;
    for (size_t i = 0; i < t->n_touched; i++) {
        if (keyspace_serves(s->ks, (int)t->touched[i])) {
            tracking_tell_told(s, c, t->touched[i]);
        }
    }
}

void tracking_tell_positions(struct server *s)
{
    struct trackers *t = s->trackers;
    if (t->told) {
        LIST_FOREACH(it, &s->clients) {
            struct client *c = container_of(it, struct client, link);
            if (c->tracking != NULL && c->tracking->told) {
                c->tracking->told = false;
                if ((c->flags & CLIENT_LANE) != 0 && (c->flags & CLIENT_CLOSING) == 0) {
                    tell_positions_to(s, c);
                }
            }
        }
    }
    t->told = false;
    t->n_touched = 0;
    t->turn++;
}

/* --- keys that were read --- */

struct question {
    int64_t shard;
    uint64_t term, version;
    const struct slice *keys;
    size_t n;
};

static bool read_question(const struct server *s, const struct client *c, struct call *k,
                          struct question *q)
{
    if (c->tracking == NULL || (c->tracking->flags & CLIENT_TRACKING_BCAST) != 0 ||
        (c->flags & CLIENT_LANE) == 0 || s->repl == NULL) {
        resp_error(&k->w, "ERR SHOAL TRACK is for lanes that track");
        return false;
    }
    if (k->argc < 6 || !num_parse_i64(k->argv[2], &q->shard) || q->shard < 0 ||
        q->shard >= s->ks->n_shards || !num_parse_u64(k->argv[3], &q->term) ||
        !num_parse_u64(k->argv[4], &q->version)) {
        resp_error(&k->w, "ERR SHOAL TRACK takes shard, term, version and keys");
        return false;
    }
    q->keys = k->argv + 5;
    q->n = k->argc - 5;
    return true;
}

/* Nothing behind that entry, of which our history is the continuation, has changed the key. */
static bool is_unchanged(const struct server *s, const struct question *q, struct slice key)
{
    struct probe p = keyspace_probe_key(s->ks, key);
    return (int64_t)p.shard == q->shard &&
           replicate_touched(s, (int)q->shard, p.hash) <= q->version;
}

void tracking_take_over(struct client *c, struct call *k)
{
    struct server *s = c->server;
    struct question q;
    if (!read_question(s, c, k, &q)) {
        return;
    }
    if (!replicate_serves(s, (int)q.shard)) {
        resp_errorf(&k->w, "TRYAGAIN Shard %lld is not served here at this moment",
                    (long long)q.shard);
        return;
    }
    bool continues = history_has(replicate_history(s, (int)q.shard), q.term, q.version);
    bool *changed = mem_alloc(q.n * sizeof(*changed));
    size_t n = 0;
    for (size_t i = 0; i < q.n; i++) {
        changed[i] = !continues || !is_unchanged(s, &q, q.keys[i]);
        n += changed[i];
        if (!changed[i]) {
            (void)tracked_add(s->trackers->keys, q.keys[i], (uint32_t)q.shard, c->id);
        }
    }
    resp_array(&k->w, 3);
    write_position(s, (uint32_t)q.shard, &k->w);
    resp_array(&k->w, n);
    for (size_t i = 0; i < q.n; i++) {
        if (changed[i]) {
            resp_bulk(&k->w, q.keys[i]);
        }
    }
    mem_free(changed);
}
