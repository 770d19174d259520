// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/glob.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool match(const char *pattern, const char *text)
{
    return glob_match(slice_str(pattern), slice_str(text), false);
}

static bool match_folded(const char *pattern, const char *text)
{
    return glob_match(slice_str(pattern), slice_str(text), true);
}

static void test_literals_and_wildcards(void **state)
{
    (void)state;
    assert_true(match("", ""));
    assert_false(match("", "a"));
    assert_true(match("abc", "abc"));
    assert_false(match("abc", "abcd"));
    assert_false(match("abcd", "abc"));
    assert_true(match("a?c", "abc"));
    assert_false(match("a?c", "ac"));
    assert_true(match("*", ""));
    assert_true(match("***", "anything"));
    assert_true(match("h*llo", "heeeello"));
    assert_true(match("*a*b*c*", "xxaxxbxxcxx"));
    assert_false(match("*a*b*c*", "xxaxxcxxbxx"));
    assert_true(match("*ab", "aaab"));
    assert_false(match("a*b", "acb-"));
    assert_true(match("a*", "a"));
}

static void test_classes(void **state)
{
    (void)state;
    assert_true(match("h[ae]llo", "hallo"));
    assert_false(match("h[ae]llo", "hillo"));
    assert_true(match("h[^e]llo", "hallo"));
    assert_false(match("h[^e]llo", "hello"));
    assert_true(match("h[a-b]llo", "hbllo"));
    assert_true(match("h[b-a]llo", "hallo"));
    assert_false(match("h[a-b]llo", "hcllo"));
    assert_true(match("[a\\]c]", "]"));
    assert_true(match("[a\\-z]", "-"));
    assert_false(match("[a\\-z]", "b"));
    assert_false(match("[]", "a"));
    assert_true(match("[^]", "a"));
    assert_true(match("[abc", "c"));
    assert_false(match("[abc", "d"));
    assert_true(match("[", "[") == match("[", "a")); /* an empty class holds nothing */
    assert_false(match("[", "["));
    /* As in Redis, a ']' behind '-' is the range's end, not the class's. */
    assert_true(match("[a-]", "^"));
    assert_false(match("[a-]", "-"));
    assert_true(match("[-a]", "-"));
}

static void test_escapes(void **state)
{
    (void)state;
    assert_true(match("h\\?llo", "h?llo"));
    assert_false(match("h\\?llo", "hello"));
    assert_true(match("\\*", "*"));
    assert_true(match("a\\", "a\\"));
    assert_true(match("\\\\", "\\"));
}

static void test_case(void **state)
{
    (void)state;
    assert_false(match("ABC", "abc"));
    assert_true(match_folded("ABC", "abc"));
    assert_true(match_folded("a[B-D]*", "ACcc"));
    assert_true(match_folded("[x]", "X"));
}

static void test_bytes_not_characters(void **state)
{
    (void)state;
    assert_true(glob_match(SLICE("a?b"), SLICE("a\0b"), false));
    assert_true(glob_match(SLICE("[\x80-\xff]"), SLICE("\xc3"), false));
    assert_false(glob_match(SLICE("a\0b"), SLICE("a\0c"), false));
}

/* Tries every length for each '*', as the definition says; exponential, for short texts only. */
static bool slow_match(struct slice p, struct slice t)
{
    if (p.len == 0) {
        return t.len == 0;
    }
    if (p.ptr[0] == '*') {
        for (size_t skip = 0; skip <= t.len; skip++) {
            if (slow_match(slice_of(p.ptr + 1, p.len - 1), slice_of(t.ptr + skip, t.len - skip))) {
                return true;
            }
        }
        return false;
    }
    return t.len > 0 && (p.ptr[0] == '?' || p.ptr[0] == t.ptr[0]) &&
           slow_match(slice_of(p.ptr + 1, p.len - 1), slice_of(t.ptr + 1, t.len - 1));
}

static void test_stars_find_every_way(void **state)
{
    (void)state;
    struct rng rng;
    int matched = 0;
    rng_init(&rng, 6);
    for (int i = 0; i < 100000; i++) {
        char p[8];
        char t[10];
        struct slice pattern = slice_of(p, rng_below(&rng, sizeof p));
        struct slice text = slice_of(t, rng_below(&rng, sizeof t));
        for (size_t j = 0; j < sizeof p; j++) {
            p[j] = "ab**?"[rng_below(&rng, 5)];
        }
        for (size_t j = 0; j < sizeof t; j++) {
            t[j] = "ab"[rng_below(&rng, 2)];
        }
        bool got = glob_match(pattern, text, false);
        assert_int_equal(got, slow_match(pattern, text));
        matched += got;
    }
    assert_in_range(matched, 10000, 90000);
}

/* With a branch per star this would not end. */
static void test_many_stars_end(void **state)
{
    (void)state;
    struct str pattern = {0};
    struct str text = {0};
    for (int i = 0; i < 200; i++) {
        str_appendz(&pattern, "a*");
    }
    str_appendz(&pattern, "b");
    for (int i = 0; i < 5000; i++) {
        str_append_char(&text, 'a');
    }
    assert_false(glob_match(str_slice(&pattern), str_slice(&text), false));
    str_fini(&pattern);
    str_fini(&text);
}

/* Nothing beyond the slices is read: each on the heap in its own size. */
static void test_more_stars_than_redis_follows_match_nothing(void **state)
{
    (void)state;
    struct str pattern = {0};
    struct str text = {0};
    for (int i = 0; i < 1000; i++) {
        str_appendz(&pattern, "*?");
        str_appendz(&text, "a");
    }
    assert_true(glob_match(str_slice(&pattern), str_slice(&text), false));
    str_appendz(&pattern, "*?");
    str_appendz(&text, "a");
    assert_false(glob_match(str_slice(&pattern), str_slice(&text), false));
    str_fini(&pattern);
    str_fini(&text);
}

static void test_broken_patterns_stay_within_their_bytes(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    for (int i = 0; i < 50000; i++) {
        char bytes[10];
        size_t len = rng_below(&rng, sizeof bytes + 1);
        for (size_t j = 0; j < sizeof bytes; j++) {
            bytes[j] = "[]^-\\*?ab"[rng_below(&rng, 9)];
        }
        char *pattern = mem_memdup(bytes, len);
        bool once = glob_match(slice_of(pattern, len), SLICE("ab-]"), false);
        bool again = glob_match(slice_of(pattern, len), SLICE("ab-]"), false);
        assert_int_equal(once, again);
        mem_free(pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals_and_wildcards),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_case),
        cmocka_unit_test(test_bytes_not_characters),
        cmocka_unit_test(test_stars_find_every_way),
        cmocka_unit_test(test_many_stars_end),
        cmocka_unit_test(test_more_stars_than_redis_follows_match_nothing),
        cmocka_unit_test(test_broken_patterns_stay_within_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
