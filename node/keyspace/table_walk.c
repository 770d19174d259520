// SPDX-License-Identifier: BSD-3-Clause
/* Walks over a table, and samples of it. */
#include "node/keyspace/table_priv.h"

/* The objects whose own bucket is `home` and whose position is not below `from`. */
static void visit_bucket(const struct segment *s, unsigned home, unsigned from,
                         table_visit_fn *visit, void *arg)
{
    for (; s != NULL; s = s->more) {
        unsigned at = home;
        for (unsigned left = s->buckets_n; left > 0; left--) {
            const struct bucket *b = &s->buckets[at];
            for (unsigned i = 0; i < SLOTS; i++) {
                unsigned pos = slot_position(b->slots[i], s->shift);
                if (b->tags[i] != 0 && pos >= from && bucket_at(pos, s->buckets_n) == home) {
                    visit(arg, slot_object(b->slots[i]));
                }
            }
            if (nobody_passed(control(b))) {
                break;
            }
            at = at + 1 == s->buckets_n ? 0 : at + 1;
        }
    }
}

uint64_t table_scan(const struct table *t, uint64_t cursor, table_visit_fn *visit, void *arg)
{
    INVARIANT(cursor < TABLE_SCAN_END);
    uint64_t hash = cursor << 16;
    const struct segment *s = unpack(t->dir[dir_index(t, hash)]);
    unsigned from = position(hash, s->depth);
    unsigned home = bucket_at(from, s->buckets_n);
    visit_bucket(s, home, from, visit, arg);

    uint64_t span = TABLE_SCAN_END >> s->depth;
    uint64_t begin = cursor & ~(span - 1);
    if (home + 1U == s->buckets_n) {
        return begin + span;
    }
    /* The first position of the next bucket. */
    uint64_t next = (((uint64_t)home + 1) << POSITION_BITS) + s->buckets_n - 1;
    return begin + next / s->buckets_n * (span >> POSITION_BITS);
}

/* Visits what has expired in one link; returns the least expiry of the rest. */
static int64_t sweep(struct segment *s, int64_t now_ms, uint64_t *looked, table_visit_fn *visit,
                     void *arg)
{
    int64_t least = INT64_MAX;
    for (unsigned b = 0; b < s->buckets_n; b++) {
        struct bucket *bucket = &s->buckets[b];
        if ((bucket->meta & EXPIRES_BIT) == 0) {
            continue;
        }
        for (unsigned i = 0; i < SLOTS; i++) {
            __builtin_prefetch(slot_object(bucket->slots[i]));
        }
        bool expires = false;
        for (unsigned i = 0; i < SLOTS; i++) {
            if (bucket->tags[i] == 0) {
                continue;
            }
            struct object *o = slot_object(bucket->slots[i]);
            int64_t at = object_expire(o);
            ++*looked;
            if (at != OBJECT_NO_EXPIRE && at < now_ms) {
                visit(arg, o);
            } else if (at != OBJECT_NO_EXPIRE) {
                expires = true;
                least = MIN(least, at);
            }
        }
        if (!expires) {
            bucket->meta &= (uint8_t)~EXPIRES_BIT;
        }
    }
    return least;
}

uint64_t table_scan_expired(struct table *t, uint64_t cursor, int64_t now_ms, uint64_t *looked,
                            table_visit_fn *visit, void *arg)
{
    INVARIANT(cursor < TABLE_SCAN_END);
    if (cursor == 0) {
        t->sweep_min = INT64_MAX;
    }
    struct segment *s = unpack(t->dir[dir_index(t, cursor << 16)]);
    uint64_t span = TABLE_SCAN_END >> s->depth;
    uint64_t next = (cursor & ~(span - 1)) + span;
    for (; s != NULL; s = s->more) {
        ++*looked;
        if (s->expire_min < now_ms) {
            s->expire_min = sweep(s, now_ms, looked, visit, arg);
        }
        t->sweep_min = MIN(t->sweep_min, s->expire_min);
    }
    if (next == TABLE_SCAN_END) {
        t->expire_min = t->sweep_min;
    }
    return next;
}

/* What lies in one bucket, wherever it belongs. True: something. */
static bool visit_lying(const struct bucket *b, table_visit_fn *visit, void *arg)
{
    bool any = false;
    for (unsigned i = 0; (b->meta & EXPIRES_BIT) != 0 && i < SLOTS; i++) {
        if (b->tags[i] != 0) {
            visit(arg, slot_object(b->slots[i]));
            any = true;
        }
    }
    return any;
}

uint64_t table_scan_expiring(const struct table *t, uint64_t cursor, table_visit_fn *visit,
                             void *arg)
{
    bool found = false;
    INVARIANT(cursor < TABLE_SCAN_END);
    while (cursor < TABLE_SCAN_END && !found) {
        const struct segment *s = unpack(t->dir[dir_index(t, cursor << 16)]);
        uint64_t span = TABLE_SCAN_END >> s->depth;
        uint64_t begin = cursor & ~(span - 1);
        unsigned at = bucket_at(position(cursor << 16, s->depth), s->buckets_n);
        unsigned n = s->buckets_n;
        for (; at < n && !found; at++) {
            for (const struct segment *link = s; link != NULL; link = link->more) {
                found |=
                    link->expire_min != INT64_MAX && visit_lying(&link->buckets[at], visit, arg);
            }
        }
        uint64_t next = ((uint64_t)at << POSITION_BITS) + n - 1;
        cursor = at == n ? begin + span : begin + next / n * (span >> POSITION_BITS);
    }
    return cursor;
}

struct object *table_random(const struct table *t, uint64_t random_a, uint64_t random_b)
{
    const struct segment *s = unpack(t->dir[dir_index(t, random_a)]);
    uint64_t place = random_b % ((uint64_t)s->buckets_n * SLOTS);
    const struct bucket *b = &s->buckets[place / SLOTS];
    return b->tags[place % SLOTS] == 0 ? NULL : slot_object(b->slots[place % SLOTS]);
}
