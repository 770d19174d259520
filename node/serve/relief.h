// SPDX-License-Identifier: BSD-3-Clause
/* A node's memory holds copies too, and only their primaries may evict from them. So that its own
 * keys are not all that pays for them, those primaries are asked, over the links, to evict as large
 * a part of what they have copied here as this node just evicted of its own; and where nothing of
 * its own is left to go, as much as is too much. Who is asked evicts keys of the shards that the
 * asker has copies of, by its own policy (none under noeviction), and no more than was asked for.
 *
 * Nothing depends on it: a request that is lost is made again with the next eviction. Owned by the
 * server; the node's thread. */
#pragma once

#include "common/base/slice.h"

#include <stdbool.h>

struct server;

/* A frame on a link that begins so is ours: then two numbers of 8 bytes, little-endian, in bytes of
 * memory: how much more is to go, and how much at the least in all. */
#define RELIEF_FRAME 0xf1

struct relief *relief_new(void);
void relief_free(struct relief **r);
/* At the end of a turn, behind its own evictions: asks others, and does what they asked for. */
void relief_turn(struct server *s);
/* From the node of that link number. False: the frame makes no sense. */
bool relief_frame(struct server *s, int peer, struct slice frame);
