// SPDX-License-Identifier: BSD-3-Clause
/* What became of a script that names no keys, and whose lane broke. Which shards it wrote to, if
 * any, only their logs can tell: so all are asked. One that has its reply (it wrote there, and
 * nowhere else) answers it; where none has a trace of it, and each log goes back far enough, it did
 * nothing and never will, and is sent again; one that wrote to several shards left its trace
 * without a reply, for some of them may have lost it: its outcome stays unknown. */
#include "proxy/exec/exec_priv.h"

#include "common/base/num.h"

/* The words of the command itself, also in SHOAL AS <rules> <command>. */
static const struct slice *script_words(struct resp_parser *p, size_t *argc)
{
    size_t at = p->argc > 3 && slice_is(p->argv[0], "shoal") && slice_is(p->argv[1], "as") ? 3 : 0;
    *argc = p->argc - at;
    return p->argv + at;
}

bool fate_is_loose(struct exec *x, const struct call *c)
{
    struct resp_parser *p = &x->parser;
    if (!command_is_script(c->request->command) || c->kind != CALL_ONE || c->pinned ||
        c->bytes == NULL || resp_parse(p, slice_of(c->bytes, c->len)) != RESP_OK) {
        return false;
    }
    size_t argc;
    int64_t n_keys;
    const struct slice *argv = script_words(p, &argc);
    bool loose = argc > 2 && num_parse_i64(argv[2], &n_keys) && n_keys == 0;
    resp_parser_trim(p);
    return loose;
}

void fate_loose_begin(struct exec *x, const struct lane *l, struct call *c)
{
    struct request *r = c->request;
    if (x->n_held + x->shards > (uint64_t)x->settings.hold_max_requests) {
        x->counters.hold_refused++;
        fate_unknown(x, c);
        return;
    }
    (void)gather_new(r, GATHER_SEARCH);
    gather_begin(r);
    for (uint32_t i = 0; i < x->shards; i++) {
        struct call *question = &gather_add(r)->call;
        question->shard = (int)i;
        question->write = true;
        question->number = c->number;
        question->sent_us = c->sent_us;
        fate_begin(x, l, question);
    }
    gather_end(x, r);
}

void fate_search_over(struct exec *x, struct call *c, bool absent)
{
    struct part *p = container_of(c, struct part, call);
    p->absent = absent;
    p->doubtful = !absent;
    gather_answer(x, c, NULL, "", 0);
}

void search_answered(struct exec *x, struct request *r)
{
    struct gather *g = r->gather;
    struct call *c = &r->call;
    const struct part *found = NULL;
    bool doubtful = false;
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const struct part *p = g->parts[i];
        doubtful |= p->doubtful;
        found = p->absent || p->doubtful ? found : p;
    }
    if (found != NULL) {
        request_reply(x, r, found->reply_chunk, found->reply, found->reply_len);
        return;
    }
    gather_free(&r->gather);
    if (doubtful) {
        fate_unknown(x, c);
        return;
    }
    x->counters.resolved_resent++;
    c->granted = true;
    c->sent_us = x->now_us;
    call_hold(x, c, x->now_us);
}
