// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/tx.h"

#include "proxy/exec/encode.h"
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/script.h"
#include "proxy/exec/tx_priv.h"
#include "proxy/route/router.h"

#include "common/base/num.h"
#include "common/cmd/slot.h"

#define TX_BYTES_MAX (1024u * 1024 * 1024)
#define TX_HEAD      "*1\r\n$5\r\nMULTI\r\n"
#define TX_TAIL      "*1\r\n$4\r\nEXEC\r\n"

/* An EXEC of several parts under way. Owned by its request's gather. */
struct tx_run {
    struct exec *exec;
    struct request *request;
    struct session inner;
    struct outbuf out; /* of the inner session */
    struct tx_item *items;
    uint32_t n_items;
    struct tx_refused *refused;
    uint32_t n_refused;
    struct chunk *bytes;
    struct outbuf *replies; /* by item */
    uint32_t next;          /* item to run */
    uint32_t segment_end;
    bool in_segment; /* a node runs the items up to segment_end */
    bool in_item;    /* the inner session runs `next` */
    bool stepping;
    bool began;          /* the first segment was executed */
    bool owns_tx;        /* the session's MULTI state stays until it is done */
    struct lane *pinned; /* the watching connection, for the first segment */
    int shard;
    int select_db;      /* that a SELECT in the segment leaves; -1: none */
    int64_t segment_us; /* when it was sent */
    uint32_t loads;     /* commands before it: scripts that the node may lack */
};

/* --- the queue --- */

static struct tx *tx_of(struct session *s)
{
    if (s->tx == NULL) {
        s->tx = mem_zalloc(sizeof(*s->tx));
        s->tx->shard = s->tx->watch_shard = -1;
    }
    return s->tx;
}

void exec_session_user_changed(struct session *s)
{
    if (s->multi) {
        s->tx->user_changed = true;
    }
}

void tx_spoil(struct session *s)
{
    if (s->tx != NULL) {
        s->tx->spoiled = true;
    }
}

size_t exec_session_queue_bytes(const struct session *s)
{
    const struct tx *tx = s->tx;
    return tx == NULL || !s->multi
               ? 0
               : sizeof(*tx) + tx->cap * sizeof(*tx->items) +
                     (tx->bytes == NULL ? 0 : sizeof(*tx->bytes) + tx->bytes->cap);
}

bool tx_may_change(const struct session *s)
{
    const struct tx *tx = s->tx;
    for (uint32_t i = 0; i < tx->n_items; i++) {
        if (tx->items[i].changes) {
            return true;
        }
    }
    return false;
}

bool tx_busy(const struct session *s)
{
    return s->tx->running || (s->tx->pinned != NULL && s->pending > 0);
}

char *tx_room(struct tx *tx, size_t more)
{
    struct chunk *c = tx->bytes;
    if (c == NULL) {
        c = tx->bytes = chunk_new(MAX(sizeof(TX_HEAD) + more, 256));
        memcpy(c->data, TX_HEAD, sizeof(TX_HEAD) - 1);
        c->len = sizeof(TX_HEAD) - 1;
    }
    if (c->cap - c->len < more) {
        size_t cap = MAX(c->cap * 2, c->len + more);
        c = tx->bytes = mem_realloc(c, sizeof(*c) + cap);
        c->cap = cap;
    }
    return c->data + c->len;
}

static void add_item(struct exec *x, struct tx *tx, const struct command *c,
                     const struct exec_input *in, enum item_where where)
{
    if (tx->n_items == tx->cap) {
        tx->cap = tx->cap == 0 ? 8 : tx->cap * 2;
        tx->items = mem_realloc(tx->items, tx->cap * sizeof(*tx->items));
    }
    size_t len = in->len;
    char *to = tx_room(tx, in->bytes != NULL ? in->len : encoded_max(in->argv, in->argc));
    if (in->bytes != NULL) {
        memcpy(to, in->bytes, in->len);
    } else {
        len = encode_args(to, in->argv, in->argc);
    }
    tx->items[tx->n_items++] =
        (struct tx_item){.command = c,
                         .off = tx->bytes->len,
                         .len = len,
                         .where = (uint8_t)where,
                         .changes = command_may_change(x, c, in->argv, in->argc)};
    tx->bytes->len += len;
    tx->has_node |= where == ITEM_NODE;
    tx->has_other |= where == ITEM_OTHER;
}

