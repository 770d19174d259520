// SPDX-License-Identifier: BSD-3-Clause
/* Commands and what they answer, in RESP2, CRLF shown as a space, NUL as ^. Each list starts with
 * no keys. The differential test against redis-server goes further; these say what must be true
 * without one. */
#include "tests/unit/node/cmd/node_fixture.h"

struct row {
    const char *command;
    const char *reply;
};

static void run_rows(const struct row *rows, size_t n)
{
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < n; i++) {
        const char *reply = say(&f, rows[i].command);
        if (strcmp(reply, rows[i].reply) != 0) {
            fail_msg("%s\n  answers  %s\n  not      %s", rows[i].command, reply, rows[i].reply);
        }
    }
    fixture_close(&f);
}

#define ROWS(name, ...)                                                                            \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        static const struct row rows[] = {__VA_ARGS__};                                            \
        run_rows(rows, sizeof(rows) / sizeof(*rows));                                              \
    }

#define NOT_INT       "-ERR value is not an integer or out of range"
#define SYNTAX        "-ERR syntax error"
#define OK            "+OK"
#define NIL           "$-1"
#define BAD_TIME(cmd) "-ERR invalid expire time in '" cmd "' command"

// clang-format off
ROWS(set_and_its_options,
    {"set a 1", OK}, {"get a", "$1 1"}, {"object encoding a", "$3 int"},
    {"set a hello", OK}, {"get a", "$5 hello"}, {"object encoding a", "$6 embstr"},
    {"set a 0123456789012345678901234567890123456789012345", OK}, {"object encoding a", "$3 raw"},
    {"set a 01234567890123456789012345678901234567890123", OK}, {"object encoding a", "$6 embstr"},
    {"set a \"\"", OK}, {"get a", "$0 "},
    {"set a x NX", NIL}, {"set b x XX", NIL}, {"set b x NX", OK}, {"set b y XX", OK},
    {"set a z GET", "$0 "}, {"set c z GET", NIL}, {"set c y GET NX", "$1 z"}, {"set d z GET XX", NIL}, {"get d", NIL},
    {"set a x NX XX", SYNTAX}, {"set a x EX", SYNTAX}, {"set a x EX 10 PX 10", SYNTAX}, {"set a x KEEPTTL EX 1", SYNTAX},
    {"set a x PERSIST", SYNTAX}, {"set a x EX x", NOT_INT}, {"set a x EX 0", BAD_TIME("set")}, {"set a x PX -1", BAD_TIME("set")},
    {"set a x EX 9223372036854775807", BAD_TIME("set")}, {"set a x PX 9223372036854775807", BAD_TIME("set")},
    {"set a x EX 100", OK}, {"ttl a", ":100"}, {"set a y KEEPTTL", OK}, {"ttl a", ":100"}, {"set a y", OK}, {"ttl a", ":-1"},
    {"set a x PX 1500", OK}, {"pttl a", ":1500"}, {"set a x EXAT 1700000100", OK}, {"ttl a", ":100"},
    {"set a x PXAT 1700000100001", OK}, {"pexpiretime a", ":1700000100001"}, {"set a x PXAT 1000", OK}, {"get a", NIL},
    {"setex a 10 v", OK}, {"ttl a", ":10"}, {"setex a 0 v", BAD_TIME("setex")}, {"psetex a 0 v", BAD_TIME("psetex")},
    {"psetex a 10000 w", OK}, {"pttl a", ":10000"}, {"get a", "$1 w"},
    {"setnx a v", ":0"}, {"setnx n v", ":1"}, {"getset n w", "$1 v"}, {"getset nn w", NIL}, {"get nn", "$1 w"},
    {"getdel n", "$1 w"}, {"getdel n", NIL}, {"set", "-ERR wrong number of arguments for 'set' command"})

ROWS(getex,
    {"getex a", NIL}, {"getex a EX 0", NIL}, {"set a v", OK}, {"getex a EX 10", "$1 v"}, {"ttl a", ":10"},
    {"getex a", "$1 v"}, {"ttl a", ":10"}, {"getex a PERSIST", "$1 v"}, {"ttl a", ":-1"}, {"getex a EX 0", BAD_TIME("getex")},
    {"getex a PERSIST EX 10", SYNTAX}, {"getex a NX", SYNTAX}, {"getex a EXAT 1", "$1 v"}, {"exists a", ":0"})

