// SPDX-License-Identifier: BSD-3-Clause
/* CLUSTER on a node: the real topology, as the coordinator told it last. What changes the cluster
 * is passed on to the coordinator, as are the views of PROXY. */
#include "node/admin/admin_priv.h"
#include "node/serve/errand.h"
#include "node/serve/membership.h"

#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/cmd/slot.h"
#include "common/model/map_text.h"

#include <stdio.h>

/* The map to show; of this node alone before the first has come, and when the cluster has let go of
 * it. The caller unrefs it. */
static struct map *map_to_show(const struct server *s, int *self)
{
    if (s->map != NULL && agent_map(s->agent) != NULL) {
        *self = s->self;
        return map_ref(s->map);
    }
    struct map *m = map_build_new(s->ks->n_shards, s->id);
    struct map_node n = {.port = s->port, .weight = 100, .state = NODE_HEALTHY};
    snprintf(n.host, sizeof(n.host), "%s", s->settings->announce_host);
    memcpy(n.id, s->id, sizeof(n.id));
    *self = map_build_add_node(m, &n);
    return m;
}

static void show(struct call *k, void (*text)(const struct map_view *v, struct resp_writer *w))
{
    struct server *s = server_of(k);
    struct map_view v = {0};
    struct map *m = map_to_show(s, &v.self);
    v.map = m;
    text(&v, &k->w);
    map_unref(&m);
}

static void do_slots(struct call *k)
{
    show(k, map_text_slots);
}

static void do_shards(struct call *k)
{
    show(k, map_text_shards);
}

static void do_nodes(struct call *k)
{
    show(k, map_text_nodes);
}

static void do_info(struct call *k)
{
    show(k, map_text_info);
}

static void do_links(struct call *k)
{
    show(k, map_text_links);
}

static void do_myid(struct call *k)
{
    resp_bulkz(&k->w, server_of(k)->id);
}

static void do_keyslot(struct call *k)
{
    resp_int(&k->w, slot_of(k->argv[2]));
}

/* --- keys of a slot --- */

/* Of a slot that another node serves a copy here is not shown: tools that look whether keys are
 * left of a slot that went away would try to move them. */
static bool shows_slot(struct call *k, int64_t slot)
{
    const struct client *c = client_of(k);
    return (c->flags & (CLIENT_LANE | CLIENT_READONLY)) != 0 ||
           keyspace_serves(k->ks, keyspace_shard_of(k->ks, (int)slot));
}

static void do_countkeysinslot(struct call *k)
{
    int64_t slot;
    if (!num_parse_i64(k->argv[2], &slot)) {
        resp_error(&k->w, ERR_NOT_INT);
    } else if (slot < 0 || slot >= SLOT_COUNT) {
        resp_error(&k->w, "ERR Invalid slot");
    } else {
        resp_int(&k->w,
                 shows_slot(k, slot) ? (int64_t)keyspace_count_in_slot(k->ks, (int)slot) : 0);
    }
}

struct key_names {
    struct outbuf bytes;
    struct resp_writer w;
    size_t count;
};

static void add_key(void *arg, struct slice key)
{
    struct key_names *n = arg;
    resp_bulk(&n->w, key);
    n->count++;
}

static void do_getkeysinslot(struct call *k)
{
    int64_t slot, most;
    if (!num_parse_i64(k->argv[2], &slot) || !num_parse_i64(k->argv[3], &most)) {
        resp_error(&k->w, ERR_NOT_INT);
        return;
    }
    if (slot < 0 || slot >= SLOT_COUNT || most < 0) {
        resp_error(&k->w, "ERR Invalid slot or number of keys");
        return;
    }
    struct key_names n = {0};
    n.w = (struct resp_writer){.out = &n.bytes, .proto = k->w.proto};
    if (shows_slot(k, slot)) {
        keyspace_keys_in_slot(k->ks, (int)slot, (uint64_t)most, add_key, &n);
    }
    resp_array(&k->w, n.count);
    outbuf_splice(k->w.out, &n.bytes);
    outbuf_fini(&n.bytes);
}

