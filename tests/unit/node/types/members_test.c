// SPDX-License-Identifier: BSD-3-Clause
/* The table of members against a model: an array that says which of some numbered names are in. */
#include "node/types/members.h"

#include "common/base/mem.h"

#include "tests/unit/unit.h"

#include <stdio.h>

enum { HEAD = 8 };

struct model {
    struct members *m;
    struct rng rng;
    size_t n;
    void **in; /* the entry of each name; NULL: not there */
    size_t count;
};

/* Some are long. */
static struct slice name_of(size_t i, char to[400])
{
    int len = snprintf(to, 400, "name:%zu", i);
    if (i % 97 == 0) {
        memset(to + len, 'x', 300);
        len += 300;
    }
    return slice_of(to, (size_t)len);
}

static void model_open(struct model *t, size_t n)
{
    *t = (struct model){.m = members_new(HEAD), .n = n};
    t->in = mem_zalloc(n * sizeof(void *));
    rng_init(&t->rng, 5);
}

static void model_close(struct model *t)
{
    for (size_t i = 0; i < t->n; i++) {
        mem_free(t->in[i]);
    }
    mem_free(t->in);
    members_free(&t->m);
}

static void put(struct model *t, size_t i)
{
    char text[400];
    struct slice name = name_of(i, text);
    uint64_t hash = members_hash(t->m, name);
    assert_ptr_equal(members_find(t->m, hash, name), t->in[i]);
    void *entry = mem_alloc(HEAD + member_name_size(name.len));
    member_put_name(entry, HEAD, name);
    if (t->in[i] == NULL) {
        members_add(t->m, hash, entry);
        t->count++;
    } else {
        members_replace(t->m, hash, t->in[i], entry);
        mem_free(t->in[i]);
    }
    t->in[i] = entry;
    assert_ptr_equal(members_find(t->m, hash, name), entry);
}

static void take(struct model *t, size_t i)
{
    char text[400];
    struct slice name = name_of(i, text);
    uint64_t hash = members_hash(t->m, name);
    assert_ptr_equal(members_take(t->m, hash, name), t->in[i]);
    t->count -= t->in[i] != NULL;
    mem_free(t->in[i]);
    t->in[i] = NULL;
    assert_null(members_find(t->m, hash, name));
}

static void check(struct model *t)
{
    members_check(t->m);
    assert_int_equal(members_count(t->m), t->count);
    size_t walked = 0;
    struct members_walk w = {0};
    while (members_next(t->m, &w) != NULL) {
        walked++;
    }
    assert_int_equal(walked, t->count);
}

static void test_it_holds_what_was_put_in(void **state)
{
    (void)state;
    struct model t;
    model_open(&t, 30000);
    /* It grows, then it shrinks, several times. */
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 40000; i++) {
            size_t at = rng_below(&t.rng, t.n);
            if (rng_below(&t.rng, 10) < (round % 2 == 0 ? 9 : 1)) {
                put(&t, at);
            } else {
                take(&t, at);
            }
            if (i % 5000 == 0) {
                check(&t);
            }
        }
        check(&t);
    }
    for (size_t i = 0; i < t.n; i++) {
        take(&t, i);
    }
    check(&t);
    assert_int_equal(t.count, 0);
    assert_true(members_memory(t.m) < 200);
    model_close(&t);
}

static void test_small_ones_too(void **state)
{
    (void)state;
    struct model t;
    model_open(&t, 40);
    for (int i = 0; i < 20000; i++) {
        size_t at = rng_below(&t.rng, t.n);
        if (rng_below(&t.rng, 2) == 0) {
            put(&t, at);
        } else {
            take(&t, at);
        }
        check(&t);
    }
    model_close(&t);
}

static void test_an_entry_costs_less_than_twelve_bytes(void **state)
{
    (void)state;
    struct model t;
    model_open(&t, 200000);
    for (size_t i = 0; i < t.n; i++) {
        put(&t, i);
        if (i > 1000 && i % 997 == 0) {
            assert_true(members_memory(t.m) < i * 12);
        }
    }
    model_close(&t);
}

static void test_it_goes_bit_by_bit(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 3, 400, 20000};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        struct model t;
        model_open(&t, MAX(sizes[k], 1));
        for (size_t i = 0; i < sizes[k]; i++) {
            put(&t, i);
        }
        uint64_t freed = 0;
        uint64_t steps = 0;
        uint64_t before = 0;
        while (members_drain(t.m, 50, &freed)) {
            assert_true(freed > before && freed < before + 600);
            before = freed;
            steps++;
        }
        assert_int_equal(freed, sizes[k]);
        assert_true(steps >= sizes[k] / 600);
        members_free(&t.m);
        mem_free(t.in);
    }
}

