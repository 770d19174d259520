// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

static const struct history no_history;

/* What a shard without a serving copy here answers. */
static enum repl_answer elsewhere(const struct repl *r, int shard, const struct repl_shard *s)
{
    if (r->map == NULL || r->map->shards[shard].primary == NODE_NONE) {
        return REPL_DOWN;
    }
    if (s != NULL && s->state != REPL_NONE && s->self_primary) {
        return REPL_TRYAGAIN;
    }
    return REPL_MOVED;
}

enum repl_answer repl_may_write(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    if (LIKELY(s != NULL && s->state == REPL_SERVE)) {
        return LIKELY(s->n_strong + 1 >= r->set.min_in_sync) ? REPL_YES : REPL_NOREPLICAS;
    }
    return elsewhere(r, shard, s);
}

static enum repl_answer primary_may_read(struct repl *r, struct repl_shard *s, int64_t now_us)
{
    if (!repl_leases(r) || PLANTED(NO_LEASES)) {
        return REPL_YES;
    }
    int64_t until = lease_primary_until(r, s, -1);
    if (until <= now_us) {
        return REPL_TRYAGAIN;
    }
    s->read_turn = r->turn;
    r->reads_until_us = MIN(r->reads_until_us, until);
    return REPL_YES;
}

static enum repl_answer replica_may_read(struct repl *r, struct repl_shard *s, int64_t now_us)
{
    if (!repl_leases(r) || r->set.consistency == REPL_EVENTUAL) {
        return s->whole && s->history.version > 0 ? REPL_YES : REPL_TRYAGAIN;
    }
    if (s->state != REPL_FOLLOW || s->primary < 0) {
        return elsewhere(r, s->shard, s);
    }
    int64_t until = peer_of(r, s->primary)->read_us;
    if ((!s->counted && !PLANTED(READ_UNCOUNTED)) || until <= now_us) {
        return REPL_MOVED;
    }
    s->read_turn = r->turn;
    r->reads_until_us = MIN(r->reads_until_us, until);
    return REPL_YES;
}

enum repl_answer repl_may_read(struct repl *r, int shard, int64_t now_us)
{
    struct repl_shard *s = r->shards[shard];
    if (UNLIKELY(s == NULL)) {
        return elsewhere(r, shard, s);
    }
    if (s->read_turn == r->turn) {
        return REPL_YES;
    }
    if (s->state == REPL_SERVE) {
        return primary_may_read(r, s, now_us);
    }
    if (shard_is_replica(s)) {
        return replica_may_read(r, s, now_us);
    }
    return elsewhere(r, shard, s);
}

/* Reads of this turn that a lease no longer covers: a later promise tells whether it went on. */
static void doubt_reads(struct repl *r, int64_t now_us)
{
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        if (s->read_turn != r->turn) {
            continue;
        }
        if (s->unsure_us == NEVER) {
            s->unsure_lost = false;
            r->unsure++;
        }
        s->unsure_us = now_us;
    }
    r->beaconed_us = NEVER; /* ask at once */
}

/* The lease stands again and nothing was lost in between: it never was another's turn. */
static bool is_sure(const struct repl *r, const struct repl_shard *s)
{
    return s->state == REPL_SERVE ? lease_primary_until(r, s, -1) > s->unsure_us
                                  : peer_of(r, s->primary)->read_us > s->unsure_us;
}

enum repl_reads repl_reads(struct repl *r, int64_t now_us)
{
    if (UNLIKELY(r->reads_until_us <= now_us)) {
        doubt_reads(r, now_us);
        r->reads_until_us = INT64_MAX;
    }
    if (LIKELY(r->unsure == 0)) {
        return REPL_READS_HOLD;
    }
    bool lost = false;
    for (int i = 0; i < r->n_shards; i++) {
        struct repl_shard *s = r->shards[i];
        if (s == NULL || s->unsure_us == NEVER) {
            continue;
        }
        bool gone = s->unsure_lost || (s->state != REPL_SERVE && s->state != REPL_FOLLOW);
        if (gone || is_sure(r, s)) {
            lost = lost || gone;
            s->unsure_us = NEVER;
            r->unsure--;
        }
    }
    return lost ? REPL_READS_LOST : r->unsure == 0 ? REPL_READS_HOLD : REPL_READS_UNSURE;
}

/* -- waiting for the commit ------------------------------------------------------------------- */

void repl_touch(struct repl *r, int shard, uint64_t hash)
{
    struct repl_shard *s = r->shards[shard];
    if (s != NULL) {
        s->touch[(hash >> 32) & s->touch_mask] =
            s->touching != 0 ? s->touching : s->history.version + 1;
    }
}

void repl_touch_all(struct repl *r, int shard)
{
    struct repl_shard *s = r->shards[shard];
    if (s != NULL) {
        s->touch_all = s->touching != 0 ? s->touching : s->history.version + 1;
    }
}

uint64_t repl_touched(const struct repl *r, int shard, uint64_t hash)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL ? UINT64_MAX : MAX(s->touch[(hash >> 32) & s->touch_mask], s->touch_all);
}

static bool waits(const struct repl *r, const struct repl_shard *s)
{
    return s != NULL && repl_leases(r) && !PLANTED(READ_UNCOMMITTED) &&
           (s->state == REPL_SERVE || r->set.consistency == REPL_STRONG);
}

