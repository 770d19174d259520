// SPDX-License-Identifier: BSD-3-Clause
/* A large value in the making: from the head and the parts of a portrait (portrait.h), in turns
 * that each read a part. Parts are bytes of strangers, as in rdb.h. Owned by who made it; the
 * node's thread. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/slice.h"

struct draft;

/* `type`: as rdb_type_of says of what was portrayed. NULL: there are no portraits of that type, or
 * the head is malformed. */
struct draft *draft_new(struct slice key, int64_t expire_ms, unsigned type,
                        struct slice head) MUSTCHECK;
/* False: malformed. */
bool draft_add(struct draft *d, struct slice part) MUSTCHECK;
/* The draft is gone then. NULL: something is missing. */
struct object *draft_done(struct draft **d) MUSTCHECK;
/* Gives what is to be freed, or NULL. */
struct object *draft_free(struct draft **d) MUSTCHECK;
