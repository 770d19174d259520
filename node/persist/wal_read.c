// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/wal_read.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdlib.h>

#define WINDOW (1U << 20) /* bytes read at a time */

/* One file under way. */
struct source {
    struct disk_file *file;
    uint64_t size;
    uint64_t at; /* offset in the file of the next record */
    struct wal_header header;
    char *window; /* bytes of the file from `window_at` on */
    size_t window_len;
    size_t window_cap;
    uint64_t window_at;
};

struct reading {
    struct disk *disk;
    const struct wal_visitor *visitor;
    uint64_t from;
    struct wal_found *found;
    bool first;    /* the file under way is its process's first, or the first that is left */
    uint64_t mark; /* the highest position that some record says was durable */
    int error;
};

/* ---- bytes ---- */

/* `n` bytes at offset `at`; NULL if the file ends before, or the disk failed (*error). */
static const char *look(struct source *s, uint64_t at, size_t n, int *error)
{
    if (at + n > s->size || at + n < at) {
        return NULL;
    }
    if (at < s->window_at || at + n > s->window_at + s->window_len) {
        size_t want = (size_t)MIN((uint64_t)MAX(n, (size_t)WINDOW), s->size - at);
        if (want > s->window_cap) {
            mem_free(s->window);
            s->window = mem_alloc(want);
            s->window_cap = want;
        }
        s->window_at = at;
        s->window_len = 0;
        int e = disk_read(s->file, at, s->window, want, &s->window_len);
        if (e != 0) {
            *error = e;
            s->window_len = 0;
            return NULL;
        }
        if (s->window_len < n) {
            return NULL;
        }
    }
    return s->window + (at - s->window_at);
}

static uint64_t position_of(const struct source *s, uint64_t at)
{
    return s->header.start + at - WAL_HEADER_BYTES;
}

static bool plausible(unsigned kind, uint32_t shard, uint32_t n_shards)
{
    return kind >= WAL_ENTRY && kind < WAL_KINDS && shard < n_shards;
}

/* The record at s->at. False: there is no whole one. */
static bool next_record(struct source *s, struct wal_record *r, int *error)
{
    const char *p = look(s, s->at, WAL_RECORD_BYTES, error);
    if (p == NULL) {
        return false;
    }
    uint32_t len = get_le32(p + 8);
    uint32_t kind_shard = get_le32(p + 12);
    if (!plausible(kind_shard & 0xffff, kind_shard >> 16, s->header.n_shards)) {
        return false;
    }
    p = look(s, s->at, WAL_RECORD_BYTES + (size_t)len, error);
    if (p == NULL) {
        return false;
    }
    uint64_t seed = wal_record_seed(s->header.nonce, position_of(s, s->at));
    if (get_le64(p) != hash_bytes(p + 8, WAL_RECORD_BYTES - 8 + (size_t)len, seed)) {
        return false;
    }
    *r = (struct wal_record){.kind = (enum wal_kind)(kind_shard & 0xffff),
                             .shard = kind_shard >> 16,
                             .position = position_of(s, s->at),
                             .term = get_le64(p + 16),
                             .version = get_le64(p + 24),
                             .bytes = slice_of(p + WAL_RECORD_BYTES, len)};
    r->end = r->position + WAL_RECORD_BYTES + len;
    s->at += WAL_RECORD_BYTES + (uint64_t)len;
    return r->kind == WAL_ENTRY || r->kind == WAL_RESET || r->kind == WAL_SHARDS ||
           r->kind == WAL_SNAPSHOT || len == (r->kind == WAL_CLOCK ? 16 : 8);
}

/* ---- files ---- */

static int open_source(struct reading *r, struct source *s, uint64_t seq, bool *good)
{
    char name[WAL_NAME_MAX];
    wal_file_name(name, seq);
    *s = (struct source){.at = WAL_HEADER_BYTES};
    *good = false;
    int error = disk_open(r->disk, name, DISK_READ, &s->file);
    if (error != 0) {
        return error;
    }
    error = disk_size(s->file, &s->size);
    const char *p = error != 0 ? NULL : look(s, 0, WAL_HEADER_BYTES, &error);
    *good = p != NULL && wal_decode_header(p, &s->header) && s->header.seq == seq &&
            s->header.n_shards > 0 && s->header.n_shards <= UINT16_MAX;
    return error;
}

static void close_source(struct source *s)
{
    disk_close(&s->file);
    mem_free(s->window);
    s->window = NULL;
}

/* Any mark in the bytes from `at` on, at whatever offset: raises r->mark. */
static void look_for_marks(struct reading *r, struct source *s, uint64_t at)
{
    const size_t size = WAL_RECORD_BYTES + 8;
    for (; r->error == 0 && at + size <= s->size; at++) {
        const char *p = look(s, at, size, &r->error);
        if (p == NULL) {
            return;
        }
        unsigned kind = get_le32(p + 12);
        if (get_le32(p + 8) != 8 || (kind != WAL_MARK && kind != WAL_END)) {
            continue;
        }
        uint64_t seed = wal_record_seed(s->header.nonce, position_of(s, at));
        if (get_le64(p) == hash_bytes(p + 8, size - 8, seed)) {
            r->mark = MAX(r->mark, get_le64(p + WAL_RECORD_BYTES));
        }
    }
}

