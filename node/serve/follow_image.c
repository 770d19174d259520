// SPDX-License-Identifier: BSD-3-Clause
/* Images of the keys for followers: made in slices of the loop, written to a file by a helper
 * thread or sent at once. */
#include "node/jobs/jobs.h"
#include "node/persist/rdb_file.h"
#include "node/serve/client.h"
#include "node/serve/follow_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/disk_posix.h"
#include "common/io/ticks.h"

#include <stdio.h>
#include <string.h>

#define AREA        "follow"
#define STEP_BYTES  (64U << 10)
#define SLICE_US    1000
#define SLICE_GAP   1                   /* ms */
#define READ_BYTES  ((size_t)64 << 10)  /* of a file at a time */
#define AHEAD_BYTES ((size_t)256 << 10) /* that a follower has not taken yet */
#define MARK_LEN    40

/* One image. Its followers are those that point to it. */
struct image {
    struct list link; /* following.images */
    struct following *w;
    uint64_t from;    /* place of the stream that it is of */
    unsigned without; /* parts */
    bool direct;      /* sent as it is made, to its only follower */
    bool whole;       /* a file that can be read */
    size_t n;         /* followers */
    struct rdb_save *save;
    struct disk_file *file;
    uint64_t size;
    char name[48];
    char mark[MARK_LEN + 1];

    struct disk pipe; /* direct: what "writes" to the follower */
    struct disk_file pipe_file;
    struct follower *to; /* NULL: it went */
};

/* --- jobs --- */

struct file_job {
    struct job job;
    struct rdb_job *rdb;
};

static void run_file(struct job *j)
{
    rdb_job_run(container_of(j, struct file_job, job)->rdb);
}

static void end_file(struct job *j)
{
    struct file_job *job = container_of(j, struct file_job, job);
    rdb_job_done(job->rdb);
    mem_free(job);
}

static void submit(void *arg, struct rdb_job *rdb)
{
    const struct following *w = arg;
    struct file_job *job = mem_zalloc(sizeof(*job));
    job->job.run = run_file;
    job->job.done = end_file;
    job->rdb = rdb;
    jobs_submit(w->files, &job->job);
}

static void run_here(void *arg, struct rdb_job *job)
{
    (void)arg;
    rdb_job_run(job);
    rdb_job_done(job);
}

/* --- a disk that is a follower's connection --- */

static int pipe_open(struct disk *d, const char *name, enum disk_mode mode, struct disk_file **out)
{
    (void)name;
    (void)mode;
    *out = &container_of(d, struct image, pipe)->pipe_file;
    return 0;
}

static int pipe_write(struct disk_file *f, uint64_t at, const void *from, size_t n)
{
    const struct image *im = container_of(f, struct image, pipe_file);
    (void)at;
    if (im->to != NULL) {
        outbuf_append(&im->to->client->stream->out, from, n);
        stream_flush_later(im->to->client->stream);
    }
    return 0;
}

static int pipe_sync(struct disk_file *f)
{
    (void)f;
    return 0;
}

static void pipe_close(struct disk_file *f)
{
    (void)f;
}

static int pipe_rename(struct disk *d, const char *from, const char *to)
{
    (void)d;
    (void)from;
    (void)to;
    return 0;
}

static int pipe_remove(struct disk *d, const char *name)
{
    (void)d;
    (void)name;
    return 0;
}

static int pipe_sync_dir(struct disk *d)
{
    (void)d;
    return 0;
}

static const struct disk_ops pipe_ops = {.open = pipe_open,
                                         .write = pipe_write,
                                         .sync = pipe_sync,
                                         .close = pipe_close,
                                         .rename = pipe_rename,
                                         .remove = pipe_remove,
                                         .sync_dir = pipe_sync_dir};

/* --- making --- */

static void save_library(void *arg, struct slice name, struct slice code)
{
    (void)name;
    rdb_save_library(arg, code);
}

static bool open_files(struct following *w)
{
    struct errmsg err = {0};
    if (w->disk == NULL) {
        w->disk = disk_posix_new(w->s->settings->dir, &err);
    }
    if (w->disk == NULL) {
        log_event(LOG_WARNING, AREA, "no image can be made: %s", err.text);
        return false;
    }
    if (w->files == NULL) {
        w->files = jobs_new(w->s->loop, "images");
    }
    return true;
}

