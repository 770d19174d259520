// SPDX-License-Identifier: BSD-3-Clause
/* Who follows a primary, and who counts as in sync. */
#include "tests/unit/proxy/coordinator/fixture.h"

/* ---- failover: docs/REPLICATION.md, section 8 ---- */

static void test_a_dead_primarys_shards_go_to_replicas_in_sync_in_one_record(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    struct map *before = map_ref(coordinator_map(f->core));
    int gone = index_of(f, 2);
    refuse_probe(f, 2);
    assert_int_equal(map_of(f)->epoch, before->epoch + 1);
    int taken = 0;
    for (int i = 0; i < 12; i++) {
        const struct map_shard *was = &before->shards[i];
        const struct map_shard *is = &map_of(f)->shards[i];
        int at = map_shard_member(is, gone);
        if (was->primary == gone) {
            int heir = was->members[0].node == gone ? was->members[1].node : was->members[0].node;
            assert_int_equal(is->primary, heir);
            assert_int_equal(is->primary_term, is->term);
            assert_true(is->term > was->term);
            taken++;
        } else {
            assert_int_equal(is->primary, was->primary);
            assert_int_equal(is->primary_term, was->primary_term);
        }
        /* As replica it is out; as former primary when its heir shows that it lives. */
        assert_true(at < 0 || is->members[at].in_sync == (was->primary == gone));
    }
    ask_out(f);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *is = &map_of(f)->shards[i];
        assert_int_equal(map_shard_in_sync(is), map_shard_member(is, gone) < 0 ? 2 : 1);
    }
    assert_int_equal(taken, 4);
    assert_in_range(primaries_of(f, 1), 5, 7);
    assert_in_range(primaries_of(f, 3), 5, 7); /* both take some */
    map_unref(&before);
    stop(&f);
}

static void test_a_shard_waits_for_the_last_node_that_is_in_sync(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    report(f, 2, WIRE_REMOVE, shard, s->term, replica);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    refuse_probe(f, 2);
    s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, NODE_NONE); /* the replica may lack acknowledged writes */
    assert_int_equal(map_shard_in_sync(s), 1);
    uint64_t term = s->primary_term;
    coordinator_link_down(f->core, f->now, 2);
    enlist_as(f, 2, 1, false, NULL); /* the same process after all */
    s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, index_of(f, 2));
    assert_true(s->primary_term > term);
    stop(&f);
}

static void test_a_restarted_primary_is_followed_by_a_replica_and_comes_back_syncing(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        struct fixture *f = start_with(3);
        int shard = shard_of(f, 2, true);
        int replica = shard_of(f, 2, false);
        uint64_t term = map_of(f)->shards[replica].term;
        enlist_as(f, 2, 2, durable != 0, NULL); /* before anybody noticed */
        const struct map_shard *s = &map_of(f)->shards[shard];
        assert_int_not_equal(s->primary, NODE_NONE);
        assert_int_not_equal(s->primary, index_of(f, 2));
        assert_false(s->members[map_shard_member(s, index_of(f, 2))].in_sync);
        s = &map_of(f)->shards[replica];
        assert_true(s->term > term);
        assert_int_equal(s->members[map_shard_member(s, index_of(f, 2))].in_sync, durable);
        work(f, 3, 40);
        assert_int_equal(primaries_of(f, 2), 4);
        stop(&f);
    }
}

static void test_an_add_from_before_a_restart_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, false);
    int primary = number_of(f, map_of(f)->shards[shard].primary);
    report(f, primary, WIRE_REMOVE, shard, map_of(f)->shards[shard].term, 2);
    uint64_t term = map_of(f)->shards[shard].term;
    enlist(f, 2, 2, NULL);
    report(f, primary, WIRE_ADD, shard, term, 2); /* of what the former process had */
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    report(f, primary, WIRE_ADD, shard, map_of(f)->shards[shard].term, 2);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 2);
    stop(&f);
}

