// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/snapshot.h"

#include "node/keyspace/lazyfree.h"
#include "node/persist/snapshot_format.h"
#include "node/types/portrait.h"
#include "node/types/rdb.h"
#include "node/types/string.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <errno.h>

#define MAGIC      0x54a95407U
#define BLOCK_FULL (128U << 10)
#define TAIL_MIN   (256U << 10) /* from here a value is written from where it is */
#define JOBS_MAX   16           /* as many blocks may wait for the disk */

struct snapshot {
    uint32_t magic;
    struct disk *disk;
    struct snapshot_port port;
    struct snapshot_info info;
    struct disk_file *file; /* opened by the first job */
    struct view *view;
    uint64_t nonce;
    struct str block; /* head and bytes of the block that is filled */
    int block_db;     /* that the last key in it is of */
    uint64_t index;
    uint64_t at; /* where in the file the block goes */
    uint64_t keys;
    /* Large values that are written in parts, the oldest first. */
    struct keyspace *ks;
    struct sitter {
        uint64_t number;
        struct portrait *portrait;
    } * sitters;
    size_t n_sitters;
    size_t cap_sitters;
    uint64_t sitters_ever;
    struct str part;
    unsigned under_way;
    enum snapshot_state state;
    int error;
};

/* ---- jobs ---- */

static uint64_t sum_of(const char *bytes, size_t len, const struct chunk *tail, uint64_t seed)
{
    uint64_t sum = hash_bytes(bytes, len, seed);
    return tail == NULL ? sum : hash_bytes(tail->data, tail->len, sum);
}

static int begin_file(struct snapshot *s)
{
    char name[SNAPSHOT_NAME_MAX];
    char head[SNAPSHOT_FILE_HEAD];
    snapshot_name(name, s->info.shard, true);
    int error = disk_open(s->disk, name, DISK_CREATE, &s->file);
    if (error != 0) {
        return error;
    }
    memcpy(head, SNAPSHOT_MAGIC, 8);
    put_le32(head + 8, SNAPSHOT_FORMAT);
    put_le32(head + 12, 0);
    put_le64(head + 16, s->nonce);
    put_le64(head + 24, hash_bytes(head, 24, SNAPSHOT_SEED));
    return disk_write(s->file, 0, head, sizeof(head));
}

static int write_block(struct snapshot_job *job)
{
    struct snapshot *s = job->snapshot;
    if (s->file == NULL) {
        return EIO; /* it could not be opened: told already */
    }
    if (job->tail != NULL) { /* else the loop has done it */
        uint64_t index = get_le64(job->bytes + 16);
        put_le64(job->bytes,
                 sum_of(job->bytes + 8, job->len - 8, job->tail, snapshot_seed(s->nonce, index)));
    }
    int error = disk_write(s->file, job->at, job->bytes, job->len);
    if (error == 0 && job->tail != NULL) {
        error = disk_write(s->file, job->at + job->len, job->tail->data, job->tail->len);
    }
    return error;
}

static int rename_into_place(struct snapshot *s)
{
    if (s->file == NULL) {
        return EIO;
    }
    char from[SNAPSHOT_NAME_MAX];
    char to[SNAPSHOT_NAME_MAX];
    snapshot_name(from, s->info.shard, true);
    snapshot_name(to, s->info.shard, false);
    int error = disk_sync(s->file);
    error = error != 0 ? error : disk_rename(s->disk, from, to);
    return error != 0 ? error : disk_sync_dir(s->disk);
}

void snapshot_job_run(struct snapshot_job *job)
{
    switch (job->task) {
    case SNAPSHOT_OPEN:
        job->error = begin_file(job->snapshot);
        break;
    case SNAPSHOT_WRITE:
        job->error = write_block(job);
        break;
    case SNAPSHOT_RENAME:
        job->error = rename_into_place(job->snapshot);
        break;
    case SNAPSHOT_REMOVE: {
        char name[SNAPSHOT_NAME_MAX];
        snapshot_name(name, job->snapshot->info.shard, true);
        job->error = disk_remove(job->snapshot->disk, name);
        break;
    }
    }
}

static void send_job(struct snapshot *s, enum snapshot_task task, struct str *bytes,
                     struct chunk *tail)
{
    struct snapshot_job *job = mem_zalloc(sizeof(*job));
    job->snapshot = s;
    job->task = task;
    job->at = s->at;
    if (bytes != NULL) {
        job->len = bytes->len;
        job->bytes = str_steal(bytes);
        job->tail = tail == NULL ? NULL : chunk_ref(tail);
        s->at += job->len + (tail == NULL ? 0 : tail->len);
    }
    s->under_way++;
    s->port.run(s->port.arg, job);
}

static void end_sitter(struct snapshot *s, struct sitter *of)
{
    struct object *rest = portrait_free(&of->portrait);
    if (rest != NULL) {
        lazyfree_object(s->ks, rest, true);
    }
}

