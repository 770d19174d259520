// SPDX-License-Identifier: BSD-3-Clause
/* What a node's answer means for the request, and when to try again. Pure. */
#pragma once

#include "common/base/rng.h"
#include "common/base/slice.h"

enum node_answer {
    ANSWER_REPLY, /* the client's, errors of the command included */
    ANSWER_MOVED, /* not executed: the node does not hold the shard */
    ANSWER_LATER, /* not executed: the node can't now (LOADING, TRYAGAIN, CLUSTERDOWN, ...) */
};

/* `reply` is a whole reply that begins with '-'. */
enum node_answer retry_classify(struct slice reply);

struct retry_policy {
    int64_t initial_us;
    int64_t max_us;
    int64_t backoff_percent; /* 200: each delay twice the last */
};

/* The delay before the try-th next try (0 is the first), with jitter: between half and all of it.
 */
int64_t retry_delay_us(const struct retry_policy *p, uint32_t tries, struct rng *rng);
