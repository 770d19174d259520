// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/backlog.h"

#include "common/base/heap.h"
#include "common/base/mem.h"

#define BACKLOG_MAGIC 0x424b4c31u
#define BLOCK_MIN     1024
#define BLOCK_MAX     (256 * 1024)

struct block {
    struct block *older;
    struct block *newer;
    uint64_t first; /* version */
    uint64_t count;
    int64_t came_us;      /* the first entry */
    int64_t came_last_us; /* the last one */
    size_t len;
    size_t cap;
    char data[];
};

/* Where an entry stands. */
struct spot {
    uint64_t version; /* 0: knows nothing */
    struct block *block;
    size_t off;
};

struct shard_log {
    struct heap_node node; /* by bytes that may be trimmed, most first */
    struct block *oldest;
    struct block *newest;
    uint64_t last;     /* version */
    uint64_t stripped; /* entries up to this version have no effects here */
    int64_t since_us;
    size_t bytes; /* of blocks, heads included */
    bool open;
    /* Readers follow one another: where the last two read from, or to. */
    struct spot spots[2];
    unsigned spot_next;
};

struct backlog {
    uint32_t magic;
    int n_shards;
    size_t max;
    struct backlog_stats stats;
    struct heap trimmable;
    struct shard_log shards[];
};

static struct shard_log *log_of(const struct backlog *b, int shard)
{
    CHECK_OBJ(b, BACKLOG_MAGIC);
    INVARIANT(shard >= 0 && shard < b->n_shards);
    return (struct shard_log *)(uintptr_t)&b->shards[shard];
}

struct backlog *backlog_new(int n_shards, size_t bytes_max)
{
    struct backlog *b =
        mem_zalloc(sizeof(*b) + sizeof(struct shard_log) * (size_t)(n_shards > 0 ? n_shards : 0));
    b->magic = BACKLOG_MAGIC;
    b->n_shards = n_shards;
    b->max = bytes_max;
    return b;
}

static size_t block_bytes(const struct block *k)
{
    return sizeof(*k) + k->cap;
}

static void forget_spots(struct shard_log *l, const struct block *k)
{
    for (size_t i = 0; i < ARRAY_LEN(l->spots); i++) {
        if (l->spots[i].block == k) {
            l->spots[i] = (struct spot){0};
        }
    }
}

static void drop_oldest(struct backlog *b, struct shard_log *l)
{
    struct block *k = l->oldest;
    forget_spots(l, k);
    l->oldest = k->newer;
    if (l->oldest == NULL) {
        l->newest = NULL;
    } else {
        l->oldest->older = NULL;
    }
    l->bytes -= block_bytes(k);
    b->stats.bytes -= block_bytes(k);
    mem_free(k);
}

/* All but the newest block, to which entries are being added, and which readers stand in. */
static void weigh(struct backlog *b, struct shard_log *l)
{
    size_t spare = l->newest == NULL ? 0 : l->bytes - block_bytes(l->newest);
    heap_update(&b->trimmable, &l->node, -(int64_t)spare);
}

/* Until `more` bytes have room. */
static void trim(struct backlog *b, size_t more)
{
    while (b->stats.bytes + more > b->max) {
        struct heap_node *n = heap_min(&b->trimmable);
        if (n == NULL || n->key == 0) {
            return;
        }
        struct shard_log *l = container_of(n, struct shard_log, node);
        drop_oldest(b, l);
        l->since_us = l->oldest->came_us;
        b->stats.blocks_trimmed++;
        weigh(b, l);
    }
}

void backlog_open(struct backlog *b, int shard, uint64_t version, int64_t since_us)
{
    struct shard_log *l = log_of(b, shard);
    while (l->oldest != NULL) {
        drop_oldest(b, l);
    }
    if (!l->open) {
        l->open = true;
        heap_insert(&b->trimmable, &l->node, 0);
    }
    weigh(b, l);
    l->last = version;
    l->stripped = version;
    l->since_us = since_us;
    l->spots[0] = l->spots[1] = (struct spot){0};
}

void backlog_prepend(struct backlog *b, int shard, struct slice older, int64_t since_us,
                     int64_t now_us)
{
    struct shard_log *l = log_of(b, shard);
    struct str here = {0};
    uint64_t first = backlog_first(b, shard);
    uint64_t last = l->last;
    struct entry e;
    for (const struct block *k = l->oldest; k != NULL; k = k->newer) {
        str_append(&here, k->data, k->len);
    }
    entry_read_trusted(older.ptr, &e);
    INVARIANT(e.version < first);
    backlog_open(b, shard, e.version - 1, since_us);
    for (size_t at = 0; at < older.len && l->last + 1 < first;) {
        at += entry_read_trusted(older.ptr + at, &e);
        (void)backlog_add_bytes(b, &e, now_us);
    }
    for (size_t at = 0; at < here.len;) {
        at += entry_read_trusted(here.ptr + at, &e);
        (void)backlog_add_bytes(b, &e, now_us);
    }
    INVARIANT(l->last == last);
    str_fini(&here);
}

