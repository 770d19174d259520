// SPDX-License-Identifier: BSD-3-Clause
#include "common/model/map.h"

#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CLUSTER "00000000000000000000000000000000000000c1"

static int add_node(struct map *m, int i)
{
    struct map_node n = {.port = 7000 + i, .weight = 100, .incarnation = (uint64_t)i + 1};
    (void)snprintf(n.id, sizeof(n.id), "%040x", i + 1);
    (void)snprintf(n.host, sizeof(n.host), "127.0.0.1");
    (void)snprintf(n.zone, sizeof(n.zone), "z%d", i % 2);
    return map_build_add_node(m, &n);
}

/* Shards spread round over the nodes, each with a syncing replica on the next node. */
static struct map *make(int n_shards, int n_nodes)
{
    struct map *m = map_build_new(n_shards, CLUSTER);
    for (int i = 0; i < n_nodes; i++) {
        assert_int_equal(add_node(m, i), i);
    }
    m->epoch = 7;
    m->assigned = n_nodes > 0;
    for (int i = 0; i < n_shards && n_nodes > 0; i++) {
        struct map_shard *s = &m->shards[i];
        int p = i * n_nodes / n_shards;
        assert_true(map_build_add_member(s, p));
        map_build_set_primary(s, p);
        assert_true(map_build_add_member(s, (p + 1) % n_nodes));
        s->version = (uint64_t)i * 1000;
    }
    assert_null(map_check(m));
    return m;
}

static void test_every_slot_is_in_the_shard_whose_range_holds_it(void **state)
{
    (void)state;
    const int counts[] = {1, 2, 3, 7, 100, 128, 1000, 16383, 16384};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct map *m = map_build_new(counts[c], CLUSTER);
        for (int slot = 0; slot < SLOTS; slot++) {
            const struct map_shard *s = &m->shards[map_slot_shard(m, slot)];
            assert_in_range(slot, s->first_slot, s->last_slot);
        }
        assert_int_equal(m->shards[0].first_slot, 0);
        assert_int_equal(m->shards[counts[c] - 1].last_slot, SLOTS - 1);
        assert_null(map_check(m));
        map_unref(&m);
    }
}

static void assert_same(const struct map *a, const struct map *b)
{
    assert_int_equal(a->epoch, b->epoch);
    assert_string_equal(a->cluster_id, b->cluster_id);
    assert_string_equal(a->why, b->why);
    assert_int_equal(a->assigned, b->assigned);
    assert_int_equal(a->n_nodes, b->n_nodes);
    assert_int_equal(a->n_shards, b->n_shards);
    for (int i = 0; i < a->n_nodes; i++) {
        assert_string_equal(a->nodes[i].id, b->nodes[i].id);
        assert_string_equal(a->nodes[i].host, b->nodes[i].host);
        assert_string_equal(a->nodes[i].zone, b->nodes[i].zone);
        assert_int_equal(a->nodes[i].port, b->nodes[i].port);
        assert_int_equal(a->nodes[i].weight, b->nodes[i].weight);
        assert_int_equal(a->nodes[i].incarnation, b->nodes[i].incarnation);
        assert_int_equal(a->nodes[i].state, b->nodes[i].state);
        assert_int_equal(a->nodes[i].draining, b->nodes[i].draining);
    }
    for (int i = 0; i < a->n_shards; i++) {
        assert_int_equal(a->shards[i].primary, b->shards[i].primary);
        assert_int_equal(a->shards[i].term, b->shards[i].term);
        assert_int_equal(a->shards[i].version, b->shards[i].version);
        assert_int_equal(a->shards[i].primary_term, b->shards[i].primary_term);
        assert_int_equal(a->shards[i].n_members, b->shards[i].n_members);
        for (int j = 0; j < a->shards[i].n_members; j++) {
            assert_int_equal(a->shards[i].members[j].node, b->shards[i].members[j].node);
            assert_int_equal(a->shards[i].members[j].state, b->shards[i].members[j].state);
            assert_int_equal(a->shards[i].members[j].in_sync, b->shards[i].members[j].in_sync);
            assert_int_equal(a->shards[i].members[j].stale, b->shards[i].members[j].stale);
            assert_int_equal(a->shards[i].members[j].since, b->shards[i].members[j].since);
        }
    }
}

