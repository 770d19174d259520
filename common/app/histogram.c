// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/histogram.h"

#include <math.h>

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->counts[i] += from->counts[i];
    }
    to->total += from->total;
}

int64_t histogram_percentile(const struct histogram *h, double percent)
{
    double wanted = ceil(percent / 100.0 * (double)h->total);
    uint64_t target = wanted < 1.0 ? 1 : (uint64_t)wanted;
    uint64_t sum = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += h->counts[i];
        if (sum >= target) {
            return histogram_bucket_max(i);
        }
    }
    return 0;
}

uint64_t histogram_up_to(const struct histogram *h, int64_t ns)
{
    uint64_t sum = 0;
    unsigned last = histogram_bucket(ns);
    for (unsigned i = 0; i <= last; i++) {
        sum += h->counts[i];
    }
    return sum;
}
