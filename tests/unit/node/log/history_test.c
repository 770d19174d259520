// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/history.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct history history_of(const uint64_t *terms, size_t n)
{
    struct history h = {0};
    for (size_t i = 0; i < n; i++) {
        history_add(&h, terms[i]);
    }
    return h;
}

static void test_terms_of_versions(void **state)
{
    (void)state;
    struct history h = history_of((uint64_t[]){1, 1, 4, 4, 4, 9}, 6);
    assert_int_equal(h.version, 6);
    assert_int_equal(h.n, 3);
    assert_int_equal(history_term(&h), 9);
    assert_int_equal(history_term_at(&h, 2), 1);
    assert_int_equal(history_term_at(&h, 3), 4);
    assert_int_equal(history_term_at(&h, 5), 4);
    assert_int_equal(history_term_at(&h, 6), 9);
    assert_int_equal(history_term_at(&h, 7), 0);
    assert_true(history_has(&h, 4, 5));
    assert_false(history_has(&h, 1, 5));
    assert_false(history_has(&h, 9, 7));
    assert_true(history_has(&h, 0, 0));
    struct history none = {0};
    assert_int_equal(history_term(&none), 0);
    assert_true(history_has(&none, 0, 0));
    assert_false(history_has(&none, 1, 1));
}

static void test_old_terms_are_forgotten_not_invented(void **state)
{
    (void)state;
    struct history h = {0};
    for (uint64_t t = 1; t <= HISTORY_MAX + 10; t++) {
        history_add(&h, t);
    }
    assert_int_equal(history_term_at(&h, 10), 0);
    assert_false(history_has(&h, 10, 10));
    assert_int_equal(history_term_at(&h, 11), 11);
    assert_int_equal(history_term(&h), HISTORY_MAX + 10);
}

static void test_encoded_and_back(void **state)
{
    (void)state;
    struct history h = history_of((uint64_t[]){1, 1, 4, 4, 4, 9}, 6);
    struct str s = {0};
    history_encode(&h, &s);
    struct history got;
    assert_true(history_decode(str_slice(&s), &got));
    assert_memory_equal(&got, &h, sizeof(h));
    for (size_t n = 0; n < s.len; n++) {
        assert_false(history_decode(slice_of(s.ptr, n), &got));
    }
    s.ptr[8] = 2; /* one item fewer than there are */
    assert_false(history_decode(str_slice(&s), &got));
    str_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms_of_versions),
        cmocka_unit_test(test_old_terms_are_forgotten_not_invented),
        cmocka_unit_test(test_encoded_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
