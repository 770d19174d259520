// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/hmap.h"

#include "common/base/mem.h"

void hmap_fini(struct hmap *m)
{
    mem_free(m->buckets);
    *m = (struct hmap){0};
}

/* Doubles, relinking every element: for the thousands of elements of a control structure that is
 * well under a millisecond, and it keeps their order within a bucket. */
static void grow(struct hmap *m)
{
    size_t old = m->buckets == NULL ? 0 : m->mask + 1;
    size_t size = old == 0 ? 8 : old * 2;
    struct hmap_node **buckets = mem_zalloc(size * sizeof(struct hmap_node *));
    for (size_t i = 0; i < old; i++) {
        /* A bucket's elements go to two new buckets only: i and i + old. */
        struct hmap_node **tails[2] = {&buckets[i], &buckets[i + old]};
        for (struct hmap_node *n = m->buckets[i], *next; n != NULL; n = next) {
            struct hmap_node ***tail = &tails[(n->hash & old) != 0];
            next = n->next;
            n->next = NULL;
            **tail = n;
            *tail = &n->next;
        }
    }
    mem_free(m->buckets);
    m->buckets = buckets;
    m->mask = size - 1;
}

void hmap_insert(struct hmap *m, struct hmap_node *n, uint64_t hash)
{
    if (m->buckets == NULL || m->count > m->mask) {
        grow(m);
    }
    struct hmap_node **bucket = &m->buckets[hash & m->mask];
    n->hash = hash;
    n->next = *bucket;
    *bucket = n;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *n)
{
    INVARIANT(m->count > 0);
    struct hmap_node **link = &m->buckets[n->hash & m->mask];
    while (*link != n) {
        INVARIANT(*link != NULL);
        link = &(*link)->next;
    }
    *link = n->next;
    n->next = NULL;
    m->count--;
}

static struct hmap_node *from_here(struct hmap_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash) {
        n = n->next;
    }
    return n;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    return m->buckets == NULL ? NULL : from_here(m->buckets[hash & m->mask], hash);
}

struct hmap_node *hmap_same(const struct hmap_node *n)
{
    return from_here(n->next, n->hash);
}

static struct hmap_node *first_from_bucket(const struct hmap *m, size_t i)
{
    for (; i <= m->mask; i++) {
        if (m->buckets[i] != NULL) {
            return m->buckets[i];
        }
    }
    return NULL;
}

struct hmap_node *hmap_begin(const struct hmap *m)
{
    return m->count == 0 ? NULL : first_from_bucket(m, 0);
}

struct hmap_node *hmap_next(const struct hmap *m, const struct hmap_node *n)
{
    return n->next != NULL ? n->next : first_from_bucket(m, (n->hash & m->mask) + 1);
}
