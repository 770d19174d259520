// SPDX-License-Identifier: BSD-3-Clause
/* Keys as bytes, as a full copy of a shard carries them from node to node:
 *
 *   key   length database | i64 le expiry (-1: none) | byte type | string key | value
 *
 * with lengths, strings, types and values as in types/rdb.h. The node's thread. Pure. */
#pragma once

#include "node/keyspace/walk.h"

#include "common/base/str.h"

/* Appends one key. */
void copy_write(struct str *to, int db, const struct object *o);
/* A step of a walk (walk.h), its keys appended to `to`. False: that was the last. */
bool copy_scan(struct keyspace *ks, int shard, struct walk_place *at, size_t budget, struct str *to,
               uint64_t *keys) MUSTCHECK;
/* One key as it is now; appends nothing if there is none. */
void copy_key(struct keyspace *ks, int shard, int db, uint64_t hash, struct slice key,
              struct str *to);
/* Puts all the keys in `in` in their place in the shard, which is held, instead of what is there.
 * False: malformed, or of another shard; some may have been put. *n counts them. */
bool copy_put(struct keyspace *ks, int shard, struct slice in, int64_t now_ms,
              uint64_t *n) MUSTCHECK;
