// SPDX-License-Identifier: BSD-3-Clause
/* Client-side caching: who is told that what it read has changed.
 *
 *   default   keys that a client read are remembered until they change, once (cmd/tracked.h)
 *   BCAST     every change of a key that begins with one of its prefixes, gathered over a turn
 *
 * What the client's own command changes is told behind that command's reply. A client may have
 * another one told in its place. Owned by the server; the node's thread. */
#pragma once

#include "common/app/client_command.h"
#include "common/base/list.h"
#include "common/base/str.h"

struct server;
struct client;
struct call;
struct tracking; /* of a client; NULL: off */
struct trackers; /* of the server */

void tracking_init(struct server *s);
void tracking_fini(struct server *s);
/* The keyspace is another one now: all that was read is told. */
void tracking_new_keyspace(struct server *s);

/* CLIENT TRACKING, as read; false and an error if it does not go with what is on. */
bool tracking_set(struct client *c, const struct client_tracking *wish, struct resp_writer *w);
/* OFF, RESET, or the client goes. */
void tracking_forget(struct client *c);
/* CLIENT CACHING, all of it. */
void tracking_caching(struct client *c, struct slice word, struct resp_writer *w);
/* CLIENT TRACKINGINFO and GETREDIR. */
void tracking_info(const struct client *c, struct resp_writer *w);
int64_t tracking_redirect(const struct client *c);
/* Appends its letters of CLIENT LIST. */
size_t tracking_letters(const struct client *c, char *to);

/* What it takes, about. */
size_t tracking_memory(const struct client *c);

/* A handler is done: what it read is remembered. Only while ks->changed is set: somebody tracks. */
void tracking_after(struct server *s, const struct call *k);
/* The client's command is over: CLIENT CACHING was for that. */
void tracking_command_over(struct client *c, const struct call *k);
/* More is remembered than may be: some is told as if it had changed. */
void tracking_limit(struct server *s);
/* The end of a turn: broadcasts. */
void tracking_turn(struct server *s);
/* The shard is no longer served, or (`served` is false) held here: all that was read of it is told;
 * by lanes, that the next primary is to be asked. */
void tracking_shard_lost(struct server *s, int shard, bool served);
/* The shard is served here from now on. */
void tracking_shard_serves(struct server *s, int shard);
/* SHOAL TRACK, all of it: what was read at a former primary of the shard is remembered here from
 * now on, unless it may have changed since. */
void tracking_take_over(struct client *c, struct call *k);

struct tracking_stats {
    size_t clients;
    size_t keys;
    size_t items;
    size_t prefixes;
};
void tracking_stats(const struct server *s, struct tracking_stats *out);
