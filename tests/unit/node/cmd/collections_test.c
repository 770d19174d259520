// SPDX-License-Identifier: BSD-3-Clause
/* Lists, hashes, sorted sets and SORT: what they answer, what they ask to wait for, and what they
 * tell of. */
#include "node/keyspace/notify.h"
#include "node/types/limits.h"

#include "tests/unit/node/cmd/node_fixture.h"
#include "tests/unit/unit.h"

#define WRONG "-WRONGTYPE Operation against a key holding the wrong kind of value"

struct line {
    const char *say;
    const char *reply;
};

static void expect_all(struct fixture *f, const struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *reply = say(f, lines[i].say);
        if (strcmp(reply, lines[i].reply) != 0) {
            fail_msg("%s: '%s', not '%s'", lines[i].say, reply, lines[i].reply);
        }
    }
}

static void run(const struct line *lines, size_t n)
{
    struct fixture f;
    fixture_open(&f);
    expect_all(&f, lines, n);
    fixture_close(&f);
}

static void test_lists(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"rpush l a b c", ":3"},
        {"lpush l 1 2", ":5"},
        {"lpushx none a", ":0"},
        {"rpushx l d", ":6"},
        {"lrange l 0 -1", "*6 $1 2 $1 1 $1 a $1 b $1 c $1 d"},
        {"lrange l -2 100", "*2 $1 c $1 d"},
        {"lrange l 4 2", "*0"},
        {"lrange none 0 -1", "*0"},
        {"lrange l x 1", "-ERR value is not an integer or out of range"},
        {"llen l", ":6"},
        {"lindex l -6", "$1 2"},
        {"lindex l 6", "$-1"},
        {"lset l 1 one", "+OK"},
        {"lset l 6 x", "-ERR index out of range"},
        {"lset none 0 x", "-ERR no such key"},
        {"linsert l after b b2", ":7"},
        {"linsert l before zz x", ":-1"},
        {"linsert none before a x", ":0"},
        {"linsert l beside a x", "-ERR syntax error"},
        {"lpos l b2", ":4"},
        {"lpos l nope", "$-1"},
        {"lpos l nope count 0", "*0"},
        {"rpush l a a", ":9"},
        {"lpos l a rank -1", ":8"},
        {"lpos l a rank 2 count 5", "*2 :7 :8"},
        {"lpos l a maxlen 2", "$-1"},
        {"lpos l a rank 0", "-ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                            "the second ... or use negative to start from the end of the list"},
        {"lpos l a count -1", "-ERR COUNT can't be negative"},
        {"lpos l a foo 1", "-ERR syntax error"},
        {"lrem l -2 a", ":2"},
        {"lrem l 0 nope", ":0"},
        {"ltrim l 1 -2", "+OK"},
        {"lrange l 0 -1", "*5 $3 one $1 a $1 b $2 b2 $1 c"},
        {"lpop l", "$3 one"},
        {"rpop l 2", "*2 $1 c $2 b2"},
        {"lpop l 0", "*0"},
        {"lpop l -1", "-ERR value is out of range, must be positive"},
        {"lpop l 1 2", "-ERR wrong number of arguments for 'lpop' command"},
        {"lpop none 1", "*-1"},
        {"lmove l l left right", "$1 a"},
        {"lrange l 0 -1", "*2 $1 b $1 a"},
        {"lmove l m up right", "-ERR syntax error"},
        {"rpoplpush l m", "$1 a"},
        {"rpoplpush none m", "$-1"},
        {"lmpop 2 none m left count 9", "*2 $1 m *1 $1 a"},
        {"exists m", ":0"},
        {"lmpop 1 none right", "*-1"},
        {"lmpop 0 m left", "-ERR numkeys should be greater than 0"},
        {"lmpop 5 m left", "-ERR syntax error"},
        {"lmpop 1 l left count 0", "-ERR count should be greater than 0"},
        {"set s x", "+OK"},
        {"lpush s a", WRONG},
        {"lmpop 2 none s left", WRONG},
        {"lmove l s left left", WRONG},
        {"object encoding l", "$9 quicklist"},
        {"type l", "+list"},
        /* They do not wait here. */
        {"blpop none 0", "*-1"},
        {"blpop none -1", "-ERR timeout is negative"},
        {"blmove none l left left 0", "$-1"},
        {"brpop none l 0", "*2 $1 l $1 b"},
        {"exists l", ":0"},
    };
    run(lines, ARRAY_LEN(lines));
}

