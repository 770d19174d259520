// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/write.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/resp/parse.h"
#include "common/resp/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* All bytes of `o`, which is emptied. */
static char *drain(struct outbuf *o)
{
    struct str all = {0};
    struct iovec iov[8];
    while (o->bytes > 0) {
        int n = outbuf_iovec(o, iov, 8);
        size_t sum = 0;
        for (int i = 0; i < n; i++) {
            str_append(&all, iov[i].iov_base, iov[i].iov_len);
            sum += iov[i].iov_len;
        }
        outbuf_consume(o, sum);
    }
    outbuf_fini(o);
    return str_steal(&all);
}

/* Runs `write` on a writer `w` and compares its bytes. */
#define EXPECT(protocol, want, write)                                                              \
    do {                                                                                           \
        struct outbuf out = {0};                                                                   \
        struct resp_writer writer = {.out = &out, .proto = (protocol)};                            \
        struct resp_writer *w = &writer;                                                           \
        write;                                                                                     \
        char *got = drain(&out);                                                                   \
        assert_string_equal(got, want);                                                            \
        mem_free(got);                                                                             \
    } while (0)

static void test_both_protocols_alike(void **state)
{
    (void)state;
    for (int proto = 2; proto <= 3; proto++) {
        EXPECT(proto, "+OK\r\n", resp_ok(w));
        EXPECT(proto, "+PONG\r\n", resp_simple(w, "PONG"));
        EXPECT(proto, "-ERR syntax error\r\n", resp_error(w, "ERR syntax error"));
        EXPECT(proto, "-ERR a  b\r\n", resp_error(w, "ERR a\r\nb"));
        EXPECT(proto, "-ERR unknown 'x y' 7\r\n", resp_errorf(w, "ERR unknown '%s' %d", "x\ny", 7));
        EXPECT(proto, "-ERR no x\r\n", resp_errorf(w, "ERR no %s", "x\r\n\n"));
        EXPECT(proto, ":0\r\n", resp_int(w, 0));
        EXPECT(proto, ":-9223372036854775808\r\n", resp_int(w, INT64_MIN));
        EXPECT(proto, "$0\r\n\r\n", resp_bulk(w, slice_of(NULL, 0)));
        EXPECT(proto, "$3\r\nabc\r\n", resp_bulkz(w, "abc"));
        EXPECT(proto, "$3\r\n-42\r\n", resp_bulk_int(w, -42));
        EXPECT(proto, "*12\r\n", resp_array(w, 12));
    }
}

static void test_resp2_shapes(void **state)
{
    (void)state;
    EXPECT(2, "$-1\r\n", resp_nil(w));
    EXPECT(2, "*-1\r\n", resp_nil_array(w));
    EXPECT(2, "*4\r\n", resp_map(w, 2));
    EXPECT(2, "*2\r\n", resp_set(w, 2));
    EXPECT(2, "*3\r\n", resp_push(w, 3));
    EXPECT(2, ":1\r\n", resp_bool(w, true));
    EXPECT(2, ":0\r\n", resp_bool(w, false));
    EXPECT(2, "$3\r\n1.5\r\n", resp_double(w, 1.5));
    EXPECT(2, "$4\r\n-inf\r\n", resp_double(w, -INFINITY));
    EXPECT(2, "$2\r\n99\r\n", resp_bignum(w, "99"));
    EXPECT(2, "$2\r\nhi\r\n", resp_verbatim(w, "txt", SLICE("hi")));
}

static void test_resp3_shapes(void **state)
{
    (void)state;
    EXPECT(3, "_\r\n", resp_nil(w));
    EXPECT(3, "_\r\n", resp_nil_array(w));
    EXPECT(3, "%2\r\n", resp_map(w, 2));
    EXPECT(3, "~2\r\n", resp_set(w, 2));
    EXPECT(3, ">3\r\n", resp_push(w, 3));
    EXPECT(3, "|1\r\n", resp_attribute(w, 1));
    EXPECT(3, "#t\r\n", resp_bool(w, true));
    EXPECT(3, "#f\r\n", resp_bool(w, false));
    EXPECT(3, ",0.10000000000000001\r\n", resp_double(w, 0.1));
    EXPECT(3, ",inf\r\n", resp_double(w, INFINITY));
    EXPECT(3, "(99\r\n", resp_bignum(w, "99"));
    EXPECT(3, "=6\r\nmkd:hi\r\n", resp_verbatim(w, "mkd", SLICE("hi")));
}

static void test_bulks_of_every_size_read_back(void **state)
{
    (void)state;
    for (size_t len = 0; len < 200000; len = len < 1100 ? len + 1 : len * 3 / 2) {
        struct outbuf out = {0};
        struct resp_writer w = {.out = &out, .proto = 2};
        char *value = mem_alloc(len);
        memset(value, 'v', len);
        resp_bulk(&w, slice_of(value, len));
        size_t bytes = out.bytes;
        char *got = drain(&out);
        struct resp_value *v = resp_value_parse(slice_of(got, bytes));
        assert_non_null(v);
        assert_true(slice_eq(v->text, slice_of(value, len)));
        resp_value_free(&v);
        mem_free(got);
        mem_free(value);
    }
}

static void test_requests_parse_back(void **state)
{
    (void)state;
    struct slice argv[] = {SLICE("SET"), SLICE("key"), SLICE("a\r\nb"), SLICE("")};
    struct outbuf out = {0};
    struct resp_parser p;
    resp_parser_init(&p);
    resp_request(&out, argv, ARRAY_LEN(argv));
    size_t bytes = out.bytes;
    char *got = drain(&out);
    assert_int_equal(resp_parse(&p, slice_of(got, bytes)), RESP_OK);
    assert_int_equal(p.used, bytes);
    assert_int_equal(p.argc, ARRAY_LEN(argv));
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        assert_true(slice_eq(p.argv[i], argv[i]));
    }
    mem_free(got);
    resp_parser_fini(&p);
}

static void test_endless_errors_are_cut(void **state)
{
    (void)state;
    struct outbuf out = {0};
    struct resp_writer w = {.out = &out, .proto = 2};
    char *text = mem_alloc(100001);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    resp_error(&w, text);
    assert_in_range(out.bytes, 1000, OUTBUF_CHUNK);
    char *got = drain(&out);
    assert_string_equal(got + strlen(got) - 3, "x\r\n");
    mem_free(got);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_protocols_alike),
        cmocka_unit_test(test_resp2_shapes),
        cmocka_unit_test(test_resp3_shapes),
        cmocka_unit_test(test_bulks_of_every_size_read_back),
        cmocka_unit_test(test_requests_parse_back),
        cmocka_unit_test(test_endless_errors_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
