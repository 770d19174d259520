// SPDX-License-Identifier: BSD-3-Clause
/* BLPOP and its kin: one after the other on a shared lane, parked at the node, never lost and never
 * taken twice. */
#include "proxy/exec/wait.h"

#include "tests/unit/proxy/exec/world.h"

static struct person a, b;

static void begin(int nodes)
{
    world_setup(nodes);
    person_init(&a);
    person_init(&b);
    b.session.id = 2;
}

static void end(void)
{
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_what_is_there_costs_one_round_trip(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "BLPOP x 5");
    struct wire *w = wire_to(0, LANE_WRITE);
    SENT(w, "SHOAL PARK BLPOP x 5;");
    assert_int_equal(exec_blocked(world.x), 0);
    assert_true(answer(w, "*2\r\n$1\r\nx\r\n$1\r\n1\r\n"));
    HEARD(&a, "*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
    assert_false(a.session.waits);
    SAY(&a, "SET x 1");
    SENT(w, "SET x 1;");
    end();
}

static void test_others_go_on_while_one_waits(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "BLPOP x 0");
    SAY(&b, "LPUSH y 1");
    struct wire *w = wire_to(0, LANE_WRITE);
    SENT(w, "SHOAL PARK BLPOP x 0;LPUSH y 1;");
    assert_true(answer(w, "+PARKED\r\n:1\r\n"));
    HEARD(&a, "%s", "");
    HEARD(&b, ":1\r\n");
    assert_true(exec_session_blocked(&a.session));
    assert_int_equal(exec_blocked(world.x), 1);
    SAY_STOPS(&a, "GET x");  /* nothing behind it is read */
    pass_time(60 * 1000000); /* nor does it meet the time limit of requests */
    assert_int_equal(exec_counters(world.x)->timeouts, 0);
    assert_true(answer(w, ">3\r\n$4\r\npark\r\n:1\r\n*2\r\n$1\r\nx\r\n$1\r\n9\r\n"));
    HEARD(&a, "*2\r\n$1\r\nx\r\n$1\r\n9\r\n");
    assert_int_equal(exec_blocked(world.x), 0);
    assert_int_equal(a.session.stop, STOP_NOT);
    end();
}

static void test_a_client_that_goes_is_taken_off(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "BLPOP x 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    exec_session_gone(world.x, &a.session);
    SENT(w, "SHOAL UNPARK 1 DROP;");
    assert_int_equal(exec_blocked(world.x), 0);
    /* Too late: it was taken on the way, and is lost. */
    assert_true(answer(w, ">3\r\n$4\r\npark\r\n:1\r\n*2\r\n$1\r\nx\r\n$1\r\n9\r\n:0\r\n"));
    assert_int_equal(exec_counters(world.x)->waits_lost, 1);
    assert_int_equal(exec_open_requests(world.x), 0);
    /* The same before it is known that it waits. */
    SAY(&b, "BLPOP x 0");
    (void)sent(w);
    exec_session_gone(world.x, &b.session);
    assert_true(answer(w, "+PARKED\r\n"));
    SENT(w, "SHOAL UNPARK 3 DROP;");
    assert_int_equal(exec_open_requests(world.x), 0);
    end();
}

