// SPDX-License-Identifier: BSD-3-Clause
/* A simulated node's process and links; see node_priv.h. */
#include "node/repl/frame.h"

#include "common/base/mem.h"
#include "common/wire/version.h"

#include "tests/sim/node_priv.h"

#include <stdio.h>
#include <string.h>

#define RETRY_US       (200 * US_PER_MS)
#define HELLO_LIMIT_US (5 * US_PER_S)

/* --- small things --- */

struct host *node_host(const struct sim_node *n)
{
    return n->host;
}

const char *node_id(const struct sim_node *n)
{
    return n->id;
}

bool node_is_up(const struct sim_node *n)
{
    return n->up;
}

struct repl *node_repl(const struct sim_node *n)
{
    return n->up ? n->repl : NULL;
}

uint64_t node_incarnation(const struct sim_node *n)
{
    return n->incarnation;
}

bool node_serves(const struct sim_node *n, int shard)
{
    /* One that is stopped looks at its leases anew in the turn in which it goes on. */
    return n->up && !n->host->paused && repl_state(n->repl, shard) == REPL_SERVE &&
           repl_may_read(n->repl, shard, host_now_us(n->host)) == REPL_YES;
}

const struct cell *node_cell(const struct sim_node *n, int shard, int key)
{
    return &n->shards[shard].cells[key];
}

uint64_t node_durable(const struct sim_node *n, int shard)
{
    return n->durable[shard];
}

void node_slow_disk(struct sim_node *n, int64_t sync_us)
{
    n->disk.sync_us = sync_us;
}

static int node_by_id(const struct sim *s, const char *id)
{
    for (int i = 0; i < s->n_nodes; i++) {
        if (strcmp(s->nodes[i]->id, id) == 0) {
            return i;
        }
    }
    return -1;
}

/* --- disk --- */

static void disk_discard(struct sim_node *n, int shard)
{
    disk_add(&n->disk, DISK_DISCARD, shard);
}

static void sync_done(void *arg, uint64_t life)
{
    struct sim_node *n = arg;
    if (!n->up || n->host->life != life) {
        return;
    }
    n->disk.synced = n->disk.syncing;
    n->disk.syncing = 0;
    n->disk.synced_us = host_now_us(n->host);
    host_wake(n->host);
}

static void disk_turn(struct sim_node *n)
{
    struct sim_disk *d = &n->disk;
    d->written = d->count;
    if (d->syncing != 0 || d->synced == d->written) {
        return;
    }
    int64_t every = n->sim->set.fsync == FSYNC_EVERYSEC ? US_PER_S
                    : n->sim->set.fsync == FSYNC_NONE   ? 30 * US_PER_S /* the system's */
                                                        : 0;
    if (host_now_us(n->host) < d->synced_us + every) {
        return;
    }
    d->syncing = d->written;
    world_after(&n->sim->world, world_between(&n->sim->world, d->sync_us / 2, d->sync_us * 2),
                sync_done, n, n->host->life);
}

/* What became durable since the last turn is told to the core. */
static void tell_durable(struct sim_node *n)
{
    if (SIM_PLANTED(ACK_BEFORE_SYNC)) {
        for (int s = 0; s < n->sim->set.shards; s++) {
            if (n->shards[s].whole && n->shards[s].last_version > n->durable[s]) {
                n->durable[s] = n->shards[s].last_version;
                repl_durable(n->repl, s, n->durable[s], host_now_us(n->host));
            }
        }
    }
    if (n->disk.told == n->disk.synced) {
        return;
    }
    uint64_t upto[SIM_SHARDS];
    bool told[SIM_SHARDS] = {false};
    for (size_t i = n->disk.told; i < n->disk.synced; i++) {
        struct disk_record *r = &n->disk.records[i];
        upto[r->shard] = r->kind == DISK_DISCARD ? 0
                         : r->kind == DISK_WHOLE ? r->state->history.version
                                                 : r->version;
        told[r->shard] = true;
    }
    for (size_t i = n->disk.synced; i < n->disk.count; i++) {
        if (n->disk.records[i].kind != DISK_ENTRY) {
            told[n->disk.records[i].shard] = false; /* what was before counts no more */
        }
    }
    n->disk.told = n->disk.synced;
    disk_fold(&n->disk);
    for (int s = 0; s < n->sim->set.shards; s++) {
        if (told[s] && upto[s] > n->durable[s] && n->shards[s].whole) {
            n->durable[s] = upto[s];
            repl_durable(n->repl, s, upto[s], host_now_us(n->host));
        }
    }
}

