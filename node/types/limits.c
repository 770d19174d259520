// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/limits.h"

static struct type_limits now = {
    .hash_entries = 512,
    .hash_value = 64,
    .set_intset = 512,
    .zset_entries = 128,
    .zset_value = 64,
    .list_size = -2,
    .list_plain = LIST_PLAIN_DEFAULT,
};

const struct type_limits *type_limits(void)
{
    return &now;
}

void type_limits_set(const struct type_limits *limits)
{
    now = *limits;
}