static void test_unblock(void **state)
{
    (void)state;
    begin(1);
    assert_false(exec_unblock(world.x, &a.session, false));
    SAY(&a, "BLPOP x 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_false(exec_unblock(world.x, &a.session, false)); /* not known to wait yet */
    assert_true(answer(w, "+PARKED\r\n"));
    assert_true(exec_unblock(world.x, &a.session, true));
    assert_int_equal(exec_blocked(world.x), 0);
    assert_false(exec_unblock(world.x, &a.session, true)); /* it is, though not at the node yet */
    SENT(w, "SHOAL UNPARK 1 ERROR;");
    assert_true(answer(w, ">3\r\n$4\r\npark\r\n:1\r\n-UNBLOCKED client\r\n:1\r\n"));
    HEARD(&a, "-UNBLOCKED client\r\n");
    end();
}

/* Who asked was told that it is: then it does not wait on elsewhere. */
static void test_unblocked_while_its_lane_breaks(void **state)
{
    (void)state;
    world_begin();
    world.settings.lanes_announced = true;
    world_start(1);
    person_init(&a);
    person_init(&b);
    SAY(&a, "BLPOP x 0");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, ":16\r\n"));
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    assert_true(exec_unblock(world.x, &a.session, true));
    (void)sent(w);
    snap(w, LANE_BROKEN);
    pass_time(2000);
    struct wire *fate = wire_to(0, LANE_FATE);
    (void)sent(fate);
    assert_true(answer(fate, ":16\r\n"));
    assert_non_null(strstr(sent(fate), "SHOAL FATE"));
    assert_false(exec_unblock(world.x, &a.session, true));
    assert_true(answer(fate, "*2\r\n:1\r\n*0\r\n"));
    pass_time(2000);
    HEARD(&a, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_int_equal(exec_blocked(world.x), 0);
    assert_int_equal(exec_open_requests(world.x), 0);
    end();
}

static void test_what_waits_goes_where_its_shard_goes(void **state)
{
    (void)state;
    begin(2);
    const char *key = key_of(0, 0);
    SAY(&a, "BLPOP %s 10", key);
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    pass_time(4000000);
    struct map *m = map_of(2, false);
    for (int i = 0; i < SHARDS; i++) {
        bool there = i % 2 == 1;
        assert_true(there || map_build_add_member(&m->shards[i], 1));
        map_build_set_primary(&m->shards[i], 1);
    }
    give_map(m);
    assert_true(answer(w, ">3\r\n$4\r\npark\r\n:1\r\n-MOVED 1 127.0.0.1:7001\r\n"));
    pass_time(2000);
    assert_true(exec_session_blocked(&a.session));
    const char *now = sent(wire_to(1, LANE_WRITE));
    assert_non_null(strstr(now, "SHOAL REPARK BLPOP"));
    double left = 0;
    assert_int_equal(sscanf(strrchr(now, ' '), " %lf", &left), 1);
    assert_true(left > 5.9 && left < 6.1); /* its time goes on */
    assert_true(answer(wire_to(1, LANE_WRITE), "+PARKED\r\n"));
    assert_true(answer(wire_to(1, LANE_WRITE), ">3\r\n$4\r\npark\r\n:1\r\n*-1\r\n"));
    HEARD(&a, "*-1\r\n");
    end();
}

static void count_node(void *arg, const struct exec_node_view *v)
{
    (void)v;
    ++*(int *)arg;
}

static int nodes_known(void)
{
    int n = 0;
    exec_each_node(world.x, count_node, &n);
    return n;
}

/* Its node left the map: what waited there is held, and still names the node. */
static void test_what_waited_at_a_node_that_is_gone(void **state)
{
    (void)state;
    begin(2);
    const char *one = key_of(1, 0);
    SAY(&a, "XREAD BLOCK 0 STREAMS %s 1", one);
    struct wire *w = wire_to(1, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    give_map(map_of(1, false));
    assert_null(w->lane);
    assert_int_equal(exec_held_requests(world.x), 1);
    assert_int_equal(nodes_known(), 2);
    pass_time(2000);
    assert_int_equal(exec_held_requests(world.x), 0);
    assert_int_equal(nodes_known(), 1);
    SENT(wire_to(0, LANE_WRITE), "SHOAL REPARK XREAD BLOCK 0 STREAMS %s 1;", one);
    end();
}

static void test_its_own_time_ends_while_nobody_serves(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "BLMOVE x x LEFT LEFT 1");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    struct map *m = map_of(1, false);
    for (int i = 0; i < SHARDS; i++) {
        lose_shard(m, i);
    }
    give_map(m);
    assert_true(answer(w, ">3\r\n$4\r\npark\r\n:1\r\n-UNBLOCKED force unblock from blocking\r\n"));
    HEARD(&a, "%s", "");
    pass_time(1001000);
    HEARD(&a, "$-1\r\n");
    end();
}

