// SPDX-License-Identifier: BSD-3-Clause
/* Names looked up by a name server of the test's own, which answers when it is told to. */
#include "common/io/names.h"

#include "common/base/mem.h"
#include "common/io/listen.h"
#include "common/io/loop_priv.h"
#include "common/io/stream.h"
#include "common/io/thread.h"

#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open; /* else names that begin with "slow" wait */
    int asked;
    int inside;
    int inside_most;
    int threads_before;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* "...bad" is not known, all others are this machine. */
static int look_up(const char *host, struct addr *to)
{
    pthread_mutex_lock(&server.lock);
    server.asked++;
    server.inside++;
    server.inside_most = MAX(server.inside_most, server.inside);
    pthread_cond_broadcast(&server.changed);
    while (!server.open && strncmp(host, "slow", 4) == 0) {
        pthread_cond_wait(&server.changed, &server.lock);
    }
    server.inside--;
    pthread_mutex_unlock(&server.lock);
    if (strstr(host, "bad") != NULL) {
        return EAI_NONAME;
    }
    return addr_parse("127.0.0.1", 0, to) ? 0 : EAI_FAIL;
}

static void set_open(bool open)
{
    pthread_mutex_lock(&server.lock);
    server.open = open;
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.lock);
}

static void wait_until_inside(int n)
{
    pthread_mutex_lock(&server.lock);
    while (server.inside < n) {
        pthread_cond_wait(&server.changed, &server.lock);
    }
    pthread_mutex_unlock(&server.lock);
}

