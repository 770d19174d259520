// SPDX-License-Identifier: BSD-3-Clause
/* Hashes: field, value, field, value in one listpack while they are few and short, else a table of
 * members. A hash never goes back to a listpack. Pure.
 *
 *   entry of the table   | field as members.h has names | u8 length, 255: u64 behind | value | */
#pragma once

#include "node/types/listpack.h"
#include "node/types/object.h"

#include "common/base/rng.h"
#include "common/base/str.h"

extern const struct object_ops hash_ops;

/* Empty: to be filled before anybody sees it. */
struct object *hash_new(struct slice key, int64_t expire_ms);
size_t hash_length(const struct object *o);
bool hash_is_table(const struct object *o);

/* The value, inside the hash; false: there is no such field. */
bool hash_get(const struct object *o, struct slice field, struct listpack_value *value) MUSTCHECK;
/* False: the field was there, and has another value now. The slices are not in the hash itself. */
bool hash_set(struct object *o, struct slice field, struct slice value);
/* False: it was not there. The last one leaves an empty hash. */
bool hash_delete(struct object *o, struct slice field);

/* A field and its value, or the place of one. */
struct hash_pair {
    struct listpack_value field;
    struct listpack_value value;
    const void *place;
};
/* What stands at such a place, while nothing changes. */
struct hash_pair hash_at(const struct object *o, const void *place);

/* All of them; nothing changes meanwhile. {0} begins. */
struct hash_walk {
    bool begun;
    const unsigned char *p;
    uint64_t segment;
    uint32_t slot;
};
bool hash_next(const struct object *o, struct hash_walk *w, struct hash_pair *out) MUSTCHECK;
/* Any, each as likely. */
struct hash_pair hash_random(const struct object *o, struct rng *rng);
/* One step of HSCAN, as members_scan; of a listpack all at once. */
typedef void hash_visit_fn(void *arg, const struct hash_pair *pair);
uint64_t hash_scan(const struct object *o, uint64_t cursor, hash_visit_fn *visit, void *arg);

/* Forms of files. NULL: malformed, a field twice, or empty. */
struct object *hash_read_strings(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch) MUSTCHECK;
struct object *hash_read_zipmap(struct slice *in, struct slice key, int64_t expire_ms,
                                struct str *scratch) MUSTCHECK;
struct object *hash_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch) MUSTCHECK;
struct object *hash_read_listpack(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch) MUSTCHECK;
