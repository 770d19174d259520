// SPDX-License-Identifier: BSD-3-Clause
/* The server as a whole: COMMAND, time, role, shutdown, and what this version does not serve. */
#include "proxy/admin/admin_priv.h"

#include "common/app/version.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/base/rng.h"
#include "common/cmd/reply.h"

#include <signal.h>
#include <unistd.h>

static enum local_result do_command(struct local_call *c)
{
    command_reply(c->w, c->argv, c->argc);
    return LOCAL_DONE;
}

static enum local_result do_time(struct local_call *c)
{
    int64_t us = loop_wall_ms(worker_of(c)->loop) * 1000;
    resp_array(c->w, 2);
    resp_bulk_int(c->w, us / 1000000);
    resp_bulk_int(c->w, us % 1000000);
    return LOCAL_DONE;
}

static enum local_result do_role(struct local_call *c)
{
    resp_array(c->w, 3);
    resp_bulkz(c->w, "master");
    resp_int(c->w, 0);
    resp_array(c->w, 0);
    return LOCAL_DONE;
}

static enum local_result do_replicaof(struct local_call *c)
{
    return refuse(c, "ERR replicas belong to shards in Shoal: the coordinator assigns them");
}

/* --- SHUTDOWN --- */

struct shutdown_words {
    bool save, nosave, abort, other;
};

static bool read_shutdown(const struct local_call *c, struct shutdown_words *s)
{
    for (size_t i = 1; i < c->argc; i++) {
        if (slice_is(c->argv[i], "save")) {
            s->save = true;
        } else if (slice_is(c->argv[i], "nosave")) {
            s->nosave = true;
        } else if (slice_is(c->argv[i], "abort")) {
            s->abort = true;
        } else if (slice_is(c->argv[i], "now") || slice_is(c->argv[i], "force")) {
            s->other = true;
        } else {
            return false;
        }
    }
    return !(s->abort && (s->save || s->nosave || s->other)) && !(s->save && s->nosave);
}

/* As SIGTERM does it: the main thread stops workers, coordinator and local nodes in order. */
static enum local_result do_shutdown(struct local_call *c)
{
    struct shutdown_words s = {0};
    if (!read_shutdown(c, &s)) {
        return refuse(c, ERR_SYNTAX);
    }
    if (s.abort) {
        return refuse(c, "ERR No shutdown in progress.");
    }
    if (s.save) {
        return refuse(c, "ERR this version of Shoal has nothing to save to");
    }
    log_event(LOG_NOTICE, "server", "SHUTDOWN asked for client=%llu",
              (unsigned long long)c->session->id);
    c->request->close_after = true;
    (void)kill(getpid(), SIGTERM);
    resp_ok(c->w);
    return LOCAL_DONE;
}

static enum local_result do_lolwut(struct local_call *c)
{
    struct str text = {0};
    static const char *const fish[] = {"><(((o>", "><>", "><((*>", "><{{{o>", "<o)))><", "<><"};
    struct rng rng;
    rng_init(&rng, (uint64_t)loop_now_us(worker_of(c)->loop));
    for (int line = 0; line < 6; line++) {
        str_printf(&text, "%*s", (int)rng_below(&rng, 8), "");
        for (int i = 0; i < 4; i++) {
            str_printf(&text, "%s%*s", fish[rng_below(&rng, ARRAY_LEN(fish))],
                       1 + (int)rng_below(&rng, 7), "");
        }
        str_append_char(&text, '\n');
    }
    str_printf(&text, "\nMany fish, one shoal. Redis ver. %s, Shoal ver. %s\n", SHOAL_REDIS_VERSION,
               SHOAL_VERSION);
    resp_verbatim(c->w, "txt", str_slice(&text));
    str_fini(&text);
    return LOCAL_DONE;
}

static enum local_result do_module_list(struct local_call *c)
{
    resp_array(c->w, 0);
    return LOCAL_DONE;
}

/* All nodes have saved at least so late: the earliest of their times. */
static void merge_earliest(struct local_call *c, const struct fan_answer *answers, size_t n,
                           void *arg)
{
    int64_t earliest = INT64_MAX;
    (void)arg;
    for (size_t i = 0; i < n; i++) {
        struct slice reply = answers[i].reply;
        int64_t at;
        if (reply.len > 3 && reply.ptr[0] == ':' &&
            num_parse_i64(slice_of(reply.ptr + 1, reply.len - 3), &at)) {
            earliest = MIN(earliest, at);
        }
    }
    resp_int(c->w, earliest == INT64_MAX ? 0 : earliest);
}

static enum local_result do_lastsave(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_earliest, NULL);
}

/* Each node its own shards. */
static enum local_result do_save(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, NULL, NULL);
}

static enum local_result do_module_help(struct local_call *c)
{
    command_module_help(c->w);
    return LOCAL_DONE;
}

/* There is no directive that allows it. */
static enum local_result do_module(struct local_call *c)
{
    return refuse(c,
                  "ERR MODULE command not allowed. If the enable-module-command option is set to "
                  "\"local\", you can run it from a local connection, otherwise you need to set "
                  "this option in the configuration file, and then restart the server.");
}

static enum local_result do_follow(struct local_call *c)
{
    resp_errorf(c->w,
                "ERR %s is for the nodes: a proxy keeps no data. PROXY NODES tells their addresses",
                c->command->full_name);
    return LOCAL_DONE;
}

static enum local_result do_failover(struct local_call *c)
{
    return refuse(c, "ERR FAILOVER not allowed in cluster mode.");
}

static enum local_result do_script_debug(struct local_call *c)
{
    if (!command_script_debug(c->w, c->argv[2])) {
        c->request->close_after = true;
        c->session->closing = true;
    }
    return LOCAL_DONE;
}

void admin_server(struct local_table *t)
{
    local_table_set(t, CMD_COMMAND, do_command, 0);
    local_table_set(t, CMD_TIME, do_time, 0);
    local_table_set(t, CMD_ROLE, do_role, 0);
    local_table_set(t, CMD_REPLICAOF, do_replicaof, 0);
    local_table_set(t, CMD_SLAVEOF, do_replicaof, 0);
    local_table_set(t, CMD_SHUTDOWN, do_shutdown, LOCAL_ORDERED);
    local_table_set(t, CMD_FAILOVER, do_failover, 0);
    local_table_set(t, CMD_SYNC, do_follow, 0);
    local_table_set(t, CMD_PSYNC, do_follow, 0);
    local_table_set(t, CMD_REPLCONF, do_follow, 0);
    local_table_set(t, CMD_LOLWUT, do_lolwut, 0);
    local_table_set(t, CMD_SCRIPT_DEBUG, do_script_debug, 0);
    local_table_set(t, CMD_MODULE_LIST, do_module_list, 0);
    local_table_set(t, CMD_MODULE_HELP, do_module_help, 0);
    local_table_set(t, CMD_MODULE_LOAD, do_module, 0);
    local_table_set(t, CMD_MODULE_LOADEX, do_module, 0);
    local_table_set(t, CMD_MODULE_UNLOAD, do_module, 0);
    local_table_set(t, CMD_LASTSAVE, do_lastsave, 0);
    local_table_set(t, CMD_SAVE, do_save, 0);
    local_table_set(t, CMD_BGSAVE, do_save, 0);
    local_table_set(t, CMD_BGREWRITEAOF, do_save, 0);
}
