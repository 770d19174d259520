// SPDX-License-Identifier: BSD-3-Clause
/* One simulated cluster: its settings (all from the seed), its parts, and what the checks know of
 * it. Shared by the sources of tests/sim. */
#pragma once

#include "node/repl/repl.h"
#include "proxy/coordinator/coordinator.h"

#include "common/model/map.h"

#include "tests/sim/net.h"
#include "tests/sim/plant.h"
#include "tests/sim/world.h"
#include "tests/support/linear.h"

#define SIM_NODES   8
#define SIM_PROXIES 2
#define SIM_SHARDS  8
#define SIM_KEYS    6        /* of a shard */
#define SIM_HIDDEN  SIM_KEYS /* one more, which no client knows: others are copied to it */
#define SIM_CLIENTS 24

enum sim_service { SERVICE_NODES = 1, SERVICE_COORDINATOR, SERVICE_PROXIES, SERVICE_LANES };
enum sim_fsync { FSYNC_ALWAYS, FSYNC_EVERYSEC, FSYNC_NONE };

struct sim_settings {
    int nodes;  /* from the start */
    int spares; /* that may join */
    int proxies;
    int clients;
    int shards;
    int rf;
    int min_in_sync;
    bool sync;
    bool strong;
    enum sim_fsync fsync;
    int64_t lease_us;
    int64_t heartbeat_ms;
    int dead_missed;
    int32_t drift_ppm; /* at most, either way */
    size_t backlog;
    bool rebalance_on_join;
    int storms;
    int64_t quiet_us; /* between storms */
    int64_t storm_us;
    bool lose_power;      /* machines die, not only processes */
    int64_t delay_low_us; /* of the network, in a storm, where nothing is wrong with it */
    int64_t delay_high_us;
    bool slow_links; /* between nodes: what is written does not leave at once */
};

/* --- what clients do --- */

enum op_state { OP_HELD, OP_SENT, OP_UNRESOLVED, OP_DONE };

struct sim_op {
    struct list link;  /* in a lane, a proxy's held, or a question's */
    struct list queue; /* in the client's, in the order in which they came */
    struct sim_client *client;
    uint64_t seq; /* of the client's */
    int shard;
    int key; /* within the shard */
    enum linear_kind kind;
    uint64_t piece; /* what it sets or appends */
    bool long_reply;
    enum op_state state;
    struct sim_lane *lane; /* while sent */
    uint64_t number;
    int64_t sent_us; /* local to the proxy, as the next two */
    int64_t deadline_us;
    int64_t retry_us;
    bool overtaken; /* a later one of its client on its shard was sent behind it */
    size_t record;  /* its place in the key's history */
};

enum reply_status {
    REPLY_OK,
    REPLY_MOVED,
    REPLY_DOWN,
    REPLY_TRYAGAIN,
    REPLY_NOREPLICAS,
    REPLY_UNKNOWN, /* made by the proxy */
    REPLY_REFUSED, /* likewise: not executed */
};

struct sim_reply {
    uint32_t status;
    uint32_t nil;
    uint64_t hash;
    uint32_t len;
    uint32_t on_primary;
    int64_t number;
    uint64_t version; /* of the entry, for checks */
    uint64_t term;
};

/* Requests on a lane. */
enum request_type { REQUEST_LANE, REQUEST_OP, REQUEST_FATE };
struct sim_request {
    uint32_t type;
    uint32_t shard;
    uint32_t key;
    uint32_t kind;
    uint32_t long_reply;
    uint32_t tag; /* FATE: which question */
    uint64_t piece;
    uint64_t lane; /* LANE: its id; FATE: whose */
    uint64_t from; /* FATE */
    int64_t age_us;
};

#define FATES_MAX 256
struct sim_fate {
    uint32_t status;
    uint32_t tag;
    uint32_t complete;
    uint32_t count;
    struct sim_fate_item {
        uint64_t number;
        uint32_t kept;
        uint32_t unused;
        struct sim_reply reply;
    } items[];
};

/* --- the parts --- */

struct sim;
struct sim_node;
struct sim_coordinator;
struct sim_proxy;

/* One recorded operation. */
struct sim_record {
    struct linear_op op;
    bool excluded; /* refused, or of a weaker promise */
};

struct sim_key {
    struct sim_record *records;
    size_t count;
    size_t cap;
};

