// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/decision.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <stdio.h>

#define PREFIX "shoal-decision "
#define FORMAT '3'
#define OLDER  '2' /* without wishes */

/* "shoal-decision 3 <rebalancing> <paused> <handed> <done> <copied>", for each wish
 * " <shard> <node>", "\n", then the map's bytes. */
void decision_encode(const struct decision *d, struct str *to)
{
    str_printf(to, PREFIX "%c %d %d %llu %llu %llu", FORMAT, d->rebalancing, d->paused,
               (unsigned long long)d->handed, (unsigned long long)d->done,
               (unsigned long long)d->copied);
    for (int i = 0; d->wishes != NULL && i < d->map->n_shards; i++) {
        if (d->wishes[i] != NODE_NONE) {
            str_printf(to, " %d %d", i, d->wishes[i]);
        }
    }
    str_append_char(to, '\n');
    map_encode(d->map, to);
}

static bool take_flag(struct slice *in, bool *out)
{
    if (in->len < 2 || (in->ptr[0] != '0' && in->ptr[0] != '1') || in->ptr[1] != ' ') {
        return false;
    }
    *out = in->ptr[0] == '1';
    in->ptr += 2;
    in->len -= 2;
    return true;
}

static bool take_number(struct slice *in, uint64_t *out)
{
    const char *stop = in->len == 0 ? NULL : memchr(in->ptr, ' ', in->len);
    size_t len = stop == NULL ? in->len : (size_t)(stop - in->ptr);
    if (!num_parse_u64(slice_of(in->ptr, len), out)) {
        return false;
    }
    size_t used = len + (stop != NULL);
    *in = slice_of(in->ptr + used, in->len - used);
    return true;
}

/* Pairs of shard and node, to the end. */
static bool take_wishes(struct slice in, struct decision *d)
{
    while (in.len > 0) {
        uint64_t shard, node;
        if (!take_number(&in, &shard) || !take_number(&in, &node) ||
            shard >= (uint64_t)d->map->n_shards || node >= (uint64_t)d->map->n_nodes) {
            return false;
        }
        if (d->wishes == NULL) {
            d->wishes = mem_alloc(sizeof(*d->wishes) * (size_t)d->map->n_shards);
            for (int i = 0; i < d->map->n_shards; i++) {
                d->wishes[i] = NODE_NONE;
            }
        }
        d->wishes[shard] = (int)node;
    }
    return true;
}

bool decision_decode(struct slice in, struct decision *out)
{
    *out = (struct decision){0};
    size_t prefix = sizeof(PREFIX) - 1;
    const char *line_end = in.len == 0 ? NULL : memchr(in.ptr, '\n', in.len);
    if (line_end == NULL || (size_t)(line_end - in.ptr) < prefix + 2 ||
        memcmp(in.ptr, PREFIX, prefix) != 0 || in.ptr[prefix + 1] != ' ') {
        return false;
    }
    char format = in.ptr[prefix];
    prefix += 2;
    struct slice head = slice_of(in.ptr + prefix, (size_t)(line_end - in.ptr) - prefix);
    if ((format != FORMAT && format != OLDER) || !take_flag(&head, &out->rebalancing) ||
        !take_flag(&head, &out->paused) || !take_number(&head, &out->handed) ||
        !take_number(&head, &out->done) || !take_number(&head, &out->copied) ||
        (format == OLDER && head.len > 0)) {
        return false;
    }
    size_t used = (size_t)(line_end + 1 - in.ptr);
    out->map = map_decode(slice_of(in.ptr + used, in.len - used));
    if (out->map == NULL || !take_wishes(head, out)) {
        decision_fini(out);
        return false;
    }
    return true;
}

void decision_fini(struct decision *d)
{
    map_unref(&d->map);
    mem_free(d->wishes);
    d->wishes = NULL;
}
