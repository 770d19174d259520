// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/stream.h"

#include "common/base/mem.h"
#include "common/io/addr.h"
#include "common/io/loop_priv.h"
#include "common/io/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM_MAGIC 0x7374726du
#define WRITE_PIECES 512
/* One turn's share of a stream whose peer takes everything: the others wait meanwhile. */
#define WRITE_TURN_BYTES (4 * 1024 * 1024)
/* Unread bytes up to this go through the scratch chunk; more is read in place. */
#define CARRY_BYTES    (32 * 1024)
#define READ_BYTES_MAX (1024 * 1024)

enum {
    DUE_FLUSH = 1,
    DUE_DATA = 2,    /* on_data for what is unread, after a resume */
    DUE_CLOSE = 4,   /* on_close(close_err) */
    DUE_DRAINED = 8, /* on_drained */
    DUE_EOF = 16,
    DUE_CONNECT = 32, /* on_connect(close_err) */
};

struct stream_impl {
    ev_io reading;
    ev_io writing;
    struct readable readable;
    struct loop_task task;
    struct loop_timer connect_timer;
    struct names_query query; /* there is no descriptor yet */
    stream_close_fn on_connect;
    unsigned due;
    int close_err;
    int64_t read_period; /* see loop_note_read */
    uint32_t depth;      /* callbacks running */
    bool freed;          /* stream_free was called in one of them */
    bool connecting;     /* not connected yet */
    bool paused;
    bool finishing; /* close when all is written */
    bool eof;       /* the peer sends no more */
    bool closed;    /* on_close is due or done: no more I/O */
};

struct whole {
    struct stream stream;
    struct stream_impl impl;
};

static void release(struct stream *s)
{
    inbuf_fini(&s->in);
    outbuf_fini(&s->out);
    s->magic = 0;
    mem_free(container_of(s, struct whole, stream));
}

/* Around callbacks: false if the stream was freed in it. */
static bool call(struct stream *s, stream_fn fn)
{
    s->impl->depth++;
    fn(s);
    s->impl->depth--;
    if (s->impl->freed) {
        if (s->impl->depth == 0) {
            release(s);
        }
        return false;
    }
    return true;
}

static bool call_err(struct stream *s, stream_close_fn fn, int err)
{
    s->impl->depth++;
    fn(s, err);
    s->impl->depth--;
    if (s->impl->freed) {
        if (s->impl->depth == 0) {
            release(s);
        }
        return false;
    }
    return true;
}

static void due(struct stream *s, unsigned what)
{
    s->impl->due |= what;
    loop_defer(s->loop, &s->impl->task);
}

static void stop_io(struct stream *s)
{
    ev_io_stop(s->loop->ev, &s->impl->reading);
    ev_io_stop(s->loop->ev, &s->impl->writing);
    list_remove(&s->impl->readable.link);
    loop_timer_stop(&s->impl->connect_timer);
    names_unask(&s->impl->query);
}

static void close_soon(struct stream *s, int err)
{
    struct stream_impl *i = s->impl;
    if (i->closed) {
        return;
    }
    i->closed = true;
    i->close_err = err;
    stop_io(s);
    i->due &= ~(unsigned)(DUE_FLUSH | DUE_DATA | DUE_DRAINED | DUE_EOF);
    due(s, i->connecting ? DUE_CONNECT : DUE_CLOSE);
}

/* --- reading --- */

/* A chunk of the stream's own with room for `cap` bytes, holding what is unread. */
static void move_unread(struct stream *s, size_t cap)
{
    struct slice unread = inbuf_unread(&s->in);
    struct chunk *c = chunk_new(cap);
    INVARIANT(c->cap >= unread.len);
    memcpy(c->data, unread.ptr, unread.len);
    c->len = unread.len;
    chunk_unref(&s->in.chunk);
    s->in.chunk = c;
    s->in.head = 0;
}