static void end_sitters(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_sitters; i++) {
        end_sitter(s, &s->sitters[i]);
    }
    s->n_sitters = 0;
}

static void fail(struct snapshot *s, int error)
{
    if (s->state != SNAPSHOT_FAILED) {
        s->state = SNAPSHOT_FAILED;
        end_sitters(s);
        s->error = error;
        send_job(s, SNAPSHOT_REMOVE, NULL, NULL);
    }
}

void snapshot_job_done(struct snapshot_job *job)
{
    struct snapshot *s = job->snapshot;
    CHECK_OBJ(s, MAGIC);
    s->under_way--;
    int error = job->task == SNAPSHOT_REMOVE ? 0 : job->error;
    bool renamed = job->task == SNAPSHOT_RENAME && error == 0;
    mem_free(job->bytes);
    chunk_unref(&job->tail);
    mem_free(job);
    if (error != 0) {
        fail(s, error);
    } else if (renamed && s->state == SNAPSHOT_ENDING) {
        s->state = SNAPSHOT_DONE;
    } else if (s->state == SNAPSHOT_WAITS) {
        s->state = SNAPSHOT_MORE;
    }
}

/* ---- blocks ---- */

static void begin_block(struct snapshot *s, enum snapshot_kind kind)
{
    char *p = str_reserve(&s->block, BLOCK_FULL + BLOCK_FULL / 8);
    memset(p, 0, SNAPSHOT_BLOCK_HEAD);
    put_le32(p + 8, (uint32_t)kind);
    s->block.len = SNAPSHOT_BLOCK_HEAD;
    s->block_db = -1;
}

static void end_block(struct snapshot *s, struct chunk *tail)
{
    char *p = s->block.ptr;
    size_t own = s->block.len - SNAPSHOT_BLOCK_HEAD;
    put_le32(p + 12, tail == NULL ? 0 : (uint32_t)own);
    put_le64(p + 16, s->index);
    put_le64(p + 24, own + (tail == NULL ? 0 : tail->len));
    if (tail == NULL) {
        put_le64(p, sum_of(p + 8, s->block.len - 8, NULL, snapshot_seed(s->nonce, s->index)));
    }
    s->index++;
    send_job(s, SNAPSHOT_WRITE, &s->block, tail);
}

/* ---- content ---- */

static void put_head(struct snapshot *s)
{
    const struct snapshot_info *i = &s->info;
    begin_block(s, SNAPSHOT_HEAD);
    struct str *to = &s->block;
    str_append(to, i->cluster_id, sizeof(i->cluster_id));
    str_append_le32(to, (uint32_t)i->shard);
    str_append_le32(to, (uint32_t)i->n_shards);
    str_append_le64(to, i->position);
    str_append_le64(to, (uint64_t)i->wall_ms);
    str_append_le64(to, i->hash_check);
    str_append_le64(to, i->keys);
    history_encode(&i->history, to);
    end_block(s, NULL);
}

/* Its value comes in parts. */
static void begin_sitter(struct snapshot *s, struct object *o)
{
    if (s->n_sitters == s->cap_sitters) {
        s->cap_sitters = MAX(s->cap_sitters * 2, (size_t)4);
        s->sitters = mem_realloc(s->sitters, s->cap_sitters * sizeof(s->sitters[0]));
    }
    struct sitter *of = &s->sitters[s->n_sitters++];
    *of = (struct sitter){.number = ++s->sitters_ever, .portrait = portrait_new(o, false)};
    struct str *to = &s->block;
    struct slice key = object_key(o);
    struct slice head = portrait_head(of->portrait);
    str_append_char(to, (char)SNAPSHOT_PORTRAIT);
    rdb_write_len(to, of->number);
    str_append_char(to, (char)rdb_type_of(o));
    rdb_write_len(to, key.len);
    str_append_slice(to, key);
    rdb_write_len(to, head.len);
    str_append_slice(to, head);
}

/* Of the oldest. */
static void put_part(struct snapshot *s, size_t bytes)
{
    struct str *to = &s->block;
    str_clear(&s->part);
    bool more = portrait_step(s->sitters[0].portrait, bytes, &s->part);
    if (to->len == 0) {
        begin_block(s, SNAPSHOT_KEYS);
    }
    str_append_char(to, (char)SNAPSHOT_PART);
    rdb_write_len(to, s->sitters[0].number);
    str_append_char(to, (char)!more);
    rdb_write_len(to, s->part.len);
    str_append_slice(to, str_slice(&s->part));
    if (!more) {
        end_sitter(s, &s->sitters[0]);
        memmove(s->sitters, s->sitters + 1, --s->n_sitters * sizeof(s->sitters[0]));
    }
    if (to->len >= BLOCK_FULL) {
        end_block(s, NULL);
    }
}

