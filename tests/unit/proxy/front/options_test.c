// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/options.h"

#include "tests/unit/unit.h"

static struct proxy_options o;

static void load(const char *text)
{
    struct errmsg err;
    const struct options_table *t = proxy_options_table();
    options_init(t, &o);
    if (!options_load_text(t, &o, slice_str(text), "a.conf", NULL, NULL, &err)) {
        fail_msg("%s", err.text);
    }
}

static void done(void)
{
    options_fini(proxy_options_table(), &o);
}

static void check_control_port(const char *text, int port)
{
    load(text);
    assert_int_equal(proxy_options_control_port(&o), port);
    done();
}

static void test_control_port_follows_the_port(void **state)
{
    (void)state;
    check_control_port("", 16379);
    check_control_port("port 7000", 17000);
    check_control_port("port 7000\ncontrol-port 5", 5);
    check_control_port("port 7000\ncontrol-port 0", 0);
    check_control_port("port 60000", 0);
    check_control_port("port 0", 0);
}

static void test_nodes_have_the_proxys_password_unless_told(void **state)
{
    (void)state;
    load("");
    assert_string_equal(proxy_options_node_password(&o), "");
    done();
    load("requirepass a");
    assert_string_equal(proxy_options_node_password(&o), "a");
    done();
    load("requirepass a\nnode-password b");
    assert_string_equal(proxy_options_node_password(&o), "b");
    done();
}

static void test_defaults_print_what_they_read(void **state)
{
    (void)state;
    const struct options_table *t = proxy_options_table();
    load("");
    for (size_t i = 0; i < t->count; i++) {
        struct str text = {0};
        struct errmsg err;
        if (t->rows[i].alias_of != NULL) {
            continue;
        }
        options_print(t, &o, &t->rows[i], &text);
        if (!options_set(t, &o, &t->rows[i], str_slice(&text), &err)) {
            fail_msg("%s '%s': %s", t->rows[i].name, str_cstr(&text), err.text);
        }
        str_fini(&text);
    }
    done();
}

static void check_limits(const char *text, const char *want)
{
    struct output_limits l = {0};
    struct errmsg err;
    struct str got = {0};
    bool ok = output_limits_parse(&l, slice_str(text), &err);
    output_limits_print(&l, &got);
    assert_string_equal(ok ? str_cstr(&got) : err.text, want);
    str_fini(&got);
}

static void test_output_limits_keep_classes_not_named(void **state)
{
    (void)state;
    check_limits("normal 1 2 3", "normal 1 2 3 slave 0 0 0 pubsub 0 0 0");
    check_limits("replica 1k 1kb 3 pubsub 1 1 1", "normal 0 0 0 slave 1000 1024 3 pubsub 1 1 1");
    check_limits("normal 1 2", "Wrong number of arguments in buffer limit configuration.");
    check_limits("", "Wrong number of arguments in buffer limit configuration.");
    check_limits("abnormal 1 2 3", "Invalid client class specified in buffer limit configuration.");
    check_limits("normal 1 2 -3",
                 "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
}

static void check_together(const char *text, bool good)
{
    struct errmsg err = {0};
    load(text);
    assert_int_equal(proxy_options_check(&o, &err), good);
    assert_int_equal(strstr(err.text, "dead-missed must not be less") != NULL, !good);
    done();
}

/* The coordinator takes it for granted. */
static void test_dead_comes_not_before_unhealthy(void **state)
{
    (void)state;
    check_together("", true);
    check_together("dead-missed 3", true);
    check_together("dead-missed 2", false);
    check_together("unhealthy-missed 7", false);
    check_together("unhealthy-missed 7\ndead-missed 7", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_port_follows_the_port),
        cmocka_unit_test(test_nodes_have_the_proxys_password_unless_told),
        cmocka_unit_test(test_defaults_print_what_they_read),
        cmocka_unit_test(test_dead_comes_not_before_unhealthy),
        cmocka_unit_test(test_output_limits_keep_classes_not_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
