// SPDX-License-Identifier: BSD-3-Clause
/* The core, one situation at a time: registration, detection, what is told and when, views. */
#include "tests/unit/proxy/coordinator/fixture.h"

static void test_the_cluster_waits_for_enough_nodes_and_then_for_the_delay(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_string_equal(map_of(f)->why, "waiting for nodes: 0 of 2 are there");
    enlist(f, 1, 1, NULL);
    assert_int_equal(f->welcomes[1], 1);
    tick(f, 10000);
    heartbeat(f, 1, 0);
    assert_false(map_of(f)->assigned);
    assert_string_equal(map_of(f)->why, "waiting for nodes: 1 of 2 are there");
    enlist(f, 2, 1, NULL);
    tick(f, 1000);
    enlist(f, 3, 1, NULL); /* within the delay: takes part */
    tick(f, 900);
    assert_false(map_of(f)->assigned);
    tick(f, 200);
    assert_true(map_of(f)->assigned);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    stop(&f);
}

static void test_a_node_that_leaves_before_the_assignment_starts_the_wait_again(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    enlist(f, 2, 1, NULL);
    tick(f, 1500);
    coordinator_link_down(f->core, f->now, 2);
    settle(f);
    tick(f, 3000);
    assert_false(map_of(f)->assigned);
    enlist(f, 2, 2, NULL);
    tick(f, 1900);
    assert_false(map_of(f)->assigned);
    tick(f, 200);
    assert_true(map_of(f)->assigned);
    stop(&f);
}

static struct fixture *start_and_assign_two(void)
{
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    enlist(f, 2, 1, NULL);
    for (int i = 0; i < 30 && !map_of(f)->assigned; i++) {
        tick(f, 100);
    }
    assert_true(map_of(f)->assigned);
    return f;
}

static void test_proxies_learn_of_new_primaries_when_these_know_it_themselves(void **state)
{
    (void)state;
    struct fixture *f = start_and_assign_two();
    assert_false(f->shown_assigned);
    confirm(f, 1);
    assert_false(f->shown_assigned);
    confirm(f, 2);
    /* A later map may have been made meanwhile, which both confirm too. */
    confirm(f, 1);
    confirm(f, 2);
    assert_true(f->shown_assigned);
    stop(&f);
}

static void test_a_primary_that_does_not_confirm_keeps_a_map_from_proxies_for_a_moment(void **state)
{
    (void)state;
    struct fixture *f = start_and_assign_two();
    confirm(f, 1);
    tick(f, 100);
    assert_false(f->shown_assigned);
    tick(f, 200);
    assert_true(f->shown_assigned);
    stop(&f);
}

static void test_nothing_is_told_before_it_is_durable(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->hold_records = true;
    int published = f->published;
    enlist(f, 1, 1, NULL);
    tick(f, 500);
    assert_int_equal(f->welcomes[1], 0);
    assert_int_equal(f->maps_sent[1], 0);
    assert_int_equal(f->published, published);
    ask(f, "cluster rebalance pause");
    assert_int_equal(f->answers, 0);
    f->hold_records = false;
    settle(f);
    assert_int_equal(f->welcomes[1], 1);
    assert_int_equal(f->maps_sent[1], 1);
    assert_int_equal(f->answers, 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

static void test_a_map_is_repeated_until_it_is_confirmed(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    int sent = f->maps_sent[1];
    tick(f, 3500);
    assert_in_range(f->maps_sent[1], sent + 3, sent + 4);
    confirm(f, 1);
    sent = f->maps_sent[1];
    tick(f, 3000);
    assert_int_equal(f->maps_sent[1], sent);
    stop(&f);
}

static void test_strangers_and_doubles_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION + 1;
    r->incarnation = 5;
    r->port = 7009;
    id_of(9, r->id);
    coordinator_message(f->core, f->now, 9, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[9], "another version"));
    assert_true(f->closed[9]);
    r->wire_version = WIRE_VERSION;
    memset(r->cluster_id, 'a', NODE_ID_LEN);
    coordinator_message(f->core, f->now, 10, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[10], "another cluster"));
    r->cluster_id[0] = '\0';
    r->id[3] = 'x';
    coordinator_message(f->core, f->now, 11, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[11], "bad id"));
    id_of(1, r->id); /* the id of a node that lives elsewhere */
    coordinator_message(f->core, f->now, 12, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[12], "this id"));
    id_of(9, r->id);
    r->port = 7001; /* the address of another */
    coordinator_message(f->core, f->now, 13, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[13], "this address"));
    settle(f);
    assert_int_equal(map_of(f)->n_nodes, 1);
    stop(&f);
}

