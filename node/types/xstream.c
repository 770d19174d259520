// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/xstream.h"

#include "node/types/xstream_group.h"
#include "node/types/xstream_rdb.h"

#include "common/base/mem.h"

enum {
    DELETED = 1, /* flags of entries */
    SAME_FIELDS = 2,
    ENTRY_HEAD = 3,  /* elements of an entry beside fields, values and its count: flags and id */
    VALUES_FEW = 64, /* elements of an entry that are put together on the stack */
};
#define BLOCK_BYTES_MAX ((uint64_t)1 << 30)

/* ---- blocks ---- */

static inline int64_t number_at(const unsigned char *p)
{
    return listpack_get(p).number;
}

static inline const unsigned char *skip(const unsigned char *p, uint64_t n)
{
    while (n-- > 0) {
        p = listpack_next(p);
    }
    return p;
}

struct xstream_block xstream_block_of(const struct listpack *lp)
{
    struct xstream_block b;
    const unsigned char *p = listpack_first(lp);
    b.live = (uint64_t)number_at(p);
    p = listpack_next(p);
    b.deleted = (uint64_t)number_at(p);
    p = listpack_next(p);
    b.n_fields = (uint64_t)number_at(p);
    b.fields = listpack_next(p);
    b.entries = listpack_next(skip(b.fields, b.n_fields));
    return b;
}

static inline struct listpack *block_at(const struct id_at *at)
{
    struct listpack *lp;
    memcpy(&lp, at->value, sizeof(lp));
    return lp;
}

static void put_block(struct xstream *s, void *slot, struct listpack *lp, size_t was)
{
    s->memory += listpack_memory(lp) - was;
    memcpy(slot, &lp, sizeof(lp));
}

/* Before a block changes or goes; NULL: before one comes. */
static void before_block(const struct xstream *s, struct stream_id master,
                         const struct listpack *lp)
{
    if (UNLIKELY(s->portraits != NULL)) {
        xstream_rdb_before_block(s, master, lp);
    }
}

void xstream_add_block(struct xstream *s, struct stream_id master, struct listpack *lp,
                       uint64_t live)
{
    bool is_new;
    void *slot = id_tree_put(&s->blocks, master, &is_new, &s->memory);
    INVARIANT(is_new);
    put_block(s, slot, lp, 0);
    s->length += live;
}

/* Adds to the two counts at the beginning of a block. */
static void count_block(struct listpack **lp, int64_t live, int64_t deleted)
{
    const unsigned char *p = listpack_first(*lp);
    p = listpack_replace_int(lp, p, number_at(p) + live);
    if (deleted != 0) {
        p = listpack_next(p);
        listpack_replace_int(lp, p, number_at(p) + deleted);
    }
}

/* ---- appending ---- */

static bool same_fields(const struct xstream_block *b, const struct slice *fields, size_t n)
{
    if (b->n_fields != n) {
        return false;
    }
    const unsigned char *p = b->fields;
    for (size_t i = 0; i < n; i++, p = listpack_next(p)) {
        if (!listpack_equal(p, fields[2 * i])) {
            return false;
        }
    }
    return true;
}

static inline struct listpack_value number(uint64_t v)
{
    return (struct listpack_value){.number = (int64_t)v};
}

static inline struct listpack_value text(struct slice v)
{
    return (struct listpack_value){.ptr = v.ptr == NULL ? "" : v.ptr, .len = v.len};
}

static void append_entry(struct listpack **lp, struct stream_id id, struct stream_id master,
                         const struct slice *fields, size_t n, bool same)
{
    struct listpack_value few[VALUES_FEW];
    size_t count = ENTRY_HEAD + (same ? n : 2 * n + 1);
    struct listpack_value *v = count + 1 > VALUES_FEW ? mem_alloc((count + 1) * sizeof(*v)) : few;
    size_t at = 0;
    v[at++] = number(same ? SAME_FIELDS : 0);
    v[at++] = number(id.ms - master.ms);
    v[at++] = number(id.seq - master.seq);
    if (!same) {
        v[at++] = number(n);
    }
    for (size_t i = 0; i < n; i++) {
        if (!same) {
            v[at++] = text(fields[2 * i]);
        }
        v[at++] = text(fields[2 * i + 1]);
    }
    v[at++] = number(count);
    listpack_append_values(lp, v, at);
    if (v != few) {
        mem_free(v);
    }
}

