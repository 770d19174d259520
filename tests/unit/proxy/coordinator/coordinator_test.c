// SPDX-License-Identifier: BSD-3-Clause
/* The core, one situation at a time, on a virtual clock. Decisions become durable at once unless a
 * test holds them back; nodes confirm maps when a test says so. */
#include "proxy/coordinator/coordinator.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/wire/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CLUSTER "00000000000000000000000000000000000000c1"
#define LINKS   32

struct fixture {
    struct coordinator *core;
    struct coordinator_settings settings;
    int64_t now;
    bool hold_records;
    uint64_t recording;
    struct str stored;
    int published;
    bool shown_assigned; /* what proxies were told last */
    int probes;
    char probed[NODE_ID_LEN + 1];
    int maps_sent[LINKS];
    uint64_t map_sent_epoch[LINKS];
    int welcomes[LINKS];
    bool closed[LINKS];
    char refused[LINKS][160];
    bool forgotten[LINKS];
    struct str answer;
    int answers;
    char warning[600];
};

static void env_send(void *arg, uint64_t link, const struct wire_message *m)
{
    struct fixture *f = arg;
    if (m->kind == WIRE_MAP) {
        f->maps_sent[link]++;
        f->map_sent_epoch[link] = m->map.epoch;
    } else if (m->kind == WIRE_WELCOME) {
        f->welcomes[link]++;
    } else if (m->kind == WIRE_REFUSED) {
        memcpy(f->refused[link], m->refused.reason, sizeof(f->refused[link]));
    } else if (m->kind == WIRE_FORGOTTEN) {
        f->forgotten[link] = true;
    }
}

static void env_close(void *arg, uint64_t link)
{
    struct fixture *f = arg;
    f->closed[link] = true;
}

static void env_record(void *arg, uint64_t revision, struct slice bytes)
{
    struct fixture *f = arg;
    assert_int_equal(f->recording, 0);
    f->recording = revision;
    str_clear(&f->stored);
    str_append_slice(&f->stored, bytes);
}

static void env_publish(void *arg, struct map *m)
{
    struct fixture *f = arg;
    assert_null(map_check(m));
    f->published++;
    f->shown_assigned = m->assigned;
}

static void env_probe(void *arg, const char *id, const char *host, int port)
{
    struct fixture *f = arg;
    assert_string_equal(host, "127.0.0.1");
    assert_in_range(port, 7000, 7100);
    f->probes++;
    memcpy(f->probed, id, sizeof(f->probed));
}

static void env_answer(void *arg, uint64_t request, struct slice reply)
{
    struct fixture *f = arg;
    (void)request;
    f->answers++;
    str_clear(&f->answer);
    str_append_slice(&f->answer, reply);
}

static void listen_to_log(void *arg, enum log_level level, const char *area, const char *text)
{
    struct fixture *f = arg;
    (void)area;
    if (level >= LOG_WARNING) {
        (void)snprintf(f->warning, sizeof(f->warning), "%s", text);
    }
}

static void settle(struct fixture *f)
{
    while (f->recording != 0 && !f->hold_records) {
        uint64_t revision = f->recording;
        f->recording = 0;
        coordinator_recorded(f->core, f->now, revision);
    }
}

static struct coordinator_env env_of(struct fixture *f)
{
    return (struct coordinator_env){.arg = f,
                                    .send = env_send,
                                    .close = env_close,
                                    .record = env_record,
                                    .publish = env_publish,
                                    .probe = env_probe,
                                    .answer = env_answer};
}

static struct fixture *start(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->now = 1000000;
    f->settings = (struct coordinator_settings){.shards = 12,
                                                .replication_factor = 2,
                                                .assignment_delay_ms = 2000,
                                                .heartbeat_interval_ms = 5000,
                                                .unhealthy_missed = 3,
                                                .dead_missed = 6,
                                                .rebalance_on_join = true,
                                                .rebalance_concurrency = 2};
    struct coordinator_env env = env_of(f);
    struct errmsg err;
    log_set_sink(listen_to_log, f);
    f->core = coordinator_new(&f->settings, &env, slice_of(NULL, 0), CLUSTER, f->now, &err);
    assert_non_null(f->core);
    coordinator_start(f->core, f->now);
    settle(f);
    return f;
}