/* A term is counted on from: the largest number would be the end of the cluster. */
static void test_an_impossible_term_is_refused(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    uint64_t epoch = map_of(f)->epoch;
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    r->incarnation = 5;
    r->port = 7009;
    r->epoch = epoch + 1;
    id_of(9, r->id);
    memcpy(r->cluster_id, CLUSTER, sizeof(r->cluster_id));
    wire_shards_add(&r->held, (struct wire_shard){.shard = 0, .term = UINT64_MAX, .version = 1});
    coordinator_message(f->core, f->now, 9, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[9], "impossible term"));
    settle(f);
    assert_int_equal(map_of(f)->epoch, epoch);
    r->held.items[0].term = map_of(f)->shards[0].term + 1;
    coordinator_message(f->core, f->now, 10, "127.0.0.1", &m);
    settle(f);
    assert_int_equal(map_of(f)->n_nodes, 3);
    wire_message_fini(&m);
    stop(&f);
}

/* We close the link ourselves, so nobody tells that it went. */
static void test_who_is_refused_on_its_own_link_is_not_there_any_more(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    struct wire_message m = {.kind = WIRE_REGISTER};
    m.registration.wire_version = WIRE_VERSION + 1;
    m.registration.incarnation = 1;
    m.registration.port = 7002;
    id_of(2, m.registration.id);
    int probes = f->probes;
    coordinator_message(f->core, f->now, 2, "127.0.0.1", &m);
    settle(f);
    assert_true(f->closed[2]);
    assert_int_equal(f->probes, probes + 1);
    ask(f, "proxy nodes");
    char *row = strstr(str_cstr(&f->answer), ":7002");
    assert_non_null(row);
    assert_non_null(strstr(row, "connected=no"));
    stop(&f);
}

static void test_a_node_names_the_clusters_password(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.password = "a secret";
    coordinator_set(f->core, f->now, &f->settings);
    f->settings.password = NULL;
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    r->incarnation = 1;
    r->port = 7001;
    id_of(1, r->id);
    static const char *const wrong[] = {"", "a", "a secreT", "a secret ", "a secreta secret"};
    for (uint64_t i = 0; i < ARRAY_LEN(wrong); i++) {
        r->password = slice_str(wrong[i]);
        coordinator_message(f->core, f->now, 10 + i, "127.0.0.1", &m);
        assert_non_null(strstr(f->refused[10 + i], "wrong password"));
        assert_true(f->closed[10 + i]);
    }
    r->password = SLICE("a secret");
    coordinator_message(f->core, f->now, 1, "127.0.0.1", &m);
    settle(f);
    assert_int_equal(f->welcomes[1], 1);
    stop(&f);
}

/* ---- life and death ---- */

