// SPDX-License-Identifier: BSD-3-Clause
/* Snapshots and dumps of a node: what is saved when, in slices of the loop; SAVE, BGSAVE, reload,
 * import. One snapshot runs at a time; the shard whose last one is oldest comes first. */
#include "node/keyspace/clock.h"
#include "node/keyspace/effect.h"
#include "node/serve/durable_priv.h"
#include "node/serve/follow.h"
#include "node/serve/replicate.h"

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/disk_posix.h"
#include "common/io/ticks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STEP_BYTES   (64U << 10)
#define SLICE_US     1000 /* of the loop at a time */
#define SLICE_GAP_MS 1    /* between slices */
#define RETRY_MS     5000

/* --- jobs --- */

struct file_job {
    struct job job;
    struct durable *d;
    struct snapshot_job *snapshot;
    struct rdb_job *rdb;
};

static void run_file(struct job *j)
{
    struct file_job *job = container_of(j, struct file_job, job);
    if (job->snapshot != NULL) {
        snapshot_job_run(job->snapshot);
    } else {
        rdb_job_run(job->rdb);
    }
}

static void end_file(struct job *j)
{
    struct file_job *job = container_of(j, struct file_job, job);
    if (job->snapshot != NULL) {
        snapshot_job_done(job->snapshot);
    } else {
        rdb_job_done(job->rdb);
    }
    mem_free(job);
}

static void submit(struct durable *d, struct snapshot_job *snapshot, struct rdb_job *rdb)
{
    struct file_job *job = mem_zalloc(sizeof(*job));
    job->job.run = run_file;
    job->job.done = end_file;
    job->d = d;
    job->snapshot = snapshot;
    job->rdb = rdb;
    jobs_submit(d->files, &job->job);
}

static void submit_snapshot(void *arg, struct snapshot_job *job)
{
    submit(arg, job, NULL);
}

static void submit_rdb(void *arg, struct rdb_job *job)
{
    submit(arg, NULL, job);
}

static void run_rdb_here(void *arg, struct rdb_job *job)
{
    (void)arg;
    rdb_job_run(job);
    rdb_job_done(job);
}

struct unlink_job {
    struct job job;
    struct disk *disk;
    char name[32];
};

static void run_unlink(struct job *j)
{
    struct unlink_job *job = container_of(j, struct unlink_job, job);
    (void)disk_remove(job->disk, job->name); /* one that stays is found again at the next start */
}

static void end_unlink(struct job *j)
{
    mem_free(container_of(j, struct unlink_job, job));
}

/* Giving a large file's room back takes its time. */
void durable_unlink(void *arg, const char *name)
{
    struct durable *d = arg;
    struct unlink_job *job = mem_zalloc(sizeof(*job));
    job->job.run = run_unlink;
    job->job.done = end_unlink;
    job->disk = d->disk;
    (void)snprintf(job->name, sizeof(job->name), "%s", name);
    jobs_submit(d->files, &job->job);
}

/* --- which shard --- */

/* A half copy is nothing. */
static bool has_data(const struct durable *d, int shard)
{
    return d->s->ks->shards[shard] != NULL && replicate_whole(d->s, shard) &&
           durable_history(d, shard)->version > 0;
}

/* Needs no snapshot to be whole at `position`: there is nothing of it, or it has one. */
static uint64_t needs_log_from(const struct durable *d, int shard)
{
    return has_data(d, shard) ? d->shards[shard].snapshot : UINT64_MAX;
}

void durable_trim(struct durable *d)
{
    if (d->wal == NULL) {
        return;
    }
    uint64_t from = wal_written(d->wal);
    for (int i = 0; i < d->n_shards; i++) {
        from = MIN(from, needs_log_from(d, i));
    }
    wal_trim(d->wal, from);
}

static bool log_is_long(const struct durable *d)
{
    const struct settings *o = d->s->settings;
    if (d->wal == NULL || o->auto_aof_rewrite_percentage == 0) {
        return false;
    }
    struct wal_stats ws;
    wal_stats(d->wal, &ws);
    uint64_t least = (uint64_t)o->auto_aof_rewrite_min_size;
    if (ws.bytes_kept <= least) {
        return false;
    }
    uint64_t share = keyspace_memory(d->s->ks) / 100 * (uint64_t)o->auto_aof_rewrite_percentage;
    return ws.bytes_kept > MAX(least, share);
}

