// SPDX-License-Identifier: BSD-3-Clause
/* Sorted sets one at a time: ZADD, ZREM, ZSCORE, ZRANK, ZRANDMEMBER, ZSCAN and their relatives. */
#include "node/cmd/cmd_zset.h"

#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/scan_args.h"

#include "common/base/mem.h"

/* ---- ZADD, ZINCRBY ---- */

static size_t parse_flags(struct call *c, struct zset_adding *a)
{
    static const struct {
        const char *name;
        enum zset_flag flag;
    } names[] = {
        {"NX", ZSET_NX}, {"XX", ZSET_XX}, {"INCR", ZSET_INCR}, {"GT", ZSET_GT}, {"LT", ZSET_LT},
    };
    size_t i = 2;
    for (; i < c->argc; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(names) && !arg_is(c, i, names[k].name)) {
            k++;
        }
        if (k < ARRAY_LEN(names)) {
            a->flags |= names[k].flag;
        } else if (arg_is(c, i, "CH")) {
            a->changed = true;
        } else {
            break;
        }
    }
    return i;
}

static bool parse_adding(struct call *c, struct zset_adding *a)
{
    *a = (struct zset_adding){.step = 2, .member = 1};
    a->first = parse_flags(c, a);
    size_t words = c->argc - a->first;
    a->n = words / 2;
    bool both = (a->flags & ZSET_GT) != 0 && (a->flags & ZSET_LT) != 0;
    if (words == 0 || words % 2 != 0) {
        return arg_syntax_error(c);
    }
    if ((a->flags & ZSET_NX) != 0 && (a->flags & ZSET_XX) != 0) {
        resp_error(&c->w, "ERR XX and NX options at the same time are not compatible");
    } else if (both || ((a->flags & ZSET_NX) != 0 && (a->flags & (ZSET_GT | ZSET_LT)) != 0)) {
        resp_error(&c->w, "ERR GT, LT, and/or NX options at the same time are not compatible");
    } else if ((a->flags & ZSET_INCR) != 0 && a->n > 1) {
        resp_error(&c->w, "ERR INCR option supports a single increment-element pair");
    } else {
        return true;
    }
    return false;
}

struct added {
    int64_t added;
    int64_t updated;
    bool processed; /* no flag forbade the last one */
    bool nan;
    double score;
};

static void add_pairs(struct call *c, const struct zset_adding *a, const double *scores,
                      struct object *o, struct added *out)
{
    *out = (struct added){0};
    for (size_t i = 0; i < a->n && !out->nan; i++) {
        out->score = scores[i];
        enum zset_outcome outcome =
            zset_add(o, c->argv[a->first + a->step * i + a->member], a->flags, &out->score);
        out->added += outcome == ZSET_ADDED;
        out->updated += outcome == ZSET_UPDATED;
        out->processed = outcome != ZSET_LEFT;
        out->nan = outcome == ZSET_NAN;
    }
}

static void reply_added(struct call *c, const struct zset_adding *a, const struct added *r)
{
    if (r->nan) {
        resp_error(&c->w, "ERR resulting score is not a number (NaN)");
    } else if ((a->flags & ZSET_INCR) == 0) {
        resp_int(&c->w, r->added + (a->changed ? r->updated : 0));
    } else if (r->processed) {
        resp_double(&c->w, r->score);
    } else {
        resp_nil(&c->w);
    }
}

void zset_add_all(struct call *c, const struct zset_adding *a, const double *scores)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    struct added r = {0};
    if (!find_zset(c, &p, 1, &o)) {
        return;
    }
    if (o != NULL) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        add_pairs(c, a, scores, o, &r);
        db_edit_end(&c->db, &p, &e, r.added + r.updated > 0);
    } else if ((a->flags & ZSET_XX) == 0) {
        o = zset_new(c->argv[1]);
        add_pairs(c, a, scores, o, &r);
        if (r.added > 0) {
            db_add(&c->db, &p, o);
        } else {
            object_free(&o);
        }
    }
    c->changes += (uint64_t)(r.added + r.updated);
    if (r.added + r.updated > 0) {
        notify(&c->db, NOTIFY_ZSET, (a->flags & ZSET_INCR) != 0 ? "zincr" : "zadd", c->argv[1]);
    }
    reply_added(c, a, &r);
}

