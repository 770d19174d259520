// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/own.h"

#include "proxy/exec/own_priv.h"
#include "proxy/exec/pubsub.h"
#include "proxy/exec/tx.h"

#include "common/cmd/slot.h"

#define CHANNEL "__redis__:invalidate" /* for RESP2 clients that others redirect to */
#define ALL_US  (300 * 1000) /* what several nodes say of one FLUSHALL comes within so long */

/* --- what a client is told --- */

/* Nodes' answers are in hand, or may be, that the client does not have yet. */
static bool reads_open(const struct session *s)
{
    for (const struct request *r = s->head; r != NULL; r = r->next) {
        if (r->state == REQUEST_READY || (r->gather != NULL && !wait_keeps_nothing(r))) {
            return true;
        }
    }
    return false;
}

/* Behind the replies that came before it, which may wait for others' still. */
static void push(struct exec *x, struct session *s, struct slice head, struct slice value)
{
    struct own *own = s->own;
    if (own != NULL && (own->late.bytes > 0 || reads_open(s))) {
        outbuf_append(&own->late, head.ptr, head.len);
        outbuf_append(&own->late, value.ptr, value.len);
        own->late_after = s->tail == NULL ? 0 : s->tail->number;
        return;
    }
    size_t before = s->out->bytes;
    outbuf_append(s->out, head.ptr, head.len);
    outbuf_append(s->out, value.ptr, value.len);
    session_pushed(x, s, before);
}

void own_replied(struct exec *x, struct session *s)
{
    struct own *own = s->own;
    if (own->late.bytes > 0 && (s->head == NULL || s->head->number > own->late_after)) {
        size_t before = s->out->bytes;
        outbuf_splice(s->out, &own->late);
        if (before == 0) {
            x->port.session_flush(x->port.front, s);
        }
    }
}

bool exec_invalidate(struct exec *x, struct session *to, struct slice value)
{
    static const char message[] = "*3\r\n$7\r\nmessage\r\n$20\r\n" CHANNEL "\r\n";
    if (to->closing) {
        return true;
    }
    if (to->proto == 3) {
        push(x, to, SLICE(">2\r\n$10\r\ninvalidate\r\n"), value);
    } else if (pubsub_listens(to)) {
        push(x, to, slice_of(message, sizeof(message) - 1),
             *value.ptr == '_' ? SLICE("*-1\r\n") : value);
    } else {
        return false;
    }
    return true;
}

static void tell(struct exec *x, struct own *own, struct slice value)
{
    if (own->redirect != 0) {
        x->port.redirect(x->port.front, own->session, own->redirect, value);
    } else if (own->session->proto == 3) {
        (void)exec_invalidate(x, own->session, value);
    }
}

void own_tell_key(struct exec *x, struct own *own, struct slice key)
{
    struct str value = {0};
    str_printf(&value, "*1\r\n$%zu\r\n", key.len);
    str_append_slice(&value, key);
    str_appendz(&value, "\r\n");
    tell(x, own, str_slice(&value));
    str_fini(&value);
}

void exec_redirect_broken(struct exec *x, struct session *s)
{
    struct own *own = s->own;
    if (own == NULL) {
        return;
    }
    own->broken = true;
    if (s->proto == 3) {
        struct str text = {0};
        str_printf(&text, ">2\r\n$21\r\ntracking-redir-broken\r\n:%llu\r\n",
                   (unsigned long long)own->redirect);
        push(x, s, str_slice(&text), SLICE(""));
        str_fini(&text);
    }
}

/* Everything: once for what several nodes say of the same. A node by which nothing was read since
 * has nothing to add. */
static void tell_all(struct exec *x, struct own *own, struct lane *l)
{
    bool lately = own->all_us != 0 && x->now_us - own->all_us < ALL_US;
    bool news = l->fresh;
    l->fresh = false;
    if (lately && !news) {
        if (own->flags & OWN_BCAST) { /* who fills what is to be forgotten is not known */
            own->again = true;
            exec_wake(x, own->all_us + ALL_US);
        }
        return;
    }
    own->again = false;
    own->all_us = x->now_us;
    for (uint32_t i = 0; i < own->n_lanes; i++) {
        own->lanes[i]->fresh = false;
    }
    if (!(own->flags & OWN_BCAST)) {
        own_keys_clear(own);
    }
    tell(x, own, SLICE("_\r\n"));
}

