// SPDX-License-Identifier: BSD-3-Clause
/* XREAD and XREADGROUP: what came into streams after an id, or what a group has not given out yet.
 */
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/stream_args.h"

#include "common/base/mem.h"

#define COUNT_AFTER_WAIT 1000 /* entries for one that waited and gave no COUNT */
#define KEYS_FEW         8

struct reading {
    bool of_group; /* XREADGROUP */
    bool blocks;
    bool no_ack;
    int64_t until_ms;
    uint64_t count; /* 0: all */
    size_t group;   /* arguments; 0: not given */
    size_t consumer;
    size_t first; /* key */
    size_t n;     /* keys, and as many ids behind them */
};

/* One of the streams. */
struct source {
    struct probe p;
    struct object *o; /* NULL: missing */
    struct xstream_group *group;
    struct stream_id after;
    bool is_new; /* ">": what was not given out yet */
    bool is_top; /* "$" */
};

/* ---- arguments ---- */

static bool parse_block(struct call *c, size_t i, struct reading *r)
{
    int64_t ms;
    if (c->session->in_script) {
        resp_errorf(&c->w, "ERR %.*s command is not allowed with BLOCK option from scripts",
                    ARG_PRINT(c->argv[0]));
        return false;
    }
    if (!arg_int_or(c, i, &ms, "ERR timeout is not an integer or out of range")) {
        return false;
    }
    if (ms < 0) {
        resp_error(&c->w, "ERR timeout is negative");
        return false;
    }
    r->blocks = true;
    if (ms > 0 && __builtin_add_overflow(ms, c->now_ms, &r->until_ms)) {
        resp_error(&c->w, "ERR timeout is out of range");
        return false;
    }
    return true;
}

static bool parse_streams(struct call *c, size_t i, struct reading *r)
{
    r->first = i;
    size_t left = c->argc - i;
    if (left % 2 != 0) {
        resp_error(&c->w, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' "
                          "must be specified.");
        return false;
    }
    r->n = left / 2;
    return true;
}

