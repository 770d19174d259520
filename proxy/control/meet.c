// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/meet.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/io/resp_link.h"
#include "common/model/map.h"

#include <stdio.h>

#define MEET_MS 3000

struct meet {
    struct list link;
    struct meets *all;
    struct resp_link *resp;
    struct loop_timer timeout;
    uint64_t request;
    int answers_to_skip; /* AUTH's, if it was well */
};

struct meets {
    struct loop *loop;
    meet_fn fn;
    void *arg;
    struct list meets;
    char host[NODE_HOST_MAX];
    int port;
};

static void drop(struct meet *m)
{
    list_remove(&m->link);
    loop_timer_fini(&m->timeout);
    resp_link_free(&m->resp);
    mem_free(m);
}

static void finish(struct meet *m, const char *prefix, struct slice text)
{
    struct meets *all = m->all;
    uint64_t request = m->request;
    struct str reply = {0};
    str_appendz(&reply, prefix);
    str_append_slice(&reply, text);
    str_appendz(&reply, "\r\n");
    drop(m);
    all->fn(all->arg, request, str_slice(&reply));
    str_fini(&reply);
}

static bool is_wildcard(const char *host)
{
    return host[0] == '\0' || host[0] == '*' || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0 || strcmp(host, "::*") == 0;
}

static void on_up(struct resp_link *l)
{
    struct meet *m = resp_link_owner(l);
    char local[ADDR_TEXT];
    char host[NODE_HOST_MAX];
    int port = 0;
    (void)snprintf(host, sizeof(host), "%s", m->all->host);
    if (is_wildcard(host)) {
        resp_link_local(l, local, sizeof(local));
        if (!addr_split(local, host, sizeof(host), &port)) {
            (void)snprintf(host, sizeof(host), "127.0.0.1");
        }
    }
    char number[NUM_I64_MAX_LEN + 1];
    size_t len = num_print_i64(number, m->all->port);
    struct slice join[] = {SLICE("SHOAL"), SLICE("JOIN"), slice_str(host), slice_of(number, len)};
    resp_link_send(l, join, ARRAY_LEN(join));
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct meet *m = resp_link_owner(l);
    if (type == '-') {
        finish(m, "-", argv[0]);
    } else if (m->answers_to_skip > 0) {
        m->answers_to_skip--;
    } else if (type == '+' && argc == 1) {
        finish(m, "+", argv[0]);
    } else {
        finish(m, "-", SLICE("ERR The node's answer is not understood"));
    }
}

static void on_down(struct resp_link *l, int err)
{
    if (err < 0) { /* the name is not known */
        finish(resp_link_owner(l), "-", SLICE("ERR Invalid node address specified"));
        return;
    }
    finish(resp_link_owner(l), "-ERR Can't reach the node: ",
           slice_str(err == 0 ? "it closed the connection" : strerror(err)));
}

static void on_timeout(struct loop_timer *t)
{
    finish(t->arg, "-", SLICE("ERR The node does not answer"));
}

struct meets *meets_new(struct loop *l, const char *host, int port, meet_fn fn, void *arg)
{
    struct meets *m = mem_zalloc(sizeof(*m));
    m->loop = l;
    m->fn = fn;
    m->arg = arg;
    m->port = port;
    (void)snprintf(m->host, sizeof(m->host), "%s", host == NULL ? "" : host);
    list_init(&m->meets);
    return m;
}

void meets_free(struct meets **mp)
{
    struct meets *m = *mp;
    if (m == NULL) {
        return;
    }
    *mp = NULL;
    LIST_FOREACH_SAFE(it, &m->meets) {
        drop(container_of(it, struct meet, link));
    }
    mem_free(m);
}

static void refuse(struct meets *all, uint64_t request, const char *reply)
{
    all->fn(all->arg, request, slice_str(reply));
}

void meets_start(struct meets *all, uint64_t request, const struct slice *argv, size_t argc)
{
    if (argc != 4 && argc != 5) {
        refuse(all, request, "-ERR wrong number of arguments for 'cluster|meet' command\r\n");
        return;
    }
    int64_t port = 0;
    char host[NODE_HOST_MAX];
    if (!num_parse_i64(argv[3], &port) || port < 1 || port > 65535) {
        refuse(all, request, "-ERR Invalid base port specified\r\n");
        return;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)MIN(argv[2].len, sizeof(host) - 1),
                   argv[2].ptr);
    if (host[0] == '\0' || strlen(host) != argv[2].len) {
        refuse(all, request, "-ERR Invalid node address specified\r\n");
        return;
    }
    struct meet *m = mem_zalloc(sizeof(*m));
    m->all = all;
    m->request = request;
    list_append(&all->meets, &m->link);
    loop_timer_init(&m->timeout, all->loop, on_timeout, m);
    m->resp = resp_link_connect(all->loop, host, (int)port, MEET_MS, m, on_up, on_message, on_down);
    loop_timer_start(&m->timeout, MEET_MS, 0);
    if (argc == 5) {
        struct slice auth[] = {SLICE("AUTH"), argv[4]};
        m->answers_to_skip = 1;
        resp_link_send(m->resp, auth, ARRAY_LEN(auth));
    }
}
