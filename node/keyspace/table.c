// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/table_priv.h"

#include "common/base/mem.h"

/* ---- segments ---- */

/* Sizes of a segment in lines, all of them jemalloc's. */
static const uint8_t line_steps[] = {2,  3,  4,  5,  6,  7,  8,  10, 12, 14,  16, 20,
                                     24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128};

static inline unsigned room_for(unsigned buckets_n)
{
    return buckets_n * SLOTS * 230 / 256; /* 90 % full, then it grows */
}

/* The smallest number of buckets that takes `count` keys and some more. */
static unsigned buckets_for(uint64_t count)
{
    uint64_t wanted = count + count / 10 + 1;
    for (size_t i = 0; i < ARRAY_LEN(line_steps); i++) {
        if (room_for(line_steps[i] - 1U) >= wanted) {
            return line_steps[i] - 1U;
        }
    }
    return BUCKETS_MAX;
}

static struct segment *segment_new(struct table *t, unsigned buckets_n, unsigned depth,
                                   unsigned shift)
{
    struct segment *s = mem_zalloc(segment_size(buckets_n));
    s->buckets_n = (uint16_t)buckets_n;
    s->depth = (uint8_t)depth;
    s->shift = (uint8_t)shift;
    s->expire_min = INT64_MAX;
    t->memory += segment_size(buckets_n);
    t->segments++;
    return s;
}

static void segment_free(struct table *t, struct segment *s)
{
    t->memory -= segment_size(s->buckets_n);
    t->segments--;
    mem_free(s);
}

static inline struct bucket *next_bucket(struct segment *s, struct bucket *b)
{
    return ++b == s->buckets + s->buckets_n ? s->buckets : b;
}

/* There must be a free slot. */
static void segment_insert(struct segment *s, uint64_t slot, uint8_t tag, bool expires)
{
    struct bucket *b = &s->buckets[bucket_at(slot_position(slot, s->shift), s->buckets_n)];
    unsigned i;
    while ((i = free_slot(b)) == SLOTS) {
        count_passing(b);
        b = next_bucket(s, b);
    }
    b->slots[i] = slot;
    b->tags[i] = tag;
    if (expires) {
        b->meta |= EXPIRES_BIT;
    }
    s->count++;
}

/* Hangs an empty segment behind `s`, which is full. */
static struct segment *chain(struct table *t, struct segment *s)
{
    struct segment *link = segment_new(t, s->buckets_n, s->depth, s->shift);
    link->more = s->more;
    link->expire_min = s->expire_min;
    s->more = link;
    for (unsigned i = 0; i < s->buckets_n; i++) {
        s->buckets[i].meta |= PASSED_MAX;
        link->buckets[i].meta |= link->more == NULL ? 0 : PASSED_MAX;
    }
    return link;
}

/* Gives an empty link back. Those before it go on saying that keys passed by: that is only slower.
 */
static void unchain(struct table *t, struct segment *head, struct segment *link)
{
    while (head->more != link) {
        head = head->more;
    }
    head->more = link->more;
    segment_free(t, link);
}

/* Moves what is in the chain of `from`, and frees it. `to` has two elements when `parts`: which one
 * is told by the first bit behind from's depth. Objects are not touched: bounds on their expiry
 * that held for the whole are taken for the parts. */
static void move_all(struct table *t, struct segment *from, struct segment *const *to, bool parts)
{
    while (from != NULL) {
        for (unsigned b = 0; b < from->buckets_n; b++) {
            const struct bucket *bucket = &from->buckets[b];
            for (unsigned i = 0; i < SLOTS; i++) {
                if (bucket->tags[i] == 0) {
                    continue;
                }
                uint64_t slot = bucket->slots[i];
                struct segment *s =
                    to[parts ? slot_position(slot, from->shift) >> (POSITION_BITS - 1) : 0];
                while (s->count == (uint32_t)s->buckets_n * SLOTS) {
                    s = s->more == NULL ? chain(t, s) : s->more;
                }
                segment_insert(s, slot, bucket->tags[i], (bucket->meta & EXPIRES_BIT) != 0);
            }
        }
        for (unsigned i = 0; i < (parts ? 2U : 1U); i++) {
            to[i]->expire_min = MIN(to[i]->expire_min, from->expire_min);
        }
        struct segment *more = from->more;
        segment_free(t, from);
        from = more;
    }
}

