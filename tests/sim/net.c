// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/net.h"

#include "common/base/mem.h"

#include <string.h>

#define KEEPALIVE_US     (10 * US_PER_S)
#define CONNECT_LIMIT_US (3 * US_PER_S)
#define STALL_MIN_US     (3 * US_PER_S) /* words that do not get through break the connection */
#define STALL_MAX_US     (20 * US_PER_S)

enum message_kind { M_SYN, M_SYN_ACK, M_REFUSED, M_DATA, M_CLOSE };

struct net_message {
    struct list link; /* in an inbox, an end's stalled, or by itself while it flies */
    struct list all;
    struct net_end *to;
    enum message_kind kind;
    size_t len;
    char data[];
};

/* A connection. */
struct net_pair {
    struct list link;
    uint32_t refs; /* hosts that have an end, messages, events */
    struct net_end ends[2];
};

struct path {
    bool cut;
    int64_t low_us;
    int64_t high_us;
};

struct net {
    struct world *world;
    struct path paths[HOSTS_MAX][HOSTS_MAX];
    uint64_t id_last;
    struct list messages;
    struct list pairs;
};

struct net *net_new(struct world *w)
{
    struct net *net = mem_zalloc(sizeof(*net));
    net->world = w;
    list_init(&net->messages);
    list_init(&net->pairs);
    for (int i = 0; i < HOSTS_MAX; i++) {
        for (int j = 0; j < HOSTS_MAX; j++) {
            net->paths[i][j] = (struct path){.low_us = 50, .high_us = 400};
        }
    }
    return net;
}

void net_free(struct net **netp)
{
    struct net *net = *netp;
    if (net == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &net->messages) {
        mem_free(container_of(it, struct net_message, all));
    }
    LIST_FOREACH_SAFE(it, &net->pairs) {
        mem_free(container_of(it, struct net_pair, link));
    }
    mem_free(net);
    *netp = NULL;
}

/* --- a pair lives as long as anybody points at it --- */

static void end_unref(struct net_end *e)
{
    struct net_pair *pair = e->pair;
    if (--pair->refs == 0) {
        list_remove(&pair->link);
        mem_free(pair);
    }
}

static struct net_message *message_new(struct net *net, struct net_end *to, enum message_kind kind,
                                       const void *data, size_t len)
{
    struct net_message *m = mem_alloc(sizeof(*m) + len);
    *m = (struct net_message){.to = to, .kind = kind, .len = len};
    if (len != 0) {
        memcpy(m->data, data, len);
    }
    list_init(&m->link);
    list_append(&net->messages, &m->all);
    to->pair->refs++;
    return m;
}

static void message_free(struct net_message *m)
{
    struct net_end *to = m->to;
    list_remove(&m->link);
    list_remove(&m->all);
    mem_free(m);
    end_unref(to);
}

static void hand_over(struct net *net, struct net_message *m);

/* What keepalive finds: the other end is no more. */
static void keepalive(void *arg, uint64_t unused)
{
    (void)unused;
    struct net_end *e = arg;
    struct net *net = e->host->world->net;
    if (e->state == NET_OPEN) {
        hand_over(net, message_new(net, e, M_CLOSE, NULL, 0));
    }
    end_unref(e);
}

/* Of its host no more. */
static void end_leave(struct net_end *e)
{
    struct world *w = e->host->world;
    INVARIANT(e->state != NET_GONE);
    e->state = NET_GONE;
    list_remove(&e->link);
    if (e->peer->state == NET_OPEN) {
        e->pair->refs++;
        world_after(w, world_between(w, KEEPALIVE_US, 2 * KEEPALIVE_US), keepalive, e->peer, 0);
    }
    end_unref(e);
}

static int64_t delay(struct net *net, const struct path *p)
{
    struct world *w = net->world;
    int64_t base = p->low_us + (int64_t)rng_below(&w->rng, (uint64_t)(p->low_us / 2 + 1));
    return world_chance(w, 20000) ? world_between(w, base, MAX(base, p->high_us)) : base;
}

static void arrive(void *arg, uint64_t unused);

