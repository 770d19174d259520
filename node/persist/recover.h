// SPDX-License-Identifier: BSD-3-Clause
/* What a node finds on its disk when it starts: the newest snapshot of each shard, then the log
 * behind it.
 *
 * A shard comes back GOOD only if nothing of it can be missing but the tail that was not synced:
 * its snapshot is whole, the log reaches back to it, every entry of it follows the one before and
 * applies. Otherwise it is DAMAGED and empty, and the reason is told; VOID: it had been dropped, or
 * was being copied, when the node ended. Pure. */
#pragma once

#include "node/cmd/apply.h"
#include "node/log/history.h"
#include "node/persist/tails.h"
#include "node/persist/wal_read.h"

enum recover_state { RECOVER_NONE, RECOVER_GOOD, RECOVER_VOID, RECOVER_DAMAGED };

struct recover_shard {
    enum recover_state state;
    struct history history;
    uint64_t snapshot; /* position in the log; 0: there is no snapshot */
    uint64_t snapshot_version;
    int64_t snapshot_ms; /* wall clock */
};

struct recovered {
    int n_shards; /* 0: nothing was there */
    struct recover_shard *shards;
    struct wal_found log;
    uint64_t position; /* where the log goes on */
    uint64_t keys;     /* from snapshots */
    uint64_t entries;  /* applied */
    int damaged;       /* shards */
    char why[256];     /* the first damage */
};

/* How many shards the data in there is of; 0: there is none. 0, or an errno. */
int recover_shards(struct disk *disk, int *n_shards, struct errmsg *err);

/* Fills `ks`, which has no shard yet and out->n_shards of them: those that were found GOOD are held
 * afterwards. `keep_damaged`: what could be read of a damaged shard is kept too, and its state
 * stays DAMAGED. `tails`: gets the log's last entries; may be NULL. 0, or an errno: the disk
 * failed. recovered_fini in any case. */
int recover_run(struct disk *disk, struct keyspace *ks, const struct call_table *table,
                uint64_t hash_check, bool keep_damaged, struct tails *tails, struct recovered *out);
void recovered_fini(struct recovered *r);
