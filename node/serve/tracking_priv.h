// SPDX-License-Identifier: BSD-3-Clause
/* What tracking.c and tracking_move.c share. */
#pragma once

#include "node/serve/tracking.h"

#include "common/base/hmap.h"
#include "common/base/slice.h"

struct length;
struct tracked;

struct tracking {
    uint64_t flushed;    /* trackers.flushes when it was told to forget everything */
    uint64_t gone;       /* trackers.gone when its lane was told that a shard goes */
    bool told;           /* a broadcast, in this turn */
    uint32_t flags;      /* enum client_tracking_flag, TRACK_* */
    uint64_t redirect;   /* 0: to itself */
    struct list listens; /* struct listener.of_client, by the prefixes' text */
    size_t n_listens;
};

struct trackers {
    uint64_t flushes;
    uint64_t gone; /* shards that went */
    struct tracked *keys;
    size_t clients;
    size_t effort;
    bool script_read; /* the script under way has read something */
    struct hmap prefixes;
    struct list changed;
    struct length *lengths;
    size_t n_lengths;
    bool told;         /* somebody was told of a broadcast in this turn */
    uint32_t *touched; /* shards whose keys changed in this turn, served here */
    size_t n_touched;
    size_t cap_touched;
    uint64_t *touched_turn; /* by shard: t->turn if it is among them */
    int n_shards;           /* of touched_turn */
    uint64_t turn;
};

/* --- tracking_move.c --- */

/* A key of the shard changed. */
void tracking_touch(struct server *s, uint32_t shard);
/* The turn's broadcasts were told: lanes that were among those who heard learn how far that goes.
 */
void tracking_tell_positions(struct server *s);
/* A lane begins to listen: where all shards are that are served here. */
void tracking_tell_begin(struct server *s, struct client *c);
/* The lane learns that its client's read of the key is remembered, and as of when. */
void tracking_tell_remembered(struct server *s, struct client *c, uint32_t shard, struct slice key);
/* The lane has heard of all changes up to now, or none was before. */
void tracking_tell_told(struct server *s, struct client *c, uint32_t shard);
/* The shard goes: lanes learn how far it was told, and may go on at its next primary. */
void tracking_tell_gone(struct server *s, struct client *c, uint32_t shard);
