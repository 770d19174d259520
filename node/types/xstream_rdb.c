// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/xstream_rdb.h"

#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"
#include "node/types/xstream_group.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { ID_SIZE = sizeof(struct stream_id), TIME_SIZE = sizeof(int64_t) };

/* ---- writing ---- */

static void write_id(struct str *to, struct stream_id id)
{
    rdb_write_len(to, id.ms);
    rdb_write_len(to, id.seq);
}

static void write_raw_id(struct str *to, struct stream_id id)
{
    stream_id_store(str_reserve(to, ID_SIZE), id);
    to->len += ID_SIZE;
}

static void write_time(struct str *to, int64_t ms)
{
    char bytes[TIME_SIZE];
    put_le64(bytes, (uint64_t)ms);
    str_append(to, bytes, sizeof(bytes));
}

static void write_block(struct str *to, struct stream_id master, const struct listpack *lp,
                        bool compress)
{
    char id[ID_SIZE];
    stream_id_store(id, master);
    rdb_write_string(to, slice_of(id, sizeof(id)), false);
    rdb_write_string(to, listpack_slice(lp), compress);
}

static void write_blocks(struct str *to, const struct xstream *s, bool compress)
{
    rdb_write_len(to, s->blocks.count);
    struct id_at at;
    for (id_tree_seek(&s->blocks, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        const struct listpack *lp;
        memcpy(&lp, at.value, sizeof(lp));
        write_block(to, at.id, lp, compress);
    }
}

static void write_group(struct str *to, const struct xstream_group *g, bool compress)
{
    rdb_write_string(to, g->name, compress);
    write_id(to, g->last_id);
    rdb_write_len(to, (uint64_t)g->entries_read);
    rdb_write_len(to, g->pending.count);
    struct id_at at;
    for (id_tree_seek(&g->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
        const struct xstream_pending *p = xstream_pending_at(&at);
        write_raw_id(to, at.id);
        write_time(to, p->delivered_ms);
        rdb_write_len(to, p->deliveries);
    }
    rdb_write_len(to, g->consumers.n);
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        const struct xstream_consumer *c = xstream_consumer_at(g, i);
        rdb_write_string(to, c->name, compress);
        write_time(to, c->seen_ms);
        rdb_write_len(to, c->pending.count);
        for (id_tree_seek(&c->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
            write_raw_id(to, at.id);
        }
    }
}

unsigned xstream_rdb_type(const struct object *o)
{
    (void)o;
    return RDB_TYPE_STREAM_2;
}

static void write_rest(struct str *to, const struct xstream *s, bool compress)
{
    rdb_write_len(to, s->length);
    write_id(to, s->last_id);
    write_id(to, s->first_id);
    write_id(to, s->max_deleted_id);
    rdb_write_len(to, s->entries_added);
    rdb_write_len(to, s->groups.n);
    for (uint32_t i = 0; i < s->groups.n; i++) {
        write_group(to, xstream_group_at(s, i), compress);
    }
}

void xstream_rdb_write(struct str *to, const struct object *o, bool compress)
{
    const struct xstream *s = xstream_of(o);
    write_blocks(to, s, compress);
    write_rest(to, s, compress);
}

/* ---- portraits ---- */

static inline uint64_t hash_of_id(struct stream_id id)
{
    return (id.ms ^ id.seq << 32) * UINT64_C(0x9E3779B97F4A7C15);
}

/* False: the blocks are all written. */
static bool step_blocks(struct portrait *p, const struct xstream *s, size_t budget, struct str *to)
{
    size_t before = to->len;
    struct id_at at;
    id_tree_seek(&s->blocks, p->stream.next, &at);
    for (; at.valid && to->len - before < budget; id_at_next(&at)) {
        char name[ID_SIZE];
        const struct listpack *lp;
        stream_id_store(name, at.id);
        if (!portrait_has_seen(p, hash_of_id(at.id), slice_of(name, sizeof(name)))) {
            memcpy(&lp, at.value, sizeof(lp));
            write_block(to, at.id, lp, p->compress);
        }
        p->stream.next = at.id;
        if (!stream_id_increment(&p->stream.next)) {
            return false;
        }
    }
    return at.valid;
}

static bool step_stream(struct portrait *p, size_t budget, struct str *to)
{
    if (!p->stream.blocks_done) {
        const struct xstream *s = container_of(p->slot, struct xstream, portraits);
        size_t before = to->len;
        p->stream.blocks_done = !step_blocks(p, s, budget, to);
        budget -= MIN(budget, to->len - before);
    }
    if (p->stream.blocks_done) {
        size_t n = MIN(budget, p->stream.tail.len - p->stream.at);
        str_append(to, p->stream.tail.ptr + p->stream.at, n);
        p->stream.at += n;
    }
    return !p->stream.blocks_done || p->stream.at < p->stream.tail.len;
}

static void fini_stream(struct portrait *p)
{
    str_fini(&p->stream.tail);
}

void xstream_rdb_portray(const struct object *o, struct portrait *p)
{
    static const struct portrait_kind kind = {.step = step_stream, .fini = fini_stream};
    const struct xstream *s = xstream_of(o);
    p->kind = &kind;
    rdb_write_len(&p->head, s->blocks.count);
    write_rest(&p->stream.tail, s, p->compress);
}

void xstream_rdb_before_block(const struct xstream *s, struct stream_id master,
                              const struct listpack *lp)
{
    char name[ID_SIZE];
    stream_id_store(name, master);
    for (struct portrait *p = s->portraits; p != NULL; p = p->next) {
        if (!p->stream.blocks_done && !stream_id_less(master, p->stream.next) &&
            portrait_sees(p, hash_of_id(master), slice_of(name, sizeof(name))) && lp != NULL) {
            write_block(&p->early, master, lp, p->compress);
        }
    }
}

/* ---- reading: a block ---- */

/* Takes a number from a list of `left` elements. */
static bool take_number(const unsigned char **p, size_t *left, uint64_t *out)
{
    if (*left == 0) {
        return false;
    }
    struct listpack_value v = listpack_get(*p);
    *out = (uint64_t)v.number;
    *p = listpack_next(*p);
    --*left;
    return v.ptr == NULL;
}

static bool skip_some(const unsigned char **p, size_t *left, uint64_t n)
{
    if (n > *left) {
        return false;
    }
    *left -= n;
    for (; n > 0; n--) {
        *p = listpack_next(*p);
    }
    return true;
}

/* What has been seen of the entries so far: ids must rise. */
struct seen {
    struct stream_id last;
    bool any;
    uint64_t live;
    uint64_t deleted;
};

/* One entry of a block whose master is given. */
static bool check_entry(const unsigned char **p, size_t *left, struct stream_id master,
                        uint64_t master_n, struct seen *seen)
{
    enum { IS_DELETED = 1, IS_SAME = 2, FLAGS_MAX = 3, HEAD = 3 };
    uint64_t flags;
    uint64_t ms;
    uint64_t seq;
    uint64_t n = master_n;
    uint64_t count;
    /* Flags change in their place: they must be kept in one byte. */
    if (*left == 0 || **p > FLAGS_MAX || !take_number(p, left, &flags) ||
        !take_number(p, left, &ms) || !take_number(p, left, &seq)) {
        return false;
    }
    bool same = (flags & IS_SAME) != 0;
    if ((!same && !take_number(p, left, &n)) || n > *left) {
        return false;
    }
    uint64_t elements = same ? n : 2 * n;
    if (!skip_some(p, left, elements) || !take_number(p, left, &count) ||
        count != HEAD + elements + !same) {
        return false;
    }
    struct stream_id id = {master.ms + ms, master.seq + seq};
    if (stream_id_less(id, master) || (seen->any && !stream_id_less(seen->last, id))) {
        return false;
    }
    seen->any = true;
    seen->last = id;
    seen->live += (flags & IS_DELETED) == 0;
    seen->deleted += (flags & IS_DELETED) != 0;
    return true;
}

/* *last: of the blocks before it; becomes this one's. `live`: its entries. */
static bool check_block(const struct listpack *lp, size_t left, struct stream_id master,
                        struct seen *all)
{
    uint64_t live;
    uint64_t deleted;
    uint64_t n;
    uint64_t end;
    const unsigned char *p = listpack_first(lp);
    if (p == NULL || !take_number(&p, &left, &live) || !take_number(&p, &left, &deleted) ||
        !take_number(&p, &left, &n) || !skip_some(&p, &left, n) || !take_number(&p, &left, &end) ||
        end != 0) {
        return false;
    }
    struct seen seen = {.last = all->last, .any = all->any};
    while (left > 0) {
        if (!check_entry(&p, &left, master, n, &seen)) {
            return false;
        }
    }
    all->any = true;
    all->last = seen.last;
    all->live = seen.live;
    return live == seen.live && deleted == seen.deleted && live > 0;
}

/* *all: what was seen of it. */
static bool read_block(struct slice *in, struct xstream *s, struct seen *all,
                       struct stream_id *master, struct str *scratch)
{
    struct slice v;
    size_t elements;
    if (!rdb_read_string(in, scratch, &v) || v.len != ID_SIZE) {
        return false;
    }
    *master = stream_id_load(v.ptr);
    if (!rdb_read_string(in, scratch, &v) || !listpack_valid(v, &elements)) {
        return false;
    }
    struct listpack *lp = listpack_from(v);
    if (!check_block(lp, elements, *master, all) || id_tree_find(&s->blocks, *master) != NULL) {
        listpack_free(&lp);
        return false;
    }
    xstream_add_block(s, *master, lp, all->live);
    return true;
}

/* What stands in each block, from its master to its last entry. */
struct span {
    struct stream_id first;
    struct stream_id last;
};

struct spans {
    struct span *of;
    size_t n;
    size_t cap;
};

/* One more block, in whatever order. */
static bool read_spanned(struct slice *in, struct xstream *s, struct spans *spans,
                         struct str *scratch)
{
    struct seen one = {0};
    if (spans->n == spans->cap) {
        spans->cap = MAX(spans->cap * 2, (size_t)16);
        spans->of = mem_realloc(spans->of, spans->cap * sizeof(spans->of[0]));
    }
    if (!read_block(in, s, &one, &spans->of[spans->n].first, scratch)) {
        return false;
    }
    spans->of[spans->n++].last = one.last;
    return true;
}

static int compare_spans(const void *a, const void *b)
{
    return stream_id_compare(((const struct span *)a)->first, ((const struct span *)b)->first);
}

/* None reaches into the next one. */
static bool check_spans(struct spans *spans, struct xstream *s)
{
    if (spans->n > 0) {
        qsort(spans->of, spans->n, sizeof(spans->of[0]), compare_spans);
    }
    for (size_t i = 1; i < spans->n; i++) {
        if (!stream_id_less(spans->of[i - 1].last, spans->of[i].first)) {
            return false;
        }
    }
    s->last_id = spans->n == 0 ? STREAM_ID_MIN : spans->of[spans->n - 1].last; /* at least */
    return true;
}

static bool read_blocks(struct slice *in, struct xstream *s, struct str *scratch)
{
    uint64_t blocks;
    struct spans spans = {0};
    bool good = rdb_read_len(in, &blocks, NULL);
    for (; good && blocks > 0; blocks--) {
        good = read_spanned(in, s, &spans, scratch);
    }
    good = good && check_spans(&spans, s);
    mem_free(spans.of);
    return good;
}

/* ---- reading: the rest ---- */

static bool read_id(struct slice *in, struct stream_id *id)
{
    return rdb_read_len(in, &id->ms, NULL) && rdb_read_len(in, &id->seq, NULL);
}

static bool read_bytes(struct slice *in, size_t n, const char **out)
{
    if (in->len < n) {
        return false;
    }
    *out = in->ptr;
    *in = slice_of(in->ptr + n, in->len - n);
    return true;
}

static bool read_time(struct slice *in, int64_t *ms)
{
    const char *bytes;
    if (!read_bytes(in, TIME_SIZE, &bytes)) {
        return false;
    }
    *ms = (int64_t)get_le64(bytes);
    return true;
}

/* The group's pending entries: whose they are stands behind. */
static bool read_pending(struct slice *in, struct xstream *s, struct xstream_group *g)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return false;
    }
    for (; n > 0; n--) {
        const char *id;
        int64_t delivered;
        uint64_t deliveries;
        bool is_new;
        if (!read_bytes(in, ID_SIZE, &id) || !read_time(in, &delivered) ||
            !rdb_read_len(in, &deliveries, NULL)) {
            return false;
        }
        struct xstream_pending *p =
            id_tree_put(&g->pending, stream_id_load(id), &is_new, &s->memory);
        if (!is_new) {
            return false;
        }
        p->delivered_ms = delivered;
        p->deliveries = deliveries;
    }
    return true;
}

