// SPDX-License-Identifier: BSD-3-Clause
#include "tests/support/linear.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/obj.h"

#include <stdlib.h>
#include <string.h>

/* --- values: polynomials modulo the prime 2^61 - 1, so that joining is arithmetic --- */

#define PRIME ((1ull << 61) - 1)
#define BASE  0x0b1f3a95c7d2e481ull

static uint64_t times(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;
    uint64_t r = (uint64_t)(p & PRIME) + (uint64_t)(p >> 61);
    return r >= PRIME ? r - PRIME : r;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t r = a + b;
    return r >= PRIME ? r - PRIME : r;
}

struct linear_value linear_nil(void)
{
    return (struct linear_value){.nil = true};
}

struct linear_value linear_bytes(const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    uint64_t h = 0;
    for (size_t i = 0; i < len; i++) {
        h = plus(times(h, BASE), p[i] + 1u);
    }
    return (struct linear_value){.hash = h, .len = (uint32_t)len};
}

struct linear_value linear_join(struct linear_value head, struct linear_value tail)
{
    if (head.nil || tail.nil) {
        return head.nil ? tail : head;
    }
    uint64_t shift = 1;
    uint64_t square = BASE;
    for (uint32_t n = tail.len; n != 0; n >>= 1) {
        shift = (n & 1) ? times(shift, square) : shift;
        square = times(square, square);
    }
    return (struct linear_value){.hash = plus(times(head.hash, shift), tail.hash),
                                 .len = head.len + tail.len};
}

struct linear_value linear_number(int64_t n)
{
    char text[32];
    size_t len = num_print_i64(text, n);
    return linear_bytes(text, len);
}

static bool same(struct linear_value a, struct linear_value b)
{
    return a.nil == b.nil && a.hash == b.hash && a.len == b.len;
}

const char *linear_kind_name(enum linear_kind k)
{
    static const char *const names[] = {"GET", "SET", "SETNX", "DEL", "APPEND", "INCR"};
    return names[k];
}

/* --- the search --- */

#define NOBODY UINT32_MAX

struct state {
    struct linear_value value;
    int64_t number; /* of a counter */
};

struct item { /* an operation in the order of calls */
    const struct linear_op *op;
    uint32_t prev; /* among what is left of its kind (known or unknown) */
    uint32_t next;
    uint32_t value_id; /* GET, SET, SETNX: interned value; else NOBODY */
    uint64_t mark[2];  /* random: the set of what was taken is the sum of marks */
};

struct frame {
    struct state before;
    uint32_t taken; /* the item that this step took; NOBODY: none yet */
    size_t first;   /* of its choices in `choices`, as a stack */
    size_t next;
    size_t end;
};

struct search {
    struct item *items; /* n of them, and two list heads: known, unknown */
    uint32_t n;
    uint32_t known;   /* head */
    uint32_t unknown; /* head */
    size_t known_left;
    uint32_t *wanted; /* by value id: known GETs of it that are left */
    size_t wants_nil; /* operations left that need the key to be absent; known ones: to be there */
    size_t wants_key;
    bool appended;
    uint64_t *order; /* hashes of longest's beginnings; NULL: not known */
    size_t order_len;
    struct frame *frames;
    size_t depth;
    uint32_t *choices;
    size_t n_choices;
    size_t cap_choices;
    uint64_t (*seen)[2]; /* open hash set */
    size_t n_seen;
    size_t cap_seen;
    uint64_t sum[2];
    struct state now;
    uint64_t steps;
    size_t deepest;
    uint32_t stuck;
};

