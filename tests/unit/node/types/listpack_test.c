// SPDX-License-Identifier: BSD-3-Clause
/* Listpacks against a model, and byte for byte what Redis writes. */
#include "node/types/listpack.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

enum { MOST = 300, STEPS = 20000 };

struct model {
    struct listpack *lp;
    struct str of[MOST];
    size_t n;
    struct rng rng;
};

static void check(const struct model *m)
{
    size_t n;
    assert_true(listpack_valid(listpack_slice(m->lp), &n));
    assert_int_equal(n, m->n);
    assert_int_equal(listpack_count(m->lp), m->n);
    const unsigned char *p = listpack_first(m->lp);
    const unsigned char *last = NULL;
    char digits[NUM_I64_MAX_LEN];
    for (size_t i = 0; i < m->n; i++) {
        assert_non_null(p);
        assert_true(slice_eq(listpack_text(p, digits), str_slice(&m->of[i])));
        assert_true(listpack_equal(p, str_slice(&m->of[i])));
        assert_ptr_equal(listpack_prev(m->lp, p), last);
        assert_int_equal(listpack_size_of(str_slice(&m->of[i])), listpack_element_size(p));
        last = p;
        p = listpack_next(p);
    }
    assert_null(p);
    assert_ptr_equal(listpack_last(m->lp), last);
#ifndef SHOAL_LIBC_MALLOC
    assert_int_equal(mem_size(m->lp), listpack_memory(m->lp));
#endif
}

static struct slice any_value(struct model *m, char *to)
{
    static const size_t edges[] = {0, 1, 62, 63, 64, 65, 125, 126, 127, 128, 4094, 4095, 4096};
    if (rng_below(&m->rng, 2) == 0) {
        uint64_t v = rng_next(&m->rng) >> rng_below(&m->rng, 64);
        return slice_of(to, num_print_i64(to, (int64_t)(rng_below(&m->rng, 2) ? v : -v)));
    }
    size_t len = rng_below(&m->rng, 10) == 0 ? edges[rng_below(&m->rng, ARRAY_LEN(edges))]
                                             : rng_below(&m->rng, 30);
    memset(to, (int)('a' + rng_below(&m->rng, 26)), len);
    return slice_of(to, len);
}

static void model_insert(struct model *m, size_t at, struct slice v)
{
    memmove(m->of + at + 1, m->of + at, (m->n - at) * sizeof(m->of[0]));
    m->of[at] = (struct str){0};
    str_append_slice(&m->of[at], v);
    m->n++;
}

static void model_delete(struct model *m, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        str_fini(&m->of[i]);
    }
    memmove(m->of + at, m->of + at + n, (m->n - at - n) * sizeof(m->of[0]));
    m->n -= n;
}

static void insert(struct model *m, struct slice v)
{
    size_t at = rng_below(&m->rng, m->n + 1);
    char digits[NUM_I64_MAX_LEN];
    const unsigned char *p = NULL;
    if (at == m->n) {
        listpack_append(&m->lp, v);
    } else if (at == 0) {
        listpack_prepend(&m->lp, v);
    } else if (rng_below(&m->rng, 2) == 0) {
        p = listpack_insert_before(&m->lp, listpack_at(m->lp, (int64_t)at), v);
    } else {
        p = listpack_insert_after(&m->lp, listpack_at(m->lp, (int64_t)at - 1), v);
    }
    assert_true(p == NULL || slice_eq(listpack_text(p, digits), v));
    model_insert(m, at, v);
}

static void delete (struct model *m)
{
    size_t at = rng_below(&m->rng, m->n);
    size_t n = rng_below(&m->rng, 4);
    size_t gone = MIN(n, m->n - at);
    if (rng_below(&m->rng, 2) == 0) {
        int64_t index = rng_below(&m->rng, 2) ? (int64_t)at : (int64_t)at - (int64_t)m->n;
        listpack_delete_range(&m->lp, index, n);
    } else {
        const unsigned char *p = listpack_delete(&m->lp, listpack_at(m->lp, (int64_t)at), n);
        assert_ptr_equal(p, listpack_at(m->lp, (int64_t)at));
    }
    model_delete(m, at, gone);
}

static void replace(struct model *m, struct slice v)
{
    size_t at = rng_below(&m->rng, m->n);
    const unsigned char *p = listpack_at(m->lp, (int64_t)at - (int64_t)m->n);
    listpack_replace(&m->lp, p, v);
    str_clear(&m->of[at]);
    str_append_slice(&m->of[at], v);
}

static void find(struct model *m, struct slice v)
{
    size_t skip = rng_below(&m->rng, 3);
    if (m->n > 0 && rng_below(&m->rng, 2) == 0) {
        v = str_slice(&m->of[rng_below(&m->rng, m->n)]);
    }
    const unsigned char *p = listpack_find(listpack_first(m->lp), v, skip);
    size_t i = 0;
    while (i < m->n && !slice_eq(str_slice(&m->of[i]), v)) {
        i += skip + 1;
    }
    assert_ptr_equal(p, i < m->n ? listpack_at(m->lp, (int64_t)i) : NULL);
}

