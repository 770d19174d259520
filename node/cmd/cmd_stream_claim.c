// SPDX-License-Identifier: BSD-3-Clause
/* Pending entries that change hands: XCLAIM, XAUTOCLAIM. Their own words are their effect: with the
 * time of the entry in the log, copies find the same entries idle. Those who follow, whose clock
 * nobody knows, are told what became of each entry. */
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/stream_args.h"

#include "common/base/mem.h"

/* What both do. */
struct claiming {
    struct call *c;
    struct xstream *s;
    struct xstream_group *g;
    struct xstream_consumer *consumer; /* NULL: not needed yet */
    struct resp_writer w;              /* of the claimed entries */
    int64_t idle_min_ms;
    int64_t delivered_ms;
    int64_t deliveries; /* -1: one more */
    bool just_id;
    bool changed;
    bool said; /* to those who follow, and by that the group's last id */
    size_t claimed;
};

/* To the consumer, which is made if it is not there. */
static void claim(struct claiming *k, struct stream_id id)
{
    struct call *c = k->c;
    if (k->consumer == NULL) {
        k->consumer = xstream_consumer_find(k->g, c->argv[3]);
    }
    if (k->consumer == NULL) {
        k->consumer = stream_add_consumer(c, k->s, k->g, c->argv[1], c->argv[3]);
    }
    k->consumer->seen_ms = c->now_ms;
    bool is_new;
    struct xstream_pending *p = xstream_pending_give(k->s, k->g, id, k->consumer, &is_new);
    if (is_new) {
        p->deliveries = 1;
    }
    p->delivered_ms = k->delivered_ms;
    if (k->deliveries >= 0) {
        p->deliveries = (uint64_t)k->deliveries;
    } else if (!k->just_id) {
        p->deliveries++;
    }
    k->changed = true;
    k->claimed++;
    c->changes++;
    stream_say_pending(c, c->argv[1], k->g, id, p);
    k->said = true;
    if (k->just_id) {
        reply_stream_id(&k->w, id);
    } else if (!c->db.applying) {
        bool is_there = reply_stream_one(&k->w, k->s, id);
        INVARIANT(is_there);
    }
}

/* It is no longer in the stream. */
static void forget(struct claiming *k, struct stream_id id)
{
    const struct xstream_pending *p = xstream_pending_find(k->g, id);
    if (p != NULL) {
        stream_say_pending(k->c, k->c->argv[1], k->g, id, p);
        k->said = true;
    }
    if (xstream_pending_remove(k->s, k->g, id)) {
        k->changed = true;
        k->c->changes++;
    }
}

static bool is_idle(const struct claiming *k, const struct xstream_pending *p)
{
    return k->idle_min_ms == 0 || xstream_since(p->delivered_ms, k->c->now_ms) >= k->idle_min_ms;
}

static bool parse_idle_min(struct call *c, int64_t *out)
{
    const char *error = c->cmd->id == CMD_XCLAIM
                            ? "ERR Invalid min-idle-time argument for XCLAIM"
                            : "ERR Invalid min-idle-time argument for XAUTOCLAIM";
    if (!arg_int_or(c, 4, out, error)) {
        return false;
    }
    *out = MAX(*out, 0);
    return true;
}

/* ---- XCLAIM ---- */

struct claim_options {
    size_t ids_end; /* argument behind the ids */
    bool force;
    bool just_id;
    bool time_given;
    int64_t delivered_ms;
    int64_t deliveries;
    struct stream_id last_id;
};

/* One option at *i, which becomes its last word. */
static bool parse_claim_option(struct call *c, size_t *i, struct claim_options *o)
{
    bool more = *i + 1 < c->argc;
    if (arg_is(c, *i, "FORCE")) {
        o->force = true;
        return true;
    }
    if (arg_is(c, *i, "JUSTID")) {
        o->just_id = true;
        return true;
    }
    if (more && arg_is(c, *i, "IDLE")) {
        int64_t idle;
        if (!arg_int_or(c, ++*i, &idle, "ERR Invalid IDLE option argument for XCLAIM")) {
            return false;
        }
        o->delivered_ms = (int64_t)((uint64_t)c->now_ms - (uint64_t)idle);
        return true;
    }
    if (more && arg_is(c, *i, "TIME")) {
        return arg_int_or(c, ++*i, &o->delivered_ms, "ERR Invalid TIME option argument for XCLAIM");
    }
    if (more && arg_is(c, *i, "RETRYCOUNT")) {
        return arg_int_or(c, ++*i, &o->deliveries,
                          "ERR Invalid RETRYCOUNT option argument for XCLAIM");
    }
    if (more && arg_is(c, *i, "LASTID")) {
        return arg_stream_id_strict(c, ++*i, 0, &o->last_id);
    }
    resp_errorf(&c->w, "ERR Unrecognized XCLAIM option '%.*s'", ARG_PRINT(c->argv[*i]));
    return false;
}

static bool parse_claim(struct call *c, struct claim_options *o)
{
    *o = (struct claim_options){.ids_end = 5, .delivered_ms = -1, .deliveries = -1};
    struct stream_id id;
    while (o->ids_end < c->argc && arg_is_stream_id(c, o->ids_end, &id)) {
        o->ids_end++;
    }
    for (size_t i = o->ids_end; i < c->argc; i++) {
        if (!parse_claim_option(c, &i, o)) {
            return false;
        }
    }
    /* -1 is "not given", too; what is not sane is now. */
    if (o->delivered_ms < 0 || o->delivered_ms > c->now_ms) {
        o->delivered_ms = c->now_ms;
    }
    return true;
}