static enum item_where item_where(struct exec *x, const struct command *c)
{
    switch (c->id) {
    case CMD_PING:
    case CMD_ECHO:
    case CMD_TIME:
    case CMD_SELECT:
    case CMD_PUBLISH: /* elsewhere it would not be within the transaction; alone it counts truly */
        return ITEM_EITHER;
    case CMD_SPUBLISH:
        return ITEM_NODE;
    default:
        break;
    }
    switch (x->route_of[c->id]) {
    case ROUTE_SINGLE:
    case ROUTE_KEYS:
    case ROUTE_ANY:
    case ROUTE_WAIT: /* within a transaction nothing waits */
        return ITEM_NODE;
    default:
        return ITEM_OTHER;
    }
}

static void reply_simple(struct exec *x, struct session *s, const struct command *c,
                         const char *text)
{
    struct outbuf o = {0};
    struct request *r = request_take(x, s, c);
    struct resp_writer w = {.out = &o, .proto = r->proto};
    r->queued = s->multi && c->id != CMD_MULTI;
    resp_simple(&w, text);
    request_reply_out(x, r, &o);
}

/* Whether the node that is to execute it may have no memory to spare: Redis refuses commands then
 * when they are queued. Where there is no doubt, EXEC alone is refused if it comes to that. */
static bool memory_is_doubtful(const struct exec *x, int shard)
{
    if (LIKELY(x->now_us >= x->memory_doubt_us) || shard < 0) {
        return shard >= 0 && x->routes[shard].chosen != NULL &&
               x->routes[shard].chosen->short_of_memory;
    }
    return true;
}

/* The node's QUEUED, or its refusal, is the reply. */
static void ask_for_room(struct exec *x, struct session *s, const struct command *c, int shard)
{
    static const struct slice words[2] = {SLICE("SHOAL"), SLICE("ROOM")};
    const struct exec_input in = {.argv = words, .argc = ARRAY_LEN(words)};
    struct request *r = request_take(x, s, c);
    r->queued = true;
    r->call.shard = shard;
    r->call.db = -1;
    r->call.primary = true;
    s->tx->asked = true;
    call_keep_bytes(x, &r->call, &in, &x->park);
    call_send(x, &r->call);
}

static enum exec_verdict spoil_with(struct exec *x, struct session *s, const struct command *c,
                                    const char *error)
{
    s->tx->spoiled = true;
    return exec_refuse(x, s, c, error);
}

enum exec_verdict tx_queue(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in)
{
    struct tx *tx = s->tx;
    enum item_where where = item_where(x, c);
    int shard = -1;
    if (c->flags & CF_NO_MULTI) {
        return spoil_with(x, s, c, "ERR Command not allowed inside a transaction");
    }
    if (tx->bytes != NULL && tx->bytes->len + in->len > TX_BYTES_MAX) {
        return spoil_with(x, s, c, "ERR transaction is too large");
    }
    if (where == ITEM_NODE) {
        switch (router_keys(c, in->argv, in->argc, x->shards, &x->keys, &shard)) {
        case ROUTER_ONE:
            if (tx->shard >= 0 && tx->shard != shard) {
                return spoil_with(x, s, c, ERR_CROSSSLOT);
            }
            tx->shard = shard;
            break;
        case ROUTER_KEYLESS:
            break;
        case ROUTER_SEVERAL:
            return spoil_with(x, s, c, ERR_CROSSSLOT);
        }
    }
    add_item(x, tx, c, in, where);
    s->queued = tx->n_items;
    if (UNLIKELY(where == ITEM_NODE && memory_is_doubtful(x, tx->shard))) {
        ask_for_room(x, s, c, tx->shard);
    } else {
        reply_simple(x, s, c, "QUEUED");
    }
    return EXEC_TAKEN;
}

/* --- the watching connection --- */

