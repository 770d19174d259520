// SPDX-License-Identifier: BSD-3-Clause
#include "common/model/map_priv.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char said[160];

static const char *say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(said, sizeof(said), fmt, ap);
    va_end(ap);
    return said;
}

static bool is_id(const char *id)
{
    for (int i = 0; i < NODE_ID_LEN; i++) {
        if (!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f'))) {
            return false;
        }
    }
    return id[NODE_ID_LEN] == '\0';
}

/* Printable without spaces: these end up in one-line replies that programs split at spaces. */
static bool is_word(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == ',') {
            return false;
        }
    }
    return len < size;
}

const char *map_node_check(const struct map_node *n)
{
    if (!is_id(n->id)) {
        return "bad id";
    }
    if (!is_word(n->host, sizeof(n->host)) || n->host[0] == '\0') {
        return "bad host";
    }
    if (!is_word(n->zone, sizeof(n->zone))) {
        return "bad zone";
    }
    if (n->port < 1 || n->port > 65535) {
        return "bad port";
    }
    return n->state > NODE_LEFT ? "bad state" : NULL;
}

static const char *check_node(const struct map *m, int i)
{
    const char *wrong = map_node_check(&m->nodes[i]);
    if (wrong != NULL) {
        return say("node %d: %s", i, wrong);
    }
    if (map_node_by_id(m, m->nodes[i].id) != i) {
        return say("node %d: id is there twice", i);
    }
    return NULL;
}

static const char *check_members(const struct map *m, int i)
{
    const struct map_shard *s = &m->shards[i];
    if (s->n_members < 0 || s->n_members > MEMBERS_MAX) {
        return say("shard %d: number of members", i);
    }
    for (int j = 0; j < s->n_members; j++) {
        const struct map_member *e = &s->members[j];
        if (e->node < 0 || e->node >= m->n_nodes) {
            return say("shard %d: member %d is no node", i, j);
        }
        if (map_shard_member(s, e->node) != j) {
            return say("shard %d: node %d is a member twice", i, e->node);
        }
        if (e->state > REPLICA_FAILED) {
            return say("shard %d: member %d: bad state", i, j);
        }
        if (e->since == 0 || e->since > s->term) {
            return say("shard %d: member %d: since a term that was not", i, j);
        }
        if (e->in_sync && e->state == REPLICA_SYNCING) {
            return say("shard %d: member %d is syncing and in sync", i, j);
        }
        if (e->stale && (!e->in_sync || e->state != REPLICA_FAILED)) {
            return say("shard %d: member %d is stale, but not in sync or not failed", i, j);
        }
    }
    return NULL;
}

static const char *check_shard(const struct map *m, int i)
{
    const struct map_shard *s = &m->shards[i];
    if (s->first_slot != map_first_slot(m->n_shards, i) ||
        s->last_slot != map_first_slot(m->n_shards, i + 1) - 1) {
        return say("shard %d: slots", i);
    }
    const char *wrong = check_members(m, i);
    if (wrong != NULL) {
        return wrong;
    }
    if (!m->assigned && s->n_members > 0) {
        return say("shard %d: members before the first assignment", i);
    }
    if (s->primary_term > s->term) {
        return say("shard %d: the primary's term is above the shard's", i);
    }
    if (s->primary != NODE_NONE) {
        int at = map_shard_member(s, s->primary);
        if (at < 0) {
            return say("shard %d: primary is no member", i);
        }
        if (map_shard_has_primary(s) && s->members[at].state != REPLICA_ACTIVE) {
            return say("shard %d: primary is not active", i);
        }
        if (m->nodes[s->primary].state == NODE_DEAD || m->nodes[s->primary].state == NODE_LEFT) {
            return say("shard %d: primary is dead", i);
        }
        if (s->primary_term == 0) {
            return say("shard %d: a primary without a term", i);
        }
    }
    return NULL;
}

