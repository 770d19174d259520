// SPDX-License-Identifier: BSD-3-Clause
/* CONFIG over the node's directives. */
#include "node/admin/admin_priv.h"
#include "node/serve/access.h"
#include "node/serve/account.h"
#include "node/serve/membership.h"

#include "common/app/config_command.h"

static bool on_change(void *arg, const struct option *o, struct errmsg *err)
{
    struct server *s = arg;
    struct errmsg why;
    bool listening = strcmp(o->name, "port") == 0 || strcmp(o->name, "bind") == 0;
    if (listening && !server_listen(s, &why)) {
        errmsg_set(err, strcmp(o->name, "port") == 0
                            ? "Unable to listen on this port. Check server logs."
                            : "Failed to bind to specified addresses.");
        return false;
    }
    if (strcmp(o->name, "zone") == 0 && strlen(s->settings->zone) >= ZONE_MAX) {
        errmsg_set(err, "longer than %d characters", ZONE_MAX - 1);
        return false;
    }
    if (strcmp(o->name, "weight") == 0 || strcmp(o->name, "zone") == 0) {
        membership_changed(s);
    }
    if (strncmp(o->name, "oom-score-adj", 13) == 0 &&
        !oom_score_apply(&s->oom_score, s->settings, err)) {
        return false;
    }
    if (strcmp(o->name, "requirepass") == 0) {
        access_requirepass(s);
    }
    server_settings_changed(s);
    return true;
}

static void reset_stats(void *arg)
{
    account_reset(arg);
}

static void do_config(struct call *k)
{
    struct server *s = server_of(k);
    int64_t may = s->settings->enable_protected_configs;
    bool local = (client_of(k)->flags & CLIENT_LOCAL) != 0;
    struct config_context context = {
        .table = settings_options(),
        .values = s->settings,
        .path = s->conf_path,
        .foreign = true,
        .allow_protected = may == PROTECT_YES || (may == PROTECT_LOCAL && local),
        .on_change = on_change,
        .reset_stats = reset_stats,
        .arg = s,
    };
    if (k->cmd->id == CMD_CONFIG_REWRITE) {
        access_fill_directives(s);
    }
    config_command(&context, k->argv, k->argc, &k->w);
}

void admin_config(struct call_table *t)
{
    static const enum command_id ids[] = {CMD_CONFIG_GET, CMD_CONFIG_SET, CMD_CONFIG_RESETSTAT,
                                          CMD_CONFIG_REWRITE, CMD_CONFIG_HELP};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        t->fn[ids[i]] = do_config;
    }
}
