// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/parse.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What a parser made of some bytes, as text: "[3] set|key|value", "error: text", "more". */
static void render(const struct resp_parser *p, enum resp_status status, struct str *out)
{
    str_clear(out);
    if (status == RESP_MORE) {
        str_appendz(out, "more");
    } else if (status == RESP_ERROR) {
        str_printf(out, "error: %s", p->error);
    } else {
        str_printf(out, "[%u]", p->argc);
        for (uint32_t i = 0; i < p->argc; i++) {
            str_append_char(out, i == 0 ? ' ' : '|');
            str_append_slice(out, p->argv[i]);
        }
    }
}

/* Parses the first `have` bytes from a heap copy of just that size, so that a sanitizer sees a step
 * beyond them, and each call finds them at another address. */
static enum resp_status parse_prefix(struct resp_parser *p, struct slice message, size_t have,
                                     struct str *got)
{
    char *copy = mem_memdup(message.ptr, have);
    enum resp_status status = resp_parse(p, slice_of(copy, have));
    render(p, status, got);
    mem_free(copy);
    return status;
}

struct limits {
    bool unauthenticated;
    int64_t bulk_max;
};

static const struct limits usual = {.bulk_max = RESP_BULK_MAX};

static void start(struct resp_parser *p, struct limits limits)
{
    resp_parser_init(p);
    p->unauthenticated = limits.unauthenticated;
    p->bulk_max = limits.bulk_max;
}

/* First `first` bytes, then `step` more each time: the outcome must be `want`, reached only with
 * the bytes that decide it, and never with fewer than `need` said. */
static void expect_cut(struct slice message, struct limits limits, const char *want, size_t first,
                       size_t step)
{
    struct resp_parser p;
    struct str got = {0};
    size_t have = MIN(first, message.len);
    size_t needed = 0;
    enum resp_status status;
    start(&p, limits);
    while ((status = parse_prefix(&p, message, have, &got)) == RESP_MORE && have < message.len) {
        assert_true(p.need > 0);
        needed = have + p.need;
        have = MIN(have + step, message.len);
    }
    assert_string_equal(str_cstr(&got), want);
    if (status == RESP_OK) {
        assert_true(needed <= message.len);
        assert_int_equal(p.used, message.len);
    }
    str_fini(&got);
    resp_parser_fini(&p);
}

static void expect_limited(struct slice message, struct limits limits, const char *want)
{
    expect_cut(message, limits, want, message.len, 1);
    if (message.len > 5000) {
        expect_cut(message, limits, want, 1, 997);
        return;
    }
    for (size_t cut = 0; cut < message.len; cut++) {
        expect_cut(message, limits, want, cut, message.len); /* two pieces */
    }
    for (size_t step = 1; step < 9; step++) {
        expect_cut(message, limits, want, 0, step);
    }
}

static void expect(const char *message, const char *want)
{
    expect_limited(slice_str(message), usual, want);
}

static void test_arrays_of_bulks(void **state)
{
    (void)state;
    expect("*1\r\n$4\r\nPING\r\n", "[1] PING");
    expect("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "[3] SET|k|");
    expect("*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n", "[2] GET|abcdefghijkl");
    expect("*2\r\n$4\r\nECHO\r\n$6\r\n\r\n\r\n\r\n\r\n", "[2] ECHO|\r\n\r\n\r\n");
    expect("*0000000000001\r\n", "error: invalid multibulk length");
    expect_limited(SLICE("*2\r\n$3\r\na\0b\r\n$1\r\n\0\r\n"), usual, "[2] a");
}

static void test_lengths_of_every_number_of_digits(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 100000; len *= 10) {
        for (size_t less = 0; less < 2 && len > less; less++) {
            struct str message = {0};
            struct str want = {0};
            char *value = mem_alloc(len + 1);
            memset(value, 'v', len);
            value[len - less] = '\0';
            str_printf(&message, "*2\r\n$1\r\na\r\n$%zu\r\n%s\r\n", len - less, value);
            str_printf(&want, "[2] a|%s", value);
            expect_limited(str_slice(&message), usual, str_cstr(&want));
            mem_free(value);
            str_fini(&message);
            str_fini(&want);
        }
    }
}

static void test_empty_messages_are_commands_without_arguments(void **state)
{
    (void)state;
    expect("*0\r\n", "[0]");
    expect("*-1\r\n", "[0]");
    expect("*-10\r\n", "[0]");
    expect("\r\n", "[0]");
    expect("\n", "[0]");
    expect("   \t \r\n", "[0]");
}

