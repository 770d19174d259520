// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/exec.h"

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/own.h"
#include "proxy/exec/pubsub.h"
#include "proxy/exec/script.h"
#include "proxy/exec/tx.h"
#include "proxy/route/router.h"

#include "common/cmd/slot.h"
#include "common/resp/write.h"

#include <stdio.h>

/* --- life --- */

static void fill_routes(struct exec *x)
{
    for (uint32_t id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id((enum command_id)id);
        bool local = x->local != NULL && x->local->entries[id].fn != NULL;
        x->route_of[id] = local ? ROUTE_LOCAL : (uint8_t)router_of(c);
    }
}

struct exec *exec_new(const struct exec_port *port, const struct local_table *local,
                      const struct exec_settings *settings, uint64_t seed)
{
    struct exec *x = mem_zalloc(sizeof(*x));
    x->magic = EXEC_MAGIC;
    x->port = *port;
    x->local = local;
    list_init(&x->targets);
    list_init(&x->lanes);
    list_init(&x->paused);
    list_init(&x->flag_asks);
    list_init(&x->stranded);
    list_init(&x->waits);
    list_init(&x->owns);
    list_init(&x->leaving);
    pubsub_init(x);
    x->seen = scripts_seen_new(seed);
    list_init(&x->holders);
    list_init(&x->spent);
    list_init(&x->fates);
    rng_init(&x->rng, seed);
    key_list_init(&x->keys);
    resp_parser_init(&x->parser);
    x->parser.bulk_max = INT64_MAX; /* front has checked */
    session_init(&x->nobody, 0, NULL);
    routes_reset(x, 1);
    x->lane_id_last = x->lane_id_first = seed;
    fill_routes(x);
    exec_set(x, settings);
    return x;
}

void exec_set(struct exec *x, const struct exec_settings *settings)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    x->settings = *settings;
    mem_free(x->node_password);
    const char *password = settings->node_password;
    x->node_password = password == NULL || *password == '\0' ? NULL : mem_strdup(password);
    x->settings.node_password = x->node_password;
}

void exec_set_now(struct exec *x, int64_t now_us)
{
    x->now_us = now_us;
}

void exec_stalled(struct exec *x, int64_t us)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    x->counters.stalled_ms += (uint64_t)us / 1000;
    patience_stalled(&x->patience, x->now_us, us);
}

/* Whether so much time has passed since then, not counting what went by without us. */
static bool is_past(const struct exec *x, int64_t from_us, int64_t limit_us)
{
    return x->now_us - from_us > limit_us &&
           x->now_us - from_us > limit_us + patience_since(&x->patience, from_us);
}

void target_free_lanes(struct exec *x, struct target *t)
{
    for (int kind = 0; kind < LANE_KINDS; kind++) {
        for (int proto = 0; proto < 2; proto++) {
            lane_free(x, &t->lanes[kind][proto]);
        }
    }
    LIST_FOREACH_SAFE(it, &t->pinned_idle) {
        struct lane *l = container_of(it, struct lane, idle);
        lane_free(x, &l);
    }
}

static void free_spent(struct exec *x)
{
    LIST_FOREACH_SAFE(it, &x->spent) {
        struct lane *l = container_of(it, struct lane, idle);
        lane_free(x, &l);
    }
}

void target_free(struct exec *x, struct target *t)
{
    target_free_lanes(x, t);
    list_remove(&t->link);
    t->magic = 0;
    mem_free(t);
}

void exec_free(struct exec **xp)
{
    struct exec *x = *xp;
    *xp = NULL;
    if (x == NULL) {
        return;
    }
    CHECK_OBJ(x, EXEC_MAGIC);
    x->settings.retry_max_attempts = 0; /* what is still open ends now */
    x->settings.ears = false;
    publisher_gone(x);
    pause_fini(x);
    while (!list_empty(&x->holders)) {
        hold_drop(x, container_of(x->holders.next, struct session, holds));
    }
    fate_drop_all(x);
    free_spent(x);
    LIST_FOREACH_SAFE(it, &x->leaving) {
        struct lane *l = container_of(it, struct lane, idle);
        lane_free(x, &l);
    }
    LIST_FOREACH(it, &x->targets) { /* all before any is freed: answers name them */
        target_free_lanes(x, container_of(it, struct target, link));
    }
    LIST_FOREACH_SAFE(it, &x->targets) {
        target_free(x, container_of(it, struct target, link));
    }
    while (x->free_requests != NULL) {
        struct request *r = x->free_requests;
        x->free_requests = r->next;
        mem_free(r);
    }
    if (x->park != NULL) {
        chunk_unref(&x->park);
    }
    session_fini(&x->nobody);
    pubsub_fini(x);
    scripts_seen_free(&x->seen);
    map_unref(&x->map);
    key_list_fini(&x->keys);
    resp_parser_fini(&x->parser);
    str_fini(&x->scratch);
    mem_free(x->node_password);
    mem_free(x->routes);
    x->magic = 0;
    mem_free(x);
}

