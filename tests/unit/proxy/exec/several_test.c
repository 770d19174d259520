// SPDX-License-Identifier: BSD-3-Clause
/* Commands over several shards or nodes: split, sent to all, scanned; and local ones. */
#include "proxy/exec/exec.h"

#include "tests/unit/proxy/exec/world.h"

static void test_mget_comes_together_in_the_order_of_its_keys(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    const char *k0 = key_of(0, 0), *k1 = key_of(1, 0), *k2 = key_of(2, 0), *k3 = key_of(3, 0);
    SAY(&a, "MGET %s %s %s %s %s", k0, k1, k2, k3, k0);
    SENT(wire_to(0, LANE_WRITE), "MGET %s %s %s;", k0, k2, k0); /* nodes have two shards each */
    SENT(wire_to(1, LANE_WRITE), "MGET %s %s;", k1, k3);
    answer(wire_to(1, LANE_WRITE), "*2\r\n$2\r\nv1\r\n$-1\r\n");
    assert_string_equal(heard(&a), "");
    answer(wire_to(0, LANE_WRITE), "*3\r\n$2\r\nv0\r\n$2\r\nv2\r\n$2\r\nv0\r\n");
    assert_string_equal(heard(&a), "*5\r\n$2\r\nv0\r\n$2\r\nv1\r\n$2\r\nv2\r\n$-1\r\n$2\r\nv0\r\n");
    person_fini(&a);
    world_end();
}

static void test_keys_of_one_shard_stay_one_command(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "MGET %s %s", key_of(1, 0), key_of(1, 1));
    SENT(wire_to(1, LANE_READ), "MGET %s %s;", key_of(1, 0), key_of(1, 1));
    SAY(&a, "MSETNX %s 1 %s 2", key_of(2, 0), key_of(2, 1));
    SAY(&a, "MSETNX %s 1 %s 2", key_of(2, 0), key_of(0, 1));
    SENT(wire_to(0, LANE_WRITE), "MSETNX %s 1 %s 2;", key_of(2, 0), key_of(2, 1));
    answer(wire_to(1, LANE_READ), "*2\r\n$-1\r\n$-1\r\n");
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    HEARD(&a,
          "*2\r\n$-1\r\n$-1\r\n:1\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    person_fini(&a);
    world_end();
}

static void test_mset_and_del_are_split_too(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    const char *k0 = key_of(0, 0), *k1 = key_of(1, 0);
    SAY(&a, "MSET %s 1 %s 2", k0, k1);
    SAY(&a, "DEL %s %s", k0, k1);
    SENT(wire_to(0, LANE_WRITE), "MSET %s 1;DEL %s;", k0, k0);
    SENT(wire_to(1, LANE_WRITE), "MSET %s 2;DEL %s;", k1, k1);
    answer(wire_to(0, LANE_WRITE), "+OK\r\n:1\r\n");
    answer(wire_to(1, LANE_WRITE), "+OK\r\n:1\r\n");
    HEARD(&a, "+OK\r\n:2\r\n");
    SAY(&a, "MSET %s 1 %s", k0, k1);
    HEARD(&a, "-ERR wrong number of arguments for 'mset' command\r\n");
    person_fini(&a);
    world_end();
}

