// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/resp_link.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/io/listen.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    struct loop *loop;
    struct resp_link *link;
    int fd;
    struct str seen; /* "*(set a) +(OK) " */
    int messages;
    size_t argc;
    size_t bytes;
    int ups;
    int downs;
    int err;
    bool free_it;
};

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct end *e = resp_link_owner(l);
    e->messages++;
    e->argc = argc;
    e->bytes = 0;
    str_printf(&e->seen, "%c(", type);
    for (size_t i = 0; i < argc; i++) {
        e->bytes += argv[i].len;
        if (argv[i].len < 100) {
            str_printf(&e->seen, "%s%.*s", i > 0 ? " " : "",
                       argv[i].ptr == NULL ? 3 : (int)argv[i].len,
                       argv[i].ptr == NULL ? "nil" : argv[i].ptr);
        }
    }
    str_appendz(&e->seen, ") ");
    if (e->free_it) {
        resp_link_free(&e->link);
    }
}

static void on_down(struct resp_link *l, int err)
{
    struct end *e = resp_link_owner(l);
    e->downs++;
    e->err = err;
    resp_link_free(&e->link);
}

static void on_up(struct resp_link *l)
{
    ((struct end *)resp_link_owner(l))->ups++;
}

static void end_init(struct end *e)
{
    int fds[2];
    memset(e, 0, sizeof(*e));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    e->loop = loop_new();
    e->link = resp_link_accept(e->loop, fds[0], e, on_message, on_down);
    e->fd = fds[1];
}

static void end_fini(struct end *e)
{
    resp_link_free(&e->link);
    str_fini(&e->seen);
    close(e->fd);
    loop_free(&e->loop);
}

static void put(struct end *e, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(e->fd, bytes, len);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else {
            assert_int_equal(errno, EAGAIN);
        }
        loop_turn(e->loop, false);
    }
    loop_turn(e->loop, false);
}

static void say(struct end *e, const char *text)
{
    put(e, text, strlen(text));
}

static void test_messages_arrive_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "*2\r\n$3\r\nset\r\n$1\r\na\r\n+OK\r\n:42\r\n$-1\r\n-ERR x\r\n"
                               "$0\r\n\r\n*0\r\n*-1\r\n*2\r\n$-1\r\n:1\r\n$2\r\n\r\n\r\n";
    static const char want[] = "*(set a) +(OK) :(42) _() -(ERR x) $() *() _() *(nil 1) $(\r\n) ";
    struct end e;
    end_init(&e);
    put(&e, text, sizeof(text) - 1);
    assert_string_equal(str_cstr(&e.seen), want);
    str_clear(&e.seen);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        put(&e, text + i, 1);
    }
    assert_string_equal(str_cstr(&e.seen), want);
    end_fini(&e);
}

static void check_refused(const char *text, int err)
{
    struct end e;
    end_init(&e);
    say(&e, text);
    loop_turn(e.loop, false);
    assert_int_equal(e.messages, 0);
    assert_int_equal(e.downs, 1);
    assert_int_equal(e.err, err);
    end_fini(&e);
}

static void test_what_is_too_much_or_wrong_closes_the_link(void **state)
{
    (void)state;
    check_refused("*65537\r\n", EMSGSIZE);
    check_refused("*2147483647\r\n", EMSGSIZE);
    check_refused("*1\r\n*1\r\n:1\r\n", EPROTO);
    check_refused("what\r\n", EPROTO);
    check_refused("*1\r\n?\r\n", EPROTO);
}

static void test_a_big_message_passes_a_too_big_one_does_not(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    size_t len = 5 * 1000 * 1000;
    char *bytes = mem_zalloc(len);
    say(&e, "*2\r\n$7\r\npayload\r\n$5000000\r\n");
    put(&e, bytes, len);
    say(&e, "\r\n");
    assert_int_equal(e.messages, 1);
    assert_int_equal(e.bytes, len + 7);
    say(&e, "$99000000\r\n");
    for (int i = 0; i < 20 && e.downs == 0; i++) {
        for (size_t sent = 0; sent < len && e.downs == 0;) {
            ssize_t n = send(e.fd, bytes + sent, len - sent, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            loop_turn(e.loop, false);
        }
    }
    assert_int_equal(e.downs, 1);
    assert_int_equal(e.err, EMSGSIZE);
    mem_free(bytes);
    end_fini(&e);
}

static void test_a_stranger_may_be_allowed_less(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    char *bytes = mem_zalloc(100000);
    resp_link_limit(e.link, 50000);
    say(&e, "*2\r\n+one\r\n$99000\r\n");
    put(&e, bytes, 40000);
    assert_int_equal(e.downs, 0);
    put(&e, bytes, 20000);
    assert_int_equal(e.downs, 1);
    assert_int_equal(e.err, EMSGSIZE);
    mem_free(bytes);
    end_fini(&e);
}

static void test_a_link_may_be_freed_in_its_message(void **state)
{
    (void)state;
    struct end e;
    end_init(&e);
    e.free_it = true;
    say(&e, "+one\r\n+two\r\n");
    assert_int_equal(e.messages, 1);
    assert_int_equal(e.downs, 0);
    end_fini(&e);
}

static struct end server;

static void on_accept(void *arg, int fd)
{
    server.link = resp_link_accept(arg, fd, &server, on_message, on_down);
}

static void test_two_links_talk(void **state)
{
    (void)state;
    struct errmsg err;
    struct loop *l = loop_new();
    struct listener *lst = listener_new(l, "127.0.0.1", 0, 16, false, on_accept, l, &err);
    int port = listener_port(lst);
    struct end c = {0};
    c.link = resp_link_connect(l, "127.0.0.1", port, 5000, &c, on_up, on_message, on_down);
    assert_non_null(c.link);
    struct slice words[] = {SLICE("REGISTER"), SLICE("a\0b"), SLICE("")};
    resp_link_send(c.link, words, 3);
    resp_link_sendf(c.link, "PING %d %b", 7, "x y", (size_t)3);
    while (server.messages < 2) {
        loop_turn(l, true);
    }
    assert_int_equal(c.ups, 1);
    assert_non_null(strstr(str_cstr(&server.seen), "*(PING 7 x y) "));
    resp_link_send_raw(server.link, SLICE("+PONG\r\n"));
    resp_link_close_after_flush(server.link);
    while (c.downs == 0) {
        loop_turn(l, true);
    }
    assert_string_equal(str_cstr(&c.seen), "+(PONG) ");
    assert_int_equal(c.err, 0);
    assert_int_equal(server.downs, 1);
    str_fini(&c.seen);
    str_fini(&server.seen);
    listener_free(&lst);
    struct end d = {0};
    d.link = resp_link_connect(l, "127.0.0.1", port, 5000, &d, on_up, on_message, on_down);
    while (d.downs == 0) {
        loop_turn(l, true);
    }
    assert_int_equal(d.err, ECONNREFUSED);
    assert_int_equal(d.ups, 0);
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_arrive_however_they_are_cut),
        cmocka_unit_test(test_what_is_too_much_or_wrong_closes_the_link),
        cmocka_unit_test(test_a_big_message_passes_a_too_big_one_does_not),
        cmocka_unit_test(test_a_stranger_may_be_allowed_less),
        cmocka_unit_test(test_a_link_may_be_freed_in_its_message),
        cmocka_unit_test(test_two_links_talk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
