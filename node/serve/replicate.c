// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/apply.h"
#include "node/keyspace/effect.h"
#include "node/repl/frame.h"
#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/holds.h"
#include "node/serve/libraries.h"
#include "node/serve/parked.h"
#include "node/serve/pubsub.h"
#include "node/serve/relief.h"
#include "node/serve/replicate_priv.h"
#include "node/serve/tracking.h"
#include "node/serve/waiters.h"

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdio.h>

#define AREA    "replication"
#define TICK_MS 10

int64_t replicate_now(struct replication *r)
{
    r->now_us = MAX(r->now_us, loop_clock_us());
    return r->now_us;
}

/* --- what the core asks for --- */

static void env_send(void *arg, int peer, const struct repl_message *m)
{
    const struct server *s = arg;
    struct replication *r = s->repl;
    struct link *l = peer < r->n_links ? r->links[peer] : NULL;
    if (l == NULL) {
        return;
    }
    struct slice tail;
    str_clear(&r->frame);
    repl_frame_write(m, &r->frame, &tail);
    struct outbuf *out = link_frame(l, r->frame.len + tail.len);
    outbuf_append(out, r->frame.ptr, r->frame.len);
    outbuf_append(out, tail.ptr, tail.len);
}

static void env_cut(void *arg, int peer)
{
    const struct server *s = arg;
    const struct replication *r = s->repl;
    if (peer < r->n_links && r->links[peer] != NULL) {
        link_cut(r->links[peer], "what it says makes no sense");
    }
}

static size_t env_queued(void *arg, int peer)
{
    const struct server *s = arg;
    struct replication *r = s->repl;
    size_t n = peer < r->n_links && r->links[peer] != NULL ? link_queued(r->links[peer]) : 0;
    r->was_full |= n > s->repl_settings.link_fill / 2;
    return n;
}

static void env_logged(void *arg, const struct entry *e)
{
    durable_logged(arg, e);
}

static void env_apply(void *arg, const struct entry *e)
{
    struct server *s = arg;
    struct applier *a = &s->repl->applier;
    if (!apply_entry(a, s->ks, e)) {
        log_event(LOG_WARNING, AREA, "an entry does not apply shard=%d term=%llu version=%llu: %s",
                  e->shard, (unsigned long long)e->term, (unsigned long long)e->version, a->error);
        /* Its copy is none any more, and counted as one. A process that comes back is not. */
        INVARIANT(!"what the primary did cannot be done here");
    }
}

static void env_lane_ended(void *arg, uint64_t lane)
{
    struct server *s = arg;
    lanes_end(&s->lanes, lane);
}

static void env_committed(void *arg, int shard, uint64_t version)
{
    struct server *s = arg;
    holds_committed(s->holds, shard, version);
}

/* Clients whose replies depend on what is not committed cannot be told any more. */
static bool loses(enum repl_state was, enum repl_state now)
{
    bool served = was == REPL_SERVE || was == REPL_FENCED;
    bool serves = now == REPL_SERVE || now == REPL_FENCED;
    return (served && !serves) || (was == REPL_FOLLOW && now != REPL_FOLLOW);
}

static void env_state(void *arg, int shard, enum repl_state was, enum repl_state now)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    log_event(LOG_VERBOSE, AREA, "shard=%d from=%s to=%s term=%llu version=%llu", shard,
              repl_state_name(was), repl_state_name(now),
              (unsigned long long)repl_term(r->core, shard),
              (unsigned long long)repl_version(r->core, shard));
    r->stats.states++;
    r->batch++;
    if (s->ks->shards[shard] != NULL) {
        s->ks->shards[shard]->passive = now != REPL_SERVE;
    }
    if (was == REPL_SERVE || now == REPL_SERVE) {
        follow_reset(s, "this node serves other shards now");
    }
    if (loses(was, now)) {
        holds_lost(s->holds, shard);
        pubsub_shard_lost(s, shard);
        tracking_shard_lost(s, shard, was == REPL_SERVE || was == REPL_FENCED);
    }
    if (now == REPL_SERVE) {
        parked_shard_serves(s, shard);
        tracking_shard_serves(s, shard);
    }
    if (now == REPL_SERVE && s->agent != NULL) {
        agent_report(s->agent, WIRE_SERVING, shard, repl_term(r->core, shard), s->id);
    }
}

