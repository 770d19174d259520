// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/wait.h"

#include "proxy/exec/encode.h"
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/wait_priv.h"
#include "proxy/route/router.h"

#include "common/base/num.h"
#include "common/cmd/slot.h"

#include <stdio.h>

#define PING_US   (1000 * 1000) /* a silent lane where somebody waits is asked if it stands */
#define STRAY_US  (1000 * 1000) /* so long a node may take to hear that it has lost a shard */
#define STRAYS_US (250 * 1000)

#define ERR_UNBLOCKED "UNBLOCKED client unblocked via CLIENT UNBLOCK"

/* --- the time in its words --- */

static uint32_t block_option(const struct slice *argv, size_t argc, size_t from)
{
    for (size_t i = from; i + 1 < argc; i++) {
        if (slice_is(argv[i], "block")) {
            return (uint32_t)i + 1;
        }
        if (slice_is(argv[i], "streams")) {
            break;
        }
        i += slice_is(argv[i], "count") ? 1 : 0;
    }
    return 0;
}

uint32_t wait_time_arg(const struct slice *argv, size_t argc, int command_id, bool *in_ms)
{
    *in_ms = false;
    switch (command_id) {
    case CMD_BLMPOP:
    case CMD_BZMPOP:
        return 1;
    case CMD_XREAD:
        *in_ms = true;
        return block_option(argv, argc, 1);
    case CMD_XREADGROUP:
        *in_ms = true;
        return block_option(argv, argc, 4);
    default:
        return (uint32_t)argc - 1;
    }
}

/* What makes no sense is the node's to refuse. */
static int64_t time_of(const struct exec *x, struct slice text, bool in_ms)
{
    double v;
    if (!num_parse_double(text, &v) || !(v > 0)) {
        return INT64_MAX;
    }
    v *= in_ms ? 1e3 : 1e6;
    return v > 1e17 ? INT64_MAX : x->now_us + (int64_t)v;
}

static const char *time_error(struct slice text, bool in_ms)
{
    double v = 0;
    int64_t ms = 0;
    if (in_ms ? !num_parse_i64(text, &ms) : !num_parse_double(text, &v) || v != v) {
        return in_ms ? "ERR timeout is not an integer or out of range"
                     : "ERR timeout is not a float or out of range";
    }
    return ms < 0 || v < 0 ? "ERR timeout is negative" : NULL;
}

int64_t wait_until(const struct request *r)
{
    return r->wait->until_us;
}

/* --- over --- */

static void set_blocked(struct exec *x, struct wait *w, bool on)
{
    if (w->blocked != on) {
        w->blocked = on;
        x->n_blocked += on ? 1 : -1u;
    }
}

void wait_free(struct exec *x, struct request *r)
{
    struct wait *w = r->wait;
    r->wait = NULL;
    wait_leave(x, w);
    set_blocked(x, w, false);
    if (r->session != NULL) {
        r->session->waits = false;
    }
    list_remove(&w->link);
    if (w->words != NULL) {
        chunk_unref(&w->words);
    }
    for (uint32_t i = 0; i < w->n_legs; i++) {
        if (w->legs[i].words != NULL) {
            chunk_unref(&w->legs[i].words);
        }
        if (w->legs[i].reply_chunk != NULL) {
            chunk_unref(&w->legs[i].reply_chunk);
        }
    }
    mem_free(w->legs);
    mem_free(w);
}

static void write_nil(const struct request *r, struct resp_writer *w)
{
    if (r->command->id == CMD_BLMOVE || r->command->id == CMD_BRPOPLPUSH) {
        resp_nil(w);
    } else {
        resp_nil_array(w);
    }
}

void wait_end(struct exec *x, struct request *r, bool error)
{
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    if (error) {
        resp_error(&w, ERR_UNBLOCKED);
    } else {
        write_nil(r, &w);
    }
    request_reply_out(x, r, &o);
}

void wait_timed_out(struct exec *x, struct call *c)
{
    if (c->kind == CALL_ONE) {
        wait_end(x, c->request, false);
        return;
    }
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = c->request->proto};
    write_nil(c->request, &w);
    gather_answer(x, c, o.pieces[o.first].chunk,
                  o.pieces[o.first].chunk->data + o.pieces[o.first].off, o.bytes);
    outbuf_fini(&o);
}

