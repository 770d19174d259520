// SPDX-License-Identifier: BSD-3-Clause
/* What came for a shard that is copied to this node, and is not taken yet: a turn takes a bounded
 * part, and what follows a portrait waits until that is whole.
 *
 * INVARIANT  what is taken is taken in the order in which it came, a portrait's value at the place
 *            of its COPY_PORTRAIT.
 * Why        everything that has an order goes through `items`, from the front. A COPY_PORTRAIT
 * that is taken leaves a mark at the front, which nothing passes; it goes when all parts are there,
 * and the value is put in its place with it. Parts have no order among the rest: they show what was
 * at that place (types/portrait.h), whenever they come. So the copy is always what it was at some
 * place of the stream, as if each portrait had come as one message; what is not taken was, for the
 * primary, never received: it is neither acknowledged nor counted. A role that ends clears the
 * inbox. */
#include "node/repl/repl_priv.h"

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"

enum { MESSAGE_COST = 256, SLICE_COST = 2 * 1024 }; /* beside their bytes */

struct item {
    struct list link;
    enum repl_kind kind;
    bool mark;       /* of a portrait that was taken: `number` */
    bool counted;    /* COPY_KEYS: the primary was told */
    uint64_t number; /* of a portrait */
    bool last;       /* of its parts */
    uint64_t copy;
    uint64_t join;
    int64_t age_us;
    struct repl_counted counts;
    struct repl_copy_end end;
    size_t len;
    char bytes[];
};

struct sitting {
    uint64_t number;
    bool whole;
};

struct inbox {
    struct list items;
    struct list parts;
    size_t bytes;             /* of both */
    struct sitting *sittings; /* portraits that were taken and have their mark */
    size_t n_sittings;
    size_t cap_sittings;
    size_t n_portraits; /* these, and COPY_PORTRAITs among the items */
};

/* -- keeping ---------------------------------------------------------------------------------- */

bool inbox_orders(enum repl_kind kind)
{
    return kind == REPL_ENTRIES || kind == REPL_COUNTED || kind == REPL_WINDOW ||
           kind == REPL_COPY_KEYS || kind == REPL_COPY_PORTRAIT || kind == REPL_COPY_PART ||
           kind == REPL_COPY_END;
}

static struct slice bytes_of(const struct repl_message *m)
{
    switch ((int)m->kind) {
    case REPL_ENTRIES:
        return m->entries.bytes;
    case REPL_WINDOW:
        return m->window.bytes;
    case REPL_COPY_KEYS:
        return m->copy_keys.keys;
    case REPL_COPY_PORTRAIT:
        return m->copy_portrait.head;
    case REPL_COPY_PART:
        return m->copy_part.bytes;
    default:
        return (struct slice){.ptr = ""};
    }
}

static struct item *item_of(const struct repl_message *m)
{
    struct slice bytes = bytes_of(m);
    struct item *it = mem_alloc(sizeof(*it) + bytes.len);
    *it = (struct item){.kind = m->kind, .len = bytes.len};
    if (bytes.len > 0) {
        memcpy(it->bytes, bytes.ptr, bytes.len);
    }
    switch ((int)m->kind) {
    case REPL_COUNTED:
        it->counts = m->counted;
        break;
    case REPL_WINDOW:
        it->join = m->window.join;
        it->age_us = m->window.age_us;
        break;
    case REPL_COPY_KEYS:
        it->copy = m->copy_keys.copy;
        break;
    case REPL_COPY_PORTRAIT:
        it->copy = m->copy_portrait.copy;
        it->number = m->copy_portrait.number;
        break;
    case REPL_COPY_PART:
        it->copy = m->copy_part.copy;
        it->number = m->copy_part.number;
        it->last = m->copy_part.last != 0;
        break;
    case REPL_COPY_END:
        it->copy = m->copy_end.copy;
        it->end = m->copy_end;
        break;
    default:
        break;
    }
    return it;
}

static void message_of(const struct repl_shard *s, const struct item *it, struct repl_message *m)
{
    struct slice bytes = slice_of(it->bytes, it->len);
    *m = (struct repl_message){.kind = it->kind, .shard = (uint32_t)s->shard, .term = s->pterm};
    switch ((int)it->kind) {
    case REPL_ENTRIES:
        m->entries.bytes = bytes;
        break;
    case REPL_COUNTED:
        m->counted = it->counts;
        break;
    case REPL_WINDOW:
        m->window = (struct repl_window){.join = it->join, .age_us = it->age_us, .bytes = bytes};
        break;
    case REPL_COPY_KEYS:
        m->copy_keys = (struct repl_copy_keys){.copy = it->copy, .keys = bytes};
        break;
    case REPL_COPY_PORTRAIT:
        m->copy_portrait =
            (struct repl_copy_portrait){.copy = it->copy, .number = it->number, .head = bytes};
        break;
    case REPL_COPY_END:
        m->copy_end = it->end;
        break;
    default:
        break;
    }
}

