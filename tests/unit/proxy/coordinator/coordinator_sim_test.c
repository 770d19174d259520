// SPDX-License-Identifier: BSD-3-Clause
/* The coordinator's core and simulated nodes on a virtual clock, with delays, lost links, killed,
 * restarted and paused nodes (what they had not on disk is lost, or not), and a coordinator that is
 * killed at any moment, between a decision and its being durable too. Replication between the nodes
 * is a model: a write is on all members that the primary counts, at once, or is not done; who
 * cannot be reached, or acts in another primary term, holds it up. (tests/sim runs the real one.)
 * Each run comes from a seed: SHOAL_SEED=n replays one, SHOAL_RUNS=n says how many, SHOAL_TRACE=1
 * prints the log. What must hold is checked at every step:
 *
 * - each map follows from the one before it, and was durable before anybody saw it;
 * - a shard has one primary in a primary term, for ever, and at most one node serves it at any
 * time;
 * - a primary comes from the recorded in-sync set, unless every member of that lost data;
 * - whoever serves has every acknowledged write, with the same exception;
 * - when the faults end, every node runs with the newest map, every shard is served, evenly, by as
 *   many copies in sync as there should be. */
#include "tests/unit/proxy/coordinator/sim_world.h"

/* ---- faults ---- */

static void ask(struct world *w, const char *a, const char *b, const char *c, const char *d)
{
    struct slice argv[4] = {slice_str(a), slice_str(b)};
    size_t argc = 2;
    if (c != NULL) {
        argv[argc++] = slice_str(c);
    }
    if (d != NULL) {
        argv[argc++] = slice_str(d);
    }
    coordinator_admin(w->core, w->now, ++w->requests, 2 + (int)below(w, 2), argv, argc);
}

/* Of any slot to the node. */
static void ask_move(struct world *w, const char *id)
{
    static const char *const how[] = {"importing", "migrating", "node"};
    char slot[16];
    (void)snprintf(slot, sizeof(slot), "%d", (int)below(w, SLOTS));
    const struct slice argv[] = {SLICE("cluster"), SLICE("setslot"), slice_str(slot),
                                 slice_str(how[below(w, ARRAY_LEN(how))]), slice_str(id)};
    coordinator_admin(w->core, w->now, ++w->requests, 2, argv, ARRAY_LEN(argv));
}

/* Whoever serves has every acknowledged write; and one more is written. */
static void write_somewhere(struct world *w)
{
    int shard = (int)below(w, SHARDS);
    for (int i = 0; i < NODES; i++) {
        struct sim_node *n = &w->nodes[i];
        if (!serves(w, n, shard)) {
            continue;
        }
        if (n->version[shard] < w->acked[shard]) {
            if (!w->lossy[shard]) {
                broken(w, "an acknowledged write is lost", shard, i);
            }
            w->losses += w->acked[shard] - n->version[shard];
        }
        const struct map_shard *s = &n->map->shards[shard];
        w->acked[shard] = n->version[shard] + 1;
        w->lossy[shard] = false;
        w->writes++;
        for (int k = 0; k < NODES; k++) {
            int at = map_shard_member(s, map_node_by_id(n->map, w->nodes[k].id));
            bool counts = (n->asked[shard] >> k & 1) != 0 || (at >= 0 && s->members[at].in_sync);
            if (counts) {
                w->nodes[k].version[shard] = n->version[shard] + (k != i);
                w->nodes[k].term[shard] = s->primary_term;
            }
        }
        n->version[shard]++;
    }
}

