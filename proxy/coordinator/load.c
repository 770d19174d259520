// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/coordinator.h"
#include "proxy/coordinator/coordinator_priv.h"

/* Added to everybody's count, so that a few commands a second on idle nodes decide nothing. */
#define OPS_SPARE     1000
#define LOAD_MIN      25
#define SHORT_PERCENT 90 /* of maxmemory: from here on who queues for EXEC asks */
#define LOAD_MAX      400

static uint32_t percent_of(uint64_t ops, uint64_t average)
{
    uint64_t percent = (ops + OPS_SPARE) * 100 / (average + OPS_SPARE);
    return (uint32_t)MIN(MAX(percent, (uint64_t)LOAD_MIN), (uint64_t)LOAD_MAX);
}

size_t coordinator_loads(const struct coordinator *c, struct coordinator_load *to, size_t max)
{
    uint64_t sum = 0;
    size_t n = 0;
    for (int i = 0; i < c->registry.count; i++) {
        const struct peer *p = c->registry.peers[i];
        if (p->link != 0 && p->heartbeats > 0) {
            sum += MIN(p->ops, UINT32_MAX);
            n++;
        }
    }
    size_t written = 0;
    for (int i = 0; i < c->registry.count && written < max; i++) {
        const struct peer *p = c->registry.peers[i];
        if (p->link != 0 && p->heartbeats > 0) {
            struct coordinator_load *l = &to[written++];
            memcpy(l->id, p->id, sizeof(l->id));
            l->short_of_memory =
                p->memory_limit > 0 && p->memory > p->memory_limit / 100 * SHORT_PERCENT;
            l->percent = percent_of(MIN(p->ops, UINT32_MAX), sum / n);
        }
    }
    return written;
}
