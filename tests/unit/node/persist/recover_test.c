// SPDX-License-Identifier: BSD-3-Clause
/* A node's whole data on a disk that crashes and rots: log and snapshots written as the node does
 * it, read again, compared with what the shards were at the version that is found. */
#include "node/persist/recover.h"

#include "node/keyspace/db.h"
#include "node/keyspace/walk.h"
#include "node/persist/snapshot.h"

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/cmd/slot.h"

#include "tests/unit/node/persist/sim_disk.h"
#include "tests/unit/unit.h"

enum { SHARDS = 3, DBS = 2, VERSIONS = 4000, NOW = 1700000000 };

#define BOOT 5 /* of the machine, always this one */

struct world {
    struct rng rng;
    struct sim_disk *disk;
    struct call_table table;
    struct keyspace *ks;
    struct applier applier;
    struct wal *wal;
    struct snapshot *snapshot;
    struct history history[SHARDS];
    uint64_t snapshots[SHARDS]; /* positions */
    struct digest *digests;     /* of shard s at version v: [s * VERSIONS + v] */
    uint64_t *ends;             /* log position behind that entry */
    int64_t *came;              /* by the machine's clock */
    int64_t clock_us;
    uint64_t tails_seen; /* entries */
    struct tails *tails;
    struct recovered found;
};

static struct digest *digest_at(struct world *w, int shard, uint64_t version)
{
    assert_true(version < VERSIONS);
    return &w->digests[(size_t)shard * VERSIONS + version];
}

static uint64_t *end_at(struct world *w, int shard, uint64_t version)
{
    return &w->ends[(size_t)shard * VERSIONS + version];
}

static int64_t *came_at(struct world *w, int shard, uint64_t version)
{
    return &w->came[(size_t)shard * VERSIONS + version];
}

struct digesting {
    struct digest sum;
};

static size_t add_digest(void *arg, int db, uint64_t hash, struct object *o)
{
    struct digesting *d = arg;
    struct digest one;
    (void)hash;
    object_digest(o, &one);
    for (size_t i = 0; i < sizeof(one.bytes); i++) {
        one.bytes[i] = (unsigned char)(one.bytes[i] * (2 * db + 1));
    }
    digest_xor(&d->sum, &one);
    return 1;
}

static struct digest shard_digest(struct keyspace *ks, int shard)
{
    struct digesting d = {0};
    struct walk_place at = {0};
    while (ks->shards[shard] != NULL && walk_step(ks, shard, &at, 1 << 20, add_digest, &d)) {
    }
    return d.sum;
}

/* ---- what a node does ---- */

static void run_sync(void *arg, struct wal_sync *job)
{
    (void)arg;
    wal_sync_run(job);
    wal_synced(job);
}

static void run_snapshot(void *arg, struct snapshot_job *job)
{
    (void)arg;
    snapshot_job_run(job);
    snapshot_job_done(job);
}

static void list_shards(void *arg, struct str *to)
{
    const struct world *w = arg;
    for (unsigned i = 0; i < SHARDS; i++) {
        if (w->snapshots[i] != 0) {
            char *at = str_reserve(to, 10);
            put_le16(at, (uint16_t)i);
            put_le64(at + 2, w->snapshots[i]);
            to->len += 10;
        }
    }
}

static void open_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    rng_init(&w->rng, seed);
    w->disk = sim_disk_new(&w->rng);
    w->digests = mem_zalloc(sizeof(struct digest) * SHARDS * VERSIONS);
    w->ends = mem_zalloc(sizeof(uint64_t) * SHARDS * VERSIONS);
    w->came = mem_zalloc(sizeof(int64_t) * SHARDS * VERSIONS);
    call_table_data(&w->table);
    applier_init(&w->applier, &w->table);
}

static void stop(struct world *w)
{
    snapshot_free(&w->snapshot);
    wal_free(&w->wal);
    keyspace_free(&w->ks);
    recovered_fini(&w->found);
}