static void test_many_arguments(void **state)
{
    (void)state;
    struct str message = {0};
    struct str want = {0};
    str_appendz(&message, "*100\r\n");
    str_appendz(&want, "[100]");
    for (int i = 0; i < 100; i++) {
        str_printf(&message, "$%d\r\n%d\r\n", i < 10 ? 1 : 2, i);
        str_printf(&want, "%s%d", i == 0 ? " " : "|", i);
    }
    expect_limited(str_slice(&message), usual, str_cstr(&want));
    str_fini(&message);
    str_fini(&want);
}

static void test_inline_words(void **state)
{
    (void)state;
    expect("PING\r\n", "[1] PING");
    expect("PING\n", "[1] PING");
    expect("  set  key\t value \r\n", "[3] set|key|value");
    expect("$4 x\n", "[2] $4|x");
    expect("a\rb\r\n", "[2] a|b");
    expect("a\vb \v c\n", "[2] a\vb|c");
}

static void test_inline_quotes(void **state)
{
    (void)state;
    expect("set \"a b\" 'c d'\n", "[3] set|a b|c d");
    expect("set \"\" ''\n", "[3] set||");
    expect("echo \"\\x41\\x62\\n\\r\\t\\b\\a\\\"\\\\\\q\"\r\n", "[2] echo|Ab\n\r\t\b\a\"\\q");
    expect("echo \"\\x4\"\n", "[2] echo|x4");
    expect("echo 'it\\'s' '\\n'\n", "[3] echo|it's|\\n");
    expect("echo a\\nb\n", "[2] echo|a\\nb");
    expect("foo\"bar\" 'x'\n", "[2] foobar|x");
}

static void test_unbalanced_quotes_are_errors(void **state)
{
    (void)state;
    expect("set \"a b\n", "error: unbalanced quotes in request");
    expect("set 'a b\n", "error: unbalanced quotes in request");
    expect("set \"a\"b\n", "error: unbalanced quotes in request");
    expect("set 'a'b\n", "error: unbalanced quotes in request");
    expect("set \"a\\\n", "error: unbalanced quotes in request");
    expect("set '\\\n", "error: unbalanced quotes in request");
}

static void test_bad_counts_and_lengths(void **state)
{
    (void)state;
    expect("*x\r\n", "error: invalid multibulk length");
    expect("*\r\n", "error: invalid multibulk length");
    expect("*+1\r\n", "error: invalid multibulk length");
    expect("* 1\r\n", "error: invalid multibulk length");
    expect("*3000000000\r\n", "error: invalid multibulk length");
    expect("*1048577\r\n", "error: invalid multibulk length");
    expect("*99999999999999999999\r\n", "error: invalid multibulk length");
    expect("*1\r\n$x\r\nyy", "error: invalid bulk length");
    expect("*1\r\n$-1\r\n", "error: invalid bulk length");
    expect("*1\r\n$01\r\nx\r\n", "error: invalid bulk length");
    expect("*1\r\n$00\r\n\r\n\r\n", "error: invalid bulk length");
    expect("*1\r\n$536870913\r\n", "error: invalid bulk length");
    expect("*1\r\n$2000000000\r\n", "error: invalid bulk length");
    expect("*1\r\n$9223372036854775807\r\n", "error: invalid bulk length");
    expect("*1\r\n$18446744073709551617\r\n", "error: invalid bulk length");
    expect("*1\r\n$9:\r\nabcdefghi\r\n", "error: invalid bulk length");
    expect("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "error: expected '$', got 'f'");
    expect("*1\r\n:1\r\n\r\n", "error: expected '$', got ':'");
}

static void test_biggest_counts_are_awaited(void **state)
{
    (void)state;
    expect("*1048576\r\n", "more");
    expect("*1\r\n$536870912\r\n", "more");
    struct resp_parser p;
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, SLICE("*1\r\n$536870912\r\nabc")), RESP_MORE);
    assert_int_equal(p.need, 536870912 + 2 - 3);
    assert_true(resp_parser_memory(&p) < 4096); /* nothing on the peer's word */
    resp_parser_fini(&p);
}

static void test_bulk_limit_is_a_setting(void **state)
{
    (void)state;
    struct limits small = {.bulk_max = 20};
    expect_limited(SLICE("*1\r\n$20\r\n01234567890123456789\r\n"), small,
                   "[1] 01234567890123456789");
    expect_limited(SLICE("*1\r\n$21\r\n012345678901234567890\r\n"), small,
                   "error: invalid bulk length");
}

