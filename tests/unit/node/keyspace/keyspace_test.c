// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/keyspace.h"

#include "node/keyspace/db.h"
#include "node/types/string.h"
#include "node/types/zset.h"

#include "common/base/mem.h"
#include "common/cmd/slot.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHARDS = 8, DBS = 4, KEYS = 5000 };

static struct keyspace *keyspace_with(const int *shards, size_t n)
{
    struct keyspace *ks = keyspace_new(SHARDS, DBS, 3);
    for (size_t i = 0; i < n; i++) {
        keyspace_shard_create(ks, shards[i]);
    }
    return ks;
}

static const int all_shards[] = {0, 1, 2, 3, 4, 5, 6, 7};

static struct slice key_of(char *to, int i)
{
    return slice_of(to, (size_t)snprintf(to, 32, "key:%d", i));
}

static void put(struct keyspace *ks, int index, int i, int64_t expire_ms)
{
    char text[32];
    struct slice key = key_of(text, i);
    struct probe p = keyspace_probe_key(ks, key);
    if (ks->shards[p.shard] != NULL) {
        struct db db = {.ks = ks, .index = index};
        db_set_string(&db, &p, key, db_peek(&db, &p, key), key, expire_ms);
    }
}

static struct object *get(struct keyspace *ks, int index, int i, int64_t now_ms)
{
    char text[32];
    struct slice key = key_of(text, i);
    struct probe p = keyspace_probe_key(ks, key);
    struct db db = {.ks = ks, .index = index, .now_ms = now_ms};
    return db_read(&db, &p, key);
}

static void test_only_held_shards_have_keys(void **state)
{
    (void)state;
    static const int some[] = {1, 4, 5};
    struct keyspace *ks = keyspace_with(some, ARRAY_LEN(some));
    assert_int_equal(ks->held, 3);
    assert_true(keyspace_holds(ks, 16384 / SHARDS));
    assert_false(keyspace_holds(ks, 0));
    for (int i = 0; i < KEYS; i++) {
        put(ks, 0, i, OBJECT_NO_EXPIRE);
    }
    uint64_t sum = 0;
    size_t memory = 0;
    for (int s = 0; s < SHARDS; s++) {
        bool held = s == 1 || s == 4 || s == 5;
        assert_int_equal(keyspace_shard_keys(ks, s) > 0, held);
        assert_int_equal(keyspace_shard_memory(ks, s) > 0, held);
        sum += keyspace_shard_keys(ks, s);
        memory += keyspace_shard_memory(ks, s);
    }
    assert_int_equal(sum, keyspace_keys(ks, 0));
    assert_int_equal(memory, keyspace_memory(ks));
    uint64_t version = ks->shards[4]->version;
    assert_int_equal(version, keyspace_shard_keys(ks, 4));

    uint64_t gone = keyspace_shard_keys(ks, 4);
    keyspace_shard_drop(ks, 4);
    keyspace_shard_drop(ks, 4);
    assert_int_equal(ks->held, 2);
    assert_int_equal(ks->stats.lazyfree_pending, gone);
    assert_int_equal(keyspace_keys(ks, 0), sum - gone);
    while (keyspace_lazyfree_step(ks, 100)) {
    }
    assert_int_equal(ks->stats.lazyfree_pending, 0);
    assert_int_equal(ks->stats.lazyfreed_objects, gone);
    keyspace_shard_create(ks, 4);
    assert_int_equal(keyspace_shard_keys(ks, 4), 0);
    keyspace_free(&ks);
    assert_null(ks);
}

static void add_large(struct keyspace *ks, int members)
{
    struct db db = {.ks = ks};
    struct probe p = keyspace_probe_key(ks, SLICE("large"));
    struct object *o = zset_new(SLICE("large"));
    for (int i = 0; i < members; i++) {
        char name[20];
        double score = i;
        struct slice member = slice_of(name, (size_t)snprintf(name, sizeof(name), "m%d", i));
        assert_int_equal(zset_add(o, member, 0, &score), ZSET_ADDED);
    }
    db_add(&db, &p, o);
}

static void remove_large(struct keyspace *ks, bool lazily)
{
    struct db db = {.ks = ks};
    struct probe p = keyspace_probe_key(ks, SLICE("large"));
    db_remove(&db, &p, db_peek(&db, &p, SLICE("large")), lazily);
}

