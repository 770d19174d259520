// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/hll.h"

#include "node/types/string.h"

#include "common/base/bytes.h"

#include <math.h>

enum {
    HEADER = 16,
    ENCODING_AT = 4,
    DENSE = 0,
    SPARSE = 1,
    INDEX_BITS = 14,
    HASH_BITS = 64 - INDEX_BITS,
    ZERO_MAX = 64, /* run lengths and values of the sparse forms */
    WIDE_MAX = 16384,
    VALUE_RUN_MAX = 4,
    SPARSE_VALUE_MAX = 32,
    GROW_PART = 8,  /* a sparse one that grows gets room for an eighth more */
    HISTOGRAM = 64, /* every value that 6 bits can have */
};
#define COUNT_ANEW (UINT64_C(1) << 63)

/* ---- the hash: what a register means depends on it, so it is Redis's: MurmurHash64A ---- */

static uint64_t murmur64a(struct slice v, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = seed ^ (v.len * m);
    const char *p = v.ptr;
    size_t left = v.len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t k = get_le64(p) * m;
        h = (h ^ ((k ^ (k >> 47)) * m)) * m;
    }
    if (left > 0) {
        uint64_t tail = 0;
        for (size_t i = 0; i < left; i++) {
            tail |= (uint64_t)(unsigned char)p[i] << (8 * i);
        }
        h = (h ^ tail) * m;
    }
    h = (h ^ (h >> 47)) * m;
    return h ^ (h >> 47);
}

/* The register of an element, and the value that it must have at least. */
static unsigned place(struct slice element, unsigned *value)
{
    uint64_t h = murmur64a(element, 0xadc83b19U);
    unsigned index = (unsigned)(h & (HLL_REGISTERS - 1));
    h = h >> INDEX_BITS | UINT64_C(1) << HASH_BITS;
    *value = (unsigned)__builtin_ctzll(h) + 1;
    return index;
}

/* ---- header ---- */

bool hll_is_dense(struct slice value)
{
    return value.ptr[ENCODING_AT] == DENSE;
}

bool hll_is(const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    return v.len >= HEADER && memcmp(v.ptr, "HYLL", 4) == 0 &&
           (v.ptr[ENCODING_AT] == SPARSE || (hll_is_dense(v) && v.len == HLL_DENSE_SIZE));
}

static struct slice bytes_of(const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    INVARIANT(v.ptr != digits); /* hll_is looked: it is no number */
    return v;
}

static char *to_write(struct object **o)
{
    char *bytes;
    *o = string_resize(*o, bytes_of(*o).len, &bytes);
    return bytes;
}

void hll_forget_count(struct object **o)
{
    char *bytes = to_write(o);
    bytes[HEADER - 1] = (char)((unsigned char)bytes[HEADER - 1] | 0x80);
}

void hll_keep_count(struct object **o, uint64_t count)
{
    put_le64(to_write(o) + HLL_CACHE_AT, count);
}

bool hll_kept_count(struct slice value, uint64_t *count)
{
    *count = get_le64(value.ptr + HLL_CACHE_AT);
    return (*count & COUNT_ANEW) == 0;
}

/* ---- dense ---- */

static inline unsigned dense_get(const char *registers, unsigned i)
{
    const unsigned char *p = (const unsigned char *)registers + i * 6 / 8;
    unsigned shift = i * 6 & 7;
    unsigned bits = p[0];
    if (shift > 2) { /* else it ends in this byte, which may be the last */
        bits |= (unsigned)p[1] << 8;
    }
    return bits >> shift & 63;
}

static inline void dense_set(char *registers, unsigned i, unsigned value)
{
    unsigned char *p = (unsigned char *)registers + i * 6 / 8;
    unsigned shift = i * 6 & 7;
    p[0] = (unsigned char)((p[0] & ~(63U << shift)) | value << shift);
    if (shift > 2) {
        p[1] = (unsigned char)((p[1] & ~(63U >> (8 - shift))) | value >> (8 - shift));
    }
}

