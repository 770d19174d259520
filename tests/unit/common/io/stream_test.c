// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/stream.h"

#include "common/base/mem.h"
#include "common/io/addr.h"
#include "common/io/listen.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* One end is a stream, the other a plain descriptor that the test reads and writes. */
struct end {
    struct loop *loop;
    struct stream *stream;
    int fd;
    size_t consume_max; /* per on_data */
    size_t message;     /* on_data consumes whole messages of this size only; 0: all */
    bool echo;
    bool hold;     /* keep references to all that came */
    bool free_it;  /* in the callback */
    bool close_it; /* close_after_flush in on_data */
    bool pause_it;
    size_t in; /* bytes consumed */
    uint32_t sum;
    int data_calls;
    int closes;
    int close_err;
    int drained;
    int eofs;
    int connects;
    struct chunk *held[256];
    struct slice held_bytes[256];
    size_t held_count;
};

static uint32_t sum_of(uint32_t sum, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        sum = sum * 31 + (unsigned char)s.ptr[i];
    }
    return sum;
}

static void on_data(struct stream *s)
{
    struct end *e = s->owner;
    e->data_calls++;
    struct slice in = inbuf_unread(&s->in);
    size_t take = in.len;
    if (e->message > 0) {
        take = in.len / e->message * e->message;
        s->want = take == in.len ? 0 : e->message - (in.len - take);
    }
    if (e->consume_max > 0) {
        take = MIN(take, e->consume_max);
    }
    struct slice taken = slice_of(in.ptr, take);
    e->sum = sum_of(e->sum, taken);
    e->in += take;
    if (e->echo) {
        outbuf_append_from(&s->out, s->in.chunk, taken.ptr, taken.len);
        stream_flush_later(s);
    }
    if (e->hold && take > 0 && e->held_count < ARRAY_LEN(e->held)) {
        e->held_bytes[e->held_count] = taken;
        e->held[e->held_count++] = chunk_ref(s->in.chunk);
    }
    inbuf_consume(&s->in, take);
    if (e->pause_it) {
        stream_pause(s);
    }
    if (e->close_it) {
        stream_close_after_flush(s);
    }
    if (e->free_it) {
        stream_free(&e->stream);
    }
}

static void on_close(struct stream *s, int err)
{
    struct end *e = s->owner;
    e->closes++;
    e->close_err = err;
    stream_free(&e->stream);
}

static void on_drained(struct stream *s)
{
    ((struct end *)s->owner)->drained++;
}

static void on_eof(struct stream *s)
{
    ((struct end *)s->owner)->eofs++;
}

static void end_init(struct end *e)
{
    int fds[2];
    memset(e, 0, sizeof(*e));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    e->loop = loop_new();
    e->stream = stream_new(e->loop, fds[0], e, on_data, on_close);
    e->fd = fds[1];
}

static void end_fini(struct end *e)
{
    for (size_t i = 0; i < e->held_count; i++) {
        chunk_unref(&e->held[i]);
    }
    stream_free(&e->stream);
    if (e->fd >= 0) {
        close(e->fd);
    }
    loop_free(&e->loop);
}

static void turns(struct end *e, int n)
{
    for (int i = 0; i < n; i++) {
        loop_turn(e->loop, false);
    }
}

static void put(struct end *e, const char *text)
{
    assert_int_equal(write(e->fd, text, strlen(text)), strlen(text));
}

static void expect(struct end *e, const char *text)
{
    char got[256];
    ssize_t n = read(e->fd, got, sizeof(got));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void fill(char *to, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (char)(seed >> 24);
    }
}

/* Sends `len` bytes through the plain end in steps, turning the loop; reads back what comes. */
static uint32_t push(struct end *e, size_t len, uint32_t *back_sum, size_t *back_len)
{
    char *bytes = mem_alloc(len + 1);
    static char back[128 * 1024];
    fill(bytes, len, 7);
    size_t sent = 0;
    size_t idle = 0;
    while (idle < 4) {
        idle++;
        ssize_t n = sent < len ? write(e->fd, bytes + sent, len - sent) : 0;
        if (n > 0) {
            sent += (size_t)n;
            idle = 0;
        }
        loop_turn(e->loop, false);
        n = read(e->fd, back, sizeof(back));
        if (n > 0) {
            *back_sum = sum_of(*back_sum, slice_of(back, (size_t)n));
            *back_len += (size_t)n;
            idle = 0;
        }
    }
    uint32_t sum = sum_of(0, slice_of(bytes, sent));
    mem_free(bytes);
    return sum;
}

