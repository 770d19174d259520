// SPDX-License-Identifier: BSD-3-Clause
/* The planner's working state, shared by plan.c (primaries) and plan_replicas.c. */
#pragma once

#include "proxy/coordinator/plan.h"

struct planner {
    const struct plan_input *in;
    const struct map *map;
    struct plan *plan;
    int n;        /* nodes */
    int n_pinned; /* shards whose data is on a dead node */
    int *was;     /* by shard: home before planning, NODE_NONE if it never had one */
    bool *pinned; /* by shard */
    int *has;     /* by node: primaries placed there so far */
    int *due;     /* by node: primaries that it should have */
};

/* Fills in the replicas, the homes being decided. */
void plan_replicas(struct planner *p);
