// SPDX-License-Identifier: BSD-3-Clause
/* Messages on their way to clients: PUBLISH, keyspace notifications, and what a proxy worker's ear
 * is told (docs/PUBSUB.md). A message is encoded once, whoever hears it; a long one is shared among
 * the outputs. Owned by the server; the node's thread. */
#pragma once

#include "node/cmd/channels.h"

struct server;
struct client;
struct keyspace;

void pubsub_init(struct server *s);
void pubsub_fini(struct server *s);
/* Has notifications of `ks` told. */
void pubsub_hang(struct server *s, struct keyspace *ks);

/* Tells all who listen here; how many those are. Where the channel lives on another node (within a
 * transaction or a script), hands it to a proxy: 0. */
uint64_t pubsub_publish(struct server *s, struct slice channel, struct slice message, bool shard);

/* The connection is an ear from now on. */
void pubsub_ear(struct client *c);

/* Subscribes or unsubscribes and confirms it to the client. */
void pubsub_subscribe(struct client *c, enum subject what, struct slice name);
void pubsub_unsubscribe(struct client *c, enum subject what, struct slice name);
/* From everything of a kind; from nothing is confirmed too. */
void pubsub_unsubscribe_all(struct client *c, enum subject what);
/* Silently: RESET, or the client goes. */
void pubsub_forget(struct client *c);

/* A channel of keyspace notifications: it has no place. */
bool pubsub_is_notification(struct slice channel);
/* This node publishes on it: it is the serving primary of the channel's shard, or stands alone. */
bool pubsub_lives_here(const struct server *s, struct slice channel);
/* The shard is not served here any more: plain clients are unsubscribed from its channels. */
void pubsub_shard_lost(struct server *s, int shard);
