// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/copy.h"

#include "node/types/rdb.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

/* All of a key but its value. */
static void write_key(struct str *to, int db, const struct object *o)
{
    rdb_write_len(to, (uint64_t)db);
    put_le64(str_reserve(to, 9), (uint64_t)object_expire(o));
    to->ptr[to->len + 8] = (char)rdb_type_of(o);
    to->len += 9;
    struct slice key = object_key(o);
    rdb_write_len(to, key.len);
    str_append_slice(to, key);
}

/* ---- source ---- */

void copied_clear(struct copied *c)
{
    for (size_t i = 0; i < c->n_portraits; i++) {
        str_fini(&c->portraits[i].head);
    }
    str_clear(&c->bytes);
    c->n_portraits = 0;
    c->keys = 0;
}

void copied_fini(struct copied *c)
{
    copied_clear(c);
    str_fini(&c->bytes);
    mem_free(c->portraits);
    *c = (struct copied){0};
}

static void add_portrait(struct copied *to, int db, struct object *o)
{
    if (to->n_portraits == to->cap_portraits) {
        to->cap_portraits = MAX(to->cap_portraits * 2, (size_t)4);
        to->portraits = mem_realloc(to->portraits, to->cap_portraits * sizeof(to->portraits[0]));
    }
    struct copied_portrait *p = &to->portraits[to->n_portraits++];
    *p = (struct copied_portrait){.portrait = portrait_new(o, false)};
    write_key(&p->head, db, o);
    str_append_slice(&p->head, portrait_head(p->portrait));
}

/* Returns how much it was. */
static size_t add(struct copied *to, int db, struct object *o)
{
    to->keys++;
    if (portrait_suits(o)) {
        add_portrait(to, db, o);
        return SIZE_MAX / 2;
    }
    size_t before = to->bytes.len;
    write_key(&to->bytes, db, o);
    rdb_write_value(&to->bytes, o, false);
    return to->bytes.len - before;
}

static size_t visit(void *arg, int db, uint64_t hash, struct object *o)
{
    (void)hash;
    return add(arg, db, o);
}

bool copy_scan(struct keyspace *ks, int shard, struct walk_place *at, size_t budget,
               struct copied *to)
{
    return walk_step(ks, shard, at, budget, visit, to);
}

void copy_key(struct keyspace *ks, int shard, int db, uint64_t hash, struct slice key,
              struct copied *to)
{
    struct db at = {.ks = ks, .index = db};
    struct probe p = {.hash = hash, .shard = (uint32_t)shard};
    struct object *o = db_raw(&at, &p, key);
    if (o != NULL) {
        add(to, db, o);
    }
}

/* ---- target ---- */

struct coming {
    int db;
    struct slice key;
    struct probe probe;
    int64_t expire_ms;
    unsigned type;
};

/* What write_key wrote. */
static bool read_key(struct keyspace *ks, int shard, struct slice *in, struct coming *out)
{
    uint64_t index;
    uint64_t len;
    bool special;
    if (!rdb_read_len(in, &index, &special) || special || index >= (uint64_t)ks->n_dbs ||
        in->len < 9) {
        return false;
    }
    out->db = (int)index;
    out->expire_ms = (int64_t)get_le64(in->ptr);
    out->type = (unsigned char)in->ptr[8];
    *in = slice_of(in->ptr + 9, in->len - 9);
    if ((out->expire_ms < 0 && out->expire_ms != OBJECT_NO_EXPIRE) ||
        !rdb_read_len(in, &len, &special) || special || len > in->len || len > UINT32_MAX) {
        return false;
    }
    out->key = slice_of(in->ptr, len);
    *in = slice_of(in->ptr + len, in->len - len);
    out->probe = keyspace_probe_key(ks, out->key);
    return (int)out->probe.shard == shard;
}

/* Takes `o`. */
static void put(struct keyspace *ks, int index, const struct probe *p, struct object *o,
                int64_t now_ms)
{
    struct db db = {.ks = ks, .now_ms = now_ms, .index = index, .applying = true};
    struct object *old = db_raw(&db, p, object_key(o));
    if (old != NULL) {
        db_remove(&db, p, old, true);
    }
    db_add(&db, p, o);
}

bool copy_put(struct keyspace *ks, int shard, struct slice in, int64_t now_ms, uint64_t *n)
{
    struct str scratch = {0};
    bool right = true;
    *n = 0;
    while (right && in.len > 0) {
        struct coming c;
        right = read_key(ks, shard, &in, &c);
        struct object *o = right ? rdb_read_value(&in, c.type, c.key, c.expire_ms, &scratch) : NULL;
        right = o != NULL;
        if (right) {
            put(ks, c.db, &c.probe, o, now_ms);
            ++*n;
        }
    }
    str_fini(&scratch);
    return right;
}

struct draft *copy_draft(struct keyspace *ks, int shard, struct slice head, int *db)
{
    struct coming c;
    if (!read_key(ks, shard, &head, &c)) {
        return NULL;
    }
    *db = c.db;
    return draft_new(c.key, c.expire_ms, c.type, head);
}

bool copy_put_draft(struct keyspace *ks, int shard, int db, struct draft **d, int64_t now_ms)
{
    struct object *o = draft_done(d);
    if (o == NULL) {
        return false;
    }
    struct probe p = keyspace_probe_key(ks, object_key(o));
    INVARIANT((int)p.shard == shard);
    put(ks, db, &p, o, now_ms);
    return true;
}
