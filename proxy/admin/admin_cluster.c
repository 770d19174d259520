// SPDX-License-Identifier: BSD-3-Clause
/* CLUSTER and PROXY. To look at: by default the cluster is one healthy node, this proxy, that has
 * every slot, so that cluster-aware clients stay here; `cluster-view nodes` shows the real ones.
 * What changes the cluster, and the views of the operator, are the coordinator's. */
#include "proxy/admin/admin_priv.h"

#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/cmd/slot.h"
#include "common/io/stream.h"
#include "common/model/map_text.h"
#include "common/resp/value.h"

#include <stdio.h>

/* --- how this proxy is called --- */

void own_host(const struct local_call *c, char *host, size_t size)
{
    const struct client *client = client_or_null(c);
    char local[NODE_HOST_MAX] = "";
    if (client != NULL) {
        stream_local(client->stream, local, sizeof(local));
    }
    char *colon = strrchr(local, ':');
    if (colon == NULL || local[0] == '/') {
        snprintf(host, size, "127.0.0.1");
        return;
    }
    *colon = '\0';
    size_t len = strlen(local);
    if (local[0] == '[' && local[len - 1] == ']') {
        local[len - 1] = '\0';
        snprintf(host, size, "%s", local + 1);
    } else {
        snprintf(host, size, "%s", local);
    }
}

static void own_address(const struct local_call *c, char *host, size_t size, int *port)
{
    const struct proxy_options *o = options_of(c);
    *port = o->announce_port != 0 ? (int)o->announce_port : workers_port(worker_of(c)->all);
    if (o->announce_host[0] != '\0') {
        snprintf(host, size, "%s", o->announce_host);
    } else {
        own_host(c, host, size);
    }
}

static void show(struct local_call *c,
                 void (*text)(const struct map_view *v, struct resp_writer *w))
{
    struct worker *w = worker_of(c);
    char host[NODE_HOST_MAX];
    struct map_view_node self = {.id = workers_run_id(w->all), .host = host};
    struct map *m = worker_map(w);
    m = m != NULL ? map_ref(m) : map_build_new(1, self.id);
    struct map_view v = {.map = m, .self = NODE_NONE};
    own_address(c, host, sizeof(host), &self.port);
    v.guest = &self;
    if (options_of(c)->cluster_view == VIEW_PROXY) {
        v.nodes = &self;
        v.n_nodes = 1;
    }
    text(&v, c->w);
    map_unref(&m);
}

static enum local_result do_slots(struct local_call *c)
{
    show(c, map_text_slots);
    return LOCAL_DONE;
}

static enum local_result do_shards(struct local_call *c)
{
    show(c, map_text_shards);
    return LOCAL_DONE;
}

/* The same digits backwards. */
static void turn_round(char id[NODE_ID_LEN + 1])
{
    for (size_t i = 0; i < NODE_ID_LEN / 2; i++) {
        char swap = id[i];
        id[i] = id[NODE_ID_LEN - 1 - i];
        id[NODE_ID_LEN - 1 - i] = swap;
    }
}

/* redis-benchmark --cluster wants a cluster of two masters at least. In the proxy's view it gets a
 * second line with the same address and slots under another id, with the flag "noaddr": who minds
 * flags (redis-cli --cluster) passes over it, all others come here in either case. */
static void put_twin(const char *line, struct str *to)
{
    char id[NODE_ID_LEN + 1];
    int begin = 0, end = 0;
    if (sscanf(line, "%40s %n%*s%n", id, &begin, &end) != 1 || end == 0) {
        return;
    }
    turn_round(id);
    str_printf(to, "%s %.*s master,noaddr - 0 0 0 disconnected 0-16383\n", id, end - begin,
               line + begin);
}

