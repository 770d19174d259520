// SPDX-License-Identifier: BSD-3-Clause
/* What fails, is refused or broken: tried again, held, moved, given up. */
#include "proxy/exec/exec.h"

#include "tests/unit/proxy/exec/world.h"

static void test_a_write_that_left_has_an_unknown_outcome(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "INCR x");
    SENT(wire_to(0, LANE_WRITE), "INCR x;");
    SAY(&a, "INCR x"); /* never leaves */
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    const char *text = heard(&a);
    assert_non_null(strstr(text, "-UNKNOWNOUTCOME"));
    assert_null(strstr(strstr(text, "-UNKNOWNOUTCOME") + 1, "-"));
    assert_int_equal(exec_counters(world.x)->unknown_outcome, 1);
    assert_int_equal(world.refused, 1);
    pass_time(20000);
    SENT(wire_to(0, LANE_WRITE), "INCR x;"); /* only the one that surely was not executed */
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    assert_string_equal(heard(&a), ":1\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_read_is_tried_again(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_READ), "GET x;");
    snap(wire_to(0, LANE_READ), LANE_BROKEN);
    assert_string_equal(heard(&a), "");
    SAY_STOPS(&a, "GET y"); /* what waits keeps what is behind it */
    pass_time(20000);
    assert_int_equal(world.resumed, 1);
    SENT(wire_to(0, LANE_READ), "GET x;");
    answer(wire_to(0, LANE_READ), "+x\r\n");
    assert_string_equal(heard(&a), "+x\r\n");
    assert_int_equal(exec_counters(world.x)->retries, 1);
    person_fini(&a);
    world_end();
}

static void test_a_node_that_refuses_is_asked_until_the_time_is_over(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "SET x 1");
    int tries = 0;
    int64_t waited = 0;
    while (strcmp(heard(&a), "") == 0) {
        if (strcmp(sent(wire_to(0, LANE_WRITE)), "") != 0) {
            answer(wire_to(0, LANE_WRITE), "-LOADING soon\r\n");
            tries++;
        }
        pass_time(10000);
        waited += 10000;
        assert_true(waited < 5200000); /* request-timeout: failover-hold is for those without one */
    }
    assert_true(waited >= 5000000);
    assert_in_range(tries, 50, 250);
    person_fini(&a);
    world_end();
}

static void test_reads_whose_connections_break_are_tried_so_often(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET x");
    int tries = 0;
    while (strcmp(heard(&a), "") == 0) {
        SENT(wire_to(0, LANE_READ), "GET x;");
        snap(wire_to(0, LANE_READ), LANE_BROKEN);
        pass_time(100000);
        assert_true(++tries <= 4);
    }
    assert_int_equal(tries, 4); /* retry-max-attempts 3 */
    person_fini(&a);
    world_end();
}

