// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/evict.h"

#include "node/keyspace/clock.h"
#include "node/keyspace/db.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/table.h"

#include "common/base/mem.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define SHARDS 8
#define NOW    INT64_C(1700000000000)

static struct keyspace *make(int64_t policy)
{
    struct keyspace *ks = keyspace_new(SHARDS, 2, 42);
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(ks, i);
    }
    ks->settings.maxmemory_policy = policy;
    ks->settings.lfu = evict_uses_lfu(policy);
    return ks;
}

static void put(struct keyspace *ks, int db_index, const char *name, int i, int64_t now_ms,
                int64_t expire_ms)
{
    char text[32];
    struct db db = {.ks = ks, .index = db_index, .now_ms = now_ms};
    struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "%s%d", name, i));
    struct probe p = keyspace_probe_key(ks, key);
    db_set_string(&db, &p, key, db_peek(&db, &p, key), SLICE("a value of some bytes"), expire_ms);
}

static bool has(struct keyspace *ks, int db_index, const char *name, int i)
{
    char text[32];
    struct db db = {.ks = ks, .index = db_index, .now_ms = NOW};
    struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "%s%d", name, i));
    struct probe p = keyspace_probe_key(ks, key);
    return db_raw(&db, &p, key) != NULL;
}

static uint64_t count(struct keyspace *ks, const char *name, int n)
{
    uint64_t found = 0;
    for (int i = 0; i < n; i++) {
        found += has(ks, 0, name, i);
    }
    return found;
}

/* One key goes: the limit is just below what is used. */
static enum evict_result evict_some(struct keyspace *ks, size_t most)
{
    ks->settings.maxmemory = 1;
    enum evict_result r = keyspace_evict(ks, NOW, most);
    ks->settings.maxmemory = 0;
    return r;
}

static void test_nothing_goes_below_the_limit(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_ALLKEYS_LRU);
    put(ks, 0, "k", 1, NOW, OBJECT_NO_EXPIRE);
    assert_int_equal(keyspace_evict(ks, NOW, 10), EVICT_ENOUGH);
    ks->settings.maxmemory = mem_used() * 2;
    assert_int_equal(evict_excess(ks), 0);
    assert_int_equal(keyspace_evict(ks, NOW, 10), EVICT_ENOUGH);
    /* What replication keeps is not counted. */
    ks->settings.maxmemory = 1;
    assert_true(evict_excess(ks) > 0);
    ks->uncounted = mem_used();
    assert_int_equal(evict_excess(ks), 0);
    assert_int_equal(ks->stats.evicted_keys, 0);
    keyspace_free(&ks);
}

static void test_noeviction_fails(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_NOTHING);
    put(ks, 0, "k", 1, NOW, NOW + 1000);
    assert_int_equal(evict_some(ks, 10), EVICT_FAILED);
    assert_true(has(ks, 0, "k", 1));
    keyspace_free(&ks);
}

static void test_the_least_recently_used_go_first(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_ALLKEYS_LRU);
    ks->settings.maxmemory_samples = 10;
    for (int i = 0; i < 1000; i++) {
        put(ks, 0, "old", i, NOW - 3600000, OBJECT_NO_EXPIRE);
        put(ks, 0, "new", i, NOW - 1000, OBJECT_NO_EXPIRE);
    }
    assert_int_equal(evict_some(ks, 500), EVICT_GOES_ON);
    assert_true(ks->evicting);
    assert_int_equal(ks->stats.evicted_keys, 500);
    assert_int_equal(count(ks, "old", 1000) + count(ks, "new", 1000), 1500);
    assert_true(count(ks, "new", 1000) >= 990);
    keyspace_free(&ks);
}

