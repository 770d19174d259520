// SPDX-License-Identifier: BSD-3-Clause
/* Lists: LPUSH, LRANGE and their relatives. What takes elements from one end, waits for them or
 * moves them is in cmd_list_pop.c. */
#include "node/cmd/cmd_list.h"

#include "node/cmd/args.h"
#include "node/cmd/handlers.h"

#include "common/base/mem.h"

void reply_element(struct call *c, const struct listpack_value *v)
{
    if (v->ptr != NULL) {
        resp_bulk(&c->w, slice_of(v->ptr, v->len));
    } else {
        resp_bulk_int(&c->w, v->number);
    }
}

void reply_elements(struct call *c, const struct object *o, enum quicklist_end from, size_t skip,
                    size_t n)
{
    struct quicklist_walk w;
    struct listpack_value v;
    resp_array(&c->w, n);
    if (n == 0) {
        return;
    }
    bool leftwards = from == QUICKLIST_RIGHT;
    quicklist_walk_begin(&w, o, leftwards ? quicklist_length(o) - 1 - skip : skip, leftwards);
    for (; n > 0 && quicklist_walk_next(&w, &v); n--) {
        reply_element(c, &v);
    }
    quicklist_walk_end(&w);
}

bool find_list(struct call *c, const struct probe *p, size_t i, struct object **o)
{
    *o = db_find(&c->db, p, c->argv[i]);
    return check_type(c, *o, OBJECT_LIST);
}

static bool read_list(struct call *c, size_t i, struct object **o)
{
    struct probe p = call_probe(c, i);
    *o = db_read(&c->db, &p, c->argv[i]);
    return check_type(c, *o, OBJECT_LIST);
}

bool end_list_edit(struct call *c, const struct probe *p, struct db_edit *e, struct slice key,
                   const char *event)
{
    bool gone = db_edit_end(&c->db, p, e, true);
    notify(&c->db, NOTIFY_LIST, event, key);
    if (gone) {
        notify(&c->db, NOTIFY_GENERIC, "del", key);
    }
    return gone;
}

/* ---- adding ---- */

void list_add_values(struct call *c, const struct probe *p, struct object *o, struct slice key,
                     enum quicklist_end end, const struct slice *values, size_t n)
{
    const char *event = end == QUICKLIST_LEFT ? "lpush" : "rpush";
    struct db_edit e;
    bool is_new = o == NULL;
    if (is_new) {
        o = quicklist_new(key, OBJECT_NO_EXPIRE);
    } else {
        db_edit_begin(&c->db, p, o, &e);
    }
    for (size_t i = 0; i < n; i++) {
        quicklist_push(o, end, values[i]);
    }
    c->changes += n;
    if (is_new) {
        db_add(&c->db, p, o);
        notify(&c->db, NOTIFY_LIST, event, key);
    } else {
        end_list_edit(c, p, &e, key, event);
    }
}

static void push(struct call *c, enum quicklist_end end, bool only_if_there)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_list(c, &p, 1, &o)) {
        return;
    }
    if (o == NULL && only_if_there) {
        resp_int(&c->w, 0);
        return;
    }
    size_t was = o == NULL ? 0 : quicklist_length(o);
    list_add_values(c, &p, o, c->argv[1], end, c->argv + 2, c->argc - 2);
    resp_int(&c->w, (int64_t)(was + c->argc - 2));
}

void cmd_lpush(struct call *c)
{
    push(c, QUICKLIST_LEFT, false);
}

void cmd_rpush(struct call *c)
{
    push(c, QUICKLIST_RIGHT, false);
}

void cmd_lpushx(struct call *c)
{
    push(c, QUICKLIST_LEFT, true);
}

void cmd_rpushx(struct call *c)
{
    push(c, QUICKLIST_RIGHT, true);
}

/* Where the first element equal to v is; the length if there is none. */
static size_t find_element(const struct object *o, struct slice v)
{
    struct quicklist_walk w;
    struct listpack_value have;
    struct quicklist_needle needle = quicklist_needle_of(v);
    size_t at = 0;
    quicklist_walk_begin(&w, o, 0, false);
    while (quicklist_walk_next(&w, &have) && !quicklist_needle_is(&needle, &have)) {
        at++;
    }
    quicklist_walk_end(&w);
    return at;
}