/* The owner waits for something too long for the scratch chunk. */
static bool wants_own(const struct stream *s)
{
    return s->want > LOOP_SCRATCH_LEAST - CARRY_BYTES;
}

/* The next size of a chunk of the stream's own: it grows fourfold, so that little is copied twice,
 * but to no more than what the owner misses. It at least doubles: of a long array the owner knows
 * only the next element. */
static size_t own_size(const struct stream *s, size_t have)
{
    size_t more = MIN(MAX(s->want, LOOP_SCRATCH_LEAST), 3 * MAX(have, LOOP_SCRATCH_LEAST));
    return have + MAX(more, have);
}

/* The unread bytes of a long message stay in one chunk of the stream's own. */
static char *own_room(struct stream *s, size_t *room)
{
    struct chunk *c = s->in.chunk;
    size_t least = s->want == 0 ? CARRY_BYTES : MIN(s->want, LOOP_SCRATCH_LEAST);
    if (c->cap - c->len < least) {
        move_unread(s, own_size(s, inbuf_unread(&s->in).len));
        c = s->in.chunk;
    }
    *room = MIN(c->cap - c->len, READ_BYTES_MAX);
    return c->data + c->len;
}

/* Where to read to: the loop's scratch chunk, behind what little was left unread, or, in the midst
 * of something long, a chunk of our own. */
static char *read_room(struct stream *s, size_t *room)
{
    size_t have = inbuf_unread(&s->in).len;
    if (have > CARRY_BYTES || (have > 0 && wants_own(s))) {
        return own_room(s, room);
    }
    struct chunk *c = chunk_ref(loop_scratch(s->loop));
    size_t start = c->len;
    if (have > 0) {
        memcpy(c->data + start, inbuf_unread(&s->in).ptr, have);
        c->len += have;
    }
    if (s->in.chunk != NULL) {
        chunk_unref(&s->in.chunk);
    }
    s->in.chunk = c;
    s->in.head = start;
    *room = c->cap - c->len;
    return c->data + c->len;
}

/* After on_data: nothing stays in the scratch chunk, and no large chunk for a few bytes. */
static void settle(struct stream *s)
{
    struct chunk *c = s->in.chunk;
    if (c == NULL) {
        return;
    }
    size_t have = inbuf_unread(&s->in).len;
    if (have == 0) {
        chunk_unref(&s->in.chunk);
        s->in.head = 0;
    } else if (c == s->loop->scratch[0]) {
        move_unread(s, wants_own(s) ? own_size(s, have) : have);
    } else if (have <= CARRY_BYTES && c->cap / 4 > have && c->cap > CARRY_BYTES && !wants_own(s)) {
        move_unread(s, have);
    }
}

/* False if the stream is gone. */
static bool give_data(struct stream *s)
{
    if (!call(s, s->on_data)) {
        return false;
    }
    settle(s);
    return true;
}

static void on_peer_end(struct stream *s)
{
    s->impl->eof = true;
    ev_io_stop(s->loop->ev, &s->impl->reading);
    if (s->on_eof != NULL) {
        due(s, DUE_EOF);
    } else if (s->drop_at_eof) {
        close_soon(s, 0);
    } else {
        /* What was answered already still goes out. */
        s->impl->finishing = true;
        stream_flush_later(s);
    }
}

static void on_readable(struct ev_loop *ev, ev_io *w, int revents)
{
    const struct stream *s = w->data;
    (void)ev;
    (void)revents;
    loop_readable(s->loop, &s->impl->readable);
}

