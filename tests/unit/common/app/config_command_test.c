// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/config_command.h"

#include "tests/unit/common/app/replies.h"
#include "tests/unit/common/app/sample.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct sample values;
static int changes;
static int resets;
static const char *refused; /* on_change fails for this option while effort is not 1 */

static bool on_change(void *arg, const struct option *o, struct errmsg *err)
{
    (void)arg;
    changes++;
    if (refused != NULL && strcmp(o->name, refused) == 0 && values.maxmemory != 0) {
        errmsg_set(err, "not today");
        return false;
    }
    return true;
}

static void on_reset(void *arg)
{
    (void)arg;
    resets++;
}

static struct config_context context = {
    .table = &sample_table, .values = &values, .on_change = on_change, .reset_stats = on_reset};

static int setup(void **state)
{
    (void)state;
    options_init(&sample_table, &values);
    changes = resets = 0;
    refused = NULL;
    context.path = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    options_fini(&sample_table, &values);
    return 0;
}

static void check_proto(int proto, const char *line, const char *reply)
{
    struct call c;
    call_init(&c, proto, line);
    config_command(&context, c.argv, c.argc, &c.w);
    assert_string_equal(call_reply(&c), reply);
    call_fini(&c);
}

static void check(const char *line, const char *reply)
{
    check_proto(2, line, reply);
}

