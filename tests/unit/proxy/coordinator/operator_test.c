// SPDX-License-Identifier: BSD-3-Clause
/* What takes a while: a slot's move, a living node's leave; asked at the proxy or at a node. */
#include "tests/unit/proxy/coordinator/fixture.h"

static void ask_move(struct fixture *f, int slot, const char *how, int to)
{
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(to, id);
    (void)snprintf(text, sizeof(text), "cluster setslot %d %s %s", slot, how, id);
    f->answers = 0;
    ask(f, text);
}

static bool is_primary(const struct fixture *f, int shard, int n)
{
    return map_of(f)->shards[shard].primary == index_of(f, n);
}

/* Another node than the shard's members. */
static int stranger(const struct fixture *f, int shard, int n)
{
    for (int i = 1; i <= n; i++) {
        if (map_shard_member(&map_of(f)->shards[shard], index_of(f, i)) < 0) {
            return i;
        }
    }
    fail_msg("all nodes have shard %d", shard);
    return -1;
}

static void test_a_slot_goes_with_its_shard_and_the_answer_comes_when_it_is_there(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    int to = stranger(f, shard, 3);
    int slot = map_of(f)->shards[shard].first_slot + 7;
    ask_move(f, slot, "importing", 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_true(is_primary(f, shard, 1)); /* that alone moves nothing */
    ask_move(f, slot, "migrating", to);
    assert_int_equal(f->answers, 0);
    work(f, 3, 10);
    assert_true(is_primary(f, shard, to));
    assert_int_equal(f->answers, 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 2);
    assert_int_equal(map_of(f)->shards[shard].n_members, 2);
    ask_move(f, slot, "node", to); /* it is there: at once, as for the shard's other slots */
    assert_int_equal(f->answers, 1);
    ask_move(f, slot + 1, "migrating", to);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    tick(f, 2000);
    work(f, 3, 5);
    assert_true(is_primary(f, shard, to)); /* and stays */
    stop(&f);
}

static void test_a_replica_is_handed_the_role(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    int shard = shard_of(f, 1, true);
    ask_move(f, map_of(f)->shards[shard].last_slot, "node", 2);
    work(f, 2, 5);
    assert_true(is_primary(f, shard, 2));
    assert_int_equal(f->answers, 1);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 2);
    stop(&f);
}

static void test_the_answer_waits_until_the_move_is_durable(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    int shard = shard_of(f, 1, true);
    ask_move(f, map_of(f)->shards[shard].first_slot, "node", 2);
    assert_int_equal(f->orders[1].count, 1);
    f->hold_records = true;
    obey(f, 1);
    assert_int_equal(f->answers, 0);
    f->hold_records = false;
    settle(f);
    assert_int_equal(f->answers, 1);
    stop(&f);
}

static void test_what_cannot_be_moved_is_refused_before_anything_moves(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    ask(f, "cluster setslot 16384 node x");
    assert_answer_has(f, "-ERR Invalid or out of range slot");
    ask(f, "cluster setslot x stable");
    assert_answer_has(f, "-ERR Invalid or out of range slot");
    ask(f, "cluster setslot 5 node 0123");
    assert_answer_has(f, "-ERR I don't know about node 0123");
    ask(f, "cluster setslot 5 sideways 0123");
    assert_answer_has(f, "-ERR Invalid CLUSTER SETSLOT action");
    ask(f, "cluster setslot 5 stable");
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    int shard = shard_of(f, 1, true);
    int slot = map_of(f)->shards[shard].first_slot;
    ask(f, "cluster rebalance pause");
    ask_move(f, slot, "importing", 1);
    assert_answer_has(f, "-ERR Moves are paused");
    ask_move(f, slot, "migrating", 2);
    assert_answer_has(f, "-ERR Moves are paused");
    ask(f, "cluster rebalance resume");
    ask(f, "cluster drain 127.0.0.1:7003");
    ask_move(f, slot, "migrating", 3);
    assert_answer_has(f, "-ERR That node takes no shards");
    assert_true(is_primary(f, shard, 1));
    stop(&f);
}

static void test_a_move_to_a_node_that_dies_is_given_up(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    int to = stranger(f, shard, 3);
    ask_move(f, map_of(f)->shards[shard].first_slot, "migrating", to);
    refuse_probe(f, to);
    tick(f, 1000);
    assert_int_equal(f->answers, 1);
    assert_answer_has(f, "-ERR The move was given up");
    stop(&f);
}

