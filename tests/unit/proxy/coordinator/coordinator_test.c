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
#include <stdlib.h>

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
    struct wire_changes orders[LINKS]; /* not yet obeyed */
    int orders_sent;
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
    } else if (m->kind == WIRE_ORDER) {
        for (size_t i = 0; i < m->order.changes.count; i++) {
            const struct wire_change *k = &m->order.changes.items[i];
            wire_changes_add(&f->orders[link], k->op, k->shard, k->term, k->node);
            f->orders_sent++;
        }
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
                                                .rebalance_concurrency = 2,
                                                .replace_delay_ms = 10000,
                                                .sync = true,
                                                .strong = true,
                                                .min_in_sync = 1,
                                                .lease_ms = 1000};
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
    for (int i = 0; i < LINKS; i++) {
        mem_free(f->orders[i].items);
    }
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
static void enlist_as(struct fixture *f, int n, uint64_t incarnation, bool durable,
                      const struct wire_shards *held)
{
    struct wire_message m = {.kind = WIRE_REGISTER};
    m.registration.wire_version = WIRE_VERSION;
    m.registration.incarnation = incarnation;
    m.registration.port = 7000 + (uint64_t)n;
    m.registration.weight = 100;
    m.registration.durable = durable;
    id_of(n, m.registration.id);
    if (held != NULL) {
        m.registration.held = *held;
    }
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    settle(f);
}

static void enlist(struct fixture *f, int n, uint64_t incarnation, const struct wire_shards *held)
{
    enlist_as(f, n, incarnation, false, held);
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

/* The node runs with the map that it was sent last. */
static void confirm(struct fixture *f, int n)
{
    struct wire_message m = {.kind = WIRE_CONFIRM};
    m.confirm.epoch = f->map_sent_epoch[n];
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    settle(f);
}

/* Node n reports one thing. */
static void report(struct fixture *f, int n, enum wire_op op, int shard, uint64_t term, int about)
{
    struct wire_message m = {.kind = WIRE_REPORT};
    char id[NODE_ID_LEN + 1];
    id_of(about, id);
    wire_changes_add(&m.report.changes, op, shard, term, id);
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

static int number_of(const struct fixture *f, int node)
{
    return (int)strtol(map_of(f)->nodes[node].id, NULL, 16);
}

/* Each primary reports the members that are not in sync as caught up; dead ones it cannot. */
static void catch_up(struct fixture *f)
{
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        for (int j = 0; j < map_of(f)->shards[i].n_members; j++) {
            const struct map_shard *s = &map_of(f)->shards[i];
            if (s->primary != NODE_NONE && !s->members[j].in_sync &&
                map_of(f)->nodes[s->members[j].node].state != NODE_DEAD) {
                report(f, number_of(f, s->primary), WIRE_ADD, i, s->term,
                       number_of(f, s->members[j].node));
            }
        }
    }
}

/* Each primary asks out the members in sync that are dead. */
static void ask_out(struct fixture *f)
{
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        for (int j = 0; j < map_of(f)->shards[i].n_members; j++) {
            const struct map_shard *s = &map_of(f)->shards[i];
            if (s->primary != NODE_NONE && s->members[j].in_sync &&
                map_of(f)->nodes[s->members[j].node].state == NODE_DEAD) {
                report(f, number_of(f, s->primary), WIRE_REMOVE, i, s->term,
                       number_of(f, s->members[j].node));
            }
        }
    }
}

/* Node n does what it was ordered to. */
static void obey(struct fixture *f, int n)
{
    struct wire_changes l = f->orders[n];
    f->orders[n] = (struct wire_changes){0};
    for (size_t i = 0; i < l.count; i++) {
        const struct wire_change *k = &l.items[i];
        int about = (int)strtol(k->node, NULL, 16);
        if (k->op == WIRE_HANDOVER) {
            report(f, n, WIRE_HANDED, k->shard, k->term, about);
        } else {
            assert_int_equal(k->op, WIRE_DROP);
            report(f, n, WIRE_REMOVE, k->shard, map_of(f)->shards[k->shard].term, about);
        }
    }
    mem_free(l.items);
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
        confirm(f, i);
    }
    catch_up(f);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), MIN(n, 2));
    }
    return f;
}

