// SPDX-License-Identifier: BSD-3-Clause
/* Streams against an array of entries; memory to the byte; their form in files, and hostile ones.
 */
#include "node/types/rdb.h"
#include "node/types/xstream_group.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define ENTRIES 3000

struct model_entry {
    struct stream_id id;
    unsigned fields; /* and from what they were made */
    unsigned seed;
};

struct model {
    struct object *o;
    struct xstream_limits limits;
    struct model_entry of[ENTRIES];
    size_t n;
};

static const struct slice key = {.ptr = "key", .len = 3};

static struct slice field_of(unsigned seed, unsigned i, char to[24])
{
    /* Some entries have the same fields, some values are numbers. */
    return slice_of(to, (size_t)snprintf(to, 24,
                                         i % 2 == 0      ? "field%u"
                                         : seed % 3 == 0 ? "%u"
                                                         : "v%u",
                                         i % 2 == 0 ? i + seed % 4 / 3 : seed * 1000 + i));
}

static void add(struct model *m, struct rng *rng)
{
    struct xstream *s = xstream_of(m->o);
    struct model_entry e = {.id = s->last_id,
                            .fields = 1 + (unsigned)(rng_below(rng, 5) == 0) * 40,
                            .seed = (unsigned)rng_below(rng, 1000)};
    e.id.ms += rng_below(rng, 3);
    assert_true(stream_id_increment(&e.id));
    struct slice fields[2 * 41];
    char texts[2 * 41][24];
    for (unsigned i = 0; i < 2 * e.fields; i++) {
        fields[i] = field_of(e.seed, i, texts[i]);
    }
    xstream_append(s, e.id, fields, e.fields, &m->limits);
    m->of[m->n++] = e;
}

static void drop(struct model *m, size_t at, size_t n)
{
    memmove(m->of + at, m->of + at + n, (m->n - at - n) * sizeof(m->of[0]));
    m->n -= n;
}

static void delete_any(struct model *m, struct rng *rng)
{
    struct xstream *s = xstream_of(m->o);
    if (m->n == 0) {
        return;
    }
    size_t at = rng_below(rng, m->n);
    struct stream_id id = m->of[at].id;
    assert_true(xstream_has(s, id));
    assert_true(xstream_delete(s, id));
    assert_false(xstream_delete(s, id));
    xstream_find_first(s);
    drop(m, at, 1);
}

static void trim(struct model *m, struct rng *rng)
{
    struct xstream *s = xstream_of(m->o);
    struct xstream_trim t = {.by = rng_below(rng, 2) == 0 ? XSTREAM_TRIM_LENGTH : XSTREAM_TRIM_ID,
                             .length = rng_below(rng, m->n + 2),
                             .id = {rng_below(rng, s->last_id.ms + 2), 0},
                             .whole_blocks = rng_below(rng, 2) == 0};
    size_t wanted = 0;
    if (t.by == XSTREAM_TRIM_LENGTH) {
        wanted = m->n > t.length ? m->n - t.length : 0;
    } else {
        while (wanted < m->n && stream_id_less(m->of[wanted].id, t.id)) {
            wanted++;
        }
    }
    uint64_t gone = xstream_trim(s, &t);
    assert_true(t.whole_blocks ? gone <= wanted : gone == wanted);
    drop(m, 0, gone);
}

static void check_value(const struct listpack_value *v, struct slice wanted)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice text = v->ptr != NULL ? slice_of(v->ptr, v->len)
                                       : slice_of(digits, num_print_i64(digits, v->number));
    assert_true(slice_eq(text, wanted));
}

static void check_range(const struct model *m, struct stream_id start, struct stream_id end,
                        bool back)
{
    size_t first = 0;
    size_t last = m->n;
    while (first < m->n && stream_id_less(m->of[first].id, start)) {
        first++;
    }
    while (last > first && stream_id_less(end, m->of[last - 1].id)) {
        last--;
    }
    struct xstream_iter it;
    xstream_iter_init(&it, xstream_of(m->o), start, end, back);
    assert_int_equal(xstream_iter_count(&it, UINT64_MAX), last - first);
    assert_int_equal(xstream_iter_count(&it, 7), MIN(last - first, 7U));
    for (size_t i = 0; i < last - first; i++) {
        assert_true(xstream_iter_next(&it));
        const struct model_entry *e = &m->of[back ? last - 1 - i : first + i];
        assert_true(stream_id_equal(it.id, e->id));
        assert_int_equal(it.n_fields, e->fields);
        /* Not all of them are always read. */
        for (unsigned k = 0; k < e->fields && (i % 3 > 0 || k < 2); k++) {
            struct listpack_value name;
            struct listpack_value value;
            char text[24];
            xstream_iter_field(&it, &name, &value);
            check_value(&name, field_of(e->seed, 2 * k, text));
            check_value(&value, field_of(e->seed, 2 * k + 1, text));
        }
        if (i == 5) {
            assert_int_equal(xstream_iter_count(&it, UINT64_MAX), last - first - 6);
        }
    }
    assert_false(xstream_iter_next(&it));
}

