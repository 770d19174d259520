// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/loop.h"

#include "common/base/mem.h"
#include "common/io/loop_priv.h"

#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define LOOP_MAGIC 0x6c6f6f70u

_Static_assert(sizeof(ev_timer) <= LOOP_WATCHER_BYTES, "room for libev's timer");
_Static_assert(sizeof(ev_io) <= LOOP_WATCHER_BYTES, "room for libev's descriptor watcher");

struct turn_hook {
    struct list link;
    loop_turn_fn fn;
    void *arg;
};

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;
    INVARIANT(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void read_clocks(struct loop *l)
{
    l->now_us = clock_us(CLOCK_MONOTONIC);
    l->wall_ms = clock_us(CLOCK_REALTIME) / 1000;
}

static void on_waited(struct ev_loop *ev, ev_check *w, int revents)
{
    (void)ev;
    (void)revents;
    struct loop *l = w->data;
    read_clocks(l);
    if (UNLIKELY(l->measures_cpu)) {
        l->cpu_from_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    }
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zalloc(sizeof(*l));
    l->magic = LOOP_MAGIC;
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    INVARIANT(l->ev != NULL);
    list_init(&l->readable);
    list_init(&l->tasks);
    list_init(&l->hooks);
    ev_check_init(&l->after_wait, on_waited);
    /* Before all other callbacks: they go by the clocks. */
    ev_set_priority(&l->after_wait, EV_MAXPRI);
    l->after_wait.data = l;
    ev_check_start(l->ev, &l->after_wait);
    read_clocks(l);
    return l;
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    CHECK_OBJ(l, LOOP_MAGIC);
    INVARIANT(!l->in_turn);
    names_end(l);
    LIST_FOREACH_SAFE(it, &l->hooks) {
        mem_free(container_of(it, struct turn_hook, link));
    }
    LIST_FOREACH_SAFE(task, &l->tasks) {
        list_remove(task);
    }
    for (size_t i = 0; i < LOOP_SCRATCH_COUNT; i++) {
        if (l->scratch[i] != NULL) {
            chunk_unref(&l->scratch[i]);
        }
    }
    ev_check_stop(l->ev, &l->after_wait);
    ev_loop_destroy(l->ev);
    l->magic = 0;
    mem_free(l);
}

static void run_hooks(struct loop *l)
{
    LIST_FOREACH_SAFE(it, &l->hooks) {
        struct turn_hook *h = container_of(it, struct turn_hook, link);
        h->fn(h->arg);
    }
}

static void run_deferred(struct loop *l)
{
    while (!list_empty(&l->tasks)) {
        struct loop_task *t = container_of(l->tasks.next, struct loop_task, link);
        list_remove(&t->link);
        t->fn(t);
    }
}

static void poll_events(struct loop *l, int how)
{
    ev_run(l->ev, how);
    while (!list_empty(&l->readable)) {
        struct readable *r = container_of(l->readable.next, struct readable, link);
        list_remove(&r->link);
        r->read(r);
    }
}

/* Fewer streams than this, and than a quarter of those that are active, had bytes: it may be worth
 * waiting for more. Of a handful nobody else would come. */
#define GATHER_BELOW 8
#define GATHER_SHARE 4

static void gather(struct loop *l)
{
    if (!l->slack_set) {
        l->slack_set = true;
        (void)prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0); /* else such a sleep takes 50 us more */
    }
    struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)l->gather_us * 1000};
    (void)nanosleep(&ts, NULL); /* a signal ends it sooner: no harm */
    poll_events(l, EVRUN_NOWAIT);
}

void loop_gather(struct loop *l, int64_t us)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    INVARIANT(us >= 0 && us < 1000000);
    l->gather_us = us;
}

static void note_took(struct loop *l)
{
    l->took_us = clock_us(CLOCK_MONOTONIC) - l->now_us;
    l->took_us_max = MAX(l->took_us_max, l->took_us);
    bool whole = l->measures_cpu && l->cpu_from_us >= 0;
    l->took_cpu_us = whole ? clock_us(CLOCK_THREAD_CPUTIME_ID) - l->cpu_from_us : -1;
}