/* The next one; -1: none is due. */
static int choose(const struct durable *d)
{
    int best = -1;
    bool urgent = false;
    bool all = log_is_long(d);
    uint64_t gap = d->wal == NULL ? 0 : wal_gap(d->wal);
    for (int i = 0; i < d->n_shards; i++) {
        const struct durable_shard *sh = &d->shards[i];
        if (!has_data(d, i)) {
            continue;
        }
        bool now = sh->copied || (gap != 0 && sh->snapshot < gap);
        bool due = now || sh->wanted || all;
        if (due && (best < 0 || (now && !urgent) ||
                    (now == urgent && sh->snapshot < d->shards[best].snapshot))) {
            best = i;
            urgent = now;
        }
    }
    return best;
}

/* --- snapshots --- */

static void begin_snapshot(struct durable *d, int shard, const struct snapshot_port *port)
{
    struct keyspace *ks = d->s->ks;
    struct snapshot_info info = {.shard = shard,
                                 .n_shards = ks->n_shards,
                                 .position = d->wal == NULL ? d->position : wal_end(d->wal),
                                 .wall_ms = loop_wall_ms(d->s->loop),
                                 .hash_check = hash_bytes("", 0, d->hash_seed),
                                 .keys = keyspace_shard_keys(ks, shard),
                                 .history = *durable_history(d, shard)};
    memcpy(info.cluster_id, d->cluster_id, sizeof(info.cluster_id));
    d->snapshot = snapshot_new(d->disk, ks, &info, durable_nonce(d), port);
}

bool durable_any_wanted(const struct durable *d)
{
    for (int i = 0; i < d->n_shards; i++) {
        if (d->shards[i].wanted && has_data(d, i)) {
            return true;
        }
    }
    return false;
}

static void end_saving_all(struct durable *d, bool good)
{
    d->saving_all = false;
    d->last_save_failed = !good;
    d->last_took_s = (loop_now_ms(d->s->loop) - d->saving_since_ms) / 1000;
    if (good) {
        d->saves++;
        d->last_save_s = loop_wall_ms(d->s->loop) / 1000;
        d->dirty_at_save = d->dirty_at_begin;
        d->applied_at_save = d->applied_at_begin;
    }
}

static void snapshot_failed(struct durable *d, int error)
{
    d->snapshot_failures++;
    d->retry_ms = loop_now_ms(d->s->loop) + RETRY_MS;
    log_event(LOG_WARNING, DURABLE_AREA, "a snapshot failed, it will be tried again reason=\"%s\"",
              strerror(error));
    if (d->saving_all) {
        end_saving_all(d, false);
        for (int i = 0; i < d->n_shards; i++) {
            d->shards[i].wanted = d->shards[i].copied;
        }
    }
}

static void snapshot_done(struct durable *d)
{
    const struct snapshot_info *info = snapshot_info(d->snapshot);
    struct durable_shard *sh = &d->shards[info->shard];
    d->snapshots++;
    sh->snapshot = info->position;
    sh->wanted = false;
    sh->reset = 0;
    if (d->wal != NULL) {
        (void)wal_append(d->wal, WAL_SNAPSHOT, (uint32_t)info->shard, 0, info->position, SLICE(""));
    }
    if (sh->copied) {
        sh->copied = false;
        /* With what the log has behind it. */
        uint64_t version = MAX(info->history.version, sh->version_synced);
        if (version > sh->version_durable) {
            sh->version_durable = version;
            if (d->listener != NULL) {
                d->listener(d->s, info->shard, version);
            }
        }
    }
    log_event(LOG_VERBOSE, DURABLE_AREA, "snapshot shard=%d version=%llu keys=%llu bytes=%llu",
              info->shard, (unsigned long long)info->history.version,
              (unsigned long long)snapshot_keys(d->snapshot),
              (unsigned long long)snapshot_bytes(d->snapshot));
    durable_trim(d);
}

/* Every shard has what was wanted, or is gone. */
static void all_are_saved(struct durable *d)
{
    if (d->saving_all) {
        end_saving_all(d, true);
    }
    if (d->enabling && d->whole_at == 0) {
        durable_all_have_snapshots(d);
    }
}

