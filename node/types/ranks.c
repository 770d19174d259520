// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/ranks.h"

#include "node/types/members.h"
#include "node/types/object.h"

#include "common/base/mem.h"

#define MAGIC 0x2a4e5b91U

enum {
    NODE_SIZE = 1024,
    HEADER = 32,
    LEAF_MAX = (NODE_SIZE - HEADER) / 16,
    LEAF_MIN = 2, /* what the only leaf has room for at first */
    INNER_MAX = (NODE_SIZE - HEADER) / 32,
    HEIGHT_MAX = 16, /* more than 64-bit counts can need */
};

/* Followed by `room` scores, and as many entries. */
struct leaf {
    uint32_t n;
    uint32_t room;
    struct leaf *prev;
    struct leaf *next;
    uint64_t unused; /* of the header */
    double score[];
};
_Static_assert(sizeof(struct leaf) == HEADER, "a leaf is NODE_SIZE");

/* Of each child: its least score and entry, the child, how many entries are in it. */
struct inner {
    uint32_t n;
    double score[INNER_MAX];
    void *entry[INNER_MAX];
    void *child[INNER_MAX];
    uint64_t count[INNER_MAX];
};
_Static_assert(sizeof(struct inner) <= NODE_SIZE, "an inner node is NODE_SIZE");

struct ranks {
    uint32_t magic;
    uint32_t height; /* inner nodes above a leaf */
    uint64_t count;
    size_t memory;
    void *root;
};

/* From the root to a leaf: in each inner node, which child. */
struct path {
    struct inner *node[HEIGHT_MAX];
    uint32_t at[HEIGHT_MAX];
    struct leaf *leaf;
    uint32_t i; /* in the leaf */
};

static inline void **entries_of(struct leaf *l)
{
    return (void **)(void *)(l->score + l->room);
}

static inline void *const *entries_in(const struct leaf *l)
{
    return (void *const *)(const void *)(l->score + l->room);
}

static inline struct slice name_of(const void *entry)
{
    return member_name(entry, RANKS_HEAD);
}

/* ---- order ---- */

static inline int compare_names(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    return c != 0 ? c : a.len < b.len ? -1 : a.len > b.len;
}

bool ranks_before(const struct ranks_place *at, double score, struct slice name)
{
    if (!at->by_name && score != at->score) {
        return score < at->score;
    }
    if (at->name.ptr == NULL) {
        return at->behind;
    }
    int c = compare_names(name, at->name);
    return c != 0 ? c < 0 : at->behind;
}

/* As above, but looks at the entry only if it must. */
static inline bool is_before(const struct ranks_place *at, double score, const void *entry)
{
    if (!at->by_name && LIKELY(score != at->score)) {
        return score < at->score;
    }
    return at->name.ptr == NULL ? at->behind : ranks_before(at, score, name_of(entry));
}

static inline struct ranks_place place_of(const void *entry)
{
    return (struct ranks_place){.score = ranks_score(entry), .name = name_of(entry)};
}

