// SPDX-License-Identifier: BSD-3-Clause
/* XREAD of streams in several shards. Nothing is taken, so unlike the commands of wait_many.c it
 * may be asked of all: shard by shard, once, what is there, and all of it is the reply. If there is
 * nothing anywhere it waits everywhere, and what comes first is the reply.
 *
 * XREADGROUP takes: what a shard gives out is the consumer's from then on. So each shard is asked
 * first whether the groups are there, by a read of the consumer's own that gives nothing new out,
 * and only when all have agreed does the first of them give. One is asked at a time; where one
 * fails after another gave, the reply is what was given: nothing is lost, nothing given twice. To
 * wait it leaves a notice at each (SHOAL READY), which gives nothing out. */
#include "proxy/exec/encode.h"
#include "proxy/exec/wait_priv.h"

#include "common/base/num.h"
#include "common/cmd/slot.h"
#include "common/resp/skip.h"

/* The words for one shard's streams, as they come from the client: BLOCK tells no time. */
static void make_words(const struct wait *w, const struct exec_input *in, const uint32_t *leg_of,
                       uint32_t leg, struct chunk **to)
{
    struct slice *words = mem_alloc(in->argc * sizeof(*words));
    const char *bytes;
    size_t len, n = 0;
    for (size_t i = 0; i < w->key_first; i++) {
        words[n++] = w->time_arg == i && i > 0 ? SLICE("0") : in->argv[i];
    }
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t i = 0; i < w->key_count; i++) {
            if (leg_of[i] == leg) {
                words[n++] = in->argv[w->key_first + half * w->key_count + i];
            }
        }
    }
    *to = gather_encode(words, n, &bytes, &len);
    mem_free(words);
}

static void make_legs(struct exec *x, struct wait *w, const struct exec_input *in)
{
    const struct key_list *keys = &x->keys;
    uint32_t *leg_of = mem_alloc(keys->count * sizeof(*leg_of));
    w->key_first = keys->keys[0].index;
    w->key_count = keys->count;
    w->legs = mem_zalloc(keys->count * sizeof(*w->legs));
    for (uint32_t i = 0; i < keys->count; i++) {
        int shard = (int)slot_to_shard(slot_of(in->argv[keys->keys[i].index]), x->shards);
        uint32_t leg = 0;
        while (leg < w->n_legs && w->legs[leg].shard != shard) {
            leg++;
        }
        if (leg == w->n_legs) {
            w->legs[w->n_legs++] = (struct wait_leg){.shard = shard};
        }
        leg_of[i] = leg;
    }
    for (uint32_t i = 0; i < w->n_legs; i++) {
        make_words(w, in, leg_of, i, &w->legs[i].words);
    }
    mem_free(leg_of);
}

static bool checks(const struct wait *w)
{
    return w->of_group && w->willing < w->n_legs;
}

/* Behind whatever the group has given out. (The very last id means the same as ">", with Redis
 * too.) */
#define ID_LAST SLICE("18446744073709551615-18446744073709551614")

/* Waiting is worth it only as long as nobody has anything. */
static struct chunk *ask_bytes(const struct wait *w, const struct wait_leg *leg, const char **bytes,
                               size_t *len)
{
    struct resp_parser p;
    bool check = checks(w);
    bool parks = w->time_arg != 0 && !w->found && !check;
    size_t n = 0;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    enum resp_status st = resp_parse(&p, slice_of(leg->words->data, leg->words->len));
    INVARIANT(st == RESP_OK);
    struct slice *words = mem_alloc((p.argc + 2) * sizeof(*words));
    if (parks) {
        words[n++] = SLICE("SHOAL");
        words[n++] = w->of_group ? (leg->waited ? SLICE("REREADY") : SLICE("READY"))
                                 : (leg->waited ? SLICE("REPARK") : SLICE("PARK"));
    }
    for (uint32_t i = 0; i < p.argc; i++) {
        bool block = w->time_arg != 0 && (i == w->time_arg || i + 1 == w->time_arg);
        bool id = check && i >= w->key_first && i >= w->key_first + (p.argc - w->key_first) / 2;
        if (parks || !block) {
            words[n++] = id && slice_eq(p.argv[i], SLICE(">")) ? ID_LAST : p.argv[i];
        }
    }
    struct chunk *chunk = gather_encode(words, n, bytes, len);
    mem_free(words);
    resp_parser_fini(&p);
    return chunk;
}

static void ask(struct exec *x, struct wait *w, uint32_t i)
{
    const char *bytes;
    size_t len;
    struct chunk *chunk = ask_bytes(w, &w->legs[i], &bytes, &len);
    wait_send(x, w, i, chunk, bytes, len);
}

/* --- the reply --- */

