// SPDX-License-Identifier: BSD-3-Clause
/* Commands that found nothing and wait (BLPOP, XREAD BLOCK): their words are kept, nothing behind
 * them on the same connection runs, and when a key of theirs changes they run again, in the order
 * in which they were asked. As long as one waits there is nothing of it in any log; it is answered
 * by
 *
 *   its own handler, that now finds something        the time is over: a null
 *   CLIENT UNBLOCK: a null, or -UNBLOCKED            another node is primary now: -MOVED
 *
 * Owned by the server through its clients; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct server;
struct client;

/* The command has asked to wait (k->wait). */
void parked_begin(struct server *s, struct client *c, struct call *k);
/* A command, or something else that may have changed keys, is over: whoever waited for that tries
 * again, and whoever waited for what they then do. */
void parked_serve(struct server *s);
/* After a new map, or when shards came or went: who waits here for what another serves is told. */
void parked_map_changed(struct server *s);
/* The shard is served here (again): what it holds may have changed in between. */
void parked_shard_serves(struct server *s, int shard);
/* All keys go: nobody waits for anything. */
void parked_end_all(struct server *s);
/* CLIENT UNBLOCK, also of WAIT: an error instead of a null? False: it does not wait. */
bool parked_unblock(struct client *c, bool error);
bool parked_has_timeout(const struct client *c);
/* The client goes. */
void parked_forget(struct client *c);