/* Takes the slots' hash bits from the objects anew, so that they begin `shift` before the depth. */
static void refresh(const struct table *t, struct segment *s, unsigned shift)
{
    for (; s != NULL; s = s->more) {
        for (unsigned b = 0; b < s->buckets_n + 2U; b++) {
            /* Two buckets ahead, some 14 objects in flight. */
            for (unsigned i = 0; b < s->buckets_n && i < SLOTS; i++) {
                __builtin_prefetch(slot_object(s->buckets[b].slots[i]));
            }
            struct bucket *bucket = &s->buckets[b - 2];
            for (unsigned i = 0; b >= 2 && i < SLOTS; i++) {
                if (bucket->tags[i] != 0) {
                    struct object *o = slot_object(bucket->slots[i]);
                    uint64_t hash = t->hash(object_key(o), t->seed);
                    bucket->slots[i] = (uint64_t)(uintptr_t)o | fragment(hash, s->depth, shift)
                                                                    << 48;
                }
            }
        }
        s->shift = (uint8_t)shift;
    }
}

/* ---- the directory's growth ---- */

/* Lets all entries for `prefix`, the first `s->depth` bits of its keys' hashes, point to `s`. */
static void dir_set(struct table *t, uint64_t prefix, struct segment *s)
{
    unsigned below = t->dir_bits - s->depth;
    uint64_t entry = pack(s);
    for (uint64_t i = prefix << below; i < (prefix + 1) << below; i++) {
        t->dir[i] = entry;
    }
}

static void dir_resize(struct table *t, unsigned bits)
{
    uint64_t *old = t->dir;
    unsigned old_bits = t->dir_bits;
    uint64_t size = UINT64_C(1) << bits;
    uint64_t first = 0;
    uint64_t *dir = bits == 0 ? &first : mem_alloc(object_size_class(size * sizeof(*dir)));
    for (uint64_t i = 0; i < size; i++) {
        dir[i] = bits > old_bits ? old[i >> (bits - old_bits)] : old[i << (old_bits - bits)];
    }
    if (bits == 0) {
        t->dir_first = first;
        dir = &t->dir_first;
    } else {
        t->memory += object_size_class(size * sizeof(*dir));
    }
    if (old_bits > 0) {
        t->memory -= object_size_class((sizeof(*old)) << old_bits);
        mem_free(old);
    }
    t->dir = dir;
    t->dir_bits = bits;
    t->deepest = 0;
    for (uint64_t i = 0; i < size; i++) {
        t->deepest += packed_depth(dir[i]) == bits;
    }
}

/* The segment of `hash` anew, for `count` keys. */
static void resegment(struct table *t, uint64_t hash, struct segment *s, uint64_t count)
{
    struct segment *to = segment_new(t, buckets_for(count), s->depth, s->shift);
    move_all(t, s, &to, false);
    dir_set(t, prefix_of(hash, to->depth), to);
}

/* Hashes that differ somewhere let every segment be split long before this; it stops a flood of
 * forged ones from blowing up the directory. */
static bool may_split(const struct table *t, const struct segment *s)
{
    unsigned log = 63 - (unsigned)__builtin_clzll(t->count | 1);
    return s->depth < DEPTH_MAX && s->depth + 3U < log;
}

static void split(struct table *t, uint64_t hash, struct segment *s)
{
    unsigned depth = s->depth + 1U;
    if (s->shift == SHIFT_MAX) {
        refresh(t, s, 0);
    }
    if (s->depth == t->dir_bits) {
        dir_resize(t, t->dir_bits + 1);
    }
    uint64_t counts[2] = {0, 0};
    for (const struct segment *link = s; link != NULL; link = link->more) {
        for (unsigned b = 0; b < link->buckets_n; b++) {
            for (unsigned i = 0; i < SLOTS; i++) {
                if (link->buckets[b].tags[i] != 0) {
                    counts[slot_position(link->buckets[b].slots[i], s->shift) >>
                           (POSITION_BITS - 1)]++;
                }
            }
        }
    }
    unsigned shift = s->shift + 1U;
    struct segment *to[2] = {segment_new(t, buckets_for(counts[0]), depth, shift),
                             segment_new(t, buckets_for(counts[1]), depth, shift)};
    move_all(t, s, to, true);
    uint64_t prefix = prefix_of(hash, depth) & ~UINT64_C(1);
    dir_set(t, prefix, to[0]);
    dir_set(t, prefix | 1, to[1]);
    t->deepest += depth == t->dir_bits ? 2 : 0;
}

