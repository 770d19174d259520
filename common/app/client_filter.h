// SPDX-License-Identifier: BSD-3-Clause
/* Which connections CLIENT LIST and CLIENT KILL mean: their options read, and put to a connection.
 *
 * Owns copies of what it was told, so that other threads may use it after the request has gone. */
#pragma once

#include "common/resp/write.h"

struct acl_users;
struct stream;

enum client_kind { CLIENT_ANY, CLIENT_NORMAL, CLIENT_MASTER, CLIENT_REPLICA, CLIENT_PUBSUB };

struct client_filter {
    uint64_t *ids; /* in the order given */
    size_t n_ids;  /* 0: any */
    enum client_kind kind;
    char *addr; /* "ip:port"; NULL: any */
    char *laddr;
    char *user;
    bool skip_me;
    bool old_form; /* CLIENT KILL ip:port: answers +OK or an error */
};

/* `argv` is the whole request. False: an error was written. Either way _fini afterwards. */
bool client_filter_read_list(struct client_filter *f, const struct slice *argv, size_t argc,
                             struct resp_writer *w);
bool client_filter_read_kill(struct client_filter *f, const struct acl_users *users,
                             const struct slice *argv, size_t argc, struct resp_writer *w);
void client_filter_fini(struct client_filter *f);

/* `me`: it is the asker's own. */
bool client_filter_matches(const struct client_filter *f, uint64_t id, enum client_kind kind,
                           bool me, struct slice user, const struct stream *s);
/* The reply to a KILL that ended so many. */
void client_filter_killed(const struct client_filter *f, uint64_t killed, struct resp_writer *w);