static struct inbox *inbox_make(struct repl_shard *s)
{
    if (s->inbox == NULL) {
        s->inbox = mem_zalloc(sizeof(*s->inbox));
        list_init(&s->inbox->items);
        list_init(&s->inbox->parts);
    }
    return s->inbox;
}

static void free_all(struct list *l)
{
    while (!list_empty(l)) {
        struct item *it = container_of(l->next, struct item, link);
        list_remove(&it->link);
        mem_free(it);
    }
}

void inbox_clear(struct repl_shard *s)
{
    if (s->inbox != NULL) {
        free_all(&s->inbox->items);
        free_all(&s->inbox->parts);
        mem_free(s->inbox->sittings);
        mem_free(s->inbox);
        s->inbox = NULL;
    }
}

static void keep(struct repl *r, struct repl_shard *s, struct list *to, struct item *it)
{
    struct inbox *in = s->inbox;
    list_append(to, &it->link);
    in->bytes += sizeof(*it) + it->len;
    r->stats.inbox_bytes_max = MAX(r->stats.inbox_bytes_max, in->bytes);
    repl_dirty(r, s);
    if (in->bytes > INBOX_MAX && s->state == REPL_COPY) {
        log_event(LOG_WARNING, "repl",
                  "a copy breaks off: too much is written while large values come shard=%d",
                  s->shard);
        replica_break_off(r, s);
    }
}

static void unlink_item(struct inbox *in, struct item *it)
{
    list_remove(&it->link);
    in->bytes -= sizeof(*it) + it->len;
}

/* -- taking ----------------------------------------------------------------------------------- */

static struct sitting *find(const struct inbox *in, uint64_t number)
{
    for (size_t i = 0; i < in->n_sittings; i++) {
        if (in->sittings[i].number == number) {
            return &in->sittings[i];
        }
    }
    return NULL;
}

void inbox_wait(struct repl *r, struct repl_shard *s, uint64_t number)
{
    struct inbox *in = inbox_make(s);
    if (in->n_sittings == in->cap_sittings) {
        in->cap_sittings = MAX(in->cap_sittings * 2, (size_t)4);
        in->sittings = mem_realloc(in->sittings, in->cap_sittings * sizeof(in->sittings[0]));
    }
    in->sittings[in->n_sittings++] = (struct sitting){.number = number};
    in->n_portraits++;
    struct item *it = mem_alloc(sizeof(*it));
    *it = (struct item){.mark = true, .number = number};
    list_prepend(&in->items, &it->link);
    in->bytes += sizeof(*it);
    repl_dirty(r, s);
}

/* A portrait is whole: it is put in its place, and what follows it may be taken. */
static void pass_mark(struct repl *r, struct repl_shard *s, struct item *it)
{
    struct inbox *in = s->inbox;
    struct sitting *sitting = find(in, it->number);
    *sitting = in->sittings[--in->n_sittings];
    in->n_portraits--;
    replica_take_whole(r, s, it->number);
}

static void take(struct repl *r, struct repl_shard *s, const struct repl_message *m, bool counted)
{
    size_t bytes = bytes_of(m).len;
    bool keys = m->kind == REPL_COPY_KEYS;
    r->take_left -= (int64_t)bytes + (keys ? SLICE_COST : MESSAGE_COST);
    replica_take(r, s, m);
    if (keys && !counted && s->state == REPL_COPY) {
        replica_taken(r, s, bytes);
    }
}

static void take_part(struct repl *r, struct repl_shard *s, uint64_t number, bool last,
                      struct slice bytes)
{
    r->take_left -= (int64_t)bytes.len + SLICE_COST;
    find(s->inbox, number)->whole = last;
    replica_take_part(r, s, number, bytes);
    if (s->state == REPL_COPY) {
        replica_taken(r, s, bytes.len);
    }
}

/* The first that may be taken; NULL: it waits for parts of a portrait. */
static struct item *first_ready(const struct inbox *in)
{
    LIST_FOREACH_SAFE(link, &in->items) {
        struct item *it = container_of(link, struct item, link);
        if (!it->mark || find(in, it->number)->whole) {
            return it;
        }
        if (!PLANTED(PORTRAIT_NO_HOLD)) {
            return NULL;
        }
    }
    return NULL;
}

