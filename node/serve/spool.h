// SPDX-License-Identifier: BSD-3-Clause
/* The last bytes of a stream that others follow, each byte at its place for ever: what Redis calls
 * the replication backlog. Held once, in chunks that followers' outputs refer to.
 *
 * Owned by who made it; one thread. Pure. */
#pragma once

#include "common/base/buf.h"
#include "common/base/list.h"

struct spool {
    struct list pieces; /* in order, without gaps */
    uint64_t first;     /* the place of the first byte that is held */
    uint64_t end;       /* behind the last */
    size_t memory;
};

/* Empty, and its next byte is at `at`. */
void spool_init(struct spool *s, uint64_t at);
void spool_fini(struct spool *s);
void spool_append(struct spool *s, struct slice bytes);
/* Bytes before `keep` may go; what shares a piece with later ones stays for now. */
void spool_trim(struct spool *s, uint64_t keep);
/* The bytes from a place that is held (first <= from <= end) to the end. */
void spool_copy(struct spool *s, uint64_t from, struct outbuf *to);