static void test_the_unauthenticated_get_less(void **state)
{
    (void)state;
    struct limits limits = {.unauthenticated = true, .bulk_max = RESP_BULK_MAX};
    expect_limited(SLICE("*10\r\n"), limits, "more");
    expect_limited(SLICE("*11\r\n"), limits, "error: unauthenticated multibulk length");
    expect_limited(SLICE("*1048577\r\n"), limits, "error: invalid multibulk length");
    expect_limited(SLICE("*1\r\n$16384\r\n"), limits, "more");
    expect_limited(SLICE("*1\r\n$16385\r\n"), limits, "error: unauthenticated bulk length");
    expect_limited(SLICE("*1\r\n$536870913\r\n"), limits, "error: invalid bulk length");
}

/* `head`, then `len` times 'a', then `tail`. */
static void expect_long(const char *head, size_t len, const char *tail, const char *want)
{
    struct str message = {0};
    str_appendz(&message, head);
    memset(str_reserve(&message, len), 'a', len);
    message.len += len;
    str_appendz(&message, tail);
    expect_limited(str_slice(&message), usual, want);
    str_fini(&message);
}

static void test_lines_without_end_are_errors(void **state)
{
    (void)state;
    expect_long("", RESP_INLINE_MAX, "", "more");
    expect_long("", RESP_INLINE_MAX + 1, "", "error: too big inline request");
    expect_long("", RESP_INLINE_MAX + 1, "\r\n", "error: too big inline request");
    expect_long("*", RESP_INLINE_MAX - 1, "", "more");
    expect_long("*", RESP_INLINE_MAX, "", "error: too big mbulk count string");
    expect_long("*", RESP_INLINE_MAX, "\r\n", "error: too big mbulk count string");
    expect_long("*1\r\n$", RESP_INLINE_MAX, "", "error: too big bulk count string");
    expect_long("*1\r\n$", RESP_INLINE_MAX - 1, "\r\n", "error: invalid bulk length");
}

static void test_used_leads_to_the_next_message(void **state)
{
    (void)state;
    struct slice in =
        SLICE("*1\r\n$1\r\na\r\nb c\r\n*0\r\n*2\r\n$1\r\nd\r\n$2\r\nee\r\n*1\r\n$4\r\nf");
    static const char *const want[] = {"[1] a", "[2] b|c", "[0]", "[2] d|ee"};
    struct resp_parser p;
    struct str got = {0};
    resp_parser_init(&p);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(resp_parse(&p, in), RESP_OK);
        render(&p, RESP_OK, &got);
        assert_string_equal(str_cstr(&got), want[i]);
        in = slice_of(in.ptr + p.used, in.len - p.used);
    }
    assert_int_equal(resp_parse(&p, in), RESP_MORE);
    assert_int_equal(p.need, 5);
    str_fini(&got);
    resp_parser_fini(&p);
}

static void test_arguments_of_a_whole_message_are_in_place(void **state)
{
    (void)state;
    struct slice in = SLICE("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    struct resp_parser p;
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, slice_of(in.ptr, 7)), RESP_MORE);
    assert_int_equal(resp_parse(&p, in), RESP_OK);
    assert_ptr_equal(p.argv[1].ptr, in.ptr + 17);
    assert_int_equal(resp_parse(&p, in), RESP_OK);
    assert_ptr_equal(p.argv[0].ptr, in.ptr + 8);
    assert_false(p.is_inline);
    assert_int_equal(resp_parse(&p, SLICE("x\n")), RESP_OK);
    assert_true(p.is_inline);
    resp_parser_fini(&p);
}

static void test_a_parser_works_on_after_an_error(void **state)
{
    (void)state;
    struct resp_parser p;
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, SLICE("*2\r\n$1\r\na\r\nx\r\n")), RESP_ERROR);
    assert_int_equal(resp_parse(&p, SLICE("*1\r\n$1\r\na\r\n")), RESP_OK);
    assert_int_equal(p.argc, 1);
    resp_parser_fini(&p);
}

/* A million elements in small pieces through an inbuf. Were the work done again for each piece,
 * this would be 10^11 steps and the runner's time limit would end it. */
