// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/quicklist.h"

#include "node/types/limits.h"
#include "node/types/object_ops.h"
#include "node/types/portrait_priv.h"
#include "node/types/rdb.h"
#include "node/types/ziplist.h"

#include "common/base/mem.h"

#include <liblzf/lzf.h>

enum {
    KIND_PACKED,     /* a listpack */
    KIND_PLAIN,      /* struct plain: one element */
    KIND_COMPRESSED, /* struct compressed: a listpack that was */

    COUNTED_MAX = 8192,  /* bytes of a node whose elements are what is limited */
    OVERHEAD = 8,        /* of an element, guessed as Redis does */
    COMPRESS_MIN = 48,   /* smaller nodes stay as they are */
    COMPRESS_GAIN = 8,   /* and those that would hardly be smaller */
    CONTAINER_PLAIN = 1, /* of nodes in files */
    CONTAINER_PACKED = 2,
    COUNT_MASK = 0x3fffffff, /* a listpack of so many is too long */
};

struct node {
    void *ptr;
    uint64_t kind : 2;
    uint64_t shared : 1; /* a portrait may need it as it is, if the list has any */
    uint64_t count : 30;
    uint64_t bytes : 31; /* of the listpack, compressed or not */
};

struct plain {
    uint64_t len;
    char bytes[];
};

struct compressed {
    uint32_t len;
    char bytes[];
};

struct quicklist {
    uint64_t count;
    size_t memory; /* of the nodes' allocations */
    struct node *nodes;
    uint32_t first;
    uint32_t n;
    uint32_t cap;
    int16_t size_limit; /* list-max-listpack-size when it was made */
    uint16_t depth;     /* list-compress-depth */
    struct portrait *portraits;
};

static inline struct quicklist *quicklist_of(const struct object *o)
{
    return object_root(o);
}

/* ---- nodes ---- */

static inline struct node *node_at(const struct quicklist *l, size_t i)
{
    return &l->nodes[(l->first + i) & (l->cap - 1)];
}

static inline struct listpack *packed(const struct node *n)
{
    return n->ptr;
}

static size_t node_memory(const struct node *n)
{
    switch (n->kind) {
    case KIND_PACKED:
        return object_size_class(n->bytes);
    case KIND_PLAIN:
        return object_size_class(sizeof(struct plain) + ((const struct plain *)n->ptr)->len);
    default:
        return object_size_class(sizeof(struct compressed) +
                                 ((const struct compressed *)n->ptr)->len);
    }
}

static inline bool is_long(size_t len)
{
    return len >= type_limits()->list_plain;
}

/* Whether an element of `len` bytes may join. */
static bool node_takes(const struct quicklist *l, const struct node *n, size_t len)
{
    if (n->kind == KIND_PLAIN || is_long(len)) {
        return false;
    }
    size_t bytes = n->bytes + len + OVERHEAD;
    if (l->size_limit < 0) {
        return bytes <= (size_t)4096 << (MIN(-l->size_limit, 5) - 1);
    }
    return bytes <= COUNTED_MAX && n->count < (uint64_t)MAX(l->size_limit, 1);
}

/* Of what a node holds. */
static inline void let_go(struct quicklist *l, struct node *n)
{
    if (UNLIKELY(n->shared && l->portraits != NULL)) {
        portraits_keep(l->portraits, n->ptr);
    } else {
        mem_free(n->ptr);
    }
    n->shared = 0;
}

static inline void free_node(struct quicklist *l, struct node *n)
{
    l->memory -= node_memory(n);
    let_go(l, n);
}

/* Before a listpack is changed. */
static inline void own_node(struct quicklist *l, struct node *n)
{
    if (UNLIKELY(n->shared)) {
        if (l->portraits != NULL) {
            void *copy = mem_memdup(n->ptr, node_memory(n));
            let_go(l, n);
            n->ptr = copy;
        }
        n->shared = 0;
    }
}

/* ---- the ring ---- */

static size_t ring_memory(const struct quicklist *l)
{
    return l->cap == 0 ? 0 : object_size_class(l->cap * sizeof(struct node));
}

