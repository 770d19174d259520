// SPDX-License-Identifier: BSD-3-Clause
/* Who waits on which key for a value to come (BLPOP and kin). A waiter asks once for all its keys;
 * per key those who asked first come first. Changes of keys only note that a key is worth a look;
 * whoever runs the commands then asks, after each command as a whole, who shall try again:
 *
 *     keyspace_changed -> blocked_touch -> ready keys, in the order in which they were touched
 *     blocked_next: the first waiter of the first ready key whose value is what it waits for, until
 *     all have tried
 *
 * The node's thread. Pure. */
#pragma once

#include "node/keyspace/db.h"

#include "common/base/list.h"

struct blocked;

/* Embedded in its owner. */
struct blocker {
    struct list keys; /* struct blocked_wait.of_blocker */
    size_t count;
    enum object_type type; /* that it waits for */
    bool on_removal;       /* a key that goes or gets another type is worth a try as well */
};

struct blocked *blocked_new(void);
void blocked_free(struct blocked **b);

void blocker_init(struct blocker *w);
/* Begins to wait. Naming a key twice is naming it once. */
void blocked_wait(struct blocker *w, const struct db *db, const struct slice *keys, size_t n,
                  enum object_type type, bool on_removal);
/* Waits no more. */
void blocked_end(struct blocker *w, struct keyspace *ks);
static inline bool blocker_waits(const struct blocker *w)
{
    return w->count > 0;
}
/* Its keys, one by one: false when there is no i-th. */
bool blocker_key(const struct blocker *w, size_t i, struct probe *p, struct slice *key);

/* Some key was touched since blocked_next said NULL. */
bool blocked_ready(const struct keyspace *ks);
/* The next waiter that should try again, or NULL. The caller tries, then blocked_ends it or leaves
 * it where it is; it is not given again until one of its keys is touched by somebody else. Keys of
 * shards that are not served here are left for later. */
struct blocker *blocked_next(struct keyspace *ks, int64_t now_ms);
/* It tried and goes on waiting: what it touched itself is no reason to try again. */
void blocked_tried(struct blocker *w);

/* ---- told by the keyspace ---- */

void blocked_touch(const struct db *db, const struct probe *p, struct slice key);
/* Whole databases (db < 0: all) in one shard or in KEYSPACE_SERVED. */
void blocked_touch_db(struct keyspace *ks, int db, int shard);
