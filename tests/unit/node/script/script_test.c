// SPDX-License-Identifier: BSD-3-Clause
/* Scripts: what they can do, what they cannot, and who may end them. What Redis answers to each of
 * many scripts is compared in tests/integration. */
#include "node/keyspace/effect.h"

#include "tests/unit/node/script/script_fixture.h"
#include "tests/unit/unit.h"

static void test_a_script_calls_commands_and_answers(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    EXPECT_EVAL(&t, "return {1, 'a', redis.call('set', 'k', 3.5), redis.call('get', 'k')}",
                "*4 :1 $1 a +OK $3 3.5");
    assert_string_equal(SAY(&t, "EVAL", "return {KEYS[1], ARGV[1], #ARGV}", "1", "a", "b", "c"),
                        "*3 $1 a $1 b :2");
    EXPECT_ERROR(&t, "return redis.call('incr', 'k')",
                 "-ERR value is not an integer or out of range script: ");
    scripted_close(&t);
}

static void test_the_cache_knows_scripts_by_their_digest(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    assert_string_equal(SAY(&t, "SCRIPT", "LOAD", "return 'loaded'"),
                        "$40 b534286061d4b9e4026607613b95c06c06015ae8");
    assert_string_equal(SAY(&t, "EVALSHA", "B534286061D4B9E4026607613B95C06C06015AE8", "0"),
                        "$6 loaded");
    assert_string_equal(SAY(&t, "SCRIPT", "EXISTS", "b534286061d4b9e4026607613b95c06c06015ae8",
                            "b534286061d4b9e4026607613b95c06c06015ae9"),
                        "*2 :1 :0");
    assert_string_equal(SAY(&t, "SCRIPT", "FLUSH"), "+OK");
    assert_string_equal(SAY(&t, "EVALSHA", "b534286061d4b9e4026607613b95c06c06015ae8", "0"),
                        "-NOSCRIPT No matching script. Please use EVAL.");
    struct script_stats stats;
    scripts_stats(t.scripts, &stats);
    assert_int_equal(stats.cached, 0);
    assert_int_equal(stats.cached_bytes, 0);
    scripted_close(&t);
}

static void test_nothing_of_a_script_is_left_for_the_next(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    static const char *const attempts[] = {
        "x = 1",
        "_G.x = 1",
        "_G = {}",
        "redis.call = nil",
        "string.upper = nil",
        "math.floor = nil",
        "cjson.encode = nil",
        "struct.pack = nil",
        "getmetatable('').__index = nil",
        "getmetatable(_G).__index = nil",
        "rawset(_G, 'x', 1)",
        "rawset(string, 'x', 1)",
        "setmetatable(_G, {})",
        "setmetatable(string, {})",
        "table.insert(_G, 1)",
        "table.insert(redis, 1)",
    };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        assert_non_null(strstr(EVAL(&t, attempts[i]), "Attempt to modify a readonly table"));
    }
    EXPECT_ERROR(&t, "return x",
                 "-ERR user_script:1: Script attempted to access nonexistent global variable 'x'");
    EXPECT_EVAL(&t, "return ('a'):upper() .. type(redis.call) .. #_G", "$10 Afunction0");
    scripted_close(&t);
}

static void test_what_could_do_harm_is_not_there(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    static const char *const names[] = {"dofile",  "loadfile", "print", "require", "module",
                                        "package", "io",       "os",    "debug",   "getfenv",
                                        "setfenv", "newproxy", "rawlen"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char script[64];
        (void)snprintf(script, sizeof(script), "return %s", names[i]);
        assert_non_null(strstr(EVAL(&t, script), "nonexistent global variable"));
    }
    /* Compiled code is read as source. */
    EXPECT_EVAL(&t, "return (loadstring(string.dump(function() return 1 end)))", "$-1");
    EXPECT_ERROR(&t, "\x1bLua", "-ERR Error compiling script");
    /* Patterns as long as the stack, sums that run over. */
    EXPECT_ERROR(&t, "return string.find(('a'):rep(9), ('a?'):rep(200000))", "-ERR user_script:1:");
    EXPECT_ERROR(&t, "return unpack({}, 0, 2147483647)", "-ERR user_script:1: too many results");
    EXPECT_EVAL(&t, "return bit.tohex(255, -2147483648)", "$8 000000FF");
    EXPECT_ERROR(&t, "return struct.pack('>I2147483647', 1)", "-ERR user_script:1: integral size");
    scripted_close(&t);
}

