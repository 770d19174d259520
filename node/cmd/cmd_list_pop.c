// SPDX-License-Identifier: BSD-3-Clause
/* Lists: what takes elements from an end, moves them to another list, or waits for them. */
#include "node/cmd/args.h"
#include "node/cmd/cmd_list.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"

#include "common/base/num.h"

static const char *pop_event(enum quicklist_end end)
{
    return end == QUICKLIST_LEFT ? "lpop" : "rpop";
}

/* "LPOP key [n]" is what happened to the key; n -1: one, and no count was asked for. */
static void say_pop(struct call *c, const struct probe *p, struct slice key, enum quicklist_end end,
                    int64_t n)
{
    if (record_wanted(c)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice words[3] = {end == QUICKLIST_LEFT ? SLICE("LPOP") : SLICE("RPOP"), key,
                                 slice_of(digits, num_print_i64(digits, n))};
        record_say(c, p, words, n == -1 ? 2 : 3);
    }
}

static void drop(struct call *c, const struct probe *p, struct object *o, struct slice key,
                 enum quicklist_end end, size_t n)
{
    struct db_edit e;
    db_edit_begin(&c->db, p, o, &e);
    quicklist_delete(o, end == QUICKLIST_LEFT ? 0 : quicklist_length(o) - n, n);
    end_list_edit(c, p, &e, key, pop_event(end));
    c->changes += n;
}

static void reply_end(struct call *c, const struct object *o, enum quicklist_end end)
{
    struct quicklist_walk w;
    struct listpack_value v;
    quicklist_walk_begin(&w, o, end == QUICKLIST_LEFT ? 0 : quicklist_length(o) - 1, false);
    if (quicklist_walk_next(&w, &v)) {
        reply_element(c, &v);
    }
    quicklist_walk_end(&w);
}

/* Argument i as a positive number, from `min` on. */
static bool arg_count(struct call *c, size_t i, int64_t min, int64_t *n, const char *error)
{
    if (!arg_int_or(c, i, n, error)) {
        return false;
    }
    if (*n < min) {
        resp_error(&c->w, error);
        return false;
    }
    return true;
}

/* ---- LPOP, RPOP ---- */

static void pop(struct call *c, enum quicklist_end end)
{
    int64_t count = 0;
    bool counted = c->argc == 3;
    if (c->argc > 3) {
        resp_errorf(&c->w, ERR_WRONG_ARGS, c->cmd->full_name);
        return;
    }
    if (counted && !arg_count(c, 2, 0, &count, "ERR value is out of range, must be positive")) {
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_list(c, &p, 1, &o)) {
        return;
    }
    if (o == NULL && counted) {
        resp_nil_array(&c->w);
    } else if (o == NULL) {
        resp_nil(&c->w);
    } else if (!counted) {
        reply_end(c, o, end);
        drop(c, &p, o, c->argv[1], end, 1);
    } else {
        size_t n = MIN((size_t)count, quicklist_length(o));
        reply_elements(c, o, end, 0, n);
        if (n > 0) {
            drop(c, &p, o, c->argv[1], end, n);
        }
    }
}

void cmd_lpop(struct call *c)
{
    pop(c, QUICKLIST_LEFT);
}

void cmd_rpop(struct call *c)
{
    pop(c, QUICKLIST_RIGHT);
}

/* ---- from the first of several lists that has something ---- */

struct pops {
    size_t first; /* keys in argv */
    size_t n;
    enum quicklist_end end;
    int64_t count; /* -1: one, which is not an array */
};

