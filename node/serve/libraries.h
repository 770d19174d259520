// SPDX-License-Identifier: BSD-3-Clause
/* Libraries of functions are the cluster's, not a shard's: a proxy sends each change to all nodes,
 * and what a node missed (it was down, or is new) it gets from others, over the links: two sets
 * that meet become one (node/script/library_set.h). A set is told when a link comes up, and a while
 * after it changed: before, the proxy's own word is under way. Who has learned something tells it
 * on, so it comes to all that are linked in any way; the nodes that hold shard 0 are linked with
 * all. Owned by the server; the node's thread. */
#pragma once

#include "common/base/str.h"

#include <stdbool.h>

struct link;
struct server;

/* A frame on a link that begins so is ours; the rest of them are the replication's. */
#define LIBRARIES_FRAME 0xf0

/* Commands changed something here. False: it could not be kept (`why`), and is undone. */
bool libraries_changed(struct server *s, struct str *why);
/* Something else did: a dump was loaded. */
void libraries_note(struct server *s);
void libraries_link_up(struct server *s, struct link *l);
/* False: the frame makes no sense. */
bool libraries_frame(struct server *s, struct link *l, struct slice frame);
/* Ten times a second. */
void libraries_tick(struct server *s);
