// SPDX-License-Identifier: BSD-3-Clause
/* EXEC for a user whose rules have changed since MULTI. As in Redis, only the commands that it may
 * not run any more are refused, each in its place; the others run. */
#include "proxy/exec/encode.h"
#include "proxy/exec/tx_priv.h"

#include "common/resp/parse.h"

/* The words of a queued command. A script's of a restricted user are behind SHOAL AS <rules>. */
struct queued {
    struct resp_parser parser;
    const struct slice *argv;
    size_t argc;
};

static void read_item(const struct tx *tx, const struct tx_item *item, struct queued *q)
{
    resp_parser_init(&q->parser);
    q->parser.bulk_max = INT64_MAX;
    enum resp_status st = resp_parse(&q->parser, slice_of(tx->bytes->data + item->off, item->len));
    INVARIANT(st == RESP_OK);
    bool wrapped = q->parser.argc > 3 && slice_is(q->parser.argv[0], "shoal");
    q->argv = q->parser.argv + (wrapped ? 3 : 0);
    q->argc = q->parser.argc - (wrapped ? 3 : 0);
}

/* What the script may do inside its node are the rules of now. */
static void wrap_again(struct tx *tx, struct tx_item *item, const struct session *s,
                       const struct queued *q)
{
    struct str rules = {0};
    struct slice *words = mem_alloc((q->argc + 3) * sizeof(*words));
    size_t n = 0;
    if (!s->trusted) {
        acl_user_print(s->user, &rules);
        words[n++] = SLICE("SHOAL");
        words[n++] = SLICE("AS");
        words[n++] = str_slice(&rules);
    }
    /* The words lie in the queue's bytes, which may move when they grow. */
    size_t len = encoded_max(q->argv, q->argc) + encoded_max(words, n);
    struct chunk *made = chunk_new(len);
    memcpy(words + n, q->argv, q->argc * sizeof(*words));
    made->len = encode_args(made->data, words, n + q->argc);
    memcpy(tx_room(tx, made->len), made->data, made->len);
    item->off = tx->bytes->len;
    item->len = made->len;
    tx->bytes->len += made->len;
    chunk_unref(&made);
    mem_free(words);
    str_fini(&rules);
}

static void refuse_item(struct exec *x, struct session *s, uint32_t at, const struct command *c,
                        enum acl_answer why, struct slice object)
{
    struct tx *tx = s->tx;
    if (x->port.not_allowed != NULL) {
        x->port.not_allowed(x->port.front, s, why,
                            object.ptr == NULL ? slice_str(c->full_name) : object);
    }
    tx->refused = mem_realloc(tx->refused, (tx->n_refused + 1) * sizeof(*tx->refused));
    tx->refused[tx->n_refused++] = (struct tx_refused){.at = at, .error = acl_exec_error(why)};
}

void tx_apply_rules(struct exec *x, struct session *s)
{
    struct tx *tx = s->tx;
    uint32_t kept = 0;
    INVARIANT(tx->n_refused == 0);
    tx->user_changed = false;
    for (uint32_t i = 0; i < tx->n_items; i++) {
        struct tx_item item = tx->items[i];
        struct queued q;
        size_t at = 0;
        read_item(tx, &item, &q);
        enum acl_answer why = s->user == NULL || s->trusted
                                  ? ACL_YES
                                  : acl_check(s->user, item.command, q.argv, q.argc, &x->keys, &at);
        if (why != ACL_YES) {
            refuse_item(x, s, i, item.command, why, at == 0 ? slice_of(NULL, 0) : q.argv[at]);
        } else {
            if (exec_runs_script(item.command)) {
                wrap_again(tx, &item, s, &q);
            }
            tx->items[kept++] = item;
        }
        resp_parser_fini(&q.parser);
    }
    tx->n_items = kept;
}
