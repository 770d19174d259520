// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#define TO(s) (1u << (s))

/* What may follow what. */
static const unsigned moves[REPL_STATES] = {
    [REPL_NONE] = TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_MEMBER_JOIN),
    [REPL_DEFER] = TO(REPL_NONE) | TO(REPL_RECOVER) | TO(REPL_MEMBER_JOIN),
    [REPL_RECOVER] =
        TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_SERVE) | TO(REPL_RESIGNED) | TO(REPL_MEMBER_JOIN),
    [REPL_SERVE] = TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_FENCED) |
                   TO(REPL_RESIGNED) | TO(REPL_MEMBER_JOIN),
    [REPL_FENCED] = TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_SERVE) |
                    TO(REPL_RESIGNED) | TO(REPL_MEMBER_JOIN),
    [REPL_RESIGNED] = TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_MEMBER_JOIN),
    [REPL_MEMBER_JOIN] =
        TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_COPY) | TO(REPL_FOLLOW),
    [REPL_COPY] = TO(REPL_NONE) | TO(REPL_FOLLOW) | TO(REPL_MEMBER_JOIN),
    [REPL_FOLLOW] =
        TO(REPL_NONE) | TO(REPL_DEFER) | TO(REPL_RECOVER) | TO(REPL_COPY) | TO(REPL_MEMBER_JOIN),
};

const char *repl_state_name(enum repl_state s)
{
    static const char *const names[REPL_STATES] = {
        [REPL_NONE] = "none",        [REPL_DEFER] = "defer",   [REPL_RECOVER] = "recover",
        [REPL_SERVE] = "serve",      [REPL_FENCED] = "fenced", [REPL_RESIGNED] = "resigned",
        [REPL_MEMBER_JOIN] = "join", [REPL_COPY] = "copy",     [REPL_FOLLOW] = "follow",
    };
    return names[s];
}

struct repl_shard *shard_make(struct repl *r, int shard)
{
    INVARIANT(shard >= 0 && shard < r->n_shards);
    if (r->shards[shard] == NULL) {
        size_t slots = r->n_shards > SHARDS_MANY ? TOUCH_SLOTS_FEW : TOUCH_SLOTS;
        struct repl_shard *s = mem_zalloc(sizeof(*s) + slots * sizeof(s->touch[0]));
        s->shard = shard;
        s->state = REPL_NONE;
        s->primary = -1;
        s->promised_to = -1;
        s->handing = -1;
        s->whole = true;
        s->touch_mask = slots - 1;
        s->defer_us = s->defer_other_us = s->hold_us = s->join_us = NEVER;
        s->unsure_us = NEVER;
        backlog_open(r->backlog, shard, 0, INT64_MIN);
        r->shards[shard] = s;
    }
    return r->shards[shard];
}

void shard_move(struct repl *r, struct repl_shard *s, enum repl_state to)
{
    enum repl_state was = s->state;
    INVARIANT((moves[was] & TO(to)) != 0);
    INVARIANT(to != REPL_SERVE || (s->whole && (!s->hollow || PLANTED(HOLLOW_SERVES))));
    INVARIANT(to != REPL_FOLLOW || s->whole);
    s->state = to;
    r->taking += (to == REPL_COPY) - (was == REPL_COPY);
    s->since_us = r->now_us;
    s->read_turn = 0;
    s->unsure_lost = true;
    s->hollow = to == REPL_COPY || (s->hollow && to != REPL_FOLLOW);
    s->counted = s->counted && to == REPL_FOLLOW;
    LOG_DEBUG_EVENT("repl", "shard changes state shard=%d was=%s now=%s term=%llu version=%llu",
                    s->shard, repl_state_name(was), repl_state_name(to),
                    (unsigned long long)s->pterm, (unsigned long long)s->history.version);
    r->env.state(r->env.arg, s->shard, was, to);
}

