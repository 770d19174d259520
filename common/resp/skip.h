// SPDX-License-Identifier: BSD-3-Clause
/* Finds where a reply ends without decoding it: RESP2 and RESP3, nested, incremental.
 *
 * Resumable: the bytes may come in any cuts; work done is not repeated. Depth is bounded (a reply
 * deeper than RESP_SKIP_DEPTH is an error), lengths are checked. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#define RESP_SKIP_DEPTH 32

struct resp_skip {
    size_t pos;      /* whole elements and headers so far, from the reply's start */
    size_t searched; /* no line end between pos and this; a long line is searched once */
    uint32_t depth;
    uint32_t attributes; /* the outermost so many levels are attributes before the reply */
    char type; /* first byte of the reply, behind its attributes: '+', '-', ':', '$', '*', ... */
    int64_t left[RESP_SKIP_DEPTH]; /* elements still to come at each depth */
};

enum resp_skip_status { SKIP_OK, SKIP_MORE, SKIP_BAD };

void resp_skip_init(struct resp_skip *s);
/* `in` starts at the reply's start each time, with at least the bytes of the last call. SKIP_OK:
 * *end is the reply's length (attributes before it included), s->type tells its kind until the next
 * call, and s is ready for the next reply. SKIP_MORE: *end is how many more bytes are needed at
 * least. SKIP_BAD: no RESP; the connection is of no more use. */
enum resp_skip_status resp_skip(struct resp_skip *s, struct slice in, size_t *end);
