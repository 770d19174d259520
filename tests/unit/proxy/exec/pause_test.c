// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT PAUSE. */
#include "proxy/exec/exec.h"

#include "tests/unit/proxy/exec/world.h"

static struct person a, b;

static void begin(void)
{
    world_setup(1);
    person_init(&a);
    person_init(&b);
}

static void end(void)
{
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_writes_wait_and_reads_go_on(void **state)
{
    (void)state;
    begin();
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    SAY(&a, "GET x");
    SAY_STOPS(&b, "SET x 1");
    assert_null(find_wire(0, LANE_WRITE));
    exec_unpause(world.x);
    assert_int_equal(world.resumed, 1);
    SAY(&b, "SET x 1");
    SENT(wire_to(0, LANE_WRITE), "SET x 1;");
    end();
}

static void test_everything_waits(void **state)
{
    (void)state;
    begin();
    exec_pause(world.x, EXEC_PAUSE_ALL, world.now_us + 1000000);
    SAY_STOPS(&a, "GET x");
    SAY_STOPS(&b, "SET x 1");
    exec_unpause(world.x);
    assert_int_equal(world.resumed, 2);
    SAY(&a, "GET x");
    end();
}

static void test_the_end_comes_by_itself(void **state)
{
    (void)state;
    begin();
    exec_pause(world.x, EXEC_PAUSE_ALL, world.now_us + 200000);
    SAY_STOPS(&a, "GET x");
    pass_time(199999);
    assert_int_equal(world.resumed, 0);
    assert_in_range(world.wake_us, world.now_us, world.now_us + 1);
    pass_time(1);
    assert_int_equal(world.resumed, 1);
    SAY(&a, "GET x");
    end();
}

static void test_a_weaker_or_shorter_pause_changes_nothing(void **state)
{
    (void)state;
    begin();
    exec_pause(world.x, EXEC_PAUSE_ALL, world.now_us + 200000);
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 100000);
    pass_time(150000);
    SAY_STOPS(&a, "GET x");
    pass_time(50000);
    SAY(&a, "GET x");
    end();
}

static void test_exec_waits_if_it_writes(void **state)
{
    (void)state;
    begin();
    SAY(&a, "MULTI");
    SAY(&a, "SET x 1");
    SAY(&b, "MULTI");
    SAY(&b, "GET x");
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    SAY_STOPS(&a, "EXEC");
    SAY(&b, "EXEC");
    exec_unpause(world.x);
    SAY(&a, "EXEC");
    end();
}

static void test_a_client_may_leave_meanwhile(void **state)
{
    (void)state;
    begin();
    exec_pause(world.x, EXEC_PAUSE_ALL, world.now_us + 1000000);
    SAY_STOPS(&a, "GET x");
    exec_session_gone(world.x, &a.session);
    exec_unpause(world.x);
    assert_int_equal(world.resumed, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_wait_and_reads_go_on),
        cmocka_unit_test(test_everything_waits),
        cmocka_unit_test(test_the_end_comes_by_itself),
        cmocka_unit_test(test_a_weaker_or_shorter_pause_changes_nothing),
        cmocka_unit_test(test_exec_waits_if_it_writes),
        cmocka_unit_test(test_a_client_may_leave_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
