// SPDX-License-Identifier: BSD-3-Clause
/* XINFO: what streams, groups and consumers look like. */
#include "node/cmd/handlers.h"
#include "node/cmd/stream_args.h"

#define FULL_COUNT 10 /* entries that FULL shows where no COUNT says otherwise */

/* ---- parts ---- */

static const struct xstream *find_stream(struct call *c)
{
    struct probe p = call_probe(c, 2);
    const struct object *o = db_read(&c->db, &p, c->argv[2]);
    if (o == NULL) {
        resp_error(&c->w, ERR_NO_KEY);
        return NULL;
    }
    return check_type(c, o, OBJECT_STREAM) ? xstream_of(o) : NULL;
}

static void field_int(struct call *c, const char *name, uint64_t v)
{
    resp_bulkz(&c->w, name);
    resp_int(&c->w, (int64_t)v);
}

static void field_id(struct call *c, const char *name, struct stream_id id)
{
    resp_bulkz(&c->w, name);
    reply_stream_id(&c->w, id);
}

static void field_name(struct call *c, struct slice v)
{
    resp_bulkz(&c->w, "name");
    resp_bulk(&c->w, v);
}

static void fields_progress(struct call *c, const struct xstream *s, const struct xstream_group *g)
{
    int64_t lag;
    resp_bulkz(&c->w, "entries-read");
    if (g->entries_read == XSTREAM_READ_UNKNOWN) {
        resp_nil(&c->w);
    } else {
        resp_int(&c->w, g->entries_read);
    }
    resp_bulkz(&c->w, "lag");
    if (xstream_group_lag(s, g, &lag)) {
        resp_int(&c->w, lag);
    } else {
        resp_nil(&c->w);
    }
}

/* ---- XINFO GROUPS, CONSUMERS ---- */

void cmd_xinfo_groups(struct call *c)
{
    const struct xstream *s = find_stream(c);
    if (s == NULL) {
        return;
    }
    resp_array(&c->w, s->groups.n);
    for (uint32_t i = 0; i < s->groups.n; i++) {
        const struct xstream_group *g = xstream_group_at(s, i);
        resp_map(&c->w, 6);
        field_name(c, g->name);
        field_int(c, "consumers", g->consumers.n);
        field_int(c, "pending", g->pending.count);
        field_id(c, "last-delivered-id", g->last_id);
        fields_progress(c, s, g);
    }
}

void cmd_xinfo_consumers(struct call *c)
{
    const struct xstream *s = find_stream(c);
    if (s == NULL) {
        return;
    }
    const struct xstream_group *g = xstream_group_find(s, c->argv[3]);
    if (g == NULL) {
        struct str text = {0};
        str_printf(&text, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                   (int)c->argv[3].len, c->argv[3].ptr, (int)c->argv[2].len, c->argv[2].ptr);
        resp_error(&c->w, str_cstr(&text));
        str_fini(&text);
        return;
    }
    resp_array(&c->w, g->consumers.n);
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        const struct xstream_consumer *consumer = xstream_consumer_at(g, i);
        resp_map(&c->w, 3);
        field_name(c, consumer->name);
        field_int(c, "pending", consumer->pending.count);
        field_int(c, "idle", (uint64_t)MAX(xstream_since(consumer->seen_ms, c->now_ms), 0));
    }
}

/* ---- XINFO STREAM ---- */

static void refuse_syntax(struct call *c)
{
    resp_errorf(&c->w,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XINFO HELP.",
                ARG_PRINT(c->argv[1]));
}

/* *full: whether FULL was asked for. */
static bool parse_full(struct call *c, bool *full, uint64_t *count)
{
    int64_t n = FULL_COUNT;
    *full = c->argc > 3;
    if (*full && ((c->argc != 4 && c->argc != 6) || !arg_is(c, 3, "FULL") ||
                  (c->argc == 6 && !arg_is(c, 4, "COUNT")))) {
        refuse_syntax(c);
        return false;
    }
    if (c->argc == 6 && !arg_int(c, 5, &n)) {
        return false;
    }
    *count = n < 0 ? FULL_COUNT : (uint64_t)n;
    return true;
}