static void test_the_port_may_refuse_a_command(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    t.refuse = "NOPE not now";
    EXPECT_ERROR(&t, "return redis.call('get', 'k')", "-NOPE not now script: ");
    EXPECT_EVAL(&t, "return redis.pcall('get', 'k').err", "$12 NOPE not now");
    assert_int_equal(t.rejected, 2);
    EXPECT_EVAL(&t, "#!lua\nreturn 1", "-NOPE not now");
    EXPECT_EVAL(&t, "#!lua flags=no-writes\nreturn 1", ":1");
    EXPECT_EVAL(&t, "return redis.acl_check_cmd('get', 'k')", ":1");
    scripted_close(&t);
}

static void test_a_script_that_only_reads_cannot_write(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    const char *reply = SAY(&t, "EVAL_RO", "return redis.call('set', 'k', 'v')", "0");
    assert_non_null(strstr(reply, "-ERR Write commands are not allowed from read-only scripts."));
    EXPECT_EVAL(&t, "return redis.call('get', 'k')", "$-1");
    scripted_close(&t);
}

/* ---- slow ones ---- */

static void kill_it(struct scripted *t)
{
    assert_int_equal(scripts_busy(t->scripts), SCRIPT_EVAL);
    if (t->busy == 3) {
        struct outbuf kept = t->f.out;
        t->f.out = (struct outbuf){0};
        assert_string_equal(SAY(t, "FUNCTION", "KILL"),
                            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL "
                            "or SHUTDOWN NOSAVE.");
        assert_string_equal(SAY(t, "SCRIPT", "KILL"), "+OK");
        outbuf_fini(&t->f.out);
        t->f.out = kept;
    }
}

static void test_a_slow_script_can_be_killed_also_in_pcall(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    t.step_us = 60000;
    t.on_busy = kill_it;
    EXPECT_ERROR(&t, "local f = function() while true do end end while true do pcall(f) end",
                 "-ERR Script killed by user with SCRIPT KILL...");
    assert_int_equal(t.busy, 3);
    assert_int_equal(scripts_running(t.scripts), SCRIPT_NONE);
    assert_string_equal(SAY(&t, "SCRIPT", "KILL"), "-NOTBUSY No scripts in execution right now.");
    t.step_us = 0;
    EXPECT_EVAL(&t, "local n = 0 for i = 1, 1000000 do n = n + i end return n", ":500000500000");
    scripted_close(&t);
}

static void test_a_coroutine_can_be_killed(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    t.step_us = 60000;
    t.on_busy = kill_it;
    EXPECT_ERROR(&t,
                 "while true do coroutine.resume(coroutine.create(function() while true do end "
                 "end)) end",
                 "-ERR Script killed by user with SCRIPT KILL...");
    scripted_close(&t);
}

static void try_to_kill(struct scripted *t)
{
    struct outbuf kept = t->f.out;
    t->f.out = (struct outbuf){0};
    const char *reply = SAY(t, "SCRIPT", "KILL");
    assert_int_equal(strncmp(reply, "-UNKILLABLE", 11), 0);
    outbuf_fini(&t->f.out);
    t->f.out = kept;
}

static void test_one_that_has_written_cannot_be_killed(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    t.step_us = 60000;
    t.on_busy = try_to_kill;
    EXPECT_EVAL(&t, "redis.call('set', 'k', 'v') for i = 1, 500000 do end return 'done'",
                "$4 done");
    assert_true(t.busy > 0);
    scripted_close(&t);
}

