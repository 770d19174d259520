// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/node/repl/cluster.h"

static void test_replicas_catch_up_and_count(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1, 3);
    cluster_start(&c);
    run_for(&c, 1000000, 2);
    heal(&c);
    assert_true(c.n_acked > 2000);
    assert_true(c.reads_replica > 1000);
    assert_int_equal(map_shard_in_sync(&c.map->shards[0]), 3);
    cluster_fini(&c);
}

static void test_a_dead_replica_delays_writes_for_about_a_lease(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 2, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    kill_node(&c, 1);
    int64_t killed = c.now_us;
    struct node *p = &c.nodes[0];
    run_for(&c, STEP_US, 2);
    while (repl_commit(p->r, 0) != repl_version(p->r, 0)) {
        run_for(&c, STEP_US, 0);
        assert_true(c.now_us - killed < LEASE_US * 3 / 2);
    }
    assert_true(c.now_us - killed > LEASE_US / 2);
    assert_int_equal(map_shard_in_sync(&c.map->shards[0]), 1);
    /* It comes back empty and gets a copy. */
    fail_over(&c, 1, true);
    start_node(&c, 1, false);
    for (int i = 0; i < N_NODES; i++) {
        if (i != 1) {
            connect_nodes(&c, 1, i);
        }
    }
    run_for(&c, 300000, 2);
    heal(&c);
    assert_true(repl_stats(p->r)->copies_ended >= 1);
    cluster_fini(&c);
}

/* What copies may do in a turn is asked before each piece, at both ends; entries need no such time.
 */
static void test_copies_go_on_when_there_is_time(void **state)
{
    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        struct cluster c;
        cluster_init(&c, 6, 2);
        cluster_start(&c);
        run_for(&c, 500000, 1);
        kill_node(&c, 1);
        run_for(&c, 3 * LEASE_US, 1);
        fail_over(&c, 1, true);
        start_node(&c, 1, false);
        for (int i = 0; i < N_NODES; i++) {
            c.nodes[i].no_copy_time = (i == 1) == (busy == 1);
            if (i != 1) {
                connect_nodes(&c, 1, i);
            }
        }
        const struct repl_stats *target = repl_stats(c.nodes[1].r);
        uint64_t acked = c.n_acked;
        run_for(&c, 3000000, 2);
        assert_true(busy == 1 ? repl_taking(c.nodes[1].r) : repl_copying(c.nodes[0].r));
        assert_int_equal(target->copies_taken, 0);
        assert_true(c.n_acked > acked);
        for (int i = 0; i < N_NODES; i++) {
            c.nodes[i].no_copy_time = false;
        }
        run_for(&c, 300000, 2);
        heal(&c);
        assert_true(target->copies_taken > 0);
        cluster_fini(&c);
    }
}

static void test_what_was_missed_comes_from_the_backlog(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    uint64_t copies = repl_stats(c.nodes[0].r)->copies_begun;
    end_session(&c, 0, 1);
    end_session(&c, 1, 0);
    run_for(&c, 500000, 1);
    connect_nodes(&c, 0, 1);
    run_for(&c, 100000, 1);
    heal(&c);
    assert_int_equal(repl_stats(c.nodes[0].r)->copies_begun, copies);
    assert_true(repl_stats(c.nodes[0].r)->partial_syncs >= 1);
    cluster_fini(&c);
}

static void test_a_handover_is_short(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 4, 3);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    for (int i = 0; i < 6; i++) {
        int from = c.map->shards[0].primary;
        int to = c.map->shards[0].members[i % 3].node;
        if (from == to) {
            continue;
        }
        char id[NODE_ID_LEN + 1];
        node_id(to, id);
        repl_handover(c.nodes[from].r, 0, c.map->shards[0].primary_term, id, c.now_us);
        int64_t out = 0;
        while (c.map->shards[0].primary != to || repl_state(c.nodes[to].r, 0) != REPL_SERVE) {
            run_for(&c, STEP_US, 3);
            enum repl_state was = repl_state(c.nodes[from].r, 0);
            out += was == REPL_SERVE ? 0 : STEP_US;
            assert_true(out < 60000);
        }
        run_for(&c, 100000, 1);
    }
    heal(&c);
    cluster_fini(&c);
}

