// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/encode.h"
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/script.h"
#include "proxy/exec/tx.h"

#include "common/base/log.h"
#include "common/base/num.h"

#include <stdio.h>

#define SETTLE_US (100 * 1000)
#define REFUSAL   "CLUSTERDOWN The node refused this proxy: "

struct lane *lane_make(struct target *t, enum lane_kind kind, int proto)
{
    struct lane *l = mem_zalloc(sizeof(*l));
    l->magic = LANE_MAGIC;
    l->kind = (uint8_t)kind;
    l->proto = (uint8_t)proto;
    l->target = t;
    list_init(&l->stopped);
    list_init(&l->link);
    list_init(&l->idle);
    resp_skip_init(&l->skip);
    return l;
}

struct lane *lane_of(struct exec *x, struct target *t, enum lane_kind kind, int proto)
{
    (void)x;
    struct lane **l = &t->lanes[kind][proto - 2];
    if (*l == NULL) {
        *l = lane_make(t, kind, proto);
    }
    return *l;
}

void lane_free(struct exec *x, struct lane **lp)
{
    struct lane *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    CHECK_OBJ(l, LANE_MAGIC);
    lane_break(x, l, LANE_DISMISSED);
    INVARIANT(l->head == NULL);
    list_remove(&l->idle);
    mem_free(l->parked);
    chunk_unref(&l->tape);
    if (l->kind == LANE_PINNED) {
        x->n_pinned--;
        l->target->n_pinned--;
    }
    l->target->n_pinned -= l->kind == LANE_OWN || l->leaving;
    l->magic = 0;
    mem_free(l);
}

static void queue_call(struct exec *x, struct lane *l, struct call *c)
{
    c->next = NULL;
    c->sent_us = x->now_us;
    c->lane = l;
    c->target = l->target;
    c->out_end = l->out_total;
    if (l->tail == NULL) {
        l->head = c;
    } else {
        l->tail->next = c;
    }
    l->tail = c;
    l->in_flight++;
    l->target->in_flight++;
}

struct call *lane_say(struct exec *x, struct lane *l, const struct slice *argv, size_t argc,
                      enum call_kind kind)
{
    size_t before = l->out->bytes;
    resp_request(l->out, argv, argc);
    l->out_total += l->out->bytes - before;
    struct call *c = mem_zalloc(sizeof(*c));
    c->kind = (uint8_t)kind;
    c->db = -1;
    c->number = ++l->count;
    queue_call(x, l, c);
    x->port.lane_flush(x->port.back, l);
    return c;
}

static void say_first(struct exec *x, struct lane *l, const struct slice *argv, size_t argc)
{
    (void)lane_say(x, l, argv, argc, CALL_HANDSHAKE);
    l->words++;
}

static void say_lane(struct exec *x, struct lane *l)
{
    char digits[NUM_I64_MAX_LEN];
    const struct slice words[4] = {SLICE("SHOAL"), SLICE("LANE"),
                                   slice_of(digits, num_print_u64(digits, l->id)), SLICE("SHARED")};
    say_first(x, l, words, l->kind <= LANE_WRITE ? 4 : 3);
}

static void shake_hands(struct exec *x, struct lane *l)
{
    struct slice words[5] = {SLICE("HELLO"), SLICE("3"), SLICE("AUTH"), SLICE("default")};
    if (x->node_password != NULL && l->proto == 2) {
        words[0] = SLICE("AUTH");
        words[1] = slice_str(x->node_password);
        say_first(x, l, words, 2);
    } else if (x->node_password != NULL) {
        words[4] = slice_str(x->node_password);
        say_first(x, l, words, 5);
    } else if (l->proto == 3) {
        say_first(x, l, words, 2);
    }
    if (l->kind == LANE_OWN && l->own != NULL) {
        struct slice *tracking;
        size_t n;
        if (x->settings.lanes_announced) {
            say_lane(x, l); /* a node that is busy hears what follows from lanes only */
        }
        own_words(l, &tracking, &n);
        say_first(x, l, tracking, n);
        mem_free(tracking);
    }
    if (l->kind == LANE_EAR) {
        words[0] = SLICE("SHOAL");
        words[1] = SLICE("EAR");
        say_first(x, l, words, 2);
    } else if (x->settings.lanes_announced) {
        say_lane(x, l); /* it is counted from here on */
    }
    l->count = 0;
    if (l->words > 0) { /* the rest waits until the node has taken them */
        l->wire = l->out;
        l->out = &l->staged;
    }
}