/* Whether the log is as far on disk as the snapshot says; asks for it if not. */
static bool log_reached(struct durable *d)
{
    if (d->wal == NULL || wal_safe(d->wal) >= snapshot_info(d->snapshot)->position) {
        return true;
    }
    (void)wal_flush(d->wal, loop_wall_ms(d->s->loop));
    wal_sync(d->wal);
    return wal_safe(d->wal) >= snapshot_info(d->snapshot)->position;
}

/* False: nothing is to be done before a job has come back. */
static bool step_snapshot(struct durable *d)
{
    switch (snapshot_step(d->snapshot, STEP_BYTES)) {
    case SNAPSHOT_MORE:
        return true;
    case SNAPSHOT_WAITS:
    case SNAPSHOT_ENDING:
        return false;
    case SNAPSHOT_WRITTEN:
        if (!log_reached(d)) {
            return false;
        }
        snapshot_finish(d->snapshot);
        return false;
    case SNAPSHOT_DONE:
        if (snapshot_busy(d->snapshot)) {
            return false;
        }
        if (!d->snapshot_void) {
            snapshot_done(d);
        }
        break;
    case SNAPSHOT_FAILED:
        if (snapshot_busy(d->snapshot)) {
            return false;
        }
        if (snapshot_error(d->snapshot) != 0) {
            snapshot_failed(d, snapshot_error(d->snapshot));
        }
        break;
    }
    snapshot_free(&d->snapshot);
    d->snapshot_void = false;
    if (!durable_any_wanted(d)) {
        all_are_saved(d);
    }
    return true;
}

bool durable_saves_cancel(struct durable *d, int shard)
{
    if (d->snapshot == NULL || snapshot_info(d->snapshot)->shard != shard) {
        return false;
    }
    snapshot_cancel(d->snapshot);
    enum snapshot_state state = snapshot_state(d->snapshot);
    d->snapshot_void = state == SNAPSHOT_ENDING || state == SNAPSHOT_DONE;
    return d->snapshot_void;
}

/* What is saved now has all changes so far. */
static void note_changes(struct durable *d)
{
    d->dirty_at_begin = d->s->ks->stats.dirty;
    d->applied_at_begin = d->s->ks->stats.applied;
}

/* --- dump.rdb --- */

static void save_library(void *arg, struct slice name, struct slice code)
{
    (void)name;
    rdb_save_library(arg, code);
}

static int begin_rdb(struct durable *d, const struct rdb_save_port *port)
{
    int error;
    note_changes(d);
    d->saving_since_ms = loop_now_ms(d->s->loop);
    d->rdb = rdb_save_new(d->dump_disk, d->s->settings->dbfilename, d->s->ks,
                          d->s->settings->rdbcompression, loop_wall_ms(d->s->loop), port, &error);
    if (d->rdb != NULL) {
        scripts_each_library(d->s->scripts, save_library, d->rdb);
    }
    return d->rdb == NULL ? error : 0;
}

static void rdb_failed(struct durable *d, int error)
{
    end_saving_all(d, false);
    d->retry_ms = loop_now_ms(d->s->loop) + RETRY_MS;
    log_event(LOG_WARNING, DURABLE_AREA, "saving %s failed reason=\"%s\"",
              d->s->settings->dbfilename, strerror(error));
}

static bool step_rdb(struct durable *d)
{
    switch (rdb_save_step(d->rdb, STEP_BYTES)) {
    case RDB_SAVE_MORE:
        return true;
    case RDB_SAVE_WAITS:
        return false;
    case RDB_SAVE_DONE:
        if (rdb_save_busy(d->rdb)) {
            return false;
        }
        end_saving_all(d, true);
        log_event(LOG_NOTICE, DURABLE_AREA, "saved %s keys=%llu", d->s->settings->dbfilename,
                  (unsigned long long)rdb_save_keys(d->rdb));
        rdb_save_free(&d->rdb);
        break;
    case RDB_SAVE_FAILED: {
        if (rdb_save_busy(d->rdb)) {
            return false;
        }
        int error = rdb_save_error(d->rdb);
        rdb_save_free(&d->rdb);
        struct rdb_save_port port = {.arg = d, .run = submit_rdb};
        if (error == 0) { /* FLUSHALL and such: the data set of now is wanted */
            error = begin_rdb(d, &port);
        }
        if (error != 0) {
            rdb_failed(d, error);
        }
        break;
    }
    }
    return true;
}

