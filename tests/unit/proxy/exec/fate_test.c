// SPDX-License-Identifier: BSD-3-Clause
/* Writes that were under way when their lane broke: what is asked, and what each answer means. */
#include "tests/unit/proxy/exec/world.h"

/* Lanes that count, between the world's two nodes. */
static void setup(struct person *a)
{
    world_begin();
    world.settings.lanes_announced = true;
    world.settings.read_from = READ_PRIMARY;
    world_start(2);
    person_init(a);
}

static void teardown(struct person *a)
{
    person_fini(a);
    world_end();
}

/* The lane of that kind stands: its number, from its first words. */
static uint64_t stand(int node, enum lane_kind kind)
{
    struct wire *w = wire_to(node, kind);
    unsigned long long id = 0;
    assert_int_equal(sscanf(sent(w), "SHOAL LANE %llu;", &id), 1);
    assert_true(answer(w, ":16\r\n"));
    return id;
}

/* Two INCRs of shard 0 left by a lane that broke; returns its id. */
static uint64_t lose_two(struct person *a)
{
    SAY(a, "INCR %s", key_of(0, 0));
    SAY(a, "INCR %s", key_of(0, 1));
    uint64_t id = stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "INCR %s;INCR %s;", key_of(0, 0), key_of(0, 1));
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    assert_string_equal(heard(a), "");
    pass_time(10000);
    return id;
}

static const char *question(uint64_t id, int shard, int from, int age_ms)
{
    static char text[128];
    snprintf(text, sizeof(text), "SHOAL FATE %llu %d %d %d;", (unsigned long long)id, shard, from,
             age_ms);
    return text;
}

static void test_what_is_in_the_log_gets_its_reply_and_the_rest_is_sent_again(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    uint64_t id = lose_two(&a);
    (void)stand(0, LANE_FATE);
    assert_string_equal(sent(wire_to(0, LANE_FATE)), question(id, 0, 1, 61));
    SAY_STOPS(&a, "INCR %s", key_of(0, 2)); /* nothing of this client passes them */
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*2\r\n:1\r\n$5\r\n:41\r\n\r\n");
    assert_string_equal(heard(&a), ":41\r\n");
    (void)stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "INCR %s;", key_of(0, 1));
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    assert_string_equal(heard(&a), ":1\r\n");
    const struct exec_counters *n = exec_counters(world.x);
    assert_int_equal(n->resolved_replied, 1);
    assert_int_equal(n->resolved_resent, 1);
    assert_int_equal(n->unknown_outcome, 0);
    assert_int_equal(n->fate_questions, 1);
    assert_true(world.resumed > 0);
    teardown(&a);
}

static void test_what_the_log_cannot_tell_is_unknown(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    (void)lose_two(&a);
    (void)stand(0, LANE_FATE);
    sent(wire_to(0, LANE_FATE));
    /* The first one's reply was too long to be kept, the log does not go back to the second. */
    answer(wire_to(0, LANE_FATE), "*2\r\n:0\r\n*2\r\n:1\r\n$-1\r\n");
    const char *text = heard(&a);
    assert_memory_equal(text, "-UNKNOWNOUTCOME", 15);
    assert_non_null(strstr(text + 1, "-UNKNOWNOUTCOME"));
    assert_int_equal(exec_counters(world.x)->unknown_outcome, 2);
    assert_int_equal(exec_held_requests(world.x), 0);
    teardown(&a);
}

static void test_the_new_primary_is_asked(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    SAY(&a, "INCR %s", key_of(0, 0));
    uint64_t id = stand(0, LANE_WRITE);
    sent(wire_to(0, LANE_WRITE));
    struct map *m = map_of(2, false);
    m->nodes[0].state = NODE_DEAD;
    lose_shard(m, 0);
    give_map(m);
    assert_null(find_wire(0, LANE_FATE)); /* dead ones are not asked */
    assert_string_equal(heard(&a), "");
    m = map_of(2, false);
    m->nodes[0].state = NODE_DEAD;
    assert_true(map_build_add_member(&m->shards[0], 1));
    map_build_set_primary(&m->shards[0], 1);
    give_map(m);
    (void)stand(1, LANE_FATE);
    assert_string_equal(sent(wire_to(1, LANE_FATE)), question(id, 0, 1, 51));
    answer(wire_to(1, LANE_FATE), "-TRYAGAIN not yet\r\n");
    pass_time(20000);
    assert_string_equal(sent(wire_to(1, LANE_FATE)), question(id, 0, 1, 71));
    answer(wire_to(1, LANE_FATE), "*2\r\n:1\r\n*0\r\n");
    (void)stand(1, LANE_WRITE);
    SENT(wire_to(1, LANE_WRITE), "INCR %s;", key_of(0, 0));
    answer(wire_to(1, LANE_WRITE), ":8\r\n");
    assert_string_equal(heard(&a), ":8\r\n");
    teardown(&a);
}

