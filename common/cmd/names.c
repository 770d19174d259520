// SPDX-License-Identifier: BSD-3-Clause
/* The names of what command.h numbers. */
#include "common/cmd/command.h"

const char *command_flag_name(enum command_flag flag)
{
    static const char *const names[] = {
        "write",
        "readonly",
        "denyoom",
        "module",
        "admin",
        "pubsub",
        "noscript",
        "blocking",
        "loading",
        "stale",
        "skip_monitor",
        "skip_slowlog",
        "asking",
        "fast",
        "no_auth",
        "no_mandatory_keys",
        "no_async_loading",
        "no_multi",
        "movablekeys",
        "allow_busy",
    };
    size_t bit = (size_t)__builtin_ctz((unsigned)flag);
    return bit < ARRAY_LEN(names) ? names[bit] : NULL;
}

const char *command_category_name(enum command_category_bit bit)
{
    static const char *const names[] = {
#define X(ID, name) name,
        COMMAND_CATEGORIES(X)
#undef X
    };
    INVARIANT(bit < ACL_BITS);
    return names[bit];
}

uint32_t command_category_mask(struct slice name)
{
    for (unsigned bit = 0; bit < ACL_BITS; bit++) {
        if (slice_is(name, command_category_name(bit))) {
            return 1u << bit;
        }
    }
    return 0;
}

const char *command_group_name(enum command_group group)
{
    static const char *const names[] = {
        "generic",    "string",     "bitmap", "hash",        "list",   "set",
        "sorted-set", "stream",     "geo",    "hyperloglog", "pubsub", "transactions",
        "scripting",  "connection", "server", "cluster",
    };
    INVARIANT(group < ARRAY_LEN(names));
    return names[group];
}

const char *command_request_name(enum request_policy policy)
{
    static const char *const names[] = {NULL, "all_nodes", "all_shards", "multi_shard", "special"};
    INVARIANT(policy < ARRAY_LEN(names));
    return names[policy];
}

const char *command_response_name(enum response_policy policy)
{
    static const char *const names[] = {
        NULL,      "one_succeeded", "all_succeeded", "agg_logical_and", "agg_logical_or",
        "agg_min", "agg_max",       "agg_sum",       "special",
    };
    INVARIANT(policy < ARRAY_LEN(names));
    return names[policy];
}
