// SPDX-License-Identifier: BSD-3-Clause
/* The planner: from a map and settings to where every shard's primary and replicas should be. A
 * pure function: the same input gives the same plan.
 *
 * - Primaries: each node that may take some gets its share by weight, rounded up or down; no more
 *   of them change place than that needs.
 * - Copies (primaries and replicas together) likewise, at most one of a shard on a node, and no
 * more in a zone than the number of zones makes necessary; zones go before an even spread.
 * - A shard without a primary stays with whom it waits for; its replicas are placed.
 * - What a dead node had is placed elsewhere, unless it is expected back.
 * - A draining node, or one of weight 0, gets nothing. */
#pragma once

#include "common/model/map.h"

struct plan_input {
    const struct map *map;
    int replication_factor;
    /* false: shards stay with the nodes that have them, even unevenly; only what has no home or a
     * draining one is placed, and replica sets are filled up. */
    bool rebalance;
    const uint64_t *keys; /* by shard, may be NULL: the empty ones are chosen to move first */
    const bool *expected; /* by node, may be NULL: dead, but its replicas' places are kept */
};

struct plan_shard {
    int home; /* who should be primary; NODE_NONE: there is no node to take it */
    int n_replicas;
    int replicas[MEMBERS_MAX];
};

struct plan {
    int n_shards;
    int n_nodes;
    struct plan_shard *shards;
    int *primaries; /* by node: planned */
    int *copies;
    int moves;      /* shards whose primary changes from one living node to another */
    int placements; /* shards that get their first primary */
    int new_copies; /* copies to be made */
};

/* Whether the node is to have a copy of the shard. */
bool plan_wants(const struct plan *p, int shard, int node);
/* The shard's primary and one of its replicas change places in the plan; the node becomes one if it
 * is none. */
void plan_crown(struct plan *p, int shard, int node);

struct plan *plan_new(const struct plan_input *in);
void plan_free(struct plan **p);

/* May the node take shards: alive, not draining, weight above 0. */
bool plan_takes(const struct map_node *n);