/* What it says of the log's age was true when it was made, and nobody knows when that was. */
static void test_an_answer_that_took_too_long_is_not_taken(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    uint64_t id = lose_two(&a);
    (void)stand(0, LANE_FATE);
    assert_string_equal(sent(wire_to(0, LANE_FATE)), question(id, 0, 1, 61));
    pass_time(1100000);
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*0\r\n");
    assert_string_equal(heard(&a), "");
    pass_time(1000);
    assert_string_equal(sent(wire_to(0, LANE_FATE)), question(id, 0, 1, 1212));
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*4\r\n:1\r\n$4\r\n:1\r\n\r\n:2\r\n$4\r\n:5\r\n\r\n");
    assert_string_equal(heard(&a), ":1\r\n:5\r\n");
    teardown(&a);
}

static void test_a_silent_node_is_asked_on_a_new_connection(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    (void)lose_two(&a);
    (void)stand(0, LANE_FATE);
    struct wire *w = wire_to(0, LANE_FATE);
    sent(w);
    pass_time(1300000); /* a quarter of request-timeout */
    assert_null(w->lane);
    (void)stand(0, LANE_FATE);
    assert_non_null(strstr(sent(wire_to(0, LANE_FATE)), "SHOAL FATE"));
    teardown(&a);
}

/* Neither the time in which this worker did not run, nor a primary that says all the time that it
 * cannot tell yet, makes an outcome unknown; silence does. */
static void test_the_time_to_find_out_is_the_nodes_own(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    (void)lose_two(&a);
    world.now_us += 60000000;
    exec_set_now(world.x, world.now_us);
    exec_stalled(world.x, 60000000);
    exec_tick(world.x);
    assert_string_equal(heard(&a), "");
    (void)stand(0, LANE_FATE);
    for (int i = 0; i < 15; i++) { /* request-timeout and failover-hold are 7 s */
        (void)sent(wire_to(0, LANE_FATE));
        answer(wire_to(0, LANE_FATE), "-TRYAGAIN not yet\r\n");
        pass_time(1000000);
        assert_string_equal(heard(&a), "");
    }
    (void)sent(wire_to(0, LANE_FATE));
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*4\r\n:1\r\n$4\r\n:1\r\n\r\n:2\r\n$4\r\n:5\r\n\r\n");
    assert_string_equal(heard(&a), ":1\r\n:5\r\n");
    assert_int_equal(exec_counters(world.x)->stalled_ms, 60000);
    teardown(&a);
}

static void test_what_nobody_tells_in_time_is_unknown(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    (void)lose_two(&a);
    pass_time(6900000);
    assert_string_equal(heard(&a), "");
    pass_time(200000);
    assert_memory_equal(heard(&a), "-UNKNOWNOUTCOME", 15);
    teardown(&a);
}

/* What is in doubt is held, however many wait: only what is new is refused. */
static void test_writes_in_doubt_always_have_a_place(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    world.settings.hold_max_requests = 1;
    exec_set(world.x, &world.settings);
    (void)lose_two(&a);
    (void)stand(0, LANE_FATE);
    (void)sent(wire_to(0, LANE_FATE));
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*4\r\n:1\r\n$4\r\n:1\r\n\r\n:2\r\n$4\r\n:5\r\n\r\n");
    assert_string_equal(heard(&a), ":1\r\n:5\r\n");
    teardown(&a);
}

/* EVAL without keys left by a lane that broke; its outcome is asked of all four shards. */
static uint64_t lose_script(struct person *a, int *first)
{
    SAY(a, "EVAL script 0");
    uint64_t id = stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "EVAL script 0;");
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    pass_time(1000);
    for (int node = 0; node < 2; node++) {
        (void)stand(node, LANE_FATE);
        const char *text = sent(wire_to(node, LANE_FATE));
        int shard = -1;
        assert_int_equal(sscanf(text, "SHOAL FATE %*u %d 1 52;", &shard), 1);
        first[node] = shard;
    }
    return id;
}

#define NOTHING_THERE "*2\r\n:1\r\n*0\r\n"

