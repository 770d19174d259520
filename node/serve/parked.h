// SPDX-License-Identifier: BSD-3-Clause
/* Commands that found nothing and wait (BLPOP, XREAD BLOCK): their words are kept, nothing behind
 * them on the same connection runs, and when a key of theirs changes they run again, in the order
 * in which they were asked. As long as one waits there is nothing of it in any log; it is answered
 * by
 *
 *   its own handler, that now finds something        the time is over: a null
 *   CLIENT UNBLOCK: a null, or -UNBLOCKED            another node is primary now: -MOVED
 *
 * A proxy's lane carries the commands of many clients, which must not wait for each other: what it
 * sends as SHOAL PARK <command> is answered +PARKED if it has to wait, the lane goes on, and the
 * answer is pushed: >3 park <number on the lane> <answer>. SHOAL READY <command> waits for a notice
 * only (+READY), and takes nothing then.
 *
 * Owned by the server through its clients; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct server;
struct client;

enum park_mode { PARK_HERE, PARK_ASIDE, PARK_NOTICE };
/* Whether these words of a lane are a command to be parked aside; *skip words are not its own.
 * *again: it has waited elsewhere before. */
enum park_mode parked_mode(const struct client *c, const struct slice *argv, size_t argc,
                           size_t *skip, bool *again);
/* The command has asked to wait (k->wait). */
void parked_begin(struct server *s, struct client *c, struct call *k, enum park_mode mode);
/* SHOAL UNPARK: with a push before the answer, unless `drop`. False: it does not wait. */
bool parked_unpark(struct client *lane, uint64_t number, bool drop, bool error);
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
size_t parked_aside(const struct client *c);
/* The client goes. */
void parked_forget(struct client *c);
