// SPDX-License-Identifier: BSD-3-Clause
/* The node as its clients meet it: listeners, clients, what all of them share, the periodic work.
 *
 * One thread, one loop. Made by main.c from settings and keyspace; main.c keeps those. Fields are
 * open to node/admin, which shows and changes them; grouped by who changes them. */
#pragma once

#include "node/agent/agent.h"
#include "node/cmd/call.h"
#include "node/repl/repl.h"
#include "node/script/script.h"
#include "node/serve/lanes.h"
#include "node/serve/oom_score.h"
#include "node/serve/settings.h"

#include "common/base/err.h"
#include "common/io/listen.h"
#include "common/io/loop.h"
#include "common/io/ticks.h"

struct client;
struct batch;
struct holds;
struct library_set;
struct links;
struct replication;
struct cmdstats;
struct slowlog;
struct latency;
struct durable;
struct following;
struct channels;
struct trackers;
struct access;

#define SERVER_MAGIC         0x73727672u
#define SERVER_LISTENERS_MAX 16
#define SERVER_RATE_SAMPLES  16
#define SERVER_SPARE_FDS     160 /* listeners, files, and the connections beyond maxclients */

/* Something counted up, sampled ten times a second for its rate. */
struct rate {
    uint64_t last;
    int64_t last_us;
    uint64_t per_second[SERVER_RATE_SAMPLES];
    uint32_t next;
};

struct server_stats {
    uint64_t commands; /* also those inside EXEC */
    uint64_t connections;
    uint64_t rejected_connections; /* maxclients */
    uint64_t protocol_errors;
    uint64_t output_limit_kills;
    uint64_t query_limit_kills;
    uint64_t idle_kills;
    uint64_t evicted_clients; /* maxmemory-clients */
    int64_t evicting_us;      /* memory was above the limit, and keys went */
    uint64_t auth_failures;
    uint64_t redirects;     /* MOVED */
    uint64_t slot_refusals; /* CLUSTERDOWN, TRYAGAIN */
    uint64_t closed_in;     /* bytes and system calls of connections that are gone */
    uint64_t closed_out;
    uint64_t closed_reads;
    uint64_t closed_writes;
    size_t memory_peak;
    uint64_t cron_turns;
    int64_t active_expire_us;
};

enum pause_kind { PAUSE_NONE, PAUSE_WRITE, PAUSE_ALL };

struct server {
    uint32_t magic;
    struct loop *loop;
    struct settings *settings;
    struct keyspace *ks;
    struct call_table table;
    struct scripts *scripts;
    struct script_settings script_settings;
    struct library_set *libraries; /* see libraries.h */
    int64_t libraries_tell_us;     /* when other nodes are told of it; 0: they were */
    struct relief *relief;         /* see relief.h */
    struct durable *durable;
    struct access *access; /* users */
    struct oom_score oom_score;
    uint64_t hash_seed; /* of keyspaces to be made */
    struct rng rng;
    char *conf_path; /* NULL: started without a file */
    char id[NODE_ID_LEN + 1];
    uint64_t incarnation;         /* this start of it; see identity.h */
    bool fresh;                   /* the first one: no promise of a former life can stand */
    char run_id[NODE_ID_LEN + 1]; /* another one each start */
    int64_t started_us;
    int64_t started_wall_ms;
    int64_t pid;
    char *executable;
    size_t memory_at_start;

    /* cluster: as the agent told it last */
    struct agent *agent;       /* NULL when it stands alone */
    struct map *map;           /* a reference of our own; NULL before the first */
    int self;                  /* index in map, or NODE_NONE */
    struct links *links;       /* to the other nodes; NULL when it stands alone */
    uint64_t settings_version; /* of what CONFIG SET gave to all nodes; 0: not told yet */
    struct replication *repl;  /* the copies of its shards; NULL: stands alone without a log */
    struct repl_settings repl_settings; /* for it, as the coordinator told; outlive it */

