// SPDX-License-Identifier: BSD-3-Clause
/* Runs entries of a log on this node's copy of their shard: on replicas, and when a node recovers.
 * The commands' own handlers do it, at the entry's time: nothing expires by itself, no reply is
 * given, no statistics count it. The same entries in the same order make the same state. The
 * node's thread. Pure. */
#pragma once

#include "node/cmd/call.h"
#include "node/log/entry.h"

#define APPLY_AHEAD 16 /* a power of two */

/* An entry that will be applied soon: what its first effect touches is on its way into the cache.
 */
struct apply_soon {
    int shard;
    int db; /* -1: not known */
    uint64_t version;
    struct probe probe;
};

/* The next whole entries that will be applied; false: no more are known. */
typedef bool apply_more_fn(void *arg, struct slice *entries);

struct applier {
    const struct call_table *table;
    struct session session;
    struct rng rng;
    struct outbuf out; /* replies that nobody wants */
    struct slice *argv;
    size_t argv_cap;
    struct slice left; /* entries that were not looked at yet, then those that `more` gives */
    apply_more_fn *more;
    void *more_arg;
    struct apply_soon soon[APPLY_AHEAD];
    uint32_t soon_first;
    uint32_t soon_n;
    char error[160]; /* why apply_entry failed */
    uint64_t entries;
    uint64_t effects;
};

void applier_init(struct applier *a, const struct call_table *table);
void applier_fini(struct applier *a);

/* The shard is held. False: an effect is none that this node can run, a->error says why; what came
 * before it in the entry was run, so this copy is no prefix of any log any more. */
bool apply_entry(struct applier *a, struct keyspace *ks, const struct entry *e) MUSTCHECK;
/* `more` gives the entries that are to be applied next, as far as they are known: what they touch
 * is brought into the cache ahead of apply_entry, which may get them as other bytes, or not get
 * some. They stay where they are until this is called again; NULL: nothing is known. Only for
 * speed. */
void apply_ahead(struct applier *a, const struct keyspace *ks, apply_more_fn *more, void *arg);
