// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/zset.h"

#include "node/types/limits.h"
#include "node/types/members.h"
#include "node/types/zset_priv.h"

#include "common/base/mem.h"

#include <math.h>

/* ---- listpacks: member, score, member, score... in their order ---- */

static inline struct listpack *packed_of(const struct object *o)
{
    return object_root(o);
}

double packed_score(const unsigned char *p)
{
    struct listpack_value v = listpack_get(p);
    double score;
    if (v.ptr == NULL) {
        return (double)v.number;
    }
    /* It was written by us, or looked at when it was read. */
    INVARIANT(num_parse_double(slice_of(v.ptr, v.len), &score));
    return score;
}

static inline const unsigned char *next_pair(const unsigned char *p)
{
    return listpack_next(listpack_next(p));
}

static inline size_t packed_count(const struct listpack *lp)
{
    return listpack_count(lp) / 2;
}

static const unsigned char *packed_find(const struct listpack *lp, struct slice member)
{
    return listpack_find(listpack_first(lp), member, 1);
}

/* What is a whole number is kept as one, also above 1e17, and none of them is a negative zero: as
 * Redis does. */
static struct slice score_text(double score, char to[40])
{
    const double most = (double)(INT64_MAX / 2);
    if (score >= -most && score <= most && score == (double)(int64_t)score) {
        return slice_of(to, num_print_i64(to, (int64_t)score));
    }
    return slice_of(to, num_print_double(to, score));
}

struct slice zset_score_text(const struct object *o, double score, char to[40])
{
    return o->encoding == ZSET_PACKED ? score_text(score, to)
                                      : slice_of(to, num_print_double(to, score));
}

static bool stands_before(const unsigned char *p, const struct ranks_place *at, double score)
{
    char digits[NUM_I64_MAX_LEN];
    if (!at->by_name && score != at->score) {
        return score < at->score;
    }
    return ranks_before(at, score, listpack_text(p, digits));
}

/* The pair is not there. */
static void packed_insert(struct object *o, struct slice member, double score)
{
    struct listpack *lp = packed_of(o);
    struct ranks_place at = {.score = score, .name = member};
    char text[40];
    struct slice digits = score_text(score, text);
    const unsigned char *p = listpack_first(lp);
    while (p != NULL && stands_before(p, &at, packed_score(listpack_next(p)))) {
        p = next_pair(p);
    }
    if (p == NULL) {
        listpack_append(&lp, member);
        listpack_append(&lp, digits);
    } else {
        p = listpack_insert_before(&lp, p, member);
        listpack_insert_after(&lp, p, digits);
    }
    object_set_root(o, lp);
}

static void packed_delete(struct object *o, const unsigned char *p, size_t pairs)
{
    struct listpack *lp = packed_of(o);
    listpack_delete(&lp, p, 2 * pairs);
    object_set_root(o, lp);
}

/* ---- trees with a table beside them: score, length, bytes are an entry ---- */

static inline struct zset_tree *tree_of(const struct object *o)
{
    return object_root(o);
}

static inline struct slice entry_name(const void *entry)
{
    return member_name(entry, RANKS_HEAD);
}

static size_t entry_size(size_t len)
{
    return object_size_class(RANKS_HEAD + member_name_size(len));
}

struct zset_tree *zset_tree_new(void)
{
    struct zset_tree *t = mem_alloc(object_size_class(sizeof(*t)));
    *t = (struct zset_tree){.members = members_new(RANKS_HEAD), .ranks = ranks_new()};
    return t;
}

void zset_tree_free(struct zset_tree **tp)
{
    struct zset_tree *t = *tp;
    uint64_t freed = 0;
    members_drain(t->members, UINT64_MAX, &freed);
    ranks_free(&t->ranks);
    members_free(&t->members);
    mem_free(t);
    *tp = NULL;
}

