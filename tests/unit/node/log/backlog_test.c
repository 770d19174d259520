// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/backlog.h"

#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void add(struct backlog *b, int shard, uint64_t version, size_t value, int64_t now_us)
{
    static char bytes[5000];
    struct str effects = {0};
    struct slice argv[] = {SLICE("SET"), SLICE("k"), slice_of(bytes, value)};
    effects_add(&effects, 0, argv, ARRAY_LEN(argv));
    struct entry e = {.shard = shard,
                      .term = 1,
                      .version = version,
                      .lane = version % 3,
                      .number = version,
                      .n_effects = 1,
                      .effects = str_slice(&effects)};
    backlog_add(b, &e, now_us);
    str_fini(&effects);
}

/* Reads from `version` to the end, checking that nothing is missing; returns entries read. */
static uint64_t read_from(struct backlog *b, int shard, uint64_t version, size_t max)
{
    uint64_t n = 0;
    uint64_t last = 0;
    for (;;) {
        struct slice in = backlog_read(b, shard, version, max, &last);
        if (in.len == 0) {
            return n;
        }
        while (in.len > 0) {
            struct entry e;
            int64_t len = entry_read(in, &e);
            assert_true(len > 0);
            assert_int_equal(e.version, version);
            version++;
            n++;
            in = slice_of(in.ptr + len, in.len - (size_t)len);
        }
        assert_int_equal(last + 1, version);
    }
}

static void test_what_was_added_is_read_from_anywhere(void **state)
{
    (void)state;
    struct backlog *b = backlog_new(4, 1 << 20);
    backlog_open(b, 2, 100, INT64_MIN);
    struct rng rng;
    rng_init(&rng, 1);
    for (uint64_t v = 101; v <= 1100; v++) {
        add(b, 2, v, rng_below(&rng, 300), (int64_t)v);
        if (v % 7 == 0) {
            uint64_t from = 101 + rng_below(&rng, v - 100);
            assert_int_equal(read_from(b, 2, from, 1 + rng_below(&rng, 2000)), v - from + 1);
        }
        assert_int_equal(read_from(b, 2, v, 1000), 1);
    }
    assert_true(backlog_has(b, 2, 101));
    assert_true(backlog_has(b, 2, 1101));
    assert_false(backlog_has(b, 2, 100));
    assert_false(backlog_has(b, 2, 1102));
    assert_false(backlog_has(b, 1, 0));
    assert_true(backlog_since(b, 2) == INT64_MIN);
    assert_int_equal(read_from(b, 2, 1101, 100), 0);
    backlog_free(&b);
}

static void test_the_budget_is_shared_fairly(void **state)
{
    (void)state;
    struct backlog *b = backlog_new(4, 256 * 1024);
    for (int i = 0; i < 4; i++) {
        backlog_open(b, i, 0, INT64_MIN);
    }
    for (uint64_t v = 1; v <= 100; v++) {
        add(b, 0, v, 100, (int64_t)v);
    }
    for (uint64_t v = 1; v <= 20000; v++) {
        add(b, 1, v, 100, (int64_t)v);
        add(b, 2, v, 100, (int64_t)v);
    }
    struct backlog_stats st;
    backlog_stats(b, &st);
    assert_true(st.bytes <= st.bytes_max);
    assert_true(st.bytes > st.bytes_max / 2);
    /* The quiet shard kept everything; the busy ones share the rest. */
    assert_int_equal(backlog_first(b, 0), 1);
    assert_true(backlog_first(b, 1) > 15000);
    assert_true(backlog_shard_bytes(b, 1) < backlog_shard_bytes(b, 2) * 3 / 2);
    assert_true(backlog_shard_bytes(b, 2) < backlog_shard_bytes(b, 1) * 3 / 2);
    assert_int_equal(backlog_since(b, 1), backlog_first(b, 1));
    assert_false(backlog_has(b, 1, backlog_first(b, 1) - 1));
    assert_int_equal(read_from(b, 1, backlog_first(b, 1), 1000), 20000 - backlog_first(b, 1) + 1);
    size_t behind = backlog_bytes_behind(b, 0, 50);
    assert_true(behind > 50 * 170 && behind < 50 * 190);
    backlog_free(&b);
}

static void test_a_large_entry_leaves_with_the_next_ones(void **state)
{
    (void)state;
    struct backlog *b = backlog_new(1, 4096);
    backlog_open(b, 0, 0, INT64_MIN);
    add(b, 0, 1, 5000, 1);
    assert_int_equal(read_from(b, 0, 1, 10), 1);
    for (uint64_t v = 2; v < 50; v++) {
        add(b, 0, v, 100, (int64_t)v);
        assert_int_equal(read_from(b, 0, v, 10), 1);
    }
    struct backlog_stats st;
    backlog_stats(b, &st);
    assert_true(st.bytes <= st.bytes_max);
    assert_true(backlog_first(b, 0) > 1);
    backlog_free(&b);
}

