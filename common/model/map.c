// SPDX-License-Identifier: BSD-3-Clause
#include "common/model/map.h"

#include "common/base/mem.h"
#include "common/model/map_priv.h"

struct map *map_ref(struct map *m)
{
    CHECK_OBJ(m, MAP_MAGIC);
    (void)__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void map_unref(struct map **mp)
{
    struct map *m = *mp;
    if (m == NULL) {
        return;
    }
    CHECK_OBJ(m, MAP_MAGIC);
    *mp = NULL;
    uint32_t left = __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL);
    INVARIANT(left != UINT32_MAX);
    if (left > 0) {
        return;
    }
    m->magic = 0;
    mem_free(m->nodes);
    mem_free(m->shards);
    mem_free(m);
}

int map_node_by_id(const struct map *m, const char *id)
{
    for (int i = 0; i < m->n_nodes; i++) {
        if (strcmp(m->nodes[i].id, id) == 0) {
            return i;
        }
    }
    return NODE_NONE;
}

int map_shard_member(const struct map_shard *s, int node)
{
    for (int i = 0; i < s->n_members; i++) {
        if (s->members[i].node == node) {
            return i;
        }
    }
    return -1;
}

bool map_shard_has_primary(const struct map_shard *s)
{
    int at = s->primary == NODE_NONE ? -1 : map_shard_member(s, s->primary);
    return at >= 0 && s->members[at].in_sync && !s->members[at].stale;
}

int map_shard_in_sync(const struct map_shard *s)
{
    int n = 0;
    for (int i = 0; i < s->n_members; i++) {
        n += s->members[i].in_sync;
    }
    return n;
}

int map_shard_home(const struct map_shard *s)
{
    if (s->primary != NODE_NONE) {
        return s->primary;
    }
    for (int i = 0; i < s->n_members; i++) {
        if (s->members[i].in_sync) {
            return s->members[i].node;
        }
    }
    return NODE_NONE;
}

bool map_node_holds(const struct map *m, int node, int shard)
{
    INVARIANT(shard >= 0);
    INVARIANT(shard < m->n_shards);
    return map_shard_member(&m->shards[shard], node) >= 0;
}

int map_node_primaries(const struct map *m, int node)
{
    int n = 0;
    for (int i = 0; i < m->n_shards; i++) {
        n += m->shards[i].primary == node;
    }
    return n;
}

int map_node_replicas(const struct map *m, int node)
{
    int n = 0;
    for (int i = 0; i < m->n_shards; i++) {
        n += m->shards[i].primary != node && map_shard_member(&m->shards[i], node) >= 0;
    }
    return n;
}

const char *node_state_name(enum node_state s)
{
    static const char *const names[] = {"healthy", "unhealthy", "dead", "draining", "left"};
    INVARIANT((size_t)s < ARRAY_LEN(names));
    return names[s];
}

const char *replica_state_name(enum replica_state s)
{
    static const char *const names[] = {"syncing", "active", "failed"};
    INVARIANT((size_t)s < ARRAY_LEN(names));
    return names[s];
}