static void test_a_later_wish_takes_the_place_of_an_earlier_one(void **state)
{
    (void)state;
    struct fixture *f = start_with(4);
    int shard = shard_of(f, 1, true);
    int to = stranger(f, shard, 4);
    ask_move(f, map_of(f)->shards[shard].first_slot, "node", to);
    assert_int_equal(f->answers, 0);
    ask_move(f, map_of(f)->shards[shard].first_slot, "node", 1);
    assert_int_equal(f->answers, 1); /* it is there */
    int other = to;
    for (int i = 1; i <= 4; i++) {
        other = i != to && i != 1 ? i : other;
    }
    ask_move(f, map_of(f)->shards[shard].first_slot, "node", other);
    tick(f, 200);
    assert_answer_has(f, "-ERR The move was given up");
    work(f, 4, 10);
    assert_true(is_primary(f, shard, other));
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

/* ---- leaving ---- */

static void move_all_from(struct fixture *f, int from, const char *how, int to)
{
    while (primaries_of(f, from) > 0) {
        ask_move(f, map_of(f)->shards[shard_of(f, from, true)].first_slot, how, to);
        work(f, 3, 10);
    }
}

static void test_a_living_node_leaves_when_its_replicas_are_elsewhere(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(3, id);
    move_all_from(f, 3, "migrating", 1);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    f->answers = 0;
    ask(f, text);
    assert_int_equal(f->answers, 0);
    assert_false(f->forgotten[3]);
    work(f, 3, 40);
    assert_int_equal(f->answers, 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(index_of(f, 3), NODE_NONE);
    assert_true(f->forgotten[3]);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    ask(f, text); /* every node is told by the tools */
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    enlist(f, 3, 2, NULL);
    ask(f, text);
    work(f, 3, 5);
    assert_int_equal(index_of(f, 3), NODE_NONE);
    stop(&f);
}

static void test_a_leave_can_be_taken_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(3, id);
    move_all_from(f, 3, "node", 2);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    ask(f, text);
    (void)snprintf(text, sizeof(text), "cluster drain %s cancel", id);
    f->answers = 0;
    ask(f, text);
    tick(f, 200);
    assert_int_equal(f->answers, 2);
    assert_int_not_equal(index_of(f, 3), NODE_NONE);
    stop(&f);
}

/* ---- asked at a node ---- */

static void node_asks(struct fixture *f, int n, uint64_t number, const char *words)
{
    struct wire_message m = {.kind = WIRE_ASK,
                             .ask = {.number = number, .proto = 2, .words = slice_str(words)}};
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    settle(f);
}

static void test_a_node_passes_on_what_it_is_asked(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->answers = 0;
    node_asks(f, 2, 17, "*2\r\n$5\r\nproxy\r\n$4\r\ninfo\r\n");
    assert_int_equal(f->answers, 0); /* not the proxy's */
    assert_int_equal(f->answered[2].number, 17);
    assert_int_equal(f->answered[2].epoch, map_of(f)->epoch);
    assert_answer_has(f, "nodes=2 healthy=2");
    node_asks(f, 1, 18, "*1\r\n:5\r\n");
    assert_int_equal(f->answered[1].number, 18);
    assert_answer_has(f, "-ERR Protocol error");
    node_asks(f, 1, 19, "nonsense");
    assert_int_equal(f->answered[1].number, 19);
    assert_answer_has(f, "-ERR Protocol error");
    node_asks(f, 1, 20, "*2\r\n$7\r\ncluster\r\n$5\r\nreset\r\n");
    assert_answer_has(f, "-ERR This node is a member of a cluster");
    stop(&f);
}

/* Node n is told CLUSTER SETSLOT. */
static void tell_node(struct fixture *f, int n, int slot, const char *how, int to)
{
    static uint64_t number = 20;
    char words[256];
    char digits[16];
    int len = snprintf(digits, sizeof(digits), "%d", slot);
    (void)snprintf(words, sizeof(words),
                   "*5\r\n$7\r\ncluster\r\n$7\r\nsetslot\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n$40\r\n%040x"
                   "\r\n",
                   len, digits, (int)strlen(how), how, to);
    str_clear(&f->answer);
    node_asks(f, n, ++number, words);
}

static void test_what_went_with_its_shard_stays_with_it(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    int slot = map_of(f)->shards[shard].first_slot;
    tell_node(f, 3, slot, "migrating", 2);
    assert_answer_has(f, "-ERR I'm not the owner of hash slot");
    tell_node(f, 1, slot, "migrating", 2);
    work(f, 3, 10);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_true(is_primary(f, shard, 2));
    /* the next slot was meant for another node */
    tell_node(f, 3, slot + 1, "importing", 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    tell_node(f, 1, slot + 1, "migrating", 3);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    for (int i = 1; i <= 3; i++) {
        tell_node(f, i, slot + 1, "node", 3);
        assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    }
    work(f, 3, 10);
    assert_true(is_primary(f, shard, 2));
    /* but who says so to the node that has it, or means it by itself, moves it */
    tell_node(f, 2, slot + 1, "migrating", 3);
    work(f, 3, 10);
    assert_true(is_primary(f, shard, 3));
    tell_node(f, 2, slot + 1, "node", 1);
    work(f, 3, 10);
    assert_true(is_primary(f, shard, 1));
    stop(&f);
}

static void test_a_link_that_is_gone_gets_no_answer(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    int shard = shard_of(f, 1, true);
    tell_node(f, 2, map_of(f)->shards[shard].first_slot, "node", 2);
    assert_int_equal(f->orders[1].count, 1);
    f->answered[2].number = 0;
    coordinator_link_down(f->core, f->now, 2);
    settle(f);
    f->answers = 0;
    obey(f, 1);
    tick(f, 200);
    assert_int_equal(f->answered[2].number, 0);
    assert_int_equal(f->answers, 0);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slot_goes_with_its_shard_and_the_answer_comes_when_it_is_there),
        cmocka_unit_test(test_a_replica_is_handed_the_role),
        cmocka_unit_test(test_the_answer_waits_until_the_move_is_durable),
        cmocka_unit_test(test_what_cannot_be_moved_is_refused_before_anything_moves),
        cmocka_unit_test(test_a_move_to_a_node_that_dies_is_given_up),
        cmocka_unit_test(test_a_later_wish_takes_the_place_of_an_earlier_one),
        cmocka_unit_test(test_a_living_node_leaves_when_its_replicas_are_elsewhere),
        cmocka_unit_test(test_a_leave_can_be_taken_back),
        cmocka_unit_test(test_a_node_passes_on_what_it_is_asked),
        cmocka_unit_test(test_what_went_with_its_shard_stays_with_it),
        cmocka_unit_test(test_a_link_that_is_gone_gets_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
