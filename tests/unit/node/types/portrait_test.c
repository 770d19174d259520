// SPDX-License-Identifier: BSD-3-Clause
/* Portraits of values that change all the while are what the values were when they began; drafts
 * become what was portrayed, and take no part that is none. */
#include "node/types/portrait.h"

#include "node/types/draft.h"
#include "node/types/hash.h"
#include "node/types/limits.h"
#include "node/types/quicklist.h"
#include "node/types/rdb.h"
#include "node/types/set.h"
#include "node/types/string.h"
#include "node/types/xstream_group.h"
#include "node/types/zset.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>

enum { NAMES = 3000, ROUNDS = 60, SITTERS = 3, TEXT = 200000 };

static const struct slice key = {.ptr = "key", .len = 3};

struct world {
    struct rng rng;
    enum object_type type;
    struct object *o; /* NULL: it was freed */
};

static struct slice name_of(struct rng *rng, char to[400])
{
    size_t n = (size_t)snprintf(to, 32, "name:%u", (unsigned)rng_below(rng, NAMES));
    if (rng_below(rng, 50) == 0) { /* long ones, too */
        memset(to + n, 'x', 300);
        n += 300;
    }
    return slice_of(to, n);
}

/* ---- one change of each type ---- */

static void change_hash(struct world *w)
{
    char text[400];
    char value[32];
    struct slice name = name_of(&w->rng, text);
    if (rng_below(&w->rng, 3) == 0) {
        (void)hash_delete(w->o, name);
    } else {
        size_t n = (size_t)snprintf(value, sizeof(value), "%u", (unsigned)rng_next(&w->rng));
        hash_set(w->o, name, slice_of(value, rng_below(&w->rng, 2) == 0 ? n : 4));
    }
}

static void change_set(struct world *w)
{
    char text[400];
    struct slice name = name_of(&w->rng, text);
    if (rng_below(&w->rng, 2) == 0) {
        (void)set_remove(w->o, name);
    } else {
        (void)set_add(w->o, name);
    }
}

static void change_zset(struct world *w)
{
    char text[400];
    struct slice name = name_of(&w->rng, text);
    double score = (double)rng_below(&w->rng, 1000);
    switch (rng_below(&w->rng, 20)) {
    case 0:
        if (zset_count(w->o) > 40) {
            zset_remove_range(w->o, rng_below(&w->rng, zset_count(w->o) - 30), 30);
        }
        break;
    case 1:
    case 2:
    case 3:
        (void)zset_remove(w->o, name);
        break;
    default:
        assert_true(zset_add(w->o, name, rng_below(&w->rng, 2) == 0 ? ZSET_INCR : 0, &score) !=
                    ZSET_LEFT);
    }
}

static void change_list(struct world *w)
{
    char text[400];
    struct slice name = name_of(&w->rng, text);
    size_t n = quicklist_length(w->o);
    switch (n < 2 ? 0 : rng_below(&w->rng, 9)) {
    case 0:
    case 1:
        quicklist_push(w->o, QUICKLIST_LEFT, name);
        break;
    case 2:
    case 3:
        quicklist_push(w->o, QUICKLIST_RIGHT, name);
        break;
    case 4:
        quicklist_insert(w->o, rng_below(&w->rng, n), name);
        break;
    case 5:
        quicklist_set(w->o, rng_below(&w->rng, n), name);
        break;
    case 6:
        quicklist_delete(w->o, 0, 1);
        break;
    case 7: {
        size_t at = rng_below(&w->rng, n);
        size_t gone = rng_below(&w->rng, 5);
        quicklist_delete(w->o, at, MIN(n - at, gone));
        break;
    }
    default:
        if (rng_below(&w->rng, 20) == 0) {
            quicklist_remove(w->o, QUICKLIST_LEFT, 1, name);
        }
    }
}

static struct stream_id some_id(struct world *w)
{
    const struct xstream *s = xstream_of(w->o);
    return (struct stream_id){rng_below(&w->rng, s->last_id.ms + 1), 0};
}

