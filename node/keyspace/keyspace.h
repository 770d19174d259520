// SPDX-License-Identifier: BSD-3-Clause
/* All keys of a node: a table per held shard and database. Owned by the node's thread. Pure: time
 * and randomness are arguments.
 *
 * A shard that is not held has no tables, and nothing here makes one because a key asks for it:
 * callers check keyspace_holds() (serve/dispatch does) before they write.
 *
 * Numbers: a slot is 0..16383; its shard is slot * n_shards / 16384 (as in the map). */
#pragma once

#include "node/types/object.h"

#include "common/base/list.h"
#include "common/base/rng.h"
#include "common/base/slice.h"

#define KEYSPACE_SLOTS 16384

struct table;
struct watches;
struct blocked;
struct db;
struct probe;
struct collector;
struct evictor;

/* Read by everyone, changed by CONFIG SET between commands. */
struct keyspace_settings {
    uint64_t maxmemory;       /* bytes; 0: no limit */
    int64_t maxmemory_policy; /* enum evict_policy */
    int64_t maxmemory_samples;
    int64_t maxmemory_tenacity;
    bool lazy_eviction;         /* lazyfree-lazy-eviction */
    int64_t proto_max_bulk_len; /* longest string that a command may make */
    bool lfu;                   /* maxmemory-policy *-lfu: the clock counts frequency */
    int lfu_log_factor;
    int lfu_decay_time;             /* minutes */
    bool lazy_expire;               /* lazyfree-lazy-expire */
    bool lazy_server_del;           /* lazyfree-lazy-server-del */
    bool lazy_user_del;             /* lazyfree-lazy-user-del */
    bool lazy_user_flush;           /* lazyfree-lazy-user-flush */
    bool active_expire;             /* DEBUG SET-ACTIVE-EXPIRE */
    uint32_t notify_events;         /* notify.h: classes that are told */
    uint64_t hll_sparse_max_bytes;  /* longer HyperLogLogs are dense */
    uint64_t stream_node_max_bytes; /* of one block of a stream's entries; 0: no limit */
    uint64_t stream_node_max_entries;
    bool expires_keys; /* false while writes pause: expired keys are hidden, not removed */
};

struct keyspace_stats {
    uint64_t hits;
    uint64_t misses;
    uint64_t expired_keys;
    uint64_t expired_time_cap_reached;
    uint64_t expire_cycle_us; /* the caller of keyspace_expire_cycle adds */
    uint64_t lazyfreed_objects;
    uint64_t lazyfreed_copies; /* of these and what waits: other nodes' */
    uint64_t lazyfree_pending; /* objects waiting to be freed */
    size_t lazyfree_bytes;     /* and what they take */
    uint64_t evicted_keys;
    size_t evicted_bytes;
    uint64_t dirty;   /* changes since the start */
    uint64_t applied; /* those of them that the log brought, from a primary or a file */
};

struct shard {
    uint64_t version; /* changes so far */
    /* Not served from here: expired keys are hidden, never removed, and what concerns whole
     * databases (SCAN, DBSIZE, FLUSHALL...) passes it by. Changed at run time. */
    bool passive;
    struct list guards;  /* guard.h: copies and snapshots that run */
    uint64_t guard_hash; /* of the key that they were told of last */
    uint32_t part;       /* effect.c: its part of the command under way, from 1; 0: none */
};

struct database {
    struct table **tables; /* by shard number; NULL: no key was ever there. NULL itself: in none */
};

/* Whose doing a change is: that of a command's client, or nobody's. */
enum change_cause { CHANGE_BY_COMMAND, CHANGE_BY_EXPIRY, CHANGE_BY_EVICTION };

struct keyspace {
    uint32_t magic;
    int n_shards;
    int n_dbs;
    int held;              /* number of shards held */
    struct shard **shards; /* by number; NULL: not held here */
    struct database *dbs;
    uint64_t seed; /* of the key hash: secret */
    struct keyspace_settings settings;
    struct keyspace_stats stats;
    enum change_cause cause; /* of what changes now */
    struct watches *watches;
    struct blocked *blocked;
    size_t blocked_keys; /* keys that clients wait on */
    /* Who is told of every key that changed, by commands and entries alike; whole databases (db <
     * 0: all) that were emptied or changed places: of one shard, or KEYSPACE_SERVED. NULL: nobody.
     */
    void (*changed)(void *arg, const struct db *db, const struct probe *p, struct slice key);
    void (*changed_db)(void *arg, int db, int shard);
    void *changed_arg;
    uint32_t guards_n;           /* set in all shards */
    struct collector *collector; /* the owner's; NULL: nobody wants to know what commands did */
    /* notify.h; NULL: nobody */
    void (*notify)(void *arg, int db, uint32_t class, const char *event, struct slice key);
    void *notify_arg;
    bool evicting;           /* more keys have to go: keyspace_evict is to be called again */
    bool evict_failed;       /* it found nothing that may go; for who asks others then */
    struct evictor *evictor; /* evict.h; NULL: nothing was evicted yet */
    size_t uncounted;        /* memory that maxmemory does not mean: set by who knows */
    struct list lazyfree;    /* what keyspace_lazyfree_step frees */
    uint64_t sampling;       /* where samples are taken, and LFU's dice: nothing that matters */
    struct {
        int db;
        int shard;
        uint64_t cursor;
    } expire_at; /* where the active cycle goes on */
};

struct keyspace *keyspace_new(int n_shards, int n_dbs, uint64_t seed);
void keyspace_free(struct keyspace **ks);

