// SPDX-License-Identifier: BSD-3-Clause
/* A client's MULTI. Shared by tx.c and tx_rules.c only. */
#pragma once

#include "proxy/exec/exec_priv.h"

enum item_where {
    ITEM_NODE,   /* within the node's MULTI */
    ITEM_EITHER, /* within it if there is one, else by the proxy */
    ITEM_OTHER,  /* by the proxy, or over several nodes */
};

struct tx_item {
    const struct command *command;
    size_t off; /* of its bytes, in tx->bytes */
    size_t len;
    uint8_t where; /* enum item_where */
    bool changes;  /* for CLIENT PAUSE WRITE */
};

/* A command that its client may not run any more: EXEC answers this in its place. */
struct tx_refused {
    uint32_t at; /* its place among all that was queued */
    const char *error;
};

struct tx {
    bool spoiled; /* EXEC will refuse */
    bool lost;    /* the watching connection broke: what was watched may have changed */
    bool running; /* an EXEC of several parts is under way */
    bool has_other;
    bool has_node;
    bool user_changed; /* since something was queued: what it may run now is looked at again */
    bool asked; /* nodes were asked whether they have memory: EXEC and DISCARD wait for that */
    int shard;  /* of the keys so far; -1: none yet */
    int watch_shard;
    uint64_t watch_lane_id;
    struct lane *pinned;
    struct chunk *bytes; /* MULTI and all queued commands, ready to be sent; grows by copying */
    struct tx_item *items;
    uint32_t n_items;
    uint32_t cap;
    struct tx_refused *refused; /* in their order; they are none of the items */
    uint32_t n_refused;
};

/* tx.c: room for `more` bytes at the end. */
char *tx_room(struct tx *tx, size_t more);

/* tx_rules.c: the user's rules are other ones than when commands were queued. What it may not run
 * now is refused, what scripts may do inside the nodes follows the new rules. */
void tx_apply_rules(struct exec *x, struct session *s);
