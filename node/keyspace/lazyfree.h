// SPDX-License-Identifier: BSD-3-Clause
/* Freeing what is big in slices, between requests, so that no removal holds up the loop. What waits
 * here is in no table any more and counts as pending in the statistics. The node's thread. Pure. */
#pragma once

#include "node/keyspace/keyspace.h"

/* Takes `o`: freed at once unless `lazily` and big. */
void lazyfree_object(struct keyspace *ks, struct object *o, bool lazily);
/* Takes the table with its objects. */
void lazyfree_table(struct keyspace *ks, struct table *t);
