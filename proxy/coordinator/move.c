// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/move.h"

static enum move_state wait_for(enum move_reason why, enum move_reason *reason)
{
    *reason = why;
    return MOVE_WAITING;
}

/* A copy, then a hand-over: both need source and target, and a place. */
static enum move_state begin(const struct move_view *v, bool may, bool place, enum move_state what,
                             enum move_reason *reason)
{
    if (!may) {
        return wait_for(MOVE_PAUSED, reason);
    }
    if (!v->source_there) {
        return wait_for(MOVE_SOURCE_AWAY, reason);
    }
    if (!v->target_there) {
        return wait_for(MOVE_TARGET_AWAY, reason);
    }
    return place ? what : MOVE_PLANNED;
}

enum move_state move_next(const struct move_view *v, enum move_reason *reason)
{
    *reason = MOVE_NO_REASON;
    if (v->to_add) {
        return begin(v, !v->paused || v->repair, v->copy_place, MOVE_COPYING, reason);
    }
    if (v->to_hand) {
        return begin(v, !v->paused || v->asked, v->hand_place, MOVE_HANDING, reason);
    }
    if (v->to_copy) {
        return MOVE_COPYING;
    }
    if (v->to_drop) {
        return v->paused ? wait_for(MOVE_PAUSED, reason) : MOVE_DROPPING;
    }
    return MOVE_IDLE;
}

const char *move_state_name(enum move_state s)
{
    static const char *const names[] = {"idle",    "planned", "waiting",
                                        "copying", "handing", "dropping"};
    INVARIANT((size_t)s < ARRAY_LEN(names));
    return names[s];
}

const char *move_reason_name(enum move_reason r)
{
    static const char *const names[] = {"none", "paused", "source-not-connected",
                                        "target-not-connected"};
    INVARIANT((size_t)r < ARRAY_LEN(names));
    return names[r];
}
