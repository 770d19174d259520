// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/resp/parse.h"

/* Parses one message given whole, from a heap copy of just its size so that a sanitizer sees every
 * step beyond it. Renders it: "[3] set|key|value" or "error: text" or "more 7". */
static void render(struct resp_parser *p, enum resp_status status, struct str *out)
{
    str_clear(out);
    switch (status) {
    case RESP_MORE:
        str_printf(out, "more %zu", p->need);
        break;
    case RESP_ERROR:
        str_printf(out, "error: %s", p->error);
        break;
    case RESP_OK:
        str_printf(out, "[%u]", p->argc);
        for (uint32_t i = 0; i < p->argc; i++) {
            str_append_char(out, i == 0 ? ' ' : '|');
            str_append_slice(out, p->argv[i]);
        }
        break;
    }
}

static void expect_len(struct resp_parser *p, struct slice message, const char *want)
{
    struct str got = {0};
    char *copy = mem_memdup(message.ptr, message.len);
    enum resp_status status = resp_parse(p, slice_of(copy, message.len));
    render(p, status, &got);
    assert_string_equal(str_cstr(&got), want);
    if (status == RESP_OK) {
        assert_int_equal(p->used, message.len);
    }
    mem_free(copy);

    /* The same in every two pieces, and byte by byte, each time at another address. */
    for (size_t step = 1; step <= message.len && message.len < 2000; step++) {
        struct resp_parser q;
        resp_parser_init(&q);
        q.unauthenticated = p->unauthenticated;
        q.bulk_max = p->bulk_max;
        q.args_max = p->args_max;
        for (size_t have = step; status != RESP_MORE; have = step == 1 ? have + 1 : message.len) {
            copy = mem_memdup(message.ptr, have);
            enum resp_status s = resp_parse(&q, slice_of(copy, have));
            render(&q, s, &got);
            mem_free(copy == NULL ? NULL : (s == RESP_OK ? NULL : copy));
            if (s != RESP_MORE) {
                assert_int_equal(s, status);
                assert_string_equal(str_cstr(&got), want);
                if (s == RESP_OK) {
                    assert_int_equal(q.used, message.len);
                    mem_free(copy);
                }
                break;
            }
            assert_true(q.need > 0);
            assert_true(status == RESP_ERROR || have + q.need <= message.len);
            assert_true(have < message.len);
        }
        resp_parser_fini(&q);
    }
    str_fini(&got);
}

static void expect(const char *message, const char *want)
{
    struct resp_parser p;
    resp_parser_init(&p);
    expect_len(&p, slice_str(message), want);
    resp_parser_fini(&p);
}

static void test_arrays_of_bulks(void **state)
{
    (void)state;
    expect("*1\r\n$4\r\nPING\r\n", "[1] PING");
    expect("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "[3] SET|k|");
    expect("*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n", "[2] GET|abcdefghijkl");
    expect("*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", "[2] ECHO|\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays_of_bulks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
