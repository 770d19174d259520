// SPDX-License-Identifier: BSD-3-Clause
/* Nodes come, fall silent, die, return and leave. */
#include "proxy/coordinator/coordinator_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/wire/version.h"

#include <stdio.h>

#define PROBE_AGAIN_MS      250     /* while a node's link is down */
#define EPOCHS_BACK_MAX     1000000 /* by which a restored store may be behind */
#define TERMS_PER_EPOCH_MAX 64      /* more than one map makes a shard's term grow */

static void refuse(struct coordinator *c, uint64_t link, const char *who, const char *reason)
{
    log_event(LOG_WARNING, AREA, "registration refused node=%s reason=\"%s\"", who, reason);
    struct wire_message m = {.kind = WIRE_REFUSED};
    (void)snprintf(m.refused.reason, sizeof(m.refused.reason), "%s", reason);
    c->env.send(c->env.arg, link, &m);
    c->env.close(c->env.arg, link);
}

static enum node_state living_state(const struct map_node *n)
{
    return n->draining ? NODE_DRAINING : NODE_HEALTHY;
}

/* ---- registration ---- */

static bool fill_node(const struct wire_registration *r, const char *peer_ip, struct map_node *n)
{
    *n = (struct map_node){.port = (int)MIN(r->port, (uint64_t)INT32_MAX),
                           .weight = (uint32_t)MIN(r->weight, (uint64_t)UINT32_MAX),
                           .incarnation = r->incarnation,
                           .state = NODE_HEALTHY};
    memcpy(n->id, r->id, sizeof(n->id));
    memcpy(n->zone, r->zone, sizeof(n->zone));
    (void)snprintf(n->host, sizeof(n->host), "%s", r->host[0] != '\0' ? r->host : peer_ip);
    return map_node_check(n) == NULL && r->incarnation != 0;
}

