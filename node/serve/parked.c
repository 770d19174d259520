// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/parked.h"

#include "node/keyspace/blocked.h"
#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"
#include "node/serve/waiters.h"

#include "common/base/mem.h"
#include "common/cmd/slot.h"
#include "common/resp/errors.h"

#define ROLE_CHANGED                                                                               \
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
#define UNBLOCKED_BY_CLIENT "UNBLOCKED client unblocked via CLIENT UNBLOCK"

struct parked {
    struct blocker blocker;
    struct client *client;
    struct loop_timer timer;
    const struct command *cmd;
    const struct slice *argv; /* with the bytes behind them, and those of its first life */
    size_t argc;
    uint64_t lane;
    uint64_t number;
    bool null_bulk;
};

/* --- the end --- */

static void drop(struct parked **pp)
{
    struct parked *p = *pp;
    *pp = NULL;
    blocked_end(&p->blocker, p->client->server->ks);
    loop_timer_fini(&p->timer);
    mem_free((void *)(uintptr_t)p->argv);
    mem_free(p);
}

void parked_forget(struct client *c)
{
    if (c->parked != NULL) {
        drop(&c->parked);
    }
}

bool parked_has_timeout(const struct client *c)
{
    return c->parked != NULL && loop_timer_active(&c->parked->timer);
}

/* It was answered: what its client sent meanwhile may run. */
static void leave(struct client *c)
{
    parked_forget(c);
    dispatch_answered(c);
    client_unblock(c);
    client_check_output(c);
}

static void answer_error(struct client *c, const char *text)
{
    struct resp_writer w = {.out = client_out(c), .proto = c->session.proto};
    resp_error(&w, text);
    dispatch_count(c, c->parked->cmd, &w);
    leave(c);
}

static void answer_null(struct client *c)
{
    struct resp_writer w = {.out = client_out(c), .proto = c->session.proto};
    if (c->parked->null_bulk) {
        resp_nil(&w);
    } else {
        resp_nil_array(&w);
    }
    dispatch_count(c, c->parked->cmd, &w);
    leave(c);
}

static void on_timeout(struct loop_timer *t)
{
    struct parked *p = t->arg;
    answer_null(p->client);
}

bool parked_unblock(struct client *c, bool error)
{
    if ((c->flags & CLIENT_CLOSING) != 0) {
        return false;
    }
    if (c->parked == NULL) {
        return waiters_unblock(c, error ? UNBLOCKED_BY_CLIENT : NULL);
    }
    if (error) {
        answer_error(c, UNBLOCKED_BY_CLIENT);
    } else {
        answer_null(c);
    }
    return true;
}

/* --- the beginning --- */

/* One allocation for the slices and the bytes behind them. */
static const struct slice *copy_words(const struct slice *argv, size_t argc)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct slice *copy = mem_alloc(argc * sizeof(*copy) + bytes);
    char *to = (char *)(copy + argc);
    for (size_t i = 0; i < argc; i++) {
        copy[i] = slice_of(to, argv[i].len);
        memcpy(to, argv[i].ptr == NULL ? "" : argv[i].ptr, argv[i].len);
        to += argv[i].len;
    }
    return copy;
}

void parked_begin(struct server *s, struct client *c, struct call *k)
{
    const struct call_wait *w = &k->wait;
    struct parked *p = mem_zalloc(sizeof(*p));
    p->client = c;
    p->cmd = k->cmd;
    p->argv = copy_words(w->words == NULL ? k->argv : w->words, k->argc);
    p->argc = k->argc;
    p->lane = k->lane;
    p->number = k->number;
    p->null_bulk = w->null_bulk;
    blocker_init(&p->blocker);
    blocked_wait(&p->blocker, &k->db, &k->argv[w->first], w->n, w->type, w->on_removal);
    loop_timer_init(&p->timer, s->loop, on_timeout, p);
    if (w->until_ms != 0) {
        loop_timer_start(&p->timer, MAX(w->until_ms - k->now_ms, 1), 0);
    }
    INVARIANT(c->parked == NULL);
    c->parked = p;
    client_block(c);
}

/* --- another try --- */

static void try_again(struct server *s, struct parked *p, int64_t now_ms)
{
    struct client *c = p->client;
    struct call k = {.cmd = p->cmd,
                     .argv = p->argv,
                     .argc = p->argc,
                     .w = {.out = client_out(c), .proto = c->session.proto},
                     .session = &c->session,
                     .ks = s->ks,
                     .rng = &s->rng,
                     .now_ms = now_ms,
                     .lane = p->lane,
                     .number = p->number,
                     .server = s,
                     .wait = {.allowed = true}};
    dispatch_again(s, c, &k);
    if (!k.wait.asked) {
        leave(c);
        return;
    }
    if (k.wait.words != NULL && k.wait.words != p->argv) {
        const struct slice *words = copy_words(k.wait.words, p->argc);
        mem_free((void *)(uintptr_t)p->argv);
        p->argv = words;
    }
    blocked_tried(&p->blocker);
}

void parked_serve(struct server *s)
{
    if (LIKELY(s->ks->blocked_keys == 0) || !blocked_ready(s->ks)) {
        return;
    }
    int64_t now_ms = loop_wall_ms(s->loop);
    struct blocker *b;
    while ((b = blocked_next(s->ks, now_ms)) != NULL) {
        struct parked *p = container_of(b, struct parked, blocker);
        if (p->client->flags & CLIENT_CLOSING) {
            parked_forget(p->client);
        } else {
            try_again(s, p, now_ms);
        }
    }
}

/* --- shards that come and go --- */

static bool elsewhere(const struct server *s, const struct parked *p, uint32_t *slot)
{
    struct probe at;
    struct slice key;
    for (size_t i = 0; blocker_key(&p->blocker, i, &at, &key); i++) {
        if (s->map->shards[at.shard].primary != s->self || s->self == NODE_NONE) {
            *slot = at.slot;
            return true;
        }
    }
    return false;
}

void parked_map_changed(struct server *s)
{
    if (s->ks->blocked_keys == 0 || s->map == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        uint32_t slot;
        if (c->parked == NULL || (c->flags & CLIENT_CLOSING) != 0 ||
            !elsewhere(s, c->parked, &slot)) {
            continue;
        }
        const struct map *m = s->map;
        int primary = m->shards[keyspace_shard_of(s->ks, (int)slot)].primary;
        if (primary == NODE_NONE) {
            answer_error(c, ROLE_CHANGED);
        } else {
            struct str text = {0};
            s->stats.redirects++;
            str_printf(&text, "MOVED %u %s:%d", slot, m->nodes[primary].host,
                       m->nodes[primary].port);
            answer_error(c, str_cstr(&text));
            str_fini(&text);
        }
    }
}

void parked_shard_serves(struct server *s, int shard)
{
    if (s->ks->blocked_keys > 0) {
        blocked_touch_db(s->ks, -1, shard);
    }
}

void parked_end_all(struct server *s)
{
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (c->parked != NULL) {
            answer_error(c, ROLE_CHANGED);
        }
    }
}
