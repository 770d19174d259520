// SPDX-License-Identifier: BSD-3-Clause
/* The bytes of a snapshot: one shard, in blocks. Everything is little-endian.
 *
 *   shard.<number, 5 digits>      (shard.<number>.new while it is written)
 *     magic 8 | u32 format | u32 0 | u64 nonce | u64 sum of these 24 bytes
 *     block     u64 sum | u32 kind | u32 0 | u64 index | u64 len | len bytes
 *     first block    SNAPSHOT_HEAD: what it is of, see snapshot_head_write
 *     then           SNAPSHOT_KEYS: [0xFE db] ([0xFC i64 ms] type key value)... as in an RDB file
 *                    0xE0 number type key head: a large value, whose parts come among the keys
 *                    behind (types/portrait.h)
 *                    0xE1 number last(0, 1) part: the next of that number, a string
 *     last block     SNAPSHOT_FOOT: u64 keys
 *
 * A block's sum is XXH3 of all that follows it in the block, seeded with nonce and index, so that
 * no block can stand for another one. A value too big for copying is written from where it is: then
 * it ends its block, and the sum is XXH3 of those bytes seeded with that of the bytes before. Which
 * part is which the block tells: `split` in place of the second zero, 0 where it is one part. */
#pragma once

#include "common/base/hash.h"
#include "common/base/obj.h"

#include <stdbool.h>
#include <stdio.h>

#define SNAPSHOT_MAGIC      "SHOALSHD"
#define SNAPSHOT_FORMAT     2 /* 1 had no large values in parts */
#define SNAPSHOT_FILE_HEAD  32
#define SNAPSHOT_BLOCK_HEAD 32
#define SNAPSHOT_SEED       UINT64_C(0x534e4150)
#define SNAPSHOT_NAME_MAX   32
#define SNAPSHOT_PORTRAIT   0xE0 /* beside the types of values and opcodes of RDB files */
#define SNAPSHOT_PART       0xE1

enum snapshot_kind { SNAPSHOT_HEAD = 1, SNAPSHOT_KEYS = 2, SNAPSHOT_FOOT = 3 };

static inline uint64_t snapshot_seed(uint64_t nonce, uint64_t index)
{
    return nonce + (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

static inline void snapshot_name(char to[SNAPSHOT_NAME_MAX], int shard, bool unfinished)
{
    snprintf(to, SNAPSHOT_NAME_MAX, "shard.%05d%s", shard, unfinished ? ".new" : "");
}
