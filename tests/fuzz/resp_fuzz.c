// SPDX-License-Identifier: BSD-3-Clause
/* Requests, arrays and inline: what a parser makes of a stream is the same whether it comes whole
 * or in pieces, each at another address; arguments lie within the bytes; the end is reached. The
 * first byte chooses the limits, the second how the rest is cut. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/resp/parse.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(struct resp_parser *p, uint8_t limits)
{
    resp_parser_init(p);
    p->unauthenticated = (limits & 1) != 0;
    p->bulk_max = (limits & 2) != 0 ? 64 : RESP_BULK_MAX;
}

static void note_command(const struct resp_parser *p, struct slice in, struct str *out)
{
    INVARIANT(p->used > 0 && p->used <= in.len);
    str_printf(out, "%u/%zu:", p->argc, p->used);
    for (uint32_t i = 0; i < p->argc; i++) {
        struct slice arg = p->argv[i];
        if (!p->is_inline) {
            INVARIANT(arg.ptr >= in.ptr && arg.ptr + arg.len + 2 <= in.ptr + p->used);
        }
        str_printf(out, "%zu ", arg.len);
        str_append_slice(out, arg);
    }
}

/* All commands of `in`, then its error or wait. A seed of 0 gives the bytes at once. */
static void transcript(struct slice in, uint8_t limits, uint64_t seed, struct str *out)
{
    struct resp_parser p;
    struct rng rng;
    size_t from = 0;
    size_t have = seed == 0 ? in.len : 0;
    start(&p, limits);
    rng_init(&rng, seed);
    for (;;) {
        size_t len = have - from;
        char *copy = mem_memdup(in.ptr + from, len);
        enum resp_status status = resp_parse(&p, slice_of(copy, len));
        if (status == RESP_OK) {
            note_command(&p, slice_of(copy, len), out);
            from += p.used;
        }
        mem_free(copy);
        if (status == RESP_ERROR) {
            str_appendz(out, p.error);
            break;
        }
        if (status == RESP_MORE) {
            INVARIANT(p.need > 0);
            if (have == in.len) {
                str_appendz(out, "more");
                break;
            }
            uint64_t step = 1 + rng_below(&rng, rng_below(&rng, 4) == 0 ? 100 : 4);
            have = MIN(in.len, have + step);
        }
        INVARIANT(resp_parser_memory(&p) <= 4096 + 64 * in.len);
    }
    resp_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct slice in = slice_of((const char *)data + 2, size - 2);
    struct str whole = {0};
    struct str cut = {0};
    transcript(in, data[0], 0, &whole);
    transcript(in, data[0], 1 + data[1], &cut);
    INVARIANT(slice_eq(str_slice(&whole), str_slice(&cut)));
    str_fini(&whole);
    str_fini(&cut);
    return 0;
}
