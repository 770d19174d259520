// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/node_link.h"

#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/listen.h"
#include "common/io/resp_link.h"

#include <stdio.h>
#include <unistd.h>

#define LINKS_MAX          8192
#define BACKLOG            511
#define FIRST_MESSAGE_MS   10000
#define STRANGER_BYTES     (8UL * 1024 * 1024) /* of a message, from who is not welcome yet */
#define CLOSING_MS         5000
#define QUEUED_BYTES_LIMIT (64UL * 1024 * 1024) /* a node that does not read its maps */

struct node_link {
    struct list link;
    struct hmap_node by_id;
    struct node_links *all;
    struct resp_link *resp;
    uint64_t id;
    char ip[ADDR_TEXT];
    int64_t since_ms;
    bool spoke;   /* sent a whole message */
    bool closing; /* by us: nothing more is heard from it */
};

struct node_links {
    struct loop *loop;
    struct listener *listener;
    struct node_links_port port;
    struct list links;
    struct hmap by_id;
    size_t count;
    uint64_t id_last;
};

static struct node_link *find(const struct node_links *n, uint64_t id)
{
    for (struct hmap_node *h = hmap_first(&n->by_id, id); h != NULL; h = hmap_same(h)) {
        struct node_link *k = container_of(h, struct node_link, by_id);
        if (k->id == id) {
            return k;
        }
    }
    return NULL;
}

static void drop(struct node_link *k)
{
    list_remove(&k->link);
    hmap_remove(&k->all->by_id, &k->by_id);
    k->all->count--;
    resp_link_free(&k->resp);
    mem_free(k);
}

/* Ends the link and tells the coordinator, once. */
static void fail(struct node_link *k)
{
    struct node_links *n = k->all;
    uint64_t id = k->id;
    bool told = k->closing;
    drop(k);
    if (!told) {
        n->port.down(n->port.arg, id);
    }
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct node_link *k = resp_link_owner(l);
    if (k->closing) {
        return;
    }
    struct wire_message m;
    const char *wrong = type == '*' ? wire_decode(argv, argc, &m) : "not a message";
    if (wrong != NULL) {
        log_event(LOG_VERBOSE, "control", "bad message on a node link from=%s what=\"%s\"", k->ip,
                  wrong);
        resp_link_send_raw(l, SLICE("-ERR this port is for nodes of a Shoal cluster\r\n"));
        k->closing = true;
        resp_link_close_after_flush(l);
        k->since_ms = loop_now_ms(k->all->loop);
        k->all->port.down(k->all->port.arg, k->id);
        return;
    }
    k->spoke = true;
    k->all->port.message(k->all->port.arg, k->id, k->ip, &m);
    wire_message_fini(&m);
}

static void on_down(struct resp_link *l, int err)
{
    (void)err;
    fail(resp_link_owner(l));
}

static void on_accept(void *arg, int fd)
{
    struct node_links *n = arg;
    if (n->count >= LINKS_MAX) {
        log_event(LOG_WARNING, "control", "too many node links count=%zu", n->count);
        (void)close(fd);
        return;
    }
    struct node_link *k = mem_zalloc(sizeof(*k));
    k->all = n;
    k->id = ++n->id_last;
    k->since_ms = loop_now_ms(n->loop);
    k->resp = resp_link_accept(n->loop, fd, k, on_message, on_down);
    resp_link_limit(k->resp, STRANGER_BYTES);
    char peer[ADDR_TEXT];
    resp_link_peer(k->resp, peer, sizeof(peer));
    int port = 0;
    if (!addr_split(peer, k->ip, sizeof(k->ip), &port)) {
        (void)snprintf(k->ip, sizeof(k->ip), "?");
    }
    list_append(&n->links, &k->link);
    hmap_insert(&n->by_id, &k->by_id, k->id);
    n->count++;
}

struct node_links *node_links_new(struct loop *l, const char *host, int port,
                                  const struct node_links_port *to, struct errmsg *err)
{
    struct node_links *n = mem_zalloc(sizeof(*n));
    n->loop = l;
    n->port = *to;
    list_init(&n->links);
    n->listener = listener_new(l, host, port, BACKLOG, false, on_accept, n, err);
    if (n->listener == NULL) {
        mem_free(n);
        return NULL;
    }
    return n;
}

void node_links_free(struct node_links **np)
{
    struct node_links *n = *np;
    if (n == NULL) {
        return;
    }
    *np = NULL;
    listener_free(&n->listener);
    LIST_FOREACH_SAFE(it, &n->links) {
        drop(container_of(it, struct node_link, link));
    }
    hmap_fini(&n->by_id);
    mem_free(n);
}

int node_links_listening(const struct node_links *n)
{
    return listener_port(n->listener);
}

void node_links_send(struct node_links *n, uint64_t link, const struct wire_message *m)
{
    struct node_link *k = find(n, link);
    if (k == NULL || k->closing) {
        return;
    }
    if (m->kind == WIRE_WELCOME) {
        resp_link_limit(k->resp, RESP_LINK_BYTES);
    }
    struct wire_frame f = {0};
    wire_encode(m, &f);
    resp_link_send(k->resp, f.argv, f.argc);
    wire_frame_fini(&f);
}

void node_links_close(struct node_links *n, uint64_t link)
{
    struct node_link *k = find(n, link);
    if (k != NULL && !k->closing) {
        k->closing = true;
        k->since_ms = loop_now_ms(n->loop);
        resp_link_close_after_flush(k->resp);
    }
}

void node_links_tick(struct node_links *n, int64_t now_ms)
{
    LIST_FOREACH_SAFE(it, &n->links) {
        struct node_link *k = container_of(it, struct node_link, link);
        int64_t age = now_ms - k->since_ms;
        if ((k->closing && age > CLOSING_MS) || (!k->spoke && age > FIRST_MESSAGE_MS) ||
            resp_link_queued(k->resp) > QUEUED_BYTES_LIMIT) {
            fail(k);
        }
    }
}
