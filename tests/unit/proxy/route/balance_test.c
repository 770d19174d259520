// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/balance.h"

#include "tests/unit/unit.h"

#define ROUNDS 10000

static int counts[4];

static void pick_many(enum read_from how, const struct balance_choice *c, int n)
{
    struct rng rng;
    uint32_t turn = 0;
    rng_init(&rng, 7);
    for (int i = 0; i < 4; i++) {
        counts[i] = 0;
    }
    for (int i = 0; i < ROUNDS; i++) {
        counts[balance_pick(how, c, n, &rng, &turn)]++;
    }
}

static void test_one_choice_is_no_choice(void **state)
{
    (void)state;
    const struct balance_choice c = {0};
    for (int how = READ_LEAST_LOADED; how <= READ_PRIMARY; how++) {
        pick_many((enum read_from)how, &c, 1);
        assert_int_equal(counts[0], ROUNDS);
    }
}

static void test_round_robin_is_even(void **state)
{
    (void)state;
    const struct balance_choice c[4] = {{.in_flight = 100}, {0}, {0}, {0}};
    pick_many(READ_ROUND_ROBIN, c, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(counts[i], ROUNDS / 4);
    }
}

static void test_weights_decide(void **state)
{
    (void)state;
    const struct balance_choice c[3] = {{.weight = 100}, {.weight = 300}, {.weight = 0}};
    pick_many(READ_WEIGHTED, c, 3);
    assert_in_range(counts[0], ROUNDS / 4 - 300, ROUNDS / 4 + 300);
    assert_in_range(counts[1], ROUNDS * 3 / 4 - 300, ROUNDS * 3 / 4 + 300);
    assert_int_equal(counts[2], 0);
}

static void test_the_primary_is_the_first(void **state)
{
    (void)state;
    const struct balance_choice c[2] = {{.in_flight = 100}, {0}};
    pick_many(READ_PRIMARY, c, 2);
    assert_int_equal(counts[0], ROUNDS);
}

/* Loads of 10:4 and 3:1, chances as their squares; and 3:1 by heartbeats, as the square root. */
static void test_of_two_the_less_loaded_is_taken_mostly(void **state)
{
    (void)state;
    const struct balance_choice in_flight[2] = {{.in_flight = 9}, {.in_flight = 3}};
    pick_many(READ_LEAST_LOADED, in_flight, 2);
    assert_in_range(counts[1], ROUNDS * 82 / 100, ROUNDS * 90 / 100);
    const struct balance_choice latency[2] = {{.latency_us = 300}, {.latency_us = 900}};
    pick_many(READ_LEAST_LOADED, latency, 2);
    assert_in_range(counts[0], ROUNDS * 86 / 100, ROUNDS * 94 / 100);
    const struct balance_choice reported[2] = {{.load_percent = 150}, {.load_percent = 50}};
    pick_many(READ_LEAST_LOADED, reported, 2);
    assert_in_range(counts[1], ROUNDS * 60 / 100, ROUNDS * 67 / 100);
}

/* Each interval's choices go by what the one before made of the loads. */
static void test_what_heartbeats_tell_does_not_swing(void **state)
{
    (void)state;
    struct balance_choice c[2] = {{.load_percent = 400}, {.load_percent = 25}};
    for (int interval = 0; interval < 10; interval++) {
        pick_many(READ_LEAST_LOADED, c, 2);
        assert_in_range(counts[0], ROUNDS / 4, ROUNDS * 3 / 4);
        for (int i = 0; i < 2; i++) {
            c[i].load_percent = (uint32_t)(counts[i] * 200 / ROUNDS);
        }
    }
    assert_in_range(counts[0], ROUNDS * 47 / 100, ROUNDS * 53 / 100);
}

/* With more than two the worst is hardly ever taken, but it is; the others share. */
static void test_the_most_loaded_is_hardly_taken(void **state)
{
    (void)state;
    const struct balance_choice c[4] = {
        {.in_flight = 5}, {.in_flight = 50}, {.in_flight = 5}, {.in_flight = 5}};
    pick_many(READ_LEAST_LOADED, c, 4);
    assert_in_range(counts[1], 1, ROUNDS / 25);
    assert_true(counts[0] > ROUNDS / 5);
    assert_true(counts[2] > ROUNDS / 5);
    assert_true(counts[3] > ROUNDS / 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_choice_is_no_choice),
        cmocka_unit_test(test_round_robin_is_even),
        cmocka_unit_test(test_weights_decide),
        cmocka_unit_test(test_the_primary_is_the_first),
        cmocka_unit_test(test_of_two_the_less_loaded_is_taken_mostly),
        cmocka_unit_test(test_what_heartbeats_tell_does_not_swing),
        cmocka_unit_test(test_the_most_loaded_is_hardly_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
