// SPDX-License-Identifier: BSD-3-Clause
/* Commands about the whole keyspace or all nodes: DBSIZE, KEYS, FLUSHALL; RANDOMKEY. */
#include "proxy/exec/exec_priv.h"
#include "proxy/route/router.h"

#include "common/base/num.h"

/* What keeps a command that concerns everything from going now. */
static bool must_stop(struct exec *x, struct session *s, const struct command *c)
{
    /* Nothing may be refused behind which this was done: FCALL before FUNCTION LOAD REPLACE. */
    if (s->pending > 0 && (c->flags & CF_WRITE) && !s->inner) {
        session_stop(x, s, STOP_EMPTY);
        return true;
    }
    if (s->reads_open > 0 && !(c->flags & CF_READONLY)) {
        session_stop(x, s, STOP_READS);
        return true;
    }
    return false;
}

/* Primaries of at least one shard, or all nodes alive, marked with this walk. False: a shard has
 * none. */
static bool mark_targets(struct exec *x, bool shards_only)
{
    x->walk++;
    if (!shards_only) {
        LIST_FOREACH(it, &x->targets) {
            struct target *t = container_of(it, struct target, link);
            t->mark = t->alive ? x->walk : t->mark;
        }
        return !list_empty(&x->targets);
    }
    for (uint32_t i = 0; i < x->shards; i++) {
        if (x->routes[i].chosen == NULL) {
            return false;
        }
        x->routes[i].chosen->mark = x->walk;
    }
    return true;
}

/* Each shard that has no primary may still get one in time. */
static bool may_wait(const struct exec *x)
{
    if (x->map == NULL || !x->map->assigned || x->settings.retry_max_attempts == 0) {
        return false;
    }
    for (uint32_t i = 0; i < x->shards; i++) {
        int64_t lost = route_lost_us(x, (int)i);
        if (x->routes[i].chosen == NULL && x->now_us >= lost + x->settings.failover_hold_us) {
            return false;
        }
    }
    return true;
}

void stranded_resume(struct exec *x)
{
    struct list now;
    list_init(&now);
    while (!list_empty(&x->stranded)) {
        struct list *it = x->stranded.next;
        list_remove(it);
        list_append(&now, it);
    }
    while (!list_empty(&now)) {
        struct session *s = container_of(now.next, struct session, wait);
        list_remove(&s->wait);
        s->stop = STOP_NOT;
        session_go_on(x, s);
    }
}

enum exec_verdict exec_all(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, bool shards_only)
{
    if (must_stop(x, s, c)) {
        return EXEC_STOP;
    }
    if (!mark_targets(x, shards_only)) {
        if (may_wait(x)) {
            session_stop(x, s, STOP_ROUTES);
            list_append(&x->stranded, &s->wait);
            exec_wake(x, x->now_us + TICK_US);
            return EXEC_STOP;
        }
        x->counters.clusterdown++;
        return exec_refuse(x, s, c, ERR_CLUSTERDOWN);
    }
    uint64_t walk = x->walk;
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->mark == walk && !exec_room_for(x, s, t)) {
            return EXEC_STOP;
        }
    }
    x->counters.requests_all++;
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_ALL);
    const char *bytes;
    size_t len;
    struct chunk *chunk = gather_encode(in->argv, in->argc, &bytes, &len);
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->mark == walk) {
            struct part *p = gather_add(r);
            part_set_bytes(p, chunk, bytes, len);
            p->call.shard = CALL_NODE;
            p->call.target = t;
            p->call.write = !(c->flags & CF_READONLY);
        }
    }
    chunk_unref(&chunk);
    gather_begin(r);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        call_send_to(x, &g->parts[i]->call, g->parts[i]->call.target, LANE_WRITE);
    }
    gather_end(x, r);
    return EXEC_TAKEN;
}

/* A call to each shard, "SHOAL ON shard command": so it waits for a primary, is asked of the log
 * when a connection breaks, and follows a shard that moves, as any other call does, and no shard is
 * passed by or counted twice. */