static void test_a_million_elements_take_linear_time(void **state)
{
    (void)state;
    struct str message = {0};
    str_appendz(&message, "*1048576\r\n");
    for (int i = 0; i < RESP_ARGS_MAX; i++) {
        str_append(&message, "$2\r\nab\r\n", 8);
    }
    struct inbuf in = {0};
    struct resp_parser p;
    enum resp_status status = RESP_MORE;
    resp_parser_init(&p);
    for (size_t at = 0, n; at < message.len; at += n) {
        size_t room;
        assert_int_equal(status, RESP_MORE);
        n = MIN(13, message.len - at);
        memcpy(inbuf_reserve(&in, n, &room), message.ptr + at, n);
        inbuf_filled(&in, n);
        status = resp_parse(&p, inbuf_unread(&in));
    }
    assert_int_equal(status, RESP_OK);
    assert_int_equal(p.argc, RESP_ARGS_MAX);
    for (uint32_t i = 0; i < p.argc; i++) {
        assert_ptr_equal(p.argv[i].ptr, inbuf_unread(&in).ptr + 10 + 8 * (size_t)i + 4);
    }
    assert_true(resp_parser_memory(&p) >= RESP_ARGS_MAX * sizeof(struct slice));
    resp_parser_trim(&p);
    assert_int_equal(resp_parser_memory(&p), 0);
    inbuf_fini(&in);
    resp_parser_fini(&p);
    str_fini(&message);
}

/* A timer trims parsers of silent clients, whatever they stopped in. */
static void test_trim_inside_a_message_keeps_it(void **state)
{
    (void)state;
    struct str message = {0};
    struct resp_parser p;
    resp_parser_init(&p);
    str_printf(&message, "*%d\r\n", 5000);
    for (int i = 0; i < 5000; i++) {
        str_append(&message, "$2\r\nab\r\n", 8);
    }
    struct slice all = str_slice(&message);
    assert_int_equal(resp_parse(&p, slice_of(all.ptr, all.len - 5)), RESP_MORE);
    resp_parser_trim(&p);
    assert_int_equal(resp_parse(&p, all), RESP_OK);
    assert_int_equal(p.argc, 5000);
    for (uint32_t i = 0; i < p.argc; i++) {
        assert_true(slice_eq(p.argv[i], SLICE("ab")));
    }
    resp_parser_fini(&p);
    str_fini(&message);
}

/* Whatever comes, whole or in pieces: the same commands, then the same error or wait. */
static void transcript(struct slice in, struct rng *rng, struct str *out)
{
    struct resp_parser p;
    struct str one = {0};
    size_t start_at = 0;
    size_t have = rng == NULL ? in.len : 0;
    resp_parser_init(&p);
    for (;;) {
        struct slice rest = slice_of(in.ptr + start_at, in.len - start_at);
        enum resp_status status = parse_prefix(&p, rest, have - start_at, &one);
        if (status == RESP_MORE && have < in.len) {
            have += 1 + rng_below(rng, MIN(5, in.len - have));
            continue;
        }
        str_append_slice(out, str_slice(&one));
        if (status != RESP_OK) {
            break;
        }
        start_at += p.used;
    }
    str_fini(&one);
    resp_parser_fini(&p);
}

static void test_random_bytes_mean_the_same_however_cut(void **state)
{
    (void)state;
    static const char *const parts[] = {"*",  "$",  "\r\n", "\n", "1",  "2", "3",
                                        "10", "-1", "abc",  " ",  "\"", "'", "*2\r\n$1\r\n",
                                        "\\", "x",  "GET"};
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 3000; round++) {
        struct str in = {0};
        struct str whole = {0};
        struct str cut = {0};
        for (uint64_t n = 1 + rng_below(&rng, 20); n > 0; n--) {
            str_appendz(&in, parts[rng_below(&rng, ARRAY_LEN(parts))]);
        }
        transcript(str_slice(&in), NULL, &whole);
        transcript(str_slice(&in), &rng, &cut);
        assert_string_equal(str_cstr(&cut), str_cstr(&whole));
        str_fini(&in);
        str_fini(&whole);
        str_fini(&cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trim_inside_a_message_keeps_it),
        cmocka_unit_test(test_arrays_of_bulks),
        cmocka_unit_test(test_lengths_of_every_number_of_digits),
        cmocka_unit_test(test_empty_messages_are_commands_without_arguments),
        cmocka_unit_test(test_many_arguments),
        cmocka_unit_test(test_inline_words),
        cmocka_unit_test(test_inline_quotes),
        cmocka_unit_test(test_unbalanced_quotes_are_errors),
        cmocka_unit_test(test_bad_counts_and_lengths),
        cmocka_unit_test(test_biggest_counts_are_awaited),
        cmocka_unit_test(test_bulk_limit_is_a_setting),
        cmocka_unit_test(test_the_unauthenticated_get_less),
        cmocka_unit_test(test_lines_without_end_are_errors),
        cmocka_unit_test(test_used_leads_to_the_next_message),
        cmocka_unit_test(test_arguments_of_a_whole_message_are_in_place),
        cmocka_unit_test(test_a_parser_works_on_after_an_error),
        cmocka_unit_test(test_a_million_elements_take_linear_time),
        cmocka_unit_test(test_random_bytes_mean_the_same_however_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