/* --- the core's world --- */

static void put_frame(struct str *to, const struct repl_message *m)
{
    uint32_t len = 0;
    size_t at = to->len;
    struct slice body = {0};
    str_append(to, &len, sizeof(len));
    repl_frame_write(m, to, &body);
    str_append_slice(to, body);
    len = (uint32_t)(to->len - at - sizeof(len));
    memcpy(to->ptr + at, &len, sizeof(len));
}

static void env_send(void *arg, int peer, const struct repl_message *m)
{
    struct sim_node *n = arg;
    for (int i = 0; i < n->sim->n_nodes; i++) {
        struct peer_link *l = &n->links[i];
        if (l->up && l->peer == peer) {
            put_frame(&l->out, m);
            return;
        }
    }
}

static void env_cut(void *arg, int peer)
{
    struct sim_node *n = arg;
    for (int i = 0; i < n->sim->n_nodes; i++) {
        n->links[i].cut |= n->links[i].up && n->links[i].peer == peer;
    }
}

static size_t env_queued(void *arg, int peer)
{
    struct sim_node *n = arg;
    for (int i = 0; i < n->sim->n_nodes; i++) {
        if (n->links[i].up && n->links[i].peer == peer) {
            return n->links[i].out.len + (host_now_us(n->host) < n->links[i].busy_us ? 1000000 : 0);
        }
    }
    return 0;
}

static void env_logged(void *arg, const struct entry *e)
{
    struct sim_node *n = arg;
    struct shard_data *d = &n->shards[e->shard];
    enum repl_state state = repl_state(n->repl, e->shard);
    bool primary = state == REPL_SERVE || state == REPL_FENCED;
    if (state == REPL_COPY) { /* behind where the copy began; in no picture until it is whole */
        check_logged(n->sim, n, e, false, UINT64_MAX, 0);
        return;
    }
    if (e->version != d->last_version + 1) {
        world_fail(&n->sim->world, "node %d shard %d: entry %llu logged behind %llu", n->index,
                   e->shard, (unsigned long long)e->version, (unsigned long long)d->last_version);
        return;
    }
    check_logged(n->sim, n, e, primary, d->last_term, d->digest);
    d->last_version = e->version;
    d->last_term = e->term;
    struct disk_record *r = disk_add(&n->disk, DISK_ENTRY, e->shard);
    r->version = e->version;
    if (e->bytes.len != 0) {
        str_append_slice(&r->bytes, e->bytes);
    } else {
        entry_write(str_reserve(&r->bytes, entry_size(e)), e);
        r->bytes.len += entry_size(e);
    }
}

static void env_apply(void *arg, const struct entry *e)
{
    struct sim_node *n = arg;
    struct shard_data *d = &n->shards[e->shard];
    struct effects it = effects_of(e);
    struct effect ef;
    while (effects_next(&it, &ef)) {
        struct slice argv[3];
        effect_args(&ef, argv);
        repl_touch(n->repl, e->shard, key_hash(argv[1].ptr[0]));
    }
    cells_apply(d, e);
    if (d->whole) {
        check_applied(n->sim, n, e->shard, e->term, e->version, d->digest);
    }
}

static void env_committed(void *arg, int shard, uint64_t version)
{
    struct sim_node *n = arg;
    if (version < n->committed[shard]) {
        world_fail(&n->sim->world, "node %d shard %d: commit version went back from %llu to %llu",
                   n->index, shard, (unsigned long long)n->committed[shard],
                   (unsigned long long)version);
        return;
    }
    n->committed[shard] = version;
    check_committed(n->sim, n, shard, version);
}

static void env_lane_ended(void *arg, uint64_t lane)
{
    lanes_end(arg, lane);
}

static void env_state(void *arg, int shard, enum repl_state was, enum repl_state now)
{
    struct sim_node *n = arg;
    world_say(&n->sim->world, "node %d shard %d: %s -> %s, primary term %llu, log %llu/%llu",
              n->index, shard, repl_state_name(was), repl_state_name(now),
              (unsigned long long)repl_term(n->repl, shard),
              (unsigned long long)n->shards[shard].last_term,
              (unsigned long long)n->shards[shard].last_version);
    lanes_state(n, shard, was, now);
    if (now == REPL_SERVE) {
        check_serves(n->sim, n, shard);
        wire_changes_add(&n->reports, WIRE_SERVING, shard, repl_term(n->repl, shard), n->id);
    }
    n->sim->counts.handovers += now == REPL_RESIGNED;
    schemes_state(n->sim, n->index, shard, now);
}

