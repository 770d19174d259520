// SPDX-License-Identifier: BSD-3-Clause
/* The coordinator's process around the real core: its links, its store that outlives it, its
 * probes, and the maps that proxies get. */
#include "proxy/coordinator/decision.h"

#include "common/base/mem.h"

#include "tests/sim/node_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER "00000000000000000000000000000000000000c1"

struct probe {
    struct sim_coordinator *c;
    char id[NODE_ID_LEN + 1];
};

struct sim_coordinator {
    struct sim *sim;
    struct host *host;
    bool up;
    struct coordinator *core;
    struct coordinator_settings settings;
    int64_t tick_us;
    int64_t tick_at_us; /* local */
    uint64_t requests;
    /* the store */
    struct str stored;
    struct str writing;
    uint64_t revision; /* of `writing`; 0: none */
    bool written;      /* the core is to be told in the next turn */
    struct map *durable;
    /* published, by epoch */
    struct map **maps;
    size_t n_maps;
    uint64_t shown; /* epoch */
};

static int64_t now_ms(const struct sim_coordinator *c)
{
    return host_now_us(c->host) / 1000;
}

struct host *coordinators_host(const struct sim_coordinator *c)
{
    return c->host;
}

bool coordinators_up(const struct sim_coordinator *c)
{
    return c->up;
}

struct map *coordinators_map(const struct sim_coordinator *c)
{
    return c->durable;
}

struct map *coordinators_published(struct sim_coordinator *c, uint64_t epoch)
{
    return epoch < c->n_maps ? c->maps[epoch] : NULL;
}

/* --- the core's world --- */

static struct net_end *end_of(struct sim_coordinator *c, uint64_t link)
{
    LIST_FOREACH(it, &c->host->ends) {
        struct net_end *e = container_of(it, struct net_end, link);
        if (e->id == link && e->state == NET_OPEN) {
            return e;
        }
    }
    return NULL;
}

static void env_send(void *arg, uint64_t link, const struct wire_message *m)
{
    struct sim_coordinator *c = arg;
    if (m->kind == WIRE_MAP && (c->durable == NULL || m->map.epoch > c->durable->epoch)) {
        world_fail(&c->sim->world, "the map of epoch %llu was told before it was durable",
                   (unsigned long long)m->map.epoch);
        return;
    }
    struct net_end *e = end_of(c, link);
    if (e != NULL) {
        wire_send(c->sim->world.net, e, m);
    }
}

static void env_close(void *arg, uint64_t link)
{
    struct sim_coordinator *c = arg;
    struct net_end *e = end_of(c, link);
    if (e != NULL) {
        net_close(c->sim->world.net, e);
    }
}

static void store_durable(struct sim_coordinator *c)
{
    struct decision d;
    if (!decision_decode(str_slice(&c->writing), &d)) {
        world_fail(&c->sim->world, "a decision that cannot be decoded");
        return;
    }
    check_map(c->sim, c->durable, d.map);
    map_unref(&c->durable);
    c->durable = map_ref(d.map);
    decision_fini(&d);
    str_clear(&c->stored);
    str_append_slice(&c->stored, str_slice(&c->writing));
}

static void store_done(void *arg, uint64_t life)
{
    struct sim_coordinator *c = arg;
    if (!c->up || life != c->host->life) {
        return;
    }
    store_durable(c);
    c->written = true;
    host_wake(c->host);
}

static void env_record(void *arg, uint64_t revision, struct slice bytes)
{
    struct sim_coordinator *c = arg;
    struct world *w = &c->sim->world;
    INVARIANT(c->revision == 0);
    c->revision = revision;
    c->written = false;
    str_clear(&c->writing);
    str_append_slice(&c->writing, bytes);
    int64_t takes = world_chance(w, 30000) ? world_between(w, 10 * US_PER_MS, US_PER_S)
                                           : world_between(w, 200, 5 * US_PER_MS);
    world_after(w, takes, store_done, c, c->host->life);
}

static void tell_proxy(struct sim_coordinator *c, struct net_end *e)
{
    if (c->shown != 0) {
        net_send(c->sim->world.net, e, &c->shown, sizeof(c->shown));
    }
}

