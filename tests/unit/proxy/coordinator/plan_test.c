// SPDX-License-Identifier: BSD-3-Clause
/* Properties of the planner over thousands of random clusters; each prints its seed when it fails:
 * SHOAL_SEED=n runs them from that one. */
#include "proxy/coordinator/plan.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CLUSTER "00000000000000000000000000000000000000c1"

static uint64_t seed_of(uint64_t fallback)
{
    const char *given = getenv("SHOAL_SEED");
    return given == NULL ? fallback : strtoull(given, NULL, 10);
}

static int add_node(struct map *m, unsigned number, uint32_t weight, int zone)
{
    struct map_node n = {.port = 7000 + (int)number, .weight = weight, .incarnation = 1};
    (void)snprintf(n.id, sizeof(n.id), "%040x", number + 1);
    (void)snprintf(n.host, sizeof(n.host), "127.0.0.1");
    if (zone >= 0) {
        (void)snprintf(n.zone, sizeof(n.zone), "z%d", zone);
    }
    return map_build_add_node(m, &n);
}

/* The map as it will be when the plan is carried out. */
static void apply(struct map *m, const struct plan *p)
{
    m->assigned = true;
    m->epoch++;
    for (int i = 0; i < m->n_shards; i++) {
        struct map_shard *s = &m->shards[i];
        const struct plan_shard *to = &p->shards[i];
        if (to->home == NODE_NONE || m->nodes[to->home].state == NODE_DEAD) {
            continue;
        }
        assert_true(map_build_add_member(s, to->home));
        if (s->primary != to->home) {
            map_build_set_primary(s, to->home);
        }
        for (int j = s->n_members - 1; j >= 0; j--) {
            if (s->members[j].node != to->home) {
                map_build_drop_member(s, s->members[j].node);
            }
        }
        for (int j = 0; j < to->n_replicas; j++) {
            assert_true(map_build_add_member(s, to->replicas[j]));
        }
    }
    const char *wrong = map_check(m);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

static struct plan *plan(const struct map *m, int factor, bool rebalance)
{
    struct plan_input in = {.map = m, .replication_factor = factor, .rebalance = rebalance};
    return plan_new(&in);
}

static void plan_and_apply(struct map *m, int factor)
{
    struct plan *p = plan(m, factor, true);
    apply(m, p);
    plan_free(&p);
}

static int compare_down(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

/* The fewest primaries that must move so that equal nodes are even, counted another way than the
 * planner's: the fullest nodes are the ones that may keep one more. */
static int fewest_moves(const struct map *m)
{
    int has[64] = {0};
    int n = 0;
    int moves = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        if (plan_takes(&m->nodes[i])) {
            has[n++] = map_node_primaries(m, i);
        } else {
            moves += map_node_primaries(m, i);
        }
    }
    qsort(has, (size_t)n, sizeof(has[0]), compare_down);
    for (int i = 0; i < n; i++) {
        moves += MAX(0, has[i] - (m->n_shards / n + (i < m->n_shards % n)));
    }
    return moves;
}

static void assert_even(const struct map *m, int factor)
{
    int low = m->n_shards;
    int high = 0;
    int low_copies = SLOTS;
    int high_copies = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        int primaries = map_node_primaries(m, i);
        int copies = primaries + map_node_replicas(m, i);
        if (!plan_takes(&m->nodes[i])) {
            assert_int_equal(copies, 0);
            continue;
        }
        low = MIN(low, primaries);
        high = MAX(high, primaries);
        low_copies = MIN(low_copies, copies);
        high_copies = MAX(high_copies, copies);
    }
    assert_in_range(high - low, 0, 1);
    assert_in_range(high_copies - low_copies, 0, 1);
    for (int i = 0; i < m->n_shards; i++) {
        assert_true(m->shards[i].n_members <= factor);
    }
}

static void test_1_2_3_5_8_nodes_in_any_order_are_even(void **state)
{
    (void)state;
    const int sizes[] = {1, 2, 3, 5, 8};
    struct rng r;
    rng_init(&r, seed_of(1));
    for (size_t c = 0; c < ARRAY_LEN(sizes); c++) {
        for (int round = 0; round < 100; round++) {
            unsigned order[8];
            struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
            for (int i = 0; i < sizes[c]; i++) {
                order[i] = (unsigned)i;
            }
            for (int i = sizes[c] - 1; i > 0; i--) {
                int j = (int)rng_below(&r, (uint64_t)i + 1);
                unsigned swap = order[i];
                order[i] = order[j];
                order[j] = swap;
            }
            /* Some are there at the first assignment, the others join one by one or together. */
            for (int i = 0; i < sizes[c]; i++) {
                add_node(m, order[i], 100, -1);
                if (rng_below(&r, 2) == 0) {
                    plan_and_apply(m, 2);
                    assert_even(m, 2);
                }
            }
            plan_and_apply(m, 2);
            assert_even(m, 2);
            map_unref(&m);
        }
    }
}

