// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as files of the log. As they are, and with the sums put right, so that what is
 * behind them is reached; whatever it is, it is read or refused, and once the tail is cut a second
 * reading finds the same. */
#include "node/log/entry.h"
#include "node/persist/wal_read.h"

#include "common/base/bytes.h"
#include "common/base/log.h"

#include "tests/unit/node/persist/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t records;
    uint64_t last;
    uint64_t hash;
};

static void on_record(void *arg, const struct wal_record *r)
{
    struct seen *s = arg;
    INVARIANT(r->position >= s->last || s->records == 0);
    s->last = r->end;
    s->records++;
    s->hash = s->hash * 31 + hash_bytes(r->bytes.ptr, r->bytes.len, r->version);
    struct entry e;
    int64_t n = entry_read(r->bytes, &e);
    INVARIANT(n <= (int64_t)r->bytes.len);
}

static void on_hole(void *arg, uint64_t until)
{
    (void)arg;
    (void)until;
}

/* Makes header and records of a file hold, as far as their lengths make sense. */
static void put_right(char *p, size_t n, uint64_t seq, uint64_t start)
{
    if (n < WAL_HEADER_BYTES) {
        return;
    }
    struct wal_header h = {.n_shards = 1U + (unsigned char)p[12],
                           .seq = seq,
                           .start = start,
                           .nonce = get_le64(p + 32)};
    wal_encode_header(p, &h);
    uint64_t position = start;
    for (size_t at = WAL_HEADER_BYTES; at + WAL_RECORD_BYTES <= n;) {
        uint32_t len = get_le32(p + at + 8) % 256;
        if (at + WAL_RECORD_BYTES + len > n) {
            return;
        }
        put_le32(p + at + 8, len);
        put_le32(p + at + 12, get_le32(p + at + 12) & 0x000f000f);
        put_le64(p + at, hash_bytes(p + at + 8, WAL_RECORD_BYTES - 8 + len,
                                    wal_record_seed(h.nonce, position)));
        at += WAL_RECORD_BYTES + len;
        position += WAL_RECORD_BYTES + len;
    }
}

static void read_twice(struct sim_disk *disk)
{
    struct seen a = {0}, b = {0};
    struct wal_found f;
    struct wal_visitor v = {.arg = &a, .record = on_record, .hole = on_hole};
    INVARIANT(wal_read(&disk->disk, 0, &v, &f) == 0);
    bool damaged = f.damage[0] != '\0';
    wal_found_fini(&f);
    v.arg = &b;
    INVARIANT(wal_read(&disk->disk, 0, &v, &f) == 0);
    INVARIANT(damaged || (a.records == b.records && a.hash == b.hash && f.torn_bytes == 0));
    wal_found_fini(&f);
}

static void write_file(struct sim_disk *disk, uint64_t seq, const char *bytes, size_t n)
{
    char name[WAL_NAME_MAX];
    struct disk_file *f;
    wal_file_name(name, seq);
    INVARIANT(disk_open(&disk->disk, name, DISK_CREATE, &f) == 0);
    INVARIANT(disk_write(f, 0, bytes, n) == 0);
    disk_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rng rng;
    log_set_level(LOG_NOTHING);
    if (size < 1) {
        return 0;
    }
    size_t first = (size - 1) * data[0] / 256;
    char *copy = mem_memdup(data + 1, size - 1);
    for (int right = 0; right < 2; right++) {
        struct sim_disk *disk = sim_disk_new(&rng);
        if (right == 1) {
            put_right(copy, first, 1, 1);
            uint64_t end = first < WAL_HEADER_BYTES ? 1 : 1 + first - WAL_HEADER_BYTES;
            put_right(copy + first, size - 1 - first, 2, end);
        }
        write_file(disk, 1, copy, first);
        write_file(disk, 2, copy + first, size - 1 - first);
        read_twice(disk);
        sim_disk_free(&disk);
    }
    mem_free(copy);
    return 0;
}
