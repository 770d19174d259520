// SPDX-License-Identifier: BSD-3-Clause
/* WAIT and WAITAOF: how many copies have what was written so far. Each node is asked for the
 * smallest number over the shards that it serves (a lane's WAIT answers what is so now); while that
 * is too little, they are asked again until the time is over. What counts is all that was written
 * before, whoever wrote it: the client's own is among it. */
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/value.h"

#define ASK_MS_MIN 2
#define ASK_MS_MAX 50

struct waiting {
    struct worker_open open;
    struct later *later;
    struct loop_timer timer;
    bool aof;
    int64_t local;
    int64_t replicas;
    int64_t until_us; /* 0: for ever */
    int64_t pause_ms;
};

static void drop(struct waiting *w)
{
    list_remove(&w->open.link);
    loop_timer_fini(&w->timer);
    later_drop(&w->later);
    mem_free(w);
}

static void give_up(struct waiting *w)
{
    struct later *l = w->later;
    list_remove(&w->open.link);
    loop_timer_fini(&w->timer);
    mem_free(w);
    resp_int(&l->w, 0);
    later_finish(&l);
}

static void on_worker_end(struct worker_open *o)
{
    struct waiting *w = container_of(o, struct waiting, open);
    if (loop_timer_active(&w->timer)) {
        give_up(w);
    } /* else its nodes are being asked: it goes with their answers, which may be failures */
}

/* Without a log of writes nothing is ever on disk. */
static bool is_refusal(struct slice reply)
{
    static const char text[] = "-ERR WAITAOF";
    return reply.len > sizeof(text) && memcmp(reply.ptr, text, sizeof(text) - 1) == 0;
}

/* One node's answer taken into the smallest ones; a node that serves nothing says -1. */
static void take(struct slice reply, bool aof, int64_t *local, int64_t *replicas)
{
    struct resp_value *v = resp_value_parse(reply);
    const struct resp_value *n = v;
    if (v != NULL && aof && v->type == RESP_ARRAY && v->count == 2) {
        if (v->items[0].number >= 0) {
            *local = MIN(*local, v->items[0].number);
        }
        n = &v->items[1];
    }
    if (n == NULL || n->type != RESP_INT) {
        *local = 0; /* it cannot be asked at this moment: nothing is known of its shards */
        *replicas = 0;
    } else if (n->number >= 0) {
        *replicas = MIN(*replicas, n->number);
    }
    resp_value_free(&v);
}

static void answered(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct waiting *w = arg;
    int64_t local = INT64_MAX, replicas = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        if (w->aof && is_refusal(answers[i].reply)) {
            outbuf_append(c->w->out, answers[i].reply.ptr, answers[i].reply.len);
            drop(w);
            return;
        }
        take(answers[i].reply, w->aof, &local, &replicas);
    }
    local = local == INT64_MAX ? 0 : local;
    replicas = replicas == INT64_MAX ? 0 : replicas;
    bool met = replicas >= w->replicas && (!w->aof || local >= w->local);
    const struct session *s = c->request->session;
    bool in_transaction = s != NULL && s->inner; /* whose commands do not wait, as with Redis */
    bool late = in_transaction || (w->until_us != 0 && loop_clock_us() >= w->until_us);
    if (!met && !late && !later_gone(w->later)) {
        c->fanned = true; /* it goes on: the reply comes from another round */
        loop_timer_start(&w->timer, w->pause_ms, 0);
        w->pause_ms = MIN(w->pause_ms * 2, ASK_MS_MAX);
        return;
    }
    if (w->aof) {
        resp_array(c->w, 2);
        resp_int(c->w, local);
    }
    resp_int(c->w, replicas);
    drop(w);
}

static enum local_result ask(struct local_call *c, struct waiting *w)
{
    struct slice words[4];
    size_t n = w->later->argc;
    memcpy(words, w->later->argv, n * sizeof(words[0]));
    words[n - 1] = SLICE("1"); /* the time is ours */
    return local_fan(c, words, n, answered, w);
}

static void on_timer(struct loop_timer *t)
{
    struct waiting *w = t->arg;
    struct later *l = w->later;
    if (later_gone(l)) {
        give_up(w);
        return;
    }
    struct local_call c = later_call(l);
    exec_set_now(l->exec, loop_now_us(l->worker->loop));
    (void)ask(&c, w);
}

static enum local_result wait_for(struct local_call *c, int64_t local, int64_t replicas)
{
    int64_t timeout_ms;
    if (!num_parse_i64(c->argv[c->argc - 1], &timeout_ms)) {
        return refuse(c, "ERR timeout is not an integer or out of range");
    }
    if (timeout_ms < 0) {
        return refuse(c, "ERR timeout is negative");
    }
    struct waiting *w = mem_zalloc(sizeof(*w));
    w->later = later_new(c);
    w->open.end = on_worker_end;
    list_append(&worker_of(c)->open, &w->open.link);
    w->aof = c->argc == 4;
    w->local = local;
    w->replicas = replicas;
    w->pause_ms = ASK_MS_MIN;
    w->until_us = timeout_ms == 0 ? 0 : loop_clock_us() + MIN(timeout_ms, INT64_MAX / 2000) * 1000;
    loop_timer_init(&w->timer, worker_of(c)->loop, on_timer, w);
    return ask(c, w);
}

static enum local_result do_wait(struct local_call *c)
{
    int64_t replicas;
    if (!num_parse_i64(c->argv[1], &replicas)) {
        return refuse(c, ERR_NOT_INT);
    }
    return wait_for(c, 0, replicas);
}

static enum local_result do_waitaof(struct local_call *c)
{
    int64_t local, replicas;
    if (!num_parse_i64(c->argv[1], &local) || local < 0 || local > 1) {
        return refuse(c, "ERR value is out of range, must be between 0 and 1");
    }
    if (!num_parse_i64(c->argv[2], &replicas) || replicas < 0) {
        return refuse(c, "ERR value is out of range, must be positive");
    }
    return wait_for(c, local, replicas);
}

void admin_wait(struct local_table *t)
{
    local_table_set(t, CMD_WAIT, do_wait, LOCAL_ORDERED);
    local_table_set(t, CMD_WAITAOF, do_waitaof, LOCAL_ORDERED);
}
