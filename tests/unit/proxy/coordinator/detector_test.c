// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/detector.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct detector_settings defaults = {
    .interval_ms = 5000, .unhealthy_missed = 3, .dead_missed = 6};

static void test_three_missed_is_unhealthy_and_six_is_dead(void **state)
{
    (void)state;
    struct detector d;
    detector_heard(&d, 1000);
    assert_int_equal(detector_state(&d, &defaults, 1000), NODE_HEALTHY);
    assert_int_equal(detector_state(&d, &defaults, 1000 + 14999), NODE_HEALTHY);
    assert_int_equal(detector_state(&d, &defaults, 1000 + 15000), NODE_UNHEALTHY);
    assert_int_equal(detector_state(&d, &defaults, 1000 + 29999), NODE_UNHEALTHY);
    assert_int_equal(detector_state(&d, &defaults, 1000 + 30000), NODE_DEAD);
    assert_int_equal(detector_state(&d, &defaults, INT64_MAX / 2), NODE_DEAD);
}

static void test_a_heartbeat_brings_back_from_any_state(void **state)
{
    (void)state;
    struct detector d;
    detector_heard(&d, 0);
    assert_int_equal(detector_state(&d, &defaults, 20000), NODE_UNHEALTHY);
    detector_heard(&d, 20000);
    assert_int_equal(detector_state(&d, &defaults, 20000), NODE_HEALTHY);
    assert_int_equal(detector_state(&d, &defaults, 100000), NODE_DEAD);
    detector_heard(&d, 100000);
    assert_int_equal(detector_state(&d, &defaults, 100001), NODE_HEALTHY);
    assert_int_equal(detector_missed(&d, &defaults, 104999), 0);
    assert_int_equal(detector_missed(&d, &defaults, 105000), 1);
}

static void test_time_in_which_we_slept_does_not_count(void **state)
{
    (void)state;
    struct detector d;
    detector_heard(&d, 0);
    detector_excuse(&d, 60000);
    assert_int_equal(detector_state(&d, &defaults, 61000), NODE_HEALTHY);
    assert_int_equal(detector_silence_ms(&d, 61000), 1000);
    assert_int_equal(detector_silence_ms(&d, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_missed_is_unhealthy_and_six_is_dead),
        cmocka_unit_test(test_a_heartbeat_brings_back_from_any_state),
        cmocka_unit_test(test_time_in_which_we_slept_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
