// SPDX-License-Identifier: BSD-3-Clause
/* The log of writes on a disk that crashes, lies, fills up and rots: what was said to be durable is
 * read again, what is read is a prefix of what was written, damage is told. */
#include "node/persist/wal.h"

#include "node/persist/wal_read.h"

#include "common/base/log.h"

#include "tests/unit/node/persist/sim_disk.h"
#include "tests/unit/unit.h"

#define SHARDS 4

struct world {
    struct rng rng;
    struct sim_disk *disk;
    struct wal *wal;
    enum wal_policy policy;
    uint64_t segment_bytes;
    uint64_t buffer_max;
    struct wal_sync *jobs[8]; /* syncs under way */
    size_t n_jobs;
    bool slow;            /* syncs wait for finish_sync */
    uint64_t next;        /* number of the next entry */
    uint64_t ends[20000]; /* position behind entry i */
    uint64_t read;        /* entries read back */
    uint64_t first;       /* number of the first one expected */
    uint64_t holes;
    bool broken; /* read entries are not what was written */
    struct wal_found found;
    int64_t now_ms;
};

static void start_sync(void *arg, struct wal_sync *job)
{
    struct world *w = arg;
    if (w->slow) {
        assert_true(w->n_jobs < ARRAY_LEN(w->jobs));
        w->jobs[w->n_jobs++] = job;
    } else {
        wal_sync_run(job);
        wal_synced(job);
    }
}

static void finish_sync(struct world *w)
{
    if (w->n_jobs > 0) {
        struct wal_sync *job = w->jobs[0];
        memmove(w->jobs, w->jobs + 1, --w->n_jobs * sizeof(*w->jobs));
        wal_sync_run(job);
        wal_synced(job);
    }
}

static void open_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    rng_init(&w->rng, seed);
    w->disk = sim_disk_new(&w->rng);
    w->policy = WAL_SYNC_ALWAYS;
    w->segment_bytes = 4096;
    w->buffer_max = 1 << 20;
}

static void close_world(struct world *w)
{
    wal_free(&w->wal);
    wal_found_fini(&w->found);
    sim_disk_free(&w->disk);
}

/* Entry i has bytes that follow from i. */
static size_t entry_bytes(uint64_t i, char *to)
{
    size_t n = (size_t)(i * 7919 % 97);
    for (size_t k = 0; k < n; k++) {
        to[k] = (char)(i + k);
    }
    return n;
}

static void on_record(void *arg, const struct wal_record *r)
{
    struct world *w = arg;
    char bytes[128];
    uint64_t i = r->version;
    size_t n = entry_bytes(i, bytes);
    bool good = r->kind == WAL_ENTRY && r->shard == i % SHARDS && r->term == i / 10 &&
                r->bytes.len == n && memcmp(r->bytes.ptr, bytes, n) == 0;
    bool follows = i == w->first + w->read || w->holes > 0;
    w->broken |= !good || !follows || i >= w->next || r->end != w->ends[i];
    w->read = i + 1 - w->first;
}

static void on_hole(void *arg, uint64_t until)
{
    struct world *w = arg;
    (void)until;
    w->holes++;
}

/* Reads the log from `from` on, whose first entry is number `first`. */
static void read_log(struct world *w, uint64_t from, uint64_t first)
{
    struct wal_visitor v = {.arg = w, .record = on_record, .hole = on_hole};
    wal_found_fini(&w->found);
    w->read = 0;
    w->holes = 0;
    w->first = first;
    w->broken = false;
    assert_int_equal(wal_read(&w->disk->disk, from, &v, &w->found), 0);
    assert_false(w->broken);
}

static void start(struct world *w)
{
    struct wal_settings s = {.policy = w->policy,
                             .n_shards = SHARDS,
                             .segment_bytes = w->segment_bytes,
                             .buffer_max = w->buffer_max};
    struct wal_port port = {.arg = w, .sync = start_sync};
    int error;
    w->wal = wal_new(&w->disk->disk, &s, &port, w->found.segments, w->found.n_segments,
                     w->found.end, rng_next(&w->rng), 0, &error);
    assert_non_null(w->wal);
}

