// SPDX-License-Identifier: BSD-3-Clause
/* Nodes that say that a slow script runs. */
#include "tests/unit/proxy/exec/world.h"

#define BUSY "BUSY a script runs"

static struct person a, b, c;

static void begin(void)
{
    world_setup(1);
    person_init(&a);
    person_init(&b);
    person_init(&c);
}

static void end(void)
{
    person_fini(&a);
    person_fini(&b);
    person_fini(&c);
    world_end();
}

static bool notice(struct wire *w, int number, int keyless, const char *text)
{
    char push[200];
    snprintf(push, sizeof(push), ">4\r\n$4\r\nbusy\r\n:%d\r\n:%d\r\n$%zu\r\n%s\r\n", number,
             keyless, strlen(text), text);
    return answer(w, push);
}

static void test_what_is_behind_it_on_its_lane_is_told(void **state)
{
    (void)state;
    begin();
    SAY(&b, "SET x 1");
    SAY(&a, "EVAL script 1 x");
    SAY(&c, "SET x 2");
    SAY(&b, "MSET x 3 y 3");
    SAY(&a, "SET x 4");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+OK\r\n"));
    HEARD(&b, "+OK\r\n");
    assert_true(notice(w, 2, 0, BUSY));
    HEARD(&c, "-" BUSY "\r\n");
    HEARD(&b, "-" BUSY "\r\n");
    HEARD(&a, "%s", "");
    /* The others go on by another lane. */
    SAY(&c, "SET x 5");
    struct wire *next = wire_to(0, LANE_WRITE);
    assert_ptr_not_equal(next, w);
    SENT(next, "SET x 5;");
    assert_true(answer(next, "-" BUSY "\r\n"));
    HEARD(&c, "-" BUSY "\r\n");
    /* Its own client's command waits for it, then goes there, too. */
    pass_time(100000);
    SENT(next, "%s", "");
    assert_true(answer(w, ":7\r\n"));
    HEARD(&a, ":7\r\n");
    pass_time(100000);
    SENT(next, "SET x 4;");
    assert_null(w->lane); /* it has nothing left to say */
    assert_true(answer(next, "+OK\r\n"));
    HEARD(&a, "+OK\r\n");
    assert_int_equal(exec_open_requests(world.x), 0);
    assert_int_equal(world.refused, 0);
    end();
}

static void test_a_lane_whose_node_is_busy_is_not_given_up(void **state)
{
    (void)state;
    begin();
    SAY(&a, "EVAL script 1 x");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(notice(w, -1, 0, BUSY));
    for (int i = 0; i < 20; i++) {
        pass_time(1000000);
        assert_true(notice(w, -1, 0, BUSY));
    }
    HEARD(&a, "%s", "");
    assert_int_equal(exec_counters(world.x)->timeouts, 0);
    pass_time(6000000); /* now it is silent */
    assert_int_equal(exec_counters(world.x)->timeouts, 1);
    HEARD(&a, "-UNKNOWNOUTCOME the connection to the node broke before it answered: the write may "
              "or may not have been done\r\n");
    end();
}

