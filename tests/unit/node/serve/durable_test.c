// SPDX-License-Identifier: BSD-3-Clause
#include "node/persist/wal_read.h"
#include "node/serve/durable_priv.h"

#include "common/base/mem.h"
#include "common/io/disk_posix.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define SHARDS 2

struct later {
    struct snapshot_job *of[8];
    int n;
};

static void keep_job(void *arg, struct snapshot_job *job)
{
    struct later *l = arg;
    assert_in_range(l->n, 0, 7);
    l->of[l->n++] = job;
}

static void put_file(struct disk *disk, const char *name)
{
    struct disk_file *f;
    assert_int_equal(disk_open(disk, name, DISK_CREATE, &f), 0);
    disk_close(&f);
}

static bool is_there(struct disk *disk, const char *name)
{
    struct disk_file *f;
    bool there = disk_open(disk, name, DISK_READ, &f) == 0;
    if (there) {
        disk_close(&f);
    }
    return there;
}

/* A node's durability without the node around it. */
struct place {
    char dir[32];
    struct server s;
    struct settings settings;
    struct durable d;
    struct durable_shard shards[SHARDS];
    struct wal_sync *syncs[8]; /* asked for, by hand */
    size_t n_syncs;
};

static void keep_sync(void *arg, struct wal_sync *sync)
{
    struct place *p = arg;
    assert_in_range(p->n_syncs, 0, ARRAY_LEN(p->syncs) - 1);
    p->syncs[p->n_syncs++] = sync;
}

static void carry_out_syncs(struct place *p)
{
    for (size_t i = 0; i < p->n_syncs; i++) {
        wal_sync_run(p->syncs[i]);
        wal_synced(p->syncs[i]);
    }
    p->n_syncs = 0;
}

static void open_place(struct place *p, bool logs)
{
    struct errmsg err;
    *p = (struct place){.dir = "/tmp/shoal-durable-XXXXXX"};
    assert_non_null(mkdtemp(p->dir));
    p->s.loop = loop_new();
    p->s.ks = keyspace_new(SHARDS, 1, 1);
    p->s.settings = &p->settings;
    p->s.durable = &p->d;
    p->d.s = &p->s;
    p->d.n_shards = SHARDS;
    p->d.shards = p->shards;
    p->d.disk = disk_posix_new(p->dir, &err);
    p->d.files = jobs_new(p->s.loop, "snapshots");
    durable_saves_init(&p->d);
    if (logs) {
        struct wal_settings ws = {.policy = WAL_SYNC_NO,
                                  .n_shards = SHARDS,
                                  .segment_bytes = 1 << 30,
                                  .buffer_max = 1 << 30};
        struct wal_port port = {.arg = p, .sync = keep_sync};
        int error;
        p->d.wal = wal_new(p->d.disk, &ws, &port, NULL, 0, WAL_FIRST, 1, 0, &error);
        assert_non_null(p->d.wal);
    }
}

static void remove_name(void *arg, const char *name)
{
    assert_int_equal(disk_remove(arg, name), 0);
}

static void close_place(struct place *p)
{
    durable_saves_fini(&p->d);
    wal_free(&p->d.wal);
    jobs_free(&p->d.files);
    assert_int_equal(disk_list(p->d.disk, remove_name, p->d.disk), 0);
    disk_posix_free(&p->d.disk);
    mem_free(p->d.pending);
    keyspace_free(&p->s.ks);
    loop_free(&p->s.loop);
    assert_int_equal(rmdir(p->dir), 0);
}

static void log_entry(struct place *p, int shard, uint64_t version)
{
    struct entry e = {.shard = shard, .term = 1, .version = version, .bytes = SLICE("an entry")};
    durable_logged(&p->s, &e);
}

/* Shards take turns, so that no entry goes on from the last. */
static void test_what_waits_for_the_disk_is_bounded(void **state)
{
    (void)state;
    struct place p;
    uint64_t version = 0;
    open_place(&p, true);
    for (int turn = 0; turn < 1000; turn++) {
        if (turn == 100) {
            wal_sync(p.d.wal); /* and the disk does not answer */
        }
        for (int i = 0; i < 50; i++) {
            version++;
            log_entry(&p, 0, version);
            log_entry(&p, 1, version);
        }
        durable_turn(&p.s);
    }
    assert_in_range(p.d.pending_cap, 1, 16384);
    uint64_t so_far = p.syncs[0]->position;
    carry_out_syncs(&p);
    uint64_t left = p.d.pending_n;
    durable_logged(&p.s, &(struct entry){.shard = 0, .version = version + 1, .term = 1});
    assert_true(left > 0);
    for (size_t i = 0; i < p.d.pending_n; i++) { /* what that sync tells of is still known */
        struct durable_pending *at = &p.d.pending[(p.d.pending_first + i) & (p.d.pending_cap - 1)];
        if (at->position == so_far) {
            assert_int_equal(at->version, 100 * 50);
            so_far = 0;
        }
    }
    assert_int_equal(so_far, 0);
    close_place(&p);
}

