// SPDX-License-Identifier: BSD-3-Clause
/* How a table is filled, and whether all of it is as it must be. */
#include "node/keyspace/table_priv.h"

static uint64_t displaced_in(const struct segment *s)
{
    uint64_t displaced = 0;
    for (unsigned b = 0; b < s->buckets_n; b++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            unsigned home =
                bucket_at(slot_position(s->buckets[b].slots[i], s->shift), s->buckets_n);
            displaced += s->buckets[b].tags[i] != 0 && home != b;
        }
    }
    return displaced;
}

void table_shape(const struct table *t, struct table_shape *out)
{
    *out = (struct table_shape){.segments = t->segments, .directory_bits = t->dir_bits};
    for (uint64_t i = 0; i < UINT64_C(1) << t->dir_bits;) {
        const struct segment *s = unpack(t->dir[i]);
        i += UINT64_C(1) << (t->dir_bits - s->depth);
        for (const struct segment *link = s; link != NULL; link = link->more) {
            out->chained += link != s;
            out->places += (uint64_t)link->buckets_n * SLOTS;
            out->displaced += displaced_in(link);
        }
    }
}

struct totals {
    uint64_t count;
    uint64_t expires;
    uint64_t segments;
    size_t memory;
};

static void check_segment(const struct table *t, const struct segment *s, uint64_t prefix,
                          struct totals *sum)
{
    uint32_t count = 0;
    unsigned passed[BUCKETS_MAX] = {0};
    for (unsigned b = 0; b < s->buckets_n; b++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (s->buckets[b].tags[i] == 0) {
                continue;
            }
            const struct object *o = slot_object(s->buckets[b].slots[i]);
            uint64_t hash = t->hash(object_key(o), t->seed);
            INVARIANT(prefix_of(hash, s->depth) == prefix);
            INVARIANT(s->buckets[b].tags[i] == tag_of(hash));
            INVARIANT(s->buckets[b].slots[i] >> 48 == fragment(hash, s->depth, s->shift));
            INVARIANT(table_find(t, hash, object_key(o)) == o);
            unsigned home = bucket_at(position(hash, s->depth), s->buckets_n);
            for (; home != b; home = home + 1 == s->buckets_n ? 0 : home + 1) {
                passed[home]++;
            }
            int64_t at = object_expire(o);
            if (at != OBJECT_NO_EXPIRE) {
                INVARIANT((s->buckets[b].meta & EXPIRES_BIT) != 0);
                INVARIANT(s->expire_min <= at);
                INVARIANT(t->expire_min <= at);
                sum->expires++;
            }
            sum->memory += object_memory(o);
            count++;
        }
    }
    for (unsigned b = 0; b < s->buckets_n; b++) {
        unsigned meta = s->buckets[b].meta & 0x7f;
        INVARIANT(meta == passed[b] || meta == PASSED_MAX);
        INVARIANT(s->more == NULL || meta == PASSED_MAX);
    }
    INVARIANT(count == s->count);
    sum->count += count;
    sum->segments++;
    sum->memory += segment_size(s->buckets_n);
}

void table_check(const struct table *t)
{
    CHECK_OBJ(t, TABLE_MAGIC);
    struct totals sum = {.memory = object_size_class(sizeof(struct table))};
    uint64_t deepest = 0;
    if (t->dir_bits > 0) {
        sum.memory += object_size_class(sizeof(*t->dir) << t->dir_bits);
    }
    for (uint64_t i = 0; i < UINT64_C(1) << t->dir_bits;) {
        struct segment *s = unpack(t->dir[i]);
        uint64_t entries = UINT64_C(1) << (t->dir_bits - s->depth);
        for (uint64_t j = i; j < i + entries; j++) {
            INVARIANT(t->dir[j] == pack(s));
        }
        deepest += s->depth == t->dir_bits;
        for (const struct segment *link = s; link != NULL; link = link->more) {
            INVARIANT(link->depth == s->depth);
            INVARIANT(link->shift == s->shift);
            INVARIANT(link->buckets_n == s->buckets_n);
            INVARIANT(link->shift <= SHIFT_MAX);
            check_segment(t, link, i >> (t->dir_bits - s->depth), &sum);
        }
        i += entries;
    }
    INVARIANT(deepest == t->deepest);
    INVARIANT(sum.count == t->count);
    INVARIANT(sum.expires == t->expires);
    INVARIANT(sum.segments == t->segments);
    INVARIANT(sum.memory == t->memory);
}
