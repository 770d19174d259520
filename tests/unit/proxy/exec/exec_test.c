// SPDX-License-Identifier: BSD-3-Clause
/* The hot path: lanes, order, windows, which copy is read. */
#include "proxy/exec/exec.h"

#include "tests/unit/proxy/exec/world.h"

static void test_reads_and_writes_go_to_their_own_lanes(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(2);
    person_init(&a);
    person_init(&b);
    SAY(&a, "SET %s 1", key_of(0, 0));
    SAY(&b, "GET %s", key_of(0, 0));
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;", key_of(0, 0));
    SENT(wire_to(0, LANE_READ), "GET %s;", key_of(0, 0));
    assert_null(find_wire(1, LANE_WRITE));
    answer(wire_to(0, LANE_READ), "$-1\r\n");
    assert_string_equal(heard(&b), "$-1\r\n");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    assert_string_equal(heard(&a), "+OK\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_replies_leave_in_request_order(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "SET %s 1", key_of(0, 0));
    SAY(&a, "SET %s 2", key_of(1, 0));
    SAY(&a, "SET %s 3", key_of(0, 1));
    sent(wire_to(0, LANE_WRITE));
    sent(wire_to(1, LANE_WRITE));
    answer(wire_to(1, LANE_WRITE), "+second\r\n");
    assert_string_equal(heard(&a), "");
    answer(wire_to(0, LANE_WRITE), "+first\r\n+third\r\n");
    assert_string_equal(heard(&a), "+first\r\n+second\r\n+third\r\n");
    person_fini(&a);
    world_end();
}

static void test_two_clients_share_a_lane(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(1);
    person_init(&a);
    person_init(&b);
    SAY(&a, "GET x");
    SAY(&b, "GET y");
    SAY(&a, "GET z");
    SENT(wire_to(0, LANE_READ), "GET x;GET y;GET z;");
    answer(wire_to(0, LANE_READ), "$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n");
    assert_string_equal(heard(&a), "$1\r\nx\r\n$1\r\nz\r\n");
    assert_string_equal(heard(&b), "$1\r\ny\r\n");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_the_replies_of_a_client_that_left_reach_nobody(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(1);
    person_init(&a);
    person_init(&b);
    SAY(&a, "GET x");
    SAY(&b, "GET y");
    SAY(&a, "GET z");
    sent(wire_to(0, LANE_READ));
    person_fini(&a);
    answer(wire_to(0, LANE_READ), "+x\r\n+y\r\n+z\r\n");
    assert_string_equal(heard(&b), "+y\r\n");
    assert_int_equal(exec_open_requests(world.x), 0);
    person_fini(&b);
    world_end();
}

static void test_a_read_behind_the_clients_own_write_goes_its_way(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "SET x 1");
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_WRITE), "SET x 1;GET x;");
    assert_null(find_wire(0, LANE_READ));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n$1\r\n1\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_write_does_not_overtake_the_clients_own_read(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET %s", key_of(0, 0));
    SAY_STOPS(&a, "SET %s 1", key_of(0, 1));
    assert_int_equal(world.resumed, 0);
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "$-1\r\n");
    assert_int_equal(world.resumed, 1);
    SAY(&a, "SET %s 1", key_of(0, 1));
    /* From now on its reads go by the lane of its writes, so it does not have to wait again. */
    SAY(&a, "GET %s", key_of(0, 0));
    SAY(&a, "SET %s 2", key_of(0, 1));
    SENT(wire_to(0, LANE_WRITE), "SET %s 1;GET %s;SET %s 2;", key_of(0, 1), key_of(0, 0),
         key_of(0, 1));
    answer(wire_to(0, LANE_WRITE), "+1\r\n+2\r\n+3\r\n");
    assert_string_equal(heard(&a), "$-1\r\n+1\r\n+2\r\n+3\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_write_may_overtake_a_read_of_another_shard(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET %s", key_of(0, 0));
    SAY(&a, "SET %s 1", key_of(1, 0));
    person_fini(&a);
    world_end();
}