static void edge_entry(struct call *c, const char *name, const struct xstream *s, bool last)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, last);
    resp_bulkz(&c->w, name);
    if (xstream_iter_next(&it)) {
        reply_stream_entry(&c->w, &it);
    } else {
        resp_nil(&c->w);
    }
}

/* At most `count` of them; 0: all. */
static size_t pending_shown(struct call *c, const struct id_tree *of, uint64_t count)
{
    size_t n = count == 0 ? of->count : MIN(of->count, count);
    resp_bulkz(&c->w, "pending");
    resp_array(&c->w, n);
    return n;
}

static void full_consumer(struct call *c, const struct xstream_group *g,
                          const struct xstream_consumer *consumer, uint64_t count)
{
    resp_map(&c->w, 4);
    field_name(c, consumer->name);
    field_int(c, "seen-time", (uint64_t)consumer->seen_ms);
    field_int(c, "pel-count", consumer->pending.count);
    struct id_at at;
    id_tree_seek(&consumer->pending, STREAM_ID_MIN, &at);
    for (size_t n = pending_shown(c, &consumer->pending, count); n > 0; n--, id_at_next(&at)) {
        const struct xstream_pending *p = xstream_pending_find(g, at.id);
        resp_array(&c->w, 3);
        reply_stream_id(&c->w, at.id);
        resp_int(&c->w, p->delivered_ms);
        resp_int(&c->w, (int64_t)p->deliveries);
    }
}

static void full_group(struct call *c, const struct xstream *s, const struct xstream_group *g,
                       uint64_t count)
{
    resp_map(&c->w, 7);
    field_name(c, g->name);
    field_id(c, "last-delivered-id", g->last_id);
    fields_progress(c, s, g);
    field_int(c, "pel-count", g->pending.count);
    struct id_at at;
    id_tree_seek(&g->pending, STREAM_ID_MIN, &at);
    for (size_t n = pending_shown(c, &g->pending, count); n > 0; n--, id_at_next(&at)) {
        const struct xstream_pending *p = xstream_pending_at(&at);
        resp_array(&c->w, 4);
        reply_stream_id(&c->w, at.id);
        resp_bulk(&c->w, p->consumer->name);
        resp_int(&c->w, p->delivered_ms);
        resp_int(&c->w, (int64_t)p->deliveries);
    }
    resp_bulkz(&c->w, "consumers");
    resp_array(&c->w, g->consumers.n);
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        full_consumer(c, g, xstream_consumer_at(g, i), count);
    }
}

void cmd_xinfo_stream(struct call *c)
{
    bool full;
    uint64_t count;
    const struct xstream *s = find_stream(c);
    if (s == NULL || !parse_full(c, &full, &count)) {
        return;
    }
    resp_map(&c->w, full ? 9 : 10);
    field_int(c, "length", s->length);
    field_int(c, "radix-tree-keys", s->blocks.count);
    field_int(c, "radix-tree-nodes", (uint64_t)s->blocks.nodes + 1);
    field_id(c, "last-generated-id", s->last_id);
    field_id(c, "max-deleted-entry-id", s->max_deleted_id);
    field_int(c, "entries-added", s->entries_added);
    field_id(c, "recorded-first-entry-id", s->first_id);
    if (!full) {
        field_int(c, "groups", s->groups.n);
        edge_entry(c, "first-entry", s, false);
        edge_entry(c, "last-entry", s, true);
        return;
    }
    resp_bulkz(&c->w, "entries");
    reply_stream_range(&c->w, s, STREAM_ID_MIN, STREAM_ID_MAX, count, false);
    resp_bulkz(&c->w, "groups");
    resp_array(&c->w, s->groups.n);
    for (uint32_t i = 0; i < s->groups.n; i++) {
        full_group(c, s, xstream_group_at(s, i), count);
    }
}

void cmd_xinfo_help(struct call *c)
{
    static const char *const lines[] = {
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <groupname>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    The stream itself.",
        "HELP",
        "    This text.",
    };
    resp_array(&c->w, ARRAY_LEN(lines));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        resp_simple(&c->w, lines[i]);
    }
}