/* What of the group's is this consumer's. */
static bool read_owned(struct slice *in, struct xstream *s, struct xstream_group *g,
                       struct xstream_consumer *c, uint64_t *owned)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return false;
    }
    for (; n > 0; n--) {
        const char *bytes;
        if (!read_bytes(in, ID_SIZE, &bytes)) {
            return false;
        }
        struct stream_id id = stream_id_load(bytes);
        struct xstream_pending *p = xstream_pending_find(g, id);
        if (p == NULL || p->consumer != NULL) {
            return false;
        }
        bool is_new;
        id_tree_put(&c->pending, id, &is_new, &s->memory);
        p->consumer = c;
        ++*owned;
    }
    return true;
}

static bool read_consumers(struct slice *in, struct xstream *s, struct xstream_group *g,
                           struct str *scratch)
{
    uint64_t n;
    uint64_t owned = 0;
    if (!rdb_read_len(in, &n, NULL)) {
        return false;
    }
    for (; n > 0; n--) {
        struct slice name;
        int64_t seen;
        if (!rdb_read_string(in, scratch, &name)) {
            return false;
        }
        struct xstream_consumer *c = xstream_consumer_add(s, g, name, 0);
        if (c == NULL || !read_time(in, &seen) || !read_owned(in, s, g, c, &owned)) {
            return false;
        }
        c->seen_ms = seen;
    }
    return owned == g->pending.count;
}