static struct path *path_to(struct net *net, const struct net_end *e)
{
    return &net->paths[e->peer->host->index][e->host->index];
}

static void fly(struct net *net, struct net_end *to, enum message_kind kind, const void *data,
                size_t len)
{
    struct net_message *m = message_new(net, to, kind, data, len);
    int64_t at = net->world->now_us + delay(net, path_to(net, to));
    to->arrives_us = MAX(to->arrives_us, at);
    world_at(net->world, to->arrives_us, arrive, m, 0);
}

/* Into the host's hands, or what its kernel says when nobody there wants it. */
static void hand_over(struct net *net, struct net_message *m)
{
    struct net_end *e = m->to;
    struct host *h = e->host;
    if (m->kind == M_SYN && e->state == NET_CONNECTING) {
        if (!h->up) {
            if (h->powered) {
                fly(net, e->peer, M_REFUSED, NULL, 0);
            }
            end_leave(e);
            message_free(m);
            return;
        }
        e->state = NET_OPEN; /* the kernel accepts, whatever the process is doing */
        fly(net, e->peer, M_SYN_ACK, NULL, 0);
    }
    if (e->state == NET_GONE) {
        if (m->kind == M_DATA && h->powered && e->peer->state == NET_OPEN) {
            fly(net, e->peer, M_CLOSE, NULL, 0);
        }
        message_free(m);
        return;
    }
    list_append(&h->inbox, &m->link);
    host_wake(h);
}

static void stall_over(void *arg, uint64_t stall)
{
    struct net_end *e = arg;
    struct net *net = e->host->world->net;
    struct net_end *from = e->peer;
    if (e->stall == stall && !list_empty(&e->stalled) && from->state != NET_GONE) {
        LIST_FOREACH_SAFE(it, &e->stalled) {
            message_free(container_of(it, struct net_message, link));
        }
        e->gap = true;
        hand_over(net, message_new(net, from, M_CLOSE, NULL, 0));
    }
    end_unref(e);
}

static void arrive(void *arg, uint64_t unused)
{
    (void)unused;
    struct net_message *m = arg;
    struct net_end *e = m->to;
    struct net *net = e->host->world->net;
    if (e->gap && m->kind == M_DATA) { /* it was on its way before the sender gave up */
        message_free(m);
        return;
    }
    if (!list_empty(&e->stalled) || path_to(net, e)->cut) {
        if (list_empty(&e->stalled)) {
            e->stall++;
            e->pair->refs++;
            world_after(net->world, world_between(net->world, STALL_MIN_US, STALL_MAX_US),
                        stall_over, e, e->stall);
        }
        list_append(&e->stalled, &m->link);
        return;
    }
    hand_over(net, m);
}

/* The cut has healed: what it held comes after all. */
static void release(void *arg, uint64_t stall)
{
    struct net_end *e = arg;
    struct net *net = e->host->world->net;
    while (e->stall == stall && !list_empty(&e->stalled) && !path_to(net, e)->cut) {
        struct net_message *m = container_of(e->stalled.next, struct net_message, link);
        list_remove(&m->link);
        hand_over(net, m);
    }
    end_unref(e);
}

/* --- what hosts do --- */

static struct net_end *end_init(struct net_pair *pair, int side, struct host *h, int service)
{
    struct net_end *e = &pair->ends[side];
    *e = (struct net_end){
        .host = h, .peer = &pair->ends[1 - side], .service = service, .pair = pair};
    list_init(&e->stalled);
    list_append(&h->ends, &e->link);
    pair->refs++;
    return e;
}

static void connect_over(void *arg, uint64_t unused)
{
    (void)unused;
    struct net_end *e = arg;
    struct net *net = e->host->world->net;
    if (e->state == NET_CONNECTING) {
        hand_over(net, message_new(net, e, M_CLOSE, NULL, 0));
    }
    end_unref(e);
}

struct net_end *net_connect(struct net *net, struct host *from, struct host *to, int service,
                            void *owner)
{
    struct net_pair *pair = mem_zalloc(sizeof(*pair));
    list_append(&net->pairs, &pair->link);
    struct net_end *f = end_init(pair, 0, from, service);
    struct net_end *t = end_init(pair, 1, to, service);
    f->id = t->id = ++net->id_last;
    f->owner = owner;
    pair->refs++; /* for connect_over */
    world_after(net->world, CONNECT_LIMIT_US, connect_over, f, 0);
    fly(net, t, M_SYN, NULL, 0);
    return f;
}

