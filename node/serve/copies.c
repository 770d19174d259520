// SPDX-License-Identifier: BSD-3-Clause
/* Of the replication of a node: full copies of shards, out of and into the keyspace. While one runs
 * from here a guard tells the core of each change before it is made. */
#include "node/keyspace/copy.h"
#include "node/keyspace/guard.h"
#include "node/serve/replicate_priv.h"

#include "common/base/mem.h"

struct copying {
    struct guard guard;
    struct server *server;
    uint64_t bytes; /* given since it began */
    uint64_t keys;
};

static void before_key(void *arg, int db, const struct probe *p, struct slice key, struct object *o)
{
    const struct copying *c = arg;
    struct repl *core = c->server->repl->core;
    (void)o;
    repl_before_write(core, (int)p->shard, db, p->hash, key);
}

/* Emptying is an entry like any other, and the keys that were not given yet are gone there too. */
static void before_flush(void *arg, int db)
{
    (void)arg;
    (void)db;
}

static void before_swap(void *arg, int db_a, int db_b)
{
    const struct copying *c = arg;
    struct replication *r = c->server->repl;
    (void)db_a;
    (void)db_b;
    repl_copies_restart(r->core, r->now_us);
}

static void dropped(void *arg)
{
    struct copying *c = arg;
    c->server->repl->running_copies--;
}

void copies_init(struct server *s)
{
    struct replication *r = s->repl;
    int n = s->ks->n_shards;
    r->copies = mem_zalloc((size_t)n * sizeof(*r->copies));
    for (int i = 0; i < n; i++) {
        r->copies[i].server = s;
        r->copies[i].guard = (struct guard){.shard = -1,
                                            .key = before_key,
                                            .flush = before_flush,
                                            .swap = before_swap,
                                            .dropped = dropped,
                                            .arg = &r->copies[i]};
    }
}

static void unguard(struct server *s)
{
    struct replication *r = s->repl;
    for (int i = 0; i < s->ks->n_shards; i++) {
        if (r->copies[i].guard.shard >= 0) {
            guard_clear(s->ks, &r->copies[i].guard);
        }
    }
    r->running_copies = 0;
}

void copies_fini(struct server *s)
{
    unguard(s);
    mem_free(s->repl->copies);
}

void copies_settle(struct server *s)
{
    if (UNLIKELY(s->repl->running_copies > 0) && !repl_copying(s->repl->core)) {
        unguard(s);
    }
}

void copies_progress(const struct server *s, int shard, uint64_t *done, uint64_t *left)
{
    const struct copying *c = &s->repl->copies[shard];
    uint64_t keys = keyspace_shard_keys(s->ks, shard);
    *done = c->bytes;
    *left = c->keys == 0 ? keyspace_shard_memory(s->ks, shard)
                         : (keys > c->keys ? keys - c->keys : 0) * (c->bytes / c->keys);
}

void copies_scan(void *arg, int shard, struct repl_place from, size_t budget,
                 struct repl_copied *out)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    struct copying *c = &r->copies[shard];
    if (c->guard.shard < 0) {
        guard_set(s->ks, &c->guard, shard);
        r->running_copies++;
    }
    if (from.db == 0 && from.hash == 0) {
        c->bytes = 0;
        c->keys = 0;
    }
    struct walk_place at = {.db = from.db, .hash = from.hash};
    r->copied.len = 0;
    bool more = copy_scan(s->ks, shard, &at, budget, &r->copied, &out->keys);
    out->next = (struct repl_place){.db = at.db, .hash = at.hash};
    out->end = !more;
    out->bytes = str_slice(&r->copied);
    c->bytes += r->copied.len;
    c->keys += out->keys;
}

struct slice copies_key(void *arg, int shard, struct repl_place at, struct slice key)
{
    struct server *s = arg;
    struct str *to = &s->repl->copied;
    to->len = 0;
    copy_key(s->ks, shard, at.db, at.hash, key, to);
    return str_slice(to);
}

bool copies_put(void *arg, int shard, struct slice keys)
{
    struct server *s = arg;
    uint64_t n;
    return copy_put(s->ks, shard, keys, loop_wall_ms(s->loop), &n);
}
