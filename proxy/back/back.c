// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/back/back.h"

#include "proxy/control/control.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/lane.h"

#include "common/base/mem.h"
#include "common/io/stream.h"

#define BACKEND_MAGIC 0xbac4e4d1u

struct back {
    struct loop *loop;
    struct control *control;
    struct exec *exec;
    int64_t connect_timeout_ms;
    int keepalive_seconds;
    uint32_t n_open;
    struct back_totals ended; /* of connections that are gone */
    struct list backends;
};

/* A lane's connection. */
struct backend {
    uint32_t magic;
    struct back *back;
    struct lane *lane;
    struct stream *stream;
    struct list link;
};

static void add_totals(struct back_totals *t, const struct stream *s)
{
    t->reads += s->reads;
    t->writes += s->writes;
    t->bytes_in += s->bytes_in;
    t->bytes_out += s->bytes_out;
}

static uint64_t backend_free(struct backend *b)
{
    uint64_t written = b->stream->bytes_out;
    add_totals(&b->back->ended, b->stream);
    if (b->lane->head != NULL) { /* its calls go elsewhere: nothing of them may still arrive */
        stream_abort(&b->stream);
    } else {
        stream_free(&b->stream);
    }
    list_remove(&b->link);
    b->back->n_open--;
    b->lane->io = NULL;
    b->magic = 0;
    mem_free(b);
    return written;
}

static void ended(struct backend *b, enum lane_end how)
{
    CHECK_OBJ(b, BACKEND_MAGIC);
    struct back *back = b->back;
    struct lane *l = b->lane;
    exec_set_now(back->exec, loop_now_us(back->loop));
    uint64_t written = backend_free(b);
    exec_lane_down(back->exec, l, how, written);
}

static void on_close(struct stream *s, int err)
{
    (void)err;
    ended(s->owner, LANE_BROKEN);
}

static void on_connect(struct stream *s, int err)
{
    struct backend *b = s->owner;
    if (err != 0) {
        ended(b, LANE_REFUSED);
        return;
    }
    exec_set_now(b->back->exec, loop_now_us(b->back->loop));
    stream_keepalive(s, b->back->keepalive_seconds);
    exec_lane_up(b->back->exec, b->lane);
}

static void on_data(struct stream *s)
{
    struct backend *b = s->owner;
    size_t want;
    exec_set_now(b->back->exec, loop_now_us(b->back->loop));
    size_t used = exec_replies(b->back->exec, b->lane, s->in.chunk, inbuf_unread(&s->in), &want);
    if (used == SIZE_MAX) {
        ended(b, LANE_BROKEN);
        return;
    }
    inbuf_consume(&s->in, used);
    s->want = want;
}

static void on_drained(struct stream *s)
{
    struct backend *b = s->owner;
    exec_set_now(b->back->exec, loop_now_us(b->back->loop));
    exec_lane_drained(b->back->exec, b->lane);
}

static void lane_open(void *env, struct lane *l)
{
    struct back *back = env;
    struct backend *b = mem_zalloc(sizeof(*b));
    b->magic = BACKEND_MAGIC;
    b->back = back;
    b->lane = l;
    l->io = b;
    back->n_open++;
    list_append(&back->backends, &b->link);
    b->stream = stream_connect(back->loop, l->target->host, l->target->port,
                               back->connect_timeout_ms, b, on_connect, on_data, on_close);
    b->stream->on_drained = on_drained;
    /* A node that ended executes nothing more: what has not left yet can go elsewhere. */
    b->stream->drop_at_eof = true;
    l->out = &b->stream->out;
}

static void lane_flush(void *env, struct lane *l)
{
    (void)env;
    const struct backend *b = l->io;
    stream_flush_later(b->stream);
}

static void lane_close(void *env, struct lane *l)
{
    (void)env;
    (void)backend_free(l->io);
}

static uint64_t lane_written(void *env, const struct lane *l)
{
    (void)env;
    const struct backend *b = l->io;
    return b->stream->bytes_out;
}

static void refused(void *env, const char *node_id, const char *answer)
{
    struct back *back = env;
    if (back->control != NULL) {
        control_report_refused(back->control, node_id, answer);
    }
}

struct back *back_new(struct loop *l, struct control *control)
{
    struct back *b = mem_zalloc(sizeof(*b));
    b->loop = l;
    b->control = control;
    b->connect_timeout_ms = 2000;
    b->keepalive_seconds = 60;
    list_init(&b->backends);
    return b;
}

void back_free(struct back **bp)
{
    struct back *b = *bp;
    *bp = NULL;
    if (b != NULL) {
        INVARIANT(list_empty(&b->backends));
        mem_free(b);
    }
}

void back_fill_port(struct back *b, struct exec_port *port)
{
    port->back = b;
    port->lane_open = lane_open;
    port->lane_flush = lane_flush;
    port->lane_close = lane_close;
    port->lane_written = lane_written;
    port->refused = refused;
}

void back_set_exec(struct back *b, struct exec *x)
{
    b->exec = x;
}

void back_set(struct back *b, int64_t connect_timeout_ms, int keepalive_seconds)
{
    b->connect_timeout_ms = connect_timeout_ms;
    b->keepalive_seconds = keepalive_seconds;
}

void back_totals(const struct back *b, struct back_totals *out)
{
    *out = b->ended;
    out->connections = b->n_open;
    LIST_FOREACH(it, &b->backends) {
        add_totals(out, container_of(it, struct backend, link)->stream);
    }
}
