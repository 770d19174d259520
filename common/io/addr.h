// SPDX-License-Identifier: BSD-3-Clause
/* Socket addresses: "127.0.0.1:6379", "[::1]:6379", "host:6379", host and port apart; a host that
 * begins with '/' is the path of a Unix socket, its port 0. */
#pragma once

#include "common/base/err.h"
#include "common/base/slice.h"

#include <sys/socket.h>

struct addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* Blocks while it asks name servers: on a helper thread only (names.h). 0, an errno value, or
 * getaddrinfo's own code, which is negative; addr_error() says it in words. */
int addr_look_up(const char *host, struct addr *out) MUSTCHECK;
const char *addr_error(int why);
/* The same, for start-up. */
bool addr_resolve(const char *host, int port, struct addr *out, struct errmsg *err) MUSTCHECK;
/* Numeric only, never blocks. */
bool addr_parse(const char *ip, int port, struct addr *out) MUSTCHECK;
/* "host:port" or "[v6]:port" into its parts; host has `host_size` bytes. */
bool addr_split(const char *text, char *host, size_t host_size, int *port) MUSTCHECK;
/* "ip:port", "[v6]:port", "/path:0"; "?:0" for none. ADDR_TEXT bytes are enough. */
#define ADDR_TEXT 128
void addr_print(const struct addr *a, char *to, size_t size);
/* The same without the port and brackets. */
void addr_print_host(const struct addr *a, char *to, size_t size);
int addr_port(const struct addr *a);
void addr_set_port(struct addr *a, int port);
/* Whether the peer of a connected socket is on this machine: loopback, or a Unix socket. */
bool addr_peer_is_local(int fd);
