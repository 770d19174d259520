// SPDX-License-Identifier: BSD-3-Clause
/* A lane: one pipelined connection of this worker to one node, and its queue of calls. And the
 * target: what this worker knows of a node. Back moves the bytes; exec owns all fields but `io` and
 * `out`.
 *
 * A lane begins with words of its own (HELLO, AUTH, SHOAL LANE). Until they are answered `out` is
 * `staged`, and nothing else leaves: what a node would not take is not sent to it at all.
 *
 * Always: calls are answered in queue order; `out` is valid unless the state is LANE_DOWN; a lane
 * in state LANE_DOWN has no calls. An id names one connection and is never used again; the n-th
 * command behind SHOAL LANE has number n, here and at the node. */
#pragma once

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/model/map.h"
#include "common/resp/skip.h"

struct call;
struct own;
struct parked;
struct session;
struct target;

enum lane_kind {
    LANE_READ,
    LANE_WRITE,
    LANE_FATE,   /* questions for fates */
    LANE_EAR,    /* hears messages (pubsub.h) */
    LANE_URGENT, /* what must not stand behind a slow script: SCRIPT KILL */
    LANE_OWN,    /* of a client that tracks (own.h) */
    LANE_PINNED
};
#define LANE_KINDS 5 /* that a target has one of each */
enum lane_state { LANE_DOWN, LANE_CONNECTING, LANE_UP };

#define LANE_MAGIC   0x1a9e5a11u
#define TARGET_MAGIC 0x7a46e75au

struct lane {
    uint32_t magic;
    uint8_t kind;  /* enum lane_kind */
    uint8_t proto; /* 2 or 3 */
    uint8_t state; /* enum lane_state */
    bool full;     /* sessions stand in `stopped` */
    bool counted;  /* the node counts too: the fate of writes can be asked for */
    bool busy;     /* the node says that a slow script runs */
    bool keyless;  /* ... which has no keys */
    bool leaving;  /* nothing more goes by it (busy.c) */
    uint8_t words; /* of its own, not answered yet */
    int32_t db;    /* the one that the node's side is at behind what was appended */
    uint32_t in_flight;
    struct target *target;
    struct outbuf *out;
    struct outbuf *wire; /* while `out` is `staged`: the connection's */
    struct outbuf staged;
    struct chunk *tape; /* small requests are copied here, one behind the other */
    uint64_t out_total; /* bytes appended on this connection */
    uint64_t id;
    uint64_t count; /* commands appended behind SHOAL LANE */
    size_t bytes;   /* of the calls in flight */
    struct call *head;
    struct call *tail;
    struct parked *parked; /* commands that wait at the node (exec/wait.c), by their numbers */
    uint32_t n_parked;
    uint32_t cap_parked;
    uint32_t dead_parked; /* of n_parked: over */
    bool losing;          /* these are being told */
    int64_t heard_us;     /* when bytes came last */
    struct own *own;      /* OWN: whose; NULL: it is leaving */
    uint64_t said;        /* OWN: number of the last of its own words */
    bool fresh; /* OWN: something was read by it since its client was told to forget all */
    bool bare;  /* OWN: what came last was a read's reply: what is to be said of it may follow */
    bool whole; /* OWN, BCAST: it has listened for as long as its client does */
    uint64_t acked;      /* EAR, OWN: number of the last of its commands that was answered */
    struct list stopped; /* session.wait */
    struct list link;    /* in exec's lanes */
    struct list idle;    /* PINNED: in the target's idle ones */
    void *io;
    struct resp_skip skip;
};

struct target {
    uint32_t magic;
    int node; /* index in the current map; NODE_NONE: it left the map */
    int port;
    uint32_t weight;
    uint32_t in_flight;    /* of all its lanes */
    uint32_t latency_us;   /* smoothed */
    uint32_t load_percent; /* as its heartbeats report; 100 is average */
    uint32_t failures;     /* connection attempts that failed in a row */
    bool alive;            /* the map does not call it dead */
    bool short_of_memory;  /* as its heartbeats report */
    int32_t databases;     /* that it has; 0: not known */
    uint64_t incarnation;
    int64_t retry_at_us;               /* no connection attempt before */
    int64_t down_since_us;             /* 0: not down */
    struct lane *lanes[LANE_KINDS][2]; /* [kind][proto - 2], made when first used */
    uint32_t fans;                     /* parts of requests whose answers will be told by node */
    uint32_t n_pinned;                 /* dedicated connections, idle ones included */
    struct list pinned_idle;
    struct list link;
    uint64_t mark; /* of the last walk that met it */
    uint32_t mark_at;
    char id[NODE_ID_LEN + 1];
    char host[NODE_HOST_MAX];
    char refusal[96]; /* what it answered to a lane's own words last; "": it took them */
};
