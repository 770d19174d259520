// SPDX-License-Identifier: BSD-3-Clause
/* The node's copies of shards: runs the replication core (node/repl) over links, keyspace and
 * clients, and says what may be done with a shard now. Owned by the server; the node's thread.
 *
 *   clients -> dispatch -> command -> entry -> repl_append            one turn of the loop:
 *   links -> frames -> repl_message -> apply, commit -> holds         batch, replicate_turn
 * (entries, map, welcome, orders <- agent -> reports                          acknowledgements,
 * commit versions into the links' sockets), then clients' replies
 *
 * INVARIANT  a reply that need not wait leaves after the entries of its turn were given to the
 *            replicas' sockets. */
#pragma once

#include "node/agent/agent.h"
#include "node/cmd/call.h"
#include "node/log/entry.h"
#include "node/repl/repl.h"

struct server;
struct client;
struct replication;
struct link;

/* The core for that many shards, nothing held; replaces the one that was. `fresh`: no life of this
 * node's id was before. */
void replicate_start(struct server *s, int n_shards, bool fresh);
void replicate_stop(struct server *s);
/* Stands alone: primary of everything, without a coordinator. */
void replicate_alone(struct server *s);

/* From the agent. */
void replicate_map(struct server *s, struct map *m, int self);
void replicate_welcome(struct server *s, const struct wire_welcome *w);
void replicate_order(struct server *s, const struct wire_change *c);
void replicate_progress(struct server *s, bool copied_only, struct wire_copies *to);
/* The end of the shard's log; false: its data is not whole. */
bool replicate_held(const struct server *s, int shard, uint64_t *term, uint64_t *version);
/* Its log as far as it goes; its data is a state of it, not a half copy. Without replication: of
 * nothing is known, and all is whole. */
const struct history *replicate_history(const struct server *s, int shard);
bool replicate_whole(const struct server *s, int shard);
/* Its primary is here, and may answer reads now. With replication only, as the next. */
bool replicate_serves(struct server *s, int shard);
/* No entry behind this version has changed the key. */
uint64_t replicate_touched(const struct server *s, int shard, uint64_t hash);
/* After CONFIG SET of what the core keeps. */
void replicate_settings_changed(struct server *s);

/* The end of a turn: see above. */
void replicate_turn(struct server *s);
/* What the log keeps in memory for copies: maxmemory does not mean it. */
size_t replicate_memory(const struct server *s);
/* So much was written in this turn that replicas must get it before the backlog loses it: time for
 * replicate_turn, between two commands. */
bool replicate_is_full(const struct server *s);
/* While a slow script runs: leases and commits go on (replicate_meanwhile.c). */
void replicate_meanwhile_begin(struct server *s);
void replicate_meanwhile(struct server *s);
void replicate_meanwhile_end(struct server *s);
/* Behind it: what was kept is taken. Not while commands run. */
void replicate_catch_up(struct server *s);
/* Before a batch: what may be done with which shard is asked anew. */
void replicate_batch(struct server *s);

/* ---- may it? ---- */

/* REPL_YES, or why a command of this client may not touch the shard. */
enum repl_answer replicate_may(struct server *s, const struct client *c, int shard, bool write);
/* The error for it, as a client is told. */
void replicate_refusal(struct server *s, const struct client *c, enum repl_answer why,
                       uint32_t slot, bool write, struct str *to);

/* ---- what a command did ---- */

/* Before it runs. */
void replicate_before(struct server *s);
/* An EXEC that is about to run has a command of this shard; -1: its shards follow. */
void replicate_exec(struct server *s, int shard);
/* It has such shards already. */
bool replicate_exec_began(const struct server *s);
/* An entry of it: goes to the log. */
void replicate_entry(struct server *s, struct entry *e);
/* Its reply waits for that version. */
void replicate_hold(struct server *s, int shard, uint64_t version);
/* It has been answered, from position `at` of its client's output on: holds the reply if it must
 * wait. */
void replicate_after(struct server *s, struct client *c, const struct call *k, uint64_t at);

/* ---- views ---- */

struct replicate_stats {
    uint64_t adds; /* members taken in, as the map told */
    uint64_t drops;
    uint64_t states; /* changes of state */
    uint64_t refused_tryagain;
    uint64_t refused_noreplicas;
    uint64_t refused_masterdown;
    int64_t copy_turn_us_max; /* the longest turn of the loop in which a copy ran, from here or to
                                 here */
    int64_t copy_turn_cpu_us_max;
};
const struct replicate_stats *replicate_stats(const struct server *s);
/* The longest turns are those from now on (CONFIG RESETSTAT). */
void replicate_reset(struct server *s);
/* Shards of which it is primary and serving; replica and following. */
void replicate_roles(const struct server *s, int *primary, int *replica);