static void stop(struct fixture **fp)
{
    struct fixture *f = *fp;
    coordinator_free(&f->core);
    str_fini(&f->stored);
    str_fini(&f->answer);
    log_set_sink(NULL, NULL);
    mem_free(f);
    *fp = NULL;
}

static void id_of(int node, char id[NODE_ID_LEN + 1])
{
    (void)snprintf(id, NODE_ID_LEN + 1, "%040x", node);
}

/* Node number n registers on link number n. */
static void enlist(struct fixture *f, int n, uint64_t incarnation, const struct wire_shards *held)
{
    struct wire_message m = {.kind = WIRE_REGISTER};
    m.registration.wire_version = WIRE_VERSION;
    m.registration.incarnation = incarnation;
    m.registration.port = 7000 + (uint64_t)n;
    m.registration.weight = 100;
    id_of(n, m.registration.id);
    if (held != NULL) {
        m.registration.held = *held;
    }
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    settle(f);
}

static const struct map *map_of(const struct fixture *f)
{
    return coordinator_map(f->core);
}

static int index_of(const struct fixture *f, int n)
{
    char id[NODE_ID_LEN + 1];
    id_of(n, id);
    return map_node_by_id(map_of(f), id);
}

static enum node_state state_of(const struct fixture *f, int n)
{
    return map_of(f)->nodes[index_of(f, n)].state;
}

static int primaries_of(const struct fixture *f, int n)
{
    return map_node_primaries(map_of(f), index_of(f, n));
}

/* A heartbeat in which each shard that the node is primary of has so many keys. */
static void heartbeat(struct fixture *f, int n, uint64_t keys)
{
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        if (index_of(f, n) != NODE_NONE && map_of(f)->shards[i].primary == index_of(f, n)) {
            wire_shards_add(&m.heartbeat.held, (struct wire_shard){.shard = i, .keys = keys});
        }
    }
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

/* The node runs with the map that it was sent last; its fenced shards have `keys` keys each. */
static void confirm(struct fixture *f, int n, uint64_t keys)
{
    struct wire_message m = {.kind = WIRE_CONFIRM};
    m.confirm.epoch = f->map_sent_epoch[n];
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        if (s->moving_to != NODE_NONE && s->primary == index_of(f, n)) {
            wire_shards_add(&m.confirm.fenced, (struct wire_shard){.shard = i, .keys = keys});
        }
    }
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

static void tick(struct fixture *f, int64_t ms)
{
    for (int64_t until = f->now + ms; f->now < until;) {
        f->now = MIN(f->now + 100, until);
        coordinator_tick(f->core, f->now);
        settle(f);
    }
}

static void ask(struct fixture *f, const char *text)
{
    struct slice argv[8];
    size_t argc = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        argv[argc++] = slice_of(at, len);
        at += len + (at[len] == ' ');
    }
    coordinator_admin(f->core, f->now, 1, 2, argv, argc);
    settle(f);
}

static void assert_answer_has(struct fixture *f, const char *text)
{
    if (strstr(str_cstr(&f->answer), text) == NULL) {
        fail_msg("no '%s' in: %s", text, str_cstr(&f->answer));
    }
}

/* n nodes, assigned. */
static struct fixture *start_with(int n)
{
    struct fixture *f = start();
    for (int i = 1; i <= n; i++) {
        enlist(f, i, 1, NULL);
    }
    for (int64_t waited = 0; waited < 3000; waited += 100) {
        tick(f, 100);
    }
    assert_true(map_of(f)->assigned);
    for (int i = 1; i <= n; i++) {
        heartbeat(f, i, 0);
        confirm(f, i, 0);
    }
    return f;
}

/* ---- registration and first assignment ---- */

static void test_the_cluster_waits_for_enough_nodes_and_then_for_the_delay(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_string_equal(map_of(f)->why, "waiting for nodes: 0 of 2 are there");
    enlist(f, 1, 1, NULL);
    assert_int_equal(f->welcomes[1], 1);
    tick(f, 10000);
    heartbeat(f, 1, 0);
    assert_false(map_of(f)->assigned);
    assert_string_equal(map_of(f)->why, "waiting for nodes: 1 of 2 are there");
    enlist(f, 2, 1, NULL);
    tick(f, 1000);
    enlist(f, 3, 1, NULL); /* within the delay: takes part */
    tick(f, 900);
    assert_false(map_of(f)->assigned);
    tick(f, 200);
    assert_true(map_of(f)->assigned);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    stop(&f);
}

