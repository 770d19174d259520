// SPDX-License-Identifier: BSD-3-Clause
/* Two nodes' links over real sockets. The listening side's server is played by this test. Waits are
 * for events, with a limit that only a failure reaches. */
#include "node/link/link.h"

#include "common/base/mem.h"
#include "common/io/listen.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define LIMIT_MS 20000
#define CLUSTER  "00000000000000000000000000000000000000c1"
#define SMALL    "0000000000000000000000000000000000000001"
#define LARGE    "0000000000000000000000000000000000000002"

struct world;

struct node {
    struct world *world;
    struct links *links;
    struct link *link; /* while up */
    int ups;
    int downs;
    int frames;
    int batches;
    size_t bytes;
    uint32_t sum;
    bool refuses_frames;
};

struct world {
    struct loop *loop;
    struct listener *listener;
    struct stream *greeting; /* accepted, has not said who it is */
    char heard[512];
    struct node a; /* the smaller id: connects */
    struct node b;
    const char *refuse; /* what the listening side says */
    int greetings;
    struct loop_timer limit;
    bool late;
};

static void up(void *arg, struct link *l)
{
    struct node *n = arg;
    assert_true(link_is_up(l));
    n->link = l;
    n->ups++;
}

static void down(void *arg, struct link *l)
{
    struct node *n = arg;
    assert_ptr_equal(n->link, l);
    n->link = NULL;
    n->downs++;
}

static bool frame(void *arg, struct link *l, struct slice bytes)
{
    struct node *n = arg;
    assert_ptr_equal(n->link, l);
    n->frames++;
    n->bytes += bytes.len;
    for (size_t i = 0; i < bytes.len; i++) {
        n->sum = n->sum * 31 + (unsigned char)bytes.ptr[i];
    }
    return !n->refuses_frames;
}

static void frames_done(void *arg, struct link *l)
{
    struct node *n = arg;
    (void)l;
    n->batches++;
}

static void drained(void *arg, struct link *l)
{
    (void)arg;
    (void)l;
}

/* --- the listening side's server --- */

static void on_greeting(struct stream *st)
{
    struct world *w = st->owner;
    struct slice in = inbuf_unread(&st->in);
    const char *end = "\r\n" CLUSTER "\r\n";
    assert_true(in.len < sizeof(w->heard));
    memcpy(w->heard, in.ptr, in.len);
    w->heard[in.len] = '\0';
    if (strstr(w->heard, end) == NULL) {
        return;
    }
    inbuf_consume(&st->in, in.len);
    w->greeting = NULL;
    w->greetings++;
    bool auth = strstr(w->heard, "AUTH") != NULL;
    const char *error = links_welcome(w->b.links, LINK_VERSION, SMALL, CLUSTER);
    error = w->refuse != NULL ? w->refuse : error;
    if (auth) {
        outbuf_append(&st->out, "+OK\r\n", 5);
    }
    if (error != NULL) {
        char text[128];
        int n = snprintf(text, sizeof(text), "-%s\r\n", error);
        outbuf_append(&st->out, text, (size_t)n);
        stream_close_after_flush(st);
        return;
    }
    outbuf_append(&st->out, ":9\r\n", 4);
    links_adopt(w->b.links, st, SMALL, 4);
}

static void on_close(struct stream *st, int err)
{
    struct world *w = st->owner;
    (void)err;
    if (w->greeting == st) {
        w->greeting = NULL;
    }
    stream_free(&st);
}

static void on_accept(void *arg, int fd)
{
    struct world *w = arg;
    w->greeting = stream_new(w->loop, fd, w, on_greeting, on_close);
}

static void on_limit(struct loop_timer *t)
{
    struct world *w = t->arg;
    w->late = true;
}

static struct links *make(struct node *n, const char *id, const char *password)
{
    struct links_settings s = {.incarnation = 3, .password = password};
    struct links_port port = {.arg = n,
                              .up = up,
                              .down = down,
                              .frame = frame,
                              .frames_done = frames_done,
                              .drained = drained};
    (void)snprintf(s.id, sizeof(s.id), "%s", id);
    (void)snprintf(s.cluster_id, sizeof(s.cluster_id), "%s", CLUSTER);
    return links_new(n->world->loop, &s, &port);
}

static void want(struct world *w)
{
    struct link_target b = {
        .id = LARGE, .host = "127.0.0.1", .port = listener_port(w->listener), .node = 7};
    struct link_target a = {.id = SMALL, .host = "127.0.0.1", .port = 1, .node = 9};
    links_want(w->a.links, &b, 1);
    links_want(w->b.links, &a, 1);
}

static void setup(struct world *w, const char *password)
{
    struct errmsg err;
    memset(w, 0, sizeof(*w));
    w->loop = loop_new();
    w->a.world = w;
    w->b.world = w;
    w->listener = listener_new(w->loop, "127.0.0.1", 0, 16, false, on_accept, w, &err);
    assert_non_null(w->listener);
    w->a.links = make(&w->a, SMALL, password);
    w->b.links = make(&w->b, LARGE, password);
    loop_timer_init(&w->limit, w->loop, on_limit, w);
    loop_timer_start(&w->limit, LIMIT_MS, 0);
}