static void test_a_decoded_map_is_the_encoded_one(void **state)
{
    (void)state;
    const int counts[][2] = {{1, 1}, {128, 3}, {16384, 200}, {128, 0}};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct map *m = make(counts[c][0], counts[c][1]);
        (void)snprintf(m->why, sizeof(m->why), "waiting for nodes: 1 of 2");
        if (m->n_nodes > 2) {
            m->nodes[2].state = NODE_UNHEALTHY;
            m->nodes[1].draining = true;
            m->shards[3].term = UINT64_MAX;
            m->shards[4].primary_term = 1;
            map_build_no_primary(&m->shards[5]);
            map_build_set_stale(&m->shards[5], m->shards[5].members[0].node);
        }
        struct str bytes = {0};
        map_encode(m, &bytes);
        struct map *back = map_decode(str_slice(&bytes));
        assert_non_null(back);
        assert_same(m, back);
        map_unref(&back);
        map_unref(&m);
        str_fini(&bytes);
    }
}

static void test_damaged_bytes_are_no_map(void **state)
{
    (void)state;
    struct map *m = make(128, 3);
    struct str bytes = {0};
    map_encode(m, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        assert_null(map_decode(slice_of(bytes.ptr, i)));
        bytes.ptr[i] ^= 0x20;
        assert_null(map_decode(str_slice(&bytes)));
        bytes.ptr[i] ^= 0x20;
    }
    str_append_char(&bytes, 'x');
    assert_null(map_decode(str_slice(&bytes)));
    str_fini(&bytes);
    map_unref(&m);
}

static void test_forged_bytes_with_a_right_checksum_hold_or_are_refused(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 42);
    struct map *m = make(64, 5);
    struct str bytes = {0};
    map_encode(m, &bytes);
    int accepted = 0;
    for (int round = 0; round < 20000; round++) {
        char *copy = mem_memdup(bytes.ptr, bytes.len);
        size_t body = bytes.len - 8;
        for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--) {
            copy[rng_below(&r, body)] = (char)(unsigned char)rng_next(&r);
        }
        uint64_t crc = crc64(0, copy, body);
        for (size_t i = 0; i < 8; i++) {
            copy[body + i] = (char)(unsigned char)(crc >> (8 * i));
        }
        struct map *got = map_decode(slice_of(copy, bytes.len));
        if (got != NULL) {
            assert_null(map_check(got));
            accepted++;
        }
        map_unref(&got);
        mem_free(copy);
    }
    assert_in_range(accepted, 1, 19999);
    str_fini(&bytes);
    map_unref(&m);
}

static void test_check_names_what_is_wrong(void **state)
{
    (void)state;
    struct map *m = make(8, 3);
    m->shards[3].primary = 2;
    m->shards[3].n_members = 1;
    m->shards[3].members[0].node = 1;
    assert_string_equal(map_check(m), "shard 3: primary is no member");
    map_unref(&m);
    m = make(8, 3);
    m->shards[0].members[1].node = m->shards[0].members[0].node;
    assert_non_null(map_check(m));
    map_unref(&m);
    m = make(8, 3);
    m->nodes[m->shards[0].primary].state = NODE_DEAD;
    assert_string_equal(map_check(m), "shard 0: primary is dead");
    map_unref(&m);
    m = make(8, 3);
    m->shards[5].first_slot++;
    assert_string_equal(map_check(m), "shard 5: slots");
    map_unref(&m);
    m = make(8, 3);
    (void)snprintf(m->nodes[1].host, sizeof(m->nodes[1].host), "a b");
    assert_string_equal(map_check(m), "node 1: bad host");
    map_unref(&m);
}

