// SPDX-License-Identifier: BSD-3-Clause
/* What an operator asks for that takes a while: its answer comes when it is done. Nothing of it is
 * durable: after a restart of the coordinator whoever asked finds the connection gone, and what had
 * been begun is left as it is, whole. (CLUSTER FAILOVER answers at once, so it is durable.)
 *
 *   CLUSTER SETSLOT  a shard goes to another node: redis-cli --cluster reshard and rebalance
 *   CLUSTER FORGET   a living node is emptied before it goes: redis-cli --cluster del-node */
#include "proxy/coordinator/coordinator_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/errors.h"

#include <stdio.h>

#define WAITING_MAX 1024

static bool wait_for(struct coordinator *c, struct asked *a, enum waiting_kind kind, int shard,
                     const char *node)
{
    if (c->n_waiting >= WAITING_MAX) {
        resp_error(&a->w, "ERR Too many changes are waited for");
        return false;
    }
    c->waiting = mem_realloc(c->waiting, sizeof(*c->waiting) * (c->n_waiting + 1));
    struct waiting *w = &c->waiting[c->n_waiting++];
    *w = (struct waiting){.request = a->request, .kind = kind, .shard = shard};
    memcpy(w->node, node, sizeof(w->node));
    a->waits = true;
    return true;
}

/* ---- SETSLOT ---- */

/* Why no shard can be moved at all, or NULL. */
static const char *no_moves_now(const struct coordinator *c)
{
    if (!coordinator_latest(c)->assigned) {
        return "CLUSTERDOWN Nothing is assigned yet";
    }
    if (c->paused) {
        return "ERR Moves are paused: CLUSTER REBALANCE RESUME lets them go on";
    }
    if (c->rebalancing) {
        return "ERR The shards are being spread evenly just now: wait until CLUSTER REBALANCE "
               "STATUS says active=no, or CLUSTER REBALANCE CANCEL";
    }
    return NULL;
}

/* Why the shard can't be moved to the node now, or NULL. */
static const char *no_move(const struct coordinator *c, int shard, int to)
{
    const struct map *m = coordinator_latest(c);
    const struct map_node *n = &m->nodes[to];
    const struct map_shard *s = &m->shards[shard];
    const char *why = no_moves_now(c);
    if (why != NULL) {
        return why;
    }
    if (s->primary == NODE_NONE) {
        return "CLUSTERDOWN Nobody serves the slot: it cannot be moved before its node is back";
    }
    if (!plan_takes(n)) {
        return "ERR That node takes no shards: it is dead, draining, or of weight 0";
    }
    return failover_there(c, to) ? NULL : "ERR That node is not connected to the coordinator";
}

static bool parse_slot(struct asked *a, int *slot)
{
    int64_t n;
    if (!num_parse_i64(a->argv[2], &n) || n < 0 || n >= SLOTS) {
        resp_error(&a->w, "ERR Invalid or out of range slot");
        return false;
    }
    *slot = (int)n;
    return true;
}

static int named_node(struct coordinator *c, struct asked *a, struct slice id)
{
    char text[NODE_ID_LEN + 1] = "";
    if (id.len == NODE_ID_LEN) {
        memcpy(text, id.ptr, NODE_ID_LEN);
    }
    int node = map_node_by_id(coordinator_latest(c), text);
    if (node == NODE_NONE) {
        resp_errorf(&a->w, "ERR I don't know about node %.*s", (int)MIN(id.len, 64UL), id.ptr);
    }
    return node;
}

/* ---- slots that went with their shard to another node than they were meant for ----
 *
 * redis-cli --cluster rebalance gives some slots of a shard to one node and the next ones to
 * another. The shard went to the first: what else of it was to go from there stays with it. */

static void pass_over(struct coordinator *c, int slot, const char *to)
{
    struct passed_over *p = &c->passed_over[c->n_passed_over++ % PASSED_OVER_MAX];
    p->slot = slot;
    memcpy(p->to, to, sizeof(p->to));
    log_event(LOG_NOTICE, AREA, "slot went with its shard elsewhere slot=%d meant-for=%s", slot,
              to);
}

static bool was_passed_over(const struct coordinator *c, int slot, const char *to)
{
    for (size_t i = 0; i < ARRAY_LEN(c->passed_over); i++) {
        if (c->passed_over[i].slot == slot && strcmp(c->passed_over[i].to, to) == 0) {
            return true;
        }
    }
    return false;
}

static void forget_passed_over(struct coordinator *c, int slot)
{
    for (size_t i = 0; i < ARRAY_LEN(c->passed_over); i++) {
        if (c->passed_over[i].slot == slot) {
            c->passed_over[i].to[0] = '\0';
        }
    }
}

/* MIGRATING, said to a node. True: it was answered. */
static bool is_not_the_askers(struct coordinator *c, struct asked *a, int slot, int to)
{
    const struct map *m = coordinator_latest(c);
    int shard = map_slot_shard(m, slot);
    int primary = m->shards[shard].primary;
    forget_passed_over(c, slot);
    if (a->asker[0] == '\0' || primary == to ||
        (primary != NODE_NONE && strcmp(m->nodes[primary].id, a->asker) == 0)) {
        return false;
    }
    if (strcmp(c->moves[shard].gone_from, a->asker) == 0) {
        pass_over(c, slot, m->nodes[to].id);
        resp_ok(&a->w);
    } else {
        resp_errorf(&a->w, "ERR I'm not the owner of hash slot %d", slot);
    }
    return true;
}

