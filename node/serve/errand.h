// SPDX-License-Identifier: BSD-3-Clause
/* What an operator asks of a node and only the coordinator can answer: passed on, and the client
 * waits for the answer. Of its client; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct client;

/* The call as it is; or, where the node stands alone, is no member now, or the client cannot wait,
 * an error. */
void errand_run(struct call *k);
/* CLUSTER MEET, when the agent is on its way: the answer is whether the node was registered. */
void errand_join(struct call *k);
/* CLUSTER RESET: a node that the cluster has let go of forgets the cluster. */
void errand_reset(struct call *k);
/* The client goes. */
void errand_forget(struct client *c);
