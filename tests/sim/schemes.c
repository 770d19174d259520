// SPDX-License-Identifier: BSD-3-Clause
/* Faults that aim: rows of them that bring about what chance alone seldom does, on a place and with
 * times that the seed says. Each goes for one window of docs/REPLICATION.md. */
#include "tests/sim/sim.h"

#include <stdio.h>

struct place {
    int shard;
    int primary;
    int others[SIM_NODES]; /* in sync, running */
    int n_others;
};

/* A shard whose primary runs, with so many others in sync. */
static bool find_place(struct sim *s, int others_min, struct place *p)
{
    struct world *w = &s->world;
    const struct map *m = coordinators_map(s->coordinator);
    if (m == NULL || !m->assigned) {
        return false;
    }
    int from = (int)rng_below(&w->rng, (uint64_t)m->n_shards);
    for (int i = 0; i < m->n_shards; i++) {
        int shard = (from + i) % m->n_shards;
        const struct map_shard *ms = &m->shards[shard];
        if (ms->primary == NODE_NONE) {
            continue;
        }
        *p = (struct place){.shard = shard, .primary = (int)m->nodes[ms->primary].port - 7000};
        for (int j = 0; j < ms->n_members; j++) {
            int node = (int)m->nodes[ms->members[j].node].port - 7000;
            if (ms->members[j].in_sync && node != p->primary && node_is_up(s->nodes[node])) {
                p->others[p->n_others++] = node;
            }
        }
        if (node_is_up(s->nodes[p->primary]) && p->n_others >= others_min) {
            return true;
        }
    }
    return false;
}

static int some_other(struct sim *s, const struct place *p)
{
    return p->others[rng_below(&s->world.rng, (uint64_t)p->n_others)];
}

static int some_proxy(struct sim *s)
{
    uint64_t i = rng_below(&s->world.rng, (uint64_t)s->set.proxies);
    return proxy_host(s->proxies[i])->index;
}

/* A primary, one of its replicas and a proxy on one side, all others on the other one, until long
 * after the primary was taken for dead there: who promises whom that it may read? */
static void apart(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 2, &p)) {
        return;
    }
    int with[3] = {p.primary, some_other(s, &p), some_proxy(s)};
    int64_t dead_us = sim_dead_us(s);
    int64_t t = dead_us + 3 * s->set.lease_us + world_between(w, 0, 12 * s->set.lease_us);
    world_say(w, "%d, %d and %d are apart from all others for %.3f s", with[0], with[1], with[2],
              (double)t / 1e6);
    for (int i = 0; i < w->n_hosts; i++) {
        bool in = i == with[0] || i == with[1] || i == with[2];
        for (int k = 0; k < 3 && !in; k++) {
            faults_cut(s, i, with[k], t);
            faults_cut(s, with[k], i, t);
        }
    }
}

/* --- what overtakes a request --- */

static void strike(void *arg, uint64_t i)
{
    struct sim *s = arg;
    if (s->storm) {
        faults_crash(s, (int)i, s->aim.power, s->aim.down_us);
    }
}

void schemes_reported(struct sim *s, int node, enum repl_report what, int shard, int about)
{
    struct sim_aim *a = &s->aim;
    if (a->moment != AIM_REPORT || a->node != node || a->shard != shard || a->what != what ||
        (a->victim >= 0 && a->victim != about)) {
        return;
    }
    a->moment = AIM_NONE;
    world_say(&s->world, "node %d is to be hit before that arrives", about);
    world_after(&s->world, world_between(&s->world, 0, a->slow_us / 2), strike, s, (uint64_t)about);
}

/* What the primary asks the coordinator for is long on its way; meanwhile the node that it is about
 * starts anew, and has registered before it comes. */
static void take_aim(struct sim *s, const struct place *p, enum repl_report what, int victim)
{
    struct world *w = &s->world;
    int c = coordinators_host(s->coordinator)->index;
    int64_t slow = world_between(w, s->set.lease_us / 4, 3 * s->set.lease_us);
    s->aim = (struct sim_aim){.moment = AIM_REPORT,
                              .node = p->primary,
                              .shard = p->shard,
                              .what = what,
                              .victim = victim,
                              .slow_us = slow,
                              .power = world_chance(w, 700000),
                              .down_us = world_between(w, 5, 60) * US_PER_MS};
    faults_slow(s, p->primary, c, slow, slow, slow * 4 + 6 * s->set.lease_us);
}

static void overtake_add(struct sim *s)
{
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    int victim = some_other(s, &p);
    world_say(&s->world, "what %d says of %d will come late", p.primary, victim);
    take_aim(s, &p, REPL_ADD, victim);
    faults_crash(s, victim, false, world_between(&s->world, 5, 60) * US_PER_MS);
}