static void test_an_error_of_one_part_is_the_reply(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "MGET %s %s", key_of(0, 0), key_of(1, 0));
    sent(wire_to(0, LANE_WRITE));
    sent(wire_to(1, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "*1\r\n$-1\r\n");
    answer(wire_to(1, LANE_WRITE), "-OOM no\r\n");
    HEARD(&a, "-OOM no\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_part_whose_shards_moved_is_cut_anew(void **state)
{
    (void)state;
    struct person a;
    world_begin();
    world.settings.read_from = READ_PRIMARY;
    world_start(2);
    person_init(&a);
    const char *k0 = key_of(0, 0), *k1 = key_of(1, 0), *k2 = key_of(2, 0);
    SAY(&a, "MGET %s %s %s", k0, k1, k2);
    sent(wire_to(0, LANE_WRITE));
    sent(wire_to(1, LANE_WRITE));
    answer(wire_to(1, LANE_WRITE), "*1\r\n$1\r\n1\r\n");
    answer(wire_to(0, LANE_WRITE), "-MOVED 1 127.0.0.1:1\r\n"); /* it had shards 0 and 2 */
    struct map *m = map_of(2, false);
    assert_true(map_build_add_member(&m->shards[2], 1));
    map_build_set_primary(&m->shards[2], 1);
    give_map(m);
    SENT(wire_to(0, LANE_READ), "MGET %s;", k0);
    SENT(wire_to(1, LANE_READ), "MGET %s;", k2);
    answer(wire_to(1, LANE_READ), "*1\r\n$1\r\n2\r\n");
    answer(wire_to(0, LANE_READ), "*1\r\n$1\r\n0\r\n");
    HEARD(&a, "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_part_waits_for_its_shard(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    const char *k0 = key_of(0, 0), *k1 = key_of(1, 0);
    SAY(&a, "MGET %s %s", k0, k1);
    SENT(wire_to(1, LANE_WRITE), "MGET %s;", k1);
    answer(wire_to(1, LANE_WRITE), "*1\r\n$1\r\n1\r\n");
    assert_string_equal(heard(&a), "");
    give_map(map_of(2, false));
    struct wire *w =
        find_wire(0, LANE_READ) != NULL ? wire_to(0, LANE_READ) : wire_to(0, LANE_WRITE);
    SENT(w, "MGET %s;", k0);
    answer(w, "*1\r\n$1\r\n0\r\n");
    HEARD(&a, "*2\r\n$1\r\n0\r\n$1\r\n1\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_write_of_unknown_fate_in_one_part(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "DEL %s %s", key_of(0, 0), key_of(1, 0));
    sent(wire_to(0, LANE_WRITE));
    sent(wire_to(1, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    snap(wire_to(1, LANE_WRITE), LANE_BROKEN);
    assert_non_null(strstr(heard(&a), "-UNKNOWNOUTCOME"));
    person_fini(&a);
    world_end();
}

/* Answers what asks about one shard each, on all lanes; how many there were. */
static int answer_each(const char *reply)
{
    int n = 0;
    for (int node = 0; node < 2; node++) {
        for (enum lane_kind kind = LANE_READ; kind <= LANE_WRITE; kind++) {
            struct wire *w = find_wire(node, kind);
            const char *at = w == NULL ? "" : sent(w);
            for (; (at = strstr(at, "SHOAL ON ")) != NULL; at++) {
                answer(w, reply);
                n++;
            }
        }
    }
    return n;
}

static void test_dbsize_is_the_sum_and_keys_are_all(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "DBSIZE");
    assert_int_equal(answer_each(":3\r\n"), SHARDS);
    HEARD(&a, ":12\r\n");
    SAY(&a, "KEYS *");
    assert_int_equal(answer_each("*1\r\n$1\r\na\r\n"), SHARDS);
    HEARD(&a, "*4\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n");
    SAY(&a, "FLUSHALL");
    assert_int_equal(answer_each("+OK\r\n"), SHARDS);
    HEARD(&a, "+OK\r\n");
    person_fini(&a);
    world_end();
}

static void test_what_is_about_all_shards_waits_for_each(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "FLUSHALL");
    assert_int_equal(answer_each("+OK\r\n"), SHARDS - 1);
    assert_string_equal(heard(&a), "");
    give_map(map_of(2, false));
    assert_int_equal(answer_each("+OK\r\n"), 1);
    HEARD(&a, "+OK\r\n");
    m = map_of(2, false);
    lose_shard(m, 0);
    give_map(m);
    SAY(&a, "FLUSHALL");
    assert_int_equal(answer_each("+OK\r\n"), SHARDS - 1);
    pass_time(2100000); /* failover-hold is 2 s */
    assert_string_equal(heard(&a), "-CLUSTERDOWN Hash slot not served\r\n");
    person_fini(&a);
    world_end();
}

/* A node that does not serve a shard any more has done nothing to it: another is asked. */
static void test_a_shard_that_moved_is_emptied_where_it_is(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "FLUSHALL");
    assert_int_equal(answer_each("-TRYAGAIN not now\r\n"), SHARDS);
    assert_string_equal(heard(&a), "");
    int n = 0;
    for (int tries = 0; tries < 20 && n < SHARDS; tries++) {
        pass_time(100000);
        n += answer_each("+OK\r\n");
    }
    assert_int_equal(n, SHARDS);
    HEARD(&a, "+OK\r\n");
    person_fini(&a);
    world_end();
}

static void test_randomkey_asks_on_until_there_is_one(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "RANDOMKEY");
    int first = find_wire(0, LANE_WRITE) != NULL ? 0 : 1;
    SENT(wire_to(first, LANE_WRITE), "RANDOMKEY;");
    answer(wire_to(first, LANE_WRITE), "$-1\r\n");
    SENT(wire_to(1 - first, LANE_WRITE), "RANDOMKEY;");
    answer(wire_to(1 - first, LANE_WRITE), "$1\r\nk\r\n");
    HEARD(&a, "$1\r\nk\r\n");
    SAY(&a, "RANDOMKEY");
    for (int i = 0; i < 2; i++) {
        struct wire *w = find_wire(0, LANE_WRITE)->lane->in_flight > 0 ? wire_to(0, LANE_WRITE)
                                                                       : wire_to(1, LANE_WRITE);
        sent(w);
        answer(w, "$-1\r\n");
    }
    HEARD(&a, "$-1\r\n");
    person_fini(&a);
    world_end();
}

/* All is with node 1 now. */
static struct map *map_without_node_0(void)
{
    struct map *m = map_of(2, false);
    m->nodes[0].state = NODE_DEAD;
    for (int i = 0; i < SHARDS; i += 2) {
        assert_true(map_build_add_member(&m->shards[i], 1));
        map_build_set_primary(&m->shards[i], 1);
    }
    return m;
}

static void test_a_node_that_died_need_not_answer(void **state)
{
    (void)state;
    static const char *const lines[] = {"FUNCTION DELETE lib", "SCRIPT FLUSH"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct person a;
        world_setup(2);
        person_init(&a);
        SAY(&a, "%s", lines[i]);
        sent(wire_to(0, LANE_WRITE));
        snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
        sent(wire_to(1, LANE_WRITE));
        answer(wire_to(1, LANE_WRITE), "+OK\r\n");
        assert_string_equal(heard(&a), "");
        give_map(map_without_node_0());
        pass_time(20000);
        HEARD(&a, "+OK\r\n");
        person_fini(&a);
        world_end();
    }
}

static void test_randomkey_of_a_node_that_died(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "RANDOMKEY");
    if (find_wire(0, LANE_WRITE) == NULL) {
        sent(wire_to(1, LANE_WRITE));
        answer(wire_to(1, LANE_WRITE), "$-1\r\n");
    }
    sent(wire_to(0, LANE_WRITE));
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    give_map(map_without_node_0());
    pass_time(20000);
    SENT(wire_to(1, LANE_WRITE), "RANDOMKEY;");
    answer(wire_to(1, LANE_WRITE), "$1\r\nk\r\n");
    HEARD(&a, "$1\r\nk\r\n");
    person_fini(&a);
    world_end();
}

static void test_scan_goes_from_shard_to_shard(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "SCAN 0 COUNT 3 MATCH x*");
    SENT(wire_to(0, LANE_WRITE), "SCAN 0 COUNT 3 MATCH x*;");
    answer(wire_to(0, LANE_WRITE), "*2\r\n$1\r\n1\r\n*1\r\n$1\r\na\r\n"); /* shard 1 is next */
    SENT(wire_to(1, LANE_WRITE), "SCAN 1 COUNT 3 MATCH x*;");
    answer(wire_to(1, LANE_WRITE), "*2\r\n$5\r\n32769\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
    HEARD(&a, "*2\r\n$5\r\n32769\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"); /* enough */
    SAY(&a, "SCAN 32769");
    SENT(wire_to(1, LANE_WRITE), "SCAN 32769;");
    answer(wire_to(1, LANE_WRITE), "*2\r\n$1\r\n0\r\n*0\r\n");
    HEARD(&a, "*2\r\n$1\r\n0\r\n*0\r\n");
    person_fini(&a);
    world_end();
}

static void test_scan_stays_in_its_database(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "SCAN 0");
    SENT(wire_to(0, LANE_WRITE), "SCAN 0;");
    a.session.db = 1; /* the client's SELECT came behind it */
    answer(wire_to(0, LANE_WRITE), "*2\r\n$1\r\n1\r\n*0\r\n");
    SENT(wire_to(1, LANE_WRITE), "SCAN 1;");
    person_fini(&a);
    world_end();
}

