// SPDX-License-Identifier: BSD-3-Clause
/* Carries plans out, shard by shard (move.h). The plan is made anew only when what it depends on
 * changes (nodes, settings, what the operator wants, who is primary by failover), not by its own
 * progress: so a move under way keeps its target. */
#include "proxy/coordinator/coordinator_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdio.h>

#define ORDER_AGAIN_MS 1000
#define HANDING_MAX    16    /* hand-overs at a time: milliseconds each */
#define STALLED_MS     30000 /* a copy that comes no nearer holds no place */
#define HAND_LONG_MS   5000  /* nor does a hand-over that takes so long */

struct plan *rebalance_plan(const struct coordinator *c, bool even)
{
    struct map *m = coordinator_latest(c);
    uint64_t *keys = mem_zalloc(sizeof(*keys) * (size_t)m->n_shards);
    bool *expected = mem_zalloc(sizeof(*expected) * (size_t)MAX(m->n_nodes, 1));
    for (int i = 0; i < m->n_shards; i++) {
        keys[i] = c->news[i].known ? c->news[i].keys : 0;
    }
    for (int i = 0; i < m->n_nodes; i++) {
        const struct peer *p = registry_find(&c->registry, m->nodes[i].id);
        expected[i] =
            m->nodes[i].state == NODE_DEAD && !m->nodes[i].draining && p != NULL && !p->replaced;
    }
    struct plan_input in = {.map = m,
                            .replication_factor = c->settings.replication_factor,
                            .rebalance = even,
                            .keys = keys,
                            .expected = expected};
    struct plan *p = plan_new(&in);
    mem_free(keys);
    mem_free(expected);
    return p;
}

void rebalance_begin(struct coordinator *c)
{
    if (!c->rebalancing) {
        c->rebalancing = true;
        c->done = 0;
        c->copied = 0;
        (void)coordinator_edit(c); /* durable, too */
    }
    c->replan = true;
}

/* ---- wishes: primaries that the operator wants elsewhere ---- */

/* The node that is wished for and could be it, or NODE_NONE; a wish that came true, or can't, ends.
 */
static int wished(struct coordinator *c, int shard)
{
    struct move *move = &c->moves[shard];
    const struct map *m = coordinator_latest(c);
    const struct map_shard *s = &m->shards[shard];
    if (move->wish[0] == '\0') {
        return NODE_NONE;
    }
    int node = map_node_by_id(m, move->wish);
    int at = node == NODE_NONE ? -1 : map_shard_member(s, node);
    bool able = at >= 0 && s->members[at].in_sync;
    able |= move->wish_copy && node != NODE_NONE && plan_takes(&m->nodes[node]);
    if (s->primary == NODE_NONE || s->primary == node || !able) {
        move->wish[0] = '\0';
        if (s->primary == node && node != NODE_NONE && !plan_takes(&m->nodes[node])) {
            c->replan = c->plan_dirty = true; /* it is to be empty: not its home for good */
        }
        return NODE_NONE;
    }
    return node;
}

void rebalance_wish(struct coordinator *c, int shard, int node)
{
    memcpy(c->moves[shard].wish, coordinator_latest(c)->nodes[node].id, NODE_ID_LEN + 1);
    c->moves[shard].wish_copy = false;
    c->plan_dirty = true;
    (void)coordinator_edit(c); /* durable, too */
}

void rebalance_wish_copy(struct coordinator *c, int shard, int node)
{
    rebalance_wish(c, shard, node);
    c->moves[shard].wish_copy = true;
}

int *rebalance_wishes(const struct coordinator *c)
{
    const struct map *m = c->recording;
    int *wishes = NULL;
    for (int i = 0; i < m->n_shards; i++) {
        int node = c->moves[i].wish_copy ? NODE_NONE : map_node_by_id(m, c->moves[i].wish);
        if (node == NODE_NONE || m->shards[i].primary == node) {
            continue;
        }
        if (wishes == NULL) {
            wishes = mem_alloc(sizeof(*wishes) * (size_t)m->n_shards);
            for (int j = 0; j < m->n_shards; j++) {
                wishes[j] = NODE_NONE;
            }
        }
        wishes[i] = node;
    }
    return wishes;
}

