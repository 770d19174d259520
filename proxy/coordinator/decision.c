// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/decision.h"

#include "common/base/num.h"

#include <stdio.h>

#define PREFIX "shoal-decision 1 "

/* "shoal-decision 1 <rebalancing> <paused> <handed>\n", then the map's bytes. */
void decision_encode(const struct decision *d, struct str *to)
{
    str_printf(to, PREFIX "%d %d %llu\n", d->rebalancing, d->paused, (unsigned long long)d->handed);
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

bool decision_decode(struct slice in, struct decision *out)
{
    *out = (struct decision){0};
    size_t prefix = sizeof(PREFIX) - 1;
    const char *line_end = in.len == 0 ? NULL : memchr(in.ptr, '\n', in.len);
    if (line_end == NULL || in.len < prefix || memcmp(in.ptr, PREFIX, prefix) != 0) {
        return false;
    }
    struct slice head = slice_of(in.ptr + prefix, (size_t)(line_end - in.ptr) - prefix);
    if (!take_flag(&head, &out->rebalancing) || !take_flag(&head, &out->paused) ||
        !num_parse_u64(head, &out->handed)) {
        return false;
    }
    size_t used = (size_t)(line_end + 1 - in.ptr);
    out->map = map_decode(slice_of(in.ptr + used, in.len - used));
    return out->map != NULL;
}
