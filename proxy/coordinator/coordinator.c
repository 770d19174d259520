// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/coordinator.h"

#include "proxy/coordinator/coordinator_priv.h"
#include "proxy/coordinator/decision.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdio.h>

#define COORDINATOR_MAGIC 0x434f4f52u
#define SHOW_MS_MAX       250  /* so long proxies wait for new primaries to know that they are */
#define RESEND_MS         1000 /* a map that is not confirmed goes out again */
#define SLEPT_MS_MIN      500 /* between two ticks: we were stopped, or the machine is overloaded */
#define SUSPECT_AGAIN_MS  100 /* proxies report each refused connection: not a probe for each */

struct map *coordinator_latest(const struct coordinator *c)
{
    if (c->next != NULL) {
        return c->next;
    }
    return c->recording != NULL ? c->recording : c->published;
}

struct map *coordinator_edit(struct coordinator *c)
{
    if (c->next == NULL) {
        c->next = map_build_from(coordinator_latest(c));
        c->next->epoch++;
    }
    return c->next;
}

struct map *coordinator_map(const struct coordinator *c)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    return c->published;
}

struct detector_settings coordinator_detection(const struct coordinator *c)
{
    return (struct detector_settings){.interval_ms = c->settings.heartbeat_interval_ms,
                                      .unhealthy_missed = c->settings.unhealthy_missed,
                                      .dead_missed = c->settings.dead_missed};
}

static void check_settings(const struct coordinator_settings *s)
{
    INVARIANT(s->replication_factor >= 1);
    INVARIANT(s->replication_factor < MEMBERS_MAX);
    INVARIANT(s->heartbeat_interval_ms > 0);
    INVARIANT(s->unhealthy_missed >= 1);
    INVARIANT(s->dead_missed >= s->unhealthy_missed);
    INVARIANT(s->rebalance_concurrency >= 1);
    INVARIANT(s->min_in_sync >= 0);
    INVARIANT(s->lease_ms >= 0);
}

static void take_settings(struct coordinator *c, const struct coordinator_settings *s)
{
    char *password = mem_strdup(s->password == NULL ? "" : s->password);
    mem_free(c->password);
    c->settings = *s;
    c->password = password;
    c->settings.password = password;
}

struct coordinator *coordinator_new(const struct coordinator_settings *s,
                                    const struct coordinator_env *env, struct slice stored,
                                    const char *cluster_id, int64_t now_ms, struct errmsg *err)
{
    check_settings(s);
    struct decision d = {0};
    if (stored.len > 0 && !decision_decode(stored, &d)) {
        errmsg_set(err, "the stored cluster map is damaged, or of a newer version");
        return NULL;
    }
    if (d.map == NULL) {
        d.map = map_build_new(s->shards, cluster_id);
    }
    if (d.map->n_shards != s->shards) {
        log_event(LOG_WARNING, AREA, "shards stays as the cluster was created: shards=%d asked=%d",
                  d.map->n_shards, s->shards);
    }
    struct coordinator *c = mem_zalloc(sizeof(*c));
    c->magic = COORDINATOR_MAGIC;
    take_settings(c, s);
    c->env = *env;
    c->published = d.map;
    c->rebalancing = d.rebalancing;
    c->paused = d.paused;
    c->handed = d.handed;
    c->done = d.done;
    c->copied = d.copied;
    c->measured_bytes = d.copied;
    c->measured_ms = now_ms;
    assign_init(&c->assign);
    c->news = mem_zalloc(sizeof(*c->news) * (size_t)d.map->n_shards);
    c->moves = mem_zalloc(sizeof(*c->moves) * (size_t)d.map->n_shards);
    c->ticked_ms = now_ms;
    for (int i = 0; i < d.map->n_nodes; i++) {
        (void)registry_add(&c->registry, d.map->nodes[i].id, now_ms);
    }
    rebalance_wishes_put(c, d.wishes);
    mem_free(d.wishes); /* the map is ours now */
    return c;
}

