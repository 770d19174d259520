// SPDX-License-Identifier: BSD-3-Clause
/* Carries plans out: what costs nothing at once (first primaries, replicas that hold nothing yet),
 * the hand-over of empty shards behind a fence, a few at a time; what has keys waits and says so.
 */
#include "proxy/coordinator/coordinator_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdio.h>

#define FENCE_MS_MIN 1000 /* how long a fence waits for its confirmation, at least */

static int64_t fence_limit_ms(const struct coordinator *c)
{
    return MAX(c->settings.heartbeat_interval_ms, FENCE_MS_MIN);
}

struct plan *rebalance_plan(const struct coordinator *c, bool even)
{
    struct map *m = coordinator_latest(c);
    uint64_t *keys = mem_zalloc(sizeof(*keys) * (size_t)m->n_shards);
    for (int i = 0; i < m->n_shards; i++) {
        keys[i] = c->news[i].known ? c->news[i].keys : 0;
    }
    struct plan_input in = {.map = m,
                            .replication_factor = c->settings.replication_factor,
                            .rebalance = even,
                            .keys = keys};
    struct plan *p = plan_new(&in);
    mem_free(keys);
    return p;
}

/* ---- what takes effect at once ---- */

/* A shard that nobody ever had: there is nothing to lose. */
static void place(struct coordinator *c, int shard, int node)
{
    struct map_shard *s = &coordinator_edit(c)->shards[shard];
    bool there = map_build_add_member(s, node);
    INVARIANT(there);
    map_build_set_primary(s, node);
    c->news[shard] = (struct shard_news){.known = true};
}

static bool planned_there(const struct map_shard *s, const struct plan_shard *to, int node)
{
    if (node == map_shard_home(s) || node == s->moving_to || node == to->home) {
        return true;
    }
    for (int j = 0; j < to->n_replicas; j++) {
        if (to->replicas[j] == node) {
            return true;
        }
    }
    return false;
}

static void add_replica(struct coordinator *c, int shard, int node)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    if (map_shard_member(s, node) < 0 && s->n_members < MEMBERS_MAX) {
        bool there = map_build_add_member(&coordinator_edit(c)->shards[shard], node);
        INVARIANT(there);
    }
}

/* Members as planned. Who has the data stays until the shard has moved; the one that is to take it
 * is a member already. */
static void place_replicas(struct coordinator *c, int shard, const struct plan_shard *to)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    for (int j = s->n_members - 1; j >= 0; j--) {
        s = &coordinator_latest(c)->shards[shard];
        if (!s->members[j].in_sync && !planned_there(s, to, s->members[j].node)) {
            map_build_drop_member(&coordinator_edit(c)->shards[shard], s->members[j].node);
        }
    }
    for (int j = 0; j < to->n_replicas; j++) {
        add_replica(c, shard, to->replicas[j]);
    }
    const struct map *m = coordinator_latest(c);
    if (m->shards[shard].primary != NODE_NONE && plan_takes(&m->nodes[to->home])) {
        add_replica(c, shard, to->home);
    }
}

/* ---- moves ---- */

static bool reachable(const struct coordinator *c, int node)
{
    const struct map_node *n = &coordinator_latest(c)->nodes[node];
    const struct peer *p = registry_find(&c->registry, n->id);
    return p != NULL && p->link != 0 && p->welcomed && !p->refused &&
           (n->state == NODE_HEALTHY || n->state == NODE_DRAINING);
}

static enum move_reason why_waits(const struct coordinator *c, int64_t now_ms, int shard, int from,
                                  int to)
{
    if (c->paused) {
        return MOVE_PAUSED;
    }
    if (c->news[shard].known && c->news[shard].keys > 0) {
        return MOVE_NOT_EMPTY;
    }
    if (!reachable(c, from)) {
        return MOVE_SOURCE_AWAY;
    }
    if (!reachable(c, to)) {
        return MOVE_TARGET_AWAY;
    }
    return now_ms < c->moves[shard].not_before_ms ? MOVE_BACKING_OFF : MOVE_NO_REASON;
}

static void lift_fence(struct coordinator *c, int shard)
{
    if (coordinator_latest(c)->shards[shard].moving_to != NODE_NONE) {
        coordinator_edit(c)->shards[shard].moving_to = NODE_NONE;
    }
    if (c->moves[shard].state == MOVE_FENCING) {
        move_set(&c->moves[shard], MOVE_IDLE, MOVE_NO_REASON);
    }
}

void rebalance_unfence(struct coordinator *c, int shard)
{
    lift_fence(c, shard);
    c->plan_dirty = true;
}

/* Brings a shard's move to the state that the plan wants of it; true: it is planned or fencing. */
static bool follow_plan(struct coordinator *c, int64_t now_ms, int shard, int to)
{
    struct move *move = &c->moves[shard];
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    bool wanted = s->primary != NODE_NONE && to != NODE_NONE && to != s->primary &&
                  plan_takes(&coordinator_latest(c)->nodes[to]);
    if (move->state == MOVE_FENCING) {
        if (wanted && s->moving_to == to) {
            return true;
        }
        lift_fence(c, shard);
    }
    if (!wanted) {
        move_set(move, MOVE_IDLE, MOVE_NO_REASON);
        move->not_before_ms = 0;
        return false;
    }
    enum move_reason reason = why_waits(c, now_ms, shard, s->primary, to);
    move_set(move, reason == MOVE_NO_REASON ? MOVE_PLANNED : MOVE_WAITING, reason);
    return reason == MOVE_NO_REASON;
}

