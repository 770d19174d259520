// SPDX-License-Identifier: BSD-3-Clause
/* The simulated world: virtual time, the queue of what happens next, machines ("hosts") and one
 * source of randomness. Everything that happens follows from the seed.
 *
 * A host runs in turns, as a real loop does: what arrived and what is due is handed to it, then its
 * `end` says what it sends and when it wants to be woken. A paused host (SIGSTOP) takes nothing in
 * and loses nothing; a crashed one loses all but its disk. Each host has a clock of its own that
 * starts somewhere and drifts within a bound. Times: microseconds of the world unless named local.
 * One thread. */
#pragma once

#include "common/base/list.h"
#include "common/base/obj.h"
#include "common/base/rng.h"

#include <stdbool.h>
#include <stdint.h>

#define US_PER_MS 1000ll
#define US_PER_S  1000000ll

struct world;
struct net_end;
struct net_message;

/* What a host does; `arg` is its owner. Each may be called only while it runs and is not paused. */
struct host_ops {
    void (*message)(void *arg, struct net_end *end, const char *data, size_t len);
    /* The connection that we asked for is there; or it is not, and `refused` says whether nobody
     * listened (else: silence). The end is gone then. */
    void (*connected)(void *arg, struct net_end *end);
    void (*failed)(void *arg, struct net_end *end, bool refused);
    /* Somebody connected to our service; false refuses. Sets end->owner. */
    bool (*accepted)(void *arg, struct net_end *end, int service);
    /* The connection ended; the end is gone when this returns. */
    void (*closed)(void *arg, struct net_end *end);
    /* A timer is due, once it was asked for. */
    void (*timer)(void *arg);
    /* The end of each turn. */
    void (*end)(void *arg);
};

#define HOSTS_MAX 16

struct host {
    struct world *world;
    int index;
    const struct host_ops *ops;
    void *arg;
    bool up;      /* a process runs */
    bool powered; /* the machine answers for closed ports */
    bool paused;
    bool turn_due; /* a turn is on its way */
    bool in_turn;
    uint64_t life;     /* grows with each start */
    uint64_t timer_id; /* of the timer that counts; others are old */
    int64_t timer_us;  /* INT64_MAX: none */
    bool timer_ready;
    int64_t turn_us_max; /* how long it may take until something is looked at */
    struct list inbox;   /* struct net_message */
    struct list ends;    /* struct net_end */
    /* clock */
    int64_t clock_base_us; /* local time at clock_at_us */
    int64_t clock_at_us;
    int32_t drift_ppm;
};

typedef void (*event_fn)(void *arg, uint64_t a);

struct event {
    int64_t at_us;
    uint64_t seq;
    event_fn fn;
    void *arg;
    uint64_t a;
};

struct world {
    uint64_t seed;
    int64_t now_us;
    struct rng rng;
    struct event *events; /* heap by (at_us, seq) */
    size_t n_events;
    size_t cap_events;
    uint64_t seq;
    uint64_t events_done;
    int n_hosts;
    struct host hosts[HOSTS_MAX];
    struct net *net;
    bool verbose;
    bool failed;
    char failure[512];
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
/* `fn` is called at that time, in the order of (time, call of this). */
void world_at(struct world *w, int64_t at_us, event_fn fn, void *arg, uint64_t a);
static inline void world_after(struct world *w, int64_t after_us, event_fn fn, void *arg,
                               uint64_t a)
{
    world_at(w, w->now_us + after_us, fn, arg, a);
}
/* Until then, or until a check failed. */
void world_run(struct world *w, int64_t until_us);
/* The first failure stays. */
void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Only when the run is told about: `make sim SEED=n VERBOSE=1`. */
void world_say(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Shorthands for the world's randomness. */
int64_t world_between(struct world *w, int64_t low, int64_t high); /* both included */
bool world_chance(struct world *w, uint32_t per_million);

struct host *host_add(struct world *w, const struct host_ops *ops, void *arg, int32_t drift_ppm);
/* A process starts: its owner has been made anew. */
void host_start(struct host *h, void *arg);
/* The process is gone. `machine`: so is its kernel, which otherwise closes its connections. */
void host_crash(struct host *h, bool machine);
void host_pause(struct host *h);
void host_resume(struct host *h);
/* A turn soon, even if nothing arrives. */
void host_wake(struct host *h);
/* Local time. */
int64_t host_now_us(const struct host *h);
/* The one timer of a host, in local time; INT64_MAX: none. */
void host_timer(struct host *h, int64_t local_us);
