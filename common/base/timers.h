// SPDX-License-Identifier: BSD-3-Clause
/* Deadlines. Owns no clock: the caller says what time it is, so that a simulator can run years.
 * Zero-initialised is empty; one thread owns it. Pure. */
#pragma once

#include "common/base/heap.h"

struct timer;
typedef void (*timer_fn)(struct timer *timer, int64_t now_ms);

/* Embedded in what it wakes; fn finds that with container_of. Set fn once, the rest is private. */
struct timer {
    struct heap_node node;
    timer_fn fn;
};

struct timers {
    struct heap heap;
    int64_t earliest_ms; /* while running: nothing may be set before this */
    bool running;
};

/* Timers still set are forgotten, not called. */
void timers_fini(struct timers *t);
/* Sets or moves. A deadline that is past is due at the next run; one that a callback sets for now
 * or before is due in the next millisecond, so that a run always ends. */
void timers_set(struct timers *t, struct timer *timer, int64_t deadline_ms);
/* Harmless when not set. */
void timers_cancel(struct timers *t, struct timer *timer);
/* Milliseconds from now_ms to the first deadline, 0 if it is past; -1 if none is set. */
int64_t timers_wait_ms(const struct timers *t, int64_t now_ms);
/* Calls, in order of deadline, all that are due; each is unset before its call, which may set,
 * cancel or free any timer. Returns how many were called. */
size_t timers_run(struct timers *t, int64_t now_ms);

static inline bool timer_is_set(const struct timer *timer)
{
    return heap_holds(&timer->node);
}
