// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/mem.h"
#include "common/model/map_priv.h"

struct map *map_alloc(int n_shards, int n_nodes)
{
    INVARIANT(n_shards >= 1);
    INVARIANT(n_shards <= SLOTS);
    struct map *m = mem_zalloc(sizeof(*m));
    m->magic = MAP_MAGIC;
    m->refs = 1;
    m->n_shards = n_shards;
    m->n_nodes = n_nodes;
    m->nodes = mem_zalloc(sizeof(*m->nodes) * (size_t)MAX(n_nodes, 1));
    m->shards = mem_zalloc(sizeof(*m->shards) * (size_t)n_shards);
    for (int i = 0; i < n_shards; i++) {
        m->shards[i].first_slot = map_first_slot(n_shards, i);
        m->shards[i].last_slot = map_first_slot(n_shards, i + 1) - 1;
        m->shards[i].primary = NODE_NONE;
    }
    return m;
}

struct map *map_build_new(int n_shards, const char *cluster_id)
{
    INVARIANT(strlen(cluster_id) == NODE_ID_LEN);
    struct map *m = map_alloc(n_shards, 0);
    memcpy(m->cluster_id, cluster_id, NODE_ID_LEN + 1);
    return m;
}

struct map *map_build_from(const struct map *from)
{
    CHECK_OBJ(from, MAP_MAGIC);
    struct map *m = map_alloc(from->n_shards, from->n_nodes);
    struct map_node *nodes = m->nodes;
    struct map_shard *shards = m->shards;
    /* All but the head: other threads count references to `from` meanwhile. */
    memcpy((char *)m + offsetof(struct map, epoch),
           (const char *)from + offsetof(struct map, epoch),
           sizeof(*m) - offsetof(struct map, epoch));
    m->nodes = nodes;
    m->shards = shards;
    memcpy(nodes, from->nodes, sizeof(*nodes) * (size_t)from->n_nodes);
    memcpy(shards, from->shards, sizeof(*shards) * (size_t)from->n_shards);
    return m;
}

static void check_writable(const struct map *m)
{
    CHECK_OBJ(m, MAP_MAGIC);
    INVARIANT(m->refs == 1);
}

int map_build_add_node(struct map *m, const struct map_node *n)
{
    check_writable(m);
    INVARIANT(m->n_nodes < NODES_MAX);
    INVARIANT(map_node_by_id(m, n->id) == NODE_NONE);
    m->nodes = mem_realloc(m->nodes, sizeof(*m->nodes) * (size_t)(m->n_nodes + 1));
    m->nodes[m->n_nodes] = *n;
    return m->n_nodes++;
}

void map_build_remove_node(struct map *m, int node)
{
    check_writable(m);
    INVARIANT(node >= 0);
    INVARIANT(node < m->n_nodes);
    for (int i = 0; i < m->n_shards; i++) {
        struct map_shard *s = &m->shards[i];
        INVARIANT(map_shard_member(s, node) < 0);
        s->primary -= s->primary > node;
        for (int j = 0; j < s->n_members; j++) {
            s->members[j].node -= s->members[j].node > node;
        }
    }
    m->n_nodes--;
    memmove(&m->nodes[node], &m->nodes[node + 1], sizeof(*m->nodes) * (size_t)(m->n_nodes - node));
}

bool map_build_add_member(struct map_shard *s, int node)
{
    if (map_shard_member(s, node) >= 0) {
        return true;
    }
    if (s->n_members == MEMBERS_MAX) {
        return false;
    }
    s->members[s->n_members++] =
        (struct map_member){.node = node, .state = REPLICA_SYNCING, .since = ++s->term};
    return true;
}

static struct map_member *member(struct map_shard *s, int node)
{
    int at = map_shard_member(s, node);
    INVARIANT(at >= 0);
    return &s->members[at];
}

void map_build_drop_member(struct map_shard *s, int node)
{
    struct map_member *e = member(s, node);
    INVARIANT(s->primary != node);
    s->n_members--;
    memmove(e, e + 1, sizeof(*e) * (size_t)(&s->members[s->n_members] - e));
    s->term++;
}

void map_build_set_primary(struct map_shard *s, int node)
{
    struct map_member *e = member(s, node);
    e->state = REPLICA_ACTIVE;
    e->in_sync = true;
    e->stale = false;
    s->primary = node;
    s->term++;
    s->primary_term = s->term;
}

void map_build_guess_primary(struct map_shard *s, int node)
{
    INVARIANT(s->primary == NODE_NONE && map_shard_member(s, node) >= 0);
    s->primary = node;
    s->term++;
    s->primary_term = s->term;
}

void map_build_trust_primary(struct map_shard *s)
{
    for (int i = 0; i < s->n_members; i++) {
        struct map_member *e = &s->members[i];
        bool primary = e->node == s->primary;
        if (primary || e->in_sync) {
            e->state = primary ? REPLICA_ACTIVE : REPLICA_SYNCING;
        }
        e->in_sync = primary;
        e->stale = false;
    }
    s->term++;
}

void map_build_no_primary(struct map_shard *s)
{
    s->primary = NODE_NONE;
    s->term++;
}

void map_build_set_in_sync(struct map_shard *s, int node, bool in_sync)
{
    struct map_member *e = member(s, node);
    INVARIANT(in_sync || s->primary != node);
    e->state = in_sync ? REPLICA_ACTIVE : REPLICA_SYNCING;
    e->in_sync = in_sync;
    e->stale = false;
    s->term++;
}

void map_build_set_stale(struct map_shard *s, int node)
{
    struct map_member *e = member(s, node);
    INVARIANT(e->in_sync);
    INVARIANT(s->primary != node);
    e->state = REPLICA_FAILED;
    e->stale = true;
    s->term++;
}
