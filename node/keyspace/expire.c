// SPDX-License-Identifier: BSD-3-Clause
/* The active expiry cycle. A segment of a table knows a time before which nothing in it expires, so
 * the cycle only looks into those that have something to remove, and costs next to nothing when
 * nothing is due: no sampling, no guessing. */
#include "node/keyspace/effect.h"
#include "node/keyspace/guard.h"
#include "node/keyspace/lazyfree.h"
#include "node/keyspace/table.h"

#include "common/base/mem.h"

enum { SHARDS_A_LOOK = 16 }; /* passing so many idle shards costs as much as looking at a key */

struct due {
    struct object **objects;
    size_t count;
    size_t cap;
};

static void collect(void *arg, struct object *o)
{
    struct due *due = arg;
    if (due->count == due->cap) {
        due->cap = MAX(due->cap * 2, 128);
        due->objects = mem_realloc(due->objects, due->cap * sizeof(*due->objects));
    }
    due->objects[due->count++] = o;
}

/* One entry of the log for all of them. */
static void remove_due(const struct db *db, struct table *t, uint32_t shard, struct due *due)
{
    if (due->count == 0) {
        return;
    }
    effect_open(db->ks, db->now_ms);
    for (size_t i = 0; i < due->count; i++) {
        struct object *o = due->objects[i];
        struct slice key = object_key(o);
        struct probe p = keyspace_probe_key(db->ks, key);
        INVARIANT(p.shard == shard);
        guard_key(db, &p, key);
        table_take(t, p.hash, o);
        keyspace_expired(db, &p, key);
        lazyfree_object(db->ks, o, db->ks->settings.lazy_expire);
    }
    effect_close(db->ks, NULL);
    due->count = 0;
}

/* Looks on from the cursor in one table. True: it came to its end. */
static bool expire_in(const struct db *db, struct table *t, uint32_t shard, uint64_t budget,
                      uint64_t *looked, struct due *due)
{
    uint64_t cursor = db->ks->expire_at.cursor;
    while (cursor < TABLE_SCAN_END && *looked < budget) {
        cursor = table_scan_expired(t, cursor, db->now_ms, looked, collect, due);
        remove_due(db, t, shard, due);
    }
    db->ks->expire_at.cursor = cursor < TABLE_SCAN_END ? cursor : 0;
    return cursor == TABLE_SCAN_END;
}

/* To the next shard, or the next database's first. */
static void advance(struct keyspace *ks)
{
    if (ks->dbs[ks->expire_at.db].tables == NULL || ++ks->expire_at.shard == ks->n_shards) {
        ks->expire_at.shard = 0;
        ks->expire_at.db = (ks->expire_at.db + 1) % ks->n_dbs;
    }
}

uint64_t keyspace_expire_cycle(struct keyspace *ks, int64_t now_ms, uint64_t budget)
{
    if (!ks->settings.active_expire || !ks->settings.expires_keys) {
        return 0;
    }
    struct due due = {0};
    uint64_t looked = 0;
    uint64_t passed = 0;
    uint64_t all = 0; /* one round is enough */
    for (int db = 0; db < ks->n_dbs; db++) {
        all += ks->dbs[db].tables == NULL ? 1 : (uint64_t)ks->n_shards;
    }
    for (; looked + passed / SHARDS_A_LOOK < budget && passed <= all; passed++) {
        struct db db = {.ks = ks, .index = ks->expire_at.db, .now_ms = now_ms};
        int shard = ks->expire_at.shard;
        struct table **tables = ks->dbs[db.index].tables;
        struct table *t = tables == NULL ? NULL : tables[shard];
        if (t != NULL && keyspace_serves(ks, shard) && table_expires(t) > 0 &&
            table_expire_min(t) < now_ms) {
            if (!expire_in(&db, t, (uint32_t)shard, budget, &looked, &due)) {
                break;
            }
        } else {
            ks->expire_at.cursor = 0;
        }
        advance(ks);
    }
    mem_free(due.objects);
    return looked;
}
