// SPDX-License-Identifier: BSD-3-Clause
/* Who becomes primary when one is lost, and which copies still count: docs/REPLICATION.md, section
 * 8. Everything that one event changes is one record, however many shards it concerns.
 *
 * Why each step is safe: a primary comes from the living members of the recorded in-sync set whose
 * data is not in doubt, and they all have every acknowledged write. Taking others out of the set,
 * here or for a primary that lives, never gives it less than what that primary counts. */
#include "proxy/coordinator/coordinator_priv.h"
#include "proxy/coordinator/plant.h"

#include "common/base/log.h"
#include "common/base/mem.h"

/* The elections that one event makes necessary. */
struct election {
    struct coordinator *c;
    int64_t now_ms;
    int *primaries; /* by node: what each has, for an even spread */
    int elected;
    int risky; /* of these, by whole sets that restarted */
    int waiting;
    int hollow; /* has nothing of the shard; or NODE_NONE */
};

static void begin(struct election *e, struct coordinator *c, int64_t now_ms)
{
    const struct map *m = coordinator_latest(c);
    *e = (struct election){.c = c, .now_ms = now_ms, .hollow = NODE_NONE};
    e->primaries = mem_zalloc(sizeof(int) * (size_t)MAX(m->n_nodes, 1));
    for (int i = 0; i < m->n_shards; i++) {
        if (m->shards[i].primary != NODE_NONE) {
            e->primaries[m->shards[i].primary]++;
        }
    }
}

static void end(struct election *e)
{
    struct coordinator *c = e->c;
    if (e->elected > 0 || e->waiting > 0) {
        c->replan = true;
    }
    if (e->risky > 0) {
        log_event(LOG_WARNING, AREA,
                  "every node in sync restarted: the best copy serves, and may lack what had not "
                  "reached its disk shards=%d epoch=%llu",
                  e->risky, (unsigned long long)coordinator_latest(c)->epoch);
    }
    mem_free(e->primaries);
}

bool failover_there(const struct coordinator *c, int node)
{
    const struct map_node *n = &coordinator_latest(c)->nodes[node];
    const struct peer *p = registry_find(&c->registry, n->id);
    return n->state != NODE_DEAD && n->state != NODE_LEFT && p != NULL && p->link != 0 &&
           !p->refused && p->incarnation == n->incarnation;
}

/* ---- choosing ---- */

/* Any of those whose data is not in doubt will do: what one is ahead of another is not
 * acknowledged, and is pulled. So the work of the lost one is spread. */
static int best_in_sync(const struct election *e, const struct map_shard *s)
{
    const struct map *m = coordinator_latest(e->c);
    int best = NODE_NONE;
    for (int j = 0; j < s->n_members; j++) {
        int node = s->members[j].node;
        bool counts = s->members[j].in_sync && !s->members[j].stale;
        if ((!counts && !COORD_PLANTED(PROMOTE_ANY)) || !failover_there(e->c, node)) {
            continue;
        }
        if (best == NODE_NONE || m->nodes[node].draining < m->nodes[best].draining ||
            (m->nodes[node].draining == m->nodes[best].draining &&
             e->primaries[node] < e->primaries[best])) {
            best = node;
        }
    }
    return best;
}

static void where_it_is(const struct election *e, int shard, int node, uint64_t *term,
                        uint64_t *version)
{
    const struct peer *p = registry_find(&e->c->registry, coordinator_latest(e->c)->nodes[node].id);
    const struct wire_shard *held = p == NULL ? NULL : wire_shards_find(&p->held, shard);
    *term = held == NULL ? 0 : held->term;
    *version = held == NULL ? 0 : held->version;
}

/* Of all members that are there, in sync or not, the one whose log goes furthest. */
static int best_data(const struct election *e, int shard)
{
    const struct map_shard *s = &coordinator_latest(e->c)->shards[shard];
    int best = NODE_NONE;
    uint64_t best_term = 0;
    uint64_t best_version = 0;
    for (int j = 0; j < s->n_members; j++) {
        int node = s->members[j].node;
        if (!failover_there(e->c, node)) {
            continue;
        }
        uint64_t term;
        uint64_t version;
        where_it_is(e, shard, node, &term, &version);
        bool further = term > best_term || (term == best_term && version > best_version);
        bool same = term == best_term && version == best_version;
        int at = best == NODE_NONE ? -1 : map_shard_member(s, best);
        if (best == NODE_NONE || further ||
            (same && s->members[j].in_sync && !s->members[at].in_sync)) {
            best = node;
            best_term = term;
            best_version = version;
        }
    }
    return best;
}

