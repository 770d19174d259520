// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/members.h"

#include "node/types/object.h"
#include "node/types/portrait_priv.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#define MAGIC 0x3e3bee25U

enum {
    TAG_BITS = 16,
    ADDRESS_BITS = 48,
    CURSOR_BITS = 48,
    DEPTH_MAX = CURSOR_BITS - TAG_BITS, /* deeper, a cursor could not tell */
    SEGMENT_MIN = 64,                   /* bytes */
    SEGMENT_MAX = 4096,
    DENSE_MAX = 14, /* so few slots are one sorted row, without room for each hash */
    SPILL_MIN = 8,
    RANDOM_TRIES = 4096,
};
#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1)

struct segment {
    uint32_t slots;
    uint32_t count;
    uint32_t depth; /* bits of the hash that all its entries have in common */
    uint32_t homes; /* slots that hashes point to; behind them is room for who is pushed on */
    uint64_t slot[];
};

struct members {
    uint32_t magic;
    uint8_t head;
    uint8_t depth; /* of the directory: it has 1 << depth places */
    uint64_t seed;
    uint64_t count;
    size_t memory;
    uint64_t deepest; /* segments as deep as the directory */
    uint64_t drained; /* places of the directory whose segments are gone, from the first */
    struct portrait *portraits; /* NULL nearly always */
    union {
        struct segment *only; /* depth 0: no directory */
        struct segment **all;
    } dir;
};

static uint64_t next_seed = 0x9E3779B97F4A7C15ULL;

void members_set_seed(uint64_t seed)
{
    next_seed = seed;
}

/* ---- places ---- */

static inline uint64_t tag_of(uint64_t slot)
{
    return slot >> ADDRESS_BITS;
}

static inline void *entry_of(uint64_t slot)
{
    return (void *)(uintptr_t)(slot & ADDRESS_MASK); /* NOLINT(performance-no-int-to-ptr) */
}

static inline uint64_t tag_at(uint64_t hash, uint32_t depth)
{
    return hash << depth >> (64 - TAG_BITS);
}

static inline uint32_t home_of(const struct segment *s, uint64_t tag)
{
    return (uint32_t)(tag * s->homes >> TAG_BITS);
}

static inline uint64_t place_of(const struct members *m, uint64_t hash)
{
    return m->depth == 0 ? 0 : hash >> (64 - m->depth);
}

static inline struct segment *segment_at(const struct members *m, uint64_t place)
{
    return m->depth == 0 ? m->dir.only : m->dir.all[place];
}

static inline struct segment *segment_of(const struct members *m, uint64_t hash)
{
    return segment_at(m, place_of(m, hash));
}

uint64_t members_hash(const struct members *m, struct slice name)
{
    return hash_bytes(name.ptr, name.len, m->seed);
}

static inline uint64_t hash_of(const struct members *m, const void *entry)
{
    return members_hash(m, member_name(entry, m->head));
}

/* ---- segments ---- */

static inline size_t segment_bytes(const struct segment *s)
{
    return sizeof(*s) + s->slots * sizeof(s->slot[0]);
}

static struct segment *segment_new(struct members *m, size_t bytes, uint32_t depth)
{
    bytes = object_size_class(MAX(bytes, (size_t)SEGMENT_MIN));
    struct segment *s = mem_zalloc(bytes);
    s->slots = (uint32_t)((bytes - sizeof(*s)) / sizeof(s->slot[0]));
    s->depth = depth;
    s->homes = s->slots <= DENSE_MAX ? 1 : s->slots - s->slots / 16 - SPILL_MIN;
    m->memory += bytes;
    return s;
}

static void segment_free(struct members *m, struct segment *s)
{
    m->memory -= segment_bytes(s);
    mem_free(s);
}

/* Bytes in which `count` entries leave a quarter free. */
static size_t bytes_for(uint64_t count)
{
    return sizeof(struct segment) + (count + count / 3 + 1) * sizeof(uint64_t);
}