void cmd_linsert(struct call *c)
{
    bool after = arg_is(c, 2, "AFTER");
    if (!after && !arg_is(c, 2, "BEFORE")) {
        arg_syntax_error(c);
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_list(c, &p, 1, &o)) {
        return;
    }
    if (o == NULL) {
        resp_int(&c->w, 0);
        return;
    }
    size_t at = find_element(o, c->argv[3]);
    size_t len = quicklist_length(o);
    if (at == len) {
        resp_int(&c->w, -1);
        return;
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    quicklist_insert(o, at + after, c->argv[4]);
    end_list_edit(c, &p, &e, c->argv[1], "linsert");
    c->changes++;
    resp_int(&c->w, (int64_t)len + 1);
}

/* An index that may count from the right; false: there is none such. */
static bool place_of(const struct object *o, int64_t index, size_t *at)
{
    int64_t len = (int64_t)quicklist_length(o);
    if (index < -len || index >= len) {
        return false;
    }
    *at = (size_t)(index < 0 ? index + len : index);
    return true;
}

void cmd_lset(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    int64_t index;
    size_t at;
    if (!find_list(c, &p, 1, &o)) {
        return;
    }
    if (o == NULL) {
        resp_error(&c->w, ERR_NO_KEY);
        return;
    }
    if (!arg_int(c, 2, &index)) {
        return;
    }
    if (!place_of(o, index, &at)) {
        resp_error(&c->w, "ERR index out of range");
        return;
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    quicklist_set(o, at, c->argv[3]);
    end_list_edit(c, &p, &e, c->argv[1], "lset");
    c->changes++;
    resp_ok(&c->w);
}

/* ---- removing ---- */

void cmd_lrem(struct call *c)
{
    int64_t count;
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!arg_int(c, 2, &count) || !find_list(c, &p, 1, &o)) {
        return;
    }
    size_t gone = 0;
    if (o != NULL && find_element(o, c->argv[3]) < quicklist_length(o)) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        gone = quicklist_remove(o, count < 0 ? QUICKLIST_RIGHT : QUICKLIST_LEFT,
                                count < 0 ? 0 - (size_t)count : (size_t)count, c->argv[3]);
        end_list_edit(c, &p, &e, c->argv[1], "lrem");
        c->changes += gone;
    }
    resp_int(&c->w, (int64_t)gone);
}

/* From and to as Redis takes them, of `len` elements: the first one and how many. */
static size_t range_of(int64_t from, int64_t to, size_t len, size_t *first)
{
    int64_t n = (int64_t)len;
    from = from < 0 ? MAX(from + n, 0) : from;
    to = to < 0 ? to + n : MIN(to, n - 1);
    *first = (size_t)from;
    return from > to || from >= n ? 0 : (size_t)(to - from + 1);
}

void cmd_ltrim(struct call *c)
{
    int64_t from;
    int64_t to;
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!arg_int(c, 2, &from) || !arg_int(c, 3, &to) || !find_list(c, &p, 1, &o)) {
        return;
    }
    resp_ok(&c->w);
    if (o == NULL) {
        return;
    }
    size_t len = quicklist_length(o);
    size_t first;
    size_t kept = range_of(from, to, len, &first);
    if (kept == len) {
        notify(&c->db, NOTIFY_LIST, "ltrim", c->argv[1]);
        return;
    }
    struct db_edit e;
    db_edit_begin(&c->db, &p, o, &e);
    if (kept == 0) {
        quicklist_delete(o, 0, len);
    } else {
        size_t behind = len - first - kept;
        if (behind > 0) {
            quicklist_delete(o, first + kept, behind);
        }
        if (first > 0) {
            quicklist_delete(o, 0, first);
        }
    }
    end_list_edit(c, &p, &e, c->argv[1], "ltrim");
    c->changes += len - kept;
}

/* ---- reading ---- */

void cmd_llen(struct call *c)
{
    struct object *o;
    if (read_list(c, 1, &o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)quicklist_length(o));
    }
}

