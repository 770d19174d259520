// SPDX-License-Identifier: BSD-3-Clause
/* The number of a reply's line, shared by skip and value so that they agree on what is one. */
#pragma once

#include "common/resp/skip.h"

#include <stdbool.h>

/* Reads "[-]digits\r\n" at `at`, at most 19 digits within an int64. SKIP_OK sets *v and *next. */
static inline enum resp_skip_status reply_number(const char *at, const char *end, int64_t *v,
                                                 const char **next)
{
    bool negative = at < end && *at == '-';
    const char *first = at + negative;
    const char *p = first;
    uint64_t n = 0;
    for (; p < end; p++) {
        unsigned digit = (unsigned char)*p - (unsigned)'0';
        if (digit > 9) {
            break;
        }
        if (UNLIKELY(p - first == 19)) {
            return SKIP_BAD;
        }
        n = n * 10 + digit; /* 19 digits fit into 64 bits without a sign */
    }
    if (UNLIKELY(p == end)) {
        return SKIP_MORE;
    }
    if (UNLIKELY(p == first || *p != '\r' || n > (uint64_t)INT64_MAX + negative)) {
        return SKIP_BAD;
    }
    if (UNLIKELY(p + 1 == end)) {
        return SKIP_MORE;
    }
    *v = (int64_t)(negative ? 0 - n : n);
    *next = p + 2;
    return p[1] == '\n' ? SKIP_OK : SKIP_BAD;
}

/* No reply's length or count is beyond this; sums of two stay far from overflow. */
#define REPLY_LENGTH_MAX ((int64_t)1 << 48)

/* What the length in a bulk's header may be: -1 (nil) of '$' only, and a verbatim string has its
 * three letters and ':'. */
static inline bool reply_bulk_length_ok(char type, int64_t len)
{
    return len >= (type == '$' ? -1 : type == '=' ? 4 : 0) && len <= REPLY_LENGTH_MAX;
}

/* The same of an aggregate's count. */
static inline bool reply_count_ok(char type, int64_t count)
{
    return count >= (type == '*' ? -1 : 0) && count <= REPLY_LENGTH_MAX;
}