static void env_publish(void *arg, struct map *m)
{
    struct sim_coordinator *c = arg;
    if (m->epoch >= c->n_maps) {
        c->maps = mem_realloc(c->maps, (m->epoch + 1) * sizeof(struct map *));
        memset(c->maps + c->n_maps, 0, (m->epoch + 1 - c->n_maps) * sizeof(struct map *));
        c->n_maps = m->epoch + 1;
    }
    if (c->maps[m->epoch] == NULL) {
        c->maps[m->epoch] = map_ref(m);
    }
    c->shown = m->epoch;
    LIST_FOREACH(it, &c->host->ends) {
        struct net_end *e = container_of(it, struct net_end, link);
        if (e->service == SERVICE_PROXIES && e->state == NET_OPEN) {
            tell_proxy(c, e);
        }
    }
}

static void env_probe(void *arg, const char *id, const char *address, int port)
{
    (void)address;
    struct sim_coordinator *c = arg;
    struct probe *p = mem_zalloc(sizeof(*p));
    p->c = c;
    snprintf(p->id, sizeof(p->id), "%s", id);
    net_connect(c->sim->world.net, c->host, node_host(c->sim->nodes[port - 7000]), SERVICE_LANES,
                p);
}

static void env_answer(void *arg, uint64_t request, struct slice reply)
{
    struct sim_coordinator *c = arg;
    (void)request;
    world_say(&c->sim->world, "coordinator answers: %.*s", (int)MIN(reply.len, (size_t)80),
              reply.ptr);
}

static const struct coordinator_env env_of_coordinator = {
    .send = env_send,
    .close = env_close,
    .record = env_record,
    .publish = env_publish,
    .probe = env_probe,
    .answer = env_answer,
};

/* --- host --- */

static void on_message(void *arg, struct net_end *end, const char *data, size_t len)
{
    struct sim_coordinator *c = arg;
    if (end->service == SERVICE_PROXIES) {
        char id[NODE_ID_LEN + 1];
        memcpy(id, data, sizeof(id));
        coordinator_suspect(c->core, now_ms(c), id);
        return;
    }
    struct wire_message m;
    if (!wire_receive(c->sim, data, len, &m)) {
        return;
    }
    char ip[32];
    snprintf(ip, sizeof(ip), "10.0.0.%d", end->peer->host->index + 1);
    coordinator_message(c->core, now_ms(c), end->id, ip, &m);
    wire_message_fini(&m);
}

static bool on_accepted(void *arg, struct net_end *end, int service)
{
    struct sim_coordinator *c = arg;
    if (service == SERVICE_PROXIES) {
        tell_proxy(c, end);
    }
    return true;
}

static void probe_ends(struct sim_coordinator *c, struct net_end *end, enum probe_result r)
{
    struct probe *p = end->owner;
    end->owner = NULL;
    coordinator_probed(c->core, now_ms(c), p->id, r);
    mem_free(p);
}

static void on_connected(void *arg, struct net_end *end)
{
    struct sim_coordinator *c = arg;
    probe_ends(c, end, PROBE_OK);
    net_close(c->sim->world.net, end);
}

static void on_failed(void *arg, struct net_end *end, bool refused)
{
    probe_ends(arg, end, refused ? PROBE_REFUSED : PROBE_SILENT);
}

static void on_closed(void *arg, struct net_end *end)
{
    struct sim_coordinator *c = arg;
    if (end->service == SERVICE_COORDINATOR) {
        coordinator_link_down(c->core, now_ms(c), end->id);
    }
}

static void on_timer(void *arg)
{
    struct sim_coordinator *c = arg;
    if (host_now_us(c->host) >= c->tick_at_us) {
        c->tick_at_us = host_now_us(c->host) + c->tick_us;
        coordinator_tick(c->core, now_ms(c));
    }
}

static void on_end(void *arg)
{
    struct sim_coordinator *c = arg;
    if (c->written) {
        uint64_t revision = c->revision;
        c->written = false;
        c->revision = 0;
        coordinator_recorded(c->core, now_ms(c), revision);
    }
    host_timer(c->host, c->tick_at_us);
}