/* The two halves of a former segment together again. */
static void merge(struct table *t, uint64_t hash, struct segment *a, struct segment *b)
{
    unsigned depth = a->depth - 1U;
    if (a->shift != b->shift || a->shift == 0) {
        refresh(t, a, 1);
        refresh(t, b, 1);
    }
    t->deepest -= a->depth == t->dir_bits ? 2 : 0;
    struct segment *to =
        segment_new(t, buckets_for((uint64_t)a->count + b->count), depth, a->shift - 1U);
    move_all(t, a, &to, false);
    move_all(t, b, &to, false);
    dir_set(t, prefix_of(hash, depth), to);
    while (t->deepest == 0 && t->dir_bits > 0) {
        dir_resize(t, t->dir_bits - 1);
    }
}

/* After a removal, when a segment without a chain has become much too big. */
static void shrink(struct table *t, uint64_t hash, struct segment *s)
{
    if (s->depth > 0) {
        uint64_t prefix = prefix_of(hash, s->depth) ^ 1;
        struct segment *buddy = unpack(t->dir[prefix << (t->dir_bits - s->depth)]);
        if (buddy->depth == s->depth && buddy->more == NULL &&
            s->count + buddy->count < room_for(BUCKETS_MAX) / 2) {
            merge(t, hash, s, buddy);
            return;
        }
    }
    if (buckets_for(s->count * 3 / 2) < s->buckets_n) {
        resegment(t, hash, s, s->count * 3 / 2);
    }
}

/* ---- life ---- */

struct table *table_new(table_hash_fn *hash, uint64_t seed)
{
    size_t size = object_size_class(sizeof(struct table));
    struct table *t = mem_zalloc(size);
    t->magic = TABLE_MAGIC;
    t->dir = &t->dir_first;
    t->hash = hash;
    t->seed = seed;
    t->memory = size;
    t->expire_min = INT64_MAX;
    t->sweep_min = INT64_MAX;
    t->deepest = 1;
    t->dir_first = pack(segment_new(t, line_steps[0] - 1U, 0, 0));
    return t;
}

void table_reserve(struct table *t, uint64_t count)
{
    INVARIANT(t->count == 0);
    unsigned depth = 0;
    /* Segments three quarters full: hashes are not spread evenly, and the fullest shall not split.
     */
    while (depth < 30 && count >> depth > room_for(BUCKETS_MAX) * 3 / 4) {
        depth++;
    }
    if (depth == 0 || t->dir_bits != 0) {
        return;
    }
    segment_free(t, unpack(t->dir[0]));
    size_t size = sizeof(*t->dir) << depth;
    t->dir = mem_alloc(object_size_class(size));
    t->memory += object_size_class(size);
    t->dir_bits = depth;
    t->deepest = UINT64_C(1) << depth;
    for (uint64_t i = 0; i < t->deepest; i++) {
        t->dir[i] = pack(segment_new(t, buckets_for((count >> depth) + 1), depth, 0));
    }
}

static void free_one(struct object *o, table_large_fn *large, void *arg)
{
    if (large != NULL && o->type != OBJECT_STRING && object_free_effort(o) > TABLE_LARGE) {
        large(arg, o);
    } else {
        object_free(&o);
    }
}

static void free_objects(struct table *t, struct segment *s, table_large_fn *large, void *arg)
{
    for (unsigned b = 0; b < s->buckets_n + 1U; b++) {
        for (unsigned i = 0; b < s->buckets_n && i < SLOTS; i++) {
            __builtin_prefetch(slot_object(s->buckets[b].slots[i]));
        }
        for (unsigned i = 0; b > 0 && i < SLOTS; i++) {
            if (s->buckets[b - 1].tags[i] != 0) {
                struct object *o = slot_object(s->buckets[b - 1].slots[i]);
                t->memory -= object_memory(o);
                free_one(o, large, arg);
            }
        }
    }
}

