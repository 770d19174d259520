// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/listpack.h"

#include "common/base/mem.h"

enum {
    END = 0xFF,
    STR6 = 0x80,
    INT13 = 0xC0,
    STR12 = 0xE0,
    STR32 = 0xF0,
    INT16 = 0xF1,
    INT24 = 0xF2,
    INT32 = 0xF3,
    INT64 = 0xF4,
    HEAD_MAX = 9,
    BACK_MAX = 5,
};

/* ---- encoding ---- */

/* An element to be written: its head, and the bytes behind it. */
struct draft {
    unsigned char head[HEAD_MAX];
    size_t head_len;
    struct slice body;
};

static inline size_t draft_len(const struct draft *d)
{
    return d->head_len + d->body.len;
}

static void put_le(unsigned char *to, uint64_t v, size_t n)
{
    uint64_t le = htole64(v);
    memcpy(to, &le, n);
}

static void draft_number(struct draft *d, int64_t v)
{
    uint64_t u = (uint64_t)v;
    d->body = slice_of(NULL, 0);
    if (v >= 0 && v <= 127) {
        d->head[0] = (unsigned char)v;
        d->head_len = 1;
    } else if (v >= -4096 && v <= 4095) {
        d->head[0] = (unsigned char)(INT13 | (u >> 8 & 0x1f));
        d->head[1] = (unsigned char)u;
        d->head_len = 2;
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        d->head[0] = INT16;
        put_le(d->head + 1, u, 2);
        d->head_len = 3;
    } else if (v >= -8388608 && v <= 8388607) {
        d->head[0] = INT24;
        put_le(d->head + 1, u, 3);
        d->head_len = 4;
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        d->head[0] = INT32;
        put_le(d->head + 1, u, 4);
        d->head_len = 5;
    } else {
        d->head[0] = INT64;
        put_le(d->head + 1, u, 8);
        d->head_len = 9;
    }
}

/* Most texts are seen at their first byte to be no number. */
static inline bool as_number(struct slice v, int64_t *out)
{
    return v.len > 0 && v.len < NUM_I64_MAX_LEN && (unsigned char)v.ptr[0] <= '9' &&
           num_parse_i64(v, out);
}

static void draft_value(struct draft *d, struct slice v)
{
    int64_t number;
    if (as_number(v, &number)) {
        draft_number(d, number);
        return;
    }
    d->body = v;
    if (v.len < 64) {
        d->head[0] = (unsigned char)(STR6 | v.len);
        d->head_len = 1;
    } else if (v.len < 4096) {
        d->head[0] = (unsigned char)(STR12 | v.len >> 8);
        d->head[1] = (unsigned char)v.len;
        d->head_len = 2;
    } else {
        INVARIANT(v.len <= LISTPACK_BYTES_MAX);
        d->head[0] = STR32;
        put_le(d->head + 1, v.len, 4);
        d->head_len = 5;
    }
}

/* Bytes of the length that stands behind an element of n bytes. The limits are Redis's, which are
 * off by one: one more byte than needed at each. */
static inline size_t back_size(size_t n)
{
    return n <= 127 ? 1 : n < 16383 ? 2 : n < 2097151 ? 3 : n < 268435455 ? 4 : 5;
}

static void put_back(unsigned char *to, size_t n)
{
    size_t size = back_size(n);
    for (size_t i = size; i-- > 0; n >>= 7) {
        to[i] = (unsigned char)((n & 0x7f) | (i > 0 ? 0x80 : 0));
    }
}

static unsigned char *put_draft(unsigned char *to, const struct draft *d)
{
    memcpy(to, d->head, d->head_len);
    to += d->head_len;
    if (d->body.len > 0) {
        memcpy(to, d->body.ptr, d->body.len);
        to += d->body.len;
    }
    put_back(to, draft_len(d));
    return to + back_size(draft_len(d));
}

size_t listpack_size_of(struct slice v)
{
    struct draft d;
    draft_value(&d, v);
    return draft_len(&d) + back_size(draft_len(&d));
}

/* ---- decoding ---- */

static inline uint64_t get_le(const unsigned char *p, size_t n)
{
    uint64_t le = 0;
    memcpy(&le, p, n);
    return le64toh(le);
}

