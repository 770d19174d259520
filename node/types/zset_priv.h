// SPDX-License-Identifier: BSD-3-Clause
/* What the files of sorted sets share: zset.c (members and ranks), zset_file.c (forms in files and
 * what object.c asks for). */
#pragma once

#include "node/types/object_ops.h"
#include "node/types/zset.h"

struct members;

enum zset_encoding { ZSET_PACKED, ZSET_TREE };

/* What the root of a ZSET_TREE points to; entries are in both. */
struct zset_tree {
    struct members *members;
    struct ranks *ranks;
    size_t memory; /* of the entries */
};

struct zset_tree *zset_tree_new(void);
/* With its entries. */
void zset_tree_free(struct zset_tree **t);
/* False: it is there. */
bool zset_tree_add(struct zset_tree *t, struct slice member, double score);
/* Of a packed one. */
void zset_become_tree(struct object *o);
/* The score behind a member of a listpack. */
double packed_score(const unsigned char *p);
