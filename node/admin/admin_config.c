// SPDX-License-Identifier: BSD-3-Clause
/* CONFIG over the node's directives. */
#include "node/admin/admin_priv.h"
#include "node/serve/access.h"
#include "node/serve/config.h"

static void do_config(struct call *k)
{
    if (k->cmd->id == CMD_CONFIG_REWRITE) {
        access_fill_directives(server_of(k));
    }
    config_run(server_of(k), (client_of(k)->flags & CLIENT_LOCAL) != 0, k->argv, k->argc, &k->w);
}

void admin_config(struct call_table *t)
{
    static const enum command_id ids[] = {CMD_CONFIG_GET, CMD_CONFIG_SET, CMD_CONFIG_RESETSTAT,
                                          CMD_CONFIG_REWRITE, CMD_CONFIG_HELP};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        t->fn[ids[i]] = do_config;
    }
}