/* Encoding and data. */
static inline size_t entry_len(const unsigned char *p)
{
    unsigned b = p[0];
    if (b < STR6) {
        return 1;
    }
    if (b < INT13) {
        return 1 + (b & 0x3f);
    }
    if (b < STR12) {
        return 2;
    }
    if (b < STR32) {
        return 2 + ((b & 0xf) << 8 | p[1]);
    }
    switch (b) {
    case STR32:
        return 5 + get_le(p + 1, 4);
    case INT16:
        return 3;
    case INT24:
        return 4;
    case INT32:
        return 5;
    default:
        return 9;
    }
}

size_t listpack_element_size(const unsigned char *p)
{
    size_t n = entry_len(p);
    return n + back_size(n);
}

static inline int64_t sign_extend(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static inline struct listpack_value get(const unsigned char *p)
{
    unsigned b = p[0];
    struct listpack_value v = {0};
    if (b < STR6) {
        v.number = b;
    } else if (b < INT13) {
        v.ptr = (const char *)p + 1;
        v.len = b & 0x3f;
    } else if (b < STR12) {
        v.number = sign_extend((b & 0x1f) << 8 | p[1], 13);
    } else if (b < STR32) {
        v.ptr = (const char *)p + 2;
        v.len = (b & 0xf) << 8 | p[1];
    } else if (b == STR32) {
        v.ptr = (const char *)p + 5;
        v.len = get_le(p + 1, 4);
    } else if (b == INT64) {
        v.number = (int64_t)get_le(p + 1, 8);
    } else {
        size_t n = (size_t)b - INT16 + 2;
        v.number = sign_extend(get_le(p + 1, n), (unsigned)n * 8);
    }
    return v;
}

struct listpack_value listpack_get(const unsigned char *p)
{
    return get(p);
}

struct slice listpack_text(const unsigned char *p, char digits[NUM_I64_MAX_LEN])
{
    struct listpack_value v = get(p);
    return v.ptr != NULL ? slice_of(v.ptr, v.len)
                         : slice_of(digits, num_print_i64(digits, v.number));
}

/* ---- hostile bytes ---- */

/* The element at `at`, if it is right and ends before the last byte: its length, else 0. */
static size_t check_element(const unsigned char *b, size_t at, size_t len)
{
    static const unsigned char more[16] = {4, 2, 3, 4, 8}; /* of 0xF0 to 0xF4 */
    size_t left = len - 1 - at;
    unsigned first = b[at];
    if (first > INT64 || left < 1) {
        return 0;
    }
    size_t head = first >= STR32 ? 1 + more[first & 0xf] : first >= INT13 ? 2 : 1;
    if (left < head) {
        return 0;
    }
    size_t n = entry_len(b + at);
    if (n > left || back_size(n) > left - n) {
        return 0;
    }
    unsigned char back[BACK_MAX];
    put_back(back, n);
    return memcmp(back, b + at + n, back_size(n)) == 0 ? n + back_size(n) : 0;
}

bool listpack_valid(struct slice bytes, size_t *count)
{
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    if (bytes.len < LISTPACK_HEADER + 1 || bytes.len > UINT32_MAX || get_le(b, 4) != bytes.len ||
        b[bytes.len - 1] != END) {
        return false;
    }
    size_t n = 0;
    size_t at = LISTPACK_HEADER;
    while (at < bytes.len - 1) {
        size_t size = check_element(b, at, bytes.len);
        if (size == 0) {
            return false;
        }
        at += size;
        n++;
    }
    *count = n;
    uint64_t told = get_le(b + 4, 2);
    return told == LISTPACK_COUNT_OFF || told == n;
}

struct listpack *listpack_from(struct slice bytes)
{
    struct listpack *lp = mem_alloc(object_size_class(bytes.len));
    memcpy(lp, bytes.ptr, bytes.len);
    return lp;
}

/* ---- the whole ---- */

struct listpack *listpack_new(void)
{
    struct listpack *lp = mem_alloc(object_size_class(LISTPACK_HEADER + 1));
    lp->bytes_le = htole32(LISTPACK_HEADER + 1);
    lp->count_le = 0;
    lp->elements[0] = END;
    return lp;
}

void listpack_free(struct listpack **lp)
{
    mem_free(*lp);
    *lp = NULL;
}

struct listpack *listpack_copy(const struct listpack *lp)
{
    return listpack_from(listpack_slice(lp));
}

size_t listpack_count(const struct listpack *lp)
{
    size_t n = le16toh(lp->count_le);
    if (UNLIKELY(n == LISTPACK_COUNT_OFF)) {
        n = 0;
        for (const unsigned char *p = listpack_first(lp); p != NULL; p = listpack_next(p)) {
            n++;
        }
    }
    return n;
}

static void count_changed(struct listpack *lp, int64_t by)
{
    int64_t n = le16toh(lp->count_le);
    if (n != LISTPACK_COUNT_OFF) {
        n = MIN(n + by, (int64_t)LISTPACK_COUNT_OFF);
        lp->count_le = htole16((uint16_t)n);
    }
}

/* ---- walking ---- */

static inline const unsigned char *end_of(const struct listpack *lp)
{
    return (const unsigned char *)lp + listpack_bytes(lp) - 1;
}

const unsigned char *listpack_first(const struct listpack *lp)
{
    return lp->elements[0] == END ? NULL : lp->elements;
}

/* The element that ends before p. */
static const unsigned char *before(const unsigned char *p)
{
    size_t n = 0;
    unsigned shift = 0;
    do {
        p--;
        n |= (size_t)(p[0] & 0x7f) << shift;
        shift += 7;
    } while ((p[0] & 0x80) != 0);
    return p - n;
}

const unsigned char *listpack_last(const struct listpack *lp)
{
    return lp->elements[0] == END ? NULL : before(end_of(lp));
}

static inline const unsigned char *step(const unsigned char *p)
{
    size_t n = entry_len(p);
    return p + n + back_size(n);
}

const unsigned char *listpack_next(const unsigned char *p)
{
    p = step(p);
    return p[0] == END ? NULL : p;
}

const unsigned char *listpack_prev(const struct listpack *lp, const unsigned char *p)
{
    return p == lp->elements ? NULL : before(p);
}

const unsigned char *listpack_at(const struct listpack *lp, int64_t index)
{
    int64_t n = le16toh(lp->count_le);
    if (n != LISTPACK_COUNT_OFF) {
        if (index >= n || index < -n) {
            return NULL;
        }
        /* From the nearer end. */
        if (index >= 0 && index > n / 2) {
            index -= n;
        } else if (index < 0 && -index > n / 2 + 1) {
            index += n;
        }
    }
    const unsigned char *p;
    if (index >= 0) {
        for (p = listpack_first(lp); p != NULL && index > 0; index--) {
            p = listpack_next(p);
        }
    } else {
        for (p = listpack_last(lp); p != NULL && index < -1; index++) {
            p = listpack_prev(lp, p);
        }
    }
    return p;
}

static inline bool equal(const unsigned char *p, struct slice v, bool is_number, int64_t number)
{
    struct listpack_value have = get(p);
    if (have.ptr == NULL) {
        return is_number && have.number == number;
    }
    return slice_eq(slice_of(have.ptr, have.len), v);
}

bool listpack_equal(const unsigned char *p, struct slice v)
{
    int64_t number = 0;
    bool is_number = as_number(v, &number);
    return equal(p, v, is_number, number);
}

const unsigned char *listpack_find(const unsigned char *p, struct slice v, size_t skip)
{
    if (p == NULL) {
        return NULL;
    }
    int64_t number = 0;
    bool is_number = as_number(v, &number);
    while (p[0] != END) {
        if (equal(p, v, is_number, number)) {
            return p;
        }
        p = step(p);
        for (size_t i = 0; i < skip && p[0] != END; i++) {
            p = step(p);
        }
    }
    return NULL;
}

/* ---- changing ---- */

/* `was` bytes at p become `is` bytes, those behind them move. Returns p in its new place. */
static unsigned char *make_room(struct listpack **lp, const unsigned char *p, size_t was, size_t is)
{
    size_t total = listpack_bytes(*lp);
    size_t at = (size_t)(p - (const unsigned char *)*lp);
    size_t next = total - was + is;
    INVARIANT(next <= UINT32_MAX);
    unsigned char *b = (unsigned char *)*lp;
    if (is < was) {
        memmove(b + at + is, b + at + was, total - at - was);
    }
    if (object_size_class(next) != object_size_class(total)) {
        *lp = mem_realloc(*lp, object_size_class(next));
        b = (unsigned char *)*lp;
    }
    if (is > was) {
        memmove(b + at + is, b + at + was, total - at - was);
    }
    (*lp)->bytes_le = htole32((uint32_t)next);
    return b + at;
}

static const unsigned char *put_at(struct listpack **lp, const unsigned char *p, size_t was,
                                   const struct draft *d)
{
    size_t is = draft_len(d) + back_size(draft_len(d));
    unsigned char *to = make_room(lp, p, was, is);
    put_draft(to, d);
    if (was == 0) {
        count_changed(*lp, 1);
    }
    return to;
}

void listpack_append(struct listpack **lp, struct slice v)
{
    struct draft d;
    draft_value(&d, v);
    put_at(lp, end_of(*lp), 0, &d);
}

void listpack_append_int(struct listpack **lp, int64_t v)
{
    struct draft d;
    draft_number(&d, v);
    put_at(lp, end_of(*lp), 0, &d);
}

void listpack_append_all(struct listpack **lp, const struct slice *v, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        size += listpack_size_of(v[i]);
    }
    unsigned char *to = make_room(lp, end_of(*lp), 0, size);
    for (size_t i = 0; i < n; i++) {
        struct draft d;
        draft_value(&d, v[i]);
        to = put_draft(to, &d);
    }
    count_changed(*lp, (int64_t)n);
}

