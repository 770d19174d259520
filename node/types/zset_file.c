// SPDX-License-Identifier: BSD-3-Clause
/* Sorted sets: their forms in files, and what object.c asks of every type. */
#include "node/types/limits.h"
#include "node/types/members.h"
#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"
#include "node/types/set.h"
#include "node/types/ziplist.h"
#include "node/types/zset_priv.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <math.h>

enum {
    TEXT_NAN = 253, /* in the place of the length of a score's text */
    TEXT_INF = 254,
    TEXT_NEGATIVE_INF = 255,
};

static inline struct zset_tree *tree_of(const struct object *o)
{
    return object_root(o);
}

/* ---- for object.c ---- */

static void free_value(struct object *o)
{
    if (o->encoding == ZSET_PACKED) {
        struct listpack *lp = object_root(o);
        listpack_free(&lp);
    } else {
        struct zset_tree *t = tree_of(o);
        zset_tree_free(&t);
    }
}

/* What has the order has no look at the members any more. */
static bool free_some(struct object *o, uint64_t budget, uint64_t *freed)
{
    return o->encoding == ZSET_TREE && (members_drain(tree_of(o)->members, budget, freed) ||
                                        ranks_drain(tree_of(o)->ranks, budget, freed));
}

static size_t memory(const struct object *o)
{
    if (o->encoding == ZSET_PACKED) {
        return listpack_memory(object_root(o));
    }
    const struct zset_tree *t = tree_of(o);
    return object_size_class(sizeof(*t)) + members_memory(t->members) + ranks_memory(t->ranks) +
           t->memory;
}

static size_t free_effort(const struct object *o)
{
    return o->encoding == ZSET_PACKED ? 1 : ranks_count(tree_of(o)->ranks);
}

static void copy_value(const struct object *o, struct object *to)
{
    if (o->encoding == ZSET_PACKED) {
        object_set_root(to, listpack_copy(object_root(o)));
        return;
    }
    struct zset_tree *t = zset_tree_new();
    struct zset_walk w = zset_seek(o, 0, false);
    struct zset_element e;
    while (zset_next(&w, &e)) {
        zset_tree_add(t, slice_of(e.member.ptr, e.member.len), e.score);
    }
    object_set_root(to, t);
}

static const char *encoding_name(const struct object *o)
{
    return o->encoding == ZSET_PACKED ? "listpack" : "skiplist";
}

static void digest(const struct object *o, struct digest *d)
{
    struct zset_walk w = zset_seek(o, 0, false);
    struct zset_element e;
    while (zset_next(&w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        char text[40];
        struct slice member = zset_element_text(&e, digits);
        digest_mix(d, member.ptr, member.len);
        digest_mix(d, text, num_print_double(text, e.score));
    }
}

/* ---- writing ---- */

static unsigned rdb_type(const struct object *o)
{
    return o->encoding == ZSET_PACKED ? RDB_TYPE_ZSET_LISTPACK : RDB_TYPE_ZSET_2;
}

static void rdb_write(struct str *to, const struct object *o, bool compress)
{
    if (o->encoding == ZSET_PACKED) {
        rdb_write_string(to, listpack_slice(object_root(o)), compress);
        return;
    }
    uint64_t n = zset_count(o);
    rdb_write_len(to, n);
    /* The last one first, as Redis does: whoever reads it can add each in front. */
    struct zset_walk w = zset_seek(o, n - 1, true);
    struct zset_element e;
    while (zset_next(&w, &e)) {
        char score[sizeof(uint64_t)];
        uint64_t bits;
        memcpy(&bits, &e.score, sizeof(bits));
        put_le64(score, bits);
        rdb_write_string(to, slice_of(e.member.ptr, e.member.len), compress);
        str_append(to, score, sizeof(score));
    }
}

/* ---- reading ---- */

typedef bool score_fn(struct slice *in, double *score);

static bool read_double(struct slice *in, double *score)
{
    if (in->len < sizeof(uint64_t)) {
        return false;
    }
    uint64_t bits = get_le64(in->ptr);
    memcpy(score, &bits, sizeof(bits));
    *in = slice_of(in->ptr + sizeof(bits), in->len - sizeof(bits));
    return !isnan(*score);
}

static bool read_text(struct slice *in, double *score)
{
    unsigned len;
    if (!rdb_read_byte(in, &len) || len == TEXT_NAN) {
        return false;
    }
    if (len == TEXT_INF || len == TEXT_NEGATIVE_INF) {
        *score = len == TEXT_INF ? INFINITY : -INFINITY;
        return true;
    }
    if (len > in->len) {
        return false;
    }
    struct slice text = slice_of(in->ptr, len);
    *in = slice_of(in->ptr + len, in->len - len);
    return num_parse_double(text, score);
}

static struct object *empty_at(struct slice key, int64_t expire_ms)
{
    return object_new_rooted(OBJECT_ZSET, ZSET_PACKED, key, expire_ms, listpack_new());
}

/* False: twice. `n` will come: who are too many to be packed are not at first, either. */
static bool add(struct object *o, struct slice member, double score, uint64_t n)
{
    if (o->encoding == ZSET_PACKED && n > type_limits()->zset_entries) {
        zset_become_tree(o);
    }
    return zset_add(o, member, ZSET_NX, &score) == ZSET_ADDED;
}

static struct object *read_pairs(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch, score_fn *read_score)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL) || n == 0) {
        return NULL;
    }
    struct object *o = empty_at(key, expire_ms);
    for (uint64_t i = 0; i < n; i++) {
        struct slice member;
        double score;
        if (!rdb_read_string(in, scratch, &member) || !read_score(in, &score) ||
            !add(o, member, score, n)) {
            object_free(&o);
            return NULL;
        }
    }
    return o;
}

