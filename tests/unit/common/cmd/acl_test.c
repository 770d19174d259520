// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/acl.h"

#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 64

/* Cuts at single blanks. */
static size_t cut(const char *text, struct slice words[WORDS_MAX])
{
    size_t n = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        assert_true(n < WORDS_MAX);
        words[n++] = slice_of(text, len);
        text += len + (text[len] == ' ');
    }
    return n;
}

static void change(struct acl_user *u, const char *rules)
{
    struct slice words[WORDS_MAX];
    struct str error = {0};
    size_t n = cut(rules, words);
    if (!acl_user_apply(u, words, n, false, &error)) {
        fail_msg("%s: %s", rules, str_cstr(&error));
    }
    str_fini(&error);
}

static struct acl_user *user(const char *rules)
{
    struct acl_user *u = acl_user_new(SLICE("u"), false);
    change(u, rules);
    return u;
}

static void assert_prints(const char *rules, const char *printed)
{
    struct acl_user *u = user(rules);
    struct str text = {0};
    acl_user_print(u, &text);
    assert_string_equal(str_cstr(&text), printed);
    /* What is printed means the same. */
    struct acl_user *again = acl_user_new(SLICE("u"), false);
    change(again, str_cstr(&text) + 2);
    str_clear(&text);
    acl_user_print(again, &text);
    assert_string_equal(str_cstr(&text), printed);
    str_fini(&text);
    acl_user_free(&u);
    acl_user_free(&again);
}

static void assert_refused(const char *rules, const char *want)
{
    struct acl_user *u = acl_user_new(SLICE("u"), false);
    struct slice words[WORDS_MAX];
    struct str error = {0};
    size_t n = cut(rules, words);
    assert_false(acl_user_apply(u, words, n, false, &error));
    assert_string_equal(str_cstr(&error), want);
    str_fini(&error);
    acl_user_free(&u);
}

static enum acl_answer ask(const struct acl_user *u, const char *command, size_t *at)
{
    struct slice argv[WORDS_MAX];
    struct key_list keys;
    size_t argc = cut(command, argv);
    const struct command *c = command_find(argv, argc);
    assert_non_null(c);
    assert_true(command_arity_ok(c, argc));
    key_list_init(&keys);
    enum acl_answer a = acl_check(u, c, argv, argc, &keys, at);
    key_list_fini(&keys);
    return a;
}

static void assert_answer(const char *rules, const char *command, enum acl_answer want, size_t at)
{
    struct acl_user *u = user(rules);
    size_t found;
    enum acl_answer a = ask(u, command, &found);
    if (a != want || (a != ACL_YES && found != at)) {
        fail_msg("%s | %s: %d at %zu", rules, command, (int)a, found);
    }
    acl_user_free(&u);
}

static void test_rules_print_as_redis_prints_them(void **state)
{
    (void)state;
    assert_prints("", "u off resetchannels -@all");
    assert_prints("on nopass allkeys allchannels allcommands", "u on nopass ~* &* +@all");
    assert_prints("+get ~k %R~r %W~w &c", "u off ~k %R~r %W~w resetchannels &c -@all +get");
    assert_prints("+get -get +@hash +@string -get",
                  "u off resetchannels -@all +@hash +@string -get");
    assert_prints("+@all -@string +get -config +config|get",
                  "u off resetchannels +@all -@string +get -config +config|get");
    assert_prints("+select|0 +select|1 +select|0 +debug|object",
                  "u off resetchannels -@all +select|0 +select|1 +debug|object");
    assert_prints("%RW~* ~a", "u off %RW~* ~a resetchannels -@all");
    assert_prints("%R~a %W~a %RW~b", "u off ~a ~b resetchannels -@all");
    assert_prints("reset (+get ~x) (&y)",
                  "u off sanitize-payload resetchannels -@all (~x resetchannels -@all +get) "
                  "(resetchannels &y -@all)");
    assert_prints(
        ">p nopass >abc skip-sanitize-payload",
        "u off skip-sanitize-payload "
        "#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad resetchannels -@all");
}

