// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/hash.h"

#include "node/types/limits.h"
#include "node/types/members.h"
#include "node/types/object_ops.h"
#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"
#include "node/types/ziplist.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

enum encoding { PACKED, TABLE };

/* What the root of a TABLE points to. */
struct hash_table {
    struct members *members;
    size_t memory; /* of the entries */
};

static inline struct listpack *packed_of(const struct object *o)
{
    return object_root(o);
}

static inline struct hash_table *table_of(const struct object *o)
{
    return object_root(o);
}

static inline struct slice text_of(const struct listpack_value *v, char digits[NUM_I64_MAX_LEN])
{
    return v->ptr != NULL ? slice_of(v->ptr, v->len)
                          : slice_of(digits, num_print_i64(digits, v->number));
}

/* ---- entries of a table: two names, one behind the other ---- */

static inline size_t entry_size(size_t field_len, size_t value_len)
{
    return object_size_class(member_name_size(field_len) + member_name_size(value_len));
}

static inline struct slice entry_value(const void *entry)
{
    struct slice field = member_name(entry, 0);
    return member_name(field.ptr + field.len, 0);
}

static inline size_t entry_memory(const void *entry)
{
    return entry_size(member_name(entry, 0).len, entry_value(entry).len);
}

static void *entry_new(struct slice field, struct slice value)
{
    void *entry = mem_alloc(entry_size(field.len, value.len));
    member_put_name(member_put_name(entry, 0, field), 0, value);
    return entry;
}

static inline void pair_of_entry(const void *entry, struct hash_pair *out)
{
    struct slice field = member_name(entry, 0);
    struct slice value = member_name(field.ptr + field.len, 0);
    *out = (struct hash_pair){.field = {.ptr = field.ptr, .len = field.len},
                              .value = {.ptr = value.ptr, .len = value.len},
                              .place = entry};
}

static void table_insert(struct hash_table *t, uint64_t hash, struct slice field,
                         struct slice value)
{
    members_add(t->members, hash, entry_new(field, value));
    t->memory += entry_size(field.len, value.len);
}

static bool table_set(struct hash_table *t, struct slice field, struct slice value)
{
    uint64_t hash = members_hash(t->members, field);
    void *entry = members_find(t->members, hash, field);
    if (entry == NULL) {
        table_insert(t, hash, field, value);
        return true;
    }
    size_t was = entry_memory(entry);
    size_t is = entry_size(field.len, value.len);
    if (was == is) {
        members_before(t->members, hash, entry);
        struct slice name = member_name(entry, 0);
        size_t head = (size_t)(name.ptr + name.len - (const char *)entry);
        member_put_name((char *)entry + head, 0, value);
        return false;
    }
    members_replace(t->members, hash, entry, entry_new(field, value));
    mem_free(entry);
    t->memory += is - was;
    return false;
}

static struct hash_table *table_new(void)
{
    struct hash_table *t = mem_alloc(sizeof(*t));
    *t = (struct hash_table){.members = members_new(0)};
    return t;
}

/* ---- packed or table ---- */

static inline bool fits_packed(size_t field_len, size_t value_len)
{
    size_t most = type_limits()->hash_value;
    return field_len <= most && value_len <= most;
}

/* False: a field is there twice; what was not put into the table is lost. */
static bool become_table(struct object *o)
{
    struct listpack *lp = packed_of(o);
    struct hash_table *t = table_new();
    bool good = true;
    for (const unsigned char *p = listpack_first(lp); p != NULL; p = listpack_next(p)) {
        char digits[2][NUM_I64_MAX_LEN];
        struct slice field = listpack_text(p, digits[0]);
        p = listpack_next(p);
        good = table_set(t, field, listpack_text(p, digits[1])) && good;
    }
    listpack_free(&lp);
    object_set_root(o, t);
    o->encoding = TABLE;
    return good;
}

struct object *hash_new(struct slice key, int64_t expire_ms)
{
    return object_new_rooted(OBJECT_HASH, PACKED, key, expire_ms, listpack_new());
}

bool hash_is_table(const struct object *o)
{
    return o->encoding == TABLE;
}

size_t hash_length(const struct object *o)
{
    return o->encoding == PACKED ? listpack_count(packed_of(o)) / 2
                                 : members_count(table_of(o)->members);
}