static void env_discard(void *arg, int shard)
{
    struct sim_node *n = arg;
    struct shard_data *d = &n->shards[shard];
    cells_clear(d);
    copies_discard(n, shard);
    d->held = true;
    d->whole = false;
    d->last_term = d->last_version = 0;
    n->durable[shard] = 0;
    n->committed[shard] = 0;
    disk_discard(n, shard);
}

static void env_whole(void *arg, int shard, const struct history *h)
{
    struct sim_node *n = arg;
    struct shard_data *d = &n->shards[shard];
    d->held = d->whole = true;
    d->last_version = h->version;
    d->last_term = history_term(h);
    struct disk_record *r = disk_add(&n->disk, DISK_WHOLE, shard);
    r->state = mem_zalloc(sizeof(*r->state));
    r->state->history = *h;
    cells_copy(&r->state->data, d);
    n->sim->counts.copies++;
    check_applied(n->sim, n, shard, d->last_term, d->last_version, d->digest);
}

static void env_report(void *arg, enum repl_report what, int shard, uint64_t term, const char *node)
{
    struct sim_node *n = arg;
    if (!n->registered || n->coordinator == NULL) {
        return;
    }
    static const enum wire_op ops[] = {[REPL_ADD] = WIRE_ADD,
                                       [REPL_REMOVE] = WIRE_REMOVE,
                                       [REPL_HANDED] = WIRE_HANDED,
                                       [REPL_HOLLOW] = WIRE_HOLLOW,
                                       [REPL_WHOLE] = WIRE_WHOLE};
    enum wire_op op = ops[what];
    world_say(&n->sim->world, "node %d shard %d: reports %s, term %llu, %.2s", n->index, shard,
              wire_op_name(op), (unsigned long long)term, node);
    wire_changes_add(&n->reports, op, shard, term, node);
    schemes_reported(n->sim, n->index, what, shard, node_by_id(n->sim, node));
}

