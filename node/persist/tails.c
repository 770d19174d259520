// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/tails.h"

#include "node/log/entry.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

struct tail {
    struct str bytes;
    uint64_t last; /* version of the last one */
    uint64_t lost; /* what came before this position, and is not in `bytes`, is not known */
    size_t half;   /* where the second half begins, once there is more than is to be kept; 0 */
    uint64_t half_position;
};

struct clock {
    uint64_t position;
    int64_t us;
};

struct tails {
    int n_shards;
    size_t bytes_max;
    uint64_t boot;
    struct tail *of;
    struct clock *clocks; /* of this boot, rising */
    size_t n_clocks;
    size_t cap_clocks;
};

struct tails *tails_new(int n_shards, size_t bytes_max, uint64_t boot)
{
    struct tails *t = mem_zalloc(sizeof(*t));
    t->n_shards = n_shards;
    t->bytes_max = bytes_max;
    t->boot = boot;
    t->of = mem_zalloc((size_t)n_shards * sizeof(*t->of));
    return t;
}

void tails_free(struct tails **pt)
{
    struct tails *t = *pt;
    *pt = NULL;
    if (t == NULL) {
        return;
    }
    for (int i = 0; i < t->n_shards; i++) {
        str_fini(&t->of[i].bytes);
    }
    mem_free(t->of);
    mem_free(t->clocks);
    mem_free(t);
}

static void forget(struct tail *l, uint64_t position)
{
    str_clear(&l->bytes);
    l->last = 0;
    l->lost = position;
    l->half = 0;
}

void tails_begin(struct tails *t, uint64_t position)
{
    tails_hole(t, position);
}

void tails_hole(struct tails *t, uint64_t position)
{
    for (int i = 0; i < t->n_shards; i++) {
        forget(&t->of[i], position);
    }
}

void tails_reset(struct tails *t, int shard, uint64_t position)
{
    forget(&t->of[shard], position);
}

static void cut_front(struct tail *l)
{
    memmove(l->bytes.ptr, l->bytes.ptr + l->half, l->bytes.len - l->half);
    l->bytes.len -= l->half;
    l->lost = l->half_position;
    l->half = 0;
}

void tails_entry(struct tails *t, int shard, uint64_t version, uint64_t position,
                 struct slice bytes)
{
    struct tail *l = &t->of[shard];
    if (bytes.len < ENTRY_HEAD || get_le32(bytes.ptr) != bytes.len) {
        forget(l, position);
        return;
    }
    if (l->last != 0 && version != l->last + 1) {
        forget(l, position);
    }
    if (bytes.len > t->bytes_max) {
        forget(l, position + 1);
        l->last = version;
        return;
    }
    if (l->half == 0 && l->bytes.len + bytes.len > t->bytes_max) {
        l->half = l->bytes.len;
        l->half_position = position;
    }
    str_append_slice(&l->bytes, bytes);
    l->last = version;
    if (l->bytes.len > 2 * t->bytes_max) {
        cut_front(l);
    }
}

void tails_clock(struct tails *t, uint64_t position, struct slice bytes)
{
    if (bytes.len != TAILS_CLOCK_BYTES || t->boot == 0 || get_le64(bytes.ptr) != t->boot) {
        return;
    }
    if (t->n_clocks == t->cap_clocks) {
        t->cap_clocks = MAX(t->cap_clocks * 2, (size_t)64);
        t->clocks = mem_realloc(t->clocks, t->cap_clocks * sizeof(*t->clocks));
    }
    t->clocks[t->n_clocks++] =
        (struct clock){.position = position, .us = (int64_t)get_le64(bytes.ptr + 8)};
}

void tails_clock_write(char to[TAILS_CLOCK_BYTES], uint64_t boot, int64_t now_us)
{
    put_le64(to, boot);
    put_le64(to + 8, (uint64_t)now_us);
}

bool tails_of(const struct tails *t, int shard, uint64_t version, struct slice *entries,
              int64_t *since_us)
{
    const struct tail *l = &t->of[shard];
    if (l->bytes.len > 0 && l->last != version) {
        return false;
    }
    size_t low = 0;
    size_t high = t->n_clocks;
    while (low < high) { /* the first that was written behind what is not here */
        size_t mid = low + (high - low) / 2;
        if (t->clocks[mid].position >= l->lost) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    if (low == t->n_clocks) {
        return false;
    }
    *since_us = t->clocks[low].us;
    *entries = str_slice(&l->bytes);
    return true;
}
