// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as a value, as a payload of DUMP and as a file of Redis. A value that is understood
 * is written again and means the same. */
#include "node/persist/rdb_file.h"
#include "node/types/rdb.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/log.h"

#include "tests/unit/node/persist/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct slice key = {.ptr = "key", .len = 3};

static void check_again(const struct object *o)
{
    struct digest was, is;
    object_digest(o, &was);
    for (int compress = 0; compress < 2; compress++) {
        struct str s = {0};
        struct str scratch = {0};
        rdb_write_payload(&s, o, compress == 1);
        struct slice in = str_slice(&s);
        unsigned type;
        INVARIANT(rdb_check_payload(&in));
        INVARIANT(rdb_read_byte(&in, &type));
        struct object *again = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
        INVARIANT(again != NULL);
        INVARIANT(in.len == 0);
        object_digest(again, &is);
        INVARIANT(memcmp(&was, &is, sizeof(was)) == 0);
        object_free(&again);
        str_fini(&s);
        str_fini(&scratch);
    }
}

static void read_value(struct slice in)
{
    unsigned type;
    struct str scratch = {0};
    if (rdb_read_byte(&in, &type)) {
        struct object *o = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
        if (o != NULL) {
            check_again(o);
            object_free(&o);
        }
    }
    str_fini(&scratch);
}

static void on_key(void *arg, int db, struct object *o, int64_t idle_s, int freq)
{
    uint64_t *sum = arg;
    struct digest d;
    INVARIANT(db >= 0 && idle_s >= -1 && freq >= -1);
    object_digest(o, &d);
    *sum += get_le64((const char *)d.bytes) * (2 * (uint64_t)db + 1);
    object_free(&o);
}

/* From memory and from a file: the same is understood. */
static void read_dump(const char *bytes, size_t size)
{
    static struct rng rng;
    struct errmsg err;
    uint64_t a = 0, b = 0;
    struct rdb_counts counts;
    struct rdb_target t = {.arg = &a, .now_ms = 1000, .key = on_key};
    bool good = rdb_parse(slice_of(bytes, size), &t, &counts, &err);
    struct sim_disk *disk = sim_disk_new(&rng);
    struct disk_file *f;
    INVARIANT(disk_open(&disk->disk, "dump.rdb", DISK_CREATE, &f) == 0);
    INVARIANT(disk_write(f, 0, bytes, size) == 0);
    disk_close(&f);
    t.arg = &b;
    enum rdb_found found = rdb_load(&disk->disk, "dump.rdb", &t, &counts, &err);
    INVARIANT((found == RDB_GOOD) == good);
    INVARIANT(a == b);
    sim_disk_free(&disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_NOTHING);
    struct slice in = slice_of((const char *)data, size);
    read_value(in);
    struct slice payload = in;
    if (rdb_check_payload(&payload)) {
        read_value(payload);
    }
    read_dump(in.ptr, size);
    struct str dump = {0};
    str_appendz(&dump, "REDIS0010");
    str_append(&dump, data, size);
    str_append_char(&dump, (char)RDB_OPCODE_EOF);
    uint64_t crc = htole64(crc64(0, dump.ptr, dump.len));
    str_append(&dump, &crc, sizeof(crc));
    read_dump(dump.ptr, dump.len);
    str_fini(&dump);
    return 0;
}
