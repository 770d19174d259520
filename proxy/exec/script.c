// SPDX-License-Identifier: BSD-3-Clause
/* SCRIPT KILL, FUNCTION KILL, FUNCTION STATS: to all nodes by connections of their own, since on
 * the lanes they would stand behind the very script that they are about. */
#include "proxy/exec/exec_priv.h"

static bool begins(const struct part *p, const char *with)
{
    size_t n = strlen(with);
    return p->reply_len >= n && memcmp(p->reply, with, n) == 0;
}

/* 0: says nothing. */
static int worth(const struct command *c, const struct part *p)
{
    if (c->id == CMD_FUNCTION_STATS) {
        /* One that runs something names it; a node that is busy with a script says that. */
        bool runs = memmem(p->reply, p->reply_len, "duration_ms", 11) != NULL;
        return runs ? 3 : begins(p, "-BUSY") ? 2 : *p->reply != '-';
    }
    if (*p->reply != '-') {
        return 4;
    }
    return begins(p, "-UNKILLABLE") ? 3 : begins(p, "-BUSY") ? 2 : begins(p, "-NOTBUSY");
}

const struct part *script_best(const struct command *c, const struct gather *g)
{
    const struct part *best = g->parts[0];
    for (uint32_t i = 1; i < g->n_parts; i++) {
        if (worth(c, g->parts[i]) > worth(c, best)) {
            best = g->parts[i];
        }
    }
    return best;
}

enum exec_verdict exec_urgent(struct exec *x, struct session *s, const struct command *c,
                              const struct exec_input *in)
{
    const char *bytes;
    size_t len;
    struct chunk *chunk = gather_encode(in->argv, in->argc, &bytes, &len);
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_ALL);
    x->counters.requests_all++;
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->alive) {
            struct part *p = gather_add(r);
            part_set_bytes(p, chunk, bytes, len);
            p->call.shard = CALL_NODE;
            p->call.target = t;
        }
    }
    chunk_unref(&chunk);
    gather_begin(r);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        call_send_to(x, &g->parts[i]->call, g->parts[i]->call.target, LANE_URGENT);
    }
    gather_end(x, r);
    return EXEC_TAKEN;
}
