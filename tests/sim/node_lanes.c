// SPDX-License-Identifier: BSD-3-Clause
/* Commands on a simulated node: executed in order, replies held until what they saw is committed
 * and given in order, lanes ended when what they wait for can only be told by another node. */
#include "common/base/mem.h"
#include "common/base/num.h"

#include "tests/sim/node_priv.h"

#include <string.h>

bool lanes_accepted(struct sim_node *n, struct net_end *end)
{
    struct session *s = mem_zalloc(sizeof(*s));
    s->end = end;
    end->owner = s;
    list_init(&s->replies);
    list_append(&n->sessions, &s->link);
    return true;
}

static void drop_replies(struct session *s)
{
    LIST_FOREACH_SAFE(it, &s->replies) {
        struct held_reply *h = container_of(it, struct held_reply, link);
        list_remove(&h->link);
        str_fini(&h->bytes);
        mem_free(h);
    }
}

static void session_free(struct session *s)
{
    drop_replies(s);
    list_remove(&s->link);
    str_fini(&s->out);
    mem_free(s);
}

void lanes_closed(struct sim_node *n, struct session *s)
{
    (void)n;
    session_free(s);
}

void lanes_free(struct sim_node *n)
{
    LIST_FOREACH_SAFE(it, &n->sessions) {
        session_free(container_of(it, struct session, link));
    }
}

/* --- replies --- */

static struct held_reply *hold(struct session *s, int shard, uint64_t barrier, bool write,
                               const void *bytes, size_t len)
{
    struct held_reply *h = mem_zalloc(sizeof(*h));
    h->shard = shard;
    h->barrier = barrier;
    h->write = write;
    uint32_t n = (uint32_t)len;
    str_append(&h->bytes, &n, sizeof(n));
    str_append(&h->bytes, bytes, len);
    list_append(&s->replies, &h->link);
    return h;
}

static uint32_t status_of(enum repl_answer a)
{
    switch (a) {
    case REPL_YES:
        return REPLY_OK;
    case REPL_MOVED:
        return REPLY_MOVED;
    case REPL_DOWN:
        return REPLY_DOWN;
    case REPL_TRYAGAIN:
        return REPLY_TRYAGAIN;
    case REPL_NOREPLICAS:
        return REPLY_NOREPLICAS;
    default:
        INVARIANT(!"an answer");
    }
    return REPLY_REFUSED;
}

/* What waits for this shard here will never be told here, or not surely. */
void lanes_state(struct sim_node *n, int shard, enum repl_state was, enum repl_state now)
{
    bool primary_ends =
        (was == REPL_SERVE || was == REPL_FENCED) && now != REPL_FENCED && now != REPL_SERVE;
    bool replica_ends = was == REPL_FOLLOW && now != REPL_FOLLOW;
    if (!primary_ends && !replica_ends) {
        return;
    }
    LIST_FOREACH(it, &n->sessions) {
        struct session *s = container_of(it, struct session, link);
        LIST_FOREACH(rit, &s->replies) {
            struct held_reply *h = container_of(rit, struct held_reply, link);
            if (h->shard != shard || h->barrier == 0) {
                continue;
            }
            if (h->barrier <= repl_commit(n->repl, shard)) {
                h->barrier = 0;
            } else if (h->write) {
                s->ended = true;
            } else {
                struct sim_reply again = {.status = REPLY_TRYAGAIN};
                uint32_t len = sizeof(again);
                str_clear(&h->bytes);
                str_append(&h->bytes, &len, sizeof(len));
                str_append(&h->bytes, &again, sizeof(again));
                h->barrier = 0;
            }
        }
    }
}

void lanes_flush(struct sim_node *n)
{
    struct net *net = n->sim->world.net;
    LIST_FOREACH_SAFE(it, &n->sessions) {
        struct session *s = container_of(it, struct session, link);
        while (!s->ended && !list_empty(&s->replies)) {
            struct held_reply *h = container_of(s->replies.next, struct held_reply, link);
            if (h->barrier != 0 && h->barrier > repl_commit(n->repl, h->shard) &&
                (!SIM_PLANTED(REPLY_AHEAD) || h->link.next == &s->replies)) {
                break;
            }
            str_append_slice(&s->out, str_slice(&h->bytes));
            list_remove(&h->link);
            str_fini(&h->bytes);
            mem_free(h);
        }
        if (s->out.len != 0) {
            net_send(net, s->end, s->out.ptr, s->out.len);
            str_clear(&s->out);
        }
        if (s->ended) {
            net_close(net, s->end);
            session_free(s);
        }
    }
}

