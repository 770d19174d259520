// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/scripting.h"

#include "node/script/library_set.h"
#include "node/serve/account.h"
#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/libraries.h"
#include "node/serve/monitor.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"

#include "common/app/daemon.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"

#include <unistd.h>

/* Arrays in arrays: what a proxy looks through, and what our stack has room for. */
#define DEPTH_LANE  24
#define DEPTH_PLAIN 4000

static int64_t now_us(void *arg)
{
    (void)arg;
    return loop_clock_us();
}

static unsigned began(void *arg, struct call *c)
{
    struct server *s = arg;
    s->script_ticks = s->ticks_last;
    s->script_acted = false;
    if (s->n_monitors > 0) {
        monitor_feed(s, c);
    }
    if (s->repl != NULL && !c->session->in_exec) {
        replicate_exec(s, -1);
    }
    return s->current != NULL && (s->current->flags & CLIENT_LANE) != 0 ? DEPTH_LANE : DEPTH_PLAIN;
}

static bool marks_errors(void *arg, const struct call *c)
{
    const struct server *s = arg;
    return s->current != NULL && (s->current->flags & CLIENT_LANE) != 0 && !c->session->in_exec;
}

/* ---- what a script may call ---- */

static bool is_kept(struct server *s, const struct call *inner, struct str *why)
{
    const char *refusal = command_is_write(inner->cmd) ? server_write_refusal(s) : NULL;
    if (refusal != NULL) {
        str_appendz(why, refusal);
    }
    return refusal == NULL;
}

/* A script that declares no keys was sent anywhere, and has touched and done nothing here yet. */
static bool is_anywhere(struct server *s, const struct call *c)
{
    int64_t n_keys;
    return marks_errors(s, c) && c->argc > 2 && num_parse_i64(c->argv[2], &n_keys) && n_keys == 0 &&
           !replicate_exec_began(s) && !s->script_acted;
}

/* The first key that such a script touches says where it belongs: the proxy sends it there, as a
 * command of that key, which waits where it must. The address is for the form's sake: the proxy
 * goes by its own map, and there may be none here yet. */
static void send_to(struct server *s, uint32_t slot)
{
    struct str where = {0};
    s->stats.redirects++;
    str_printf(&where, "MOVED %u ?:0", slot);
    scripts_move(s->scripts, str_cstr(&where));
    str_fini(&where);
}

/* One that may write goes to where its first key may be written, though a copy here could be read:
 * what it reads it may write next. */
static enum repl_answer may_touch(struct server *s, const struct call *c, int shard, bool write)
{
    enum repl_answer answer = replicate_may(s, s->current, shard, write);
    if (answer == REPL_YES && !write && (c->cmd->flags & CF_READONLY) == 0 && is_anywhere(s, c) &&
        replicate_may(s, s->current, shard, true) == REPL_MOVED) {
        return REPL_MOVED;
    }
    return answer;
}

static bool key_allowed(struct server *s, const struct call *c, const struct call *inner,
                        struct slice key, struct str *why)
{
    uint32_t slot = slot_of(key);
    int shard = keyspace_shard_of(s->ks, (int)slot);
    bool write = command_is_write(inner->cmd);
    enum repl_answer answer = may_touch(s, c, shard, write);
    if (answer == REPL_YES) {
        replicate_exec(s, shard);
        return true;
    }
    if (answer != REPL_NOREPLICAS && is_anywhere(s, c)) {
        send_to(s, slot);
    }
    if (answer == REPL_MOVED) {
        str_appendz(why, "ERR Script attempted to access a non local key in a cluster node");
    } else {
        replicate_refusal(s, s->current, answer, slot, write, why);
    }
    return false;
}

static bool may_call(void *arg, const struct call *c, const struct call *inner, struct str *why)
{
    struct server *s = arg;
    if (!is_kept(s, inner, why)) {
        return false;
    }
    if (scripts_moved(s->scripts)) {
        str_appendz(why, "ERR the script is run elsewhere");
        return false;
    }
    bool keyless = !keys_possible(inner->cmd);
    s->script_acted =
        s->script_acted || (keyless && (inner->cmd->flags & (CF_WRITE | CF_MAY_REPLICATE)) != 0);
    if (s->repl == NULL || !keys_possible(inner->cmd) ||
        keys_find(inner->cmd, inner->argv, inner->argc, s->keys) != KEYS_OK) {
        return true;
    }
    for (uint32_t i = 0; i < s->keys->count; i++) {
        if (!key_allowed(s, c, inner, inner->argv[s->keys->keys[i].index], why)) {
            return false;
        }
    }
    return true;
}

static bool may_write(void *arg, const struct call *c, struct str *why)
{
    struct server *s = arg;
    (void)c;
    const char *refusal = server_write_refusal(s);
    if (refusal != NULL) {
        str_appendz(why, refusal);
    }
    return refusal == NULL;
}

static void rejected(void *arg, const struct command *cmd, const char *code)
{
    account_rejected_in_script(arg, cmd, code);
}

static void script_logs(void *arg, int level, struct slice text)
{
    static const enum log_level levels[] = {LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING};
    (void)arg;
    struct str quoted = {0};
    str_append_quoted(&quoted, text);
    log_event(levels[level], "script", "%s", str_cstr(&quoted));
    str_fini(&quoted);
}

static void ended(void *arg)
{
    dispatch_meanwhile_end(arg);
}

/* The node is to end and the script has written: nobody has seen that yet, and nobody will. It is
 * in no log, so after the start it was never run. */
NORETURN static void leave(struct server *s)
{
    log_event(LOG_WARNING, "script", "ended with the server, in the midst of its writes");
    daemon_remove_pidfile(s->settings->pidfile);
    _exit(0);
}

static void alive(void *arg)
{
    const struct server *s = arg;
    if (s->agent != NULL) {
        agent_alive(s->agent);
    }
}

static void busy(void *arg)
{
    struct server *s = arg;
    dispatch_meanwhile(s);
    if (s->stopping && scripts_has_written(s->scripts)) {
        leave(s);
    } else if (s->stopping) {
        scripts_abort(s->scripts);
    }
}

static bool keep_libraries(void *arg, struct str *why)
{
    return libraries_changed(arg, why);
}

/* ---- life ---- */

void scripting_settings_changed(struct server *s)
{
    s->script_settings.busy_threshold_ms = s->settings->busy_reply_threshold;
}

void scripting_init(struct server *s)
{
    const struct script_port port = {
        .arg = s,
        .now_us = now_us,
        .began = began,
        .ended = ended,
        .marks_errors = marks_errors,
        .may_call = may_call,
        .may_write = may_write,
        .rejected = rejected,
        .alive = alive,
        .busy = busy,
        .log = script_logs,
        .libraries_changed = keep_libraries,
    };
    s->script_settings.deprecated_api = s->settings->lua_enable_deprecated_api;
    s->script_settings.in_cluster = !s->settings->stand_alone;
    s->libraries = library_set_new();
    s->scripts = scripts_new(&port, &s->script_settings, rng_next(&s->rng));
    scripts_handlers(&s->table, s->scripts);
}

void scripting_fini(struct server *s)
{
    scripts_free(&s->scripts);
    library_set_free(&s->libraries);
}
