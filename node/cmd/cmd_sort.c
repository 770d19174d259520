// SPDX-License-Identifier: BSD-3-Clause
/* SORT and SORT_RO. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"
#include "node/types/hash.h"
#include "node/types/quicklist.h"
#include "node/types/set.h"
#include "node/types/string.h"
#include "node/types/zset.h"

#include "common/base/mem.h"
#include "common/cmd/slot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct sort_args {
    bool descending;
    bool alpha;
    bool unsorted; /* BY something that is no pattern */
    int64_t skip;
    int64_t count; /* negative: all */
    size_t by;     /* argument; 0: the element itself */
    size_t store;  /* argument; 0: answer */
    size_t *gets;  /* arguments; NULL where there are none */
    size_t gets_n;
};

/* One that is sorted. Texts lie in the arena. */
struct item {
    size_t at;
    size_t len;
    double score;
    size_t by_at;
    size_t by_len;
    bool has_by;
    bool is_number; /* kept as one: score is it */
};

struct sorting {
    const struct sort_args *args;
    struct item *items;
    size_t n;
    size_t cap;
    struct str arena;
    bool bad; /* a weight that is no number */
};

/* ---- patterns that name other keys ---- */

/* "weight_*", "object_*->field": what stands before and behind the '*', and the field. */
struct pattern {
    bool self;     /* "#": the element */
    bool constant; /* names nothing */
    struct slice before;
    struct slice behind;
    struct slice field; /* ptr NULL: the key is a string */
};

static struct pattern pattern_of(struct slice text)
{
    struct pattern p = {.self = slice_eq(text, SLICE("#"))};
    const char *star = memchr(text.ptr, '*', text.len);
    p.constant = star == NULL;
    if (p.constant) {
        return p;
    }
    p.before = slice_of(text.ptr, (size_t)(star - text.ptr));
    p.behind = slice_of(star + 1, text.len - p.before.len - 1);
    const char *arrow = memmem(p.behind.ptr, p.behind.len, "->", 2);
    size_t key_len = arrow == NULL ? p.behind.len : (size_t)(arrow - p.behind.ptr);
    if (arrow != NULL && key_len + 2 < p.behind.len) {
        p.field = slice_of(arrow + 2, p.behind.len - key_len - 2);
        p.behind.len = key_len;
    }
    return p;
}

/* Whether the keys that a pattern names are all here: every key is, or they all have a tag which
 * says so. */
static bool may_read(const struct call *c, struct slice text)
{
    const char *star = memchr(text.ptr, '*', text.len);
    if (star == NULL) {
        return true;
    }
    const char *open = memchr(text.ptr, '{', (size_t)(star - text.ptr));
    const char *close = open == NULL ? NULL : memchr(open, '}', (size_t)(star - open));
    if (close != NULL && close > open + 1) {
        return keyspace_serves(c->ks, keyspace_shard_of(c->ks, slot_of(text)));
    }
    for (int s = 0; s < c->ks->n_shards; s++) {
        if (!keyspace_serves(c->ks, s)) {
            return false;
        }
    }
    return true;
}

/* What a pattern gives for an element, appended to `to`; false: nothing. */
static bool look_up(struct call *c, const struct pattern *p, struct slice element, struct str *to)
{
    if (p->self) {
        str_append_slice(to, element);
        return true;
    }
    if (p->constant) {
        return false;
    }
    struct str name = {0};
    str_append_slice(&name, p->before);
    str_append_slice(&name, element);
    str_append_slice(&name, p->behind);
    struct slice key = name.len == 0 ? SLICE("") : str_slice(&name);
    struct probe probe = keyspace_probe_key(c->ks, key);
    const struct object *o =
        keyspace_serves(c->ks, (int)probe.shard) ? db_read(&c->db, &probe, key) : NULL;
    str_fini(&name);
    struct listpack_value v;
    if (o == NULL || o->type != (p->field.ptr == NULL ? OBJECT_STRING : OBJECT_HASH)) {
        return false;
    }
    if (p->field.ptr == NULL) {
        char digits[NUM_I64_MAX_LEN];
        str_append_slice(to, string_bytes(o, digits));
    } else if (!hash_get(o, p->field, &v)) {
        return false;
    } else if (v.ptr != NULL) {
        str_append(to, v.ptr, v.len);
    } else {
        str_append_int(to, v.number);
    }
    return true;
}