static void test_a_successor_may_not_go_back(void **state)
{
    (void)state;
    struct map *old = make(8, 3);
    old->shards[2].term += 2;
    struct map *next = map_build_from(old);
    assert_string_equal(map_check_next(old, next), "the epoch does not grow");
    next->epoch++;
    assert_null(map_check_next(old, next));
    next->shards[2].term--;
    next->shards[2].primary_term--;
    assert_string_equal(map_check_next(old, next), "shard 2: the term shrinks");
    next->shards[2].term++;
    assert_string_equal(map_check_next(old, next), "shard 2: the term shrinks");
    next->shards[2].primary_term++;
    next->shards[2].primary = NODE_NONE;
    next->shards[2].members[0].state = REPLICA_FAILED;
    assert_string_equal(map_check_next(old, next),
                        "shard 2: primary, in-sync set or members changed within a term");
    next->shards[2].term++;
    assert_null(map_check_next(old, next));
    next->shards[4].members[1].state = REPLICA_ACTIVE;
    next->shards[4].members[1].in_sync = true;
    assert_non_null(map_check_next(old, next));
    next->shards[4].term++;
    assert_null(map_check_next(old, next));
    map_unref(&next);
    map_unref(&old);
}

/* Out and in again is seen by one who has not seen it go. */
static void test_a_member_that_comes_again_is_another_one(void **state)
{
    (void)state;
    struct map *old = make(8, 3);
    struct map *next = map_build_from(old);
    next->epoch++;
    struct map_shard *s = &next->shards[1];
    int other = s->members[map_shard_member(s, s->primary) == 0 ? 1 : 0].node;
    uint64_t was = s->members[map_shard_member(s, other)].since;
    map_build_drop_member(s, other);
    assert_null(map_check_next(old, next));
    assert_true(map_build_add_member(s, other));
    assert_null(map_check_next(old, next));
    struct map_member *e = &s->members[map_shard_member(s, other)];
    assert_int_equal(e->since, s->term);
    e->since = was - 1;
    assert_string_equal(map_check_next(old, next),
                        "shard 1: member 1 is new, but since an old term");
    e->since = s->term + 1;
    assert_string_equal(map_check(next), "shard 1: member 1: since a term that was not");
    map_unref(&next);
    map_unref(&old);
}

static void test_a_primarys_term_is_its_own(void **state)
{
    (void)state;
    struct map *old = make(8, 3);
    struct map *next = map_build_from(old);
    next->epoch++;
    struct map_shard *s = &next->shards[1];
    int first = s->primary;
    int other = s->members[0].node == first ? s->members[1].node : s->members[0].node;
    map_build_set_in_sync(s, other, true);
    assert_null(map_check_next(old, next));
    uint64_t before = s->primary_term;
    map_build_set_primary(s, other);
    assert_null(map_check_next(old, next));
    assert_int_equal(s->primary_term, s->term);
    s->primary_term = before;
    assert_string_equal(map_check_next(old, next),
                        "shard 1: another primary within a primary term");
    s->primary_term = s->term + 1;
    assert_string_equal(map_check(next), "shard 1: the primary's term is above the shard's");
    s->primary_term = s->term;
    next->nodes[next->shards[0].primary].incarnation++;
    const char *wrong = map_check_next(old, next);
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, "a restarted primary within a primary term"));
    for (int i = 0; i < next->n_shards; i++) {
        map_build_set_primary(&next->shards[i], next->shards[i].primary);
    }
    assert_null(map_check_next(old, next));
    map_unref(&next);
    map_unref(&old);
}

static void test_every_change_of_the_copies_is_a_new_term(void **state)
{
    (void)state;
    struct map *old = make(8, 4);
    struct map *next = map_build_from(old);
    next->epoch++;
    struct map_shard *s = &next->shards[0];
    int replica = s->members[0].node == s->primary ? s->members[1].node : s->members[0].node;
    uint64_t term = s->term;
    for (int node = 0; node < 4; node++) {
        assert_true(map_build_add_member(s, node)); /* two of them are there: no effect */
    }
    assert_int_equal(s->term, term + 2);
    map_build_set_in_sync(s, replica, true);
    assert_int_equal(map_shard_in_sync(s), 2);
    map_build_no_primary(s);
    map_build_set_stale(s, replica);
    assert_null(map_check(next));
    assert_int_equal(map_shard_in_sync(s), 2);
    map_build_set_in_sync(s, replica, false);
    map_build_drop_member(s, replica);
    assert_int_equal(s->term, term + 7);
    assert_null(map_check_next(old, next));
    map_unref(&next);
    next = map_build_from(old);
    next->epoch++;
    map_build_set_in_sync(&next->shards[0], replica, true);
    next->shards[0].term = term;
    assert_string_equal(map_check_next(old, next),
                        "shard 0: primary, in-sync set or members changed within a term");
    map_unref(&next);
    map_unref(&old);
}

