// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/str.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/num.h"

#include <stdio.h>

void str_fini(struct str *s)
{
    mem_free(s->ptr);
    *s = (struct str){0};
}

void str_clear(struct str *s)
{
    s->len = 0;
    if (s->ptr != NULL) {
        s->ptr[0] = '\0';
    }
}

char *str_reserve(struct str *s, size_t more)
{
    size_t need = s->len + more + 1;
    INVARIANT(need > more);
    if (need > s->cap) {
        size_t cap = MAX(need, s->cap + s->cap / 2);
        cap = MAX(cap, 32U);
        s->ptr = mem_realloc(s->ptr, cap);
        s->cap = cap;
        s->ptr[s->len] = '\0';
    }
    return s->ptr + s->len;
}

void str_append(struct str *s, const void *ptr, size_t len)
{
    if (len == 0) {
        return;
    }
    memcpy(str_reserve(s, len), ptr, len);
    s->len += len;
    s->ptr[s->len] = '\0';
}

void str_append_slice(struct str *s, struct slice v)
{
    str_append(s, v.ptr, v.len);
}

void str_appendz(struct str *s, const char *text)
{
    str_append(s, text, strlen(text));
}

void str_append_char(struct str *s, char c)
{
    str_append(s, &c, 1);
}

void str_append_le32(struct str *s, uint32_t v)
{
    char b[4];
    put_le32(b, v);
    str_append(s, b, sizeof(b));
}

void str_append_le64(struct str *s, uint64_t v)
{
    char b[8];
    put_le64(b, v);
    str_append(s, b, sizeof(b));
}

void str_append_int(struct str *s, long long v)
{
    size_t len = num_print_i64(str_reserve(s, NUM_I64_MAX_LEN), v);
    s->len += len;
    s->ptr[s->len] = '\0';
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *to = str_reserve(s, 128);
    int len = vsnprintf(to, s->cap - s->len, fmt, ap);
    INVARIANT(len >= 0);
    if ((size_t)len >= s->cap - s->len) {
        to = str_reserve(s, (size_t)len);
        vsnprintf(to, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    s->len += (size_t)len;
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    str_vprintf(s, fmt, ap);
    va_end(ap);
}

void str_append_quoted(struct str *s, struct slice v)
{
    static const char from[] = "\\\"\n\r\t\a\b";
    static const char to[] = "\\\"nrtab";

    str_append_char(s, '"');
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        const char *escape = c == '\0' ? NULL : strchr(from, c);
        if (escape != NULL) {
            char two[2] = {'\\', to[escape - from]};
            str_append(s, two, 2);
        } else if (c >= ' ' && c <= '~') {
            str_append_char(s, c);
        } else {
            str_printf(s, "\\x%02x", (unsigned char)c);
        }
    }
    str_append_char(s, '"');
}

struct slice str_slice(const struct str *s)
{
    return slice_of(str_cstr(s), s->len);
}

const char *str_cstr(const struct str *s)
{
    return s->ptr == NULL ? "" : s->ptr;
}

char *str_steal(struct str *s)
{
    str_reserve(s, 0);
    char *ptr = s->ptr;
    *s = (struct str){0};
    return ptr;
}
