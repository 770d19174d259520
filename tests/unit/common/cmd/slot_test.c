// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/slot.h"

#include "tests/unit/unit.h"

static void test_slots_are_those_of_redis_cluster(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint16_t slot;
    } cases[] = {
        {"", 0},
        {"a", 15495},
        {"foo", 12182},
        {"bar", 5061},
        {"123456789", 12739},
        {"{user1000}.following", 3443},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"foo{bar}{zap}", 5061},
        {"foo{bar", 15278},
        {"}{", 12793},
        {"{}", 15257},
        {"key:000000000042", 7803},
        {"a rather long key whose length is no multiple of eight", 15940},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(slot_of(slice_str(cases[i].key)), cases[i].slot);
    }
    assert_int_equal(slot_of(slice_of("a\0b", 3)), 8383);
}

static void test_only_the_first_nonempty_tag_is_hashed(void **state)
{
    (void)state;
    assert_int_equal(slot_of(SLICE("{user1000}.following")),
                     slot_of(SLICE("{user1000}.followers")));
    assert_int_equal(slot_of(SLICE("{user1000}.following")), slot_of(SLICE("user1000")));
    assert_true(slice_eq(slot_tag(SLICE("foo{}{bar}")), SLICE("foo{}{bar}")));
    assert_true(slice_eq(slot_tag(SLICE("foo{{bar}}zap")), SLICE("{bar")));
    assert_true(slice_eq(slot_tag(SLICE("foo{bar}{zap}")), SLICE("bar")));
    assert_true(slice_eq(slot_tag(SLICE("foo{bar")), SLICE("foo{bar")));
    assert_true(slice_eq(slot_tag(SLICE("foo}{")), SLICE("foo}{")));
    assert_true(slice_eq(slot_tag(SLICE("")), SLICE("")));
}

/* The shard's range and the slot's shard must say the same, and the ranges cover all, evenly. */
static void check_shards(uint32_t shards)
{
    assert_int_equal(slot_first(0, shards), 0);
    assert_int_equal(slot_first(shards, shards), SLOT_COUNT);
    for (uint32_t i = 0; i < shards; i++) {
        uint32_t first = slot_first(i, shards);
        uint32_t last = slot_last(i, shards);
        assert_true(last >= first);
        assert_in_range(last - first + 1, SLOT_COUNT / shards, SLOT_COUNT / shards + 1);
        assert_int_equal(slot_to_shard(first, shards), i);
        assert_int_equal(slot_to_shard(last, shards), i);
        assert_int_equal(slot_first(i + 1, shards), last + 1);
    }
}

static void test_ranges_of_shards_and_shards_of_slots_agree(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 1100; n++) {
        check_shards(n);
    }
    for (uint32_t n = 1101; n < SLOT_COUNT; n += 97) {
        check_shards(n);
    }
    for (uint32_t n = SLOT_COUNT - 5; n <= SLOT_COUNT; n++) {
        check_shards(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_those_of_redis_cluster),
        cmocka_unit_test(test_only_the_first_nonempty_tag_is_hashed),
        cmocka_unit_test(test_ranges_of_shards_and_shards_of_slots_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