static void count_reset(void *arg, const struct wal_record *r)
{
    int *n = arg;
    *n += r->kind == WAL_RESET && r->shard == 1;
}

/* Else its entries, which begin anywhere, would look like damage to a start before its snapshot. */
static void test_a_first_copy_begins_with_a_reset(void **state)
{
    (void)state;
    struct place p;
    int n = 0;
    struct wal_visitor v = {.arg = &n, .record = count_reset};
    struct wal_found found;
    open_place(&p, true);
    durable_discard(&p.s, 1);
    log_entry(&p, 1, 77);
    durable_turn(&p.s);
    assert_int_equal(wal_read(p.d.disk, 0, &v, &found), 0);
    assert_int_equal(n, 1);
    wal_found_fini(&found);
    close_place(&p);
}

static void stop_when_saved(struct loop_timer *t)
{
    const struct durable *d = t->arg;
    if (d->snapshot == NULL) {
        loop_stop(d->s->loop);
    }
}

/* The disk may take seconds for that: the loop goes on, and what comes into place then is void. */
static void test_a_discard_does_not_wait_for_the_snapshot(void **state)
{
    (void)state;
    struct place p;
    struct later later = {0};
    struct snapshot_port port = {.arg = &later, .run = keep_job};
    struct snapshot_info info = {.shard = 0, .n_shards = SHARDS, .position = WAL_FIRST};
    struct loop_timer t;
    open_place(&p, false);
    keyspace_shard_create(p.s.ks, 0);
    p.d.snapshot = snapshot_new(p.d.disk, p.s.ks, &info, 1, &port);
    p.d.saving_all = true;
    enum snapshot_state now = SNAPSHOT_MORE;
    for (int done = 0; now != SNAPSHOT_WRITTEN;) {
        now = snapshot_step(p.d.snapshot, 1000);
        for (; done < later.n; done++) {
            snapshot_job_run(later.of[done]);
            snapshot_job_done(later.of[done]);
        }
    }
    later.n = 0;
    snapshot_finish(p.d.snapshot);
    assert_int_equal(later.n, 1);

    durable_discard(&p.s, 0);
    assert_non_null(p.d.snapshot);

    snapshot_job_run(later.of[0]);
    snapshot_job_done(later.of[0]);
    assert_true(is_there(p.d.disk, "shard.00000"));
    loop_timer_init(&t, p.s.loop, stop_when_saved, &p.d);
    loop_timer_start(&t, 1, 1);
    durable_saves_tick(&p.d);
    loop_run(p.s.loop);
    loop_timer_fini(&t);
    assert_int_equal(p.d.shards[0].snapshot, 0);
    assert_int_equal(p.d.snapshots, 0);
    assert_false(p.d.saving_all);
    durable_tick(&p.s);
    jobs_drain(p.d.files);
    assert_false(is_there(p.d.disk, "shard.00000"));
    close_place(&p);
}

static void test_the_file_of_a_shard_whose_snapshot_runs_is_not_removed(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-durable-XXXXXX";
    struct errmsg err;
    struct later later = {0};
    struct snapshot_port port = {.arg = &later, .run = keep_job};
    struct snapshot_info info = {.shard = 0, .n_shards = SHARDS};
    struct durable_shard shards[SHARDS] = {{.reset = WAL_FIRST}, {.recovered = true}};
    struct server s = {.loop = loop_new(), .ks = keyspace_new(SHARDS, 1, 1)};
    struct durable d = {.s = &s, .n_shards = SHARDS, .shards = shards};
    assert_non_null(mkdtemp(dir));
    s.durable = &d;
    d.disk = disk_posix_new(dir, &err);
    d.files = jobs_new(s.loop, "snapshots");
    keyspace_shard_create(s.ks, 0);
    d.snapshot = snapshot_new(d.disk, s.ks, &info, 1, &port);
    put_file(d.disk, "shard.00000"); /* as if renamed into place just now */
    put_file(d.disk, "shard.00001");

    durable_discard(&s, 1);
    jobs_drain(d.files);
    assert_true(is_there(d.disk, "shard.00000"));
    assert_false(is_there(d.disk, "shard.00001"));

    for (int i = 0; i < later.n; i++) {
        snapshot_job_done(later.of[i]);
    }
    snapshot_free(&d.snapshot);
    assert_int_equal(disk_remove(d.disk, "shard.00000"), 0);
    jobs_free(&d.files);
    disk_posix_free(&d.disk);
    mem_free(d.pending);
    keyspace_free(&s.ks);
    loop_free(&s.loop);
    (void)rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_for_the_disk_is_bounded),
        cmocka_unit_test(test_a_first_copy_begins_with_a_reset),
        cmocka_unit_test(test_a_discard_does_not_wait_for_the_snapshot),
        cmocka_unit_test(test_the_file_of_a_shard_whose_snapshot_runs_is_not_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