/* False: no room at the end. Not counted. */
static inline bool insert(struct segment *s, uint64_t tag, void *entry)
{
    uint32_t i = home_of(s, tag);
    while (i < s->slots && s->slot[i] != 0 && tag_of(s->slot[i]) <= tag) {
        i++;
    }
    uint32_t gap = i;
    while (gap < s->slots && s->slot[gap] != 0) {
        gap++;
    }
    if (gap == s->slots) {
        return false;
    }
    memmove(&s->slot[i + 1], &s->slot[i], (gap - i) * sizeof(s->slot[0]));
    s->slot[i] = tag << ADDRESS_BITS | (uint64_t)(uintptr_t)entry;
    return true;
}

/* Puts a slot behind all others. */
static inline bool append(struct segment *s, uint32_t *end, uint64_t slot)
{
    uint32_t at = MAX(home_of(s, tag_of(slot)), *end);
    if (at >= s->slots) {
        return false;
    }
    s->slot[at] = slot;
    s->count++;
    *end = at + 1;
    return true;
}

static void replace_segment(struct members *m, uint64_t place, struct segment *old,
                            struct segment *now)
{
    if (m->depth == 0) {
        m->dir.only = now;
    } else {
        uint64_t span = UINT64_C(1) << (m->depth - now->depth);
        uint64_t first = place & ~(span - 1);
        for (uint64_t i = 0; i < span; i++) {
            m->dir.all[first + i] = now;
        }
    }
    segment_free(m, old);
}

/* What is in `s`, in a segment of at least `bytes`. */
static struct segment *moved(struct members *m, const struct segment *s, size_t bytes)
{
    for (;;) {
        struct segment *now = segment_new(m, bytes, s->depth);
        uint32_t end = 0;
        bool fits = true;
        for (uint32_t i = 0; fits && i < s->slots; i++) {
            fits = s->slot[i] == 0 || append(now, &end, s->slot[i]);
        }
        if (fits) {
            return now;
        }
        bytes = segment_bytes(now) + 1;
        segment_free(m, now);
    }
}

static void resize(struct members *m, uint64_t place, struct segment *s, size_t bytes)
{
    replace_segment(m, place, s, moved(m, s, bytes));
}

static void double_directory(struct members *m)
{
    uint64_t n = UINT64_C(1) << m->depth;
    struct segment **all = mem_alloc(2 * n * sizeof(struct segment *));
    for (uint64_t i = 0; i < n; i++) {
        all[2 * i] = all[2 * i + 1] = segment_at(m, i);
    }
    if (m->depth > 0) {
        m->memory -= object_size_class(n * sizeof(struct segment *));
        mem_free(m->dir.all);
    }
    m->memory += object_size_class(2 * n * sizeof(struct segment *));
    m->dir.all = all;
    m->depth++;
    m->deepest = 0;
}

/* A half of a segment that splits: more room where chance wants it. */
static void add_to_half(struct members *m, struct segment **half, uint64_t tag, void *entry)
{
    while (!insert(*half, tag, entry)) {
        struct segment *s = *half;
        *half = moved(m, s, segment_bytes(s) + 1);
        segment_free(m, s);
    }
    (*half)->count++;
}

static void split(struct members *m, uint64_t hash)
{
    struct segment *s = segment_of(m, hash);
    if (s->depth == m->depth) {
        double_directory(m);
    }
    uint32_t depth = s->depth + 1;
    uint64_t span = UINT64_C(1) << (m->depth - depth);
    uint64_t first = place_of(m, hash) & ~(2 * span - 1);
    struct segment *half[2] = {segment_new(m, bytes_for(s->count / 2), depth),
                               segment_new(m, bytes_for(s->count / 2), depth)};
    for (uint32_t i = 0; i < s->slots; i++) {
        if (s->slot[i] != 0) {
            void *entry = entry_of(s->slot[i]);
            uint64_t h = hash_of(m, entry);
            add_to_half(m, &half[h << s->depth >> 63], tag_at(h, depth), entry);
        }
    }
    for (uint64_t i = 0; i < 2 * span; i++) {
        m->dir.all[first + i] = half[i >= span];
    }
    m->deepest += depth == m->depth ? 2 : 0;
    segment_free(m, s);
}

static inline bool is_full(const struct segment *s)
{
    return s->count >= s->slots - s->slots / 8;
}

static __attribute__((noinline)) void make_room(struct members *m, uint64_t hash)
{
    struct segment *s = segment_of(m, hash);
    size_t bytes = segment_bytes(s);
    if (bytes < SEGMENT_MAX || s->depth == DEPTH_MAX) {
        resize(m, place_of(m, hash), s, bytes + 1);
    } else {
        split(m, hash);
    }
}