/* --- slices --- */

static void begin_next(struct durable *d)
{
    struct snapshot_port port = {.arg = d, .run = submit_snapshot};
    int shard = d->disk == NULL || loop_now_ms(d->s->loop) < d->retry_ms ? -1 : choose(d);
    if (shard >= 0) {
        begin_snapshot(d, shard, &port);
    }
}

static void on_step(struct loop_timer *t)
{
    struct durable *d = t->arg;
    int64_t from = ticks_monotonic_ns();
    int64_t spent_us = 0;
    bool more = true;
    while (more && spent_us < SLICE_US) {
        if (d->rdb != NULL) {
            more = step_rdb(d);
        } else if (d->snapshot != NULL) {
            more = step_snapshot(d);
        } else {
            begin_next(d);
            more = d->snapshot != NULL;
        }
        spent_us = (ticks_monotonic_ns() - from) / 1000;
    }
    d->stall_us_max = MAX(d->stall_us_max, spent_us);
    if (d->rdb == NULL && d->snapshot == NULL) {
        loop_timer_stop(t);
    }
}

static void wake(struct durable *d)
{
    if (!loop_timer_active(&d->step_timer)) {
        loop_timer_start(&d->step_timer, 0, SLICE_GAP_MS);
    }
}

static bool save_point_reached(const struct durable *d)
{
    const struct save_points *p = &d->s->settings->save;
    uint64_t changes = d->s->ks->stats.dirty - d->dirty_at_save;
    int64_t passed_s = loop_wall_ms(d->s->loop) / 1000 - d->last_save_s;
    for (int i = 0; i < p->n; i++) {
        if (changes >= (uint64_t)p->of[i].changes && passed_s > p->of[i].seconds) {
            return true;
        }
    }
    return false;
}

void durable_saves_tick(struct durable *d)
{
    if (d->rdb != NULL || d->snapshot != NULL) {
        wake(d);
        return;
    }
    if (d->wal != NULL && wal_gap(d->wal) != 0) {
        durable_trim(d); /* nothing may need it any more */
    }
    if (loop_now_ms(d->s->loop) < d->retry_ms) {
        return;
    }
    if (!d->saving_all && d->s->settings->save.n > 0 && save_point_reached(d)) {
        (void)durable_bgsave(d->s);
    }
    if (d->disk != NULL && choose(d) >= 0) {
        wake(d);
    }
}

void durable_saves_init(struct durable *d)
{
    loop_timer_init(&d->step_timer, d->s->loop, on_step, d);
}

void durable_saves_reset(struct durable *d)
{
    if (d->snapshot != NULL) {
        snapshot_cancel(d->snapshot);
    }
    if (d->rdb != NULL) {
        rdb_save_cancel(d->rdb);
    }
    if (d->files != NULL) {
        jobs_drain(d->files);
    }
    snapshot_free(&d->snapshot);
    d->snapshot_void = false;
    rdb_save_free(&d->rdb);
    d->saving_all = false;
}

void durable_saves_fini(struct durable *d)
{
    loop_timer_fini(&d->step_timer);
    durable_saves_reset(d);
}

int durable_snapshots_now(struct durable *d)
{
    struct snapshot_port port = {.arg = d, .run = submit_snapshot};
    for (int i = 0; i < d->n_shards; i++) {
        if (!d->shards[i].wanted || !has_data(d, i)) {
            continue;
        }
        int error = 0;
        begin_snapshot(d, i, &port);
        while (error == 0 && d->snapshot != NULL) {
            if (!step_snapshot(d) && d->snapshot != NULL) {
                jobs_drain(d->files);
                if (d->wal != NULL) {
                    jobs_drain(d->syncs);
                }
            }
            error = d->snapshot != NULL ? snapshot_error(d->snapshot) : 0;
        }
        if (error != 0) {
            jobs_drain(d->files);
            snapshot_free(&d->snapshot);
            return error;
        }
    }
    return 0;
}

/* --- commands --- */

