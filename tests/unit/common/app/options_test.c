// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/options.h"

#include "common/base/mem.h"

#include "tests/unit/common/app/sample.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct errmsg err;

static bool load(struct sample *v, const char *text)
{
    options_init(&sample_table, v);
    return options_load_text(&sample_table, v, slice_str(text), "a.conf", NULL, NULL, &err);
}

static void check_bad(const char *text, const char *message)
{
    struct sample v;
    assert_false(load(&v, text));
    assert_string_equal(err.text, message);
    options_fini(&sample_table, &v);
}

static void check_value(const char *text, const char *name, const char *printed)
{
    struct sample v;
    struct str got = {0};
    if (!load(&v, text)) {
        fail_msg("%s", err.text);
    }
    options_print(&sample_table, &v, options_find(&sample_table, slice_str(name)), &got);
    assert_string_equal(str_cstr(&got), printed);
    str_fini(&got);
    options_fini(&sample_table, &v);
}

static void test_a_file_sets_values_and_leaves_defaults(void **state)
{
    (void)state;
    struct sample v;
    assert_true(load(&v, "# a comment\n\n  PORT 7000\r\nmaxmemory 2gb\nloglevel Debug\n"
                         "delay 2s\ntimeout 30\npair 3 4\nrequirepass \"a b\\x21\"\n"));
    assert_int_equal(v.port, 7000);
    assert_int_equal(v.maxmemory, 2LL << 30);
    assert_int_equal(v.level, 0);
    assert_int_equal(v.delay_ms, 2000);
    assert_int_equal(v.timeout_ms, 30000);
    assert_int_equal(v.pair.two, 4);
    assert_string_equal(v.password, "a b!");
    assert_string_equal(v.bind, "127.0.0.1 ::1");
    assert_false(v.daemonize);
    assert_int_equal(v.effort, 1);
    options_fini(&sample_table, &v);
}

static void test_values_print_as_config_get_shows_them(void **state)
{
    (void)state;
    check_value("maxmemory 1k", "maxmemory", "1000");
    check_value("delay 2m", "DELAY", "120000");
    check_value("timeout 1500ms", "timeout", "1500ms");
    check_value("timeout 2s", "timeout", "2");
    check_value("bind a b   c", "bind", "a b c");
    check_value("bind ''", "bind", "");
    check_value("user a on\nuser b off", "user", "a on\nb off");
    check_value("words x\nwords y z", "words", "x y z");
    check_value("effort-old 7", "effort", "7");
    check_value("effort 7\neffort 8", "effort-old", "8");
    check_value("requirepass 'it\\'s \\n'", "requirepass", "it's \\n");
    check_value("requirepass \"\\t\\\"\\q\"", "requirepass", "\t\"q");
}

static void test_a_wrong_file_is_refused_with_line_and_reason(void **state)
{
    (void)state;
    check_bad("\n\nprot 1", "a.conf:3: directive 'prot': unknown directive");
    check_bad("port x", "a.conf:1: directive 'port': argument couldn't be parsed into an integer");
    check_bad("port 65536",
              "a.conf:1: directive 'port': argument must be between 0 and 65535 inclusive");
    check_bad("effort 0", "a.conf:1: directive 'effort': argument must be between 1 and 10 "
                          "inclusive");
    check_bad("timeout 101", "a.conf:1: directive 'timeout': argument must be between 0 and 100 "
                             "inclusive");
    check_bad("port", "a.conf:1: directive 'port': wrong number of arguments");
    check_bad("bind", "a.conf:1: directive 'bind': wrong number of arguments");
    check_bad("port 1 2", "a.conf:1: directive 'port': wrong number of arguments");
    check_bad("daemonize maybe", "a.conf:1: directive 'daemonize': argument must be 'yes' or 'no'");
    check_bad("maxmemory 1xb", "a.conf:1: directive 'maxmemory': argument must be a memory value");
    check_bad("maxmemory -1", "a.conf:1: directive 'maxmemory': argument must be a memory value");
    check_bad("loglevel loud", "a.conf:1: directive 'loglevel': argument(s) must be one of the "
                               "following: debug, notice, warning");
    check_bad("delay 5 s", "a.conf:1: directive 'delay': wrong number of arguments");
    check_bad("delay 5x",
              "a.conf:1: directive 'delay': argument couldn't be parsed into an integer");
    check_bad("delay 99999999999999d",
              "a.conf:1: directive 'delay': argument must be between 1 and 3600000 inclusive");
    check_bad("pair 1", "a.conf:1: directive 'pair': two numbers are needed");
    check_bad("requirepass \"x", "a.conf:1: unbalanced quotes");
    check_bad("requirepass \"x\"y", "a.conf:1: unbalanced quotes");
    check_bad("requirepass \"a\\x00b\"",
              "a.conf:1: directive 'requirepass': argument contains a NUL byte");
    check_bad("include other.conf", "a.conf:1: directive 'include': unknown directive");
}