static void test_a_node_that_leaves_before_the_assignment_starts_the_wait_again(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    enlist(f, 2, 1, NULL);
    tick(f, 1500);
    coordinator_link_down(f->core, f->now, 2);
    settle(f);
    tick(f, 3000);
    assert_false(map_of(f)->assigned);
    enlist(f, 2, 2, NULL);
    tick(f, 1900);
    assert_false(map_of(f)->assigned);
    tick(f, 200);
    assert_true(map_of(f)->assigned);
    stop(&f);
}

static struct fixture *start_and_assign_two(void)
{
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    enlist(f, 2, 1, NULL);
    for (int i = 0; i < 30 && !map_of(f)->assigned; i++) {
        tick(f, 100);
    }
    assert_true(map_of(f)->assigned);
    return f;
}

static void test_proxies_learn_of_new_primaries_when_these_know_it_themselves(void **state)
{
    (void)state;
    struct fixture *f = start_and_assign_two();
    assert_false(f->shown_assigned);
    confirm(f, 1, 0);
    assert_false(f->shown_assigned);
    confirm(f, 2, 0);
    /* A later map may have been made meanwhile, which both confirm too. */
    confirm(f, 1, 0);
    confirm(f, 2, 0);
    assert_true(f->shown_assigned);
    stop(&f);
}

static void test_a_primary_that_does_not_confirm_keeps_a_map_from_proxies_for_a_moment(void **state)
{
    (void)state;
    struct fixture *f = start_and_assign_two();
    confirm(f, 1, 0);
    tick(f, 100);
    assert_false(f->shown_assigned);
    tick(f, 200);
    assert_true(f->shown_assigned);
    stop(&f);
}

static void test_nothing_is_told_before_it_is_durable(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->hold_records = true;
    int published = f->published;
    enlist(f, 1, 1, NULL);
    tick(f, 500);
    assert_int_equal(f->welcomes[1], 0);
    assert_int_equal(f->maps_sent[1], 0);
    assert_int_equal(f->published, published);
    ask(f, "cluster rebalance pause");
    assert_int_equal(f->answers, 0);
    f->hold_records = false;
    settle(f);
    assert_int_equal(f->welcomes[1], 1);
    assert_int_equal(f->maps_sent[1], 1);
    assert_int_equal(f->answers, 1);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

static void test_a_map_is_repeated_until_it_is_confirmed(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    int sent = f->maps_sent[1];
    tick(f, 3500);
    assert_in_range(f->maps_sent[1], sent + 3, sent + 4);
    confirm(f, 1, 0);
    sent = f->maps_sent[1];
    tick(f, 3000);
    assert_int_equal(f->maps_sent[1], sent);
    stop(&f);
}

static void test_strangers_and_doubles_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct fixture *f = start();
    enlist(f, 1, 1, NULL);
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION + 1;
    r->incarnation = 5;
    r->port = 7009;
    id_of(9, r->id);
    coordinator_message(f->core, f->now, 9, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[9], "another version"));
    assert_true(f->closed[9]);
    r->wire_version = WIRE_VERSION;
    memset(r->cluster_id, 'a', NODE_ID_LEN);
    coordinator_message(f->core, f->now, 10, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[10], "another cluster"));
    r->cluster_id[0] = '\0';
    r->id[3] = 'x';
    coordinator_message(f->core, f->now, 11, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[11], "bad id"));
    id_of(1, r->id); /* the id of a node that lives elsewhere */
    coordinator_message(f->core, f->now, 12, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[12], "this id"));
    id_of(9, r->id);
    r->port = 7001; /* the address of another */
    coordinator_message(f->core, f->now, 13, "127.0.0.1", &m);
    assert_non_null(strstr(f->refused[13], "this address"));
    settle(f);
    assert_int_equal(map_of(f)->n_nodes, 1);
    stop(&f);
}

/* ---- life and death ---- */

