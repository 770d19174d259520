// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as sets and sorted sets in all their forms in files. What is understood is in
 * order, knows each of its members, survives changes, and is written as the same again. */
#include "node/types/rdb.h"
#include "node/types/set.h"
#include "node/types/zset.h"

#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct slice key = {.ptr = "key", .len = 3};

static void check_again(const struct object *o)
{
    struct digest was;
    struct digest is;
    struct str s = {0};
    struct str scratch = {0};
    unsigned type;
    object_digest(o, &was);
    rdb_write_payload(&s, o, true);
    struct slice in = str_slice(&s);
    INVARIANT(rdb_check_payload(&in));
    INVARIANT(rdb_read_byte(&in, &type));
    struct object *again = rdb_read_value(&in, type, key, OBJECT_NO_EXPIRE, &scratch);
    INVARIANT(again != NULL);
    object_digest(again, &is);
    INVARIANT(memcmp(&was, &is, sizeof(was)) == 0);
    object_free(&again);
    again = object_copy(o, key, OBJECT_NO_EXPIRE);
    object_digest(again, &is);
    INVARIANT(memcmp(&was, &is, sizeof(was)) == 0);
    uint64_t freed = 0;
    while (!object_free_some(&again, 2, &freed)) {
    }
    str_fini(&s);
    str_fini(&scratch);
}

static void check_set(struct object *o)
{
    struct object *copy = object_copy(o, key, OBJECT_NO_EXPIRE);
    struct set_walk w = {0};
    struct set_element e;
    size_t n = 0;
    while (set_next(copy, &w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice text = set_element_text(&e, digits);
        INVARIANT(set_has(o, text) && set_has_element(o, &e));
        INVARIANT(!set_add(o, text));
        if (n++ % 2 == 0) {
            INVARIANT(set_remove(o, text));
            INVARIANT(!set_has(o, text));
        }
    }
    INVARIANT(n == set_count(copy) && set_count(o) == n / 2);
    bool fresh = !set_has(o, SLICE("fresh"));
    INVARIANT(set_add(o, SLICE("fresh")) == fresh);
    check_again(o);
    object_free(&copy);
}

static void check_zset(struct object *o)
{
    struct object *copy = object_copy(o, key, OBJECT_NO_EXPIRE);
    struct zset_walk w = zset_seek(copy, 0, false);
    struct zset_element e;
    struct str last = {0};
    struct ranks_place before = {0};
    uint64_t n = 0;
    while (zset_next(&w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice text = zset_element_text(&e, digits);
        double score;
        uint64_t rank;
        INVARIANT(n == 0 || !ranks_before(&before, e.score, text));
        INVARIANT(zset_score(copy, text, &score) && score == e.score);
        INVARIANT(zset_rank(copy, text, &rank) && rank == n);
        str_clear(&last);
        str_append_slice(&last, text);
        before = (struct ranks_place){.score = e.score, .name = str_slice(&last)};
        before.name.ptr = str_cstr(&last);
        INVARIANT(zset_below(copy, &before) == n);
        score = n % 3 == 0 ? 7 : -1;
        enum zset_outcome outcome = zset_add(o, text, n % 2 == 0 ? ZSET_INCR : 0, &score);
        INVARIANT(outcome != ZSET_ADDED && outcome != ZSET_LEFT);
        n++;
    }
    INVARIANT(n == zset_count(copy) && n == zset_count(o));
    zset_remove_range(o, n / 3, n / 2);
    INVARIANT(zset_count(o) == n - n / 2);
    double score = 1;
    INVARIANT(zset_add(o, SLICE("fresh"), 0, &score) != ZSET_NAN);
    check_again(o);
    str_fini(&last);
    object_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned types[] = {RDB_TYPE_SET,          RDB_TYPE_ZSET,
                                     RDB_TYPE_ZSET_2,       RDB_TYPE_SET_INTSET,
                                     RDB_TYPE_ZSET_ZIPLIST, RDB_TYPE_ZSET_LISTPACK};
    if (size == 0) {
        return 0;
    }
    struct slice in = slice_of((const char *)data + 1, size - 1);
    struct str scratch = {0};
    struct object *o =
        rdb_read_value(&in, types[data[0] % ARRAY_LEN(types)], key, OBJECT_NO_EXPIRE, &scratch);
    if (o != NULL) {
        check_again(o);
        if (o->type == OBJECT_SET) {
            check_set(o);
        } else {
            check_zset(o);
        }
        object_free(&o);
    }
    str_fini(&scratch);
    return 0;
}
