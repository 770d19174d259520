// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/keyspace.h"

#include "node/keyspace/blocked.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/evict.h"
#include "node/keyspace/guard.h"
#include "node/keyspace/lazyfree.h"
#include "node/keyspace/table.h"
#include "node/keyspace/watch.h"
#include "node/types/members.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/cmd/slot.h"

#define MAGIC 0x6e7590ceU

_Static_assert(KEYSPACE_SLOTS == SLOT_COUNT, "one number of slots");

static uint64_t hash_key(struct slice key, uint64_t seed)
{
    return hash_bytes(key.ptr, key.len, seed);
}

struct keyspace *keyspace_new(int n_shards, int n_dbs, uint64_t seed)
{
    INVARIANT(n_shards >= 1 && n_shards <= KEYSPACE_SLOTS);
    INVARIANT(n_dbs >= 1);
    struct keyspace *ks = mem_zalloc(sizeof(*ks));
    ks->magic = MAGIC;
    ks->n_shards = n_shards;
    ks->n_dbs = n_dbs;
    ks->seed = seed;
    members_set_seed(seed);
    ks->sampling = seed ^ 0x9E3779B97F4A7C15ULL;
    ks->shards = mem_zalloc((size_t)n_shards * sizeof(struct shard *));
    ks->dbs = mem_zalloc((size_t)n_dbs * sizeof(*ks->dbs));
    ks->watches = watches_new();
    ks->blocked = blocked_new();
    list_init(&ks->lazyfree);
    ks->settings = (struct keyspace_settings){
        .proto_max_bulk_len = INT64_C(512) * 1024 * 1024,
        .maxmemory_policy = EVICT_NOTHING,
        .maxmemory_samples = 5,
        .maxmemory_tenacity = 10,
        .lfu_log_factor = 10,
        .lfu_decay_time = 1,
        .active_expire = true,
        .hll_sparse_max_bytes = 3000,
        .stream_node_max_bytes = 4096,
        .stream_node_max_entries = 100,
        .expires_keys = true,
    };
    return ks;
}

void keyspace_free(struct keyspace **ksp)
{
    struct keyspace *ks = *ksp;
    if (ks == NULL) {
        return;
    }
    CHECK_OBJ(ks, MAGIC);
    while (keyspace_lazyfree_step(ks, UINT64_MAX)) {
    }
    for (int db = 0; db < ks->n_dbs; db++) {
        for (int s = 0; ks->dbs[db].tables != NULL && s < ks->n_shards; s++) {
            table_free(&ks->dbs[db].tables[s]);
        }
        mem_free(ks->dbs[db].tables);
    }
    for (int s = 0; s < ks->n_shards; s++) {
        mem_free(ks->shards[s]);
    }
    watches_free(&ks->watches);
    blocked_free(&ks->blocked);
    evictor_free(&ks->evictor);
    mem_free(ks->dbs);
    mem_free(ks->shards);
    ks->magic = 0;
    mem_free(ks);
    *ksp = NULL;
}

/* ---- shards ---- */

void keyspace_shard_create(struct keyspace *ks, int shard)
{
    INVARIANT(shard >= 0 && shard < ks->n_shards);
    if (ks->shards[shard] == NULL) {
        ks->shards[shard] = mem_zalloc(sizeof(struct shard));
        list_init(&ks->shards[shard]->guards);
        ks->held++;
    }
}

/* NULL: there is none. */
static inline struct table *table_at(const struct keyspace *ks, int db, int shard)
{
    struct table **tables = ks->dbs[db].tables;
    return tables == NULL ? NULL : tables[shard];
}

static void touch_db(struct keyspace *ks, int db, int shard)
{
    if (ks->blocked_keys > 0) {
        blocked_touch_db(ks, db, shard);
    }
}

static void tell_db(struct keyspace *ks, int db, int shard)
{
    touch_db(ks, db, shard);
    if (ks->changed_db != NULL) {
        ks->changed_db(ks->changed_arg, db, shard);
    }
}