/* ---- shrinking ---- */

static void halve_directory(struct members *m)
{
    uint64_t n = UINT64_C(1) << m->depth;
    struct segment **old = m->dir.all;
    m->memory -= object_size_class(n * sizeof(struct segment *));
    m->depth--;
    if (m->depth == 0) {
        m->dir.only = old[0];
        m->deepest = 1;
    } else {
        n /= 2;
        struct segment **all = mem_alloc(n * sizeof(struct segment *));
        m->memory += object_size_class(n * sizeof(struct segment *));
        m->deepest = 0;
        for (uint64_t i = 0; i < n; i++) {
            all[i] = old[2 * i];
            m->deepest += all[i]->depth == m->depth;
        }
        m->dir.all = all;
    }
    mem_free(old);
}

/* Copies what is in a half of it; bit: the one that parted them. */
static bool append_half(struct segment *to, uint32_t *end, const struct segment *half, uint64_t bit)
{
    for (uint32_t i = 0; i < half->slots; i++) {
        if (half->slot[i] != 0) {
            uint64_t tag = bit << (TAG_BITS - 1) | tag_of(half->slot[i]) >> 1;
            if (!append(to, end, tag << ADDRESS_BITS | (half->slot[i] & ADDRESS_MASK))) {
                return false;
            }
        }
    }
    return true;
}

/* With its other half, if both are nearly empty. */
static bool merge(struct members *m, uint64_t hash, struct segment *s)
{
    if (s->depth == 0) {
        return false;
    }
    uint64_t span = UINT64_C(1) << (m->depth - s->depth);
    uint64_t first = place_of(m, hash) & ~(2 * span - 1);
    struct segment *low = m->dir.all[first];
    struct segment *high = m->dir.all[first + span];
    if (low->depth != high->depth || bytes_for(low->count + high->count) > SEGMENT_MAX / 2) {
        return false;
    }
    struct segment *now = segment_new(m, bytes_for(low->count + high->count), s->depth - 1);
    uint32_t end = 0;
    if (!append_half(now, &end, low, 0) || !append_half(now, &end, high, 1)) {
        segment_free(m, now);
        return false;
    }
    m->deepest -= low->depth == m->depth ? 2 : 0;
    for (uint64_t i = 0; i < 2 * span; i++) {
        m->dir.all[first + i] = now;
    }
    segment_free(m, low);
    segment_free(m, high);
    while (m->depth > 0 && m->deepest == 0) {
        halve_directory(m);
    }
    return true;
}

static __attribute__((noinline)) void shrink(struct members *m, uint64_t hash)
{
    struct segment *s = segment_of(m, hash);
    if (!merge(m, hash, s) && segment_bytes(s) > SEGMENT_MIN) {
        resize(m, place_of(m, hash), s, bytes_for(s->count));
    }
}

/* ---- the table ---- */

struct members *members_new(unsigned head)
{
    struct members *m = mem_alloc(object_size_class(sizeof(*m)));
    *m = (struct members){.magic = MAGIC, .head = (uint8_t)head, .seed = next_seed};
    m->memory = object_size_class(sizeof(*m));
    m->dir.only = segment_new(m, SEGMENT_MIN, 0);
    m->deepest = 1;
    return m;
}

static uint64_t span_of(const struct members *m, const struct segment *s)
{
    return UINT64_C(1) << (m->depth - s->depth);
}

void members_free(struct members **mp)
{
    struct members *m = *mp;
    if (m == NULL) {
        return;
    }
    CHECK_OBJ(m, MAGIC);
    for (uint64_t i = m->drained, n = UINT64_C(1) << m->depth; i < n;) {
        struct segment *s = segment_at(m, i);
        i += span_of(m, s);
        mem_free(s);
    }
    if (m->depth > 0) {
        mem_free(m->dir.all);
    }
    m->magic = 0;
    mem_free(m);
    *mp = NULL;
}

