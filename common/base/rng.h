// SPDX-License-Identifier: BSD-3-Clause
/* Seeded random numbers (xoshiro256**), passed in wherever randomness decides something, so that a
 * seed replays a run. Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* 0 .. bound-1, unbiased. bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* [0, 1) */
double rng_double(struct rng *r);
