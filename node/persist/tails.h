// SPDX-License-Identifier: BSD-3-Clause
/* The last entries of each shard's log, kept while the log is read at start: what a restarted
 * node's backlog begins with, so that it can tell the fate of writes that are older than its
 * process.
 *
 * How long ago they came is known only if the log says what the machine's clock was (WAL_CLOCK) and
 * the machine was not booted since. Pure; owned by who reads the log. */
#pragma once

#include "common/base/slice.h"

#include <stdint.h>

struct tails;

/* `boot` names the machine's present boot; 0: not known. At most about bytes_max for each shard. */
struct tails *tails_new(int n_shards, size_t bytes_max, uint64_t boot);
void tails_free(struct tails **t);

/* In the order of their positions: */
/* Records that end at or below `position` are not read. */
void tails_begin(struct tails *t, uint64_t position);
void tails_entry(struct tails *t, int shard, uint64_t version, uint64_t position,
                 struct slice bytes);
void tails_reset(struct tails *t, int shard, uint64_t position);
/* Something is missing before `position`. */
void tails_hole(struct tails *t, uint64_t position);
void tails_clock(struct tails *t, uint64_t position, struct slice bytes);

/* The content of a WAL_CLOCK. */
#define TAILS_CLOCK_BYTES 16
void tails_clock_write(char to[TAILS_CLOCK_BYTES], uint64_t boot, int64_t now_us);

/* Of the shard whose log ends with `version`: its last entries, in a row (none: an empty slice),
 * and a time of the machine's clock since which no other one came. False: that is not known. */
bool tails_of(const struct tails *t, int shard, uint64_t version, struct slice *entries,
              int64_t *since_us);
