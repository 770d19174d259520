// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/decision.h"

#include "common/base/num.h"

#include <stdio.h>

#define PREFIX "shoal-decision 2 "

/* "shoal-decision 2 <rebalancing> <paused> <handed> <done> <copied>\n", then the map's bytes. */
void decision_encode(const struct decision *d, struct str *to)
{
    str_printf(to, PREFIX "%d %d %llu %llu %llu\n", d->rebalancing, d->paused,
               (unsigned long long)d->handed, (unsigned long long)d->done,
               (unsigned long long)d->copied);
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
        !take_number(&head, &out->handed) || !take_number(&head, &out->done) ||
        !take_number(&head, &out->copied) || head.len > 0) {
        return false;
    }
    size_t used = (size_t)(line_end + 1 - in.ptr);
    out->map = map_decode(slice_of(in.ptr + used, in.len - used));
    return out->map != NULL;
}