/* What a broken lane's commands have done is asked of the log, from when it was heard last. */
static void test_a_broken_lane(void **state)
{
    (void)state;
    world_begin();
    world.settings.lanes_announced = true;
    world_start(1);
    person_init(&a);
    person_init(&b);
    SAY(&a, "BLPOP x 0");
    SAY(&b, "XREAD BLOCK 0 STREAMS y 1");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, ":16\r\n"));
    SENT(w, "SHOAL PARK BLPOP x 0;SHOAL PARK XREAD BLOCK 0 STREAMS y 1;");
    assert_true(answer(w, "+PARKED\r\n+PARKED\r\n"));
    pass_time(600 * 1000000LL);
    SENT(w, "PING;"); /* silent for long: does it still stand? */
    assert_true(answer(w, "+PONG\r\n"));
    pass_time(300000);
    snap(w, LANE_BROKEN);
    pass_time(2000);
    struct wire *fate = wire_to(0, LANE_FATE);
    (void)sent(fate);
    assert_true(answer(fate, ":16\r\n"));
    unsigned long long lane, from, age;
    int shard;
    assert_int_equal(
        sscanf(sent(fate), "SHOAL FATE %llu %d %llu %llu;", &lane, &shard, &from, &age), 4);
    assert_int_equal(from, 1);
    assert_in_range(age, 300, 1000);
    assert_true(answer(fate, "*2\r\n:1\r\n*0\r\n"));
    pass_time(2000);
    struct wire *again = wire_to(0, LANE_WRITE);
    (void)sent(again);
    assert_true(answer(again, ":16\r\n"));
    const char *words = sent(again);
    assert_non_null(strstr(words, "SHOAL REPARK BLPOP x 0;"));
    assert_non_null(strstr(words, "SHOAL REPARK XREAD BLOCK 0 STREAMS y 1;"));
    assert_int_equal(exec_counters(world.x)->unknown_outcome, 0);
    end();
}

static void test_a_silent_lane_is_given_up(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "XREAD BLOCK 0 STREAMS y 1");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n"));
    pass_time(2000000);
    SENT(w, "PING;");
    pass_time(5100000);
    assert_null(w->lane);
    pass_time(200000);
    SENT(wire_to(0, LANE_WRITE), "SHOAL REPARK XREAD BLOCK 0 STREAMS y 1;");
    end();
}

/* Also where it was told something else before: then it is not asked whether it stands. */
static void test_a_lane_that_does_not_let_go_is_given_up(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "XREAD BLOCK 0 STREAMS y 1");
    SAY(&b, "XREAD BLOCK 0 STREAMS z 1");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "+PARKED\r\n+PARKED\r\n"));
    exec_session_gone(world.x, &b.session);
    SENT(w, "SHOAL UNPARK 2 DROP;");
    pass_time(2000000);
    SENT(w, "%s", "");
    pass_time(3100000);
    assert_null(w->lane);
    pass_time(200000);
    SENT(wire_to(0, LANE_WRITE), "SHOAL REPARK XREAD BLOCK 0 STREAMS y 1;");
    end();
}

static void test_the_words_of_its_first_life(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "XREAD BLOCK 0 STREAMS y $");
    struct wire *w = wire_to(0, LANE_WRITE);
    (void)sent(w);
    assert_true(answer(w, "*2\r\n+PARKED\r\n*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n"
                          "$7\r\nSTREAMS\r\n$1\r\ny\r\n$3\r\n7-0\r\n"));
    assert_true(exec_session_blocked(&a.session));
    snap(w, LANE_BROKEN);
    pass_time(200000);
    SENT(wire_to(0, LANE_WRITE), "SHOAL REPARK XREAD BLOCK 0 STREAMS y 7-0;");
    end();
}

/* --- keys of several shards --- */

