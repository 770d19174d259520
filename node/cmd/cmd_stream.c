// SPDX-License-Identifier: BSD-3-Clause
/* Entries of streams: XADD, XDEL, XTRIM, XRANGE and their relatives. */
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/stream_args.h"
#include "node/keyspace/notify.h"

#include "common/base/mem.h"

/* ---- options of XADD and XTRIM ---- */

#define TRIM_BLOCKS 100 /* "~" without LIMIT: so many blocks at a time */

struct options {
    struct xstream_trim trim;
    bool limit_given;
    bool no_create;
    bool id_given;
    bool seq_given;
    struct stream_id id;
    size_t trim_at;  /* argument; 0: none */
    size_t trim_end; /* behind the threshold */
    size_t limit_at; /* 0: none */
};

/* "MAXLEN|MINID [=|~] threshold" at *i, which becomes that of the threshold. */
static bool parse_trim(struct call *c, size_t *i, enum xstream_trim_by by, struct options *o)
{
    if (o->trim.by != XSTREAM_TRIM_NONE) {
        resp_error(&c->w, "ERR syntax error, MAXLEN and MINID options at the same time are not "
                          "compatible");
        return false;
    }
    o->trim.by = by;
    o->trim.whole_blocks = false;
    o->trim_at = *i;
    ++*i;
    if (*i + 1 < c->argc &&
        (slice_eq(c->argv[*i], SLICE("~")) || slice_eq(c->argv[*i], SLICE("=")))) {
        o->trim.whole_blocks = c->argv[*i].ptr[0] == '~';
        ++*i;
    }
    o->trim_end = *i + 1;
    if (by == XSTREAM_TRIM_ID) {
        return arg_stream_id_strict(c, *i, 0, &o->trim.id);
    }
    int64_t length;
    if (!arg_int(c, *i, &length)) {
        return false;
    }
    if (length < 0) {
        resp_error(&c->w, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    o->trim.length = (uint64_t)length;
    return true;
}

static bool parse_limit(struct call *c, size_t i, struct options *o)
{
    int64_t limit;
    if (!arg_int(c, i, &limit)) {
        return false;
    }
    if (limit < 0) {
        resp_error(&c->w, "ERR The LIMIT argument must be >= 0.");
        return false;
    }
    o->trim.limit = (uint64_t)limit;
    o->limit_at = i - 1;
    o->limit_given = true;
    return true;
}

/* What goes together, and the limit where none was given. */
static bool check_options(struct call *c, bool of_add, struct options *o)
{
    if (o->trim.limit != 0 && o->trim.by == XSTREAM_TRIM_NONE) {
        resp_error(&c->w, "ERR syntax error, LIMIT cannot be used without specifying a trimming "
                          "strategy");
        return false;
    }
    if (!of_add && o->trim.by == XSTREAM_TRIM_NONE) {
        resp_error(&c->w, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (o->limit_given && !o->trim.whole_blocks) {
        resp_error(&c->w, "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (!o->limit_given && o->trim.whole_blocks) {
        uint64_t in_block = c->ks->settings.stream_node_max_entries;
        uint64_t limit = in_block > UINT64_MAX / TRIM_BLOCKS ? UINT64_MAX : TRIM_BLOCKS * in_block;
        o->trim.limit = limit == 0 ? 10000 : MIN(limit, (uint64_t)1000000);
    }
    return true;
}

/* *at: of the id, where XADD has one. */
static bool parse_options(struct call *c, bool of_add, struct options *o, size_t *at)
{
    *o = (struct options){.seq_given = true};
    size_t i = 2;
    for (; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        bool right = true;
        if (of_add && slice_eq(c->argv[i], SLICE("*"))) {
            break;
        }
        if (more && arg_is(c, i, "MAXLEN")) {
            right = parse_trim(c, &i, XSTREAM_TRIM_LENGTH, o);
        } else if (more && arg_is(c, i, "MINID")) {
            right = parse_trim(c, &i, XSTREAM_TRIM_ID, o);
        } else if (more && arg_is(c, i, "LIMIT")) {
            right = parse_limit(c, ++i, o);
        } else if (of_add && arg_is(c, i, "NOMKSTREAM")) {
            o->no_create = true;
        } else if (of_add) {
            if (!arg_stream_id_new(c, i, &o->id, &o->seq_given)) {
                return false;
            }
            o->id_given = true;
            break;
        } else {
            right = arg_syntax_error(c);
        }
        if (!right) {
            return false;
        }
    }
    *at = i;
    return check_options(c, of_add, o);
}

/* ---- XADD ---- */

/* The id of the next entry. False: there is none above the last. */
static bool choose_id(const struct call *c, const struct xstream *s, const struct options *o,
                      struct stream_id *id)
{
    struct stream_id last = s == NULL ? STREAM_ID_MIN : s->last_id;
    *id = o->id;
    if (!o->id_given) {
        *id = (struct stream_id){(uint64_t)c->now_ms, 0};
        if (id->ms <= last.ms) {
            *id = last;
            return stream_id_increment(id);
        }
    } else if (!o->seq_given && last.ms == o->id.ms) {
        *id = last;
        id->seq++;
        return id->seq != 0;
    }
    return stream_id_less(last, *id);
}

/* Whether the entry can be added; else the reply is written. */
static bool check_add(struct call *c, const struct xstream *s, const struct options *o, size_t at,
                      struct stream_id *id)
{
    if (s != NULL && stream_id_equal(s->last_id, STREAM_ID_MAX)) {
        resp_error(&c->w, "ERR The stream has exhausted the last possible ID, unable to add more "
                          "items");
        return false;
    }
    uint64_t bytes = 0;
    for (size_t i = at + 1; i < c->argc; i++) {
        bytes += c->argv[i].len;
    }
    if (!choose_id(c, s, o, id)) {
        resp_error(&c->w, "ERR The ID specified in XADD is equal or smaller than the target "
                          "stream top item");
        return false;
    }
    if (bytes > XSTREAM_ENTRY_MAX) {
        resp_error(&c->w, "ERR Elements are too large to be stored");
        return false;
    }
    return true;
}

/* The threshold that trims as much as was trimmed, exactly: two words and one at `words`, whose
 * text is put in `text`. */
static void say_threshold(const struct xstream *s, const struct xstream_trim *t,
                          struct slice *words, char text[STREAM_ID_TEXT])
{
    bool by_id = t->by == XSTREAM_TRIM_ID && s->length > 0;
    words[0] = by_id ? SLICE("MINID") : SLICE("MAXLEN");
    words[1] = SLICE("=");
    words[2] =
        slice_of(text, by_id ? stream_id_print(text, s->first_id) : num_print_u64(text, s->length));
}

/* What is said of XADD and XTRIM to those who follow: the words, with the id that the entry got (at
 * `at`; empty: it keeps its own), and trimmed to where it was. */
static void say_feed(struct call *c, const struct xstream *s, const struct options *o, size_t at,
                     struct slice id)
{
    enum { FEW = 64, EXTRA = 3 };
    struct slice few[FEW] = {{0}};
    char threshold[STREAM_ID_TEXT];
    bool many = c->argc + EXTRA > FEW;
    if (!record_followed(c)) {
        return;
    }
    struct slice *words = many ? mem_alloc((c->argc + EXTRA) * sizeof(*words)) : few;
    bool about = o->trim.whole_blocks;
    size_t n = 0;
    for (size_t i = 0; i < c->argc; i++) {
        if (about && i == o->trim_at) {
            say_threshold(s, &o->trim, words + n, threshold);
            if (o->trim.by == XSTREAM_TRIM_ID && s->length == 0) { /* as Redis says it */
                words[n] = SLICE("MINID");
                words[n + 2] = slice_of(threshold, stream_id_print(threshold, STREAM_ID_MAX));
            }
            n += 3;
            i = o->trim_end - 1;
        } else if (about && o->limit_at != 0 && i == o->limit_at) {
            i++;
        } else {
            words[n++] = i == at && id.len > 0 ? id : c->argv[i];
        }
    }
    record_say_feed(c, words, n);
    if (many) {
        mem_free(words);
    }
}

/* With the id that it got, and what was really trimmed. */
static void say_add(struct call *c, const struct probe *p, const struct xstream *s,
                    const struct options *o, size_t at, struct stream_id id, uint64_t trimmed)
{
    enum { FEW = 64, EXTRA = 3 };
    bool exact = !o->trim.whole_blocks;
    if (!record_wanted(c) || (o->id_given && o->seq_given && exact)) {
        return; /* its own words do */
    }
    struct slice few[FEW];
    struct slice *words =
        c->argc + EXTRA > FEW ? mem_alloc((c->argc + EXTRA) * sizeof(*words)) : few;
    char id_text[STREAM_ID_TEXT];
    char threshold[STREAM_ID_TEXT];
    size_t n = 0;
    words[n++] = SLICE("XADD");
    words[n++] = c->argv[1];
    if (trimmed > 0) {
        say_threshold(s, &o->trim, words + n, threshold);
        n += 3;
    }
    size_t id_at = n;
    words[n++] = slice_of(id_text, stream_id_print(id_text, id));
    for (size_t i = at + 1; i < c->argc; i++) {
        words[n++] = c->argv[i];
    }
    record_say_log(c, p, words, n);
    struct slice got = words[id_at];
    if (o->id_given && o->seq_given) {
        got.len = 0; /* it keeps its own */
    }
    say_feed(c, s, o, at, got);
    if (words != few) {
        mem_free(words);
    }
}

static struct xstream_limits limits_of(const struct call *c)
{
    return (struct xstream_limits){c->ks->settings.stream_node_max_bytes,
                                   c->ks->settings.stream_node_max_entries};
}

static void add_entry(struct call *c, struct object *o, const struct options *opt, size_t at)
{
    struct probe p = call_probe(c, 1);
    struct stream_id id;
    if (!check_add(c, o == NULL ? NULL : xstream_of(o), opt, at, &id)) {
        return;
    }
    struct db_edit e = {0};
    bool is_new = o == NULL;
    if (is_new) {
        o = xstream_new(c->argv[1], OBJECT_NO_EXPIRE);
    } else {
        db_edit_begin(&c->db, &p, o, &e);
    }
    struct xstream *s = xstream_of(o);
    struct xstream_limits limits = limits_of(c);
    xstream_append(s, id, c->argv + at + 1, (c->argc - at - 1) / 2, &limits);
    uint64_t trimmed = opt->trim.by == XSTREAM_TRIM_NONE ? 0 : xstream_trim(s, &opt->trim);
    if (is_new) {
        db_add(&c->db, &p, o);
    } else {
        db_edit_end(&c->db, &p, &e, true);
    }
    c->changes++;
    say_add(c, &p, s, opt, at, id, trimmed);
    notify(&c->db, NOTIFY_STREAM, "xadd", c->argv[1]);
    if (trimmed > 0) {
        notify(&c->db, NOTIFY_STREAM, "xtrim", c->argv[1]);
    }
    reply_stream_id(&c->w, id);
}

void cmd_xadd(struct call *c)
{
    struct options opt;
    size_t at;
    if (!parse_options(c, true, &opt, &at)) {
        return;
    }
    if (c->argc < at + 3 || (c->argc - at) % 2 == 0) {
        resp_errorf(&c->w, ERR_WRONG_ARGS, c->cmd->full_name);
        return;
    }
    if (opt.id_given && opt.seq_given && stream_id_is_zero(opt.id)) {
        resp_error(&c->w, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (!check_type(c, o, OBJECT_STREAM)) {
        return;
    }
    if (o == NULL && opt.no_create) {
        resp_nil(&c->w);
        return;
    }
    add_entry(c, o, &opt, at);
}

/* ---- fewer entries ---- */

/* For a command that has nothing to do where the key is missing: NULL, and the reply is written. */
static struct object *find_or_zero(struct call *c, const struct probe *p)
{
    struct object *o = db_find(&c->db, p, c->argv[1]);
    if (o == NULL) {
        resp_int(&c->w, 0);
    }
    return check_type(c, o, OBJECT_STREAM) ? o : NULL;
}

void cmd_xtrim(struct call *c)
{
    struct options opt;
    size_t at;
    if (!parse_options(c, false, &opt, &at)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = find_or_zero(c, &p);
    if (o == NULL) {
        return;
    }
    struct xstream *s = xstream_of(o);
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    uint64_t trimmed = xstream_trim(s, &opt.trim);
    db_edit_end(&c->db, &p, &e, trimmed > 0);
    if (trimmed > 0) {
        if (opt.trim.whole_blocks) {
            char text[STREAM_ID_TEXT];
            struct slice words[5] = {SLICE("XTRIM"), c->argv[1]};
            say_threshold(s, &opt.trim, words + 2, text);
            record_say_log(c, &p, words, ARRAY_LEN(words));
            say_feed(c, s, &opt, 0, SLICE(""));
        }
        notify(&c->db, NOTIFY_STREAM, "xtrim", c->argv[1]);
        c->changes += trimmed;
    }
    resp_int(&c->w, (int64_t)trimmed);
}

static int64_t delete_all(struct call *c, struct xstream *s)
{
    int64_t deleted = 0;
    bool was_first = false;
    for (size_t i = 2; i < c->argc; i++) {
        struct stream_id id;
        bool right = arg_is_stream_id(c, i, &id);
        INVARIANT(right);
        if (xstream_delete(s, id)) {
            deleted++;
            was_first |= stream_id_equal(id, s->first_id);
        }
    }
    if (was_first) {
        xstream_find_first(s);
    }
    return deleted;
}

void cmd_xdel(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = find_or_zero(c, &p);
    if (o == NULL) {
        return;
    }
    for (size_t i = 2; i < c->argc; i++) {
        struct stream_id id;
        if (!arg_stream_id_strict(c, i, 0, &id)) {
            return;
        }
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    int64_t deleted = delete_all(c, xstream_of(o));
    db_edit_end(&c->db, &p, &e, deleted > 0);
    if (deleted > 0) {
        notify(&c->db, NOTIFY_STREAM, "xdel", c->argv[1]);
        c->changes += (uint64_t)deleted;
    }
    resp_int(&c->w, deleted);
}

/* ---- XSETID ---- */

struct set_id {
    struct stream_id id;
    struct stream_id max_deleted; /* 0-0: not given */
    int64_t entries_added;        /* -1: not given */
};

static bool parse_set_id(struct call *c, struct set_id *o)
{
    *o = (struct set_id){.entries_added = -1};
    if (!arg_stream_id_strict(c, 2, 0, &o->id)) {
        return false;
    }
    for (size_t i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && arg_is(c, i, "ENTRIESADDED")) {
            if (!arg_int(c, i + 1, &o->entries_added)) {
                return false;
            }
            if (o->entries_added < 0) {
                resp_error(&c->w, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && arg_is(c, i, "MAXDELETEDID")) {
            if (!arg_stream_id_strict(c, i + 1, 0, &o->max_deleted)) {
                return false;
            }
            if (stream_id_less(o->id, o->max_deleted)) {
                resp_error(&c->w, "ERR The ID specified in XSETID is smaller than the provided "
                                  "max_deleted_entry_id");
                return false;
            }
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

static bool check_set_id(struct call *c, const struct xstream *s, const struct set_id *o)
{
    const char *wrong = NULL;
    if (s->length > 0 && stream_id_less(o->id, xstream_top(s))) {
        wrong = "ERR The ID specified in XSETID is smaller than the target stream top item";
    } else if (s->length > 0 && o->entries_added != -1 && s->length > (uint64_t)o->entries_added) {
        wrong =
            "ERR The entries_added specified in XSETID is smaller than the target stream length";
    }
    if (wrong != NULL) {
        resp_error(&c->w, wrong);
    }
    return wrong == NULL;
}

void cmd_xsetid(struct call *c)
{
    struct set_id opt;
    if (!parse_set_id(c, &opt)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_error(&c->w, ERR_NO_KEY);
        return;
    }
    if (!check_type(c, o, OBJECT_STREAM) || !check_set_id(c, xstream_of(o), &opt)) {
        return;
    }
    struct xstream *s = xstream_of(o);
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    xstream_set_last_id(s, opt.id);
    if (opt.entries_added != -1) {
        xstream_set_entries_added(s, (uint64_t)opt.entries_added);
    }
    if (!stream_id_is_zero(opt.max_deleted)) {
        xstream_set_max_deleted(s, opt.max_deleted);
    }
    db_edit_end(&c->db, &p, &e, true);
    c->changes++;
    notify(&c->db, NOTIFY_STREAM, "xsetid", c->argv[1]);
    resp_ok(&c->w);
}

/* ---- reading ---- */

void cmd_xlen(struct call *c)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (check_type(c, o, OBJECT_STREAM)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)xstream_of(o)->length);
    }
}

static void range(struct call *c, bool back)
{
    struct stream_id start;
    struct stream_id end;
    int64_t count = -1;
    if (!arg_stream_start(c, back ? 3 : 2, &start) || !arg_stream_end(c, back ? 2 : 3, &end)) {
        return;
    }
    for (size_t i = 4; i < c->argc; i += 2) {
        if (i + 1 == c->argc || !arg_is(c, i, "COUNT")) {
            arg_syntax_error(c);
            return;
        }
        if (!arg_int(c, i + 1, &count)) {
            return;
        }
        count = MAX(count, 0);
    }
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_array(&c->w, 0);
    } else if (check_type(c, o, OBJECT_STREAM)) {
        if (count == 0) {
            resp_nil_array(&c->w);
        } else {
            reply_stream_range(&c->w, xstream_of(o), start, end, (uint64_t)MAX(count, 0), back);
        }
    }
}

void cmd_xrange(struct call *c)
{
    range(c, false);
}

void cmd_xrevrange(struct call *c)
{
    range(c, true);
}
