// SPDX-License-Identifier: BSD-3-Clause
/* Lists: listpacks of some 8 KiB in a ring, so that both ends are near and any place is found by
 * adding up counts that lie side by side. Elements that are very long have a node of their own;
 * nodes in the middle may be compressed. Pure.
 *
 *   list   | elements | memory | nodes, first, n, cap | limits |
 *   nodes  | address, elements, bytes, kind | ...        a ring of cap, a power of two */
#pragma once

#include "node/types/listpack.h"
#include "node/types/object.h"

#include "common/base/str.h"

extern const struct object_ops quicklist_ops;

enum quicklist_end { QUICKLIST_LEFT, QUICKLIST_RIGHT };

/* An empty one: something is put in before anybody sees it. */
struct object *quicklist_new(struct slice key, int64_t expire_ms);
size_t quicklist_length(const struct object *o);

/* Indexes here count from the left, are within the list, and never negative. Values may not lie in
 * the list itself. */
void quicklist_push(struct object *o, enum quicklist_end end, struct slice v);
void quicklist_insert(struct object *o, size_t before,
                      struct slice v); /* quicklist_length: at the end */
void quicklist_set(struct object *o, size_t index, struct slice v);
void quicklist_delete(struct object *o, size_t index, size_t n); /* may leave it empty */
/* Removes the first `most` (0: all) that equal v, from that end; how many they were. */
size_t quicklist_remove(struct object *o, enum quicklist_end from, size_t most, struct slice v);

/* Element by element. The list does not change meanwhile; values are valid until the next step. */
struct quicklist_walk {
    const struct quicklist *list;
    size_t node;
    bool leftwards;
    bool started;
    const unsigned char *p;   /* the present element; NULL: the whole of a plain node */
    struct listpack *scratch; /* a compressed node's content */
    size_t left;              /* elements to come */
};
/* From `index` to the other end. */
void quicklist_walk_begin(struct quicklist_walk *w, const struct object *o, size_t index,
                          bool leftwards);
bool quicklist_walk_next(struct quicklist_walk *w, struct listpack_value *v) MUSTCHECK;
void quicklist_walk_end(struct quicklist_walk *w);

/* A text to compare elements with. */
struct quicklist_needle {
    struct slice text;
    bool is_number;
    int64_t number;
};
static inline struct quicklist_needle quicklist_needle_of(struct slice v)
{
    struct quicklist_needle n = {.text = v};
    n.is_number = num_parse_i64(v, &n.number);
    return n;
}
static inline bool quicklist_needle_is(const struct quicklist_needle *n,
                                       const struct listpack_value *v)
{
    return v->ptr == NULL ? n->is_number && n->number == v->number
                          : slice_eq(slice_of(v->ptr, v->len), n->text);
}

/* One of them, copied. `to` begins empty. */
void quicklist_get(const struct object *o, size_t index, struct str *to);

/* For DEBUG: nodes of the list. */
size_t quicklist_nodes(const struct object *o);

/* ---- in files ---- */

struct object *quicklist_read_strings(struct slice *in, struct slice key, int64_t expire_ms,
                                      struct str *scratch) MUSTCHECK;
struct object *quicklist_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                      struct str *scratch) MUSTCHECK;
struct object *quicklist_read_ziplists(struct slice *in, struct slice key, int64_t expire_ms,
                                       struct str *scratch) MUSTCHECK;
struct object *quicklist_read_nodes(struct slice *in, struct slice key, int64_t expire_ms,
                                    struct str *scratch) MUSTCHECK;
