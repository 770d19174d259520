// SPDX-License-Identifier: BSD-3-Clause
/* An event loop of one thread (libev, epoll backend), and what may run on it.
 *
 * A turn of the loop: wait for events, read the clocks, run the events' callbacks, then the turn
 * hooks (loop_on_turn), then everything that was deferred (loop_defer), then wait again. Streams
 * flush in the deferred phase, so all that became writable in a turn goes out in one write per
 * connection. All calls on a loop and its objects come from the loop's own thread; other threads
 * send mail (mailbox.h).
 *
 * Time: loop_now_us() is CLOCK_MONOTONIC, read once a turn. Wall-clock is loop_wall_ms(), read once
 * a turn too; only expiry and logs use it. */
#pragma once

#include "common/base/buf.h"
#include "common/base/list.h"

struct ev_loop;
struct loop;

struct loop *loop_new(void);
void loop_free(struct loop **l);
/* Runs until loop_stop; the turn in which it is called is finished, deferred work included. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One turn; waits for an event at most if `wait`. For tests and for work during shutdown. */
void loop_turn(struct loop *l, bool wait);
/* Turns so far. */
uint64_t loop_turns(const struct loop *l);
/* How long the last turn took, its wait aside; the longest so far. On this thread's processor time
 * (-1: not measured) only while loop_measure_cpu is on, which costs two system calls a turn. */
int64_t loop_took_us(const struct loop *l);
int64_t loop_took_us_max(const struct loop *l);
void loop_took_reset(struct loop *l); /* the longest is that from now on */
int64_t loop_took_cpu_us(const struct loop *l);
void loop_measure_cpu(struct loop *l, bool on);
/* A turn within a turn, while something that takes long runs in it: only what is marked `meanwhile`
 * is looked at (streams, descriptors, tasks), then `fn` runs, then the marked tasks. The rest keeps
 * until the outer turn goes on; timers are late, and miss beats. */
void loop_meanwhile(struct loop *l, void (*fn)(void *arg), void *arg);
/* libev's handle, for code in common/io only. */
struct ev_loop *loop_ev(struct loop *l);

int64_t loop_now_us(const struct loop *l);
static inline int64_t loop_now_ms(const struct loop *l);
int64_t loop_wall_ms(const struct loop *l);
/* The clock of loop_now_us, read now: for what must not take the turn's time for the present (a
 * process may have been stopped in between). */
int64_t loop_clock_us(void);
/* Reads the clocks anew, in a long callback. */
void loop_update_now(struct loop *l);

/* Room for libev's watcher inside ours, so that <ev.h> stays in common/io. */
#define LOOP_WATCHER_BYTES 48

/* A timer; embedded in its owner, which must not move while it is active. Fires `fn` after
 * `after_ms`, then every `repeat_ms` if > 0. Starting an active timer starts it anew. The callback
 * may stop, restart or finish it, and free its owner. */
struct loop_timer;
typedef void (*loop_timer_fn)(struct loop_timer *t);
struct loop_timer {
    struct loop *loop;
    loop_timer_fn fn;
    void *arg;
    _Alignas(8) unsigned char watcher[LOOP_WATCHER_BYTES];
};
void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn fn, void *arg);
void loop_timer_start(struct loop_timer *t, int64_t after_ms, int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_active(const struct loop_timer *t);
void loop_timer_fini(struct loop_timer *t);

/* Work for the end of this turn. Deferring twice in a turn runs it once. */
struct loop_task;
typedef void (*loop_task_fn)(struct loop_task *t);
struct loop_task {
    struct list link; /* linked while deferred */
    bool meanwhile;   /* also in loop_meanwhile */
    loop_task_fn fn;
};
void loop_task_init(struct loop_task *t, loop_task_fn fn);
/* Order: tasks run in the order in which they were deferred; a task deferred by a task runs in the
 * same phase. */
void loop_defer(struct loop *l, struct loop_task *t);
/* Before all that were deferred, also if it was one of them. */
void loop_defer_first(struct loop *l, struct loop_task *t);
void loop_undefer(struct loop_task *t);

/* Runs `fn` in each turn after the events' callbacks and before the deferred phase (a node:
 * executes what all clients sent as one batch). Hooks run in the order in which they were added. */
typedef void (*loop_turn_fn)(void *arg);
void loop_on_turn(struct loop *l, loop_turn_fn fn, void *arg);
void loop_off_turn(struct loop *l, loop_turn_fn fn, void *arg);

/* Under load a loop that answers each event at once wakes for every single one, and each request
 * pays for writes of its own. When a wait ended with few streams' bytes although several times as
 * many had some in the last millisecond or two, the turn waits another `us` microseconds before it
 * looks again and goes on. 0: never (the default). */
void loop_gather(struct loop *l, int64_t us);

/* A file descriptor to watch that is not a stream (signalfd, listening socket). Embedded; the
 * descriptor stays the owner's. Starting it again changes the events. Zero-initialise before. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_fd;
typedef void (*loop_fd_fn)(struct loop_fd *f, int events);
struct loop_fd {
    struct loop *loop;
    int fd;
    loop_fd_fn fn;
    void *arg;
    bool meanwhile; /* also in loop_meanwhile */
    _Alignas(8) unsigned char watcher[LOOP_WATCHER_BYTES];
};
void loop_fd_start(struct loop_fd *f, struct loop *l, int fd, int events, loop_fd_fn fn, void *arg);
void loop_fd_stop(struct loop_fd *f);

static inline int64_t loop_now_ms(const struct loop *l)
{
    return loop_now_us(l) / 1000;
}
