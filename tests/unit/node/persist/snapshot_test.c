// SPDX-License-Identifier: BSD-3-Clause
/* Snapshots of a shard that changes while they are taken, on a disk that fails: what is read back
 * is the shard as it was in the beginning, or the damage is told. */
#include "node/persist/snapshot.h"

#include "node/keyspace/db.h"
#include "node/keyspace/table.h"
#include "node/persist/snapshot_format.h"
#include "node/types/hash.h"
#include "node/types/string.h"

#include "common/base/log.h"
#include "common/base/num.h"
#include "common/cmd/slot.h"

#include "tests/unit/node/persist/sim_disk.h"
#include "tests/unit/unit.h"

enum { DBS = 3, NOW = 1000 };

struct world {
    struct rng rng;
    struct sim_disk *disk;
    struct keyspace *ks; /* one shard */
    struct keyspace *back;
    struct snapshot *snapshot;
    struct snapshot_job *jobs[64];
    size_t n_jobs;
    bool slow;
    struct snapshot_info info;
};

static void start_job(void *arg, struct snapshot_job *job)
{
    struct world *w = arg;
    if (w->slow) {
        assert_true(w->n_jobs < ARRAY_LEN(w->jobs));
        w->jobs[w->n_jobs++] = job;
    } else {
        snapshot_job_run(job);
        snapshot_job_done(job);
    }
}

static bool finish_job(struct world *w)
{
    if (w->n_jobs == 0) {
        return false;
    }
    struct snapshot_job *job = w->jobs[0];
    memmove(w->jobs, w->jobs + 1, --w->n_jobs * sizeof(*w->jobs));
    snapshot_job_run(job);
    snapshot_job_done(job);
    return true;
}

static struct keyspace *new_keyspace(void)
{
    struct keyspace *ks = keyspace_new(1, DBS, 42);
    keyspace_shard_create(ks, 0);
    return ks;
}

static void open_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    rng_init(&w->rng, seed);
    w->disk = sim_disk_new(&w->rng);
    w->ks = new_keyspace();
}

static void close_world(struct world *w)
{
    while (finish_job(w)) {
    }
    snapshot_free(&w->snapshot);
    keyspace_free(&w->ks);
    keyspace_free(&w->back);
    sim_disk_free(&w->disk);
}

static struct slice key_of(uint64_t n, char to[32])
{
    memcpy(to, "key:", 4);
    return slice_of(to, 4 + num_print_u64(to + 4, n));
}

static void set_key(struct world *w, int dbi, uint64_t n)
{
    struct db db = {.ks = w->ks, .index = dbi, .now_ms = NOW};
    char name[32];
    struct slice key = key_of(n, name);
    struct probe p = keyspace_probe_key(w->ks, key);
    size_t len = rng_below(&w->rng, 20) == 0 ? rng_below(&w->rng, 5000) : rng_below(&w->rng, 40);
    len = rng_below(&w->rng, 2000) == 0 ? 300000 : len;
    char *value = mem_alloc(len + 1);
    memset(value, (int)('a' + rng_below(&w->rng, 26)), len);
    int64_t at =
        rng_below(&w->rng, 3) == 0 ? NOW + (int64_t)rng_below(&w->rng, 100000) : OBJECT_NO_EXPIRE;
    db_set_string(&db, &p, key, db_find(&db, &p, key), slice_of(value, len), at);
    mem_free(value);
}

static void remove_key(struct world *w, int dbi, uint64_t n)
{
    struct db db = {.ks = w->ks, .index = dbi, .now_ms = NOW};
    char name[32];
    struct slice key = key_of(n, name);
    struct probe p = keyspace_probe_key(w->ks, key);
    struct object *o = db_find(&db, &p, key);
    if (o != NULL) {
        db_remove(&db, &p, o, false);
    }
}