static void test_databases_are_selected_where_they_differ(void **state)
{
    (void)state;
    struct person a, b;
    world_setup(1);
    person_init(&a);
    person_init(&b);
    b.session.db = 3;
    SAY(&a, "GET x");
    SAY(&b, "GET x");
    SAY(&b, "GET y");
    SAY(&a, "GET y");
    SENT(wire_to(0, LANE_READ), "GET x;SELECT 3;GET x;GET y;SELECT 0;GET y;");
    answer(wire_to(0, LANE_READ), "+ax\r\n+OK\r\n+bx\r\n+by\r\n+OK\r\n+ay\r\n");
    assert_string_equal(heard(&a), "+ax\r\n+ay\r\n");
    assert_string_equal(heard(&b), "+bx\r\n+by\r\n");
    SAY(&b, "GET z");
    sent(wire_to(0, LANE_READ));
    assert_false(answer(wire_to(0, LANE_READ), "-ERR DB index is out of range\r\n"));
    snap(wire_to(0, LANE_READ), LANE_BROKEN); /* as back does then */
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_a_resp3_client_has_lanes_that_speak_it(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    a.session.proto = 3;
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_READ), "HELLO 3;");
    answer(wire_to(0, LANE_READ), "%0\r\n");
    SENT(wire_to(0, LANE_READ), "GET x;");
    answer(wire_to(0, LANE_READ), "_\r\n");
    assert_string_equal(heard(&a), "_\r\n");
    person_fini(&a);
    world_end();
}

static void test_lanes_log_in_with_the_nodes_password(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.node_password = "secret";
    world_start(1);
    person_init(&a);
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_READ), "AUTH secret;");
    assert_true(answer(wire_to(0, LANE_READ), "+OK\r\n"));
    SENT(wire_to(0, LANE_READ), "GET x;");
    assert_true(answer(wire_to(0, LANE_READ), "+x\r\n"));
    assert_string_equal(heard(&a), "+x\r\n");
    person_fini(&a);
    world_end();
}