/* All nodes do their work for some rounds. */
static void work(struct fixture *f, int n, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (int i = 1; i <= n; i++) {
            confirm(f, i);
        }
        catch_up(f);
        for (int i = 1; i <= n; i++) {
            obey(f, i);
        }
    }
}

static void refuse_probe(struct fixture *f, int n)
{
    char id[NODE_ID_LEN + 1];
    id_of(n, id);
    f->now += 200;
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
}

/* The first shard that node n is primary of, or a replica. */
static int shard_of(const struct fixture *f, int n, bool primary)
{
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        bool is = s->primary == index_of(f, n);
        if (map_shard_member(s, index_of(f, n)) >= 0 && is == primary) {
            return i;
        }
    }
    fail_msg("node %d has no such shard", n);
    return -1;
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
    confirm(f, 1);
    assert_false(f->shown_assigned);
    confirm(f, 2);
    /* A later map may have been made meanwhile, which both confirm too. */
    confirm(f, 1);
    confirm(f, 2);
    assert_true(f->shown_assigned);
    stop(&f);
}

static void test_a_primary_that_does_not_confirm_keeps_a_map_from_proxies_for_a_moment(void **state)
{
    (void)state;
    struct fixture *f = start_and_assign_two();
    confirm(f, 1);
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
    confirm(f, 1);
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

static void test_a_node_names_the_clusters_password(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.password = "a secret";
    coordinator_set(f->core, f->now, &f->settings);
    f->settings.password = NULL;
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    r->incarnation = 1;
    r->port = 7001;
    id_of(1, r->id);
    static const char *const wrong[] = {"", "a", "a secreT", "a secret ", "a secreta secret"};
    for (uint64_t i = 0; i < ARRAY_LEN(wrong); i++) {
        r->password = slice_str(wrong[i]);
        coordinator_message(f->core, f->now, 10 + i, "127.0.0.1", &m);
        assert_non_null(strstr(f->refused[10 + i], "wrong password"));
        assert_true(f->closed[10 + i]);
    }
    r->password = SLICE("a secret");
    coordinator_message(f->core, f->now, 1, "127.0.0.1", &m);
    settle(f);
    assert_int_equal(f->welcomes[1], 1);
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
    assert_int_equal(primaries_of(f, 3), 0); /* reassigned to replicas in sync */
    ask_out(f);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *k = &map_of(f)->shards[i];
        assert_int_not_equal(k->primary, NODE_NONE);
        int at = map_shard_member(k, index_of(f, 3));
        assert_true(at < 0 || !k->members[at].in_sync);
    }
    heartbeat(f, 3, 1); /* the same process: it was only paused */
    assert_int_equal(state_of(f, 3), NODE_HEALTHY);
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 4);
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

/* ---- failover: docs/REPLICATION.md, section 8 ---- */

static void test_a_dead_primarys_shards_go_to_replicas_in_sync_in_one_record(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    struct map *before = map_ref(coordinator_map(f->core));
    int gone = index_of(f, 2);
    refuse_probe(f, 2);
    assert_int_equal(map_of(f)->epoch, before->epoch + 1);
    int taken = 0;
    for (int i = 0; i < 12; i++) {
        const struct map_shard *was = &before->shards[i];
        const struct map_shard *is = &map_of(f)->shards[i];
        int at = map_shard_member(is, gone);
        if (was->primary == gone) {
            int heir = was->members[0].node == gone ? was->members[1].node : was->members[0].node;
            assert_int_equal(is->primary, heir);
            assert_int_equal(is->primary_term, is->term);
            assert_true(is->term > was->term);
            taken++;
        } else {
            assert_int_equal(is->primary, was->primary);
            assert_int_equal(is->primary_term, was->primary_term);
        }
        /* As replica it is out; as former primary when its heir shows that it lives. */
        assert_true(at < 0 || is->members[at].in_sync == (was->primary == gone));
    }
    ask_out(f);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *is = &map_of(f)->shards[i];
        assert_int_equal(map_shard_in_sync(is), map_shard_member(is, gone) < 0 ? 2 : 1);
    }
    assert_int_equal(taken, 4);
    assert_in_range(primaries_of(f, 1), 5, 7);
    assert_in_range(primaries_of(f, 3), 5, 7); /* both take some */
    map_unref(&before);
    stop(&f);
}

