// SPDX-License-Identifier: BSD-3-Clause
/* What shoal-proxy can be told: one field for each row of options.def.
 *
 * main.c owns the first; each worker has a copy of its own (worker->options), replaced as a whole
 * when CONFIG SET changed something. */
#pragma once

#include "common/app/options.h"

struct output_limit {
    uint64_t hard; /* bytes; 0: none */
    uint64_t soft;
    int64_t soft_seconds;
};
enum { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };
struct output_limits {
    struct output_limit of[OUTPUT_CLASSES];
};

enum cluster_view { CLUSTER_VIEW_PROXY, CLUSTER_VIEW_NODES };

/* clang-format off */
struct proxy_options {
#define OPTIONS_AS_FIELDS
#include "common/app/options_macros.h"
#include "proxy/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */

const struct options_table *proxy_options_table(void);