static void test_scripts_without_keys_concern_those_without_shard(void **state)
{
    (void)state;
    begin();
    SAY(&a, "EVAL script 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_null(exec_busy(world.x));
    assert_true(notice(w, -1, 0, BUSY));
    assert_null(exec_busy(world.x));
    assert_true(notice(w, -1, 1, BUSY));
    assert_string_equal(exec_busy(world.x), BUSY);
    assert_true(notice(w, -1, 0, ""));
    assert_null(exec_busy(world.x));
    assert_true(notice(w, -1, 1, BUSY));
    snap(w, LANE_BROKEN);
    assert_null(exec_busy(world.x));
    (void)heard(&a);
    end();
}

static void test_scripts_are_loaded_before_their_transaction(void **state)
{
    (void)state;
    begin();
    exec_script_note(world.x, SLICE("return 1"));
    assert_true(exec_script_known(world.x, SLICE("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")));
    for (int i = 0; i < 2; i++) {
        SAY(&a, "MULTI");
        SAY(&a, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 x");
        SAY(&a, "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 1 x");
        HEARD(&a, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        SAY(&a, "EXEC");
        struct wire *w = wire_to(0, LANE_WRITE);
        SENT(w,
             "%sMULTI;EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 x;"
             "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 1 x;EXEC;",
             i == 0 ? "SCRIPT LOAD return 1;" : "");
        if (i == 0) {
            assert_true(answer(w, "$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n"));
        }
        assert_true(answer(w, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:1\r\n"));
        HEARD(&a, "*2\r\n:1\r\n:1\r\n");
    }
    exec_scripts_forget(world.x);
    assert_false(exec_script_known(world.x, SLICE("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")));
    end();
}

static void test_scripts_are_loaded_where_their_transaction_goes_after_all(void **state)
{
    (void)state;
    static const char loaded[] = "$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n";
    static const char done[] = "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n";
    world_setup(2);
    person_init(&a);
    exec_script_note(world.x, SLICE("return 1"));
    char all[120];
    snprintf(all, sizeof(all), "MULTI;EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 %s;EXEC;",
             key_of(0, 0));
    for (int i = 0; i < 2; i++) {
        SAY(&a, "MULTI");
        SAY(&a, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 %s", key_of(0, 0));
        SAY(&a, "EXEC");
        (void)heard(&a);
        SENT(wire_to(0, LANE_WRITE), "%s%s", i == 0 ? "SCRIPT LOAD return 1;" : "", all);
        if (i == 0) {
            assert_true(answer(wire_to(0, LANE_WRITE), loaded));
            assert_true(answer(wire_to(0, LANE_WRITE), done));
            HEARD(&a, "*1\r\n:1\r\n");
        }
    }
    /* Node 0 has the script, but not the shard any more. */
    assert_true(answer(wire_to(0, LANE_WRITE),
                       "+OK\r\n-MOVED 1 x:1\r\n-EXECABORT Transaction discarded\r\n"));
    struct map *m = map_of(2, false);
    assert_true(map_build_add_member(&m->shards[0], 1));
    map_build_set_primary(&m->shards[0], 1);
    give_map(m);
    pass_time(1000);
    SENT(wire_to(1, LANE_WRITE), "SCRIPT LOAD return 1;%s", all);
    assert_true(answer(wire_to(1, LANE_WRITE), loaded));
    assert_true(answer(wire_to(1, LANE_WRITE), done));
    HEARD(&a, "*1\r\n:1\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_script_without_keys_goes_where_the_node_says(void **state)
{
    (void)state;
    world_setup(2);
    person_init(&a);
    SAY(&a, "EVAL script 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    SENT(w, "EVAL script 0;");
    char moved[60];
    snprintf(moved, sizeof(moved), "-MOVED %u 127.0.0.1:7001\r\n",
             slot_of(slice_str(key_of(1, 0))));
    assert_true(answer(w, moved));
    pass_time(1000);
    SENT(wire_to(1, LANE_WRITE), "EVAL script 0;");
    assert_true(answer(wire_to(1, LANE_WRITE), ":1\r\n"));
    HEARD(&a, ":1\r\n");
    person_fini(&a);
    world_end();
}

static void test_errors_of_scripts_are_not_the_nodes(void **state)
{
    (void)state;
    begin();
    exec_script_note(world.x, SLICE("return 1"));
    SAY(&a, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 x");
    SAY(&b, "EVAL script 1 x");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "-SCRIPT -NOSCRIPT mine\r\n-SCRIPT -TRYAGAIN mine\r\n"));
    HEARD(&a, "-NOSCRIPT mine\r\n");
    HEARD(&b, "-TRYAGAIN mine\r\n");
    pass_time(1000000);
    SENT(w, "%s", "");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_behind_it_on_its_lane_is_told),
        cmocka_unit_test(test_a_lane_whose_node_is_busy_is_not_given_up),
        cmocka_unit_test(test_scripts_without_keys_concern_those_without_shard),
        cmocka_unit_test(test_scripts_are_loaded_before_their_transaction),
        cmocka_unit_test(test_scripts_are_loaded_where_their_transaction_goes_after_all),
        cmocka_unit_test(test_a_script_without_keys_goes_where_the_node_says),
        cmocka_unit_test(test_errors_of_scripts_are_not_the_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