static void test_default_timing_unhealthy_after_15_s_dead_after_30_s_and_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    for (int i = 0; i < 5; i++) { /* node 3 falls silent, the others go on */
        heartbeat(f, 1, 1);
        heartbeat(f, 2, 1);
        if (i == 0) {
            heartbeat(f, 3, 1);
        }
        tick(f, i < 2 ? 5000 : 4900);
        assert_int_equal(state_of(f, 3), i < 3 ? NODE_HEALTHY : NODE_UNHEALTHY);
        if (i == 2) {
            tick(f, 100); /* 15 s exactly */
            assert_int_equal(state_of(f, 3), NODE_UNHEALTHY);
            assert_int_equal(primaries_of(f, 3), 4); /* still serves */
        } else if (i > 2) {
            tick(f, 100);
        }
    }
    heartbeat(f, 1, 1);
    heartbeat(f, 2, 1);
    tick(f, 4900);
    assert_int_equal(state_of(f, 3), NODE_UNHEALTHY);
    tick(f, 100); /* 30 s exactly */
    assert_int_equal(state_of(f, 3), NODE_DEAD);
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    assert_int_equal(primaries_of(f, 3), 0);
    int down = 0;
    for (int i = 0; i < 12; i++) {
        down += map_of(f)->shards[i].primary == NODE_NONE;
    }
    assert_int_equal(down, 4);
    heartbeat(f, 3, 1); /* the same process: it was only paused, nothing is lost */
    assert_int_equal(state_of(f, 3), NODE_HEALTHY);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_terms_rise_when_a_node_dies_and_when_it_is_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    int shard = 0;
    while (map_of(f)->shards[shard].primary != index_of(f, 1)) {
        shard++;
    }
    uint64_t term = map_of(f)->shards[shard].term;
    coordinator_suspect(f->core, f->now, f->probed);
    char id[NODE_ID_LEN + 1];
    id_of(1, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(map_of(f)->shards[shard].primary, NODE_NONE);
    assert_int_equal(map_of(f)->shards[shard].term, term + 1);
    coordinator_link_down(f->core, f->now, 1);
    enlist(f, 1, 2, NULL);
    assert_int_equal(map_of(f)->shards[shard].primary, index_of(f, 1));
    assert_int_equal(map_of(f)->shards[shard].term, term + 2);
    stop(&f);
}

static void test_a_refused_connection_is_proof_silence_is_not(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    int probes = f->probes;
    coordinator_suspect(f->core, f->now, id);
    coordinator_suspect(f->core, f->now, id); /* one probe at a time */
    assert_int_equal(f->probes, probes + 1);
    assert_string_equal(f->probed, id);
    coordinator_probed(f->core, f->now, id, PROBE_SILENT);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    tick(f, 200);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_OK);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    tick(f, 200);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    stop(&f);
}

static void test_a_lost_link_is_probed_at_once_and_again(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    int probes = f->probes;
    coordinator_link_down(f->core, f->now, 2);
    settle(f);
    assert_int_equal(f->probes, probes + 1);
    coordinator_probed(f->core, f->now, id, PROBE_OK); /* the port was not yet closed */
    tick(f, 300);
    assert_int_equal(f->probes, probes + 2);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    stop(&f);
}

