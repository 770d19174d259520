// SPDX-License-Identifier: BSD-3-Clause
/* The supervisor with shell scripts as nodes: real processes, bounded waits for conditions. */
#include "proxy/local/local_nodes.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS 20000

struct fixture {
    struct loop *loop;
    struct loop_timer poll;
    char dir[64];
    char binary[128];
    struct local_nodes *nodes;
    bool (*until)(struct fixture *f);
    int64_t deadline_ms;
    bool met;
    bool done;
    int old_pid;
};

static void poll_condition(struct loop_timer *t)
{
    struct fixture *f = t->arg;
    f->met = f->until(f);
    if (f->met || loop_now_ms(f->loop) > f->deadline_ms) {
        loop_stop(f->loop);
    }
}

static void run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    f->met = false;
    loop_update_now(f->loop);
    f->deadline_ms = loop_now_ms(f->loop) + LIMIT_MS;
    loop_timer_start(&f->poll, 1, 5);
    loop_run(f->loop);
    loop_timer_stop(&f->poll);
    assert_true(f->met);
}

static void write_script(struct fixture *f, const char *body)
{
    snprintf(f->binary, sizeof(f->binary), "%s/node", f->dir);
    FILE *out = fopen(f->binary, "w");
    assert_non_null(out);
    fprintf(out, "#!/bin/sh\n%s\n", body);
    fclose(out);
    assert_int_equal(chmod(f->binary, 0755), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/shoal-local-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->loop = loop_new();
    loop_timer_init(&f->poll, f->loop, poll_condition, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    local_nodes_free(&f->nodes);
    loop_timer_fini(&f->poll);
    loop_free(&f->loop);
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c)
    free(f);
    return 0;
}

static void start(struct fixture *f, bool restart)
{
    static const char *const args[] = {"--maxmemory", "10mb"};
    struct local_nodes_settings s = {
        .count = 2,
        .dir = f->dir,
        .binary = f->binary,
        .coordinator = "127.0.0.1:1",
        .restart = restart,
        .restart_delay_ms = 1,
        .args = args,
        .n_args = 2,
    };
    struct errmsg err = {0};
    f->nodes = local_nodes_new(f->loop, &s, &err);
    if (f->nodes == NULL) {
        fail_msg("%s", err.text);
    }
}

/* What the first node has printed so far; NULL: nothing. Valid until the next call. */
static const char *first_log(const struct fixture *f)
{
    static char text[512];
    char path[128];
    snprintf(path, sizeof(path), "%s/node-1/node.log", f->dir);
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        return NULL;
    }
    size_t n = fread(text, 1, sizeof(text) - 1, in);
    fclose(in);
    text[n] = '\0';
    return n > 0 ? text : NULL;
}

static bool first_log_complete(struct fixture *f)
{
    const char *text = first_log(f);
    return text != NULL && strstr(text, "--maxmemory 10mb") != NULL &&
           strstr(text, "--coordinator 127.0.0.1:1") != NULL;
}

static void test_children_get_folder_log_and_arguments(void **state)
{
    struct fixture *f = *state;
    write_script(f, "echo \"$@\"; exec sleep 100");
    start(f, true);
    assert_int_equal(local_nodes_count(f->nodes), 2);
    assert_int_not_equal(local_nodes_port(f->nodes, 0), local_nodes_port(f->nodes, 1));
    run_until(f, first_log_complete);
}

static bool restarted(struct fixture *f)
{
    int pid = local_nodes_pid(f->nodes, 0);
    return pid != 0 && pid != f->old_pid;
}

static void test_killed_child_comes_back(void **state)
{
    struct fixture *f = *state;
    write_script(f, "exec sleep 100");
    start(f, true);
    f->old_pid = local_nodes_pid(f->nodes, 0);
    kill(f->old_pid, SIGKILL);
    run_until(f, restarted);
}

static bool first_down(struct fixture *f)
{
    return local_nodes_pid(f->nodes, 0) == 0;
}

static void test_without_restart_it_stays_down(void **state)
{
    struct fixture *f = *state;
    write_script(f, "exec sleep 100");
    start(f, false);
    kill(local_nodes_pid(f->nodes, 0), SIGKILL);
    run_until(f, first_down);
    assert_int_not_equal(local_nodes_pid(f->nodes, 1), 0);
}

static void set_done(void *arg)
{
    ((struct fixture *)arg)->done = true;
}

static bool is_done(struct fixture *f)
{
    return f->done;
}

static void test_stop_ends_all_even_the_deaf(void **state)
{
    struct fixture *f = *state;
    write_script(f, "trap '' TERM; echo \"$@\"; while :; do sleep 0.05; done");
    start(f, true);
    run_until(f, first_log_complete);
    local_nodes_stop(f->nodes, 200, set_done, f);
    run_until(f, is_done);
    assert_int_equal(local_nodes_pid(f->nodes, 0), 0);
    assert_int_equal(local_nodes_pid(f->nodes, 1), 0);
}

static bool second_password(struct fixture *f)
{
    const char *text = first_log(f);
    if (text == NULL) {
        return false;
    }
    assert_null(strstr(text, "--requirepass"));
    return strstr(text, "read requirepass new of -") != NULL;
}

/* Not among the arguments, which everybody can see; and each start gets what holds then. */
static void test_secrets_come_by_standard_input(void **state)
{
    struct fixture *f = *state;
    write_script(f, "read name value; echo \"read $name $value of $@\"; exec sleep 100");
    start(f, true);
    local_nodes_set_directives(f->nodes, "requirepass old\n");
    local_nodes_set_directives(f->nodes, "requirepass new\n");
    f->old_pid = local_nodes_pid(f->nodes, 0);
    kill(f->old_pid, SIGKILL);
    run_until(f, second_password);
}

static void test_refused_directives_are_told(void **state)
{
    struct fixture *f = *state;
    static const char *const args[] = {"--bogus", "1"};
    const struct local_nodes_settings s = {.binary = f->binary, .args = args, .n_args = 2};
    struct errmsg err = {0};
    write_script(f, "echo \"node: bad $@\" >&2; exit 1");
    assert_false(local_nodes_check(&s, &err));
    assert_string_equal(err.text, "local nodes: node: bad --check-conf --bogus 1");
    write_script(f, "exit 0");
    assert_true(local_nodes_check(&s, &err));
}

static void test_missing_program_is_told(void **state)
{
    struct fixture *f = *state;
    struct local_nodes_settings s = {
        .count = 1, .dir = f->dir, .binary = "/nonexistent/node", .coordinator = "127.0.0.1:1"};
    struct errmsg err = {0};
    assert_null(local_nodes_new(f->loop, &s, &err));
    assert_non_null(strstr(err.text, "/nonexistent/node"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_children_get_folder_log_and_arguments, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_killed_child_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_restart_it_stays_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_ends_all_even_the_deaf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets_come_by_standard_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_directives_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_program_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