static void append_key(struct world *w, int dbi, uint64_t n)
{
    struct db db = {.ks = w->ks, .index = dbi, .now_ms = NOW};
    char name[32];
    struct slice key = key_of(n, name);
    struct probe p = keyspace_probe_key(w->ks, key);
    struct object *o = db_find(&db, &p, key);
    if (o != NULL) {
        char *bytes;
        size_t len = string_len(o);
        db_before(&db, &p, key);
        struct table_entry was = table_entry_of(o);
        o = string_resize(o, len + 3, &bytes);
        memcpy(bytes + len, "+++", 3);
        db_changed(&db, &p, &was, o);
    }
}

static void change(struct world *w, uint64_t times, uint64_t range)
{
    for (uint64_t i = 0; i < times; i++) {
        int db = (int)rng_below(&w->rng, DBS);
        uint64_t n = rng_below(&w->rng, range);
        switch (rng_below(&w->rng, 4)) {
        case 0:
            remove_key(w, db, n);
            break;
        case 1:
            append_key(w, db, n);
            break;
        default:
            set_key(w, db, n);
        }
    }
}

static struct digest digest_of(struct keyspace *ks)
{
    struct digest d;
    keyspace_digest(ks, &d, 0);
    return d;
}

static void begin(struct world *w, uint64_t version)
{
    struct snapshot_port port = {.arg = w, .run = start_job};
    w->info = (struct snapshot_info){.cluster_id = "cluster",
                                     .n_shards = 1,
                                     .position = version * 100,
                                     .wall_ms = 7,
                                     .hash_check = 3,
                                     .keys = keyspace_keys(w->ks, 0)};
    w->info.history.version = version;
    w->info.history.n = version > 0;
    w->info.history.items[0] = (struct history_item){.term = 4, .first = 1};
    snapshot_free(&w->snapshot);
    w->snapshot = snapshot_new(&w->disk->disk, w->ks, &w->info, rng_next(&w->rng), &port);
    assert_non_null(w->snapshot);
}

static enum snapshot_state go_on(struct world *w, size_t bytes)
{
    enum snapshot_state s = snapshot_step(w->snapshot, bytes);
    if (s == SNAPSHOT_WRITTEN) {
        snapshot_finish(w->snapshot);
    }
    return snapshot_state(w->snapshot);
}

static enum snapshot_state finish(struct world *w)
{
    while (go_on(w, 10000) < SNAPSHOT_DONE) {
        finish_job(w);
    }
    while (finish_job(w)) {
    }
    return snapshot_state(w->snapshot);
}

/* ---- reading back ---- */

static bool take_head(void *arg, const struct snapshot_info *info)
{
    struct world *w = arg;
    assert_memory_equal(info->cluster_id, w->info.cluster_id, sizeof(info->cluster_id));
    assert_int_equal(info->hash_check, w->info.hash_check);
    w->info = *info;
    keyspace_reserve(w->back, 0, 0, info->keys);
    return true;
}

static void take_key(void *arg, int dbi, struct object *o)
{
    struct world *w = arg;
    struct db db = {.ks = w->back, .index = dbi, .now_ms = 0};
    assert_true(dbi < DBS);
    struct probe p = keyspace_probe_key(w->back, object_key(o));
    assert_null(db_peek(&db, &p, object_key(o)));
    db_add(&db, &p, o);
}

static enum snapshot_found read_back(struct world *w)
{
    char why[256];
    int error;
    struct snapshot_target t = {.arg = w, .head = take_head, .key = take_key};
    keyspace_free(&w->back);
    w->back = new_keyspace();
    return snapshot_read(&w->disk->disk, 0, &t, why, &error);
}

static void test_a_still_shard(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1);
    for (uint64_t keys = 0; keys < 30000; keys = keys * 3 + 1) {
        change(&w, keys, keys + 1);
        struct digest was = digest_of(w.ks);
        begin(&w, keys);
        assert_int_equal(finish(&w), SNAPSHOT_DONE);
        assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
        struct digest is = digest_of(w.back);
        assert_memory_equal(&was, &is, sizeof(was));
        assert_int_equal(w.info.history.version, keys);
        assert_int_equal(w.info.position, keys * 100);
        assert_int_equal(history_term(&w.info.history), keys > 0 ? 4 : 0);
    }
    close_world(&w);
}

