// SPDX-License-Identifier: BSD-3-Clause
/* What lies within a circle or a box: GEOSEARCH, GEORADIUS and their relatives. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_geo.h"
#include "node/cmd/cmd_zset.h"
#include "node/cmd/handlers.h"

#include "common/base/mem.h"

#include <stdlib.h>

enum kind { BY_COORDS, BY_MEMBER, SEARCH, SEARCH_STORE };

struct query {
    enum kind kind;
    bool may_store;  /* STORE, STOREDIST are words of it */
    size_t source;   /* argument: the sorted set */
    size_t store;    /* argument: where the result goes; 0: it is the answer */
    bool store_dist; /* ... with distances as scores */
    struct object *o;
    struct geo_shape shape;
    double metres; /* of the unit of its lengths */
    bool with_dist;
    bool with_hash;
    bool with_coord;
    bool any;
    bool from_member;
    bool from_point;
    bool by_radius;
    bool by_box;
    int sort; /* 1: nearest first, -1: last, 0: as found */
    int64_t count;
};

/* ---- words ---- */

static bool parse_radius(struct call *c, size_t i, struct query *q)
{
    double r;
    if (!arg_double_or(c, i, &r, "ERR need numeric radius")) {
        return false;
    }
    if (r < 0) {
        resp_error(&c->w, "ERR radius cannot be negative");
        return false;
    }
    if (!arg_unit(c, i + 1, &q->metres)) {
        return false;
    }
    q->shape.radius = r * q->metres;
    return true;
}

static bool parse_box(struct call *c, size_t i, struct query *q)
{
    double w;
    double h;
    if (!arg_double_or(c, i, &w, "ERR need numeric width") ||
        !arg_double_or(c, i + 1, &h, "ERR need numeric height")) {
        return false;
    }
    if (w < 0 || h < 0) {
        resp_error(&c->w, "ERR height or width cannot be negative");
        return false;
    }
    if (!arg_unit(c, i + 2, &q->metres)) {
        return false;
    }
    q->shape.box = true;
    q->shape.width = w * q->metres;
    q->shape.height = h * q->metres;
    return true;
}

/* Where the set is missing, so is the member; that is no error. */
static bool parse_member(struct call *c, size_t i, struct query *q)
{
    double score;
    if (q->o == NULL) {
        return true;
    }
    if (!zset_score(q->o, c->argv[i], &score)) {
        resp_error(&c->w, "ERR could not decode requested zset member");
        return false;
    }
    q->shape.at = geo_decode(score);
    return true;
}

/* The word at i and what belongs to it; *used: how many. False: an error is written. 0: it is none
 * of these. */
static bool parse_search_word(struct call *c, size_t i, struct query *q, size_t *used)
{
    size_t left = c->argc - i - 1;
    *used = 0;
    if (left >= 1 && !q->from_point && arg_is(c, i, "FROMMEMBER")) {
        q->from_member = true;
        *used = 2;
        return parse_member(c, i + 1, q);
    }
    if (left >= 2 && !q->from_member && arg_is(c, i, "FROMLONLAT")) {
        q->from_point = true;
        *used = 3;
        return arg_point(c, i + 1, &q->shape.at);
    }
    if (left >= 2 && !q->by_box && arg_is(c, i, "BYRADIUS")) {
        q->by_radius = true;
        *used = 3;
        return parse_radius(c, i + 1, q);
    }
    if (left >= 3 && !q->by_radius && arg_is(c, i, "BYBOX")) {
        q->by_box = true;
        *used = 4;
        return parse_box(c, i + 1, q);
    }
    if (q->kind == SEARCH_STORE && arg_is(c, i, "STOREDIST")) {
        q->store_dist = true;
        *used = 1;
    }
    return true;
}