struct sim_counts {
    uint64_t acknowledged;
    uint64_t reads;
    uint64_t unknown;
    uint64_t refused;
    uint64_t resolved; /* by FATE */
    uint64_t resent;
    uint64_t failovers;
    uint64_t faults;
    uint64_t copies;
    uint64_t portraits; /* keys of copies that came in parts */
    uint64_t handovers;
    uint64_t steps;        /* of the search for orders */
    uint64_t undecided;    /* keys whose search was given up */
    uint64_t lost_allowed; /* shards whose whole in-sync set lost what was not synced */
};

/* A fault that waits for its moment, see schemes.c. */
enum sim_moment {
    AIM_NONE,
    AIM_REPORT,   /* `node` asks the coordinator for something */
    AIM_ELECTION, /* of another primary than `node` */
    AIM_UNHEARD,  /* the same; the elected one is to learn of it late */
    AIM_COPY,     /* a member of the shard drops what it has for a full copy */
    AIM_STATE,    /* a member of the shard comes into that state, some times */
};
struct sim_aim {
    enum sim_moment moment;
    int node;
    int shard;
    enum repl_report what;
    int victim; /* whom it is about; -1: anybody */
    enum repl_state state;
    int times;
    int64_t slow_us;
    bool power;
    int64_t down_us;
};

struct sim {
    struct world world;
    struct sim_settings set;
    struct sim_node *nodes[SIM_NODES]; /* by host; outlive their processes */
    struct sim_coordinator *coordinator;
    struct sim_proxy *proxies[SIM_PROXIES];
    int n_nodes;
    struct sim_key keys[SIM_SHARDS][SIM_KEYS];
    struct check_log *log;
    struct sim_counts counts;
    int64_t quiet_us_max; /* the caller's; 0: none. Kept by sim_run */
    uint64_t pieces;      /* given out */
    uint64_t lanes;       /* ids given out */
    bool storm;           /* faults are under way */
    bool final;           /* clients only answer what they are asked */
    int64_t think_us;
    int rf_now;
    uint64_t storms;  /* begun */
    int64_t fault_us; /* from one to the next, about */
    struct sim_aim aim;
    int back_shard; /* that is to come back, see schemes.c */
    int n_started;  /* nodes that ever ran: 0..n_started-1 */
};

/* So long must a node be silent to the coordinator, about, to be called dead. */
static inline int64_t sim_dead_us(const struct sim *s)
{
    return s->set.heartbeat_ms * 1000 * (s->set.dead_missed + 1);
}

/* The whole run of a seed; false: a check failed, and world.failure tells. The caller ends with
 * sim_fini. */
bool sim_run(struct sim *s, uint64_t seed, bool verbose);
void sim_fini(struct sim *s);

/* --- nodes.c --- */
struct cell {
    bool there;
    struct str bytes;
    struct linear_value value;
    int64_t number; /* of a counter */
};

struct sim_node *node_new(struct sim *s, int index);
void node_free(struct sim_node **n);
void node_start(struct sim_node *n);
/* The process ends: `machine` loses what was not synced. */
void node_crash(struct sim_node *n, bool machine);
struct host *node_host(const struct sim_node *n);
const char *node_id(const struct sim_node *n);
bool node_is_up(const struct sim_node *n);
struct repl *node_repl(const struct sim_node *n); /* NULL: not running */
/* Executes reads and writes of the shard as its primary right now. */
bool node_serves(const struct sim_node *n, int shard);
const struct cell *node_cell(const struct sim_node *n, int shard, int key);
uint64_t node_durable(const struct sim_node *n, int shard);
void node_slow_disk(struct sim_node *n, int64_t sync_us);
uint64_t node_incarnation(const struct sim_node *n);

/* --- coordinators.c --- */
struct sim_coordinator *coordinators_new(struct sim *s);
void coordinators_free(struct sim_coordinator **c);
void coordinators_start(struct sim_coordinator *c);
void coordinators_crash(struct sim_coordinator *c);
struct host *coordinators_host(const struct sim_coordinator *c);
bool coordinators_up(const struct sim_coordinator *c);
/* The newest durable map; NULL: none yet. */
struct map *coordinators_map(const struct sim_coordinator *c);
void coordinators_admin(struct sim_coordinator *c, const char *command);
void coordinators_set_rf(struct sim_coordinator *c, int rf);
void coordinators_ticks(struct sim_coordinator *c, int64_t every_us);
struct map *coordinators_published(struct sim_coordinator *c, uint64_t epoch);