bool table_free_step(struct table **tp, uint64_t budget, uint64_t *freed, table_large_fn *large,
                     void *arg)
{
    struct table *t = *tp;
    CHECK_OBJ(t, TABLE_MAGIC);
    uint64_t size = UINT64_C(1) << t->dir_bits;
    for (uint64_t done = 0; t->free_next < size && done < budget;) {
        struct segment *s = unpack(t->dir[t->free_next]);
        t->free_next += UINT64_C(1) << (t->dir_bits - s->depth);
        while (s != NULL) {
            struct segment *more = s->more;
            free_objects(t, s, large, arg);
            done += s->count + 1;
            *freed += s->count;
            t->count -= s->count;
            segment_free(t, s);
            s = more;
        }
    }
    if (t->free_next < size) {
        return false;
    }
    if (t->dir_bits > 0) {
        t->memory -= object_size_class(sizeof(*t->dir) << t->dir_bits);
        mem_free(t->dir);
    }
    INVARIANT(t->memory == object_size_class(sizeof(struct table)));
    INVARIANT(t->count == 0);
    t->magic = 0;
    mem_free(t);
    *tp = NULL;
    return true;
}

void table_free(struct table **t)
{
    uint64_t freed = 0;
    if (*t != NULL) {
        INVARIANT(table_free_step(t, UINT64_MAX, &freed, NULL, NULL));
    }
}

uint64_t table_count(const struct table *t)
{
    return t->count;
}

uint64_t table_expires(const struct table *t)
{
    return t->expires;
}

size_t table_memory(const struct table *t)
{
    return t->memory;
}

int64_t table_expire_min(const struct table *t)
{
    return t->expire_min;
}

/* ---- look-ups ---- */

static inline uint64_t *find_slot(const struct table *t, uint64_t hash, struct slice key,
                                  struct bucket **in)
{
    uint64_t entry = t->dir[dir_index(t, hash)];
    unsigned depth = packed_depth(entry);
    unsigned buckets_n = packed_buckets(entry);
    uint64_t bits = fragment(hash, depth, packed_shift(entry));
    uint8_t tag = tag_of(hash);
    struct segment *s = unpack(entry);
    unsigned home = bucket_at(position(hash, depth), buckets_n);
    do {
        struct bucket *b = &s->buckets[home];
        for (unsigned left = buckets_n; left > 0; left--) {
            uint64_t word = control(b);
            for (uint64_t m = match(word, tag); m != 0; m &= m - 1) {
                unsigned i = match_slot(m);
                uint64_t slot = b->slots[i];
                if (slot >> 48 == bits && b->tags[i] == tag) {
                    const struct object *o = slot_object(slot);
                    if (o->key_len == key.len && slice_eq(object_key(o), key)) {
                        *in = b;
                        return &b->slots[i];
                    }
                }
            }
            if (nobody_passed(word)) {
                return NULL;
            }
            b = b == s->buckets + buckets_n - 1 ? s->buckets : b + 1;
        }
        s = s->more;
    } while (s != NULL);
    return NULL;
}

struct object *table_find(const struct table *t, uint64_t hash, struct slice key)
{
    struct bucket *b;
    uint64_t *slot = find_slot(t, hash, key, &b);
    return slot == NULL ? NULL : slot_object(*slot);
}

static inline struct bucket *home_bucket(const struct table *t, uint64_t hash)
{
    uint64_t entry = t->dir[dir_index(t, hash)];
    return &unpack(entry)
                ->buckets[bucket_at(position(hash, packed_depth(entry)), packed_buckets(entry))];
}

void table_prefetch_bucket(const struct table *t, uint64_t hash)
{
    __builtin_prefetch(home_bucket(t, hash));
}

void table_prefetch_object(const struct table *t, uint64_t hash)
{
    const struct bucket *b = home_bucket(t, hash);
    uint64_t m = match(control(b), tag_of(hash));
    if (m != 0) {
        const char *o = (const char *)slot_object(b->slots[match_slot(m)]);
        __builtin_prefetch(o);
        __builtin_prefetch(o + LINE);
    }
}

/* Where an object is that must be in the table; its address is compared, not its key. */
struct found {
    struct segment *segment;
    struct bucket *bucket;
    unsigned i;
};