static void test_a_refused_value_changes_nothing(void **state)
{
    (void)state;
    struct sample v;
    options_init(&sample_table, &v);
    const struct option *o = options_find(&sample_table, SLICE("effort"));
    assert_true(options_set(&sample_table, &v, o, SLICE("4"), &err));
    assert_false(options_set(&sample_table, &v, o, SLICE("40"), &err));
    assert_int_equal(v.effort, 4);
    o = options_find(&sample_table, SLICE("pair"));
    assert_false(options_set(&sample_table, &v, o, SLICE("9"), &err));
    assert_int_equal(v.pair.one, 1);
    options_fini(&sample_table, &v);
}

static bool take_extra(void *arg, const char *name, struct slice value, struct errmsg *e)
{
    if (strcmp(name, "node-zone") != 0) {
        errmsg_set(e, "not for us");
        return false;
    }
    str_append_slice(arg, value);
    return true;
}

static void test_unknown_names_go_to_extra(void **state)
{
    (void)state;
    struct sample v;
    struct str got = {0};
    options_init(&sample_table, &v);
    assert_true(
        options_load_text(&sample_table, &v, SLICE("node-zone a b"), "x", take_extra, &got, &err));
    assert_string_equal(str_cstr(&got), "a b");
    assert_false(
        options_load_text(&sample_table, &v, SLICE("other 1"), "x", take_extra, &got, &err));
    assert_string_equal(err.text, "x:1: directive 'other': not for us");
    str_fini(&got);
    options_fini(&sample_table, &v);
}

static void test_a_copy_is_its_own(void **state)
{
    (void)state;
    struct sample a;
    struct sample b;
    assert_true(load(&a, "bind one\nwords x y\npair 5 6"));
    options_copy(&sample_table, &b, &a);
    options_fini(&sample_table, &a);
    assert_string_equal(b.bind, "one");
    assert_string_equal(str_cstr(&b.words), "x y");
    assert_int_equal(b.pair.two, 6);
    options_fini(&sample_table, &b);
}

/* --- files --- */

