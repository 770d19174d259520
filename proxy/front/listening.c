// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/listening.h"

#include "proxy/front/options.h"
#include "proxy/front/worker_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"

struct listeners {
    struct listener *all[LISTENERS_MAX];
    int n;
};

static void close_all(struct listeners *l)
{
    while (l->n > 0) {
        listener_free(&l->all[--l->n]);
    }
}

/* "127.0.0.1 -::1": each address in turn; one with '-' may fail. What was opened is in `to`. */
static bool open_all(struct worker *w, int *port, bool share, struct listeners *to,
                     struct errmsg *err)
{
    char *text = mem_strdup(w->options->bind);
    char *rest = text;
    char *word;
    bool good = true;
    while (good && (word = strtok_r(rest, " ", &rest)) != NULL) {
        bool optional = *word == '-';
        const char *host = optional ? word + 1 : word;
        if (to->n == LISTENERS_MAX) {
            errmsg_set(err, "bind: more than %d addresses", LISTENERS_MAX);
            good = false;
            break;
        }
        struct listener *l = listener_new(w->loop, host, *port, (int)w->options->tcp_backlog, share,
                                          worker_accepted, w, err);
        if (l == NULL) {
            good = optional && strstr(err->text, "already in use") == NULL;
            continue;
        }
        if (*port == 0) {
            *port = listener_port(l);
        }
        to->all[to->n++] = l;
    }
    mem_free(text);
    return good && to->n > 0;
}

bool listening_claim(struct worker *w, int *port, struct errmsg *err)
{
    struct listeners tried = {0};
    bool good = open_all(w, port, false, &tried, err);
    close_all(&tried);
    return good;
}

bool listening_start(struct worker *w, int *port, struct errmsg *err)
{
    struct worker_impl *i = w->impl;
    struct listeners now = {0};
    if (!open_all(w, port, w->all->n > 1, &now, err)) {
        close_all(&now);
        return false;
    }
    for (int k = 0; k < i->n_listeners; k++) {
        listener_free(&i->listeners[k]);
    }
    memcpy(i->listeners, now.all, sizeof(i->listeners));
    i->n_listeners = now.n;
    i->port = *port;
    if (w->index == 0) {
        atomic_store(&w->all->port, *port);
    }
    return true;
}

void listening_move(struct worker *w)
{
    int port = (int)w->options->port;
    struct errmsg err;
    if (port == 0 || port == w->impl->port) {
        return;
    }
    if (!listening_start(w, &port, &err)) {
        log_event(LOG_WARNING, "server", "a worker stays on its old port: %s", err.text);
    } else if (w->index == 0) {
        log_event(LOG_NOTICE, "server", "listening on another port port=%d", port);
    }
}
