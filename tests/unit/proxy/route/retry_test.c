// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/retry.h"

#include "common/base/obj.h"

#include "tests/unit/unit.h"

static void test_only_errors_that_say_so_mean_not_executed(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum node_answer is;
    } rows[] = {
        {"-MOVED 1234 10.0.0.1:6400\r\n", ANSWER_MOVED},
        {"-ASK 1234 10.0.0.1:6400\r\n", ANSWER_MOVED},
        {"-READONLY You can't write against a read only replica.\r\n", ANSWER_MOVED},
        {"-CLUSTERDOWN Hash slot not served\r\n", ANSWER_LATER},
        {"-TRYAGAIN\r\n", ANSWER_LATER},
        {"-LOADING Redis is loading\r\n", ANSWER_LATER},
        {"-MASTERDOWN x\r\n", ANSWER_LATER},
        {"-ERR MOVED\r\n", ANSWER_REPLY},
        {"-MOVEDX y\r\n", ANSWER_REPLY},
        {"-OOM command not allowed\r\n", ANSWER_REPLY},
        {"-NOREPLICAS Not enough\r\n", ANSWER_REPLY},
        {"-BUSY x\r\n", ANSWER_REPLY},
        {"-\r\n", ANSWER_REPLY},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(retry_classify(slice_str(rows[i].reply)), rows[i].is);
    }
}

static void test_delays_grow_and_have_a_top(void **state)
{
    (void)state;
    const struct retry_policy p = {.initial_us = 1000, .max_us = 50000, .backoff_percent = 200};
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t tries = 0; tries < 100; tries++) {
        int64_t full = tries < 6 ? 1000 << tries : 50000;
        full = MIN(full, 50000);
        for (int i = 0; i < 100; i++) {
            int64_t d = retry_delay_us(&p, tries, &rng);
            assert_true(d >= full / 2);
            assert_true(d <= full);
        }
    }
}

static void test_delays_differ(void **state)
{
    (void)state;
    const struct retry_policy p = {.initial_us = 100000, .max_us = 100000, .backoff_percent = 100};
    struct rng rng;
    rng_init(&rng, 1);
    int64_t first = retry_delay_us(&p, 0, &rng);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        same += retry_delay_us(&p, 0, &rng) == first;
    }
    assert_true(same < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_errors_that_say_so_mean_not_executed),
        cmocka_unit_test(test_delays_grow_and_have_a_top),
        cmocka_unit_test(test_delays_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