static struct listpack *new_block(const struct slice *fields, size_t n)
{
    struct listpack_value few[VALUES_FEW];
    struct listpack_value *v = n + 4 > VALUES_FEW ? mem_alloc((n + 4) * sizeof(*v)) : few;
    size_t at = 0;
    v[at++] = number(1);
    v[at++] = number(0);
    v[at++] = number(n);
    for (size_t i = 0; i < n; i++) {
        v[at++] = text(fields[2 * i]);
    }
    v[at++] = number(0);
    struct listpack *lp = listpack_new();
    listpack_append_values(&lp, v, at);
    if (v != few) {
        mem_free(v);
    }
    return lp;
}

static bool is_full(const struct listpack *lp, const struct xstream_block *b, uint64_t more,
                    const struct xstream_limits *l)
{
    uint64_t max =
        l->node_max_bytes == 0 ? BLOCK_BYTES_MAX : MIN(l->node_max_bytes, BLOCK_BYTES_MAX);
    return listpack_bytes(lp) + more >= max ||
           (l->node_max_entries != 0 && b->live + b->deleted >= l->node_max_entries);
}

void xstream_append(struct xstream *s, struct stream_id id, const struct slice *fields, size_t n,
                    const struct xstream_limits *l)
{
    INVARIANT(stream_id_less(s->last_id, id));
    uint64_t bytes = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        bytes += fields[i].len;
    }
    struct id_at last;
    struct xstream_block b;
    id_tree_seek_back(&s->blocks, STREAM_ID_MAX, &last);
    struct listpack *lp = last.valid ? block_at(&last) : NULL;
    if (lp != NULL) {
        b = xstream_block_of(lp);
    }
    if (lp == NULL || is_full(lp, &b, bytes, l)) {
        lp = new_block(fields, n);
        append_entry(&lp, id, id, fields, n, true);
        before_block(s, id, NULL);
        xstream_add_block(s, id, lp, 1);
    } else {
        before_block(s, last.id, lp);
        size_t was = listpack_memory(lp);
        bool same = same_fields(&b, fields, n);
        count_block(&lp, 1, 0);
        append_entry(&lp, id, last.id, fields, n, same);
        put_block(s, last.value, lp, was);
        s->length++;
    }
    s->entries_added++;
    s->last_id = id;
    if (s->length == 1) {
        s->first_id = id;
    }
}

/* ---- walking ---- */

void xstream_iter_init(struct xstream_iter *it, const struct xstream *s, struct stream_id start,
                       struct stream_id end, bool back)
{
    it->s = s;
    it->start = start;
    it->end = end;
    it->back = back;
    it->lp = NULL;
    id_tree_seek_back(&s->blocks, back ? end : start, &it->block);
    if (!it->block.valid && !back) {
        id_tree_seek(&s->blocks, start, &it->block);
    }
    it->done = !it->block.valid || stream_id_less(end, start);
}

static void open_block(struct xstream_iter *it)
{
    it->lp = block_at(&it->block);
    it->master = it->block.id;
    struct xstream_block b = xstream_block_of(it->lp);
    it->master_n = b.n_fields;
    it->master_fields = b.fields;
    it->next = it->back ? listpack_last(it->lp) : b.entries;
    it->entry = NULL;
}

static void next_block(struct xstream_iter *it)
{
    it->lp = NULL;
    if (it->back) {
        id_at_prev(&it->block);
    } else {
        id_at_next(&it->block);
    }
    it->done = !it->block.valid;
}

/* Reads what stands before an entry's fields; *deleted. */
static void read_head(struct xstream_iter *it, const unsigned char *p, bool *deleted)
{
    it->entry = p;
    int64_t flags = number_at(p);
    p = listpack_next(p);
    it->id.ms = it->master.ms + (uint64_t)number_at(p);
    p = listpack_next(p);
    it->id.seq = it->master.seq + (uint64_t)number_at(p);
    p = listpack_next(p);
    *deleted = (flags & DELETED) != 0;
    it->same_fields = (flags & SAME_FIELDS) != 0;
    if (it->same_fields) {
        it->n_fields = it->master_n;
        it->left = it->n_fields;
        it->name = it->master_fields;
    } else {
        it->n_fields = (uint64_t)number_at(p);
        it->left = 2 * it->n_fields;
        p = listpack_next(p);
    }
    it->value = p;
}