static void test_hashes(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"hset h a 1 b 2", ":2"},
        {"hset h a 3 c x", ":1"},
        {"hset h a", "-ERR wrong number of arguments for 'hset' command"},
        {"hmset h a 1 b", "-ERR wrong number of arguments for 'hmset' command"},
        {"hmset h d y", "+OK"},
        {"hget h a", "$1 3"},
        {"hget h none", "$-1"},
        {"hmget h a none c", "*3 $1 3 $-1 $1 x"},
        {"hmget none a", "*1 $-1"},
        {"hgetall h", "*8 $1 a $1 3 $1 b $1 2 $1 c $1 x $1 d $1 y"},
        {"hkeys h", "*4 $1 a $1 b $1 c $1 d"},
        {"hvals h", "*4 $1 3 $1 2 $1 x $1 y"},
        {"hlen h", ":4"},
        {"hexists h a", ":1"},
        {"hstrlen h a", ":1"},
        {"hstrlen h none", ":0"},
        {"hsetnx h a 9", ":0"},
        {"hsetnx h e -100", ":1"},
        {"hstrlen h e", ":4"},
        {"hincrby h e 1", ":-99"},
        {"hincrby h c 1", "-ERR hash value is not an integer"},
        {"hincrby h e 9223372036854775807", ":9223372036854775708"},
        {"hincrby h e 100", "-ERR increment or decrement would overflow"},
        {"hincrbyfloat h b 0.5", "$3 2.5"},
        {"hincrbyfloat h c 1", "-ERR hash value is not a float"},
        {"hincrbyfloat h b inf", "-ERR value is NaN or Infinity"},
        {"hscan h 0 match [ab]", "*2 $1 0 *4 $1 a $1 3 $1 b $3 2.5"},
        {"hscan none 0 foo", "*2 $1 0 *0"},
        {"hscan h 0 foo bar", "-ERR syntax error"},
        {"hscan h x", "-ERR invalid cursor"},
        {"hrandfield h 100 withvalues",
         "*10 $1 a $1 3 $1 b $3 2.5 $1 c $1 x $1 d $1 y $1 e $19 9223372036854775708"},
        {"hrandfield h 0", "*0"},
        {"hrandfield none", "$-1"},
        {"hrandfield none 3", "*0"},
        {"hrandfield h 1 foo", "-ERR syntax error"},
        {"hdel h a b c d none", ":4"},
        {"hrandfield h -2 withvalues", "*4 $1 e $19 9223372036854775708 $1 e $19 "
                                       "9223372036854775708"},
        {"object encoding h", "$8 listpack"},
        {"hdel h e", ":1"},
        {"exists h", ":0"},
        {"set s x", "+OK"},
        {"hset s a b", WRONG},
        {"hget s a", WRONG},
    };
    run(lines, ARRAY_LEN(lines));
}

static void test_resp3_shapes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    f.session.proto = 3;
    EXPECT(&f, "hset h a 1", ":1");
    EXPECT(&f, "hgetall h", "%1 $1 a $1 1");
    EXPECT(&f, "hgetall none", "%0");
    EXPECT(&f, "hrandfield h 1 withvalues", "*1 *2 $1 a $1 1");
    EXPECT(&f, "hrandfield h -2 withvalues", "*2 *2 $1 a $1 1 *2 $1 a $1 1");
    EXPECT(&f, "hget h none", "_");
    EXPECT(&f, "lpop none 1", "_");
    EXPECT(&f, "lmpop 1 none left", "_");
    fixture_close(&f);
}

