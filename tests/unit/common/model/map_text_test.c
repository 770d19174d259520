// SPDX-License-Identifier: BSD-3-Clause
#include "common/model/map_text.h"

#include "common/resp/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CLUSTER "00000000000000000000000000000000000000c1"

typedef void (*text_fn)(const struct map_view *v, struct resp_writer *w);

/* The reply's bytes; also checks that it is exactly one whole reply. */
static void render(text_fn fn, const struct map_view *v, int proto, struct str *to)
{
    struct outbuf out = {0};
    struct resp_writer w = {.out = &out, .proto = proto};
    fn(v, &w);
    for (struct iovec iov; outbuf_iovec(&out, &iov, 1) > 0;) {
        str_append(to, iov.iov_base, iov.iov_len);
        outbuf_consume(&out, iov.iov_len);
    }
    outbuf_fini(&out);
    struct resp_value *value = resp_value_parse(str_slice(to));
    assert_non_null(value);
    resp_value_free(&value);
}

static void assert_renders(text_fn fn, const struct map_view *v, int proto, const char *expected)
{
    struct str got = {0};
    render(fn, v, proto, &got);
    assert_string_equal(str_cstr(&got), expected);
    str_fini(&got);
}

static void assert_has(text_fn fn, const struct map_view *v, const char *part)
{
    struct str got = {0};
    render(fn, v, 2, &got);
    if (strstr(str_cstr(&got), part) == NULL) {
        fail_msg("no '%s' in: %s", part, str_cstr(&got));
    }
    str_fini(&got);
}

/* Four shards: two of node 0 in a row, one of node 1, one of node 0 again. */
static struct map *make(void)
{
    static const int primaries[] = {0, 0, 1, 0};
    struct map *m = map_build_new(4, CLUSTER);
    for (int i = 0; i < 3; i++) {
        struct map_node n = {.port = 7000 + i, .weight = 100};
        (void)snprintf(n.id, sizeof(n.id), "%040d", i);
        (void)snprintf(n.host, sizeof(n.host), "10.0.0.%d", i);
        (void)map_build_add_node(m, &n);
    }
    m->assigned = true;
    m->epoch = 6;
    for (int i = 0; i < 4; i++) {
        assert_true(map_build_add_member(&m->shards[i], primaries[i]));
        map_build_set_primary(&m->shards[i], primaries[i]);
        assert_true(map_build_add_member(&m->shards[i], 1 + i % 2 - primaries[i] % 2));
    }
    return m;
}

#define ID0    "0000000000000000000000000000000000000000"
#define ID1    "0000000000000000000000000000000000000001"
#define ID2    "0000000000000000000000000000000000000002"
#define NODE_0 "*4\r\n$8\r\n10.0.0.0\r\n:7000\r\n$40\r\n" ID0 "\r\n*0\r\n"
#define NODE_1 "*4\r\n$8\r\n10.0.0.1\r\n:7001\r\n$40\r\n" ID1 "\r\n*0\r\n"

static void test_slots_joins_neighbours_and_leaves_syncing_replicas_out(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = 0};
    assert_renders(map_text_slots, &v, 2,
                   "*3\r\n"
                   "*3\r\n:0\r\n:8191\r\n" NODE_0 "*3\r\n:8192\r\n:12287\r\n" NODE_1
                   "*3\r\n:12288\r\n:16383\r\n" NODE_0);
    map_unref(&m);
}

static void test_slots_shows_active_replicas_and_skips_what_nobody_serves(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = NODE_NONE};
    m->shards[0].members[1].state = REPLICA_ACTIVE; /* node 1 */
    m->shards[0].members[1].in_sync = true;
    m->shards[2].primary = NODE_NONE;
    m->shards[2].members[0].state = REPLICA_FAILED;
    assert_renders(map_text_slots, &v, 2,
                   "*3\r\n"
                   "*4\r\n:0\r\n:4095\r\n" NODE_0 NODE_1 "*3\r\n:4096\r\n:8191\r\n" NODE_0
                   "*3\r\n:12288\r\n:16383\r\n" NODE_0);
    map_unref(&m);
}

static void test_slots_shows_no_primary_as_a_replica(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = NODE_NONE};
    m->shards[0].members[1].state = REPLICA_ACTIVE; /* node 1, the primary of the third */
    m->shards[0].members[1].in_sync = true;
    assert_renders(map_text_slots, &v, 2,
                   "*4\r\n"
                   "*3\r\n:0\r\n:4095\r\n" NODE_0 "*3\r\n:4096\r\n:8191\r\n" NODE_0
                   "*3\r\n:8192\r\n:12287\r\n" NODE_1 "*3\r\n:12288\r\n:16383\r\n" NODE_0);
    map_unref(&m);
}

static void test_slots_in_resp3_has_an_empty_map_as_metadata(void **state)
{
    (void)state;
    struct map_view_node one = {.id = ID2, .host = "h", .port = 1};
    struct map *m = make();
    struct map_view v = {.map = m, .self = NODE_NONE, .nodes = &one, .n_nodes = 1};
    assert_renders(map_text_slots, &v, 3,
                   "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$1\r\nh\r\n:1\r\n$40\r\n" ID2 "\r\n%0\r\n");
    map_unref(&m);
}