static bool read_group(struct slice *in, struct xstream *s, bool of_2, struct str *scratch)
{
    struct slice name;
    if (!rdb_read_string(in, scratch, &name)) {
        return false;
    }
    struct xstream_group *g = xstream_group_add(s, name, STREAM_ID_MIN, XSTREAM_READ_UNKNOWN);
    uint64_t read = 0;
    if (g == NULL || !read_id(in, &g->last_id) || (of_2 && !rdb_read_len(in, &read, NULL))) {
        return false;
    }
    g->entries_read = of_2 ? (int64_t)read : xstream_count_until(s, g->last_id);
    return read_pending(in, s, g) && read_consumers(in, s, g, scratch);
}

/* What stands between the blocks and the groups. */
static bool read_numbers(struct slice *in, struct xstream *s, bool of_2)
{
    uint64_t length;
    struct stream_id top = s->last_id;
    struct stream_id first;
    if (!rdb_read_len(in, &length, NULL) || length != s->length || !read_id(in, &s->last_id) ||
        stream_id_less(s->last_id, top)) {
        return false;
    }
    xstream_find_first(s);
    s->entries_added = s->length;
    /* The first id is known from the entries. */
    return !of_2 || (read_id(in, &first) && read_id(in, &s->max_deleted_id) &&
                     rdb_read_len(in, &s->entries_added, NULL));
}

