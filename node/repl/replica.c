// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

#include "common/base/bytes.h"

bool repl_taking(const struct repl *r)
{
    return r->taking > 0;
}

static void send_join(struct repl *r, struct repl_shard *s, bool again)
{
    if (!again) {
        inbox_clear(s);
        s->join_number = ++r->join_number;
    }
    s->join_us = r->now_us;
    s->promised_to = s->primary;
    s->promised_term = s->pterm;
    s->left = false;
    s->acked = shard_own(r, s);
    struct repl_message m = {
        .kind = REPL_JOIN,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .join = {.last_term = history_term(&s->history),
                 .last_version = s->history.version,
                 .own = s->acked,
                 .number = s->join_number,
                 .first = s->bare ? backlog_first(r->backlog, s->shard) : 0,
                 .since = s->since},
    };
    repl_send(r, s->primary, &m);
}

void replica_enter(struct repl *r, struct repl_shard *s)
{
    s->counted = false;
    s->resigned = false;
    s->join_us = NEVER;
    if (s->primary >= 0 && peer_of(r, s->primary)->up) {
        send_join(r, s, false);
    }
}

/* A half copy is nothing. */
static void end_copy(struct repl *r, struct repl_shard *s)
{
    if (s->state == REPL_COPY) {
        if (PLANTED(HALF_COPY)) {
            s->whole = true;
            r->env.whole(r->env.arg, s->shard, &s->history);
            return;
        }
        shard_empty(r, s);
    }
}

void replica_leave(struct repl *r, struct repl_shard *s)
{
    inbox_clear(s);
    end_copy(r, s);
    s->counted = false;
    s->resigned = false;
    s->join_us = NEVER;
}

void replica_up(struct repl *r, struct repl_shard *s)
{
    if (s->state == REPL_MEMBER_JOIN) {
        replica_enter(r, s);
    }
}

void replica_down(struct repl *r, struct repl_shard *s)
{
    replica_leave(r, s);
    if (s->state != REPL_MEMBER_JOIN) {
        shard_move(r, s, REPL_MEMBER_JOIN);
    }
    s->trouble = true;
}

void replica_tick(struct repl *r, struct repl_shard *s)
{
    s->trouble = s->state == REPL_MEMBER_JOIN && s->primary >= 0;
    if (s->trouble && s->join_us != NEVER && r->now_us - s->join_us >= r->set.lease_us / 8) {
        send_join(r, s, true); /* it may not have been a primary then */
    }
}

static void join_anew(struct repl *r, struct repl_shard *s)
{
    shard_move(r, s, REPL_MEMBER_JOIN);
    s->trouble = true;
    send_join(r, s, false);
}

/* -- following -------------------------------------------------------------------------------- */

static void take_counted(struct repl *r, struct repl_shard *s, const struct repl_counted *c)
{
    if (c->join != s->join_number) {
        r->stats.dropped++; /* of a stream that we left; what came of it since was dropped too */
        return;
    }
    if (s->state == REPL_MEMBER_JOIN && s->join_us != NEVER) {
        shard_move(r, s, REPL_FOLLOW);
        s->trouble = false;
        repl_dirty(r, s);
    }
    s->counted = c->counted != 0 && s->state == REPL_FOLLOW;
    s->unsure_lost = s->unsure_lost || !s->counted;
    s->read_turn = 0;
    if (s->state == REPL_FOLLOW && c->commit > s->commit) {
        s->commit = c->commit;
        shard_committed(r, s);
    }
    if (c->counted == 0) {
        struct repl_message m = {
            .kind = REPL_COUNTED,
            .shard = (uint32_t)s->shard,
            .term = s->pterm,
            .counted = {.answer = 1, .number = c->number},
        };
        repl_send(r, s->primary, &m);
    }
}

static void take_pull(struct repl *r, struct repl_shard *s, const struct repl_pull *pull)
{
    if (pull->from == 0 || pull->from > s->history.version ||
        !history_has(&s->history, pull->prev_term, pull->from - 1) ||
        !backlog_has(r->backlog, s->shard, pull->from)) {
        return; /* the primary has us taken out of the in-sync set when it waited long enough */
    }
    uint64_t last = pull->from - 1;
    while (last < s->history.version) {
        struct repl_message m = {
            .kind = REPL_ENTRIES, .shard = (uint32_t)s->shard, .term = s->pterm};
        m.entries.bytes = backlog_read(r->backlog, s->shard, last + 1, ENTRIES_MAX, &last);
        INVARIANT(m.entries.bytes.len > 0);
        repl_send(r, s->primary, &m);
    }
}

static void take_resign(struct repl *r, struct repl_shard *s)
{
    replica_leave(r, s);
    s->promised_to = -1;
    s->resigned = true;
    if (s->state != REPL_MEMBER_JOIN) {
        shard_move(r, s, REPL_MEMBER_JOIN);
    }
}

/* -- being copied to -------------------------------------------------------------------------- */

