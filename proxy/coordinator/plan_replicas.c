// SPDX-License-Identifier: BSD-3-Clause
/* Where the replicas go: what is there is kept as far as the shares allow it, holes are filled so
 * that each primary's replicas spread over all other nodes, and where only an occupied place would
 * do, the shortest chain of shifts makes room. */
#include "proxy/coordinator/plan_priv.h"
#include "proxy/coordinator/share.h"

#include "common/base/mem.h"

#define KEEP_MORE_MAX 100000 /* shards times nodes */

struct spread {
    struct planner *p;
    int n_zones;
    int *zone;      /* by node: index of its zone; all 0 where zones don't matter */
    int zone_limit; /* most copies of a shard in one zone */
    int *room;      /* by node: replicas that it should still get */
    int *pair;      /* [home * n + node]: replicas there of that home's shards */
    int *need;      /* by shard: replicas still missing */
    uint8_t *kept;  /* by shard: bit j set: replica j was there before */
};

static bool takes(const struct spread *x, int node)
{
    return plan_takes(&x->p->map->nodes[node]);
}

/* Numbers the zones; less than two of them tell nothing apart. */
static void find_zones(struct spread *x)
{
    const struct map *m = x->p->map;
    int n = x->p->n;
    for (int i = 0; i < n; i++) {
        x->zone[i] = -1;
        if (!takes(x, i)) {
            continue;
        }
        for (int j = 0; j < i && x->zone[i] < 0; j++) {
            if (x->zone[j] >= 0 && strcmp(m->nodes[i].zone, m->nodes[j].zone) == 0) {
                x->zone[i] = x->zone[j];
            }
        }
        if (x->zone[i] < 0) {
            x->zone[i] = x->n_zones++;
        }
    }
    if (x->n_zones < 2) {
        x->n_zones = 1;
    }
    for (int i = 0; i < n; i++) {
        if (x->zone[i] < 0) { /* takes nothing, but what it keeps is in its zone, if that is one */
            for (int j = 0; j < n && x->zone[i] < 0; j++) {
                if (takes(x, j) && strcmp(m->nodes[i].zone, m->nodes[j].zone) == 0) {
                    x->zone[i] = x->zone[j];
                }
            }
        }
    }
}

/* The fewest copies a zone must be able to hold of one shard, so that `copies` fit. */
static int find_zone_limit(const struct spread *x, int copies)
{
    int n = x->p->n;
    for (int limit = 1; limit < copies; limit++) {
        int fit = 0;
        for (int z = 0; z < x->n_zones; z++) {
            int nodes = 0;
            for (int i = 0; i < n; i++) {
                nodes += takes(x, i) && x->zone[i] == z;
            }
            fit += MIN(nodes, limit);
        }
        if (fit >= copies) {
            return limit;
        }
    }
    return copies;
}

static int count_takers(const struct spread *x)
{
    int n = 0;
    for (int i = 0; i < x->p->n; i++) {
        n += takes(x, i);
    }
    return n;
}

/* Copies that are on the nodes now, for the shares' rounding. */
static void count_copies(const struct spread *x, int *has)
{
    const struct map *m = x->p->map;
    for (int i = 0; i < m->n_shards; i++) {
        for (int j = 0; j < m->shards[i].n_members; j++) {
            has[m->shards[i].members[j].node]++;
        }
    }
}

/* Shares `total` copies over the zones, then each zone's over its nodes; what is not a primary is
 * room for replicas. */
static void share_copies(struct spread *x, int total)
{
    const struct map *m = x->p->map;
    int n = x->p->n;
    int shards = m->n_shards;
    struct taker *zones = mem_zalloc(sizeof(*zones) * (size_t)x->n_zones);
    struct taker *nodes = mem_zalloc(sizeof(*nodes) * (size_t)n);
    int *has = mem_zalloc(sizeof(*has) * (size_t)n);
    count_copies(x, has);
    for (int z = 0; z < x->n_zones; z++) {
        int count = 0;
        for (int i = 0; i < n; i++) {
            if (takes(x, i) && x->zone[i] == z) {
                zones[z].weight += m->nodes[i].weight;
                zones[z].lower += x->p->has[i];
                zones[z].has += has[i];
                count++;
            }
        }
        zones[z].upper = MAX(shards * MIN(count, x->zone_limit), zones[z].lower);
    }
    share_out(zones, x->n_zones, total);
    for (int z = 0; z < x->n_zones; z++) {
        int count = 0;
        int *at = mem_alloc(sizeof(*at) * (size_t)n);
        for (int i = 0; i < n; i++) {
            if (takes(x, i) && x->zone[i] == z) {
                nodes[count] = (struct taker){.weight = m->nodes[i].weight,
                                              .lower = x->p->has[i],
                                              .upper = MAX(shards, x->p->has[i]),
                                              .has = has[i]};
                at[count++] = i;
            }
        }
        share_out(nodes, count, zones[z].share);
        for (int i = 0; i < count; i++) {
            x->room[at[i]] = nodes[i].share - x->p->has[at[i]];
        }
        mem_free(at);
    }
    mem_free(has);
    mem_free(nodes);
    mem_free(zones);
}

