// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/settings.h"

#include "node/keyspace/evict.h"

#include "tests/unit/unit.h"

static bool set(struct settings *s, const char *name, const char *value, struct errmsg *err)
{
    const struct option *o = options_find(settings_options(), slice_str(name));
    assert_non_null(o);
    return options_set(settings_options(), s, o, slice_str(value), err);
}

static void assert_prints(const struct settings *s, const char *name, const char *want)
{
    struct str text = {0};
    options_print(settings_options(), s, options_find(settings_options(), slice_str(name)), &text);
    assert_string_equal(str_cstr(&text), want);
    str_fini(&text);
}

static void test_clients_limit_is_bytes_or_a_share_of_maxmemory(void **state)
{
    (void)state;
    struct settings s;
    struct errmsg err;
    options_init(settings_options(), &s);
    assert_int_equal(settings_clients_limit(&s), 0);
    assert_true(set(&s, "maxmemory-clients", "2mb", &err));
    assert_int_equal(settings_clients_limit(&s), 2 * 1024 * 1024);
    assert_prints(&s, "maxmemory-clients", "2097152");
    assert_true(set(&s, "maxmemory", "1000", &err));
    assert_true(set(&s, "maxmemory-clients", "5%", &err));
    assert_int_equal(settings_clients_limit(&s), 50);
    assert_prints(&s, "maxmemory-clients", "5%");
    assert_false(set(&s, "maxmemory-clients", "101%", &err));
    assert_string_equal(err.text, "percentage argument must be less or equal to 100");
    assert_false(set(&s, "maxmemory-clients", "%", &err));
    assert_false(set(&s, "maxmemory-clients", "-1%", &err));
    assert_prints(&s, "maxmemory-clients", "5%");
    options_fini(settings_options(), &s);
}

static void test_what_is_not_kept_yet_cannot_be_asked_for(void **state)
{
    (void)state;
    struct settings s;
    struct errmsg err;
    options_init(settings_options(), &s);
    assert_true(set(&s, "save", "", &err));
    assert_true(set(&s, "save", "\"\"", &err));
    assert_int_equal(s.save.n, 0);
    assert_true(set(&s, "save", "3600 1  60 0", &err));
    assert_int_equal(s.save.n, 2);
    assert_int_equal(s.save.of[1].seconds, 60);
    assert_false(set(&s, "save", "3600", &err));
    assert_false(set(&s, "save", "3600 -1", &err));
    assert_false(set(&s, "save", "0 1", &err));
    assert_string_equal(err.text, "Invalid save parameters");
    assert_int_equal(s.save.n, 2);
    assert_true(set(&s, "appendonly", "yes", &err));
    assert_true(set(&s, "appendonly", "no", &err));
    assert_false(set(&s, "appendonly", "maybe", &err));
    assert_true(set(&s, "maxmemory-policy", "allkeys-lru", &err));
    assert_int_equal(s.maxmemory_policy, EVICT_ALLKEYS_LRU);
    assert_true(set(&s, "maxmemory-policy", "noeviction", &err));
    assert_int_equal(s.maxmemory_policy, EVICT_NOTHING);
    assert_false(set(&s, "maxmemory-policy", "some", &err));
    assert_true(set(&s, "oom-score-adj-values", "1 -2 3", &err));
    assert_int_equal(s.oom_score_adj_values.of[1], -2);
    assert_false(set(&s, "oom-score-adj-values", "1 2001 3", &err));
    assert_false(set(&s, "oom-score-adj-values", "1 2", &err));
    options_fini(settings_options(), &s);
}

static void test_every_default_is_what_its_directive_reads(void **state)
{
    (void)state;
    const struct options_table *t = settings_options();
    struct settings s;
    struct errmsg err;
    options_init(t, &s);
    for (size_t i = 0; i < t->count; i++) {
        struct str text = {0};
        const struct option *o = options_find(t, slice_str(t->rows[i].name)); /* not an alias */
        options_print(t, &s, o, &text);
        if (!options_set(t, &s, o, str_slice(&text), &err)) {
            fail_msg("%s: '%s': %s", o->name, str_cstr(&text), err.text);
        }
        assert_true(strlen(o->text) > 20);
        str_fini(&text);
    }
    options_fini(t, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_limit_is_bytes_or_a_share_of_maxmemory),
        cmocka_unit_test(test_what_is_not_kept_yet_cannot_be_asked_for),
        cmocka_unit_test(test_every_default_is_what_its_directive_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
