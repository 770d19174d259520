// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/listen.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENER_MAGIC   0x6c697374u
#define ACCEPTS_PER_TURN 128
#define STARVED_PAUSE_MS 100

struct listener {
    uint32_t magic;
    int fd;
    int port;
    bool paused;
    struct loop *loop;
    struct loop_fd watch;
    struct loop_timer retry;
    listener_fn fn;
    void *arg;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* Unix socket, to be removed */
    uint64_t starved;
};

static void on_ready(struct loop_fd *f, int events);

static void watch(struct listener *l)
{
    if (l->fd >= 0 && !l->paused && !loop_timer_active(&l->retry)) {
        l->watch.meanwhile = true;
        loop_fd_start(&l->watch, l->loop, l->fd, LOOP_READ, on_ready, l);
    }
}

static void on_retry(struct loop_timer *t)
{
    watch(t->arg);
}

static void starve(struct listener *l, int err)
{
    l->starved++;
    loop_fd_stop(&l->watch);
    loop_timer_start(&l->retry, STARVED_PAUSE_MS, 0);
    log_event(LOG_WARNING, "listen", "cannot accept, waiting errno=%s port=%d",
              strerrorname_np(err), l->port);
}

static void on_ready(struct loop_fd *f, int events)
{
    (void)events;
    struct listener *l = f->arg;
    for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0 && !l->paused; i++) {
        // cppcheck-suppress nullPointer ; nobody wants the address here
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int one = 1;
            if (l->path[0] == '\0') {
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            }
            l->fn(l->arg, fd);
            continue;
        }
        int err = errno;
        if (err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM) {
            starve(l, err);
        }
        if (err != EINTR && err != ECONNABORTED) {
            return;
        }
    }
}

static bool resolve_local(const char *host, int port, struct addr *a, struct errmsg *err)
{
    if (host[0] == '\0' || strcmp(host, "*") == 0) {
        host = "0.0.0.0";
    } else if (strcmp(host, "::*") == 0) {
        host = "::";
    }
    return addr_resolve(host, port, a, err);
}

/* Leaves errno, and says in `step` which call failed. */
static int open_socket(const struct addr *a, int backlog, bool reuseport, const char **step)
{
    int one = 1;
    int family = a->sa.ss_family;
    *step = "socket";
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    *step = "setsockopt";
    if (family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0) {
        goto fail;
    }
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) {
        goto fail;
    }
    if (reuseport && family != AF_UNIX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) {
        goto fail;
    }
    *step = "bind";
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) != 0) {
        goto fail;
    }
    *step = "listen";
    if (listen(fd, backlog) != 0) {
        goto fail;
    }
    return fd;

fail:;
    int keep = errno;
    close(fd);
    errno = keep;
    return -1;
}

struct listener *listener_new(struct loop *loop, const char *host, int port, int backlog,
                              bool reuseport, listener_fn fn, void *arg, struct errmsg *err)
{
    struct addr a;
    const char *kind = host[0] == '/' ? "Unix" : "TCP";
    if (!resolve_local(host, port, &a, err)) {
        errmsg_wrap(err, "Could not create server %s listening socket %s:%d", kind, host, port);
        return NULL;
    }
    struct stat st;
    if (host[0] == '/' && lstat(host, &st) == 0 && S_ISSOCK(st.st_mode)) {
        (void)unlink(host); /* left behind by a process that was killed */
    }
    const char *step;
    int fd = open_socket(&a, backlog, reuseport, &step);
    if (fd < 0) {
        errmsg_set(err, "Could not create server %s listening socket %s:%d: %s: %s", kind, host,
                   port, step, strerror(errno));
        return NULL;
    }
    a.len = sizeof(a.sa);
    INVARIANT(getsockname(fd, (struct sockaddr *)&a.sa, &a.len) == 0);
    struct listener *l = mem_zalloc(sizeof(*l));
    l->magic = LISTENER_MAGIC;
    l->fd = fd;
    l->port = addr_port(&a);
    l->loop = loop;
    l->fn = fn;
    l->arg = arg;
    if (host[0] == '/') {
        (void)snprintf(l->path, sizeof(l->path), "%s", host);
    }
    loop_timer_init(&l->retry, loop, on_retry, l);
    watch(l);
    return l;
}

void listener_stop(struct listener *l)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    loop_fd_stop(&l->watch);
    loop_timer_stop(&l->retry);
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
        if (l->path[0] != '\0') {
            (void)unlink(l->path);
        }
    }
}

void listener_pause(struct listener *l, bool pause)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    l->paused = pause;
    if (pause) {
        loop_fd_stop(&l->watch);
    } else {
        watch(l);
    }
}

void listener_free(struct listener **lp)
{
    struct listener *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    listener_stop(l);
    loop_timer_fini(&l->retry);
    l->magic = 0;
    mem_free(l);
}

int listener_port(const struct listener *l)
{
    return l->port;
}

uint64_t listener_starved(const struct listener *l)
{
    return l->starved;
}
