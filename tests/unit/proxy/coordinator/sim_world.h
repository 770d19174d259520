// SPDX-License-Identifier: BSD-3-Clause
/* Of coordinator_sim_test.c, which alone includes it: events on a virtual clock, the outside world
 * of the coordinator's core, with the checks of what it decides, and the model nodes. */
#pragma once

#include "proxy/coordinator/coordinator.h"
#include "proxy/coordinator/decision.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/wire/version.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define CLUSTER  "00000000000000000000000000000000000000c1"
#define SHARDS   24
#define NODES    6
#define LINKS    100000
#define TERMS    4096
#define INTERVAL 200 /* heartbeats, ms */

enum event_type {
    TO_NODE,
    TO_COORDINATOR,
    LINK_LOST_AT_NODE,
    LINK_LOST_AT_COORDINATOR,
    RECORDED,
    PROBED,
    CONNECT,
    HEARTBEAT,
    TICK,
    CHAOS,
};

struct event {
    int64_t at;
    uint64_t seq;
    enum event_type type;
    int node;
    uint64_t number;     /* link, revision, generation of timers */
    uint64_t generation; /* of the coordinator's process */
    struct str bytes;    /* a message's words, end to end */
    size_t lens[WIRE_FIELDS_MAX + 1];
    size_t argc;
};

struct sim_node {
    char id[NODE_ID_LEN + 1];
    bool exists;
    bool up;
    bool paused;
    uint64_t incarnation;
    uint64_t link;   /* 0: none */
    uint64_t timers; /* generation: those of an earlier process or link are void */
    bool member;
    struct map *map;
    int self;
    bool held[SHARDS];
    uint64_t term[SHARDS]; /* of the last write it has, and how many it has */
    uint64_t version[SHARDS];
    unsigned asked[SHARDS]; /* nodes (bits) counted before they are recorded as in sync */
    uint64_t asked_term[SHARDS];
    uint64_t resigned[SHARDS]; /* primary term in which it has handed over */
    int64_t resigned_at[SHARDS];
    bool durable;            /* this process has all that an earlier one had */
    uint64_t lossy;          /* the last process that lost something; 0: none */
    struct event inbox[256]; /* came while paused */
    int n_inbox;
};

struct world {
    struct rng rng;
    uint64_t seed;
    int64_t now;
    uint64_t seq;
    struct event *events;
    size_t n_events;
    size_t room;
    struct coordinator *core;
    struct coordinator_settings settings;
    uint64_t generation;
    struct str stored;  /* durable */
    struct str pending; /* being recorded */
    uint64_t epoch_stored;
    uint64_t epoch_pending;
    struct map *published_last; /* over all lives of the coordinator */
    struct sim_node nodes[NODES];
    uint64_t link_last;
    int link_node[LINKS];
    int64_t link_busy[LINKS]; /* a link keeps the order of what it carries */
    bool link_open[LINKS];    /* as the coordinator sees it */
    struct map *durable_last;
    char primary_of[SHARDS][TERMS][NODE_ID_LEN + 1];
    uint64_t in_sync_as[SHARDS][NODES]; /* incarnation; 0: is not in sync */
    uint64_t acked[SHARDS];
    uint64_t writes;
    uint64_t losses;    /* acknowledged ones that every node in sync lost */
    bool lossy[SHARDS]; /* the present primary may lack something */
    bool faults;
    uint64_t requests;
};

static void broken(const struct world *w, const char *what, int a, int b)
{
    fail_msg("seed %llu at %lld ms: %s (%d, %d)", (unsigned long long)w->seed, (long long)w->now,
             what, a, b);
}

static uint64_t below(struct world *w, uint64_t n)
{
    return rng_below(&w->rng, n);
}

/* ---- events ---- */

static struct event *push(struct world *w, int64_t at, enum event_type type, int node,
                          uint64_t number)
{
    if (w->n_events == w->room) {
        w->room = MAX(w->room * 2, (size_t)256);
        w->events = mem_realloc(w->events, sizeof(*w->events) * w->room);
    }
    struct event *e = &w->events[w->n_events++];
    *e = (struct event){.at = at,
                        .seq = w->seq++,
                        .type = type,
                        .node = node,
                        .number = number,
                        .generation = w->generation};
    return e;
}

static struct event pop(struct world *w)
{
    size_t first = 0;
    for (size_t i = 1; i < w->n_events; i++) {
        const struct event *a = &w->events[i];
        const struct event *b = &w->events[first];
        if (a->at < b->at || (a->at == b->at && a->seq < b->seq)) {
            first = i;
        }
    }
    struct event e = w->events[first];
    w->events[first] = w->events[--w->n_events];
    return e;
}