void coordinator_free(struct coordinator **cp)
{
    struct coordinator *c = *cp;
    if (c == NULL) {
        return;
    }
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    *cp = NULL;
    map_unref(&c->published);
    map_unref(&c->shown);
    map_unref(&c->recording);
    map_unref(&c->next);
    for (size_t i = 0; i < c->n_answers; i++) {
        str_fini(&c->answers[i].reply);
    }
    mem_free(c->answers);
    mem_free(c->waiting);
    mem_free(c->node_requests);
    str_fini(&c->map_bytes);
    str_fini(&c->kept);
    registry_fini(&c->registry);
    plan_free(&c->plan);
    mem_free(c->password);
    mem_free(c->news);
    mem_free(c->moves);
    c->magic = 0;
    mem_free(c);
}

/* ---- decisions ---- */

static void record_next(struct coordinator *c)
{
    if (c->next == NULL || c->recording != NULL) {
        return;
    }
    const char *wrong = map_check_next(c->published, c->next);
    if (wrong != NULL) {
        log_event(LOG_WARNING, AREA, "decision does not hold: %s epoch=%llu", wrong,
                  (unsigned long long)c->next->epoch);
    }
    INVARIANT(wrong == NULL);
    c->recording = c->next;
    c->next = NULL;
    for (int i = 0; i < c->recording->n_shards; i++) {
        if (c->news[i].known) {
            c->recording->shards[i].version = c->news[i].version;
        }
    }
    struct decision d = {.map = c->recording,
                         .rebalancing = c->rebalancing,
                         .paused = c->paused,
                         .handed = c->handed,
                         .done = c->done,
                         .copied = c->copied,
                         .wishes = rebalance_wishes(c)};
    struct str bytes = {0};
    decision_encode(&d, &bytes);
    mem_free(d.wishes);
    c->env.record(c->env.arg, c->recording->epoch, str_slice(&bytes));
    str_fini(&bytes);
}

void coordinator_settle(struct coordinator *c, int64_t now_ms)
{
    if (!coordinator_latest(c)->assigned) {
        rebalance_first(c, now_ms);
    }
    do {
        operator_step(c);
        if (c->plan_dirty || c->replan) {
            c->plan_dirty = false;
            rebalance_step(c, now_ms);
        }
        record_next(c);
        membership_welcome(c, now_ms);
    } while (c->plan_dirty); /* a welcomed node can take part at once */
}

/* Whether a node serves a shard under `published` that it did not serve under what proxies see, and
 * has not confirmed yet that it knows: what a proxy sent it now would be refused. */
static bool primary_unaware(const struct coordinator *c, int shard)
{
    const struct map *m = c->published;
    const struct map_shard *s = &m->shards[shard];
    if (s->primary == NODE_NONE) {
        return false;
    }
    const char *id = m->nodes[s->primary].id;
    if (c->shown != NULL) {
        const struct map_shard *old = &c->shown->shards[shard];
        if (old->primary_term == s->primary_term && old->primary != NODE_NONE &&
            strcmp(c->shown->nodes[old->primary].id, id) == 0) {
            return false;
        }
    }
    const struct peer *p = registry_find(&c->registry, id);
    return p != NULL && p->link != 0 && p->confirmed < m->epoch;
}

/* Gives the published map to the proxies once the new primaries know of it, or SHOW_MS_MAX after
 * proxies fell behind: a primary that hangs must not keep the others' changes back. */
static void show(struct coordinator *c, int64_t now_ms)
{
    if (!c->behind) {
        return;
    }
    for (int i = 0; i < c->published->n_shards && now_ms - c->behind_ms < SHOW_MS_MAX; i++) {
        if (primary_unaware(c, i)) {
            return;
        }
    }
    map_unref(&c->shown);
    c->shown = map_ref(c->published);
    c->behind = false;
    c->env.publish(c->env.arg, c->published);
}

static void publish(struct coordinator *c, int64_t now_ms)
{
    str_clear(&c->map_bytes);
    if (!c->behind) {
        c->behind = true;
        c->behind_ms = now_ms;
    }
    for (int i = 0; i < c->registry.count; i++) {
        coordinator_send_map(c, c->registry.peers[i], now_ms);
    }
    show(c, now_ms);
    coordinator_answer_due(c);
}

