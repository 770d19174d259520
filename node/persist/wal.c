// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/wal.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#include <errno.h>

#define MAGIC         0x77a1f11eU
#define BUFFER_KEEP   (1U << 20) /* a buffer that once grew larger is given back */
#define SYNC_EVERY_MS 1000
#define RETRY_MS      100
#define QUEUE_MAX     4 /* syncs asked for and not yet done; more wait */

struct wal {
    uint32_t magic;
    struct disk *disk;
    struct wal_settings settings; /* policy: as the log says it */
    struct wal_port port;
    struct disk_file *file; /* NULL: the next flush makes one */
    uint64_t nonce;
    uint64_t seq;        /* of `file`, or of the next one */
    uint64_t file_start; /* position of its first record */
    struct str buffer;   /* records from `written` on */
    uint64_t written;
    uint64_t durable;
    uint64_t safe;
    uint64_t marked; /* durable as the last mark says it */
    uint64_t asked;  /* position of the newest sync asked for */
    uint64_t gap;
    int error;             /* of the last write or sync; 0: fine */
    bool started;          /* a file was made */
    bool name_new;         /* of `file`: no sync asked for yet made its name durable */
    bool policy_due;       /* the next record is a file's first: WAL_POLICY comes before it */
    bool sync_failed;      /* `file` is given up with the next flush */
    uint64_t always_until; /* not 0: synced as under `always` until this is durable */
    int64_t synced_ms;     /* everysec: when the last one was asked for */
    int64_t tried_ms;      /* the last try after a failure */
    struct wal_segment *segments;
    size_t n_segments;
    size_t segments_cap;
    unsigned under_way;
    struct wal_stats stats;
};

static void put_number(struct wal *w, enum wal_kind kind, uint64_t v);

static void put_record(struct wal *w, enum wal_kind kind, uint32_t shard, uint64_t term,
                       uint64_t version, struct slice bytes)
{
    if (UNLIKELY(w->policy_due)) {
        /* In each file, for the one before may be trimmed. */
        w->policy_due = false;
        put_number(w, WAL_POLICY, w->settings.policy);
    }
    uint64_t position = wal_end(w);
    size_t need = WAL_RECORD_BYTES + bytes.len;
    char *p = str_reserve(&w->buffer, need);
    put_le32(p + 8, (uint32_t)bytes.len);
    put_le32(p + 12, (uint32_t)kind | shard << 16);
    put_le64(p + 16, term);
    put_le64(p + 24, version);
    if (bytes.len > 0) {
        memcpy(p + WAL_RECORD_BYTES, bytes.ptr, bytes.len);
    }
    put_le64(p, hash_bytes(p + 8, need - 8, wal_record_seed(w->nonce, position)));
    w->buffer.len += need;
    w->stats.records++;
}

static void put_number(struct wal *w, enum wal_kind kind, uint64_t v)
{
    char bytes[8];
    put_le64(bytes, v);
    put_record(w, kind, 0, 0, 0, slice_of(bytes, sizeof(bytes)));
}

/* What each file begins with. */
static void put_shards(struct wal *w)
{
    if (w->port.shards != NULL) {
        struct str list = {0};
        w->port.shards(w->port.arg, &list);
        put_record(w, WAL_SHARDS, 0, 0, 0, str_slice(&list));
        str_fini(&list);
    }
}

static void told(struct wal *w)
{
    if (w->port.progress != NULL) {
        w->port.progress(w->port.arg);
    }
}

bool wal_always(const struct wal *w)
{
    return w->settings.policy == WAL_SYNC_ALWAYS || w->always_until != 0;
}

/* ---- files ---- */

static void add_segment(struct wal *w, struct wal_segment s)
{
    if (w->n_segments == w->segments_cap) {
        w->segments_cap = MAX(w->segments_cap * 2, 8);
        w->segments = mem_realloc(w->segments, w->segments_cap * sizeof(*w->segments));
    }
    w->segments[w->n_segments++] = s;
}