/* May `node` have a replica of the shard, were its replica on `without` not there? */
static bool fits(const struct spread *x, int shard, int node, int without, bool zones_matter)
{
    const struct plan_shard *s = &x->p->plan->shards[shard];
    if (!takes(x, node) || s->home == node) {
        return false;
    }
    int in_zone = s->home != NODE_NONE && !x->p->pinned[shard] && x->zone[s->home] == x->zone[node];
    for (int j = 0; j < s->n_replicas; j++) {
        if (s->replicas[j] == node) {
            return false;
        }
        in_zone += s->replicas[j] != without && x->zone[s->replicas[j]] == x->zone[node];
    }
    return !zones_matter || in_zone < x->zone_limit;
}

static void put(struct spread *x, int shard, int node, bool kept)
{
    struct plan_shard *s = &x->p->plan->shards[shard];
    if (kept) {
        x->kept[shard] = (uint8_t)(x->kept[shard] | 1u << s->n_replicas);
    }
    s->replicas[s->n_replicas++] = node;
    x->room[node]--;
    x->need[shard]--;
    x->pair[s->home * x->p->n + node]++;
}

/* Members of the shard that could stay as replicas; how many. */
static int keepable(const struct spread *x, int shard, int to[MEMBERS_MAX])
{
    const struct map_shard *s = &x->p->map->shards[shard];
    int n = 0;
    for (int pass = 0; pass < 2; pass++) { /* those in sync first */
        for (int j = 0; j < s->n_members; j++) {
            bool active = s->members[j].state == REPLICA_ACTIVE;
            if (active == (pass == 0) && fits(x, shard, s->members[j].node, NODE_NONE, false)) {
                to[n++] = s->members[j].node;
            }
        }
    }
    return n;
}

/* Keeps one more member of the shard, the one on the node with most room. */
static bool keep_one(struct spread *x, int shard, const int *may, int n)
{
    int best = NODE_NONE;
    for (int j = 0; j < n; j++) {
        if (x->room[may[j]] > 0 && fits(x, shard, may[j], NODE_NONE, true) &&
            (best == NODE_NONE || x->room[may[j]] > x->room[best])) {
            best = may[j];
        }
    }
    if (best == NODE_NONE) {
        return false;
    }
    put(x, shard, best, true);
    return true;
}

/* Keeps members as replicas where there is room. Shards with a choice come first: those are the
 * ones whose primary moves to a new node, and what that node still lacks cannot come from them. The
 * others keep one in each round, so that what must go is spread over them: a new node can take
 * only one of each. */
static void keep_replicas(struct spread *x)
{
    int shards = x->p->map->n_shards;
    for (int round = 0; round < MEMBERS_MAX; round++) {
        for (int i = 0; i < shards; i++) {
            int may[MEMBERS_MAX];
            int n = x->need[i] > 0 ? keepable(x, i, may) : 0;
            bool choice = n > x->need[i];
            if (choice == (round == 0)) {
                while (x->need[i] > 0 && keep_one(x, i, may, n)) {
                    if (!choice) {
                        break;
                    }
                }
            }
        }
    }
}

/* The best node with room: the one with the fewest replicas of that home, then with most room. */
static int roomy(const struct spread *x, int shard)
{
    int best = NODE_NONE;
    const int *pair = &x->pair[x->p->plan->shards[shard].home * x->p->n];
    for (int i = 0; i < x->p->n; i++) {
        if (x->room[i] <= 0 || !fits(x, shard, i, NODE_NONE, true)) {
            continue;
        }
        if (best == NODE_NONE || pair[i] < pair[best] ||
            (pair[i] == pair[best] && x->room[i] > x->room[best])) {
            best = i;
        }
    }
    return best;
}