void coordinator_recorded(struct coordinator *c, int64_t now_ms, uint64_t revision)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    INVARIANT(c->recording != NULL);
    INVARIANT(c->recording->epoch == revision);
    map_unref(&c->published);
    c->published = c->recording;
    c->recording = NULL;
    LOG_DEBUG_EVENT(AREA, "map published epoch=%llu", (unsigned long long)revision);
    publish(c, now_ms);
    c->plan_dirty = true; /* orders wait until what they follow from is durable */
    coordinator_settle(c, now_ms);
}

void coordinator_start(struct coordinator *c, int64_t now_ms)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    if (c->published->epoch > 0) {
        log_event(LOG_NOTICE, AREA, "cluster restored cluster=%s epoch=%llu nodes=%d shards=%d",
                  c->published->cluster_id, (unsigned long long)c->published->epoch,
                  c->published->n_nodes, c->published->n_shards);
        publish(c, now_ms);
    } else {
        log_event(LOG_NOTICE, AREA, "cluster created cluster=%s shards=%d",
                  c->published->cluster_id, c->published->n_shards);
        (void)coordinator_edit(c);
    }
    c->replan = true;
    coordinator_settle(c, now_ms);
}

void coordinator_send_map(struct coordinator *c, struct peer *p, int64_t now_ms)
{
    uint64_t epoch = c->published->epoch;
    if (p->link == 0 || !p->welcomed || p->confirmed >= epoch) {
        return;
    }
    if (p->sent > p->confirmed && now_ms - p->sent_ms < RESEND_MS) {
        return; /* one at a time: the newest follows its confirmation */
    }
    if (c->map_bytes.len == 0) {
        map_encode(c->published, &c->map_bytes);
    }
    struct wire_message m = {.kind = WIRE_MAP};
    m.map.epoch = epoch;
    m.map.map = str_slice(&c->map_bytes);
    p->sent = epoch;
    p->sent_ms = now_ms;
    c->env.send(c->env.arg, p->link, &m);
}

/* ---- events ---- */

static void confirmed(struct coordinator *c, int64_t now_ms, struct peer *p,
                      const struct wire_confirm *m)
{
    if (m->epoch > p->sent) {
        return; /* of a map that this link was never sent */
    }
    p->confirmed = MAX(p->confirmed, m->epoch);
    coordinator_send_map(c, p, now_ms);
    show(c, now_ms);
}

void coordinator_message(struct coordinator *c, int64_t now_ms, uint64_t link, const char *peer_ip,
                         const struct wire_message *m)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    INVARIANT(link != 0);
    if (m->kind == WIRE_REGISTER) {
        membership_register(c, now_ms, link, peer_ip, &m->registration);
        coordinator_settle(c, now_ms);
        return;
    }
    struct peer *p = registry_by_link(&c->registry, link);
    if (p == NULL) {
        log_event(LOG_VERBOSE, AREA, "message before registration from=%s kind=%s", peer_ip,
                  wire_kind_name(m->kind));
        c->env.close(c->env.arg, link);
        return;
    }
    if (m->kind == WIRE_HEARTBEAT) {
        membership_heartbeat(c, now_ms, p, &m->heartbeat);
    } else if (m->kind == WIRE_CONFIRM) {
        confirmed(c, now_ms, p, &m->confirm);
    } else if (m->kind == WIRE_REPORT) {
        report_take(c, now_ms, p, &m->report.changes);
    } else if (m->kind == WIRE_PROGRESS) {
        report_progress(c, now_ms, p, &m->progress.copies);
    } else if (m->kind == WIRE_ASK) {
        coordinator_node_asks(c, now_ms, p, &m->ask);
    }
    coordinator_settle(c, now_ms);
}

void coordinator_link_down(struct coordinator *c, int64_t now_ms, uint64_t link)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    struct peer *p = registry_by_link(&c->registry, link);
    if (p == NULL) {
        return;
    }
    log_event(LOG_VERBOSE, AREA, "link lost node=%s", p->id);
    coordinator_node_gone(c, link);
    p->link = 0;
    p->welcomed = false;
    c->plan_dirty = true;
    p->suspect_ms = p->suspect_ms == 0 ? now_ms : p->suspect_ms;
    membership_probe(c, now_ms, p);
    coordinator_settle(c, now_ms);
}