static void test_adding_and_removing_moves_no_more_than_needed(void **state)
{
    (void)state;
    uint64_t first = seed_of(1000);
    for (uint64_t seed = first; seed < first + 300; seed++) {
        struct rng r;
        rng_init(&r, seed);
        int factor = 1 + (int)rng_below(&r, 3);
        int shards = 1 + (int)rng_below(&r, 200);
        struct map *m = map_build_new(shards, CLUSTER);
        unsigned number = 0;
        for (uint64_t n = 1 + rng_below(&r, 6); n > 0; n--) {
            add_node(m, number++, 100, -1);
        }
        plan_and_apply(m, factor);
        for (int step = 0; step < 10; step++) {
            int living = 0;
            for (int i = 0; i < m->n_nodes; i++) {
                living += plan_takes(&m->nodes[i]);
            }
            if (living <= 1 || (m->n_nodes < 30 && rng_below(&r, 2) == 0)) {
                add_node(m, number++, 100, -1);
            } else {
                int out = (int)rng_below(&r, (uint64_t)m->n_nodes);
                if (!plan_takes(&m->nodes[out])) {
                    continue;
                }
                m->nodes[out].draining = true;
            }
            struct plan *p = plan(m, factor, true);
            int least = fewest_moves(m);
            if (p->moves != least) {
                fail_msg("seed %llu step %d: %d moves, %d are enough", (unsigned long long)seed,
                         step, p->moves, least);
            }
            apply(m, p);
            plan_free(&p);
            assert_even(m, factor);
            p = plan(m, factor, true);
            assert_int_equal(p->moves, 0); /* a balanced cluster stays as it is */
            assert_int_equal(p->new_copies, 0);
            plan_free(&p);
        }
        map_unref(&m);
    }
}

/* Copies: a joining node must get its share, everybody else only loses. */
static void test_a_join_makes_at_most_one_more_copy_than_the_joiners_share(void **state)
{
    (void)state;
    int over = 0;
    for (int n = 2; n <= 20; n++) {
        for (int factor = 1; factor <= 3 && factor <= n; factor++) {
            struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
            for (int i = 0; i < n; i++) {
                add_node(m, (unsigned)i, 100, -1);
            }
            plan_and_apply(m, factor);
            add_node(m, (unsigned)n, 100, -1);
            struct plan *p = plan(m, factor, true);
            over += p->new_copies - p->copies[n];
            assert_in_range(p->new_copies, p->copies[n], p->copies[n] + 1);
            apply(m, p);
            plan_free(&p);
            assert_even(m, factor);
            map_unref(&m);
        }
    }
    assert_in_range(over, 0, 2);
}

static void test_weights_share_primaries_and_copies_within_one(void **state)
{
    (void)state;
    uint64_t first = seed_of(5000);
    for (uint64_t seed = first; seed < first + 2000; seed++) {
        struct rng r;
        rng_init(&r, seed);
        struct map *m = map_build_new(1 + (int)rng_below(&r, 200), CLUSTER);
        int n = 2 + (int)rng_below(&r, 8);
        double weights = 0;
        for (int i = 0; i < n; i++) {
            uint32_t weight = (uint32_t)(rng_below(&r, 10) == 0 ? 0 : 50 + rng_below(&r, 100));
            add_node(m, (unsigned)i, weight, -1);
            weights += weight;
        }
        plan_and_apply(m, 2);
        int takers = 0;
        for (int i = 0; i < n; i++) {
            takers += m->nodes[i].weight > 0;
        }
        for (int i = 0; i < n && takers > 0; i++) {
            double due = m->n_shards * m->nodes[i].weight / weights;
            int primaries = map_node_primaries(m, i);
            if (fabs(primaries - due) >= 1) {
                fail_msg("seed %llu: node %d has %d primaries, due %f", (unsigned long long)seed, i,
                         primaries, due);
            }
            /* No weight here is above half of all unless there are few nodes: no cap bites. */
            double due_copies = 2 * due;
            int copies = primaries + map_node_replicas(m, i);
            if (takers >= 5 && fabs(copies - due_copies) >= 1.000001) {
                fail_msg("seed %llu: node %d has %d copies, due %f", (unsigned long long)seed, i,
                         copies, due_copies);
            }
        }
        map_unref(&m);
    }
}

