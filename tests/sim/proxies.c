// SPDX-License-Identifier: BSD-3-Clause
/* A model of a proxy: lanes to nodes, with ids and numbers; routing by the map that it has; holding
 * and sending again; FATE. What proxy/exec does, without its bytes. */
#include "common/base/mem.h"

#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_AGAIN_US (100 * US_PER_MS)
#define TICK_US          (20 * US_PER_MS)

enum lane_kind { READS, WRITES };

struct sim_lane {
    struct net_end *end; /* NULL: down */
    bool up;
    enum lane_kind kind;
    int node;
    uint64_t id;
    uint64_t count;
    int64_t retry_us;
    struct list ops; /* sent, in order */
    struct str out;
    struct str in; /* part of a reply */
};

/* What became of the writes of a broken lane to one shard? */
struct fate {
    struct list link;
    struct sim_proxy *proxy;
    uint64_t lane;
    int shard;
    uint32_t tag; /* of the present question */
    struct net_end *end;
    bool asked;
    int64_t asked_us;
    int64_t patience_us; /* how late an answer may be */
    int64_t retry_us;
    struct list ops;
};

struct sim_proxy {
    struct sim *sim;
    int index;
    struct host *host;
    bool up;
    struct map *map;
    struct net_end *coordinator;
    bool coordinator_up;
    int64_t coordinator_retry_us;
    struct sim_lane lanes[SIM_NODES][2];
    struct list held; /* ops */
    struct list fates;
    uint32_t tags;
    int64_t hold_us; /* failover-hold */
    int n_clients;
    struct sim_client clients[SIM_CLIENTS];
};

struct host *proxy_host(const struct sim_proxy *p)
{
    return p->host;
}

bool proxy_is_up(const struct sim_proxy *p)
{
    return p->up;
}

static int64_t local_now(const struct sim_proxy *p)
{
    return host_now_us(p->host);
}

size_t piece_print(char *to, uint64_t piece)
{
    return (size_t)snprintf(to, 24, "%llx.", (unsigned long long)piece);
}

/* --- ends of operations --- */

static void finish(struct sim_op *op, const struct sim_reply *r)
{
    op->state = OP_DONE;
    client_done(op->client, op, r);
}

static void finish_as(struct sim_op *op, enum reply_status status)
{
    struct sim_reply r = {.status = status};
    finish(op, &r);
}

static void hold_op(struct sim_proxy *p, struct sim_op *op, int64_t wait_us)
{
    op->state = OP_HELD;
    op->lane = NULL;
    op->retry_us = local_now(p) + wait_us;
    list_remove(&op->link);
    list_append(&p->held, &op->link);
}

/* --- lanes --- */

static void lane_open(struct sim_proxy *p, struct sim_lane *l)
{
    if (l->end == NULL && local_now(p) >= l->retry_us) {
        l->end = net_connect(p->sim->world.net, p->host, node_host(p->sim->nodes[l->node]),
                             SERVICE_LANES, l);
    }
}

static struct fate *fate_for(struct sim_proxy *p, uint64_t lane, int shard)
{
    LIST_FOREACH(it, &p->fates) {
        struct fate *f = container_of(it, struct fate, link);
        if (f->lane == lane && f->shard == shard) {
            return f;
        }
    }
    struct fate *f = mem_zalloc(sizeof(*f));
    f->proxy = p;
    f->lane = lane;
    f->shard = shard;
    f->patience_us = 100 * US_PER_MS;
    list_init(&f->ops);
    list_append(&p->fates, &f->link);
    return f;
}

static void lane_down(struct sim_proxy *p, struct sim_lane *l)
{
    l->end = NULL;
    l->up = false;
    l->retry_us = local_now(p) + CONNECT_AGAIN_US;
    str_clear(&l->out);
    str_clear(&l->in);
    LIST_FOREACH_SAFE(it, &l->ops) {
        struct sim_op *op = container_of(it, struct sim_op, link);
        if (op->kind != LINEAR_GET) {
            op->state = OP_UNRESOLVED;
            op->lane = NULL;
            list_remove(&op->link);
            list_append(&fate_for(p, l->id, op->shard)->ops, &op->link);
        } else if (op->overtaken) {
            finish_as(op, REPLY_REFUSED);
        } else {
            hold_op(p, op, 0);
        }
    }
}

static void lane_break(struct sim_proxy *p, struct sim_lane *l)
{
    if (l->end != NULL) {
        net_close(p->sim->world.net, l->end);
        lane_down(p, l);
    }
}