/* ---- what copies get ---- */

struct seen {
    uint64_t entries;
    uint64_t effects;
    uint64_t lane;
};

static void take_entry(void *arg, struct entry *e)
{
    struct seen *s = arg;
    s->entries++;
    s->effects += e->n_effects;
    s->lane = e->lane;
}

static void take_touched(void *arg, uint32_t shard, uint64_t hash)
{
    (void)arg;
    (void)shard;
    (void)hash;
}

static void take_touched_all(void *arg, uint32_t shard)
{
    (void)arg;
    (void)shard;
}

static void test_what_a_script_writes_is_one_entry_a_shard(void **state)
{
    struct scripted t;
    struct seen seen = {0};
    (void)state;
    scripted_open(&t);
    const struct effect_sink sink = {&seen, take_entry, take_touched, take_touched_all};
    t.f.ks->collector = collector_new(&sink);
    EXPECT_EVAL(&t, "for i = 1, 5 do redis.call('incr', 'k') end return redis.call('get', 'k')",
                "$1 5");
    assert_int_equal(seen.entries, 1);
    assert_int_equal(seen.effects, 5);
    EXPECT_EVAL(&t, "return redis.call('get', 'k')", "$1 5");
    assert_int_equal(seen.entries, 1);
    /* An error in the midst of it takes nothing back, as in Redis. */
    EXPECT_ERROR(&t, "redis.call('incr', 'k') error('x')", "-ERR user_script:1: x");
    assert_int_equal(seen.entries, 2);
    /* A proxy that asks for the outcome by the script's key finds it there, also if what was
     * written lies elsewhere. */
    t.f.lane = 9;
    t.f.number = 1;
    seen = (struct seen){0};
    assert_string_equal(SAY(&t, "EVAL", "return redis.call('set', 'b', 1)", "1", "a"), "+OK");
    assert_int_equal(seen.entries, 2);
    assert_int_equal(seen.effects, 1);
    collector_free(&t.f.ks->collector);
    scripted_close(&t);
}

static void test_a_script_that_writes_too_much_for_one_entry_is_refused(void **state)
{
    struct scripted t;
    struct seen seen = {0};
    (void)state;
    scripted_open(&t);
    const struct effect_sink sink = {&seen, take_entry, take_touched, take_touched_all};
    t.f.ks->collector = collector_new(&sink);
    t.f.ks->collector->group_max = 1000;
    const char *said = SAY(
        &t, "EVAL", "for i = 1, 99 do redis.call('append', 'k', string.rep('x', 100)) end", "0");
    assert_non_null(strstr(said, "too large for one entry"));
    assert_int_equal(seen.entries, 1);
    assert_true(seen.effects > 5 && seen.effects < 10);
    collector_free(&t.f.ks->collector);
    scripted_close(&t);
}

/* ---- libraries ---- */

#define LIBRARY                                                                                    \
    "#!lua name=lib\nredis.register_function('f', function(k, a) return {k[1], a[1]} end)"

static void test_functions_are_loaded_called_and_taken_away(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    assert_string_equal(SAY(&t, "FUNCTION", "LOAD", LIBRARY), "$3 lib");
    assert_string_equal(SAY(&t, "FUNCTION", "LOAD", LIBRARY), "-ERR Library 'lib' already exists");
    assert_string_equal(SAY(&t, "FCALL", "F", "1", "x", "y"), "*2 $1 x $1 y");
    assert_string_equal(SAY(&t, "FUNCTION", "DELETE", "lib"), "+OK");
    assert_string_equal(SAY(&t, "FCALL", "f", "0"), "-ERR Function not found");
    assert_int_equal(t.told, 2);
    scripted_close(&t);
}

