// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/durable.h"

#include "node/serve/durable_priv.h"
#include "node/serve/replicate.h"

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/disk_posix.h"
#include "common/io/ticks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DATA_DIR       "shoal-data"
#define META_NAME      "meta"
#define META_MAX       512
#define PENDING_MIN    1024
#define TOUCHED_MAX    256
#define WAL_BUFFER     (256U << 20)
#define CLUSTER_ALONE  "-"
#define CLOCK_EVERY_US 1000000

/* --- meta: what must be known before anything is read --- */

int durable_write_meta(struct durable *d)
{
    char text[META_MAX];
    int n = snprintf(
        text, sizeof(text), "format 1\nshards %d\nseed %016llx\ncluster %s\nlogged %d\n",
        d->n_shards, (unsigned long long)d->hash_seed,
        d->cluster_id[0] == '\0' ? CLUSTER_ALONE : d->cluster_id, d->wal != NULL && !d->enabling);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "sum %016llx\n",
                  (unsigned long long)hash_bytes(text, (size_t)n, 0));
    struct disk_file *f;
    int error = disk_open(d->disk, META_NAME ".new", DISK_CREATE, &f);
    if (error != 0) {
        return error;
    }
    error = disk_write(f, 0, text, (size_t)n);
    error = error != 0 ? error : disk_sync(f);
    disk_close(&f);
    error = error != 0 ? error : disk_rename(d->disk, META_NAME ".new", META_NAME);
    return error != 0 ? error : disk_sync_dir(d->disk);
}

static bool parse_meta(struct durable *d, const char *text, size_t len)
{
    unsigned long long seed, sum;
    char cluster[64];
    int shards, logged, covered = 0, used = 0;
    if (sscanf(text,
               "format 1\nshards %6d\nseed %16llx\ncluster %63s\nlogged %1d\n%nsum %16llx\n%n",
               &shards, &seed, cluster, &logged, &covered, &sum, &used) != 5 ||
        (size_t)used != len || sum != hash_bytes(text, (size_t)covered, 0) || shards < 1 ||
        shards > KEYSPACE_SLOTS) {
        return false;
    }
    d->n_shards = shards;
    d->hash_seed = seed;
    d->logged_last = logged != 0;
    (void)snprintf(d->cluster_id, sizeof(d->cluster_id), "%s",
                   strcmp(cluster, CLUSTER_ALONE) == 0 ? "" : cluster);
    return true;
}

/* *found is false where there is none. */
static bool read_meta(struct durable *d, bool *found, struct errmsg *err)
{
    char text[META_MAX];
    size_t got = 0;
    struct disk_file *f;
    int error = disk_open(d->disk, META_NAME, DISK_READ, &f);
    *found = error != ENOENT;
    if (error == ENOENT) {
        return true;
    }
    error = error != 0 ? error : disk_read(f, 0, text, sizeof(text) - 1, &got);
    disk_close(&f);
    text[got] = '\0';
    if (error != 0) {
        errmsg_set(err, "%s/" META_NAME ": %s", DATA_DIR, strerror(error));
        return false;
    }
    if (!parse_meta(d, text, got)) {
        errmsg_set(err, "%s/" META_NAME " is damaged", DATA_DIR);
        return false;
    }
    return true;
}

/* --- opening --- */

uint64_t durable_nonce(struct durable *d)
{
    return rng_next(&d->s->rng);
}

static bool folder_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool durable_open_folder(struct durable *d, struct errmsg *err)
{
    const char *dir = d->s->settings->dir;
    struct str path = {0};
    struct errmsg ignored;
    str_printf(&path, "%s/" DATA_DIR, dir);
    /* The folder of the node's identity may not be there yet. */
    struct disk *outer = disk_posix_new(dir, &ignored);
    disk_posix_free(&outer);
    d->disk = disk_posix_new(str_cstr(&path), err);
    bool good = d->disk != NULL;
    if (good && !disk_posix_lock(d->disk)) {
        errmsg_set(err, "%s: another shoal-node uses this directory", str_cstr(&path));
        good = false;
        disk_posix_free(&d->disk);
    }
    str_fini(&path);
    return good;
}