void net_send(struct net *net, struct net_end *end, const void *data, size_t len)
{
    INVARIANT(end->state == NET_OPEN);
    fly(net, end->peer, M_DATA, data, len);
}

void net_close(struct net *net, struct net_end *end)
{
    fly(net, end->peer, M_CLOSE, NULL, 0);
    end_leave(end);
}

void net_deliver(struct net *net, struct host *h)
{
    struct net_message *m = container_of(h->inbox.next, struct net_message, link);
    list_remove(&m->link);
    struct net_end *e = m->to;
    enum net_state was = e->state;
    if (was != NET_GONE) {
        switch (m->kind) {
        case M_SYN:
            if (!h->ops->accepted(h->arg, e, e->service)) {
                net_close(net, e);
            }
            break;
        case M_SYN_ACK:
            e->state = NET_OPEN;
            h->ops->connected(h->arg, e);
            break;
        case M_DATA:
            h->ops->message(h->arg, e, m->data, m->len);
            break;
        case M_REFUSED:
        case M_CLOSE:
            if (was == NET_CONNECTING && e == &e->pair->ends[1]) {
                end_leave(e); /* nobody here has heard of it */
                break;
            }
            if (was == NET_CONNECTING) {
                h->ops->failed(h->arg, e, m->kind == M_REFUSED);
            } else {
                h->ops->closed(h->arg, e);
            }
            if (e->state != NET_GONE) {
                end_leave(e);
            }
            break;
        default:
            INVARIANT(!"a kind of message");
        }
    }
    message_free(m);
}

void net_host_gone(struct net *net, struct host *h, bool machine)
{
    LIST_FOREACH_SAFE(it, &h->inbox) {
        message_free(container_of(it, struct net_message, link));
    }
    while (!list_empty(&h->ends)) {
        struct net_end *e = container_of(h->ends.next, struct net_end, link);
        if (machine) {
            end_leave(e);
        } else {
            net_close(net, e);
        }
    }
}

/* --- faults --- */

void net_cut(struct net *net, int from, int to, bool cut)
{
    struct path *p = &net->paths[from][to];
    bool healed = p->cut && !cut;
    p->cut = cut;
    if (!healed) {
        return;
    }
    LIST_FOREACH_SAFE(it, &net->world->hosts[to].ends) {
        struct net_end *e = container_of(it, struct net_end, link);
        if (e->peer->host->index != from || list_empty(&e->stalled)) {
            continue;
        }
        if (world_chance(net->world, 750000)) {
            e->pair->refs++;
            world_after(net->world, world_between(net->world, 1000, US_PER_S), release, e,
                        e->stall);
        } else {
            LIST_FOREACH_SAFE(sit, &e->stalled) {
                message_free(container_of(sit, struct net_message, link));
            }
            hand_over(net, message_new(net, e, M_CLOSE, NULL, 0));
            if (e->peer->state != NET_GONE) {
                hand_over(net, message_new(net, e->peer, M_CLOSE, NULL, 0));
            }
        }
    }
}

bool net_is_cut(const struct net *net, int from, int to)
{
    return net->paths[from][to].cut;
}

void net_delay(struct net *net, int from, int to, int64_t low_us, int64_t high_us)
{
    net->paths[from][to].low_us = low_us;
    net->paths[from][to].high_us = high_us;
}

void net_break(struct net *net, int from, int to, bool from_only)
{
    LIST_FOREACH_SAFE(it, &net->world->hosts[from].ends) {
        struct net_end *e = container_of(it, struct net_end, link);
        if (e->peer->host->index != to || e->state != NET_OPEN) {
            continue;
        }
        hand_over(net, message_new(net, e, M_CLOSE, NULL, 0));
        if (!from_only && e->peer->state == NET_OPEN) {
            hand_over(net, message_new(net, e->peer, M_CLOSE, NULL, 0));
        }
    }
}
