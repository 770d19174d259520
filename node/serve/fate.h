// SPDX-License-Identifier: BSD-3-Clause
/* SHOAL FATE: what became of a lane's writes, from the shard's log (docs/REPLICATION.md, section
 * 9). Of the server; the node's thread. */
#pragma once

#include "node/cmd/call.h"

struct client;

struct fate_question {
    uint64_t lane;
    int shard;
    uint64_t from; /* numbers of commands, from this one on */
    int64_t age_ms;
};

/* Ends the lane, and answers; the answer waits in the client's output until all that it tells is
 * committed. The shard is one of the map's. */
void fate_answer(struct client *c, struct call *k, const struct fate_question *q);