/* The next entry of the block, deleted or not. False: none is left. */
static bool step_forward(struct xstream_iter *it, bool *deleted)
{
    if (it->entry != NULL) { /* behind the one at hand, and its count */
        it->next = listpack_next(skip(it->value, it->left));
    }
    if (it->next == NULL) {
        return false;
    }
    read_head(it, it->next, deleted);
    return true;
}

static bool step_back(struct xstream_iter *it, bool *deleted)
{
    int64_t count = number_at(it->next);
    if (count == 0) { /* what ends the master's fields */
        return false;
    }
    const unsigned char *p = it->next;
    while (count-- > 0) {
        p = listpack_prev(it->lp, p);
    }
    it->next = listpack_prev(it->lp, p);
    read_head(it, p, deleted);
    return true;
}

enum verdict { WANTED, UNWANTED };

/* One entry, or to the next block. */
static enum verdict step(struct xstream_iter *it)
{
    bool deleted;
    if (it->lp == NULL) {
        open_block(it);
    }
    if (!(it->back ? step_back(it, &deleted) : step_forward(it, &deleted))) {
        next_block(it);
        return UNWANTED;
    }
    bool before = stream_id_less(it->id, it->start);
    bool behind = stream_id_less(it->end, it->id);
    it->done = it->back ? before : behind;
    return deleted || before || behind ? UNWANTED : WANTED;
}

bool xstream_iter_next(struct xstream_iter *it)
{
    while (!it->done) {
        if (step(it) == WANTED) {
            return true;
        }
    }
    return false;
}

void xstream_iter_field(struct xstream_iter *it, struct listpack_value *name,
                        struct listpack_value *value)
{
    if (it->same_fields) {
        *name = listpack_get(it->name);
        it->name = listpack_next(it->name);
        it->left--;
    } else {
        *name = listpack_get(it->value);
        it->value = listpack_next(it->value);
        it->left -= 2;
    }
    *value = listpack_get(it->value);
    it->value = listpack_next(it->value);
}

/* Whether every entry of the block that comes next is in the range. */
static bool whole_block_fits(const struct xstream_iter *it)
{
    struct id_at after = it->block;
    id_at_next(&after);
    struct stream_id above = after.valid ? after.id : it->s->last_id;
    return !stream_id_less(it->block.id, it->start) && !stream_id_less(it->end, above);
}

uint64_t xstream_iter_count(const struct xstream_iter *from, uint64_t max)
{
    struct xstream_iter it = *from;
    uint64_t n = 0;
    while (n < max && !it.done) {
        if (it.lp == NULL && whole_block_fits(&it)) {
            n += xstream_block_of(block_at(&it.block)).live;
            next_block(&it);
        } else {
            n += step(&it) == WANTED;
        }
    }
    return MIN(n, max);
}

bool xstream_has(const struct xstream *s, struct stream_id id)
{
    struct xstream_iter it;
    if (stream_id_less(id, s->first_id) || stream_id_less(s->last_id, id)) {
        return false;
    }
    xstream_iter_init(&it, s, id, id, false);
    return xstream_iter_next(&it);
}

struct stream_id xstream_top(const struct xstream *s)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, true);
    return xstream_iter_next(&it) ? it.id : STREAM_ID_MIN;
}

void xstream_find_first(struct xstream *s)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    s->first_id = xstream_iter_next(&it) ? it.id : STREAM_ID_MIN;
}

/* ---- deleting ---- */

bool xstream_delete(struct xstream *s, struct stream_id id)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, id, id, false);
    if (!xstream_iter_next(&it)) {
        return false;
    }
    struct listpack *lp = block_at(&it.block);
    before_block(s, it.master, lp);
    size_t was = listpack_memory(lp);
    if (xstream_block_of(lp).live == 1) {
        s->memory -= was;
        listpack_free(&lp);
        bool removed = id_tree_remove(&s->blocks, it.master, &s->memory);
        INVARIANT(removed);
    } else {
        listpack_replace_int(&lp, it.entry, number_at(it.entry) | DELETED);
        count_block(&lp, -1, 1);
        put_block(s, it.block.value, lp, was);
    }
    s->length--;
    if (stream_id_less(s->max_deleted_id, id)) {
        s->max_deleted_id = id;
    }
    return true;
}

