// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/mem.h"
#include "common/base/num.h"

#include "tests/sim/node_priv.h"

#include <string.h>

#define FOLD_AT 512

/* --- cells --- */

static uint64_t cell_digest(const struct shard_data *d, int key)
{
    const struct cell *c = &d->cells[key];
    if (!c->there) {
        return 0;
    }
    uint64_t x =
        c->value.hash * 0x9e3779b97f4a7c15ull + c->value.len + (uint64_t)key * 0x85ebca6bull;
    return x ^ (x >> 29);
}

void cell_set(struct shard_data *d, int key, struct slice bytes, bool there)
{
    struct cell *c = &d->cells[key];
    d->digest ^= cell_digest(d, key);
    str_clear(&c->bytes);
    str_append_slice(&c->bytes, bytes);
    c->there = there;
    c->value = there ? linear_bytes(bytes.ptr, bytes.len) : linear_nil();
    if (!there || !num_parse_i64(bytes, &c->number)) {
        c->number = 0;
    }
    d->digest ^= cell_digest(d, key);
}

void cell_append(struct shard_data *d, int key, struct slice piece)
{
    struct cell *c = &d->cells[key];
    if (!c->there) {
        cell_set(d, key, piece, true);
        return;
    }
    d->digest ^= cell_digest(d, key);
    str_append_slice(&c->bytes, piece);
    c->value = linear_join(c->value, linear_bytes(piece.ptr, piece.len));
    d->digest ^= cell_digest(d, key);
}

void cell_copy(struct shard_data *d, int from)
{
    const struct cell *c = &d->cells[from];
    cell_set(d, SIM_HIDDEN, c->there ? str_slice(&c->bytes) : SLICE(""), c->there);
}

void cells_clear(struct shard_data *d)
{
    for (int k = 0; k <= SIM_KEYS; k++) {
        str_fini(&d->cells[k].bytes);
        d->cells[k] = (struct cell){.value = linear_nil()};
    }
    d->digest = 0;
}

void cells_copy(struct shard_data *to, const struct shard_data *from)
{
    cells_clear(to);
    for (int k = 0; k <= SIM_KEYS; k++) {
        if (from->cells[k].there) {
            cell_set(to, k, str_slice(&from->cells[k].bytes), true);
        }
    }
}

void cells_apply(struct shard_data *d, const struct entry *e)
{
    struct effects it = effects_of(e);
    struct effect ef;
    while (effects_next(&it, &ef)) {
        struct slice argv[3];
        INVARIANT(ef.argc <= ARRAY_LEN(argv));
        effect_args(&ef, argv);
        int key = (unsigned char)argv[1].ptr[0];
        switch (argv[0].ptr[0]) {
        case 'S':
            cell_set(d, key, argv[2], true);
            break;
        case 'A':
            cell_append(d, key, argv[2]);
            break;
        case 'D':
            cell_set(d, key, SLICE(""), false);
            break;
        case 'C':
            cell_copy(d, argv[2].ptr[0]);
            break;
        default:
            INVARIANT(!"an effect");
        }
    }
}

/* --- disk --- */

static void record_free(struct disk_record *r)
{
    str_fini(&r->bytes);
    if (r->state != NULL) {
        cells_clear(&r->state->data);
        mem_free(r->state);
    }
}

void disk_fini(struct sim_disk *d)
{
    for (size_t i = 0; i < d->count; i++) {
        record_free(&d->records[i]);
    }
    mem_free(d->records);
    for (int s = 0; s < SIM_SHARDS; s++) {
        cells_clear(&d->base[s].data);
    }
    *d = (struct sim_disk){0};
}

struct disk_record *disk_add(struct sim_disk *d, enum disk_kind kind, int shard)
{
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 64 : d->cap * 2;
        d->records = mem_realloc(d->records, d->cap * sizeof(*d->records));
    }
    struct disk_record *r = &d->records[d->count++];
    *r = (struct disk_record){.kind = kind, .shard = shard};
    return r;
}

static void replay(struct disk_shard *s, const struct disk_record *r)
{
    struct entry e;
    switch (r->kind) {
    case DISK_ENTRY:
        INVARIANT(entry_read(str_slice(&r->bytes), &e) > 0);
        INVARIANT(s->data.held && s->data.whole);
        INVARIANT(e.version == s->history.version + 1);
        cells_apply(&s->data, &e);
        history_add(&s->history, e.term);
        break;
    case DISK_DISCARD:
        cells_clear(&s->data);
        s->data.held = s->data.whole = false;
        s->history = (struct history){0};
        break;
    case DISK_WHOLE:
        cells_copy(&s->data, &r->state->data);
        s->data.held = s->data.whole = true;
        s->history = r->state->history;
        break;
    default:
        INVARIANT(!"a record");
    }
}

/* Entries of a shard whose copy is under way are not in the picture: WHOLE has them. */
static void fold(struct sim_disk *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct disk_record *r = &d->records[i];
        struct disk_shard *s = &d->base[r->shard];
        if (r->kind != DISK_ENTRY || s->data.whole) {
            replay(s, r);
        }
        record_free(r);
    }
    if (n < d->count) {
        memmove(d->records, d->records + n, (d->count - n) * sizeof(*d->records));
    }
    d->count -= n;
    d->written -= MIN(d->written, n);
    d->synced -= MIN(d->synced, n);
    d->told -= MIN(d->told, n);
    d->syncing -= MIN(d->syncing, n);
}

void disk_fold(struct sim_disk *d)
{
    if (d->synced >= FOLD_AT) {
        fold(d, d->synced);
    }
}

void disk_recover(struct sim_disk *d, size_t keep)
{
    for (size_t i = keep; i < d->count; i++) {
        record_free(&d->records[i]);
    }
    d->count = keep;
    fold(d, keep);
    d->written = d->synced = d->told = d->syncing = 0;
}