static void move_slot(struct coordinator *c, struct asked *a, int slot, int to)
{
    const struct map *m = coordinator_latest(c);
    int shard = map_slot_shard(m, slot);
    const char *why = m->shards[shard].primary == to ? NULL : no_move(c, shard, to);
    if (why != NULL) {
        resp_error(&a->w, why);
    } else if (m->shards[shard].primary == to) {
        resp_ok(&a->w);
    } else if (wait_for(c, a, WAITING_FOR_MOVE, shard, m->nodes[to].id)) {
        rebalance_wish_copy(c, shard, to);
        memcpy(c->moves[shard].gone_from, m->nodes[m->shards[shard].primary].id, NODE_ID_LEN + 1);
        log_event(LOG_NOTICE, AREA, "move asked for shard=%d slots=%d-%d from=%s to=%s", shard,
                  m->shards[shard].first_slot, m->shards[shard].last_slot,
                  m->nodes[m->shards[shard].primary].id, m->nodes[to].id);
    }
}

/* Redis's tools say IMPORTING to the node that is to have the slot, MIGRATING to the one that has
 * it, move the keys one by one, and then say NODE to all. Here a slot goes with its whole shard, at
 * once and with all its keys, at MIGRATING (or NODE): then the tools find no key to move. */
void operator_setslot(struct coordinator *c, struct asked *a)
{
    int slot;
    if (!parse_slot(a, &slot)) {
        return;
    }
    struct slice what = a->argv[3];
    if (a->argc == 4 && slice_is(what, "stable")) {
        resp_ok(&a->w); /* no slot is ever halfway */
        return;
    }
    bool importing = slice_is(what, "importing");
    if (a->argc != 5 || (!importing && !slice_is(what, "migrating") && !slice_is(what, "node"))) {
        resp_error(&a->w, "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER "
                          "HELP");
        return;
    }
    int node = named_node(c, a, a->argv[4]);
    if (node == NODE_NONE) {
        return;
    }
    const struct map *m = coordinator_latest(c);
    bool migrating = slice_is(what, "migrating");
    if (migrating && is_not_the_askers(c, a, slot, node)) {
        return;
    }
    if (!migrating && !importing && was_passed_over(c, slot, m->nodes[node].id)) {
        resp_ok(&a->w);
        return;
    }
    if (!importing) {
        move_slot(c, a, slot, node);
        return;
    }
    bool moves = m->shards[map_slot_shard(m, slot)].primary == node;
    const char *why = moves ? no_moves_now(c) : NULL; /* before anything has moved */
    if (why != NULL) {
        resp_error(&a->w, why);
    } else {
        resp_ok(&a->w);
    }
}

/* ---- FORGET ---- */

void operator_leave(struct coordinator *c, struct asked *a, int node)
{
    const struct map *m = coordinator_latest(c);
    int others = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        others += i != node && plan_takes(&m->nodes[i]);
    }
    if (others == 0) {
        resp_error(&a->w, "ERR No other node could take its shards");
        return;
    }
    if (!wait_for(c, a, WAITING_FOR_LEAVE, -1, m->nodes[node].id)) {
        return;
    }
    if (!m->nodes[node].draining) {
        struct map_node *n = &coordinator_edit(c)->nodes[node];
        n->draining = true;
        n->state = n->state == NODE_HEALTHY ? NODE_DRAINING : n->state;
        c->replan = true;
        log_event(LOG_NOTICE, AREA, "node leaves: its replicas are made elsewhere node=%s", n->id);
    }
}

/* Who was forgotten lately: tools tell each node in turn to forget it. */
bool operator_was_forgotten(const struct coordinator *c, struct slice id)
{
    for (size_t i = 0; i < ARRAY_LEN(c->forgotten) && id.len == NODE_ID_LEN; i++) {
        if (memcmp(c->forgotten[i], id.ptr, NODE_ID_LEN) == 0) {
            return map_node_by_id(coordinator_latest(c), c->forgotten[i]) == NODE_NONE;
        }
    }
    return false;
}

/* ---- waiting ---- */

/* NULL: not yet. */
static const char *move_outcome(struct coordinator *c, const struct waiting *w)
{
    const struct map *m = coordinator_latest(c);
    int to = map_node_by_id(m, w->node);
    int shown = map_node_by_id(c->published, w->node);
    if (shown != NODE_NONE && c->published->shards[w->shard].primary == shown) {
        return "+OK\r\n";
    }
    if (to != NODE_NONE && m->shards[w->shard].primary == to) {
        return NULL; /* as soon as it is durable */
    }
    return strcmp(c->moves[w->shard].wish, w->node) == 0
               ? NULL
               : "-ERR The move was given up: the node it goes to cannot take it any more, or "
                 "something else was asked for\r\n";
}

static const char *leave_outcome(struct coordinator *c, const struct waiting *w)
{
    const struct map *m = coordinator_latest(c);
    int node = map_node_by_id(m, w->node);
    if (node == NODE_NONE) {
        return map_node_by_id(c->published, w->node) == NODE_NONE ? "+OK\r\n" : NULL;
    }
    if (!m->nodes[node].draining) {
        return "-ERR CLUSTER DRAIN CANCEL: the node stays\r\n";
    }
    if (map_node_primaries(m, node) + map_node_replicas(m, node) == 0) {
        membership_forget(c, node);
    }
    return NULL;
}

void operator_step(struct coordinator *c)
{
    size_t kept = 0;
    size_t n = c->n_waiting;
    for (size_t i = 0; i < n; i++) {
        struct waiting w = c->waiting[i];
        const char *reply = w.kind == WAITING_FOR_MOVE ? move_outcome(c, &w) : leave_outcome(c, &w);
        if (reply == NULL) {
            c->waiting[kept++] = w;
        } else {
            coordinator_reply(c, w.request, slice_str(reply));
        }
    }
    INVARIANT(c->n_waiting == n); /* an answer makes no request */
    c->n_waiting = kept;
}
