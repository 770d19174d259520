// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/scan_args.h"

#include "node/cmd/args.h"

#include "common/base/glob.h"
#include "common/base/mem.h"
#include "common/base/num.h"

/* What strtoul takes, as Redis does: an empty text is 0, and a negative number is a cursor too, one
 * with nothing behind it. */
bool scan_cursor(struct call *c, size_t i, uint64_t *cursor)
{
    struct slice text = c->argv[i];
    bool negative = text.len > 1 && text.ptr[0] == '-';
    if (negative || (text.len > 1 && text.ptr[0] == '+')) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    while (text.len > 1 && text.ptr[0] == '0') {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    *cursor = 0;
    if (text.len > 0 && !num_parse_u64(text, cursor)) {
        resp_error(&c->w, "ERR invalid cursor");
        return false;
    }
    *cursor = negative && *cursor != 0 ? UINT64_MAX : *cursor;
    return true;
}

bool scan_options(struct call *c, size_t i, bool of_keys, struct scan_args *out)
{
    *out = (struct scan_args){.count = 10, .any = true, .type = SCAN_TYPE_ANY};
    for (; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            return arg_syntax_error(c);
        }
        if (arg_is(c, i, "COUNT")) {
            int64_t n;
            if (!arg_int(c, i + 1, &n)) {
                return false;
            }
            if (n < 1) {
                return arg_syntax_error(c);
            }
            out->count = (uint64_t)n;
        } else if (arg_is(c, i, "MATCH")) {
            out->pattern = c->argv[i + 1];
            out->any = slice_eq(out->pattern, SLICE("*"));
        } else if (of_keys && arg_is(c, i, "TYPE")) {
            int type = object_type_from_name(c->argv[i + 1]);
            out->type = type < 0 ? SCAN_TYPE_NONE : type;
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

bool scan_matches(const struct scan_args *a, struct slice name)
{
    return a->any || glob_match(a->pattern, name, false);
}

void scan_reply(struct call *c, uint64_t next, size_t n)
{
    char digits[NUM_I64_MAX_LEN];
    resp_array(&c->w, 2);
    resp_bulk(&c->w, slice_of(digits, num_print_u64(digits, next)));
    resp_array(&c->w, n);
}

void scan_found_add(struct scan_found *f, const void *what)
{
    if (f->n == f->cap) {
        f->cap = MAX(f->cap * 2, 64);
        f->of = mem_realloc(f->of, f->cap * sizeof(*f->of));
    }
    f->of[f->n++] = what;
}

void scan_found_fini(struct scan_found *f)
{
    mem_free(f->of);
    *f = (struct scan_found){0};
}
