// SPDX-License-Identifier: BSD-3-Clause
/* The coordinator's pure core: events in, effects out (env.h). It knows which nodes there are,
 * finds out which of them live, assigns shards, keeps the spread even and tells everybody, and
 * nothing that it decides is acted upon before it is durable.
 *
 * No sockets, clock, randomness or files inside; the same events give the same effects. One thread
 * owns it (the control thread; a test; the simulator). Links are numbers that the caller gives out
 * and never uses again. Times are milliseconds of one monotonic clock.
 *
 *   event -> working copy of the map (`next`) -> record -> recorded: sent to the nodes, repeated
 *   until each has confirmed it; published to the proxies as soon as new primaries have. While a
 * record is being written further changes gather in the next working copy. */
#pragma once

#include "proxy/coordinator/env.h"

#include "common/base/err.h"

struct coordinator;

struct coordinator_settings {
    int shards; /* for a new cluster only */
    int replication_factor;
    int nodes_min; /* 0: the replication factor */
    int64_t assignment_delay_ms;
    int64_t heartbeat_interval_ms;
    int unhealthy_missed;
    int dead_missed;
    bool rebalance_on_join;
    int rebalance_concurrency;
    int64_t replace_delay_ms; /* of a dead node's copies */
    /* what nodes are told; see docs/REPLICATION.md, section 11 */
    bool sync;
    bool strong;
    int min_in_sync;
    int64_t lease_ms;
    uint64_t rebalance_bandwidth; /* bytes a second of each node; 0: any */
    const char *password;         /* that nodes must name, copied; NULL or "": anything goes */
};

/* `stored`: the newest recorded decision, or empty for a new cluster, which then gets `cluster_id`
 * (a random one, NODE_ID_LEN hexadecimal digits). NULL and err if what is stored is no decision. */
struct coordinator *coordinator_new(const struct coordinator_settings *s,
                                    const struct coordinator_env *env, struct slice stored,
                                    const char *cluster_id, int64_t now_ms, struct errmsg *err);
void coordinator_free(struct coordinator **c);
/* The last published map, borrowed. Epoch 0 is nothing yet. */
struct map *coordinator_map(const struct coordinator *c);

/* Once, after coordinator_new: publishes what is stored, or records the new cluster. */
void coordinator_start(struct coordinator *c, int64_t now_ms);
/* Every 100 ms or so. */
void coordinator_tick(struct coordinator *c, int64_t now_ms);
void coordinator_recorded(struct coordinator *c, int64_t now_ms, uint64_t revision);
/* A decoded message from a node; `peer_ip` is where the link comes from. */
void coordinator_message(struct coordinator *c, int64_t now_ms, uint64_t link, const char *peer_ip,
                         const struct wire_message *m);
void coordinator_link_down(struct coordinator *c, int64_t now_ms, uint64_t link);
/* The node answered a proxy's connection with an error (protected mode, a password): it lives, and
 * serves nobody. Shown, and logged when it is another one. "": it said nothing. */
#define TURNED_AWAY_MAX 64
void coordinator_turned_away(struct coordinator *c, int64_t now_ms, const char *id,
                             const char *answer);
/* A proxy's connection to the node was refused or reset. */
void coordinator_suspect(struct coordinator *c, int64_t now_ms, const char *id);
enum probe_result {
    PROBE_REFUSED, /* nobody listens there: proof that the process is gone */
    PROBE_OK,
    PROBE_SILENT, /* no answer, unreachable: no proof of anything */
};
void coordinator_probed(struct coordinator *c, int64_t now_ms, const char *id,
                        enum probe_result result);
/* CLUSTER FORGET/REBALANCE/DRAIN/FAILOVER and PROXY INFO/NODES/SHARDS/PLAN/HELP; exactly one
 * env.answer comes for it, for those that act once the decision is durable. */
void coordinator_admin(struct coordinator *c, int64_t now_ms, uint64_t request, int proto,
                       const struct slice *argv, size_t argc);
/* What CONFIG SET gives to all nodes, durable by now: each is told, and those that come. `pairs`
 * is a RESP array of names and values, copied; version 0: nothing yet. */
void coordinator_keep(struct coordinator *c, uint64_t version, struct slice pairs);
void coordinator_set(struct coordinator *c, int64_t now_ms, const struct coordinator_settings *s);

/* What the nodes' heartbeats say of their load, for balancing reads: commands a second in percent
 * of the average node, 100 while there is too little to tell. Returns how many were written. */
struct coordinator_load {
    char id[NODE_ID_LEN + 1];
    uint32_t percent;
    bool short_of_memory; /* near its maxmemory, or above */
};
size_t coordinator_loads(const struct coordinator *c, struct coordinator_load *to, size_t max);