static void test_bytes_come_and_answers_go_in_one_write(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.echo = true;
    e.stream->on_drained = on_drained;
    put(&e, "abc");
    put(&e, "def");
    turns(&e, 1);
    expect(&e, "abcdef");
    assert_int_equal(e.stream->reads, 1);
    assert_int_equal(e.stream->writes, 1);
    assert_int_equal(e.stream->bytes_in, 6);
    assert_int_equal(e.stream->bytes_out, 6);
    assert_int_equal(e.drained, 1);
    assert_int_equal(stream_in_memory(e.stream), 0);
    end_fini(&e);
}

static void test_an_unfinished_message_stays_and_is_completed(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.echo = true;
    e.message = 4;
    put(&e, "abcdef");
    turns(&e, 1);
    expect(&e, "abcd");
    assert_true(stream_in_memory(e.stream) > 0);
    assert_true(stream_in_memory(e.stream) < 256);
    put(&e, "gh");
    turns(&e, 1);
    expect(&e, "efgh");
    assert_int_equal(stream_in_memory(e.stream), 0);
    end_fini(&e);
}

static void check_echo(size_t total, size_t message)
{
    struct end e;
    end_init(&e);
    e.echo = true;
    e.message = message;
    uint32_t back = 0;
    size_t back_len = 0;
    uint32_t sum = push(&e, total, &back, &back_len);
    assert_int_equal(e.in, total);
    assert_int_equal(back_len, total);
    assert_int_equal(e.sum, sum);
    assert_int_equal(back, sum);
    end_fini(&e);
}

static void test_big_transfers_arrive_whole(void **state)
{
    (void)state;
    check_echo(3 * 1000 * 1000, 0);
    check_echo(300 * 1000, 100);
    check_echo(3 * 1000 * 1000, 1000);
    check_echo(4 * 1000 * 1000, 40 * 1000);
    check_echo(12 * 1000 * 1000, 400 * 1000);
    check_echo(10 * 1000 * 1000, 10 * 1000 * 1000);
}

static void test_memory_grows_by_what_came_not_by_what_was_claimed(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.message = 500 * 1000 * 1000;
    uint32_t back = 0;
    size_t back_len = 0;
    (void)push(&e, 2 * 1000 * 1000, &back, &back_len);
    assert_int_equal(e.in, 0);
    assert_int_equal(inbuf_unread(&e.stream->in).len, 2 * 1000 * 1000);
    assert_true(stream_in_memory(e.stream) < 9 * 1000 * 1000);
    end_fini(&e);
}

static void test_references_outlive_on_data(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.hold = true;
    e.message = 700;
    uint32_t back = 0;
    size_t back_len = 0;
    uint32_t sum = push(&e, 700 * 3000, &back, &back_len);
    assert_int_equal(e.sum, sum);
    assert_true(e.held_count > 4);
    uint32_t held = 0;
    for (size_t i = 0; i < e.held_count; i++) {
        held = sum_of(held, e.held_bytes[i]);
    }
    assert_int_equal(held, sum);
    end_fini(&e);
}

static void test_many_streams_share_the_scratch(void **state)
{
    (void)state;
    struct end e[20];
    struct loop *loop = loop_new();
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        end_init(&e[i]);
        int fd = dup(e[i].stream->fd);
        stream_free(&e[i].stream);
        e[i].stream = stream_new(loop, fd, &e[i], on_data, on_close);
        e[i].hold = true;
    }
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < ARRAY_LEN(e); i++) {
            char text[32];
            (void)snprintf(text, sizeof(text), "stream %zu round %d", i, round);
            put(&e[i], text);
        }
        loop_turn(loop, true);
    }
    struct chunk *one = e[0].held[0];
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        assert_int_equal(e[i].held_count, 10);
        for (int round = 0; round < 10; round++) {
            char text[32];
            (void)snprintf(text, sizeof(text), "stream %zu round %d", i, round);
            assert_true(slice_eq(e[i].held_bytes[round], slice_str(text)));
            assert_ptr_equal(e[i].held[round], one); /* small requests do not pin a chunk each */
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        end_fini(&e[i]);
    }
    loop_free(&loop);
}