static int zones_of(const struct map *m, const struct map_shard *s)
{
    int n = 0;
    for (int i = 0; i < s->n_members; i++) {
        bool first = true;
        for (int j = 0; j < i; j++) {
            first = first && strcmp(m->nodes[s->members[i].node].zone,
                                    m->nodes[s->members[j].node].zone) != 0;
        }
        n += first;
    }
    return n;
}

static void test_copies_are_in_different_zones_where_there_are_enough(void **state)
{
    (void)state;
    uint64_t first = seed_of(9000);
    for (uint64_t seed = first; seed < first + 2000; seed++) {
        struct rng r;
        rng_init(&r, seed);
        int zones = 2 + (int)rng_below(&r, 4);
        int factor = 2 + (int)rng_below(&r, 2);
        struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
        int n = zones;
        for (int i = 0; i < zones; i++) {
            add_node(m, (unsigned)i, 50 + (uint32_t)rng_below(&r, 100), i);
        }
        for (uint64_t more = rng_below(&r, 6); more > 0; more--, n++) {
            add_node(m, (unsigned)n, 50 + (uint32_t)rng_below(&r, 100),
                     (int)rng_below(&r, (uint64_t)zones));
        }
        plan_and_apply(m, factor);
        if (rng_below(&r, 2) == 0) { /* also after a change */
            add_node(m, (unsigned)n, 100, (int)rng_below(&r, (uint64_t)zones));
            plan_and_apply(m, factor);
        }
        for (int i = 0; i < m->n_shards; i++) {
            if (zones_of(m, &m->shards[i]) != MIN(MIN(zones, factor), m->shards[i].n_members) ||
                m->shards[i].n_members != MIN(factor, m->n_nodes)) {
                fail_msg("seed %llu: shard %d: %d members in %d zones", (unsigned long long)seed, i,
                         m->shards[i].n_members, zones_of(m, &m->shards[i]));
            }
        }
        map_unref(&m);
    }
}

static void test_first_assignment_gives_each_node_one_range(void **state)
{
    (void)state;
    for (int n = 1; n <= 10; n++) {
        struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
        for (int i = 0; i < n; i++) {
            add_node(m, (unsigned)i, 100, -1);
        }
        plan_and_apply(m, 2);
        int changes = 0;
        for (int i = 1; i < m->n_shards; i++) {
            changes += m->shards[i].primary != m->shards[i - 1].primary;
        }
        assert_int_equal(changes, n - 1);
        map_unref(&m);
    }
}

static void test_a_primarys_replicas_spread_over_all_others(void **state)
{
    (void)state;
    struct map *m = map_build_new(120, CLUSTER);
    for (unsigned i = 0; i < 5; i++) {
        add_node(m, i, 100, -1);
    }
    plan_and_apply(m, 2);
    int pair[5][5] = {{0}};
    for (int i = 0; i < m->n_shards; i++) {
        pair[m->shards[i].members[0].node][m->shards[i].members[1].node]++;
    }
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            if (i != j) {
                assert_in_range(pair[i][j], 4, 8);
            }
        }
    }
    map_unref(&m);
}

static void test_the_same_input_gives_the_same_plan(void **state)
{
    (void)state;
    struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
    for (unsigned i = 0; i < 6; i++) {
        add_node(m, i, 80 + i * 10, (int)i % 3);
    }
    plan_and_apply(m, 2);
    add_node(m, 9, 100, 1);
    struct plan *a = plan(m, 2, true);
    struct plan *b = plan(m, 2, true);
    assert_memory_equal(a->shards, b->shards, sizeof(*a->shards) * (size_t)a->n_shards);
    plan_free(&a);
    plan_free(&b);
    map_unref(&m);
}

static void kill_node(struct map *m, int node)
{
    m->nodes[node].state = NODE_DEAD;
    for (int i = 0; i < m->n_shards; i++) {
        struct map_shard *s = &m->shards[i];
        if (s->primary == node) {
            s->members[map_shard_member(s, node)].state = REPLICA_FAILED;
            s->primary = NODE_NONE;
            s->term++;
        }
    }
}