/* The file for what is in the buffer. */
static int open_segment(struct wal *w, int64_t wall_ms)
{
    char name[WAL_NAME_MAX];
    char header[WAL_HEADER_BYTES];
    wal_file_name(name, w->seq);
    wal_encode_header(header, &(struct wal_header){.n_shards = w->settings.n_shards,
                                                   .seq = w->seq,
                                                   .start = w->written,
                                                   .nonce = w->nonce,
                                                   .wall_ms = (uint64_t)wall_ms});
    struct disk_file *f;
    int error = disk_open(w->disk, name, DISK_CREATE, &f);
    if (error != 0) {
        return error;
    }
    error = disk_write(f, 0, header, sizeof(header));
    /* The first file of a process is made safe at once, while nobody waits: later ones that lost
     * their header can then be read with its nonce. */
    if (error == 0 && !w->started) {
        error = disk_sync(f);
        error = error != 0 ? error : disk_sync_dir(w->disk);
    }
    if (error != 0) {
        disk_close(&f);
        (void)disk_remove(w->disk, name);
        return error;
    }
    w->file = f;
    w->file_start = w->written;
    w->name_new = w->started;
    w->started = true;
    add_segment(w, (struct wal_segment){.seq = w->seq, .start = w->written, .end = w->written});
    return 0;
}

static void send_sync(struct wal *w, struct disk_file *f, bool close)
{
    struct wal_sync *job = mem_zalloc(sizeof(*job));
    job->wal = w;
    job->file = f;
    job->name_too = w->name_new;
    job->close = close;
    job->position = w->written;
    w->name_new = false;
    w->asked = w->written;
    w->under_way++;
    w->port.sync(w->port.arg, job);
}

void wal_sync_run(struct wal_sync *job)
{
    job->error = job->name_too ? disk_sync_dir(job->file->disk) : 0;
    if (job->error == 0) {
        job->error = disk_sync(job->file);
    }
}

static void finish_segment(struct wal *w)
{
    if (w->file == NULL) {
        return;
    }
    struct disk_file *f = w->file;
    w->segments[w->n_segments - 1].end = w->written;
    w->file = NULL;
    w->seq++;
    send_sync(w, f, true);
    w->policy_due = w->buffer.len == 0;
    put_shards(w);
}

/* ---- failing ---- */

static void fail(struct wal *w, int error, const char *what)
{
    w->stats.failures++;
    if (w->error == 0) {
        log_event(LOG_WARNING, "log", "%s failed: writes are refused reason=\"%s\"", what,
                  strerror(error));
        w->error = error;
        told(w);
    }
}

static void recovered(struct wal *w)
{
    if (w->error != 0 && !w->sync_failed) {
        w->error = 0;
        log_event(LOG_NOTICE, "log", "the disk takes the log again%s",
                  w->gap != 0 ? ", snapshots of all shards are needed" : "");
        told(w);
    }
}

/* What waits, or is in a file whose sync failed, is given up: only snapshots bring it back. */
static void give_up_tail(struct wal *w)
{
    w->written = wal_end(w);
    w->gap = w->written;
    str_clear(&w->buffer);
}

/* ---- life ---- */

struct wal *wal_new(struct disk *disk, const struct wal_settings *settings,
                    const struct wal_port *port, const struct wal_segment *segments,
                    size_t n_segments, uint64_t position, uint64_t nonce, int64_t wall_ms,
                    int *error)
{
    struct wal *w = mem_zalloc(sizeof(*w));
    w->magic = MAGIC;
    w->disk = disk;
    w->settings = *settings;
    w->port = *port;
    w->nonce = nonce;
    w->seq = n_segments == 0 ? 1 : segments[n_segments - 1].seq + 1;
    w->written = w->durable = w->safe = w->asked = position;
    w->gap = n_segments > 0 && segments[n_segments - 1].end < position ? position : 0;
    for (size_t i = 0; i < n_segments; i++) {
        add_segment(w, segments[i]);
    }
    put_number(w, WAL_POLICY, settings->policy);
    put_shards(w);
    if (!wal_flush(w, wall_ms)) {
        *error = w->error;
        wal_free(&w);
        return NULL;
    }
    *error = 0;
    return w;
}

void wal_free(struct wal **wp)
{
    struct wal *w = *wp;
    if (w == NULL) {
        return;
    }
    CHECK_OBJ(w, MAGIC);
    INVARIANT(w->under_way == 0);
    disk_close(&w->file);
    str_fini(&w->buffer);
    mem_free(w->segments);
    w->magic = 0;
    mem_free(w);
    *wp = NULL;
}