static void test_a_script_without_keys_is_looked_for_in_all_shards(void **state)
{
    (void)state;
    struct person a;
    int first[2];
    setup(&a);
    (void)lose_script(&a, first);
    assert_int_not_equal(first[0], first[1]);
    answer(wire_to(0, LANE_FATE), NOTHING_THERE NOTHING_THERE);
    assert_string_equal(heard(&a), "");
    answer(wire_to(1, LANE_FATE), NOTHING_THERE "*2\r\n:1\r\n*2\r\n:1\r\n$4\r\n:7\r\n\r\n");
    assert_string_equal(heard(&a), ":7\r\n");
    assert_int_equal(exec_counters(world.x)->resolved_replied, 1);
    assert_int_equal(exec_held_requests(world.x), 0);
    teardown(&a);
}

static void test_a_script_without_keys_and_trace_is_sent_again(void **state)
{
    (void)state;
    struct person a;
    int first[2];
    setup(&a);
    (void)lose_script(&a, first);
    answer(wire_to(0, LANE_FATE), NOTHING_THERE NOTHING_THERE);
    answer(wire_to(1, LANE_FATE), NOTHING_THERE NOTHING_THERE);
    pass_time(1000);
    (void)stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "EVAL script 0;");
    answer(wire_to(0, LANE_WRITE), ":9\r\n");
    assert_string_equal(heard(&a), ":9\r\n");
    assert_int_equal(exec_counters(world.x)->resolved_resent, 1);
    teardown(&a);
}

static void test_a_script_that_some_shard_cannot_tell_of_is_unknown(void **state)
{
    (void)state;
    static const char *const says[] = {
        "*2\r\n:0\r\n*0\r\n",              /* the log does not go back so far */
        "*2\r\n:1\r\n*2\r\n:1\r\n$-1\r\n", /* it wrote to several shards */
    };
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        struct person a;
        int first[2];
        setup(&a);
        (void)lose_script(&a, first);
        answer(wire_to(0, LANE_FATE), NOTHING_THERE NOTHING_THERE);
        answer(wire_to(1, LANE_FATE), NOTHING_THERE);
        answer(wire_to(1, LANE_FATE), says[i]);
        assert_memory_equal(heard(&a), "-UNKNOWNOUTCOME", 15);
        assert_int_equal(exec_counters(world.x)->unknown_outcome, 1);
        teardown(&a);
    }
}

static void test_a_client_may_leave_while_its_script_is_looked_for(void **state)
{
    (void)state;
    struct person a;
    int first[2];
    setup(&a);
    (void)lose_script(&a, first);
    answer(wire_to(0, LANE_FATE), NOTHING_THERE);
    exec_session_gone(world.x, &a.session);
    assert_int_equal(exec_held_requests(world.x), 0);
    assert_int_equal(exec_open_requests(world.x), 0);
    teardown(&a);
}

static void test_each_shard_of_a_command_is_asked_for(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    const char *k0 = key_of(0, 0), *k2 = key_of(2, 0);
    SAY(&a, "DEL %s %s", k0, k2); /* both of node 0 */
    uint64_t id = stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "DEL %s %s;", k0, k2);
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    pass_time(1000);
    (void)stand(0, LANE_FATE);
    char want[256];
    snprintf(want, sizeof(want), "%s", question(id, 0, 1, 52));
    snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s", question(id, 2, 1, 52));
    assert_string_equal(sent(wire_to(0, LANE_FATE)), want);
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*2\r\n:1\r\n$4\r\n:1\r\n\r\n*2\r\n:1\r\n*0\r\n");
    (void)stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "DEL %s;", k2);
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    assert_string_equal(heard(&a), ":2\r\n");
    teardown(&a);
}

static void test_a_transaction_goes_by_the_number_of_its_exec(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    a.session.db = 2;
    SAY(&a, "MULTI");
    SAY(&a, "INCR %s", key_of(0, 0));
    SAY(&a, "EXEC");
    uint64_t id = stand(0, LANE_WRITE);
    SENT(wire_to(0, LANE_WRITE), "SELECT 2;MULTI;INCR %s;EXEC;", key_of(0, 0));
    heard(&a);
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    pass_time(1000);
    (void)stand(0, LANE_FATE);
    assert_string_equal(sent(wire_to(0, LANE_FATE)), question(id, 0, 4, 52));
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*2\r\n:4\r\n$8\r\n*1\r\n:7\r\n\r\n");
    assert_string_equal(heard(&a), "*1\r\n:7\r\n");
    teardown(&a);
}

