// SPDX-License-Identifier: BSD-3-Clause
/* Libraries of functions are the cluster's, not a shard's: a proxy sends each change to all nodes,
 * and what a node missed (it was down, or is new) it gets from the others, over the links.
 *
 * The whole set has a version, which every change raises; of two sets the one with the higher
 * version counts, of two with the same the one with the larger checksum, so that all come to have
 * the same. A set is told when a link comes up, and a while after a change: before, the proxy's own
 * word is under way. Owned by the server; the node's thread. */
#pragma once

#include "common/base/str.h"

#include <stdbool.h>

struct link;
struct server;

/* A frame on a link that begins so is ours; the rest of them are the replication's. */
#define LIBRARIES_FRAME 0xf0

/* One more change was made here. False: it could not be kept (`why`). */
bool libraries_changed(struct server *s, struct str *why);
void libraries_link_up(struct server *s, struct link *l);
/* False: the frame makes no sense. */
bool libraries_frame(struct server *s, struct link *l, struct slice frame);
/* Ten times a second. */
void libraries_tick(struct server *s);