bool wal_close(struct wal **wp)
{
    struct wal *w = *wp;
    CHECK_OBJ(w, MAGIC);
    INVARIANT(w->under_way == 0);
    if (w->policy_due) {
        w->policy_due = false;
        put_number(w, WAL_POLICY, w->settings.policy); /* as it was up to here */
    }
    w->settings.policy = WAL_SYNC_NO; /* no job from here on */
    w->always_until = 0;
    w->settings.segment_bytes = UINT64_MAX;
    bool ok = wal_flush(w, 0) && w->gap == 0;
    if (ok && w->file != NULL) {
        ok = disk_sync(w->file) == 0;
    }
    if (ok) {
        put_number(w, WAL_MARK, w->written);
        w->marked = w->durable; /* WAL_END comes last */
        put_number(w, WAL_END, w->written);
        ok = wal_flush(w, 0) && w->file != NULL && disk_sync(w->file) == 0;
    }
    INVARIANT(w->under_way == 0);
    wal_free(wp);
    return ok;
}

/* ---- writing ---- */

uint64_t wal_append(struct wal *w, enum wal_kind kind, uint32_t shard, uint64_t term,
                    uint64_t version, struct slice bytes)
{
    INVARIANT(bytes.len <= UINT32_MAX);
    INVARIANT(shard <= UINT16_MAX);
    put_record(w, kind, shard, term, version, bytes);
    if (UNLIKELY(w->error != 0) && w->buffer.len > w->settings.buffer_max) {
        log_event(LOG_WARNING, "log", "more waits than is kept: given up bytes=%zu", w->buffer.len);
        finish_segment(w);
        give_up_tail(w);
        w->policy_due = true;
    }
    return wal_end(w);
}

static void sync_if_due(struct wal *w)
{
    if (w->file != NULL && w->written > w->asked && w->under_way == 0 && !w->sync_failed) {
        send_sync(w, w->file, false);
    }
}

static bool write_buffer(struct wal *w, int64_t wall_ms)
{
    int error = 0;
    if (w->file == NULL) {
        error = open_segment(w, wall_ms);
    }
    uint64_t at = WAL_HEADER_BYTES + w->written - w->file_start;
    if (error == 0) {
        error = disk_write(w->file, at, w->buffer.ptr, w->buffer.len);
        if (error != 0) {
            (void)disk_truncate(w->file, at); /* the written part gives its room back */
        }
    }
    if (error != 0) {
        fail(w, error, "writing the log");
        return false;
    }
    w->stats.writes++;
    w->written += w->buffer.len;
    w->segments[w->n_segments - 1].end = w->written;
    if (w->buffer.cap > BUFFER_KEEP) {
        str_fini(&w->buffer);
    }
    str_clear(&w->buffer);
    recovered(w);
    return true;
}

bool wal_flush(struct wal *w, int64_t wall_ms)
{
    CHECK_OBJ(w, MAGIC);
    if (w->buffer.len == 0) {
        return w->error == 0;
    }
    if (UNLIKELY(w->sync_failed)) {
        return false; /* until its file is closed and wal_tick has begun a new one */
    }
    if (w->durable > w->marked) {
        w->marked = w->durable;
        put_number(w, WAL_MARK, w->durable);
    }
    if (!write_buffer(w, wall_ms)) {
        return false;
    }
    if (w->written - w->file_start >= w->settings.segment_bytes && w->under_way < QUEUE_MAX) {
        finish_segment(w);
    } else if (wal_always(w)) {
        sync_if_due(w);
    }
    return true;
}

void wal_sync(struct wal *w)
{
    sync_if_due(w);
}

void wal_synced(struct wal_sync *job)
{
    struct wal *w = job->wal;
    CHECK_OBJ(w, MAGIC);
    INVARIANT(w->under_way > 0);
    w->under_way--;
    w->stats.syncs++;
    w->stats.sync_us_last = job->took_us;
    w->stats.sync_us_max = MAX(w->stats.sync_us_max, job->took_us);
    if (job->error != 0) {
        /* What the system had taken may be gone, and a second sync would not tell. */
        fail(w, job->error, "syncing the log");
        w->sync_failed = true;
    }
    bool moved = false;
    if (!w->sync_failed && job->position > w->safe) {
        w->safe = job->position;
        moved = true;
    }
    if (!w->sync_failed && w->gap == 0 && job->position > w->durable) {
        w->durable = job->position;
        moved = true;
    }
    if (w->always_until != 0 && w->durable >= w->always_until) {
        w->always_until = 0;
    }
    if (job->close) {
        disk_close(&job->file);
    }
    mem_free(job);
    if (moved) {
        told(w);
    }
    if (wal_always(w)) {
        sync_if_due(w);
    }
}

