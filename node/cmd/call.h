// SPDX-License-Identifier: BSD-3-Clause
/* One execution of one command: what it is given, where it answers, what it did.
 *
 * Handlers are plain functions over a struct call: they read argv, work on the keyspace through
 * node/keyspace/db.h and write exactly one reply (or one push per the command's rules) to call->w.
 * Time and randomness come with the call, so that the simulator can replay. The node's thread. */
#pragma once

#include "node/cmd/session.h"
#include "node/keyspace/db.h"

#include "common/base/rng.h"
#include "common/cmd/acl.h"
#include "common/cmd/command.h"
#include "common/resp/write.h"

struct call_table;
struct scripts;

/* A command that found nothing and whose client waits until it does (BLPOP, XREAD BLOCK). The
 * handler asks with call_wait and writes nothing; when a key of it changes, the handler runs again
 * with the same words, and may ask again: it keeps its place before those who asked later. */
struct call_wait {
    bool allowed;          /* in: its client can wait (not in MULTI, scripts, entries of the log) */
    bool again;            /* in: it has waited */
    bool asked;            /* out: everything below */
    bool on_removal;       /* a key that goes, or gets another type, is worth another try, too */
    enum object_type type; /* a value of another type gives it nothing */
    int64_t until_ms;      /* wall clock; 0: for ever. Then the answer is a null array */
    bool null_bulk;        /* ... or a null bulk string */
    size_t first;          /* its keys in argv, n of them in a row */
    size_t n;
    /* Words that it shall run again with, as many as argv: XREAD's "$" as an id. NULL: argv. One
     * allocation, slices and then their bytes (call_copy_words); taken by the caller. */
    const struct slice *words;
};

struct call {
    const struct command *cmd;
    const struct slice *argv; /* argv[0] is the name; valid during the call only */
    size_t argc;
    struct resp_writer w;    /* out is the caller's; proto is taken from the session by call_run */
    struct session *session; /* db, protocol, transaction, identity */
    struct keyspace *ks;
    struct rng *rng;
    int64_t now_ms;  /* wall clock of this loop turn: expiry */
    uint64_t lane;   /* of the proxy's connection that it came by; 0: none */
    uint64_t number; /* counted on that lane */
    uint32_t only; /* a shard's number + 1: of whole databases only that is meant; 0: all served */
    struct slice as;  /* the rules of SHOAL AS that it came behind; ptr NULL: none */
    void *server;     /* for handlers of node/admin and node/serve; opaque here */
    size_t reply_max; /* a client that waits for a longer output is cut off anyway; 0: no limit */
    uint64_t changes; /* out: keys that the command changed (Redis's dirty) */
    struct call_wait wait;
    /* set by call_run */
    const struct call_table *table;
    struct db db;
    int shard; /* what whole databases means: KEYSPACE_SERVED, or this one (`only`) */
    /* A key whose hash is known already, see call_prefetch_bucket; 0: none. */
    size_t probe_arg;
    struct probe probe;
    bool error_counted; /* out: the error that it answers is in the statistics already */
};

/* The reply is longer than its client may wait for: a handler that would go on for long breaks off,
 * since the connection ends. */
static inline bool call_reply_full(const struct call *c)
{
    return UNLIKELY(c->reply_max != 0 && c->w.out->bytes > c->reply_max) && !c->session->in_script;
}

typedef void (*call_fn)(struct call *c);

/* Handlers by command id. The data commands are filled in by node/cmd, the rest by node/admin;
 * a command with no handler answers ERR_NOT_SERVED. */
struct call_table {
    call_fn fn[CMD_MAX];
    /* Around every handler, also those that EXEC runs; may be NULL. For statistics, SLOWLOG,
     * MONITOR. */
    call_fn before;
    call_fn after;
    /* Memory is above maxmemory, before any key is evicted for it; may be NULL. */
    call_fn relieve;
    /* The session's user may not run this; `at` as acl_check told. For the log; may be NULL. */
    void (*denied)(struct call *c, const struct command *cmd, const struct slice *argv,
                   enum acl_answer why, size_t at, const char *context);
    struct scripts *scripts; /* of node/script's handlers */
};
void call_table_data(struct call_table *t);
/* Checks arity and what the session and memory allow, queues inside MULTI, runs the handler. The
 * caller has resolved the command, authenticated the client and checked that the shards of the keys
 * are held; for EXEC also those of session->queue. */
void call_run(const struct call_table *t, struct call *c);

typedef void call_run_fn(const struct call_table *t, struct call *c);
/* For a command that waited: runs its handler again, nothing else is checked. */
void call_again(const struct call_table *t, struct call *c);
/* Whether the session's user may run a command from within another (`context`: "lua" a script,
 * "multi" EXEC); a refusal gets into ACL LOG. The error's texts: acl_script_error() and its kin. */
enum acl_answer call_check_user(struct call *c, const struct command *cmd, const struct slice *argv,
                                size_t argc, const char *context);

/* One allocation for the slices and the bytes behind them. */
const struct slice *call_copy_words(const struct slice *argv, size_t argc);
/* Runs the handler of c->cmd with the hooks around it, inside EXEC or a script; nothing is checked.
 */
void call_handler(struct call *c);

/* A batch: fill all calls, call_prefetch_bucket on each (arg: argv index of its first key, slot:
 * its slot), then call_prefetch_object on each, then call_run on each. Leaving these out is only
 * slower. */
void call_prefetch_bucket(struct call *c, size_t arg, int slot);
void call_prefetch_object(const struct call *c);