/* In the table, but in no order yet. */
static void *insert_unranked(struct zset_tree *t, uint64_t hash, struct slice member, double score)
{
    size_t size = entry_size(member.len);
    void *entry = mem_alloc(size);
    memcpy(entry, &score, sizeof(score));
    member_put_name(entry, RANKS_HEAD, member);
    members_add(t->members, hash, entry);
    t->memory += size;
    return entry;
}

static void tree_insert(struct zset_tree *t, uint64_t hash, struct slice member, double score)
{
    ranks_add(t->ranks, insert_unranked(t, hash, member, score));
}

bool zset_tree_add(struct zset_tree *t, struct slice member, double score)
{
    uint64_t hash = members_hash(t->members, member);
    if (members_find(t->members, hash, member) != NULL) {
        return false;
    }
    tree_insert(t, hash, member, score);
    return true;
}

static void *tree_find(const struct zset_tree *t, struct slice member)
{
    return members_find(t->members, members_hash(t->members, member), member);
}

void zset_become_tree(struct object *o)
{
    struct listpack *lp = packed_of(o);
    struct zset_tree *t = zset_tree_new();
    for (const unsigned char *p = listpack_first(lp); p != NULL; p = next_pair(p)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice member = listpack_text(p, digits);
        tree_insert(t, members_hash(t->members, member), member, packed_score(listpack_next(p)));
    }
    listpack_free(&lp);
    object_set_root(o, t);
    o->encoding = ZSET_TREE;
}

/* ---- asking ---- */

struct object *zset_new(struct slice key)
{
    return object_new_rooted(OBJECT_ZSET, ZSET_PACKED, key, OBJECT_NO_EXPIRE, listpack_new());
}

size_t zset_count(const struct object *o)
{
    return o->encoding == ZSET_PACKED ? packed_count(packed_of(o)) : ranks_count(tree_of(o)->ranks);
}

bool zset_score(const struct object *o, struct slice member, double *score)
{
    if (o->encoding == ZSET_PACKED) {
        const unsigned char *p = packed_find(packed_of(o), member);
        if (p != NULL) {
            *score = packed_score(listpack_next(p));
        }
        return p != NULL;
    }
    const void *entry = tree_find(tree_of(o), member);
    if (entry != NULL) {
        *score = ranks_score(entry);
    }
    return entry != NULL;
}

bool zset_rank(const struct object *o, struct slice member, uint64_t *rank)
{
    if (o->encoding == ZSET_PACKED) {
        *rank = 0;
        for (const unsigned char *p = listpack_first(packed_of(o)); p != NULL; p = next_pair(p)) {
            if (listpack_equal(p, member)) {
                return true;
            }
            ++*rank;
        }
        return false;
    }
    const struct zset_tree *t = tree_of(o);
    const void *entry = tree_find(t, member);
    if (entry != NULL) {
        struct ranks_place at = {.score = ranks_score(entry), .name = entry_name(entry)};
        *rank = ranks_below(t->ranks, &at);
    }
    return entry != NULL;
}

uint64_t zset_below(const struct object *o, const struct ranks_place *at)
{
    if (o->encoding == ZSET_TREE) {
        return ranks_below(tree_of(o)->ranks, at);
    }
    uint64_t n = 0;
    const unsigned char *p = listpack_first(packed_of(o));
    while (p != NULL && stands_before(p, at, at->by_name ? 0 : packed_score(listpack_next(p)))) {
        n++;
        p = next_pair(p);
    }
    return n;
}

/* ---- adding ---- */

/* What becomes of one that has score `was`; *score is what it shall have then. */
static enum zset_outcome decide(unsigned flags, double was, double *score)
{
    if ((flags & ZSET_NX) != 0) {
        return ZSET_LEFT;
    }
    if ((flags & ZSET_INCR) != 0) {
        *score += was;
        if (isnan(*score)) {
            return ZSET_NAN;
        }
    }
    if (((flags & ZSET_LT) != 0 && *score >= was) || ((flags & ZSET_GT) != 0 && *score <= was)) {
        return ZSET_LEFT;
    }
    return *score == was ? ZSET_SAME : ZSET_UPDATED;
}