static int64_t link_time(struct world *w, uint64_t link)
{
    int64_t at = w->now + (int64_t)below(w, 20);
    w->link_busy[link] = MAX(w->link_busy[link], at);
    return w->link_busy[link];
}

static void push_message(struct world *w, enum event_type type, uint64_t link,
                         const struct wire_message *m)
{
    struct wire_frame f = {0};
    wire_encode(m, &f);
    struct event *e = push(w, link_time(w, link), type, w->link_node[link], link);
    e->argc = f.argc;
    for (size_t i = 0; i < f.argc; i++) {
        e->lens[i] = f.argv[i].len;
        str_append_slice(&e->bytes, f.argv[i]);
    }
    wire_frame_fini(&f);
}

static void decode(struct world *w, const struct event *e, struct wire_message *m)
{
    struct slice argv[WIRE_FIELDS_MAX + 1];
    const char *at = str_cstr(&e->bytes);
    for (size_t i = 0; i < e->argc; i++) {
        argv[i] = slice_of(at, e->lens[i]);
        at += e->lens[i];
    }
    const char *wrong = wire_decode(argv, e->argc, m);
    if (wrong != NULL) {
        broken(w, wrong, 0, 0);
    }
}

/* ---- what the coordinator does ---- */

static void env_send(void *arg, uint64_t link, const struct wire_message *m)
{
    struct world *w = arg;
    if (m->kind == WIRE_MAP) {
        if (m->map.epoch > w->epoch_stored) {
            broken(w, "a map was sent before it was durable", (int)m->map.epoch, 0);
        }
    }
    if (w->link_open[link]) {
        push_message(w, TO_NODE, link, m);
    }
}

static void env_close(void *arg, uint64_t link)
{
    struct world *w = arg;
    w->link_open[link] = false;
    (void)push(w, link_time(w, link), LINK_LOST_AT_NODE, w->link_node[link], link);
}

static void env_record(void *arg, uint64_t revision, struct slice bytes)
{
    struct world *w = arg;
    if (w->epoch_pending != 0) {
        broken(w, "two records at once", (int)revision, (int)w->epoch_pending);
    }
    str_clear(&w->pending);
    str_append_slice(&w->pending, bytes);
    w->epoch_pending = revision;
    (void)push(w, w->now + 1 + (int64_t)below(w, 15), RECORDED, 0, revision);
}

static int node_of(const struct map *m, int index)
{
    return m->nodes[index].port - 7000;
}

/* Whether the old set of the shard was lost data, all of it. */
static bool all_lossy(const struct world *w, int shard)
{
    for (int i = 0; i < NODES; i++) {
        if (w->in_sync_as[shard][i] > w->nodes[i].lossy) {
            return false;
        }
    }
    return true;
}

static void check_shard(struct world *w, const struct map *m, int shard)
{
    const struct map_shard *s = &m->shards[shard];
    const struct map_shard *old = w->durable_last == NULL ? NULL : &w->durable_last->shards[shard];
    if (s->primary != NODE_NONE && s->primary_term < TERMS) {
        char *known = w->primary_of[shard][s->primary_term];
        if (known[0] != '\0' && strcmp(known, m->nodes[s->primary].id) != 0) {
            broken(w, "two primaries in a primary term", shard, (int)s->primary_term);
        }
        memcpy(known, m->nodes[s->primary].id, NODE_ID_LEN + 1);
    }
    bool had = old != NULL && map_shard_in_sync(old) > 0;
    /* One that was asked to be recorded, and whose primary then died, may be both in one record. */
    if (s->primary != NODE_NONE && had && s->primary_term > old->primary_term &&
        w->in_sync_as[shard][node_of(m, s->primary)] == 0 && !all_lossy(w, shard) &&
        w->nodes[node_of(m, s->primary)].version[shard] < w->acked[shard]) {
        broken(w, "a primary that was not in sync", shard, node_of(m, s->primary));
    }
    if (had && s->primary_term > old->primary_term && all_lossy(w, shard)) {
        w->lossy[shard] = true;
    }
    if (had && map_shard_in_sync(s) == 0) {
        broken(w, "nobody is in sync any more", shard, 0);
    }
    uint64_t as[NODES] = {0};
    for (int j = 0; j < s->n_members; j++) {
        int node = node_of(m, s->members[j].node);
        if (s->members[j].in_sync) {
            uint64_t was = w->in_sync_as[shard][node];
            as[node] = was == 0 ? m->nodes[s->members[j].node].incarnation : was;
        }
    }
    memcpy(w->in_sync_as[shard], as, sizeof(as));
}