static void test_a_probe_from_before_the_restart_does_not_kill_the_new_process(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_link_down(f->core, f->now, 2); /* probing */
    enlist(f, 2, 2, NULL);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_a_node_that_nobody_can_reach_stays_dead_though_it_speaks(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    int probes = f->probes;
    heartbeat(f, 2, 0);
    assert_int_equal(state_of(f, 2), NODE_DEAD);
    assert_int_equal(f->probes, probes + 1);
    coordinator_probed(f->core, f->now, id, PROBE_OK);
    settle(f);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_when_the_coordinator_slept_nobody_dies_of_it(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->now += 3600 * 1000;
    coordinator_tick(f->core, f->now);
    settle(f);
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    assert_int_equal(state_of(f, 2), NODE_HEALTHY);
    stop(&f);
}

static void test_heartbeats_shorter_than_a_tick_are_missed_all_the_same(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->settings.heartbeat_interval_ms = 100;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    tick(f, 300);
    assert_int_equal(state_of(f, 1), NODE_UNHEALTHY);
    tick(f, 300);
    assert_int_equal(state_of(f, 1), NODE_DEAD);
    stop(&f);
}

static void test_a_restarted_node_has_its_shards_back_and_the_loss_is_told(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    heartbeat(f, 2, 7);
    uint64_t term = 0;
    int shard = 0;
    while (map_of(f)->shards[shard].primary != index_of(f, 2)) {
        shard++;
    }
    term = map_of(f)->shards[shard].term;
    f->warning[0] = '\0';
    coordinator_link_down(f->core, f->now, 2);
    enlist(f, 2, 2, NULL);
    assert_int_equal(primaries_of(f, 2), 6);
    assert_int_equal(map_of(f)->shards[shard].term, term + 1);
    assert_non_null(strstr(f->warning, "nobody had a copy"));
    assert_non_null(strstr(f->warning, "shards=6 had-keys="));
    assert_null(strstr(f->warning, "had-keys=-"));
    heartbeat(f, 2, 0);
    f->warning[0] = '\0';
    enlist(f, 2, 3, NULL);
    assert_non_null(strstr(f->warning, "had-keys=-"));
    stop(&f);
}

/* ---- joins, hand-over, drain ---- */

/* Confirms everything until nothing moves any more. */
static void confirm_all(struct fixture *f, int n, uint64_t keys)
{
    for (int round = 0; round < 40; round++) {
        for (int i = 1; i <= n; i++) {
            confirm(f, i, keys);
        }
    }
}

static void test_empty_shards_move_to_a_joining_node_a_few_at_a_time(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    int fenced = 0;
    for (int i = 0; i < 12; i++) {
        fenced += map_of(f)->shards[i].moving_to == index_of(f, 3);
        assert_false(map_of(f)->shards[i].primary == index_of(f, 3));
    }
    assert_int_equal(fenced, 2); /* rebalance-concurrency */
    confirm_all(f, 3, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
    }
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=no paused=no moving=0 planned=0 waiting=0 handed=4");
    stop(&f);
}

static void test_shards_with_keys_wait_and_move_once_they_are_empty(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    heartbeat(f, 1, 5);
    heartbeat(f, 2, 5);
    enlist(f, 3, 1, NULL);
    confirm_all(f, 3, 5);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 8); /* 4 of them to take over */
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=yes paused=no moving=0 planned=0 waiting=4");
    assert_answer_has(f, "reason=not-empty-waits-for-replication");
    heartbeat(f, 1, 0);
    heartbeat(f, 2, 0);
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void busy_heartbeat(struct fixture *f, int n, uint64_t ops)
{
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    m.heartbeat.ops = ops;
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

static void test_loads_are_told_in_percent_of_the_average(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    struct coordinator_load loads[4];
    busy_heartbeat(f, 1, 5);
    busy_heartbeat(f, 2, 0);
    assert_int_equal(coordinator_loads(f->core, loads, 4), 2);
    assert_in_range(loads[0].percent, 99, 101); /* next to nothing to do: alike */
    assert_in_range(loads[1].percent, 99, 101);
    busy_heartbeat(f, 1, 150000);
    busy_heartbeat(f, 2, 50000);
    assert_int_equal(coordinator_loads(f->core, loads, 4), 2);
    bool first = strcmp(loads[0].id, map_of(f)->nodes[index_of(f, 1)].id) == 0;
    assert_in_range(loads[first ? 0 : 1].percent, 145, 150);
    assert_in_range(loads[first ? 1 : 0].percent, 50, 55);
    busy_heartbeat(f, 2, 0);
    assert_int_equal(coordinator_loads(f->core, loads, 1), 1);
    stop(&f);
}

static void test_a_shard_found_to_have_keys_behind_its_fence_stays(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL); /* heartbeats said empty, but a write came since */
    confirm(f, 1, 0);
    confirm(f, 2, 0);
    int before = primaries_of(f, 3);
    confirm(f, 1, 9);
    confirm(f, 2, 9);
    for (int i = 0; i < 40; i++) {
        confirm(f, 1, 9);
        confirm(f, 2, 9);
    }
    assert_in_range(primaries_of(f, 3), before, 2);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].moving_to, NODE_NONE);
    }
    stop(&f);
}

static void test_a_confirmation_of_a_map_before_the_fence_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    uint64_t before[LINKS];
    memcpy(before, f->map_sent_epoch, sizeof(before));
    enlist(f, 3, 1, NULL);
    f->map_sent_epoch[1] = before[1];
    f->map_sent_epoch[2] = before[2];
    confirm(f, 1, 0);
    confirm(f, 2, 0);
    assert_int_equal(primaries_of(f, 3), 0);
    stop(&f);
}

