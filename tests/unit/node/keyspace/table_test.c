// SPDX-License-Identifier: BSD-3-Clause
/* The table against a model: an array that says for each of N keys whether it is there. */
#include "node/keyspace/table.h"

#include "node/types/string.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 40000, SEED = 99 };

struct model {
    struct table *t;
    table_hash_fn *hash;
    struct object *there[KEYS]; /* the table's; NULL: not in it */
    uint64_t count;
    struct rng rng;
};

static uint64_t good_hash(struct slice key, uint64_t seed)
{
    return hash_bytes(key.ptr, key.len, seed);
}

/* Only 64 different values, by the key's last digits. */
static uint64_t colliding_hash(struct slice key, uint64_t seed)
{
    (void)seed;
    return (uint64_t)(key.ptr[key.len - 1] % 8 * 8 + key.ptr[key.len - 2] % 8) *
           0x9E3779B97F4A7C15ULL;
}

/* All keys share their first 40 bits. */
static uint64_t prefixed_hash(struct slice key, uint64_t seed)
{
    return 0xabcdef0123000000ULL | (hash_bytes(key.ptr, key.len, seed) & 0xffffff);
}

/* Few differences in the bits that choose segments and buckets, none in the tags. */
static uint64_t striped_hash(struct slice key, uint64_t seed)
{
    return hash_bytes(key.ptr, key.len, seed) & 0xf0f0f0f0f0f0f000ULL;
}

static table_hash_fn *const hashes[] = {good_hash, colliding_hash, prefixed_hash, striped_hash};

static struct slice key_text(char *to, size_t i)
{
    int n = snprintf(to, 32, "key:%zu", i);
    return slice_of(to, (size_t)n);
}

static struct model *model_new(table_hash_fn *hash, uint64_t seed)
{
    struct model *m = calloc(1, sizeof(*m));
    m->hash = hash;
    m->t = table_new(hash, seed);
    rng_init(&m->rng, seed);
    return m;
}

static uint64_t hash_of(const struct model *m, struct slice key, uint64_t seed)
{
    return m->hash(key, seed);
}

static void model_free(struct model **m)
{
    table_free(&(*m)->t);
    free(*m);
    *m = NULL;
}

static void add(struct model *m, size_t i)
{
    char text[32];
    struct slice key = key_text(text, i);
    int64_t expire =
        rng_below(&m->rng, 4) == 0 ? (int64_t)rng_below(&m->rng, 1000) : OBJECT_NO_EXPIRE;
    struct object *o = string_new(
        key, expire, slice_of("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", rng_below(&m->rng, 40)));
    table_add(m->t, hash_of(m, key, SEED), o);
    m->there[i] = o;
    m->count++;
}

static void take(struct model *m, size_t i)
{
    char text[32];
    struct slice key = key_text(text, i);
    table_take(m->t, hash_of(m, key, SEED), m->there[i]);
    object_free(&m->there[i]);
    m->count--;
}

static void change(struct model *m, size_t i)
{
    struct object *o = m->there[i];
    struct table_entry was = table_entry_of(o);
    struct slice key = object_key(o);
    uint64_t hash = hash_of(m, key, SEED);
    int64_t expire =
        rng_below(&m->rng, 2) == 0 ? (int64_t)rng_below(&m->rng, 1000) : OBJECT_NO_EXPIRE;
    if (o->expire_room && rng_below(&m->rng, 2) == 0) {
        object_set_expire(o, expire);
    } else {
        o = object_rekey(o, key, expire);
    }
    table_changed(m->t, hash, was, o);
    m->there[i] = o;
}

static void check_all(const struct model *m)
{
    table_check(m->t);
    assert_int_equal(table_count(m->t), m->count);
    for (size_t i = 0; i < KEYS; i++) {
        char text[32];
        struct slice key = key_text(text, i);
        assert_ptr_equal(table_find(m->t, hash_of(m, key, SEED), key), m->there[i]);
    }
}

/* Random steps that first grow the table to `most` keys, then shrink it to nothing. */
static void random_life(table_hash_fn *hash, size_t most)
{
    struct model *m = model_new(hash, SEED);
    size_t steps = most * 3;
    for (size_t step = 0; step < steps; step++) {
        bool growing = step < steps / 2;
        size_t i = rng_below(&m->rng, most);
        uint64_t dice = rng_below(&m->rng, 10);
        if (m->there[i] == NULL) {
            if (growing || dice < 2) {
                add(m, i);
            }
        } else if (dice < (growing ? 2U : 8U)) {
            take(m, i);
        } else if (dice == 9) {
            change(m, i);
        }
        if (step % (steps / 8) == 0) {
            check_all(m);
        }
    }
    for (size_t i = 0; i < most; i++) {
        if (m->there[i] != NULL) {
            take(m, i);
        }
    }
    check_all(m);
    model_free(&m);
}

