// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as a snapshot: as a whole file, and as the content of its blocks behind the sums.
 */
#include "node/persist/snapshot.h"
#include "node/persist/snapshot_format.h"

#include "common/base/bytes.h"
#include "common/base/log.h"

#include "tests/unit/node/persist/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_head(void *arg, const struct snapshot_info *info)
{
    (void)arg;
    INVARIANT(info->shard >= 0 && info->shard < info->n_shards);
    return true;
}

static void on_key(void *arg, int db, struct object *o)
{
    uint64_t *keys = arg;
    INVARIANT(db >= 0);
    ++*keys;
    INVARIANT(object_memory(o) > 0);
    object_free(&o);
}

static void read_file(struct sim_disk *disk, uint64_t *keys)
{
    char why[256];
    int error;
    struct snapshot_target t = {.arg = keys, .head = on_head, .key = on_key};
    enum snapshot_found found = snapshot_read(&disk->disk, 0, &t, why, &error);
    INVARIANT(found == SNAPSHOT_GOOD || found == SNAPSHOT_DAMAGED);
    INVARIANT(found == SNAPSHOT_GOOD || why[0] != '\0');
}

/* Walks the blocks and makes their sums hold. */
static void put_right(char *p, size_t n)
{
    if (n < SNAPSHOT_FILE_HEAD) {
        return;
    }
    memcpy(p, SNAPSHOT_MAGIC, 8);
    put_le32(p + 8, SNAPSHOT_FORMAT);
    put_le64(p + 24, hash_bytes(p, 24, SNAPSHOT_SEED));
    uint64_t nonce = get_le64(p + 16);
    uint64_t index = 0;
    for (size_t at = SNAPSHOT_FILE_HEAD; at + SNAPSHOT_BLOCK_HEAD <= n; index++) {
        size_t room = n - at - SNAPSHOT_BLOCK_HEAD;
        uint64_t len = MIN(get_le32(p + at + 24) % 512, room);
        put_le32(p + at + 8, index == 0 ? SNAPSHOT_HEAD : get_le32(p + at + 8) & 3);
        put_le32(p + at + 12, 0);
        put_le64(p + at + 16, index);
        put_le64(p + at + 24, len);
        put_le64(p + at, hash_bytes(p + at + 8, SNAPSHOT_BLOCK_HEAD - 8 + len,
                                    snapshot_seed(nonce, index)));
        at += SNAPSHOT_BLOCK_HEAD + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rng rng;
    log_set_level(LOG_NOTHING);
    uint64_t keys = 0;
    char *copy = mem_memdup(data, size);
    for (int right = 0; right < 2; right++) {
        struct sim_disk *disk = sim_disk_new(&rng);
        struct disk_file *f;
        if (right == 1) {
            put_right(copy, size);
        }
        INVARIANT(disk_open(&disk->disk, "shard.00000", DISK_CREATE, &f) == 0);
        INVARIANT(disk_write(f, 0, copy, size) == 0);
        disk_close(&f);
        read_file(disk, &keys);
        sim_disk_free(&disk);
    }
    struct str scratch = {0};
    struct snapshot_target t = {.arg = &keys, .head = on_head, .key = on_key};
    struct slice in = slice_of((const char *)data, size);
    struct snapshot_drafts drafts = {0};
    (void)!snapshot_read_keys(in, &t, &keys, &drafts, &scratch);
    snapshot_drafts_fini(&drafts);
    struct snapshot_info info;
    (void)!snapshot_read_head(in, &info);
    str_fini(&scratch);
    mem_free(copy);
    return 0;
}
