// SPDX-License-Identifier: BSD-3-Clause
/* What the files of this folder share. */
#pragma once

#include "proxy/exec/exec.h"
#include "proxy/exec/local.h"
#include "proxy/front/client.h"
#include "proxy/front/options.h"
#include "proxy/front/worker.h"

#include "common/cmd/command.h"
#include "common/resp/errors.h"

static inline struct worker *worker_of(const struct local_call *c)
{
    return c->worker;
}

static inline const struct proxy_options *options_of(const struct local_call *c)
{
    return worker_of(c)->options;
}

/* NULL: it has gone meanwhile (its transaction still runs). */
struct client *client_or_null(const struct local_call *c);
/* The address that the client connected to; what it can surely reach again. */
void own_host(const struct local_call *c, char *host, size_t size);
/* From this machine: the loopback address or a Unix socket. */
bool client_is_local(const struct local_call *c);

/* `ERR` and done, for `return refuse(c, "...")`. */
enum local_result refuse(struct local_call *c, const char *text);

/* A command that completes later: what it needs of its call, with the arguments copied. Reply is
 * written to `w`; later_finish gives it to the client and frees. */
struct later {
    struct exec *exec;
    struct worker *worker;
    struct request *request;
    const struct command *command;
    struct slice *argv;
    size_t argc;
    struct resp_writer w;
    struct outbuf out;
};
struct later *later_new(const struct local_call *c);
/* With other words than the call's. */
struct later *later_of(const struct local_call *c, const struct slice *argv, size_t argc);
void later_finish(struct later **l);
/* Frees only: the reply went another way. */
void later_drop(struct later **l);
/* The client has gone: nothing needs to be asked any more. */
static inline bool later_gone(const struct later *l)
{
    return l->request->session == NULL;
}
/* A call to go on with, from a callback: for local_fan and local_forward. Not if the client has
 * gone. */
struct local_call later_call(const struct later *l);
/* Moves what was written to an outbuf into a str (an answer of a visit). */
void outbuf_to_str(struct outbuf *o, struct str *to);

/* Runs in the first worker, which owns what all share (slow log, latency monitor), and replies with
 * what `fn` writes. */
typedef void (*first_worker_fn)(struct worker *first, const struct later *l, struct resp_writer *w);
enum local_result ask_first_worker(struct local_call *c, first_worker_fn fn);

void admin_session(struct local_table *t);
void admin_client(struct local_table *t);
void admin_info(struct local_table *t);
void admin_config(struct local_table *t);
void admin_cluster(struct local_table *t);
void admin_server(struct local_table *t);
void admin_debug(struct local_table *t);
void admin_memory(struct local_table *t);
void admin_observe(struct local_table *t);
void admin_latency(struct local_table *t);
void admin_wait(struct local_table *t);
void admin_script(struct local_table *t);
void admin_tracking(struct local_table *t);
void admin_pubsub(struct local_table *t);
void admin_acl(struct local_table *t);