/* Else the first might be refused, and the next be executed a moment later. */
static void test_a_new_primary_gets_one_command_first(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(2);
    person_init(&a);
    person_init(&b);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "SET %s 1", key_of(0, 0));
    SAY(&b, "SET %s 2", key_of(0, 1));
    give_map(map_of(2, false));
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key_of(0, 0));
    answer(wire_to(0, LANE_WRITE), "-TRYAGAIN not yet\r\n");
    SAY_STOPS(&b, "SET %s 3", key_of(0, 1));
    assert_string_equal(sent(wire_to(0, LANE_WRITE)), "");
    pass_time(20000);
    SENT(wire_to(0, LANE_WRITE), "SET %s 2;", key_of(0, 1));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n"); /* it serves: all may go, at once */
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key_of(0, 0));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    assert_string_equal(heard(&b), "+OK\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

/* Nothing would wake it: the next primary has been found to serve already. */
static void test_a_former_primarys_late_refusal_delays_nothing(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(2);
    person_init(&a);
    person_init(&b);
    SAY(&a, "SET %s 1", key_of(0, 0));
    sent(wire_to(0, LANE_WRITE));
    struct map *m = map_of(2, true);
    map_build_set_primary(&m->shards[0], 1);
    give_map(m);
    SAY(&b, "SET %s 2", key_of(0, 1));
    SENT(wire_to(1, LANE_WRITE), "SET %s 2;", key_of(0, 1));
    answer(wire_to(1, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&b), "+OK\r\n");
    answer(wire_to(0, LANE_WRITE), "-TRYAGAIN it moves\r\n");
    pass_time(0);
    SENT(wire_to(1, LANE_WRITE), "SET %s 1;", key_of(0, 0));
    answer(wire_to(1, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_a_replica_that_refuses_costs_nothing(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world_start(2);
    give_map(map_of(2, true));
    person_init(&a);
    const char *key = key_of(0, 0);
    SAY(&a, "GET %s", key);
    SAY(&a, "GET %s", key);
    sent(wire_to(0, LANE_READ));
    sent(wire_to(1, LANE_READ));
    answer(wire_to(1, LANE_READ), "-MASTERDOWN no lease\r\n");
    struct wire *w = find_wire(0, LANE_WRITE);
    SENT(w != NULL ? w : wire_to(0, LANE_READ), "GET %s;", key);
    for (int i = 0; i < 10; i++) {
        SAY(&a, "GET %s", key); /* it gets no more of them for a while */
    }
    assert_string_equal(sent(wire_to(1, LANE_READ)), "");
    answer(wire_to(0, LANE_READ), "+1\r\n+2\r\n");
    assert_non_null(strstr(heard(&a), "+1\r\n+2\r\n"));
    pass_time(100000);
    SAY(&a, "GET %s", key);
    SAY(&a, "GET %s", key);
    SENT(wire_to(1, LANE_READ), "GET %s;", key);
    person_fini(&a);
    world_end();
}

static void test_a_walk_within_a_key_stays_with_the_primary(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world_start(2);
    give_map(map_of(2, true));
    person_init(&a);
    const char *key = key_of(0, 0);
    for (int i = 0; i < 4; i++) {
        SAY(&a, "HSCAN %s 0", key);
    }
    SENT(wire_to(0, LANE_READ), "HSCAN %s 0;HSCAN %s 0;HSCAN %s 0;HSCAN %s 0;", key, key, key, key);
    assert_null(find_wire(1, LANE_READ));
    person_fini(&a);
    world_end();
}

static void test_moved_goes_where_the_new_map_says(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    const char *key = key_of(0, 0);
    SAY(&a, "SET %s 1", key);
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key);
    answer(wire_to(0, LANE_WRITE), "-MOVED 1 127.0.0.1:7001\r\n");
    assert_string_equal(heard(&a), "");
    struct map *m = map_of(2, false);
    assert_true(map_build_add_member(&m->shards[0], 1));
    map_build_set_primary(&m->shards[0], 1);
    give_map(m);
    SENT(wire_to(1, LANE_WRITE), "SET %s 1;", key);
    answer(wire_to(1, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    person_fini(&a);
    world_end();
}

static void test_what_was_overtaken_is_not_executed_later(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "SET x 1");
    SAY(&a, "SET x 2");
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "-TRYAGAIN\r\n");
    pass_time(50000);
    assert_string_equal(sent(wire_to(0, LANE_WRITE)),
                        ""); /* the second is still under way: the first must not pass it */
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    const char *text = heard(&a);
    assert_non_null(strstr(text, "-TRYAGAIN"));
    assert_non_null(strstr(text, "+OK"));
    pass_time(200000);
    assert_string_equal(sent(wire_to(0, LANE_WRITE)), "");
    person_fini(&a);
    world_end();
}

static void test_a_read_may_be_overtaken_by_a_read(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET x");
    SAY(&a, "GET x");
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "-TRYAGAIN\r\n");
    answer(wire_to(0, LANE_READ), "+second\r\n");
    assert_string_equal(heard(&a), "");
    pass_time(50000);
    SENT(wire_to(0, LANE_READ), "GET x;");
    answer(wire_to(0, LANE_READ), "+first\r\n");
    assert_string_equal(heard(&a), "+first\r\n+second\r\n");
    person_fini(&a);
    world_end();
}

/* The read is not repeated behind a write that it came before, and that may have been done. */
static void test_a_read_does_not_see_a_later_write(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "SET y 0"); /* reads go the writes' way now */
    sent(wire_to(0, LANE_WRITE));
    SAY(&a, "GET x");
    SAY(&a, "SET x 1");
    SAY(&a, "GET x");
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    const char *text = heard(&a);
    assert_memory_equal(text, "-TRYAGAIN", 9);
    assert_non_null(strstr(text, "-UNKNOWNOUTCOME"));
    pass_time(50000);
    struct wire *w = find_wire(0, LANE_WRITE);
    SENT(w != NULL ? w : wire_to(0, LANE_READ), "GET x;");
    person_fini(&a);
    world_end();
}

/* Each retry has its own jitter. */
static void test_what_waits_leaves_in_its_clients_order(void **state)
{
    (void)state;
    struct person a;
    struct str all = {0};
    struct str want = {0};
    world_begin();
    world.settings.retry_max_attempts = 8;
    world_start(1);
    person_init(&a);
    for (int i = 0; i < 30; i++) {
        SAY(&a, i % 3 == 0 ? "SET k%d x" : "GET k%d", i);
        str_printf(&want, i % 3 == 0 ? "SET k%d x;" : "GET k%d;", i);
    }
    for (int round = 0; round < 3; round++) {
        snap(wire_to(0, LANE_WRITE), LANE_REFUSED); /* nothing had left */
        for (int ms = 0; ms < 300 && all.len < want.len; ms++) {
            pass_time(1000);
            if (find_wire(0, LANE_WRITE) != NULL && round == 2) {
                str_appendz(&all, sent(wire_to(0, LANE_WRITE)));
                while (wire_to(0, LANE_WRITE)->lane->in_flight > 0) {
                    answer(wire_to(0, LANE_WRITE), "+x\r\n");
                }
            } else if (find_wire(0, LANE_WRITE) != NULL && exec_held_requests(world.x) <= 10) {
                break; /* some have joined the lane, the others wait: it breaks again */
            }
        }
    }
    assert_string_equal(str_cstr(&all), str_cstr(&want));
    str_fini(&all);
    str_fini(&want);
    person_fini(&a);
    world_end();
}

/* A request that has waited nearly all its time must not take the lane's others with it. */
static void test_a_late_retry_does_not_condemn_its_lane(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.failover_hold_us = 60000000;
    world_start(2);
    person_init(&a);
    const char *key = key_of(0, 0);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "SET %s 1", key);
    pass_time(4900000);
    give_map(map_of(2, false));
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key);
    pass_time(200000); /* beyond request-timeout since it was accepted */
    assert_non_null(find_wire(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    person_fini(&a);
    world_end();
}

static void test_requests_wait_for_a_primary(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(2);
    person_init(&a);
    person_init(&b);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "SET %s 1", key_of(0, 0));
    SAY(&b, "SET %s 1", key_of(1, 0)); /* other shards go on */
    SENT(wire_to(1, LANE_WRITE), "SET %s 1;", key_of(1, 0));
    assert_int_equal(exec_held_requests(world.x), 1);
    pass_time(1000000);
    assert_string_equal(heard(&a), "");
    give_map(map_of(2, false));
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key_of(0, 0));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_waiting_ends_with_clusterdown(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "GET %s", key_of(0, 0));
    pass_time(1900000);
    assert_string_equal(heard(&a), "");
    pass_time(200000);
    assert_string_equal(heard(&a), "-CLUSTERDOWN Hash slot not served\r\n");
    /* The shard has been without for failover-hold: nobody waits for it any more. */
    SAY(&a, "GET %s", key_of(0, 0));
    assert_string_equal(heard(&a), "-CLUSTERDOWN Hash slot not served\r\n");
    person_fini(&a);
    world_end();
}