/* Every member of the in-sync set restarted, and all of them are back. */
static bool whole_set_is_back(const struct election *e, const struct map_shard *s)
{
    int n = 0;
    for (int j = 0; j < s->n_members; j++) {
        if (s->members[j].in_sync) {
            if (!s->members[j].stale || !failover_there(e->c, s->members[j].node)) {
                return false;
            }
            n++;
        }
    }
    return n > 0;
}

/* ---- deciding ---- */

/* Makes the node primary. `alone`: whatever the others have does not count; else those leave the
 * in-sync set whose data is in doubt. Those that are dead stay in it until the new primary asks
 * them out: by that it shows that it lives. Were it dead too, and silent as yet, theirs might be
 * the only data left. */
static void crown(struct election *e, int shard, int node, bool alone)
{
    struct map *m = coordinator_edit(e->c);
    struct map_shard *s = &m->shards[shard];
    for (int j = 0; j < s->n_members; j++) {
        const struct map_member *k = &s->members[j];
        if (k->node != node && k->in_sync && (alone || k->stale)) {
            map_build_set_in_sync(s, k->node, false);
            e->c->measures.removed++;
            e->c->news[shard].in_sync_changes++;
        }
    }
    map_build_set_primary(s, node);
    e->primaries[node]++;
    e->elected++;
    e->c->measures.failovers++;
}

/* Nobody is left of whom it is known that it has everything: who seems to have most is asked. The
 * in-sync set stays as it is until that one has said that it is so (WHOLE): it may have dropped all
 * meanwhile, or go before it can answer. */
static void guess(struct election *e, int shard, int node)
{
    map_build_guess_primary(&coordinator_edit(e->c)->shards[shard], node);
    e->primaries[node]++;
    e->elected++;
    e->risky++;
    e->c->measures.failovers++;
}

/* A primary for a shard that has none, if there can be one now. */
static bool elect(struct election *e, int shard)
{
    const struct map_shard *s = &coordinator_latest(e->c)->shards[shard];
    INVARIANT(s->primary == NODE_NONE);
    int node = best_in_sync(e, s);
    if (node != NODE_NONE) {
        crown(e, shard, node, false);
        return true;
    }
    node = whole_set_is_back(e, s) ? best_data(e, shard) : NODE_NONE;
    if (node != NODE_NONE && node != e->hollow) {
        guess(e, shard, node);
        return true;
    }
    e->waiting++;
    return false;
}

/* The primary is one no more. From when on it was missed: the first sign of it. */
static void depose(struct election *e, int shard)
{
    struct coordinator *c = e->c;
    struct map_shard *s = &coordinator_edit(c)->shards[shard];
    const char *id = coordinator_latest(c)->nodes[s->primary].id;
    const struct peer *p = registry_find(&c->registry, id);
    if (c->news[shard].lost_ms == 0) {
        c->news[shard].lost_ms = p != NULL && p->suspect_ms > 0 ? p->suspect_ms : e->now_ms;
    }
    map_build_no_primary(s);
}

static void leave_in_sync(struct coordinator *c, int shard, int node)
{
    map_build_set_in_sync(&coordinator_edit(c)->shards[shard], node, false);
    c->measures.removed++;
    c->news[shard].in_sync_changes++;
}

/* ---- events ---- */