static void test_large_hashes(void **state)
{
    (void)state;
    struct fixture f;
    struct type_limits normal = *type_limits();
    struct type_limits small = normal;
    small.hash_entries = 4;
    fixture_open(&f);
    type_limits_set(&small);
    EXPECT(&f, "hset h a 1 b 2 c 3 d 4", ":4");
    EXPECT(&f, "object encoding h", "$8 listpack");
    EXPECT(&f, "hset h e 5", ":1");
    EXPECT(&f, "object encoding h", "$9 hashtable");
    EXPECT(&f, "hget h c", "$1 3");
    EXPECT(&f, "hdel h a b c d e", ":5");
    EXPECT(&f, "exists h", ":0");
    char line[200] = "hset h a ";
    memset(line + strlen(line), 'x', 65);
    EXPECT(&f, line, ":1");
    EXPECT(&f, "object encoding h", "$9 hashtable");
    type_limits_set(&normal);
    fixture_close(&f);
}

/* With Redis a copy is a listpack up to the first member that does not fit. */
static void test_negative_zeros_end_in_listpacks(void **state)
{
    (void)state;
    struct fixture f;
    struct type_limits normal = *type_limits();
    struct type_limits small = normal;
    small.zset_value = 4;
    fixture_open(&f);
    type_limits_set(&small);
    EXPECT(&f, "zadd z -1 long-one -0 a 1 long-two", ":3");
    EXPECT(&f, "zscore z a", "$2 -0");
    EXPECT(&f, "zrangestore y z 0 -1", ":3");
    EXPECT(&f, "zscore y a", "$2 -0");
    EXPECT(&f, "zrangestore y z 1 -1", ":2");
    EXPECT(&f, "object encoding y", "$8 skiplist");
    EXPECT(&f, "zscore y a", "$1 0");
    type_limits_set(&normal);
    fixture_close(&f);
}

static void test_sort(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"rpush l 10 9 1.5 -3", ":4"},
        {"sort l", "*4 $2 -3 $3 1.5 $1 9 $2 10"},
        {"sort l desc limit 1 2", "*2 $1 9 $3 1.5"},
        {"sort l alpha", "*4 $2 -3 $3 1.5 $2 10 $1 9"},
        {"sort l by nosort", "*4 $2 10 $1 9 $3 1.5 $2 -3"},
        {"sort l by nosort desc limit 0 2", "*2 $2 -3 $3 1.5"},
        {"mset w_10 1 w_9 2 w_1.5 0 w_-3 7", "+OK"},
        {"hset o_9 f x", ":1"},
        {"sort l by w_*", "*4 $3 1.5 $2 10 $1 9 $2 -3"},
        {"sort l by w_* get # get o_*->f get none limit 2 1", "*3 $1 9 $1 x $-1"},
        {"sort l store d", ":4"},
        {"lrange d 0 -1", "*4 $2 -3 $3 1.5 $1 9 $2 10"},
        {"sort l get o_*->f store d", ":4"},
        {"lrange d 0 -1", "*4 $0  $0  $1 x $0 "},
        {"sort none store d", ":0"},
        {"exists d", ":0"},
        {"rpush l x", ":5"},
        {"sort l", "-ERR One or more scores can't be converted into double"},
        {"sort l limit 1", "-ERR syntax error"},
        {"sort_ro l store d", "-ERR syntax error"},
        {"sort_ro l alpha limit 0 1", "*1 $2 -3"},
        {"zadd z 3 a 1 b 2 c", ":3"},
        {"sort z by nosort", "*3 $1 b $1 c $1 a"},
        {"sort z by nosort desc limit 0 1", "*1 $1 a"},
        {"sort z alpha", "*3 $1 a $1 b $1 c"},
        {"sadd s c a b", ":3"},
        {"sort s by nosort get #", "*3 $1 a $1 b $1 c"},
        {"sort w_10", WRONG},
    };
    run(lines, ARRAY_LEN(lines));
}

/* Where a shard is not served here, a pattern could name keys that are not here. */
static void test_sort_by_keys_of_other_nodes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "rpush {a}l 2 1", ":2");
    EXPECT(&f, "mset {a}w_1 5 {a}w_2 4", "+OK");
    struct probe b = keyspace_probe_key(f.ks, SLICE("b"));
    f.ks->shards[b.shard]->passive = true;
    EXPECT(&f, "sort {a}l by w_*", "-ERR BY option of SORT denied in cluster mode.");
    EXPECT(&f, "sort {a}l get w_*", "-ERR GET option of SORT denied in cluster mode.");
    EXPECT(&f, "sort {a}l by {a}w_* get #", "*2 $1 2 $1 1");
    EXPECT(&f, "sort {a}l by {b}w_*", "-ERR BY option of SORT denied in cluster mode.");
    EXPECT(&f, "sort {a}l by nosort", "*2 $1 2 $1 1");
    fixture_close(&f);
}

