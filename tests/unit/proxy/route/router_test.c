// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/router.h"

#include "common/cmd/slot.h"

#include "tests/unit/unit.h"

#include <stdio.h>

static const struct command *row(const char *name)
{
    const struct command *c = command_named(slice_str(name));
    assert_non_null(c);
    return c;
}

static void test_where_rows_go(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum route route;
    } rows[] = {
        {"get", ROUTE_SINGLE},    {"set", ROUTE_SINGLE},
        {"hset", ROUTE_SINGLE},   {"mget", ROUTE_KEYS},
        {"rename", ROUTE_KEYS},   {"eval", ROUTE_KEYS},
        {"xread", ROUTE_WAIT},    {"sort", ROUTE_KEYS},
        {"dbsize", ROUTE_EACH},   {"keys", ROUTE_EACH},
        {"flushall", ROUTE_EACH}, {"flushdb", ROUTE_EACH},
        {"swapdb", ROUTE_EACH},   {"script|load", ROUTE_NODES},
        {"scan", ROUTE_SCAN},     {"randomkey", ROUTE_RANDOMKEY},
        {"multi", ROUTE_TX},      {"exec", ROUTE_TX},
        {"watch", ROUTE_TX},      {"lolwut", ROUTE_ANY},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (router_of(row(rows[i].name)) != rows[i].route) {
            fail_msg("%s", rows[i].name);
        }
    }
}

static enum router_keys route(const char *text, int *shard)
{
    static char copy[256];
    struct slice argv[16];
    size_t argc = 0;
    char *rest = copy;
    char *word;
    struct key_list keys;
    snprintf(copy, sizeof(copy), "%s", text);
    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        argv[argc++] = slice_str(word);
    }
    key_list_init(&keys);
    enum router_keys is = router_keys(command_find(argv, argc), argv, argc, 128, &keys, shard);
    key_list_fini(&keys);
    return is;
}

static void test_keys_decide_the_shard(void **state)
{
    (void)state;
    int shard = -1;
    assert_int_equal(route("MGET {a}1 {a}2 {a}3", &shard), ROUTER_ONE);
    assert_int_equal(shard, slot_to_shard(slot_of(SLICE("a")), 128));
    assert_int_equal(route("MGET a b", &shard), ROUTER_SEVERAL);
    assert_int_equal(route("EVAL return 2 {a}1 {a}2", &shard), ROUTER_ONE);
    assert_int_equal(route("EVAL return 2 a b", &shard), ROUTER_SEVERAL);
    assert_int_equal(route("EVAL return 0 a b", &shard), ROUTER_KEYLESS);
    assert_int_equal(route("EVAL return 9 a", &shard), ROUTER_KEYLESS); /* the node's to refuse */
    assert_int_equal(route("RENAME {a}1 {a}2", &shard), ROUTER_ONE);
    assert_int_equal(route("RENAME a b", &shard), ROUTER_SEVERAL);
}

static void test_what_splits(void **state)
{
    (void)state;
    static const char *const splits[] = {"mget", "mset", "del", "unlink", "exists", "touch"};
    static const char *const whole[] = {"msetnx", "rename", "copy", "sunion", "pfcount", "lmpop"};
    for (size_t i = 0; i < 6; i++) {
        assert_true(router_splits(row(splits[i])));
        assert_false(router_splits(row(whole[i])));
    }
    assert_int_equal(router_key_step(row("mset")), 2);
    assert_int_equal(router_key_step(row("del")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_rows_go),
        cmocka_unit_test(test_keys_decide_the_shard),
        cmocka_unit_test(test_what_splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
