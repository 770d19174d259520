// SPDX-License-Identifier: BSD-3-Clause
/* A log's history: for each primary term in it the version of its first entry. Two logs whose
 * histories give the same term to one version agree on all up to there. Only the last terms are
 * kept; of versions before them the term is unknown, which at worst costs a full copy. Pure. */
#pragma once

#include "common/base/str.h"

#define HISTORY_MAX 64

struct history_item {
    uint64_t term;
    uint64_t first; /* version */
};

/* Where a log ends and how it came there. Zeroed: the empty log. */
struct history {
    uint64_t version; /* of the last entry; 0: none */
    uint32_t n;
    struct history_item items[HISTORY_MAX]; /* oldest first; terms and versions rise */
};

/* Term of the last entry; 0 for the empty log. */
uint64_t history_term(const struct history *h);
/* Term of an entry of this log; 0: not in it, or too old to be known. Version 0 has term 0. */
uint64_t history_term_at(const struct history *h, uint64_t version);
/* The log of `h` has an entry (term, version), or that is (0, 0). */
bool history_has(const struct history *h, uint64_t term, uint64_t version);
/* The next entry, version + 1, was written in `term` (not lower than the last one's). */
static inline void history_add(struct history *h, uint64_t term);
void history_add_term(struct history *h, uint64_t term);
static inline void history_add(struct history *h, uint64_t term)
{
    if (UNLIKELY(h->n == 0 || h->items[h->n - 1].term != term)) {
        history_add_term(h, term);
    }
    h->version++;
}
void history_encode(const struct history *h, struct str *to);
/* All of `in`; false: not one. */
bool history_decode(struct slice in, struct history *out) MUSTCHECK;
