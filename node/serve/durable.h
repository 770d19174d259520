// SPDX-License-Identifier: BSD-3-Clause
/* The node's data on disk: recovery at start, the log of writes, snapshots of shards, dump.rdb.
 * Joins node/persist with the loop and its helper threads.
 *
 *   <dir>/shoal-data/   meta        number of shards, seed of the key hash, cluster
 *                       log.*       the log of writes (appendonly yes), see persist/wal_format.h
 *                       shard.*     a snapshot of each shard, see persist/snapshot.h
 *   <dir>/dump.rdb      SAVE, BGSAVE and save points of a node that stands alone
 *
 * In a turn of the loop: commands append entries (durable_logged), then durable_turn writes them
 * with one write, before any reply leaves; syncs run on a thread of their own, and what they made
 * durable is told on (durable_port), which lets replies and acknowledgements go.
 *
 * A shard is kept by snapshot and log; one whose data was replaced by a full copy (durable_whole)
 * only from its next snapshot on.
 *
 * Owned by the server; the node's thread. */
#pragma once

#include "node/log/entry.h"
#include "node/log/history.h"

#include "common/base/err.h"

struct durable;
struct repl_found;
struct server;

/* ---- start and end ---- */

/* Before there is a keyspace: opens the folder if it is needed or there. *n_shards: what its data
 * is of, 0 if there is none. False and err: the node must not start. */
bool durable_open(struct server *s, int *n_shards, struct errmsg *err) MUSTCHECK;
/* Fills the keyspace with what is on disk, then begins the log. */
bool durable_recover(struct server *s, struct errmsg *err) MUSTCHECK;
/* `saved`: SHUTDOWN SAVE or save points ask for a last dump. False: that failed, nothing is closed.
 */
bool durable_last_save(struct server *s) MUSTCHECK;
/* In order: all is on disk behind this. */
void durable_close(struct server *s);

/* ---- what recovery found ---- */

/* False: the shard is not there, or damaged. What `out` borrows goes with
 * durable_recovered_taken. */
bool durable_recovered(const struct server *s, int shard, struct repl_found *out);
/* It will not be asked for again: what was kept of the log's end goes. */
void durable_recovered_taken(struct server *s);
/* Nothing that the last process acknowledged can be missing: appendfsync always all through, and
 * recovery found everything. */
bool durable_lost_nothing(const struct server *s);
/* Tables have this seed from now on. False: what is on disk has another one. */
bool durable_seed(struct server *s, uint64_t seed) MUSTCHECK;
/* The node is in this cluster, of so many shards. False: its data is of another one. */
bool durable_cluster(struct server *s, const char *cluster_id, int n_shards,
                     struct errmsg *err) MUSTCHECK;

/* ---- the log ---- */

bool durable_logs(const struct server *s); /* appendonly yes */
/* appendfsync always: acknowledged is what is on disk. Not before a log that was switched on is
 * whole: what it has is no state that anybody could go on from. */
bool durable_always(const struct server *s);
/* An entry of a held shard. */
void durable_logged(struct server *s, const struct entry *e);
/* The shard is dropped, or about to be replaced: what is on disk of it is void. */
void durable_discard(struct server *s, int shard);
/* A full copy is whole: a snapshot of it is wanted at once. */
void durable_whole(struct server *s, int shard, uint64_t version);
/* The end of a turn, before replies leave. */
void durable_turn(struct server *s);
/* While a slow script runs: what was synced meanwhile counts. */
void durable_meanwhile(struct server *s);
void durable_tick(struct server *s); /* ten times a second */
/* Everything of the shard's log that is on disk: version. */
uint64_t durable_version(const struct server *s, int shard);
/* Set, or with NULL no more: is told when durable_version of a shard grew. */
typedef void durable_fn(struct server *s, int shard, uint64_t version);
void durable_listen(struct server *s, durable_fn *fn);
/* NULL, or the error for commands that write. */
const char *durable_refusal(struct server *s);
void durable_settings_changed(struct server *s);

/* Libraries of functions came or went: on disk when this returns. False: they could not be (`why`).
 */
struct str;
bool durable_libraries_changed(struct server *s, struct str *why) MUSTCHECK;

/* ---- commands ---- */

enum durable_answer { DURABLE_OK, DURABLE_BUSY, DURABLE_FAILED, DURABLE_NOTHING };
enum durable_answer durable_save(struct server *s);   /* SAVE: here and now */
enum durable_answer durable_bgsave(struct server *s); /* BGSAVE */
/* BGREWRITEAOF: snapshots of all shards, so that the log before them goes. */
enum durable_answer durable_rewrite(struct server *s);
/* DEBUG RELOAD: all keys to dump.rdb's form and back. */
enum durable_answer durable_reload(struct server *s, bool save, bool flush, bool merge,
                                   struct errmsg *err);
int64_t durable_last_save_s(const struct server *s); /* LASTSAVE */

struct str;
void durable_info(const struct server *s, struct str *to); /* INFO persistence */
