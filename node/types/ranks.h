// SPDX-License-Identifier: BSD-3-Clause
/* The order of a large sorted set: a B+-tree of its entries by score, then name, that knows how
 * many stand before each. Owned by one value; the node's thread. Pure.
 *
 * Entries are the owner's: a double, then the name as members.h has it. Leaves hold scores beside
 * the pointers, inner nodes the least of each child and how many it has, so that a search touches
 * entries only where scores are equal. A leaf costs 16 bytes an entry and is two thirds full, or
 * full where entries came in their order. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#define RANKS_HEAD sizeof(double) /* of an entry, before its name */

struct ranks;

struct ranks *ranks_new(void);
/* The tree; the entries are the caller's. */
void ranks_free(struct ranks **r);
/* Frees some `budget` leaves of one that goes; the entries may be gone already. *freed grows by how
 * many. False: none is left. Then, and between, nothing but this and ranks_free may be called. */
bool ranks_drain(struct ranks *r, uint64_t budget, uint64_t *freed);
uint64_t ranks_count(const struct ranks *r);
/* In size classes. */
size_t ranks_memory(const struct ranks *r);

static inline double ranks_score(const void *entry)
{
    double score;
    memcpy(&score, entry, sizeof(score));
    return score;
}

/* No entry has its score and name. */
void ranks_add(struct ranks *r, void *entry);
/* It is there, with this score. */
void ranks_remove(struct ranks *r, const void *entry);
/* Gives an entry that is there another score, which is written into it. */
void ranks_rescore(struct ranks *r, void *entry, double score);
/* All from rank `first` on, n of them, which are there; visit gets each, and may free it. */
typedef void ranks_visit_fn(void *arg, void *entry);
void ranks_remove_range(struct ranks *r, uint64_t first, uint64_t n, ranks_visit_fn *visit,
                        void *arg);

/* A place between entries: before or behind a score (name.ptr is NULL), a name (all scores are
 * alike, by_name), or an entry. */
struct ranks_place {
    double score;
    struct slice name;
    bool by_name; /* scores do not matter */
    bool behind;  /* what is equal is before the place */
};
/* Whether (score, entry) stands before the place. */
bool ranks_before(const struct ranks_place *at, double score, struct slice name);
/* How many stand before it. */
uint64_t ranks_below(const struct ranks *r, const struct ranks_place *at);

/* From a rank on, up or down; nothing changes meanwhile. */
struct ranks_walk {
    const void *leaf;
    uint32_t at;
};
/* `rank` < count. */
struct ranks_walk ranks_seek(const struct ranks *r, uint64_t rank);
/* The entry where the walk stands, NULL behind either end; moves on. */
void *ranks_up(struct ranks_walk *w);
void *ranks_down(struct ranks_walk *w);

/* Breaks if anything that must hold does not. Slow; for tests. */
void ranks_check(const struct ranks *r);