static void test_scan_makes_a_bounded_number_of_hops(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    SAY(&a, "SCAN 0");
    int hops = 0;
    while (wire_to(0, LANE_WRITE)->lane->in_flight > 0) {
        sent(wire_to(0, LANE_WRITE));
        answer(wire_to(0, LANE_WRITE), "*2\r\n$5\r\n16384\r\n*0\r\n");
        assert_true(++hops <= 32);
    }
    HEARD(&a, "*2\r\n$5\r\n16384\r\n*0\r\n");
    person_fini(&a);
    world_end();
}

static void test_wrong_cursors_are_refused(void **state)
{
    (void)state;
    struct person a;
    world_setup(1);
    person_init(&a);
    static const char *const wrong[] = {"SCAN x", "SCAN 1x", "SCAN 99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        SAY(&a, "%s", wrong[i]);
        HEARD(&a, "-ERR invalid cursor\r\n");
    }
    static const char *const beyond[] = {"SCAN -1", "SCAN 16383"}; /* nothing is there */
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
        SAY(&a, "%s", beyond[i]);
        HEARD(&a, "*2\r\n$1\r\n0\r\n*0\r\n");
    }
    SAY(&a, "SCAN 0 COUNT x"); /* the node's to refuse */
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "-ERR value is not an integer or out of range\r\n");
    HEARD(&a, "-ERR value is not an integer or out of range\r\n");
    person_fini(&a);
    world_end();
}