/* --- proxies.c --- */
struct sim_proxy *proxy_new(struct sim *s, int index);
void proxy_free(struct sim_proxy **p);
void proxy_start(struct sim_proxy *p);
void proxy_crash(struct sim_proxy *p);
struct host *proxy_host(const struct sim_proxy *p);
bool proxy_is_up(const struct sim_proxy *p);
/* Clients' commands; the client's op_done follows, now or later. */
void proxy_submit(struct sim_proxy *p, struct sim_op *op);
struct sim_client *proxy_client(struct sim_proxy *p, int i);
/* The text of a piece, as nodes and clients make it; at most 24 bytes. */
size_t piece_print(char *to, uint64_t piece);

/* --- clients.c --- */
struct sim_client {
    struct sim *sim;
    struct sim_proxy *proxy;
    int index;
    struct list ops; /* sim_op.queue, in order */
    int n_ops;
    int depth;    /* pipelined at most */
    bool reader;  /* never writes, and so never waits for a write */
    uint64_t seq; /* given out */
    /* its acknowledged write of the highest seq, by shard */
    uint64_t last_seq[SIM_SHARDS];
    uint64_t last_version[SIM_SHARDS];
    uint64_t timer;
};
void client_init(struct sim_client *c, struct sim *s, struct sim_proxy *p, int index);
/* Sends commands until its pipeline is full, and goes on by itself. */
void client_begin(struct sim_client *c);
/* Takes the operation. */
void client_done(struct sim_client *c, struct sim_op *op, const struct sim_reply *r);
/* Its proxy died: what was under way is unknown. */
void client_cut(struct sim_client *c);
/* One more read, of each key, at the end. */
void client_ask(struct sim_client *c, int shard, int key);

/* --- faults.c --- */
void faults_storm(struct sim *s);
/* All is up and connected. */
void faults_end(struct sim *s);
/* One way, for so long. */
void faults_cut(struct sim *s, int from, int to, int64_t for_us);
void faults_slow(struct sim *s, int from, int to, int64_t low_us, int64_t high_us, int64_t for_us);
/* Not where that could lose acknowledged writes, as documented. */
void faults_crash(struct sim *s, int node, bool power, int64_t down_us);

void faults_crash_coordinator(struct sim *s);
/* A host: node, proxy, coordinator. */
void faults_pause(struct sim *s, int host);

/* --- schemes.c --- */
void schemes_one(struct sim *s);
/* Recorded: another primary. */
void schemes_elected(struct sim *s, int shard, int from, int to);
/* A node comes into that state for the shard. */
void schemes_state(struct sim *s, int node, int shard, enum repl_state now);
/* A node asks the coordinator for something about another one. */
void schemes_reported(struct sim *s, int node, enum repl_report what, int shard, int about);

/* --- checks.c: what holds at any time --- */
struct check_log *check_log_new(void);
void check_log_free(struct check_log **c);
/* An entry is in that node's log, behind one of `term_before`; `digest`: of the primary's data. */
void check_logged(struct sim *s, const struct sim_node *n, const struct entry *e, bool primary,
                  uint64_t term_before, uint64_t digest);
/* That node's data is now the state of that entry. */
void check_applied(struct sim *s, const struct sim_node *n, int shard, uint64_t term,
                   uint64_t version, uint64_t digest);
void check_committed(struct sim *s, const struct sim_node *n, int shard, uint64_t version);
void check_serves(struct sim *s, const struct sim_node *n, int shard);
/* A command was executed there, its leases being held. */
void check_executed(struct sim *s, const struct sim_node *n, int shard);
void check_map(struct sim *s, const struct map *was, const struct map *now);
/* The node is about to be killed, or to lose what it did not sync. */
void check_crash(struct sim *s, const struct sim_node *n, int index, bool power);
/* That could lose acknowledged writes, as documented. */
bool check_crash_loses(const struct sim *s, const struct sim_node *n, bool power);
/* The shard may have lost acknowledged writes, as documented. */
bool check_may_have_lost(const struct sim *s, int shard);

/* --- checks_end.c: what holds when it is over --- */
/* Why the cluster has not healed; NULL: it has. */
const char *check_unhealed(struct sim *s);
void check_histories(struct sim *s);
