// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/assign.h"

#include <stdio.h>

void assign_init(struct assign *a)
{
    a->enough_since_ms = -1;
}

bool assign_due(struct assign *a, int64_t now_ms, int nodes, int nodes_min, int64_t delay_ms,
                char *why, size_t why_size)
{
    if (nodes < nodes_min) {
        a->enough_since_ms = -1;
        (void)snprintf(why, why_size, "waiting for nodes: %d of %d are there", nodes, nodes_min);
        return false;
    }
    if (a->enough_since_ms < 0) {
        a->enough_since_ms = now_ms;
    }
    (void)snprintf(why, why_size, "%d nodes are there: shards are assigned within %lld ms", nodes,
                   (long long)delay_ms);
    return now_ms - a->enough_since_ms >= delay_ms;
}
