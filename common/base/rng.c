// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/rng.h"

#include "common/base/obj.h"

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

void rng_init(struct rng *r, uint64_t seed)
{
    /* splitmix64: seeds that differ in one bit give unrelated states, and never all zeros. */
    for (size_t i = 0; i < ARRAY_LEN(r->s); i++) {
        seed += 0x9E3779B97F4A7C15ULL;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    INVARIANT(bound > 0);
    /* Lemire: the high half of a product is uniform once the few low halves that would make some
     * results likelier are thrown away. */
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold) {
            product = (unsigned __int128)rng_next(r) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

double rng_double(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1.0p-53;
}
