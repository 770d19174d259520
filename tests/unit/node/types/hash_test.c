// SPDX-License-Identifier: BSD-3-Clause
/* Hashes in both encodings, their memory, their forms in files, and walks over them. */
#include "node/types/hash.h"

#include "node/types/limits.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"

#include "tests/unit/unit.h"

#include <stdio.h>

enum { FIELDS = 2000, STEPS = 40000 };

static const struct slice key = {.ptr = "key", .len = 3};

/* Values by field; NULL: not there. */
struct model {
    struct object *o;
    char *of[FIELDS];
    size_t n;
    struct rng rng;
    struct str text;
};

static struct slice field_of(size_t i, char *room)
{
    /* Some look like numbers, some are longer than a listpack takes. */
    int len = i % 3 == 0   ? snprintf(room, 200, "%zu", i)
              : i % 3 == 1 ? snprintf(room, 200, "field:%zu", i)
                           : snprintf(room, 200, "%0*zu", i % 50 == 2 ? 100 : 12, i);
    return slice_of(room, (size_t)len);
}

static struct slice text_of(const struct listpack_value *v, char *digits)
{
    return v->ptr != NULL ? slice_of(v->ptr, v->len)
                          : slice_of(digits, num_print_i64(digits, v->number));
}

static void change(struct model *m, size_t fields)
{
    char room[200];
    char value[400];
    size_t i = rng_below(&m->rng, fields);
    struct slice field = field_of(i, room);
    if (rng_below(&m->rng, 3) == 0) {
        assert_int_equal(hash_delete(m->o, field), m->of[i] != NULL);
        m->n -= m->of[i] != NULL;
        mem_free(m->of[i]);
        m->of[i] = NULL;
        return;
    }
    int len = rng_below(&m->rng, 2) == 0
                  ? snprintf(value, sizeof(value), "%d", (int)rng_below(&m->rng, 100000) - 50000)
                  : snprintf(value, sizeof(value), "v%0*d",
                             (int)rng_below(&m->rng, fields > 100 ? 300 : 60), 1);
    assert_int_equal(hash_set(m->o, field, slice_of(value, (size_t)len)), m->of[i] == NULL);
    m->n += m->of[i] == NULL;
    mem_free(m->of[i]);
    m->of[i] = mem_strdup(value);
}

static void check_fields(const struct model *m)
{
    char room[200];
    char digits[NUM_I64_MAX_LEN];
    assert_int_equal(hash_length(m->o), m->n);
    for (size_t i = 0; i < FIELDS; i++) {
        struct listpack_value v;
        bool found = hash_get(m->o, field_of(i, room), &v);
        assert_int_equal(found, m->of[i] != NULL);
        assert_true(!found || slice_eq(text_of(&v, digits), slice_str(m->of[i])));
    }
    struct hash_walk w = {0};
    struct hash_pair pair;
    size_t n = 0;
    while (hash_next(m->o, &w, &pair)) {
        struct listpack_value v;
        char other[NUM_I64_MAX_LEN];
        assert_true(hash_get(m->o, text_of(&pair.field, digits), &v));
        assert_true(slice_eq(text_of(&v, digits), text_of(&pair.value, other)));
        n++;
    }
    assert_int_equal(n, m->n);
}

static void check_copies(struct model *m)
{
    struct digest a;
    struct digest b;
    object_digest(m->o, &a);
    struct object *copy = object_copy(m->o, key, OBJECT_NO_EXPIRE);
    object_digest(copy, &b);
    assert_memory_equal(&a, &b, sizeof(a));
#ifndef SHOAL_LIBC_MALLOC
    size_t told = object_memory(copy);
    size_t before = mem_used();
    object_free(&copy);
    assert_int_equal(before - mem_used(), told);
#else
    object_free(&copy);
#endif
    struct str s = {0};
    rdb_write_value(&s, m->o, rng_below(&m->rng, 2) == 0);
    struct slice in = str_slice(&s);
    struct object *again = rdb_read_value(&in, rdb_type_of(m->o), key, OBJECT_NO_EXPIRE, &m->text);
    assert_non_null(again);
    assert_int_equal(in.len, 0);
    object_digest(again, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&again);
    str_fini(&s);
}