const struct exec_counters *exec_counters(const struct exec *x)
{
    return &x->counters;
}

void exec_reset_counters(struct exec *x)
{
    x->counters = (struct exec_counters){0};
}

size_t exec_open_requests(const struct exec *x)
{
    return x->n_open;
}

size_t exec_held_requests(const struct exec *x)
{
    return x->n_held;
}

void exec_wake(struct exec *x, int64_t at_us)
{
    if (x->tick_at_us == 0 || at_us < x->tick_at_us) {
        x->tick_at_us = at_us;
        x->port.wake_at(x->port.front, at_us);
    }
}

/* --- requests --- */

struct request *request_take(struct exec *x, struct session *s, const struct command *c)
{
    struct request *r = x->free_requests;
    if (LIKELY(r != NULL)) {
        x->free_requests = r->next;
        x->n_free_requests--;
    } else {
        r = mem_alloc(sizeof(*r));
    }
    memset(r, 0, sizeof(*r));
    r->session = s;
    r->command = c;
    r->call.request = r;
    r->call.db = s->db;
    r->start_us = x->now_us;
    r->proto = s->proto;
    if (UNLIKELY(s->reply_mode != REPLY_ON)) {
        r->silent = true;
        if (s->reply_mode == REPLY_SKIP_NEXT) {
            s->reply_mode = REPLY_ON;
        }
    }
    if (s->tail == NULL) {
        s->head = r;
    } else {
        s->tail->next = r;
    }
    s->tail = r;
    s->pending++;
    r->number = ++s->commands;
    s->last_command = c;
    if (UNLIKELY(s->own != NULL)) {
        own_taken(s, r);
    }
    if (x->tracing != NULL) {
        struct call kept = {0};
        call_keep_bytes(x, &kept, x->tracing, &x->park);
        r->trace_chunk = kept.chunk;
        r->trace = kept.bytes;
        r->trace_len = kept.len;
        x->tracing = NULL;
    }
    x->n_open++;
    if (UNLIKELY(x->tick_at_us == 0)) {
        exec_wake(x, x->now_us + TICK_US);
    }
    return r;
}

void request_free(struct exec *x, struct request *r)
{
    if (LIKELY(x->port.request_over != NULL && r->command != NULL && !r->queued)) {
        x->port.request_over(x->port.front, r, x->now_us - r->start_us);
    }
    if (r->trace_chunk != NULL) {
        chunk_unref(&r->trace_chunk);
    }
    call_drop_bytes(&r->call);
    if (UNLIKELY(r->wait != NULL)) {
        wait_free(x, r);
    }
    if (UNLIKELY(r->gather != NULL)) {
        gather_free(&r->gather);
    }
    if (r->reply_chunk != NULL) {
        chunk_unref(&r->reply_chunk);
    }
    if (UNLIKELY(r->reply_out != NULL)) {
        outbuf_fini(r->reply_out);
        mem_free(r->reply_out);
    }
    x->n_open--;
    x->n_ended++;
    if (LIKELY(x->n_free_requests < FREE_REQUESTS)) {
        r->next = x->free_requests;
        x->free_requests = r;
        x->n_free_requests++;
    } else {
        mem_free(r);
    }
}

/* --- commands --- */

enum exec_verdict exec_refuse(struct exec *x, struct session *s, const struct command *c,
                              const char *text)
{
    struct request *r = request_take(x, s, c);
    r->rejected = true;
    request_error(x, r, text);
    return EXEC_TAKEN;
}

void exec_fatal(struct exec *x, struct session *s, const char *text)
{
    struct request *r = request_take(x, s, NULL);
    r->silent = false;
    r->close_after = true;
    s->closing = true;
    request_error(x, r, text);
}