/* Nothing was executed, so nobody's outcome is unknown: it is tried again, and the error tells. */
static void test_a_lane_that_is_refused_sends_nothing(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.node_password = "secret";
    world_start(1);
    person_init(&a);
    a.session.proto = 3;
    SAY(&a, "INCR x");
    SENT(wire_to(0, LANE_WRITE), "HELLO 3 AUTH default secret;");
    assert_false(answer(wire_to(0, LANE_WRITE), "-WRONGPASS no\r\n"));
    assert_string_equal(sent(wire_to(0, LANE_WRITE)), "");
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    assert_string_equal(heard(&a), "");
    pass_time(100000);
    SENT(wire_to(0, LANE_WRITE), "HELLO 3 AUTH default secret;");
    assert_true(answer(wire_to(0, LANE_WRITE), "%0\r\n"));
    SENT(wire_to(0, LANE_WRITE), "INCR x;");
    assert_true(answer(wire_to(0, LANE_WRITE), ":1\r\n"));
    assert_string_equal(heard(&a), ":1\r\n");
    assert_int_equal(exec_counters(world.x)->unknown_outcome, 0);
    world.settings.retry_max_attempts = 0;
    exec_set(world.x, &world.settings);
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_READ), "HELLO 3 AUTH default secret;");
    assert_false(answer(wire_to(0, LANE_READ), "-WRONGPASS no\r\n"));
    snap(wire_to(0, LANE_READ), LANE_BROKEN);
    assert_string_equal(heard(&a), "-CLUSTERDOWN The node refused this proxy: WRONGPASS no\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_database_that_the_node_lacks_is_never_used(void **state)
{
    (void)state;
    struct person a, b;
    world_begin();
    world.settings.lanes_announced = true;
    world_start(1);
    person_init(&a);
    person_init(&b);
    a.session.db = 5;
    b.session.db = 3;
    SAY(&a, "SET x 1");
    SAY(&b, "SET x 2");
    SENT(wire_to(0, LANE_WRITE), "SHOAL LANE 43 SHARED;");
    assert_false(answer(wire_to(0, LANE_WRITE), ":4\r\n"));
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    pass_time(100000);
    SENT(wire_to(0, LANE_WRITE), "SHOAL LANE 44 SHARED;");
    assert_string_equal(heard(&a), "-ERR DB index is out of range\r\n");
    assert_true(answer(wire_to(0, LANE_WRITE), ":4\r\n"));
    SENT(wire_to(0, LANE_WRITE), "SELECT 3;SET x 2;");
    assert_true(answer(wire_to(0, LANE_WRITE), "+OK\r\n+OK\r\n"));
    assert_string_equal(heard(&b), "+OK\r\n");
    SAY(&a, "SET x 1");
    assert_string_equal(heard(&a), "-ERR DB index is out of range\r\n");
    assert_string_equal(sent(wire_to(0, LANE_WRITE)), "");
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_lanes_say_what_they_are(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.lanes_announced = true;
    world.settings.node_password = "secret";
    world_start(1);
    person_init(&a);
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_READ), "AUTH secret;SHOAL LANE 43 SHARED;");
    assert_true(answer(wire_to(0, LANE_READ), "+OK\r\n:16\r\n"));
    SENT(wire_to(0, LANE_READ), "GET x;");
    assert_true(answer(wire_to(0, LANE_READ), "+x\r\n"));
    assert_string_equal(heard(&a), "+x\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_password_is_asked_for(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.password_set = true;
    world_start(1);
    person_init(&a);
    a.session.authenticated = false;
    SAY(&a, "GET x");
    assert_string_equal(heard(&a), "-NOAUTH Authentication required.\r\n");
    person_fini(&a);
    world_end();
}

static void test_wrong_commands_are_refused_in_order(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "GET x");
    SAY(&a, "GET");
    SAY(&a, "NOSUCH y");
    assert_string_equal(heard(&a), "");
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "$-1\r\n");
    assert_string_equal(heard(&a),
                        "$-1\r\n-ERR wrong number of arguments for 'get' command\r\n"
                        "-ERR unknown command 'NOSUCH', with args beginning with: 'y' \r\n");
    person_fini(&a);
    world_end();
}

static void test_http_ends_the_connection(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "Host: x");
    assert_int_equal(world.closed, 1);
    assert_true(a.session.closing);
    assert_string_equal(heard(&a), "");
    person_fini(&a);
    world_end();
}

/* --- failures --- */

static void test_a_client_has_a_window(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.client_max_pending = 4;
    world_start(1);
    person_init(&a);
    for (int i = 0; i < 4; i++) {
        SAY(&a, "GET x");
    }
    SAY_STOPS(&a, "GET x");
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "+1\r\n");
    assert_int_equal(world.resumed, 0);
    answer(wire_to(0, LANE_READ), "+2\r\n");
    assert_int_equal(world.resumed, 1);
    person_fini(&a);
    world_end();
}

static void test_a_full_lane_stops_its_clients(void **state)
{
    (void)state;
    struct person a, b;
    world_begin();
    world.settings.lane_max_in_flight = 4;
    world_start(2);
    person_init(&a);
    person_init(&b);
    for (int i = 0; i < 4; i++) {
        SAY(&a, "GET %s", key_of(0, i));
    }
    SAY_STOPS(&b, "GET %s", key_of(0, 0));
    SAY(&a, "GET %s", key_of(1, 0)); /* the other node's lane has room */
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "+1\r\n+2\r\n");
    assert_int_equal(world.resumed, 1);
    SAY(&b, "GET %s", key_of(0, 0));
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_a_client_that_does_not_read_is_not_parsed(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    struct str big = {0};
    str_printf(&big, "$%d\r\n", 2 * 1024 * 1024);
    memset(str_reserve(&big, 2 * 1024 * 1024), 'x', 2 * 1024 * 1024);
    big.len += 2 * 1024 * 1024;
    str_appendz(&big, "\r\n");
    SAY(&a, "GET x");
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), str_cstr(&big));
    SAY_STOPS(&a, "GET x");
    outbuf_consume(&a.out, a.out.bytes);
    exec_session_drained(world.x, &a.session);
    assert_int_equal(world.resumed, 1);
    SAY(&a, "GET x");
    str_fini(&big);
    person_fini(&a);
    world_end();
}