static void test_a_shard_waits_for_the_last_node_that_is_in_sync(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    report(f, 2, WIRE_REMOVE, shard, s->term, replica);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    refuse_probe(f, 2);
    s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, NODE_NONE); /* the replica may lack acknowledged writes */
    assert_int_equal(map_shard_in_sync(s), 1);
    uint64_t term = s->primary_term;
    coordinator_link_down(f->core, f->now, 2);
    enlist_as(f, 2, 1, false, NULL); /* the same process after all */
    s = &map_of(f)->shards[shard];
    assert_int_equal(s->primary, index_of(f, 2));
    assert_true(s->primary_term > term);
    stop(&f);
}

static void test_a_restarted_primary_is_followed_by_a_replica_and_comes_back_syncing(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        struct fixture *f = start_with(3);
        int shard = shard_of(f, 2, true);
        int replica = shard_of(f, 2, false);
        uint64_t term = map_of(f)->shards[replica].term;
        enlist_as(f, 2, 2, durable != 0, NULL); /* before anybody noticed */
        const struct map_shard *s = &map_of(f)->shards[shard];
        assert_int_not_equal(s->primary, NODE_NONE);
        assert_int_not_equal(s->primary, index_of(f, 2));
        assert_false(s->members[map_shard_member(s, index_of(f, 2))].in_sync);
        s = &map_of(f)->shards[replica];
        assert_true(s->term > term);
        assert_int_equal(s->members[map_shard_member(s, index_of(f, 2))].in_sync, durable);
        work(f, 3, 40);
        assert_int_equal(primaries_of(f, 2), 4);
        stop(&f);
    }
}

static void test_an_add_from_before_a_restart_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, false);
    int primary = number_of(f, map_of(f)->shards[shard].primary);
    report(f, primary, WIRE_REMOVE, shard, map_of(f)->shards[shard].term, 2);
    uint64_t term = map_of(f)->shards[shard].term;
    enlist(f, 2, 2, NULL);
    report(f, primary, WIRE_ADD, shard, term, 2); /* of what the former process had */
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    report(f, primary, WIRE_ADD, shard, map_of(f)->shards[shard].term, 2);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 2);
    stop(&f);
}

static void test_reports_count_only_from_the_primary_and_under_their_term(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 1, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    uint64_t epoch = map_of(f)->epoch;
    report(f, 1, WIRE_REMOVE, shard, s->term - 1, replica);
    report(f, 1, WIRE_REMOVE, shard, s->term + 1, replica);
    report(f, replica, WIRE_REMOVE, shard, s->term, 1);
    report(f, 1, WIRE_REMOVE, shard, s->term, 1);    /* the primary itself stays */
    report(f, 1, WIRE_ADD, shard, s->term, replica); /* it is already */
    report(f, 1, WIRE_ADD, shard, s->term, 9);       /* nobody */
    report(f, 1, WIRE_REMOVE, 4000, s->term, replica);
    report(f, 1, WIRE_HANDED, shard, s->primary_term + 1, replica);
    report(f, replica, WIRE_HANDED, shard, s->primary_term, replica);
    assert_int_equal(map_of(f)->epoch, epoch);
    report(f, 1, WIRE_REMOVE, shard, s->term, replica);
    assert_int_equal(map_of(f)->epoch, epoch + 1);
    assert_int_equal(map_shard_in_sync(&map_of(f)->shards[shard]), 1);
    report(f, 1, WIRE_HANDED, shard, map_of(f)->shards[shard].primary_term, replica);
    assert_int_equal(map_of(f)->shards[shard].primary, index_of(f, 1)); /* not in sync */
    stop(&f);
}

static void test_when_all_in_sync_restarted_the_best_copy_serves_once_they_are_back(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    coordinator_link_down(f->core, f->now, 1);
    coordinator_link_down(f->core, f->now, 2);
    f->warning[0] = '\0';
    struct wire_shards held[2] = {{0}, {0}};
    for (int i = 0; i < 12; i++) {
        wire_shards_add(&held[0], (struct wire_shard){.shard = i, .term = 3, .version = 100});
        wire_shards_add(&held[1],
                        (struct wire_shard){.shard = i, .term = 3, .version = i < 6 ? 99 : 101});
    }
    enlist(f, 1, 2, &held[0]);
    for (int i = 0; i < 12; i++) { /* node 2 has not restarted, as far as we know */
        assert_int_not_equal(map_of(f)->shards[i].primary, index_of(f, 1));
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 1);
    }
    enlist(f, 2, 2, &held[1]);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        assert_int_equal(s->primary, index_of(f, i < 6 ? 1 : 2));
        assert_int_equal(map_shard_in_sync(s), 1);
    }
    assert_non_null(strstr(f->warning, "every node in sync restarted"));
    work(f, 2, 5);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    mem_free(held[0].items);
    mem_free(held[1].items);
    stop(&f);
}

