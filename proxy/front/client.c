// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/client.h"

#include "proxy/exec/own.h"
#include "proxy/exec/pubsub.h"
#include "proxy/front/monitor.h"
#include "proxy/front/observe.h"
#include "proxy/front/options.h"
#include "proxy/front/users.h"
#include "proxy/front/worker_priv.h"
#include "proxy/route/request.h"

#include "common/app/client_line.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cmd/command.h"
#include "common/io/stream.h"

#include <stdio.h>

#define UNAUTHENTICATED_QUERY_MAX (1024 * 1024)

struct client *client_of(struct session *s)
{
    struct client *c = container_of(s, struct client, session);
    CHECK_OBJ(c, CLIENT_MAGIC);
    return c;
}

size_t client_memory(const struct client *c)
{
    size_t parser = c->parser == NULL ? 0 : sizeof(*c->parser) + resp_parser_memory(c->parser);
    return sizeof(*c) + stream_in_memory(c->stream) + stream_out_memory(c->stream) + parser +
           c->session.pending * sizeof(struct request) + exec_session_queue_bytes(&c->session);
}

void client_describe(const struct client *c, struct str *to)
{
    const struct session *s = &c->session;
    const struct stream *st = c->stream;
    size_t parser = c->parser == NULL ? 0 : resp_parser_memory(c->parser);
    size_t out = st->out.bytes == 0 ? 0 : stream_out_memory(st);
    struct own_view own = exec_tracking(s);
    char flags[12];
    (void)snprintf(flags, sizeof(flags), "%s%s%s%s%s%s%s%s", c->monitor ? "O" : "",
                   pubsub_listens(s) ? "P" : "", s->multi ? "x" : "",
                   exec_session_blocked(s) ? "b" : "", own.on ? "t" : "", own.broken ? "R" : "",
                   own.flags & OWN_BCAST ? "B" : "", s->no_evict ? "e" : "");
    const struct client_line line = {
        .id = s->id,
        .stream = st,
        .name = s->name,
        .since_ms = c->created_ms,
        .now_ms = loop_now_ms(c->worker->loop),
        .flags = flags,
        .db = s->db,
        .queued = s->multi ? (int)s->queued : -1,
        .unread = inbuf_unread(&st->in).len,
        .argv_bytes = parser,
        .queue_bytes = exec_session_queue_bytes(s),
        .memory = sizeof(*c) + stream_in_memory(st) + out + parser + exec_session_queue_bytes(s),
        .replying = st->out.bytes > 0,
        .last = s->last_command,
        .proto = s->proto,
        .user = acl_user_name(s->user),
        .channels = pubsub_count(s, TOPIC_CHANNEL),
        .patterns = pubsub_count(s, TOPIC_PATTERN),
        .shard_channels = pubsub_count(s, TOPIC_SHARD),
        .redirect = own.on ? (int64_t)own.redirect : -1,
    };
    client_line(&line, to);
}

/* --- parsing --- */

static void drop_parser(struct client *c)
{
    struct worker_impl *i = c->worker->impl;
    struct resp_parser *p = c->parser;
    c->parser = NULL;
    if (p == NULL) {
        return;
    }
    resp_parser_restart(p); /* a client that goes leaves half a message behind */
    if (i->n_spare < PARSERS_SPARE && resp_parser_memory(p) < 4096) {
        i->spare[i->n_spare++] = p;
    } else {
        resp_parser_fini(p);
        mem_free(p);
    }
}

/* The shared parser stopped inside this client's message: it is the client's until that is whole.
 */
static void keep_parser(struct client *c)
{
    struct worker_impl *i = c->worker->impl;
    struct resp_parser *fresh;
    if (i->n_spare > 0) {
        fresh = i->spare[--i->n_spare];
    } else {
        fresh = mem_alloc(sizeof(*fresh));
        resp_parser_init(fresh);
    }
    struct resp_parser swap = i->parser;
    i->parser = *fresh;
    *fresh = swap;
    c->parser = fresh;
}

static struct resp_parser *parser_of(struct client *c)
{
    struct resp_parser *p = c->parser != NULL ? c->parser : &c->worker->impl->parser;
    const struct proxy_options *o = c->worker->options;
    p->bulk_max = o->proto_max_bulk_len;
    p->unauthenticated = !c->session.authenticated;
    return p;
}

