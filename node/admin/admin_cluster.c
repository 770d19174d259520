// SPDX-License-Identifier: BSD-3-Clause
/* CLUSTER on a node: the real topology, as the coordinator told it last. What changes the cluster
 * is the coordinator's business, and a proxy is where one asks for it. */
#include "node/admin/admin_priv.h"
#include "node/serve/membership.h"

#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/cmd/slot.h"
#include "common/model/map_text.h"

/* The map to show; one without a node before the first has come. The caller unrefs it. */
static struct map *map_to_show(const struct server *s)
{
    if (s->map != NULL) {
        return map_ref(s->map);
    }
    return map_build_new(s->ks->n_shards, s->id);
}

static void show(struct call *k, void (*text)(const struct map_view *v, struct resp_writer *w))
{
    struct server *s = server_of(k);
    struct map *m = map_to_show(s);
    struct map_view v = {.map = m, .self = s->self};
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

static void do_countkeysinslot(struct call *k)
{
    int64_t slot;
    if (!num_parse_i64(k->argv[2], &slot)) {
        resp_error(&k->w, ERR_NOT_INT);
    } else if (slot < 0 || slot >= SLOT_COUNT) {
        resp_error(&k->w, "ERR Invalid slot");
    } else {
        resp_int(&k->w, (int64_t)keyspace_count_in_slot(k->ks, (int)slot));
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
    keyspace_keys_in_slot(k->ks, (int)slot, (uint64_t)most, add_key, &n);
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

static void do_meet(struct call *k)
{
    int64_t port;
    struct errmsg err;
    if (!num_parse_i64(k->argv[3], &port) || port < 1 || port > 65535) {
        resp_errorf(&k->w, "ERR Invalid TCP base port specified: %.*s", ARG_PRINT(k->argv[3]));
    } else if (!membership_join(server_of(k), k->argv[2], (int)port, &err)) {
        resp_errorf(&k->w, "ERR %s", err.text);
    } else {
        resp_ok(&k->w);
    }
}

static void ask_the_proxy(struct call *k)
{
    resp_errorf(&k->w, "ERR %s changes the cluster: ask a shoal-proxy for it", k->cmd->full_name);
}

static void do_help(struct call *k)
{
    static const char *const lines[] = {"COUNTKEYSINSLOT <slot>",
                                        "    Return the number of keys in a slot.",
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
    {CMD_CLUSTER_FORGET, ask_the_proxy},
    {CMD_CLUSTER_REBALANCE, ask_the_proxy},
    {CMD_CLUSTER_DRAIN, ask_the_proxy},
    {CMD_CLUSTER_FAILOVER, ask_the_proxy},
    {CMD_CLUSTER_ADDSLOTS, ask_the_proxy},
    {CMD_CLUSTER_ADDSLOTSRANGE, ask_the_proxy},
    {CMD_CLUSTER_DELSLOTS, ask_the_proxy},
    {CMD_CLUSTER_DELSLOTSRANGE, ask_the_proxy},
    {CMD_CLUSTER_FLUSHSLOTS, ask_the_proxy},
    {CMD_CLUSTER_REPLICATE, ask_the_proxy},
    {CMD_CLUSTER_RESET, ask_the_proxy},
    {CMD_CLUSTER_SETSLOT, ask_the_proxy},
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
    for (int i = 0; i < cluster->sub_count; i++) {
        t->fn[cluster->sub_first + i] = do_cluster;
    }
}
