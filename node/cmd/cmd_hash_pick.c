// SPDX-License-Identifier: BSD-3-Clause
/* Hashes: HSCAN, and HRANDFIELD in all its forms. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_hash.h"
#include "node/cmd/handlers.h"
#include "node/cmd/scan_args.h"

#include "common/base/mem.h"

/* ---- HSCAN ---- */

struct hscan {
    struct scan_args args;
    struct scan_found found; /* places of those that match */
    size_t seen;
};

static void consider(void *arg, const struct hash_pair *pair)
{
    struct hscan *s = arg;
    char digits[NUM_I64_MAX_LEN];
    struct slice field = pair->field.ptr != NULL
                             ? slice_of(pair->field.ptr, pair->field.len)
                             : slice_of(digits, num_print_i64(digits, pair->field.number));
    s->seen++;
    if (scan_matches(&s->args, field)) {
        scan_found_add(&s->found, pair->place);
    }
}

void cmd_hscan(struct call *c)
{
    struct hscan s = {0};
    uint64_t cursor;
    struct object *o;
    if (!scan_cursor(c, 2, &cursor) || !read_hash(c, 1, &o)) {
        return;
    }
    if (o == NULL) {
        scan_reply(c, 0, 0);
        return;
    }
    if (!scan_options(c, 3, false, &s.args)) {
        return;
    }
    /* Redis counts a field and its value. */
    do {
        cursor = hash_scan(o, cursor, consider, &s);
    } while (cursor != 0 && 2 * s.seen < s.args.count);
    scan_reply(c, cursor, 2 * s.found.n);
    for (size_t i = 0; i < s.found.n; i++) {
        struct hash_pair pair = hash_at(o, s.found.of[i]);
        reply_hash_value(c, &pair.field);
        reply_hash_value(c, &pair.value);
    }
    scan_found_fini(&s.found);
}

/* ---- HRANDFIELD ---- */

static void reply_header(struct call *c, size_t n, bool values)
{
    resp_array(&c->w, values && c->w.proto == 2 ? 2 * n : n);
}

static void reply_pair(struct call *c, const struct hash_pair *pair, bool values)
{
    if (values && c->w.proto > 2) {
        resp_array(&c->w, 2);
    }
    reply_hash_value(c, &pair->field);
    if (values) {
        reply_hash_value(c, &pair->value);
    }
}

/* Any, the same one several times too. */
static void reply_any(struct call *c, const struct object *o, uint64_t n, bool values)
{
    reply_header(c, n, values);
    for (; n > 0 && !call_reply_full(c); n--) {
        struct hash_pair pair = hash_random(o, c->rng);
        reply_pair(c, &pair, values);
    }
}

/* Few of many: drawn until so many different ones were. */
static void draw_different(struct call *c, const struct object *o, size_t n, bool values)
{
    size_t places = 16;
    while (places < 2 * n) {
        places *= 2;
    }
    const void **seen = mem_zalloc(places * sizeof(*seen));
    while (n > 0) {
        struct hash_pair pair = hash_random(o, c->rng);
        size_t at = ((uintptr_t)pair.place * 0x9E3779B97F4A7C15ULL >> 32) & (places - 1);
        while (seen[at] != NULL && seen[at] != pair.place) {
            at = (at + 1) & (places - 1);
        }
        if (seen[at] == NULL) {
            seen[at] = pair.place;
            reply_pair(c, &pair, values);
            n--;
        }
    }
    mem_free(seen);
}

/* Each at most once, n of them, in the order in which they stand. */
static void pick_on_the_way(struct call *c, const struct object *o, size_t n, bool values)
{
    size_t left = hash_length(o);
    struct hash_walk w = {0};
    struct hash_pair pair;
    while (n > 0 && hash_next(o, &w, &pair)) {
        if (rng_below(c->rng, left--) < n) {
            reply_pair(c, &pair, values);
            n--;
        }
    }
}

static void reply_different(struct call *c, const struct object *o, uint64_t count, bool values)
{
    size_t size = hash_length(o);
    size_t n = MIN(count, size);
    reply_header(c, n, values);
    if (hash_is_table(o) && n < size / 3) {
        draw_different(c, o, n, values);
    } else {
        pick_on_the_way(c, o, n, values);
    }
}

static bool parse_count(struct call *c, int64_t *count, bool *values)
{
    if (!arg_int(c, 2, count)) {
        return false;
    }
    if (*count == INT64_MIN) {
        resp_errorf(&c->w, "ERR value is out of range, value must between %lld and %lld",
                    -(long long)INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    *values = c->argc == 4;
    if (c->argc > 4 || (*values && !arg_is(c, 3, "WITHVALUES"))) {
        return arg_syntax_error(c);
    }
    if (*values && (*count < -(INT64_MAX / 2) || *count > INT64_MAX / 2)) {
        resp_error(&c->w, "ERR value is out of range");
        return false;
    }
    return true;
}

void cmd_hrandfield(struct call *c)
{
    struct object *o;
    int64_t count;
    bool values;
    if (c->argc == 2) {
        if (!read_hash(c, 1, &o)) {
            return;
        }
        if (o == NULL) {
            resp_nil(&c->w);
        } else {
            struct hash_pair pair = hash_random(o, c->rng);
            reply_hash_value(c, &pair.field);
        }
        return;
    }
    if (!parse_count(c, &count, &values) || !read_hash(c, 1, &o)) {
        return;
    }
    if (o == NULL || count == 0) {
        resp_array(&c->w, 0);
    } else if (count < 0) {
        reply_any(c, o, (uint64_t)-count, values);
    } else {
        reply_different(c, o, (uint64_t)count, values);
    }
}
