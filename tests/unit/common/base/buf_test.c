// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/buf.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void fill(struct rng *rng, char *to, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to[i] = (char)rng_next(rng);
    }
}

static size_t random_size(struct rng *rng)
{
    static const size_t up_to[] = {8, 100, 3000, 20000, 100000};
    return (size_t)rng_below(rng, up_to[rng_below(rng, ARRAY_LEN(up_to))]);
}

/* ---- inbuf ---- */

static void inbuf_add(struct inbuf *b, const char *ptr, size_t len)
{
    size_t room;
    char *to = inbuf_reserve(b, len, &room);
    assert_true(room >= len);
    memcpy(to, ptr, len);
    inbuf_filled(b, len);
}

static void assert_unread(const struct inbuf *b, struct slice want)
{
    struct slice unread = inbuf_unread(b);
    assert_int_equal(unread.len, want.len);
    assert_true(slice_eq(unread, want));
}

static void test_inbuf_is_a_queue(void **state)
{
    (void)state;
    struct rng rng;
    struct inbuf b = {0};
    struct str model = {0};
    size_t head = 0;
    rng_init(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        if (rng_below(&rng, 2) == 0) {
            size_t n = random_size(&rng);
            fill(&rng, str_reserve(&model, n), n);
            inbuf_add(&b, model.ptr + model.len, n);
            model.len += n;
        } else if (rng_below(&rng, 20) == 0) {
            inbuf_trim(&b);
            assert_int_equal(b.chunk == NULL, model.len == head);
        } else {
            size_t n = MIN(random_size(&rng) * 2, model.len - head);
            n = MIN(n, model.len - head);
            inbuf_consume(&b, n);
            head += n;
        }
        assert_unread(&b, slice_of(str_cstr(&model) + head, model.len - head));
        if (head == model.len) {
            str_clear(&model);
            head = 0;
        }
    }
    inbuf_fini(&b);
    str_fini(&model);
}

static void test_shared_bytes_stay(void **state)
{
    (void)state;
    struct inbuf b = {0};
    inbuf_add(&b, "first", 5);
    struct slice first = inbuf_unread(&b);
    struct chunk *shared = inbuf_share(&b);
    inbuf_consume(&b, 5);
    for (int i = 0; i < 1000; i++) {
        inbuf_add(&b, "another message", 15);
        inbuf_consume(&b, 15);
    }
    assert_memory_equal(first.ptr, "first", 5);
    assert_ptr_not_equal(b.chunk, shared);
    assert_int_equal(shared->refs, 1);
    chunk_unref(&shared);
    assert_null(shared);
    inbuf_fini(&b);
}

static void test_an_unshared_chunk_is_used_again(void **state)
{
    (void)state;
    struct inbuf b = {0};
    inbuf_add(&b, "x", 1);
    const struct chunk *c = b.chunk;
    for (int i = 0; i < 10000; i++) {
        inbuf_consume(&b, 1);
        inbuf_add(&b, "x", 1);
    }
    assert_ptr_equal(b.chunk, c);
    inbuf_fini(&b);
    assert_null(b.chunk);
    assert_int_equal(inbuf_unread(&b).len, 0);
}

static void test_a_growing_message_is_copied_rarely(void **state)
{
    (void)state;
    struct inbuf b = {0};
    size_t moves = 0;
    size_t largest = 0; /* room that was ever made in advance */
    for (int i = 0; i < 100000; i++) {
        size_t room;
        const char *begins = inbuf_unread(&b).ptr;
        inbuf_add(&b, "0123456789", 10);
        moves += inbuf_unread(&b).ptr != begins;
        inbuf_reserve(&b, 0, &room);
        largest = MAX(largest, room);
    }
    assert_in_range(moves, 1, 20);
    assert_in_range(largest, 10000, 1000000);
    inbuf_fini(&b);
}

/* ---- outbuf ---- */

static void assert_holds(const struct outbuf *o, struct slice want)
{
    assert_int_equal(o->bytes, want.len);
    struct iovec *iov = mem_alloc((o->count + 1) * sizeof *iov);
    int n = outbuf_iovec(o, iov, (int)o->count + 1);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_true(at + iov[i].iov_len <= want.len);
        assert_memory_equal(iov[i].iov_base, want.ptr + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, want.len);
    mem_free(iov);
}

