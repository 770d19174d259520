// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes on a control link, once whole and once in pieces: the same messages come out, then
 * the same end. The first byte is the size of the pieces; its highest bit lets the owner free the
 * link inside the third message. */
#include "common/base/hash.h"
#include "common/io/resp_link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
    struct resp_link *link; /* NULL: freed */
    int fd;                 /* the other side */
    uint64_t digest;        /* of all messages so far */
    uint64_t messages;
    bool frees;
    bool down;
    int err;
};

static void mix(struct end *e, const void *bytes, size_t len)
{
    e->digest = hash_bytes(bytes, len, e->digest);
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct end *e = resp_link_owner(l);
    INVARIANT(argc <= RESP_LINK_ARGS);
    mix(e, &type, 1);
    for (size_t i = 0; i < argc; i++) {
        bool nil = argv[i].ptr == NULL;
        INVARIANT(!nil || argv[i].len == 0);
        mix(e, &nil, sizeof(nil));
        mix(e, nil ? "" : argv[i].ptr, argv[i].len);
    }
    if (++e->messages == 3 && e->frees) {
        resp_link_free(&e->link);
    }
}

static void on_down(struct resp_link *l, int err)
{
    struct end *e = resp_link_owner(l);
    INVARIANT(!e->down);
    e->down = true;
    e->err = err;
    resp_link_free(&e->link);
}

static void feed(struct loop *loop, struct end *e, const uint8_t *data, size_t size, size_t piece)
{
    int fds[2];
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    INVARIANT(rc == 0);
    e->link = resp_link_accept(loop, fds[0], e, on_message, on_down);
    e->fd = fds[1];
    for (size_t at = 0; at < size && e->link != NULL;) {
        size_t n = MIN(piece, size - at);
        ssize_t written = send(e->fd, data + at, n, MSG_NOSIGNAL);
        INVARIANT(written > 0 || errno == EAGAIN);
        at += written > 0 ? (size_t)written : 0;
        loop_turn(loop, false);
    }
    loop_turn(loop, false);
    loop_turn(loop, false); /* what a turn put off */
    resp_link_free(&e->link);
    close(e->fd);
    loop_turn(loop, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loop *loop;
    if (loop == NULL) {
        loop = loop_new();
    }
    if (size < 2) {
        return 0;
    }
    struct end whole = {.frees = (data[0] & 0x80) != 0};
    struct end cut = {.frees = whole.frees};
    feed(loop, &whole, data + 1, size - 1, size);
    feed(loop, &cut, data + 1, size - 1, 1 + (data[0] & 0x7f));
    INVARIANT(whole.messages == cut.messages);
    INVARIANT(whole.digest == cut.digest);
    INVARIANT(whole.down == cut.down);
    INVARIANT(whole.err == cut.err);
    return 0;
}
