// SPDX-License-Identifier: BSD-3-Clause
/* Shards and roles that move: repairs, joins, drains, hand-overs on demand. */
#include "tests/unit/proxy/coordinator/fixture.h"

static void test_a_dead_nodes_copies_are_made_elsewhere_after_a_delay(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int gone = index_of(f, 3);
    refuse_probe(f, 3);
    ask_out(f);
    tick(f, 9000);
    work(f, 2, 5);
    int thin = 0;
    for (int i = 0; i < 12; i++) { /* its places are kept */
        thin += map_shard_in_sync(&map_of(f)->shards[i]) == 1;
    }
    assert_int_equal(thin, 8);
    tick(f, 1200);
    work(f, 2, 20);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        assert_int_equal(map_shard_in_sync(s), 2);
        assert_true(map_shard_member(s, gone) < 0);
    }
    stop(&f);
}

static void test_without_another_node_a_dead_ones_places_stay_its_own(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    refuse_probe(f, 2);
    tick(f, 20000);
    heartbeat(f, 1, 3);
    for (int i = 0; i < 12; i++) {
        assert_true(map_shard_member(&map_of(f)->shards[i], index_of(f, 2)) >= 0);
    }
    stop(&f);
}

/* ---- joins, hand-over, drain ---- */

static void test_a_joining_node_gets_copies_first_and_then_roles_a_few_at_a_time(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    heartbeat(f, 1, 5);
    heartbeat(f, 2, 5);
    enlist(f, 3, 1, NULL);
    int syncing = 0;
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        int at = map_shard_member(s, index_of(f, 3));
        syncing += at >= 0 && !s->members[at].in_sync;
        assert_int_equal(map_shard_in_sync(s), 2);
        assert_false(s->primary == index_of(f, 3));
    }
    assert_int_equal(syncing, 2); /* rebalance-concurrency */
    assert_int_equal(f->orders_sent, 0);
    for (int round = 0; round < 40; round++) {
        work(f, 3, 1);
        for (int i = 0; i < 12; i++) { /* never fewer copies than there should be */
            assert_in_range(map_shard_in_sync(&map_of(f)->shards[i]), 2, 3);
        }
    }
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=no paused=no copying=0 handing=0 dropping=0 planned=0 waiting=0 "
                         "handed=4 done=8 left=0");
    stop(&f);
}

static void test_orders_wait_for_durability_and_are_repeated(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    f->hold_records = true;
    catch_up(f);
    assert_int_equal(f->orders_sent, 0);
    f->hold_records = false;
    settle(f);
    catch_up(f);
    int sent = f->orders_sent;
    assert_in_range(sent, 1, 16);
    tick(f, 900);
    assert_int_equal(f->orders_sent, sent);
    tick(f, 300);
    assert_int_equal(f->orders_sent, sent * 2);
    stop(&f);
}

static void test_an_old_primary_that_is_not_needed_leaves_in_the_hand_overs_record(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    enlist(f, 1, 1, NULL);
    tick(f, 3000);
    enlist(f, 2, 1, NULL);
    for (int i = 0; i < 4; i++) {
        confirm(f, 1);
        confirm(f, 2);
    }
    catch_up(f);
    uint64_t epoch = map_of(f)->epoch;
    assert_true(f->orders[1].count > 0);
    struct wire_change k = f->orders[1].items[0];
    assert_int_equal(k.op, WIRE_HANDOVER);
    report(f, 1, WIRE_HANDED, k.shard, k.term, 2);
    assert_int_equal(map_of(f)->epoch, epoch + 1);
    const struct map_shard *s = &map_of(f)->shards[k.shard];
    assert_int_equal(s->primary, index_of(f, 2));
    assert_int_equal(s->n_members, 1);
    stop(&f);
}