/* In how many steps what waits, so many keys, is freed. */
static int free_all(struct keyspace *ks, uint64_t keys)
{
    uint64_t before = ks->stats.lazyfreed_objects;
    int steps = 0;
    assert_int_equal(ks->stats.lazyfree_pending, keys);
    for (; keyspace_lazyfree_step(ks, 100); steps++) {
        assert_true(ks->stats.lazyfree_pending > 0);
    }
    assert_int_equal(ks->stats.lazyfree_pending, 0);
    assert_int_equal(ks->stats.lazyfree_bytes, 0);
    assert_int_equal(ks->stats.lazyfreed_objects - before, keys);
    return steps;
}

static void test_a_large_value_goes_bit_by_bit(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_new(1, 1, 1);
    keyspace_shard_create(ks, 0);
    add_large(ks, 20000);
    remove_large(ks, true);
    assert_true(free_all(ks, 1) > 20);
    add_large(ks, 20000);
    remove_large(ks, false); /* not so large that nobody would wait */
    assert_int_equal(ks->stats.lazyfree_pending, 0);
    add_large(ks, 100000);
    remove_large(ks, false);
    assert_true(free_all(ks, 1) > 100);
    /* Within what goes as a whole, too. */
    add_large(ks, 20000);
    put(ks, 0, 1, OBJECT_NO_EXPIRE);
    put(ks, 0, 2, OBJECT_NO_EXPIRE);
    keyspace_flush(ks, 0, 0, true, 0);
    assert_true(free_all(ks, 3) > 20);
    add_large(ks, 20000);
    keyspace_shard_drop(ks, 0);
    assert_true(free_all(ks, 1) > 20);
    keyspace_free(&ks);
}

static void test_shards_divide_the_slots_as_the_map_does(void **state)
{
    (void)state;
    static const int counts[] = {1, 3, 7, 128, 1000, 16384};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct keyspace *ks = keyspace_new(counts[i], 1, 1);
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            assert_int_equal(keyspace_shard_of(ks, (int)slot),
                             slot_to_shard(slot, (uint32_t)counts[i]));
        }
        keyspace_free(&ks);
    }
}

/* ---- SCAN ---- */

struct seen {
    int times[KEYS];
    uint64_t n;
};

static void see(void *arg, struct object *o)
{
    struct seen *s = arg;
    char digits[16] = {0};
    memcpy(digits, object_key(o).ptr + 4, object_key(o).len - 4);
    s->times[atoi(digits)]++;
    s->n++;
}

static void test_scan_leaves_gaps_to_other_nodes(void **state)
{
    (void)state;
    /* Two nodes that share the shards: a proxy walks by sending the cursor to whoever holds it. */
    static const int here[] = {0, 1, 4, 7};
    static const int there[] = {2, 3, 5, 6};
    struct keyspace *nodes[] = {keyspace_with(here, 4), keyspace_with(there, 4)};
    struct seen *s = calloc(1, sizeof(*s));
    for (int i = 0; i < KEYS; i++) {
        put(nodes[0], 0, i, OBJECT_NO_EXPIRE);
        put(nodes[1], 0, i, OBJECT_NO_EXPIRE);
    }
    uint64_t cursor = 0;
    int calls = 0;
    do {
        int shard = (int)(cursor & 16383);
        struct keyspace *ks = nodes[0]->shards[shard] != NULL ? nodes[0] : nodes[1];
        uint64_t next;
        uint64_t before = s->n;
        assert_true(keyspace_scan(ks, 0, cursor, 100, &next, see, s));
        assert_true(s->n - before >= 100 || (next >> 14 == 0)); /* less only at a gap or the end */
        assert_true((int64_t)next >= 0);
        cursor = next;
        calls++;
    } while (cursor != 0);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(s->times[i], 1);
    }
    assert_true(calls >= KEYS / 150);

    /* A cursor into a shard that is not held skips to the next held one. */
    uint64_t next;
    memset(s, 0, sizeof(*s));
    assert_true(keyspace_scan(nodes[1], 0, 0, 1000000, &next, see, s));
    assert_int_equal(s->n, keyspace_shard_keys(nodes[1], 2) + keyspace_shard_keys(nodes[1], 3));
    assert_int_equal(next, 4);
    assert_true(keyspace_scan(nodes[1], 0, 7, 10, &next, see, s));
    assert_int_equal(next, 0);
    free(s);
    keyspace_free(&nodes[0]);
    keyspace_free(&nodes[1]);
}

