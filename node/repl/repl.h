// SPDX-License-Identifier: BSD-3-Clause
/* The replication core of one node: all its shards, all its peers. docs/REPLICATION.md is what it
 * does and why. Pure: what happened comes in here, what is to be done goes out by env.h; times are
 * microseconds of a monotonic clock, passed in and never going back. One thread, the node's.
 *
 * A turn of the loop: events in any number, then repl_turn_end once, before the links flush.
 * Entries, acknowledgements and commit versions leave from there, so that each peer gets one batch
 * a turn. env.committed may be called from repl_message, repl_durable, repl_turn_end, repl_tick and
 * repl_map; never from within repl_append.
 *
 * A peer is a small number that the core gives to a node id and that stays its for as long as the
 * core lives (the map's indexes change). */
#pragma once

#include "node/log/backlog.h"
#include "node/repl/env.h"

struct repl;

enum repl_mode { REPL_SYNC, REPL_ASYNC };
enum repl_consistency { REPL_STRONG, REPL_EVENTUAL };

struct repl_settings {
    enum repl_mode mode;
    enum repl_consistency consistency;
    int min_in_sync;
    int64_t lease_us;
    bool durable;            /* appendfsync always: acknowledge what is on disk */
    size_t backlog_max;      /* repl-backlog-size */
    uint64_t copy_bandwidth; /* rebalance-bandwidth, bytes a second for all copies; 0: no limit */
    int copies_max;          /* at a time from this node */
    uint64_t copy_untaken;   /* bytes of a copy on their way to its replica, at most */
    size_t link_fill;        /* catch-up and copies fill a link's output up to this */
    size_t link_overrun;     /* a copy whose link's output grows beyond this breaks off */
};
void repl_settings_default(struct repl_settings *s); /* those of the documentation */

/* `new_node`: this node never ran before (its id was made just now), so that no promise of a
 * former life can stand; else it takes part in nothing for one lease. */
struct repl *repl_new(const char *id, int n_shards, const struct repl_settings *s,
                      const struct repl_env *env, bool new_node, int64_t now_us);
void repl_free(struct repl **r);
void repl_set(struct repl *r, const struct repl_settings *s, int64_t now_us);
const struct repl_settings *repl_get(const struct repl *r);

/* -- what happened ---------------------------------------------------------------------------- */

/* Before the first map: what recovery from disk found of a shard. */
struct repl_found {
    struct history history;
    struct slice entries; /* the log's last ones, in a row; may be empty */
    int64_t since_us;     /* all that came since then is in them; INT64_MAX: not known */
};
void repl_recovered(struct repl *r, int shard, const struct repl_found *f, int64_t now_us);
/* A newer map. The caller has created the shards that are new to this node before, and drops those
 * that are gone after this. Keeps a reference. */
void repl_map(struct repl *r, struct map *m, int64_t now_us);

/* The peer's handle, made if need be. */
int repl_peer(struct repl *r, const char *id);
const char *repl_peer_id(const struct repl *r, int peer);
/* A session with it begins or ends (HELLOs done; connection lost). `incarnation`: as it said. */
void repl_peer_up(struct repl *r, int peer, uint64_t incarnation, int64_t now_us);
void repl_peer_down(struct repl *r, int peer, int64_t now_us);
void repl_message(struct repl *r, int peer, const struct repl_message *m, int64_t now_us);

/* The primary executed a write: gives the entry its term and version, logs it. Fields to be set:
 * shard, flags, time_ms, lane, number, n_effects, reply, effects. Only while repl_may_write said
 * REPL_YES in this turn, or for what had begun before. Returns the version. */
uint64_t repl_append(struct repl *r, struct entry *e, int64_t now_us);
/* Everything of the shard's log up to there is on this node's disk. The caller tells nothing any
 * more that is of before env.discard. */
void repl_durable(struct repl *r, int shard, uint64_t version, int64_t now_us);
/* The coordinator wants this primary to hand the shard over (HANDOVER). */
void repl_handover(struct repl *r, int shard, uint64_t term, const char *target, int64_t now_us);
/* The coordinator wants this in-sync member to leave (DROP): it is asked for REMOVE as soon as no
 * promise covers it, so that no write waits. Repeated for as long as it is wanted. */
void repl_drop(struct repl *r, int shard, uint64_t term, const char *node, int64_t now_us);
/* Often enough for leases: every 10 ms, and not later than repl_next_us. */
void repl_tick(struct repl *r, int64_t now_us);
/* `now_us` is read anew for this call, after everything of the turn was done. True: there is more
 * to send and room for it: another turn is wanted at once. Otherwise more may become possible when
 * a link has written its output: call it then. */
bool repl_turn_end(struct repl *r, int64_t now_us);
/* In the midst of a command that takes long, again and again: leases go on, and what was in the
 * logs before it is sent; no shard changes its state. Of messages only those that repl_is_meanwhile
 * names may be given to repl_message then. */
void repl_meanwhile(struct repl *r, int64_t now_us);
bool repl_is_meanwhile(enum repl_kind kind);
/* When to call repl_tick at the latest. */
int64_t repl_next_us(const struct repl *r);

/* -- may it? ---------------------------------------------------------------------------------- */