static void ask_handover(struct sim *s, int node)
{
    char command[96];
    snprintf(command, sizeof(command), "CLUSTER FAILOVER %s", node_id(s->nodes[node]));
    coordinators_admin(s->coordinator, command);
}

static void overtake_handover(struct sim *s)
{
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    world_say(&s->world, "that %d hands over will come late", p.primary);
    take_aim(s, &p, REPL_HANDED, -1);
    ask_handover(s, p.primary);
}

/* --- promises --- */

/* Those whom the coordinator does not hear are soon taken for dead, though they serve. */
static void lose_coordinator(struct sim *s, int node, int64_t longer_us)
{
    int c = coordinators_host(s->coordinator)->index;
    int64_t t = sim_dead_us(s) + longer_us;
    faults_cut(s, node, c, t);
    faults_cut(s, c, node, t);
}

/* The new primary starts anew while its promise to the former one, which it has forgotten, stands;
 * the former one does not hear of it. */
static void forget_promise(struct sim *s)
{
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    world_say(&s->world, "who follows %d will start anew", p.primary);
    lose_coordinator(s, p.primary, 4 * s->set.lease_us);
    s->aim = (struct sim_aim){.moment = AIM_ELECTION,
                              .node = p.primary,
                              .shard = p.shard,
                              .down_us = world_between(&s->world, 500, 5000)};
}

/* A primary is back before anybody has missed it; who follows it learns so late that yet another
 * one has been elected meanwhile: does what was said to it in between still count? */
static void late_election(struct sim *s)
{
    struct place p;
    if (!find_place(s, 2, &p)) {
        return;
    }
    world_say(&s->world, "who follows %d will hear of it late", p.primary);
    s->aim = (struct sim_aim){.moment = AIM_UNHEARD, .node = p.primary, .shard = p.shard};
    faults_crash(s, p.primary, false, world_between(&s->world, 2, 80) * US_PER_MS);
}

static void elect_unheard(struct sim *s, int to)
{
    struct world *w = &s->world;
    int c = coordinators_host(s->coordinator)->index;
    int64_t dead = sim_dead_us(s);
    int64_t slow = dead + world_between(w, 0, 6 * s->set.lease_us);
    world_say(w, "%d will hear of its election in %.3f s", to, (double)slow / 1e6);
    faults_slow(s, c, to, slow, slow, slow);
    faults_cut(s, to, c, dead + s->set.lease_us);
}

void schemes_elected(struct sim *s, int shard, int from, int to)
{
    struct sim_aim *a = &s->aim;
    bool unheard = a->moment == AIM_UNHEARD;
    if (!s->storm || (!unheard && a->moment != AIM_ELECTION) || a->shard != shard ||
        a->node != from || !node_is_up(s->nodes[to])) {
        return;
    }
    a->moment = AIM_NONE;
    if (unheard) {
        elect_unheard(s, to);
        return;
    }
    faults_cut(s, from, to, 2 * s->set.lease_us);
    faults_cut(s, to, from, 2 * s->set.lease_us);
    world_after(&s->world, world_between(&s->world, 0, 2000), strike, s, (uint64_t)to);
}

/* Promises come late to a primary that is taken for dead. */
static void late_promises(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    int64_t slow = world_between(w, s->set.lease_us / 4, 2 * s->set.lease_us);
    world_say(w, "promises to %d take %.3f s", p.primary, (double)slow / 1e6);
    lose_coordinator(s, p.primary, 4 * s->set.lease_us);
    for (int i = 0; i < p.n_others; i++) {
        faults_slow(s, p.others[i], p.primary, slow, slow, sim_dead_us(s) + 4 * s->set.lease_us);
    }
}

/* A primary sees that a replica is gone; that one does not, nor does a proxy hear of it. */
static void half_open(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    int other = some_other(s, &p);
    int proxy = some_proxy(s);
    int c = coordinators_host(s->coordinator)->index;
    int64_t t = 3 * s->set.lease_us;
    world_say(w, "%d no longer sees %d, nor %d the coordinator", p.primary, other, proxy);
    faults_cut(s, p.primary, other, t);
    faults_cut(s, other, p.primary, t);
    faults_cut(s, c, proxy, t);
    net_break(w->net, p.primary, other, true);
}

/* --- what was not on disk --- */

/* A primary loses power and is back before anybody has missed it; those who have what it lost may
 * be out of reach for a while. */
