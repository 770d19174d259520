// SPDX-License-Identifier: BSD-3-Clause
/* Shared among the files of node/admin only. */
#pragma once

#include "node/cmd/call.h"
#include "node/serve/client.h"
#include "node/serve/server.h"

#include "common/resp/errors.h"

void admin_session(struct call_table *t);
void admin_client(struct call_table *t);
void admin_cluster(struct call_table *t);
void admin_server(struct call_table *t);
void admin_observe(struct call_table *t);
void admin_config(struct call_table *t);
void admin_info(struct call_table *t);
void admin_debug(struct call_table *t);
void admin_replication(struct call_table *t);
/* SHOAL LINK and SHOAL SHARDS. */
void admin_shoal_link(struct call *k);
void admin_shoal_shards(struct call *k);
/* INFO replication. */
void admin_put_replication(void *arg, struct str *to);
void admin_durable(struct call_table *t);
void admin_pubsub(struct call_table *t);
/* SHOAL EAR and SHOAL SUBSCRIBE. */
void admin_shoal_ear(struct call *k);
void admin_shoal_subscribe(struct call *k);

static inline struct server *server_of(const struct call *k)
{
    return k->server;
}

static inline struct client *client_of(const struct call *k)
{
    return ((struct server *)k->server)->current;
}

/* For what a later version will do: "ERR command 'x' is not served by this version of Shoal". */
void admin_not_served(struct call *k);