static bool only_for_groups(struct call *c, const char *option)
{
    resp_errorf(&c->w,
                "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                option);
    return false;
}

/* One option at *i, which becomes its last word. */
static bool parse_option(struct call *c, size_t *i, struct reading *r)
{
    size_t more = c->argc - *i - 1;
    if (more >= 1 && arg_is(c, *i, "BLOCK")) {
        return parse_block(c, ++*i, r);
    }
    if (more >= 1 && arg_is(c, *i, "COUNT")) {
        int64_t count;
        if (!arg_int(c, ++*i, &count)) {
            return false;
        }
        r->count = (uint64_t)MAX(count, 0);
        return true;
    }
    if (more >= 2 && arg_is(c, *i, "GROUP")) {
        r->group = *i + 1;
        r->consumer = *i + 2;
        *i += 2;
        return r->of_group || only_for_groups(c, "GROUP");
    }
    if (arg_is(c, *i, "NOACK")) {
        r->no_ack = true;
        return r->of_group || only_for_groups(c, "NOACK");
    }
    return arg_syntax_error(c);
}

static bool parse_reading(struct call *c, struct reading *r)
{
    *r = (struct reading){.of_group = c->cmd->id == CMD_XREADGROUP};
    for (size_t i = 1; i < c->argc && r->first == 0; i++) {
        if (i + 1 < c->argc && arg_is(c, i, "STREAMS")) {
            if (!parse_streams(c, i + 1, r)) {
                return false;
            }
        } else if (!parse_option(c, &i, r)) {
            return false;
        }
    }
    if (r->first == 0) {
        return arg_syntax_error(c);
    }
    if (r->of_group && r->group == 0) {
        resp_error(&c->w, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

/* ---- streams ---- */

/* While it waited, the key went, or the group. */
static bool is_gone(struct call *c, struct source *s, const struct reading *r)
{
    if (s->o == NULL || s->o->type != OBJECT_STREAM) {
        resp_error(&c->w, "UNBLOCKED the stream key no longer exists");
        return true;
    }
    s->group = xstream_group_find(xstream_of(s->o), c->argv[r->group]);
    if (s->group == NULL) {
        resp_error(&c->w, "NOGROUP the consumer group this client was blocked on no longer exists");
        return true;
    }
    return false;
}

static bool find_group(struct call *c, struct source *s, const struct reading *r, size_t key)
{
    s->group = s->o == NULL ? NULL : xstream_group_find(xstream_of(s->o), c->argv[r->group]);
    if (s->group != NULL) {
        return true;
    }
    struct slice name = c->argv[r->group];
    struct str text = {0};
    str_printf(
        &text,
        "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP option",
        (int)c->argv[key].len, c->argv[key].ptr, (int)name.len, name.ptr);
    resp_error(&c->w, str_cstr(&text));
    str_fini(&text);
    return false;
}

static bool parse_after(struct call *c, struct source *s, const struct reading *r, size_t i)
{
    if (slice_eq(c->argv[i], SLICE("$"))) {
        if (r->of_group) {
            resp_error(&c->w,
                       "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read "
                       "the history of this consumer by specifying a proper ID, or use the > ID to "
                       "get new messages. The $ ID would just return an empty result set.");
            return false;
        }
        s->is_top = true;
        s->after = s->o == NULL ? STREAM_ID_MIN : xstream_of(s->o)->last_id;
        return true;
    }
    if (slice_eq(c->argv[i], SLICE(">"))) {
        if (!r->of_group) {
            resp_error(&c->w, "ERR The > ID can be specified only when calling XREADGROUP using "
                              "the GROUP <group> <consumer> option.");
            return false;
        }
        s->is_new = true;
        return true;
    }
    if (!arg_stream_id_strict(c, i, 0, &s->after)) {
        return false;
    }
    /* The highest id is how Redis notes ">". */
    s->is_new = r->of_group && stream_id_equal(s->after, STREAM_ID_MAX);
    return true;
}

static bool find_source(struct call *c, struct source *s, const struct reading *r, size_t i)
{
    size_t key = r->first + i;
    *s = (struct source){.p = call_probe(c, key)};
    s->o = db_read(&c->db, &s->p, c->argv[key]);
    if (r->of_group && c->wait.again) {
        return !is_gone(c, s, r) && parse_after(c, s, r, key + r->n);
    }
    if (c->wait.again && s->o != NULL && s->o->type != OBJECT_STREAM) {
        s->o = NULL; /* who waited is not told of what came to be there */
    }
    return check_type(c, s->o, OBJECT_STREAM) && (!r->of_group || find_group(c, s, r, key)) &&
           parse_after(c, s, r, key + r->n);
}

/* Whether there is an answer at once; after is then what to read from. */
static bool has_answer(struct source *s)
{
    if (s->o == NULL) {
        return false;
    }
    const struct xstream *stream = xstream_of(s->o);
    if (s->group != NULL && !s->is_new) {
        return true; /* history, be it empty */
    }
    if (s->group != NULL) {
        s->after = s->group->last_id;
    }
    return stream->length > 0 && stream_id_less(s->after, xstream_top(stream));
}

/* ---- giving out ---- */

struct giving {
    struct call *c;
    const struct reading *r;
    struct source *s;
    struct resp_writer *w; /* NULL: nobody reads it */
    struct xstream_consumer *consumer;
    uint64_t count; /* at most; 0: all */
    struct slice key;
    bool made;    /* the consumer is new */
    bool changed; /* the group is another now */
};

static void give_new(struct giving *g, uint64_t *given)
{
    struct xstream *s = xstream_of(g->s->o);
    struct xstream_group *group = g->s->group;
    struct stream_id start = g->s->after;
    struct xstream_iter it;
    if (!stream_id_increment(&start)) {
        start = STREAM_ID_MAX;
    }
    xstream_iter_init(&it, s, start, STREAM_ID_MAX, false);
    uint64_t n = xstream_iter_count(&it, g->count == 0 ? UINT64_MAX : g->count);
    if (g->w != NULL) {
        resp_array(g->w, n);
    }
    for (; *given < n && xstream_iter_next(&it); ++*given) {
        if (stream_id_less(group->last_id, it.id)) {
            xstream_group_read(s, group, it.id);
        }
        if (g->w != NULL) {
            reply_stream_entry(g->w, &it);
        }
        if (!g->r->no_ack) {
            bool is_new;
            struct xstream_pending *p = xstream_pending_give(s, group, it.id, g->consumer, &is_new);
            p->delivered_ms = g->c->now_ms;
            p->deliveries = 1;
            stream_say_pending(g->c, g->key, group, it.id, p);
        }
    }
    g->changed |= *given > 0;
}

/* What the consumer has and did not acknowledge. An entry that is no longer in the stream has no
 * fields. */
static void give_history(struct giving *g, uint64_t *given)
{
    const struct xstream *s = xstream_of(g->s->o);
    struct stream_id start = g->s->after;
    struct id_at at;
    uint64_t n = 0;
    uint64_t max = g->count == 0 ? UINT64_MAX : g->count;
    bool any = stream_id_increment(&start);
    id_tree_seek(&g->consumer->pending, start, &at);
    for (at.valid &= any; at.valid && n < max; id_at_next(&at)) {
        n++;
    }
    if (g->w != NULL) {
        resp_array(g->w, n);
    }
    id_tree_seek(&g->consumer->pending, start, &at);
    for (; *given < n; ++*given, id_at_next(&at)) {
        struct xstream_pending *p = xstream_pending_find(g->s->group, at.id);
        bool is_there = g->w == NULL ? xstream_has(s, at.id) : reply_stream_one(g->w, s, at.id);
        if (is_there) {
            p->delivered_ms = g->c->now_ms;
            p->deliveries++;
            g->changed = true;
        } else if (g->w != NULL) {
            resp_array(g->w, 2);
            reply_stream_id(g->w, at.id);
            resp_nil_array(g->w);
        }
    }
}

/* The same again on copies: which `given` entries follow is the same there. */
static void say_given(const struct giving *g, size_t key, uint64_t given)
{
    struct call *c = g->c;
    const struct reading *r = g->r;
    if (g->changed) {
        char digits[NUM_I64_MAX_LEN];
        struct slice words[10] = {SLICE("XREADGROUP"), SLICE("GROUP"), c->argv[r->group],
                                  c->argv[r->consumer], SLICE("COUNT")};
        size_t n = 5;
        words[n++] = slice_of(digits, num_print_u64(digits, given));
        if (r->no_ack) {
            words[n++] = SLICE("NOACK");
        }
        words[n++] = SLICE("STREAMS");
        words[n++] = c->argv[key];
        words[n++] = c->argv[key + r->n];
        record_say_log(c, &g->s->p, words, n);
    } else if (g->made) {
        struct slice words[5] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), c->argv[key],
                                 c->argv[r->group], c->argv[r->consumer]};
        record_say_log(c, &g->s->p, words, ARRAY_LEN(words));
    }
}

/* Entries tell those who follow of the consumer; where it gets none, it has to be said. */
static void say_consumer(const struct giving *g)
{
    if (g->r->no_ack || !g->s->is_new) {
        struct slice words[5] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), g->key,
                                 g->s->group->name, g->consumer->name};
        record_say_feed(g->c, words, ARRAY_LEN(words));
    }
}

