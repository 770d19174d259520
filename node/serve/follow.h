// SPDX-License-Identifier: BSD-3-Clause
/* Redis's replicas, and tools that speak as one (redis-cli --rdb, --replica, migration tools),
 * follow this node on its service port: SYNC, PSYNC, REPLCONF. They get an image of the keys in
 * RDB form, then everything that changes them as Redis 7.0 would tell it (keyspace/feed.h).
 *
 *   client -> SYNC -> image: of the keys at one moment, whose place in the stream is noted
 *                       |  made in slices of the loop without a fork (persist/rdb_file.h)
 *                       v
 *             image sent, then the stream from that place on, from the spool (spool.h)
 *
 * An image goes through a file in `dir`, unless the follower can take one whose length is not known
 * (capa eof) and repl-diskless-sync is yes: then it is sent as it is made.
 *
 * A node follows nobody by this: between Shoal's nodes there is node/repl. What is sent is of the
 * shards of which this node is primary (all of a node that stands alone); when those change, or
 * keys come otherwise than by commands, the stream has another id and followers begin anew.
 *
 * INVARIANT  the image of a follower and the stream behind it are without gap or overlap: an image
 *            begins, and its place is noted, between two groups of the feed.
 * Cost       nobody follows: nothing (collector.feed is NULL, and there may be no collector).
 *
 * Owned by the server; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct client;
struct server;
struct str;

void follow_init(struct server *s);
/* All clients are gone. */
void follow_fini(struct server *s);

/* ---- commands ---- */

void follow_sync(struct call *k); /* SYNC and PSYNC */
void follow_conf(struct call *k); /* REPLCONF */
/* A follower may say REPLCONF; what has a reply ends it, since the reply would stand in the stream.
 */
bool follow_may_say(struct client *c, const struct command *cmd);

/* ---- events ---- */

/* The client goes. */
void follow_forget(struct client *c);
/* What followers have been told is not what is here: they are closed, and begin anew. */
void follow_reset(struct server *s, const char *why);
/* Before the keyspace's collector is made or dropped by somebody else, and after. */
void follow_unhang(struct server *s);
void follow_hang(struct server *s);

/* ---- views ---- */

/* Bytes of the stream that it still is to get, and that are not in its output yet. */
size_t follow_pending(const struct client *c);
/* Memory that is for followers only. */
size_t follow_memory(const struct server *s);
/* Place of the stream's end; how many have acknowledged what is before a place; asks them to. */
uint64_t follow_offset(const struct server *s);
int follow_acked(const struct server *s, uint64_t offset);
void follow_ask(struct server *s);

/* NULL, or the error for commands that write: too few follow closely enough. */
const char *follow_refusal(const struct server *s);

struct follow_stats {
    uint64_t full;
    uint64_t partial;
    uint64_t partial_refused;
};
const struct follow_stats *follow_stats(const struct server *s);
const char *follow_id(const struct server *s);

/* A follower as INFO and ROLE show it. */
struct follow_view {
    const char *host;
    int port;
    const char *state;
    bool online;
    uint64_t acked;
    int64_t lag_s;
};
typedef void follow_view_fn(void *arg, const struct follow_view *v);
size_t follow_each(const struct server *s, follow_view_fn *fn, void *arg);
/* Lines of INFO replication about the stream. */
void follow_info(const struct server *s, struct str *to);
