// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/recover.h"

#include "node/keyspace/clock.h"
#include "node/keyspace/table.h"
#include "node/persist/snapshot.h"
#include "node/persist/snapshot_format.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <stdlib.h>

struct recovering {
    struct disk *disk;
    struct keyspace *ks;
    struct applier applier;
    struct recovered *out;
    uint64_t hash_check;
    bool keep_damaged;
    struct tails *tails; /* or NULL */
    int64_t now_ms;
    int shard; /* whose snapshot is read */
    struct table *table;
    int table_db;
    uint8_t *listed; /* by shard: the last WAL_SHARDS names it */
};

/* ---- which shards there are ---- */

struct file_list {
    int *shards;
    size_t n;
    size_t logs;
};

static void note_name(void *arg, const char *name)
{
    struct file_list *list = arg;
    uint64_t seq;
    int shard;
    int used = 0;
    list->logs += wal_parse_name(name, &seq);
    if (sscanf(name, "shard.%5d%n", &shard, &used) == 1 && used == 11 && name[used] == '\0' &&
        shard >= 0) {
        list->shards = mem_realloc(list->shards, (list->n + 1) * sizeof(int));
        list->shards[list->n++] = shard;
    }
}

struct peek {
    int n_shards;
};

static bool peek_head(void *arg, const struct snapshot_info *info)
{
    ((struct peek *)arg)->n_shards = info->n_shards;
    return false; /* that is all */
}

static void no_key(void *arg, int db, struct object *o)
{
    (void)arg;
    (void)db;
    object_free(&o);
}

static void no_record(void *arg, const struct wal_record *r)
{
    (void)arg;
    (void)r;
}

int recover_shards(struct disk *disk, int *n_shards, struct errmsg *err)
{
    struct file_list list = {0};
    *n_shards = 0;
    int error = disk_list(disk, note_name, &list);
    for (size_t i = 0; error == 0 && i < list.n && *n_shards == 0; i++) {
        struct peek p = {0};
        struct snapshot_target t = {.arg = &p, .head = peek_head, .key = no_key};
        char why[256];
        (void)snapshot_read(disk, list.shards[i], &t, why, &error);
        *n_shards = p.n_shards;
    }
    if (error == 0 && *n_shards == 0 && list.logs > 0) {
        struct wal_visitor v = {.record = no_record};
        struct wal_found f;
        error = wal_read(disk, UINT64_MAX, &v, &f);
        *n_shards = (int)f.n_shards;
        wal_found_fini(&f);
    }
    if (error == 0 && *n_shards == 0 && list.n > 0) {
        errmsg_set(err, "no file of %zu snapshots can be read", list.n);
        error = -1;
    }
    mem_free(list.shards);
    return error;
}

/* ---- damage ---- */

static void drop(struct recovering *r, int shard)
{
    keyspace_shard_drop(r->ks, shard);
    while (keyspace_lazyfree_step(r->ks, UINT64_MAX)) {
    }
}

static void damaged(struct recovering *r, int shard, const char *why)
{
    struct recover_shard *s = &r->out->shards[shard];
    if (s->state == RECOVER_DAMAGED) {
        return;
    }
    log_event(LOG_WARNING, "recovery", "shard is DAMAGED shard=%d version=%llu: %s", shard,
              (unsigned long long)s->history.version, why);
    if (r->out->why[0] == '\0') {
        snprintf(r->out->why, sizeof(r->out->why), "%s", why);
    }
    s->state = RECOVER_DAMAGED;
    r->out->damaged++;
    if (!r->keep_damaged) {
        drop(r, shard);
        s->history = (struct history){0};
    }
}

/* ---- snapshots ---- */

static bool take_head(void *arg, const struct snapshot_info *info)
{
    struct recovering *r = arg;
    if (info->n_shards != r->ks->n_shards) {
        return false;
    }
    struct recover_shard *s = &r->out->shards[r->shard];
    s->history = info->history;
    s->snapshot = info->position;
    s->snapshot_version = info->history.version;
    s->snapshot_ms = info->wall_ms;
    keyspace_shard_create(r->ks, r->shard);
    if (info->keys > 0) {
        /* A wrong number costs memory that comes back, no more: it is bounded by the file. */
        keyspace_reserve(r->ks, 0, r->shard, MIN(info->keys, UINT64_C(1) << 28));
    }
    r->table_db = -1;
    return true;
}