/* Without its WATCH it must not run again. */
static void test_a_watching_transaction_that_left_no_trace_is_nil(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    const char *key = key_of(0, 0);
    SAY(&a, "WATCH %s", key);
    uint64_t id = stand(0, LANE_PINNED);
    SENT(wire_to(0, LANE_PINNED), "WATCH %s;", key);
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "INCR %s", key);
    SAY(&a, "EXEC");
    heard(&a);
    SENT(wire_to(0, LANE_PINNED), "MULTI;INCR %s;EXEC;", key);
    snap(wire_to(0, LANE_PINNED), LANE_BROKEN);
    pass_time(1000);
    (void)stand(0, LANE_FATE);
    assert_string_equal(sent(wire_to(0, LANE_FATE)), question(id, 0, 4, 52));
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*0\r\n");
    assert_string_equal(heard(&a), "*-1\r\n");
    assert_null(find_wire(0, LANE_WRITE));
    teardown(&a);
}

static void test_a_watched_shard_that_moved_is_nil(void **state)
{
    (void)state;
    struct person a;
    setup(&a);
    const char *key = key_of(0, 0);
    SAY(&a, "WATCH %s", key);
    (void)stand(0, LANE_PINNED);
    sent(wire_to(0, LANE_PINNED));
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "INCR %s", key);
    SAY(&a, "EXEC");
    heard(&a);
    sent(wire_to(0, LANE_PINNED));
    answer(wire_to(0, LANE_PINNED),
           "+OK\r\n-MOVED 1 127.0.0.1:7001\r\n-EXECABORT Transaction discarded\r\n");
    assert_string_equal(heard(&a), "*-1\r\n");
    teardown(&a);
}

static void test_a_client_that_leaves_is_forgotten(void **state)
{
    (void)state;
    struct person a, b;
    setup(&a);
    person_init(&b);
    (void)lose_two(&a);
    (void)stand(0, LANE_FATE);
    sent(wire_to(0, LANE_FATE));
    person_fini(&a);
    answer(wire_to(0, LANE_FATE), "*2\r\n:1\r\n*0\r\n");
    pass_time(100000);
    assert_null(find_wire(0, LANE_WRITE));
    assert_int_equal(exec_open_requests(world.x), 0);
    assert_int_equal(exec_counters(world.x)->unknown_outcome, 0);
    person_fini(&b);
    world_end();
}

static void test_reads_follow_their_clients_writes_where_copies_lag(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world.settings.own_reads_us = 2000000;
    world_start(2);
    give_map(map_of(2, true));
    person_init(&a);
    const char *key = key_of(0, 0);
    world.now_us += 3000000;
    exec_set_now(world.x, world.now_us);
    SAY(&a, "SET %s 1", key);
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n");
    a.session.mixes = 0;
    for (int i = 0; i < 4; i++) {
        SAY(&a, "GET %s", key);
    }
    assert_null(find_wire(1, LANE_READ));
    pass_time(2100000);
    SAY(&a, "GET %s", key);
    SAY(&a, "GET %s", key);
    assert_non_null(find_wire(1, LANE_READ));
    person_fini(&a);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_in_the_log_gets_its_reply_and_the_rest_is_sent_again),
        cmocka_unit_test(test_what_the_log_cannot_tell_is_unknown),
        cmocka_unit_test(test_the_new_primary_is_asked),
        cmocka_unit_test(test_an_answer_that_took_too_long_is_not_taken),
        cmocka_unit_test(test_a_silent_node_is_asked_on_a_new_connection),
        cmocka_unit_test(test_the_time_to_find_out_is_the_nodes_own),
        cmocka_unit_test(test_what_nobody_tells_in_time_is_unknown),
        cmocka_unit_test(test_writes_in_doubt_always_have_a_place),
        cmocka_unit_test(test_a_script_without_keys_is_looked_for_in_all_shards),
        cmocka_unit_test(test_a_script_without_keys_and_trace_is_sent_again),
        cmocka_unit_test(test_a_script_that_some_shard_cannot_tell_of_is_unknown),
        cmocka_unit_test(test_a_client_may_leave_while_its_script_is_looked_for),
        cmocka_unit_test(test_each_shard_of_a_command_is_asked_for),
        cmocka_unit_test(test_a_transaction_goes_by_the_number_of_its_exec),
        cmocka_unit_test(test_a_watching_transaction_that_left_no_trace_is_nil),
        cmocka_unit_test(test_a_watched_shard_that_moved_is_nil),
        cmocka_unit_test(test_a_client_that_leaves_is_forgotten),
        cmocka_unit_test(test_reads_follow_their_clients_writes_where_copies_lag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
