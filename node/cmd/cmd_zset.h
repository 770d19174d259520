// SPDX-License-Identifier: BSD-3-Clause
/* What the commands on sorted sets share: finding them, answering with members and scores, ranges.
 * A function that returns false has written the error already. */
#pragma once

#include "node/cmd/call.h"
#include "node/keyspace/notify.h"
#include "node/types/zset.h"

/* Argument i as a key, for a change or to read; *o is NULL if it is not there. */
bool find_zset(struct call *c, const struct probe *p, size_t i, struct object **o) MUSTCHECK;
bool read_zset(struct call *c, size_t i, struct object **o) MUSTCHECK;
/* Behind db_edit_begin and a change; tells of it, and of the key's end if it is empty now. */
void end_zset_edit(struct call *c, const struct probe *p, struct db_edit *e, struct slice key,
                   const char *event);

/* The head of an answer of n members, and each of them: with scores, pairs in RESP3 and one long
 * array in RESP2. */
void reply_members_head(struct call *c, size_t n, bool scores);
void reply_member(struct call *c, const struct zset_element *e, bool scores);
void reply_member_bytes(struct call *c, const struct zset_element *e);

bool arg_double_or(struct call *c, size_t i, double *out, const char *error) MUSTCHECK;

/* ZADD and what comes to the same: scores are read, members stand in argv. */
struct zset_adding {
    unsigned flags; /* enum zset_flag */
    bool changed;   /* CH: counts what changed, too */
    size_t first;   /* of the groups in argv, n of them, each of `step` words */
    size_t n;
    size_t step;
    size_t member; /* which of a group's words it is, from 0 */
};
/* Does it to argv[1], and answers. */
void zset_add_all(struct call *c, const struct zset_adding *a, const double *scores);

/* The members from one end to another, as the arguments say it. */
enum zrange_by { ZRANGE_RANK, ZRANGE_SCORE, ZRANGE_LEX };
enum zrange_edge { EDGE_PLACE, EDGE_START, EDGE_END };
struct zrange {
    enum zrange_by by;
    int64_t start; /* ranks, the last included; negative: from the end */
    int64_t stop;
    struct ranks_place low; /* what is not before `low`, but before `high` */
    struct ranks_place high;
    enum zrange_edge low_edge;
    enum zrange_edge high_edge;
};
bool arg_zrange(struct call *c, enum zrange_by by, size_t min, size_t max,
                struct zrange *out) MUSTCHECK;

/* Which members that is. */
struct zspan {
    uint64_t first; /* rank of the one that comes first */
    uint64_t n;
    bool down;
};
struct zspan zrange_span(const struct zrange *r, const struct object *o, bool down);
/* Leaves out `offset`, and all behind `limit` (negative: none). */
void zspan_limit(struct zspan *s, int64_t offset, int64_t limit);

/* argv[1] becomes the sorted set, which is taken, or goes if it is NULL; answers with its length.
 */
void store_zset(struct call *c, struct object *o, const char *event);