static bool *flag_of(struct call *c, size_t i, struct query *q)
{
    return arg_is(c, i, "WITHDIST")    ? &q->with_dist
           : arg_is(c, i, "WITHHASH")  ? &q->with_hash
           : arg_is(c, i, "WITHCOORD") ? &q->with_coord
           : arg_is(c, i, "ANY")       ? &q->any
                                       : NULL;
}

static bool parse_count(struct call *c, size_t i, struct query *q)
{
    if (!arg_int(c, i, &q->count)) {
        return false;
    }
    if (q->count <= 0) {
        resp_error(&c->w, "ERR COUNT must be > 0");
        return false;
    }
    return true;
}

static bool parse_words(struct call *c, size_t i, struct query *q)
{
    while (i < c->argc) {
        bool *flag = flag_of(c, i, q);
        size_t used = 1;
        if (flag != NULL) {
            *flag = true;
        } else if (arg_is(c, i, "ASC") || arg_is(c, i, "DESC")) {
            q->sort = arg_is(c, i, "ASC") ? 1 : -1;
        } else if (arg_is(c, i, "COUNT") && i + 1 < c->argc) {
            if (!parse_count(c, i + 1, q)) {
                return false;
            }
            used = 2;
        } else if (q->may_store && i + 1 < c->argc &&
                   (arg_is(c, i, "STORE") || arg_is(c, i, "STOREDIST"))) {
            q->store_dist = arg_is(c, i, "STOREDIST");
            q->store = i + 1;
            used = 2;
        } else if (q->kind == SEARCH || q->kind == SEARCH_STORE) {
            if (!parse_search_word(c, i, q, &used)) {
                return false;
            }
        } else {
            used = 0;
        }
        if (used == 0) {
            return arg_syntax_error(c);
        }
        i += used;
    }
    return true;
}

static bool check_words(struct call *c, const struct query *q)
{
    bool search = q->kind == SEARCH || q->kind == SEARCH_STORE;
    if (q->store != 0 && (q->with_dist || q->with_hash || q->with_coord)) {
        resp_errorf(&c->w, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                    q->kind == SEARCH_STORE ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    } else if (search && !q->from_member && !q->from_point) {
        resp_errorf(&c->w, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                    ARG_PRINT(c->argv[0]));
    } else if (search && !q->by_radius && !q->by_box) {
        resp_errorf(&c->w, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
                    ARG_PRINT(c->argv[0]));
    } else if (q->any && q->count == 0) {
        resp_error(&c->w, "ERR the ANY argument requires COUNT argument");
    } else {
        return true;
    }
    return false;
}

static bool parse(struct call *c, struct query *q)
{
    size_t words = q->source + 1;
    if (!read_zset(c, q->source, &q->o)) {
        return false;
    }
    q->metres = 1;
    if (q->kind == BY_COORDS) {
        words = 6;
        if (!arg_point(c, 2, &q->shape.at) || !parse_radius(c, 4, q)) {
            return false;
        }
    } else if (q->kind == BY_MEMBER) {
        words = 5;
        if (q->o != NULL && (!parse_member(c, 2, q) || !parse_radius(c, 3, q))) {
            return false;
        }
    }
    if (!parse_words(c, words, q) || !check_words(c, q)) {
        return false;
    }
    if (q->count != 0 && q->sort == 0 && !q->any) {
        q->sort = 1; /* the nearest, as only so many are wanted */
    }
    return true;
}

/* ---- finding ---- */

struct found {
    struct listpack_value member;
    struct geo_point at;
    double distance;
    double score;
};

struct finds {
    struct found *of;
    size_t n;
    size_t cap;
    size_t most; /* 0: all */
};

static bool is_full(const struct finds *f)
{
    return f->most != 0 && f->n >= f->most;
}

static void look_in_cell(const struct query *q, struct geo_cell cell, struct finds *f)
{
    double low;
    double high;
    geo_cell_scores(cell, &low, &high);
    uint64_t first = zset_below(q->o, &(struct ranks_place){.score = low});
    struct zset_walk w = zset_seek(q->o, first, false);
    struct zset_element e;
    while (!is_full(f) && zset_next(&w, &e) && e.score < high) {
        struct found found = {.member = e.member, .at = geo_decode(e.score), .score = e.score};
        if (!geo_within(&q->shape, found.at, &found.distance)) {
            continue;
        }
        if (f->n == f->cap) {
            f->cap = MAX(f->cap * 2, 32U);
            f->of = mem_realloc(f->of, f->cap * sizeof(*f->of));
        }
        f->of[f->n++] = found;
    }
}

static void look(const struct query *q, struct finds *f)
{
    struct geo_cell cells[GEO_CELLS];
    size_t last = 0;
    geo_cover(&q->shape, cells);
    for (size_t i = 0; i < GEO_CELLS; i++) {
        /* Cells as wide as half the world are their own neighbours. The first one is never taken
         * for a neighbour's: it is what Redis does, and some places are found twice there, too. */
        bool again =
            last != 0 && cells[i].bits == cells[last].bits && cells[i].steps == cells[last].steps;
        if (cells[i].steps == 0 || again) {
            continue;
        }
        if (is_full(f)) {
            break;
        }
        look_in_cell(q, cells[i], f);
        last = i;
    }
}

/* ---- order ---- */

static int compare(const struct found *a, const struct found *b, int sort)
{
    return a->distance > b->distance ? sort : a->distance == b->distance ? 0 : -sort;
}

static int nearest_first(const void *a, const void *b)
{
    return compare(a, b, 1);
}

static int nearest_last(const void *a, const void *b)
{
    return compare(a, b, -1);
}

static void swap(struct found *a, struct found *b)
{
    struct found was = *a;
    *a = *b;
    *b = was;
}

static void swap_rows(struct found *a, struct found *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        swap(a + i, b + i);
    }
}

