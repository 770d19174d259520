// SPDX-License-Identifier: BSD-3-Clause
/* Walks, guards and copies of a shard that changes meanwhile. */
#include "node/keyspace/walk.h"

#include "node/keyspace/copy.h"
#include "node/keyspace/guard.h"
#include "node/types/string.h"

#include "common/base/mem.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHARDS = 4, DBS = 3, KEYS = 4000 };

static struct keyspace *keyspace_held(uint64_t seed)
{
    struct keyspace *ks = keyspace_new(SHARDS, DBS, seed);
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(ks, i);
    }
    return ks;
}

/* Key number i as it is: NULL removes. */
static void put(struct keyspace *ks, int index, int i, const char *value, int64_t at_ms)
{
    char text[32];
    struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "key:%d", i));
    struct probe p = keyspace_probe_key(ks, key);
    struct db db = {.ks = ks, .index = index, .applying = true};
    struct object *o = db_raw(&db, &p, key);
    if (value != NULL) {
        db_set_string(&db, &p, key, o, slice_str(value), at_ms);
    } else if (o != NULL) {
        db_remove(&db, &p, o, false);
    }
}

static void assert_same_shard(struct keyspace *a, struct keyspace *b, int shard)
{
    struct digest da;
    struct digest db;
    keyspace_digest_shard(a, shard, &da);
    keyspace_digest_shard(b, shard, &db);
    assert_memory_equal(&da, &db, sizeof(da));
    assert_int_equal(keyspace_shard_keys(a, shard), keyspace_shard_keys(b, shard));
}

/* A copy as of its begin: what changes ahead of the walk is written as it was, before. */
struct still {
    struct keyspace *ks;
    struct keyspace *copy;
    struct guard guard;
    struct walk_place at;
    int shard;
    unsigned char *written; /* by key number and database: no later form may be written */
    struct copied copied;
    uint64_t restarts;
};

static unsigned char *mark(const struct still *s, int db, struct slice key)
{
    return &s->written[db * KEYS + atoi(key.ptr + 4)];
}

static void before_change(void *arg, int db, const struct probe *p, struct slice key,
                          struct object *o)
{
    struct still *s = arg;
    char text[32] = {0};
    memcpy(text, key.ptr, key.len);
    unsigned char *m = mark(s, db, slice_of(text, key.len));
    assert_int_equal(p->shard, s->shard);
    if (walk_passed(&s->at, db, p->hash) || *m != 0) {
        return;
    }
    *m = 1;
    if (o != NULL) {
        copy_key(s->ks, s->shard, db, keyspace_hash(s->ks, object_key(o)), object_key(o),
                 &s->copied);
    }
}

static void before_flush(void *arg, int db)
{
    (void)db;
    ((struct still *)arg)->restarts++;
}

static void before_swap(void *arg, int a, int b)
{
    (void)a;
    (void)b;
    ((struct still *)arg)->restarts++;
}

static void before_drop(void *arg)
{
    ((struct still *)arg)->restarts++;
}

static size_t write_if_new(void *arg, int db, uint64_t hash, struct object *o)
{
    (void)hash;
    struct still *s = arg;
    char text[32] = {0};
    struct slice key = object_key(o);
    memcpy(text, key.ptr, key.len);
    unsigned char *m = mark(s, db, slice_of(text, key.len));
    if (*m == 0) {
        *m = 1;
        copy_key(s->ks, s->shard, db, keyspace_hash(s->ks, object_key(o)), object_key(o),
                 &s->copied);
    }
    return 30;
}

