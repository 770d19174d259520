// SPDX-License-Identifier: BSD-3-Clause
/* Which keys which clients may have in their caches: remembered when they are read, told once when
 * they change, and forgotten then. Clients are numbers; one that is gone may still be named. Keys
 * of the same name in different databases are one. The node's thread. Pure. */
#pragma once

#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct tracked;

struct tracked *tracked_new(void);
void tracked_free(struct tracked **t);

/* True: it was not remembered for that client yet. */
bool tracked_add(struct tracked *t, struct slice key, uint32_t shard, uint64_t client);

/* Told of a key's clients, all n of them at a time; the key is forgotten already and its bytes are
 * valid during the call. */
typedef void tracked_fn(void *arg, struct slice key, const uint64_t *clients, size_t n);
void tracked_take(struct tracked *t, struct slice key, tracked_fn *fn, void *arg);
/* The key that is remembered longest. False: there is none. */
bool tracked_take_oldest(struct tracked *t, tracked_fn *fn, void *arg);
void tracked_take_shard(struct tracked *t, uint32_t shard, tracked_fn *fn, void *arg);
/* Forgets everything. */
void tracked_clear(struct tracked *t);

size_t tracked_keys(const struct tracked *t);
size_t tracked_items(const struct tracked *t); /* keys times their clients */
