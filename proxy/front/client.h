// SPDX-License-Identifier: BSD-3-Clause
/* One client's connection: read, parse, hand to exec, write; stops reading when replies pile up.
 * Owned by its worker's thread; admin code runs in that thread and may read all of it. */
#pragma once

#include "proxy/route/session.h"

#include "common/app/option_types.h"
#include "common/base/hmap.h"
#include "common/base/list.h"

struct resp_parser;
struct str;
struct stream;
struct worker;

#define CLIENT_MAGIC 0xc11e47a1u

enum client_kill { CLIENT_KILL_NOW, CLIENT_KILL_AFTER_REPLY };

struct client {
    uint32_t magic;
    bool doomed;            /* to be freed at the end of the turn */
    bool over_soft;         /* output above the soft limit since over_soft_us */
    bool monitor;           /* MONITOR */
    bool eof;               /* it sends no more; its last replies are under way */
    struct session session; /* id, name, db, protocol, queue */
    struct worker *worker;
    struct stream *stream;      /* fd, bytes in and out, active_us */
    struct resp_parser *parser; /* NULL unless a message is incomplete */
    struct list link;           /* worker->clients */
    struct hmap_node by_id;
    int64_t created_ms; /* loop time */
    int64_t over_soft_us;
};

/* The client of a session that exec works on. */
struct client *client_of(struct session *s);
/* Takes the descriptor. */
struct client *client_new(struct worker *w, int fd);
/* Ends the connection: at once, or behind the replies that are under way. */
void client_kill(struct client *c, enum client_kill how);
/* Reads nothing more; the connection ends when all that was read is answered. */
void client_drain(struct client *c);
/* From the loop only, not from within its own callbacks. */
void client_free(struct client **c);
/* The line of CLIENT LIST, with '\n'. */
void client_describe(const struct client *c, struct str *to);
/* Memory of its buffers and replies. */
size_t client_memory(const struct client *c);
/* Once a second: idle and output limits. */
void client_cron(struct client *c, int64_t now_us);
/* Something was appended to its output: the limits. */
void client_check_output(struct client *c);
/* Whose output limits hold for it. */
enum output_class client_class(const struct client *c);
/* After CONFIG SET, or when it is of another class. */
void client_limits_changed(struct client *c);

struct exec_port;
/* Fills in the sessions' functions. */
void client_fill_port(struct exec_port *port);
