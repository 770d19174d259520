// SPDX-License-Identifier: BSD-3-Clause
/* Calls that cannot go now: nobody serves their shard, or another try is due. They wait within
 * limits of number, bytes and time; each client's in the order in which it sent them, and none goes
 * before the ones ahead of it. */
#include "proxy/exec/exec_priv.h"
#include "proxy/route/router.h"

#include "common/cmd/slot.h"

#include <stdio.h>

#define ERR_TIMED_OUT "CLUSTERDOWN The node of this hash slot did not answer in time"

static size_t cost_of(const struct call *c)
{
    return sizeof(struct request) + c->len;
}

static int64_t deadline_of(const struct exec *x, const struct call *c)
{
    if (c->fate != NULL) {
        return fate_deadline(x, c->fate);
    }
    int64_t from = c->granted ? c->sent_us : c->request->start_us;
    int64_t last = from + x->settings.request_timeout_us + patience_since(&x->patience, from);
    if (UNLIKELY(c->request->wait != NULL)) {
        last = MIN(last, wait_until(c->request));
    }
    int64_t lost = c->shard >= 0 ? route_lost_us(x, c->shard) : 0;
    if (lost == 0 && c->target != NULL) {
        lost = c->target->down_since_us;
    }
    if (lost != 0) {
        lost = c->granted ? MAX(lost, from) : lost;
        last = MIN(last, lost + x->settings.failover_hold_us + patience_since(&x->patience, lost));
    }
    return last;
}

static void hold_error(struct exec *x, struct call *c)
{
    if (c->fate != NULL) {
        fate_forget(c);
        fate_unknown(x, c);
        return;
    }
    if (c->request->wait != NULL && x->now_us >= wait_until(c->request)) {
        wait_timed_out(x, c);
        return;
    }
    if (x->now_us >= c->request->start_us + x->settings.request_timeout_us) {
        x->counters.timeouts++;
        call_error(x, c, ERR_TIMED_OUT);
        return;
    }
    x->counters.clusterdown++;
    if (x->map == NULL || !x->map->assigned) {
        char text[200];
        snprintf(text, sizeof(text), "CLUSTERDOWN The cluster is down: %s",
                 x->map == NULL ? "no map yet" : x->map->why);
        call_error(x, c, text);
        return;
    }
    const struct target *t = c->shard >= 0 ? x->routes[c->shard].chosen : NULL;
    call_error(x, c, t == NULL || t->refusal[0] == '\0' ? ERR_CLUSTERDOWN : t->refusal);
}

static void unhold(struct exec *x, const struct call *c)
{
    x->n_held--;
    x->held_bytes -= cost_of(c);
    c->request->session->held--;
}

void hold_take(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    struct call *last = NULL;
    for (struct call **at = &s->held_head; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
        last = *at;
    }
    if (s->held_tail == c) {
        s->held_tail = last;
    }
    if (s->held_head == NULL) {
        list_remove(&s->holds);
    }
    unhold(x, c);
    fate_forget(c);
}

/* Into its client's queue, which is in request order; nearly always at its end. */
static void queue_held(struct exec *x, struct session *s, struct call *c)
{
    struct call **at = &s->held_head;
    if (s->held_tail != NULL && s->held_tail->request->number <= c->request->number) {
        at = &s->held_tail->next;
    }
    while (*at != NULL && (*at)->request->number <= c->request->number) {
        at = &(*at)->next;
    }
    c->next = *at;
    *at = c;
    if (c->next == NULL) {
        s->held_tail = c;
    }
    if (list_empty(&s->holds)) {
        list_append(&x->holders, &s->holds);
    }
}

void call_own_bytes(struct call *c)
{
    c->own_bytes = true;
    if (c->chunk == NULL || c->chunk->cap / 2 <= c->len) {
        return;
    }
    struct chunk *own = chunk_new(c->len);
    memcpy(own->data, c->bytes, c->len);
    own->len = c->len;
    chunk_unref(&c->chunk);
    c->chunk = own;
    c->bytes = own->data;
}

static bool too_many(const struct exec *x, const struct call *c)
{
    return x->n_held >= (uint64_t)x->settings.hold_max_requests ||
           x->held_bytes + cost_of(c) > (uint64_t)x->settings.hold_max_bytes;
}