static void test_shards_groups_a_primarys_ranges(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = 0};
    assert_has(map_text_shards, &v,
               "*2\r\n*4\r\n$5\r\nslots\r\n*4\r\n:0\r\n:8191\r\n:12288\r\n:16383\r\n$5\r\nnodes\r\n"
               "*1\r\n*14\r\n$2\r\nid\r\n$40\r\n" ID0 "\r\n$4\r\nport\r\n:7000\r\n$2\r\nip\r\n"
               "$8\r\n10.0.0.0\r\n$8\r\nendpoint\r\n$8\r\n10.0.0.0\r\n$4\r\nrole\r\n$6\r\nmaster"
               "\r\n$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n");
    m->shards[2].primary = NODE_NONE;
    m->shards[2].members[0].state = REPLICA_FAILED;
    m->nodes[1].state = NODE_DEAD;
    assert_has(map_text_shards, &v, "$6\r\nhealth\r\n$4\r\nfail\r\n");
    map_unref(&m);
}

static void test_nodes_is_a_line_for_each(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = 1};
    m->nodes[2].state = NODE_DEAD;
    m->nodes[0].state = NODE_UNHEALTHY;
    assert_has(map_text_nodes, &v,
               "\r\n" ID0
               " 10.0.0.0:7000@17000 master,fail? - 0 0 6 connected 0-8191 12288-16383\n" ID1
               " 10.0.0.1:7001@17001 myself,master - 0 0 6 connected 8192-12287\n" ID2
               " 10.0.0.2:7002@17002 master,fail - 0 0 6 disconnected\n");
    map_unref(&m);
}

static void test_a_guest_is_myself_and_nobodys_server(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view_node guest = {
        .id = "00000000000000000000000000000000000000ff", .host = "10.9.9.9", .port = 6379};
    struct map_view v = {.map = m, .self = NODE_NONE, .guest = &guest};
    assert_has(map_text_nodes, &v,
               "00000000000000000000000000000000000000ff 10.9.9.9:6379@16379 myself,slave " ID0
               " 0 0 6 connected\n" ID0);
    v.self = 0;
    assert_has(map_text_nodes, &v, "\r\n" ID0 " 10.0.0.0:7000@17000 myself,master - ");
    map_unref(&m);
}

static void test_info_counts_slots_by_what_serves_them(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = 0};
    assert_has(map_text_info, &v,
               "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"
               "cluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\n"
               "cluster_slots_fail:0\r\ncluster_known_nodes:3\r\n"
               "cluster_size:2\r\ncluster_current_epoch:6\r\n");
    m->nodes[0].state = NODE_UNHEALTHY;
    m->nodes[1].state = NODE_DEAD;
    m->shards[2].primary = NODE_NONE;
    m->shards[2].members[0].state = REPLICA_FAILED;
    assert_has(map_text_info, &v,
               "cluster_state:fail\r\ncluster_slots_assigned:16384\r\n"
               "cluster_slots_ok:0\r\ncluster_slots_pfail:12288\r\n"
               "cluster_slots_fail:4096\r\n");
    map_unref(&m);
    m = map_build_new(4, CLUSTER);
    (void)snprintf(m->why, sizeof(m->why), "waiting for nodes");
    v.map = m;
    assert_has(map_text_info, &v, "shoal_down_reason:waiting for nodes\r\n");
    map_unref(&m);
}

static void test_virtual_nodes_share_all_slots(void **state)
{
    (void)state;
    struct map_view_node nodes[3] = {{.id = ID0, .host = "a", .port = 6379},
                                     {.id = ID1, .host = "b", .port = 60000},
                                     {.id = ID2, .host = "c", .port = 6381}};
    struct map *m = make();
    struct map_view v = {.map = m, .self = NODE_NONE, .nodes = nodes, .n_nodes = 3};
    assert_has(map_text_nodes, &v,
               ID0 " a:6379@16379 myself,master - 0 0 6 connected 0-5460\n" ID1
                   " b:60000@60000 master - 0 0 6 connected 5461-10921\n" ID2
                   " c:6381@16381 master - 0 0 6 connected 10922-16383\n");
    assert_has(map_text_slots, &v, "*3\r\n*3\r\n:0\r\n:5460\r\n*4\r\n$1\r\na\r\n:6379\r\n");
    assert_has(map_text_shards, &v, "*3\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5460\r\n");
    assert_has(map_text_info, &v, "cluster_known_nodes:3\r\ncluster_size:3\r\n");
    map_unref(&m);
}

static void test_links_is_empty(void **state)
{
    (void)state;
    struct map *m = make();
    struct map_view v = {.map = m, .self = 0};
    assert_renders(map_text_links, &v, 2, "*0\r\n");
    map_unref(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_joins_neighbours_and_leaves_syncing_replicas_out),
        cmocka_unit_test(test_slots_shows_active_replicas_and_skips_what_nobody_serves),
        cmocka_unit_test(test_slots_shows_no_primary_as_a_replica),
        cmocka_unit_test(test_slots_in_resp3_has_an_empty_map_as_metadata),
        cmocka_unit_test(test_shards_groups_a_primarys_ranges),
        cmocka_unit_test(test_nodes_is_a_line_for_each),
        cmocka_unit_test(test_a_guest_is_myself_and_nobodys_server),
        cmocka_unit_test(test_info_counts_slots_by_what_serves_them),
        cmocka_unit_test(test_virtual_nodes_share_all_slots),
        cmocka_unit_test(test_links_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