enum repl_answer {
    REPL_YES,
    REPL_MOVED,      /* another node is primary (-MOVED), or this copy may not be read */
    REPL_DOWN,       /* nobody is (-CLUSTERDOWN) */
    REPL_TRYAGAIN,   /* soon (-TRYAGAIN) */
    REPL_NOREPLICAS, /* min-in-sync is not met (-NOREPLICAS) */
};
/* A command that writes. */
enum repl_answer repl_may_write(const struct repl *r, int shard);
/* A command that reads, on primary or replica, under the consistency that is set. When it has been
 * executed, its reply waits for repl_barrier. */
enum repl_answer repl_may_read(struct repl *r, int shard, int64_t now_us);

/* Whether the reads that repl_may_read allowed were executed while their leases stood: the process
 * may have been stopped, or a command slow, between the question and the end of the execution.
 * Asked once a turn, behind the last execution and before repl_turn_end; `now_us` is read anew. */
enum repl_reads {
    REPL_READS_HOLD,   /* all of them: their replies may leave */
    REPL_READS_UNSURE, /* their replies wait; asked again in every turn until it is known */
    REPL_READS_LOST,   /* some were not: what waits, and this turn's, must never leave */
};
enum repl_reads repl_reads(struct repl *r, int64_t now_us);

/* -- what must be waited for ------------------------------------------------------------------ */

/* The entry that is being made, or applied, changes this key. */
void repl_touch(struct repl *r, int shard, uint64_t hash);
void repl_touch_all(struct repl *r, int shard);
/* The key has not changed by an entry behind this version; it may well have changed before. */
uint64_t repl_touched(const struct repl *r, int shard, uint64_t hash);
/* Commit version for which the reply to a read of that key, just executed, has to wait; 0: none. */
uint64_t repl_barrier(const struct repl *r, int shard, uint64_t hash);
uint64_t repl_barrier_all(const struct repl *r, int shard);
/* The same for the reply to a write of this version: itself, or 0 under async. */
uint64_t repl_barrier_write(const struct repl *r, int shard, uint64_t version);

/* -- full copies ------------------------------------------------------------------------------ */

/* Some shard is being copied from here: only then repl_before_write need be called. */
bool repl_copying(const struct repl *r);
/* Some shard is being copied to here. */
bool repl_taking(const struct repl *r);
/* Before a write command changes (or reads, to derive what it changes) this key; whether it exists
 * or not. Calls env.copy_key and env.send. */
void repl_before_write(struct repl *r, int shard, int db, uint64_t hash, struct slice key);
/* Databases were swapped: running copies of all shards here begin anew. */
void repl_copies_restart(struct repl *r, int64_t now_us);

/* -- what is known ---------------------------------------------------------------------------- */

enum repl_state repl_state(const struct repl *r, int shard);
const char *repl_state_name(enum repl_state s);
uint64_t repl_term(const struct repl *r, int shard); /* primary term that it takes part in */
const struct history *repl_history(const struct repl *r, int shard);
uint64_t repl_version(const struct repl *r, int shard);
uint64_t repl_commit(const struct repl *r, int shard);
/* The data is a state of the log: not a half copy. */
bool repl_whole(const struct repl *r, int shard);
const struct backlog *repl_backlog(const struct repl *r);

/* Other members known to have (durable: on disk) everything up to there. For WAIT and WAITAOF. */
int repl_acked(const struct repl *r, int shard, uint64_t version, bool durable);
/* This node's own log up to there is on disk. */
bool repl_is_durable(const struct repl *r, int shard, uint64_t version);

/* FATE: what is in the shard's log of a lane's commands; REPL_YES only on a primary that serves and
 * has its leases. The caller has seen to it that nothing of the lane runs here any more. An entry
 * that ends the lane is added to the log (unless one is there): when it is committed, at `barrier`,
 * no later primary runs anything of the lane, and the answer may leave. */
struct repl_question {
    int shard;
    uint64_t lane;
    uint64_t from;   /* numbers from this one on */
    int64_t age_us;  /* of the oldest command that is asked for */
    int64_t time_ms; /* wall clock, for the entry */
};
struct repl_fate {
    bool complete; /* entries of the last age_us are all in the backlog */
    uint64_t barrier;
};
enum repl_answer repl_fate(struct repl *r, const struct repl_question *q, int64_t now_us,
                           backlog_visit_fn *visit, void *arg, struct repl_fate *out);

struct repl_lag {
    int peer;
    bool up;      /* connected and joined */
    bool in_sync; /* in the commit set */
    bool copying;
    uint64_t acked; /* version */
    uint64_t versions;
    size_t bytes;
    int64_t us; /* age of the oldest entry that it has not acknowledged */
};
/* The primary's view of its members; returns how many (at most `max` are filled). */
int repl_lags(const struct repl *r, int shard, int64_t now_us, struct repl_lag *out, int max);

struct repl_stats {
    uint64_t entries_sent;
    uint64_t entries_applied;
    uint64_t bytes_sent;
    uint64_t acks_sent;
    uint64_t copies_begun; /* as source */
    uint64_t copies_ended;
    uint64_t copies_broken;
    uint64_t copy_keys;
    uint64_t copy_bytes;
    uint64_t copy_portraits;  /* keys that were sent in parts */
    uint64_t inbox_bytes_max; /* that a shard being copied to here had to keep */
    uint64_t copies_taken;    /* as target */
    uint64_t partial_syncs;   /* members that got what they lacked from the backlog */
    uint64_t adds;            /* requests */
    uint64_t removes;
    uint64_t handovers;
    uint64_t revoked; /* REVOKEs that ended our service */
    uint64_t dropped; /* messages of another term, or that made no sense */
    int copies_running;
};
const struct repl_stats *repl_stats(const struct repl *r);
