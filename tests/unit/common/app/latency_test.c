// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/latency.h"

#include "tests/unit/common/app/replies.h"
#include "tests/unit/unit.h"

static struct latency *l;
static struct cmdstats *stats;

static int setup(void **state)
{
    (void)state;
    l = latency_new();
    stats = cmdstats_new(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    latency_free(&l);
    cmdstats_free(&stats);
    return 0;
}

static void ask(struct call *c, int proto, const char *line)
{
    call_init(c, proto, line);
    latency_command(l, stats, 1000 * 1000, c->argv, c->argc, &c->w);
    (void)call_reply(c);
}

static void check(const char *line, const char *reply)
{
    struct call c;
    ask(&c, 2, line);
    assert_string_equal(str_cstr(&c.reply), reply);
    call_fini(&c);
}

static void check_has(const char *line, const char *part)
{
    struct call c;
    ask(&c, 2, line);
    if (strstr(str_cstr(&c.reply), part) == NULL) {
        fail_msg("%s: no '%s' in '%s'", line, part, str_cstr(&c.reply));
    }
    call_fini(&c);
}

static void test_nothing_is_kept_while_off(void **state)
{
    (void)state;
    latency_add(l, "command", 5000, 100000);
    check("latency latest", "*0\r\n");
    check_has("latency doctor", "monitor is off");
    assert_false(latency_wants(0, 5));
}

static void test_the_worst_of_each_second_is_kept(void **state)
{
    (void)state;
    latency_set_threshold(l, 10);
    latency_add(l, "command", 5000, 9);
    check("latency latest", "*0\r\n");
    check_has("latency doctor", "Nothing took 10 ms");
    latency_add(l, "command", 5000, 20);
    latency_add(l, "command", 5999, 50);
    latency_add(l, "command", 5999, 30);
    latency_add(l, "command", 6000, 40);
    latency_add(l, "fork", 7000, 11);
    check("latency latest", "*2\r\n*4\r\n$7\r\ncommand\r\n:6\r\n:40\r\n:50\r\n"
                            "*4\r\n$4\r\nfork\r\n:7\r\n:11\r\n:11\r\n");
    check("latency history command", "*2\r\n*2\r\n:5\r\n:50\r\n*2\r\n:6\r\n:40\r\n");
    check("latency history nope", "*0\r\n");
    check_has("latency doctor", "1. command: 2 latency spikes (average 45ms, mean deviation 5ms, "
                                "period 497.50 sec). Worst all time event 50ms.");
    check("latency reset nope", ":0\r\n");
    check("latency reset fork nope", ":1\r\n");
    check("latency reset", ":1\r\n");
    check("latency latest", "*0\r\n");
}

static void test_old_samples_give_way(void **state)
{
    (void)state;
    latency_set_threshold(l, 1);
    for (int i = 0; i < 200; i++) {
        latency_add(l, "command", i * 1000, i + 1);
    }
    struct call c;
    ask(&c, 2, "latency history command");
    assert_memory_equal(str_cstr(&c.reply), "*160\r\n*2\r\n:40\r\n:41\r\n", 20);
    call_fini(&c);
}

static void test_a_graph_is_drawn(void **state)
{
    (void)state;
    check("latency graph command", "-ERR No samples available for event 'command'\r\n");
    latency_set_threshold(l, 1);
    latency_add(l, "command", 880 * 1000, 10);
    latency_add(l, "command", 990 * 1000, 120);
    latency_add(l, "command", 999 * 1000, 60);
    check_has("latency graph command", "command - high 120 ms, low 10 ms (all time high 120 ms)\n");
    check_has("latency graph command", "\n # \n | \n |#\n_||\n\n211\nm0s\n s \n");
}

static void test_histograms_are_cumulative(void **state)
{
    (void)state;
    check("latency histogram", "*0\r\n");
    cmdstats_called(stats, CMD_SET, 500, false);
    cmdstats_called(stats, CMD_SET, 1900, false);
    cmdstats_called(stats, CMD_SET, 5000 * 1000, true);
    cmdstats_called(stats, CMD_SET, INT64_C(99) * 1000000000, false);
    check("latency histogram SET get nope",
          "*2\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n"
          "*8\r\n:1\r\n:1\r\n:2\r\n:2\r\n:8454\r\n:3\r\n:1073741\r\n:4\r\n");
    cmdstats_called(stats, CMD_CLIENT_ID, 1000, false);
    cmdstats_called(stats, CMD_CLIENT_LIST, 1000, false);
    check("latency histogram client|id",
          "*2\r\n$9\r\nclient|id\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n"
          "*2\r\n:1\r\n:1\r\n");
    struct call c;
    ask(&c, 3, "latency histogram client");
    assert_memory_equal(str_cstr(&c.reply), "%2\r\n", 4);
    assert_non_null(strstr(str_cstr(&c.reply), "client|list\r\n%2\r\n"));
    call_fini(&c);
    ask(&c, 2, "latency histogram");
    assert_memory_equal(str_cstr(&c.reply), "*6\r\n", 4);
    call_fini(&c);
}

static void test_unknown_is_refused(void **state)
{
    (void)state;
    check("latency nope", "-ERR unknown subcommand 'nope'. Try LATENCY HELP.\r\n");
    check_has("latency help", "+LATENCY <subcommand> [<arg> [value] [opt] ...]");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_nothing_is_kept_while_off), T(test_the_worst_of_each_second_is_kept),
        T(test_old_samples_give_way),      T(test_a_graph_is_drawn),
        T(test_histograms_are_cumulative), T(test_unknown_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