static void suspect(struct sim_proxy *p, int node)
{
    if (p->coordinator_up) {
        net_send(p->sim->world.net, p->coordinator, node_id(p->sim->nodes[node]), NODE_ID_LEN + 1);
    }
}

/* --- routing --- */

static int node_of(const struct sim_proxy *p, int map_node)
{
    return p->map->nodes[map_node].port - 7000;
}

static int pick_reader(struct sim_proxy *p, const struct map_shard *s)
{
    int at = (int)rng_below(&p->sim->world.rng, (uint64_t)s->n_members);
    if (world_chance(&p->sim->world, 100000)) { /* whoever it is: it knows whether it may answer */
        return node_of(p, s->members[at].node);
    }
    for (int i = 0; i < s->n_members; i++) {
        const struct map_member *m = &s->members[(at + i) % s->n_members];
        if (m->in_sync && m->state == REPLICA_ACTIVE) {
            return node_of(p, m->node);
        }
    }
    return -1;
}

/* The lane for it, or NULL: it has to wait. */
static struct sim_lane *lane_for(struct sim_proxy *p, const struct sim_op *op)
{
    if (p->map == NULL || !p->map->assigned) {
        return NULL;
    }
    const struct map_shard *s = &p->map->shards[op->shard];
    bool write = op->kind != LINEAR_GET;
    struct sim_lane *behind = NULL; /* the lane on which an earlier one of its client is */
    LIST_FOREACH(it, &op->client->ops) {
        const struct sim_op *before = container_of(it, struct sim_op, queue);
        if (before == op) {
            break;
        }
        if (before->shard != op->shard) {
            continue;
        }
        if (before->state != OP_SENT) {
            return NULL;
        }
        if (write || before->kind != LINEAR_GET) {
            if (behind != NULL && behind != before->lane) {
                return NULL;
            }
            behind = before->lane;
        }
    }
    int node = write || behind != NULL ? s->primary == NODE_NONE ? -1 : node_of(p, s->primary)
                                       : pick_reader(p, s);
    if (node < 0) {
        return NULL;
    }
    struct sim_lane *l = &p->lanes[node][write || behind != NULL ? WRITES : READS];
    return behind == NULL || behind == l ? l : NULL;
}

static void send_op(struct sim_proxy *p, struct sim_op *op, struct sim_lane *l)
{
    LIST_FOREACH(it, &op->client->ops) {
        struct sim_op *before = container_of(it, struct sim_op, queue);
        if (before == op) {
            break;
        }
        if (before->shard == op->shard && before->state == OP_SENT &&
            (before->kind != LINEAR_GET || op->kind != LINEAR_GET)) {
            before->overtaken = true;
        }
    }
    struct sim_request q = {.type = REQUEST_OP,
                            .shard = (uint32_t)op->shard,
                            .key = (uint32_t)op->key,
                            .kind = op->kind,
                            .long_reply = op->long_reply,
                            .piece = op->piece};
    str_append(&l->out, &q, sizeof(q));
    op->number = ++l->count;
    op->state = OP_SENT;
    op->lane = l;
    op->overtaken = false;
    op->sent_us = local_now(p);
    list_remove(&op->link);
    list_append(&l->ops, &op->link);
}

static void pump(struct sim_proxy *p)
{
    int64_t now = local_now(p);
    LIST_FOREACH_SAFE(it, &p->held) {
        struct sim_op *op = container_of(it, struct sim_op, link);
        if (now >= op->deadline_us) {
            finish_as(op, REPLY_REFUSED);
            continue;
        }
        if (now < op->retry_us) {
            continue;
        }
        struct sim_lane *l = lane_for(p, op);
        if (l == NULL) {
            continue;
        }
        lane_open(p, l);
        if (l->up) {
            send_op(p, op, l);
        } else {
            op->retry_us = now + 1000; /* or another reader */
        }
    }
}

void proxy_submit(struct sim_proxy *p, struct sim_op *op)
{
    op->state = OP_HELD;
    op->deadline_us = local_now(p) + p->hold_us;
    list_append(&p->held, &op->link);
    host_wake(p->host);
}

/* --- replies --- */