bool hash_get(const struct object *o, struct slice field, struct listpack_value *value)
{
    if (o->encoding == PACKED) {
        const unsigned char *p = listpack_find(listpack_first(packed_of(o)), field, 1);
        if (p != NULL) {
            *value = listpack_get(listpack_next(p));
        }
        return p != NULL;
    }
    const struct hash_table *t = table_of(o);
    const void *entry = members_find(t->members, members_hash(t->members, field), field);
    if (entry == NULL) {
        return false;
    }
    struct slice v = entry_value(entry);
    *value = (struct listpack_value){.ptr = v.ptr, .len = v.len};
    return true;
}

/* With both in a listpack. */
static bool packed_set(struct object *o, struct slice field, struct slice value)
{
    struct listpack *lp = packed_of(o);
    const unsigned char *p = listpack_find(listpack_first(lp), field, 1);
    bool is_new = p == NULL;
    if (is_new) {
        struct slice pair[2] = {field, value};
        listpack_append_all(&lp, pair, 2);
    } else {
        listpack_replace(&lp, listpack_next(p), value);
    }
    object_set_root(o, lp);
    if (is_new && UNLIKELY(listpack_count(lp) / 2 > type_limits()->hash_entries)) {
        INVARIANT(become_table(o));
    }
    return is_new;
}

bool hash_set(struct object *o, struct slice field, struct slice value)
{
    if (o->encoding == PACKED) {
        if (LIKELY(fits_packed(field.len, value.len) &&
                   listpack_has_room(packed_of(o), field.len + value.len + 32))) {
            return packed_set(o, field, value);
        }
        INVARIANT(become_table(o));
    }
    return table_set(table_of(o), field, value);
}

bool hash_delete(struct object *o, struct slice field)
{
    if (o->encoding == PACKED) {
        struct listpack *lp = packed_of(o);
        const unsigned char *p = listpack_find(listpack_first(lp), field, 1);
        if (p != NULL) {
            listpack_delete(&lp, p, 2);
            object_set_root(o, lp);
        }
        return p != NULL;
    }
    struct hash_table *t = table_of(o);
    void *entry = members_take(t->members, members_hash(t->members, field), field);
    if (entry == NULL) {
        return false;
    }
    t->memory -= entry_memory(entry);
    mem_free(entry);
    return true;
}

/* ---- walks ---- */

static inline void pair_of_packed(const unsigned char *p, struct hash_pair *out)
{
    *out = (struct hash_pair){
        .field = listpack_get(p), .value = listpack_get(listpack_next(p)), .place = p};
}

struct hash_pair hash_at(const struct object *o, const void *place)
{
    struct hash_pair pair;
    if (o->encoding == PACKED) {
        pair_of_packed(place, &pair);
    } else {
        pair_of_entry(place, &pair);
    }
    return pair;
}

bool hash_next(const struct object *o, struct hash_walk *w, struct hash_pair *out)
{
    if (o->encoding == TABLE) {
        struct members_walk m = {.segment = w->segment, .slot = w->slot};
        const void *entry = members_next(table_of(o)->members, &m);
        w->segment = m.segment;
        w->slot = m.slot;
        if (entry != NULL) {
            pair_of_entry(entry, out);
        }
        return entry != NULL;
    }
    w->p = w->begun ? listpack_next(listpack_next(w->p)) : listpack_first(packed_of(o));
    w->begun = true;
    if (w->p != NULL) {
        pair_of_packed(w->p, out);
    }
    return w->p != NULL;
}

struct hash_pair hash_random(const struct object *o, struct rng *rng)
{
    if (o->encoding == TABLE) {
        return hash_at(o, members_random(table_of(o)->members, rng));
    }
    const struct listpack *lp = packed_of(o);
    return hash_at(o, listpack_at(lp, 2 * (int64_t)rng_below(rng, hash_length(o))));
}

struct scanning {
    hash_visit_fn *visit;
    void *arg;
};

static void visit_entry(void *arg, void *entry)
{
    const struct scanning *s = arg;
    struct hash_pair pair;
    pair_of_entry(entry, &pair);
    s->visit(s->arg, &pair);
}

