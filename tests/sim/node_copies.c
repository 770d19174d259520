// SPDX-License-Identifier: BSD-3-Clause
/* Copies of shards out of a simulated node and into it. Every other key is one whose value is too
 * large for a slice: it goes as a portrait, in parts that are so big that they wait for each other.
 */
#include "common/base/mem.h"

#include "tests/sim/node_priv.h"

#include <string.h>

enum { FILLER = 70 }; /* of a part, in bytes: settings let 100 be on their way */

struct sim_portrait {
    bool used;
    int shard;
    int key;
    struct str was;
    size_t at;
};

struct sim_draft {
    bool used;
    int shard;
    uint64_t number;
    int key;
    struct str bytes;
};

/* Borrowed until the next call, as the contract has it. */
static struct str copied;
static struct repl_portrait given[SIM_KEYS + 1];
static char heads[SIM_KEYS + 1];

static bool is_large(int key)
{
    return key % 2 == 1;
}

static void encode_cell(struct str *to, int key, const struct cell *c)
{
    uint32_t len = (uint32_t)c->bytes.len;
    str_append_char(to, (char)key);
    str_append(to, &len, sizeof(len));
    str_append_slice(to, str_slice(&c->bytes));
}

/* --- source --- */

static void begin_portrait(struct sim_node *n, int shard, int key, struct repl_copied *out)
{
    size_t i = 0;
    while (i < n->n_portraits && n->portraits[i].used) {
        i++;
    }
    if (i == n->n_portraits) {
        n->portraits = mem_realloc(n->portraits, sizeof(n->portraits[0]) * ++n->n_portraits);
    }
    struct sim_portrait *p = &n->portraits[i];
    *p = (struct sim_portrait){.used = true, .shard = shard, .key = key};
    str_append_slice(&p->was, str_slice(&n->shards[shard].cells[key].bytes));
    heads[out->n_portraits] = (char)key;
    given[out->n_portraits] = (struct repl_portrait){.handle = (uint32_t)i,
                                                     .head = slice_of(&heads[out->n_portraits], 1)};
    out->portraits = given;
    out->n_portraits++;
}

static void give(struct sim_node *n, int shard, int key, struct repl_copied *out)
{
    if (is_large(key)) {
        begin_portrait(n, shard, key, out);
    } else {
        encode_cell(&copied, key, &n->shards[shard].cells[key]);
    }
    out->keys++;
    out->bytes = str_slice(&copied);
}

/* One piece in four is one too many for its turn. */
bool copies_time(void *arg)
{
    struct sim_node *n = arg;
    return rng_below(&n->sim->world.rng, 4) != 0;
}

/* Writes are told all the time here. */
void copies_begins(void *arg, int shard)
{
    (void)arg;
    (void)shard;
}

void copies_scan(void *arg, int shard, struct repl_place from, size_t budget,
                 struct repl_copied *out)
{
    struct sim_node *n = arg;
    const struct shard_data *d = &n->shards[shard];
    str_clear(&copied);
    *out = (struct repl_copied){.end = true, .bytes = str_slice(&copied)};
    if (from.db > 0) {
        return;
    }
    for (int i = 0; i <= SIM_KEYS; i++) {
        int k = i == 0 ? SIM_HIDDEN : i - 1; /* in the order of their hashes */
        if (key_hash(k) < from.hash || !d->cells[k].there) {
            continue;
        }
        if (out->keys != 0 && (out->n_portraits > 0 || copied.len >= MIN(budget, (size_t)64))) {
            out->next = (struct repl_place){.db = 0, .hash = key_hash(k)};
            out->end = false;
            break;
        }
        give(n, shard, k, out);
    }
}

void copies_key(void *arg, int shard, struct repl_place at, struct slice key,
                struct repl_copied *out)
{
    (void)at;
    struct sim_node *n = arg;
    str_clear(&copied);
    *out = (struct repl_copied){.bytes = str_slice(&copied)};
    if (n->shards[shard].cells[(int)key.ptr[0]].there) {
        give(n, shard, key.ptr[0], out);
    }
}