static void take_begin(struct repl *r, struct repl_shard *s, int peer,
                       const struct repl_copy_begin *b)
{
    if (b->window_first == 0 || b->window_first > b->history.version + 1 || b->copy == 0) {
        repl_bad(r, peer, "copy begin");
        return;
    }
    inbox_clear(s);
    r->env.discard(r->env.arg, s->shard);
    s->whole = false;
    s->history = b->history;
    s->durable = s->acked = s->acked_durable = 0;
    s->bare = false;
    s->copy = b->copy;
    s->copy_messages = 0;
    s->copy_bytes = 0;
    memset(s->touch, 0, (s->touch_mask + 1) * sizeof(s->touch[0]));
    s->touch_all = 0;
    backlog_open(r->backlog, s->shard, b->window_first - 1,
                 b->age_us < 0 ? INT64_MIN : r->now_us - b->age_us);
    if (s->state != REPL_COPY) {
        shard_move(r, s, REPL_COPY);
    }
    s->trouble = false;
}

static bool add_stripped(struct repl *r, struct repl_shard *s, struct slice in, int64_t came_us)
{
    while (in.len > 0) {
        struct entry e;
        int64_t len = entry_read(in, &e);
        if (len <= 0 || e.shard != s->shard || (e.flags & ENTRY_STRIPPED) == 0 ||
            e.version != backlog_last(r->backlog, s->shard) + 1 || e.version > s->history.version) {
            return false;
        }
        backlog_add_bytes(r->backlog, &e, came_us);
        if ((e.flags & ENTRY_LANE_END) != 0) {
            shard_lane_ended(r, s, e.lane);
        }
        in = slice_of(in.ptr + len, in.len - (size_t)len);
    }
    return true;
}

static void take_lanes(struct repl *r, struct repl_shard *s, struct slice ids)
{
    for (size_t i = 0; i + 8 <= ids.len; i += 8) {
        shard_lane_ended(r, s, get_le64(ids.ptr + i));
    }
}

/* Lanes that ended while this node was not there. */
static void tell_ended(struct repl *r, struct repl_shard *s, struct slice in)
{
    while (in.len > 0) {
        struct entry e;
        size_t len = entry_read_trusted(in.ptr, &e);
        if ((e.flags & ENTRY_LANE_END) != 0) {
            shard_lane_ended(r, s, e.lane);
        }
        in = slice_of(in.ptr + len, in.len - len);
    }
}

static bool take_copy_window(struct repl *r, struct repl_shard *s, const struct repl_copy_window *w)
{
    return w->age_us >= 0 && add_stripped(r, s, w->bytes, r->now_us - w->age_us);
}

/* Entries without effects of that shard, in a row up to `version`. */
static bool is_window(const struct repl_shard *s, struct slice in, uint64_t version,
                      uint64_t *first)
{
    uint64_t at = 0;
    while (in.len > 0) {
        struct entry e;
        int64_t len = entry_read(in, &e);
        if (len <= 0 || e.shard != s->shard || (e.flags & ENTRY_STRIPPED) == 0 ||
            (at != 0 && e.version != at + 1)) {
            return false;
        }
        *first = at == 0 ? e.version : *first;
        at = e.version;
        in = slice_of(in.ptr + len, in.len - (size_t)len);
    }
    return at == version;
}

/* What this node had already when it joined: its log does not change. */
static bool take_window(struct repl *r, struct repl_shard *s, const struct repl_window *w)
{
    uint64_t first = 0;
    if (w->join != s->join_number || s->state != REPL_FOLLOW) {
        r->stats.dropped++;
        return true;
    }
    if (!is_window(s, w->bytes, s->history.version, &first)) {
        return false;
    }
    s->bare = false;
    if (first < backlog_first(r->backlog, s->shard)) {
        backlog_prepend(r->backlog, s->shard, w->bytes,
                        w->age_us < 0 ? INT64_MIN : r->now_us - w->age_us, r->now_us);
        tell_ended(r, s, w->bytes);
    }
    return true;
}

void replica_break_off(struct repl *r, struct repl_shard *s)
{
    struct repl_message m = {.kind = REPL_COPY_ABORT,
                             .shard = (uint32_t)s->shard,
                             .term = s->pterm,
                             .copy_abort = s->copy};
    repl_send(r, s->primary, &m);
    end_copy(r, s);
    join_anew(r, s);
}

static void take_end(struct repl *r, struct repl_shard *s, const struct repl_copy_end *e)
{
    if (e->last_version != s->history.version || e->last_term != history_term(&s->history) ||
        e->messages != s->copy_messages ||
        backlog_last(r->backlog, s->shard) != s->history.version) {
        replica_break_off(r, s);
        return;
    }
    s->whole = true;
    s->copy = 0;
    s->touch_all = s->history.version;
    r->stats.copies_taken++;
    r->env.whole(r->env.arg, s->shard, &s->history);
    shard_move(r, s, REPL_FOLLOW);
    shard_committed(r, s);
    repl_dirty(r, s);
}

void replica_taken(struct repl *r, struct repl_shard *s, size_t bytes)
{
    s->copy_bytes += bytes;
    struct repl_message m = {
        .kind = REPL_COPY_TAKEN,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .copy_taken = {.copy = s->copy, .bytes = s->copy_bytes},
    };
    repl_send(r, s->primary, &m);
}