static inline int keyspace_shard_of(const struct keyspace *ks, int slot)
{
    return (int)((int64_t)slot * ks->n_shards / KEYSPACE_SLOTS);
}

static inline bool keyspace_holds(const struct keyspace *ks, int slot)
{
    return ks->shards[keyspace_shard_of(ks, slot)] != NULL;
}

/* Creating one that is held does nothing. Dropping frees in slices, see keyspace_lazyfree_step, and
 * touches the watched keys in it. */
void keyspace_shard_create(struct keyspace *ks, int shard);
void keyspace_shard_drop(struct keyspace *ks, int shard);

/* A key's hash and place in the map, computed once. Stays right whatever happens to the tables. */
struct probe {
    uint64_t hash;
    uint32_t shard;
    uint32_t slot;
};
struct probe keyspace_probe(const struct keyspace *ks, int slot, struct slice key);
uint64_t keyspace_hash(const struct keyspace *ks, struct slice key);
/* Slot from the key itself. */
struct probe keyspace_probe_key(const struct keyspace *ks, struct slice key);

/* Its commands are run here: held and not passive. */
static inline bool keyspace_serves(const struct keyspace *ks, int shard)
{
    return ks->shards[shard] != NULL && !ks->shards[shard]->passive;
}

/* For a batch of commands: all buckets first, then all objects, then run them. The second stage
 * reads the bucket, so give the first one time: 8 to 16 keys between. */
void keyspace_prefetch_bucket(const struct keyspace *ks, int db, const struct probe *p);
void keyspace_prefetch_object(const struct keyspace *ks, int db, const struct probe *p);

/* In the shards that are served here. */
uint64_t keyspace_keys(const struct keyspace *ks, int db);
/* ... or, unless it is KEYSPACE_SERVED, in this held shard, served or not. */
uint64_t keyspace_keys_in(const struct keyspace *ks, int db, int shard);
uint64_t keyspace_expires(const struct keyspace *ks, int db); /* keys with an expiry */
/* Over all databases; 0 if it is not held. Memory is exact: tables and objects. */
uint64_t keyspace_shard_keys(const struct keyspace *ks, int shard);
size_t keyspace_shard_memory(const struct keyspace *ks, int shard);
size_t keyspace_memory(const struct keyspace *ks); /* sum over the shards */
/* Average milliseconds that the keys with an expiry still have, sampled; for INFO keyspace. */
int64_t keyspace_avg_ttl(const struct keyspace *ks, int db, int64_t now_ms);
uint64_t keyspace_count_in_slot(const struct keyspace *ks, int slot);
/* Keys of database 0 in a slot, at most `max`; `visit` gets each. */
typedef void keyspace_key_fn(void *arg, struct slice key);
void keyspace_keys_in_slot(const struct keyspace *ks, int slot, uint64_t max,
                           keyspace_key_fn *visit, void *arg);

/* One step of SCAN: visits about `count` keys from `cursor` on and returns the next one, 0 when the
 * walk is over. cursor = inner << 14 | shard. Goes on from shard s to s + 1 within a call only if
 * that is held too, else returns the start of s + 1, so that a walk over shards may change nodes.
 * A cursor in a shard that is not held goes on at the next held one. Every key that is there from
 * the first call to the last is visited. False: not a cursor. */
typedef void keyspace_object_fn(void *arg, struct object *o);
bool keyspace_scan(struct keyspace *ks, int db, uint64_t cursor, uint64_t count, uint64_t *next,
                   keyspace_object_fn *visit, void *arg) MUSTCHECK;
/* Every object of a database in the shards served here; the visitor changes nothing. */
void keyspace_each(struct keyspace *ks, int db, keyspace_object_fn *visit, void *arg);
void keyspace_each_in(struct keyspace *ks, int db, int shard, keyspace_object_fn *visit, void *arg);
/* Any key, each about as likely. NULL: none. */
struct object *keyspace_random(struct keyspace *ks, int db, struct rng *rng);

#define KEYSPACE_SERVED (-1) /* in the place of a shard: all that are served here */

/* Empties one database, or all with db = -1, in one shard or those served; later in slices when
 * `lazily`. Returns keys removed. */
uint64_t keyspace_flush(struct keyspace *ks, int db, int shard, bool lazily, int64_t now_ms);
void keyspace_swap(struct keyspace *ks, int db_a, int db_b, int shard, int64_t now_ms);

/* Removes expired keys, from where the last call stopped: looks at about `budget` keys at most.
 * Returns how many it looked at; equal to or above budget means that there may be more to do. */
uint64_t keyspace_expire_cycle(struct keyspace *ks, int64_t now_ms, uint64_t budget);
/* Frees about `budget` objects that wait for it. False: nothing is left. */
bool keyspace_lazyfree_step(struct keyspace *ks, uint64_t budget);

/* Digest of everything served here (DEBUG DIGEST): XOR it with that of other nodes for the digest
 * of all. */
void keyspace_digest(struct keyspace *ks, struct digest *out, int64_t now_ms);
/* Of one held shard, served or not, with the times of expiry and what has expired but is still
 * there: equal on all copies. */
void keyspace_digest_shard(struct keyspace *ks, int shard, struct digest *out);

/* Makes room for `count` keys in a database of a held shard in which there is none yet. */
void keyspace_reserve(struct keyspace *ks, int db, int shard, uint64_t count);

/* For this folder: the table of a database in a held shard, made if it is not there yet. */
struct table *keyspace_table(struct keyspace *ks, int db, uint32_t shard);
