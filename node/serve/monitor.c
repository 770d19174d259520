// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/monitor.h"

#include "node/serve/account.h"
#include "node/serve/client.h"
#include "node/serve/server.h"

#include "common/base/mem.h"
#include "common/io/ticks.h"

static void print_command(struct server *s, const struct call *k, struct str *to)
{
    int64_t now_us = ticks_wall_us();
    str_printf(to, "+%lld.%06lld [%d %s]", (long long)(now_us / 1000000),
               (long long)(now_us % 1000000), k->session->db,
               k->session->in_script ? "lua" : s->current->peer);
    struct slice *room = mem_alloc(k->argc * sizeof(*room));
    const struct slice *shown = account_shown(k, room, k->argc);
    for (size_t i = 0; i < k->argc; i++) {
        str_append_char(to, ' ');
        str_append_quoted(to, shown[i]);
    }
    mem_free(room);
    str_appendz(to, "\r\n");
}

void monitor_feed(struct server *s, const struct call *k)
{
    const uint32_t hidden = CF_ADMIN | CF_SKIP_MONITOR;
    /* A script is shown as it begins, before what it calls. */
    if ((k->cmd->flags & hidden) != 0 && !command_is_script(k->cmd)) {
        return;
    }
    struct str line = {0};
    print_command(s, k, &line);
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if ((c->flags & CLIENT_MONITOR) == 0 || (c->flags & CLIENT_CLOSING) != 0) {
            continue;
        }
        outbuf_append(&c->stream->out, line.ptr, line.len);
        stream_flush_later(c->stream);
        client_check_output(c);
    }
    str_fini(&line);
}