static void test_random_life_follows_the_model(void **state)
{
    (void)state;
    random_life(good_hash, KEYS);
    random_life(good_hash, 300);
    random_life(prefixed_hash, KEYS / 2);
    random_life(striped_hash, 8000);
    random_life(colliding_hash, 3000);
}

static void test_grows_to_its_fill_and_gives_back_all(void **state)
{
    (void)state;
    size_t before = mem_used();
    struct model *m = model_new(good_hash, SEED);
    double fill_sum = 0;
    size_t samples = 0;
    for (size_t i = 0; i < KEYS; i++) {
        add(m, i);
        if (i > 5000 && i % 500 == 0) {
            struct table_shape shape;
            table_shape(m->t, &shape);
            fill_sum += (double)(i + 1) / (double)shape.places;
            samples++;
            assert_int_equal(shape.chained, 0);
            assert_true(shape.displaced < (i + 1) / 4);
        }
    }
    assert_true(fill_sum / (double)samples > 0.78);
    table_check(m->t);
    for (size_t i = 0; i < KEYS; i++) {
        take(m, i);
    }
    struct table_shape shape;
    table_shape(m->t, &shape);
    assert_true(shape.places <= 64); /* shrunk again */
    assert_int_equal(shape.directory_bits, 0);
    model_free(&m);
#ifndef SHOAL_LIBC_MALLOC
    assert_int_equal(mem_used(), before);
#else
    (void)before;
#endif
}

static void test_memory_is_what_the_allocator_gave(void **state)
{
    (void)state;
    for (size_t size = 1; size < 300000; size += 1 + size / 50) {
        void *p = mem_alloc(size);
#ifndef SHOAL_LIBC_MALLOC
        assert_int_equal(mem_size(p), object_size_class(size));
#else
        assert_true(object_size_class(size) >= size);
#endif
        mem_free(p);
    }
    size_t before = mem_used();
    struct model *m = model_new(good_hash, SEED);
    size_t model_size = mem_used() - before - table_memory(m->t);
    for (size_t step = 0; step < 30000; step++) {
        size_t i = rng_below(&m->rng, 5000);
        if (m->there[i] == NULL) {
            add(m, i);
        } else if (rng_below(&m->rng, 3) == 0) {
            change(m, i);
        } else {
            take(m, i);
        }
    }
#ifndef SHOAL_LIBC_MALLOC
    assert_int_equal(mem_used() - before - model_size, table_memory(m->t));
#else
    (void)model_size;
#endif
    table_check(m->t);
    model_free(&m);
}

/* ---- scans ---- */

struct seen {
    uint32_t times[KEYS];
};

static void see(void *arg, struct object *o)
{
    struct seen *s = arg;
    struct slice key = object_key(o);
    char digits[16] = {0};
    memcpy(digits, key.ptr + 4, key.len - 4);
    s->times[strtoul(digits, NULL, 10)]++;
}

/* Keys 0..stable-1 stay from the first to the last step of each scan; the others come and go in
 * waves, so that segments split and merge under the cursor. */
static void scan_among_changes(table_hash_fn *hash, size_t stable, size_t most)
{
    struct model *m = model_new(hash, SEED);
    struct seen *s = calloc(1, sizeof(*s));
    for (size_t i = 0; i < stable; i++) {
        add(m, i);
    }
    for (int wave = 0; wave < 6; wave++) {
        memset(s, 0, sizeof(*s));
        size_t next = wave % 2 == 0 ? stable : most - 1;
        uint64_t cursor = 0;
        while (cursor < TABLE_SCAN_END) {
            cursor = table_scan(m->t, cursor, see, s);
            for (int i = 0; i < 40; i++) {
                if (wave % 2 == 0 && next < most) {
                    if (m->there[next] == NULL) {
                        add(m, next);
                    }
                    next++;
                } else if (wave % 2 == 1 && next >= stable) {
                    if (m->there[next] != NULL) {
                        take(m, next);
                    }
                    next--;
                }
            }
        }
        for (size_t i = 0; i < stable; i++) {
            assert_true(s->times[i] >= 1);
        }
        table_check(m->t);
    }
    free(s);
    model_free(&m);
}

static void test_scan_misses_nothing_while_the_table_changes(void **state)
{
    (void)state;
    scan_among_changes(good_hash, 10, KEYS);
    scan_among_changes(good_hash, 2000, KEYS);
    scan_among_changes(good_hash, 10000, 12000);
    scan_among_changes(prefixed_hash, 500, 10000);
    scan_among_changes(striped_hash, 500, 4000);
    scan_among_changes(colliding_hash, 200, 2500);
}