static void add_each(struct exec *x, struct request *r, const struct exec_input *in, bool write)
{
    struct slice *words = mem_alloc((in->argc + 3) * sizeof(*words));
    char digits[NUM_I64_MAX_LEN];
    words[0] = SLICE("SHOAL");
    words[1] = SLICE("ON");
    memcpy(words + 3, in->argv, in->argc * sizeof(*words));
    for (uint32_t i = 0; i < x->shards; i++) {
        const char *bytes;
        size_t len;
        words[2] = slice_of(digits, num_print_u64(digits, i));
        struct chunk *chunk = gather_encode(words, in->argc + 3, &bytes, &len);
        struct part *p = gather_add(r);
        part_set_bytes(p, chunk, bytes, len);
        chunk_unref(&chunk);
        p->call.shard = (int)i;
        p->call.write = write;
    }
    mem_free(words);
}

enum exec_verdict exec_each(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in)
{
    bool write = !(c->flags & CF_READONLY);
    if (must_stop(x, s, c)) {
        return EXEC_STOP;
    }
    if (x->shards == 0) {
        x->counters.clusterdown++;
        return exec_refuse(x, s, c, ERR_CLUSTERDOWN);
    }
    for (uint32_t i = 0; i < x->shards; i++) {
        if (!exec_room_for(x, s, x->routes[i].primary)) {
            return EXEC_STOP;
        }
    }
    x->counters.requests_all++;
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_ALL);
    add_each(x, r, in, write);
    gather_begin(r);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        call_send(x, &g->parts[i]->call);
    }
    gather_end(x, r);
    return EXEC_TAKEN;
}

void all_answered(struct exec *x, struct request *r)
{
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    gather_drop_gone(r->gather);
    const struct part *p = script_changed(r->command, r->gather);
    if (p == NULL && router_urgent(r->command) && r->gather->n_parts > 0) {
        p = script_best(r->command, r->gather);
    }
    if (p != NULL) {
        outbuf_append_from(&o, p->reply_chunk, p->reply, p->reply_len);
    } else {
        merge_parts(r, &w);
    }
    request_reply_out(x, r, &o);
}

/* The primary of a random shard among those not asked yet: as likely as its share of the keys. */
static struct target *random_target(struct exec *x, const struct gather *g)
{
    uint32_t from = (uint32_t)rng_below(&x->rng, x->shards);
    for (uint32_t i = 0; i < x->shards; i++) {
        struct target *t = x->routes[(from + i) % x->shards].chosen;
        if (t != NULL && t->node >= 0 && (uint32_t)t->node < g->n_asked && !g->asked[t->node]) {
            return t;
        }
    }
    return NULL;
}

static void ask_random(struct exec *x, struct request *r, struct target *t)
{
    static const struct slice words[1] = {SLICE("RANDOMKEY")};
    const char *bytes;
    size_t len;
    struct gather *g = r->gather;
    struct chunk *chunk = gather_encode(words, 1, &bytes, &len);
    struct part *p = gather_add(r);
    part_set_bytes(p, chunk, bytes, len);
    chunk_unref(&chunk);
    p->call.shard = CALL_NODE;
    g->asked[t->node] = 1;
    gather_begin(r);
    call_send_to(x, &p->call, t, LANE_WRITE);
    gather_end(x, r);
}

enum exec_verdict exec_randomkey(struct exec *x, struct session *s, const struct command *c,
                                 const struct exec_input *in)
{
    (void)in;
    if (must_stop(x, s, c)) {
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_RANDOM);
    g->n_asked = x->map == NULL ? 0 : (uint32_t)x->map->n_nodes;
    g->asked = mem_zalloc(g->n_asked + 1);
    struct target *t = random_target(x, g);
    if (t == NULL) {
        x->counters.clusterdown++;
        request_error(x, r, ERR_CLUSTERDOWN);
        return EXEC_TAKEN;
    }
    x->counters.requests_all++;
    ask_random(x, r, t);
    return EXEC_TAKEN;
}

void random_answered(struct exec *x, struct request *r)
{
    struct gather *g = r->gather;
    const struct part *p = g->parts[0];
    bool nil = *p->reply == '_' || (p->reply_len >= 3 && memcmp(p->reply, "$-1", 3) == 0);
    if (p->gone) {
        memset(g->asked, 0, g->n_asked); /* what was its is with others now */
    }
    struct target *next = nil || p->gone ? random_target(x, g) : NULL;
    if (next == NULL) {
        request_reply(x, r, p->reply_chunk, p->reply, p->reply_len);
        return;
    }
    gather_drop_replies(g);
    ask_random(x, r, next);
}
