// SPDX-License-Identifier: BSD-3-Clause
#include "tests/support/linear.h"

#include "common/base/obj.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct linear_op op(int64_t call, int64_t ret, enum linear_kind kind, const char *value,
                           int64_t number)
{
    return (struct linear_op){.call = call,
                              .ret = ret,
                              .kind = kind,
                              .value =
                                  value == NULL ? linear_nil() : linear_bytes(value, strlen(value)),
                              .number = number};
}

#define GET(c, r, v)       op(c, r, LINEAR_GET, v, 0)
#define SET(c, r, v)       op(c, r, LINEAR_SET, v, 0)
#define SETNX(c, r, v, n)  op(c, r, LINEAR_SETNX, v, n)
#define DEL(c, r, n)       op(c, r, LINEAR_DEL, NULL, n)
#define APPEND(c, r, v, n) op(c, r, LINEAR_APPEND, v, n)
#define INCR(c, r, n)      op(c, r, LINEAR_INCR, NULL, n)
#define NEVER              LINEAR_NEVER

static enum linear_verdict check(const struct linear_op *ops, size_t n, const char *longest)
{
    struct linear_report report;
    return linear_check(ops, n, longest, strlen(longest), 1000000, &report);
}

#define GOOD(...)                                                                                  \
    do {                                                                                           \
        struct linear_op ops_[] = {__VA_ARGS__};                                                   \
        assert_int_equal(check(ops_, ARRAY_LEN(ops_), ""), LINEAR_OK);                             \
    } while (0)
#define BAD(...)                                                                                   \
    do {                                                                                           \
        struct linear_op ops_[] = {__VA_ARGS__};                                                   \
        assert_int_equal(check(ops_, ARRAY_LEN(ops_), ""), LINEAR_BROKEN);                         \
    } while (0)

static void test_a_read_sees_the_last_write(void **state)
{
    (void)state;
    GOOD(SET(0, 1, "a"), SET(2, 3, "b"), GET(4, 5, "b"));
    BAD(SET(0, 1, "a"), SET(2, 3, "b"), GET(4, 5, "a"));
    BAD(SET(0, 1, "a"), GET(2, 3, NULL));
    BAD(GET(0, 1, "a"), SET(2, 3, "a"));
    GOOD(GET(0, 3, "a"), SET(2, 4, "a"));
}

static void test_reads_never_go_back(void **state)
{
    (void)state;
    GOOD(SET(0, 1, "a"), SET(2, 9, "b"), GET(3, 4, "a"), GET(5, 6, "b"));
    BAD(SET(0, 1, "a"), SET(2, 9, "b"), GET(3, 4, "b"), GET(5, 6, "a"));
    GOOD(SET(0, 1, "a"), SET(2, 9, "b"), GET(3, 6, "b"), GET(5, 7, "a"));
}

static void test_an_unknown_write_happens_later_once_or_never(void **state)
{
    (void)state;
    GOOD(SET(0, NEVER, "a"), GET(1, 2, NULL), GET(3, 4, "a"));
    GOOD(SET(0, NEVER, "a"), GET(1, 2, NULL), GET(3, 4, NULL));
    BAD(SET(0, NEVER, "a"), GET(1, 2, "a"), SET(3, 4, "b"), GET(5, 6, "a"));
    BAD(SET(5, NEVER, "a"), GET(1, 2, "a"));
    GOOD(INCR(0, 1, 1), INCR(2, NEVER, 0), INCR(3, 4, 3));
    GOOD(INCR(0, 1, 1), INCR(2, NEVER, 0), INCR(3, 4, 2));
    BAD(INCR(0, 1, 1), INCR(2, NEVER, 0), INCR(3, 4, 4));
    BAD(INCR(0, 1, 1), INCR(2, NEVER, 0), INCR(3, 4, 2), GET(6, 7, "1"));
    GOOD(SET(0, 1, "a"), DEL(2, NEVER, 0), GET(3, 4, "a"), SETNX(5, 6, "b", 1));
}