static void teardown(struct world *w)
{
    links_free(&w->a.links);
    links_free(&w->b.links);
    stream_free(&w->greeting);
    listener_free(&w->listener);
    loop_timer_fini(&w->limit);
    loop_free(&w->loop);
}

#define WAIT_FOR(w, what)                                                                          \
    while (!(what)) {                                                                              \
        loop_turn((w)->loop, true);                                                                \
        assert_false((w)->late);                                                                   \
    }

static void say(struct link *l, size_t len)
{
    char *bytes = mem_alloc(len + 1);
    memset(bytes, 'x', len);
    outbuf_append(link_frame(l, len), bytes, len);
    mem_free(bytes);
}

static void test_the_smaller_id_connects_and_frames_go_both_ways(void **state)
{
    (void)state;
    struct world w;
    setup(&w, "secret");
    want(&w);
    WAIT_FOR(&w, w.a.ups == 1 && w.b.ups == 1);
    assert_non_null(strstr(w.heard, "secret"));
    assert_int_equal(link_node(w.a.link), 7);
    assert_int_equal(link_node(w.b.link), 9);
    assert_int_equal(link_incarnation(w.b.link), 4);
    assert_ptr_equal(links_find(w.a.links, 7), w.a.link);
    for (int i = 0; i < 10; i++) {
        say(w.a.link, (size_t)i * 3);
    }
    say(w.b.link, 5u << 20); /* over many reads */
    links_flush(w.a.links);
    WAIT_FOR(&w, w.b.frames == 10 && w.a.frames == 1);
    assert_int_equal(w.b.bytes, 135);
    assert_int_equal(w.b.batches, 1); /* one write, one read */
    assert_int_equal(w.a.bytes, 5u << 20);
    teardown(&w);
}

static void test_a_link_that_breaks_is_made_anew_as_another_session(void **state)
{
    (void)state;
    struct world w;
    setup(&w, "");
    want(&w);
    WAIT_FOR(&w, w.a.ups == 1 && w.b.ups == 1);
    say(w.a.link, 100);
    assert_null(strstr(w.heard, "AUTH"));
    char *secret = mem_strdup("secret");
    links_password(w.a.links, secret);
    mem_free(secret);
    link_cut(w.a.link, "a test");
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    assert_non_null(strstr(w.heard, "AUTH\r\n$6\r\nsecret\r\n"));
    assert_int_equal(w.a.downs, 1);
    assert_int_equal(w.b.downs, 1);
    links_want(w.b.links, NULL, 0);
    assert_int_equal(w.b.downs, 2);
    WAIT_FOR(&w, w.a.downs == 2);
    WAIT_FOR(&w, w.greetings >= 3); /* it tries again, and is not welcome */
    assert_int_equal(w.a.ups, 2);
    want(&w);
    WAIT_FOR(&w, w.a.ups == 3 && w.b.ups == 3);
    teardown(&w);
}

static void test_a_refused_one_tries_again(void **state)
{
    (void)state;
    struct world w;
    setup(&w, "");
    w.refuse = "TRYAGAIN later";
    want(&w);
    while (w.greetings < 3) {
        loop_turn(w.loop, true);
        assert_false(w.late);
    }
    w.refuse = NULL;
    WAIT_FOR(&w, w.a.ups == 1 && w.b.ups == 1);
    assert_int_equal(w.a.downs, 0);
    teardown(&w);
}

static void test_what_is_not_understood_cuts_the_link(void **state)
{
    (void)state;
    struct world w;
    setup(&w, "");
    want(&w);
    WAIT_FOR(&w, w.a.ups == 1 && w.b.ups == 1);
    w.b.refuses_frames = true;
    say(w.a.link, 1);
    say(w.a.link, 1);
    WAIT_FOR(&w, w.b.downs == 1);
    assert_int_equal(w.b.frames, 1); /* nothing behind it was looked at */
    w.b.refuses_frames = false;
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    /* A frame that claims to be longer than any. */
    struct outbuf *out = link_frame(w.a.link, 4);
    outbuf_append(out, "\0\0\0\0\377\377\377\377", 8);
    WAIT_FOR(&w, w.b.downs == 2);
    teardown(&w);
}

static void test_only_wanted_nodes_of_the_cluster_are_welcome(void **state)
{
    (void)state;
    struct world w;
    setup(&w, "");
    assert_non_null(links_welcome(w.b.links, LINK_VERSION, SMALL, CLUSTER));
    want(&w);
    assert_null(links_welcome(w.b.links, LINK_VERSION, SMALL, CLUSTER));
    assert_non_null(links_welcome(w.b.links, LINK_VERSION + 1, SMALL, CLUSTER));
    assert_non_null(links_welcome(w.b.links, LINK_VERSION, SMALL, SMALL));
    assert_non_null(links_welcome(w.b.links, LINK_VERSION, LARGE, CLUSTER));
    /* The smaller id connects, it is not connected to. */
    assert_non_null(links_welcome(w.a.links, LINK_VERSION, LARGE, CLUSTER));
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_smaller_id_connects_and_frames_go_both_ways),
        cmocka_unit_test(test_a_link_that_breaks_is_made_anew_as_another_session),
        cmocka_unit_test(test_a_refused_one_tries_again),
        cmocka_unit_test(test_what_is_not_understood_cuts_the_link),
        cmocka_unit_test(test_only_wanted_nodes_of_the_cluster_are_welcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
