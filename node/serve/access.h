// SPDX-License-Identifier: BSD-3-Clause
/* Who a client is to this node, and whether it may run what it sends.
 *
 * Always: CLIENT_FREE is set while the client may run anything without a look at its user: it has
 * said who it is, or need not, and that user is unrestricted. Everybody else passes
 * access_allows(). session.user is the user whose rules count, NULL when there is nothing to check.
 *
 * A proxy's lane is the proxy: it checks its clients itself. Only scripts it can't look into; those
 * of a restricted user it sends behind SHOAL AS <rules>, and what such a script runs is checked
 * here. The node's thread. */
#pragma once

#include "node/cmd/call.h"

#include "common/base/err.h"
#include "common/cmd/acl.h"

struct client;
struct server;
struct access;

/* Reads the users that the settings name. False with err. */
bool access_init(struct server *s, struct errmsg *err) MUSTCHECK;
void access_fini(struct server *s);

const struct acl_users *access_users(const struct server *s);
/* A connection came, or said RESET. */
void access_reset(struct client *c);
/* AUTH, HELLO AUTH. False: refused, and answered. */
bool access_login(struct client *c, struct call *k, struct slice user, struct slice pass);
/* The rest of the check for a client without CLIENT_FREE: NULL, or the error, valid until the next
 * call. */
const char *access_refusal(struct client *c, struct call *k);
/* Other users from now on (taken). `loaded`: from a file, all who are not the default user go. */
void access_install(struct server *s, struct acl_users *users, bool loaded);
/* The cluster's users, one a line (acl_print_all): each counts here too, in the place of one of its
 * name, and goes when the cluster lets go of it. But the default user: as that the proxies come. */
void access_take(struct server *s, struct slice text);
/* requirepass was set. */
void access_requirepass(struct server *s);
/* Before CONFIG REWRITE: the `user` directives that mean what is. */
void access_fill_directives(struct server *s);
void access_settings_changed(struct server *s);

/* The user of SHOAL AS; NULL: these are no rules. */
const struct acl_user *access_as(struct server *s, struct slice rules);

/* The ACL family. */
void access_command(struct call *k);