static void answered(struct sim_proxy *p, struct sim_op *op, const struct sim_reply *r)
{
    switch ((enum reply_status)r->status) {
    case REPLY_OK:
        finish(op, r);
        break;
    case REPLY_MOVED:
    case REPLY_DOWN:
    case REPLY_TRYAGAIN:
        if (op->overtaken) {
            finish_as(op, REPLY_REFUSED);
        } else {
            hold_op(p, op, world_between(&p->sim->world, 2000, 30000));
        }
        break;
    case REPLY_NOREPLICAS:
    case REPLY_UNKNOWN:
    case REPLY_REFUSED:
    default:
        finish_as(op, REPLY_REFUSED);
        break;
    }
}

static void lane_said(struct sim_proxy *p, struct sim_lane *l, const char *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t n;
        struct sim_reply r;
        memcpy(&n, data + at, sizeof(n));
        if (n != sizeof(r) || list_empty(&l->ops)) {
            world_fail(&p->sim->world, "proxy %d: a reply to nothing", p->index);
            return;
        }
        memcpy(&r, data + at + sizeof(n), sizeof(r));
        at += sizeof(n) + n;
        answered(p, container_of(l->ops.next, struct sim_op, link), &r);
    }
}

/* --- FATE --- */

static void fate_free(struct sim_proxy *p, struct fate *f)
{
    if (f->end != NULL) {
        net_close(p->sim->world.net, f->end);
    }
    list_remove(&f->link);
    mem_free(f);
}

static void fate_again(struct fate *f)
{
    f->end = NULL;
    f->asked = false;
    f->retry_us = local_now(f->proxy) + world_between(&f->proxy->sim->world, 5000, 50000);
}

static void fate_connect(struct sim_proxy *p, struct fate *f)
{
    const struct map_shard *s = p->map == NULL ? NULL : &p->map->shards[f->shard];
    if (f->end != NULL || s == NULL || s->primary == NODE_NONE || local_now(p) < f->retry_us) {
        return;
    }
    f->end = net_connect(p->sim->world.net, p->host,
                         node_host(p->sim->nodes[node_of(p, s->primary)]), SERVICE_LANES, f);
}

static void fate_ask(struct sim_proxy *p, struct fate *f)
{
    int64_t now = local_now(p);
    int64_t first = now;
    uint64_t from = UINT64_MAX;
    LIST_FOREACH(it, &f->ops) {
        const struct sim_op *op = container_of(it, struct sim_op, link);
        first = MIN(first, op->sent_us);
        from = MIN(from, op->number);
    }
    struct sim_request q = {.type = REQUEST_FATE,
                            .shard = (uint32_t)f->shard,
                            .tag = f->tag = ++p->tags,
                            .lane = f->lane,
                            .from = from,
                            .age_us = now - first + f->patience_us};
    f->asked = true;
    f->asked_us = now;
    net_send(p->sim->world.net, f->end, &q, sizeof(q));
}

static const struct sim_fate_item *item_of(const struct sim_fate_item *items, uint32_t n,
                                           uint64_t number)
{
    for (uint32_t i = 0; items != NULL && i < n; i++) {
        if (items[i].number == number) {
            return &items[i];
        }
    }
    return NULL;
}

/* A later command of the same client is in the log: this one cannot take its place any more. */
static bool is_overtaken(const struct fate *f, const struct sim_op *op,
                         const struct sim_fate_item *items, uint32_t n)
{
    LIST_FOREACH(it, &f->ops) {
        const struct sim_op *other = container_of(it, struct sim_op, link);
        if (other->client == op->client && other->seq > op->seq &&
            item_of(items, n, other->number) != NULL) {
            return true;
        }
    }
    return op->overtaken && op->client->last_seq[op->shard] > op->seq;
}

static void fate_resolve(struct sim_proxy *p, struct fate *f, const struct sim_fate *head,
                         const struct sim_fate_item *items)
{
    LIST_FOREACH(it, &f->ops) {
        struct sim_op *op = container_of(it, struct sim_op, link);
        op->overtaken = is_overtaken(f, op, items, head->count);
    }
    LIST_FOREACH_SAFE(it, &f->ops) {
        struct sim_op *op = container_of(it, struct sim_op, link);
        const struct sim_fate_item *i = item_of(items, head->count, op->number);
        if (i != NULL && i->kept) {
            p->sim->counts.resolved++;
            finish(op, &i->reply);
        } else if (i != NULL || (!head->complete && !SIM_PLANTED(RESEND_INCOMPLETE))) {
            finish_as(op, REPLY_UNKNOWN);
        } else if (op->overtaken) {
            finish_as(op, REPLY_REFUSED);
        } else {
            p->sim->counts.resent++;
            hold_op(p, op, 0);
        }
    }
}