/* Where shards are saved to. */
static bool have_folder(struct durable *d)
{
    struct errmsg err;
    int error = 0;
    if (d->disk != NULL) {
        return true;
    }
    if (durable_open_folder(d, &err)) {
        error = durable_write_meta(d);
        if (error == 0) {
            return true;
        }
        errmsg_set(&err, "%s", strerror(error));
        disk_posix_free(&d->disk);
    }
    log_event(LOG_WARNING, DURABLE_AREA, "nothing can be saved: %s", err.text);
    return false;
}

static bool saves_dump(const struct server *s)
{
    return s->settings->stand_alone;
}

enum durable_answer durable_save(struct server *s)
{
    struct durable *d = s->durable;
    if (d->rdb != NULL || d->saving_all) {
        return DURABLE_BUSY;
    }
    if (!saves_dump(s)) {
        if (!have_folder(d)) {
            return DURABLE_FAILED;
        }
        if (d->snapshot != NULL) {
            (void)durable_saves_cancel(d, snapshot_info(d->snapshot)->shard);
            jobs_drain(d->files);
            snapshot_free(&d->snapshot);
            d->snapshot_void = false;
        }
        for (int i = 0; i < d->n_shards; i++) {
            d->shards[i].wanted = has_data(d, i);
        }
        note_changes(d);
        d->saving_since_ms = loop_now_ms(s->loop);
        int error = durable_snapshots_now(d);
        end_saving_all(d, error == 0);
        return error == 0 ? DURABLE_OK : DURABLE_FAILED;
    }
    struct rdb_save_port port = {.arg = d, .run = run_rdb_here};
    int error = begin_rdb(d, &port);
    while (error == 0 && d->rdb != NULL) {
        if (rdb_save_state(d->rdb) == RDB_SAVE_FAILED) {
            error = rdb_save_error(d->rdb);
            error = error == 0 ? EIO : error;
            rdb_save_free(&d->rdb);
        } else {
            (void)step_rdb(d);
        }
    }
    if (error != 0) {
        rdb_failed(d, error);
    }
    return error == 0 && !d->last_save_failed ? DURABLE_OK : DURABLE_FAILED;
}

enum durable_answer durable_bgsave(struct server *s)
{
    struct durable *d = s->durable;
    if (d->rdb != NULL || d->saving_all) {
        return DURABLE_BUSY;
    }
    if (!saves_dump(s)) {
        return have_folder(d) ? durable_rewrite(s) : DURABLE_FAILED;
    }
    struct rdb_save_port port = {.arg = d, .run = submit_rdb};
    int error = begin_rdb(d, &port);
    if (error != 0) {
        rdb_failed(d, error);
        return DURABLE_FAILED;
    }
    wake(d);
    return DURABLE_OK;
}

enum durable_answer durable_rewrite(struct server *s)
{
    struct durable *d = s->durable;
    if (d->disk == NULL) {
        return DURABLE_NOTHING;
    }
    if (d->saving_all) {
        return DURABLE_BUSY;
    }
    for (int i = 0; i < d->n_shards; i++) {
        d->shards[i].wanted = has_data(d, i);
    }
    d->saving_all = true;
    d->saving_since_ms = loop_now_ms(s->loop);
    note_changes(d);
    d->retry_ms = 0;
    if (durable_any_wanted(d)) {
        wake(d);
    } else {
        durable_trim(d);
        end_saving_all(d, true);
    }
    return DURABLE_OK;
}

bool durable_last_save(struct server *s)
{
    struct durable *d = s->durable;
    if (d->rdb != NULL) {
        rdb_save_cancel(d->rdb);
        jobs_drain(d->files);
        rdb_save_free(&d->rdb);
    }
    d->saving_all = false;
    return durable_save(s) != DURABLE_FAILED;
}

int64_t durable_last_save_s(const struct server *s)
{
    return s->durable->last_save_s;
}

/* --- loading --- */

struct importing {
    struct durable *d;
    uint64_t foreign; /* keys of shards that are not held */
};

static void take_key(void *arg, int dbi, struct object *o, int64_t idle_s, int freq)
{
    struct importing *im = arg;
    struct keyspace *ks = im->d->s->ks;
    struct slice key = object_key(o);
    struct probe p = keyspace_probe_key(ks, key);
    struct db db = {
        .ks = ks, .index = dbi, .now_ms = loop_wall_ms(im->d->s->loop), .applying = true};
    if (dbi >= ks->n_dbs || ks->shards[p.shard] == NULL) {
        im->foreign++;
        object_free(&o);
        return;
    }
    struct object *old = db_raw(&db, &p, key);
    if (old != NULL) {
        db_replace(&db, &p, old, o);
    } else {
        db_add(&db, &p, o);
    }
    if (freq >= 0) {
        clock_set_frequency(ks, o, db.now_ms, (unsigned)freq);
    } else if (idle_s >= 0) {
        clock_set_idle(ks, o, db.now_ms, idle_s);
    }
}

