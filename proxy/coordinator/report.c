// SPDX-License-Identifier: BSD-3-Clause
/* What primaries ask to be recorded, and what they tell of their replicas. A request counts only
 * from the shard's present primary and under the term that it names: whatever crossed it on the way
 * wins, and the map that tells so is on its way to the asker. */
#include "proxy/coordinator/coordinator_priv.h"
#include "proxy/coordinator/plant.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdlib.h>

/* Something had overtaken it: the map tells the asker, who asks again if it still matters. */
static void refuse(struct coordinator *c, const struct wire_change *k)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[k->shard];
    c->measures.refused++;
    log_event(
        LOG_VERBOSE, AREA,
        "request overtaken what=%s shard=%d node=%s its-term=%llu term=%llu primary-term=%llu",
        wire_op_name(k->op), k->shard, k->node, (unsigned long long)k->term,
        (unsigned long long)s->term, (unsigned long long)s->primary_term);
}

static void add(struct coordinator *c, const struct wire_change *k, int node)
{
    const struct map *m = coordinator_latest(c);
    const struct map_shard *s = &m->shards[k->shard];
    int at = map_shard_member(s, node);
    if ((k->term != s->term && !COORD_PLANTED(REPORT_TERM)) || at < 0 || s->members[at].in_sync ||
        !map_shard_has_primary(s) || !failover_there(c, node)) {
        refuse(c, k);
        return;
    }
    map_build_set_in_sync(&coordinator_edit(c)->shards[k->shard], node, true);
    c->measures.added++;
    c->copied += c->news[k->shard].bytes;
    c->news[k->shard].in_sync_changes++;
    log_event(LOG_VERBOSE, AREA, "replica is in sync shard=%d node=%s term=%llu", k->shard, k->node,
              (unsigned long long)coordinator_latest(c)->shards[k->shard].term);
}

static void remove_from(struct coordinator *c, const struct wire_change *k, int node)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[k->shard];
    int at = map_shard_member(s, node);
    if ((k->term != s->term && !COORD_PLANTED(REPORT_TERM)) || at < 0 || s->primary == node ||
        !map_shard_has_primary(s)) {
        refuse(c, k);
        return;
    }
    if (!s->members[at].in_sync) {
        /* Its primary gives up adding it: in a new term no such request is granted any more. */
        coordinator_edit(c)->shards[k->shard].term++;
        return;
    }
    map_build_set_in_sync(&coordinator_edit(c)->shards[k->shard], node, false);
    c->measures.removed++;
    c->news[k->shard].in_sync_changes++;
    log_event(LOG_VERBOSE, AREA, "replica is out of sync shard=%d node=%s term=%llu", k->shard,
              k->node, (unsigned long long)coordinator_latest(c)->shards[k->shard].term);
}

/* The former primary, where it is not to keep a copy, leaves the in-sync set in the same record: it
 * serves nothing any more, and the new one has all that it had. */
static void handed(struct coordinator *c, const struct wire_change *k, int node)
{
    const struct map *m = coordinator_latest(c);
    const struct map_shard *s = &m->shards[k->shard];
    int at = map_shard_member(s, node);
    bool whole = at >= 0 && s->members[at].in_sync && !s->members[at].stale;
    if (k->term != s->primary_term || at < 0 || s->primary == node || !map_shard_has_primary(s) ||
        !(whole || COORD_PLANTED(HANDED_STALE)) || m->nodes[node].state == NODE_DEAD) {
        refuse(c, k);
        return;
    }
    int from = s->primary;
    struct map_shard *to = &coordinator_edit(c)->shards[k->shard];
    map_build_set_primary(to, node);
    if (rebalance_may_lose(c, k->shard, from)) {
        map_build_set_in_sync(to, from, false);
    }
    c->handed++;
    log_event(LOG_VERBOSE, AREA, "shard handed over shard=%d from=%s to=%s term=%llu", k->shard,
              coordinator_latest(c)->nodes[from].id, k->node, (unsigned long long)to->term);
}