static void fatal(struct client *c, const char *text)
{
    exec_fatal(c->worker->exec, &c->session, text);
}

static void check_query_limit(struct client *c, size_t unread)
{
    struct worker *w = c->worker;
    size_t limit = (size_t)w->options->client_query_buffer_limit;
    if (!c->session.authenticated) {
        limit = MIN(limit, (size_t)UNAUTHENTICATED_QUERY_MAX);
    }
    if (unread > limit) {
        w->counters.killed_query++;
        log_event(LOG_VERBOSE, "client", "query buffer limit id=%llu bytes=%zu",
                  (unsigned long long)c->session.id, unread);
        client_kill(c, CLIENT_KILL_NOW);
    }
}

/* It has half-closed: the connection ends behind its last reply. */
static void finish_eof(struct client *c)
{
    struct session *s = &c->session;
    if (s->closing) {
        return;
    }
    s->closing = true;
    if (s->tail != NULL) {
        s->tail->close_after = true;
    } else {
        stream_close_after_flush(c->stream);
    }
}

/* One message. False: no more for now. */
static bool parse_one(struct client *c, struct stream *st)
{
    struct worker *w = c->worker;
    struct slice in = inbuf_unread(&st->in);
    struct resp_parser *p = parser_of(c);
    if (in.len == 0) {
        return false;
    }
    switch (resp_parse(p, in)) {
    case RESP_OK:
        break;
    case RESP_MORE:
        st->want = p->need;
        if (c->parser == NULL) {
            keep_parser(c);
        }
        check_query_limit(c, in.len);
        return false;
    case RESP_ERROR: {
        char text[128];
        snprintf(text, sizeof(text), "ERR Protocol error: %s", p->error);
        w->counters.protocol_errors++;
        fatal(c, text);
        return false;
    }
    }
    if (p->argc > 0) {
        const struct exec_input input = {.argv = p->argv,
                                         .argc = p->argc,
                                         .chunk = st->in.chunk,
                                         .bytes = p->is_inline ? NULL : in.ptr,
                                         .len = p->used};
        if (exec_command(w->exec, &c->session, &input) == EXEC_STOP) {
            if (!c->session.waits) { /* whose end must be noticed while it waits */
                stream_pause(st);
            }
            return false;
        }
        w->counters.commands++;
    }
    size_t used = p->used;
    if (UNLIKELY(used > 1024 * 1024)) {
        resp_parser_trim(p);
    }
    inbuf_consume(&st->in, used);
    return true;
}

static void on_data(struct stream *st)
{
    struct client *c = st->owner;
    struct worker *w = c->worker;
    bool more = true;
    exec_set_now(w->exec, loop_now_us(w->loop));
    st->want = 0;
    if (UNLIKELY(c->session.closing)) { /* never parsed: kept, it would grow without limit */
        inbuf_consume(&st->in, inbuf_unread(&st->in).len);
        return;
    }
    if (UNLIKELY(c->session.waits)) {
        check_query_limit(c, inbuf_unread(&st->in).len);
        more = c->session.stop == STOP_NOT;
    }
    if (UNLIKELY(c->parser != NULL) && more) {
        more = parse_one(c, st);
        if (more) { /* what was incomplete; the rest comes whole */
            drop_parser(c);
        }
    }
    while (LIKELY(more && !c->session.closing && !c->doomed)) {
        more = parse_one(c, st);
    }
    if (UNLIKELY(c->eof) && !c->doomed && c->session.stop == STOP_NOT) {
        finish_eof(c);
    }
}

/* Its oldest request waits for what may never come: nobody is there to hear of it. */
static bool waits_in_vain(const struct client *c)
{
    const struct request *r = c->session.head;
    return exec_session_blocked(&c->session) ||
           (r != NULL && r->command != NULL && r->state == REQUEST_WAITING &&
            (r->command->id == CMD_WAIT || r->command->id == CMD_WAITAOF));
}

static void on_eof(struct stream *st)
{
    struct client *c = st->owner;
    c->eof = true;
    if (waits_in_vain(c)) {
        client_kill(c, CLIENT_KILL_NOW);
    } else if (c->session.stop == STOP_NOT && !stream_paused(st)) {
        finish_eof(c);
    }
}

static void on_close(struct stream *st, int err)
{
    (void)err;
    struct client *c = st->owner;
    client_free(&c);
}