void cmd_lindex(struct call *c)
{
    struct object *o;
    int64_t index;
    size_t at;
    if (!read_list(c, 1, &o)) {
        return;
    }
    if (o == NULL) {
        resp_nil(&c->w);
        return;
    }
    if (!arg_int(c, 2, &index)) {
        return;
    }
    struct quicklist_walk w;
    struct listpack_value v;
    if (!place_of(o, index, &at)) {
        resp_nil(&c->w);
        return;
    }
    quicklist_walk_begin(&w, o, at, false);
    if (quicklist_walk_next(&w, &v)) {
        reply_element(c, &v);
    }
    quicklist_walk_end(&w);
}

void cmd_lrange(struct call *c)
{
    int64_t from;
    int64_t to;
    struct object *o;
    size_t first = 0;
    if (!arg_int(c, 2, &from) || !arg_int(c, 3, &to) || !read_list(c, 1, &o)) {
        return;
    }
    size_t n = o == NULL ? 0 : range_of(from, to, quicklist_length(o), &first);
    reply_elements(c, o, QUICKLIST_LEFT, first, n);
}

/* ---- LPOS ---- */

struct position_args {
    int64_t rank;
    int64_t count; /* -1: the first only, and not as an array */
    int64_t most;  /* elements to look at; 0: all */
};

static bool parse_position(struct call *c, struct position_args *a)
{
    *a = (struct position_args){.rank = 1, .count = -1};
    for (size_t i = 3; i < c->argc; i += 2) {
        int64_t *to = arg_is(c, i, "COUNT") ? &a->count : arg_is(c, i, "MAXLEN") ? &a->most : NULL;
        if (i + 1 == c->argc || (to == NULL && !arg_is(c, i, "RANK"))) {
            return arg_syntax_error(c);
        }
        if (to != NULL) {
            const char *error =
                to == &a->count ? "ERR COUNT can't be negative" : "ERR MAXLEN can't be negative";
            if (!arg_int_or(c, i + 1, to, error)) {
                return false;
            }
            if (*to < 0) {
                resp_error(&c->w, error);
                return false;
            }
        } else if (!arg_int(c, i + 1, &a->rank)) {
            return false;
        } else if (a->rank == 0) {
            resp_error(&c->w, "ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                              "the second ... or use negative to start from the end of the list");
            return false;
        }
    }
    return true;
}

/* The places of those that match, at most `most` of them; the caller frees them. */
static size_t find_places(const struct object *o, struct slice v, const struct position_args *a,
                          size_t most, size_t **places)
{
    struct quicklist_walk w;
    struct listpack_value have;
    struct quicklist_needle needle = quicklist_needle_of(v);
    bool leftwards = a->rank < 0;
    uint64_t skip = (leftwards ? 0 - (uint64_t)a->rank : (uint64_t)a->rank) - 1;
    size_t len = quicklist_length(o);
    size_t look = a->most == 0 ? len : MIN(len, (uint64_t)a->most);
    size_t n = 0;
    size_t cap = 0;
    *places = NULL;
    quicklist_walk_begin(&w, o, leftwards ? len - 1 : 0, leftwards);
    for (size_t i = 0; i < look && n < most && quicklist_walk_next(&w, &have); i++) {
        if (!quicklist_needle_is(&needle, &have) || skip-- > 0) {
            continue;
        }
        skip = 0;
        if (n == cap) {
            cap = MAX(cap * 2, 8);
            *places = mem_realloc(*places, cap * sizeof(**places));
        }
        (*places)[n++] = leftwards ? len - 1 - i : i;
    }
    quicklist_walk_end(&w);
    return n;
}

void cmd_lpos(struct call *c)
{
    struct position_args a;
    struct object *o;
    size_t *places = NULL;
    if (!parse_position(c, &a) || !read_list(c, 1, &o)) {
        return;
    }
    size_t most = a.count == -1 ? 1 : a.count == 0 ? SIZE_MAX : (size_t)a.count;
    size_t n = o == NULL ? 0 : find_places(o, c->argv[2], &a, most, &places);
    if (a.count != -1) {
        resp_array(&c->w, n);
    } else if (n == 0) {
        resp_nil(&c->w);
    }
    for (size_t i = 0; i < n; i++) {
        resp_int(&c->w, (int64_t)places[i]);
    }
    mem_free(places);
}