static const struct repl_env env_of_node = {
    .send = env_send,
    .cut = env_cut,
    .queued = env_queued,
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

/* --- the link to each other node --- */

static void link_drop(struct sim_node *n, struct peer_link *l, bool close)
{
    if (l->end != NULL && close) {
        net_close(n->sim->world.net, l->end);
    }
    l->end = NULL;
    str_clear(&l->out);
    l->retry_us = host_now_us(n->host) + RETRY_US;
    if (l->up) {
        l->up = false;
        repl_peer_down(n->repl, l->peer, host_now_us(n->host));
    }
}

static void say_hello(struct sim_node *n, struct net_end *end)
{
    struct repl_message m = {.kind = REPL_HELLO};
    m.hello.version = REPL_WIRE_VERSION;
    m.hello.incarnation = n->incarnation;
    memcpy(m.hello.id, n->id, sizeof(m.hello.id));
    memcpy(m.hello.cluster_id, n->cluster_id, sizeof(m.hello.cluster_id));
    struct str out = {0};
    put_frame(&out, &m);
    net_send(n->sim->world.net, end, out.ptr, out.len);
    str_fini(&out);
}

/* To those whose id is greater we connect. */
static void connect_peers(struct sim_node *n)
{
    for (int i = 0; i < n->sim->n_nodes && n->unlinked != 0; i++) {
        struct peer_link *l = &n->links[i];
        if (l->ours && l->end == NULL && host_now_us(n->host) >= l->retry_us) {
            l->end =
                net_connect(n->sim->world.net, n->host, n->sim->nodes[i]->host, SERVICE_NODES, l);
        }
    }
}

/* One whose HELLO does not come is given up: the other end may know nothing of it. */
static void count_unlinked(struct sim_node *n)
{
    n->unlinked = 0;
    for (int i = 0; i < n->sim->n_nodes; i++) {
        struct peer_link *l = &n->links[i];
        if (l->ours && l->end != NULL && !l->up &&
            host_now_us(n->host) - l->retry_us > HELLO_LIMIT_US) {
            link_drop(n, l, true);
        }
        n->unlinked += l->ours && !l->up;
    }
}

static void note_links(struct sim_node *n)
{
    for (int i = 0; i < n->sim->n_nodes; i++) {
        n->links[i].ours = strcmp(n->id, n->sim->nodes[i]->id) < 0 &&
                           map_node_by_id(n->map, n->sim->nodes[i]->id) != NODE_NONE;
    }
    count_unlinked(n);
}

/* The first word of who connected to us, or of whom we connected to. */
static void take_hello(struct sim_node *n, struct net_end *end, const struct repl_hello *h)
{
    int i = node_by_id(n->sim, h->id);
    bool known = i >= 0 && n->map != NULL && map_node_by_id(n->map, h->id) != NODE_NONE &&
                 strcmp(h->cluster_id, n->cluster_id) == 0;
    struct peer_link *l = i >= 0 ? &n->links[i] : NULL;
    if (!known) {
        if (l != NULL && l->end == end) {
            link_drop(n, l, true);
        } else {
            net_close(n->sim->world.net, end);
        }
        return;
    }
    if (l->end != end) { /* a new session: the one before is over */
        link_drop(n, l, true);
        l->end = end;
        end->owner = l;
        say_hello(n, end);
    }
    l->up = true;
    l->peer = repl_peer(n->repl, h->id);
    repl_peer_up(n->repl, l->peer, h->incarnation, host_now_us(n->host));
}

static void peer_message(struct sim_node *n, struct net_end *end, struct slice in)
{
    while (in.len != 0 && end->state == NET_OPEN && !n->sim->world.failed) {
        uint32_t len;
        memcpy(&len, in.ptr, sizeof(len));
        struct slice frame = slice_of(in.ptr + sizeof(len), len);
        in = slice_of(frame.ptr + len, in.len - sizeof(len) - len);
        struct repl_message m;
        if (!repl_frame_read(frame, &m, &n->room)) {
            world_fail(&n->sim->world, "node %d: a message that cannot be read", n->index);
            return;
        }
        struct peer_link *l = end->owner;
        if (m.kind == REPL_HELLO) {
            take_hello(n, end, &m.hello);
        } else if (l != NULL && l->up && l->end == end) {
            repl_message(n->repl, l->peer, &m, host_now_us(n->host));
            if (l->cut) {
                world_fail(&n->sim->world, "node %d: node %d sent what makes no sense (kind %d)",
                           n->index, (int)(l - n->links), (int)m.kind);
            }
        }
    }
}

/* --- the coordinator --- */

void wire_send(struct net *net, struct net_end *end, const struct wire_message *m)
{
    struct wire_frame f = {0};
    wire_encode(m, &f);
    struct str out = {0};
    for (size_t i = 0; i < f.argc; i++) {
        uint32_t len = (uint32_t)f.argv[i].len;
        str_append(&out, &len, sizeof(len));
        str_append_slice(&out, f.argv[i]);
    }
    net_send(net, end, out.ptr, out.len);
    str_fini(&out);
    wire_frame_fini(&f);
}

bool wire_receive(struct sim *s, const char *data, size_t len, struct wire_message *m)
{
    struct slice argv[WIRE_FIELDS_MAX + 1];
    size_t argc = 0;
    for (size_t at = 0; at < len; argc++) {
        uint32_t n;
        memcpy(&n, data + at, sizeof(n));
        argv[argc] = slice_of(data + at + sizeof(n), n);
        at += sizeof(n) + n;
    }
    const char *wrong = wire_decode(argv, argc, m);
    if (wrong != NULL) {
        world_fail(&s->world, "a message that cannot be decoded: %s", wrong);
    }
    return wrong == NULL;
}

static void list_held(const struct sim_node *n, struct wire_shards *to)
{
    for (int s = 0; s < n->sim->set.shards; s++) {
        const struct shard_data *d = &n->shards[s];
        if (d->held && d->whole) {
            struct wire_shard w = {
                .shard = s, .term = d->last_term, .version = d->last_version, .keys = 1};
            wire_shards_add(to, w);
        }
    }
}

static void register_node(struct sim_node *n)
{
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    memcpy(r->id, n->id, sizeof(r->id));
    r->incarnation = n->incarnation;
    memcpy(r->cluster_id, n->cluster_id, sizeof(r->cluster_id));
    snprintf(r->host, sizeof(r->host), "10.0.0.%d", n->index + 1);
    r->port = 7000 + (uint64_t)n->index;
    r->weight = 100;
    r->epoch = n->map == NULL ? 0 : n->map->epoch;
    r->durable = n->sim->set.fsync == FSYNC_ALWAYS || n->lives == 1 || SIM_PLANTED(DURABLE_LIE);
    list_held(n, &r->held);
    wire_send(n->sim->world.net, n->coordinator, &m);
    wire_message_fini(&m);
    n->registered = true;
    n->heartbeat_us = host_now_us(n->host) + n->heartbeat_interval_us;
}

static void heartbeat(struct sim_node *n)
{
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    m.heartbeat.time_ms = (uint64_t)(host_now_us(n->host) / 1000);
    m.heartbeat.epoch = n->map == NULL ? 0 : n->map->epoch;
    list_held(n, &m.heartbeat.held);
    wire_send(n->sim->world.net, n->coordinator, &m);
    wire_message_fini(&m);
    n->heartbeat_us = host_now_us(n->host) + n->heartbeat_interval_us;
}

static void take_map(struct sim_node *n, const struct wire_map *w)
{
    struct map *m = map_decode(w->map);
    if (m == NULL) {
        world_fail(&n->sim->world, "node %d: a map that cannot be decoded", n->index);
        return;
    }
    if (n->map == NULL || m->epoch > n->map->epoch) {
        int me = map_node_by_id(m, n->id);
        bool mine[SIM_SHARDS] = {false};
        for (int s = 0; s < m->n_shards && me != NODE_NONE; s++) {
            mine[s] = map_shard_member(&m->shards[s], me) >= 0;
            if (mine[s] && !n->shards[s].held) { /* new here: empty, which is the log's beginning */
                cells_clear(&n->shards[s]);
                n->shards[s].held = n->shards[s].whole = true;
                n->shards[s].last_term = n->shards[s].last_version = 0;
                struct disk_record *r = disk_add(&n->disk, DISK_WHOLE, s);
                r->state = mem_zalloc(sizeof(*r->state));
            }
        }
        map_unref(&n->map);
        n->map = map_ref(m);
        note_links(n);
        repl_map(n->repl, m, host_now_us(n->host));
        for (int s = 0; s < m->n_shards; s++) {
            if (!mine[s] && n->shards[s].held) {
                cells_clear(&n->shards[s]);
                n->shards[s] = (struct shard_data){0};
                n->durable[s] = n->committed[s] = 0;
                disk_discard(n, s);
            }
        }
    }
    struct wire_message c = {.kind = WIRE_CONFIRM};
    c.confirm.epoch = n->map->epoch;
    wire_send(n->sim->world.net, n->coordinator, &c);
    map_unref(&m);
}

static void take_welcome(struct sim_node *n, const struct wire_welcome *w)
{
    memcpy(n->cluster_id, w->cluster_id, sizeof(n->cluster_id));
    n->heartbeat_interval_us = (int64_t)w->heartbeat_interval_ms * 1000;
    n->heartbeat_us = MIN(n->heartbeat_us, host_now_us(n->host) + n->heartbeat_interval_us);
    struct repl_settings *s = &n->settings;
    s->mode = w->sync ? REPL_SYNC : REPL_ASYNC;
    s->consistency = w->strong ? REPL_STRONG : REPL_EVENTUAL;
    s->min_in_sync = (int)w->min_in_sync;
    s->lease_us = (int64_t)w->lease_ms * 1000;
    repl_set(n->repl, s, host_now_us(n->host));
}

static void take_orders(struct sim_node *n, const struct wire_changes *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_change *c = &l->items[i];
        if (c->op == WIRE_HANDOVER) {
            repl_handover(n->repl, c->shard, c->term, c->node, host_now_us(n->host));
        }
    }
}

