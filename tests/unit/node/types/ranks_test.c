// SPDX-License-Identifier: BSD-3-Clause
/* The tree of ranks against a sorted array. */
#include "node/types/ranks.h"

#include "node/types/members.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>

struct model {
    struct ranks *r;
    struct rng rng;
    void **of; /* n entries in their order */
    size_t n;
    size_t cap;
    int next; /* names */
};

static void model_open(struct model *m, size_t cap)
{
    *m = (struct model){.r = ranks_new(), .cap = cap};
    m->of = mem_alloc(cap * sizeof(void *));
    rng_init(&m->rng, 3);
}

static void model_close(struct model *m)
{
    for (size_t i = 0; i < m->n; i++) {
        mem_free(m->of[i]);
    }
    mem_free(m->of);
    ranks_free(&m->r);
}

static int compare(const void *a, const void *b)
{
    double x = ranks_score(a);
    double y = ranks_score(b);
    struct slice s = member_name(a, RANKS_HEAD);
    struct slice t = member_name(b, RANKS_HEAD);
    if (x != y) {
        return x < y ? -1 : 1;
    }
    int c = memcmp(s.ptr, t.ptr, MIN(s.len, t.len));
    return c != 0 ? c : (int)s.len - (int)t.len;
}

static size_t place_in(const struct model *m, const void *entry)
{
    size_t low = 0;
    size_t high = m->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(m->of[middle], entry) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void put(struct model *m, double score)
{
    char name[20];
    int len = snprintf(name, sizeof(name), "%d", m->next++ * 7919 % 1000003);
    struct slice s = slice_of(name, (size_t)len);
    void *entry = mem_alloc(RANKS_HEAD + member_name_size(s.len));
    memcpy(entry, &score, sizeof(score));
    member_put_name(entry, RANKS_HEAD, s);
    ranks_add(m->r, entry);
    size_t at = place_in(m, entry);
    memmove(m->of + at + 1, m->of + at, (m->n - at) * sizeof(void *));
    m->of[at] = entry;
    m->n++;
}

static void drop(struct model *m, size_t i)
{
    ranks_remove(m->r, m->of[i]);
    mem_free(m->of[i]);
    m->n--;
    memmove(m->of + i, m->of + i + 1, (m->n - i) * sizeof(void *));
}

static void rescore(struct model *m, size_t i, double score)
{
    void *entry = m->of[i];
    ranks_rescore(m->r, entry, score);
    assert_true(ranks_score(entry) == score);
    m->n--;
    memmove(m->of + i, m->of + i + 1, (m->n - i) * sizeof(void *));
    size_t at = place_in(m, entry);
    memmove(m->of + at + 1, m->of + at, (m->n - at) * sizeof(void *));
    m->of[at] = entry;
    m->n++;
}

static void free_entry(void *arg, void *entry)
{
    struct model *m = arg;
    assert_ptr_equal(entry, m->of[m->next]);
    m->of[m->next++] = NULL;
    mem_free(entry);
}

static void drop_range(struct model *m, size_t i, size_t n)
{
    int next = m->next;
    m->next = (int)i;
    ranks_remove_range(m->r, i, n, free_entry, m);
    assert_int_equal(m->next, i + n);
    m->next = next;
    m->n -= n;
    memmove(m->of + i, m->of + i + n, (m->n - i) * sizeof(void *));
}

static void check(const struct model *m)
{
    ranks_check(m->r);
    assert_int_equal(ranks_count(m->r), m->n);
    if (m->n == 0) {
        return;
    }
    struct ranks_walk up = ranks_seek(m->r, 0);
    struct ranks_walk down = ranks_seek(m->r, m->n - 1);
    for (size_t i = 0; i < m->n; i++) {
        assert_ptr_equal(ranks_up(&up), m->of[i]);
        assert_ptr_equal(ranks_down(&down), m->of[m->n - 1 - i]);
    }
    assert_null(ranks_up(&up));
    assert_null(ranks_down(&down));
}

/* How many are below some places. */
static void check_places(struct model *m)
{
    for (int k = 0; k < 20 && m->n > 0; k++) {
        size_t i = rng_below(&m->rng, m->n);
        double score = ranks_score(m->of[i]);
        struct ranks_place at = {.score = score, .name = member_name(m->of[i], RANKS_HEAD)};
        assert_int_equal(ranks_below(m->r, &at), i);
        at.behind = true;
        assert_int_equal(ranks_below(m->r, &at), i + 1);
        at = (struct ranks_place){.score = score};
        size_t low = i;
        while (low > 0 && ranks_score(m->of[low - 1]) == score) {
            low--;
        }
        assert_int_equal(ranks_below(m->r, &at), low);
        at.behind = true;
        while (i < m->n && ranks_score(m->of[i]) == score) {
            i++;
        }
        assert_int_equal(ranks_below(m->r, &at), i);
        struct ranks_walk w = ranks_seek(m->r, low);
        assert_ptr_equal(ranks_up(&w), m->of[low]);
    }
}

static double some_score(struct model *m)
{
    return rng_below(&m->rng, 3) == 0 ? (double)rng_below(&m->rng, 20)
                                      : (double)rng_below(&m->rng, 100000) / 7;
}

static void one_step(struct model *m, unsigned grows)
{
    if (m->n == 0 || (rng_below(&m->rng, 10) < grows && m->n + 1 < m->cap)) {
        put(m, some_score(m));
    } else if (rng_below(&m->rng, 3) == 0) {
        size_t i = rng_below(&m->rng, m->n);
        double near = ranks_score(m->of[i]) + (rng_below(&m->rng, 2) == 0 ? 0.5 : -0.25);
        rescore(m, i, rng_below(&m->rng, 2) == 0 ? near : some_score(m));
    } else {
        drop(m, rng_below(&m->rng, m->n));
    }
}

static void test_it_is_in_order_whatever_happens(void **state)
{
    (void)state;
    struct model m;
    model_open(&m, 20000);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 12000; i++) {
            one_step(&m, round % 2 == 0 ? 9 : 2);
            if (i % 1000 == 0) {
                check(&m);
                check_places(&m);
            }
        }
    }
    while (m.n > 0) {
        size_t i = rng_below(&m.rng, m.n);
        size_t most = MIN(m.n - i, (size_t)500);
        drop_range(&m, i, 1 + rng_below(&m.rng, most));
        check(&m);
    }
    assert_true(ranks_memory(m.r) < 200);
    model_close(&m);
}