static void run(size_t fields, struct type_limits limits, const char *encoding)
{
    static struct model m;
    type_limits_set(&limits);
    m = (struct model){.o = hash_new(key, OBJECT_NO_EXPIRE)};
    rng_init(&m.rng, 5);
    for (int i = 0; i < STEPS; i++) {
        change(&m, fields);
        if (i % 1000 == 0 && m.n > 0) {
            check_fields(&m);
            check_copies(&m);
        }
    }
    assert_string_equal(object_encoding_name(m.o), encoding);
    for (size_t i = 0; i < FIELDS; i++) {
        mem_free(m.of[i]);
    }
    str_fini(&m.text);
    object_free(&m.o);
}

static void test_as_the_model(void **state)
{
    (void)state;
    struct type_limits normal = *type_limits();
    struct type_limits wide = normal;
    wide.hash_value = 200;
    run(100, wide, "listpack");
    run(FIELDS, normal, "hashtable");
    type_limits_set(&normal);
}

struct scanned {
    uint8_t seen[FIELDS];
    uint64_t n;
};

static void mark(void *arg, const struct hash_pair *pair)
{
    struct scanned *s = arg;
    int64_t i;
    assert_true(num_parse_i64(slice_of(pair->field.ptr, pair->field.len), &i));
    s->seen[i] = 1;
    s->n++;
}

static void put(struct object *o, size_t i)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice field = slice_of(digits, num_print_u64(digits, i));
    hash_set(o, field, SLICE("x"));
}

/* What is there from the first step to the last is seen, however much comes and goes meanwhile. */
static void test_a_scan_survives_growth(void **state)
{
    (void)state;
    static struct scanned s;
    struct object *o = hash_new(key, OBJECT_NO_EXPIRE);
    for (size_t i = 0; i < 1000; i++) {
        put(o, i);
    }
    char digits[NUM_I64_MAX_LEN];
    uint64_t cursor = 0;
    size_t more = 1000;
    s = (struct scanned){0};
    do {
        cursor = hash_scan(o, cursor, mark, &s);
        for (int k = 0; k < 5 && more < FIELDS; k++) {
            put(o, more++);
        }
        for (size_t k = 500; k < 1000 && more == FIELDS; k++) {
            hash_delete(o, slice_of(digits, num_print_u64(digits, k)));
        }
    } while (cursor != 0);
    for (size_t i = 0; i < 500; i++) {
        assert_int_equal(s.seen[i], 1);
    }
    assert_true(s.n <= FIELDS + 100);
    object_free(&o);
}

static void test_random_fields_are_about_as_likely(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (size_t fields = 20; fields <= 1000; fields += 980) {
        size_t hits[1000] = {0};
        struct object *o = hash_new(key, OBJECT_NO_EXPIRE);
        for (size_t i = 0; i < fields; i++) {
            put(o, i);
        }
        for (size_t i = 0; i < fields * 100; i++) {
            struct hash_pair pair = hash_random(o, &rng);
            int64_t at = pair.field.number;
            assert_true(pair.field.ptr == NULL ||
                        num_parse_i64(slice_of(pair.field.ptr, pair.field.len), &at));
            hits[at]++;
        }
        for (size_t i = 0; i < fields; i++) {
            assert_true(hits[i] > 40 && hits[i] < 200);
        }
        object_free(&o);
    }
}

static struct object *read_back(unsigned type, const struct str *s, struct str *scratch)
{
    struct slice in = str_slice(s);
    struct object *o = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, scratch);
    if (o != NULL) {
        assert_int_equal(in.len, 0);
    }
    return o;
}

