// SPDX-License-Identifier: BSD-3-Clause
/* Sets one at a time: SADD, SREM, SPOP, SSCAN and their relatives. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/scan_args.h"
#include "node/cmd/set_list.h"
#include "node/keyspace/notify.h"

#include "common/base/mem.h"
#include "common/base/str.h"

enum { SAY_MAX = 1024 }; /* members in one effect of SPOP */

/* False: of another type, and told so. A missing key is NULL. */
static bool find_set(struct call *c, const struct probe *p, struct object **o)
{
    *o = db_find(&c->db, p, c->argv[1]);
    return check_type(c, *o, OBJECT_SET);
}

static bool read_set(struct call *c, struct object **o)
{
    struct probe p = call_probe(c, 1);
    *o = db_read(&c->db, &p, c->argv[1]);
    return check_type(c, *o, OBJECT_SET);
}

void cmd_sadd(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_set(c, &p, &o)) {
        return;
    }
    struct db_edit e = {0};
    struct object *fresh = o == NULL ? set_new(c->argv[1]) : NULL;
    if (o != NULL) {
        db_edit_begin(&c->db, &p, o, &e);
    }
    int64_t added = 0;
    for (size_t i = 2; i < c->argc; i++) {
        added += set_add(o != NULL ? o : fresh, c->argv[i]);
    }
    if (o != NULL) {
        db_edit_end(&c->db, &p, &e, added > 0);
    } else {
        db_add(&c->db, &p, fresh);
    }
    if (added > 0) {
        notify(&c->db, NOTIFY_SET, "sadd", c->argv[1]);
    }
    c->changes += (uint64_t)added;
    resp_int(&c->w, added);
}

/* Behind a removal from the set at `key`. */
static void tell_removed(struct call *c, const char *event, struct slice key, bool gone)
{
    notify(&c->db, NOTIFY_SET, event, key);
    if (gone) {
        notify(&c->db, NOTIFY_GENERIC, "del", key);
    }
}

void cmd_srem(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    if (!find_set(c, &p, &o)) {
        return;
    }
    int64_t removed = 0;
    if (o != NULL) {
        struct db_edit e;
        db_edit_begin(&c->db, &p, o, &e);
        for (size_t i = 2; i < c->argc; i++) {
            removed += set_remove(o, c->argv[i]);
        }
        bool gone = db_edit_end(&c->db, &p, &e, removed > 0);
        if (removed > 0) {
            tell_removed(c, "srem", c->argv[1], gone);
        }
    }
    c->changes += (uint64_t)removed;
    resp_int(&c->w, removed);
}

static bool remove_one(struct call *c, const struct probe *p, struct object *o, struct slice member)
{
    struct db_edit e;
    db_edit_begin(&c->db, p, o, &e);
    bool removed = set_remove(o, member);
    bool gone = db_edit_end(&c->db, p, &e, removed);
    if (removed) {
        tell_removed(c, "srem", c->argv[1], gone);
    }
    return removed;
}

void cmd_smove(struct call *c)
{
    struct probe from = call_probe(c, 1);
    struct probe to = call_probe(c, 2);
    struct object *source = db_find(&c->db, &from, c->argv[1]);
    struct object *target = db_find(&c->db, &to, c->argv[2]);
    if (source == NULL) {
        resp_int(&c->w, 0);
        return;
    }
    if (!check_type(c, source, OBJECT_SET) || !check_type(c, target, OBJECT_SET)) {
        return;
    }
    if (source == target) {
        resp_int(&c->w, set_has(source, c->argv[3]));
        return;
    }
    if (!remove_one(c, &from, source, c->argv[3])) {
        resp_int(&c->w, 0);
        return;
    }
    bool added = true;
    if (target == NULL) {
        target = set_new(c->argv[2]);
        added = set_add(target, c->argv[3]);
        db_add(&c->db, &to, target);
    } else {
        struct db_edit e;
        db_edit_begin(&c->db, &to, target, &e);
        added = set_add(target, c->argv[3]);
        db_edit_end(&c->db, &to, &e, added);
    }
    if (added) {
        notify(&c->db, NOTIFY_SET, "sadd", c->argv[2]);
    }
    c->changes += added ? 2 : 1;
    resp_int(&c->w, 1);
}

