// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/members.h"
#include "node/types/object_ops.h"
#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"
#include "node/types/string.h"

#include "common/base/mem.h"

#define MAGIC 0x70727472U

enum { CURSOR_SHIFT = 16 }; /* a cursor of members_scan is the upper 48 bits of a hash */

/* ---- what was seen before its turn ---- */

struct seen {
    struct hmap_node node;
    size_t len;
    char name[];
};

bool portrait_has_seen(const struct portrait *p, uint64_t hash, struct slice name)
{
    for (struct hmap_node *n = hmap_first(&p->seen, hash); n != NULL; n = hmap_same(n)) {
        const struct seen *s = container_of(n, struct seen, node);
        if (slice_eq(slice_of(s->name, s->len), name)) {
            return true;
        }
    }
    return false;
}

bool portrait_sees(struct portrait *p, uint64_t hash, struct slice name)
{
    if (portrait_has_seen(p, hash, name)) {
        return false;
    }
    struct seen *s = mem_alloc(sizeof(*s) + name.len);
    s->len = name.len;
    if (name.len > 0) {
        memcpy(s->name, name.ptr, name.len);
    }
    hmap_insert(&p->seen, &s->node, hash);
    return true;
}

static void forget_seen(struct portrait *p)
{
    for (struct hmap_node *n = hmap_begin(&p->seen); n != NULL;) {
        struct hmap_node *next = hmap_next(&p->seen, n);
        mem_free(container_of(n, struct seen, node));
        n = next;
    }
    hmap_fini(&p->seen);
    p->seen = (struct hmap){0};
}

/* ---- tables of members ---- */

static inline bool has_passed(const struct portrait *p, uint64_t hash)
{
    return hash >> CURSOR_SHIFT < p->members.cursor;
}

struct scanning {
    const struct portrait *p;
    struct str *to;
    size_t work;
};

static void visit(void *arg, void *entry)
{
    struct scanning *s = arg;
    const struct portrait *p = s->p;
    struct slice name = member_name(entry, p->members.name_at);
    uint64_t hash = members_hash(p->members.table, name);
    size_t before = s->to->len;
    /* A table that shrank may give some again. */
    if (!has_passed(p, hash) && (p->seen.count == 0 || !portrait_has_seen(p, hash, name))) {
        p->members.write(s->to, entry, p->compress);
    }
    s->work += MAX(s->to->len - before, (size_t)PORTRAIT_ELEMENT);
}

static bool step_members(struct portrait *p, size_t budget, struct str *to)
{
    struct scanning s = {.p = p, .to = to};
    do {
        p->members.cursor = members_scan(p->members.table, p->members.cursor, visit, &s);
    } while (p->members.cursor != 0 && s.work < budget);
    return p->members.cursor != 0;
}

void portraits_before_member(struct portrait *first, uint64_t hash, struct slice name,
                             const void *entry)
{
    for (struct portrait *p = first; p != NULL; p = p->next) {
        if (!p->done && !has_passed(p, hash) && portrait_sees(p, hash, name) && entry != NULL) {
            p->members.write(&p->early, entry, p->compress);
        }
    }
}

void portrait_of_members(struct portrait *p, const struct members *table, unsigned name_at,
                         void (*write)(struct str *to, const void *entry, bool compress))
{
    static const struct portrait_kind kind = {.step = step_members};
    p->kind = &kind;
    p->members.table = table;
    p->members.name_at = name_at;
    p->members.write = write;
    rdb_write_len(&p->head, members_count(table));
}

/* ---- strings ---- */

enum { BLOCK = 16 * 1024 };

static size_t blocks_of(const struct portrait *p)
{
    return (p->bytes.len + BLOCK - 1) / BLOCK;
}

static bool step_bytes(struct portrait *p, size_t budget, struct str *to)
{
    size_t end = p->bytes.at + MIN(budget, p->bytes.len - p->bytes.at);
    while (p->bytes.at < end) {
        size_t i = p->bytes.at / BLOCK;
        size_t from = p->bytes.at % BLOCK;
        size_t n = MIN((size_t)BLOCK - from, end - p->bytes.at);
        char *kept = p->bytes.blocks == NULL ? NULL : p->bytes.blocks[i];
        str_append(to, kept != NULL ? kept + from : p->bytes.chunk->data + p->bytes.at, n);
        p->bytes.at += n;
        if (kept != NULL && (from + n == BLOCK || p->bytes.at == p->bytes.len)) {
            mem_free(kept);
            p->bytes.blocks[i] = NULL;
        }
    }
    return p->bytes.at < p->bytes.len;
}

static void keep_block(struct portrait *p, size_t i)
{
    if (p->bytes.blocks == NULL) {
        p->bytes.blocks = mem_zalloc(blocks_of(p) * sizeof(p->bytes.blocks[0]));
    }
    if (p->bytes.blocks[i] == NULL) {
        size_t at = i * BLOCK;
        p->bytes.blocks[i] =
            mem_memdup(p->bytes.chunk->data + at, MIN((size_t)BLOCK, p->bytes.len - at));
    }
}

