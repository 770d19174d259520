// SPDX-License-Identifier: BSD-3-Clause
/* Bugs planted on purpose, all of them by name: those of the replication core (node/repl/plant.h),
 * of the coordinator (proxy/coordinator/plant.h), and here those of the model of a proxy and of the
 * shell around a node. Each must be found; only the test build has them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SIM_PLANT_LIST(X)                                                                          \
    X(RESEND_UNASKED, "a write of a broken lane is sent again without asking for its fate")        \
    X(RESEND_INCOMPLETE, "a write that is not in a trimmed window is sent again")                  \
    X(FATE_LATE, "an answer to FATE is believed however late it comes")                            \
    X(REPLY_AHEAD, "a reply that waits for its commit leaves when the next one comes")             \
    X(DURABLE_LIE, "a node says that it has all its acknowledged writes, and has not")             \
    X(ACK_BEFORE_SYNC, "a node tells its core that what it wrote is on disk before it is")         \
    X(PORTRAIT_LIVE, "the parts of a portrait show what its value has become")                     \
    X(LANE_LIVES, "nodes that are told of a lane's end let it live")

enum sim_plant {
    SIM_PLANT_NONE,
#define X(name, what) SIM_PLANT_##name,
    SIM_PLANT_LIST(X)
#undef X
};

#ifdef REPL_PLANTS
extern enum sim_plant sim_plant; /* one at a time */
#define SIM_PLANTED(name) (sim_plant == SIM_PLANT_##name)
#else
#define SIM_PLANTED(name) false
#endif

/* All plants in one row; NULL behind the last. */
const char *plant_name(size_t i);
const char *plant_what(size_t i);
/* False: no such plant, or not in this build. */
bool plant_set(const char *name);