static void test_the_replication_factor_may_change_at_any_time(void **state)
{
    (void)state;
    struct fixture *f = start_with(4);
    f->settings.replication_factor = 3;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    work(f, 4, 40);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 3);
        assert_int_equal(map_of(f)->shards[i].n_members, 3);
    }
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    for (int i = 0; i < 12; i++) { /* a primary lets go of them, nobody else */
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 3);
    }
    work(f, 4, 10);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].n_members, 1);
    }
    stop(&f);
}

static void test_failover_on_demand_hands_over_to_replicas_in_sync(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char text[128];
    ask(f, "cluster rebalance pause"); /* does not keep an operator's own wish back */
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 3);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(primaries_of(f, 3), 4);
    assert_int_equal(f->orders[3].count, 4);
    work(f, 3, 3);
    assert_int_equal(primaries_of(f, 3), 0);
    for (int i = 0; i < 12; i++) { /* it has its copies still */
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    work(f, 3, 10);
    assert_int_equal(primaries_of(f, 3), 0);
    int shard = shard_of(f, 1, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    report(f, 1, WIRE_REMOVE, shard, s->term, replica);
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 1);
    ask(f, text);
    assert_answer_has(f, "-NOREPLICAS");
    assert_answer_has(f, "1 have no replica in sync");
    stop(&f);
}

static void restart_core(struct fixture *f)
{
    struct errmsg err;
    struct coordinator_env env = env_of(f);
    coordinator_free(&f->core);
    f->recording = 0;
    f->core = coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
    assert_non_null(f->core);
    coordinator_start(f->core, f->now);
    settle(f);
}

static void test_a_failover_on_demand_outlives_the_coordinator(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char text[128];
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 3);
    f->hold_records = true;
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), ""); /* not before it is durable */
    f->hold_records = false;
    settle(f);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(primaries_of(f, 3), 4);
    restart_core(f);
    for (int i = 1; i <= 3; i++) {
        enlist(f, i, 1, NULL);
    }
    work(f, 3, 3);
    assert_int_equal(primaries_of(f, 3), 0);
    restart_core(f); /* what came true is not wished for again */
    for (int i = 1; i <= 3; i++) {
        enlist(f, i, 1, NULL);
    }
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 1);
    ask(f, text);
    work(f, 3, 3);
    assert_true(primaries_of(f, 3) > 0);
    stop(&f);
}

static void test_a_restarted_coordinator_goes_on_with_the_moves(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    for (int life = 0; life < 30; life++) {
        work(f, 3, 1);
        restart_core(f);
        for (int i = 1; i <= 3; i++) {
            enlist(f, i, 1, NULL);
        }
    }
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=no");
    stop(&f);
}

static void test_progress_of_copies_is_shown_in_bytes(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    for (int n = 1; n <= 2; n++) {
        struct wire_message m = {.kind = WIRE_HEARTBEAT};
        for (int i = 0; i < 12; i++) {
            if (map_of(f)->shards[i].primary == index_of(f, n)) {
                struct wire_shard h = {.shard = i, .keys = 10, .bytes = 1000};
                wire_shards_add(&m.heartbeat.held, h);
            }
        }
        coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
        wire_message_fini(&m);
    }
    settle(f);
    enlist(f, 3, 1, NULL);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "copying=2");
    assert_answer_has(f, "bytes-done=0 bytes-left=8000");
    int shard = shard_of(f, 3, false);
    struct wire_message m = {.kind = WIRE_PROGRESS};
    struct wire_copy k = {.shard = shard, .lag_versions = 7, .done = 400, .left = 700};
    id_of(3, k.node);
    wire_copies_add(&m.progress.copies, &k);
    coordinator_message(f->core, f->now, (uint64_t)number_of(f, map_of(f)->shards[shard].primary),
                        "127.0.0.1", &m);
    wire_message_fini(&m);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "bytes-done=400 bytes-left=7700");
    ask(f, "proxy shards");
    assert_answer_has(f, ":syncing:7:0:0:400:700");
    tick(f, 5000);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "bytes-per-second=");
    assert_null(strstr(str_cstr(&f->answer), "bytes-per-second=0 "));
    stop(&f);
}

