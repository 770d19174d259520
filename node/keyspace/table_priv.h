// SPDX-License-Identifier: BSD-3-Clause
/* What a table is made of, for the files that are the table: table.c holds keys and makes room,
 * table_walk.c goes over them, table_check.c looks whether all is as it must be. */
#pragma once

#include "node/keyspace/table.h"

#include <endian.h>

enum {
    SLOTS = 7,          /* objects in a bucket */
    LINE = 64,          /* bytes of a bucket, and of a segment's header */
    BUCKETS_MAX = 127,  /* with the header 8 KiB */
    POSITION_BITS = 12, /* of the hash say where in its segment a key belongs */
    SHIFT_MAX = 4,      /* so often a segment's hash bits survive a split: 16 - POSITION_BITS */
    DEPTH_MAX = 34,     /* so that DEPTH_MAX + POSITION_BITS <= 48, a scan's cursor */
    PASSED_MAX = 127,   /* this many or more passed by: nobody counts any more */
};
#define EXPIRES_BIT  0x80U
#define ADDRESS_MASK ((UINT64_C(1) << 48) - 1)
#define TABLE_MAGIC  0x7ab1e001U

struct bucket {
    uint8_t meta;
    uint8_t tags[SLOTS]; /* 0: free */
    uint64_t slots[SLOTS];
};

struct segment {
    uint16_t buckets_n;
    uint8_t depth; /* top bits of the hash that all its keys share */
    uint8_t shift; /* the slots' 16 hash bits begin at bit depth - shift */
    uint32_t count;
    int64_t expire_min;   /* no key of it expires before; INT64_MAX: none expires */
    struct segment *more; /* of as many buckets; then all of ours say that keys passed by */
    uint64_t unused[5];
    struct bucket buckets[];
};
_Static_assert(sizeof(struct bucket) == LINE, "a bucket is a cache line");
_Static_assert(sizeof(struct segment) == LINE, "a segment's header is a cache line");

struct table {
    uint32_t magic;
    uint32_t dir_bits;
    uint64_t *dir;      /* packed: 48 bits address, 7 buckets_n, 6 depth, 3 shift */
    uint64_t dir_first; /* what dir points to while dir_bits is 0 */
    uint64_t count;
    uint64_t expires;
    size_t memory;
    int64_t expire_min;
    int64_t sweep_min; /* table_scan_expired: what expire_min will be when it comes to the end */
    table_hash_fn *hash;
    uint64_t seed;
    uint64_t segments;
    uint64_t deepest;   /* segments as deep as the directory */
    uint64_t free_next; /* table_free_step: next directory entry */
};

/* ---- the directory ---- */

static inline uint64_t pack(struct segment *s)
{
    uint64_t address = (uint64_t)(uintptr_t)s;
    INVARIANT((address & ~ADDRESS_MASK) == 0);
    return address | (uint64_t)s->buckets_n << 48 | (uint64_t)s->depth << 55 |
           (uint64_t)s->shift << 61;
}

static inline struct segment *unpack(uint64_t entry)
{
    return (struct segment *)(uintptr_t)(entry & ADDRESS_MASK); // NOLINT(performance-no-int-to-ptr)
}

static inline unsigned packed_buckets(uint64_t entry)
{
    return (unsigned)(entry >> 48) & 0x7f;
}

static inline unsigned packed_depth(uint64_t entry)
{
    return (unsigned)(entry >> 55) & 0x3f;
}

static inline unsigned packed_shift(uint64_t entry)
{
    return (unsigned)(entry >> 61);
}

static inline uint64_t dir_index(const struct table *t, uint64_t hash)
{
    return hash >> 1 >> (63 - t->dir_bits);
}

/* Where in its segment a hash belongs: the POSITION_BITS below the first `depth`. */
static inline unsigned position(uint64_t hash, unsigned depth)
{
    return (unsigned)(hash << depth >> (64 - POSITION_BITS));
}

static inline unsigned bucket_at(unsigned pos, unsigned buckets_n)
{
    return pos * buckets_n >> POSITION_BITS;
}

/* The 16 hash bits that a slot of a segment keeps. */
static inline uint64_t fragment(uint64_t hash, unsigned depth, unsigned shift)
{
    return hash << (depth - shift) >> 48;
}

/* Those of a slot, without the bits that the segment's depth has overtaken. */
static inline unsigned slot_position(uint64_t slot, unsigned shift)
{
    return ((unsigned)(slot >> 48) << shift & 0xffffU) >> (16 - POSITION_BITS);
}

static inline struct object *slot_object(uint64_t slot)
{
    return (struct object *)(uintptr_t)(slot & ADDRESS_MASK); // NOLINT(performance-no-int-to-ptr)
}

static inline uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return (uint8_t)(tag + (tag == 0));
}

static inline uint64_t prefix_of(uint64_t hash, unsigned depth)
{
    return hash >> 1 >> (63 - depth);
}

/* ---- a bucket's eight bytes at once: byte 0 is meta, byte i + 1 is tag i ---- */

static inline uint64_t control(const struct bucket *b)
{
    uint64_t word;
    memcpy(&word, b, sizeof(word));
    return le64toh(word);
}

/* High bit of byte i + 1 for each tag i that is equal; rarely also for one above an equal one. */
static inline uint64_t match(uint64_t word, uint8_t tag)
{
    uint64_t x = (word ^ tag * UINT64_C(0x0101010101010101)) | 0xff;
    return (x - UINT64_C(0x0101010101010101)) & ~x & UINT64_C(0x8080808080808000);
}

static inline unsigned match_slot(uint64_t matches)
{
    return (unsigned)__builtin_ctzll(matches) / 8 - 1;
}

/* Number of the first free slot, SLOTS if there is none. */
static inline unsigned free_slot(const struct bucket *b)
{
    uint64_t free = match(control(b), 0);
    return free == 0 ? (unsigned)SLOTS : match_slot(free);
}

static inline bool nobody_passed(uint64_t word)
{
    return (word & 0x7f) == 0;
}

static inline void count_passing(struct bucket *b)
{
    if ((b->meta & 0x7f) < PASSED_MAX) {
        b->meta++;
    }
}

static inline void uncount_passing(struct bucket *b)
{
    if ((b->meta & 0x7f) < PASSED_MAX) {
        b->meta--;
    }
}

/* ---- segments ---- */

static inline size_t segment_size(unsigned buckets_n)
{
    return ((size_t)buckets_n + 1) * LINE;
}