static void test_a_full_socket_is_written_later(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.stream->on_drained = on_drained;
    size_t len = 5 * 1000 * 1000;
    struct chunk *c = chunk_new(len);
    fill(c->data, len, 9);
    c->len = len;
    uint32_t sum = sum_of(0, slice_of(c->data, len));
    outbuf_append_ref(&e.stream->out, c, c->data, len);
    chunk_unref(&c);
    stream_flush_later(e.stream);
    turns(&e, 3);
    assert_true(e.stream->out.bytes > 0);
    assert_int_equal(e.drained, 0);
    uint64_t writes = e.stream->writes;
    turns(&e, 5); /* full: nobody tries */
    stream_flush_later(e.stream);
    turns(&e, 5);
    assert_int_equal(e.stream->writes, writes);
    uint32_t back = 0;
    size_t back_len = 0;
    (void)push(&e, 1, &back, &back_len);
    assert_int_equal(back_len, len);
    assert_int_equal(back, sum);
    assert_int_equal(e.drained, 1);
    end_fini(&e);
}

static void test_a_paused_stream_is_not_read(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    stream_pause(e.stream);
    assert_true(stream_paused(e.stream));
    put(&e, "abc");
    turns(&e, 4);
    assert_int_equal(e.data_calls, 0);
    stream_resume(e.stream);
    turns(&e, 2);
    assert_int_equal(e.data_calls, 1);
    assert_int_equal(e.in, 3);
    end_fini(&e);
}

static void test_resuming_gives_what_was_unread(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.echo = true;
    e.consume_max = 2;
    e.pause_it = true;
    put(&e, "abcde");
    turns(&e, 4);
    expect(&e, "ab");
    assert_int_equal(inbuf_unread(&e.stream->in).len, 3);
    stream_resume(e.stream);
    turns(&e, 1);
    expect(&e, "cd");
    e.pause_it = false;
    stream_resume(e.stream);
    turns(&e, 1);
    expect(&e, "e");
    end_fini(&e);
}

static void test_the_peers_end_is_reported_once_after_its_bytes(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.echo = true;
    put(&e, "last words");
    shutdown(e.fd, SHUT_WR);
    turns(&e, 4);
    expect(&e, "last words");
    assert_int_equal(e.in, 10);
    assert_int_equal(e.closes, 1);
    assert_int_equal(e.close_err, 0);
    assert_null(e.stream);
    turns(&e, 2);
    assert_int_equal(e.closes, 1);
    end_fini(&e);
}

static void test_a_half_closed_peer_still_gets_late_answers(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.stream->on_eof = on_eof;
    put(&e, "question");
    shutdown(e.fd, SHUT_WR);
    turns(&e, 4);
    assert_int_equal(e.eofs, 1);
    assert_int_equal(e.closes, 0);
    turns(&e, 4);
    assert_int_equal(e.eofs, 1);
    outbuf_append(&e.stream->out, "answer", 6);
    stream_close_after_flush(e.stream);
    turns(&e, 2);
    expect(&e, "answer");
    assert_int_equal(e.closes, 1);
    end_fini(&e);
}

static void test_a_half_closed_peer_gets_all_that_was_queued(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    size_t len = 3 * 1000 * 1000;
    char *bytes = mem_alloc(len);
    fill(bytes, len, 5);
    uint32_t sum = sum_of(0, slice_of(bytes, len));
    outbuf_append(&e.stream->out, bytes, len);
    mem_free(bytes);
    stream_flush_later(e.stream);
    shutdown(e.fd, SHUT_WR);
    turns(&e, 3);
    assert_int_equal(e.closes, 0);
    uint32_t back = 0;
    size_t back_len = 0;
    (void)push(&e, 0, &back, &back_len);
    assert_int_equal(back_len, len);
    assert_int_equal(back, sum);
    assert_int_equal(e.closes, 1);
    assert_int_equal(e.close_err, 0);
    end_fini(&e);
}

static void test_nothing_is_written_to_an_ended_peer_if_so_set(void **state)
{
    (void)state;
    struct end e;
    char got[16];
    end_init(&e);
    e.stream->drop_at_eof = true;
    outbuf_append(&e.stream->out, "too late", 8);
    stream_flush_later(e.stream);
    shutdown(e.fd, SHUT_WR);
    turns(&e, 2);
    assert_int_equal(e.closes, 1);
    assert_int_equal(read(e.fd, got, sizeof(got)), 0);
    end_fini(&e);
}

