// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/snapshot.h"
#include "node/persist/snapshot_format.h"
#include "node/types/draft.h"
#include "node/types/rdb.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <errno.h>

#define READ_AHEAD (1U << 20) /* read at a time, as many blocks as are in it */

struct input {
    struct disk_file *file;
    uint64_t size;
    uint64_t nonce;
    char *bytes; /* of the file from `at` on */
    size_t len;
    size_t cap;
    uint64_t at;
    int error;
};

static const char *look(struct input *in, uint64_t at, uint64_t n)
{
    if (at > in->size || n > in->size - at || n > SIZE_MAX / 2) {
        return NULL;
    }
    if (at < in->at || at + n > in->at + in->len) {
        size_t want = (size_t)MIN(MAX(n, (uint64_t)READ_AHEAD), in->size - at);
        if (want > in->cap) {
            mem_free(in->bytes);
            in->bytes = mem_try_alloc(want);
            in->cap = in->bytes == NULL ? 0 : want;
            if (in->bytes == NULL) {
                in->error = ENOMEM;
                in->len = 0;
                return NULL;
            }
        }
        in->at = at;
        in->len = 0;
        in->error = disk_read(in->file, at, in->bytes, want, &in->len);
        if (in->error != 0 || in->len < n) {
            in->len = 0;
            return NULL;
        }
    }
    return in->bytes + (at - in->at);
}

static bool read_file_head(struct input *in)
{
    const char *p = look(in, 0, SNAPSHOT_FILE_HEAD);
    if (p == NULL || memcmp(p, SNAPSHOT_MAGIC, 8) != 0 ||
        get_le32(p + 8) - 1 > SNAPSHOT_FORMAT - 1 ||
        get_le64(p + 24) != hash_bytes(p, 24, SNAPSHOT_SEED)) {
        return false;
    }
    in->nonce = get_le64(p + 16);
    return true;
}

/* The block at `at`, whose index is given. False: it is not whole. */
static bool read_block(struct input *in, uint64_t at, uint64_t index, unsigned *kind,
                       struct slice *content)
{
    const char *p = look(in, at, SNAPSHOT_BLOCK_HEAD);
    if (p == NULL || get_le64(p + 16) != index) {
        return false;
    }
    uint64_t len = get_le64(p + 24);
    uint64_t split = get_le32(p + 12);
    if (len > in->size || split > len) {
        return false;
    }
    p = look(in, at, SNAPSHOT_BLOCK_HEAD + len);
    if (p == NULL) {
        return false;
    }
    size_t first = SNAPSHOT_BLOCK_HEAD - 8 + (size_t)(split == 0 ? len : split);
    uint64_t sum = hash_bytes(p + 8, first, snapshot_seed(in->nonce, index));
    if (split != 0) {
        sum = hash_bytes(p + 8 + first, (size_t)(len - split), sum);
    }
    if (sum != get_le64(p)) {
        return false;
    }
    *kind = get_le32(p + 8);
    *content = slice_of(p + SNAPSHOT_BLOCK_HEAD, (size_t)len);
    return true;
}

bool snapshot_read_head(struct slice in, struct snapshot_info *out)
{
    const size_t fixed = sizeof(out->cluster_id) + 4 + 4 + 8 + 8 + 8 + 8;
    if (in.len < fixed) {
        return false;
    }
    *out = (struct snapshot_info){0};
    memcpy(out->cluster_id, in.ptr, sizeof(out->cluster_id));
    const char *p = in.ptr + sizeof(out->cluster_id);
    uint32_t shard = get_le32(p);
    uint32_t n_shards = get_le32(p + 4);
    out->position = get_le64(p + 8);
    out->wall_ms = (int64_t)get_le64(p + 16);
    out->hash_check = get_le64(p + 24);
    out->keys = get_le64(p + 32);
    if (n_shards > KEYSPACE_SLOTS || shard >= n_shards ||
        out->cluster_id[sizeof(out->cluster_id) - 1] != '\0') {
        return false;
    }
    out->shard = (int)shard;
    out->n_shards = (int)n_shards;
    return history_decode(slice_of(in.ptr + fixed, in.len - fixed), &out->history);
}

static bool read_i64(struct slice *in, int64_t *out)
{
    if (in->len < 8) {
        return false;
    }
    *out = (int64_t)get_le64(in->ptr);
    *in = slice_of(in->ptr + 8, in->len - 8);
    return true;
}

/* ---- large values ---- */

struct snapshot_draft {
    uint64_t number;
    int db;
    struct draft *draft;
};

static void free_draft(struct draft *d)
{
    struct object *rest = draft_free(&d);
    object_free(&rest);
}

void snapshot_drafts_fini(struct snapshot_drafts *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free_draft(d->of[i].draft);
    }
    mem_free(d->of);
    *d = (struct snapshot_drafts){0};
}

static struct snapshot_draft *find_draft(const struct snapshot_drafts *d, uint64_t number)
{
    for (size_t i = 0; i < d->n; i++) {
        if (d->of[i].number == number) {
            return &d->of[i];
        }
    }
    return NULL;
}

static bool read_portrait(struct slice *in, int db, int64_t expire_ms, struct snapshot_drafts *d,
                          struct str *scratch)
{
    struct snapshot_draft one = {.db = db};
    unsigned type;
    struct slice key;
    struct slice head;
    struct str head_scratch = {0};
    if (rdb_read_len(in, &one.number, NULL) && rdb_read_byte(in, &type) &&
        rdb_read_string(in, scratch, &key) && key.len <= UINT32_MAX &&
        rdb_read_string(in, &head_scratch, &head) && find_draft(d, one.number) == NULL) {
        one.draft = draft_new(key, expire_ms, type, head);
    }
    str_fini(&head_scratch);
    if (one.draft == NULL) {
        return false;
    }
    if (d->n == d->cap) {
        d->cap = MAX(d->cap * 2, (size_t)4);
        d->of = mem_realloc(d->of, d->cap * sizeof(d->of[0]));
    }
    d->of[d->n++] = one;
    return true;
}

