// SPDX-License-Identifier: BSD-3-Clause
/* The encoding of values: known bytes from Redis 7.0.15, round trips, and hostile input. */
#include "node/types/rdb.h"

#include "node/types/string.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

static const struct slice key = {.ptr = "key", .len = 3};

static void encode(struct str *to, const char *value, size_t len, bool compress)
{
    struct object *o = string_new(key, OBJECT_NO_EXPIRE, slice_of(value, len));
    rdb_write_payload(to, o, compress);
    object_free(&o);
}

/* What DUMP of redis-server 7.0.15 answers. */
static void test_payloads_are_redis_payloads(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *bytes;
        size_t len;
    } known[] = {
        {"10", "\x00\xc0\x0a\x0a\x00\x6e\x9f\x57\x45\x0e\xae\x63\xbb", 13},
        {"hello", "\x00\x05hello\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a", 17},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct str s = {0};
        encode(&s, known[i].value, strlen(known[i].value), true);
        assert_int_equal(s.len, known[i].len);
        assert_memory_equal(s.ptr, known[i].bytes, s.len);
        struct slice in = str_slice(&s);
        assert_true(rdb_check_payload(&in));
        str_fini(&s);
    }
}

static void test_lengths_come_back(void **state)
{
    (void)state;
    static const uint64_t lens[] = {0,     1,     63,         64,         16383,
                                    16384, 65536, UINT32_MAX, 1ULL << 32, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        struct str s = {0};
        rdb_write_len(&s, lens[i]);
        struct slice in = str_slice(&s);
        uint64_t len;
        bool special;
        assert_true(rdb_read_len(&in, &len, &special));
        assert_int_equal(len, lens[i]);
        assert_false(special);
        assert_int_equal(in.len, 0);
        for (size_t cut = 0; cut < s.len; cut++) {
            in = slice_of(s.ptr, cut);
            assert_false(rdb_read_len(&in, &len, &special));
        }
        str_fini(&s);
    }
}

static size_t any_value(struct rng *rng, char *to, size_t max)
{
    size_t len = rng_below(rng, 3) == 0 ? rng_below(rng, max) : rng_below(rng, 100);
    unsigned kinds = (unsigned)rng_below(rng, 40) + 1;
    for (size_t i = 0; i < len; i++) {
        to[i] = (char)('a' + rng_below(rng, kinds));
    }
    if (rng_below(rng, 4) == 0) {
        len = num_print_i64(to, (int64_t)(rng_next(rng) >> rng_below(rng, 64)));
    }
    return len;
}

static void check_payload(struct slice in, struct slice value, struct str *scratch)
{
    unsigned type;
    char digits[NUM_I64_MAX_LEN];
    assert_true(rdb_check_payload(&in));
    assert_true(rdb_read_byte(&in, &type));
    struct object *o = rdb_read_value(&in, type, key, 77, scratch);
    assert_non_null(o);
    assert_int_equal(in.len, 0);
    assert_true(slice_eq(string_bytes(o, digits), value));
    assert_true(slice_eq(object_key(o), key));
    assert_int_equal(object_expire(o), 77);
    object_free(&o);
}

static void test_values_come_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    struct str scratch = {0};
    char *value = mem_alloc(20000);
    for (int i = 0; i < 3000; i++) {
        size_t len = any_value(&rng, value, 20000);
        struct str s = {0};
        encode(&s, value, len, i % 2 == 0);
        check_payload(str_slice(&s), slice_of(value, len), &scratch);
        str_fini(&s);
    }
    mem_free(value);
    str_fini(&scratch);
}

static void test_what_repeats_is_packed(void **state)
{
    (void)state;
    char value[1000];
    memset(value, 'x', sizeof(value));
    struct str s = {0};
    encode(&s, value, sizeof(value), true);
    assert_true(s.len < 100);
    str_fini(&s);
    encode(&s, value, sizeof(value), false);
    assert_true(s.len > 1000);
    str_fini(&s);
}

/* A payload with one bit flipped or its end cut is refused by its CRC; the value behind a wrong CRC
 * is read without harm. */
static void test_damage_is_refused(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 6);
    struct str scratch = {0};
    char value[3000];
    for (int i = 0; i < 3000; i++) {
        struct str s = {0};
        size_t len = any_value(&rng, value, sizeof(value));
        encode(&s, value, len, true);
        size_t cut = rng_below(&rng, s.len);
        struct slice in = slice_of(s.ptr, cut);
        assert_false(rdb_check_payload(&in));
        size_t at = rng_below(&rng, s.len);
        s.ptr[at] = (char)(s.ptr[at] ^ 1 << rng_below(&rng, 8));
        in = str_slice(&s);
        assert_false(rdb_check_payload(&in));
        in = str_slice(&s);
        unsigned type;
        assert_true(rdb_read_byte(&in, &type));
        struct object *o = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
        object_free(&o);
        str_fini(&s);
    }
    str_fini(&scratch);
}

static void test_claims_are_not_believed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x81\x7f\xff\xff\xff\xff\xff\xff\xff", 9},              /* long without bytes */
        {"\xc3\x01\x80\xff\xff\xff\xff\x00", 8},                  /* 1 byte that becomes 4 GiB */
        {"\xc3\x81\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00", 12}, /* packed beyond its end */
        {"\xc3\x02\x05\xff\xff", 5},                              /* a reference before the start */
        {"\xc4", 1},
        {"\x82", 1},
        {"\xc2\x01", 2},
        {"", 0},
    };
    struct str scratch = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice in = slice_of(bad[i].bytes, bad[i].len);
        assert_null(rdb_read_value(&in, 0, key, OBJECT_NO_EXPIRE, &scratch));
    }
    for (unsigned type = 1; type < 256; type++) {
        struct slice in = SLICE("\x01\x61");
        assert_null(rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch));
    }
    str_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payloads_are_redis_payloads),
        cmocka_unit_test(test_lengths_come_back),
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_what_repeats_is_packed),
        cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_claims_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
