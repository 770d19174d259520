// SPDX-License-Identifier: BSD-3-Clause
/* One client's connection: read, parse, hand to exec, write; stops reading when replies pile up.
 * Owned by its worker's thread; admin code runs in that thread and may read all of it. */
#pragma once

#include "proxy/route/session.h"

#include "common/base/list.h"

struct resp_parser;
struct stream;
struct worker;

#define CLIENT_MAGIC 0xc11e47a1u

enum client_kill { CLIENT_KILL_NOW, CLIENT_KILL_AFTER_REPLY };

struct client {
    uint32_t magic;
    bool doomed;            /* to be freed when the loop is back in the worker */
    bool over_soft;         /* output above the soft limit since over_soft_us */
    struct session session; /* id, name, db, protocol, queue */
    struct worker *worker;
    struct stream *stream;      /* fd, bytes in and out, active_us */
    struct resp_parser *parser; /* NULL unless a message is incomplete */
    struct list link;           /* worker->clients */
    struct list id_link;        /* worker's look-up by id */
    int64_t created_ms;         /* loop time */
    int64_t over_soft_us;
};

/* The client of a session that exec works on. */
struct client *client_of(struct session *s);
struct client *client_new(struct worker *w, int fd);
/* Ends the connection: at once, or behind the replies that are under way. */
void client_kill(struct client *c, enum client_kill how);
void client_free(struct client **c);