static void test_default_timing_unhealthy_after_15_s_dead_after_30_s_and_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    for (int i = 0; i < 5; i++) { /* node 3 falls silent, the others go on */
        heartbeat(f, 1, 1);
        heartbeat(f, 2, 1);
        if (i == 0) {
            heartbeat(f, 3, 1);
        }
        tick(f, i < 2 ? 5000 : 4900);
        assert_int_equal(state_of(f, 3), i < 3 ? NODE_HEALTHY : NODE_UNHEALTHY);
        if (i == 2) {
            tick(f, 100); /* 15 s exactly */
            assert_int_equal(state_of(f, 3), NODE_UNHEALTHY);
            assert_int_equal(primaries_of(f, 3), 4); /* still serves */
        } else if (i > 2) {
            tick(f, 100);
        }
    }
    heartbeat(f, 1, 1);
    heartbeat(f, 2, 1);
    tick(f, 4900);
    assert_int_equal(state_of(f, 3), NODE_UNHEALTHY);
    tick(f, 100); /* 30 s exactly */
    assert_int_equal(state_of(f, 3), NODE_DEAD);
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    assert_int_equal(primaries_of(f, 3), 0); /* reassigned to replicas in sync */
    ask_out(f);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *k = &map_of(f)->shards[i];
        assert_int_not_equal(k->primary, NODE_NONE);
        int at = map_shard_member(k, index_of(f, 3));
        assert_true(at < 0 || !k->members[at].in_sync);
    }
    heartbeat(f, 3, 1); /* the same process: it was only paused */
    assert_int_equal(state_of(f, 3), NODE_HEALTHY);
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_a_refused_connection_is_proof_silence_is_not(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    int probes = f->probes;
    coordinator_suspect(f->core, f->now, id);
    coordinator_suspect(f->core, f->now, id); /* one probe at a time */
    assert_int_equal(f->probes, probes + 1);
    assert_string_equal(f->probed, id);
    coordinator_probed(f->core, f->now, id, PROBE_SILENT);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    tick(f, 200);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_OK);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    tick(f, 200);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    stop(&f);
}

static void test_a_lost_link_is_probed_at_once_and_again(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    int probes = f->probes;
    coordinator_link_down(f->core, f->now, 2);
    settle(f);
    assert_int_equal(f->probes, probes + 1);
    coordinator_probed(f->core, f->now, id, PROBE_OK); /* the port was not yet closed */
    tick(f, 300);
    assert_int_equal(f->probes, probes + 2);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    stop(&f);
}