static void claim_one(struct claiming *k, const struct claim_options *o, struct stream_id id)
{
    if (!xstream_has(k->s, id)) {
        forget(k, id);
        return;
    }
    const struct xstream_pending *p = xstream_pending_find(k->g, id);
    if (p == NULL ? o->force : is_idle(k, p)) {
        claim(k, id);
    }
}

/* Writes the answer from what the claimed entries have written. */
static void answer_claimed(struct claiming *k, struct outbuf *body)
{
    resp_array(&k->c->w, k->claimed);
    outbuf_splice(k->c->w.out, body);
}

void cmd_xclaim(struct call *c)
{
    struct object *o;
    struct xstream_group *g;
    struct claim_options opt;
    int64_t idle_min;
    if (!find_stream_group(c, 1, 2, &o, &g) || !parse_idle_min(c, &idle_min) ||
        !parse_claim(c, &opt)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct outbuf body = {0};
    struct claiming k = {.c = c,
                         .s = xstream_of(o),
                         .g = g,
                         .w = c->w,
                         .idle_min_ms = idle_min,
                         .delivered_ms = opt.delivered_ms,
                         .deliveries = opt.deliveries,
                         .just_id = opt.just_id};
    k.w.out = &body;
    struct db_edit e;
    record_hide_feed(c);
    db_edit_begin(&c->db, &p, o, &e);
    if (stream_id_less(g->last_id, opt.last_id)) {
        g->last_id = opt.last_id;
        k.changed = true;
        c->changes++;
    }
    for (size_t i = 5; i < opt.ids_end; i++) {
        struct stream_id id;
        bool right = arg_is_stream_id(c, i, &id);
        INVARIANT(right);
        claim_one(&k, &opt, id);
    }
    db_edit_end(&c->db, &p, &e, k.changed);
    if (k.changed && !k.said) {
        stream_say_group(c, c->argv[1], g);
    }
    answer_claimed(&k, &body);
    outbuf_fini(&body);
}

/* ---- XAUTOCLAIM ---- */

#define AUTOCLAIM_COUNT 100
#define AUTOCLAIM_LOOKS 10 /* pending entries that are looked at for each that is wanted */
#define AUTOCLAIM_MAX   (INT64_MAX / (int64_t)sizeof(struct stream_id))

struct autoclaim_options {
    struct stream_id start;
    int64_t count;
    bool just_id;
};

static bool parse_autoclaim(struct call *c, struct autoclaim_options *o)
{
    *o = (struct autoclaim_options){.count = AUTOCLAIM_COUNT};
    if (!arg_stream_start(c, 5, &o->start)) {
        return false;
    }
    for (size_t i = 6; i < c->argc; i++) {
        if (i + 1 < c->argc && arg_is(c, i, "COUNT")) {
            if (!arg_int_or(c, ++i, &o->count, "ERR COUNT must be > 0")) {
                return false;
            }
            if (o->count < 1 || o->count > AUTOCLAIM_MAX) {
                resp_error(&c->w, "ERR COUNT must be > 0");
                return false;
            }
        } else if (arg_is(c, i, "JUSTID")) {
            o->just_id = true;
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

/* Ids that are no longer in the stream. */
struct gone {
    struct stream_id *ids;
    size_t n;
    size_t cap;
};

static void gone_add(struct gone *l, struct stream_id id)
{
    if (l->n == l->cap) {
        l->cap = MAX(l->cap * 2, (size_t)16);
        l->ids = mem_realloc(l->ids, l->cap * sizeof(*l->ids));
    }
    l->ids[l->n++] = id;
}

/* Where the next call goes on; 0-0: that was all. */
static struct stream_id claim_some(struct claiming *k, const struct autoclaim_options *o,
                                   struct gone *gone)
{
    int64_t left = o->count;
    int64_t looks = o->count * AUTOCLAIM_LOOKS;
    struct id_at at;
    id_tree_seek(&k->g->pending, o->start, &at);
    while (looks-- > 0 && left > 0 && at.valid) {
        struct stream_id id = at.id;
        if (!xstream_has(k->s, id)) {
            forget(k, id);
            gone_add(gone, id);
            left--;
            id_tree_seek(&k->g->pending, id, &at);
            continue;
        }
        if (is_idle(k, xstream_pending_at(&at))) {
            claim(k, id); /* the group's list stays as it is */
            left--;
        }
        id_at_next(&at);
    }
    return at.valid ? at.id : STREAM_ID_MIN;
}

static void answer_autoclaim(struct claiming *k, struct outbuf *body, struct stream_id next,
                             const struct gone *gone)
{
    struct resp_writer *w = &k->c->w;
    resp_array(w, 3);
    reply_stream_id(w, next);
    answer_claimed(k, body);
    resp_array(w, gone->n);
    for (size_t i = 0; i < gone->n; i++) {
        reply_stream_id(w, gone->ids[i]);
    }
}

void cmd_xautoclaim(struct call *c)
{
    struct object *o;
    struct xstream_group *g;
    struct autoclaim_options opt;
    int64_t idle_min;
    if (!parse_idle_min(c, &idle_min) || !parse_autoclaim(c, &opt) ||
        !find_stream_group(c, 1, 2, &o, &g)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct outbuf body = {0};
    struct gone gone = {0};
    struct claiming k = {.c = c,
                         .s = xstream_of(o),
                         .g = g,
                         .w = c->w,
                         .idle_min_ms = idle_min,
                         .delivered_ms = c->now_ms,
                         .deliveries = -1,
                         .just_id = opt.just_id};
    k.w.out = &body;
    struct db_edit e;
    record_hide_feed(c);
    db_edit_begin(&c->db, &p, o, &e);
    struct stream_id next = claim_some(&k, &opt, &gone);
    db_edit_end(&c->db, &p, &e, k.changed);
    answer_autoclaim(&k, &body, next, &gone);
    outbuf_fini(&body);
    mem_free(gone.ids);
}
