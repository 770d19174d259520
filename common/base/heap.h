// SPDX-License-Identifier: BSD-3-Clause
/* Intrusive min-heap of things with a struct heap_node inside, ordered by an int64 key. Among equal
 * keys the order is unspecified but the same for the same calls. Zero-initialised is empty; one
 * thread owns it. Pure. */
#pragma once

#include "common/base/obj.h"

#include <stdbool.h>

struct heap_node {
    int64_t key;
    size_t place; /* in slots, from 1; 0: not in a heap */
};

struct heap {
    struct heap_node **slots; /* slots[i - 1] is at place i; its children at 2i and 2i + 1 */
    size_t count;
    size_t cap;
};

void heap_fini(struct heap *h); /* frees the slots, not the elements */
/* `n` is not in a heap yet; a zeroed node is not. */
void heap_insert(struct heap *h, struct heap_node *n, int64_t key);
/* `n` is in this heap. */
void heap_remove(struct heap *h, struct heap_node *n);
void heap_update(struct heap *h, struct heap_node *n, int64_t key);

static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->count == 0 ? NULL : h->slots[0];
}

static inline bool heap_holds(const struct heap_node *n)
{
    return n->place != 0;
}
