// SPDX-License-Identifier: BSD-3-Clause
/* The core's state, shared by its files: coordinator.c (events, decisions, what is sent),
 * membership.c (nodes come, go, die, return), failover.c (whose copies count, who is primary),
 * report.c (what primaries ask and tell), rebalance.c (plan and moves), coordinator_admin.c,
 * operator.c (what an operator asks for that takes a while). */
#pragma once

#include "proxy/coordinator/assign.h"
#include "proxy/coordinator/coordinator.h"
#include "proxy/coordinator/move.h"
#include "proxy/coordinator/plan.h"
#include "proxy/coordinator/registry.h"

#include "common/resp/write.h"

#define AREA "coordinator"

#define RATE_MS 1000

/* What the primary last told of a shard, and what happened to it since we started. */
struct shard_news {
    uint64_t keys;
    uint64_t version;
    uint64_t bytes;
    bool known;
    int64_t lost_ms; /* when its primary was first missed; 0: it serves, or did not say so yet */
    uint32_t in_sync_changes;
};

/* Since we started. */
struct measures {
    uint64_t failovers; /* shards that got another primary, or the same one restarted */
    int64_t failover_last_ms;
    int64_t failover_max_ms;
    uint64_t added;   /* to in-sync sets */
    uint64_t removed; /* from them */
    uint64_t refused; /* requests of primaries that something had overtaken */
};

/* An answer that waits for its decision to be durable. */
struct due_answer {
    uint64_t request;
    uint64_t epoch;
    struct str reply;
};

/* A request being answered. */
struct asked {
    uint64_t request;
    const struct slice *argv;
    size_t argc;
    int64_t now_ms;
    struct resp_writer w;
    bool waits;                  /* its answer comes later (operator.c): nothing is in `w` */
    char asker[NODE_ID_LEN + 1]; /* the node that it was said to; "": a proxy */
};

/* A request whose answer waits for something to be done. */
enum waiting_kind { WAITING_FOR_MOVE, WAITING_FOR_LEAVE };
struct waiting {
    uint64_t request;
    enum waiting_kind kind;
    int shard;                  /* MOVE */
    char node[NODE_ID_LEN + 1]; /* who is to have it; LEAVE: who goes */
};

/* A request that came from a node. */
#define REQUEST_OF_NODE (1ULL << 63)
struct node_request {
    uint64_t request; /* our number for it, REQUEST_OF_NODE in it */
    uint64_t link;
    uint64_t number; /* the node's */
};

#define FORGOTTEN_MAX 64

/* A slot that a tool wanted to give to a node, when its shard had gone to another already. */
struct passed_over {
    int slot;
    char to[NODE_ID_LEN + 1];
};
#define PASSED_OVER_MAX 64

