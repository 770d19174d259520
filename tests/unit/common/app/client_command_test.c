// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT, HELLO, AUTH and DEBUG as far as proxy and node share them. */
#include "common/app/client_command.h"

#include "common/app/acl_command.h"
#include "common/app/client_filter.h"
#include "common/app/debug_command.h"
#include "common/app/hello.h"
#include "common/base/mem.h"

#include "tests/unit/common/app/replies.h"
#include "tests/unit/unit.h"

/* What a reader wrote besides its answer: "" when it was content. */
static void wrote(struct call *c, const char *reply)
{
    assert_string_equal(call_reply(c), reply);
    call_fini(c);
}

static bool matches(const struct client_filter *f, uint64_t id, enum client_kind kind, bool me)
{
    return client_filter_matches(f, id, kind, me, SLICE("default"), NULL);
}

static bool read_kill(struct client_filter *f, struct call *c)
{
    struct acl_users *users = acl_users_new();
    bool ok = client_filter_read_kill(f, users, c->argv, c->argc, &c->w);
    acl_users_unref(&users);
    return ok;
}

static void test_list_without_words_means_everybody(void **state)
{
    struct call c;
    struct client_filter f;
    (void)state;
    call_init(&c, 2, "CLIENT LIST");
    assert_true(client_filter_read_list(&f, c.argv, c.argc, &c.w));
    assert_true(matches(&f, 1, CLIENT_NORMAL, true));
    assert_true(matches(&f, 2, CLIENT_REPLICA, false));
    client_filter_fini(&f);
    wrote(&c, "");
}

static void test_list_by_ids_and_types(void **state)
{
    struct call c;
    struct client_filter f;
    (void)state;
    call_init(&c, 2, "CLIENT LIST ID 7 3");
    assert_true(client_filter_read_list(&f, c.argv, c.argc, &c.w));
    assert_true(f.n_ids == 2 && f.ids[0] == 7 && f.ids[1] == 3);
    assert_true(matches(&f, 3, CLIENT_NORMAL, false));
    assert_false(matches(&f, 4, CLIENT_NORMAL, false));
    client_filter_fini(&f);
    wrote(&c, "");
    call_init(&c, 2, "CLIENT LIST TYPE replica");
    assert_true(client_filter_read_list(&f, c.argv, c.argc, &c.w));
    assert_false(matches(&f, 3, CLIENT_NORMAL, false));
    assert_true(matches(&f, 3, CLIENT_REPLICA, false));
    client_filter_fini(&f);
    wrote(&c, "");
}

static void refused(const char *line, const char *reply)
{
    struct call c;
    struct client_filter f;
    call_init(&c, 2, line);
    bool ok = slice_is(c.argv[1], "kill") ? read_kill(&f, &c)
                                          : client_filter_read_list(&f, c.argv, c.argc, &c.w);
    assert_false(ok);
    client_filter_fini(&f);
    wrote(&c, reply);
}

static void test_what_is_no_filter_is_refused(void **state)
{
    (void)state;
    refused("CLIENT LIST TYPE wood", "-ERR Unknown client type 'wood'\r\n");
    refused("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n");
    refused("CLIENT LIST ID", "-ERR syntax error\r\n");
    refused("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n");
    refused("CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n");
    refused("CLIENT KILL SKIPME perhaps", "-ERR syntax error\r\n");
    refused("CLIENT KILL USER nobody", "-ERR No such user 'nobody'\r\n");
}

static void test_kill_spares_the_asker_unless_told_not_to(void **state)
{
    struct call c;
    struct client_filter f;
    (void)state;
    call_init(&c, 2, "CLIENT KILL ID 9 ID 5");
    assert_true(read_kill(&f, &c));
    assert_true(matches(&f, 5, CLIENT_NORMAL, false));
    assert_false(matches(&f, 5, CLIENT_NORMAL, true));
    assert_false(matches(&f, 9, CLIENT_NORMAL, false));
    client_filter_killed(&f, 2, &c.w);
    client_filter_fini(&f);
    wrote(&c, ":2\r\n");
    call_init(&c, 2, "CLIENT KILL ID 5 SKIPME no");
    assert_true(read_kill(&f, &c));
    assert_true(matches(&f, 5, CLIENT_NORMAL, true));
    client_filter_fini(&f);
    wrote(&c, "");
    call_init(&c, 2, "CLIENT KILL USER default SKIPME no");
    assert_true(read_kill(&f, &c));
    assert_true(matches(&f, 5, CLIENT_NORMAL, true));
    assert_false(client_filter_matches(&f, 5, CLIENT_NORMAL, true, SLICE("alice"), NULL));
    client_filter_fini(&f);
    wrote(&c, "");
    call_init(&c, 2, "CLIENT KILL 127.0.0.1:5");
    assert_true(read_kill(&f, &c));
    assert_string_equal(f.addr, "127.0.0.1:5");
    client_filter_killed(&f, 0, &c.w);
    client_filter_fini(&f);
    wrote(&c, "-ERR No such client\r\n");
}