static void test_a_probe_from_before_the_restart_does_not_kill_the_new_process(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_link_down(f->core, f->now, 2); /* probing */
    enlist(f, 2, 2, NULL);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_a_node_that_nobody_can_reach_stays_dead_though_it_speaks(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    int probes = f->probes;
    heartbeat(f, 2, 0);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    assert_int_equal(f->probes, probes + 1);
    coordinator_probed(f->core, f->now, id, PROBE_OK);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_when_the_coordinator_slept_nobody_dies_of_it(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->now += 3600 * 1000;
    coordinator_tick(f->core, f->now);
    settle(f);
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_heartbeats_shorter_than_a_tick_are_missed_all_the_same(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->settings.heartbeat_interval_ms = 100;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    tick(f, 300);
    assert_int_equal(state_of(f, 1), NODE_UNHEALTHY);
    tick(f, 300);
    assert_int_equal(state_of(f, 1), NODE_DEAD);
    stop(&f);
}

static void busy_heartbeat(struct fixture *f, int n, uint64_t ops)
{
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    m.heartbeat.ops = ops;
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

static void test_loads_are_told_in_percent_of_the_average(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    struct coordinator_load loads[4];
    busy_heartbeat(f, 1, 5);
    busy_heartbeat(f, 2, 0);
    assert_int_equal(coordinator_loads(f->core, loads, 4), 2);
    assert_in_range(loads[0].percent, 99, 101); /* next to nothing to do: alike */
    assert_in_range(loads[1].percent, 99, 101);
    busy_heartbeat(f, 1, 150000);
    busy_heartbeat(f, 2, 50000);
    assert_int_equal(coordinator_loads(f->core, loads, 4), 2);
    bool first = strcmp(loads[0].id, map_of(f)->nodes[index_of(f, 1)].id) == 0;
    assert_in_range(loads[first ? 0 : 1].percent, 145, 150);
    assert_in_range(loads[first ? 1 : 0].percent, 50, 55);
    busy_heartbeat(f, 2, 0);
    assert_int_equal(coordinator_loads(f->core, loads, 1), 1);
    stop(&f);
}

/* ---- restart, views ---- */

static void test_a_restarted_coordinator_knows_everything_that_was_decided(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    ask(f, "cluster rebalance pause");
    struct map *before = map_ref(coordinator_map(f->core));
    struct errmsg err;
    struct coordinator_env env = env_of(f);
    coordinator_free(&f->core);
    f->core = coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
    assert_non_null(f->core);
    int published = f->published;
    coordinator_start(f->core, f->now);
    assert_int_equal(f->published, published + 1);
    assert_int_equal(map_of(f)->epoch, before->epoch);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].primary, before->shards[i].primary);
    }
    ask(f, "proxy info");
    assert_answer_has(f, "paused=yes");
    tick(f, 200); /* nodes are not dead because we do not know them yet */
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    map_unref(&before);
    stop(&f);
}

static void test_a_damaged_decision_is_an_error(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    struct coordinator_env env = env_of(f);
    for (size_t i = 0; i < f->stored.len; i += 7) {
        struct errmsg err = {{0}};
        f->stored.ptr[i] ^= 1;
        struct coordinator *c =
            coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
        if (c != NULL) { /* the flags in front of the map are no secret: both values are right */
            assert_true(i < 24);
            coordinator_free(&c);
        } else {
            assert_non_null(strstr(err.text, "damaged"));
        }
        f->stored.ptr[i] ^= 1;
    }
    stop(&f);
}

static void test_views_are_lines_of_key_value_words(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    ask(f, "PROXY NODES");
    assert_answer_has(f, "*3\r\n");
    assert_answer_has(f, "addr=127.0.0.1:7001 state=healthy connected=yes heartbeat-ms=");
    assert_answer_has(f, "primary=4 replica=4 zone=- weight=100");
    ask(f, "proxy shards");
    assert_answer_has(f, "*12\r\n");
    assert_answer_has(f, "shard=0 slots=0-1365 primary=");
    assert_answer_has(f, "term=4 version=0 state=ok keys=0 bytes=0");
    assert_answer_has(f, ":active:");
    ask(f, "proxy info");
    assert_answer_has(f, "nodes=3 healthy=3 unhealthy=0 dead=0 draining=0");
    assert_answer_has(f, "shards=12 served=12 down=0 under-replicated=0 replication-factor=2");
    ask(f, "proxy help");
    assert_answer_has(f, "PROXY <subcommand>");
    ask(f, "cluster rebalance help");
    assert_answer_has(f, "CLUSTER REBALANCE");
    ask(f, "proxy nonsense");
    assert_answer_has(f, "-ERR unknown subcommand");
    ask(f, "proxy nodes extra");
    assert_answer_has(f, "-ERR wrong number of arguments for 'proxy|nodes' command");
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cluster_waits_for_enough_nodes_and_then_for_the_delay),
        cmocka_unit_test(test_a_node_that_leaves_before_the_assignment_starts_the_wait_again),
        cmocka_unit_test(test_proxies_learn_of_new_primaries_when_these_know_it_themselves),
        cmocka_unit_test(
            test_a_primary_that_does_not_confirm_keeps_a_map_from_proxies_for_a_moment),
        cmocka_unit_test(test_nothing_is_told_before_it_is_durable),
        cmocka_unit_test(test_a_map_is_repeated_until_it_is_confirmed),
        cmocka_unit_test(test_strangers_and_doubles_are_refused_with_the_reason),
        cmocka_unit_test(test_an_impossible_term_is_refused),
        cmocka_unit_test(test_who_is_refused_on_its_own_link_is_not_there_any_more),
        cmocka_unit_test(test_a_node_names_the_clusters_password),
        cmocka_unit_test(test_default_timing_unhealthy_after_15_s_dead_after_30_s_and_back),
        cmocka_unit_test(test_a_refused_connection_is_proof_silence_is_not),
        cmocka_unit_test(test_a_lost_link_is_probed_at_once_and_again),
        cmocka_unit_test(test_a_probe_from_before_the_restart_does_not_kill_the_new_process),
        cmocka_unit_test(test_a_node_that_nobody_can_reach_stays_dead_though_it_speaks),
        cmocka_unit_test(test_when_the_coordinator_slept_nobody_dies_of_it),
        cmocka_unit_test(test_heartbeats_shorter_than_a_tick_are_missed_all_the_same),
        cmocka_unit_test(test_loads_are_told_in_percent_of_the_average),
        cmocka_unit_test(test_a_restarted_coordinator_knows_everything_that_was_decided),
        cmocka_unit_test(test_a_damaged_decision_is_an_error),
        cmocka_unit_test(test_views_are_lines_of_key_value_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