static inline uint32_t three_bytes(const char *p)
{
    return (uint32_t)(unsigned char)p[0] | (uint32_t)(unsigned char)p[1] << 8 |
           (uint32_t)(unsigned char)p[2] << 16;
}

/* Four registers are three bytes. */
static void dense_read(const char *registers, struct hll_registers *r)
{
    for (size_t i = 0; i < HLL_REGISTERS; i += 4, registers += 3) {
        uint32_t v = three_bytes(registers);
        r->of[i] = MAX(r->of[i], v & 63);
        r->of[i + 1] = MAX(r->of[i + 1], v >> 6 & 63);
        r->of[i + 2] = MAX(r->of[i + 2], v >> 12 & 63);
        r->of[i + 3] = MAX(r->of[i + 3], v >> 18 & 63);
    }
}

static void dense_histogram(const char *registers, uint32_t *of)
{
    /* Four of them: what the last register counted is not waited for by the next. */
    uint32_t part[4][HISTOGRAM] = {{0}};
    for (size_t i = 0; i < HLL_REGISTERS; i += 4, registers += 3) {
        uint32_t v = three_bytes(registers);
        part[0][v & 63]++;
        part[1][v >> 6 & 63]++;
        part[2][v >> 12 & 63]++;
        part[3][v >> 18 & 63]++;
    }
    for (size_t i = 0; i < HISTOGRAM; i++) {
        of[i] = part[0][i] + part[1][i] + part[2][i] + part[3][i];
    }
}

static enum hll_result dense_raise(struct object **o, unsigned index, unsigned value)
{
    if (dense_get(bytes_of(*o).ptr + HEADER, index) >= value) {
        return HLL_SAME;
    }
    dense_set(to_write(o) + HEADER, index, value);
    return HLL_CHANGED;
}

/* ---- sparse: reading ---- */

bool hll_run_next(struct slice value, size_t *at, struct hll_run *out)
{
    size_t i = HEADER + *at;
    if (i >= value.len) {
        return false;
    }
    unsigned first = (unsigned char)value.ptr[i];
    *out = (struct hll_run){.len = (first & 63) + 1};
    if ((first & 0x80) != 0) {
        out->value = (first >> 2 & 31) + 1;
        out->len = (first & 3) + 1;
    } else if ((first & 0x40) != 0) {
        /* Where the second byte is missing, Redis reads the zero behind the value. */
        unsigned second = i + 1 < value.len ? (unsigned char)value.ptr[i + 1] : 0;
        out->wide = true;
        out->len = ((first & 63) << 8 | second) + 1;
    }
    *at += out->wide ? 2 : 1;
    return true;
}

static bool sparse_read(struct slice value, struct hll_registers *r)
{
    size_t at = 0;
    size_t i = 0;
    struct hll_run run;
    while (hll_run_next(value, &at, &run)) {
        if (run.len > HLL_REGISTERS - i) {
            return false;
        }
        for (size_t end = i + run.len; i < end; i++) {
            r->of[i] = (unsigned char)MAX(r->of[i], run.value);
        }
    }
    return i == HLL_REGISTERS;
}

static bool sparse_histogram(struct slice value, uint32_t *of)
{
    size_t at = 0;
    size_t i = 0;
    struct hll_run run;
    while (hll_run_next(value, &at, &run)) {
        i += run.len;
        of[run.value] += run.len;
    }
    return i == HLL_REGISTERS;
}

bool hll_read(struct slice value, struct hll_registers *r)
{
    if (hll_is_dense(value)) {
        dense_read(value.ptr + HEADER, r);
        return true;
    }
    return sparse_read(value, r);
}

/* ---- sparse: writing ---- */

static size_t put_zeros(unsigned char *to, unsigned len)
{
    if (len == 0) {
        return 0;
    }
    if (len <= ZERO_MAX) {
        to[0] = (unsigned char)(len - 1);
        return 1;
    }
    to[0] = (unsigned char)(0x40 | (len - 1) >> 8);
    to[1] = (unsigned char)(len - 1);
    return 2;
}