static void chaos(struct world *w)
{
    int i = (int)below(w, NODES);
    struct sim_node *n = &w->nodes[i];
    switch (below(w, 15)) {
    case 0:
        if (n->up) {
            node_kill(w, n);
        }
        break;
    case 1:
    case 2:
        if (!n->up) {
            node_start(w, i);
        }
        break;
    case 3:
        if (n->up && !n->paused) {
            n->paused = true;
        } else if (n->paused) {
            node_resume(w, n);
        }
        break;
    case 4:
        if (n->paused) {
            node_resume(w, n);
        }
        break;
    case 5:
        if (n->up && !n->paused && n->link != 0) {
            break_link(w, n);
            w->link_open[n->link] = false;
            node_lost_link(w, i);
        }
        break;
    case 6:
        kill_coordinator(w);
        break;
    case 7:
        ask(w, "cluster", "drain", n->id, below(w, 3) == 0 ? NULL : "cancel");
        break;
    case 8: {
        static const char *const what[] = {"start", "pause", "resume", "cancel", "status", "plan"};
        ask(w, "CLUSTER", "REBALANCE", what[below(w, ARRAY_LEN(what))], NULL);
        break;
    }
    case 9: {
        static const char *const what[] = {"info", "nodes", "shards", "plan", "help", "none"};
        ask(w, "proxy", what[below(w, ARRAY_LEN(what))], NULL, NULL);
        break;
    }
    case 10:
        coordinator_suspect(w->core, w->now, n->id);
        break;
    case 11:
        ask(w, "cluster", "failover", n->id, NULL);
        break;
    case 12:
    case 13:
        ask_move(w, n->id);
        break;
    default:
        ask(w, "cluster", "forget", n->id, NULL);
        break;
    }
}

/* ---- the run ---- */

static void check_one_serves(const struct world *w)
{
    for (int s = 0; s < SHARDS; s++) {
        int by = -1;
        for (int i = 0; i < NODES; i++) {
            if (!serves(w, &w->nodes[i], s)) {
                continue;
            }
            if (by >= 0) {
                broken(w, "two nodes serve a shard", by, i);
            }
            by = i;
        }
    }
}

static void step(struct world *w)
{
    struct event e = pop(w);
    w->now = MAX(w->now, e.at);
    struct sim_node *n = &w->nodes[e.node];
    bool of_this_life = e.generation == w->generation;
    switch (e.type) {
    case TO_NODE:
    case LINK_LOST_AT_NODE:
        if (n->up && n->paused && n->n_inbox < (int)ARRAY_LEN(n->inbox)) {
            n->inbox[n->n_inbox++] = e;
            return;
        }
        if (e.type == TO_NODE) {
            node_message(w, &e);
        } else if (n->up && n->link == e.number) {
            node_lost_link(w, e.node);
        }
        break;
    case TO_COORDINATOR:
        if (w->link_open[e.number]) {
            struct wire_message m;
            decode(w, &e, &m);
            coordinator_message(w->core, w->now, e.number, "127.0.0.1", &m);
            wire_message_fini(&m);
        }
        break;
    case LINK_LOST_AT_COORDINATOR:
        w->link_open[e.number] = false;
        coordinator_link_down(w->core, w->now, e.number);
        break;
    case RECORDED:
        if (of_this_life) {
            make_durable(w);
            coordinator_recorded(w->core, w->now, e.number);
        }
        break;
    case PROBED:
        if (of_this_life) {
            coordinator_probed(w->core, w->now, n->id, n->up ? PROBE_OK : PROBE_REFUSED);
        }
        break;
    case CONNECT:
        if (n->up && !n->paused && n->link == 0 && e.number == n->timers) {
            node_connect(w, e.node);
        }
        break;
    case HEARTBEAT:
        if (n->up && !n->paused && n->member && e.number == n->timers) {
            node_heartbeat(w, n);
            (void)push(w, w->now + INTERVAL, HEARTBEAT, e.node, n->timers);
        }
        break;
    case TICK:
        if (of_this_life) {
            coordinator_tick(w->core, w->now);
            (void)push(w, w->now + 20, TICK, 0, 0);
        }
        break;
    case CHAOS:
        if (w->faults) {
            chaos(w);
            (void)push(w, w->now + 1 + (int64_t)below(w, 300), CHAOS, 0, 0);
        }
        break;
    }
    str_fini(&e.bytes);
    if (w->faults && below(w, 2) == 0) {
        write_somewhere(w);
    }
    check_one_serves(w);
}

static void run_until(struct world *w, int64_t until)
{
    while (w->now < until) {
        step(w);
    }
}

