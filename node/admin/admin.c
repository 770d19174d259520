// SPDX-License-Identifier: BSD-3-Clause
#include "node/admin/admin.h"

#include "node/admin/admin_priv.h"

void admin_not_served(struct call *k)
{
    resp_errorf(&k->w, ERR_NOT_SERVED, k->cmd->full_name);
}

void admin_handlers(struct call_table *t)
{
    admin_session(t);
    admin_client(t);
    admin_cluster(t);
    admin_server(t);
    admin_observe(t);
    admin_config(t);
    admin_info(t);
    admin_debug(t);
    admin_replication(t);
    admin_durable(t);
    admin_pubsub(t);
}