/* A folder without meta must be a new one. */
static bool check_new(struct durable *d, struct errmsg *err)
{
    int error = recover_shards(d->disk, &d->n_shards, err);
    if (error > 0) {
        errmsg_set(err, DATA_DIR ": %s", strerror(error));
    } else if (error == 0 && d->n_shards > 0) {
        errmsg_set(err, DATA_DIR " has data, but its file \"" META_NAME "\" is missing");
        error = -1;
    }
    return error == 0;
}

/* A node alone has a later state in its dump: the folder is emptied, or left alone. */
static bool prefer_dump(struct durable *d, struct errmsg *err)
{
    int error = 0;
    log_event(LOG_NOTICE, DURABLE_AREA,
              "%s is newer than the log and snapshots, which are not used",
              d->s->settings->dbfilename);
    if (d->s->settings->appendonly) {
        error = durable_wipe(d);
    } else {
        disk_posix_free(&d->disk);
    }
    d->n_shards = 0;
    if (error != 0) {
        errmsg_set(err, DATA_DIR ": %s", strerror(error));
    }
    return error == 0;
}

bool durable_open(struct server *s, int *n_shards, struct errmsg *err)
{
    struct durable *d = mem_zalloc(sizeof(*d));
    struct str path = {0};
    s->durable = d;
    d->s = s;
    d->position = WAL_FIRST;
    d->last_save_s = s->started_wall_ms / 1000;
    d->hash_seed = rng_next(&s->rng);
    d->boot = durable_boot();
    durable_saves_init(d);
    str_printf(&path, "%s/" DATA_DIR, s->settings->dir);
    bool good = true;
    bool found = false;
    if (s->settings->appendonly || folder_exists(str_cstr(&path))) {
        good = durable_open_folder(d, err) && read_meta(d, &found, err) &&
               (found || check_new(d, err));
        if (good && found && s->settings->stand_alone && !d->logged_last &&
            durable_dump_is_newer(d)) {
            good = prefer_dump(d, err);
        }
    }
    str_fini(&path);
    *n_shards = d->n_shards;
    s->hash_seed = d->hash_seed;
    return good;
}

/* --- recovery --- */

static bool judge(struct durable *d, const struct recovered *r, struct errmsg *err)
{
    if (r->log.torn_bytes > 0) {
        log_event(LOG_WARNING, DURABLE_AREA,
                  "the log's end was torn by a crash: cut off bytes=%llu",
                  (unsigned long long)r->log.torn_bytes);
    }
    if (r->log.damage[0] != '\0') {
        log_event(LOG_WARNING, DURABLE_AREA, "the log is DAMAGED: %s", r->log.damage);
    }
    if (r->damaged == 0) {
        return true;
    }
    log_event(LOG_WARNING, DURABLE_AREA, "shards are DAMAGED on disk and not trusted count=%d",
              r->damaged);
    /* In a cluster others have them. Alone, to begin without them would lose them silently. */
    if (d->s->settings->stand_alone && !d->s->settings->recover_damaged && d->logged_last) {
        errmsg_set(err,
                   "%d shards are damaged on disk (%s%s%s); \"recover-damaged yes\" begins with "
                   "what can still be read",
                   r->damaged, r->why, r->log.damage[0] == '\0' ? "" : "; ", r->log.damage);
        return false;
    }
    return true;
}

static void take_shards(struct durable *d, const struct recovered *r)
{
    bool keep = d->s->settings->stand_alone && d->s->settings->recover_damaged;
    for (int i = 0; i < r->n_shards; i++) {
        const struct recover_shard *from = &r->shards[i];
        struct durable_shard *to = &d->shards[i];
        bool good = from->state == RECOVER_GOOD || (keep && from->state == RECOVER_DAMAGED);
        if (good) {
            to->recovered = true;
            to->history = from->history;
            to->version = to->version_durable = from->history.version;
            to->snapshot = from->state == RECOVER_GOOD ? from->snapshot : 0;
            to->wanted = from->state == RECOVER_DAMAGED && from->history.version > 0;
        }
        if (!d->s->settings->stand_alone && d->s->ks->shards[i] != NULL) {
            d->s->ks->shards[i]->passive = true; /* until the map says otherwise */
        }
    }
}

