// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/acl_file.h"

#include "common/app/acl_command.h"
#include "common/app/acl_log.h"

#include "tests/unit/common/app/replies.h"
#include "tests/unit/unit.h"

static struct acl_users *parse(const char *text, const char *errors)
{
    struct str found = {0};
    struct acl_users *users = acl_file_parse(slice_str(text), "f", false, &found);
    assert_int_equal(users == NULL, errors[0] != '\0');
    if (users == NULL) {
        assert_memory_equal(str_cstr(&found), errors, strlen(errors));
    }
    str_fini(&found);
    return users;
}

static void test_a_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct acl_users *users = parse("# who\n\nuser alice on >x ~* +@all\nuser default off\n", "");
    assert_int_equal(acl_users_count(users), 2);
    assert_false(acl_user_on(acl_users_default(users)));
    assert_true(acl_user_accepts(acl_users_find(users, SLICE("alice")), SLICE("x")));
    acl_users_unref(&users);
    /* Nothing is said of the default user: it is open. */
    users = parse("user alice on", "");
    assert_true(acl_user_unrestricted(acl_users_default(users)));
    acl_users_unref(&users);
    (void)parse("user a on\nuser a off\n", "f:2: Duplicate user 'a' found. ");
    (void)parse("user default on\nuser default on", "f:2: Duplicate user 'default' found. ");
    (void)parse("user a on\nusers b\n", "f:2: line should start with user keyword");
    (void)parse("user a +nope", "f:1: Error in ACL SETUSER modifier '+nope'");
}

static struct acl_users *start(const char *requirepass, const char *directives, bool ok)
{
    struct acl_sources from = {
        .requirepass = requirepass, .directives = directives, .file = "", .dir = ""};
    struct errmsg err = {.text = ""};
    struct acl_users *users = acl_start(&from, &err);
    assert_int_equal(users != NULL, ok);
    assert_int_equal(err.text[0] == '\0', ok);
    return users;
}

static void test_directives_and_requirepass(void **state)
{
    (void)state;
    struct acl_users *users = start("secret", "bob on ~b* +get\nal off", true);
    assert_int_equal(acl_users_count(users), 3);
    assert_true(acl_user_accepts(acl_users_default(users), SLICE("secret")));
    assert_false(acl_user_accepts(acl_users_default(users), SLICE("")));
    acl_users_unref(&users);
    users = start("", "default on nopass ~* +@all", true);
    assert_false(acl_user_unrestricted(acl_users_default(users))); /* no channels */
    acl_users_unref(&users);
    (void)start("", "a on\na on", false);
    (void)start("", "default on\ndefault on", false);
    (void)start("", "a on maybe", false);
}

static void test_a_config_file_gets_only_what_it_needs(void **state)
{
    (void)state;
    struct str text = {0};
    struct acl_users *users = start("secret", "", true);
    acl_print_needed(users, "secret", "", &text);
    assert_int_equal(text.len, 0);
    acl_print_needed(users, "", "", &text);
    assert_true(text.len > 0);
    /* What is printed reads back. */
    struct acl_users *again = start("", str_cstr(&text), true);
    assert_true(acl_user_accepts(acl_users_default(again), SLICE("secret")));
    acl_users_unref(&again);
    acl_users_unref(&users);
    str_fini(&text);
}

static struct acl_users *read_all(const char *text)
{
    struct str errors = {0};
    struct acl_users *users = acl_file_parse(slice_str(text), "f", false, &errors);
    assert_non_null(users);
    return users;
}

/* What is kept, what the files said then, what they say now: what is true. */
static void merged(const char *kept, const char *then, const char *now, const char *want)
{
    struct acl_users *sets[3] = {read_all(kept), read_all(then), read_all(now)};
    struct acl_users *out = acl_merge(sets[0], sets[1], sets[2]);
    struct acl_users *wanted = read_all(want);
    struct str is = {0}, should = {0};
    acl_print_all(out, &is);
    acl_print_all(wanted, &should);
    assert_string_equal(str_cstr(&is), str_cstr(&should));
    for (int i = 0; i < 3; i++) {
        acl_users_unref(&sets[i]);
    }
    acl_users_unref(&out);
    acl_users_unref(&wanted);
    str_fini(&is);
    str_fini(&should);
}

static void test_kept_users_go_on_but_what_files_say_anew_counts(void **state)
{
    (void)state;
    merged("", "", "", "");
    merged("user default on nopass ~* &* +@all -debug", "", "",
           "user default on nopass ~* &* +@all -debug");
    merged("user al on ~a* +get", "", "", "user al on ~a* +get");             /* made by a client */
    merged("user al on +get", "user al on", "user al on", "user al on +get"); /* changed by one */
    merged("", "user al on", "user al on", "");                               /* removed by one */
    merged("user al on +get", "user al on", "user al on +set",
           "user al on +set"); /* the file changed */
    merged("user al on +get\nuser bo on +get", "user al on", "user bo off",
           "user bo off");                                  /* al left it, bo came */
    merged("user default off", "", "", "user default off"); /* closed by a client */
    merged("user default off", "", "user default on >x ~* &* +@all",
           "user default on >x ~* &* +@all");
}

static void push(struct acl_log *l, int64_t ms, const char *object)
{
    acl_log_push(l, acl_log_entry_new(ms, ACL_NOT_KEY, "toplevel", slice_str(object), SLICE("al"),
                                      SLICE("id=1")));
}

static void log_is(struct acl_log *l, const char *line, int64_t ms, const char *want)
{
    struct call c;
    call_init(&c, 2, line);
    acl_log_command(l, c.argv, c.argc, ms, &c.w);
    assert_string_equal(call_reply(&c), want);
    call_fini(&c);
}

static void test_the_log_counts_what_repeats(void **state)
{
    (void)state;
    struct acl_log *l = acl_log_new();
    push(l, 0, "k");
    push(l, 500, "k");
    log_is(l, "ACL LOG", 1000,
           "*1\r\n*14\r\n$5\r\ncount\r\n:2\r\n$6\r\nreason\r\n$3\r\nkey\r\n$7\r\ncontext\r\n$8\r\n"
           "toplevel\r\n$6\r\nobject\r\n$1\r\nk\r\n$8\r\nusername\r\n$2\r\nal\r\n$11\r\nage-seconds"
           "\r\n$3\r\n0.5\r\n$11\r\nclient-info\r\n$4\r\nid=1\r\n");
    push(l, 100000, "k"); /* too late to be the same */
    push(l, 100000, "j");
    acl_log_set_len_max(l, 2);
    log_is(l, "ACL LOG 0", 1000, "*0\r\n");
    log_is(l, "ACL LOG x", 1000, "-ERR value is not an integer or out of range\r\n");
    log_is(l, "ACL LOG RESET", 1000, "+OK\r\n");
    log_is(l, "ACL LOG", 1000, "*0\r\n");
    acl_log_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_read_whole_or_not_at_all),
        cmocka_unit_test(test_directives_and_requirepass),
        cmocka_unit_test(test_a_config_file_gets_only_what_it_needs),
        cmocka_unit_test(test_kept_users_go_on_but_what_files_say_anew_counts),
        cmocka_unit_test(test_the_log_counts_what_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
