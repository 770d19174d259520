// SPDX-License-Identifier: BSD-3-Clause
/* MIGRATE: keys go to another server, a node of ours or a Redis, by AUTH, SELECT and RESTORE over a
 * connection of its own, and are removed here when it has acknowledged them.
 *
 *   command -> (name looked up) -> connecting -> AUTH, SELECT, RESTOREs sent, a window at a time
 *           -> all acknowledged: what changed here meanwhile is sent again -> removed, answered
 *
 * Nothing waits but its client. Keys that were not acknowledged stay, whatever went wrong; those
 * that were are removed in one step, in which none of them differs from what was acknowledged, and
 * the client's answer waits for the copies of that step as for any write's.
 *
 * Owned by its client; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct client;
struct migration;

/* The handler. */
void migrate_command(struct call *k);
/* The client goes. */
void migrate_forget(struct client *c);
