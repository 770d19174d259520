// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/thread.h"

#include "common/base/mem.h"

#include <signal.h>
#include <stdio.h>

static void *run(void *arg)
{
    struct thread *t = arg;
    (void)pthread_setname_np(pthread_self(), t->name);
    t->fn(t->arg);
    return NULL;
}

static void *run_alone(void *arg)
{
    struct thread t = *(struct thread *)arg;
    mem_free(arg);
    return run(&t);
}

static bool create(struct thread *t, const pthread_attr_t *how, void *(*main)(void *arg))
{
    sigset_t all;
    sigset_t before;
    pthread_t id; /* not t's: that may be gone already */
    /* Blocked before the thread exists: there is no moment in which it could take one. Faults stay
     * open, a blocked one would end the process without a word. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    INVARIANT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool good = pthread_create(&id, how, main, t) == 0;
    INVARIANT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (good && how == NULL) {
        t->id = id;
    }
    return good;
}

static void fill(struct thread *t, const char *name, thread_fn fn, void *arg)
{
    t->fn = fn;
    t->arg = arg;
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
}

void thread_start(struct thread *t, const char *name, thread_fn fn, void *arg)
{
    fill(t, name, fn, arg);
    INVARIANT(create(t, NULL, run));
}

bool thread_start_alone(const char *name, thread_fn fn, void *arg)
{
    struct thread *t = mem_zalloc(sizeof(*t));
    pthread_attr_t how;
    fill(t, name, fn, arg);
    INVARIANT(pthread_attr_init(&how) == 0);
    INVARIANT(pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED) == 0);
    bool good = create(t, &how, run_alone);
    (void)pthread_attr_destroy(&how);
    if (!good) {
        mem_free(t);
    }
    return good;
}

void thread_join(struct thread *t)
{
    INVARIANT(pthread_join(t->id, NULL) == 0);
}
