// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/blocked.h"

#include "common/base/hmap.h"
#include "common/base/mem.h"

/* A key that someone waits on. */
struct blocked_key {
    struct hmap_node node;
    struct list ready; /* blocked.ready while it is worth a look */
    uint64_t mark;     /* of its last touch */
    int db;
    struct probe probe;
    struct list waits; /* struct blocked_wait.of_key, who asked first in front */
    size_t len;
    char bytes[];
};

/* That one waiter waits on it. */
struct blocked_wait {
    struct list of_blocker;
    struct list of_key;
    struct blocker *blocker;
    struct blocked_key *key;
    uint64_t tried; /* the key's mark when it tried last */
};

struct blocked {
    struct hmap keys;
    struct list ready; /* struct blocked_key.ready */
    uint64_t marks;
};

struct blocked *blocked_new(void)
{
    struct blocked *b = mem_zalloc(sizeof(*b));
    list_init(&b->ready);
    return b;
}

void blocked_free(struct blocked **b)
{
    if (*b != NULL) {
        INVARIANT((*b)->keys.count == 0);
        hmap_fini(&(*b)->keys);
        mem_free(*b);
        *b = NULL;
    }
}

void blocker_init(struct blocker *w)
{
    *w = (struct blocker){0};
    list_init(&w->keys);
}

static struct slice key_of(const struct blocked_key *k)
{
    return slice_of(k->bytes, k->len);
}

static uint64_t hash_in_db(const struct probe *p, int db)
{
    return p->hash + (uint64_t)db * 0x9E3779B97F4A7C15ULL;
}

static struct blocked_key *find_key(const struct blocked *b, int db, const struct probe *p,
                                    struct slice key)
{
    for (struct hmap_node *n = hmap_first(&b->keys, hash_in_db(p, db)); n != NULL;
         n = hmap_same(n)) {
        struct blocked_key *k = container_of(n, struct blocked_key, node);
        if (k->db == db && slice_eq(key_of(k), key)) {
            return k;
        }
    }
    return NULL;
}

static void wait_on(struct blocker *w, const struct db *db, struct slice key)
{
    struct blocked *b = db->ks->blocked;
    struct probe p = keyspace_probe_key(db->ks, key);
    struct blocked_key *k = find_key(b, db->index, &p, key);
    if (k == NULL) {
        k = mem_alloc(sizeof(*k) + key.len);
        *k = (struct blocked_key){.db = db->index, .probe = p, .len = key.len};
        memcpy(k->bytes, key.ptr, key.len);
        list_init(&k->waits);
        list_init(&k->ready);
        hmap_insert(&b->keys, &k->node, hash_in_db(&p, db->index));
        db->ks->blocked_keys++;
    } else if (!list_empty(&k->waits) &&
               container_of(k->waits.prev, struct blocked_wait, of_key)->blocker == w) {
        return; /* who asks now is the last one */
    }
    struct blocked_wait *wait = mem_alloc(sizeof(*wait));
    *wait = (struct blocked_wait){.blocker = w, .key = k, .tried = k->mark};
    list_append(&k->waits, &wait->of_key);
    list_append(&w->keys, &wait->of_blocker);
    w->count++;
}

void blocked_wait(struct blocker *w, const struct db *db, const struct slice *keys, size_t n,
                  enum object_type type, bool on_removal)
{
    INVARIANT(w->count == 0);
    w->type = type;
    w->on_removal = on_removal;
    for (size_t i = 0; i < n; i++) {
        wait_on(w, db, keys[i]);
    }
}

void blocked_end(struct blocker *w, struct keyspace *ks)
{
    LIST_FOREACH_SAFE(it, &w->keys) {
        struct blocked_wait *wait = container_of(it, struct blocked_wait, of_blocker);
        struct blocked_key *k = wait->key;
        list_remove(&wait->of_key);
        if (list_empty(&k->waits)) {
            hmap_remove(&ks->blocked->keys, &k->node);
            ks->blocked_keys--;
            list_remove(&k->ready);
            mem_free(k);
        }
        mem_free(wait);
    }
    blocker_init(w);
}

bool blocker_key(const struct blocker *w, size_t i, struct probe *p, struct slice *key)
{
    LIST_FOREACH(it, &w->keys) {
        if (i-- == 0) {
            const struct blocked_key *k = container_of(it, struct blocked_wait, of_blocker)->key;
            *p = k->probe;
            *key = key_of(k);
            return true;
        }
    }
    return false;
}

/* ---- trying again ---- */

bool blocked_ready(const struct keyspace *ks)
{
    return !list_empty(&ks->blocked->ready);
}

static bool gives(const struct object *o, const struct blocker *w)
{
    return w->on_removal || (o != NULL && o->type == w->type);
}

/* The first who has not tried since the key was touched last. */
static struct blocked_wait *next_of(const struct blocked_key *k, const struct object *o)
{
    LIST_FOREACH(it, &k->waits) {
        struct blocked_wait *wait = container_of(it, struct blocked_wait, of_key);
        if (wait->tried < k->mark && gives(o, wait->blocker)) {
            return wait;
        }
    }
    return NULL;
}

struct blocker *blocked_next(struct keyspace *ks, int64_t now_ms)
{
    struct blocked *b = ks->blocked;
    while (!list_empty(&b->ready)) {
        struct blocked_key *k = container_of(b->ready.next, struct blocked_key, ready);
        struct blocked_wait *wait = NULL;
        if (keyspace_serves(ks, (int)k->probe.shard)) {
            const struct db db = {.ks = ks, .now_ms = now_ms, .index = k->db, .no_touch = true};
            wait = next_of(k, db_peek(&db, &k->probe, key_of(k)));
        }
        if (wait != NULL) {
            wait->tried = k->mark;
            return wait->blocker;
        }
        list_remove(&k->ready);
    }
    return NULL;
}

void blocked_tried(struct blocker *w)
{
    LIST_FOREACH(it, &w->keys) {
        struct blocked_wait *wait = container_of(it, struct blocked_wait, of_blocker);
        wait->tried = wait->key->mark;
    }
}

/* ---- told by the keyspace ---- */

static void touch(struct blocked *b, struct blocked_key *k)
{
    k->mark = ++b->marks;
    if (list_empty(&k->ready)) {
        list_append(&b->ready, &k->ready);
    }
}

void blocked_touch(const struct db *db, const struct probe *p, struct slice key)
{
    struct blocked_key *k = find_key(db->ks->blocked, db->index, p, key);
    if (k != NULL) {
        touch(db->ks->blocked, k);
    }
}

void blocked_touch_db(struct keyspace *ks, int db, int shard)
{
    HMAP_FOREACH(n, &ks->blocked->keys) {
        struct blocked_key *k = container_of(n, struct blocked_key, node);
        int in = (int)k->probe.shard;
        if ((db < 0 || k->db == db) &&
            (shard == KEYSPACE_SERVED ? keyspace_serves(ks, in) : in == shard)) {
            touch(ks->blocked, k);
        }
    }
}