static void read_for_group(struct giving *g, size_t key)
{
    struct call *c = g->c;
    struct source *s = g->s;
    struct slice name = c->argv[g->r->consumer];
    struct db_edit e;
    uint64_t given = 0;
    db_edit_begin(&c->db, &s->p, s->o, &e);
    g->consumer = xstream_consumer_find(s->group, name);
    if (g->consumer == NULL) {
        g->consumer = stream_add_consumer(c, xstream_of(s->o), s->group, c->argv[key], name);
        g->made = true;
        say_consumer(g);
    }
    g->consumer->seen_ms = c->now_ms;
    if (s->is_new) {
        give_new(g, &given);
    } else {
        give_history(g, &given);
    }
    db_edit_end(&c->db, &s->p, &e, g->changed || g->made);
    if (g->r->no_ack && s->is_new && given > 0) {
        stream_say_group(c, g->key, s->group);
    }
    say_given(g, key, given);
    c->changes += given;
}

/* Name and entries of one stream. */
static void read_one(struct call *c, const struct reading *r, struct source *s, size_t i,
                     struct resp_writer *w)
{
    uint64_t count = r->count;
    if (count == 0 && c->wait.again) {
        count = COUNT_AFTER_WAIT;
    }
    struct giving g = {.c = c,
                       .r = r,
                       .s = s,
                       .w = c->db.applying ? NULL : w,
                       .count = count,
                       .key = c->argv[r->first + i]};
    if (w->proto == 2) {
        resp_array(w, 2);
    }
    resp_bulk(w, c->argv[r->first + i]);
    if (s->group != NULL) {
        read_for_group(&g, r->first + i);
        if (g.w == NULL) {
            resp_array(w, 0);
        }
    } else {
        struct stream_id start = s->after;
        bool any = stream_id_increment(&start);
        INVARIANT(any);
        reply_stream_range(w, xstream_of(s->o), start, STREAM_ID_MAX, count, false);
    }
}