static bool take_library(void *arg, struct slice code, struct str *why)
{
    const struct importing *im = arg;
    return scripts_load(im->d->s->scripts, code, im->d->replaces_libraries, why);
}

bool durable_load_rdb(struct durable *d, const char *path, bool *found, struct errmsg *err)
{
    const char *name = strrchr(path, '/');
    struct str folder = {0};
    struct rdb_counts counts;
    struct importing im = {.d = d};
    struct rdb_target t = {
        .arg = &im, .now_ms = loop_wall_ms(d->s->loop), .key = take_key, .take_code = take_library};
    str_append(&folder, path, name == NULL ? 0 : (size_t)(name - path));
    const char *in = name == NULL ? "." : folder.len == 0 ? "/" : str_cstr(&folder);
    struct disk *disk = disk_posix_new(in, err);
    enum rdb_found what = RDB_BAD;
    int64_t from = ticks_monotonic_ns();
    if (disk != NULL) {
        what = rdb_load(disk, name == NULL ? path : name + 1, &t, &counts, err);
    }
    disk_posix_free(&disk);
    str_fini(&folder);
    *found = what == RDB_GOOD;
    if (what == RDB_GOOD) {
        d->loaded_keys = counts.keys;
        d->loaded_expired = counts.expired;
        log_event(LOG_NOTICE, DURABLE_AREA,
                  "loaded file=\"%s\" keys=%llu expired=%llu foreign=%llu libraries=%llu "
                  "ms=%lld",
                  path, (unsigned long long)counts.keys, (unsigned long long)counts.expired,
                  (unsigned long long)im.foreign, (unsigned long long)counts.functions,
                  (long long)((ticks_monotonic_ns() - from) / 1000000));
    }
    return what != RDB_BAD;
}

enum durable_answer durable_reload(struct server *s, bool save, bool flush, bool merge,
                                   struct errmsg *err)
{
    struct durable *d = s->durable;
    struct rdb_save_port port = {.arg = d, .run = run_rdb_here};
    if (d->rdb != NULL) {
        return DURABLE_BUSY;
    }
    int error = save ? begin_rdb(d, &port) : 0;
    while (error == 0 && d->rdb != NULL) {
        if (rdb_save_step(d->rdb, STEP_BYTES) >= RDB_SAVE_DONE) {
            error = rdb_save_error(d->rdb);
            rdb_save_free(&d->rdb);
        }
    }
    if (error != 0) {
        errmsg_set(err, "%s", strerror(error));
        return DURABLE_FAILED;
    }
    /* What is loaded is what is there: no entry tells of it. */
    struct collector *collector = s->ks->collector;
    s->ks->collector = NULL;
    for (int i = 0; flush && i < s->ks->n_shards; i++) {
        if (s->ks->shards[i] != NULL) {
            keyspace_flush(s->ks, -1, i, false, loop_wall_ms(s->loop));
        }
    }
    if (flush) {
        scripts_clear_libraries(s->scripts);
    }
    struct str path = {0};
    bool found;
    str_printf(&path, "%s/%s", s->settings->dir, s->settings->dbfilename);
    d->replaces_libraries = merge;
    bool good = durable_load_rdb(d, str_cstr(&path), &found, err);
    if (good && !found) {
        errmsg_set(err, "%s: no such file", s->settings->dbfilename);
    }
    str_fini(&path);
    s->ks->collector = collector;
    follow_reset(s, "the data set was loaded anew");
    return good && found ? DURABLE_OK : DURABLE_FAILED;
}

/* --- INFO --- */

#define ULL(v) ((unsigned long long)(v))

