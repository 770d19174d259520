// SPDX-License-Identifier: BSD-3-Clause
/* appendonly switched on and off while the node runs, and which files hold the later state when it
 * was off.
 *
 * On: the log begins, and every shard gets a snapshot; before all are done the folder says that it
 * was not logged all through, and nobody relies on it, so no reply waits for the disk before either
 * (appendfsync always). Off: the log ends in order; what is in the folder is from then on an old
 * state. */
#include "node/serve/dispatch.h"
#include "node/serve/durable_priv.h"
#include "node/serve/replicate.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/disk_posix.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define OFF_RETRY_MS 1000

/* --- files --- */

struct file_names {
    char (*of)[32];
    size_t n;
};

static void note_name(void *arg, const char *name)
{
    struct file_names *l = arg;
    uint64_t seq;
    if (wal_parse_name(name, &seq) || (strncmp(name, "shard.", 6) == 0 && strlen(name) < 32) ||
        strcmp(name, DURABLE_LIBRARIES) == 0) {
        l->of = mem_realloc(l->of, (l->n + 1) * sizeof(*l->of));
        (void)snprintf(l->of[l->n++], sizeof(*l->of), "%s", name);
    }
}

int durable_wipe(struct durable *d)
{
    struct file_names l = {0};
    int error = disk_list(d->disk, note_name, &l);
    for (size_t i = 0; i < l.n && error == 0; i++) {
        error = disk_remove(d->disk, l.of[i]);
    }
    mem_free(l.of);
    return error;
}

static int64_t changed_ns(const char *dir, const char *folder, const char *name)
{
    struct str path = {0};
    struct stat st;
    str_printf(&path, "%s/%s%s", dir, folder, name);
    int rc = stat(str_cstr(&path), &st);
    str_fini(&path);
    return rc != 0 ? -1 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

bool durable_dump_is_newer(struct durable *d)
{
    const struct settings *o = d->s->settings;
    struct file_names l = {0};
    int64_t newest = -1;
    (void)disk_list(d->disk, note_name, &l);
    for (size_t i = 0; i < l.n; i++) {
        newest = MAX(newest, changed_ns(o->dir, "shoal-data/", l.of[i]));
    }
    mem_free(l.of);
    return changed_ns(o->dir, "", o->dbfilename) > newest;
}

/* --- on --- */

/* The keys of a shard that was never logged count as one entry: a snapshot will hold them. */
static void count_keys_as_entry(struct durable *d)
{
    for (int i = 0; i < d->n_shards; i++) {
        struct durable_shard *sh = &d->shards[i];
        if (keyspace_shard_keys(d->s->ks, i) > 0) {
            history_add(&sh->history, MAX(history_term(&sh->history), 1));
        }
        sh->recovered = true;
    }
}

static void want_all(struct durable *d)
{
    for (int i = 0; i < d->n_shards; i++) {
        struct durable_shard *sh = &d->shards[i];
        uint64_t version = d->s->ks->shards[i] == NULL ? 0 : durable_history(d, i)->version;
        struct durable_shard next = {.history = sh->history, .recovered = sh->recovered};
        next.version = next.version_synced = version;
        next.wanted = next.copied = version > 0;
        *sh = next;
    }
}

void durable_whole_on_disk(struct durable *d)
{
    if (d->whole_at != 0 && wal_durable(d->wal) >= d->whole_at) {
        d->whole_at = 0;
        d->enabling = false;
        (void)durable_write_meta(d);
    }
}

void durable_all_have_snapshots(struct durable *d)
{
    d->whole_at = wal_end(d->wal);
    replicate_settings_changed(d->s);
    (void)wal_flush(d->wal, loop_wall_ms(d->s->loop));
    wal_sync(d->wal);
    durable_whole_on_disk(d);
}

static bool switch_on(struct durable *d, struct errmsg *err)
{
    struct server *s = d->s;
    struct recovered nothing = {.position = d->position};
    durable_saves_reset(d);
    if (d->disk == NULL && !durable_open_folder(d, err)) {
        return false;
    }
    d->enabling = true;
    int error = durable_wipe(d);
    error = error != 0 ? error : durable_write_meta(d);
    if (error != 0) {
        errmsg_set(err, "%s", strerror(error));
        return false;
    }
    bool alone = s->repl == NULL;
    if (alone) {
        count_keys_as_entry(d);
    }
    want_all(d);
    if (!durable_begin_log(d, &nothing, err)) {
        return false;
    }
    if (alone) {
        replicate_start(s, d->n_shards, true);
        replicate_alone(s);
    }
    if (!durable_any_wanted(d)) {
        durable_all_have_snapshots(d);
    }
    return true;
}

/* --- off --- */

/* That there is no log is on disk before it ends: else a node that starts again would claim to have
 * all that it acknowledged. False: it goes on. */
static bool switch_off(struct durable *d, struct errmsg *err)
{
    bool enabling = d->enabling;
    d->enabling = true; /* as one that is not whole yet: not counted on */
    int error = durable_write_meta(d);
    if (error != 0) {
        d->enabling = enabling;
        errmsg_set(err, "%s", strerror(error));
        return false;
    }
    durable_saves_reset(d);
    (void)wal_flush(d->wal, loop_wall_ms(d->s->loop));
    jobs_drain(d->syncs);
    /* The mark and the end that closing appends. */
    d->position = wal_end(d->wal) + (uint64_t)2 * (WAL_RECORD_BYTES + 8);
    if (!wal_close(&d->wal)) {
        log_event(LOG_WARNING, DURABLE_AREA, "the log could not be ended in order");
    }
    d->enabling = false;
    d->whole_at = 0;
    d->pending_n = 0;
    for (int i = 0; i < d->n_shards; i++) {
        d->shards[i].wanted = d->shards[i].copied = false;
    }
    return true;
}

/* A log that cannot be switched off goes on, and is tried again. */
static void end_log(struct durable *d)
{
    struct errmsg err = {0};
    if (switch_off(d, &err)) {
        d->off_failed = false;
        d->switch_retry_ms = 0;
        log_event(LOG_NOTICE, DURABLE_AREA, "the log of writes is off");
        return;
    }
    d->switch_retry_ms = loop_now_ms(d->s->loop) + OFF_RETRY_MS;
    if (!d->off_failed) {
        d->off_failed = true;
        log_event(LOG_WARNING, DURABLE_AREA,
                  "the log of writes cannot be switched off yet, it is tried again: %s", err.text);
    }
}

void durable_switch(struct durable *d)
{
    struct server *s = d->s;
    struct errmsg err = {0};
    dispatch_run(s); /* what waits began before */
    if (d->wal != NULL) {
        end_log(d);
    } else if (switch_on(d, &err)) {
        log_event(LOG_NOTICE, DURABLE_AREA, "the log of writes is on");
    } else {
        d->enabling = false;
        s->settings->appendonly = false;
        log_event(LOG_WARNING, DURABLE_AREA, "the log of writes cannot be switched on: %s",
                  err.text);
    }
    replicate_settings_changed(s);
    durable_saves_tick(d);
}
