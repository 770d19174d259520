// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/tails.h"

#include "node/log/entry.h"

#include "tests/unit/unit.h"

#define BOOT 77

static void put(struct tails *t, int shard, uint64_t version, uint64_t position)
{
    char bytes[ENTRY_HEAD];
    struct entry e = {.shard = shard, .term = 1, .version = version, .reply = SLICE("")};
    e.effects = SLICE("");
    entry_write(bytes, &e);
    tails_entry(t, shard, version, position, slice_of(bytes, sizeof(bytes)));
}

static void tell_clock(struct tails *t, uint64_t position, uint64_t boot, int64_t us)
{
    char bytes[TAILS_CLOCK_BYTES];
    tails_clock_write(bytes, boot, us);
    tails_clock(t, position, slice_of(bytes, sizeof(bytes)));
}

static uint64_t first_of(struct slice entries)
{
    uint64_t version;
    (void)entry_peek(entries.ptr, &version);
    return version;
}

static void test_the_clock_behind_what_is_missing_counts(void **state)
{
    (void)state;
    struct slice got;
    int64_t since;
    struct tails *t = tails_new(2, 1 << 20, BOOT);
    tails_begin(t, 100);
    tell_clock(t, 100, BOOT, 5000000);
    put(t, 0, 7, 200);
    put(t, 0, 8, 300);
    tell_clock(t, 400, BOOT, 6000000);
    put(t, 0, 9, 500);
    assert_true(tails_of(t, 0, 9, &got, &since));
    assert_int_equal(got.len, 3 * ENTRY_HEAD);
    assert_int_equal(since, 5000000);
    /* A shard of which nothing came since. */
    assert_true(tails_of(t, 1, 4, &got, &since));
    assert_int_equal(got.len, 0);
    assert_int_equal(since, 5000000);
    assert_false(tails_of(t, 0, 10, &got, &since)); /* they end elsewhere */
    tails_free(&t);
}

static void test_after_a_hole_or_another_boot_nothing_is_known_of_before(void **state)
{
    (void)state;
    struct slice got;
    int64_t since;
    struct tails *t = tails_new(1, 1 << 20, BOOT);
    tails_begin(t, 0);
    tell_clock(t, 10, BOOT - 1, 9000000);
    put(t, 0, 1, 20);
    assert_false(tails_of(t, 0, 1, &got, &since));
    tell_clock(t, 30, BOOT, 1000);
    assert_true(tails_of(t, 0, 1, &got, &since));
    assert_int_equal(since, 1000);
    tails_hole(t, 40);
    put(t, 0, 2, 50);
    assert_false(tails_of(t, 0, 2, &got, &since));
    tell_clock(t, 60, BOOT, 2000);
    assert_true(tails_of(t, 0, 2, &got, &since));
    assert_int_equal(first_of(got), 2);
    assert_int_equal(since, 2000);
    tails_reset(t, 0, 70);
    put(t, 0, 9, 80); /* behind a copy */
    assert_false(tails_of(t, 0, 9, &got, &since));
    tell_clock(t, 90, BOOT, 3000);
    assert_true(tails_of(t, 0, 9, &got, &since));
    assert_int_equal(since, 3000);
    tails_free(&t);
}

static void test_they_are_bounded(void **state)
{
    (void)state;
    struct slice got;
    int64_t since;
    struct tails *t = tails_new(1, 10 * ENTRY_HEAD, BOOT);
    tails_begin(t, 0);
    for (uint64_t v = 1; v <= 1000; v++) {
        tell_clock(t, v * 100, BOOT, (int64_t)v);
        put(t, 0, v, v * 100 + 50);
    }
    assert_true(tails_of(t, 0, 1000, &got, &since));
    assert_true(got.len >= 9 * ENTRY_HEAD);
    assert_true(got.len <= 20 * ENTRY_HEAD);
    assert_int_equal(since,
                     (int64_t)first_of(got) + 1); /* the first clock behind what is missing */
    tails_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clock_behind_what_is_missing_counts),
        cmocka_unit_test(test_after_a_hole_or_another_boot_nothing_is_known_of_before),
        cmocka_unit_test(test_they_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
