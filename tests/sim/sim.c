// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/sim.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

/* What the cores log is told with the rest. */
static void on_log(void *arg, enum log_level level, const char *area, const char *text)
{
    (void)level;
    (void)area;
    world_say(arg, "%s", text);
}

static void settings_from_seed(struct sim *s)
{
    struct world *w = &s->world;
    struct sim_settings *set = &s->set;
    static const int64_t leases_ms[] = {200, 500, 1000, 1000, 2000, 4000};
    static const int64_t heartbeats_ms[] = {200, 500, 1000, 5000};
    uint64_t mode = rng_below(&w->rng, 20);
    set->sync = mode != 0;
    set->strong = mode > 1;
    set->nodes = (int)world_between(w, 3, 5) + (world_chance(w, 200000) ? 2 : 0);
    set->spares = world_chance(w, 300000) ? 1 : 0;
    set->proxies = (int)world_between(w, 1, SIM_PROXIES);
    set->clients = (int)world_between(w, 2, 10);
    set->shards = (int)world_between(w, 1, 6);
    set->rf = world_chance(w, 50000) ? 1 : (int)world_between(w, 2, 3);
    set->min_in_sync = world_chance(w, 200000) ? (int)world_between(w, 1, set->rf) : 1;
    set->fsync = (enum sim_fsync)rng_below(&w->rng, 3);
    set->lease_us = leases_ms[rng_below(&w->rng, ARRAY_LEN(leases_ms))] * 1000;
    set->heartbeat_ms = heartbeats_ms[rng_below(&w->rng, ARRAY_LEN(heartbeats_ms))];
    set->dead_missed = (int)world_between(w, 3, 6);
    set->drift_ppm = world_chance(w, 300000) ? 30000 : 200;
    set->backlog = world_chance(w, 500000) ? 1024 * 1024 : (size_t)world_between(w, 4096, 65536);
    set->rebalance_on_join = world_chance(w, 700000);
    set->storms = (int)world_between(w, 2, 4);
    /* Beacons are what a quiet hour costs: there are the fewer of them the longer the lease. */
    set->quiet_us = world_between(w, 1, 4 * 3600) * MIN(set->lease_us, 1500 * US_PER_MS);
    set->storm_us = world_between(w, 20, 90) * US_PER_S;
    set->lose_power = world_chance(w, 600000);
    set->delay_low_us = 50;
    set->delay_high_us = 400;
    if (world_chance(w, 600000)) {
        set->delay_low_us = world_between(w, 200, 10000);
        set->delay_high_us = world_chance(w, 500000)
                                 ? set->delay_low_us * 20
                                 : world_between(w, set->lease_us / 2, set->lease_us * 3 / 2);
    }
    set->slow_links = world_chance(w, 500000);
}

static void describe(const struct sim *s)
{
    const struct sim_settings *set = &s->set;
    static const char *const fsyncs[] = {"always", "everysec", "none"};
    world_say(&s->world,
              "%d nodes, %d shards, factor %d, min-in-sync %d, %s, %s, fsync %s, lease %lld ms, "
              "heartbeat %lld ms, drift %d ppm, %d clients",
              set->nodes, set->shards, set->rf, set->min_in_sync, set->sync ? "sync" : "async",
              set->strong ? "strong" : "eventual", fsyncs[set->fsync],
              (long long)set->lease_us / 1000, (long long)set->heartbeat_ms, set->drift_ppm,
              set->clients);
}

static void make_parts(struct sim *s)
{
    s->log = check_log_new();
    s->n_nodes = s->set.nodes + s->set.spares;
    s->n_started = s->set.nodes;
    s->rf_now = s->set.rf;
    for (int i = 0; i < s->n_nodes; i++) {
        s->nodes[i] = node_new(s, i);
    }
    s->coordinator = coordinators_new(s);
    for (int i = 0; i < s->set.proxies; i++) {
        s->proxies[i] = proxy_new(s, i);
    }
}

void sim_fini(struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        node_free(&s->nodes[i]);
    }
    for (int i = 0; i < s->set.proxies; i++) {
        if (s->proxies[i] != NULL) {
            proxy_free(&s->proxies[i]);
        }
    }
    coordinators_free(&s->coordinator);
    check_log_free(&s->log);
    for (int i = 0; i < SIM_SHARDS; i++) {
        for (int k = 0; k < SIM_KEYS; k++) {
            mem_free(s->keys[i][k].records);
        }
    }
    world_fini(&s->world);
}

/* How long everything may take to be well again. */
static int64_t patience_us(const struct sim *s)
{
    return s->set.heartbeat_ms * 1000 * s->set.dead_missed * 3 + 30 * s->set.lease_us +
           180 * US_PER_S;
}

