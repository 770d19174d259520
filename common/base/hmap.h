// SPDX-License-Identifier: BSD-3-Clause
/* Intrusive hash map of things with a struct hmap_node inside; the caller hashes and compares.
 * For control structures (clients, watched keys), not the keyspace. */
#pragma once

#include "common/base/obj.h"

struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};

struct hmap {
    struct hmap_node **buckets; /* power of two; NULL while empty */
    size_t mask;
    size_t count;
};

void hmap_fini(struct hmap *m); /* frees the buckets, not the elements */
void hmap_insert(struct hmap *m, struct hmap_node *n, uint64_t hash);
void hmap_remove(struct hmap *m, struct hmap_node *n);
/* First node with that hash, then the next ones; NULL at the end. */
struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_same(const struct hmap_node *n);
/* Walk all: hmap_begin, then hmap_next. The current one may be removed after fetching the next. */
struct hmap_node *hmap_begin(const struct hmap *m);
struct hmap_node *hmap_next(const struct hmap *m, const struct hmap_node *n);
#define HMAP_FOREACH(it, m)                                                                        \
    for (struct hmap_node *it = hmap_begin(m); it != NULL; it = hmap_next(m, it))
