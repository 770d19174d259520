// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/monitor.h"

#include "proxy/exec/exec.h"
#include "proxy/front/client.h"
#include "proxy/front/observe.h"
#include "proxy/front/worker_priv.h"

#include "common/base/mem.h"
#include "common/cmd/command.h"
#include "common/io/stream.h"
#include "common/io/ticks.h"

bool monitor_any(const struct worker *w)
{
    return atomic_load_explicit(&w->all->n_monitors, memory_order_relaxed) > 0;
}

/* Workers keep the bytes of all requests while somebody wants to see them. */
static void visit_settings(struct worker *w, void *arg, struct str *answer)
{
    (void)arg;
    (void)answer;
    worker_apply_options(w);
}

static void settled(struct worker *asker, void *arg, struct str *answers, int n)
{
    (void)asker;
    (void)arg;
    (void)answers;
    (void)n;
}

void monitor_start(struct client *c)
{
    struct worker *w = c->worker;
    if (!c->monitor) {
        c->monitor = true;
        w->n_monitors++;
        atomic_fetch_add(&w->all->n_monitors, 1);
        workers_ask(w, visit_settings, NULL, settled);
    }
}

void monitor_stop(struct client *c)
{
    struct worker *w = c->worker;
    if (c->monitor) {
        c->monitor = false;
        w->n_monitors--;
        atomic_fetch_sub(&w->all->n_monitors, 1);
    }
}

static void tell(struct worker *w, struct slice line)
{
    LIST_FOREACH(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        if (c->monitor && !c->doomed && !c->session.closing) {
            outbuf_append(&c->stream->out, line.ptr, line.len);
            stream_flush_later(c->stream);
            client_check_output(c);
        }
    }
}

static void visit_line(struct worker *w, void *arg, struct str *answer)
{
    (void)answer;
    if (w->n_monitors > 0) {
        tell(w, str_slice(arg));
    }
}

static void told(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct str *line = arg;
    (void)asker;
    (void)answers;
    (void)n;
    str_fini(line);
    mem_free(line);
}

void monitor_feed(struct worker *w, const struct request *r)
{
    const uint32_t hidden = CF_ADMIN | CF_SKIP_MONITOR;
    struct session *s = r->session != NULL && r->session->inner ? r->session->outer : r->session;
    if (s == NULL || s->id == 0 ||
        /* Redis shows a script itself, before what it calls, which only nodes see here. */
        ((r->command->flags & hidden) != 0 && !command_is_script(r->command))) {
        return;
    }
    struct str text = {0};
    struct resp_parser parser;
    struct slice own;
    size_t argc;
    const struct slice *argv = observe_words(w, r, &parser, &own, &argc);
    char peer[64];
    int64_t now_us = ticks_wall_us();
    int db = r->command->id == CMD_SELECT ? s->db : r->call.db; /* where it leads, as in Redis */
    stream_peer(client_of(s)->stream, peer, sizeof(peer));
    str_printf(&text, "+%lld.%06lld [%d %s]", (long long)(now_us / 1000000),
               (long long)(now_us % 1000000), db, peer);
    for (size_t i = 0; i < argc; i++) {
        str_append_char(&text, ' ');
        str_append_quoted(&text, argv[i]);
    }
    str_appendz(&text, "\r\n");
    resp_parser_fini(&parser);
    if (w->all->n == 1) {
        tell(w, str_slice(&text));
        str_fini(&text);
        return;
    }
    workers_ask(w, visit_line, mem_memdup(&text, sizeof(text)), told);
}