/* ---- arguments ---- */

static bool denied(struct call *c, const char *option)
{
    resp_errorf(&c->w, "ERR %s option of SORT denied in cluster mode.", option);
    return false;
}

static bool parse_args(struct call *c, bool may_store, struct sort_args *a)
{
    *a = (struct sort_args){.count = -1};
    for (size_t i = 2; i < c->argc; i++) {
        size_t left = c->argc - 1 - i;
        if (arg_is(c, i, "ASC")) {
            a->descending = false;
        } else if (arg_is(c, i, "DESC")) {
            a->descending = true;
        } else if (arg_is(c, i, "ALPHA")) {
            a->alpha = true;
        } else if (arg_is(c, i, "LIMIT") && left >= 2) {
            if (!arg_int(c, i + 1, &a->skip) || !arg_int(c, i + 2, &a->count)) {
                return false;
            }
            i += 2;
        } else if (may_store && arg_is(c, i, "STORE") && left >= 1) {
            a->store = ++i;
        } else if (arg_is(c, i, "BY") && left >= 1) {
            a->by = ++i;
            /* One that is no pattern stays so, even if another pattern follows: as in Redis. */
            a->unsorted |= memchr(c->argv[i].ptr, '*', c->argv[i].len) == NULL;
            if (!may_read(c, c->argv[i])) {
                return denied(c, "BY");
            }
        } else if (arg_is(c, i, "GET") && left >= 1) {
            if (a->gets == NULL) {
                a->gets = mem_alloc(c->argc * sizeof(*a->gets));
            }
            a->gets[a->gets_n++] = ++i;
            if (!may_read(c, c->argv[i])) {
                return denied(c, "GET");
            }
        } else {
            return arg_syntax_error(c);
        }
    }
    return true;
}

/* ---- gathering ---- */

static void add_item(struct sorting *s, const struct listpack_value *v)
{
    if (s->n == s->cap) {
        s->cap = MAX(s->cap * 2, 64);
        s->items = mem_realloc(s->items, s->cap * sizeof(*s->items));
    }
    struct item *item = &s->items[s->n++];
    *item = (struct item){.at = s->arena.len};
    if (v->ptr != NULL) {
        str_append(&s->arena, v->ptr, v->len);
    } else {
        char digits[NUM_I64_MAX_LEN];
        str_append(&s->arena, digits, num_print_i64(digits, v->number));
        item->score = (double)v->number;
        item->is_number = true;
    }
    item->len = s->arena.len - item->at;
}

/* Not to be sorted, but downwards: from the end. */
static inline bool goes_down(const struct sorting *s)
{
    return s->args->unsorted && s->args->descending;
}

/* `n` elements of what keeps an order of its own, leaving out the `first` ones. */
static void gather_list(struct sorting *s, const struct object *o, size_t first, size_t n)
{
    struct quicklist_walk w;
    struct listpack_value v;
    bool down = goes_down(s);
    quicklist_walk_begin(&w, o, down ? quicklist_length(o) - 1 - first : first, down);
    while (s->n < n && quicklist_walk_next(&w, &v)) {
        add_item(s, &v);
    }
    quicklist_walk_end(&w);
}

static void gather_set(struct sorting *s, const struct object *o)
{
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(o, &w, &e)) {
        add_item(s, &(struct listpack_value){.ptr = e.ptr, .len = e.len, .number = e.number});
    }
}

/* In the order of its scores, or, to be sorted, in any. */
static void gather_zset(struct sorting *s, const struct object *o, size_t first, size_t n)
{
    bool down = goes_down(s);
    struct zset_walk w = zset_seek(o, down ? zset_count(o) - 1 - first : first, down);
    struct zset_element e;
    while (s->n < n && zset_next(&w, &e)) {
        add_item(s, &e.member);
    }
}

