// SPDX-License-Identifier: BSD-3-Clause
/* Storms of faults: each at a time, on a place and for as long as the seed says; each ends by
 * itself, and all of them at the storm's end. */
#include "tests/sim/sim.h"

#include <stdio.h>

enum { PEACE_LOW_US = 50, PEACE_HIGH_US = 400 }; /* delays of paths while there is no storm */

static void restart_node(void *arg, uint64_t i)
{
    struct sim *s = arg;
    if (!node_is_up(s->nodes[i])) {
        node_start(s->nodes[i]);
    }
}

static void restart_coordinator(void *arg, uint64_t unused)
{
    (void)unused;
    struct sim *s = arg;
    if (!coordinators_up(s->coordinator)) {
        coordinators_start(s->coordinator);
    }
}

static void restart_proxy(void *arg, uint64_t i)
{
    struct sim *s = arg;
    if (!proxy_is_up(s->proxies[i])) {
        proxy_start(s->proxies[i]);
    }
}

static void resume(void *arg, uint64_t i)
{
    struct sim *s = arg;
    struct host *h = &s->world.hosts[i];
    if (h->up && h->paused) {
        world_say(&s->world, "host %d goes on", h->index);
        host_resume(h);
    }
}

static void heal_path(void *arg, uint64_t pair)
{
    struct sim *s = arg;
    net_cut(s->world.net, (int)(pair / 100), (int)(pair % 100), false);
}

static void fast_path(void *arg, uint64_t pair)
{
    struct sim *s = arg;
    bool storm = s->storm; /* in peace all paths are fast, also what was slow until now */
    net_delay(s->world.net, (int)(pair / 100), (int)(pair % 100),
              storm ? s->set.delay_low_us : PEACE_LOW_US,
              storm ? s->set.delay_high_us : PEACE_HIGH_US);
}

static void fast_disk(void *arg, uint64_t i)
{
    struct sim *s = arg;
    node_slow_disk(s->nodes[i], 500);
}

/* Short times are as likely as long ones. */
static int64_t some_time(struct world *w, int64_t low_us, int64_t high_us)
{
    int64_t t = low_us;
    while (t * 4 < high_us && !world_chance(w, 300000)) {
        t *= 4;
    }
    return world_between(w, t, MIN(t * 4, high_us));
}

void faults_crash(struct sim *s, int i, bool power, int64_t down_us)
{
    struct world *w = &s->world;
    struct sim_node *n = s->nodes[i];
    if (!node_is_up(n)) {
        return;
    }
    bool machine = power && s->set.lose_power && !check_crash_loses(s, n, true);
    if (check_crash_loses(s, n, machine) && !world_chance(w, 20000)) {
        return; /* a set that may lose what it acknowledged tells little more */
    }
    node_crash(n, machine);
    world_after(w, down_us, restart_node, s, (uint64_t)i);
}

static void crash(struct sim *s, int i, bool power)
{
    faults_crash(s, i, power, some_time(&s->world, 50 * US_PER_MS, 60 * US_PER_S));
}

void faults_crash_coordinator(struct sim *s)
{
    struct world *w = &s->world;
    if (coordinators_up(s->coordinator)) {
        coordinators_crash(s->coordinator);
        world_after(w, some_time(w, 50 * US_PER_MS, 20 * US_PER_S), restart_coordinator, s, 0);
    }
}

void faults_pause(struct sim *s, int i)
{
    struct world *w = &s->world;
    struct host *h = &w->hosts[i];
    if (h->up && !h->paused) {
        world_say(w, "host %d is stopped", h->index);
        host_pause(h);
        world_after(w, some_time(w, 5 * US_PER_MS, 30 * US_PER_S), resume, s, (uint64_t)h->index);
    }
}

void faults_cut(struct sim *s, int from, int to, int64_t for_us)
{
    net_cut(s->world.net, from, to, true);
    world_after(&s->world, for_us, heal_path, s, (uint64_t)(from * 100 + to));
}