static void test_counters(void **state)
{
    (void)state;
    GOOD(INCR(0, 9, 2), INCR(1, 5, 1), GET(6, 8, "1"), GET(10, 11, "2"));
    BAD(INCR(0, 9, 1), INCR(1, 5, 1));
    BAD(INCR(0, 1, 1), INCR(2, 3, 3));
    BAD(INCR(0, 1, 2), INCR(2, 3, 1));
}

static void test_only_one_setnx_wins(void **state)
{
    (void)state;
    GOOD(SETNX(0, 5, "a", 1), SETNX(1, 4, "b", 0), GET(2, 3, "a"));
    BAD(SETNX(0, 5, "a", 1), SETNX(1, 4, "b", 1));
    BAD(SETNX(0, 1, "a", 0), SETNX(2, 4, "b", 1));
    GOOD(SETNX(0, 1, "a", 1), DEL(2, 3, 1), SETNX(4, 5, "b", 1), DEL(6, 7, 1), DEL(8, 9, 0));
}

static void test_appends_have_one_order(void **state)
{
    (void)state;
    struct linear_op good[] = {APPEND(0, 9, "xx", 4), APPEND(1, 3, "yy", 2), GET(4, 5, "yy"),
                               APPEND(2, NEVER, "zz", 0), GET(10, 11, "yyxxzz")};
    assert_int_equal(check(good, ARRAY_LEN(good), "yyxxzz"), LINEAR_OK);
    struct linear_op bad[] = {APPEND(0, 9, "xx", 4), APPEND(1, 3, "yy", 2), GET(4, 5, "yy"),
                              GET(10, 11, "xxyy")};
    assert_int_equal(check(bad, ARRAY_LEN(bad), "xxyy"), LINEAR_BROKEN);
    struct linear_op twice[] = {APPEND(0, 1, "xx", 2), GET(10, 11, "xxxx")};
    assert_int_equal(check(twice, ARRAY_LEN(twice), "xxxx"), LINEAR_BROKEN);
}

/* --- against all orders of small histories --- */

struct model {
    struct linear_value value;
    int64_t number;
};

static bool fits(const struct linear_op *o, struct model *m)
{
    bool known = o->ret != NEVER;
    bool nil = m->value.nil;
    int64_t result = 0;
    switch (o->kind) {
    case LINEAR_GET:
        return !known || (nil == o->value.nil && (nil || m->value.hash == o->value.hash));
    case LINEAR_SET:
        m->value = o->value;
        return true;
    case LINEAR_SETNX:
        result = nil;
        m->value = nil ? o->value : m->value;
        break;
    case LINEAR_DEL:
        result = !nil;
        m->value = linear_nil();
        break;
    case LINEAR_APPEND:
        m->value = linear_join(m->value, o->value);
        result = m->value.len;
        break;
    case LINEAR_INCR:
        result = ++m->number;
        m->value = linear_number(result);
        break;
    default:
        return false;
    }
    return !known || result == o->number;
}

static bool any_order(const struct linear_op *ops, size_t n, unsigned taken, struct model m)
{
    bool all = true;
    int64_t horizon = NEVER;
    for (size_t i = 0; i < n; i++) {
        if (!(taken & (1u << i))) {
            all = all && ops[i].ret == NEVER;
            horizon = MIN(horizon, ops[i].ret);
        }
    }
    for (size_t i = 0; i < n && !all; i++) {
        struct model next = m;
        if (!(taken & (1u << i)) && ops[i].call <= horizon && fits(&ops[i], &next)) {
            all = any_order(ops, n, taken | (1u << i), next);
        }
    }
    return all;
}

