// SPDX-License-Identifier: BSD-3-Clause
/* Up to which size values are kept packed, as CONFIG says it. Types ask here because values are
 * also made where no command runs: when files and copies of shards are read. One for the process;
 * the node's thread. Pure. */
#pragma once

#include <stddef.h>

struct type_limits {
    size_t hash_entries; /* hash-max-listpack-entries: fields */
    size_t hash_value;   /* hash-max-listpack-value: bytes of a field or value */
    size_t set_intset;   /* set-max-intset-entries: integers of a set */
    size_t zset_entries; /* zset-max-listpack-entries: members */
    size_t zset_value;   /* zset-max-listpack-value: bytes of a member */
    int list_size;       /* list-max-listpack-size: elements in a node, or -1 to -5: 4 to 64 KiB */
    int list_depth;      /* list-compress-depth: nodes at each end that are not packed; 0: none */
    size_t list_plain;   /* bytes from which an element has a node of its own */
};

#define LIST_PLAIN_DEFAULT ((size_t)1 << 30)

const struct type_limits *type_limits(void);
void type_limits_set(const struct type_limits *limits);