static struct item *first_part(const struct inbox *in)
{
    struct item *it =
        list_empty(&in->parts) ? NULL : container_of(in->parts.next, struct item, link);
    return it == NULL || find(in, it->number) == NULL ? NULL : it;
}

static void take_item(struct repl *r, struct repl_shard *s, struct item *it)
{
    struct inbox *in = s->inbox;
    unlink_item(in, it);
    if (it->mark) {
        pass_mark(r, s, it);
    } else if (it->kind == REPL_COPY_PART) {
        take_part(r, s, it->number, it->last, slice_of(it->bytes, it->len));
    } else {
        struct repl_message m;
        message_of(s, it, &m);
        in->n_portraits -= it->kind == REPL_COPY_PORTRAIT;
        take(r, s, &m, it->counted);
    }
    mem_free(it);
}

static struct item *next_of(const struct inbox *in)
{
    struct item *it = first_part(in);
    return it != NULL ? it : first_ready(in);
}

/* What follows the end of a copy is of those who write now. */
static bool has_time(const struct repl *r, const struct repl_shard *s)
{
    return r->take_left > 0 && (s->state != REPL_COPY || r->env.copy_time(r->env.arg));
}

bool inbox_step(struct repl *r, struct repl_shard *s)
{
    while (s->inbox != NULL && has_time(r, s)) {
        struct item *it = next_of(s->inbox);
        if (it == NULL) {
            break;
        }
        take_item(r, s, it);
        if (s->inbox != NULL && list_empty(&s->inbox->items) && list_empty(&s->inbox->parts)) {
            inbox_clear(s);
        }
    }
    bool more = s->inbox != NULL && next_of(s->inbox) != NULL;
    if (more) {
        repl_dirty(r, s);
    }
    return more;
}

static bool is_of_copy(const struct repl_shard *s, const struct repl_message *m)
{
    switch ((int)m->kind) {
    case REPL_COPY_KEYS:
        return m->copy_keys.copy == s->copy;
    case REPL_COPY_PORTRAIT:
        return m->copy_portrait.copy == s->copy;
    case REPL_COPY_PART:
        return m->copy_part.copy == s->copy;
    case REPL_COPY_END:
        return m->copy_end.copy == s->copy;
    default:
        return true;
    }
}

static bool is_known_portrait(const struct inbox *in, uint64_t number)
{
    if (in == NULL || find(in, number) != NULL) {
        return in != NULL;
    }
    LIST_FOREACH_SAFE(link, &in->items) {
        const struct item *it = container_of(link, struct item, link);
        if (it->kind == REPL_COPY_PORTRAIT && !it->mark && it->number == number) {
            return true;
        }
    }
    return false;
}

static void part_came(struct repl *r, struct repl_shard *s, const struct repl_copy_part *p)
{
    if (!is_known_portrait(s->inbox, p->number)) {
        replica_break_off(r, s);
        return;
    }
    const struct sitting *sitting = find(s->inbox, p->number);
    if (sitting != NULL && sitting->whole) {
        replica_break_off(r, s);
    } else if (sitting != NULL && list_empty(&s->inbox->parts) && has_time(r, s)) {
        take_part(r, s, p->number, p->last != 0, p->bytes);
        repl_dirty(r, s);
    } else {
        struct repl_message m = {.kind = REPL_COPY_PART, .copy_part = *p};
        keep(r, s, &s->inbox->parts, item_of(&m));
    }
}

void inbox_message(struct repl *r, struct repl_shard *s, const struct repl_message *m)
{
    if (!is_of_copy(s, m)) {
        r->stats.dropped++; /* of one that we broke off */
        return;
    }
    if (m->kind == REPL_COPY_PART) {
        part_came(r, s, &m->copy_part);
        return;
    }
    bool way_is_free = s->inbox == NULL ||
                       (list_empty(&s->inbox->items) && list_empty(&s->inbox->parts)) ||
                       (PLANTED(PORTRAIT_NO_HOLD) && first_ready(s->inbox) == NULL);
    if (way_is_free && has_time(r, s)) {
        take(r, s, m, false);
        return;
    }
    struct inbox *in = inbox_make(s);
    struct item *it = item_of(m);
    if (m->kind == REPL_COPY_KEYS && in->n_portraits > 0) {
        /* It may have to wait for parts, which the primary sends only when this was taken. */
        it->counted = true;
        replica_taken(r, s, it->len);
    }
    in->n_portraits += m->kind == REPL_COPY_PORTRAIT;
    keep(r, s, &in->items, it);
}
