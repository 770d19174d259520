// SPDX-License-Identifier: BSD-3-Clause
/* The last entries of each shard's log, encoded, in blocks of contiguous bytes. One budget for the
 * node (repl-backlog-size), shared by its shards: when it is spent, the shard that is most above
 * its fair share loses its oldest block. Owned by the replication core; the node's thread. Pure.
 *
 *   shard -> block -> block -> block(last: entries are added here)
 *            ^ first version, local time of its first entry
 *
 * Always: the versions of a shard in here have no hole and end with the log's last entry. */
#pragma once

#include "node/log/entry.h"

struct backlog;

struct backlog *backlog_new(int n_shards, size_t bytes_max);
void backlog_free(struct backlog **b);
void backlog_set_max(struct backlog *b, size_t bytes_max);

/* A shard's log begins here, or begins anew: nothing in it, the next entry is version + 1. What was
 * before came to this node at since_us or earlier; INT64_MIN: there was nothing before. */
void backlog_open(struct backlog *b, int shard, uint64_t version, int64_t since_us);
void backlog_close(struct backlog *b, int shard);
/* Entries from before what is here, stripped, in a row: those of `older` that are not here yet. The
 * row ends at or behind the one before the first one here; all that came since since_us is among
 * them, or here. */
void backlog_prepend(struct backlog *b, int shard, struct slice older, int64_t since_us,
                     int64_t now_us);

/* Adds the next entry; it came at now_us (monotonic). Returns its bytes in here, valid until the
 * next call that adds. */
const char *backlog_add(struct backlog *b, const struct entry *e, int64_t now_us);
/* The same for an entry that is encoded already (e->bytes). */
const char *backlog_add_bytes(struct backlog *b, const struct entry *e, int64_t now_us);
/* Entries from `version` on, as many as are contiguous and at most max_bytes (but at least one).
 * An empty slice with NULL: there is none; see backlog_has. `last` is the version of the last one.
 * Stripped entries are not given. */
struct slice backlog_read(struct backlog *b, int shard, uint64_t version, size_t max_bytes,
                          uint64_t *last);
/* Every whole (not stripped) entry from `version` to the end of the log is here. */
bool backlog_has(const struct backlog *b, int shard, uint64_t version);
uint64_t backlog_first(const struct backlog *b, int shard); /* version; log's end + 1: none here */
uint64_t backlog_last(const struct backlog *b, int shard);
/* Bytes of entries behind `version`; an estimate from block sizes. */
size_t backlog_bytes_behind(const struct backlog *b, int shard, uint64_t version);
/* Local time at which an entry, or one shortly before it, came; INT64_MIN: not here. */
int64_t backlog_time(const struct backlog *b, int shard, uint64_t version);

/* All that came to this node's log of the shard after this time is here; INT64_MIN: all ever. */
int64_t backlog_since(const struct backlog *b, int shard);
/* The entries of a lane with a number >= from, oldest first, of those that came at since_us or
 * later (a few older ones may be among them). */
typedef void backlog_visit_fn(void *arg, const struct entry *e);
void backlog_lane(const struct backlog *b, int shard, uint64_t lane, uint64_t from,
                  int64_t since_us, backlog_visit_fn *visit, void *arg);
/* The last entries up to `version`, without their effects, at most about bytes_max of them, in one
 * row. since_us: all that came since then, up to that version, is among them; INT64_MIN: all ever.
 */
void backlog_tail(const struct backlog *b, int shard, uint64_t version, size_t bytes_max,
                  struct str *to, int64_t *since_us);

struct backlog_stats {
    size_t bytes; /* of blocks */
    size_t bytes_max;
    uint64_t entries_added;
    uint64_t blocks_trimmed;
};
void backlog_stats(const struct backlog *b, struct backlog_stats *out);
size_t backlog_shard_bytes(const struct backlog *b, int shard);
