// SPDX-License-Identifier: BSD-3-Clause
/* Times in which this process did not run: it was stopped, or got no processor, or one turn of its
 * loop took long. What nodes answered or said meanwhile it could not see, so that time is not held
 * against them: deadlines are put off by it. Promises to others (leases, the age of a write) are
 * another matter: they go by the clock.
 *
 * Pure; owned by one worker. Stretches are kept in the order of time; the oldest are forgotten,
 * which makes less patient, never more. */
#pragma once

#include <stdint.h>

#define PATIENCE_KEPT 128

struct patience {
    struct {
        int64_t end_us;
        int64_t total_us; /* of all stretches so far, this one too */
    } kept[PATIENCE_KEPT];
    uint32_t n; /* ever */
};

/* It did not run for so long, until now. */
void patience_stalled(struct patience *p, int64_t now_us, int64_t us);
/* How much of the time since then it did not run. */
int64_t patience_since(const struct patience *p, int64_t from_us);
