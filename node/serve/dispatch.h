// SPDX-License-Identifier: BSD-3-Clause
/* From bytes to executed commands: collects what all clients sent in a loop turn into one batch,
 * looks up rows, slots and hash buckets as it parses, then runs them in order of arrival.
 *
 * Nothing here allocates, reads a clock of the system or makes a system call per command. A batch
 * is bounded; it runs when it is full, at the end of a turn's events (loop_on_turn), and before
 * anything that must not overtake it (an inline command, a protocol error). The node's thread. */
#pragma once

#include "common/base/slice.h"

struct server;
struct client;
struct call;
struct outbuf;
struct command;
struct resp_writer;

struct batch *batch_new(void);
/* Fills in what commands ask of this floor. */
void dispatch_table(struct server *s);
void batch_free(struct batch **b);

/* A command that waited runs again, as if it came now; k->wait tells whether it waits on. `head`:
 * NULL, or what goes before its answer, which is in an outbuf of its own then: both are moved to
 * the client's. */
void dispatch_again(struct server *s, struct client *c, struct call *k, struct outbuf *head);
/* It was answered without being run: counts it. */
void dispatch_count(struct client *c, const struct command *cmd, const struct resp_writer *w);
/* A command that waited has been answered. */
void dispatch_answered(struct client *c);

/* Bytes came for the client. */
void dispatch_data(struct client *c);
/* Runs what was collected. */
void dispatch_run(struct server *s);
/* Length of the running command as it came. */
size_t dispatch_raw_bytes(const struct server *s);
/* Length of its arguments. */
size_t dispatch_argv_bytes(const struct server *s);
/* Other nodes said something: what follows from it leaves with this turn, also when the turn's hook
 * has been already. */
void dispatch_turn_is_due(struct server *s);
/* While a slow script runs: the first time what stands behind it in its batch goes back to where it
 * came from; then others are read and answered, in a batch of their own. */
void dispatch_meanwhile(struct server *s);
void dispatch_meanwhile_end(struct server *s);
/* For loop_on_turn; `arg` is the server. */
void dispatch_turn(void *arg);
