// SPDX-License-Identifier: BSD-3-Clause
/* One client command under way (request), and what of it is on the way to one node (call). The
 * spine of the proxy: every folder on the path works on these two. Owned by one worker thread,
 * taken from and given back to its exec's free lists.
 *
 * A plain command is a request with its one embedded call; a split one has calls of its own. A
 * request stands in its session's queue from the moment it is accepted until its reply was handed
 * to the client, so replies leave in request order; a call stands in its lane's queue, or in the
 * hold queue.
 *
 *   session: request -> request -> request          lane: call -> call -> call
 *
 * Always: `session` is NULL once the client has gone; such a request ends without a reply. */
#pragma once

#include "common/base/buf.h"

struct command;
struct fate;
struct lane;
struct request;
struct session;
struct target;
struct wait;

enum call_kind {
    CALL_ONE,       /* the request's embedded call */
    CALL_PART,      /* one of several calls of a request: split, all nodes, transaction */
    CALL_HANDSHAKE, /* a lane's own words: HELLO, AUTH; no request */
    CALL_FATE,      /* what became of a broken lane's writes; no request */
    CALL_TRACK,     /* whether what a client has read is still so; no request */
};

/* Values of call.shard for calls that do not belong to just one. */
enum call_where {
    CALL_ANY = -1,   /* any node will do */
    CALL_MULTI = -2, /* several shards of one node: made anew when it must go elsewhere */
    CALL_NODE = -3,  /* that very node */
};

struct call {
    struct call *next;
    struct lane *lane; /* NULL while held */
    struct request *request;
    struct chunk *chunk; /* holds `bytes`: kept until the answer, so that it can be sent again */
    const char *bytes;
    size_t len;
    uint64_t out_end; /* the lane's byte count behind this call: what was written less far was not
                         executed */
    int32_t shard;    /* or enum call_where */
    int32_t db;       /* -1: whatever the lane is at */
    uint32_t swallow; /* replies that still come before the one that counts */
    uint32_t swallow_own;  /* of those, the bytes' own (+QUEUED); the rest is a SELECT's */
    uint32_t part;         /* its place among the request's calls */
    struct target *target; /* CALL_NODE, CALL_MULTI: the node meant; else where it went last */
    struct fate *fate;     /* a write that may have been executed, held until that is known */
    uint64_t number;       /* of its last command among its lane's */
    int64_t sent_us;       /* loop time when it joined its lane */
    int64_t due_us;        /* held: not before; 0: when the map changes */
    uint8_t kind;          /* enum call_kind */
    uint16_t tries;
    bool again; /* it was held: others may be on the way that it must not pass */
    bool write;
    bool read_lane;  /* went by a read lane: a later write must not overtake it */
    bool leaves_db;  /* its lane is at an unknown database behind it */
    bool pinned;     /* its lane is the session's own */
    bool primary;    /* a read that only the primary may answer */
    bool probes;     /* its answer tells whether its shard is served */
    bool granted;    /* its time counts from sent_us: it was found not to have been executed */
    bool own_bytes;  /* they keep no more memory than they need */
    bool parked;     /* it waits at its lane's node, behind nothing (exec/wait.c) */
    uint8_t refused; /* enum node_answer: what a swallowed queue-time error said */
};

enum request_state {
    REQUEST_WAITING, /* its reply is not there yet */
    REQUEST_READY,   /* its reply is parked until it is the session's oldest */
};

struct request {
    struct request *next; /* in its session's queue */
    struct session *session;
    const struct command *command;
    struct call call; /* kind CALL_ONE */
    uint64_t number;  /* among its session's, from 1 */
    int64_t start_us; /* loop time when it was accepted */
    uint8_t state;    /* enum request_state */
    uint8_t proto;    /* of the session when it was accepted: what its reply looks like */
    bool silent;      /* CLIENT REPLY OFF/SKIP: its reply is dropped */
    bool close_after; /* QUIT and fatal errors: the client is closed behind this reply */
    bool failed;      /* its reply is an error (counters) */
    bool caching;     /* CLIENT CACHING was said of it */
    bool queued;      /* +QUEUED: it counts when EXEC runs it */
    bool rejected;    /* it was refused before anything was done: arity, NOAUTH, ... */
    /* parked reply: one piece, or (many) a queue of its own */
    struct chunk *reply_chunk;
    const char *reply;
    size_t reply_len;
    struct outbuf *reply_out; /* composed replies; NULL usually */
    struct gather *gather;    /* split, all, transaction, scan: what is collected; NULL usually */
    struct wait *wait;        /* BLPOP and its kin; NULL usually */
    void *local;              /* free for a local handler that completes later */
    /* the command's bytes, for the slow log, where `call` does not have them; NULL: not kept */
    struct chunk *trace_chunk;
    const char *trace;
    size_t trace_len;
};
