// SPDX-License-Identifier: BSD-3-Clause
#include "node/script/library_set.h"

#include "node/script/script_priv.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdlib.h>

#define DELETED_MAX 1000 /* that are remembered */
#define HEAD_BYTES  12   /* the largest stamp, the number of records */
#define ITEM_BYTES  16   /* a record's stamp, length of its name, length of its code */
#define NO_CODE     UINT32_MAX

struct record {
    struct hmap_node node;
    struct list age; /* in the order of their last change here */
    uint64_t stamp;
    uint64_t sum; /* of its code; 0: deleted */
    size_t len;
    char name[];
};

struct library_set {
    uint64_t stamp; /* the largest seen */
    size_t n_deleted;
    struct hmap by_name;
    struct list age;
};

/* One of a set that is being put together. */
struct candidate {
    uint64_t stamp;
    uint64_t sum;
    struct slice name;
    struct slice code;
};

struct candidates {
    struct candidate *of;
    size_t n;
    size_t cap;
};

/* --- records --- */

struct library_set *library_set_new(void)
{
    struct library_set *set = mem_zalloc(sizeof(*set));
    list_init(&set->age);
    return set;
}

static void forget(struct library_set *set, struct record *r)
{
    set->n_deleted -= r->sum == 0;
    hmap_remove(&set->by_name, &r->node);
    list_remove(&r->age);
    mem_free(r);
}

void library_set_free(struct library_set **sp)
{
    struct library_set *set = *sp;
    *sp = NULL;
    if (set == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &set->age) {
        forget(set, container_of(it, struct record, age));
    }
    hmap_fini(&set->by_name);
    mem_free(set);
}

bool library_set_is_empty(const struct library_set *set)
{
    return set->by_name.count == 0;
}

static struct record *find(const struct library_set *set, struct slice name)
{
    uint64_t hash = hash_bytes(name.ptr, name.len, 0);
    for (struct hmap_node *n = hmap_first(&set->by_name, hash); n != NULL; n = hmap_same(n)) {
        struct record *r = container_of(n, struct record, node);
        if (slice_eq(slice_of(r->name, r->len), name)) {
            return r;
        }
    }
    return NULL;
}

static void put(struct library_set *set, struct slice name, uint64_t stamp, uint64_t sum)
{
    struct record *r = find(set, name);
    if (r == NULL) {
        r = mem_zalloc(sizeof(*r) + name.len + 1);
        r->len = name.len;
        r->sum = 1;
        memcpy(r->name, name.ptr, name.len);
        hmap_insert(&set->by_name, &r->node, hash_bytes(name.ptr, name.len, 0));
    } else {
        list_remove(&r->age);
    }
    set->n_deleted += (sum == 0) - (r->sum == 0);
    r->stamp = stamp;
    r->sum = sum;
    set->stamp = MAX(set->stamp, stamp);
    list_append(&set->age, &r->age);
}

static void forget_old(struct library_set *set)
{
    LIST_FOREACH_SAFE(it, &set->age) {
        struct record *r = container_of(it, struct record, age);
        if (set->n_deleted <= DELETED_MAX) {
            return;
        }
        if (r->sum == 0) {
            forget(set, r);
        }
    }
}

static uint64_t sum_of(struct slice code)
{
    uint64_t sum = crc64(0, code.ptr, code.len);
    return sum == 0 ? 1 : sum;
}

static void add(struct candidates *c, const struct candidate *one)
{
    if (c->n == c->cap) {
        c->cap = c->cap == 0 ? 16 : c->cap * 2;
        c->of = mem_realloc(c->of, c->cap * sizeof(*c->of));
    }
    c->of[c->n++] = *one;
}

static void add_library(void *arg, struct slice name, struct slice code)
{
    struct candidate one = {.sum = sum_of(code), .name = name, .code = code};
    add(arg, &one);
}

static const struct candidate *look(const struct candidates *c, struct slice name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (slice_eq(c->of[i].name, name)) {
            return &c->of[i];
        }
    }
    return NULL;
}

static uint64_t next_stamp(const struct library_set *set, int64_t now_ms)
{
    return MAX(set->stamp + 1, (uint64_t)MAX(now_ms, 0));
}