static void test_a_dead_nodes_shards_stay_and_its_replicas_go_elsewhere(void **state)
{
    (void)state;
    struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
    for (unsigned i = 0; i < 4; i++) {
        add_node(m, i, 100, -1);
    }
    plan_and_apply(m, 2);
    kill_node(m, 2);
    struct plan *p = plan(m, 2, true);
    assert_int_equal(p->moves, 0);
    assert_int_equal(p->placements, 0);
    for (int i = 0; i < m->n_shards; i++) {
        assert_int_equal(p->shards[i].n_replicas, 1);
        assert_int_not_equal(p->shards[i].replicas[0], 2);
        assert_int_equal(p->shards[i].home, map_shard_home(&m->shards[i]));
    }
    plan_free(&p);
    map_unref(&m);
}

static void test_empty_shards_are_chosen_to_move_first(void **state)
{
    (void)state;
    struct map *m = map_build_new(100, CLUSTER);
    add_node(m, 0, 100, -1);
    plan_and_apply(m, 1);
    add_node(m, 1, 100, -1);
    uint64_t keys[100];
    for (int i = 0; i < 100; i++) {
        keys[i] = (uint64_t)(i % 3 != 0); /* 34 are empty; 50 must move */
    }
    struct plan_input in = {.map = m, .replication_factor = 1, .rebalance = true, .keys = keys};
    struct plan *p = plan_new(&in);
    assert_int_equal(p->moves, 50);
    for (int i = 0; i < 100; i += 3) {
        assert_int_equal(p->shards[i].home, 1);
    }
    plan_free(&p);
    map_unref(&m);
}

static void test_without_rebalancing_only_holes_are_filled(void **state)
{
    (void)state;
    struct map *m = map_build_new(SHARDS_DEFAULT, CLUSTER);
    add_node(m, 0, 100, -1);
    plan_and_apply(m, 2);
    add_node(m, 1, 100, -1);
    add_node(m, 2, 100, -1);
    struct plan *p = plan(m, 2, false);
    assert_int_equal(p->moves, 0);
    assert_int_equal(p->new_copies, SHARDS_DEFAULT); /* each shard's missing replica */
    assert_int_equal(p->copies[1] + p->copies[2], SHARDS_DEFAULT);
    apply(m, p);
    plan_free(&p);
    m->nodes[1].draining = true; /* a drain acts all the same */
    p = plan(m, 2, false);
    assert_int_equal(p->copies[1], 0);
    plan_free(&p);
    m->nodes[1].draining = false;
    m->nodes[0].draining = true;
    p = plan(m, 2, false);
    assert_int_equal(p->moves, SHARDS_DEFAULT);
    assert_int_equal(p->primaries[0], 0);
    plan_free(&p);
    map_unref(&m);
}

static void test_with_nobody_to_take_them_shards_stay(void **state)
{
    (void)state;
    struct map *m = map_build_new(8, CLUSTER);
    struct plan *p = plan(m, 2, true);
    assert_int_equal(p->shards[0].home, NODE_NONE);
    plan_free(&p);
    add_node(m, 0, 100, -1);
    plan_and_apply(m, 2);
    m->nodes[0].draining = true;
    p = plan(m, 2, true);
    assert_int_equal(p->moves, 0);
    assert_int_equal(p->shards[7].home, 0);
    plan_free(&p);
    map_unref(&m);
}

static void test_roles_go_where_a_replica_in_sync_is_before_anything_is_copied(void **state)
{
    (void)state;
    struct map *m = map_build_new(10, CLUSTER);
    add_node(m, 0, 100, -1);
    plan_and_apply(m, 1);
    add_node(m, 1, 100, -1);
    uint64_t keys[10];
    for (int i = 0; i < 10; i++) {
        keys[i] = i < 5 ? 1000 : 0;
    }
    for (int i = 0; i < 5; i++) { /* those with keys have a replica */
        assert_true(map_build_add_member(&m->shards[i], 1));
        map_build_set_in_sync(&m->shards[i], 1, true);
    }
    struct plan_input in = {.map = m, .replication_factor = 1, .rebalance = true, .keys = keys};
    struct plan *p = plan_new(&in);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(p->shards[i].home, i < 5 ? 1 : 0);
    }
    assert_int_equal(p->new_copies, 0);
    plan_free(&p);
    map_unref(&m);
}