void listpack_append_values(struct listpack **lp, const struct listpack_value *v, size_t n)
{
    enum { AT_ONCE = 32 };
    struct draft drafts[AT_ONCE];
    while (n > 0) {
        size_t now = MIN(n, (size_t)AT_ONCE);
        size_t size = 0;
        for (size_t i = 0; i < now; i++) {
            if (v[i].ptr == NULL) {
                draft_number(&drafts[i], v[i].number);
            } else {
                draft_value(&drafts[i], slice_of(v[i].ptr, v[i].len));
            }
            size += draft_len(&drafts[i]) + back_size(draft_len(&drafts[i]));
        }
        unsigned char *to = make_room(lp, end_of(*lp), 0, size);
        for (size_t i = 0; i < now; i++) {
            to = put_draft(to, &drafts[i]);
        }
        count_changed(*lp, (int64_t)now);
        v += now;
        n -= now;
    }
}

void listpack_prepend(struct listpack **lp, struct slice v)
{
    listpack_insert_before(lp, (*lp)->elements, v);
}

const unsigned char *listpack_insert_before(struct listpack **lp, const unsigned char *p,
                                            struct slice v)
{
    struct draft d;
    draft_value(&d, v);
    return put_at(lp, p, 0, &d);
}

const unsigned char *listpack_insert_after(struct listpack **lp, const unsigned char *p,
                                           struct slice v)
{
    return listpack_insert_before(lp, step(p), v);
}