void cmd_sismember(struct call *c)
{
    struct object *o;
    if (read_set(c, &o)) {
        resp_int(&c->w, o != NULL && set_has(o, c->argv[2]));
    }
}

void cmd_smismember(struct call *c)
{
    struct object *o;
    if (!read_set(c, &o)) {
        return;
    }
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        resp_int(&c->w, o != NULL && set_has(o, c->argv[i]));
    }
}

void cmd_scard(struct call *c)
{
    struct object *o;
    if (read_set(c, &o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)set_count(o));
    }
}

/* ---- by chance ---- */

/* Members that were taken out: their bytes one behind the other. */
struct popped {
    struct str bytes;
    size_t *ends;
    size_t n;
};

static void pop_some(struct call *c, struct object *o, struct popped *p, size_t n)
{
    p->ends = mem_alloc(n * sizeof(*p->ends));
    for (p->n = 0; p->n < n; p->n++) {
        char digits[NUM_I64_MAX_LEN];
        struct set_element e = set_random(o, c->rng);
        struct slice text = set_element_text(&e, digits);
        str_append_slice(&p->bytes, text);
        p->ends[p->n] = p->bytes.len;
        INVARIANT(set_remove(o, text));
    }
}

static struct slice popped_at(const struct popped *p, size_t i)
{
    size_t from = i == 0 ? 0 : p->ends[i - 1];
    return slice_of(str_cstr(&p->bytes) + from, p->ends[i] - from);
}

static void say_popped(struct call *c, const struct probe *probe, const struct popped *p)
{
    if (!record_wanted(c)) {
        return;
    }
    struct slice *words = mem_alloc((MIN(p->n, (size_t)SAY_MAX) + 2) * sizeof(*words));
    words[0] = SLICE("SREM");
    words[1] = c->argv[1];
    for (size_t i = 0; i < p->n;) {
        size_t n = 2;
        while (i < p->n && n < SAY_MAX + 2) {
            words[n++] = popped_at(p, i++);
        }
        record_say(c, probe, words, n);
    }
    mem_free(words);
}

/* n: fewer than are there, or one. */
static void pop(struct call *c, const struct probe *probe, struct object *o, size_t n, bool one)
{
    struct popped p = {0};
    struct db_edit e;
    db_edit_begin(&c->db, probe, o, &e);
    pop_some(c, o, &p, n);
    bool gone = db_edit_end(&c->db, probe, &e, true);
    say_popped(c, probe, &p);
    tell_removed(c, "spop", c->argv[1], gone);
    if (!one) {
        resp_set(&c->w, n);
    }
    for (size_t i = 0; i < n; i++) {
        resp_bulk(&c->w, popped_at(&p, i));
    }
    c->changes += n;
    mem_free(p.ends);
    str_fini(&p.bytes);
}

static void reply_all(struct call *c, const struct object *o)
{
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(o, &w, &e)) {
        reply_element(c, &e);
    }
}

static void pop_all(struct call *c, const struct probe *probe, struct object *o)
{
    size_t n = set_count(o);
    resp_set(&c->w, n);
    reply_all(c, o);
    notify(&c->db, NOTIFY_SET, "spop", c->argv[1]);
    db_remove(&c->db, probe, o, c->ks->settings.lazy_server_del);
    record_say_del(c, probe, c->argv[1], c->ks->settings.lazy_server_del);
    notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
    c->changes += n;
}