static void test_a_lone_category_is_shown_as_it_was_given(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < ACL_BITS; bit++) {
        struct str rules = {0};
        struct str want = {0};
        str_printf(&rules, "-@all +@%s", command_category_name(bit));
        str_printf(&want, "u off resetchannels -@all +@%s", command_category_name(bit));
        assert_prints(str_cstr(&rules), str_cstr(&want));
        str_clear(&rules);
        str_clear(&want);
        str_printf(&rules, "+@all -@%s", command_category_name(bit));
        str_printf(&want, "u off resetchannels +@all -@%s", command_category_name(bit));
        assert_prints(str_cstr(&rules), str_cstr(&want));
        str_fini(&rules);
        str_fini(&want);
    }
}

static void test_bad_rules_are_refused(void **state)
{
    (void)state;
    assert_refused("+nope", "Error in ACL SETUSER modifier '+nope': Unknown command or category "
                            "name in ACL");
    assert_refused("foo", "Error in ACL SETUSER modifier 'foo': Syntax error");
    assert_refused("+config|get|x", "Error in ACL SETUSER modifier '+config|get|x': Allowing "
                                    "first-arg of a subcommand is not supported");
    assert_refused("+get|", "Error in ACL SETUSER modifier '+get|': Syntax error");
    assert_refused("+config|nope", "Error in ACL SETUSER modifier '+config|nope': Unknown command "
                                   "or category name in ACL");
    assert_refused("%~", "Error in ACL SETUSER modifier '%~': Syntax error");
    assert_refused("%RR~a", "Error in ACL SETUSER modifier '%RR~a': Syntax error");
    assert_refused("<no", "Error in ACL SETUSER modifier '<no': The password you are trying to "
                          "remove from the user does not exist");
    assert_refused("#A", "Error in ACL SETUSER modifier '#A': The password hash must be exactly 64 "
                         "characters and contain only lowercase hexadecimal characters");
    assert_refused("(+get", "Unmatched parenthesis in acl selector starting at '(+get'.");
    assert_refused("( foo )", "Error in ACL SETUSER modifier '( foo )': Syntax error");
    assert_refused("(~a))", "Error in ACL SETUSER modifier '(~a))': Syntax error");
    assert_refused("(on)", "Error in ACL SETUSER modifier '(on)': Syntax error");
    assert_refused(")", "Error in ACL SETUSER modifier ')': Syntax error");
}

static void test_commands_are_checked(void **state)
{
    (void)state;
    assert_answer("allkeys +get", "GET x", ACL_YES, 0);
    assert_answer("allkeys +get", "SET x 1", ACL_NOT_COMMAND, 0);
    assert_answer("+client|id", "CLIENT ID", ACL_YES, 0);
    assert_answer("+client|id", "CLIENT INFO", ACL_NOT_COMMAND, 0);
    assert_answer("+@all -config|set", "CONFIG SET a b", ACL_NOT_COMMAND, 0);
    assert_answer("+select|0", "SELECT 0", ACL_YES, 0);
    assert_answer("+select|0", "SELECT 1", ACL_NOT_COMMAND, 0);
    /* AUTH and its kin are for everybody. */
    assert_answer("", "AUTH a b", ACL_YES, 0);
}

static void test_keys_are_checked_by_what_is_done_with_them(void **state)
{
    (void)state;
    const char *rules = "+@all %R~read* %W~write* %RW~rw*";
    assert_answer(rules, "GET read1", ACL_YES, 0);
    assert_answer(rules, "GET write1", ACL_NOT_KEY, 1);
    assert_answer(rules, "SET write1 v", ACL_YES, 0);
    assert_answer(rules, "SET write1 v GET", ACL_NOT_KEY, 1);
    assert_answer(rules, "COPY read write", ACL_YES, 0);
    assert_answer(rules, "COPY write read", ACL_NOT_KEY, 1);
    assert_answer(rules, "EXISTS write1", ACL_YES, 0);
    assert_answer(rules, "EXISTS nothing", ACL_NOT_KEY, 1);
    assert_answer(rules, "EVAL x 1 read", ACL_NOT_KEY, 3);
    assert_answer(rules, "EVAL x 3 rw read", ACL_YES, 0); /* no keys: it can't run */
    assert_answer(rules, "SORT read STORE write", ACL_YES, 0);
    assert_answer(rules, "SORT read BY w* STORE write", ACL_NOT_BY, 2);
    assert_answer("+sort ~* ", "SORT read BY w* GET x", ACL_YES, 0);
    assert_answer("+sort ~l", "SORT l BY w GET x", ACL_NOT_GET, 4);
}