struct modelled {
    struct outbuf out;
    struct str model;
    size_t head;
};

static struct slice left(const struct modelled *m)
{
    return slice_of(str_cstr(&m->model) + m->head, m->model.len - m->head);
}

static void append_randomly(struct modelled *m, struct rng *rng, struct chunk *shared)
{
    size_t n = random_size(rng);
    char bytes[64];
    size_t from;
    switch (rng_below(rng, 5)) {
    case 0:
        n = rng_below(rng, sizeof bytes + 1);
        fill(rng, bytes, n);
        outbuf_append(&m->out, bytes, n);
        str_append(&m->model, bytes, n);
        return;
    case 1: {
        bool large = rng_below(rng, 4) == 0;
        size_t want = rng_below(rng, large ? 3 * OUTBUF_CHUNK : 300);
        n = rng_below(rng, want + 1);
        char *to = large ? outbuf_reserve_large(&m->out, want) : outbuf_reserve(&m->out, want);
        fill(rng, to, n);
        str_append(&m->model, to, n);
        outbuf_commit(&m->out, n);
        return;
    }
    case 2:
        from = rng_below(rng, shared->len - n);
        outbuf_append_ref(&m->out, shared, shared->data + from, n);
        break;
    case 3:
        from = rng_below(rng, shared->len - n);
        outbuf_append_from(&m->out, shared, shared->data + from, n / 2);
        outbuf_append_from(&m->out, shared, shared->data + from + n / 2, n - n / 2);
        break;
    default:
        from = rng_below(rng, shared->len - n);
        outbuf_append(&m->out, shared->data + from, n);
        break;
    }
    str_append(&m->model, shared->data + from, n);
}

static void modelled_fini(struct modelled *m)
{
    outbuf_fini(&m->out);
    str_fini(&m->model);
}

static void test_outbuf_is_a_queue(void **state)
{
    (void)state;
    struct rng rng;
    struct modelled a = {0};
    struct modelled b = {0};
    rng_init(&rng, 2);
    struct chunk *shared = chunk_new(300000);
    shared->len = shared->cap;
    fill(&rng, shared->data, shared->len);
    for (int round = 0; round < 6000; round++) {
        uint64_t what = rng_below(&rng, 10);
        if (what < 5) {
            append_randomly(&a, &rng, shared);
        } else if (what < 7) {
            append_randomly(&b, &rng, shared);
        } else if (what < 8) {
            outbuf_splice(&a.out, &b.out);
            str_append_slice(&a.model, str_slice(&b.model));
            str_clear(&b.model);
            assert_int_equal(b.out.bytes, 0);
        } else {
            size_t n = MIN(random_size(&rng) * 3, left(&a).len);
            n = MIN(n, left(&a).len);
            outbuf_consume(&a.out, n);
            a.head += n;
        }
        if (a.head > 0 && (a.head == a.model.len || rng_below(&rng, 50) == 0)) {
            outbuf_consume(&a.out, a.out.bytes);
            str_clear(&a.model);
            a.head = 0;
        }
        assert_holds(&a.out, left(&a));
        assert_holds(&b.out, left(&b));
    }
    modelled_fini(&a);
    modelled_fini(&b);
    assert_int_equal(shared->refs, 1); /* everything referenced was given back */
    chunk_unref(&shared);
}