static void test_a_dead_nodes_places_are_its_own_while_it_is_expected(void **state)
{
    (void)state;
    struct map *m = map_build_new(12, CLUSTER);
    for (unsigned i = 0; i < 3; i++) {
        add_node(m, i, 100, -1);
    }
    plan_and_apply(m, 2);
    for (int i = 0; i < 12; i++) { /* node 2's roles have gone to its replicas */
        struct map_shard *s = &m->shards[i];
        if (s->primary == 2) {
            int at = s->members[0].node == 2 ? 1 : 0;
            map_build_set_primary(s, s->members[at].node);
            map_build_set_in_sync(s, 2, false);
        }
    }
    m->nodes[2].state = NODE_DEAD;
    bool expected[3] = {false, false, true};
    for (int is = 1; is >= 0; is--) {
        expected[2] = is != 0;
        struct plan_input in = {.map = m, .replication_factor = 2, .expected = expected};
        struct plan *p = plan_new(&in);
        for (int i = 0; i < 12; i++) {
            bool had = map_shard_member(&m->shards[i], 2) >= 0;
            assert_int_equal(plan_wants(p, i, 2), had && is != 0);
            assert_int_equal(p->shards[i].n_replicas, 1);
        }
        plan_free(&p);
    }
    map_unref(&m);
}

/* Everything at once, for what must hold of any plan. */
static void test_any_cluster_gets_a_map_that_holds(void **state)
{
    (void)state;
    uint64_t first = seed_of(20000);
    for (uint64_t seed = first; seed < first + 3000; seed++) {
        struct rng r;
        rng_init(&r, seed);
        struct map *m = map_build_new(1 + (int)rng_below(&r, 150), CLUSTER);
        int factor = 1 + (int)rng_below(&r, 4);
        unsigned number = 0;
        for (int step = 0; step < 6; step++) {
            for (uint64_t more = rng_below(&r, 3); more > 0; more--) {
                add_node(m, number++, (uint32_t)rng_below(&r, 300), (int)rng_below(&r, 4) - 1);
            }
            if (m->n_nodes > 0) {
                int at = (int)rng_below(&r, (uint64_t)m->n_nodes);
                if (rng_below(&r, 3) == 0 && m->nodes[at].state != NODE_DEAD) {
                    kill_node(m, at);
                } else if (rng_below(&r, 3) == 0) {
                    m->nodes[at].draining = !m->nodes[at].draining;
                }
            }
            struct plan *p = plan(m, factor, rng_below(&r, 4) != 0);
            int takers = 0;
            for (int i = 0; i < m->n_nodes; i++) {
                takers += plan_takes(&m->nodes[i]);
            }
            for (int i = 0; i < m->n_shards; i++) {
                const struct plan_shard *s = &p->shards[i];
                if (s->home == NODE_NONE) {
                    assert_int_equal(takers, 0);
                    continue;
                }
                bool dead = m->nodes[s->home].state == NODE_DEAD;
                int most = takers - (dead || !plan_takes(&m->nodes[s->home]) ? 0 : 1);
                assert_int_equal(s->n_replicas, MIN(factor - 1, most));
                for (int j = 0; j < s->n_replicas; j++) {
                    assert_true(plan_takes(&m->nodes[s->replicas[j]]));
                    assert_int_not_equal(s->replicas[j], s->home);
                }
            }
            apply(m, p);
            plan_free(&p);
        }
        map_unref(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_1_2_3_5_8_nodes_in_any_order_are_even),
        cmocka_unit_test(test_adding_and_removing_moves_no_more_than_needed),
        cmocka_unit_test(test_a_join_makes_at_most_one_more_copy_than_the_joiners_share),
        cmocka_unit_test(test_weights_share_primaries_and_copies_within_one),
        cmocka_unit_test(test_copies_are_in_different_zones_where_there_are_enough),
        cmocka_unit_test(test_first_assignment_gives_each_node_one_range),
        cmocka_unit_test(test_a_primarys_replicas_spread_over_all_others),
        cmocka_unit_test(test_the_same_input_gives_the_same_plan),
        cmocka_unit_test(test_a_dead_nodes_shards_stay_and_its_replicas_go_elsewhere),
        cmocka_unit_test(test_empty_shards_are_chosen_to_move_first),
        cmocka_unit_test(test_without_rebalancing_only_holes_are_filled),
        cmocka_unit_test(test_with_nobody_to_take_them_shards_stay),
        cmocka_unit_test(test_roles_go_where_a_replica_in_sync_is_before_anything_is_copied),
        cmocka_unit_test(test_a_dead_nodes_places_are_its_own_while_it_is_expected),
        cmocka_unit_test(test_any_cluster_gets_a_map_that_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