static void test_reports_count_only_from_the_primary_and_under_their_term(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    uint64_t epoch = map_of(f)->epoch;
    report(f, 1, WIRE_REMOVE, shard, s->term - 1, replica);
    report(f, 1, WIRE_REMOVE, shard, s->term + 1, replica);
    report(f, replica, WIRE_REMOVE, shard, s->term, 1);
    report(f, 1, WIRE_REMOVE, shard, s->term, 1);    /* the primary itself stays */
    report(f, 1, WIRE_ADD, shard, s->term, replica); /* it is already */
    report(f, 1, WIRE_ADD, shard, s->term, 9);       /* nobody */
    report(f, 1, WIRE_REMOVE, 4000, s->term, replica);
    report(f, 1, WIRE_HANDED, shard, s->primary_term + 1, replica);
    report(f, replica, WIRE_HANDED, shard, s->primary_term, replica);
    assert_int_equal(map_of(f)->epoch, epoch);
    report(f, 1, WIRE_REMOVE, shard, s->term, replica);
    assert_int_equal(map_of(f)->epoch, epoch + 1);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    report(f, 1, WIRE_HANDED, shard, map_of(f)->shards[shard].primary_term, replica);
    assert_int_equal(map_of(f)->shards[shard].primary, index_of(f, 1)); /* not in sync */
    stop(&f);
}

static void test_when_all_in_sync_restarted_the_best_copy_serves_once_they_are_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    coordinator_link_down(f->core, f->now, 1);
    coordinator_link_down(f->core, f->now, 2);
    f->warning[0] = '\0';
    struct wire_shards held[2] = {{0}, {0}};
    for (int i = 0; i < 12; i++) {
        wire_shards_add(&held[0], (struct wire_shard){.shard = i, .term = 3, .version = 100});
        wire_shards_add(&held[1],
                        (struct wire_shard){.shard = i, .term = 3, .version = i < 6 ? 99 : 101});
    }
    enlist(f, 1, 2, &held[0]);
    for (int i = 0; i < 12; i++) { /* node 2 has not restarted, as far as we know */
        assert_int_not_equal(map_of(f)->shards[i].primary, index_of(f, 1));
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    enlist(f, 2, 2, &held[1]);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        assert_int_equal(s->primary, index_of(f, i < 6 ? 1 : 2));
        assert_false(map_shard_has_primary(s)); /* by guess: it has not said so yet */
    }
    assert_non_null(strstr(f->warning, "every node in sync restarted"));
    report(f, 1, WIRE_WHOLE, 0, map_of(f)->shards[0].primary_term - 1, 1); /* of another term */
    report(f, 2, WIRE_WHOLE, 0, map_of(f)->shards[0].primary_term, 2);     /* is no primary */
    assert_false(map_shard_has_primary(&map_of(f)->shards[0]));
    vouch(f, 1);
    vouch(f, 2);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        assert_int_equal(s->primary, index_of(f, i < 6 ? 1 : 2));
        assert_true(map_shard_has_primary(s));
        assert_int_equal(map_shard_in_sync(s), 1);
    }
    work(f, 2, 5);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    mem_free(held[0].items);
    mem_free(held[1].items);
    stop(&f);
}

static void test_a_primary_that_has_nothing_after_all_gives_way(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    coordinator_link_down(f->core, f->now, 1);
    coordinator_link_down(f->core, f->now, 2);
    struct wire_shards held[2] = {{0}, {0}};
    for (int i = 0; i < 12; i++) {
        wire_shards_add(&held[0], (struct wire_shard){.shard = i, .term = 3, .version = 100});
        wire_shards_add(&held[1], (struct wire_shard){.shard = i, .term = 3, .version = 101});
    }
    enlist(f, 1, 2, &held[0]);
    enlist(f, 2, 2, &held[1]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(map_of(f)->shards[i].primary, index_of(f, 2));
    }
    report(f, 2, WIRE_HOLLOW, 1, map_of(f)->shards[1].primary_term - 1, 2); /* of another term */
    report(f, 1, WIRE_HOLLOW, 2, map_of(f)->shards[2].primary_term, 1);     /* is no primary */
    assert_int_equal(map_of(f)->shards[1].primary, index_of(f, 2));
    assert_int_equal(map_of(f)->shards[2].primary, index_of(f, 2));
    report(f, 2, WIRE_HOLLOW, 0, map_of(f)->shards[0].primary_term, 2);
    const struct map_shard *s = &map_of(f)->shards[0];
    assert_int_equal(s->primary, index_of(f, 1));
    /* That has nothing either: whoever comes back with something is waited for. */
    report(f, 1, WIRE_HOLLOW, 0, s->primary_term, 1);
    assert_int_equal(map_of(f)->shards[0].primary, NODE_NONE);
    coordinator_link_down(f->core, f->now, 2);
    enlist(f, 2, 3, &held[1]);
    assert_int_equal(map_of(f)->shards[0].primary, index_of(f, 2));
    mem_free(held[0].items);
    mem_free(held[1].items);
    stop(&f);
}

