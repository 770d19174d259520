// SPDX-License-Identifier: BSD-3-Clause
/* One request, several calls: cut by node or sent to all, and what comes back is kept until all is
 * there. */
#include "proxy/exec/encode.h"
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/tx.h"
#include "proxy/route/router.h"

#include "common/cmd/slot.h"

struct gather *gather_new(struct request *r, enum gather_kind kind)
{
    INVARIANT(r->gather == NULL);
    struct gather *g = mem_zalloc(sizeof(*g));
    g->kind = (uint8_t)kind;
    g->merge = r->command->response;
    r->gather = g;
    return g;
}

static void drop_part(struct part *p)
{
    call_drop_bytes(&p->call);
    if (p->reply_chunk != NULL) {
        chunk_unref(&p->reply_chunk);
    }
    mem_free(p);
}

void gather_drop_replies(struct gather *g)
{
    INVARIANT(g->open == 0);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        drop_part(g->parts[i]);
    }
    g->n_parts = 0;
}

void gather_free(struct gather **gp)
{
    struct gather *g = *gp;
    *gp = NULL;
    if (g == NULL) {
        return;
    }
    for (uint32_t i = 0; g->kind == GATHER_FAN && i < g->n_parts; i++) {
        g->parts[i]->call.target->fans--;
    }
    gather_drop_replies(g);
    scan_free(&g->scan);
    tx_run_free(&g->run);
    mem_free(g->asked);
    mem_free(g->key_part);
    mem_free(g->parts);
    mem_free(g);
}

struct part *gather_add(struct request *r)
{
    struct gather *g = r->gather;
    if (g->n_parts == g->cap) {
        g->cap = g->cap == 0 ? 4 : g->cap * 2;
        g->parts = mem_realloc(g->parts, g->cap * sizeof(struct part *));
    }
    struct part *p = mem_zalloc(sizeof(*p));
    p->call.request = r;
    p->call.kind = CALL_PART;
    p->call.db = r->call.db; /* the client may have gone on to another */
    p->call.part = g->n_parts;
    g->parts[g->n_parts++] = p;
    g->open++;
    return p;
}

void gather_begin(struct request *r)
{
    r->gather->open++;
}

static void done(struct exec *x, struct request *r)
{
    struct gather *g = r->gather;
    if (r->session == NULL && g->kind != GATHER_FAN && g->kind != GATHER_TX &&
        g->kind != GATHER_WAIT) {
        request_free(x, r);
        return;
    }
    switch ((enum gather_kind)g->kind) {
    case GATHER_SPLIT:
        split_answered(x, r);
        break;
    case GATHER_ALL:
        all_answered(x, r);
        break;
    case GATHER_FAN:
        fan_answered(x, r);
        break;
    case GATHER_SCAN:
        scan_answered(x, r);
        break;
    case GATHER_RANDOM:
        random_answered(x, r);
        break;
    case GATHER_TX:
        tx_answered(x, r);
        break;
    case GATHER_WAIT:
        wait_answered(x, r);
        break;
    case GATHER_SEARCH:
        search_answered(x, r);
        break;
    }
}

void gather_end(struct exec *x, struct request *r)
{
    if (--r->gather->open == 0) {
        done(x, r);
    }
}

void gather_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr, size_t len)
{
    struct part *p = container_of(c, struct part, call);
    INVARIANT(!p->done);
    p->done = true;
    p->reply_chunk = exec_keep(x, chunk, &ptr, len);
    p->reply = ptr;
    p->reply_len = len;
    call_drop_bytes(c);
    gather_end(x, c->request);
}

void gather_part_gone(struct exec *x, struct call *c)
{
    INVARIANT(c->kind == CALL_PART);
    container_of(c, struct part, call)->gone = true;
    call_error(x, c, ERR_CLUSTERDOWN);
}

void gather_drop_gone(struct gather *g)
{
    uint32_t n = 0;
    INVARIANT(g->open == 0);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i]->gone && (n > 0 || i + 1 < g->n_parts)) {
            drop_part(g->parts[i]);
        } else {
            g->parts[n++] = g->parts[i];
        }
    }
    g->n_parts = n;
}

struct chunk *gather_encode(const struct slice *argv, size_t argc, const char **bytes, size_t *len)
{
    struct chunk *c = chunk_new(encoded_max(argv, argc));
    *len = c->len = encode_args(c->data, argv, argc);
    *bytes = c->data;
    return c;
}