static void check(const struct model *m, struct rng *rng)
{
    const struct xstream *s = xstream_of(m->o);
    assert_int_equal(s->length, m->n);
    struct stream_id first = m->n > 0 ? m->of[0].id : STREAM_ID_MIN;
    struct stream_id last = m->n > 0 ? m->of[m->n - 1].id : STREAM_ID_MIN;
    assert_true(stream_id_equal(s->first_id, first));
    assert_true(stream_id_equal(xstream_top(s), last));
    for (int back = 0; back < 2; back++) {
        check_range(m, STREAM_ID_MIN, STREAM_ID_MAX, back);
        for (int i = 0; i < 5; i++) {
            struct stream_id a = {rng_below(rng, s->last_id.ms + 2), rng_below(rng, 3)};
            struct stream_id b = {a.ms + rng_below(rng, 40), rng_below(rng, 3)};
            check_range(m, a, b, back);
        }
    }
}

static void add_groups(struct xstream *s, struct rng *rng)
{
    char name[16];
    for (int i = 0; i < 5; i++) {
        struct slice n = slice_of(
            name, (size_t)snprintf(name, sizeof(name), "%s%d", i % 2 == 0 ? "group" : "", 7 - i));
        struct xstream_group *g = xstream_group_add(s, n, s->last_id, i - 1);
        assert_non_null(g);
        assert_null(xstream_group_add(s, n, s->last_id, 0));
        for (int k = 0; k < 20; k++) {
            n = slice_of(name, (size_t)snprintf(name, sizeof(name), "c%d", (k * 7) % 20));
            assert_non_null(xstream_consumer_add(s, g, n, k));
            assert_null(xstream_consumer_add(s, g, n, k));
        }
        for (int k = 0; k < 300; k++) {
            struct stream_id id = {rng_below(rng, 400), 0};
            struct xstream_consumer *c =
                xstream_consumer_at(g, (uint32_t)rng_below(rng, g->consumers.n));
            bool is_new;
            struct xstream_pending *p = xstream_pending_give(s, g, id, c, &is_new);
            p->delivered_ms = k;
            p->deliveries++;
        }
    }
}

static void check_groups(const struct xstream *s)
{
    for (uint32_t i = 0; i < s->groups.n; i++) {
        const struct xstream_group *g = xstream_group_at(s, i);
        assert_ptr_equal(xstream_group_find(s, g->name), g);
        uint64_t owned = 0;
        for (uint32_t k = 0; k < g->consumers.n; k++) {
            const struct xstream_consumer *c = xstream_consumer_at(g, k);
            assert_ptr_equal(xstream_consumer_find(g, c->name), c);
            struct id_at at;
            for (id_tree_seek(&c->pending, STREAM_ID_MIN, &at); at.valid; id_at_next(&at)) {
                assert_ptr_equal(xstream_pending_find(g, at.id)->consumer, c);
                owned++;
            }
        }
        assert_int_equal(owned, g->pending.count);
    }
}

static void remove_groups(struct xstream *s, struct rng *rng)
{
    while (s->groups.n > 0) {
        struct xstream_group *g = xstream_group_at(s, (uint32_t)rng_below(rng, s->groups.n));
        for (int i = 0; i < 100; i++) {
            struct stream_id id = {rng_below(rng, 400), 0};
            bool was = xstream_pending_find(g, id) != NULL;
            assert_int_equal(xstream_pending_remove(s, g, id), was);
        }
        for (int i = 0; i < 7; i++) {
            xstream_consumer_remove(s, g, xstream_consumer_at(g, (uint32_t)i));
        }
        check_groups(s);
        xstream_group_remove(s, g);
    }
}

static struct object *read_back(const struct str *payload)
{
    struct slice in = str_slice(payload);
    struct str scratch = {0};
    unsigned type;
    assert_true(rdb_check_payload(&in));
    assert_true(rdb_read_byte(&in, &type));
    assert_int_equal(type, RDB_TYPE_STREAM_2);
    struct object *o = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
    str_fini(&scratch);
    assert_int_equal(in.len, 0);
    return o;
}