static void make_durable(struct world *w)
{
    struct decision d;
    str_clear(&w->stored);
    str_append_slice(&w->stored, str_slice(&w->pending));
    w->epoch_stored = w->epoch_pending;
    w->epoch_pending = 0;
    if (!decision_decode(str_slice(&w->stored), &d)) {
        broken(w, "a decision that cannot be read", 0, 0);
    }
    const char *wrong = w->durable_last == NULL ? NULL : map_check_next(w->durable_last, d.map);
    if (wrong != NULL) {
        broken(w, wrong, (int)d.map->epoch, 0);
    }
    for (int i = 0; i < SHARDS; i++) {
        check_shard(w, d.map, i);
    }
    map_unref(&w->durable_last);
    w->durable_last = map_ref(d.map);
    decision_fini(&d);
}

static void env_publish(void *arg, struct map *m)
{
    struct world *w = arg;
    if (m->epoch > w->epoch_stored) {
        broken(w, "published before it was durable", (int)m->epoch, 0);
    }
    if (w->published_last != NULL && m->epoch != w->published_last->epoch) {
        const char *wrong = map_check_next(w->published_last, m);
        if (wrong != NULL) {
            broken(w, wrong, (int)m->epoch, 0);
        }
    }
    map_unref(&w->published_last);
    w->published_last = map_ref(m);
}

static void env_probe(void *arg, const char *id, const char *host, int port)
{
    struct world *w = arg;
    (void)host;
    (void)id;
    (void)push(w, w->now + 1 + (int64_t)below(w, 5), PROBED, port - 7000, 0);
}

static void env_answer(void *arg, uint64_t request, struct slice reply)
{
    struct world *w = arg;
    (void)request;
    if (reply.len < 3 || reply.ptr[reply.len - 1] != '\n') {
        broken(w, "an answer that is no reply", (int)reply.len, 0);
    }
}

static void start_coordinator(struct world *w)
{
    struct coordinator_env env = {.arg = w,
                                  .send = env_send,
                                  .close = env_close,
                                  .record = env_record,
                                  .publish = env_publish,
                                  .probe = env_probe,
                                  .answer = env_answer};
    struct errmsg err;
    w->generation++;
    w->core = coordinator_new(&w->settings, &env, str_slice(&w->stored), CLUSTER, w->now, &err);
    if (w->core == NULL) {
        broken(w, err.text, 0, 0);
    }
    coordinator_start(w->core, w->now);
    (void)push(w, w->now + 20, TICK, 0, 0);
}

static void kill_coordinator(struct world *w)
{
    if (w->epoch_pending != 0) { /* the record may have reached the disk or not */
        if (below(w, 2) == 0) {
            make_durable(w);
        }
        w->epoch_pending = 0;
    }
    coordinator_free(&w->core);
    for (uint64_t link = 1; link <= w->link_last; link++) {
        if (w->link_open[link]) {
            w->link_open[link] = false;
            (void)push(w, link_time(w, link), LINK_LOST_AT_NODE, w->link_node[link], link);
        }
    }
    start_coordinator(w);
}

/* ---- what a node does ---- */

/* The member takes part in the primary's term, can be reached, and is the process of the map. */
static bool joined(const struct sim_node *p, const struct sim_node *member, int shard)
{
    int node = map_node_by_id(p->map, member->id);
    return member->up && !member->paused && member->map != NULL && node != NODE_NONE &&
           member->held[shard] && p->map->nodes[node].incarnation == member->incarnation &&
           member->map->shards[shard].primary_term == p->map->shards[shard].primary_term;
}

static bool acts_as_primary(const struct sim_node *n, int shard)
{
    return n->up && !n->paused && n->map != NULL && n->self != NODE_NONE &&
           n->map->shards[shard].primary == n->self &&
           n->resigned[shard] != n->map->shards[shard].primary_term;
}

/* Primary, and all that it counts are with it. */
static bool serves(const struct world *w, const struct sim_node *n, int shard)
{
    if (!acts_as_primary(n, shard)) {
        return false;
    }
    const struct map_shard *s = &n->map->shards[shard];
    if (!map_shard_has_primary(s)) {
        return false;
    }
    for (int j = 0; j < s->n_members; j++) {
        int node = node_of(n->map, s->members[j].node);
        bool counts = s->members[j].in_sync || (n->asked[shard] >> node & 1) != 0;
        if (counts && &w->nodes[node] != n && !joined(n, &w->nodes[node], shard)) {
            return false;
        }
    }
    return true;
}

