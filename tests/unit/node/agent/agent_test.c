// SPDX-License-Identifier: BSD-3-Clause
/* The agent over real sockets against a coordinator played by this test. Waits are for events,
 * with a limit that only a failure reaches. */
#include "node/agent/agent.h"

#include "common/base/mem.h"
#include "common/io/listen.h"
#include "common/io/resp_link.h"
#include "common/wire/version.h"
#include "common/wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LIMIT_MS 20000
#define CLUSTER  "00000000000000000000000000000000000000c1"
#define OTHER    "00000000000000000000000000000000000000c2"
#define SELF     "0000000000000000000000000000000000000005"

struct fixture {
    struct loop *loop;
    struct listener *listener;
    struct resp_link *link; /* from the node; NULL: none */
    int links;
    struct agent *agent;
    /* what the node said */
    struct wire_message registration; /* the last */
    int registrations;
    int heartbeats;
    uint64_t confirmed;
    /* what the node was told */
    int maps;
    int self;
    uint64_t keys; /* of every shard */
    uint64_t lag;  /* told in PROGRESS; 0: nothing */
    uint64_t lease_ms;
    struct wire_change order;
    struct wire_change report; /* the last that came */
    uint64_t progress;
    struct wire_ask asked; /* the last; without its words */
    struct str words;
    bool is_a_node;  /* knows no REGISTER, but where the coordinator is */
    struct str info; /* its INFO */
    bool closes;     /* before a password is named */
    bool names_password;
    int ways; /* INFO was asked for */
    struct str reply;
    int replies;
    /* waiting */
    struct loop_timer limit;
    struct loop_timer poll;
    bool (*until)(struct fixture *f);
    bool late;
};

static void on_limit(struct loop_timer *t)
{
    struct fixture *f = t->arg;
    f->late = true;
    loop_stop(f->loop);
}

static void on_poll(struct loop_timer *t)
{
    struct fixture *f = t->arg;
    if (f->until(f)) {
        loop_stop(f->loop);
    }
}

static void wait_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    f->late = false;
    loop_timer_start(&f->limit, LIMIT_MS, 0);
    loop_timer_start(&f->poll, 0, 2);
    loop_run(f->loop);
    loop_timer_stop(&f->limit);
    loop_timer_stop(&f->poll);
    assert_false(f->late);
}

/* ---- the coordinator ---- */

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct fixture *f = resp_link_owner(l);
    struct wire_message m;
    assert_int_equal(type, '*');
    if (f->is_a_node) {
        if (slice_is(argv[0], "auth")) {
            f->names_password = argc == 2 && slice_is(argv[1], "secret");
            resp_link_send_raw(l, SLICE("+OK\r\n"));
        } else if (f->closes && !f->names_password) {
            resp_link_send_raw(l,
                               SLICE("-ERR Protocol error: unauthenticated multibulk length\r\n"));
            resp_link_close_after_flush(l);
        } else if (slice_is(argv[0], "info")) {
            f->ways++;
            f->is_a_node = false; /* where it sends the node to is here, too */
            resp_link_send_raw(l, str_slice(&f->info));
        } else {
            resp_link_send_raw(l, SLICE("-ERR unknown command 'REGISTER'\r\n"));
        }
        return;
    }
    assert_null(wire_decode(argv, argc, &m));
    if (m.kind == WIRE_REGISTER) {
        wire_message_fini(&f->registration);
        f->registration = m;
        f->registrations++;
        return;
    }
    if (m.kind == WIRE_HEARTBEAT) {
        f->heartbeats++;
        assert_int_equal(m.heartbeat.clients, 3);
    } else if (m.kind == WIRE_CONFIRM) {
        f->confirmed = m.confirm.epoch;
    } else if (m.kind == WIRE_REPORT) {
        assert_int_equal(m.report.changes.count, 2);
        f->report = m.report.changes.items[1];
    } else if (m.kind == WIRE_ASK) {
        f->asked = m.ask;
        str_clear(&f->words);
        str_append_slice(&f->words, m.ask.words);
    } else if (m.kind == WIRE_PROGRESS) {
        f->progress = m.progress.copies.items[0].lag_versions;
    }
    wire_message_fini(&m);
}