static void put_held(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    call_own_bytes(c); /* for seconds, a few bytes must not keep a large chunk alive */
    x->counters.held++;
    x->n_held++;
    x->held_bytes += cost_of(c);
    s->held++;
    queue_held(x, s, c);
}

void hold_unresolved(struct exec *x, struct call *c)
{
    c->lane = NULL;
    c->due_us = 0;
    c->again = true;
    put_held(x, c);
    exec_wake(x, x->now_us + TICK_US);
}

void call_hold(struct exec *x, struct call *c, int64_t due_us)
{
    struct session *s = c->request->session;
    c->lane = NULL;
    c->due_us = due_us;
    c->again = true;
    c->probes = false;
    if (s == NULL) {
        call_error(x, c, ERR_CLUSTERDOWN); /* nobody waits for it */
        return;
    }
    bool unassigned = x->map == NULL || !x->map->assigned;
    if (unassigned || x->now_us >= deadline_of(x, c)) {
        hold_error(x, c);
        return;
    }
    if (too_many(x, c)) {
        x->counters.hold_refused++;
        call_error(x, c, ERR_CLUSTERDOWN);
        return;
    }
    put_held(x, c);
    exec_wake(x, due_us == 0 ? x->now_us + TICK_US : MIN(due_us, x->now_us + TICK_US));
}

void call_retry(struct exec *x, struct call *c, const char *error)
{
    const struct retry_policy p = {.initial_us = x->settings.retry_initial_delay_us,
                                   .max_us = x->settings.retry_max_delay_us,
                                   .backoff_percent = x->settings.retry_backoff_percent};
    if (c->request->session == NULL || c->tries >= (uint64_t)x->settings.retry_max_attempts) {
        call_error(x, c, error);
        return;
    }
    int64_t delay = retry_delay_us(&p, c->tries, &x->rng);
    c->tries++;
    x->counters.retries++;
    call_hold(x, c, x->now_us + delay);
}

void call_lost(struct exec *x, struct call *c, bool left, const char *error)
{
    if (left) {
        call_retry(x, c, error); /* a read: some node may break whenever it is asked this */
    } else if (c->request->session == NULL || x->settings.retry_max_attempts == 0) {
        call_error(x, c, error);
    } else {
        x->counters.retries++;
        call_hold(x, c, x->now_us + 1000);
    }
}

void call_refused(struct exec *x, struct call *c, const char *error)
{
    bool probe = c->probes;
    c->probes = false;
    if (c->request->session == NULL || x->settings.retry_max_attempts == 0) {
        call_error(x, c, error);
        return;
    }
    if (c->shard == CALL_MULTI) {
        gather_scatter(x, c, NULL);
        return;
    }
    if (c->shard < 0) {
        call_retry(x, c, error);
        return;
    }
    x->counters.retries++;
    struct shard_route *route = &x->routes[c->shard];
    if (reader_refused(x, c)) {
        x->counters.reader_refusals++;
        c->primary = ++c->tries > (uint32_t)route->n_readers;
        call_send(x, c);
        return;
    }
    if (c->target == route->chosen && (probe || route->primary != NULL)) {
        route_refused(x, c->shard);
    }
    /* A former primary's word may come when the shard is served elsewhere already: no news of it
     * would wake this call then. */
    call_hold(x, c, route_takes(x, c->shard) ? x->now_us : 0);
}

bool shards_touch(int a, int b)
{
    if (a == CALL_ANY || b == CALL_ANY) {
        return false;
    }
    return a == b || a < 0 || b < 0; /* several shards: which ones is not worth a look */
}

/* An earlier request of its client for this shard is under way by another lane, as it went before a
 * move or a break: it may still come back, so it must be answered first. */
static bool must_wait_behind(const struct exec *x, const struct call *c, const struct lane *l)
{
    if (!c->again || c->shard == CALL_ANY) {
        return false;
    }
    if (c->shard < 0 || x->behind_multi) {
        return x->behind_any;
    }
    const struct shard_route *route = &x->routes[c->shard];
    return route->sent_walk == x->hold_walk && route->sent_lane != l;
}