static void append(struct world *w)
{
    char bytes[128];
    uint64_t i = w->next++;
    size_t n = entry_bytes(i, bytes);
    w->ends[i] =
        wal_append(w->wal, WAL_ENTRY, (uint32_t)(i % SHARDS), i / 10, i, slice_of(bytes, n));
}

static void append_some(struct world *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        append(w);
        if (rng_below(&w->rng, 3) == 0) {
            (void)wal_flush(w->wal, 0);
        }
    }
    (void)wal_flush(w->wal, 0);
}

/* As if the process had been killed. Returns how many entries were surely durable. */
static uint64_t kill_process(struct world *w)
{
    uint64_t durable = wal_durable(w->wal);
    uint64_t n = 0;
    while (n < w->next && w->ends[n] <= durable) {
        n++;
    }
    w->slow = false;
    while (w->n_jobs > 0) { /* the thread's last breath */
        struct wal_sync *job = w->jobs[--w->n_jobs];
        job->error = EIO;
        wal_synced(job);
    }
    wal_free(&w->wal);
    return n;
}

static void test_what_was_written_is_read(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1);
    for (int life = 0; life < 5; life++) {
        read_log(&w, 0, 0);
        assert_int_equal(w.read, w.next);
        assert_string_equal(w.found.damage, "");
        assert_int_equal(w.found.torn_bytes, 0);
        assert_int_equal(w.found.orderly, life > 0);
        start(&w);
        append_some(&w, 500);
        assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
        assert_true(wal_close(&w.wal));
    }
    read_log(&w, 0, 0);
    assert_int_equal(w.read, 2500);
    assert_true(w.found.always);
    assert_true(w.found.n_segments > 5);
    close_world(&w);
}

static void test_policies(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2);
    w.policy = WAL_SYNC_EVERYSEC;
    w.segment_bytes = 1 << 20;
    start(&w);
    append_some(&w, 10);
    assert_true(wal_durable(w.wal) < wal_end(w.wal));
    wal_tick(w.wal, 1000, 0);
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    append_some(&w, 10);
    wal_tick(w.wal, 1900, 0);
    assert_true(wal_durable(w.wal) < wal_end(w.wal));
    wal_tick(w.wal, 2000, 0);
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    wal_set_policy(w.wal, WAL_SYNC_NO);
    append_some(&w, 10);
    wal_tick(w.wal, 9000, 0);
    assert_true(wal_durable(w.wal) < wal_end(w.wal));
    wal_set_policy(w.wal, WAL_SYNC_ALWAYS);
    append_some(&w, 1);
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    assert_true(wal_close(&w.wal));
    read_log(&w, 0, 0);
    assert_int_equal(w.read, w.next);
    assert_false(w.found.always);
    close_world(&w);
}

/* Whatever a crash leaves: who finds `always` has all that was acknowledged without a sync. */
static void test_always_ends_on_disk(void **state)
{
    (void)state;
    int said = 0;
    int gone = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w;
        open_world(&w, seed);
        start(&w);
        w.slow = true;
        append_some(&w, 5);
        wal_set_policy(w.wal, seed % 2 == 0 ? WAL_SYNC_NO : WAL_SYNC_EVERYSEC);
        assert_true(wal_always(w.wal));
        append_some(&w, 5);
        for (uint64_t n = rng_below(&w.rng, 4); n > 0; n--) {
            finish_sync(&w);
        }
        bool always = wal_always(w.wal);
        append_some(&w, 20);
        uint64_t acknowledged = always ? 0 : w.next;
        uint64_t durable = kill_process(&w);
        sim_disk_crash(w.disk);
        read_log(&w, 0, 0);
        assert_true(w.read >= durable);
        assert_true(!w.found.always || w.read >= acknowledged);
        said += w.found.always;
        gone += w.read < acknowledged;
        close_world(&w);
    }
    assert_true(said > 0);
    assert_true(gone > 0);
}

static void test_syncs_are_shared(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 3);
    start(&w);
    w.slow = true;
    uint64_t before = w.disk->syncs;
    append_some(&w, 30);
    assert_int_equal(w.n_jobs, 1);
    assert_true(wal_syncing(w.wal));
    finish_sync(&w); /* what came meanwhile goes with the next one */
    assert_int_equal(w.n_jobs, 1);
    finish_sync(&w);
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    assert_int_equal(w.disk->syncs, before + 2);
    kill_process(&w);
    close_world(&w);
}

