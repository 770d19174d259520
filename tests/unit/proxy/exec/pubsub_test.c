// SPDX-License-Identifier: BSD-3-Clause
/* Subscriptions: told to all nodes concerned, confirmed once, kept over breaks and moves. */
#include "proxy/exec/pubsub.h"

#include "tests/unit/proxy/exec/world.h"

static struct person a, b;

/* The ear's first words are taken. */
static void hear_up(int node)
{
    struct wire *w = wire_to(node, LANE_EAR);
    SENT(w, "HELLO 3;SHOAL EAR;");
    assert_true(answer(w, "%1\r\n+proto\r\n:3\r\n+OK\r\n"));
}

static void begin(int nodes, bool replicas)
{
    world_begin();
    world.settings.ears = true;
    world_start(0);
    give_map(map_of(nodes, replicas));
    person_init(&a);
    person_init(&b);
    for (int i = 0; i < nodes; i++) {
        hear_up(i);
    }
}

static void end(void)
{
    person_fini(&a);
    person_fini(&b);
    world_end();
}

static void test_a_channel_is_heard_at_the_members_of_its_shard(void **state)
{
    (void)state;
    begin(3, true);
    const char *name = key_of(0, 0); /* node 0 is its primary, node 1 a replica */
    SAY(&a, "SUBSCRIBE %s", name);
    HEARD(&a, "%s", "");
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE channel %s 1;", name);
    SENT(wire_to(1, LANE_EAR), "SHOAL SUBSCRIBE channel %s 1;", name);
    SENT(wire_to(2, LANE_EAR), "%s", "");
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n"));
    HEARD(&a, "%s", ""); /* the other one may be primary the next moment */
    assert_true(answer(wire_to(1, LANE_EAR), "+OK\r\n"));
    HEARD(&a, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(name), name);
    char push[200];
    snprintf(push, sizeof(push), ">3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$2\r\nhi\r\n", strlen(name),
             name);
    assert_true(answer(wire_to(0, LANE_EAR), push));
    HEARD(&a, "*%s", push + 1);
    /* A second listener of this worker: told as a number, confirmed, served by the same push. */
    b.session.proto = 3;
    SAY(&b, "SUBSCRIBE %s", name);
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE channel %s 2;", name);
    SENT(wire_to(1, LANE_EAR), "SHOAL SUBSCRIBE channel %s 2;", name);
    assert_true(answer(wire_to(0, LANE_EAR), push)); /* not confirmed: not heard */
    HEARD(&b, "%s", "");
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n") && answer(wire_to(1, LANE_EAR), "+OK\r\n"));
    HEARD(&b, ">3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(name), name);
    assert_true(answer(wire_to(0, LANE_EAR), push));
    HEARD(&b, "%s", push);
    (void)heard(&a);
    /* One leaves, the other goes. */
    SAY(&a, "UNSUBSCRIBE");
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE channel %s 1;", name);
    (void)sent(wire_to(1, LANE_EAR));
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n") && answer(wire_to(1, LANE_EAR), "+OK\r\n"));
    HEARD(&a, "*3\r\n$11\r\nunsubscribe\r\n$%zu\r\n%s\r\n:0\r\n", strlen(name), name);
    exec_session_gone(world.x, &b.session);
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE channel %s 0;", name);
    SAY(&a, "UNSUBSCRIBE");
    HEARD(&a, "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    end();
}

static void test_patterns_and_notifications_are_heard_everywhere(void **state)
{
    (void)state;
    begin(2, false);
    SAY(&a, "PSUBSCRIBE x* x*");
    for (int i = 0; i < 2; i++) {
        SENT(wire_to(i, LANE_EAR), "SHOAL SUBSCRIBE pattern x* 1;");
        assert_true(answer(wire_to(i, LANE_EAR), "+OK\r\n"));
    }
    HEARD(&a, "*3\r\n$10\r\npsubscribe\r\n$2\r\nx*\r\n:1\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\nx*"
              "\r\n:1\r\n");
    SAY(&a, "SUBSCRIBE __keyspace@0__:k");
    for (int i = 0; i < 2; i++) {
        SENT(wire_to(i, LANE_EAR), "SHOAL SUBSCRIBE channel __keyspace@0__:k 1;");
        assert_true(answer(wire_to(i, LANE_EAR), "+OK\r\n"));
    }
    HEARD(&a, "*3\r\n$9\r\nsubscribe\r\n$16\r\n__keyspace@0__:k\r\n:2\r\n");
    assert_true(answer(wire_to(1, LANE_EAR),
                       ">4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nxy\r\n$1\r\n1\r\n"));
    HEARD(&a, "*4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nxy\r\n$1\r\n1\r\n");
    end();
}

static void test_an_ear_that_breaks_is_told_again(void **state)
{
    (void)state;
    begin(1, false);
    SAY(&a, "SUBSCRIBE x");
    struct wire *w = wire_to(0, LANE_EAR);
    (void)sent(w);
    snap(w, LANE_BROKEN); /* its answer is waited for no more */
    HEARD(&a, "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
    pass_time(500000);
    hear_up(0);
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE channel x 1;");
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n"));
    pass_time(1500000);
    SENT(wire_to(0, LANE_EAR), "PING;"); /* does it still stand? */
    end();
}

/* What an ear says of itself has a clock, from its first words on: a node that is silent may be
 * cut off, and nobody would find out. */
static void test_a_mute_ear_is_given_up(void **state)
{
    (void)state;
    begin(1, false);
    struct wire *w = wire_to(0, LANE_EAR);
    SAY(&a, "SUBSCRIBE x");
    SAY(&b, "SUBSCRIBE y");
    (void)sent(w);
    pass_time(4000000);
    assert_true(answer(w, "+OK\r\n")); /* for x */
    HEARD(&a, "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
    pass_time(4000000); /* long for y, but it was heard meanwhile */
    assert_non_null(w->lane);
    pass_time(1100000);
    assert_null(w->lane);
    HEARD(&b, "*3\r\n$9\r\nsubscribe\r\n$1\r\ny\r\n:1\r\n");
    pass_time(500000);
    w = wire_to(0, LANE_EAR);
    (void)sent(w); /* it is taken, but its first words are not answered */
    pass_time(5100000);
    assert_null(w->lane);
    pass_time(500000);
    hear_up(0);
    const char *words = sent(wire_to(0, LANE_EAR));
    assert_non_null(strstr(words, "SHOAL SUBSCRIBE channel x 1;"));
    assert_non_null(strstr(words, "SHOAL SUBSCRIBE channel y 1;"));
    end();
}

static void test_a_new_member_is_told(void **state)
{
    (void)state;
    begin(2, false);
    const char *name = key_of(0, 0);
    SAY(&a, "SSUBSCRIBE %s", name);
    SENT(wire_to(0, LANE_EAR), "SHOAL SUBSCRIBE shard %s 1;", name);
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n"));
    (void)heard(&a);
    give_map(map_of(2, true));
    SENT(wire_to(1, LANE_EAR), "SHOAL SUBSCRIBE shard %s 1;", name);
    SENT(wire_to(0, LANE_EAR), "%s", "");
    give_map(map_of(2, false));
    SENT(wire_to(1, LANE_EAR), "SHOAL SUBSCRIBE shard %s 0;", name);
    end();
}

static void test_who_listens_in_resp2_may_say_little(void **state)
{
    (void)state;
    begin(1, false);
    SAY(&a, "SUBSCRIBE x");
    (void)sent(wire_to(0, LANE_EAR));
    assert_true(answer(wire_to(0, LANE_EAR), "+OK\r\n"));
    (void)heard(&a);
    SAY(&a, "GET x");
    HEARD(&a,
          "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
          "are allowed in this context\r\n");
    a.session.proto = 3;
    SAY(&a, "GET x");
    assert_non_null(find_wire(0, LANE_READ));
    end();
}

static void test_publish_goes_where_the_channel_lives(void **state)
{
    (void)state;
    begin(2, false);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    SAY(&a, "PUBLISH %s 1", zero);
    SAY(&a, "SPUBLISH %s 1", one);
    SENT(wire_to(0, LANE_WRITE), "PUBLISH %s 1;", zero);
    SENT(wire_to(1, LANE_WRITE), "SPUBLISH %s 1;", one);
    /* It leaves nothing in a log: whether it was heard can't be known. */
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    pass_time(100000);
    const char *told = heard(&a);
    assert_int_equal(strncmp(told, "-UNKNOWNOUTCOME", 15), 0);
    end();
}

static void test_what_nodes_hand_over_is_published(void **state)
{
    (void)state;
    begin(2, false);
    const char *one = key_of(1, 0);
    char push[200];
    snprintf(push, sizeof(push), ">3\r\n$7\r\nforward\r\n$%zu\r\n%s\r\n$1\r\n1\r\n", strlen(one),
             one);
    assert_true(answer(wire_to(0, LANE_EAR), push));
    assert_true(answer(wire_to(0, LANE_EAR), push));
    SENT(wire_to(1, LANE_WRITE), "PUBLISH %s 1;PUBLISH %s 1;", one, one);
    assert_true(answer(wire_to(1, LANE_WRITE), ":0\r\n:0\r\n"));
    assert_int_equal(exec_open_requests(world.x), 0);
    end();
}

static void hand_over(int node, const char *channel, int times)
{
    char push[200];
    snprintf(push, sizeof(push), ">3\r\n$7\r\nforward\r\n$%zu\r\n%s\r\n$1\r\n1\r\n",
             strlen(channel), channel);
    for (int i = 0; i < times; i++) {
        assert_true(answer(wire_to(node, LANE_EAR), push));
    }
}

/* Answers all that is published at that node, until nothing more comes. Returns how many. */
static int take_published(int node)
{
    int n = 0;
    for (const char *at; *(at = sent(wire_to(node, LANE_WRITE))) != '\0';) {
        int now = 0;
        for (; (at = strstr(at, "PUBLISH")) != NULL; at++) {
            now++;
        }
        for (int i = 0; i < now; i++) {
            assert_true(answer(wire_to(node, LANE_WRITE), ":0\r\n"));
        }
        n += now;
    }
    return n;
}

static void test_more_than_may_be_under_way_is_published(void **state)
{
    (void)state;
    begin(2, false);
    const char *one = key_of(1, 0);
    hand_over(0, one, 100);
    assert_true(exec_open_requests(world.x) < 100);
    assert_int_equal(take_published(1), 100);
    hand_over(0, one, 3);
    assert_int_equal(take_published(1), 3);
    assert_int_equal(exec_open_requests(world.x), 0);
    end();
}

static void test_a_full_lane_is_published_to_when_it_has_room(void **state)
{
    (void)state;
    begin(2, false);
    const char *one = key_of(1, 0);
    world.settings.lane_max_in_flight = 4;
    exec_set(world.x, &world.settings);
    hand_over(0, one, 30);
    assert_int_equal(exec_open_requests(world.x), 4);
    assert_int_equal(take_published(1), 30);
    end();
}

static void test_what_is_published_waits_for_the_routes_before(void **state)
{
    (void)state;
    begin(2, false);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    hand_over(0, one, 1);
    struct map *m = map_of(2, false);
    assert_true(map_build_add_member(&m->shards[3], 0));
    map_build_set_primary(&m->shards[3], 0);
    m->epoch = 2;
    give_map(m);
    pass_time(100000);
    hand_over(0, zero, 1);
    assert_int_equal(take_published(1), 1);
    assert_int_equal(take_published(0), 1);
    end();
}

static void test_publish_within_a_transaction(void **state)
{
    (void)state;
    begin(2, false);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    SAY(&a, "MULTI");
    SAY(&a, "SET %s 1", zero);
    SAY(&a, "PUBLISH %s 1", one);
    SAY(&a, "EXEC");
    SENT(wire_to(0, LANE_WRITE), "MULTI;SET %s 1;PUBLISH %s 1;EXEC;", zero, one);
    assert_true(answer(wire_to(0, LANE_WRITE), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:0\r\n"));
    (void)heard(&a);
    SAY(&a, "MULTI"); /* nothing of nodes: where it lives, with the true number */
    SAY(&a, "PUBLISH %s 1", one);
    SAY(&a, "EXEC");
    SENT(wire_to(1, LANE_WRITE), "PUBLISH %s 1;", one);
    assert_true(answer(wire_to(1, LANE_WRITE), ":3\r\n"));
    HEARD(&a, "+OK\r\n+QUEUED\r\n*1\r\n:3\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "SPUBLISH %s 1", one);
    SAY(&a, "SPUBLISH %s 1", zero);
    HEARD(&a, "+OK\r\n+QUEUED\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_channel_is_heard_at_the_members_of_its_shard),
        cmocka_unit_test(test_patterns_and_notifications_are_heard_everywhere),
        cmocka_unit_test(test_an_ear_that_breaks_is_told_again),
        cmocka_unit_test(test_a_mute_ear_is_given_up),
        cmocka_unit_test(test_a_new_member_is_told),
        cmocka_unit_test(test_who_listens_in_resp2_may_say_little),
        cmocka_unit_test(test_publish_goes_where_the_channel_lives),
        cmocka_unit_test(test_what_nodes_hand_over_is_published),
        cmocka_unit_test(test_more_than_may_be_under_way_is_published),
        cmocka_unit_test(test_a_full_lane_is_published_to_when_it_has_room),
        cmocka_unit_test(test_what_is_published_waits_for_the_routes_before),
        cmocka_unit_test(test_publish_within_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
