// SPDX-License-Identifier: BSD-3-Clause
/* What Redis's replicas are told of commands: the words that Redis 7.0 would say. */
#include "node/keyspace/feed.h"

#include "node/cmd/call.h"
#include "node/keyspace/effect.h"

#include "common/resp/parse.h"

#include "tests/unit/node/cmd/node_fixture.h"
#include "tests/unit/unit.h"

struct followed {
    struct fixture f;
    struct feed feed;
    struct str bytes;
    struct str said; /* "WORDS | WORDS" */
    unsigned broken;
};

static void take(void *arg, struct slice bytes)
{
    struct followed *w = arg;
    str_append_slice(&w->bytes, bytes);
}

static void broke(void *arg)
{
    ((struct followed *)arg)->broken++;
}

static void followed_open(struct followed *w)
{
    *w = (struct followed){0};
    fixture_open(&w->f);
    w->f.now_ms = 1000000;
    w->f.ks->collector = collector_new(effect_sink_nobody());
    feed_init(&w->feed, take, w);
    w->feed.broke = broke;
    w->feed.db = 0;
    w->f.ks->collector->feed = &w->feed;
}

static void followed_close(struct followed *w)
{
    collector_free(&w->f.ks->collector);
    feed_fini(&w->feed);
    str_fini(&w->bytes);
    str_fini(&w->said);
    fixture_close(&w->f);
}

static const char *text_of(struct followed *w)
{
    struct resp_parser p;
    struct slice left = str_slice(&w->bytes);
    str_clear(&w->said);
    resp_parser_init(&p);
    while (left.len > 0) {
        assert_int_equal(resp_parse(&p, left), RESP_OK);
        str_appendz(&w->said, w->said.len > 0 ? " | " : "");
        for (size_t i = 0; i < p.argc; i++) {
            str_printf(&w->said, "%s%.*s", i > 0 ? " " : "", (int)p.argv[i].len, p.argv[i].ptr);
        }
        left = slice_of(left.ptr + p.used, left.len - p.used);
    }
    resp_parser_fini(&p);
    str_clear(&w->bytes);
    return str_cstr(&w->said);
}

static const char *tells(struct followed *w, const char *line)
{
    say(&w->f, line);
    return text_of(w);
}

#define TELLS(w, line, text) assert_string_equal(tells(w, line), text)

static void test_strings_and_times_are_absolute(void **state)
{
    (void)state;
    struct followed w;
    followed_open(&w);
    TELLS(&w, "set a 1", "set a 1");
    TELLS(&w, "set a 1 ex 10", "SET a 1 PXAT 1010000");
    TELLS(&w, "set a 1 get keepttl", "set a 1 keepttl");
    TELLS(&w, "set a 1 nx", "");
    TELLS(&w, "set a 1 xx get", "set a 1 xx");
    TELLS(&w, "setex a 10 v", "SET a v PXAT 1010000");
    TELLS(&w, "getset a w", "SET a w");
    TELLS(&w, "getex a", "");
    TELLS(&w, "getex a px 5", "PEXPIREAT a 1000005");
    TELLS(&w, "getex a persist", "PERSIST a");
    TELLS(&w, "expire a 100 nx", "PEXPIREAT a 1100000 nx");
    TELLS(&w, "expire a -1", "DEL a");
    TELLS(&w, "mset a 1 b 2 c 3", "mset a 1 b 2 c 3");
    TELLS(&w, "del a b x", "del a b x");
    TELLS(&w, "del a", "");
    TELLS(&w, "rename c d", "rename c d");
    TELLS(&w, "incrbyfloat n 1.5", "SET n 1.5 KEEPTTL");
    TELLS(&w, "getdel n", "DEL n");
    w.f.ks->settings.lazy_user_del = true;
    w.f.ks->settings.lazy_expire = true;
    TELLS(&w, "set n 1", "set n 1");
    TELLS(&w, "getdel n", "UNLINK n");
    TELLS(&w, "set n 1", "set n 1");
    TELLS(&w, "pexpireat n 1", "UNLINK n");
    TELLS(&w, "pfadd h a", "pfadd h a");
    TELLS(&w, "pfcount h", "pfcount h");
    TELLS(&w, "pfcount h", "");
    TELLS(&w, "flushall", "flushall");
    TELLS(&w, "flushdb", "flushdb");
    TELLS(&w, "swapdb 0 0", "swapdb 0 0");
    TELLS(&w, "swapdb 0 99", "");
    followed_close(&w);
}