static void test_without_rebalance_on_join_a_new_node_waits_for_start(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->settings.rebalance_on_join = false;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    enlist(f, 3, 1, NULL);
    work(f, 3, 20);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 0);
    ask(f, "PROXY PLAN");
    assert_answer_has(f, "moves=4 placements=0");
    ask(f, "CLUSTER REBALANCE START");
    assert_answer_has(f, "+OK moves=4 new-copies=8 bytes=0");
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_pause_resume_and_cancel(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    ask(f, "cluster rebalance pause");
    enlist(f, 3, 1, NULL);
    work(f, 3, 10);
    assert_int_equal(primaries_of(f, 3), 0);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "paused=yes");
    assert_answer_has(f, "state=waiting reason=paused");
    ask(f, "cluster rebalance resume");
    for (int i = 1; i <= 3; i++) {
        confirm(f, i);
    }
    catch_up(f);
    obey(f, 1);
    assert_in_range(primaries_of(f, 3), 1, 3);
    int so_far = primaries_of(f, 3);
    ask(f, "cluster rebalance cancel");
    work(f, 3, 20);
    assert_int_equal(primaries_of(f, 3), so_far);
    for (int i = 0; i < 12; i++) { /* what was half made is gone */
        assert_int_equal(map_of(f)->shards[i].n_members, 2);
    }
    ask(f, "cluster rebalance start");
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void set_factor(struct fixture *f, int factor, int nodes)
{
    f->settings.replication_factor = factor;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    work(f, nodes, 60);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), factor);
    }
}

static bool is_empty(const struct fixture *f, int n)
{
    return primaries_of(f, n) == 0 && map_node_replicas(map_of(f), index_of(f, n)) == 0;
}

/* A shard has room for eight members: of seven, two cannot be replaced at once. */
static void test_as_many_copies_as_there_can_be_move_in_turn(void **state)
{
    (void)state;
    struct fixture *f = start_with(9);
    set_factor(f, 7, 9);
    ask(f, "cluster drain 127.0.0.1:7008");
    ask(f, "cluster drain 127.0.0.1:7009");
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    for (int round = 0; round < 200; round++) {
        work(f, 9, 1);
        for (int i = 0; i < 12; i++) {
            assert_in_range(map_shard_in_sync(&map_of(f)->shards[i]), 7, MEMBERS_MAX);
        }
    }
    assert_true(is_empty(f, 8));
    assert_true(is_empty(f, 9));
    stop(&f);
}

/* Neither do the hand-overs get done, nor do copies that are missing wait for them. */
static void test_a_hand_over_that_gets_nowhere_keeps_no_copy_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(5);
    set_factor(f, 3, 5);
    ask(f, "cluster drain 127.0.0.1:7001");
    refuse_probe(f, 2);
    ask_out(f);
    for (int i = 0; i < 250; i++) { /* node 1 is deaf to what it is ordered */
        tick(f, 100);
        for (int n = 1; n <= 5; n++) {
            if (n != 2) {
                heartbeat(f, n, 1);
                confirm(f, n);
            }
        }
        catch_up(f);
    }
    assert_true(primaries_of(f, 1) > 0);
    for (int i = 0; i < 12; i++) {
        assert_in_range(map_shard_in_sync(&map_of(f)->shards[i]), 3, MEMBERS_MAX);
    }
    stop(&f);
}

static void test_a_failover_gives_nothing_to_a_node_that_is_drained_for_good(void **state)
{
    (void)state;
    for (int factor = 2; factor <= 3; factor++) {
        struct fixture *f = start_with(4);
        char text[128];
        set_factor(f, factor, 4);
        ask(f, "cluster drain 127.0.0.1:7002");
        work(f, 4, 1);
        int had = primaries_of(f, 2);
        (void)snprintf(text, sizeof(text), "cluster failover %040x", 1);
        ask(f, text);
        assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
        for (int round = 0; round < 3 && factor == 3; round++) { /* others could take them */
            work(f, 4, 1);
            assert_in_range(primaries_of(f, 2), 0, had);
        }
        work(f, 4, 100);
        assert_true(is_empty(f, 2));
        stop(&f);
    }
}