/* *o: a value that is whole now, with *db; NULL: not yet. */
static bool read_part(struct slice *in, struct snapshot_drafts *d, int *db, struct object **o,
                      struct str *scratch)
{
    uint64_t number;
    unsigned last;
    struct slice part;
    *o = NULL;
    if (!rdb_read_len(in, &number, NULL) || !rdb_read_byte(in, &last) || last > 1 ||
        !rdb_read_string(in, scratch, &part)) {
        return false;
    }
    struct snapshot_draft *one = find_draft(d, number);
    if (one == NULL || !draft_add(one->draft, part)) {
        return false;
    }
    if (last == 0) {
        return true;
    }
    *db = one->db;
    *o = draft_done(&one->draft);
    *one = d->of[--d->n];
    return *o != NULL;
}

/* ---- keys ---- */

bool snapshot_read_keys(struct slice in, const struct snapshot_target *target, uint64_t *keys,
                        struct snapshot_drafts *drafts, struct str *scratch)
{
    int db = 0;
    struct str key_scratch = {0};
    bool good = true;
    while (good && in.len > 0) {
        unsigned type = (unsigned char)in.ptr[0];
        in = slice_of(in.ptr + 1, in.len - 1);
        if (type == RDB_OPCODE_SELECTDB) {
            uint64_t n;
            good = rdb_read_len(&in, &n, NULL) && n < KEYSPACE_SLOTS;
            db = good ? (int)n : 0;
            continue;
        }
        int64_t expire = OBJECT_NO_EXPIRE;
        if (type == RDB_OPCODE_EXPIRE_MS) {
            good = read_i64(&in, &expire) && rdb_read_byte(&in, &type);
        }
        struct slice key;
        struct object *o = NULL;
        int of = db;
        if (good && type == SNAPSHOT_PORTRAIT) {
            good = read_portrait(&in, db, expire, drafts, scratch);
        } else if (good && type == SNAPSHOT_PART) {
            good = read_part(&in, drafts, &of, &o, scratch);
        } else if (good) {
            good = rdb_read_string(&in, &key_scratch, &key) && key.len <= UINT32_MAX;
            o = good ? rdb_read_value(&in, type, key, expire, scratch) : NULL;
            good = o != NULL;
        }
        if (o != NULL) {
            target->key(target->arg, of, o);
            ++*keys;
        }
    }
    str_fini(&key_scratch);
    return good;
}

static enum snapshot_found read_blocks(struct input *in, int shard,
                                       const struct snapshot_target *target, char why[256])
{
    uint64_t at = SNAPSHOT_FILE_HEAD;
    uint64_t keys = 0;
    struct str scratch = {0};
    struct snapshot_drafts drafts = {0};
    enum snapshot_found found = SNAPSHOT_DAMAGED;
    snprintf(why, 256, "shard.%05d is damaged at byte 0", shard);
    for (uint64_t index = 0; index == 0 || found == SNAPSHOT_DAMAGED; index++) {
        unsigned kind;
        struct slice content;
        struct snapshot_info info;
        snprintf(why, 256, "shard.%05d is damaged at byte %llu", shard, (unsigned long long)at);
        if (!read_block(in, at, index, &kind, &content) ||
            (kind == SNAPSHOT_HEAD) != (index == 0)) {
            break;
        }
        at += SNAPSHOT_BLOCK_HEAD + content.len;
        if (kind == SNAPSHOT_HEAD) {
            if (!snapshot_read_head(content, &info) || info.shard != shard ||
                !target->head(target->arg, &info)) {
                snprintf(why, 256, "shard.%05d is of another shard, cluster or number of shards",
                         shard);
                break;
            }
        } else if (kind == SNAPSHOT_KEYS) {
            if (!snapshot_read_keys(content, target, &keys, &drafts, &scratch)) {
                break;
            }
        } else if (kind == SNAPSHOT_FOOT && content.len == 8 && get_le64(content.ptr) == keys &&
                   drafts.n == 0 && at == in->size) {
            found = SNAPSHOT_GOOD;
        } else {
            break;
        }
    }
    snapshot_drafts_fini(&drafts);
    str_fini(&scratch);
    return in->error != 0 && found != SNAPSHOT_GOOD ? SNAPSHOT_UNREAD : found;
}

enum snapshot_found snapshot_read(struct disk *disk, int shard,
                                  const struct snapshot_target *target, char why[256], int *error)
{
    struct input in = {0};
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(name, shard, false);
    why[0] = '\0';
    *error = disk_open(disk, name, DISK_READ, &in.file);
    if (*error == ENOENT) {
        *error = 0;
        return SNAPSHOT_NONE;
    }
    enum snapshot_found found = SNAPSHOT_UNREAD;
    if (*error == 0) {
        in.error = disk_size(in.file, &in.size);
        if (in.error == 0 && read_file_head(&in)) {
            found = read_blocks(&in, shard, target, why);
        } else if (in.error == 0) {
            found = SNAPSHOT_DAMAGED;
            snprintf(why, 256, "shard.%05d is damaged at byte 0", shard);
        }
        *error = in.error;
    }
    disk_close(&in.file);
    mem_free(in.bytes);
    return found;
}