static void test_as_the_model(void **state)
{
    (void)state;
    static struct model m;
    static char room[8192];
    m = (struct model){.lp = listpack_new()};
    rng_init(&m.rng, 42);
    for (int i = 0; i < STEPS; i++) {
        struct slice v = any_value(&m, room);
        switch (rng_below(&m.rng, m.n < 100 ? 10 : 15)) {
        case 0:
            find(&m, v);
            break;
        case 1:
        case 2:
            if (m.n > 0) {
                replace(&m, v);
            }
            break;
        case 3:
        case 4:
        case 10:
        case 11:
        case 12:
        case 13:
        case 14:
            if (m.n > 0) {
                delete (&m);
            }
            break;
        default:
            if (m.n < MOST) {
                insert(&m, v);
            }
        }
        if (i % 16 == 0) {
            check(&m);
        }
    }
    struct listpack *copy = listpack_copy(m.lp);
    assert_true(slice_eq(listpack_slice(copy), listpack_slice(m.lp)));
    listpack_free(&copy);
    model_delete(&m, 0, m.n);
    listpack_free(&m.lp);
}

/* What redis-server 7.0.15 gives for these elements (DUMP of a list). */
static void test_bytes_are_those_of_redis(void **state)
{
    (void)state;
    static const unsigned char expected[] = {
        0x36, 0,    0,    0,    9,    0,                /* 54 bytes, 9 elements */
        0x81, 'a',  2,                                  /* "a" */
        0,    1,                                        /* 0 */
        127,  1,                                        /* 127 */
        0xC0, 0x80, 2,                                  /* 128 */
        0xDF, 0xFF, 2,                                  /* -1 */
        0xF1, 0xE8, 0x80, 3,                            /* -32536 */
        0xF2, 0x00, 0x00, 0x01, 4,                      /* 65536 */
        0xF3, 0x00, 0x00, 0x00, 0x80, 5,                /* -2147483648 */
        0xF4, 0,    0,    0,    0,    0, 0, 0, 0x80, 9, /* -2^63 */
        0xFF,
    };
    struct listpack *lp = listpack_new();
    struct slice values[] = {SLICE("a"),     SLICE("0"),           SLICE("127"),
                             SLICE("128"),   SLICE("-1"),          SLICE("-32536"),
                             SLICE("65536"), SLICE("-2147483648"), SLICE("-9223372036854775808")};
    listpack_append_all(&lp, values, ARRAY_LEN(values));
    struct slice have = listpack_slice(lp);
    assert_memory_equal(have.ptr + 4, expected + 4, MIN(have.len, sizeof(expected)) - 4);
    assert_int_equal(have.len, sizeof(expected));
    listpack_free(&lp);
}

static void test_many_are_counted(void **state)
{
    (void)state;
    struct listpack *lp = listpack_new();
    struct listpack *other = listpack_new();
    for (int i = 0; i < 65530; i++) {
        listpack_append_int(&lp, i);
    }
    for (int i = 0; i < 10; i++) {
        listpack_append_int(&other, 65530 + i);
    }
    listpack_join(&lp, other);
    assert_int_equal(listpack_count(lp), 65540);
    assert_int_equal(listpack_get(listpack_at(lp, 65539)).number, 65539);
    assert_int_equal(listpack_get(listpack_at(lp, -65540)).number, 0);
    assert_null(listpack_at(lp, 65540));
    assert_null(listpack_at(lp, -65541));
    listpack_delete_range(&lp, 10, 65530);
    assert_int_equal(listpack_count(lp), 10);
    size_t n;
    assert_true(listpack_valid(listpack_slice(lp), &n));
    listpack_free(&lp);
    listpack_free(&other);
}

static void test_long_elements_are_found_from_behind(void **state)
{
    (void)state;
    static const size_t lens[] = {126, 127, 16378, 16379, 16380, 2097145, 2097146, 2097150};
    struct listpack *lp = listpack_new();
    struct str v = {0};
    memset(str_reserve(&v, 2097150), 'x', 2097150);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        listpack_append(&lp, slice_of(v.ptr, lens[i]));
    }
    const unsigned char *p = listpack_last(lp);
    for (size_t i = ARRAY_LEN(lens); i-- > 0;) {
        assert_int_equal(listpack_get(p).len, lens[i]);
        p = listpack_prev(lp, p);
    }
    assert_null(p);
    size_t n;
    assert_true(listpack_valid(listpack_slice(lp), &n));
    str_fini(&v);
    listpack_free(&lp);
}

/* One byte off anywhere is found, or the bytes still are a listpack that can be walked. */
static void test_damaged_bytes_do_no_harm(void **state)
{
    (void)state;
    struct listpack *lp = listpack_new();
    static char text[300];
    memset(text, 'y', sizeof(text));
    listpack_append(&lp, SLICE("abc"));
    listpack_append_int(&lp, 100000);
    listpack_append(&lp, slice_of(text, 300));
    listpack_append_int(&lp, 5);
    struct slice good = listpack_slice(lp);
    size_t refused = 0;
    for (size_t i = 0; i < good.len * 255; i++) {
        char *bad = mem_memdup(good.ptr, good.len);
        bad[i / 255] = (char)(bad[i / 255] + 1 + (int)(i % 255));
        size_t n;
        if (!listpack_valid(slice_of(bad, good.len), &n)) {
            refused++;
        } else {
            struct listpack *got = listpack_from(slice_of(bad, good.len));
            for (const unsigned char *p = listpack_last(got); p != NULL; n--) {
                p = listpack_prev(got, p);
            }
            assert_int_equal(n, 0);
            listpack_free(&got);
        }
        mem_free(bad);
    }
    assert_true(refused > 12 * 255);
    for (size_t cut = 0; cut < good.len; cut++) {
        size_t n;
        assert_false(listpack_valid(slice_of(good.ptr, cut), &n));
    }
    listpack_free(&lp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_those_of_redis),
        cmocka_unit_test(test_as_the_model),
        cmocka_unit_test(test_many_are_counted),
        cmocka_unit_test(test_long_elements_are_found_from_behind),
        cmocka_unit_test(test_damaged_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