static bool same_address(const struct map_node *a, const struct map_node *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static bool is_alive(const struct coordinator *c, const struct peer *p, int64_t now_ms)
{
    struct detector_settings s = coordinator_detection(c);
    return p != NULL && p->link != 0 && detector_state(&p->detector, &s, now_ms) == NODE_HEALTHY;
}

/* Another process with this id, or another id at this address, that lives: NULL if there is none.
 */
static const char *conflict(const struct coordinator *c, int64_t now_ms, uint64_t link,
                            const struct map_node *n)
{
    const struct map *m = coordinator_latest(c);
    for (int i = 0; i < m->n_nodes; i++) {
        const struct map_node *other = &m->nodes[i];
        const struct peer *p = registry_find(&c->registry, other->id);
        if (!is_alive(c, p, now_ms) || p->link == link) {
            continue;
        }
        bool same_id = strcmp(other->id, n->id) == 0;
        if (same_id && other->incarnation != n->incarnation && !same_address(other, n)) {
            return "another node with this id is running: each needs a data directory of its own";
        }
        if (!same_id && same_address(other, n)) {
            return "another node is registered with this address";
        }
    }
    return NULL;
}

/* In a time that tells nothing of how much of it is right. */
static bool same_secret(const char *ours, struct slice theirs)
{
    size_t len = strlen(ours);
    unsigned differs = len != theirs.len;
    for (size_t i = 0; i < theirs.len; i++) {
        differs |= (unsigned char)(theirs.ptr[i] ^ ours[len == 0 ? 0 : i % len]);
    }
    return differs == 0;
}

/* A term that no history of ours leads to: counting on from it could pass the end of numbers. */
static bool impossible_term(const struct map *m, const struct wire_shards *held)
{
    for (size_t i = 0; i < held->count; i++) {
        const struct wire_shard *h = &held->items[i];
        if (h->shard >= 0 && h->shard < m->n_shards &&
            h->term > m->shards[h->shard].term + (uint64_t)EPOCHS_BACK_MAX * TERMS_PER_EPOCH_MAX) {
            return true;
        }
    }
    return false;
}

static const char *why_refused(const struct coordinator *c, int64_t now_ms, uint64_t link,
                               const char *peer_ip, const struct wire_registration *r,
                               struct map_node *n)
{
    if (r->wire_version != WIRE_VERSION) {
        return "the node speaks another version of the node protocol";
    }
    if (c->password[0] != '\0' && !same_secret(c->password, r->password)) {
        return "wrong password: the node's requirepass must be the cluster's";
    }
    if (!fill_node(r, peer_ip, n)) {
        return "bad id, incarnation, address or zone";
    }
    if (r->cluster_id[0] != '\0' && strcmp(r->cluster_id, coordinator_latest(c)->cluster_id) != 0) {
        return "the node holds data of another cluster: restart it to join this one";
    }
    if (map_node_by_id(coordinator_latest(c), r->id) == NODE_NONE &&
        coordinator_latest(c)->n_nodes >= NODES_MAX) {
        return "the cluster has as many nodes as it can have";
    }
    if (r->cluster_id[0] != '\0' && r->epoch > coordinator_latest(c)->epoch + EPOCHS_BACK_MAX) {
        return "the node has a map of an impossible epoch";
    }
    if (impossible_term(coordinator_latest(c), &r->held)) {
        return "the node holds a shard of an impossible term";
    }
    return conflict(c, now_ms, link, n);
}

/* The node has a newer map than ours: our store is an old copy. We go on from there, so that what
 * we decide counts for everybody; what was decided in between and is not in the store is lost, the
 * in-sync sets too. */
static void catch_up(struct coordinator *c, const struct wire_registration *r)
{
    uint64_t ours = coordinator_latest(c)->epoch;
    if (r->cluster_id[0] == '\0' || r->epoch <= ours) {
        return;
    }
    struct map *m = coordinator_edit(c);
    log_event(LOG_WARNING, AREA,
              "the store is older than the cluster, acknowledged writes may be lost node=%s "
              "epoch=%llu ours=%llu",
              r->id, (unsigned long long)r->epoch, (unsigned long long)ours);
    m->epoch = r->epoch + 1;
    for (int i = 0; i < m->n_shards; i++) {
        struct map_shard *s = &m->shards[i];
        const struct wire_shard *held = wire_shards_find(&r->held, i);
        s->term += (r->epoch - ours) * TERMS_PER_EPOCH_MAX;
        s->term = held == NULL ? s->term : MAX(s->term, held->term);
        if (s->primary != NODE_NONE) {
            map_build_set_primary(s, s->primary);
        }
    }
}

/* A process that died and was started anew with another id at the same address. */
static void bury_predecessors(struct coordinator *c, int64_t now_ms, const struct map_node *n)
{
    const struct map *m = coordinator_latest(c);
    for (int i = 0; i < m->n_nodes; i++) {
        if (strcmp(m->nodes[i].id, n->id) != 0 && same_address(&m->nodes[i], n) &&
            m->nodes[i].state != NODE_DEAD) {
            membership_dead(c, now_ms, i, "another node has its address");
            m = coordinator_latest(c);
        }
    }
}

/* Nodes came or changed: shards move to them, if that is wanted. */
static void want_even(struct coordinator *c)
{
    if (coordinator_latest(c)->assigned && c->settings.rebalance_on_join) {
        rebalance_begin(c);
    }
    c->replan = true;
}

static void keep_held(struct peer *p, const struct wire_shards *held)
{
    mem_free(p->held.items);
    p->held = (struct wire_shards){0};
    for (size_t i = 0; i < held->count; i++) {
        wire_shards_add(&p->held, held->items[i]);
    }
}

static int add_node(struct coordinator *c, const struct map_node *n)
{
    int node = map_build_add_node(coordinator_edit(c), n);
    log_event(LOG_NOTICE, AREA, "node joined node=%s addr=%s:%d zone=%s weight=%u", n->id, n->host,
              n->port, n->zone[0] != '\0' ? n->zone : "-", n->weight);
    return node;
}

/* Takes over what the registration says; true: it is another process than before. */
static bool update_node(struct coordinator *c, int node, const struct map_node *n)
{
    const struct map_node *was = &coordinator_latest(c)->nodes[node];
    bool restarted = was->incarnation != n->incarnation;
    bool differs = restarted || !same_address(was, n) || strcmp(was->zone, n->zone) != 0 ||
                   was->weight != n->weight || was->state == NODE_DEAD ||
                   was->state == NODE_UNHEALTHY;
    if (restarted || was->weight != n->weight || strcmp(was->zone, n->zone) != 0 ||
        was->state == NODE_DEAD) {
        want_even(c);
    }
    if (differs) {
        struct map_node *to = &coordinator_edit(c)->nodes[node];
        bool draining = to->draining;
        *to = *n;
        to->draining = draining;
        to->state = living_state(to);
        log_event(LOG_NOTICE, AREA, "node returned node=%s addr=%s:%d restarted=%s", n->id, n->host,
                  n->port, restarted ? "yes" : "no");
    }
    return restarted;
}

void membership_register(struct coordinator *c, int64_t now_ms, uint64_t link, const char *peer_ip,
                         const struct wire_registration *r)
{
    struct map_node n;
    const char *reason = why_refused(c, now_ms, link, peer_ip, r, &n);
    struct peer *same_link = registry_by_link(&c->registry, link);
    if (reason == NULL && same_link != NULL && strcmp(same_link->id, r->id) != 0) {
        reason = "this connection has registered another id";
    }
    if (reason != NULL) {
        refuse(c, link, r->id, reason);
        if (same_link != NULL) {
            coordinator_link_down(c, now_ms, link); /* we closed it: nobody else tells */
        }
        return;
    }
    catch_up(c, r);
    bury_predecessors(c, now_ms, &n);
    struct peer *p = registry_add(&c->registry, r->id, now_ms);
    if (p->link != 0 && p->link != link) {
        c->env.close(c->env.arg, p->link);
    }
    p->link = link;
    p->welcomed = false;
    p->leaving = false;
    p->probe_stale = p->probing;
    p->refused = false;
    p->incarnation = r->incarnation;
    p->confirmed = 0;
    p->sent = 0;
    p->replaced = false;
    keep_held(p, &r->held);
    detector_heard(&p->detector, now_ms);
    int node = map_node_by_id(coordinator_latest(c), r->id);
    if (node == NODE_NONE) {
        (void)add_node(c, &n);
        want_even(c);
    } else if (update_node(c, node, &n)) {
        failover_restarted(c, now_ms, node, r->durable != 0);
    } else {
        failover_back(c, now_ms, node);
    }
    p->suspect_ms = 0;
    c->plan_dirty = true;
}

/* It is out of the map for good: tells it, if it is there to hear. */
static void say_goodbye(struct coordinator *c, struct peer *p)
{
    if (p->link != 0) {
        struct wire_message m = {.kind = WIRE_FORGOTTEN};
        memcpy(m.forgotten.cluster_id, c->published->cluster_id, sizeof(m.forgotten.cluster_id));
        c->env.send(c->env.arg, p->link, &m);
        c->env.close(c->env.arg, p->link);
    }
    registry_remove(&c->registry, p->id);
}

void membership_settings(struct coordinator *c, struct peer *p)
{
    if (c->kept_version == 0 || p->link == 0 || !p->welcomed) {
        return;
    }
    struct wire_message m = {.kind = WIRE_SETTINGS};
    m.settings.version = c->kept_version;
    m.settings.pairs = str_slice(&c->kept);
    c->env.send(c->env.arg, p->link, &m);
}

void membership_welcome(struct coordinator *c, int64_t now_ms)
{
    for (int i = c->registry.count - 1; i >= 0; i--) {
        struct peer *p = c->registry.peers[i];
        if (p->leaving && map_node_by_id(c->published, p->id) == NODE_NONE) {
            say_goodbye(c, p);
            continue;
        }
        int node = p->link == 0 || p->welcomed ? NODE_NONE : map_node_by_id(c->published, p->id);
        if (node == NODE_NONE || c->published->nodes[node].incarnation != p->incarnation) {
            continue;
        }
        struct wire_message m = {.kind = WIRE_WELCOME};
        memcpy(m.welcome.cluster_id, c->published->cluster_id, sizeof(m.welcome.cluster_id));
        m.welcome.heartbeat_interval_ms = (uint64_t)c->settings.heartbeat_interval_ms;
        m.welcome.epoch = c->published->epoch;
        m.welcome.sync = c->settings.sync;
        m.welcome.strong = c->settings.strong;
        m.welcome.min_in_sync = (uint64_t)c->settings.min_in_sync;
        m.welcome.lease_ms = (uint64_t)c->settings.lease_ms;
        m.welcome.rebalance_bandwidth = c->settings.rebalance_bandwidth;
        m.welcome.replication_factor = (uint64_t)c->settings.replication_factor;
        p->welcomed = true;
        c->plan_dirty = true; /* now it can take part in moves */
        c->env.send(c->env.arg, p->link, &m);
        membership_settings(c, p);
        coordinator_send_map(c, p, now_ms);
    }
}

/* ---- life and death ---- */

void membership_dead(struct coordinator *c, int64_t now_ms, int node, const char *why)
{
    struct map_node *n = &coordinator_edit(c)->nodes[node];
    struct peer *p = registry_add(&c->registry, n->id, now_ms);
    n->state = NODE_DEAD;
    p->dead_ms = now_ms;
    p->replaced = false;
    p->suspect_ms = p->suspect_ms == 0 ? now_ms : p->suspect_ms;
    c->replan = true;
    log_event(LOG_WARNING, AREA, "node is dead node=%s why=\"%s\" epoch=%llu", n->id, why,
              (unsigned long long)coordinator_latest(c)->epoch);
    failover_dead(c, now_ms, node);
}

void membership_revive(struct coordinator *c, int64_t now_ms, int node)
{
    struct map_node *n = &coordinator_edit(c)->nodes[node];
    bool was_dead = n->state == NODE_DEAD;
    n->state = living_state(n);
    log_event(LOG_NOTICE, AREA, "node is healthy again node=%s epoch=%llu", n->id,
              (unsigned long long)coordinator_latest(c)->epoch);
    if (was_dead) {
        failover_back(c, now_ms, node);
        want_even(c);
    }
    c->plan_dirty = true;
}

void membership_probe(struct coordinator *c, int64_t now_ms, struct peer *p)
{
    const struct map *m = coordinator_latest(c);
    int node = map_node_by_id(m, p->id);
    if (node == NODE_NONE || p->probing || (m->nodes[node].state == NODE_DEAD && !p->refused)) {
        return;
    }
    p->probing = true;
    p->probed_ms = now_ms;
    c->env.probe(c->env.arg, p->id, m->nodes[node].host, m->nodes[node].port);
}

/* The state that silence has brought the node to. */
static void follow_detector(struct coordinator *c, int64_t now_ms, struct peer *p, int node)
{
    struct detector_settings s = coordinator_detection(c);
    enum node_state now = coordinator_latest(c)->nodes[node].state;
    enum node_state then = detector_state(&p->detector, &s, now_ms);
    if (then == NODE_DEAD && now != NODE_DEAD) {
        char why[64];
        (void)snprintf(why, sizeof(why), "%d heartbeats missed",
                       detector_missed(&p->detector, &s, now_ms));
        membership_dead(c, now_ms, node, why);
    } else if (then == NODE_UNHEALTHY && now != NODE_DEAD && now != NODE_UNHEALTHY) {
        coordinator_edit(c)->nodes[node].state = NODE_UNHEALTHY;
        c->plan_dirty = true;
        p->suspect_ms = p->suspect_ms == 0 ? p->detector.heard_ms : p->suspect_ms;
        log_event(LOG_WARNING, AREA, "node is unhealthy node=%s missed=%d", p->id,
                  detector_missed(&p->detector, &s, now_ms));
    }
}

void membership_detect(struct coordinator *c, int64_t now_ms)
{
    for (int i = 0; i < c->registry.count; i++) {
        struct peer *p = c->registry.peers[i];
        int node = map_node_by_id(coordinator_latest(c), p->id);
        if (node == NODE_NONE) {
            continue;
        }
        follow_detector(c, now_ms, p, node);
        if (p->link == 0 && coordinator_latest(c)->nodes[node].state != NODE_DEAD &&
            now_ms - p->probed_ms >= PROBE_AGAIN_MS) {
            membership_probe(c, now_ms, p);
        }
    }
}

/* ---- heartbeats ---- */

/* What a primary tells of its shards. */
static void take_news(struct coordinator *c, int node, const struct wire_shards *held)
{
    const struct map *m = coordinator_latest(c);
    for (size_t i = 0; i < held->count; i++) {
        const struct wire_shard *h = &held->items[i];
        if (h->shard >= m->n_shards || m->shards[h->shard].primary != node) {
            continue;
        }
        struct shard_news *news = &c->news[h->shard];
        news->keys = h->keys;
        news->version = h->version;
        news->bytes = h->bytes;
        news->known = true;
    }
}

void membership_heartbeat(struct coordinator *c, int64_t now_ms, struct peer *p,
                          const struct wire_heartbeat *h)
{
    detector_heard(&p->detector, now_ms);
    p->heartbeats++;
    p->keys = h->keys;
    p->memory = h->memory;
    p->memory_limit = h->memory_limit;
    p->ops = h->ops;
    p->clients = h->clients;
    keep_held(p, &h->held);
    int node = map_node_by_id(coordinator_latest(c), p->id);
    if (node == NODE_NONE) {
        return;
    }
    take_news(c, node, &h->held);
    p->suspect_ms = p->refused ? p->suspect_ms : 0;
    enum node_state state = coordinator_latest(c)->nodes[node].state;
    if (p->refused) {
        /* It speaks to us, but nobody can connect to it: not before a probe says otherwise. */
        membership_probe(c, now_ms, p);
    } else if (state == NODE_DEAD || state == NODE_UNHEALTHY) {
        membership_revive(c, now_ms, node);
    }
    struct wire_message m = {.kind = WIRE_HEARD};
    m.heard.time_ms = h->time_ms;
    m.heard.epoch = c->published->epoch;
    c->env.send(c->env.arg, p->link, &m);
}

/* ---- leaving ---- */

void membership_forget(struct coordinator *c, int node)
{
    struct map *m = coordinator_edit(c);
    char id[NODE_ID_LEN + 1];
    memcpy(id, m->nodes[node].id, sizeof(id));
    for (int i = 0; i < m->n_shards; i++) {
        if (map_shard_member(&m->shards[i], node) >= 0) {
            map_build_drop_member(&m->shards[i], node);
        }
    }
    map_build_remove_node(m, node);
    registry_add(&c->registry, id, c->ticked_ms)->leaving = true;
    memcpy(c->forgotten[c->n_forgotten++ % FORGOTTEN_MAX], id, sizeof(id));
    plan_free(&c->plan); /* of other indexes */
    c->replan = true;
    log_event(LOG_NOTICE, AREA, "node forgotten node=%s epoch=%llu", id,
              (unsigned long long)m->epoch);
}