static void pause_is(const char *line, bool ok, const char *reply)
{
    struct call c;
    bool writes_only;
    int64_t ms;
    call_init(&c, 2, line);
    assert_int_equal(client_read_pause(c.argv, c.argc, &writes_only, &ms, &c.w), ok);
    assert_true(!ok || (ms == 100 && writes_only == (c.argc == 4)));
    wrote(&c, reply);
}

static void test_pauses(void **state)
{
    (void)state;
    pause_is("CLIENT PAUSE 100", true, "");
    pause_is("CLIENT PAUSE 100 write", true, "");
    pause_is("CLIENT PAUSE 100 some", false, "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
    pause_is("CLIENT PAUSE -1", false, "-ERR timeout is negative\r\n");
    pause_is("CLIENT PAUSE x", false, "-ERR timeout is not an integer or out of range\r\n");
    pause_is("CLIENT PAUSE 9223372036854775807", false,
             "-ERR timeout is not an integer or out of range\r\n");
}

static void test_setinfo_replaces_names(void **state)
{
    struct call c;
    char *name = NULL, *version = NULL;
    (void)state;
    call_init(&c, 2, "CLIENT SETINFO lib-name one");
    client_setinfo(c.argv, &name, &version, &c.w);
    assert_string_equal(name, "one");
    wrote(&c, "+OK\r\n");
    call_init(&c, 2, "CLIENT SETINFO LIB-VER 1.2");
    client_setinfo(c.argv, &name, &version, &c.w);
    assert_string_equal(version, "1.2");
    wrote(&c, "+OK\r\n");
    call_init(&c, 2, "CLIENT SETINFO lib-age 3");
    client_setinfo(c.argv, &name, &version, &c.w);
    wrote(&c, "-ERR Unrecognized option 'lib-age'\r\n");
    assert_false(client_name_ok(SLICE("a b")));
    mem_free(name);
    mem_free(version);
}

static void hello_refused(const char *line, const char *reply)
{
    struct call c;
    struct hello h;
    call_init(&c, 2, line);
    assert_false(hello_read(c.argv, c.argc, &h, &c.w));
    wrote(&c, reply);
}

static void test_hello(void **state)
{
    struct call c;
    struct hello h;
    (void)state;
    call_init(&c, 2, "HELLO 3 AUTH default secret SETNAME me");
    assert_true(hello_read(c.argv, c.argc, &h, &c.w));
    assert_int_equal(h.proto, 3);
    assert_true(h.auth && slice_eq(h.pass, SLICE("secret")));
    assert_true(h.named && slice_eq(h.name, SLICE("me")));
    wrote(&c, "");
    call_init(&c, 2, "HELLO");
    assert_true(hello_read(c.argv, c.argc, &h, &c.w));
    assert_true(h.proto == 0 && !h.auth && !h.named);
    wrote(&c, "");
    hello_refused("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    hello_refused("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    hello_refused("HELLO 2 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'\r\n");
}

static void auth_is(const char *user, const char *pass, const char *want, bool ok)
{
    struct call c;
    call_init(&c, 2, "AUTH");
    struct acl_users *open = acl_users_new();
    struct acl_users *users = acl_with_requirepass(open, want);
    assert_int_equal(auth_check(users, slice_str(user), slice_str(pass), &c.w) != NULL, ok);
    assert_int_equal(auth_needed(users), want[0] != '\0');
    acl_users_unref(&users);
    acl_users_unref(&open);
    wrote(&c, ok ? "" : "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
}

static void test_passwords(void **state)
{
    (void)state;
    auth_is("default", "secret", "secret", true);
    auth_is("default", "secre", "secret", false);
    auth_is("default", "secrets", "secret", false);
    auth_is("default", "", "secret", false);
    auth_is("other", "secret", "secret", false);
    auth_is("default", "anything", "", true);
}

static void debug_is(const char *line, const char *reply)
{
    struct call c;
    call_init(&c, 2, line);
    assert_int_equal(debug_common(c.argv, c.argc, &c.w), reply[0] != '\0');
    wrote(&c, reply);
}

static void test_debug(void **state)
{
    struct call c;
    static const char *const lines[] = {"DIGEST", "    One.", "SLEEP <seconds>", "    Two.", NULL};
    (void)state;
    debug_is("DEBUG PROTOCOL integer", ":12345\r\n");
    debug_is("DEBUG PROTOCOL push", "-ERR RESP2 is not supported by this command\r\n");
    debug_is("DEBUG ERROR MYERR", "-MYERR\r\n");
    debug_is("DEBUG STRINGMATCH-TEST", "+Apparently Redis did not crash: test passed\r\n");
    debug_is("DEBUG ERROR", "");
    debug_is("DEBUG SEGFAULT", "");
    call_init(&c, 2, "DEBUG HELP");
    debug_help_reply(lines, &c.w);
    const char *text = call_reply(&c);
    const char *first = strstr(text, "+DIGEST\r\n+    One.\r\n+ERROR");
    assert_non_null(first);
    assert_non_null(strstr(first, "\r\n+SLEEP <seconds>\r\n+    Two.\r\n"));
    call_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_without_words_means_everybody),
        cmocka_unit_test(test_list_by_ids_and_types),
        cmocka_unit_test(test_what_is_no_filter_is_refused),
        cmocka_unit_test(test_kill_spares_the_asker_unless_told_not_to),
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_setinfo_replaces_names),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_debug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