static void ring_resize(struct quicklist *l, uint32_t cap)
{
    struct node *nodes = mem_alloc(object_size_class(cap * sizeof(*nodes)));
    for (uint32_t i = 0; i < l->n; i++) {
        nodes[i] = *node_at(l, i);
    }
    mem_free(l->nodes);
    l->nodes = nodes;
    l->first = 0;
    l->cap = cap;
}

/* A place at i, whatever stood there or behind it moves. */
static struct node *add_node(struct quicklist *l, size_t i)
{
    if (l->n == l->cap) {
        INVARIANT(l->cap < (uint32_t)1 << 31);
        ring_resize(l, MAX(l->cap * 2, 1U));
    }
    l->n++;
    if (i < l->n / 2) {
        l->first = (l->first - 1) & (l->cap - 1);
        for (size_t k = 0; k < i; k++) {
            *node_at(l, k) = *node_at(l, k + 1);
        }
    } else {
        for (size_t k = l->n - 1; k > i; k--) {
            *node_at(l, k) = *node_at(l, k - 1);
        }
    }
    return node_at(l, i);
}

/* What they hold is freed or gone already. */
static void remove_nodes(struct quicklist *l, size_t i, size_t n)
{
    if (n == 0) {
        return;
    }
    if (i < l->n - i - n) {
        for (size_t k = i; k-- > 0;) {
            *node_at(l, k + n) = *node_at(l, k);
        }
        l->first = (l->first + (uint32_t)n) & (l->cap - 1);
    } else {
        for (size_t k = i; k + n < l->n; k++) {
            *node_at(l, k) = *node_at(l, k + n);
        }
    }
    l->n -= (uint32_t)n;
    if (l->n < l->cap / 4) {
        ring_resize(l, l->cap / 2);
    }
}

/* ---- compressing ---- */

static struct listpack *decompress(const struct node *n)
{
    const struct compressed *c = n->ptr;
    struct listpack *lp = mem_alloc(object_size_class(n->bytes));
    unsigned len = lzf_decompress(c->bytes, c->len, lp, (unsigned)n->bytes);
    INVARIANT(len == n->bytes);
    return lp;
}

static void open_node(struct quicklist *l, struct node *n)
{
    if (UNLIKELY(n->kind == KIND_COMPRESSED)) {
        l->memory -= node_memory(n);
        struct listpack *lp = decompress(n);
        let_go(l, n);
        n->ptr = lp;
        n->kind = KIND_PACKED;
        l->memory += node_memory(n);
    }
    own_node(l, n);
}

static void close_node(struct quicklist *l, struct node *n)
{
    if (n->kind != KIND_PACKED || n->bytes < COMPRESS_MIN) {
        return;
    }
    unsigned room = (unsigned)n->bytes - COMPRESS_GAIN;
    struct compressed *c = mem_alloc(sizeof(*c) + room);
    unsigned len = lzf_compress(n->ptr, (unsigned)n->bytes, c->bytes, room);
    if (len == 0) {
        mem_free(c);
        return;
    }
    c->len = len;
    c = mem_realloc(c, object_size_class(sizeof(*c) + len));
    l->memory -= node_memory(n);
    let_go(l, n);
    n->ptr = c;
    n->kind = KIND_COMPRESSED;
    l->memory += node_memory(n);
}

/* Behind every change: the ends are open, and what became or was opened in the middle is closed:
 * the nodes from i - 1 to i + 2. */
static __attribute__((noinline)) void close_middle(struct quicklist *l, size_t i)
{
    size_t n = l->n;
    size_t depth = l->depth;
    for (size_t k = 0; k < MIN(depth, n); k++) {
        open_node(l, node_at(l, k));
        open_node(l, node_at(l, n - 1 - k));
    }
    if (n <= 2 * depth) {
        return;
    }
    close_node(l, node_at(l, depth));
    close_node(l, node_at(l, n - 1 - depth));
    for (size_t k = i > 0 ? i - 1 : 0; k < MIN(i + 3, n); k++) {
        if (k >= depth && k < n - depth) {
            close_node(l, node_at(l, k));
        }
    }
}

static inline void settle(struct quicklist *l, size_t i)
{
    if (UNLIKELY(l->depth > 0)) {
        close_middle(l, i);
    }
}

/* ---- changing what is in a node ---- */