void failover_dead(struct coordinator *c, int64_t now_ms, int node)
{
    struct election e;
    begin(&e, c, now_ms);
    int lost = 0;
    const struct peer *p = registry_find(&c->registry, coordinator_latest(c)->nodes[node].id);
    bool refused = p != NULL && p->refused;
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        const struct map_shard *s = &coordinator_latest(c)->shards[i];
        int at = map_shard_member(s, node);
        bool was_primary = s->primary == node;
        if (at < 0 || (!s->members[at].in_sync && !was_primary)) {
            continue;
        }
        if (s->primary != NODE_NONE && !was_primary && failover_there(c, s->primary)) {
            if (refused && map_shard_has_primary(s)) {
                leave_in_sync(c, i, node); /* the primary need not ask for it */
            } else {
                /* Only silent to us. If it is silent to its primary too, that asks it out, and
                 * shows that it lives itself: were it dead as well, this might be the last copy. */
                coordinator_edit(c)->shards[i].members[at].state = REPLICA_FAILED;
            }
            continue;
        }
        if (was_primary) {
            depose(&e, i);
            lost++;
        }
        if (coordinator_latest(c)->shards[i].members[at].in_sync) {
            coordinator_edit(c)->shards[i].members[at].state = REPLICA_FAILED;
        }
        if (was_primary) {
            (void)elect(&e, i);
        }
    }
    if (lost > 0) {
        log_event(LOG_WARNING, AREA, "failover node=%s shards=%d elected=%d waiting=%d epoch=%llu",
                  coordinator_latest(c)->nodes[node].id, lost, e.elected, e.waiting,
                  (unsigned long long)coordinator_latest(c)->epoch);
    }
    end(&e);
}

/* One that is there: of one that is not nobody knows whether it will come back with less. */
static bool another_in_sync(const struct coordinator *c, const struct map_shard *s, int node)
{
    for (int j = 0; j < s->n_members; j++) {
        const struct map_member *k = &s->members[j];
        if (k->node != node && k->in_sync && !k->stale && failover_there(c, k->node)) {
            return true;
        }
    }
    return false;
}

/* One shard of a node that is a new process. */
static void restart_member(struct election *e, int shard, int node, bool durable)
{
    struct coordinator *c = e->c;
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    int at = map_shard_member(s, node);
    if (s->primary == node) {
        depose(e, shard);
        s = &coordinator_latest(c)->shards[shard];
    }
    if (!s->members[at].in_sync) {
        /* What its former process had acknowledged may be on its way to us as a request for ADD:
         * in a new term that counts for nothing. */
        coordinator_edit(c)->shards[shard].term++;
        return;
    }
    if (durable && !s->members[at].stale) {
        coordinator_edit(c)->shards[shard].term++;
        coordinator_edit(c)->shards[shard].members[at].state = REPLICA_ACTIVE;
        return; /* it has all that it ever acknowledged */
    }
    if (another_in_sync(c, s, node)) {
        leave_in_sync(c, shard, node);
    } else if (!s->members[at].stale) {
        map_build_set_stale(&coordinator_edit(c)->shards[shard], node);
    } else {
        coordinator_edit(c)->shards[shard].term++;
    }
}

/* A primary that lost nothing, but waits out its lease first: another one that goes on at once is
 * better, and does not wait for it. */
static bool pass_to_another(struct election *e, int shard, int node)
{
    struct map_shard *s = &coordinator_edit(e->c)->shards[shard];
    if (!s->members[map_shard_member(s, node)].in_sync || !another_in_sync(e->c, s, node)) {
        return false;
    }
    leave_in_sync(e->c, shard, node);
    return elect(e, shard);
}

void failover_restarted(struct coordinator *c, int64_t now_ms, int node, bool durable)
{
    struct election e;
    begin(&e, c, now_ms);
    int lost = 0;
    durable |= COORD_PLANTED(TRUST_RESTART);
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        const struct map_shard *s = &coordinator_latest(c)->shards[i];
        if (map_shard_member(s, node) < 0) {
            continue;
        }
        bool was_primary = s->primary == node;
        restart_member(&e, i, node, durable);
        lost += was_primary;
        if (coordinator_latest(c)->shards[i].primary == NODE_NONE &&
            !pass_to_another(&e, i, node)) {
            (void)elect(&e, i);
        }
    }
    if (lost > 0 || e.elected > 0) {
        log_event(LOG_NOTICE, AREA,
                  "node restarted node=%s durable=%s was-primary=%d elected=%d waiting=%d "
                  "epoch=%llu",
                  coordinator_latest(c)->nodes[node].id, durable ? "yes" : "no", lost, e.elected,
                  e.waiting, (unsigned long long)coordinator_latest(c)->epoch);
    }
    end(&e);
}

