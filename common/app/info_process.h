// SPDX-License-Identifier: BSD-3-Clause
/* INFO of what any daemon is: its program, its machine, its processor time. */
#pragma once

#include "common/base/str.h"

struct info_server {
    bool cluster;      /* redis_mode */
    const char *clock; /* monotonic_clock */
    const char *run_id;
    int port;
    int64_t wall_ms;
    int64_t uptime_s;
    int64_t hz;
    const char *executable; /* NULL: unknown */
    const char *conf_path;  /* NULL: none */
    bool threads;
};

/* The lines of the sections Server and CPU. */
void info_server(const struct info_server *s, struct str *to);
void info_cpu(struct str *to);
struct mem_stats;
/* allocator_frag_ratio to mem_fragmentation_bytes: how much more memory than was asked for the
 * allocator's pages take, and the process. Without figures of the allocator the process's. */
void info_fragmentation(const struct mem_stats *m, struct str *to);