static void fate_said(struct sim_proxy *p, struct fate *f, const char *data, size_t len)
{
    struct sim_fate head;
    if (len < 4 + sizeof(head)) {
        world_fail(&p->sim->world, "proxy %d: half an answer to FATE", p->index);
        return;
    }
    memcpy(&head, data + 4, sizeof(head));
    int64_t late = local_now(p) - f->asked_us;
    if (head.status != REPLY_OK || head.tag != f->tag ||
        (late > f->patience_us && !SIM_PLANTED(FATE_LATE))) {
        f->patience_us = MAX(f->patience_us, late * 2);
        net_close(p->sim->world.net, f->end);
        fate_again(f);
        return;
    }
    struct sim_fate_item *items = mem_alloc(head.count * sizeof(*items) + 1);
    memcpy(items, data + 4 + sizeof(head), head.count * sizeof(*items));
    fate_resolve(p, f, &head, items);
    mem_free(items);
    fate_free(p, f);
}

static void fates_tick(struct sim_proxy *p)
{
    int64_t now = local_now(p);
    LIST_FOREACH_SAFE(it, &p->fates) {
        struct fate *f = container_of(it, struct fate, link);
        if (SIM_PLANTED(RESEND_UNASKED)) {
            struct sim_fate none = {.complete = true};
            fate_resolve(p, f, &none, NULL);
            fate_free(p, f);
            continue;
        }
        LIST_FOREACH_SAFE(oit, &f->ops) {
            struct sim_op *op = container_of(oit, struct sim_op, link);
            if (now >= op->deadline_us + p->hold_us) {
                finish_as(op, REPLY_UNKNOWN);
            }
        }
        if (list_empty(&f->ops)) {
            fate_free(p, f);
        } else if (f->asked && now - f->asked_us > 2 * US_PER_S + f->patience_us) {
            net_close(p->sim->world.net, f->end);
            fate_again(f);
        } else {
            fate_connect(p, f);
        }
    }
}

/* --- host --- */

static bool is_lane(const struct sim_proxy *p, const void *owner)
{
    const char *at = owner;
    return at >= (const char *)p->lanes && at < (const char *)p->lanes + sizeof(p->lanes);
}

static void on_message(void *arg, struct net_end *end, const char *data, size_t len)
{
    struct sim_proxy *p = arg;
    if (end->service == SERVICE_PROXIES) {
        uint64_t epoch;
        memcpy(&epoch, data, sizeof(epoch));
        struct map *m = coordinators_published(p->sim->coordinator, epoch);
        if (p->map == NULL || m->epoch > p->map->epoch) {
            map_unref(&p->map);
            p->map = map_ref(m);
        }
    } else if (is_lane(p, end->owner)) {
        lane_said(p, end->owner, data, len);
    } else {
        fate_said(p, end->owner, data, len);
    }
}

static void on_connected(void *arg, struct net_end *end)
{
    struct sim_proxy *p = arg;
    if (end->service == SERVICE_PROXIES) {
        p->coordinator_up = true;
    } else if (is_lane(p, end->owner)) {
        struct sim_lane *l = end->owner;
        l->up = true;
        l->id = ++p->sim->lanes;
        l->count = 0;
        struct sim_request q = {.type = REQUEST_LANE, .lane = l->id};
        str_append(&l->out, &q, sizeof(q));
    } else {
        fate_ask(p, end->owner);
    }
}

static void on_closed(void *arg, struct net_end *end)
{
    struct sim_proxy *p = arg;
    if (end->service == SERVICE_PROXIES) {
        p->coordinator = NULL;
        p->coordinator_up = false;
        p->coordinator_retry_us = local_now(p) + CONNECT_AGAIN_US;
    } else if (is_lane(p, end->owner)) {
        suspect(p, ((struct sim_lane *)end->owner)->node);
        lane_down(p, end->owner);
    } else {
        fate_again(end->owner);
    }
}

static void on_failed(void *arg, struct net_end *end, bool refused)
{
    (void)refused;
    on_closed(arg, end);
}

static bool on_accepted(void *arg, struct net_end *end, int service)
{
    (void)arg;
    (void)end;
    (void)service;
    return false;
}

static void on_timer(void *arg)
{
    (void)arg;
}

