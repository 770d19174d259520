// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/value.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/resp/skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void render(const struct resp_value *v, struct str *out)
{
    static const char *const names[] = {
        [RESP_NIL] = "nil",       [RESP_SIMPLE] = "simple", [RESP_ERR] = "err",
        [RESP_INT] = "int",       [RESP_BULK] = "bulk",     [RESP_ARRAY] = "array",
        [RESP_MAP] = "map",       [RESP_SET] = "set",       [RESP_PUSH] = "push",
        [RESP_BOOL] = "bool",     [RESP_DOUBLE] = "double", [RESP_VERBATIM] = "verbatim",
        [RESP_BIGNUM] = "bignum",
    };
    str_appendz(out, names[v->type]);
    if (v->type == RESP_INT || v->type == RESP_BOOL) {
        str_printf(out, "=%lld", (long long)v->number);
    } else if (v->text.len > 0) {
        str_append_char(out, '=');
        str_append_quoted(out, v->text);
    }
    if (v->count > 0) {
        str_append_char(out, '(');
        for (size_t i = 0; i < v->count; i++) {
            str_appendz(out, i == 0 ? "" : " ");
            render(&v->items[i], out);
        }
        str_append_char(out, ')');
    }
}

static void expect(const char *reply, const char *want)
{
    size_t len = strlen(reply);
    char *copy = mem_memdup(reply, len);
    struct resp_value *v = resp_value_parse(slice_of(copy, len));
    struct str got = {0};
    assert_non_null(v);
    render(v, &got);
    assert_string_equal(str_cstr(&got), want);
    resp_value_free(&v);
    assert_null(v);
    str_fini(&got);
    mem_free(copy);

    /* Of a reply nothing may be missing, and nothing may be left. */
    for (size_t part = 0; part < len; part++) {
        copy = mem_memdup(reply, part);
        assert_null(resp_value_parse(slice_of(copy, part)));
        mem_free(copy);
    }
    copy = mem_alloc(len + 1);
    memcpy(copy, reply, len);
    copy[len] = '+';
    assert_null(resp_value_parse(slice_of(copy, len + 1)));
    mem_free(copy);
}

static void test_scalars(void **state)
{
    (void)state;
    expect("+OK\r\n", "simple=\"OK\"");
    expect("-ERR x\r\n", "err=\"ERR x\"");
    expect("!5\r\nERR y\r\n", "err=\"ERR y\"");
    expect(":-12\r\n", "int=-12");
    expect("$3\r\na\r\n\r\n", "bulk=\"a\\r\\n\"");
    expect("$0\r\n\r\n", "bulk");
    expect("$-1\r\n", "nil");
    expect("*-1\r\n", "nil");
    expect("_\r\n", "nil");
    expect("#t\r\n", "bool=1");
    expect("#f\r\n", "bool=0");
    expect(",1.5\r\n", "double=\"1.5\"");
    expect("(123\r\n", "bignum=\"123\"");
    expect("=7\r\ntxt:abc\r\n", "verbatim=\"abc\"");
}

static void test_aggregates(void **state)
{
    (void)state;
    expect("*0\r\n", "array");
    expect("*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
           "array(bulk=\"0\" array(bulk=\"a\" bulk=\"b\"))");
    expect("%2\r\n+a\r\n:1\r\n+b\r\n_\r\n", "map(simple=\"a\" int=1 simple=\"b\" nil)");
    expect("~1\r\n:1\r\n", "set(int=1)");
    expect(">1\r\n:1\r\n", "push(int=1)");
}

static void test_attributes_are_read_past(void **state)
{
    (void)state;
    expect("|1\r\n+k\r\n*1\r\n:9\r\n:1\r\n", "int=1");
    expect("*1\r\n|0\r\n+x\r\n", "array(simple=\"x\")");
}

static void test_claimed_counts_take_no_memory(void **state)
{
    (void)state;
    size_t before = mem_used();
    assert_null(resp_value_parse(SLICE("*100000000000\r\n:1\r\n")));
    assert_null(resp_value_parse(SLICE("$100000000000\r\nx\r\n")));
    assert_true(mem_used() <= before + 65536);
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    for (int levels = RESP_SKIP_DEPTH; levels <= 100000; levels += 99968) {
        struct str in = {0};
        for (int i = 0; i < levels; i++) {
            str_appendz(&in, "*1\r\n");
        }
        str_appendz(&in, ":1\r\n");
        struct resp_value *v = resp_value_parse(str_slice(&in));
        assert_int_equal(v != NULL, levels == RESP_SKIP_DEPTH);
        resp_value_free(&v);
        str_fini(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_aggregates),
        cmocka_unit_test(test_attributes_are_read_past),
        cmocka_unit_test(test_claimed_counts_take_no_memory),
        cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