static void test_a_guarded_walk_is_the_state_of_its_begin(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 6; round++) {
        struct still s = {.ks = keyspace_held(1 + round), .copy = keyspace_held(99), .shard = 2};
        struct keyspace *expected = keyspace_held(7);
        s.written = mem_zalloc((size_t)DBS * KEYS);
        for (int i = 0; i < KEYS; i++) {
            int db = (int)rng_below(&rng, DBS);
            int64_t at = rng_below(&rng, 3) == 0 ? 1000 + i : OBJECT_NO_EXPIRE;
            char value[64];
            snprintf(value, sizeof(value), rng_below(&rng, 2) == 0 ? "%d" : "a longer value %d", i);
            put(s.ks, db, i, value, at);
            put(expected, db, i, value, at);
        }
        s.guard = (struct guard){.key = before_change,
                                 .flush = before_flush,
                                 .swap = before_swap,
                                 .dropped = before_drop,
                                 .arg = &s};
        guard_set(s.ks, &s.guard, s.shard);
        while (walk_step(s.ks, s.shard, &s.at, 600, write_if_new, &s)) {
            /* Growth and shrinking under way: many keys come and go. */
            for (int n = (int)rng_below(&rng, 60); n > 0; n--) {
                int i = (int)rng_below(&rng, KEYS);
                put(s.ks, (int)rng_below(&rng, DBS), i,
                    rng_below(&rng, 2) == (unsigned)round % 2 ? NULL : "changed", OBJECT_NO_EXPIRE);
            }
        }
        guard_clear(s.ks, &s.guard);
        uint64_t n;
        assert_true(copy_put(s.copy, s.shard, str_slice(&s.copied.bytes), 0, &n));
        assert_int_equal(n, keyspace_shard_keys(expected, s.shard));
        assert_same_shard(expected, s.copy, s.shard);
        mem_free(s.written);
        copied_fini(&s.copied);
        keyspace_free(&s.ks);
        keyspace_free(&s.copy);
        keyspace_free(&expected);
    }
}

static void test_guards_are_told_of_what_concerns_all(void **state)
{
    (void)state;
    struct still s = {.ks = keyspace_held(1), .shard = 1};
    s.guard = (struct guard){.key = before_change,
                             .flush = before_flush,
                             .swap = before_swap,
                             .dropped = before_drop,
                             .arg = &s};
    guard_set(s.ks, &s.guard, s.shard);
    keyspace_flush(s.ks, 1, KEYSPACE_SERVED, false, 0);
    assert_int_equal(s.restarts, 1);
    keyspace_flush(s.ks, -1, 0, false, 0);
    assert_int_equal(s.restarts, 1);
    keyspace_swap(s.ks, 1, 2, 1, 0);
    assert_int_equal(s.restarts, 2);
    keyspace_shard_drop(s.ks, 1);
    assert_int_equal(s.restarts, 3);
    assert_int_equal(s.guard.shard, -1);
    guard_clear(s.ks, &s.guard);
    keyspace_free(&s.ks);
}

static void test_copies_replace_and_refuse_damage(void **state)
{
    (void)state;
    struct keyspace *a = keyspace_held(1);
    struct keyspace *b = keyspace_held(2);
    for (int i = 0; i < 200; i++) {
        put(a, i % DBS, i, "some value", i % 2 == 0 ? OBJECT_NO_EXPIRE : 5);
        put(b, i % DBS, i, "another one", OBJECT_NO_EXPIRE);
    }
    struct copied copied = {0};
    struct walk_place at = {0};
    uint64_t n;
    while (copy_scan(a, 3, &at, 1000, &copied)) {
    }
    struct slice bytes = str_slice(&copied.bytes);
    assert_true(copy_put(b, 3, bytes, 0, &n));
    assert_int_equal(n, keyspace_shard_keys(a, 3));
    assert_same_shard(a, b, 3);
    assert_false(copy_put(b, 2, bytes, 0, &n)); /* of another shard */
    for (size_t cut = 1; cut < 60; cut++) {
        struct keyspace *c = keyspace_held(3);
        if (copy_put(c, 3, slice_of(bytes.ptr, cut), 0, &n)) {
            assert_true(n > 0); /* between two keys */
        }
        keyspace_free(&c);
    }
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 3000; i++) { /* anything but a crash */
        char *copy = mem_memdup(bytes.ptr, bytes.len);
        copy[rng_below(&rng, bytes.len)] ^= (char)(1 << rng_below(&rng, 8));
        struct keyspace *c = keyspace_held(3);
        bool right = copy_put(c, 3, slice_of(copy, bytes.len), 0, &n);
        assert_true(right || n < keyspace_shard_keys(a, 3));
        keyspace_free(&c);
        mem_free(copy);
    }
    copied_fini(&copied);
    keyspace_free(&a);
    keyspace_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_guarded_walk_is_the_state_of_its_begin),
        cmocka_unit_test(test_guards_are_told_of_what_concerns_all),
        cmocka_unit_test(test_copies_replace_and_refuse_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