static void count_entry(void *arg, const struct entry *e)
{
    uint64_t *n = arg;
    assert_int_equal(e->lane, 2);
    assert_true(e->number >= 50);
    (*n)++;
}

static void test_a_lane_is_found(void **state)
{
    (void)state;
    struct backlog *b = backlog_new(1, 1 << 20);
    backlog_open(b, 0, 0, INT64_MIN);
    for (uint64_t v = 1; v <= 300; v++) {
        add(b, 0, v, 10, (int64_t)v);
    }
    uint64_t n = 0;
    backlog_lane(b, 0, 2, 50, 0, count_entry, &n);
    assert_int_equal(n, 84);
    /* Older blocks are not looked at: what came since is all there, little more. */
    n = 0;
    backlog_lane(b, 0, 2, 50, 290, count_entry, &n);
    assert_true(n >= 4 && n < 84);
    backlog_free(&b);
}

struct taken {
    struct backlog *to;
    uint64_t entries;
};

static void take_window(struct taken *t, int64_t came_us, struct slice in)
{
    while (in.len > 0) {
        struct entry e;
        int64_t len = entry_read(in, &e);
        assert_true(len > 0);
        assert_int_equal(e.n_effects, 0);
        backlog_add_bytes(t->to, &e, came_us);
        t->entries++;
        in = slice_of(in.ptr + len, in.len - (size_t)len);
    }
}

static void test_a_window_tells_of_writes_but_is_no_log(void **state)
{
    (void)state;
    struct backlog *b = backlog_new(1, 1 << 20);
    backlog_open(b, 0, 0, INT64_MIN);
    for (uint64_t v = 1; v <= 100; v++) {
        add(b, 0, v, 10, (int64_t)v);
    }
    struct taken t = {.to = backlog_new(1, 1 << 20)};
    backlog_open(t.to, 0, backlog_first(b, 0) - 1, backlog_since(b, 0));
    struct str window = {0};
    int64_t since;
    backlog_tail(b, 0, 100, 1 << 20, &window, &since);
    assert_int_equal(since, INT64_MIN);
    take_window(&t, 100, str_slice(&window));
    str_fini(&window);
    assert_int_equal(t.entries, 100);
    uint64_t n = 0;
    backlog_lane(t.to, 0, 2, 50, 0, count_entry, &n);
    assert_int_equal(n, 17);
    assert_false(backlog_has(t.to, 0, 100));
    assert_true(backlog_has(t.to, 0, 101));
    add(t.to, 0, 101, 10, 101);
    assert_int_equal(read_from(t.to, 0, 101, 1000), 1);
    assert_int_equal(read_from(t.to, 0, 100, 1000), 0);
    backlog_free(&t.to);
    backlog_free(&b);
}

static void count_lane(void *arg, const struct entry *e)
{
    *(uint64_t *)arg += e->number;
}

static void test_what_was_before_is_put_in_front(void **state)
{
    (void)state;
    struct backlog *from = backlog_new(1, 1 << 20);
    struct backlog *b = backlog_new(1, 1 << 20);
    backlog_open(from, 0, 50, 1000);
    for (uint64_t v = 51; v <= 150; v++) {
        add(from, 0, v, 10, (int64_t)(1000 + v));
    }
    backlog_open(b, 0, 120, 9000);
    for (uint64_t v = 121; v <= 150; v++) {
        add(b, 0, v, 10, (int64_t)(9000 + v));
    }
    struct str older = {0};
    int64_t since;
    backlog_tail(from, 0, 150, 1 << 20, &older, &since);
    assert_int_equal(since, 1000);
    backlog_prepend(b, 0, str_slice(&older), since, 10000);
    assert_int_equal(backlog_first(b, 0), 51);
    assert_int_equal(backlog_last(b, 0), 150);
    assert_int_equal(backlog_since(b, 0), 1000);
    assert_false(backlog_has(b, 0, 120)); /* without its effects */
    assert_true(backlog_has(b, 0, 121));
    assert_int_equal(read_from(b, 0, 121, 1000), 30);
    uint64_t sum = 0;
    backlog_lane(b, 0, 1, 51, INT64_MIN, count_lane, &sum);
    uint64_t expected = 0;
    for (uint64_t v = 51; v <= 150; v++) {
        expected += v % 3 == 1 ? v : 0;
    }
    assert_int_equal(sum, expected);
    /* Only the last ones, and how far they go back. */
    str_clear(&older);
    backlog_tail(from, 0, 140, 1, &older, &since);
    struct entry e;
    assert_true(entry_read(str_slice(&older), &e) > 0);
    assert_true(since >= (int64_t)(1000 + e.version) - 1);
    str_fini(&older);
    backlog_free(&from);
    backlog_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_added_is_read_from_anywhere),
        cmocka_unit_test(test_the_budget_is_shared_fairly),
        cmocka_unit_test(test_a_large_entry_leaves_with_the_next_ones),
        cmocka_unit_test(test_a_lane_is_found),
        cmocka_unit_test(test_a_window_tells_of_writes_but_is_no_log),
        cmocka_unit_test(test_what_was_before_is_put_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