static void change_groups(struct world *w, struct xstream *s)
{
    bool is_new;
    struct xstream_group *g = xstream_group_find(s, SLICE("g"));
    g = g != NULL ? g : xstream_group_add(s, SLICE("g"), STREAM_ID_MIN, 0);
    struct xstream_consumer *c = xstream_consumer_find(g, SLICE("c"));
    c = c != NULL ? c : xstream_consumer_add(s, g, SLICE("c"), 5);
    struct stream_id id = some_id(w);
    if (rng_below(&w->rng, 2) == 0) {
        struct xstream_pending *p = xstream_pending_give(s, g, id, c, &is_new);
        p->delivered_ms = (int64_t)rng_below(&w->rng, 1000);
        p->deliveries++;
    } else {
        (void)xstream_pending_remove(s, g, id);
    }
}

static void change_stream(struct world *w)
{
    struct xstream *s = xstream_of(w->o);
    struct xstream_limits limits = {.node_max_entries = 20};
    struct xstream_trim trim = {.by = XSTREAM_TRIM_LENGTH, .whole_blocks = true};
    struct slice fields[2] = {SLICE("field"), SLICE("value")};
    switch (rng_below(&w->rng, 10)) {
    case 0:
        if (xstream_delete(s, some_id(w))) {
            xstream_find_first(s);
        }
        break;
    case 1:
        trim.length = rng_below(&w->rng, 30);
        trim.length = s->length - MIN(s->length, trim.length);
        trim.whole_blocks = rng_below(&w->rng, 2) == 0;
        (void)xstream_trim(s, &trim);
        break;
    case 2:
        change_groups(w, s);
        break;
    case 3:
        if (s->length == 0) { /* ids may begin anew below those that were */
            xstream_set_last_id(s, (struct stream_id){1, 0});
        }
        break;
    default:
        xstream_append(s, (struct stream_id){s->last_id.ms + 1, 0}, fields, 1, &limits);
    }
}

static void change_string(struct world *w)
{
    char *bytes;
    size_t len = string_len(w->o);
    size_t at = rng_below(&w->rng, len);
    size_t n = MIN(rng_below(&w->rng, 300), len - at);
    uint64_t way = rng_below(&w->rng, 1000);
    if (way == 0) {
        w->o = string_resize(w->o, len + rng_below(&w->rng, 3), &bytes);
        at = rng_below(&w->rng, len);
        n = 1;
    } else if (way == 1 && len > TEXT) { /* what comes back is another */
        w->o = string_resize_part(w->o, len - rng_below(&w->rng, TEXT / 10), at, 0, &bytes);
        n = 0;
    } else if (way < 900) {
        w->o = string_resize_part(w->o, len, at, n, &bytes);
    } else {
        at = len;
        w->o = string_resize_part(w->o, len + n, 0, 0, &bytes);
    }
    for (size_t i = 0; i < n; i++) {
        bytes[at + i] ^= (char)('a' + way % 7);
    }
}

static void change(struct world *w)
{
    switch (w->type) {
    case OBJECT_STRING:
        change_string(w);
        break;
    case OBJECT_LIST:
        change_list(w);
        break;
    case OBJECT_SET:
        change_set(w);
        break;
    case OBJECT_ZSET:
        change_zset(w);
        break;
    case OBJECT_HASH:
        change_hash(w);
        break;
    case OBJECT_STREAM:
        change_stream(w);
        break;
    }
}

/* ---- portraits of it ---- */

struct sitter {
    struct portrait *portrait;
    struct draft *draft;
    struct digest was;
};

static struct object *made(struct world *w)
{
    static char text[TEXT];
    switch (w->type) {
    case OBJECT_STRING:
        memset(text, 'a', sizeof(text));
        return string_new(key, OBJECT_NO_EXPIRE, slice_of(text, sizeof(text)));
    case OBJECT_LIST:
        return quicklist_new(key, OBJECT_NO_EXPIRE);
    case OBJECT_SET:
        return set_new(key);
    case OBJECT_ZSET:
        return zset_new(key);
    case OBJECT_HASH:
        return hash_new(key, OBJECT_NO_EXPIRE);
    case OBJECT_STREAM:
        break;
    }
    return xstream_new(key, OBJECT_NO_EXPIRE);
}

