// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/timers.h"

void timers_fini(struct timers *t)
{
    for (size_t i = 0; i < t->heap.count; i++) {
        t->heap.slots[i]->place = 0;
    }
    heap_fini(&t->heap);
}

void timers_set(struct timers *t, struct timer *timer, int64_t deadline_ms)
{
    INVARIANT(timer->fn != NULL);
    if (t->running) {
        deadline_ms = MAX(deadline_ms, t->earliest_ms);
    }
    if (timer_is_set(timer)) {
        heap_update(&t->heap, &timer->node, deadline_ms);
    } else {
        heap_insert(&t->heap, &timer->node, deadline_ms);
    }
}

void timers_cancel(struct timers *t, struct timer *timer)
{
    if (timer_is_set(timer)) {
        heap_remove(&t->heap, &timer->node);
    }
}

int64_t timers_wait_ms(const struct timers *t, int64_t now_ms)
{
    const struct heap_node *first = heap_min(&t->heap);
    if (first == NULL) {
        return -1;
    }
    return first->key <= now_ms ? 0 : first->key - now_ms;
}

size_t timers_run(struct timers *t, int64_t now_ms)
{
    INVARIANT(!t->running);
    size_t called = 0;
    t->running = true;
    t->earliest_ms = now_ms + 1;
    for (struct heap_node *n; (n = heap_min(&t->heap)) != NULL && n->key <= now_ms;) {
        struct timer *timer = container_of(n, struct timer, node);
        heap_remove(&t->heap, n);
        timer->fn(timer, now_ms);
        called++;
    }
    t->running = false;
    return called;
}