static void insertion_sort(struct found *of, size_t n, int sort)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && compare(&of[k - 1], &of[k], sort) > 0; k--) {
            swap(&of[k], &of[k - 1]);
        }
    }
}

static struct found *median(struct found *a, struct found *b, struct found *c, int sort)
{
    if (compare(a, b, sort) < 0) {
        return compare(b, c, sort) < 0 ? b : compare(a, c, sort) < 0 ? c : a;
    }
    return compare(b, c, sort) > 0 ? b : compare(a, c, sort) < 0 ? a : c;
}

static struct found *pivot(struct found *of, size_t n, int sort)
{
    struct found *low = of;
    struct found *middle = of + n / 2;
    struct found *high = of + n - 1;
    if (n <= 7) {
        return middle;
    }
    if (n > 40) {
        size_t d = n / 8;
        low = median(low, low + d, low + 2 * d, sort);
        middle = median(middle - d, middle, middle + d, sort);
        high = median(high - 2 * d, high - d, high, sort);
    }
    return median(low, middle, high, sort);
}

/* Bentley and McIlroy's quicksort, but only as far as the first `wanted` come to be in their
 * places. Where distances are equal it decides who is among them, as Redis's own does. */
static void sort_first(struct found *of, size_t n, size_t wanted, int sort)
{
    while (n >= 7 && wanted > 0) {
        swap(of, pivot(of, n, sort));
        /* | equal | smaller | not seen | larger | equal |, the pivot first */
        size_t a = 1;
        size_t b = 1;
        size_t c = n - 1;
        size_t d = c;
        for (;;) {
            int r;
            while (b <= c && (r = compare(&of[b], of, sort)) <= 0) {
                if (r == 0) {
                    swap(&of[a++], &of[b]);
                }
                b++;
            }
            while (b <= c && (r = compare(&of[c], of, sort)) >= 0) {
                if (r == 0) {
                    swap(&of[c], &of[d--]);
                }
                c--;
            }
            if (b > c) {
                break;
            }
            swap(&of[b++], &of[c--]);
        }
        size_t r = MIN(a, b - a);
        swap_rows(of, &of[b - r], r);
        r = MIN(d - c, n - 1 - d);
        swap_rows(&of[b], &of[n - r], r);
        size_t smaller = b - a;
        size_t larger = d - c;
        if (smaller > 1) {
            /* NOLINTNEXTLINE(misc-no-recursion): the smaller ones only */
            sort_first(of, smaller, MIN(wanted, smaller), sort);
        }
        if (larger <= 1 || wanted <= n - larger) {
            return;
        }
        wanted -= n - larger;
        of += n - larger;
        n = larger;
    }
    if (wanted > 0) {
        insertion_sort(of, n, sort);
    }
}