static void test_forms_of_files(void **state)
{
    (void)state;
    static const unsigned char zipmap[] = {2, 1, 'a', 1,   0, '1', 1, 'b',
                                           2, 3, 'x', 'y', 0, 0,   0, 0xFF};
    static const unsigned char ziplist[] = {0x17, 0, 0,   0, 0x12, 0,   0,   0,
                                            4,    0,               /* 23 bytes, the last at 18 */
                                            0,    1, 'a', 3, 0xF2, /* a 1 */
                                            2,    1, 'b', 3, 2,    'x', 'y', 0xFF}; /* b xy */
    struct str s = {0};
    struct str scratch = {0};
    struct listpack *lp = listpack_new();
    struct slice pairs[] = {SLICE("a"), SLICE("1"), SLICE("b"), SLICE("xy")};
    static const unsigned types[] = {RDB_TYPE_HASH, RDB_TYPE_HASH_ZIPMAP, RDB_TYPE_HASH_ZIPLIST,
                                     RDB_TYPE_HASH_LISTPACK};
    listpack_append_all(&lp, pairs, 4);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        str_clear(&s);
        if (types[i] == RDB_TYPE_HASH) {
            rdb_write_len(&s, 2);
            for (size_t k = 0; k < 4; k++) {
                rdb_write_string(&s, pairs[k], false);
            }
        } else {
            rdb_write_string(&s,
                             types[i] == RDB_TYPE_HASH_ZIPMAP
                                 ? slice_of((const char *)zipmap, sizeof(zipmap))
                             : types[i] == RDB_TYPE_HASH_ZIPLIST
                                 ? slice_of((const char *)ziplist, sizeof(ziplist))
                                 : listpack_slice(lp),
                             false);
        }
        struct object *o = read_back(types[i], &s, &scratch);
        struct listpack_value v;
        assert_non_null(o);
        assert_int_equal(hash_length(o), 2);
        assert_true(hash_get(o, SLICE("b"), &v));
        assert_true(slice_eq(slice_of(v.ptr, v.len), SLICE("xy")));
        assert_true(hash_get(o, SLICE("a"), &v));
        assert_int_equal(v.number, 1);
        object_free(&o);
        for (size_t len = 0; len < s.len; len++) {
            struct slice in = slice_of(s.ptr, len);
            assert_null(rdb_read_value(&in, types[i], key, OBJECT_NO_EXPIRE, &scratch));
        }
    }
    listpack_free(&lp);
    str_fini(&s);
    str_fini(&scratch);
}

static void test_a_field_twice_is_refused(void **state)
{
    (void)state;
    struct str s = {0};
    struct str scratch = {0};
    for (size_t n = 2; n <= 1000; n += 499) {
        struct listpack *lp = listpack_new();
        for (size_t i = 0; i < n; i++) {
            listpack_append_int(&lp, (int64_t)(i == n - 1 ? 0 : i));
            listpack_append(&lp, SLICE("v"));
        }
        str_clear(&s);
        rdb_write_string(&s, listpack_slice(lp), false);
        assert_null(read_back(RDB_TYPE_HASH_LISTPACK, &s, &scratch));
        /* The last field makes the difference. */
        listpack_replace_int(&lp, listpack_at(lp, -2), 100000);
        str_clear(&s);
        rdb_write_string(&s, listpack_slice(lp), false);
        struct object *o = read_back(RDB_TYPE_HASH_LISTPACK, &s, &scratch);
        assert_non_null(o);
        assert_int_equal(hash_length(o), n);
        object_free(&o);
        /* A field without a value. */
        listpack_append_int(&lp, 7);
        str_clear(&s);
        rdb_write_string(&s, listpack_slice(lp), false);
        assert_null(read_back(RDB_TYPE_HASH_LISTPACK, &s, &scratch));
        listpack_free(&lp);
    }
    str_clear(&s);
    rdb_write_len(&s, 2);
    for (int i = 0; i < 4; i++) {
        rdb_write_string(&s, SLICE("same"), false);
    }
    assert_null(read_back(RDB_TYPE_HASH, &s, &scratch));
    str_fini(&s);
    str_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_model),
        cmocka_unit_test(test_a_scan_survives_growth),
        cmocka_unit_test(test_random_fields_are_about_as_likely),
        cmocka_unit_test(test_forms_of_files),
        cmocka_unit_test(test_a_field_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
