// SPDX-License-Identifier: BSD-3-Clause
/* maxmemory: which keys go when there is too little, by Redis's eight policies.
 *
 * Only keys of shards that are served here go: an eviction is the primary's decision, and copies
 * learn of it as a DEL. LRU, LFU and TTL are found by samples, of which the best are remembered (as
 * Redis does); a random policy takes what it meets first. What replication keeps beside the data
 * (`uncounted`), and what waits to be freed, is not counted: evicting keys would not make it less.
 *
 * The node's thread. Pure: the caller says how much may be done at a time. */
#pragma once

#include "node/keyspace/keyspace.h"

/* In the order of the option's names. */
enum evict_policy {
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_TTL,
    EVICT_ALLKEYS_LRU,
    EVICT_ALLKEYS_LFU,
    EVICT_ALLKEYS_RANDOM,
    EVICT_NOTHING,
};

static inline bool evict_uses_lfu(int64_t policy)
{
    return policy == EVICT_VOLATILE_LFU || policy == EVICT_ALLKEYS_LFU;
}

/* Redis shares small integers, unless their clocks are needed one by one. */
static inline bool evict_keeps_clocks(int64_t policy)
{
    return policy == EVICT_VOLATILE_LRU || policy == EVICT_ALLKEYS_LRU || evict_uses_lfu(policy);
}

enum evict_result {
    EVICT_ENOUGH,  /* memory is below the limit, or there is none */
    EVICT_GOES_ON, /* `most` keys went and it is not enough: call again soon */
    EVICT_FAILED,  /* it is above and nothing may go */
};

/* How far memory is above the limit; 0: it is not. */
size_t evict_excess(const struct keyspace *ks);
/* At most `most` keys; no group of effects is open. */
enum evict_result keyspace_evict(struct keyspace *ks, int64_t now_ms, size_t most);
/* For the sake of others: at most `most` keys of the shards marked, until `bytes` of memory went.
 * The bytes that went; 0: nothing may go. No group of effects is open. */
size_t keyspace_evict_for(struct keyspace *ks, int64_t now_ms, size_t bytes, size_t most,
                          const bool *shards);
/* Keys that may be evicted for one command, by maxmemory-eviction-tenacity (0 to 100). */
size_t evict_patience(int64_t tenacity);

void evictor_free(struct evictor **e);
