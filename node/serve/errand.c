// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/errand.h"

#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/server.h"

#define IS_MEMBER                                                                                  \
    "ERR This node is a member of a cluster: CLUSTER DRAIN and CLUSTER FORGET it first"

/* Of all arguments: more than an operator has to say, and less than ends the coordinator's link. */
#define WORDS_BYTES_MAX 4096

static void answer(struct client *c, struct slice reply)
{
    c->errand = 0;
    outbuf_append(client_out(c), reply.ptr, reply.len);
    dispatch_answered(c);
    client_unblock(c);
    client_check_output(c);
}

static void answered(void *arg, struct slice reply)
{
    answer(arg, reply);
}

static bool can_wait(struct call *k)
{
    const struct client *c = ((struct server *)k->server)->current;
    if (!k->wait.allowed || c->session.in_exec || (c->flags & CLIENT_LANE) != 0) {
        resp_errorf(&k->w, "ERR %s is not served in transactions or scripts", k->cmd->full_name);
        return false;
    }
    return true;
}

static bool is_short(struct call *k)
{
    size_t bytes = 0;
    for (size_t i = 0; i < k->argc; i++) {
        bytes += k->argv[i].len;
    }
    if (bytes > WORDS_BYTES_MAX) {
        resp_errorf(&k->w, "ERR %s: its arguments are too long", k->cmd->full_name);
    }
    return bytes <= WORDS_BYTES_MAX;
}

static bool ask(struct call *k, agent_answer_fn fn)
{
    struct server *s = k->server;
    struct client *c = s->current;
    if (!can_wait(k) || !is_short(k)) {
        return false;
    }
    c->errand = agent_ask(s->agent, c->session.proto, k->argv, k->argc, fn, c);
    if (c->errand == 0) {
        resp_errorf(&k->w, "CLUSTERDOWN This node has no connection to the coordinator: %s",
                    agent_state(s->agent) == AGENT_IDLE ? "it is in no cluster"
                                                        : agent_why(s->agent));
        return false;
    }
    client_block(c);
    return true;
}

void errand_run(struct call *k)
{
    (void)ask(k, answered);
}

void errand_join(struct call *k)
{
    struct server *s = k->server;
    if (can_wait(k)) {
        s->current->errand = agent_await(s->agent, answered, s->current);
        client_block(s->current);
    }
}

/* The coordinator's word that this node is forgotten may have come just now. */
static void reset_answered(void *arg, struct slice reply)
{
    struct client *c = arg;
    answer(c, agent_reset(c->server->agent) ? SLICE("+OK\r\n") : reply);
}

void errand_reset(struct call *k)
{
    struct server *s = k->server;
    if (server_keys(s) > 0) {
        resp_error(&k->w, "ERR CLUSTER RESET can't be called with master nodes containing keys");
    } else if (agent_reset(s->agent)) {
        resp_ok(&k->w);
    } else if (agent_state(s->agent) != AGENT_MEMBER) {
        resp_error(&k->w, IS_MEMBER);
    } else {
        (void)ask(k, reset_answered);
    }
}

void errand_forget(struct client *c)
{
    if (c->errand != 0 && c->server->agent != NULL) {
        agent_unask(c->server->agent, c->errand);
    }
    c->errand = 0;
}
