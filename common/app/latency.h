// SPDX-License-Identifier: BSD-3-Clause
/* The latency monitor: for each kind of event ("command", "expire-cycle", "fork") the last 160
 * seconds in which one took at least latency-monitor-threshold, and the LATENCY command over it.
 * One thread owns it. */
#pragma once

#include "common/app/cmdstats.h"

struct latency;

struct latency *latency_new(void);
void latency_free(struct latency **l);
/* latency-monitor-threshold in ms; 0: off. */
void latency_set_threshold(struct latency *l, int64_t ms);

static inline bool latency_wants(int64_t threshold_ms, int64_t ms)
{
    return threshold_ms > 0 && ms >= threshold_ms;
}

/* An event of that kind took `ms`; kept if it took long enough. `event` is a literal. */
void latency_add(struct latency *l, const char *event, int64_t wall_ms, int64_t ms);

/* argv[0] is LATENCY; argc >= 1. `stats` is for HISTOGRAM. */
void latency_command(struct latency *l, const struct cmdstats *stats, int64_t wall_ms,
                     const struct slice *argv, size_t argc, struct resp_writer *w);
