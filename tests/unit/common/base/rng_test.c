// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/rng.h"

#include "common/base/obj.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The generator's published first outputs for the splitmix64 state of seed 0. */
static void test_known_sequence(void **state)
{
    (void)state;
    static const uint64_t want[] = {0x99EC5F36CB75F2B4ULL, 0xBF6E1F784956452AULL,
                                    0x1A5F849D4933E6E0ULL};
    struct rng r;
    rng_init(&r, 0);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(rng_next(&r) == want[i]);
    }
}

static void test_a_seed_replays(void **state)
{
    (void)state;
    struct rng a;
    struct rng b;
    struct rng c;
    int same = 0;
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_init(&c, 43);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rng_next(&a);
        assert_true(v == rng_next(&b));
        same += v == rng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void test_below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng r;
    int seen[7] = {0};
    rng_init(&r, 1);
    for (int i = 0; i < 70000; i++) {
        seen[rng_below(&r, 7)]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(seen[i], 9000, 11000);
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    }
}

static void test_double_is_in_its_range(void **state)
{
    (void)state;
    struct rng r;
    double sum = 0;
    rng_init(&r, 2);
    for (int i = 0; i < 100000; i++) {
        double v = rng_double(&r);
        assert_true(v >= 0 && v < 1);
        sum += v;
    }
    assert_true(sum > 49000 && sum < 51000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_sequence),
        cmocka_unit_test(test_a_seed_replays),
        cmocka_unit_test(test_below_stays_below_and_reaches_all),
        cmocka_unit_test(test_double_is_in_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