void loop_turn(struct loop *l, bool wait)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    INVARIANT(!l->in_turn);
    l->in_turn = true;
    l->turns++;
    uint64_t reads = l->reads;
    poll_events(l, wait && list_empty(&l->tasks) ? EVRUN_ONCE : EVRUN_NOWAIT);
    reads = l->reads - reads;
    if (l->gather_us > 0 && reads > 0 && reads < GATHER_BELOW &&
        reads * GATHER_SHARE < MAX(l->active, l->active_last)) {
        gather(l);
    }
    run_hooks(l);
    run_deferred(l);
    note_took(l);
    l->in_turn = false;
}

int64_t loop_took_us(const struct loop *l)
{
    return l->took_us;
}

int64_t loop_took_us_max(const struct loop *l)
{
    return l->took_us_max;
}

void loop_took_reset(struct loop *l)
{
    l->took_us_max = 0;
}

int64_t loop_took_cpu_us(const struct loop *l)
{
    return l->took_cpu_us;
}

void loop_measure_cpu(struct loop *l, bool on)
{
    l->cpu_from_us = on && !l->measures_cpu ? -1 : l->cpu_from_us; /* not from its middle on */
    l->measures_cpu = on;
}

static struct loop_task *first_marked(struct loop *l)
{
    LIST_FOREACH(it, &l->tasks) {
        struct loop_task *t = container_of(it, struct loop_task, link);
        if (t->meanwhile) {
            return t;
        }
    }
    return NULL;
}

void loop_meanwhile(struct loop *l, void (*fn)(void *arg), void *arg)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    INVARIANT(l->in_turn && !l->meanwhile);
    l->meanwhile = true;
    poll_events(l, EVRUN_NOWAIT);
    fn(arg);
    for (struct loop_task *t; (t = first_marked(l)) != NULL;) {
        list_remove(&t->link);
        t->fn(t);
    }
    l->meanwhile = false;
}

void loop_run(struct loop *l)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    while (!l->stopping) {
        loop_turn(l, true);
    }
    l->stopping = false;
}

void loop_stop(struct loop *l)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    l->stopping = true;
}

struct ev_loop *loop_ev(struct loop *l)
{
    return l->ev;
}

uint64_t loop_turns(const struct loop *l)
{
    return l->turns;
}

int64_t loop_now_us(const struct loop *l)
{
    return l->now_us;
}

int64_t loop_wall_ms(const struct loop *l)
{
    return l->wall_ms;
}

int64_t loop_clock_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void loop_update_now(struct loop *l)
{
    read_clocks(l);
    ev_now_update(l->ev);
}

static ev_timer *timer_watcher(const struct loop_timer *t)
{
    return (ev_timer *)(uintptr_t)t->watcher;
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)revents;
    struct loop_timer *t = w->data;
    if (UNLIKELY(t->loop->meanwhile)) {
        if (!ev_is_active(w)) { /* it was for once: it stays due */
            ev_timer_set(w, 0.001, 0.);
            ev_timer_start(ev, w);
        }
        return;
    }
    t->fn(t);
}

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn fn, void *arg)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    memset(t, 0, sizeof(*t));
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    ev_timer *w = timer_watcher(t);
    ev_init(w, on_timer);
    w->data = t;
}

void loop_timer_start(struct loop_timer *t, int64_t after_ms, int64_t repeat_ms)
{
    struct ev_loop *ev = t->loop->ev;
    ev_timer *w = timer_watcher(t);
    ev_timer_stop(ev, w);
    if (!t->loop->in_turn) {
        ev_now_update(ev); /* libev counts from the time it read last: maybe long ago */
    }
    ev_timer_set(w, (double)MAX(after_ms, 0) / 1000.0, (double)MAX(repeat_ms, 0) / 1000.0);
    ev_timer_start(ev, w);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->loop != NULL) {
        ev_timer_stop(t->loop->ev, timer_watcher(t));
    }
}

