// SPDX-License-Identifier: BSD-3-Clause
/* Walks over many keys: SCAN, KEYS, samples, digests. */
#include "node/keyspace/db.h"
#include "node/keyspace/table.h"

#include "common/cmd/slot.h"

enum {
    SHARD_BITS = 14, /* of a cursor */
    RANDOM_TRIES = 200,
    TTL_SAMPLES = 32,
};

static inline const struct table *table_at(const struct keyspace *ks, int db, int shard)
{
    struct table **tables = ks->dbs[db].tables;
    return tables == NULL ? NULL : tables[shard];
}

/* ---- SCAN ---- */

struct counting {
    keyspace_object_fn *visit;
    void *arg;
    uint64_t visited;
};

static void count_and_visit(void *arg, struct object *o)
{
    struct counting *c = arg;
    c->visited++;
    c->visit(c->arg, o);
}

static inline uint64_t cursor_of(uint64_t inner, int shard)
{
    return inner << SHARD_BITS | (uint64_t)shard;
}

static int next_scanned(const struct keyspace *ks, int shard)
{
    while (shard < ks->n_shards && !keyspace_serves(ks, shard)) {
        shard++;
    }
    return shard;
}

bool keyspace_scan(struct keyspace *ks, int db, uint64_t cursor, uint64_t count, uint64_t *next,
                   keyspace_object_fn *visit, void *arg)
{
    int shard = (int)(cursor & (KEYSPACE_SLOTS - 1));
    uint64_t inner = cursor >> SHARD_BITS;
    if (inner >= TABLE_SCAN_END) {
        return false;
    }
    if (shard >= ks->n_shards || !keyspace_serves(ks, shard)) {
        shard = next_scanned(ks, shard);
        inner = 0;
    }
    struct counting c = {.visit = visit, .arg = arg};
    *next = 0;
    for (; shard < ks->n_shards; shard++, inner = 0) {
        *next = cursor_of(inner, shard);
        if (!keyspace_serves(ks, shard) || c.visited >= count) {
            return true;
        }
        const struct table *t = table_at(ks, db, shard);
        if (t == NULL) {
            continue;
        }
        do {
            inner = table_scan(t, inner, count_and_visit, &c);
        } while (inner < TABLE_SCAN_END && c.visited < count);
        if (inner < TABLE_SCAN_END) {
            *next = cursor_of(inner, shard);
            return true;
        }
    }
    *next = 0;
    return true;
}

static void each_in(struct keyspace *ks, int db, int shard, keyspace_object_fn *visit, void *arg)
{
    const struct table *t = table_at(ks, db, shard);
    for (uint64_t cursor = 0; t != NULL && cursor < TABLE_SCAN_END;) {
        cursor = table_scan(t, cursor, visit, arg);
    }
}

void keyspace_each(struct keyspace *ks, int db, keyspace_object_fn *visit, void *arg)
{
    for (int s = 0; s < ks->n_shards; s++) {
        if (keyspace_serves(ks, s)) {
            each_in(ks, db, s, visit, arg);
        }
    }
}

void keyspace_each_in(struct keyspace *ks, int db, int shard, keyspace_object_fn *visit, void *arg)
{
    if (shard == KEYSPACE_SERVED) {
        keyspace_each(ks, db, visit, arg);
    } else {
        each_in(ks, db, shard, visit, arg);
    }
}

/* ---- slots ---- */

struct slot_walk {
    int slot;
    uint64_t left;
    uint64_t seen;
    keyspace_key_fn *visit;
    void *arg;
};

static void visit_in_slot(void *arg, struct object *o)
{
    struct slot_walk *w = arg;
    struct slice key = object_key(o);
    if (w->left > 0 && slot_of(key) == w->slot) {
        w->left--;
        w->seen++;
        if (w->visit != NULL) {
            w->visit(w->arg, key);
        }
    }
}

static uint64_t walk_slot(const struct keyspace *ks, struct slot_walk *w)
{
    const struct table *t = table_at(ks, 0, keyspace_shard_of(ks, w->slot));
    for (uint64_t cursor = 0; t != NULL && cursor < TABLE_SCAN_END && w->left > 0;) {
        cursor = table_scan(t, cursor, visit_in_slot, w);
    }
    return w->seen;
}

uint64_t keyspace_count_in_slot(const struct keyspace *ks, int slot)
{
    struct slot_walk w = {.slot = slot, .left = UINT64_MAX};
    return walk_slot(ks, &w);
}

