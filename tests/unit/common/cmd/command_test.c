// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/command.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define WORDS_MAX 64

static size_t split(const char *line, struct slice words[WORDS_MAX])
{
    size_t n = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        words[n++] = slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    return n;
}

static const struct command *find(const char *line)
{
    struct slice words[WORDS_MAX];
    return command_find(words, split(line, words));
}

static void test_every_row_is_found_by_its_name_in_any_case(void **state)
{
    (void)state;
    for (enum command_id id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id(id);
        assert_int_equal(c->id, id);
        char upper[64];
        size_t len = strlen(c->full_name);
        for (size_t i = 0; i <= len; i++) {
            char ch = c->full_name[i];
            upper[i] = (char)(ch >= 'a' && ch <= 'z' && (i + id) % 3 != 0 ? ch - 32 : ch);
        }
        assert_ptr_equal(command_named(slice_of(upper, len)), c);
        char *bar = strchr(upper, '|');
        struct slice words[2] = {slice_of(upper, len), SLICE("x")};
        size_t argc = 1;
        if (bar != NULL) {
            words[0].len = (size_t)(bar - upper);
            words[1] = slice_str(bar + 1);
            argc = 2;
        }
        assert_ptr_equal(command_find(words, argc), c);
        words[argc - 1].len--; /* a prefix is no name, or another command's */
        assert_ptr_not_equal(command_find(words, argc), c);
    }
}

static void test_redis_knows_240_commands_and_126_subcommands(void **state)
{
    (void)state;
    int commands = 0;
    int subcommands = 0;
    for (enum command_id id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id(id);
        if (strcmp(c->since, "0.1.0") == 0 || id == CMD_CLIENT_SETINFO || id == CMD_WAITAOF) {
            continue; /* ours, and those of a later Redis */
        }
        *(c->parent_id == CMD_NONE ? &commands : &subcommands) += 1;
    }
    assert_int_equal(commands, 240);
    assert_int_equal(subcommands, 126);
}

static void test_names_that_only_look_alike_are_not_found(void **state)
{
    (void)state;
    static const char *const wrong[] = {"ge",
                                        "gett",
                                        "g\x05t",
                                        "GE\x14",
                                        "ge\xf4",
                                        "x",
                                        "\"et",
                                        "restore\rasking",
                                        "georadiusbymember_rp",
                                        "georadius\x02ymember_ro",
                                        "zrangebyscor\x45\x60"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct slice word = slice_str(wrong[i]);
        assert_null(command_find(&word, 1));
    }
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    for (size_t len = 0; len <= sizeof(longest); len++) {
        struct slice word = slice_of(longest, len);
        assert_null(command_find(&word, 1));
    }
}

static void test_subcommands_are_found_through_their_container(void **state)
{
    (void)state;
    assert_int_equal(find("client list")->id, CMD_CLIENT_LIST);
    assert_int_equal(find("CLIENT No-Evict on")->id, CMD_CLIENT_NO_EVICT);
    assert_int_equal(find("cluster count-failure-reports x")->id,
                     CMD_CLUSTER_COUNT_FAILURE_REPORTS);
    assert_int_equal(find("client")->id, CMD_CLIENT);
    assert_int_equal(find("command")->id, CMD_COMMAND);
    assert_int_equal(find("command count")->id, CMD_COMMAND_COUNT);
    assert_null(find("client nothing"));
    assert_null(find("list"));
    assert_null(find("client|list"));
    assert_null(command_named(SLICE("get|list")));
    assert_null(command_named(SLICE("client|")));
    assert_null(command_named(SLICE("|")));
    assert_ptr_equal(find("config get x")->parent, find("config"));
    assert_int_equal(command_sub(find("memory"), SLICE("USAGE"))->id, CMD_MEMORY_USAGE);
    assert_int_equal(find("proxy nodes")->id, CMD_PROXY_NODES);
    assert_int_equal(find("cluster rebalance plan")->id, CMD_CLUSTER_REBALANCE);
}