/* Whatever others have said: what was missed may have been read since. With BCAST once more behind
 * the last of several. */
void own_tell_all(struct exec *x, struct own *own)
{
    if (own->n_lanes > 0) {
        own->lanes[0]->fresh |= (own->flags & OWN_BCAST) == 0;
        tell_all(x, own, own->lanes[0]);
    }
}

static bool begins(const char *ptr, size_t len, struct slice head)
{
    return len > head.len && memcmp(ptr, head.ptr, head.len) == 0;
}

bool own_pushed(struct exec *x, struct lane *l, const char *ptr, size_t len)
{
    const struct slice head = SLICE(">2\r\n$10\r\ninvalidate\r\n");
    bool about = begins(ptr, len, SLICE(">5\r\n$5\r\ntrack\r\n")) ||
                 begins(ptr, len, SLICE(">4\r\n$7\r\nuntrack\r\n")) ||
                 begins(ptr, len, SLICE(">4\r\n$4\r\ntold\r\n"));
    if (!about && !begins(ptr, len, head)) {
        return false;
    }
    if (l->own == NULL) {
        return true;
    }
    if (about) {
        own_told(x, l, slice_of(ptr, len));
        return true;
    }
    struct slice value = slice_of(ptr + head.len, len - head.len);
    if (*value.ptr == '*' && value.ptr[1] != '-') {
        own_keys_changed(l->own, value);
        tell(x, l->own, value);
    } else {
        if (!(l->own->flags & OWN_BCAST)) {
            own_keys_of_lane(x, l->own, l, true);
        }
        tell_all(x, l->own, l);
    }
    return true;
}

/* --- lanes --- */

static void say_tracking(struct own *own, const struct slice *prefixes, size_t n_prefixes,
                         struct slice **words, size_t *n_words)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } flags[] = {
        {OWN_BCAST, "BCAST"}, {OWN_OPTIN, "OPTIN"}, {OWN_OPTOUT, "OPTOUT"}, {OWN_NOLOOP, "NOLOOP"}};
    struct slice *w = mem_alloc((3 + ARRAY_LEN(flags) + 2 * n_prefixes) * sizeof(*w));
    size_t n = 0;
    w[n++] = SLICE("CLIENT");
    w[n++] = SLICE("TRACKING");
    w[n++] = SLICE("ON");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (own->flags & flags[i].flag) {
            w[n++] = slice_str(flags[i].word);
        }
    }
    for (size_t i = 0; i < n_prefixes; i++) {
        w[n++] = SLICE("PREFIX");
        w[n++] = prefixes[i];
    }
    *words = w;
    *n_words = n;
}

void own_words(const struct lane *l, struct slice **words, size_t *n)
{
    say_tracking(l->own, l->own->prefixes, l->own->n_prefixes, words, n);
}

/* Its session has no use for it any more; what is under way by it ends first. */
static void retire(struct exec *x, struct own *own, uint32_t i)
{
    struct lane *l = own->lanes[i];
    own->lanes[i] = own->lanes[--own->n_lanes];
    l->own = NULL;
    tx_lane_gone(own->session, l);
    list_append(&x->leaving, &l->idle);
    exec_wake(x, x->now_us + 1000);
}

/* HELLO: other replies from now on. */
static void speak(struct exec *x, struct lane *l, int proto)
{
    if (l->proto == proto) {
        return;
    }
    l->proto = (uint8_t)proto;
    if (l->state != LANE_DOWN) {
        const struct slice words[2] = {SLICE("HELLO"), proto == 3 ? SLICE("3") : SLICE("2")};
        (void)lane_say(x, l, words, 2, CALL_HANDSHAKE);
    }
}

struct lane *own_lane(struct exec *x, struct session *s, struct target *t)
{
    struct own *own = s->own;
    for (uint32_t i = 0; i < own->n_lanes; i++) {
        struct lane *l = own->lanes[i];
        if (l->target == t) {
            speak(x, l, s->proto);
            return l;
        }
    }
    struct lane *l = lane_make(t, LANE_OWN, s->proto);
    l->own = own;
    t->n_pinned++;
    own->lanes = mem_realloc(own->lanes, (own->n_lanes + 1) * sizeof(struct lane *));
    own->lanes[own->n_lanes++] = l;
    return l;
}

