// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/listen.h"

#include "common/io/addr.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *l;
static struct errmsg err;
static int accepted;

static void on_accept(void *arg, int fd)
{
    (void)arg;
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    accepted++;
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    l = loop_new();
    accepted = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&l);
    return 0;
}

static int knock(const char *host, int port)
{
    struct addr a;
    assert_true(addr_parse(host, port, &a));
    int fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a.sa, a.len), 0);
    return fd;
}

static void accept_one(void)
{
    int before = accepted;
    while (accepted == before) {
        loop_turn(l, true);
    }
}

static void test_out_of_descriptors_it_waits_and_goes_on(void **state)
{
    (void)state;
    struct listener *lst = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, NULL, &err);
    assert_non_null(lst);
    int fd = knock("127.0.0.1", listener_port(lst));
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (listener_starved(lst) == 0) {
        loop_turn(l, true);
    }
    loop_turn(l, false); /* not tried again at once */
    assert_int_equal(listener_starved(lst), 1);
    assert_int_equal(accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    accept_one();
    close(fd);
    listener_free(&lst);
}

static void test_a_pause_keeps_them_waiting(void **state)
{
    (void)state;
    struct listener *lst = listener_new(l, "*", 0, 16, false, on_accept, NULL, &err);
    assert_non_null(lst);
    listener_pause(lst, true);
    int fd = knock("127.0.0.1", listener_port(lst));
    loop_turn(l, false);
    loop_turn(l, false);
    assert_int_equal(accepted, 0);
    listener_pause(lst, false);
    accept_one();
    close(fd);
    listener_free(&lst);
}

static void test_a_unix_socket_replaces_a_stale_one_but_no_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/shoal-listen-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/s", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_null(listener_new(l, path, 0, 16, false, on_accept, NULL, &err));
    assert_non_null(strstr(err.text, "bind: Address already in use"));
    assert_int_equal(unlink(path), 0);
    struct listener *one = listener_new(l, path, 0, 16, false, on_accept, NULL, &err);
    assert_non_null(one);
    struct listener *two = listener_new(l, path, 0, 16, false, on_accept, NULL, &err);
    assert_non_null(two);
    fd = knock(path, 0);
    accept_one();
    close(fd);
    listener_free(&two);
    listener_free(&one);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_out_of_descriptors_it_waits_and_goes_on),
        T(test_a_pause_keeps_them_waiting),
        T(test_a_unix_socket_replaces_a_stale_one_but_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
