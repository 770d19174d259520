// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/admin/admin.h"

#include "proxy/admin/admin_priv.h"

#include "common/io/addr.h"
#include "common/io/stream.h"

enum local_result refuse(struct local_call *c, const char *text)
{
    resp_error(c->w, text);
    return LOCAL_DONE;
}

struct client *client_or_null(const struct local_call *c)
{
    return c->session == NULL || c->session->id == 0 ? NULL : client_of(c->session);
}

bool client_is_local(const struct local_call *c)
{
    const struct client *client = client_or_null(c);
    return client != NULL && addr_peer_is_local(client->stream->fd);
}

void admin_fill(struct local_table *t)
{
    admin_session(t);
    admin_client(t);
    admin_info(t);
    admin_config(t);
    admin_cluster(t);
    admin_server(t);
    admin_debug(t);
    admin_memory(t);
    admin_observe(t);
    admin_latency(t);
    admin_wait(t);
    admin_script(t);
    admin_tracking(t);
    admin_pubsub(t);
    admin_acl(t);
}
