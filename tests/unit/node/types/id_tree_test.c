// SPDX-License-Identifier: BSD-3-Clause
/* The ordered map of ids against a sorted array. */
#include "node/types/id_tree.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

#define IDS 5000

struct model {
    struct id_tree tree;
    size_t memory;
    struct stream_id ids[IDS];
    uint64_t values[IDS];
    size_t n;
};

static size_t place(const struct model *m, struct stream_id id)
{
    size_t low = 0;
    while (low < m->n && stream_id_less(m->ids[low], id)) {
        low++;
    }
    return low;
}

static void put(struct model *m, struct stream_id id, uint64_t value)
{
    size_t at = place(m, id);
    bool is_old = at < m->n && stream_id_equal(m->ids[at], id);
    bool is_new;
    char *to = id_tree_put(&m->tree, id, &is_new, &m->memory);
    assert_int_equal(is_new, !is_old);
    if (!is_old) {
        uint64_t zero = 0;
        assert_memory_equal(to, &zero, m->tree.value_size);
        memmove(m->ids + at + 1, m->ids + at, (m->n - at) * sizeof(m->ids[0]));
        memmove(m->values + at + 1, m->values + at, (m->n - at) * sizeof(m->values[0]));
        m->n++;
    }
    m->ids[at] = id;
    m->values[at] = value;
    memcpy(to, &value, m->tree.value_size);
}

static void take(struct model *m, struct stream_id id)
{
    size_t at = place(m, id);
    bool is_there = at < m->n && stream_id_equal(m->ids[at], id);
    assert_int_equal(id_tree_remove(&m->tree, id, &m->memory), is_there);
    if (is_there) {
        m->n--;
        memmove(m->ids + at, m->ids + at + 1, (m->n - at) * sizeof(m->ids[0]));
        memmove(m->values + at, m->values + at + 1, (m->n - at) * sizeof(m->values[0]));
    }
}

static void check_at(const struct model *m, const struct id_at *at, size_t i)
{
    assert_int_equal(at->valid, i < m->n);
    if (at->valid) {
        assert_true(stream_id_equal(at->id, m->ids[i]));
        assert_memory_equal(at->value, &m->values[i], m->tree.value_size);
    }
}

static void check(const struct model *m, struct rng *rng)
{
    assert_int_equal(m->tree.count, m->n);
    struct id_at at;
    size_t i = 0;
    for (id_tree_seek(&m->tree, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        check_at(m, &at, i++);
    }
    assert_int_equal(i, m->n);
    for (id_tree_seek_back(&m->tree, STREAM_ID_MAX, &at); at.valid; id_at_prev(&at)) {
        check_at(m, &at, --i);
    }
    assert_int_equal(i, 0);
    for (int k = 0; k < 20; k++) {
        struct stream_id id = {rng_below(rng, 2 * IDS), rng_below(rng, 2)};
        size_t p = place(m, id);
        id_tree_seek(&m->tree, id, &at);
        check_at(m, &at, p);
        bool is_there = p < m->n && stream_id_equal(m->ids[p], id);
        assert_int_equal(id_tree_find(&m->tree, id) != NULL, is_there);
        id_tree_seek_back(&m->tree, id, &at);
        check_at(m, &at, is_there ? p : p == 0 ? SIZE_MAX : p - 1);
    }
}

/* Phases of growing at the end, at random, and of shrinking from the front and at random. */
static void run(size_t value_size, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct model *m = mem_zalloc(sizeof(*m));
    m->tree = id_tree_empty(value_size);
    uint64_t next = 0;
    for (int round = 0; round < 60; round++) {
        uint64_t kind = rng_below(&rng, 5);
        for (uint64_t steps = rng_below(&rng, 1500); steps > 0; steps--) {
            struct stream_id any = {rng_below(&rng, 2 * IDS), rng_below(&rng, 2)};
            if (m->n < IDS && kind == 0) {
                put(m, (struct stream_id){next++ % (2 * IDS), 0}, rng_next(&rng));
            } else if (m->n < IDS && kind <= 2) {
                put(m, any, rng_next(&rng));
            } else if (m->n > 0 && kind == 3) {
                take(m, m->ids[rng_below(&rng, MIN(m->n, (size_t)20))]);
            } else if (m->n > 0) {
                take(m, m->ids[rng_below(&rng, m->n)]);
            }
            take(m, (struct stream_id){rng_below(&rng, 2 * IDS), 5});
        }
        check(m, &rng);
    }
    while (m->n > 0) {
        take(m, m->ids[rng_below(&rng, m->n)]);
    }
    check(m, &rng);
    assert_int_equal(m->memory, 0);
    assert_int_equal(m->tree.nodes, 0);
    for (uint64_t i = 0; i < 3000; i++) {
        put(m, (struct stream_id){i, i}, i);
    }
    /* What comes in order fills its nodes. */
    assert_true(m->memory < 3000 * (sizeof(struct stream_id) + value_size) * 11 / 10);
    id_tree_clear(&m->tree, &m->memory);
    assert_int_equal(m->memory, 0);
    m->n = 0;
    check(m, &rng);
    mem_free(m);
}

static void test_as_a_sorted_array(void **state)
{
    (void)state;
    run(8, 1);
    run(0, 2);
    run(8, 3);
}

static void test_ids(void **state)
{
    (void)state;
    struct stream_id id = {7, UINT64_MAX};
    assert_true(stream_id_increment(&id));
    assert_true(stream_id_equal(id, (struct stream_id){8, 0}));
    assert_true(stream_id_decrement(&id));
    assert_true(stream_id_equal(id, (struct stream_id){7, UINT64_MAX}));
    id = STREAM_ID_MAX;
    assert_false(stream_id_increment(&id));
    id = STREAM_ID_MIN;
    assert_false(stream_id_decrement(&id));
    char text[STREAM_ID_TEXT];
    assert_int_equal(stream_id_print(text, STREAM_ID_MAX), 41);
    assert_memory_equal(text, "18446744073709551615-18446744073709551615", 41);
    char bytes[16];
    stream_id_store(bytes, (struct stream_id){1, 2});
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2", 16);
    assert_true(stream_id_equal(stream_id_load(bytes), (struct stream_id){1, 2}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_a_sorted_array),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
