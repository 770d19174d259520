// SPDX-License-Identifier: BSD-3-Clause
/* What every type tells object.c and rdb.c about its values. Strings have functions of their own,
 * called directly: they are the hot path. The value of any other type is one pointer inside the
 * object (object_root) to what the type's own file hides.
 *
 * Adding a type: its x.h declares `extern const struct object_ops x_ops`, object.c's table names
 * it, rdb.c's table gets a row for each of its forms in files. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/str.h"

struct portrait;

struct object_ops {
    /* What lies outside the object's own allocation. `memory` in size classes of the allocator,
     * exact, and without a walk: it is asked before and after every change. */
    void (*free_value)(struct object *o);
    /* Frees about `budget` elements of a value that is about to go; *freed grows by how many.
     * False: the rest is little, free_value does it. Between, nothing else is asked of it. NULL:
     * every value is freed at once. */
    bool (*free_some)(struct object *o, uint64_t budget, uint64_t *freed);
    size_t (*memory)(const struct object *o);
    size_t (*length)(const struct object *o);      /* elements; 0: the key is to go */
    size_t (*free_effort)(const struct object *o); /* allocations, about */
    /* A deep copy of the value for `to`, whose encoding and root are not set yet. */
    void (*copy_value)(const struct object *o, struct object *to);
    const char *(*encoding_name)(const struct object *o);
    /* Mixes all elements into *d (digest_mix): the same for the same value, whatever encoding it
     * has and, where the type has no order, in whatever order it keeps them. */
    void (*digest)(const struct object *o, struct digest *d);
    /* Type byte of this value in a file, and what stands behind it. */
    unsigned (*rdb_type)(const struct object *o);
    void (*rdb_write)(struct str *to, const struct object *o, bool compress);
    /* Where a value has its portraits (portrait.h). NULL, or gives NULL: it cannot be portrayed. */
    struct portrait **(*portraits)(const struct object *o);
    void (*portray)(const struct object *o, struct portrait *p);
    /* For draft.h, in the forms that portraits have: an empty value for n elements, to be filled
     * before anybody sees it, and the next one of them (a list's are its nodes). */
    struct object *(*draft_begin)(struct slice key, int64_t expire_ms, uint64_t n);
    bool (*draft_read)(struct object *o, uint64_t n, struct slice *in, struct str scratch[2]);
};

extern const struct object_ops *const object_types[]; /* by enum object_type; NULL: not yet */

/* For a type's own file. */
static inline void *object_root(const struct object *o)
{
    void *root;
    memcpy(&root, object_value_const(o), sizeof(root));
    return root;
}
static inline void object_set_root(struct object *o, const void *root)
{
    memcpy(object_value(o), &root, sizeof(root));
}
/* An object with room for the root. */
struct object *object_new_rooted(enum object_type type, unsigned encoding, struct slice key,
                                 int64_t expire_ms, const void *root);

/* Goes on with the hash in *d. */
void digest_mix(struct digest *d, const void *ptr, size_t len);