static void on_down(struct resp_link *l, int err)
{
    struct fixture *f = resp_link_owner(l);
    (void)err;
    if (f->link == l) {
        f->link = NULL;
    }
    resp_link_free(&l);
}

static void on_accept(void *arg, int fd)
{
    struct fixture *f = arg;
    f->links++;
    f->link = resp_link_accept(f->loop, fd, f, on_message, on_down);
}

static void tell(struct fixture *f, const struct wire_message *m)
{
    struct wire_frame frame = {0};
    wire_encode(m, &frame);
    resp_link_send(f->link, frame.argv, frame.argc);
    wire_frame_fini(&frame);
}

static void welcome(struct fixture *f, const char *cluster, uint64_t interval_ms)
{
    struct wire_message m = {.kind = WIRE_WELCOME};
    memcpy(m.welcome.cluster_id, cluster, sizeof(m.welcome.cluster_id));
    m.welcome.heartbeat_interval_ms = interval_ms;
    m.welcome.lease_ms = 700;
    tell(f, &m);
}

static struct map *make_map(const char *cluster, uint64_t epoch)
{
    struct map *m = map_build_new(4, cluster);
    for (int i = 0; i < 2; i++) {
        struct map_node n = {.port = 7000 + i, .weight = 100, .incarnation = 1};
        (void)snprintf(n.id, sizeof(n.id), "%040x", 4 + i);
        (void)snprintf(n.host, sizeof(n.host), "127.0.0.1");
        (void)map_build_add_node(m, &n);
    }
    m->assigned = true;
    m->epoch = epoch;
    for (int i = 0; i < 4; i++) {
        assert_true(map_build_add_member(&m->shards[i], i % 2));
        map_build_set_primary(&m->shards[i], i % 2);
    }
    return m;
}

static void send_map(struct fixture *f, struct map *m)
{
    struct str bytes = {0};
    map_encode(m, &bytes);
    struct wire_message w = {.kind = WIRE_MAP};
    w.map.epoch = m->epoch;
    w.map.map = str_slice(&bytes);
    tell(f, &w);
    str_fini(&bytes);
    map_unref(&m);
}

/* ---- the node ---- */

static void node_map(void *arg, struct map *m, int self)
{
    struct fixture *f = arg;
    assert_null(map_check(m));
    f->maps++;
    f->self = self;
}

static uint64_t node_keys(void *arg, int shard)
{
    struct fixture *f = arg;
    return f->keys + (uint64_t)shard;
}

static bool node_held(void *arg, int shard, uint64_t *term, uint64_t *version)
{
    (void)arg;
    *term = 1;
    *version = 0;
    return shard % 2 == 1;
}

static int node_shards(void *arg)
{
    (void)arg;
    return 4;
}

static uint64_t node_bytes(void *arg, int shard)
{
    (void)arg;
    return (uint64_t)shard * 100;
}

static void node_welcome(void *arg, const struct wire_welcome *w)
{
    struct fixture *f = arg;
    f->lease_ms = w->lease_ms;
}

static void node_order(void *arg, const struct wire_change *c)
{
    struct fixture *f = arg;
    f->order = *c;
}

static void node_progress(void *arg, bool copied_only, struct wire_copies *to)
{
    const struct fixture *f = arg;
    if (!copied_only && f->lag > 0) {
        struct wire_copy c = {.shard = 1, .node = OTHER, .lag_versions = f->lag};
        wire_copies_add(to, &c);
    }
}

static void node_load(void *arg, struct agent_load *out)
{
    (void)arg;
    *out = (struct agent_load){.keys = 1, .memory = 2, .ops = 4, .clients = 3};
}

