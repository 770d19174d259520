// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/account.h"

#include "node/serve/client.h"
#include "node/serve/monitor.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"
#include "node/serve/tracking.h"

#include "common/app/cmdstats.h"
#include "common/app/config_command.h"
#include "common/app/latency.h"
#include "common/app/slowlog.h"
#include "common/base/mem.h"

#include <stdlib.h>

#define SHOWN_ARGS_MAX 64 /* more than the slow log keeps */

/* --- what must not be shown --- */

/* MIGRATE host port key db timeout [COPY] [REPLACE] [AUTH pass | AUTH2 user pass] [KEYS ...] */
static bool migrate_secret(const struct slice *argv, size_t argc, size_t i)
{
    for (size_t at = 6; at < argc && at < i; at++) {
        if (slice_is(argv[at], "keys")) {
            return false;
        }
        if (slice_is(argv[at], "auth") && at + 1 == i) {
            return true;
        }
        if (slice_is(argv[at], "auth2") && (at + 1 == i || at + 2 == i)) {
            return true;
        }
    }
    return false;
}

static bool hello_secret(const struct slice *argv, size_t argc, size_t i)
{
    for (size_t at = 2; at < argc && at < i; at++) {
        if (slice_is(argv[at], "auth") && (at + 1 == i || at + 2 == i)) {
            return true;
        }
    }
    return false;
}

/* Whether argument `i` is a secret, by the command that it belongs to. */
static bool is_secret(const struct call *k, size_t i)
{
    switch ((int)k->cmd->id) {
    case CMD_AUTH:
        return i > 0;
    case CMD_HELLO:
        return hello_secret(k->argv, k->argc, i);
    case CMD_MIGRATE:
        return migrate_secret(k->argv, k->argc, i);
    case CMD_CONFIG_SET:
        return config_is_secret(settings_options(), k->argv, k->argc, i);
    case CMD_ACL_SETUSER:
    case CMD_ACL_DELUSER:
    case CMD_ACL_GETUSER:
        return i > 1;
    default:
        return false;
    }
}

static bool may_hold_secret(const struct call *k)
{
    switch ((int)k->cmd->id) {
    case CMD_AUTH:
    case CMD_HELLO:
    case CMD_MIGRATE:
    case CMD_CONFIG_SET:
    case CMD_ACL_SETUSER:
    case CMD_ACL_DELUSER:
    case CMD_ACL_GETUSER:
        return true;
    default:
        return false;
    }
}

const struct slice *account_shown(const struct call *k, struct slice *room, size_t count)
{
    if (!may_hold_secret(k)) {
        return k->argv;
    }
    for (size_t i = 0; i < MIN(count, k->argc); i++) {
        room[i] = is_secret(k, i) ? SLICE("(redacted)") : k->argv[i];
    }
    return room;
}

/* --- after each command --- */

static void note_slow(struct server *s, const struct call *k, int64_t us)
{
    const struct client *c = s->current;
    struct slice room[SHOWN_ARGS_MAX];
    if (slowlog_wants(s->settings->slowlog_log_slower_than, us) &&
        (k->cmd->flags & CF_SKIP_SLOWLOG) == 0) {
        slowlog_add(s->slowlog, loop_wall_ms(s->loop), us, account_shown(k, room, SHOWN_ARGS_MAX),
                    MIN(k->argc, SHOWN_ARGS_MAX), c->peer,
                    slice_str(c->name == NULL ? "" : c->name));
    }
    if (latency_wants(s->settings->latency_monitor_threshold, us / 1000)) {
        latency_add(s->latency, k->cmd->flags & CF_FAST ? "fast-command" : "command",
                    loop_wall_ms(s->loop), us / 1000);
    }
}

/* What ran inside has moved ticks_last on. */
static inline uint64_t started(struct server *s, const struct command *cmd)
{
    if (UNLIKELY(cmd->id == CMD_EXEC)) {
        return s->exec_ticks;
    }
    if (UNLIKELY(command_is_script(cmd)) && s->script_ticks != 0) {
        uint64_t from = s->script_ticks;
        s->script_ticks = 0; /* one that fails before it runs has none */
        return from;
    }
    return s->ticks_last;
}

