// SPDX-License-Identifier: BSD-3-Clause
/* Any stream of requests to the data commands, from two clients whose time passes: one whole reply
 * to each, the tables hold what they must, and all memory comes back. */
#include "node/cmd/call.h"
#include "node/keyspace/table.h"

#include "common/base/str.h"
#include "common/resp/parse.h"
#include "common/resp/skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARDS = 3, DBS = 2, STRING_MAX = 20000, CLIENTS = 2 };

struct world {
    struct keyspace *ks;
    struct call_table table;
    struct session sessions[CLIENTS];
    struct rng rng;
    int64_t now_ms;
    struct outbuf out;
    struct str reply;
};

static void take_reply(struct world *w)
{
    str_clear(&w->reply);
    while (w->out.bytes > 0) {
        struct iovec iov;
        outbuf_iovec(&w->out, &iov, 1);
        str_append(&w->reply, iov.iov_base, iov.iov_len);
        outbuf_consume(&w->out, iov.iov_len);
    }
    struct resp_skip skip;
    resp_skip_init(&skip);
    size_t end;
    INVARIANT(resp_skip(&skip, str_slice(&w->reply), &end) == SKIP_OK);
    INVARIANT(end == w->reply.len);
}

static void run(struct world *w, struct session *s, const struct resp_parser *p)
{
    char error[COMMAND_ERROR_MAX];
    struct call c = {.cmd = command_resolve(p->argv, p->argc, error),
                     .argv = p->argv,
                     .argc = p->argc,
                     .w = {.out = &w->out, .proto = s->proto},
                     .session = s,
                     .ks = w->ks,
                     .rng = &w->rng,
                     .now_ms = w->now_ms};
    if (c.cmd == NULL) {
        session_tx_failed(s);
        resp_error(&c.w, error);
    } else {
        if (c.cmd->key_single != 0) {
            struct probe probe = keyspace_probe_key(w->ks, c.argv[c.cmd->key_single]);
            call_prefetch_bucket(&c, c.cmd->key_single, (int)probe.slot);
            call_prefetch_object(&c);
        }
        call_run(&w->table, &c);
    }
    take_reply(w);
}

static void check_tables(const struct keyspace *ks)
{
    for (int db = 0; db < DBS; db++) {
        for (int s = 0; ks->dbs[db].tables != NULL && s < SHARDS; s++) {
            if (ks->dbs[db].tables[s] != NULL) {
                table_check(ks->dbs[db].tables[s]);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.ks = keyspace_new(SHARDS, DBS, 1), .now_ms = 1700000000000};
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(w.ks, i);
    }
    w.ks->settings.proto_max_bulk_len = STRING_MAX;
    call_table_data(&w.table);
    rng_init(&w.rng, 1);
    for (int i = 0; i < CLIENTS; i++) {
        session_init(&w.sessions[i]);
        w.sessions[i].proto = 2 + i;
    }
    struct resp_parser p;
    resp_parser_init(&p);
    struct slice in = slice_of((const char *)data, size);
    while (in.len > 0 && resp_parse(&p, in) == RESP_OK) {
        if (p.argc > 0) {
            /* The length of what was sent says by whom, and how much later. */
            w.now_ms += (int64_t)(p.used * p.used * 10);
            run(&w, &w.sessions[p.used % CLIENTS], &p);
            keyspace_expire_cycle(w.ks, w.now_ms, p.used % 5);
            keyspace_lazyfree_step(w.ks, p.used % 7);
        }
        in = slice_of(in.ptr + p.used, in.len - p.used);
    }
    check_tables(w.ks);
    resp_parser_fini(&p);
    for (int i = 0; i < CLIENTS; i++) {
        session_fini(&w.sessions[i], w.ks);
    }
    keyspace_free(&w.ks);
    outbuf_fini(&w.out);
    str_fini(&w.reply);
    return 0;
}
