// SPDX-License-Identifier: BSD-3-Clause
/* ziplist   u32 le bytes | u32 le offset of the last | u16 le elements | element ... | 0xFF
 *   element   length of the one before: u8 below 254, or 0xFE and u32 le; then encoding and data
 *     00llllll | 01llllll + u8 | 10000000 + u32 be    that many bytes
 *     C0 i16, D0 i32, E0 i64, F0 i24, FE i8 (le)      number
 *     1111nnnn, 1 to 13                               number n - 1
 * zipmap    u8 pairs (254 and more: count) | length field | length unused value unused.. | 0xFF
 *   length    u8 below 254, or 0xFE and u32 le */
#include "node/types/ziplist.h"

enum {
    END = 0xFF,
    WIDE = 0xFE, /* a length of 4 bytes follows */
    HEAD = 10,
    COUNT_OFF = 0xFFFF,
    ZIPMAP_COUNT_OFF = 254,
    INT16 = 0xC0,
    INT32 = 0xD0,
    INT64 = 0xE0,
    INT24 = 0xF0,
    INT8 = 0xFE,
};

static uint64_t le(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return le64toh(v);
}

/* Bytes of data of a number with this encoding; -1: it is none. */
static int number_size(unsigned encoding)
{
    switch (encoding) {
    case INT8:
        return 1;
    case INT16:
        return 2;
    case INT24:
        return 3;
    case INT32:
        return 4;
    case INT64:
        return 8;
    default:
        return encoding >= 0xF1 && encoding <= 0xFD ? 0 : -1;
    }
}

/* An element at p with `left` bytes from there on: its whole length, 0 if it is wrong. */
static size_t read_element(const unsigned char *p, size_t left, size_t *before,
                           struct listpack_value *v)
{
    size_t at = left > 0 && p[0] == WIDE ? 5 : 1;
    if (left <= at || p[0] == END) {
        return 0;
    }
    *before = at == 1 ? p[0] : le(p + 1, 4);
    *v = (struct listpack_value){0};
    unsigned encoding = p[at];
    size_t len;
    size_t head;
    switch (encoding >> 6) {
    case 0:
        head = 1;
        len = encoding & 0x3f;
        break;
    case 1:
        head = 2;
        len = left - at < head ? 0 : (encoding & 0x3f) << 8 | p[at + 1];
        break;
    case 2:
        head = 5;
        len = left - at < head ? 0 : be32toh((uint32_t)htole64(le(p + at + 1, 4)));
        break;
    default: {
        int size = number_size(encoding);
        if (size < 0 || left - at - 1 < (size_t)size) {
            return 0;
        }
        unsigned empty = 64 - (unsigned)size * 8;
        v->number = size == 0 ? (int64_t)(encoding & 0xf) - 1
                              : (int64_t)(le(p + at + 1, (size_t)size) << empty) >> empty;
        return at + 1 + (size_t)size;
    }
    }
    if (left - at < head || left - at - head < len || encoding >> 6 == 3) {
        return 0;
    }
    v->ptr = (const char *)p + at + head;
    v->len = len;
    return at + head + len;
}

bool ziplist_valid(struct slice bytes, size_t *count)
{
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    if (bytes.len < HEAD + 1 || le(b, 4) != bytes.len || b[bytes.len - 1] != END) {
        return false;
    }
    size_t at = HEAD;
    size_t last = HEAD;
    size_t size_before = 0;
    size_t n = 0;
    while (at < bytes.len - 1) {
        struct listpack_value v;
        size_t before;
        size_t size = read_element(b + at, bytes.len - 1 - at, &before, &v);
        if (size == 0 || before != size_before) {
            return false;
        }
        last = at;
        size_before = size;
        at += size;
        n++;
    }
    *count = n;
    uint64_t told = le(b + 8, 2);
    return le(b + 4, 4) == last && (told == COUNT_OFF || told == n);
}

struct ziplist_walk ziplist_walk(struct slice bytes)
{
    return (struct ziplist_walk){.p = (const unsigned char *)bytes.ptr + HEAD};
}

bool ziplist_next(struct ziplist_walk *w, struct listpack_value *v)
{
    if (w->p[0] == END) {
        return false;
    }
    size_t before;
    w->p += read_element(w->p, SIZE_MAX, &before, v);
    return true;
}

/* ---- zipmaps ---- */

/* Bytes of the length itself; 0 if it is wrong. */
static size_t read_len(const unsigned char *p, size_t left, size_t *len)
{
    if (left < 1 || p[0] == END || (p[0] == WIDE && left < 5)) {
        return 0;
    }
    *len = p[0] == WIDE ? le(p + 1, 4) : p[0];
    return p[0] == WIDE ? 5 : 1;
}

/* A pair, all of it; 0 if it is wrong. */
static size_t read_pair(const unsigned char *p, size_t left, struct slice *field,
                        struct slice *value)
{
    size_t len;
    size_t at = read_len(p, left, &len);
    if (at == 0 || left - at < len) {
        return 0;
    }
    *field = slice_of((const char *)p + at, len);
    at += len;
    size_t head = read_len(p + at, left - at, &len);
    if (head == 0 || left - at - head < 1 || left - at - head - 1 < len) {
        return 0;
    }
    size_t unused = p[at + head];
    at += head + 1;
    *value = slice_of((const char *)p + at, len);
    at += len;
    return left - at < unused ? 0 : at + unused;
}

bool zipmap_valid(struct slice bytes, size_t *pairs)
{
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    if (bytes.len < 2 || b[bytes.len - 1] != END) {
        return false;
    }
    size_t n = 0;
    size_t at = 1;
    while (at < bytes.len - 1) {
        struct slice field;
        struct slice value;
        size_t size = read_pair(b + at, bytes.len - 1 - at, &field, &value);
        if (size == 0) {
            return false;
        }
        at += size;
        n++;
    }
    *pairs = n;
    return b[0] >= ZIPMAP_COUNT_OFF || b[0] == n;
}

struct zipmap_walk zipmap_walk(struct slice bytes)
{
    return (struct zipmap_walk){.p = (const unsigned char *)bytes.ptr + 1};
}

bool zipmap_next(struct zipmap_walk *w, struct slice *field, struct slice *value)
{
    if (w->p[0] == END) {
        return false;
    }
    w->p += read_pair(w->p, SIZE_MAX, field, value);
    return true;
}