static void forget_touches(struct repl_shard *s)
{
    memset(s->touch, 0, (s->touch_mask + 1) * sizeof(s->touch[0]));
    s->touch_all = 0;
}

void shard_empty(struct repl *r, struct repl_shard *s)
{
    inbox_clear(s);
    r->env.discard(r->env.arg, s->shard);
    s->history = (struct history){0};
    s->durable = 0;
    s->acked = s->acked_durable = 0;
    s->whole = true;
    s->bare = false;
    s->copy = 0;
    forget_touches(s);
    backlog_open(r->backlog, s->shard, 0, INT64_MIN);
    r->env.whole(r->env.arg, s->shard, &s->history);
}

/* -- roles ------------------------------------------------------------------------------------ */

static void leave_role(struct repl *r, struct repl_shard *s)
{
    if (shard_is_primary(s)) {
        primary_leave(r, s);
    } else if (shard_is_replica(s)) {
        replica_leave(r, s);
    }
}

/* Our promise to a former primary: it is told first, so that no later PROMISE covers this shard;
 * what was promised before stands. */
static void leave_promise(struct repl *r, struct repl_shard *s, int primary, uint64_t pterm)
{
    int to = s->promised_to;
    if (to < 0) {
        return;
    }
    if (to == primary) {
        s->defer_us = s->defer_other_us;
        s->left = false;
        return;
    }
    if (s->left) {
        return;
    }
    s->left = true;
    if (peer_of(r, to)->up) {
        struct repl_message m = {.kind = REPL_REVOKE, .shard = (uint32_t)s->shard, .term = pterm};
        repl_send(r, to, &m);
    }
    s->defer_other_us = s->defer_us;
    s->defer_us = MAX(s->defer_us, peer_of(r, to)->given_member_us);
}

/* The primary, which may well go on without us, hears of no newer primary term than there is. */
static void leave_shard(struct repl *r, struct repl_shard *s, uint64_t pterm)
{
    leave_role(r, s);
    leave_promise(r, s, -1, pterm > s->pterm ? pterm : REVOKE_LEFT);
    if (s->state != REPL_NONE) { /* it may have been recovered, and not be ours any more */
        shard_move(r, s, REPL_NONE);
    }
    s->history = (struct history){0};
    s->durable = s->commit = s->commit_told = 0;
    s->whole = true;
    s->hollow = false;
    s->trouble = false;
    s->n_early = 0;
    forget_touches(s);
    backlog_open(r->backlog, s->shard, 0, INT64_MIN);
}

void shard_enter(struct repl *r, struct repl_shard *s)
{
    int64_t until = repl_silent_until(r);
    if (!PLANTED(LEASE_WAIT)) {
        until = MAX(until, s->defer_us);
    }
    s->trouble = true;
    if (r->now_us < until) {
        if (s->state != REPL_DEFER) {
            shard_move(r, s, REPL_DEFER);
        }
    } else if (s->self_primary) {
        shard_move(r, s, REPL_RECOVER);
        primary_enter(r, s);
    } else {
        shard_move(r, s, REPL_MEMBER_JOIN);
        replica_enter(r, s);
    }
}

/* The primary term is the one that we know. */
static void same_term(struct repl *r, struct repl_shard *s, const struct map *m,
                      const struct map_shard *ms)
{
    bool nobody = ms->primary == NODE_NONE;
    if (nobody && !s->nobody && shard_is_primary(s)) {
        primary_leave(r, s);
        if (s->state != REPL_RESIGNED) {
            shard_move(r, s, REPL_RESIGNED);
        }
        s->revoked = UINT64_MAX;
    }
    s->nobody = nobody;
    if (s->self_primary && !nobody) {
        primary_map(r, s, m, ms, false);
    }
}

