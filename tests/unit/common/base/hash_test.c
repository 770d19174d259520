// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/hash.h"

#include "common/base/crc.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_crc_check_values(void **state)
{
    (void)state;
    assert_int_equal(crc16("123456789", 9), 0x31C3);
    assert_int_equal(crc16("", 0), 0);
    assert_int_equal(crc16("foo", 3) % 16384, 12182); /* CLUSTER KEYSLOT foo */
    assert_true(crc64(0, "123456789", 9) == 0xE9C6D914C4B8D9CAULL);
    assert_true(crc64(7, "", 0) == 7);
}

/* Bit by bit, as the polynomials say. */
static uint16_t slow_crc16(const unsigned char *p, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)p[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = ((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1) & 0xFFFF;
        }
    }
    return (uint16_t)crc;
}

static uint64_t slow_crc64(uint64_t crc, const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x95AC9329AC4BC9B5ULL : crc >> 1;
        }
    }
    return crc;
}

static void test_crc_of_every_length_and_alignment(void **state)
{
    (void)state;
    unsigned char bytes[200];
    struct rng rng;
    rng_init(&rng, 5);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)rng_next(&rng);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            assert_int_equal(crc16(bytes + from, len), slow_crc16(bytes + from, len));
            assert_true(crc64(len, bytes + from, len) == slow_crc64(len, bytes + from, len));
            uint64_t halves =
                crc64(crc64(0, bytes + from, len / 2), bytes + from + len / 2, len - len / 2);
            assert_true(halves == crc64(0, bytes + from, len));
        }
    }
}

static void test_seed_changes_the_hash(void **state)
{
    (void)state;
    assert_true(hash_bytes("key", 3, 1) == hash_bytes("key", 3, 1));
    assert_true(hash_bytes("key", 3, 1) != hash_bytes("key", 3, 2));
    assert_true(hash_bytes("key", 3, 1) != hash_bytes("kez", 3, 1));
}

static void test_names_hash_without_case(void **state)
{
    (void)state;
    static const char lower[] = "zrevrangebyscore|and-a-name-that-is-longer-than-any-command-has";
    char upper[sizeof lower];
    for (size_t i = 0; i < sizeof lower; i++) {
        char c = lower[i];
        upper[i] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
    }
    for (size_t len = 0; len < sizeof lower; len++) {
        assert_true(hash_name(lower, len) == hash_name(upper, len));
        for (size_t other = 0; other < len; other++) {
            assert_true(hash_name(lower, len) != hash_name(lower, other));
        }
    }
    assert_true(hash_name("get", 3) != hash_name("set", 3));
}

/* Tables index by the low bits: they must depend on every byte. */
static void test_low_bits_of_names_spread(void **state)
{
    (void)state;
    int buckets[64] = {0};
    for (int i = 0; i < 640; i++) {
        char name[8] = {
            'c', 'm', 'd', (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676)};
        buckets[hash_name(name, 6) & 63]++;
    }
    for (int i = 0; i < 64; i++) {
        assert_in_range(buckets[i], 1, 30);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_check_values),
        cmocka_unit_test(test_crc_of_every_length_and_alignment),
        cmocka_unit_test(test_seed_changes_the_hash),
        cmocka_unit_test(test_names_hash_without_case),
        cmocka_unit_test(test_low_bits_of_names_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
