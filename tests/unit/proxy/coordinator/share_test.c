// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/share.h"

#include "common/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_equal_weights_differ_by_at_most_one(void **state)
{
    (void)state;
    for (int n = 1; n <= 40; n++) {
        struct taker t[40];
        for (int i = 0; i < n; i++) {
            t[i] = (struct taker){.weight = 100, .upper = 128};
        }
        share_out(t, n, 128);
        int sum = 0;
        for (int i = 0; i < n; i++) {
            assert_in_range(t[i].share, 128 / n, (128 + n - 1) / n);
            sum += t[i].share;
        }
        assert_int_equal(sum, 128);
    }
}

static void test_who_has_more_is_rounded_up(void **state)
{
    (void)state;
    struct taker t[3] = {{.weight = 1, .upper = 9, .has = 3},
                         {.weight = 1, .upper = 9, .has = 3},
                         {.weight = 1, .upper = 9, .has = 4}};
    share_out(t, 3, 10);
    assert_int_equal(t[0].share, 3);
    assert_int_equal(t[1].share, 3);
    assert_int_equal(t[2].share, 4);
}

static void test_random_shares_are_within_one_of_what_is_due(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 11);
    for (int round = 0; round < 20000; round++) {
        struct taker t[12] = {{0}};
        int n = 1 + (int)rng_below(&r, 12);
        int total = (int)rng_below(&r, 400);
        double weights = 0;
        for (int i = 0; i < n; i++) {
            t[i].weight = (double)(1 + rng_below(&r, 300));
            t[i].upper = total;
            t[i].has = (int)rng_below(&r, 100);
            weights += t[i].weight;
        }
        share_out(t, n, total);
        int sum = 0;
        for (int i = 0; i < n; i++) {
            double due = total * t[i].weight / weights;
            assert_true(fabs(t[i].share - due) < 1);
            sum += t[i].share;
        }
        assert_int_equal(sum, total);
    }
}

static void test_bounds_hold_and_the_rest_goes_to_the_others(void **state)
{
    (void)state;
    struct taker t[3] = {{.weight = 1000, .upper = 10},
                         {.weight = 1, .upper = 100, .lower = 30},
                         {.weight = 1, .upper = 100}};
    share_out(t, 3, 60);
    assert_int_equal(t[0].share, 10);
    assert_int_equal(t[1].share, 30);
    assert_int_equal(t[2].share, 20);
    struct taker none[2] = {{.weight = 0, .upper = 5}, {.weight = 1, .upper = 3}};
    share_out(none, 2, 8);
    assert_int_equal(none[0].share, 0);
    assert_int_equal(none[1].share, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_weights_differ_by_at_most_one),
        cmocka_unit_test(test_who_has_more_is_rounded_up),
        cmocka_unit_test(test_random_shares_are_within_one_of_what_is_due),
        cmocka_unit_test(test_bounds_hold_and_the_rest_goes_to_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
