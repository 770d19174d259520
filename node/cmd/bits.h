// SPDX-License-Identifier: BSD-3-Clause
/* What SETBIT and BITFIELD share: bit offsets as arguments, strings opened for writing bits. */
#pragma once

#include "node/cmd/call.h"

/* A bit offset, "#n" meaning n times `width` where allowed. False: the error is written. */
bool bits_offset(struct call *c, struct slice text, bool hash_allowed, unsigned width,
                 uint64_t *out) MUSTCHECK;

struct bits {
    struct probe probe;
    struct object *object;
    char *bytes;
    size_t len;
    bool is_new; /* not in its table yet */
    bool grown;  /* new, or longer than it was: a change, whatever is written */
};
/* The string at argv[1], made or grown so that it has the bit `last`; bits before `first`, or
 * behind `last`, must not be written. False: of another type, the error is written. Else bits_close
 * must follow. */
bool bits_open(struct call *c, struct bits *b, uint64_t first, uint64_t last) MUSTCHECK;
/* After writing: `changed` if any bit is another now. */
void bits_close(struct call *c, const struct bits *b, bool changed);
