// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include "common/base/obj.h"

#include <xxhash.h>

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(ptr, len, seed);
}

static inline uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9E3779B97F4A7C15ULL;
    return h ^ (h >> 32);
}

/* Bit 5 set in every byte makes letters' cases equal, and some other pairs too ('@' and '`'): fine
 * for a hash, since the comparison behind it decides. */
uint64_t hash_name(const char *ptr, size_t len)
{
    uint64_t h = len * 0xD6E8FEB86659FD93ULL;
    len = MIN(len, 64U);
    for (; len > 8; ptr += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, ptr, 8);
        h = mix(h, word | 0x2020202020202020ULL);
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < len; i++) {
        rest = rest << 8 | (unsigned char)ptr[i] | 0x20U;
    }
    return mix(h, rest);
}
