// SPDX-License-Identifier: BSD-3-Clause
/* Messages (docs/PUBSUB.md): who of this worker's clients listens to what, and the worker's ears: a
 * connection to each node, by which it subscribes once for all of them and is told every message.
 *
 *   client: SUBSCRIBE -> topic (its first listener) -> ears of all nodes that may publish on it
 *                     <- confirmed when all of those that stand have said so
 *   node: message -> ear -> topic -> the output of each listener
 *
 * Always: nodes have been told the number of a topic's listeners, as far as their ears stand; a
 * client hears nothing of a topic before its subscription is confirmed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct exec;
struct session;

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD };
#define TOPIC_KINDS 3

/* How many of a kind a session is subscribed to. */
uint32_t pubsub_count(const struct session *s, enum topic_kind kind);
/* Any: RESP2 clients may say little then. */
static inline bool pubsub_listens(const struct session *s)
{
    return pubsub_count(s, TOPIC_CHANNEL) + pubsub_count(s, TOPIC_PATTERN) +
               pubsub_count(s, TOPIC_SHARD) >
           0;
}
/* From everything, silently: RESET, or it goes. */
void pubsub_forget(struct exec *x, struct session *s);
/* Whether all that it is subscribed to passes the check; an ACL rule has changed. */
typedef bool (*pubsub_name_fn)(const void *arg, enum topic_kind kind, const char *name,
                               uint64_t len);
bool pubsub_all(const struct session *s, pubsub_name_fn fn, const void *arg);