ROWS(many_keys_at_once,
    {"mset a 1 b 2 a 3", OK}, {"mget a b c", "*3 $1 3 $1 2 $-1"}, {"mset a", "-ERR wrong number of arguments for 'mset' command"},
    {"mset a 1 b", "-ERR wrong number of arguments for 'mset' command"}, {"msetnx x 1 a 2", ":0"}, {"exists x", ":0"},
    {"msetnx x 1 y 2 x 3", ":1"}, {"get x", "$1 3"}, {"msetnx z 1 q", "-ERR wrong number of arguments for 'msetnx' command"},
    {"del a b c", ":2"}, {"unlink x y", ":2"}, {"dbsize", ":0"}, {"set a 1", OK}, {"exists a a b", ":2"}, {"touch a a b", ":2"})

ROWS(numbers,
    {"incr a", ":1"}, {"incrby a 41", ":42"}, {"decr a", ":41"}, {"decrby a 50", ":-9"}, {"object encoding a", "$3 int"},
    {"set a abc", OK}, {"incr a", NOT_INT}, {"incrby b x", NOT_INT}, {"exists b", ":0"},
    {"set a 9223372036854775807", OK}, {"incr a", "-ERR increment or decrement would overflow"}, {"get a", "$19 9223372036854775807"},
    {"set a -9223372036854775808", OK}, {"decr a", "-ERR increment or decrement would overflow"},
    {"decrby a -9223372036854775808", "-ERR decrement would overflow"},
    {"set a 1", OK}, {"append a 2", ":2"}, {"object encoding a", "$3 raw"}, {"incr a", ":13"}, {"object encoding a", "$3 int"},
    {"setex t 100 5", OK}, {"incr t", ":6"}, {"ttl t", ":100"}, {"append t x", ":2"}, {"ttl t", ":100"},
    {"incrbyfloat f 1.5", "$3 1.5"}, {"incrbyfloat f 1.5", "$1 3"}, {"incrbyfloat f x", "-ERR value is not a valid float"},
    {"incrbyfloat f inf", "-ERR increment would produce NaN or Infinity"}, {"object encoding f", "$6 embstr"},
    {"set f 10.50", OK}, {"incrbyfloat f 0.1", "$4 10.6"}, {"set f 5.0e3", OK}, {"incrbyfloat f 2.0e2", "$4 5200"},
    {"set f abc", OK}, {"incrbyfloat f 1", "-ERR value is not a valid float"})