static void take_event(void *arg, int db, uint32_t class, const char *event, struct slice key)
{
    str_printf(arg, "%d %c %s %.*s; ", db,
               class == NOTIFY_LIST   ? 'l'
               : class == NOTIFY_HASH ? 'h'
                                      : 'g',
               event, (int)key.len, key.ptr);
}

static void test_events(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"rpush l a b c", "0 l rpush l; "},
        {"lpush l a", "0 l lpush l; "},
        {"lset l 0 x", "0 l lset l; "},
        {"linsert l before a y", "0 l linsert l; "},
        {"linsert l before zz y", ""},
        {"lrem l 0 y", "0 l lrem l; "},
        {"lrem l 0 y", ""},
        {"lpop l", "0 l lpop l; "},
        {"ltrim l 0 1", "0 l ltrim l; "},
        {"lmove l m left right", "0 l rpush m; 0 l lpop l; "},
        {"rpop l", "0 l rpop l; 0 g del l; "},
        {"blmpop 0 1 m left", "0 l lpop m; 0 g del m; "},
        {"hset h a 1", "0 h hset h; "},
        {"hsetnx h a 1", ""},
        {"hincrby h a 1", "0 h hincrby h; "},
        {"hincrbyfloat h a 1", "0 h hincrbyfloat h; "},
        {"hdel h none", ""},
        {"hdel h a", "0 h hdel h; 0 g del h; "},
        {"rpush l 2 1", "0 l rpush l; "},
        {"sort l store d", "0 l sortstore d; "},
        {"sort none store d", "0 g del d; "},
    };
    struct fixture f;
    struct str events = {0};
    fixture_open(&f);
    f.ks->notify = take_event;
    f.ks->notify_arg = &events;
    f.ks->settings.notify_events = NOTIFY_ALL;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        str_clear(&events);
        say(&f, lines[i].say);
        assert_string_equal(str_cstr(&events), lines[i].reply);
    }
    str_fini(&events);
    fixture_close(&f);
}

/* What is large goes bit by bit, and all of it. */
static void test_large_values_are_freed_in_steps(void **state)
{
    (void)state;
    static const char *const adds[] = {"rpush k %d-%0100d", "hset k %d %0100d", "sadd k %d-%0100d",
                                       "zadd k %d m%0100d"};
    struct type_limits normal = *type_limits();
    struct type_limits small = normal;
    small.list_size = 5;
    type_limits_set(&small);
    for (size_t i = 0; i < ARRAY_LEN(adds); i++) {
        struct fixture f;
        fixture_open(&f);
        EXPECT(&f, "set other x", "+OK");
        size_t before = keyspace_memory(f.ks);
        for (int n = 0; n < 3000; n++) {
            char line[200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(line, sizeof(line), adds[i], n, n);
#pragma GCC diagnostic pop
            assert_string_not_equal(say(&f, line), "");
            assert_int_equal(f.changes, 1);
        }
        assert_true(keyspace_memory(f.ks) > before + 100000);
        EXPECT(&f, "unlink k", ":1");
        assert_int_equal(f.ks->stats.lazyfree_pending, 1);
        size_t steps = 0;
        while (keyspace_lazyfree_step(f.ks, 100)) {
            steps++;
        }
        assert_true(steps >= 5);
        assert_int_equal(f.ks->stats.lazyfree_pending, 0);
        assert_int_equal(f.ks->stats.lazyfreed_objects, 1);
        /* One that is still waiting goes with the keyspace. */
        EXPECT(&f, "rpush k a b c d e f g", ":7");
        EXPECT(&f, "unlink k", ":1");
        fixture_close(&f);
    }
    type_limits_set(&normal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_resp3_shapes),
        cmocka_unit_test(test_large_hashes),
        cmocka_unit_test(test_negative_zeros_end_in_listpacks),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_sort_by_keys_of_other_nodes),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_large_values_are_freed_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
