// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT PAUSE. */
#include "proxy/exec/exec.h"
#include "proxy/exec/script.h"

#include "common/base/sha1.h"

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

static void test_scripts_wait_unless_they_say_that_they_do_not_write(void **state)
{
    (void)state;
    static const char *const waiting[] = {"#!lua_flags=no-writes\nreturn", "#!lua\nreturn",
                                          "return'no-writes'", "#!lua"};
    begin();
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        char line[100];
        snprintf(line, sizeof(line), "EVAL %s 0", waiting[i]);
        SAY_STOPS(&a, "%s", line);
        exec_unpause(world.x);
        exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    }
    const struct slice calm = SLICE("#!lua flags=allow-oom,no-writes\nreturn 1");
    assert_true(script_says_no_writes(calm));
    assert_false(script_says_no_writes(SLICE("#!lua flags=no-writes-at-all\nreturn 1")));
    assert_false(script_says_no_writes(SLICE("#!lua flags=\n flags=no-writes\nreturn 1")));
    assert_false(script_says_no_writes(SLICE("")));
    exec_script_note(world.x, calm);
    char sha[SHA1_HEX_LEN + 1], line[100];
    sha1_hex(calm.ptr, calm.len, sha);
    snprintf(line, sizeof(line), "EVALSHA %s 0", sha);
    SAY(&b, "%s", line);
    SAY(&b, "EVAL_RO text 0");
    end();
}

static void test_what_a_function_says_is_asked_of_a_node(void **state)
{
    (void)state;
    static const char list[] =
        "*1\r\n*6\r\n$12\r\nlibrary_name\r\n$1\r\nl\r\n$6\r\nengine\r\n$3\r\nLUA\r\n"
        "$9\r\nfunctions\r\n*2\r\n"
        "*6\r\n$4\r\nname\r\n$1\r\nr\r\n$11\r\ndescription\r\n$-1\r\n$5\r\nflags\r\n"
        "*1\r\n$9\r\nno-writes\r\n"
        "*6\r\n$4\r\nname\r\n$1\r\nw\r\n$11\r\ndescription\r\n$-1\r\n$5\r\nflags\r\n*0\r\n";
    begin();
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    SAY_STOPS(&a, "FCALL r 0");
    SAY_STOPS(&b, "FCALL w 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    SENT(w, "FUNCTION LIST;FUNCTION LIST;");
    assert_true(answer(w, list));
    assert_int_equal(world.resumed, 1);
    SAY(&a, "FCALL r 0");
    SAY_STOPS(&a, "SET x 1"); /* it was for that command only */
    assert_true(answer(w, list));
    assert_int_equal(world.resumed, 1);
    exec_unpause(world.x);
    assert_int_equal(world.resumed, 3);
    SAY(&b, "FCALL w 0");
    /* One whose client goes is for nobody. */
    exec_pause(world.x, EXEC_PAUSE_WRITE, world.now_us + 1000000);
    struct person gone;
    person_init(&gone);
    SAY_STOPS(&gone, "FCALL r 0");
    person_fini(&gone);
    pass_time(1000);
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
        cmocka_unit_test(test_scripts_wait_unless_they_say_that_they_do_not_write),
        cmocka_unit_test(test_what_a_function_says_is_asked_of_a_node),
        cmocka_unit_test(test_everything_waits),
        cmocka_unit_test(test_the_end_comes_by_itself),
        cmocka_unit_test(test_a_weaker_or_shorter_pause_changes_nothing),
        cmocka_unit_test(test_exec_waits_if_it_writes),
        cmocka_unit_test(test_a_client_may_leave_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
