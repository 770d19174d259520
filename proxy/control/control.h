// SPDX-License-Identifier: BSD-3-Clause
/* The coordinator's thread: bytes and ticks become the core's events, its effects become bytes,
 * durable records and maps for the workers. Everything here is called from other threads only
 * through mailboxes; the functions below are those doors.
 *
 * Made by main.c before the workers; started after them. */
#pragma once

#include "common/base/err.h"
#include "common/io/mailbox.h"
#include "common/model/map.h"

struct control;

struct control_settings {
    const char *dir;  /* where the store lives */
    const char *host; /* to listen on for nodes */
    int port;         /* 0: any free one */
    int shards;       /* for a new cluster only */
    int replication_factor;
    int min_nodes; /* 0: the replication factor */
    int64_t assignment_delay_ms;
    int64_t heartbeat_interval_ms;
    int unhealthy_missed; /* 3 */
    int dead_missed;      /* 6 */
    bool rebalance_on_join;
    int rebalance_concurrency;
    uint64_t rebalance_bandwidth; /* bytes a second of each node; 0: any */
    int64_t replace_delay_ms;     /* of a dead node's copies */
    bool sync;                    /* replication-mode */
    bool strong;                  /* consistency */
    int min_in_sync;
    int64_t lease_ms;
    const char *password; /* that nodes must name, copied; "": anything goes */
};

/* Mail to a worker, kind CONTROL_MAP: a new map; the receiver owns the reference. */
enum { CONTROL_MAP = 100, CONTROL_ANSWER = 101, CONTROL_LOADS = 102, CONTROL_SETTINGS = 103 };
struct control_map_mail {
    struct mail mail;
    struct map *map;
};
/* kind CONTROL_ANSWER: what an admin request gave, as a whole RESP reply in the protocol asked for.
 */
struct control_answer_mail {
    struct mail mail;
    uint64_t request_id;
    struct str reply;
};

/* kind CONTROL_LOADS: every heartbeat-interval, how loaded the nodes are. */
struct control_load {
    char id[NODE_ID_LEN + 1];
    uint32_t percent; /* of the average */
    bool short_of_memory;
};
struct control_loads_mail {
    struct mail mail;
    size_t count;
    struct control_load loads[];
};

/* kind CONTROL_SETTINGS: the record of what CONFIG SET has given to all nodes has this version. */
struct control_settings_mail {
    struct mail mail;
    uint64_t version;
};

/* Opens the store, listens. NULL and err. */
struct control *control_new(const struct control_settings *s, struct errmsg *err);
int control_port(const struct control *c);
/* Before control_start: what is recorded of the settings, appended. False: there is no such record.
 */
bool control_setting(const struct control *c, const char *name, struct str *to) MUSTCHECK;
/* Before control_start: each worker's mailbox gets every new map, the current one first. */
void control_subscribe(struct control *c, struct mailbox *worker);
void control_start(struct control *c);
/* Stops the thread and waits for it; what was decided is durable. No answers come any more. */
void control_stop(struct control *c);
void control_free(struct control **c);

/* Any thread: a worker's connection to a node was refused or reset; the coordinator probes it, and
 * shows what the node answered, if it did ("": not). */
void control_report_refused(struct control *c, const char *node_id, const char *answer);
/* Any thread: an admin request (CLUSTER MEET/FORGET/REBALANCE/DRAIN/FAILOVER, PROXY
 * INFO/NODES/SHARDS/PLAN, SETTINGS reply (KEEP|LEND name value) ... after CONFIG SET and ACL
 * SETUSER) with its arguments copied; the answer comes to `reply_to` with that id.
 */
void control_admin(struct control *c, struct mailbox *reply_to, uint64_t request_id, int proto,
                   const struct slice *argv, size_t argc);
/* Any thread: settings changed by CONFIG SET. dir, host, port and shards stay as they were. */
void control_set(struct control *c, const struct control_settings *s);
