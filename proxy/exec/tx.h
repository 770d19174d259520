// SPDX-License-Identifier: BSD-3-Clause
/* MULTI, EXEC, DISCARD, WATCH, UNWATCH. Commands are queued here; EXEC sends those for nodes as one
 * MULTI ... EXEC to the primary of their one shard. WATCH takes a connection of the client's own,
 * and EXEC then goes by that.
 *
 * What nodes do not answer (CONFIG, DBSIZE over all shards, ...) runs before or behind the node's
 * part, one by one, through an inner session; the replies are put together in the order of the
 * queue. */
#pragma once

#include "proxy/route/request.h"
#include "proxy/route/session.h"

struct exec;
struct lane;
struct tx_run;

/* A queued command was wrong: EXEC will refuse. */
void tx_spoil(struct session *s);
/* The client's own connection, or an EXEC of several parts, must answer before anything else goes.
 */
bool tx_busy(const struct session *s);
/* The inner session finished something or may go on. */
void tx_inner_moved(struct exec *x, struct session *inner);
/* Something queued may write. */
bool tx_may_change(const struct session *s);
/* A lane of the session's own ends: what it watched by it may change unseen. */
void tx_lane_gone(struct session *s, const struct lane *l);
/* The client has gone. */
void tx_run_orphan(struct tx_run *run);