static void test_the_least_frequently_used_go_first(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_ALLKEYS_LFU);
    ks->settings.maxmemory_samples = 10;
    ks->settings.lfu_log_factor = 0; /* each use counts */
    for (int i = 0; i < 500; i++) {
        put(ks, 0, "cold", i, NOW, OBJECT_NO_EXPIRE);
        put(ks, 0, "hot", i, NOW, OBJECT_NO_EXPIRE);
        char text[32];
        struct db db = {.ks = ks, .now_ms = NOW};
        struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "hot%d", i));
        struct probe p = keyspace_probe_key(ks, key);
        for (int use = 0; use < 20; use++) {
            assert_non_null(db_read(&db, &p, key));
        }
    }
    assert_int_equal(evict_some(ks, 250), EVICT_GOES_ON);
    assert_true(count(ks, "hot", 500) >= 495);
    keyspace_free(&ks);
}

static void test_what_expires_soonest_goes_first(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_VOLATILE_TTL);
    ks->settings.maxmemory_samples = 10;
    for (int i = 0; i < 500; i++) {
        put(ks, 0, "soon", i, NOW, NOW + 10000);
        put(ks, 0, "late", i, NOW, NOW + 1000000);
        put(ks, 0, "never", i, NOW, OBJECT_NO_EXPIRE);
    }
    assert_int_equal(evict_some(ks, 250), EVICT_GOES_ON);
    assert_int_equal(count(ks, "never", 500), 500);
    assert_true(count(ks, "late", 500) >= 495);
    keyspace_free(&ks);
}

/* Few that expire among many that do not are found, and then there is nothing more. */
static void test_volatile_policies_spare_the_others(void **state)
{
    static const int64_t policies[] = {EVICT_VOLATILE_LRU, EVICT_VOLATILE_LFU,
                                       EVICT_VOLATILE_RANDOM, EVICT_VOLATILE_TTL};
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(policies); k++) {
        struct keyspace *ks = make(policies[k]);
        for (int i = 0; i < 5000; i++) {
            put(ks, 0, "k", i, NOW, i % 500 == 7 ? NOW + 100000 : OBJECT_NO_EXPIRE);
        }
        put(ks, 1, "other", 1, NOW, NOW + 100000);
        assert_int_equal(evict_some(ks, SIZE_MAX), EVICT_FAILED);
        assert_int_equal(count(ks, "k", 5000), 4990);
        assert_false(has(ks, 1, "other", 1));
        assert_int_equal(ks->stats.evicted_keys, 11);
        keyspace_free(&ks);
    }
}

static void test_all_keys_can_go(void **state)
{
    static const int64_t policies[] = {EVICT_ALLKEYS_LRU, EVICT_ALLKEYS_LFU, EVICT_ALLKEYS_RANDOM};
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(policies); k++) {
        struct keyspace *ks = make(policies[k]);
        for (int i = 0; i < 2000; i++) {
            put(ks, i % 2, "k", i, NOW, i % 3 == 0 ? NOW + 1000 : OBJECT_NO_EXPIRE);
        }
        assert_int_equal(evict_some(ks, SIZE_MAX), EVICT_FAILED);
        assert_int_equal(keyspace_keys(ks, 0) + keyspace_keys(ks, 1), 0);
        assert_int_equal(ks->stats.evicted_keys, 2000);
        keyspace_free(&ks);
    }
}

static void test_copies_lose_nothing_by_themselves(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_ALLKEYS_RANDOM);
    for (int i = 0; i < 800; i++) {
        put(ks, 0, "k", i, NOW, OBJECT_NO_EXPIRE);
    }
    uint64_t kept = 0;
    for (int s = 0; s < SHARDS; s += 2) {
        ks->shards[s]->passive = true;
        kept += keyspace_shard_keys(ks, s);
    }
    assert_int_equal(evict_some(ks, SIZE_MAX), EVICT_FAILED);
    assert_int_equal(count(ks, "k", 800), kept);
    keyspace_free(&ks);
}

/* The log learns of each as a DEL. */
struct told {
    uint64_t effects;
};

static void take_entry(void *arg, struct entry *e)
{
    struct told *t = arg;
    assert_int_equal(e->lane, 0);
    t->effects += e->n_effects;
}