/* Gives it back; `clean`: the node watches nothing for it any more. */
static void release_pinned(struct exec *x, struct tx *tx, bool clean)
{
    static const struct slice unwatch[1] = {SLICE("UNWATCH")};
    struct lane *l = tx->pinned;
    tx->pinned = NULL;
    tx->watch_shard = -1;
    tx->lost = false;
    if (l == NULL) {
        return;
    }
    if (!clean && l->state == LANE_UP && l->id == tx->watch_lane_id) {
        (void)lane_say(x, l, unwatch, 1, CALL_HANDSHAKE);
    }
    if (l->kind != LANE_OWN) {
        lane_give_pinned(x, l);
    }
}

void tx_lane_gone(struct session *s, const struct lane *l)
{
    if (s->tx != NULL && s->tx->pinned == l) {
        s->tx->pinned = NULL;
        s->tx->watch_shard = -1;
        s->tx->lost = true;
    }
}

void tx_free(struct exec *x, struct session *s)
{
    struct tx *tx = s->tx;
    s->tx = NULL;
    s->multi = false;
    s->queued = 0;
    if (tx == NULL) {
        return;
    }
    release_pinned(x, tx, false);
    if (tx->bytes != NULL) {
        chunk_unref(&tx->bytes);
    }
    mem_free(tx->items);
    mem_free(tx->refused);
    mem_free(tx);
}