bool lane_ready(struct exec *x, struct lane *l)
{
    if (l->state != LANE_DOWN) {
        return true;
    }
    if (x->now_us < l->target->retry_at_us || !l->target->alive) {
        return false;
    }
    x->lane_id_last += x->lane_id_last == UINT64_MAX ? 2 : 1; /* 0 is no lane's */
    l->id = x->lane_id_last;
    l->state = LANE_CONNECTING;
    l->db = 0;
    l->out_total = 0;
    l->bytes = 0;
    l->words = 0;
    l->counted = false;
    l->acked = l->said = 0;
    l->fresh = l->bare = l->whole = false;
    l->heard_us = x->now_us;
    resp_skip_init(&l->skip);
    list_append(&x->lanes, &l->link);
    x->counters.lanes_opened++;
    x->port.lane_open(x->port.back, l);
    INVARIANT(l->out != NULL);
    shake_hands(x, l);
    return true;
}

bool lane_has_room(const struct exec *x, const struct lane *l)
{
    return l->in_flight < (uint64_t)x->settings.lane_max_in_flight &&
           l->bytes < (uint64_t)x->settings.lane_max_bytes;
}

void call_keep_bytes(struct exec *x, struct call *c, const struct exec_input *in,
                     struct chunk **tape)
{
    (void)x;
    if (UNLIKELY(in->bytes == NULL)) {
        char *to = tape_room(tape, encoded_max(in->argv, in->argc));
        c->len = encode_args(to, in->argv, in->argc);
        (*tape)->len += c->len;
        c->bytes = to;
        c->chunk = chunk_ref(*tape);
        return;
    }
    c->len = in->len;
    if (in->len < OUTBUF_REF_MIN) {
        c->bytes = tape_put(tape, in->bytes, in->len);
        c->chunk = chunk_ref(*tape);
    } else {
        c->bytes = in->bytes;
        c->chunk = chunk_ref(in->chunk);
    }
}

void call_drop_bytes(struct call *c)
{
    if (c->chunk != NULL) {
        chunk_unref(&c->chunk);
        c->bytes = NULL;
        c->len = 0;
    }
}

/* The lane stands at another database: its SELECT's answer is swallowed with the call's. */
static void put_select(struct lane *l, struct call *c)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice words[2] = {SLICE("SELECT"), {.ptr = digits}};
    words[1].len = num_print_i64(digits, c->db);
    char *to = tape_room(&l->tape, 64);
    size_t len = encode_args(to, words, 2);
    l->tape->len += len;
    outbuf_append_ref(l->out, l->tape, to, len);
    l->db = c->db;
    c->swallow++;
}

static bool lacks_database(const struct target *t, const struct call *c)
{
    return t->databases != 0 && c->db >= t->databases;
}

void lane_put(struct exec *x, struct lane *l, struct call *c, const struct exec_input *in)
{
    size_t before = l->out->bytes;
    c->swallow = c->swallow_own;
    c->refused = ANSWER_REPLY;
    if (UNLIKELY(c->db >= 0 && c->db != l->db)) {
        if (c->db > 0 && lacks_database(l->target, c)) {
            call_error(x, c, ERR_DB_INDEX);
            return;
        }
        put_select(l, c);
    }
    if (UNLIKELY(c->request->caching) && l->own != NULL) {
        own_put_caching(x, l, c);
    }
    if (UNLIKELY(c->probes)) {
        x->routes[c->shard].probe = c;
    }
    l->count += PLANTED(PLANT_SELECT) ? c->swallow_own + 1 : c->swallow + 1;
    c->number = l->count;
    if (LIKELY(c->chunk == NULL)) {
        INVARIANT(in != NULL);
        call_keep_bytes(x, c, in, &l->tape);
    }
    outbuf_append_ref(l->out, c->chunk, c->bytes, c->len);
    l->out_total += l->out->bytes - before;
    l->bytes += c->len;
    if (UNLIKELY(c->leaves_db)) {
        l->db = -1;
    }
    queue_call(x, l, c);
    struct session *s = c->request->session;
    c->read_lane = l->kind == LANE_READ;
    if (c->write) {
        s->writes_open++;
        x->counters.calls_write++;
    } else {
        s->reads_open += c->read_lane;
        x->counters.calls_read++;
    }
    if (before == 0) {
        x->port.lane_flush(x->port.back, l);
    }
}