static void read_in(struct readable *r)
{
    struct stream *s = &container_of(r, struct whole, impl.readable)->stream;
    struct stream_impl *i = s->impl;
    if (UNLIKELY(s->loop->meanwhile) && !i->task.meanwhile) {
        return; /* it is told again */
    }
    if (i->paused) {
        ev_io_stop(s->loop->ev, &i->reading); /* only now does a pause cost something */
        return;
    }
    size_t room;
    char *to = read_room(s, &room);
    ssize_t n = recv(s->fd, to, room, 0);
    s->reads++;
    if (n > 0) {
        loop_note_read(s->loop, &s->impl->read_period);
        inbuf_filled(&s->in, (size_t)n);
        s->bytes_in += (uint64_t)n;
        s->active_us = loop_now_us(s->loop);
        (void)give_data(s);
        return;
    }
    int err = errno;
    settle(s);
    if (n == 0) {
        on_peer_end(s);
    } else if (err != EAGAIN && err != EWOULDBLOCK && err != EINTR) {
        close_soon(s, err);
    }
}

/* --- writing --- */

/* One system call. Bytes taken, 0: the socket is full, -1: errno. */
static ssize_t write_once(struct stream *s, size_t *tried)
{
    ssize_t n;
    struct iovec iov[WRITE_PIECES];
    int count = outbuf_iovec(&s->out, iov, WRITE_PIECES);
    size_t ready = stream_ready(s);
    *tried = 0;
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len >= ready - *tried) {
            iov[i].iov_len = ready - *tried;
            count = i + 1;
        }
        *tried += iov[i].iov_len;
    }
    do {
        s->writes++;
        if (count == 1) {
            n = send(s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
            n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

static void all_written(struct stream *s)
{
    ev_io_stop(s->loop->ev, &s->impl->writing);
    if (s->impl->finishing) {
        close_soon(s, 0);
    } else if (s->on_drained != NULL) {
        due(s, DUE_DRAINED);
    }
}

/* Writes what the socket takes; arms the write watcher only if it is full. */
static void write_out(struct stream *s)
{
    struct stream_impl *i = s->impl;
    size_t budget = WRITE_TURN_BYTES;
    while (stream_ready(s) > 0) {
        size_t tried;
        ssize_t n = write_once(s, &tried);
        if (n < 0) {
            close_soon(s, errno);
            return;
        }
        s->bytes_out += (uint64_t)n;
        outbuf_consume(&s->out, (size_t)n);
        if ((size_t)n < tried || (size_t)n >= budget) {
            break;
        }
        budget -= (size_t)n;
    }
    if (s->out.bytes == 0) {
        all_written(s);
    } else if (stream_ready(s) == 0) {
        ev_io_stop(s->loop->ev, &i->writing);
    } else {
        ev_io_start(s->loop->ev, &i->writing);
    }
}

static void flush(struct stream *s)
{
    struct stream_impl *i = s->impl;
    if (i->closed || i->connecting || ev_is_active(&i->writing)) {
        return;
    }
    if (stream_ready(s) > 0) {
        write_out(s);
    } else if (i->finishing && s->out.bytes == 0) {
        close_soon(s, 0);
    }
}

/* --- connecting --- */

static void connected(struct stream *s)
{
    struct stream_impl *i = s->impl;
    int err = 0;
    socklen_t len = sizeof(err);
    ev_io_stop(s->loop->ev, &i->writing);
    loop_timer_stop(&i->connect_timer);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        err = errno;
    }
    if (err != 0) {
        close_soon(s, err);
        return;
    }
    i->connecting = false;
    s->active_us = loop_now_us(s->loop);
    if (!i->finishing) {
        ev_io_start(s->loop->ev, &i->reading);
    }
    due(s, DUE_FLUSH);
    (void)call_err(s, i->on_connect, 0);
}

static void on_connect_timeout(struct loop_timer *t)
{
    close_soon(t->arg, ETIMEDOUT);
}

/* Takes the descriptor. */
static void set_fd(struct stream *s, int fd)
{
    s->fd = fd;
    ev_io_set(&s->impl->reading, fd, EV_READ);
    ev_io_set(&s->impl->writing, fd, EV_WRITE);
}

/* -1 with errno: there is none. */
static int make_socket(const struct addr *to)
{
    int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && to->sa.ss_family != AF_UNIX) {
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return fd;
}

static void begin_to_connect(struct stream *s, const struct addr *to)
{
    int rc;
    do {
        rc = connect(s->fd, (const struct sockaddr *)&to->sa, to->len);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0 || errno == EINPROGRESS) {
        ev_io_start(s->loop->ev, &s->impl->writing);
    } else {
        close_soon(s, errno);
    }
}

static void on_name(struct names_query *q, int why, const struct addr *to)
{
    struct stream *s = &container_of(q, struct whole, impl.query)->stream;
    int fd = why == 0 ? make_socket(to) : -1;
    if (fd < 0) {
        close_soon(s, why == 0 ? errno : why);
        return;
    }
    set_fd(s, fd);
    begin_to_connect(s, to);
}

static void on_writable(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    (void)revents;
    struct stream *s = w->data;
    if (UNLIKELY(s->loop->meanwhile) && !s->impl->task.meanwhile) {
        return;
    }
    if (s->impl->connecting) {
        connected(s);
    } else {
        write_out(s);
    }
}

/* --- the deferred phase --- */

static bool take_due(struct stream *s, unsigned what)
{
    bool is = (s->impl->due & what) != 0;
    s->impl->due &= ~what;
    return is;
}

static void run_due(struct loop_task *t)
{
    struct stream *s = &container_of(t, struct whole, impl.task)->stream;
    struct stream_impl *i = s->impl;
    /* Data first: its answers leave with this flush. */
    if (take_due(s, DUE_DATA) && !i->paused && inbuf_unread(&s->in).len > 0 && !give_data(s)) {
        return;
    }
    if (take_due(s, DUE_FLUSH)) {
        flush(s);
    }
    if (take_due(s, DUE_DRAINED) && s->out.bytes == 0 && s->on_drained != NULL &&
        !call(s, s->on_drained)) {
        return;
    }
    if (take_due(s, DUE_EOF) && s->on_eof != NULL && !call(s, s->on_eof)) {
        return;
    }
    if (take_due(s, DUE_CONNECT) && !call_err(s, i->on_connect, i->close_err)) {
        return;
    }
    if (take_due(s, DUE_CLOSE)) {
        (void)call_err(s, s->on_close, i->close_err);
    }
}

/* --- exported --- */

static struct stream *make(struct loop *l, int fd, void *owner, stream_fn on_data,
                           stream_close_fn on_close)
{
    struct whole *w = mem_zalloc(sizeof(*w));
    struct stream *s = &w->stream;
    s->magic = STREAM_MAGIC;
    s->loop = l;
    s->owner = owner;
    s->on_data = on_data;
    s->on_close = on_close;
    s->active_us = loop_now_us(l);
    s->hold_at = STREAM_FREE;
    s->impl = &w->impl;
    ev_init(&w->impl.reading, on_readable);
    ev_init(&w->impl.writing, on_writable);
    set_fd(s, fd);
    w->impl.reading.data = s;
    list_init(&w->impl.readable.link);
    w->impl.readable.read = read_in;
    w->impl.writing.data = s;
    loop_task_init(&w->impl.task, run_due);
    loop_timer_init(&w->impl.connect_timer, l, on_connect_timeout, s);
    names_query_init(&w->impl.query, on_name);
    return s;
}

struct stream *stream_new(struct loop *l, int fd, void *owner, stream_fn on_data,
                          stream_close_fn on_close)
{
    struct stream *s = make(l, fd, owner, on_data, on_close);
    ev_io_start(l->ev, &s->impl->reading);
    return s;
}

struct stream *stream_connect(struct loop *l, const char *host, int port, int64_t timeout_ms,
                              void *owner, stream_close_fn on_connect, stream_fn on_data,
                              stream_close_fn on_close)
{
    struct addr to;
    int why = 0;
    struct stream *s = make(l, -1, owner, on_data, on_close);
    s->impl->connecting = true;
    s->impl->on_connect = on_connect;
    loop_timer_start(&s->impl->connect_timer, timeout_ms, 0);
    enum names_answer known = names_ask(l, &s->impl->query, host, port, &to, &why);
    if (known != NAMES_LATER) {
        on_name(&s->impl->query, why, &to);
    }
    return s;
}

void stream_free(struct stream **sp)
{
    struct stream *s = *sp;
    *sp = NULL;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, STREAM_MAGIC);
    struct stream_impl *i = s->impl;
    INVARIANT(!i->freed);
    i->closed = true;
    stop_io(s);
    loop_timer_fini(&i->connect_timer);
    loop_undefer(&i->task);
    if (s->fd >= 0) { /* else its name is not known yet */
        close(s->fd);
        s->fd = -1;
    }
    if (i->depth > 0) {
        i->freed = true;
    } else {
        release(s);
    }
}

void stream_abort(struct stream **s)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (*s != NULL) {
        (void)setsockopt((*s)->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    stream_free(s);
}

void stream_flush_later(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    if (!s->impl->closed) {
        due(s, DUE_FLUSH);
    }
}

void stream_flush_first(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    if (!s->impl->closed) {
        s->impl->due |= DUE_FLUSH;
        loop_defer_first(s->loop, &s->impl->task);
    }
}

void stream_flush_now(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    flush(s);
}

void stream_pause(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    s->impl->paused = true;
}

void stream_meanwhile(struct stream *s, bool yes)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    s->impl->task.meanwhile = yes;
}

void stream_resume(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    struct stream_impl *i = s->impl;
    if (!i->paused) {
        return;
    }
    i->paused = false;
    if (i->closed || i->finishing) {
        return;
    }
    if (!i->connecting && !i->eof) {
        ev_io_start(s->loop->ev, &i->reading);
    }
    if (inbuf_unread(&s->in).len > 0) {
        due(s, DUE_DATA);
    }
}

void stream_stop_reading(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    s->impl->eof = true;
    ev_io_stop(s->loop->ev, &s->impl->reading);
    list_remove(&s->impl->readable.link);
}

bool stream_paused(const struct stream *s)
{
    return s->impl->paused;
}

void stream_close_after_flush(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    s->impl->finishing = true;
    s->impl->due &= ~(unsigned)DUE_DATA;
    ev_io_stop(s->loop->ev, &s->impl->reading);
    stream_flush_later(s);
}

void stream_fail(struct stream *s, int err)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    close_soon(s, err);
}