/* A step of a chain: the replica of `shard` on the step's node goes to the node that came before.
 */
struct step {
    int node;
    int from;  /* index of the step that found this one; -1: a start */
    int shard; /* whose replica moves from steps[from].node to node */
};

/* What a chain of shifts may touch, cheapest first. */
enum chain {
    CHAIN_KEPT, /* kept replicas, to other members of theirs: nothing is copied */
    CHAIN_NEW,  /* replicas that have to be copied anyway */
    CHAIN_ANY,
};

static bool is_member(const struct spread *x, int shard, int node)
{
    return map_shard_member(&x->p->map->shards[shard], node) >= 0;
}

static bool may_shift(const struct spread *x, int shard, int j, int to, enum chain kind)
{
    bool kept = (x->kept[shard] >> j & 1) != 0;
    switch (kind) {
    case CHAIN_KEPT:
        return kept && is_member(x, shard, to);
    case CHAIN_NEW:
        return !kept;
    case CHAIN_ANY:
        break;
    }
    return true;
}

/* Shard with a replica on `from` that may go to `to`. -1: none. */
static int shiftable(const struct spread *x, int from, int to, enum chain kind)
{
    for (int i = 0; i < x->p->map->n_shards; i++) {
        const struct plan_shard *s = &x->p->plan->shards[i];
        for (int j = 0; j < s->n_replicas; j++) {
            if (s->replicas[j] == from && may_shift(x, i, j, to, kind) &&
                fits(x, i, to, from, true)) {
                return i;
            }
        }
    }
    return -1;
}

static void shift(struct spread *x, int shard, int from, int to)
{
    struct plan_shard *s = &x->p->plan->shards[shard];
    for (int j = 0; j < s->n_replicas; j++) {
        if (s->replicas[j] == from) {
            s->replicas[j] = to;
            x->kept[shard] = (uint8_t)(x->kept[shard] & ~(1u << j));
            if (is_member(x, shard, to)) {
                x->kept[shard] = (uint8_t)(x->kept[shard] | 1u << j);
            }
            x->pair[s->home * x->p->n + from]--;
            x->pair[s->home * x->p->n + to]++;
            return;
        }
    }
    INVARIANT(false && "shifted a replica that is there");
}

/* Follows the chain that ends in steps[last], a node with room: its end gets a replica, each node
 * before passes one on, and the chain's start has room for the shard. Returns that start. */
static int apply_chain(struct spread *x, const struct step *steps, int last)
{
    x->room[steps[last].node]--;
    while (steps[last].from >= 0) {
        const struct step *s = &steps[last];
        shift(x, s->shard, steps[s->from].node, s->node);
        last = s->from;
    }
    x->room[steps[last].node]++;
    return steps[last].node;
}

/* Breadth first from the nodes that fit the shard to one with room. NODE_NONE: there is no way. */
static int make_room(struct spread *x, int shard, enum chain kind)
{
    int n = x->p->n;
    struct step *steps = mem_alloc(sizeof(*steps) * (size_t)n);
    bool *seen = mem_zalloc(sizeof(*seen) * (size_t)n);
    int count = 0;
    int found = NODE_NONE;
    for (int i = 0; i < n; i++) {
        if (fits(x, shard, i, NODE_NONE, true) && (kind != CHAIN_KEPT || is_member(x, shard, i))) {
            steps[count++] = (struct step){.node = i, .from = -1, .shard = -1};
            seen[i] = true;
        }
    }
    for (int at = 0; at < count && found == NODE_NONE; at++) {
        for (int to = 0; to < n && found == NODE_NONE; to++) {
            int moved = seen[to] ? -1 : shiftable(x, steps[at].node, to, kind);
            if (moved < 0) {
                continue;
            }
            seen[to] = true;
            steps[count++] = (struct step){.node = to, .from = at, .shard = moved};
            if (x->room[to] > 0) {
                found = apply_chain(x, steps, count - 1);
            }
        }
    }
    mem_free(seen);
    mem_free(steps);
    return found;
}

/* Shards that could not keep a member for want of room, where others that have a choice can make
 * some. Finds the most that can be kept; left out where that would take long. */