/* Around a change of a packed node's listpack: accounts for it. */
static inline void node_changed(struct quicklist *l, struct node *n, int64_t added)
{
    size_t was = object_size_class(n->bytes);
    n->bytes = listpack_bytes(packed(n)) & 0x7fffffffU;
    l->memory += object_size_class(n->bytes) - was;
    n->count = (uint64_t)((int64_t)n->count + added) & COUNT_MASK;
    l->count = (uint64_t)((int64_t)l->count + added);
}

/* A node at i with v in it. */
static void add_node_with(struct quicklist *l, size_t i, struct slice v)
{
    struct node n = {.count = 1};
    if (is_long(v.len)) {
        struct plain *p = mem_alloc(object_size_class(sizeof(*p) + v.len));
        p->len = v.len;
        if (v.len > 0) {
            memcpy(p->bytes, v.ptr, v.len);
        }
        n.ptr = p;
        n.kind = KIND_PLAIN;
    } else {
        struct listpack *lp = listpack_new();
        listpack_append(&lp, v);
        n.ptr = lp;
        n.bytes = listpack_bytes(lp) & 0x7fffffffU;
    }
    l->count++;
    l->memory += node_memory(&n);
    *add_node(l, i) = n;
}

/* A whole listpack as the last node; takes it. */
static void add_packed(struct quicklist *l, struct listpack *lp, size_t count)
{
    struct node n = {
        .ptr = lp, .count = count & COUNT_MASK, .bytes = listpack_bytes(lp) & 0x7fffffffU};
    l->count += count;
    l->memory += node_memory(&n);
    *add_node(l, l->n) = n;
}

/* The elements of node i from `at` on become a node of their own behind it. */
static void split_node(struct quicklist *l, size_t i, size_t at)
{
    struct node *n = node_at(l, i);
    struct listpack *right = listpack_copy(packed(n));
    size_t moved = n->count - at;
    listpack_delete_range(&right, 0, at);
    struct listpack *left = packed(n);
    listpack_delete_range(&left, (int64_t)at, moved);
    n->ptr = left;
    node_changed(l, n, -(int64_t)moved);
    l->count += moved;
    struct node behind = {
        .ptr = right, .count = moved & COUNT_MASK, .bytes = listpack_bytes(right) & 0x7fffffffU};
    l->memory += node_memory(&behind);
    *add_node(l, i + 1) = behind;
}

/* The node of an element, which becomes `*index` of it. */
static size_t find_node(const struct quicklist *l, size_t *index)
{
    if (*index < l->count / 2) {
        size_t i = 0;
        for (; *index >= node_at(l, i)->count; i++) {
            *index -= node_at(l, i)->count;
        }
        return i;
    }
    size_t behind = l->count - *index; /* elements from it on */
    size_t i = l->n - 1;
    for (; behind > node_at(l, i)->count; i--) {
        behind -= node_at(l, i)->count;
    }
    *index = node_at(l, i)->count - behind;
    return i;
}

/* ---- the whole ---- */

struct object *quicklist_new(struct slice key, int64_t expire_ms)
{
    struct quicklist *l = mem_zalloc(object_size_class(sizeof(*l)));
    l->size_limit = (int16_t)MAX(MIN(type_limits()->list_size, INT16_MAX), -5);
    l->depth = (uint16_t)MIN(type_limits()->list_depth, UINT16_MAX);
    return object_new_rooted(OBJECT_LIST, 0, key, expire_ms, l);
}

size_t quicklist_length(const struct object *o)
{
    return quicklist_of(o)->count;
}

size_t quicklist_nodes(const struct object *o)
{
    return quicklist_of(o)->n;
}

void quicklist_push(struct object *o, enum quicklist_end end, struct slice v)
{
    struct quicklist *l = quicklist_of(o);
    size_t i = end == QUICKLIST_LEFT || l->n == 0 ? 0 : l->n - 1;
    struct node *n = l->n == 0 ? NULL : node_at(l, i);
    if (n == NULL || !node_takes(l, n, v.len)) {
        add_node_with(l, end == QUICKLIST_LEFT ? 0 : l->n, v);
        settle(l, i);
        return;
    }
    own_node(l, n);
    struct listpack *lp = packed(n);
    if (end == QUICKLIST_LEFT) {
        listpack_prepend(&lp, v);
    } else {
        listpack_append(&lp, v);
    }
    n->ptr = lp;
    node_changed(l, n, 1);
}