static void on_key(void *arg, int db, struct object *o)
{
    struct snapshot *s = arg;
    if (s->state == SNAPSHOT_FAILED) {
        return;
    }
    struct str *to = &s->block;
    if (to->len == 0) {
        begin_block(s, SNAPSHOT_KEYS);
    }
    if (db != s->block_db) {
        str_append_char(to, (char)RDB_OPCODE_SELECTDB);
        rdb_write_len(to, (uint64_t)db);
        s->block_db = db;
    }
    int64_t expire = object_expire(o);
    if (expire != OBJECT_NO_EXPIRE) {
        str_append_char(to, (char)RDB_OPCODE_EXPIRE_MS);
        str_append_le64(to, (uint64_t)expire);
    }
    s->keys++;
    if (o->type != OBJECT_STRING && portrait_suits(o)) {
        begin_sitter(s, o);
        return;
    }
    struct slice key = object_key(o);
    str_append_char(to, (char)rdb_type_of(o));
    rdb_write_len(to, key.len);
    str_append_slice(to, key);
    struct chunk *tail = o->type == OBJECT_STRING ? string_chunk(o) : NULL;
    if (tail != NULL && tail->len >= TAIL_MIN) {
        rdb_write_len(to, tail->len);
        end_block(s, tail);
    } else {
        rdb_write_value(to, o, false);
        if (to->len >= BLOCK_FULL) {
            end_block(s, NULL);
        }
    }
}

static void put_foot(struct snapshot *s)
{
    if (s->block.len > 0) {
        end_block(s, NULL);
    }
    begin_block(s, SNAPSHOT_FOOT);
    str_append_le64(&s->block, s->keys);
    end_block(s, NULL);
}

/* ---- life ---- */

struct snapshot *snapshot_new(struct disk *disk, struct keyspace *ks,
                              const struct snapshot_info *info, uint64_t nonce,
                              const struct snapshot_port *port)
{
    struct snapshot *s = mem_zalloc(sizeof(*s));
    s->magic = MAGIC;
    s->disk = disk;
    s->port = *port;
    s->info = *info;
    s->nonce = nonce;
    s->state = SNAPSHOT_MORE;
    s->at = SNAPSHOT_FILE_HEAD;
    s->ks = ks;
    send_job(s, SNAPSHOT_OPEN, NULL, NULL);
    s->view = view_new(ks, info->shard, on_key, s);
    put_head(s);
    return s;
}

void snapshot_free(struct snapshot **sp)
{
    struct snapshot *s = *sp;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, MAGIC);
    INVARIANT(s->under_way == 0);
    view_free(&s->view);
    end_sitters(s);
    mem_free(s->sitters);
    str_fini(&s->part);
    disk_close(&s->file);
    str_fini(&s->block);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}

enum snapshot_state snapshot_step(struct snapshot *s, size_t bytes)
{
    CHECK_OBJ(s, MAGIC);
    if (s->state != SNAPSHOT_MORE) {
        return s->state;
    }
    if (s->under_way >= JOBS_MAX) {
        return s->state = SNAPSHOT_WAITS;
    }
    if (s->n_sitters > 0) {
        put_part(s, bytes);
        return s->state;
    }
    switch (view_step(s->view, bytes)) {
    case VIEW_MORE:
        break;
    case VIEW_BROKEN:
        fail(s, 0);
        break;
    case VIEW_DONE:
        if (s->n_sitters > 0) {
            break; /* it says so again */
        }
        if (s->state == SNAPSHOT_MORE || s->state == SNAPSHOT_WAITS) {
            put_foot(s);
        }
        if (s->state != SNAPSHOT_FAILED) {
            s->state = SNAPSHOT_WRITTEN;
        }
        break;
    }
    return s->state;
}

void snapshot_finish(struct snapshot *s)
{
    INVARIANT(s->state == SNAPSHOT_WRITTEN);
    s->state = SNAPSHOT_ENDING;
    send_job(s, SNAPSHOT_RENAME, NULL, NULL);
}

void snapshot_cancel(struct snapshot *s)
{
    /* One that is being renamed is right as of its version: it may come to its end. */
    if (s->state != SNAPSHOT_DONE && s->state != SNAPSHOT_ENDING) {
        fail(s, 0);
    }
}

enum snapshot_state snapshot_state(const struct snapshot *s)
{
    return s->state;
}

bool snapshot_busy(const struct snapshot *s)
{
    return s->under_way > 0;
}

int snapshot_error(const struct snapshot *s)
{
    return s->error;
}

const struct snapshot_info *snapshot_info(const struct snapshot *s)
{
    return &s->info;
}

uint64_t snapshot_bytes(const struct snapshot *s)
{
    return s->at;
}

uint64_t snapshot_keys(const struct snapshot *s)
{
    return s->keys;
}
