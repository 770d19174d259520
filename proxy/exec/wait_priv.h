// SPDX-License-Identifier: BSD-3-Clause
/* Shared by wait.c, wait_many.c and wait_reads.c only. */
#pragma once

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/wait.h"

/* wait.c */
/* Off all lists that it stands on. */
void wait_leave(struct exec *x, struct wait *w);
/* The answer to the client: nil or UNBLOCKED. */
void wait_end(struct exec *x, struct request *r, bool error);

/* wait_many.c */
/* Commands whose keys may lie in several shards: they take from one only. */
bool wait_may_span(const struct command *c);
/* XREAD and XREADGROUP, which may not wait either. */
bool wait_reads_streams(const struct command *c);
/* x->keys are the command's. */
void wait_start_many(struct exec *x, struct wait *w, const struct exec_input *in);
/* Some shard has a notice, or lost its place: it is asked, if none is just now. */
void wait_go_on(struct exec *x, struct wait *w);
/* The time is over, or CLIENT UNBLOCK. */
void wait_stop(struct exec *x, struct wait *w, bool error);
/* Asks the shard of leg `i` these words. Takes the chunk. */
void wait_send(struct exec *x, struct wait *w, uint32_t i, struct chunk *chunk, const char *bytes,
               size_t len);

/* wait_reads.c: the same for XREAD and XREADGROUP */
void reads_start(struct exec *x, struct wait *w, const struct exec_input *in);
void reads_go_on(struct exec *x, struct wait *w);
/* The shard that was asked has answered. */
void reads_answered(struct exec *x, struct request *r);
/* One that it was parked at has, and it is parked there no longer. */
void reads_pushed(struct exec *x, struct wait *w, uint32_t leg, struct chunk *chunk,
                  const char *ptr, size_t len);