static struct agent_port port_of(struct fixture *f)
{
    return (struct agent_port){.arg = f,
                               .map = node_map,
                               .n_shards = node_shards,
                               .shard_keys = node_keys,
                               .shard_held = node_held,
                               .shard_bytes = node_bytes,
                               .welcome = node_welcome,
                               .order = node_order,
                               .progress = node_progress,
                               .load = node_load};
}

static int start(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct errmsg err;
    *state = f;
    f->registration.kind = WIRE_REGISTER;
    f->loop = loop_new();
    loop_timer_init(&f->limit, f->loop, on_limit, f);
    loop_timer_init(&f->poll, f->loop, on_poll, f);
    f->listener = listener_new(f->loop, "127.0.0.1", 0, 16, false, on_accept, f, &err);
    assert_non_null(f->listener);
    struct agent_settings s = {
        .id = SELF, .incarnation = 9, .port = 7001, .weight = 150, .password = ""};
    (void)snprintf(s.zone, sizeof(s.zone), "east");
    struct agent_port port = port_of(f);
    f->agent = agent_new(f->loop, &s, &port);
    assert_int_equal(agent_state(f->agent), AGENT_IDLE);
    assert_true(agent_join(f->agent, "127.0.0.1", listener_port(f->listener), &err));
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    agent_free(&f->agent);
    resp_link_free(&f->link);
    listener_free(&f->listener);
    loop_timer_fini(&f->limit);
    loop_timer_fini(&f->poll);
    loop_free(&f->loop);
    wire_message_fini(&f->registration);
    str_fini(&f->words);
    str_fini(&f->info);
    str_fini(&f->reply);
    mem_free(f);
    return 0;
}

static bool registered(struct fixture *f)
{
    return f->registrations > 0;
}

static bool member(struct fixture *f)
{
    return agent_state(f->agent) == AGENT_MEMBER;
}

static bool three_heartbeats(struct fixture *f)
{
    return f->heartbeats >= 3;
}

static bool confirmed(struct fixture *f)
{
    return f->confirmed > 0;
}

static bool two_links(struct fixture *f)
{
    return f->links >= 2 && f->registrations >= 2;
}

static bool forgotten(struct fixture *f)
{
    return agent_state(f->agent) == AGENT_FORGOTTEN;
}

static bool has_why(struct fixture *f)
{
    return agent_why(f->agent)[0] != '\0';
}

/* With heartbeats so rare that no silence is noticed, however slow the machine. */
static void become_member(struct fixture *f)
{
    wait_until(f, registered);
    welcome(f, CLUSTER, 600000);
    wait_until(f, member);
}

static void test_it_registers_with_all_that_it_is_and_sends_heartbeats(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    const struct wire_registration *r = &f->registration.registration;
    assert_int_equal(r->wire_version, WIRE_VERSION);
    assert_string_equal(r->id, SELF);
    assert_int_equal(r->incarnation, 9);
    assert_int_equal(r->port, 7001);
    assert_int_equal(r->weight, 150);
    assert_string_equal(r->zone, "east");
    assert_string_equal(r->host, "");
    assert_string_equal(r->cluster_id, "");
    assert_int_equal(r->held.count, 2);
    assert_int_equal(r->held.items[1].shard, 3);
    assert_int_equal(r->held.items[1].bytes, 300);
    assert_int_equal(r->durable, 0);
    assert_int_equal(f->lease_ms, 700);
    assert_string_equal(agent_why(f->agent), "");
    welcome(f, CLUSTER, 20);
    wait_until(f, three_heartbeats);
}

static void test_it_applies_a_map_and_confirms_it(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    struct map *m = make_map(CLUSTER, 5);
    assert_true(map_build_add_member(&m->shards[3], 0));
    send_map(f, m);
    wait_until(f, confirmed);
    assert_int_equal(f->confirmed, 5);
    assert_int_equal(f->maps, 1);
    assert_int_equal(f->self, 1);
    f->confirmed = 0; /* the same again: confirmed again, not applied again */
    send_map(f, make_map(CLUSTER, 5));
    wait_until(f, confirmed);
    assert_int_equal(f->maps, 1);
}

