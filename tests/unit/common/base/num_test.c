// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/num.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_i64_takes_the_canonical_form_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"-7", true, -7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"18446744073709551615", false, 0},
        {"99999999999999999999", false, 0},
        {"-99999999999999999999", false, 0},
        {"100000000000000000000", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"-0", false, 0},
        {"01", false, 0},
        {"-01", false, 0},
        {"00", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1x", false, 0},
        {"0x1", false, 0},
        {"--1", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 4711;
        assert_int_equal(num_parse_i64(slice_str(cases[i].text), &v), cases[i].ok);
        assert_int_equal(v, cases[i].ok ? cases[i].value : 4711);
    }
}

static void test_u64(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_true(num_parse_u64(SLICE("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_false(num_parse_u64(SLICE("18446744073709551616"), &v));
    assert_false(num_parse_u64(SLICE("28446744073709551615"), &v));
    assert_false(num_parse_u64(SLICE("-1"), &v));
    assert_false(num_parse_u64(SLICE("1\0"), &v));
}

static void expect_printed(int64_t v)
{
    char want[32];
    char got[NUM_I64_MAX_LEN];
    int64_t back;
    int len = snprintf(want, sizeof want, "%lld", (long long)v);
    assert_int_equal(num_print_i64(got, v), len);
    assert_memory_equal(got, want, (size_t)len);
    assert_true(num_parse_i64(slice_of(got, (size_t)len), &back));
    assert_true(back == v);
}

static void test_integers_print_and_read_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int64_t v = -1100; v < 1100; v++) {
        expect_printed(v);
    }
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
        for (int64_t near = -1; near <= 1; near++) {
            expect_printed(power + near);
            expect_printed(-power + near);
        }
    }
    for (int i = 0; i < 100000; i++) {
        expect_printed((int64_t)(rng_next(&rng) >> rng_below(&rng, 64)));
        expect_printed(-(int64_t)(rng_next(&rng) >> (1 + rng_below(&rng, 63))));
    }
    expect_printed(INT64_MIN);
    expect_printed(INT64_MAX);
    char text[NUM_I64_MAX_LEN];
    assert_int_equal(num_print_u64(text, UINT64_MAX), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        {"1", true, 1},          {"-1.5", true, -1.5},      {"1e3", true, 1000},
        {"inf", true, INFINITY}, {"-inf", true, -INFINITY}, {"+inf", true, INFINITY},
        {"0x10", true, 16},      {".5", true, 0.5},         {"nan", false, 0},
        {"", false, 0},          {" 1", false, 0},          {"1 ", false, 0},
        {"1x", false, 0},        {"1e400", false, 0},       {"1e-400", false, 0},
        {"-", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = 0;
        long double wide = 0;
        assert_int_equal(num_parse_double(slice_str(cases[i].text), &v), cases[i].ok);
        assert_true(v == cases[i].value);
        bool only_wide = strstr(cases[i].text, "400") != NULL; /* fits a long double */
        assert_int_equal(num_parse_longdouble(slice_str(cases[i].text), &wide),
                         cases[i].ok || only_wide);
        assert_true(only_wide || wide == (long double)cases[i].value);
    }
    double v;
    assert_false(num_parse_double(SLICE("1\0"), &v));
}

static void test_long_texts_of_doubles(void **state)
{
    (void)state;
    char text[6000];
    double v = 0;
    memset(text, '0', sizeof text);
    memcpy(text, "0.", 2);
    text[299] = '5';
    text[999] = '5';
    assert_true(num_parse_double(slice_of(text, 400), &v));
    assert_true(v > 0.9 * 5e-298 && v < 1.1 * 5e-298);
    assert_true(num_parse_double(slice_of(text, 1200), &v));
    assert_true(v > 0.9 * 5e-298 && v < 1.1 * 5e-298);
    assert_false(num_parse_double(slice_of(text, sizeof text), &v));
}

static void expect_double(double v, const char *want)
{
    char got[40];
    assert_int_equal(num_print_double(got, v), strlen(want));
    assert_memory_equal(got, want, strlen(want));
}

static void test_doubles_print_as_in_redis(void **state)
{
    (void)state;
    expect_double(0, "0");
    expect_double(-0.0, "-0");
    expect_double(3, "3");
    expect_double(-17, "-17");
    expect_double(0.1, "0.10000000000000001");
    expect_double(1.5, "1.5");
    expect_double(1e17, "1e+17");
    expect_double(99999999999999984.0, "99999999999999984");
    expect_double(-1e-7, "-9.9999999999999995e-08");
    expect_double(INFINITY, "inf");
    expect_double(-INFINITY, "-inf");
    expect_double((double)NAN, "nan");
    struct rng rng;
    rng_init(&rng, 4);
    for (int i = 0; i < 20000; i++) {
        char want[64];
        double v = (rng_double(&rng) - 0.5) * pow(10, (double)rng_below(&rng, 40));
        v = rng_below(&rng, 2) == 0 ? trunc(v) : v;
        snprintf(want, sizeof want, "%.17g", v);
        expect_double(v, want);
    }
}

static void expect_longdouble(long double v, const char *want)
{
    char *got = mem_alloc(NUM_LD_MAX_LEN);
    assert_int_equal(num_print_longdouble(got, v), strlen(want));
    assert_memory_equal(got, want, strlen(want));
    mem_free(got);
}

static void test_longdoubles_print_without_exponent(void **state)
{
    (void)state;
    expect_longdouble(3.0L, "3");
    expect_longdouble(10.5L, "10.5");
    expect_longdouble(0.1L, "0.1");
    expect_longdouble(-0.0L, "0");
    expect_longdouble(-5e-30L, "0");
    expect_longdouble(100.0L, "100");
    expect_longdouble(1e20L, "100000000000000000000");
    expect_longdouble((long double)INFINITY, "inf");
    expect_longdouble((long double)-INFINITY, "-inf");
    char *got = mem_alloc(NUM_LD_MAX_LEN);
    assert_int_equal(num_print_longdouble(got, 0x1p16383L), 4932);
    mem_free(got);
}

static void test_memory_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"100", true, 100},
        {"1b", true, 1},
        {"1k", true, 1000},
        {"1kb", true, 1024},
        {"5M", true, 5000000},
        {"5Mb", true, 5ULL << 20},
        {"2g", true, 2000000000},
        {"2GB", true, 2ULL << 30},
        {"-1", false, 0},
        {"", false, 0},
        {"kb", false, 0},
        {"1tb", false, 0},
        {"1 kb", false, 0},
        {"99999999999gb", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 0;
        assert_int_equal(num_parse_memory(slice_str(cases[i].text), &v), cases[i].ok);
        assert_true(!cases[i].ok || v == cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_i64_takes_the_canonical_form_only),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_integers_print_and_read_back),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_long_texts_of_doubles),
        cmocka_unit_test(test_doubles_print_as_in_redis),
        cmocka_unit_test(test_longdoubles_print_without_exponent),
        cmocka_unit_test(test_memory_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