static void test_a_handover_that_is_not_recorded_ends_where_it_began(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 5, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    c.stop_coordinator = true;
    char id[NODE_ID_LEN + 1];
    node_id(1, id);
    repl_handover(c.nodes[0].r, 0, c.map->shards[0].primary_term, id, c.now_us);
    run_for(&c, 300000, 1);
    assert_int_equal(repl_state(c.nodes[0].r, 0), REPL_RESIGNED);
    c.n_requests = 0;
    c.stop_coordinator = false;
    int64_t before = c.now_us;
    while (repl_state(c.nodes[0].r, 0) != REPL_SERVE) {
        c.n_requests = 0;
        run_for(&c, STEP_US, 1);
        assert_true(c.now_us - before < 1500000);
    }
    uint64_t acked = c.n_acked;
    run_for(&c, 100000, 1);
    assert_true(c.n_acked > acked);
    cluster_fini(&c);
}

static void test_too_few_in_sync_refuses_writes(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 6, 2);
    c.settings.min_in_sync = 2;
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    assert_int_equal(repl_may_write(c.nodes[0].r, 0), REPL_YES);
    kill_node(&c, 1);
    run_for(&c, LEASE_US, 0);
    assert_int_equal(repl_may_write(c.nodes[0].r, 0), REPL_NOREPLICAS);
    cluster_fini(&c);
}

static void test_acknowledged_means_on_disk_under_always(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 7, 2);
    c.settings.durable = true;
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    struct node *p = &c.nodes[0];
    c.nodes[1].durable_lags = true; /* the replica's disk stands still for a moment */
    uint64_t version = repl_version(p->r, 0);
    write_some(&c, p, 0);
    run_for(&c, 50000, 0);
    assert_int_equal(repl_commit(p->r, 0), version);
    assert_int_equal(repl_version(c.nodes[1].r, 0), version + 1);
    c.nodes[1].durable_lags = false;
    run_for(&c, 50000, 0);
    assert_int_equal(repl_commit(p->r, 0), version + 1);
    assert_int_equal(repl_acked(p->r, 0, version + 1, true), 1);
    cluster_fini(&c);
}

static void test_what_waited_for_the_disk_is_committed_when_that_is_no_longer_asked(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 7, 1);
    c.settings.durable = true;
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    struct node *p = &c.nodes[0];
    p->durable_lags = true;
    uint64_t version = repl_version(p->r, 0);
    write_some(&c, p, 0);
    run_for(&c, 50000, 0);
    assert_int_equal(repl_version(p->r, 0), version + 1);
    assert_int_equal(repl_commit(p->r, 0), version);
    struct repl_settings set = *repl_get(p->r);
    set.durable = false;
    repl_set(p->r, &set, c.now_us);
    assert_int_equal(repl_commit(p->r, 0), version + 1);
    cluster_fini(&c);
}

static void test_modes_change_while_it_runs(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 8, 3);
    c.settings.mode = REPL_ASYNC;
    cluster_start(&c);
    run_for(&c, 300000, 2);
    heal(&c);
    c.settings.mode = REPL_SYNC;
    for (int i = 0; i < N_NODES; i++) {
        repl_set(c.nodes[i].r, &c.settings, c.now_us);
    }
    run_for(&c, 500000, 2);
    heal(&c);
    uint64_t reads = c.reads_replica;
    run_for(&c, 100000, 2);
    assert_true(c.reads_replica > reads);
    cluster_fini(&c);
}

