// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/identity.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef01234567"
#define OTHER "ffffffffffffffffffffffffffffffffffffffff"

static void test_only_a_whole_and_sane_file_is_an_identity(void **state)
{
    (void)state;
    struct identity me;
    assert_true(identity_parse("id " ID "\nincarnation 7\n", &me));
    assert_string_equal(me.id, ID);
    assert_int_equal(me.incarnation, 7);
    assert_false(identity_parse("", &me));
    assert_false(identity_parse("id " ID, &me));
    assert_false(identity_parse("id " ID "\nincarnation x\n", &me));
    assert_false(identity_parse("id " ID "0\nincarnation 7\n", &me));
    assert_false(identity_parse("id abc\nincarnation 7\n", &me));
    assert_false(
        identity_parse("id 0123456789ABCDEF0123456789abcdef01234567\nincarnation 7\n", &me));
    assert_false(identity_parse("id " ID "\nincarnation 7\nmore", &me));
}

static void clean(const char *dir)
{
    static const char *const files[] = {"shoal-node.id", "shoal-node.lock", "shoal-node.id.new"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static void test_the_id_stays_and_each_start_counts(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-identity-XXXXXX";
    struct identity me;
    struct errmsg err;
    assert_non_null(mkdtemp(dir));
    assert_true(identity_load(&me, dir, ID, &err));
    assert_string_equal(me.id, ID);
    assert_int_equal(me.incarnation, 1);
    identity_release(&me);
    assert_true(identity_load(&me, dir, OTHER, &err));
    assert_string_equal(me.id, ID);
    assert_int_equal(me.incarnation, 2);
    identity_release(&me);
    clean(dir);
}

static void test_a_directory_has_one_node(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-identity-XXXXXX";
    struct identity me, second;
    struct errmsg err;
    assert_non_null(mkdtemp(dir));
    assert_true(identity_load(&me, dir, ID, &err));
    assert_false(identity_load(&second, dir, OTHER, &err));
    assert_non_null(strstr(err.text, "another shoal-node"));
    identity_release(&me);
    assert_true(identity_load(&second, dir, OTHER, &err));
    identity_release(&second);
    clean(dir);
}

static void test_a_damaged_file_is_not_replaced(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-identity-XXXXXX";
    char path[128];
    struct identity me;
    struct errmsg err;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/shoal-node.id", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("id half", f);
    fclose(f);
    assert_false(identity_load(&me, dir, ID, &err));
    assert_non_null(strstr(err.text, "not a node's identity"));
    assert_true(access(path, F_OK) == 0);
    clean(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_whole_and_sane_file_is_an_identity),
        cmocka_unit_test(test_the_id_stays_and_each_start_counts),
        cmocka_unit_test(test_a_directory_has_one_node),
        cmocka_unit_test(test_a_damaged_file_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