/* ---- results ---- */

static void reply_found(struct call *c, const struct query *q, const struct found *f)
{
    size_t extra = (size_t)q->with_dist + q->with_hash + q->with_coord;
    struct zset_element e = {.member = f->member};
    if (extra > 0) {
        resp_array(&c->w, extra + 1);
    }
    reply_member_bytes(c, &e);
    if (q->with_dist) {
        reply_distance(c, f->distance / q->metres);
    }
    if (q->with_hash) {
        resp_int(&c->w, (int64_t)f->score);
    }
    if (q->with_coord) {
        reply_point(c, f->at);
    }
}

static void store(struct call *c, const struct query *q, const struct finds *f, size_t n)
{
    struct probe p = call_probe(c, q->store);
    struct slice key = c->argv[q->store];
    if (n == 0) {
        store_nothing(c, &p, key);
        resp_int(&c->w, 0);
        return;
    }
    struct zset_draft *d = zset_draft_new();
    for (size_t i = 0; i < n; i++) {
        char digits[NUM_I64_MAX_LEN];
        const struct found *one = &f->of[i];
        struct zset_element e = {.member = one->member};
        struct slice member = zset_element_text(&e, digits);
        if (zset_draft_find(d, member) == NULL) {
            zset_draft_add(d, member, q->store_dist ? one->distance / q->metres : one->score);
        }
    }
    store_object(c, &p, zset_draft_done(&d, key, true));
    bool search = q->kind == SEARCH_STORE;
    notify(&c->db, NOTIFY_ZSET, search ? "geosearchstore" : "georadiusstore", key);
    resp_int(&c->w, (int64_t)n);
}

static void search(struct call *c, struct query q)
{
    if (!parse(c, &q)) {
        return;
    }
    struct finds f = {.most = q.any ? (size_t)q.count : 0};
    if (q.o != NULL) {
        look(&q, &f);
    }
    size_t n = q.count == 0 ? f.n : MIN(f.n, (size_t)q.count);
    if (q.sort != 0 && n == f.n && n > 0) {
        qsort(f.of, n, sizeof(*f.of), q.sort > 0 ? nearest_first : nearest_last);
    } else if (q.sort != 0) {
        sort_first(f.of, f.n, n, q.sort);
    }
    if (q.store != 0) {
        store(c, &q, &f, n);
    } else {
        resp_array(&c->w, n);
        for (size_t i = 0; i < n; i++) {
            reply_found(c, &q, &f.of[i]);
        }
    }
    mem_free(f.of);
}

void cmd_georadius(struct call *c)
{
    search(c, (struct query){.kind = BY_COORDS, .source = 1, .may_store = true});
}

void cmd_georadius_ro(struct call *c)
{
    search(c, (struct query){.kind = BY_COORDS, .source = 1});
}

void cmd_georadiusbymember(struct call *c)
{
    search(c, (struct query){.kind = BY_MEMBER, .source = 1, .may_store = true});
}

void cmd_georadiusbymember_ro(struct call *c)
{
    search(c, (struct query){.kind = BY_MEMBER, .source = 1});
}

void cmd_geosearch(struct call *c)
{
    search(c, (struct query){.kind = SEARCH, .source = 1});
}

void cmd_geosearchstore(struct call *c)
{
    search(c, (struct query){.kind = SEARCH_STORE, .source = 2, .store = 1});
}
