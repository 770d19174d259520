// SPDX-License-Identifier: BSD-3-Clause
/* What became of the writes that were under way when their lane broke (docs/REPLICATION.md, section
 * 9). They are held, each client's in its order. For each broken lane and shard the shard's present
 * primary is asked which of them are in its log: those get the reply that stands there, the others
 * are sent again if the log surely goes back far enough; whatever is in doubt stays so, and the
 * client is told. */
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/script.h"

#include "common/base/log.h"
#include "common/base/num.h"

#include <stdio.h>

#define DELAY_MAX_US (50 * 1000)
/* Within which an answer must come to count; doubles. Short at first: it is asked for on top of the
 * writes' age, and a node that has not run for long does not go back further. */
#define SLACK_US    (50 * 1000)
#define SLACK_STEPS 10
#define SILENT_US   (1000 * 1000) /* at least, until a question counts as stuck */

struct fate {
    struct list link; /* in exec's fates */
    uint64_t lane_id;
    int shard;
    uint64_t from;   /* the lowest number among them */
    int64_t sent_us; /* when the first of them was appended to the lane */
    int64_t begun_us;
    int64_t heard_us;      /* when a primary of the shard last said anything, or was chosen */
    int64_t due_us;        /* not to be asked before */
    int64_t asked_us;      /* when the question under way was sent */
    int64_t slack_us;      /* how long its answer may take */
    uint32_t slow;         /* answers that came too late */
    uint32_t refusals;     /* answers that said: not now */
    uint32_t silences;     /* questions without an answer */
    struct call *question; /* on a lane; NULL: none */
    struct target *asked;
    const struct target *chosen; /* the shard's primary, as of the last look */
    struct call **calls;         /* in the order of their numbers; NULL: over */
    uint32_t n, cap;
    uint32_t left; /* that are not NULL */
    bool complete; /* the answer: the log goes back far enough */
};

/* Their outcome is unknown when so much time has passed without a word of a primary; and at the
 * latest after GIVE_UP_TIMES as much: it says all the time that it cannot tell yet. */
#define GIVE_UP_TIMES 4

int64_t fate_deadline(const struct exec *x, const struct fate *f)
{
    int64_t silence = x->settings.request_timeout_us + x->settings.failover_hold_us;
    int64_t from = MIN(f->heard_us, f->begun_us + (GIVE_UP_TIMES - 1) * silence);
    return from + silence + patience_since(&x->patience, from);
}

static struct fate *fate_for(struct exec *x, const struct lane *l, const struct call *c)
{
    for (struct list *it = x->fates.prev; it != &x->fates; it = it->prev) {
        struct fate *f = container_of(it, struct fate, link);
        if (f->lane_id == l->id && f->shard == c->shard) {
            return f;
        }
    }
    struct fate *f = mem_zalloc(sizeof(*f));
    *f = (struct fate){.lane_id = l->id,
                       .shard = c->shard,
                       .from = c->number,
                       .sent_us = c->sent_us,
                       .due_us = x->now_us};
    f->begun_us = f->heard_us = x->now_us;
    f->chosen = x->routes[c->shard].chosen;
    list_append(&x->fates, &f->link);
    exec_wake(x, x->now_us);
    return f;
}

static void fate_free(struct fate *f)
{
    if (f->question != NULL) {
        f->question->fate = NULL; /* its answer is for nobody */
    }
    list_remove(&f->link);
    mem_free(f->calls);
    mem_free(f);
}

void fate_drop_all(struct exec *x)
{
    while (!list_empty(&x->fates)) {
        struct fate *f = container_of(x->fates.next, struct fate, link);
        INVARIANT(f->left == 0);
        fate_free(f);
    }
}

void fate_unknown(struct exec *x, struct call *c)
{
    if (UNLIKELY(fate_is_search(c))) {
        fate_search_over(x, c, false);
        return;
    }
    x->counters.unknown_outcome += c->request->session != NULL;
    hold_overtaken(x, c);
    call_error(x, c, ERR_UNKNOWN_OUTCOME);
}

void fate_begin(struct exec *x, const struct lane *l, struct call *c)
{
    /* Messages leave nothing in a log. */
    bool askable =
        l->counted && c->request->session != NULL && (c->request->command->flags & CF_PUBSUB) == 0;
    if (askable && c->shard == CALL_MULTI) {
        gather_scatter(x, c, l);
        return;
    }
    if (askable && fate_is_loose(x, c)) {
        fate_loose_begin(x, l, c);
        return;
    }
    if (!askable || c->shard < 0) {
        fate_unknown(x, c);
        return;
    }
    if (PLANTED(PLANT_RESEND)) {
        call_lost(x, c, false, ERR_UNKNOWN_OUTCOME);
        return;
    }
    struct fate *f = fate_for(x, l, c);
    c->fate = f;
    hold_unresolved(x, c);
    if (f->n == f->cap) {
        f->cap = f->cap == 0 ? 8 : f->cap * 2;
        f->calls = mem_realloc(f->calls, f->cap * sizeof(struct call *));
    }
    f->from = MIN(f->from, c->number);
    f->sent_us = MIN(f->sent_us, c->sent_us);
    f->calls[f->n++] = c;
    f->left++;
}

