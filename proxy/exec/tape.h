// SPDX-License-Identifier: BSD-3-Clause
/* A tape: a chunk into which small pieces are copied one behind the other, each kept alive by a
 * reference of its own, so that neighbours join to one iovec and nothing is allocated a piece. */
#pragma once

#include "common/base/buf.h"

#define TAPE_BYTES (32 * 1024 - sizeof(struct chunk))

/* Room for `len` bytes; the chunk is *tape. What is written there becomes part of the tape with
 * chunk->len, which the caller raises. */
static inline char *tape_room(struct chunk **tape, size_t len)
{
    struct chunk *c = *tape;
    if (UNLIKELY(c == NULL)) {
        c = *tape = chunk_new(MAX(TAPE_BYTES, len));
    } else if (c->refs == 1) {
        c->len = 0; /* nobody needs what is on it: the same warm bytes again */
    }
    if (UNLIKELY(c->cap - c->len < len)) {
        chunk_unref(tape);
        c = *tape = chunk_new(MAX(TAPE_BYTES, len));
    }
    return c->data + c->len;
}

/* A copy of the piece; the caller takes a reference if it keeps it. */
static inline char *tape_put(struct chunk **tape, const char *ptr, size_t len)
{
    char *to = tape_room(tape, len);
    memcpy(to, ptr, len);
    (*tape)->len += len;
    return to;
}
