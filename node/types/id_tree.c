// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/id_tree.h"

#include "node/types/object.h"

#include "common/base/mem.h"

/* A node, leaf or not: ids in rising order, then their values. In what is no leaf these are the
 * nodes below, each with an id that is not above any in it. */
struct id_node {
    uint16_t n;
    uint16_t cap;
    struct stream_id ids[];
};

enum {
    NODE_MAX = 1536, /* bytes: a size class of the allocator */
};

/* ---- a node ---- */

static inline size_t node_size(size_t cap, size_t value_size)
{
    return object_size_class(sizeof(struct id_node) +
                             cap * (sizeof(struct stream_id) + value_size));
}

/* Entries of a node at most. */
static inline unsigned full(size_t value_size)
{
    return (unsigned)((NODE_MAX - sizeof(struct id_node)) /
                      (sizeof(struct stream_id) + value_size));
}

/* Entries that the allocation for `n` has room for. */
static inline unsigned cap_for(size_t n, size_t value_size)
{
    size_t cap = (node_size(n, value_size) - sizeof(struct id_node)) /
                 (sizeof(struct stream_id) + value_size);
    return (unsigned)MIN(cap, (size_t)full(value_size));
}

static inline char *value_at(const struct id_node *n, unsigned i, size_t value_size)
{
    return (char *)(uintptr_t)(n->ids + n->cap) + i * value_size;
}

static inline struct id_node *child_at(const struct id_node *n, unsigned i)
{
    struct id_node *child;
    memcpy(&child, value_at(n, i, sizeof(child)), sizeof(child));
    return child;
}

static inline void set_child(struct id_node *n, unsigned i, struct id_node *child)
{
    memcpy(value_at(n, i, sizeof(child)), &child, sizeof(child));
}

static struct id_node *node_new(struct id_tree *t, unsigned n, size_t value_size, size_t *memory)
{
    unsigned cap = cap_for(n, value_size);
    struct id_node *node = mem_alloc(node_size(n, value_size));
    *node = (struct id_node){.n = 0, .cap = (uint16_t)cap};
    *memory += node_size(cap, value_size);
    t->nodes++;
    return node;
}

static void node_free(struct id_tree *t, struct id_node *node, size_t value_size, size_t *memory)
{
    *memory -= node_size(node->cap, value_size);
    t->nodes--;
    mem_free(node);
}

static void copy_entries(struct id_node *to, unsigned to_at, const struct id_node *from,
                         unsigned from_at, unsigned n, size_t value_size)
{
    memcpy(to->ids + to_at, from->ids + from_at, n * sizeof(struct stream_id));
    memcpy(value_at(to, to_at, value_size), value_at(from, from_at, value_size), n * value_size);
}

/* Another allocation, for `n` entries. */
static struct id_node *node_fit(struct id_tree *t, struct id_node *node, unsigned n,
                                size_t value_size, size_t *memory)
{
    struct id_node *fit = node_new(t, n, value_size, memory);
    copy_entries(fit, 0, node, 0, node->n, value_size);
    fit->n = node->n;
    node_free(t, node, value_size, memory);
    return fit;
}

/* A free place at `at`, its value zeroed. There is room. */
static void open_place(struct id_node *node, unsigned at, struct stream_id id, size_t value_size)
{
    unsigned behind = node->n - at;
    memmove(node->ids + at + 1, node->ids + at, behind * sizeof(struct stream_id));
    char *value = value_at(node, at, value_size);
    memmove(value + value_size, value, behind * value_size);
    memset(value, 0, value_size);
    node->ids[at] = id;
    node->n++;
}

static void close_place(struct id_node *node, unsigned at, size_t value_size)
{
    unsigned behind = node->n - at - 1U;
    memmove(node->ids + at, node->ids + at + 1, behind * sizeof(struct stream_id));
    char *value = value_at(node, at, value_size);
    memmove(value, value + value_size, behind * value_size);
    node->n--;
}

