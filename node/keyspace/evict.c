// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/evict.h"

#include "node/keyspace/clock.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/guard.h"
#include "node/keyspace/lazyfree.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"

#include "common/base/mem.h"
#include "common/base/str.h"

enum {
    POOL = 16,          /* candidates remembered */
    WEIGHTS_AGE = 256,  /* so many samples by the same weights of the tables */
    RANDOM_TRIES = 16,  /* for one key of a table */
    TABLE_TRIES = 16,   /* tables without a candidate, one after the other */
    PATIENCE_STEP = 50, /* keys; as Redis's 50 us */
};

struct candidate {
    uint64_t score; /* the higher the sooner it goes */
    int db;
    uint32_t shard;
    uint64_t hash;
    struct str key;
};

struct evictor {
    /* Keys (or keys with an expiry) before the end of each table, by db * n_shards + shard. */
    uint64_t *sums;
    size_t n_sums;
    uint32_t age; /* samples since they were taken; 0: take them */
    bool volatile_only;
    const bool *only;            /* the shards that are meant; NULL: all that are served */
    struct candidate pool[POOL]; /* the worst first */
    size_t n;
};

void evictor_free(struct evictor **ep)
{
    struct evictor *e = *ep;
    *ep = NULL;
    if (e == NULL) {
        return;
    }
    for (size_t i = 0; i < POOL; i++) {
        str_fini(&e->pool[i].key);
    }
    mem_free(e->sums);
    mem_free(e);
}

/* --- what is too much --- */

size_t evict_excess(const struct keyspace *ks)
{
    uint64_t max = ks->settings.maxmemory;
    if (LIKELY(max == 0)) {
        return 0;
    }
    size_t used = mem_used();
    if (LIKELY(used <= max)) {
        return 0;
    }
    size_t aside = ks->uncounted + ks->stats.lazyfree_bytes;
    used -= MIN(aside, used);
    return used > max ? used - max : 0;
}

size_t evict_patience(int64_t tenacity)
{
    if (tenacity >= 100) {
        return SIZE_MAX;
    }
    double keys = (double)(PATIENCE_STEP * MIN(tenacity, 10));
    for (int64_t i = 10; i < tenacity; i++) {
        keys *= 1.15;
    }
    return MAX((size_t)keys, (size_t)1);
}

/* --- where to look --- */

static uint64_t draw(struct keyspace *ks)
{
    ks->sampling = ks->sampling * 6364136223846793005ULL + 1442695040888963407ULL;
    uint64_t high = ks->sampling >> 32;
    ks->sampling = ks->sampling * 6364136223846793005ULL + 1442695040888963407ULL;
    return high << 32 | ks->sampling >> 32;
}

static bool is_volatile_only(const struct keyspace *ks)
{
    return ks->settings.maxmemory_policy < EVICT_ALLKEYS_LRU;
}

static struct table *served_table(const struct keyspace *ks, size_t at)
{
    size_t db = at / (size_t)ks->n_shards;
    size_t shard = at % (size_t)ks->n_shards;
    struct table **tables = ks->dbs[db].tables;
    const bool *only = ks->evictor->only;
    bool meant = keyspace_serves(ks, (int)shard) && (only == NULL || only[shard]);
    return tables == NULL || !meant ? NULL : tables[shard];
}

static void weigh(struct keyspace *ks, struct evictor *e)
{
    uint64_t sum = 0;
    e->volatile_only = is_volatile_only(ks);
    e->n_sums = (size_t)ks->n_dbs * (size_t)ks->n_shards;
    e->sums = mem_realloc(e->sums, e->n_sums * sizeof(*e->sums));
    for (size_t i = 0; i < e->n_sums; i++) {
        if (i % (size_t)ks->n_shards == 0 && ks->dbs[i / (size_t)ks->n_shards].tables == NULL) {
            for (int s = 0; s < ks->n_shards; s++) {
                e->sums[i + (size_t)s] = sum;
            }
            i += (size_t)ks->n_shards - 1;
            continue;
        }
        const struct table *t = served_table(ks, i);
        sum += t == NULL ? 0 : e->volatile_only ? table_expires(t) : table_count(t);
        e->sums[i] = sum;
    }
}

