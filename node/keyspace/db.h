// SPDX-License-Identifier: BSD-3-Clause
/* One database as commands see it: find, put, remove, expire; and the one place where a change is
 * told on (effect.h). Expired keys are never found. The node's thread. Pure. */
#pragma once

#include "node/keyspace/keyspace.h"

/* The database of a command and its time. */
struct db {
    struct keyspace *ks;
    int64_t now_ms;
    int index;
    bool no_touch; /* leave the access clocks alone */
    /* Runs an entry's effects: what has expired is still there until the DEL comes, and nothing
     * is told on to the log. */
    bool applying;
};

/* Whether a key whose time is over may be removed here; else it is only hidden. */
static inline bool db_may_expire(const struct db *db, const struct probe *p)
{
    return db->ks->settings.expires_keys && !db->ks->shards[p->shard]->passive;
}

/* For commands that read: counts hit or miss and moves the access clock. NULL: no such key. An
 * expired key is removed on the way, where this node may. */
struct object *db_read(const struct db *db, const struct probe *p, struct slice key);
/* For commands that write: the clock, no hit or miss. */
struct object *db_find(const struct db *db, const struct probe *p, struct slice key);
/* For commands that only ask about it (TTL, TYPE, OBJECT): hit or miss, no clock. */
struct object *db_look(const struct db *db, const struct probe *p, struct slice key);
/* Neither. */
struct object *db_peek(const struct db *db, const struct probe *p, struct slice key);

/* A key is in a shard that is not served here, and its time is over. Costs next to nothing while no
 * key of its table is due. */
bool db_hides(const struct db *db, int slot, struct slice key);

bool object_expired(const struct object *o, int64_t now_ms);

/* The object as the table has it, expired or not. */
struct object *db_raw(const struct db *db, const struct probe *p, struct slice key);

/* Before an object is changed in its place: whoever copies the shard must see it as it was. The
 * functions below do this themselves. */
void db_before(const struct db *db, const struct probe *p, struct slice key);

/* Takes `o`. The key must not be there; the shard must be held. */
void db_add(const struct db *db, const struct probe *p, struct object *o);
/* Takes `o`, in the place of `old`, which the table holds and which is freed. */
void db_replace(const struct db *db, const struct probe *p, struct object *old, struct object *o);
/* Behind db_before and a change of an object in the caller's hands, which may have moved it: `was`
 * is table_entry_of() from before. */
struct table_entry;
void db_changed(const struct db *db, const struct probe *p, const struct table_entry *was,
                struct object *now);
/* A value that changes in its place, other than strings: lists, hashes... Begin tells who copies
 * the shard, so it comes before the first change; end accounts memory, tells of the change, and
 * removes the key if nothing is left in it (but a stream). Between them nothing else of `db` is
 * called. */
struct db_edit {
    struct object *o;
    size_t memory; /* before */
};
void db_edit_begin(const struct db *db, const struct probe *p, struct object *o, struct db_edit *e);
/* `changed`: the value is another now, not only otherwise encoded. True: the key is gone. */
bool db_edit_end(const struct db *db, const struct probe *p, struct db_edit *e, bool changed);

/* Removes and frees (in slices when `lazily` and big). */
void db_remove(const struct db *db, const struct probe *p, struct object *o, bool lazily);
/* Removes and hands over. */
struct object *db_take(const struct db *db, const struct probe *p, struct object *o);

/* Sets or (OBJECT_NO_EXPIRE) clears; returns the object, which may have moved. */
struct object *db_set_expire(const struct db *db, const struct probe *p, struct object *o,
                             int64_t at_ms);

/* SET in the fewest steps: overwrites `old` (NULL: not there) in place where the size allows. The
 * clock starts anew. OBJECT_NO_EXPIRE clears an expiry. */
void db_set_string(const struct db *db, const struct probe *p, struct slice key, struct object *old,
                   struct slice value, int64_t at_ms);

/* OBJECT IDLETIME in seconds, OBJECT FREQ. */
int64_t db_idle_s(const struct db *db, const struct object *o);
unsigned db_frequency(const struct db *db, const struct object *o);
