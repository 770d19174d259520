// SPDX-License-Identifier: BSD-3-Clause
/* From a command's row and keys to where it goes. Pure. */
#pragma once

#include "common/cmd/command.h"
#include "common/cmd/keys.h"

enum route {
    ROUTE_SINGLE, /* one key at a fixed place: the hot path */
    ROUTE_KEYS,   /* look for the keys */
    ROUTE_ANY,    /* no key: any node can answer */
    ROUTE_SHARDS, /* every primary, answers merged */
    ROUTE_EACH,   /* every shard: whole databases */
    ROUTE_NODES,  /* every node, answers merged */
    ROUTE_SCAN,
    ROUTE_RANDOMKEY,
    ROUTE_WAIT,    /* may wait for data */
    ROUTE_LISTEN,  /* SUBSCRIBE and its kin */
    ROUTE_CHANNEL, /* its first argument has a slot as a key has */
    ROUTE_TX,      /* MULTI and its kin */
};

/* Where commands of this row go, by the row alone. */
enum route router_of(const struct command *c);
/* Reads that the primary alone may answer: walks within one key, whose cursor means something to
 * the copy that gave it and to no other; a key's clock, since each copy has its own; and its
 * encoding, which follows from how the value came to be, not from what it is. */
bool router_primary_only(const struct command *c);
/* What a node answers beside a slow script: it must not stand behind that one on a lane. */
bool router_urgent(const struct command *c);
/* Whether a command with keys of several shards may be cut into one per node. */
bool router_splits(const struct command *c);
/* How many arguments belong to each of its keys (MSET, MSETNX: 2). */
uint32_t router_key_step(const struct command *c);

enum router_keys {
    ROUTER_ONE,     /* all in *shard */
    ROUTER_SEVERAL, /* in several shards */
    ROUTER_KEYLESS, /* this command has none */
};

/* Finds the keys and the shard; `keys` is the caller's room and holds them afterwards. Arguments
 * that make no sense count as keyless: the node words the error. */
enum router_keys router_keys(const struct command *c, const struct slice *argv, size_t argc,
                             uint32_t shards, struct key_list *keys, int *shard);