void part_set_bytes(struct part *p, struct chunk *chunk, const char *bytes, size_t len)
{
    p->call.chunk = chunk_ref(chunk);
    p->call.bytes = bytes;
    p->call.len = len;
}

bool exec_room_for(struct exec *x, struct session *s, struct target *t)
{
    struct lane *l = t == NULL ? NULL : t->lanes[LANE_WRITE][s->proto - 2];
    if (l == NULL || l->state == LANE_DOWN || lane_has_room(x, l)) {
        return true;
    }
    session_stop(x, s, STOP_LANE);
    list_append(&l->stopped, &s->wait);
    l->full = true;
    return false;
}

/* --- cutting by node --- */

struct cut {
    const struct slice *argv;
    size_t argc;
    uint32_t step;
    uint32_t n_keys;
    uint32_t first_part; /* parts before it are not ours */
    bool by_shard;       /* a part each, whoever serves them */
    struct cut_part {
        struct target *target; /* NULL: nobody serves the shard */
        int shard;             /* CALL_MULTI: several */
        uint32_t n_keys;
        size_t bytes;
        char *at; /* where the next argument is written */
    } * parts;
    uint32_t n_parts, cap;
    uint32_t *part_of; /* by key */
};

static uint32_t cut_add(struct cut *cut, struct target *t, int shard)
{
    if (cut->n_parts == cut->cap) {
        cut->cap = cut->cap == 0 ? 8 : cut->cap * 2;
        cut->parts = mem_realloc(cut->parts, cut->cap * sizeof(*cut->parts));
    }
    cut->parts[cut->n_parts] = (struct cut_part){.target = t, .shard = shard};
    return cut->n_parts++;
}

/* The part that takes keys of this shard: the one for its node, or its own while nobody serves it.
 */
static uint32_t part_for(struct exec *x, struct cut *cut, int shard)
{
    struct shard_route *route = &x->routes[shard];
    struct target *t = cut->by_shard ? NULL : route->primary;
    uint64_t *mark = t == NULL ? &route->mark : &t->mark;
    uint32_t *at = t == NULL ? &route->mark_at : &t->mark_at;
    INVARIANT(cut->n_parts > 0 || *mark != x->walk);
    if (*mark != x->walk) {
        *mark = x->walk;
        *at = cut_add(cut, t, shard);
    }
    if (cut->parts[*at].shard != shard) {
        cut->parts[*at].shard = CALL_MULTI;
    }
    return *at;
}

static void assign_keys(struct exec *x, struct cut *cut)
{
    x->walk++;
    cut->part_of = mem_alloc(cut->n_keys * sizeof(*cut->part_of));
    for (uint32_t i = 0; i < cut->n_keys; i++) {
        const struct slice *args = &cut->argv[1 + i * cut->step];
        uint32_t at = part_for(x, cut, (int)slot_to_shard(slot_of(args[0]), x->shards));
        cut->part_of[i] = at;
        cut->parts[at].n_keys++;
        for (uint32_t j = 0; j < cut->step; j++) {
            cut->parts[at].bytes += encoded_bulk(args[j].len);
        }
    }
}

/* `before`: the call that is cut anew; NULL: the first time. */
static void make_parts(struct exec *x, struct request *r, struct cut *cut,
                       const struct call *before)
{
    cut->first_part = r->gather->n_parts;
    for (uint32_t i = 0; i < cut->n_parts; i++) {
        struct cut_part *cp = &cut->parts[i];
        size_t words = 1 + (size_t)cp->n_keys * cut->step;
        size_t len = 1 + encoded_digits(words) + 2 + encoded_bulk(cut->argv[0].len) + cp->bytes;
        struct chunk **tape = &x->park;
        struct chunk *own = NULL;
        if (len >= OUTBUF_REF_MIN) {
            own = chunk_new(len);
            tape = &own;
        }
        char *to = tape_room(tape, len);
        (*tape)->len += len;
        cp->at = to + encode_header(to, '*', words);
        cp->at += encode_bulk(cp->at, cut->argv[0]);
        struct part *p = gather_add(r);
        part_set_bytes(p, *tape, to, len);
        p->call.shard = cp->shard;
        p->call.target = cp->target;
        p->call.write = !(r->command->flags & CF_READONLY);
        p->call.again = before != NULL;
        p->call.tries = before == NULL ? 0 : before->tries;
        if (own != NULL) {
            chunk_unref(&own);
        }
    }
    for (uint32_t i = 0; i < cut->n_keys; i++) {
        struct cut_part *cp = &cut->parts[cut->part_of[i]];
        for (uint32_t j = 0; j < cut->step; j++) {
            cp->at += encode_bulk(cp->at, cut->argv[1 + i * cut->step + j]);
        }
    }
}

