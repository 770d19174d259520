// SPDX-License-Identifier: BSD-3-Clause
/* A list of strings and integers packed into one allocation, byte for byte as Redis 7.0 keeps it:
 * it is a form in files, too (node/types/rdb.h).
 *
 *   | bytes u32 le | elements u16 le | element ... | 0xFF |     elements 0xFFFF: count them
 *   element   encoding, data, and the length of both, readable from behind
 *     0xxxxxxx                7 bit number          11110001 + 2  16 bit number, le
 *     10xxxxxx + data         up to 63 bytes        11110010 + 3  24 bit number
 *     110xxxxx xxxxxxxx       13 bit number         11110011 + 4  32 bit number
 *     1110xxxx xxxxxxxx + ..  up to 4095 bytes      11110100 + 8  64 bit number
 *     11110000 + u32 le + ..  longer
 *
 * What looks like a number is kept as one. The allocation is always the size class of the bytes, so
 * its memory is known without asking. A position is a pointer to an element; every change makes all
 * of them invalid, but for the one it returns. Values given to a change must not lie in the same
 * listpack. Pure; who holds it owns it. */
#pragma once

#include "node/types/object.h"

#include "common/base/num.h"

#include <endian.h>

#define LISTPACK_HEADER    6
#define LISTPACK_BYTES_MAX ((size_t)1 << 30) /* who adds more uses another form */
#define LISTPACK_COUNT_OFF 0xFFFFU

struct listpack {
    uint32_t bytes_le;
    uint16_t count_le;
    unsigned char elements[];
} __attribute__((packed));

/* An element: bytes, or, where ptr is NULL, a number. */
struct listpack_value {
    const char *ptr;
    size_t len;
    int64_t number;
};

/* ---- the whole ---- */

struct listpack *listpack_new(void);
void listpack_free(struct listpack **lp);
struct listpack *listpack_copy(const struct listpack *lp);
/* Whether these are all the bytes of a listpack, each element right; how many. */
bool listpack_valid(struct slice bytes, size_t *count) MUSTCHECK;
/* Bytes that were found valid. */
struct listpack *listpack_from(struct slice bytes);

static inline size_t listpack_bytes(const struct listpack *lp)
{
    return le32toh(lp->bytes_le);
}
static inline struct slice listpack_slice(const struct listpack *lp)
{
    return slice_of((const char *)lp, listpack_bytes(lp));
}
static inline size_t listpack_memory(const struct listpack *lp)
{
    return object_size_class(listpack_bytes(lp));
}
/* Walks from 65535 elements on. */
size_t listpack_count(const struct listpack *lp);
/* Whether so many bytes more are sensible. */
static inline bool listpack_has_room(const struct listpack *lp, size_t more)
{
    return more < LISTPACK_BYTES_MAX && listpack_bytes(lp) + more <= LISTPACK_BYTES_MAX;
}
/* Bytes that an element will take. */
size_t listpack_size_of(struct slice v);

/* ---- walking: NULL is behind the end, or before the beginning ---- */

const unsigned char *listpack_first(const struct listpack *lp);
const unsigned char *listpack_last(const struct listpack *lp);
const unsigned char *listpack_next(const unsigned char *p);
const unsigned char *listpack_prev(const struct listpack *lp, const unsigned char *p);
/* Negative: from the end, -1 is the last. */
const unsigned char *listpack_at(const struct listpack *lp, int64_t index);
/* The bytes of an element, all of it. */
size_t listpack_element_size(const unsigned char *p);

struct listpack_value listpack_get(const unsigned char *p);
/* As text; `digits` is room for a number's. */
struct slice listpack_text(const unsigned char *p, char digits[NUM_I64_MAX_LEN]);
bool listpack_equal(const unsigned char *p, struct slice v);
/* The first from p on (NULL: none) that equals v, leaving out `skip` elements between any two that
 * are looked at. */
const unsigned char *listpack_find(const unsigned char *p, struct slice v, size_t skip);

/* ---- changing ---- */

void listpack_append(struct listpack **lp, struct slice v);
void listpack_append_int(struct listpack **lp, int64_t v);
void listpack_append_all(struct listpack **lp, const struct slice *v, size_t n);
void listpack_append_values(struct listpack **lp, const struct listpack_value *v, size_t n);
void listpack_prepend(struct listpack **lp, struct slice v);
/* Returns the new element. */
const unsigned char *listpack_insert_before(struct listpack **lp, const unsigned char *p,
                                            struct slice v);
const unsigned char *listpack_insert_after(struct listpack **lp, const unsigned char *p,
                                           struct slice v);
const unsigned char *listpack_insert_int_before(struct listpack **lp, const unsigned char *p,
                                                int64_t v);
const unsigned char *listpack_replace(struct listpack **lp, const unsigned char *p, struct slice v);
const unsigned char *listpack_replace_int(struct listpack **lp, const unsigned char *p, int64_t v);
/* From p on; returns what follows them. Fewer than n may be there. */
const unsigned char *listpack_delete(struct listpack **lp, const unsigned char *p, size_t n);
/* From an index on, as listpack_at counts. */
void listpack_delete_range(struct listpack **lp, int64_t index, size_t n);
/* All elements of the other one behind those of this one. */
void listpack_join(struct listpack **lp, const struct listpack *other);