void portraits_before_bytes(struct portrait *first, size_t from, size_t to)
{
    for (struct portrait *p = first; p != NULL; p = p->next) {
        size_t end = MIN(to, p->bytes.len);
        for (size_t at = MAX(from, p->bytes.at); at < end; at = (at / BLOCK + 1) * BLOCK) {
            keep_block(p, at / BLOCK);
        }
    }
}

size_t portraits_count(const struct portrait *first)
{
    size_t n = 0;
    for (; first != NULL; first = first->next) {
        n++;
    }
    return n;
}

static void fini_bytes(struct portrait *p)
{
    for (size_t i = 0; p->bytes.blocks != NULL && i < blocks_of(p); i++) {
        mem_free(p->bytes.blocks[i]);
    }
    mem_free(p->bytes.blocks);
    chunk_unref(&p->bytes.chunk);
}

static void portray_bytes(const struct object *o, struct portrait *p)
{
    static const struct portrait_kind kind = {.step = step_bytes, .fini = fini_bytes};
    p->kind = &kind;
    p->bytes.chunk = chunk_ref(string_chunk(o));
    p->bytes.len = p->bytes.chunk->len;
    rdb_write_len(&p->head, p->bytes.len);
}

/* ---- any ---- */

static inline struct portrait **slot_of(const struct object *o)
{
    const struct object_ops *ops = object_types[o->type];
    return ops->portraits == NULL ? NULL : ops->portraits(o);
}

bool portrait_suits(const struct object *o)
{
    if (o->type == OBJECT_STRING) {
        const struct chunk *c = string_chunk(o);
        return c != NULL && c->len >= PORTRAIT_MIN;
    }
    return slot_of(o) != NULL && object_memory(o) >= PORTRAIT_MIN;
}

struct portrait *portrait_new(struct object *o, bool compress)
{
    struct portrait *p = mem_zalloc(sizeof(*p));
    p->magic = MAGIC;
    p->compress = compress;
    bool is_string = o->type == OBJECT_STRING;
    p->slot = is_string ? string_portraits(o) : slot_of(o);
    p->next = *p->slot;
    *p->slot = p;
    if (is_string) {
        portray_bytes(o, p);
    } else {
        object_types[o->type]->portray(o, p);
    }
    return p;
}

struct slice portrait_head(const struct portrait *p)
{
    return str_slice(&p->head);
}

bool portrait_step(struct portrait *p, size_t budget, struct str *to)
{
    CHECK_OBJ(p, MAGIC);
    if (p->done) {
        return false;
    }
    size_t early = p->early.len;
    str_append_slice(to, str_slice(&p->early));
    str_clear(&p->early);
    if (early >= budget) {
        return true;
    }
    if (!p->kind->step(p, budget - early, to)) {
        p->done = true;
        forget_seen(p);
    }
    return !p->done;
}

static void free_kept(struct portrait *p)
{
    for (size_t i = 0; i < p->n_kept; i++) {
        mem_free(p->kept[i]);
    }
    mem_free(p->kept);
}

void portraits_keep(struct portrait *first, void *allocation)
{
    if (first->n_kept == first->cap_kept) {
        first->cap_kept = MAX(first->cap_kept * 2, (size_t)16);
        first->kept = mem_realloc(first->kept, first->cap_kept * sizeof(first->kept[0]));
    }
    first->kept[first->n_kept++] = allocation;
}

/* What the value left to it goes to another of its portraits. */
static struct object *leave(struct portrait *p)
{
    struct portrait **at = p->slot;
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    struct portrait *heir = *p->slot;
    if (heir == NULL) {
        free_kept(p);
        return p->orphan;
    }
    for (size_t i = 0; i < p->n_kept; i++) {
        portraits_keep(heir, p->kept[i]);
    }
    mem_free(p->kept);
    heir->orphan = heir->orphan != NULL ? heir->orphan : p->orphan;
    return NULL;
}

struct object *portrait_free(struct portrait **pp)
{
    struct portrait *p = *pp;
    if (p == NULL) {
        return NULL;
    }
    CHECK_OBJ(p, MAGIC);
    forget_seen(p);
    struct object *orphan = leave(p);
    if (p->kind->fini != NULL) {
        p->kind->fini(p);
    }
    str_fini(&p->head);
    str_fini(&p->early);
    p->magic = 0;
    mem_free(p);
    *pp = NULL;
    return orphan;
}

bool portraits_adopt(struct object *o)
{
    struct portrait **slot =
        o->type == OBJECT_STRING ? NULL : slot_of(o); /* they share its bytes */
    if (slot == NULL || LIKELY(*slot == NULL)) {
        return false;
    }
    INVARIANT((*slot)->orphan == NULL);
    (*slot)->orphan = o;
    return true;
}