static void test_small_ones_too(void **state)
{
    (void)state;
    struct model m;
    model_open(&m, 150);
    for (int i = 0; i < 20000; i++) {
        one_step(&m, 5);
        check(&m);
        check_places(&m);
    }
    model_close(&m);
}

static void test_ranges_of_a_tall_tree(void **state)
{
    (void)state;
    struct model m;
    model_open(&m, 150000);
    for (int i = 0; i < 120000; i++) {
        double score = i;
        put(&m, score);
    }
    check(&m);
    /* Full leaves, as they came in their order. */
    assert_true(ranks_memory(m.r) < m.n * 19);
    drop_range(&m, 50000, 30000);
    check(&m);
    drop_range(&m, 0, 40000);
    check(&m);
    check_places(&m);
    drop_range(&m, m.n - 20000, 20000);
    check(&m);
    drop_range(&m, 0, m.n);
    check(&m);
    model_close(&m);
}

static void test_the_other_way_round(void **state)
{
    (void)state;
    struct model m;
    model_open(&m, 20000);
    for (int i = 0; i < 20000; i++) {
        put(&m, -i);
    }
    check(&m);
    assert_true(ranks_memory(m.r) < m.n * 19);
    while (m.n > 0) {
        drop(&m, 0);
        if (m.n % 1000 == 0) {
            check(&m);
        }
    }
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_in_order_whatever_happens),
        cmocka_unit_test(test_small_ones_too),
        cmocka_unit_test(test_ranges_of_a_tall_tree),
        cmocka_unit_test(test_the_other_way_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