/* A table by chance, the larger the likelier; SIZE_MAX: there is no key to be had. */
static size_t pick_table(struct keyspace *ks, struct evictor *e)
{
    if (e->age == 0 || e->volatile_only != is_volatile_only(ks)) {
        weigh(ks, e);
        e->age = WEIGHTS_AGE;
    }
    e->age--;
    uint64_t all = e->sums[e->n_sums - 1];
    if (all == 0) {
        e->age = 0;
        return SIZE_MAX;
    }
    uint64_t nth = draw(ks) % all;
    size_t low = 0;
    size_t high = e->n_sums - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (e->sums[middle] <= nth) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* --- samples --- */

struct samples {
    struct object *of[64];
    size_t n;
    size_t wanted;
    bool volatile_only;
};

static void add_sample(void *arg, struct object *o)
{
    struct samples *s = arg;
    if (s->n < s->wanted && (!s->volatile_only || object_expire(o) != OBJECT_NO_EXPIRE)) {
        s->of[s->n++] = o;
    }
}

/* From a random place on, once round. */
static void walk(struct keyspace *ks, struct table *t, struct samples *s)
{
    uint64_t begin = draw(ks) & (TABLE_SCAN_END - 1);
    uint64_t cursor = begin;
    for (int round = 0; round < 2 && s->n == 0; round++, cursor = 0) {
        while (s->n < s->wanted && cursor < TABLE_SCAN_END) {
            cursor = s->volatile_only ? table_scan_expiring(t, cursor, add_sample, s)
                                      : table_scan(t, cursor, add_sample, s);
        }
    }
}

static void sample_table(struct keyspace *ks, struct table *t, struct samples *s)
{
    /* By chance one by one where keys are dense; few that expire among many are searched for. */
    if (!s->volatile_only || table_expires(t) * 4 > table_count(t)) {
        for (size_t i = 0; i < s->wanted * RANDOM_TRIES && s->n < s->wanted; i++) {
            struct object *o = table_random(t, draw(ks), draw(ks));
            if (o != NULL) {
                add_sample(s, o);
            }
        }
    }
    if (s->n == 0) {
        walk(ks, t, s);
    }
}

/* --- candidates --- */

static uint64_t score_of(const struct keyspace *ks, const struct object *o, int64_t now_ms)
{
    switch ((enum evict_policy)ks->settings.maxmemory_policy) {
    case EVICT_VOLATILE_TTL:
        return (uint64_t)INT64_MAX - (uint64_t)MAX(object_expire(o), 0);
    case EVICT_VOLATILE_LFU:
    case EVICT_ALLKEYS_LFU:
        return 255 - clock_frequency(ks, o, now_ms);
    case EVICT_VOLATILE_LRU:
    case EVICT_ALLKEYS_LRU:
    case EVICT_VOLATILE_RANDOM:
    case EVICT_ALLKEYS_RANDOM:
    case EVICT_NOTHING:
        break;
    }
    return (uint64_t)clock_idle_s(o, now_ms);
}

static bool is_known(const struct evictor *e, int db, uint64_t hash)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->pool[i].hash == hash && e->pool[i].db == db) {
            return true;
        }
    }
    return false;
}

/* Keeps the best. */
static void remember(struct keyspace *ks, struct evictor *e, size_t table, const struct object *o,
                     int64_t now_ms)
{
    struct slice key = object_key(o);
    uint64_t hash = keyspace_hash(ks, key);
    uint64_t score = score_of(ks, o, now_ms);
    int db = (int)(table / (size_t)ks->n_shards);
    size_t at = 0;
    if (is_known(e, db, hash)) {
        return;
    }
    while (at < e->n && e->pool[at].score < score) {
        at++;
    }
    if (e->n == POOL && at == 0) {
        return; /* worse than all */
    }
    struct candidate c;
    if (e->n == POOL) { /* the worst goes */
        c = e->pool[0];
        at--;
        memmove(&e->pool[0], &e->pool[1], at * sizeof(c));
    } else {
        c = e->pool[e->n];
        memmove(&e->pool[at + 1], &e->pool[at], (e->n - at) * sizeof(c));
        e->n++;
    }
    str_clear(&c.key);
    str_append_slice(&c.key, key);
    c.score = score;
    c.db = db;
    c.shard = (uint32_t)(table % (size_t)ks->n_shards);
    c.hash = hash;
    e->pool[at] = c;
}

/* --- eviction --- */

static void evict_object(struct keyspace *ks, int db_index, uint32_t shard, struct object *o,
                         int64_t now_ms)
{
    struct db db = {.ks = ks, .index = db_index, .now_ms = now_ms};
    struct slice key = object_key(o);
    struct probe p = keyspace_probe_key(ks, key);
    INVARIANT(p.shard == shard);
    guard_key(&db, &p, key);
    table_take(ks->dbs[db_index].tables[shard], p.hash, o);
    keyspace_evicted(&db, &p, key);
    ks->stats.evicted_keys++;
    ks->stats.evicted_bytes += object_memory(o);
    lazyfree_object(ks, o, ks->settings.lazy_eviction);
}

