// SPDX-License-Identifier: BSD-3-Clause
/* What a node knows of the cluster's libraries of functions: of each name, when it was loaded,
 * replaced or deleted last. Two nodes that tell each other their sets come to have the same one,
 * whatever each of them missed, and no change is lost because another was made elsewhere.
 *
 * A change gets a stamp: the time in milliseconds, but always more than any stamp seen before. Of
 * two records of a name the one with the larger stamp counts, of two with the same the one with the
 * larger checksum. Deleted ones are kept as records without code. Where two libraries that were
 * loaded at different nodes have a function of the same name, the one that was loaded later stays.
 *
 * Pure; the node's thread. */
#pragma once

#include "node/script/script.h"

struct library_set;

struct library_set *library_set_new(void);
void library_set_free(struct library_set **set);
/* Libraries of `s` were changed here. */
void library_set_note(struct library_set *set, const struct scripts *s, int64_t now_ms);
/* Nothing was ever told or done. */
bool library_set_is_empty(const struct library_set *set);

/* The set as bytes, for another node or a file. */
void library_set_write(const struct library_set *set, const struct scripts *s, struct str *to);

enum library_set_news {
    LIBRARY_SET_BAD = 1,   /* these are no set */
    LIBRARY_SET_TAKEN = 2, /* something of theirs was newer: it is here now */
    LIBRARY_SET_AHEAD = 4, /* something of ours is newer: they should be told */
};
/* Returns enum library_set_news in any combination; `why` says what was left out, if anything. */
unsigned library_set_merge(struct library_set *set, struct scripts *s, struct slice in,
                           struct str *why);
