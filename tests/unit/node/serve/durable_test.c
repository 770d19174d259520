// SPDX-License-Identifier: BSD-3-Clause
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
        cmocka_unit_test(test_the_file_of_a_shard_whose_snapshot_runs_is_not_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