bool copies_part(void *arg, uint32_t handle, size_t budget, struct slice *part)
{
    (void)budget;
    static const char filler[FILLER];
    struct sim_node *n = arg;
    struct sim_portrait *p = &n->portraits[handle];
    const struct str *from = &p->was;
    if (SIM_PLANTED(PORTRAIT_LIVE)) {
        from = &n->shards[p->shard].cells[p->key].bytes;
    }
    size_t len = MIN(p->was.len / 3 + 1, from->len - MIN(p->at, from->len));
    uint32_t head = (uint32_t)len;
    str_clear(&copied);
    str_append(&copied, &head, sizeof(head));
    str_append(&copied, from->ptr + MIN(p->at, from->len), len);
    str_append(&copied, filler, sizeof(filler));
    p->at += len;
    *part = str_slice(&copied);
    return p->at < from->len;
}

void copies_part_end(void *arg, uint32_t handle)
{
    struct sim_node *n = arg;
    struct sim_portrait *p = &n->portraits[handle];
    INVARIANT(p->used);
    p->used = false;
    str_fini(&p->was);
}

/* --- target --- */

bool copies_put(void *arg, int shard, struct slice keys)
{
    struct sim_node *n = arg;
    while (keys.len != 0) {
        uint32_t len;
        memcpy(&len, keys.ptr + 1, sizeof(len));
        cell_set(&n->shards[shard], keys.ptr[0], slice_of(keys.ptr + 5, len), true);
        keys = slice_of(keys.ptr + 5 + len, keys.len - 5 - len);
    }
    return true;
}

static struct sim_draft *draft_of(struct sim_node *n, int shard, uint64_t number)
{
    for (size_t i = 0; i < n->n_drafts; i++) {
        struct sim_draft *d = &n->drafts[i];
        if (d->used && d->shard == shard && d->number == number) {
            return d;
        }
    }
    return NULL;
}

bool copies_open(void *arg, int shard, uint64_t number, struct slice head)
{
    struct sim_node *n = arg;
    size_t i = 0;
    while (i < n->n_drafts && n->drafts[i].used) {
        i++;
    }
    if (i == n->n_drafts) {
        n->drafts = mem_realloc(n->drafts, sizeof(n->drafts[0]) * ++n->n_drafts);
    }
    n->drafts[i] =
        (struct sim_draft){.used = true, .shard = shard, .number = number, .key = head.ptr[0]};
    return true;
}

bool copies_add(void *arg, int shard, uint64_t number, struct slice part)
{
    struct sim_draft *d = draft_of(arg, shard, number);
    uint32_t len;
    if (d == NULL) {
        return false;
    }
    memcpy(&len, part.ptr, sizeof(len));
    str_append(&d->bytes, part.ptr + sizeof(len), len);
    return true;
}

bool copies_close(void *arg, int shard, uint64_t number)
{
    struct sim_node *n = arg;
    struct sim_draft *d = draft_of(n, shard, number);
    if (d == NULL) {
        return false;
    }
    cell_set(&n->shards[shard], d->key, str_slice(&d->bytes), true);
    str_fini(&d->bytes);
    d->used = false;
    n->sim->counts.portraits++;
    return true;
}

void copies_discard(struct sim_node *n, int shard)
{
    for (size_t i = 0; i < n->n_drafts; i++) {
        struct sim_draft *d = &n->drafts[i];
        if (d->used && d->shard == shard) {
            str_fini(&d->bytes);
            d->used = false;
        }
    }
}

void copies_fini(struct sim_node *n)
{
    for (int i = 0; i < SIM_SHARDS; i++) {
        copies_discard(n, i);
    }
    for (size_t i = 0; i < n->n_portraits; i++) {
        if (n->portraits[i].used) {
            str_fini(&n->portraits[i].was);
        }
    }
    mem_free(n->portraits);
    mem_free(n->drafts);
    n->portraits = NULL;
    n->drafts = NULL;
    n->n_portraits = n->n_drafts = 0;
}
