// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/mailbox.h"

#include "common/base/mem.h"
#include "common/io/thread.h"

#include "tests/unit/unit.h"

#include <signal.h>
#include <string.h>

#define SENDERS 4
#define LETTERS 20000

struct letter {
    struct mail mail;
    int sender;
    int number;
};

struct office {
    struct loop *loop;
    struct mailbox *box;
    int next[SENDERS];
    int total;
    bool in_order;
};

struct sender {
    struct office *office;
    int id;
};

static void receive(void *arg, struct mail *m)
{
    struct office *o = arg;
    struct letter *x = container_of(m, struct letter, mail);
    o->in_order = o->in_order && x->number == o->next[x->sender] && m->kind == 7;
    o->next[x->sender]++;
    if (++o->total == SENDERS * LETTERS) {
        loop_stop(o->loop);
    }
    mem_free(x);
}

static void send_letter(struct office *o, int sender, int number)
{
    struct letter *x = mem_alloc(sizeof(*x));
    x->mail.kind = 7;
    x->sender = sender;
    x->number = number;
    mailbox_send(o->box, &x->mail);
}

static void send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++) {
        send_letter(s->office, s->id, i);
    }
}

static void test_mail_of_many_threads_arrives_in_each_ones_order(void **state)
{
    (void)state;
    struct office o = {.in_order = true};
    struct sender senders[SENDERS];
    struct thread threads[SENDERS];
    o.loop = loop_new();
    o.box = mailbox_new(o.loop, receive, &o);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.office = &o, .id = i};
        thread_start(&threads[i], "sender", send_all, &senders[i]);
    }
    loop_run(o.loop);
    for (int i = 0; i < SENDERS; i++) {
        thread_join(&threads[i]);
        assert_int_equal(o.next[i], LETTERS);
    }
    assert_true(o.in_order);
    mailbox_free(&o.box);
    loop_free(&o.loop);
}

static void test_mail_not_delivered_is_given_at_the_end(void **state)
{
    (void)state;
    struct office o = {.in_order = true};
    o.loop = loop_new();
    o.box = mailbox_new(o.loop, receive, &o);
    send_letter(&o, 0, 0);
    send_letter(&o, 0, 1);
    assert_int_equal(o.total, 0);
    mailbox_free(&o.box);
    assert_int_equal(o.total, 2);
    assert_true(o.in_order);
    loop_free(&o.loop);
}

static void look_at_mask(void *arg)
{
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    *(bool *)arg = sigismember(&now, SIGTERM) == 1 && sigismember(&now, SIGSEGV) == 0;
}

static void test_a_thread_takes_no_signals(void **state)
{
    (void)state;
    struct thread t;
    bool blocked = false;
    thread_start(&t, "a name longer than the system takes", look_at_mask, &blocked);
    thread_join(&t);
    assert_true(blocked);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    assert_int_equal(sigismember(&now, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mail_of_many_threads_arrives_in_each_ones_order),
        cmocka_unit_test(test_mail_not_delivered_is_given_at_the_end),
        cmocka_unit_test(test_a_thread_takes_no_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