/* Else it would be done before a write that is refused, and sent again. */
static void test_a_change_of_all_nodes_waits_for_the_clients_writes(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "FCALL f 1 %s", key_of(0, 0));
    SAY_STOPS(&a, "FUNCTION DELETE l");
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), ":1\r\n");
    assert_int_equal(world.resumed, 1);
    SAY(&a, "FUNCTION DELETE l");
    SENT(wire_to(0, LANE_WRITE), "FUNCTION DELETE l;");
    SENT(wire_to(1, LANE_WRITE), "FUNCTION DELETE l;");
    /* What is behind it does not wait for nodes that it does not go to. */
    SAY(&a, "FCALL f 1 %s", key_of(0, 0));
    SENT(wire_to(0, LANE_WRITE), "FCALL f 1 %s;", key_of(0, 0));
    answer(wire_to(1, LANE_WRITE), "-TRYAGAIN not yet\r\n");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n:2\r\n");
    HEARD(&a, ":1\r\n");
    pass_time(200000);
    SENT(wire_to(1, LANE_WRITE), "FUNCTION DELETE l;");
    answer(wire_to(1, LANE_WRITE), "+OK\r\n");
    HEARD(&a, "+OK\r\n:2\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_write_over_all_waits_for_the_clients_reads(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    SAY(&a, "GET x");
    SAY_STOPS(&a, "FLUSHALL");
    struct wire *w =
        find_wire(0, LANE_READ) != NULL ? wire_to(0, LANE_READ) : wire_to(1, LANE_READ);
    sent(w);
    answer(w, "$-1\r\n");
    assert_int_equal(world.resumed, 1);
    SAY(&a, "FLUSHALL");
    person_fini(&a);
    world_end();
}

static void test_a_thousand_keys_stay_in_order(void **state)
{
    (void)state;
    struct person a;
    world_setup(2);
    person_init(&a);
    /* By hand: say() knows few words. */
    enum { N = 1000 };
    static char names[N][16];
    static struct slice argv[N + 1];
    argv[0] = SLICE("MGET");
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d", i);
        argv[i + 1] = slice_str(names[i]);
    }
    const struct exec_input in = {.argv = argv, .argc = N + 1};
    assert_int_equal(exec_command(world.x, &a.session, &in), EXEC_TAKEN);
    for (int node = 0; node < 2; node++) {
        struct str reply = {0};
        int n = 0;
        for (int i = 0; i < N; i++) {
            if ((int)slot_to_shard(slot_of(argv[i + 1]), SHARDS) % 2 == node) {
                str_printf(&reply, "$%zu\r\n%s\r\n", argv[i + 1].len, names[i]);
                n++;
            }
        }
        struct str whole = {0};
        str_printf(&whole, "*%d\r\n", n);
        str_append_slice(&whole, str_slice(&reply));
        sent(wire_to(node, LANE_WRITE));
        answer(wire_to(node, LANE_WRITE), str_cstr(&whole));
        str_fini(&reply);
        str_fini(&whole);
    }
    struct str want = {0};
    str_printf(&want, "*%d\r\n", N);
    for (int i = 0; i < N; i++) {
        str_printf(&want, "$%zu\r\n%s\r\n", argv[i + 1].len, names[i]);
    }
    assert_string_equal(heard(&a), str_cstr(&want));
    str_fini(&want);
    person_fini(&a);
    world_end();
}