void rebalance_wishes_put(struct coordinator *c, const int *wishes)
{
    const struct map *m = c->published;
    for (int i = 0; wishes != NULL && i < m->n_shards; i++) {
        if (wishes[i] != NODE_NONE) {
            memcpy(c->moves[i].wish, m->nodes[wishes[i]].id, NODE_ID_LEN + 1);
        }
    }
}

/* ---- what the shard lacks ---- */

struct stepping {
    struct coordinator *c;
    int64_t now_ms;
    int copying; /* shards */
    int handing;
    int open;
};

static bool reachable(const struct coordinator *c, int node)
{
    const struct map_node *n = &coordinator_latest(c)->nodes[node];
    const struct peer *p = registry_find(&c->registry, n->id);
    return failover_there(c, node) && p->welcomed && n->state != NODE_UNHEALTHY;
}

static bool alive(const struct coordinator *c, int node)
{
    enum node_state state = coordinator_latest(c)->nodes[node].state;
    return state != NODE_DEAD && state != NODE_LEFT;
}

/* Planned copies of the shard; those of them that are in sync on living nodes. */
static int count_wanted(const struct coordinator *c, int shard, int *in_sync)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    *in_sync = 0;
    for (int j = 0; j < s->n_members; j++) {
        const struct map_member *k = &s->members[j];
        *in_sync += k->in_sync && alive(c, k->node) && plan_wants(c->plan, shard, k->node);
    }
    return 1 + c->plan->shards[shard].n_replicas;
}

static bool enough(const struct coordinator *c, int shard)
{
    int in_sync;
    int wanted = count_wanted(c, shard, &in_sync);
    return in_sync >= MIN(wanted, c->settings.replication_factor);
}

bool rebalance_may_lose(const struct coordinator *c, int shard, int node)
{
    return c->plan != NULL && !c->replan && c->plan->shards[shard].home != NODE_NONE &&
           !plan_wants(c->plan, shard, node) && enough(c, shard);
}

static void look_at_wanted(const struct coordinator *c, int shard, int node, struct move_view *v)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    int at = map_shard_member(s, node);
    if (!alive(c, node)) {
        return;
    }
    if (at < 0) {
        bool room = s->n_members < MEMBERS_MAX;
        v->to_add |= room;
        v->add_there |= room && reachable(c, node);
    } else if (!s->members[at].in_sync) {
        v->to_copy = true;
    }
}

/* Asked for so long ago that there must be something in its way. */
static bool hand_stalled(const struct stepping *x, int shard)
{
    const struct move *move = &x->c->moves[shard];
    return move->state == MOVE_HANDING && x->now_ms - move->since_ms >= HAND_LONG_MS;
}

/* A member in sync that nobody planned goes: when there are enough without it; or, where a planned
 * one finds no place, while there are more than enough with it. */
static bool must_go(const struct coordinator *c, int shard, const struct map_member *k)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    return k->in_sync && k->node != s->primary && !plan_wants(c->plan, shard, k->node) &&
           (enough(c, shard) ||
            (s->n_members == MEMBERS_MAX && map_shard_in_sync(s) > c->settings.replication_factor));
}

static struct move_view look(const struct stepping *x, int shard)
{
    const struct coordinator *c = x->c;
    const struct plan_shard *to = &c->plan->shards[shard];
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    struct move_view v = {.paused = c->paused,
                          .asked = c->moves[shard].wish[0] != '\0',
                          .source_there = reachable(c, s->primary),
                          .copy_place = x->copying < c->settings.rebalance_concurrency,
                          .hand_place = x->handing < HANDING_MAX};
    look_at_wanted(c, shard, to->home, &v);
    for (int j = 0; j < to->n_replicas; j++) {
        look_at_wanted(c, shard, to->replicas[j], &v);
    }
    int at = map_shard_member(s, to->home);
    v.to_hand = to->home != s->primary && at >= 0 && s->members[at].in_sync && alive(c, to->home);
    v.hand_there = v.to_hand && reachable(c, to->home);
    v.hand_stalled = hand_stalled(x, shard);
    v.repair = !enough(c, shard) && map_shard_in_sync(s) < c->settings.replication_factor;
    for (int j = 0; j < s->n_members; j++) {
        v.to_drop |= must_go(c, shard, &s->members[j]);
    }
    return v;
}