static void env_discard(void *arg, int shard)
{
    struct server *s = arg;
    durable_discard(s, shard);
    copies_discard(s, shard);
    keyspace_shard_drop(s->ks, shard);
    keyspace_shard_create(s->ks, shard);
    s->ks->shards[shard]->passive = true;
}

static void env_whole(void *arg, int shard, const struct history *h)
{
    struct server *s = arg;
    durable_whole(s, shard, h->version);
    log_event(LOG_NOTICE, AREA, "copy taken shard=%d version=%llu keys=%llu", shard,
              (unsigned long long)h->version,
              (unsigned long long)keyspace_shard_keys(s->ks, shard));
}

static void env_report(void *arg, enum repl_report what, int shard, uint64_t term, const char *node)
{
    static const enum wire_op ops[] = {[REPL_ADD] = WIRE_ADD,
                                       [REPL_REMOVE] = WIRE_REMOVE,
                                       [REPL_HANDED] = WIRE_HANDED,
                                       [REPL_HOLLOW] = WIRE_HOLLOW,
                                       [REPL_WHOLE] = WIRE_WHOLE};
    const struct server *s = arg;
    if (s->agent != NULL) {
        agent_report(s->agent, ops[what], shard, term, node == NULL ? "" : node);
    }
}

/* --- links --- */

static void link_up(void *arg, struct link *l)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    int peer = link_node(l);
    if (peer >= r->n_links) {
        int n = peer + 8;
        r->links = mem_realloc(r->links, (size_t)n * sizeof(struct link *));
        memset(&r->links[r->n_links], 0, (size_t)(n - r->n_links) * sizeof(struct link *));
        r->n_links = n;
    }
    r->links[peer] = l;
    r->batch++;
    repl_peer_up(r->core, peer, link_incarnation(l), replicate_now(r));
    libraries_link_up(s, l);
}

static void link_down(void *arg, struct link *l)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    int peer = link_node(l);
    r->links[peer] = NULL;
    r->batch++;
    if (!replicate_keeps_end(s, peer)) {
        repl_peer_down(r->core, peer, replicate_now(r));
    }
}

/* The entries of the next frame that has any. */
static bool more_entries(void *arg, struct slice *entries)
{
    struct replication *r = arg;
    while (r->ahead.len > LINK_HEADER) {
        size_t len = get_le32(r->ahead.ptr);
        struct slice frame = slice_of(r->ahead.ptr + LINK_HEADER, len);
        if (len == 0 || len > r->ahead.len - LINK_HEADER) {
            return false;
        }
        r->ahead = slice_of(frame.ptr + len, r->ahead.len - LINK_HEADER - len);
        struct repl_message m;
        if (frame.ptr[0] == REPL_ENTRIES && repl_frame_read(frame, &m, &r->ahead_room)) {
            *entries = m.entries.bytes;
            return true;
        }
    }
    return false;
}

static void link_frames_come(void *arg, struct link *l, struct slice frames)
{
    struct server *s = arg;
    (void)l;
    if (LIKELY(!s->busy)) {
        s->repl->ahead = frames;
        apply_ahead(&s->repl->applier, s->ks, more_entries, s->repl);
    }
}

bool replicate_frame(struct server *s, struct link *l, int peer, struct slice bytes)
{
    struct replication *r = s->repl;
    struct repl_message m;
    unsigned kind = bytes.len == 0 ? 0 : (unsigned char)bytes.ptr[0];
    if (UNLIKELY(kind == LIBRARIES_FRAME)) {
        return l == NULL || libraries_frame(s, l, bytes);
    }
    if (UNLIKELY(kind == RELIEF_FRAME)) {
        return relief_frame(s, peer, bytes);
    }
    if (!repl_frame_read(bytes, &m, &r->room)) {
        return false;
    }
    repl_message(r->core, peer, &m, replicate_now(r));
    return true;
}

static bool link_frame_came(void *arg, struct link *l, struct slice bytes)
{
    if (UNLIKELY(replicate_keeps(arg, l, bytes))) {
        return true;
    }
    return replicate_frame(arg, l, link_node(l), bytes);
}

