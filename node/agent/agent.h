// SPDX-License-Identifier: BSD-3-Clause
/* The node's side of the coordinator link: registers, sends heartbeats, takes the map and confirms
 * it, connects again with backoff and jitter for as long as it takes. The coordinator may restart
 * or be away: the node goes on serving with its last map.
 *
 * Runs on the node's loop and thread; makes no thread of its own. Owner: main.c. Everything that it
 * needs of the node it asks through struct agent_port, from loop callbacks, never from inside
 * agent_new or agent_join.
 *
 *   IDLE --join--> CONNECTING --> REGISTERING --WELCOME--> MEMBER
 *                      ^  \______________\______________/ link lost, refused: wait, again
 *   FORGOTTEN (the cluster let go of it): stays so until agent_join or a restart. */
#pragma once

#include "common/base/err.h"
#include "common/io/loop.h"
#include "common/model/map.h"
#include "common/wire/wire.h"

struct agent;

enum agent_state {
    AGENT_IDLE,        /* no coordinator known */
    AGENT_CONNECTING,  /* or waiting to try again */
    AGENT_REGISTERING, /* connected; WELCOME has not come yet */
    AGENT_MEMBER,      /* registered, heartbeats are sent */
    AGENT_FORGOTTEN,
};
const char *agent_state_name(enum agent_state s);

/* What a heartbeat tells. */
struct agent_load {
    uint64_t keys;
    uint64_t memory;       /* bytes used */
    uint64_t memory_limit; /* maxmemory; 0: none */
    uint64_t ops;          /* commands per second, lately */
    uint64_t clients;
};

/* The node, as the agent sees it. All set; called on the node's thread. */
struct agent_port {
    void *arg;
    /* A newer map; `self` is this node's index in it, or NODE_NONE. The callee keeps a reference
     * of its own (map_ref) and, before it returns, holds exactly the shards that the map gives it.
     * The agent confirms the map after this returns. */
    void (*map)(void *arg, struct map *m, int self);
    /* Keys that the shard holds here, over all databases; expired ones not yet removed count. 0 if
     * the shard is not held. */
    uint64_t (*shard_keys)(void *arg, int shard);
    /* Shards are 0 to that, also before the first map. */
    int (*n_shards)(void *arg);
    /* (term, version) of the shard's last entry; false: its data is not here, or only half. */
    bool (*shard_held)(void *arg, int shard, uint64_t *term, uint64_t *version);
    /* Memory of its keys, about. */
    uint64_t (*shard_bytes)(void *arg, int shard);
    /* Registered, or a setting changed: before the map that follows. */
    void (*welcome)(void *arg, const struct wire_welcome *w);
    /* Behind it, and when they change: what CONFIG SET gave to all nodes, as names and values. */
    void (*settings)(void *arg, uint64_t version, const struct slice *pairs, size_t n);
    /* What the coordinator wants of this primary. */
    void (*order)(void *arg, const struct wire_change *c);
    /* Adds how far the members are of the shards of which this node is primary; of those that are
     * being copied only, if so asked. */
    void (*progress)(void *arg, bool copied_only, struct wire_copies *to);
    void (*load)(void *arg, struct agent_load *out);
};

struct agent_settings {
    char id[NODE_ID_LEN + 1]; /* kept in the data directory by the owner */
    uint64_t incarnation;     /* another one for each start of the process; not 0 */
    char host[NODE_HOST_MAX]; /* announced address; "": the one that the coordinator sees */
    int port;                 /* service port that clients and proxies connect to */
    uint32_t weight;
    char zone[ZONE_MAX];  /* may be "" */
    bool durable;         /* see REGISTER in wire/messages.def */
    const char *password; /* ours, copied; "" or NULL: none */
};

struct agent *agent_new(struct loop *l, const struct agent_settings *s,
                        const struct agent_port *port);
void agent_free(struct agent **a);

/* Which coordinator to register with (--coordinator, SHOAL JOIN host port): starts to connect, or
 * leaves the present one for it. The address may also be that of a node or proxy of the cluster,
 * for their clients (redis-cli --cluster add-node): it is asked where its coordinator is.
 * False and err if the node is a member of a cluster whose coordinator link is up and is not at
 * that address. */
bool agent_join(struct agent *a, const char *host, int port, struct errmsg *err) MUSTCHECK;

enum agent_state agent_state(const struct agent *a);
/* The last map, borrowed; NULL before the first. */
struct map *agent_map(const struct agent *a);
int agent_self(const struct agent *a); /* this node in that map, or NODE_NONE */
/* The coordinator's "host:port"; "" if none is known. */
const char *agent_coordinator(const struct agent *a);
/* Why it is not a member ("refused: ...", "connect: Connection refused"); "" while all is well. */
const char *agent_why(const struct agent *a);
/* Milliseconds since the coordinator was last heard; -1: never. */
int64_t agent_heard_ms(const struct agent *a);
/* To the coordinator, with all else of this turn; to nobody while it is not connected: who asks for
 * something asks again until the map answers. */
void agent_report(struct agent *a, enum wire_op op, int shard, uint64_t term, const char *node);
/* Asks the coordinator what an operator asked of this node; words as on the wire. `fn` gets the
 * whole RESP reply, once, from the loop, never from inside here: when the map that it goes by is in
 * force, or an error when the link is lost. Its number, or 0: the node is no member now. */
typedef void (*agent_answer_fn)(void *arg, struct slice reply);
uint64_t agent_ask(struct agent *a, int proto, const struct slice *argv, size_t argc,
                   agent_answer_fn fn, void *arg) MUSTCHECK;
/* Behind agent_join: `fn` gets "+OK" as soon as the node is registered; or an error that says why
 * it could not be, and then it is not tried again. Never from inside here. */
uint64_t agent_await(struct agent *a, agent_answer_fn fn, void *arg) MUSTCHECK;
/* The asker goes: fn is not called any more. */
void agent_unask(struct agent *a, uint64_t number);
/* Out of the cluster that let go of it, or that it never was in: as a new node. False: it is a
 * member, or about to be one. */
bool agent_reset(struct agent *a) MUSTCHECK;
/* While something takes long and the loop stands still: tells the coordinator, in time and at once,
 * that this node is alive. What comes from there waits. */
void agent_alive(struct agent *a);
/* Weight or zone was changed by CONFIG SET: registers again with them. */
void agent_set(struct agent *a, uint32_t weight, const char *zone);
/* Ours is another one now: for registrations to come. Copied; "" or NULL: none. */
void agent_password(struct agent *a, const char *password);
