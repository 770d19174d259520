// SPDX-License-Identifier: BSD-3-Clause
/* An ordered map from ids of stream entries to values of one size: a B+-tree. Ids mostly come at
 * its end and go from its beginning; nodes that fill up there stay full, and nodes take only the
 * room that their entries need, so that ten ids cost little more than their bytes.
 *
 * Owned by a stream. A pointer to a value, and a position, are valid until the next change.
 * `memory` is a counter of the owner's: bytes in size classes, kept exact by every change. Pure. */
#pragma once

#include "node/types/stream_id.h"

#include "common/base/obj.h"

#define ID_TREE_DEPTH 12

struct id_node;

struct id_tree {
    struct id_node *root; /* NULL: empty */
    uint64_t count;
    uint32_t nodes;
    uint16_t value_size; /* 0: a set */
    uint16_t depth;      /* levels; 1: the root is a leaf */
};

static inline struct id_tree id_tree_empty(size_t value_size)
{
    return (struct id_tree){.value_size = (uint16_t)value_size};
}
/* Values are the caller's to see to before. */
void id_tree_clear(struct id_tree *t, size_t *memory);

/* NULL: it is not there. Sets have values of no bytes, at an address that is not NULL. */
void *id_tree_find(const struct id_tree *t, struct stream_id id);
/* The value of an id, zeroed if it is new. */
void *id_tree_put(struct id_tree *t, struct stream_id id, bool *is_new, size_t *memory);
/* False: it is not there. */
bool id_tree_remove(struct id_tree *t, struct stream_id id, size_t *memory);

/* A position in it. */
struct id_at {
    const struct id_tree *tree;
    struct {
        struct id_node *node;
        unsigned at;
    } path[ID_TREE_DEPTH]; /* from the root */
    bool valid;
    struct stream_id id;
    void *value;
};
/* The first that is not less; the last that is not greater. `valid` says whether there is one. */
void id_tree_seek(const struct id_tree *t, struct stream_id id, struct id_at *at);
void id_tree_seek_back(const struct id_tree *t, struct stream_id id, struct id_at *at);
void id_at_next(struct id_at *at);
void id_at_prev(struct id_at *at);
