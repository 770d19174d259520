// SPDX-License-Identifier: BSD-3-Clause
/* Shared by durable*.c only. */
#pragma once

#include "node/jobs/jobs.h"
#include "node/persist/rdb_file.h"
#include "node/persist/recover.h"
#include "node/persist/snapshot.h"
#include "node/persist/wal.h"
#include "node/serve/durable.h"
#include "node/serve/server.h"

#define DURABLE_AREA "durability"

struct durable_shard {
    struct history history;   /* as recovered; later the replication core has it */
    bool recovered;           /* it is there */
    bool wanted;              /* a snapshot */
    bool copied;              /* its data came as a copy: nothing is durable before a snapshot */
    uint64_t snapshot;        /* position; 0: there is none */
    uint64_t version;         /* of the last entry logged */
    bool touched;             /* on_progress is about to tell of it */
    uint64_t version_synced;  /* of the last one that the log has on disk */
    uint64_t version_durable; /* of the last one on disk */
    uint64_t reset;           /* position behind the WAL_RESET whose file is still to be removed */
};

/* An entry that is not yet durable: a queue in the order of the log. */
struct durable_pending {
    uint64_t position;
    uint64_t version;
    int shard;
};

struct durable {
    struct server *s;
    struct disk *disk;      /* <dir>/shoal-data; NULL: nothing is kept there */
    struct disk *dump_disk; /* <dir> */
    struct jobs *syncs;
    struct jobs *files;
    struct wal *wal;   /* NULL: appendonly no */
    uint64_t position; /* where there is no log: what snapshots are taken at */
    uint64_t hash_seed;
    char cluster_id[64];
    bool enabling;           /* the log was switched on, and is not whole on disk yet */
    bool off_failed;         /* it is to end, but that cannot be written down yet: said once */
    int64_t switch_retry_ms; /* and not tried before */
    uint64_t whole_at; /* enabling, all shards have their snapshot: whole when synced so far */
    bool logged_last;  /* the last process kept a log, all through */
    bool lost_nothing;
    int n_shards;
    struct durable_shard *shards;
    durable_fn *listener;
    bool refuses; /* told to the log */
    char refusal[160];

    struct durable_pending *pending; /* ring, a power of two */
    size_t pending_cap;
    size_t pending_first;
    size_t pending_n;

    /* snapshots and dumps */
    struct loop_timer step_timer;
    struct snapshot *snapshot;
    bool snapshot_void; /* its shard was discarded while its file was put in place */
    struct rdb_save *rdb;
    bool saving_all; /* all shards, asked for by a command or a save point */
    int64_t saving_since_ms;
    int64_t retry_ms; /* not before, after a failure */
    int64_t last_save_s;
    bool last_save_failed;
    uint64_t dirty_at_save; /* ks->stats.dirty when the last good one began */
    uint64_t dirty_at_begin;
    uint64_t applied_at_save; /* the same of ks->stats.applied */
    uint64_t applied_at_begin;
    int64_t last_took_s;
    uint64_t saves;
    uint64_t snapshots;
    uint64_t snapshot_failures;
    int64_t stall_us_max;    /* the longest slice */
    uint64_t boot;           /* of the machine; 0: not known */
    int64_t clock_us;        /* last told to the log */
    uint64_t clock_end;      /* where the log ended then */
    struct tails *tails;     /* of the log that was found; NULL: not needed any more */
    bool replaces_libraries; /* what a dump brings is no error where there is one already */
    uint64_t loaded_keys;    /* of the last dump.rdb */
    uint64_t loaded_expired;
    int64_t recovered_us;
    uint64_t recovered_keys;
    uint64_t recovered_entries;
};

uint64_t durable_nonce(struct durable *d);
/* The log's history of a held shard. */
const struct history *durable_history(const struct durable *d, int shard);

/* The folder's name, what is in it. */
int durable_write_meta(struct durable *d);
bool durable_open_folder(struct durable *d, struct errmsg *err);
bool durable_begin_log(struct durable *d, const struct recovered *r, struct errmsg *err);
/* No shard's snapshot is wanted any more. */
bool durable_any_wanted(const struct durable *d);

/* durable_clock.c */

/* Names this boot of the machine: only within it is its monotonic clock one clock. 0: not known. */
uint64_t durable_boot(void);
/* Into the log: what is in it before this has come by now. */
void durable_log_clock(struct durable *d);

/* durable_libraries.c */

#define DURABLE_LIBRARIES "libraries"
int durable_write_libraries(struct durable *d);
bool durable_read_libraries(struct durable *d, struct errmsg *err);

/* durable_switch.c */

/* The folder's files hold an older state than the dump that a node alone has saved since. */
bool durable_dump_is_newer(struct durable *d);
/* Removes log and snapshots. */
int durable_wipe(struct durable *d);
/* Follows CONFIG SET appendonly. */
void durable_switch(struct durable *d);
/* A log that was switched on: all shards have their snapshot; then, synced as far as they need. */
void durable_all_have_snapshots(struct durable *d);
void durable_whole_on_disk(struct durable *d);

/* durable_save.c */
void durable_saves_init(struct durable *d);
void durable_saves_fini(struct durable *d);
/* Ends what runs. */
void durable_saves_reset(struct durable *d);
/* What is wanted now is begun, if nothing runs. */
void durable_saves_tick(struct durable *d);
/* The snapshot of that shard that runs is void. True: its file may be in place, or come there yet:
 * it is to be removed like an older one. */
bool durable_saves_cancel(struct durable *d, int shard);
/* Snapshots of all shards that have data, here and now. An errno. */
int durable_snapshots_now(struct durable *d);
/* The log's port: removes a file of it, later. */
void durable_unlink(void *arg, const char *name);
/* Removes what of the log no shard needs any more. */
void durable_trim(struct durable *d);
/* Loads an RDB file into the held shards; false and err. */
bool durable_load_rdb(struct durable *d, const char *path, bool *found, struct errmsg *err);