void backlog_close(struct backlog *b, int shard)
{
    struct shard_log *l = log_of(b, shard);
    if (l->open) {
        backlog_open(b, shard, 0, INT64_MIN);
        heap_remove(&b->trimmable, &l->node);
        l->open = false;
    }
}

void backlog_free(struct backlog **pb)
{
    struct backlog *b = *pb;
    if (b == NULL) {
        return;
    }
    for (int i = 0; i < b->n_shards; i++) {
        backlog_close(b, i);
    }
    heap_fini(&b->trimmable);
    b->magic = 0;
    mem_free(b);
    *pb = NULL;
}

void backlog_set_max(struct backlog *b, size_t bytes_max)
{
    b->max = bytes_max;
    trim(b, 0);
}

/* Blocks grow with what the shard has in here, so that a shard of few writes costs little and
 * trimming goes in small steps. */
static struct block *add_block(struct backlog *b, struct shard_log *l, size_t need, int64_t now_us)
{
    size_t cap = MIN(MAX(l->bytes / 8, BLOCK_MIN), BLOCK_MAX) - sizeof(struct block);
    cap = MAX(cap, need);
    trim(b, sizeof(struct block) + cap); /* before: the new one may come where these were */
    struct block *k = mem_alloc(sizeof(*k) + cap);
    *k = (struct block){.older = l->newest, .first = l->last + 1, .came_us = now_us, .cap = cap};
    if (l->newest == NULL) {
        l->oldest = k;
    } else {
        l->newest->newer = k;
    }
    l->newest = k;
    l->bytes += block_bytes(k);
    b->stats.bytes += block_bytes(k);
    weigh(b, l);
    trim(b, 0);
    return k;
}

static char *place(struct backlog *b, const struct entry *e, size_t len, int64_t now_us)
{
    struct shard_log *l = log_of(b, e->shard);
    INVARIANT(l->open);
    INVARIANT(e->version == l->last + 1);
    struct block *k = l->newest;
    if (k == NULL || k->cap - k->len < len) {
        k = add_block(b, l, len, now_us);
    }
    char *at = k->data + k->len;
    k->len += len;
    k->count++;
    k->came_last_us = now_us;
    l->last++;
    if (UNLIKELY((e->flags & ENTRY_STRIPPED) != 0)) {
        l->stripped = l->last;
    }
    b->stats.entries_added++;
    return at;
}

const char *backlog_add(struct backlog *b, const struct entry *e, int64_t now_us)
{
    char *at = place(b, e, entry_size(e), now_us);
    entry_write(at, e);
    return at;
}

const char *backlog_add_bytes(struct backlog *b, const struct entry *e, int64_t now_us)
{
    char *at = place(b, e, e->bytes.len, now_us);
    memcpy(at, e->bytes.ptr, e->bytes.len);
    return at;
}

static struct block *block_of(const struct shard_log *l, uint64_t version)
{
    struct block *k = l->newest;
    while (k != NULL && k->first > version) {
        k = k->older;
    }
    return k;
}

static struct spot find(const struct shard_log *l, uint64_t version)
{
    for (size_t i = 0; i < ARRAY_LEN(l->spots); i++) {
        if (l->spots[i].version == version) {
            return l->spots[i];
        }
    }
    struct spot at = {.version = version, .block = block_of(l, version)};
    if (at.block != NULL) {
        uint64_t v;
        for (uint64_t n = version - at.block->first; n > 0; n--) {
            at.off += entry_peek(at.block->data + at.off, &v);
        }
    }
    return at;
}

static void remember(struct shard_log *l, uint64_t version, struct block *k, size_t off)
{
    if (version >= k->first + k->count && k->newer != NULL) {
        k = k->newer;
        off = 0;
    } else if (version >= k->first + k->count && k->cap - k->len < ENTRY_HEAD) {
        return; /* the next one will be in a block that is not there yet */
    }
    for (size_t i = 0; i < ARRAY_LEN(l->spots); i++) {
        if (l->spots[i].version == version) {
            return;
        }
    }
    l->spots[l->spot_next] = (struct spot){.version = version, .block = k, .off = off};
    l->spot_next = (l->spot_next + 1) % ARRAY_LEN(l->spots);
}