static void test_a_primary_by_guess_changes_no_member_until_it_is_trusted(void **state)
{
    (void)state;
    struct map *old = make(8, 4);
    struct map *next = map_build_from(old);
    next->epoch++;
    struct map_shard *s = &next->shards[0];
    int had = s->primary;
    int replica = s->members[0].node == had ? s->members[1].node : s->members[0].node;
    map_build_set_in_sync(s, replica, false);
    assert_true(map_shard_has_primary(s));
    map_build_no_primary(s);
    assert_false(map_shard_has_primary(s));
    map_build_set_stale(s, had);
    map_build_guess_primary(s, replica);
    assert_int_equal(s->primary_term, s->term);
    assert_false(map_shard_has_primary(s));
    assert_int_equal(map_shard_in_sync(s), 1);
    assert_null(map_check_next(old, next));
    struct str bytes = {0};
    map_encode(next, &bytes);
    struct map *back = map_decode(str_slice(&bytes));
    assert_non_null(back);
    assert_same(next, back);
    uint64_t term = s->primary_term;
    map_build_trust_primary(s);
    assert_true(map_shard_has_primary(s));
    assert_int_equal(map_shard_in_sync(s), 1);
    assert_false(s->members[map_shard_member(s, had)].in_sync);
    assert_int_equal(s->primary_term, term);
    assert_true(s->term > term);
    assert_null(map_check_next(old, next));
    map_unref(&back);
    map_unref(&next);
    map_unref(&old);
    str_fini(&bytes);
}

static void test_removing_a_node_shifts_indexes_and_changes_nobody_else(void **state)
{
    (void)state;
    struct map *m = make(8, 3);
    int extra = add_node(m, 10);
    int last = add_node(m, 11);
    assert_true(map_build_add_member(&m->shards[0], last));
    map_build_set_primary(&m->shards[0], last);
    map_build_remove_node(m, extra);
    assert_null(map_check(m));
    assert_int_equal(m->n_nodes, 4);
    assert_int_equal(m->shards[0].primary, 3);
    assert_int_equal(m->nodes[3].port, 7011);
    assert_int_equal(map_node_by_id(m, "000000000000000000000000000000000000000b"), NODE_NONE);
    map_unref(&m);
}

static void test_counts_of_a_node(void **state)
{
    (void)state;
    struct map *m = make(128, 3);
    int primaries = 0;
    int replicas = 0;
    for (int i = 0; i < 3; i++) {
        primaries += map_node_primaries(m, i);
        replicas += map_node_replicas(m, i);
    }
    assert_int_equal(primaries, 128);
    assert_int_equal(replicas, 128);
    assert_true(map_node_holds(m, 0, 0));
    map_unref(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_slot_is_in_the_shard_whose_range_holds_it),
        cmocka_unit_test(test_a_decoded_map_is_the_encoded_one),
        cmocka_unit_test(test_damaged_bytes_are_no_map),
        cmocka_unit_test(test_forged_bytes_with_a_right_checksum_hold_or_are_refused),
        cmocka_unit_test(test_check_names_what_is_wrong),
        cmocka_unit_test(test_a_successor_may_not_go_back),
        cmocka_unit_test(test_a_member_that_comes_again_is_another_one),
        cmocka_unit_test(test_a_primarys_term_is_its_own),
        cmocka_unit_test(test_every_change_of_the_copies_is_a_new_term),
        cmocka_unit_test(test_a_primary_by_guess_changes_no_member_until_it_is_trusted),
        cmocka_unit_test(test_removing_a_node_shifts_indexes_and_changes_nobody_else),
        cmocka_unit_test(test_counts_of_a_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