static enum exec_verdict refuse(struct exec *x, struct session *s, const struct command *c,
                                const struct exec_input *in)
{
    char text[COMMAND_ERROR_MAX];
    if (c != NULL && (c->flags & CF_INTERNAL) != 0) {
        c = NULL;
    }
    if (c == NULL && command_is_http(in->argv[0])) {
        s->closing = true;
        x->port.session_http(x->port.front, s);
        return EXEC_TAKEN;
    }
    if (c == NULL) {
        command_error_unknown(text, in->argv, in->argc);
    } else {
        command_error_arity(text, c);
    }
    if (s->multi) {
        tx_spoil(s);
    }
    return exec_refuse(x, s, c, text);
}

enum exec_verdict exec_by_keys(struct exec *x, struct session *s, const struct command *c,
                               const struct exec_input *in)
{
    int shard = -1;
    if ((c->id == CMD_MSET || c->id == CMD_MSETNX) && in->argc % 2 == 0) {
        return refuse(x, s, c, in); /* a key without its value */
    }
    switch (router_keys(c, in->argv, in->argc, x->shards, &x->keys, &shard)) {
    case ROUTER_ONE:
        return exec_one(x, s, c, in, shard);
    case ROUTER_KEYLESS:
        return exec_one(x, s, c, in, CALL_ANY);
    case ROUTER_SEVERAL:
        break;
    }
    if ((in->argc - 1) % router_key_step(c) != 0) {
        return refuse(x, s, c, in); /* a value is missing */
    }
    if (router_splits(c)) {
        return exec_split(x, s, c, in);
    }
    return exec_refuse(x, s, c, ERR_CROSSSLOT);
}

static enum exec_verdict dispatch(struct exec *x, struct session *s, const struct command *c,
                                  const struct exec_input *in)
{
    switch (x->route_of[c->id]) {
    case ROUTE_SINGLE: {
        x->counters.requests_one++;
        uint32_t slot = slot_of(in->argv[c->key_single]);
        return exec_one(x, s, c, in, (int)slot_to_shard(slot, x->shards));
    }
    case ROUTE_KEYS:
        if (UNLIKELY(c->id == CMD_EVAL || c->id == CMD_EVAL_RO)) {
            exec_script_note(x, in->argv[1]);
        }
        return exec_by_keys(x, s, c, in);
    case ROUTE_LOCAL:
        return exec_local(x, s, c, in);
    case ROUTE_SHARDS:
        return exec_all(x, s, c, in, true);
    case ROUTE_EACH:
        return exec_each(x, s, c, in);
    case ROUTE_NODES:
        return router_urgent(c) ? exec_urgent(x, s, c, in) : exec_all(x, s, c, in, false);
    case ROUTE_SCAN:
        return exec_scan(x, s, c, in);
    case ROUTE_RANDOMKEY:
        return exec_randomkey(x, s, c, in);
    case ROUTE_TX:
        return exec_tx(x, s, c, in);
    case ROUTE_WAIT:
        return exec_wait(x, s, c, in);
    case ROUTE_LISTEN:
        return exec_pubsub(x, s, c, in);
    case ROUTE_CHANNEL:
        return exec_one(x, s, c, in, (int)slot_to_shard(slot_of(in->argv[1]), x->shards));
    default:
        return exec_one(x, s, c, in, CALL_ANY);
    }
}

/* More than one client may have under way, by number or by the size of its replies. */
static bool window_full(const struct exec *x, const struct session *s)
{
    if (s->pending >= (uint64_t)x->settings.client_max_pending) {
        return true;
    }
    /* How large its replies are is known from the first of them. */
    return (s->pending > WINDOW_LEAST && (uint64_t)s->pending * s->reply_size > WINDOW_BYTES) ||
           (s->pending >= WINDOW_FIRST && s->pending > 2 * (s->commands - s->pending));
}

static bool must_queue(const struct exec *x, const struct command *c)
{
    return x->route_of[c->id] != ROUTE_TX && !(x->route_of[c->id] == ROUTE_LOCAL &&
                                               (x->local->entries[c->id].flags & LOCAL_IN_MULTI));
}

