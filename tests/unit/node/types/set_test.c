// SPDX-License-Identifier: BSD-3-Clause
/* Sets and blocks of integers: against a model, as files, and with bytes of strangers. */
#include "node/types/set.h"

#include "node/types/intset.h"
#include "node/types/limits.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

static const struct slice key = {.ptr = "key", .len = 3};

static int64_t some_number(struct rng *rng)
{
    static const int64_t edges[] = {
        0,         -1,        INT16_MIN, INT16_MAX, INT16_MAX + 1,   INT32_MIN,
        INT32_MAX, INT64_MIN, INT64_MAX, -40000,    INT64_C(1) << 40};
    return rng_below(rng, 3) == 0 ? edges[rng_below(rng, ARRAY_LEN(edges))]
                                  : (int64_t)rng_below(rng, 200) - 100;
}

static void check_intset(const struct intset *s, const int64_t *model, size_t n)
{
    assert_int_equal(intset_count(s), n);
    for (size_t i = 0; i < n; i++) {
        assert_true(intset_has(s, model[i]));
        assert_true(i == 0 || intset_at(s, i - 1) < intset_at(s, i));
    }
}

static void test_integers_stay_sorted(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int round = 0; round < 50; round++) {
        struct intset *s = intset_new();
        int64_t model[400] = {0};
        size_t n = 0;
        for (int i = 0; i < 300; i++) {
            int64_t v = some_number(&rng);
            size_t at = 0;
            while (at < n && model[at] != v) {
                at++;
            }
            assert_int_equal(intset_has(s, v), at < n);
            if (rng_below(&rng, 3) > 0) {
                assert_int_equal(intset_add(&s, v), at == n);
                model[at] = v;
                n += at == n;
            } else {
                assert_int_equal(intset_remove(&s, v), at < n);
                n -= at < n;
                model[at] = model[n];
            }
            check_intset(s, model, n);
        }
        struct intset *read = n == 0 ? NULL : intset_read(intset_bytes(s));
        if (n > 0) {
            assert_non_null(read);
            check_intset(read, model, n);
        }
        intset_free(&read);
        intset_free(&s);
    }
}

static void test_blocks_that_are_none_are_refused(void **state)
{
    (void)state;
    const struct slice bad[] = {
        SLICE(""),
        SLICE("\2\0\0\0"),
        SLICE("\2\0\0\0\0\0\0\0"),             /* empty */
        SLICE("\3\0\0\0\1\0\0\0\1\0\0"),       /* no such width */
        SLICE("\2\0\0\0\2\0\0\0\1\0"),         /* too short */
        SLICE("\2\0\0\0\1\0\0\0\1\0\2\0"),     /* too long */
        SLICE("\2\0\0\0\2\0\0\0\2\0\1\0"),     /* not sorted */
        SLICE("\2\0\0\0\2\0\0\0\1\0\1\0"),     /* twice */
        SLICE("\2\0\0\0\377\377\377\377\1\0"), /* claims too much */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(intset_read(bad[i]));
    }
    struct intset *s = intset_read(SLICE("\4\0\0\0\2\0\0\0\377\377\377\377\1\0\0\0"));
    assert_int_equal(intset_at(s, 0), -1);
    assert_int_equal(intset_at(s, 1), 1);
    intset_free(&s);
}

static void limit(size_t integers)
{
    struct type_limits l = *type_limits();
    l.set_intset = integers;
    type_limits_set(&l);
}

static void add_all(struct object *o, const char *const *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(set_add(o, slice_str(members[i])));
    }
}

static void test_integers_become_a_table(void **state)
{
    (void)state;
    struct object *o = set_new(key);
    limit(4);
    add_all(o, (const char *const[]){"1", "2", "-7", "4000000000"}, 4);
    assert_string_equal(object_encoding_name(o), "intset");
    assert_true(set_add(o, SLICE("5"))); /* one too many */
    assert_string_equal(object_encoding_name(o), "hashtable");
    assert_true(set_has(o, SLICE("-7")));
    assert_false(set_has(o, SLICE("07")));
    object_free(&o);
    o = set_new(key);
    add_all(o, (const char *const[]){"1", "01"}, 2);
    assert_string_equal(object_encoding_name(o), "hashtable");
    assert_int_equal(set_count(o), 2);
    assert_true(set_remove(o, SLICE("1")));
    assert_false(set_remove(o, SLICE("1")));
    assert_true(set_remove(o, SLICE("01")));
    assert_int_equal(set_count(o), 0);
    object_free(&o);
}

/* What is written is read as the same; and the digest does not ask for the encoding. */
static void check_written(const struct object *o)
{
    struct str s = {0};
    struct str scratch = {0};
    struct digest a;
    struct digest b;
    unsigned type;
    rdb_write_payload(&s, o, true);
    struct slice in = str_slice(&s);
    assert_true(rdb_check_payload(&in));
    assert_true(rdb_read_byte(&in, &type));
    struct object *again = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
    assert_non_null(again);
    assert_int_equal(in.len, 0);
    object_digest(o, &a);
    object_digest(again, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(set_count(o), set_count(again));
    object_free(&again);
    again = object_copy(o, key, OBJECT_NO_EXPIRE);
    object_digest(again, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&again);
    str_fini(&s);
    str_fini(&scratch);
}

static void test_sets_as_files(void **state)
{
    (void)state;
    struct object *o = set_new(key);
    struct object *table = set_new(key);
    struct digest a;
    struct digest b;
    for (int64_t i = 0; i < 300; i++) {
        char digits[NUM_I64_MAX_LEN];
        struct slice text = slice_of(digits, num_print_i64(digits, i * 1000 - 3));
        limit(1000);
        assert_true(set_add(o, text));
        limit(0);
        assert_true(set_add(table, text));
        limit(1000);
        check_written(o);
        check_written(table);
    }
    object_digest(o, &a);
    object_digest(table, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    object_free(&table);
    char longest[1000];
    memset(longest, 'l', sizeof(longest));
    for (size_t i = 0; i < sizeof(longest); i += 37) {
        assert_true(set_add(o, slice_of(longest, i)));
        check_written(o);
    }
    object_free(&o);
}

static void test_files_that_are_none_are_refused(void **state)
{
    (void)state;
    const struct {
        unsigned type;
        struct slice bytes;
    } bad[] = {
        {RDB_TYPE_SET, SLICE("\0")},
        {RDB_TYPE_SET, SLICE("\2\1a")},
        {RDB_TYPE_SET, SLICE("\2\1a\1a")},
        {RDB_TYPE_SET, SLICE("\2\300\1\0011")}, /* 1 in two ways */
        {RDB_TYPE_SET, SLICE("\201\377\377\377\377\377\377\377\377\1a")},
        {RDB_TYPE_SET_INTSET, SLICE("\10\2\0\0\0\0\0\0\0")},
        {RDB_TYPE_SET_INTSET, SLICE("\300\1")},
    };
    struct str scratch = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice in = bad[i].bytes;
        assert_null(rdb_read_value(&in, bad[i].type, key, OBJECT_NO_EXPIRE, &scratch));
    }
    str_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_stay_sorted),
        cmocka_unit_test(test_blocks_that_are_none_are_refused),
        cmocka_unit_test(test_integers_become_a_table),
        cmocka_unit_test(test_sets_as_files),
        cmocka_unit_test(test_files_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