/* ---- steps ---- */

/* A shard that nobody ever had, or that was given up: there is nothing to copy. */
static void place(struct coordinator *c, int shard)
{
    const struct plan_shard *to = &c->plan->shards[shard];
    struct map_shard *s = &coordinator_edit(c)->shards[shard];
    while (s->n_members > 0) {
        map_build_drop_member(s, s->members[0].node);
    }
    bool there = map_build_add_member(s, to->home);
    map_build_set_primary(s, to->home);
    for (int j = 0; j < to->n_replicas; j++) {
        there &= map_build_add_member(s, to->replicas[j]);
    }
    INVARIANT(there);
    c->news[shard].known = true;
    c->news[shard].keys = 0;
    c->news[shard].bytes = 0;
}

/* Members that are not in sync and not planned go at once; those on dead nodes when there are as
 * many copies as there should be without them, or their places are needed. */
static void drop_useless(struct coordinator *c, int shard)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    int in_sync;
    (void)count_wanted(c, shard, &in_sync);
    bool rich = in_sync >= c->settings.replication_factor;
    for (int j = s->n_members - 1; j >= 0; j--) {
        const struct map_member *k = &s->members[j];
        bool may = alive(c, k->node) || rich || s->n_members == MEMBERS_MAX;
        if (!k->in_sync && may && !plan_wants(c->plan, shard, k->node)) {
            map_build_drop_member(&coordinator_edit(c)->shards[shard], k->node);
            s = &coordinator_latest(c)->shards[shard];
        }
    }
}

static void add_wanted(struct coordinator *c, int shard, int node)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    if (map_shard_member(s, node) < 0 && s->n_members < MEMBERS_MAX && reachable(c, node)) {
        bool there = map_build_add_member(&coordinator_edit(c)->shards[shard], node);
        INVARIANT(there);
    }
}

static void add_members(struct coordinator *c, int shard)
{
    const struct plan_shard *to = &c->plan->shards[shard];
    add_wanted(c, shard, to->home);
    for (int j = 0; j < to->n_replicas; j++) {
        add_wanted(c, shard, to->replicas[j]);
    }
}

static void set_state(struct stepping *x, int shard, enum move_state to, enum move_reason reason)
{
    struct move *move = &x->c->moves[shard];
    if (move->state != to) {
        x->c->done += to == MOVE_IDLE && x->c->rebalancing;
        move->state = to;
        move->since_ms = x->now_ms;
        move->progress_ms = x->now_ms;
        move->ordered_ms = 0;
    }
    move->reason = reason;
}

/* Counts against rebalance-concurrency: a copy that gets nowhere does not, others may. */
static bool holds_place(const struct stepping *x, int shard)
{
    const struct move *move = &x->c->moves[shard];
    return move->state == MOVE_COPYING && x->now_ms - move->progress_ms < STALLED_MS;
}

static bool holds_hand(const struct stepping *x, int shard)
{
    return x->c->moves[shard].state == MOVE_HANDING && !hand_stalled(x, shard);
}

static void step_shard(struct stepping *x, int shard, bool repairs)
{
    struct coordinator *c = x->c;
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    if (c->plan->shards[shard].home == NODE_NONE) {
        return;
    }
    if (map_shard_home(s) == NODE_NONE) {
        if (alive(c, c->plan->shards[shard].home)) {
            place(c, shard);
        }
        return;
    }
    if (!map_shard_has_primary(s)) { /* what any of the others has may be all that there is */
        set_state(x, shard, MOVE_IDLE, MOVE_NO_REASON);
        return;
    }
    drop_useless(c, shard);
    x->copying -= holds_place(x, shard); /* while we look, its place is its own */
    x->handing -= holds_hand(x, shard);
    struct move_view v = look(x, shard);
    if (v.repair == repairs) {
        enum move_reason reason;
        enum move_state to = move_next(&v, &reason);
        if (to == MOVE_COPYING && v.to_add) {
            add_members(c, shard);
        }
        set_state(x, shard, to, reason);
    }
    x->copying += holds_place(x, shard);
    x->handing += holds_hand(x, shard);
}