/* Nothing was taken: nil, or an error. */
static bool is_empty(const char *ptr)
{
    return *ptr == '-' || *ptr == '_' || ptr[1] == '-' || *ptr == '+';
}

/* --- where they are parked --- */

static struct parked *find_parked(const struct lane *l, uint64_t number)
{
    uint32_t low = 0, high = l->n_parked;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (l->parked[mid].number < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < l->n_parked && l->parked[low].number == number ? &l->parked[low] : NULL;
}

static void park(struct lane *l, uint64_t number, struct wait *w, uint32_t leg)
{
    if (l->n_parked == l->cap_parked) {
        l->cap_parked = l->cap_parked == 0 ? 8 : l->cap_parked * 2;
        l->parked = mem_realloc(l->parked, l->cap_parked * sizeof(*l->parked));
    }
    l->parked[l->n_parked++] = (struct parked){.number = number, .wait = w, .leg = leg};
}

static void unpark(struct lane *l, struct parked *p)
{
    uint32_t kept = 0;
    p->wait = NULL;
    if (++l->dead_parked < l->n_parked / 2 + 1) {
        return;
    }
    for (uint32_t i = 0; i < l->n_parked; i++) {
        if (l->parked[i].wait != NULL) {
            l->parked[kept++] = l->parked[i];
        }
    }
    l->n_parked = kept;
    l->dead_parked = 0;
}

static void say_unpark(struct exec *x, struct lane *l, uint64_t number, const char *how)
{
    char digits[NUM_I64_MAX_LEN];
    const struct slice words[4] = {SLICE("SHOAL"), SLICE("UNPARK"),
                                   slice_of(digits, num_print_u64(digits, number)), slice_str(how)};
    (void)lane_say(x, l, words, 4, CALL_HANDSHAKE);
}

/* Off the node's list: an answer that is on its way is for nobody. */
static void take_off(struct exec *x, struct lane **lp, uint64_t number)
{
    struct lane *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    struct parked *p = find_parked(l, number);
    if (l->losing) {
        p->wait = NULL;
        return;
    }
    unpark(l, p);
    say_unpark(x, l, number, "DROP");
}

void wait_leave(struct exec *x, struct wait *w)
{
    take_off(x, &w->lane, w->request->call.number);
    for (uint32_t i = 0; i < w->n_legs; i++) {
        take_off(x, &w->legs[i].lane, w->legs[i].number);
    }
}

static void note_blocked(struct exec *x, struct wait *w)
{
    if (!w->blocked && !w->stop) {
        x->counters.waits++;
        set_blocked(x, w, true);
    }
}

/* "*2 +PARKED *n <words>": it waits, and this is what it would say elsewhere. */
static bool parked_with_words(const char *ptr, size_t len)
{
    static const char head[] = "*2\r\n+PARKED\r\n*";
    return len > sizeof(head) && memcmp(ptr, head, sizeof(head) - 1) == 0;
}

static void take_words(struct call *c, const char *ptr, size_t len)
{
    struct resp_parser p;
    const char *array = ptr + 13;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    if (resp_parse(&p, slice_of(array, len - 13)) == RESP_OK) {
        struct slice *words = mem_alloc((p.argc + 2) * sizeof(*words));
        words[0] = SLICE("SHOAL");
        words[1] = SLICE("REPARK");
        memcpy(words + 2, p.argv, p.argc * sizeof(*words));
        struct chunk *old = c->chunk;
        c->chunk = gather_encode(words, p.argc + 2, &c->bytes, &c->len);
        chunk_unref(&old);
        mem_free(words);
    }
    resp_parser_fini(&p);
}

/* A leg keeps them without SHOAL PARK. */
static void leg_take_words(struct wait_leg *leg, const char *ptr, size_t len)
{
    chunk_unref(&leg->words);
    leg->words = chunk_new(len - 13);
    memcpy(leg->words->data, ptr + 13, len - 13);
    leg->words->len = len - 13;
}

bool wait_parks(struct exec *x, struct lane *l, struct call *c, struct chunk *chunk,
                const char *ptr, size_t len)
{
    struct wait *w = c->request->wait;
    bool words = parked_with_words(ptr, len);
    if (!words && (len != 9 || memcmp(ptr, "+PARKED\r\n", 9) != 0)) {
        if (c->request->session == NULL && !is_empty(ptr)) {
            x->counters.waits_lost++;
        }
        return false;
    }
    if (c->kind == CALL_PART) {
        struct wait_leg *leg = &w->legs[w->asked];
        leg->lane = l;
        leg->number = c->number;
        leg->waited = true;
        if (words && w->reads) {
            leg_take_words(leg, ptr, len);
        }
        park(l, c->number, w, w->asked);
        note_blocked(x, w);
        gather_answer(x, c, chunk, ptr, len);
        return true;
    }
    c->tries = 0;
    w->lane = l;
    park(l, c->number, w, 0);
    if (c->request->session == NULL) {
        request_free(x, c->request); /* it went meanwhile */
        return true;
    }
    if (words) {
        take_words(c, ptr, len);
    }
    call_own_bytes(c);
    note_blocked(x, w);
    if (w->stop) {
        say_unpark(x, l, c->number, w->stop_error ? "ERROR" : "TIMEOUT");
    }
    return true;
}

/* ">3 park <number> <answer>"; false: something else. */
static bool read_push(const char **ptr, size_t *len, uint64_t *number)
{
    static const char head[] = ">3\r\n$4\r\npark\r\n:";
    const size_t n = sizeof(head) - 1;
    if (*len < n || memcmp(*ptr, head, n) != 0) {
        return false;
    }
    const char *eol = memchr(*ptr + n, '\r', *len - n);
    if (eol == NULL || !num_parse_u64(slice_of(*ptr + n, (size_t)(eol - *ptr) - n), number)) {
        return false;
    }
    size_t used = (size_t)(eol - *ptr) + 2;
    *ptr += used;
    *len -= used;
    return true;
}

/* The node does not serve the shard any more, and knows nobody who does. */
static bool is_unseated(const char *ptr, size_t len)
{
    static const char text[] = "-UNBLOCKED force";
    return len > sizeof(text) && memcmp(ptr, text, sizeof(text) - 1) == 0;
}

void wait_pushed(struct exec *x, struct lane *l, struct chunk *chunk, const char *ptr, size_t len)
{
    uint64_t number;
    struct parked *p;
    if (!read_push(&ptr, &len, &number)) {
        return;
    }
    p = find_parked(l, number);
    if (p == NULL || p->wait == NULL) {
        x->counters.waits_lost += !is_empty(ptr);
        return;
    }
    struct wait *w = p->wait;
    uint32_t leg = p->leg;
    unpark(l, p);
    if (w->n_legs > 0) {
        w->legs[leg].lane = NULL;
        if (w->reads) {
            reads_pushed(x, w, leg, chunk, ptr, len);
        } else {
            wait_go_on(x, w);
        }
        return;
    }
    struct call *c = &w->request->call;
    w->lane = NULL;
    c->request->start_us = x->now_us; /* waiting is no work */
    if (is_unseated(ptr, len)) {
        c->granted = true;
        c->sent_us = x->now_us;
        call_refused(x, c, ERR_CLUSTERDOWN);
    } else if (*ptr == '-') {
        c->granted = true; /* elsewhere it has its time anew */
        c->sent_us = x->now_us;
        call_answered_error(x, c, chunk, ptr, len);
    } else {
        call_answer(x, c, chunk, ptr, len);
    }
}

/* --- where they do not belong any more --- */

/* What it waits for may have been taken since that lane was heard last. */
static void lose(struct exec *x, struct lane *l, struct wait *w, uint32_t leg)
{
    if (w->n_legs > 0) {
        w->legs[leg].lane = NULL; /* only the notice is lost: it is asked at the next tick */
        exec_wake(x, x->now_us + 1000);
        return;
    }
    struct call *c = &w->request->call;
    w->lane = NULL;
    c->granted = true;
    c->sent_us = l->heard_us;
    if (c->write) {
        fate_begin(x, l, c);
    } else {
        c->sent_us = x->now_us;
        call_hold(x, c, x->now_us + 1000);
    }
}

void waits_lost(struct exec *x, struct lane *l)
{
    l->losing = true;
    for (uint32_t i = 0; i < l->n_parked; i++) {
        struct wait *w = l->parked[i].wait;
        l->parked[i].wait = NULL;
        if (w != NULL) {
            lose(x, l, w, l->parked[i].leg);
        }
    }
    l->losing = false;
    l->n_parked = l->dead_parked = 0;
}

/* A node that has lost the shard tells those who wait there; one that does not hear of it can't. */
static void check_stray(struct exec *x, struct lane *l, uint64_t number)
{
    struct parked *p = find_parked(l, number);
    INVARIANT(p != NULL);
    struct wait *w = p->wait;
    INVARIANT(w != NULL);
    int shard = w->n_legs > 0 ? w->legs[p->leg].shard : w->request->call.shard;
    struct target *chosen = x->routes[shard].chosen;
    if (chosen == NULL || chosen == l->target) {
        p->astray_us = 0;
    } else if (p->astray_us == 0) {
        p->astray_us = x->now_us;
    } else if (x->now_us - p->astray_us > STRAY_US) {
        uint32_t leg = p->leg;
        unpark(l, p);
        say_unpark(x, l, number, "DROP");
        lose(x, l, w, leg);
    }
}

static void ping(struct exec *x, struct lane *l)
{
    static const struct slice words[1] = {SLICE("PING")};
    bool listens = l->n_parked > l->dead_parked || l->kind == LANE_EAR;
    if (listens && !l->leaving && l->state == LANE_UP && l->head == NULL &&
        x->now_us - l->heard_us > PING_US) {
        (void)lane_say(x, l, words, 1, CALL_HANDSHAKE);
    }
}

static void look_for_strays(struct exec *x, struct lane *l)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < l->n_parked;) {
        if (l->parked[i].wait == NULL || l->parked[i].number <= number) {
            i++;
            continue;
        }
        number = l->parked[i].number;
        check_stray(x, l, number);
        i = i < l->n_parked ? i : 0; /* it may have been closed up */
    }
}