static const struct host_ops coordinator_ops = {
    .message = on_message,
    .connected = on_connected,
    .failed = on_failed,
    .accepted = on_accepted,
    .closed = on_closed,
    .timer = on_timer,
    .end = on_end,
};

/* --- life and death --- */

struct sim_coordinator *coordinators_new(struct sim *s)
{
    struct sim_coordinator *c = mem_zalloc(sizeof(*c));
    c->sim = s;
    c->host = host_add(&s->world, &coordinator_ops, c,
                       (int32_t)world_between(&s->world, -s->set.drift_ppm, s->set.drift_ppm));
    c->tick_us = 100 * US_PER_MS;
    const struct sim_settings *set = &s->set;
    c->settings = (struct coordinator_settings){
        .shards = set->shards,
        .replication_factor = set->rf,
        .assignment_delay_ms = 500,
        .heartbeat_interval_ms = set->heartbeat_ms,
        .unhealthy_missed = MAX(set->dead_missed / 2, 1),
        .dead_missed = set->dead_missed,
        .rebalance_on_join = set->rebalance_on_join,
        .rebalance_concurrency = 2,
        .sync = set->sync,
        .strong = set->strong,
        .min_in_sync = set->min_in_sync,
        .lease_ms = set->lease_us / 1000,
        .replace_delay_ms = 20000,
    };
    return c;
}

void coordinators_free(struct sim_coordinator **cp)
{
    struct sim_coordinator *c = *cp;
    if (c == NULL) {
        return;
    }
    coordinator_free(&c->core);
    str_fini(&c->stored);
    str_fini(&c->writing);
    map_unref(&c->durable);
    for (size_t i = 0; i < c->n_maps; i++) {
        map_unref(&c->maps[i]);
    }
    mem_free(c->maps);
    mem_free(c);
    *cp = NULL;
}

void coordinators_start(struct sim_coordinator *c)
{
    world_say(&c->sim->world, "coordinator starts");
    host_start(c->host, c);
    c->up = true;
    c->revision = 0;
    c->written = false;
    c->shown = 0;
    struct coordinator_env env = env_of_coordinator;
    env.arg = c;
    struct errmsg err = {0};
    c->core = coordinator_new(&c->settings, &env, str_slice(&c->stored), CLUSTER, now_ms(c), &err);
    INVARIANT(c->core != NULL);
    coordinator_start(c->core, now_ms(c));
    c->tick_at_us = host_now_us(c->host) + c->tick_us;
    host_timer(c->host, c->tick_at_us);
}

void coordinators_crash(struct sim_coordinator *c)
{
    world_say(&c->sim->world, "coordinator is killed");
    /* What was being written may have got there. */
    if (c->revision != 0 && !c->written && world_chance(&c->sim->world, 500000)) {
        store_durable(c);
    }
    c->up = false;
    LIST_FOREACH(it, &c->host->ends) {
        struct net_end *e = container_of(it, struct net_end, link);
        if (e->service == SERVICE_LANES) {
            mem_free(e->owner);
            e->owner = NULL;
        }
    }
    coordinator_free(&c->core);
    host_crash(c->host, false);
}

void coordinators_admin(struct sim_coordinator *c, const char *command)
{
    if (!c->up) {
        return;
    }
    world_say(&c->sim->world, "operator: %s", command);
    struct slice argv[8];
    size_t argc = 0;
    for (const char *at = command; *at != '\0' && argc < ARRAY_LEN(argv);) {
        size_t len = strcspn(at, " ");
        argv[argc++] = slice_of(at, len);
        at += len + (at[len] == ' ');
    }
    coordinator_admin(c->core, now_ms(c), ++c->requests, 2, argv, argc);
    host_wake(c->host);
}

void coordinators_set_rf(struct sim_coordinator *c, int rf)
{
    c->settings.replication_factor = rf;
    if (c->up) {
        world_say(&c->sim->world, "operator: replication-factor %d", rf);
        coordinator_set(c->core, now_ms(c), &c->settings);
        host_wake(c->host);
    }
}

void coordinators_ticks(struct sim_coordinator *c, int64_t every_us)
{
    c->tick_us = every_us;
    c->tick_at_us = MIN(c->tick_at_us, host_now_us(c->host) + every_us);
    if (c->up) {
        host_wake(c->host);
    }
}
