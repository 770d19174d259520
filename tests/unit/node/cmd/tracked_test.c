// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/tracked.h"

#include "common/base/str.h"

#include "tests/unit/unit.h"

static void note(void *arg, struct slice key, const uint64_t *clients, size_t n)
{
    struct str *to = arg;
    str_append_slice(to, key);
    for (size_t i = 0; i < n; i++) {
        str_printf(to, " %llu", (unsigned long long)clients[i]);
    }
    str_appendz(to, ";");
}

static void test_told_once_of_all_who_read_it(void **state)
{
    (void)state;
    struct tracked *t = tracked_new();
    struct str said = {0};
    static const uint64_t ids[] = {7, 3, 9, 3, 1, 8, 9, 2};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        tracked_add(t, SLICE("k"), 0, ids[i]);
    }
    tracked_add(t, SLICE("other"), 0, 1);
    assert_int_equal(tracked_keys(t), 2);
    assert_int_equal(tracked_items(t), 7);
    tracked_take(t, SLICE("k"), note, &said);
    tracked_take(t, SLICE("k"), note, &said);
    tracked_take(t, SLICE("nothing"), note, &said);
    assert_string_equal(str_cstr(&said), "k 1 2 3 7 8 9;");
    assert_int_equal(tracked_items(t), 1);
    str_fini(&said);
    tracked_free(&t);
}

static void test_the_oldest_and_those_of_a_shard(void **state)
{
    (void)state;
    struct tracked *t = tracked_new();
    struct str said = {0};
    tracked_add(t, SLICE("a"), 1, 1);
    tracked_add(t, SLICE("b"), 2, 1);
    tracked_add(t, SLICE("c"), 1, 2);
    tracked_add(t, SLICE("a"), 1, 2);
    assert_true(tracked_take_oldest(t, note, &said));
    tracked_take_shard(t, 1, note, &said);
    assert_string_equal(str_cstr(&said), "a 1 2;c 2;");
    tracked_clear(t);
    assert_int_equal(tracked_keys(t) + tracked_items(t), 0);
    assert_false(tracked_take_oldest(t, note, &said));
    str_fini(&said);
    tracked_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_once_of_all_who_read_it),
        cmocka_unit_test(test_the_oldest_and_those_of_a_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
