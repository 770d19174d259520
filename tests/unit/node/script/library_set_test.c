// SPDX-License-Identifier: BSD-3-Clause
/* Libraries of functions on nodes that miss each other's changes. */
#include "node/script/library_set.h"

#include "tests/unit/node/script/script_fixture.h"

#define NODES 3

static struct node {
    struct scripted t;
    struct library_set *set;
} nodes[NODES];
static int64_t now_ms;

static void begin(void)
{
    now_ms = 1000;
    for (int i = 0; i < NODES; i++) {
        scripted_open(&nodes[i].t);
        nodes[i].set = library_set_new();
    }
}

static void end(void)
{
    for (int i = 0; i < NODES; i++) {
        scripted_close(&nodes[i].t);
        library_set_free(&nodes[i].set);
    }
}

/* A library with one function of each letter. */
static void source(char *to, size_t room, const char *library, const char *functions, int value)
{
    int n = snprintf(to, room, "#!lua name=%s\n", library);
    for (const char *f = functions; *f != '\0'; f++) {
        n += snprintf(to + n, room - (size_t)n,
                      "redis.register_function('%c', function() return %d end)\n", *f, value);
    }
}

static void load(int node, const char *library, const char *functions, int value)
{
    char code[500];
    struct str why = {0};
    source(code, sizeof(code), library, functions, value);
    assert_true(scripts_load(nodes[node].t.scripts, slice_str(code), true, &why));
    library_set_note(nodes[node].set, nodes[node].t.scripts, ++now_ms);
}

static void clear(int node)
{
    scripts_clear_libraries(nodes[node].t.scripts);
    library_set_note(nodes[node].set, nodes[node].t.scripts, ++now_ms);
}

static unsigned tell(int from, int to)
{
    struct str bytes = {0}, why = {0};
    library_set_write(nodes[from].set, nodes[from].t.scripts, &bytes);
    unsigned news = library_set_merge(nodes[to].set, nodes[to].t.scripts, str_slice(&bytes), &why);
    str_fini(&bytes);
    str_fini(&why);
    return news;
}

/* Until nobody has anything to tell. */
static void meet(void)
{
    unsigned news = LIBRARY_SET_TAKEN;
    for (int rounds = 0; news != 0; rounds++) {
        assert_true(rounds < 10);
        news = 0;
        for (int i = 0; i < NODES * NODES; i++) {
            news |= i / NODES == i % NODES ? 0 : tell(i / NODES, i % NODES);
        }
    }
}

static void add_names(void *arg, struct slice name, struct slice code)
{
    struct str *to = arg;
    const char *at = memmem(code.ptr, code.len, "return ", 7);
    str_append_slice(to, name);
    str_append_char(to, '=');
    str_append_char(to, at == NULL ? '?' : at[7]);
    str_append_char(to, ' ');
}

/* "a=1 b=2 " of each, in the order of `want`. */
static void expect(const char *want)
{
    struct str first = {0};
    for (int i = 0; i < NODES; i++) {
        struct str names = {0}, dump = {0};
        scripts_each_library(nodes[i].t.scripts, add_names, &names);
        assert_int_equal(names.len, strlen(want));
        char *copy = mem_strdup(want), *rest = copy, *word;
        while ((word = strtok_r(rest, " ", &rest)) != NULL) {
            assert_non_null(memmem(names.ptr, names.len, word, strlen(word)));
        }
        mem_free(copy);
        scripts_dump(nodes[i].t.scripts, i == 0 ? &first : &dump);
        assert_true(i == 0 || slice_eq(str_slice(&first), str_slice(&dump)));
        str_fini(&names);
        str_fini(&dump);
    }
    str_fini(&first);
}

static void test_each_learns_what_it_missed(void **state)
{
    (void)state;
    begin();
    load(0, "a", "x", 1);
    load(1, "b", "y", 2);
    load(2, "c", "z", 3);
    meet();
    expect("a=1 b=2 c=3 ");
    assert_int_equal(tell(0, 1), 0);
    load(1, "a", "x", 4);
    assert_int_equal(tell(0, 1), LIBRARY_SET_AHEAD);
    assert_int_equal(tell(1, 0), LIBRARY_SET_TAKEN);
    meet();
    expect("a=4 b=2 c=3 ");
    end();
}

static void test_what_was_deleted_stays_so(void **state)
{
    (void)state;
    begin();
    load(0, "a", "x", 1);
    meet();
    clear(0);
    clear(1);
    meet(); /* with 2, which was away */
    expect("");
    load(2, "a", "x", 2);
    meet();
    expect("a=2 ");
    end();
}

static void test_of_two_at_once_the_later_one_counts(void **state)
{
    (void)state;
    begin();
    load(0, "a", "x", 1);
    load(1, "a", "x", 2);
    clear(2); /* of nothing: no change */
    meet();
    expect("a=2 ");
    /* In the same millisecond: all choose the same. */
    now_ms += 10;
    load(0, "a", "x", 3);
    now_ms--;
    load(1, "a", "x", 4);
    meet();
    end();
}

/* A clock that is behind does no harm to who has seen the other's change. */
static void test_a_change_counts_more_than_what_it_changes(void **state)
{
    (void)state;
    begin();
    now_ms = 1000000;
    load(0, "a", "x", 1);
    meet();
    now_ms = 5;
    load(1, "a", "x", 2);
    meet();
    expect("a=2 ");
    end();
}

static void test_functions_of_the_same_name(void **state)
{
    (void)state;
    begin();
    load(0, "a", "xy", 1);
    load(1, "b", "yz", 2);
    load(2, "c", "w", 3);
    meet();
    expect("b=2 c=3 "); /* the later one */
    load(0, "a", "x", 4);
    meet();
    expect("a=4 b=2 c=3 ");
    end();
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    begin();
    load(0, "a", "x", 1);
    struct str bytes = {0}, why = {0};
    library_set_write(nodes[0].set, nodes[0].t.scripts, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_equal(
            library_set_merge(nodes[1].set, nodes[1].t.scripts, slice_of(bytes.ptr, len), &why),
            LIBRARY_SET_BAD);
    }
    assert_true(library_set_is_empty(nodes[1].set));
    bytes.ptr[bytes.len - 3] = '('; /* the code is none now: deleted, as it goes with nothing */
    assert_int_equal(library_set_merge(nodes[1].set, nodes[1].t.scripts, str_slice(&bytes), &why),
                     LIBRARY_SET_TAKEN | LIBRARY_SET_AHEAD);
    assert_true(why.len > 0);
    str_fini(&bytes);
    str_fini(&why);
    meet();
    expect("");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_learns_what_it_missed),
        cmocka_unit_test(test_what_was_deleted_stays_so),
        cmocka_unit_test(test_of_two_at_once_the_later_one_counts),
        cmocka_unit_test(test_a_change_counts_more_than_what_it_changes),
        cmocka_unit_test(test_functions_of_the_same_name),
        cmocka_unit_test(test_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
