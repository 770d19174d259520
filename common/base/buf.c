// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/buf.h"

#include "common/base/mem.h"

#define INBUF_FIRST     1024 /* room of the first chunk, when the caller wants less */
#define OUTBUF_FIRST    2048 /* whole size of the first tail chunk: most turns need no more */
#define SPLICE_COPY_MAX 512  /* a piece up to here costs less to copy than an iovec of its own */
#define RING_KEEP       64   /* a longer ring is given back once it is empty */

struct chunk *chunk_new(size_t cap)
{
    struct chunk *c = mem_alloc(sizeof *c + cap);
    c->refs = 1;
    c->scratch = 0;
    c->cap = cap;
    c->len = 0;
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    INVARIANT(c->refs > 0 && c->refs < UINT32_MAX);
    c->refs++;
    return c;
}

void chunk_unref(struct chunk **c)
{
    struct chunk *chunk = *c;
    *c = NULL;
    if (chunk == NULL) {
        return;
    }
    INVARIANT(chunk->refs > 0);
    if (--chunk->refs == 0) {
        mem_free(chunk);
    }
}

void inbuf_fini(struct inbuf *b)
{
    chunk_unref(&b->chunk);
    b->head = 0;
}

/* Another chunk with the unread bytes and at least `want` behind them. Twice what is there, so that
 * a message that grows is copied a constant number of times. */
static void move_unread(struct inbuf *b, size_t want)
{
    struct slice unread = inbuf_unread(b);
    struct chunk *old = b->chunk;
    size_t cap = unread.len + MAX(want, unread.len);

    if (old->refs == 1 && old->scratch == 0 && b->head == 0 && unread.len > 0) {
        b->chunk = mem_realloc(old, sizeof *old + cap); /* large ones often grow in place */
        b->chunk->cap = cap;
        return;
    }
    struct chunk *moved = chunk_new(cap);
    memcpy(moved->data, unread.ptr, unread.len);
    moved->len = unread.len;
    chunk_unref(&old);
    b->chunk = moved;
    b->head = 0;
}

char *inbuf_reserve(struct inbuf *b, size_t want, size_t *room)
{
    struct chunk *c = b->chunk;
    if (c == NULL) {
        c = b->chunk = chunk_new(MAX(want, (size_t)INBUF_FIRST));
        b->head = 0;
    } else if (c->refs == 1 && b->head == c->len) {
        b->head = c->len = 0;
    }
    if (c->cap - c->len < want) {
        size_t unread = c->len - b->head;
        /* Moved within the chunk only when that frees more than it moves: linear in all. */
        if (c->refs == 1 && unread <= b->head && c->cap - unread >= want) {
            memmove(c->data, c->data + b->head, unread);
            c->len = unread;
            b->head = 0;
        } else {
            move_unread(b, want);
            c = b->chunk;
        }
    }
    *room = c->cap - c->len;
    return c->data + c->len;
}

void inbuf_filled(struct inbuf *b, size_t n)
{
    INVARIANT(b->chunk != NULL);
    INVARIANT(n <= b->chunk->cap - b->chunk->len);
    b->chunk->len += n;
}

void inbuf_consume(struct inbuf *b, size_t n)
{
    INVARIANT(n <= inbuf_unread(b).len);
    b->head += n;
}

void inbuf_trim(struct inbuf *b)
{
    if (inbuf_unread(b).len == 0) {
        inbuf_fini(b);
    }
}

struct chunk *inbuf_share(const struct inbuf *b)
{
    INVARIANT(b->chunk != NULL);
    return chunk_ref(b->chunk);
}

static inline struct outpiece *piece_at(const struct outbuf *o, uint32_t i)
{
    return &o->pieces[(o->first + i) & (o->cap - 1)];
}

static void grow_ring(struct outbuf *o)
{
    uint32_t cap = o->cap == 0 ? 4 : o->cap * 2;
    INVARIANT(cap > o->cap);
    struct outpiece *pieces = mem_alloc(cap * sizeof *pieces);
    for (uint32_t i = 0; i < o->count; i++) {
        pieces[i] = *piece_at(o, i);
    }
    mem_free(o->pieces);
    o->pieces = pieces;
    o->cap = cap;
    o->first = 0;
}