static enum zset_outcome packed_add(struct object *o, struct slice member, unsigned flags,
                                    double *score)
{
    const struct listpack *lp = packed_of(o);
    const unsigned char *p = packed_find(lp, member);
    if (p != NULL) {
        enum zset_outcome outcome = decide(flags, packed_score(listpack_next(p)), score);
        if (outcome == ZSET_UPDATED) {
            packed_delete(o, p, 1);
            packed_insert(o, member, *score);
        }
        return outcome;
    }
    if ((flags & ZSET_XX) != 0) {
        return ZSET_LEFT;
    }
    if (packed_count(lp) + 1 > type_limits()->zset_entries ||
        member.len > type_limits()->zset_value || !listpack_has_room(lp, member.len)) {
        zset_become_tree(o);
        INVARIANT(zset_tree_add(tree_of(o), member, *score));
    } else {
        packed_insert(o, member, *score);
    }
    return ZSET_ADDED;
}

enum zset_outcome zset_add(struct object *o, struct slice member, unsigned flags, double *score)
{
    if (isnan(*score)) {
        return ZSET_NAN;
    }
    if (o->encoding == ZSET_PACKED) {
        return packed_add(o, member, flags, score);
    }
    struct zset_tree *t = tree_of(o);
    uint64_t hash = members_hash(t->members, member);
    void *entry = members_find(t->members, hash, member);
    if (entry != NULL) {
        enum zset_outcome outcome = decide(flags, ranks_score(entry), score);
        if (outcome == ZSET_UPDATED) {
            members_before(t->members, hash, entry);
            ranks_rescore(t->ranks, entry, *score);
        }
        return outcome;
    }
    if ((flags & ZSET_XX) != 0) {
        return ZSET_LEFT;
    }
    tree_insert(t, hash, member, *score);
    return ZSET_ADDED;
}

/* ---- removing ---- */

bool zset_remove(struct object *o, struct slice member)
{
    if (o->encoding == ZSET_PACKED) {
        const unsigned char *p = packed_find(packed_of(o), member);
        if (p != NULL) {
            packed_delete(o, p, 1);
        }
        return p != NULL;
    }
    struct zset_tree *t = tree_of(o);
    void *entry = members_take(t->members, members_hash(t->members, member), member);
    if (entry == NULL) {
        return false;
    }
    ranks_remove(t->ranks, entry);
    t->memory -= entry_size(member.len);
    mem_free(entry);
    return true;
}

static void forget(void *arg, void *entry)
{
    struct zset_tree *t = arg;
    struct slice name = entry_name(entry);
    members_take(t->members, members_hash(t->members, name), name);
    t->memory -= entry_size(name.len);
    mem_free(entry);
}

void zset_remove_range(struct object *o, uint64_t first, uint64_t n)
{
    if (n == 0) {
        return;
    }
    if (o->encoding == ZSET_PACKED) {
        packed_delete(o, listpack_at(packed_of(o), (int64_t)(2 * first)), n);
        return;
    }
    struct zset_tree *t = tree_of(o);
    ranks_remove_range(t->ranks, first, n, forget, t);
}

/* ---- walks ---- */

struct zset_walk zset_seek(const struct object *o, uint64_t rank, bool down)
{
    struct zset_walk w = {.o = o, .down = down};
    if (rank >= zset_count(o)) {
        return w;
    }
    if (o->encoding == ZSET_PACKED) {
        w.at = listpack_at(packed_of(o), (int64_t)(2 * rank));
    } else {
        w.ranks = ranks_seek(tree_of(o)->ranks, rank);
    }
    return w;
}

static inline void packed_element(const unsigned char *p, struct zset_element *out)
{
    out->member = listpack_get(p);
    out->score = packed_score(listpack_next(p));
}

static inline void tree_element(const void *entry, struct zset_element *out)
{
    struct slice name = entry_name(entry);
    *out = (struct zset_element){.member = {.ptr = name.ptr, .len = name.len},
                                 .score = ranks_score(entry)};
}