void waits_tick(struct exec *x)
{
    LIST_FOREACH_SAFE(it, &x->waits) {
        struct wait *w = container_of(it, struct wait, link);
        if (w->n_legs > 0 && x->now_us >= w->until_us) {
            wait_stop(x, w, false);
        } else if (w->n_legs > 0) {
            wait_go_on(x, w);
        }
    }
    bool look = x->now_us - x->strays_us > STRAYS_US;
    x->strays_us = look ? x->now_us : x->strays_us;
    LIST_FOREACH(it, &x->lanes) {
        struct lane *l = container_of(it, struct lane, link);
        ping(x, l);
        if (look) {
            look_for_strays(x, l);
        }
    }
}

/* --- again --- */

static size_t print_left(const struct exec *x, const struct wait *w, char *to, size_t room)
{
    int64_t left_us = w->until_us - x->now_us;
    int n = w->in_ms ? snprintf(to, room, "%lld", (long long)(left_us / 1000 + 1))
                     : snprintf(to, room, "%.6f", (double)left_us / 1e6);
    return (size_t)n;
}

bool wait_renew(struct exec *x, struct call *c)
{
    struct wait *w = c->request->wait;
    bool again = w->sent;
    w->sent = true;
    if (w->stop && c->kind == CALL_ONE) {
        wait_end(x, c->request, w->stop_error);
        return false;
    }
    if (!again) {
        return true;
    }
    if (w->until_us != INT64_MAX && x->now_us >= w->until_us) {
        wait_timed_out(x, c);
        return false;
    }
    if (c->kind != CALL_ONE || (w->until_us == INT64_MAX && !w->blocked)) {
        return true; /* its words tell no time */
    }
    char left[32];
    struct resp_parser p;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    enum resp_status st = resp_parse(&p, slice_of(c->bytes, c->len));
    INVARIANT(st == RESP_OK);
    struct slice *words = mem_alloc(p.argc * sizeof(*words));
    memcpy(words, p.argv, p.argc * sizeof(*words));
    if (w->blocked) { /* a key of another type is nothing to complain of any more */
        words[1] = SLICE("REPARK");
    }
    if (w->until_us != INT64_MAX) {
        words[w->time_arg + 2] = slice_of(left, print_left(x, w, left, sizeof(left)));
    }
    struct chunk *old = c->chunk;
    c->chunk = gather_encode(words, p.argc, &c->bytes, &c->len);
    chunk_unref(&old);
    mem_free(words);
    resp_parser_fini(&p);
    return true;
}

