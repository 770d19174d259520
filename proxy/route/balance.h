// SPDX-License-Identifier: BSD-3-Clause
/* Which member of a replica set gets a read. Pure: load, randomness and turn come as arguments. */
#pragma once

#include "common/base/rng.h"

enum read_from { READ_LEAST_LOADED, READ_ROUND_ROBIN, READ_WEIGHTED, READ_PRIMARY };

struct balance_choice {
    uint32_t in_flight;
    uint32_t latency_us;   /* smoothed; 0: not known yet */
    uint32_t load_percent; /* reported by its heartbeats; 100 is average, 0: not known */
    uint32_t weight;       /* 100 is normal */
};

/* Index of the one chosen among n >= 1; choice 0 is the primary. `turn` is the caller's counter for
 * round-robin; it is moved on. */
int balance_pick(enum read_from how, const struct balance_choice *choices, int n, struct rng *rng,
                 uint32_t *turn);