/* ---- scans ---- */

struct seen {
    struct model *t;
    unsigned char *of;
    size_t visited;
};

static void see(void *arg, void *entry)
{
    struct seen *s = arg;
    struct slice name = member_name(entry, HEAD);
    size_t i = 0;
    for (size_t at = 5; at < name.len && name.ptr[at] != 'x'; at++) {
        i = i * 10 + (size_t)(name.ptr[at] - '0');
    }
    assert_ptr_equal(s->t->in[i], entry);
    s->of[i] = 1;
    s->visited++;
}

/* Names below `stay` are there all the time, the others come and go between the steps. */
static void scan_while_it_changes(size_t n, size_t stay, int grows)
{
    struct model t;
    model_open(&t, n);
    for (size_t i = 0; i < (grows > 0 ? stay : n); i++) {
        put(&t, i);
    }
    struct seen s = {.t = &t, .of = mem_zalloc(n)};
    uint64_t cursor = 0;
    do {
        cursor = members_scan(t.m, cursor, see, &s);
        assert_true(cursor < UINT64_C(1) << 48);
        for (int i = 0; i < 20; i++) {
            size_t at = stay + rng_below(&t.rng, n - stay);
            if (rng_below(&t.rng, 10) < (unsigned)grows) {
                put(&t, at);
            } else {
                take(&t, at);
            }
        }
    } while (cursor != 0);
    for (size_t i = 0; i < stay; i++) {
        assert_int_equal(s.of[i], 1);
    }
    mem_free(s.of);
    model_close(&t);
}

static void test_a_scan_misses_none_that_stays(void **state)
{
    (void)state;
    scan_while_it_changes(20000, 1000, 9);
    scan_while_it_changes(20000, 1000, 1);
    scan_while_it_changes(20000, 50, 9);
    scan_while_it_changes(3000, 5, 1);
    scan_while_it_changes(30, 10, 5);
}

static void test_a_scan_visits_each_once_while_nothing_changes(void **state)
{
    (void)state;
    struct model t;
    model_open(&t, 5000);
    for (size_t i = 0; i < t.n; i++) {
        put(&t, i);
    }
    struct seen s = {.t = &t, .of = mem_zalloc(t.n)};
    uint64_t cursor = 0;
    uint64_t steps = 0;
    do {
        cursor = members_scan(t.m, cursor, see, &s);
        steps++;
    } while (cursor != 0);
    assert_int_equal(s.visited, t.n);
    assert_true(steps > t.n / 2);
    /* Any number is a cursor. */
    for (int i = 0; i < 1000; i++) {
        members_scan(t.m, rng_next(&t.rng), see, &s);
    }
    mem_free(s.of);
    model_close(&t);
}

/* ---- by chance ---- */

static void random_is_even(size_t n)
{
    struct model t;
    model_open(&t, n);
    for (size_t i = 0; i < n; i++) {
        put(&t, i);
    }
    struct seen s = {.t = &t, .of = mem_zalloc(n)};
    size_t *drawn = mem_zalloc(n * sizeof(*drawn));
    for (size_t i = 0; i < 100 * n; i++) {
        struct slice name = member_name(members_random(t.m, &t.rng), HEAD);
        size_t at = 0;
        for (size_t k = 5; k < name.len && name.ptr[k] != 'x'; k++) {
            at = at * 10 + (size_t)(name.ptr[k] - '0');
        }
        drawn[at]++;
    }
    double chi = 0;
    for (size_t i = 0; i < n; i++) {
        double off = (double)drawn[i] - 100;
        chi += off * off / 100;
    }
    /* As many degrees of freedom; five deviations of sqrt(2n). */
    assert_true((chi - (double)n) * (chi - (double)n) < 25.0 * 2 * (double)n);
    mem_free(drawn);
    mem_free(s.of);
    model_close(&t);
}

static void test_each_is_as_likely(void **state)
{
    (void)state;
    random_is_even(1);
    random_is_even(10);
    random_is_even(300);
    random_is_even(5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds_what_was_put_in),
        cmocka_unit_test(test_small_ones_too),
        cmocka_unit_test(test_an_entry_costs_less_than_twelve_bytes),
        cmocka_unit_test(test_it_goes_bit_by_bit),
        cmocka_unit_test(test_a_scan_misses_none_that_stays),
        cmocka_unit_test(test_a_scan_visits_each_once_while_nothing_changes),
        cmocka_unit_test(test_each_is_as_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
