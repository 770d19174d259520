// SPDX-License-Identifier: BSD-3-Clause
/* Counts of durations, from 1 ns to about a second (longer ones count as the longest), within 3 %:
 * each power of two is cut into 32 buckets. One thread owns it. Pure. */
#pragma once

#include "common/base/obj.h"

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_NS_MAX   ((INT64_C(1) << 30) - 1)
#define HISTOGRAM_BUCKETS  ((30 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t total;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

/* Values below 32 have a bucket each; above, the highest bit says the row and the next five the
 * bucket in it. */
static inline unsigned histogram_bucket(int64_t ns)
{
    uint64_t v = ns < 0 ? 0 : ns > HISTOGRAM_NS_MAX ? (uint64_t)HISTOGRAM_NS_MAX : (uint64_t)ns;
    if (v < (1u << HISTOGRAM_SUB_BITS)) {
        return (unsigned)v;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
    return (unsigned)(v >> shift) + (shift << HISTOGRAM_SUB_BITS);
}

/* The largest value that falls into a bucket. */
static inline int64_t histogram_bucket_max(unsigned bucket)
{
    if (bucket < (2u << HISTOGRAM_SUB_BITS)) {
        return bucket;
    }
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    int64_t top = (int64_t)(bucket - (shift << HISTOGRAM_SUB_BITS));
    return ((top + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *h, int64_t ns)
{
    h->counts[histogram_bucket(ns)]++;
    h->total++;
}

void histogram_merge(struct histogram *to, const struct histogram *from);
/* The smallest value that `percent` (0 to 100) of all are not above; 0 while empty. */
int64_t histogram_percentile(const struct histogram *h, double percent);
/* How many are in the buckets up to the one of `ns`. */
uint64_t histogram_up_to(const struct histogram *h, int64_t ns);
