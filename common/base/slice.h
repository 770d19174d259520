// SPDX-License-Identifier: BSD-3-Clause
/* Borrowed bytes: a pointer and a length, never owned, not NUL-terminated. Passed by value. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(lit) ((struct slice){.ptr = (lit), .len = sizeof(lit) - 1})

static inline struct slice slice_of(const char *ptr, size_t len)
{
    return (struct slice){.ptr = ptr, .len = len};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){.ptr = s, .len = strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-blind equality; for command names and options. */
static inline bool slice_is(struct slice a, const char *word)
{
    return strlen(word) == a.len && strncasecmp(a.ptr, word, a.len) == 0;
}