void fate_forget(struct call *c)
{
    struct fate *f = c->fate;
    c->fate = NULL;
    for (uint32_t i = 0; f != NULL && i < f->n; i++) {
        if (f->calls[i] == c) {
            f->calls[i] = NULL;
            f->left--;
            return;
        }
    }
}

/* --- asking --- */

static void ask_later(struct exec *x, struct fate *f)
{
    const struct retry_policy p = {.initial_us = x->settings.retry_initial_delay_us,
                                   .max_us = MIN(x->settings.retry_max_delay_us, DELAY_MAX_US),
                                   .backoff_percent = x->settings.retry_backoff_percent};
    f->due_us = x->now_us + retry_delay_us(&p, f->refusals++, &x->rng);
    exec_wake(x, f->due_us);
}

/* Of the age that is asked for: from when the first was sent until the answer is made. */
static uint64_t age_ms(const struct exec *x, const struct fate *f)
{
    return (uint64_t)(x->now_us - f->sent_us + f->slack_us) / 1000 + 1;
}

static void ask(struct exec *x, struct fate *f)
{
    struct target *t = x->routes[f->shard].chosen;
    struct lane *l = lane_of(x, t, LANE_FATE, 2);
    if (!lane_ready(x, l)) {
        f->due_us = MAX(t->retry_at_us, x->now_us + 1000);
        exec_wake(x, f->due_us);
        return;
    }
    char id[NUM_I64_MAX_LEN], shard[NUM_I64_MAX_LEN], from[NUM_I64_MAX_LEN], age[NUM_I64_MAX_LEN];
    f->asked = t;
    f->asked_us = x->now_us;
    f->slack_us = SLACK_US << MIN(f->slow, SLACK_STEPS);
    const struct slice words[6] = {
        SLICE("SHOAL"),
        SLICE("FATE"),
        slice_of(id, num_print_u64(id, f->lane_id)),
        slice_of(shard, num_print_i64(shard, f->shard)),
        slice_of(from, num_print_u64(from, f->from)),
        slice_of(age, num_print_u64(age, age_ms(x, f))),
    };
    x->counters.fate_questions++;
    f->question = lane_say(x, l, words, 6, CALL_FATE);
    f->question->fate = f;
}

/* The node is silent: only on a new connection can it be asked again. Each time it gets longer: it
 * may live, and be slow. */
static bool is_stuck(const struct exec *x, const struct fate *f)
{
    int64_t limit = MAX(SILENT_US, x->settings.request_timeout_us / 4) << MIN(f->silences, 3u);
    int64_t sent = f->question->sent_us;
    return x->now_us - sent > limit + patience_since(&x->patience, sent);
}

void fates_tick(struct exec *x, bool map_changed)
{
    LIST_FOREACH_SAFE(it, &x->fates) {
        struct fate *f = container_of(it, struct fate, link);
        struct target *chosen = x->routes[f->shard].chosen;
        if (f->left == 0) {
            fate_free(f);
            continue;
        }
        if (f->question != NULL && f->asked != chosen) {
            f->question->fate = NULL;
            f->question = NULL;
            f->due_us = x->now_us;
        }
        if (chosen != f->chosen) {
            f->chosen = chosen;
            f->heard_us = x->now_us; /* there is somebody else to ask; or was until now */
        }
        if (f->question != NULL && is_stuck(x, f)) {
            f->silences++;
            lane_break(x, f->question->lane, LANE_BROKEN); /* comes back to fate_question_lost */
        }
        if (f->question == NULL && chosen != NULL && (map_changed || x->now_us >= f->due_us)) {
            ask(x, f);
        }
    }
}

void fate_question_lost(struct exec *x, struct call *question)
{
    struct fate *f = question->fate;
    mem_free(question);
    if (f != NULL) {
        f->question = NULL;
        f->due_us = x->now_us;
        exec_wake(x, x->now_us);
    }
}

/* --- deciding --- */

/* An answer, read from its front. */
struct scroll {
    const char *at;
    const char *end;
};

/* "<type><number>\r\n" */
static bool take_number(struct scroll *s, char type, int64_t *v)
{
    const char *eol = s->at < s->end ? memchr(s->at, '\r', (size_t)(s->end - s->at)) : NULL;
    if (eol == NULL || eol + 2 > s->end || *s->at != type ||
        !num_parse_i64(slice_of(s->at + 1, (size_t)(eol - s->at - 1)), v)) {
        return false;
    }
    s->at = eol + 2;
    return true;
}

