// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/slowlog.h"

#include "tests/unit/common/app/replies.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct slowlog *s;

static int setup(void **state)
{
    (void)state;
    s = slowlog_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slowlog_free(&s);
    return 0;
}

static void log_line(const char *line, int64_t us)
{
    struct call c;
    call_init(&c, 2, line);
    slowlog_add(s, 1700000000123, us, c.argv, c.argc, "127.0.0.1:5", SLICE("me"));
    call_fini(&c);
}

static void check(const char *line, const char *reply)
{
    struct call c;
    call_init(&c, 2, line);
    slowlog_command(s, c.argv, c.argc, &c.w);
    assert_string_equal(call_reply(&c), reply);
    call_fini(&c);
}

static void test_only_what_took_long_is_logged(void **state)
{
    (void)state;
    slowlog_set_threshold(s, 1000);
    log_line("get a", 999);
    check("slowlog len", ":0\r\n");
    log_line("get a", 1000);
    check("slowlog len", ":1\r\n");
    check("slowlog get", "*1\r\n*6\r\n:0\r\n:1700000000\r\n:1000\r\n*2\r\n$3\r\nget\r\n$1\r\na\r\n"
                         "$11\r\n127.0.0.1:5\r\n$2\r\nme\r\n");
    slowlog_set_threshold(s, -1);
    log_line("get a", 100000);
    check("SLOWLOG LEN", ":1\r\n");
    check("slowlog reset", "+OK\r\n");
    check("slowlog len", ":0\r\n");
    check("slowlog get -1", "*0\r\n");
}

static void test_the_newest_are_kept_and_come_first(void **state)
{
    (void)state;
    slowlog_set_threshold(s, 0);
    slowlog_set_len_max(s, 3);
    for (int i = 0; i < 20; i++) {
        log_line("ping", i);
    }
    assert_int_equal(slowlog_len(s), 3);
    check("slowlog get 1",
          "*1\r\n*6\r\n:19\r\n:1700000000\r\n:19\r\n*1\r\n$4\r\nping\r\n$11\r\n127.0.0.1:5\r\n"
          "$2\r\nme\r\n");
    check("slowlog get 0", "*0\r\n");
    slowlog_set_len_max(s, 0);
    log_line("ping", 1);
    check("slowlog len", ":0\r\n");
}

static void test_ten_are_given_unless_told(void **state)
{
    (void)state;
    slowlog_set_threshold(s, 0);
    for (int i = 0; i < 20; i++) {
        log_line("ping", i);
    }
    struct call c;
    call_init(&c, 2, "slowlog get");
    slowlog_command(s, c.argv, c.argc, &c.w);
    assert_memory_equal(call_reply(&c), "*10\r\n", 5);
    call_fini(&c);
    call_init(&c, 2, "slowlog get -1");
    slowlog_command(s, c.argv, c.argc, &c.w);
    assert_memory_equal(call_reply(&c), "*20\r\n", 5);
    call_fini(&c);
}

static void check_last_argument(const struct slice *argv, size_t argc, size_t shown,
                                const char *last)
{
    struct call c;
    char want[300];
    slowlog_add(s, 0, 1000000, argv, argc, "", SLICE(""));
    call_init(&c, 2, "slowlog get 1");
    slowlog_command(s, c.argv, c.argc, &c.w);
    (void)snprintf(want, sizeof(want), "\r\n*%zu\r\n", shown);
    assert_non_null(strstr(call_reply(&c), want));
    (void)snprintf(want, sizeof(want), "\r\n$%zu\r\n%s\r\n$0\r\n\r\n$0\r\n\r\n", strlen(last),
                   last);
    const char *tail = str_cstr(&c.reply) + c.reply.len - strlen(want);
    assert_string_equal(tail, want);
    call_fini(&c);
}

static void test_long_commands_are_shortened(void **state)
{
    (void)state;
    struct slice argv[33];
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = SLICE("word");
    }
    check_last_argument(argv, 32, 32, "word");
    check_last_argument(argv, 33, 32, "... (2 more arguments)");
    static char a[130];
    memset(a, 'A', 129);
    char want[160];
    (void)snprintf(want, sizeof(want), "%.128s... (1 more bytes)", a);
    argv[1] = slice_of(a, 129);
    check_last_argument(argv, 2, 2, want);
    argv[1] = slice_of(a, 128);
    a[128] = '\0';
    check_last_argument(argv, 2, 2, a);
}

static void test_wrong_calls_are_refused_as_redis_does(void **state)
{
    (void)state;
    check("slowlog get -2", "-ERR count should be greater than or equal to -1\r\n");
    check("slowlog get x", "-ERR count should be greater than or equal to -1\r\n");
    check("slowlog get 1 2", "-ERR unknown subcommand or wrong number of arguments for 'get'. Try "
                             "SLOWLOG HELP.\r\n");
    check("slowlog", "-ERR wrong number of arguments for 'slowlog' command\r\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_only_what_took_long_is_logged),
        T(test_the_newest_are_kept_and_come_first),
        T(test_ten_are_given_unless_told),
        T(test_long_commands_are_shortened),
        T(test_wrong_calls_are_refused_as_redis_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