/* Whether a block can go as a whole. */
static bool goes_whole(const struct xstream *s, const struct xstream_trim *t,
                       const struct id_at *at, uint64_t live)
{
    if (t->by == XSTREAM_TRIM_LENGTH) {
        return s->length - live >= t->length;
    }
    /* Its last entry, deleted or not, is the highest in it. */
    const struct listpack *lp = block_at(at);
    const unsigned char *p = listpack_last(lp);
    for (int64_t count = number_at(p); count > 0; count--) {
        p = listpack_prev(lp, p);
    }
    p = listpack_next(p);
    struct stream_id last = {at->id.ms + (uint64_t)number_at(p), 0};
    last.seq = at->id.seq + (uint64_t)number_at(listpack_next(p));
    return stream_id_less(last, t->id);
}

/* Marks entries at the beginning of the first block. */
static uint64_t trim_within(struct xstream *s, const struct xstream_trim *t)
{
    struct id_at at;
    id_tree_seek(&s->blocks, STREAM_ID_MIN, &at);
    struct listpack *lp = block_at(&at);
    before_block(s, at.id, lp);
    size_t was = listpack_memory(lp);
    uint64_t gone = 0;
    struct xstream_iter it = {.s = s, .block = at};
    open_block(&it);
    bool deleted;
    while (step_forward(&it, &deleted)) {
        if (t->by == XSTREAM_TRIM_LENGTH ? s->length <= t->length : !stream_id_less(it.id, t->id)) {
            break;
        }
        if (!deleted) {
            /* Flags are numbers of one byte: nothing moves. */
            listpack_replace_int(&lp, it.entry, number_at(it.entry) | DELETED);
            s->length--;
            gone++;
        }
    }
    count_block(&lp, -(int64_t)gone, (int64_t)gone);
    put_block(s, at.value, lp, was);
    return gone;
}

uint64_t xstream_trim(struct xstream *s, const struct xstream_trim *t)
{
    uint64_t gone = 0;
    struct id_at at;
    while (id_tree_seek(&s->blocks, STREAM_ID_MIN, &at), at.valid) {
        if (t->by == XSTREAM_TRIM_LENGTH && s->length <= t->length) {
            break;
        }
        struct listpack *lp = block_at(&at);
        uint64_t live = xstream_block_of(lp).live;
        if (t->limit != 0 && gone + live > t->limit) {
            break;
        }
        if (!goes_whole(s, t, &at, live)) {
            gone += t->whole_blocks ? 0 : trim_within(s, t);
            break;
        }
        before_block(s, at.id, lp);
        s->memory -= listpack_memory(lp);
        listpack_free(&lp);
        bool removed = id_tree_remove(&s->blocks, at.id, &s->memory);
        INVARIANT(removed);
        s->length -= live;
        gone += live;
    }
    if (gone > 0) {
        xstream_find_first(s);
    }
    return gone;
}

void xstream_set_last_id(struct xstream *s, struct stream_id id)
{
    s->last_id = id;
}

void xstream_set_entries_added(struct xstream *s, uint64_t n)
{
    s->entries_added = n;
}

void xstream_set_max_deleted(struct xstream *s, struct stream_id id)
{
    s->max_deleted_id = id;
}

/* ---- counting from the beginning of time ---- */

bool xstream_has_gaps_after(const struct xstream *s, struct stream_id id)
{
    if (s->length == 0 || stream_id_is_zero(s->max_deleted_id) ||
        stream_id_less(s->max_deleted_id, s->first_id)) {
        return false;
    }
    return !stream_id_less(s->max_deleted_id, id);
}

int64_t xstream_count_until(const struct xstream *s, struct stream_id id)
{
    if (s->entries_added == 0) {
        return 0;
    }
    int to_last = stream_id_compare(id, s->last_id);
    if (to_last == 0 || (to_last < 0 && s->length == 0)) {
        return (int64_t)s->entries_added;
    }
    if (to_last > 0) {
        return XSTREAM_READ_UNKNOWN;
    }
    if (stream_id_is_zero(s->max_deleted_id) || stream_id_less(s->max_deleted_id, s->first_id)) {
        int to_first = stream_id_compare(id, s->first_id);
        if (to_first <= 0) {
            return (int64_t)(s->entries_added - s->length + (to_first == 0));
        }
    }
    return XSTREAM_READ_UNKNOWN;
}