static void test_random_and_waiting_commands_are_told_by_their_outcome(void **state)
{
    (void)state;
    struct followed w;
    followed_open(&w);
    TELLS(&w, "sadd s a", "sadd s a");
    TELLS(&w, "spop s", "SREM s a");
    TELLS(&w, "sadd s a b", "sadd s a b");
    TELLS(&w, "spop s 5", "DEL s");
    TELLS(&w, "rpush l 1 2 3 4 5 6", "rpush l 1 2 3 4 5 6");
    TELLS(&w, "blpop x l 1", "LPOP l");
    TELLS(&w, "brpop l 1", "RPOP l");
    TELLS(&w, "lmpop 1 l left", "LPOP l 1");
    TELLS(&w, "blmove l k left right 1", "LMOVE l k left right");
    TELLS(&w, "lmove l k left right", "lmove l k left right");
    TELLS(&w, "brpoplpush l k 1", "RPOPLPUSH l k");
    TELLS(&w, "rpoplpush l k", "");
    TELLS(&w, "zadd z 1 a 2 b 3 c", "zadd z 1 a 2 b 3 c");
    TELLS(&w, "bzpopmin z 1", "ZPOPMIN z");
    TELLS(&w, "zmpop 1 z max count 9", "ZPOPMAX z 2");
    TELLS(&w, "zpopmin z", "");
    TELLS(&w, "hset h a 1", "hset h a 1");
    TELLS(&w, "hincrbyfloat h a 0.5", "HSET h a 1.5");
    TELLS(&w, "geoadd g nx 10 10 m", "ZADD g nx 3386427883058495 m");
    TELLS(&w, "geoadd g nx 10 10 m", "");
    followed_close(&w);
}

static void test_streams_are_told_entry_by_entry(void **state)
{
    (void)state;
    struct followed w;
    followed_open(&w);
    TELLS(&w, "xadd x * f v", "xadd x 1000000-0 f v");
    TELLS(&w, "xadd x 1000001-* f v", "xadd x 1000001-0 f v");
    TELLS(&w, "xadd x nomkstream maxlen ~ 1 limit 5 * f v",
          "xadd x nomkstream MAXLEN = 3 1000001-1 f v");
    TELLS(&w, "xtrim x maxlen 2", "xtrim x maxlen 2");
    TELLS(&w, "xgroup create x g 0", "xgroup create x g 0");
    TELLS(&w, "xreadgroup group g c count 1 streams x >",
          "XCLAIM x g c 0 1000001-0 TIME 1000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1000001-0");
    TELLS(&w, "xreadgroup group g d noack streams x >",
          "MULTI | XGROUP CREATECONSUMER x g d | XGROUP SETID x g 1000001-1 ENTRIESREAD 3 | EXEC");
    TELLS(&w, "xreadgroup group g e streams x 0", "XGROUP CREATECONSUMER x g e");
    TELLS(&w, "xreadgroup group g c streams x 0", "");
    TELLS(&w, "xclaim x g d 0 1000001-0",
          "XCLAIM x g d 0 1000001-0 TIME 1000000 RETRYCOUNT 3 FORCE JUSTID LASTID 1000001-1");
    TELLS(&w, "xdel x 1000001-0", "xdel x 1000001-0");
    TELLS(&w, "xautoclaim x g c 0 -",
          "XCLAIM x g d 0 1000001-0 TIME 1000000 RETRYCOUNT 3 FORCE JUSTID LASTID 1000001-1");
    TELLS(&w, "xack x g 1000001-0", "");
    followed_close(&w);
}

static void test_a_transaction_is_whole_and_alone_if_it_is_one(void **state)
{
    (void)state;
    struct followed w;
    followed_open(&w);
    say(&w.f, "multi");
    say(&w.f, "set a 1");
    say(&w.f, "get a");
    TELLS(&w, "exec", "set a 1");
    say(&w.f, "multi");
    say(&w.f, "set a 1");
    say(&w.f, "select 3");
    say(&w.f, "set b 1");
    TELLS(&w, "exec", "MULTI | set a 1 | SELECT 3 | set b 1 | EXEC");
    TELLS(&w, "set c 1", "set c 1");
    say(&w.f, "multi");
    TELLS(&w, "exec", "");
    w.feed.db = -1;
    TELLS(&w, "set c 1", "SELECT 3 | set c 1");
    followed_close(&w);
}

static void test_what_expires_is_told_before_what_found_it(void **state)
{
    (void)state;
    struct followed w;
    followed_open(&w);
    w.f.ks->settings.expires_keys = true;
    tells(&w, "set a 1 px 1");
    tells(&w, "set b 1 px 1");
    w.f.now_ms += 5;
    TELLS(&w, "incr a", "MULTI | DEL a | incr a | EXEC");
    TELLS(&w, "get b", "DEL b");
    tells(&w, "set a 1 px 1");
    tells(&w, "set b 1 px 1");
    w.f.now_ms += 5;
    const char *said = tells(&w, "scan 0 count 1000");
    assert_true(strcmp(said, "DEL a | DEL b") == 0 || strcmp(said, "DEL b | DEL a") == 0);
    tells(&w, "set a 1 px 1");
    tells(&w, "set b 1 px 1");
    w.f.now_ms += 5;
    w.f.ks->settings.active_expire = true;
    keyspace_expire_cycle(w.f.ks, w.f.now_ms, 1 << 20);
    said = text_of(&w);
    assert_true(strcmp(said, "DEL a | DEL b") == 0 || strcmp(said, "DEL b | DEL a") == 0);
    followed_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_and_times_are_absolute),
        cmocka_unit_test(test_random_and_waiting_commands_are_told_by_their_outcome),
        cmocka_unit_test(test_streams_are_told_entry_by_entry),
        cmocka_unit_test(test_a_transaction_is_whole_and_alone_if_it_is_one),
        cmocka_unit_test(test_what_expires_is_told_before_what_found_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
