// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/mem.h"

#include "common/base/obj.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_used_follows_allocation_and_free(void **state)
{
    (void)state;
    size_t before = mem_used();
    char *p = mem_alloc(1000000);
    memset(p, 1, 1000000);
    assert_true(mem_size(p) >= 1000000);
    assert_int_equal(mem_used() - before, mem_size(p));
    p = mem_realloc(p, 3000000);
    assert_int_equal(p[999999], 1);
    assert_int_equal(mem_used() - before, mem_size(p));
    mem_free(p);
    assert_int_equal(mem_used(), before);
    mem_free(NULL);
    assert_int_equal(mem_size(NULL), 0);
}

static void test_copies_and_zeroes(void **state)
{
    (void)state;
    char *z = mem_zalloc(1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(z[i], 0);
    }
    char *s = mem_strdup("text");
    assert_string_equal(s, "text");
    char *m = mem_memdup("a\0b", 3);
    assert_memory_equal(m, "a\0b", 3);
    char *e = mem_alloc(0); /* something to free, if nothing to use */
    mem_free(z);
    mem_free(s);
    mem_free(m);
    mem_free(e);
}

static void test_try_alloc_refuses_what_is_not_to_be_had(void **state)
{
    (void)state;
    assert_null(mem_try_alloc(SIZE_MAX - 100));
    char *p = mem_try_alloc(100);
    assert_non_null(p);
    mem_free(p);
}

static void *allocate_and_publish(void *arg)
{
    char **to = arg;
    *to = mem_alloc(5000000);
    (*to)[0] = 'x';
    mem_publish();
    return NULL;
}

static void test_other_threads_count_once_they_publish(void **state)
{
    (void)state;
    char *p = NULL;
    pthread_t thread;
    size_t before = mem_used();
    assert_int_equal(pthread_create(&thread, NULL, allocate_and_publish, &p), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(mem_used() - before, 5000000, 6000000);
    /* Freed here, allocated there: the sum is right nevertheless. */
    mem_free(p);
    assert_true(mem_used() < before + 100000);
    mem_publish();
    assert_true(mem_used() < before + 100000);
}

static void test_stats_are_filled(void **state)
{
    (void)state;
    struct mem_stats stats;
    char *p = mem_alloc(1000000);
    memset(p, 1, 1000000);
    mem_stats(&stats);
    assert_true(stats.used >= 1000000);
    assert_true(stats.rss >= 1000000);
    assert_true(strcmp(stats.name, "libc") == 0 || strncmp(stats.name, "jemalloc-", 9) == 0);
    assert_true(strcmp(stats.name, "libc") == 0 || stats.resident >= stats.active);
    mem_free(p);
    mem_purge();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_follows_allocation_and_free),
        cmocka_unit_test(test_copies_and_zeroes),
        cmocka_unit_test(test_try_alloc_refuses_what_is_not_to_be_had),
        cmocka_unit_test(test_other_threads_count_once_they_publish),
        cmocka_unit_test(test_stats_are_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