/* Why this client may not run the command; NULL: it may. Valid until the next call. */
static const char *refusal(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in)
{
    size_t at;
    if (!s->authenticated && x->settings.password_set && !(c->flags & CF_NO_AUTH)) {
        return ERR_NOAUTH;
    }
    if (s->user == NULL) {
        return NULL;
    }
    enum acl_answer why = acl_check(s->user, c, in->argv, in->argc, &x->keys, &at);
    if (why == ACL_YES) {
        return NULL;
    }
    if (x->port.not_allowed != NULL) {
        x->port.not_allowed(x->port.front, s, why,
                            at == 0 ? slice_str(c->full_name) : in->argv[at]);
    }
    str_clear(&x->scratch);
    acl_error(why, c, &x->scratch);
    return str_cstr(&x->scratch);
}

static enum exec_verdict go_on(struct exec *x, struct session *s, const struct command *c,
                               const struct exec_input *in)
{
    if (UNLIKELY(s->tx != NULL)) {
        if (tx_busy(s)) { /* its own connection answers first */
            session_stop(x, s, STOP_EMPTY);
            return EXEC_STOP;
        }
        if (s->multi && must_queue(x, c)) {
            return tx_queue(x, s, c, in);
        }
    }
    /* A plain call has its bytes until its end anyway. */
    if (UNLIKELY(x->settings.trace && x->route_of[c->id] != ROUTE_SINGLE)) {
        x->tracing = in;
        enum exec_verdict v = dispatch(x, s, c, in);
        x->tracing = NULL;
        return v;
    }
    return dispatch(x, s, c, in);
}

bool exec_runs_script(const struct command *c)
{
    switch (c->id) {
    case CMD_EVAL:
    case CMD_EVAL_RO:
    case CMD_EVALSHA:
    case CMD_EVALSHA_RO:
    case CMD_FCALL:
    case CMD_FCALL_RO:
        return true;
    default:
        return false;
    }
}

/* What a script runs is seen by the node alone: it gets the rules of the user along. */
static enum exec_verdict go_on_as(struct exec *x, struct session *s, const struct command *c,
                                  const struct exec_input *in)
{
    struct str rules = {0};
    struct exec_input wrapped = *in;
    struct slice *argv = mem_alloc((in->argc + 3) * sizeof(*argv));
    acl_user_print(s->user, &rules);
    argv[0] = SLICE("SHOAL");
    argv[1] = SLICE("AS");
    argv[2] = str_slice(&rules);
    memcpy(argv + 3, in->argv, in->argc * sizeof(*argv));
    wrapped.chunk = gather_encode(argv, in->argc + 3, &wrapped.bytes, &wrapped.len);
    enum exec_verdict v = go_on(x, s, c, &wrapped);
    chunk_unref(&wrapped.chunk);
    mem_free(argv);
    str_fini(&rules);
    return v;
}

/* A RESP2 client that listens may be told anything at any time: only what concerns that goes. */
static bool may_say(const struct session *s, const struct command *c)
{
    switch (c->id) {
    case CMD_SUBSCRIBE:
    case CMD_UNSUBSCRIBE:
    case CMD_PSUBSCRIBE:
    case CMD_PUNSUBSCRIBE:
    case CMD_SSUBSCRIBE:
    case CMD_SUNSUBSCRIBE:
    case CMD_PING:
    case CMD_QUIT:
    case CMD_RESET:
        return true;
    default:
        return s->proto != 2 || !pubsub_listens(s);
    }
}

