// SPDX-License-Identifier: BSD-3-Clause
/* Bugs planted on purpose, to see that the simulator finds each. Only in the test build that sets
 * REPL_PLANTS; elsewhere PLANTED() is false at compile time. Pure. */
#pragma once

#include <stdbool.h>

/* X(name, what goes wrong) */
#define REPL_PLANT_LIST(X)                                                                         \
    X(LEASE_WAIT, "a new primary does not wait for the end of its promise to the former one")      \
    X(NO_LEASES, "a primary serves without its leases")                                            \
    X(ACK_EARLY, "replies do not wait for the commit")                                             \
    X(TERM_CHECK, "messages of any primary term are taken, whoever sent them")                     \
    X(VERSION_REUSE, "a new primary writes on in the former one's term")                           \
    X(TRUST_JOIN, "a joining member's log is believed to match, whatever its term")                \
    X(DROP_ADDS, "a member being added does not count for the commit")                             \
    X(LEASE_FROM_RECEIPT, "a lease is counted from when the promise came")                         \
    X(COMMIT_AT_REMOVE, "a removed member's lease is not waited for")                              \
    X(READ_UNCOUNTED, "a replica reads without being counted")                                     \
    X(COPY_NO_AHEAD, "a key is not sent before a write behind which its copy would come")          \
    X(NO_CHAIN, "a primary promises reads for longer than its own leases stand")                   \
    X(READ_UNCOMMITTED, "reads do not wait for the commit of what they saw")                       \
    X(RESIGN_SERVES, "a primary that has resigned serves on until the map comes")                  \
    X(RESTART_NOT_SILENT, "a restarted node forgets that promises of its former life may stand")   \
    X(PORTRAIT_NO_HOLD, "what follows a portrait in a copy is taken before the portrait is whole") \
    X(COPY_ORDER, "keys of a copy overtake the entries before them")                               \
    X(FATE_COMPLETE, "a window that was trimmed calls itself complete")                            \
    X(HALF_COPY, "a copy that broke off counts as whole")                                          \
    X(NO_PULL, "a new primary ignores what others are ahead")                                      \
    X(REMOVE_AT_ONCE, "a member leaves the commit set before the coordinator recorded it")         \
    X(LANE_OPEN, "the end of a lane is known to the node that told its fate, not in the log")      \
    X(EARLY_KEPT, "a JOIN that waits for its map counts though its sender has left that term")     \
    X(HOLLOW_SERVES, "a primary serves though it dropped what it was chosen for")

enum repl_plant {
    PLANT_NONE,
#define X(name, what) PLANT_##name,
    REPL_PLANT_LIST(X)
#undef X
        PLANTS
};

#ifdef REPL_PLANTS
#define PLANTED(name) repl_planted(PLANT_##name)
void repl_plant_set(enum repl_plant p); /* one at a time, for all nodes */
bool repl_planted(enum repl_plant p);
#else
#define PLANTED(name) false
#endif
const char *repl_plant_name(enum repl_plant p); /* "LEASE_WAIT" */
const char *repl_plant_what(enum repl_plant p);
