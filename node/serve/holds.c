// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/holds.h"

#include "node/serve/client.h"

#include "common/base/mem.h"

#define RING_MIN  16
#define RING_KEEP 256 /* an empty ring larger than this is given back */

struct hold {
    uint64_t at;
    uint64_t version;
    uint32_t shard;
};

struct shard_wait {
    uint64_t committed;
    struct list clients; /* whose oldest hold waits for this shard */
};

struct holds {
    int n_shards;
    uint64_t count;
    uint64_t total;
    uint64_t ended;
    struct shard_wait *shards;
};

struct holds *holds_new(int n_shards)
{
    struct holds *h = mem_zalloc(sizeof(*h));
    h->n_shards = n_shards;
    h->shards = mem_zalloc((size_t)n_shards * sizeof(*h->shards));
    for (int i = 0; i < n_shards; i++) {
        list_init(&h->shards[i].clients);
    }
    return h;
}

void holds_free(struct holds **hp)
{
    struct holds *h = *hp;
    *hp = NULL;
    if (h != NULL) {
        INVARIANT(h->count == 0);
        mem_free(h->shards);
        mem_free(h);
    }
}

static struct hold *first_of(const struct hold_ring *r)
{
    return &r->of[r->first];
}

void hold_ring_init(struct hold_ring *r)
{
    list_init(&r->link);
}

void holds_forget(struct holds *h, struct client *c)
{
    struct hold_ring *r = &c->holds;
    h->count -= r->count;
    list_remove(&r->link);
    mem_free(r->of);
    *r = (struct hold_ring){0};
    list_init(&r->link);
}

static void grow(struct hold_ring *r)
{
    uint32_t cap = r->cap == 0 ? RING_MIN : r->cap * 2;
    struct hold *of = mem_alloc(cap * sizeof(*of));
    for (uint32_t i = 0; i < r->count; i++) {
        of[i] = r->of[(r->first + i) & (r->cap - 1)];
    }
    mem_free(r->of);
    r->of = of;
    r->cap = cap;
    r->first = 0;
}

void holds_add(struct holds *h, struct client *c, uint64_t at, int shard, uint64_t version)
{
    struct hold_ring *r = &c->holds;
    struct shard_wait *w = &h->shards[shard];
    if (version <= w->committed) {
        return;
    }
    if (r->count == r->cap) {
        grow(r);
    }
    INVARIANT(r->count == 0 || r->of[(r->first + r->count - 1) & (r->cap - 1)].at <= at);
    r->of[(r->first + r->count) & (r->cap - 1)] =
        (struct hold){.at = at, .version = version, .shard = (uint32_t)shard};
    if (r->count++ == 0) {
        c->stream->hold_at = r->frozen ? c->stream->hold_at : at;
        list_append(&w->clients, &r->link);
    }
    h->count++;
    h->total++;
}

/* The oldest hold is over: on to the first that is not. */
static void release(struct holds *h, struct client *c)
{
    struct hold_ring *r = &c->holds;
    uint32_t mask = r->cap - 1;
    uint32_t before = r->count;
    while (r->count > 0 && first_of(r)->version <= h->shards[first_of(r)->shard].committed) {
        r->first = (r->first + 1) & mask;
        r->count--;
    }
    h->count -= before - r->count;
    list_remove(&r->link);
    if (r->count > 0) {
        c->stream->hold_at = r->frozen ? c->stream->hold_at : first_of(r)->at;
        list_append(&h->shards[first_of(r)->shard].clients, &r->link);
    } else {
        c->stream->hold_at = r->frozen ? c->stream->hold_at : STREAM_FREE;
        if (r->cap > RING_KEEP) {
            mem_free(r->of);
            r->of = NULL;
            r->cap = 0;
        }
    }
    stream_flush_later(c->stream);
}

void holds_committed(struct holds *h, int shard, uint64_t version)
{
    struct shard_wait *w = &h->shards[shard];
    if (version <= w->committed) {
        return;
    }
    w->committed = version;
    /* One that goes on waiting for this shard comes to the end of the list: not looked at twice. */
    struct list *last = w->clients.prev;
    for (struct list *it = w->clients.next; it != &w->clients;) {
        struct client *c = container_of(it, struct client, holds.link);
        bool was_last = it == last;
        it = it->next;
        if (first_of(&c->holds)->version <= version) {
            release(h, c);
        }
        if (was_last) {
            break;
        }
    }
}

/* For that shard itself: not one that is committed, and stands behind another shard's. */
static bool waits_for(const struct holds *h, const struct hold_ring *r, uint32_t shard)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct hold *one = &r->of[(r->first + i) & (r->cap - 1)];
        if (one->shard == shard && one->version > h->shards[shard].committed) {
            return true;
        }
    }
    return false;
}

void holds_lost(struct holds *h, int shard)
{
    if (h->count == 0) {
        return;
    }
    for (int i = 0; i < h->n_shards; i++) {
        LIST_FOREACH_SAFE(it, &h->shards[i].clients) {
            struct client *c = container_of(it, struct client, holds.link);
            if (waits_for(h, &c->holds, (uint32_t)shard)) {
                h->ended++;
                holds_forget(h, c);
                c->flags |= CLIENT_CLOSING;
                stream_fail(c->stream, 0);
            }
        }
    }
}

void holds_freeze(struct client *c)
{
    if (!c->holds.frozen) {
        c->holds.frozen = true;
        c->stream->hold_at = c->stream->bytes_out;
    }
}

void holds_thaw(struct client *c)
{
    if (c->holds.frozen) {
        c->holds.frozen = false;
        c->stream->hold_at = c->holds.count > 0 ? first_of(&c->holds)->at : STREAM_FREE;
        stream_flush_later(c->stream);
    }
}

/* What is left of this shard in a ring is committed, and stands behind what is not: it must not
 * begin to wait for versions to come. */
static void settle(const struct holds *h, struct hold_ring *r, uint32_t shard)
{
    for (uint32_t i = 0; i < r->count; i++) {
        struct hold *one = &r->of[(r->first + i) & (r->cap - 1)];
        if (one->shard == shard) {
            INVARIANT(one->version <= h->shards[shard].committed);
            one->version = 0;
        }
    }
}

void holds_reset(struct holds *h, int shard)
{
    INVARIANT(list_empty(&h->shards[shard].clients));
    for (int i = 0; h->count > 0 && i < h->n_shards; i++) {
        LIST_FOREACH(it, &h->shards[i].clients) {
            settle(h, &container_of(it, struct client, holds.link)->holds, (uint32_t)shard);
        }
    }
    h->shards[shard].committed = 0;
}

uint64_t holds_count(const struct holds *h)
{
    return h->count;
}

uint64_t holds_total(const struct holds *h)
{
    return h->total;
}

uint64_t holds_ended(const struct holds *h)
{
    return h->ended;
}