static void close_world(struct world *w)
{
    stop(w);
    applier_fini(&w->applier);
    sim_disk_free(&w->disk);
    mem_free(w->digests);
    mem_free(w->ends);
    mem_free(w->came);
    tails_free(&w->tails);
}

static int recover(struct world *w)
{
    keyspace_free(&w->ks);
    recovered_fini(&w->found);
    w->ks = keyspace_new(SHARDS, DBS, 5);
    tails_free(&w->tails);
    w->tails = tails_new(SHARDS, 2000, BOOT);
    return recover_run(&w->disk->disk, w->ks, &w->table, 0, false, w->tails, &w->found);
}

/* Starts on what recover() has found. */
static void start(struct world *w)
{
    int error;
    struct wal_settings s = {.policy = WAL_SYNC_ALWAYS,
                             .n_shards = SHARDS,
                             .segment_bytes = 3000,
                             .buffer_max = 1 << 20};
    struct wal_port port = {.arg = w, .sync = run_sync, .shards = list_shards};
    for (int i = 0; i < SHARDS; i++) {
        const struct recover_shard *r = &w->found.shards[i];
        w->history[i] = r->history;
        w->snapshots[i] = r->state == RECOVER_GOOD ? r->snapshot : 0;
        keyspace_shard_create(w->ks, i);
    }
    w->wal = wal_new(&w->disk->disk, &s, &port, w->found.log.segments, w->found.log.n_segments,
                     w->found.position, rng_next(&w->rng), 0, &error);
    assert_non_null(w->wal);
}

static struct slice key_of_shard(struct world *w, int shard, char to[32])
{
    for (;;) {
        struct slice key = slice_of(to, num_print_u64(to, rng_below(&w->rng, 300)));
        if (keyspace_shard_of(w->ks, slot_of(key)) == shard) {
            return key;
        }
    }
}

static void write_entry(struct world *w)
{
    int shard = (int)rng_below(&w->rng, SHARDS);
    char name[32], value[64];
    struct slice key = key_of_shard(w, shard, name);
    size_t len = rng_below(&w->rng, sizeof(value));
    memset(value, (int)('a' + rng_below(&w->rng, 26)), len);
    struct slice set[] = {SLICE("SET"), key, slice_of(value, len)};
    struct slice append[] = {SLICE("APPEND"), key, slice_of(value, len % 5)};
    struct slice del[] = {SLICE("DEL"), key};
    struct slice flush[] = {SLICE("FLUSHALL")};
    struct str effects = {0};
    int db = (int)rng_below(&w->rng, DBS);
    uint64_t what = rng_below(&w->rng, 200);
    if (what == 0) {
        effects_add(&effects, db, flush, 1);
    } else if (what < 50) {
        effects_add(&effects, db, append, 3);
    } else if (what < 80) {
        effects_add(&effects, db, del, 2);
    } else {
        effects_add(&effects, db, set, 3);
    }
    struct history *h = &w->history[shard];
    uint64_t term =
        history_term(h) == 0 || rng_below(&w->rng, 50) == 0 ? history_term(h) + 1 : history_term(h);
    history_add(h, term);
    struct entry e = {.shard = shard,
                      .term = term,
                      .version = h->version,
                      .time_ms = NOW,
                      .n_effects = 1,
                      .effects = str_slice(&effects)};
    char *bytes = mem_alloc(entry_size(&e));
    entry_write(bytes, &e);
    e.bytes = slice_of(bytes, entry_size(&e));
    assert_true(apply_entry(&w->applier, w->ks, &e));
    *end_at(w, shard, h->version) =
        wal_append(w->wal, WAL_ENTRY, (uint32_t)shard, term, h->version, e.bytes);
    *digest_at(w, shard, h->version) = shard_digest(w->ks, shard);
    *came_at(w, shard, h->version) = w->clock_us;
    mem_free(bytes);
    str_fini(&effects);
}