static void test_no_more_wait_than_allowed(void **state)
{
    (void)state;
    struct person a[3];
    world_begin();
    world.settings.hold_max_requests = 2;
    world_start(2);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    for (int i = 0; i < 3; i++) {
        person_init(&a[i]);
        SAY(&a[i], "GET %s", key_of(0, 0));
    }
    assert_string_equal(heard(&a[0]), "");
    assert_string_equal(heard(&a[1]), "");
    assert_string_equal(heard(&a[2]), "-CLUSTERDOWN Hash slot not served\r\n");
    assert_int_equal(exec_counters(world.x)->hold_refused, 1);
    for (int i = 0; i < 3; i++) {
        person_fini(&a[i]);
    }
    world_end();
}

static void test_before_the_first_assignment_the_reason_is_told(void **state)
{
    (void)state;
    struct person a;
    world_setup(0);
    person_init(&a);
    SAY(&a, "GET x");
    assert_string_equal(heard(&a), "-CLUSTERDOWN The cluster is down: no map yet\r\n");
    struct map *m = map_build_new(SHARDS, "0123456789012345678901234567890123456789");
    snprintf(m->why, sizeof(m->why), "waiting for nodes: 0 of 2 are there");
    give_map(m);
    SAY(&a, "GET x");
    assert_string_equal(
        heard(&a), "-CLUSTERDOWN The cluster is down: waiting for nodes: 0 of 2 are there\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_node_that_refuses_is_left_alone_for_a_while(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(1);
    person_init(&a);
    person_init(&b);
    SAY(&a, "SET x 1");
    snap(wire_to(0, LANE_WRITE), LANE_REFUSED);
    SAY(&b, "SET y 1");
    assert_null(find_wire(0, LANE_WRITE)); /* no attempt before the delay is over */
    pass_time(50000);
    SENT(wire_to(0, LANE_WRITE), "SET x 1;SET y 1;");
    answer(wire_to(0, LANE_WRITE), "+x\r\n+y\r\n");
    assert_string_equal(heard(&a), "+x\r\n");
    assert_string_equal(heard(&b), "+y\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_a_late_answer_reaches_nobody(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "INCR x");
    struct wire *w = wire_to(0, LANE_WRITE);
    SENT(w, "INCR x;");
    pass_time(5100000);
    assert_non_null(strstr(heard(&a), "-UNKNOWNOUTCOME"));
    assert_null(w->lane); /* whatever it still says is not heard */
    assert_int_equal(exec_counters(world.x)->timeouts, 1);
    SAY(&a, "INCR x");
    SENT(wire_to(0, LANE_WRITE), "INCR x;");
    answer(wire_to(0, LANE_WRITE), ":2\r\n");
    assert_string_equal(heard(&a), ":2\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_dead_node_is_not_waited_for(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "INCR %s", key_of(0, 0));
    SAY(&a, "INCR %s", key_of(1, 0));
    sent(wire_to(0, LANE_WRITE));
    sent(wire_to(1, LANE_WRITE));
    struct map *m = map_of(2, false);
    m->nodes[0].state = NODE_DEAD;
    lose_shard(m, 0);
    lose_shard(m, 2);
    give_map(m);
    assert_null(find_wire(0, LANE_WRITE));
    assert_non_null(strstr(heard(&a), "-UNKNOWNOUTCOME"));
    answer(wire_to(1, LANE_WRITE), ":1\r\n");
    assert_string_equal(heard(&a), ":1\r\n");
    person_fini(&a);
    world_end();
}

static void test_rubbish_from_a_node_breaks_the_lane(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET x");
    sent(wire_to(0, LANE_READ));
    assert_false(answer(wire_to(0, LANE_READ), "HTTP/1.1 400 Bad Request\r\n"));
    snap(wire_to(0, LANE_READ), LANE_BROKEN);
    person_fini(&a);
    world_end();
}

/* --- bounds --- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_write_that_left_has_an_unknown_outcome),
        cmocka_unit_test(test_a_read_is_tried_again),
        cmocka_unit_test(test_a_node_that_refuses_is_asked_until_the_time_is_over),
        cmocka_unit_test(test_reads_whose_connections_break_are_tried_so_often),
        cmocka_unit_test(test_a_new_primary_gets_one_command_first),
        cmocka_unit_test(test_a_former_primarys_late_refusal_delays_nothing),
        cmocka_unit_test(test_a_replica_that_refuses_costs_nothing),
        cmocka_unit_test(test_a_walk_within_a_key_stays_with_the_primary),
        cmocka_unit_test(test_moved_goes_where_the_new_map_says),
        cmocka_unit_test(test_what_was_overtaken_is_not_executed_later),
        cmocka_unit_test(test_a_read_may_be_overtaken_by_a_read),
        cmocka_unit_test(test_a_read_does_not_see_a_later_write),
        cmocka_unit_test(test_what_waits_leaves_in_its_clients_order),
        cmocka_unit_test(test_a_late_retry_does_not_condemn_its_lane),
        cmocka_unit_test(test_requests_wait_for_a_primary),
        cmocka_unit_test(test_waiting_ends_with_clusterdown),
        cmocka_unit_test(test_no_more_wait_than_allowed),
        cmocka_unit_test(test_before_the_first_assignment_the_reason_is_told),
        cmocka_unit_test(test_a_node_that_refuses_is_left_alone_for_a_while),
        cmocka_unit_test(test_a_late_answer_reaches_nobody),
        cmocka_unit_test(test_a_dead_node_is_not_waited_for),
        cmocka_unit_test(test_rubbish_from_a_node_breaks_the_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
