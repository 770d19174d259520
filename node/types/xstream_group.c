// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/xstream_group.h"

#include "common/base/mem.h"

/* ---- names ---- */

static int compare_names(struct slice a, struct slice b)
{
    int order = MIN(a.len, b.len) == 0 ? 0 : memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Where a name is, or would be. */
static uint32_t find_name(const struct xstream_names *l, struct slice name, bool *is_there)
{
    uint32_t low = 0;
    uint32_t high = l->n;
    *is_there = false;
    if (high > 0 && compare_names(*l->of[high - 1], name) < 0) {
        return high; /* they mostly come in order */
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_names(*l->of[middle], name);
        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static size_t names_size(uint32_t cap)
{
    return cap == 0 ? 0 : object_size_class(cap * sizeof(struct slice *));
}

static void set_room(struct xstream *s, struct xstream_names *l, uint32_t n)
{
    uint32_t cap = (uint32_t)(names_size(n) / sizeof(struct slice *));
    s->memory += names_size(cap) - names_size(l->cap);
    l->of = mem_realloc(l->of, names_size(cap));
    l->cap = cap;
}

static void insert_name(struct xstream *s, struct xstream_names *l, uint32_t at, struct slice *item)
{
    if (l->n == l->cap) {
        set_room(s, l, l->n + 1 + l->n / 4);
    }
    memmove(l->of + at + 1, l->of + at, (l->n - at) * sizeof(*l->of));
    l->of[at] = item;
    l->n++;
}

static void take_name(struct xstream *s, struct xstream_names *l, struct slice name)
{
    bool is_there;
    uint32_t at = find_name(l, name, &is_there);
    INVARIANT(is_there);
    l->n--;
    memmove(l->of + at, l->of + at + 1, (l->n - at) * sizeof(*l->of));
    if (l->n > 0 && l->n < l->cap / 4) {
        set_room(s, l, l->n * 2);
    }
}

static void free_names(struct xstream *s, struct xstream_names *l)
{
    s->memory -= names_size(l->cap);
    mem_free(l->of);
    *l = (struct xstream_names){0};
}

/* A struct of `size` bytes that begins with its name, zeroed, and the name behind it. */
static void *new_named(struct xstream *s, size_t size, struct slice name)
{
    size_t total = object_size_class(size + name.len);
    char *item = mem_alloc(total);
    memset(item, 0, size);
    if (name.len > 0) {
        memcpy(item + size, name.ptr, name.len);
    }
    *(struct slice *)(void *)item = slice_of(item + size, name.len);
    s->memory += total;
    return item;
}

static void free_named(struct xstream *s, struct slice *item, size_t size)
{
    s->memory -= object_size_class(size + item->len);
    mem_free(item);
}

/* ---- consumers ---- */

struct xstream_consumer *xstream_consumer_find(const struct xstream_group *g, struct slice name)
{
    bool is_there;
    uint32_t at = find_name(&g->consumers, name, &is_there);
    return is_there ? xstream_consumer_at(g, at) : NULL;
}

struct xstream_consumer *xstream_consumer_add(struct xstream *s, struct xstream_group *g,
                                              struct slice name, int64_t now_ms)
{
    bool is_there;
    uint32_t at = find_name(&g->consumers, name, &is_there);
    if (is_there) {
        return NULL;
    }
    struct xstream_consumer *c = new_named(s, sizeof(*c), name);
    c->seen_ms = now_ms;
    c->pending = id_tree_empty(0);
    insert_name(s, &g->consumers, at, &c->name);
    return c;
}

static void free_consumer(struct xstream *s, struct xstream_consumer *c)
{
    id_tree_clear(&c->pending, &s->memory);
    free_named(s, &c->name, sizeof(*c));
}

void xstream_consumer_remove(struct xstream *s, struct xstream_group *g, struct xstream_consumer *c)
{
    struct id_at at;
    for (id_tree_seek(&c->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        bool removed = id_tree_remove(&g->pending, at.id, &s->memory);
        INVARIANT(removed);
    }
    take_name(s, &g->consumers, c->name);
    free_consumer(s, c);
}

/* ---- groups ---- */

struct xstream_group *xstream_group_find(const struct xstream *s, struct slice name)
{
    bool is_there;
    uint32_t at = find_name(&s->groups, name, &is_there);
    return is_there ? xstream_group_at(s, at) : NULL;
}

struct xstream_group *xstream_group_add(struct xstream *s, struct slice name,
                                        struct stream_id last_id, int64_t entries_read)
{
    bool is_there;
    uint32_t at = find_name(&s->groups, name, &is_there);
    if (is_there) {
        return NULL;
    }
    struct xstream_group *g = new_named(s, sizeof(*g), name);
    g->last_id = last_id;
    g->entries_read = entries_read;
    g->pending = id_tree_empty(sizeof(struct xstream_pending));
    insert_name(s, &s->groups, at, &g->name);
    return g;
}

static void free_group(struct xstream *s, struct xstream_group *g)
{
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        free_consumer(s, xstream_consumer_at(g, i));
    }
    free_names(s, &g->consumers);
    id_tree_clear(&g->pending, &s->memory);
    free_named(s, &g->name, sizeof(*g));
}

void xstream_group_remove(struct xstream *s, struct xstream_group *g)
{
    take_name(s, &s->groups, g->name);
    free_group(s, g);
}

void xstream_group_read(const struct xstream *s, struct xstream_group *g, struct stream_id id)
{
    if (g->entries_read != XSTREAM_READ_UNKNOWN && !xstream_has_gaps_after(s, id)) {
        g->entries_read = (int64_t)((uint64_t)g->entries_read + 1);
    } else if (s->entries_added > 0) {
        g->entries_read = xstream_count_until(s, id);
    }
    g->last_id = id;
}

bool xstream_group_lag(const struct xstream *s, const struct xstream_group *g, int64_t *lag)
{
    if (s->entries_added == 0) {
        *lag = 0;
        return true;
    }
    int64_t read = g->entries_read;
    if (read == XSTREAM_READ_UNKNOWN || xstream_has_gaps_after(s, g->last_id)) {
        read = xstream_count_until(s, g->last_id);
    }
    *lag = (int64_t)(s->entries_added - (uint64_t)read);
    return read != XSTREAM_READ_UNKNOWN;
}

/* ---- pending ---- */

struct xstream_pending *xstream_pending_find(const struct xstream_group *g, struct stream_id id)
{
    return id_tree_find(&g->pending, id);
}

struct xstream_pending *xstream_pending_give(struct xstream *s, struct xstream_group *g,
                                             struct stream_id id, struct xstream_consumer *c,
                                             bool *is_new)
{
    struct xstream_pending *p = id_tree_put(&g->pending, id, is_new, &s->memory);
    if (p->consumer == c) {
        return p;
    }
    if (p->consumer != NULL) {
        bool removed = id_tree_remove(&p->consumer->pending, id, &s->memory);
        INVARIANT(removed);
    }
    bool added;
    id_tree_put(&c->pending, id, &added, &s->memory);
    INVARIANT(added);
    p->consumer = c;
    return p;
}

bool xstream_pending_remove(struct xstream *s, struct xstream_group *g, struct stream_id id)
{
    const struct xstream_pending *p = xstream_pending_find(g, id);
    if (p == NULL) {
        return false;
    }
    bool removed = id_tree_remove(&p->consumer->pending, id, &s->memory);
    INVARIANT(removed);
    removed = id_tree_remove(&g->pending, id, &s->memory);
    INVARIANT(removed);
    return true;
}

/* ---- all of them ---- */

void xstream_groups_free(struct xstream *s)
{
    for (uint32_t i = 0; i < s->groups.n; i++) {
        free_group(s, xstream_group_at(s, i));
    }
    free_names(s, &s->groups);
}

static void copy_group(struct xstream *to, const struct xstream_group *from)
{
    struct xstream_group *g = xstream_group_add(to, from->name, from->last_id, from->entries_read);
    INVARIANT(g != NULL);
    for (uint32_t i = 0; i < from->consumers.n; i++) {
        const struct xstream_consumer *old = xstream_consumer_at(from, i);
        struct xstream_consumer *c = xstream_consumer_add(to, g, old->name, old->seen_ms);
        INVARIANT(c != NULL);
        struct id_at at;
        for (id_tree_seek(&old->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
            const struct xstream_pending *had = xstream_pending_find(from, at.id);
            bool is_new;
            struct xstream_pending *p = xstream_pending_give(to, g, at.id, c, &is_new);
            INVARIANT(is_new);
            p->delivered_ms = had->delivered_ms;
            p->deliveries = had->deliveries;
        }
    }
}

void xstream_groups_copy(struct xstream *to, const struct xstream *from)
{
    for (uint32_t i = 0; i < from->groups.n; i++) {
        copy_group(to, xstream_group_at(from, i));
    }
}

static void digest_name(struct digest *d, struct slice name)
{
    digest_mix(d, &name.len, sizeof(name.len));
    digest_mix(d, name.ptr, name.len);
}

/* Without when consumers were last seen: what only asks changes that, and is not told to copies. */
static void digest_group(const struct xstream_group *g, struct digest *d)
{
    digest_name(d, g->name);
    uint64_t head[] = {g->last_id.ms, g->last_id.seq, (uint64_t)g->entries_read, g->pending.count,
                       g->consumers.n};
    digest_mix(d, head, sizeof(head));
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        const struct xstream_consumer *c = xstream_consumer_at(g, i);
        digest_name(d, c->name);
        struct id_at at;
        for (id_tree_seek(&c->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
            const struct xstream_pending *p = xstream_pending_find(g, at.id);
            uint64_t one[] = {at.id.ms, at.id.seq, (uint64_t)p->delivered_ms, p->deliveries};
            digest_mix(d, one, sizeof(one));
        }
    }
}

void xstream_groups_digest(const struct xstream *s, struct digest *d)
{
    for (uint32_t i = 0; i < s->groups.n; i++) {
        digest_group(xstream_group_at(s, i), d);
    }
}

size_t xstream_groups_effort(const struct xstream *s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->groups.n; i++) {
        const struct xstream_group *g = xstream_group_at(s, i);
        n += 1 + g->pending.nodes + 2 * (size_t)g->consumers.n;
    }
    return n;
}
