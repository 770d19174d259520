// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/registry.h"

#include "common/base/mem.h"

static void peer_free(struct peer *p)
{
    mem_free(p->held.items);
    mem_free(p->copies.items);
    mem_free(p->orders.items);
    mem_free(p);
}

void registry_fini(struct registry *r)
{
    for (int i = 0; i < r->count; i++) {
        peer_free(r->peers[i]);
    }
    mem_free(r->peers);
    *r = (struct registry){0};
}

struct peer *registry_find(const struct registry *r, const char *id)
{
    for (int i = 0; i < r->count; i++) {
        if (strcmp(r->peers[i]->id, id) == 0) {
            return r->peers[i];
        }
    }
    return NULL;
}

struct peer *registry_by_link(const struct registry *r, uint64_t link)
{
    for (int i = 0; i < r->count; i++) {
        if (r->peers[i]->link == link) {
            return r->peers[i];
        }
    }
    return NULL;
}

struct peer *registry_add(struct registry *r, const char *id, int64_t now_ms)
{
    struct peer *p = registry_find(r, id);
    if (p != NULL) {
        return p;
    }
    INVARIANT(strlen(id) == NODE_ID_LEN);
    p = mem_zalloc(sizeof(*p));
    memcpy(p->id, id, NODE_ID_LEN + 1);
    detector_heard(&p->detector, now_ms);
    p->dead_ms = now_ms;
    r->peers = mem_realloc(r->peers, sizeof(struct peer *) * (size_t)(r->count + 1));
    r->peers[r->count++] = p;
    return p;
}

void registry_remove(struct registry *r, const char *id)
{
    for (int i = 0; i < r->count; i++) {
        if (strcmp(r->peers[i]->id, id) == 0) {
            peer_free(r->peers[i]);
            r->peers[i] = r->peers[--r->count];
            return;
        }
    }
}