/* The best remembered one that is still there. */
static bool evict_remembered(struct keyspace *ks, struct evictor *e, int64_t now_ms)
{
    while (e->n > 0) {
        const struct candidate *c = &e->pool[--e->n];
        struct table *t = served_table(ks, (size_t)c->db * (size_t)ks->n_shards + c->shard);
        struct object *o = t == NULL ? NULL : table_find(t, c->hash, str_slice(&c->key));
        if (o != NULL && (!is_volatile_only(ks) || object_expire(o) != OBJECT_NO_EXPIRE)) {
            evict_object(ks, c->db, c->shard, o, now_ms);
            return true;
        }
    }
    return false;
}

/* False: there is nothing that may go. */
static bool evict_one(struct keyspace *ks, struct evictor *e, int64_t now_ms)
{
    bool random = ks->settings.maxmemory_policy == EVICT_ALLKEYS_RANDOM ||
                  ks->settings.maxmemory_policy == EVICT_VOLATILE_RANDOM;
    for (int i = 0; i < TABLE_TRIES; i++) {
        size_t table = pick_table(ks, e);
        struct samples s = {.volatile_only = is_volatile_only(ks)};
        s.wanted = random ? 1 : (size_t)MIN(MAX(ks->settings.maxmemory_samples, 1), 64);
        if (table == SIZE_MAX) {
            return false;
        }
        struct table *t = served_table(ks, table);
        if (t == NULL || table_count(t) == 0) {
            e->age = 0; /* what was weighed is no more */
            continue;
        }
        sample_table(ks, t, &s);
        if (random && s.n > 0) {
            evict_object(ks, (int)(table / (size_t)ks->n_shards),
                         (uint32_t)(table % (size_t)ks->n_shards), s.of[0], now_ms);
            return true;
        }
        for (size_t k = 0; k < s.n; k++) {
            remember(ks, e, table, s.of[k], now_ms);
        }
        if (evict_remembered(ks, e, now_ms)) {
            return true;
        }
        e->age = 0;
    }
    return false;
}

/* Until as much went altogether, or `most` keys. By what goes, not by what is left in use: who is
 * told of it gets memory for that meanwhile, and must not be paid for with more keys. */
static enum evict_result evict_until(struct keyspace *ks, int64_t now_ms, uint64_t target,
                                     size_t most, const bool *only)
{
    enum evict_result result = EVICT_ENOUGH;
    if (ks->evictor == NULL) {
        ks->evictor = mem_zalloc(sizeof(*ks->evictor));
    }
    ks->evictor->age = 0; /* a command may have changed much */
    ks->evictor->only = only;
    effect_open(ks, now_ms);
    while (ks->stats.evicted_bytes < target) {
        if (most == 0) {
            result = EVICT_GOES_ON;
            break;
        }
        if (!evict_one(ks, ks->evictor, now_ms)) {
            result = EVICT_FAILED;
            break;
        }
        most--;
    }
    effect_close(ks, NULL);
    ks->evictor->only = NULL;
    return result;
}

enum evict_result keyspace_evict(struct keyspace *ks, int64_t now_ms, size_t most)
{
    size_t excess = evict_excess(ks);
    ks->evicting = false;
    if (LIKELY(excess == 0)) {
        return EVICT_ENOUGH;
    }
    if (!ks->settings.expires_keys) {
        return EVICT_ENOUGH; /* writes pause: nothing changes now */
    }
    if (ks->settings.maxmemory_policy == EVICT_NOTHING) {
        return EVICT_FAILED;
    }
    uint64_t target = ks->stats.evicted_bytes + excess;
    enum evict_result result = evict_until(ks, now_ms, target, most, NULL);
    ks->evicting = result == EVICT_GOES_ON;
    ks->evict_failed = ks->evict_failed || result == EVICT_FAILED;
    return result;
}

size_t keyspace_evict_for(struct keyspace *ks, int64_t now_ms, size_t bytes, size_t most,
                          const bool *shards)
{
    uint64_t before = ks->stats.evicted_bytes;
    if (ks->settings.expires_keys && ks->settings.maxmemory_policy != EVICT_NOTHING) {
        (void)evict_until(ks, now_ms, before + bytes, most, shards);
    }
    return (size_t)(ks->stats.evicted_bytes - before);
}
