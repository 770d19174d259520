// SPDX-License-Identifier: BSD-3-Clause
/* What a client has set, and its requests under way. Embedded in front's struct client; exec works
 * on it without knowing of sockets. One worker thread owns it.
 *
 * Always: `head` is the oldest request without a reply handed over; `pending` counts the queue;
 * `reads_open` and `writes_open` count its calls on lanes (reads: by read lanes only). */
#pragma once

#include "common/base/buf.h"
#include "common/base/list.h"

struct acl_user;
struct call;
struct command;
struct exec;
struct own;
struct request;
struct session;
struct subs;
struct tx;

enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP_THIS };

enum session_stop {
    STOP_NOT,    /* it does not wait */
    STOP_READS,  /* a write must not overtake its reads: until reads_open is 0 */
    STOP_EMPTY,  /* until all its requests are answered */
    STOP_HELD,   /* a request of its waits for a primary or a retry */
    STOP_WINDOW, /* enough under way */
    STOP_LANE,   /* a lane is full; it stands in the lane's queue */
    STOP_OUTPUT, /* it does not read its replies, or they wait for an earlier one */
    STOP_PAUSE,  /* CLIENT PAUSE */
    STOP_ROUTES, /* a command about all shards, and one has no primary */
};

#define SESSION_MAGIC 0x5e5510a1u

struct session {
    uint32_t magic;
    uint8_t proto;      /* 2 or 3 */
    uint8_t reply_mode; /* enum reply_mode */
    uint8_t mixes;      /* > 0: reads and writes overlapped lately; reads go the writes' way */
    bool authenticated;
    bool trusted; /* may run anything: nothing to ask of `user` */
    bool multi;   /* between MULTI and EXEC */
    bool inner;   /* runs a transaction's commands; nobody's connection */
    bool no_evict;
    bool waits;    /* its oldest request is one that may wait (BLPOP) */
    bool closing;  /* nothing more is parsed: QUIT, fatal error, killed */
    uint8_t stop;  /* enum session_stop: why parsing waits */
    bool readonly; /* READONLY was said; has no effect but is shown */
    bool calm;     /* its next command was found not to write: a pause of writes does not hold it */
    const struct acl_user *user; /* front's: of its worker's set; NULL: nobody's, no rules */
    int db;
    uint64_t id; /* CLIENT ID: unique over all workers */
    char *name;  /* NULL: none */
    char *lib_name;
    char *lib_version;
    struct request *head;
    struct request *tail;
    uint32_t pending;
    uint32_t reads_open;
    uint32_t writes_open;
    int64_t wrote_us;       /* loop time of the last answer to a write */
    uint32_t held;          /* calls in the hold queue */
    struct call *held_head; /* these, in request order */
    struct call *held_tail;
    struct list holds;     /* in exec's holders while there are any */
    uint32_t queued;       /* commands since MULTI */
    uint32_t reply_size;   /* of the largest lately */
    size_t parked;         /* bytes of replies that wait for their turn */
    uint64_t routes_seen;  /* exec's version of the routes that its requests went by */
    uint64_t held_walk;    /* of exec's walk over what is held that left one of its calls there */
    size_t out_watch;      /* output from which front wants to know */
    struct outbuf *out;    /* replies: the stream's */
    struct tx *tx;         /* NULL: no MULTI, no WATCH; exec's */
    struct session *outer; /* of an inner session: the client's own; NULL once it has gone */
    struct own *own;       /* its tracking; NULL: it does not track; exec's */
    struct subs *subs;     /* what it listens to; NULL: nothing; exec's */
    /* An inner session finished something or may go on. */
    void (*moved)(struct exec *x, struct session *s);
    struct list wait;                   /* linked while stopped for a lane or an order */
    const struct command *last_command; /* for CLIENT LIST */
    uint64_t commands;                  /* how many it has sent */
};

void session_init(struct session *s, uint64_t id, struct outbuf *out);
/* Names freed; the queue must have been given up by exec_session_gone() before. */
void session_fini(struct session *s);
/* Copies; an empty name clears. */
void session_set_name(struct session *s, const char *ptr, size_t len);
