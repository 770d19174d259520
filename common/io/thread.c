// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/thread.h"

#include <signal.h>
#include <stdio.h>

static void *run(void *arg)
{
    struct thread *t = arg;
    (void)pthread_setname_np(pthread_self(), t->name);
    t->fn(t->arg);
    return NULL;
}

void thread_start(struct thread *t, const char *name, thread_fn fn, void *arg)
{
    sigset_t all;
    sigset_t before;
    t->fn = fn;
    t->arg = arg;
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
    /* Blocked before the thread exists: there is no moment in which it could take one. Faults stay
     * open, a blocked one would end the process without a word. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    INVARIANT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    INVARIANT(pthread_create(&t->id, NULL, run, t) == 0);
    INVARIANT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

void thread_join(struct thread *t)
{
    INVARIANT(pthread_join(t->id, NULL) == 0);
}
