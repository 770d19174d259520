// SPDX-License-Identifier: BSD-3-Clause
/* An object's 24 bits of memory of its use. Under LRU (and noeviction): seconds, wrapping. Under
 * LFU: 16 bits of minutes since the counter last decayed, and a counter of 8 bits that grows
 * logarithmically: the more it has, the rarer a use counts. Pure. */
#pragma once

#include "node/keyspace/keyspace.h"

void clock_start(struct keyspace *ks, struct object *o, int64_t now_ms);
void clock_touch(struct keyspace *ks, struct object *o, int64_t now_ms);
int64_t clock_idle_s(const struct object *o, int64_t now_ms);
unsigned clock_frequency(const struct keyspace *ks, const struct object *o, int64_t now_ms);
/* As if it was last used so long ago; as if it had this counter. Each only under a policy that
 * keeps it; nothing is done otherwise. */
void clock_set_idle(const struct keyspace *ks, struct object *o, int64_t now_ms, int64_t idle_s);
void clock_set_frequency(const struct keyspace *ks, struct object *o, int64_t now_ms,
                         unsigned frequency);