static void test_get_answers_names_and_values_once(void **state)
{
    (void)state;
    check("CONFIG GET port", "*2\r\n$4\r\nport\r\n$4\r\n6379\r\n");
    check("config get PORT p[o]rt port", "*2\r\n$4\r\nport\r\n$4\r\n6379\r\n");
    check("config get port max*",
          "*4\r\n$4\r\nport\r\n$4\r\n6379\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
    check("config get nothing*", "*0\r\n");
    check("config get secret-sw*", "*0\r\n");
    check("config get secret-switch", "*2\r\n$13\r\nsecret-switch\r\n$2\r\nno\r\n");
    check("config get effort-old", "*2\r\n$10\r\neffort-old\r\n$1\r\n1\r\n");
    check_proto(3, "config get port", "%1\r\n$4\r\nport\r\n$4\r\n6379\r\n");
}

static void test_set_changes_and_tells(void **state)
{
    (void)state;
    check("config set effort 4 maxmemory 1mb", "+OK\r\n");
    assert_int_equal(values.effort, 4);
    assert_int_equal(values.maxmemory, 1 << 20);
    assert_int_equal(changes, 2);
    check("config set effort 4", "+OK\r\n"); /* the same value is no change */
    assert_int_equal(changes, 2);
    check("config set effort-old 5", "+OK\r\n");
    assert_int_equal(values.effort, 5);
    check("config set requirepass ''", "+OK\r\n");
}

static void test_set_refuses_as_redis_does(void **state)
{
    (void)state;
    check("config set effort 0", "-ERR CONFIG SET failed (possibly related to argument 'effort') - "
                                 "argument must be between 1 and 10 inclusive\r\n");
    check("config set effort 2 port 1",
          "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable "
          "config\r\n");
    check("config set effort 2 what 1",
          "-ERR Unknown option or number of arguments for CONFIG SET - 'what'\r\n");
    check("config set port 2 what 1",
          "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable "
          "config\r\n");
    check("config set effort 2 effort-old 3",
          "-ERR CONFIG SET failed (possibly related to argument 'effort-old') - duplicate "
          "parameter\r\n");
    check("config set effort 2 maxmemory", "-ERR syntax error\r\n");
    check("config set effort", "-ERR wrong number of arguments for 'config|set' command\r\n");
    check("config get", "-ERR wrong number of arguments for 'config|get' command\r\n");
    check("config", "-ERR wrong number of arguments for 'config' command\r\n");
    check("config nope", "-ERR unknown subcommand 'nope'. Try CONFIG HELP.\r\n");
    assert_int_equal(values.effort, 1);
    assert_int_equal(changes, 0);
}

static void test_a_bad_value_leaves_all_as_it_was(void **state)
{
    (void)state;
    check("config set effort 4 bind x maxmemory y",
          "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a "
          "memory value\r\n");
    assert_int_equal(values.effort, 1);
    assert_string_equal(values.bind, "127.0.0.1 ::1");
    assert_int_equal(changes, 0);
}

static void test_what_cannot_be_applied_goes_back(void **state)
{
    (void)state;
    refused = "daemonize";
    check("config set maxmemory 1mb daemonize yes effort 3",
          "-ERR CONFIG SET failed (possibly related to argument 'daemonize') - not today\r\n");
    assert_int_equal(values.maxmemory, 0);
    assert_int_equal(values.effort, 1);
    assert_false(values.daemonize);
    assert_int_equal(changes, 4); /* two there, two back */
}

static void test_the_others(void **state)
{
    (void)state;
    check("config resetstat", "+OK\r\n");
    assert_int_equal(resets, 1);
    check("config resetstat x",
          "-ERR wrong number of arguments for 'config|resetstat' command\r\n");
    check("config rewrite", "-ERR The server is running without a config file\r\n");
    char path[] = "/tmp/shoal-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    context.path = path;
    check("config set effort 9", "+OK\r\n");
    check("config rewrite", "+OK\r\n");
    struct sample again;
    struct errmsg err;
    options_init(&sample_table, &again);
    assert_true(options_load_file(&sample_table, &again, path, NULL, NULL, &err));
    assert_int_equal(again.effort, 9);
    options_fini(&sample_table, &again);
    unlink(path);
    struct call c;
    call_init(&c, 2, "config help");
    config_command(&context, c.argv, c.argc, &c.w);
    assert_memory_equal(call_reply(&c), "*11\r\n+CONFIG <subcommand> [<arg>", 29);
    call_fini(&c);
}

static void test_secrets_are_known(void **state)
{
    (void)state;
    struct call c;
    call_init(&c, 2, "config set effort 2 REQUIREPASS x");
    assert_false(config_is_secret(&sample_table, c.argv, c.argc, 3));
    assert_false(config_is_secret(&sample_table, c.argv, c.argc, 4));
    assert_true(config_is_secret(&sample_table, c.argv, c.argc, 5));
    assert_false(config_is_secret(&sample_table, c.argv, c.argc, 6));
    call_fini(&c);
}

static void test_directives_of_redis_that_are_none_of_ours(void **state)
{
    (void)state;
    check("config get replicaof", "*0\r\n");
    check("config set masterauth x",
          "-ERR Unknown option or number of arguments for CONFIG SET - 'masterauth'\r\n");
    context.foreign = true;
    check("config get replicaof", "*2\r\n$9\r\nreplicaof\r\n$0\r\n\r\n");
    check("config set replica-read-only yes effort 2 jemalloc-bg-thread no", "+OK\r\n");
    assert_int_equal(values.effort, 2);
    check("config set effort 3 replica-read-only no",
          "-ERR CONFIG SET failed (possibly related to argument 'replica-read-only') - only yes is "
          "possible: replicas take no writes of clients\r\n");
    check(
        "config set replica-read-only yes effort 0",
        "-ERR CONFIG SET failed (possibly related to argument 'effort') - argument must be between "
        "1 and 10 inclusive\r\n");
    assert_int_equal(values.effort, 2);
    context.foreign = false;
    struct call c;
    call_init(&c, 2, "config set masterauth x");
    assert_true(config_is_secret(&sample_table, c.argv, c.argc, 3));
    call_fini(&c);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_get_answers_names_and_values_once),
        T(test_set_changes_and_tells),
        T(test_set_refuses_as_redis_does),
        T(test_a_bad_value_leaves_all_as_it_was),
        T(test_what_cannot_be_applied_goes_back),
        T(test_the_others),
        T(test_secrets_are_known),
        T(test_directives_of_redis_that_are_none_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
