// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/str.h"

#include "common/base/list.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_an_empty_one_needs_nothing(void **state)
{
    (void)state;
    struct str s = {0};
    assert_string_equal(str_cstr(&s), "");
    assert_int_equal(str_slice(&s).len, 0);
    str_append(&s, NULL, 0);
    str_clear(&s);
    assert_null(s.ptr);
    char *text = str_steal(&s);
    assert_string_equal(text, "");
    mem_free(text);
    str_fini(&s);
}

static void test_appending(void **state)
{
    (void)state;
    struct str s = {0};
    str_append(&s, "abc", 2);
    str_appendz(&s, "-z");
    str_append_slice(&s, SLICE("-s"));
    str_append_char(&s, '!');
    str_append_int(&s, -12);
    str_printf(&s, " %s %d", "x", 5);
    assert_string_equal(str_cstr(&s), "ab-z-s!-12 x 5");
    assert_int_equal(s.len, strlen(s.ptr));
    str_clear(&s);
    assert_string_equal(str_cstr(&s), "");
    memcpy(str_reserve(&s, 3), "new", 3);
    s.len += 3;
    char *text = str_steal(&s);
    assert_memory_equal(text, "new", 3);
    assert_int_equal(s.len, 0);
    assert_null(s.ptr);
    mem_free(text);
}

static void test_growing_keeps_the_bytes(void **state)
{
    (void)state;
    struct str s = {0};
    for (int i = 0; i < 200000; i++) {
        str_append_char(&s, (char)i);
        assert_int_equal(s.ptr[s.len], 0);
    }
    for (int i = 0; i < 200000; i++) {
        assert_int_equal(s.ptr[i], (char)i);
    }
    str_fini(&s);
}

static void test_formats_of_any_length(void **state)
{
    (void)state;
    char wide[1000];
    memset(wide, 'w', sizeof wide);
    for (int len = 0; len < 999; len++) {
        struct str s = {0};
        str_appendz(&s, "<");
        str_printf(&s, "%.*s>", len, wide);
        assert_int_equal(s.len, (size_t)len + 2);
        assert_int_equal(strlen(s.ptr), s.len);
        assert_int_equal(s.ptr[s.len - 1], '>');
        str_fini(&s);
    }
}

static void test_quoting_shows_every_byte(void **state)
{
    (void)state;
    struct str s = {0};
    str_append_quoted(&s, SLICE("a\0\"\\\n\r\t\a\b\x7f\xff~ "));
    assert_string_equal(str_cstr(&s), "\"a\\x00\\\"\\\\\\n\\r\\t\\a\\b\\x7f\\xff~ \"");
    str_fini(&s);
}

static void test_slices_compare(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE("ab"), slice_of("abc", 2)));
    assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_true(slice_eq(slice_of(NULL, 0), SLICE("")));
    assert_true(slice_is(SLICE("GeT"), "get"));
    assert_false(slice_is(SLICE("gett"), "get"));
    assert_false(slice_is(SLICE("ge"), "get"));
}

struct item {
    int value;
    struct list link;
};

static int sum_in_order(struct list *head)
{
    int sum = 0;
    LIST_FOREACH(it, head) {
        sum = sum * 10 + container_of(it, struct item, link)->value;
    }
    return sum;
}

static void test_lists_keep_their_order(void **state)
{
    (void)state;
    struct list head;
    struct item items[5];
    list_init(&head);
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        items[i].value = i + 1;
        if (i == 4) {
            list_prepend(&head, &items[i].link);
        } else {
            list_append(&head, &items[i].link);
        }
    }
    assert_int_equal(sum_in_order(&head), 51234);
    list_remove(&items[1].link);
    list_remove(&items[1].link); /* does no harm */
    assert_int_equal(sum_in_order(&head), 5134);
    LIST_FOREACH_SAFE(it, &head) {
        list_remove(it);
    }
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_needs_nothing),
        cmocka_unit_test(test_appending),
        cmocka_unit_test(test_growing_keeps_the_bytes),
        cmocka_unit_test(test_formats_of_any_length),
        cmocka_unit_test(test_quoting_shows_every_byte),
        cmocka_unit_test(test_slices_compare),
        cmocka_unit_test(test_lists_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