void coordinator_turned_away(struct coordinator *c, int64_t now_ms, const char *id,
                             const char *answer)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    struct peer *p = registry_find(&c->registry, id);
    if (p == NULL || answer[0] == '\0') {
        return;
    }
    if (!peer_turns_away(p, now_ms) || strcmp(p->turned_away, answer) != 0) {
        log_event(LOG_WARNING, AREA, "node turns proxies away node=%s answer=\"%s\"", id, answer);
    }
    (void)snprintf(p->turned_away, sizeof(p->turned_away), "%s", answer);
    p->turned_away_ms = now_ms;
}

void coordinator_suspect(struct coordinator *c, int64_t now_ms, const char *id)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    struct peer *p = registry_find(&c->registry, id);
    int node = map_node_by_id(coordinator_latest(c), id);
    if (p != NULL && node != NODE_NONE && coordinator_latest(c)->nodes[node].state != NODE_DEAD &&
        now_ms - p->probed_ms >= SUSPECT_AGAIN_MS) {
        p->suspect_ms = p->suspect_ms == 0 ? now_ms : p->suspect_ms;
        membership_probe(c, now_ms, p);
        coordinator_settle(c, now_ms);
    }
}

void coordinator_probed(struct coordinator *c, int64_t now_ms, const char *id,
                        enum probe_result result)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    struct peer *p = registry_find(&c->registry, id);
    int node = map_node_by_id(coordinator_latest(c), id);
    if (p == NULL || node == NODE_NONE) {
        return;
    }
    p->probing = false;
    if (p->probe_stale) {
        p->probe_stale = false;
        return;
    }
    enum node_state state = coordinator_latest(c)->nodes[node].state;
    if (result == PROBE_REFUSED) {
        p->refused = true;
        if (state != NODE_DEAD) {
            membership_dead(c, now_ms, node, "connection refused");
        }
    } else if (result == PROBE_OK) {
        p->suspect_ms = 0;
        if (p->refused && p->link != 0 && p->welcomed) {
            p->refused = false;
            membership_revive(c, now_ms, node);
        }
    }
    coordinator_settle(c, now_ms);
}

void coordinator_tick(struct coordinator *c, int64_t now_ms)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    int64_t gap = now_ms - c->ticked_ms;
    c->ticked_ms = now_ms;
    if (gap >= MAX(c->settings.heartbeat_interval_ms, SLEPT_MS_MIN)) {
        log_event(LOG_WARNING, AREA, "coordinator did not run for %lld ms: not held against nodes",
                  (long long)gap);
        for (int i = 0; i < c->registry.count; i++) {
            detector_excuse(&c->registry.peers[i]->detector, gap);
        }
    }
    membership_detect(c, now_ms);
    rebalance_tick(c, now_ms);
    rebalance_measure(c, now_ms);
    for (int i = 0; i < c->registry.count; i++) {
        coordinator_send_map(c, c->registry.peers[i], now_ms);
    }
    show(c, now_ms);
    coordinator_settle(c, now_ms);
}

void coordinator_keep(struct coordinator *c, uint64_t version, struct slice pairs)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    INVARIANT(version > c->kept_version);
    str_clear(&c->kept);
    str_append_slice(&c->kept, pairs);
    c->kept_version = version;
    for (int i = 0; i < c->registry.count; i++) {
        membership_settings(c, c->registry.peers[i]);
    }
}

void coordinator_set(struct coordinator *c, int64_t now_ms, const struct coordinator_settings *s)
{
    CHECK_OBJ(c, COORDINATOR_MAGIC);
    check_settings(s);
    bool interval = s->heartbeat_interval_ms != c->settings.heartbeat_interval_ms;
    bool tell = interval || s->sync != c->settings.sync || s->strong != c->settings.strong ||
                s->min_in_sync != c->settings.min_in_sync || s->lease_ms != c->settings.lease_ms ||
                s->rebalance_bandwidth != c->settings.rebalance_bandwidth ||
                s->replication_factor != c->settings.replication_factor;
    int shards = c->settings.shards;
    take_settings(c, s);
    c->settings.shards = shards;
    c->replan = true;
    for (int i = 0; i < c->registry.count && tell; i++) {
        struct peer *p = c->registry.peers[i];
        if (interval) { /* silence so far was measured with another one */
            detector_heard(&p->detector, now_ms);
        }
        p->welcomed = false; /* WELCOME tells it the new ones */
    }
    coordinator_settle(c, now_ms);
}
