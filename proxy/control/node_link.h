// SPDX-License-Identifier: BSD-3-Clause
/* Connections from nodes to the coordinator: accepted, decoded, counted, closed when they make no
 * sense, do not register, or do not read. On the control thread. */
#pragma once

#include "common/base/err.h"
#include "common/io/loop.h"
#include "common/wire/wire.h"

struct node_links;

struct node_links_port {
    void *arg;
    /* A well-formed message; link numbers are never used again. */
    void (*message)(void *arg, uint64_t link, const char *peer_ip, const struct wire_message *m);
    void (*down)(void *arg, uint64_t link);
};

struct node_links *node_links_new(struct loop *l, const char *host, int port,
                                  const struct node_links_port *to, struct errmsg *err);
void node_links_free(struct node_links **n);
int node_links_listening(const struct node_links *n); /* the port */
void node_links_send(struct node_links *n, uint64_t link, const struct wire_message *m);
/* After what is queued has left; `down` is not called. */
void node_links_close(struct node_links *n, uint64_t link);
/* Closes those that have not sent a whole message in their first ten seconds. */
void node_links_tick(struct node_links *n, int64_t now_ms);