static void heal(struct sim *s)
{
    struct world *w = &s->world;
    int64_t until = w->now_us + patience_us(s);
    for (int i = 0; i < s->n_nodes; i++) {
        char command[96];
        snprintf(command, sizeof(command), "CLUSTER DRAIN %s CANCEL", node_id(s->nodes[i]));
        coordinators_admin(s->coordinator, command);
    }
    const char *why = "";
    while (why != NULL && !w->failed && w->now_us < until) {
        world_run(w, w->now_us + US_PER_S);
        why = w->failed ? NULL : check_unhealed(s);
    }
    if (why != NULL) {
        world_fail(w, "the cluster has not healed: %s", why);
    }
}

static int operations_open(const struct sim *s)
{
    int n = 0;
    for (int i = 0; i < s->set.proxies; i++) {
        for (int c = 0; c < s->set.clients; c++) {
            n += proxy_client(s->proxies[i], c)->n_ops;
        }
    }
    return n;
}

static const struct sim_op *first_open(const struct sim *s)
{
    for (int i = 0; i < s->set.proxies; i++) {
        for (int c = 0; c < s->set.clients; c++) {
            const struct sim_client *client = proxy_client(s->proxies[i], c);
            if (client->n_ops != 0) {
                return container_of(client->ops.next, struct sim_op, queue);
            }
        }
    }
    return NULL;
}

/* Clients end what they have begun, then each key is read once more. */
static void last_reads(struct sim *s)
{
    struct world *w = &s->world;
    s->final = true;
    world_run(w, w->now_us + US_PER_S);
    for (int i = 0; i < 200 && operations_open(s) != 0 && !w->failed; i++) {
        world_run(w, w->now_us + US_PER_S);
    }
    int open = operations_open(s);
    if (open != 0) {
        const struct sim_op *op = first_open(s);
        world_fail(w, "%d commands were never answered, the first one of shard %d, %s, state %d",
                   open, op->shard, linear_kind_name(op->kind), (int)op->state);
    }
    uint64_t before = s->counts.reads;
    for (int shard = 0; shard < s->set.shards && !w->failed; shard++) {
        for (int key = 0; key < SIM_KEYS; key++) {
            client_ask(proxy_client(s->proxies[0], 0), shard, key);
        }
    }
    for (int i = 0; i < 60 && operations_open(s) != 0 && !w->failed; i++) {
        world_run(w, w->now_us + US_PER_S);
    }
    if (!w->failed && s->counts.reads - before != (uint64_t)(s->set.shards * SIM_KEYS)) {
        world_fail(w, "a healed cluster did not answer %d of the last reads",
                   s->set.shards * SIM_KEYS - (int)(s->counts.reads - before));
    }
}

/* Seldom, but often enough for heartbeats to be held against those who send none. */
static void quiet_ticks(struct sim *s)
{
    coordinators_ticks(s->coordinator, MIN(s->set.heartbeat_ms * 250, US_PER_S));
}

static void storm(struct sim *s)
{
    struct world *w = &s->world;
    s->think_us = world_between(w, 5, 200) * US_PER_MS;
    int64_t slowest_ms = MIN(200, s->set.heartbeat_ms / 3);
    coordinators_ticks(s->coordinator, world_between(w, 20, slowest_ms) * US_PER_MS);
    faults_storm(s);
    world_run(w, w->now_us + s->set.storm_us);
    faults_end(s);
    heal(s);
    s->think_us = 60 * US_PER_S;
    quiet_ticks(s);
}

bool sim_run(struct sim *s, uint64_t seed, bool verbose)
{
    *s = (struct sim){.quiet_us_max = s->quiet_us_max};
    struct world *w = &s->world;
    world_init(w, seed);
    log_set_sink(on_log, w);
    log_set_level(verbose ? LOG_DEBUG : LOG_NOTHING);
    w->verbose = verbose;
    settings_from_seed(s);
    if (s->quiet_us_max > 0) {
        s->set.quiet_us = MIN(s->set.quiet_us, s->quiet_us_max);
    }
    describe(s);
    s->think_us = 30 * US_PER_S;
    make_parts(s);
    coordinators_start(s->coordinator);
    for (int i = 0; i < s->n_started; i++) {
        node_start(s->nodes[i]);
    }
    for (int i = 0; i < s->set.proxies; i++) {
        proxy_start(s->proxies[i]);
    }
    heal(s);
    for (int i = 0; i < s->set.storms && !w->failed; i++) {
        world_run(w, w->now_us + s->set.quiet_us);
        if (!w->failed) {
            storm(s);
        }
    }
    if (!w->failed) {
        last_reads(s);
    }
    if (!w->failed) {
        check_histories(s);
    }
    return !w->failed;
}