void keyspace_keys_in_slot(const struct keyspace *ks, int slot, uint64_t max,
                           keyspace_key_fn *visit, void *arg)
{
    struct slot_walk w = {.slot = slot, .left = max, .visit = visit, .arg = arg};
    walk_slot(ks, &w);
}

/* ---- samples ---- */

static void keep_first(void *arg, struct object *o)
{
    struct object **first = arg;
    if (*first == NULL) {
        *first = o;
    }
}

static struct object *random_in(const struct table *t, uint64_t start, uint64_t (*draw)(void *),
                                void *arg)
{
    for (int i = 0; i < RANDOM_TRIES; i++) {
        struct object *o = table_random(t, draw(arg), draw(arg));
        if (o != NULL) {
            return o;
        }
    }
    /* Hardly anything in it, or very uneven: the first one from somewhere on. */
    struct object *first = NULL;
    uint64_t cursor = start & (TABLE_SCAN_END - 1);
    for (int round = 0; round < 2 && first == NULL; round++, cursor = 0) {
        while (cursor < TABLE_SCAN_END && first == NULL) {
            cursor = table_scan(t, cursor, keep_first, &first);
        }
    }
    return first;
}

static uint64_t draw_rng(void *arg)
{
    return rng_next(arg);
}

struct object *keyspace_random(struct keyspace *ks, int db, struct rng *rng)
{
    uint64_t keys = keyspace_keys(ks, db);
    if (keys == 0) {
        return NULL;
    }
    uint64_t nth = rng_below(rng, keys);
    for (int s = 0; s < ks->n_shards; s++) {
        const struct table *t = keyspace_serves(ks, s) ? table_at(ks, db, s) : NULL;
        uint64_t here = t == NULL ? 0 : table_count(t);
        if (nth < here) {
            return random_in(t, rng_next(rng), draw_rng, rng);
        }
        nth -= here;
    }
    return NULL;
}

int64_t keyspace_avg_ttl(const struct keyspace *ks, int db, int64_t now_ms)
{
    struct rng rng;
    rng_init(&rng, ks->sampling ^ (uint64_t)now_ms);
    double sum = 0; /* what the longest times add up to is beyond an int64 */
    int64_t found = 0;
    for (int s = 0; s < ks->n_shards && found < TTL_SAMPLES; s++) {
        const struct table *t = keyspace_serves(ks, s) ? table_at(ks, db, s) : NULL;
        if (t == NULL || table_expires(t) == 0) {
            continue;
        }
        for (int i = 0; i < TTL_SAMPLES; i++) {
            const struct object *o = table_random(t, rng_next(&rng), rng_next(&rng));
            int64_t at = o == NULL ? OBJECT_NO_EXPIRE : object_expire(o);
            if (at != OBJECT_NO_EXPIRE) {
                sum += (double)MAX(at - now_ms, 0);
                found++;
            }
        }
    }
    return found == 0 ? 0 : (int64_t)(sum / (double)found);
}

/* ---- digests ---- */

struct digesting {
    struct digest *sum;
    int db;
    int64_t now_ms;
    bool exact; /* with expiries */
};

static void add_digest(void *arg, struct object *o)
{
    struct digesting *d = arg;
    if (object_expired(o, d->now_ms)) {
        return;
    }
    struct digest one;
    object_digest(o, &one);
    /* The same key and value in another database is another thing. */
    for (size_t i = 0; i < sizeof(one.bytes); i++) {
        one.bytes[i] = (unsigned char)(one.bytes[i] * (2 * d->db + 1));
    }
    int64_t at = d->exact ? object_expire(o) : 0;
    for (size_t i = 0; i < sizeof(at); i++) {
        one.bytes[i] = (unsigned char)(one.bytes[i] + (at >> (8 * i)));
    }
    digest_xor(d->sum, &one);
}

void keyspace_digest(struct keyspace *ks, struct digest *out, int64_t now_ms)
{
    *out = (struct digest){0};
    for (int db = 0; db < ks->n_dbs; db++) {
        struct digesting d = {.sum = out, .db = db, .now_ms = now_ms};
        keyspace_each(ks, db, add_digest, &d);
    }
}

void keyspace_digest_shard(struct keyspace *ks, int shard, struct digest *out)
{
    *out = (struct digest){0};
    for (int db = 0; db < ks->n_dbs; db++) {
        struct digesting d = {.sum = out, .db = db, .now_ms = INT64_MIN, .exact = true};
        each_in(ks, db, shard, add_digest, &d);
    }
}