static void test_a_fence_that_nobody_answers_is_lifted(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    f->warning[0] = '\0';
    for (int i = 0; i < 4; i++) {
        tick(f, 1500);
        heartbeat(f, 1, 1);
        heartbeat(f, 2, 1);
        heartbeat(f, 3, 1);
    }
    assert_non_null(strstr(f->warning, "fence lifted"));
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].moving_to, NODE_NONE);
    }
    assert_int_equal(primaries_of(f, 3), 0);
    stop(&f);
}

static void test_without_rebalance_on_join_a_new_node_waits_for_start(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->settings.rebalance_on_join = false;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    enlist(f, 3, 1, NULL);
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 0);
    ask(f, "PROXY PLAN");
    assert_answer_has(f, "moves=4 placements=0");
    ask(f, "CLUSTER REBALANCE START");
    assert_answer_has(f, "+OK moves=4 empty=4 waiting-for-replication=0");
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_pause_resume_and_cancel(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    ask(f, "cluster rebalance pause");
    enlist(f, 3, 1, NULL);
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 0);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "paused=yes");
    assert_answer_has(f, "state=waiting reason=paused");
    ask(f, "cluster rebalance resume");
    for (int i = 1; i <= 2; i++) {
        confirm(f, i, 0);
    }
    assert_in_range(primaries_of(f, 3), 1, 3);
    int so_far = primaries_of(f, 3);
    ask(f, "cluster rebalance cancel");
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), so_far);
    ask(f, "cluster rebalance start");
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_drain_empties_a_node_which_can_then_be_forgotten(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(3, id);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    ask(f, text);
    assert_answer_has(f, "-ERR The node is primary of 4 shards");
    ask(f, "cluster drain 127.0.0.1:7003");
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(state_of(f, 3), NODE_DRAINING);
    confirm_all(f, 3, 0);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 0);
    ask(f, "proxy nodes");
    assert_answer_has(f, "draining=done");
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(index_of(f, 3), NODE_NONE);
    assert_true(f->forgotten[3]);
    assert_true(f->closed[3]);
    ask(f, "cluster drain 127.0.0.1:7001");
    ask(f, "cluster drain 127.0.0.1:7002");
    assert_answer_has(f, "-ERR No other node");
    ask(f, "cluster drain 127.0.0.1:7001 cancel");
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    ask(f, "cluster drain abcdef");
    assert_answer_has(f, "-ERR Unknown node abcdef");
    stop(&f);
}

static void test_failover_has_no_replica_and_takeover_gives_a_dead_nodes_data_up(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char id[NODE_ID_LEN + 1];
    char text[128];
    id_of(3, id);
    (void)snprintf(text, sizeof(text), "cluster failover %s", id);
    ask(f, text);
    assert_answer_has(f, "-NOREPLICAS");
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    coordinator_link_down(f->core, f->now, 3);
    settle(f);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    ask(f, text);
    assert_answer_has(f, "-ERR The dead node has the only copy of 4 shards");
    (void)snprintf(text, sizeof(text), "cluster failover %s takeover", id);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(primaries_of(f, 1), 6);
    assert_int_equal(primaries_of(f, 2), 6);
    (void)snprintf(text, sizeof(text), "cluster forget %s", id);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

/* ---- restart, views ---- */

static void test_a_restarted_coordinator_knows_everything_that_was_decided(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    ask(f, "cluster rebalance pause");
    struct map *before = map_ref(coordinator_map(f->core));
    struct errmsg err;
    struct coordinator_env env = env_of(f);
    coordinator_free(&f->core);
    f->core = coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
    assert_non_null(f->core);
    int published = f->published;
    coordinator_start(f->core, f->now);
    assert_int_equal(f->published, published + 1);
    assert_int_equal(map_of(f)->epoch, before->epoch);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].primary, before->shards[i].primary);
    }
    ask(f, "proxy info");
    assert_answer_has(f, "paused=yes");
    tick(f, 200); /* nodes are not dead because we do not know them yet */
    assert_int_equal(state_of(f, 1), NODE_HEALTHY);
    map_unref(&before);
    stop(&f);
}

static void test_a_damaged_decision_is_an_error(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    struct coordinator_env env = env_of(f);
    for (size_t i = 0; i < f->stored.len; i += 7) {
        struct errmsg err = {{0}};
        f->stored.ptr[i] ^= 1;
        struct coordinator *c =
            coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
        if (c != NULL) { /* the flags in front of the map are no secret: both values are right */
            assert_true(i < 24);
            coordinator_free(&c);
        } else {
            assert_non_null(strstr(err.text, "damaged"));
        }
        f->stored.ptr[i] ^= 1;
    }
    stop(&f);
}