/* ---- the whole ---- */

struct xstream *xstream_alloc(void)
{
    size_t size = object_size_class(sizeof(struct xstream));
    struct xstream *s = mem_alloc(size);
    *s = (struct xstream){.blocks = id_tree_empty(sizeof(struct listpack *)), .memory = size};
    return s;
}

void xstream_free(struct xstream **sp)
{
    struct xstream *s = *sp;
    INVARIANT(s->portraits == NULL);
    struct id_at at;
    for (id_tree_seek(&s->blocks, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        mem_free(block_at(&at));
    }
    id_tree_clear(&s->blocks, &s->memory);
    xstream_groups_free(s);
    mem_free(s);
    *sp = NULL;
}

struct object *xstream_new(struct slice key, int64_t expire_ms)
{
    return object_new_rooted(OBJECT_STREAM, 0, key, expire_ms, xstream_alloc());
}

static void free_value(struct object *o)
{
    struct xstream *s = xstream_of(o);
    xstream_free(&s);
}

/* Blocks; groups go with the rest. */
static bool free_some(struct object *o, uint64_t budget, uint64_t *freed)
{
    struct xstream *s = xstream_of(o);
    struct id_at at;
    for (; budget > 0 && s->blocks.count > 0; budget--, ++*freed) {
        id_tree_seek(&s->blocks, STREAM_ID_MIN, &at);
        mem_free(block_at(&at));
        bool removed = id_tree_remove(&s->blocks, at.id, &s->memory);
        INVARIANT(removed);
    }
    return s->blocks.count > 0;
}

static struct portrait **portraits(const struct object *o)
{
    return &xstream_of(o)->portraits;
}

static size_t memory(const struct object *o)
{
    return xstream_of(o)->memory;
}

static size_t length(const struct object *o)
{
    return xstream_of(o)->length;
}

static size_t free_effort(const struct object *o)
{
    const struct xstream *s = xstream_of(o);
    return s->blocks.count + xstream_groups_effort(s);
}

static void copy_value(const struct object *o, struct object *to)
{
    const struct xstream *from = xstream_of(o);
    struct xstream *s = xstream_alloc();
    struct id_at at;
    for (id_tree_seek(&from->blocks, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        const struct listpack *lp = block_at(&at);
        xstream_add_block(s, at.id, listpack_copy(lp), xstream_block_of(lp).live);
    }
    s->last_id = from->last_id;
    s->first_id = from->first_id;
    s->max_deleted_id = from->max_deleted_id;
    s->entries_added = from->entries_added;
    xstream_groups_copy(s, from);
    object_set_root(to, s);
}

static const char *encoding_name(const struct object *o)
{
    (void)o;
    return "stream";
}

static void mix_value(struct digest *d, const struct listpack_value *v)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice t = v->ptr != NULL ? slice_of(v->ptr, v->len)
                                    : slice_of(digits, num_print_i64(digits, v->number));
    digest_mix(d, &t.len, sizeof(t.len));
    digest_mix(d, t.ptr, t.len);
}

static void digest(const struct object *o, struct digest *d)
{
    const struct xstream *s = xstream_of(o);
    uint64_t head[] = {s->length,        s->last_id.ms,        s->last_id.seq,
                       s->entries_added, s->max_deleted_id.ms, s->max_deleted_id.seq};
    digest_mix(d, head, sizeof(head));
    struct xstream_iter it;
    xstream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (xstream_iter_next(&it)) {
        digest_mix(d, &it.id, sizeof(it.id));
        digest_mix(d, &it.n_fields, sizeof(it.n_fields));
        for (uint64_t i = it.n_fields; i > 0; i--) {
            struct listpack_value name;
            struct listpack_value value;
            xstream_iter_field(&it, &name, &value);
            mix_value(d, &name);
            mix_value(d, &value);
        }
    }
    xstream_groups_digest(s, d);
}

const struct object_ops xstream_ops = {
    .free_value = free_value,
    .free_some = free_some,
    .memory = memory,
    .length = length,
    .free_effort = free_effort,
    .copy_value = copy_value,
    .encoding_name = encoding_name,
    .digest = digest,
    .rdb_type = xstream_rdb_type,
    .rdb_write = xstream_rdb_write,
    .portraits = portraits,
    .portray = xstream_rdb_portray,
};
