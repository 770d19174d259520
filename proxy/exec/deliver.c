// SPDX-License-Identifier: BSD-3-Clause
/* Replies leave in request order: what comes early is parked until it is its session's oldest. */
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/tx.h"

struct chunk *exec_keep(struct exec *x, struct chunk *chunk, const char **ptr, size_t len)
{
    if (len < OUTBUF_REF_MIN) {
        *ptr = tape_put(&x->park, *ptr, len); /* a small piece must not pin a large chunk */
        return chunk_ref(x->park);
    }
    return chunk_ref(chunk);
}

static void note_size(struct session *s, size_t len)
{
    if (len > s->reply_size) {
        s->reply_size = (uint32_t)MIN(len, UINT32_MAX);
    } else {
        s->reply_size -= (s->reply_size - (uint32_t)len) >> 3;
    }
}

static void write_parked(struct session *s, struct request *r)
{
    s->parked -= r->reply_out != NULL ? r->reply_out->bytes : r->reply_len;
    if (r->silent) {
        return;
    }
    if (r->reply_out != NULL) {
        outbuf_splice(s->out, r->reply_out);
    } else if (r->reply_chunk != NULL) {
        outbuf_append_from(s->out, r->reply_chunk, r->reply, r->reply_len);
    }
}

/* Takes the first request off the queue. True if the client is to be closed behind it. */
static bool pop_first(struct exec *x, struct session *s)
{
    struct request *r = s->head;
    bool close = r->close_after;
    s->head = r->next;
    if (s->head == NULL) {
        s->tail = NULL;
    }
    s->pending--;
    request_free(x, r);
    return close;
}

void session_pushed(struct exec *x, struct session *s, size_t bytes_before)
{
    /* With something there before, a flush is under way already. */
    if (bytes_before == 0 && s->out->bytes > 0) {
        x->port.session_flush(x->port.front, s);
    }
    if (UNLIKELY(s->out->bytes > s->out_watch)) {
        x->port.session_over(x->port.front, s);
    }
}

static bool may_resume(const struct exec *x, const struct session *s)
{
    switch ((enum session_stop)s->stop) {
    case STOP_READS:
        return s->reads_open == 0;
    case STOP_EMPTY:
        return s->pending == 0;
    case STOP_HELD:
        return s->held == 0;
    case STOP_WINDOW:
        return s->pending <= (uint64_t)x->settings.client_max_pending / 2 &&
               (uint64_t)s->pending * s->reply_size <= WINDOW_BYTES / 2;
    case STOP_OUTPUT: /* mostly by exec_session_drained */
        return s->out->bytes == 0 && s->parked == 0;
    case STOP_NOT:
    case STOP_PAUSE:  /* by its end */
    case STOP_ROUTES: /* by the map or time */
    case STOP_LANE:   /* by the lane */
        break;
    }
    return false;
}

void request_done_in_place(struct exec *x, struct request *r, size_t bytes_before)
{
    struct session *s = r->session;
    bool close = pop_first(x, s);
    while (s->head != NULL && s->head->state == REQUEST_READY && !close) {
        write_parked(s, s->head);
        close = pop_first(x, s);
    }
    if (UNLIKELY(s->inner)) {
        if (s->stop != STOP_NOT && may_resume(x, s)) {
            s->stop = STOP_NOT; /* nobody else would: it has no stream that is resumed */
        }
        s->moved(x, s);
        return;
    }
    if (UNLIKELY(s->own != NULL)) {
        own_replied(x, s);
    }
    session_pushed(x, s, bytes_before);
    if (UNLIKELY(close)) {
        s->closing = true;
        x->port.session_close(x->port.front, s);
    }
    if (UNLIKELY(s->stop != STOP_NOT)) {
        session_check_resume(x, s);
    }
}

void request_failed(struct exec *x, struct request *r, const char *reply, size_t len)
{
    x->counters.errors++;
    r->failed = true;
    if (r->queued && r->session != NULL) {
        tx_spoil(r->session);
    }
    if (x->port.error_reply != NULL) {
        x->port.error_reply(x->port.front, reply, len);
    }
}

void request_reply(struct exec *x, struct request *r, struct chunk *chunk, const char *ptr,
                   size_t len)
{
    struct session *s = r->session;
    if (UNLIKELY(*ptr == '-')) {
        request_failed(x, r, ptr, len);
    }
    if (UNLIKELY(s == NULL)) {
        request_free(x, r);
        return;
    }
    note_size(s, len);
    if (s->head == r) {
        size_t before = s->out->bytes;
        if (LIKELY(!r->silent)) {
            outbuf_append_from(s->out, chunk, ptr, len);
        }
        request_done_in_place(x, r, before);
        return;
    }
    r->state = REQUEST_READY;
    r->reply_chunk = exec_keep(x, chunk, &ptr, len);
    r->reply = ptr;
    r->reply_len = len;
    s->parked += len;
}

void request_reply_out(struct exec *x, struct request *r, struct outbuf *o)
{
    struct session *s = r->session;
    if (o->count > 0) {
        const struct outpiece *p = &o->pieces[o->first];
        if (UNLIKELY(p->chunk->data[p->off] == '-')) {
            request_failed(x, r, p->chunk->data + p->off, p->len);
        }
    }
    if (s == NULL) {
        outbuf_fini(o);
        request_free(x, r);
        return;
    }
    note_size(s, o->bytes);
    if (s->head == r) {
        size_t before = s->out->bytes;
        if (!r->silent) {
            outbuf_splice(s->out, o);
        }
        outbuf_fini(o);
        request_done_in_place(x, r, before);
        return;
    }
    r->state = REQUEST_READY;
    r->reply_out = mem_alloc(sizeof(*o));
    *r->reply_out = *o;
    s->parked += o->bytes;
    *o = (struct outbuf){0};
}

void request_error(struct exec *x, struct request *r, const char *text)
{
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    resp_error(&w, text);
    request_reply_out(x, r, &o);
}

void session_stop(struct exec *x, struct session *s, enum session_stop why)
{
    INVARIANT(s->stop == STOP_NOT);
    s->stop = (uint8_t)why;
    x->counters.client_stops++;
}

void session_go_on(struct exec *x, struct session *s)
{
    if (s->inner) {
        s->moved(x, s);
    } else {
        x->port.session_resume(x->port.front, s);
    }
}

void session_check_resume(struct exec *x, struct session *s)
{
    if (s->stop != STOP_NOT && may_resume(x, s)) {
        s->stop = STOP_NOT;
        session_go_on(x, s);
    }
}
