// SPDX-License-Identifier: BSD-3-Clause
/* Readers of packed forms that Redis had before listpacks, as they stand in old files: ziplists
 * (lists, hashes and sorted sets) and zipmaps (hashes). Hostile bytes are refused; nothing here
 * writes them. Pure. */
#pragma once

#include "node/types/listpack.h"

/* Stands before an element, or behind the last. */
struct ziplist_walk {
    const unsigned char *p;
};

/* Whether these are all the bytes of a ziplist, each element right; how many. */
bool ziplist_valid(struct slice bytes, size_t *count) MUSTCHECK;
/* Of bytes that were found valid. */
struct ziplist_walk ziplist_walk(struct slice bytes);
/* False: there are no more. The value points into the bytes. */
bool ziplist_next(struct ziplist_walk *w, struct listpack_value *v) MUSTCHECK;

/* The same for zipmaps, whose elements are field, value, field, value... */
struct zipmap_walk {
    const unsigned char *p;
};
bool zipmap_valid(struct slice bytes, size_t *pairs) MUSTCHECK;
struct zipmap_walk zipmap_walk(struct slice bytes);
bool zipmap_next(struct zipmap_walk *w, struct slice *field, struct slice *value) MUSTCHECK;
