// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/loop.h"

#include "common/base/mem.h"

#include "tests/unit/unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

static struct loop *l;
static char trace[64];
static size_t traced;

static void note(char c)
{
    trace[traced++] = c;
    trace[traced] = '\0';
}

static int setup(void **state)
{
    (void)state;
    l = loop_new();
    traced = 0;
    trace[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&l);
    return 0;
}

struct letter {
    struct loop_task task;
    char c;
    struct letter *then;
};

static void on_task(struct loop_task *t)
{
    struct letter *x = container_of(t, struct letter, task);
    note(x->c);
    if (x->then != NULL) {
        loop_defer(l, &x->then->task);
        x->then = NULL;
    }
}

static void letter_init(struct letter *x, char c, struct letter *then)
{
    loop_task_init(&x->task, on_task);
    x->c = c;
    x->then = then;
}

static void test_deferred_work_runs_once_in_order_in_the_same_turn(void **state)
{
    (void)state;
    struct letter a, b, c;
    letter_init(&c, 'c', NULL);
    letter_init(&a, 'a', &c);
    letter_init(&b, 'b', NULL);
    loop_defer(l, &a.task);
    loop_defer(l, &b.task);
    loop_defer(l, &a.task);
    loop_turn(l, true); /* does not wait: there is work */
    assert_string_equal(trace, "abc");
    loop_defer(l, &a.task);
    loop_undefer(&a.task);
    loop_turn(l, false);
    assert_string_equal(trace, "abc");
    loop_defer(l, &b.task);
    loop_defer(l, &c.task);
    loop_defer_first(l, &c.task);
    loop_turn(l, false);
    assert_string_equal(trace, "abccb");
}

static void on_fd(struct loop_fd *f, int events)
{
    uint64_t n;
    assert_int_equal(events, LOOP_READ);
    assert_int_equal(read(f->fd, &n, sizeof(n)), sizeof(n));
    note('e');
    loop_defer(l, f->arg);
}

static void on_turn(void *arg)
{
    note(*(char *)arg);
}

static void test_a_turn_is_events_then_hooks_then_deferred(void **state)
{
    (void)state;
    struct letter d;
    letter_init(&d, 'd', NULL);
    struct loop_fd f = {0};
    int fd = eventfd(1, EFD_NONBLOCK);
    char one = '1';
    char two = '2';
    loop_fd_start(&f, l, fd, LOOP_READ, on_fd, &d.task);
    loop_on_turn(l, on_turn, &one);
    loop_on_turn(l, on_turn, &two);
    loop_turn(l, true);
    assert_string_equal(trace, "e12d");
    loop_off_turn(l, on_turn, &one);
    loop_turn(l, false);
    assert_string_equal(trace, "e12d2");
    assert_int_equal(loop_turns(l), 2);
    loop_fd_stop(&f);
    close(fd);
}

static void on_timer(struct loop_timer *t)
{
    note(*(char *)t->arg);
    if (traced == 4) {
        loop_timer_stop(t);
        loop_stop(t->loop);
    }
}

static void test_timers_fire_in_order_and_repeat(void **state)
{
    (void)state;
    struct loop_timer a, b, never;
    char ca = 'a';
    char cb = 'b';
    char cn = 'n';
    loop_timer_init(&a, l, on_timer, &ca);
    loop_timer_init(&b, l, on_timer, &cb);
    loop_timer_init(&never, l, on_timer, &cn);
    loop_timer_start(&never, 1, 0);
    loop_timer_stop(&never);
    assert_false(loop_timer_active(&never));
    loop_timer_start(&b, 30, 1);
    loop_timer_start(&a, 1, 0);
    assert_true(loop_timer_active(&a));
    int64_t start = loop_now_us(l);
    loop_run(l);
    assert_string_equal(trace, "abbb");
    assert_false(loop_timer_active(&a));
    assert_true(loop_now_us(l) - start >= 30 * 1000);
    loop_timer_fini(&a);
    loop_timer_fini(&b);
    loop_timer_fini(&never);
}

static void free_owner(struct loop_timer *t)
{
    struct loop_timer *owner = t->arg;
    loop_timer_fini(t);
    mem_free(owner);
    note('f');
}

static void test_a_timer_may_free_its_owner(void **state)
{
    (void)state;
    struct loop_timer *t = mem_alloc(sizeof(*t));
    loop_timer_init(t, l, free_owner, t);
    loop_timer_start(t, 0, 5);
    while (traced == 0) {
        loop_turn(l, true);
    }
    loop_turn(l, false);
    assert_string_equal(trace, "f");
}

static void test_clocks_stand_still_within_a_turn(void **state)
{
    (void)state;
    int64_t before = loop_now_us(l);
    assert_int_equal(loop_now_us(l), before);
    loop_turn(l, false);
    assert_true(loop_now_us(l) >= before);
    int64_t then = loop_now_us(l);
    loop_update_now(l);
    assert_true(loop_now_us(l) >= then);
    assert_true(loop_wall_ms(l) > 1600000000000);
    assert_int_equal(loop_now_ms(l), loop_now_us(l) / 1000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_deferred_work_runs_once_in_order_in_the_same_turn),
        T(test_a_turn_is_events_then_hooks_then_deferred),
        T(test_timers_fire_in_order_and_repeat),
        T(test_a_timer_may_free_its_owner),
        T(test_clocks_stand_still_within_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