/* False: there is nothing in any. */
static bool pop_first(struct call *c, const struct pops *a)
{
    for (size_t i = a->first; i < a->first + a->n; i++) {
        struct slice key = c->argv[i];
        struct probe p = call_probe(c, i);
        struct object *o = db_find(&c->db, &p, key);
        if (o == NULL || (o->type != OBJECT_LIST && c->wait.again)) {
            continue; /* who waited is not told of what came to be there */
        }
        if (!check_type(c, o, OBJECT_LIST)) {
            return true;
        }
        record_by_key(c);
        size_t n = a->count == -1 ? 1 : MIN((size_t)a->count, quicklist_length(o));
        resp_array(&c->w, 2);
        resp_bulk(&c->w, key);
        if (a->count == -1) {
            reply_end(c, o, a->end);
        } else {
            reply_elements(c, o, a->end, 0, n);
        }
        drop(c, &p, o, key, a->end, n);
        say_pop(c, &p, key, a->end, a->count == -1 ? -1 : (int64_t)n);
        return true;
    }
    return false;
}

static void pop_or_wait(struct call *c, const struct pops *a, int64_t until_ms)
{
    if (!pop_first(c, a) && !call_wait(c, OBJECT_LIST, a->first, a->n, until_ms)) {
        resp_nil_array(&c->w);
    }
}

static void blocking_pop(struct call *c, enum quicklist_end end)
{
    int64_t until;
    struct pops a = {.first = 1, .n = c->argc - 2, .end = end, .count = -1};
    if (arg_timeout(c, c->argc - 1, &until)) {
        pop_or_wait(c, &a, until);
    }
}

void cmd_blpop(struct call *c)
{
    blocking_pop(c, QUICKLIST_LEFT);
}

void cmd_brpop(struct call *c)
{
    blocking_pop(c, QUICKLIST_RIGHT);
}

static bool parse_end(struct call *c, size_t i, enum quicklist_end *end)
{
    if (arg_is(c, i, "LEFT")) {
        *end = QUICKLIST_LEFT;
    } else if (arg_is(c, i, "RIGHT")) {
        *end = QUICKLIST_RIGHT;
    } else {
        arg_syntax_error(c);
        return false;
    }
    return true;
}

/* numkeys key [key ...] LEFT|RIGHT [COUNT count], from argument i on. */
static bool parse_pops(struct call *c, size_t i, struct pops *a)
{
    int64_t n;
    *a = (struct pops){.count = -1};
    if (!arg_count(c, i, 1, &n, "ERR numkeys should be greater than 0")) {
        return false;
    }
    if ((uint64_t)n >= c->argc - i - 1) {
        return arg_syntax_error(c);
    }
    a->first = i + 1;
    a->n = (size_t)n;
    i += (size_t)n + 1;
    if (!parse_end(c, i++, &a->end)) {
        return false;
    }
    for (; i < c->argc; i += 2) {
        if (a->count != -1 || i + 1 == c->argc || !arg_is(c, i, "COUNT")) {
            return arg_syntax_error(c);
        }
        if (!arg_count(c, i + 1, 1, &a->count, "ERR count should be greater than 0")) {
            return false;
        }
    }
    a->count = a->count == -1 ? 1 : a->count;
    return true;
}

void cmd_lmpop(struct call *c)
{
    struct pops a;
    if (parse_pops(c, 1, &a) && !pop_first(c, &a)) {
        resp_nil_array(&c->w);
    }
}

void cmd_blmpop(struct call *c)
{
    int64_t until;
    struct pops a;
    if (arg_timeout(c, 1, &until) && parse_pops(c, 2, &a)) {
        pop_or_wait(c, &a, until);
    }
}

/* ---- from one list to another ---- */

struct ends {
    enum quicklist_end from;
    enum quicklist_end to;
};

/* Within one list. */
static void rotate(struct call *c, const struct probe *p, struct object *o, struct ends ends,
                   struct slice v)
{
    struct slice key = c->argv[1];
    struct db_edit e;
    db_edit_begin(&c->db, p, o, &e);
    quicklist_delete(o, ends.from == QUICKLIST_LEFT ? 0 : quicklist_length(o) - 1, 1);
    quicklist_push(o, ends.to, v);
    db_edit_end(&c->db, p, &e, true);
    notify(&c->db, NOTIFY_LIST, ends.to == QUICKLIST_LEFT ? "lpush" : "rpush", key);
    notify(&c->db, NOTIFY_LIST, pop_event(ends.from), key);
    c->changes += 2;
}

