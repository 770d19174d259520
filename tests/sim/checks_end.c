// SPDX-License-Identifier: BSD-3-Clause
/* What holds when the faults are over: the cluster is whole again, and each key's history can be
 * explained. */
#include "common/base/mem.h"

#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define STEPS_MAX 3000000

static const char *shard_unhealed(struct sim *s, const struct map *m, int shard, int copies)
{
    static char why[160];
    const struct map_shard *ms = &m->shards[shard];
    if (ms->primary == NODE_NONE) {
        snprintf(why, sizeof(why), "shard %d has no primary", shard);
        return why;
    }
    if (!node_serves(s->nodes[m->nodes[ms->primary].port - 7000], shard)) {
        const struct sim_node *n = s->nodes[m->nodes[ms->primary].port - 7000];
        snprintf(why, sizeof(why), "shard %d: its primary %.2s does not serve (%s)", shard,
                 node_id(n),
                 node_is_up(n) ? repl_state_name(repl_state(node_repl(n), shard)) : "down");
        return why;
    }
    if (map_shard_in_sync(ms) < copies || ms->n_members != map_shard_in_sync(ms)) {
        snprintf(why, sizeof(why), "shard %d has %d of %d members in sync, %d are wanted", shard,
                 map_shard_in_sync(ms), ms->n_members, copies);
        return why;
    }
    return NULL;
}

const char *check_unhealed(struct sim *s)
{
    const struct map *m = coordinators_map(s->coordinator);
    if (m == NULL || !m->assigned) {
        return "nothing is assigned";
    }
    int usable = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        if (m->nodes[i].state == NODE_DEAD || m->nodes[i].state == NODE_UNHEALTHY) {
            return "a node is not healthy";
        }
        usable += !m->nodes[i].draining;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (node_is_up(s->nodes[i]) && map_node_by_id(m, node_id(s->nodes[i])) == NODE_NONE) {
            return "a node is not in the map";
        }
    }
    for (int i = 0; i < m->n_shards; i++) {
        const char *why = shard_unhealed(s, m, i, MIN(s->rf_now, usable));
        if (why != NULL) {
            return why;
        }
    }
    return NULL;
}

/* --- histories --- */

static void print_history(const struct sim *s, const struct linear_op *ops, size_t n, size_t stuck)
{
    if (!s->world.verbose) {
        return;
    }
    int64_t from = ops[stuck].call - 20 * US_PER_S;
    int64_t to = ops[stuck].call + 20 * US_PER_S;
    for (size_t i = 0; i < n; i++) {
        const struct linear_op *o = &ops[i];
        if ((o->ret >= from && o->call <= to) || i == stuck) {
            printf("%c %-6s [%.6f, %.6f] value %llx/%u%s number %lld\n", i == stuck ? '>' : ' ',
                   linear_kind_name(o->kind), (double)o->call / 2e6,
                   o->ret == LINEAR_NEVER ? -1.0 : (double)o->ret / 2e6,
                   (unsigned long long)o->value.hash, o->value.len, o->value.nil ? " nil" : "",
                   (long long)o->number);
        }
    }
}

static void check_key(struct sim *s, int shard, int key)
{
    const struct sim_key *k = &s->keys[shard][key];
    struct linear_op *ops = mem_alloc((k->count + 1) * sizeof(*ops));
    size_t n = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (!k->records[i].excluded) {
            ops[n++] = k->records[i].op;
        }
    }
    const struct map *m = coordinators_map(s->coordinator);
    const struct cell *c =
        node_cell(s->nodes[m->nodes[m->shards[shard].primary].port - 7000], shard, key);
    struct linear_report report;
    enum linear_verdict v =
        linear_check(ops, n, str_cstr(&c->bytes), c->there ? c->bytes.len : 0, STEPS_MAX, &report);
    s->counts.steps += report.steps;
    if (v == LINEAR_UNDECIDED) {
        s->counts.undecided++;
    } else if (v == LINEAR_BROKEN) {
        const struct linear_op *o = &ops[report.stuck];
        print_history(s, ops, n, report.stuck);
        world_fail(&s->world, "shard %d key %d: not linearizable, stuck at %s called at %.6f s",
                   shard, key, linear_kind_name(o->kind), (double)o->call / 2e6);
    }
    mem_free(ops);
}

void check_histories(struct sim *s)
{
    for (int shard = 0; shard < s->set.shards && s->set.sync; shard++) {
        for (int key = 0; key < SIM_KEYS && !check_may_have_lost(s, shard); key++) {
            if (!s->world.failed) {
                check_key(s, shard, key);
            }
        }
    }
}
