// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/local.h"

#include "proxy/exec/exec_priv.h"

#include "common/cmd/slot.h"

struct local_table *local_table_new(void)
{
    struct local_table *t = mem_zalloc(sizeof(*t));
    t->count = CMD_MAX;
    t->entries = mem_zalloc(CMD_MAX * sizeof(*t->entries));
    return t;
}

void local_table_free(struct local_table **t)
{
    if (*t != NULL) {
        mem_free((*t)->entries);
        mem_free(*t);
        *t = NULL;
    }
}

void local_table_set(struct local_table *t, int command_id, local_fn fn, unsigned flags)
{
    INVARIANT(command_id > CMD_NONE);
    INVARIANT((size_t)command_id < t->count);
    const struct local_entry e = {.fn = fn, .flags = flags};
    const struct command *c = command_by_id((enum command_id)command_id);
    t->entries[command_id] = e;
    for (int i = 0; i < c->sub_count; i++) {
        if (t->entries[c->sub_first + i].fn == NULL) {
            t->entries[c->sub_first + i] = e;
        }
    }
}

/* Whose command it is: of an inner session's, the client's. */
static struct session *client_session(struct exec *x, struct session *s)
{
    if (s == NULL) {
        return &x->nobody;
    }
    if (!s->inner) {
        return s;
    }
    return s->outer == NULL ? &x->nobody : s->outer;
}

enum exec_verdict exec_local(struct exec *x, struct session *s, const struct command *c,
                             const struct exec_input *in)
{
    const struct local_entry *e = &x->local->entries[c->id];
    if ((e->flags & LOCAL_ORDERED) && s->pending > 0) {
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    /* CLIENT REPLY decides only as it runs whether it is answered itself. */
    bool in_place = request_is_first(r) && !r->silent && c->id != CMD_CLIENT_REPLY;
    struct outbuf aside = {0};
    struct resp_writer w = {.out = in_place ? s->out : &aside, .proto = s->proto};
    struct local_call call = {.exec = x,
                              .worker = x->port.front,
                              .session = client_session(x, s),
                              .request = r,
                              .command = c,
                              .argv = in->argv,
                              .argc = in->argc,
                              .w = &w};
    size_t before = s->out->bytes;
    x->counters.requests_local++;
    if (e->fn(&call) == LOCAL_LATER) {
        return EXEC_TAKEN; /* the request may be over already */
    }
    if (in_place) {
        if (UNLIKELY(w.errors > 0)) {
            char text[RESP_CODE_MAX + 1] = "-";
            memcpy(text + 1, w.code, sizeof(w.code));
            request_failed(x, r, text, strlen(text));
        }
        request_done_in_place(x, r, before);
    } else {
        request_reply_out(x, r, &aside);
    }
    return EXEC_TAKEN;
}

void local_finish(struct exec *x, struct request *r, struct outbuf *reply)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    request_reply_out(x, r, reply);
}

void local_finish_slice(struct exec *x, struct request *r, struct slice reply)
{
    struct outbuf o = {0};
    outbuf_append(&o, reply.ptr, reply.len);
    local_finish(x, r, &o);
}

/* The merge function may ask again: its gather is the request's then. */
static bool merge_fan(struct exec *x, struct request *r, struct resp_writer *w)
{
    struct gather *g = r->gather;
    struct fan_answer *answers = mem_alloc((g->n_parts + 1) * sizeof(*answers));
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const struct part *p = g->parts[i];
        answers[i] = (struct fan_answer){.node_id = p->call.target->id,
                                         .reply = slice_of(p->reply, p->reply_len)};
    }
    struct local_call call = {.exec = x,
                              .worker = x->port.front,
                              .session = client_session(x, r->session),
                              .request = r,
                              .command = r->command,
                              .w = w};
    r->gather = NULL;
    g->fan(&call, answers, g->n_parts, g->fan_arg);
    mem_free(answers);
    gather_free(&g);
    return !call.fanned;
}

void fan_answered(struct exec *x, struct request *r)
{
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    bool replied = true;
    if (r->gather->fan == NULL) {
        merge_parts(r, &w);
    } else {
        replied = merge_fan(x, r, &w);
    }
    if (replied) {
        request_reply_out(x, r, &o);
    } else {
        INVARIANT(o.bytes == 0); /* the request may be over already */
    }
}

static void add_fan_part(struct local_call *c, struct target *t, const struct slice *argv,
                         size_t argc)
{
    const char *bytes;
    size_t len;
    struct chunk *chunk = gather_encode(argv, argc, &bytes, &len);
    struct part *p = gather_add(c->request);
    part_set_bytes(p, chunk, bytes, len);
    chunk_unref(&chunk);
    p->call.shard = CALL_NODE;
    p->call.target = t;
    p->call.write = !(c->command->flags & CF_READONLY);
    t->fans++;
}

static enum local_result fan(struct local_call *c, fan_words_fn words, void *words_arg,
                             fan_merge_fn merge, void *arg)
{
    struct exec *x = c->exec;
    struct request *r = c->request;
    struct gather *g = gather_new(r, GATHER_FAN);
    g->fan = merge;
    g->fan_arg = arg;
    g->merge = c->command->response;
    c->fanned = true;
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        const struct slice *argv;
        size_t argc;
        if (t->alive && words(words_arg, t->id, &argv, &argc)) {
            add_fan_part(c, t, argv, argc);
        }
    }
    gather_begin(r);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        call_send_to(x, &g->parts[i]->call, g->parts[i]->call.target, LANE_WRITE);
    }
    gather_end(x, r);
    return LOCAL_LATER;
}

struct same_words {
    const struct slice *argv;
    size_t argc;
};

static bool same_for_all(void *arg, const char *node_id, const struct slice **argv, size_t *argc)
{
    const struct same_words *s = arg;
    (void)node_id;
    *argv = s->argv;
    *argc = s->argc;
    return true;
}

enum local_result local_fan(struct local_call *c, const struct slice *argv, size_t argc,
                            fan_merge_fn merge, void *arg)
{
    struct same_words s = {.argv = argv, .argc = argc};
    return fan(c, same_for_all, &s, merge, arg);
}

enum local_result local_fan_each(struct local_call *c, fan_words_fn words, fan_merge_fn merge,
                                 void *arg)
{
    return fan(c, words, arg, merge, arg);
}

enum local_result local_forward(struct local_call *c, const struct slice *argv, size_t argc,
                                struct slice key)
{
    struct exec *x = c->exec;
    struct call *call = &c->request->call;
    struct exec_input in = {.argv = argv, .argc = argc};
    call->shard = key.ptr == NULL ? CALL_ANY : (int)slot_to_shard(slot_of(key), x->shards);
    call->db = c->session->db;
    call->write = !(c->command->flags & CF_READONLY);
    call_keep_bytes(x, call, &in, &x->park);
    call_send(x, call);
    return LOCAL_LATER;
}