/* How many of the streams answered. */
static size_t read_all(struct call *c, const struct reading *r, struct source *sources,
                       struct resp_writer *w)
{
    size_t answered = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (has_answer(&sources[i])) {
            read_one(c, r, &sources[i], i, w);
            answered++;
            if (c->wait.again) {
                break; /* it waited for one */
            }
        }
    }
    return answered;
}

/* ---- waiting ---- */

/* "$" means the end as it is now, whatever comes while the client waits. */
static const struct slice *with_tops(const struct call *c, const struct reading *r,
                                     const struct source *sources)
{
    bool any = false;
    for (size_t i = 0; i < r->n; i++) {
        any |= sources[i].is_top;
    }
    if (!any) {
        return NULL;
    }
    struct slice *words = mem_alloc(c->argc * sizeof(*words));
    char(*texts)[STREAM_ID_TEXT] = mem_alloc(r->n * sizeof(*texts));
    memcpy(words, c->argv, c->argc * sizeof(*words));
    for (size_t i = 0; i < r->n; i++) {
        if (sources[i].is_top) {
            words[r->first + r->n + i] =
                slice_of(texts[i], stream_id_print(texts[i], sources[i].after));
        }
    }
    const struct slice *copy = call_copy_words(words, c->argc);
    mem_free(words);
    mem_free(texts);
    return copy;
}

static void wait_or_nil(struct call *c, const struct reading *r, const struct source *sources)
{
    if (r->blocks && call_wait(c, OBJECT_STREAM, r->first, r->n, r->until_ms)) {
        c->wait.on_removal = r->of_group;
        c->wait.words = with_tops(c, r, sources);
    } else {
        resp_nil_array(&c->w);
    }
}

static void begin_answer(struct call *c, size_t streams)
{
    if (c->w.proto == 2) {
        resp_array(&c->w, streams);
    } else {
        resp_map(&c->w, streams);
    }
}

/* Of several streams it shows only on the way how many answer. */
static void read_several(struct call *c, const struct reading *r, struct source *sources)
{
    struct outbuf body = {0};
    struct resp_writer w = c->w;
    w.out = &body;
    size_t answered = read_all(c, r, sources, &w);
    if (answered == 0) {
        wait_or_nil(c, r, sources);
    } else {
        begin_answer(c, answered);
        outbuf_splice(c->w.out, &body);
    }
    outbuf_fini(&body);
}

static void read_streams(struct call *c, const struct reading *r, struct source *sources)
{
    INVARIANT(r->n > 0);
    for (size_t i = 0; i < r->n; i++) {
        if (!find_source(c, &sources[i], r, i)) {
            return;
        }
    }
    if (r->n > 1) {
        read_several(c, r, sources);
    } else if (has_answer(sources)) {
        begin_answer(c, 1);
        read_one(c, r, sources, 0, &c->w);
    } else {
        wait_or_nil(c, r, sources);
    }
}

static void read_command(struct call *c)
{
    struct reading r;
    struct source few[KEYS_FEW];
    if (!parse_reading(c, &r)) {
        return;
    }
    record_in_words(c);
    record_hide_feed(c);
    struct source *sources = r.n > KEYS_FEW ? mem_alloc(r.n * sizeof(*sources)) : few;
    read_streams(c, &r, sources);
    if (sources != few) {
        mem_free(sources);
    }
}

void cmd_xread(struct call *c)
{
    read_command(c);
}

void cmd_xreadgroup(struct call *c)
{
    read_command(c);
}