static void note_damage(struct reading *r, uint64_t seq, uint64_t offset, uint64_t until)
{
    struct wal_found *f = r->found;
    f->holes++;
    if (f->damage[0] == '\0') {
        snprintf(f->damage, sizeof(f->damage),
                 "file log.%016llx is damaged at byte %llu (position %llu)",
                 (unsigned long long)seq, (unsigned long long)offset, (unsigned long long)f->end);
    }
    if (r->visitor->hole != NULL) {
        r->visitor->hole(r->visitor->arg, until);
    }
}

static void take_record(struct reading *r, const struct wal_record *rec)
{
    struct wal_found *f = r->found;
    f->orderly = false;
    switch (rec->kind) {
    case WAL_MARK:
        r->mark = MAX(r->mark, get_le64(rec->bytes.ptr));
        break;
    case WAL_END:
        r->mark = MAX(r->mark, get_le64(rec->bytes.ptr));
        f->orderly = true;
        break;
    case WAL_POLICY: {
        bool always = get_le64(rec->bytes.ptr) == WAL_SYNC_ALWAYS;
        /* Each file begins with it; only with a new process does it begin anew. */
        bool first =
            r->first && f->n_segments > 0 && f->segments[f->n_segments - 1].start == rec->position;
        f->always = first ? always : f->always && always;
        break;
    }
    case WAL_ENTRY:
    case WAL_RESET:
    case WAL_SHARDS:
    case WAL_SNAPSHOT:
    case WAL_CLOCK:
        if (rec->end > r->from) {
            r->visitor->record(r->visitor->arg, rec);
        }
        break;
    case WAL_KINDS:
        break;
    }
    f->records++;
    f->end = rec->end;
}

static void add_segment(struct wal_found *f, struct wal_segment s)
{
    f->segments = mem_realloc(f->segments, (f->n_segments + 1) * sizeof(*f->segments));
    f->segments[f->n_segments++] = s;
}

/* ---- which files there are ---- */

struct names {
    uint64_t *seqs;
    size_t n;
};

