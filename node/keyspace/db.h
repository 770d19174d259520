// SPDX-License-Identifier: BSD-3-Clause
/* One database as commands see it: find, put, remove, expire; and the one place where a change is
 * told on (effect.h). Expired keys are never found. The node's thread. Pure. */
#pragma once

#include "node/keyspace/keyspace.h"

/* The database of a command and its time. */
struct db {
    struct keyspace *ks;
    int index;
    int64_t now_ms;
};

/* For commands that read: counts hit or miss and moves the access clock. NULL: no such key. */
struct object *db_read(struct db db, const struct probe *p, struct slice key);
/* For commands that write: neither. */
struct object *db_find(struct db db, const struct probe *p, struct slice key);
/* For commands that only ask (TTL, OBJECT, EXISTS of TOUCH's kind): no clock, no hit or miss. */
struct object *db_peek(struct db db, const struct probe *p, struct slice key);

/* Takes `o`. The key must not be there. */
void db_add(struct db db, const struct probe *p, struct object *o);
/* Takes `o`, in the place of `old`, which the table holds and which is freed. */
void db_replace(struct db db, const struct probe *p, struct object *old, struct object *o);
/* `o` changed its size or address in the caller's hands: its table must know. `size_before` is its
 * object_memory() from before. */
void db_resized(struct db db, const struct probe *p, const struct object *was, struct object *now,
                size_t size_before);
/* Removes and frees (in slices when `lazily` and big). */
void db_remove(struct db db, const struct probe *p, struct object *o, bool lazily);
/* Removes and hands over. */
struct object *db_take(struct db db, const struct probe *p, struct object *o);

/* Sets or (OBJECT_NO_EXPIRE) clears; returns the object, which may have moved. */
struct object *db_set_expire(struct db db, const struct probe *p, struct object *o, int64_t at_ms);

/* SET in the fewest steps: finds, overwrites in place where the size allows. `old` may be NULL. The
 * clock starts anew. at_ms: OBJECT_NO_EXPIRE clears. */
void db_set_string(struct db db, const struct probe *p, struct slice key, struct object *old,
                   struct slice value, int64_t at_ms);