static void test_a_shard_that_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct world w;
        open_world(&w, 100 + seed);
        uint64_t range = 1 + rng_below(&w.rng, 8000);
        change(&w, range, range);
        w.slow = seed % 2 == 0;
        struct digest was = digest_of(w.ks);
        begin(&w, 9);
        /* Also growing and shrinking, so that segments split and merge under the walk. */
        while (go_on(&w, 2000) < SNAPSHOT_ENDING) {
            change(&w, rng_below(&w.rng, 30), range * (1 + seed % 4));
            if (seed % 3 == 0) {
                uint64_t from = rng_below(&w.rng, range);
                for (uint64_t n = from; n < from + 50; n++) {
                    remove_key(&w, (int)(n % DBS), n);
                }
            }
            finish_job(&w);
        }
        assert_int_equal(finish(&w), SNAPSHOT_DONE);
        assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
        struct digest is = digest_of(w.back);
        assert_memory_equal(&was, &is, sizeof(was));
        close_world(&w);
    }
}

/* Fields come and go in hashes that are written in parts; some go as a whole. */
static void change_large(struct world *w, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        struct db db = {.ks = w->ks, .index = (int)rng_below(&w->rng, DBS), .now_ms = NOW};
        char name[32];
        char field[32];
        struct slice key = key_of(rng_below(&w->rng, 2) + 1000000, name);
        struct probe p = keyspace_probe_key(w->ks, key);
        struct object *o = db_find(&db, &p, key);
        if (o == NULL) {
            db_add(&db, &p, hash_new(key, OBJECT_NO_EXPIRE));
            o = db_find(&db, &p, key);
        } else if (rng_below(&w->rng, 20000) == 0) {
            db_remove(&db, &p, o, rng_below(&w->rng, 2) == 0);
            continue;
        }
        struct db_edit e;
        db_edit_begin(&db, &p, o, &e);
        struct slice f = key_of(rng_below(&w->rng, 9000), field);
        bool changed = true;
        if (rng_below(&w->rng, 4) == 0) {
            changed = hash_delete(o, f);
        } else {
            hash_set(o, f, key_of(rng_below(&w->rng, 1000), (char[32]){0}));
        }
        (void)db_edit_end(&db, &p, &e, changed);
    }
}

static void test_large_values_that_change(void **state)
{
    (void)state;
    uint64_t parts = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct world w;
        open_world(&w, 200 + seed);
        change(&w, 500, 500);
        change_large(&w, 60000);
        struct digest was = digest_of(w.ks);
        begin(&w, 9);
        for (; go_on(&w, 2000) < SNAPSHOT_ENDING; parts++) {
            change_large(&w, rng_below(&w.rng, 60));
            change(&w, rng_below(&w.rng, 5), 600);
        }
        assert_int_equal(finish(&w), SNAPSHOT_DONE);
        assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
        struct digest is = digest_of(w.back);
        assert_memory_equal(&was, &is, sizeof(was));
        close_world(&w);
    }
    assert_true(parts > 8 * 200); /* it was bit by bit */
}

static void test_what_breaks_the_view(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct world w;
        open_world(&w, 300);
        change(&w, 3000, 3000);
        begin(&w, 1);
        assert_int_equal(go_on(&w, 1000), SNAPSHOT_MORE);
        switch (how) {
        case 0:
            keyspace_flush(w.ks, -1, KEYSPACE_SERVED, false, NOW);
            break;
        case 1:
            keyspace_swap(w.ks, 0, 1, KEYSPACE_SERVED, NOW);
            break;
        case 2:
            keyspace_shard_drop(w.ks, 0);
            break;
        default:
            snapshot_cancel(w.snapshot);
        }
        assert_int_equal(finish(&w), SNAPSHOT_FAILED);
        assert_int_equal(snapshot_error(w.snapshot), 0);
        assert_int_equal(read_back(&w), SNAPSHOT_NONE);
        assert_int_equal(w.disk->now.n, 0);
        close_world(&w);
    }
}

