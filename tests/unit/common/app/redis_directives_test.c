// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/redis_directives.h"

#include "tests/unit/unit.h"

static struct errmsg err;

static enum redis_directive check(const char *name, const char *value)
{
    err.text[0] = '\0';
    return redis_directive_check(slice_str(name), slice_str(value), &err);
}

static void test_what_is_done_anyway_is_taken(void **state)
{
    (void)state;
    assert_int_equal(check("always-show-logo", "no"), DIRECTIVE_DONE);
    assert_int_equal(check("SUPERVISED", "Systemd"), DIRECTIVE_DONE);
    assert_int_equal(check("tls-port", "0"), DIRECTIVE_DONE);
    assert_int_equal(check("unixsocket", ""), DIRECTIVE_DONE);
}

static void test_what_has_no_effect_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(check("activerehashing", "yes"), DIRECTIVE_IGNORED);
    assert_int_equal(check("active-defrag-cycle-max", "40"), DIRECTIVE_IGNORED);
    assert_int_equal(check("repl-backlog-size", "1048576"), DIRECTIVE_IGNORED);
    assert_int_equal(check("repl-backlog-size", "1MB"), DIRECTIVE_IGNORED);
}

static void test_what_asks_for_more_is_refused_with_the_reason(void **state)
{
    (void)state;
    assert_int_equal(check("tls-port", "6380"), DIRECTIVE_REFUSED);
    assert_string_equal(err.text, "only 0 is possible: TLS is not supported");
    assert_int_equal(check("unixsocket", "/tmp/x"), DIRECTIVE_REFUSED);
    assert_string_equal(err.text, "only \"\" is possible: Unix sockets are not supported");
    assert_int_equal(check("loadmodule", "x.so"), DIRECTIVE_REFUSED);
    assert_string_equal(err.text, "not possible: modules are not supported");
    assert_int_equal(check("crash-memcheck-enabled", "perhaps"), DIRECTIVE_REFUSED);
    assert_string_equal(err.text, "only no|yes is possible: memory is not tested after a crash");
    assert_int_equal(check("active-defrag-max-scan-fields-x", "1"), DIRECTIVE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_done_anyway_is_taken),
        cmocka_unit_test(test_what_has_no_effect_is_told_apart),
        cmocka_unit_test(test_what_asks_for_more_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