uint64_t hash_scan(const struct object *o, uint64_t cursor, hash_visit_fn *visit, void *arg)
{
    if (o->encoding == TABLE) {
        struct scanning s = {.visit = visit, .arg = arg};
        return members_scan(table_of(o)->members, cursor, visit_entry, &s);
    }
    struct hash_walk w = {0};
    struct hash_pair pair;
    while (hash_next(o, &w, &pair)) {
        visit(arg, &pair);
    }
    return 0;
}

/* ---- what object.c asks ---- */

static void free_value(struct object *o)
{
    if (o->encoding == PACKED) {
        mem_free(packed_of(o));
        return;
    }
    struct hash_table *t = table_of(o);
    uint64_t freed = 0;
    members_drain(t->members, UINT64_MAX, &freed);
    members_free(&t->members);
    mem_free(t);
}

static bool free_some(struct object *o, uint64_t budget, uint64_t *freed)
{
    return o->encoding != PACKED && members_drain(table_of(o)->members, budget, freed);
}

static size_t memory(const struct object *o)
{
    if (o->encoding == PACKED) {
        return listpack_memory(packed_of(o));
    }
    const struct hash_table *t = table_of(o);
    return sizeof(*t) + members_memory(t->members) + t->memory;
}

static size_t free_effort(const struct object *o)
{
    return o->encoding == PACKED ? 1 : members_count(table_of(o)->members);
}

static void copy_value(const struct object *o, struct object *to)
{
    if (o->encoding == PACKED) {
        object_set_root(to, listpack_copy(packed_of(o)));
        return;
    }
    const struct hash_table *t = table_of(o);
    struct hash_table *c = table_new();
    struct members_walk w = {0};
    for (const void *e = members_next(t->members, &w); e != NULL;
         e = members_next(t->members, &w)) {
        struct slice field = member_name(e, 0);
        table_insert(c, members_hash(c->members, field), field, entry_value(e));
    }
    object_set_root(to, c);
}

static const char *encoding_name(const struct object *o)
{
    return o->encoding == PACKED ? "listpack" : "hashtable";
}

/* The sum over the pairs does not depend on their order. */
static void digest(const struct object *o, struct digest *d)
{
    struct digest all = {0};
    struct hash_walk w = {0};
    struct hash_pair pair;
    while (hash_next(o, &w, &pair)) {
        struct digest one = {0};
        char digits[NUM_I64_MAX_LEN];
        struct slice text = text_of(&pair.field, digits);
        digest_mix(&one, text.ptr, text.len);
        text = text_of(&pair.value, digits);
        digest_mix(&one, text.ptr, text.len);
        digest_xor(&all, &one);
    }
    digest_mix(d, all.bytes, sizeof(all.bytes));
}

/* ---- in files ---- */

static unsigned rdb_type(const struct object *o)
{
    return o->encoding == PACKED ? RDB_TYPE_HASH_LISTPACK : RDB_TYPE_HASH;
}

static void rdb_write(struct str *to, const struct object *o, bool compress)
{
    if (o->encoding == PACKED) {
        rdb_write_string(to, listpack_slice(packed_of(o)), compress);
        return;
    }
    const struct members *m = table_of(o)->members;
    struct members_walk w = {0};
    rdb_write_len(to, members_count(m));
    for (const void *e = members_next(m, &w); e != NULL; e = members_next(m, &w)) {
        rdb_write_string(to, member_name(e, 0), compress);
        rdb_write_string(to, entry_value(e), compress);
    }
}

static void portray_entry(struct str *to, const void *entry, bool compress)
{
    rdb_write_string(to, member_name(entry, 0), compress);
    rdb_write_string(to, entry_value(entry), compress);
}

static struct portrait **portraits(const struct object *o)
{
    return o->encoding == PACKED ? NULL : members_portraits(table_of(o)->members);
}

static void portray(const struct object *o, struct portrait *p)
{
    portrait_of_members(p, table_of(o)->members, 0, portray_entry);
}

static struct object *read_done(struct object *o, bool good)
{
    if (!good || hash_length(o) == 0) {
        object_free(&o);
    }
    return o;
}

/* A large one of strings is a table from the start: searching a listpack for each would be slow. */
static struct object *draft_begin(struct slice key, int64_t expire_ms, uint64_t n)
{
    struct object *o = hash_new(key, expire_ms);
    if (n > type_limits()->hash_entries) {
        INVARIANT(become_table(o));
    }
    return o;
}

