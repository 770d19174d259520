// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/addr.h"

#include "tests/unit/unit.h"

static void check_split(const char *text, const char *host, int port)
{
    char got[64];
    int got_port = -1;
    assert_true(addr_split(text, got, sizeof(got), &got_port));
    assert_string_equal(got, host);
    assert_int_equal(got_port, port);
}

static void check_no_split(const char *text)
{
    char got[16];
    int port;
    assert_false(addr_split(text, got, sizeof(got), &port));
}

static void test_host_and_port_are_taken_apart(void **state)
{
    (void)state;
    check_split("127.0.0.1:6379", "127.0.0.1", 6379);
    check_split("[::1]:1", "::1", 1);
    check_split("a.example:65535", "a.example", 65535);
    check_no_split("");
    check_no_split("host");
    check_no_split("host:");
    check_no_split(":1");
    check_no_split("host:65536");
    check_no_split("host:-1");
    check_no_split("host:+1");
    check_no_split("host: 1");
    check_no_split("host:1x");
    check_no_split("::1:6379");
    check_no_split("[::1:1");
    check_no_split("[]:1");
    check_no_split("a-name-that-is-too-long:1");
}

static void check_print(const char *ip, int port, const char *want)
{
    struct addr a;
    char got[ADDR_TEXT];
    assert_true(addr_parse(ip, port, &a));
    addr_print(&a, got, sizeof(got));
    assert_string_equal(got, want);
}

static void test_addresses_print_as_redis_shows_them(void **state)
{
    (void)state;
    check_print("127.0.0.1", 6379, "127.0.0.1:6379");
    check_print("::1", 6379, "[::1]:6379");
    check_print("::ffff:10.0.0.1", 1, "10.0.0.1:1");
    check_print("/tmp/shoal.sock", 0, "/tmp/shoal.sock:0");
    struct addr a;
    assert_false(addr_parse("localhost", 1, &a));
    assert_false(addr_parse("127.0.0.1", 65536, &a));
    assert_false(addr_parse("127.0.0.1", -1, &a));
    assert_false(addr_parse("", 1, &a));
    struct errmsg err;
    assert_true(addr_resolve("localhost", 7, &a, &err));
    assert_int_equal(addr_port(&a), 7);
    assert_false(addr_resolve("", 70000, &a, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_and_port_are_taken_apart),
        cmocka_unit_test(test_addresses_print_as_redis_shows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
