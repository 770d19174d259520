// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/heap.h"

#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NODES 300

static struct heap_node *slow_min(struct heap_node *nodes)
{
    struct heap_node *min = NULL;
    for (int i = 0; i < NODES; i++) {
        if (heap_holds(&nodes[i]) && (min == NULL || nodes[i].key < min->key)) {
            min = &nodes[i];
        }
    }
    return min;
}

static void test_the_smallest_is_on_top(void **state)
{
    (void)state;
    struct heap h = {0};
    struct heap_node nodes[NODES] = {0};
    struct rng rng;
    size_t count = 0;
    rng_init(&rng, 10);
    assert_null(heap_min(&h));
    for (int round = 0; round < 50000; round++) {
        struct heap_node *n = &nodes[rng_below(&rng, NODES)];
        int64_t key = (int64_t)rng_below(&rng, 200) - 100;
        if (!heap_holds(n)) {
            heap_insert(&h, n, key);
            count++;
        } else if (rng_below(&rng, 2) == 0) {
            heap_update(&h, n, key);
        } else {
            heap_remove(&h, n);
            count--;
        }
        assert_int_equal(h.count, count);
        const struct heap_node *want = slow_min(nodes);
        if (want == NULL) {
            assert_null(heap_min(&h));
        } else {
            assert_true(heap_min(&h)->key == want->key);
        }
    }
    heap_fini(&h);
}

static void test_taking_the_top_sorts(void **state)
{
    (void)state;
    struct heap h = {0};
    struct heap_node nodes[NODES] = {0};
    struct rng rng;
    rng_init(&rng, 11);
    for (int i = 0; i < NODES; i++) {
        heap_insert(&h, &nodes[i], (int64_t)rng_next(&rng));
    }
    int64_t last = INT64_MIN;
    for (int i = 0; i < NODES; i++) {
        struct heap_node *n = heap_min(&h);
        assert_true(n->key >= last);
        last = n->key;
        heap_remove(&h, n);
        assert_false(heap_holds(n));
    }
    assert_null(heap_min(&h));
    heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_smallest_is_on_top),
        cmocka_unit_test(test_taking_the_top_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