static void test_reads_of_a_turn_that_took_too_long_wait_for_the_lease(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 10, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    run_for(&c, 50000, 0);
    for (int i = 0; i < 2; i++) { /* the primary, then the replica */
        struct repl *r = c.nodes[i].r;
        assert_int_equal(repl_may_read(r, 0, c.now_us), REPL_YES);
        assert_int_equal(repl_reads(r, c.now_us + 1000), REPL_READS_HOLD);
        assert_int_equal(repl_reads(r, c.now_us + LEASE_US), REPL_READS_UNSURE);
        step(&c);
        assert_int_equal(repl_reads(r, c.now_us), REPL_READS_UNSURE);
        run_for(&c, LEASE_US, 0);
        assert_int_equal(repl_reads(r, c.now_us), REPL_READS_HOLD);
    }
    /* Another one became primary meanwhile. */
    struct repl *r = c.nodes[0].r;
    assert_int_equal(repl_may_read(r, 0, c.now_us), REPL_YES);
    assert_int_equal(repl_reads(r, c.now_us + LEASE_US), REPL_READS_UNSURE);
    c.nodes[0].map_due_us = INT64_MAX;
    fail_over(&c, 0, false);
    for (int64_t end = c.now_us + 2 * LEASE_US; c.now_us < end;) {
        step(&c);
        assert_int_not_equal(repl_reads(r, c.now_us), REPL_READS_HOLD);
        if (repl_state(r, 0) == REPL_RESIGNED) {
            break;
        }
    }
    assert_int_equal(repl_state(r, 0), REPL_RESIGNED);
    cluster_fini(&c);
}

static void take_entry(void *arg, const struct entry *e)
{
    uint64_t *sum = arg;
    *sum += e->number;
}

static void test_the_fate_of_writes_is_known_after_a_failover(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 9, 2);
    c.settings.backlog_max = (size_t)16 << 20;
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    struct node *p = &c.nodes[0];
    for (uint64_t n = 1; n <= 10; n++) {
        struct entry e = {.shard = 0, .lane = 99, .number = n, .reply = SLICE("+OK\r\n")};
        repl_append(p->r, &e, c.now_us);
    }
    run_for(&c, 50000, 0);
    kill_node(&c, 0);
    fail_over(&c, 0, false);
    while (repl_state(c.nodes[1].r, 0) != REPL_SERVE) {
        run_for(&c, STEP_US, 0);
    }
    struct repl_fate fate;
    uint64_t sum = 0;
    struct repl_question q = {.shard = 0, .lane = 99, .from = 4, .age_us = 1000000};
    while (repl_fate(c.nodes[1].r, &q, c.now_us, take_entry, &sum, &fate) != REPL_YES) {
        run_for(&c, STEP_US, 0);
    }
    assert_int_equal(sum, 4 + 5 + 6 + 7 + 8 + 9 + 10);
    assert_true(fate.complete);
    cluster_fini(&c);
}

/* What the network still holds of it must not be executed by whoever becomes primary again. */
static void test_a_lane_that_was_told_of_has_ended_everywhere(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 10, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    struct repl *r = c.nodes[0].r;
    struct repl_fate fate;
    uint64_t sum = 0;
    struct repl_question q = {.shard = 0, .lane = 99, .from = 1, .age_us = 1000};
    assert_int_equal(repl_fate(r, &q, c.now_us, take_entry, &sum, &fate), REPL_YES);
    assert_int_equal(sum, 0);
    assert_int_equal(c.nodes[0].lane_ended, 99);
    assert_int_equal(fate.barrier, repl_version(r, 0)); /* not told before it is committed */
    assert_true(fate.barrier > repl_commit(r, 0));
    assert_int_equal(repl_fate(r, &q, c.now_us, take_entry, &sum, &fate), REPL_YES);
    assert_int_equal(fate.barrier, repl_version(r, 0)); /* no second entry */
    assert_int_equal(c.nodes[1].lane_ended, 0);
    run_for(&c, 50000, 0);
    assert_true(repl_commit(r, 0) >= fate.barrier);
    assert_int_equal(c.nodes[1].lane_ended, 99);

    /* Also where the entry does not come any more. */
    run_for(&c, 3000000, 4);
    kill_node(&c, 1);
    fail_over(&c, 1, true);
    run_for(&c, 500000, 4);
    assert_true(backlog_first(repl_backlog(r), 0) > fate.barrier);
    start_node(&c, 1, false);
    c.nodes[1].lane_ended = 0;
    connect_nodes(&c, 0, 1);
    connect_nodes(&c, 1, 2);
    heal(&c);
    assert_true(repl_stats(r)->copies_ended > 0);
    assert_int_equal(c.nodes[1].lane_ended, 99);
    cluster_fini(&c);
}