/* Takes the caller's reference to `c`. */
static struct outpiece *push_piece(struct outbuf *o, struct chunk *c, size_t off, size_t len)
{
    if (o->count == o->cap) {
        grow_ring(o);
    }
    struct outpiece *piece = piece_at(o, o->count++);
    *piece = (struct outpiece){.chunk = c, .off = off, .len = len};
    o->bytes += len;
    return piece;
}

/* The last piece, if bytes can be written right behind it: its chunk is nobody else's and has
 * nothing behind the piece. NULL otherwise. */
static inline struct outpiece *open_tail(const struct outbuf *o)
{
    if (o->count == 0) {
        return NULL;
    }
    struct outpiece *last = piece_at(o, o->count - 1);
    struct chunk *c = last->chunk;
    return c->refs == 1 && c->scratch == 0 && last->off + last->len == c->len ? last : NULL;
}

/* A tail with at least `want` bytes of room. */
static inline struct outpiece *tail_for(struct outbuf *o, size_t want)
{
    struct outpiece *tail = open_tail(o);
    if (LIKELY(tail != NULL && tail->chunk->cap - tail->chunk->len >= want)) {
        return tail;
    }
    size_t cap = (o->count == 0 ? OUTBUF_FIRST : OUTBUF_CHUNK) - sizeof(struct chunk);
    return push_piece(o, chunk_new(MAX(cap, want)), 0, 0);
}

static inline void tail_wrote(struct outbuf *o, struct outpiece *tail, size_t n)
{
    tail->chunk->len += n;
    tail->len += n;
    o->bytes += n;
}

void outbuf_fini(struct outbuf *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        chunk_unref(&piece_at(o, i)->chunk);
    }
    mem_free(o->pieces);
    *o = (struct outbuf){0};
}

void outbuf_append(struct outbuf *o, const void *ptr, size_t len)
{
    const char *from = ptr;
    if (len == 0) {
        return;
    }
    struct outpiece *tail = open_tail(o);
    if (tail != NULL) {
        size_t n = MIN(len, tail->chunk->cap - tail->chunk->len);
        memcpy(tail->chunk->data + tail->chunk->len, from, n);
        tail_wrote(o, tail, n);
        from += n;
        len -= n;
    }
    if (len > 0) {
        tail = tail_for(o, len);
        memcpy(tail->chunk->data, from, len);
        tail_wrote(o, tail, len);
    }
}

/* Lengthens the last piece if `ptr` follows it in the same chunk. */
static bool extend_last(struct outbuf *o, const struct chunk *c, const char *ptr, size_t len)
{
    if (o->count == 0) {
        return false;
    }
    struct outpiece *last = piece_at(o, o->count - 1);
    if (last->chunk != c || c->data + last->off + last->len != ptr) {
        return false;
    }
    last->len += len;
    o->bytes += len;
    return true;
}

static void check_within(const struct chunk *c, const char *ptr, size_t len)
{
    INVARIANT(ptr >= c->data);
    INVARIANT(ptr + len <= c->data + c->len);
}

void outbuf_append_ref(struct outbuf *o, struct chunk *c, const char *ptr, size_t len)
{
    check_within(c, ptr, len);
    if (len > 0 && !extend_last(o, c, ptr, len)) {
        push_piece(o, chunk_ref(c), (size_t)(ptr - c->data), len);
    }
}

void outbuf_append_from(struct outbuf *o, struct chunk *c, const char *ptr, size_t len)
{
    check_within(c, ptr, len);
    if (extend_last(o, c, ptr, len)) {
        return; /* neither a copy nor a piece */
    }
    if (len < OUTBUF_REF_MIN) {
        outbuf_append(o, ptr, len);
    } else {
        outbuf_append_ref(o, c, ptr, len);
    }
}