static void coordinator_said(struct sim_node *n, const char *data, size_t len)
{
    struct wire_message m;
    if (!wire_receive(n->sim, data, len, &m)) {
        return;
    }
    if (m.kind == WIRE_WELCOME) {
        take_welcome(n, &m.welcome);
    } else if (m.kind == WIRE_MAP) {
        take_map(n, &m.map);
    } else if (m.kind == WIRE_ORDER) {
        take_orders(n, &m.order.changes);
    }
    wire_message_fini(&m);
}

static void flush_reports(struct sim_node *n)
{
    if (n->reports.count == 0) {
        return;
    }
    struct wire_message m = {.kind = WIRE_REPORT};
    m.report.changes = n->reports;
    if (n->registered && n->coordinator != NULL) {
        wire_send(n->sim->world.net, n->coordinator, &m);
    }
    n->reports = (struct wire_changes){0};
    wire_message_fini(&m);
}

/* --- host --- */

static void on_message(void *arg, struct net_end *end, const char *data, size_t len)
{
    struct sim_node *n = arg;
    if (end->service == SERVICE_NODES) {
        peer_message(n, end, slice_of(data, len));
    } else if (end->service == SERVICE_COORDINATOR) {
        coordinator_said(n, data, len);
    } else if (end->owner != NULL) {
        lanes_message(n, end->owner, data, len);
    }
}

