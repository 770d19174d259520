// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/rdb_file.h"
#include "node/types/rdb.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/base/num.h"

#include <errno.h>
#include <string.h>

#define HEAD_BYTES  9
#define VERSION_MAX 11 /* Redis 7.2's differ in types that are refused by themselves */
#define WINDOW      (4U << 20)
#define DBS_MAX     16384

struct loading {
    const struct rdb_target *target;
    struct rdb_counts *counts;
    int version;
    int db;
    /* of the next key */
    int64_t expire_ms;
    int64_t idle_s;
    int freq;
    unsigned bad_type; /* 0: none */
    bool end;
    struct str key;
    struct str value;
    struct str why; /* of a library that cannot be taken */
};

static bool take(struct slice *in, char *to, size_t n)
{
    if (in->len < n) {
        return false;
    }
    memcpy(to, in->ptr, n);
    *in = slice_of(in->ptr + n, in->len - n);
    return true;
}

static bool skip_string(struct loading *l, struct slice *in)
{
    struct slice v;
    return rdb_read_string(in, &l->value, &v);
}

static bool read_library(struct loading *l, struct slice *in)
{
    struct slice code;
    if (!rdb_read_string(in, &l->value, &code)) {
        return false;
    }
    if (l->target->take_code != NULL && !l->target->take_code(l->target->arg, code, &l->why)) {
        return false;
    }
    l->counts->functions++;
    return true;
}

static void begin_key(struct loading *l)
{
    l->expire_ms = OBJECT_NO_EXPIRE;
    l->idle_s = -1;
    l->freq = -1;
}

static bool read_key(struct loading *l, struct slice *in, unsigned type)
{
    struct slice key;
    if (!rdb_is_type(type)) {
        l->bad_type = type + 1;
        return false;
    }
    if (!rdb_read_string(in, &l->key, &key) || key.len > UINT32_MAX) {
        return false;
    }
    struct object *o = rdb_read_value(in, type, key, l->expire_ms, &l->value);
    if (o == NULL) {
        return false;
    }
    if (l->expire_ms != OBJECT_NO_EXPIRE && l->expire_ms < l->target->now_ms) {
        l->counts->expired++;
        object_free(&o);
    } else {
        l->counts->keys++;
        l->target->key(l->target->arg, l->db, o, l->idle_s, l->freq);
    }
    begin_key(l);
    return true;
}

/* One entry off `in`; nothing has happened if it is not whole. */
static bool read_entry(struct loading *l, struct slice *in)
{
    unsigned type;
    uint64_t n, m;
    char b[8];
    if (!rdb_read_byte(in, &type)) {
        return false;
    }
    switch (type) {
    case RDB_OPCODE_AUX:
        return skip_string(l, in) && skip_string(l, in);
    case RDB_OPCODE_RESIZEDB:
        return rdb_read_len(in, &n, NULL) && rdb_read_len(in, &m, NULL);
    case RDB_OPCODE_FUNCTION2:
        return read_library(l, in);
    case RDB_OPCODE_SELECTDB:
        if (!rdb_read_len(in, &n, NULL) || n >= DBS_MAX) {
            return false;
        }
        l->db = (int)n;
        return true;
    case RDB_OPCODE_EXPIRE_MS:
        if (!take(in, b, 8)) {
            return false;
        }
        l->expire_ms = (int64_t)get_le64(b);
        return true;
    case RDB_OPCODE_EXPIRE_S:
        if (!take(in, b, 4)) {
            return false;
        }
        l->expire_ms = (int64_t)(int32_t)get_le32(b) * 1000;
        return true;
    case RDB_OPCODE_IDLE:
        if (!rdb_read_len(in, &n, NULL)) {
            return false;
        }
        l->idle_s = (int64_t)MIN(n, (uint64_t)INT64_MAX);
        return true;
    case RDB_OPCODE_FREQ:
        if (!take(in, b, 1)) {
            return false;
        }
        l->freq = (unsigned char)b[0];
        return true;
    case RDB_OPCODE_EOF:
        l->end = true;
        return true;
    default:
        return read_key(l, in, type);
    }
}

static bool read_head(struct loading *l, struct slice *in)
{
    int64_t version;
    if (in->len < HEAD_BYTES || memcmp(in->ptr, "REDIS", 5) != 0) {
        return false;
    }
    struct slice digits = slice_of(in->ptr + 5, 4);
    while (digits.len > 1 && digits.ptr[0] == '0') {
        digits = slice_of(digits.ptr + 1, digits.len - 1);
    }
    if (!num_parse_i64(digits, &version) || version < 1) {
        return false;
    }
    l->version = (int)MIN(version, (int64_t)INT32_MAX);
    *in = slice_of(in->ptr + HEAD_BYTES, in->len - HEAD_BYTES);
    begin_key(l);
    return true;
}

