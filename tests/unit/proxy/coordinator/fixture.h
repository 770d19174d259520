// SPDX-License-Identifier: BSD-3-Clause
/* A coordinator on a virtual clock, and the nodes that it talks to. Decisions become durable at
 * once unless a test holds them back; nodes confirm maps when a test says so. */
#pragma once

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
    struct str answer; /* the last, to whomever */
    int answers;       /* to requests of the proxy */
    struct {
        uint64_t number;
        uint64_t epoch;
    } answered[LINKS]; /* the last to a node */
    char warning[600];
};

static inline void env_send(void *arg, uint64_t link, const struct wire_message *m)
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
    } else if (m->kind == WIRE_ANSWER) {
        f->answered[link].number = m->answer.number;
        f->answered[link].epoch = m->answer.epoch;
        str_clear(&f->answer);
        str_append_slice(&f->answer, m->answer.reply);
    } else if (m->kind == WIRE_ORDER) {
        for (size_t i = 0; i < m->order.changes.count; i++) {
            const struct wire_change *k = &m->order.changes.items[i];
            wire_changes_add(&f->orders[link], k->op, k->shard, k->term, k->node);
            f->orders_sent++;
        }
    }
}

static inline void env_close(void *arg, uint64_t link)
{
    struct fixture *f = arg;
    f->closed[link] = true;
}

static inline void env_record(void *arg, uint64_t revision, struct slice bytes)
{
    struct fixture *f = arg;
    assert_int_equal(f->recording, 0);
    f->recording = revision;
    str_clear(&f->stored);
    str_append_slice(&f->stored, bytes);
}

static inline void env_publish(void *arg, struct map *m)
{
    struct fixture *f = arg;
    assert_null(map_check(m));
    f->published++;
    f->shown_assigned = m->assigned;
}

static inline void env_probe(void *arg, const char *id, const char *host, int port)
{
    struct fixture *f = arg;
    assert_string_equal(host, "127.0.0.1");
    assert_in_range(port, 7000, 7100);
    f->probes++;
    memcpy(f->probed, id, sizeof(f->probed));
}

static inline void env_answer(void *arg, uint64_t request, struct slice reply)
{
    struct fixture *f = arg;
    (void)request;
    f->answers++;
    str_clear(&f->answer);
    str_append_slice(&f->answer, reply);
}

static inline void listen_to_log(void *arg, enum log_level level, const char *area,
                                 const char *text)
{
    struct fixture *f = arg;
    (void)area;
    if (level >= LOG_WARNING) {
        (void)snprintf(f->warning, sizeof(f->warning), "%s", text);
    }
}

static inline void settle(struct fixture *f)
{
    while (f->recording != 0 && !f->hold_records) {
        uint64_t revision = f->recording;
        f->recording = 0;
        coordinator_recorded(f->core, f->now, revision);
    }
}

static inline struct coordinator_env env_of(struct fixture *f)
{
    return (struct coordinator_env){.arg = f,
                                    .send = env_send,
                                    .close = env_close,
                                    .record = env_record,
                                    .publish = env_publish,
                                    .probe = env_probe,
                                    .answer = env_answer};
}

static inline struct fixture *start(void)
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

static inline void stop(struct fixture **fp)
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

static inline void id_of(int node, char id[NODE_ID_LEN + 1])
{
    (void)snprintf(id, NODE_ID_LEN + 1, "%040x", node);
}

/* Node number n registers on link number n. */
static inline void enlist_as(struct fixture *f, int n, uint64_t incarnation, bool durable,
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

static inline void enlist(struct fixture *f, int n, uint64_t incarnation,
                          const struct wire_shards *held)
{
    enlist_as(f, n, incarnation, false, held);
}

static inline const struct map *map_of(const struct fixture *f)
{
    return coordinator_map(f->core);
}

static inline int index_of(const struct fixture *f, int n)
{
    char id[NODE_ID_LEN + 1];
    id_of(n, id);
    return map_node_by_id(map_of(f), id);
}

static inline enum node_state state_of(const struct fixture *f, int n)
{
    return map_of(f)->nodes[index_of(f, n)].state;
}

static inline int primaries_of(const struct fixture *f, int n)
{
    return map_node_primaries(map_of(f), index_of(f, n));
}

/* A heartbeat in which each shard that the node is primary of has so many keys. */
static inline void heartbeat(struct fixture *f, int n, uint64_t keys)
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
static inline void confirm(struct fixture *f, int n)
{
    struct wire_message m = {.kind = WIRE_CONFIRM};
    m.confirm.epoch = f->map_sent_epoch[n];
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    settle(f);
}

/* Node n reports one thing. */
static inline void report(struct fixture *f, int n, enum wire_op op, int shard, uint64_t term,
                          int about)
{
    struct wire_message m = {.kind = WIRE_REPORT};
    char id[NODE_ID_LEN + 1];
    id_of(about, id);
    wire_changes_add(&m.report.changes, op, shard, term, id);
    coordinator_message(f->core, f->now, (uint64_t)n, "127.0.0.1", &m);
    wire_message_fini(&m);
    settle(f);
}

static inline int number_of(const struct fixture *f, int node)
{
    return (int)strtol(map_of(f)->nodes[node].id, NULL, 16);
}

/* Each primary reports the members that are not in sync as caught up; dead ones it cannot. */
static inline void catch_up(struct fixture *f)
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
static inline void ask_out(struct fixture *f)
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

/* Node n has everything that it was chosen for by guess. */
static inline void vouch(struct fixture *f, int n)
{
    for (int i = 0; i < map_of(f)->n_shards; i++) {
        const struct map_shard *s = &map_of(f)->shards[i];
        if (s->primary == index_of(f, n) && !map_shard_has_primary(s)) {
            report(f, n, WIRE_WHOLE, i, s->primary_term, n);
        }
    }
}

/* Node n does what it was ordered to. */
static inline void obey(struct fixture *f, int n)
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

static inline void tick(struct fixture *f, int64_t ms)
{
    for (int64_t until = f->now + ms; f->now < until;) {
        f->now = MIN(f->now + 100, until);
        coordinator_tick(f->core, f->now);
        settle(f);
    }
}

static inline void ask(struct fixture *f, const char *text)
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

static inline void assert_answer_has(struct fixture *f, const char *text)
{
    if (strstr(str_cstr(&f->answer), text) == NULL) {
        fail_msg("no '%s' in: %s", text, str_cstr(&f->answer));
    }
}

/* n nodes, assigned. */
static inline struct fixture *start_with(int n)
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
static inline void work(struct fixture *f, int n, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (int i = 1; i <= n; i++) {
            confirm(f, i);
            vouch(f, i);
        }
        catch_up(f);
        for (int i = 1; i <= n; i++) {
            obey(f, i);
        }
    }
}

static inline void refuse_probe(struct fixture *f, int n)
{
    char id[NODE_ID_LEN + 1];
    id_of(n, id);
    f->now += 200;
    coordinator_suspect(f->core, f->now, id);
    coordinator_probed(f->core, f->now, id, PROBE_REFUSED);
    settle(f);
}

/* The first shard that node n is primary of, or a replica. */
static inline int shard_of(const struct fixture *f, int n, bool primary)
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