/* --- commands --- */

static void to_reply(struct sim_reply *r, const struct cell *c)
{
    r->nil = !c->there;
    r->hash = c->value.hash;
    r->len = c->value.len;
}

static void run_read(struct sim_node *n, struct session *s, const struct sim_request *q)
{
    int shard = (int)q->shard;
    struct sim_reply r = {.status = status_of(repl_may_read(n->repl, shard, host_now_us(n->host)))};
    uint64_t barrier = 0;
    if (r.status == REPLY_OK) {
        struct shard_data *d = &n->shards[shard];
        if (!d->held || !d->whole) {
            world_fail(&n->sim->world, "node %d reads shard %d, of which it has no whole copy",
                       n->index, shard);
            return;
        }
        check_executed(n->sim, n, shard);
        to_reply(&r, &d->cells[q->key]);
        r.on_primary = repl_state(n->repl, shard) == REPL_SERVE;
        barrier = repl_barrier(n->repl, shard, key_hash((int)q->key));
    }
    hold(s, shard, barrier, false, &r, sizeof(r));
}

/* Executes; fills the reply, and the effects, if there are any. */
static void execute(struct shard_data *d, const struct sim_request *q, struct sim_reply *r,
                    struct str *effects, uint32_t *n_effects)
{
    char key = (char)q->key;
    struct cell *c = &d->cells[q->key];
    char number[NUM_I64_MAX_LEN];
    struct slice argv[3] = {SLICE("S"), slice_of(&key, 1), SLICE("")};
    size_t argc = 3;
    bool changes = true;
    char piece[24];
    struct slice value = slice_of(piece, piece_print(piece, q->piece));
    argv[2] = value;
    switch ((enum linear_kind)q->kind) {
    case LINEAR_SET:
        cell_set(d, key, value, true);
        break;
    case LINEAR_SETNX:
        changes = !c->there;
        r->number = changes;
        if (changes) {
            cell_set(d, key, value, true);
        }
        break;
    case LINEAR_DEL:
        changes = c->there;
        r->number = changes;
        argv[0] = SLICE("D");
        argc = 2;
        cell_set(d, key, SLICE(""), false);
        break;
    case LINEAR_APPEND:
        argv[0] = SLICE("A");
        cell_append(d, key, value);
        r->number = c->value.len;
        break;
    case LINEAR_INCR:
        r->number = c->number + 1;
        argv[2] = slice_of(number, num_print_i64(number, r->number));
        cell_set(d, key, argv[2], true);
        break;
    case LINEAR_GET:
    default:
        INVARIANT(!"a write");
    }
    if (changes) {
        effects_add(effects, 0, argv, argc);
        *n_effects = 1;
    }
}

static void run_write(struct sim_node *n, struct session *s, const struct sim_request *q)
{
    int shard = (int)q->shard;
    int64_t now = host_now_us(n->host);
    struct sim_reply r = {.status = status_of(repl_may_write(n->repl, shard))};
    if (r.status != REPLY_OK) {
        hold(s, shard, 0, true, &r, sizeof(r));
        return;
    }
    struct shard_data *d = &n->shards[shard];
    INVARIANT(d->held);
    INVARIANT(d->whole);
    char key = (char)q->key;
    if (repl_may_read(n->repl, shard, now) == REPL_YES) {
        check_executed(n->sim, n, shard);
    }
    bool copies = q->piece % 4 == 0;
    char from = (char)((key + 1) % SIM_KEYS);
    char to = SIM_HIDDEN;
    if (repl_copying(n->repl)) {
        repl_before_write(n->repl, shard, 0, key_hash(key), slice_of(&key, 1));
        if (copies) {
            repl_before_write(n->repl, shard, 0, key_hash(from), slice_of(&from, 1));
            repl_before_write(n->repl, shard, 0, key_hash(to), slice_of(&to, 1));
        }
    }
    struct str effects = {0};
    uint32_t n_effects = 0;
    execute(d, q, &r, &effects, &n_effects);
    if (n_effects != 0) {
        repl_touch(n->repl, shard, key_hash(key));
    }
    if (n_effects != 0 && copies) {
        const struct slice argv[3] = {SLICE("C"), slice_of(&to, 1), slice_of(&from, 1)};
        effects_add(&effects, 0, argv, 3);
        cell_copy(d, from);
        n_effects++;
        repl_touch(n->repl, shard, key_hash(to));
    }
    char kept[16];
    memcpy(kept, &r.status, 4);
    memcpy(kept + 4, &r.number, 8);
    struct entry e = {.shard = shard,
                      .flags = q->long_reply ? ENTRY_REPLY_GONE : 0,
                      .time_ms = n->sim->world.now_us / 1000,
                      .lane = s->lane,
                      .number = s->count,
                      .n_effects = n_effects,
                      .reply = slice_of(kept, q->long_reply ? 0 : 12),
                      .effects = str_slice(&effects)};
    r.version = repl_append(n->repl, &e, now);
    r.term = repl_term(n->repl, shard);
    r.on_primary = true;
    str_fini(&effects);
    hold(s, shard, repl_barrier_write(n->repl, shard, r.version), true, &r, sizeof(r));
}