static void test_a_restarted_member_can_tell_of_what_was_before(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 11, 2);
    c.settings.backlog_max = (size_t)16 << 20;
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    for (uint64_t n = 1; n <= 10; n++) {
        struct entry e = {.shard = 0, .lane = 99, .number = n, .reply = SLICE("+OK\r\n")};
        repl_append(c.nodes[0].r, &e, c.now_us);
    }
    run_for(&c, 50000, 0);
    struct history h = *repl_history(c.nodes[1].r, 0);
    struct data data = c.nodes[1].data[0];
    assert_int_equal(h.version, repl_version(c.nodes[0].r, 0));
    kill_node(&c, 1);
    fail_over(&c, 1, true);
    run_for(&c, 50000, 0);
    start_node(&c, 1, false);
    c.nodes[1].data[0] = data;
    struct repl_found found = {.history = h, .since_us = INT64_MAX};
    repl_recovered(c.nodes[1].r, 0, &found, c.now_us);
    connect_nodes(&c, 0, 1);
    connect_nodes(&c, 1, 2);
    heal(&c);
    kill_node(&c, 0);
    fail_over(&c, 0, false);
    struct repl_fate fate;
    uint64_t sum = 0;
    struct repl_question q = {.shard = 0, .lane = 99, .from = 4, .age_us = 3000000};
    while (repl_fate(c.nodes[1].r, &q, c.now_us, take_entry, &sum, &fate) != REPL_YES) {
        run_for(&c, STEP_US, 0);
    }
    assert_int_equal(sum, 4 + 5 + 6 + 7 + 8 + 9 + 10);
    assert_true(fate.complete);
    cluster_fini(&c);
}

/* Three maps: node 1 is out of the set of shard 0; it is no member; it is one again. */
static void make_maps(const struct cluster *c, struct map *maps[3])
{
    for (int i = 0; i < 3; i++) {
        maps[i] = map_build_from(i == 0 ? c->map : maps[i - 1]);
        maps[i]->epoch = c->map->epoch + 1 + (uint64_t)i;
        struct map_shard *s = &maps[i]->shards[0];
        if (i == 0) {
            map_build_set_in_sync(s, 1, false);
        } else if (i == 1) {
            map_build_drop_member(s, 1);
        } else {
            assert_true(map_build_add_member(s, 1));
        }
    }
}

static void take_map(struct cluster *c, int node, struct map *m)
{
    repl_map(c->nodes[node].r, m, c->now_us);
}

/* The coordinator records nothing, and primary and member have come as far as the first map. */
static void begin_with_maps(struct cluster *c, uint64_t seed, struct map *maps[3])
{
    cluster_init(c, seed, 2);
    cluster_start(c);
    run_for(c, 500000, 1);
    heal(c);
    assert_int_equal(c->map->shards[0].primary, 0);
    make_maps(c, maps);
    c->stop_coordinator = true;
    c->wires[1][0].blocked = true; /* it is heard of no more, so not asked for again */
    map_unref(&c->map);
    c->map = map_ref(maps[0]);
    take_map(c, 0, maps[0]);
    take_map(c, 1, maps[0]);
    run_for(c, 2 * LEASE_US, 1);
}

static void end_with_maps(struct cluster *c, struct map *maps[3])
{
    map_unref(&c->map);
    c->map = map_ref(maps[2]);
    for (int i = 0; i < 3; i++) {
        map_unref(&maps[i]);
    }
    c->stop_coordinator = false;
    run_for(c, LEASE_US, 1);
    heal(c);
    cluster_fini(c);
}

/* It follows whom its primary is about to drop: the maps by which it goes and comes again reach the
 * primary behind its JOIN. */
static void test_a_member_that_knows_newer_maps_than_its_primary(void **state)
{
    (void)state;
    struct cluster c;
    struct map *maps[3];
    begin_with_maps(&c, 9, maps);
    take_map(&c, 1, maps[1]);
    take_map(&c, 1, maps[2]);
    c.wires[1][0].blocked = false;
    run_for(&c, LEASE_US, 0);
    take_map(&c, 0, maps[1]);
    take_map(&c, 0, maps[2]);
    end_with_maps(&c, maps);
}

