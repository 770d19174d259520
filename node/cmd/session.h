// SPDX-License-Identifier: BSD-3-Clause
/* What a client has set that commands must know: database, protocol, transaction. serve's client
 * embeds one. What only serve and admin care for (name, address, user) stays in the client. The
 * node's thread. */
#pragma once

#include "node/keyspace/watch.h"

#include "common/cmd/command.h"

struct acl_user;

struct queued {
    const struct command *cmd;
    struct acl_user *as;      /* SHOAL AS: whose rules a script goes by; NULL: the session's */
    const struct slice *argv; /* owned by the queue, with the bytes behind them */
    size_t argc;
};

struct session {
    uint32_t magic;
    int db;
    int proto; /* 2 or 3 */
    bool in_multi;
    bool tx_failed;  /* a command could not be queued: EXEC answers EXECABORT */
    bool in_exec;    /* EXEC is running the queue, or a script its commands */
    bool in_script;  /* it is a script's: what would wait does not, XREAD's BLOCK is an error */
    bool no_touch;   /* CLIENT NO-TOUCH, and the proxy's own reads: leave the access clock */
    bool relayed;    /* a proxy's lane: what EXEC is to run was queued there before */
    bool tx_denyoom; /* something queued needs memory */
    /* Whose rules count for what a script or EXEC runs; NULL: no rules. serve's to set. */
    const struct acl_user *user;
    struct acl_user *as; /* while a command behind SHOAL AS runs; also `user` then */
    struct watcher watcher;
    struct queued *queue;
    size_t queued;
    size_t queue_cap;
    size_t queue_bytes; /* for CLIENT LIST's multi-mem */
};

void session_init(struct session *s);
/* Unwatches and frees the queue. */
void session_fini(struct session *s, struct keyspace *ks);
/* RESET, DISCARD: leaves MULTI, forgets queue and watches. */
void session_discard(struct session *s, struct keyspace *ks);
/* A command was refused before call_run (unknown, not allowed, moved...): the transaction, if one
 * is open, cannot be executed any more. call_run does this itself for what it refuses. */
void session_tx_failed(struct session *s);
