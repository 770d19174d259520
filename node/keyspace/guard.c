// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/guard.h"

void guard_set(struct keyspace *ks, struct guard *g, int shard)
{
    struct shard *s = ks->shards[shard];
    INVARIANT(s != NULL);
    g->shard = shard;
    list_append(&s->guards, &g->link);
    ks->guards_n++;
}

void guard_clear(struct keyspace *ks, struct guard *g)
{
    if (g->shard < 0) {
        return;
    }
    INVARIANT(ks->shards[g->shard] != NULL);
    list_remove(&g->link);
    g->shard = -1;
    ks->guards_n--;
}

void guards_tell(const struct db *db, const struct probe *p, struct slice key)
{
    struct shard *s = db->ks->shards[p->shard];
    if (list_empty(&s->guards)) {
        return;
    }
    struct object *o = db_raw(db, p, key);
    s->guard_hash = p->hash;
    LIST_FOREACH_SAFE(it, &s->guards) {
        struct guard *g = container_of(it, struct guard, link);
        g->key(g->arg, db->index, p, key, o);
    }
}

void guards_flush(struct keyspace *ks, int shard, int db)
{
    LIST_FOREACH_SAFE(it, &ks->shards[shard]->guards) {
        struct guard *g = container_of(it, struct guard, link);
        g->flush(g->arg, db);
    }
}

void guards_swap(struct keyspace *ks, int shard, int db_a, int db_b)
{
    LIST_FOREACH_SAFE(it, &ks->shards[shard]->guards) {
        struct guard *g = container_of(it, struct guard, link);
        g->swap(g->arg, db_a, db_b);
    }
}

void guards_dropped(struct keyspace *ks, int shard)
{
    LIST_FOREACH_SAFE(it, &ks->shards[shard]->guards) {
        struct guard *g = container_of(it, struct guard, link);
        guard_clear(ks, g);
        g->dropped(g->arg);
    }
}