ROWS(parts_of_strings,
    {"append a Hello", ":5"}, {"append a World", ":10"}, {"get a", "$10 HelloWorld"}, {"strlen a", ":10"}, {"strlen b", ":0"},
    {"object encoding a", "$3 raw"}, {"append n 5", ":1"}, {"object encoding n", "$3 int"},
    {"getrange a 0 4", "$5 Hello"}, {"getrange a -5 -1", "$5 World"}, {"getrange a 5 100", "$5 World"}, {"getrange a 3 1", "$0 "},
    {"getrange a -1 -5", "$0 "}, {"getrange b 0 -1", "$0 "}, {"substr a 0 0", "$1 H"}, {"getrange a x 1", NOT_INT},
    {"getrange a -100 2", "$3 Hel"}, {"getrange a 10 12", "$0 "},
    {"setrange a 5 There", ":10"}, {"get a", "$10 HelloThere"}, {"setrange p 3 x", ":4"}, {"get p", "$4 ^^^x"},
    {"setrange q 0 \"\"", ":0"}, {"exists q", ":0"}, {"setrange a -1 x", "-ERR offset is out of range"},
    {"setrange a 536870911 xx", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"}, {"setrange a x x", NOT_INT},
    {"set n 1234", OK}, {"setrange n 1 0", ":4"}, {"get n", "$4 1034"}, {"object encoding n", "$3 raw"})

ROWS(longest_common_subsequence,
    {"mset a ohmytext b mynewtext", OK}, {"lcs a b", "$6 mytext"}, {"lcs a b LEN", ":6"},
    {"lcs a b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"},
    {"lcs a b IDX MINMATCHLEN 4", "*4 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6"},
    {"lcs a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"},
    {"lcs a c", "$0 "}, {"lcs a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX."},
    {"lcs a b BAD", SYNTAX}, {"lcs a b MINMATCHLEN", SYNTAX}, {"lcs a b MINMATCHLEN x", NOT_INT})

ROWS(bits,
    {"setbit a 7 1", ":0"}, {"setbit a 7 0", ":1"}, {"get a", "$1 ^"}, {"setbit a 1 1", ":0"}, {"get a", "$1 @"},
    {"getbit a 1", ":1"}, {"getbit a 100", ":0"}, {"getbit b 0", ":0"},
    {"setbit a -1 1", "-ERR bit offset is not an integer or out of range"}, {"setbit a 4294967296 1", "-ERR bit offset is not an integer or out of range"},
    {"setbit a 1 2", "-ERR bit is not an integer or out of range"}, {"setbit a 4294967296x 1", "-ERR bit offset is not an integer or out of range"},
    {"set f foobar", OK}, {"bitcount f", ":26"}, {"bitcount f 0 0", ":4"}, {"bitcount f 1 1", ":6"}, {"bitcount f 5 30 BIT", ":17"},
    {"bitcount f 1 1 BYTE", ":6"}, {"bitcount f -1 -2", ":0"}, {"bitcount f 0", SYNTAX}, {"bitcount f 0 x", NOT_INT}, {"bitcount f 0 1 x", SYNTAX},
    {"bitcount none 0 1", ":0"}, {"set g \\xff\\xf0\\x00", OK}, {"bitpos g 0", ":12"}, {"bitpos g 1", ":0"}, {"bitpos g 1 2", ":-1"},
    {"bitpos g 0 0 0", ":-1"}, {"bitpos g 0 2", ":16"}, {"bitpos g 1 8 11 BIT", ":8"}, {"bitpos g 0 8 11 BIT", ":-1"},
    {"set h \\xff\\xff", OK}, {"bitpos h 0", ":16"}, {"bitpos h 0 0 -1", ":-1"}, {"bitpos none 0", ":0"}, {"bitpos none 1", ":-1"},
    {"bitpos h 2", "-ERR The bit argument must be 1 or 0."}, {"bitpos h 0 0 -1 x", SYNTAX},
    {"mset x \\x0f y \\x33\\xff", OK}, {"bitop and d x y", ":2"}, {"get d", "$2 \x03^"}, {"bitop or d x y", ":2"}, {"get d", "$2 ?\xff"},
    {"bitop xor d x y", ":2"}, {"get d", "$2 <\xff"}, {"bitop not d x", ":1"}, {"get d", "$1 \xf0"},
    {"bitop not d x y", "-ERR BITOP NOT must be called with a single source key."}, {"bitop nand d x", SYNTAX},
    {"bitop and d none", ":0"}, {"exists d", ":0"})

ROWS(fields,
    {"bitfield a set u8 0 255 get u8 0 incrby u8 0 10", "*3 :0 :255 :9"}, {"bitfield a overflow sat incrby u8 0 1000", "*1 :255"},
    {"bitfield a overflow fail incrby u8 0 1", "*1 $-1"}, {"bitfield a incrby i5 100 1 get u4 0", "*2 :1 :15"},
    {"bitfield a set i8 #1 -128 get i8 8", "*2 :0 :-128"}, {"bitfield a overflow sat incrby i8 #1 -10", "*1 :-128"},
    {"bitfield a incrby i8 #1 -1", "*1 :127"}, {"bitfield b get u8 0", "*1 :0"}, {"exists b", ":0"},
    {"bitfield_ro a get u8 0", "*1 :255"}, {"bitfield_ro a set u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"},
    {"bitfield a get u64 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."},
    {"bitfield a get i64 0", "*1 :-36310271995674624"}, {"bitfield a get u8 x", "-ERR bit offset is not an integer or out of range"},
    {"bitfield a overflow bad", "-ERR Invalid OVERFLOW type specified"}, {"bitfield a get u8", SYNTAX}, {"bitfield a", "*0"})

ROWS(expiry,
    {"expire a 10", ":0"}, {"ttl a", ":-2"}, {"set a 1", OK}, {"ttl a", ":-1"}, {"pttl a", ":-1"}, {"expiretime a", ":-1"},
    {"expire a 10", ":1"}, {"ttl a", ":10"}, {"pttl a", ":10000"}, {"expiretime a", ":1700000010"}, {"pexpiretime a", ":1700000010000"},
    {"expire a 20 NX", ":0"}, {"expire a 20 GT", ":1"}, {"expire a 15 GT", ":0"}, {"expire a 15 LT", ":1"}, {"expire a 30 XX", ":1"},
    {"persist a", ":1"}, {"persist a", ":0"}, {"expire a 10 XX", ":0"}, {"expire a 10 GT", ":0"}, {"expire a 10 LT", ":1"},
    {"expire a 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"},
    {"expire a 10 GT LT", "-ERR GT and LT options at the same time are not compatible"}, {"expire a 10 BAD", "-ERR Unsupported option BAD"},
    {"expire a x", NOT_INT}, {"expire a 9223372036854775807", BAD_TIME("expire")}, {"pexpire a 9223372036854775807", BAD_TIME("pexpire")},
    {"expireat a 1700000500", ":1"}, {"ttl a", ":500"}, {"pexpireat a 1700000500001", ":1"}, {"pttl a", ":500001"},
    {"expire a -1", ":1"}, {"exists a", ":0"}, {"set a 1", OK}, {"expireat a 1", ":1"}, {"get a", NIL},
    {"set a 1 PX 1499", OK}, {"ttl a", ":1"}, {"set a 1 PX 1500", OK}, {"ttl a", ":2"})

ROWS(keys_renamed_copied_moved,
    {"rename a b", "-ERR no such key"}, {"setex a 100 v", OK}, {"rename a b", OK}, {"ttl b", ":100"}, {"exists a", ":0"}, {"rename b b", OK},
    {"set c w", OK}, {"renamenx c b", ":0"}, {"renamenx c d", ":1"}, {"renamenx d d", ":0"}, {"rename d b", OK}, {"get b", "$1 w"}, {"ttl b", ":-1"},
    {"copy b e", ":1"}, {"copy b e", ":0"}, {"set b x", OK}, {"copy b e REPLACE", ":1"}, {"get e", "$1 x"}, {"copy none e", ":0"},
    {"copy b b", "-ERR source and destination objects are the same"}, {"copy b b DB 1", ":1"}, {"copy b q DB 99", "-ERR DB index is out of range"},
    {"copy b q DB", SYNTAX}, {"copy b q DB x", NOT_INT}, {"setex t 50 1", OK}, {"copy t u", ":1"}, {"ttl u", ":50"},
    {"move b 1", ":0"}, {"move e 1", ":1"}, {"exists e", ":0"}, {"move e 0", "-ERR source and destination objects are the same"},
    {"move b 99", "-ERR DB index is out of range"}, {"select 1", OK}, {"get e", "$1 x"}, {"get b", "$1 x"}, {"dbsize", ":2"},
    {"swapdb 0 1", OK}, {"get t", "$1 1"}, {"swapdb 0 99", "-ERR DB index is out of range"}, {"swapdb x 1", "-ERR invalid first DB index"},
    {"swapdb 1 x", "-ERR invalid second DB index"}, {"select 99", "-ERR DB index is out of range"}, {"select x", NOT_INT},
    {"flushdb BAD", SYNTAX}, {"flushdb", OK}, {"dbsize", ":0"}, {"select 0", OK}, {"dbsize", ":2"}, {"flushall ASYNC", OK}, {"dbsize", ":0"})

ROWS(asking_about_keys,
    {"type a", "+none"}, {"set a 1", OK}, {"type a", "+string"}, {"object encoding none", NIL}, {"object refcount a", ":2147483647"}, {"set a 10000", OK}, {"object refcount a", ":1"}, {"set a x", OK}, {"object refcount a", ":1"},
    {"object idletime a", ":0"}, {"object freq a", "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."},
    {"keys *", "*1 $1 a"}, {"keys b*", "*0"}, {"scan 0", "*2 $1 0 *1 $1 a"}, {"scan 0 TYPE string", "*2 $1 0 *1 $1 a"},
    {"scan 0 TYPE hash", "*2 $1 0 *0"}, {"scan 0 TYPE nonsense", "*2 $1 0 *0"}, {"scan 0 MATCH b*", "*2 $1 0 *0"}, {"scan 0 COUNT 0", SYNTAX},
    {"scan 0 COUNT x", NOT_INT}, {"scan 0 MATCH", SYNTAX}, {"scan x", "-ERR invalid cursor"}, {"scan 18446744073709551615", "*2 $1 0 *0"},
    {"scan 18446744073709551616", "-ERR invalid cursor"}, {"randomkey", "$1 a"}, {"del a", ":1"}, {"randomkey", NIL})
// clang-format on

static void test_resp3_has_its_own_nils_and_maps(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    f.session.proto = 3;
    EXPECT(&f, "get a", "_");
    EXPECT(&f, "mget a", "*1 _");
    EXPECT(&f, "lcs a b IDX", "%2 $7 matches *0 $3 len :0");
    EXPECT(&f, "bitfield a overflow fail set u2 0 9", "*1 _");
    EXPECT(&f, "watch b", "+OK");
    say_as(&f, &f.other, "set b 1");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "_");
    fixture_close(&f);
}

