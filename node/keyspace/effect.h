// SPDX-License-Identifier: BSD-3-Clause
/* What commands did, as effects: commands that make the same change on a copy of the shard. Every
 * change of a key passes here, once, after it was made.
 *
 * Between effect_open and effect_close (one command, one transaction, one step of active expiry)
 * effects gather in a part for each shard; closing gives each part to the sink as an entry for the
 * shard's log. What the effect of a command is, node/cmd/record.h decides; here are those that no
 * command's words tell: DEL of what expired, whole databases, and keys by their value.
 *
 * A keyspace without a collector pays a test of a pointer. The node's thread. Pure; nothing is
 * allocated for a command once buffers have grown. */
#pragma once

#include "node/keyspace/blocked.h"
#include "node/keyspace/watch.h"
#include "node/log/entry.h"

#include "common/base/str.h"

/* Who takes the entries. Set are: shard, flags, time, lane, number, n_effects, reply, effects;
 * slices are valid during the call only. */
struct effect_sink {
    void *arg;
    void (*entry)(void *arg, struct entry *e);
    /* The entry that is being made, or applied, changes this key; all keys of the shard. Before
     * the entry itself. */
    void (*touched)(void *arg, uint32_t shard, uint64_t hash);
    void (*touched_all)(void *arg, uint32_t shard);
};

/* Takes nothing: for a collector that has a feed only. */
const struct effect_sink *effect_sink_nobody(void);

struct feed;

/* An entry goes to other nodes as one frame, of at most 1 GiB (LINK_FRAME_MAX): what cannot go as
 * one must not be made. A group that has effects takes another command as long as both together
 * stay below EFFECT_GROUP_MAX, which is one value of the largest usual size and a bit; a command
 * alone has EFFECT_ALONE_MAX. What lies between is for effects that are longer than their words. */
#define EFFECT_GROUP_MAX ((size_t)576 << 20)
#define EFFECT_ALONE_MAX ((size_t)960 << 20)

struct effect_part {
    uint32_t shard;
    uint32_t n_effects;
    bool answers; /* the lane's command is one of this shard: the entry names lane and number */
    bool shared;  /* `share` is this shard's part of the reply */
    int64_t share;
    struct str effects;
};

struct collector {
    uint32_t magic;
    struct effect_sink sink;
    struct feed *feed; /* the same in Redis's words; NULL: nobody follows */
    bool open;
    bool expiring; /* what changes now is nobody's command */
    int64_t now_ms;
    struct effect_part *parts; /* n of the command under way; the rest keep their buffers */
    uint32_t n;
    uint32_t cap;
    size_t longest;   /* bytes of effects of the longest part of the open group */
    size_t group_max; /* EFFECT_GROUP_MAX; a test's may be less */

    /* of the command under way, for node/cmd/record.c */
    bool by_value; /* every change is told at once as the key's new value */
    bool said;     /* the effect is told already, in other words than the command's own */
    bool changed;  /* some key, not by expiry */
    uint32_t changed_shard;

    /* statistics */
    uint64_t entries;
    uint64_t effects;
    uint64_t bytes; /* of effects and replies */
};

/* To be hung into keyspace.collector. */
struct collector *collector_new(const struct effect_sink *sink);
void collector_free(struct collector **c);

/* ---- a group of effects that go to the log as one ---- */

/* Without a collector, nothing. Groups do not nest. */
void effect_open(struct keyspace *ks, int64_t now_ms);
/* Who must learn of the outcome by the log. */
struct effect_origin {
    uint64_t lane;
    uint64_t number;
    bool reply_gone; /* it is too long to be kept */
    struct slice reply;
};
/* A part goes to the sink if it has effects, or if it answers. NULL: nobody. */
void effect_close(struct keyspace *ks, const struct effect_origin *o);

/* ---- in an open group ---- */

/* One effect: the words of a command, in database `db`. */
void effect_put(struct keyspace *ks, uint32_t shard, int db, const struct slice *words, size_t n);
/* The entry of this shard answers the lane's command. */
void effect_answers(struct keyspace *ks, uint32_t shard);
/* The entries of all shards that have effects do. */
void effect_answers_all(struct keyspace *ks);
/* How many shards will get an entry. */
uint32_t effect_entries(const struct keyspace *ks);
/* No entry does: it is not answered yet. */
void effect_answers_none(struct keyspace *ks);
/* Adds to the shard's own part of a reply that is a sum. */
void effect_share(struct keyspace *ks, uint32_t shard, int64_t n);
/* The key's value as it is now: SET, RESTORE or DEL. */
void effect_put_value(const struct db *db, const struct probe *p, struct slice key);

/* ---- told by the keyspace ---- */

/* The collector's part of keyspace_changed. */
void effect_changed(const struct db *db, const struct probe *p, struct slice key);

/* The value or expiry of `key` changed, or it came or went. */
static inline void keyspace_changed(const struct db *db, const struct probe *p, struct slice key)
{
    struct keyspace *ks = db->ks;
    struct shard *s = ks->shards[p->shard];
    INVARIANT(ks->guards_n == 0 || list_empty(&s->guards) || s->guard_hash == p->hash);
    s->version++;
    ks->stats.dirty++;
    watch_touch(db, p, key);
    if (UNLIKELY(ks->blocked_keys != 0)) {
        blocked_touch(db, p, key);
    }
    if (UNLIKELY(ks->changed != NULL)) {
        ks->changed(ks->changed_arg, db, p, key);
    }
    if (UNLIKELY(ks->collector != NULL)) {
        effect_changed(db, p, key);
    }
}
/* It was removed because its time was over: nobody's command. */
void keyspace_expired(const struct db *db, const struct probe *p, struct slice key);
/* It was evicted: the same. */
void keyspace_evicted(const struct db *db, const struct probe *p, struct slice key);
/* Database `db` (-1: all) of a shard was emptied of `keys`; two changed places. In an open group a
 * command did it, and it goes to the log; else an entry that is applied. */
void effect_flush(struct keyspace *ks, int shard, int db, uint64_t keys);
void effect_swap(struct keyspace *ks, int shard, int db_a, int db_b);