const unsigned char *listpack_insert_int_before(struct listpack **lp, const unsigned char *p,
                                                int64_t v)
{
    struct draft d;
    draft_number(&d, v);
    return put_at(lp, p, 0, &d);
}

const unsigned char *listpack_replace(struct listpack **lp, const unsigned char *p, struct slice v)
{
    struct draft d;
    draft_value(&d, v);
    return put_at(lp, p, listpack_element_size(p), &d);
}

const unsigned char *listpack_replace_int(struct listpack **lp, const unsigned char *p, int64_t v)
{
    struct draft d;
    draft_number(&d, v);
    return put_at(lp, p, listpack_element_size(p), &d);
}

const unsigned char *listpack_delete(struct listpack **lp, const unsigned char *p, size_t n)
{
    const unsigned char *to = p;
    size_t gone = 0;
    while (gone < n && to[0] != END) {
        to = step(to);
        gone++;
    }
    p = make_room(lp, p, (size_t)(to - p), 0);
    count_changed(*lp, -(int64_t)gone);
    return p[0] == END ? NULL : p;
}

void listpack_delete_range(struct listpack **lp, int64_t index, size_t n)
{
    const unsigned char *p = n == 0 ? NULL : listpack_at(*lp, index);
    if (p != NULL) {
        listpack_delete(lp, p, n);
    }
}

void listpack_join(struct listpack **lp, const struct listpack *other)
{
    size_t size = listpack_bytes(other) - LISTPACK_HEADER - 1;
    size_t count = listpack_count(other);
    memcpy(make_room(lp, end_of(*lp), 0, size), other->elements, size);
    count_changed(*lp, (int64_t)count);
}