static void test_arity_counts_the_name(void **state)
{
    (void)state;
    assert_true(command_arity_ok(find("get"), 2));
    assert_false(command_arity_ok(find("get"), 3));
    assert_false(command_arity_ok(find("mget"), 1));
    assert_true(command_arity_ok(find("mget"), 200));
    assert_true(command_arity_ok(find("command"), 1));
}

static void test_rows_say_what_the_proxy_needs(void **state)
{
    (void)state;
    assert_true(command_is_write(find("set a b")));
    assert_false(command_is_write(find("get a")));
    assert_int_equal(find("get a")->key_single, 1);
    assert_int_equal(find("set a b")->key_single, 1);
    assert_int_equal(find("xgroup create a b c")->key_single, 2);
    assert_int_equal(find("mget a")->key_single, 0);
    assert_int_equal(find("mget a")->request, REQUEST_MULTI_SHARD);
    assert_int_equal(find("dbsize")->response, RESPONSE_AGG_SUM);
    assert_int_equal(find("wait 0 0")->response, RESPONSE_AGG_MIN);
    assert_int_equal(find("get a")->acl, ACL_READ | ACL_STRING | ACL_FAST);
    assert_int_equal(find("config set a b")->acl, ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS);
    assert_int_equal(find("mset a b")->key_first, 1);
    assert_int_equal(find("mset a b")->key_last, -1);
    assert_int_equal(find("mset a b")->key_step, 2);
    assert_int_equal(command_category_mask(SLICE("SortedSet")), ACL_SORTEDSET);
    assert_int_equal(command_category_mask(SLICE("sorted")), 0);
}

static void assert_error(const struct slice *argv, size_t argc, const char *expected)
{
    char error[COMMAND_ERROR_MAX];
    assert_null(command_resolve(argv, argc, error));
    assert_string_equal(error, expected);
}

static void test_errors_are_worded_as_redis_words_them(void **state)
{
    (void)state;
    struct slice words[WORDS_MAX];
    assert_error(words, split("foo", words),
                 "ERR unknown command 'foo', with args beginning with: ");
    assert_error(words, split("FOO a bc", words),
                 "ERR unknown command 'FOO', with args beginning with: 'a' 'bc' ");
    assert_error(words, split("client nope x", words),
                 "ERR unknown subcommand 'nope'. Try CLIENT HELP.");
    assert_error(words, split("client", words),
                 "ERR wrong number of arguments for 'client' command");
    assert_error(words, split("client kill", words),
                 "ERR wrong number of arguments for 'client|kill' command");
    assert_error(words, split("GET a b", words), "ERR wrong number of arguments for 'get' command");
}

static void test_errors_show_at_most_128_bytes_of_a_word(void **state)
{
    (void)state;
    char big[200];
    memset(big, 'x', sizeof(big));
    char expected[COMMAND_ERROR_MAX];
    struct slice words[3] = {slice_of(big, 200), slice_of(big, 100), slice_of(big, 100)};
    /* 103 bytes are used by the first argument, so 25 of the second are shown. */
    snprintf(expected, sizeof(expected),
             "ERR unknown command '%.128s', with args beginning with: '%.100s' '%.25s' ", big, big,
             big);
    assert_error(words, 3, expected);
    struct slice sub[2] = {SLICE("config"), slice_of(big, 200)};
    snprintf(expected, sizeof(expected), "ERR unknown subcommand '%.128s'. Try CONFIG HELP.", big);
    assert_error(sub, 2, expected);
    struct slice nul[2] = {slice_of("a\0b", 3), slice_of("c\0d", 3)};
    assert_error(nul, 2, "ERR unknown command 'a', with args beginning with: 'c' ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_found_by_its_name_in_any_case),
        cmocka_unit_test(test_redis_knows_240_commands_and_126_subcommands),
        cmocka_unit_test(test_names_that_only_look_alike_are_not_found),
        cmocka_unit_test(test_subcommands_are_found_through_their_container),
        cmocka_unit_test(test_arity_counts_the_name),
        cmocka_unit_test(test_rows_say_what_the_proxy_needs),
        cmocka_unit_test(test_errors_are_worded_as_redis_words_them),
        cmocka_unit_test(test_errors_show_at_most_128_bytes_of_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
