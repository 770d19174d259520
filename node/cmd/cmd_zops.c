// SPDX-License-Identifier: BSD-3-Clause
/* Several sorted sets together, plain sets among them: ZUNION, ZINTER, ZDIFF, what they store, and
 * ZINTERCARD. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_zset.h"
#include "node/cmd/handlers.h"
#include "node/types/set.h"

#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum op { OP_UNION, OP_INTER, OP_DIFF, OP_CARD };
enum aggregate { AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX };

struct source {
    const struct object *o; /* NULL: none */
    double weight;
};

struct asked {
    enum op op;
    enum aggregate aggregate;
    bool store;
    bool scores;
    int64_t limit; /* 0: none */
    size_t n;
    struct source *of;
};

/* ---- one source: members of a plain set have score 1 ---- */

static uint64_t length_of(const struct source *s)
{
    return s->o == NULL ? 0 : s->o->type == OBJECT_SET ? set_count(s->o) : zset_count(s->o);
}

static bool score_in(const struct source *s, struct slice member, double *score)
{
    if (s->o == NULL) {
        return false;
    }
    if (s->o->type == OBJECT_SET) {
        *score = 1;
        return set_has(s->o, member);
    }
    return zset_score(s->o, member, score);
}

struct source_walk {
    const struct object *o;
    struct set_walk set;
    struct zset_walk zset;
};

static struct source_walk walk_of(const struct source *s)
{
    struct source_walk w = {.o = s->o};
    if (s->o != NULL && s->o->type == OBJECT_ZSET) {
        w.zset = zset_seek(s->o, 0, false);
    }
    return w;
}

static bool next_of(struct source_walk *w, struct zset_element *out)
{
    if (w->o == NULL) {
        return false;
    }
    if (w->o->type == OBJECT_ZSET) {
        return zset_next(&w->zset, out);
    }
    struct set_element e;
    if (!set_next(w->o, &w->set, &e)) {
        return false;
    }
    *out = (struct zset_element){.member = {.ptr = e.ptr, .len = e.len, .number = e.number},
                                 .score = 1};
    return true;
}

/* ---- words ---- */

static bool find_sources(struct call *c, size_t first, struct asked *a)
{
    for (size_t i = 0; i < a->n; i++) {
        struct probe p = call_probe(c, first + i);
        const struct object *o = db_read(&c->db, &p, c->argv[first + i]);
        if (o != NULL && o->type != OBJECT_ZSET && o->type != OBJECT_SET) {
            resp_error(&c->w, ERR_WRONGTYPE);
            return false;
        }
        a->of[i] = (struct source){.o = o, .weight = 1};
    }
    return true;
}

static bool parse_aggregate(struct call *c, size_t i, struct asked *a)
{
    if (arg_is(c, i, "SUM")) {
        a->aggregate = AGGREGATE_SUM;
    } else if (arg_is(c, i, "MIN")) {
        a->aggregate = AGGREGATE_MIN;
    } else if (arg_is(c, i, "MAX")) {
        a->aggregate = AGGREGATE_MAX;
    } else {
        return arg_syntax_error(c);
    }
    return true;
}