static void test_who_restarts_stays_in_the_set_until_its_primary_is_known_to_be_there(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    int replica = number_of(f, map_of(f)->shards[shard].members[0].node);
    replica = replica == 1 ? number_of(f, map_of(f)->shards[shard].members[1].node) : replica;
    coordinator_link_down(f->core, f->now, 1); /* has it lost its data, too? */
    enlist(f, replica, 2, NULL);
    const struct map_shard *s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, index_of(f, 1));
    assert_int_equal(map_shard_in_sync(s), 2);
    assert_true(s->members[map_shard_member(s, index_of(f, replica))].stale);
    enlist(f, 1, 1, NULL); /* no */
    s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, index_of(f, 1));
    assert_int_equal(map_shard_in_sync(s), 1);
    assert_false(s->members[map_shard_member(s, index_of(f, replica))].in_sync);
    stop(&f);
}

/* Whatever the one that was guessed may ask for, and whether it stays: the others keep what they
 * have, and the set stays as it was. */
static void test_a_guess_changes_nothing_until_it_is_confirmed(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    report(f, 1, WIRE_REMOVE, 0, map_of(f)->shards[0].term, 2); /* one of them is its primary */
    report(f, 2, WIRE_REMOVE, 0, map_of(f)->shards[0].term, 1);
    const struct map_shard *s = &map_of(f)->shards[0];
    assert_int_equal(map_shard_in_sync(s), 1);
    int had = number_of(f, s->primary);
    int other = 3 - had;
    struct wire_shards held[2] = {{0}, {0}}; /* the other one had more, as it seems */
    wire_shards_add(&held[had - 1], (struct wire_shard){.shard = 0, .term = 3, .version = 100});
    wire_shards_add(&held[other - 1], (struct wire_shard){.shard = 0, .term = 3, .version = 101});
    for (int life = 2; life < 6; life++) {
        coordinator_link_down(f->core, f->now, (uint64_t)other);
        enlist(f, other, life, &held[other - 1]);
        coordinator_link_down(f->core, f->now, (uint64_t)had);
        enlist(f, had, life, &held[had - 1]);
        s = &map_of(f)->shards[0];
        assert_int_equal(s->primary, index_of(f, other));
        report(f, other, WIRE_REMOVE, 0, s->term, had);
        report(f, other, WIRE_HANDED, 0, s->primary_term, had);
        enlist(f, 3, life, NULL); /* somebody who could take over */
        catch_up(f);
        tick(f, 200);
        s = &map_of(f)->shards[0];
        assert_int_equal(s->primary, index_of(f, other));
        assert_int_equal(s->n_members, 2);
        assert_false(s->members[map_shard_member(s, index_of(f, other))].in_sync);
        assert_true(s->members[map_shard_member(s, index_of(f, had))].in_sync);
    }
    refuse_probe(f, other); /* what that found is from before it registered */
    refuse_probe(f, other); /* who was guessed goes: who had it is there */
    s = &map_of(f)->shards[0];
    assert_int_equal(s->primary, index_of(f, had));
    vouch(f, had);
    s = &map_of(f)->shards[0];
    assert_true(map_shard_has_primary(s));
    assert_int_equal(map_shard_in_sync(s), 1);
    mem_free(held[0].items);
    mem_free(held[1].items);
    stop(&f);
}

