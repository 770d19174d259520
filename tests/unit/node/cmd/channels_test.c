// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/channels.h"

#include "common/base/obj.h"

#include "tests/unit/unit.h"

#include <string.h>

struct ears {
    struct channels *ch;
    struct subscriber s[3];
    char heard[64]; /* "a b*foo. " : who, and by which pattern */
};

static void open_ears(struct ears *e)
{
    *e = (struct ears){.ch = channels_new()};
    for (size_t i = 0; i < ARRAY_LEN(e->s); i++) {
        subscriber_init(&e->s[i]);
    }
}

static void close_ears(struct ears *e)
{
    for (size_t i = 0; i < ARRAY_LEN(e->s); i++) {
        channels_unsubscribe_all(e->ch, &e->s[i]);
    }
    channels_free(&e->ch);
}

static void hear(void *arg, struct subscriber *s, const struct slice *pattern)
{
    struct ears *e = arg;
    size_t len = strlen(e->heard);
    e->heard[len++] = (char)('a' + (s - e->s));
    for (size_t i = 0; pattern != NULL && i < pattern->len; i++) {
        e->heard[len++] = pattern->ptr[i];
    }
    e->heard[len++] = ' ';
    assert_true(len < sizeof(e->heard));
}

static uint64_t publish(struct ears *e, const char *channel, bool shard)
{
    memset(e->heard, 0, sizeof(e->heard));
    return channels_publish(e->ch, slice_str(channel), shard, hear, e);
}

static void test_channels_first_then_patterns_in_the_order_of_their_coming(void **state)
{
    (void)state;
    struct ears e;
    open_ears(&e);
    assert_true(channels_subscribe(e.ch, &e.s[2], SUBJECT_PATTERN, SLICE("n?ws"), 1));
    assert_true(channels_subscribe(e.ch, &e.s[0], SUBJECT_PATTERN, SLICE("*"), 1));
    assert_true(channels_subscribe(e.ch, &e.s[1], SUBJECT_CHANNEL, SLICE("news"), 1));
    assert_true(channels_subscribe(e.ch, &e.s[0], SUBJECT_CHANNEL, SLICE("news"), 1));
    assert_false(channels_subscribe(e.ch, &e.s[0], SUBJECT_CHANNEL, SLICE("news"), 1));
    assert_int_equal(publish(&e, "news", false), 4);
    assert_string_equal(e.heard, "b a cn?ws a* ");
    assert_int_equal(publish(&e, "other", false), 1);
    assert_int_equal(publish(&e, "news", true), 0);
    assert_int_equal(channels_count(e.ch, SUBJECT_PATTERN), 2);
    close_ears(&e);
}

static void test_one_may_speak_for_many(void **state)
{
    (void)state;
    struct ears e;
    open_ears(&e);
    assert_true(channels_subscribe(e.ch, &e.s[0], SUBJECT_SHARD, SLICE("c"), 3));
    assert_true(channels_subscribe(e.ch, &e.s[1], SUBJECT_SHARD, SLICE("c"), 2));
    assert_int_equal(publish(&e, "c", true), 5);
    assert_string_equal(e.heard, "a b ");
    assert_false(channels_subscribe(e.ch, &e.s[0], SUBJECT_SHARD, SLICE("c"), 1));
    assert_int_equal(channels_weight(e.ch, SUBJECT_SHARD, SLICE("c")), 3);
    assert_true(channels_unsubscribe(e.ch, &e.s[1], SUBJECT_SHARD, SLICE("c")));
    assert_false(channels_unsubscribe(e.ch, &e.s[1], SUBJECT_SHARD, SLICE("c")));
    assert_int_equal(publish(&e, "c", true), 1);
    close_ears(&e);
}

static void test_who_goes_leaves_nothing(void **state)
{
    (void)state;
    struct ears e;
    struct slice name;
    open_ears(&e);
    assert_true(channels_subscribe(e.ch, &e.s[0], SUBJECT_CHANNEL, SLICE("x"), 1));
    assert_true(channels_subscribe(e.ch, &e.s[0], SUBJECT_CHANNEL, SLICE("y"), 1));
    assert_true(channels_subscribe(e.ch, &e.s[1], SUBJECT_CHANNEL, SLICE("y"), 1));
    assert_true(channels_unsubscribe_one(e.ch, &e.s[0], SUBJECT_CHANNEL, &name));
    assert_true(slice_eq(name, SLICE("x")));
    assert_int_equal(channels_count(e.ch, SUBJECT_CHANNEL), 1);
    channels_unsubscribe_all(e.ch, &e.s[0]);
    assert_int_equal(e.s[0].count[SUBJECT_CHANNEL], 0);
    assert_int_equal(publish(&e, "y", false), 1);
    assert_string_equal(e.heard, "b ");
    close_ears(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels_first_then_patterns_in_the_order_of_their_coming),
        cmocka_unit_test(test_one_may_speak_for_many),
        cmocka_unit_test(test_who_goes_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