static void take_key(void *arg, int db, struct object *o)
{
    struct recovering *r = arg;
    if (db != r->table_db) {
        r->table = db < r->ks->n_dbs ? keyspace_table(r->ks, db, (uint32_t)r->shard) : NULL;
        r->table_db = db;
    }
    if (r->table == NULL) {
        object_free(&o); /* `databases` was higher: as if it were not there */
        return;
    }
    clock_start(r->ks, o, r->now_ms);
    table_add(r->table, keyspace_hash(r->ks, object_key(o)), o);
    r->out->keys++;
}

static int read_snapshot(struct recovering *r, int shard)
{
    char why[256];
    int error;
    struct snapshot_target t = {.arg = r, .head = take_head, .key = take_key};
    struct recover_shard *s = &r->out->shards[shard];
    r->shard = shard;
    switch (snapshot_read(r->disk, shard, &t, why, &error)) {
    case SNAPSHOT_NONE:
        break;
    case SNAPSHOT_GOOD:
        s->state = RECOVER_GOOD;
        break;
    case SNAPSHOT_DAMAGED:
        if (r->ks->shards[shard] == NULL) {
            keyspace_shard_create(r->ks, shard);
        }
        damaged(r, shard, why);
        break;
    case SNAPSHOT_UNREAD:
        return error;
    }
    return 0;
}

/* ---- the log ---- */

static void void_shard(struct recovering *r, int shard)
{
    struct recover_shard *s = &r->out->shards[shard];
    drop(r, shard);
    r->out->damaged -= s->state == RECOVER_DAMAGED;
    *s = (struct recover_shard){.state = RECOVER_VOID};
}

static void take_entry(struct recovering *r, const struct wal_record *rec)
{
    struct recover_shard *s = &r->out->shards[rec->shard];
    struct entry e;
    if (s->state == RECOVER_DAMAGED || rec->position < s->snapshot) {
        return;
    }
    if (s->state == RECOVER_VOID && rec->version != 1) {
        return; /* of a copy that never became whole here */
    }
    if (rec->version != s->history.version + 1 || rec->term < history_term(&s->history)) {
        damaged(r, (int)rec->shard, "entries of the log are missing, or not in order");
        return;
    }
    if (entry_read(rec->bytes, &e) != (int64_t)rec->bytes.len || e.shard != (int)rec->shard ||
        e.version != rec->version || e.term != rec->term) {
        damaged(r, (int)rec->shard, "a record of the log holds no entry");
        return;
    }
    if (s->state == RECOVER_NONE || s->state == RECOVER_VOID) {
        s->state = RECOVER_GOOD;
        keyspace_shard_create(r->ks, (int)rec->shard);
    }
    if (!apply_entry(&r->applier, r->ks, &e)) {
        damaged(r, (int)rec->shard, r->applier.error);
        return;
    }
    history_add(&s->history, rec->term);
    r->out->entries++;
}

static void take_list(struct recovering *r, struct slice list)
{
    memset(r->listed, 0, (size_t)r->ks->n_shards);
    for (size_t at = 0; at + 10 <= list.len; at += 10) {
        unsigned shard = get_le16(list.ptr + at);
        if (shard < (unsigned)r->ks->n_shards) {
            r->listed[shard] = 1;
        }
    }
}

static void note_tail(struct tails *t, const struct wal_record *rec)
{
    if (rec->kind == WAL_ENTRY) {
        tails_entry(t, (int)rec->shard, rec->version, rec->position, rec->bytes);
    } else if (rec->kind == WAL_RESET) {
        tails_reset(t, (int)rec->shard, rec->position);
    } else if (rec->kind == WAL_CLOCK) {
        tails_clock(t, rec->position, rec->bytes);
    }
}