void keyspace_shard_drop(struct keyspace *ks, int shard)
{
    INVARIANT(shard >= 0 && shard < ks->n_shards);
    if (ks->shards[shard] == NULL) {
        return;
    }
    watch_touch_shard(ks, shard);
    tell_db(ks, -1, shard);
    guards_dropped(ks, shard);
    for (int db = 0; db < ks->n_dbs; db++) {
        struct table *t = table_at(ks, db, shard);
        if (t != NULL) {
            ks->dbs[db].tables[shard] = NULL;
            lazyfree_table(ks, t);
        }
    }
    mem_free(ks->shards[shard]);
    ks->shards[shard] = NULL;
    ks->held--;
}

struct table *keyspace_table(struct keyspace *ks, int db, uint32_t shard)
{
    INVARIANT(ks->shards[shard] != NULL);
    struct database *d = &ks->dbs[db];
    if (UNLIKELY(d->tables == NULL)) {
        d->tables = mem_zalloc((size_t)ks->n_shards * sizeof(struct table *));
    }
    if (UNLIKELY(d->tables[shard] == NULL)) {
        d->tables[shard] = table_new(hash_key, ks->seed);
    }
    return d->tables[shard];
}

void keyspace_reserve(struct keyspace *ks, int db, int shard, uint64_t count)
{
    struct table *t = keyspace_table(ks, db, (uint32_t)shard);
    if (table_count(t) == 0) {
        table_reserve(t, count);
    }
}

/* ---- probes ---- */

uint64_t keyspace_hash(const struct keyspace *ks, struct slice key)
{
    return hash_key(key, ks->seed);
}

struct probe keyspace_probe(const struct keyspace *ks, int slot, struct slice key)
{
    return (struct probe){.hash = hash_bytes(key.ptr, key.len, ks->seed),
                          .shard = (uint32_t)keyspace_shard_of(ks, slot),
                          .slot = (uint32_t)slot};
}

struct probe keyspace_probe_key(const struct keyspace *ks, struct slice key)
{
    return keyspace_probe(ks, slot_of(key), key);
}

void keyspace_prefetch_bucket(const struct keyspace *ks, int db, const struct probe *p)
{
    const struct table *t = table_at(ks, db, (int)p->shard);
    if (t != NULL) {
        table_prefetch_bucket(t, p->hash);
    }
}

void keyspace_prefetch_object(const struct keyspace *ks, int db, const struct probe *p)
{
    const struct table *t = table_at(ks, db, (int)p->shard);
    if (t != NULL) {
        table_prefetch_object(t, p->hash);
    }
}

/* ---- sums ---- */

static const struct table *served_table(const struct keyspace *ks, int db, int shard)
{
    return keyspace_serves(ks, shard) ? table_at(ks, db, shard) : NULL;
}

uint64_t keyspace_keys(const struct keyspace *ks, int db)
{
    uint64_t sum = 0;
    for (int s = 0; ks->dbs[db].tables != NULL && s < ks->n_shards; s++) {
        const struct table *t = served_table(ks, db, s);
        sum += t == NULL ? 0 : table_count(t);
    }
    return sum;
}

uint64_t keyspace_keys_in(const struct keyspace *ks, int db, int shard)
{
    const struct table *t = shard == KEYSPACE_SERVED ? NULL : table_at(ks, db, shard);
    return shard == KEYSPACE_SERVED ? keyspace_keys(ks, db) : t == NULL ? 0 : table_count(t);
}

uint64_t keyspace_expires(const struct keyspace *ks, int db)
{
    uint64_t sum = 0;
    for (int s = 0; ks->dbs[db].tables != NULL && s < ks->n_shards; s++) {
        const struct table *t = served_table(ks, db, s);
        sum += t == NULL ? 0 : table_expires(t);
    }
    return sum;
}

uint64_t keyspace_shard_keys(const struct keyspace *ks, int shard)
{
    uint64_t sum = 0;
    for (int db = 0; db < ks->n_dbs; db++) {
        const struct table *t = table_at(ks, db, shard);
        sum += t == NULL ? 0 : table_count(t);
    }
    return sum;
}