static void insert_in_node(struct quicklist *l, size_t i, size_t at, struct slice v)
{
    struct node *n = node_at(l, i);
    open_node(l, n);
    struct listpack *lp = packed(n);
    if (at == n->count) {
        listpack_append(&lp, v);
    } else {
        listpack_insert_before(&lp, listpack_at(lp, (int64_t)at), v);
    }
    n->ptr = lp;
    node_changed(l, n, 1);
}

void quicklist_insert(struct object *o, size_t before, struct slice v)
{
    struct quicklist *l = quicklist_of(o);
    if (before == 0 || before == l->count) {
        quicklist_push(o, before == 0 ? QUICKLIST_LEFT : QUICKLIST_RIGHT, v);
        return;
    }
    size_t at = before;
    size_t i = find_node(l, &at);
    if (node_takes(l, node_at(l, i), v.len)) {
        insert_in_node(l, i, at, v);
    } else if (at == 0 && node_takes(l, node_at(l, i - 1), v.len)) {
        insert_in_node(l, i - 1, node_at(l, i - 1)->count, v);
    } else {
        if (at > 0) {
            open_node(l, node_at(l, i));
            split_node(l, i, at);
            i++;
        }
        if (node_takes(l, node_at(l, i - 1), v.len)) {
            insert_in_node(l, i - 1, node_at(l, i - 1)->count, v);
        } else {
            add_node_with(l, i, v);
        }
    }
    settle(l, i);
}

void quicklist_set(struct object *o, size_t index, struct slice v)
{
    struct quicklist *l = quicklist_of(o);
    size_t at = index;
    size_t i = find_node(l, &at);
    struct node *n = node_at(l, i);
    if (n->kind == KIND_PLAIN || is_long(v.len) || (n->count > 1 && !node_takes(l, n, v.len))) {
        quicklist_insert(o, index, v);
        quicklist_delete(o, index + 1, 1);
        return;
    }
    open_node(l, n);
    struct listpack *lp = packed(n);
    listpack_replace(&lp, listpack_at(lp, (int64_t)at), v);
    n->ptr = lp;
    node_changed(l, n, 0);
    settle(l, i);
}

void quicklist_delete(struct object *o, size_t index, size_t n)
{
    struct quicklist *l = quicklist_of(o);
    size_t at = index;
    size_t i = find_node(l, &at);
    size_t gone_from = i;
    size_t gone = 0;
    for (; n > 0; i++) {
        struct node *d = node_at(l, i);
        size_t here = MIN(n, d->count - at);
        n -= here;
        if (here == d->count) {
            l->count -= here;
            free_node(l, d);
            gone_from = gone == 0 ? i : gone_from;
            gone++;
        } else {
            open_node(l, d);
            struct listpack *lp = packed(d);
            listpack_delete_range(&lp, (int64_t)at, here);
            d->ptr = lp;
            node_changed(l, d, -(int64_t)here);
        }
        at = 0;
    }
    remove_nodes(l, gone_from, gone);
    settle(l, gone_from);
}

static bool plain_equals(const struct node *n, struct slice v)
{
    const struct plain *p = n->ptr;
    return slice_eq(slice_of(p->bytes, p->len), v);
}

/* In one node, from one of its ends. */
static size_t remove_in_node(struct quicklist *l, struct node *n, enum quicklist_end from,
                             size_t most, struct slice v)
{
    size_t gone = 0;
    open_node(l, n);
    struct listpack *lp = packed(n);
    const unsigned char *p = from == QUICKLIST_LEFT ? listpack_first(lp) : listpack_last(lp);
    while (p != NULL && gone < most) {
        bool equal = listpack_equal(p, v);
        if (from == QUICKLIST_LEFT) {
            p = equal ? listpack_delete(&lp, p, 1) : listpack_next(p);
        } else if (equal) {
            p = listpack_delete(&lp, p, 1);
            p = p == NULL ? listpack_last(lp) : listpack_prev(lp, p);
        } else {
            p = listpack_prev(lp, p);
        }
        gone += equal;
    }
    n->ptr = lp;
    node_changed(l, n, -(int64_t)gone);
    return gone;
}