static void test_a_single_copy_that_restarted_serves_again_in_a_new_primary_term(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    enlist(f, 1, 1, NULL);
    tick(f, 3000);
    assert_int_equal(primaries_of(f, 1), 12);
    uint64_t term = map_of(f)->shards[0].primary_term;
    f->warning[0] = '\0';
    enlist_as(f, 1, 2, true, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    assert_true(map_of(f)->shards[0].primary_term > term);
    assert_string_equal(f->warning, ""); /* durable: nothing is in doubt */
    term = map_of(f)->shards[0].primary_term;
    enlist(f, 1, 3, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    assert_true(map_of(f)->shards[0].primary_term > term);
    assert_non_null(strstr(f->warning, "restarted"));
    stop(&f);
}

static void test_a_durable_member_of_a_set_that_is_down_need_not_wait_for_the_others(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    coordinator_link_down(f->core, f->now, 1);
    coordinator_link_down(f->core, f->now, 2);
    refuse_probe(f, 1); /* node 2 is not connected: nobody can take over */
    refuse_probe(f, 2);
    assert_int_equal(primaries_of(f, 1) + primaries_of(f, 2), 0);
    enlist_as(f, 1, 2, true, NULL);
    assert_int_equal(primaries_of(f, 1), 12);
    stop(&f);
}

static void test_takeover_gives_up_what_only_a_dead_node_has(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char text[128];
    int shard = shard_of(f, 3, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    wire_shards_add(&m.heartbeat.held,
                    (struct wire_shard){.shard = shard, .term = 3, .version = 7, .keys = 5});
    coordinator_message(f->core, f->now, (uint64_t)replica, "127.0.0.1", &m);
    wire_message_fini(&m);
    report(f, 3, WIRE_REMOVE, shard, s->term, replica);
    (void)snprintf(text, sizeof(text), "cluster failover %040x takeover", 3);
    ask(f, text);
    assert_answer_has(f, "-ERR No shard waits for the node");
    refuse_probe(f, 3);
    coordinator_link_down(f->core, f->now, 3);
    assert_int_equal(map_of(f)->shards[shard].primary, NODE_NONE);
    (void)snprintf(text, sizeof(text), "cluster forget %040x", 3);
    ask(f, text);
    assert_answer_has(f, "-ERR The dead node has what 1 shards wait for");
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 3);
    ask(f, text);
    assert_answer_has(f, "-NOREPLICAS The node is dead");
    (void)snprintf(text, sizeof(text), "cluster failover %040x takeover", 3);
    ask(f, text);
    assert_answer_has(f, "+OK shards=1 served=1 empty=0");
    assert_int_equal(map_of(f)->shards[shard].primary, index_of(f, replica));
    (void)snprintf(text, sizeof(text), "cluster forget %040x", 3);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    stop(&f);
}

static void test_a_dead_nodes_copies_are_made_elsewhere_after_a_delay(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int gone = index_of(f, 3);
    refuse_probe(f, 3);
    ask_out(f);
    tick(f, 9000);
    work(f, 2, 5);
    int thin = 0;
    for (int i = 0; i < 12; i++) { /* its places are kept */
        thin += map_shard_in_sync(&map_of(f)->shards[i]) == 1;
    }
    assert_int_equal(thin, 8);
    tick(f, 1200);
    work(f, 2, 20);
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        assert_int_equal(map_shard_in_sync(s), 2);
        assert_true(map_shard_member(s, gone) < 0);
    }
    stop(&f);
}

static void test_without_another_node_a_dead_ones_places_stay_its_own(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    refuse_probe(f, 2);
    tick(f, 20000);
    heartbeat(f, 1, 3);
    for (int i = 0; i < 12; i++) {
        assert_true(map_shard_member(&map_of(f)->shards[i], index_of(f, 2)) >= 0);
    }
    stop(&f);
}

/* ---- joins, hand-over, drain ---- */

static void test_a_joining_node_gets_copies_first_and_then_roles_a_few_at_a_time(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    heartbeat(f, 1, 5);
    heartbeat(f, 2, 5);
    enlist(f, 3, 1, NULL);
    int syncing = 0;
    for (int i = 0; i < 12; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        int at = map_shard_member(s, index_of(f, 3));
        syncing += at >= 0 && !s->members[at].in_sync;
        assert_int_equal(map_shard_in_sync(s), 2);
        assert_false(s->primary == index_of(f, 3));
    }
    assert_int_equal(syncing, 2); /* rebalance-concurrency */
    assert_int_equal(f->orders_sent, 0);
    for (int round = 0; round < 40; round++) {
        work(f, 3, 1);
        for (int i = 0; i < 12; i++) { /* never fewer copies than there should be */
            assert_in_range(map_shard_in_sync(&map_of(f)->shards[i]), 2, 3);
        }
    }
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=no paused=no copying=0 handing=0 dropping=0 planned=0 waiting=0 "
                         "handed=4 done=8 left=0");
    stop(&f);
}