void call_send_to(struct exec *x, struct call *c, struct target *t, enum lane_kind kind)
{
    struct session *s = c->request->session;
    bool own = s != NULL && s->own != NULL;
    struct lane *l = own ? own_lane(x, s, t) : lane_of(x, t, kind, c->request->proto);
    c->target = t;
    if (must_wait_behind(x, c, l)) {
        call_hold(x, c, x->now_us + 1000);
    } else if (lane_ready(x, l)) {
        if (UNLIKELY(c->again && c->kind == CALL_PART && c->request->gather->kind == GATHER_TX)) {
            tx_aim(c, t);
        }
        lane_put(x, l, c, NULL);
    } else {
        call_hold(x, c, t->retry_at_us);
    }
}

void call_send(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    enum lane_kind kind = LANE_WRITE;
    struct target *t;
    if (s == NULL) {
        call_error(x, c, ERR_CLUSTERDOWN);
        return;
    }
    if (UNLIKELY(c->request->wait != NULL) && !wait_renew(x, c)) {
        return;
    }
    switch (c->shard) {
    case CALL_MULTI:
        gather_replan(x, c);
        return;
    case CALL_NODE:
        t = c->target;
        if (t->node == NODE_NONE || !t->alive) {
            gather_part_gone(x, c);
            return;
        }
        kind = router_urgent(c->request->command) ? LANE_URGENT : kind;
        break;
    case CALL_ANY:
        t = x->any;
        break;
    default:
        t = NULL;
        if (!c->write && !c->primary && s->writes_open == 0 && s->mixes == 0 && s->own == NULL) {
            kind = LANE_READ;
            t = must_read_own(x, s) ? NULL : pick_reader(x, c->shard);
        }
        if (t == NULL) {
            t = route_primary(x, c);
        }
    }
    if (t == NULL) {
        call_hold(x, c, 0);
        return;
    }
    call_send_to(x, c, t, kind);
}

#define ABOUT_KEYS 256

/* The keys of a call; of a transaction all that its commands name. */
struct about {
    struct slice keys[ABOUT_KEYS];
    uint32_t n;
    bool known; /* these are all */
    int shard;
};

static bool add_keys(struct about *a, const struct resp_parser *p, struct key_list *list)
{
    const struct command *command = command_find(p->argv, p->argc);
    if (command == NULL) {
        return false;
    }
    enum keys_result found = keys_find(command, p->argv, p->argc, list);
    if (found == KEYS_NONE) {
        return true; /* MULTI, EXEC, PING */
    }
    if (found == KEYS_BAD || a->n + list->count > ABOUT_KEYS) {
        return false;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        a->keys[a->n++] = p->argv[list->keys[i].index];
    }
    return true;
}

static void about_init(struct about *a, const struct call *c)
{
    struct slice rest = slice_of(c->bytes, c->len);
    struct resp_parser p;
    struct key_list list;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    key_list_init(&list);
    a->shard = c->shard;
    a->n = 0;
    a->known = c->bytes != NULL;
    while (a->known && rest.len > 0) {
        a->known = resp_parse(&p, rest) == RESP_OK && add_keys(a, &p, &list);
        if (a->known) {
            rest = slice_of(rest.ptr + p.used, rest.len - p.used);
        }
    }
    a->known = a->known && a->n > 0;
    key_list_fini(&list);
    resp_parser_fini(&p);
}

static bool has_key_in(const struct exec *x, const struct about *a, int shard)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if ((int)slot_to_shard(slot_of(a->keys[i]), x->shards) == shard) {
            return true;
        }
    }
    return false;
}

