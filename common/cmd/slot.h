// SPDX-License-Identifier: BSD-3-Clause
/* From a key to its slot, and from a slot to its shard. Pure.
 *
 * The slot is Redis Cluster's: CRC16 of the key, or of what stands between its first '{' and the
 * next '}' when that is not empty. Shard i of n owns one contiguous range of slots, fixed by n
 * alone; ranges differ in size by at most one. n in 1..SLOT_COUNT. */
#pragma once

#include "common/base/crc.h"
#include "common/base/slice.h"

#define SLOT_COUNT 16384

/* The part of the key that is hashed. */
static inline struct slice slot_tag(struct slice key)
{
    const char *open = key.len == 0 ? NULL : memchr(key.ptr, '{', key.len);
    if (open != NULL) {
        const char *from = open + 1;
        size_t left = key.len - (size_t)(from - key.ptr);
        const char *close = left == 0 ? NULL : memchr(from, '}', left);
        if (close != NULL && close > from) {
            return slice_of(from, (size_t)(close - from));
        }
    }
    return key;
}

static inline uint16_t slot_of(struct slice key)
{
    struct slice tag = slot_tag(key);
    return crc16(tag.ptr, tag.len) & (SLOT_COUNT - 1);
}

static inline uint32_t slot_to_shard(uint32_t slot, uint32_t shards)
{
    return slot * shards / SLOT_COUNT;
}

/* The shard's first slot; for shard == shards one behind the last slot of all. */
static inline uint32_t slot_first(uint32_t shard, uint32_t shards)
{
    return (shard * SLOT_COUNT + shards - 1) / shards;
}

static inline uint32_t slot_last(uint32_t shard, uint32_t shards)
{
    return slot_first(shard + 1, shards) - 1;
}
