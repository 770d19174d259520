// SPDX-License-Identifier: BSD-3-Clause
/* The node's log of writes, written: one for all shards, in files of bounded size.
 *
 *   wal_append (a command's effects, into memory)       once a turn of the loop, before replies
 * leave: wal_append ...                                      wal_flush: one write, and a sync is
 * asked for (always), which a helper thread carries out wal_synced  <- that thread's answer:
 * wal_durable() moves on, the port is told
 *
 * INVARIANT  durable <= written <= end: positions (see wal_format.h). Below `written` everything is
 *            with the system, below `durable` on the disk.
 * INVARIANT  a failed write leaves `written` where it was, and what it should have written in the
 *            buffer: the next flush writes it again from the same place. Nothing is ever written
 *            behind bytes that are not whole.
 * INVARIANT  after a failed sync, or when more waited than is kept, what the log holds below
 *            wal_gap() is not to be relied on: the log is not ok until every shard has a snapshot
 *            taken at or behind it (wal_trim says so), and durable does not pass it before.
 * INVARIANT  a reader that finds `always` in the log (wal_found.always) may rely on it: `always`
 *            ends only when the record that says so is durable, and all before it.
 *
 * Owned by the node's thread; only disk_sync of a file that wal_port.sync got runs elsewhere. Pure:
 * files through base/disk.h, time is passed in. */
#pragma once

#include "node/persist/wal_format.h"

#include "common/base/disk.h"
#include "common/base/slice.h"

#include <stdbool.h>

enum wal_policy { WAL_SYNC_ALWAYS, WAL_SYNC_EVERYSEC, WAL_SYNC_NO };

struct str;
struct wal;

/* A file to be synced: wal_sync_run on any thread, then wal_synced on the wal's. Jobs are carried
 * out in the order given. Owned by the wal. */
struct wal_sync {
    struct wal *wal;
    struct disk_file *file;
    bool name_too; /* the file is new: its name is not durable yet */
    bool close;    /* nothing more will be written to it */
    int error;
    int64_t took_us; /* the carrier may tell */
    uint64_t position;
};
void wal_sync_run(struct wal_sync *job);

struct wal_port {
    void *arg;
    /* Carries out `job`, now or on another thread. */
    void (*sync)(void *arg, struct wal_sync *job);
    /* wal_durable() has moved on, or wal_ok() changed. May be NULL. */
    void (*progress)(void *arg);
    /* Appends the content of a WAL_SHARDS record. May be NULL. */
    void (*shards)(void *arg, struct str *to);
    /* Removes a file that is no longer needed, now or later. NULL: the wal does it. */
    void (*remove)(void *arg, const char *name);
};

struct wal_settings {
    enum wal_policy policy;
    uint32_t n_shards;
    uint64_t segment_bytes; /* a file is finished when it has these */
    uint64_t buffer_max;    /* most that waits in memory while the disk does not take it */
};

/* A file that was there before (struct wal_found of wal_read.h), oldest first. */
struct wal_segment {
    uint64_t seq;
    uint64_t start;
    uint64_t end; /* of the open one: not yet known */
};

/* Goes on behind `segments` at `position` with a new file. `nonce`: random. NULL: *error is the
 * errno. A position beyond the last file's end leaves a gap there. */
struct wal *wal_new(struct disk *disk, const struct wal_settings *settings,
                    const struct wal_port *port, const struct wal_segment *segments,
                    size_t n_segments, uint64_t position, uint64_t nonce, int64_t wall_ms,
                    int *error);
/* Without waiting for anything. No job may be under way. */
void wal_free(struct wal **w);
/* Flushes, syncs here and now, and marks the end as an orderly one. False: not all is on disk. */
bool wal_close(struct wal **w);

/* Takes a copy. The position behind it. */
uint64_t wal_append(struct wal *w, enum wal_kind kind, uint32_t shard, uint64_t term,
                    uint64_t version, struct slice bytes);
/* Writes what was appended; asks for a sync where the policy says so. False: it did not go; it is
 * kept and tried again by wal_tick. */
bool wal_flush(struct wal *w, int64_t wall_ms);
/* About ten times a second: everysec's syncs, another try after a failure. */
void wal_tick(struct wal *w, int64_t now_ms, int64_t wall_ms);
void wal_synced(struct wal_sync *job);
/* Asks for a sync of all that is written, whatever the policy (WAITAOF, snapshots). */
void wal_sync(struct wal *w);

/* A weaker one than `always` counts from when the record that says so is on disk (wal_always). */
void wal_set_policy(struct wal *w, enum wal_policy policy);
/* Nothing may be acknowledged before it is durable. */
bool wal_always(const struct wal *w);
/* Finishes the file; what comes next begins one. */
void wal_rotate(struct wal *w);
/* Every shard can do without what is below `position`: files that end there go. */
void wal_trim(struct wal *w, uint64_t position);

uint64_t wal_end(const struct wal *w);     /* of what was appended */
uint64_t wal_written(const struct wal *w); /* given to the system */
uint64_t wal_durable(const struct wal *w); /* on the disk, and all before it */
uint64_t wal_safe(const struct wal *w);    /* on the disk, whatever is missing before wal_gap() */
uint64_t wal_start(const struct wal *w);   /* the oldest record that is kept */
/* False: writes must be refused. */
bool wal_ok(const struct wal *w);
/* Why not, an errno. */
int wal_error(const struct wal *w);
/* Not 0: every shard needs a snapshot from here on before the log can be relied on again. */
uint64_t wal_gap(const struct wal *w);
/* What ends up to here becomes durable with some sync that was asked for already; what ends behind
 * it only with later ones. */
uint64_t wal_asked(const struct wal *w);
bool wal_syncing(const struct wal *w);

struct wal_stats {
    uint64_t records;
    uint64_t writes;
    uint64_t syncs;
    uint64_t failures;
    uint64_t bytes_kept; /* in all files */
    uint64_t segments;
    int64_t sync_us_last;
    int64_t sync_us_max;
};
void wal_stats(const struct wal *w, struct wal_stats *out);