/* --- choosing among copies --- */

static void test_reads_use_every_in_sync_copy(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world_start(2);
    give_map(map_of(2, true));
    person_init(&a);
    for (int i = 0; i < 10; i++) {
        SAY(&a, "GET %s", key_of(0, 0));
    }
    assert_int_equal(wire_to(0, LANE_READ)->lane->in_flight, 5);
    assert_int_equal(wire_to(1, LANE_READ)->lane->in_flight, 5);
    person_fini(&a);
    world_end();
}

static void test_reads_from_the_primary_if_so_set(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_PRIMARY;
    world_start(2);
    give_map(map_of(2, true));
    person_init(&a);
    for (int i = 0; i < 10; i++) {
        SAY(&a, "GET %s", key_of(0, 0));
    }
    assert_null(find_wire(1, LANE_READ));
    person_fini(&a);
    world_end();
}

static void test_a_copy_out_of_sync_gets_no_reads(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world_start(2);
    struct map *m = map_of(2, true);
    m->shards[0].members[1].in_sync = false;
    give_map(m);
    person_init(&a);
    for (int i = 0; i < 10; i++) {
        SAY(&a, "GET %s", key_of(0, 0));
    }
    assert_int_equal(wire_to(0, LANE_READ)->lane->in_flight, 10);
    person_fini(&a);
    world_end();
}

static void test_a_read_moves_to_another_copy_when_one_breaks(void **state)
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
    int first = find_wire(0, LANE_READ) != NULL ? 0 : 1;
    sent(wire_to(first, LANE_READ));
    snap(wire_to(first, LANE_READ), LANE_BROKEN);
    pass_time(20000);
    SENT(wire_to(1 - first, LANE_READ), "GET %s;", key);
    answer(wire_to(1 - first, LANE_READ), "+x\r\n");
    assert_string_equal(heard(&a), "+x\r\n");
    person_fini(&a);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes_go_to_their_own_lanes),
        cmocka_unit_test(test_replies_leave_in_request_order),
        cmocka_unit_test(test_two_clients_share_a_lane),
        cmocka_unit_test(test_the_replies_of_a_client_that_left_reach_nobody),
        cmocka_unit_test(test_a_read_behind_the_clients_own_write_goes_its_way),
        cmocka_unit_test(test_a_write_does_not_overtake_the_clients_own_read),
        cmocka_unit_test(test_a_write_may_overtake_a_read_of_another_shard),
        cmocka_unit_test(test_databases_are_selected_where_they_differ),
        cmocka_unit_test(test_a_resp3_client_has_lanes_that_speak_it),
        cmocka_unit_test(test_lanes_log_in_with_the_nodes_password),
        cmocka_unit_test(test_lanes_say_what_they_are),
        cmocka_unit_test(test_a_password_is_asked_for),
        cmocka_unit_test(test_wrong_commands_are_refused_in_order),
        cmocka_unit_test(test_http_ends_the_connection),
        cmocka_unit_test(test_a_lane_that_is_refused_sends_nothing),
        cmocka_unit_test(test_a_database_that_the_node_lacks_is_never_used),
        cmocka_unit_test(test_a_client_has_a_window),
        cmocka_unit_test(test_a_full_lane_stops_its_clients),
        cmocka_unit_test(test_a_client_that_does_not_read_is_not_parsed),
        cmocka_unit_test(test_reads_use_every_in_sync_copy),
        cmocka_unit_test(test_reads_from_the_primary_if_so_set),
        cmocka_unit_test(test_a_copy_out_of_sync_gets_no_reads),
        cmocka_unit_test(test_a_read_moves_to_another_copy_when_one_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
