// SPDX-License-Identifier: BSD-3-Clause
/* Who gets calls for a shard: the map's word, and what nodes' answers say to it. A primary of a new
 * map, one that refused, and one whose connection broke must first answer one call (the probe):
 * until then the others wait, so that of a client's commands the first are not refused and the next
 * executed. */
#include "proxy/exec/exec_priv.h"

#define PROBE_DELAY_MAX_US (50 * 1000)
#define PROBE_SHARE        4           /* of the time since the first refusal: no delay is longer */
#define PROBE_GRID_US      2000        /* so that the probes of many shards come together */
#define SHUN_US            (50 * 1000) /* a replica that refused gets no reads of that shard for so long */

void routes_reset(struct exec *x, uint32_t shards)
{
    mem_free(x->routes);
    x->shards = shards;
    x->routes = mem_zalloc(shards * sizeof(*x->routes));
    for (uint32_t i = 0; i < shards; i++) {
        x->routes[i].lost_us = x->now_us;
    }
}

/* --- what answers say --- */

void route_open(struct exec *x, int shard)
{
    struct shard_route *route = &x->routes[shard];
    if (route->primary != NULL || route->chosen == NULL) {
        return;
    }
    route->primary = route->chosen;
    route->probe = NULL;
    route->refusals = 0;
    route->lost_us = 0;
    route->opened_us = x->now_us;
    x->routes_version++;
    x->release = true;
}

void route_refused(struct exec *x, int shard)
{
    struct shard_route *route = &x->routes[shard];
    const struct retry_policy p = {.initial_us = x->settings.retry_initial_delay_us,
                                   .max_us =
                                       MIN(x->settings.retry_max_delay_us, PROBE_DELAY_MAX_US),
                                   .backoff_percent = x->settings.retry_backoff_percent};
    route->refused_us = route->refusals == 0 ? x->now_us : route->refused_us;
    /* A hand-over takes milliseconds: asking must not make much more of it. */
    int64_t most = MAX((x->now_us - route->refused_us) / PROBE_SHARE, p.initial_us);
    int64_t delay = retry_delay_us(&p, route->refusals++, &x->rng);
    int64_t at = x->now_us + MIN(delay, most);
    route->primary = NULL;
    route->probe = NULL;
    route->probe_at_us = at - at % PROBE_GRID_US + PROBE_GRID_US;
    exec_wake(x, route->probe_at_us);
}

void routes_doubt(struct exec *x, const struct target *t)
{
    for (uint32_t i = 0; i < x->shards; i++) {
        struct shard_route *route = &x->routes[i];
        if (route->primary == t) {
            route->primary = NULL;
            route->probe = NULL;
            route->probe_at_us = x->now_us;
        }
    }
}

void route_probe_over(struct exec *x, const struct call *c)
{
    struct shard_route *route = &x->routes[c->shard];
    if (route->probe == c) {
        route->probe = NULL;
    }
}

int64_t route_lost_us(const struct exec *x, int shard)
{
    const struct shard_route *route = &x->routes[shard];
    return route->chosen == NULL ? route->lost_us : 0;
}

bool route_takes(const struct exec *x, int shard)
{
    const struct shard_route *route = &x->routes[shard];
    return route->primary != NULL ||
           (route->chosen != NULL && route->probe == NULL && x->now_us >= route->probe_at_us);
}

struct target *route_primary(struct exec *x, struct call *c)
{
    struct shard_route *route = &x->routes[c->shard];
    if (route->primary != NULL) {
        return route->primary;
    }
    if (!route_takes(x, c->shard)) {
        return NULL;
    }
    c->probes = true;
    return route->chosen;
}

static bool is_usable(const struct exec *x, const struct target *t)
{
    return t->down_since_us == 0 || x->now_us >= t->retry_at_us;
}

struct target *pick_reader(struct exec *x, int shard)
{
    const struct shard_route *route = &x->routes[shard];
    if (LIKELY(route->n_readers == 0) || x->settings.read_from == READ_PRIMARY) {
        return route->primary;
    }
    struct balance_choice choices[MEMBERS_MAX];
    struct target *targets[MEMBERS_MAX];
    int n = 0;
    if (route->primary != NULL && is_usable(x, route->primary)) {
        targets[n++] = route->primary;
    }
    for (int i = 0; i < route->n_readers; i++) {
        if (x->now_us >= route->shunned_us[i] && is_usable(x, route->readers[i])) {
            targets[n++] = route->readers[i];
        }
    }
    if (n == 0) {
        return route->primary;
    }
    for (int i = 0; i < n; i++) {
        const struct target *t = targets[i];
        choices[i] = (struct balance_choice){.in_flight = t->in_flight,
                                             .latency_us = t->latency_us,
                                             .load_percent = t->load_percent,
                                             .weight = t->weight};
    }
    return targets[balance_pick((enum read_from)x->settings.read_from, choices, n, &x->rng,
                                &x->turn)];
}

bool reader_refused(struct exec *x, const struct call *c)
{
    struct shard_route *route = &x->routes[c->shard];
    if (c->write || c->target == route->chosen) {
        return false;
    }
    for (int i = 0; i < route->n_readers; i++) {
        if (route->readers[i] == c->target) {
            route->shunned_us[i] = x->now_us + SHUN_US;
        }
    }
    return true;
}

/* --- the map --- */

static struct target *target_by_id(struct exec *x, const char *id)
{
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (strcmp(t->id, id) == 0) {
            return t;
        }
    }
    return NULL;
}

static struct target *target_for(struct exec *x, const struct map_node *n)
{
    struct target *t = target_by_id(x, n->id);
    if (t == NULL) {
        t = mem_zalloc(sizeof(*t));
        t->magic = TARGET_MAGIC;
        memcpy(t->id, n->id, sizeof(t->id));
        memcpy(t->host, n->host, sizeof(t->host));
        t->port = n->port;
        list_init(&t->pinned_idle);
        list_append(&x->targets, &t->link);
    }
    return t;
}