/* How many ids are less than `id`. The end is where most are looked for. */
static inline unsigned count_less(const struct id_node *node, struct stream_id id)
{
    unsigned low = 0;
    unsigned high = node->n;
    if (high > 0 && stream_id_less(node->ids[high - 1], id)) {
        return high;
    }
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (stream_id_less(node->ids[middle], id)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child in whose range an id is. */
static inline unsigned child_for(const struct id_node *node, struct stream_id id)
{
    unsigned less = count_less(node, id);
    bool is_bound = less < node->n && stream_id_equal(node->ids[less], id);
    return is_bound || less == 0 ? less : less - 1;
}

static inline size_t value_size_at(const struct id_tree *t, unsigned level)
{
    return level + 1U == t->depth ? t->value_size : sizeof(struct id_node *);
}

/* ---- looking ---- */

void *id_tree_find(const struct id_tree *t, struct stream_id id)
{
    const struct id_node *node = t->root;
    if (node == NULL) {
        return NULL;
    }
    for (unsigned level = 0; level + 1U < t->depth; level++) {
        node = child_at(node, child_for(node, id));
    }
    unsigned at = count_less(node, id);
    return at < node->n && stream_id_equal(node->ids[at], id) ? value_at(node, at, t->value_size)
                                                              : NULL;
}

static void settle(struct id_at *at)
{
    const struct id_tree *t = at->tree;
    const struct id_node *leaf = at->path[t->depth - 1].node;
    unsigned i = at->path[t->depth - 1].at;
    at->id = leaf->ids[i];
    at->value = value_at(leaf, i, t->value_size);
}

/* Down to the first or the last of what is below a level. */
static void go_down(struct id_at *at, unsigned level, bool to_last)
{
    for (; level + 1U < at->tree->depth; level++) {
        struct id_node *child = child_at(at->path[level].node, at->path[level].at);
        at->path[level + 1].node = child;
        at->path[level + 1].at = to_last ? child->n - 1U : 0;
    }
    settle(at);
}

void id_at_next(struct id_at *at)
{
    for (unsigned level = at->tree->depth; level-- > 0;) {
        if (at->path[level].at + 1U < at->path[level].node->n) {
            at->path[level].at++;
            go_down(at, level, false);
            return;
        }
    }
    at->valid = false;
}

void id_at_prev(struct id_at *at)
{
    for (unsigned level = at->tree->depth; level-- > 0;) {
        if (at->path[level].at > 0) {
            at->path[level].at--;
            go_down(at, level, true);
            return;
        }
    }
    at->valid = false;
}

/* The leaf that has the id, or would; how many there are less. */
static unsigned descend(const struct id_tree *t, struct stream_id id, struct id_at *at)
{
    at->tree = t;
    at->valid = t->root != NULL;
    if (!at->valid) {
        return 0;
    }
    INVARIANT(t->depth <= ID_TREE_DEPTH);
    at->path[0].node = t->root;
    unsigned level = 0;
    for (; level + 1U < t->depth; level++) {
        at->path[level].at = child_for(at->path[level].node, id);
        at->path[level + 1].node = child_at(at->path[level].node, at->path[level].at);
    }
    return count_less(at->path[level].node, id);
}

void id_tree_seek(const struct id_tree *t, struct stream_id id, struct id_at *at)
{
    unsigned less = descend(t, id, at);
    if (!at->valid) {
        return;
    }
    unsigned leaf = t->depth - 1U;
    if (less < at->path[leaf].node->n) {
        at->path[leaf].at = less;
        settle(at);
    } else {
        at->path[leaf].at = less - 1;
        id_at_next(at);
    }
}

void id_tree_seek_back(const struct id_tree *t, struct stream_id id, struct id_at *at)
{
    unsigned less = descend(t, id, at);
    if (!at->valid) {
        return;
    }
    unsigned leaf = t->depth - 1U;
    const struct id_node *node = at->path[leaf].node;
    at->path[leaf].at = less;
    if (less < node->n && stream_id_equal(node->ids[less], id)) {
        settle(at);
    } else {
        id_at_prev(at);
    }
}

/* ---- adding ---- */

/* A full node becomes two. What is added at the very end leaves the first one full. Returns the
 * second; *at and *into become the place in the right one of them. */
static struct id_node *split(struct id_tree *t, struct id_node **into, unsigned *at,
                             size_t value_size, bool at_end, size_t *memory)
{
    struct id_node *first = *into;
    unsigned keep = at_end ? first->n : first->n / 2U;
    unsigned moved = first->n - keep;
    struct id_node *second = node_new(t, MAX(moved + 1, 4U), value_size, memory);
    copy_entries(second, 0, first, keep, moved, value_size);
    second->n = (uint16_t)moved;
    first->n = (uint16_t)keep;
    if (*at > keep || at_end) {
        *at -= keep;
        *into = second;
    }
    return second;
}

/* Makes a place at `at` of path[level]; parents learn of new nodes. Returns the node it is in. */
static struct id_node *add_place(struct id_tree *t, struct id_at *path, unsigned level,
                                 unsigned *at, struct stream_id id, size_t *memory)
{
    size_t value_size = value_size_at(t, level);
    struct id_node *node = path->path[level].node;
    if (node->n < node->cap) {
        open_place(node, *at, id, value_size);
        return node;
    }
    if (node->n < full(value_size)) {
        unsigned wanted = MIN((unsigned)node->n + MAX(node->n / 2U, 1U), full(value_size));
        node = node_fit(t, node, wanted, value_size, memory);
        if (level == 0) {
            t->root = node;
        } else {
            set_child(path->path[level - 1].node, path->path[level - 1].at, node);
        }
        open_place(node, *at, id, value_size);
        return node;
    }
    bool at_end = *at == node->n;
    struct id_node *into = node;
    struct id_node *second = split(t, &into, at, value_size, at_end, memory);
    open_place(into, *at, id, value_size);
    if (level == 0) {
        struct id_node *root = node_new(t, 4, sizeof(root), memory);
        root->n = 2;
        root->ids[0] = node->ids[0];
        root->ids[1] = second->ids[0];
        set_child(root, 0, node);
        set_child(root, 1, second);
        t->root = root;
        t->depth++;
    } else {
        unsigned place = path->path[level - 1].at + 1;
        struct id_node *parent = add_place(t, path, level - 1, &place, second->ids[0], memory);
        set_child(parent, place, second);
    }
    return into;
}

void *id_tree_put(struct id_tree *t, struct stream_id id, bool *is_new, size_t *memory)
{
    struct id_at path = {.tree = t};
    *is_new = true;
    t->count++;
    if (t->root == NULL) {
        t->root = node_new(t, 1, t->value_size, memory);
        t->depth = 1;
        open_place(t->root, 0, id, t->value_size);
        return value_at(t->root, 0, t->value_size);
    }
    unsigned at = descend(t, id, &path);
    unsigned leaf = t->depth - 1U;
    for (unsigned level = 0; level < leaf; level++) {
        struct id_node *above = path.path[level].node;
        if (stream_id_less(id, above->ids[0])) {
            above->ids[0] = id;
        }
    }
    struct id_node *node = path.path[leaf].node;
    INVARIANT(node != NULL);
    if (at < node->n && stream_id_equal(node->ids[at], id)) {
        t->count--;
        *is_new = false;
    } else {
        node = add_place(t, &path, leaf, &at, id, memory);
    }
    return value_at(node, at, t->value_size);
}

/* ---- removing ---- */

static void set_node(struct id_tree *t, const struct id_at *path, unsigned level,
                     struct id_node *node)
{
    if (level == 0) {
        t->root = node;
    } else {
        set_child(path->path[level - 1].node, path->path[level - 1].at, node);
    }
}

/* Takes the entries of the node behind it, if both are small. */
static bool join_next(struct id_tree *t, struct id_node *parent, unsigned at, bool is_leaf,
                      size_t *memory)
{
    size_t value_size = is_leaf ? t->value_size : sizeof(struct id_node *);
    if (at + 1U >= parent->n) {
        return false;
    }
    struct id_node *first = child_at(parent, at);
    struct id_node *second = child_at(parent, at + 1);
    unsigned both = (unsigned)first->n + second->n;
    if (both > full(value_size) / 2) {
        return false;
    }
    struct id_node *joined = node_fit(t, first, both, value_size, memory);
    copy_entries(joined, joined->n, second, 0, second->n, value_size);
    joined->n = (uint16_t)both;
    node_free(t, second, value_size, memory);
    set_child(parent, at, joined);
    close_place(parent, at + 1, sizeof(struct id_node *));
    return true;
}

/* After an entry of path[level] went: it may go itself, or take company, or less room. */
static void shrink(struct id_tree *t, struct id_at *path, unsigned level, size_t *memory)
{
    size_t value_size = value_size_at(t, level);
    struct id_node *node = path->path[level].node;
    if (node->n == 0) {
        node_free(t, node, value_size, memory);
        if (level == 0) {
            t->root = NULL;
            t->depth = 0;
        } else {
            close_place(path->path[level - 1].node, path->path[level - 1].at,
                        sizeof(struct id_node *));
            shrink(t, path, level - 1, memory);
        }
        return;
    }
    if (level > 0 && node->n < full(value_size) / 4) {
        bool is_leaf = level + 1U == t->depth;
        struct id_node *parent = path->path[level - 1].node;
        unsigned at = path->path[level - 1].at;
        if (join_next(t, parent, at, is_leaf, memory) ||
            (at > 0 && join_next(t, parent, at - 1, is_leaf, memory))) {
            shrink(t, path, level - 1, memory);
            return;
        }
    }
    if (node->n <= node->cap / 2 && cap_for(node->n + 1U, value_size) < node->cap) {
        set_node(t, path, level, node_fit(t, node, node->n + 1U, value_size, memory));
    }
}

bool id_tree_remove(struct id_tree *t, struct stream_id id, size_t *memory)
{
    struct id_at path = {.tree = t};
    unsigned at = descend(t, id, &path);
    if (!path.valid) {
        return false;
    }
    unsigned leaf = t->depth - 1U;
    struct id_node *node = path.path[leaf].node;
    INVARIANT(node != NULL);
    if (at == node->n || !stream_id_equal(node->ids[at], id)) {
        return false;
    }
    close_place(node, at, t->value_size);
    t->count--;
    shrink(t, &path, leaf, memory);
    while (t->depth > 1 && t->root->n == 1) {
        struct id_node *root = t->root;
        t->root = child_at(root, 0);
        node_free(t, root, sizeof(root), memory);
        t->depth--;
    }
    return true;
}

static void free_below(struct id_tree *t, struct id_node *node, unsigned level, size_t *memory)
{
    if (level + 1U < t->depth) {
        for (unsigned i = 0; i < node->n; i++) {
            free_below(t, child_at(node, i), level + 1, memory);
        }
    }
    node_free(t, node, value_size_at(t, level), memory);
}

void id_tree_clear(struct id_tree *t, size_t *memory)
{
    if (t->root != NULL) {
        free_below(t, t->root, 0, memory);
        t->root = NULL;
        t->count = 0;
        t->depth = 0;
    }
}