static void collect_name(void *arg, const char *name)
{
    struct names *list = arg;
    uint64_t seq;
    if (wal_parse_name(name, &seq)) {
        list->seqs = mem_realloc(list->seqs, (list->n + 1) * sizeof(*list->seqs));
        list->seqs[list->n++] = seq;
    }
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- the end of what can be read ---- */

static uint64_t known_durable(const struct reading *r)
{
    return MAX(r->mark, r->visitor->durable);
}

/* Whether anything in file i and those behind it says that there was something at `position`. */
static bool later_mark(struct reading *r, const struct names *list, size_t i, uint64_t position)
{
    for (size_t k = i; k < list->n && r->error == 0 && known_durable(r) <= position; k++) {
        struct source later;
        bool good;
        r->error = open_source(r, &later, list->seqs[k], &good);
        struct wal_record rec;
        while (good && r->error == 0 && next_record(&later, &rec, &r->error)) {
            if (rec.kind == WAL_MARK || rec.kind == WAL_END) {
                r->mark = MAX(r->mark, get_le64(rec.bytes.ptr));
            }
        }
        close_source(&later);
    }
    return known_durable(r) > position;
}

/* Whether anything behind the break in file i says that there was more. `s` is that file, at the
 * offset of the break; s->header.nonce is right. */
static bool was_durable(struct reading *r, const struct names *list, size_t i, struct source *s,
                        uint64_t at, uint64_t position)
{
    look_for_marks(r, s, at);
    return later_mark(r, list, i + 1, position);
}

/* Takes the torn tail away: the rest of file i from `offset` on, and the files behind it. */
static void cut_tail(struct reading *r, const struct names *list, size_t i, uint64_t offset)
{
    for (size_t k = list->n; k-- > i && r->error == 0;) {
        char name[WAL_NAME_MAX];
        wal_file_name(name, list->seqs[k]);
        struct disk_file *f;
        uint64_t size = 0;
        r->error = disk_open(r->disk, name, DISK_EDIT, &f);
        if (r->error == 0) {
            r->error = disk_size(f, &size);
        }
        uint64_t keep = k == i ? offset : 0;
        r->found->torn_bytes += size > keep ? size - keep : 0;
        if (r->error == 0 && keep > 0 && size > keep) {
            r->error = disk_truncate(f, keep);
            r->error = r->error != 0 ? r->error : disk_sync(f);
        }
        disk_close(&f);
        if (r->error == 0 && keep == 0) {
            r->error = disk_remove(r->disk, name);
        }
    }
    if (r->error == 0) {
        r->error = disk_sync_dir(r->disk);
    }
}

/* ---- all of it ---- */

enum outcome { NEXT_FILE, STOP };

static enum outcome broken(struct reading *r, const struct names *list, size_t i, struct source *s,
                           uint64_t offset, uint64_t keep)
{
    struct wal_found *f = r->found;
    bool durable = was_durable(r, list, i, s, offset, f->end);
    if (r->error != 0) {
        return STOP;
    }
    if (!durable) {
        cut_tail(r, list, i, keep);
        return STOP;
    }
    f->orderly = false;
    f->always = false;
    if (i + 1 == list->n) {
        note_damage(r, list->seqs[i], offset, UINT64_MAX);
        f->end = MAX(known_durable(r), position_of(s, s->size));
    } /* else the next file begins elsewhere than where this one ended, and that is noticed */
    return NEXT_FILE;
}

/* A file without a header that holds: a file that was being made when the process ended, or damage.
 */
static enum outcome headless(struct reading *r, const struct names *list, size_t i,
                             struct source *s, uint64_t nonce)
{
    struct wal_found *f = r->found;
    bool first = f->n_segments == 0 || f->orderly;
    if (s->size <= WAL_HEADER_BYTES && i + 1 == list->n) {
        cut_tail(r, list, i, 0);
        return STOP;
    }
    if (!first && r->error == 0) {
        s->header = (struct wal_header){.start = f->end, .nonce = nonce, .n_shards = f->n_shards};
        return broken(r, list, i, s, WAL_HEADER_BYTES, 0);
    }
    f->orderly = false;
    f->always = false;
    note_damage(r, list->seqs[i], 0, i + 1 == list->n ? UINT64_MAX : f->end);
    f->end += s->size;
    return NEXT_FILE;
}

static enum outcome read_file(struct reading *r, const struct names *list, size_t i,
                              struct source *s, bool good, uint64_t *nonce)
{
    struct wal_found *f = r->found;
    if (!good || (f->n_segments > 0 && s->header.start < f->end) ||
        (f->n_shards != 0 && f->n_shards != s->header.n_shards)) {
        return headless(r, list, i, s, *nonce);
    }
    if (f->n_segments > 0 && s->header.start != f->end) {
        /* The end of the file before is missing. */
        bool durable = later_mark(r, list, i, f->end);
        if (!durable && r->error == 0) {
            cut_tail(r, list, i, 0);
        }
        if (!durable) {
            return STOP;
        }
        f->orderly = false;
        f->always = false;
        note_damage(r, list->seqs[i], 0, s->header.start);
    }
    r->first = f->n_segments == 0 || *nonce != s->header.nonce;
    *nonce = s->header.nonce;
    f->n_shards = s->header.n_shards;
    if (f->n_segments == 0) {
        f->start = s->header.start;
    }
    f->end = s->header.start;
    add_segment(f, (struct wal_segment){list->seqs[i], f->end, f->end});
    struct wal_record rec;
    uint64_t at = s->at;
    while (next_record(s, &rec, &r->error)) {
        take_record(r, &rec);
        at = s->at;
    }
    f->segments[f->n_segments - 1].end = f->end;
    if (r->error != 0) {
        return STOP;
    }
    return at == s->size ? NEXT_FILE : broken(r, list, i, s, at, at);
}

/* What was read may so far be in the system's memory only, of a process that was killed: it is made
 * durable before anything is built on it. */
static int settle(struct reading *r)
{
    const struct wal_found *f = r->found;
    int error = 0;
    for (size_t i = f->n_segments; i-- > 0 && error == 0 && f->segments[i].end > r->mark;) {
        char name[WAL_NAME_MAX];
        struct disk_file *file;
        wal_file_name(name, f->segments[i].seq);
        error = disk_open(r->disk, name, DISK_EDIT, &file);
        if (error == 0) {
            error = disk_sync(file);
            disk_close(&file);
        }
    }
    return error != 0 ? error : disk_sync_dir(r->disk);
}

int wal_read(struct disk *disk, uint64_t from, const struct wal_visitor *visitor,
             struct wal_found *found)
{
    *found = (struct wal_found){0};
    struct reading r = {.disk = disk, .visitor = visitor, .from = from, .found = found};
    struct names list = {0};
    r.error = disk_list(disk, collect_name, &list);
    if (list.n > 0) {
        qsort(list.seqs, list.n, sizeof(*list.seqs), by_seq);
    }
    uint64_t nonce = 0;
    for (size_t i = 0; i < list.n && r.error == 0; i++) {
        struct source s;
        bool good;
        r.error = open_source(&r, &s, list.seqs[i], &good);
        enum outcome what = STOP;
        if (r.error == 0) {
            what = read_file(&r, &list, i, &s, good, &nonce);
        }
        close_source(&s);
        if (what == STOP) {
            break;
        }
    }
    mem_free(list.seqs);
    return r.error != 0 ? r.error : settle(&r);
}

void wal_found_fini(struct wal_found *f)
{
    mem_free(f->segments);
    *f = (struct wal_found){0};
}
