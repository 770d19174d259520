// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct alarm {
    struct timer timer;
    struct timers *timers;
    int calls;
    int64_t called_ms;
    int64_t again_ms;      /* sets itself for then, when not 0 */
    struct alarm *cancels; /* when called */
};

static int order; /* calls so far in the running test */

static void ring(struct timer *timer, int64_t now_ms)
{
    struct alarm *a = container_of(timer, struct alarm, timer);
    assert_false(timer_is_set(timer));
    a->calls++;
    a->called_ms = now_ms;
    order++;
    if (a->again_ms != 0) {
        timers_set(a->timers, timer, a->again_ms);
    }
    if (a->cancels != NULL) {
        timers_cancel(a->timers, &a->cancels->timer);
    }
}

static struct alarm alarm_on(struct timers *t)
{
    return (struct alarm){.timer = {.fn = ring}, .timers = t};
}

static void test_due_ones_are_called_once(void **state)
{
    (void)state;
    struct timers t = {0};
    struct alarm a = alarm_on(&t);
    struct alarm b = alarm_on(&t);
    assert_int_equal(timers_wait_ms(&t, 0), -1);
    timers_set(&t, &a.timer, 100);
    timers_set(&t, &b.timer, 50);
    assert_int_equal(timers_wait_ms(&t, 20), 30);
    assert_int_equal(timers_run(&t, 49), 0);
    assert_int_equal(timers_run(&t, 50), 1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(timers_wait_ms(&t, 200), 0);
    assert_int_equal(timers_run(&t, 200), 1);
    assert_int_equal(a.called_ms, 200);
    assert_int_equal(timers_run(&t, 300), 0);
    assert_int_equal(a.calls + b.calls, 2);
    timers_fini(&t);
}

static void test_moving_and_cancelling(void **state)
{
    (void)state;
    struct timers t = {0};
    struct alarm a = alarm_on(&t);
    timers_cancel(&t, &a.timer);
    timers_set(&t, &a.timer, 10);
    timers_set(&t, &a.timer, 1000);
    assert_int_equal(timers_run(&t, 500), 0);
    timers_set(&t, &a.timer, 400);
    assert_int_equal(timers_run(&t, 500), 1);
    timers_set(&t, &a.timer, 600);
    timers_cancel(&t, &a.timer);
    assert_false(timer_is_set(&a.timer));
    assert_int_equal(timers_run(&t, 5000), 0);
    timers_fini(&t);
}

static void test_a_callback_may_cancel_another_that_is_due(void **state)
{
    (void)state;
    struct timers t = {0};
    struct alarm a = alarm_on(&t);
    struct alarm b = alarm_on(&t);
    a.cancels = &b;
    timers_set(&t, &a.timer, 10);
    timers_set(&t, &b.timer, 20);
    assert_int_equal(timers_run(&t, 100), 1);
    assert_int_equal(b.calls, 0);
    timers_fini(&t);
}

static void test_setting_for_the_past_in_a_callback_does_not_loop(void **state)
{
    (void)state;
    struct timers t = {0};
    struct alarm a = alarm_on(&t);
    a.again_ms = 1;
    timers_set(&t, &a.timer, 10);
    assert_int_equal(timers_run(&t, 100), 1);
    assert_true(timer_is_set(&a.timer));
    assert_int_equal(timers_wait_ms(&t, 100), 1);
    assert_int_equal(timers_run(&t, 101), 1);
    timers_fini(&t);
    assert_false(timer_is_set(&a.timer));
}

static void test_they_come_in_order_of_deadline(void **state)
{
    (void)state;
    struct timers t = {0};
    struct alarm alarms[50];
    for (int i = 0; i < 50; i++) {
        alarms[i] = alarm_on(&t);
        timers_set(&t, &alarms[i].timer, i * 37 % 50);
    }
    order = 0;
    for (int now = 0; now < 50; now++) {
        assert_int_equal(timers_run(&t, now), 1);
        assert_int_equal(order, now + 1);
    }
    for (int i = 0; i < 50; i++) {
        assert_int_equal(alarms[i].called_ms, i * 37 % 50);
    }
    timers_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_ones_are_called_once),
        cmocka_unit_test(test_moving_and_cancelling),
        cmocka_unit_test(test_a_callback_may_cancel_another_that_is_due),
        cmocka_unit_test(test_setting_for_the_past_in_a_callback_does_not_loop),
        cmocka_unit_test(test_they_come_in_order_of_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