static enum exec_verdict do_watch(struct exec *x, struct session *s, const struct command *c,
                                  const struct exec_input *in)
{
    int shard = -1;
    if (s->pending > 0) { /* what it sent before must not count as a change */
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    if (router_keys(c, in->argv, in->argc, x->shards, &x->keys, &shard) != ROUTER_ONE ||
        (s->tx != NULL && s->tx->watch_shard >= 0 && s->tx->watch_shard != shard)) {
        return exec_refuse(x, s, c, ERR_CROSSSLOT);
    }
    struct tx *tx = tx_of(s);
    struct target *t = x->routes[shard].chosen;
    if (tx->pinned != NULL &&
        (tx->pinned->state == LANE_DOWN || tx->pinned->id != tx->watch_lane_id)) {
        tx->lost = true;
    }
    if (!tx->lost && tx->pinned == NULL) {
        if (x->map == NULL || !x->map->assigned) {
            return exec_refuse(x, s, c, ERR_CLUSTERDOWN);
        }
        tx->pinned = t == NULL        ? NULL
                     : s->own != NULL ? own_lane(x, s, t)
                                      : lane_take_pinned(x, t, s->proto);
        if (tx->pinned == NULL && t != NULL) {
            return exec_refuse(x, s, c, "ERR too many clients watch keys");
        }
        if (t == NULL || !lane_ready(x, tx->pinned)) {
            if (tx->pinned != NULL && tx->pinned->kind == LANE_OWN) {
                tx->pinned = NULL;
            }
            lane_free(x, &tx->pinned);
            tx->lost = true; /* between two primaries: what is watched may change unseen */
        } else {
            tx->watch_lane_id = tx->pinned->id;
            tx->watch_shard = shard;
        }
    }
    if (tx->lost) {
        reply_simple(x, s, c, "OK"); /* EXEC will say nil whatever is watched now */
        return EXEC_TAKEN;
    }
    struct request *r = request_take(x, s, c);
    r->call.shard = shard;
    r->call.db = s->db;
    r->call.write = true; /* not to be repeated elsewhere */
    r->call.pinned = true;
    lane_put(x, tx->pinned, &r->call, in);
    return EXEC_TAKEN;
}

void tx_watch_broken(struct exec *x, struct call *c)
{
    struct request *r = c->request;
    const char *text = r->proto == 3 ? "_\r\n" : "*-1\r\n";
    if (r->command->id == CMD_WATCH) {
        text = "+OK\r\n";
        if (r->session != NULL && r->session->tx != NULL) {
            r->session->tx->lost = true; /* EXEC will say nil */
        }
    }
    char *at = tape_put(&x->park, text, strlen(text));
    struct chunk *chunk = chunk_ref(x->park);
    call_answer(x, c, chunk, at, strlen(text));
    chunk_unref(&chunk);
}

/* --- EXEC --- */

static bool runs_by_digest(const struct tx_item *item)
{
    return item->command->id == CMD_EVALSHA || item->command->id == CMD_EVALSHA_RO;
}

static struct slice item_bytes(const struct tx_run *run, uint32_t i)
{
    return slice_of(run->bytes->data + run->items[i].off, run->items[i].len);
}

/* The node where the run's segments go, as far as is known now. */
static const struct target *target_of_run(const struct tx_run *run)
{
    return run->pinned != NULL ? run->pinned->target
           : run->shard >= 0   ? run->exec->routes[run->shard].chosen
                               : run->exec->any;
}

/* What goes before the segment: scripts that the node may lack. */
static void add_loads(struct tx_run *run, uint32_t to, const struct target *t, struct str *loads)
{
    struct exec *x = run->exec;
    run->loads = 0;
    x->walk++;
    for (uint32_t i = run->next; i < to; i++) {
        if (UNLIKELY(runs_by_digest(&run->items[i]))) {
            run->loads += script_loads(x, t, item_bytes(run, i), loads);
        }
    }
}

/* MULTI, the items up to `to`, EXEC: in one piece, behind `loads`. */
static struct chunk *segment_bytes(const struct tx_run *run, uint32_t to, const struct str *loads)
{
    uint32_t from = run->next;
    size_t len = loads->len + sizeof(TX_HEAD) + sizeof(TX_TAIL);
    for (uint32_t i = from; i < to; i++) {
        len += run->items[i].len;
    }
    struct chunk *c = chunk_new(len);
    if (UNLIKELY(loads->len > 0)) {
        memcpy(c->data, loads->ptr, loads->len);
    }
    memcpy(c->data + loads->len, TX_HEAD, sizeof(TX_HEAD) - 1);
    c->len = loads->len + sizeof(TX_HEAD) - 1;
    for (uint32_t i = from; i < to; i++) {
        memcpy(c->data + c->len, run->bytes->data + run->items[i].off, run->items[i].len);
        c->len += run->items[i].len;
    }
    memcpy(c->data + c->len, TX_TAIL, sizeof(TX_TAIL) - 1);
    c->len += sizeof(TX_TAIL) - 1;
    return c;
}

/* The database that SELECTs in the segment leave; -1: there is none. */
static int select_in(struct tx_run *run, uint32_t from, uint32_t to)
{
    struct exec *x = run->exec;
    int found = -1;
    for (uint32_t i = from; i < to; i++) {
        int64_t db;
        if (run->items[i].command->id != CMD_SELECT) {
            continue;
        }
        struct slice in = slice_of(run->bytes->data + run->items[i].off, run->items[i].len);
        if (resp_parse(&x->parser, in) == RESP_OK && num_parse_i64(x->parser.argv[1], &db) &&
            db >= 0 && db < x->settings.databases) {
            found = (int)db;
        }
    }
    return found;
}

/* The call is the segment up to `to`, for that node. */
static void write_segment(struct tx_run *run, struct part *p, uint32_t to, const struct target *t)
{
    struct str loads = {0};
    add_loads(run, to, t, &loads);
    struct chunk *chunk = segment_bytes(run, to, &loads);
    str_fini(&loads);
    part_set_bytes(p, chunk, chunk->data, chunk->len);
    chunk_unref(&chunk);
    p->call.swallow_own = run->loads + to - run->next + 1;
}

void tx_aim(struct call *c, const struct target *t)
{
    struct tx_run *run = c->request->gather->run;
    bool by_digest = false;
    for (uint32_t i = run->next; i < run->segment_end; i++) {
        by_digest = by_digest || runs_by_digest(&run->items[i]);
    }
    if (by_digest) {
        call_drop_bytes(c);
        write_segment(run, container_of(c, struct part, call), run->segment_end, t);
    }
}

static void send_segment(struct exec *x, struct tx_run *run, uint32_t to)
{
    struct request *r = run->request;
    struct part *p = gather_add(r);
    write_segment(run, p, to, target_of_run(run));
    run->select_db = select_in(run, run->next, to);
    run->segment_end = to;
    run->in_segment = true;
    p->call.leaves_db = run->select_db >= 0;
    p->call.shard = run->shard;
    p->call.db = run->inner.db;
    p->call.write = true;
    p->call.pinned = run->pinned != NULL;
    run->segment_us = x->now_us;
    gather_begin(r);
    if (run->pinned != NULL) {
        lane_put(x, run->pinned, &p->call, NULL);
    } else {
        call_send(x, &p->call);
    }
    gather_end(x, r);
}

static struct tx_run *run_new(struct exec *x, struct request *r, struct tx *tx)
{
    struct session *s = r->session;
    struct tx_run *run = mem_zalloc(sizeof(*run));
    run->exec = x;
    run->request = r;
    session_init(&run->inner, s->id, &run->out);
    run->inner.inner = true;
    run->inner.moved = tx_inner_moved;
    run->inner.outer = s;
    run->inner.proto = s->proto;
    run->inner.db = s->db;
    run->inner.authenticated = true;
    run->inner.trusted = true; /* checked when it was queued */
    run->items = tx->items;
    run->n_items = tx->n_items;
    run->bytes = tx->bytes;
    run->refused = tx->refused;
    run->n_refused = tx->n_refused;
    tx->items = NULL;
    tx->refused = NULL;
    tx->bytes = NULL;
    run->pinned = tx->pinned;
    run->shard = tx->pinned != NULL ? tx->watch_shard : tx->shard >= 0 ? tx->shard : CALL_ANY;
    run->replies = mem_zalloc((run->n_items + 1) * sizeof(*run->replies));
    return run;
}

void tx_run_free(struct tx_run **rp)
{
    struct tx_run *run = *rp;
    *rp = NULL;
    if (run == NULL) {
        return;
    }
    exec_session_gone(run->exec, &run->inner);
    session_fini(&run->inner);
    for (uint32_t i = 0; i < run->n_items; i++) {
        outbuf_fini(&run->replies[i]);
    }
    outbuf_fini(&run->out);
    if (run->bytes != NULL) {
        chunk_unref(&run->bytes);
    }
    mem_free(run->replies);
    mem_free(run->refused);
    mem_free(run->items);
    mem_free(run);
}

void tx_run_orphan(struct tx_run *run)
{
    run->inner.outer = NULL;
}

/* The elements of the node's array go to their items. False: it is no array. */
static bool take_elements(struct tx_run *run, const struct part *p)
{
    const char *eol = memchr(p->reply, '\r', p->reply_len);
    if (*p->reply != '*' || eol == NULL || p->reply[1] == '-') {
        return false;
    }
    size_t at = (size_t)(eol - p->reply) + 2;
    struct resp_skip skip;
    resp_skip_init(&skip);
    for (uint32_t i = run->next; i < run->segment_end; i++) {
        size_t end;
        if (resp_skip(&skip, slice_of(p->reply + at, p->reply_len - at), &end) != SKIP_OK) {
            return false;
        }
        outbuf_append_from(&run->replies[i], p->reply_chunk, p->reply + at, end);
        at += end;
    }
    return true;
}

/* Each command counts as if it had come alone; the time is shared out. */
static void observe_segment(struct exec *x, const struct tx_run *run)
{
    uint32_t n = run->segment_end - run->next;
    int64_t us = n == 0 ? 0 : (x->now_us - run->segment_us) / n;
    for (uint32_t i = run->next; i < run->segment_end; i++) {
        const struct tx_item *item = &run->items[i];
        const struct outpiece *p = &run->replies[i].pieces[run->replies[i].first];
        struct request r = {.session = run->request->session, .command = item->command};
        r.trace = run->bytes->data + item->off;
        r.trace_len = item->len;
        r.failed = p->chunk->data[p->off] == '-';
        if (r.failed) {
            x->port.error_reply(x->port.front, p->chunk->data + p->off, p->len);
        }
        x->port.request_over(x->port.front, &r, us);
    }
}

/* A segment behind the first that failed: that is what each of its commands got. */
static void take_failure(struct tx_run *run, const struct part *p)
{
    for (uint32_t i = run->next; i < run->segment_end; i++) {
        outbuf_append_from(&run->replies[i], p->reply_chunk, p->reply, p->reply_len);
    }
}

static void finish(struct exec *x, struct tx_run *run)
{
    struct request *r = run->request;
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    resp_array(&w, run->n_items + run->n_refused);
    for (uint32_t i = 0, no = 0; i + no < run->n_items + run->n_refused;) {
        if (no < run->n_refused && run->refused[no].at == i + no) {
            resp_error(&w, run->refused[no++].error);
        } else {
            outbuf_splice(&o, &run->replies[i++]);
        }
    }
    if (r->session != NULL && run->owns_tx) {
        tx_free(x, r->session);
    }
    request_reply_out(x, r, &o);
}

/* One item that is no node's, through the inner session. False: it can't go now (a full lane). */
static bool run_item(struct exec *x, struct tx_run *run, uint32_t i)
{
    struct resp_parser p;
    const struct tx_item *item = &run->items[i];
    struct slice bytes = slice_of(run->bytes->data + item->off, item->len);
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    enum resp_status st = resp_parse(&p, bytes);
    INVARIANT(st == RESP_OK);
    struct exec_input in = {
        .argv = p.argv, .argc = p.argc, .chunk = run->bytes, .bytes = bytes.ptr, .len = bytes.len};
    run->inner.db = run->inner.outer->db;
    bool taken = exec_command(x, &run->inner, &in) == EXEC_TAKEN;
    resp_parser_fini(&p);
    return taken;
}

static uint32_t segment_end(const struct tx_run *run)
{
    uint32_t end = run->next;
    while (end < run->n_items && run->items[end].where != ITEM_OTHER) {
        end++;
    }
    return end;
}

/* Runs what can run now, in the order of the queue: each stretch of node commands as one MULTI of
 * the node, what stands between them one by one. */
static void step(struct exec *x, struct tx_run *run)
{
    if (run->stepping || run->in_segment) {
        return; /* called from below: the loop goes on by itself */
    }
    run->stepping = true;
    while (run->next < run->n_items && run->inner.outer != NULL) {
        if (run->in_item) {
            if (run->inner.pending > 0) {
                break;
            }
            outbuf_splice(&run->replies[run->next], &run->out);
            run->in_item = false;
            run->next++;
        } else if (run->items[run->next].where == ITEM_OTHER) {
            run->in_item = run_item(x, run, run->next);
            if (!run->in_item) {
                break;
            }
        } else {
            run->stepping = false;
            send_segment(x, run, segment_end(run));
            return; /* its answer goes on; the run may be over */
        }
    }
    run->stepping = false;
    if (run->inner.outer == NULL ? run->inner.pending == 0 : run->next == run->n_items) {
        finish(x, run); /* for a client that has gone nothing is delivered */
    }
}

void tx_inner_moved(struct exec *x, struct session *inner)
{
    step(x, container_of(inner, struct tx_run, inner));
}

static void first_segment_failed(struct exec *x, struct tx_run *run)
{
    struct request *r = run->request;
    const struct part *p = r->gather->parts[0];
    if (r->session != NULL && run->owns_tx) {
        tx_free(x, r->session);
    }
    request_reply(x, r, p->reply_chunk, p->reply, p->reply_len);
}

void tx_answered(struct exec *x, struct request *r)
{
    struct tx_run *run = r->gather->run;
    const struct part *p = r->gather->parts[0];
    struct session *s = r->session;
    bool good = take_elements(run, p);
    run->in_segment = false;
    if (run->pinned != NULL && s != NULL) {
        release_pinned(x, s->tx, true);
    }
    run->pinned = NULL;
    if (good && s != NULL && run->select_db >= 0) {
        s->db = run->select_db;
        run->inner.db = s->db;
    }
    if (!good && !run->began) {
        first_segment_failed(x, run);
        return;
    }
    for (uint32_t i = run->next; good && i < run->segment_end; i++) {
        if (UNLIKELY(runs_by_digest(&run->items[i]))) {
            script_loaded(x, p->call.target, item_bytes(run, i));
        }
    }
    if (!good) {
        take_failure(run, p);
    } else if (x->port.request_over != NULL) {
        observe_segment(x, run);
    }
    run->began = true;
    run->next = run->segment_end;
    gather_drop_replies(r->gather);
    step(x, run);
}

/* PING and its like go with the node's part where there is one. True: nothing but node commands. */
static bool settle_items(struct tx_run *run, bool has_node)
{
    bool all = true;
    for (uint32_t i = 0; i < run->n_items; i++) {
        if (run->items[i].where == ITEM_EITHER) {
            run->items[i].where = has_node ? ITEM_NODE : ITEM_OTHER;
        }
        all = all && run->items[i].where == ITEM_NODE;
    }
    return all;
}

static void start_run(struct exec *x, struct session *s, const struct command *c)
{
    struct tx *tx = s->tx;
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_TX);
    struct tx_run *run = g->run = run_new(x, r, tx);
    bool plain = settle_items(run, tx->has_node || tx->pinned != NULL);
    x->counters.requests_tx++;
    s->multi = false;
    s->queued = 0;
    tx->running = true;
    /* A plain one is a write like any other: the client may go on, its order holds. */
    run->owns_tx = !plain || tx->pinned != NULL || select_in(run, 0, run->n_items) >= 0;
    if (!run->owns_tx) {
        tx_free(x, s);
    }
    if (run->pinned != NULL) {
        send_segment(x, run, segment_end(run)); /* perhaps empty: was anything watched changed? */
    } else {
        step(x, run);
    }
}

