// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/plan.h"

#include "proxy/coordinator/plan_priv.h"
#include "proxy/coordinator/share.h"

#include "common/base/mem.h"

bool plan_takes(const struct map_node *n)
{
    return n->state != NODE_DEAD && n->state != NODE_LEFT && !n->draining && n->weight > 0;
}

/* May the node keep what it has: alive, and not to be emptied. */
static bool keeps(const struct planner *p, int node)
{
    const struct map_node *n = &p->map->nodes[node];
    if (n->state == NODE_DEAD || n->state == NODE_LEFT || n->draining) {
        return false;
    }
    return n->weight > 0 || !p->in->rebalance;
}

static bool gone(const struct map_node *n)
{
    return n->state == NODE_DEAD || n->state == NODE_LEFT;
}

/* Where each shard is before planning: home, and whether it may go elsewhere. */
static void find_homes(struct planner *p)
{
    for (int i = 0; i < p->map->n_shards; i++) {
        const struct map_shard *s = &p->map->shards[i];
        int home = map_shard_home(s);
        p->was[i] = home;
        p->plan->shards[i].home = home;
        p->pinned[i] = home != NODE_NONE && (s->primary == NODE_NONE || gone(&p->map->nodes[home]));
        p->n_pinned += p->pinned[i];
        if (home != NODE_NONE && !p->pinned[i] && keeps(p, home)) {
            p->has[home]++;
        } else if (!p->pinned[i]) {
            p->plan->shards[i].home = NODE_NONE; /* to be placed */
        }
    }
}

/* How many primaries each node should have. */
static void share_primaries(struct planner *p)
{
    struct taker *t = mem_zalloc(sizeof(*t) * (size_t)p->n);
    int total = p->map->n_shards - p->n_pinned;
    for (int i = 0; i < p->n; i++) {
        bool takes = plan_takes(&p->map->nodes[i]);
        t[i].weight = takes ? p->map->nodes[i].weight : 0;
        t[i].has = p->has[i];
        t[i].lower = p->in->rebalance ? 0 : p->has[i];
        t[i].upper = takes ? total : t[i].lower;
    }
    share_out(t, p->n, total);
    for (int i = 0; i < p->n; i++) {
        p->due[i] = t[i].share;
    }
    mem_free(t);
}

static bool is_empty(const struct planner *p, int shard)
{
    return p->in->keys == NULL || p->in->keys[shard] == 0;
}

/* A replica's node that lacks primaries: moving the role there copies nothing. NODE_NONE if none.
 */
static int lacking_member(const struct planner *p, int shard)
{
    const struct map_shard *s = &p->map->shards[shard];
    int best = NODE_NONE;
    for (int j = 0; j < s->n_members; j++) {
        int node = s->members[j].node;
        if (node == p->was[shard] || p->has[node] >= p->due[node]) {
            continue;
        }
        if (s->members[j].state == REPLICA_ACTIVE) {
            return node;
        }
        if (best == NODE_NONE) {
            best = node;
        }
    }
    return best;
}

static void take_from(struct planner *p, int shard)
{
    p->has[p->plan->shards[shard].home]--;
    p->plan->shards[shard].home = NODE_NONE;
}

static bool is_active(const struct planner *p, int shard, int node)
{
    const struct map_shard *s = &p->map->shards[shard];
    int at = map_shard_member(s, node);
    return at >= 0 && s->members[at].state == REPLICA_ACTIVE;
}

/* Takes what a node has above its share: where a replica in sync can take over first (nothing is
 * copied), then empty shards before others, of those the ones whose replica can take over, and from
 * the end, so that the ranges of slots stay whole. */
static void release_surplus(struct planner *p)
{
    for (int pass = 0; pass < 5; pass++) {
        bool empty = pass == 1 || pass == 2;
        bool swap = pass == 0 || pass == 1 || pass == 3;
        for (int i = p->map->n_shards - 1; i >= 0; i--) {
            int home = p->plan->shards[i].home;
            if (p->pinned[i] || home == NODE_NONE || p->has[home] <= p->due[home] ||
                (pass > 0 && is_empty(p, i) != empty)) {
                continue;
            }
            int member = lacking_member(p, i);
            if (pass == 0 && member != NODE_NONE && !is_active(p, i, member)) {
                continue;
            }
            if (swap && member != NODE_NONE) {
                take_from(p, i);
                p->plan->shards[i].home = member;
                p->has[member]++;
            } else if (!swap) {
                take_from(p, i);
            }
        }
    }
}