static int asked(void)
{
    pthread_mutex_lock(&server.lock);
    int n = server.asked;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static int inside_most(void)
{
    pthread_mutex_lock(&server.lock);
    int n = server.inside_most;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static int threads_now(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

struct asker {
    struct names_query q;
    struct loop *loop;
    int answers;
    int why;
    int port;
    char host[ADDR_TEXT];
    struct asker *ends; /* that one asks no more when this one is answered */
};

static void on_answer(struct names_query *q, int why, const struct addr *to)
{
    struct asker *a = container_of(q, struct asker, q);
    a->answers++;
    a->why = why;
    a->port = addr_port(to);
    addr_print_host(to, a->host, sizeof(a->host));
    if (a->ends != NULL) {
        names_unask(&a->ends->q);
    }
}

static enum names_answer ask(struct asker *a, struct loop *l, const char *host, int port)
{
    struct addr to = {.len = 0};
    *a = (struct asker){.loop = l, .why = 0};
    names_query_init(&a->q, on_answer);
    enum names_answer r = names_ask(l, &a->q, host, port, &to, &a->why);
    a->port = addr_port(&to);
    return r;
}

static void wait_for(struct asker *a)
{
    while (a->answers == 0) {
        loop_turn(a->loop, true);
    }
}

static int start(void **state)
{
    struct loop *l = loop_new();
    *state = l;
    pthread_mutex_lock(&server.lock);
    server.open = false;
    server.asked = 0;
    server.inside_most = 0;
    pthread_mutex_unlock(&server.lock);
    server.threads_before = threads_now();
    names_look_up_by(l, look_up);
    return 0;
}

static int stop(void **state)
{
    struct loop *l = *state;
    set_open(true);
    loop_free(&l);
    while (threads_now() > server.threads_before) { /* they end by themselves */
        (void)poll(NULL, 0, 1);
    }
    return 0;
}

static void test_numbers_and_paths_are_known_at_once(void **state)
{
    struct asker a;
    assert_int_equal(ask(&a, *state, "127.0.0.1", 7), NAMES_KNOWN);
    assert_int_equal(a.port, 7);
    assert_int_equal(ask(&a, *state, "::1", 8), NAMES_KNOWN);
    assert_int_equal(a.port, 8);
    assert_int_equal(ask(&a, *state, "/tmp/x.sock", 0), NAMES_KNOWN);
    assert_int_equal(ask(&a, *state, "name", 65536), NAMES_REFUSED);
    assert_int_equal(asked(), 0);
}

static void count_beat(struct loop_timer *t)
{
    ++*(int *)t->arg;
}

static void test_the_loop_goes_on_while_a_look_up_hangs(void **state)
{
    struct asker a;
    struct loop_timer beat;
    int beats = 0;
    loop_timer_init(&beat, *state, count_beat, &beats);
    assert_int_equal(ask(&a, *state, "slow", 6379), NAMES_LATER);
    wait_until_inside(1);
    loop_timer_start(&beat, 1, 1);
    while (beats < 10) {
        loop_turn(*state, true);
    }
    assert_int_equal(a.answers, 0);
    set_open(true);
    wait_for(&a);
    assert_int_equal(a.why, 0);
    assert_int_equal(a.port, 6379);
    assert_string_equal(a.host, "127.0.0.1");
    loop_timer_fini(&beat);
}

static void test_who_asks_for_the_same_gets_the_same(void **state)
{
    struct asker a, b, c;
    assert_int_equal(ask(&a, *state, "slow", 1), NAMES_LATER);
    wait_until_inside(1);
    assert_int_equal(ask(&b, *state, "slow", 2), NAMES_LATER);
    set_open(true);
    wait_for(&a);
    wait_for(&b);
    assert_int_equal(a.port, 1);
    assert_int_equal(b.port, 2);
    assert_int_equal(ask(&c, *state, "slow", 3), NAMES_KNOWN);
    assert_int_equal(c.port, 3);
    assert_int_equal(asked(), 1);
}

static void test_answers_grow_old(void **state)
{
    struct loop *l = *state;
    struct asker a;
    assert_int_equal(ask(&a, l, "good", 1), NAMES_LATER);
    wait_for(&a);
    l->now_us += (NAMES_LIFE_MS - 1) * 1000LL;
    assert_int_equal(ask(&a, l, "good", 1), NAMES_KNOWN);
    l->now_us += 1000;
    assert_int_equal(ask(&a, l, "good", 1), NAMES_LATER);
    wait_for(&a);
    assert_int_equal(asked(), 2);

    assert_int_equal(ask(&a, l, "bad", 1), NAMES_LATER);
    wait_for(&a);
    assert_int_equal(a.why, EAI_NONAME);
    assert_int_equal(ask(&a, l, "bad", 1), NAMES_REFUSED);
    assert_int_equal(a.why, EAI_NONAME);
    l->now_us += NAMES_LIFE_FAILED_MS * 1000LL;
    assert_int_equal(ask(&a, l, "bad", 1), NAMES_LATER);
    wait_for(&a);
}

static void test_who_went_gets_nothing(void **state)
{
    struct asker *gone = mem_zalloc(sizeof(*gone));
    struct asker a, told_off;
    assert_int_equal(ask(gone, *state, "slow", 1), NAMES_LATER);
    assert_int_equal(ask(&a, *state, "slow", 2), NAMES_LATER);
    assert_int_equal(ask(&told_off, *state, "slow", 3), NAMES_LATER);
    a.ends = &told_off;
    names_unask(&gone->q);
    names_unask(&gone->q);
    mem_free(gone);
    set_open(true);
    wait_for(&a);
    loop_turn(*state, false);
    assert_int_equal(told_off.answers, 0);
}

static void test_some_that_hang_do_not_keep_the_others(void **state)
{
    struct asker slow[NAMES_AT_ONCE], quick;
    char host[16];
    for (int i = 0; i < NAMES_AT_ONCE - 1; i++) {
        (void)snprintf(host, sizeof(host), "slow%d", i);
        assert_int_equal(ask(&slow[i], *state, host, 1), NAMES_LATER);
    }
    wait_until_inside(NAMES_AT_ONCE - 1);
    assert_int_equal(ask(&quick, *state, "quick", 1), NAMES_LATER);
    wait_for(&quick);

    assert_int_equal(ask(&slow[NAMES_AT_ONCE - 1], *state, "slow-too", 1), NAMES_LATER);
    wait_until_inside(NAMES_AT_ONCE);
    assert_int_equal(ask(&quick, *state, "quick-too", 1), NAMES_LATER);
    loop_turn(*state, false);
    assert_int_equal(asked(), NAMES_AT_ONCE + 1);
    set_open(true);
    wait_for(&quick);
    for (int i = 0; i < NAMES_AT_ONCE; i++) {
        wait_for(&slow[i]);
    }
    assert_int_equal(inside_most(), NAMES_AT_ONCE);
}

static void test_only_so_many_wait(void **state)
{
    struct asker *many = mem_zalloc(NAMES_MAX * sizeof(*many));
    struct asker one;
    char host[16];
    for (int i = 0; i < NAMES_MAX; i++) {
        (void)snprintf(host, sizeof(host), "slow%d", i);
        assert_int_equal(ask(&many[i], *state, host, i), NAMES_LATER);
    }
    assert_int_equal(ask(&one, *state, "more", 1), NAMES_REFUSED);
    assert_int_equal(one.why, EAI_AGAIN);
    assert_int_equal(ask(&one, *state, "slow0", 1), NAMES_LATER);
    set_open(true);
    for (int i = 0; i < NAMES_MAX; i++) {
        wait_for(&many[i]);
        assert_int_equal(many[i].port, i);
    }
    wait_for(&one);
    assert_int_equal(ask(&one, *state, "more", 1), NAMES_LATER); /* an old answer makes room */
    wait_for(&one);
    assert_int_equal(asked(), NAMES_MAX + 1);
    mem_free(many);
}

static void test_a_loop_ends_though_look_ups_hang(void **state)
{
    struct loop *l = loop_new();
    struct asker a, waits[NAMES_AT_ONCE];
    char host[16];
    (void)state;
    names_look_up_by(l, look_up);
    assert_int_equal(ask(&a, l, "slow", 1), NAMES_LATER);
    for (int i = 0; i < NAMES_AT_ONCE; i++) {
        (void)snprintf(host, sizeof(host), "slow%d", i);
        assert_int_equal(ask(&waits[i], l, host, 1), NAMES_LATER);
    }
    wait_until_inside(NAMES_AT_ONCE);
    loop_free(&l);
    assert_int_equal(a.answers, 0);
    set_open(true); /* stop() waits for the threads */
}

/* ---- streams ---- */

struct end {
    struct stream *stream;
    int connects;
    int err;
    size_t in;
};

static void on_close(struct stream *s, int err)
{
    struct end *e = s->owner;
    e->err = err;
}

static void on_connect(struct stream *s, int err)
{
    struct end *e = s->owner;
    e->connects++;
    e->err = err;
}

static void on_data(struct stream *s)
{
    struct end *e = s->owner;
    e->in += inbuf_unread(&s->in).len;
    inbuf_consume(&s->in, inbuf_unread(&s->in).len);
}

static struct end far;

static void on_accept(void *arg, int fd)
{
    far = (struct end){.in = 0};
    far.stream = stream_new(arg, fd, &far, on_data, on_close);
}

static void test_a_stream_finds_its_host_by_name(void **state)
{
    struct loop *l = *state;
    struct errmsg err;
    struct end e = {0};
    struct listener *lst = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, l, &err);
    assert_non_null(lst);
    e.stream =
        stream_connect(l, "slow", listener_port(lst), 20000, &e, on_connect, on_data, on_close);
    outbuf_append(&e.stream->out, "early", 5);
    stream_flush_later(e.stream);
    wait_until_inside(1);
    for (int i = 0; i < 3; i++) {
        loop_turn(l, false);
    }
    assert_int_equal(e.connects, 0);
    set_open(true);
    while (far.in < 5) {
        loop_turn(l, true);
    }
    assert_int_equal(e.connects, 1);
    assert_int_equal(e.err, 0);
    stream_free(&e.stream);
    stream_free(&far.stream);
    listener_free(&lst);
}

static int error_of(struct loop *l, const char *host, int64_t timeout_ms)
{
    struct end e = {0};
    e.stream = stream_connect(l, host, 1, timeout_ms, &e, on_connect, on_data, on_close);
    assert_int_equal(e.connects, 0);
    while (e.connects == 0) {
        loop_turn(l, true);
    }
    loop_turn(l, false);
    assert_int_equal(e.connects, 1);
    stream_free(&e.stream);
    return e.err;
}

static void test_a_stream_tells_why_it_did_not_find_its_host(void **state)
{
    struct loop *l = *state;
    struct end e = {0};
    assert_int_equal(error_of(l, "bad", 20000), EAI_NONAME);
    assert_int_equal(error_of(l, "bad", 20000), EAI_NONAME); /* known by now */
    assert_string_equal(addr_error(EAI_NONAME), gai_strerror(EAI_NONAME));
    assert_int_equal(error_of(l, "slow", 10), ETIMEDOUT);
    e.stream = stream_connect(l, "slow", 1, 20000, &e, on_connect, on_data, on_close);
    stream_fail(e.stream, ECONNABORTED);
    while (e.connects == 0) {
        loop_turn(l, true);
    }
    assert_int_equal(e.err, ECONNABORTED);
    stream_free(&e.stream);
    e.stream = stream_connect(l, "slow", 1, 20000, &e, on_connect, on_data, on_close);
    stream_abort(&e.stream);
    set_open(true);
    struct asker last;
    assert_int_equal(ask(&last, l, "slow", 1), NAMES_LATER);
    wait_for(&last);
    assert_int_equal(e.connects, 1);
}

#define RUN(test) cmocka_unit_test_setup_teardown(test, start, stop)

static void do_nothing(void *arg)
{
    (void)arg;
}

int main(void)
{
    struct thread first; /* a sanitizer starts one of its own with it: not to be counted later */
    thread_start(&first, "first", do_nothing, NULL);
    thread_join(&first);
    const struct CMUnitTest tests[] = {
        RUN(test_numbers_and_paths_are_known_at_once),
        RUN(test_the_loop_goes_on_while_a_look_up_hangs),
        RUN(test_who_asks_for_the_same_gets_the_same),
        RUN(test_answers_grow_old),
        RUN(test_who_went_gets_nothing),
        RUN(test_some_that_hang_do_not_keep_the_others),
        RUN(test_only_so_many_wait),
        RUN(test_a_loop_ends_though_look_ups_hang),
        RUN(test_a_stream_finds_its_host_by_name),
        RUN(test_a_stream_tells_why_it_did_not_find_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
