// SPDX-License-Identifier: BSD-3-Clause
/* The server as a whole: time, shutdown, and the families of which only a part is true yet.
 */
#include "node/admin/admin_priv.h"
#include "node/serve/durable.h"

#include "common/app/version.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/io/ticks.h"

static void do_command(struct call *k)
{
    command_reply(&k->w, k->argv, k->argc);
}

static void do_time(struct call *k)
{
    int64_t now_us = ticks_wall_us();
    resp_array(&k->w, 2);
    resp_bulk_int(&k->w, now_us / 1000000);
    resp_bulk_int(&k->w, now_us % 1000000);
}

static void do_replicaof(struct call *k)
{
    resp_error(&k->w, "ERR replicas belong to shards in Shoal: the coordinator assigns them");
}

/* --- SHUTDOWN --- */

static void do_shutdown(struct call *k)
{
    bool abort = false, other = false, save = false, nosave = false;
    for (size_t i = 1; i < k->argc; i++) {
        save = save || slice_is(k->argv[i], "save");
        nosave = nosave || slice_is(k->argv[i], "nosave");
        if (slice_is(k->argv[i], "abort")) {
            abort = true;
        } else if (slice_is(k->argv[i], "save") || slice_is(k->argv[i], "nosave") ||
                   slice_is(k->argv[i], "now") || slice_is(k->argv[i], "force")) {
            other = true;
        } else {
            resp_error(&k->w, ERR_SYNTAX);
            return;
        }
    }
    if ((abort && other) || (save && nosave)) {
        resp_error(&k->w, ERR_SYNTAX);
    } else if (!nosave && server_of(k)->busy) {
        resp_error(&k->w, script_busy_error(scripts_busy(server_of(k)->scripts)));
    } else if (abort) {
        resp_error(&k->w, "ERR No shutdown in progress.");
    } else if ((save || (!nosave && server_of(k)->settings->save.n > 0)) &&
               !durable_last_save(server_of(k))) {
        resp_error(&k->w, "ERR Errors trying to SHUTDOWN. Check logs.");
    } else {
        log_event(LOG_NOTICE, "server", "SHUTDOWN asked for client=%llu addr=%s",
                  (unsigned long long)client_of(k)->id, client_of(k)->peer);
        server_stop(server_of(k));
        client_close_after_reply(client_of(k));
    }
}

static void do_lolwut(struct call *k)
{
    struct str text = {0};
    static const char *const fish[] = {"><(((o>", "><>", "><((*>", "><{{{o>", "<o)))><", "<><"};
    for (int line = 0; line < 6; line++) {
        str_printf(&text, "%*s", (int)rng_below(k->rng, 8), "");
        for (int i = 0; i < 4; i++) {
            str_printf(&text, "%s%*s", fish[rng_below(k->rng, ARRAY_LEN(fish))],
                       1 + (int)rng_below(k->rng, 7), "");
        }
        str_append_char(&text, '\n');
    }
    str_printf(&text, "\nMany fish, one shoal. Redis ver. %s, Shoal ver. %s\n", SHOAL_REDIS_VERSION,
               SHOAL_VERSION);
    resp_verbatim(&k->w, "txt", str_slice(&text));
    str_fini(&text);
}

/* --- families of which there is nothing to list yet --- */

static void do_module_list(struct call *k)
{
    resp_array(&k->w, 0);
}

/* --- MONITOR --- */

static void do_module_help(struct call *k)
{
    command_module_help(&k->w);
}

static void do_monitor(struct call *k)
{
    struct client *c = client_of(k);
    if (k->session->in_exec) {
        resp_error(&k->w, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if ((c->flags & CLIENT_MONITOR) == 0) {
        c->flags |= CLIENT_MONITOR;
        server_of(k)->n_monitors++;
    }
    resp_ok(&k->w);
}

static void do_script_debug(struct call *k)
{
    struct client *c = client_of(k);
    if (!command_script_debug(&k->w, k->argv[2]) && (c->flags & CLIENT_LANE) == 0) {
        client_close_after_reply(c);
    }
}

void admin_server(struct call_table *t)
{
    static const enum command_id commands[] = {CMD_COMMAND,
                                               CMD_COMMAND_COUNT,
                                               CMD_COMMAND_DOCS,
                                               CMD_COMMAND_GETKEYS,
                                               CMD_COMMAND_GETKEYSANDFLAGS,
                                               CMD_COMMAND_HELP,
                                               CMD_COMMAND_INFO,
                                               CMD_COMMAND_LIST};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        t->fn[commands[i]] = do_command;
    }
    t->fn[CMD_TIME] = do_time;
    t->fn[CMD_REPLICAOF] = do_replicaof;
    t->fn[CMD_SLAVEOF] = do_replicaof;
    t->fn[CMD_SHUTDOWN] = do_shutdown;
    t->fn[CMD_LOLWUT] = do_lolwut;
    t->fn[CMD_MODULE_HELP] = do_module_help;
    t->fn[CMD_MODULE_LIST] = do_module_list;
    t->fn[CMD_MONITOR] = do_monitor;
    t->fn[CMD_SCRIPT_DEBUG] = do_script_debug;
}