/* Places the shards without a home: roles that can pass to a replica first; the others fill one
 * node after the other, so that each gets neighbouring slots. */
static void place_primaries(struct planner *p)
{
    for (int i = 0; i < p->map->n_shards; i++) {
        struct plan_shard *s = &p->plan->shards[i];
        int member = s->home == NODE_NONE ? lacking_member(p, i) : NODE_NONE;
        if (member != NODE_NONE) {
            s->home = member;
            p->has[member]++;
        }
    }
    int to = 0;
    for (int i = 0; i < p->map->n_shards; i++) {
        struct plan_shard *s = &p->plan->shards[i];
        if (s->home != NODE_NONE) {
            continue;
        }
        while (to < p->n && p->has[to] >= p->due[to]) {
            to++;
        }
        if (to == p->n) {
            return; /* nobody takes shards */
        }
        s->home = to;
        p->has[to]++;
    }
}

/* A shard that nobody can take stays where it is, even on a draining node. */
static void keep_unplaced(struct planner *p)
{
    for (int i = 0; i < p->map->n_shards; i++) {
        if (p->plan->shards[i].home == NODE_NONE) {
            p->plan->shards[i].home = p->was[i];
        }
    }
}

static void sum_up(struct planner *p)
{
    struct plan *plan = p->plan;
    for (int i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *s = &plan->shards[i];
        const struct map_shard *now = &p->map->shards[i];
        if (s->home == NODE_NONE) {
            continue;
        }
        if (!p->pinned[i]) {
            plan->primaries[s->home]++;
            plan->copies[s->home]++;
        }
        int home = map_shard_home(now);
        plan->placements += home == NODE_NONE;
        plan->moves += home != NODE_NONE && home != s->home;
        plan->new_copies += map_shard_member(now, s->home) < 0;
        for (int j = 0; j < s->n_replicas; j++) {
            plan->copies[s->replicas[j]]++;
            plan->new_copies += map_shard_member(now, s->replicas[j]) < 0;
        }
    }
}

static void planner_init(struct planner *p, const struct plan_input *in)
{
    const struct map *m = in->map;
    *p = (struct planner){.in = in, .map = m, .n = m->n_nodes};
    size_t nodes = (size_t)MAX(p->n, 1);
    size_t shards = (size_t)m->n_shards;
    p->plan = mem_zalloc(sizeof(*p->plan));
    p->plan->n_shards = m->n_shards;
    p->plan->n_nodes = p->n;
    p->plan->shards = mem_zalloc(sizeof(*p->plan->shards) * shards);
    p->plan->primaries = mem_zalloc(sizeof(int) * nodes);
    p->plan->copies = mem_zalloc(sizeof(int) * nodes);
    p->was = mem_zalloc(sizeof(*p->was) * shards);
    p->pinned = mem_zalloc(sizeof(*p->pinned) * shards);
    p->has = mem_zalloc(sizeof(*p->has) * nodes);
    p->due = mem_zalloc(sizeof(*p->due) * nodes);
}

static void planner_fini(struct planner *p)
{
    mem_free(p->was);
    mem_free(p->pinned);
    mem_free(p->has);
    mem_free(p->due);
}

struct plan *plan_new(const struct plan_input *in)
{
    struct planner p;
    planner_init(&p, in);
    find_homes(&p);
    share_primaries(&p);
    release_surplus(&p);
    place_primaries(&p);
    keep_unplaced(&p);
    plan_replicas(&p);
    sum_up(&p);
    planner_fini(&p);
    return p.plan;
}

bool plan_wants(const struct plan *p, int shard, int node)
{
    const struct plan_shard *s = &p->shards[shard];
    if (s->home == node) {
        return true;
    }
    for (int j = 0; j < s->n_replicas; j++) {
        if (s->replicas[j] == node) {
            return true;
        }
    }
    return false;
}

void plan_crown(struct plan *p, int shard, int node)
{
    struct plan_shard *s = &p->shards[shard];
    int was = s->home;
    for (int j = 0; j < s->n_replicas; j++) {
        if (s->replicas[j] == node) {
            s->replicas[j] = was;
        }
    }
    s->home = node;
}

void plan_free(struct plan **pp)
{
    struct plan *p = *pp;
    if (p == NULL) {
        return;
    }
    *pp = NULL;
    mem_free(p->shards);
    mem_free(p->primaries);
    mem_free(p->copies);
    mem_free(p);
}
