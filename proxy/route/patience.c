// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/patience.h"

#include "common/base/obj.h"

void patience_stalled(struct patience *p, int64_t now_us, int64_t us)
{
    int64_t total = p->n == 0 ? 0 : p->kept[(p->n - 1) % PATIENCE_KEPT].total_us;
    INVARIANT(us > 0);
    p->kept[p->n % PATIENCE_KEPT].end_us = now_us;
    p->kept[p->n % PATIENCE_KEPT].total_us = total + us;
    p->n++;
}

int64_t patience_since(const struct patience *p, int64_t from_us)
{
    if (p->n == 0 || p->kept[(p->n - 1) % PATIENCE_KEPT].end_us <= from_us) {
        return 0;
    }
    uint32_t first = p->n > PATIENCE_KEPT ? p->n - PATIENCE_KEPT : 0;
    uint32_t at = p->n; /* the first that ended behind from_us */
    while (at > first && p->kept[(at - 1) % PATIENCE_KEPT].end_us > from_us) {
        at--;
    }
    int64_t total = p->kept[(p->n - 1) % PATIENCE_KEPT].total_us;
    if (at > first) {
        return total - p->kept[(at - 1) % PATIENCE_KEPT].total_us;
    }
    return first == 0 ? total : total - p->kept[first % PATIENCE_KEPT].total_us;
}
