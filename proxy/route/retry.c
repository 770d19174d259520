// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/retry.h"

#include "common/base/obj.h"

static bool has_code(struct slice reply, const char *code)
{
    size_t len = strlen(code);
    return reply.len > len + 1 && memcmp(reply.ptr + 1, code, len) == 0 &&
           (reply.ptr[len + 1] == ' ' || reply.ptr[len + 1] == '\r');
}

enum node_answer retry_classify(struct slice reply)
{
    static const char *const later[] = {"CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN"};
    if (reply.len < 4) {
        return ANSWER_REPLY;
    }
    /* READONLY: a replica refused a write, so another node is the primary. */
    if (has_code(reply, "MOVED") || has_code(reply, "ASK") || has_code(reply, "READONLY")) {
        return ANSWER_MOVED;
    }
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        if (has_code(reply, later[i])) {
            return ANSWER_LATER;
        }
    }
    return ANSWER_REPLY;
}

int64_t retry_delay_us(const struct retry_policy *p, uint32_t tries, struct rng *rng)
{
    int64_t delay = p->initial_us;
    for (uint32_t i = 0; i < tries && delay < p->max_us; i++) {
        delay = delay * p->backoff_percent / 100;
    }
    delay = MAX(MIN(delay, p->max_us), 1);
    return delay / 2 + (int64_t)rng_below(rng, (uint64_t)(delay - delay / 2) + 1);
}
