// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/busy.h"

#include "node/serve/client.h"
#include "node/serve/server.h"

#include "common/base/num.h"

#define AGAIN_US (1000 * 1000)

/* A lane's own words, which change nothing but what the connection is. */
static bool is_small_talk(const struct call *k)
{
    switch ((int)k->cmd->id) {
    case CMD_SELECT:
    case CMD_PING:
    case CMD_CLIENT_TRACKING:
    case CMD_CLIENT_CACHING:
        return true;
    default:
        return false;
    }
}

bool busy_allows(const struct client *c, const struct call *k)
{
    return (k->cmd->flags & CF_ALLOW_BUSY) != 0 || k->cmd->id == CMD_SHOAL ||
           ((c->flags & CLIENT_LANE) != 0 && !c->session.in_multi && is_small_talk(k));
}

bool busy_defers(const struct call *k)
{
    return k->cmd->id == CMD_SHOAL && k->argc > 1 &&
           (slice_is(k->argv[1], "link") || slice_is(k->argv[1], "join"));
}

static void tell(struct client *c, int64_t number, bool keyless, const char *text)
{
    struct resp_writer w = {.out = &c->stream->out, .proto = 3};
    resp_push(&w, 4);
    resp_bulkz(&w, "busy");
    resp_int(&w, number);
    resp_int(&w, keyless);
    resp_bulkz(&w, text);
    stream_flush_later(c->stream);
}

static bool is_told(const struct client *c)
{
    return (c->flags & CLIENT_LANE) != 0 && (c->flags & CLIENT_CLOSING) == 0;
}

static const char *text_of(const struct server *s)
{
    return script_busy_error(scripts_running(s->scripts));
}

/* EXEC's script may have keys or not: it stands among others. */
static bool is_keyless(const struct call *k)
{
    int64_t n;
    return command_is_script(k->cmd) && k->argc > 2 && num_parse_i64(k->argv[2], &n) && n == 0;
}

void busy_begin(struct server *s, const struct call *k)
{
    s->busy_keyless = is_keyless(k);
    s->busy_told_us = loop_clock_us();
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        int64_t number = -1;
        if (!is_told(c)) {
            continue;
        }
        if ((c->flags & CLIENT_SHARED) != 0 && (c == s->current || c == s->collecting)) {
            number = c == s->current ? (int64_t)k->number : (int64_t)(c->commands - c->lane_from);
            c->flags |= CLIENT_SPENT;
        }
        tell(c, number, s->busy_keyless, text_of(s));
    }
}

void busy_again(struct server *s)
{
    /* Their streams are not served while the script runs. */
    if (s->current != NULL) {
        stream_flush_now(s->current->stream);
    }
    if (s->collecting != NULL && s->collecting != s->current) {
        stream_flush_now(s->collecting->stream);
    }
    int64_t now_us = loop_clock_us();
    if (now_us - s->busy_told_us < AGAIN_US) {
        return;
    }
    s->busy_told_us = now_us;
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (is_told(c)) {
            tell(c, -1, s->busy_keyless, text_of(s));
        }
    }
}

void busy_end(struct server *s)
{
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (is_told(c)) {
            tell(c, -1, false, "");
        }
        if ((c->flags & CLIENT_SPENT) != 0 && c != s->current) {
            client_close_after_reply(c);
        }
    }
}