/* What was sent and is not answered in time: the lane is given up. */
static void break_late(struct sim_proxy *p)
{
    int64_t now = local_now(p);
    for (int i = 0; i < p->sim->n_nodes; i++) {
        for (int k = READS; k <= WRITES; k++) {
            struct sim_lane *l = &p->lanes[i][k];
            if (!list_empty(&l->ops) &&
                now - container_of(l->ops.next, struct sim_op, link)->sent_us > p->hold_us) {
                lane_break(p, l);
            }
        }
    }
}

static void on_end(void *arg)
{
    struct sim_proxy *p = arg;
    int64_t now = local_now(p);
    if (p->coordinator == NULL && now >= p->coordinator_retry_us) {
        p->coordinator = net_connect(p->sim->world.net, p->host,
                                     coordinators_host(p->sim->coordinator), SERVICE_PROXIES, p);
    }
    break_late(p);
    fates_tick(p);
    pump(p);
    bool busy = !list_empty(&p->held) || !list_empty(&p->fates);
    int64_t next = INT64_MAX;
    for (int i = 0; i < p->sim->n_nodes; i++) {
        for (int k = READS; k <= WRITES; k++) {
            struct sim_lane *l = &p->lanes[i][k];
            if (l->up && l->out.len != 0) {
                net_send(p->sim->world.net, l->end, l->out.ptr, l->out.len);
                str_clear(&l->out);
            }
            if (!list_empty(&l->ops)) {
                next = now + US_PER_S / 2;
            }
        }
    }
    next = p->coordinator == NULL ? MIN(next, p->coordinator_retry_us) : next;
    host_timer(p->host, busy ? now + TICK_US : next);
}

static const struct host_ops proxy_ops = {
    .message = on_message,
    .connected = on_connected,
    .failed = on_failed,
    .accepted = on_accepted,
    .closed = on_closed,
    .timer = on_timer,
    .end = on_end,
};

struct sim_proxy *proxy_new(struct sim *s, int index)
{
    struct sim_proxy *p = mem_zalloc(sizeof(*p));
    p->sim = s;
    p->index = index;
    p->host = host_add(&s->world, &proxy_ops, p,
                       (int32_t)world_between(&s->world, -s->set.drift_ppm, s->set.drift_ppm));
    p->hold_us = world_between(&s->world, 5, 40) * US_PER_S;
    list_init(&p->held);
    list_init(&p->fates);
    for (int i = 0; i < SIM_NODES; i++) {
        for (int k = READS; k <= WRITES; k++) {
            p->lanes[i][k] = (struct sim_lane){.node = i, .kind = (enum lane_kind)k};
            list_init(&p->lanes[i][k].ops);
        }
    }
    p->n_clients = s->set.clients;
    for (int i = 0; i < p->n_clients; i++) {
        client_init(&p->clients[i], s, p, index * 100 + i);
    }
    return p;
}

static void forget(struct sim_proxy *p)
{
    for (int i = 0; i < p->n_clients; i++) {
        client_cut(&p->clients[i]);
    }
    LIST_FOREACH_SAFE(it, &p->fates) {
        struct fate *f = container_of(it, struct fate, link);
        list_remove(&f->link);
        mem_free(f);
    }
    for (int i = 0; i < SIM_NODES; i++) {
        for (int k = READS; k <= WRITES; k++) {
            struct sim_lane *l = &p->lanes[i][k];
            str_fini(&l->out);
            str_fini(&l->in);
            *l = (struct sim_lane){.node = i, .kind = (enum lane_kind)k};
            list_init(&l->ops);
        }
    }
    map_unref(&p->map);
    p->coordinator = NULL;
    p->coordinator_up = false;
    p->coordinator_retry_us = INT64_MIN;
}

void proxy_free(struct sim_proxy **pp)
{
    struct sim_proxy *p = *pp;
    if (p == NULL) {
        return;
    }
    forget(p);
    mem_free(p);
    *pp = NULL;
}

void proxy_start(struct sim_proxy *p)
{
    p->up = true;
    host_start(p->host, p);
    for (int i = 0; i < p->n_clients; i++) {
        client_begin(&p->clients[i]);
    }
}

void proxy_crash(struct sim_proxy *p)
{
    world_say(&p->sim->world, "proxy %d is killed", p->index);
    p->up = false;
    forget(p);
    host_crash(p->host, false);
}

struct sim_client *proxy_client(struct sim_proxy *p, int i)
{
    return &p->clients[i];
}
