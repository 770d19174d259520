// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/node_settings.h"

#include "tests/unit/unit.h"

static void expect(const struct node_settings *n, bool durable_only, const char *bytes)
{
    struct str got = {0};
    node_settings_encode(n, durable_only, &got);
    assert_string_equal(str_cstr(&got), bytes);
    str_fini(&got);
}

static void
test_each_name_is_kept_once_the_latest_last_and_only_what_is_durable_is_stored(void **state)
{
    (void)state;
    struct node_settings n = {0};
    expect(&n, false, "*0\r\n");
    node_settings_set(&n, SLICE("MaxMemory"), SLICE("1"), true);
    node_settings_set(&n, SLICE("loglevel"), SLICE(""), false);
    node_settings_set(&n, SLICE("maxmemory"), SLICE("2gb"), true);
    expect(&n, false, "*4\r\n$8\r\nloglevel\r\n$0\r\n\r\n$9\r\nmaxmemory\r\n$3\r\n2gb\r\n");
    expect(&n, true, "*2\r\n$9\r\nmaxmemory\r\n$3\r\n2gb\r\n");
    node_settings_set(&n, SLICE(".own"), SLICE("x"), true); /* no node's */
    expect(&n, false, "*4\r\n$8\r\nloglevel\r\n$0\r\n\r\n$9\r\nmaxmemory\r\n$3\r\n2gb\r\n");
    expect(&n, true, "*4\r\n$9\r\nmaxmemory\r\n$3\r\n2gb\r\n$4\r\n.own\r\n$1\r\nx\r\n");
    assert_true(slice_eq(str_slice(node_settings_get(&n, ".own")), SLICE("x")));
    assert_null(node_settings_get(&n, "own"));
    node_settings_fini(&n);
}

static void test_what_was_stored_reads_back_and_nothing_else(void **state)
{
    (void)state;
    static const char stored[] = "*2\r\n$9\r\nmaxmemory\r\n$3\r\n2gb\r\n";
    static const char *const wrong[] = {"", "*2\r\n$9\r\nmaxmemory\r\n", "*1\r\n$1\r\na\r\n",
                                        "*2\r\n$1\r\na\r\n$1\r\nb\r\n?"};
    struct node_settings n = {0};
    assert_true(node_settings_decode(&n, SLICE(stored)));
    expect(&n, true, stored);
    node_settings_fini(&n);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(node_settings_decode(&n, slice_str(wrong[i])));
        node_settings_fini(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_each_name_is_kept_once_the_latest_last_and_only_what_is_durable_is_stored),
        cmocka_unit_test(test_what_was_stored_reads_back_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
