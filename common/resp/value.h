// SPDX-License-Identifier: BSD-3-Clause
/* A reply as a tree, for the few replies that must be understood: INFO to merge, SCAN, COMMAND.
 * Strings are slices into the bytes it was parsed from. Never on the hot path. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

enum resp_type {
    RESP_NIL,
    RESP_SIMPLE,
    RESP_ERR,
    RESP_INT,
    RESP_BULK,
    RESP_ARRAY,
    RESP_MAP,
    RESP_SET,
    RESP_PUSH,
    RESP_BOOL,
    RESP_DOUBLE,
    RESP_VERBATIM,
    RESP_BIGNUM,
};

struct resp_value {
    enum resp_type type;
    struct slice text;        /* SIMPLE, ERR, BULK, DOUBLE, BIGNUM, VERBATIM (without "txt:") */
    int64_t number;           /* INT, BOOL */
    struct resp_value *items; /* ARRAY, SET, PUSH: count; MAP: key, value, key, value... */
    size_t count;             /* items; a MAP of 3 pairs has 6 */
};

/* `in` is exactly one whole reply. NULL if it is not. Freed with resp_value_free. */
struct resp_value *resp_value_parse(struct slice in);
void resp_value_free(struct resp_value **v);
