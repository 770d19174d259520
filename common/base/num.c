// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The digits of `s`, no sign: "0" or no leading zero, at most 20 of them. */
static bool parse_digits(struct slice s, uint64_t *out)
{
    if (s.len == 0 || s.len > 20 || (s.ptr[0] == '0' && s.len > 1)) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';
        if (digit > 9) {
            return false;
        }
        /* Only the twentieth digit can overflow. */
        if (i == 19 && (v > UINT64_MAX / 10 || v * 10 > UINT64_MAX - digit)) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool num_parse_u64(struct slice s, uint64_t *out)
{
    return parse_digits(s, out);
}

bool num_parse_i64(struct slice s, int64_t *out)
{
    uint64_t v;
    if (s.len > 0 && s.ptr[0] == '-') {
        if (!parse_digits(slice_of(s.ptr + 1, s.len - 1), &v) || v == 0 ||
            v > (uint64_t)INT64_MAX + 1) {
            return false;
        }
        *out = (int64_t)(0 - v);
        return true;
    }
    if (!parse_digits(s, &v) || v > INT64_MAX) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

/* A NUL-terminated copy for strtod and its kin; false if the text is none of theirs anyway. */
static bool copy_text(struct slice s, char *to, size_t cap)
{
    if (s.len == 0 || s.len >= cap || isspace((unsigned char)s.ptr[0])) {
        return false;
    }
    memcpy(to, s.ptr, s.len);
    to[s.len] = '\0';
    return true;
}

bool num_parse_longdouble(struct slice s, long double *out)
{
    char text[NUM_LD_MAX_LEN];
    if (!copy_text(s, text, sizeof text)) {
        return false;
    }
    char *end;
    errno = 0;
    long double v = strtold(text, &end);
    if (end != text + s.len || isnan(v)) {
        return false;
    }
    if (errno == ERANGE && (isinf(v) || v == 0)) {
        return false;
    }
    *out = v;
    return true;
}

bool num_parse_double(struct slice s, double *out)
{
    char text[512];
    if (!copy_text(s, text, sizeof text)) {
        /* Absurdly long, yet a number: "0.000...". Rare enough for the long way. */
        long double wide;
        if (s.len < sizeof text || !num_parse_longdouble(s, &wide) ||
            (isinf((double)wide) && !isinf(wide))) {
            return false;
        }
        *out = (double)wide;
        return true;
    }
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end != text + s.len || isnan(v)) {
        return false;
    }
    if (errno == ERANGE && (isinf(v) || v == 0)) {
        return false;
    }
    *out = v;
    return true;
}

bool num_parse_memory(struct slice s, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000 * 1000},
        {"mb", 1024 * 1024},
        {"g", 1000ULL * 1000 * 1000},
        {"gb", 1024ULL * 1024 * 1024},
    };
    size_t digits = 0;
    while (digits < s.len && isdigit((unsigned char)s.ptr[digits])) {
        digits++;
    }
    struct slice unit = slice_of(s.ptr + digits, s.len - digits);
    uint64_t v;
    if (!parse_digits(slice_of(s.ptr, digits), &v)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_is(unit, units[i].unit)) {
            return !__builtin_mul_overflow(v, units[i].factor, out);
        }
    }
    return false;
}

static const char digit_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930"
    "31323334353637383940414243444546474849505152535455565758596061"
    "62636465666768697071727374757677787980818283848586878889909192"
    "93949596979899";

static size_t count_digits(uint64_t v)
{
    size_t n = 1;
    for (;;) {
        if (v < 10) {
            return n;
        }
        if (v < 100) {
            return n + 1;
        }
        if (v < 1000) {
            return n + 2;
        }
        if (v < 10000) {
            return n + 3;
        }
        v /= 10000;
        n += 4;
    }
}

size_t num_print_u64(char *to, uint64_t v)
{
    size_t len = count_digits(v);
    size_t at = len;
    while (v >= 100) {
        at -= 2;
        memcpy(to + at, digit_pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        memcpy(to, digit_pairs + v * 2, 2);
    } else {
        to[0] = (char)('0' + v);
    }
    return len;
}

size_t num_print_i64(char *to, int64_t v)
{
    if (v >= 0) {
        return num_print_u64(to, (uint64_t)v);
    }
    to[0] = '-';
    return 1 + num_print_u64(to + 1, 0 - (uint64_t)v);
}

/* "inf" or "-inf", if v is one; 0 otherwise. */
static size_t print_infinity(char *to, bool infinite, bool negative)
{
    if (!infinite) {
        return 0;
    }
    memcpy(to, negative ? "-inf" : "inf", negative ? 4 : 3);
    return negative ? 4 : 3;
}

size_t num_print_longdouble(char *to, long double v)
{
    size_t len = print_infinity(to, isinf(v), v < 0);
    if (len > 0) {
        return len;
    }
    len = (size_t)snprintf(to, NUM_LD_MAX_LEN, "%.17Lf", v);
    INVARIANT(len < NUM_LD_MAX_LEN);
    while (len > 0 && to[len - 1] == '0') {
        len--;
    }
    if (len > 0 && to[len - 1] == '.') {
        len--;
    }
    if (len == 2 && to[0] == '-' && to[1] == '0') {
        to[0] = '0';
        len = 1;
    }
    return len;
}

size_t num_print_double(char *to, double v)
{
    size_t len = print_infinity(to, isinf(v), v < 0);
    if (len > 0) {
        return len;
    }
    if (isnan(v)) {
        memcpy(to, "nan", 3);
        return 3;
    }
    /* Below 1e17 a whole number prints as one; most scores are. */
    if (v > -1e17 && v < 1e17 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
        return num_print_i64(to, (int64_t)v);
    }
    return (size_t)snprintf(to, 40, "%.17g", v);
}