/* By their keys, or by their shards where the keys of one are not known. */
static bool share_keys(const struct exec *x, const struct about *a, const struct about *b)
{
    if (!a->known || !b->known) {
        const struct about *known = a->known ? a : b;
        const struct about *other = a->known ? b : a;
        return !known->known || other->shard < 0 || has_key_in(x, known, other->shard);
    }
    for (uint32_t i = 0; i < a->n; i++) {
        for (uint32_t j = 0; j < b->n; j++) {
            struct slice p = a->keys[i], q = b->keys[j];
            if (p.len == q.len && memcmp(p.ptr, q.ptr, p.len) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool is_split(const struct call *c)
{
    return c->kind == CALL_PART && c->request->gather->kind == GATHER_SPLIT;
}

/* Whether it would be seen which of the two of a client came first. Of writes others may see it,
 * whatever their keys are; of a read only its own client does, by what it reads; and a command that
 * was split happens in pieces anyway: only its own keys tell. */
static bool order_matters(const struct exec *x, const struct call *a, const struct call *b)
{
    if (a->shard == CALL_NODE && a->target != b->target) {
        return false; /* what a node lacks concerns no other */
    }
    if (!shards_touch(a->shard, b->shard) || (!a->write && !b->write)) {
        return false;
    }
    bool strict = a->write && b->write && !is_split(a) && !is_split(b);
    if (strict || a->db != b->db) {
        return strict;
    }
    struct about p, q;
    about_init(&p, a);
    about_init(&q, b);
    return share_keys(x, &p, &q);
}

void hold_overtaken(struct exec *x, const struct call *by)
{
    struct session *s = by->request->session;
    if (s == NULL || s->held == 0) {
        return;
    }
    exec_wake(x, x->now_us + 1000); /* one may have waited for this */
    struct call *lost = NULL;
    struct call *last = NULL;
    struct call **at = &s->held_head;
    while (*at != NULL && (*at)->request->number < by->request->number) {
        struct call *c = *at;
        if (c->fate == NULL && order_matters(x, c, by)) {
            *at = c->next;
            unhold(x, c);
            c->next = lost;
            lost = c;
        } else {
            last = c;
            at = &c->next;
        }
    }
    if (*at == NULL) {
        s->held_tail = last;
    }
    if (s->held_head == NULL) {
        list_remove(&s->holds);
    }
    while (lost != NULL) {
        struct call *next = lost->next;
        x->counters.clusterdown++;
        call_error(x, lost, ERR_OVERTAKEN);
        lost = next;
    }
}

/* A write that its client sent before is held, and should have been seen. */
static bool came_too_early(const struct exec *x, const struct call *read)
{
    const struct session *s = read->request->session;
    if (s == NULL || read->write) {
        return false;
    }
    for (const struct call *c = s->held_head;
         c != NULL && c->request->number < read->request->number; c = c->next) {
        if (c->write && order_matters(x, c, read)) {
            return true;
        }
    }
    return false;
}

void call_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr, size_t len)
{
    if (UNLIKELY(came_too_early(x, c))) {
        call_hold(x, c, x->now_us); /* it is asked again, behind that */
        return;
    }
    hold_overtaken(x, c);
    if (c->kind == CALL_ONE) {
        request_reply(x, c->request, chunk, ptr, len);
    } else {
        gather_answer(x, c, chunk, ptr, len);
    }
}

void call_error(struct exec *x, struct call *c, const char *text)
{
    if (c->kind == CALL_ONE) {
        request_error(x, c->request, text);
        return;
    }
    size_t len = strlen(text);
    char *to = tape_room(&x->park, len + 3);
    struct chunk *chunk = chunk_ref(x->park);
    to[0] = '-';
    memcpy(to + 1, text, len);
    memcpy(to + 1 + len, "\r\n", 2);
    x->park->len += len + 3;
    gather_answer(x, c, chunk, to, len + 3);
    chunk_unref(&chunk);
}

/* --- letting them go --- */

/* What a client has on lanes, by the number of the request: held ones must not pass it. */
struct ahead {
    uint64_t any;    /* the last one */
    uint64_t gather; /* the last one of several parts */
};

static bool gather_on_lanes(const struct gather *g)
{
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i]->call.lane != NULL) {
            return true;
        }
    }
    return false;
}

static struct ahead look_ahead(struct exec *x, const struct session *s)
{
    struct ahead a = {0};
    x->hold_walk++;
    x->behind_any = x->behind_multi = false;
    for (const struct request *r = s->held_head->request; r != NULL; r = r->next) {
        if (r->gather != NULL) {
            if (r->gather->open > 0 && gather_on_lanes(r->gather)) {
                a.any = a.gather = r->number;
            }
        } else if (r->call.lane != NULL) {
            a.any = r->number;
            if (r->call.shard >= 0) {
                struct shard_route *route = &x->routes[r->call.shard];
                route->ahead_walk = x->hold_walk;
                route->ahead = r->number;
            }
        }
    }
    return a;
}

/* A later request of its client for this shard is under way: this one must not come behind it. */
static bool would_fall_behind(const struct exec *x, const struct ahead *a, const struct call *c)
{
    uint64_t number = c->request->number;
    if (a->any <= number) {
        return false;
    }
    if (c->shard < 0) {
        return c->write || c->shard == CALL_MULTI;
    }
    const struct shard_route *route = &x->routes[c->shard];
    return a->gather > number || (route->ahead_walk == x->hold_walk && route->ahead > number);
}