/* Each key has an entry of its own; who follows is told to move, but not to wait. Within one list
 * the push comes first: one of a single element is never empty then, and keeps its time. */
static void say_move(struct call *c, const struct probe *from, const struct probe *to,
                     struct ends ends, struct slice v)
{
    if (!record_wanted(c)) {
        return;
    }
    struct slice words[5];
    bool within = slice_eq(c->argv[1], c->argv[2]);
    for (int i = 0; i < 2; i++) {
        bool push = (i == 0) == within;
        enum quicklist_end end = push ? ends.to : ends.from;
        if (push) {
            words[0] = end == QUICKLIST_LEFT ? SLICE("LPUSH") : SLICE("RPUSH");
        } else {
            words[0] = end == QUICKLIST_LEFT ? SLICE("LPOP") : SLICE("RPOP");
        }
        words[1] = c->argv[push ? 2 : 1];
        words[2] = v;
        record_say_log(c, push ? to : from, words, push ? 3 : 2);
    }
    if (c->cmd->id == CMD_BLMOVE || c->cmd->id == CMD_BRPOPLPUSH) {
        bool by_ends = c->cmd->id == CMD_BLMOVE;
        memcpy(words, c->argv, (by_ends ? 5 : 3) * sizeof(*words));
        words[0] = by_ends ? SLICE("LMOVE") : SLICE("RPOPLPUSH");
        record_say_feed(c, words, by_ends ? 5 : 3);
    }
}

/* False: there is nothing to move. */
static bool move(struct call *c, struct ends ends)
{
    struct probe from = call_probe(c, 1);
    struct probe to = call_probe(c, 2);
    struct object *source;
    struct object *target;
    if (!find_list(c, &from, 1, &source)) {
        return true;
    }
    if (source == NULL) {
        return false;
    }
    if (!find_list(c, &to, 2, &target)) {
        return true;
    }
    struct str v = {0};
    quicklist_get(source, ends.from == QUICKLIST_LEFT ? 0 : quicklist_length(source) - 1, &v);
    struct slice value = v.len == 0 ? SLICE("") : str_slice(&v);
    record_by_key(c);
    resp_bulk(&c->w, value);
    if (source == target) {
        rotate(c, &from, source, ends, value);
    } else {
        list_add_values(c, &to, target, c->argv[2], ends.to, &value, 1);
        /* The table may have moved what it holds. */
        drop(c, &from, db_peek(&c->db, &from, c->argv[1]), c->argv[1], ends.from, 1);
    }
    say_move(c, &from, &to, ends, value);
    str_fini(&v);
    return true;
}

static bool parse_ends(struct call *c, struct ends *ends)
{
    return parse_end(c, 3, &ends->from) && parse_end(c, 4, &ends->to);
}

void cmd_lmove(struct call *c)
{
    struct ends ends;
    if (parse_ends(c, &ends) && !move(c, ends)) {
        resp_nil(&c->w);
    }
}

void cmd_rpoplpush(struct call *c)
{
    if (!move(c, (struct ends){QUICKLIST_RIGHT, QUICKLIST_LEFT})) {
        resp_nil(&c->w);
    }
}

static void move_or_wait(struct call *c, struct ends ends, size_t timeout_arg)
{
    int64_t until;
    if (arg_timeout(c, timeout_arg, &until) && !move(c, ends) &&
        !call_wait(c, OBJECT_LIST, 1, 1, until)) {
        resp_nil(&c->w);
    }
}

void cmd_blmove(struct call *c)
{
    struct ends ends;
    if (parse_ends(c, &ends)) {
        move_or_wait(c, ends, 5);
    }
}

void cmd_brpoplpush(struct call *c)
{
    move_or_wait(c, (struct ends){QUICKLIST_RIGHT, QUICKLIST_LEFT}, 3);
}
