// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/lazyfree.h"

#include "node/keyspace/table.h"

#include "common/base/mem.h"

enum {
    EFFORT_MIN = 64,     /* freeing less than this many elements is done at once */
    EFFORT_MOST = 65536, /* and more than so many never, whoever wants it */
};

/* One of the two. */
struct waiting {
    struct list link;
    struct table *table;
    struct object *object;
    size_t bytes;
};

static void queue(struct keyspace *ks, struct waiting what, uint64_t objects)
{
    struct waiting *w = mem_alloc(sizeof(*w));
    *w = what;
    ks->stats.lazyfree_bytes += w->bytes;
    list_append(&ks->lazyfree, &w->link);
    ks->stats.lazyfree_pending += objects;
}

void lazyfree_object(struct keyspace *ks, struct object *o, bool lazily)
{
    if (object_free_effort(o) > (lazily ? EFFORT_MIN : EFFORT_MOST)) {
        queue(ks, (struct waiting){.object = o, .bytes = object_memory(o)}, 1);
    } else {
        object_free(&o);
    }
}

void lazyfree_table(struct keyspace *ks, struct table *t)
{
    queue(ks, (struct waiting){.table = t, .bytes = table_memory(t)}, table_count(t));
}

/* Out of a table, which counts it as freed. */
static void queue_large(void *arg, struct object *o)
{
    struct keyspace *ks = arg;
    queue(ks, (struct waiting){.object = o, .bytes = object_memory(o)}, 1);
    ks->stats.lazyfreed_objects--;
}

bool keyspace_lazyfree_step(struct keyspace *ks, uint64_t budget)
{
    uint64_t freed = 0;
    while (!list_empty(&ks->lazyfree) && freed < budget) {
        struct waiting *w = container_of(ks->lazyfree.next, struct waiting, link);
        uint64_t now = 0;
        bool done = true;
        if (w->table != NULL) {
            done = table_free_step(&w->table, budget - freed, &now, queue_large, ks);
            freed += MAX(now, 1);
            size_t is = done ? 0 : table_memory(w->table);
            ks->stats.lazyfree_bytes -= w->bytes - is;
            w->bytes = is;
        } else {
            done = object_free_some(&w->object, budget - freed, &freed);
            now = done;
        }
        ks->stats.lazyfree_pending -= now;
        ks->stats.lazyfreed_objects += now;
        if (done) {
            ks->stats.lazyfree_bytes -= w->bytes;
            list_remove(&w->link);
            mem_free(w);
        }
    }
    return !list_empty(&ks->lazyfree);
}
