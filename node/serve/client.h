// SPDX-License-Identifier: BSD-3-Clause
/* One connection: who it is, what it has set, how its replies leave.
 *
 * Made by the server when it accepts, freed when its stream reports the end (always in a loop's
 * deferred phase, so never while commands of it wait in a batch). The node's thread.
 *
 *   bytes -> on_data: parse all whole commands into the server's batch -> batch_run
 *                                         replies appended to stream->out -> one write a turn */
#pragma once

#include "node/cmd/channels.h"
#include "node/cmd/session.h"
#include "node/serve/holds.h"

#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/str.h"
#include "common/io/stream.h"
#include "common/resp/parse.h"

struct server;
struct link_claim;
struct waiter;
struct parked;
struct migration;
struct tracking;
struct follower;

enum client_flag {
    CLIENT_AUTHENTICATED = 1 << 0, /* or nothing was asked for when it came */
    CLIENT_CLOSING = 1 << 1,       /* runs nothing more; its stream ends soon */
    CLIENT_REPLY_OFF = 1 << 2,     /* CLIENT REPLY OFF */
    CLIENT_SKIP_NEXT = 1 << 3,     /* CLIENT REPLY SKIP came: no reply to the next command */
    CLIENT_SKIPPING = 1 << 4,      /* ... which is this one */
    CLIENT_LANE = 1 << 5,          /* a proxy's lane: no limits, no idle timeout */
    CLIENT_MONITOR = 1 << 6,
    CLIENT_NO_EVICT = 1 << 7,
    CLIENT_PAUSED = 1 << 8,   /* waits in server->paused for CLIENT PAUSE to end */
    CLIENT_READONLY = 1 << 9, /* READONLY: reads from replicas are fine for it */
    CLIENT_TOUCHED = 1 << 10, /* in server->touched: replied to in this batch */
    CLIENT_LOCAL = 1 << 11,   /* came over loopback or a Unix socket */
    CLIENT_OVER = 1 << 12,    /* beyond maxclients: refused unless it turns out to be a lane */
    CLIENT_BLOCKED = 1 << 13, /* its command waits (parked, WAIT): nothing behind it runs */
    CLIENT_FREE = 1 << 14,    /* may run anything: see access.h */
    CLIENT_LISTENS = 1 << 15, /* is subscribed to something (pubsub.h) */
    CLIENT_FOLLOWS = 1 << 16, /* gets the stream of changes (follow.h), and no replies */
    CLIENT_SHARED = 1 << 17,  /* a lane of many clients */
    CLIENT_SPENT = 1 << 18,   /* nothing more of it is run; ends with its last reply (busy.h) */
    /* Nothing that it sent may run now. */
    CLIENT_STOPPED = CLIENT_CLOSING | CLIENT_PAUSED | CLIENT_BLOCKED | CLIENT_SPENT,
    /* Its replies go nowhere, or may. */
    CLIENT_SILENT = CLIENT_SKIPPING | CLIENT_SKIP_NEXT | CLIENT_REPLY_OFF | CLIENT_FOLLOWS,
};

#define CLIENT_MAGIC    0x636c6e74u
#define CLIENT_NAME_MAX 256

struct client {
    uint32_t magic;
    uint32_t flags; /* enum client_flag */
    struct server *server;
    struct stream *stream;
    struct resp_parser parser;
    struct session session;
    const struct acl_user *user; /* who it is: of the server's set; see access.h */
    struct list link;            /* server->clients, in the order of their coming */
    struct list round;           /* server->round: whose turn it is to be checked */
    struct list waiting;         /* server->paused or server->adopted */
    struct hold_ring holds;      /* its replies that wait for commits */
    struct client *touched_next;
    uint64_t id;
    int64_t since_ms; /* loop time of the accept */
    const struct command *last_cmd;
    uint64_t commands;
    int64_t soft_since_ms; /* loop time since when output is above the soft limit; 0: it is not */
    char *name;            /* NULL: none */
    char *lib_name;
    char *lib_version;
    uint64_t lane;                 /* the proxy's number for it (lanes.h); 0: none */
    struct hmap_node lane_node;    /* server->lanes */
    uint64_t lane_from;            /* `commands` when its count began: the next has number 1 */
    struct waiter *waiter;         /* of WAIT, while CLIENT_BLOCKED */
    struct parked *parked;         /* of BLPOP and kin, while CLIENT_BLOCKED */
    struct migration *migration;   /* of MIGRATE, while CLIENT_BLOCKED */
    uint64_t errand;               /* the agent asks the coordinator for it, while CLIENT_BLOCKED */
    struct list aside;             /* a lane's: struct parked.link */
    struct link_claim *link_claim; /* it is a node that says so: its stream becomes a link */
    struct subscriber subscriber;
    struct follower *follower; /* NULL: it has said nothing of that kind */
    struct tracking *tracking; /* of client-side caching; NULL: off */
    struct hmap_node id_node;  /* server->by_id */
    struct list ear;           /* server->ears: a proxy worker listens by it */
    struct outbuf pushes;      /* made while its own command runs: they come behind the reply */
    size_t memory_seen;        /* its share of server->clients_memory */
    size_t dying_bytes;        /* what it takes, since it was closed for maxmemory-clients */
    uint32_t in_batch;         /* its commands that wait in the batch */
    char peer[64];
};

/* Takes the descriptor. */
struct client *client_new(struct server *s, int fd);
void client_free(struct client **c);

/* Ends it without waiting for anything; what it sent and was not run never runs. */
void client_kill(struct client *c);
/* Ends it when the replies so far are written. */
void client_close_after_reply(struct client *c);

/* After its commands ran: checks the output limits. */
void client_check_output(struct client *c);
/* CLIENT_NORMAL and its kin as OUTPUT_*. */
int client_class(const struct client *c);

/* Its command waits: nothing behind it runs until client_unblock. Its end is noticed all the same:
 * what comes meanwhile is read, so far as it is little. */
void client_block(struct client *c);
void client_unblock(struct client *c);
/* It turned out to be another node: its connection becomes a link at the end of the turn. */
void client_becomes_link(struct client *c, const char *id, uint64_t incarnation);
/* The server's task for that. */
void client_adopt_links(struct server *s);

/* Puts raw bytes of whole commands back before what is unread: they were parsed, but may not run
 * yet. The parser starts anew. */
void client_unread(struct client *c, struct slice raw);

/* Where a push is written, then tell: at once, or behind the reply of the command that it itself
 * runs. CLIENT REPLY OFF does not concern pushes. */
struct outbuf *client_push(struct client *c);
void client_pushed(struct client *c);
/* It is a proxy's: not in maxclients, never idle. */
void client_becomes_lane(struct client *c);

/* Where replies to the command under way go: the stream, or nowhere. */
struct outbuf *client_out(struct client *c);

size_t client_memory(const struct client *c);
/* Brings the sum of all clients' memory up to date with this one's; above maxmemory-clients the
 * largest go. */
void client_account(struct client *c);
/* The line of CLIENT LIST, with '\n'. */
void client_describe(const struct client *c, struct str *to);
/* False: it holds a character that no name may hold. */
bool client_set_name(struct client *c, struct slice name);
