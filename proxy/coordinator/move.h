// SPDX-License-Identifier: BSD-3-Clause
/* One shard's move to another primary, as a state table.
 *
 *   IDLE ----> PLANNED <----> WAITING          planned: starts when a place is free
 *    ^           |               ^             waiting: cannot start now, the reason says why
 *    |           v               |             fencing: decided and durable (moving_to in the map)
 *    +------- FENCING -----------+
 *
 * Fencing: the old primary stops running commands on the shard and says how many keys it has. None:
 * the target becomes primary in a new term, nothing is copied. Some: the fence is lifted and the
 * shard waits until its data can be copied. Each step is durable before anybody is told. Pure. */
#pragma once

#include "common/base/obj.h"

#include <stdbool.h>

enum move_state { MOVE_IDLE, MOVE_PLANNED, MOVE_WAITING, MOVE_FENCING };

/* Why a move waits. */
enum move_reason {
    MOVE_NO_REASON,
    MOVE_NOT_EMPTY,   /* moving its keys comes with replication */
    MOVE_PAUSED,      /* CLUSTER REBALANCE PAUSE */
    MOVE_SOURCE_AWAY, /* the primary's node is not healthy or not connected */
    MOVE_TARGET_AWAY, /* the same of the node that should take it */
    MOVE_BACKING_OFF, /* the last try found no answer */
};

struct move {
    enum move_state state;
    enum move_reason reason;
    uint64_t fence_epoch;  /* FENCING: the first map that has the fence */
    int64_t since_ms;      /* FENCING: begun */
    int64_t not_before_ms; /* of the next try */
};

/* Only along the arrows. */
void move_set(struct move *m, enum move_state to, enum move_reason reason);
const char *move_state_name(enum move_state s);
const char *move_reason_name(enum move_reason r);
