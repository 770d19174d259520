// SPDX-License-Identifier: BSD-3-Clause
/* Commands that wait for keys of several shards. */
#include "proxy/exec/encode.h"
#include "proxy/exec/wait_priv.h"

#include "common/base/num.h"
#include "common/cmd/slot.h"

bool wait_may_span(const struct command *c)
{
    switch (c->id) {
    case CMD_BLPOP:
    case CMD_BRPOP:
    case CMD_BLMPOP:
    case CMD_BZPOPMIN:
    case CMD_BZPOPMAX:
    case CMD_BZMPOP:
    case CMD_XREAD:
    case CMD_XREADGROUP:
        return true;
    default:
        return false;
    }
}

bool wait_reads_streams(const struct command *c)
{
    return c->id == CMD_XREAD || c->id == CMD_XREADGROUP;
}

static void make_legs(struct exec *x, struct wait *w, const struct exec_input *in)
{
    const struct key_list *keys = &x->keys;
    w->key_first = keys->keys[0].index;
    w->key_count = keys->count;
    w->legs = mem_zalloc(keys->count * sizeof(*w->legs));
    for (uint32_t i = 0; i < keys->count; i++) {
        uint32_t at = keys->keys[i].index;
        int shard = (int)slot_to_shard(slot_of(in->argv[at]), x->shards);
        if (w->n_legs == 0 || w->legs[w->n_legs - 1].shard != shard) {
            w->legs[w->n_legs++] = (struct wait_leg){.shard = shard, .first = at};
        }
        w->legs[w->n_legs - 1].n++;
    }
}

/* SHOAL READY <the command with the keys of this leg and no time>. Returns the number of words. */
static size_t leg_words(const struct wait *w, const struct wait_leg *leg, const struct slice *argv,
                        size_t argc, struct slice *words, char digits[NUM_I64_MAX_LEN])
{
    size_t n = 0;
    words[n++] = SLICE("SHOAL");
    words[n++] = leg->waited ? SLICE("REREADY") : SLICE("READY");
    for (size_t i = 0; i < w->key_first; i++) {
        words[n++] = argv[i];
    }
    if (w->key_first == 3) { /* BLMPOP time n key ... */
        words[n - 1] = slice_of(digits, num_print_u64(digits, leg->n));
    }
    for (uint32_t i = 0; i < leg->n; i++) {
        words[n++] = argv[leg->first + i];
    }
    for (size_t i = w->key_first + w->key_count; i < argc; i++) {
        words[n++] = argv[i];
    }
    words[w->key_first == 3 ? 3 : n - 1] = SLICE("0");
    return n;
}

void wait_send(struct exec *x, struct wait *w, uint32_t i, struct chunk *chunk, const char *bytes,
               size_t len)
{
    struct request *r = w->request;
    struct part *part = gather_add(r);
    part_set_bytes(part, chunk, bytes, len);
    chunk_unref(&chunk);
    part->call.shard = w->legs[i].shard;
    part->call.write = !w->reads || w->of_group;
    part->call.primary = w->reads && !w->of_group;
    part->call.granted = true; /* its time begins now */
    part->call.sent_us = x->now_us;
    w->asking = true;
    w->asked = i;
    gather_begin(r);
    call_send(x, &part->call);
    gather_end(x, r);
}

static void ask(struct exec *x, struct wait *w, uint32_t i)
{
    const struct wait_leg *leg = &w->legs[i];
    struct resp_parser p;
    char digits[NUM_I64_MAX_LEN];
    const char *bytes;
    size_t len;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    enum resp_status st = resp_parse(&p, slice_of(w->words->data, w->words->len));
    INVARIANT(st == RESP_OK);
    struct slice *words = mem_alloc((p.argc + 2) * sizeof(*words));
    size_t n = leg_words(w, leg, p.argv, p.argc, words, digits);
    struct chunk *chunk = gather_encode(words, n, &bytes, &len);
    mem_free(words);
    resp_parser_fini(&p);
    wait_send(x, w, i, chunk, bytes, len);
}

void wait_go_on(struct exec *x, struct wait *w)
{
    if (w->reads) {
        reads_go_on(x, w);
        return;
    }
    if (w->asking) {
        return;
    }
    for (uint32_t i = 0; i < w->n_legs; i++) {
        if (w->legs[i].lane == NULL) {
            ask(x, w, i);
            return;
        }
    }
    if (w->until_us != INT64_MAX) {
        exec_wake(x, w->until_us);
    }
}

void wait_answered(struct exec *x, struct request *r)
{
    struct wait *w = r->wait;
    if (w->reads) {
        reads_answered(x, r);
        return;
    }
    const struct part *p = r->gather->parts[0];
    bool waits = p->reply_len == 9 && memcmp(p->reply, "+PARKED\r\n", 9) == 0;
    w->asking = false;
    if (r->session == NULL) {
        request_free(x, r);
    } else if (!waits) {
        request_reply(x, r, p->reply_chunk, p->reply, p->reply_len);
    } else if (w->stop) {
        wait_end(x, r, w->stop_error);
    } else {
        gather_drop_replies(r->gather);
        wait_go_on(x, w);
    }
}

/* What takes replies with the first answer that is more than "it waits". XREAD that does not wait
 * keeps also that a shard had nothing. */
bool wait_keeps_nothing(const struct request *r)
{
    const struct wait *w = r->wait;
    return w != NULL && !w->found && (!w->reads || w->time_arg != 0);
}

void wait_stop(struct exec *x, struct wait *w, bool error)
{
    if (w->asking) {
        w->stop = true; /* something may have been taken: that is the answer then */
        w->stop_error = error;
    } else {
        wait_end(x, w->request, error);
    }
}

void wait_start_many(struct exec *x, struct wait *w, const struct exec_input *in)
{
    const char *bytes;
    size_t len;
    if (wait_reads_streams(w->request->command)) {
        reads_start(x, w, in);
        return;
    }
    make_legs(x, w, in);
    w->words = gather_encode(in->argv, in->argc, &bytes, &len);
    (void)gather_new(w->request, GATHER_WAIT);
    wait_go_on(x, w);
}
