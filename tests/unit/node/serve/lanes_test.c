// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/lanes.h"

#include "node/serve/client.h"

#include "tests/unit/unit.h"

static void test_an_id_is_one_connection_and_refused_once_it_has_ended(void **state)
{
    (void)state;
    struct lanes l;
    struct client a = {0};
    struct client b = {0};
    lanes_init(&l);
    assert_true(lanes_enter(&l, &a, 7));
    assert_int_equal(a.lane, 7);
    assert_false(lanes_enter(&l, &b, 7));
    assert_int_equal(b.lane, 0);
    assert_true(lanes_enter(&l, &a, 8)); /* another one */
    assert_true(lanes_enter(&l, &b, 7));
    lanes_leave(&l, &b);
    lanes_leave(&l, &b);
    lanes_end(&l, 7);
    lanes_end(&l, 7);
    assert_int_equal(l.n_ended, 1);
    assert_false(lanes_enter(&l, &b, 7));
    assert_true(lanes_enter(&l, &b, 9));
    lanes_leave(&l, &a);
    lanes_leave(&l, &b);
    lanes_fini(&l);
}

static void test_the_oldest_ended_ones_are_forgotten(void **state)
{
    (void)state;
    struct lanes l;
    struct client a = {0};
    lanes_init(&l);
    for (uint64_t i = 1; i <= LANES_ENDED_MAX + 10; i++) {
        lanes_end(&l, i);
    }
    assert_int_equal(l.n_ended, LANES_ENDED_MAX);
    assert_false(lanes_enter(&l, &a, 11));
    assert_true(lanes_enter(&l, &a, 10));
    lanes_leave(&l, &a);
    lanes_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_one_connection_and_refused_once_it_has_ended),
        cmocka_unit_test(test_the_oldest_ended_ones_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