/* And the other way round: it would drop what it has when it hears that it was no member, though it
 * is one again, so what it has does not count before. */
static void test_a_member_that_knows_older_maps_than_its_primary(void **state)
{
    (void)state;
    struct cluster c;
    struct map *maps[3];
    begin_with_maps(&c, 10, maps);
    take_map(&c, 0, maps[1]);
    take_map(&c, 0, maps[2]);
    c.wires[1][0].blocked = false;
    run_for(&c, 2 * LEASE_US, 1);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_MEMBER_JOIN);
    take_map(&c, 1, maps[1]);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_NONE);
    take_map(&c, 1, maps[2]);
    end_with_maps(&c, maps);
}

/* Its primary hears of the last map alone: what it has counted for nothing since the one between.
 */
static void test_a_member_that_went_and_came_between_two_maps_of_its_primary(void **state)
{
    (void)state;
    struct cluster c;
    struct map *maps[3];
    begin_with_maps(&c, 11, maps);
    c.wires[1][0].blocked = false;
    run_for(&c, LEASE_US, 1);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_FOLLOW);
    take_map(&c, 0, maps[2]);
    run_for(&c, LEASE_US, 1);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_MEMBER_JOIN);
    take_map(&c, 1, maps[1]);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_NONE);
    take_map(&c, 1, maps[2]);
    end_with_maps(&c, maps);
}

/* Node 1 is told that it is primary when the other one has joined it and left it again: that JOIN
 * is worth nothing, though promises go on coming. */