static void partition(struct sim *s)
{
    struct world *w = &s->world;
    int64_t t = some_time(w, 20 * US_PER_MS, 60 * US_PER_S);
    int a = (int)rng_below(&w->rng, (uint64_t)w->n_hosts);
    int b = (int)rng_below(&w->rng, (uint64_t)w->n_hosts);
    uint64_t kind = rng_below(&w->rng, 5);
    world_say(w, "partition %d of %d and %d for %.3f s", (int)kind, a, b, (double)t / 1e6);
    for (int i = 0; i < w->n_hosts; i++) {
        bool node = i < s->n_nodes;
        if (i == a) {
            continue;
        }
        switch (kind) {
        case 0: /* from everything */
            faults_cut(s, a, i, t);
            faults_cut(s, i, a, t);
            break;
        case 1: /* it hears, but is not heard */
            faults_cut(s, a, i, t);
            break;
        case 2: /* from the nodes only */
            if (node) {
                faults_cut(s, a, i, t);
                faults_cut(s, i, a, t);
            }
            break;
        case 3: /* of the two */
            if (i == b) {
                faults_cut(s, a, b, t);
                faults_cut(s, b, a, t);
            }
            break;
        default: /* one way */
            if (i == b) {
                faults_cut(s, a, b, t);
            }
            break;
        }
    }
}

/* Alive, serving, and soon taken for dead; then perhaps not heard by one who is to follow it. */
static void lose_coordinator(struct sim *s, int i)
{
    struct world *w = &s->world;
    int c = coordinators_host(s->coordinator)->index;
    int64_t dead_us = sim_dead_us(s);
    int64_t t = dead_us + world_between(w, 0, 4 * s->set.lease_us);
    world_say(w, "node %d and the coordinator lose each other for %.3f s", i, (double)t / 1e6);
    faults_cut(s, i, c, t);
    if (world_chance(w, 500000)) {
        faults_cut(s, c, i, t);
    }
}

static void halves(struct sim *s)
{
    struct world *w = &s->world;
    int64_t t = some_time(w, 50 * US_PER_MS, 40 * US_PER_S);
    uint64_t side = rng_next(&w->rng);
    world_say(w, "partition in halves for %.3f s", (double)t / 1e6);
    for (int i = 0; i < w->n_hosts; i++) {
        for (int j = 0; j < w->n_hosts; j++) {
            if (((side >> i) & 1) != ((side >> j) & 1)) {
                faults_cut(s, i, j, t);
            }
        }
    }
}

void faults_slow(struct sim *s, int from, int to, int64_t low_us, int64_t high_us, int64_t for_us)
{
    net_delay(s->world.net, from, to, low_us, high_us);
    world_after(&s->world, for_us, fast_path, s, (uint64_t)(from * 100 + to));
}

static void slow_path(struct sim *s)
{
    struct world *w = &s->world;
    int a = (int)rng_below(&w->rng, (uint64_t)w->n_hosts);
    int b = (int)rng_below(&w->rng, (uint64_t)w->n_hosts);
    int64_t low = some_time(w, 200, 300 * US_PER_MS);
    world_say(w, "slow from %d to %d: %.3f s", a, b, (double)low / 1e6);
    faults_slow(s, a, b, low, low * 10, some_time(w, US_PER_S, 30 * US_PER_S));
}

static void operate(struct sim *s)
{
    struct world *w = &s->world;
    char command[96];
    int i = (int)rng_below(&w->rng, (uint64_t)s->n_nodes);
    switch (rng_below(&w->rng, 6)) {
    case 0:
        snprintf(command, sizeof(command), "CLUSTER SETSLOT %d NODE %s",
                 (int)(w->now_us / US_PER_MS % SLOTS), node_id(s->nodes[i]));
        coordinators_admin(s->coordinator, command);
        break;
    case 1:
        coordinators_admin(s->coordinator, "CLUSTER REBALANCE START");
        break;
    case 2:
        snprintf(command, sizeof(command), "CLUSTER FAILOVER %s", node_id(s->nodes[i]));
        coordinators_admin(s->coordinator, command);
        break;
    case 3:
        snprintf(command, sizeof(command), "CLUSTER DRAIN %s", node_id(s->nodes[i]));
        coordinators_admin(s->coordinator, command);
        break;
    case 4:
        snprintf(command, sizeof(command), "CLUSTER DRAIN %s CANCEL", node_id(s->nodes[i]));
        coordinators_admin(s->coordinator, command);
        break;
    default:
        s->rf_now = (int)world_between(w, MAX(s->set.rf - 1, 1), MIN(s->set.rf + 1, s->set.nodes));
        coordinators_set_rf(s->coordinator, s->rf_now);
        break;
    }
}