void lane_resume_stopped(struct exec *x, struct lane *l)
{
    struct list now;
    list_init(&now);
    l->full = false;
    while (!list_empty(&l->stopped)) { /* an inner one may fill it, and stand there, at once */
        struct list *it = l->stopped.next;
        list_remove(it);
        list_append(&now, it);
    }
    while (!list_empty(&now)) {
        struct session *s = container_of(now.next, struct session, wait);
        list_remove(&s->wait);
        INVARIANT(s->stop == STOP_LANE);
        s->stop = STOP_NOT;
        session_go_on(x, s);
    }
}

/* Half empty: its clients may go on. */
static void check_room(struct exec *x, struct lane *l)
{
    if (UNLIKELY(l->full) && l->state != LANE_DOWN &&
        l->in_flight <= (uint64_t)x->settings.lane_max_in_flight / 2 &&
        l->bytes <= (uint64_t)x->settings.lane_max_bytes / 2) {
        lane_resume_stopped(x, l);
    }
}

void exec_lane_drained(struct exec *x, struct lane *l)
{
    check_room(x, l);
}

/* It takes calls: what waited may leave. */
static void stand_up(struct exec *x, struct lane *l)
{
    l->state = LANE_UP;
    l->target->failures = 0;
    l->target->down_since_us = 0;
    l->target->retry_at_us = 0;
    l->target->refusal[0] = '\0';
    if (l->wire != NULL) {
        l->out = l->wire;
        l->wire = NULL;
        outbuf_splice(l->out, &l->staged);
        x->port.lane_flush(x->port.back, l);
    }
    if (l->own != NULL) {
        own_check(x, l->own);
    }
}

void exec_lane_up(struct exec *x, struct lane *l)
{
    CHECK_OBJ(l, LANE_MAGIC);
    if (l->words == 0) {
        stand_up(x, l);
    }
}

static void note_failure(struct exec *x, struct target *t)
{
    const struct retry_policy p = {.initial_us = x->settings.retry_initial_delay_us,
                                   .max_us = x->settings.retry_max_delay_us,
                                   .backoff_percent = x->settings.retry_backoff_percent};
    t->retry_at_us = x->now_us + retry_delay_us(&p, t->failures, &x->rng);
    t->failures++;
    if (t->down_since_us == 0) {
        t->down_since_us = x->now_us;
    }
}

static void account_gone(struct exec *x, struct call *c)
{
    struct session *s = c->request->session;
    c->lane = NULL;
    if (UNLIKELY(c->probes)) {
        route_probe_over(x, c);
    }
    if (s == NULL) {
        return;
    }
    if (c->write) {
        s->writes_open--;
        s->wrote_us = x->now_us;
    } else if (c->read_lane) {
        s->reads_open--;
    }
}

/* It may run twice: it changes no data wherever it goes, or it is what all nodes are told, at most
 * of libraries (the second time one is there already, or gone). */
static bool is_harmless(const struct call *c)
{
    return c->shard == CALL_NODE ||
           (c->shard == CALL_ANY && c->kind == CALL_ONE &&
            (c->request->command->flags & (CF_WRITE | CF_MAY_REPLICATE)) == 0);
}

/* A call whose connection broke. */
static void lost_call(struct exec *x, struct lane *l, struct call *c, uint64_t written)
{
    bool left = c->out_end <= written;
    if (c->kind == CALL_HANDSHAKE || c->kind == CALL_TRACK) {
        mem_free(c);
        return;
    }
    if (c->kind == CALL_FATE) {
        fate_question_lost(x, c);
        return;
    }
    account_gone(x, c);
    c->probes = false;
    if (c->write && left && !is_harmless(c) &&
        !(c->pinned && c->request->command->id == CMD_WATCH)) {
        fate_begin(x, l, c);
    } else if (c->pinned) {
        tx_watch_broken(x, c);
    } else {
        const char *refusal = l->target->refusal;
        call_lost(x, c, left, *refusal == '\0' ? ERR_CLUSTERDOWN : refusal);
    }
}