static void take_touched(void *arg, uint32_t shard, uint64_t hash)
{
    (void)arg;
    (void)shard;
    (void)hash;
}

static void take_touched_all(void *arg, uint32_t shard)
{
    (void)arg;
    (void)shard;
}

static void test_evictions_are_in_the_log(void **state)
{
    (void)state;
    struct told told = {0};
    const struct effect_sink sink = {.arg = &told,
                                     .entry = take_entry,
                                     .touched = take_touched,
                                     .touched_all = take_touched_all};
    struct keyspace *ks = make(EVICT_ALLKEYS_LRU);
    for (int i = 0; i < 100; i++) {
        put(ks, 0, "k", i, NOW, OBJECT_NO_EXPIRE);
    }
    struct collector *c = collector_new(&sink);
    ks->collector = c;
    assert_int_equal(evict_some(ks, 30), EVICT_GOES_ON);
    assert_int_equal(told.effects, 30);
    ks->collector = NULL;
    collector_free(&c);
    keyspace_free(&ks);
}

static void test_for_others_only_their_shards_lose_keys(void **state)
{
    (void)state;
    struct keyspace *ks = make(EVICT_ALLKEYS_LRU);
    bool shards[SHARDS] = {false, true, false, true};
    uint64_t before[SHARDS];
    for (int i = 0; i < 2000; i++) {
        put(ks, i % 2, "k", i, NOW, OBJECT_NO_EXPIRE);
    }
    for (int i = 0; i < SHARDS; i++) {
        before[i] = keyspace_shard_keys(ks, i);
    }
    /* No limit is reached: it is for the sake of others. */
    size_t gone = keyspace_evict_for(ks, NOW, 5000, 1000, shards);
    assert_in_range(gone, 5000, 5200);
    assert_int_equal(gone, ks->stats.evicted_bytes);
    assert_true(keyspace_evict_for(ks, NOW, SIZE_MAX / 2, 10, shards) > 0);
    (void)keyspace_evict_for(ks, NOW, SIZE_MAX / 2, SIZE_MAX, shards);
    for (int i = 0; i < SHARDS; i++) {
        assert_int_equal(keyspace_shard_keys(ks, i), shards[i] ? 0 : before[i]);
    }
    assert_int_equal(keyspace_evict_for(ks, NOW, 5000, 1000, shards), 0);
    assert_false(ks->evicting);
    assert_false(ks->evict_failed);
    /* One's own are any again. */
    assert_int_equal(evict_some(ks, SIZE_MAX), EVICT_FAILED);
    assert_true(ks->evict_failed);
    assert_int_equal(keyspace_keys(ks, 0), 0);
    put(ks, 0, "k", 1, NOW, OBJECT_NO_EXPIRE);
    ks->settings.maxmemory_policy = EVICT_NOTHING;
    memset(shards, 1, sizeof(shards));
    assert_int_equal(keyspace_evict_for(ks, NOW, 5000, 1000, shards), 0);
    keyspace_free(&ks);
}

static void test_patience_grows_with_tenacity(void **state)
{
    (void)state;
    assert_int_equal(evict_patience(0), 1);
    assert_int_equal(evict_patience(10), 500);
    assert_true(evict_patience(20) > evict_patience(10));
    assert_true(evict_patience(100) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_goes_below_the_limit),
        cmocka_unit_test(test_noeviction_fails),
        cmocka_unit_test(test_the_least_recently_used_go_first),
        cmocka_unit_test(test_the_least_frequently_used_go_first),
        cmocka_unit_test(test_what_expires_soonest_goes_first),
        cmocka_unit_test(test_volatile_policies_spare_the_others),
        cmocka_unit_test(test_all_keys_can_go),
        cmocka_unit_test(test_copies_lose_nothing_by_themselves),
        cmocka_unit_test(test_evictions_are_in_the_log),
        cmocka_unit_test(test_for_others_only_their_shards_lose_keys),
        cmocka_unit_test(test_patience_grows_with_tenacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