static void one_fault(struct sim *s)
{
    struct world *w = &s->world;
    int i = (int)rng_below(&w->rng, (uint64_t)s->n_nodes);
    int j = (int)rng_below(&w->rng, (uint64_t)w->n_hosts);
    int proxy = (int)rng_below(&w->rng, (uint64_t)s->set.proxies);
    s->counts.faults++;
    if (world_chance(w, 400000)) {
        schemes_one(s);
        return;
    }
    switch (rng_below(&w->rng, 24)) {
    case 0:
    case 1:
    case 2:
        crash(s, i, false);
        break;
    case 3:
    case 4:
        crash(s, i, true);
        break;
    case 5:
    case 6:
    case 7:
        faults_pause(s, j);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        partition(s);
        break;
    case 12:
        halves(s);
        break;
    case 13:
        net_break(w->net, i, world_chance(w, 700000) ? j % s->n_nodes : j, world_chance(w, 700000));
        break;
    case 14:
        slow_path(s);
        break;
    case 15:
        node_slow_disk(s->nodes[i], some_time(w, 2000, 3 * US_PER_S));
        world_after(w, some_time(w, US_PER_S, 20 * US_PER_S), fast_disk, s, (uint64_t)i);
        break;
    case 16:
        faults_crash_coordinator(s);
        break;
    case 17:
        if (proxy_is_up(s->proxies[proxy])) {
            proxy_crash(s->proxies[proxy]);
            world_after(w, some_time(w, 50 * US_PER_MS, 5 * US_PER_S), restart_proxy, s,
                        (uint64_t)proxy);
        }
        break;
    case 18:
        operate(s);
        break;
    case 19:
    case 20:
        lose_coordinator(s, i);
        break;
    case 21:
    case 22:
        net_break(w->net, i, j % s->n_nodes, true);
        break;
    default: /* several at once */
        for (int k = 0; k < s->n_nodes; k++) {
            if (world_chance(w, 400000)) {
                crash(s, k, world_chance(w, 300000));
            }
        }
        break;
    }
}

static void next_fault(void *arg, uint64_t storm)
{
    struct sim *s = arg;
    struct world *w = &s->world;
    if (!s->storm || storm != s->storms) {
        return;
    }
    one_fault(s);
    world_after(w, world_between(w, s->fault_us / 8, s->fault_us * 2), next_fault, s, storm);
}

/* All paths whole, and as quick as a good network or as the settings have it. */
static void set_paths(struct sim *s, int64_t low_us, int64_t high_us)
{
    struct world *w = &s->world;
    for (int i = 0; i < w->n_hosts; i++) {
        for (int j = 0; j < w->n_hosts; j++) {
            net_cut(w->net, i, j, false);
            net_delay(w->net, i, j, low_us, high_us);
        }
    }
}

void faults_storm(struct sim *s)
{
    struct world *w = &s->world;
    s->storm = true;
    s->storms++;
    set_paths(s, s->set.delay_low_us, s->set.delay_high_us);
    s->fault_us = some_time(w, 200 * US_PER_MS, 20 * US_PER_S);
    world_after(w, s->fault_us, next_fault, s, s->storms);
    if (s->n_started < s->n_nodes && world_chance(w, 500000)) {
        world_after(w, world_between(w, 0, 10 * US_PER_S), restart_node, s,
                    (uint64_t)s->n_started++);
    }
}

void faults_end(struct sim *s)
{
    struct world *w = &s->world;
    s->storm = false;
    s->aim.moment = AIM_NONE;
    world_say(w, "the faults end");
    set_paths(s, PEACE_LOW_US, PEACE_HIGH_US);
    restart_coordinator(s, 0);
    for (int i = 0; i < w->n_hosts; i++) {
        resume(s, (uint64_t)i);
    }
    for (int i = 0; i < s->n_started; i++) {
        restart_node(s, (uint64_t)i);
        fast_disk(s, (uint64_t)i);
    }
    for (int i = 0; i < s->set.proxies; i++) {
        restart_proxy(s, (uint64_t)i);
    }
}