static size_t put_values(unsigned char *to, unsigned value, unsigned len)
{
    if (len == 0) {
        return 0;
    }
    to[0] = (unsigned char)(0x80 | (value - 1) << 2 | (len - 1));
    return 1;
}

enum hll_result hll_make_dense(struct object **o)
{
    struct slice v = bytes_of(*o);
    if (hll_is_dense(v)) {
        return HLL_SAME;
    }
    struct hll_registers r = {{0}};
    if (!sparse_read(v, &r)) {
        return HLL_BROKEN;
    }
    char *bytes;
    *o = string_resize_room(*o, HLL_DENSE_SIZE, 0, &bytes);
    bytes[ENCODING_AT] = DENSE;
    memset(bytes + HEADER, 0, HLL_DENSE_SIZE - HEADER);
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        dense_set(bytes + HEADER, i, r.of[i]);
    }
    return HLL_CHANGED;
}

static enum hll_result promote(struct object **o, unsigned index, unsigned value)
{
    enum hll_result made = hll_make_dense(o);
    return made == HLL_BROKEN ? made : dense_raise(o, index, value);
}

/* Where in a sparse one a register stands. */
struct spot {
    size_t at;      /* of its run, behind the header */
    size_t before;  /* of the run before; the first has none and is its own */
    unsigned first; /* register of the run */
    struct hll_run run;
};

/* Where most of the time of an addition goes: bytes only, until the run is found. */
static bool find_run(struct slice value, unsigned index, struct spot *s)
{
    const unsigned char *p = (const unsigned char *)value.ptr + HEADER;
    const unsigned char *end = (const unsigned char *)value.ptr + value.len;
    size_t before = 0;
    size_t at = 0;
    unsigned first = 0;
    while (p + at < end) {
        unsigned b = p[at];
        size_t size = (b & 0xc0) == 0x40 ? 2 : 1;
        unsigned len = (b & 0x80) != 0 ? (b & 3) + 1 : (b & 63) + 1;
        if (size == 2) {
            len = ((b & 63) << 8 | (p + at + 1 < end ? p[at + 1] : 0U)) + 1;
        }
        if (index - first < len) {
            *s = (struct spot){.at = at, .before = before, .first = first};
            return hll_run_next(value, &at, &s->run);
        }
        first += len;
        before = at;
        at += size;
    }
    return false;
}

/* A run of `value` becomes one, two or three: what is left of it on both sides of `index`. */
static size_t split_run(const struct spot *s, unsigned index, unsigned value, unsigned char to[5])
{
    unsigned left = index - s->first;
    unsigned right = s->run.len - left - 1;
    size_t n = s->run.value == 0 ? put_zeros(to, left) : put_values(to, s->run.value, left);
    n += put_values(to + n, value, 1);
    n += s->run.value == 0 ? put_zeros(to + n, right) : put_values(to + n, s->run.value, right);
    return n;
}

/* Runs of one value that have come to stand beside each other become one, as far as they fit: from
 * the run before the changed one on, five of them. */
static void join_runs(struct object **o, size_t at)
{
    size_t len = bytes_of(*o).len;
    char *bytes = to_write(o);
    unsigned char *p = (unsigned char *)bytes + HEADER + at;
    unsigned char *end = (unsigned char *)bytes + len;
    for (int looked = 0; looked < 5 && p < end; looked++) {
        if ((*p & 0x80) == 0) {
            p += (*p & 0x40) != 0 ? 2 : 1;
            continue;
        }
        if (p + 1 < end && (p[1] & 0x80) != 0 && p[0] >> 2 == p[1] >> 2) {
            unsigned both = (p[0] & 3U) + 1 + (p[1] & 3U) + 1;
            if (both <= VALUE_RUN_MAX) {
                put_values(p + 1, (p[0] >> 2 & 31U) + 1, both);
                memmove(p, p + 1, (size_t)(end - p) - 1);
                end--;
                continue; /* the joined one may be joined again */
            }
        }
        p++;
    }
    size_t now = (size_t)(end - (unsigned char *)bytes);
    if (now < len) {
        *o = string_resize(*o, now, &bytes);
    }
}

