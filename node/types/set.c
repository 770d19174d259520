// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/set.h"

#include "node/types/intset.h"
#include "node/types/limits.h"
#include "node/types/members.h"
#include "node/types/object_ops.h"
#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"

enum encoding { INTS, TABLE };
enum { INTS_MAX = 1 << 30 }; /* whatever the setting says */

/* What the root of a TABLE points to. */
struct set_table {
    struct members *members;
    size_t memory; /* of the entries */
};

static inline struct intset *ints_of(const struct object *o)
{
    return object_root(o);
}

static inline struct set_table *table_of(const struct object *o)
{
    return object_root(o);
}

/* ---- entries: the length and the bytes, nothing else ---- */

static size_t entry_size(size_t len)
{
    return object_size_class(member_name_size(len));
}

static void table_insert(struct set_table *t, uint64_t hash, struct slice member)
{
    size_t size = entry_size(member.len);
    void *entry = mem_alloc(size);
    member_put_name(entry, 0, member);
    members_add(t->members, hash, entry);
    t->memory += size;
}

static bool table_add(struct set_table *t, struct slice member)
{
    uint64_t hash = members_hash(t->members, member);
    if (members_find(t->members, hash, member) != NULL) {
        return false;
    }
    table_insert(t, hash, member);
    return true;
}

static bool table_has(const struct set_table *t, struct slice member)
{
    return members_find(t->members, members_hash(t->members, member), member) != NULL;
}

static bool table_remove(struct set_table *t, struct slice member)
{
    void *entry = members_take(t->members, members_hash(t->members, member), member);
    if (entry == NULL) {
        return false;
    }
    t->memory -= entry_size(member.len);
    mem_free(entry);
    return true;
}

static struct set_table *table_new(void)
{
    struct set_table *t = mem_alloc(sizeof(*t));
    *t = (struct set_table){.members = members_new(0)};
    return t;
}

static void table_free(struct set_table **tp)
{
    struct set_table *t = *tp;
    uint64_t freed = 0;
    members_drain(t->members, UINT64_MAX, &freed);
    members_free(&t->members);
    mem_free(t);
    *tp = NULL;
}

/* ---- integers or table ---- */

static void become_table(struct object *o)
{
    struct intset *ints = ints_of(o);
    struct set_table *t = table_new();
    for (size_t i = 0; i < intset_count(ints); i++) {
        char digits[NUM_I64_MAX_LEN];
        struct slice member = slice_of(digits, num_print_i64(digits, intset_at(ints, i)));
        table_insert(t, members_hash(t->members, member), member);
    }
    intset_free(&ints);
    object_set_root(o, t);
    o->encoding = TABLE;
}

static bool add_number(struct object *o, int64_t v)
{
    struct intset *ints = ints_of(o);
    bool is_new = intset_add(&ints, v);
    object_set_root(o, ints);
    if (is_new && UNLIKELY(intset_count(ints) > MIN(type_limits()->set_intset, (size_t)INTS_MAX))) {
        become_table(o);
    }
    return is_new;
}

struct object *set_new(struct slice key)
{
    return object_new_rooted(OBJECT_SET, INTS, key, OBJECT_NO_EXPIRE, intset_new());
}

bool set_is_integers(const struct object *o)
{
    return o->encoding == INTS;
}

size_t set_count(const struct object *o)
{
    return o->encoding == INTS ? intset_count(ints_of(o)) : members_count(table_of(o)->members);
}

bool set_has(const struct object *o, struct slice member)
{
    int64_t number;
    if (o->encoding == TABLE) {
        return table_has(table_of(o), member);
    }
    return num_parse_i64(member, &number) && intset_has(ints_of(o), number);
}

bool set_has_element(const struct object *o, const struct set_element *e)
{
    if (o->encoding == INTS && e->ptr == NULL) {
        return intset_has(ints_of(o), e->number);
    }
    char digits[NUM_I64_MAX_LEN];
    return set_has(o, set_element_text(e, digits));
}

bool set_add(struct object *o, struct slice member)
{
    if (o->encoding == INTS) {
        int64_t number;
        if (num_parse_i64(member, &number)) {
            return add_number(o, number);
        }
        become_table(o);
    }
    return table_add(table_of(o), member);
}

bool set_add_element(struct object *o, const struct set_element *e)
{
    if (o->encoding == INTS && e->ptr == NULL) {
        return add_number(o, e->number);
    }
    char digits[NUM_I64_MAX_LEN];
    return set_add(o, set_element_text(e, digits));
}

bool set_remove(struct object *o, struct slice member)
{
    if (o->encoding == TABLE) {
        return table_remove(table_of(o), member);
    }
    int64_t number;
    if (!num_parse_i64(member, &number)) {
        return false;
    }
    struct intset *ints = ints_of(o);
    bool was_there = intset_remove(&ints, number);
    object_set_root(o, ints);
    return was_there;
}

/* ---- walks ---- */

static inline void element_of(const void *entry, struct set_element *out)
{
    struct slice name = member_name(entry, 0);
    *out = (struct set_element){.ptr = name.ptr, .len = name.len};
}

bool set_next(const struct object *o, struct set_walk *w, struct set_element *out)
{
    if (o->encoding == INTS) {
        const struct intset *ints = ints_of(o);
        if (w->segment >= intset_count(ints)) {
            return false;
        }
        *out = (struct set_element){.number = intset_at(ints, w->segment++)};
        return true;
    }
    struct members_walk at = {.segment = w->segment, .slot = w->slot};
    const void *entry = members_next(table_of(o)->members, &at);
    *w = (struct set_walk){.segment = at.segment, .slot = at.slot};
    if (entry != NULL) {
        element_of(entry, out);
    }
    return entry != NULL;
}