static bool is_settled(const struct own *own)
{
    for (uint32_t i = 0; i < own->n_lanes; i++) {
        const struct lane *l = own->lanes[i];
        if (l->state == LANE_CONNECTING || (l->state == LANE_UP && l->acked < l->said)) {
            return false;
        }
    }
    return true;
}

void own_check(struct exec *x, struct own *own)
{
    struct request *r = own->request;
    if (r != NULL && is_settled(own)) {
        own->request = NULL;
        for (uint32_t i = 0; i < own->n_lanes; i++) {
            own->lanes[i]->whole = own->lanes[i]->state == LANE_UP;
        }
        local_finish_slice(x, r, SLICE("+OK\r\n"));
    }
}

void own_lost(struct exec *x, struct lane *l)
{
    struct own *own = l->own;
    if (own == NULL) {
        return;
    }
    if (l->bare && !(own->flags & OWN_BCAST)) {
        l->fresh = true;
        tell_all(x, own, l);
    }
    own_keys_of_lane(x, own, l, false);
    exec_wake(x, x->now_us + 1000);
    own_check(x, own);
}

/* BCAST: at every node. */
static void open_all(struct exec *x, struct own *own)
{
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->node != NODE_NONE && t->alive) {
            (void)lane_ready(x, own_lane(x, own->session, t));
        }
    }
}

uint64_t own_say(struct exec *x, struct lane *l, const struct slice *words, size_t n)
{
    return lane_say(x, l, words, n, CALL_TRACK)->number;
}

/* What the node remembers of a read it says behind the reply, and of a key that it remembers
 * already nothing: the answer to anything else tells that there was nothing. */
static void ask_whether_all(struct exec *x, const struct own *own)
{
    static const struct slice words[1] = {SLICE("PING")};
    for (uint32_t i = 0; i < own->n_lanes; i++) {
        struct lane *l = own->lanes[i];
        if (l->bare && l->state == LANE_UP && l->head == NULL) {
            (void)own_say(x, l, words, 1);
        }
    }
}

void owns_tick(struct exec *x)
{
    LIST_FOREACH(it, &x->owns) {
        struct own *own = container_of(it, struct own, link);
        if (own->flags & OWN_BCAST) {
            open_all(x, own);
        }
        own_keys_tick(x, own);
        ask_whether_all(x, own);
        if (own->again && x->now_us - own->all_us >= ALL_US) {
            own->again = false;
            own->all_us = x->now_us;
            tell(x, own, SLICE("_\r\n"));
        }
    }
    LIST_FOREACH_SAFE(it, &x->leaving) {
        struct lane *l = container_of(it, struct lane, idle);
        if (l->head == NULL) {
            lane_free(x, &l);
        } else {
            exec_wake(x, x->now_us + TICK_US);
        }
    }
}

/* --- on and off --- */

static bool has_prefix(const struct own *own, struct slice one)
{
    for (size_t i = 0; i < own->n_prefixes; i++) {
        if (slice_eq(own->prefixes[i], one)) {
            return true;
        }
    }
    return false;
}