static void test_a_join_that_was_taken_back_before_its_map_came(void **state)
{
    (void)state;
    struct cluster c;
    struct map *maps[2];
    cluster_init(&c, 12, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    heal(&c);
    assert_int_equal(c.map->shards[0].primary, 0);
    c.stop_coordinator = true;
    for (int i = 0; i < 2; i++) {
        maps[i] = map_build_from(i == 0 ? c.map : maps[0]);
        maps[i]->epoch++;
        map_build_set_primary(&maps[i]->shards[0], 1 - i);
        take_map(&c, 0, maps[i]);
        run_for(&c, 2 * LEASE_US, 0);
    }
    take_map(&c, 1, maps[0]);
    run_for(&c, 4 * LEASE_US, 0);
    assert_int_equal(repl_state(c.nodes[1].r, 0), REPL_RECOVER);
    take_map(&c, 1, maps[1]);
    map_unref(&c.map);
    c.map = map_ref(maps[1]);
    map_unref(&maps[0]);
    map_unref(&maps[1]);
    c.stop_coordinator = false;
    run_for(&c, LEASE_US, 1);
    heal(&c);
    cluster_fini(&c);
}

static int times_said(const struct cluster *c, enum repl_report what, int shard, int from)
{
    int n = 0;
    for (int i = 0; i < c->n_requests; i++) {
        n += c->requests[i].what == what && c->requests[i].shard == shard &&
             c->requests[i].from == from;
    }
    return n;
}

/* The coordinator believes that it has what it had before its copy began. */
static void test_who_dropped_its_data_for_a_copy_does_not_serve(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 13, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    kill_node(&c, 1);
    run_for(&c, 3 * LEASE_US, 1);
    fail_over(&c, 1, true);
    c.nodes[0].no_copy_time = true;
    start_node(&c, 1, false);
    connect_nodes(&c, 1, 0);
    run_for(&c, 10 * LEASE_US, 1);
    int shard = 0;
    while (repl_state(c.nodes[1].r, shard) != REPL_COPY) {
        shard++;
        assert_true(shard < N_SHARDS);
    }
    c.stop_coordinator = true;
    c.n_requests = 0;
    struct map *m = map_build_from(c.map);
    m->epoch++;
    for (int i = 0; i < 3; i++) {
        if (i != 1 && map_shard_member(&m->shards[shard], i) >= 0) {
            map_build_no_primary(&m->shards[shard]);
            map_build_set_in_sync(&m->shards[shard], i, false);
        }
    }
    map_build_set_primary(&m->shards[shard], 1);
    take_map(&c, 1, m);
    run_for(&c, 3 * LEASE_US, 0);
    assert_int_equal(repl_state(c.nodes[1].r, shard), REPL_RECOVER);
    assert_true(times_said(&c, REPL_HOLLOW, shard, 1) > 0);
    map_unref(&m);
    cluster_fini(&c);
}

/* It may lack what others have: it neither serves nor makes them drop anything until its word that
 * it is whole is recorded. */
static void test_a_primary_by_guess_waits_for_its_record(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 14, 2);
    cluster_start(&c);
    run_for(&c, 500000, 1);
    int shard = 0;
    while (c.map->shards[shard].primary == 1 || map_shard_member(&c.map->shards[shard], 1) < 0) {
        shard++;
        assert_true(shard < N_SHARDS);
    }
    int other = c.map->shards[shard].primary;
    c.stop_coordinator = true;
    c.n_requests = 0;
    struct map *m = map_build_from(c.map);
    m->epoch++;
    map_build_no_primary(&m->shards[shard]);
    map_build_set_stale(&m->shards[shard], other);
    map_build_set_stale(&m->shards[shard], 1);
    map_build_guess_primary(&m->shards[shard], 1);
    assert_null(map_check_next(c.map, m));
    take_map(&c, 1, m);
    take_map(&c, other, m);
    run_for(&c, 5 * LEASE_US, 0);
    assert_int_equal(repl_state(c.nodes[1].r, shard), REPL_RECOVER);
    assert_int_equal(repl_state(c.nodes[other].r, shard), REPL_MEMBER_JOIN);
    assert_true(times_said(&c, REPL_WHOLE, shard, 1) > 1);
    assert_int_equal(times_said(&c, REPL_REMOVE, shard, 1), 0);
    struct map *next = map_build_from(m);
    next->epoch++;
    map_build_trust_primary(&next->shards[shard]);
    assert_null(map_check_next(m, next));
    assert_int_equal(map_shard_in_sync(&next->shards[shard]), 1);
    take_map(&c, 1, next);
    take_map(&c, other, next);
    run_for(&c, 5 * LEASE_US, 0);
    assert_int_equal(repl_state(c.nodes[1].r, shard), REPL_SERVE);
    assert_int_equal(repl_state(c.nodes[other].r, shard), REPL_FOLLOW);
    assert_int_equal(times_said(&c, REPL_HOLLOW, shard, 1), 0);
    map_unref(&next);
    map_unref(&m);
    cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicas_catch_up_and_count),
        cmocka_unit_test(test_a_dead_replica_delays_writes_for_about_a_lease),
        cmocka_unit_test(test_copies_go_on_when_there_is_time),
        cmocka_unit_test(test_a_member_that_knows_newer_maps_than_its_primary),
        cmocka_unit_test(test_a_member_that_knows_older_maps_than_its_primary),
        cmocka_unit_test(test_a_join_that_was_taken_back_before_its_map_came),
        cmocka_unit_test(test_a_member_that_went_and_came_between_two_maps_of_its_primary),
        cmocka_unit_test(test_who_dropped_its_data_for_a_copy_does_not_serve),
        cmocka_unit_test(test_a_primary_by_guess_waits_for_its_record),
        cmocka_unit_test(test_what_was_missed_comes_from_the_backlog),
        cmocka_unit_test(test_a_handover_is_short),
        cmocka_unit_test(test_a_handover_that_is_not_recorded_ends_where_it_began),
        cmocka_unit_test(test_too_few_in_sync_refuses_writes),
        cmocka_unit_test(test_acknowledged_means_on_disk_under_always),
        cmocka_unit_test(test_what_waited_for_the_disk_is_committed_when_that_is_no_longer_asked),
        cmocka_unit_test(test_modes_change_while_it_runs),
        cmocka_unit_test(test_reads_of_a_turn_that_took_too_long_wait_for_the_lease),
        cmocka_unit_test(test_the_fate_of_writes_is_known_after_a_failover),
        cmocka_unit_test(test_a_lane_that_was_told_of_has_ended_everywhere),
        cmocka_unit_test(test_a_restarted_member_can_tell_of_what_was_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