/* A history that a correct register could have given, then perhaps spoilt. */
static size_t make_history(struct rng *r, struct linear_op *ops, int family)
{
    static const char *const letters[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    size_t n = 2 + rng_below(r, 6);
    struct model m = {.value = linear_nil()};
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        struct linear_op *o = &ops[i];
        static const enum linear_kind kinds[3][4] = {
            {LINEAR_GET, LINEAR_SET, LINEAR_SETNX, LINEAR_DEL},
            {LINEAR_GET, LINEAR_INCR, LINEAR_INCR, LINEAR_GET},
            {LINEAR_GET, LINEAR_APPEND, LINEAR_APPEND, LINEAR_SET},
        };
        enum linear_kind kind = kinds[family][rng_below(r, family == 2 ? 3 + rng_below(r, 2) : 4)];
        at += 10;
        *o = op(at - (int64_t)rng_below(r, 30), at + 1 + (int64_t)rng_below(r, 30), kind,
                letters[i], 0);
        struct model before = m;
        bool happens = rng_below(r, 4) != 0;
        if (rng_below(r, 4) == 0) {
            o->ret = NEVER;
        }
        if (o->ret != NEVER || happens) {
            struct linear_op unknown = *o;
            unknown.ret = NEVER;
            fits(&unknown, &m);
        }
        o->value = kind == LINEAR_GET ? before.value : o->value;
        o->number = kind == LINEAR_SETNX  ? before.value.nil
                    : kind == LINEAR_DEL  ? !before.value.nil
                    : kind == LINEAR_INCR ? m.number
                                          : (int64_t)m.value.len;
    }
    if (rng_below(r, 2) == 0) { /* swap the results of two of a kind */
        struct linear_op *x = &ops[rng_below(r, n)];
        struct linear_op *y = &ops[rng_below(r, n)];
        if (x->kind == y->kind) {
            struct linear_op t = *x;
            x->value = y->value;
            x->number = y->number;
            y->value = t.value;
            y->number = t.number;
        }
    }
    return n;
}

static void test_agrees_with_trying_all_orders(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 20240817);
    size_t broken = 0;
    for (int round = 0; round < 60000; round++) {
        struct linear_op ops[8];
        size_t n = make_history(&r, ops, round % 3);
        struct model m = {.value = linear_nil()};
        bool good = any_order(ops, n, 0, m);
        enum linear_verdict v = check(ops, n, "");
        if (v != (good ? LINEAR_OK : LINEAR_BROKEN)) {
            for (size_t i = 0; i < n; i++) {
                print_message("%s [%ld, %ld] %lx/%u nil=%d %ld\n", linear_kind_name(ops[i].kind),
                              (long)ops[i].call, (long)ops[i].ret, (unsigned long)ops[i].value.hash,
                              ops[i].value.len, ops[i].value.nil, (long)ops[i].number);
            }
            fail_msg("round %d: verdict %d, all orders say %d", round, v, good);
        }
        broken += !good;
    }
    assert_true(broken > 1000 && broken < 50000);
}

/* Long histories of a busy key take steps in proportion. */
static void test_long_histories_take_few_steps(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    enum { N = 20000 };
    static struct linear_op ops[N];
    struct linear_value now = linear_nil();
    for (int i = 0; i < N; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "v%d", i);
        bool set = rng_below(&r, 2) == 0;
        bool unknown = set && rng_below(&r, 100) == 0;
        int64_t at = i * 10;
        ops[i] = op(at - (int64_t)rng_below(&r, 80), at + 1 + (int64_t)rng_below(&r, 80),
                    set ? LINEAR_SET : LINEAR_GET, NULL, 0);
        if (set) {
            ops[i].value = linear_bytes(text, (size_t)len);
            now = !unknown || rng_below(&r, 2) == 0 ? ops[i].value : now;
            ops[i].ret = unknown ? NEVER : ops[i].ret;
        } else {
            ops[i].value = now;
        }
    }
    struct linear_report report;
    assert_int_equal(linear_check(ops, N, "", 0, 50 * N, &report), LINEAR_OK);
    ops[N / 2] = GET(N / 2 * 10, N / 2 * 10 + 1, "v1");
    assert_int_equal(linear_check(ops, N, "", 0, 1000 * N, &report), LINEAR_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_read_sees_the_last_write),
        cmocka_unit_test(test_reads_never_go_back),
        cmocka_unit_test(test_an_unknown_write_happens_later_once_or_never),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_only_one_setnx_wins),
        cmocka_unit_test(test_appends_have_one_order),
        cmocka_unit_test(test_agrees_with_trying_all_orders),
        cmocka_unit_test(test_long_histories_take_few_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