/* A number and what was answered to it; reply.ptr is NULL: not kept. */
static bool take_entry(struct scroll *s, uint64_t *number, struct slice *reply)
{
    int64_t n, len;
    if (!take_number(s, ':', &n) || !take_number(s, '$', &len) || n < 0 || len < -1 ||
        len + 2 > s->end - s->at) {
        return false;
    }
    *number = (uint64_t)n;
    *reply = (struct slice){.ptr = NULL};
    if (len >= 0) {
        *reply = slice_of(s->at, (size_t)len);
        s->at += len + 2;
    }
    return true;
}

static bool is_reply(struct slice reply)
{
    struct resp_skip skip;
    size_t end;
    resp_skip_init(&skip);
    return reply.len > 0 && resp_skip(&skip, reply, &end) == SKIP_OK && end == reply.len;
}

/* It was not executed, and never will be by that lane. */
static void send_again(struct exec *x, struct call *c)
{
    if (c->pinned) {
        hold_take(x, c);
        tx_watch_broken(x, c);
        return;
    }
    if (UNLIKELY(fate_is_search(c))) {
        hold_take(x, c);
        fate_search_over(x, c, true);
        return;
    }
    fate_forget(c); /* it stays where it is held, and goes when its turn comes */
    x->counters.resolved_resent++;
    c->granted = true;
    c->sent_us = x->now_us;
    c->due_us = x->now_us;
}

static void give_reply(struct exec *x, struct call *c, struct chunk *chunk, struct slice reply)
{
    struct session *s = c->request->session;
    bool inner = s->inner; /* such a one may end with this */
    hold_take(x, c);
    if (reply.ptr == NULL || !is_reply(reply)) {
        fate_unknown(x, c);
    } else {
        x->counters.resolved_replied++;
        (void)script_unmark(&reply.ptr, &reply.len);
        call_answer(x, c, chunk, reply.ptr, reply.len);
    }
    if (!inner) {
        session_check_resume(x, s);
    }
}

/* False: that is no answer of a node that knows the question. */
static bool decide(struct exec *x, struct fate *f, struct chunk *chunk, struct scroll s)
{
    int64_t two, complete, words;
    if (!take_number(&s, '*', &two) || two != 2 || !take_number(&s, ':', &complete) ||
        !take_number(&s, '*', &words) || words < 0 || words % 2 != 0) {
        return false;
    }
    uint64_t number = 0;
    struct slice reply = {.ptr = NULL};
    f->complete = complete == 1;
    for (uint32_t i = 0; i < f->n; i++) {
        struct call *c = f->calls[i];
        if (c == NULL) {
            continue;
        }
        while (words > 0 && number < c->number) {
            if (!take_entry(&s, &number, &reply)) {
                return false;
            }
            words -= 2;
        }
        if (number == c->number) {
            give_reply(x, c, chunk, reply);
        } else if (complete == 1) {
            send_again(x, c);
        } else {
            give_reply(x, c, chunk, (struct slice){.ptr = NULL});
        }
    }
    return true;
}

static void all_unknown(struct exec *x, struct fate *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->calls[i] != NULL) {
            give_reply(x, f->calls[i], NULL, (struct slice){.ptr = NULL});
        }
    }
}

static void tell(const struct exec *x, const struct fate *f, const struct exec_counters *before,
                 uint32_t calls)
{
    uint64_t unknown = x->counters.unknown_outcome - before->unknown_outcome;
    log_event(unknown > 0 ? LOG_NOTICE : LOG_VERBOSE, "fate",
              "writes of a broken connection lane=%llu shard=%d node=%s age-ms=%lld writes=%u "
              "replied=%llu resent=%llu unknown=%llu complete=%d",
              (unsigned long long)f->lane_id, f->shard, f->asked->id,
              (long long)(x->now_us - f->sent_us) / 1000, calls,
              (unsigned long long)(x->counters.resolved_replied - before->resolved_replied),
              (unsigned long long)(x->counters.resolved_resent - before->resolved_resent),
              (unsigned long long)unknown, f->complete);
}

void fate_answered(struct exec *x, struct call *question, struct chunk *chunk, const char *ptr,
                   size_t len)
{
    struct fate *f = question->fate;
    mem_free(question);
    if (f == NULL) {
        return;
    }
    f->question = NULL;
    f->heard_us = x->now_us;
    if (*ptr == '-' && retry_classify(slice_of(ptr, len)) != ANSWER_REPLY) {
        ask_later(x, f);
        return;
    }
    if (x->now_us - f->asked_us > f->slack_us) {
        f->slow++; /* what it says of the age may not hold any more */
        f->due_us = x->now_us;
        exec_wake(x, x->now_us);
        return;
    }
    if (f->asked == x->routes[f->shard].chosen) {
        route_open(x, f->shard);
    }
    const struct exec_counters before = x->counters;
    uint32_t calls = f->left;
    if (!decide(x, f, chunk, (struct scroll){.at = ptr, .end = ptr + len})) {
        all_unknown(x, f);
    }
    tell(x, f, &before, calls);
    INVARIANT(f->left == 0);
    fate_free(f);
    x->release = true;
}