struct set_element set_random(const struct object *o, struct rng *rng)
{
    struct set_element e = {0};
    if (o->encoding == INTS) {
        const struct intset *ints = ints_of(o);
        e.number = intset_at(ints, rng_below(rng, intset_count(ints)));
    } else {
        element_of(members_random(table_of(o)->members, rng), &e);
    }
    return e;
}

struct visiting {
    set_visit_fn *visit;
    void *arg;
};

static void visit_entry(void *arg, void *entry)
{
    const struct visiting *v = arg;
    struct set_element e;
    element_of(entry, &e);
    v->visit(v->arg, &e);
}

uint64_t set_scan(const struct object *o, uint64_t cursor, set_visit_fn *visit, void *arg)
{
    if (o->encoding == TABLE) {
        struct visiting v = {.visit = visit, .arg = arg};
        return members_scan(table_of(o)->members, cursor, visit_entry, &v);
    }
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(o, &w, &e)) {
        visit(arg, &e);
    }
    return 0;
}

/* ---- for object.c ---- */

static void free_value(struct object *o)
{
    if (o->encoding == INTS) {
        struct intset *ints = ints_of(o);
        intset_free(&ints);
    } else {
        struct set_table *t = table_of(o);
        table_free(&t);
    }
}

static bool free_some(struct object *o, uint64_t budget, uint64_t *freed)
{
    return o->encoding == TABLE && members_drain(table_of(o)->members, budget, freed);
}

static size_t memory(const struct object *o)
{
    if (o->encoding == INTS) {
        return intset_memory(ints_of(o));
    }
    const struct set_table *t = table_of(o);
    return sizeof(*t) + members_memory(t->members) + t->memory;
}

static size_t free_effort(const struct object *o)
{
    return o->encoding == INTS ? 1 : members_count(table_of(o)->members);
}

static void copy_value(const struct object *o, struct object *to)
{
    if (o->encoding == INTS) {
        object_set_root(to, intset_copy(ints_of(o)));
        return;
    }
    const struct set_table *from = table_of(o);
    struct set_table *t = table_new();
    struct members_walk w = {0};
    for (void *e = members_next(from->members, &w); e != NULL;
         e = members_next(from->members, &w)) {
        struct slice member = member_name(e, 0);
        table_insert(t, members_hash(t->members, member), member);
    }
    object_set_root(to, t);
}

static const char *encoding_name(const struct object *o)
{
    return o->encoding == INTS ? "intset" : "hashtable";
}

static void digest(const struct object *o, struct digest *d)
{
    struct digest all = {0};
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(o, &w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        struct digest one = {0};
        struct slice text = set_element_text(&e, digits);
        digest_mix(&one, text.ptr, text.len);
        digest_xor(&all, &one);
    }
    digest_mix(d, all.bytes, sizeof(all.bytes));
}

/* ---- files ---- */

static unsigned rdb_type(const struct object *o)
{
    return o->encoding == INTS ? RDB_TYPE_SET_INTSET : RDB_TYPE_SET;
}

static void rdb_write(struct str *to, const struct object *o, bool compress)
{
    if (o->encoding == INTS) {
        rdb_write_string(to, intset_bytes(ints_of(o)), compress);
        return;
    }
    struct set_walk w = {0};
    struct set_element e;
    rdb_write_len(to, set_count(o));
    while (set_next(o, &w, &e)) {
        rdb_write_string(to, slice_of(e.ptr, e.len), compress);
    }
}

struct object *set_read_intset(struct slice *in, struct slice key, int64_t expire_ms,
                               struct str *scratch)
{
    struct slice bytes;
    if (!rdb_read_string(in, scratch, &bytes)) {
        return NULL;
    }
    struct intset *ints = intset_read(bytes);
    if (ints == NULL) {
        return NULL;
    }
    struct object *o = object_new_rooted(OBJECT_SET, INTS, key, expire_ms, ints);
    if (intset_count(ints) > type_limits()->set_intset) {
        become_table(o);
    }
    return o;
}

static void portray_entry(struct str *to, const void *entry, bool compress)
{
    rdb_write_string(to, member_name(entry, 0), compress);
}

static struct portrait **portraits(const struct object *o)
{
    return o->encoding == INTS ? NULL : members_portraits(table_of(o)->members);
}

static void portray(const struct object *o, struct portrait *p)
{
    portrait_of_members(p, table_of(o)->members, 0, portray_entry);
}

static struct object *draft_begin(struct slice key, int64_t expire_ms, uint64_t n)
{
    (void)n;
    return object_new_rooted(OBJECT_SET, INTS, key, expire_ms, intset_new());
}

static bool draft_read(struct object *o, uint64_t n, struct slice *in, struct str scratch[2])
{
    struct slice member;
    (void)n;
    return rdb_read_string(in, &scratch[0], &member) && set_add(o, member);
}

struct object *set_read(struct slice *in, struct slice key, int64_t expire_ms, struct str *scratch)
{
    uint64_t count;
    if (!rdb_read_len(in, &count, NULL) || count == 0) {
        return NULL;
    }
    struct object *o = object_new_rooted(OBJECT_SET, INTS, key, expire_ms, intset_new());
    for (uint64_t i = 0; i < count; i++) {
        struct slice member;
        if (!rdb_read_string(in, scratch, &member) || !set_add(o, member)) {
            object_free(&o);
            return NULL;
        }
    }
    return o;
}

const struct object_ops set_ops = {
    .free_value = free_value,
    .free_some = free_some,
    .memory = memory,
    .length = set_count,
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