/* The file whose sync failed is left behind, and what it held of the tail with it. */
static void start_over(struct wal *w)
{
    if (w->file != NULL) {
        disk_close(&w->file);
        w->name_new = false;
        w->segments[w->n_segments - 1].end = w->written;
        w->seq++;
    }
    give_up_tail(w);
    w->policy_due = false;
    put_number(w, WAL_POLICY, w->settings.policy);
    put_shards(w);
    w->sync_failed = false;
}

void wal_tick(struct wal *w, int64_t now_ms, int64_t wall_ms)
{
    CHECK_OBJ(w, MAGIC);
    if (w->error != 0 && now_ms - w->tried_ms >= RETRY_MS) {
        w->tried_ms = now_ms;
        if (w->sync_failed && w->under_way == 0) {
            start_over(w);
        }
    }
    if (w->buffer.len > 0 && (w->error == 0 || w->tried_ms == now_ms)) {
        (void)wal_flush(w, wall_ms);
    }
    if (w->settings.policy == WAL_SYNC_EVERYSEC && w->under_way == 0 &&
        now_ms - w->synced_ms >= SYNC_EVERY_MS) {
        w->synced_ms = now_ms;
        sync_if_due(w);
    }
}

void wal_set_policy(struct wal *w, enum wal_policy policy)
{
    if (w->settings.policy != policy) {
        bool weaker = wal_always(w) && policy != WAL_SYNC_ALWAYS;
        w->settings.policy = policy;
        put_number(w, WAL_POLICY, policy);
        w->always_until = weaker ? wal_end(w) : 0;
    }
}

void wal_rotate(struct wal *w)
{
    if (w->buffer.len == 0 && w->error == 0) {
        finish_segment(w);
    }
}

void wal_trim(struct wal *w, uint64_t position)
{
    size_t keep = 0;
    /* The last one is written to; and one must stay to tell where the log goes on. */
    while (keep + 1 < w->n_segments && w->segments[keep].end <= position) {
        char name[WAL_NAME_MAX];
        wal_file_name(name, w->segments[keep].seq);
        int error = 0;
        if (w->port.remove != NULL) {
            w->port.remove(w->port.arg, name);
        } else {
            error = disk_remove(w->disk, name);
        }
        if (error != 0 && error != ENOENT) {
            log_event(LOG_WARNING, "log", "cannot remove %s reason=\"%s\"", name, strerror(error));
            break;
        }
        keep++;
    }
    memmove(w->segments, w->segments + keep, (w->n_segments - keep) * sizeof(*w->segments));
    w->n_segments -= keep;
    if (w->gap != 0 && position >= w->gap) {
        w->gap = 0;
        log_event(LOG_NOTICE, "log", "all shards have snapshots: the log is whole again");
        w->durable = MAX(w->durable, w->safe);
        if (w->durable >= w->always_until) {
            w->always_until = 0;
        }
        told(w);
    }
}

/* ---- telling ---- */

uint64_t wal_end(const struct wal *w)
{
    return w->written + w->buffer.len;
}

uint64_t wal_written(const struct wal *w)
{
    return w->written;
}

uint64_t wal_durable(const struct wal *w)
{
    return w->durable;
}

uint64_t wal_start(const struct wal *w)
{
    return w->n_segments == 0 ? w->written : w->segments[0].start;
}

uint64_t wal_safe(const struct wal *w)
{
    return w->safe;
}

bool wal_ok(const struct wal *w)
{
    return w->error == 0 && w->gap == 0;
}

int wal_error(const struct wal *w)
{
    return w->error != 0 ? w->error : w->gap != 0 ? EIO : 0;
}

uint64_t wal_gap(const struct wal *w)
{
    return w->gap;
}

uint64_t wal_asked(const struct wal *w)
{
    return w->gap != 0 ? 0 : w->asked;
}

bool wal_syncing(const struct wal *w)
{
    return w->under_way > 0;
}

void wal_stats(const struct wal *w, struct wal_stats *out)
{
    *out = w->stats;
    out->segments = w->n_segments;
    out->bytes_kept = w->written - wal_start(w);
}
