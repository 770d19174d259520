// SPDX-License-Identifier: BSD-3-Clause
/* What a command did, for the log: decides which effects stand for it (keyspace/effect.h).
 *
 *   its own words   it changed something, all its keys are of one shard, and the words alone say
 *                   what it did: INCR, APPEND, RENAME within a shard...
 *   other words     the handler says them with record_say: SET .. EX is SET .. PXAT
 *   by value        keys of several shards: each shard learns what became of its keys
 *   nothing         nothing changed. But a lane's write that came so far as to its handler leaves
 *                   an entry in each shard of its keys, with the reply: the lane may ask for it
 *
 * Beside it, while somebody follows: what Redis would tell its replicas of the command. That is the
 * command's own words wherever it does the same there, keys of several shards or not.
 *
 * A command that waits is not answered and leaves none, until it has run again and is.
 * A transaction is one group: one entry a shard. Called by call.c; handlers call record_say only.
 * The node's thread. Pure. */
#pragma once

#include "node/cmd/call.h"
#include "node/keyspace/effect.h"

/* Around a command that is not queued, or a transaction. `before` is bytes of c->w.out. */
void record_open(struct call *c);
void record_close(struct call *c, size_t before);
/* Whether a command's effects have room in the entry that is being made, beside those of the group
 * that are there. To be asked before it does anything. */
bool record_has_room(const struct call *c);
/* A script that has begun to write: the shards of its own keys know its outcome. */
void record_answers(struct call *c);
/* Around each handler, inside. */
void record_begin(struct call *c);
void record_end(struct call *c);

/* Whether anybody wants to know: spares the handler the making of words. */
static inline bool record_wanted(const struct call *c)
{
    return UNLIKELY(c->ks->collector != NULL) && !c->db.applying;
}
/* In place of the command's own words; only for commands of one key, which is that of `p`, or by
 * key. To the log and to those who follow (keyspace/feed.h), or to one of them: where Redis tells
 * its replicas something else. */
void record_say(struct call *c, const struct probe *p, const struct slice *words, size_t n);
void record_say_log(struct call *c, const struct probe *p, const struct slice *words, size_t n);
void record_say_feed(struct call *c, const struct slice *words, size_t n);
/* Whether the command has changed a key so far. */
static inline bool record_changed(const struct call *c)
{
    return c->ks->collector->changed;
}
/* Those who follow are told nothing of this command. */
void record_hide_feed(struct call *c);
static inline bool record_followed(const struct call *c)
{
    return record_wanted(c) && UNLIKELY(c->ks->collector->feed != NULL);
}
/* For commands of several keys, before the first change. By key: the handler says for each key that
 * it changes what became of it, whatever shards the keys are of. By value: their words would not do
 * the same again. */
void record_by_key(struct call *c);
void record_by_value(struct call *c);
/* The handler will say words for every key that it changes, whatever their shards. */
static inline void record_in_words(struct call *c)
{
    if (record_wanted(c)) {
        c->ks->collector->by_value = false;
    }
}
/* "SET key value PXAT at", "PEXPIREAT key at", "DEL key". */
void record_say_set(struct call *c, const struct probe *p, struct slice key, struct slice value,
                    int64_t at_ms);
void record_say_expire(struct call *c, const struct probe *p, struct slice key, int64_t at_ms);
void record_say_del(struct call *c, const struct probe *p, struct slice key, bool lazily);
/* Of a command whose reply is a sum over its keys: what this key adds. */
void record_share(struct call *c, const struct probe *p, int64_t n);