static const char *kind_name(const struct lane *l)
{
    static const char *const names[] = {"read", "write", "fate", "ear", "urgent", "own", "pinned"};
    return names[l->kind];
}

void exec_lane_down(struct exec *x, struct lane *l, enum lane_end how, uint64_t written)
{
    CHECK_OBJ(l, LANE_MAGIC);
    INVARIANT(l->state != LANE_DOWN);
    struct target *t = l->target;
    bool stood = l->state == LANE_UP;
    struct call *c = l->head;
    l->state = LANE_DOWN;
    l->out = l->wire = NULL;
    outbuf_fini(&l->staged);
    l->head = l->tail = NULL;
    l->bytes = 0;
    t->in_flight -= l->in_flight;
    l->in_flight = 0;
    list_remove(&l->link);
    busy_set(x, l, false, false);
    if (how != LANE_DISMISSED && !l->leaving) {
        log_event(LOG_VERBOSE, "lane", "%s node=%s kind=%s", stood ? "lost" : "refused", t->id,
                  kind_name(l));
        x->counters.lanes_lost++;
        size_t skip = stood || t->refusal[0] == '\0' ? 0 : sizeof(REFUSAL) - 1;
        x->port.refused(x->port.back, t->id, skip == 0 ? "" : t->refusal + skip);
        if (!stood) {
            note_failure(x, t);
        }
        if (l->kind == LANE_READ || l->kind == LANE_WRITE) {
            routes_doubt(x, t);
        }
    }
    if (l->kind == LANE_EAR) {
        ear_lost(x, l);
    }
    if (l->own != NULL) {
        own_lost(x, l);
    }
    waits_lost(x, l); /* they were sent before all others */
    while (c != NULL) {
        struct call *next = c->next;
        lost_call(x, l, c, written);
        c = next;
    }
    lane_resume_stopped(x, l);
}

struct call *lane_cut(struct exec *x, struct lane *l, uint64_t number)
{
    struct call **at = &l->head;
    struct call *last = NULL;
    while (*at != NULL && (*at)->number <= number) {
        last = *at;
        at = &last->next;
    }
    struct call *cut = *at;
    *at = NULL;
    l->tail = last;
    for (struct call *c = cut; c != NULL; c = c->next) {
        l->in_flight--;
        l->target->in_flight--;
        l->bytes -= c->len;
        if (c->request != NULL) {
            account_gone(x, c);
            c->probes = false;
        }
    }
    return cut;
}

void lane_break(struct exec *x, struct lane *l, enum lane_end how)
{
    if (l->state == LANE_DOWN) {
        return;
    }
    uint64_t written = x->port.lane_written(x->port.back, l);
    x->port.lane_close(x->port.back, l);
    exec_lane_down(x, l, how, written);
}

struct lane *lane_take_pinned(struct exec *x, struct target *t, int proto)
{
    LIST_FOREACH_SAFE(it, &t->pinned_idle) {
        struct lane *l = container_of(it, struct lane, idle);
        list_remove(&l->idle);
        if (l->proto == proto && l->state == LANE_UP) {
            return l;
        }
        lane_free(x, &l); /* broken since, or of the other protocol */
    }
    if (x->n_pinned >= (uint64_t)x->settings.pinned_max) {
        return NULL;
    }
    x->n_pinned++;
    t->n_pinned++;
    return lane_make(t, LANE_PINNED, proto);
}

void lane_give_pinned(struct exec *x, struct lane *l)
{
    uint32_t idle = 0;
    LIST_FOREACH(it, &l->target->pinned_idle) {
        idle++;
    }
    if (l->state == LANE_UP && idle < PINNED_IDLE) {
        list_append(&l->target->pinned_idle, &l->idle);
        return;
    }
    /* Not now: its own replies may be what is being read. */
    list_append(&x->spent, &l->idle);
    exec_wake(x, x->now_us);
}

