// SPDX-License-Identifier: BSD-3-Clause
/* String objects against a model: plain bytes that are changed the same way. */
#include "node/types/string.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include "tests/unit/unit.h"

enum { LONGEST = 12000 };

struct model {
    struct object *o;
    struct str bytes;
    int64_t expire_ms;
    struct rng rng;
};

static const struct slice key = {.ptr = "a:key", .len = 5};

static void check(const struct model *m)
{
    char digits[NUM_I64_MAX_LEN];
    assert_true(slice_eq(string_bytes(m->o, digits), str_slice(&m->bytes)));
    assert_true(slice_eq(object_key(m->o), key));
    assert_int_equal(object_expire(m->o), m->expire_ms);
    assert_int_equal(string_len(m->o), m->bytes.len);
    int64_t ours = 0;
    int64_t theirs = 0;
    bool is_int = num_parse_i64(str_slice(&m->bytes), &theirs);
    assert_int_equal(string_get_int(m->o, &ours), is_int);
    assert_int_equal(ours, theirs);
}

static struct slice any_value(struct model *m, char *to)
{
    static const size_t edges[] = {0, 1, 43, 44, 45, 255, 256, 257, 2046, 2047, 2048, 4096};
    if (rng_below(&m->rng, 3) == 0) {
        return slice_of(to,
                        num_print_i64(to, (int64_t)(rng_next(&m->rng) >> rng_below(&m->rng, 64))));
    }
    size_t len = rng_below(&m->rng, 2) == 0 ? edges[rng_below(&m->rng, ARRAY_LEN(edges))]
                                            : rng_below(&m->rng, 100);
    memset(to, (int)('a' + rng_below(&m->rng, 26)), len);
    return slice_of(to, len);
}

static void set(struct model *m, struct slice value)
{
    m->expire_ms = rng_below(&m->rng, 2) == 0 ? 5000 : OBJECT_NO_EXPIRE;
    size_t memory = object_memory(m->o);
    if (string_overwrite(m->o, m->expire_ms, value)) {
        assert_int_equal(object_memory(m->o), memory);
    } else {
        object_free(&m->o);
        m->o = string_new(key, m->expire_ms, value);
    }
    str_clear(&m->bytes);
    str_append_slice(&m->bytes, value);
    assert_string_not_equal(object_encoding_name(m->o), value.len > 44 ? "embstr" : "");
}

static void resize(struct model *m)
{
    size_t len = rng_below(&m->rng, 4) == 0 ? rng_below(&m->rng, LONGEST)
                                            : m->bytes.len + rng_below(&m->rng, 30);
    len = MIN(len, (size_t)LONGEST);
    char *bytes;
    m->o = string_resize(m->o, len, &bytes);
    assert_string_equal(object_encoding_name(m->o), "raw");
    if (len > m->bytes.len) {
        char *to = str_reserve(&m->bytes, len - m->bytes.len);
        memset(to, 0, len - m->bytes.len);
    }
    m->bytes.len = len;
    if (len > 0) {
        size_t at = rng_below(&m->rng, len);
        bytes[at] = 'W';
        m->bytes.ptr[at] = 'W';
    }
}

static void step(struct model *m, char *scratch)
{
    switch (rng_below(&m->rng, 5)) {
    case 0:
    case 1:
        set(m, any_value(m, scratch));
        break;
    case 2:
        resize(m);
        break;
    case 3:
        m->o = object_rekey(m->o, key, m->expire_ms);
        break;
    default: {
        struct object *copy = object_copy(m->o, key, m->expire_ms);
        assert_string_equal(object_encoding_name(copy), object_encoding_name(m->o));
        object_free(&m->o);
        m->o = copy;
        break;
    }
    }
}

static void test_random_changes_follow_the_model(void **state)
{
    (void)state;
    struct model m = {.expire_ms = OBJECT_NO_EXPIRE};
    char *scratch = mem_alloc(LONGEST);
    rng_init(&m.rng, 11);
    str_reserve(&m.bytes, LONGEST + 1);
    m.o = string_new(key, OBJECT_NO_EXPIRE, SLICE(""));
    size_t rest = mem_used() - object_memory(m.o);
    for (int i = 0; i < 50000; i++) {
        step(&m, scratch);
        check(&m);
#ifndef SHOAL_LIBC_MALLOC
        assert_int_equal(mem_used() - rest, object_memory(m.o));
#endif
    }
    (void)rest;
    object_free(&m.o);
    str_fini(&m.bytes);
    mem_free(scratch);
}

static void test_a_shared_chunk_is_never_written(void **state)
{
    (void)state;
    char *big = mem_alloc(5000);
    memset(big, 'x', 5000);
    struct slice value = slice_of(big, 5000);
    struct object *o = string_new(key, OBJECT_NO_EXPIRE, value);
    struct chunk *reply = chunk_ref(string_chunk(o));
    assert_false(string_overwrite(o, OBJECT_NO_EXPIRE, slice_of(big, 4999)));
    char *bytes;
    o = string_resize(o, 5001, &bytes);
    assert_ptr_not_equal(string_chunk(o), reply);
    bytes[0] = 'y';
    assert_int_equal(reply->data[0], 'x');
    assert_int_equal(reply->len, 5000);
    chunk_unref(&reply);
    assert_true(string_chunk(o)->cap >= 10000); /* what grows gets room to grow */
    object_free(&o);
    mem_free(big);
}

static void test_digests_tell_values_apart(void **state)
{
    (void)state;
    struct object *objects[] = {
        string_new(key, OBJECT_NO_EXPIRE, SLICE("1")),
        string_new(key, OBJECT_NO_EXPIRE, SLICE("2")),
        string_new(key, 1000, SLICE("1")),
        string_new(SLICE("b"), OBJECT_NO_EXPIRE, SLICE("1")),
    };
    struct object *same = string_new_bytes(key, OBJECT_NO_EXPIRE, SLICE("1"), true);
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        struct digest one;
        struct digest two;
        object_digest(objects[i], &one);
        object_digest(same, &two); /* another encoding of the first */
        assert_int_equal(memcmp(&one, &two, sizeof(one)) == 0, i == 0);
        object_digest_value(objects[i], &one);
        object_digest_value(same, &two);
        assert_int_equal(memcmp(&one, &two, sizeof(one)) == 0, i == 0 || i == 3);
    }
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        object_free(&objects[i]);
    }
    object_free(&same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_follow_the_model),
        cmocka_unit_test(test_a_shared_chunk_is_never_written),
        cmocka_unit_test(test_digests_tell_values_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