static void on_endless_array(struct stream *s)
{
    static const struct chunk *last;
    struct end *e = s->owner;
    e->in = inbuf_unread(&s->in).len;
    e->data_calls += s->in.chunk != last;
    last = s->in.chunk;
    s->want = 5; /* all that is known: the next element is not all there */
}

/* Copied over and over as it grows, an array of a million elements would take minutes. */
static void test_a_long_array_is_copied_a_few_times_only(void **state)
{
    (void)state;
    struct end e;
    char bytes[32 * 1024] = {0};
    const size_t len = 16 * 1024 * 1024;
    end_init(&e);
    e.stream->on_data = on_endless_array;
    for (size_t put_bytes = 0; put_bytes < len;) {
        ssize_t n = write(e.fd, bytes, sizeof(bytes));
        assert_true(n > 0 || errno == EAGAIN);
        put_bytes += n > 0 ? (size_t)n : 0;
        turns(&e, 1);
    }
    assert_true(e.in >= len / 2);
    assert_true(e.data_calls < 40);
    end_fini(&e);
}

static void test_freeing_in_on_data_is_safe(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.free_it = true;
    e.echo = true;
    put(&e, "abc");
    turns(&e, 2);
    assert_int_equal(e.data_calls, 1);
    assert_null(e.stream);
    assert_int_equal(e.closes, 0);
    end_fini(&e);
}

static void test_close_after_flush_sends_everything_and_reads_nothing(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    size_t len = 3 * 1000 * 1000;
    char *bytes = mem_alloc(len);
    fill(bytes, len, 3);
    uint32_t sum = sum_of(0, slice_of(bytes, len));
    e.close_it = true;
    outbuf_append(&e.stream->out, bytes, len);
    mem_free(bytes);
    put(&e, "bye");
    turns(&e, 1);
    assert_int_equal(e.data_calls, 1);
    put(&e, "unheard");
    turns(&e, 3);
    assert_int_equal(e.closes, 0);
    uint32_t back = 0;
    size_t back_len = 0;
    while (e.closes == 0) {
        (void)push(&e, 0, &back, &back_len);
    }
    assert_int_equal(back_len, len);
    assert_int_equal(back, sum);
    assert_int_equal(e.data_calls, 1);
    assert_int_equal(e.close_err, 0);
    end_fini(&e);
}

static void test_a_failure_is_reported_from_the_loop(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    stream_fail(e.stream, ECANCELED);
    stream_fail(e.stream, EIO);
    assert_int_equal(e.closes, 0);
    put(&e, "abc");
    turns(&e, 2);
    assert_int_equal(e.closes, 1);
    assert_int_equal(e.close_err, ECANCELED);
    assert_int_equal(e.data_calls, 0);
    end_fini(&e);
}

static void test_writing_to_a_gone_peer_closes(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    stream_pause(e.stream); /* so that the end is not read first */
    close(e.fd);
    e.fd = -1;
    outbuf_append(&e.stream->out, "abc", 3);
    stream_flush_now(e.stream);
    assert_int_equal(e.closes, 0);
    turns(&e, 1);
    assert_int_equal(e.closes, 1);
    assert_int_equal(e.close_err, EPIPE);
    end_fini(&e);
}

/* --- TCP: listening, connecting --- */

static struct end server;

static void on_accept(void *arg, int fd)
{
    struct loop *l = arg;
    assert_null(server.stream);
    server.fd = -1;
    server.echo = true;
    server.stream = stream_new(l, fd, &server, on_data, on_close);
}

static void on_connect(struct stream *s, int err)
{
    struct end *e = s->owner;
    e->connects++;
    e->close_err = err;
    if (e->free_it) {
        stream_free(&e->stream);
    }
}