static void test_orders_wait_for_durability_and_are_repeated(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    f->hold_records = true;
    catch_up(f);
    assert_int_equal(f->orders_sent, 0);
    f->hold_records = false;
    settle(f);
    catch_up(f);
    int sent = f->orders_sent;
    assert_in_range(sent, 1, 16);
    tick(f, 900);
    assert_int_equal(f->orders_sent, sent);
    tick(f, 300);
    assert_int_equal(f->orders_sent, sent * 2);
    stop(&f);
}

static void test_an_old_primary_that_is_not_needed_leaves_in_the_hand_overs_record(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    enlist(f, 1, 1, NULL);
    tick(f, 3000);
    enlist(f, 2, 1, NULL);
    for (int i = 0; i < 4; i++) {
        confirm(f, 1);
        confirm(f, 2);
    }
    catch_up(f);
    uint64_t epoch = map_of(f)->epoch;
    assert_true(f->orders[1].count > 0);
    struct wire_change k = f->orders[1].items[0];
    assert_int_equal(k.op, WIRE_HANDOVER);
    report(f, 1, WIRE_HANDED, k.shard, k.term, 2);
    assert_int_equal(map_of(f)->epoch, epoch + 1);
    const struct map_shard *s = &map_of(f)->shards[k.shard];
    assert_int_equal(s->primary, index_of(f, 2));
    assert_int_equal(s->n_members, 1);
    stop(&f);
}

static void test_the_replication_factor_may_change_at_any_time(void **state)
{
    (void)state;
    struct fixture *f = start_with(4);
    f->settings.replication_factor = 3;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    work(f, 4, 40);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 3);
        assert_int_equal(map_of(f)->shards[i].n_members, 3);
    }
    f->settings.replication_factor = 1;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    for (int i = 0; i < 12; i++) { /* a primary lets go of them, nobody else */
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 3);
    }
    work(f, 4, 10);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(map_of(f)->shards[i].n_members, 1);
    }
    stop(&f);
}

static void test_failover_on_demand_hands_over_to_replicas_in_sync(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    char text[128];
    ask(f, "cluster rebalance pause"); /* does not keep an operator's own wish back */
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 3);
    ask(f, text);
    assert_string_equal(str_cstr(&f->answer), "+OK\r\n");
    assert_int_equal(primaries_of(f, 3), 4);
    assert_int_equal(f->orders[3].count, 4);
    work(f, 3, 3);
    assert_int_equal(primaries_of(f, 3), 0);
    for (int i = 0; i < 12; i++) { /* it has its copies still */
        assert_int_equal(map_shard_in_sync(&map_of(f)->shards[i]), 2);
    }
    work(f, 3, 10);
    assert_int_equal(primaries_of(f, 3), 0);
    int shard = shard_of(f, 1, true);
    const struct map_shard *s = &map_of(f)->shards[shard];
    int replica =
        number_of(f, s->members[0].node == s->primary ? s->members[1].node : s->members[0].node);
    report(f, 1, WIRE_REMOVE, shard, s->term, replica);
    (void)snprintf(text, sizeof(text), "cluster failover %040x", 1);
    ask(f, text);
    assert_answer_has(f, "-NOREPLICAS");
    assert_answer_has(f, "1 have no replica in sync");
    stop(&f);
}