static void log_info(const struct durable *d, struct str *to)
{
    struct wal_stats ws;
    wal_stats(d->wal, &ws);
    str_printf(to, "aof_current_size:%llu\r\naof_base_size:%llu\r\naof_pending_rewrite:0\r\n",
               ULL(ws.bytes_kept), ULL(0));
    str_printf(to, "aof_buffer_length:%llu\r\naof_pending_bio_fsync:%d\r\naof_delayed_fsync:0\r\n",
               ULL(wal_end(d->wal) - wal_written(d->wal)), wal_syncing(d->wal));
    str_printf(to, "log_position:%llu\r\nlog_durable_position:%llu\r\nlog_segments:%llu\r\n",
               ULL(wal_end(d->wal)), ULL(wal_durable(d->wal)), ULL(ws.segments));
    str_printf(to,
               "log_records:%llu\r\nlog_writes:%llu\r\nlog_fsyncs:%llu\r\nlog_failures:%llu\r\n",
               ULL(ws.records), ULL(ws.writes), ULL(ws.syncs), ULL(ws.failures));
    str_printf(to, "log_fsync_last_usec:%lld\r\nlog_fsync_max_usec:%lld\r\n",
               (long long)ws.sync_us_last, (long long)ws.sync_us_max);
}

void durable_info(const struct server *s, struct str *to)
{
    const struct durable *d = s->durable;
    /* BGREWRITEAOF saves all shards anew, be there a log or not. */
    bool rewriting = d->saving_all || (d->wal != NULL && (d->snapshot != NULL || d->enabling));
    int64_t since_s = (loop_now_ms(s->loop) - d->saving_since_ms) / 1000;
    /* Nothing forks here, so nothing is copied on write. */
    str_printf(to,
               "loading:0\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\n"
               "current_cow_size_age:0\r\ncurrent_fork_perc:0.00\r\n"
               "current_save_keys_processed:%llu\r\ncurrent_save_keys_total:%llu\r\n",
               d->rdb == NULL ? 0 : ULL(rdb_save_keys(d->rdb)),
               d->rdb == NULL ? 0 : ULL(server_keys(s)));
    str_printf(to, "rdb_changes_since_last_save:%llu\r\n",
               ULL(s->ks->stats.dirty - d->dirty_at_save));
    str_printf(to, "replicated_changes_since_last_save:%llu\r\n",
               ULL(s->ks->stats.applied - d->applied_at_save));
    str_printf(to,
               "rdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%lld\r\n"
               "rdb_last_bgsave_status:%s\r\n",
               d->rdb != NULL || d->saving_all, (long long)d->last_save_s,
               d->last_save_failed ? "err" : "ok");
    str_printf(to,
               "rdb_last_bgsave_time_sec:%lld\r\nrdb_current_bgsave_time_sec:%lld\r\n"
               "rdb_saves:%llu\r\n",
               d->saves == 0 ? -1 : (long long)d->last_took_s,
               d->rdb != NULL || d->saving_all ? (long long)since_s : -1, ULL(d->saves));
    str_printf(to,
               "rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:%llu\r\n"
               "rdb_last_load_keys_loaded:%llu\r\n",
               ULL(d->loaded_expired), ULL(d->loaded_keys));
    str_printf(to,
               "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:0\r\n"
               "aof_last_rewrite_time_sec:-1\r\naof_current_rewrite_time_sec:-1\r\n",
               d->wal != NULL, rewriting);
    str_printf(to,
               "aof_last_bgrewrite_status:%s\r\naof_rewrites:%llu\r\n"
               "aof_rewrites_consecutive_failures:0\r\naof_last_write_status:%s\r\n"
               "aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\n"
               "module_fork_last_cow_size:0\r\n",
               d->snapshot_failures > 0 && d->retry_ms > loop_now_ms(s->loop) ? "err" : "ok",
               ULL(d->snapshots), d->wal == NULL || wal_ok(d->wal) ? "ok" : "err");
    if (d->wal != NULL) {
        log_info(d, to);
    }
    str_printf(to,
               "snapshots:%llu\r\nsnapshot_failures:%llu\r\nsnapshot_slice_max_usec:%lld\r\n"
               "recovery_msec:%lld\r\nrecovery_keys:%llu\r\nrecovery_entries:%llu\r\n",
               ULL(d->snapshots), ULL(d->snapshot_failures), (long long)d->stall_us_max,
               (long long)(d->recovered_us / 1000), ULL(d->recovered_keys),
               ULL(d->recovered_entries));
}