bool loop_timer_active(const struct loop_timer *t)
{
    return t->loop != NULL && ev_is_active(timer_watcher(t));
}

void loop_timer_fini(struct loop_timer *t)
{
    loop_timer_stop(t);
    t->loop = NULL;
}

void loop_task_init(struct loop_task *t, loop_task_fn fn)
{
    list_init(&t->link);
    t->fn = fn;
    t->meanwhile = false;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    if (list_empty(&t->link)) {
        list_append(&l->tasks, &t->link);
    }
}

void loop_defer_first(struct loop *l, struct loop_task *t)
{
    list_remove(&t->link);
    list_prepend(&l->tasks, &t->link);
}

void loop_undefer(struct loop_task *t)
{
    list_remove(&t->link);
}

void loop_on_turn(struct loop *l, loop_turn_fn fn, void *arg)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    struct turn_hook *h = mem_alloc(sizeof(*h));
    h->fn = fn;
    h->arg = arg;
    list_append(&l->hooks, &h->link);
}

void loop_off_turn(struct loop *l, loop_turn_fn fn, void *arg)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    LIST_FOREACH_SAFE(it, &l->hooks) {
        struct turn_hook *h = container_of(it, struct turn_hook, link);
        if (h->fn == fn && h->arg == arg) {
            list_remove(&h->link);
            mem_free(h);
            return;
        }
    }
}

static ev_io *fd_watcher(struct loop_fd *f)
{
    return (ev_io *)(void *)f->watcher;
}

static void on_fd(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    struct loop_fd *f = w->data;
    if (UNLIKELY(f->loop->meanwhile) && !f->meanwhile) {
        return; /* it is told again */
    }
    f->fn(f, ((revents & EV_READ) != 0 ? LOOP_READ : 0) |
                 ((revents & EV_WRITE) != 0 ? LOOP_WRITE : 0));
}

void loop_fd_start(struct loop_fd *f, struct loop *l, int fd, int events, loop_fd_fn fn, void *arg)
{
    CHECK_OBJ(l, LOOP_MAGIC);
    loop_fd_stop(f);
    f->loop = l;
    f->fd = fd;
    f->fn = fn;
    f->arg = arg;
    ev_io *w = fd_watcher(f);
    ev_io_init(w, on_fd, fd,
               ((events & LOOP_READ) != 0 ? EV_READ : 0) |
                   ((events & LOOP_WRITE) != 0 ? EV_WRITE : 0));
    w->data = f;
    ev_io_start(l->ev, w);
}

void loop_fd_stop(struct loop_fd *f)
{
    if (f->loop != NULL) {
        ev_io_stop(f->loop->ev, fd_watcher(f));
        f->loop = NULL;
    }
}

/* A resting chunk that nobody refers to any more becomes the one in use; none: a new one, in the
 * place of the last, whose users keep it alive. */
static void change_scratch(struct loop *l)
{
    struct chunk *spent = l->scratch[0];
    size_t i = 1;
    while (i < LOOP_SCRATCH_COUNT - 1 && l->scratch[i] != NULL && l->scratch[i]->refs > 1) {
        i++;
    }
    if (l->scratch[i] != NULL && l->scratch[i]->refs > 1) {
        chunk_unref(&l->scratch[i]);
    }
    if (l->scratch[i] == NULL) {
        l->scratch[i] = chunk_new(LOOP_SCRATCH_BYTES);
    }
    l->scratch[0] = l->scratch[i];
    l->scratch[i] = spent;
}

struct chunk *loop_scratch(struct loop *l)
{
    if (l->scratch[0] == NULL) {
        l->scratch[0] = chunk_new(LOOP_SCRATCH_BYTES);
    }
    if (l->scratch[0]->refs > 1 && l->scratch[0]->cap - l->scratch[0]->len < LOOP_SCRATCH_LEAST) {
        change_scratch(l);
    }
    struct chunk *c = l->scratch[0];
    if (c->refs == 1) {
        c->len = 0;
    }
    return c;
}