void shard_map(struct repl *r, struct repl_shard *s, const struct map *m,
               const struct map_shard *ms)
{
    int at = r->self == NODE_NONE ? -1 : map_shard_member(ms, r->self);
    if (at < 0) {
        leave_shard(r, s, ms->primary_term);
        return;
    }
    if (s->state != REPL_NONE && ms->primary_term < s->pterm) {
        log_event(LOG_WARNING, "repl", "a map with an older primary term is not followed shard=%d",
                  s->shard);
        return;
    }
    s->term = ms->term;
    s->since = ms->members[at].since;
    if (s->state != REPL_NONE && ms->primary_term == s->pterm) {
        same_term(r, s, m, ms);
        return;
    }
    leave_role(r, s);
    s->nobody = ms->primary == NODE_NONE;
    s->self_primary = ms->primary == r->self;
    s->primary = s->nobody || s->self_primary ? -1 : repl_peer(r, m->nodes[ms->primary].id);
    leave_promise(r, s, s->primary, ms->primary_term);
    s->pterm = ms->primary_term;
    s->revoked = 0;
    if (s->self_primary) {
        primary_map(r, s, m, ms, true);
    } else {
        s->n_members = 0;
    }
    /* Through JOIN or DEFER, never from one primary term's service into the next. */
    if (s->state == REPL_COPY) {
        shard_move(r, s, REPL_MEMBER_JOIN);
    }
    if (s->state == REPL_RECOVER || s->state == REPL_MEMBER_JOIN) {
        shard_move(r, s, REPL_DEFER);
    }
    shard_enter(r, s);
}

void shard_tick(struct repl *r, struct repl_shard *s)
{
    if (s->state == REPL_DEFER) {
        shard_enter(r, s);
    }
    if (shard_is_primary(s)) {
        primary_tick(r, s);
    } else if (shard_is_replica(s)) {
        replica_tick(r, s);
    }
}

/* -- lanes that have ended -------------------------------------------------------------------- */

void shard_lane_ended(struct repl *r, struct repl_shard *s, uint64_t lane)
{
    if (s->n_lanes < LANES_KEPT) {
        if ((s->n_lanes & (s->n_lanes - 1)) == 0) { /* room for a power of two */
            s->lanes = mem_realloc(s->lanes, sizeof(lane) * MAX((size_t)s->n_lanes * 2, 1));
        }
        s->lanes[s->n_lanes++] = lane;
    } else {
        s->lanes[s->at_lane] = lane;
        s->at_lane = (s->at_lane + 1) % LANES_KEPT;
    }
    r->env.lane_ended(r->env.arg, lane);
}

/* -- the log ---------------------------------------------------------------------------------- */

void shard_committed(struct repl *r, struct repl_shard *s)
{
    uint64_t seen = MIN(s->commit, s->history.version);
    if (seen > s->commit_told && s->state != REPL_COPY) {
        s->commit_told = seen;
        r->env.committed(r->env.arg, s->shard, seen);
    }
}

bool shard_take_entries(struct repl *r, struct repl_shard *s, struct slice in)
{
    if (backlog_last(r->backlog, s->shard) != s->history.version) {
        return false; /* within a copy, before its windows were whole */
    }
    while (in.len > 0) {
        struct entry e;
        int64_t len = entry_read(in, &e);
        if (len <= 0 || e.shard != s->shard || e.version != s->history.version + 1 ||
            e.term < history_term(&s->history) || (e.flags & ENTRY_STRIPPED) != 0) {
            return false;
        }
        in = slice_of(in.ptr + len, in.len - (size_t)len);
        history_add(&s->history, e.term);
        (void)backlog_add_bytes(r->backlog, &e, r->now_us);
        s->touching = e.version;
        r->env.logged(r->env.arg, &e);
        r->env.apply(r->env.arg, &e);
        if (UNLIKELY((e.flags & ENTRY_LANE_END) != 0)) {
            shard_lane_ended(r, s, e.lane);
        }
        s->touching = 0;
        r->stats.entries_applied++;
    }
    repl_dirty(r, s);
    return true;
}
