// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/log.h"

#include "common/base/err.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void remember(void *arg, enum log_level level, const char *area, const char *text)
{
    str_printf(arg, "%d %s %s;", (int)level, area, text);
}

static void test_events_below_the_level_are_dropped(void **state)
{
    (void)state;
    struct str heard = {0};
    log_set_sink(remember, &heard);
    log_set_level(LOG_NOTICE);
    assert_int_equal(log_level(), LOG_NOTICE);
    log_event(LOG_VERBOSE, "area", "no");
    LOG_DEBUG_EVENT("area", "no %d", 1);
    log_event(LOG_NOTICE, "area", "yes n=%d", 1);
    log_event(LOG_WARNING, "other", "yes");
    assert_string_equal(str_cstr(&heard), "2 area yes n=1;3 other yes;");
    str_clear(&heard);
    log_set_level(LOG_DEBUG);
    LOG_DEBUG_EVENT("area", "now %d", 2);
    assert_string_equal(str_cstr(&heard), "0 area now 2;");
    str_clear(&heard);
    log_set_level(LOG_NOTHING);
    log_event(LOG_WARNING, "area", "no");
    log_event(LOG_NOTHING, "area", "no");
    assert_int_equal(heard.len, 0);
    log_set_sink(NULL, NULL);
    str_fini(&heard);
}

static void test_an_event_is_one_line_of_bounded_length(void **state)
{
    (void)state;
    struct str heard = {0};
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_set_sink(remember, &heard);
    log_set_level(LOG_NOTICE);
    log_event(LOG_NOTICE, "a", "name=%s", "evil\r\n2 a forged \x1b[31m");
    assert_string_equal(str_cstr(&heard), "2 a name=evil??2 a forged ?[31m;");
    str_clear(&heard);
    log_event(LOG_NOTICE, "a", "%s", text);
    assert_in_range(heard.len, 1000, 1100);
    assert_string_equal(str_cstr(&heard) + heard.len - 4, "...;");
    log_set_sink(NULL, NULL);
    str_fini(&heard);
}

static void test_messages_are_wrapped_outward(void **state)
{
    (void)state;
    struct errmsg e;
    errmsg_set(&e, "not a number: '%s'", "x");
    errmsg_wrap(&e, "port");
    errmsg_wrap(&e, "%s:%d", "node.conf", 12);
    assert_string_equal(e.text, "node.conf:12: port: not a number: 'x'");
}

static void test_long_messages_keep_their_outer_end(void **state)
{
    (void)state;
    struct errmsg e;
    errmsg_set(&e, "%0600d", 1);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    errmsg_wrap(&e, "file");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "file: 000", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_below_the_level_are_dropped),
        cmocka_unit_test(test_an_event_is_one_line_of_bounded_length),
        cmocka_unit_test(test_messages_are_wrapped_outward),
        cmocka_unit_test(test_long_messages_keep_their_outer_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