static void test_connecting_sends_what_was_queued_before(void **state)
{
    (void)state;
    struct errmsg err;
    struct loop *l = loop_new();
    memset(&server, 0, sizeof(server));
    struct listener *lst = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, l, &err);
    assert_non_null(lst);
    int port = listener_port(lst);
    struct end c = {.fd = -1};
    c.stream = stream_connect(l, "127.0.0.1", port, 5000, &c, on_connect, on_data, on_close);
    outbuf_append(&c.stream->out, "early", 5);
    stream_flush_later(c.stream);
    assert_int_equal(c.connects, 0);
    while (c.in < 5) {
        loop_turn(l, true);
    }
    assert_int_equal(c.connects, 1);
    assert_int_equal(c.close_err, 0);
    char peer[ADDR_TEXT];
    char want[ADDR_TEXT];
    stream_peer(c.stream, peer, sizeof(peer));
    (void)snprintf(want, sizeof(want), "127.0.0.1:%d", listener_port(lst));
    assert_string_equal(peer, want);
    stream_local(server.stream, peer, sizeof(peer));
    assert_string_equal(peer, want);
    stream_keepalive(c.stream, 60);
    stream_free(&c.stream);
    while (server.closes == 0) {
        loop_turn(l, true);
    }
    listener_free(&lst);
    loop_free(&l);
}

static void check_refused(bool free_it)
{
    struct errmsg err;
    struct loop *l = loop_new();
    struct listener *lst = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, l, &err);
    int port = listener_port(lst);
    listener_free(&lst);
    struct end c = {.fd = -1, .free_it = free_it};
    c.stream = stream_connect(l, "127.0.0.1", port, 5000, &c, on_connect, on_data, on_close);
    while (c.connects == 0) {
        loop_turn(l, true);
    }
    assert_int_equal(c.close_err, ECONNREFUSED);
    loop_turn(l, false);
    assert_int_equal(c.connects, 1);
    assert_int_equal(c.closes, 0);
    stream_free(&c.stream);
    loop_free(&l);
}

static void test_a_refused_connection_is_reported_to_on_connect_only(void **state)
{
    (void)state;
    check_refused(false);
    check_refused(true);
}

static void test_a_listener_says_why_it_cannot_be(void **state)
{
    (void)state;
    struct errmsg err;
    struct loop *l = loop_new();
    struct listener *one = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, l, &err);
    assert_non_null(one);
    int port = listener_port(one);
    assert_null(listener_new(l, "127.0.0.1", port, 16, false, on_accept, l, &err));
    char want[128];
    (void)snprintf(want, sizeof(want),
                   "Could not create server TCP listening socket 127.0.0.1:%d: bind: Address "
                   "already in use",
                   port);
    assert_string_equal(err.text, want);
    listener_free(&one);
    struct listener *a = listener_new(l, "127.0.0.1", 0, 16, true, on_accept, l, &err);
    struct listener *b =
        listener_new(l, "127.0.0.1", listener_port(a), 16, true, on_accept, l, &err);
    assert_non_null(b);
    listener_free(&a);
    listener_free(&b);
    loop_free(&l);
}

static void test_bytes_behind_the_hold_stay(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.stream->on_drained = on_drained;
    outbuf_append(&e.stream->out, "one", 3);
    e.stream->hold_at = stream_end(e.stream);
    outbuf_append(&e.stream->out, "two", 3);
    stream_flush_later(e.stream);
    turns(&e, 3);
    expect(&e, "one");
    assert_int_equal(e.drained, 0);
    assert_int_equal(stream_ready(e.stream), 0);
    uint64_t writes = e.stream->writes;
    outbuf_append(&e.stream->out, "three", 5);
    stream_flush_later(e.stream);
    stream_close_after_flush(e.stream);
    turns(&e, 3);
    assert_int_equal(e.stream->writes, writes); /* nothing was tried */
    assert_int_equal(e.closes, 0);
    e.stream->hold_at += 4; /* within a piece */
    stream_flush_later(e.stream);
    turns(&e, 3);
    expect(&e, "twot");
    e.stream->hold_at = STREAM_FREE;
    stream_flush_later(e.stream);
    turns(&e, 3);
    expect(&e, "hree");
    assert_int_equal(e.closes, 1);
    end_fini(&e);
}

static void count_data(struct stream *s)
{
    (*(int *)s->owner)++;
    inbuf_consume(&s->in, inbuf_unread(&s->in).len);
}

static void no_close(struct stream *s, int err)
{
    (void)s;
    (void)err;
}

#define MANY 12