static void test_shards_are_asked_one_by_one(void **state)
{
    (void)state;
    begin(2);
    const char *x = key_of(0, 0), *y = key_of(1, 0), *z = key_of(0, 1);
    SAY(&a, "BLPOP %s %s %s 0", x, y, z);
    struct wire *zero = wire_to(0, LANE_WRITE);
    SENT(zero, "SHOAL READY BLPOP %s 0;", x);
    assert_null(find_wire(1, LANE_WRITE));
    assert_true(answer(zero, "+PARKED\r\n"));
    struct wire *one = wire_to(1, LANE_WRITE);
    SENT(one, "SHOAL READY BLPOP %s 0;", y);
    assert_true(answer(one, "+PARKED\r\n"));
    SENT(zero, "SHOAL READY BLPOP %s 0;", z);
    assert_true(answer(zero, "+PARKED\r\n"));
    assert_true(exec_session_blocked(&a.session));
    /* A notice; somebody else was faster; another one. */
    assert_true(answer(one, ">3\r\n$4\r\npark\r\n:1\r\n+READY\r\n"));
    SENT(one, "SHOAL REREADY BLPOP %s 0;", y);
    assert_true(answer(zero, ">3\r\n$4\r\npark\r\n:2\r\n+READY\r\n"));
    SENT(zero, "%s", "");
    assert_true(answer(one, "+PARKED\r\n"));
    SENT(zero, "SHOAL REREADY BLPOP %s 0;", z);
    assert_true(answer(zero, "*2\r\n$1\r\nz\r\n$1\r\n1\r\n"));
    HEARD(&a, "*2\r\n$1\r\nz\r\n$1\r\n1\r\n");
    SENT(zero, "SHOAL UNPARK 1 DROP;");
    SENT(one, "SHOAL UNPARK 2 DROP;");
    assert_int_equal(exec_open_requests(world.x), 0);
    end();
}