static void trim(struct world *w)
{
    uint64_t from = wal_written(w->wal);
    for (int i = 0; i < SHARDS; i++) {
        from = MIN(from, w->history[i].version == 0 ? UINT64_MAX : w->snapshots[i]);
    }
    wal_trim(w->wal, from);
}

static void begin_snapshot(struct world *w)
{
    int shard = (int)rng_below(&w->rng, SHARDS);
    struct snapshot_port port = {.arg = w, .run = run_snapshot};
    struct snapshot_info info = {.shard = shard,
                                 .n_shards = SHARDS,
                                 .position = wal_end(w->wal),
                                 .keys = 100,
                                 .history = w->history[shard]};
    w->snapshot = snapshot_new(&w->disk->disk, w->ks, &info, rng_next(&w->rng), &port);
    assert_non_null(w->snapshot);
}

static void go_on_with_snapshot(struct world *w)
{
    const struct snapshot_info *info = snapshot_info(w->snapshot);
    switch (snapshot_step(w->snapshot, 500)) {
    case SNAPSHOT_WRITTEN:
        if (wal_safe(w->wal) >= info->position) {
            snapshot_finish(w->snapshot);
        }
        return;
    case SNAPSHOT_DONE:
        w->snapshots[info->shard] = info->position;
        (void)wal_append(w->wal, WAL_SNAPSHOT, (uint32_t)info->shard, 0, info->position, SLICE(""));
        snapshot_free(&w->snapshot);
        trim(w);
        return;
    case SNAPSHOT_FAILED:
        assert_int_equal(snapshot_error(w->snapshot), 0);
        snapshot_free(&w->snapshot);
        return;
    case SNAPSHOT_MORE:
    case SNAPSHOT_WAITS:
    case SNAPSHOT_ENDING:
        return;
    }
}

static void log_clock(struct world *w)
{
    char bytes[TAILS_CLOCK_BYTES];
    tails_clock_write(bytes, BOOT, w->clock_us);
    (void)wal_append(w->wal, WAL_CLOCK, 0, 0, 0, slice_of(bytes, sizeof(bytes)));
}

static void work(struct world *w, uint64_t turns)
{
    for (uint64_t i = 0; i < turns; i++) {
        w->clock_us += 1000;
        if (rng_below(&w->rng, 3) == 0) {
            log_clock(w);
        }
        for (uint64_t n = rng_below(&w->rng, 5); n > 0; n--) {
            write_entry(w);
        }
        if (w->snapshot != NULL) {
            go_on_with_snapshot(w);
        } else if (rng_below(&w->rng, 6) == 0) {
            begin_snapshot(w);
        }
        assert_true(wal_flush(w->wal, 0));
    }
}

/* ---- what must be so ---- */

/* Whatever is GOOD is the shard as it was at that version. */
static void check_good(struct world *w)
{
    for (int i = 0; i < SHARDS; i++) {
        const struct recover_shard *r = &w->found.shards[i];
        struct digest is = shard_digest(w->ks, i);
        struct digest none = {0};
        if (r->state == RECOVER_GOOD) {
            assert_memory_equal(&is, digest_at(w, i, r->history.version), sizeof(is));
        } else {
            assert_memory_equal(&is, &none, sizeof(is));
            assert_int_equal(r->history.version, 0);
        }
    }
}

/* The last entries are there, and none that is missing came later than is said. */
static void check_tail(struct world *w, int shard)
{
    uint64_t last = w->found.shards[shard].history.version;
    uint64_t first = last + 1;
    struct slice in;
    int64_t since;
    if (!tails_of(w->tails, shard, last, &in, &since)) {
        return;
    }
    for (uint64_t v = 0; in.len > 0; v++) {
        struct entry e;
        int64_t len = entry_read(in, &e);
        assert_true(len > 0);
        assert_int_equal(e.shard, shard);
        first = v == 0 ? e.version : first;
        assert_int_equal(e.version, first + v);
        in = slice_of(in.ptr + len, in.len - (size_t)len);
        assert_true(in.len > 0 || e.version == last);
    }
    w->tails_seen += last + 1 - first;
    for (uint64_t v = 1; v < first; v++) {
        assert_true(*came_at(w, shard, v) <= since);
    }
}