static bool draft_read(struct object *o, uint64_t n, struct slice *in, struct str scratch[2])
{
    struct slice field;
    struct slice value;
    (void)n;
    return rdb_read_string(in, &scratch[0], &field) && rdb_read_string(in, &scratch[1], &value) &&
           hash_set(o, field, value);
}

struct object *hash_read_strings(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return NULL;
    }
    struct object *o = draft_begin(key, expire_ms, n);
    bool good = true;
    struct str both[2] = {*scratch, {0}};
    for (; good && n > 0; n--) {
        good = draft_read(o, n, in, both);
    }
    *scratch = both[0];
    str_fini(&both[1]);
    return read_done(o, good);
}

struct object *hash_read_zipmap(struct slice *in, struct slice key, int64_t expire_ms,
                                struct str *scratch)
{
    struct slice bytes;
    size_t pairs;
    if (!rdb_read_string(in, scratch, &bytes) || !zipmap_valid(bytes, &pairs)) {
        return NULL;
    }
    struct object *o = hash_new(key, expire_ms);
    struct zipmap_walk w = zipmap_walk(bytes);
    struct slice field;
    struct slice value;
    bool good = true;
    while (good && zipmap_next(&w, &field, &value)) {
        good = hash_set(o, field, value);
    }
    return read_done(o, good);
}

struct object *hash_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                 struct str *scratch)
{
    struct slice bytes;
    size_t count;
    if (!rdb_read_string(in, scratch, &bytes) || !ziplist_valid(bytes, &count) || count % 2 != 0) {
        return NULL;
    }
    struct object *o = hash_new(key, expire_ms);
    struct ziplist_walk w = ziplist_walk(bytes);
    struct listpack_value field;
    struct listpack_value value;
    bool good = true;
    while (good && ziplist_next(&w, &field) && ziplist_next(&w, &value)) {
        char digits[2][NUM_I64_MAX_LEN];
        good = hash_set(o, text_of(&field, digits[0]), text_of(&value, digits[1]));
    }
    return read_done(o, good);
}

/* What a listpack of strangers may hide from its form: a field twice, or one that is too long. */
struct fields_seen {
    bool twice;
    bool too_long;
};

static void look_at_fields(const struct listpack *lp, size_t n, struct fields_seen *out)
{
    size_t places = 16;
    while (places < 2 * n) {
        places *= 2;
    }
    /* Offsets of fields at the places that their hashes say, 0: none. */
    uint32_t *seen = mem_zalloc(places * sizeof(*seen));
    *out = (struct fields_seen){0};
    for (const unsigned char *p = listpack_first(lp); p != NULL && !out->twice;) {
        char digits[NUM_I64_MAX_LEN];
        const unsigned char *v = listpack_next(p);
        struct slice field = listpack_text(p, digits);
        out->too_long |= !fits_packed(field.len, listpack_get(v).len);
        size_t at = hash_bytes(field.ptr, field.len, 0) & (places - 1);
        while (seen[at] != 0 && !out->twice) {
            out->twice = listpack_equal((const unsigned char *)lp + seen[at], field);
            at = (at + 1) & (places - 1);
        }
        if (!out->twice) {
            seen[at] = (uint32_t)(p - (const unsigned char *)lp);
        }
        p = listpack_next(v);
    }
    mem_free(seen);
}

struct object *hash_read_listpack(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch)
{
    struct slice bytes;
    size_t count;
    if (!rdb_read_string(in, scratch, &bytes) || !listpack_valid(bytes, &count) || count % 2 != 0 ||
        count == 0) {
        return NULL;
    }
    struct listpack *lp = listpack_from(bytes);
    struct object *o = object_new_rooted(OBJECT_HASH, PACKED, key, expire_ms, lp);
    bool good;
    if (count / 2 > type_limits()->hash_entries) {
        good = become_table(o);
    } else {
        struct fields_seen seen;
        look_at_fields(lp, count / 2, &seen);
        good = !seen.twice && (!seen.too_long || become_table(o));
    }
    return read_done(o, good);
}

const struct object_ops hash_ops = {
    .free_value = free_value,
    .free_some = free_some,
    .memory = memory,
    .length = hash_length,
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
