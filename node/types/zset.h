// SPDX-License-Identifier: BSD-3-Clause
/* Sorted sets: members with scores, in the order of score, then bytes. A listpack while they are
 * few and short, else a tree (ranks.h) beside a table of members. Ranks count from 0. Pure. */
#pragma once

#include "node/types/listpack.h"
#include "node/types/object.h"
#include "node/types/ranks.h"

#include "common/base/rng.h"

struct zset_element {
    struct listpack_value member; /* ptr NULL: a number */
    double score;
};

static inline struct slice zset_element_text(const struct zset_element *e,
                                             char digits[NUM_I64_MAX_LEN])
{
    return e->member.ptr != NULL ? slice_of(e->member.ptr, e->member.len)
                                 : slice_of(digits, num_print_i64(digits, e->member.number));
}

/* Empty: to be filled before anybody sees it. */
struct object *zset_new(struct slice key);
size_t zset_count(const struct object *o);
/* False: it is not there. */
bool zset_score(const struct object *o, struct slice member, double *score) MUSTCHECK;
bool zset_rank(const struct object *o, struct slice member, uint64_t *rank) MUSTCHECK;

enum zset_flag {
    ZSET_NX = 1 << 0, /* only what is not there */
    ZSET_XX = 1 << 1, /* only what is */
    ZSET_GT = 1 << 2, /* only to a higher score, or new */
    ZSET_LT = 1 << 3,
    ZSET_INCR = 1 << 4, /* adds to the score that it has */
};
enum zset_outcome {
    ZSET_LEFT, /* a flag forbade it */
    ZSET_ADDED,
    ZSET_UPDATED,
    ZSET_SAME,
    ZSET_NAN, /* nothing was done: inf - inf */
};
/* `*score`: as wished; then what it has, unless LEFT or NAN. */
enum zset_outcome zset_add(struct object *o, struct slice member, unsigned flags,
                           double *score) MUSTCHECK;
/* False: it was not there. The last one leaves an empty sorted set. */
bool zset_remove(struct object *o, struct slice member);
/* n members from a rank on, which are there. */
void zset_remove_range(struct object *o, uint64_t first, uint64_t n);

/* How many stand before a place. */
uint64_t zset_below(const struct object *o, const struct ranks_place *at);

/* From a rank on, up or down; nothing changes meanwhile. A rank that is none is the end. */
struct zset_walk {
    const struct object *o;
    const unsigned char *at; /* in a listpack */
    struct ranks_walk ranks;
    bool down;
};
struct zset_walk zset_seek(const struct object *o, uint64_t rank, bool down);
bool zset_next(struct zset_walk *w, struct zset_element *out);
struct zset_element zset_at(const struct object *o, uint64_t rank);
/* A score as this sorted set keeps it, which is how ZSCAN shows it: listpacks know more whole
 * numbers. */
struct slice zset_score_text(const struct object *o, double score, char to[40]);

/* One step of ZSCAN, as members_scan; of a listpack all at once. */
typedef void zset_visit_fn(void *arg, const struct zset_element *e);
uint64_t zset_scan(const struct object *o, uint64_t cursor, zset_visit_fn *visit, void *arg);

/* A sorted set in the making: scores may still change, nothing is in order yet. */
struct zset_draft;
struct zset_draft *zset_draft_new(void);
void zset_draft_free(struct zset_draft **d);
size_t zset_draft_count(const struct zset_draft *d);
/* Where its score is; NULL: it is not there. Valid until another is added. */
double *zset_draft_find(struct zset_draft *d, struct slice member);
/* It is not there. */
void zset_draft_add(struct zset_draft *d, struct slice member, double score);
/* Not empty; the draft is gone then. `kept`: it may become a listpack, being no mere answer. */
struct object *zset_draft_done(struct zset_draft **d, struct slice key, bool kept);

struct object_ops;
struct str;
extern const struct object_ops zset_ops;

/* Forms of files. NULL: malformed. */
struct object *zset_read(struct slice *in, struct slice key, int64_t expire_ms,
                         struct str *scratch) MUSTCHECK; /* scores as doubles */
struct object *zset_read_text(struct slice *in, struct slice key, int64_t expire_ms,
                              struct str *scratch) MUSTCHECK; /* scores as text */
struct object *zset_read_listpack(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch) MUSTCHECK;
struct object *zset_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch) MUSTCHECK;
