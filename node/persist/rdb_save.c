// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/lazyfree.h"
#include "node/persist/rdb_file.h"
#include "node/types/portrait.h"
#include "node/types/rdb.h"
#include "node/types/string.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/mem.h"

#include <stdio.h>

#define MAGIC      0x4db5a7e1U
#define BLOCK_FULL (128U << 10)
#define TAIL_MIN   (256U << 10)
#define JOBS_MAX   16

struct rdb_save {
    uint32_t magic;
    struct disk *disk;
    struct rdb_save_port port;
    struct disk_file *file;
    char *name;
    char *unfinished;
    bool compress;
    struct view **views; /* by shard; NULL: not held, or over */
    int n_shards;
    int shard; /* whose turn it is */
    int db;    /* that the last key written is of */
    struct str block;
    /* Large values that are written in parts, one behind the other, and what waits for its turn
     * behind them. */
    struct keyspace *ks;
    struct sitter {
        struct str head; /* all up to the first part, until that is written */
        struct portrait *portrait;
    } * sitters;
    size_t n_sitters;
    size_t cap_sitters;
    struct str aside;
    uint64_t keys;
    unsigned under_way;
    enum rdb_save_state state;
    int error;

    /* the jobs' */
    uint64_t at;
    uint64_t crc;
};

/* ---- jobs ---- */

static int write_out(struct rdb_save *s, const char *bytes, size_t len)
{
    int error = disk_write(s->file, s->at, bytes, len);
    s->at += len;
    s->crc = crc64(s->crc, bytes, len);
    return error;
}

static int finish_file(struct rdb_save *s)
{
    char sum[8];
    put_le64(sum, s->crc);
    int error = disk_write(s->file, s->at, sum, sizeof(sum));
    error = error != 0 ? error : disk_sync(s->file);
    error = error != 0 ? error : disk_rename(s->disk, s->unfinished, s->name);
    return error != 0 ? error : disk_sync_dir(s->disk);
}

void rdb_job_run(struct rdb_job *job)
{
    struct rdb_save *s = job->save;
    switch (job->task) {
    case RDB_WRITE:
        job->error = write_out(s, job->bytes, job->len);
        if (job->error == 0 && job->tail != NULL) {
            job->error = write_out(s, job->tail->data, job->tail->len);
        }
        break;
    case RDB_RENAME:
        job->error = finish_file(s);
        break;
    case RDB_REMOVE:
        (void)disk_remove(s->disk, s->unfinished);
        break;
    }
}

static void send_job(struct rdb_save *s, enum rdb_task task, struct chunk *tail)
{
    struct rdb_job *job = mem_zalloc(sizeof(*job));
    job->save = s;
    job->task = task;
    if (task == RDB_WRITE) {
        job->len = s->block.len;
        job->bytes = str_steal(&s->block);
        job->tail = tail == NULL ? NULL : chunk_ref(tail);
    }
    s->under_way++;
    s->port.run(s->port.arg, job);
}

static void end_sitter(struct rdb_save *s, struct sitter *of)
{
    struct object *rest = portrait_free(&of->portrait);
    if (rest != NULL) {
        lazyfree_object(s->ks, rest, true);
    }
    str_fini(&of->head);
}

static void end_sitters(struct rdb_save *s)
{
    for (size_t i = 0; i < s->n_sitters; i++) {
        end_sitter(s, &s->sitters[i]);
    }
    s->n_sitters = 0;
}

static void fail(struct rdb_save *s, int error)
{
    if (s->state != RDB_SAVE_FAILED && s->state != RDB_SAVE_DONE) {
        s->state = RDB_SAVE_FAILED;
        s->error = error;
        end_sitters(s);
        send_job(s, RDB_REMOVE, NULL);
    }
}

void rdb_job_done(struct rdb_job *job)
{
    struct rdb_save *s = job->save;
    CHECK_OBJ(s, MAGIC);
    s->under_way--;
    int error = job->error;
    bool renamed = job->task == RDB_RENAME && error == 0;
    mem_free(job->bytes);
    chunk_unref(&job->tail);
    mem_free(job);
    if (error != 0) {
        fail(s, error);
    } else if (renamed && s->state != RDB_SAVE_FAILED) {
        s->state = RDB_SAVE_DONE;
    }
}