/* --- its end from outside --- */

bool wait_gone(struct exec *x, struct request *r)
{
    struct wait *w = r->wait;
    bool parked = w->lane != NULL || (w->n_legs > 0 && !w->asking);
    if (parked) {
        request_free(x, r);
    }
    return parked;
}

/* Whoever asks next finds a client that does not wait, though its end may take a moment: the node's
 * word, or what had become of it where its lane broke. */
bool exec_unblock(struct exec *x, struct session *s, bool error)
{
    struct request *r = s->head;
    if (!exec_session_blocked(s)) {
        return false;
    }
    struct wait *w = r->wait;
    w->stop = true;
    w->stop_error = error;
    set_blocked(x, w, false);
    if (w->n_legs > 0) {
        wait_stop(x, w, error);
    } else if (w->lane != NULL) {
        say_unpark(x, w->lane, r->call.number, error ? "ERROR" : "TIMEOUT");
    } else if (s->held_head == &r->call && r->call.fate == NULL) { /* between two primaries */
        hold_take(x, &r->call);
        wait_end(x, r, error);
    }
    return true;
}

bool exec_session_blocked(const struct session *s)
{
    return s->waits && s->head != NULL && s->head->wait != NULL && s->head->wait->blocked;
}

size_t exec_blocked(const struct exec *x)
{
    return x->n_blocked;
}