/* Of the keys as they are now; between two groups of the feed. */
static bool begin(struct image *im)
{
    struct following *w = im->w;
    struct server *s = w->s;
    struct rdb_save_port port = {.arg = w,
                                 .run = im->direct ? run_here : submit,
                                 .served_only = true,
                                 .no_keys = (im->without & WITHOUT_KEYS) != 0};
    int error = 0;
    if (!im->direct && !open_files(w)) {
        return false;
    }
    INVARIANT(w->feed.n == 0);
    im->from = w->spool.end;
    w->feed.db = -1;
    im->save = rdb_save_new(im->direct ? &im->pipe : w->disk, im->name, s->ks,
                            s->settings->rdbcompression, loop_wall_ms(s->loop), &port, &error);
    if (im->save == NULL) {
        log_event(LOG_WARNING, AREA, "no image can be made reason=\"%s\"", strerror(error));
        return false;
    }
    if ((im->without & WITHOUT_LIBRARIES) == 0) {
        scripts_each_library(s->scripts, save_library, im->save);
    }
    return true;
}

/* Calls `fn` with each follower that has this image; it may leave. */
typedef void image_fn(struct follower *f, const void *arg);
static void each_follower(struct image *im, image_fn *fn, const void *arg)
{
    LIST_FOREACH_SAFE(it, &im->w->followers) {
        struct follower *f = container_of(it, struct follower, link);
        if (f->image == im) {
            fn(f, arg);
        }
    }
}

static void take_from(struct follower *f, const void *arg)
{
    f->from = *(const uint64_t *)arg;
}

static void end_one(struct follower *f, const void *arg)
{
    follower_end(f, arg);
}

static void send_mark(struct follower *f, const void *arg)
{
    outbuf_append(&f->client->stream->out, arg, MARK_LEN);
    stream_flush_later(f->client->stream);
    image_leave(f);
    follower_has_image(f);
}

static void start_sending(struct follower *f, const void *arg)
{
    const struct image *im = arg;
    char head[32];
    int n = snprintf(head, sizeof(head), "$%llu\r\n", (unsigned long long)im->size);
    f->state = FOLLOWER_GETS;
    follower_welcome(f, im->from);
    outbuf_append(&f->client->stream->out, head, (size_t)n);
    image_pump(f);
}

/* The file is read on, and found by nobody else. */
static int open_whole(struct image *im)
{
    struct disk *d = im->w->disk;
    int error = disk_open(d, im->name, DISK_READ, &im->file);
    error = error != 0 ? error : disk_size(im->file, &im->size);
    (void)disk_remove(d, im->name);
    return error;
}

static void made(struct image *im)
{
    im->w->images_made++;
    im->whole = true;
    log_event(LOG_VERBOSE, AREA, "image made keys=%llu",
              (unsigned long long)rdb_save_keys(im->save));
    rdb_save_free(&im->save);
    if (im->direct) {
        each_follower(im, send_mark, im->mark);
        return;
    }
    int error = open_whole(im);
    if (error != 0) {
        log_event(LOG_WARNING, AREA, "an image cannot be read reason=\"%s\"", strerror(error));
        each_follower(im, end_one, "its image cannot be read");
    } else {
        each_follower(im, start_sending, im);
    }
}

/* FLUSHALL and such broke the view: who has none of it yet gets one of now. */
static void failed(struct image *im, int error)
{
    rdb_save_free(&im->save);
    if (!im->direct) {
        (void)disk_remove(im->w->disk, im->name); /* the end of it may have come too late */
    }
    if (im->n > 0 && error == 0 && !im->direct && begin(im)) {
        each_follower(im, take_from, &im->from);
        return;
    }
    if (error != 0) {
        log_event(LOG_WARNING, AREA, "an image failed reason=\"%s\"", strerror(error));
    }
    each_follower(im, end_one, error == 0 ? "the data set was exchanged" : "its image failed");
}

static void drop(struct image *im)
{
    list_remove(&im->link);
    disk_close(&im->file);
    mem_free(im);
}

static bool is_full(const struct image *im)
{
    return im->to != NULL && im->to->client->stream->out.bytes > AHEAD_BYTES;
}

/* False: there is nothing to do for it now. */
static bool step(struct image *im)
{
    if (im->n == 0 && im->save != NULL) {
        rdb_save_cancel(im->save);
    } else if (im->save == NULL || (im->direct && is_full(im))) {
        return false;
    }
    switch (rdb_save_step(im->save, STEP_BYTES)) {
    case RDB_SAVE_MORE:
        return true;
    case RDB_SAVE_WAITS:
        return false;
    case RDB_SAVE_DONE:
    case RDB_SAVE_FAILED:
        break;
    }
    if (rdb_save_busy(im->save)) {
        return false;
    }
    if (rdb_save_state(im->save) == RDB_SAVE_DONE) {
        made(im);
    } else {
        failed(im, rdb_save_error(im->save));
    }
    return true;
}