static void test_trimming(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 4);
    start(&w);
    append_some(&w, 1000);
    struct wal_stats before, after;
    wal_stats(w.wal, &before);
    wal_trim(w.wal, w.ends[599]);
    wal_stats(w.wal, &after);
    assert_true(after.segments < before.segments);
    assert_true(wal_start(w.wal) <= w.ends[599]);
    assert_true(wal_start(w.wal) > w.ends[400]);
    assert_true(wal_close(&w.wal));
    read_log(&w, w.ends[599], 600);
    assert_int_equal(w.read, 400);
    assert_string_equal(w.found.damage, "");
    assert_true(w.found.always); /* the files that are left say so too */
    start(&w);
    append_some(&w, 10);
    wal_trim(w.wal, wal_end(w.wal)); /* all but the open one */
    wal_stats(w.wal, &after);
    assert_int_equal(after.segments, 1);
    kill_process(&w);
    read_log(&w, w.ends[999], 1000);
    assert_int_equal(w.read, 10);
    close_world(&w);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 5);
    start(&w);
    append_some(&w, 50);
    for (int round = 0; round < 20; round++) {
        w.disk->room = rng_below(&w.rng, 300);
        append(&w);
        while (wal_flush(w.wal, 0)) {
            append(&w);
        }
        assert_false(wal_ok(w.wal));
        assert_int_equal(wal_error(w.wal), ENOSPC);
        uint64_t durable = wal_durable(w.wal);
        append(&w); /* those that could not be refused any more */
        assert_false(wal_flush(w.wal, 0));
        wal_tick(w.wal, w.now_ms += 200, 0);
        assert_false(wal_ok(w.wal));
        assert_int_equal(wal_durable(w.wal), durable);
        w.disk->room = UINT64_MAX;
        wal_tick(w.wal, w.now_ms += 200, 0);
        assert_true(wal_ok(w.wal));
        assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    }
    kill_process(&w);
    read_log(&w, 0, 0);
    assert_int_equal(w.read, w.next);
    assert_string_equal(w.found.damage, "");
    close_world(&w);
}

/* Crashes while the disk is full: a part of a record is never taken for one. */
static void test_crash_of_a_full_disk(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 6);
    for (int life = 0; life < 100; life++) {
        read_log(&w, 0, 0);
        assert_string_equal(w.found.damage, "");
        w.next = w.read;
        start(&w);
        append_some(&w, rng_below(&w.rng, 20));
        w.disk->room = rng_below(&w.rng, 300);
        append_some(&w, 10);
        uint64_t durable = kill_process(&w);
        w.disk->room = UINT64_MAX;
        if (life % 2 == 0) {
            sim_disk_crash(w.disk);
        }
        read_log(&w, 0, 0);
        assert_true(w.read >= durable);
    }
    close_world(&w);
}

static void test_failed_sync_needs_snapshots(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    start(&w);
    append_some(&w, 20);
    uint64_t durable = wal_durable(w.wal);
    w.disk->fail_syncs = 1;
    append_some(&w, 3);
    assert_false(wal_ok(w.wal));
    assert_int_equal(wal_durable(w.wal), durable);
    wal_tick(w.wal, 1000, 0);
    assert_false(wal_ok(w.wal));
    uint64_t gap = wal_gap(w.wal);
    assert_true(gap >= w.ends[22]);
    append_some(&w, 5);
    assert_int_equal(wal_durable(w.wal), durable);
    wal_trim(w.wal, gap - 1);
    assert_false(wal_ok(w.wal));
    wal_trim(w.wal, gap);
    assert_true(wal_ok(w.wal));
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    kill_process(&w);
    read_log(&w, gap, 23);
    assert_int_equal(w.read, 5);
    assert_string_equal(w.found.damage, "");
    close_world(&w);
}

static void test_what_waits_is_bounded(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 8);
    w.buffer_max = 10000;
    start(&w);
    append_some(&w, 20);
    w.disk->room = 0;
    append_some(&w, 1000);
    assert_false(wal_ok(w.wal));
    w.disk->room = UINT64_MAX;
    wal_tick(w.wal, 1000, 0);
    assert_false(wal_ok(w.wal));
    assert_true(wal_gap(w.wal) > 0);
    wal_trim(w.wal, wal_end(w.wal));
    assert_true(wal_ok(w.wal));
    append_some(&w, 20);
    assert_int_equal(wal_durable(w.wal), wal_end(w.wal));
    kill_process(&w);
    close_world(&w);
}

