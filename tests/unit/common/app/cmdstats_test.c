// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/cmdstats.h"

#include "tests/unit/unit.h"

#include <stdio.h>

static void test_buckets_hold_their_values_within_three_percent(void **state)
{
    (void)state;
    unsigned last = 0;
    for (int64_t v = 0; v <= HISTOGRAM_NS_MAX; v += 1 + v / 50) {
        unsigned b = histogram_bucket(v);
        assert_true(b < HISTOGRAM_BUCKETS);
        assert_true(b >= last && b <= last + 32);
        assert_true(histogram_bucket_max(b) >= v);
        assert_true(histogram_bucket_max(b) <= v + v / 32);
        assert_int_equal(histogram_bucket(histogram_bucket_max(b)), b);
        last = b;
    }
    assert_int_equal(histogram_bucket(HISTOGRAM_NS_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(-5), 0);
}

static void test_percentiles(void **state)
{
    (void)state;
    static struct histogram h;
    assert_int_equal(histogram_percentile(&h, 50), 0);
    for (int i = 1; i <= 100; i++) {
        histogram_add(&h, i <= 99 ? 10 : 50);
    }
    assert_int_equal(histogram_percentile(&h, 0), 10);
    assert_int_equal(histogram_percentile(&h, 99), 10);
    assert_int_equal(histogram_percentile(&h, 99.5), 50);
    assert_int_equal(histogram_percentile(&h, 100), 50);
    assert_int_equal(histogram_up_to(&h, 49), 99);
    assert_int_equal(histogram_up_to(&h, 50), 100);
}

static void test_info_has_redis_lines(void **state)
{
    (void)state;
    struct cmdstats *s = cmdstats_new(true);
    struct str text = {0};
    cmdstats_called(s, CMD_GET, 1000, false);
    cmdstats_called(s, CMD_GET, 2500, true);
    cmdstats_rejected(s, CMD_CONFIG_SET);
    cmdstats_error(s, "WRONGTYPE");
    cmdstats_error(s, "ERR");
    cmdstats_error(s, "ERR");
    cmdstats_info_commands(s, &text);
    assert_string_equal(
        str_cstr(&text),
        "cmdstat_get:calls=2,usec=3,usec_per_call=1.75,rejected_calls=0,failed_calls=1\r\n"
        "cmdstat_config|set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n");
    str_clear(&text);
    cmdstats_info_errors(s, &text);
    assert_string_equal(str_cstr(&text),
                        "errorstat_WRONGTYPE:count=1\r\nerrorstat_ERR:count=2\r\n");
    assert_int_equal(s->errors, 3);
    str_clear(&text);
    double percents[] = {50, 99.9};
    cmdstats_info_latency(s, percents, 2, &text);
    assert_string_equal(str_cstr(&text), "latency_percentiles_usec_get:p50=1.007,p99.9=2.559\r\n");
    cmdstats_reset(s);
    str_clear(&text);
    cmdstats_info_commands(s, &text);
    cmdstats_info_errors(s, &text);
    cmdstats_info_latency(s, percents, 2, &text);
    assert_int_equal(text.len, 0);
    assert_int_equal(s->errors, 0);
    str_fini(&text);
    cmdstats_free(&s);
}

static void test_without_tracking_there_are_no_histograms(void **state)
{
    (void)state;
    struct cmdstats *s = cmdstats_new(false);
    cmdstats_called(s, CMD_GET, 1000, false);
    assert_null(s->of[CMD_GET].histogram);
    assert_int_equal(s->of[CMD_GET].calls, 1);
    cmdstats_free(&s);
}

static void test_merging_adds_up(void **state)
{
    (void)state;
    struct cmdstats *a = cmdstats_new(true);
    struct cmdstats *b = cmdstats_new(true);
    cmdstats_called(a, CMD_GET, 1000, false);
    cmdstats_called(b, CMD_GET, 3000, true);
    cmdstats_called(b, CMD_SET, 3000, true);
    cmdstats_error(a, "ERR");
    cmdstats_error(b, "ERR");
    cmdstats_error(b, "OOM");
    cmdstats_merge(a, b);
    assert_int_equal(a->of[CMD_GET].calls, 2);
    assert_int_equal(a->of[CMD_GET].ns, 4000);
    assert_int_equal(a->of[CMD_GET].failed, 1);
    assert_int_equal(a->of[CMD_GET].histogram->total, 2);
    assert_int_equal(a->of[CMD_SET].histogram->total, 1);
    assert_int_equal(a->errors, 3);
    assert_int_equal(a->codes[0].count, 2);
    cmdstats_free(&a);
    cmdstats_free(&b);
}

static void test_lines_of_info_add_up(void **state)
{
    (void)state;
    struct cmdstats *a = cmdstats_new(false), *b = cmdstats_new(false);
    struct str text = {0};
    cmdstats_called(a, CMD_GET, 5000, true);
    cmdstats_called(a, CMD_CONFIG_SET, 7000, false);
    cmdstats_rejected(a, CMD_SET);
    str_appendz(&text, "# Commandstats\r\nused_memory:1\r\ncmdstat_nothing:calls=3\r\n");
    cmdstats_info_commands(a, &text);
    cmdstats_called(b, CMD_GET, 1000, false);
    cmdstats_add_info(b, str_slice(&text));
    assert_int_equal(b->of[CMD_GET].calls, 2);
    assert_int_equal(b->of[CMD_GET].ns, 6000);
    assert_int_equal(b->of[CMD_GET].failed, 1);
    assert_int_equal(b->of[CMD_CONFIG_SET].calls, 1);
    assert_int_equal(b->of[CMD_SET].rejected, 1);
    assert_int_equal(b->of[CMD_SET].calls, 0);
    str_fini(&text);
    cmdstats_free(&a);
    cmdstats_free(&b);
}

static void test_made_up_error_codes_do_not_grow_without_end(void **state)
{
    (void)state;
    struct cmdstats *s = cmdstats_new(true);
    for (int i = 0; i < 1000; i++) {
        char code[RESP_CODE_MAX];
        (void)snprintf(code, sizeof(code), "E%d", i);
        cmdstats_error(s, code);
    }
    assert_int_equal(s->errors, 1000);
    assert_int_equal(s->code_count, CMDSTATS_CODES_MAX);
    assert_string_equal(s->codes[CMDSTATS_CODES_MAX - 1].code, "OTHER");
    assert_int_equal(s->codes[CMDSTATS_CODES_MAX - 1].count, 1000 - (CMDSTATS_CODES_MAX - 1));
    cmdstats_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_hold_their_values_within_three_percent),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_info_has_redis_lines),
        cmocka_unit_test(test_without_tracking_there_are_no_histograms),
        cmocka_unit_test(test_merging_adds_up),
        cmocka_unit_test(test_lines_of_info_add_up),
        cmocka_unit_test(test_made_up_error_codes_do_not_grow_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
