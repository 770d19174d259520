// SPDX-License-Identifier: BSD-3-Clause
/* What commands did, in the words of Redis 7.0's replication stream: for those who follow this node
 * by SYNC (serve/follow.h). It is made beside the entries of the shards' logs, of the same groups
 * (effect.h): a group of one command stands alone, a larger one between MULTI and EXEC, so that a
 * follower never shows half of it.
 *
 * Hung into collector.feed while somebody follows. The node's thread. Pure. */
#pragma once

#include "common/base/str.h"

struct feed {
    /* Bytes of the stream; those of a group come in a row. The slice is valid during the call. */
    void (*sink)(void *arg, struct slice bytes);
    /* It cannot be told what was done: followers have to begin anew. */
    void (*broke)(void *arg);
    void *arg;
    int db; /* that the followers have selected; -1: they must be told */

    /* of the group under way */
    struct str ops; /* the first without its SELECT */
    uint32_t n;
    int first_db;
    int last_db;
    bool apart; /* its commands have nothing to do with each other: keys that expired, or went */

    /* of the command under way, for node/cmd/record.c */
    bool said;   /* in other words than its own */
    bool values; /* every change is told at once as the key's new value */
    uint64_t errors;
};

void feed_init(struct feed *f, void (*sink)(void *arg, struct slice bytes), void *arg);
void feed_fini(struct feed *f);

/* One more command of the group. */
void feed_put(struct feed *f, int db, const struct slice *words, size_t n);
/* The group ends: it goes to the sink, if there is anything in it. */
void feed_close(struct feed *f);
/* What the group under way has so far is not told. */
void feed_drop(struct feed *f);
/* The words of a command as the protocol has them. */
void feed_words(struct str *to, const struct slice *words, size_t n);