size_t quicklist_remove(struct object *o, enum quicklist_end from, size_t most, struct slice v)
{
    struct quicklist *l = quicklist_of(o);
    size_t gone = 0;
    most = most == 0 ? SIZE_MAX : most;
    for (size_t k = 0; k < l->n && gone < most;) {
        size_t i = from == QUICKLIST_LEFT ? k : l->n - 1 - k;
        struct node *n = node_at(l, i);
        if (n->kind != KIND_PLAIN) {
            gone += remove_in_node(l, n, from, most - gone, v);
        } else if (plain_equals(n, v)) {
            n->count = 0;
            l->count--;
            gone++;
        }
        if (n->count == 0) {
            free_node(l, n);
            remove_nodes(l, i, 1);
        } else {
            k++;
        }
        settle(l, i);
    }
    return gone;
}

/* ---- walking ---- */

static void enter_node(struct quicklist_walk *w, bool at_its_end)
{
    const struct node *n = node_at(w->list, w->node);
    mem_free(w->scratch);
    w->scratch = n->kind == KIND_COMPRESSED ? decompress(n) : NULL;
    if (n->kind == KIND_PLAIN) {
        w->p = NULL;
        return;
    }
    const struct listpack *lp = w->scratch != NULL ? w->scratch : packed(n);
    w->p = at_its_end ? listpack_last(lp) : listpack_first(lp);
}

void quicklist_walk_begin(struct quicklist_walk *w, const struct object *o, size_t index,
                          bool leftwards)
{
    *w = (struct quicklist_walk){.list = quicklist_of(o), .leftwards = leftwards};
    w->left = leftwards ? index + 1 : w->list->count - index;
    if (w->left == 0) {
        return;
    }
    w->node = find_node(w->list, &index);
    enter_node(w, false);
    if (w->p != NULL && index > 0) {
        const struct node *n = node_at(w->list, w->node);
        w->p = listpack_at(w->scratch != NULL ? w->scratch : packed(n), (int64_t)index);
    }
}

/* To the next element, which is there. */
static void walk_on(struct quicklist_walk *w)
{
    if (w->p != NULL) {
        const struct node *n = node_at(w->list, w->node);
        w->p = !w->leftwards ? listpack_next(w->p)
                             : listpack_prev(w->scratch != NULL ? w->scratch : packed(n), w->p);
        if (LIKELY(w->p != NULL)) {
            return;
        }
    }
    w->node += w->leftwards ? (size_t)-1 : 1;
    enter_node(w, w->leftwards);
}

bool quicklist_walk_next(struct quicklist_walk *w, struct listpack_value *v)
{
    if (w->left == 0) {
        return false;
    }
    w->left--;
    if (w->started) {
        walk_on(w);
    }
    w->started = true;
    if (LIKELY(w->p != NULL)) {
        *v = listpack_get(w->p);
    } else {
        const struct plain *p = node_at(w->list, w->node)->ptr;
        *v = (struct listpack_value){.ptr = p->bytes, .len = p->len};
    }
    return true;
}

void quicklist_walk_end(struct quicklist_walk *w)
{
    mem_free(w->scratch);
    w->scratch = NULL;
}

void quicklist_get(const struct object *o, size_t index, struct str *to)
{
    struct quicklist_walk w;
    struct listpack_value v;
    quicklist_walk_begin(&w, o, index, false);
    if (quicklist_walk_next(&w, &v)) {
        if (v.ptr != NULL) {
            str_append(to, v.ptr, v.len);
        } else {
            str_append_int(to, v.number);
        }
    }
    quicklist_walk_end(&w);
}

/* ---- what object.c asks ---- */

static void free_value(struct object *o)
{
    struct quicklist *l = quicklist_of(o);
    INVARIANT(l->portraits == NULL);
    for (size_t i = 0; i < l->n; i++) {
        mem_free(node_at(l, i)->ptr);
    }
    mem_free(l->nodes);
    mem_free(l);
}