    /* clients */
    struct listener *listeners[SERVER_LISTENERS_MAX];
    int n_listeners;
    int port;            /* the real one */
    struct list clients; /* in the order of their coming */
    struct hmap by_id;
    struct list round; /* the same, the one checked longest ago first */
    size_t n_clients;  /* all, lanes too */
    size_t n_lanes;
    size_t n_monitors;
    size_t clients_memory; /* sum of what they were last seen to take */
    size_t dying_bytes;    /* of clients that are closed and not yet freed: nobody's any more */
    size_t n_over;         /* beyond maxclients, still to be refused or to become lanes */
    uint64_t next_client_id;
    struct client *current;   /* whose command runs */
    struct client *executing; /* the same, from its handler's beginning: pushes to it wait */
    struct channels *channels;
    struct trackers *trackers;
    struct list ears;            /* of proxies' workers */
    struct list waiters;         /* of WAIT and WAITAOF */
    struct following *following; /* Redis's replicas and their like */
    struct list adopted;         /* those that are to become links */
    struct loop_task adopt_task;
    struct outbuf sink;     /* replies that nobody wants */
    int64_t cpu_sampled_us; /* of this thread, at the last cron */
    struct lanes lanes;
    struct hmap aside;   /* struct parked of lanes */
    struct holds *holds; /* replies that wait for commits */

    /* execution */
    struct batch *batch;
    struct batch *batch_outer; /* whose command is a slow script; NULL: none is */
    struct client *collecting; /* whose bytes are being parsed */
    bool busy;                 /* a slow script runs: others are answered BUSY */
    bool busy_keyless;         /* it has no keys */
    int64_t busy_told_us;      /* when lanes were told last */
    struct outbuf exec_out;    /* of a lane's EXEC: what is pushed meanwhile comes before */
    struct client *touched;    /* replied to in this batch: output limits are checked at its end */
    uint64_t ticks_last;       /* end of the last command: start of the next */
    uint64_t exec_ticks;       /* start of the running EXEC */
    uint64_t script_ticks;     /* start of the running script */
    bool script_acted;         /* it has done something that has no key: PUBLISH, FLUSHALL */
    struct ticks_scale scale;
    bool ran; /* the handler was reached: not rejected */
    struct key_list *keys;

    /* CLIENT PAUSE */
    enum pause_kind pause;
    int64_t pause_until_us;
    struct list paused;
    struct loop_timer pause_timer;
    struct loop_timer pause_expiry_timer; /* active: no key expires */

    /* periodic and statistics */
    struct loop_timer cron_timer;
    struct loop_timer lazyfree_timer;
    struct loop_timer evict_timer;
    int64_t evicting_since_us; /* loop time; 0: it is not */
    struct server_stats stats;
    struct rate ops;
    struct rate bytes_in;
    struct rate bytes_out;
    struct rate links_in; /* from and to other nodes */
    struct rate links_out;
    struct cmdstats *cmdstats;
    struct cmdstats *scriptstats; /* of these, what scripts ran: a proxy counts the rest itself */
    struct slowlog *slowlog;
    struct latency *latency;
    int64_t slow_ns;  /* from here on slow log or latency monitor look at a command */
    bool cron_paused; /* DEBUG PAUSE-CRON */

    /* shutdown */
    bool stopping;
    bool failed; /* it is no end in order */
    int64_t stop_deadline_us;
    struct loop_timer stop_timer;
};

/* Keyspace, loop and settings are there; listens. NULL and err. Takes nothing but makes a keyspace:
 * all shards held when it stands alone, none otherwise. */
struct server *server_new(struct loop *l, struct settings *settings, struct errmsg *err);
void server_free(struct server **s);

/* After settings changed: brings everything that keeps a copy up to date. */
void server_settings_changed(struct server *s);
/* Listens on settings' bind and port; on failure the old sockets stay. */
bool server_listen(struct server *s, struct errmsg *err) MUSTCHECK;
/* Stops accepting, lets what arrived be answered, then stops the loop. */
void server_stop(struct server *s);

/* An empty one in the place of what there is; no shard is held. Not while a batch waits. */
void server_make_keyspace(struct server *s, int n_shards);
/* Keys over all databases. */
/* NULL, or the error for commands that write. */
const char *server_write_refusal(struct server *s);
uint64_t server_keys(const struct server *s);
struct client *server_client(const struct server *s, uint64_t id);
/* Tells a client beyond maxclients so, and ends it. */
void server_refuse(struct client *c);
uint64_t rate_now(const struct rate *r);
/* Sums over the connections that are there and those that were. */
struct server_traffic {
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t reads;
    uint64_t writes;
    uint64_t links_in; /* bytes, from and to other nodes */
    uint64_t links_out;
};
void server_traffic(const struct server *s, struct server_traffic *out);