enum exec_verdict exec_command(struct exec *x, struct session *s, const struct exec_input *in)
{
    if (UNLIKELY(s->stop != STOP_NOT || s->closing)) {
        return EXEC_STOP;
    }
    if (UNLIKELY(window_full(x, s))) {
        session_stop(x, s, STOP_WINDOW);
        return EXEC_STOP;
    }
    if (UNLIKELY(s->out->bytes + s->parked > OUTPUT_PAUSE && !s->inner)) {
        session_stop(x, s, STOP_OUTPUT);
        return EXEC_STOP;
    }
    if (UNLIKELY(s->waits)) {
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    if (UNLIKELY(s->held > 0)) {
        session_stop(x, s, STOP_HELD);
        return EXEC_STOP;
    }
    if (UNLIKELY(s->routes_seen != x->routes_version)) {
        /* What is under way went by other routes: the node that has lost a shard may still refuse
         * it, and it would be sent again behind this one. */
        if (s->pending > 0) {
            session_stop(x, s, STOP_EMPTY);
            return EXEC_STOP;
        }
        s->routes_seen = x->routes_version;
    }
    const struct command *c = command_find(in->argv, in->argc);
    if (UNLIKELY(c == NULL || !command_arity_ok(c, in->argc) || (c->flags & CF_INTERNAL) != 0)) {
        return refuse(x, s, c, in);
    }
    if (UNLIKELY(s->subs != NULL) && !may_say(s, c)) {
        char text[200];
        snprintf(text, sizeof(text),
                 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                 "RESET are allowed in this context",
                 c->full_name);
        return exec_refuse(x, s, c, text);
    }
    if (UNLIKELY(!s->trusted)) {
        const char *why = refusal(x, s, c, in);
        if (why != NULL) {
            if (s->multi) {
                tx_spoil(s);
            }
            return exec_refuse(x, s, c, why);
        }
    }
    if (UNLIKELY(x->pause != EXEC_PAUSE_NOT) && pause_holds(x, s, c, in)) {
        return EXEC_STOP;
    }
    if (UNLIKELY(!s->trusted && s->user != NULL) && exec_runs_script(c)) {
        return go_on_as(x, s, c, in);
    }
    return go_on(x, s, c, in);
}

/* --- sessions --- */

void exec_session_gone(struct exec *x, struct session *s)
{
    CHECK_OBJ(s, SESSION_MAGIC);
    struct request *r = s->head;
    s->head = s->tail = NULL;
    s->pending = 0;
    list_remove(&s->wait);
    while (r != NULL) {
        struct request *next = r->next;
        r->session = NULL;
        r->next = NULL;
        if (r->gather != NULL && r->gather->run != NULL) {
            tx_run_orphan(r->gather->run);
        }
        if (r->state == REQUEST_READY) {
            request_free(x, r);
        } else if (r->wait != NULL) {
            (void)wait_gone(x, r);
        }
        r = next;
    }
    pause_forget(x, s);
    hold_drop(x, s);
    tx_free(x, s);
    pubsub_forget(x, s);
    exec_untrack(x, s);
}

void exec_session_drained(struct exec *x, struct session *s)
{
    if (s->stop == STOP_OUTPUT) {
        s->stop = STOP_NOT;
        x->port.session_resume(x->port.front, s);
    }
}

void exec_session_reset_tx(struct exec *x, struct session *s)
{
    tx_free(x, s);
}

/* --- time --- */

/* Whether the call at the head of its lane has waited long enough for the lane to be given up. One
 * that was held or tried elsewhere before has used up its request's time; the lane, and all who
 * stand behind it, still get a fair part. */
static bool is_overdue(const struct exec *x, const struct call *c)
{
    int64_t limit = x->settings.request_timeout_us;
    if (c->lane->busy) { /* it may take for ever, as with Redis, but the node says that it lives */
        return is_past(x, c->lane->heard_us, limit);
    }
    return is_past(x, c->request->start_us, limit) && is_past(x, c->sent_us, limit / 4);
}

/* A lane's own words (HELLO, PING, subscriptions, UNPARK) are answered at once, by a busy node too:
 * while the first of them is not, and nothing else is heard, nobody asks whether the lane stands.
 * Questions for fates have a clock of their own. */
static bool is_mute(const struct exec *x, const struct lane *l)
{
    const struct call *c = l->head;
    return c != NULL && c->request == NULL && l->kind != LANE_FATE &&
           is_past(x, MAX(c->sent_us, l->heard_us), x->settings.request_timeout_us);
}

static void check_timeouts(struct exec *x)
{
    LIST_FOREACH_SAFE(it, &x->lanes) {
        struct lane *l = container_of(it, struct lane, link);
        if (is_mute(x, l)) {
            lane_break(x, l, LANE_BROKEN);
            it_next = x->lanes.next;
            continue;
        }
        struct call *c = l->head;
        while (c != NULL && c->request == NULL) {
            c = c->next;
        }
        if (c != NULL && is_overdue(x, c)) {
            x->counters.timeouts++;
            /* Its answer could still come: only a new connection can tell the two apart. */
            lane_break(x, l, LANE_BROKEN);
            it_next = x->lanes.next; /* others may have gone with it */
        }
    }
}

void exec_tick(struct exec *x)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    x->tick_at_us = 0;
    free_spent(x);
    check_timeouts(x);
    hold_tick(x, false);
    pause_tick(x);
    waits_tick(x);
    ears_tick(x);
    owns_tick(x);
    lanes_settle(x);
    stranded_resume(x);
    routes_drop_spare(x);
    if (x->n_open > 0 || !list_empty(&x->stranded)) {
        exec_wake(x, x->now_us + TICK_US);
    }
}
