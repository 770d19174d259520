// SPDX-License-Identifier: BSD-3-Clause
/* A helper thread for what blocks: syncs, writing of snapshots. Jobs are carried out one after the
 * other in the order of jobs_submit; each then comes back to the loop that submitted it.
 *
 * Owned by who made it; all functions but job->run on the loop's thread. */
#pragma once

#include "common/io/mailbox.h"

struct jobs;

/* At the start of the caller's own struct. */
struct job {
    struct mail mail;
    void (*run)(struct job *j);  /* on the helper thread */
    void (*done)(struct job *j); /* on the loop's; frees it */
    int64_t took_us;             /* of run */
    int64_t submitted_ns;
};

struct jobs *jobs_new(struct loop *l, const char *name);
/* Carries out what was submitted, with its done, first. */
void jobs_free(struct jobs **j);
void jobs_submit(struct jobs *j, struct job *job);
/* Waits until all that was submitted is done, and what that submitted. For shutdown. */
void jobs_drain(struct jobs *j);
/* Brings back what is done already, in the midst of something that keeps the loop. */
void jobs_collect(struct jobs *j);
uint64_t jobs_waiting(const struct jobs *j);