static void test_a_change_that_cannot_be_kept_is_undone(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    assert_string_equal(SAY(&t, "FUNCTION", "LOAD", LIBRARY), "$3 lib");
    t.cannot_keep = true;
    assert_string_equal(SAY(&t, "FUNCTION", "FLUSH"), "-MISCONF no");
    assert_string_equal(SAY(&t, "FUNCTION", "DELETE", "lib"), "-MISCONF no");
    assert_string_equal(SAY(&t, "FUNCTION", "LOAD", "REPLACE",
                            "#!lua name=lib\nredis.register_function('g', function() end)"),
                        "-MISCONF no");
    assert_string_equal(SAY(&t, "FCALL", "f", "1", "x", "y"), "*2 $1 x $1 y");
    assert_string_equal(SAY(&t, "FCALL", "g", "0"), "-ERR Function not found");
    scripted_close(&t);
}

static void test_libraries_go_through_a_payload(void **state)
{
    struct scripted t;
    struct str payload = {0};
    struct str why = {0};
    (void)state;
    scripted_open(&t);
    assert_string_equal(SAY(&t, "FUNCTION", "LOAD", LIBRARY), "$3 lib");
    scripts_dump(t.scripts, &payload);
    scripts_clear_libraries(t.scripts);
    struct script_stats stats;
    scripts_stats(t.scripts, &stats);
    assert_int_equal(stats.functions, 0);
    assert_int_equal(stats.bytes_of_libraries, 0);
    assert_true(scripts_restore(t.scripts, str_slice(&payload), &why));
    assert_string_equal(SAY(&t, "FCALL", "f", "1", "x", "y"), "*2 $1 x $1 y");
    /* Any damage is told, and what was there stays. */
    for (size_t i = 0; i < payload.len; i++) {
        payload.ptr[i] ^= 1;
        str_clear(&why);
        assert_false(scripts_restore(t.scripts, str_slice(&payload), &why));
        assert_true(why.len > 0);
        payload.ptr[i] ^= 1;
    }
    assert_string_equal(SAY(&t, "FCALL", "f", "1", "x", "y"), "*2 $1 x $1 y");
    str_fini(&payload);
    str_fini(&why);
    scripted_close(&t);
}

static void test_a_library_sees_no_data_while_it_is_loaded(void **state)
{
    struct scripted t;
    (void)state;
    scripted_open(&t);
    const char *reply = SAY(&t, "FUNCTION", "LOAD", "#!lua name=lib\nredis.call('ping')");
    assert_string_equal(reply, "-ERR Error registering functions: ERR user_function:2: Script "
                               "attempted to access nonexistent global variable 'call'");
    t.step_us = 200000;
    reply = SAY(&t, "FUNCTION", "LOAD", "#!lua name=lib\nwhile true do end");
    assert_string_equal(reply, "-ERR Error registering functions: ERR FUNCTION LOAD timeout");
    scripted_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_script_calls_commands_and_answers),
        cmocka_unit_test(test_the_cache_knows_scripts_by_their_digest),
        cmocka_unit_test(test_nothing_of_a_script_is_left_for_the_next),
        cmocka_unit_test(test_what_could_do_harm_is_not_there),
        cmocka_unit_test(test_the_port_may_refuse_a_command),
        cmocka_unit_test(test_a_script_that_only_reads_cannot_write),
        cmocka_unit_test(test_a_slow_script_can_be_killed_also_in_pcall),
        cmocka_unit_test(test_a_coroutine_can_be_killed),
        cmocka_unit_test(test_one_that_has_written_cannot_be_killed),
        cmocka_unit_test(test_what_a_script_writes_is_one_entry_a_shard),
        cmocka_unit_test(test_a_script_that_writes_too_much_for_one_entry_is_refused),
        cmocka_unit_test(test_functions_are_loaded_called_and_taken_away),
        cmocka_unit_test(test_a_change_that_cannot_be_kept_is_undone),
        cmocka_unit_test(test_libraries_go_through_a_payload),
        cmocka_unit_test(test_a_library_sees_no_data_while_it_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