static char folder[] = "/tmp/shoal-options-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/a.conf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void check_file(const char *want)
{
    static char got[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(got, want);
}

static void test_the_command_line_overrides_the_file(void **state)
{
    (void)state;
    struct sample v;
    char *conf = NULL;
    write_file("port 1\neffort 3\nuser x\n");
    char *argv[] = {(char[]){"prog"},     path,
                    (char[]){"--port"},   (char[]){"2"},
                    (char[]){"--bind"},   (char[]){"::1"},
                    (char[]){"10.0.0.1"}, (char[]){"--requirepass"},
                    (char[]){""},         (char[]){"--user"},
                    (char[]){"y"},        (char[]){"on"}};
    options_init(&sample_table, &v);
    if (!options_load(&sample_table, &v, ARRAY_LEN(argv), argv, NULL, NULL, &conf, NULL, &err)) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(v.port, 2);
    assert_int_equal(v.effort, 3);
    assert_string_equal(v.bind, "::1 10.0.0.1");
    assert_string_equal(v.users, "y on");
    assert_string_equal(conf, path);
    mem_free(conf);
    options_fini(&sample_table, &v);
}

static void check_bad_arguments(char *first, char *second, const char *message)
{
    struct sample v;
    char *conf = NULL;
    char *argv[] = {(char[]){"prog"}, first, second};
    options_init(&sample_table, &v);
    assert_false(options_load(&sample_table, &v, 3, argv, NULL, NULL, &conf, NULL, &err));
    assert_string_equal(err.text, message);
    assert_null(conf);
    options_fini(&sample_table, &v);
}

static void test_a_wrong_command_line_is_refused(void **state)
{
    (void)state;
    check_bad_arguments((char[]){"--prt"}, (char[]){"1"},
                        "command line: directive 'prt': unknown directive");
    check_bad_arguments((char[]){"--port"}, (char[]){"--effort"},
                        "command line: directive 'port': wrong number of arguments");
    check_bad_arguments((char[]){"/nowhere/at.all"}, (char[]){"--port"},
                        "can't open config file '/nowhere/at.all': No such file or directory");
    write_file("port x\n");
    char message[256];
    (void)snprintf(message, sizeof(message),
                   "%s:1: directive 'port': argument couldn't be parsed into an integer", path);
    check_bad_arguments(path, (char[]){"--port"}, message);
}

static void test_a_file_that_includes_itself_is_refused(void **state)
{
    (void)state;
    struct sample v;
    char text[128];
    (void)snprintf(text, sizeof(text), "port 5\ninclude %s/*.conf\n", folder);
    write_file(text);
    options_init(&sample_table, &v);
    assert_false(options_load_file(&sample_table, &v, path, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "too deeply"));
    (void)snprintf(text, sizeof(text), "include %s/*.none\nport 5\n", folder);
    write_file(text);
    assert_true(options_load_file(&sample_table, &v, path, NULL, NULL, &err));
    assert_int_equal(v.port, 5);
    options_fini(&sample_table, &v);
}

static void test_rewrite_keeps_comments_and_changes_what_changed(void **state)
{
    (void)state;
    struct sample v;
    write_file("# the port\n  port   7000\n\nmaxmemory 1mb\neffort 2\nuser a on\nuser b\n"
               "# end\nunknown thing\neffort 3");
    chmod(path, 0640);
    options_init(&sample_table, &v);
    assert_true(options_load_text(&sample_table, &v,
                                  SLICE("port 7000\nmaxmemory 2mb\neffort 3\n"
                                        "user c on\nuser d >x\nrequirepass \"a  b\"\n"
                                        "timeout 1500ms"),
                                  "x", NULL, NULL, &err));
    assert_true(options_rewrite(&sample_table, &v, path, &err));
    const char *want = "# the port\n  port   7000\n\nmaxmemory 2097152\neffort 2\n"
                       "user c on\nuser d >x\n# end\nunknown thing\neffort 3\n"
                       "\n# Generated by CONFIG REWRITE\ntimeout 1500ms\n"
                       "requirepass \"a  b\"\n";
    check_file(want);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(options_rewrite(&sample_table, &v, path, &err));
    check_file(want); /* doing it again changes nothing */
    options_fini(&sample_table, &v);
}

static void test_the_conf_text_loads_and_is_the_defaults(void **state)
{
    (void)state;
    struct str text = {0};
    options_conf_text(&sample_table, &text);
    assert_non_null(strstr(text.ptr, "# === Network\n"));
    assert_non_null(strstr(text.ptr, "\n#port 6379\n"));
    assert_non_null(strstr(text.ptr, "\n#requirepass \"\"\n"));
    assert_null(strstr(text.ptr, "secret-switch"));
    for (char *c = text.ptr; (c = strstr(c, "\n#")) != NULL; c++) {
        if (c[2] != ' ') {
            c[1] = ' ';
        }
    }
    struct sample v;
    struct sample fresh;
    options_init(&sample_table, &fresh);
    if (!load(&v, text.ptr)) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(v.delay_ms, fresh.delay_ms);
    assert_string_equal(v.bind, fresh.bind);
    options_fini(&sample_table, &v);
    options_fini(&sample_table, &fresh);
    str_clear(&text);
    options_help_text(&sample_table, &text);
    assert_non_null(strstr(text.ptr, "  --port <number>  (default: 6379)\n"));
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_sets_values_and_leaves_defaults),
        cmocka_unit_test(test_values_print_as_config_get_shows_them),
        cmocka_unit_test(test_a_wrong_file_is_refused_with_line_and_reason),
        cmocka_unit_test(test_a_refused_value_changes_nothing),
        cmocka_unit_test(test_unknown_names_go_to_extra),
        cmocka_unit_test(test_a_copy_is_its_own),
        cmocka_unit_test(test_the_command_line_overrides_the_file),
        cmocka_unit_test(test_a_wrong_command_line_is_refused),
        cmocka_unit_test(test_a_file_that_includes_itself_is_refused),
        cmocka_unit_test(test_rewrite_keeps_comments_and_changes_what_changed),
        cmocka_unit_test(test_the_conf_text_loads_and_is_the_defaults),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
