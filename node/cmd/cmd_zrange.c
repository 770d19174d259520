// SPDX-License-Identifier: BSD-3-Clause
/* Parts of a sorted set: ZRANGE with all it can be asked, the older commands that are each a part
 * of it, and ZRANGESTORE. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_zset.h"
#include "node/cmd/handlers.h"
#include "node/types/limits.h"

/* What is asked. The older commands say themselves what it is by, and from which end: `open` are
 * those that leave it to words. */
struct asked {
    enum zrange_by by;
    bool down;
    bool open;
    bool scores;
    int64_t offset;
    int64_t limit; /* -1: all */
    struct zrange range;
};

static bool parse_words(struct call *c, size_t i, bool store, struct asked *a)
{
    bool by_open = a->open;
    bool end_open = by_open;
    a->limit = -1;
    for (; i < c->argc; i++) {
        if (!store && arg_is(c, i, "WITHSCORES")) {
            a->scores = true;
        } else if (arg_is(c, i, "LIMIT") && i + 2 < c->argc) {
            if (!arg_int(c, i + 1, &a->offset) || !arg_int(c, i + 2, &a->limit)) {
                return false;
            }
            i += 2;
        } else if (end_open && arg_is(c, i, "REV")) {
            a->down = true;
            end_open = false;
        } else if (by_open && (arg_is(c, i, "BYLEX") || arg_is(c, i, "BYSCORE"))) {
            a->by = arg_is(c, i, "BYLEX") ? ZRANGE_LEX : ZRANGE_SCORE;
            by_open = false;
        } else {
            return arg_syntax_error(c);
        }
    }
    if (a->limit != -1 && a->by == ZRANGE_RANK) {
        resp_error(&c->w, "ERR syntax error, LIMIT is only supported in combination with either "
                          "BYSCORE or BYLEX");
        return false;
    }
    if (a->scores && a->by == ZRANGE_LEX) {
        resp_error(&c->w, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

/* The key is argument `key`, its range and the words behind it. */
static bool parse(struct call *c, size_t key, bool store, struct asked *a)
{
    if (!parse_words(c, key + 3, store, a)) {
        return false;
    }
    /* From the other end, the higher one comes first. */
    bool swapped = a->down && a->by != ZRANGE_RANK;
    return arg_zrange(c, a->by, swapped ? key + 2 : key + 1, swapped ? key + 1 : key + 2,
                      &a->range);
}

static struct zspan find_span(const struct asked *a, const struct object *o)
{
    struct zspan s = zrange_span(&a->range, o, a->down);
    if (a->by != ZRANGE_RANK) {
        zspan_limit(&s, a->offset, a->limit);
    }
    return s;
}

static void range(struct call *c, struct asked a)
{
    struct object *o;
    if (!parse(c, 1, false, &a) || !read_zset(c, 1, &o)) {
        return;
    }
    if (o == NULL) {
        resp_array(&c->w, 0);
        return;
    }
    struct zspan s = find_span(&a, o);
    reply_members_head(c, s.n, a.scores);
    struct zset_element e;
    if (s.n > 0) {
        struct zset_walk w = zset_seek(o, s.first, s.down);
        for (uint64_t i = 0; i < s.n && zset_next(&w, &e); i++) {
            reply_member(c, &e, a.scores);
        }
    }
}

void cmd_zrange(struct call *c)
{
    range(c, (struct asked){.open = true});
}

void cmd_zrevrange(struct call *c)
{
    range(c, (struct asked){.down = true});
}

void cmd_zrangebyscore(struct call *c)
{
    range(c, (struct asked){.by = ZRANGE_SCORE});
}

void cmd_zrevrangebyscore(struct call *c)
{
    range(c, (struct asked){.by = ZRANGE_SCORE, .down = true});
}

void cmd_zrangebylex(struct call *c)
{
    range(c, (struct asked){.by = ZRANGE_LEX});
}

void cmd_zrevrangebylex(struct call *c)
{
    range(c, (struct asked){.by = ZRANGE_LEX, .down = true});
}

void cmd_zrangestore(struct call *c)
{
    struct asked a = {.open = true};
    struct object *o;
    if (!parse(c, 2, true, &a) || !read_zset(c, 2, &o)) {
        return;
    }
    struct zspan s = {0};
    if (o != NULL) {
        s = find_span(&a, o);
    }
    struct object *result = NULL;
    uint64_t most = (uint64_t)type_limits()->zset_entries;
    /* So far Redis would have it in a listpack, which keeps no negative zero. */
    bool packed = a.by != ZRANGE_RANK || s.n <= most;
    if (s.n > 0) {
        struct zset_draft *d = zset_draft_new();
        struct zset_walk w = zset_seek(o, s.first, s.down);
        struct zset_element e;
        for (uint64_t i = 0; i < s.n && zset_next(&w, &e); i++) {
            char digits[NUM_I64_MAX_LEN];
            struct slice member = zset_element_text(&e, digits);
            packed &= i < most && member.len <= type_limits()->zset_value;
            zset_draft_add(d, member, packed && e.score == 0 ? 0 : e.score);
        }
        result = zset_draft_done(&d, c->argv[1], true);
    }
    store_zset(c, result, "zrangestore");
}
