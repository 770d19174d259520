// SPDX-License-Identifier: BSD-3-Clause
/* Option types that both daemons have beside the plain ones: client-output-buffer-limit and
 * latency-tracking-info-percentiles. For OPTION_CUSTOM rows; the fields own nothing. */
#pragma once

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/str.h"

enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };

struct output_limit {
    uint64_t hard; /* bytes; 0: none */
    uint64_t soft;
    int64_t soft_seconds; /* above `soft` for so long, and the client is closed */
};

struct output_limits {
    struct output_limit of[OUTPUT_CLASSES];
};

bool output_limits_parse(void *field, struct slice value, struct errmsg *err) MUSTCHECK;
void output_limits_print(const void *field, struct str *to);

#define PERCENTILES_MAX 16
struct percentiles {
    int count;
    double at[PERCENTILES_MAX]; /* 0 to 100 */
};

bool percentiles_parse(void *field, struct slice value, struct errmsg *err) MUSTCHECK;
void percentiles_print(const void *field, struct str *to);
