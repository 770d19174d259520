// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/router.h"

#include "common/cmd/slot.h"

enum route router_of(const struct command *c)
{
    switch (c->id) { /* what the tips do not tell */
    case CMD_MULTI:
    case CMD_EXEC:
    case CMD_DISCARD:
    case CMD_WATCH:
    case CMD_UNWATCH:
        return ROUTE_TX;
    case CMD_SCAN:
        return ROUTE_SCAN;
    case CMD_RANDOMKEY:
        return ROUTE_RANDOMKEY;
    case CMD_DBSIZE:
    case CMD_KEYS:
    case CMD_SWAPDB:
    case CMD_FLUSHALL:
    case CMD_FLUSHDB:
        return ROUTE_EACH;
    case CMD_SUBSCRIBE:
    case CMD_UNSUBSCRIBE:
    case CMD_PSUBSCRIBE:
    case CMD_PUNSUBSCRIBE:
    case CMD_SSUBSCRIBE:
    case CMD_SUNSUBSCRIBE:
        return ROUTE_LISTEN;
    case CMD_PUBLISH:
    case CMD_SPUBLISH:
        return ROUTE_CHANNEL;
    default:
        break;
    }
    switch (c->id) { /* replicas run functions too, and scripts that only read */
    case CMD_FUNCTION_LOAD:
    case CMD_FUNCTION_DELETE:
    case CMD_FUNCTION_FLUSH:
    case CMD_FUNCTION_RESTORE:
    case CMD_FUNCTION_KILL:
    case CMD_FUNCTION_STATS:
    case CMD_SCRIPT_KILL:
        return ROUTE_NODES;
    default:
        break;
    }
    if (c->flags & CF_BLOCKING) {
        return ROUTE_WAIT;
    }
    if (c->key_single != 0) {
        return ROUTE_SINGLE;
    }
    if (c->spec_count > 0) {
        return ROUTE_KEYS;
    }
    if (c->request == REQUEST_ALL_SHARDS) {
        return ROUTE_SHARDS;
    }
    return c->request == REQUEST_ALL_NODES ? ROUTE_NODES : ROUTE_ANY;
}

bool router_primary_only(const struct command *c)
{
    switch (c->id) {
    case CMD_HSCAN:
    case CMD_SSCAN:
    case CMD_ZSCAN:
    case CMD_TOUCH:
    case CMD_OBJECT_ENCODING:
    case CMD_OBJECT_FREQ:
    case CMD_OBJECT_IDLETIME:
        return true;
    default:
        return false;
    }
}

bool router_urgent(const struct command *c)
{
    return c->id == CMD_SCRIPT_KILL || c->id == CMD_FUNCTION_KILL || c->id == CMD_FUNCTION_STATS;
}

bool router_splits(const struct command *c)
{
    switch (c->id) {
    case CMD_MGET:
    case CMD_MSET:
    case CMD_DEL:
    case CMD_UNLINK:
    case CMD_EXISTS:
    case CMD_TOUCH:
        return true;
    default:
        return false;
    }
}

uint32_t router_key_step(const struct command *c)
{
    return c->id == CMD_MSET || c->id == CMD_MSETNX ? 2 : 1;
}

enum router_keys router_keys(const struct command *c, const struct slice *argv, size_t argc,
                             uint32_t shards, struct key_list *keys, int *shard)
{
    if (keys_find(c, argv, argc, keys) != KEYS_OK || keys->count == 0) {
        return ROUTER_KEYLESS;
    }
    *shard = (int)slot_to_shard(slot_of(argv[keys->keys[0].index]), shards);
    for (uint32_t i = 1; i < keys->count; i++) {
        if ((int)slot_to_shard(slot_of(argv[keys->keys[i].index]), shards) != *shard) {
            return ROUTER_SEVERAL;
        }
    }
    return ROUTER_ONE;
}