static void link_frames_done(void *arg, struct link *l)
{
    struct server *s = arg;
    (void)l;
    if (UNLIKELY(s->busy)) {
        return; /* the script goes by what was so when it began */
    }
    apply_ahead(&s->repl->applier, s->ks, NULL, NULL);
    s->repl->batch++;
    dispatch_turn_is_due(s);
}

static void link_drained(void *arg, struct link *l)
{
    struct server *s = arg;
    (void)l;
    if (s->repl->was_full) { /* more may have waited for the room */
        s->repl->was_full = false;
        loop_timer_start(&s->repl->more, 0, 0);
    }
}

/* --- turns --- */

/* A turn took longer than a lease had left (a slow command, or the process was stopped): its
 * replies wait until the lease is known to have gone on; if it did not, they are never told. */
static void settle_reads(struct server *s, enum repl_reads reads)
{
    struct replication *r = s->repl;
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        bool ready = stream_ready(c->stream) > 0;
        if (reads == REPL_READS_UNSURE && ready) {
            holds_freeze(c);
        } else if (reads == REPL_READS_HOLD) {
            holds_thaw(c);
        } else if (reads == REPL_READS_LOST && (ready || c->holds.frozen)) {
            holds_forget(s->holds, c);
            c->flags |= CLIENT_CLOSING;
            stream_fail(c->stream, 0);
        }
    }
    if (reads != REPL_READS_UNSURE || !r->frozen) {
        log_event(LOG_NOTICE, AREA, "a turn took longer than its leases, what was read %s",
                  reads == REPL_READS_UNSURE ? "waits"
                  : reads == REPL_READS_HOLD ? "was right"
                                             : "is not told");
    }
    r->frozen = reads == REPL_READS_UNSURE;
}

#define UNSENT_MAX ((size_t)256 * 1024)

bool replicate_is_full(const struct server *s)
{
    return s->repl != NULL && s->repl->unsent > UNSENT_MAX;
}

/* What copies cost those who are served meanwhile. */
static void measure_copies(struct server *s)
{
    struct replication *r = s->repl;
    if (r->copied_last) {
        r->stats.copy_turn_us_max = MAX(r->stats.copy_turn_us_max, loop_took_us(s->loop));
        r->stats.copy_turn_cpu_us_max =
            MAX(r->stats.copy_turn_cpu_us_max, loop_took_cpu_us(s->loop));
    }
    bool copies = repl_copying(r->core) || repl_taking(r->core);
    if (copies != r->copied_last) {
        r->copied_last = copies;
        loop_measure_cpu(s->loop, copies);
    }
}

size_t replicate_memory(const struct server *s)
{
    struct backlog_stats b = {0};
    if (s->repl != NULL) {
        backlog_stats(repl_backlog(s->repl->core), &b);
    }
    return b.bytes;
}

void replicate_turn(struct server *s)
{
    struct replication *r = s->repl;
    if (r == NULL) {
        return;
    }
    measure_copies(s);
    enum repl_reads reads = repl_reads(r->core, replicate_now(r));
    if (UNLIKELY(reads != REPL_READS_HOLD || r->frozen)) {
        settle_reads(s, reads);
    }
    r->unsent = 0;
    bool more = repl_turn_end(r->core, replicate_now(r));
    copies_settle(s);
    durable_turn(s);
    if (s->links != NULL) {
        links_flush(s->links);
    }
    copies_turn(s);
    if (more) {
        loop_timer_start(&r->more, copies_rest_ms(s), 0);
    }
    if (UNLIKELY(!list_empty(&s->waiters))) {
        waiters_check(s);
    }
}

static void on_tick(struct loop_timer *t)
{
    struct server *s = t->arg;
    s->repl->batch++;
    repl_tick(s->repl->core, replicate_now(s->repl));
}

/* The turn's hook does the rest. */
static void on_more(struct loop_timer *t)
{
    (void)t;
}

void replicate_batch(struct server *s)
{
    if (s->repl != NULL) {
        s->repl->batch++;
        (void)replicate_now(s->repl);
    }
}

/* --- map, settings, orders --- */

/* They share a shard; or one holds shard 0: what concerns all nodes goes by those (libraries.h). */
static bool are_linked(const struct map *m, int self, int other)
{
    if (m->n_shards > 0 && (map_node_holds(m, self, 0) || map_node_holds(m, other, 0))) {
        return true;
    }
    for (int i = 0; i < m->n_shards; i++) {
        if (map_node_holds(m, self, i) && map_node_holds(m, other, i)) {
            return true;
        }
    }
    return false;
}