static void on_drained(struct stream *st)
{
    struct client *c = st->owner;
    c->over_soft = false;
    exec_set_now(c->worker->exec, loop_now_us(c->worker->loop));
    exec_session_drained(c->worker->exec, &c->session);
}

/* --- life --- */

enum output_class client_class(const struct client *c)
{
    return pubsub_listens(&c->session) ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
}

static const struct output_limit *limit_of(const struct client *c)
{
    return &c->worker->options->output_limits.of[client_class(c)];
}

void client_limits_changed(struct client *c)
{
    const struct output_limit *l = limit_of(c);
    uint64_t watch = SIZE_MAX;
    if (l->hard > 0) {
        watch = l->hard;
    }
    if (l->soft > 0) {
        watch = MIN(watch, l->soft);
    }
    c->session.out_watch = watch;
}

struct client *client_new(struct worker *w, int fd)
{
    struct client *c = mem_zalloc(sizeof(*c));
    const struct proxy_options *o = w->options;
    c->magic = CLIENT_MAGIC;
    c->worker = w;
    c->stream = stream_new(w->loop, fd, c, on_data, on_close);
    c->stream->on_drained = on_drained;
    c->stream->on_eof = on_eof;
    if (o->tcp_keepalive_ms > 0) {
        stream_keepalive(c->stream, (int)(o->tcp_keepalive_ms / 1000));
    }
    uint64_t id = atomic_fetch_add(&w->all->last_client_id, 1) + 1;
    session_init(&c->session, id, &c->stream->out);
    client_reset_user(c);
    c->created_ms = loop_now_ms(w->loop);
    client_limits_changed(c);
    list_append(&w->clients, &c->link);
    hmap_insert(&w->impl->by_id, &c->by_id, id);
    w->n_clients++;
    w->counters.connections_received++;
    return c;
}

void client_free(struct client **cp)
{
    struct client *c = *cp;
    *cp = NULL;
    CHECK_OBJ(c, CLIENT_MAGIC);
    struct worker *w = c->worker;
    exec_set_now(w->exec, loop_now_us(w->loop));
    exec_session_gone(w->exec, &c->session);
    monitor_stop(c);
    session_fini(&c->session);
    drop_parser(c);
    w->counters.net_in += c->stream->bytes_in;
    w->counters.net_out += c->stream->bytes_out;
    stream_free(&c->stream);
    list_remove(&c->link);
    hmap_remove(&w->impl->by_id, &c->by_id);
    w->n_clients--;
    atomic_fetch_sub(&w->all->n_clients, 1);
    c->magic = 0;
    mem_free(c);
}

void client_kill(struct client *c, enum client_kill how)
{
    struct worker *w = c->worker;
    if (c->doomed) {
        return;
    }
    if (how == CLIENT_KILL_AFTER_REPLY && !exec_session_blocked(&c->session)) {
        finish_eof(c);
        return;
    }
    c->doomed = true;
    c->session.closing = true;
    stream_pause(c->stream);
    loop_defer(w->loop, &w->impl->bury);
}

void client_drain(struct client *c)
{
    if (exec_session_blocked(&c->session)) {
        client_kill(c, CLIENT_KILL_NOW);
        return;
    }
    stream_stop_reading(c->stream);
    c->eof = true;
    if (!c->doomed && c->session.stop == STOP_NOT) {
        finish_eof(c);
    }
}

void client_cron(struct client *c, int64_t now_us)
{
    struct worker *w = c->worker;
    int64_t timeout_ms = pubsub_listens(&c->session) ? 0 : w->options->timeout_ms;
    outbuf_settle(&c->stream->out);
    if (c->eof && waits_in_vain(c)) {
        client_kill(c, CLIENT_KILL_NOW);
        return;
    }
    if (timeout_ms > 0 && c->session.pending == 0 && c->stream->out.bytes == 0 &&
        now_us - c->stream->active_us > timeout_ms * 1000) {
        w->counters.timeouts_idle++;
        client_kill(c, CLIENT_KILL_NOW);
        return;
    }
    if (c->over_soft && now_us - c->over_soft_us > limit_of(c)->soft_seconds * 1000000) {
        w->counters.killed_output++;
        client_kill(c, CLIENT_KILL_NOW);
    }
}

/* --- the sessions' part of exec's world --- */

static void session_flush(void *front, struct session *s)
{
    (void)front;
    stream_flush_later(container_of(s, struct client, session)->stream);
}