static void test_a_single_copy_that_restarted_serves_again_in_a_new_primary_term(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    enlist(f, 1, 1, NULL);
    tick(f, 3000);
    assert_int_equal(primaries_of(f, 1), 12);
    uint64_t term = map_of(f)->shards[0].primary_term;
    f->warning[0] = '\0';
    enlist_as(f, 1, 2, true, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    assert_true(map_of(f)->shards[0].primary_term > term);
    assert_string_equal(f->warning, ""); /* durable: nothing is in doubt */
    term = map_of(f)->shards[0].primary_term;
    enlist(f, 1, 3, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    assert_true(map_of(f)->shards[0].primary_term > term);
    assert_non_null(strstr(f->warning, "restarted"));
    stop(&f);
}

static void test_a_durable_member_of_a_set_that_is_down_need_not_wait_for_the_others(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    coordinator_link_down(f->core, f->now, 1);
    coordinator_link_down(f->core, f->now, 2);
    refuse_probe(f, 1); /* node 2 is not connected: nobody can take over */
    refuse_probe(f, 2);
    assert_int_equal(primaries_of(f, 1) + primaries_of(f, 2), 0);
    enlist_as(f, 1, 2, true, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    stop(&f);
}

static void test_takeover_gives_up_what_only_a_dead_node_has(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char text[128];
    int shard = shard_of(f, 3, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    wire_shards_add(&m.heartbeat.held,
                    (struct wire_shard){.shard = shard, .term = 3, .version = 7, .keys = 5});
    coordinator_message(f->core, f->now, (uint64_t)replica, "127.0.0.1", &m);
    wire_message_fini(&m);
    report(f, 3, WIRE_REMOVE, shard, s->term, replica);
    (void)snprintf(text, sizeof(text), "cluster failover %040x takeover", 3);
    ask(f, text);
    assert_answer_has(f, "-ERR No shard waits for the node");
    refuse_probe(f, 3);
    coordinator_link_down(f->core, f->now, 3);
    assert_int_equal(map_of(f)->shards[shard].primary, NODE_NONE);
    (void)snprintf(text, sizeof(text), "cluster forget %040x", 3);
    ask(f, text);
    assert_answer_has(f, "-ERR The dead node has what 1 shards wait for");
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 3);
    ask(f, text);
    assert_answer_has(f, "-NOREPLICAS The node is dead");
    (void)snprintf(text, sizeof(text), "cluster failover %040x takeover", 3);
    ask(f, text);
    assert_answer_has(f, "+OK shards=1 served=1 empty=0");
    assert_int_equal(map_of(f)->shards[shard].primary, index_of(f, replica));
    (void)snprintf(text, sizeof(text), "cluster forget %040x", 3);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

static void test_the_time_of_a_failover_is_measured_to_the_new_primarys_word(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, true);
    coordinator_link_down(f->core, f->now, 2); /* first sign */
    f->now += 30;
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    f->now += 970;
    const struct map_shard *s = &map_of(f)->shards[shard];
    report(f, number_of(f, s->primary), WIRE_SERVING, shard, s->primary_term,
           number_of(f, s->primary));
    ask(f, "proxy info");
    assert_answer_has(f, "failovers=4 failover-last-ms=1000 failover-max-ms=1000");
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dead_primarys_shards_go_to_replicas_in_sync_in_one_record),
        cmocka_unit_test(test_a_shard_waits_for_the_last_node_that_is_in_sync),
        cmocka_unit_test(test_a_restarted_primary_is_followed_by_a_replica_and_comes_back_syncing),
        cmocka_unit_test(test_an_add_from_before_a_restart_counts_for_nothing),
        cmocka_unit_test(test_reports_count_only_from_the_primary_and_under_their_term),
        cmocka_unit_test(test_when_all_in_sync_restarted_the_best_copy_serves_once_they_are_back),
        cmocka_unit_test(test_a_primary_that_has_nothing_after_all_gives_way),
        cmocka_unit_test(test_a_guess_changes_nothing_until_it_is_confirmed),
        cmocka_unit_test(test_who_restarts_stays_in_the_set_until_its_primary_is_known_to_be_there),
        cmocka_unit_test(test_a_single_copy_that_restarted_serves_again_in_a_new_primary_term),
        cmocka_unit_test(test_a_durable_member_of_a_set_that_is_down_need_not_wait_for_the_others),
        cmocka_unit_test(test_takeover_gives_up_what_only_a_dead_node_has),
        cmocka_unit_test(test_the_time_of_a_failover_is_measured_to_the_new_primarys_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
