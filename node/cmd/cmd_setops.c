// SPDX-License-Identifier: BSD-3-Clause
/* Several sets together: SINTER, SUNION, SDIFF, what they store, and SMEMBERS, which is an
 * intersection of one. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/set_list.h"
#include "node/keyspace/notify.h"

#include <stdlib.h>

/* The sets named by argv[first..first + n - 1]; NULL where there is none. */
struct sources {
    struct object **of;
    size_t n;
    size_t missing;
    struct object *small[8];
};

static void sources_fini(struct sources *s)
{
    if (s->of != s->small) {
        mem_free(s->of);
    }
}

/* False: one is of another type, and nothing is to be freed. */
static bool find_sources(struct call *c, size_t first, size_t n, struct sources *s)
{
    *s = (struct sources){.n = n, .of = s->small};
    if (n > ARRAY_LEN(s->small)) {
        s->of = mem_alloc(n * sizeof(struct object *));
    }
    for (size_t i = 0; i < n; i++) {
        struct probe p = call_probe(c, first + i);
        s->of[i] = db_read(&c->db, &p, c->argv[first + i]);
        s->missing += s->of[i] == NULL;
        if (!check_type(c, s->of[i], OBJECT_SET)) {
            sources_fini(s);
            return false;
        }
    }
    return true;
}

static int by_count(const void *a, const void *b)
{
    size_t x = set_count(*(struct object *const *)a);
    size_t y = set_count(*(struct object *const *)b);
    return x < y ? -1 : x > y;
}

/* Larger first, none at the end. */
static int by_count_down(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a;
    const struct object *y = *(struct object *const *)b;
    size_t n = x == NULL ? 0 : set_count(x);
    size_t m = y == NULL ? 0 : set_count(y);
    return n > m ? -1 : n < m;
}

/* What to do with each element of a result. */
typedef void element_fn(void *arg, const struct set_element *e);

static bool in_all(const struct sources *s, const struct set_element *e)
{
    for (size_t i = 1; i < s->n; i++) {
        if (s->of[i] != s->of[0] && !set_has_element(s->of[i], e)) {
            return false;
        }
    }
    return true;
}

/* At most `limit`; 0: all. */
static void intersect(struct sources *s, uint64_t limit, element_fn *take, void *arg)
{
    if (s->missing > 0) {
        return;
    }
    qsort(s->of, s->n, sizeof(struct object *), by_count);
    struct set_walk w = {0};
    struct set_element e;
    uint64_t found = 0;
    while (set_next(s->of[0], &w, &e)) {
        if (in_all(s, &e)) {
            take(arg, &e);
            if (++found == limit) {
                return;
            }
        }
    }
}

/* Elements of the first one that no other has. Two ways: looking each up in all others, or taking
 * all that others have out of a copy. What either would look at decides. */
static bool better_by_lookup(const struct sources *s)
{
    uint64_t lookup = 0;
    uint64_t removal = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->of[i] != NULL) {
            lookup += set_count(s->of[0]);
            removal += set_count(s->of[i]);
        }
    }
    return lookup / 2 <= removal;
}

static bool in_any_other(const struct sources *s, const struct set_element *e)
{
    for (size_t i = 1; i < s->n; i++) {
        if (s->of[i] != NULL && (s->of[i] == s->of[0] || set_has_element(s->of[i], e))) {
            return true;
        }
    }
    return false;
}

static void subtract_by_removal(struct sources *s, element_fn *take, void *arg)
{
    struct object *rest = object_copy(s->of[0], SLICE(""), OBJECT_NO_EXPIRE);
    struct set_element e;
    for (size_t i = 1; i < s->n && set_count(rest) > 0; i++) {
        struct set_walk w = {0};
        while (s->of[i] != NULL && set_next(s->of[i], &w, &e)) {
            char digits[NUM_I64_MAX_LEN];
            set_remove(rest, set_element_text(&e, digits));
        }
    }
    /* The caller may keep what it is given: elements of the first one, not of the copy. */
    struct set_walk w = {0};
    while (set_next(s->of[0], &w, &e)) {
        if (set_has_element(rest, &e)) {
            take(arg, &e);
        }
    }
    object_free(&rest);
}

static void subtract(struct sources *s, element_fn *take, void *arg)
{
    if (s->of[0] == NULL) {
        return;
    }
    if (!better_by_lookup(s)) {
        subtract_by_removal(s, take, arg);
        return;
    }
    /* Who has most is likely to have it. */
    qsort(s->of + 1, s->n - 1, sizeof(struct object *), by_count_down);
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(s->of[0], &w, &e)) {
        if (!in_any_other(s, &e)) {
            take(arg, &e);
        }
    }
}