static bool free_some(struct object *o, uint64_t budget, uint64_t *freed)
{
    struct quicklist *l = quicklist_of(o);
    while (l->n > 0 && budget > 0) {
        mem_free(node_at(l, --l->n)->ptr);
        budget--;
        ++*freed;
    }
    return l->n > 0;
}

static size_t memory(const struct object *o)
{
    const struct quicklist *l = quicklist_of(o);
    return object_size_class(sizeof(*l)) + ring_memory(l) + l->memory;
}

static size_t free_effort(const struct object *o)
{
    return quicklist_of(o)->n;
}

static void copy_value(const struct object *o, struct object *to)
{
    const struct quicklist *l = quicklist_of(o);
    struct quicklist *c = mem_alloc(object_size_class(sizeof(*c)));
    *c = *l;
    c->portraits = NULL;
    c->nodes = l->cap == 0 ? NULL : mem_alloc(ring_memory(l));
    c->first = 0;
    for (size_t i = 0; c->nodes != NULL && i < l->n; i++) {
        c->nodes[i] = *node_at(l, i);
        c->nodes[i].ptr = mem_memdup(c->nodes[i].ptr, node_memory(&c->nodes[i]));
    }
    object_set_root(to, c);
}

static const char *encoding_name(const struct object *o)
{
    (void)o;
    return "quicklist";
}

static void digest(const struct object *o, struct digest *d)
{
    struct quicklist_walk w;
    struct listpack_value v;
    char digits[NUM_I64_MAX_LEN];
    quicklist_walk_begin(&w, o, 0, false);
    while (quicklist_walk_next(&w, &v)) {
        struct slice text = v.ptr != NULL ? slice_of(v.ptr, v.len)
                                          : slice_of(digits, num_print_i64(digits, v.number));
        digest_mix(d, text.ptr, text.len);
    }
    quicklist_walk_end(&w);
}

/* ---- in files ---- */

static unsigned rdb_type(const struct object *o)
{
    (void)o;
    return RDB_TYPE_LIST_QUICKLIST_2;
}

static void write_node(struct str *to, const struct node *n, bool compress)
{
    rdb_write_len(to, n->kind == KIND_PLAIN ? CONTAINER_PLAIN : CONTAINER_PACKED);
    if (n->kind == KIND_PLAIN) {
        const struct plain *p = n->ptr;
        rdb_write_string(to, slice_of(p->bytes, p->len), compress);
    } else if (n->kind == KIND_PACKED) {
        rdb_write_string(to, listpack_slice(packed(n)), compress);
    } else {
        struct listpack *lp = decompress(n);
        rdb_write_string(to, listpack_slice(lp), compress);
        listpack_free(&lp);
    }
}

static void rdb_write(struct str *to, const struct object *o, bool compress)
{
    const struct quicklist *l = quicklist_of(o);
    rdb_write_len(to, l->n);
    for (size_t i = 0; i < l->n; i++) {
        write_node(to, node_at(l, i), compress);
    }
}

/* ---- in parts ---- */

static bool step_nodes(struct portrait *p, size_t budget, struct str *to)
{
    const struct node *nodes = p->list.nodes;
    size_t before = to->len;
    while (p->list.at < p->list.n && to->len - before < budget) {
        write_node(to, &nodes[p->list.at++], p->compress);
    }
    return p->list.at < p->list.n;
}

static void fini_nodes(struct portrait *p)
{
    mem_free(p->list.nodes);
}

static struct portrait **portraits(const struct object *o)
{
    return &quicklist_of(o)->portraits;
}

/* From here on all nodes are shared, also with portraits that were begun before: they may have some
 * that came since, which does no harm. */
static void portray(const struct object *o, struct portrait *p)
{
    static const struct portrait_kind kind = {.step = step_nodes, .fini = fini_nodes};
    const struct quicklist *l = quicklist_of(o);
    struct node *nodes = mem_alloc(MAX(l->n, 1U) * sizeof(*nodes));
    for (size_t i = 0; i < l->n; i++) {
        node_at(l, i)->shared = 1;
        nodes[i] = *node_at(l, i);
    }
    p->kind = &kind;
    p->list.nodes = nodes;
    p->list.n = l->n;
    rdb_write_len(&p->head, l->n);
}

