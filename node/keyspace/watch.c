// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/watch.h"

#include "node/keyspace/table.h"

#include "common/base/hmap.h"
#include "common/base/mem.h"

/* A key that someone watches. */
struct watched_key {
    struct hmap_node node;
    int db;
    struct probe probe;
    struct list watchers; /* struct watched.of_key */
    size_t len;
    char bytes[];
};

/* That one watcher watches it. */
struct watched {
    struct list of_watcher;
    struct list of_key;
    struct watcher *watcher;
    struct watched_key *key;
    bool expired; /* the key was there and over already: its removal is no change */
};

struct watches {
    struct hmap keys;
};

struct watches *watches_new(void)
{
    return mem_zalloc(sizeof(struct watches));
}

void watches_free(struct watches **w)
{
    if (*w != NULL) {
        INVARIANT((*w)->keys.count == 0);
        hmap_fini(&(*w)->keys);
        mem_free(*w);
        *w = NULL;
    }
}

size_t watches_count(const struct keyspace *ks)
{
    return ks->watches->keys.count;
}

void watcher_init(struct watcher *w)
{
    *w = (struct watcher){0};
    list_init(&w->keys);
}

static inline struct slice key_of(const struct watched_key *k)
{
    return slice_of(k->bytes, k->len);
}

static uint64_t hash_in_db(const struct probe *p, int db)
{
    return p->hash + (uint64_t)db * 0x9E3779B97F4A7C15ULL;
}

static struct watched_key *find_key(const struct keyspace *ks, int db, const struct probe *p,
                                    struct slice key)
{
    for (struct hmap_node *n = hmap_first(&ks->watches->keys, hash_in_db(p, db)); n != NULL;
         n = hmap_same(n)) {
        struct watched_key *k = container_of(n, struct watched_key, node);
        if (k->db == db && slice_eq(key_of(k), key)) {
            return k;
        }
    }
    return NULL;
}

/* The object as the table has it, expired or not. */
static struct object *held(const struct keyspace *ks, int db, const struct watched_key *k)
{
    struct table **tables = ks->dbs[db].tables;
    struct table *t = tables == NULL ? NULL : tables[k->probe.shard];
    return t == NULL ? NULL : table_find(t, k->probe.hash, key_of(k));
}

static bool is_over(const struct keyspace *ks, int db, const struct watched_key *k, int64_t now_ms)
{
    const struct object *o = held(ks, db, k);
    return o != NULL && object_expired(o, now_ms);
}

void watch_key(struct watcher *w, const struct db *db, const struct probe *p, struct slice key)
{
    struct watched_key *k = find_key(db->ks, db->index, p, key);
    if (k == NULL) {
        k = mem_alloc(sizeof(*k) + key.len);
        *k = (struct watched_key){.db = db->index, .probe = *p, .len = key.len};
        memcpy(k->bytes, key.ptr, key.len);
        list_init(&k->watchers);
        hmap_insert(&db->ks->watches->keys, &k->node, hash_in_db(p, db->index));
    }
    LIST_FOREACH(it, &k->watchers) {
        if (container_of(it, struct watched, of_key)->watcher == w) {
            return;
        }
    }
    struct watched *watched = mem_alloc(sizeof(*watched));
    *watched = (struct watched){
        .watcher = w, .key = k, .expired = is_over(db->ks, db->index, k, db->now_ms)};
    list_append(&k->watchers, &watched->of_key);
    list_append(&w->keys, &watched->of_watcher);
    w->count++;
}

void watch_clear(struct watcher *w, struct keyspace *ks)
{
    LIST_FOREACH_SAFE(it, &w->keys) {
        struct watched *watched = container_of(it, struct watched, of_watcher);
        list_remove(&watched->of_key);
        if (list_empty(&watched->key->watchers)) {
            hmap_remove(&ks->watches->keys, &watched->key->node);
            mem_free(watched->key);
        }
        mem_free(watched);
    }
    watcher_init(w);
}

bool watch_is_dirty(const struct watcher *w, struct keyspace *ks, int64_t now_ms)
{
    if (w->dirty) {
        return true;
    }
    LIST_FOREACH(it, &w->keys) {
        const struct watched *watched = container_of(it, struct watched, of_watcher);
        if (!watched->expired && is_over(ks, watched->key->db, watched->key, now_ms)) {
            return true;
        }
    }
    return false;
}

void watch_touch(const struct db *db, const struct probe *p, struct slice key)
{
    if (LIKELY(db->ks->watches->keys.count == 0)) {
        return;
    }
    struct watched_key *k = find_key(db->ks, db->index, p, key);
    if (k == NULL) {
        return;
    }
    bool gone = held(db->ks, db->index, k) == NULL;
    LIST_FOREACH(it, &k->watchers) {
        struct watched *watched = container_of(it, struct watched, of_key);
        if (watched->expired && gone) {
            watched->expired = false; /* over then, gone now: the same to whoever looks */
        } else {
            watched->watcher->dirty = true;
        }
    }
}

/* What becomes of one key when the content of its database is replaced by that of `with`. */
static void touch_replaced(struct keyspace *ks, struct watched_key *k, int with, int64_t now_ms)
{
    bool was = held(ks, k->db, k) != NULL;
    bool comes = with >= 0 && held(ks, with, k) != NULL;
    bool comes_over = comes && is_over(ks, with, k, now_ms);
    if (!was && !comes) {
        return;
    }
    LIST_FOREACH(it, &k->watchers) {
        struct watched *watched = container_of(it, struct watched, of_key);
        if (watched->expired && !comes) {
            watched->expired = false;
        } else if (watched->expired && comes_over) {
            continue;
        } else if (!watched->expired && !was && comes_over) {
            watched->expired = true;
        } else {
            watched->watcher->dirty = true;
        }
    }
}

void watch_touch_db(struct keyspace *ks, int db, int with, int shard, int64_t now_ms)
{
    HMAP_FOREACH(n, &ks->watches->keys) {
        struct watched_key *k = container_of(n, struct watched_key, node);
        int in = (int)k->probe.shard;
        if (k->db == db && (shard == KEYSPACE_SERVED ? keyspace_serves(ks, in) : in == shard)) {
            touch_replaced(ks, k, with, now_ms);
        }
    }
}

void watch_touch_shard(struct keyspace *ks, int shard)
{
    HMAP_FOREACH(n, &ks->watches->keys) {
        struct watched_key *k = container_of(n, struct watched_key, node);
        if (k->probe.shard == (uint32_t)shard) {
            LIST_FOREACH(it, &k->watchers) {
                container_of(it, struct watched, of_key)->watcher->dirty = true;
            }
        }
    }
}
