// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/tracked.h"

#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#define CLIENTS_INLINE 2

struct tracked_key {
    struct hmap_node node;
    struct list link; /* tracked.order */
    uint32_t shard;
    uint32_t n;
    uint32_t cap; /* 0: inside */
    uint32_t len;
    union {
        uint64_t few[CLIENTS_INLINE];
        uint64_t *many;
    } clients; /* rising */
    char bytes[];
};

struct tracked {
    struct hmap keys;
    struct list order;
    size_t items;
};

struct tracked *tracked_new(void)
{
    struct tracked *t = mem_zalloc(sizeof(*t));
    list_init(&t->order);
    return t;
}

void tracked_free(struct tracked **t)
{
    if (*t != NULL) {
        tracked_clear(*t);
        hmap_fini(&(*t)->keys);
        mem_free(*t);
        *t = NULL;
    }
}

static uint64_t hash_of(struct slice key)
{
    return hash_bytes(key.ptr, key.len, 0x7261636b65644b31ULL);
}

static struct slice key_of(const struct tracked_key *k)
{
    return slice_of(k->bytes, k->len);
}

static struct tracked_key *find(const struct tracked *t, struct slice key)
{
    for (struct hmap_node *n = hmap_first(&t->keys, hash_of(key)); n != NULL; n = hmap_same(n)) {
        struct tracked_key *k = container_of(n, struct tracked_key, node);
        if (slice_eq(key_of(k), key)) {
            return k;
        }
    }
    return NULL;
}

static uint64_t *clients_of(struct tracked_key *k)
{
    return k->cap == 0 ? k->clients.few : k->clients.many;
}

static void make_room(struct tracked_key *k)
{
    if (k->cap == 0 && k->n == CLIENTS_INLINE) {
        uint64_t *many = mem_alloc(2 * CLIENTS_INLINE * sizeof(*many));
        memcpy(many, k->clients.few, sizeof(k->clients.few));
        k->clients.many = many;
        k->cap = 2 * CLIENTS_INLINE;
    } else if (k->cap != 0 && k->n == k->cap) {
        k->cap *= 2;
        k->clients.many = mem_realloc(k->clients.many, k->cap * sizeof(uint64_t));
    }
}

static bool add_client(struct tracked_key *k, uint64_t client)
{
    const uint64_t *in = clients_of(k);
    uint32_t from = 0, to = k->n;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (in[mid] < client) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    if (from < k->n && in[from] == client) {
        return false;
    }
    make_room(k);
    uint64_t *all = clients_of(k);
    memmove(&all[from + 1], &all[from], (k->n - from) * sizeof(*all));
    all[from] = client;
    k->n++;
    return true;
}

bool tracked_add(struct tracked *t, struct slice key, uint32_t shard, uint64_t client)
{
    struct tracked_key *k = find(t, key);
    if (k == NULL) {
        if (key.len > UINT32_MAX) {
            return false;
        }
        k = mem_alloc(sizeof(*k) + key.len);
        *k = (struct tracked_key){.shard = shard, .len = (uint32_t)key.len};
        memcpy(k->bytes, key.ptr, key.len);
        list_append(&t->order, &k->link);
        hmap_insert(&t->keys, &k->node, hash_of(key));
    }
    bool added = add_client(k, client);
    t->items += added;
    return added;
}

static void take(struct tracked *t, struct tracked_key *k, tracked_fn *fn, void *arg)
{
    t->items -= k->n;
    hmap_remove(&t->keys, &k->node);
    list_remove(&k->link);
    if (fn != NULL) {
        fn(arg, key_of(k), clients_of(k), k->n);
    }
    if (k->cap != 0) {
        mem_free(k->clients.many);
    }
    mem_free(k);
}

void tracked_take(struct tracked *t, struct slice key, tracked_fn *fn, void *arg)
{
    struct tracked_key *k = find(t, key);
    if (k != NULL) {
        take(t, k, fn, arg);
    }
}

bool tracked_take_oldest(struct tracked *t, tracked_fn *fn, void *arg)
{
    if (list_empty(&t->order)) {
        return false;
    }
    take(t, container_of(t->order.next, struct tracked_key, link), fn, arg);
    return true;
}

void tracked_take_shard(struct tracked *t, uint32_t shard, tracked_fn *fn, void *arg)
{
    LIST_FOREACH_SAFE(it, &t->order) {
        struct tracked_key *k = container_of(it, struct tracked_key, link);
        if (k->shard == shard) {
            take(t, k, fn, arg);
        }
    }
}

void tracked_clear(struct tracked *t)
{
    while (!list_empty(&t->order)) {
        take(t, container_of(t->order.next, struct tracked_key, link), NULL, NULL);
    }
}

size_t tracked_keys(const struct tracked *t)
{
    return t->keys.count;
}

size_t tracked_items(const struct tracked *t)
{
    return t->items;
}
