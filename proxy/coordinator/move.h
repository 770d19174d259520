// SPDX-License-Identifier: BSD-3-Clause
/* How one shard gets from where it is to where the plan wants it: a state table.
 *
 *   IDLE     everything is as planned, as far as it can be now
 *   PLANNED  a copy or a hand-over is to begin, when a place is free (rebalance-concurrency)
 *   WAITING  it cannot begin now; the reason says why
 *   COPYING  new members follow the primary until they are in sync
 *   HANDING  the primary was asked to hand over to the planned one, which is in sync
 *   DROPPING the primary was asked to let go of a member that is not wanted any more
 *
 * Nothing here is durable: the next step follows from the map and the plan alone, so that whoever
 * dies in between, the coordinator too, goes on from what is recorded. Pure. */
#pragma once

#include "common/model/map.h"

enum move_state {
    MOVE_IDLE,
    MOVE_PLANNED,
    MOVE_WAITING,
    MOVE_COPYING,
    MOVE_HANDING,
    MOVE_DROPPING,
    MOVE_STATES
};

/* Why a move waits. */
enum move_reason {
    MOVE_NO_REASON,
    MOVE_PAUSED,      /* CLUSTER REBALANCE PAUSE */
    MOVE_SOURCE_AWAY, /* the primary's node is not healthy or not connected */
    MOVE_TARGET_AWAY, /* the same of the node that should take it */
};

/* A shard beside its plan. */
struct move_view {
    bool to_add;  /* a planned node is no member yet */
    bool to_copy; /* a planned member that lives is not in sync */
    bool to_hand; /* the planned primary is another one, and in sync */
    bool to_drop; /* a member in sync is not planned, and not needed any more */
    bool repair;  /* fewer copies in sync than there should be: goes on while paused */
    bool asked;   /* the hand-over is an operator's wish of its own: likewise */
    bool paused;
    bool source_there;
    bool add_there;    /* one of those to add */
    bool hand_there;   /* the planned primary */
    bool hand_stalled; /* it was asked for long ago */
    bool copy_place;   /* another shard may be copied now */
    bool hand_place;
};

struct move {
    enum move_state state;
    enum move_reason reason;
    int64_t since_ms;    /* of the state */
    int64_t progress_ms; /* COPYING: when last something was heard to come nearer */
    int64_t ordered_ms;  /* HANDING, DROPPING: the order was last sent; 0: not yet */
    uint64_t ordered_term;
    char wish[NODE_ID_LEN + 1]; /* CLUSTER FAILOVER, SETSLOT: who is to be primary; "": nobody */
    char gone_from[NODE_ID_LEN + 1]; /* SETSLOT: who was its primary; "": nobody moved it */
    bool wish_copy; /* SETSLOT: who is wished for may still have to be given a copy */
};

enum move_state move_next(const struct move_view *v, enum move_reason *reason);
const char *move_state_name(enum move_state s);
const char *move_reason_name(enum move_reason r);