static void want_links(struct server *s, const struct map *m, int self)
{
    struct link_target *t = mem_alloc((size_t)MAX(m->n_nodes, 1) * sizeof(*t));
    size_t n = 0;
    for (int i = 0; i < m->n_nodes && self != NODE_NONE; i++) {
        if (i != self && are_linked(m, self, i)) {
            const struct map_node *o = &m->nodes[i];
            t[n++] = (struct link_target){.id = o->id,
                                          .host = o->host,
                                          .port = o->port,
                                          .node = repl_peer(s->repl->core, o->id)};
        }
    }
    links_cluster(s->links, m->cluster_id);
    links_want(s->links, t, n);
    mem_free(t);
}

static void count_changes(struct replication *r, const struct map *old, const struct map *m)
{
    for (int i = 0; old != NULL && old->n_shards == m->n_shards && i < m->n_shards; i++) {
        int was = map_shard_in_sync(&old->shards[i]), is = map_shard_in_sync(&m->shards[i]);
        r->stats.adds += is > was ? (uint64_t)(is - was) : 0;
        r->stats.drops += was > is ? (uint64_t)(was - is) : 0;
    }
}

void replicate_map(struct server *s, struct map *m, int self)
{
    struct replication *r = s->repl;
    for (int i = 0; i < m->n_shards && self != NODE_NONE; i++) {
        if (map_node_holds(m, self, i) && s->ks->shards[i] == NULL) {
            keyspace_shard_create(s->ks, i);
            s->ks->shards[i]->passive = true;
        }
    }
    count_changes(r, s->map, m);
    struct map *old = s->map;
    s->map = map_ref(m);
    s->self = self;
    map_unref(&old);
    r->batch++;
    repl_map(r->core, m, replicate_now(r));
    for (int i = 0; i < m->n_shards; i++) {
        if (s->ks->shards[i] != NULL && (self == NODE_NONE || !map_node_holds(m, self, i))) {
            holds_lost(s->holds, i);
            holds_reset(s->holds, i);
            durable_discard(s, i);
            keyspace_shard_drop(s->ks, i);
        }
    }
    if (s->links != NULL) {
        want_links(s, m, self);
    }
    parked_map_changed(s);
}

#define LEASE_MS_SANE (24LL * 3600 * 1000)

void replicate_welcome(struct server *s, const struct wire_welcome *w)
{
    struct replication *r = s->repl;
    struct repl_settings *o = &s->repl_settings;
    o->mode = w->sync != 0 ? REPL_SYNC : REPL_ASYNC;
    o->consistency = w->strong != 0 ? REPL_STRONG : REPL_EVENTUAL;
    o->min_in_sync = (int)MIN(w->min_in_sync, MEMBERS_MAX);
    o->lease_us = (int64_t)MAX(MIN(w->lease_ms, (uint64_t)LEASE_MS_SANE), 1) * 1000;
    o->copy_bandwidth = w->rebalance_bandwidth;
    r->batch++;
    repl_set(r->core, o, replicate_now(r));
}

void replicate_order(struct server *s, const struct wire_change *c)
{
    struct replication *r = s->repl;
    if (c->shard >= s->ks->n_shards) {
        return; /* of a map that has not come yet: it is repeated */
    }
    r->batch++;
    if (c->op == WIRE_HANDOVER) {
        repl_handover(r->core, c->shard, c->term, c->node, replicate_now(r));
    } else if (c->op == WIRE_DROP) {
        repl_drop(r->core, c->shard, c->term, c->node, replicate_now(r));
    }
}

static void add_progress(struct server *s, int shard, bool copied_only, struct wire_copies *to)
{
    const struct repl *core = s->repl->core;
    struct repl_lag lags[MEMBERS_MAX];
    int n = repl_lags(core, shard, s->repl->now_us, lags, MEMBERS_MAX);
    for (int i = 0; i < MIN(n, MEMBERS_MAX); i++) {
        const struct repl_lag *g = &lags[i];
        if (copied_only && !g->copying) {
            continue;
        }
        struct wire_copy c = {.shard = shard,
                              .lag_versions = g->versions,
                              .lag_bytes = g->bytes,
                              .lag_ms = (uint64_t)MAX(g->us, 0) / 1000};
        (void)snprintf(c.node, sizeof(c.node), "%s", repl_peer_id(core, g->peer));
        if (g->copying) {
            copies_progress(s, shard, &c.done, &c.left);
        }
        wire_copies_add(to, &c);
    }
}