struct object *zset_read(struct slice *in, struct slice key, int64_t expire_ms, struct str *scratch)
{
    return read_pairs(in, key, expire_ms, scratch, read_double);
}

struct object *zset_read_text(struct slice *in, struct slice key, int64_t expire_ms,
                              struct str *scratch)
{
    return read_pairs(in, key, expire_ms, scratch, read_text);
}

static bool score_of(const struct listpack_value *v, double *score)
{
    if (v->ptr == NULL) {
        *score = (double)v->number;
        return true;
    }
    return num_parse_double(slice_of(v->ptr, v->len), score);
}

/* Pairs as this file would have written them: each behind the one before it, none twice. */
static bool is_in_order(const struct listpack *lp)
{
    struct object *seen = set_new(SLICE(""));
    const unsigned char *p = listpack_first(lp);
    struct ranks_place at = {0};
    char digits[2][NUM_I64_MAX_LEN];
    bool good = true;
    for (int i = 0; good && p != NULL; i ^= 1) {
        struct slice member = listpack_text(p, digits[i]);
        struct listpack_value v = listpack_get(listpack_next(p));
        double score;
        good = score_of(&v, &score) && set_add(seen, member) &&
               (at.name.ptr == NULL || !ranks_before(&at, score, member));
        at = (struct ranks_place){.score = score, .name = member};
        p = listpack_next(listpack_next(p));
    }
    object_free(&seen);
    return good;
}

/* In any order; false: twice, or no score. */
static bool add_packed(struct object *o, const struct listpack *lp, uint64_t n)
{
    for (const unsigned char *p = listpack_first(lp); p != NULL;) {
        char digits[NUM_I64_MAX_LEN];
        double score;
        const unsigned char *second = listpack_next(p);
        struct listpack_value v = listpack_get(second);
        if (!score_of(&v, &score) || !add(o, listpack_text(p, digits), score, n)) {
            return false;
        }
        p = listpack_next(second);
    }
    return true;
}

struct object *zset_read_listpack(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch)
{
    struct slice bytes;
    size_t n;
    if (!rdb_read_string(in, scratch, &bytes) || !listpack_valid(bytes, &n) || n == 0 ||
        n % 2 != 0) {
        return NULL;
    }
    struct listpack *lp = listpack_from(bytes);
    if (n / 2 <= type_limits()->zset_entries && is_in_order(lp)) {
        return object_new_rooted(OBJECT_ZSET, ZSET_PACKED, key, expire_ms, lp);
    }
    struct object *o = empty_at(key, expire_ms);
    if (!add_packed(o, lp, n / 2)) {
        object_free(&o);
    }
    listpack_free(&lp);
    return o;
}

struct object *zset_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch)
{
    struct slice bytes;
    size_t n;
    if (!rdb_read_string(in, scratch, &bytes) || !ziplist_valid(bytes, &n) || n == 0 ||
        n % 2 != 0) {
        return NULL;
    }
    struct object *o = empty_at(key, expire_ms);
    struct ziplist_walk w = ziplist_walk(bytes);
    struct listpack_value member;
    struct listpack_value v;
    while (ziplist_next(&w, &member) && ziplist_next(&w, &v)) {
        struct zset_element e = {.member = member};
        char digits[NUM_I64_MAX_LEN];
        if (!score_of(&v, &e.score) || !add(o, zset_element_text(&e, digits), e.score, n / 2)) {
            object_free(&o);
            return NULL;
        }
    }
    return o;
}

/* ---- in parts ---- */

static void portray_entry(struct str *to, const void *entry, bool compress)
{
    char score[sizeof(uint64_t)];
    uint64_t bits;
    double value = ranks_score(entry);
    memcpy(&bits, &value, sizeof(bits));
    put_le64(score, bits);
    rdb_write_string(to, member_name(entry, RANKS_HEAD), compress);
    str_append(to, score, sizeof(score));
}

static struct portrait **portraits(const struct object *o)
{
    return o->encoding == ZSET_PACKED ? NULL : members_portraits(tree_of(o)->members);
}

static void portray(const struct object *o, struct portrait *p)
{
    portrait_of_members(p, tree_of(o)->members, RANKS_HEAD, portray_entry);
}

static struct object *draft_begin(struct slice key, int64_t expire_ms, uint64_t n)
{
    (void)n;
    return empty_at(key, expire_ms);
}

static bool draft_read(struct object *o, uint64_t n, struct slice *in, struct str scratch[2])
{
    struct slice member;
    double score;
    return rdb_read_string(in, &scratch[0], &member) && read_double(in, &score) &&
           add(o, member, score, n);
}

const struct object_ops zset_ops = {
    .free_value = free_value,
    .free_some = free_some,
    .memory = memory,
    .length = zset_count,
    .free_effort = free_effort,
    .copy_value = copy_value,
    .encoding_name = encoding_name,
    .digest = digest,
    .rdb_type = rdb_type,
    .rdb_write = rdb_write,
    .portraits = portraits,
    .portray = portray,
    .draft_begin = draft_begin,
    .draft_read = draft_read,
};
