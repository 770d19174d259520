// SPDX-License-Identifier: BSD-3-Clause
/* The cluster map: who holds which shard. Immutable once published, counted atomically, so that
 * every thread may read the snapshot it holds without a lock. Made by map_build only.
 *
 * Always (map_check proves it): shards cover all 16384 slots in contiguous ranges; a primary is a
 * member of its shard, in sync, active and not stale, or it was chosen by guess and does not serve
 * (map_build_guess_primary); primary term <= term; a node is at most once in a shard; node indexes
 * are valid. From one map to the next (map_check_next): epoch, terms and primary terms never
 * shrink; whatever changes about a shard's copies makes its term grow; a member that stays has the
 * same `since`, one that came has a newer one than the former map's term; another primary, or the
 * same one restarted, is one in a new primary term. */
#pragma once

#include "common/base/obj.h"
#include "common/base/str.h"

#define SLOTS          16384
#define SHARDS_DEFAULT 128
#define NODE_ID_LEN    40 /* hexadecimal, as Redis Cluster's */
#define NODE_HOST_MAX  256
#define ZONE_MAX       64
#define MEMBERS_MAX    8    /* highest replication-factor + one that is moving in */
#define NODES_MAX      4096 /* of a map */
#define NODE_NONE      (-1)

enum node_state { NODE_HEALTHY, NODE_UNHEALTHY, NODE_DEAD, NODE_DRAINING, NODE_LEFT };
/* Of a member: not in sync yet; in sync and living; dead, or its data in doubt. */
enum replica_state { REPLICA_SYNCING, REPLICA_ACTIVE, REPLICA_FAILED };

struct map_node {
    char id[NODE_ID_LEN + 1];
    char host[NODE_HOST_MAX];
    int port;
    char zone[ZONE_MAX];
    uint32_t weight; /* 100 is a normal node; 0 takes nothing */
    uint64_t incarnation;
    enum node_state state; /* DRAINING is shown while healthy and being emptied */
    bool draining;
};

struct map_member {
    int node; /* index into nodes */
    enum replica_state state;
    bool in_sync;
    uint64_t since; /* the term in which it became a member: out and in again is another one */
    bool stale;     /* in sync as recorded, but restarted since: may lack what it acknowledged */
};

struct map_shard {
    int first_slot;
    int last_slot;
    int primary;           /* node index or NODE_NONE: nobody serves it now */
    uint64_t term;         /* grows with every change of primary, in-sync set or members */
    uint64_t primary_term; /* the term in which `primary` (or the one before) became it */
    uint64_t version;      /* highest that the coordinator was told */
    int n_members;
    struct map_member members[MEMBERS_MAX];
};

struct map {
    uint32_t magic;
    uint32_t refs; /* atomic */
    uint64_t epoch;
    char cluster_id[NODE_ID_LEN + 1];
    int n_nodes;
    int n_shards;
    bool assigned; /* false before the first assignment: the cluster is down and `why` tells */
    char why[128];
    struct map_node *nodes;
    struct map_shard *shards;
};

struct map *map_ref(struct map *m);
void map_unref(struct map **m);
/* NODE_NONE if unknown. */
int map_node_by_id(const struct map *m, const char *id);
static inline int map_slot_shard(const struct map *m, int slot)
{
    return (int)((int64_t)slot * m->n_shards / SLOTS);
}
/* A member of the shard, as primary or replica. */
bool map_node_holds(const struct map *m, int node, int shard);
/* The member's place in the shard, or -1. */
int map_shard_member(const struct map_shard *s, int node);
/* Who has the shard's data: its primary, or while there is none the in-sync member that is gone;
 * NODE_NONE if nobody ever had. */
int map_shard_home(const struct map_shard *s);
/* Sums over all shards. */
int map_node_primaries(const struct map *m, int node);
int map_node_replicas(const struct map *m, int node);
const char *node_state_name(enum node_state s);
const char *replica_state_name(enum replica_state s);

/* The next map: a copy that may still be written, then published. */
struct map *map_build_new(int n_shards, const char *cluster_id);
struct map *map_build_from(const struct map *m);                 /* same epoch, refs 1, writable */
int map_build_add_node(struct map *m, const struct map_node *n); /* its index */
void map_build_remove_node(struct map *m, int node); /* must hold nothing; indexes shift */
/* Adds a member in state `syncing`, in a new term; no effect if it is one already. False: the shard
 * is full. */
bool map_build_add_member(struct map_shard *s, int node) MUSTCHECK;
/* Not the primary. In a new term. */
void map_build_drop_member(struct map_shard *s, int node);
/* Makes a member the primary: active, in sync, not stale, in a new term and primary term. */
void map_build_set_primary(struct map_shard *s, int node);
/* Makes a member the primary for want of one that surely has all: members and in-sync set stay as
 * they are, and it is not to serve before map_build_trust_primary. In a new term and primary term.
 */
void map_build_guess_primary(struct map_shard *s, int node);
/* It has what it was chosen for: from now on it alone is in sync. In a new term. */
void map_build_trust_primary(struct map_shard *s);
/* Nobody is primary now: a new term, the in-sync set as it is. */
void map_build_no_primary(struct map_shard *s);
/* Takes a member into the in-sync set (active) or out of it (syncing), in a new term. */
void map_build_set_in_sync(struct map_shard *s, int node, bool in_sync);
/* A member of the in-sync set that is not the primary: its data is in doubt from now on. */
void map_build_set_stale(struct map_shard *s, int node);

/* There is a primary, and it was not chosen by guess. */
bool map_shard_has_primary(const struct map_shard *s);
/* Members in sync, the primary and stale ones included. */
int map_shard_in_sync(const struct map_shard *s);

/* NULL if all holds, else what does not ("shard 3: primary is no member"). Static text or thread's
 * own. */
const char *map_check(const struct map *m);
/* The same for a node before it is added: id, host, port and zone. */
const char *map_node_check(const struct map_node *n);
/* Also what must hold between a map and its successor. */
const char *map_check_next(const struct map *old, const struct map *next);

/* Wire and store form: versioned, checked when read back (map_check included); hostile bytes give
 * NULL. */
void map_encode(const struct map *m, struct str *to);
struct map *map_decode(struct slice in);
