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
    uint8_t mode;           /* enum park_mode */
    struct list link;       /* aside: client->aside */
    struct hmap_node aside; /* server->aside */
};

enum park_mode parked_mode(const struct client *c, const struct slice *argv, size_t argc,
                           size_t *skip, bool *again)
{
    *skip = 0;
    *again = false;
    if (LIKELY((c->flags & CLIENT_LANE) == 0) || argc < 3 || !slice_is(argv[0], "shoal")) {
        return PARK_HERE;
    }
    *skip = 2;
    *again = slice_is(argv[1], "repark") || slice_is(argv[1], "reready");
    if (slice_is(argv[1], "park") || slice_is(argv[1], "repark")) {
        return PARK_ASIDE;
    }
    if (slice_is(argv[1], "ready") || slice_is(argv[1], "reready")) {
        return PARK_NOTICE;
    }
    *skip = 0;
    return PARK_HERE;
}

/* --- aside --- */

static uint64_t aside_hash(uint64_t lane, uint64_t number)
{
    return (lane + number * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
}

static struct parked *find_aside(const struct client *c, uint64_t number)
{
    const struct hmap *m = &c->server->aside;
    for (struct hmap_node *n = hmap_first(m, aside_hash(c->lane, number)); n != NULL;
         n = hmap_same(n)) {
        struct parked *p = container_of(n, struct parked, aside);
        if (p->client == c && p->number == number) {
            return p;
        }
    }
    return NULL;
}

static void push_head(struct parked *p, struct outbuf *out)
{
    struct resp_writer w = {.out = out, .proto = 3};
    resp_push(&w, 3);
    resp_bulkz(&w, "park");
    resp_int(&w, (int64_t)p->number);
}

size_t parked_aside(const struct client *c)
{
    size_t n = 0;
    LIST_FOREACH(it, &c->aside) {
        n++;
    }
    return n;
}

/* --- the end --- */

static void drop(struct parked *p)
{
    struct client *c = p->client;
    blocked_end(&p->blocker, c->server->ks);
    if (p->mode == PARK_HERE) {
        c->parked = NULL;
    } else {
        list_remove(&p->link);
        hmap_remove(&c->server->aside, &p->aside);
    }
    loop_timer_fini(&p->timer);
    mem_free((void *)(uintptr_t)p->argv);
    mem_free(p);
}

void parked_forget(struct client *c)
{
    if (c->parked != NULL) {
        drop(c->parked);
    }
    LIST_FOREACH_SAFE(it, &c->aside) {
        drop(container_of(it, struct parked, link));
    }
}

bool parked_has_timeout(const struct client *c)
{
    return c->parked != NULL && loop_timer_active(&c->parked->timer);
}

/* It was answered: what its client sent meanwhile may run. */
static void leave(struct parked *p)
{
    struct client *c = p->client;
    bool here = p->mode == PARK_HERE;
    drop(p);
    if (here) {
        dispatch_answered(c);
        client_unblock(c);
    } else {
        stream_flush_later(c->stream);
    }
    client_check_output(c);
}

static struct resp_writer answer_begin(struct parked *p)
{
    struct client *c = p->client;
    if (p->mode != PARK_HERE) {
        push_head(p, client_out(c));
    }
    return (struct resp_writer){.out = client_out(c), .proto = c->session.proto};
}

static void answer_error(struct parked *p, const char *text)
{
    struct resp_writer w = answer_begin(p);
    resp_error(&w, text);
    dispatch_count(p->client, p->cmd, &w);
    leave(p);
}

static void answer_null(struct parked *p)
{
    struct resp_writer w = answer_begin(p);
    if (p->null_bulk) {
        resp_nil(&w);
    } else {
        resp_nil_array(&w);
    }
    dispatch_count(p->client, p->cmd, &w);
    leave(p);
}

static void on_timeout(struct loop_timer *t)
{
    answer_null(t->arg);
}

static void end_waiting(struct parked *p, bool error)
{
    if (error) {
        answer_error(p, UNBLOCKED_BY_CLIENT);
    } else {
        answer_null(p);
    }
}

bool parked_unblock(struct client *c, bool error)
{
    if ((c->flags & CLIENT_CLOSING) != 0) {
        return false;
    }
    if (c->parked == NULL) {
        return waiters_unblock(c, error ? UNBLOCKED_BY_CLIENT : NULL);
    }
    end_waiting(c->parked, error);
    return true;
}

bool parked_unpark(struct client *lane, uint64_t number, bool only_drop, bool error)
{
    struct parked *p = find_aside(lane, number);
    if (p == NULL) {
        return false;
    }
    if (only_drop) {
        drop(p);
    } else {
        end_waiting(p, error);
    }
    return true;
}

/* --- the beginning --- */

static void say_parked(struct call *k, const struct parked *p)
{
    bool others = k->wait.words != NULL && k->wait.words != k->argv && p->mode == PARK_ASIDE;
    if (others) { /* with which it would have to be asked elsewhere */
        resp_array(&k->w, 2);
    }
    resp_simple(&k->w, "PARKED");
    if (others) {
        resp_array(&k->w, p->argc);
        for (size_t i = 0; i < p->argc; i++) {
            resp_bulk(&k->w, p->argv[i]);
        }
    }
}

void parked_begin(struct server *s, struct client *c, struct call *k, enum park_mode mode)
{
    const struct call_wait *w = &k->wait;
    struct parked *p = mem_zalloc(sizeof(*p));
    p->client = c;
    p->cmd = k->cmd;
    p->argv = w->words == NULL ? call_copy_words(k->argv, k->argc) : w->words;
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
    p->mode = (uint8_t)mode;
    if (mode == PARK_HERE) {
        INVARIANT(c->parked == NULL);
        c->parked = p;
        client_block(c);
        return;
    }
    list_append(&c->aside, &p->link);
    hmap_insert(&s->aside, &p->aside, aside_hash(p->lane, p->number));
    say_parked(k, p);
}

/* --- another try --- */

static void try_again(struct server *s, struct parked *p, int64_t now_ms)
{
    struct client *c = p->client;
    struct outbuf aside = {0};
    bool here = p->mode == PARK_HERE;
    if (p->mode == PARK_NOTICE) {
        push_head(p, client_out(c));
        outbuf_append(client_out(c), "+READY\r\n", 8);
        leave(p);
        return;
    }
    struct call k = {.cmd = p->cmd,
                     .argv = p->argv,
                     .argc = p->argc,
                     .w = {.out = here ? client_out(c) : &aside, .proto = c->session.proto},
                     .session = &c->session,
                     .ks = s->ks,
                     .rng = &s->rng,
                     .now_ms = now_ms,
                     .lane = p->lane,
                     .number = p->number,
                     .server = s,
                     .wait = {.allowed = true}};
    struct outbuf head = {0};
    if (!here) {
        push_head(p, &head);
    }
    dispatch_again(s, c, &k, here ? NULL : &head);
    outbuf_fini(&head);
    outbuf_fini(&aside);
    if (!k.wait.asked) {
        leave(p);
        return;
    }
    if (k.wait.words != NULL) {
        mem_free((void *)(uintptr_t)p->argv);
        p->argv = k.wait.words;
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

static bool is_elsewhere(const struct server *s, const struct parked *p, uint32_t *slot)
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

/* Who waits for what another serves is told; a lane's are many. */
static void check_place(struct server *s, struct parked *p)
{
    uint32_t slot;
    if (!is_elsewhere(s, p, &slot)) {
        return;
    }
    const struct map *m = s->map;
    int primary = m->shards[keyspace_shard_of(s->ks, (int)slot)].primary;
    if (primary == NODE_NONE) {
        answer_error(p, ROLE_CHANGED);
        return;
    }
    struct str text = {0};
    s->stats.redirects++;
    str_printf(&text, "MOVED %u %s:%d", slot, m->nodes[primary].host, m->nodes[primary].port);
    answer_error(p, str_cstr(&text));
    str_fini(&text);
}

void parked_map_changed(struct server *s)
{
    if (s->ks->blocked_keys == 0 || s->map == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if ((c->flags & CLIENT_CLOSING) != 0) {
            continue;
        }
        if (c->parked != NULL) {
            check_place(s, c->parked);
        }
        LIST_FOREACH_SAFE(at, &c->aside) {
            check_place(s, container_of(at, struct parked, link));
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
            answer_error(c->parked, ROLE_CHANGED);
        }
        LIST_FOREACH_SAFE(at, &c->aside) {
            answer_error(container_of(at, struct parked, link), ROLE_CHANGED);
        }
    }
}
