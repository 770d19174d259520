// SPDX-License-Identifier: BSD-3-Clause
/* HyperLogLogs: the bytes that redis-server 7.0.15 has after the same commands, and hostile ones.
 */
#include "node/types/hll.h"

#include "node/types/string.h"

#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define SPARSE_MAX 3000

static struct slice bytes_of(const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    return string_bytes(o, digits);
}

static void add(struct object **o, struct slice v)
{
    assert_int_not_equal(hll_add(o, v, SPARSE_MAX), HLL_BROKEN);
}

static void test_bytes_are_redis_bytes(void **state)
{
    (void)state;
    static const char known[] = "\x48\x59\x4c\x4c\x01\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"
                                "\x46\x6d\x80\x50\xc2\x84\x45\x48\x80\x44\x3c\x84\x38\x80\x50\xb1"
                                "\x84\x45\x80\x80\x44\x0a\x80\x42\x6d\x80\x42\x5a";
    struct object *o = hll_new(SLICE("h"), OBJECT_NO_EXPIRE);
    static const char letters[] = "abcdefg";
    for (size_t i = 0; i < strlen(letters); i++) {
        add(&o, slice_of(&letters[i], 1));
    }
    add(&o, SLICE(""));
    add(&o, SLICE("a rather long element of more than eight"));
    uint64_t count;
    assert_true(hll_count(bytes_of(o), &count));
    assert_int_equal(count, 9);
    hll_keep_count(&o, count);
    assert_int_equal(bytes_of(o).len, sizeof(known) - 1);
    assert_memory_equal(bytes_of(o).ptr, known, sizeof(known) - 1);
    object_free(&o);
}

static uint64_t fnv(struct slice v)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < v.len; i++) {
        h = (h ^ (unsigned char)v.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

/* While it grows, becomes dense, and after; each with the count kept in between. */
static void test_long_ones_are_redis_bytes(void **state)
{
    (void)state;
    static const struct {
        int elements;
        size_t len;
        uint64_t hash;
        uint64_t count;
    } known[] = {{300, 713, UINT64_C(0xa4cfffba965d1718), 302},
                 {1000, 1906, UINT64_C(0x5935de0232806824), 1008},
                 {1300, 2413, UINT64_C(0x2b1650b5d511651c), 1309},
                 {3000, 12304, UINT64_C(0x1b31e02ee1b56bce), 2979}};
    for (size_t k = 0; k < ARRAY_LEN(known); k++) {
        struct object *o = hll_new(SLICE("h"), OBJECT_NO_EXPIRE);
        for (int i = 0; i < known[k].elements; i++) {
            char text[16];
            int n = snprintf(text, sizeof(text), "e%d", i);
            enum hll_result r = hll_add(&o, slice_of(text, (size_t)n), SPARSE_MAX);
            assert_int_not_equal(r, HLL_BROKEN);
            if (r == HLL_CHANGED) {
                hll_forget_count(&o);
            }
        }
        assert_int_equal(bytes_of(o).len, known[k].len);
        assert_int_equal(fnv(bytes_of(o)), known[k].hash);
        uint64_t count;
        assert_false(hll_kept_count(bytes_of(o), &count));
        assert_true(hll_count(bytes_of(o), &count));
        assert_int_equal(count, known[k].count);
        object_free(&o);
    }
}

/* What runs describe, sparse or dense. */
static void test_forms_agree(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    struct object *sparse = hll_new(SLICE("s"), OBJECT_NO_EXPIRE);
    struct object *dense = hll_new(SLICE("d"), OBJECT_NO_EXPIRE);
    assert_int_equal(hll_make_dense(&dense), HLL_CHANGED);
    static struct hll_registers a;
    static struct hll_registers b;
    for (int i = 0; i < 20000; i++) {
        uint64_t v = rng_below(&rng, 15000);
        struct slice element = slice_of((const char *)&v, sizeof(v));
        enum hll_result r = hll_add(&sparse, element, HLL_SPARSE_ANY);
        assert_int_equal(r, hll_add(&dense, element, HLL_SPARSE_ANY));
        if (i % 997 == 0) {
            a = (struct hll_registers){{0}};
            b = a;
            assert_true(hll_read(bytes_of(sparse), &a));
            assert_true(hll_read(bytes_of(dense), &b));
            assert_memory_equal(&a, &b, sizeof(a));
        }
    }
    uint64_t count;
    assert_true(hll_count(bytes_of(dense), &count));
    assert_true(hll_read(bytes_of(dense), &b));
    assert_int_equal(count, hll_count_registers(&b));
    struct object *raised = hll_new(SLICE("r"), OBJECT_NO_EXPIRE);
    assert_int_equal(hll_raise(&raised, &b, SPARSE_MAX), HLL_CHANGED);
    assert_int_equal(hll_raise(&raised, &b, SPARSE_MAX), HLL_SAME);
    a = (struct hll_registers){{0}};
    assert_true(hll_read(bytes_of(raised), &a));
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&sparse);
    object_free(&dense);
    object_free(&raised);
}

static void test_any_bytes_are_understood_or_refused(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    static struct hll_registers r;
    uint64_t broken = 0;
    for (int i = 0; i < 20000; i++) {
        char bytes[200] = "HYLL\x01";
        size_t len = 14 + rng_below(&rng, sizeof(bytes) - 14);
        for (size_t k = 16; k < len; k++) {
            bytes[k] = (char)(rng_below(&rng, 4) == 0 ? 0x7f : rng_next(&rng));
        }
        struct object *o =
            string_new_bytes(SLICE("h"), OBJECT_NO_EXPIRE, slice_of(bytes, len), true);
        assert_int_equal(hll_is(o), len >= 16);
        if (hll_is(o)) {
            uint64_t count;
            bool whole = hll_count(bytes_of(o), &count);
            assert_int_equal(hll_read(bytes_of(o), &r), whole);
            broken += !whole;
            for (uint64_t e = 0; e < 20; e++) {
                enum hll_result one =
                    hll_add(&o, slice_of((const char *)&e, sizeof(e)), SPARSE_MAX);
                assert_true(!whole || one != HLL_BROKEN);
            }
            assert_true((hll_make_dense(&o) == HLL_BROKEN) != hll_is_dense(bytes_of(o)));
        }
        object_free(&o);
    }
    assert_true(broken > 1000);
    struct object *o = string_new_int(SLICE("h"), OBJECT_NO_EXPIRE, 7);
    assert_false(hll_is(o));
    object_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_redis_bytes),
        cmocka_unit_test(test_long_ones_are_redis_bytes),
        cmocka_unit_test(test_forms_agree),
        cmocka_unit_test(test_any_bytes_are_understood_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