static void test_long_values_survive_every_way_of_keeping_them(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static const size_t sizes[] = {40, 44, 45, 255, 256, 257, 2047, 2048, 4095, 4096, 5000, 70000};
    char *big = mem_alloc(70001);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            struct slice set[] = {SLICE("SET"), SLICE("k"), slice_of(big, sizes[i])};
            assert_string_equal(say_args(&f, &f.session, set, 3), "+OK");
            struct slice again[] = {SLICE("SET"), SLICE("k"), slice_of(big, sizes[j])};
            assert_string_equal(say_args(&f, &f.session, again, 3), "+OK");
            struct slice append[] = {SLICE("APPEND"), SLICE("k"), slice_of(big, sizes[i])};
            say_args(&f, &f.session, append, 3);
            struct str want = {0};
            str_printf(&want, "$%zu ", sizes[i] + sizes[j]);
            str_append(&want, big, sizes[i]);
            str_append(&want, big, sizes[j]);
            assert_string_equal(say(&f, "get k"), str_cstr(&want));
            str_fini(&want);
        }
    }
    /* A reply under way keeps the bytes that it was given. */
    struct slice set[] = {SLICE("SET"), SLICE("k"), slice_of(big, 5000)};
    say_args(&f, &f.session, set, 3);
    struct slice get[] = {SLICE("GET"), SLICE("k")};
    char error[COMMAND_ERROR_MAX];
    struct call c = {.argv = get,
                     .argc = 2,
                     .cmd = command_resolve(get, 2, error),
                     .w = {.out = &f.out},
                     .session = &f.session,
                     .ks = f.ks,
                     .rng = &f.rng,
                     .now_ms = f.now_ms};
    call_run(&f.table, &c);
    struct outbuf held = f.out;
    f.out = (struct outbuf){0};
    EXPECT(&f, "setrange k 0 yyyy", ":5000");
    EXPECT(&f, "del k", ":1");
    outbuf_fini(&f.out);
    f.out = held;
    const char *text = take_text(&f);
    assert_int_equal(strspn(text + 6, "x"), 5000);
    mem_free(big);
    fixture_close(&f);
}

