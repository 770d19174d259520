// SPDX-License-Identifier: BSD-3-Clause
/* The nodes as the coordinator's process knows them now: connection, last heartbeat, load, what was
 * sent and confirmed. None of it is durable; what is, is in the map. Pure. */
#pragma once

#include "proxy/coordinator/coordinator.h"
#include "proxy/coordinator/detector.h"

#include "common/wire/wire.h"

struct peer {
    char id[NODE_ID_LEN + 1];
    uint64_t link; /* 0: not connected */
    bool welcomed; /* WELCOME was sent on that link */
    bool leaving;  /* forgotten: told so once that is durable */
    bool refused;  /* a probe found its port closed: a heartbeat alone does not bring it back */
    uint64_t incarnation; /* of the registered process; 0: none registered since we started */
    struct detector detector;
    uint64_t confirmed; /* epoch of the map it runs with; 0 after registering */
    uint64_t sent;
    int64_t sent_ms;
    bool probing;
    bool probe_stale; /* it registered since the probe began: whatever that finds is old */
    int64_t probed_ms;
    uint64_t heartbeats;
    uint64_t keys; /* as last told */
    uint64_t memory;
    uint64_t memory_limit; /* 0: none */
    uint64_t ops;
    uint64_t clients;
    struct wire_shards held;    /* owned */
    struct wire_copies copies;  /* as it told of its replicas, by shard and node; owned */
    struct wire_changes orders; /* to be sent at the end of the event; owned */
    int64_t suspect_ms;         /* first sign that it may be gone; 0: none */
    int64_t turned_away_ms;     /* when a proxy's connection was answered with an error last */
    char turned_away[TURNED_AWAY_MAX]; /* that error; "": never */
    int64_t dead_ms;                   /* found dead, or we started */
    bool replaced;                     /* dead for so long that its copies are made elsewhere */
};

struct registry {
    struct peer **peers;
    int count;
};

/* As long as proxies go on trying, and a little longer. */
#define TURNED_AWAY_MS 30000
static inline bool peer_turns_away(const struct peer *p, int64_t now_ms)
{
    return p->turned_away[0] != '\0' && now_ms - p->turned_away_ms < TURNED_AWAY_MS;
}

void registry_fini(struct registry *r);
struct peer *registry_find(const struct registry *r, const char *id);
struct peer *registry_by_link(const struct registry *r, uint64_t link);
/* Finds or adds; a new one counts as heard now. */
struct peer *registry_add(struct registry *r, const char *id, int64_t now_ms);
void registry_remove(struct registry *r, const char *id);
