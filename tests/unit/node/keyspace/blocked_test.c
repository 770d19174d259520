// SPDX-License-Identifier: BSD-3-Clause
/* Who tries again, in which order, when keys change. Values are strings: a waiter takes one by
 * DEL. */
#include "node/keyspace/blocked.h"

#include "tests/unit/node/cmd/node_fixture.h"
#include "tests/unit/unit.h"

struct waits {
    struct fixture f;
    struct blocker w[4];
};

static void open_waits(struct waits *t)
{
    fixture_open(&t->f);
    for (size_t i = 0; i < ARRAY_LEN(t->w); i++) {
        blocker_init(&t->w[i]);
    }
}

static void close_waits(struct waits *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->w); i++) {
        blocked_end(&t->w[i], t->f.ks);
    }
    assert_int_equal(t->f.ks->blocked_keys, 0);
    fixture_close(&t->f);
}

static void wait_in(struct waits *t, int who, int db, const char *keys, bool on_removal)
{
    struct slice argv[8];
    char *copy = mem_strdup(keys);
    const struct db in = {.ks = t->f.ks, .now_ms = t->f.now_ms, .index = db};
    size_t n = split_words(copy, argv);
    blocked_wait(&t->w[who], &in, argv, n, OBJECT_STRING, on_removal);
    mem_free(copy);
}

/* Everybody who is asked to try, as letters; who finds one of its keys takes it and goes. */
static const char *run(struct waits *t)
{
    static char said[32];
    size_t n = 0;
    struct blocker *b;
    while ((b = blocked_next(t->f.ks, t->f.now_ms)) != NULL) {
        assert_true(n + 1 < sizeof(said));
        said[n++] = (char)('a' + (b - t->w));
        struct probe p;
        struct slice key;
        bool found = false;
        for (size_t i = 0; !found && blocker_key(b, i, &p, &key); i++) {
            const struct db db = {.ks = t->f.ks, .now_ms = t->f.now_ms};
            struct object *o = db_peek(&db, &p, key);
            found = o != NULL && o->type == OBJECT_STRING;
            if (found) {
                db_remove(&db, &p, o, false);
            }
        }
        if (found) {
            blocked_end(b, t->f.ks);
        } else {
            blocked_tried(b);
        }
    }
    assert_false(blocked_ready(t->f.ks));
    said[n] = '\0';
    return said;
}

static void test_who_asked_first_is_served_first(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    wait_in(&t, 2, 0, "k", false);
    wait_in(&t, 0, 0, "k other", false);
    wait_in(&t, 1, 0, "k k", false);
    assert_int_equal(t.w[1].count, 1);
    assert_int_equal(t.f.ks->blocked_keys, 2);
    say(&t.f, "SET k 1");
    assert_string_equal(run(&t), "c");
    say(&t.f, "SET k 1");
    assert_string_equal(run(&t), "a");
    assert_int_equal(t.f.ks->blocked_keys, 1); /* a has left both */
    say(&t.f, "SET other 1");
    assert_string_equal(run(&t), "");
    close_waits(&t);
}

static void test_what_is_gone_again_when_the_command_ends_wakes_nobody(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    wait_in(&t, 0, 0, "k", false);
    say(&t.f, "SET k 1");
    say(&t.f, "DEL k");
    assert_true(blocked_ready(t.f.ks));
    assert_string_equal(run(&t), "");
    assert_true(blocker_waits(&t.w[0]));
    close_waits(&t);
}

static void test_keys_in_the_order_in_which_they_were_touched(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    wait_in(&t, 0, 0, "x", false);
    wait_in(&t, 1, 0, "y", false);
    wait_in(&t, 2, 0, "y", false);
    say(&t.f, "SET y 1");
    say(&t.f, "SET x 1");
    assert_string_equal(run(&t), "ba");
    close_waits(&t);
}

static void test_databases_are_different_keys_and_change_places(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    wait_in(&t, 0, 0, "k", false);
    say(&t.f, "SELECT 1");
    say(&t.f, "SET k 1");
    assert_string_equal(run(&t), "");
    say(&t.f, "SWAPDB 0 1");
    assert_string_equal(run(&t), "a");
    close_waits(&t);
}

static void test_removal_wakes_only_who_asked_for_it(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    say(&t.f, "SET k 1");
    wait_in(&t, 0, 0, "k", false);
    wait_in(&t, 1, 0, "k", true);
    say(&t.f, "DEL k");
    assert_string_equal(run(&t), "b");
    say(&t.f, "FLUSHALL");
    assert_string_equal(run(&t), "b");
    close_waits(&t);
}

static void test_a_shard_that_is_not_served_waits(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    struct probe p = keyspace_probe_key(t.f.ks, SLICE("k"));
    wait_in(&t, 0, 0, "k", false);
    say(&t.f, "SET k 1");
    t.f.ks->shards[p.shard]->passive = true;
    assert_string_equal(run(&t), "");
    t.f.ks->shards[p.shard]->passive = false;
    blocked_touch_db(t.f.ks, -1, (int)p.shard);
    assert_string_equal(run(&t), "a");
    close_waits(&t);
}

static void test_what_one_touches_itself_is_no_reason_to_try_again(void **state)
{
    (void)state;
    struct waits t;
    open_waits(&t);
    wait_in(&t, 0, 0, "k", true);
    say(&t.f, "SET k 1");
    struct blocker *b = blocked_next(t.f.ks, t.f.now_ms);
    assert_ptr_equal(b, &t.w[0]);
    say(&t.f, "APPEND k 2");
    blocked_tried(b);
    assert_null(blocked_next(t.f.ks, t.f.now_ms));
    say(&t.f, "APPEND k 3");
    assert_ptr_equal(blocked_next(t.f.ks, t.f.now_ms), b);
    close_waits(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_asked_first_is_served_first),
        cmocka_unit_test(test_what_is_gone_again_when_the_command_ends_wakes_nobody),
        cmocka_unit_test(test_keys_in_the_order_in_which_they_were_touched),
        cmocka_unit_test(test_databases_are_different_keys_and_change_places),
        cmocka_unit_test(test_removal_wakes_only_who_asked_for_it),
        cmocka_unit_test(test_a_shard_that_is_not_served_waits),
        cmocka_unit_test(test_what_one_touches_itself_is_no_reason_to_try_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