static void test_it_ignores_an_older_map(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    send_map(f, make_map(CLUSTER, 5));
    wait_until(f, confirmed);
    f->confirmed = 0;
    send_map(f, make_map(CLUSTER, 4));
    send_map(f, make_map(CLUSTER, 6));
    wait_until(f, confirmed);
    assert_int_equal(f->confirmed, 6);
    assert_int_equal(f->maps, 2);
    assert_int_equal(agent_map(f->agent)->epoch, 6);
}

static void test_it_ignores_a_map_of_another_cluster(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    send_map(f, make_map(OTHER, 9));
    send_map(f, make_map(CLUSTER, 3));
    wait_until(f, confirmed);
    assert_int_equal(f->confirmed, 3);
    assert_int_equal(f->maps, 1);
}

static void test_it_comes_back_when_the_link_breaks_and_keeps_its_map(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    send_map(f, make_map(CLUSTER, 5));
    wait_until(f, confirmed);
    resp_link_free(&f->link);
    wait_until(f, two_links);
    assert_int_equal(agent_map(f->agent)->epoch, 5);
    const struct wire_registration *r = &f->registration.registration;
    assert_string_equal(r->cluster_id, CLUSTER);
    assert_int_equal(r->epoch, 5);
    assert_int_equal(r->held.count, 2);
    assert_int_equal(r->held.items[0].shard, 1);
}

static void test_a_refusal_is_remembered_and_tried_again(void **state)
{
    struct fixture *f = *state;
    wait_until(f, registered);
    struct wire_message m = {.kind = WIRE_REFUSED};
    (void)snprintf(m.refused.reason, sizeof(m.refused.reason), "not today");
    tell(f, &m);
    wait_until(f, has_why);
    assert_string_equal(agent_why(f->agent), "refused: not today");
    assert_int_equal(agent_state(f->agent), AGENT_CONNECTING);
    wait_until(f, two_links);
}

static void test_a_silent_coordinator_is_left_and_tried_anew(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    welcome(f, CLUSTER, 20); /* and never answers the heartbeats */
    wait_until(f, two_links);
    assert_int_equal(f->registrations, 2);
}

static void test_forgotten_it_stays_away_until_it_is_told_to_join(void **state)
{
    struct fixture *f = *state;
    struct errmsg err;
    become_member(f);
    assert_false(agent_join(f->agent, "127.0.0.2", 7000, &err));
    assert_non_null(strstr(err.text, "is a member of cluster"));
    struct wire_message m = {.kind = WIRE_FORGOTTEN};
    tell(f, &m);
    wait_until(f, forgotten);
    assert_true(agent_join(f->agent, "127.0.0.1", listener_port(f->listener), &err));
    wait_until(f, two_links);
    assert_string_equal(f->registration.registration.cluster_id, "");
}

static void test_nonsense_from_the_coordinator_breaks_the_link(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    resp_link_send_raw(f->link, SLICE("-ERR who are you\r\n"));
    wait_until(f, two_links);
}

static void test_a_changed_weight_is_registered(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    f->registrations = 0;
    agent_set(f->agent, 70, "west");
    wait_until(f, registered);
    assert_int_equal(f->registration.registration.weight, 70);
    assert_string_equal(f->registration.registration.zone, "west");
}

#define RUN(test) cmocka_unit_test_setup_teardown(test, start, stop)

static bool ordered(struct fixture *f)
{
    return f->order.term != 0;
}

static bool reported(struct fixture *f)
{
    return f->report.term != 0;
}

static bool told_progress(struct fixture *f)
{
    return f->progress != 0;
}