static void test_a_restarted_coordinator_goes_on_with_the_moves(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    enlist(f, 3, 1, NULL);
    for (int life = 0; life < 30; life++) {
        work(f, 3, 1);
        struct errmsg err;
        struct coordinator_env env = env_of(f);
        coordinator_free(&f->core);
        f->recording = 0;
        f->core = coordinator_new(&f->settings, &env, str_slice(&f->stored), CLUSTER, f->now, &err);
        assert_non_null(f->core);
        coordinator_start(f->core, f->now);
        settle(f);
        for (int i = 1; i <= 3; i++) {
            enlist(f, i, 1, NULL);
        }
    }
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(primaries_of(f, i), 4);
        assert_int_equal(map_node_replicas(map_of(f), index_of(f, i)), 4);
    }
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "active=no");
    stop(&f);
}

static void test_the_time_of_a_failover_is_measured_to_the_new_primarys_word(void **state)
{
    (void)state;
    struct fixture *f = start_with(3);
    int shard = shard_of(f, 2, true);
    coordinator_link_down(f->core, f->now, 2); /* first sign */
    f->now += 30;
    char id[NODE_ID_LEN + 1];
    id_of(2, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
    f->now += 970;
    const struct map_shard *s = &map_of(f)->shards[shard];
    report(f, number_of(f, s->primary), WIRE_SERVING, shard, s->primary_term,
           number_of(f, s->primary));
    ask(f, "proxy info");
    assert_answer_has(f, "failovers=4 failover-last-ms=1000 failover-max-ms=1000");
    stop(&f);
}

static void test_progress_of_copies_is_shown_in_bytes(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    for (int n = 1; n <= 2; n++) {
        struct wire_message m = {.kind = WIRE_HEARTBEAT};
        for (int i = 0; i < 12; i++) {
            if (map_of(f)->shards[i].primary == index_of(f, n)) {
                struct wire_shard h = {.shard = i, .keys = 10, .bytes = 1000};
                wire_shards_add(&m.heartbeat.held, h);
            }
        }
        coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
        wire_message_fini(&m);
    }
    settle(f);
    enlist(f, 3, 1, NULL);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "copying=2");
    assert_answer_has(f, "bytes-done=0 bytes-left=8000");
    int shard = shard_of(f, 3, false);
    struct wire_message m = {.kind = WIRE_PROGRESS};
    struct wire_copy k = {.shard = shard, .lag_versions = 7, .done = 400, .left = 700};
    id_of(3, k.node);
    wire_copies_add(&m.progress.copies, &k);
    coordinator_message(f->core, f->now, (uint64_t)number_of(f, map_of(f)->shards[shard].primary),
                        "127.0.0.1", &m);
    wire_message_fini(&m);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "bytes-done=400 bytes-left=7700");
    ask(f, "proxy shards");
    assert_answer_has(f, ":syncing:7:0:0:400:700");
    tick(f, 5000);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "bytes-per-second=");
    assert_null(strstr(str_cstr(&f->answer), "bytes-per-second=0 "));
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

static void test_without_rebalance_on_join_a_new_node_waits_for_start(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    f->settings.rebalance_on_join = false;
    coordinator_set(f->core, f->now, &f->settings);
    settle(f);
    enlist(f, 3, 1, NULL);
    work(f, 3, 20);
    assert_int_equal(primaries_of(f, 3), 0);
    assert_int_equal(map_node_replicas(map_of(f), index_of(f, 3)), 0);
    ask(f, "PROXY PLAN");
    assert_answer_has(f, "moves=4 placements=0");
    ask(f, "CLUSTER REBALANCE START");
    assert_answer_has(f, "+OK moves=4 new-copies=8 bytes=0");
    work(f, 3, 40);
    assert_int_equal(primaries_of(f, 3), 4);
    stop(&f);
}

