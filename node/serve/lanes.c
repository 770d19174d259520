// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/lanes.h"

#include "node/serve/client.h"

#include "common/base/mem.h"

struct ended_lane {
    struct hmap_node node;
    struct list link;
    uint64_t id;
};

/* Ids are counted up from random places. */
static uint64_t hash_of(uint64_t id)
{
    return id * 0x9E3779B97F4A7C15ULL;
}

void lanes_init(struct lanes *l)
{
    *l = (struct lanes){0};
    list_init(&l->order);
}

static void forget(struct lanes *l, struct ended_lane *e)
{
    hmap_remove(&l->ended, &e->node);
    list_remove(&e->link);
    mem_free(e);
    l->n_ended--;
}

void lanes_fini(struct lanes *l)
{
    INVARIANT(l->open.count == 0);
    LIST_FOREACH_SAFE(it, &l->order) {
        forget(l, container_of(it, struct ended_lane, link));
    }
    hmap_fini(&l->open);
    hmap_fini(&l->ended);
}

struct client *lanes_find(const struct lanes *l, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&l->open, hash_of(id)); n != NULL; n = hmap_same(n)) {
        struct client *c = container_of(n, struct client, lane_node);
        if (c->lane == id) {
            return c;
        }
    }
    return NULL;
}

static bool has_ended(const struct lanes *l, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&l->ended, hash_of(id)); n != NULL; n = hmap_same(n)) {
        if (container_of(n, struct ended_lane, node)->id == id) {
            return true;
        }
    }
    return false;
}

bool lanes_enter(struct lanes *l, struct client *c, uint64_t id)
{
    INVARIANT(id != 0);
    if (has_ended(l, id) || lanes_find(l, id) != NULL) {
        return false;
    }
    lanes_leave(l, c);
    c->lane = id;
    hmap_insert(&l->open, &c->lane_node, hash_of(id));
    return true;
}

void lanes_leave(struct lanes *l, struct client *c)
{
    if (c->lane != 0) {
        hmap_remove(&l->open, &c->lane_node);
        c->lane = 0;
    }
}

void lanes_end(struct lanes *l, uint64_t id)
{
    struct client *c = lanes_find(l, id);
    if (c != NULL) {
        client_kill(c);
    }
    if (has_ended(l, id)) {
        return;
    }
    if (l->n_ended == LANES_ENDED_MAX) {
        forget(l, container_of(l->order.next, struct ended_lane, link));
    }
    struct ended_lane *e = mem_alloc(sizeof(*e));
    *e = (struct ended_lane){.id = id};
    hmap_insert(&l->ended, &e->node, hash_of(id));
    list_append(&l->order, &e->link);
    l->n_ended++;
}
