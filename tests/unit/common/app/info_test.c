// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/info.h"

#include "tests/unit/unit.h"

static void lines_a(void *arg, struct str *to)
{
    info_int(to, "a", *(int *)arg);
}

static void lines_b(void *arg, struct str *to)
{
    (void)arg;
    info_str(to, "b", "x");
}

static const struct info_section sections[] = {
    {"server", "Server", INFO_DEFAULT, lines_a},
    {"stats", "Stats", INFO_ALL, lines_b},
    {"modules", "Modules", INFO_EVERYTHING, lines_b},
    {"debug", "Debug", INFO_NAMED, lines_b},
};

static void check(const char *one, const char *two, const char *text)
{
    struct slice names[2];
    size_t count = 0;
    int seven = 7;
    struct str got = {0};
    if (one != NULL) {
        names[count++] = slice_str(one);
    }
    if (two != NULL) {
        names[count++] = slice_str(two);
    }
    info_text(sections, ARRAY_LEN(sections), names, count, &seven, &got);
    assert_string_equal(str_cstr(&got), text);
    str_fini(&got);
}

#define SERVER  "# Server\r\na:7\r\n"
#define STATS   "# Stats\r\nb:x\r\n"
#define MODULES "# Modules\r\nb:x\r\n"
#define DEBUG   "# Debug\r\nb:x\r\n"

static void test_the_sections_asked_for_come_once_in_order(void **state)
{
    (void)state;
    check(NULL, NULL, SERVER);
    check("default", NULL, SERVER);
    check("ALL", NULL, SERVER "\r\n" STATS);
    check("everything", NULL, SERVER "\r\n" STATS "\r\n" MODULES);
    check("stats", "server", SERVER "\r\n" STATS);
    check("Stats", "default", SERVER "\r\n" STATS);
    check("server", "all", SERVER "\r\n" STATS);
    check("debug", "sentinel", DEBUG);
    check("sentinel", NULL, "");
}

static void check_bytes(size_t n, const char *text)
{
    struct str got = {0};
    info_bytes(&got, "m", n);
    assert_string_equal(str_cstr(&got), text);
    str_fini(&got);
}

static void test_bytes_are_told_for_people_too(void **state)
{
    (void)state;
    check_bytes(0, "m:0\r\nm_human:0B\r\n");
    check_bytes(1023, "m:1023\r\nm_human:1023B\r\n");
    check_bytes(1536, "m:1536\r\nm_human:1.50K\r\n");
    check_bytes(5 << 20, "m:5242880\r\nm_human:5.00M\r\n");
    check_bytes((size_t)3 << 30, "m:3221225472\r\nm_human:3.00G\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sections_asked_for_come_once_in_order),
        cmocka_unit_test(test_bytes_are_told_for_people_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
