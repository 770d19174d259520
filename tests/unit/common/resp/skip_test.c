// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/skip.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/resp/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum resp_skip_status skip_prefix(struct resp_skip *s, struct slice in, size_t have,
                                         size_t *end)
{
    char *copy = mem_memdup(in.ptr, have);
    enum resp_skip_status status = resp_skip(s, slice_of(copy, have), end);
    mem_free(copy);
    return status;
}

/* Bytes behind the reply do not matter; every cut leads to the same end. */
static void expect_end(struct slice reply, char type)
{
    struct str in = {0};
    str_append_slice(&in, reply);
    str_appendz(&in, "+next\r\n");
    struct resp_skip s;
    size_t end;
    resp_skip_init(&s);
    assert_int_equal(skip_prefix(&s, str_slice(&in), in.len, &end), SKIP_OK);
    assert_int_equal(end, reply.len);
    assert_int_equal(s.type, type);

    for (size_t step = 1; step <= MIN(reply.len, 40); step++) {
        size_t have = 0;
        enum resp_skip_status status;
        while ((status = skip_prefix(&s, reply, have, &end)) == SKIP_MORE) {
            assert_true(have < reply.len);
            assert_true(end > 0 && have + end <= reply.len);
            have = MIN(have + step, reply.len);
        }
        assert_int_equal(status, SKIP_OK);
        assert_int_equal(have, reply.len);
        assert_int_equal(end, reply.len);
        assert_int_equal(s.type, type);
    }
    str_fini(&in);
}

static void expect_bad(struct slice in)
{
    struct resp_skip s;
    size_t end;
    resp_skip_init(&s);
    assert_int_equal(skip_prefix(&s, in, in.len, &end), SKIP_BAD);

    size_t have = 0;
    enum resp_skip_status status;
    resp_skip_init(&s);
    while ((status = skip_prefix(&s, in, have, &end)) == SKIP_MORE) {
        assert_true(have++ < in.len);
    }
    assert_int_equal(status, SKIP_BAD);
}

static void test_simple_replies(void **state)
{
    (void)state;
    expect_end(SLICE("+OK\r\n"), '+');
    expect_end(SLICE("+PONG\r\n"), '+');
    expect_end(SLICE("+\r\n"), '+');
    expect_end(SLICE("-ERR no\r\n"), '-');
    expect_end(SLICE(":0\r\n"), ':');
    expect_end(SLICE(":-9223372036854775808\r\n"), ':');
    expect_end(SLICE(":9223372036854775807\r\n"), ':');
    expect_end(SLICE("$-1\r\n"), '$');
    expect_end(SLICE("$0\r\n\r\n"), '$');
    expect_end(SLICE("$5\r\nhello\r\n"), '$');
    expect_end(SLICE("$10\r\n\r\n+OK\r\n$1\r\r\n"), '$');
    expect_end(SLICE("*-1\r\n"), '*');
    expect_end(SLICE("*0\r\n"), '*');
}

static void test_resp3_replies(void **state)
{
    (void)state;
    expect_end(SLICE("_\r\n"), '_');
    expect_end(SLICE("#t\r\n"), '#');
    expect_end(SLICE("#f\r\n"), '#');
    expect_end(SLICE(",3.14\r\n"), ',');
    expect_end(SLICE("(3492890328409238509324850943850943825024385\r\n"), '(');
    expect_end(SLICE("=8\r\ntxt:Some\r\n"), '=');
    expect_end(SLICE("!5\r\nERR x\r\n"), '!');
    expect_end(SLICE("%0\r\n"), '%');
    expect_end(SLICE("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n"), '%');
    expect_end(SLICE("~2\r\n+a\r\n$1\r\nb\r\n"), '~');
    expect_end(SLICE(">2\r\n+invalidate\r\n*1\r\n+k\r\n"), '>');
}

static void test_nested_replies(void **state)
{
    (void)state;
    expect_end(SLICE("*2\r\n*2\r\n:1\r\n$1\r\nx\r\n*0\r\n"), '*');
    expect_end(SLICE("*3\r\n*-1\r\n%1\r\n+k\r\n~1\r\n_\r\n$-1\r\n"), '*');
}