static enum exec_verdict do_exec(struct exec *x, struct session *s, const struct command *c)
{
    struct tx *tx = s->tx;
    if (!s->multi) {
        return exec_refuse(x, s, c, "ERR EXEC without MULTI");
    }
    if (tx->asked && s->pending > 0) {
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    if (tx->spoiled) {
        tx_free(x, s);
        return exec_refuse(x, s, c, ERR_EXECABORT);
    }
    if (tx->watch_shard >= 0 && tx->shard >= 0 && tx->watch_shard != tx->shard) {
        tx_free(x, s);
        return exec_refuse(x, s, c, ERR_CROSSSLOT);
    }
    if (s->reads_open > 0) {
        session_stop(x, s, STOP_READS);
        return EXEC_STOP;
    }
    if ((tx->has_other || tx->pinned != NULL) && s->pending > 0) {
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    if (tx->pinned != NULL &&
        (tx->pinned->state == LANE_DOWN || tx->pinned->id != tx->watch_lane_id)) {
        tx->lost = true;
    }
    if (tx->lost) {
        struct outbuf o = {0};
        struct request *r = request_take(x, s, c);
        struct resp_writer w = {.out = &o, .proto = r->proto};
        tx_free(x, s);
        resp_nil_array(&w);
        request_reply_out(x, r, &o);
        return EXEC_TAKEN;
    }
    if (UNLIKELY(tx->user_changed)) {
        tx_apply_rules(x, s);
    }
    start_run(x, s, c);
    return EXEC_TAKEN;
}

enum exec_verdict exec_tx(struct exec *x, struct session *s, const struct command *c,
                          const struct exec_input *in)
{
    bool multi = s->multi;
    switch (c->id) {
    case CMD_MULTI:
        if (multi) {
            return exec_refuse(x, s, c, "ERR MULTI calls can not be nested");
        }
        (void)tx_of(s);
        s->multi = true;
        break;
    case CMD_EXEC:
        return do_exec(x, s, c);
    case CMD_DISCARD:
        if (!multi) {
            return exec_refuse(x, s, c, "ERR DISCARD without MULTI");
        }
        if (s->tx->asked && s->pending > 0) {
            session_stop(x, s, STOP_EMPTY);
            return EXEC_STOP;
        }
        tx_free(x, s);
        break;
    case CMD_WATCH:
        if (multi) {
            return exec_refuse(x, s, c, "ERR WATCH inside MULTI is not allowed");
        }
        return do_watch(x, s, c, in);
    default: /* UNWATCH */
        if (multi) {
            return tx_queue(x, s, c, in);
        }
        tx_free(x, s);
        break;
    }
    reply_simple(x, s, c, "OK");
    return EXEC_TAKEN;
}
