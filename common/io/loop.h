// SPDX-License-Identifier: BSD-3-Clause
/* An event loop of one thread (libev, epoll backend), and what may run on it.
 *
 * A turn of the loop: wait for events, run their callbacks, then run everything that was deferred
 * (loop_defer) exactly once, then wait again. Streams flush in the deferred phase, so all that
 * became writable in a turn goes out in one write per connection. All calls on a loop and its
 * objects come from the loop's own thread, except loop_wake and mailboxes.
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
/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* libev's handle, for code in common/io only. */
struct ev_loop *loop_ev(struct loop *l);

int64_t loop_now_us(const struct loop *l);
static inline int64_t loop_now_ms(const struct loop *l);
int64_t loop_wall_ms(const struct loop *l);
/* Reads the clocks anew, in a long callback. */
void loop_update_now(struct loop *l);

/* A timer; embedded in its owner. Fires `fn` after `after_ms`, then every `repeat_ms` if > 0. */
struct loop_timer;
typedef void (*loop_timer_fn)(struct loop_timer *t);
struct loop_timer {
    struct list link;
    struct loop *loop;
    loop_timer_fn fn;
    void *arg;
    void *ev; /* libev's watcher, made on first start */
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
    loop_task_fn fn;
};
void loop_task_init(struct loop_task *t, loop_task_fn fn);
/* Order: tasks run in the order in which they were deferred; a task deferred by a task runs in the
 * same phase. */
void loop_defer(struct loop *l, struct loop_task *t);
void loop_undefer(struct loop_task *t);
/* Runs `fn` once a turn before the deferred phase / after waiting (for a node: batch execution). */

/* A file descriptor to watch that is not a stream (signalfd, listening socket). */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_fd;
typedef void (*loop_fd_fn)(struct loop_fd *f, int events);
struct loop_fd {
    struct loop *loop;
    int fd;
    loop_fd_fn fn;
    void *arg;
    void *ev;
};
void loop_fd_start(struct loop_fd *f, struct loop *l, int fd, int events, loop_fd_fn fn, void *arg);
void loop_fd_stop(struct loop_fd *f);

static inline int64_t loop_now_ms(const struct loop *l)
{
    return loop_now_us(l) / 1000;
}