static void on_step(struct loop_timer *t)
{
    struct following *w = t->arg;
    int64_t from = ticks_monotonic_ns();
    int64_t spent_us = 0;
    bool waits = false;
    LIST_FOREACH_SAFE(it, &w->images) {
        struct image *im = container_of(it, struct image, link);
        while (spent_us < SLICE_US && step(im)) {
            spent_us = (ticks_monotonic_ns() - from) / 1000;
        }
        waits |= im->save != NULL;
        if (im->n == 0 && im->save == NULL) {
            drop(im);
        }
    }
    w->slice_us_max = MAX(w->slice_us_max, (ticks_monotonic_ns() - from) / 1000);
    if (!waits) {
        loop_timer_stop(t);
    }
}

static void wake(struct following *w)
{
    if (!loop_timer_active(&w->step)) {
        loop_timer_start(&w->step, 0, SLICE_GAP);
    }
}

/* --- who gets which --- */

/* One under way that is of the same. */
static struct image *find(struct following *w, unsigned without)
{
    LIST_FOREACH(it, &w->images) {
        struct image *im = container_of(it, struct image, link);
        if (!im->direct && !im->whole && im->save != NULL && im->n > 0 && im->without == without) {
            return im;
        }
    }
    return NULL;
}

static void make_mark(struct image *im)
{
    for (int i = 0; i < MARK_LEN; i++) {
        im->mark[i] = "0123456789abcdef"[rng_next(&im->w->s->rng) >> 60];
    }
}

static struct image *make(struct following *w, unsigned without, bool direct)
{
    struct image *im = mem_zalloc(sizeof(*im));
    im->w = w;
    im->without = without;
    im->direct = direct;
    im->pipe.ops = &pipe_ops;
    im->pipe_file.disk = &im->pipe;
    (void)snprintf(im->name, sizeof(im->name), "follow-%lld-%llu.rdb", (long long)w->s->pid,
                   (unsigned long long)++w->image_number);
    make_mark(im);
    list_append(&w->images, &im->link);
    return im;
}

static void start_direct(struct image *im, struct follower *f)
{
    struct outbuf *out = &f->client->stream->out;
    im->to = f;
    f->state = FOLLOWER_GETS;
    follower_welcome(f, im->from);
    outbuf_append(out, "$EOF:", 5);
    outbuf_append(out, im->mark, MARK_LEN);
    outbuf_append(out, "\r\n", 2);
    stream_flush_later(f->client->stream);
}

void image_for(struct following *w, struct follower *f)
{
    bool direct = f->eof && w->s->settings->repl_diskless_sync;
    struct image *im = direct ? NULL : find(w, f->without);
    bool good = im != NULL;
    if (im == NULL) {
        im = make(w, f->without, direct);
        good = begin(im);
    }
    wake(w);
    if (!good) {
        follower_end(f, "no image can be made");
        return;
    }
    f->image = im;
    f->image_at = 0;
    f->from = im->from;
    f->state = FOLLOWER_WAITS;
    im->n++;
    if (direct) {
        start_direct(im, f);
    }
}

void image_leave(struct follower *f)
{
    struct image *im = f->image;
    if (im == NULL) {
        return;
    }
    f->image = NULL;
    im->n--;
    im->to = NULL;
    wake(im->w); /* which drops it when the last has left */
}

void image_pump(struct follower *f)
{
    struct image *im = f->image;
    struct stream *st = f->client->stream;
    if (im == NULL || !im->whole || im->direct) {
        return;
    }
    while (f->image_at < im->size && st->out.bytes < AHEAD_BYTES) {
        size_t got = 0;
        size_t n = (size_t)MIN(im->size - f->image_at, (uint64_t)READ_BYTES);
        struct chunk *c = chunk_new(n);
        int error = disk_read(im->file, f->image_at, c->data, n, &got);
        c->len = n;
        if (error == 0 && got == n) {
            outbuf_append_ref(&st->out, c, c->data, n);
        }
        chunk_unref(&c);
        if (error != 0 || got != n) {
            follower_end(f, "its image cannot be read");
            return;
        }
        f->image_at += n;
    }
    stream_flush_later(st);
    if (f->image_at == im->size) {
        image_leave(f);
        follower_has_image(f);
    }
}

/* --- life --- */

void images_init(struct following *w)
{
    list_init(&w->images);
    loop_timer_init(&w->step, w->s->loop, on_step, w);
}

void images_fini(struct following *w)
{
    loop_timer_fini(&w->step);
    LIST_FOREACH(it, &w->images) {
        struct image *im = container_of(it, struct image, link);
        INVARIANT(im->n == 0);
        if (im->save != NULL) {
            rdb_save_cancel(im->save);
        }
    }
    jobs_free(&w->files); /* carries out what is under way */
    LIST_FOREACH_SAFE(it, &w->images) {
        struct image *im = container_of(it, struct image, link);
        rdb_save_free(&im->save);
        drop(im);
    }
    disk_posix_free(&w->disk);
}