/* --- its beginning --- */

static struct wait *wait_new(struct exec *x, struct request *r, const struct exec_input *in,
                             uint32_t time_arg, bool in_ms)
{
    struct wait *w = r->wait = mem_zalloc(sizeof(*w));
    w->request = r;
    w->time_arg = time_arg;
    w->in_ms = in_ms;
    w->until_us = time_of(x, in->argv[time_arg], in_ms);
    list_append(&x->waits, &w->link);
    r->session->waits = true;
    return w;
}

static void start_one(struct exec *x, struct request *r, const struct exec_input *in, int shard)
{
    struct call *c = &r->call;
    size_t n = in->argc + 2;
    struct slice *words = mem_alloc(n * sizeof(*words));
    words[0] = SLICE("SHOAL");
    words[1] = SLICE("PARK");
    memcpy(words + 2, in->argv, in->argc * sizeof(*words));
    const struct exec_input wrapped = {.argv = words, .argc = n};
    c->shard = shard;
    c->write = !(r->command->flags & CF_READONLY);
    c->primary = true;
    call_keep_bytes(x, c, &wrapped, &x->park);
    mem_free(words);
    call_send(x, c);
}

enum exec_verdict exec_wait(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in)
{
    int shard = -1;
    bool in_ms;
    uint32_t time_arg = wait_time_arg(in->argv, in->argc, c->id, &in_ms);
    if (time_arg == 0 &&
        (!wait_reads_streams(c) ||
         router_keys(c, in->argv, in->argc, x->shards, &x->keys, &shard) != ROUTER_SEVERAL)) {
        return exec_by_keys(x, s, c, in);
    }
    if (s->pending > 0) { /* what it has sent before must not come behind it on another lane */
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    enum router_keys keys = router_keys(c, in->argv, in->argc, x->shards, &x->keys, &shard);
    if (keys == ROUTER_KEYLESS) {
        return exec_one(x, s, c, in, CALL_ANY); /* the node words the error */
    }
    if (keys == ROUTER_SEVERAL && !wait_may_span(c)) {
        return exec_refuse(x, s, c, ERR_CROSSSLOT);
    }
    const char *wrong =
        keys == ROUTER_SEVERAL && time_arg != 0 ? time_error(in->argv[time_arg], in_ms) : NULL;
    if (wrong != NULL) { /* what goes to the nodes tells no time */
        return exec_refuse(x, s, c, wrong);
    }
    if (keys == ROUTER_ONE && !exec_room_for(x, s, x->routes[shard].primary)) {
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    struct wait *w = wait_new(x, r, in, time_arg, in_ms);
    if (keys == ROUTER_ONE) {
        start_one(x, r, in, shard);
    } else {
        wait_start_many(x, w, in);
    }
    return EXEC_TAKEN;
}