static void test_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RANDOM_ROUNDS(30); seed++) {
        struct world w;
        open_world(&w, seed);
        for (int life = 0; life < 8; life++) {
            assert_int_equal(recover(&w), 0);
            start(&w);
            work(&w, rng_below(&w.rng, 80));
            uint64_t versions[SHARDS], durable[SHARDS] = {0};
            for (int i = 0; i < SHARDS; i++) {
                versions[i] = w.history[i].version;
                while (durable[i] < versions[i] &&
                       *end_at(&w, i, durable[i] + 1) <= wal_durable(w.wal)) {
                    durable[i]++;
                }
            }
            int end = (int)rng_below(&w.rng, 3);
            if (end == 0) {
                assert_true(wal_close(&w.wal));
            }
            stop(&w);
            if (end == 2) {
                sim_disk_crash(w.disk);
            }
            assert_int_equal(recover(&w), 0);
            assert_int_equal(w.found.damaged, 0);
            check_good(&w);
            for (int i = 0; i < SHARDS; i++) {
                check_tail(&w, i);
                uint64_t is = w.found.shards[i].history.version;
                assert_true(is >= durable[i]);
                assert_true(is <= versions[i]);
            }
        }
        assert_true(w.tails_seen > 0);
        close_world(&w);
    }
}

static void copy_disk(struct sim_disk *from, struct sim_disk *to)
{
    for (size_t k = 0; k < from->now.n; k++) {
        struct disk_file *f;
        const struct str *b = &from->now.of[k].inode->now;
        assert_int_equal(disk_open(&to->disk, from->now.of[k].name, DISK_CREATE, &f), 0);
        assert_int_equal(disk_write(f, 0, b->ptr, b->len), 0);
        disk_close(&f);
    }
}

static uint64_t last_log(struct sim_disk *d)
{
    uint64_t last = 0;
    for (size_t i = 0; i < d->now.n; i++) {
        uint64_t seq;
        last = wal_parse_name(d->now.of[i].name, &seq) ? MAX(last, seq) : last;
    }
    return last;
}

/* 10,000 bits flipped, files cut, files lost: never wrong, and never silent but for a tail that
 * looks like torn off. */
static void test_rot(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 77);
    assert_int_equal(recover(&w), 0);
    start(&w);
    work(&w, 300);
    assert_true(wal_close(&w.wal));
    uint64_t versions[SHARDS];
    for (int i = 0; i < SHARDS; i++) {
        versions[i] = w.history[i].version;
    }
    stop(&w);
    struct sim_disk *whole = w.disk;
    char last[WAL_NAME_MAX];
    wal_file_name(last, last_log(whole));
    for (int i = 0; i < RANDOM_ROUNDS(10000); i++) {
        w.disk = sim_disk_new(&w.rng);
        copy_disk(whole, w.disk);
        struct sim_name *name = &w.disk->now.of[rng_below(&w.rng, w.disk->now.n)];
        struct str *victim = &name->inode->now;
        size_t at = rng_below(&w.rng, victim->len + 1);
        bool tail = strcmp(name->name, last) == 0;
        if (i % 10 == 0) {
            assert_int_equal(disk_remove(&w.disk->disk, name->name), 0);
        } else if (i % 4 == 0) {
            victim->len = at;
        } else if (at < victim->len) {
            victim->ptr[at] = (char)(victim->ptr[at] ^ 1 << rng_below(&w.rng, 8));
        }
        assert_int_equal(recover(&w), 0);
        check_good(&w);
        for (int k = 0; k < SHARDS; k++) {
            const struct recover_shard *r = &w.found.shards[k];
            bool all = r->state == RECOVER_GOOD && r->history.version == versions[k];
            /* The end of the log cannot be told from one never written. */
            assert_true(all || r->state == RECOVER_DAMAGED || tail);
        }
        sim_disk_free(&w.disk);
    }
    w.disk = whole;
    close_world(&w);
}