static void test_memory_sums_to_nothing_after_a_flush(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static const char *const verbs[] = {
        "set k%d value%d",      "append k%d some-more-bytes%d",
        "setrange k%d %d00 x",  "setbit k%d %d1 1",
        "incrby n%d %d",        "expire k%d %d0",
        "persist k%d",          "del k%d",
        "rename k%d other%d",   "copy k%d copy%d REPLACE",
        "getdel k%d",           "bitop not b%d k%d",
        "setex k%d 1000 v%dvv", "incrbyfloat n%d 0.%d",
        "move k%d 1",           "bitfield k%d set u63 #%d 7",
    };
    for (int i = 0; i < 20000; i++) {
        char line[128];
        int a = (int)rng_below(&f.rng, 300);
        int b = (int)rng_below(&f.rng, 50) + 1;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof(line), verbs[rng_below(&f.rng, ARRAY_LEN(verbs))], a, b);
#pragma GCC diagnostic pop
        say(&f, line);
    }
    assert_true(keyspace_memory(f.ks) > 1000);
    size_t used = mem_used();
    size_t accounted = keyspace_memory(f.ks);
    say(&f, "flushall");
    assert_int_equal(keyspace_memory(f.ks), 0);
    (void)used;
    (void)accounted;
#ifndef SHOAL_LIBC_MALLOC
    /* Besides the tables and their objects only the two arrays of tables went. */
    size_t arrays = 2 * object_size_class(FIXTURE_SHARDS * sizeof(void *));
    assert_int_equal(used - mem_used(), accounted + arrays);