static void test_attributes_belong_to_the_reply_behind_them(void **state)
{
    (void)state;
    expect_end(SLICE("|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n"), '$');
    expect_end(SLICE("|0\r\n:1\r\n"), ':');
    expect_end(SLICE("|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n*1\r\n:1\r\n"), '*');
    expect_end(SLICE("*2\r\n:1\r\n|1\r\n+k\r\n+v\r\n:2\r\n"), '*');
    expect_end(SLICE("|1\r\n|1\r\n+x\r\n+y\r\n+k\r\n+v\r\n:2\r\n"), ':');
}

static void test_what_is_no_reply_is_bad(void **state)
{
    (void)state;
    expect_bad(SLICE("hello\r\n"));
    expect_bad(SLICE("\r\n"));
    expect_bad(SLICE(":\r\n"));
    expect_bad(SLICE(":1x\r\n"));
    expect_bad(SLICE(":-\r\n"));
    expect_bad(SLICE(":9223372036854775808\r\n"));
    expect_bad(SLICE(":-9223372036854775809\r\n"));
    expect_bad(SLICE(":00000000000000000000\r\n"));
    expect_bad(SLICE("$-2\r\n"));
    expect_bad(SLICE("$x\r\n"));
    expect_bad(SLICE("$1\rx"));
    expect_bad(SLICE("$1\r\nabc\r\n"));
    expect_bad(SLICE("$1\r\na\rb"));
    expect_bad(SLICE("$9223372036854775807\r\n"));
    expect_bad(SLICE("*-2\r\n"));
    expect_bad(SLICE("%-1\r\n"));
    expect_bad(SLICE("*9223372036854775807\r\n"));
    expect_bad(SLICE("=3\r\ntxt\r\n"));
    expect_bad(SLICE("!-1\r\n"));
    expect_bad(SLICE("#x\r\n"));
    expect_bad(SLICE("_x\r\n"));
    expect_bad(SLICE("+a\rb\r\n"));
}

/* Long arrays go by a way of their own: of all lengths, with other things between, and cut
 * anywhere. */
static void test_arrays_of_strings(void **state)
{
    (void)state;
    const char *const others[] = {"$-1\r\n", ":12\r\n", "$007\r\n1234567\r\n", "*1\r\n$1\r\na\r\n",
                                  "+OK\r\n"};
    char body[200];
    memset(body, 'x', sizeof(body));
    for (int with = 0; with <= (int)ARRAY_LEN(others); with++) {
        struct str in = {0};
        str_printf(&in, "*%d\r\n", with == 0 ? 120 : 145);
        for (int len = 0; len < 120; len++) {
            str_printf(&in, "$%d\r\n%.*s\r\n", len, len, body);
            if (with > 0 && len % 5 == 0) {
                str_appendz(&in, others[with - 1]);
            }
        }
        if (with > 0) {
            str_appendz(&in, "$1\r\na\r\n");
        }
        expect_end(str_slice(&in), '*');
        str_fini(&in);
    }
    expect_end(SLICE("|1\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n$5\r\nreply\r\n"), '$');
    expect_bad(SLICE("*3\r\n$1\r\na\r\n$1\r\nabc$1\r\na\r\n"));
    expect_bad(SLICE("*3\r\n$1\r\na\r\n$1a\r\nabc$1\r\na\r\n"));
    expect_bad(SLICE("*3\r\n$1\r\na\r\n$12\na$1\r\na\r\n"));
}

static void append_nested(struct str *in, int levels)
{
    str_clear(in);
    for (int i = 0; i < levels; i++) {
        str_appendz(in, "*1\r\n");
    }
    str_appendz(in, ":1\r\n");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    struct str in = {0};
    append_nested(&in, RESP_SKIP_DEPTH);
    expect_end(str_slice(&in), '*');
    append_nested(&in, RESP_SKIP_DEPTH + 1);
    expect_bad(str_slice(&in));
    str_fini(&in);
}