/* --- local commands --- */

static enum local_result local_pong(struct local_call *c)
{
    resp_simple(c->w, "PONG");
    return LOCAL_DONE;
}

static struct request *later;

static enum local_result local_later(struct local_call *c)
{
    later = c->request;
    return LOCAL_LATER;
}

static int merged;

static void count_answers(struct local_call *c, const struct fan_answer *answers, size_t n,
                          void *arg)
{
    (void)arg;
    merged = 0;
    for (size_t i = 0; i < n; i++) {
        merged += answers[i].reply.ptr[0] != '-';
    }
    resp_int(c->w, merged);
}

static enum local_result local_all(struct local_call *c)
{
    static const struct slice words[2] = {SLICE("INFO"), SLICE("memory")};
    return local_fan(c, words, 2, count_answers, NULL);
}

static enum local_result local_on(struct local_call *c)
{
    return local_forward(c, c->argv, c->argc, (struct slice){0});
}

static enum local_result local_select(struct local_call *c)
{
    c->session->db = c->argv[1].ptr[0] - '0';
    resp_ok(c->w);
    return LOCAL_DONE;
}

static void with_locals(int nodes)
{
    world_begin();
    local_table_set(world.local, CMD_PING, local_pong, 0);
    local_table_set(world.local, CMD_ECHO, local_later, 0);
    local_table_set(world.local, CMD_INFO, local_all, LOCAL_ORDERED);
    local_table_set(world.local, CMD_LOLWUT, local_on, 0);
    local_table_set(world.local, CMD_SELECT, local_select, 0);
    local_table_set(world.local, CMD_QUIT, local_pong, LOCAL_IN_MULTI);
    world_start(nodes);
}

static void test_local_replies_keep_their_place(void **state)
{
    (void)state;
    struct person a;
    with_locals(1);
    person_init(&a);
    SAY(&a, "PING");
    HEARD(&a, "+PONG\r\n");
    SAY(&a, "GET x");
    SAY(&a, "PING");
    SAY(&a, "ECHO x");
    SAY(&a, "PING");
    local_finish_slice(world.x, later, SLICE("$1\r\nx\r\n"));
    assert_string_equal(heard(&a), "");
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "$-1\r\n");
    HEARD(&a, "$-1\r\n+PONG\r\n$1\r\nx\r\n+PONG\r\n");
    SAY(&a, "ECHO x");
    person_fini(&a);
    local_finish_slice(world.x, later, SLICE("$1\r\nx\r\n")); /* nobody is there any more */
    assert_int_equal(exec_open_requests(world.x), 0);
    world_end();
}

static void test_a_fan_out_asks_every_node(void **state)
{
    (void)state;
    struct person a;
    with_locals(3);
    person_init(&a);
    SAY(&a, "GET x");
    SAY_STOPS(&a, "INFO"); /* ordered: when everything before is answered */
    for (int i = 0; i < 3; i++) {
        if (find_wire(i, LANE_READ) != NULL) {
            sent(wire_to(i, LANE_READ));
            answer(wire_to(i, LANE_READ), "$-1\r\n");
        }
    }
    HEARD(&a, "$-1\r\n");
    SAY(&a, "INFO");
    for (int i = 0; i < 3; i++) {
        SENT(wire_to(i, LANE_WRITE), "INFO memory;");
    }
    answer(wire_to(2, LANE_WRITE), "$1\r\nx\r\n");
    answer(wire_to(0, LANE_WRITE), "-ERR no\r\n");
    answer(wire_to(1, LANE_WRITE), "$1\r\ny\r\n");
    HEARD(&a, ":2\r\n");
    SAY(&a, "INFO");
    sent(wire_to(0, LANE_WRITE));
    person_fini(&a);
    for (int i = 0; i < 3; i++) {
        answer(wire_to(i, LANE_WRITE), "$1\r\nx\r\n");
    }
    assert_int_equal(merged, 3); /* the merge runs even so: it may have something to free */
    world_end();
}