static void start_fence(struct coordinator *c, int64_t now_ms, int shard, int to)
{
    struct map *m = coordinator_edit(c);
    struct move *move = &c->moves[shard];
    INVARIANT(map_shard_member(&m->shards[shard], to) >= 0);
    m->shards[shard].moving_to = to;
    move_set(move, MOVE_FENCING, MOVE_NO_REASON);
    move->fence_epoch = m->epoch;
    move->since_ms = now_ms;
    LOG_DEBUG_EVENT(AREA, "shard is fenced shard=%d from=%s to=%s epoch=%llu", shard,
                    m->nodes[m->shards[shard].primary].id, m->nodes[to].id,
                    (unsigned long long)m->epoch);
}

static void start_moves(struct coordinator *c, int64_t now_ms, const struct plan *p)
{
    int fencing = 0;
    for (int i = 0; i < p->n_shards; i++) {
        fencing += c->moves[i].state == MOVE_FENCING;
    }
    for (int i = 0; i < p->n_shards && fencing < c->settings.rebalance_concurrency; i++) {
        if (c->moves[i].state == MOVE_PLANNED &&
            map_shard_member(&coordinator_latest(c)->shards[i], p->shards[i].home) >= 0) {
            start_fence(c, now_ms, i, p->shards[i].home);
            fencing++;
        }
    }
}

void rebalance_step(struct coordinator *c, int64_t now_ms)
{
    if (!coordinator_latest(c)->assigned) {
        return;
    }
    struct plan *p = rebalance_plan(c, c->rebalancing);
    int open = 0;
    for (int i = 0; i < p->n_shards; i++) {
        const struct plan_shard *to = &p->shards[i];
        if (to->home == NODE_NONE) {
            continue;
        }
        const struct map *m = coordinator_latest(c);
        if (map_shard_home(&m->shards[i]) == NODE_NONE && plan_takes(&m->nodes[to->home])) {
            place(c, i, to->home);
        }
        place_replicas(c, i, to);
        (void)follow_plan(c, now_ms, i, to->home);
        open += c->moves[i].state != MOVE_IDLE;
    }
    start_moves(c, now_ms, p);
    if (c->rebalancing && open == 0 && p->moves == 0) {
        c->rebalancing = false;
        (void)coordinator_edit(c); /* durable, too */
        if (c->handed > c->handed_told) {
            log_event(LOG_NOTICE, AREA, "rebalance is done handed=%llu",
                      (unsigned long long)(c->handed - c->handed_told));
        }
        c->handed_told = c->handed;
    }
    plan_free(&p);
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
    c->rebalancing = true;
    c->plan_dirty = true;
    log_event(LOG_NOTICE, AREA, "first assignment nodes=%d shards=%d", there, next->n_shards);
}

/* ---- the end of a hand-over ---- */

static void hand_over(struct coordinator *c, int shard)
{
    struct map *m = coordinator_edit(c);
    struct map_shard *s = &m->shards[shard];
    int from = s->primary;
    int to = s->moving_to;
    map_build_set_primary(s, to);
    struct map_member *old = &s->members[map_shard_member(s, from)];
    old->state = REPLICA_SYNCING;
    old->in_sync = false;
    c->news[shard] = (struct shard_news){.known = true};
    c->handed++;
    move_set(&c->moves[shard], MOVE_IDLE, MOVE_NO_REASON);
    log_event(LOG_VERBOSE, AREA, "shard handed over shard=%d from=%s to=%s term=%llu epoch=%llu",
              shard, m->nodes[from].id, m->nodes[to].id, (unsigned long long)s->term,
              (unsigned long long)m->epoch);
}

void rebalance_confirmed(struct coordinator *c, int64_t now_ms, struct peer *p, uint64_t epoch,
                         const struct wire_shards *fenced)
{
    (void)now_ms;
    for (size_t i = 0; i < fenced->count; i++) {
        const struct wire_shard *f = &fenced->items[i];
        const struct map *m = coordinator_latest(c);
        int node = map_node_by_id(m, p->id);
        if (f->shard >= m->n_shards || m->shards[f->shard].primary != node || node == NODE_NONE ||
            c->moves[f->shard].state != MOVE_FENCING || c->moves[f->shard].fence_epoch > epoch) {
            continue; /* of a fence that is no more */
        }
        INVARIANT(m->shards[f->shard].moving_to != NODE_NONE);
        if (f->keys == 0) {
            hand_over(c, f->shard);
        } else {
            c->news[f->shard].keys = f->keys;
            c->news[f->shard].known = true;
            rebalance_unfence(c, f->shard);
        }
        c->plan_dirty = true;
    }
}

void rebalance_expire(struct coordinator *c, int64_t now_ms)
{
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        struct move *move = &c->moves[i];
        if (move->state == MOVE_FENCING && now_ms - move->since_ms >= fence_limit_ms(c)) {
            log_event(LOG_WARNING, AREA, "hand-over not confirmed, fence lifted shard=%d", i);
            move->not_before_ms = now_ms + fence_limit_ms(c);
            rebalance_unfence(c, i);
        } else if (move->state == MOVE_WAITING && move->reason == MOVE_BACKING_OFF &&
                   now_ms >= move->not_before_ms) {
            c->plan_dirty = true;
        }
    }
}

void rebalance_cancel(struct coordinator *c)
{
    c->rebalancing = false;
    (void)coordinator_edit(c);
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        rebalance_unfence(c, i);
    }
    c->plan_dirty = true;
}