void stream_keepalive(struct stream *s, int seconds)
{
    int on = seconds > 0;
    int idle = MAX(seconds, 1);
    int interval = MAX(seconds / 3, 1);
    int count = 3;
    if (setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) != 0 || !on) {
        return;
    }
    /* Not every kind of socket knows these: then the system's defaults hold. */
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

void stream_write_limit(struct stream *s, int seconds)
{
    unsigned limit_ms = (unsigned)seconds * 1000;
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

typedef int (*name_fn)(int fd, struct sockaddr *sa, socklen_t *len);

static void print_name(const struct stream *s, name_fn name, char *to, size_t size)
{
    struct addr a = {.len = sizeof(a.sa)};
    if (name(s->fd, (struct sockaddr *)&a.sa, &a.len) != 0) {
        a.sa.ss_family = AF_UNSPEC;
    }
    addr_print(&a, to, size);
}

void stream_peer(const struct stream *s, char *to, size_t size)
{
    print_name(s, getpeername, to, size);
}

void stream_local(const struct stream *s, char *to, size_t size)
{
    print_name(s, getsockname, to, size);
}

size_t stream_in_memory(const struct stream *s)
{
    const struct chunk *c = s->in.chunk;
    return c == NULL || c == s->loop->scratch[0] ? 0 : sizeof(*c) + c->cap;
}

size_t stream_out_memory(const struct stream *s)
{
    return outbuf_memory(&s->out);
}
