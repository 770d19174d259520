// SPDX-License-Identifier: BSD-3-Clause
/* Snapshots of shards: written in slices from a view while the shard goes on changing, read at
 * start.
 *
 * INVARIANT  a snapshot is exactly the shard's state after the entry history.version of its log,
 *            and the log's record at `position` is the first that it does not contain.
 * INVARIANT  a file shard.N is whole: it is renamed into place when all of it is on the disk, and
 *            only when the log is durable up to its position (snapshot_finish), so that the log
 *            never ends before it.
 *
 * The loop encodes; writing, syncing and renaming are jobs that may run on another thread, one
 * after the other in the order given. Owned by the node's thread. Pure. */
#pragma once

#include "node/log/history.h"
#include "node/persist/view.h"

#include "common/base/disk.h"

struct chunk;
struct snapshot;

/* What a snapshot is of. */
struct snapshot_info {
    char cluster_id[64]; /* empty: of none */
    int shard;
    int n_shards;
    uint64_t position; /* in the log of this node, WAL_FIRST where there is none */
    int64_t wall_ms;
    uint64_t hash_check; /* of the keyspace's seed: equal means that keys are in its order */
    uint64_t keys;       /* about how many, in the biggest database, to make room for */
    struct history history;
};

enum snapshot_task { SNAPSHOT_OPEN, SNAPSHOT_WRITE, SNAPSHOT_RENAME, SNAPSHOT_REMOVE };

struct snapshot_job {
    struct snapshot *snapshot;
    enum snapshot_task task;
    uint64_t at;
    char *bytes; /* with the room for the block's head */
    size_t len;
    struct chunk *tail; /* bytes behind them, borrowed; NULL: none */
    int error;
};
/* Any thread. */
void snapshot_job_run(struct snapshot_job *job);
/* The node's thread; the job is over. */
void snapshot_job_done(struct snapshot_job *job);

struct snapshot_port {
    void *arg;
    void (*run)(void *arg, struct snapshot_job *job);
};

/* Begins one of a held shard, as it is now. */
struct snapshot *snapshot_new(struct disk *disk, struct keyspace *ks,
                              const struct snapshot_info *info, uint64_t nonce,
                              const struct snapshot_port *port);
/* No job may be under way (snapshot_busy). One that is not done leaves nothing behind but its
 * unfinished file, which the next one overwrites. */
void snapshot_free(struct snapshot **s);

enum snapshot_state {
    SNAPSHOT_MORE,    /* step again */
    SNAPSHOT_WAITS,   /* for jobs: step again when one is done */
    SNAPSHOT_WRITTEN, /* all is written: snapshot_finish when the log is durable up to position */
    SNAPSHOT_ENDING,  /* snapshot_finish was called */
    SNAPSHOT_DONE,    /* in place */
    SNAPSHOT_FAILED,  /* snapshot_error, or 0: the view broke (begin again) */
};
/* Encodes about so many bytes. */
enum snapshot_state snapshot_step(struct snapshot *s, size_t bytes);
void snapshot_finish(struct snapshot *s);
enum snapshot_state snapshot_state(const struct snapshot *s);
/* Ends it as failed with 0; for a shard that is discarded and such. */
void snapshot_cancel(struct snapshot *s);
bool snapshot_busy(const struct snapshot *s);
int snapshot_error(const struct snapshot *s);
const struct snapshot_info *snapshot_info(const struct snapshot *s);
uint64_t snapshot_bytes(const struct snapshot *s);
uint64_t snapshot_keys(const struct snapshot *s); /* so far */

/* ---- reading ---- */

enum snapshot_found {
    SNAPSHOT_NONE, /* there is no file */
    SNAPSHOT_GOOD,
    SNAPSHOT_DAMAGED, /* `why` says where */
    SNAPSHOT_UNREAD,  /* the disk failed, *error */
};
struct snapshot_target {
    void *arg;
    /* Once, before any key. False: it is not wanted (why is the caller's to say); SNAPSHOT_DAMAGED
     * is the answer. */
    bool (*head)(void *arg, const struct snapshot_info *info);
    /* Takes `o`. */
    void (*key)(void *arg, int db, struct object *o);
};
/* Gives the keys to `target` while it reads: what was given counts only if the answer is
 * SNAPSHOT_GOOD. */
enum snapshot_found snapshot_read(struct disk *disk, int shard,
                                  const struct snapshot_target *target, char why[256], int *error);

/* The parts of a file's content that fuzzers want to reach. */
bool snapshot_read_head(struct slice in, struct snapshot_info *out) MUSTCHECK;
/* Large values of which not all parts were read. Zeroed: none. */
struct snapshot_drafts {
    struct snapshot_draft *of;
    size_t n;
    size_t cap;
};
void snapshot_drafts_fini(struct snapshot_drafts *d);
bool snapshot_read_keys(struct slice in, const struct snapshot_target *target, uint64_t *keys,
                        struct snapshot_drafts *drafts, struct str *scratch) MUSTCHECK;
