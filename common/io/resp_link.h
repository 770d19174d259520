// SPDX-License-Identifier: BSD-3-Clause
/* A control link: messages that are RESP arrays of bulk strings, both ways, over a stream; parsed
 * and formatted by hiredis. For node <-> coordinator, probes and tools, never the data path.
 * Messages have at most RESP_LINK_ARGS arguments and RESP_LINK_BYTES bytes: more closes the link.
 */
#pragma once

#include "common/io/addr.h"
#include "common/io/stream.h"

#define RESP_LINK_ARGS  (64 * 1024)
#define RESP_LINK_BYTES (64 * 1024 * 1024)

struct resp_link;
/* A whole message: an array's arguments, or one argument for any other reply type, with `type` its
 * first byte ('*', '+', '-', ':', '$'); '_' and no argument is a nil. An argument that is a nil has
 * ptr NULL. Nested arrays are not spoken here: one closes the link with EPROTO. Borrowed for the
 * call, in which the link may be freed. */
typedef void (*resp_link_fn)(struct resp_link *l, char type, const struct slice *argv, size_t argc);
typedef void (*resp_link_up_fn)(struct resp_link *l);
/* Once, from the loop, also when connecting failed (as addr_error() knows it; 0: the peer ended
 * it). The owner then calls resp_link_free. */
typedef void (*resp_link_down_fn)(struct resp_link *l, int err);

struct resp_link *resp_link_accept(struct loop *loop, int fd, void *owner, resp_link_fn on_message,
                                   resp_link_down_fn on_down);
/* To a host's name, number or path, as stream_connect. Messages may be sent before it is up. */
struct resp_link *resp_link_connect(struct loop *loop, const char *host, int port,
                                    int64_t timeout_ms, void *owner, resp_link_up_fn on_up,
                                    resp_link_fn on_message, resp_link_down_fn on_down);
/* Bytes of a message that are taken from now on; RESP_LINK_BYTES at first. */
void resp_link_limit(struct resp_link *l, size_t bytes);
void resp_link_free(struct resp_link **l);
void *resp_link_owner(const struct resp_link *l);
/* Sent at the end of the turn; after the link went down it goes nowhere. */
void resp_link_send(struct resp_link *l, const struct slice *argv, size_t argc);
/* Not at the end of the turn but now. */
void resp_link_flush_now(struct resp_link *l);
/* "%s" and "%b" as hiredis formats them. */
void resp_link_sendf(struct resp_link *l, const char *fmt, ...);
/* Bytes formatted elsewhere (common/resp/write.h): a reply to a tool that speaks plain RESP. */
void resp_link_send_raw(struct resp_link *l, struct slice bytes);
/* Sends what is queued, then goes down with 0. */
void resp_link_close_after_flush(struct resp_link *l);
void resp_link_peer(const struct resp_link *l, char *to, size_t size);
/* Our own end, "ip:port": under which address the peer can reach this machine. */
void resp_link_local(const struct resp_link *l, char *to, size_t size);
/* Bytes not yet taken by the kernel: a peer that does not read. */
size_t resp_link_queued(const struct resp_link *l);
/* Loop time of the last bytes in. */
int64_t resp_link_active_us(const struct resp_link *l);
