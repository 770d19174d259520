// SPDX-License-Identifier: BSD-3-Clause
/* Byte buffers of a connection, built on reference-counted chunks. One thread owns a chunk and all
 * references to it.
 *
 *   inbuf   one contiguous chunk: bytes received and not yet consumed are always one slice, so that
 *           parsers work in place. Slices handed out stay valid while the caller holds a reference
 *           to the chunk (inbuf_share) or until the next inbuf_reserve.
 *   outbuf  a queue of pieces: small writes are copied into a tail chunk of its own, big ones are
 *           referenced (outbuf_append_ref). Viewed as iovecs for one writev.
 *
 *     inbuf:  [ consumed | unread .......... | room ]        outbuf: piece -> piece -> piece(tail,
 * room) 0          head                len    cap
 *
 * Always: head <= len <= cap. A chunk with refs > 1 is never moved or written below its len. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#include <sys/uio.h>

struct chunk {
    uint32_t refs;
    uint32_t scratch; /* 1: lent by the loop, to be given back (see common/io/stream.h) */
    size_t cap;
    size_t len;
    char data[];
};

struct chunk *chunk_new(size_t cap);
struct chunk *chunk_ref(struct chunk *c);
void chunk_unref(struct chunk **c);

struct inbuf {
    struct chunk *chunk; /* NULL while empty */
    size_t head;
};

void inbuf_fini(struct inbuf *b);
/* At least `want` bytes of room, contiguous behind what is unread. Moves or copies the unread bytes
 * into another chunk when there is too little room or the chunk is shared. */
char *inbuf_reserve(struct inbuf *b, size_t want, size_t *room);
void inbuf_filled(struct inbuf *b, size_t n);
/* The bytes stay where they are until the next inbuf_reserve or inbuf_trim. */
void inbuf_consume(struct inbuf *b, size_t n);
/* Gives the chunk back if nothing is unread: an idle connection holds no buffer. */
void inbuf_trim(struct inbuf *b);
/* A reference to the chunk that holds the unread bytes; the caller's to unref. Never while empty.
 */
struct chunk *inbuf_share(const struct inbuf *b);

static inline struct slice inbuf_unread(const struct inbuf *b)
{
    return b->chunk == NULL ? (struct slice){.ptr = "", .len = 0}
                            : slice_of(b->chunk->data + b->head, b->chunk->len - b->head);
}

#define OUTBUF_CHUNK   (16 * 1024) /* size of a tail chunk */
#define OUTBUF_REF_MIN (4 * 1024)  /* from here a reference is cheaper than a copy */

struct outpiece {
    struct chunk *chunk;
    size_t off;
    size_t len;
};

struct outbuf {
    struct outpiece *pieces; /* ring of `cap` (a power of two), from `first` */
    uint32_t cap;
    uint32_t first;
    uint32_t count;
    uint32_t settled; /* pieces from the first on that outbuf_settle has seen to */
    size_t bytes;     /* sum of the pieces' len */
};

void outbuf_fini(struct outbuf *o);
void outbuf_append(struct outbuf *o, const void *ptr, size_t len);
/* References bytes of `c` instead of copying; takes a reference of its own. */
void outbuf_append_ref(struct outbuf *o, struct chunk *c, const char *ptr, size_t len);
/* Copies below OUTBUF_REF_MIN, else references. */
void outbuf_append_from(struct outbuf *o, struct chunk *c, const char *ptr, size_t len);
/* `want` bytes to format into directly (want <= OUTBUF_CHUNK); outbuf_commit says how many were
 * used. Nothing else may be appended in between. */
char *outbuf_reserve(struct outbuf *o, size_t want);
/* The same for any length; what is larger than half a tail chunk gets a chunk of just that size. */
char *outbuf_reserve_large(struct outbuf *o, size_t want);
void outbuf_commit(struct outbuf *o, size_t used);
/* Moves everything of `from` behind what is in `to`. */
void outbuf_splice(struct outbuf *to, struct outbuf *from);
/* Fills at most `max` iovecs; returns how many. */
int outbuf_iovec(const struct outbuf *o, struct iovec *iov, int max);
void outbuf_consume(struct outbuf *o, size_t n);
/* The last `n` bytes of it (n <= bytes). */
void outbuf_copy_last(const struct outbuf *o, char *to, size_t n);
/* For what waits long: pieces that refer to a small part of a large chunk get a copy of their own,
 * so that they keep no more memory than they hold. Each piece is looked at once. */
void outbuf_settle(struct outbuf *o);
/* Memory held, referenced chunks counted by their used piece. */
size_t outbuf_memory(const struct outbuf *o);