void library_set_note(struct library_set *set, const struct scripts *s, int64_t now_ms)
{
    struct candidates now = {0};
    uint64_t stamp = next_stamp(set, now_ms);
    scripts_each_library(s, add_library, &now);
    for (size_t i = 0; i < now.n; i++) {
        const struct record *r = find(set, now.of[i].name);
        if (r == NULL || r->sum != now.of[i].sum) {
            put(set, now.of[i].name, stamp, now.of[i].sum);
        }
    }
    LIST_FOREACH_SAFE(it, &set->age) {
        const struct record *r = container_of(it, struct record, age);
        if (r->sum != 0 && look(&now, slice_of(r->name, r->len)) == NULL) {
            put(set, slice_of(r->name, r->len), stamp, 0);
        }
    }
    forget_old(set);
    mem_free(now.of);
}

/* --- as bytes --- */

void library_set_write(const struct library_set *set, const struct scripts *s, struct str *to)
{
    struct candidates now = {0};
    scripts_each_library(s, add_library, &now);
    str_append_le64(to, set->stamp);
    str_append_le32(to, (uint32_t)set->by_name.count);
    LIST_FOREACH(it, &set->age) {
        const struct record *r = container_of(it, struct record, age);
        struct slice name = slice_of(r->name, r->len);
        const struct candidate *one = r->sum == 0 ? NULL : look(&now, name);
        INVARIANT(r->sum == 0 || one != NULL);
        str_append_le64(to, r->stamp);
        str_append_le32(to, (uint32_t)name.len);
        str_append_le32(to, one == NULL ? NO_CODE : (uint32_t)one->code.len);
        str_append_slice(to, name);
        if (one != NULL) {
            str_append_slice(to, one->code);
        }
    }
    mem_free(now.of);
}

static struct slice rest_of(struct slice in, size_t n)
{
    return slice_of(in.ptr + n, in.len - n);
}

static bool read_one(struct slice *in, struct candidate *one)
{
    if (in->len < ITEM_BYTES) {
        return false;
    }
    size_t name = get_le32(in->ptr + 8), code = get_le32(in->ptr + 12);
    bool deleted = code == NO_CODE;
    code = deleted ? 0 : code;
    if (name > in->len - ITEM_BYTES || code > in->len - ITEM_BYTES - name) {
        return false;
    }
    one->stamp = get_le64(in->ptr);
    one->name = slice_of(in->ptr + ITEM_BYTES, name);
    one->code = slice_of(in->ptr + ITEM_BYTES + name, code);
    one->sum = deleted ? 0 : sum_of(one->code);
    *in = rest_of(*in, ITEM_BYTES + name + code);
    return true;
}

static bool read_set(struct slice in, uint64_t *stamp, struct candidates *to)
{
    if (in.len < HEAD_BYTES) {
        return false;
    }
    *stamp = get_le64(in.ptr);
    uint32_t n = get_le32(in.ptr + 8);
    in = rest_of(in, HEAD_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        struct candidate one;
        if (!read_one(&in, &one)) {
            return false;
        }
        add(to, &one);
    }
    return in.len == 0;
}

/* --- two sets --- */

/* < 0: ours counts. */
static int compare(const struct candidate *theirs, const struct record *ours)
{
    if (ours == NULL || theirs->stamp != ours->stamp) {
        return ours == NULL || theirs->stamp > ours->stamp ? 1 : -1;
    }
    return theirs->sum == ours->sum ? 0 : theirs->sum > ours->sum ? 1 : -1;
}

static int newest_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->stamp != y->stamp) {
        return x->stamp > y->stamp ? -1 : 1;
    }
    return x->sum == y->sum ? 0 : x->sum > y->sum ? -1 : 1;
}