static void keep_more_replicas(struct spread *x)
{
    int shards = x->p->map->n_shards;
    if (shards * x->p->n > KEEP_MORE_MAX) {
        return;
    }
    for (int i = 0; i < shards; i++) {
        int node = NODE_NONE;
        while (x->need[i] > 0 && (node = make_room(x, i, CHAIN_KEPT)) != NODE_NONE) {
            put(x, i, node, true);
        }
    }
}

/* Shares and zones can't all be had: the node that is least above its share. */
static int least_overfull(const struct spread *x, int shard, bool zones_matter)
{
    int best = NODE_NONE;
    for (int i = 0; i < x->p->n; i++) {
        if (fits(x, shard, i, NODE_NONE, zones_matter) &&
            (best == NODE_NONE || x->room[i] > x->room[best])) {
            best = i;
        }
    }
    return best;
}

static void fill_replicas(struct spread *x)
{
    for (int i = 0; i < x->p->map->n_shards; i++) {
        while (x->need[i] > 0) {
            int node = roomy(x, i);
            node = node == NODE_NONE ? make_room(x, i, CHAIN_NEW) : node;
            node = node == NODE_NONE ? make_room(x, i, CHAIN_ANY) : node;
            node = node == NODE_NONE ? least_overfull(x, i, true) : node;
            node = node == NODE_NONE ? least_overfull(x, i, false) : node;
            if (node == NODE_NONE) {
                break; /* fewer nodes than copies */
            }
            put(x, i, node, false);
        }
    }
}

/* Without rebalancing replicas stay where they are; only what is missing is added. */
static void keep_all_replicas(struct spread *x)
{
    for (int i = 0; i < x->p->map->n_shards; i++) {
        int may[MEMBERS_MAX];
        int n = x->need[i] > 0 ? keepable(x, i, may) : 0;
        for (int j = 0; j < n && x->need[i] > 0; j++) {
            if (fits(x, i, may[j], NODE_NONE, true)) {
                put(x, i, may[j], true);
            }
        }
    }
}

/* The places of replicas on dead nodes that are expected back are theirs, unless another member is
 * there for them already: what has been copied to it stays. */
static void keep_expected(struct spread *x, int shard, int need)
{
    const bool *expected = x->p->in->expected;
    const struct map_shard *s = &x->p->map->shards[shard];
    int there = 0;
    for (int j = 0; j < s->n_members; j++) {
        int node = s->members[j].node;
        there += takes(x, node) && x->p->plan->shards[shard].home != node;
    }
    x->need[shard] = need;
    for (int j = 0; expected != NULL && j < s->n_members; j++) {
        int node = s->members[j].node;
        if (expected[node] && x->need[shard] > there && x->p->plan->shards[shard].home != node) {
            put(x, shard, node, true);
        }
    }
}

void plan_replicas(struct planner *p)
{
    struct spread x = {.p = p};
    size_t n = (size_t)MAX(p->n, 1);
    size_t shards = (size_t)p->map->n_shards;
    x.zone = mem_zalloc(sizeof(int) * n);
    x.room = mem_zalloc(sizeof(int) * n);
    x.pair = mem_zalloc(sizeof(int) * n * n);
    x.need = mem_zalloc(sizeof(int) * shards);
    x.kept = mem_zalloc(shards);
    find_zones(&x);
    int takers = count_takers(&x);
    int total = 0;
    for (size_t i = 0; i < shards; i++) {
        int home = p->plan->shards[i].home;
        if (home == NODE_NONE) {
            continue;
        }
        bool in_place = !p->pinned[i] && takes(&x, home);
        keep_expected(&x, (int)i, MIN(p->in->replication_factor - 1, MEMBERS_MAX - 2));
        x.need[i] = MAX(MIN(x.need[i], takers - in_place), 0);
        total += x.need[i] + in_place;
    }
    x.zone_limit = find_zone_limit(&x, MIN(p->in->replication_factor, MAX(takers, 1)));
    share_copies(&x, total);
    if (p->in->rebalance) {
        keep_replicas(&x);
        keep_more_replicas(&x);
    } else {
        keep_all_replicas(&x);
    }
    fill_replicas(&x);
    mem_free(x.zone);
    mem_free(x.room);
    mem_free(x.pair);
    mem_free(x.need);
    mem_free(x.kept);
}
