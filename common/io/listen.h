// SPDX-License-Identifier: BSD-3-Clause
/* A listening socket on a loop: accepts a bounded number per turn, non-blocking, TCP_NODELAY set.
 * Out of descriptors: it pauses for 100 ms instead of spinning, and counts it. */
#pragma once

#include "common/base/err.h"
#include "common/io/loop.h"

struct listener;
/* Takes the descriptor `fd` if it returns; never blocks. `peer` is valid for the call. */
typedef void (*listener_fn)(void *arg, int fd);

/* `reuseport`: several listeners (one per worker thread) share the port. Port 0 picks a free one.
 * NULL and err: "Could not create server TCP listening socket *:6379: bind: Address already in use". */
struct listener *listener_new(struct loop *l, const char *host, int port, int backlog,
                              bool reuseport, listener_fn fn, void *arg, struct errmsg *err);
void listener_free(struct listener **l);
/* Stops accepting, closes the socket. */
void listener_stop(struct listener *l);
int listener_port(const struct listener *l);