static void test_pause_resume_and_cancel(void **state)
{
    (void)state;
    struct fixture *f = start_with(2);
    ask(f, "cluster rebalance pause");
    enlist(f, 3, 1, NULL);
    work(f, 3, 10);
    assert_int_equal(primaries_of(f, 3), 0);
    ask(f, "cluster rebalance status");
    assert_answer_has(f, "paused=yes");
    assert_answer_has(f, "state=waiting reason=paused");
    ask(f, "cluster rebalance resume");
    for (int i = 1; i <= 3; i++) {
        confirm(f, i);
    }
    catch_up(f);
    obey(f, 1);
    assert_in_range(primaries_of(f, 3), 1, 3);
    int so_far = primaries_of(f, 3);
    ask(f, "cluster rebalance cancel");
    work(f, 3, 20);
    assert_int_equal(primaries_of(f, 3), so_far);
    for (int i = 0; i < 12; i++) { /* what was half made is gone */
        assert_int_equal(map_of(f)->shards[i].n_members, 2);
    }
    ask(f, "cluster rebalance start");
    work(f, 3, 40);
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
    work(f, 3, 40);
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
    assert_answer_has(f, "term=4 version=0 state=ok keys=0 bytes=0");
    assert_answer_has(f, ":active:");
    ask(f, "proxy info");
    assert_answer_has(f, "nodes=3 healthy=3 unhealthy=0 dead=0 draining=0");
    assert_answer_has(f, "shards=12 served=12 down=0 under-replicated=0 replication-factor=2");
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
        cmocka_unit_test(test_a_node_names_the_clusters_password),
        cmocka_unit_test(test_default_timing_unhealthy_after_15_s_dead_after_30_s_and_back),
        cmocka_unit_test(test_a_refused_connection_is_proof_silence_is_not),
        cmocka_unit_test(test_a_lost_link_is_probed_at_once_and_again),
        cmocka_unit_test(test_a_probe_from_before_the_restart_does_not_kill_the_new_process),
        cmocka_unit_test(test_a_node_that_nobody_can_reach_stays_dead_though_it_speaks),
        cmocka_unit_test(test_when_the_coordinator_slept_nobody_dies_of_it),
        cmocka_unit_test(test_heartbeats_shorter_than_a_tick_are_missed_all_the_same),
        cmocka_unit_test(test_a_dead_primarys_shards_go_to_replicas_in_sync_in_one_record),
        cmocka_unit_test(test_a_shard_waits_for_the_last_node_that_is_in_sync),
        cmocka_unit_test(test_a_restarted_primary_is_followed_by_a_replica_and_comes_back_syncing),
        cmocka_unit_test(test_an_add_from_before_a_restart_counts_for_nothing),
        cmocka_unit_test(test_reports_count_only_from_the_primary_and_under_their_term),
        cmocka_unit_test(test_when_all_in_sync_restarted_the_best_copy_serves_once_they_are_back),
        cmocka_unit_test(test_a_single_copy_that_restarted_serves_again_in_a_new_primary_term),
        cmocka_unit_test(test_a_durable_member_of_a_set_that_is_down_need_not_wait_for_the_others),
        cmocka_unit_test(test_takeover_gives_up_what_only_a_dead_node_has),
        cmocka_unit_test(test_a_dead_nodes_copies_are_made_elsewhere_after_a_delay),
        cmocka_unit_test(test_without_another_node_a_dead_ones_places_stay_its_own),
        cmocka_unit_test(test_a_joining_node_gets_copies_first_and_then_roles_a_few_at_a_time),
        cmocka_unit_test(test_orders_wait_for_durability_and_are_repeated),
        cmocka_unit_test(test_an_old_primary_that_is_not_needed_leaves_in_the_hand_overs_record),
        cmocka_unit_test(test_the_replication_factor_may_change_at_any_time),
        cmocka_unit_test(test_failover_on_demand_hands_over_to_replicas_in_sync),
        cmocka_unit_test(test_a_restarted_coordinator_goes_on_with_the_moves),
        cmocka_unit_test(test_the_time_of_a_failover_is_measured_to_the_new_primarys_word),
        cmocka_unit_test(test_progress_of_copies_is_shown_in_bytes),
        cmocka_unit_test(test_loads_are_told_in_percent_of_the_average),
        cmocka_unit_test(test_without_rebalance_on_join_a_new_node_waits_for_start),
        cmocka_unit_test(test_pause_resume_and_cancel),
        cmocka_unit_test(test_drain_empties_a_node_which_can_then_be_forgotten),
        cmocka_unit_test(test_a_restarted_coordinator_knows_everything_that_was_decided),
        cmocka_unit_test(test_a_damaged_decision_is_an_error),
        cmocka_unit_test(test_views_are_lines_of_key_value_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
