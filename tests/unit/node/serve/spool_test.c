// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/spool.h"

#include "common/base/rng.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

static void drain(struct outbuf *o, struct str *to)
{
    while (o->bytes > 0) {
        struct iovec iov[8];
        int n = outbuf_iovec(o, iov, 8);
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            str_append(to, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        outbuf_consume(o, taken);
    }
}

static void check_from(struct spool *s, uint64_t begin, const struct str *all, uint64_t from)
{
    struct outbuf out = {0};
    struct str got = {0};
    spool_copy(s, from, &out);
    drain(&out, &got);
    assert_int_equal(got.len, s->end - from);
    if (got.len > 0) {
        assert_memory_equal(got.ptr, all->ptr + (from - begin), got.len);
    }
    str_fini(&got);
    outbuf_fini(&out);
}

static void test_bytes_are_found_at_their_places(void **state)
{
    (void)state;
    struct spool s;
    struct rng rng;
    struct str all = {0};
    char block[50000];
    const uint64_t begin = 1000;
    rng_init(&rng, 3);
    spool_init(&s, begin);
    check_from(&s, begin, &all, begin);
    for (int i = 0; i < 400; i++) {
        size_t n = rng_below(&rng, 20) == 0 ? rng_below(&rng, sizeof(block)) : rng_below(&rng, 90);
        for (size_t j = 0; j < n; j++) {
            block[j] = (char)rng_next(&rng);
        }
        str_append(&all, block, n);
        spool_append(&s, slice_of(block, n));
        assert_int_equal(s.end, begin + all.len);
        check_from(&s, begin, &all, s.first);
        check_from(&s, begin, &all, s.end);
        check_from(&s, begin, &all, s.first + rng_below(&rng, s.end - s.first + 1));
        if (rng_below(&rng, 10) == 0) {
            uint64_t keep = s.end - MIN(s.end - begin, rng_below(&rng, 60000));
            uint64_t first = s.first;
            spool_trim(&s, keep);
            assert_true(s.first >= first);
            assert_true(s.first <= MAX(keep, first));
        }
    }
    spool_trim(&s, s.end);
    assert_int_equal(s.first, s.end);
    assert_int_equal(s.memory, 0);
    spool_append(&s, SLICE("x"));
    str_append_char(&all, 'x');
    check_from(&s, begin, &all, s.first);
    spool_fini(&s);
    str_fini(&all);
}

static void test_what_was_given_stays_while_it_is_needed(void **state)
{
    (void)state;
    struct spool s;
    struct outbuf out = {0};
    struct str got = {0};
    char block[8192];
    memset(block, 'a', sizeof(block));
    spool_init(&s, 0);
    spool_append(&s, slice_of(block, sizeof(block)));
    spool_copy(&s, 0, &out);
    spool_append(&s, SLICE("behind"));
    spool_trim(&s, s.end);
    spool_fini(&s);
    drain(&out, &got);
    assert_int_equal(got.len, sizeof(block));
    assert_memory_equal(got.ptr, block, sizeof(block));
    str_fini(&got);
    outbuf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_found_at_their_places),
        cmocka_unit_test(test_what_was_given_stays_while_it_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