static void check_same(const struct object *a, const struct object *b)
{
    struct digest of_a;
    struct digest of_b;
    object_digest(a, &of_a);
    object_digest(b, &of_b);
    assert_memory_equal(&of_a, &of_b, sizeof(of_a));
    assert_true(stream_id_equal(xstream_of(a)->first_id, xstream_of(b)->first_id));
}

static void check_copies(const struct object *o)
{
    struct str payload = {0};
    rdb_write_payload(&payload, o, true);
    struct object *back = read_back(&payload);
    assert_non_null(back);
    check_same(o, back);
    check_groups(xstream_of(back));
    object_free(&back);
    str_fini(&payload);
    struct object *copy = object_copy(o, key, OBJECT_NO_EXPIRE);
    check_same(o, copy);
    object_free(&copy);
}

static void run(uint64_t seed, uint64_t bytes, uint64_t entries)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct model *m = mem_zalloc(sizeof(*m));
    m->o = xstream_new(key, OBJECT_NO_EXPIRE);
    m->limits = (struct xstream_limits){bytes, entries};
    size_t empty = xstream_of(m->o)->memory;
    for (int round = 0; round < 40; round++) {
        uint64_t kind = rng_below(&rng, 4);
        for (uint64_t steps = rng_below(&rng, 200); steps > 0; steps--) {
            if (kind <= 1 && m->n < ENTRIES) {
                add(m, &rng);
            } else if (kind == 2) {
                delete_any(m, &rng);
            }
        }
        if (kind == 3) {
            trim(m, &rng);
        }
        check(m, &rng);
        if (round % 10 == 0) {
            add_groups(xstream_of(m->o), &rng);
            check_groups(xstream_of(m->o));
            check_copies(m->o);
            remove_groups(xstream_of(m->o), &rng);
        }
    }
    struct xstream_trim all = {.by = XSTREAM_TRIM_LENGTH};
    xstream_trim(xstream_of(m->o), &all);
    m->n = 0;
    check(m, &rng);
    assert_true(xstream_of(m->o)->memory - empty <= 64); /* an empty list of groups */
    object_free(&m->o);
    mem_free(m);
}

static void test_as_an_array_of_entries(void **state)
{
    (void)state;
    run(1, 4096, 100);
    run(2, 200, 0);
    run(3, 0, 3);
    run(4, 0, 0);
}

/* Whatever is flipped, it is refused, or a stream that can be walked, changed and written. */
static void test_hostile_payloads(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    struct model *m = mem_zalloc(sizeof(*m));
    m->o = xstream_new(key, OBJECT_NO_EXPIRE);
    m->limits = (struct xstream_limits){400, 10};
    for (int i = 0; i < 60; i++) {
        add(m, &rng);
    }
    delete_any(m, &rng);
    add_groups(xstream_of(m->o), &rng);
    struct str payload = {0};
    str_append_char(&payload, (char)RDB_TYPE_STREAM_2);
    rdb_write_value(&payload, m->o, false);
    unsigned taken = 0;
    for (int i = 0; i < RANDOM_ROUNDS(4000); i++) {
        struct str bad = {0};
        str_append_slice(&bad, str_slice(&payload));
        for (uint64_t flips = 1 + rng_below(&rng, 3); flips > 0; flips--) {
            size_t at = 1 + rng_below(&rng, bad.len - 1);
            bad.ptr[at] = (char)(rng_below(&rng, 2) == 0
                                     ? (uint64_t)bad.ptr[at] ^ UINT64_C(1) << rng_below(&rng, 8)
                                     : rng_next(&rng));
        }
        struct slice in =
            slice_of(bad.ptr + 1, bad.len - 1 - (i % 5 == 0 ? rng_below(&rng, 50) : 0));
        struct str scratch = {0};
        struct object *o = rdb_read_value(&in, RDB_TYPE_STREAM_2, key, OBJECT_NO_EXPIRE, &scratch);
        if (o != NULL) {
            taken++;
            check_groups(xstream_of(o));
            check_copies(o);
            struct xstream_trim t = {.by = XSTREAM_TRIM_LENGTH,
                                     .length = xstream_of(o)->length / 2};
            xstream_trim(xstream_of(o), &t);
            check_copies(o);
            object_free(&o);
        }
        str_fini(&scratch);
        str_fini(&bad);
    }
    assert_true(taken > RANDOM_ROUNDS(50));
    str_fini(&payload);
    object_free(&m->o);
    mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_an_array_of_entries),
        cmocka_unit_test(test_hostile_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