static bool read_rest(struct slice *in, struct xstream *s, bool of_2, struct str *scratch)
{
    uint64_t groups;
    if (!read_numbers(in, s, of_2) || !rdb_read_len(in, &groups, NULL)) {
        return false;
    }
    for (; groups > 0; groups--) {
        if (!read_group(in, s, of_2, scratch)) {
            return false;
        }
    }
    return true;
}

static struct object *read_stream(struct slice *in, struct slice key, int64_t expire_ms, bool of_2,
                                  struct str *scratch)
{
    struct object *o = xstream_new(key, expire_ms);
    if (!read_blocks(in, xstream_of(o), scratch) || !read_rest(in, xstream_of(o), of_2, scratch)) {
        /* Pending entries that are nobody's are freed with their group. */
        object_free(&o);
    }
    return o;
}

struct object *xstream_rdb_read(struct slice *in, struct slice key, int64_t expire_ms,
                                struct str *scratch)
{
    return read_stream(in, key, expire_ms, false, scratch);
}

struct object *xstream_rdb_read_2(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch)
{
    return read_stream(in, key, expire_ms, true, scratch);
}

/* ---- drafts ---- */

struct xstream_draft {
    uint64_t blocks; /* that are to come */
    struct spans spans;
    struct str tail;
    struct str scratch;
};

struct xstream_draft *xstream_draft_new(uint64_t blocks)
{
    struct xstream_draft *d = mem_zalloc(sizeof(*d));
    d->blocks = blocks;
    return d;
}

void xstream_draft_free(struct xstream_draft **dp)
{
    struct xstream_draft *d = *dp;
    if (d != NULL) {
        mem_free(d->spans.of);
        str_fini(&d->tail);
        str_fini(&d->scratch);
        mem_free(d);
        *dp = NULL;
    }
}

bool xstream_draft_add(struct xstream_draft *d, struct xstream *s, struct slice part)
{
    for (; d->blocks > 0 && part.len > 0; d->blocks--) {
        if (!read_spanned(&part, s, &d->spans, &d->scratch)) {
            return false;
        }
    }
    str_append_slice(&d->tail, part);
    return true;
}

bool xstream_draft_done(struct xstream_draft *d, struct xstream *s)
{
    struct slice in = str_slice(&d->tail);
    return d->blocks == 0 && check_spans(&d->spans, s) && read_rest(&in, s, true, &d->scratch) &&
           in.len == 0;
}