/* A reply before the one that counts. False: the lane can't be trusted any more. */
static bool swallow(struct lane *l, struct call *c, const char *ptr, size_t len)
{
    bool selects = c->swallow > c->swallow_own;
    c->swallow--;
    if (LIKELY(*ptr != '-')) {
        return true;
    }
    if (selects) {
        log_event(LOG_WARNING, "lane", "refuses a database node=%s db=%d answer=%.*s",
                  l->target->id, c->db, (int)MIN(len - 2, 60u), ptr);
        return false;
    }
    c->refused = (uint8_t)retry_classify(slice_of(ptr, len)); /* at queue time, inside MULTI */
    return true;
}

/* The last of the lane's own words is answered. False: calls that wait ask for what it lacks. */
static bool words_over(struct exec *x, struct lane *l, const char *ptr, size_t len)
{
    int64_t databases;
    if (x->settings.lanes_announced && *ptr == ':' &&
        num_parse_i64(slice_of(ptr + 1, len - 3), &databases) && databases > 0) {
        l->counted = true;
        l->target->databases = (int32_t)MIN(databases, INT32_MAX);
    }
    for (const struct call *c = l->head; c != NULL; c = c->next) {
        if (c->request != NULL && lacks_database(l->target, c)) {
            log_event(LOG_WARNING, "lane", "fewer databases than here node=%s databases=%d",
                      l->target->id, l->target->databases);
            return false; /* they go to the next lane, which knows */
        }
    }
    stand_up(x, l);
    return true;
}

/* False: the lane is of no use. */
static bool word_answered(struct exec *x, struct lane *l, struct call *c, const char *ptr,
                          size_t len)
{
    uint64_t number = c->number;
    mem_free(c);
    if (l->words == 0) {
        if (l->kind == LANE_EAR) {
            ear_answered(x, l, number);
        } else if (l->own != NULL) {
            l->acked = number;
            own_check(x, l->own);
        }
        return *ptr != '-'; /* UNWATCH, PING, SHOAL UNPARK */
    }
    if (*ptr != '-') {
        return --l->words > 0 || words_over(x, l, ptr, len);
    }
    struct target *t = l->target;
    snprintf(t->refusal, sizeof(t->refusal), REFUSAL "%.*s", (int)MIN(len - 3, 50u), ptr + 1);
    log_event(LOG_WARNING, "lane", "refused node=%s answer=%.*s", t->id, (int)MIN(len - 2, 60u),
              ptr);
    return false;
}

/* Its shard is served. */
static void probe_answered(struct exec *x, struct call *c)
{
    c->probes = false;
    if (c->target == x->routes[c->shard].chosen) {
        route_open(x, c->shard);
    }
}

/* Errors may mean: not executed, try elsewhere. */
void call_answered_error(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr,
                         size_t len)
{
    bool of_script = script_unmark(&ptr, &len);
    enum node_answer answer = of_script ? ANSWER_REPLY : retry_classify(slice_of(ptr, len));
    if (UNLIKELY(!of_script && script_repair(x, c, ptr, len))) {
        return;
    }
    if (answer == ANSWER_REPLY) {
        answer = (enum node_answer)c->refused;
        c->refused = ANSWER_REPLY;
    }
    if (UNLIKELY(c->pinned) && answer != ANSWER_REPLY) {
        tx_watch_broken(x, c);
        return;
    }
    switch (answer) {
    case ANSWER_REPLY:
        break;
    case ANSWER_MOVED:
        if (script_move(x, c, ptr, len)) {
            return;
        }
        x->counters.redirects++;
        call_refused(x, c, ERR_CLUSTERDOWN);
        return;
    case ANSWER_LATER: {
        char text[256];
        size_t shown = MIN(len - 3, sizeof(text) - 1);
        memcpy(text, ptr + 1, shown);
        text[shown] = '\0';
        call_refused(x, c, text);
        return;
    }
    }
    if (UNLIKELY(c->probes)) {
        probe_answered(x, c);
    }
    call_answer(x, c, chunk, ptr, len);
}

