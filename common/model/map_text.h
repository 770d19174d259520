// SPDX-License-Identifier: BSD-3-Clause
/* A map as CLUSTER SLOTS, SHARDS, NODES, INFO and LINKS show it, in Redis 7's shapes; written into
 * a client's reply by node and proxy alike. Pure.
 *
 * Two forms. Real: the nodes of the map; adjacent shards of the same primary and the same active
 * replicas are one range, syncing replicas are not shown (no client may read from them). Virtual:
 * the nodes that the caller names (a proxy, or several), which together look like a healthy cluster
 * that shares all slots evenly. */
#pragma once

#include "common/model/map.h"
#include "common/resp/write.h"

struct map_view_node {
    const char *id;
    const char *host;
    int port;
};

struct map_view {
    const struct map *map;             /* not NULL */
    int self;                          /* real form: index of the node that answers, or NODE_NONE */
    const struct map_view_node *nodes; /* virtual form: who shows; the first is the one asked */
    size_t n_nodes;                    /* 0: the real form */
    /* Real form: who answers without being one of the nodes. CLUSTER NODES has a line "myself"
     * always (redis-cli crashes without one): the guest is shown there as a replica of the first
     * primary, which nobody takes for one more server with data of its own. NULL: none. */
    const struct map_view_node *guest;
};

/* Replicas are only those nodes that are primaries of nothing: clients know no node that is both.
 */
void map_text_slots(const struct map_view *v, struct resp_writer *w);
void map_text_shards(const struct map_view *v, struct resp_writer *w);
void map_text_nodes(const struct map_view *v, struct resp_writer *w);
void map_text_info(const struct map_view *v, struct resp_writer *w);
/* There is no cluster bus: an empty list. */
void map_text_links(const struct map_view *v, struct resp_writer *w);