static void test_the_first_that_has_something_is_enough(void **state)
{
    (void)state;
    begin(2);
    const char *x = key_of(0, 0), *y = key_of(1, 0);
    SAY(&a, "BLMPOP 1 2 %s %s LEFT COUNT 2", x, y);
    struct wire *zero = wire_to(0, LANE_WRITE);
    SENT(zero, "SHOAL READY BLMPOP 0 1 %s LEFT COUNT 2;", x);
    assert_true(answer(zero, "*2\r\n$1\r\nx\r\n*1\r\n$1\r\n1\r\n"));
    HEARD(&a, "*2\r\n$1\r\nx\r\n*1\r\n$1\r\n1\r\n");
    assert_null(find_wire(1, LANE_WRITE));
    SAY(&a, "BRPOPLPUSH %s %s 0", x, y);
    HEARD(&a, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    end();
}

static void test_several_shards_and_time(void **state)
{
    (void)state;
    begin(2);
    const char *x = key_of(0, 0), *y = key_of(1, 0);
    SAY(&a, "BRPOP %s %s 1", x, y);
    struct wire *zero = wire_to(0, LANE_WRITE);
    (void)sent(zero);
    assert_true(answer(zero, "+PARKED\r\n"));
    struct wire *one = wire_to(1, LANE_WRITE);
    (void)sent(one);
    assert_true(answer(one, "+PARKED\r\n"));
    assert_in_range(world.wake_us, world.now_us, world.now_us + 1000000);
    pass_time(1000001);
    HEARD(&a, "*-1\r\n");
    SENT(zero, "SHOAL UNPARK 1 DROP;");
    SENT(one, "SHOAL UNPARK 1 DROP;");
    /* While one is asked: what it gives counts. */
    assert_true(answer(zero, ":1\r\n") && answer(one, ":1\r\n"));
    SAY(&a, "BRPOP %s %s 1", x, y);
    (void)sent(zero);
    pass_time(1000001);
    HEARD(&a, "%s", "");
    assert_true(answer(zero, "*2\r\n$1\r\nx\r\n$1\r\n1\r\n"));
    HEARD(&a, "*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
    SAY(&a, "BRPOP %s %s 0", x, y);
    (void)sent(zero);
    assert_true(answer(zero, "+PARKED\r\n"));
    assert_true(exec_unblock(world.x, &a.session, false));
    (void)sent(one);
    assert_true(answer(one, "+PARKED\r\n"));
    HEARD(&a, "*-1\r\n");
    end();
}

static void test_a_broken_lane_loses_only_its_notices(void **state)
{
    (void)state;
    begin(2);
    const char *x = key_of(0, 0), *y = key_of(1, 0), *z = key_of(0, 1);
    SAY(&a, "BLPOP %s %s %s 0", x, y, z);
    struct wire *zero = wire_to(0, LANE_WRITE);
    (void)sent(zero);
    assert_true(answer(zero, "+PARKED\r\n"));
    (void)sent(wire_to(1, LANE_WRITE));
    assert_true(answer(wire_to(1, LANE_WRITE), "+PARKED\r\n"));
    (void)sent(zero);
    assert_true(answer(zero, "+PARKED\r\n"));
    snap(zero, LANE_BROKEN);
    pass_time(100000);
    zero = wire_to(0, LANE_WRITE);
    SENT(zero, "SHOAL REREADY BLPOP %s 0;", x);
    assert_true(answer(zero, "+PARKED\r\n"));
    SENT(zero, "SHOAL REREADY BLPOP %s 0;", z);
    exec_session_gone(world.x, &a.session);
    assert_true(answer(zero, "+PARKED\r\n"));
    assert_int_equal(exec_open_requests(world.x), 0);
    assert_non_null(strstr(sent(zero), "SHOAL UNPARK 2 DROP;"));
    end();
}

static void test_within_a_transaction_nothing_waits(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "MULTI");
    SAY(&a, "BLPOP x 0");
    SAY(&a, "EXEC");
    SENT(wire_to(0, LANE_WRITE), "MULTI;BLPOP x 0;EXEC;");
    end();
}

static void test_where_the_time_stands(void **state)
{
    (void)state;
    bool ms;
    const struct slice read[] = {SLICE("XREADGROUP"), SLICE("GROUP"), SLICE("block"),
                                 SLICE("streams"),    SLICE("COUNT"), SLICE("1"),
                                 SLICE("BLOCK"),      SLICE("5"),     SLICE("STREAMS"),
                                 SLICE("block"),      SLICE(">")};
    assert_int_equal(wait_time_arg(read, ARRAY_LEN(read), CMD_XREADGROUP, &ms), 7);
    assert_true(ms);
    const struct slice plain[] = {SLICE("XREAD"), SLICE("STREAMS"), SLICE("block"), SLICE("1")};
    assert_int_equal(wait_time_arg(plain, ARRAY_LEN(plain), CMD_XREAD, &ms), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there_costs_one_round_trip),
        cmocka_unit_test(test_others_go_on_while_one_waits),
        cmocka_unit_test(test_a_client_that_goes_is_taken_off),
        cmocka_unit_test(test_unblock),
        cmocka_unit_test(test_unblocked_while_its_lane_breaks),
        cmocka_unit_test(test_what_waits_goes_where_its_shard_goes),
        cmocka_unit_test(test_what_waited_at_a_node_that_is_gone),
        cmocka_unit_test(test_its_own_time_ends_while_nobody_serves),
        cmocka_unit_test(test_a_broken_lane),
        cmocka_unit_test(test_a_silent_lane_is_given_up),
        cmocka_unit_test(test_a_lane_that_does_not_let_go_is_given_up),
        cmocka_unit_test(test_the_words_of_its_first_life),
        cmocka_unit_test(test_shards_are_asked_one_by_one),
        cmocka_unit_test(test_the_first_that_has_something_is_enough),
        cmocka_unit_test(test_several_shards_and_time),
        cmocka_unit_test(test_a_broken_lane_loses_only_its_notices),
        cmocka_unit_test(test_within_a_transaction_nothing_waits),
        cmocka_unit_test(test_where_the_time_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