struct slice backlog_read(struct backlog *b, int shard, uint64_t version, size_t max_bytes,
                          uint64_t *last)
{
    struct shard_log *l = log_of(b, shard);
    if (version > l->last || version <= l->stripped) {
        return (struct slice){0};
    }
    struct spot at = find(l, version);
    /* A spot at a block's end may have been overtaken by a new block. */
    if (at.block != NULL && at.off >= at.block->len) {
        at.block = at.block->newer;
        at.off = 0;
    }
    if (at.block == NULL) {
        return (struct slice){0};
    }
    const struct block *k = at.block;
    size_t end = k->len;
    *last = k->first + k->count - 1;
    if (end - at.off > max_bytes) {
        size_t len;
        uint64_t v = version;
        end = at.off;
        while ((len = entry_peek(k->data + end, &v)) <= max_bytes - (end - at.off)) {
            end += len;
        }
        if (end == at.off) {
            end += len; /* at least one */
        } else {
            v--;
        }
        *last = v;
    }
    remember(l, version, at.block, at.off);
    remember(l, *last + 1, at.block, end);
    return slice_of(k->data + at.off, end - at.off);
}

uint64_t backlog_first(const struct backlog *b, int shard)
{
    const struct shard_log *l = log_of(b, shard);
    return l->oldest == NULL ? l->last + 1 : l->oldest->first;
}

uint64_t backlog_last(const struct backlog *b, int shard)
{
    return log_of(b, shard)->last;
}

bool backlog_has(const struct backlog *b, int shard, uint64_t version)
{
    const struct shard_log *l = log_of(b, shard);
    return l->open && version > l->stripped && version >= backlog_first(b, shard) &&
           version <= l->last + 1;
}

size_t backlog_bytes_behind(const struct backlog *b, int shard, uint64_t version)
{
    const struct shard_log *l = log_of(b, shard);
    size_t bytes = 0;
    for (const struct block *k = l->newest; k != NULL; k = k->older) {
        if (k->first <= version) {
            uint64_t behind =
                k->first + k->count - 1 > version ? k->first + k->count - 1 - version : 0;
            return bytes + (size_t)((double)k->len * (double)behind / (double)k->count);
        }
        bytes += k->len;
    }
    return bytes;
}

int64_t backlog_time(const struct backlog *b, int shard, uint64_t version)
{
    const struct block *k = block_of(log_of(b, shard), version);
    return k == NULL ? INT64_MIN : k->came_us;
}

int64_t backlog_since(const struct backlog *b, int shard)
{
    return log_of(b, shard)->since_us;
}

void backlog_lane(const struct backlog *b, int shard, uint64_t lane, uint64_t from,
                  int64_t since_us, backlog_visit_fn *visit, void *arg)
{
    const struct shard_log *l = log_of(b, shard);
    const struct block *k = l->newest;
    while (k != NULL && k->older != NULL && k->older->came_last_us >= since_us) {
        k = k->older;
    }
    for (; k != NULL; k = k->newer) {
        for (size_t off = 0; off < k->len;) {
            struct entry e;
            off += entry_read_trusted(k->data + off, &e);
            if (e.lane == lane && e.number >= from) {
                visit(arg, &e);
            }
        }
    }
}

static void strip(const struct block *k, uint64_t version, struct str *to)
{
    for (size_t off = 0; off < k->len;) {
        struct entry e;
        off += entry_read_trusted(k->data + off, &e);
        if (e.version > version) {
            return;
        }
        e.flags |= ENTRY_STRIPPED;
        e.n_effects = 0;
        e.effects = (struct slice){0};
        entry_write(str_reserve(to, entry_size(&e)), &e);
        to->len += entry_size(&e);
    }
}

static size_t stripped_size(const struct block *k)
{
    size_t size = 0;
    for (size_t off = 0; off < k->len;) {
        struct entry e;
        off += entry_read_trusted(k->data + off, &e);
        size += ENTRY_HEAD + e.reply.len;
    }
    return size;
}

void backlog_tail(const struct backlog *b, int shard, uint64_t version, size_t bytes_max,
                  struct str *to, int64_t *since_us)
{
    const struct shard_log *l = log_of(b, shard);
    const struct block *k = l->newest;
    while (k != NULL && k->first > version) {
        k = k->older;
    }
    size_t size = k == NULL ? 0 : stripped_size(k);
    while (k != NULL && k->older != NULL) {
        size += stripped_size(k->older);
        if (size > bytes_max) {
            break;
        }
        k = k->older;
    }
    *since_us = k == NULL || k->older == NULL ? l->since_us : k->came_us; /* NULL: of no use */
    for (; k != NULL; k = k->newer) {
        strip(k, version, to);
    }
}

void backlog_stats(const struct backlog *b, struct backlog_stats *out)
{
    *out = b->stats;
    out->bytes_max = b->max;
}

size_t backlog_shard_bytes(const struct backlog *b, int shard)
{
    return log_of(b, shard)->bytes;
}
