// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/fate.h"

#include "node/serve/client.h"
#include "node/serve/replicate_priv.h"

struct told {
    struct outbuf out;
    struct resp_writer w;
    size_t n;
};

static void tell(void *arg, const struct entry *e)
{
    struct told *t = arg;
    t->n++;
    resp_int(&t->w, (int64_t)e->number);
    if (e->flags & ENTRY_REPLY_GONE) {
        resp_nil(&t->w);
    } else {
        resp_bulk(&t->w, e->reply);
    }
}

static uint32_t slot_in(const struct server *s, int shard)
{
    int n = s->ks->n_shards;
    return (uint32_t)(((int64_t)shard * KEYSPACE_SLOTS + n - 1) / n);
}

void fate_answer(struct client *c, struct call *k, const struct fate_question *q)
{
    struct server *s = c->server;
    uint64_t at = stream_end(c->stream);
    lanes_end(&s->lanes, q->lane);
    if (s->repl == NULL) {
        resp_error(&k->w, "ERR This instance has cluster support disabled");
        return;
    }
    struct told t = {.w = {.out = &t.out, .proto = 2}};
    struct repl_fate fate;
    struct repl_question ask = {
        .shard = q->shard, .lane = q->lane, .from = q->from, .time_ms = loop_wall_ms(s->loop)};
    int64_t age_ms = MIN(q->age_ms, INT64_MAX / 4000);
    ask.age_us = (age_ms + age_ms / 8 + 100) * 1000; /* clocks drift */
    enum repl_answer why = repl_fate(s->repl->core, &ask, replicate_now(s->repl), tell, &t, &fate);
    if (why == REPL_YES) {
        resp_array(&k->w, 2);
        resp_int(&k->w, fate.complete);
        resp_array(&k->w, 2 * t.n);
        outbuf_splice(k->w.out, &t.out);
        if (fate.barrier != 0) {
            holds_add(s->holds, c, at, q->shard, fate.barrier);
        }
    } else {
        struct str text = {0};
        replicate_refusal(s, c, why, slot_in(s, q->shard), true, &text);
        resp_error(&k->w, str_cstr(&text));
        str_fini(&text);
    }
    outbuf_fini(&t.out);
}
