// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/world.h"

#include "common/base/mem.h"

#include "tests/sim/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed};
    rng_init(&w->rng, seed);
    w->net = net_new(w);
}

void world_fini(struct world *w)
{
    net_free(&w->net);
    mem_free(w->events);
}

/* --- the queue: a heap with four children a place --- */

static inline bool before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->seq < b->seq);
}

void world_at(struct world *w, int64_t at_us, event_fn fn, void *arg, uint64_t a)
{
    if (w->n_events == w->cap_events) {
        w->cap_events = w->cap_events == 0 ? 1024 : w->cap_events * 2;
        w->events = mem_realloc(w->events, w->cap_events * sizeof(*w->events));
    }
    struct event e = {
        .at_us = MAX(at_us, w->now_us), .seq = w->seq++, .fn = fn, .arg = arg, .a = a};
    size_t i = w->n_events++;
    while (i > 0) {
        size_t up = (i - 1) / 4;
        if (!before(&e, &w->events[up])) {
            break;
        }
        w->events[i] = w->events[up];
        i = up;
    }
    w->events[i] = e;
}

static struct event take_first(struct world *w)
{
    struct event first = w->events[0];
    struct event last = w->events[--w->n_events];
    size_t i = 0;
    for (;;) {
        size_t child = i * 4 + 1;
        if (child >= w->n_events) {
            break;
        }
        size_t best = child;
        size_t end = MIN(child + 4, w->n_events);
        for (size_t c = child + 1; c < end; c++) {
            if (before(&w->events[c], &w->events[best])) {
                best = c;
            }
        }
        if (!before(&w->events[best], &last)) {
            break;
        }
        w->events[i] = w->events[best];
        i = best;
    }
    w->events[i] = last;
    return first;
}

void world_run(struct world *w, int64_t until_us)
{
    while (!w->failed && w->n_events != 0 && w->events[0].at_us <= until_us) {
        struct event e = take_first(w);
        w->now_us = e.at_us;
        w->events_done++;
        e.fn(e.arg, e.a);
    }
    if (!w->failed) {
        w->now_us = until_us;
    }
}

void world_fail(struct world *w, const char *fmt, ...)
{
    if (w->failed) {
        return;
    }
    w->failed = true;
    int n = snprintf(w->failure, sizeof(w->failure), "at %.6f s: ", (double)w->now_us / 1e6);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->failure + n, sizeof(w->failure) - (size_t)n, fmt, ap);
    va_end(ap);
}

void world_say(const struct world *w, const char *fmt, ...)
{
    if (!w->verbose) {
        return;
    }
    printf("%14.6f ", (double)w->now_us / 1e6);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

int64_t world_between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)rng_below(&w->rng, (uint64_t)(high - low) + 1);
}

bool world_chance(struct world *w, uint32_t per_million)
{
    return rng_below(&w->rng, 1000000) < per_million;
}

/* --- hosts --- */

struct host *host_add(struct world *w, const struct host_ops *ops, void *arg, int32_t drift_ppm)
{
    INVARIANT(w->n_hosts < HOSTS_MAX);
    struct host *h = &w->hosts[w->n_hosts];
    *h = (struct host){.world = w,
                       .index = w->n_hosts++,
                       .ops = ops,
                       .arg = arg,
                       .powered = true,
                       .timer_us = INT64_MAX,
                       .turn_us_max = 100,
                       .clock_base_us = world_between(w, US_PER_S, 1000000 * US_PER_S),
                       .clock_at_us = w->now_us,
                       .drift_ppm = drift_ppm};
    list_init(&h->inbox);
    list_init(&h->ends);
    return h;
}

int64_t host_now_us(const struct host *h)
{
    int64_t passed = h->world->now_us - h->clock_at_us;
    return h->clock_base_us + passed + passed / 1000000 * h->drift_ppm +
           passed % 1000000 * h->drift_ppm / 1000000;
}

static void run_turn(void *arg, uint64_t life);

void host_wake(struct host *h)
{
    if (!h->up || h->paused || h->turn_due) {
        return;
    }
    h->turn_due = true;
    world_after(h->world, world_between(h->world, 1, h->turn_us_max), run_turn, h, h->life);
}

static void run_turn(void *arg, uint64_t life)
{
    struct host *h = arg;
    if (life != h->life || !h->up) {
        return;
    }
    h->turn_due = false;
    if (h->paused) {
        return;
    }
    h->in_turn = true;
    if (h->timer_ready) {
        h->timer_ready = false;
        h->ops->timer(h->arg);
    }
    while (!list_empty(&h->inbox) && h->up && !h->world->failed) {
        net_deliver(h->world->net, h);
    }
    if (h->up && !h->world->failed) {
        h->ops->end(h->arg);
    }
    h->in_turn = false;
}

static void timer_due(void *arg, uint64_t id)
{
    struct host *h = arg;
    if (id != h->timer_id || !h->up) {
        return;
    }
    h->timer_us = INT64_MAX;
    h->timer_ready = true;
    host_wake(h);
}

void host_timer(struct host *h, int64_t local_us)
{
    if (local_us == h->timer_us) {
        return;
    }
    h->timer_us = local_us;
    h->timer_id++;
    if (local_us == INT64_MAX) {
        return;
    }
    int64_t local_wait = MAX(local_us - host_now_us(h), 0);
    /* Rounded up, so that the local clock has got there. */
    int64_t wait = local_wait == 0 ? 0
                                   : local_wait - local_wait * h->drift_ppm / 1000000 +
                                         local_wait / 100000000 * 100 + 2;
    world_after(h->world, wait, timer_due, h, h->timer_id);
}

void host_start(struct host *h, void *arg)
{
    INVARIANT(!h->up);
    h->up = true;
    h->powered = true;
    h->paused = false;
    h->turn_due = false;
    h->timer_ready = false;
    h->timer_us = INT64_MAX;
    h->timer_id++;
    h->life++;
    h->arg = arg;
    host_wake(h);
}

void host_crash(struct host *h, bool machine)
{
    INVARIANT(h->up);
    h->up = false;
    h->paused = false;
    h->powered = !machine;
    h->life++;
    h->timer_id++;
    net_host_gone(h->world->net, h, machine);
}

void host_pause(struct host *h)
{
    h->paused = true;
}

void host_resume(struct host *h)
{
    h->paused = false;
    host_wake(h); /* whatever it was to be woken for */
}