static void test_channels_are_checked(void **state)
{
    (void)state;
    const char *rules = "+@all allkeys &foo:1 &bar:*";
    assert_answer(rules, "PUBLISH bar:2 x", ACL_YES, 0);
    assert_answer(rules, "PUBLISH zap x", ACL_NOT_CHANNEL, 1);
    assert_answer(rules, "SUBSCRIBE foo:1 bar:2 zap", ACL_NOT_CHANNEL, 3);
    assert_answer(rules, "PSUBSCRIBE bar:*", ACL_YES, 0);
    assert_answer(rules, "PSUBSCRIBE bar:1", ACL_NOT_CHANNEL, 1); /* patterns count literally */
    assert_answer(rules, "SUNSUBSCRIBE zap", ACL_YES, 0);
    assert_answer(rules, "SPUBLISH zap x", ACL_NOT_CHANNEL, 1);
}

static void test_one_selector_must_allow_all_of_a_command(void **state)
{
    (void)state;
    const char *rules = "(+@write ~w*) (+@read ~r*)";
    assert_answer(rules, "SET w 1", ACL_YES, 0);
    assert_answer(rules, "GET r", ACL_YES, 0);
    assert_answer(rules, "GET w", ACL_NOT_KEY, 1);
    /* The refusal that came furthest is told. */
    assert_answer("+mget ~key (+mget ~key ~otherkey)", "MGET key otherkey some", ACL_NOT_KEY, 3);
}

static void test_passwords(void **state)
{
    (void)state;
    struct acl_user *u = user("on >a >b");
    assert_true(acl_user_accepts(u, SLICE("a")));
    assert_true(acl_user_accepts(u, SLICE("b")));
    assert_false(acl_user_accepts(u, SLICE("c")));
    change(u, "<a");
    assert_false(acl_user_accepts(u, SLICE("a")));
    change(u, "off");
    assert_false(acl_user_accepts(u, SLICE("b")));
    change(u, "on nopass");
    assert_true(acl_user_accepts(u, SLICE("anything")));
    change(u, "resetpass");
    assert_false(acl_user_accepts(u, SLICE("b")));
    acl_user_set_password(u, SLICE("z"));
    assert_true(acl_user_accepts(u, SLICE("z")));
    acl_user_set_password(u, SLICE(""));
    assert_true(acl_user_nopass(u));
    acl_user_free(&u);
}

static void test_sets_do_not_change(void **state)
{
    (void)state;
    struct acl_users *a = acl_users_new();
    struct acl_users *b = acl_users_with(a, acl_user_new(SLICE("bob"), false));
    struct acl_users *c = acl_users_with(b, acl_user_new(SLICE("al"), false));
    struct acl_users *d = acl_users_without(c, SLICE("bob"));
    assert_int_equal(acl_users_count(a), 1);
    assert_true(acl_user_unrestricted(acl_users_default(a)));
    assert_null(acl_users_find(a, SLICE("bob")));
    assert_int_equal(acl_users_count(c), 3);
    assert_true(slice_eq(acl_user_name(acl_users_at(c, 0)), SLICE("al")));
    assert_true(slice_eq(acl_user_name(acl_users_at(c, 2)), SLICE(ACL_DEFAULT)));
    assert_ptr_equal(acl_users_find(b, SLICE("bob")), acl_users_find(c, SLICE("bob")));
    assert_null(acl_users_find(d, SLICE("bob")));
    struct acl_user *changed = acl_user_copy(acl_users_find(c, SLICE("al")));
    change(changed, "on");
    struct acl_users *e = acl_users_with(c, changed);
    assert_int_equal(acl_users_count(e), 3);
    assert_false(acl_user_on(acl_users_find(c, SLICE("al"))));
    assert_true(acl_user_on(acl_users_find(e, SLICE("al"))));
    struct acl_users **all[] = {&a, &b, &c, &d, &e};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        acl_users_unref(all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_print_as_redis_prints_them),
        cmocka_unit_test(test_a_lone_category_is_shown_as_it_was_given),
        cmocka_unit_test(test_bad_rules_are_refused),
        cmocka_unit_test(test_commands_are_checked),
        cmocka_unit_test(test_keys_are_checked_by_what_is_done_with_them),
        cmocka_unit_test(test_channels_are_checked),
        cmocka_unit_test(test_one_selector_must_allow_all_of_a_command),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_sets_do_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
