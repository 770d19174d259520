// SPDX-License-Identifier: BSD-3-Clause
/* A shard as it was at one moment, seen key by key in slices while it goes on changing. No copy of
 * the shard is made and nothing is forked: keys are visited in the order of their hashes, database
 * by database, and a key that is about to change before its turn is visited at once.
 *
 * INVARIANT  every key that the shard had when the view was made is visited exactly once, as it was
 *            then; no other is.
 * Why        let the walk's place be (db, hash). A key below it has been visited: later changes are
 * not looked at. A key at or above it is unchanged since the beginning, or it is in `early`: it was
 * visited before its first change (or was not there then: nothing to visit). The walk leaves out
 * what is in `early`. Positions are hashes, so that growth of the table moves no key across the
 * cursor (table.h). Databases that are emptied or exchanged before their turn end the view
 *            (VIEW_BROKEN), as does a shard that is dropped: begin again.
 *
 * Owned by who made it; the node's thread. Pure. */
#pragma once

#include "node/keyspace/keyspace.h"

struct view;

/* `o` is as it was when the view began; it may be expired. It changes nothing in the keyspace, but
 * may begin a portrait. */
typedef void view_fn(void *arg, int db, struct object *o);

/* The shard is held. */
struct view *view_new(struct keyspace *ks, int shard, view_fn *visit, void *arg);
void view_free(struct view **v);

enum view_state { VIEW_MORE, VIEW_DONE, VIEW_BROKEN };
/* Visits about so many bytes of keys and values. */
enum view_state view_step(struct view *v, size_t bytes);
/* Keys that changed before their turn and are remembered. */
size_t view_early(const struct view *v);