static void blink(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    faults_crash(s, p.primary, true, world_between(w, 2, 80) * US_PER_MS);
    int64_t t = sim_dead_us(s) + 6 * s->set.lease_us;
    for (int k = 0; k < p.n_others && world_chance(w, 900000); k++) {
        world_say(w, "%d is out of reach", p.others[k]);
        for (int i = 0; i < w->n_hosts; i++) {
            if (i != p.others[k]) {
                faults_cut(s, i, p.others[k], t);
                faults_cut(s, p.others[k], i, t);
            }
        }
    }
}

/* All of a shard lose power at about the same time: what `always` promises. */
static void blackout(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (s->set.fsync != FSYNC_ALWAYS || !find_place(s, 1, &p)) {
        return;
    }
    world_say(w, "all that have shard %d lose power", p.shard);
    faults_crash(s, p.primary, true, world_between(w, 20, 800) * US_PER_MS);
    for (int i = 0; i < p.n_others; i++) {
        faults_crash(s, p.others[i], true, world_between(w, 20, 800) * US_PER_MS);
    }
}

/* --- copies --- */

/* A primary that only proxies reach writes on, unheard; nobody writes to who follows it. So it
 * comes back with more than that one has, and drops it for a copy; in that moment the source starts
 * anew, and who has most is to be primary. */
static void lose_source(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (s->set.fsync == FSYNC_ALWAYS || !find_place(s, 1, &p)) {
        return;
    }
    int64_t t = sim_dead_us(s) + world_between(w, 2 * s->set.lease_us, 6 * s->set.lease_us);
    int64_t longer = t + world_between(w, 0, 4 * s->set.lease_us);
    int c = coordinators_host(s->coordinator)->index;
    world_say(w, "only proxies reach %d, and nobody else, for %.3f s", p.primary, (double)t / 1e6);
    faults_cut(s, p.primary, c, t);
    faults_cut(s, c, p.primary, t);
    for (int i = 0; i < s->n_nodes; i++) {
        if (i == p.primary) {
            continue;
        }
        faults_cut(s, p.primary, i, t);
        faults_cut(s, i, p.primary, t);
        for (int k = 0; k < s->set.proxies; k++) {
            faults_cut(s, proxy_host(s->proxies[k])->index, i, longer);
        }
    }
    s->aim = (struct sim_aim){
        .moment = AIM_COPY, .shard = p.shard, .down_us = world_between(w, 5, 60) * US_PER_MS};
}

static void source_goes(struct sim *s, int shard)
{
    const struct map *m = coordinators_map(s->coordinator);
    const struct map_shard *ms = &m->shards[shard];
    if (ms->primary != NODE_NONE) {
        s->aim.moment = AIM_NONE;
        world_say(&s->world, "a copy of shard %d has begun: its source will go", shard);
        world_after(&s->world, world_between(&s->world, 0, 5000), strike, s,
                    (uint64_t)m->nodes[ms->primary].port - 7000);
    }
}

/* --- what becomes of a lane's bytes --- */

static void break_lanes(void *arg, uint64_t pair)
{
    struct sim *s = arg;
    net_break(s->world.net, (int)(pair / 100), (int)(pair % 100), true);
}

static void hand_back(void *arg, uint64_t node)
{
    struct sim *s = arg;
    const struct map *m = coordinators_map(s->coordinator);
    for (int i = 0; s->storm && i < m->n_nodes; i++) { /* whoever has the shard now */
        if (m->shards[s->back_shard].primary == i && (uint64_t)m->nodes[i].port - 7000 != node) {
            ask_handover(s, (int)m->nodes[i].port - 7000);
        }
    }
}

/* The network holds back what a proxy sends to a node; the proxy gives the lane up, and its next
 * words arrive at once. Meanwhile the shard may go to another node, and come back. */
static void hold_back(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    int proxy = some_proxy(s);
    int64_t held = world_between(w, 300, 12000) * US_PER_MS;
    int64_t window = world_between(w, 5, 200) * US_PER_MS;
    bool away = world_chance(w, 700000);
    world_say(w, "what %d sends to %d is held back for %.3f s", proxy, p.primary,
              (double)held / 1e6);
    faults_slow(s, proxy, p.primary, held, held, window);
    world_after(w, window + 1, break_lanes, s, (uint64_t)(proxy * 100 + p.primary));
    if (away) {
        ask_handover(s, p.primary);
        s->back_shard = p.shard;
        for (int i = 1; i <= 3; i++) {
            world_after(w, window + held * i / 5, hand_back, s, (uint64_t)p.primary);
        }
    }
}

