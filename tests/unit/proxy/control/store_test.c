// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/store.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void in_dir(char *path, size_t size, const char *dir, const char *name)
{
    (void)snprintf(path, size, "%s/%s", dir, name);
}

static int make_dir(void **state)
{
    char *dir = mem_strdup("/tmp/shoal-store-XXXXXX");
    *state = mkdtemp(dir);
    return *state == NULL;
}

static int remove_dir(void **state)
{
    char path[256];
    const char *const names[] = {"coordinator.db", "coordinator.db-wal", "coordinator.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        in_dir(path, sizeof(path), *state, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(*state);
    mem_free(*state);
    return 0;
}

static struct store *open_store(void **state)
{
    struct errmsg err = {{0}};
    struct store *s = store_sqlite_open(*state, &err);
    if (s == NULL) {
        fail_msg("%s", err.text);
    }
    return s;
}

static uint64_t read_number(struct store *s, uint64_t *revision)
{
    struct str value = {0};
    struct errmsg err;
    assert_true(store_get(s, "k", &value, revision, &err));
    uint64_t number = strtoull(str_cstr(&value), NULL, 10);
    str_fini(&value);
    return number;
}

static void test_a_record_is_there_with_its_revision_after_opening_again(void **state)
{
    struct store *s = open_store(state);
    struct errmsg err;
    struct str value = {0};
    uint64_t revision = 9;
    assert_true(store_get(s, "k", &value, &revision, &err));
    assert_int_equal(revision, 0);
    assert_int_equal(store_put(s, "k", 0, slice_of("a\0b", 3), &err), STORE_OK);
    assert_int_equal(store_put(s, "k", 1, slice_of("cd", 2), &err), STORE_OK);
    assert_int_equal(store_put(s, "other", 0, slice_of("", 0), &err), STORE_OK);
    store_free(&s);
    s = open_store(state);
    assert_true(store_get(s, "k", &value, &revision, &err));
    assert_int_equal(revision, 2);
    assert_string_equal(str_cstr(&value), "cd");
    str_fini(&value);
    store_free(&s);
}

static void test_a_put_on_another_revision_changes_nothing(void **state)
{
    struct store *s = open_store(state);
    struct errmsg err;
    uint64_t revision;
    assert_int_equal(store_put(s, "k", 3, SLICE("1"), &err), STORE_CONFLICT);
    assert_int_equal(store_put(s, "k", 0, SLICE("1"), &err), STORE_OK);
    assert_int_equal(store_put(s, "k", 0, SLICE("2"), &err), STORE_CONFLICT);
    assert_int_equal(store_put(s, "k", 2, SLICE("2"), &err), STORE_CONFLICT);
    assert_int_equal(read_number(s, &revision), 1);
    assert_int_equal(revision, 1);
    assert_int_equal(store_put(s, "k", 1, SLICE("2"), &err), STORE_OK);
    assert_int_equal(read_number(s, &revision), 2);
    store_free(&s);
}

static void note_change(void *arg, const char *key, uint64_t revision)
{
    assert_string_equal(key, "k");
    *(uint64_t *)arg = revision;
}

static void test_a_watcher_hears_of_changes(void **state)
{
    struct store *s = open_store(state);
    struct errmsg err;
    uint64_t heard = 0;
    store_watch(s, note_change, &heard);
    assert_int_equal(store_put(s, "k", 0, SLICE("1"), &err), STORE_OK);
    assert_int_equal(store_put(s, "k", 0, SLICE("x"), &err), STORE_CONFLICT);
    store_poll(s);
    assert_int_equal(heard, 1);
    heard = 0;
    store_poll(s);
    assert_int_equal(heard, 0);
    store_watch(s, NULL, NULL);
    assert_int_equal(store_put(s, "k", 1, SLICE("2"), &err), STORE_OK);
    store_poll(s);
    assert_int_equal(heard, 0);
    store_free(&s);
}

/* Writes numbers and tells through the pipe which ones are durable, until it is killed. */
static void write_until_killed(const char *dir, int fd)
{
    struct errmsg err;
    struct store *s = store_sqlite_open(dir, &err);
    if (s == NULL) {
        _exit(1);
    }
    uint64_t revision;
    struct str old = {0};
    if (!store_get(s, "k", &old, &revision, &err)) {
        _exit(2);
    }
    uint64_t number = strtoull(str_cstr(&old), NULL, 10);
    for (;;) {
        char text[2048]; /* more than a page now and then */
        memset(text, ' ', sizeof(text));
        number++;
        int len = snprintf(text, 32, "%llu", (unsigned long long)number);
        text[len] = ' ';
        if (store_put(s, "k", revision, slice_of(text, sizeof(text)), &err) != STORE_OK) {
            _exit(3);
        }
        revision++;
        if (write(fd, &number, sizeof(number)) != (ssize_t)sizeof(number)) {
            _exit(4);
        }
    }
}

static void test_kill_at_any_moment_loses_nothing_that_was_put(void **state)
{
    uint64_t said = 0;
    for (int round = 0; round < 12; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)close(fds[0]);
            write_until_killed(*state, fds[1]);
        }
        (void)close(fds[1]);
        uint64_t number;
        for (int i = 0; i < 5 + round * 7; i++) { /* so many are acted on, then it dies somewhere */
            assert_int_equal(read(fds[0], &number, sizeof(number)), (ssize_t)sizeof(number));
            said = number;
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        while (read(fds[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
            said = number;
        }
        (void)close(fds[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        struct store *s = open_store(state);
        uint64_t revision;
        uint64_t there = read_number(s, &revision);
        assert_in_range(there, said, said + 1); /* one more may have been on its way */
        assert_int_equal(revision, there);
        said = there;
        store_free(&s);
    }
}

static void test_a_second_process_is_told_that_it_is_in_use(void **state)
{
    struct store *s = open_store(state);
    struct errmsg err = {{0}};
    assert_int_equal(store_put(s, "k", 0, SLICE("1"), &err), STORE_OK);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *second = store_sqlite_open(*state, &err);
        _exit(second == NULL && strstr(err.text, "in use by another process") != NULL ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    store_free(&s);
}

static void test_a_damaged_file_is_a_clear_error(void **state)
{
    struct store *s = open_store(state);
    struct errmsg err = {{0}};
    char big[20000];
    memset(big, 'x', sizeof(big));
    assert_int_equal(store_put(s, "k", 0, slice_of(big, sizeof(big)), &err), STORE_OK);
    store_free(&s);
    char path[256];
    in_dir(path, sizeof(path), *state, "coordinator.db");
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "garbage garbage garbage", 23, 0), 23);
    (void)close(fd);
    assert_null(store_sqlite_open(*state, &err));
    assert_non_null(strstr(err.text, "is damaged"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0); /* and it is still there to be looked at */
}

static void test_a_directory_that_cannot_be_made_is_an_error(void **state)
{
    (void)state;
    struct errmsg err = {{0}};
    assert_null(store_sqlite_open("/proc/nowhere/store", &err));
    assert_true(strlen(err.text) > 0);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_a_record_is_there_with_its_revision_after_opening_again),
        IN_DIR(test_a_put_on_another_revision_changes_nothing),
        IN_DIR(test_a_watcher_hears_of_changes),
        IN_DIR(test_kill_at_any_moment_loses_nothing_that_was_put),
        IN_DIR(test_a_second_process_is_told_that_it_is_in_use),
        IN_DIR(test_a_damaged_file_is_a_clear_error),
        cmocka_unit_test(test_a_directory_that_cannot_be_made_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
