// SPDX-License-Identifier: BSD-3-Clause
/* Replies that wait: of writes until they are committed, of reads until what they saw is.
 *
 * A client with held replies has a ring of holds, oldest first: where the reply starts in its
 * output, and which version of which shard must be committed before bytes from there on leave.
 * Everything behind the oldest hold waits with it: replies leave in order. Each client stands in
 * the list of the shard that its oldest hold waits for, so a commit looks at nobody else.
 *
 *   out:  ... sent | may leave | reply (s3, v17) | reply (no hold) | reply (s5, v2) ...
 *                              ^ stream->hold_at                   ^ next mark
 *
 * Versions of a shard only grow. Where the node loses its role before a commit, the outcome is not
 * known here: those connections end (holds_lost). Owned by the server; the node's thread. */
#pragma once

#include "common/base/list.h"

#include <stdbool.h>

struct client;
struct holds;

/* A client's part; zero-initialised is empty. */
struct hold_ring {
    struct hold *of; /* `cap` of them, a power of two, from `first` */
    uint32_t cap;
    uint32_t first;
    uint32_t count;
    bool frozen;      /* nothing leaves at all, see holds_freeze */
    struct list link; /* in the list of the shard that the first waits for */
};

struct holds *holds_new(int n_shards);
void holds_free(struct holds **h);

void hold_ring_init(struct hold_ring *r);
/* The client goes. */
void holds_forget(struct holds *h, struct client *c);

/* Bytes of the client's output from position `at` on (stream_end before they were appended) wait
 * for that version. Positions only grow from call to call. One that is committed already costs
 * nothing. */
void holds_add(struct holds *h, struct client *c, uint64_t at, int shard, uint64_t version);
/* Lets go what waited for it; streams flush at the end of the turn. */
void holds_committed(struct holds *h, int shard, uint64_t version);
/* What is uncommitted of the shard will not be told: ends the clients that wait for it. */
void holds_lost(struct holds *h, int shard);
/* The shard's versions start anew: its data was dropped. Nothing waits for it (holds_lost) but
 * what is committed and stands behind others: that counts as committed from now on. */
void holds_reset(struct holds *h, int shard);

/* Nothing that the client was answered and that has not left yet leaves, until it is thawed: the
 * leases under which it read are in doubt. */
void holds_freeze(struct client *c);
void holds_thaw(struct client *c);

uint64_t holds_count(const struct holds *h); /* replies held now */
uint64_t holds_total(const struct holds *h); /* ever */
uint64_t holds_ended(const struct holds *h); /* clients ended by holds_lost */
