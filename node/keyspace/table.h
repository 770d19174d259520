// SPDX-License-Identifier: BSD-3-Clause
/* The hash table of one shard and database. Owned by the keyspace; the node's thread. Pure.
 *
 * Extendible hashing: a directory, by the top bits of the hash, of segments of up to 127 buckets. A
 * bucket is one cache line: 7 objects with a one-byte tag each, and a byte that says how many keys
 * passed by because it was full, and whether one of its keys expires. Within a segment a key goes
 * to the next bucket when its own is full, the last one's next being the first.
 *
 *   directory      segment                     bucket (64 bytes)
 *   00 --------->  [header, 64 bytes]          | meta | 7 tags | 7 x (16 hash bits, 48 address) |
 *   01 -----'      [bucket 0]
 *   10 --------->  ...                         meta: bit 7 a key expires, bits 0-6 keys passed by
 *   11 -----.      [bucket n - 1]
 *           '--->
 *
 * A segment grows in steps of a quarter or less and splits in two at its largest, so that no insert
 * costs more than moving some 800 entries; the 16 hash bits beside each address make that possible
 * mostly without touching the objects. Buckets are in the order of the hash throughout: a scan is a
 * walk up the hash's values, and its cursor, being a hash, means the same whatever grew or shrank
 * in between.
 *
 * Keys that a segment has no place for and that no split would part hang in a chain of segments;
 * with hashes that nobody forged that does not happen. */
#pragma once

#include "node/types/object.h"

struct table;

typedef uint64_t table_hash_fn(struct slice key, uint64_t seed);

/* `hash` and `seed` make a key's hash again, for when 16 bits of it are not enough. */
struct table *table_new(table_hash_fn *hash, uint64_t seed);
/* With all objects in it. */
void table_free(struct table **t);

/* Makes room for `count` keys in an empty table, as much as it would have when they had been added
 * one by one; what they do not need stays. */
void table_reserve(struct table *t, uint64_t count);

uint64_t table_count(const struct table *t);
uint64_t table_expires(const struct table *t); /* keys with an expiry */
/* Bytes of the table and the objects in it, exact in what object_size_class() gives. */
size_t table_memory(const struct table *t);
/* No object in it expires before; lower than true at times. INT64_MAX: none expires. */
int64_t table_expire_min(const struct table *t);

struct object *table_find(const struct table *t, uint64_t hash, struct slice key);
void table_prefetch_bucket(const struct table *t, uint64_t hash);
void table_prefetch_object(const struct table *t, uint64_t hash);

/* Takes `o`, whose key must not be in the table. */
void table_add(struct table *t, uint64_t hash, struct object *o);
/* Gives `o`, which is in the table, to the caller. */
void table_take(struct table *t, uint64_t hash, struct object *o);

/* What the table keeps account of, to be read before an object in it is changed or moved. */
struct table_entry {
    const struct object *address;
    size_t memory;
    int64_t expire;
};
struct table_entry table_entry_of(const struct object *o);
/* The object of `was` is now `now`: maybe at another address, of another size or expiry. */
void table_changed(struct table *t, uint64_t hash, struct table_entry was, struct object *now);

/* SCAN: visits the objects of at least one bucket from hash `cursor` << 16 on, and returns the next
 * cursor; TABLE_SCAN_END when that was the last. The visitor changes nothing. */
#define TABLE_SCAN_END (UINT64_C(1) << 48)
typedef void table_visit_fn(void *arg, struct object *o);
uint64_t table_scan(const struct table *t, uint64_t cursor, table_visit_fn *visit, void *arg);

/* As table_scan, but a segment at a time and only keys whose expiry is before `now_ms`. `looked` is
 * increased by the number of keys that had to be looked at. `visit` may not change the table. */
uint64_t table_scan_expired(struct table *t, uint64_t cursor, int64_t now_ms, uint64_t *looked,
                            table_visit_fn *visit, void *arg);

/* For samples: as table_scan, but passes by what lies in buckets where nothing has an expiry, and
 * gives the others in no order that lasts. */
uint64_t table_scan_expiring(const struct table *t, uint64_t cursor, table_visit_fn *visit,
                             void *arg);

/* The object at a random place, from 64 random bits for each try. NULL: hit an empty place. */
struct object *table_random(const struct table *t, uint64_t random_a, uint64_t random_b);

/* Frees about `budget` objects, `freed` counts them; true when the table itself is freed too.
 * Values of very many elements are handed to `large`, which takes them; NULL: they are freed as
 * well. */
#define TABLE_LARGE 1024
typedef void table_large_fn(void *arg, struct object *o);
bool table_free_step(struct table **t, uint64_t budget, uint64_t *freed, table_large_fn *large,
                     void *arg);

struct table_shape {
    uint64_t segments;
    uint64_t chained;   /* segments in chains */
    uint64_t places;    /* for objects */
    uint64_t displaced; /* objects not in their own bucket */
    unsigned directory_bits;
};
void table_shape(const struct table *t, struct table_shape *out);
/* Breaks if anything that must hold does not. Slow; for tests. */
void table_check(const struct table *t);
