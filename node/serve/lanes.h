// SPDX-License-Identifier: BSD-3-Clause
/* Which proxies' lanes are connected here, by their ids, and which may never be again: somebody
 * asked for the fate of their writes, so nothing of them may run any more (docs/REPLICATION.md,
 * section 9). Of those the last LANES_ENDED_MAX are known. Owned by the server; the node's thread.
 */
#pragma once

#include "common/base/hmap.h"
#include "common/base/list.h"

struct client;

#define LANES_ENDED_MAX 65536

struct lanes {
    struct hmap open;  /* clients by their lane */
    struct hmap ended; /* struct ended_lane */
    struct list order; /* the same, oldest first */
    size_t n_ended;
};

void lanes_init(struct lanes *l);
/* No client is in it any more. */
void lanes_fini(struct lanes *l);

/* The client says that it is this lane (not 0). False: another one is, or the lane has ended. */
bool lanes_enter(struct lanes *l, struct client *c, uint64_t id) MUSTCHECK;
/* NULL: it is not connected here. */
struct client *lanes_find(const struct lanes *l, uint64_t id);
/* It is none any more, or never was. */
void lanes_leave(struct lanes *l, struct client *c);
/* Kills its connection, if it is here; it is refused from now on. */
void lanes_end(struct lanes *l, uint64_t id);
