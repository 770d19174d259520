// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/obj.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct thing {
    uint32_t magic;
};

/* What a child process says on stderr before it ends by SIGABRT. */
static void expect_abort(void (*child)(void), const char *want)
{
    int fds[2];
    char text[512];
    size_t len = 0;
    int status;
    fflush(NULL);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* a sanitizer's or cmocka's handler would talk too */
        child();
        _exit(0);
    }
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], text + len, sizeof text - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    close(fds[0]);
    text[len] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, want));
}

static void break_condition(void)
{
    int one = 1;
    INVARIANT(one == 2);
}

static void use_freed_object(void)
{
    struct thing t = {.magic = 1};
    CHECK_OBJ(&t, 2);
}

static void test_a_broken_invariant_says_where_and_aborts(void **state)
{
    (void)state;
    expect_abort(break_condition, "break_condition: invariant broken: one == 2\n");
    expect_abort(use_freed_object, "use_freed_object: invariant broken: ");
}

static void test_a_kept_invariant_costs_nothing(void **state)
{
    (void)state;
    struct thing t = {.magic = 7};
    CHECK_OBJ(&t, 7);
    INVARIANT(t.magic == 7);
    assert_ptr_equal(container_of(&t.magic, struct thing, magic), &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broken_invariant_says_where_and_aborts),
        cmocka_unit_test(test_a_kept_invariant_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
