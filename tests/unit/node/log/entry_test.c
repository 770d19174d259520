// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/entry.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct str effects_made(void)
{
    struct str s = {0};
    struct slice set[] = {SLICE("SET"), SLICE("key"), SLICE("value")};
    struct slice del[] = {SLICE("DEL"), SLICE("")};
    effects_add(&s, 3, set, ARRAY_LEN(set));
    effects_begin(&s, 0, 2);
    effects_arg(&s, del[0]);
    effects_arg(&s, del[1]);
    return s;
}

static struct str encoded(struct slice effects)
{
    struct entry e = {.shard = 77,
                      .flags = ENTRY_REPLY_GONE,
                      .term = 5,
                      .version = 12345,
                      .time_ms = -9,
                      .lane = UINT64_MAX,
                      .number = 42,
                      .n_effects = 2,
                      .reply = SLICE("+OK\r\n"),
                      .effects = effects};
    struct str s = {0};
    entry_write(str_reserve(&s, entry_size(&e)), &e);
    s.len = entry_size(&e);
    return s;
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct str effects = effects_made();
    struct str s = encoded(str_slice(&effects));
    struct entry e;
    assert_int_equal(entry_read(str_slice(&s), &e), s.len);
    assert_int_equal(e.shard, 77);
    assert_int_equal(e.flags, ENTRY_REPLY_GONE);
    assert_int_equal(e.term, 5);
    assert_int_equal(e.version, 12345);
    assert_int_equal(e.time_ms, -9);
    assert_true(e.lane == UINT64_MAX);
    assert_int_equal(e.number, 42);
    assert_true(slice_eq(e.reply, SLICE("+OK\r\n")));
    assert_true(slice_eq(e.bytes, str_slice(&s)));
    struct effects it = effects_of(&e);
    struct effect f;
    struct slice argv[3];
    assert_true(effects_next(&it, &f));
    assert_int_equal(f.db, 3);
    assert_int_equal(f.argc, 3);
    effect_args(&f, argv);
    assert_true(slice_eq(argv[0], SLICE("SET")));
    assert_true(slice_eq(argv[2], SLICE("value")));
    assert_true(effects_next(&it, &f));
    assert_int_equal(f.db, 0);
    effect_args(&f, argv);
    assert_true(slice_eq(argv[0], SLICE("DEL")));
    assert_int_equal(argv[1].len, 0);
    assert_false(effects_next(&it, &f));
    str_fini(&effects);
    str_fini(&s);
}

static void test_less_than_an_entry_waits_for_more(void **state)
{
    (void)state;
    struct str effects = effects_made();
    struct str s = encoded(str_slice(&effects));
    for (size_t n = 0; n < s.len; n++) {
        struct entry e;
        char *copy = mem_memdup(s.ptr, n + 1);
        assert_int_equal(entry_read(slice_of(copy, n), &e), 0);
        mem_free(copy);
    }
    str_fini(&effects);
    str_fini(&s);
}

/* Whatever bytes come, reading stays within them and says the same to each reader. */
static void test_damage_is_refused_or_harmless(void **state)
{
    (void)state;
    struct str effects = effects_made();
    struct str s = encoded(str_slice(&effects));
    struct rng rng;
    rng_init(&rng, 7);
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        char *copy = mem_memdup(s.ptr, s.len);
        for (uint64_t n = rng_below(&rng, 3) + 1; n > 0; n--) {
            copy[rng_below(&rng, s.len)] = (char)rng_next(&rng);
        }
        struct entry e;
        int64_t got = entry_read(slice_of(copy, s.len), &e);
        assert_true(got <= (int64_t)s.len);
        refused += got <= 0;
        if (got > 0) {
            struct effects it = effects_of(&e);
            struct effect f;
            uint32_t n = 0;
            while (effects_next(&it, &f)) {
                n++;
            }
            assert_int_equal(n, e.n_effects);
        }
        mem_free(copy);
    }
    assert_true(refused > 5000);
    str_fini(&effects);
    str_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_less_than_an_entry_waits_for_more),
        cmocka_unit_test(test_damage_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