static enum hll_result sparse_raise(struct object **o, unsigned index, unsigned value,
                                    size_t sparse_max)
{
    if (value > SPARSE_VALUE_MAX) {
        return promote(o, index, value);
    }
    struct slice v = bytes_of(*o);
    struct spot s;
    if (!find_run(v, index, &s) || HEADER + s.at + (s.run.wide ? 2 : 1) > v.len) {
        return HLL_BROKEN;
    }
    if (s.run.value >= value) {
        return HLL_SAME;
    }
    unsigned char runs[5];
    size_t n = split_run(&s, index, value, runs);
    size_t was = s.run.wide ? 2 : 1;
    size_t tail = v.len - HEADER - s.at - was;
    size_t len = v.len - was + n;
    if (n > was && len > sparse_max) {
        return promote(o, index, value);
    }
    char *bytes;
    if (len > v.len) {
        *o = string_resize_room(*o, len, len / GROW_PART, &bytes);
    } else {
        bytes = to_write(o);
    }
    char *at = bytes + HEADER + s.at;
    memmove(at + n, at + was, tail);
    memcpy(at, runs, n);
    if (len < v.len) {
        *o = string_resize(*o, len, &bytes);
    }
    join_runs(o, s.before);
    return HLL_CHANGED;
}

/* ---- changing ---- */

struct object *hll_new(struct slice key, int64_t expire_ms)
{
    char bytes[HEADER + 2] = "HYLL";
    bytes[ENCODING_AT] = SPARSE;
    put_zeros((unsigned char *)bytes + HEADER, HLL_REGISTERS);
    return string_new_bytes(key, expire_ms, slice_of(bytes, sizeof(bytes)), true);
}

static enum hll_result raise_one(struct object **o, unsigned index, unsigned value,
                                 size_t sparse_max)
{
    return hll_is_dense(bytes_of(*o)) ? dense_raise(o, index, value)
                                      : sparse_raise(o, index, value, sparse_max);
}

enum hll_result hll_add(struct object **o, struct slice element, size_t sparse_max)
{
    unsigned value;
    unsigned index = place(element, &value);
    return raise_one(o, index, value, sparse_max);
}

enum hll_result hll_raise(struct object **o, const struct hll_registers *r, size_t sparse_max)
{
    enum hll_result result = HLL_SAME;
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        enum hll_result one = r->of[i] == 0 ? HLL_SAME : raise_one(o, i, r->of[i], sparse_max);
        if (one == HLL_BROKEN) {
            return HLL_BROKEN;
        }
        result = MAX(result, one);
    }
    return result;
}

/* ---- counting: the estimator of Otmar Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches" (2017), algorithm 6 ---- */

static double sigma(double x)
{
    if (x == 1.0) {
        return INFINITY;
    }
    double before;
    double y = 1;
    double z = x;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    if (x == 0.0 || x == 1.0) {
        return 0;
    }
    double before;
    double y = 1;
    double z = 1 - x;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (z != before);
    return z / 3;
}

static uint64_t estimate(const uint32_t *histogram)
{
    const double m = HLL_REGISTERS;
    const double alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
    double z = m * tau((m - histogram[HASH_BITS + 1]) / m);
    for (int i = HASH_BITS; i >= 1; i--) {
        z = (z + histogram[i]) * 0.5;
    }
    z += m * sigma(histogram[0] / m);
    return (uint64_t)llroundl((long double)(alpha * m * m / z));
}

bool hll_count(struct slice value, uint64_t *count)
{
    uint32_t histogram[HISTOGRAM] = {0};
    if (hll_is_dense(value)) {
        dense_histogram(value.ptr + HEADER, histogram);
    } else if (!sparse_histogram(value, histogram)) {
        return false;
    }
    *count = estimate(histogram);
    return true;
}

uint64_t hll_count_registers(const struct hll_registers *r)
{
    uint32_t histogram[HISTOGRAM] = {0};
    for (size_t i = 0; i < HLL_REGISTERS; i++) {
        histogram[r->of[i] & (HISTOGRAM - 1)]++;
    }
    return estimate(histogram);
}