static void add(struct call *c, const struct zset_adding *a)
{
    double small[16];
    double *scores = a->n <= ARRAY_LEN(small) ? small : mem_alloc(a->n * sizeof(*scores));
    size_t i = 0;
    while (i < a->n && arg_double_or(c, a->first + 2 * i, &scores[i], ERR_NOT_FLOAT)) {
        i++;
    }
    if (i == a->n) {
        zset_add_all(c, a, scores);
    }
    if (scores != small) {
        mem_free(scores);
    }
}

void cmd_zadd(struct call *c)
{
    struct zset_adding a;
    if (parse_adding(c, &a)) {
        add(c, &a);
    }
}

void cmd_zincrby(struct call *c)
{
    struct zset_adding a = {.flags = ZSET_INCR, .first = 2, .n = 1, .step = 2, .member = 1};
    add(c, &a);
}

/* ---- removing ---- */

void cmd_zrem(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_zset(c, &p, 1, &o)) {
        return;
    }
    int64_t removed = 0;
    if (o != NULL) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        for (size_t i = 2; i < c->argc; i++) {
            removed += zset_remove(o, c->argv[i]);
        }
        if (removed > 0) {
            end_zset_edit(c, &p, &e, c->argv[1], "zrem");
        } else {
            db_edit_end(&c->db, &p, &e, false);
        }
    }
    c->changes += (uint64_t)removed;
    resp_int(&c->w, removed);
}

static void remove_range(struct call *c, enum zrange_by by, const char *event)
{
    struct zrange r;
    struct object *o;
    struct probe p = call_probe(c, 1);
    if (!arg_zrange(c, by, 2, 3, &r) || !find_zset(c, &p, 1, &o)) {
        return;
    }
    struct zspan s = {0};
    if (o != NULL) {
        s = zrange_span(&r, o, false);
    }
    if (s.n > 0) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        zset_remove_range(o, s.first, s.n);
        end_zset_edit(c, &p, &e, c->argv[1], event);
    }
    c->changes += s.n;
    resp_int(&c->w, (int64_t)s.n);
}

void cmd_zremrangebyrank(struct call *c)
{
    remove_range(c, ZRANGE_RANK, "zremrangebyrank");
}

void cmd_zremrangebyscore(struct call *c)
{
    remove_range(c, ZRANGE_SCORE, "zremrangebyscore");
}

void cmd_zremrangebylex(struct call *c)
{
    remove_range(c, ZRANGE_LEX, "zremrangebylex");
}

/* ---- asking ---- */

void cmd_zcard(struct call *c)
{
    struct object *o;
    if (read_zset(c, 1, &o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)zset_count(o));
    }
}

static void count(struct call *c, enum zrange_by by)
{
    struct zrange r;
    struct object *o;
    if (arg_zrange(c, by, 2, 3, &r) && read_zset(c, 1, &o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)zrange_span(&r, o, false).n);
    }
}

void cmd_zcount(struct call *c)
{
    count(c, ZRANGE_SCORE);
}

void cmd_zlexcount(struct call *c)
{
    count(c, ZRANGE_LEX);
}

static void reply_score(struct call *c, const struct object *o, struct slice member)
{
    double score;
    if (o != NULL && zset_score(o, member, &score)) {
        resp_double(&c->w, score);
    } else {
        resp_nil(&c->w);
    }
}

void cmd_zscore(struct call *c)
{
    struct object *o;
    if (read_zset(c, 1, &o)) {
        reply_score(c, o, c->argv[2]);
    }
}

void cmd_zmscore(struct call *c)
{
    struct object *o;
    if (!read_zset(c, 1, &o)) {
        return;
    }
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        reply_score(c, o, c->argv[i]);
    }
}

static void rank(struct call *c, bool from_end)
{
    struct object *o;
    uint64_t at;
    if (!read_zset(c, 1, &o)) {
        return;
    }
    if (o == NULL || !zset_rank(o, c->argv[2], &at)) {
        resp_nil(&c->w);
    } else {
        resp_int(&c->w, (int64_t)(from_end ? zset_count(o) - 1 - at : at));
    }
}

void cmd_zrank(struct call *c)
{
    rank(c, false);
}

void cmd_zrevrank(struct call *c)
{
    rank(c, true);
}

/* ---- by chance ---- */