/* What there is to be: theirs where they are newer, else what is here. */
static void choose(const struct library_set *set, const struct scripts *s,
                   const struct candidates *theirs, struct candidates *to)
{
    struct candidates ours = {0};
    scripts_each_library(s, add_library, &ours);
    for (size_t i = 0; i < ours.n; i++) {
        const struct candidate *their = look(theirs, ours.of[i].name);
        const struct record *r = find(set, ours.of[i].name);
        if (their == NULL || compare(their, r) <= 0) {
            ours.of[i].stamp = r == NULL ? 0 : r->stamp;
            add(to, &ours.of[i]);
        }
    }
    for (size_t i = 0; i < theirs->n; i++) {
        if (theirs->of[i].sum != 0 && compare(&theirs->of[i], find(set, theirs->of[i].name)) > 0) {
            add(to, &theirs->of[i]);
        }
    }
    mem_free(ours.of);
    if (to->n > 0) {
        qsort(to->of, to->n, sizeof(*to->of), newest_first);
    }
}

static bool make(struct scripts *s, const struct candidates *c, struct str *why)
{
    struct slice *codes = mem_alloc((c->n + 1) * sizeof(*codes));
    for (size_t i = 0; i < c->n; i++) {
        codes[i] = c->of[i].code;
    }
    bool good = scripts_replace_all(s, codes, c->n, why);
    mem_free(codes);
    return good;
}

/* As many as get along with each other, the newest first; the others are deleted, everywhere. */
static void make_what_can_be(struct library_set *set, struct scripts *s,
                             const struct candidates *wanted, struct str *why)
{
    struct candidates kept = {0};
    scripts_clear_libraries(s);
    for (size_t i = 0; i < wanted->n; i++) {
        struct str not_this = {0};
        add(&kept, &wanted->of[i]);
        if (!make(s, &kept, &not_this)) {
            kept.n--;
            str_printf(why, "%.*s: %s; ", (int)wanted->of[i].name.len, wanted->of[i].name.ptr,
                       str_cstr(&not_this));
            put(set, wanted->of[i].name, set->stamp + 1, 0);
        }
        str_fini(&not_this);
    }
    mem_free(kept.of);
}

/* Bytes of codes that are in `s` do not outlive a change of it. */
static void own_codes(struct candidates *c, struct str *bytes)
{
    for (size_t i = 0; i < c->n; i++) {
        str_append_slice(bytes, c->of[i].name);
        str_append_slice(bytes, c->of[i].code);
    }
    const char *at = bytes->ptr;
    for (size_t i = 0; i < c->n; i++) {
        struct candidate *one = &c->of[i];
        one->name.ptr = at;
        one->code.ptr = at + one->name.len;
        at += one->name.len + one->code.len;
    }
}

static void take(struct library_set *set, struct scripts *s, const struct candidates *theirs,
                 struct str *why)
{
    struct candidates wanted = {0};
    struct str bytes = {0}, first = {0};
    bool changes = false;
    choose(set, s, theirs, &wanted);
    own_codes(&wanted, &bytes);
    for (size_t i = 0; i < theirs->n; i++) {
        const struct candidate *t = &theirs->of[i];
        const struct record *r = find(set, t->name);
        if (compare(t, r) > 0) {
            changes = changes || t->sum != (r == NULL ? 0 : r->sum);
            put(set, t->name, t->stamp, t->sum);
        }
    }
    if (changes && !make(s, &wanted, &first)) {
        make_what_can_be(set, s, &wanted, why);
    }
    str_fini(&bytes);
    str_fini(&first);
    mem_free(wanted.of);
}

unsigned library_set_merge(struct library_set *set, struct scripts *s, struct slice in,
                           struct str *why)
{
    struct candidates theirs = {0};
    uint64_t stamp;
    unsigned news = 0;
    size_t known = 0;
    if (!read_set(in, &stamp, &theirs)) {
        mem_free(theirs.of);
        return LIBRARY_SET_BAD;
    }
    for (size_t i = 0; i < theirs.n; i++) {
        const struct record *r = find(set, theirs.of[i].name);
        int c = compare(&theirs.of[i], r);
        known += r != NULL;
        news |= c > 0 ? LIBRARY_SET_TAKEN : c < 0 ? LIBRARY_SET_AHEAD : 0;
    }
    news |= known < set->by_name.count ? LIBRARY_SET_AHEAD : 0;
    if ((news & LIBRARY_SET_TAKEN) != 0) {
        take(set, s, &theirs, why);
        news |= why->len > 0 ? LIBRARY_SET_AHEAD : 0;
    }
    set->stamp = MAX(set->stamp, stamp);
    forget_old(set);
    mem_free(theirs.of);
    return news;
}
