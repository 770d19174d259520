// SPDX-License-Identifier: BSD-3-Clause
/* One execution of one command: what it is given, where it answers, what it did.
 *
 * Handlers are plain functions over a struct call: they read argv, work on the keyspace through
 * node/keyspace/db.h and write exactly one reply (or one push per the command's rules) to call->w.
 * Time and randomness come with the call, so that the simulator can replay. The node's thread. */
#pragma once

#include "common/base/rng.h"
#include "common/cmd/command.h"
#include "common/resp/write.h"

struct keyspace;
struct session;

struct call {
    const struct command *cmd;
    const struct slice *argv; /* argv[0] is the name; valid during the call only */
    size_t argc;
    struct resp_writer w;     /* protocol of the session */
    struct session *session;  /* db, protocol, transaction, identity */
    struct keyspace *ks;
    struct rng *rng;
    int64_t now_ms;           /* wall clock of this loop turn: expiry */
    void *server;             /* for handlers of node/admin and node/serve; opaque here */
    uint64_t changes;         /* keys that the command changed (Redis's dirty) */
};

typedef void (*call_fn)(struct call *c);

/* Handlers by command id. The data commands are filled in by node/cmd, the rest by node/admin;
 * a command with no handler answers ERR_NOT_SERVED. */
struct call_table {
    call_fn fn[CMD_COUNT];
};
void call_table_data(struct call_table *t);
/* Checks arity and what the session and memory allow, queues inside MULTI, runs the handler. */
void call_run(const struct call_table *t, struct call *c);
