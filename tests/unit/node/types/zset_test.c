// SPDX-License-Identifier: BSD-3-Clause
/* Sorted sets in both encodings against each other, as files, and with bytes of strangers. */
#include "node/types/zset.h"

#include "node/types/limits.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>

static const struct slice key = {.ptr = "key", .len = 3};

static void limit(size_t entries)
{
    struct type_limits l = *type_limits();
    l.zset_entries = entries;
    type_limits_set(&l);
}

static bool same(const struct zset_element *a, const struct zset_element *b)
{
    char digits[2][NUM_I64_MAX_LEN];
    return a->score == b->score &&
           slice_eq(zset_element_text(a, digits[0]), zset_element_text(b, digits[1]));
}

static void assert_equal(const struct object *a, const struct object *b)
{
    assert_int_equal(zset_count(a), zset_count(b));
    for (int down = 0; down < 2 && zset_count(a) > 0; down++) {
        uint64_t from = down == 1 ? zset_count(a) - 1 : 0;
        struct zset_walk w[2] = {zset_seek(a, from, down == 1), zset_seek(b, from, down == 1)};
        struct zset_element e[2];
        while (zset_next(&w[0], &e[0])) {
            assert_true(zset_next(&w[1], &e[1]));
            assert_true(same(&e[0], &e[1]));
        }
        assert_false(zset_next(&w[1], &e[1]));
    }
    struct digest d[2];
    object_digest(a, &d[0]);
    object_digest(b, &d[1]);
    assert_memory_equal(&d[0], &d[1], sizeof(d[0]));
}

static void check_written(const struct object *o)
{
    struct str s = {0};
    struct str scratch = {0};
    unsigned type;
    rdb_write_payload(&s, o, true);
    struct slice in = str_slice(&s);
    assert_true(rdb_check_payload(&in));
    assert_true(rdb_read_byte(&in, &type));
    struct object *again = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
    assert_non_null(again);
    assert_int_equal(in.len, 0);
    assert_equal(o, again);
    object_free(&again);
    again = object_copy(o, key, OBJECT_NO_EXPIRE);
    assert_equal(o, again);
    object_free(&again);
    str_fini(&s);
    str_fini(&scratch);
}

static double some_score(struct rng *rng)
{
    static const double edges[] = {0,      -1,       1e17,      0.1,
                                   -1e308, INFINITY, -INFINITY, 4611686018427387904.0};
    return rng_below(rng, 3) == 0 ? edges[rng_below(rng, ARRAY_LEN(edges))]
                                  : (double)rng_below(rng, 40) / 4;
}

/* The same done to a listpack and to a tree. */
static void one_step(struct object *const o[2], struct rng *rng)
{
    char name[100];
    int len = snprintf(name, sizeof(name), rng_below(rng, 2) == 0 ? "%d" : "name:%d",
                       (int)rng_below(rng, 60));
    struct slice member = slice_of(name, (size_t)len);
    double score = some_score(rng);
    unsigned flags = rng_below(rng, 4) == 0 ? (unsigned)rng_below(rng, 32) : 0;
    unsigned what = (unsigned)rng_below(rng, 10);
    uint64_t first = rng_below(rng, zset_count(o[0]) + 1);
    uint64_t wished = rng_below(rng, 5);
    uint64_t n = MIN(zset_count(o[0]) - first, wished);
    struct ranks_place at = {.score = score, .name = member, .behind = rng_below(rng, 2) == 0};
    int64_t result[2] = {0};
    double scores[2] = {score, score};
    for (int i = 0; i < 2; i++) {
        limit(i == 0 ? 1000 : 0);
        if (what < 6) {
            result[i] = (int64_t)zset_add(o[i], member, flags, &scores[i]);
            scores[i] = result[i] == ZSET_NAN || result[i] == ZSET_LEFT ? 0 : scores[i];
        } else if (what < 8) {
            result[i] = zset_remove(o[i], member);
        } else if (what == 8) {
            zset_remove_range(o[i], first, n);
        }
        uint64_t rank;
        double has;
        if (zset_rank(o[i], member, &rank)) {
            assert_true(zset_score(o[i], member, &has));
            struct zset_element e = zset_at(o[i], rank);
            assert_true(
                same(&e, &(struct zset_element){.member = {.ptr = member.ptr, .len = member.len},
                                                .score = has}));
            result[i] += (int64_t)rank * 10;
        }
        result[i] += (int64_t)zset_below(o[i], &at) * 10000;
    }
    assert_int_equal(result[0], result[1]);
    assert_true(scores[0] == scores[1]);
}

static void test_both_encodings_do_the_same(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    struct object *o[2] = {zset_new(key), zset_new(key)};
    limit(0);
    double score = 1;
    assert_int_equal(zset_add(o[1], SLICE("x"), 0, &score), ZSET_ADDED);
    assert_true(zset_remove(o[1], SLICE("x")));
    for (int i = 0; i < 20000; i++) {
        one_step(o, &rng);
        if (i % 50 == 0) {
            limit(1000);
            assert_equal(o[0], o[1]);
            assert_string_equal(object_encoding_name(o[0]), "listpack");
            assert_string_equal(object_encoding_name(o[1]), "skiplist");
            if (zset_count(o[0]) > 0) {
                check_written(o[0]);
                check_written(o[1]);
            }
        }
    }
    object_free(&o[0]);
    object_free(&o[1]);
    limit(128);
}

