// SPDX-License-Identifier: BSD-3-Clause
/* What is durable: the newest map, with what the operator wants of rebalancing and how far that is.
 * One record holds all of it, so any record read back is a whole state; moves follow from it. Pure.
 */
#pragma once

#include "common/model/map.h"

struct decision {
    struct map *map;
    bool rebalancing; /* an even spread is wanted, not only the holes filled */
    bool paused;
    uint64_t handed; /* shards handed over so far */
    uint64_t done;   /* shards that are where they belong, of this or the last rebalance */
    uint64_t copied; /* bytes, likewise */
    /* By shard: which node of the map an operator wants to be primary (CLUSTER FAILOVER), or
     * NODE_NONE. NULL: nobody wants anything. */
    int *wishes;
};

void decision_encode(const struct decision *d, struct str *to);
/* False: no whole decision. What is in it is the caller's: decision_fini. */
bool decision_decode(struct slice in, struct decision *out) MUSTCHECK;
void decision_fini(struct decision *d);
