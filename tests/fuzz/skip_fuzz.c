// SPDX-License-Identifier: BSD-3-Clause
/* Replies: skip ends where value accepts, whole or in pieces, and never asks for more bytes than a
 * reply turns out to have. The first byte chooses how the rest is cut. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/resp/skip.h"
#include "common/resp/value.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum resp_skip_status status;
    size_t end;
    char type;
};

static struct outcome skip_whole(struct slice in)
{
    struct resp_skip s;
    struct outcome o = {0};
    resp_skip_init(&s);
    o.status = resp_skip(&s, in, &o.end);
    o.type = s.type;
    INVARIANT(o.status == SKIP_BAD || o.end > 0);
    INVARIANT(o.status != SKIP_OK || o.end <= in.len);
    return o;
}

static void check_pieces(struct slice in, uint64_t seed, struct outcome want)
{
    struct resp_skip s;
    struct rng rng;
    size_t have = 0;
    size_t end;
    resp_skip_init(&s);
    rng_init(&rng, seed);
    for (;;) {
        char *copy = mem_memdup(in.ptr, have);
        enum resp_skip_status status = resp_skip(&s, slice_of(copy, have), &end);
        mem_free(copy);
        if (status != SKIP_MORE || have == in.len) {
            INVARIANT(status == want.status);
            INVARIANT(status != SKIP_OK || (end == want.end && s.type == want.type));
            return;
        }
        INVARIANT(want.status != SKIP_OK || have + end <= want.end);
        uint64_t step = 1 + rng_below(&rng, 6);
        have = MIN(in.len, have + step);
    }
}

/* Every part of the tree lies within the bytes. */
static void check_tree(const struct resp_value *v, struct slice in)
{
    INVARIANT(v->text.len == 0 ||
              (v->text.ptr >= in.ptr && v->text.ptr + v->text.len <= in.ptr + in.len));
    for (size_t i = 0; i < v->count; i++) {
        check_tree(&v->items[i], in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct slice in = slice_of((const char *)data + 1, size - 1);
    struct outcome o = skip_whole(in);
    check_pieces(in, data[0], o);

    struct slice reply = slice_of(in.ptr, o.status == SKIP_OK ? o.end : in.len);
    struct resp_value *v = resp_value_parse(reply);
    INVARIANT((v != NULL) == (o.status == SKIP_OK));
    if (v != NULL) {
        check_tree(v, reply);
    }
    resp_value_free(&v);
    return 0;
}
