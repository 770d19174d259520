// SPDX-License-Identifier: BSD-3-Clause
/* Every change of a key passes here, once, after it was made: what must learn of changes hangs on
 * these functions and nowhere else. Today that is WATCH and the counters. */
#pragma once

#include "node/keyspace/db.h"

/* The value or expiry of `key` changed, or it came or went. */
void keyspace_changed(const struct db *db, const struct probe *p, struct slice key);
/* It was removed because its time was over. */
void keyspace_expired(const struct db *db, const struct probe *p, struct slice key);
