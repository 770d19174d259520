// SPDX-License-Identifier: BSD-3-Clause
/* The simulated network: connections between hosts, as TCP gives them.
 *
 * What is sent on a connection arrives in order, once, or the connection ends; between connections
 * there is no order. A cut direction lets nothing through: what was sent waits, and when the cut
 * heals arrives late or never; an end that waits too long breaks. The two ends learn of the end of
 * a connection at different times, or one of them never. Ends belong to the network; a host may use
 * one from connected/accepted until closed/failed or its own net_close. */
#pragma once

#include "tests/sim/world.h"

enum net_state { NET_CONNECTING, NET_OPEN, NET_GONE };

struct net_end {
    struct host *host;
    struct net_end *peer; /* never NULL: the two live and die together */
    enum net_state state;
    void *owner; /* the host's */
    int service;
    uint64_t id;
    struct list link;    /* in the host's ends; the net's when gone */
    struct list stalled; /* messages to this end that a cut holds, or held until now */
    bool gap;            /* some of them were given up: no byte behind them comes any more */
    uint64_t stall;      /* which stall it is */
    int64_t arrives_us;  /* of the last message to it: none overtakes another */
    struct net_pair *pair;
};

struct net *net_new(struct world *w);
void net_free(struct net **net);

/* `failed` or `connected` of the host's ops follows. */
struct net_end *net_connect(struct net *net, struct host *from, struct host *to, int service,
                            void *owner);
void net_send(struct net *net, struct net_end *end, const void *data, size_t len);
/* Our side ends it; nothing more is heard of it. What was sent still arrives. */
void net_close(struct net *net, struct net_end *end);

/* --- faults --- */
/* One direction. */
void net_cut(struct net *net, int from, int to, bool cut);
bool net_is_cut(const struct net *net, int from, int to);
/* Delay of one direction: at least `low_us`, seldom up to `high_us`. */
void net_delay(struct net *net, int from, int to, int64_t low_us, int64_t high_us);
/* Every connection of the two breaks; `from_only`: only that side learns of it for now. */
void net_break(struct net *net, int from, int to, bool from_only);

/* --- for world.c --- */
void net_deliver(struct net *net, struct host *h);
void net_host_gone(struct net *net, struct host *h, bool machine);
