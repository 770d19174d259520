// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/reply.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/resp/value.h"
#include "common/resp/write.h"

#include "tests/unit/unit.h"

#define WORDS_MAX 32

/* The whole reply to a line of words, as bytes. */
static void ask(struct str *to, int proto, const char *line)
{
    struct slice words[WORDS_MAX];
    size_t argc = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        words[argc++] = slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    char error[COMMAND_ERROR_MAX];
    assert_non_null(command_resolve(words, argc, error));
    struct outbuf out = {0};
    struct resp_writer w = {.out = &out, .proto = proto};
    command_reply(&w, words, argc);
    str_clear(to);
    struct iovec iov[16];
    while (out.bytes > 0) {
        int n = outbuf_iovec(&out, iov, (int)ARRAY_LEN(iov));
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            str_append(to, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        outbuf_consume(&out, taken);
    }
    outbuf_fini(&out);
}

static void assert_reply(int proto, const char *line, const char *expected)
{
    struct str got = {0};
    ask(&got, proto, line);
    assert_string_equal(str_cstr(&got), expected);
    str_fini(&got);
}

static struct resp_value *ask_value(struct str *bytes, int proto, const char *line)
{
    ask(bytes, proto, line);
    struct resp_value *v = resp_value_parse(str_slice(bytes));
    assert_non_null(v);
    return v;
}

/* The value of a field of a map, in either protocol. NULL: no such field. */
static const struct resp_value *field(const struct resp_value *map, const char *name)
{
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (slice_is(map->items[i].text, name)) {
            return &map->items[i + 1];
        }
    }
    return NULL;
}

static void test_info_has_the_shape_of_redis(void **state)
{
    (void)state;
    assert_reply(
        2, "command info get nope",
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
        "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n"
        "+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n"
        "*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n"
        "$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0"
        "\r\n*0\r\n$-1\r\n");
    assert_reply(
        3, "command info dbsize config|get",
        "*2\r\n*10\r\n$6\r\ndbsize\r\n:1\r\n~2\r\n+readonly\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
        "~3\r\n+@keyspace\r\n+@read\r\n+@fast\r\n~2\r\n$25\r\nrequest_policy:all_shards\r\n"
        "$23\r\nresponse_policy:agg_sum\r\n~0\r\n*0\r\n"
        "*10\r\n$10\r\nconfig|get\r\n:-3\r\n~4\r\n+admin\r\n+noscript\r\n+loading\r\n+stale"
        "\r\n:0\r\n:0\r\n:0\r\n~3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n~0\r\n~0\r\n*0\r\n");
}

static void test_every_command_is_told_with_its_subcommands(void **state)
{
    (void)state;
    for (int proto = 2; proto <= 3; proto++) {
        struct str bytes = {0};
        struct resp_value *all = ask_value(&bytes, proto, "command");
        assert_int_equal(all->count, 242);
        size_t subcommands = 0;
        for (size_t i = 0; i < all->count; i++) {
            assert_int_equal(all->items[i].count, 10);
            const struct command *c = command_named(all->items[i].items[0].text);
            assert_non_null(c);
            assert_int_equal(all->items[i].items[1].number, c->arity);
            assert_int_equal(all->items[i].items[9].count, c->sub_count);
            subcommands += c->sub_count;
        }
        assert_int_equal(243 + subcommands, CMD_MAX - 1);
        resp_value_free(&all);
        str_fini(&bytes);
    }
    assert_reply(2, "command count", ":242\r\n");
}

static void check_doc(const struct command *c, const struct resp_value *doc)
{
    assert_true(field(doc, "summary")->text.len > 5);
    assert_true(slice_is(field(doc, "since")->text, c->since));
    assert_non_null(field(doc, "group"));
    const struct resp_value *subcommands = field(doc, "subcommands");
    assert_int_equal(subcommands == NULL ? 0 : subcommands->count / 2, c->sub_count);
    const struct resp_value *arguments = field(doc, "arguments");
    bool keys = false;
    for (size_t i = 0; arguments != NULL && i < arguments->count; i++) {
        const struct resp_value *spec = field(&arguments->items[i], "key_spec_index");
        assert_true(spec == NULL || spec->number < c->spec_count);
        keys = keys || spec != NULL || field(&arguments->items[i], "arguments") != NULL;
    }
    assert_true(c->key_single == 0 || c->specs[0].flags == KEY_NOT_KEY || keys);
    for (size_t i = 0; subcommands != NULL && i < subcommands->count; i += 2) {
        const struct command *sub = command_named(subcommands->items[i].text);
        assert_non_null(sub);
        assert_ptr_equal(sub->parent, c);
        check_doc(sub, &subcommands->items[i + 1]);
    }
}