static uint64_t mix(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    uint64_t z = *s;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* False: it was there already. */
static bool remember(struct search *s, uint64_t a, uint64_t b)
{
    if (s->n_seen * 2 >= s->cap_seen) {
        size_t cap = s->cap_seen == 0 ? 1024 : s->cap_seen * 2;
        uint64_t(*grown)[2] = mem_zalloc(cap * sizeof(*grown));
        for (size_t i = 0; i < s->cap_seen; i++) {
            if ((s->seen[i][0] | s->seen[i][1]) != 0) {
                size_t at = s->seen[i][0] & (cap - 1);
                while ((grown[at][0] | grown[at][1]) != 0) {
                    at = (at + 1) & (cap - 1);
                }
                memcpy(grown[at], s->seen[i], sizeof(grown[at]));
            }
        }
        mem_free(s->seen);
        s->seen = grown;
        s->cap_seen = cap;
    }
    b |= 1; /* never 0, 0 */
    size_t at = a & (s->cap_seen - 1);
    while ((s->seen[at][0] | s->seen[at][1]) != 0) {
        if (s->seen[at][0] == a && s->seen[at][1] == b) {
            return false;
        }
        at = (at + 1) & (s->cap_seen - 1);
    }
    s->seen[at][0] = a;
    s->seen[at][1] = b;
    s->n_seen++;
    return true;
}

static bool is_known(const struct linear_op *op)
{
    return op->ret != LINEAR_NEVER;
}

/* What the operation makes of the state; false if its known result does not fit. */
static bool apply(const struct linear_op *op, const struct state *in, struct state *out)
{
    bool known = is_known(op);
    *out = *in;
    switch (op->kind) {
    case LINEAR_GET:
        return !known || same(op->value, in->value);
    case LINEAR_SET:
        out->value = op->value;
        return true;
    case LINEAR_SETNX:
        out->value = in->value.nil ? op->value : in->value;
        return !known || op->number == (in->value.nil ? 1 : 0);
    case LINEAR_DEL:
        *out = (struct state){.value = linear_nil()};
        return !known || op->number == (in->value.nil ? 0 : 1);
    case LINEAR_APPEND:
        out->value = linear_join(in->value, op->value);
        return !known || op->number == (int64_t)out->value.len;
    case LINEAR_INCR:
        out->number = in->number + 1;
        if (known && op->number != out->number) {
            return false;
        }
        out->value = linear_number(out->number);
        return true;
    default:
        return false;
    }
}

static bool needs_nil(const struct linear_op *op)
{
    if (!is_known(op)) { /* what another one then needs */
        return op->kind == LINEAR_SETNX || op->kind == LINEAR_APPEND || op->kind == LINEAR_INCR;
    }
    return (op->kind == LINEAR_GET && op->value.nil) ||
           (op->kind == LINEAR_SETNX && op->number == 1) ||
           (op->kind == LINEAR_DEL && op->number == 0) ||
           (op->kind == LINEAR_APPEND && op->number == (int64_t)op->value.len) ||
           (op->kind == LINEAR_INCR && op->number == 1);
}

static bool needs_key(const struct linear_op *op)
{
    return (op->kind == LINEAR_SETNX && op->number == 0) ||
           (op->kind == LINEAR_DEL && op->number == 1);
}

static void count_wants(struct search *s, const struct item *it, bool add)
{
    const struct linear_op *op = it->op;
    size_t one = add ? 1 : (size_t)-1;
    s->wants_nil += needs_nil(op) ? one : 0;
    if (!is_known(op)) {
        return;
    }
    s->known_left += one;
    s->wants_key += needs_key(op) ? one : 0;
    if (op->kind == LINEAR_GET && it->value_id != NOBODY) {
        s->wanted[it->value_id] += add ? 1 : (uint32_t)-1;
    }
}

static void take(struct search *s, uint32_t i)
{
    struct item *it = &s->items[i];
    s->items[it->prev].next = it->next;
    s->items[it->next].prev = it->prev;
    s->sum[0] += it->mark[0];
    s->sum[1] += it->mark[1];
    count_wants(s, it, false);
}

static void put_back(struct search *s, uint32_t i)
{
    struct item *it = &s->items[i];
    s->items[it->prev].next = i;
    s->items[it->next].prev = i;
    s->sum[0] -= it->mark[0];
    s->sum[1] -= it->mark[1];
    count_wants(s, it, true);
}

/* A value of a key that is only appended to must begin the longest one, or go on behind it. */
static bool in_order(const struct search *s, const struct state *st)
{
    return s->order == NULL || st->value.nil || st->value.len > s->order_len ||
           s->order[st->value.len] == st->value.hash;
}

static void choose(struct search *s, uint32_t i)
{
    if (s->n_choices == s->cap_choices) {
        s->cap_choices = s->cap_choices == 0 ? 1024 : s->cap_choices * 2;
        s->choices = mem_realloc(s->choices, s->cap_choices * sizeof(*s->choices));
    }
    s->choices[s->n_choices++] = i;
}

/* May taking this one, whose outcome nobody knows, help what is left? */
static bool is_useful(const struct search *s, const struct item *it, bool *tried)
{
    const struct linear_op *op = it->op;
    bool nil = s->now.value.nil;
    switch (op->kind) {
    case LINEAR_GET:
        return false;
    case LINEAR_INCR:
    case LINEAR_DEL: {
        bool first = !tried[op->kind];
        tried[op->kind] = true;
        return first && (op->kind == LINEAR_INCR || (!nil && s->wants_nil != 0));
    }
    case LINEAR_SETNX:
        if (!nil) {
            return false;
        }
        __attribute__((fallthrough));
    case LINEAR_SET:
        if (s->appended || s->wanted[it->value_id] != 0) {
            return true;
        }
        if (nil && s->wants_key != 0 && !tried[LINEAR_SET]) {
            tried[LINEAR_SET] = true;
            return true;
        }
        return false;
    case LINEAR_APPEND:
        return true;
    default:
        return false;
    }
}

/* By the time of their return: what returns first had to happen first. */
static void sort_choices(struct search *s, size_t from)
{
    for (size_t i = from + 1; i < s->n_choices; i++) {
        uint32_t c = s->choices[i];
        size_t j = i;
        for (; j > from && s->items[s->choices[j - 1]].op->ret > s->items[c].op->ret; j--) {
            s->choices[j] = s->choices[j - 1];
        }
        s->choices[j] = c;
    }
}

/* The choices of a new frame: on the stack of choices. What begins later returns later still, so
 * that a nearer horizon found further on takes nothing back. */
static void find_choices(struct search *s, struct frame *f)
{
    f->first = f->next = s->n_choices;
    int64_t horizon = LINEAR_NEVER;
    uint32_t urgent = NOBODY;
    for (uint32_t i = s->items[s->known].next; i != s->known; i = s->items[i].next) {
        const struct linear_op *op = s->items[i].op;
        if (op->call > horizon) {
            break;
        }
        if (op->ret < horizon) {
            horizon = op->ret;
            urgent = i;
        }
        struct state after;
        if (!apply(op, &s->now, &after)) {
            continue;
        }
        if (same(after.value, s->now.value) && after.number == s->now.number) {
            s->n_choices = f->first; /* nothing can be lost by taking it now */
            choose(s, i);
            f->end = s->n_choices;
            return;
        }
        if (in_order(s, &after)) {
            choose(s, i);
        }
    }
    sort_choices(s, f->first);
    bool tried[LINEAR_INCR + 1] = {false};
    for (uint32_t i = s->items[s->unknown].next; i != s->unknown; i = s->items[i].next) {
        struct state after;
        if (s->items[i].op->call > horizon) {
            break;
        }
        if (apply(s->items[i].op, &s->now, &after) && in_order(s, &after) &&
            is_useful(s, &s->items[i], tried)) {
            choose(s, i);
        }
    }
    f->end = s->n_choices;
    if (s->depth >= s->deepest && urgent != NOBODY) {
        s->deepest = s->depth;
        s->stuck = urgent;
    }
}

static void push_frame(struct search *s)
{
    struct frame *f = &s->frames[s->depth];
    *f = (struct frame){.before = s->now, .taken = NOBODY};
    find_choices(s, f);
    s->depth++;
}

static enum linear_verdict run(struct search *s, uint64_t budget)
{
    push_frame(s);
    while (s->known_left != 0) {
        struct frame *f = &s->frames[s->depth - 1];
        if (f->taken != NOBODY) {
            put_back(s, f->taken);
            f->taken = NOBODY;
            s->now = f->before;
        }
        if (f->next == f->end) {
            s->n_choices = f->first;
            if (--s->depth == 0) {
                return LINEAR_BROKEN;
            }
            continue;
        }
        if (++s->steps > budget) {
            return LINEAR_UNDECIDED;
        }
        uint32_t i = s->choices[f->next++];
        struct state after;
        INVARIANT(apply(s->items[i].op, &s->now, &after));
        take(s, i);
        f->taken = i;
        s->now = after;
        uint64_t where = after.value.hash * 3 + (uint64_t)after.number * 5 + after.value.nil;
        if (s->known_left != 0 &&
            (f->end - f->first == 1 || remember(s, s->sum[0] ^ where, s->sum[1] + where))) {
            push_frame(s);
        }
    }
    return LINEAR_OK;
}

/* --- setting up --- */

static int by_call(const void *a, const void *b)
{
    const struct item *x = a;
    const struct item *y = b;
    if (x->op->call != y->op->call) {
        return x->op->call < y->op->call ? -1 : 1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static int by_value(const void *a, const void *b)
{
    const struct item *x = *(const struct item *const *)a;
    const struct item *y = *(const struct item *const *)b;
    if (x->op->value.hash != y->op->value.hash) {
        return x->op->value.hash < y->op->value.hash ? -1 : 1;
    }
    return x->op->value.len < y->op->value.len ? -1 : x->op->value.len > y->op->value.len;
}

static void number_values(struct search *s)
{
    struct item **sorted = mem_alloc((s->n + 1) * sizeof(*sorted));
    size_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        enum linear_kind k = s->items[i].op->kind;
        bool valued = k == LINEAR_SET || k == LINEAR_SETNX ||
                      (k == LINEAR_GET && is_known(s->items[i].op) && !s->items[i].op->value.nil);
        if (valued) {
            sorted[n++] = &s->items[i];
        }
    }
    qsort(sorted, n, sizeof(*sorted), by_value);
    uint32_t id = 0;
    for (size_t i = 0; i < n; i++) {
        id += i > 0 && by_value(&sorted[i - 1], &sorted[i]) != 0;
        sorted[i]->value_id = id;
    }
    s->wanted = mem_zalloc((size_t)(id + 1) * sizeof(*s->wanted));
    mem_free(sorted);
}

static void link_items(struct search *s)
{
    s->known = s->n;
    s->unknown = s->n + 1;
    s->items[s->known].next = s->items[s->known].prev = s->known;
    s->items[s->unknown].next = s->items[s->unknown].prev = s->unknown;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t head = is_known(s->items[i].op) ? s->known : s->unknown;
        struct item *it = &s->items[i];
        it->next = head;
        it->prev = s->items[head].prev;
        s->items[it->prev].next = i;
        s->items[head].prev = i;
        s->appended |= it->op->kind == LINEAR_APPEND;
        count_wants(s, it, true);
    }
}

static void learn_order(struct search *s, const char *longest, size_t len)
{
    for (uint32_t i = 0; i < s->n; i++) {
        enum linear_kind k = s->items[i].op->kind;
        if (k != LINEAR_APPEND && k != LINEAR_GET) {
            return;
        }
    }
    if (len == 0) {
        return;
    }
    s->order = mem_alloc((len + 1) * sizeof(*s->order));
    s->order_len = len;
    s->order[0] = 0;
    for (size_t i = 0; i < len; i++) {
        s->order[i + 1] = plus(times(s->order[i], BASE), (unsigned char)longest[i] + 1u);
    }
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t n, const char *longest,
                                 size_t longest_len, uint64_t budget, struct linear_report *report)
{
    struct search s = {.n = (uint32_t)n, .now = {.value = linear_nil()}, .stuck = NOBODY};
    s.items = mem_zalloc((n + 2) * sizeof(*s.items));
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        s.items[i] = (struct item){.op = &ops[i], .value_id = NOBODY};
        s.items[i].mark[0] = mix(&seed);
        s.items[i].mark[1] = mix(&seed);
    }
    qsort(s.items, n, sizeof(*s.items), by_call);
    number_values(&s);
    link_items(&s);
    learn_order(&s, longest, longest_len);
    s.frames = mem_alloc((n + 1) * sizeof(*s.frames));
    enum linear_verdict v = run(&s, budget);
    report->steps = s.steps;
    report->stuck = s.stuck == NOBODY ? 0 : (size_t)(s.items[s.stuck].op - ops);
    mem_free(s.items);
    mem_free(s.wanted);
    mem_free(s.order);
    mem_free(s.frames);
    mem_free(s.choices);
    mem_free(s.seen);
    return v;
}
