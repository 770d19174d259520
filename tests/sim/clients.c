// SPDX-License-Identifier: BSD-3-Clause
/* Clients with pipelines, and the history that they record. What a key is for is its number: 0 and
 * 5 count, 1 and 4 are set, 2 is appended to, 3 is won and deleted. */
#include "common/base/mem.h"

#include "tests/sim/sim.h"

#include <string.h>

void client_init(struct sim_client *c, struct sim *s, struct sim_proxy *p, int index)
{
    *c = (struct sim_client){.sim = s, .proxy = p, .index = index};
    c->depth = world_chance(&s->world, 500000) ? 1 : (int)world_between(&s->world, 2, 6);
    c->reader = world_chance(&s->world, 350000);
    list_init(&c->ops);
}

static void record_call(struct sim *s, struct sim_op *op)
{
    struct sim_key *k = &s->keys[op->shard][op->key];
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 256 : k->cap * 2;
        k->records = mem_realloc(k->records, k->cap * sizeof(*k->records));
    }
    op->record = k->count++;
    struct sim_record *r = &k->records[op->record];
    *r = (struct sim_record){0};
    r->op.call = s->world.now_us * 2;
    r->op.ret = LINEAR_NEVER;
    r->op.kind = op->kind;
    if (op->kind == LINEAR_SET || op->kind == LINEAR_SETNX || op->kind == LINEAR_APPEND) {
        char text[24];
        size_t len = piece_print(text, op->piece);
        r->op.value = linear_bytes(text, len);
    }
    r->excluded = op->kind == LINEAR_GET; /* until it is answered */
}

static enum linear_kind pick_kind(struct world *w, int key)
{
    static const enum linear_kind kinds[SIM_KEYS][4] = {
        {LINEAR_INCR, LINEAR_INCR, LINEAR_INCR, LINEAR_GET},
        {LINEAR_SET, LINEAR_SET, LINEAR_GET, LINEAR_GET},
        {LINEAR_APPEND, LINEAR_APPEND, LINEAR_GET, LINEAR_GET},
        {LINEAR_SETNX, LINEAR_SETNX, LINEAR_DEL, LINEAR_GET},
        {LINEAR_SET, LINEAR_GET, LINEAR_GET, LINEAR_GET},
        {LINEAR_INCR, LINEAR_GET, LINEAR_GET, LINEAR_GET},
    };
    return kinds[key][rng_below(&w->rng, 4)];
}

static void submit(struct sim_client *c, int shard, int key, enum linear_kind kind)
{
    struct sim *s = c->sim;
    struct sim_op *op = mem_zalloc(sizeof(*op));
    op->client = c;
    op->seq = ++c->seq;
    op->shard = shard;
    op->key = key;
    op->kind = kind;
    op->piece = ++s->pieces;
    op->long_reply = kind != LINEAR_GET && world_chance(&s->world, 3000);
    list_init(&op->link);
    list_append(&c->ops, &op->queue);
    c->n_ops++;
    record_call(s, op);
    proxy_submit(c->proxy, op);
}

static void think(void *arg, uint64_t timer);

static void think_soon(struct sim_client *c)
{
    struct world *w = &c->sim->world;
    world_after(w, world_between(w, c->sim->think_us / 4, c->sim->think_us * 2), think, c,
                ++c->timer);
}

static void think(void *arg, uint64_t timer)
{
    struct sim_client *c = arg;
    struct sim *s = c->sim;
    if (timer != c->timer || !proxy_is_up(c->proxy) || s->final) {
        return;
    }
    int burst = (int)world_between(&s->world, 1, c->depth);
    while (burst-- > 0 && c->n_ops < c->depth) {
        int key = (int)rng_below(&s->world.rng, SIM_KEYS);
        submit(c, (int)rng_below(&s->world.rng, (uint64_t)s->set.shards), key,
               c->reader ? LINEAR_GET : pick_kind(&s->world, key));
    }
    think_soon(c);
}

void client_begin(struct sim_client *c)
{
    think_soon(c);
}

void client_ask(struct sim_client *c, int shard, int key)
{
    submit(c, shard, key, LINEAR_GET);
}

/* A client's writes to one shard are in its log in the order in which it sent them. */
static void check_order(struct sim_client *c, const struct sim_op *op, const struct sim_reply *r)
{
    if (op->kind == LINEAR_GET || !c->sim->set.sync || r->version == 0) {
        return;
    }
    uint64_t seq = c->last_seq[op->shard];
    uint64_t version = c->last_version[op->shard];
    if ((op->seq > seq) != (r->version > version) && seq != 0 &&
        !check_may_have_lost(c->sim, op->shard)) {
        world_fail(&c->sim->world,
                   "client %d shard %d: its command %llu has version %llu, its command %llu %llu",
                   c->index, op->shard, (unsigned long long)op->seq, (unsigned long long)r->version,
                   (unsigned long long)seq, (unsigned long long)version);
    }
    if (op->seq > seq) {
        c->last_seq[op->shard] = op->seq;
        c->last_version[op->shard] = r->version;
    }
}

static void op_free(struct sim_client *c, struct sim_op *op)
{
    list_remove(&op->link);
    list_remove(&op->queue);
    c->n_ops--;
    mem_free(op);
}

void client_done(struct sim_client *c, struct sim_op *op, const struct sim_reply *r)
{
    struct sim *s = c->sim;
    struct sim_record *rec = &s->keys[op->shard][op->key].records[op->record];
    if (r->status == REPLY_OK) {
        rec->op.ret = s->world.now_us * 2 + 1;
        rec->op.number = r->number;
        if (op->kind == LINEAR_GET) {
            rec->op.value =
                (struct linear_value){.hash = r->nil ? 0 : r->hash, .len = r->len, .nil = r->nil};
            rec->excluded = !s->set.strong && !r->on_primary;
            s->counts.reads++;
        } else {
            s->counts.acknowledged++;
            check_order(c, op, r);
        }
    } else if (r->status == REPLY_UNKNOWN) {
        s->counts.unknown += op->kind != LINEAR_GET;
    } else {
        s->counts.refused++;
        world_say(&s->world, "client %d: %s of key %d shard %d is refused (%u), number %llu",
                  c->index, linear_kind_name(op->kind), op->key, op->shard, r->status,
                  (unsigned long long)op->number);
        rec->excluded = true;
    }
    op_free(c, op);
}

void client_cut(struct sim_client *c)
{
    while (!list_empty(&c->ops)) {
        op_free(c, container_of(c->ops.next, struct sim_op, queue));
    }
    c->timer++;
}