static void test_every_command_is_documented(void **state)
{
    (void)state;
    for (int proto = 2; proto <= 3; proto++) {
        struct str bytes = {0};
        struct resp_value *all = ask_value(&bytes, proto, "command docs");
        assert_int_equal(all->count, 2 * 242);
        for (size_t i = 0; i < all->count; i += 2) {
            check_doc(command_named(all->items[i].text), &all->items[i + 1]);
        }
        resp_value_free(&all);
        str_fini(&bytes);
    }
}

static void test_docs_nest_arguments(void **state)
{
    (void)state;
    struct str bytes = {0};
    struct resp_value *docs = ask_value(&bytes, 3, "command docs bitcount nope client|list");
    assert_int_equal(docs->count, 4);
    const struct resp_value *arguments = field(&docs->items[1], "arguments");
    assert_int_equal(arguments->count, 2);
    assert_int_equal(field(&arguments->items[0], "key_spec_index")->number, 0);
    const struct resp_value *index = field(&arguments->items[1], "arguments");
    assert_int_equal(index->count, 3);
    const struct resp_value *unit = field(&index->items[2], "arguments");
    assert_int_equal(unit->count, 2);
    assert_true(slice_eq(field(&unit->items[1], "token")->text, SLICE("BIT")));
    assert_true(slice_eq(docs->items[2].text, SLICE("client|list")));
    resp_value_free(&docs);
    str_fini(&bytes);
}

static void test_list_filters(void **state)
{
    (void)state;
    struct str bytes = {0};
    struct resp_value *all = ask_value(&bytes, 2, "command list");
    assert_int_equal(all->count, CMD_MAX - 2); /* all but SHOAL */
    resp_value_free(&all);
    struct resp_value *scripting = ask_value(&bytes, 2, "command list filterby aclcat scripting");
    for (size_t i = 0; i < scripting->count; i++) {
        assert_true(command_named(scripting->items[i].text)->acl & ACL_SCRIPTING);
    }
    assert_int_equal(scripting->count, 21);
    resp_value_free(&scripting);
    str_fini(&bytes);
    assert_reply(2, "command list filterby pattern XREAD*",
                 "*2\r\n$5\r\nxread\r\n$10\r\nxreadgroup\r\n");
    assert_reply(2, "command list filterby pattern nope", "*0\r\n");
    assert_reply(2, "command list filterby module any", "*0\r\n");
    assert_reply(2, "command list filterby aclcat nope", "*0\r\n");
    assert_reply(2, "command list filterby what x", "-ERR syntax error\r\n");
    assert_reply(2, "command list filterby pattern", "-ERR syntax error\r\n");
    assert_reply(2, "command list nope", "-ERR syntax error\r\n");
}

static void test_getkeys(void **state)
{
    (void)state;
    assert_reply(2, "command getkeys get key", "*1\r\n$3\r\nkey\r\n");
    assert_reply(2, "command getkeys memory usage key", "*1\r\n$3\r\nkey\r\n");
    assert_reply(2, "command getkeys eval script 2 a b arg", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_reply(2, "command getkeys eval script 0", "*0\r\n");
    assert_reply(2, "command getkeysandflags set a b get",
                 "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    assert_reply(
        3, "command getkeysandflags sort a store d",
        "*2\r\n*2\r\n$1\r\na\r\n~2\r\n+RO\r\n+access\r\n*2\r\n$1\r\nd\r\n~2\r\n+OW\r\n+update"
        "\r\n");
    assert_reply(2, "command getkeys zunion 0 a",
                 "-ERR Invalid arguments specified for command\r\n");
    assert_reply(2, "command getkeys client list", "-ERR The command has no key arguments\r\n");
    assert_reply(2, "command getkeys spublish a b", "-ERR The command has no key arguments\r\n");
    assert_reply(2, "command getkeys nope a", "-ERR Invalid command specified\r\n");
    assert_reply(2, "command getkeys get a b",
                 "-ERR Invalid number of arguments specified for command\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_has_the_shape_of_redis),
        cmocka_unit_test(test_every_command_is_told_with_its_subcommands),
        cmocka_unit_test(test_every_command_is_documented),
        cmocka_unit_test(test_docs_nest_arguments),
        cmocka_unit_test(test_list_filters),
        cmocka_unit_test(test_getkeys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