static int compare(struct slice a, struct slice b)
{
    int order = MIN(a.len, b.len) == 0 ? 0 : memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static void add_prefix(struct own *own, struct slice one)
{
    char *copy = mem_alloc(one.len + 1);
    if (one.len > 0) {
        memcpy(copy, one.ptr, one.len);
    }
    own->prefixes = mem_realloc(own->prefixes, (own->n_prefixes + 1) * sizeof(*own->prefixes));
    size_t at = own->n_prefixes++;
    while (at > 0 && compare(own->prefixes[at - 1], one) > 0) {
        own->prefixes[at] = own->prefixes[at - 1];
        at--;
    }
    own->prefixes[at] = slice_of(copy, one.len);
}

static struct own *own_new(struct exec *x, struct session *s)
{
    struct own *own = s->own = mem_zalloc(sizeof(*own));
    own->session = s;
    own_keys_init(own);
    list_append(&x->owns, &own->link);
    return own;
}

void exec_track(struct exec *x, struct session *s, uint32_t flags, uint64_t redirect,
                const struct slice *prefixes, size_t n, struct request *r)
{
    const struct slice all = SLICE("");
    const struct slice ping = SLICE("PING");
    struct own *own = s->own == NULL ? own_new(x, s) : s->own;
    if ((flags & OWN_BCAST) && n == 0) {
        prefixes = &all;
        n = 1;
    }
    own->flags = flags;
    own->redirect = redirect;
    own->broken = false;
    if ((flags & OWN_BCAST) && n > 0 && own->n_prefixes == 0) {
        own_keys_clear(own); /* what was read before is not told any more */
    }
    struct slice *fresh = mem_alloc((n + 1) * sizeof(*fresh));
    size_t n_fresh = 0;
    for (size_t i = 0; i < n; i++) {
        if (!has_prefix(own, prefixes[i])) {
            fresh[n_fresh++] = prefixes[i];
            add_prefix(own, prefixes[i]);
        }
    }
    struct slice *words;
    size_t n_words;
    say_tracking(own, fresh, n_fresh, &words, &n_words);
    for (uint32_t i = 0; i < own->n_lanes; i++) {
        struct lane *l = own->lanes[i];
        if (l->state != LANE_DOWN) {
            l->said = lane_say(x, l, words, n_words, CALL_HANDSHAKE)->number;
            if (flags & OWN_BCAST) { /* what the node says behind its answer belongs to it */
                l->said = own_say(x, l, &ping, 1);
            }
        }
    }
    mem_free(words);
    mem_free(fresh);
    INVARIANT(own->request == NULL);
    own->request = r;
    if (flags & OWN_BCAST) {
        open_all(x, own);
    }
    own_check(x, own);
}

void exec_untrack(struct exec *x, struct session *s)
{
    struct own *own = s->own;
    if (own == NULL) {
        return;
    }
    if (own->request != NULL) {
        struct request *r = own->request;
        own->request = NULL;
        local_finish_slice(x, r, SLICE("+OK\r\n"));
    }
    while (own->n_lanes > 0) {
        retire(x, own, own->n_lanes - 1);
    }
    outbuf_splice(s->out, &own->late);
    own_keys_fini(own);
    s->own = NULL;
    list_remove(&own->link);
    for (size_t i = 0; i < own->n_prefixes; i++) {
        mem_free((void *)(uintptr_t)own->prefixes[i].ptr);
    }
    outbuf_fini(&own->late);
    mem_free(own->prefixes);
    mem_free(own->lanes);
    mem_free(own);
}

struct own_view exec_tracking(const struct session *s)
{
    const struct own *own = s->own;
    if (own == NULL) {
        return (struct own_view){0};
    }
    return (struct own_view){.on = true,
                             .flags = own->flags,
                             .redirect = own->redirect,
                             .broken = own->broken,
                             .caching = own->caching,
                             .prefixes = own->prefixes,
                             .n_prefixes = own->n_prefixes};
}

void exec_set_caching(struct session *s)
{
    s->own->caching = true;
}

/* --- commands --- */

/* What CLIENT CACHING said is of one command, or one transaction. */
void own_taken(struct session *s, struct request *r)
{
    const struct command *c = r->command;
    if (!s->own->caching || c == NULL || c->id == CMD_CLIENT || c->parent_id == CMD_CLIENT) {
        return;
    }
    r->caching = true;
    s->own->caching = s->multi && c->id != CMD_EXEC;
}

void own_put_caching(struct exec *x, struct lane *l, struct call *c)
{
    const struct slice words[3] = {SLICE("CLIENT"), SLICE("CACHING"),
                                   l->own->flags & OWN_OPTOUT ? SLICE("NO") : SLICE("YES")};
    (void)x;
    resp_request(l->out, words, 3);
    c->swallow++;
}

enum exec_verdict exec_own(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, int shard)
{
    struct target *t = shard >= 0 ? x->routes[shard].primary : x->any;
    struct lane *l = t == NULL ? NULL : own_lane(x, s, t);
    if (l != NULL && l->state != LANE_DOWN && !lane_has_room(x, l)) {
        session_stop(x, s, STOP_LANE);
        list_append(&l->stopped, &s->wait);
        l->full = true;
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    r->call.shard = shard;
    r->call.db = s->db;
    r->call.write = !(c->flags & CF_READONLY);
    r->call.primary = true;
    call_keep_bytes(x, &r->call, in, &x->park);
    if (t == NULL && s->pending > 1) {
        call_hold(x, &r->call, x->now_us + 1000); /* what it has under way may still be refused */
    } else {
        call_send(x, &r->call);
    }
    return EXEC_TAKEN;
}
