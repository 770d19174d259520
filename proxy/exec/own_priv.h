// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/own.h"

#include "common/base/hmap.h"

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
    struct hmap keys;        /* struct own_key: what nodes have said they remember for it */
    struct hmap shards;      /* struct own_group, */
    struct list groups;      /* all of them */
    struct outbuf late;      /* what waits for the replies that it is about */
    uint64_t late_after;     /* the number of the last of these requests */
};

/* --- own_keys.c: what nodes remember for it --- */

void own_keys_init(struct own *own);
void own_keys_fini(struct own *own);
/* Nothing is remembered, or the client knows nothing any more. */
void own_keys_clear(struct own *own);
/* A node's push about what it remembers. */
void own_told(struct exec *x, struct lane *l, struct slice push);
/* These were told, and so forgotten: an array of keys. */
void own_keys_changed(struct own *own, struct slice value);
/* The lane's node remembers nothing of it: the client has forgotten that, too; or others are asked.
 */
void own_keys_of_lane(struct exec *x, struct own *own, const struct lane *l, bool forget);
/* Asks those that are to be asked. */
void own_keys_tick(struct exec *x, struct own *own);

/* own.c: nothing of what the client has read can be relied on. */
void own_tell_all(struct exec *x, struct own *own);
/* Asks the lane's node; the question's number. */
uint64_t own_say(struct exec *x, struct lane *l, const struct slice *words, size_t n);
/* The key is not what the client has read. */
void own_tell_key(struct exec *x, struct own *own, struct slice key);