static void begin(struct world *w, struct sitter *s)
{
    object_digest(w->o, &s->was);
    s->portrait = portrait_new(w->o, rng_below(&w->rng, 2) == 0);
    s->draft = draft_new(key, OBJECT_NO_EXPIRE, rdb_type_of(w->o), portrait_head(s->portrait));
    assert_non_null(s->draft);
}

static void let_go(struct sitter *s)
{
    struct object *rest = portrait_free(&s->portrait);
    object_free(&rest);
}

/* True: it goes on. */
static bool step(struct world *w, struct sitter *s)
{
    struct str part = {0};
    uint64_t budget = w->type == OBJECT_STRING ? 20000 : 4000;
    bool more = portrait_step(s->portrait, 1 + rng_below(&w->rng, budget), &part);
    /* Bytes that end where they end: no part is read beyond. */
    char *alone = mem_memdup(part.len == 0 ? "" : part.ptr, MAX(part.len, (size_t)1));
    assert_true(draft_add(s->draft, slice_of(alone, part.len)));
    mem_free(alone);
    str_fini(&part);
    if (more) {
        return true;
    }
    let_go(s);
    struct object *o = draft_done(&s->draft);
    assert_non_null(o);
    struct digest is;
    object_digest(o, &is);
    assert_memory_equal(is.bytes, s->was.bytes, sizeof(is.bytes));
    object_free(&o);
    return false;
}

static void give_up(struct sitter *s)
{
    let_go(s);
    struct object *rest = draft_free(&s->draft);
    object_free(&rest);
}

static void one_round(struct world *w)
{
    struct sitter sitters[SITTERS] = {0};
    w->o = made(w);
    for (int i = 0; i < 4000; i++) {
        change(w);
    }
    for (int begun = 0, left = 1; left > 0;) {
        if (w->o != NULL && begun < SITTERS && rng_below(&w->rng, 3) == 0) {
            begin(w, &sitters[begun++]);
        }
        left = begun < SITTERS && w->o != NULL;
        for (int i = 0; i < begun; i++) {
            if (sitters[i].draft != NULL && rng_below(&w->rng, 200) == 0) {
                give_up(&sitters[i]);
            }
            left += sitters[i].draft != NULL && step(w, &sitters[i]);
        }
        for (uint64_t n = rng_below(&w->rng, 60); w->o != NULL && n > 0; n--) {
            change(w);
        }
        if (w->o != NULL && rng_below(&w->rng, 40) == 0) {
            object_free(&w->o); /* it is left to its portraits */
        }
    }
    object_free(&w->o);
}

static void rounds(enum object_type type)
{
    struct world w = {.type = type};
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        rng_init(&w.rng, seed);
        one_round(&w);
    }
}

static void test_strings(void **state)
{
    (void)state;
    rounds(OBJECT_STRING);
}

/* A change of some bytes copies the block that they are in, not all that is portrayed. */
static void test_a_string_stays_where_it_is(void **state)
{
    (void)state;
    struct world w = {.type = OBJECT_STRING};
    rng_init(&w.rng, 1);
    w.o = made(&w);
    struct sitter s;
    char *bytes;
    w.o = string_resize_part(w.o, TEXT, 0, 0, &bytes);
    const char *was = bytes;
    begin(&w, &s);
    w.o = string_resize_part(w.o, TEXT, TEXT / 2, 10, &bytes);
    assert_ptr_equal(bytes, was);
    memset(bytes + TEXT / 2, 'b', 10);
    struct chunk *reply = chunk_ref(string_chunk(w.o)); /* one that is still to be written */
    w.o = string_resize_part(w.o, TEXT, TEXT / 4, 1, &bytes);
    assert_ptr_not_equal(bytes, was);
    bytes[TEXT / 4] = 'c';
    chunk_unref(&reply);
    while (step(&w, &s)) {
    }
    object_free(&w.o);
}

static void test_hashes(void **state)
{
    (void)state;
    rounds(OBJECT_HASH);
}

