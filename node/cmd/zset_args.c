// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/args.h"
#include "node/cmd/cmd_zset.h"

#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { SMALL = 128 }; /* members that may be walked */

/* ---- finding and telling ---- */

bool find_zset(struct call *c, const struct probe *p, size_t i, struct object **o)
{
    *o = db_find(&c->db, p, c->argv[i]);
    return check_type(c, *o, OBJECT_ZSET);
}

bool read_zset(struct call *c, size_t i, struct object **o)
{
    struct probe p = call_probe(c, i);
    *o = db_read(&c->db, &p, c->argv[i]);
    return check_type(c, *o, OBJECT_ZSET);
}

void end_zset_edit(struct call *c, const struct probe *p, struct db_edit *e, struct slice key,
                   const char *event)
{
    bool gone = db_edit_end(&c->db, p, e, true);
    notify(&c->db, NOTIFY_ZSET, event, key);
    if (gone) {
        notify(&c->db, NOTIFY_GENERIC, "del", key);
    }
}

void store_zset(struct call *c, struct object *o, const char *event)
{
    struct probe p = call_probe(c, 1);
    if (o == NULL) {
        store_nothing(c, &p, c->argv[1]);
        resp_int(&c->w, 0);
        return;
    }
    store_object(c, &p, o);
    notify(&c->db, NOTIFY_ZSET, event, c->argv[1]);
    resp_int(&c->w, (int64_t)zset_count(o));
}

/* ---- answers ---- */

void reply_members_head(struct call *c, size_t n, bool scores)
{
    resp_array(&c->w, scores && c->w.proto == 2 ? 2 * n : n);
}

void reply_member_bytes(struct call *c, const struct zset_element *e)
{
    if (e->member.ptr == NULL) {
        resp_bulk_int(&c->w, e->member.number);
    } else {
        resp_bulk(&c->w, slice_of(e->member.ptr, e->member.len));
    }
}

void reply_member(struct call *c, const struct zset_element *e, bool scores)
{
    if (scores && c->w.proto == 3) {
        resp_array(&c->w, 2);
    }
    reply_member_bytes(c, e);
    if (scores) {
        resp_double(&c->w, e->score);
    }
}

/* ---- arguments ---- */

bool arg_double_or(struct call *c, size_t i, double *out, const char *error)
{
    if (num_parse_double(c->argv[i], out)) {
        return true;
    }
    resp_error(&c->w, error);
    return false;
}

/* What strtod takes, spaces before it and nothing at all too, behind a '(' that leaves the score
 * itself out. */
static bool parse_score(struct slice text, double *score, bool *excluded)
{
    char small[64];
    char *copy = text.len < sizeof(small) ? small : mem_alloc(text.len + 1);
    char *end;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *excluded = copy[0] == '(';
    *score = strtod(copy + *excluded, &end);
    bool good = *end == '\0' && !isnan(*score);
    if (copy != small) {
        mem_free(copy);
    }
    return good;
}

static bool score_range(struct call *c, size_t min, size_t max, struct zrange *r)
{
    bool above;
    bool below;
    if (!parse_score(c->argv[min], &r->low.score, &above) ||
        !parse_score(c->argv[max], &r->high.score, &below)) {
        resp_error(&c->w, "ERR min or max is not a float");
        return false;
    }
    r->low.behind = above;
    r->high.behind = !below;
    return true;
}

/* [word, (word, - or +. */
static bool parse_lex(struct slice text, struct ranks_place *at, enum zrange_edge *edge,
                      bool *excluded)
{
    char first = text.len == 0 ? '\0' : text.ptr[0];
    *edge = first == '-' ? EDGE_START : first == '+' ? EDGE_END : EDGE_PLACE;
    *excluded = first == '(';
    if (first == '-' || first == '+') {
        return text.len == 1;
    }
    *at = (struct ranks_place){.name = slice_of(text.ptr + 1, text.len - 1), .by_name = true};
    return first == '(' || first == '[';
}

static bool lex_range(struct call *c, size_t min, size_t max, struct zrange *r)
{
    bool above;
    bool below;
    if (!parse_lex(c->argv[min], &r->low, &r->low_edge, &above) ||
        !parse_lex(c->argv[max], &r->high, &r->high_edge, &below)) {
        resp_error(&c->w, "ERR min or max not valid string range item");
        return false;
    }
    r->low.behind = above;
    r->high.behind = !below;
    return true;
}