/* What is on disk of damaged shards is void: their next copy comes from others. */
static void void_damaged(struct durable *d, const struct recovered *r)
{
    for (int i = 0; i < r->n_shards; i++) {
        if (r->shards[i].state == RECOVER_DAMAGED && !d->shards[i].recovered) {
            d->shards[i].reset = wal_append(d->wal, WAL_RESET, (uint32_t)i, 0, 0, SLICE(""));
        }
    }
}

static bool read_disk(struct durable *d, struct recovered *r, struct errmsg *err)
{
    struct server *s = d->s;
    int64_t from = ticks_monotonic_ns();
    bool keep = s->settings->stand_alone && s->settings->recover_damaged;
    size_t share = (size_t)s->settings->repl_backlog_size / (size_t)s->ks->n_shards;
    d->tails = tails_new(s->ks->n_shards, share, d->boot);
    int error = recover_run(d->disk, s->ks, &s->table, d->hash_seed, keep, d->tails, r);
    if (error != 0) {
        errmsg_set(err, "%s: %s", DATA_DIR, strerror(error));
        return false;
    }
    d->recovered_us = (ticks_monotonic_ns() - from) / 1000;
    d->recovered_keys = r->keys;
    d->recovered_entries = r->entries;
    log_event(LOG_NOTICE, DURABLE_AREA,
              "recovered keys_of_snapshots=%llu entries_of_log=%llu damaged=%d torn=%llu ms=%lld",
              (unsigned long long)r->keys, (unsigned long long)r->entries, r->damaged,
              (unsigned long long)r->log.torn_bytes, (long long)(d->recovered_us / 1000));
    return judge(d, r, err);
}

/* --- the log's port --- */

struct sync_job {
    struct job job;
    struct wal_sync *sync;
};

static void run_sync(struct job *j)
{
    wal_sync_run(container_of(j, struct sync_job, job)->sync);
}

static void end_sync(struct job *j)
{
    struct sync_job *job = container_of(j, struct sync_job, job);
    job->sync->took_us = (ticks_monotonic_ns() - j->submitted_ns) / 1000;
    wal_synced(job->sync);
    mem_free(job);
}

static void submit_sync(void *arg, struct wal_sync *sync)
{
    struct durable *d = arg;
    struct sync_job *job = mem_zalloc(sizeof(*job));
    job->job.run = run_sync;
    job->job.done = end_sync;
    job->sync = sync;
    jobs_submit(d->syncs, &job->job);
}

static void tell_durable(struct durable *d, int shard)
{
    struct durable_shard *sh = &d->shards[shard];
    sh->touched = false;
    if (sh->version_synced > sh->version_durable && !sh->copied) {
        sh->version_durable = sh->version_synced;
        if (d->listener != NULL) {
            d->listener(d->s, shard, sh->version_durable);
        }
    }
}

/* By the thread that renames snapshots into place, in the order of what it was told. The file of a
 * shard whose snapshot runs may be the new one already, or become it: that it takes the old one's
 * place, is void itself, or came to nothing, is known when it has ended. */
static void remove_void_files(struct durable *d, uint64_t durable)
{
    int running = d->snapshot == NULL ? -1 : snapshot_info(d->snapshot)->shard;
    for (int i = 0; i < d->n_shards; i++) {
        struct durable_shard *sh = &d->shards[i];
        if (sh->reset != 0 && sh->reset <= durable && sh->snapshot == 0 && i != running) {
            char name[32];
            (void)snprintf(name, sizeof(name), "shard.%05d", i);
            durable_unlink(d, name);
            sh->reset = 0;
        }
    }
}

static void on_progress(void *arg)
{
    struct durable *d = arg;
    if (d->wal == NULL) {
        return;
    }
    durable_whole_on_disk(d);
    uint64_t durable = wal_durable(d->wal);
    int touched[TOUCHED_MAX];
    size_t n = 0;
    while (d->pending_n > 0 && d->pending[d->pending_first].position <= durable) {
        struct durable_pending p = d->pending[d->pending_first];
        struct durable_shard *sh = &d->shards[p.shard];
        d->pending_first = (d->pending_first + 1) & (d->pending_cap - 1);
        d->pending_n--;
        sh->version_synced = MAX(sh->version_synced, p.version);
        if (!sh->touched) { /* told once, however many entries */
            sh->touched = true;
            touched[n++] = p.shard;
        }
        if (n == TOUCHED_MAX) {
            while (n > 0) {
                tell_durable(d, touched[--n]);
            }
        }
    }
    while (n > 0) {
        tell_durable(d, touched[--n]);
    }
    if (d->s->repl_settings.durable != durable_always(d->s)) {
        replicate_settings_changed(d->s); /* a weaker policy counts from now on */
    }
}