struct coordinator {
    uint32_t magic;
    struct coordinator_settings settings;
    char *password; /* settings.password: ours */
    struct coordinator_env env;
    /* decisions: each a later state of the cluster */
    struct map *published; /* durable and told to the nodes */
    struct map *shown; /* the one that proxies have: `published`, or one before it; NULL at first */
    bool behind;       /* `shown` is older than `published`, since behind_ms */
    int64_t behind_ms;
    struct map *recording; /* being made durable, or NULL */
    struct map *next;      /* being changed, or NULL */
    bool rebalancing;      /* durable with `next`, as the four below and wishes: struct decision */
    bool paused;
    uint64_t handed;
    uint64_t done;
    uint64_t copied;
    struct due_answer *answers;
    size_t n_answers;
    struct waiting *waiting;
    size_t n_waiting;
    struct node_request *node_requests;
    size_t n_node_requests;
    uint64_t request_last;                          /* of nodes */
    char forgotten[FORGOTTEN_MAX][NODE_ID_LEN + 1]; /* the last ones */
    size_t n_forgotten;                             /* ever */
    struct passed_over passed_over[PASSED_OVER_MAX];
    size_t n_passed_over; /* ever */
    struct str map_bytes; /* `published` encoded; empty until somebody needs it */
    struct str kept;      /* what CONFIG SET gives to all nodes */
    uint64_t kept_version;
    /* what is known without being durable */
    struct registry registry;
    struct assign assign;
    struct shard_news *news; /* by shard */
    struct move *moves;      /* by shard */
    struct plan *plan;       /* being carried out; NULL before the first */
    bool replan;             /* something changed that the plan depends on */
    bool plan_dirty;         /* something changed that its steps depend on */
    struct measures measures;
    int64_t measured_ms; /* for the rate */
    uint64_t measured_bytes;
    double rate; /* bytes a second, of copies */
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
/* SETTINGS, if there are any. */
void membership_settings(struct coordinator *c, struct peer *p);
void membership_detect(struct coordinator *c, int64_t now_ms);
void membership_dead(struct coordinator *c, int64_t now_ms, int node, const char *why);
void membership_probe(struct coordinator *c, int64_t now_ms, struct peer *p);
void membership_revive(struct coordinator *c, int64_t now_ms, int node);
/* The cluster lets go of a node that holds nothing: out of the map, told, its link closed. */
void membership_forget(struct coordinator *c, int node);

/* failover.c */
/* Alive, connected, and the process that the map knows. */
bool failover_there(const struct coordinator *c, int node);
/* The node was found dead. */
void failover_dead(struct coordinator *c, int64_t now_ms, int node);
/* The node registered as another process; `durable`: it has all that an earlier one acknowledged.
 */
void failover_restarted(struct coordinator *c, int64_t now_ms, int node, bool durable);
/* The same process is there again. */
void failover_back(struct coordinator *c, int64_t now_ms, int node);
/* The shard's primary has dropped what it was chosen for: another one, or nobody until one comes.
 */
void failover_hollow(struct coordinator *c, int64_t now_ms, int shard, int node);
struct takeover {
    int shards; /* that waited for the node */
    int served; /* of these, by what another node has */
    int empty;  /* nobody has anything */
};
/* Shards do not wait for the node any more: the best copy that is there serves. */
struct takeover failover_takeover(struct coordinator *c, int64_t now_ms, int node);

/* report.c */
void report_take(struct coordinator *c, int64_t now_ms, const struct peer *p,
                 const struct wire_changes *l);
void report_progress(struct coordinator *c, int64_t now_ms, struct peer *p,
                     const struct wire_copies *l);
/* What the shard's primary last told of the member, or NULL. */
const struct wire_copy *report_copy(const struct coordinator *c, int shard, int node);

/* operator.c: what takes a while. */
void operator_setslot(struct coordinator *c, struct asked *a);
/* The node lives and is primary of nothing: goes when its replicas are elsewhere. */
void operator_leave(struct coordinator *c, struct asked *a, int node);
bool operator_was_forgotten(const struct coordinator *c, struct slice id);
/* Answers what is done. */
void operator_step(struct coordinator *c);

/* rebalance.c */
void rebalance_step(struct coordinator *c, int64_t now_ms);
/* The first assignment, when it is due. */
void rebalance_first(struct coordinator *c, int64_t now_ms);
/* An even spread is wanted from now on. */
void rebalance_begin(struct coordinator *c);
void rebalance_cancel(struct coordinator *c);
/* What is due by time: repeated orders, replacement of a dead node's copies. */
void rebalance_tick(struct coordinator *c, int64_t now_ms);
/* The plan for the newest map, an even spread being wanted or not. */
struct plan *rebalance_plan(const struct coordinator *c, bool even);
/* The member, in sync, is to be primary of the shard. */
void rebalance_wish(struct coordinator *c, int shard, int node);
/* The node, which may have no copy yet, is to be primary of the shard. */
void rebalance_wish_copy(struct coordinator *c, int shard, int node);
/* Such wishes for what is being recorded, as in struct decision, to be freed; not those of SETSLOT,
 * whose asker waits and hears that the coordinator has gone. */
int *rebalance_wishes(const struct coordinator *c);
void rebalance_wishes_put(struct coordinator *c, const int *wishes);
/* The shard need not have a copy on the node any more. */
bool rebalance_may_lose(const struct coordinator *c, int shard, int node);
struct rebalance_figures {
    int states[MOVE_STATES]; /* shards */
    int left;
    uint64_t done;
    uint64_t bytes_left;
    uint64_t bytes_done;
    uint64_t bytes_per_second;
    int64_t seconds_left; /* -1: no telling */
};
struct rebalance_figures rebalance_figures(const struct coordinator *c);
void rebalance_measure(struct coordinator *c, int64_t now_ms);

/* coordinator_admin.c: everything but the recording. */
void coordinator_answer_due(struct coordinator *c);
/* To whoever asked: a worker of the proxy, or a node. */
void coordinator_reply(struct coordinator *c, uint64_t request, struct slice reply);
/* From a node: words of a request as coordinator_admin takes them. */
void coordinator_node_asks(struct coordinator *c, int64_t now_ms, const struct peer *p,
                           const struct wire_ask *m);
/* The link is gone: nobody waits for its answers. */
void coordinator_node_gone(struct coordinator *c, uint64_t link);