static void node_reset(struct sim_node *n)
{
    map_unref(&n->map);
    n->self = NODE_NONE;
    n->link = 0;
    n->member = false;
    n->timers++;
    for (int i = 0; i < n->n_inbox; i++) {
        str_fini(&n->inbox[i].bytes);
    }
    n->n_inbox = 0;
    memset(n->held, 0, sizeof(n->held));
    memset(n->asked, 0, sizeof(n->asked));
    memset(n->resigned, 0, sizeof(n->resigned));
}

static void list_held(const struct sim_node *n, struct wire_shards *to)
{
    for (int i = 0; i < SHARDS; i++) {
        if (n->held[i] || n->version[i] > 0) {
            struct wire_shard h = {
                .shard = i, .term = n->term[i], .version = n->version[i], .keys = n->version[i]};
            wire_shards_add(to, h);
        }
    }
}

static void node_send(struct world *w, struct sim_node *n, struct wire_message *m)
{
    push_message(w, TO_COORDINATOR, n->link, m);
    wire_message_fini(m);
}

static void node_connect(struct world *w, int i)
{
    struct sim_node *n = &w->nodes[i];
    n->link = ++w->link_last;
    INVARIANT(n->link < LINKS);
    n->member = false;
    n->timers++;
    w->link_node[n->link] = i;
    w->link_open[n->link] = true;
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    r->incarnation = n->incarnation;
    r->port = 7000 + (uint64_t)i;
    r->weight = 100;
    r->epoch = n->map == NULL ? 0 : n->map->epoch;
    r->durable = n->durable;
    memcpy(r->id, n->id, sizeof(r->id));
    if (n->map != NULL) {
        memcpy(r->cluster_id, CLUSTER, sizeof(r->cluster_id));
    }
    list_held(n, &r->held);
    node_send(w, n, &m);
}

/* A primary copies to members that are not in sync and asks for them to be recorded, and asks for
 * those to be taken out that it cannot reach. */
static void tend(struct world *w, struct sim_node *n, int shard, struct wire_changes *to)
{
    const struct map_shard *s = &n->map->shards[shard];
    if (n->resigned[shard] == s->primary_term && w->now - n->resigned_at[shard] > 1000) {
        n->resigned[shard] = 0; /* REOPEN */
    }
    if (acts_as_primary(n, shard) && !map_shard_has_primary(s)) {
        wire_changes_add(to, WIRE_WHOLE, shard, s->primary_term, n->id);
        return;
    }
    for (int j = 0; j < s->n_members && acts_as_primary(n, shard); j++) {
        int node = node_of(n->map, s->members[j].node);
        struct sim_node *other = &w->nodes[node];
        bool with = joined(n, other, shard);
        if (other == n) {
            continue;
        }
        if (s->members[j].in_sync && !with && below(w, 2) == 0) {
            wire_changes_add(to, WIRE_REMOVE, shard, s->term, other->id);
        } else if (!s->members[j].in_sync && with && serves(w, n, shard)) {
            other->term[shard] = n->term[shard];
            other->version[shard] = n->version[shard];
            n->asked[shard] |= 1U << node;
            n->asked_term[shard] = s->term;
            wire_changes_add(to, WIRE_ADD, shard, s->term, other->id);
        }
    }
}

static void node_heartbeat(struct world *w, struct sim_node *n)
{
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    m.heartbeat.epoch = n->map == NULL ? 0 : n->map->epoch;
    list_held(n, &m.heartbeat.held);
    node_send(w, n, &m);
    struct wire_message r = {.kind = WIRE_REPORT};
    for (int i = 0; i < SHARDS && n->map != NULL && n->self != NODE_NONE; i++) {
        if (n->map->shards[i].primary == n->self) {
            tend(w, n, i, &r.report.changes);
        }
    }
    node_send(w, n, &r);
}

static void node_obey(struct world *w, struct sim_node *n, const struct wire_changes *l)
{
    struct wire_message r = {.kind = WIRE_REPORT};
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_change *k = &l->items[i];
        int other = 0;
        while (other < NODES && strcmp(w->nodes[other].id, k->node) != 0) {
            other++;
        }
        INVARIANT(other < NODES);
        if (!acts_as_primary(n, k->shard) || n->map->shards[k->shard].primary_term != k->term) {
            continue;
        }
        if (k->op == WIRE_DROP) {
            wire_changes_add(&r.report.changes, WIRE_REMOVE, k->shard,
                             n->map->shards[k->shard].term, k->node);
        } else if (serves(w, n, k->shard) && joined(n, &w->nodes[other], k->shard)) {
            const struct map_shard *s = &n->map->shards[k->shard];
            int at = map_shard_member(s, map_node_by_id(n->map, k->node));
            if (at < 0 || !s->members[at].in_sync) {
                continue; /* not any more */
            }
            if (w->nodes[other].version[k->shard] != n->version[k->shard]) {
                broken(w, "in sync, but not with everything", k->shard, other);
            }
            n->resigned[k->shard] = k->term;
            n->resigned_at[k->shard] = w->now;
            wire_changes_add(&r.report.changes, WIRE_HANDED, k->shard, k->term, k->node);
        }
    }
    node_send(w, n, &r);
}