static void test_reset_voids(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 5);
    assert_int_equal(recover(&w), 0);
    start(&w);
    work(&w, 60);
    (void)wal_append(w.wal, WAL_RESET, 1, 0, 0, SLICE(""));
    assert_true(wal_flush(w.wal, 0));
    uint64_t other = w.history[0].version;
    stop(&w);
    assert_int_equal(recover(&w), 0);
    assert_int_equal(w.found.shards[1].state, RECOVER_VOID);
    assert_null(w.ks->shards[1]);
    assert_int_equal(w.found.shards[0].history.version, other);
    assert_int_equal(w.found.damaged, 0);
    check_good(&w);
    /* Empty, and then written to again from the first version on. */
    start(&w);
    work(&w, 60);
    uint64_t version = w.history[1].version;
    assert_true(version > 0);
    stop(&w);
    assert_int_equal(recover(&w), 0);
    assert_int_equal(w.found.shards[1].state, RECOVER_GOOD);
    assert_int_equal(w.found.shards[1].history.version, version);
    check_good(&w);
    close_world(&w);
}

/* A sync fails; while snapshots make the log whole again the machine goes down. What has one
 * already is good, and the log behind it is read. */
static void test_a_crash_before_the_log_is_whole_again(void **state)
{
    (void)state;
    int kept = 0;
    int lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world w;
        open_world(&w, seed);
        assert_int_equal(recover(&w), 0);
        start(&w);
        work(&w, 40);
        snapshot_free(&w.snapshot);
        w.disk->fail_syncs = 1;
        for (int i = 0; i < 20; i++) {
            write_entry(&w);
        }
        (void)wal_flush(w.wal, 0);
        assert_int_equal(w.disk->fail_syncs, 0);
        wal_tick(w.wal, 1000, 0);
        uint64_t gap = wal_gap(w.wal);
        assert_true(gap != 0);
        while (w.snapshots[0] < gap && w.snapshots[1] < gap) {
            begin_snapshot(&w);
            while (w.snapshot != NULL) {
                go_on_with_snapshot(&w);
                (void)wal_flush(w.wal, 0);
            }
        }
        assert_int_equal(wal_gap(w.wal), gap); /* not all of them */
        for (int i = 0; i < 20; i++) {
            write_entry(&w);
            (void)wal_flush(w.wal, 0);
        }
        uint64_t snapshots[SHARDS], versions[SHARDS];
        for (int i = 0; i < SHARDS; i++) {
            snapshots[i] = w.snapshots[i];
            versions[i] = w.history[i].version;
        }
        stop(&w);
        sim_disk_crash(w.disk);
        assert_int_equal(recover(&w), 0);
        check_good(&w);
        for (int i = 0; i < SHARDS; i++) {
            if (snapshots[i] >= gap) {
                assert_int_equal(w.found.shards[i].state, RECOVER_GOOD);
                assert_int_equal(w.found.shards[i].history.version, versions[i]);
                kept++;
            }
        }
        lost += w.found.log.holes > 0;
        assert_true(w.found.log.holes == 0 || !w.found.log.always);
        close_world(&w);
    }
    assert_true(kept > 0);
    assert_true(lost > 0);
}

static void test_number_of_shards(void **state)
{
    (void)state;
    struct world w;
    struct errmsg err;
    int n;
    open_world(&w, 6);
    assert_int_equal(recover_shards(&w.disk->disk, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(recover(&w), 0);
    start(&w);
    assert_int_equal(recover_shards(&w.disk->disk, &n, &err), 0);
    assert_int_equal(n, SHARDS);
    close_world(&w);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),
        cmocka_unit_test(test_rot),
        cmocka_unit_test(test_reset_voids),
        cmocka_unit_test(test_a_crash_before_the_log_is_whole_again),
        cmocka_unit_test(test_number_of_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