void replicate_progress(struct server *s, bool copied_only, struct wire_copies *to)
{
    (void)replicate_now(s->repl);
    if (copied_only && !repl_copying(s->repl->core)) {
        return;
    }
    for (int i = 0; i < s->ks->n_shards; i++) {
        enum repl_state at = repl_state(s->repl->core, i);
        if (at == REPL_SERVE || at == REPL_FENCED) {
            add_progress(s, i, copied_only, to);
        }
    }
}

bool replicate_held(const struct server *s, int shard, uint64_t *term, uint64_t *version)
{
    const struct repl *core = s->repl->core;
    if (!repl_whole(core, shard)) {
        return false;
    }
    *term = history_term(repl_history(core, shard));
    *version = repl_version(core, shard);
    return true;
}

const struct history *replicate_history(const struct server *s, int shard)
{
    return repl_history(s->repl->core, shard);
}

bool replicate_whole(const struct server *s, int shard)
{
    return s->repl == NULL || repl_whole(s->repl->core, shard);
}

void replicate_settings_changed(struct server *s)
{
    struct replication *r = s->repl;
    if (r == NULL) {
        return;
    }
    s->repl_settings.backlog_max = (size_t)s->settings->repl_backlog_size;
    s->repl_settings.durable = durable_always(s);
    repl_set(r->core, &s->repl_settings, replicate_now(r));
}

/* --- life --- */

static void sink_entry(void *arg, struct entry *e)
{
    replicate_entry(arg, e);
}

static void sink_touched(void *arg, uint32_t shard, uint64_t hash)
{
    const struct server *s = arg;
    repl_touch(s->repl->core, (int)shard, hash);
}

static void sink_touched_all(void *arg, uint32_t shard)
{
    const struct server *s = arg;
    repl_touch_all(s->repl->core, (int)shard);
}

static void hang_into_keyspace(struct server *s)
{
    struct effect_sink sink = {
        .arg = s, .entry = sink_entry, .touched = sink_touched, .touched_all = sink_touched_all};
    follow_unhang(s);
    s->ks->collector = collector_new(&sink);
    follow_hang(s);
}

static struct repl_env env_of(struct server *s)
{
    return (struct repl_env){
        .arg = s,
        .send = env_send,
        .queued = env_queued,
        .cut = env_cut,
        .logged = env_logged,
        .apply = env_apply,
        .committed = env_committed,
        .lane_ended = env_lane_ended,
        .state = env_state,
        .discard = env_discard,
        .whole = env_whole,
        .copy_time = copies_time,
        .copy_begins = copies_begins,
        .copy_scan = copies_scan,
        .copy_key = copies_key,
        .copy_part = copies_part,
        .copy_part_end = copies_part_end,
        .copy_put = copies_put,
        .copy_open = copies_open,
        .copy_add = copies_add,
        .copy_close = copies_close,
        .report = env_report,
    };
}

static void start_links(struct server *s)
{
    struct links_settings ls = {.incarnation = s->incarnation,
                                .password = s->settings->requirepass};
    struct links_port port = {.arg = s,
                              .up = link_up,
                              .frames_come = link_frames_come,
                              .frame = link_frame_came,
                              .frames_done = link_frames_done,
                              .drained = link_drained,
                              .down = link_down};
    memcpy(ls.id, s->id, sizeof(ls.id));
    s->links = links_new(s->loop, &ls, &port);
}

/* What was found on disk is where this node's logs begin. */
static void recovered_shards(struct server *s)
{
    for (int i = 0; i < s->ks->n_shards; i++) {
        struct repl_found found;
        if (s->ks->shards[i] != NULL && durable_recovered(s, i, &found)) {
            repl_recovered(s->repl->core, i, &found, replicate_now(s->repl));
        }
    }
    durable_recovered_taken(s);
}

