// SPDX-License-Identifier: BSD-3-Clause
/* Calls that cannot go now: nobody serves their shard, or another try is due. They wait in order of
 * arrival, within limits of number, bytes and time. */
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

static void unhold(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    x->n_held--;
    x->held_bytes -= cost_of(c);
    if (s != NULL) {
        s->held--;
    }
}

void call_hold(struct exec *x, struct call *c, int64_t due_us)
{
    struct session *s = c->request->session;
    c->lane = NULL;
    c->due_us = due_us;
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
    x->counters.held++;
    x->n_held++;
    x->held_bytes += cost_of(c);
    s->held++;
    c->next = NULL;
    if (x->held_tail == NULL) {
        x->held_head = c;
    } else {
        x->held_tail->next = c;
    }
    x->held_tail = c;
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

/* A later request of its session for this shard is on the way: this one must not pass it. */
static bool later_under_way(const struct call *c)
{
    for (const struct request *r = c->request->next; r != NULL; r = r->next) {
        if (r->gather != NULL ? r->gather->open > 0
                              : r->call.lane != NULL && r->call.shard == c->shard) {
            return true;
        }
    }
    return false;
}

void call_send_to(struct exec *x, struct call *c, struct target *t, enum lane_kind kind)
{
    struct lane *l = lane_of(x, t, kind, c->request->proto);
    c->target = t;
    if (lane_ready(x, l)) {
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

/* Whether a stands before b in their session's queue. */
static bool precedes(const struct request *a, const struct request *b)
{
    for (const struct request *r = a; r != NULL; r = r->next) {
        if (r == b) {
            return true;
        }
    }
    return false;
}

/* Rebuilds the queue without the calls for which `leave` is false; those are handed to `then`. */
static void overtaken(struct exec *x, struct session *s, int shard, const struct request *by)
{
    struct call *c = x->held_head;
    struct call *lost = NULL;
    x->held_head = x->held_tail = NULL;
    while (c != NULL) {
        struct call *next = c->next;
        bool is = c->request->session == s && c->shard == shard && c->request != by &&
                  precedes(c->request, by);
        c->next = NULL;
        if (is) {
            c->next = lost;
            lost = c;
        } else if (x->held_tail == NULL) {
            x->held_head = x->held_tail = c;
        } else {
            x->held_tail->next = c;
            x->held_tail = c;
        }
        c = next;
    }
    while (lost != NULL) {
        struct call *next = lost->next;
        unhold(x, lost);
        x->counters.clusterdown++;
        call_error(x, lost, "TRYAGAIN not executed, and a later command of this client was");
        lost = next;
    }
}

void call_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr, size_t len)
{
    struct request *r = c->request;
    struct session *s = r->session;
    if (s != NULL && s->held > 0 && c->shard >= 0) {
        overtaken(x, s, c->shard, r);
    }
    if (c->kind == CALL_ONE) {
        request_reply(x, r, chunk, ptr, len);
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

static bool may_go(const struct exec *x, const struct call *c, bool map_changed)
{
    return (map_changed || (c->due_us != 0 && x->now_us >= c->due_us)) && !later_under_way(c);
}

/* Its wait is over, one way or the other. */
static void end_hold(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    unhold(x, c);
    if (s == NULL) {
        call_error(x, c, ERR_CLUSTERDOWN);
        return;
    }
    if (x->now_us >= deadline_of(x, c)) {
        hold_error(x, c);
    } else {
        call_send(x, c);
    }
    session_check_resume(x, s);
}

void hold_tick(struct exec *x, bool map_changed)
{
    struct call *c = x->held_head;
    x->held_head = x->held_tail = NULL;
    while (c != NULL) {
        struct call *next = c->next;
        c->next = NULL;
        bool gone = c->request->session == NULL;
        if (!gone && x->now_us < deadline_of(x, c) && !may_go(x, c, map_changed)) {
            if (x->held_tail == NULL) { /* stays */
                x->held_head = c;
            } else {
                x->held_tail->next = c;
            }
            x->held_tail = c;
            if (c->due_us != 0) {
                exec_wake(x, MAX(c->due_us, x->now_us + 1000));
            }
        } else {
            end_hold(x, c);
        }
        c = next;
    }
}