/* ---- content ---- */

static void put_aux(struct str *to, const char *name, const char *value)
{
    str_append_char(to, (char)RDB_OPCODE_AUX);
    rdb_write_string(to, slice_str(name), false);
    rdb_write_string(to, slice_str(value), false);
}

static void put_head(struct rdb_save *s, int64_t wall_ms)
{
    char number[32];
    struct str *to = &s->block;
    str_printf(to, "REDIS%04d", RDB_VERSION);
    put_aux(to, "redis-ver", "7.0.15");
    put_aux(to, "redis-bits", "64");
    snprintf(number, sizeof(number), "%lld", (long long)(wall_ms / 1000));
    put_aux(to, "ctime", number);
    snprintf(number, sizeof(number), "%zu", mem_used());
    put_aux(to, "used-mem", number);
    put_aux(to, "aof-base", "0");
}

/* All of a key but its value; *last_db: of the one before it there. */
static void put_key(const struct rdb_save *s, struct str *to, int *last_db, int db,
                    const struct object *o)
{
    if (db != *last_db) {
        str_append_char(to, (char)RDB_OPCODE_SELECTDB);
        rdb_write_len(to, (uint64_t)db);
        *last_db = db;
    }
    int64_t expire = object_expire(o);
    if (expire != OBJECT_NO_EXPIRE) {
        char at[8];
        put_le64(at, (uint64_t)expire);
        str_append_char(to, (char)RDB_OPCODE_EXPIRE_MS);
        str_append(to, at, sizeof(at));
    }
    str_append_char(to, (char)rdb_type_of(o));
    rdb_write_string(to, object_key(o), s->compress);
}

/* Its value comes in parts. */
static void begin_sitter(struct rdb_save *s, int db, struct object *o)
{
    if (s->n_sitters == s->cap_sitters) {
        s->cap_sitters = MAX(s->cap_sitters * 2, (size_t)4);
        s->sitters = mem_realloc(s->sitters, s->cap_sitters * sizeof(s->sitters[0]));
    }
    struct sitter *of = &s->sitters[s->n_sitters++];
    *of = (struct sitter){.portrait = portrait_new(o, s->compress)};
    int none = -1;
    put_key(s, &of->head, &none, db, o);
    str_append_slice(&of->head, portrait_head(of->portrait));
}

/* Of the oldest. What was to be written meanwhile follows when there is none left. */
static void put_part(struct rdb_save *s, size_t bytes)
{
    struct sitter *of = &s->sitters[0];
    str_append_slice(&s->block, str_slice(&of->head));
    str_clear(&of->head);
    if (!portrait_step(of->portrait, bytes, &s->block)) {
        end_sitter(s, of);
        memmove(s->sitters, s->sitters + 1, --s->n_sitters * sizeof(s->sitters[0]));
        s->db = -1;
    }
    if (s->n_sitters == 0 && s->aside.len > 0) {
        str_append_slice(&s->block, str_slice(&s->aside));
        str_clear(&s->aside);
    }
    if (s->block.len >= BLOCK_FULL) {
        send_job(s, RDB_WRITE, NULL);
    }
}

static void on_key(void *arg, int db, struct object *o)
{
    struct rdb_save *s = arg;
    if (s->state == RDB_SAVE_FAILED) {
        return;
    }
    s->keys++;
    if (o->type != OBJECT_STRING && portrait_suits(o)) {
        begin_sitter(s, db, o);
        return;
    }
    if (s->n_sitters > 0) { /* it must not stand within their values */
        int none = -1;
        put_key(s, &s->aside, &none, db, o);
        rdb_write_value(&s->aside, o, s->compress);
        return;
    }
    struct str *to = &s->block;
    put_key(s, to, &s->db, db, o);
    struct chunk *tail = o->type == OBJECT_STRING ? string_chunk(o) : NULL;
    if (tail != NULL && tail->len >= TAIL_MIN) {
        rdb_write_len(to, tail->len);
        send_job(s, RDB_WRITE, tail);
    } else {
        rdb_write_value(to, o, s->compress);
        if (to->len >= BLOCK_FULL) {
            send_job(s, RDB_WRITE, NULL);
        }
    }
}

