// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/move.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct move_view free_view(void)
{
    return (struct move_view){.source_there = true,
                              .add_there = true,
                              .hand_there = true,
                              .copy_place = true,
                              .hand_place = true};
}

static void assert_next(const struct move_view *v, enum move_state state, enum move_reason reason)
{
    enum move_reason got;
    assert_int_equal(move_next(v, &got), state);
    assert_int_equal(got, reason);
}

static void test_a_move_is_add_copy_hand_over_drop(void **state)
{
    (void)state;
    struct move_view v = free_view();
    assert_next(&v, MOVE_IDLE, MOVE_NO_REASON);
    v.to_add = v.to_copy = v.to_drop = true;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_add = false;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_hand = true; /* the planned primary is in sync: it need not wait for another replica */
    assert_next(&v, MOVE_HANDING, MOVE_NO_REASON);
    v.to_hand = false;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_copy = false;
    assert_next(&v, MOVE_DROPPING, MOVE_NO_REASON);
    v.to_drop = false;
    assert_next(&v, MOVE_IDLE, MOVE_NO_REASON);
}

/* Else the copy would begin twice, and give its place to the next one while it waits for the
 * hand-over: all shards of a drained node were copied at once, each by a map of its own. */
static void test_a_hand_over_comes_before_a_copy_for_another(void **state)
{
    (void)state;
    struct move_view v = free_view();
    v.to_add = v.to_hand = v.to_drop = true;
    assert_next(&v, MOVE_HANDING, MOVE_NO_REASON);
    v.hand_place = false;
    assert_next(&v, MOVE_PLANNED, MOVE_NO_REASON);
    v.repair = true; /* but copies that are missing do not wait for it */
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.repair = false;
    v.hand_place = true;
    v.hand_there = false;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.hand_there = true;
    v.paused = v.repair = true;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.asked = true;
    assert_next(&v, MOVE_HANDING, MOVE_NO_REASON);
    v.hand_stalled = true; /* whatever keeps it from being done, copies are missing */
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
}

static void test_a_member_that_is_away_does_not_hide_a_copy_under_way(void **state)
{
    (void)state;
    struct move_view v = free_view();
    v.to_add = v.to_copy = true;
    v.add_there = false;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_copy = false;
    assert_next(&v, MOVE_WAITING, MOVE_TARGET_AWAY);
}

static void test_who_is_away_is_waited_for_and_places_are_few(void **state)
{
    (void)state;
    for (int hand = 0; hand < 2; hand++) {
        struct move_view v = free_view();
        v.to_add = hand == 0;
        v.to_hand = hand == 1;
        v.copy_place = v.hand_place = false;
        assert_next(&v, MOVE_PLANNED, MOVE_NO_REASON);
        v.add_there = v.hand_there = false;
        assert_next(&v, MOVE_WAITING, MOVE_TARGET_AWAY);
        v.source_there = false;
        assert_next(&v, MOVE_WAITING, MOVE_SOURCE_AWAY);
    }
}

static void test_a_pause_holds_moves_but_neither_repairs_nor_wishes(void **state)
{
    (void)state;
    struct move_view v = free_view();
    v.paused = true;
    v.to_add = true;
    assert_next(&v, MOVE_WAITING, MOVE_PAUSED);
    v.repair = true;
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_add = v.repair = false;
    v.to_hand = true;
    assert_next(&v, MOVE_WAITING, MOVE_PAUSED);
    v.asked = true;
    assert_next(&v, MOVE_HANDING, MOVE_NO_REASON);
    v.to_hand = false;
    v.to_copy = true; /* begun before */
    assert_next(&v, MOVE_COPYING, MOVE_NO_REASON);
    v.to_copy = false;
    v.to_drop = true;
    assert_next(&v, MOVE_WAITING, MOVE_PAUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_move_is_add_copy_hand_over_drop),
        cmocka_unit_test(test_a_hand_over_comes_before_a_copy_for_another),
        cmocka_unit_test(test_a_member_that_is_away_does_not_hide_a_copy_under_way),
        cmocka_unit_test(test_who_is_away_is_waited_for_and_places_are_few),
        cmocka_unit_test(test_a_pause_holds_moves_but_neither_repairs_nor_wishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
