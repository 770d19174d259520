// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_only_what_ended_since_then_counts(void **state)
{
    (void)state;
    struct patience p = {0};
    assert_int_equal(patience_since(&p, 0), 0);
    patience_stalled(&p, 1000, 300);
    patience_stalled(&p, 5000, 1000);
    assert_int_equal(patience_since(&p, 0), 1300);
    assert_int_equal(patience_since(&p, 999), 1300);
    assert_int_equal(patience_since(&p, 1000), 1000);
    assert_int_equal(patience_since(&p, 4999), 1000);
    assert_int_equal(patience_since(&p, 5000), 0);
}

static void test_what_is_forgotten_makes_less_patient(void **state)
{
    (void)state;
    struct patience p = {0};
    for (int i = 1; i <= 3 * PATIENCE_KEPT; i++) {
        patience_stalled(&p, i * 1000, 500);
    }
    assert_int_equal(patience_since(&p, (3 * PATIENCE_KEPT - 10) * 1000), 10 * 500);
    assert_int_equal(patience_since(&p, 2 * PATIENCE_KEPT * 1000 + 1000),
                     (PATIENCE_KEPT - 1) * 500);
    assert_int_equal(patience_since(&p, 0), (PATIENCE_KEPT - 1) * 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_ended_since_then_counts),
        cmocka_unit_test(test_what_is_forgotten_makes_less_patient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