static void node_apply(struct world *w, int i, const struct wire_map *m)
{
    struct sim_node *n = &w->nodes[i];
    struct map *got = map_decode(m->map);
    if (got == NULL) {
        broken(w, "a map that does not decode", i, 0);
        return;
    }
    if (n->map != NULL && got->epoch < n->map->epoch) {
        map_unref(&got);
        return;
    }
    map_unref(&n->map);
    n->map = got;
    n->self = map_node_by_id(got, n->id);
    for (int s = 0; s < SHARDS; s++) {
        n->held[s] = n->self != NODE_NONE && map_node_holds(got, n->self, s);
        if (!n->held[s]) {
            n->version[s] = 0;
            n->term[s] = 0;
        }
        if (got->shards[s].term > n->asked_term[s]) {
            n->asked[s] = 0; /* recorded by now, or refused */
        }
    }
    struct wire_message c = {.kind = WIRE_CONFIRM};
    c.confirm.epoch = got->epoch;
    node_send(w, n, &c);
}

static void node_lost_link(struct world *w, int i)
{
    struct sim_node *n = &w->nodes[i];
    n->link = 0;
    n->member = false;
    n->timers++;
    (void)push(w, w->now + 10 + (int64_t)below(w, 200), CONNECT, i, n->timers);
}

static void node_message(struct world *w, const struct event *e)
{
    struct sim_node *n = &w->nodes[e->node];
    if (!n->up || n->link != e->number) {
        return;
    }
    struct wire_message m;
    decode(w, e, &m);
    if (m.kind == WIRE_WELCOME) {
        n->member = true;
        n->timers++;
        node_heartbeat(w, n);
        (void)push(w, w->now + INTERVAL, HEARTBEAT, e->node, n->timers);
    } else if (m.kind == WIRE_MAP) {
        node_apply(w, e->node, &m.map);
    } else if (m.kind == WIRE_ORDER) {
        node_obey(w, n, &m.order.changes);
    } else if (m.kind == WIRE_REFUSED) {
        w->link_open[n->link] = false;
        node_lost_link(w, e->node);
    }
    wire_message_fini(&m);
}

static void break_link(struct world *w, struct sim_node *n)
{
    if (n->link != 0 && w->link_open[n->link]) {
        (void)push(w, link_time(w, n->link), LINK_LOST_AT_COORDINATOR, 0, n->link);
    }
}

static void node_kill(struct world *w, struct sim_node *n)
{
    break_link(w, n);
    n->up = false;
    n->paused = false;
    node_reset(n);
    n->durable = below(w, 2) == 0;
    if (n->durable) {
        return;
    }
    n->lossy = n->incarnation;

    for (int i = 0; i < SHARDS; i++) {
        n->version[i] -= MIN(n->version[i], below(w, 20));
    }
}

static void node_start(struct world *w, int i)
{
    struct sim_node *n = &w->nodes[i];
    n->exists = true;
    n->up = true;
    n->incarnation++;
    (void)push(w, w->now + (int64_t)below(w, 50), CONNECT, i, n->timers);
}

static void node_resume(struct world *w, struct sim_node *n)
{
    n->paused = false;
    for (int i = 0; i < n->n_inbox; i++) {
        struct event e = n->inbox[i];
        if (e.type == LINK_LOST_AT_NODE) {
            if (n->link == e.number) {
                node_lost_link(w, e.node);
            }
        } else {
            node_message(w, &e);
        }
        str_fini(&e.bytes);
    }
    n->n_inbox = 0;
    if (n->link != 0 && n->member) {
        n->timers++;
        node_heartbeat(w, n);
        (void)push(w, w->now + INTERVAL, HEARTBEAT, (int)(n - w->nodes), n->timers);
    } else if (n->link == 0) {
        n->timers++;
        (void)push(w, w->now + 5, CONNECT, (int)(n - w->nodes), n->timers);
    }
}