bool members_drain(struct members *m, uint64_t budget, uint64_t *freed)
{
    CHECK_OBJ(m, MAGIC);
    INVARIANT(m->portraits == NULL);
    uint64_t from = *freed;
    uint64_t n = UINT64_C(1) << m->depth;
    while (m->drained < n && *freed - from < budget) {
        struct segment *s = segment_at(m, m->drained);
        for (uint32_t i = 0; i < s->slots; i++) {
            if (s->slot[i] != 0) {
                mem_free(entry_of(s->slot[i]));
            }
        }
        *freed += s->count;
        m->count -= s->count;
        m->drained += span_of(m, s);
        segment_free(m, s);
    }
    return m->drained < n;
}

struct portrait **members_portraits(struct members *m)
{
    return &m->portraits;
}

static inline void before(const struct members *m, uint64_t hash, const void *entry, bool is_new)
{
    if (UNLIKELY(m->portraits != NULL)) {
        portraits_before_member(m->portraits, hash, member_name(entry, m->head),
                                is_new ? NULL : entry);
    }
}

void members_before(const struct members *m, uint64_t hash, const void *entry)
{
    before(m, hash, entry, false);
}

uint64_t members_count(const struct members *m)
{
    return m->count;
}

size_t members_memory(const struct members *m)
{
    return m->memory;
}

/* slots of it: there is none. */
static inline uint32_t search(const struct members *m, const struct segment *s, uint64_t tag,
                              struct slice name)
{
    uint32_t i = home_of(s, tag);
    while (i < s->slots && s->slot[i] != 0 && tag_of(s->slot[i]) < tag) {
        i++;
    }
    for (; i < s->slots && s->slot[i] != 0 && tag_of(s->slot[i]) == tag; i++) {
        if (slice_eq(member_name(entry_of(s->slot[i]), m->head), name)) {
            return i;
        }
    }
    return s->slots;
}

void *members_find(const struct members *m, uint64_t hash, struct slice name)
{
    const struct segment *s = segment_of(m, hash);
    uint32_t at = search(m, s, tag_at(hash, s->depth), name);
    return at == s->slots ? NULL : entry_of(s->slot[at]);
}

void members_add(struct members *m, uint64_t hash, void *entry)
{
    CHECK_OBJ(m, MAGIC);
    INVARIANT(((uintptr_t)entry & ~ADDRESS_MASK) == 0);
    before(m, hash, entry, true);
    for (;;) {
        struct segment *s = segment_of(m, hash);
        if (LIKELY(!is_full(s)) && LIKELY(insert(s, tag_at(hash, s->depth), entry))) {
            s->count++;
            m->count++;
            return;
        }
        make_room(m, hash);
    }
}

void *members_take(struct members *m, uint64_t hash, struct slice name)
{
    CHECK_OBJ(m, MAGIC);
    struct segment *s = segment_of(m, hash);
    uint32_t at = search(m, s, tag_at(hash, s->depth), name);
    if (at == s->slots) {
        return NULL;
    }
    void *entry = entry_of(s->slot[at]);
    before(m, hash, entry, false);
    /* Those behind it that were pushed on come back by one. */
    uint32_t end = at + 1;
    while (end < s->slots && s->slot[end] != 0 && home_of(s, tag_of(s->slot[end])) < end) {
        end++;
    }
    memmove(&s->slot[at], &s->slot[at + 1], (end - at - 1) * sizeof(s->slot[0]));
    s->slot[end - 1] = 0;
    s->count--;
    m->count--;
    if (UNLIKELY(s->count < s->slots / 2)) {
        shrink(m, hash);
    }
    return entry;
}

void members_replace(struct members *m, uint64_t hash, const void *was, void *now)
{
    before(m, hash, was, false);
    struct segment *s = segment_of(m, hash);
    uint64_t tag = tag_at(hash, s->depth);
    uint32_t i = home_of(s, tag);
    while (entry_of(s->slot[i]) != was) {
        i++;
        INVARIANT(i < s->slots);
    }
    s->slot[i] = tag << ADDRESS_BITS | (uint64_t)(uintptr_t)now;
}

/* ---- walks ---- */

void *members_next(const struct members *m, struct members_walk *w)
{
    uint64_t n = UINT64_C(1) << m->depth;
    while (w->segment < n) {
        const struct segment *s = segment_at(m, w->segment);
        while (w->slot < s->slots) {
            uint64_t slot = s->slot[w->slot++];
            if (slot != 0) {
                return entry_of(slot);
            }
        }
        w->slot = 0;
        w->segment += span_of(m, s);
    }
    return NULL;
}

