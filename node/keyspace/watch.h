// SPDX-License-Identifier: BSD-3-Clause
/* WATCH: who must learn that a key changed before EXEC. A watcher belongs to a session; it turns
 * dirty once and stays so until watch_clear. The node's thread. Pure. */
#pragma once

#include "node/keyspace/db.h"

#include "common/base/list.h"

struct watches;

struct watcher {
    struct list keys; /* struct watched.of_watcher */
    size_t count;
    bool dirty;
};

struct watches *watches_new(void);
void watches_free(struct watches **w);

void watcher_init(struct watcher *w);
/* Watching a key twice is watching it once. */
void watch_key(struct watcher *w, const struct db *db, const struct probe *p, struct slice key);
void watch_clear(struct watcher *w, struct keyspace *ks);
/* Dirty, or a watched key has expired since, even if nobody has noticed yet. */
bool watch_is_dirty(const struct watcher *w, struct keyspace *ks, int64_t now_ms);

/* Told by effect.c and keyspace.c. */
void watch_touch(const struct db *db, const struct probe *p, struct slice key);
/* Before a database is emptied (with < 0) or takes the content of database `with`, in one shard or
 * in KEYSPACE_SERVED. */
void watch_touch_db(struct keyspace *ks, int db, int with, int shard, int64_t now_ms);
void watch_touch_shard(struct keyspace *ks, int shard);
size_t watches_count(const struct keyspace *ks); /* keys watched by anyone */
