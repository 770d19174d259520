// SPDX-License-Identifier: BSD-3-Clause
/* What SCAN, HSCAN, SSCAN and ZSCAN share: cursor, MATCH, COUNT, and the form of the answer. A
 * function that returns false has written the error already. */
#pragma once

#include "node/cmd/call.h"

#define SCAN_TYPE_ANY  (-1)
#define SCAN_TYPE_NONE (-2) /* there is no such type: nothing matches */

struct scan_args {
    uint64_t count;       /* 10 */
    struct slice pattern; /* unless any */
    bool any;
    int type;
};

/* Argument i as a cursor, 0 at the start. */
bool scan_cursor(struct call *c, size_t i, uint64_t *cursor) MUSTCHECK;
/* From argument i on; TYPE only where keys are walked. */
bool scan_options(struct call *c, size_t i, bool of_keys, struct scan_args *out) MUSTCHECK;
bool scan_matches(const struct scan_args *a, struct slice name);

/* The next cursor and the head of an array of n elements, which the caller writes. */
void scan_reply(struct call *c, uint64_t next, size_t n);

/* What a step of a scan found, until all are there and can be counted. Begins as {0}. */
struct scan_found {
    const void **of;
    size_t n;
    size_t cap;
};
void scan_found_add(struct scan_found *f, const void *what);
void scan_found_fini(struct scan_found *f);