/* ---- orders ---- */

/* What the primary is to do, if the map that says why is durable. */
static void order(struct coordinator *c, int64_t now_ms, int shard)
{
    struct move *move = &c->moves[shard];
    const struct map *m = coordinator_latest(c);
    const struct map_shard *s = &m->shards[shard];
    if ((move->state != MOVE_HANDING && move->state != MOVE_DROPPING) ||
        c->published->shards[shard].term != s->term ||
        (move->ordered_term == s->term && move->ordered_ms > 0 &&
         now_ms - move->ordered_ms < ORDER_AGAIN_MS)) {
        return;
    }
    struct peer *p = registry_find(&c->registry, m->nodes[s->primary].id);
    if (p == NULL || p->link == 0 || !p->welcomed) {
        return;
    }
    move->ordered_ms = now_ms;
    move->ordered_term = s->term;
    if (move->state == MOVE_HANDING) {
        wire_changes_add(&p->orders, WIRE_HANDOVER, shard, s->primary_term,
                         m->nodes[c->plan->shards[shard].home].id);
        return;
    }
    for (int j = 0; j < s->n_members; j++) {
        if (must_go(c, shard, &s->members[j])) {
            wire_changes_add(&p->orders, WIRE_DROP, shard, s->primary_term,
                             m->nodes[s->members[j].node].id);
            if (!enough(c, shard)) {
                return; /* one, for its place */
            }
        }
    }
}

static void send_orders(struct coordinator *c, int64_t now_ms)
{
    for (int i = 0; i < c->plan->n_shards; i++) {
        order(c, now_ms, i);
    }
    for (int i = 0; i < c->registry.count; i++) {
        struct peer *p = c->registry.peers[i];
        if (p->orders.count > 0) {
            struct wire_message m = {.kind = WIRE_ORDER, .order = {.changes = p->orders}};
            c->env.send(c->env.arg, p->link, &m);
            mem_free(p->orders.items);
            p->orders = (struct wire_changes){0};
        }
    }
}

/* ---- all shards ---- */

static void apply_wishes(struct coordinator *c)
{
    for (int i = 0; i < c->plan->n_shards; i++) {
        int node = wished(c, i);
        if (node != NODE_NONE && c->plan->shards[i].home != node) {
            plan_crown(c->plan, i, node);
        }
    }
}

static void finish(struct coordinator *c)
{
    c->rebalancing = false;
    (void)coordinator_edit(c); /* durable, too */
    if (c->done > 0) {
        log_event(LOG_NOTICE, AREA, "rebalance is done shards=%llu bytes=%llu",
                  (unsigned long long)c->done, (unsigned long long)c->copied);
    }
}

void rebalance_step(struct coordinator *c, int64_t now_ms)
{
    if (!coordinator_latest(c)->assigned) {
        return;
    }
    if (c->plan == NULL || c->replan) {
        plan_free(&c->plan);
        c->plan = rebalance_plan(c, c->rebalancing);
        c->replan = false;
    }
    apply_wishes(c);
    struct stepping x = {.c = c, .now_ms = now_ms};
    for (int i = 0; i < c->plan->n_shards; i++) {
        x.copying += holds_place(&x, i);
        x.handing += holds_hand(&x, i);
    }
    for (int repairs = 1; repairs >= 0; repairs--) {
        for (int i = 0; i < c->plan->n_shards; i++) {
            step_shard(&x, i, repairs != 0);
        }
    }
    for (int i = 0; i < c->plan->n_shards; i++) {
        x.open += c->moves[i].state != MOVE_IDLE;
    }
    send_orders(c, now_ms);
    if (c->rebalancing && x.open == 0) {
        finish(c);
    }
}