bool zset_next(struct zset_walk *w, struct zset_element *out)
{
    if (w->o->encoding == ZSET_PACKED) {
        const unsigned char *p = w->at;
        if (p == NULL) {
            return false;
        }
        packed_element(p, out);
        if (w->down) {
            p = listpack_prev(packed_of(w->o), p);
            w->at = p == NULL ? NULL : listpack_prev(packed_of(w->o), p);
        } else {
            w->at = next_pair(p);
        }
        return true;
    }
    const void *entry = w->down ? ranks_down(&w->ranks) : ranks_up(&w->ranks);
    if (entry != NULL) {
        tree_element(entry, out);
    }
    return entry != NULL;
}

struct zset_element zset_at(const struct object *o, uint64_t rank)
{
    struct zset_element e = {0};
    struct zset_walk w = zset_seek(o, rank, false);
    INVARIANT(zset_next(&w, &e));
    return e;
}

struct visiting {
    zset_visit_fn *visit;
    void *arg;
};

static void visit_entry(void *arg, void *entry)
{
    const struct visiting *v = arg;
    struct zset_element e;
    tree_element(entry, &e);
    v->visit(v->arg, &e);
}

uint64_t zset_scan(const struct object *o, uint64_t cursor, zset_visit_fn *visit, void *arg)
{
    if (o->encoding == ZSET_TREE) {
        struct visiting v = {.visit = visit, .arg = arg};
        return members_scan(tree_of(o)->members, cursor, visit_entry, &v);
    }
    struct zset_walk w = zset_seek(o, 0, false);
    struct zset_element e;
    while (zset_next(&w, &e)) {
        visit(arg, &e);
    }
    return 0;
}

/* ---- drafts ---- */

struct zset_draft {
    struct zset_tree *tree; /* its ranks are empty */
    size_t longest;
};

struct zset_draft *zset_draft_new(void)
{
    struct zset_draft *d = mem_alloc(sizeof(*d));
    *d = (struct zset_draft){.tree = zset_tree_new()};
    return d;
}

void zset_draft_free(struct zset_draft **dp)
{
    struct zset_draft *d = *dp;
    if (d != NULL) {
        zset_tree_free(&d->tree);
        mem_free(d);
        *dp = NULL;
    }
}

size_t zset_draft_count(const struct zset_draft *d)
{
    return members_count(d->tree->members);
}

double *zset_draft_find(struct zset_draft *d, struct slice member)
{
    return tree_find(d->tree, member);
}

void zset_draft_add(struct zset_draft *d, struct slice member, double score)
{
    insert_unranked(d->tree, members_hash(d->tree->members, member), member, score);
    d->longest = MAX(d->longest, member.len);
}

static void become_packed(struct object *o)
{
    struct listpack *lp = listpack_new();
    struct zset_tree *t = tree_of(o);
    struct zset_walk w = zset_seek(o, 0, false);
    struct zset_element e;
    while (zset_next(&w, &e)) {
        char text[40];
        listpack_append(&lp, slice_of(e.member.ptr, e.member.len));
        listpack_append(&lp, score_text(e.score, text));
    }
    zset_tree_free(&t);
    object_set_root(o, lp);
    o->encoding = ZSET_PACKED;
}

struct object *zset_draft_done(struct zset_draft **dp, struct slice key, bool kept)
{
    struct zset_draft *d = *dp;
    struct members_walk w = {0};
    for (void *e = members_next(d->tree->members, &w); e != NULL;
         e = members_next(d->tree->members, &w)) {
        ranks_add(d->tree->ranks, e);
    }
    struct object *o = object_new_rooted(OBJECT_ZSET, ZSET_TREE, key, OBJECT_NO_EXPIRE, d->tree);
    if (kept && zset_count(o) <= type_limits()->zset_entries &&
        d->longest <= type_limits()->zset_value) {
        become_packed(o);
    }
    mem_free(d);
    *dp = NULL;
    return o;
}
