// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/pause.h"

#include "node/serve/client.h"

static void on_timer(struct loop_timer *t)
{
    pause_end(t->arg);
}

static void set_expiry(struct server *s)
{
    s->ks->settings.expires_keys =
        s->pause == PAUSE_NONE && !loop_timer_active(&s->pause_expiry_timer);
}

static void on_expiry_timer(struct loop_timer *t)
{
    set_expiry(t->arg);
}

void pause_init(struct server *s)
{
    loop_timer_init(&s->pause_expiry_timer, s->loop, on_expiry_timer, s);
    list_init(&s->paused);
    loop_timer_init(&s->pause_timer, s->loop, on_timer, s);
}

void pause_start(struct server *s, enum pause_kind kind, int64_t for_ms)
{
    int64_t now_us = loop_now_us(s->loop);
    int64_t until_us = now_us + for_ms * 1000;
    s->pause = MAX(s->pause, kind);
    s->pause_until_us = MAX(s->pause_until_us, until_us);
    set_expiry(s);
    loop_timer_start(&s->pause_timer, (s->pause_until_us - now_us + 999) / 1000, 0);
}

void pause_end(struct server *s)
{
    if (s->pause == PAUSE_NONE) {
        return;
    }
    s->pause = PAUSE_NONE;
    s->pause_until_us = 0;
    set_expiry(s);
    loop_timer_stop(&s->pause_timer);
    pause_release(s);
}

void pause_release(struct server *s)
{
    if (s->pause != PAUSE_NONE) {
        return;
    }
    LIST_FOREACH_SAFE(it, &s->paused) {
        struct client *c = container_of(it, struct client, waiting);
        list_remove(&c->waiting);
        c->flags &= ~(uint32_t)CLIENT_PAUSED;
        stream_resume(c->stream);
    }
}

void pause_expiry(struct server *s, int64_t for_ms)
{
    if (for_ms > 0) {
        loop_timer_start(&s->pause_expiry_timer, for_ms, 0);
    } else {
        loop_timer_stop(&s->pause_expiry_timer);
    }
    set_expiry(s);
}

void pause_fini(struct server *s)
{
    loop_timer_fini(&s->pause_timer);
    loop_timer_fini(&s->pause_expiry_timer);
}

static bool command_changes(const struct server *s, const struct command *cmd,
                            const struct slice *argv, size_t argc)
{
    return command_is_script(cmd) ? scripts_may_write(s->scripts, cmd, argv, argc)
                                  : (cmd->flags & (CF_WRITE | CF_MAY_REPLICATE)) != 0;
}

static bool may_change(const struct client *c, const struct call *k)
{
    if (k->cmd->id != CMD_EXEC) {
        return command_changes(c->server, k->cmd, k->argv, k->argc);
    }
    for (size_t i = 0; i < c->session.queued; i++) {
        const struct queued *q = &c->session.queue[i];
        if (command_changes(c->server, q->cmd, q->argv, q->argc)) {
            return true;
        }
    }
    return false;
}

bool pause_holds(struct server *s, struct client *c, const struct call *k)
{
    if (s->pause == PAUSE_NONE || (s->pause == PAUSE_WRITE && !may_change(c, k))) {
        return false;
    }
    pause_client(s, c);
    return true;
}

void pause_client(struct server *s, struct client *c)
{
    c->flags |= CLIENT_PAUSED;
    list_append(&s->paused, &c->waiting);
    stream_pause(c->stream);
}
