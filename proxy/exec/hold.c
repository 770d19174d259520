// SPDX-License-Identifier: BSD-3-Clause
/* Calls that cannot go now: nobody serves their shard, or another try is due. They wait within
 * limits of number, bytes and time; each client's in the order in which it sent them, and none goes
 * before the ones ahead of it. */
#include "proxy/exec/exec_priv.h"

#include <stdio.h>

#define ERR_TIMED_OUT "CLUSTERDOWN The node of this hash slot did not answer in time"

static size_t cost_of(const struct call *c)
{
    return sizeof(struct request) + c->len;
}

static int64_t deadline_of(const struct exec *x, const struct call *c)
{
    int64_t last = c->request->start_us + x->settings.request_timeout_us;
    if (c->shard >= 0 && x->routes[c->shard].primary == NULL) {
        return MIN(last, x->routes[c->shard].lost_us + x->settings.failover_hold_us);
    }
    if (c->target != NULL && c->target->down_since_us != 0) {
        return MIN(last, c->target->down_since_us + x->settings.failover_hold_us);
    }
    return last;
}

static void hold_error(struct exec *x, struct call *c)
{
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
    call_error(x, c, ERR_CLUSTERDOWN);
}

static void unhold(struct exec *x, const struct call *c)
{
    x->n_held--;
    x->held_bytes -= cost_of(c);
    c->request->session->held--;
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

/* Its own copy, unless it lies in a chunk of about its size: for seconds, a few bytes must not keep
 * a large chunk alive. */
static void own_bytes(struct call *c)
{
    if (c->chunk->cap / 2 <= c->len) {
        return;
    }
    struct chunk *own = chunk_new(c->len);
    memcpy(own->data, c->bytes, c->len);
    own->len = c->len;
    chunk_unref(&c->chunk);
    c->chunk = own;
    c->bytes = own->data;
}

void call_hold(struct exec *x, struct call *c, int64_t due_us)
{
    struct session *s = c->request->session;
    c->lane = NULL;
    c->due_us = due_us;
    c->again = true;
    if (s == NULL) {
        call_error(x, c, ERR_CLUSTERDOWN); /* nobody waits for it */
        return;
    }
    bool unassigned = x->map == NULL || !x->map->assigned;
    if (unassigned || x->now_us >= deadline_of(x, c)) {
        hold_error(x, c);
        return;
    }
    if (x->n_held >= (uint64_t)x->settings.hold_max_requests ||
        x->held_bytes + cost_of(c) > (uint64_t)x->settings.hold_max_bytes) {
        x->counters.hold_refused++;
        call_error(x, c, ERR_CLUSTERDOWN);
        return;
    }
    own_bytes(c);
    x->counters.held++;
    x->n_held++;
    x->held_bytes += cost_of(c);
    s->held++;
    queue_held(x, s, c);
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

struct target *pick_reader(struct exec *x, int shard)
{
    const struct shard_route *route = &x->routes[shard];
    if (LIKELY(route->n_readers <= 1) || x->settings.read_from == READ_PRIMARY) {
        return route->primary;
    }
    struct balance_choice choices[MEMBERS_MAX];
    struct target *targets[MEMBERS_MAX];
    int n = 0;
    for (int i = 0; i < route->n_readers; i++) {
        struct target *t = route->readers[i];
        if (t->down_since_us == 0 || x->now_us >= t->retry_at_us) {
            targets[n] = t;
            choices[n++] = (struct balance_choice){.in_flight = t->in_flight,
                                                   .latency_us = t->latency_us,
                                                   .load_percent = t->load_percent,
                                                   .weight = t->weight};
        }
    }
    if (n == 0) {
        return route->primary;
    }
    return targets[balance_pick((enum read_from)x->settings.read_from, choices, n, &x->rng,
                                &x->turn)];
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
    struct lane *l = lane_of(x, t, kind, c->request->proto);
    c->target = t;
    if (must_wait_behind(x, c, l)) {
        call_hold(x, c, x->now_us + 1000);
    } else if (lane_ready(x, l)) {
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
    switch (c->shard) {
    case CALL_MULTI:
        gather_replan(x, c);
        return;
    case CALL_NODE:
        t = c->target;
        if (t->node == NODE_NONE || !t->alive) {
            call_error(x, c, ERR_CLUSTERDOWN);
            return;
        }
        break;
    case CALL_ANY:
        t = x->any;
        break;
    default:
        if (!c->write && s->writes_open == 0 && s->mixes == 0) {
            kind = LANE_READ;
            t = pick_reader(x, c->shard);
        } else {
            t = x->routes[c->shard].primary;
        }
    }
    if (t == NULL) {
        call_hold(x, c, 0);
        return;
    }
    call_send_to(x, c, t, kind);
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
        if (shards_touch(c->shard, by->shard) && (c->write || by->write)) {
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

void call_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr, size_t len)
{
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
    return map_changed || (c->due_us != 0 && x->now_us >= c->due_us);
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
    route->sent_lane =
        route->sent_walk == x->hold_walk && route->sent_lane != c->lane ? NULL : c->lane;
    route->sent_walk = x->hold_walk;
}

/* Notes what is under way of the requests before `end`, from *at on. */
static void look_behind(struct exec *x, const struct request **at, const struct request *end)
{
    for (; *at != end; *at = (*at)->next) {
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
        } else if (blocked || would_fall_behind(x, &ahead, c)) {
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
        call_error(x, c, ERR_CLUSTERDOWN);
        c = next;
    }
}