/* n different ranks of more than n, in any order. */
static void reply_sample(struct call *c, const struct object *o, uint64_t n, bool scores)
{
    uint64_t all = zset_count(o);
    /* Each rank is drawn with the chance that leaves all choices as likely. */
    uint64_t left = n;
    struct zset_element e;
    if (n > all / 8 || all <= 128) {
        struct zset_walk w = zset_seek(o, 0, false);
        for (uint64_t i = 0; left > 0 && zset_next(&w, &e); i++) {
            if (rng_below(c->rng, all - i) < left) {
                reply_member(c, &e, scores);
                left--;
            }
        }
        return;
    }
    struct object *seen = zset_new(SLICE(""));
    while (left > 0) {
        char digits[NUM_I64_MAX_LEN];
        double score = 0;
        e = zset_at(o, rng_below(c->rng, all));
        if (zset_add(seen, zset_element_text(&e, digits), ZSET_NX, &score) == ZSET_ADDED) {
            reply_member(c, &e, scores);
            left--;
        }
    }
    object_free(&seen);
}

static void random_members(struct call *c, int64_t n, bool scores)
{
    struct object *o;
    if (!read_zset(c, 1, &o)) {
        return;
    }
    if (o == NULL || n == 0) {
        resp_array(&c->w, 0);
        return;
    }
    uint64_t all = zset_count(o);
    uint64_t wanted = n < 0 ? -(uint64_t)n : MIN((uint64_t)n, all);
    reply_members_head(c, wanted, scores);
    if (n > 0) {
        reply_sample(c, o, wanted, scores);
        return;
    }
    for (; n < 0 && !call_reply_full(c); n++) {
        struct zset_element e = zset_at(o, rng_below(c->rng, all));
        reply_member(c, &e, scores);
    }
}

void cmd_zrandmember(struct call *c)
{
    struct object *o;
    int64_t n;
    if (c->argc == 2) {
        if (!read_zset(c, 1, &o)) {
            return;
        }
        if (o == NULL) {
            resp_nil(&c->w);
            return;
        }
        struct zset_element e = zset_at(o, rng_below(c->rng, zset_count(o)));
        reply_member_bytes(c, &e);
        return;
    }
    if (!arg_int(c, 2, &n)) {
        return;
    }
    if (n == INT64_MIN) {
        resp_errorf(&c->w, "ERR value is out of range, value must between %lld and %lld",
                    (long long)-INT64_MAX, (long long)INT64_MAX);
    } else if (c->argc > 4 || (c->argc == 4 && !arg_is(c, 3, "WITHSCORES"))) {
        arg_syntax_error(c);
    } else if (c->argc == 4 && (n < -(INT64_MAX / 2) || n > INT64_MAX / 2)) {
        resp_error(&c->w, "ERR value is out of range");
    } else {
        random_members(c, n, c->argc == 4);
    }
}

/* ---- ZSCAN ---- */

struct scanning {
    const struct scan_args *args;
    struct zset_element *found;
    size_t n;
    size_t cap;
    uint64_t seen;
};

static void consider(void *arg, const struct zset_element *e)
{
    struct scanning *s = arg;
    char digits[NUM_I64_MAX_LEN];
    s->seen++;
    if (scan_matches(s->args, zset_element_text(e, digits))) {
        if (s->n == s->cap) {
            s->cap = MAX(s->cap * 2, 64U);
            s->found = mem_realloc(s->found, s->cap * sizeof(*s->found));
        }
        s->found[s->n++] = *e;
    }
}

void cmd_zscan(struct call *c)
{
    uint64_t cursor;
    struct object *o;
    struct scan_args args;
    if (!scan_cursor(c, 2, &cursor) || !read_zset(c, 1, &o)) {
        return;
    }
    if (o == NULL) {
        scan_reply(c, 0, 0);
        return;
    }
    if (!scan_options(c, 3, false, &args)) {
        return;
    }
    struct scanning s = {.args = &args};
    do {
        cursor = zset_scan(o, cursor, consider, &s);
    } while (cursor != 0 && s.seen < args.count);
    scan_reply(c, cursor, 2 * s.n);
    for (size_t i = 0; i < s.n; i++) {
        char text[40];
        reply_member_bytes(c, &s.found[i]);
        resp_bulk(&c->w, zset_score_text(o, s.found[i].score, text));
    }
    mem_free(s.found);
}