static void session_resume(void *front, struct session *s)
{
    struct stream *st = client_of(s)->stream;
    (void)front;
    stream_pause(st); /* resuming gives what came meanwhile */
    stream_resume(st);
}

static void session_close(void *front, struct session *s)
{
    (void)front;
    stream_close_after_flush(client_of(s)->stream);
}

static void session_http(void *front, struct session *s)
{
    struct worker *w = front;
    struct client *c = client_of(s);
    char peer[64];
    stream_peer(c->stream, peer, sizeof(peer));
    w->counters.protocol_errors++;
    log_event(LOG_WARNING, "client", "closed: it speaks HTTP id=%llu addr=%s",
              (unsigned long long)s->id, peer);
    client_kill(c, CLIENT_KILL_NOW);
}

static void session_over(void *front, struct session *s)
{
    struct worker *w = front;
    struct client *c = client_of(s);
    const struct output_limit *l = limit_of(c);
    if (l->hard > 0 && s->out->bytes > l->hard) {
        if (!c->doomed) {
            w->counters.killed_output++;
            log_event(LOG_VERBOSE, "client", "output buffer limit id=%llu bytes=%zu",
                      (unsigned long long)s->id, s->out->bytes);
        }
        client_kill(c, CLIENT_KILL_NOW);
    } else if (!c->over_soft) {
        c->over_soft = true;
        c->over_soft_us = loop_now_us(w->loop);
    }
}

/* --- CLIENT TRACKING REDIRECT --- */

struct telling {
    uint64_t from;
    uint64_t to;
    struct str value;
};

static void visit_told(struct worker *w, void *arg, struct str *answer)
{
    const struct telling *t = arg;
    struct client *c = worker_client_by_id(w, t->to);
    if (c != NULL && !c->doomed) {
        exec_set_now(w->exec, loop_now_us(w->loop));
        (void)exec_invalidate(w->exec, &c->session, str_slice(&t->value));
        str_append_char(answer, 'x');
    }
}

static void told(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct telling *t = arg;
    struct client *from = worker_client_by_id(asker, t->from);
    size_t found = 0;
    for (int i = 0; i < n; i++) {
        found += answers[i].len;
    }
    if (found == 0 && from != NULL && !from->doomed) {
        exec_redirect_broken(asker->exec, &from->session);
    }
    str_fini(&t->value);
    mem_free(t);
}

/* Its own worker is tried first: mostly nobody else needs to be asked. */
static void redirect(void *front, struct session *from, uint64_t to, struct slice value)
{
    struct worker *w = front;
    struct client *c = worker_client_by_id(w, to);
    if (c != NULL && !c->doomed) {
        (void)exec_invalidate(w->exec, &c->session, value);
        return;
    }
    struct telling *t = mem_zalloc(sizeof(*t));
    t->from = from->id;
    t->to = to;
    str_append_slice(&t->value, value);
    workers_ask(w, visit_told, t, told);
}

static void session_class(void *front, struct session *s)
{
    (void)front;
    client_limits_changed(client_of(s));
}

void client_check_output(struct client *c)
{
    if (c->session.out->bytes > c->session.out_watch) {
        session_over(c->worker, &c->session);
    }
}

static void request_over(void *front, const struct request *r, int64_t us)
{
    observe_request(front, r, us);
}

static void not_allowed(void *front, struct session *s, enum acl_answer why, struct slice object)
{
    worker_log_refusal(front, client_of(s), why, s->multi ? "multi" : "toplevel", object,
                       acl_user_name(s->user));
}

static void error_reply(void *front, const char *reply, size_t len)
{
    observe_error(front, reply, len);
}

static void wake_at(void *front, int64_t at_us)
{
    struct worker *w = front;
    int64_t after_us = MAX(at_us - loop_now_us(w->loop), 1000);
    w->impl->tick_at_us = loop_now_us(w->loop) + after_us;
    loop_timer_start(&w->impl->tick, after_us / 1000, 0);
}

void client_fill_port(struct exec_port *port)
{
    port->session_flush = session_flush;
    port->session_resume = session_resume;
    port->session_close = session_close;
    port->session_http = session_http;
    port->session_over = session_over;
    port->session_class = session_class;
    port->redirect = redirect;
    port->wake_at = wake_at;
    port->request_over = request_over;
    port->error_reply = error_reply;
    port->not_allowed = not_allowed;
}
