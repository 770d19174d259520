// SPDX-License-Identifier: BSD-3-Clause
/* A control link: messages that are RESP arrays of bulk strings, both ways, over a stream; parsed
 * and formatted by hiredis. For node <-> coordinator, probes and tools, never the data path.
 * Messages have at most RESP_LINK_ARGS arguments and RESP_LINK_BYTES bytes: more closes the link. */
#pragma once

#include "common/io/addr.h"
#include "common/io/stream.h"

#define RESP_LINK_ARGS (64 * 1024)
#define RESP_LINK_BYTES (64 * 1024 * 1024)

struct resp_link;
/* A whole message: an array's arguments, or one argument for any other reply type, with `type` its
 * first byte ('*', '+', '-', ':', '$'). Borrowed for the call. */
typedef void (*resp_link_fn)(struct resp_link *l, char type, const struct slice *argv, size_t argc);
typedef void (*resp_link_up_fn)(struct resp_link *l);
typedef void (*resp_link_down_fn)(struct resp_link *l, int err);

struct resp_link *resp_link_accept(struct loop *loop, int fd, void *owner, resp_link_fn on_message,
                                   resp_link_down_fn on_down);
struct resp_link *resp_link_connect(struct loop *loop, const struct addr *to, int64_t timeout_ms,
                                    void *owner, resp_link_up_fn on_up, resp_link_fn on_message,
                                    resp_link_down_fn on_down);
void resp_link_free(struct resp_link **l);
void *resp_link_owner(const struct resp_link *l);
void resp_link_send(struct resp_link *l, const struct slice *argv, size_t argc);
/* "%s" and "%b" as hiredis formats them. */
void resp_link_sendf(struct resp_link *l, const char *fmt, ...);
void resp_link_peer(const struct resp_link *l, char *to, size_t size);