void cmd_spop(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o;
    int64_t n = 1;
    bool one = c->argc == 2;
    if (c->argc > 3) {
        arg_syntax_error(c);
        return;
    }
    if ((!one && !arg_range(c, 2, 0, INT64_MAX, &n, ERR_NOT_POSITIVE)) || !find_set(c, &p, &o)) {
        return;
    }
    if (o == NULL && one) {
        resp_nil(&c->w);
    } else if (o == NULL || n == 0) {
        resp_set(&c->w, 0);
    } else if (!one && (uint64_t)n >= set_count(o)) {
        pop_all(c, &p, o);
    } else {
        pop(c, &p, o, (size_t)n, one);
    }
}

/* n different ones of more than n. */
static void reply_sample(struct call *c, const struct object *o, size_t n)
{
    size_t count = set_count(o);
    if (n > count / 3) {
        struct set_list all = {0};
        struct set_walk w = {0};
        struct set_element e;
        while (set_next(o, &w, &e)) {
            set_list_add(&all, &e);
        }
        INVARIANT(all.of != NULL && all.n == count);
        for (size_t i = 0; i < n; i++) {
            size_t j = i + rng_below(c->rng, count - i);
            e = all.of[j];
            all.of[j] = all.of[i];
            reply_element(c, &e);
        }
        set_list_fini(&all);
        return;
    }
    struct object *seen = set_new(SLICE(""));
    while (set_count(seen) < n) {
        struct set_element e = set_random(o, c->rng);
        if (set_add_element(seen, &e)) {
            reply_element(c, &e);
        }
    }
    object_free(&seen);
}

static void random_members(struct call *c)
{
    int64_t n;
    struct object *o;
    if (!arg_int(c, 2, &n)) {
        return;
    }
    if (n == INT64_MIN) {
        resp_errorf(&c->w, "ERR value is out of range, value must between %lld and %lld",
                    (long long)-INT64_MAX, (long long)INT64_MAX);
        return;
    }
    if (!read_set(c, &o)) {
        return;
    }
    if (o == NULL || n == 0) {
        resp_array(&c->w, 0);
    } else if (n < 0) {
        resp_array(&c->w, (size_t)-n);
        for (; n < 0 && !call_reply_full(c); n++) {
            struct set_element e = set_random(o, c->rng);
            reply_element(c, &e);
        }
    } else if ((uint64_t)n >= set_count(o)) {
        resp_array(&c->w, set_count(o));
        reply_all(c, o);
    } else {
        resp_array(&c->w, (size_t)n);
        reply_sample(c, o, (size_t)n);
    }
}

void cmd_srandmember(struct call *c)
{
    struct object *o;
    if (c->argc > 3) {
        arg_syntax_error(c);
    } else if (c->argc == 3) {
        random_members(c);
    } else if (read_set(c, &o)) {
        if (o == NULL) {
            resp_nil(&c->w);
            return;
        }
        struct set_element e = set_random(o, c->rng);
        reply_element(c, &e);
    }
}

/* ---- SSCAN ---- */

struct scanning {
    const struct scan_args *args;
    struct set_list found;
    uint64_t seen;
};

static void consider(void *arg, const struct set_element *e)
{
    struct scanning *s = arg;
    char digits[NUM_I64_MAX_LEN];
    s->seen++;
    if (scan_matches(s->args, set_element_text(e, digits))) {
        set_list_add(&s->found, e);
    }
}

void cmd_sscan(struct call *c)
{
    uint64_t cursor;
    struct object *o;
    struct scan_args args;
    if (!scan_cursor(c, 2, &cursor) || !read_set(c, &o)) {
        return;
    }
    if (o == NULL) {
        scan_reply(c, 0, 0);
        return;
    }
    if (!scan_options(c, 3, false, &args)) {
        return;
    }
    struct scanning s = {.args = &args};
    do {
        cursor = set_scan(o, cursor, consider, &s);
    } while (cursor != 0 && s.seen < args.count);
    scan_reply(c, cursor, s.found.n);
    reply_list(c, &s.found);
    set_list_fini(&s.found);
}