static void list_shards(void *arg, struct str *to)
{
    const struct durable *d = arg;
    for (int i = 0; i < d->n_shards; i++) {
        if (d->shards[i].snapshot != 0) {
            char *at = str_reserve(to, 10);
            put_le16(at, (uint16_t)i);
            put_le64(at + 2, d->shards[i].snapshot);
            to->len += 10;
        }
    }
}

bool durable_begin_log(struct durable *d, const struct recovered *r, struct errmsg *err)
{
    struct wal_settings ws = {.policy = (enum wal_policy)d->s->settings->appendfsync,
                              .n_shards = (uint32_t)d->n_shards,
                              .segment_bytes = (uint64_t)d->s->settings->log_segment_size,
                              .buffer_max = WAL_BUFFER};
    struct wal_port port = {.arg = d,
                            .sync = submit_sync,
                            .progress = on_progress,
                            .shards = list_shards,
                            .remove = durable_unlink};
    int error;
    d->wal = wal_new(d->disk, &ws, &port, r->log.segments, r->log.n_segments, r->position,
                     durable_nonce(d), loop_wall_ms(d->s->loop), &error);
    if (d->wal == NULL) {
        errmsg_set(err, "%s: the log cannot be written: %s", DATA_DIR, strerror(error));
        return false;
    }
    durable_log_clock(d);
    error = durable_write_libraries(d);
    if (error != 0) {
        errmsg_set(err, "%s/" DURABLE_LIBRARIES ": %s", DATA_DIR, strerror(error));
    }
    return error == 0;
}

const struct history *durable_history(const struct durable *d, int shard)
{
    return d->s->repl != NULL ? replicate_history(d->s, shard) : &d->shards[shard].history;
}

/* --- all of the start --- */

static bool import_dump(struct durable *d, bool fresh, struct errmsg *err)
{
    struct server *s = d->s;
    struct str path = {0};
    bool found = false;
    bool good = true;
    if (s->settings->import_rdb[0] != '\0') {
        good = durable_load_rdb(d, s->settings->import_rdb, &found, err);
        if (good && !found) {
            errmsg_set(err, "import-rdb: %s: no such file", s->settings->import_rdb);
            good = false;
        }
    } else if (fresh) {
        str_printf(&path, "%s/%s", s->settings->dir, s->settings->dbfilename);
        good = durable_load_rdb(d, str_cstr(&path), &found, err);
    }
    str_fini(&path);
    for (int i = 0; good && found && i < d->n_shards; i++) {
        struct durable_shard *sh = &d->shards[i];
        if (keyspace_shard_keys(s->ks, i) > 0) {
            /* They count as one entry, which is in no log: a snapshot must hold them. */
            history_add(&sh->history, MAX(history_term(&sh->history), 1));
            sh->version = sh->version_durable = sh->history.version;
            sh->recovered = true;
            sh->wanted = true;
        }
    }
    return good;
}

static bool recover_alone(struct durable *d, bool fresh, struct errmsg *err)
{
    struct server *s = d->s;
    for (int i = 0; i < d->n_shards; i++) {
        keyspace_shard_create(s->ks, i);
    }
    if (!import_dump(d, fresh, err)) {
        return false;
    }
    bool wanted = false;
    for (int i = 0; i < d->n_shards; i++) {
        wanted |= d->shards[i].wanted;
    }
    if (d->wal != NULL && wanted) {
        int error = durable_snapshots_now(d);
        if (error != 0) {
            errmsg_set(err, "%s: snapshots of what was loaded: %s", DATA_DIR, strerror(error));
            return false;
        }
    }
    return true;
}