/* Writes to the one whose turn it is, once the loop is likely to sleep. */
static void *write_late(void *arg)
{
    usleep(20000);
    assert_int_equal(write(*(int *)arg, "b", 1), 1);
    return NULL;
}

/* What more comes while a busy loop gathers is seen in the same turn. A stall of this process may
 * make the loop look idle: then once more. */
static void test_a_busy_loop_gathers(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct stream *streams[MANY];
    int far[MANY];
    int got = 0;
    bool gathered = false;
    for (int i = 0; i < MANY; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        streams[i] = stream_new(l, pair[0], &got, count_data, no_close);
        far[i] = pair[1];
    }
    loop_turn(l, false); /* the watchers stand */
    loop_gather(l, 500000);
    for (int tries = 0; tries < 50 && !gathered; tries++) {
        pthread_t late;
        got = 0;
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(write(far[i], "a", 1), 1);
        }
        loop_turn(l, true);
        assert_int_equal(got, MANY);
        assert_int_equal(pthread_create(&late, NULL, write_late, &far[1]), 0);
        assert_int_equal(write(far[0], "a", 1), 1);
        loop_turn(l, true);
        gathered = got == MANY + 2;
        pthread_join(late, NULL);
        loop_turn(l, false);
        assert_int_equal(got, MANY + 2);
    }
    assert_true(gathered);
    for (int i = 0; i < MANY; i++) {
        stream_free(&streams[i]);
        close(far[i]);
    }
    loop_free(&l);
}

struct arrivals {
    char order[8];
    size_t n;
};

static void note_arrival(struct stream *s)
{
    struct arrivals *a = s->owner;
    struct slice in = inbuf_unread(&s->in);
    a->order[a->n++] = in.ptr[0];
    inbuf_consume(&s->in, in.len);
}

static void test_who_sent_first_is_read_first(void **state)
{
    (void)state;
    static const int sent[] = {2, 0, 3, 1};
    struct loop *l = loop_new();
    struct arrivals a = {0};
    struct stream *streams[4];
    int far[4];
    for (int i = 0; i < 4; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        streams[i] = stream_new(l, pair[0], &a, note_arrival, no_close);
        far[i] = pair[1];
    }
    loop_turn(l, false); /* the watchers stand */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(write(far[sent[i]], &"abcd"[sent[i]], 1), 1);
    }
    loop_turn(l, true);
    assert_string_equal(a.order, "cadb");
    for (int i = 0; i < 4; i++) {
        stream_free(&streams[i]);
        close(far[i]);
    }
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_and_answers_go_in_one_write),
        cmocka_unit_test(test_an_unfinished_message_stays_and_is_completed),
        cmocka_unit_test(test_big_transfers_arrive_whole),
        cmocka_unit_test(test_memory_grows_by_what_came_not_by_what_was_claimed),
        cmocka_unit_test(test_references_outlive_on_data),
        cmocka_unit_test(test_many_streams_share_the_scratch),
        cmocka_unit_test(test_a_full_socket_is_written_later),
        cmocka_unit_test(test_a_paused_stream_is_not_read),
        cmocka_unit_test(test_resuming_gives_what_was_unread),
        cmocka_unit_test(test_the_peers_end_is_reported_once_after_its_bytes),
        cmocka_unit_test(test_a_half_closed_peer_still_gets_late_answers),
        cmocka_unit_test(test_a_half_closed_peer_gets_all_that_was_queued),
        cmocka_unit_test(test_nothing_is_written_to_an_ended_peer_if_so_set),
        cmocka_unit_test(test_a_long_array_is_copied_a_few_times_only),
        cmocka_unit_test(test_freeing_in_on_data_is_safe),
        cmocka_unit_test(test_close_after_flush_sends_everything_and_reads_nothing),
        cmocka_unit_test(test_a_failure_is_reported_from_the_loop),
        cmocka_unit_test(test_writing_to_a_gone_peer_closes),
        cmocka_unit_test(test_connecting_sends_what_was_queued_before),
        cmocka_unit_test(test_a_refused_connection_is_reported_to_on_connect_only),
        cmocka_unit_test(test_a_listener_says_why_it_cannot_be),
        cmocka_unit_test(test_bytes_behind_the_hold_stay),
        cmocka_unit_test(test_a_busy_loop_gathers),
        cmocka_unit_test(test_who_sent_first_is_read_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