static inline struct slice item_text(const struct sorting *s, const struct item *item)
{
    return slice_of(s->arena.len == 0 ? "" : s->arena.ptr + item->at, item->len);
}

/* As strtod takes it: "" is 0, blanks before it are none of its business. */
static bool weight_of(struct slice text, double *score)
{
    char room[256];
    char *copy = text.len < sizeof(room) ? room : mem_alloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    *score = strtod(copy, &end);
    bool good = *end == '\0' && errno != ERANGE && !isnan(*score);
    if (copy != room) {
        mem_free(copy);
    }
    return good;
}

/* What each is sorted by. */
static void weigh(struct call *c, struct sorting *s)
{
    const struct sort_args *a = s->args;
    struct pattern by = {0};
    struct str found = {0};
    if (a->by != 0) {
        by = pattern_of(c->argv[a->by]);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct item *item = &s->items[i];
        struct slice text = item_text(s, item);
        if (a->by == 0 && !a->alpha && item->is_number) {
            continue;
        }
        item->score = 0;
        if (a->by != 0) {
            str_clear(&found);
            if (!look_up(c, &by, text, &found)) {
                continue;
            }
            text = found.len == 0 ? SLICE("") : str_slice(&found);
        }
        if (!a->alpha) {
            s->bad |= !weight_of(text, &item->score);
        } else if (a->by != 0) {
            item->has_by = true;
            item->by_at = s->arena.len;
            item->by_len = text.len;
            str_append_slice(&s->arena, text);
        }
    }
    str_fini(&found);
}

/* ---- sorting ---- */

static int compare_bytes(struct slice a, struct slice b)
{
    int cmp = memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return cmp != 0 ? cmp : (a.len > b.len) - (a.len < b.len);
}

static int compare_items(const void *left, const void *right, void *arg)
{
    const struct sorting *s = arg;
    const struct item *a = left;
    const struct item *b = right;
    int cmp;
    if (!s->args->alpha && a->score != b->score) {
        cmp = a->score > b->score ? 1 : -1;
    } else if (s->args->alpha && s->args->by != 0) {
        cmp = a->has_by && b->has_by ? compare_bytes(slice_of(s->arena.ptr + a->by_at, a->by_len),
                                                     slice_of(s->arena.ptr + b->by_at, b->by_len))
                                     : a->has_by - b->has_by;
    } else {
        cmp = compare_bytes(item_text(s, a), item_text(s, b));
    }
    return s->args->descending ? -cmp : cmp;
}

/* ---- the result ---- */

static void reply_items(struct call *c, const struct sorting *s, size_t first, size_t n)
{
    const struct sort_args *a = s->args;
    resp_array(&c->w, a->gets_n == 0 ? n : n * a->gets_n);
    struct str found = {0};
    for (size_t i = first; i < first + n; i++) {
        struct slice text = item_text(s, &s->items[i]);
        if (a->gets_n == 0) {
            resp_bulk(&c->w, text);
        }
        for (size_t g = 0; g < a->gets_n; g++) {
            struct pattern get = pattern_of(c->argv[a->gets[g]]);
            str_clear(&found);
            if (look_up(c, &get, text, &found)) {
                resp_bulk(&c->w, found.len == 0 ? SLICE("") : str_slice(&found));
            } else {
                resp_nil(&c->w);
            }
        }
    }
    str_fini(&found);
}