static void test_need_is_a_bulks_rest(void **state)
{
    (void)state;
    struct resp_skip s;
    size_t need;
    resp_skip_init(&s);
    assert_int_equal(resp_skip(&s, SLICE("$100\r\nabc"), &need), SKIP_MORE);
    assert_int_equal(need, 99);
}

/* Ends only if each element and each byte of a long line is looked at a constant number of times.
 */
static void test_pieces_take_linear_time(void **state)
{
    (void)state;
    struct str in = {0};
    struct resp_skip s;
    size_t end;
    enum resp_skip_status status = SKIP_MORE;
    str_appendz(&in, "*1000001\r\n");
    for (int i = 0; i < 1000000; i++) {
        str_append(&in, ":1\r\n", 4);
    }
    str_append_char(&in, '+');
    memset(str_reserve(&in, 4000000), 'a', 4000000);
    in.len += 4000000;
    str_appendz(&in, "\r\n");
    resp_skip_init(&s);
    for (size_t have = 3; status == SKIP_MORE; have = MIN(have + 3, in.len)) {
        status = resp_skip(&s, slice_of(in.ptr, have), &end);
    }
    assert_int_equal(status, SKIP_OK);
    assert_int_equal(end, in.len);
    str_fini(&in);
}

/* Random trees of replies, sometimes with a byte changed: skip finds exactly what value accepts. */
static void append_random(struct str *out, struct rng *rng, int depth)
{
    static const char *const leaves[] = {
        "+OK\r\n",    ":12\r\n", "$-1\r\n", "$3\r\nabc\r\n",   "_\r\n",    "#t\r\n",    ",1.5\r\n",
        "-ERR x\r\n", "*0\r\n",  "*-1\r\n", "=5\r\ntxt:a\r\n", "(123\r\n", "$0\r\n\r\n"};
    static const char aggregates[] = "*%~>|";
    uint64_t pick = rng_below(rng, depth > 3 ? ARRAY_LEN(leaves) : ARRAY_LEN(leaves) + 6);
    if (pick < ARRAY_LEN(leaves)) {
        str_appendz(out, leaves[pick]);
        return;
    }
    char type = aggregates[rng_below(rng, 5)];
    uint64_t count = rng_below(rng, 4);
    str_printf(out, "%c%d\r\n", type, (int)count);
    count = type == '%' ? count * 2 : type == '|' ? count * 2 + 1 : count;
    for (; count > 0; count--) {
        append_random(out, rng, depth + 1);
    }
}

static void test_skip_and_value_agree(void **state)
{
    (void)state;
    struct rng rng;
    struct str in = {0};
    int accepted = 0;
    rng_init(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        str_clear(&in);
        append_random(&in, &rng, 0);
        bool broken = rng_below(&rng, 2) == 0;
        if (broken) {
            in.ptr[rng_below(&rng, in.len)] = "\r\n$*:-1a|"[rng_below(&rng, 9)];
        }
        struct resp_skip s;
        size_t end = 0;
        resp_skip_init(&s);
        bool whole = resp_skip(&s, str_slice(&in), &end) == SKIP_OK && end == in.len;
        struct resp_value *v = resp_value_parse(str_slice(&in));
        assert_int_equal(whole, v != NULL);
        assert_true(whole || broken);
        accepted += whole;
        resp_value_free(&v);
    }
    assert_in_range(accepted, 10000, 19000); /* both kinds were there */
    str_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_replies),
        cmocka_unit_test(test_resp3_replies),
        cmocka_unit_test(test_nested_replies),
        cmocka_unit_test(test_attributes_belong_to_the_reply_behind_them),
        cmocka_unit_test(test_what_is_no_reply_is_bad),
        cmocka_unit_test(test_arrays_of_strings),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_need_is_a_bulks_rest),
        cmocka_unit_test(test_pieces_take_linear_time),
        cmocka_unit_test(test_skip_and_value_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
