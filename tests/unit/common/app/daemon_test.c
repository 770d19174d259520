// SPDX-License-Identifier: BSD-3-Clause
/* Log files, signals, pid file, systemd's notifications and the crash report. */
#include "common/app/daemon.h"

#include "common/app/crash.h"
#include "common/app/log_file.h"
#include "common/app/signals.h"
#include "common/app/version.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/shoal-daemon-XXXXXX";
static char path[64];
static char other[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/a", folder);
    (void)snprintf(other, sizeof(other), "%s/b", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(other);
    return rmdir(folder);
}

static const char *contents(const char *name)
{
    static char got[8192];
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
    fclose(f);
    return got;
}

static void test_a_log_line_has_pid_time_level_area_and_event(void **state)
{
    (void)state;
    struct errmsg err;
    char want[64];
    struct log_file *l = log_file_open(path, LOG_FILE_TEXT, &err);
    assert_non_null(l);
    log_event(LOG_WARNING, "area", "something happened n=%d", 5);
    const char *line = contents(path);
    (void)snprintf(want, sizeof(want), "%d:2", (int)getpid());
    assert_memory_equal(line, want, strlen(want));
    assert_string_equal(strchr(line, ' '), " warning area something happened n=5\n");
    assert_int_equal(rename(path, other), 0);
    log_event(LOG_WARNING, "area", "two");
    assert_true(log_file_reopen(l, &err));
    log_event(LOG_WARNING, "area", "three");
    assert_non_null(strstr(contents(other), "area two\n"));
    assert_null(strstr(contents(other), "three"));
    assert_string_equal(strchr(contents(path), ' '), " warning area three\n");
    log_file_close(&l);
    assert_null(log_file_open("/nowhere/at/all", LOG_FILE_TEXT, &err));
    assert_non_null(strstr(err.text, "No such file"));
    (void)unlink(path);
}

static void test_a_json_line_is_one_object(void **state)
{
    (void)state;
    struct errmsg err;
    static char big[1000];
    struct log_file *l = log_file_open(path, LOG_FILE_JSON, &err);
    assert_non_null(l);
    log_event(LOG_NOTICE, "area", "say \"hi\" \\ \n");
    const char *line = contents(path);
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_non_null(strstr(line,
                           "\"level\":\"notice\",\"area\":\"area\",\"event\":\"say \\\"hi\\\" "
                           "\\\\ ?\"}\n"));
    memset(big, '"', sizeof(big) - 1);
    log_event(LOG_NOTICE, "area", "%s", big);
    const char *second = strchr(contents(path), '\n') + 1;
    assert_string_equal(second + strlen(second) - 5, "\\\"\"}\n");
    log_file_close(&l);
    (void)unlink(path);
}

static int last_signal;

static void on_signal(void *arg, int signo)
{
    (void)arg;
    last_signal = signo;
}

static void test_signals_are_events(void **state)
{
    (void)state;
    signals_block();
    struct loop *l = loop_new();
    struct signals *s = signals_new(l, on_signal, NULL);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    while (last_signal == 0) {
        loop_turn(l, true);
    }
    assert_int_equal(last_signal, SIGHUP);
    signals_free(&s);
    loop_free(&l);
    signals_unblock();
}

static void test_systemd_is_told(void **state)
{
    (void)state;
    char got[64];
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    unsetenv("NOTIFY_SOCKET");
    daemon_notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
    setenv("NOTIFY_SOCKET", path, 1);
    daemon_notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof(got), 0), 7);
    assert_memory_equal(got, "READY=1", 7);
    setenv("NOTIFY_SOCKET", other, 1);
    daemon_notify("READY=1"); /* nobody there: no harm */
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    (void)unlink(path);
}

static void test_the_pidfile_holds_the_pid(void **state)
{
    (void)state;
    struct errmsg err;
    char want[32];
    assert_true(daemon_write_pidfile("", &err));
    assert_true(daemon_write_pidfile(path, &err));
    (void)snprintf(want, sizeof(want), "%d\n", (int)getpid());
    assert_string_equal(contents(path), want);
    daemon_remove_pidfile(path);
    assert_int_equal(access(path, F_OK), -1);
    assert_false(daemon_write_pidfile("/nowhere/at/all", &err));
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static void test_the_limit_of_files_is_raised(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(daemon_raise_files(32), 64);
    assert_int_equal(daemon_raise_files(100), 100);
}

/* In a child: what was lowered could not be raised again. */
static void test_there_are_no_more_clients_than_files(void **state)
{
    (void)state;
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit low = {.rlim_cur = 64, .rlim_max = 400};
        /* Who may raise the hard limit has as many as it wants. */
        bool ok = setrlimit(RLIMIT_NOFILE, &low) == 0 && (geteuid() != 0 || setuid(65534) == 0);
        ok = ok && daemon_clients_possible(10, 20) == 10 &&
             daemon_clients_possible(1000, 20) == 380 && daemon_clients_possible(1000, 1024) == 300;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#ifndef SHOAL_LIBC_MALLOC
static void test_a_crash_leaves_a_report_and_the_signal(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        crash_install("shoal-test");
        crash_set_fd(fd);
        crash_set_note("busy with a test");
        /* Behind a volatile, so that no compiler knows where it points. */
        volatile uintptr_t address = 16;
        volatile int *nowhere = (volatile int *)address;
        *nowhere = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    const char *report = contents(path);
    assert_non_null(strstr(report, "=== shoal-test " SHOAL_VERSION
                                   " ends by signal 11 (SEGV) at address 0x10, pid "));
    assert_non_null(strstr(report, "busy with a test\n"));
    assert_non_null(strstr(report, "daemon_test")); /* a frame */
    assert_non_null(strstr(report, "=== end of report\n"));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_line_has_pid_time_level_area_and_event),
        cmocka_unit_test(test_a_json_line_is_one_object),
        cmocka_unit_test(test_signals_are_events),
        cmocka_unit_test(test_systemd_is_told),
        cmocka_unit_test(test_the_pidfile_holds_the_pid),
        cmocka_unit_test(test_the_limit_of_files_is_raised),
        cmocka_unit_test(test_there_are_no_more_clients_than_files),
#ifndef SHOAL_LIBC_MALLOC
        cmocka_unit_test(test_a_crash_leaves_a_report_and_the_signal),
#endif
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
