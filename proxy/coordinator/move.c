// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/move.h"

static enum move_state wait_for(enum move_reason why, enum move_reason *reason)
{
    *reason = why;
    return MOVE_WAITING;
}

/* Both need source and target, and a place. */
static enum move_state begin(const struct move_view *v, bool may, bool there, bool place,
                             enum move_state what, enum move_reason *reason)
{
    if (!may) {
        return wait_for(MOVE_PAUSED, reason);
    }
    if (!v->source_there) {
        return wait_for(MOVE_SOURCE_AWAY, reason);
    }
    if (!there) {
        return wait_for(MOVE_TARGET_AWAY, reason);
    }
    return place ? what : MOVE_PLANNED;
}

enum move_state move_next(const struct move_view *v, enum move_reason *reason)
{
    bool may_add = !v->paused || v->repair;
    bool may_hand = !v->paused || v->asked;
    *reason = MOVE_NO_REASON;
    /* A hand-over takes milliseconds, and a copy would begin anew from the next primary: so it goes
     * first. But a repair waits for no place of one, and nothing for one that gets nowhere. */
    bool hand_first = may_hand && v->source_there && v->hand_there && !v->hand_stalled &&
                      (v->hand_place || !v->repair);
    if (v->to_hand && (hand_first || !v->to_add)) {
        return begin(v, may_hand, v->hand_there, v->hand_place, MOVE_HANDING, reason);
    }
    if (v->to_add && (v->add_there || !v->to_copy)) { /* who is away does not hide a copy */
        return begin(v, may_add, v->add_there, v->copy_place, MOVE_COPYING, reason);
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