static void on_connected(void *arg, struct net_end *end)
{
    struct sim_node *n = arg;
    if (end->service == SERVICE_NODES) {
        say_hello(n, end);
    } else {
        register_node(n);
    }
}

static void on_closed(void *arg, struct net_end *end)
{
    struct sim_node *n = arg;
    if (end->service == SERVICE_NODES) {
        struct peer_link *l = end->owner;
        if (l != NULL && l->end == end) {
            link_drop(n, l, false);
        }
    } else if (end->service == SERVICE_COORDINATOR) {
        n->coordinator = NULL;
        n->registered = false;
        n->coordinator_retry_us = host_now_us(n->host) + RETRY_US;
    } else if (end->owner != NULL) {
        lanes_closed(n, end->owner);
    }
}

static void on_failed(void *arg, struct net_end *end, bool refused)
{
    (void)refused;
    on_closed(arg, end);
}

static bool on_accepted(void *arg, struct net_end *end, int service)
{
    struct sim_node *n = arg;
    return service == SERVICE_NODES || lanes_accepted(n, end);
}

static void on_timer(void *arg)
{
    struct sim_node *n = arg;
    int64_t now = host_now_us(n->host);
    repl_tick(n->repl, now);
    if (n->registered && now >= n->heartbeat_us) {
        heartbeat(n);
    }
}

static void on_end(void *arg)
{
    struct sim_node *n = arg;
    struct world *w = &n->sim->world;
    int64_t now = host_now_us(n->host);
    if (n->coordinator == NULL && now >= n->coordinator_retry_us) {
        n->coordinator = net_connect(w->net, n->host, coordinators_host(n->sim->coordinator),
                                     SERVICE_COORDINATOR, NULL);
    }
    count_unlinked(n);
    connect_peers(n);
    tell_durable(n);
    n->more = repl_turn_end(n->repl, now);
    disk_turn(n);
    if (w->failed) {
        return;
    }
    lanes_flush(n);
    flush_reports(n);
    int64_t next = repl_next_us(n->repl);
    for (int i = 0; i < n->sim->n_nodes; i++) {
        struct peer_link *l = &n->links[i];
        if (l->up && l->out.len != 0) {
            net_send(w->net, l->end, l->out.ptr, l->out.len);
            if (n->sim->storm && n->sim->set.slow_links && l->out.len > 100) {
                l->busy_us = now + world_between(w, 0, 40 * US_PER_MS);
            }
            str_clear(&l->out);
        }
        next = l->up && now < l->busy_us ? MIN(next, l->busy_us) : next;
        next = n->unlinked == 0 || !l->ours || l->up ? next
               : l->end == NULL                      ? MIN(next, l->retry_us)
                                : MIN(next, l->retry_us + HELLO_LIMIT_US + 1000);
    }
    next = n->coordinator == NULL ? MIN(next, n->coordinator_retry_us)
           : n->registered        ? MIN(next, n->heartbeat_us)
                                  : next;
    if (n->disk.written > n->disk.synced && n->disk.syncing == 0 &&
        n->sim->set.fsync != FSYNC_ALWAYS) {
        int64_t every = n->sim->set.fsync == FSYNC_EVERYSEC ? US_PER_S : 30 * US_PER_S;
        next = MIN(next, MAX(n->disk.synced_us + every, now + 1000));
    }
    host_timer(n->host, next);
    if (n->more) {
        host_wake(n->host);
    }
}