static enum local_result do_nodes(struct local_call *c)
{
    struct resp_writer *w = c->w;
    struct outbuf out = {0};
    struct resp_writer aside = {.out = &out, .proto = w->proto};
    struct str reply = {0}, text = {0}, twin = {0};
    if (options_of(c)->cluster_view == VIEW_NODES) {
        show(c, map_text_nodes);
        return LOCAL_DONE;
    }
    c->w = &aside;
    show(c, map_text_nodes);
    c->w = w;
    outbuf_to_str(&out, &reply);
    struct resp_value *v = resp_value_parse(str_slice(&reply));
    INVARIANT(v != NULL);
    str_append_slice(&text, v->text);
    put_twin(str_cstr(&text), &twin);
    str_append_slice(&text, str_slice(&twin));
    resp_verbatim(w, "txt", str_slice(&text));
    resp_value_free(&v);
    str_fini(&reply);
    str_fini(&text);
    str_fini(&twin);
    return LOCAL_DONE;
}

static enum local_result do_info(struct local_call *c)
{
    show(c, map_text_info);
    return LOCAL_DONE;
}

static enum local_result do_links(struct local_call *c)
{
    show(c, map_text_links);
    return LOCAL_DONE;
}

static enum local_result do_myid(struct local_call *c)
{
    resp_bulkz(c->w, workers_run_id(worker_of(c)->all));
    return LOCAL_DONE;
}

/* --- nodes by their ids --- */

static bool known_node(const struct local_call *c, struct slice id)
{
    struct worker *w = worker_of(c);
    struct map *m = worker_map(w);
    char text[NODE_ID_LEN + 1] = "";
    if (id.len != NODE_ID_LEN) {
        return false;
    }
    memcpy(text, id.ptr, NODE_ID_LEN);
    if (strcmp(text, workers_run_id(w->all)) == 0 ||
        (m != NULL && map_node_by_id(m, text) != NODE_NONE)) {
        return true;
    }
    turn_round(text);
    return strcmp(text, workers_run_id(w->all)) == 0; /* of the twin that CLUSTER NODES shows */
}

static enum local_result do_replicas(struct local_call *c)
{
    if (!known_node(c, c->argv[2])) {
        resp_errorf(c->w, "ERR Unknown node %.*s", ARG_PRINT(c->argv[2]));
    } else {
        resp_array(c->w, 0); /* a node has replicas per shard, none of its own */
    }
    return LOCAL_DONE;
}

static enum local_result do_failure_reports(struct local_call *c)
{
    if (!known_node(c, c->argv[2])) {
        resp_errorf(c->w, "ERR Unknown node %.*s", ARG_PRINT(c->argv[2]));
    } else {
        resp_int(c->w, 0); /* the coordinator decides alone, without reports among nodes */
    }
    return LOCAL_DONE;
}

/* --- slots --- */

static enum local_result do_keyslot(struct local_call *c)
{
    resp_int(c->w, slot_of(c->argv[2]));
    return LOCAL_DONE;
}

/* A key of the slot: requests are routed by keys. On average 16384 are tried. */
static struct slice key_in_slot(int64_t slot, char *to, size_t size)
{
    for (unsigned i = 0;; i++) {
        int len = snprintf(to, size, "%u", i);
        struct slice key = slice_of(to, (size_t)len);
        if (slot_of(key) == slot) {
            return key;
        }
    }
}

static enum local_result do_slot_keys(struct local_call *c)
{
    int64_t slot, most = 0;
    char key[16];
    if (!num_parse_i64(c->argv[2], &slot) || (c->argc > 3 && !num_parse_i64(c->argv[3], &most))) {
        return refuse(c, ERR_NOT_INT);
    }
    if (slot < 0 || slot >= SLOT_COUNT || most < 0) {
        return refuse(c, c->argc > 3 ? "ERR Invalid slot or number of keys" : "ERR Invalid slot");
    }
    return local_forward(c, c->argv, c->argc, key_in_slot(slot, key, sizeof(key)));
}

/* --- what the coordinator answers --- */

static enum local_result do_control(struct local_call *c)
{
    return worker_ask_control(c, c->argv, c->argc);
}

static enum local_result do_saveconfig(struct local_call *c)
{
    resp_ok(c->w); /* the coordinator has written every map before anybody sees it */
    return LOCAL_DONE;
}