/* A list of it; what is not found becomes "". */
static struct object *make_list(struct call *c, const struct sorting *s, size_t first, size_t n)
{
    const struct sort_args *a = s->args;
    struct object *o = quicklist_new(c->argv[a->store], OBJECT_NO_EXPIRE);
    struct str found = {0};
    for (size_t i = first; i < first + n; i++) {
        struct slice text = item_text(s, &s->items[i]);
        if (a->gets_n == 0) {
            quicklist_push(o, QUICKLIST_RIGHT, text);
        }
        for (size_t g = 0; g < a->gets_n; g++) {
            struct pattern get = pattern_of(c->argv[a->gets[g]]);
            str_clear(&found);
            look_up(c, &get, text, &found);
            quicklist_push(o, QUICKLIST_RIGHT, found.len == 0 ? SLICE("") : str_slice(&found));
        }
    }
    str_fini(&found);
    return o;
}

static void store_items(struct call *c, const struct sorting *s, size_t first, size_t n)
{
    struct slice key = c->argv[s->args->store];
    struct object *o = n == 0 ? NULL : make_list(c, s, first, n);
    struct probe p = keyspace_probe_key(c->ks, key);
    struct object *old = db_peek(&c->db, &p, key);
    /* What keys of other shards, or in which order, the words do not tell. */
    record_by_value(c);
    if (o == NULL && old != NULL) {
        db_remove(&c->db, &p, old, c->ks->settings.lazy_server_del);
        notify(&c->db, NOTIFY_GENERIC, "del", key);
        c->changes++;
    } else if (o != NULL) {
        c->changes += quicklist_length(o);
        resp_int(&c->w, (int64_t)quicklist_length(o));
        if (old != NULL) {
            db_replace(&c->db, &p, old, o);
        } else {
            db_add(&c->db, &p, o);
        }
        notify(&c->db, NOTIFY_LIST, "sortstore", key);
        return;
    }
    resp_int(&c->w, 0);
}

/* ---- the command ---- */

static size_t length_of(const struct object *o)
{
    return o == NULL ? 0 : object_length(o);
}

static void gather(struct sorting *s, const struct object *o, size_t first, size_t n)
{
    switch (o->type) {
    case OBJECT_LIST:
        gather_list(s, o, first, n);
        break;
    case OBJECT_ZSET:
        gather_zset(s, o, first, n);
        break;
    default:
        gather_set(s, o);
        break;
    }
}

static void sort_with(struct call *c, struct sort_args *a, const struct object *o)
{
    struct sorting s = {.args = a};
    size_t len = length_of(o);
    size_t first = MIN((size_t)MAX(a->skip, 0), len);
    size_t n = a->count < 0 ? len - first : MIN((size_t)a->count, len - first);
    if (a->unsorted && o != NULL && o->type == OBJECT_SET) {
        /* It has no order that copies and scripts could rely on. */
        a->unsorted = false;
        a->alpha = true;
        a->by = 0;
    }
    if (o != NULL && (n > 0 || !a->unsorted)) {
        gather(&s, o, a->unsorted ? first : 0, a->unsorted ? n : len);
    }
    if (a->unsorted) {
        first = 0;
    } else {
        weigh(c, &s);
        if (!s.bad && s.items != NULL) {
            qsort_r(s.items, s.n, sizeof(*s.items), compare_items, &s);
        }
    }
    INVARIANT(n == 0 || s.items != NULL);
    if (s.bad) {
        resp_error(&c->w, "ERR One or more scores can't be converted into double");
    } else if (a->store == 0) {
        reply_items(c, &s, first, n);
    } else {
        store_items(c, &s, first, n);
    }
    mem_free(s.items);
    str_fini(&s.arena);
}

static void sort(struct call *c, bool may_store)
{
    struct sort_args a;
    if (parse_args(c, may_store, &a)) {
        struct probe p = call_probe(c, 1);
        const struct object *o = db_read(&c->db, &p, c->argv[1]);
        if (o != NULL && o->type != OBJECT_LIST && o->type != OBJECT_SET &&
            o->type != OBJECT_ZSET) {
            resp_error(&c->w, ERR_WRONGTYPE);
        } else {
            sort_with(c, &a, o);
        }
    }
    mem_free(a.gets);
}

void cmd_sort(struct call *c)
{
    sort(c, true);
}

void cmd_sort_ro(struct call *c)
{
    sort(c, false);
}
