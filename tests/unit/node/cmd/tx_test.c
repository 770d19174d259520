// SPDX-License-Identifier: BSD-3-Clause
/* MULTI, EXEC and WATCH with two clients. */
#include "tests/unit/node/cmd/node_fixture.h"

static const char *other(struct fixture *f, const char *line)
{
    return say_as(f, &f->other, line);
}

static void test_exec_runs_what_was_queued(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "set a 1", "+QUEUED");
    EXPECT(&f, "incr a", "+QUEUED");
    EXPECT(&f, "select 1", "+QUEUED");
    EXPECT(&f, "set a x", "+QUEUED");
    EXPECT(&f, "incr a", "+QUEUED");
    assert_int_equal(f.session.queued, 5);
    assert_true(f.session.queue_bytes > 0);
    EXPECT(&f, "exec", "*5 +OK :2 +OK +OK -ERR value is not an integer or out of range");
    assert_int_equal(f.changes, 3);
    assert_int_equal(f.session.queued, 0);
    EXPECT(&f, "get a", "$1 x"); /* of database 1 */
    EXPECT(&f, "exec", "-ERR EXEC without MULTI");
    EXPECT(&f, "discard", "-ERR DISCARD without MULTI");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "multi", "-ERR MULTI calls can not be nested");
    EXPECT(&f, "watch a", "-ERR WATCH inside MULTI is not allowed");
    EXPECT(&f, "unwatch", "+QUEUED");
    EXPECT(&f, "exec", "*1 +OK");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "set a y", "+QUEUED");
    EXPECT(&f, "discard", "+OK");
    EXPECT(&f, "get a", "$1 x");
    fixture_close(&f);
}

static void test_an_error_while_queueing_aborts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static const char *const bad[] = {"nosuchcommand", "set a", "shutdown"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        EXPECT(&f, "multi", "+OK");
        EXPECT(&f, "set a 1", "+QUEUED");
        assert_int_equal(say(&f, bad[i])[0], '-');
        EXPECT(&f, "exec", "-EXECABORT Transaction discarded because of previous errors.");
        EXPECT(&f, "get a", "$-1");
    }
    /* One outside has no effect on the next. */
    assert_int_equal(say(&f, "nosuchcommand")[0], '-');
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*0");
    fixture_close(&f);
}

/* What the other client does between WATCH and EXEC, and whether EXEC then runs. */
static void test_watched_keys_that_change_stop_exec(void **state)
{
    (void)state;
    static const struct {
        const char *before; /* of ours, before WATCH */
        const char *change; /* of the other */
        bool runs;
    } cases[] = {
        {"set a 1", "get a", true},
        {"set a 1", "set a 1", false},
        {"set a 1", "set b 1", true},
        {"set a 1", "del a", false},
        {"get a", "del a", true},
        {"get a", "set a 1", false},
        {"set a 1", "expire a 100", false},
        {"set a 1", "expire a -1", false},
        {"set a 1", "persist a", true},
        {"setex a 100 1", "persist a", false},
        {"set a 1", "append a x", false},
        {"set a 1", "setrange a 0 x", false},
        {"set a 1", "setbit a 100 1", false},
        {"set a 1", "incr a", false},
        {"set a 1", "incrbyfloat a 1", false},
        {"set a 1", "bitfield a set u8 0 7", false},
        {"set a 1", "bitfield a get u8 0", true},
        {"set a 1", "bitop not a b", false},
        {"set a 1", "rename a b", false},
        {"set b 1", "rename b a", false},
        {"set b 1", "copy b a", false},
        {"set a 1", "copy a b", true},
        {"set a 1", "move a 1", false},
        {"set a 1", "getdel a", false},
        {"set a 1", "getex a EX 10", false},
        {"set a 1", "mset b 1 a 2", false},
        {"set a 1", "setnx a 2", true},
        {"set a 1", "flushdb", false},
        {"set a 1", "flushall async", false},
        {"get a", "flushall", true},
        {"set a 1", "swapdb 0 1", false},
        {"get a", "swapdb 0 1", true},
        {"set a 1", "swapdb 2 3", true},
        {"set a 1", "unlink a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        fixture_open(&f);
        say(&f, cases[i].before);
        EXPECT(&f, "watch a c a", "+OK");
        other(&f, cases[i].change);
        EXPECT(&f, "multi", "+OK");
        EXPECT(&f, "ttl q", "+QUEUED");
        const char *reply = say(&f, "exec");
        if (strcmp(reply, cases[i].runs ? "*1 :-2" : "*-1") != 0) {
            fail_msg("%s then %s: %s", cases[i].before, cases[i].change, reply);
        }
        /* EXEC has forgotten the watches. */
        other(&f, "set a 5");
        EXPECT(&f, "multi", "+OK");
        EXPECT(&f, "exec", "*0");
        assert_int_equal(watches_count(f.ks), 0);
        fixture_close(&f);
    }
}

static void test_own_changes_count_and_unwatch_forgets(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "watch a", "+OK");
    EXPECT(&f, "set a 1", "+OK");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*-1");
    EXPECT(&f, "watch a", "+OK");
    EXPECT(&f, "set a 2", "+OK");
    EXPECT(&f, "unwatch", "+OK");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*0");
    EXPECT(&f, "watch a", "+OK");
    other(&f, "set a 1");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "discard", "+OK");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*0");
    /* Databases are apart. */
    EXPECT(&f, "watch a", "+OK");
    other(&f, "select 1");
    other(&f, "set a 1");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*0");
    fixture_close(&f);
}

static void test_expiry_of_a_watched_key_stops_exec(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        fixture_open(&f);
        say(&f, "set a 1 PX 1000");
        EXPECT(&f, "watch a", "+OK");
        f.now_ms += 1001;
        if (how == 1) {
            other(&f, "get a");
        } else if (how == 2) {
            keyspace_expire_cycle(f.ks, f.now_ms, 1000);
            assert_int_equal(keyspace_keys(f.ks, 0), 0);
        }
        EXPECT(&f, "multi", "+OK");
        EXPECT(&f, "exec", "*-1");
        fixture_close(&f);
    }
}

static void test_a_key_over_when_watched_may_go(void **state)
{
    (void)state;
    for (int how = 0; how < 5; how++) {
        struct fixture f;
        fixture_open(&f);
        f.ks->settings.active_expire = false;
        say(&f, "set a 1 PX 1000");
        f.now_ms += 1001;
        EXPECT(&f, "watch a", "+OK"); /* over, and still in its table */
        if (how == 1) {
            other(&f, "get a"); /* removes it */
        } else if (how == 2) {
            other(&f, "flushall");
        } else if (how == 3) {
            other(&f, "swapdb 0 1");
        } else if (how == 4) {
            other(&f, "set a 2");
        }
        EXPECT(&f, "multi", "+OK");
        EXPECT(&f, "exec", how == 4 ? "*-1" : "*0");
        fixture_close(&f);
    }
}

static void test_a_dropped_shard_dirties_its_watchers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "watch a", "+OK");
    keyspace_shard_drop(f.ks, keyspace_shard_of(f.ks, slot_of(SLICE("a"))));
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*-1");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec_runs_what_was_queued),
        cmocka_unit_test(test_an_error_while_queueing_aborts),
        cmocka_unit_test(test_watched_keys_that_change_stop_exec),
        cmocka_unit_test(test_own_changes_count_and_unwatch_forgets),
        cmocka_unit_test(test_expiry_of_a_watched_key_stops_exec),
        cmocka_unit_test(test_a_key_over_when_watched_may_go),
        cmocka_unit_test(test_a_dropped_shard_dirties_its_watchers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