static void test_scan_of_a_still_table_sees_each_key_once(void **state)
{
    (void)state;
    for (size_t h = 0; h < sizeof(hashes) / sizeof(*hashes); h++) {
        struct model *m = model_new(hashes[h], SEED);
        struct seen *s = calloc(1, sizeof(*s));
        for (size_t i = 0; i < 3000; i++) {
            add(m, i);
        }
        for (uint64_t cursor = 0; cursor < TABLE_SCAN_END;) {
            uint64_t next = table_scan(m->t, cursor, see, s);
            assert_true(next > cursor);
            cursor = next;
        }
        for (size_t i = 0; i < 3000; i++) {
            assert_int_equal(s->times[i], 1);
        }
        free(s);
        model_free(&m);
    }
}

static void ignore(void *arg, struct object *o)
{
    (void)arg;
    (void)o;
}

static void test_any_cursor_is_harmless(void **state)
{
    (void)state;
    struct model *m = model_new(good_hash, SEED);
    for (size_t i = 0; i < 20000; i++) {
        add(m, i);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t cursor = rng_next(&m->rng) >> 16;
        assert_true(table_scan(m->t, cursor, ignore, NULL) > cursor);
    }
    assert_int_equal(table_scan(m->t, TABLE_SCAN_END - 1, ignore, NULL), TABLE_SCAN_END);
    model_free(&m);
}

/* ---- expiry ---- */

struct expired {
    struct object *objects[KEYS];
    size_t n;
};

static void gather(void *arg, struct object *o)
{
    struct expired *e = arg;
    e->objects[e->n++] = o;
}

static void test_expiry_scan_finds_exactly_what_is_over(void **state)
{
    (void)state;
    struct model *m = model_new(good_hash, SEED);
    struct expired *e = calloc(1, sizeof(*e));
    for (size_t i = 0; i < 20000; i++) {
        add(m, i);
    }
    for (int64_t now = 0; now <= 1001; now += 77) {
        uint64_t looked = 0;
        for (uint64_t cursor = 0; cursor < TABLE_SCAN_END;) {
            e->n = 0;
            cursor = table_scan_expired(m->t, cursor, now, &looked, gather, e);
            for (size_t i = 0; i < e->n; i++) {
                struct object *o = e->objects[i];
                char digits[16] = {0};
                memcpy(digits, object_key(o).ptr + 4, object_key(o).len - 4);
                assert_true(object_expire(o) < now);
                take(m, strtoul(digits, NULL, 10));
            }
        }
        for (size_t i = 0; i < 20000; i++) {
            int64_t at = m->there[i] == NULL ? OBJECT_NO_EXPIRE : object_expire(m->there[i]);
            assert_true(at == OBJECT_NO_EXPIRE || at >= now);
        }
        assert_true(table_expire_min(m->t) >= now);
        table_check(m->t);
    }
    uint64_t looked = 0;
    assert_int_equal(table_expires(m->t) > 0 ? 1 : 0, 0);
    for (uint64_t cursor = 0; cursor < TABLE_SCAN_END;) {
        cursor = table_scan_expired(m->t, cursor, 5000, &looked, gather, e);
    }
    assert_true(looked < 300); /* segments passed over, not keys */
    free(e);
    model_free(&m);
}

static void test_random_reaches_every_key(void **state)
{
    (void)state;
    struct model *m = model_new(good_hash, SEED);
    struct seen *s = calloc(1, sizeof(*s));
    for (size_t i = 0; i < 1000; i++) {
        add(m, i);
    }
    for (int i = 0; i < 100000; i++) {
        struct object *o = table_random(m->t, rng_next(&m->rng), rng_next(&m->rng));
        if (o != NULL) {
            see(s, o);
        }
    }
    for (size_t i = 0; i < 1000; i++) {
        assert_true(s->times[i] > 5 && s->times[i] < 400);
    }
    free(s);
    model_free(&m);
}

static void test_freeing_in_steps_frees_all(void **state)
{
    (void)state;
    size_t before = mem_used();
    struct model *m = model_new(good_hash, SEED);
    for (size_t i = 0; i < 20000; i++) {
        add(m, i);
    }
    uint64_t freed = 0;
    int steps = 0;
    while (!table_free_step(&m->t, 1000, &freed, NULL, NULL)) {
        steps++;
        assert_true(freed <= (uint64_t)steps * 2000);
    }
    assert_int_equal(freed, 20000);
    assert_true(steps > 5);
    assert_null(m->t);
    free(m);
#ifndef SHOAL_LIBC_MALLOC
    assert_true(mem_used() <= before);
#else
    (void)before;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_life_follows_the_model),
        cmocka_unit_test(test_grows_to_its_fill_and_gives_back_all),
        cmocka_unit_test(test_memory_is_what_the_allocator_gave),
        cmocka_unit_test(test_scan_misses_nothing_while_the_table_changes),
        cmocka_unit_test(test_scan_of_a_still_table_sees_each_key_once),
        cmocka_unit_test(test_any_cursor_is_harmless),
        cmocka_unit_test(test_expiry_scan_finds_exactly_what_is_over),
        cmocka_unit_test(test_random_reaches_every_key),
        cmocka_unit_test(test_freeing_in_steps_frees_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