void rebalance_tick(struct coordinator *c, int64_t now_ms)
{
    for (int i = 0; i < c->registry.count; i++) {
        struct peer *p = c->registry.peers[i];
        int node = map_node_by_id(coordinator_latest(c), p->id);
        if (node != NODE_NONE && coordinator_latest(c)->nodes[node].state == NODE_DEAD &&
            !p->replaced && now_ms - p->dead_ms >= c->settings.replace_delay_ms) {
            p->replaced = true;
            c->replan = true;
        }
    }
    for (int i = 0; i < coordinator_latest(c)->n_shards && !c->plan_dirty; i++) {
        const struct move *move = &c->moves[i];
        c->plan_dirty = (move->ordered_ms > 0 && now_ms - move->ordered_ms >= ORDER_AGAIN_MS) ||
                        (move->state == MOVE_COPYING && now_ms - move->progress_ms >= STALLED_MS &&
                         now_ms - move->progress_ms < STALLED_MS + ORDER_AGAIN_MS);
    }
    c->plan_dirty |= c->replan;
}

void rebalance_first(struct coordinator *c, int64_t now_ms)
{
    const struct map *m = coordinator_latest(c);
    int there = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        const struct peer *p = registry_find(&c->registry, m->nodes[i].id);
        there += plan_takes(&m->nodes[i]) && p != NULL && p->link != 0;
    }
    int least = c->settings.nodes_min > 0 ? c->settings.nodes_min : c->settings.replication_factor;
    char why[sizeof(m->why)];
    if (!assign_due(&c->assign, now_ms, there, least, c->settings.assignment_delay_ms, why,
                    sizeof(why))) {
        if (strcmp(m->why, why) != 0) {
            memcpy(coordinator_edit(c)->why, why, sizeof(why));
            log_event(LOG_NOTICE, AREA, "cluster is down: %s", why);
        }
        return;
    }
    struct map *next = coordinator_edit(c);
    next->assigned = true;
    next->why[0] = '\0';
    rebalance_begin(c);
    c->plan_dirty = true;
    log_event(LOG_NOTICE, AREA, "first assignment nodes=%d shards=%d", there, next->n_shards);
}

void rebalance_cancel(struct coordinator *c)
{
    c->rebalancing = false;
    (void)coordinator_edit(c);
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        c->moves[i].wish[0] = '\0';
    }
    c->replan = true;
    c->plan_dirty = true;
}

/* ---- figures ---- */

/* Bytes that the shard's copies still need, and those that copies under way have. */
static void count_bytes(const struct coordinator *c, int shard, struct rebalance_figures *f)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    const struct plan_shard *to = &c->plan->shards[shard];
    for (int j = -1; j < to->n_replicas; j++) {
        int node = j < 0 ? to->home : to->replicas[j];
        int at = map_shard_member(s, node);
        if (!alive(c, node) || (at >= 0 && s->members[at].in_sync)) {
            continue;
        }
        const struct wire_copy *k = at < 0 ? NULL : report_copy(c, shard, node);
        bool under_way = k != NULL && k->done + k->left > 0;
        f->bytes_left += under_way ? k->left : c->news[shard].bytes;
        f->bytes_done += under_way ? k->done : 0;
    }
}

struct rebalance_figures rebalance_figures(const struct coordinator *c)
{
    struct rebalance_figures f = {.done = c->done, .bytes_done = c->copied};
    for (int i = 0; c->plan != NULL && i < c->plan->n_shards; i++) {
        f.states[c->moves[i].state]++;
        if (c->moves[i].state == MOVE_IDLE) {
            continue;
        }
        f.left++;
        count_bytes(c, i, &f);
    }
    f.bytes_per_second = (uint64_t)c->rate;
    f.seconds_left =
        f.bytes_left == 0 ? 0 : (c->rate >= 1 ? (int64_t)((double)f.bytes_left / c->rate) : -1);
    return f;
}

/* The rate, smoothed over some ten seconds. */
void rebalance_measure(struct coordinator *c, int64_t now_ms)
{
    int64_t passed_ms = now_ms - c->measured_ms;
    if (passed_ms < RATE_MS) {
        return;
    }
    struct rebalance_figures f = rebalance_figures(c);
    uint64_t more = f.bytes_done > c->measured_bytes ? f.bytes_done - c->measured_bytes : 0;
    double now = (double)more * 1000.0 / (double)passed_ms;
    c->rate = f.left == 0 ? 0 : (c->rate == 0 ? now : c->rate * 0.8 + now * 0.2);
    c->measured_bytes = f.bytes_done;
    c->measured_ms = now_ms;
}