bool durable_recover(struct server *s, struct errmsg *err)
{
    struct durable *d = s->durable;
    struct recovered r = {0};
    d->n_shards = s->ks->n_shards;
    d->shards = mem_zalloc((size_t)d->n_shards * sizeof(*d->shards));
    d->dump_disk = disk_posix_new(s->settings->dir, err);
    bool good = d->dump_disk != NULL;
    d->syncs = jobs_new(s->loop, "sync");
    d->files = jobs_new(s->loop, "snapshots");
    if (good && d->disk != NULL) {
        good = read_disk(d, &r, err) && durable_read_libraries(d, err);
        if (good) {
            take_shards(d, &r);
            d->position = r.position;
            d->lost_nothing = d->logged_last && r.log.always && r.damaged == 0;
        }
        if (good && s->settings->appendonly) {
            good = durable_begin_log(d, &r, err);
            if (good) {
                void_damaged(d, &r);
            }
        }
        int error = good ? durable_write_meta(d) : 0;
        if (error != 0) {
            errmsg_set(err, "%s/" META_NAME ": %s", DATA_DIR, strerror(error));
            good = false;
        }
    }
    bool fresh = r.keys == 0 && r.entries == 0;
    d->replaces_libraries = true;
    recovered_fini(&r);
    if (good && s->settings->stand_alone) {
        good = recover_alone(d, fresh, err);
    }
    return good;
}

void durable_close(struct server *s)
{
    struct durable *d = s->durable;
    if (d == NULL) {
        return;
    }
    d->listener = NULL;
    durable_saves_fini(d);
    if (d->wal != NULL) {
        (void)wal_flush(d->wal, loop_wall_ms(s->loop));
        jobs_drain(d->syncs);
        if (!wal_close(&d->wal)) {
            log_event(LOG_WARNING, DURABLE_AREA, "the log could not be ended in order");
        }
    }
    jobs_free(&d->syncs);
    jobs_free(&d->files);
    disk_posix_free(&d->disk);
    disk_posix_free(&d->dump_disk);
    tails_free(&d->tails);
    mem_free(d->shards);
    mem_free(d->pending);
    mem_free(d);
    s->durable = NULL;
}

/* --- what recovery found --- */

bool durable_recovered(const struct server *s, int shard, struct repl_found *out)
{
    const struct durable *d = s->durable;
    if (d == NULL || shard >= d->n_shards || !d->shards[shard].recovered) {
        return false;
    }
    *out = (struct repl_found){.history = d->shards[shard].history, .since_us = INT64_MAX};
    if (d->tails != NULL &&
        !tails_of(d->tails, shard, out->history.version, &out->entries, &out->since_us)) {
        out->entries = (struct slice){0};
        out->since_us = INT64_MAX;
    }
    return true;
}

void durable_recovered_taken(struct server *s)
{
    if (s->durable != NULL) {
        tails_free(&s->durable->tails);
    }
}

bool durable_lost_nothing(const struct server *s)
{
    return s->durable != NULL && s->durable->lost_nothing;
}

static bool is_empty(const struct durable *d)
{
    bool empty = true;
    for (int i = 0; i < d->n_shards; i++) {
        empty = empty && !d->shards[i].recovered && d->shards[i].version == 0;
    }
    return empty;
}

/* Nothing is there yet: begins anew for another number of shards. */
static bool resize(struct durable *d, int n_shards, struct errmsg *err)
{
    struct recovered nothing = {.position = d->position};
    durable_saves_reset(d);
    if (d->wal != NULL) {
        nothing.position = wal_end(d->wal);
        jobs_drain(d->syncs);
        if (!wal_close(&d->wal) || durable_wipe(d) != 0) {
            errmsg_set(err, DATA_DIR ": the log for another number of shards cannot be begun");
            return false;
        }
    }
    d->n_shards = n_shards;
    d->shards = mem_realloc(d->shards, (size_t)n_shards * sizeof(*d->shards));
    memset(d->shards, 0, (size_t)n_shards * sizeof(*d->shards));
    d->pending_n = 0;
    return d->disk == NULL || !d->s->settings->appendonly || durable_begin_log(d, &nothing, err);
}

bool durable_seed(struct server *s, uint64_t seed)
{
    struct durable *d = s->durable;
    if (d->disk != NULL && !is_empty(d)) {
        return false;
    }
    uint64_t before = d->hash_seed;
    d->hash_seed = seed;
    if (d->disk != NULL && durable_write_meta(d) != 0) {
        d->hash_seed = before;
        return false;
    }
    return true;
}

