// SPDX-License-Identifier: BSD-3-Clause
/* What takes members from an end of a sorted set, or waits for some to come. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_zset.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"

struct pops {
    size_t first; /* keys in argv */
    size_t n;
    bool max;
    int64_t count; /* -1: one, and the answer is no array of pairs */
};

/* "ZPOPMIN key [n]" is what happened to the key; n -1: one, and no count was asked for. */
static void say_pop(struct call *c, const struct probe *p, struct slice key, bool max, int64_t n)
{
    if (record_wanted(c)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice words[3] = {max ? SLICE("ZPOPMAX") : SLICE("ZPOPMIN"), key,
                                 slice_of(digits, num_print_i64(digits, n))};
        record_say(c, p, words, n == -1 ? 2 : 3);
    }
}

/* Answers with n from the end, each a pair of its own or not, and takes them out. */
static void take(struct call *c, const struct probe *p, struct object *o, struct slice key,
                 bool max, uint64_t n, bool nested)
{
    uint64_t all = zset_count(o);
    struct zset_walk w = zset_seek(o, max ? all - 1 : 0, max);
    struct zset_element e;
    for (uint64_t i = 0; i < n && zset_next(&w, &e); i++) {
        if (nested) {
            resp_array(&c->w, 2);
        }
        reply_member_bytes(c, &e);
        resp_double(&c->w, e.score);
    }
    struct db_edit edit;
    db_edit_begin(&c->db, p, o, &edit);
    zset_remove_range(o, max ? all - n : 0, n);
    end_zset_edit(c, p, &edit, key, max ? "zpopmax" : "zpopmin");
    c->changes += n;
}

static void pop(struct call *c, bool max)
{
    int64_t count = 1;
    bool counted = c->argc == 3;
    struct object *o;
    if (c->argc > 3) {
        arg_syntax_error(c);
        return;
    }
    struct probe p = call_probe(c, 1);
    if ((counted && !arg_range(c, 2, 0, INT64_MAX, &count, ERR_NOT_POSITIVE)) ||
        !find_zset(c, &p, 1, &o)) {
        return;
    }
    if (o == NULL || count == 0) {
        resp_array(&c->w, 0);
        return;
    }
    uint64_t n = MIN((uint64_t)count, zset_count(o));
    bool nested = counted && c->w.proto == 3;
    resp_array(&c->w, nested ? n : 2 * n);
    take(c, &p, o, c->argv[1], max, n, nested);
}

void cmd_zpopmin(struct call *c)
{
    pop(c, false);
}

void cmd_zpopmax(struct call *c)
{
    pop(c, true);
}

/* ---- from the first of several that has something ---- */

/* False: there is nothing in any. */
static bool pop_first(struct call *c, const struct pops *a)
{
    for (size_t i = a->first; i < a->first + a->n; i++) {
        struct slice key = c->argv[i];
        struct probe p = call_probe(c, i);
        struct object *o = db_find(&c->db, &p, key);
        if (o == NULL || (o->type != OBJECT_ZSET && c->wait.again)) {
            continue; /* who waited is not told of what came to be there */
        }
        if (!check_type(c, o, OBJECT_ZSET)) {
            return true;
        }
        record_by_key(c);
        uint64_t n = a->count == -1 ? 1 : MIN((uint64_t)a->count, zset_count(o));
        resp_array(&c->w, a->count == -1 ? 3 : 2);
        resp_bulk(&c->w, key);
        if (a->count != -1) {
            resp_array(&c->w, n);
        }
        take(c, &p, o, key, a->max, n, a->count != -1);
        say_pop(c, &p, key, a->max, a->count == -1 ? -1 : (int64_t)n);
        return true;
    }
    return false;
}

static void pop_or_wait(struct call *c, const struct pops *a, int64_t until_ms)
{
    if (!pop_first(c, a) && !call_wait(c, OBJECT_ZSET, a->first, a->n, until_ms)) {
        resp_nil_array(&c->w);
    }
}

static void blocking_pop(struct call *c, bool max)
{
    int64_t until;
    struct pops a = {.first = 1, .n = c->argc - 2, .max = max, .count = -1};
    if (arg_timeout(c, c->argc - 1, &until)) {
        pop_or_wait(c, &a, until);
    }
}

void cmd_bzpopmin(struct call *c)
{
    blocking_pop(c, false);
}

void cmd_bzpopmax(struct call *c)
{
    blocking_pop(c, true);
}

/* numkeys key [key ...] MIN|MAX [COUNT count], from argument i on. */
static bool parse_pops(struct call *c, size_t i, struct pops *a)
{
    int64_t n;
    if (!arg_range(c, i, 1, INT64_MAX, &n, "ERR numkeys should be greater than 0")) {
        return false;
    }
    if ((uint64_t)n >= c->argc - i - 1) {
        return arg_syntax_error(c);
    }
    *a = (struct pops){.first = i + 1, .n = (size_t)n, .count = -1};
    i += (size_t)n + 1;
    a->max = arg_is(c, i, "MAX");
    if (!a->max && !arg_is(c, i, "MIN")) {
        return arg_syntax_error(c);
    }
    for (i++; i < c->argc; i += 2) {
        if (a->count != -1 || i + 1 == c->argc || !arg_is(c, i, "COUNT")) {
            return arg_syntax_error(c);
        }
        if (!arg_range(c, i + 1, 1, INT64_MAX, &a->count, "ERR count should be greater than 0")) {
            return false;
        }
    }
    a->count = a->count == -1 ? 1 : a->count;
    return true;
}

void cmd_zmpop(struct call *c)
{
    struct pops a = {0};
    if (parse_pops(c, 1, &a) && !pop_first(c, &a)) {
        resp_nil_array(&c->w);
    }
}

void cmd_bzmpop(struct call *c)
{
    int64_t until;
    struct pops a = {0};
    if (parse_pops(c, 2, &a) && arg_timeout(c, 1, &until)) {
        pop_or_wait(c, &a, until);
    }
}
