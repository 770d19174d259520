// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/hmap.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ITEMS 5000

struct item {
    struct hmap_node node;
    uint64_t key;
    bool in;
    int walked;
};

static struct item *find(const struct hmap *m, uint64_t key, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(m, hash); n != NULL; n = hmap_same(n)) {
        struct item *item = container_of(n, struct item, node);
        if (item->key == key) {
            return item;
        }
    }
    return NULL;
}

/* Few hashes for many keys, some equal in all bits, some only in those that pick the bucket. */
static uint64_t hash_of(uint64_t key)
{
    return key % 700 << 3 | (key % 2 == 0 ? 0 : 5ULL << 50);
}

static void check_all(const struct hmap *m, struct item *items)
{
    size_t count = 0;
    HMAP_FOREACH(n, m) {
        struct item *item = container_of(n, struct item, node);
        assert_true(item->in);
        item->walked++;
        count++;
    }
    assert_int_equal(count, m->count);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(items[i].walked, items[i].in);
        items[i].walked = 0;
        struct item *found = find(m, items[i].key, hash_of(items[i].key));
        assert_ptr_equal(found, items[i].in ? &items[i] : NULL);
    }
}

static void test_a_map_holds_what_was_put_in(void **state)
{
    (void)state;
    struct hmap m = {0};
    struct rng rng;
    struct item *items = mem_zalloc(ITEMS * sizeof *items);
    rng_init(&rng, 9);
    assert_null(hmap_first(&m, 1));
    assert_null(hmap_begin(&m));
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i].key = i;
    }
    for (int round = 0; round < 50000; round++) {
        struct item *item = &items[rng_below(&rng, round < 25000 ? 500 : ITEMS)];
        if (item->in) {
            hmap_remove(&m, &item->node);
        } else {
            hmap_insert(&m, &item->node, hash_of(item->key));
        }
        item->in = !item->in;
        if (round % 5000 == 0) {
            check_all(&m, items);
        }
    }
    check_all(&m, items);
    for (int i = 0; i < ITEMS; i++) {
        if (items[i].in) {
            hmap_remove(&m, &items[i].node);
        }
    }
    assert_int_equal(m.count, 0);
    assert_null(hmap_begin(&m));
    hmap_fini(&m);
    mem_free(items);
}

static void test_the_current_one_may_go_during_a_walk(void **state)
{
    (void)state;
    struct hmap m = {0};
    struct item items[100] = {0};
    for (uint64_t i = 0; i < 100; i++) {
        items[i].key = i;
        hmap_insert(&m, &items[i].node, hash_of(i));
    }
    size_t walked = 0;
    for (struct hmap_node *n = hmap_begin(&m), *next; n != NULL; n = next, walked++) {
        next = hmap_next(&m, n);
        if (container_of(n, struct item, node)->key % 3 == 0) {
            hmap_remove(&m, n);
        }
    }
    assert_int_equal(walked, 100);
    assert_int_equal(m.count, 66);
    hmap_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_map_holds_what_was_put_in),
        cmocka_unit_test(test_the_current_one_may_go_during_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