bool durable_cluster(struct server *s, const char *cluster_id, int n_shards, struct errmsg *err)
{
    struct durable *d = s->durable;
    bool same = d->n_shards == n_shards;
    if (d->disk == NULL) {
        (void)snprintf(d->cluster_id, sizeof(d->cluster_id), "%s", cluster_id);
        return same || resize(d, n_shards, err);
    }
    if (same && strcmp(d->cluster_id, cluster_id) == 0) {
        return true;
    }
    if ((d->cluster_id[0] != '\0' && strcmp(d->cluster_id, cluster_id) != 0) ||
        (!same && !is_empty(d))) {
        errmsg_set(err,
                   DATA_DIR " holds data of cluster %s with %d shards, not of %s with %d: give "
                            "this node another dir",
                   d->cluster_id[0] == '\0' ? CLUSTER_ALONE : d->cluster_id, d->n_shards,
                   cluster_id, n_shards);
        return false;
    }
    if (!same && !resize(d, n_shards, err)) {
        return false;
    }
    (void)snprintf(d->cluster_id, sizeof(d->cluster_id), "%s", cluster_id);
    int error = durable_write_meta(d);
    if (error != 0) {
        errmsg_set(err, DATA_DIR "/" META_NAME ": %s", strerror(error));
    }
    return error == 0;
}

/* --- the log --- */

bool durable_logs(const struct server *s)
{
    return s->durable != NULL && s->durable->wal != NULL;
}

bool durable_always(const struct server *s)
{
    const struct durable *d = s->durable;
    return durable_logs(s) && wal_always(d->wal) && (!d->enabling || d->whole_at != 0);
}

static struct durable_pending *pending_at(struct durable *d, size_t i)
{
    return &d->pending[(d->pending_first + i) & (d->pending_cap - 1)];
}

/* What ends behind wal_asked becomes durable with one later sync, as far as it is written by then:
 * of each shard the last entry that is written and the last one at all tell of the others. So the
 * queue is bounded by shards and syncs, however long the disk takes, or the log until it is whole
 * again. */
static void thin_pending(struct durable *d)
{
    uint64_t asked = wal_asked(d->wal);
    uint64_t written = wal_written(d->wal);
    bool in_buffer = true;
    bool *seen = mem_zalloc((size_t)d->n_shards * sizeof(*seen));
    size_t kept = d->pending_n; /* those from here on stay: from the last one to the first */
    for (size_t i = d->pending_n; i-- > 0;) {
        struct durable_pending p = *pending_at(d, i);
        if (in_buffer && p.position <= written) {
            in_buffer = false;
            memset(seen, 0, (size_t)d->n_shards * sizeof(*seen));
        }
        if (p.position <= asked || !seen[p.shard]) {
            seen[p.shard] = true;
            *pending_at(d, --kept) = p;
        }
    }
    d->pending_first = (d->pending_first + kept) & (d->pending_cap - 1);
    d->pending_n -= kept;
    mem_free(seen);
}

static void push_pending(struct durable *d, struct durable_pending p)
{
    bool full = d->pending_n == d->pending_cap;
    if (full && d->pending_cap / 4 >= (size_t)d->n_shards) {
        thin_pending(d);
    }
    if (full && d->pending_n >= d->pending_cap / 2) {
        size_t cap = MAX(d->pending_cap * 2, (size_t)PENDING_MIN);
        struct durable_pending *ring = mem_alloc(cap * sizeof(*ring));
        for (size_t i = 0; i < d->pending_n; i++) {
            ring[i] = *pending_at(d, i);
        }
        mem_free(d->pending);
        d->pending = ring;
        d->pending_cap = cap;
        d->pending_first = 0;
    }
    *pending_at(d, d->pending_n++) = p;
}

void durable_logged(struct server *s, const struct entry *e)
{
    struct durable *d = s->durable;
    if (d == NULL || d->wal == NULL) {
        return;
    }
    uint64_t position =
        wal_append(d->wal, WAL_ENTRY, (uint32_t)e->shard, e->term, e->version, e->bytes);
    d->shards[e->shard].version = e->version;
    if (d->pending_n > 0) {
        /* Entries of one shard in a row are one: the last. */
        struct durable_pending *last = pending_at(d, d->pending_n - 1);
        if (last->shard == e->shard && last->position > wal_written(d->wal)) {
            last->position = position;
            last->version = e->version;
            return;
        }
    }
    push_pending(d, (struct durable_pending){position, e->version, e->shard});
}