const char *map_check(const struct map *m)
{
    if (m->n_shards < 1 || m->n_shards > SLOTS) {
        return say("number of shards");
    }
    if (m->n_nodes < 0 || m->n_nodes > NODES_MAX) {
        return say("number of nodes");
    }
    if (!is_id(m->cluster_id)) {
        return say("bad cluster id");
    }
    if (strnlen(m->why, sizeof(m->why)) == sizeof(m->why)) {
        return say("why is no text");
    }
    for (int i = 0; i < m->n_nodes; i++) {
        const char *wrong = check_node(m, i);
        if (wrong != NULL) {
            return wrong;
        }
    }
    for (int i = 0; i < m->n_shards; i++) {
        const char *wrong = check_shard(m, i);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static const char *id_at(const struct map *m, int node)
{
    return node == NODE_NONE ? "" : m->nodes[node].id;
}

/* The same node's entry in another map's shard, or NULL. */
static const struct map_member *member_in(const struct map *m, const struct map_shard *s,
                                          const char *id)
{
    for (int i = 0; i < s->n_members; i++) {
        if (strcmp(m->nodes[s->members[i].node].id, id) == 0) {
            return &s->members[i];
        }
    }
    return NULL;
}

/* Whether both have the same members, in sync, stale and since alike; indexes may differ between
 * maps. */
static bool same_copies(const struct map *a, const struct map_shard *sa, const struct map *b,
                        const struct map_shard *sb)
{
    if (sa->n_members != sb->n_members) {
        return false;
    }
    for (int i = 0; i < sa->n_members; i++) {
        const struct map_member *was = &sa->members[i];
        const struct map_member *is = member_in(b, sb, a->nodes[was->node].id);
        if (is == NULL || is->in_sync != was->in_sync || is->stale != was->stale ||
            is->since != was->since) {
            return false;
        }
    }
    return true;
}

/* Members stay, or come. */
static const char *check_next_members(const struct map *old, const struct map *next, int i)
{
    const struct map_shard *a = &old->shards[i];
    const struct map_shard *b = &next->shards[i];
    for (int j = 0; j < b->n_members; j++) {
        const struct map_member *is = &b->members[j];
        const struct map_member *was = member_in(old, a, next->nodes[is->node].id);
        if (is->since <= a->term && (was == NULL || was->since != is->since)) {
            return say("shard %d: member %d is new, but since an old term", i, j);
        }
    }
    return NULL;
}

static const char *check_next_shard(const struct map *old, const struct map *next, int i)
{
    const struct map_shard *a = &old->shards[i];
    const struct map_shard *b = &next->shards[i];
    if (b->term < a->term || b->primary_term < a->primary_term) {
        return say("shard %d: the term shrinks", i);
    }
    bool same_primary = strcmp(id_at(old, a->primary), id_at(next, b->primary)) == 0;
    if (b->term == a->term && (!same_primary || !same_copies(old, a, next, b))) {
        return say("shard %d: primary, in-sync set or members changed within a term", i);
    }
    const char *wrong = check_next_members(old, next, i);
    if (wrong != NULL || b->primary == NODE_NONE || b->primary_term > a->primary_term) {
        return wrong;
    }
    if (!same_primary) {
        return say("shard %d: another primary within a primary term", i);
    }
    if (old->nodes[a->primary].incarnation != next->nodes[b->primary].incarnation) {
        return say("shard %d: a restarted primary within a primary term", i);
    }
    return NULL;
}

const char *map_check_next(const struct map *old, const struct map *next)
{
    const char *wrong = map_check(next);
    if (wrong != NULL) {
        return wrong;
    }
    if (next->epoch <= old->epoch) {
        return say("the epoch does not grow");
    }
    if (strcmp(next->cluster_id, old->cluster_id) != 0 || next->n_shards != old->n_shards) {
        return say("another cluster");
    }
    if (old->assigned && !next->assigned) {
        return say("the assignment is gone");
    }
    for (int i = 0; i < next->n_shards; i++) {
        wrong = check_next_shard(old, next, i);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}
