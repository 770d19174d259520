// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/keys.h"

#include "common/base/mem.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

#define WORDS_MAX 32

/* Words separated by spaces; '' is an empty one. */
static size_t split(const char *line, struct slice words[WORDS_MAX])
{
    size_t n = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        words[n++] = len == 2 && memcmp(line, "''", 2) == 0 ? SLICE("") : slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    return n;
}

static void append_flags(struct str *to, unsigned flags)
{
    static const char letters[] = "rwoxAUIDN";
    static const unsigned bits[] = {KEY_RO,     KEY_RW,     KEY_OW,     KEY_RM,     KEY_ACCESS,
                                    KEY_UPDATE, KEY_INSERT, KEY_DELETE, KEY_NOT_KEY};
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        if (flags & bits[i]) {
            str_append_char(to, letters[i]);
        }
    }
}

/* "index:flags ..." or what is wrong. */
static void describe(struct str *to, const char *line)
{
    struct slice words[WORDS_MAX];
    size_t argc = split(line, words);
    const struct command *c = command_find(words, argc);
    assert_non_null(c);
    struct key_list keys;
    key_list_init(&keys);
    enum keys_result result = keys_find(c, words, argc, &keys);
    if (result != KEYS_OK) {
        str_appendz(to, result == KEYS_NONE ? "none" : "bad");
    }
    for (uint32_t i = 0; i < keys.count; i++) {
        str_printf(to, "%s%u:", i > 0 ? " " : "", keys.keys[i].index);
        append_flags(to, keys.keys[i].flags);
    }
    key_list_fini(&keys);
}

static const struct {
    const char *line;
    const char *keys;
} cases[] = {
    {"get a", "1:rA"},
    {"ping", "none"},
    {"client list", "none"},
    {"set a b", "1:oU"},
    {"set a get", "1:oU"},
    {"set a b nx get", "1:wAU"},
    {"bitfield a", "1:rA"},
    {"bitfield a get u8 0 overflow fail get u8 1", "1:rA"},
    {"bitfield a get u8 0 set u8 0 1", "1:wAU"},
    {"bitfield a incrby u8 0 1", "1:wAU"},
    {"mget a b c", "1:rA 2:rA 3:rA"},
    {"mset a 1 b 2", "1:oU 3:oU"},
    {"mset a 1 b", "1:oU 3:oU"},
    {"del a b", "1:xD 2:xD"},
    {"rename a b", "1:wAD 2:oU"},
    {"blpop a b 0", "1:wAD 2:wAD"},
    {"bitop and d a b", "2:oU 3:rA 4:rA"},
    {"object encoding a", "2:r"},
    {"memory usage a samples 3", "2:r"},
    {"xgroup create a g 0", "2:wI"},
    {"xinfo stream a full", "2:rA"},
    {"eval x 2 a b c", "3:wAU 4:wAU"},
    {"eval x 0", ""},
    {"eval x 3 a b", ""},
    {"eval x -1 a b", ""},
    {"eval_ro x 1 a", "3:rA"},
    {"fcall f 1 a b", "3:wAU"},
    {"zunionstore d 2 a b weights 1 2", "1:oU 3:rA 4:rA"},
    {"zunionstore d 0 a b", "bad"},
    {"zunion 2 a b withscores", "2:rA 3:rA"},
    {"zunion 3 a b", "bad"},
    {"zunion 99999999999 a b", "bad"},
    {"zunion -9223372036854775808 a b", "bad"},
    {"zunion x a b", "bad"},
    {"sintercard 2 a b limit 1", "2:rA 3:rA"},
    {"lmpop 2 a b left", "2:wAD 3:wAD"},
    {"blmpop 0 1 a left", "3:wAD"},
    {"xread count 1 streams a b 0 0", "4:rA 5:rA"},
    {"xread block 0 STREAMS a $", "4:rA"},
    {"xread count 1 a", "bad"},
    {"xread count 1 streams", "bad"},
    {"xreadgroup group streams c streams a b > >", "5:rA 6:rA"},
    {"sort a", "1:rA"},
    {"sort a by w_* get # limit 0 store store d", "1:rA 10:oU"},
    {"sort a get store desc", "1:rA"},
    {"sort a store d store e", "1:rA 5:oU"},
    {"sort_ro a by store", "1:rA"},
    {"georadius a 1 2 3 m", "1:rA"},
    {"georadius a 1 2 3 m asc store d", "1:rA 8:oU"},
    {"georadius a 1 2 3 m store", "1:rA"},
    {"georadiusbymember a m 3 km STOREDIST d", "1:rA 6:oU"},
    {"geosearchstore d a frommember m byradius 1 m", "1:oU 2:rA"},
    {"migrate h 1 a 0 1", "3:wAD"},
    {"migrate h 1 '' 0 1 auth keys keys a b", "9:wAD 10:wAD"},
    {"migrate h 1 a 0 1 keys a b", "bad"},
    {"spublish ch m", "1:N"},
    {"ssubscribe a b", "1:N 2:N"},
    {"publish ch m", "none"},
    {"copy a b", "1:rA 2:oU"},
    {"pfmerge d", "1:wAI"},
    {"pfcount a b", "1:wA 2:wA"},
    {"get", "bad"},
    {"shoal", "none"},
};

