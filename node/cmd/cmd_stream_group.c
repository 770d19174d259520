// SPDX-License-Identifier: BSD-3-Clause
/* Consumer groups themselves: XGROUP; what is pending: XACK, XPENDING. */
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/stream_args.h"
#include "node/keyspace/notify.h"

/* ---- XGROUP ---- */

struct group_options {
    bool create; /* MKSTREAM */
    int64_t entries_read;
};

static void refuse_syntax(struct call *c)
{
    resp_errorf(&c->w,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XGROUP HELP.",
                ARG_PRINT(c->argv[1]));
}

/* With each option once: Redis counts. */
enum { CREATE_ARGS_MAX = 8, SETID_ARGS_MAX = 7 };

static bool parse_group_options(struct call *c, bool may_create, struct group_options *o)
{
    *o = (struct group_options){.entries_read = XSTREAM_READ_UNKNOWN};
    for (size_t i = 5; i < c->argc; i++) {
        if (may_create && arg_is(c, i, "MKSTREAM")) {
            o->create = true;
        } else if (i + 1 < c->argc && arg_is(c, i, "ENTRIESREAD")) {
            if (!arg_int(c, ++i, &o->entries_read)) {
                return false;
            }
            if (o->entries_read < 0 && o->entries_read != XSTREAM_READ_UNKNOWN) {
                resp_error(&c->w, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            refuse_syntax(c);
            return false;
        }
    }
    return true;
}

/* The stream at argv[2]. False: the error is written. */
static bool find_stream(struct call *c, const struct probe *p, bool may_miss, struct object **o)
{
    *o = db_find(&c->db, p, c->argv[2]);
    if (!check_type(c, *o, OBJECT_STREAM)) {
        return false;
    }
    if (*o == NULL && !may_miss) {
        resp_error(&c->w,
                   "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you "
                   "may want to use the MKSTREAM option to create an empty stream automatically.");
        return false;
    }
    return true;
}

/* And its group argv[3]. */
static bool find_stream_and_group(struct call *c, const struct probe *p, struct object **o,
                                  struct xstream_group **g)
{
    if (!find_stream(c, p, false, o)) {
        return false;
    }
    *g = xstream_group_find(xstream_of(*o), c->argv[3]);
    if (*g != NULL) {
        return true;
    }
    struct str text = {0};
    str_printf(&text, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
               (int)c->argv[3].len, c->argv[3].ptr, (int)c->argv[2].len, c->argv[2].ptr);
    resp_error(&c->w, str_cstr(&text));
    str_fini(&text);
    return false;
}

/* "$" or an id. */
static bool parse_last(struct call *c, const struct object *o, bool strict, struct stream_id *id)
{
    if (slice_eq(c->argv[4], SLICE("$"))) {
        *id = o == NULL ? STREAM_ID_MIN : xstream_of(o)->last_id;
        return true;
    }
    return strict ? arg_stream_id_strict(c, 4, 0, id) : arg_stream_id(c, 4, 0, id);
}

void cmd_xgroup_create(struct call *c)
{
    struct group_options opt;
    struct probe p = call_probe(c, 2);
    struct object *o;
    struct stream_id id;
    if (!parse_group_options(c, true, &opt) || !find_stream(c, &p, opt.create, &o)) {
        return;
    }
    if (c->argc > CREATE_ARGS_MAX) {
        refuse_syntax(c);
        return;
    }
    if (!parse_last(c, o, true, &id)) {
        return;
    }
    struct db_edit e;
    bool is_new = o == NULL;
    if (is_new) {
        o = xstream_new(c->argv[2], OBJECT_NO_EXPIRE);
    } else {
        db_edit_begin(&c->db, &p, o, &e);
    }
    bool added = xstream_group_add(xstream_of(o), c->argv[3], id, opt.entries_read) != NULL;
    if (is_new) {
        db_add(&c->db, &p, o);
    } else {
        db_edit_end(&c->db, &p, &e, added);
    }
    if (!added) {
        resp_error(&c->w, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    c->changes++;
    notify(&c->db, NOTIFY_STREAM, "xgroup-create", c->argv[2]);
    resp_ok(&c->w);
}

void cmd_xgroup_setid(struct call *c)
{
    struct group_options opt;
    struct probe p = call_probe(c, 2);
    struct object *o;
    struct xstream_group *g;
    struct stream_id id;
    if (!parse_group_options(c, false, &opt) || !find_stream_and_group(c, &p, &o, &g)) {
        return;
    }
    if (c->argc > SETID_ARGS_MAX) {
        refuse_syntax(c);
        return;
    }
    if (!parse_last(c, o, false, &id)) {
        return;
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    g->last_id = id;
    g->entries_read = opt.entries_read;
    db_edit_end(&c->db, &p, &e, true);
    c->changes++;
    notify(&c->db, NOTIFY_STREAM, "xgroup-setid", c->argv[2]);
    resp_ok(&c->w);
}

void cmd_xgroup_destroy(struct call *c)
{
    struct probe p = call_probe(c, 2);
    struct object *o;
    if (!find_stream(c, &p, false, &o)) {
        return;
    }
    struct xstream_group *g = xstream_group_find(xstream_of(o), c->argv[3]);
    if (g != NULL) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        xstream_group_remove(xstream_of(o), g);
        db_edit_end(&c->db, &p, &e, true);
        c->changes++;
        notify(&c->db, NOTIFY_STREAM, "xgroup-destroy", c->argv[2]);
    }
    resp_int(&c->w, g != NULL);
}

void cmd_xgroup_createconsumer(struct call *c)
{
    struct probe p = call_probe(c, 2);
    struct object *o;
    struct xstream_group *g;
    if (!find_stream_and_group(c, &p, &o, &g)) {
        return;
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    bool added = stream_add_consumer(c, xstream_of(o), g, c->argv[2], c->argv[4]) != NULL;
    db_edit_end(&c->db, &p, &e, added);
    resp_int(&c->w, added);
}

void cmd_xgroup_delconsumer(struct call *c)
{
    struct probe p = call_probe(c, 2);
    struct object *o;
    struct xstream_group *g;
    if (!find_stream_and_group(c, &p, &o, &g)) {
        return;
    }
    int64_t pending = 0;
    struct xstream_consumer *consumer = xstream_consumer_find(g, c->argv[4]);
    if (consumer != NULL) {
        struct db_edit e;
        pending = (int64_t)consumer->pending.count;
        db_edit_begin(&c->db, &p, o, &e);
        xstream_consumer_remove(xstream_of(o), g, consumer);
        db_edit_end(&c->db, &p, &e, true);
        c->changes++;
        notify(&c->db, NOTIFY_STREAM, "xgroup-delconsumer", c->argv[2]);
    }
    resp_int(&c->w, pending);
}

static void reply_lines(struct call *c, const char *const *lines, size_t n)
{
    resp_array(&c->w, n);
    for (size_t i = 0; i < n; i++) {
        resp_simple(&c->w, lines[i]);
    }
}

void cmd_xgroup_help(struct call *c)
{
    static const char *const lines[] = {
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <groupname> <id|$> [option]",
        "    Makes a consumer group. Options are:",
        "    * MKSTREAM",
        "      Makes an empty stream if there is none.",
        "    * ENTRIESREAD entries_read",
        "      How many entries the group counts as read.",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Makes a consumer in the group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Removes a consumer, and what is pending with it.",
        "DESTROY <key> <groupname>",
        "    Removes the group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Sets what the group gave out last.",
        "HELP",
        "    This text.",
    };
    reply_lines(c, lines, ARRAY_LEN(lines));
}

/* ---- XACK ---- */

void cmd_xack(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (!check_type(c, o, OBJECT_STREAM)) {
        return;
    }
    struct xstream_group *g = o == NULL ? NULL : xstream_group_find(xstream_of(o), c->argv[2]);
    if (g == NULL) {
        resp_int(&c->w, 0);
        return;
    }
    struct stream_id id;
    for (size_t i = 3; i < c->argc; i++) {
        if (!arg_stream_id_strict(c, i, 0, &id)) {
            return;
        }
    }
    int64_t acknowledged = 0;
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    for (size_t i = 3; i < c->argc; i++) {
        bool right = arg_is_stream_id(c, i, &id);
        INVARIANT(right);
        acknowledged += xstream_pending_remove(xstream_of(o), g, id);
    }
    db_edit_end(&c->db, &p, &e, acknowledged > 0);
    c->changes += (uint64_t)acknowledged;
    resp_int(&c->w, acknowledged);
}

/* ---- XPENDING ---- */

struct pending_options {
    int64_t idle_min_ms;
    struct stream_id start;
    struct stream_id end;
    int64_t count;
    size_t consumer; /* argument; 0: of all */
};

static bool parse_pending(struct call *c, struct pending_options *o)
{
    *o = (struct pending_options){0};
    size_t i = 3;
    if (c->argc < 6 || c->argc > 9) {
        return arg_syntax_error(c);
    }
    if (arg_is(c, i, "IDLE")) {
        if (!arg_int(c, i + 1, &o->idle_min_ms)) {
            return false;
        }
        if (c->argc < 8) {
            return arg_syntax_error(c);
        }
        i += 2;
    }
    if (!arg_int(c, i + 2, &o->count) || !arg_stream_start(c, i, &o->start) ||
        !arg_stream_end(c, i + 1, &o->end)) {
        return false;
    }
    o->consumer = i + 3 < c->argc ? i + 3 : 0;
    return true;
}

/* Counts, ends and consumers. */
static void reply_summary(struct call *c, const struct xstream_group *g)
{
    struct id_at at;
    resp_array(&c->w, 4);
    resp_int(&c->w, (int64_t)g->pending.count);
    if (g->pending.count == 0) {
        resp_nil(&c->w);
        resp_nil(&c->w);
        resp_nil_array(&c->w);
        return;
    }
    id_tree_seek(&g->pending, STREAM_ID_MIN, &at);
    reply_stream_id(&c->w, at.id);
    id_tree_seek_back(&g->pending, STREAM_ID_MAX, &at);
    reply_stream_id(&c->w, at.id);
    size_t busy = 0;
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        busy += xstream_consumer_at(g, i)->pending.count > 0;
    }
    resp_array(&c->w, busy);
    for (uint32_t i = 0; i < g->consumers.n; i++) {
        const struct xstream_consumer *consumer = xstream_consumer_at(g, i);
        if (consumer->pending.count > 0) {
            resp_array(&c->w, 2);
            resp_bulk(&c->w, consumer->name);
            resp_bulk_int(&c->w, (int64_t)consumer->pending.count);
        }
    }
}

struct pending_walk {
    const struct xstream_group *g;
    const struct pending_options *o;
    int64_t now_ms;
    int64_t left;
    struct id_at at;
};

static void pending_first(struct pending_walk *w, const struct id_tree *of)
{
    w->left = w->o->count;
    id_tree_seek(of, w->o->start, &w->at);
}

/* The next that is wanted; NULL: that was the last. */
static const struct xstream_pending *pending_next(struct pending_walk *w, struct stream_id *id)
{
    while (w->left > 0 && w->at.valid && !stream_id_less(w->o->end, w->at.id)) {
        const struct xstream_pending *p = xstream_pending_find(w->g, w->at.id);
        *id = w->at.id;
        id_at_next(&w->at);
        if (w->o->idle_min_ms == 0 ||
            xstream_since(p->delivered_ms, w->now_ms) >= w->o->idle_min_ms) {
            w->left--;
            return p;
        }
    }
    return NULL;
}

static void reply_pending(struct call *c, const struct xstream_group *g,
                          const struct pending_options *o)
{
    const struct id_tree *of = &g->pending;
    if (o->consumer != 0) {
        const struct xstream_consumer *consumer = xstream_consumer_find(g, c->argv[o->consumer]);
        if (consumer == NULL) {
            resp_array(&c->w, 0);
            return;
        }
        of = &consumer->pending;
    }
    struct pending_walk w = {.g = g, .o = o, .now_ms = c->now_ms};
    struct stream_id id;
    const struct xstream_pending *p;
    size_t n = 0;
    pending_first(&w, of);
    while (pending_next(&w, &id) != NULL) {
        n++;
    }
    resp_array(&c->w, n);
    pending_first(&w, of);
    while ((p = pending_next(&w, &id)) != NULL) {
        resp_array(&c->w, 4);
        reply_stream_id(&c->w, id);
        resp_bulk(&c->w, p->consumer->name);
        resp_int(&c->w, MAX(xstream_since(p->delivered_ms, c->now_ms), 0));
        resp_int(&c->w, (int64_t)p->deliveries);
    }
}

void cmd_xpending(struct call *c)
{
    struct pending_options opt;
    struct object *o;
    struct xstream_group *g;
    bool summary = c->argc == 3;
    if ((!summary && !parse_pending(c, &opt)) || !find_stream_group(c, 1, 2, &o, &g)) {
        return;
    }
    if (summary) {
        reply_summary(c, g);
    } else {
        reply_pending(c, g, &opt);
    }
}