static void test_hostile_cursors_are_harmless(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    struct seen *s = calloc(1, sizeof(*s));
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < KEYS; i++) {
        put(ks, 0, i, OBJECT_NO_EXPIRE);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t cursor = rng_next(&rng) >> rng_below(&rng, 64);
        uint64_t next = 0;
        bool ok = keyspace_scan(ks, 0, cursor, 10, &next, see, s);
        assert_int_equal(ok, cursor >> 62 == 0);
    }
    free(s);
    keyspace_free(&ks);
}

/* ---- expiry ---- */

static void test_expired_keys_are_never_found(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    put(ks, 0, 1, 1000);
    assert_non_null(get(ks, 0, 1, 1000)); /* the last moment */
    assert_int_equal(ks->stats.hits, 1);
    ks->settings.expires_keys = false;
    assert_null(get(ks, 0, 1, 1001));
    assert_int_equal(keyspace_keys(ks, 0), 1); /* a replica hides it only */
    assert_int_equal(keyspace_expire_cycle(ks, 2000, 1000), 0);
    assert_int_equal(keyspace_keys(ks, 0), 1);
    ks->settings.expires_keys = true;
    assert_null(get(ks, 0, 1, 1001));
    assert_int_equal(keyspace_keys(ks, 0), 0);
    assert_int_equal(ks->stats.expired_keys, 1);
    assert_int_equal(ks->stats.misses, 2);
    keyspace_free(&ks);
}

static void test_the_cycle_removes_what_is_over_within_its_budget(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    for (int i = 0; i < KEYS; i++) {
        put(ks, i % 3, i, i % 2 == 0 ? 1000 + i : OBJECT_NO_EXPIRE);
    }
    assert_int_equal(keyspace_expires(ks, 0) + keyspace_expires(ks, 1) + keyspace_expires(ks, 2),
                     KEYS / 2);
    assert_true(keyspace_expire_cycle(ks, 1000, 1000000) < 100); /* nothing is due */
    assert_true(keyspace_avg_ttl(ks, 0, 1000) > 0);

    ks->settings.active_expire = false;
    assert_int_equal(keyspace_expire_cycle(ks, 100000, 1000000), 0);
    ks->settings.active_expire = true;

    for (int64_t now = 1000; now < 1000 + KEYS + 100; now += 250) {
        int calls = 0;
        for (;;) {
            uint64_t looked = keyspace_expire_cycle(ks, now, 300);
            assert_true(looked < 300 + 1000); /* a segment more at most */
            if (looked < 300) {
                break;
            }
            assert_true(++calls < 100);
        }
        uint64_t left = 0;
        for (int db = 0; db < 3; db++) {
            left += keyspace_expires(ks, db);
        }
        uint64_t want = 0;
        for (int i = 0; i < KEYS; i += 2) {
            want += 1000 + i >= now;
        }
        /* A second round sees what the first had already passed. */
        assert_true(left >= want && left <= want + 10);
    }
    assert_int_equal(ks->stats.expired_keys, KEYS / 2);
    assert_int_equal(keyspace_keys(ks, 0) + keyspace_keys(ks, 1) + keyspace_keys(ks, 2), KEYS / 2);
    keyspace_free(&ks);
}

/* ---- whole databases ---- */

