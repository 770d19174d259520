// SPDX-License-Identifier: BSD-3-Clause
/* The core's state, shared by its files: coordinator.c (events, decisions, what is sent),
 * membership.c (nodes come, go, die, return), rebalance.c (plan and moves), coordinator_admin.c. */
#pragma once

#include "proxy/coordinator/assign.h"
#include "proxy/coordinator/coordinator.h"
#include "proxy/coordinator/move.h"
#include "proxy/coordinator/plan.h"
#include "proxy/coordinator/registry.h"

#include "common/resp/write.h"

#define AREA "coordinator"

/* What the primary last told of a shard. */
struct shard_news {
    uint64_t keys;
    uint64_t version;
    bool known;
};

/* An answer that waits for its decision to be durable. */
struct due_answer {
    uint64_t request;
    uint64_t epoch;
    struct str reply;
};

struct coordinator {
    uint32_t magic;
    struct coordinator_settings settings;
    struct coordinator_env env;
    /* decisions: each a later state of the cluster */
    struct map *published; /* durable and told to the nodes */
    struct map *shown; /* the one that proxies have: `published`, or one before it; NULL at first */
    bool behind;       /* `shown` is older than `published`, since behind_ms */
    int64_t behind_ms;
    struct map *recording; /* being made durable, or NULL */
    struct map *next;      /* being changed, or NULL */
    bool rebalancing;      /* durable with `next`: see struct decision */
    bool paused;
    uint64_t handed;
    uint64_t handed_told; /* of these, what the log has summed up */
    struct due_answer *answers;
    size_t n_answers;
    struct str map_bytes; /* `published` encoded; empty until somebody needs it */
    /* what is known without being durable */
    struct registry registry;
    struct assign assign;
    struct shard_news *news; /* by shard */
    struct move *moves;      /* by shard */
    bool plan_dirty;         /* something changed that the plan may depend on */
    int64_t ticked_ms;
};

/* The newest state, decided or durable: what to look at. */
struct map *coordinator_latest(const struct coordinator *c);
/* The same to change: the working copy of the next map. */
struct map *coordinator_edit(struct coordinator *c);
/* At the end of each event: plans anew if need be, hands the working copy to be recorded. */
void coordinator_settle(struct coordinator *c, int64_t now_ms);
/* Sends the published map to a node, unless an earlier one is still on its way to it. */
void coordinator_send_map(struct coordinator *c, struct peer *p, int64_t now_ms);
struct detector_settings coordinator_detection(const struct coordinator *c);

/* membership.c */
void membership_register(struct coordinator *c, int64_t now_ms, uint64_t link, const char *peer_ip,
                         const struct wire_registration *r);
void membership_heartbeat(struct coordinator *c, int64_t now_ms, struct peer *p,
                          const struct wire_heartbeat *h);
/* WELCOME and the map for those whose registration has become durable. */
void membership_welcome(struct coordinator *c, int64_t now_ms);
void membership_detect(struct coordinator *c, int64_t now_ms);
void membership_dead(struct coordinator *c, int node, const char *why);
void membership_probe(struct coordinator *c, int64_t now_ms, struct peer *p);
void membership_revive(struct coordinator *c, int node);
/* The cluster lets go of a node that holds nothing: out of the map, told, its link closed. */
void membership_forget(struct coordinator *c, int node);

/* rebalance.c */
void rebalance_step(struct coordinator *c, int64_t now_ms);
/* The first assignment, when it is due. */
void rebalance_first(struct coordinator *c, int64_t now_ms);
void rebalance_confirmed(struct coordinator *c, int64_t now_ms, struct peer *p, uint64_t epoch,
                         const struct wire_shards *fenced);
/* Ends hand-overs that nobody answers. */
void rebalance_expire(struct coordinator *c, int64_t now_ms);
void rebalance_cancel(struct coordinator *c);
/* The plan for the newest map, an even spread being wanted or not. */
struct plan *rebalance_plan(const struct coordinator *c, bool even);
/* Lifts a shard's fence, if it has one. */
void rebalance_unfence(struct coordinator *c, int shard);

/* coordinator_admin.c: everything but the recording. */
void coordinator_answer_due(struct coordinator *c);
