// SPDX-License-Identifier: BSD-3-Clause
#include "node/jobs/jobs.h"

#include "common/base/mem.h"
#include "common/io/thread.h"
#include "common/io/ticks.h"

#include <poll.h>

enum { MAIL_JOB, MAIL_STOP };

struct jobs {
    struct loop *home;
    struct mailbox *back;  /* done jobs, to the home loop */
    struct loop *loop;     /* the helper's */
    struct mailbox *inbox; /* jobs, to the helper */
    struct thread thread;
    struct mail stop;
    uint64_t waiting;
};

static void carry_out(void *arg, struct mail *m)
{
    struct jobs *j = arg;
    if (m->kind == MAIL_STOP) {
        loop_stop(j->loop);
        return;
    }
    struct job *job = container_of(m, struct job, mail);
    int64_t from = ticks_monotonic_ns();
    job->run(job);
    job->took_us = (ticks_monotonic_ns() - from) / 1000;
    mem_publish();
    mailbox_send(j->back, &job->mail);
}

static void bring_back(void *arg, struct mail *m)
{
    struct jobs *j = arg;
    struct job *job = container_of(m, struct job, mail);
    j->waiting--;
    job->done(job);
}

static void thread_main(void *arg)
{
    struct jobs *j = arg;
    loop_run(j->loop);
}

struct jobs *jobs_new(struct loop *l, const char *name)
{
    struct jobs *j = mem_zalloc(sizeof(*j));
    j->home = l;
    j->back = mailbox_new(l, bring_back, j);
    j->loop = loop_new();
    j->inbox = mailbox_new(j->loop, carry_out, j);
    thread_start(&j->thread, name, thread_main, j);
    return j;
}

void jobs_submit(struct jobs *j, struct job *job)
{
    job->mail.kind = MAIL_JOB;
    job->submitted_ns = ticks_monotonic_ns();
    j->waiting++;
    mailbox_send(j->inbox, &job->mail);
}

void jobs_drain(struct jobs *j)
{
    while (j->waiting > 0) {
        if (!mailbox_deliver(j->back)) {
            (void)poll(NULL, 0, 1);
        }
    }
}

void jobs_free(struct jobs **jp)
{
    struct jobs *j = *jp;
    if (j == NULL) {
        return;
    }
    jobs_drain(j);
    j->stop.kind = MAIL_STOP;
    mailbox_send(j->inbox, &j->stop);
    thread_join(&j->thread);
    mailbox_free(&j->inbox);
    mailbox_free(&j->back);
    loop_free(&j->loop);
    mem_free(j);
    *jp = NULL;
}

void jobs_collect(struct jobs *j)
{
    (void)mailbox_deliver(j->back);
}

uint64_t jobs_waiting(const struct jobs *j)
{
    return j->waiting;
}