/* What was read, unless something was wrong or nothing is in it. */
static struct object *read_done(struct object *o, bool good)
{
    if (!good || quicklist_length(o) == 0) {
        object_free(&o);
    } else {
        struct quicklist *l = quicklist_of(o);
        for (size_t i = l->depth; l->depth > 0 && i + l->depth < l->n; i++) {
            close_node(l, node_at(l, i));
        }
    }
    return o;
}

struct object *quicklist_read_strings(struct slice *in, struct slice key, int64_t expire_ms,
                                      struct str *scratch)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return NULL;
    }
    struct object *o = quicklist_new(key, expire_ms);
    bool good = true;
    for (; good && n > 0; n--) {
        struct slice v;
        good = rdb_read_string(in, scratch, &v);
        if (good) {
            quicklist_push(o, QUICKLIST_RIGHT, v);
        }
    }
    return read_done(o, good);
}

/* All elements of one ziplist. */
static bool read_ziplist(struct slice *in, struct object *o, struct str *scratch)
{
    struct slice bytes;
    size_t count;
    if (!rdb_read_string(in, scratch, &bytes) || !ziplist_valid(bytes, &count)) {
        return false;
    }
    struct ziplist_walk w = ziplist_walk(bytes);
    struct listpack_value v;
    char digits[NUM_I64_MAX_LEN];
    while (ziplist_next(&w, &v)) {
        quicklist_push(o, QUICKLIST_RIGHT,
                       v.ptr != NULL ? slice_of(v.ptr, v.len)
                                     : slice_of(digits, num_print_i64(digits, v.number)));
    }
    return true;
}

struct object *quicklist_read_ziplist(struct slice *in, struct slice key, int64_t expire_ms,
                                      struct str *scratch)
{
    struct object *o = quicklist_new(key, expire_ms);
    return read_done(o, read_ziplist(in, o, scratch));
}

struct object *quicklist_read_ziplists(struct slice *in, struct slice key, int64_t expire_ms,
                                       struct str *scratch)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return NULL;
    }
    struct object *o = quicklist_new(key, expire_ms);
    bool good = true;
    for (; good && n > 0; n--) {
        good = read_ziplist(in, o, scratch);
    }
    return read_done(o, good);
}

static bool read_node(struct slice *in, struct object *o, struct str *scratch)
{
    struct quicklist *l = quicklist_of(o);
    uint64_t container;
    struct slice bytes;
    size_t count;
    if (!rdb_read_len(in, &container, NULL) || !rdb_read_string(in, scratch, &bytes)) {
        return false;
    }
    if (container == CONTAINER_PLAIN) {
        quicklist_push(o, QUICKLIST_RIGHT, bytes);
        return true;
    }
    if (container != CONTAINER_PACKED || bytes.len > LISTPACK_BYTES_MAX ||
        !listpack_valid(bytes, &count)) {
        return false;
    }
    if (count > 0) {
        add_packed(l, listpack_from(bytes), count);
    }
    return true;
}

static struct object *draft_begin(struct slice key, int64_t expire_ms, uint64_t n)
{
    (void)n;
    return quicklist_new(key, expire_ms);
}

/* A node that is left alone behind its neighbours may be compressed now. */
static bool draft_read(struct object *o, uint64_t n, struct slice *in, struct str scratch[2])
{
    struct quicklist *l = quicklist_of(o);
    bool good = read_node(in, o, &scratch[0]);
    if (l->depth > 0 && l->n > 2 * (size_t)l->depth) {
        close_node(l, node_at(l, l->n - 1 - l->depth));
    }
    (void)n;
    return good;
}

struct object *quicklist_read_nodes(struct slice *in, struct slice key, int64_t expire_ms,
                                    struct str *scratch)
{
    uint64_t n;
    if (!rdb_read_len(in, &n, NULL)) {
        return NULL;
    }
    struct object *o = quicklist_new(key, expire_ms);
    bool good = true;
    for (; good && n > 0; n--) {
        good = read_node(in, o, scratch);
    }
    return read_done(o, good);
}

const struct object_ops quicklist_ops = {
    .free_value = free_value,
    .free_some = free_some,
    .memory = memory,
    .length = quicklist_length,
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
