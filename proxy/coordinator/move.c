// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/move.h"

static const bool allowed[4][4] = {
    /*                 IDLE  PLANNED WAITING FENCING */
    [MOVE_IDLE] = {true, true, true, true}, /* fencing: found in the map at start */
    [MOVE_PLANNED] = {true, true, true, true},
    [MOVE_WAITING] = {true, true, true, false},
    [MOVE_FENCING] = {true, false, true, true},
};

void move_set(struct move *m, enum move_state to, enum move_reason reason)
{
    INVARIANT(allowed[m->state][to]);
    INVARIANT((to == MOVE_WAITING) == (reason != MOVE_NO_REASON));
    m->state = to;
    m->reason = reason;
}

const char *move_state_name(enum move_state s)
{
    static const char *const names[] = {"idle", "planned", "waiting", "fencing"};
    INVARIANT((size_t)s < ARRAY_LEN(names));
    return names[s];
}

const char *move_reason_name(enum move_reason r)
{
    static const char *const names[] = {"none",
                                        "not-empty-waits-for-replication",
                                        "paused",
                                        "source-not-connected",
                                        "target-not-connected",
                                        "backing-off"};
    INVARIANT((size_t)r < ARRAY_LEN(names));
    return names[r];
}
