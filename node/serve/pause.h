// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT PAUSE: clients whose commands may not run now wait, unread, until the pause ends. Keys do
 * not expire meanwhile. A proxy whose clients pause asks for the latter alone. The node's thread.
 */
#pragma once

#include "node/cmd/call.h"
#include "node/serve/server.h"

void pause_init(struct server *s);
/* Never weakens or shortens a pause that is on. */
void pause_start(struct server *s, enum pause_kind kind, int64_t for_ms);
void pause_end(struct server *s);
/* No key expires for so long, from now; 0: they do again. */
void pause_expiry(struct server *s, int64_t for_ms);
void pause_fini(struct server *s);
/* One client waits, until pause_release or the end of a pause that is on. */
void pause_client(struct server *s, struct client *c);
void pause_release(struct server *s);
/* True: the command must wait, and its client does from now on. */
bool pause_holds(struct server *s, struct client *c, const struct call *k);
