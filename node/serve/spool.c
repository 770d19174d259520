// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/spool.h"

#include "common/base/mem.h"

#define PIECE_BYTES ((size_t)16 << 10)

struct piece {
    struct list link;
    struct chunk *chunk;
    uint64_t at; /* place of its first byte */
};

void spool_init(struct spool *s, uint64_t at)
{
    *s = (struct spool){.first = at, .end = at};
    list_init(&s->pieces);
}

static void drop(struct spool *s, struct piece *p)
{
    s->memory -= p->chunk->cap + sizeof(*p);
    list_remove(&p->link);
    chunk_unref(&p->chunk);
    mem_free(p);
}

void spool_fini(struct spool *s)
{
    LIST_FOREACH_SAFE(it, &s->pieces) {
        drop(s, container_of(it, struct piece, link));
    }
}

/* With room for some of `want` bytes. What is behind a chunk's end nobody refers to yet. */
static struct chunk *tail(struct spool *s, size_t want)
{
    if (!list_empty(&s->pieces)) {
        struct piece *last = container_of(s->pieces.prev, struct piece, link);
        if (last->chunk->len < last->chunk->cap) {
            return last->chunk;
        }
    }
    struct piece *p = mem_zalloc(sizeof(*p));
    p->chunk = chunk_new(MAX(want, PIECE_BYTES));
    p->at = s->end;
    s->memory += p->chunk->cap + sizeof(*p);
    list_append(&s->pieces, &p->link);
    return p->chunk;
}

void spool_append(struct spool *s, struct slice bytes)
{
    while (bytes.len > 0) {
        struct chunk *c = tail(s, bytes.len);
        size_t n = MIN(bytes.len, c->cap - c->len);
        memcpy(c->data + c->len, bytes.ptr, n);
        c->len += n;
        s->end += n;
        bytes = slice_of(bytes.ptr + n, bytes.len - n);
    }
}

void spool_trim(struct spool *s, uint64_t keep)
{
    LIST_FOREACH_SAFE(it, &s->pieces) {
        struct piece *p = container_of(it, struct piece, link);
        if (p->at + p->chunk->len > keep) {
            break;
        }
        s->first = p->at + p->chunk->len;
        drop(s, p);
    }
}

void spool_copy(struct spool *s, uint64_t from, struct outbuf *to)
{
    INVARIANT(from >= s->first);
    INVARIANT(from <= s->end);
    struct list *it = &s->pieces;
    /* Most want the end. */
    while (it->prev != &s->pieces && container_of(it->prev, struct piece, link)->at >= from) {
        it = it->prev;
    }
    if (it->prev != &s->pieces) {
        it = it->prev;
    }
    for (; it != &s->pieces; it = it->next) {
        struct piece *p = container_of(it, struct piece, link);
        size_t skip = from > p->at ? (size_t)(from - p->at) : 0;
        if (skip < p->chunk->len) {
            outbuf_append_from(to, p->chunk, p->chunk->data + skip, p->chunk->len - skip);
        }
    }
}