void durable_discard(struct server *s, int shard)
{
    struct durable *d = s->durable;
    if (d == NULL || shard >= d->n_shards) {
        return;
    }
    struct durable_shard *sh = &d->shards[shard];
    bool in_place = durable_saves_cancel(d, shard);
    bool on_disk = in_place || sh->snapshot != 0 || sh->version != 0 || sh->recovered;
    *sh = (struct durable_shard){.reset = sh->reset};
    for (size_t i = 0; i < d->pending_n; i++) {
        struct durable_pending *p = pending_at(d, i);
        if (p->shard == shard) {
            p->version = 0;
        }
    }
    if (d->wal != NULL) {
        /* Also of one of which nothing is there: it says that entries which do not begin with the
         * first one go on from a copy that is not on disk, and are no damage. */
        sh->reset = wal_append(d->wal, WAL_RESET, (uint32_t)shard, 0, 0, SLICE(""));
    } else if (d->disk != NULL && on_disk) {
        sh->reset = WAL_FIRST;
        remove_void_files(d, WAL_FIRST);
    }
}

void durable_whole(struct server *s, int shard, uint64_t version)
{
    struct durable *d = s->durable;
    /* One without an entry is nothing that could be lost: its log begins with the next. */
    if (d != NULL && d->wal != NULL && version > 0) {
        d->shards[shard].copied = true;
        d->shards[shard].wanted = true;
        durable_log_clock(d);
        durable_saves_tick(d);
    }
}

void durable_turn(struct server *s)
{
    struct durable *d = s->durable;
    if (d == NULL || d->wal == NULL || wal_end(d->wal) == wal_written(d->wal)) {
        return;
    }
    (void)wal_flush(d->wal, loop_wall_ms(s->loop));
}

void durable_meanwhile(struct server *s)
{
    if (s->durable != NULL && s->durable->syncs != NULL) {
        jobs_collect(s->durable->syncs);
    }
}

void durable_tick(struct server *s)
{
    struct durable *d = s->durable;
    if (d == NULL) {
        return;
    }
    if (d->wal != NULL) {
        if (wal_end(d->wal) != d->clock_end && loop_clock_us() - d->clock_us >= CLOCK_EVERY_US) {
            durable_log_clock(d);
        }
        wal_tick(d->wal, loop_now_ms(s->loop), loop_wall_ms(s->loop));
    }
    remove_void_files(d, d->wal != NULL ? wal_durable(d->wal) : UINT64_MAX);
    if (s->settings->appendonly != (d->wal != NULL) && loop_now_ms(s->loop) >= d->switch_retry_ms) {
        durable_switch(d);
    }
    durable_saves_tick(d);
}

uint64_t durable_version(const struct server *s, int shard)
{
    return s->durable == NULL ? 0 : s->durable->shards[shard].version_durable;
}

void durable_listen(struct server *s, durable_fn *fn)
{
    if (s->durable != NULL) {
        s->durable->listener = fn;
    }
}

const char *durable_refusal(struct server *s)
{
    struct durable *d = s->durable;
    if (d == NULL) {
        return NULL;
    }
    if (d->wal != NULL && !wal_ok(d->wal)) {
        (void)snprintf(d->refusal, sizeof(d->refusal), "MISCONF Errors writing to the AOF file: %s",
                       strerror(wal_error(d->wal)));
        return d->refusal;
    }
    if (d->last_save_failed && s->settings->stop_writes_on_bgsave_error &&
        s->settings->save.n > 0) {
        return "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to "
               "persist to disk. Commands that may modify the data set are disabled, because this "
               "instance is configured to report errors during writes if RDB snapshotting fails "
               "(stop-writes-on-bgsave-error option). Please check the Redis logs for details "
               "about the RDB error.";
    }
    return NULL;
}

void durable_settings_changed(struct server *s)
{
    if (durable_logs(s)) {
        wal_set_policy(s->durable->wal, (enum wal_policy)s->settings->appendfsync);
    }
}