/* Members that restarted while their primary was not there, and so stayed in the set. */
static void let_stale_go(struct coordinator *c, int shard)
{
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    for (int j = 0; j < s->n_members; j++) {
        if (s->members[j].in_sync && s->members[j].stale) {
            leave_in_sync(c, shard, s->members[j].node);
            s = &coordinator_latest(c)->shards[shard];
        }
    }
}

void failover_back(struct coordinator *c, int64_t now_ms, int node)
{
    struct election e;
    begin(&e, c, now_ms);
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        const struct map_shard *s = &coordinator_latest(c)->shards[i];
        int at = map_shard_member(s, node);
        if (at < 0) {
            continue;
        }
        if (s->members[at].in_sync && !s->members[at].stale &&
            s->members[at].state == REPLICA_FAILED) {
            coordinator_edit(c)->shards[i].members[at].state = REPLICA_ACTIVE;
        }
        if (s->primary == node && map_shard_has_primary(s)) {
            let_stale_go(c, i);
        } else if (s->primary == NODE_NONE && map_shard_home(s) != NODE_NONE) {
            (void)elect(&e, i);
        }
    }
    if (e.elected > 0) {
        log_event(LOG_NOTICE, AREA, "shards served again node=%s shards=%d epoch=%llu",
                  coordinator_latest(c)->nodes[node].id, e.elected,
                  (unsigned long long)coordinator_latest(c)->epoch);
    }
    end(&e);
}

void failover_hollow(struct coordinator *c, int64_t now_ms, int shard, int node)
{
    struct election e;
    begin(&e, c, now_ms);
    e.hollow = node;
    struct peer *p = registry_find(&c->registry, coordinator_latest(c)->nodes[node].id);
    for (size_t i = 0; p != NULL && i < p->held.count; i++) {
        struct wire_shard *held = &p->held.items[i];
        if (held->shard == shard) {
            held->term = held->version = 0;
        }
    }
    depose(&e, shard);
    const struct map_shard *s = &coordinator_latest(c)->shards[shard];
    int at = map_shard_member(s, node);
    if (s->members[at].in_sync && another_in_sync(c, s, node)) {
        leave_in_sync(c, shard, node);
    } else if (s->members[at].in_sync && !s->members[at].stale) {
        map_build_set_stale(&coordinator_edit(c)->shards[shard], node);
    }
    bool elected = elect(&e, shard);
    log_event(LOG_WARNING, AREA,
              "a primary had dropped its copy for another one, which it did not get whole shard=%d "
              "node=%s elected=%s",
              shard, coordinator_latest(c)->nodes[node].id, elected ? "yes" : "no");
    end(&e);
}

struct takeover failover_takeover(struct coordinator *c, int64_t now_ms, int node)
{
    struct takeover t = {0};
    struct election e;
    begin(&e, c, now_ms);
    for (int i = 0; i < coordinator_latest(c)->n_shards; i++) {
        const struct map_shard *s = &coordinator_latest(c)->shards[i];
        int at = map_shard_member(s, node);
        if (s->primary != NODE_NONE || at < 0 || !s->members[at].in_sync) {
            continue;
        }
        t.shards++;
        map_build_drop_member(&coordinator_edit(c)->shards[i], node);
        s = &coordinator_latest(c)->shards[i];
        if (map_shard_in_sync(s) > 0) {
            t.served += elect(&e, i);
            continue;
        }
        int best = best_data(&e, i);
        uint64_t term = 0;
        uint64_t version = 0;
        if (best != NODE_NONE) {
            where_it_is(&e, i, best, &term, &version);
        }
        if (best != NODE_NONE && (term > 0 || version > 0)) {
            crown(&e, i, best, true);
            t.served++;
        } else {
            t.empty++; /* nobody has anything: it is placed anew */
        }
    }
    end(&e);
    c->replan = true;
    return t;
}