/* --- FATE --- */

struct fate_walk {
    struct str *out;
    uint32_t count;
};

static void visit_fate(void *arg, const struct entry *e)
{
    struct fate_walk *w = arg;
    struct sim_fate_item item = {.number = e->number};
    item.reply.version = e->version;
    item.reply.term = e->term;
    item.reply.on_primary = true;
    if (!(e->flags & ENTRY_REPLY_GONE)) {
        INVARIANT(e->reply.len == 12);
        item.kept = 1;
        memcpy(&item.reply.status, e->reply.ptr, 4);
        memcpy(&item.reply.number, e->reply.ptr + 4, 8);
    }
    str_append(w->out, &item, sizeof(item));
    w->count++;
}

static bool lane_is_ended(const struct sim_node *n, uint64_t lane)
{
    for (size_t i = 0; i < n->n_ended; i++) {
        if (n->ended_lanes[i] == lane) {
            return true;
        }
    }
    return false;
}

void lanes_end(struct sim_node *n, uint64_t lane)
{
    if (SIM_PLANTED(LANE_LIVES) || lane_is_ended(n, lane)) {
        return;
    }
    LIST_FOREACH(it, &n->sessions) {
        struct session *s = container_of(it, struct session, link);
        if (s->lane == lane) {
            s->ended = true;
        }
    }
    n->ended_lanes = mem_realloc(n->ended_lanes, (n->n_ended + 1) * sizeof(*n->ended_lanes));
    n->ended_lanes[n->n_ended++] = lane;
}

static void run_fate(struct sim_node *n, struct session *s, const struct sim_request *q)
{
    lanes_end(n, q->lane);
    struct str out = {0};
    struct sim_fate head = {.tag = q->tag};
    str_append(&out, &head, sizeof(head));
    struct fate_walk w = {.out = &out};
    struct repl_fate fate = {0};
    struct repl_question ask = {.shard = (int)q->shard,
                                .lane = q->lane,
                                .from = q->from,
                                .age_us = q->age_us,
                                .time_ms = n->sim->world.now_us / 1000};
    enum repl_answer a = repl_fate(n->repl, &ask, host_now_us(n->host), visit_fate, &w, &fate);
    head.status = status_of(a);
    head.complete = fate.complete;
    head.count = a == REPL_YES ? w.count : 0;
    memcpy(out.ptr, &head, sizeof(head));
    world_say(&n->sim->world,
              "node %d shard %u: FATE of lane %llu from %llu, age %.3f s: status %u, complete %u, "
              "%u entries",
              n->index, q->shard, (unsigned long long)q->lane, (unsigned long long)q->from,
              (double)q->age_us / 1e6, head.status, head.complete, head.count);
    size_t len = sizeof(head) + head.count * sizeof(struct sim_fate_item);
    hold(s, (int)q->shard, a == REPL_YES ? fate.barrier : 0, true, out.ptr, len);
    str_fini(&out);
}

void lanes_message(struct sim_node *n, struct session *s, const char *data, size_t len)
{
    for (size_t at = 0; at + sizeof(struct sim_request) <= len && !s->ended;
         at += sizeof(struct sim_request)) {
        struct sim_request q;
        memcpy(&q, data + at, sizeof(q));
        if (q.type == REQUEST_LANE) {
            s->lane = q.lane;
            s->ended = lane_is_ended(n, q.lane);
            continue;
        }
        s->count++;
        if (q.type == REQUEST_FATE) {
            run_fate(n, s, &q);
        } else if (q.kind == LINEAR_GET) {
            run_read(n, s, &q);
        } else {
            run_write(n, s, &q);
        }
        if (n->sim->world.failed) {
            return;
        }
    }
}
