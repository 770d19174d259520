// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/copy.h"

#include "node/types/rdb.h"

#include "common/base/bytes.h"

void copy_write(struct str *to, int db, const struct object *o)
{
    rdb_write_len(to, (uint64_t)db);
    put_le64(str_reserve(to, 9), (uint64_t)object_expire(o));
    to->ptr[to->len + 8] = (char)rdb_type_of(o);
    to->len += 9;
    struct slice key = object_key(o);
    rdb_write_len(to, key.len);
    str_append_slice(to, key);
    rdb_write_value(to, o, false);
}

/* ---- source ---- */

struct scanning {
    struct str *to;
    uint64_t keys;
};

static size_t visit(void *arg, int db, uint64_t hash, struct object *o)
{
    (void)hash;
    struct scanning *s = arg;
    size_t before = s->to->len;
    copy_write(s->to, db, o);
    s->keys++;
    return s->to->len - before;
}

bool copy_scan(struct keyspace *ks, int shard, struct walk_place *at, size_t budget, struct str *to,
               uint64_t *keys)
{
    struct scanning s = {.to = to};
    bool more = walk_step(ks, shard, at, budget, visit, &s);
    *keys = s.keys;
    return more;
}

void copy_key(struct keyspace *ks, int shard, int db, uint64_t hash, struct slice key,
              struct str *to)
{
    struct db at = {.ks = ks, .index = db};
    struct probe p = {.hash = hash, .shard = (uint32_t)shard};
    const struct object *o = db_raw(&at, &p, key);
    if (o != NULL) {
        copy_write(to, db, o);
    }
}

/* ---- target ---- */

static bool put_one(const struct db *db, int shard, struct slice *in, struct str *scratch)
{
    uint64_t len;
    bool special;
    if (in->len < 9) {
        return false;
    }
    int64_t at_ms = (int64_t)get_le64(in->ptr);
    unsigned type = (unsigned char)in->ptr[8];
    *in = slice_of(in->ptr + 9, in->len - 9);
    if ((at_ms < 0 && at_ms != OBJECT_NO_EXPIRE) || !rdb_read_len(in, &len, &special) || special ||
        len > in->len || len > UINT32_MAX) {
        return false;
    }
    struct slice key = slice_of(in->ptr, len);
    *in = slice_of(in->ptr + len, in->len - len);
    struct probe p = keyspace_probe_key(db->ks, key);
    struct object *o = (int)p.shard == shard ? rdb_read_value(in, type, key, at_ms, scratch) : NULL;
    if (o == NULL) {
        return false;
    }
    struct object *old = db_raw(db, &p, key);
    if (old != NULL) {
        db_remove(db, &p, old, false);
    }
    db_add(db, &p, o);
    return true;
}

bool copy_put(struct keyspace *ks, int shard, struct slice in, int64_t now_ms, uint64_t *n)
{
    struct str scratch = {0};
    bool right = true;
    *n = 0;
    while (right && in.len > 0) {
        uint64_t index;
        bool special;
        right = rdb_read_len(&in, &index, &special) && !special && index < (uint64_t)ks->n_dbs;
        struct db db = {.ks = ks, .now_ms = now_ms, .index = (int)index, .applying = true};
        right = right && put_one(&db, shard, &in, &scratch);
        *n += right;
    }
    str_fini(&scratch);
    return right;
}