bool arg_zrange(struct call *c, enum zrange_by by, size_t min, size_t max, struct zrange *out)
{
    *out = (struct zrange){.by = by};
    switch (by) {
    case ZRANGE_RANK:
        return arg_int(c, min, &out->start) && arg_int(c, max, &out->stop);
    case ZRANGE_SCORE:
        return score_range(c, min, max, out);
    case ZRANGE_LEX:
        break;
    }
    return lex_range(c, min, max, out);
}

/* ---- spans ---- */

static uint64_t edge_rank(const struct object *o, const struct ranks_place *at,
                          enum zrange_edge edge)
{
    return edge == EDGE_START ? 0 : edge == EDGE_END ? zset_count(o) : zset_below(o, at);
}

static struct zspan rank_span(const struct zrange *r, uint64_t count, bool down)
{
    int64_t n = (int64_t)count;
    int64_t start = MAX(r->start < 0 ? r->start + n : r->start, 0);
    int64_t stop = MIN(r->stop < 0 ? r->stop + n : r->stop, n - 1);
    if (start > stop) {
        return (struct zspan){.down = down};
    }
    return (struct zspan){.first = (uint64_t)(down ? n - 1 - start : start),
                          .n = (uint64_t)(stop - start + 1),
                          .down = down};
}

/* Whether a member is not before the lower end, and not behind the upper one. */
static bool above_low(const struct zrange *r, const struct zset_element *e)
{
    char digits[NUM_I64_MAX_LEN];
    return r->low_edge == EDGE_START ||
           (r->low_edge == EDGE_PLACE && !ranks_before(&r->low, 0, zset_element_text(e, digits)));
}

static bool below_high(const struct zrange *r, const struct zset_element *e)
{
    char digits[NUM_I64_MAX_LEN];
    return r->high_edge == EDGE_END ||
           (r->high_edge == EDGE_PLACE && ranks_before(&r->high, 0, zset_element_text(e, digits)));
}

/* Names are in order only where scores are equal. Where they are not, what a range of names holds
 * is anybody's guess; in a small set the guess is Redis's: from the end where it begins, the first
 * that is inside one bound, and on until one is outside the other. */
static struct zspan lex_span(const struct zrange *r, const struct object *o, bool down)
{
    uint64_t n = zset_count(o);
    struct zspan s = {.down = down};
    struct zset_element e = zset_at(o, n - 1);
    struct zset_element first = zset_at(o, 0);
    if (!above_low(r, &e) || !below_high(r, &first)) {
        return s;
    }
    struct zset_walk w = zset_seek(o, down ? n - 1 : 0, down);
    uint64_t skipped = 0;
    while (zset_next(&w, &e)) {
        bool enters = down ? below_high(r, &e) : above_low(r, &e);
        if (s.n == 0 && !enters) {
            skipped++;
        } else if (down ? above_low(r, &e) : below_high(r, &e)) {
            s.n++;
        } else {
            break;
        }
    }
    s.first = down ? n - 1 - skipped : skipped;
    return s;
}

struct zspan zrange_span(const struct zrange *r, const struct object *o, bool down)
{
    if (r->by == ZRANGE_RANK) {
        return rank_span(r, zset_count(o), down);
    }
    if (r->by == ZRANGE_LEX && zset_count(o) <= SMALL) {
        return lex_span(r, o, down);
    }
    uint64_t low = edge_rank(o, &r->low, r->low_edge);
    uint64_t high = edge_rank(o, &r->high, r->high_edge);
    if (low >= high) {
        return (struct zspan){.down = down};
    }
    return (struct zspan){.first = down ? high - 1 : low, .n = high - low, .down = down};
}

void zspan_limit(struct zspan *s, int64_t offset, int64_t limit)
{
    if (offset < 0 || (uint64_t)offset >= s->n) {
        s->n = 0;
        return;
    }
    s->first = s->down ? s->first - (uint64_t)offset : s->first + (uint64_t)offset;
    s->n -= (uint64_t)offset;
    if (limit >= 0) {
        s->n = MIN(s->n, (uint64_t)limit);
    }
}
