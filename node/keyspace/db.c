// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/db.h"

#include "node/keyspace/clock.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/guard.h"
#include "node/keyspace/lazyfree.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"
#include "node/types/string.h"

static inline struct table *table_of(const struct db *db, const struct probe *p)
{
    struct table **tables = db->ks->dbs[db->index].tables;
    return tables == NULL ? NULL : tables[p->shard];
}

bool object_expired(const struct object *o, int64_t now_ms)
{
    int64_t at = object_expire(o);
    return at != OBJECT_NO_EXPIRE && now_ms > at;
}

void db_before(const struct db *db, const struct probe *p, struct slice key)
{
    guard_key(db, p, key);
}

/* Copies of another node's keys are counted apart: each of their values goes once. */
static void let_go(const struct db *db, const struct probe *p, struct object *o, bool lazily)
{
    struct keyspace *ks = db->ks;
    const struct shard *shard = ks->shards[p->shard];
    uint64_t before = ks->stats.lazyfree_pending;
    lazyfree_object(ks, o, lazily);
    if (shard != NULL && shard->passive) {
        ks->stats.lazyfreed_copies += ks->stats.lazyfree_pending - before;
    }
}

static __attribute__((noinline)) void expire(const struct db *db, const struct probe *p,
                                             struct table *t, struct object *o)
{
    guard_key(db, p, object_key(o));
    table_take(t, p->hash, o);
    keyspace_expired(db, p, object_key(o));
    let_go(db, p, o, db->ks->settings.lazy_expire);
}

/* Everything begins here. */
__attribute__((flatten)) struct object *db_peek(const struct db *db, const struct probe *p,
                                                struct slice key)
{
    struct table *t = table_of(db, p);
    struct object *o = t == NULL ? NULL : table_find(t, p->hash, key);
    if (o != NULL && UNLIKELY(object_expired(o, db->now_ms)) && !db->applying) {
        if (db_may_expire(db, p)) {
            expire(db, p, t, o);
        }
        return NULL;
    }
    return o;
}

struct object *db_raw(const struct db *db, const struct probe *p, struct slice key)
{
    struct table *t = table_of(db, p);
    return t == NULL ? NULL : table_find(t, p->hash, key);
}

struct object *db_find(const struct db *db, const struct probe *p, struct slice key)
{
    struct object *o = db_peek(db, p, key);
    if (o != NULL && !db->no_touch) {
        clock_touch(db->ks, o, db->now_ms);
    }
    return o;
}

static inline struct object *counted(const struct db *db, struct object *o, struct slice key)
{
    if (o != NULL) {
        db->ks->stats.hits++;
    } else {
        db->ks->stats.misses++;
        notify(db, NOTIFY_KEY_MISS, "keymiss", key);
    }
    return o;
}

struct object *db_read(const struct db *db, const struct probe *p, struct slice key)
{
    return counted(db, db_find(db, p, key), key);
}

struct object *db_look(const struct db *db, const struct probe *p, struct slice key)
{
    return counted(db, db_peek(db, p, key), key);
}

bool db_hides(const struct db *db, int slot, struct slice key)
{
    int shard = keyspace_shard_of(db->ks, slot);
    struct table **tables = db->ks->dbs[db->index].tables;
    const struct table *t = tables == NULL ? NULL : tables[shard];
    if (t == NULL || table_expire_min(t) >= db->now_ms || !db->ks->shards[shard]->passive) {
        return false;
    }
    struct probe p = keyspace_probe(db->ks, slot, key);
    const struct object *o = db_raw(db, &p, key);
    return o != NULL && object_expired(o, db->now_ms);
}

/* While nothing expires, the key may be there all the same: over, and hidden. */
static void expire_hidden(const struct db *db, const struct probe *p, struct slice key)
{
    struct object *o = db_raw(db, p, key);
    if (o != NULL) {
        INVARIANT(object_expired(o, db->now_ms));
        expire(db, p, table_of(db, p), o);
    }
}

void db_add(const struct db *db, const struct probe *p, struct object *o)
{
    if (UNLIKELY(!db->ks->settings.expires_keys) && !db->applying) {
        expire_hidden(db, p, object_key(o));
    }
    if (o->clock == 0) { /* renamed and moved ones keep theirs */
        clock_start(db->ks, o, db->now_ms);
    }
    guard_key(db, p, object_key(o));
    table_add(keyspace_table(db->ks, db->index, p->shard), p->hash, o);
    keyspace_changed(db, p, object_key(o));
    notify(db, NOTIFY_NEW, "new", object_key(o));
}

void db_changed(const struct db *db, const struct probe *p, const struct table_entry *was,
                struct object *now)
{
    table_changed(table_of(db, p), p->hash, *was, now);
    keyspace_changed(db, p, object_key(now));
}

void db_replace(const struct db *db, const struct probe *p, struct object *old, struct object *o)
{
    struct table_entry was = table_entry_of(old);
    guard_key(db, p, object_key(old));
    clock_start(db->ks, o, db->now_ms);
    db_changed(db, p, &was, o);
    let_go(db, p, old, db->ks->settings.lazy_server_del);
}

struct object *db_take(const struct db *db, const struct probe *p, struct object *o)
{
    guard_key(db, p, object_key(o));
    table_take(table_of(db, p), p->hash, o);
    keyspace_changed(db, p, object_key(o));
    return o;
}

void db_remove(const struct db *db, const struct probe *p, struct object *o, bool lazily)
{
    let_go(db, p, db_take(db, p, o), lazily);
}

struct object *db_set_expire(const struct db *db, const struct probe *p, struct object *o,
                             int64_t at_ms)
{
    struct table_entry was = table_entry_of(o);
    guard_key(db, p, object_key(o));
    if (o->expire_room) {
        object_set_expire(o, at_ms);
    } else if (at_ms != OBJECT_NO_EXPIRE) {
        o = object_rekey(o, object_key(o), at_ms);
    }
    db_changed(db, p, &was, o);
    return o;
}

void db_set_string(const struct db *db, const struct probe *p, struct slice key, struct object *old,
                   struct slice value, int64_t at_ms)
{
    if (old == NULL) {
        db_add(db, p, string_new(key, at_ms, value));
        return;
    }
    struct table_entry was = table_entry_of(old);
    guard_key(db, p, key);
    if (string_overwrite(old, at_ms, value)) {
        clock_start(db->ks, old, db->now_ms);
        db_changed(db, p, &was, old);
    } else {
        db_replace(db, p, old, string_new(key, at_ms, value));
    }
}

void db_edit_begin(const struct db *db, const struct probe *p, struct object *o, struct db_edit *e)
{
    guard_key(db, p, object_key(o));
    *e = (struct db_edit){.o = o, .memory = object_memory(o)};
}

bool db_edit_end(const struct db *db, const struct probe *p, struct db_edit *e, bool changed)
{
    struct object *o = e->o;
    struct table_entry was = table_entry_of(o);
    was.memory = e->memory;
    table_changed(table_of(db, p), p->hash, was, o);
    if (!changed) {
        return false;
    }
    if (object_length(o) == 0 && o->type != OBJECT_STREAM) {
        table_take(table_of(db, p), p->hash, o);
        keyspace_changed(db, p, object_key(o));
        object_free(&o);
        return true;
    }
    keyspace_changed(db, p, object_key(o));
    return false;
}

int64_t db_idle_s(const struct db *db, const struct object *o)
{
    return clock_idle_s(o, db->now_ms);
}

unsigned db_frequency(const struct db *db, const struct object *o)
{
    return clock_frequency(db->ks, o, db->now_ms);
}