static void test_orders_come_reports_and_progress_go(void **state)
{
    struct fixture *f = *state;
    agent_report(f->agent, WIRE_ADD, 1, 1, OTHER); /* nobody is there to hear it */
    f->lag = 12;
    become_member(f);
    struct wire_message m = {.kind = WIRE_ORDER};
    wire_changes_add(&m.order.changes, WIRE_HANDOVER, 3, 8, OTHER);
    tell(f, &m);
    wire_message_fini(&m);
    wait_until(f, ordered);
    assert_int_equal(f->order.op, WIRE_HANDOVER);
    assert_int_equal(f->order.shard, 3);
    assert_string_equal(f->order.node, OTHER);
    agent_report(f->agent, WIRE_REMOVE, 1, 4, OTHER);
    agent_report(f->agent, WIRE_ADD, 2, 5, OTHER);
    wait_until(f, reported); /* both in one message */
    assert_int_equal(f->report.op, WIRE_ADD);
    assert_int_equal(f->report.shard, 2);
    welcome(f, CLUSTER, 20);
    wait_until(f, told_progress);
    assert_int_equal(f->progress, 12);
}

/* ---- what operators ask ---- */

static void take_reply(void *arg, struct slice reply)
{
    struct fixture *f = arg;
    str_clear(&f->reply);
    str_append_slice(&f->reply, reply);
    f->replies++;
}

static bool was_asked(struct fixture *f)
{
    return f->asked.number != 0;
}

static bool replied(struct fixture *f)
{
    return f->replies > 0;
}

static uint64_t ask_something(struct fixture *f)
{
    const struct slice words[] = {SLICE("CLUSTER"), SLICE("DRAIN"), SLICE("x y")};
    return agent_ask(f->agent, 3, words, 3, take_reply, f);
}

static void answer(struct fixture *f, uint64_t number, uint64_t epoch)
{
    struct wire_message m = {
        .kind = WIRE_ANSWER,
        .answer = {.number = number, .epoch = epoch, .reply = SLICE("+OK\r\n")}};
    tell(f, &m);
}

static void test_what_is_asked_is_answered_when_its_map_is_in_force(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask_something(f), 0); /* no member yet */
    become_member(f);
    uint64_t first = ask_something(f);
    uint64_t second = ask_something(f);
    assert_true(first != 0 && second != first);
    wait_until(f, was_asked);
    assert_int_equal(f->asked.proto, 3);
    assert_string_equal(str_cstr(&f->words), "*3\r\n$7\r\nCLUSTER\r\n$5\r\nDRAIN\r\n$3\r\nx y\r\n");
    answer(f, second, 0);
    wait_until(f, replied);
    assert_string_equal(str_cstr(&f->reply), "+OK\r\n");
    answer(f, first, 5);
    send_map(f, make_map(CLUSTER, 4));
    wait_until(f, confirmed);
    assert_int_equal(f->replies, 1); /* its map is yet to come */
    f->replies = 0;
    send_map(f, make_map(CLUSTER, 5));
    wait_until(f, replied);
    assert_int_equal(f->maps, 2);
}

static void test_who_asked_is_told_when_the_link_breaks(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    assert_true(ask_something(f) != 0);
    agent_unask(f->agent, ask_something(f)); /* this one went */
    wait_until(f, was_asked);
    resp_link_free(&f->link);
    wait_until(f, replied);
    assert_non_null(strstr(str_cstr(&f->reply), "-CLUSTERDOWN"));
    assert_int_equal(f->replies, 1);
}

static void test_a_node_tells_where_the_coordinator_is(void **state)
{
    struct fixture *f = *state;
    char line[64];
    int n = snprintf(line, sizeof(line), "# Cluster\r\nshoal_coordinator:127.0.0.1:%d\r\n",
                     listener_port(f->listener));
    str_printf(&f->info, "$%d\r\n%s\r\n", n, line);
    f->is_a_node = true;
    assert_true(agent_await(f->agent, take_reply, f) != 0);
    wait_until(f, registered);
    assert_int_equal(f->ways, 1);
    assert_int_equal(f->replies, 0);
    welcome(f, CLUSTER, 600000);
    wait_until(f, replied);
    assert_string_equal(str_cstr(&f->reply), "+OK\r\n");
    assert_false(agent_reset(f->agent)); /* a member */
}