/* Its connections are of no more use: their calls end or are tried elsewhere. */
static void dismiss_lanes(struct exec *x, struct target *t)
{
    LIST_FOREACH_SAFE(it, &x->lanes) {
        struct lane *l = container_of(it, struct lane, link);
        if (l->target == t) {
            lane_break(x, l, LANE_DISMISSED);
        }
    }
}

static void update_target(struct target *t, const struct map_node *n, int index, bool *moved)
{
    *moved = t->port != n->port || strcmp(t->host, n->host) != 0;
    memcpy(t->host, n->host, sizeof(t->host));
    t->port = n->port;
    t->node = index;
    t->weight = n->weight;
    bool alive = n->state != NODE_DEAD && n->state != NODE_LEFT;
    if ((alive && !t->alive) || *moved || t->incarnation != n->incarnation) {
        t->failures = 0;
        t->retry_at_us = 0;
        t->down_since_us = 0;
    }
    t->alive = alive;
    t->incarnation = n->incarnation;
}

static void set_readers(struct shard_route *route, const struct map_shard *sh,
                        struct target *const *targets)
{
    route->n_readers = 0;
    for (int i = 0; sh->primary != NODE_NONE && i < sh->n_members; i++) {
        const struct map_member *m = &sh->members[i];
        struct target *t = targets[m->node];
        if (m->node != sh->primary && m->in_sync && m->state == REPLICA_ACTIVE && t->alive) {
            route->shunned_us[route->n_readers] = 0;
            route->readers[route->n_readers++] = t;
        }
    }
}

static void set_route(struct exec *x, struct shard_route *route, const struct map_shard *sh,
                      struct target *const *targets)
{
    bool served = sh->primary != NODE_NONE;
    struct target *chosen = served && targets[sh->primary]->alive ? targets[sh->primary] : NULL;
    bool first = !route->ever;
    set_readers(route, sh, targets);
    route->refusals = 0;
    route->probe_at_us = x->now_us;
    if (chosen == route->chosen) {
        return;
    }
    x->routes_changed = true;
    route->primary = NULL;
    route->chosen = chosen;
    route->probe = NULL;
    if (chosen == NULL) {
        route->lost_us = route->lost_us == 0 ? x->now_us : route->lost_us;
        return;
    }
    route->lost_us = 0;
    route->ever = true;
    if (first) {
        route->primary = chosen; /* nobody was told otherwise yet */
    }
}

void routes_drop_spare(struct exec *x)
{
    LIST_FOREACH_SAFE(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->node == NODE_NONE && t->in_flight == 0 && t->fans == 0) {
            struct target *gone = t;
            target_free_lanes(x, gone);
            /* Only now: what waited at the node is held with its lane's end, and held calls name
             * the node where they were last. */
            if (gone->n_pinned == 0 && x->n_held == 0) {
                target_free(x, gone);
            }
        }
    }
}

static void choose_any(struct exec *x)
{
    x->any = NULL;
    for (uint32_t i = 0; i < x->shards && x->any == NULL; i++) {
        x->any = x->routes[i].chosen;
    }
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (x->any == NULL && t->alive) {
            x->any = t;
        }
    }
}

void exec_set_map(struct exec *x, struct map *m)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    struct target **targets = mem_zalloc((size_t)(m->n_nodes + 1) * sizeof(struct target *));
    if (x->shards != (uint32_t)m->n_shards) {
        INVARIANT(x->n_held == 0 || x->map == NULL);
        routes_reset(x, (uint32_t)m->n_shards);
    }
    map_unref(&x->map);
    x->map = m;
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (map_node_by_id(m, t->id) == NODE_NONE) {
            t->node = NODE_NONE;
            t->alive = false;
        }
    }
    bool *moved = mem_zalloc((size_t)m->n_nodes + 1);
    for (int i = 0; i < m->n_nodes; i++) {
        targets[i] = target_for(x, &m->nodes[i]);
        update_target(targets[i], &m->nodes[i], i, &moved[i]);
    }
    for (int i = 0; i < m->n_shards; i++) {
        set_route(x, &x->routes[i], &m->shards[i], targets);
    }
    x->routes_version += x->routes_changed;
    x->routes_changed = false;
    choose_any(x);
    for (int i = 0; i < m->n_nodes; i++) { /* only now: what breaks finds its way by the new map */
        if (moved[i] || !targets[i]->alive) {
            dismiss_lanes(x, targets[i]);
        }
    }
    mem_free(moved);
    mem_free(targets);
    hold_tick(x, true);
    stranded_resume(x);
    routes_drop_spare(x);
    ears_map_changed(x);
    owns_tick(x);
}

struct map *exec_map(const struct exec *x)
{
    return x->map;
}

void exec_set_load(struct exec *x, const char *node_id, uint32_t load_percent, bool short_of_memory)
{
    struct target *t = target_by_id(x, node_id);
    if (t != NULL) {
        t->load_percent = load_percent;
        t->short_of_memory = short_of_memory;
    }
}

void exec_doubt_memory(struct exec *x, int64_t until_us)
{
    x->memory_doubt_us = until_us;
}

void exec_each_node(struct exec *x, exec_node_fn fn, void *arg)
{
    LIST_FOREACH(it, &x->targets) {
        const struct target *t = container_of(it, struct target, link);
        struct exec_node_view v = {.node_id = t->id,
                                   .in_flight = t->in_flight,
                                   .latency_us = t->latency_us,
                                   .failures = t->failures,
                                   .down = t->down_since_us != 0};
        fn(arg, &v);
    }
}