static void serving(struct coordinator *c, int64_t now_ms, const struct wire_change *k)
{
    struct shard_news *news = &c->news[k->shard];
    if (k->term != coordinator_latest(c)->shards[k->shard].primary_term || news->lost_ms == 0) {
        return;
    }
    int64_t took_ms = MAX(now_ms - news->lost_ms, 0);
    news->lost_ms = 0;
    c->measures.failover_last_ms = took_ms;
    c->measures.failover_max_ms = MAX(c->measures.failover_max_ms, took_ms);
    log_event(LOG_VERBOSE, AREA, "failover is done shard=%d node=%s ms=%lld", k->shard, k->node,
              (long long)took_ms);
}

static void hollow(struct coordinator *c, int64_t now_ms, const struct wire_change *k, int self)
{
    if (k->term != coordinator_latest(c)->shards[k->shard].primary_term) {
        refuse(c, k);
        return;
    }
    failover_hollow(c, now_ms, k->shard, self);
}

static void whole(struct coordinator *c, const struct wire_change *k)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[k->shard];
    if (k->term != s->primary_term || map_shard_has_primary(s)) {
        refuse(c, k);
        return;
    }
    int in_sync = map_shard_in_sync(s);
    map_build_trust_primary(&coordinator_edit(c)->shards[k->shard]);
    if (in_sync > 1) {
        c->measures.removed += (uint64_t)in_sync - 1;
        c->news[k->shard].in_sync_changes += (uint32_t)in_sync - 1;
    }
}

void report_take(struct coordinator *c, int64_t now_ms, const struct peer *p,
                 const struct wire_changes *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_change *k = &l->items[i];
        const struct map *m = coordinator_latest(c);
        int self = map_node_by_id(m, p->id);
        int node = map_node_by_id(m, k->node);
        if (k->shard >= m->n_shards || self == NODE_NONE || node == NODE_NONE ||
            m->shards[k->shard].primary != self || m->nodes[self].incarnation != p->incarnation) {
            c->measures.refused++;
            continue;
        }
        switch (k->op) {
        case WIRE_ADD:
            add(c, k, node);
            break;
        case WIRE_REMOVE:
            remove_from(c, k, node);
            break;
        case WIRE_HANDED:
            handed(c, k, node);
            break;
        case WIRE_SERVING:
            serving(c, now_ms, k);
            break;
        case WIRE_HOLLOW:
            hollow(c, now_ms, k, self);
            break;
        case WIRE_WHOLE:
            whole(c, k);
            break;
        case WIRE_HANDOVER:
        case WIRE_DROP:
            break; /* those are ours to give */
        }
    }
    c->plan_dirty = true;
}

/* ---- progress ---- */

static int by_shard_and_node(const void *a, const void *b)
{
    const struct wire_copy *x = a;
    const struct wire_copy *y = b;
    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return strcmp(x->node, y->node);
}

const struct wire_copy *report_copy(const struct coordinator *c, int shard, int node)
{
    const struct map *m = coordinator_latest(c);
    int primary = m->shards[shard].primary;
    const struct peer *p =
        primary == NODE_NONE ? NULL : registry_find(&c->registry, m->nodes[primary].id);
    if (p == NULL || p->copies.count == 0) {
        return NULL;
    }
    struct wire_copy key = {.shard = shard};
    memcpy(key.node, m->nodes[node].id, sizeof(key.node));
    return bsearch(&key, p->copies.items, p->copies.count, sizeof(key), by_shard_and_node);
}

void report_progress(struct coordinator *c, int64_t now_ms, struct peer *p,
                     const struct wire_copies *l)
{
    const struct map *m = coordinator_latest(c);
    struct wire_copies sorted = {0};
    for (size_t i = 0; i < l->count; i++) {
        wire_copies_add(&sorted, &l->items[i]);
    }
    if (sorted.count > 0) {
        qsort(sorted.items, sorted.count, sizeof(*sorted.items), by_shard_and_node);
    }
    for (size_t i = 0; i < sorted.count && p->copies.count > 0; i++) {
        const struct wire_copy *is = &sorted.items[i];
        const struct wire_copy *was =
            bsearch(is, p->copies.items, p->copies.count, sizeof(*is), by_shard_and_node);
        if (is->shard < m->n_shards &&
            (was == NULL || was->done != is->done || was->lag_versions != is->lag_versions)) {
            c->moves[is->shard].progress_ms = now_ms;
        }
    }
    mem_free(p->copies.items);
    p->copies = sorted;
}