char *outbuf_reserve_large(struct outbuf *o, size_t want)
{
    const struct outpiece *tail = open_tail(o);
    bool fits = tail != NULL && tail->chunk->cap - tail->chunk->len >= want;
    tail =
        !fits && want > OUTBUF_CHUNK / 2 ? push_piece(o, chunk_new(want), 0, 0) : tail_for(o, want);
    return tail->chunk->data + tail->chunk->len;
}

char *outbuf_reserve(struct outbuf *o, size_t want)
{
    INVARIANT(want <= OUTBUF_CHUNK);
    struct chunk *c = tail_for(o, want)->chunk;
    return c->data + c->len;
}

void outbuf_commit(struct outbuf *o, size_t used)
{
    struct outpiece *tail = open_tail(o);
    INVARIANT(tail != NULL);
    INVARIANT(used <= tail->chunk->cap - tail->chunk->len);
    tail_wrote(o, tail, used);
    if (tail->len == 0) {
        o->count--;
        o->settled = MIN(o->settled, o->count);
        chunk_unref(&tail->chunk);
    }
}

void outbuf_splice(struct outbuf *to, struct outbuf *from)
{
    if (to->count == 0) {
        struct outbuf empty = *to;
        *to = *from;
        *from = empty;
        return;
    }
    for (uint32_t i = 0; i < from->count; i++) {
        struct outpiece *piece = piece_at(from, i);
        const char *ptr = piece->chunk->data + piece->off;
        if (piece->len <= SPLICE_COPY_MAX) {
            outbuf_append(to, ptr, piece->len);
            chunk_unref(&piece->chunk);
        } else if (extend_last(to, piece->chunk, ptr, piece->len)) {
            chunk_unref(&piece->chunk);
        } else {
            push_piece(to, piece->chunk, piece->off, piece->len);
        }
    }
    from->count = 0;
    from->settled = 0;
    from->bytes = 0;
}

int outbuf_iovec(const struct outbuf *o, struct iovec *iov, int max)
{
    int n = 0;
    for (uint32_t i = 0; i < o->count && n < max; i++, n++) {
        const struct outpiece *piece = piece_at(o, i);
        iov[n].iov_base = piece->chunk->data + piece->off;
        iov[n].iov_len = piece->len;
    }
    return n;
}

void outbuf_consume(struct outbuf *o, size_t n)
{
    INVARIANT(n <= o->bytes);
    o->bytes -= n;
    while (n > 0) {
        struct outpiece *piece = piece_at(o, 0);
        if (n < piece->len) {
            piece->off += n;
            piece->len -= n;
            return;
        }
        n -= piece->len;
        chunk_unref(&piece->chunk);
        o->first = (o->first + 1) & (o->cap - 1);
        o->count--;
        o->settled -= o->settled > 0;
    }
    if (o->count == 0 && o->cap > RING_KEEP) {
        outbuf_fini(o);
    }
}

void outbuf_copy_last(const struct outbuf *o, char *to, size_t n)
{
    INVARIANT(n <= o->bytes);
    for (uint32_t i = o->count; n > 0; i--) {
        const struct outpiece *p = piece_at(o, i - 1);
        size_t take = MIN(p->len, n);
        n -= take;
        memcpy(to + n, p->chunk->data + p->off + p->len - take, take);
    }
}

void outbuf_settle(struct outbuf *o)
{
    for (; o->settled < o->count; o->settled++) {
        struct outpiece *piece = piece_at(o, o->settled);
        if (piece->chunk->cap <= OUTBUF_CHUNK || piece->len > piece->chunk->cap / 4) {
            continue;
        }
        struct chunk *own = chunk_new(piece->len);
        memcpy(own->data, piece->chunk->data + piece->off, piece->len);
        own->len = piece->len;
        chunk_unref(&piece->chunk);
        piece->chunk = own;
        piece->off = 0;
    }
}

size_t outbuf_memory(const struct outbuf *o)
{
    size_t sum = o->cap * sizeof(struct outpiece);
    for (uint32_t i = 0; i < o->count; i++) {
        const struct outpiece *piece = piece_at(o, i);
        sum += piece->chunk->refs == 1 ? sizeof(struct chunk) + piece->chunk->cap : piece->len;
    }
    return sum;
}