static void test_views_are_lines_of_key_value_words(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    ask(f, "PROXY NODES");
    assert_answer_has(f, "*3\r\n");
    assert_answer_has(f, "addr=127.0.0.1:7001 state=healthy connected=yes heartbeat-ms=");
    assert_answer_has(f, "primary=4 replica=4 zone=- weight=100");
    ask(f, "proxy shards");
    assert_answer_has(f, "*12\r\n");
    assert_answer_has(f, "shard=0 slots=0-1365 primary=");
    assert_answer_has(f, "term=3 version=0 state=ok keys=0 replicas=");
    assert_answer_has(f, ":syncing:");
    ask(f, "proxy info");
    assert_answer_has(f, "nodes=3 healthy=3 unhealthy=0 dead=0 draining=0");
    assert_answer_has(f, "shards=12 served=12 down=0 replication-factor=2");
    ask(f, "proxy help");
    assert_answer_has(f, "PROXY <subcommand>");
    ask(f, "cluster rebalance help");
    assert_answer_has(f, "CLUSTER REBALANCE");
    ask(f, "proxy nonsense");
    assert_answer_has(f, "-ERR unknown subcommand");
    ask(f, "proxy nodes extra");
    assert_answer_has(f, "-ERR wrong number of arguments for 'proxy|nodes' command");
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cluster_waits_for_enough_nodes_and_then_for_the_delay),
        cmocka_unit_test(test_a_node_that_leaves_before_the_assignment_starts_the_wait_again),
        cmocka_unit_test(test_proxies_learn_of_new_primaries_when_these_know_it_themselves),
        cmocka_unit_test(
            test_a_primary_that_does_not_confirm_keeps_a_map_from_proxies_for_a_moment),
        cmocka_unit_test(test_nothing_is_told_before_it_is_durable),
        cmocka_unit_test(test_a_map_is_repeated_until_it_is_confirmed),
        cmocka_unit_test(test_strangers_and_doubles_are_refused_with_the_reason),
        cmocka_unit_test(test_default_timing_unhealthy_after_15_s_dead_after_30_s_and_back),
        cmocka_unit_test(test_terms_rise_when_a_node_dies_and_when_it_is_back),
        cmocka_unit_test(test_a_refused_connection_is_proof_silence_is_not),
        cmocka_unit_test(test_a_lost_link_is_probed_at_once_and_again),
        cmocka_unit_test(test_a_probe_from_before_the_restart_does_not_kill_the_new_process),
        cmocka_unit_test(test_a_node_that_nobody_can_reach_stays_dead_though_it_speaks),
        cmocka_unit_test(test_when_the_coordinator_slept_nobody_dies_of_it),
        cmocka_unit_test(test_heartbeats_shorter_than_a_tick_are_missed_all_the_same),
        cmocka_unit_test(test_a_restarted_node_has_its_shards_back_and_the_loss_is_told),
        cmocka_unit_test(test_empty_shards_move_to_a_joining_node_a_few_at_a_time),
        cmocka_unit_test(test_shards_with_keys_wait_and_move_once_they_are_empty),
        cmocka_unit_test(test_a_shard_found_to_have_keys_behind_its_fence_stays),
        cmocka_unit_test(test_a_confirmation_of_a_map_before_the_fence_counts_for_nothing),
        cmocka_unit_test(test_a_fence_that_nobody_answers_is_lifted),
        cmocka_unit_test(test_without_rebalance_on_join_a_new_node_waits_for_start),
        cmocka_unit_test(test_pause_resume_and_cancel),
        cmocka_unit_test(test_drain_empties_a_node_which_can_then_be_forgotten),
        cmocka_unit_test(test_failover_has_no_replica_and_takeover_gives_a_dead_nodes_data_up),
        cmocka_unit_test(test_a_restarted_coordinator_knows_everything_that_was_decided),
        cmocka_unit_test(test_a_damaged_decision_is_an_error),
        cmocka_unit_test(test_views_are_lines_of_key_value_words),
        cmocka_unit_test(test_loads_are_told_in_percent_of_the_average),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