static const struct host_ops node_ops = {
    .message = on_message,
    .connected = on_connected,
    .failed = on_failed,
    .accepted = on_accepted,
    .closed = on_closed,
    .timer = on_timer,
    .end = on_end,
};

/* --- life and death --- */

struct sim_node *node_new(struct sim *s, int index)
{
    struct sim_node *n = mem_zalloc(sizeof(*n));
    n->sim = s;
    n->index = index;
    int32_t drift = (int32_t)world_between(&s->world, -s->set.drift_ppm, s->set.drift_ppm);
    n->host = host_add(&s->world, &node_ops, n, drift);
    snprintf(n->id, sizeof(n->id), "%02x%038x", (unsigned)(index * 37 + 11) & 0xff, 0u);
    n->disk.sync_us = 500;
    list_init(&n->sessions);
    return n;
}

static void process_free(struct sim_node *n)
{
    repl_free(&n->repl);
    copies_fini(n);
    repl_frame_room_fini(&n->room);
    n->room = (struct repl_frame_room){0};
    map_unref(&n->map);
    for (int s = 0; s < SIM_SHARDS; s++) {
        cells_clear(&n->shards[s]);
        n->shards[s] = (struct shard_data){0};
    }
    for (int i = 0; i < SIM_NODES; i++) {
        str_fini(&n->links[i].out);
        n->links[i] = (struct peer_link){0};
    }
    mem_free(n->reports.items);
    n->reports = (struct wire_changes){0};
    mem_free(n->ended_lanes);
    n->ended_lanes = NULL;
    n->n_ended = 0;
    lanes_free(n);
    n->coordinator = NULL;
    n->registered = false;
}

void node_free(struct sim_node **np)
{
    struct sim_node *n = *np;
    if (n == NULL) {
        return;
    }
    process_free(n);
    disk_fini(&n->disk);
    mem_free(n);
    *np = NULL;
}

void node_start(struct sim_node *n)
{
    struct world *w = &n->sim->world;
    INVARIANT(!n->up);
    host_start(n->host, n);
    int64_t now = host_now_us(n->host);
    n->up = true;
    n->lives++;
    n->incarnation = (uint64_t)w->now_us + 1;
    n->coordinator_retry_us = now;
    n->heartbeat_interval_us = n->sim->set.heartbeat_ms * 1000;
    n->heartbeat_us = now;
    n->disk.synced_us = now;
    struct repl_settings *s = &n->settings;
    repl_settings_default(s);
    s->mode = n->sim->set.sync ? REPL_SYNC : REPL_ASYNC;
    s->consistency = n->sim->set.strong ? REPL_STRONG : REPL_EVENTUAL;
    s->lease_us = n->sim->set.lease_us;
    s->durable = n->sim->set.fsync == FSYNC_ALWAYS;
    s->backlog_max = n->sim->set.backlog;
    s->copies_max = 2;
    s->link_fill = 200;
    s->copy_untaken = 100;
    struct repl_env env = env_of_node;
    env.arg = n;
    n->repl = repl_new(n->id, n->sim->set.shards, s, &env, n->lives == 1, now);
    for (int i = 0; i < n->sim->set.shards; i++) {
        const struct disk_shard *d = &n->disk.base[i];
        n->durable[i] = n->committed[i] = 0;
        if (!d->data.held || !d->data.whole) {
            continue;
        }
        struct shard_data *to = &n->shards[i];
        cells_copy(to, &d->data);
        to->held = to->whole = true;
        to->last_version = d->history.version;
        to->last_term = history_term(&d->history);
        n->durable[i] = d->history.version;
        struct repl_found found = {.history = d->history, .since_us = INT64_MAX};
        repl_recovered(n->repl, i, &found, now);
    }
    world_say(w, "node %d starts, life %llu", n->index, (unsigned long long)n->lives);
}

void node_crash(struct sim_node *n, bool machine)
{
    struct world *w = &n->sim->world;
    world_say(w, "node %d %s", n->index, machine ? "loses power" : "is killed");
    check_crash(n->sim, n, n->index, machine);
    size_t keep = machine
                      ? (size_t)world_between(w, (int64_t)n->disk.synced, (int64_t)n->disk.written)
                      : n->disk.written;
    disk_recover(&n->disk, keep);
    n->up = false;
    process_free(n);
    host_crash(n->host, machine);
}
