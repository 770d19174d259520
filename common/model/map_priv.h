// SPDX-License-Identifier: BSD-3-Clause
/* Shared by the files of the map alone: how one is allocated, and the slots of a shard. */
#pragma once

#include "common/model/map.h"

#define MAP_MAGIC 0x4d415031u

/* The first slot that map_slot_shard gives to the shard; SLOTS for shard == n_shards. */
static inline int map_first_slot(int n_shards, int shard)
{
    return (int)(((int64_t)shard * SLOTS + n_shards - 1) / n_shards);
}

/* Unassigned shards, room for the nodes, refs 1. n_shards is 1..SLOTS. */
struct map *map_alloc(int n_shards, int n_nodes);