static void send_parts(struct exec *x, struct request *r, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct call *c = &r->gather->parts[first + i]->call;
        if (c->target == NULL) {
            call_send(x, c);
        } else {
            call_send_to(x, c, c->target, LANE_WRITE);
        }
    }
}

static void cut_fini(struct cut *cut)
{
    mem_free(cut->parts);
    mem_free(cut->part_of);
}

enum exec_verdict exec_split(struct exec *x, struct session *s, const struct command *c,
                             const struct exec_input *in)
{
    if (s->reads_open > 0 && !(c->flags & CF_READONLY)) {
        session_stop(x, s, STOP_READS);
        return EXEC_STOP;
    }
    struct cut cut = {.argv = in->argv, .argc = in->argc, .step = router_key_step(c)};
    cut.n_keys = (uint32_t)(in->argc - 1) / cut.step;
    assign_keys(x, &cut);
    for (uint32_t i = 0; i < cut.n_parts; i++) {
        if (!exec_room_for(x, s, cut.parts[i].target)) {
            cut_fini(&cut);
            return EXEC_STOP;
        }
    }
    x->counters.requests_split++;
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_SPLIT);
    make_parts(x, r, &cut, NULL);
    g->n_keys = cut.n_keys;
    g->key_part = cut.part_of;
    cut.part_of = NULL;
    gather_begin(r);
    send_parts(x, r, 0, cut.n_parts);
    gather_end(x, r);
    cut_fini(&cut);
    return EXEC_TAKEN;
}

/* The part's keys go to new parts, n of them from *first on; the old part is to be ended by
 * gather_end(). */
static uint32_t cut_anew(struct exec *x, struct call *c, bool by_shard, uint32_t *first)
{
    struct request *r = c->request;
    struct gather *g = r->gather;
    struct part *old = container_of(c, struct part, call);
    uint32_t old_index = c->part;
    struct resp_parser *p = &x->parser;
    enum resp_status st = resp_parse(p, slice_of(c->bytes, c->len));
    INVARIANT(st == RESP_OK);
    struct cut cut = {.argv = p->argv,
                      .argc = p->argc,
                      .step = router_key_step(r->command),
                      .by_shard = by_shard};
    cut.n_keys = (uint32_t)(cut.argc - 1) / cut.step;
    assign_keys(x, &cut);
    make_parts(x, r, &cut, c);
    for (uint32_t i = 0, k = 0; i < g->n_keys; i++) {
        if (g->key_part[i] == old_index) {
            g->key_part[i] = cut.first_part + cut.part_of[k++];
        }
    }
    old->done = true;
    old->replaced = true;
    call_drop_bytes(c);
    resp_parser_trim(p);
    uint32_t n = cut.n_parts;
    *first = cut.first_part;
    cut_fini(&cut);
    return n;
}

void gather_replan(struct exec *x, struct call *c)
{
    uint32_t first;
    uint32_t n = cut_anew(x, c, false, &first);
    send_parts(x, c->request, first, n);
    gather_end(x, c->request); /* the old part's */
}

void gather_scatter(struct exec *x, struct call *c, const struct lane *lost)
{
    uint32_t first;
    struct request *r = c->request;
    uint32_t n = cut_anew(x, c, true, &first);
    for (uint32_t i = first; i < first + n; i++) {
        struct call *part = &r->gather->parts[i]->call;
        part->number = c->number;
        part->sent_us = c->sent_us;
        if (lost != NULL) {
            fate_begin(x, lost, part);
        } else {
            call_hold(x, part, x->now_us + 1000);
        }
    }
    gather_end(x, r);
}

void split_answered(struct exec *x, struct request *r)
{
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    if (r->gather->merge == RESPONSE_NONE) {
        merge_keys(r, &w);
    } else {
        merge_parts(r, &w);
    }
    request_reply_out(x, r, &o);
}