static void test_sets(void **state)
{
    (void)state;
    rounds(OBJECT_SET);
}

static void test_sorted_sets(void **state)
{
    (void)state;
    rounds(OBJECT_ZSET);
}

static void test_lists(void **state)
{
    (void)state;
    rounds(OBJECT_LIST);
}

static void test_lists_that_are_compressed(void **state)
{
    (void)state;
    struct type_limits was = *type_limits();
    struct type_limits limits = was;
    limits.list_depth = 1;
    limits.list_plain = 200;
    type_limits_set(&limits);
    rounds(OBJECT_LIST);
    type_limits_set(&was);
}

static void test_streams(void **state)
{
    (void)state;
    rounds(OBJECT_STREAM);
}

/* What is missing, damaged or too much is refused. */
static void test_parts_that_are_none(void **state)
{
    (void)state;
    static const enum object_type types[] = {OBJECT_STRING, OBJECT_LIST, OBJECT_SET,
                                             OBJECT_ZSET,   OBJECT_HASH, OBJECT_STREAM};
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        struct world w = {.type = types[t]};
        rng_init(&w.rng, 7);
        w.o = made(&w);
        for (int i = 0; i < 4000; i++) {
            change(&w);
        }
        struct portrait *p = portrait_new(w.o, false);
        struct str all = {0};
        while (portrait_step(p, 1000, &all)) {
        }
        unsigned type = rdb_type_of(w.o);
        for (int i = 0; i < 400; i++) {
            struct draft *d = draft_new(key, OBJECT_NO_EXPIRE, type, portrait_head(p));
            size_t len = rng_below(&w.rng, all.len);
            char *cut = mem_memdup(all.ptr, MAX(len, (size_t)1));
            bool flipped = types[t] != OBJECT_STRING && len > 0 && rng_below(&w.rng, 2) == 0;
            if (flipped) {
                cut[rng_below(&w.rng, len)] ^= (char)(1U << rng_below(&w.rng, 8));
            }
            bool good = draft_add(d, slice_of(cut, len));
            struct object *o = draft_done(&d);
            assert_true(o == NULL);
            (void)good;
            mem_free(cut);
        }
        struct draft *d = draft_new(key, OBJECT_NO_EXPIRE, type, portrait_head(p));
        bool good = draft_add(d, str_slice(&all)) && draft_add(d, str_slice(&all));
        struct object *o = good ? draft_done(&d) : draft_free(&d);
        assert_true(!good || o == NULL);
        object_free(&o);
        o = portrait_free(&p);
        assert_null(o);
        str_fini(&all);
        object_free(&w.o);
    }
    assert_null(draft_new(key, OBJECT_NO_EXPIRE, RDB_TYPE_HASH_LISTPACK, SLICE("\1")));
    assert_null(draft_new(key, OBJECT_NO_EXPIRE, 77, SLICE("\1")));
    assert_null(draft_new(key, OBJECT_NO_EXPIRE, RDB_TYPE_SET, SLICE("")));
}

/* No part is much more than what was asked for. */
static void test_parts_are_bounded(void **state)
{
    (void)state;
    struct world w = {.type = OBJECT_HASH};
    rng_init(&w.rng, 3);
    w.o = made(&w);
    for (int i = 0; i < 100000; i++) {
        char name[32];
        size_t n = (size_t)snprintf(name, sizeof(name), "field:%d", i);
        hash_set(w.o, slice_of(name, n), SLICE("value"));
    }
    assert_true(portrait_suits(w.o));
    struct portrait *p = portrait_new(w.o, false);
    struct str part = {0};
    int parts = 0;
    for (bool more = true; more; parts++) {
        str_clear(&part);
        more = portrait_step(p, 64 * 100, &part); /* a hundred elements */
        assert_true(part.len < 64 * 110);
    }
    assert_true(parts >= 900);
    struct object *rest = portrait_free(&p);
    assert_null(rest);
    str_fini(&part);
    object_free(&w.o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_a_string_stays_where_it_is),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_sorted_sets),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_lists_that_are_compressed),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_parts_that_are_none),
        cmocka_unit_test(test_parts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
