// SPDX-License-Identifier: BSD-3-Clause
/* A shard's keys one after the other, in the order of database and hash, a slice at a time, while
 * commands go on between the slices: for snapshots and copies. A key that is there all the time is
 * visited once; places mean the same whatever grew or shrank in between, but not when databases
 * are swapped (guard.h tells). The node's thread. Pure. */
#pragma once

#include "node/keyspace/db.h"

/* All keys of databases before `db`, and those in it with a lower hash, are behind it. Zeroed: the
 * begin. */
struct walk_place {
    int db;
    uint64_t hash; /* as probe.hash */
};

static inline bool walk_passed(const struct walk_place *at, int db, uint64_t hash)
{
    return db < at->db || (db == at->db && hash < at->hash);
}

/* Expired keys, too. Returns how much work it was, in bytes; changes nothing. */
typedef size_t walk_fn(void *arg, int db, uint64_t hash, struct object *o);

/* Visits keys from *at on until their work adds up to `budget`, but at least one place where there
 * may be keys; *at goes on. A key counts for WALK_KEY_WORK at least. False: that was the last. */
#define WALK_KEY_WORK 64
bool walk_step(struct keyspace *ks, int shard, struct walk_place *at, size_t budget, walk_fn *visit,
               void *arg) MUSTCHECK;