void *members_random(const struct members *m, struct rng *rng)
{
    if (m->count == 0) {
        return NULL;
    }
    /* A place of the directory, then of the largest segment: a segment has as many places as its
     * share of the hashes says, and one that is less deep stands for two that are. */
    uint64_t places = m->depth == 0 ? m->dir.only->slots : 0;
    if (places == 0) {
        places = (SEGMENT_MAX - sizeof(struct segment)) / sizeof(uint64_t);
    }
    for (int i = 0; i < RANDOM_TRIES; i++) {
        uint64_t place = m->depth == 0 ? 0 : rng_next(rng) >> (64 - m->depth);
        const struct segment *s = segment_at(m, place);
        if ((place & (span_of(m, s) - 1)) != 0) {
            continue;
        }
        uint64_t at = rng_below(rng, MAX(places, (uint64_t)s->slots));
        if (at < s->slots && s->slot[at] != 0) {
            return entry_of(s->slot[at]);
        }
    }
    /* Hashes that somebody forged: any. */
    struct members_walk w = {0};
    return members_next(m, &w);
}

uint64_t members_scan(const struct members *m, uint64_t cursor, members_visit_fn *visit, void *arg)
{
    uint64_t hash = cursor << (64 - CURSOR_BITS);
    for (;;) {
        const struct segment *s = segment_of(m, hash);
        uint64_t tag = tag_at(hash, s->depth);
        uint32_t i = home_of(s, tag);
        while (i < s->slots && (s->slot[i] == 0 || tag_of(s->slot[i]) < tag)) {
            i++;
        }
        bool any = i < s->slots;
        uint64_t base = s->depth == 0 ? 0 : hash >> (64 - s->depth);
        uint64_t next = (base + 1) << TAG_BITS; /* the segment behind */
        if (any) {
            tag = tag_of(s->slot[i]);
            for (; i < s->slots && (s->slot[i] == 0 || tag_of(s->slot[i]) == tag); i++) {
                if (s->slot[i] != 0) {
                    visit(arg, entry_of(s->slot[i]));
                }
            }
            next = i < s->slots ? base << TAG_BITS | tag_of(s->slot[i]) : next;
        }
        if (next >> (s->depth + TAG_BITS) != 0) {
            return 0;
        }
        hash = next << (64 - TAG_BITS - s->depth);
        if (any) {
            return hash >> (64 - CURSOR_BITS);
        }
    }
}

/* ---- for tests ---- */

static void check_segment(const struct members *m, const struct segment *s, uint64_t place)
{
    uint32_t count = 0;
    uint64_t last = 0;
    for (uint32_t i = 0; i < s->slots; i++) {
        if (s->slot[i] == 0) {
            continue;
        }
        uint64_t hash = hash_of(m, entry_of(s->slot[i]));
        uint64_t tag = tag_of(s->slot[i]);
        INVARIANT(tag == tag_at(hash, s->depth));
        INVARIANT(tag >= last);
        INVARIANT(s->depth == 0 || hash >> (64 - s->depth) == place >> (m->depth - s->depth));
        INVARIANT(home_of(s, tag) <= i);
        for (uint32_t j = home_of(s, tag); j < i; j++) {
            INVARIANT(s->slot[j] != 0);
        }
        last = tag;
        count++;
    }
    INVARIANT(count == s->count);
}

void members_check(const struct members *m)
{
    CHECK_OBJ(m, MAGIC);
    uint64_t n = UINT64_C(1) << m->depth;
    uint64_t count = 0;
    uint64_t deepest = 0;
    size_t memory = object_size_class(sizeof(*m));
    memory += m->depth > 0 ? object_size_class(n * sizeof(struct segment *)) : 0;
    for (uint64_t i = 0; i < n;) {
        const struct segment *s = segment_at(m, i);
        uint64_t span = span_of(m, s);
        for (uint64_t j = 0; j < span; j++) {
            INVARIANT(segment_at(m, i + j) == s);
        }
        check_segment(m, s, i);
        count += s->count;
        deepest += s->depth == m->depth;
        memory += object_size_class(segment_bytes(s));
        i += span;
    }
    INVARIANT(count == m->count);
    INVARIANT(deepest == m->deepest);
    INVARIANT(memory == m->memory);
}
