// SPDX-License-Identifier: BSD-3-Clause
/* A listening socket on a loop: accepts a bounded number per turn, non-blocking, TCP_NODELAY set.
 * Out of descriptors: it pauses for 100 ms instead of spinning, and counts it. */
#pragma once

#include "common/base/err.h"
#include "common/io/loop.h"

struct listener;
/* Takes the descriptor `fd`. May stop or pause the listener, but not free it. */
typedef void (*listener_fn)(void *arg, int fd);

/* `host` is a numeric address, a name, "*" or "" (all IPv4), "::*" or "::" (all IPv6), or the path
 * of a Unix socket; its mode follows the umask. `reuseport`: several listeners (one per worker
 * thread) share the port. Port 0 picks a free one. NULL and err: "Could not create server TCP
 * listening socket *:6379: bind: Address already in use". */
struct listener *listener_new(struct loop *l, const char *host, int port, int backlog,
                              bool reuseport, listener_fn fn, void *arg, struct errmsg *err);
void listener_free(struct listener **l);
/* Stops accepting, closes the socket. */
void listener_stop(struct listener *l);
/* Pauses and resumes accepting; connections wait in the kernel's backlog meanwhile. */
void listener_pause(struct listener *l, bool pause);
int listener_port(const struct listener *l);
/* Times it had to stop for want of descriptors or memory. */
uint64_t listener_starved(const struct listener *l);