static void explain(const struct loading *l, uint64_t at, struct errmsg *err)
{
    if (l->version == 0) {
        errmsg_set(err, "not an RDB file");
    } else if (l->version > VERSION_MAX) {
        errmsg_set(err, "RDB version %d is newer than what is understood (%d)", l->version,
                   VERSION_MAX);
    } else if (l->why.len > 0) {
        errmsg_set(err, "at byte %llu: a library of functions: %s", (unsigned long long)at,
                   str_cstr(&l->why));
    } else if (l->bad_type != 0) {
        errmsg_set(err, "at byte %llu: a value of type %u, which this version does not serve",
                   (unsigned long long)at, l->bad_type - 1);
    } else {
        errmsg_set(err, "damaged, or cut, at byte %llu", (unsigned long long)at);
    }
}

static void fini(struct loading *l)
{
    str_fini(&l->key);
    str_fini(&l->value);
    str_fini(&l->why);
}

bool rdb_parse(struct slice in, const struct rdb_target *target, struct rdb_counts *counts,
               struct errmsg *err)
{
    *counts = (struct rdb_counts){0};
    struct loading l = {.target = target, .counts = counts};
    struct slice rest = in;
    bool good = read_head(&l, &rest) && l.version <= VERSION_MAX;
    size_t at = in.len - rest.len;
    while (good && !l.end) {
        at = in.len - rest.len;
        good = read_entry(&l, &rest);
    }
    if (good && l.version >= 5) {
        char sum[8];
        size_t covered = in.len - rest.len;
        good = take(&rest, sum, sizeof(sum)) &&
               (get_le64(sum) == 0 || get_le64(sum) == crc64(0, in.ptr, covered));
    }
    if (!good) {
        explain(&l, at, err);
    }
    fini(&l);
    return good;
}

/* ---- a file, of which a window is in memory ---- */

struct window {
    struct disk_file *file;
    uint64_t size;
    uint64_t at; /* in the file, of bytes[0] */
    char *bytes;
    size_t len;
    size_t cap;
    uint64_t crc; /* of all before `at` */
};

/* Drops the first `used` bytes and reads more, at least doubling what is there. False: there is no
 * more. */
static bool slide(struct window *w, size_t used, int *error)
{
    if (used > 0) {
        w->crc = crc64(w->crc, w->bytes, used);
        w->at += used;
        w->len -= used;
        memmove(w->bytes, w->bytes + used, w->len);
    }
    if (w->at + w->len >= w->size) {
        return false;
    }
    size_t want = (size_t)MIN((uint64_t)MAX(w->len * 2, (size_t)WINDOW), w->size - w->at);
    if (want > w->cap) {
        w->bytes = mem_realloc(w->bytes, want);
        w->cap = want;
    }
    size_t got;
    *error = disk_read(w->file, w->at + w->len, w->bytes + w->len, want - w->len, &got);
    w->len += got;
    return *error == 0 && got > 0;
}

static bool check_end(struct loading *l, struct window *w, struct slice rest, int *error)
{
    if (l->version < 5) {
        return true;
    }
    if (rest.len < 8) {
        (void)slide(w, w->len - rest.len, error);
        rest = slice_of(w->bytes, w->len);
    }
    size_t covered = w->len - rest.len;
    w->crc = crc64(w->crc, w->bytes, covered);
    char sum[8];
    return take(&rest, sum, sizeof(sum)) && (get_le64(sum) == 0 || get_le64(sum) == w->crc);
}

static bool load_window(struct loading *l, struct window *w, struct errmsg *err)
{
    int error = 0;
    uint64_t at = 0;
    bool more = slide(w, 0, &error);
    struct slice rest = slice_of(w->bytes, w->len);
    bool good = more && read_head(l, &rest) && l->version <= VERSION_MAX;
    while (good && !l->end) {
        struct slice before = rest;
        at = w->at + (w->len - rest.len);
        if (read_entry(l, &rest)) {
            continue;
        }
        /* Not whole, or malformed: the next try has more of it to see. */
        good = l->bad_type == 0 && l->why.len == 0 && slide(w, w->len - before.len, &error);
        rest = slice_of(w->bytes, w->len);
    }
    good = good && check_end(l, w, rest, &error);
    if (error != 0) {
        errmsg_set(err, "%s", strerror(error));
    } else if (!good) {
        explain(l, at, err);
    }
    return good;
}

enum rdb_found rdb_load(struct disk *disk, const char *name, const struct rdb_target *target,
                        struct rdb_counts *counts, struct errmsg *err)
{
    *counts = (struct rdb_counts){0};
    struct loading l = {.target = target, .counts = counts};
    struct window w = {0};
    int error = disk_open(disk, name, DISK_READ, &w.file);
    if (error == ENOENT) {
        return RDB_NONE;
    }
    error = error != 0 ? error : disk_size(w.file, &w.size);
    bool good = error == 0 && load_window(&l, &w, err);
    if (error != 0) {
        errmsg_set(err, "%s", strerror(error));
    }
    if (!good) {
        errmsg_wrap(err, "%s", name);
    }
    disk_close(&w.file);
    mem_free(w.bytes);
    fini(&l);
    return good ? RDB_GOOD : RDB_BAD;
}
