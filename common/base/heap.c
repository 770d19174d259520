// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/heap.h"

#include "common/base/mem.h"

void heap_fini(struct heap *h)
{
    mem_free(h->slots);
    *h = (struct heap){0};
}

static struct heap_node *at(const struct heap *h, size_t place)
{
    return h->slots[place - 1];
}

static void put(struct heap *h, struct heap_node *n, size_t place)
{
    h->slots[place - 1] = n;
    n->place = place;
}

/* Puts `n` where it belongs on the way up from the hole at `place`. */
static void rise(struct heap *h, struct heap_node *n, size_t place)
{
    while (place > 1 && at(h, place / 2)->key > n->key) {
        put(h, at(h, place / 2), place);
        place /= 2;
    }
    put(h, n, place);
}

static void sink(struct heap *h, struct heap_node *n, size_t place)
{
    for (;;) {
        size_t child = place * 2;
        if (child < h->count && at(h, child + 1)->key < at(h, child)->key) {
            child++;
        }
        if (child > h->count || at(h, child)->key >= n->key) {
            break;
        }
        put(h, at(h, child), place);
        place = child;
    }
    put(h, n, place);
}

static void settle(struct heap *h, struct heap_node *n, size_t place)
{
    if (place > 1 && at(h, place / 2)->key > n->key) {
        rise(h, n, place);
    } else {
        sink(h, n, place);
    }
}

void heap_insert(struct heap *h, struct heap_node *n, int64_t key)
{
    INVARIANT(n->place == 0);
    if (h->count == h->cap) {
        h->cap = h->cap == 0 ? 16 : h->cap * 2;
        h->slots = mem_realloc(h->slots, h->cap * sizeof(struct heap_node *));
    }
    n->key = key;
    h->count++;
    rise(h, n, h->count);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    size_t place = n->place;
    INVARIANT(place > 0 && place <= h->count);
    INVARIANT(at(h, place) == n);
    struct heap_node *last = at(h, h->count);
    h->count--;
    n->place = 0;
    if (last != n) {
        settle(h, last, place);
    }
}

void heap_update(struct heap *h, struct heap_node *n, int64_t key)
{
    INVARIANT(n->place > 0 && n->place <= h->count);
    INVARIANT(at(h, n->place) == n);
    n->key = key;
    settle(h, n, n->place);
}
