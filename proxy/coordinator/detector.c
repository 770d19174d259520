// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/detector.h"

void detector_heard(struct detector *d, int64_t now_ms)
{
    d->heard_ms = now_ms;
}

void detector_excuse(struct detector *d, int64_t gap_ms)
{
    d->heard_ms += gap_ms;
}

int64_t detector_silence_ms(const struct detector *d, int64_t now_ms)
{
    return MAX(now_ms - d->heard_ms, 0);
}

int detector_missed(const struct detector *d, const struct detector_settings *s, int64_t now_ms)
{
    INVARIANT(s->interval_ms > 0);
    int64_t missed = detector_silence_ms(d, now_ms) / s->interval_ms;
    return (int)MIN(missed, INT32_MAX);
}

enum node_state detector_state(const struct detector *d, const struct detector_settings *s,
                               int64_t now_ms)
{
    int missed = detector_missed(d, s, now_ms);
    if (missed >= s->dead_missed) {
        return NODE_DEAD;
    }
    return missed >= s->unhealthy_missed ? NODE_UNHEALTHY : NODE_HEALTHY;
}