static uint32_t search_leaf(const struct leaf *l, const struct ranks_place *at)
{
    void *const *entries = entries_in(l);
    uint32_t low = 0;
    uint32_t high = l->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (is_before(at, l->score[middle], entries[middle])) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The last child that begins before the place, or the first. */
static uint32_t search_inner(const struct inner *n, const struct ranks_place *at)
{
    uint32_t low = 1;
    uint32_t high = n->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (is_before(at, n->score[middle], n->entry[middle])) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

/* ---- nodes ---- */

static size_t leaf_size(uint32_t room)
{
    return object_size_class(HEADER + room * (sizeof(double) + sizeof(void *)));
}

static struct leaf *leaf_new(struct ranks *r, uint32_t room)
{
    size_t size = leaf_size(room);
    struct leaf *l = mem_alloc(size);
    *l = (struct leaf){.room = (uint32_t)((size - HEADER) / 16)};
    r->memory += size;
    return l;
}

static void leaf_free(struct ranks *r, struct leaf *l)
{
    r->memory -= leaf_size(l->room);
    mem_free(l);
}

static struct inner *inner_new(struct ranks *r)
{
    struct inner *n = mem_alloc(NODE_SIZE);
    n->n = 0;
    r->memory += NODE_SIZE;
    return n;
}

static void inner_free(struct ranks *r, struct inner *n)
{
    r->memory -= NODE_SIZE;
    mem_free(n);
}

struct ranks *ranks_new(void)
{
    struct ranks *r = mem_alloc(object_size_class(sizeof(*r)));
    *r = (struct ranks){.magic = MAGIC, .memory = object_size_class(sizeof(*r))};
    r->root = leaf_new(r, LEAF_MIN);
    return r;
}

static void free_node(struct ranks *r, void *node, uint32_t height)
{
    if (height == 0) {
        leaf_free(r, node);
        return;
    }
    struct inner *n = node;
    for (uint32_t i = 0; i < n->n; i++) {
        free_node(r, n->child[i], height - 1); /* NOLINT(misc-no-recursion): as deep as the tree */
    }
    inner_free(r, n);
}

void ranks_free(struct ranks **rp)
{
    struct ranks *r = *rp;
    if (r == NULL) {
        return;
    }
    CHECK_OBJ(r, MAGIC);
    free_node(r, r->root, r->height);
    r->magic = 0;
    mem_free(r);
    *rp = NULL;
}

/* Frees the last leaf, and the inner nodes that it leaves empty, but for the root. */
static void drop_last_leaf(struct ranks *r)
{
    struct inner *way[HEIGHT_MAX];
    struct inner *n = r->root;
    for (uint32_t h = r->height; h > 0; h--) {
        way[h] = n;
        n = n->child[n->n - 1];
    }
    leaf_free(r, (void *)n);
    for (uint32_t h = 1; h <= r->height; h++) {
        way[h]->n--;
        if (way[h]->n > 0 || h == r->height) {
            break;
        }
        inner_free(r, way[h]);
    }
}

bool ranks_drain(struct ranks *r, uint64_t budget, uint64_t *freed)
{
    CHECK_OBJ(r, MAGIC);
    const struct inner *root = r->root;
    for (; r->height > 0 && root->n > 0 && budget > 0; budget--, ++*freed) {
        drop_last_leaf(r);
    }
    return r->height > 0 && root->n > 0;
}

uint64_t ranks_count(const struct ranks *r)
{
    return r->count;
}

size_t ranks_memory(const struct ranks *r)
{
    return r->memory;
}

/* ---- ways down and up ---- */

static void descend(const struct ranks *r, const struct ranks_place *at, struct path *p)
{
    void *node = r->root;
    for (uint32_t h = r->height; h > 0; h--) {
        struct inner *n = node;
        uint32_t i = search_inner(n, at);
        p->node[h - 1] = n;
        p->at[h - 1] = i;
        node = n->child[i];
    }
    p->leaf = node;
    p->i = search_leaf(p->leaf, at);
    /* gcc 12 (-fipa-modref) takes it that the path was not written here, and lets callers read it
     * as it was before: this it does not look through. */
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* Where an entry stands that is there. What is found may be the end of a leaf, and the entry the
 * first of the next: its least is not before the place. */
static void descend_to(const struct ranks *r, const void *entry, struct path *p)
{
    struct ranks_place at = place_of(entry);
    at.behind = true;
    descend(r, &at, p);
    INVARIANT(p->i > 0);
    p->i--;
    INVARIANT(entries_of(p->leaf)[p->i] == entry);
}

/* The leaf's least is another: it is named above, too. */
static void tell_least(const struct ranks *r, struct path *p, double score, void *entry)
{
    for (uint32_t h = 0; h < r->height; h++) {
        struct inner *n = p->node[h];
        n->score[p->at[h]] = score;
        n->entry[p->at[h]] = entry;
        if (p->at[h] > 0) {
            return;
        }
    }
}

static inline void add_counts(const struct ranks *r, struct path *p, uint64_t n)
{
    for (uint32_t h = 0; h < r->height; h++) {
        p->node[h]->count[p->at[h]] += n;
    }
}

/* ---- adding ---- */

static void put_child(struct inner *n, uint32_t at, const struct inner *from, uint32_t i)
{
    n->score[at] = from->score[i];
    n->entry[at] = from->entry[i];
    n->child[at] = from->child[i];
    n->count[at] = from->count[i];
}

static void open_gap(struct inner *n, uint32_t at)
{
    for (uint32_t i = n->n++; i > at; i--) {
        put_child(n, i, n, i - 1);
    }
}

static void close_gap(struct inner *n, uint32_t at)
{
    n->n--;
    for (uint32_t i = at; i < n->n; i++) {
        put_child(n, i, n, i + 1);
    }
}

static uint64_t sum_of(const struct inner *n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->n; i++) {
        sum += n->count[i];
    }
    return sum;
}

/* How a node is named in the one above. */
struct child {
    double score;
    void *entry;
    void *node;
    uint64_t count;
};

static struct child as_child(struct leaf *l)
{
    return (struct child){
        .score = l->score[0], .entry = entries_of(l)[0], .node = l, .count = l->n};
}

static struct child inner_as_child(struct inner *n)
{
    return (struct child){
        .score = n->score[0], .entry = n->entry[0], .node = n, .count = sum_of(n)};
}

static void set_child(struct inner *n, uint32_t at, const struct child *c)
{
    n->score[at] = c->score;
    n->entry[at] = c->entry;
    n->child[at] = c->node;
    n->count[at] = c->count;
}

/* Halves a full node; the new one is right of it. */
static struct inner *split_inner(struct ranks *r, struct inner *n, bool at_end)
{
    struct inner *right = inner_new(r);
    uint32_t keep = at_end ? INNER_MAX - 1 : INNER_MAX / 2;
    for (uint32_t i = keep; i < n->n; i++) {
        put_child(right, right->n++, n, i);
    }
    n->n = keep;
    return right;
}

static void grow_root(struct ranks *r, const struct child *left, const struct child *right)
{
    INVARIANT(r->height < HEIGHT_MAX);
    struct inner *root = inner_new(r);
    root->n = 2;
    set_child(root, 0, left);
    set_child(root, 1, right);
    r->root = root;
    r->height++;
}

/* `left` stands at the path's place of height `h`, `right` is new behind it. */
static void add_child(struct ranks *r, struct path *p, uint32_t h, struct child left,
                      struct child right)
{
    for (;; h++) {
        if (h == r->height) {
            grow_root(r, &left, &right);
            return;
        }
        struct inner *n = p->node[h];
        uint32_t at = p->at[h];
        set_child(n, at, &left);
        if (n->n < INNER_MAX) {
            open_gap(n, at + 1);
            set_child(n, at + 1, &right);
            return;
        }
        struct inner *more = split_inner(r, n, at == INNER_MAX - 1);
        struct inner *to = at < n->n ? n : more;
        at = at < n->n ? at : at - n->n;
        open_gap(to, at + 1);
        set_child(to, at + 1, &right);
        left = inner_as_child(n);
        right = inner_as_child(more);
    }
}

static void insert_in_leaf(struct leaf *l, uint32_t at, double score, void *entry)
{
    void **entries = entries_of(l);
    memmove(l->score + at + 1, l->score + at, (l->n - at) * sizeof(l->score[0]));
    memmove(entries + at + 1, entries + at, (l->n - at) * sizeof(entries[0]));
    l->score[at] = score;
    entries[at] = entry;
    l->n++;
}

static void move_tail(struct leaf *from, uint32_t at, struct leaf *to)
{
    uint32_t n = from->n - at;
    memcpy(to->score + to->n, from->score + at, n * sizeof(from->score[0]));
    memcpy(entries_of(to) + to->n, entries_of(from) + at, n * sizeof(void *));
    to->n += n;
    from->n = at;
}

/* The only leaf, with room for another number of entries. */
static struct leaf *resize_root(struct ranks *r, struct leaf *l, uint32_t room)
{
    struct leaf *now = leaf_new(r, room);
    move_tail(l, 0, now);
    leaf_free(r, l);
    r->root = now;
    return now;
}

static void split_leaf(struct ranks *r, struct path *p, double score, void *entry)
{
    struct leaf *l = p->leaf;
    struct leaf *right = leaf_new(r, LEAF_MAX);
    /* Who come in their order, either way, leave full leaves behind. */
    uint32_t keep = p->i == l->n && l->next == NULL ? l->n
                    : p->i == 0 && l->prev == NULL  ? 0
                                                    : l->n / 2;
    move_tail(l, keep, right);
    right->prev = l;
    right->next = l->next;
    if (l->next != NULL) {
        l->next->prev = right;
    }
    l->next = right;
    if (p->i > keep || keep == LEAF_MAX) {
        insert_in_leaf(right, p->i - keep, score, entry);
    } else {
        insert_in_leaf(l, p->i, score, entry);
    }
    add_child(r, p, 0, as_child(l), as_child(right));
}

void ranks_add(struct ranks *r, void *entry)
{
    CHECK_OBJ(r, MAGIC);
    struct path p;
    struct ranks_place at = place_of(entry);
    descend(r, &at, &p);
    r->count++;
    add_counts(r, &p, 1);
    if (p.i == 0) {
        tell_least(r, &p, at.score, entry);
    }
    if (p.leaf->n == LEAF_MAX) {
        split_leaf(r, &p, at.score, entry);
        return;
    }
    if (p.leaf->n == p.leaf->room) {
        p.leaf = resize_root(r, p.leaf, p.leaf->room + 1);
    }
    insert_in_leaf(p.leaf, p.i, at.score, entry);
}

/* ---- removing ---- */

static void unlink_leaf(struct ranks *r, struct leaf *l)
{
    if (l->prev != NULL) {
        l->prev->next = l->next;
    }
    if (l->next != NULL) {
        l->next->prev = l->prev;
    }
    leaf_free(r, l);
}

/* The path's leaf is gone: so is its place, and every node that has no other. */
static void drop_child(struct ranks *r, struct path *p)
{
    uint32_t h = 0;
    for (; h < r->height; h++) {
        close_gap(p->node[h], p->at[h]);
        if (p->node[h]->n > 0) {
            break;
        }
        inner_free(r, p->node[h]);
    }
    INVARIANT(h < r->height); /* a root has two children */
    const struct inner *n = p->node[h];
    for (uint32_t up = h + 1; p->at[up - 1] == 0 && up < r->height; up++) {
        p->node[up]->score[p->at[up]] = n->score[0];
        p->node[up]->entry[p->at[up]] = n->entry[0];
    }
}

/* Child i + 1 of a node is in child i now. */
static void join_children(struct inner *n, uint32_t i)
{
    n->count[i] += n->count[i + 1];
    close_gap(n, i + 1);
}

/* A leaf, and nodes above it, that are nearly empty go together with a neighbour. */
static void merge(struct ranks *r, struct path *p)
{
    struct inner *n = p->node[0];
    if (n->n > 1) {
        uint32_t i = p->at[0] + 1 < n->n ? p->at[0] : p->at[0] - 1;
        struct leaf *left = n->child[i];
        struct leaf *right = n->child[i + 1];
        if (left->n + right->n > LEAF_MAX * 3 / 4) {
            return;
        }
        move_tail(right, 0, left);
        unlink_leaf(r, right);
        join_children(n, i);
    }
    for (uint32_t h = 0; h + 1 < r->height && p->node[h]->n < INNER_MAX / 4; h++) {
        struct inner *up = p->node[h + 1];
        if (up->n < 2) {
            continue;
        }
        uint32_t i = p->at[h + 1] + 1 < up->n ? p->at[h + 1] : p->at[h + 1] - 1;
        struct inner *left = up->child[i];
        struct inner *right = up->child[i + 1];
        if (left->n + right->n > INNER_MAX * 3 / 4) {
            return;
        }
        for (uint32_t k = 0; k < right->n; k++) {
            put_child(left, left->n++, right, k);
        }
        inner_free(r, right);
        join_children(up, i);
    }
}

static void lower_root(struct ranks *r)
{
    while (r->height > 0) {
        struct inner *root = r->root;
        if (root->n > 1) {
            return;
        }
        r->root = root->child[0];
        r->height--;
        inner_free(r, root);
    }
}

/* n entries of the path's leaf, from where it points to. */
static void remove_at(struct ranks *r, struct path *p, uint32_t n)
{
    struct leaf *l = p->leaf;
    void **entries = entries_of(l);
    uint32_t behind = l->n - p->i - n;
    memmove(l->score + p->i, l->score + p->i + n, behind * sizeof(l->score[0]));
    memmove(entries + p->i, entries + p->i + n, behind * sizeof(entries[0]));
    l->n -= n;
    r->count -= n;
    add_counts(r, p, -(uint64_t)n);
    if (r->height == 0) {
        if (l->n < l->room / 2 && l->room > LEAF_MIN) {
            resize_root(r, l, l->n + l->n / 4 + 1);
        }
        return;
    }
    if (l->n == 0) {
        unlink_leaf(r, l);
        drop_child(r, p);
    } else {
        if (p->i == 0) {
            tell_least(r, p, l->score[0], entries[0]);
        }
        if (l->n < LEAF_MAX / 4) {
            merge(r, p);
        }
    }
    lower_root(r);
}

void ranks_remove(struct ranks *r, const void *entry)
{
    CHECK_OBJ(r, MAGIC);
    struct path p;
    descend_to(r, entry, &p);
    remove_at(r, &p, 1);
}

static void descend_to_rank(const struct ranks *r, uint64_t rank, struct path *p)
{
    void *node = r->root;
    for (uint32_t h = r->height; h > 0; h--) {
        struct inner *n = node;
        uint32_t i = 0;
        while (rank >= n->count[i]) {
            rank -= n->count[i++];
        }
        p->node[h - 1] = n;
        p->at[h - 1] = i;
        node = n->child[i];
    }
    p->leaf = node;
    p->i = (uint32_t)rank;
}

void ranks_remove_range(struct ranks *r, uint64_t first, uint64_t n, ranks_visit_fn *visit,
                        void *arg)
{
    INVARIANT(first <= r->count && n <= r->count - first);
    /* What is visited may be freed, but a leaf that is emptied from its first on is not looked into
     * again, and of others the least stays or is told before. */
    while (n > 0) {
        struct path p;
        void *gone[LEAF_MAX];
        descend_to_rank(r, first, &p);
        uint32_t here = (uint32_t)MIN(n, (uint64_t)(p.leaf->n - p.i));
        memcpy(gone, entries_of(p.leaf) + p.i, here * sizeof(gone[0]));
        remove_at(r, &p, here);
        for (uint32_t i = 0; i < here; i++) {
            visit(arg, gone[i]);
        }
        n -= here;
    }
}

void ranks_rescore(struct ranks *r, void *entry, double score)
{
    CHECK_OBJ(r, MAGIC);
    struct path p;
    descend_to(r, entry, &p);
    struct leaf *l = p.leaf;
    struct ranks_place at = {.score = score, .name = name_of(entry)};
    const struct leaf *left = p.i > 0 ? l : l->prev;
    const struct leaf *right = p.i + 1 < l->n ? l : l->next;
    uint32_t i = p.i > 0 ? p.i - 1 : left != NULL ? left->n - 1 : 0;
    uint32_t k = p.i + 1 < l->n ? p.i + 1 : 0;
    if ((left == NULL || is_before(&at, left->score[i], entries_in(left)[i])) &&
        (right == NULL || !is_before(&at, right->score[k], entries_in(right)[k]))) {
        memcpy(entry, &score, sizeof(score));
        l->score[p.i] = score;
        if (p.i == 0) {
            tell_least(r, &p, score, entry);
        }
        return;
    }
    remove_at(r, &p, 1);
    memcpy(entry, &score, sizeof(score));
    ranks_add(r, entry);
}

/* ---- ranks ---- */

uint64_t ranks_below(const struct ranks *r, const struct ranks_place *at)
{
    struct path p;
    uint64_t below = 0;
    descend(r, at, &p);
    for (uint32_t h = 0; h < r->height; h++) {
        for (uint32_t i = 0; i < p.at[h]; i++) {
            below += p.node[h]->count[i];
        }
    }
    return below + p.i;
}

struct ranks_walk ranks_seek(const struct ranks *r, uint64_t rank)
{
    struct path p;
    INVARIANT(rank < r->count);
    descend_to_rank(r, rank, &p);
    return (struct ranks_walk){.leaf = p.leaf, .at = p.i};
}

void *ranks_up(struct ranks_walk *w)
{
    const struct leaf *l = w->leaf;
    if (l == NULL) {
        return NULL;
    }
    void *entry = entries_in(l)[w->at++];
    if (w->at == l->n) {
        *w = (struct ranks_walk){.leaf = l->next};
    }
    return entry;
}

void *ranks_down(struct ranks_walk *w)
{
    const struct leaf *l = w->leaf;
    if (l == NULL) {
        return NULL;
    }
    void *entry = entries_in(l)[w->at];
    if (w->at-- == 0) {
        *w = (struct ranks_walk){.leaf = l->prev, .at = l->prev == NULL ? 0 : l->prev->n - 1};
    }
    return entry;
}

/* ---- for tests ---- */

struct checking {
    const struct ranks *r;
    const struct leaf *last;
    const void *before; /* the entry that came before */
    size_t memory;
};

static uint64_t check_leaf(struct checking *c, const struct leaf *l)
{
    INVARIANT(l->prev == c->last);
    INVARIANT(c->last == NULL || c->last->next == l);
    INVARIANT(l->n > 0 || c->r->height == 0);
    for (uint32_t i = 0; i < l->n; i++) {
        const void *entry = entries_in(l)[i];
        INVARIANT(l->score[i] == ranks_score(entry));
        if (c->before != NULL) {
            struct ranks_place at = place_of(entry);
            INVARIANT(is_before(&at, ranks_score(c->before), c->before));
        }
        c->before = entry;
    }
    c->last = l;
    c->memory += leaf_size(l->room);
    return l->n;
}

static uint64_t check_node(struct checking *c, void *node, uint32_t height)
{
    if (height == 0) {
        return check_leaf(c, node);
    }
    const struct inner *n = node;
    uint64_t sum = 0;
    INVARIANT(n->n > (height == c->r->height));
    for (uint32_t i = 0; i < n->n; i++) {
        const void *before = c->before;
        const struct leaf *last = c->last;
        /* NOLINTNEXTLINE(misc-no-recursion): as deep as the tree */
        INVARIANT(check_node(c, n->child[i], height - 1) == n->count[i]);
        INVARIANT(n->entry[i] != NULL);
        struct ranks_walk w = {.leaf = last == NULL ? NULL : last->next};
        INVARIANT(last == NULL || ranks_up(&w) == n->entry[i]);
        INVARIANT(n->score[i] == ranks_score(n->entry[i]));
        INVARIANT(before != n->entry[i]);
        sum += n->count[i];
    }
    c->memory += NODE_SIZE;
    return sum;
}

void ranks_check(const struct ranks *r)
{
    CHECK_OBJ(r, MAGIC);
    struct checking c = {.r = r, .memory = object_size_class(sizeof(*r))};
    INVARIANT(check_node(&c, r->root, r->height) == r->count);
    INVARIANT(c.memory == r->memory);
    INVARIANT(c.last->next == NULL);
}
