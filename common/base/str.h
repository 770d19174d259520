// SPDX-License-Identifier: BSD-3-Clause
/* Owned, growing bytes. Always NUL-terminated behind `len`, so that text can be printed; the bytes
 * themselves may hold NUL. Zero-initialised is a valid empty string ({0}); str_fini frees. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#include <stdarg.h>

struct str {
    char *ptr; /* NULL while nothing was ever appended */
    size_t len;
    size_t cap;
};

void str_fini(struct str *s);
void str_clear(struct str *s);
/* At least `more` bytes of room behind len; returns where they start. */
char *str_reserve(struct str *s, size_t more);
void str_append(struct str *s, const void *ptr, size_t len);
void str_append_slice(struct str *s, struct slice v);
void str_appendz(struct str *s, const char *text);
void str_append_char(struct str *s, char c);
/* Little-endian, as on disk and wire. */
void str_append_le32(struct str *s, uint32_t v);
void str_append_le64(struct str *s, uint64_t v);
void str_append_int(struct str *s, long long v);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_vprintf(struct str *s, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Printable form as in redis-cli: "a\x00b\r\n" with quotes. */
void str_append_quoted(struct str *s, struct slice v);
struct slice str_slice(const struct str *s);
/* The text, "" when empty. Borrowed until the next change. */
const char *str_cstr(const struct str *s);
/* Gives the bytes away (caller frees with mem_free) and empties s. Never NULL. */
char *str_steal(struct str *s);