static bool two_links_then_registered(struct fixture *f)
{
    return f->registrations > 0 && f->ways > 0;
}

static void test_a_node_that_asks_for_a_password_tells_it_too(void **state)
{
    struct fixture *f = *state;
    char line[64];
    struct errmsg err;
    int n = snprintf(line, sizeof(line), "shoal_coordinator:127.0.0.1:%d\r\n",
                     listener_port(f->listener));
    str_printf(&f->info, "$%d\r\n%s\r\n", n, line);
    f->is_a_node = true;
    f->closes = true;
    struct agent_settings s = {.id = SELF, .incarnation = 9, .port = 7001, .password = "another"};
    struct agent_port port = port_of(f);
    agent_free(&f->agent);
    f->agent = agent_new(f->loop, &s, &port);
    char *secret = mem_strdup("secret");
    agent_password(f->agent, secret);
    mem_free(secret);
    assert_true(agent_join(f->agent, "127.0.0.1", listener_port(f->listener), &err));
    assert_true(agent_await(f->agent, take_reply, f) != 0);
    wait_until(f, two_links_then_registered);
    assert_true(f->names_password);
    welcome(f, CLUSTER, 600000);
    wait_until(f, replied);
    assert_string_equal(str_cstr(&f->reply), "+OK\r\n");
}

static void test_who_knows_no_coordinator_is_not_asked_again(void **state)
{
    struct fixture *f = *state;
    str_appendz(&f->info, "$30\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n");
    f->is_a_node = true;
    assert_true(agent_await(f->agent, take_reply, f) != 0);
    wait_until(f, replied);
    assert_non_null(strstr(str_cstr(&f->reply), "-ERR Not joined: who is there is in no cluster"));
    assert_int_equal(agent_state(f->agent), AGENT_IDLE);
    assert_string_equal(agent_coordinator(f->agent), "");
}

static void test_what_the_cluster_forgot_can_forget_the_cluster(void **state)
{
    struct fixture *f = *state;
    become_member(f);
    send_map(f, make_map(CLUSTER, 4));
    wait_until(f, confirmed);
    struct wire_message m = {.kind = WIRE_FORGOTTEN};
    tell(f, &m);
    wait_until(f, forgotten);
    assert_non_null(agent_map(f->agent));
    assert_true(agent_reset(f->agent));
    assert_null(agent_map(f->agent));
    assert_int_equal(agent_state(f->agent), AGENT_IDLE);
    assert_string_equal(agent_why(f->agent), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(test_orders_come_reports_and_progress_go),
        RUN(test_it_registers_with_all_that_it_is_and_sends_heartbeats),
        RUN(test_it_applies_a_map_and_confirms_it),
        RUN(test_it_ignores_an_older_map),
        RUN(test_it_ignores_a_map_of_another_cluster),
        RUN(test_it_comes_back_when_the_link_breaks_and_keeps_its_map),
        RUN(test_a_refusal_is_remembered_and_tried_again),
        RUN(test_a_silent_coordinator_is_left_and_tried_anew),
        RUN(test_forgotten_it_stays_away_until_it_is_told_to_join),
        RUN(test_nonsense_from_the_coordinator_breaks_the_link),
        RUN(test_a_changed_weight_is_registered),
        RUN(test_what_is_asked_is_answered_when_its_map_is_in_force),
        RUN(test_who_asked_is_told_when_the_link_breaks),
        RUN(test_a_node_tells_where_the_coordinator_is),
        RUN(test_a_node_that_asks_for_a_password_tells_it_too),
        RUN(test_who_knows_no_coordinator_is_not_asked_again),
        RUN(test_what_the_cluster_forgot_can_forget_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