static bool lane_reply(struct exec *x, struct lane *l, struct chunk *chunk, const char *ptr,
                       size_t len)
{
    struct call *c = l->head;
    l->bare = false;
    if (UNLIKELY(*ptr == '>')) {
        if (busy_pushed(x, l, ptr, len)) {
            return true;
        }
        if (l->kind == LANE_EAR) {
            ear_pushed(x, l, chunk, ptr, len);
        } else if (l->kind != LANE_OWN || !own_pushed(x, l, ptr, len)) {
            wait_pushed(x, l, chunk, ptr, len);
        }
        return true;
    }
    if (UNLIKELY(c == NULL)) {
        return false;
    }
    if (UNLIKELY(c->swallow > 0)) {
        return swallow(l, c, ptr, len);
    }
    l->head = c->next;
    if (l->head == NULL) {
        l->tail = NULL;
    }
    l->in_flight--;
    l->bytes -= c->len;
    l->target->in_flight--;
    if (UNLIKELY(c->kind == CALL_HANDSHAKE)) {
        return word_answered(x, l, c, ptr, len);
    }
    if (UNLIKELY(c->kind == CALL_FATE)) {
        fate_answered(x, c, chunk, ptr, len);
        return true;
    }
    if (UNLIKELY(c->kind == CALL_TRACK)) {
        own_answered(x, l, c, slice_of(ptr, len));
        return true;
    }
    account_gone(x, c);
    if (UNLIKELY(l->own != NULL) && (c->request->command->flags & CF_WRITE) == 0) {
        l->fresh = l->bare = true;
        exec_wake(x, x->now_us + TICK_US);
    }
    if (UNLIKELY(*ptr == '-')) {
        call_answered_error(x, c, chunk, ptr, len);
        return true;
    }
    if (UNLIKELY(c->probes)) {
        probe_answered(x, c);
    }
    struct request *r = c->request;
    if (UNLIKELY(r->wait != NULL) && wait_parks(x, l, c, chunk, ptr, len)) {
        return true;
    }
    if (LIKELY(c->kind == CALL_ONE && r->session != NULL && r->session->held == 0)) {
        request_reply(x, r, chunk, ptr, len);
    } else {
        call_answer(x, c, chunk, ptr, len);
    }
    return true;
}

/* Smoothed over eight batches; one sample a batch is enough. */
static void sample_latency(struct exec *x, struct lane *l)
{
    const struct call *c = l->head;
    if (c == NULL || c->request == NULL || c->tries > 0) {
        return;
    }
    int64_t took = x->now_us - c->sent_us;
    int64_t old = l->target->latency_us;
    /* Down fast: a sample that was slow for a reason of its own must not be believed for long. */
    int64_t step = took < old ? (took - old) / 2 : (took - old) / 8;
    l->target->latency_us = (uint32_t)MAX(old == 0 ? took : old + step, 1);
}

size_t exec_replies(struct exec *x, struct lane *l, struct chunk *chunk, struct slice in,
                    size_t *want)
{
    CHECK_OBJ(l, LANE_MAGIC);
    size_t used = 0;
    *want = 0;
    sample_latency(x, l);
    l->heard_us = x->now_us;
    while (used < in.len) {
        size_t end;
        const char *ptr = in.ptr + used;
        enum resp_skip_status st = resp_skip(&l->skip, slice_of(ptr, in.len - used), &end);
        if (st == SKIP_MORE) {
            *want = end;
            break;
        }
        if (st == SKIP_BAD || !lane_reply(x, l, chunk, ptr, end)) {
            return SIZE_MAX;
        }
        used += end;
    }
    check_room(x, l);
    if (UNLIKELY(x->release)) {
        hold_tick(x, false);
    }
    return used;
}

/* Those that have waited long for an answer: a few bytes of a large chunk must not keep it. */
static void settle_lane(const struct exec *x, struct lane *l)
{
    int64_t before_us = x->now_us - SETTLE_US;
    if (l->head == NULL || l->head->sent_us > before_us) {
        return;
    }
    outbuf_settle(l->out);
    for (struct call *c = l->head; c != NULL && c->sent_us <= before_us; c = c->next) {
        if (c->len >= OUTBUF_REF_MIN && !c->own_bytes) {
            call_own_bytes(c);
        }
    }
}

void lanes_settle(struct exec *x)
{
    LIST_FOREACH(it, &x->lanes) {
        settle_lane(x, container_of(it, struct lane, link));
    }
}