static void test_keys_of_all_shapes_of_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str found = {0};
        describe(&found, cases[i].line);
        if (strcmp(str_cstr(&found), cases[i].keys) != 0) {
            print_message("%s\n", cases[i].line);
        }
        assert_string_equal(str_cstr(&found), cases[i].keys);
        str_fini(&found);
    }
}

/* The quick answer and the search must agree for every command and every number of arguments. */
static void test_the_single_key_is_the_one_that_a_search_finds(void **state)
{
    (void)state;
    struct slice argv[12];
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = SLICE("1");
    }
    struct key_list keys;
    key_list_init(&keys);
    int singles = 0;
    for (enum command_id id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id(id);
        if (keys_single(c) == 0) {
            continue;
        }
        for (size_t argc = 1; argc <= ARRAY_LEN(argv); argc++) {
            if (command_arity_ok(c, argc)) {
                assert_int_equal(keys_find(c, argv, argc, &keys), KEYS_OK);
                assert_int_equal(keys.count, 1);
                assert_int_equal(keys.keys[0].index, keys_single(c));
                if (!(c->specs[0].flags & KEY_VARIABLE_FLAGS)) {
                    assert_int_equal(keys.keys[0].flags & UINT8_MAX, c->key_flags);
                }
                singles++;
            }
        }
    }
    assert_true(singles > 150);
    key_list_fini(&keys);
}

static void test_many_keys_make_the_list_grow(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct slice *argv = mem_alloc((COUNT + 1) * sizeof(*argv));
    argv[0] = SLICE("mget");
    for (size_t i = 1; i <= COUNT; i++) {
        argv[i] = SLICE("k");
    }
    struct key_list keys;
    key_list_init(&keys);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(keys_find(command_by_id(CMD_MGET), argv, COUNT + 1, &keys), KEYS_OK);
        assert_int_equal(keys.count, COUNT);
        assert_int_equal(keys.keys[0].index, 1);
        assert_int_equal(keys.keys[COUNT - 1].index, COUNT);
    }
    key_list_fini(&keys);
    mem_free(argv);
}

/* Any arguments for any command: never an index outside argv, never an endless search. */
static void test_no_arguments_lead_outside_argv(void **state)
{
    (void)state;
    static const char *const words[] = {"0",         "1",     "2",
                                        "3",         "-1",    "9223372036854775807",
                                        "KEYS",      "STORE", "STREAMS",
                                        "streams",   "",      "LIMIT",
                                        "AUTH2",     "GET",   "-9223372036854775808",
                                        "4294967297"};
    uint32_t seed = 1;
    struct key_list keys;
    key_list_init(&keys);
    for (int round = 0; round < 200; round++) {
        for (enum command_id id = 1; id < CMD_MAX; id++) {
            struct slice argv[14];
            size_t argc = 1 + (seed >> 8) % ARRAY_LEN(argv);
            for (size_t i = 0; i < argc; i++) {
                seed = seed * 1664525 + 1013904223;
                argv[i] = slice_str(words[(seed >> 16) % ARRAY_LEN(words)]);
            }
            enum keys_result result = keys_find(command_by_id(id), argv, argc, &keys);
            assert_true(result == KEYS_OK || keys.count == 0);
            for (uint32_t i = 0; i < keys.count; i++) {
                assert_in_range(keys.keys[i].index, 1, argc - 1);
            }
        }
    }
    key_list_fini(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_all_shapes_of_commands),
        cmocka_unit_test(test_the_single_key_is_the_one_that_a_search_finds),
        cmocka_unit_test(test_many_keys_make_the_list_grow),
        cmocka_unit_test(test_no_arguments_lead_outside_argv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
