// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/walk.h"

#include "node/keyspace/table.h"

enum { CURSOR_SHIFT = 16 }; /* a table's cursor is the upper 48 bits of a hash */

struct walking {
    const struct keyspace *ks;
    int db;
    uint64_t from;
    size_t work;
    walk_fn *visit;
    void *arg;
};

/* A table scan begins at a place as exact as its present shape allows: what is behind is left out
 * here. */
static void visit_ahead(void *arg, struct object *o)
{
    struct walking *w = arg;
    uint64_t hash = keyspace_hash(w->ks, object_key(o));
    if (hash >= w->from) {
        size_t work = w->visit(w->arg, w->db, hash, o);
        w->work += MAX(work, (size_t)WALK_KEY_WORK);
    }
}

bool walk_step(struct keyspace *ks, int shard, struct walk_place *at, size_t budget, walk_fn *visit,
               void *arg)
{
    struct walking w = {.ks = ks, .visit = visit, .arg = arg};
    for (; at->db < ks->n_dbs; at->db++, at->hash = 0) {
        struct table **tables = ks->dbs[at->db].tables;
        const struct table *t = tables == NULL ? NULL : tables[shard];
        if (t == NULL || table_count(t) == 0) {
            continue;
        }
        w.db = at->db;
        uint64_t cursor = at->hash >> CURSOR_SHIFT;
        while (cursor < TABLE_SCAN_END) {
            if (w.work >= budget && w.work > 0) {
                return true;
            }
            w.from = at->hash;
            cursor = table_scan(t, cursor, visit_ahead, &w);
            w.work++; /* empty places cost something, too */
            at->hash = cursor << CURSOR_SHIFT;
        }
    }
    return false;
}
