// SPDX-License-Identifier: BSD-3-Clause
/* Clients that wait for copies of what was written: WAIT and WAITAOF. Owned by the server; the
 * node's thread.
 *
 * The writes meant are all that this node has executed up to the command, whoever sent them: a
 * little more than the client's own, never less. Counted is, over the shards of which this node is
 * primary, the smallest number of other members that have everything. */
#pragma once

#include "node/cmd/call.h"

struct server;
struct client;

void waiters_init(struct server *s);
/* `timeout_ms` 0: for as long as it takes. A lane, and a client in a transaction, is answered with
 * what is so now. */
void waiters_wait(struct server *s, struct client *c, struct call *k, int64_t replicas,
                  int64_t timeout_ms);
void waiters_wait_aof(struct server *s, struct client *c, struct call *k, int64_t local,
                      int64_t replicas, int64_t timeout_ms);
/* Acknowledgements may have come: those who have what they wait for are answered. */
void waiters_check(struct server *s);
/* CLIENT UNBLOCK: answered with what is so now, or with that error. False: it does not wait. */
bool waiters_unblock(struct client *c, const char *error);
/* The client goes. */
void waiters_forget(struct client *c);
size_t waiters_count(const struct server *s);