/* Redis Cluster's manual work on slots and on its bus. */
static enum local_result do_not_ours(struct local_call *c)
{
    resp_errorf(c->w,
                "ERR Shoal assigns slots and replicas itself; instead of %s use CLUSTER MEET, "
                "FORGET, DRAIN, REBALANCE, SETSLOT <slot> NODE <id> or FAILOVER",
                c->command->full_name);
    return LOCAL_DONE;
}

static enum local_result do_help(struct local_call *c)
{
    static const char *const lines[] = {"COUNTKEYSINSLOT <slot>",
                                        "    Return the number of keys in a slot.",
                                        "DRAIN <node-id> [CANCEL]",
                                        "    Move everything off a node, or stop doing so.",
                                        "FAILOVER <node-id>",
                                        "    Give a node's primaries to their replicas.",
                                        "FORGET <node-id>",
                                        "    Remove a node that holds nothing any more.",
                                        "GETKEYSINSLOT <slot> <count>",
                                        "    Return keys of a slot.",
                                        "INFO",
                                        "    Return the state of the cluster.",
                                        "KEYSLOT <key>",
                                        "    Return the slot of a key.",
                                        "LINKS",
                                        "    Return links between nodes: there are none in Shoal.",
                                        "MEET <host> <port>",
                                        "    Let the node at that address join.",
                                        "MYID",
                                        "    Return the id of this proxy.",
                                        "NODES",
                                        "    Return the nodes and their slots.",
                                        "REBALANCE [PLAN|START|STATUS|PAUSE|RESUME|CANCEL]",
                                        "    Even out the shards over the nodes.",
                                        "SETSLOT <slot> NODE <node-id>",
                                        "    Move the slot, with its whole shard, to that node.",
                                        "SHARDS",
                                        "    Return who serves which slots.",
                                        "SLOTS",
                                        "    Return who serves which slots, in the older form.",
                                        "Who really serves what: PROXY NODES, PROXY SHARDS.",
                                        NULL};
    command_help_reply(c->w, "CLUSTER", lines);
    return LOCAL_DONE;
}

void admin_cluster(struct local_table *t)
{
    static const enum command_id control[] = {
        CMD_CLUSTER_MEET,  CMD_CLUSTER_FORGET,   CMD_CLUSTER_REBALANCE,
        CMD_CLUSTER_DRAIN, CMD_CLUSTER_FAILOVER, CMD_CLUSTER_SETSLOT,
        CMD_PROXY,
    };
    local_table_set(t, CMD_CLUSTER, do_not_ours, 0);
    local_table_set(t, CMD_CLUSTER_SLOTS, do_slots, 0);
    local_table_set(t, CMD_CLUSTER_SHARDS, do_shards, 0);
    local_table_set(t, CMD_CLUSTER_NODES, do_nodes, 0);
    local_table_set(t, CMD_CLUSTER_INFO, do_info, 0);
    local_table_set(t, CMD_CLUSTER_LINKS, do_links, 0);
    local_table_set(t, CMD_CLUSTER_MYID, do_myid, 0);
    local_table_set(t, CMD_CLUSTER_REPLICAS, do_replicas, 0);
    local_table_set(t, CMD_CLUSTER_SLAVES, do_replicas, 0);
    local_table_set(t, CMD_CLUSTER_COUNT_FAILURE_REPORTS, do_failure_reports, 0);
    local_table_set(t, CMD_CLUSTER_KEYSLOT, do_keyslot, 0);
    local_table_set(t, CMD_CLUSTER_COUNTKEYSINSLOT, do_slot_keys, LOCAL_ORDERED);
    local_table_set(t, CMD_CLUSTER_GETKEYSINSLOT, do_slot_keys, LOCAL_ORDERED);
    local_table_set(t, CMD_CLUSTER_SAVECONFIG, do_saveconfig, 0);
    local_table_set(t, CMD_CLUSTER_HELP, do_help, 0);
    for (size_t i = 0; i < ARRAY_LEN(control); i++) {
        local_table_set(t, control[i], do_control, LOCAL_ORDERED);
    }
}