static void take_keys(struct repl *r, struct repl_shard *s, struct slice keys)
{
    s->copy_messages++;
    if (!r->env.copy_put(r->env.arg, s->shard, keys)) {
        replica_break_off(r, s);
    }
}

static void take_portrait(struct repl *r, struct repl_shard *s, const struct repl_copy_portrait *p)
{
    s->copy_messages++;
    if (!r->env.copy_open(r->env.arg, s->shard, p->number, p->head)) {
        replica_break_off(r, s);
        return;
    }
    inbox_wait(r, s, p->number);
}

void replica_take_part(struct repl *r, struct repl_shard *s, uint64_t number, struct slice part)
{
    s->copy_messages++;
    if (!r->env.copy_add(r->env.arg, s->shard, number, part)) {
        replica_break_off(r, s);
    }
}

void replica_take_whole(struct repl *r, struct repl_shard *s, uint64_t number)
{
    if (!r->env.copy_close(r->env.arg, s->shard, number)) {
        replica_break_off(r, s);
    }
}

static void take_copy(struct repl *r, struct repl_shard *s, int peer, const struct repl_message *m)
{
    if (m->kind == REPL_COPY_BEGIN) {
        if (m->copy_begin.join != s->join_number) {
            r->stats.dropped++;
            return;
        }
        take_begin(r, s, peer, &m->copy_begin);
        return;
    }
    if (s->state != REPL_COPY) {
        r->stats.dropped++;
        return;
    }
    if (m->kind == REPL_COPY_KEYS && m->copy_keys.copy == s->copy) {
        take_keys(r, s, m->copy_keys.keys);
    } else if (m->kind == REPL_COPY_PORTRAIT && m->copy_portrait.copy == s->copy) {
        take_portrait(r, s, &m->copy_portrait);
    } else if (m->kind == REPL_COPY_WINDOW && m->copy_window.copy == s->copy) {
        if (!take_copy_window(r, s, &m->copy_window)) {
            repl_bad(r, peer, "copy window");
        }
    } else if (m->kind == REPL_COPY_LANES && m->copy_lanes.copy == s->copy) {
        take_lanes(r, s, m->copy_lanes.ids);
    } else if (m->kind == REPL_COPY_END && m->copy_end.copy == s->copy) {
        take_end(r, s, &m->copy_end);
    } else if (m->kind == REPL_COPY_ABORT && m->copy_abort == s->copy) {
        end_copy(r, s);
        join_anew(r, s);
    } else {
        r->stats.dropped++; /* of a copy that we broke off */
    }
}

static void take(struct repl *r, struct repl_shard *s, int peer, const struct repl_message *m)
{
    switch (m->kind) {
    case REPL_ENTRIES:
        if (s->state == REPL_MEMBER_JOIN) {
            r->stats.dropped++; /* of before we joined anew */
        } else if (!shard_take_entries(r, s, m->entries.bytes)) {
            repl_bad(r, peer, "entries");
        } else {
            shard_committed(r, s);
        }
        break;
    case REPL_COUNTED:
        take_counted(r, s, &m->counted);
        break;
    case REPL_PULL:
        take_pull(r, s, &m->pull);
        break;
    case REPL_RESIGN:
        take_resign(r, s);
        break;
    case REPL_REOPEN:
        if (s->resigned || s->state != REPL_MEMBER_JOIN) { /* else it asks again by itself */
            replica_down(r, s);
            send_join(r, s, false);
        }
        break;
    case REPL_WINDOW:
        if (!take_window(r, s, &m->window)) {
            repl_bad(r, peer, "window");
        }
        break;
    case REPL_COPY_BEGIN:
    case REPL_COPY_KEYS:
    case REPL_COPY_WINDOW:
    case REPL_COPY_END:
    case REPL_COPY_ABORT:
    case REPL_COPY_LANES:
    case REPL_COPY_PORTRAIT:
        take_copy(r, s, peer, m);
        break;
    case REPL_HELLO:
    case REPL_JOIN:
    case REPL_REVOKE:
    case REPL_ACK:
    case REPL_COMMIT:
    case REPL_BEACON:
    case REPL_PROMISE:
    case REPL_COPY_TAKEN:
    case REPL_COPY_PART:
    case REPL_KINDS:
    default:
        r->stats.dropped++;
    }
}

void replica_take(struct repl *r, struct repl_shard *s, const struct repl_message *m)
{
    take(r, s, s->primary, m);
}

void replica_message(struct repl *r, struct repl_shard *s, int peer, const struct repl_message *m)
{
    if (!shard_is_replica(s) || (s->primary != peer && !PLANTED(TERM_CHECK)) ||
        (s->resigned && m->kind != REPL_REOPEN)) {
        r->stats.dropped++;
    } else if (inbox_orders(m->kind) && (s->state == REPL_COPY || s->inbox != NULL)) {
        inbox_message(r, s, m);
    } else {
        take(r, s, peer, m);
    }
}
