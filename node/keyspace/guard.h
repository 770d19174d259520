// SPDX-License-Identifier: BSD-3-Clause
/* Who copies a shard while its keys change (snapshots, full copies) is told before each change, so
 * that it sees a key as it was. Costs one test of a flag where nobody copies. The node's thread.
 * Pure. */
#pragma once

#include "node/keyspace/db.h"

struct guard {
    struct list link; /* the shard's */
    int shard;        /* -1: not set */
    /* Before a key is changed, removed or added; `o` is as the table has it (expired or not), NULL
     * if there is none. Changes nothing in the keyspace. */
    void (*key)(void *arg, int db, const struct probe *p, struct slice key, struct object *o);
    /* Before a database (-1: all) of the shard is emptied. */
    void (*flush)(void *arg, int db);
    /* Before two databases of the shard change places: positions of walks mean nothing then. */
    void (*swap)(void *arg, int db_a, int db_b);
    /* Before the shard is dropped with all in it; the guard is not set any more. */
    void (*dropped)(void *arg);
    void *arg;
};

/* The shard is held. */
void guard_set(struct keyspace *ks, struct guard *g, int shard);
void guard_clear(struct keyspace *ks, struct guard *g);

/* ---- for this folder ---- */

void guards_tell(const struct db *db, const struct probe *p, struct slice key);
static inline void guard_key(const struct db *db, const struct probe *p, struct slice key)
{
    if (UNLIKELY(db->ks->guards_n != 0)) {
        guards_tell(db, p, key);
    }
}
void guards_flush(struct keyspace *ks, int shard, int db);
void guards_swap(struct keyspace *ks, int shard, int db_a, int db_b);
void guards_dropped(struct keyspace *ks, int shard);