static void check_healed(struct world *w)
{
    const struct map *m = coordinator_map(w->core);
    int low = SHARDS;
    int high = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        if (m->nodes[i].state != NODE_HEALTHY) {
            broken(w, "a living node is not healthy", i, (int)m->nodes[i].state);
        }
        int primaries = map_node_primaries(m, i);
        low = MIN(low, primaries);
        high = MAX(high, primaries);
    }
    if (m->n_nodes != NODES) {
        broken(w, "nodes are missing", m->n_nodes, NODES);
    }
    if (high - low > 1) {
        broken(w, "the spread is not even", low, high);
    }
    for (int s = 0; s < SHARDS; s++) {
        int by = 0;
        for (int i = 0; i < NODES; i++) {
            by += serves(w, &w->nodes[i], s);
        }
        if (by != 1 || m->shards[s].n_members != 2 || map_shard_in_sync(&m->shards[s]) != 2) {
            broken(w, "a shard is not served, or has no replica", s, m->shards[s].n_members);
        }
    }
    for (int i = 0; i < NODES; i++) {
        if (w->nodes[i].map == NULL || w->nodes[i].map->epoch != m->epoch) {
            broken(w, "a node does not have the newest map", i, (int)m->epoch);
        }
    }
}

static void swallow(void *arg, enum log_level level, const char *area, const char *text)
{
    struct world *w = arg;
    if (getenv("SHOAL_TRACE") != NULL) {
        printf("%8lld %d %s %s\n", (long long)w->now, (int)level, area, text);
    }
}

static void run_seed(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->seed = seed;
    rng_init(&w->rng, seed);
    log_set_sink(swallow, w);
    w->settings = (struct coordinator_settings){.shards = SHARDS,
                                                .replication_factor = 2,
                                                .assignment_delay_ms = 300,
                                                .heartbeat_interval_ms = INTERVAL,
                                                .unhealthy_missed = 3,
                                                .dead_missed = 6,
                                                .rebalance_on_join = below(w, 4) != 0,
                                                .rebalance_concurrency = 1 + (int)below(w, 5),
                                                .replace_delay_ms = (int64_t)below(w, 3000),
                                                .sync = true,
                                                .strong = true,
                                                .min_in_sync = 1,
                                                .lease_ms = 1000};
    for (int i = 0; i < NODES; i++) {
        (void)snprintf(w->nodes[i].id, sizeof(w->nodes[i].id), "%040x", i + 0xabc);
        w->nodes[i].self = NODE_NONE;
    }
    start_coordinator(w);
    for (uint64_t n = 1 + below(w, NODES); n > 0; n--) {
        node_start(w, (int)n - 1);
    }
    w->faults = true;
    (void)push(w, 500, CHAOS, 0, 0);
    run_until(w, 30000);
    w->faults = false;
    for (int i = 0; i < NODES; i++) {
        if (w->nodes[i].paused) {
            node_resume(w, &w->nodes[i]);
        }
        if (!w->nodes[i].up) {
            node_start(w, i);
        }
    }
    run_until(w, 40000);
    for (int i = 0; i < NODES; i++) {
        ask(w, "cluster", "drain", w->nodes[i].id, "cancel");
    }
    ask(w, "cluster", "rebalance", "start", NULL);
    ask(w, "cluster", "rebalance", "resume", NULL);
    run_until(w, 60000);
    check_healed(w);
    if (getenv("SHOAL_TRACE") != NULL) {
        printf("seed %llu: writes=%llu lost=%llu epoch=%llu\n", (unsigned long long)seed,
               (unsigned long long)w->writes, (unsigned long long)w->losses,
               (unsigned long long)w->durable_last->epoch);
    }
    for (int i = 0; i < NODES; i++) {
        node_reset(&w->nodes[i]);
    }
    for (size_t i = 0; i < w->n_events; i++) {
        str_fini(&w->events[i].bytes);
    }
    mem_free(w->events);
    coordinator_free(&w->core);
    map_unref(&w->published_last);
    map_unref(&w->durable_last);
    str_fini(&w->stored);
    str_fini(&w->pending);
    log_set_sink(NULL, NULL);
    mem_free(w);
}

static void test_what_must_hold_holds_through_any_faults(void **state)
{
    (void)state;
    const char *seed = getenv("SHOAL_SEED");
    const char *runs = getenv("SHOAL_RUNS");
    uint64_t first = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    uint64_t n =
        runs == NULL ? (seed == NULL ? (uint64_t)RANDOM_ROUNDS(60) : 1) : strtoull(runs, NULL, 10);
    for (uint64_t i = first; i < first + n; i++) {
        run_seed(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_must_hold_holds_through_any_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
