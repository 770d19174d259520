// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/signals.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signals {
    int fd;
    struct loop_fd watch;
    signals_fn fn;
    void *arg;
};

static void make_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGCHLD);
}

void signals_block(void)
{
    sigset_t set;
    make_set(&set);
    INVARIANT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
}

void signals_unblock(void)
{
    sigset_t set;
    sigemptyset(&set);
    INVARIANT(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
    (void)signal(SIGPIPE, SIG_DFL);
}

static void on_ready(struct loop_fd *f, int events)
{
    (void)events;
    struct signals *s = f->arg;
    struct signalfd_siginfo info;
    /* One at a time: the callback may end it all. Level-triggered, so the others come next turn. */
    if (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        s->fn(s->arg, (int)info.ssi_signo);
    }
}

struct signals *signals_new(struct loop *l, signals_fn fn, void *arg)
{
    sigset_t set;
    make_set(&set);
    struct signals *s = mem_zalloc(sizeof(*s));
    s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    INVARIANT(s->fd >= 0);
    s->fn = fn;
    s->arg = arg;
    s->watch.meanwhile = true;
    loop_fd_start(&s->watch, l, s->fd, LOOP_READ, on_ready, s);
    return s;
}

void signals_free(struct signals **sp)
{
    struct signals *s = *sp;
    *sp = NULL;
    if (s != NULL) {
        loop_fd_stop(&s->watch);
        close(s->fd);
        mem_free(s);
    }
}