/* --- replicas of a node --- */

static void do_replicas(struct call *k)
{
    struct server *s = server_of(k);
    char id[NODE_ID_LEN + 1] = {0};
    if (k->argv[2].len == NODE_ID_LEN) {
        memcpy(id, k->argv[2].ptr, NODE_ID_LEN);
    }
    if (s->map == NULL || map_node_by_id(s->map, id) == NODE_NONE) {
        resp_errorf(&k->w, "ERR Unknown node %.*s", ARG_PRINT(k->argv[2]));
        return;
    }
    resp_error(&k->w,
               "ERR a node of Shoal has replicas per shard, not of itself: see CLUSTER SHARDS");
}

/* --- joining, and what is the proxy's --- */

/* The address of the coordinator, or of any node or proxy of the cluster. What may follow the port,
 * a cluster bus's, is not needed. */
static void do_meet(struct call *k)
{
    int64_t port;
    struct errmsg err;
    if (!num_parse_i64(k->argv[3], &port) || port < 1 || port > 65535) {
        resp_errorf(&k->w, "ERR Invalid TCP base port specified: %.*s", ARG_PRINT(k->argv[3]));
    } else if (k->argc > 5) {
        resp_error(&k->w, ERR_SYNTAX);
    } else if (!membership_join(server_of(k), k->argv[2], (int)port, &err)) {
        resp_errorf(&k->w, "ERR %s", err.text);
    } else {
        errand_join(k);
    }
}

static void do_reset(struct call *k)
{
    bool hard = k->argc == 3 && slice_is(k->argv[2], "hard");
    if (k->argc > 3 || (k->argc == 3 && !hard && !slice_is(k->argv[2], "soft"))) {
        resp_error(&k->w, ERR_SYNTAX);
    } else if (hard) {
        resp_error(&k->w,
                   "ERR A node keeps its id, which is in its dir: use CLUSTER RESET SOFT, or "
                   "give it another dir");
    } else {
        errand_reset(k);
    }
}

/* Every map is durable before anybody is told of it. */
static void do_saveconfig(struct call *k)
{
    resp_ok(&k->w);
}

static void do_failure_reports(struct call *k)
{
    struct server *s = server_of(k);
    char id[NODE_ID_LEN + 1] = {0};
    if (k->argv[2].len == NODE_ID_LEN) {
        memcpy(id, k->argv[2].ptr, NODE_ID_LEN);
    }
    if (s->map == NULL || map_node_by_id(s->map, id) == NODE_NONE) {
        resp_errorf(&k->w, "ERR Unknown node %.*s", ARG_PRINT(k->argv[2]));
    } else {
        resp_int(&k->w, 0); /* the coordinator decides alone, without reports among nodes */
    }
}

/* Redis Cluster's manual work on slots and on its bus. */
static void do_not_ours(struct call *k)
{
    resp_errorf(&k->w,
                "ERR Shoal assigns slots and replicas itself; instead of %s use CLUSTER SETSLOT "
                "<slot> NODE <id>, REBALANCE, DRAIN or FAILOVER",
                k->cmd->full_name);
}

static void do_help(struct call *k)
{
    static const char *const lines[] = {"COUNTKEYSINSLOT <slot>",
                                        "    Return the number of keys in a slot.",
                                        "DRAIN <node-id> [CANCEL]",
                                        "    Move everything off a node, or stop doing so.",
                                        "FAILOVER <node-id> [TAKEOVER]",
                                        "    Give a node's primaries to their replicas.",
                                        "FORGET <node-id>",
                                        "    Remove a node that is primary of nothing.",
                                        "GETKEYSINSLOT <slot> <count>",
                                        "    Return keys of a slot.",
                                        "INFO",
                                        "    Return the state of the cluster.",
                                        "KEYSLOT <key>",
                                        "    Return the slot of a key.",
                                        "LINKS",
                                        "    Return links between nodes: there are none in Shoal.",
                                        "MEET <ip> <port>",
                                        "    Register with the coordinator at that address.",
                                        "MYID",
                                        "    Return the id of this node.",
                                        "NODES",
                                        "    Return the nodes and their slots.",
                                        "REBALANCE [PLAN|START|STATUS|PAUSE|RESUME|CANCEL]",
                                        "    Even out the shards over the nodes.",
                                        "RESET [SOFT]",
                                        "    Forget the cluster that has forgotten this node.",
                                        "SETSLOT <slot> NODE|MIGRATING <node-id>",
                                        "    Move the slot, with its whole shard, to that node.",
                                        "SHARDS",
                                        "    Return who serves which slots.",
                                        "SLOTS",
                                        "    Return who serves which slots, in the older form.",
                                        NULL};
    command_help_reply(&k->w, "CLUSTER", lines);
}