/* Power cuts at any moment: what was durable is there, what is there is a prefix. */
static void test_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RANDOM_ROUNDS(60); seed++) {
        struct world w;
        open_world(&w, 100 + seed);
        w.policy = seed % 3 == 0 ? WAL_SYNC_EVERYSEC : WAL_SYNC_ALWAYS;
        for (int life = 0; life < 10; life++) {
            read_log(&w, 0, 0);
            w.next = w.read;
            start(&w);
            w.slow = true;
            uint64_t turns = rng_below(&w.rng, 100);
            for (uint64_t i = 0; i < turns; i++) {
                append_some(&w, rng_below(&w.rng, 6));
                if (rng_below(&w.rng, 3) == 0 || w.n_jobs > 4) {
                    finish_sync(&w);
                }
                if (w.policy == WAL_SYNC_EVERYSEC) {
                    wal_tick(w.wal, w.now_ms += 100, 0);
                }
            }
            uint64_t durable = kill_process(&w);
            sim_disk_crash(w.disk);
            read_log(&w, 0, 0);
            assert_true(w.read >= durable);
            assert_string_equal(w.found.damage, "");
        }
        close_world(&w);
    }
}

/* A bit flipped or a file cut anywhere: never anything that was not written, never in another
 * order; and what is missing from before a mark is told. */
static void test_rot(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 9);
    start(&w);
    append_some(&w, 600);
    assert_true(wal_close(&w.wal));
    struct wal_found whole;
    read_log(&w, 0, 0);
    assert_int_equal(w.read, 600);
    whole = w.found;
    w.found = (struct wal_found){0};
    struct sim_disk *disk = w.disk;
    for (int i = 0; i < RANDOM_ROUNDS(10000); i++) {
        struct sim_disk *copy = sim_disk_new(&w.rng);
        for (size_t k = 0; k < disk->now.n; k++) {
            struct disk_file *f;
            assert_int_equal(disk_open(&copy->disk, disk->now.of[k].name, DISK_CREATE, &f), 0);
            const struct str *b = &disk->now.of[k].inode->now;
            assert_int_equal(disk_write(f, 0, b->ptr, b->len), 0);
            disk_close(&f);
        }
        struct sim_name *name = &copy->now.of[rng_below(&w.rng, copy->now.n)];
        struct str *victim = &name->inode->now;
        size_t at = rng_below(&w.rng, victim->len);
        bool cut = i % 4 == 0;
        if (cut) {
            victim->len = at;
        } else {
            victim->ptr[at] = (char)(victim->ptr[at] ^ 1 << rng_below(&w.rng, 8));
        }
        w.disk = copy;
        read_log(&w, 0, 0);
        /* All was durable, and the last record says so: only what lies in the last file's end may
         * pass for torn. */
        if (w.read < 600 || w.holes > 0) {
            char last[WAL_NAME_MAX];
            wal_file_name(last, whole.segments[whole.n_segments - 1].seq);
            bool told = w.found.damage[0] != '\0';
            assert_true(told || (cut && strcmp(name->name, last) == 0) ||
                        (strcmp(name->name, last) == 0 && w.found.torn_bytes > 0));
        }
        sim_disk_free(&copy);
    }
    w.disk = disk;
    wal_found_fini(&whole);
    close_world(&w);
}

static void test_a_missing_file_is_told(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 10);
    start(&w);
    append_some(&w, 600);
    assert_true(wal_close(&w.wal));
    assert_int_equal(disk_remove(&w.disk->disk, "log.0000000000000003"), 0);
    read_log(&w, 0, 0);
    assert_int_equal(w.holes, 1);
    assert_string_not_equal(w.found.damage, "");
    close_world(&w);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_always_ends_on_disk),
        cmocka_unit_test(test_syncs_are_shared),
        cmocka_unit_test(test_trimming),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_crash_of_a_full_disk),
        cmocka_unit_test(test_failed_sync_needs_snapshots),
        cmocka_unit_test(test_what_waits_is_bounded),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_rot),
        cmocka_unit_test(test_a_missing_file_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