/* "*2" or "%2" of a reply with data; how many, and where they begin. */
static uint64_t heading(const struct wait_leg *leg, size_t *body)
{
    uint64_t n = 0;
    const char *eol = memchr(leg->reply, '\r', leg->reply_len);
    if (eol == NULL ||
        !num_parse_u64(slice_of(leg->reply + 1, (size_t)(eol - leg->reply) - 1), &n)) {
        return 0;
    }
    *body = (size_t)(eol - leg->reply) + 2;
    return n;
}

/* A stream and its entries: in RESP3 a key and a value of a map, else an array of the two. */
static size_t element_end(struct slice rest, int proto)
{
    struct resp_skip skip;
    size_t total = 0;
    resp_skip_init(&skip);
    for (int i = 0; i < (proto == 3 ? 2 : 1); i++) {
        size_t end;
        if (resp_skip(&skip, slice_of(rest.ptr + total, rest.len - total), &end) != SKIP_OK) {
            return 0;
        }
        total += end;
    }
    return total;
}

static void reply_all(struct exec *x, struct wait *w)
{
    struct request *r = w->request;
    struct outbuf all = {0}, o = {0};
    struct resp_writer writer = {.out = &o, .proto = r->proto};
    size_t n = 0;
    for (uint32_t i = 0; i < w->n_legs; i++) {
        const struct wait_leg *leg = &w->legs[i];
        size_t at = 0;
        uint64_t count = leg->reply_chunk == NULL ? 0 : heading(leg, &at);
        for (; count > 0; count--) {
            size_t end = element_end(slice_of(leg->reply + at, leg->reply_len - at), r->proto);
            if (end == 0) {
                break;
            }
            outbuf_append_from(&all, leg->reply_chunk, leg->reply + at, end);
            at += end;
            n++;
        }
    }
    if (r->proto == 3) {
        resp_map(&writer, n);
    } else {
        resp_array(&writer, n);
    }
    outbuf_splice(&o, &all);
    outbuf_fini(&all);
    request_reply_out(x, r, &o);
}

static bool is_nil(const char *ptr)
{
    return *ptr == '_' || (*ptr == '*' && ptr[1] == '-');
}

static void keep(struct exec *x, struct wait *w, uint32_t i, struct chunk *chunk, const char *ptr,
                 size_t len)
{
    struct wait_leg *leg = &w->legs[i];
    leg->answered = true;
    if (!is_nil(ptr)) {
        leg->reply_chunk = exec_keep(x, chunk, &ptr, len);
        leg->reply = ptr;
        leg->reply_len = len;
        w->found = true;
    }
}

void reads_go_on(struct exec *x, struct wait *w)
{
    if (w->asking) {
        return;
    }
    if (checks(w)) {
        ask(x, w, w->willing);
        return;
    }
    for (uint32_t i = 0; i < w->n_legs; i++) {
        if (w->legs[i].lane == NULL && !w->legs[i].answered) {
            ask(x, w, i);
            return;
        }
    }
    if (w->found) {
        reply_all(x, w);
    } else if (w->time_arg == 0) {
        wait_end(x, w->request, false);
    } else if (w->until_us != INT64_MAX) {
        exec_wake(x, w->until_us);
    }
}

void reads_answered(struct exec *x, struct request *r)
{
    struct wait *w = r->wait;
    const struct part *p = r->gather->parts[0];
    w->asking = false;
    if (r->session == NULL) {
        request_free(x, r);
        return;
    }
    bool failed = *p->reply == '-';
    if (failed && !(w->of_group && w->found)) {
        request_reply(x, r, p->reply_chunk, p->reply, p->reply_len);
        return;
    }
    if (checks(w)) {
        w->willing++;
    } else if (failed) {
        w->legs[w->asked].answered = true; /* what others gave must reach the client */
    } else if (w->legs[w->asked].lane == NULL) {
        keep(x, w, w->asked, p->reply_chunk, p->reply, p->reply_len);
    }
    gather_drop_replies(r->gather);
    if (w->stop && !w->found) {
        wait_end(x, r, w->stop_error);
    } else {
        reads_go_on(x, w);
    }
}

void reads_pushed(struct exec *x, struct wait *w, uint32_t leg, struct chunk *chunk,
                  const char *ptr, size_t len)
{
    w->request->start_us = x->now_us; /* waiting is no work */
    if (*ptr == '-') { /* it is not served there any more: asked again, wherever that is */
        exec_wake(x, x->now_us + 1000);
        return;
    }
    if (w->of_group) { /* a notice: worth asking for it */
        reads_go_on(x, w);
        return;
    }
    keep(x, w, leg, chunk, ptr, len);
    if (w->found && !w->asking) {
        reply_all(x, w);
    }
}

void reads_start(struct exec *x, struct wait *w, const struct exec_input *in)
{
    make_legs(x, w, in);
    w->reads = true;
    w->of_group = w->request->command->id == CMD_XREADGROUP;
    (void)gather_new(w->request, GATHER_WAIT);
    reads_go_on(x, w);
}