/* ---- life ---- */

struct rdb_save *rdb_save_new(struct disk *disk, const char *name, struct keyspace *ks,
                              bool compress, int64_t wall_ms, const struct rdb_save_port *port,
                              int *error)
{
    struct rdb_save *s = mem_zalloc(sizeof(*s));
    struct str unfinished = {0};
    str_printf(&unfinished, "%s.new", name);
    s->magic = MAGIC;
    s->disk = disk;
    s->port = *port;
    s->name = mem_strdup(name);
    s->unfinished = str_steal(&unfinished);
    s->compress = compress;
    s->ks = ks;
    s->n_shards = ks->n_shards;
    s->db = -1;
    s->views = mem_zalloc((size_t)ks->n_shards * sizeof(struct view *));
    *error = disk_open(disk, s->unfinished, DISK_CREATE, &s->file);
    if (*error != 0) {
        rdb_save_free(&s);
        return NULL;
    }
    put_head(s, wall_ms);
    for (int i = 0; i < ks->n_shards && !port->no_keys; i++) {
        bool wanted = port->served_only ? keyspace_serves(ks, i) : ks->shards[i] != NULL;
        s->views[i] = wanted ? view_new(ks, i, on_key, s) : NULL;
    }
    return s;
}

void rdb_save_library(struct rdb_save *s, struct slice code)
{
    CHECK_OBJ(s, MAGIC);
    str_append_char(&s->block, (char)RDB_OPCODE_FUNCTION2);
    rdb_write_string(&s->block, code, s->compress);
}

void rdb_save_free(struct rdb_save **sp)
{
    struct rdb_save *s = *sp;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, MAGIC);
    INVARIANT(s->under_way == 0);
    for (int i = 0; i < s->n_shards; i++) {
        view_free(&s->views[i]);
    }
    mem_free(s->views);
    end_sitters(s);
    mem_free(s->sitters);
    str_fini(&s->aside);
    disk_close(&s->file);
    mem_free(s->name);
    mem_free(s->unfinished);
    str_fini(&s->block);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}

static void finish(struct rdb_save *s)
{
    str_append_char(&s->block, (char)RDB_OPCODE_EOF);
    send_job(s, RDB_WRITE, NULL);
    if (s->state != RDB_SAVE_FAILED) {
        s->state = RDB_SAVE_WAITS;
        send_job(s, RDB_RENAME, NULL);
    }
}

enum rdb_save_state rdb_save_step(struct rdb_save *s, size_t bytes)
{
    CHECK_OBJ(s, MAGIC);
    if (s->state != RDB_SAVE_MORE || s->under_way >= JOBS_MAX) {
        return s->state == RDB_SAVE_MORE ? RDB_SAVE_WAITS : s->state;
    }
    if (s->n_sitters > 0) {
        put_part(s, bytes);
        return s->state;
    }
    while (s->shard < s->n_shards && s->views[s->shard] == NULL) {
        s->shard++;
    }
    if (s->shard == s->n_shards) {
        finish(s);
        return s->state;
    }
    switch (view_step(s->views[s->shard], bytes)) {
    case VIEW_MORE:
        break;
    case VIEW_BROKEN:
        fail(s, 0);
        break;
    case VIEW_DONE:
        view_free(&s->views[s->shard]);
        break;
    }
    return s->state;
}

enum rdb_save_state rdb_save_state(const struct rdb_save *s)
{
    return s->state;
}

bool rdb_save_busy(const struct rdb_save *s)
{
    return s->under_way > 0;
}

int rdb_save_error(const struct rdb_save *s)
{
    return s->error;
}

uint64_t rdb_save_keys(const struct rdb_save *s)
{
    return s->keys;
}

void rdb_save_cancel(struct rdb_save *s)
{
    fail(s, 0);
}
