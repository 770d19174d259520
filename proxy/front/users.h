// SPDX-License-Identifier: BSD-3-Clause
/* The users of this proxy: one set for all workers, changed as a whole.
 *
 * Whoever changes it does so under a lock (users_begin, users_end), never on the path of a request;
 * every worker holds a reference to the set that it goes by and takes the newest when it is told
 * (worker_take_users). A client's user is of its worker's set. Nodes know nothing of users: a
 * command is checked here before it leaves, and only a script of a restricted user takes the user's
 * rules along (SHOAL AS), for what it runs inside the node. */
#pragma once

#include "common/app/acl_file.h"

struct client;
struct proxy_options;
struct session;
struct users;
struct worker;

/* As the options say. NULL and err. */
struct users *users_new(const struct proxy_options *o, struct errmsg *err);
void users_free(struct users **u);
/* The newest set, another reference. */
struct acl_users *users_latest(struct users *u);
/* The newest set, borrowed, and nobody else changes it until users_end() with the next one (taken;
 * NULL: it stays). */
const struct acl_users *users_begin(struct users *u);
void users_end(struct users *u, struct acl_users *next);

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