static void test_full_disk(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2);
    change(&w, 5000, 5000);
    begin(&w, 1);
    assert_int_equal(finish(&w), SNAPSHOT_DONE);
    struct digest first = digest_of(w.ks);
    change(&w, 5000, 5000);
    for (int slow = 0; slow < 2; slow++) {
        w.slow = slow == 1;
        begin(&w, 2);
        w.disk->room = 100000;
        assert_int_equal(finish(&w), SNAPSHOT_FAILED);
        assert_int_equal(snapshot_error(w.snapshot), ENOSPC);
        w.disk->room = UINT64_MAX;
        /* The one before stands. */
        assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
        struct digest is = digest_of(w.back);
        assert_memory_equal(&first, &is, sizeof(is));
        assert_int_equal(w.info.history.version, 1);
    }
    close_world(&w);
}

/* A power cut at any moment: the old one or the new one, whole. */
static void test_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct world w;
        open_world(&w, 500 + seed);
        w.slow = true;
        change(&w, 3000, 1000);
        struct digest is;
        struct digest was[2];
        was[0] = digest_of(w.ks);
        begin(&w, 1);
        assert_int_equal(finish(&w), SNAPSHOT_DONE);
        change(&w, 3000, 1000);
        was[1] = digest_of(w.ks);
        begin(&w, 2);
        uint64_t steps = rng_below(&w.rng, 40);
        for (uint64_t i = 0; i < steps; i++) {
            go_on(&w, 5000);
            finish_job(&w);
        }
        bool done = snapshot_state(w.snapshot) == SNAPSHOT_DONE;
        while (w.n_jobs > 0) { /* not carried out any more */
            struct snapshot_job *job = w.jobs[--w.n_jobs];
            job->error = EIO;
            snapshot_job_done(job);
        }
        snapshot_free(&w.snapshot);
        w.n_jobs = 0;
        sim_disk_crash(w.disk);
        assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
        is = digest_of(w.back);
        assert_true(w.info.history.version == 2 || !done);
        assert_memory_equal(&was[w.info.history.version - 1], &is, sizeof(is));
        close_world(&w);
    }
}

/* Any bit, any cut: told, or without effect. */
static void test_rot(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 3);
    change(&w, 3000, 2000);
    struct digest was = digest_of(w.ks);
    begin(&w, 5);
    assert_int_equal(finish(&w), SNAPSHOT_DONE);
    struct str *bytes = sim_disk_bytes(w.disk, "shard.00000");
    assert_non_null(bytes);
    size_t len = bytes->len;
    for (int i = 0; i < 2000; i++) {
        size_t at = rng_below(&w.rng, len);
        int bit = (int)rng_below(&w.rng, 8);
        if (i % 4 == 0) {
            bytes->len = at;
        } else {
            bytes->ptr[at] = (char)(bytes->ptr[at] ^ 1 << bit);
        }
        assert_int_equal(read_back(&w), SNAPSHOT_DAMAGED);
        if (i % 4 == 0) {
            bytes->len = len;
        } else {
            bytes->ptr[at] = (char)(bytes->ptr[at] ^ 1 << bit);
        }
    }
    assert_int_equal(read_back(&w), SNAPSHOT_GOOD);
    struct digest is = digest_of(w.back);
    assert_memory_equal(&was, &is, sizeof(was));
    close_world(&w);
}

static void test_room_made_ahead(void **state)
{
    (void)state;
    struct world w;
    for (uint64_t n = 1; n < 200000; n = n * 4 + 1) {
        open_world(&w, n);
        keyspace_reserve(w.ks, 1, 0, n);
        table_check(w.ks->dbs[1].tables[0]);
        for (uint64_t i = 0; i < n; i++) {
            set_key(&w, 1, i);
        }
        table_check(w.ks->dbs[1].tables[0]);
        for (uint64_t i = 0; i < n; i++) {
            remove_key(&w, 1, i);
        }
        table_check(w.ks->dbs[1].tables[0]);
        close_world(&w);
    }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_still_shard),
        cmocka_unit_test(test_a_shard_that_changes),
        cmocka_unit_test(test_large_values_that_change),
        cmocka_unit_test(test_what_breaks_the_view),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_rot),
        cmocka_unit_test(test_room_made_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
