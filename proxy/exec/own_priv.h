// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/own.h"

/* A session's tracking. */
struct own {
    struct list link; /* exec's owns */
    struct session *session;
    struct lane **lanes; /* LANE_OWN, one to a target at most */
    uint32_t n_lanes;
    uint32_t flags; /* enum own_flag */
    uint64_t redirect;
    bool broken;
    bool caching;           /* CLIENT CACHING came */
    struct slice *prefixes; /* sorted; their bytes are owned */
    size_t n_prefixes;
    struct request *request; /* CLIENT TRACKING ON that waits for the nodes; NULL: none */
    int64_t all_us;          /* when it was told to forget all */
    bool again;              /* BCAST: it is to be told once more */
    struct outbuf late;      /* what waits for the replies that it is about */
    uint64_t late_after;     /* the number of the last of these requests */
};
