// SPDX-License-Identifier: BSD-3-Clause
/* Lists against a model, with all kinds of nodes; and their forms in files. */
#include "node/types/quicklist.h"

#include "node/types/limits.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

enum { MOST = 600, STEPS = 6000 };

struct model {
    struct object *o;
    struct str of[MOST];
    size_t n;
    struct rng rng;
};

static const struct slice key = {.ptr = "key", .len = 3};

static struct slice text_of(const struct listpack_value *v, char *digits)
{
    return v->ptr != NULL ? slice_of(v->ptr, v->len)
                          : slice_of(digits, num_print_i64(digits, v->number));
}

static void check_walk(const struct model *m, size_t from, bool leftwards)
{
    struct quicklist_walk w;
    struct listpack_value v;
    char digits[NUM_I64_MAX_LEN];
    quicklist_walk_begin(&w, m->o, from, leftwards);
    size_t i = from;
    size_t n = 0;
    while (quicklist_walk_next(&w, &v)) {
        assert_true(slice_eq(text_of(&v, digits), str_slice(&m->of[i])));
        i += leftwards ? (size_t)-1 : 1;
        n++;
    }
    assert_int_equal(n, leftwards ? from + 1 : m->n - from);
    quicklist_walk_end(&w);
}

static void check(struct model *m)
{
    assert_int_equal(quicklist_length(m->o), m->n);
    if (m->n > 0) {
        check_walk(m, 0, false);
        check_walk(m, m->n - 1, true);
        check_walk(m, rng_below(&m->rng, m->n), rng_below(&m->rng, 2) == 0);
    }
}

static void check_memory(struct model *m)
{
#ifndef SHOAL_LIBC_MALLOC
    struct object *copy = object_copy(m->o, key, OBJECT_NO_EXPIRE);
    size_t told = object_memory(copy);
    size_t before = mem_used();
    object_free(&copy);
    assert_int_equal(before - mem_used(), told);
#else
    (void)m;
#endif
}

static void check_file(struct model *m)
{
    struct str s = {0};
    struct str scratch = {0};
    rdb_write_value(&s, m->o, true);
    struct slice in = str_slice(&s);
    struct object *again = rdb_read_value(&in, rdb_type_of(m->o), key, OBJECT_NO_EXPIRE, &scratch);
    assert_non_null(again);
    assert_int_equal(in.len, 0);
    struct digest a;
    struct digest b;
    object_digest(m->o, &a);
    object_digest(again, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&again);
    str_fini(&s);
    str_fini(&scratch);
}

static struct slice any_value(struct model *m, char *to)
{
    static const size_t edges[] = {0, 63, 64, 300, 1000, 4095, 4096, 9000};
    if (rng_below(&m->rng, 2) == 0) {
        return slice_of(to, num_print_i64(to, (int64_t)rng_below(&m->rng, 40) - 5));
    }
    size_t len = rng_below(&m->rng, 10) == 0 ? edges[rng_below(&m->rng, ARRAY_LEN(edges))]
                                             : rng_below(&m->rng, 30);
    memset(to, (int)('a' + rng_below(&m->rng, 3)), len);
    return slice_of(to, len);
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
    if (rng_below(&m->rng, 2) == 0) {
        at = rng_below(&m->rng, 2) == 0 ? 0 : m->n;
        quicklist_push(m->o, at == 0 ? QUICKLIST_LEFT : QUICKLIST_RIGHT, v);
    } else {
        quicklist_insert(m->o, at, v);
    }
    memmove(m->of + at + 1, m->of + at, (m->n - at) * sizeof(m->of[0]));
    m->of[at] = (struct str){0};
    str_append_slice(&m->of[at], v);
    m->n++;
}

static void set(struct model *m, struct slice v)
{
    size_t at = rng_below(&m->rng, m->n);
    quicklist_set(m->o, at, v);
    str_clear(&m->of[at]);
    str_append_slice(&m->of[at], v);
}

static void delete_some(struct model *m)
{
    size_t at = rng_below(&m->rng, 3) == 0 ? 0 : rng_below(&m->rng, m->n);
    size_t n = 1 + rng_below(&m->rng, rng_below(&m->rng, 20) == 0 ? 200 : 3);
    n = MIN(n, m->n - at);
    quicklist_delete(m->o, at, n);
    model_delete(m, at, n);
}

static void remove_equal(struct model *m, struct slice v)
{
    size_t most = rng_below(&m->rng, 4);
    bool right = rng_below(&m->rng, 2) == 0;
    size_t gone = 0;
    for (size_t k = 0; k < m->n && (most == 0 || gone < most);) {
        size_t i = right ? m->n - 1 - k : k;
        if (slice_eq(str_slice(&m->of[i]), v)) {
            model_delete(m, i, 1);
            gone++;
        } else {
            k++;
        }
    }
    enum quicklist_end from = right ? QUICKLIST_RIGHT : QUICKLIST_LEFT;
    assert_int_equal(quicklist_remove(m->o, from, most, v), gone);
}

