// SPDX-License-Identifier: BSD-3-Clause
/* When the cluster takes its first assignment: once enough nodes are there, and a delay after that
 * to let the rest of a start-up in, so that the first to come do not take everything. Pure. */
#pragma once

#include "common/model/map.h"

struct assign {
    int64_t enough_since_ms; /* -1: not enough nodes are there */
};

void assign_init(struct assign *a);
/* True: now. Else `why` says in a line what is being waited for. */
bool assign_due(struct assign *a, int64_t now_ms, int nodes, int nodes_min, int64_t delay_ms,
                char *why, size_t why_size);