static void test_what_grows_becomes_a_tree(void **state)
{
    (void)state;
    struct object *o = zset_new(key);
    for (int64_t i = 0; i < 200; i++) {
        char digits[NUM_I64_MAX_LEN];
        double score = (double)-i;
        assert_string_equal(object_encoding_name(o), i <= 128 ? "listpack" : "skiplist");
        assert_int_equal(zset_add(o, slice_of(digits, num_print_i64(digits, i)), 0, &score),
                         ZSET_ADDED);
    }
    check_written(o);
    object_free(&o);
    o = zset_new(key);
    char longest[65];
    double score = 0;
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(zset_add(o, slice_of(longest, 64), 0, &score), ZSET_ADDED);
    assert_string_equal(object_encoding_name(o), "listpack");
    assert_int_equal(zset_add(o, slice_of(longest, 65), 0, &score), ZSET_ADDED);
    assert_string_equal(object_encoding_name(o), "skiplist");
    object_free(&o);
}

static void test_drafts(void **state)
{
    (void)state;
    for (int n = 100; n <= 300; n += 200) {
        struct zset_draft *d = zset_draft_new();
        struct object *o = zset_new(key);
        for (int i = 0; i < n; i++) {
            char name[20];
            struct slice member = slice_of(name, (size_t)snprintf(name, sizeof(name), "m%d", i));
            double score = i * 7919 % 1000;
            assert_null(zset_draft_find(d, member));
            zset_draft_add(d, member, 0);
            *zset_draft_find(d, member) = score;
            assert_int_equal(zset_add(o, member, 0, &score), ZSET_ADDED);
        }
        assert_int_equal(zset_draft_count(d), n);
        struct object *made = zset_draft_done(&d, key, true);
        assert_null(d);
        assert_equal(o, made);
        assert_string_equal(object_encoding_name(o), object_encoding_name(made));
        object_free(&o);
        object_free(&made);
    }
    struct zset_draft *d = zset_draft_new();
    zset_draft_add(d, SLICE("x"), 1);
    zset_draft_free(&d);
    assert_null(d);
}

static struct object *read(unsigned type, struct slice bytes)
{
    struct str scratch = {0};
    struct object *o = rdb_read_value(&bytes, type, key, OBJECT_NO_EXPIRE, &scratch);
    str_fini(&scratch);
    return o;
}

static void test_old_and_strange_forms(void **state)
{
    (void)state;
    /* Scores as text, an infinite one among them. */
    struct object *o = read(RDB_TYPE_ZSET, SLICE("\2\1a\0031.5\1b\376"));
    double score;
    assert_true(zset_score(o, SLICE("a"), &score));
    assert_true(score == 1.5);
    assert_true(zset_score(o, SLICE("b"), &score));
    assert_true(isinf(score));
    object_free(&o);
    /* A listpack that is in no order is put in order. */
    o = read(RDB_TYPE_ZSET_LISTPACK, SLICE("\21\21\0\0\0\4\0\201b\2\2\1\201a\2\1\1\377"));
    assert_non_null(o);
    struct zset_element e = zset_at(o, 0);
    assert_memory_equal(e.member.ptr, "a", 1);
    object_free(&o);
    const struct {
        unsigned type;
        struct slice bytes;
    } bad[] = {
        {RDB_TYPE_ZSET, SLICE("\0")},
        {RDB_TYPE_ZSET, SLICE("\1\1a\375")},    /* NaN */
        {RDB_TYPE_ZSET, SLICE("\1\1a\3abc")},   /* no number */
        {RDB_TYPE_ZSET, SLICE("\1\1a\3001.5")}, /* too short */
        {RDB_TYPE_ZSET_2, SLICE("\1\1a1234567")},
        {RDB_TYPE_ZSET_2, SLICE("\1\1a\0\0\0\0\0\0\370\177")},                 /* NaN */
        {RDB_TYPE_ZSET_2, SLICE("\2\1a\0\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\0")},  /* twice */
        {RDB_TYPE_ZSET_LISTPACK, SLICE("\7\7\0\0\0\0\0\377")},                 /* empty */
        {RDB_TYPE_ZSET_LISTPACK, SLICE("\12\12\0\0\0\1\0\201a\2\377")},        /* no score */
        {RDB_TYPE_ZSET_LISTPACK, SLICE("\15\15\0\0\0\2\0\201a\2\201b\2\377")}, /* no number */
        {RDB_TYPE_ZSET_LISTPACK, SLICE("\21\21\0\0\0\4\0\201a\2\1\1\201a\2\2\1\377")}, /* twice */
        {RDB_TYPE_ZSET_ZIPLIST, SLICE("\13\13\0\0\0\12\0\0\0\0\0\377")},               /* empty */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (read(bad[i].type, bad[i].bytes) != NULL) {
            fail_msg("%zu", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_encodings_do_the_same),
        cmocka_unit_test(test_what_grows_becomes_a_tree),
        cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_old_and_strange_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
