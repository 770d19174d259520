// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/view.h"

#include "node/keyspace/guard.h"
#include "node/keyspace/table.h"
#include "node/keyspace/walk.h"

#include "common/base/hmap.h"
#include "common/base/mem.h"

#define MAGIC 0x71e37001U

struct early {
    struct hmap_node node;
    int db;
    uint32_t key_len;
    char key[];
};

struct view {
    uint32_t magic;
    struct keyspace *ks;
    int shard;
    view_fn *visit;
    void *arg;
    struct guard guard;
    bool broken;
    bool done;
    struct walk_place at;
    struct hmap early;
};

static inline struct table *table_at(const struct view *v, int db)
{
    struct table **tables = v->ks->dbs[db].tables;
    return tables == NULL ? NULL : tables[v->shard];
}

/* ---- keys before their turn ---- */

static struct early *find_early(const struct view *v, int db, uint64_t hash, struct slice key)
{
    for (struct hmap_node *n = hmap_first(&v->early, hash); n != NULL; n = hmap_same(n)) {
        struct early *e = container_of(n, struct early, node);
        if (e->db == db && slice_eq(slice_of(e->key, e->key_len), key)) {
            return e;
        }
    }
    return NULL;
}

static void before_change(void *arg, int db, const struct probe *p, struct slice key,
                          struct object *o)
{
    struct view *v = arg;
    if (v->broken || walk_passed(&v->at, db, p->hash) || find_early(v, db, p->hash, key) != NULL) {
        return;
    }
    struct early *e = mem_alloc(sizeof(*e) + key.len);
    e->db = db;
    e->key_len = (uint32_t)key.len;
    memcpy(e->key, key.ptr, key.len);
    hmap_insert(&v->early, &e->node, p->hash);
    if (o != NULL) {
        v->visit(v->arg, db, o);
    }
}

static void forget_early(struct view *v)
{
    for (struct hmap_node *n = hmap_begin(&v->early); n != NULL;) {
        struct hmap_node *next = hmap_next(&v->early, n);
        mem_free(container_of(n, struct early, node));
        n = next;
    }
    hmap_fini(&v->early);
    v->early = (struct hmap){0};
}

/* ---- the walk ---- */

static size_t consider(void *arg, int db, uint64_t hash, struct object *o)
{
    struct view *v = arg;
    if (v->early.count > 0 && find_early(v, db, hash, object_key(o)) != NULL) {
        return 0;
    }
    v->visit(v->arg, db, o);
    return object_memory(o);
}

/* What is not visited yet would be lost, and to visit it now could take long: begin again. */
static void before_flush(void *arg, int db)
{
    struct view *v = arg;
    for (int i = v->at.db; i < v->ks->n_dbs; i++) {
        const struct table *t = table_at(v, i);
        if ((db < 0 || db == i) && t != NULL && table_count(t) > 0) {
            v->broken = true;
        }
    }
}

static void before_swap(void *arg, int db_a, int db_b)
{
    struct view *v = arg;
    (void)db_a;
    (void)db_b;
    v->broken = true;
}

static void on_dropped(void *arg)
{
    struct view *v = arg;
    v->broken = true;
    v->guard.shard = -1;
}

/* ---- life ---- */

struct view *view_new(struct keyspace *ks, int shard, view_fn *visit, void *arg)
{
    struct view *v = mem_zalloc(sizeof(*v));
    v->magic = MAGIC;
    v->ks = ks;
    v->shard = shard;
    v->visit = visit;
    v->arg = arg;
    v->guard = (struct guard){.shard = -1,
                              .key = before_change,
                              .flush = before_flush,
                              .swap = before_swap,
                              .dropped = on_dropped,
                              .arg = v};
    guard_set(ks, &v->guard, shard);
    return v;
}

void view_free(struct view **vp)
{
    struct view *v = *vp;
    if (v == NULL) {
        return;
    }
    CHECK_OBJ(v, MAGIC);
    guard_clear(v->ks, &v->guard);
    forget_early(v);
    v->magic = 0;
    mem_free(v);
    *vp = NULL;
}

enum view_state view_step(struct view *v, size_t bytes)
{
    CHECK_OBJ(v, MAGIC);
    if (v->broken) {
        return VIEW_BROKEN;
    }
    if (!v->done && walk_step(v->ks, v->shard, &v->at, bytes, consider, v)) {
        return VIEW_MORE;
    }
    /* Nothing can be missed any more. */
    v->done = true;
    guard_clear(v->ks, &v->guard);
    forget_early(v);
    return VIEW_DONE;
}

size_t view_early(const struct view *v)
{
    return v->early.count;
}