/* --- the table --- */

static const struct {
    enum command_id id;
    call_fn fn;
} handlers[] = {
    {CMD_CLUSTER_SLOTS, do_slots},
    {CMD_CLUSTER_SHARDS, do_shards},
    {CMD_CLUSTER_NODES, do_nodes},
    {CMD_CLUSTER_INFO, do_info},
    {CMD_CLUSTER_LINKS, do_links},
    {CMD_CLUSTER_MYID, do_myid},
    {CMD_CLUSTER_KEYSLOT, do_keyslot},
    {CMD_CLUSTER_COUNTKEYSINSLOT, do_countkeysinslot},
    {CMD_CLUSTER_GETKEYSINSLOT, do_getkeysinslot},
    {CMD_CLUSTER_REPLICAS, do_replicas},
    {CMD_CLUSTER_SLAVES, do_replicas},
    {CMD_CLUSTER_MEET, do_meet},
    {CMD_CLUSTER_HELP, do_help},
    {CMD_CLUSTER_FORGET, errand_run},
    {CMD_CLUSTER_REBALANCE, errand_run},
    {CMD_CLUSTER_DRAIN, errand_run},
    {CMD_CLUSTER_FAILOVER, errand_run},
    {CMD_CLUSTER_SETSLOT, errand_run},
    {CMD_CLUSTER_RESET, do_reset},
    {CMD_CLUSTER_SAVECONFIG, do_saveconfig},
    {CMD_CLUSTER_COUNT_FAILURE_REPORTS, do_failure_reports},
    {CMD_CLUSTER_BUMPEPOCH, do_not_ours},
    {CMD_CLUSTER_SET_CONFIG_EPOCH, do_not_ours},
    {CMD_PROXY_INFO, errand_run},
    {CMD_PROXY_NODES, errand_run},
    {CMD_PROXY_SHARDS, errand_run},
    {CMD_PROXY_PLAN, errand_run},
    {CMD_PROXY_HELP, errand_run},
    {CMD_CLUSTER_ADDSLOTS, do_not_ours},
    {CMD_CLUSTER_ADDSLOTSRANGE, do_not_ours},
    {CMD_CLUSTER_DELSLOTS, do_not_ours},
    {CMD_CLUSTER_DELSLOTSRANGE, do_not_ours},
    {CMD_CLUSTER_FLUSHSLOTS, do_not_ours},
    {CMD_CLUSTER_REPLICATE, do_not_ours},
};

/* One entry for all of them: a node that stands alone has no cluster to show. */
static void do_cluster(struct call *k)
{
    if (server_of(k)->settings->stand_alone) {
        resp_error(&k->w, "ERR This instance has cluster support disabled");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        if (handlers[i].id == k->cmd->id) {
            handlers[i].fn(k);
            return;
        }
    }
    admin_not_served(k);
}

void admin_cluster(struct call_table *t)
{
    const struct command *cluster = command_by_id(CMD_CLUSTER);
    const struct command *proxy = command_by_id(CMD_PROXY);
    for (int i = 0; i < cluster->sub_count; i++) {
        t->fn[cluster->sub_first + i] = do_cluster;
    }
    for (int i = 0; i < proxy->sub_count; i++) {
        t->fn[proxy->sub_first + i] = do_cluster;
    }
}