static void test_swap_flush_and_digest(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    static const int half[] = {0, 1, 2, 3};
    static const int rest[] = {4, 5, 6, 7};
    struct keyspace *a = keyspace_with(half, 4);
    struct keyspace *b = keyspace_with(rest, 4);
    struct digest none;
    keyspace_digest(ks, &none, 0);
    for (int i = 0; i < 500; i++) {
        put(ks, 0, i, OBJECT_NO_EXPIRE);
        put(a, 0, 499 - i, OBJECT_NO_EXPIRE); /* in another order */
        put(b, 0, 499 - i, OBJECT_NO_EXPIRE);
    }
    struct digest all;
    struct digest first;
    struct digest second;
    keyspace_digest(ks, &all, 0);
    keyspace_digest(a, &first, 0);
    keyspace_digest(b, &second, 0);
    digest_xor(&first, &second);
    assert_memory_equal(&all, &first, sizeof(all));
    assert_memory_not_equal(&all, &none, sizeof(all));
    char hex[41];
    digest_hex(&none, hex);
    assert_string_equal(hex, "0000000000000000000000000000000000000000");

    put(ks, 0, 1, 5000);
    keyspace_digest(ks, &second, 0);
    assert_memory_not_equal(&all, &second, sizeof(all)); /* that it expires counts */
    put(ks, 0, 1, OBJECT_NO_EXPIRE);
    keyspace_digest(ks, &second, 0);
    assert_memory_equal(&all, &second, sizeof(all));

    keyspace_swap(ks, 0, 3, KEYSPACE_SERVED, 0);
    assert_int_equal(keyspace_keys(ks, 0), 0);
    assert_int_equal(keyspace_keys(ks, 3), 500);
    keyspace_digest(ks, &second, 0);
    assert_memory_not_equal(&all, &second, sizeof(all));
    assert_int_equal(keyspace_flush(ks, 0, KEYSPACE_SERVED, false, 0), 0);
    assert_int_equal(keyspace_flush(ks, 3, KEYSPACE_SERVED, true, 0), 500);
    assert_int_equal(ks->stats.lazyfree_pending, 500);
    assert_int_equal(keyspace_memory(ks), 0);
    keyspace_free(&ks); /* with some still waiting */
    keyspace_free(&a);
    keyspace_free(&b);
}

static void count_key(void *arg, struct slice key)
{
    int *n = arg;
    assert_int_equal(slot_of(key), 100);
    ++*n;
}

static void test_keys_of_a_slot(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    struct db db = {.ks = ks};
    int in_slot = 0;
    for (int i = 0; in_slot < 5; i++) {
        char text[32];
        struct slice key = key_of(text, i);
        if (slot_of(key) == 100) {
            in_slot++;
        } else if (i > 2000) {
            continue;
        }
        struct probe p = keyspace_probe_key(ks, key);
        db_set_string(&db, &p, key, NULL, key, OBJECT_NO_EXPIRE);
    }
    assert_int_equal(keyspace_count_in_slot(ks, 100), 5);
    int n = 0;
    keyspace_keys_in_slot(ks, 100, 3, count_key, &n);
    assert_int_equal(n, 3);
    n = 0;
    keyspace_keys_in_slot(ks, 100, 100, count_key, &n);
    assert_int_equal(n, 5);
    keyspace_free(&ks);
}

static void test_random_keys_come_from_everywhere(void **state)
{
    (void)state;
    struct keyspace *ks = keyspace_with(all_shards, 8);
    struct rng rng;
    rng_init(&rng, 1);
    assert_null(keyspace_random(ks, 0, &rng));
    struct seen *s = calloc(1, sizeof(*s));
    for (int i = 0; i < 100; i++) {
        put(ks, 0, i, OBJECT_NO_EXPIRE);
    }
    for (int i = 0; i < 10000; i++) {
        see(s, keyspace_random(ks, 0, &rng));
    }
    for (int i = 0; i < 100; i++) {
        assert_true(s->times[i] > 20 && s->times[i] < 400);
    }
    free(s);
    keyspace_free(&ks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_held_shards_have_keys),
        cmocka_unit_test(test_a_large_value_goes_bit_by_bit),
        cmocka_unit_test(test_shards_divide_the_slots_as_the_map_does),
        cmocka_unit_test(test_scan_leaves_gaps_to_other_nodes),
        cmocka_unit_test(test_hostile_cursors_are_harmless),
        cmocka_unit_test(test_expired_keys_are_never_found),
        cmocka_unit_test(test_the_cycle_removes_what_is_over_within_its_budget),
        cmocka_unit_test(test_swap_flush_and_digest),
        cmocka_unit_test(test_keys_of_a_slot),
        cmocka_unit_test(test_random_keys_come_from_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