size_t keyspace_shard_memory(const struct keyspace *ks, int shard)
{
    size_t sum = 0;
    for (int db = 0; db < ks->n_dbs; db++) {
        const struct table *t = table_at(ks, db, shard);
        sum += t == NULL ? 0 : table_memory(t);
    }
    return sum;
}

size_t keyspace_memory(const struct keyspace *ks)
{
    size_t sum = 0;
    for (int s = 0; s < ks->n_shards; s++) {
        sum += keyspace_shard_memory(ks, s);
    }
    return sum;
}

/* ---- whole databases ---- */

/* Whether what is meant for `which` (a shard, or those served) concerns this one. */
static bool concerns(const struct keyspace *ks, int which, int shard)
{
    return which == KEYSPACE_SERVED ? keyspace_serves(ks, shard)
                                    : which == shard && ks->shards[shard] != NULL;
}

/* The shard's version counts a flush as one change. Returns keys removed. */
static uint64_t empty(struct keyspace *ks, int db, int shard, bool lazily)
{
    struct table *t = table_at(ks, db, shard);
    if (t == NULL) {
        return 0;
    }
    uint64_t keys = table_count(t);
    ks->shards[shard]->version++;
    ks->dbs[db].tables[shard] = NULL;
    if (lazily) {
        ks->stats.lazyfreed_copies += ks->shards[shard]->passive ? keys : 0;
        lazyfree_table(ks, t);
    } else {
        table_free(&t);
    }
    return keys;
}

/* A database without tables has no array of them. */
static void drop_array(struct keyspace *ks, int db)
{
    struct table **tables = ks->dbs[db].tables;
    for (int s = 0; tables != NULL && s < ks->n_shards; s++) {
        if (tables[s] != NULL) {
            return;
        }
    }
    mem_free(tables);
    ks->dbs[db].tables = NULL;
}

uint64_t keyspace_flush(struct keyspace *ks, int db, int shard, bool lazily, int64_t now_ms)
{
    uint64_t keys = 0;
    for (int i = 0; i < ks->n_dbs; i++) {
        if (db == i || db < 0) {
            watch_touch_db(ks, i, -1, shard, now_ms);
        }
    }
    for (int s = 0; s < ks->n_shards; s++) {
        if (!concerns(ks, shard, s)) {
            continue;
        }
        guards_flush(ks, s, db);
        uint64_t here = 0;
        for (int i = 0; i < ks->n_dbs; i++) {
            here += db == i || db < 0 ? empty(ks, i, s, lazily) : 0;
        }
        effect_flush(ks, s, db, here);
        keys += here;
    }
    for (int i = 0; shard == KEYSPACE_SERVED && i < ks->n_dbs; i++) {
        drop_array(ks, i);
    }
    ks->stats.dirty += keys;
    tell_db(ks, db, shard);
    return keys;
}

static void make_tables(struct keyspace *ks, int db)
{
    if (ks->dbs[db].tables == NULL) {
        ks->dbs[db].tables = mem_zalloc((size_t)ks->n_shards * sizeof(struct table *));
    }
}

void keyspace_swap(struct keyspace *ks, int db_a, int db_b, int shard, int64_t now_ms)
{
    if (db_a == db_b) {
        return;
    }
    watch_touch_db(ks, db_a, db_b, shard, now_ms);
    watch_touch_db(ks, db_b, db_a, shard, now_ms);
    make_tables(ks, db_a);
    make_tables(ks, db_b);
    for (int s = 0; s < ks->n_shards; s++) {
        if (!concerns(ks, shard, s)) {
            continue;
        }
        guards_swap(ks, s, db_a, db_b);
        struct table **a = &ks->dbs[db_a].tables[s];
        struct table **b = &ks->dbs[db_b].tables[s];
        if (*a == NULL && *b == NULL) {
            continue;
        }
        struct table *was = *a;
        *a = *b;
        *b = was;
        ks->shards[s]->version++;
        effect_swap(ks, s, db_a, db_b);
    }
    drop_array(ks, db_a);
    drop_array(ks, db_b);
    ks->stats.dirty++;
    touch_db(ks, db_a, shard);
    tell_db(ks, db_b, shard);
}