static void take_record(void *arg, const struct wal_record *rec)
{
    struct recovering *r = arg;
    if (rec->shard >= (uint32_t)r->ks->n_shards) {
        return;
    }
    if (r->tails != NULL) {
        note_tail(r->tails, rec);
    }
    switch (rec->kind) {
    case WAL_ENTRY:
        take_entry(r, rec);
        break;
    case WAL_RESET:
        r->listed[rec->shard] = 0;
        if (rec->position >= r->out->shards[rec->shard].snapshot) {
            void_shard(r, (int)rec->shard);
        }
        break;
    case WAL_SHARDS:
        take_list(r, rec->bytes);
        break;
    case WAL_SNAPSHOT:
        r->listed[rec->shard] = 1;
        break;
    case WAL_MARK:
    case WAL_POLICY:
    case WAL_END:
    case WAL_CLOCK:
    case WAL_KINDS:
        break;
    }
}

/* Whoever needs what is missing cannot be told from the rest: all whose snapshot does not reach
 * beyond it. */
static void take_hole(void *arg, uint64_t until)
{
    struct recovering *r = arg;
    if (r->tails != NULL) {
        tails_hole(r->tails, until);
    }
    for (int i = 0; i < r->ks->n_shards; i++) {
        struct recover_shard *s = &r->out->shards[i];
        if ((s->state == RECOVER_GOOD || s->state == RECOVER_NONE) &&
            (s->snapshot == 0 || s->snapshot < until)) {
            damaged(r, i, "the log is damaged behind the shard's snapshot");
        }
    }
}

static uint64_t needed_from(const struct recovered *out)
{
    uint64_t from = UINT64_MAX;
    for (int i = 0; i < out->n_shards; i++) {
        from = MIN(from, out->shards[i].snapshot);
    }
    return from;
}

/* The log was durable up to each of them before it was put in place. */
static uint64_t newest_snapshot(const struct recovered *out)
{
    uint64_t newest = 0;
    for (int i = 0; i < out->n_shards; i++) {
        newest = MAX(newest, out->shards[i].snapshot);
    }
    return newest;
}

static void check_reach(struct recovering *r)
{
    struct recovered *out = r->out;
    for (int i = 0; i < out->n_shards; i++) {
        struct recover_shard *s = &out->shards[i];
        if (s->state == RECOVER_GOOD && s->snapshot != 0 && s->snapshot < out->log.start) {
            damaged(r, i, "the log begins behind the shard's snapshot");
        }
        if (s->state == RECOVER_GOOD && s->snapshot > WAL_FIRST && s->snapshot > out->log.end) {
            damaged(r, i, "the log ends before the shard's snapshot");
        }
        if (s->snapshot == 0 && r->listed[i] != 0 && s->state != RECOVER_DAMAGED) {
            damaged(r, i, "the shard's snapshot is not there any more");
        }
        out->position = MAX(out->position, s->snapshot);
    }
}

int recover_run(struct disk *disk, struct keyspace *ks, const struct call_table *table,
                uint64_t hash_check, bool keep_damaged, struct tails *tails, struct recovered *out)
{
    *out = (struct recovered){.n_shards = ks->n_shards};
    out->shards = mem_zalloc((size_t)ks->n_shards * sizeof(*out->shards));
    struct recovering r = {.disk = disk,
                           .ks = ks,
                           .out = out,
                           .hash_check = hash_check,
                           .keep_damaged = keep_damaged,
                           .tails = tails};
    r.listed = mem_zalloc((size_t)ks->n_shards);
    applier_init(&r.applier, table);
    struct file_list list = {0};
    int error = disk_list(disk, note_name, &list);
    for (size_t i = 0; i < list.n && error == 0; i++) {
        if (list.shards[i] < ks->n_shards) {
            error = read_snapshot(&r, list.shards[i]);
        }
    }
    if (error == 0) {
        struct wal_visitor v = {
            .arg = &r, .record = take_record, .hole = take_hole, .durable = newest_snapshot(out)};
        if (tails != NULL) {
            tails_begin(tails, needed_from(out));
        }
        error = wal_read(disk, needed_from(out), &v, &out->log);
        out->position = MAX(out->log.end, (uint64_t)WAL_FIRST);
        check_reach(&r);
    }
    mem_free(list.shards);
    mem_free(r.listed);
    applier_fini(&r.applier);
    return error;
}

void recovered_fini(struct recovered *r)
{
    mem_free(r->shards);
    wal_found_fini(&r->log);
    *r = (struct recovered){0};
}