/* Replies do not come, the lane breaks, and the question for its fate is long on its way. */
static void late_question(struct sim *s)
{
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 0, &p)) {
        return;
    }
    int proxy = some_proxy(s);
    int64_t dead = world_between(w, 20, 400) * US_PER_MS;
    int64_t slow = world_between(w, 200, 2500) * US_PER_MS;
    world_say(w, "no replies of %d to %d, whose questions take %.3f s", p.primary, proxy,
              (double)slow / 1e6);
    faults_cut(s, p.primary, proxy, dead);
    world_after(w, dead - 1000, break_lanes, s, (uint64_t)(proxy * 100 + p.primary));
    faults_slow(s, proxy, p.primary, slow, slow, dead + 3 * slow);
}

/* --- any moment --- */

/* Something befalls somebody who has to do with it, just when a node has come into some state. */
static void befall(void *arg, uint64_t node)
{
    struct sim *s = arg;
    struct world *w = &s->world;
    const struct map *m = coordinators_map(s->coordinator);
    const struct map_shard *ms = &m->shards[s->aim.shard];
    if (!s->storm || ms->n_members == 0) {
        return;
    }
    int c = coordinators_host(s->coordinator)->index;
    int a = (int)node;
    int of = ms->primary != NODE_NONE && world_chance(w, 600000)
                 ? ms->primary
                 : ms->members[rng_below(&w->rng, (uint64_t)ms->n_members)].node;
    int b = (int)m->nodes[of].port - 7000;
    int64_t t = world_between(w, s->set.lease_us / 8, 5 * s->set.lease_us);
    int proxy = some_proxy(s);
    switch (rng_below(&w->rng, 12)) {
    case 0:
        faults_crash(s, a, world_chance(w, 500000), world_between(w, 2, 500) * US_PER_MS);
        break;
    case 1:
    case 2:
        faults_crash(s, b, world_chance(w, 300000), world_between(w, 2, 500) * US_PER_MS);
        break;
    case 3:
        faults_crash_coordinator(s);
        break;
    case 4:
        faults_cut(s, a, b, t);
        faults_cut(s, b, a, t);
        break;
    case 5:
        faults_cut(s, world_chance(w, 500000) ? a : b, c, t);
        break;
    case 6:
        faults_slow(s, c, world_chance(w, 500000) ? a : b, t, t, t);
        break;
    case 7:
        ask_handover(s, b);
        break;
    case 8:
        net_break(w->net, proxy, b, world_chance(w, 500000));
        break;
    case 9:
        faults_slow(s, proxy, b, t, t, world_between(w, 5, 200) * US_PER_MS);
        world_after(w, t / 2, break_lanes, s, (uint64_t)(proxy * 100 + b));
        break;
    case 10:
        faults_cut(s, b, proxy, t);
        break;
    default:
        faults_pause(s, world_chance(w, 500000) ? a : b);
        break;
    }
}

void schemes_state(struct sim *s, int node, int shard, enum repl_state now)
{
    struct sim_aim *aim = &s->aim;
    if (!s->storm || aim->shard != shard) {
        return;
    }
    if (aim->moment == AIM_COPY && now == REPL_COPY) {
        source_goes(s, shard);
    } else if (aim->moment == AIM_STATE && now == aim->state) {
        aim->moment = --aim->times > 0 ? AIM_STATE : AIM_NONE;
        world_say(&s->world, "something befalls node %d or one that it deals with", node);
        world_after(&s->world, world_between(&s->world, 0, 3000), befall, s, (uint64_t)node);
    }
}

static void moment(struct sim *s)
{
    static const enum repl_state states[] = {REPL_COPY,   REPL_MEMBER_JOIN, REPL_DEFER,
                                             REPL_FOLLOW, REPL_RECOVER,     REPL_SERVE,
                                             REPL_FENCED, REPL_RESIGNED};
    struct world *w = &s->world;
    struct place p;
    if (!find_place(s, 1, &p)) {
        return;
    }
    s->aim = (struct sim_aim){.moment = AIM_STATE,
                              .shard = p.shard,
                              .state = states[rng_below(&w->rng, ARRAY_LEN(states))],
                              .times = (int)world_between(w, 1, 4)};
    world_say(w, "shard %d: whenever somebody is in state %s", p.shard,
              repl_state_name(s->aim.state));
    if (world_chance(w, 400000)) {
        ask_handover(s, p.primary);
    } else {
        faults_crash(s, world_chance(w, 500000) ? p.primary : some_other(s, &p),
                     world_chance(w, 300000), world_between(w, 2, 3000) * US_PER_MS);
    }
}

void schemes_one(struct sim *s)
{
    static void (*const all[])(struct sim *) = {
        apart,         apart,       apart,         overtake_add,  overtake_handover,
        hold_back,     hold_back,   late_question, late_question, forget_promise,
        late_promises, half_open,   blink,         blackout,      late_election,
        lose_source,   lose_source, moment,        moment,        moment};
    all[rng_below(&s->world.rng, ARRAY_LEN(all))](s);
}
