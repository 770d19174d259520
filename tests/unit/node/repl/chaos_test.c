// SPDX-License-Identifier: BSD-3-Clause
/* Random faults over small clusters: nodes killed, replaced while they still believe to be primary,
 * links that stall one way or both, hand-overs, all under writes. After each step whoever may read
 * sees what was acknowledged; in the end all copies are alike. REPL_SEEDS and REPL_SEED widen it.
 */
#include "node/repl/plant.h"

#include "tests/unit/node/repl/cluster.h"

/* The coordinator may lose this node: each of its shards has another living one in sync. */
static bool may_lose(const struct cluster *c, int node)
{
    for (int s = 0; s < N_SHARDS; s++) {
        const struct map_shard *ms = &c->map->shards[s];
        int others = 0;
        bool member = false;
        for (int i = 0; i < ms->n_members; i++) {
            int n = ms->members[i].node;
            member = member || (n == node && ms->members[i].in_sync);
            others += n != node && ms->members[i].in_sync && c->nodes[n].alive;
        }
        if (member && others == 0) {
            return false;
        }
    }
    return true;
}

static bool has_pending_removals(const struct cluster *c)
{
    for (int i = 0; i < c->n_requests; i++) {
        if (c->requests[i].what == REPL_REMOVE) {
            return true;
        }
    }
    return false;
}

static void revive(struct cluster *c, int i)
{
    fail_over(c, i, true);
    start_node(c, i, false);
    for (int j = 0; j < N_NODES; j++) {
        if (j != i && c->nodes[j].alive) {
            connect_nodes(c, i, j);
        }
    }
}

static void random_fault(struct cluster *c)
{
    int a = (int)rng_below(&c->rng, N_NODES);
    int b = (a + 1 + (int)rng_below(&c->rng, N_NODES - 1)) % N_NODES;
    struct map_shard *s = &c->map->shards[rng_below(&c->rng, N_SHARDS)];
    char id[NODE_ID_LEN + 1];
    switch (rng_below(&c->rng, 8)) {
    case 0: /* killed, and noticed after a while */
        if (c->nodes[a].alive && may_lose(c, a) && !has_pending_removals(c)) {
            kill_node(c, a);
            run_for(c, (int64_t)rng_below(&c->rng, LEASE_US), 1);
            if (may_lose(c, a)) {
                fail_over(c, a, false);
            }
        }
        break;
    case 1: /* believed to be dead, but it is not, and does not hear of it for long */
        if (may_lose(c, a) && !has_pending_removals(c)) {
            fail_over(c, a, false);
            c->nodes[a].map_due_us = c->now_us + (int64_t)rng_below(&c->rng, 3 * LEASE_US);
        }
        break;
    case 2: /* one way */
        c->wires[a][b].blocked = true;
        break;
    case 3: /* both, and the sessions end some time */
        c->wires[a][b].blocked = c->wires[b][a].blocked = true;
        break;
    case 4:
        end_session(c, a, b);
        break;
    case 5:
        if (s->primary != NODE_NONE && c->nodes[s->primary].alive) {
            node_id(s->members[rng_below(&c->rng, (uint64_t)s->n_members)].node, id);
            repl_handover(c->nodes[s->primary].r, (int)(s - c->map->shards), s->primary_term, id,
                          c->now_us);
        }
        break;
    default: /* something heals */
        c->wires[a][b].blocked = c->wires[b][a].blocked = false;
        if (!c->nodes[a].alive) {
            if (may_lose(c, a)) {
                revive(c, a);
            }
        } else if (c->nodes[b].alive &&
                   (c->nodes[a].sessions[b] == 0 || rng_below(&c->rng, 2) == 0)) {
            connect_nodes(c, a, b);
        }
    }
}

static void heal_faults(struct cluster *c)
{
    for (int i = 0; i < N_NODES; i++) {
        for (int j = 0; j < N_NODES; j++) {
            c->wires[i][j].blocked = false;
        }
        if (!c->nodes[i].alive && may_lose(c, i)) {
            revive(c, i);
        }
    }
    for (int i = 0; i < N_NODES; i++) {
        for (int j = i + 1; j < N_NODES; j++) {
            if (c->nodes[i].alive && c->nodes[j].alive) {
                connect_nodes(c, i, j);
            }
        }
    }
}

static void run_seed(uint64_t seed)
{
    struct cluster c;
    cluster_init(&c, seed, 2 + (int)(seed % 2));
    c.settings.durable = seed % 5 == 0;
    c.settings.copies_max = 1 + (int)(seed % 3);
    cluster_start(&c);
    run_for(&c, 100000 + (int64_t)rng_below(&c.rng, 300000), 1);
    for (int i = 0; i < 25; i++) {
        random_fault(&c);
        run_for(&c, (int64_t)rng_below(&c.rng, rng_below(&c.rng, 3) == 0 ? 2 * LEASE_US : 50000),
                (unsigned)rng_below(&c.rng, 3));
    }
    heal_faults(&c);
    run_for(&c, 3 * LEASE_US, 1);
    heal(&c);
    cluster_fini(&c);
}

static void test_no_acknowledged_write_is_lost(void **state)
{
    (void)state;
    const char *one = getenv("REPL_SEED");
    const char *many = getenv("REPL_SEEDS");
    if (one != NULL) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    uint64_t n = many == NULL ? 40 : strtoull(many, NULL, 10);
    for (uint64_t seed = 1; seed <= n; seed++) {
        (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

int main(void)
{
#ifdef REPL_PLANTS
    const char *plant = getenv("REPL_PLANT");
    repl_plant_set(plant == NULL ? PLANT_NONE : (enum repl_plant)atoi(plant));
#endif
    log_set_level(getenv("REPL_SEED") == NULL ? LOG_NOTHING : LOG_DEBUG);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_acknowledged_write_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