#endif
    fixture_close(&f);
}

static void test_maxmemory_refuses_what_needs_memory(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "set a 1", "+OK");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "set b 1", "+QUEUED");
    f.ks->settings.maxmemory = 1;
    EXPECT(&f, "get a", "-OOM command not allowed when used memory > 'maxmemory'.");
    EXPECT(&f, "exec",
           "-EXECABORT Transaction discarded because of: OOM command not allowed when "
           "used memory > 'maxmemory'.");
    EXPECT(&f, "set b 1", "-OOM command not allowed when used memory > 'maxmemory'.");
    EXPECT(&f, "get a", "$1 1");
    EXPECT(&f, "del a", ":1");
    EXPECT(&f, "multi", "+OK");
    EXPECT(&f, "exec", "*0");
    f.ks->settings.maxmemory = 0;
    EXPECT(&f, "set b 1", "+OK");
    fixture_close(&f);
}

static void test_keys_beyond_32_bits_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    f.ks->settings.proto_max_bulk_len = INT64_C(1) << 40;
    EXPECT(&f, "mset a 1 b 2", "+OK");
    /* Nobody may look at its bytes. */
    struct slice mset[] = {SLICE("MSET"), SLICE("a"), SLICE("2"),
                           slice_of("b", (size_t)UINT32_MAX + 1), SLICE("2")};
    assert_string_equal(say_args(&f, &f.session, mset, 5),
                        "-ERR key exceeds maximum allowed size (4 GiB)");
    EXPECT(&f, "get a", "$1 1");
    fixture_close(&f);
}

static void test_idle_time_and_frequency(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    say(&f, "set a 1");
    f.now_ms += 5000;
    EXPECT(&f, "object idletime a", ":5");
    EXPECT(&f, "ttl a", ":-1");
    EXPECT(&f, "exists a", ":1");
    EXPECT(&f, "object idletime a", ":5");
    f.session.no_touch = true;
    EXPECT(&f, "get a", "$1 1");
    EXPECT(&f, "object idletime a", ":5");
    EXPECT(&f, "touch a", ":1");
    EXPECT(&f, "object idletime a", ":0");
    f.session.no_touch = false;
    f.ks->settings.lfu = true;
    say(&f, "set b 1");
    EXPECT(&f, "object freq b", ":5");
    say(&f, "get b");
    EXPECT(&f, "object freq b", ":6");
    f.now_ms += 3 * 60000;
    EXPECT(&f, "object freq b", ":3");
    fixture_close(&f);
}

static void test_scan_walks_over_all_shards(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 1000; i++) {
        char line[64];
        snprintf(line, sizeof(line), "set key:%d x", i);
        say(&f, line);
    }
    char line[64] = "scan 0 COUNT 7";
    int keys = 0;
    int calls = 0;
    for (;;) {
        const char *reply = say(&f, line);
        char cursor[32];
        int n;
        assert_int_equal(sscanf(reply, "*2 $%*d %31s *%d", cursor, &n), 2);
        keys += n;
        calls++;
        assert_true(n <= 7 + 7 + 7); /* COUNT and at most what shares the last bucket's place */
        if (strcmp(cursor, "0") == 0) {
            break;
        }
        assert_true(cursor[0] != '-');
        snprintf(line, sizeof(line), "scan %s COUNT 7", cursor);
    }
    assert_int_equal(keys, 1000);
    assert_true(calls > 40);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_its_options),
        cmocka_unit_test(test_getex),
        cmocka_unit_test(test_many_keys_at_once),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_parts_of_strings),
        cmocka_unit_test(test_longest_common_subsequence),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_keys_renamed_copied_moved),
        cmocka_unit_test(test_asking_about_keys),
        cmocka_unit_test(test_resp3_has_its_own_nils_and_maps),
        cmocka_unit_test(test_long_values_survive_every_way_of_keeping_them),
        cmocka_unit_test(test_memory_sums_to_nothing_after_a_flush),
        cmocka_unit_test(test_maxmemory_refuses_what_needs_memory),
        cmocka_unit_test(test_keys_beyond_32_bits_are_refused),
        cmocka_unit_test(test_idle_time_and_frequency),
        cmocka_unit_test(test_scan_walks_over_all_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
