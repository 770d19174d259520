// SPDX-License-Identifier: BSD-3-Clause
/* Bugs planted on purpose in the coordinator, to see that the simulator finds each; as
 * node/repl/plant.h. Only in the test build; elsewhere COORD_PLANTED() is false at compile time. */
#pragma once

#define COORD_PLANT_LIST(X)                                                                        \
    X(PROMOTE_ANY, "a replica that is not in sync becomes primary")                                \
    X(TRUST_RESTART, "a restarted node's log is trusted, whatever may not have reached its disk")  \
    X(REPORT_TERM, "requests to change an in-sync set count whatever term they name")              \
    X(HANDED_STALE, "a hand-over is recorded though its target was restarted meanwhile")

enum coord_plant {
    COORD_PLANT_NONE,
#define X(name, what) COORD_PLANT_##name,
    COORD_PLANT_LIST(X)
#undef X
};

#ifdef REPL_PLANTS
extern enum coord_plant coord_plant; /* one at a time; the simulator's */
#define COORD_PLANTED(name) (coord_plant == COORD_PLANT_##name)
#else
#define COORD_PLANTED(name) false
#endif