static void run(struct type_limits limits)
{
    static struct model m;
    static char room[16384];
    type_limits_set(&limits);
    m = (struct model){.o = quicklist_new(key, OBJECT_NO_EXPIRE)};
    rng_init(&m.rng, 11);
    for (int i = 0; i < STEPS; i++) {
        struct slice v = any_value(&m, room);
        size_t what = rng_below(&m.rng, (i / 500) % 2 == 0 ? 12 : 24);
        if (what < 10 && m.n < MOST) {
            insert(&m, v);
        } else if (m.n > 0 && what == 10) {
            set(&m, v);
        } else if (m.n > 0 && what == 11) {
            remove_equal(&m, v);
        } else if (m.n > 0) {
            delete_some(&m);
        }
        if (i % 20 == 0) {
            check(&m);
        }
        if (i % 200 == 0 && m.n > 0) {
            check_memory(&m);
            check_file(&m);
        }
    }
    model_delete(&m, 0, m.n);
    object_free(&m.o);
}

static void test_as_the_model(void **state)
{
    (void)state;
    struct type_limits normal = *type_limits();
    struct type_limits small = {.list_size = 3, .list_plain = LIST_PLAIN_DEFAULT};
    struct type_limits plain = {.list_size = -1, .list_plain = 40};
    struct type_limits compressed = {
        .list_size = 10, .list_depth = 1, .list_plain = LIST_PLAIN_DEFAULT};
    struct type_limits all = {.list_size = 4, .list_depth = 2, .list_plain = 25};
    run(normal);
    run(small);
    run(plain);
    run(compressed);
    run(all);
    type_limits_set(&normal);
}

static void test_the_middle_is_compressed(void **state)
{
    (void)state;
    struct type_limits normal = *type_limits();
    struct type_limits packs = normal;
    packs.list_depth = 1;
    struct object *o[2];
    char text[100];
    memset(text, 'x', sizeof(text));
    for (int k = 0; k < 2; k++) {
        type_limits_set(k == 0 ? &normal : &packs);
        o[k] = quicklist_new(key, OBJECT_NO_EXPIRE);
        for (int i = 0; i < 5000; i++) {
            quicklist_push(o[k], QUICKLIST_RIGHT, slice_of(text, sizeof(text)));
        }
    }
    type_limits_set(&normal);
    assert_true(quicklist_nodes(o[1]) > 20);
    assert_true(object_memory(o[1]) * 5 < object_memory(o[0]));
    struct digest a;
    struct digest b;
    object_digest(o[0], &a);
    object_digest(o[1], &b);
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&o[0]);
    object_free(&o[1]);
}

/* Forms of older files, as Redis wrote them. */
static void test_old_forms_are_read(void **state)
{
    (void)state;
    static const unsigned char ziplist[] = {
        0x12, 0,    0,    0,   0x0E, 0, 0, 0, 2, 0, /* 18 bytes, the last at 14, two elements */
        0,    2,    'a',  'b',                      /* "ab" */
        4,    0xFE, 0xF6,                           /* -10 */
        0xFF,
    };
    struct str s = {0};
    struct str scratch = {0};
    struct slice z = slice_of((const char *)ziplist, sizeof(ziplist));
    static const unsigned types[] = {RDB_TYPE_LIST, RDB_TYPE_LIST_ZIPLIST, RDB_TYPE_LIST_QUICKLIST};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        str_clear(&s);
        if (types[i] == RDB_TYPE_LIST) {
            rdb_write_len(&s, 2);
            rdb_write_string(&s, SLICE("ab"), false);
            rdb_write_string(&s, SLICE("-10"), false);
        } else {
            if (types[i] == RDB_TYPE_LIST_QUICKLIST) {
                rdb_write_len(&s, 1);
            }
            rdb_write_string(&s, z, false);
        }
        struct slice in = str_slice(&s);
        struct object *o = rdb_read_value(&in, types[i], key, OBJECT_NO_EXPIRE, &scratch);
        assert_non_null(o);
        struct str v = {0};
        assert_int_equal(quicklist_length(o), 2);
        quicklist_get(o, 0, &v);
        quicklist_get(o, 1, &v);
        assert_string_equal(str_cstr(&v), "ab-10");
        str_fini(&v);
        object_free(&o);
        /* Cut off anywhere it is nothing. */
        for (size_t len = 0; len < s.len; len++) {
            in = slice_of(s.ptr, len);
            assert_null(rdb_read_value(&in, types[i], key, OBJECT_NO_EXPIRE, &scratch));
        }
    }
    str_clear(&s);
    rdb_write_len(&s, 0);
    struct slice in = str_slice(&s);
    assert_null(rdb_read_value(&in, RDB_TYPE_LIST, key, OBJECT_NO_EXPIRE, &scratch));
    str_fini(&s);
    str_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_model),
        cmocka_unit_test(test_the_middle_is_compressed),
        cmocka_unit_test(test_old_forms_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
