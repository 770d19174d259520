// SPDX-License-Identifier: BSD-3-Clause
/* Keys as bytes, as a full copy of a shard carries them from node to node:
 *
 *   key        length database | i64 le expiry (-1: none) | byte type | string key | value
 *   portrait   the same, but that in place of the value stands its portrait's head (portrait.h)
 *
 * with lengths, strings, types and values as in types/rdb.h. The node's thread. Pure. */
#pragma once

#include "node/keyspace/walk.h"
#include "node/types/draft.h"
#include "node/types/portrait.h"

#include "common/base/str.h"

/* What was copied at one moment. Zeroed: nothing. */
struct copied {
    struct str bytes; /* keys */
    uint64_t keys;    /* with those that are portrayed */
    struct copied_portrait {
        struct portrait *portrait; /* the caller's to free */
        struct str head;
    } * portraits; /* keys whose values are too large */
    size_t n_portraits;
    size_t cap_portraits;
};
/* Forgets all; portraits are the caller's to see to before. */
void copied_clear(struct copied *c);
void copied_fini(struct copied *c);

/* A step of a walk (walk.h), its keys added to `to`. Ends behind a place with a large one. */
bool copy_scan(struct keyspace *ks, int shard, struct walk_place *at, size_t budget,
               struct copied *to) MUSTCHECK;
/* One key as it is now; adds nothing if there is none. */
void copy_key(struct keyspace *ks, int shard, int db, uint64_t hash, struct slice key,
              struct copied *to);
/* Puts all the keys in `in` in their place in the shard, which is held, instead of what is there.
 * False: malformed, or of another shard; some may have been put. *n counts them. */
bool copy_put(struct keyspace *ks, int shard, struct slice in, int64_t now_ms,
              uint64_t *n) MUSTCHECK;

/* A key that comes as a portrait. NULL: malformed, or of another shard. */
struct draft *copy_draft(struct keyspace *ks, int shard, struct slice head, int *db) MUSTCHECK;
/* As copy_put; the draft is gone. False: it is not whole. */
bool copy_put_draft(struct keyspace *ks, int shard, int db, struct draft **d,
                    int64_t now_ms) MUSTCHECK;