static void test_a_restarted_coordinator_keeps_what_repairs_have_copied(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char gone[NODE_ID_LEN + 1];
    bool was[12] = {false};
    id_of(3, gone);
    refuse_probe(f, 3);
    ask_out(f);
    for (int i = 0; i < 12; i++) {
        tick(f, 1000);
        heartbeat(f, 1, 1);
        heartbeat(f, 2, 1);
    }
    for (int n = 1; n <= 2; n++) {
        confirm(f, n);
    }
    int syncing = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 12; i++) {
            const struct map_shard *s = &map_of(f)->shards[i];
            bool is = false;
            for (int j = 0; j < s->n_members; j++) {
                is |= !s->members[j].in_sync && number_of(f, s->members[j].node) != 3;
            }
            syncing += is && pass == 0;
            was[i] |= is && pass == 0;
            assert_int_equal(is, was[i]); /* as before the restart */
        }
        if (pass == 0) {
            restart_core(f);
            enlist(f, 1, 1, NULL);
            enlist(f, 2, 1, NULL);
        }
    }
    assert_true(syncing > 0);
    stop(&f);
}

static void test_drain_empties_a_node_which_can_then_be_forgotten(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(3, id);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    ask(f, text);
    assert_answer_has(f, "-ERR The node is primary of 4 shards");
    ask(f, "cluster drain 127.0.0.1:7003");
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(state_of(f, 3), NODE_DRAINING);
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 0);
    ask(f, "proxy nodes");
    assert_answer_has(f, "draining=done");
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(index_of(f, 3), NODE_NONE);
    assert_true(f->forgotten[3]);
    assert_true(f->closed[3]);
    ask(f, "cluster drain 127.0.0.1:7001");
    ask(f, "cluster drain 127.0.0.1:7002");
    assert_answer_has(f, "-ERR No other node");
    ask(f, "cluster drain 127.0.0.1:7001 cancel");
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    ask(f, "cluster drain abcdef");
    assert_answer_has(f, "-ERR Unknown node abcdef");
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dead_nodes_copies_are_made_elsewhere_after_a_delay),
        cmocka_unit_test(test_without_another_node_a_dead_ones_places_stay_its_own),
        cmocka_unit_test(test_a_joining_node_gets_copies_first_and_then_roles_a_few_at_a_time),
        cmocka_unit_test(test_orders_wait_for_durability_and_are_repeated),
        cmocka_unit_test(test_an_old_primary_that_is_not_needed_leaves_in_the_hand_overs_record),
        cmocka_unit_test(test_the_replication_factor_may_change_at_any_time),
        cmocka_unit_test(test_failover_on_demand_hands_over_to_replicas_in_sync),
        cmocka_unit_test(test_a_failover_on_demand_outlives_the_coordinator),
        cmocka_unit_test(test_a_restarted_coordinator_goes_on_with_the_moves),
        cmocka_unit_test(test_progress_of_copies_is_shown_in_bytes),
        cmocka_unit_test(test_without_rebalance_on_join_a_new_node_waits_for_start),
        cmocka_unit_test(test_pause_resume_and_cancel),
        cmocka_unit_test(test_as_many_copies_as_there_can_be_move_in_turn),
        cmocka_unit_test(test_a_hand_over_that_gets_nowhere_keeps_no_copy_back),
        cmocka_unit_test(test_a_failover_gives_nothing_to_a_node_that_is_drained_for_good),
        cmocka_unit_test(test_a_restarted_coordinator_keeps_what_repairs_have_copied),
        cmocka_unit_test(test_drain_empties_a_node_which_can_then_be_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