static void test_a_local_command_may_go_on_to_a_node(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    person_init(&a);
    SAY(&a, "LOLWUT VERSION 5");
    SENT(wire_to(0, LANE_WRITE), "LOLWUT VERSION 5;");
    answer(wire_to(0, LANE_WRITE), "+art\r\n");
    HEARD(&a, "+art\r\n");
    person_fini(&a);
    world_end();
}

/* --- transactions --- */

static void test_a_transaction_goes_in_one_piece(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    person_init(&a);
    const char *k = key_of(1, 0);
    SAY(&a, "MULTI");
    SAY(&a, "SET %s 1", k);
    SAY(&a, "PING");
    SAY(&a, "GET %s", k);
    HEARD(&a, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    SAY(&a, "EXEC");
    SAY(&a, "GET %s", k); /* the client need not wait */
    SENT(wire_to(1, LANE_WRITE), "MULTI;SET %s 1;PING;GET %s;EXEC;GET %s;", k, k, k);
    answer(wire_to(1, LANE_WRITE), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+PONG\r\n"
                                   "$1\r\n1\r\n$1\r\n1\r\n");
    HEARD(&a, "*3\r\n+OK\r\n+PONG\r\n$1\r\n1\r\n$1\r\n1\r\n");
    person_fini(&a);
    world_end();
}

static void test_wrong_transactions_are_refused(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    person_init(&a);
    SAY(&a, "EXEC");
    SAY(&a, "DISCARD");
    SAY(&a, "MULTI");
    SAY(&a, "MULTI");
    SAY(&a, "WATCH x");
    SAY(&a, "DISCARD");
    HEARD(
        &a,
        "-ERR EXEC without MULTI\r\n-ERR DISCARD without MULTI\r\n+OK\r\n"
        "-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n+OK\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "GET");
    SAY(&a, "EXEC");
    HEARD(&a, "+OK\r\n-ERR wrong number of arguments for 'get' command\r\n"
              "-EXECABORT Transaction discarded because of previous errors.\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "SET %s 1", key_of(0, 0));
    SAY(&a, "SET %s 1", key_of(1, 0));
    SAY(&a, "EXEC");
    HEARD(&a, "+OK\r\n+QUEUED\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n"
              "-EXECABORT Transaction discarded because of previous errors.\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "EXEC");
    HEARD(&a, "+OK\r\n*0\r\n");
    person_fini(&a);
    world_end();
}

static void test_what_nodes_do_not_answer_runs_in_its_place(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    person_init(&a);
    const char *k = key_of(0, 0);
    SAY(&a, "MULTI");
    SAY(&a, "SET %s 1", k);
    SAY(&a, "DBSIZE");
    SAY(&a, "ECHO hi"); /* with a node's part it is the node's */
    SAY(&a, "EXEC");
    heard(&a);
    SAY_STOPS(&a, "PING");
    SENT(wire_to(0, LANE_WRITE), "MULTI;SET %s 1;EXEC;", k);
    assert_null(find_wire(1, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_int_equal(answer_each(":2\r\n"), SHARDS);
    SENT(wire_to(0, LANE_WRITE), "MULTI;ECHO hi;EXEC;");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n+QUEUED\r\n*1\r\n$2\r\nhi\r\n");
    HEARD(&a, "*3\r\n+OK\r\n:8\r\n$2\r\nhi\r\n");
    assert_int_equal(world.resumed, 1);
    SAY(&a, "MULTI");
    SAY(&a, "PING");
    SAY(&a, "ECHO hi");
    SAY(&a, "PING");
    SAY(&a, "EXEC");
    HEARD(&a, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    local_finish_slice(world.x, later, SLICE("$2\r\nhi\r\n"));
    HEARD(&a, "*3\r\n+PONG\r\n$2\r\nhi\r\n+PONG\r\n");
    person_fini(&a);
    world_end();
}

static void test_a_client_leaves_in_the_midst_of_exec(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    for (int round = 0; round < 3; round++) {
        person_init(&a);
        SAY(&a, "MULTI");
        SAY(&a, "PING");
        SAY(&a, "ECHO hi");
        SAY(&a, "DBSIZE");
        if (round != 1) {
            SAY(&a, "SET %s 1", key_of(0, 0));
        }
        later = NULL;
        SAY(&a, "EXEC");
        person_fini(&a);
        if (later != NULL) {
            local_finish_slice(world.x, later, SLICE("$2\r\nhi\r\n"));
        }
        for (int node = 0; node < 2; node++) {
            struct wire *w = find_wire(node, LANE_WRITE);
            if (w != NULL && w->lane->in_flight > 0) {
                const char *what = sent(w);
                if (strstr(what, "SHOAL ON ") == NULL) {
                    answer(w, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$2\r\nhi\r\n");
                }
                for (; (what = strstr(what, "SHOAL ON ")) != NULL; what++) {
                    answer(w, ":1\r\n");
                }
            }
        }
        answer_each(":1\r\n");
        assert_int_equal(exec_open_requests(world.x), 0);
    }
    world_end();
}

static void test_watch_has_a_connection_of_its_own(void **state)
{
    (void)state;
    struct person a;
    with_locals(2);
    person_init(&a);
    const char *k = key_of(0, 0);
    SAY(&a, "WATCH %s", k);
    SENT(wire_to(0, LANE_PINNED), "WATCH %s;", k);
    SAY_STOPS(&a, "GET %s", k);
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    HEARD(&a, "+OK\r\n");
    SAY(&a, "GET %s", k);
    sent(wire_to(0, LANE_READ));
    answer(wire_to(0, LANE_READ), "$-1\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "SET %s 1", k);
    HEARD(&a, "$-1\r\n+OK\r\n+QUEUED\r\n");
    SAY(&a, "EXEC");
    SENT(wire_to(0, LANE_PINNED), "MULTI;SET %s 1;EXEC;", k);
    answer(wire_to(0, LANE_PINNED), "+OK\r\n+QUEUED\r\n*-1\r\n");
    HEARD(&a, "*-1\r\n");
    /* The connection is used again; UNWATCH cleans it before. */
    SAY(&a, "WATCH %s", k);
    SENT(wire_to(0, LANE_PINNED), "WATCH %s;", k);
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    SAY(&a, "UNWATCH");
    SENT(wire_to(0, LANE_PINNED), "UNWATCH;");
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    HEARD(&a, "+OK\r\n+OK\r\n");
    SAY(&a, "WATCH %s", key_of(1, 0));
    SENT(wire_to(1, LANE_PINNED), "WATCH %s;", key_of(1, 0));
    person_fini(&a);
    world_end();
}

static void test_a_watch_that_broke_means_nil(void **state)
{
    (void)state;
    struct person a;
    with_locals(1);
    person_init(&a);
    SAY(&a, "WATCH x");
    sent(wire_to(0, LANE_PINNED));
    answer(wire_to(0, LANE_PINNED), "+OK\r\n");
    snap(wire_to(0, LANE_PINNED), LANE_BROKEN);
    SAY(&a, "MULTI");
    SAY(&a, "SET x 1");
    SAY(&a, "EXEC");
    HEARD(&a, "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
    person_fini(&a);
    world_end();
}

static void test_watching_clients_are_bounded(void **state)
{
    (void)state;
    struct person a[6];
    with_locals(1);
    for (int i = 0; i < 6; i++) {
        person_init(&a[i]);
        SAY(&a[i], "WATCH x");
        HEARD(&a[i], "%s", i < 4 ? "" : "-ERR too many clients watch keys\r\n");
    }
    for (int i = 0; i < 6; i++) {
        person_fini(&a[i]);
    }
    pass_time(1000);
    world_end();
}

static void test_a_transaction_is_tried_again_where_it_was_not_executed(void **state)
{
    (void)state;
    struct person a;
    with_locals(1);
    person_init(&a);
    SAY(&a, "MULTI");
    SAY(&a, "SET x 1");
    SAY(&a, "EXEC");
    heard(&a);
    sent(wire_to(0, LANE_WRITE));
    answer(wire_to(0, LANE_WRITE), "+OK\r\n-MOVED 1 x:1\r\n-EXECABORT Transaction discarded\r\n");
    assert_string_equal(heard(&a), "");
    pass_time(50000);
    SENT(wire_to(0, LANE_WRITE), "MULTI;SET x 1;EXEC;");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n-OOM no\r\n-EXECABORT Transaction discarded\r\n");
    HEARD(&a, "-EXECABORT Transaction discarded\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "SET x 1");
    SAY(&a, "EXEC");
    heard(&a);
    sent(wire_to(0, LANE_WRITE));
    snap(wire_to(0, LANE_WRITE), LANE_BROKEN);
    assert_non_null(strstr(heard(&a), "-UNKNOWNOUTCOME"));
    person_fini(&a);
    world_end();
}

static void test_select_inside_a_transaction_lasts(void **state)
{
    (void)state;
    struct person a;
    with_locals(1);
    person_init(&a);
    SAY(&a, "MULTI");
    SAY(&a, "SELECT 3");
    SAY(&a, "SET x 1");
    SAY(&a, "EXEC");
    heard(&a);
    SENT(wire_to(0, LANE_WRITE), "MULTI;SELECT 3;SET x 1;EXEC;");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
    assert_int_equal(a.session.db, 3);
    SAY(&a, "SET x 2");
    SENT(wire_to(0, LANE_WRITE), "SELECT 3;SET x 2;");
    answer(wire_to(0, LANE_WRITE), "+OK\r\n+OK\r\n");
    HEARD(&a, "*2\r\n+OK\r\n+OK\r\n+OK\r\n");
    SAY(&a, "MULTI");
    SAY(&a, "SELECT 5");
    SAY(&a, "EXEC");
    assert_int_equal(a.session.db, 5);
    HEARD(&a, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    person_fini(&a);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mget_comes_together_in_the_order_of_its_keys),
        cmocka_unit_test(test_keys_of_one_shard_stay_one_command),
        cmocka_unit_test(test_mset_and_del_are_split_too),
        cmocka_unit_test(test_an_error_of_one_part_is_the_reply),
        cmocka_unit_test(test_a_part_whose_shards_moved_is_cut_anew),
        cmocka_unit_test(test_a_part_waits_for_its_shard),
        cmocka_unit_test(test_a_write_of_unknown_fate_in_one_part),
        cmocka_unit_test(test_dbsize_is_the_sum_and_keys_are_all),
        cmocka_unit_test(test_what_is_about_all_shards_waits_for_each),
        cmocka_unit_test(test_a_shard_that_moved_is_emptied_where_it_is),
        cmocka_unit_test(test_randomkey_asks_on_until_there_is_one),
        cmocka_unit_test(test_a_node_that_died_need_not_answer),
        cmocka_unit_test(test_randomkey_of_a_node_that_died),
        cmocka_unit_test(test_scan_goes_from_shard_to_shard),
        cmocka_unit_test(test_scan_stays_in_its_database),
        cmocka_unit_test(test_scan_makes_a_bounded_number_of_hops),
        cmocka_unit_test(test_wrong_cursors_are_refused),
        cmocka_unit_test(test_a_change_of_all_nodes_waits_for_the_clients_writes),
        cmocka_unit_test(test_a_write_over_all_waits_for_the_clients_reads),
        cmocka_unit_test(test_a_thousand_keys_stay_in_order),
        cmocka_unit_test(test_local_replies_keep_their_place),
        cmocka_unit_test(test_a_fan_out_asks_every_node),
        cmocka_unit_test(test_a_local_command_may_go_on_to_a_node),
        cmocka_unit_test(test_a_transaction_goes_in_one_piece),
        cmocka_unit_test(test_wrong_transactions_are_refused),
        cmocka_unit_test(test_what_nodes_do_not_answer_runs_in_its_place),
        cmocka_unit_test(test_a_client_leaves_in_the_midst_of_exec),
        cmocka_unit_test(test_watch_has_a_connection_of_its_own),
        cmocka_unit_test(test_a_watch_that_broke_means_nil),
        cmocka_unit_test(test_watching_clients_are_bounded),
        cmocka_unit_test(test_a_transaction_is_tried_again_where_it_was_not_executed),
        cmocka_unit_test(test_select_inside_a_transaction_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
