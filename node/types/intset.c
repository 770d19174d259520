// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/intset.h"

#include "node/types/object.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

enum { HEADER = 8, COUNT_AT = 4 };

/* The bytes of the file themselves. */
struct intset {
    char bytes[HEADER];
    char numbers[];
};

static inline unsigned width_of(const struct intset *s)
{
    return get_le32(s->bytes);
}

static inline unsigned width_for(int64_t v)
{
    return v == (int16_t)v ? sizeof(int16_t) : v == (int32_t)v ? sizeof(int32_t) : sizeof(int64_t);
}

static inline int64_t get_number(const char *from, unsigned width)
{
    switch (width) {
    case sizeof(int16_t):
        return (int16_t)get_le16(from);
    case sizeof(int32_t):
        return (int32_t)get_le32(from);
    default:
        return (int64_t)get_le64(from);
    }
}

static inline void put_number(char *to, unsigned width, int64_t v)
{
    switch (width) {
    case sizeof(int16_t):
        put_le16(to, (uint16_t)v);
        break;
    case sizeof(int32_t):
        put_le32(to, (uint32_t)v);
        break;
    default:
        put_le64(to, (uint64_t)v);
        break;
    }
}

static size_t bytes_for(size_t count, unsigned width)
{
    return HEADER + count * width;
}

static struct intset *make(size_t count, unsigned width)
{
    struct intset *s = mem_alloc(object_size_class(bytes_for(count, width)));
    put_le32(s->bytes, width);
    put_le32(s->bytes + COUNT_AT, (uint32_t)count);
    return s;
}

struct intset *intset_new(void)
{
    return make(0, sizeof(int16_t));
}

void intset_free(struct intset **s)
{
    mem_free(*s);
    *s = NULL;
}

struct intset *intset_copy(const struct intset *s)
{
    struct intset *copy = make(intset_count(s), width_of(s));
    memcpy(copy, s, intset_bytes(s).len);
    return copy;
}

struct intset *intset_read(struct slice bytes)
{
    if (bytes.len < HEADER) {
        return NULL;
    }
    unsigned width = get_le32(bytes.ptr);
    size_t count = get_le32(bytes.ptr + COUNT_AT);
    if ((width != sizeof(int16_t) && width != sizeof(int32_t) && width != sizeof(int64_t)) ||
        count == 0 || bytes.len != bytes_for(count, width)) {
        return NULL;
    }
    const char *numbers = bytes.ptr + HEADER;
    for (size_t i = 1; i < count; i++) {
        if (get_number(numbers + (i - 1) * width, width) >=
            get_number(numbers + i * width, width)) {
            return NULL;
        }
    }
    struct intset *s = make(count, width);
    memcpy(s->numbers, numbers, count * width);
    return s;
}

struct slice intset_bytes(const struct intset *s)
{
    return slice_of(s->bytes, bytes_for(intset_count(s), width_of(s)));
}

size_t intset_count(const struct intset *s)
{
    return get_le32(s->bytes + COUNT_AT);
}

size_t intset_memory(const struct intset *s)
{
    return object_size_class(intset_bytes(s).len);
}

int64_t intset_at(const struct intset *s, size_t i)
{
    unsigned width = width_of(s);
    return get_number(s->numbers + i * width, width);
}

/* The first that is not smaller. */
static size_t place_for(const struct intset *s, int64_t v)
{
    size_t low = 0;
    size_t high = intset_count(s);
    if (high > 0 && intset_at(s, high - 1) < v) {
        return high; /* numbers often come in their order */
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (intset_at(s, middle) < v) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool intset_has(const struct intset *s, int64_t v)
{
    size_t at = place_for(s, v);
    return at < intset_count(s) && intset_at(s, at) == v;
}

/* Room for `count` numbers of the same width. */
static void resize(struct intset **s, size_t count)
{
    size_t now = object_size_class(bytes_for(count, width_of(*s)));
    if (now != intset_memory(*s)) {
        *s = mem_realloc(*s, now);
    }
    put_le32((*s)->bytes + COUNT_AT, (uint32_t)count);
}

static void widen(struct intset **sp, unsigned width)
{
    const struct intset *s = *sp;
    size_t count = intset_count(s);
    struct intset *wide = make(count, width);
    for (size_t i = 0; i < count; i++) {
        put_number(wide->numbers + i * width, width, intset_at(s, i));
    }
    intset_free(sp);
    *sp = wide;
}

bool intset_add(struct intset **sp, int64_t v)
{
    if (width_for(v) > width_of(*sp)) {
        widen(sp, width_for(v));
    }
    size_t at = place_for(*sp, v);
    size_t count = intset_count(*sp);
    if (at < count && intset_at(*sp, at) == v) {
        return false;
    }
    resize(sp, count + 1);
    struct intset *s = *sp;
    unsigned width = width_of(s);
    memmove(s->numbers + (at + 1) * width, s->numbers + at * width, (count - at) * width);
    put_number(s->numbers + at * width, width, v);
    return true;
}

bool intset_remove(struct intset **sp, int64_t v)
{
    size_t at = place_for(*sp, v);
    size_t count = intset_count(*sp);
    if (at == count || intset_at(*sp, at) != v) {
        return false;
    }
    unsigned width = width_of(*sp);
    char *numbers = (*sp)->numbers;
    memmove(numbers + at * width, numbers + (at + 1) * width, (count - at - 1) * width);
    resize(sp, count - 1);
    return true;
}
