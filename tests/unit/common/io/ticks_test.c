// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/ticks.h"

#include "tests/unit/unit.h"

/* Both clocks are read around the same stretch of time; the scale must bring them together. A
 * process that is put aside between two readings tries again. */
static bool agrees(const struct ticks_scale *s)
{
    int64_t ns = ticks_monotonic_ns();
    uint64_t ticks = ticks_now(s);
    int64_t end;
    do {
        end = ticks_monotonic_ns();
    } while (end - ns < 1000000);
    double ratio = (double)ticks_to_ns(s, ticks_now(s) - ticks) / (double)(end - ns);
    return ratio > 0.8 && ratio < 1.2;
}

static bool agrees_once(struct ticks_scale *s)
{
    for (int i = 0; i < 200; i++) {
        if (agrees(s)) {
            return true;
        }
        ticks_scale_update(s);
    }
    return false;
}

static void test_ticks_become_nanoseconds(void **state)
{
    (void)state;
    struct ticks_scale s;
    ticks_scale_init(&s);
    assert_true(agrees_once(&s));
    ticks_scale_update(&s);
    assert_true(agrees_once(&s));
}

static void test_ticks_never_go_back(void **state)
{
    (void)state;
    struct ticks_scale s;
    ticks_scale_init(&s);
    uint64_t last = ticks_now(&s);
    for (int i = 0; i < 100000; i++) {
        uint64_t now = ticks_now(&s);
        assert_true(now >= last);
        last = now;
    }
}

static void test_without_a_counter_ticks_are_nanoseconds(void **state)
{
    (void)state;
    struct ticks_scale s = {.factor = UINT64_C(1) << 24};
    assert_int_equal(ticks_to_ns(&s, 1234567890123), 1234567890123);
    ticks_scale_update(&s);
    assert_int_equal(s.factor, UINT64_C(1) << 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks_become_nanoseconds),
        cmocka_unit_test(test_ticks_never_go_back),
        cmocka_unit_test(test_without_a_counter_ticks_are_nanoseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