static void test_small_pieces_become_one(void **state)
{
    (void)state;
    struct outbuf o = {0};
    struct iovec iov[4];
    for (int i = 0; i < 20; i++) {
        outbuf_append(&o, "+OK\r\n", 5);
        outbuf_reserve(&o, 100);
        outbuf_commit(&o, 0);
    }
    assert_int_equal(outbuf_iovec(&o, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 100);
    outbuf_fini(&o);
    outbuf_reserve(&o, 100);
    outbuf_commit(&o, 0);
    assert_int_equal(outbuf_iovec(&o, iov, 4), 0);
    outbuf_fini(&o);
}

static void test_neighbours_in_a_chunk_become_one(void **state)
{
    (void)state;
    struct outbuf o = {0};
    struct iovec iov[4];
    struct chunk *c = chunk_new(10000);
    memset(c->data, 'x', 10000);
    c->len = 10000;
    outbuf_append_from(&o, c, c->data, 5000);
    outbuf_append_from(&o, c, c->data + 5000, 10);
    outbuf_append_from(&o, c, c->data + 5010, 4990);
    assert_int_equal(outbuf_iovec(&o, iov, 4), 1);
    assert_ptr_equal(iov[0].iov_base, c->data);
    assert_int_equal(iov[0].iov_len, 10000);
    assert_int_equal(c->refs, 2);
    outbuf_consume(&o, 10000);
    assert_int_equal(c->refs, 1);
    chunk_unref(&c);
    outbuf_fini(&o);
}

/* A chunk that its inbuf still fills is not the outbuf's to write to. */
static void test_referenced_chunks_are_not_written(void **state)
{
    (void)state;
    struct outbuf o = {0};
    struct chunk *c = chunk_new(10000);
    memset(c->data, 'x', 10000);
    c->len = 5000;
    outbuf_append_ref(&o, c, c->data, 5000);
    outbuf_append(&o, "tail", 4);
    assert_int_equal(c->len, 5000);
    assert_int_equal(c->data[5000], 'x');
    assert_int_equal(o.count, 2);
    outbuf_fini(&o);
    chunk_unref(&c);
}

static void test_what_waits_long_keeps_no_large_chunk(void **state)
{
    (void)state;
    struct outbuf o = {0};
    struct str all = {0};
    struct rng rng;
    struct chunk *big = chunk_new(256 * 1024);
    rng_init(&rng, 3);
    fill(&rng, big->data, big->cap);
    big->len = big->cap;
    for (size_t at = 0; at < big->cap; at += 32 * 1024) {
        outbuf_append(&o, "between", 7);
        str_append(&all, "between", 7);
        outbuf_append_ref(&o, big, big->data + at, 5000);
        str_append(&all, big->data + at, 5000);
        outbuf_settle(&o);
        if (at == 128 * 1024) {
            outbuf_consume(&o, 12000);
        }
    }
    assert_int_equal(big->refs, 1);
    outbuf_append_ref(&o, big, big->data, 100 * 1024); /* this is worth its chunk */
    str_append(&all, big->data, 100 * 1024);
    outbuf_settle(&o);
    assert_int_equal(big->refs, 2);
    outbuf_append(&o, "end", 3);
    str_append(&all, "end", 3);
    assert_int_equal(o.bytes, all.len - 12000);
    size_t at = 12000;
    while (o.bytes > 0) {
        struct iovec iov;
        assert_int_equal(outbuf_iovec(&o, &iov, 1), 1);
        assert_memory_equal(iov.iov_base, all.ptr + at, iov.iov_len);
        at += iov.iov_len;
        outbuf_consume(&o, iov.iov_len);
    }
    assert_int_equal(at, all.len);
    chunk_unref(&big);
    outbuf_fini(&o);
    str_fini(&all);
}

static void test_memory_is_what_is_held(void **state)
{
    (void)state;
    struct outbuf o = {0};
    struct chunk *c = chunk_new(1000000);
    memset(c->data, 'x', 10000);
    c->len = 10000;
    outbuf_append(&o, "a", 1);
    outbuf_append_ref(&o, c, c->data, 10000);
    assert_in_range(outbuf_memory(&o), 10001, 40000);
    outbuf_consume(&o, o.bytes);
    assert_in_range(outbuf_memory(&o), 0, 1000);
    chunk_unref(&c);
    outbuf_fini(&o);
    assert_int_equal(outbuf_memory(&o), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inbuf_is_a_queue),
        cmocka_unit_test(test_shared_bytes_stay),
        cmocka_unit_test(test_an_unshared_chunk_is_used_again),
        cmocka_unit_test(test_a_growing_message_is_copied_rarely),
        cmocka_unit_test(test_outbuf_is_a_queue),
        cmocka_unit_test(test_small_pieces_become_one),
        cmocka_unit_test(test_neighbours_in_a_chunk_become_one),
        cmocka_unit_test(test_referenced_chunks_are_not_written),
        cmocka_unit_test(test_what_waits_long_keeps_no_large_chunk),
        cmocka_unit_test(test_memory_is_what_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
