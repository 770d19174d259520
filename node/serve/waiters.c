// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/waiters.h"

#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/replicate_priv.h"

#include "common/base/mem.h"
#include "common/resp/errors.h"

struct target {
    int shard;
    uint64_t version;
};

struct waiter {
    struct list link; /* server->waiters */
    struct client *client;
    struct loop_timer timer;
    bool aof;
    int64_t local;
    int64_t replicas;
    uint64_t offset; /* of the stream that Redis's replicas follow, if this node stands alone */
    uint32_t n;
    struct target of[];
};

void waiters_init(struct server *s)
{
    list_init(&s->waiters);
}

/* What was written until now. */
static struct waiter *snapshot(const struct server *s)
{
    int n = s->ks->n_shards;
    struct waiter *w = mem_zalloc(sizeof(*w) + (size_t)n * sizeof(w->of[0]));
    w->offset = follow_offset(s);
    for (int i = 0; s->repl != NULL && i < n; i++) {
        enum repl_state at = repl_state(s->repl->core, i);
        uint64_t version = repl_version(s->repl->core, i);
        if ((at == REPL_SERVE || at == REPL_FENCED) && version > 0) {
            w->of[w->n++] = (struct target){.shard = i, .version = version};
        }
    }
    return w;
}

static int64_t replicas_that_have(const struct server *s, const struct waiter *w)
{
    int64_t least = -1;
    if (s->settings->stand_alone) {
        return w->aof ? 0 : follow_acked(s, w->offset);
    }
    for (uint32_t i = 0; i < w->n; i++) {
        int n = repl_acked(s->repl->core, w->of[i].shard, w->of[i].version, w->aof);
        least = least < 0 ? n : MIN(least, n);
    }
    if (least >= 0 || s->map == NULL || s->repl == NULL) {
        return MAX(least, 0);
    }
    /* Nothing was written: whoever is in sync has it. */
    for (int i = 0; i < s->ks->n_shards; i++) {
        if (s->map->shards[i].primary == s->self && s->self != NODE_NONE) {
            int n = map_shard_in_sync(&s->map->shards[i]) - 1;
            least = least < 0 ? n : MIN(least, n);
        }
    }
    return MAX(least, 0);
}

static int64_t is_local(const struct server *s, const struct waiter *w)
{
    if (s->repl == NULL || !durable_logs(s)) {
        return 0;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        if (!repl_is_durable(s->repl->core, w->of[i].shard, w->of[i].version)) {
            return 0;
        }
    }
    return 1;
}

/* A proxy puts the nodes' answers together: this node has no part in it. */
static bool has_no_part(const struct server *s, const struct client *c)
{
    return (c->flags & CLIENT_LANE) != 0 && s->map != NULL &&
           (s->self == NODE_NONE || map_node_primaries(s->map, s->self) == 0);
}

static void answer(const struct server *s, const struct waiter *w, struct resp_writer *to)
{
    if (has_no_part(s, w->client)) {
        if (w->aof) {
            resp_array(to, 2);
            resp_int(to, -1);
        }
        resp_int(to, -1);
        return;
    }
    if (w->aof) {
        resp_array(to, 2);
        resp_int(to, is_local(s, w));
    }
    resp_int(to, replicas_that_have(s, w));
}

static bool is_met(const struct server *s, const struct waiter *w)
{
    return replicas_that_have(s, w) >= w->replicas && (!w->aof || is_local(s, w) >= w->local);
}

static void drop(struct waiter **wp)
{
    struct waiter *w = *wp;
    *wp = NULL;
    list_remove(&w->link);
    loop_timer_fini(&w->timer);
    mem_free(w);
}

/* It was answered: what its client sent meanwhile may run. */
static void leave(struct client *c)
{
    drop(&c->waiter);
    dispatch_answered(c);
    client_unblock(c);
}

static void finish(struct server *s, const struct waiter *w)
{
    struct client *c = w->client;
    struct resp_writer to = {.out = client_out(c), .proto = c->session.proto};
    answer(s, w, &to);
    leave(c);
}

static void on_timeout(struct loop_timer *t)
{
    const struct waiter *w = t->arg;
    finish(w->client->server, w);
}

static void begin(struct client *c, struct call *k, struct waiter *w, int64_t timeout_ms)
{
    struct server *s = c->server;
    bool at_once = (c->flags & CLIENT_LANE) != 0 || c->session.in_exec;
    loop_timer_init(&w->timer, s->loop, on_timeout, w);
    list_append(&s->waiters, &w->link);
    w->client = c;
    if (at_once || is_met(s, w)) {
        answer(s, w, &k->w);
        drop(&w);
        return;
    }
    c->waiter = w;
    client_block(c);
    if (s->settings->stand_alone) {
        follow_ask(s);
    }
    if (timeout_ms > 0) {
        loop_timer_start(&w->timer, timeout_ms, 0);
    }
}

void waiters_wait(struct server *s, struct client *c, struct call *k, int64_t replicas,
                  int64_t timeout_ms)
{
    struct waiter *w = snapshot(s);
    w->replicas = replicas;
    begin(c, k, w, timeout_ms);
}

void waiters_wait_aof(struct server *s, struct client *c, struct call *k, int64_t local,
                      int64_t replicas, int64_t timeout_ms)
{
    struct waiter *w = snapshot(s);
    w->aof = true;
    w->local = local;
    w->replicas = replicas;
    begin(c, k, w, timeout_ms);
}

void waiters_check(struct server *s)
{
    LIST_FOREACH_SAFE(it, &s->waiters) {
        struct waiter *w = container_of(it, struct waiter, link);
        if (is_met(s, w)) {
            finish(s, w);
        }
    }
}

bool waiters_unblock(struct client *c, const char *error)
{
    if (c->waiter == NULL) {
        return false;
    }
    if (error == NULL) {
        finish(c->server, c->waiter);
        return true;
    }
    struct resp_writer to = {.out = client_out(c), .proto = c->session.proto};
    resp_error(&to, error);
    leave(c);
    return true;
}

void waiters_forget(struct client *c)
{
    if (c->waiter != NULL) {
        drop(&c->waiter);
    }
}

size_t waiters_count(const struct server *s)
{
    size_t n = 0;
    LIST_FOREACH(it, &s->waiters) {
        n++;
    }
    return n;
}