static void after(struct call *k)
{
    struct server *s = k->server;
    uint64_t now = ticks_now(&s->scale);
    bool shown = command_is_script(k->cmd) && s->script_ticks != 0;
    uint64_t from = started(s, k->cmd);
    int64_t ns = (int64_t)ticks_to_ns(&s->scale, now - from);
    s->ticks_last = now;
    s->ran = true;
    if (UNLIKELY(k->wait.asked)) { /* it is counted when it is answered, but shown when it came */
        if (s->n_monitors > 0 && !k->wait.again) {
            monitor_feed(s, k);
        }
        return;
    }
    s->stats.commands++;
    if (UNLIKELY(s->ks->changed != NULL)) {
        tracking_after(s, k);
    }
    cmdstats_called(s->cmdstats, k->cmd->id, ns, k->w.errors != 0);
    if (UNLIKELY(k->session->in_script)) {
        cmdstats_called(s->scriptstats, k->cmd->id, ns, k->w.errors != 0);
    }
    if (UNLIKELY(k->w.errors != 0) && !k->error_counted) {
        cmdstats_error(s->cmdstats, k->w.code);
    }
    if (UNLIKELY(ns >= s->slow_ns)) {
        note_slow(s, k, ns / 1000);
    }
    if (UNLIKELY(s->n_monitors > 0) && !k->wait.again && !shown) {
        monitor_feed(s, k);
    }
}

void account_waited(struct server *s, const struct command *cmd, const struct resp_writer *w)
{
    s->stats.commands++;
    cmdstats_called(s->cmdstats, cmd->id, 0, w->errors != 0);
    if (w->errors != 0) {
        cmdstats_error(s->cmdstats, w->code);
    }
}

/* --- refusals --- */

void account_error(struct server *s, const char *code)
{
    cmdstats_error(s->cmdstats, code);
}

void account_rejected(struct server *s, const struct command *cmd, const char *code)
{
    if (cmd != NULL) {
        cmdstats_rejected(s->cmdstats, cmd->id);
    }
    cmdstats_error(s->cmdstats, code);
}

void account_rejected_in_script(struct server *s, const struct command *cmd, const char *code)
{
    account_rejected(s, cmd, code);
    if (cmd != NULL) {
        cmdstats_rejected(s->scriptstats, cmd->id);
    }
}

void account_expire_cycle(struct server *s, uint64_t ns)
{
    int64_t ms = (int64_t)(ns / 1000000);
    if (latency_wants(s->settings->latency_monitor_threshold, ms)) {
        latency_add(s->latency, "expire-cycle", loop_wall_ms(s->loop), ms);
    }
}

/* --- life --- */

void account_init(struct server *s)
{
    s->cmdstats = cmdstats_new(s->settings->latency_tracking);
    s->scriptstats = cmdstats_new(false);
    s->slowlog = slowlog_new();
    s->latency = latency_new();
    s->table.after = after;
}

void account_fini(struct server *s)
{
    cmdstats_free(&s->cmdstats);
    cmdstats_free(&s->scriptstats);
    slowlog_free(&s->slowlog);
    latency_free(&s->latency);
}

void account_settings_changed(struct server *s)
{
    const struct settings *o = s->settings;
    slowlog_set_threshold(s->slowlog, o->slowlog_log_slower_than);
    slowlog_set_len_max(s->slowlog, o->slowlog_max_len);
    latency_set_threshold(s->latency, o->latency_monitor_threshold);
    s->cmdstats->tracking = o->latency_tracking;
    /* The one threshold looked at after each command: the lower of the two that need a look. */
    int64_t slow_ns = INT64_MAX;
    if (o->slowlog_log_slower_than >= 0) {
        slow_ns = MIN(o->slowlog_log_slower_than, INT64_MAX / 1000) * 1000;
    }
    if (o->latency_monitor_threshold > 0) {
        slow_ns = MIN(slow_ns, MIN(o->latency_monitor_threshold, INT64_MAX / 1000000) * 1000000);
    }
    s->slow_ns = slow_ns;
}

void account_reset(struct server *s)
{
    const struct server_stats kept = s->stats;
    struct keyspace_stats *k = &s->ks->stats;
    struct server_traffic now;
    cmdstats_reset(s->cmdstats);
    cmdstats_reset(s->scriptstats);
    server_traffic(s, &now);
    s->stats = (struct server_stats){.memory_peak = mem_used(), .cron_turns = kept.cron_turns};
    /* What open connections counted stays with them: taken off here. */
    s->stats.closed_in = kept.closed_in - now.bytes_in;
    s->stats.closed_out = kept.closed_out - now.bytes_out;
    s->stats.closed_reads = kept.closed_reads - now.reads;
    s->stats.closed_writes = kept.closed_writes - now.writes;
    s->ops.last = 0;
    s->bytes_in.last = 0;
    s->bytes_out.last = 0;
    k->hits = 0;
    k->misses = 0;
    k->expired_keys = 0;
    k->evicted_keys = 0;
    k->expired_time_cap_reached = 0;
    k->lazyfreed_objects = 0;
    k->lazyfreed_copies = 0;
    loop_took_reset(s->loop);
    replicate_reset(s);
}