static struct found find_object(const struct table *t, uint64_t hash, const struct object *o)
{
    uint64_t entry = t->dir[dir_index(t, hash)];
    struct found f = {.segment = unpack(entry)};
    unsigned home = bucket_at(position(hash, packed_depth(entry)), packed_buckets(entry));
    uint64_t slot =
        (uint64_t)(uintptr_t)o | fragment(hash, packed_depth(entry), packed_shift(entry)) << 48;
    for (; f.segment != NULL; f.segment = f.segment->more) {
        f.bucket = &f.segment->buckets[home];
        for (unsigned left = packed_buckets(entry); left > 0; left--) {
            for (f.i = 0; f.i < SLOTS; f.i++) {
                if (f.bucket->slots[f.i] == slot && f.bucket->tags[f.i] != 0) {
                    return f;
                }
            }
            f.bucket = next_bucket(f.segment, f.bucket);
        }
    }
    INVARIANT(!"an object is not in its table");
    return f;
}

/* ---- changes ---- */

static void note_expire(struct table *t, struct segment *s, int64_t at)
{
    t->expires++;
    t->expire_min = MIN(t->expire_min, at);
    t->sweep_min = MIN(t->sweep_min, at);
    s->expire_min = MIN(s->expire_min, at);
}

/* The segment for one more key with that hash. */
static struct segment *make_room(struct table *t, uint64_t hash)
{
    for (;;) {
        struct segment *s = unpack(t->dir[dir_index(t, hash)]);
        if (LIKELY(s->count < room_for(s->buckets_n))) {
            return s;
        }
        if (s->buckets_n < BUCKETS_MAX) {
            resegment(t, hash, s, s->count + 1);
        } else if (may_split(t, s)) {
            split(t, hash, s);
        } else {
            while (s->count == (uint32_t)s->buckets_n * SLOTS) {
                s = s->more == NULL ? chain(t, s) : s->more;
            }
            return s;
        }
    }
}

void table_add(struct table *t, uint64_t hash, struct object *o)
{
    INVARIANT(((uint64_t)(uintptr_t)o & ~ADDRESS_MASK) == 0);
    struct segment *s = make_room(t, hash);
    int64_t at = object_expire(o);
    if (at != OBJECT_NO_EXPIRE) {
        note_expire(t, s, at);
    }
    segment_insert(s, (uint64_t)(uintptr_t)o | fragment(hash, s->depth, s->shift) << 48,
                   tag_of(hash), at != OBJECT_NO_EXPIRE);
    t->count++;
    t->memory += object_memory(o);
}

void table_take(struct table *t, uint64_t hash, struct object *o)
{
    struct found f = find_object(t, hash, o);
    struct segment *s = f.segment;
    struct bucket *home = &s->buckets[bucket_at(position(hash, s->depth), s->buckets_n)];
    for (; home != f.bucket; home = next_bucket(s, home)) {
        uncount_passing(home);
    }
    f.bucket->tags[f.i] = 0;
    f.bucket->slots[f.i] = 0;
    s->count--;
    t->count--;
    t->memory -= object_memory(o);
    t->expires -= object_expire(o) != OBJECT_NO_EXPIRE;
    if (t->expires == 0) {
        t->expire_min = INT64_MAX;
    }
    struct segment *head = unpack(t->dir[dir_index(t, hash)]);
    if (UNLIKELY(head->more != NULL)) {
        if (s != head && s->count == 0) {
            unchain(t, head, s);
        }
    } else if (s->count < room_for(s->buckets_n) / 3) {
        shrink(t, hash, s);
    }
}

struct table_entry table_entry_of(const struct object *o)
{
    return (struct table_entry){
        .address = o, .memory = object_memory(o), .expire = object_expire(o)};
}

void table_changed(struct table *t, uint64_t hash, struct table_entry was, struct object *now)
{
    int64_t at = object_expire(now);
    t->memory += object_memory(now) - was.memory;
    bool expires_anew = at != OBJECT_NO_EXPIRE && at != was.expire;
    t->expires -= was.expire != OBJECT_NO_EXPIRE && at != was.expire;
    if (now == was.address && !expires_anew) {
        return;
    }
    struct found f = find_object(t, hash, was.address);
    f.bucket->slots[f.i] = (f.bucket->slots[f.i] & ~ADDRESS_MASK) | (uint64_t)(uintptr_t)now;
    if (expires_anew) {
        note_expire(t, f.segment, at);
        f.bucket->meta |= EXPIRES_BIT;
    }
}
