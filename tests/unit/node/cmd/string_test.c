// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/node/cmd/node_fixture.h"

static void test_set_get_del(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    EXPECT(&f, "get a", "$-1");
    EXPECT(&f, "set a 1", "+OK");
    EXPECT(&f, "get a", "$1 1");
    EXPECT(&f, "set a hello", "+OK");
    EXPECT(&f, "get a", "$5 hello");
    EXPECT(&f, "del a b", ":1");
    EXPECT(&f, "get a", "$-1");
    assert_int_equal(keyspace_keys(f.ks, 0), 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_get_del)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