static bool parse_words(struct call *c, size_t i, struct asked *a)
{
    bool weighs = a->op == OP_UNION || a->op == OP_INTER;
    while (i < c->argc) {
        size_t left = c->argc - i;
        if (weighs && left > a->n && arg_is(c, i, "WEIGHTS")) {
            for (size_t k = 0; k < a->n; k++) {
                if (!arg_double_or(c, i + 1 + k, &a->of[k].weight,
                                   "ERR weight value is not a float")) {
                    return false;
                }
            }
            i += 1 + a->n;
        } else if (weighs && left >= 2 && arg_is(c, i, "AGGREGATE")) {
            if (!parse_aggregate(c, i + 1, a)) {
                return false;
            }
            i += 2;
        } else if (!a->store && a->op != OP_CARD && arg_is(c, i, "WITHSCORES")) {
            a->scores = true;
            i++;
        } else if (a->op == OP_CARD && left >= 2 && arg_is(c, i, "LIMIT")) {
            if (!arg_range(c, i + 1, 0, INT64_MAX, &a->limit, "ERR LIMIT can't be negative")) {
                return false;
            }
            i += 2;
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

/* Argument i counts the keys behind it. False: a->of is freed. */
static bool parse(struct call *c, size_t i, struct asked *a)
{
    int64_t n;
    if (!arg_int(c, i, &n)) {
        return false;
    }
    if (n < 1) {
        resp_errorf(&c->w, "ERR at least 1 input key is needed for '%s' command",
                    c->cmd->full_name);
        return false;
    }
    if ((uint64_t)n > c->argc - i - 1) {
        arg_syntax_error(c);
        return false;
    }
    a->n = (size_t)n;
    a->of = mem_alloc(a->n * sizeof(*a->of));
    if (find_sources(c, i + 1, a) && parse_words(c, i + 1 + a->n, a)) {
        return true;
    }
    mem_free(a->of);
    return false;
}

/* ---- the operations ---- */

static double aggregate(const struct asked *a, double x, double y)
{
    double sum = x + y;
    switch (a->aggregate) {
    case AGGREGATE_MIN:
        return y < x ? y : x;
    case AGGREGATE_MAX:
        return y > x ? y : x;
    case AGGREGATE_SUM:
        break;
    }
    return isnan(sum) ? 0 : sum; /* inf - inf is nothing here */
}

static double weighed(const struct source *s, double score)
{
    double v = s->weight * score;
    return isnan(v) ? 0 : v; /* nothing times infinity, too */
}

static int by_length(const void *a, const void *b)
{
    uint64_t x = length_of(a);
    uint64_t y = length_of(b);
    return x > y ? 1 : x < y ? -1 : 0;
}

static void unite(const struct asked *a, struct zset_draft *d)
{
    for (size_t i = 0; i < a->n; i++) {
        struct source_walk w = walk_of(&a->of[i]);
        struct zset_element e;
        while (next_of(&w, &e)) {
            char digits[NUM_I64_MAX_LEN];
            struct slice member = zset_element_text(&e, digits);
            double score = weighed(&a->of[i], e.score);
            double *has = zset_draft_find(d, member);
            if (has == NULL) {
                zset_draft_add(d, member, score);
            } else {
                *has = aggregate(a, *has, score);
            }
        }
    }
}

/* False: another one lacks it. */
static bool in_all(const struct asked *a, struct slice member, double own, double *score)
{
    *score = weighed(&a->of[0], own);
    for (size_t i = 1; i < a->n; i++) {
        double v = own;
        if (a->of[i].o != a->of[0].o && !score_in(&a->of[i], member, &v)) {
            return false;
        }
        *score = aggregate(a, *score, v * a->of[i].weight);
    }
    return true;
}

/* Into d, or with d NULL only counted. */
static uint64_t intersect(const struct asked *a, struct zset_draft *d)
{
    uint64_t found = 0;
    if (length_of(&a->of[0]) == 0) {
        return 0;
    }
    struct source_walk w = walk_of(&a->of[0]);
    struct zset_element e;
    while (next_of(&w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice member = zset_element_text(&e, digits);
        double score;
        if (!in_all(a, member, e.score, &score)) {
            continue;
        }
        if (d != NULL) {
            zset_draft_add(d, member, score);
        }
        if (++found == (uint64_t)a->limit) {
            break;
        }
    }
    return found;
}

static void subtract(const struct asked *a, struct zset_draft *d)
{
    struct source_walk w = walk_of(&a->of[0]);
    struct zset_element e;
    while (next_of(&w, &e)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice member = zset_element_text(&e, digits);
        double score;
        size_t i = 1;
        while (i < a->n && a->of[i].o != a->of[0].o && !score_in(&a->of[i], member, &score)) {
            i++;
        }
        if (i == a->n) {
            zset_draft_add(d, member, e.score);
        }
    }
}

/* NULL: nothing. */
static struct object *make(const struct asked *a, struct slice key)
{
    struct zset_draft *d = zset_draft_new();
    if (a->op == OP_DIFF) {
        subtract(a, d);
    } else {
        qsort(a->of, a->n, sizeof(*a->of), by_length);
        if (a->op == OP_UNION) {
            unite(a, d);
        } else {
            intersect(a, d);
        }
    }
    if (zset_draft_count(d) == 0) {
        zset_draft_free(&d);
        return NULL;
    }
    return zset_draft_done(&d, key, a->store);
}

static void store(struct call *c, enum op op, const char *event)
{
    struct asked a = {.op = op, .store = true};
    if (parse(c, 2, &a)) {
        store_zset(c, make(&a, c->argv[1]), event);
        mem_free(a.of);
    }
}

static void answer(struct call *c, enum op op)
{
    struct asked a = {.op = op};
    if (!parse(c, 1, &a)) {
        return;
    }
    struct object *o = make(&a, SLICE(""));
    reply_members_head(c, o == NULL ? 0 : zset_count(o), a.scores);
    if (o != NULL) {
        struct zset_walk w = zset_seek(o, 0, false);
        struct zset_element e;
        while (zset_next(&w, &e)) {
            reply_member(c, &e, a.scores);
        }
    }
    object_free(&o);
    mem_free(a.of);
}

void cmd_zunion(struct call *c)
{
    answer(c, OP_UNION);
}

void cmd_zinter(struct call *c)
{
    answer(c, OP_INTER);
}

void cmd_zdiff(struct call *c)
{
    answer(c, OP_DIFF);
}

void cmd_zunionstore(struct call *c)
{
    store(c, OP_UNION, "zunionstore");
}

void cmd_zinterstore(struct call *c)
{
    store(c, OP_INTER, "zinterstore");
}

void cmd_zdiffstore(struct call *c)
{
    store(c, OP_DIFF, "zdiffstore");
}

void cmd_zintercard(struct call *c)
{
    struct asked a = {.op = OP_CARD};
    if (parse(c, 1, &a)) {
        qsort(a.of, a.n, sizeof(*a.of), by_length);
        resp_int(&c->w, (int64_t)intersect(&a, NULL));
        mem_free(a.of);
    }
}