uint64_t repl_barrier(const struct repl *r, int shard, uint64_t hash)
{
    const struct repl_shard *s = r->shards[shard];
    if (!waits(r, s)) {
        return 0;
    }
    uint64_t version = MAX(s->touch[(hash >> 32) & s->touch_mask], s->touch_all);
    version = MIN(version, s->history.version);
    return version > s->commit ? version : 0;
}

uint64_t repl_barrier_all(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return waits(r, s) && s->history.version > s->commit ? s->history.version : 0;
}

uint64_t repl_barrier_write(const struct repl *r, int shard, uint64_t version)
{
    const struct repl_shard *s = r->shards[shard];
    if (s == NULL || PLANTED(ACK_EARLY) || (!repl_leases(r) && !r->set.durable)) {
        return 0;
    }
    if (!repl_leases(r)) {
        return version > s->durable ? version : 0;
    }
    return version > s->commit ? version : 0;
}

/* -- what is known ---------------------------------------------------------------------------- */

enum repl_state repl_state(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL ? REPL_NONE : s->state;
}

uint64_t repl_term(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL ? 0 : s->pterm;
}

const struct history *repl_history(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL ? &no_history : &s->history;
}

uint64_t repl_version(const struct repl *r, int shard)
{
    return repl_history(r, shard)->version;
}

uint64_t repl_commit(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL ? 0 : MIN(s->commit, s->history.version);
}

bool repl_whole(const struct repl *r, int shard)
{
    const struct repl_shard *s = r->shards[shard];
    return s == NULL || s->whole;
}

const struct backlog *repl_backlog(const struct repl *r)
{
    return r->backlog;
}

int repl_acked(const struct repl *r, int shard, uint64_t version, bool durable)
{
    const struct repl_shard *s = r->shards[shard];
    int n = 0;
    for (int i = 0; s != NULL && shard_is_primary(s) && i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        n += m->flow == FLOW_LOG && (durable ? m->durable : m->acked) >= version;
    }
    return n;
}

bool repl_is_durable(const struct repl *r, int shard, uint64_t version)
{
    const struct repl_shard *s = r->shards[shard];
    return s != NULL && s->durable >= version;
}

struct fate_walk {
    backlog_visit_fn *visit;
    void *arg;
    bool ended;
};

static void visit_fate(void *arg, const struct entry *e)
{
    struct fate_walk *w = arg;
    if ((e->flags & ENTRY_LANE_END) != 0) {
        w->ended = true;
    } else {
        w->visit(w->arg, e);
    }
}

/* On every node that logs it the lane is dead from then on: what the network, or a socket, still
 * holds of it is never executed by a later primary. */
static void end_lane(struct repl *r, const struct repl_question *q, int64_t now_us)
{
    struct entry e = {.shard = q->shard,
                      .flags = ENTRY_LANE_END,
                      .time_ms = q->time_ms,
                      .lane = q->lane,
                      .number = ENTRY_NUMBER_END};
    (void)repl_append(r, &e, now_us);
    shard_lane_ended(r, shard_of(r, q->shard), q->lane);
}

enum repl_answer repl_fate(struct repl *r, const struct repl_question *q, int64_t now_us,
                           backlog_visit_fn *visit, void *arg, struct repl_fate *out)
{
    struct repl_shard *s = r->shards[q->shard];
    if (s == NULL || s->state != REPL_SERVE) {
        enum repl_answer a = elsewhere(r, q->shard, s);
        return a == REPL_DOWN ? REPL_TRYAGAIN : a;
    }
    if (primary_may_read(r, s, now_us) != REPL_YES) {
        return REPL_TRYAGAIN;
    }
    int64_t since = backlog_since(r->backlog, q->shard);
    /* Older than the lane's writes can be, an eighth and a little for clocks. */
    int64_t needed = now_us - q->age_us - q->age_us / 8 - 100000;
    out->complete = since == INT64_MIN || since <= needed || PLANTED(FATE_COMPLETE);
    struct fate_walk w = {.visit = visit, .arg = arg};
    backlog_lane(r->backlog, q->shard, q->lane, q->from, needed, visit_fate, &w);
    if (!w.ended && !PLANTED(LANE_OPEN)) {
        end_lane(r, q, now_us);
    }
    out->barrier = repl_barrier_all(r, q->shard);
    return REPL_YES;
}

static void fill_lag(const struct repl *r, const struct repl_shard *s, const struct member *m,
                     int64_t now_us, struct repl_lag *out)
{
    *out = (struct repl_lag){
        .peer = m->peer,
        .up = m->joined,
        .in_sync = m->in_set,
        .copying = m->flow == FLOW_COPY,
        .acked = m->flow == FLOW_LOG ? m->acked : 0,
    };
    out->versions = s->history.version - out->acked;
    out->bytes = out->versions == 0 ? 0 : backlog_bytes_behind(r->backlog, s->shard, out->acked);
    out->us = out->versions == 0 || m->flow != FLOW_LOG ? 0 : now_us - m->progress_us;
}

int repl_lags(const struct repl *r, int shard, int64_t now_us, struct repl_lag *out, int max)
{
    const struct repl_shard *s = r->shards[shard];
    if (s == NULL || !shard_is_primary(s)) {
        return 0;
    }
    for (int i = 0; i < s->n_members && i < max; i++) {
        fill_lag(r, s, &s->members[i], now_us, &out[i]);
    }
    return s->n_members;
}

const struct repl_stats *repl_stats(const struct repl *r)
{
    return &r->stats;
}