static void on_durable(struct server *s, int shard, uint64_t version)
{
    repl_durable(s->repl->core, shard, version, replicate_now(s->repl));
}

void replicate_start(struct server *s, int n_shards, bool fresh)
{
    replicate_stop(s);
    struct replication *r = mem_zalloc(sizeof(*r));
    struct repl_env env = env_of(s);
    s->repl = r;
    s->repl_settings.backlog_max = (size_t)s->settings->repl_backlog_size;
    s->repl_settings.durable = durable_always(s);
    r->said = mem_zalloc((size_t)n_shards * sizeof(*r->said));
    r->exec_shards = mem_zalloc((size_t)n_shards * sizeof(*r->exec_shards));
    r->exec_seen = mem_zalloc((size_t)n_shards * sizeof(*r->exec_seen));
    r->batch = 1;
    list_init(&r->kept);
    loop_timer_init(&r->tick, s->loop, on_tick, s);
    loop_timer_init(&r->more, s->loop, on_more, s);
    r->core = repl_new(s->id, n_shards, &s->repl_settings, &env, fresh, replicate_now(r));
    recovered_shards(s);
    durable_listen(s, on_durable);
    copies_init(s);
    applier_init(&r->applier, &s->table);
    hang_into_keyspace(s);
    loop_timer_start(&r->tick, TICK_MS, TICK_MS);
    if (s->agent != NULL) {
        start_links(s);
    }
}

void replicate_stop(struct server *s)
{
    struct replication *r = s->repl;
    if (r == NULL) {
        return;
    }
    links_free(&s->links);
    durable_listen(s, NULL);
    copies_fini(s);
    applier_fini(&r->applier);
    replicate_forget_kept(r);
    repl_frame_room_fini(&r->room);
    repl_frame_room_fini(&r->ahead_room);
    collector_free(&s->ks->collector);
    repl_free(&r->core);
    loop_timer_fini(&r->tick);
    loop_timer_fini(&r->more);
    mem_free(r->links);
    mem_free(r->said);
    mem_free(r->made);
    mem_free(r->exec_shards);
    mem_free(r->exec_seen);
    str_fini(&r->frame);
    mem_free(r);
    s->repl = NULL;
}

/* A cluster of one: a map with this node alone, which nobody changes. */
void replicate_alone(struct server *s)
{
    struct map_node me = {.port = s->port, .weight = 100, .incarnation = 1};
    struct map *m = map_build_new(s->ks->n_shards, s->id);
    memcpy(me.id, s->id, sizeof(me.id));
    (void)snprintf(me.host, sizeof(me.host), "127.0.0.1");
    int self = map_build_add_node(m, &me);
    for (int i = 0; i < m->n_shards; i++) {
        bool added = map_build_add_member(&m->shards[i], self);
        INVARIANT(added);
        map_build_set_primary(&m->shards[i], self);
        /* Its own entries go on in the term that it finds on disk. */
        uint64_t term = history_term(repl_history(s->repl->core, i));
        m->shards[i].term = MAX(m->shards[i].term, term);
        m->shards[i].primary_term = m->shards[i].term;
    }
    m->assigned = true;
    m->epoch = 1;
    replicate_map(s, m, self);
    map_unref(&m);
    /* Nobody is to be asked: it serves at once, also those whose commands come in this turn. */
    (void)repl_turn_end(s->repl->core, replicate_now(s->repl));
    for (int i = 0; i < s->ks->n_shards; i++) {
        INVARIANT(repl_state(s->repl->core, i) == REPL_SERVE);
    }
}

const struct replicate_stats *replicate_stats(const struct server *s)
{
    static const struct replicate_stats none;
    return s->repl == NULL ? &none : &s->repl->stats;
}

void replicate_reset(struct server *s)
{
    if (s->repl != NULL) {
        s->repl->stats.copy_turn_us_max = 0;
        s->repl->stats.copy_turn_cpu_us_max = 0;
    }
}

void replicate_roles(const struct server *s, int *primary, int *replica)
{
    *primary = 0;
    *replica = 0;
    for (int i = 0; s->repl != NULL && i < s->ks->n_shards; i++) {
        enum repl_state at = repl_state(s->repl->core, i);
        *primary += at == REPL_SERVE;
        *replica += at == REPL_FOLLOW;
    }
}