/* ---- replies and stores ---- */

static void take_into_list(void *arg, const struct set_element *e)
{
    set_list_add(arg, e);
}

static void take_nothing(void *arg, const struct set_element *e)
{
    (void)e;
    ++*(uint64_t *)arg;
}

static void take_into_set(void *arg, const struct set_element *e)
{
    set_add_element(arg, e);
}

static void unite(const struct sources *s, struct object *set)
{
    for (size_t i = 0; i < s->n; i++) {
        struct set_walk w = {0};
        struct set_element e;
        while (s->of[i] != NULL && set_next(s->of[i], &w, &e)) {
            set_add_element(set, &e);
        }
    }
}

/* argv[1] becomes the set, or goes. Takes it. */
static void store(struct call *c, struct object *set, const char *event)
{
    struct probe p = call_probe(c, 1);
    size_t n = set_count(set);
    if (n > 0) {
        store_object(c, &p, set);
        notify(&c->db, NOTIFY_SET, event, c->argv[1]);
    } else {
        object_free(&set);
        store_nothing(c, &p, c->argv[1]);
    }
    resp_int(&c->w, (int64_t)n);
}

static void reply_and_forget(struct call *c, struct set_list *l)
{
    resp_set(&c->w, l->n);
    reply_list(c, l);
    set_list_fini(l);
}

void cmd_smembers(struct call *c)
{
    struct sources s;
    if (!find_sources(c, 1, 1, &s)) {
        return;
    }
    resp_set(&c->w, s.of[0] == NULL ? 0 : set_count(s.of[0]));
    struct set_walk w = {0};
    struct set_element e;
    while (s.of[0] != NULL && set_next(s.of[0], &w, &e)) {
        reply_element(c, &e);
    }
}

void cmd_sinter(struct call *c)
{
    struct sources s;
    struct set_list l = {0};
    if (find_sources(c, 1, c->argc - 1, &s)) {
        intersect(&s, 0, take_into_list, &l);
        reply_and_forget(c, &l);
        sources_fini(&s);
    }
}

void cmd_sinterstore(struct call *c)
{
    struct sources s;
    if (find_sources(c, 2, c->argc - 2, &s)) {
        struct object *set = set_new(c->argv[1]);
        intersect(&s, 0, take_into_set, set);
        store(c, set, "sinterstore");
        sources_fini(&s);
    }
}

void cmd_sintercard(struct call *c)
{
    size_t n;
    int64_t limit = 0;
    if (!arg_numkeys(c, 1, &n, "ERR Number of keys can't be greater than number of args")) {
        return;
    }
    for (size_t i = 2 + n; i < c->argc; i += 2) {
        if (!arg_is(c, i, "LIMIT") || i + 1 == c->argc) {
            arg_syntax_error(c);
            return;
        }
        if (!arg_range(c, i + 1, 0, INT64_MAX, &limit, "ERR LIMIT can't be negative")) {
            return;
        }
    }
    struct sources s;
    uint64_t found = 0;
    if (find_sources(c, 2, n, &s)) {
        intersect(&s, (uint64_t)limit, take_nothing, &found);
        resp_int(&c->w, (int64_t)found);
        sources_fini(&s);
    }
}

void cmd_sunion(struct call *c)
{
    struct sources s;
    if (!find_sources(c, 1, c->argc - 1, &s)) {
        return;
    }
    struct object *set = set_new(SLICE(""));
    unite(&s, set);
    resp_set(&c->w, set_count(set));
    struct set_walk w = {0};
    struct set_element e;
    while (set_next(set, &w, &e)) {
        reply_element(c, &e);
    }
    object_free(&set);
    sources_fini(&s);
}

void cmd_sunionstore(struct call *c)
{
    struct sources s;
    if (find_sources(c, 2, c->argc - 2, &s)) {
        struct object *set = set_new(c->argv[1]);
        unite(&s, set);
        store(c, set, "sunionstore");
        sources_fini(&s);
    }
}

void cmd_sdiff(struct call *c)
{
    struct sources s;
    struct set_list l = {0};
    if (find_sources(c, 1, c->argc - 1, &s)) {
        subtract(&s, take_into_list, &l);
        reply_and_forget(c, &l);
        sources_fini(&s);
    }
}

void cmd_sdiffstore(struct call *c)
{
    struct sources s;
    if (find_sources(c, 2, c->argc - 2, &s)) {
        struct object *set = set_new(c->argv[1]);
        subtract(&s, take_into_set, set);
        store(c, set, "sdiffstore");
        sources_fini(&s);
    }
}
