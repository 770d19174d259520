// SPDX-License-Identifier: BSD-3-Clause
/* What a client has set, and its requests under way. Embedded in front's struct client; exec works
 * on it without knowing of sockets. One worker thread owns it.
 *
 * Always: `head` is the oldest request without a reply handed over; `pending` counts the queue;
 * `reads_open` and `writes_open` count its calls on lanes (reads: by read lanes only). */
#pragma once

#include "common/base/buf.h"
#include "common/base/list.h"

struct command;
struct request;
struct tx;

enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP_THIS };

#define SESSION_MAGIC 0x5e5510a1u

struct session {
    uint32_t magic;
    uint8_t proto;      /* 2 or 3 */
    uint8_t reply_mode; /* enum reply_mode */
    uint8_t mixes;      /* > 0: reads and writes overlapped lately; reads go the writes' way */
    bool authenticated;
    bool no_evict;
    bool closing;  /* nothing more is parsed: QUIT, fatal error, killed */
    bool stopped;  /* parsing waits: order, a full lane, a held request */
    bool readonly; /* READONLY was said; has no effect but is shown */
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
    uint32_t held;                      /* calls in the hold queue */
    struct outbuf *out;                 /* replies: the stream's */
    struct tx *tx;                      /* NULL: no MULTI, no WATCH */
    struct list wait;                   /* linked while stopped for a lane or an order */
    const struct command *last_command; /* for CLIENT LIST */
    uint64_t commands;                  /* how many it has sent */
};

void session_init(struct session *s, uint64_t id, struct outbuf *out);
/* Names freed; the queue must have been given up by exec_session_gone() before. */
void session_fini(struct session *s);
/* Copies; an empty name clears. */
void session_set_name(struct session *s, const char *ptr, size_t len);
static inline bool session_in_multi(const struct session *s);
bool session_tx_open(const struct session *s);
static inline bool session_in_multi(const struct session *s)
{
    return s->tx != NULL && session_tx_open(s);
}