static bool is_due(const struct exec *x, const struct call *c, bool map_changed)
{
    if (c->fate != NULL) {
        return false;
    }
    return map_changed ||
           (c->due_us != 0 ? x->now_us >= c->due_us : c->shard >= 0 && route_takes(x, c->shard));
}

/* A later write of its client may have been executed: first it must be known. */
static bool waits_for_fate(const struct exec *x, const struct call *c)
{
    for (const struct call *later = c->next; later != NULL; later = later->next) {
        if (later->fate != NULL && order_matters(x, c, later)) {
            return true;
        }
    }
    return false;
}

static void note_behind(struct exec *x, const struct call *c)
{
    if (c->lane == NULL || c->shard == CALL_ANY) {
        return;
    }
    x->behind_any = true;
    if (c->shard < 0) {
        x->behind_multi = true;
        return;
    }
    struct shard_route *route = &x->routes[c->shard];
    bool other = route->sent_walk == x->hold_walk && route->sent_lane != c->lane;
    /* One that was sent before the shard was found to be served may still be refused. */
    bool doubtful = route->primary == NULL || c->sent_us < route->opened_us;
    route->sent_lane = other || doubtful ? NULL : c->lane;
    route->sent_walk = x->hold_walk;
}

/* Notes what is under way of the requests before `end`, from *at on. */
static void look_behind(struct exec *x, const struct request **at, const struct request *end)
{
    for (; *at != end; *at = (*at)->next) {
        INVARIANT(*at != NULL);
        const struct gather *g = (*at)->gather;
        if (g == NULL) {
            note_behind(x, &(*at)->call);
        }
        for (uint32_t i = 0; g != NULL && i < g->n_parts; i++) {
            if (!g->parts[i]->done) {
                note_behind(x, &g->parts[i]->call);
            }
        }
    }
}

/* Those whose time is over end, those whose turn it is go. */
static void release_session(struct exec *x, struct session *s, bool map_changed)
{
    struct ahead ahead = look_ahead(x, s);
    struct call *c = s->held_head;
    bool inner = s->inner; /* such a one may end with its last call */
    bool blocked = false;
    const struct request *behind = s->head;
    s->held_head = s->held_tail = NULL;
    list_remove(&s->holds);
    while (c != NULL) {
        struct call *next = c->next;
        uint64_t n_ended = x->n_ended;
        look_behind(x, &behind, c->request);
        if (x->now_us >= deadline_of(x, c)) {
            unhold(x, c);
            hold_error(x, c);
        } else if (!is_due(x, c, map_changed)) {
            blocked = true;
            if (c->due_us != 0) {
                exec_wake(x, c->due_us);
            }
            queue_held(x, s, c);
        } else if (blocked || would_fall_behind(x, &ahead, c) || waits_for_fate(x, c)) {
            blocked = true;
            c->due_us = x->now_us; /* as soon as it may; the next tick looks again */
            queue_held(x, s, c);
        } else {
            unhold(x, c);
            uint64_t before = x->counters.held;
            call_send(x, c);
            blocked = x->counters.held != before; /* it is back */
        }
        c = next;
        if (c != NULL && x->n_ended != n_ended) {
            behind = s->head; /* requests have ended: the one it stood at, perhaps */
        }
    }
    if (!inner) {
        session_check_resume(x, s);
    }
}

void hold_tick(struct exec *x, bool map_changed)
{
    struct list now;
    x->release = false;
    fates_tick(x, map_changed);
    list_init(&now);
    while (!list_empty(&x->holders)) {
        struct list *it = x->holders.next;
        list_remove(it);
        list_append(&now, it);
    }
    while (!list_empty(&now)) {
        release_session(x, container_of(now.next, struct session, holds), map_changed);
    }
}

void hold_drop(struct exec *x, struct session *s)
{
    struct call *c = s->held_head;
    s->held_head = s->held_tail = NULL;
    list_remove(&s->holds);
    while (c != NULL) {
        struct call *next = c->next;
        x->n_held--;
        x->held_bytes -= cost_of(c);
        s->held--;
        fate_forget(c);
        call_error(x, c, ERR_CLUSTERDOWN);
        c = next;
    }
}
