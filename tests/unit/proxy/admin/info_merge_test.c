// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/admin/info_merge.h"

#include "tests/unit/unit.h"

static struct info_merge *of(const char *a, const char *b)
{
    struct info_merge *m = info_merge_new();
    info_merge_add(m, slice_str(a), "one");
    if (b != NULL) {
        info_merge_add(m, slice_str(b), "two");
    }
    return m;
}

static void check_section(const char *a, const char *b, const char *section, const char *want)
{
    struct info_merge *m = of(a, b);
    struct str got = {0};
    info_merge_section(m, section, &got);
    assert_string_equal(str_cstr(&got), want);
    str_fini(&got);
    info_merge_free(&m);
}

static void test_counts_are_added(void **state)
{
    (void)state;
    check_section("# Stats\r\nkeyspace_hits:3\r\nexpired_keys:1\r\n",
                  "# Stats\r\nkeyspace_hits:4\r\nexpired_keys:0\r\n", "Stats",
                  "keyspace_hits:7\r\nexpired_keys:1\r\n");
}

/* Clients compare with 1, so two nodes at work must not make 2. */
static void test_what_is_under_way_is_not_added(void **state)
{
    (void)state;
    check_section("# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:1\r\n",
                  "# Persistence\r\nloading:1\r\nrdb_bgsave_in_progress:1\r\n", "Persistence",
                  "loading:1\r\nrdb_bgsave_in_progress:1\r\n");
}

static void test_one_bad_status_is_the_status(void **state)
{
    (void)state;
    check_section("# Persistence\r\naof_last_write_status:ok\r\n",
                  "# Persistence\r\naof_last_write_status:err\r\n", "Persistence",
                  "aof_last_write_status:err\r\n");
}

static void test_ratios_and_texts_are_made_anew(void **state)
{
    (void)state;
    const char *a = "# Memory\r\nused_memory:1024\r\nused_memory_human:1.00K\r\n"
                    "used_memory_rss:2048\r\nused_memory_peak:2048\r\n"
                    "used_memory_peak_perc:50.00%\r\nmem_fragmentation_ratio:2.00\r\n"
                    "maxmemory_policy:noeviction\r\n";
    check_section(a, a, "Memory",
                  "used_memory:2048\r\nused_memory_human:2.00K\r\nused_memory_rss:4096\r\n"
                  "used_memory_peak:4096\r\nused_memory_peak_perc:50.00%\r\n"
                  "mem_fragmentation_ratio:2.00\r\nmaxmemory_policy:noeviction\r\n");
}

static void test_a_field_that_only_one_node_has_is_there(void **state)
{
    (void)state;
    check_section("# Stats\r\na:1\r\n", "# Stats\r\nb:2\r\n", "Stats", "a:1\r\nb:2\r\n");
    check_section("# Stats\r\na:1\r\n", NULL, "Memory", "");
}

static void test_databases_are_added_and_ttls_weighed(void **state)
{
    (void)state;
    struct info_merge *m = of("# Keyspace\r\ndb0:keys=10,expires=1,avg_ttl=1000\r\n"
                              "db9:keys=1,expires=0,avg_ttl=0\r\n",
                              "# Keyspace\r\ndb0:keys=5,expires=3,avg_ttl=3000\r\n");
    struct str got = {0};
    info_merge_keyspace(m, &got);
    assert_string_equal(str_cstr(&got), "db0:keys=15,expires=4,avg_ttl=2500\r\n"
                                        "db9:keys=1,expires=0,avg_ttl=0\r\n");
    str_fini(&got);
    info_merge_free(&m);
}

static void test_the_proxys_own_is_added_and_put_in(void **state)
{
    (void)state;
    struct info_merge *m = of("# Memory\r\nused_memory:100\r\nmem_allocator:a\r\n", NULL);
    struct str got = {0};
    info_merge_add_to(m, "Memory", "used_memory", 11);
    info_merge_set(m, "Memory", "mem_allocator", "b");
    assert_int_equal(info_merge_get(m, "used_memory"), 111);
    assert_int_equal(info_merge_get(m, "no_such"), 0);
    info_merge_section(m, "Memory", &got);
    assert_string_equal(str_cstr(&got), "used_memory:111\r\nmem_allocator:b\r\n");
    str_fini(&got);
    info_merge_free(&m);
}

/* Nodes are ours, but a newer one may say anything. */
static void test_a_machine_with_several_nodes_counts_once(void **state)
{
    (void)state;
    static const char text[] = "# Memory\r\nused_memory:1024\r\ntotal_system_memory:4096\r\n";
    struct info_merge *m = info_merge_new();
    info_merge_add(m, slice_str(text), "10.0.0.1");
    info_merge_add(m, slice_str(text), "10.0.0.1");
    info_merge_add(m, slice_str(text), "10.0.0.12");
    assert_int_equal(info_merge_get(m, "used_memory"), 3072);
    assert_int_equal(info_merge_get(m, "total_system_memory"), 8192);
    info_merge_free(&m);
}

static void test_odd_texts_do_no_harm(void **state)
{
    (void)state;
    char text[400] = "# S\r\n:1\r\nnocolon\r\n#\r\n# \r\ndb0:\r\n";
    memset(text + strlen(text), 'x', 200);
    check_section(text, "# Keyspace\r\ndb0:keys=x,=,,\r\ndb99:keys=1\r\ndbx:keys=1", "S",
                  "db0:\r\n");
    check_section("", "\n\n\n", "S", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_are_added),
        cmocka_unit_test(test_what_is_under_way_is_not_added),
        cmocka_unit_test(test_one_bad_status_is_the_status),
        cmocka_unit_test(test_ratios_and_texts_are_made_anew),
        cmocka_unit_test(test_a_field_that_only_one_node_has_is_there),
        cmocka_unit_test(test_databases_are_added_and_ttls_weighed),
        cmocka_unit_test(test_the_proxys_own_is_added_and_put_in),
        cmocka_unit_test(test_a_machine_with_several_nodes_counts_once),
        cmocka_unit_test(test_odd_texts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
