// SPDX-License-Identifier: BSD-3-Clause
/* The users of this proxy: one set for all workers, changed as a whole.
 *
 * Whoever changes it does so under a lock (users_begin, users_end), never on the path of a request;
 * every worker holds a reference to the set that it goes by and takes the newest when it is told
 * (worker_take_users). A client's user is of its worker's set. Nodes know nothing of users: a
 * command is checked here before it leaves, and only a script of a restricted user takes the user's
 * rules along (SHOAL AS), for what it runs inside the node.
 *
 * The coordinator records each change (users_keep), for the next start and for the nodes, which
 * have the same users then for those who talk to them directly. Beside the set it records what this
 * proxy's files said at the time: of users of whom they say something else when it starts again,
 * the files' word counts (acl_merge). */
#pragma once

#include "proxy/exec/local.h"

#include "common/app/acl_file.h"

struct client;
struct control;
struct proxy_options;
struct session;
struct users;
struct worker;

/* As the options say, and what is recorded at the coordinator, if there is one. NULL and err. */
struct users *users_new(const struct proxy_options *o, const struct control *control,
                        struct errmsg *err);
void users_free(struct users **u);
/* The newest set, another reference. */
struct acl_users *users_latest(struct users *u);
/* The newest set, borrowed, and nobody else changes it until users_end() with the next one (taken;
 * NULL: it stays). */
const struct acl_users *users_begin(struct users *u);
void users_end(struct users *u, struct acl_users *next);

/* The files say now what the newest set says: ACL SAVE, ACL LOAD, CONFIG REWRITE. */
void users_filed(struct users *u);
/* Has the newest set recorded; the call is answered with `reply` when it is durable, or with what
 * went wrong. */
enum local_result users_keep(struct local_call *c, struct slice reply);
/* The same without an answer. */
void users_keep_quietly(struct worker *w);
/* At the start: the record, which nodes go by, is not there or not what is true. */
bool users_unrecorded(const struct users *u);

struct acl_sources users_sources(const struct proxy_options *o);

/* From now on this worker goes by the newest set: clients of users who are gone are closed (the
 * one with the id `asker` behind its reply). `loaded`: all who are not the default user. */
void worker_take_users(struct worker *w, bool loaded, uint64_t asker);

/* A connection came, or said RESET. */
void client_reset_user(struct client *c);
/* AUTH succeeded. */
void client_set_user(struct client *c, const struct acl_user *u);
/* For ACL LOG: `object` is the command, the key or the channel. `c` may be NULL. */
void worker_log_refusal(struct worker *w, struct client *c, enum acl_answer why,
                        const char *context, struct slice object, struct slice user);
