// SPDX-License-Identifier: BSD-3-Clause
/* Planned change of the primary: reads come home, the shard is fenced, the target gets the rest,
 * everything is committed, members are freed of their promises, the coordinator is told. */
#include "node/repl/repl_priv.h"

#include "common/base/log.h"

#define TARGET_CLOSE 4096 /* entries behind: the rest goes over in milliseconds */

void handover_stop(struct repl_shard *s)
{
    s->handing = -1;
}

/* No member but the recorded in-sync ones counts, and none may still read on its own: whoever the
 * coordinator names next need not know of others. */
static bool reads_are_home(struct repl *r, struct repl_shard *s)
{
    bool home = true;
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        primary_uncount(r, s, m);
        if (m->in_set && (!m->in_sync || m->remove_term != 0)) {
            home = false;
        }
        if (repl_leases(r) && r->now_us < m->cover_us) {
            home = false;
        }
    }
    return home;
}

static void tell_members(struct repl *r, struct repl_shard *s, enum repl_kind kind)
{
    struct repl_message m = {.kind = kind, .shard = (uint32_t)s->shard, .term = s->pterm};
    for (int i = 0; i < s->n_members; i++) {
        if (peer_of(r, s->members[i].peer)->up) {
            repl_send(r, s->members[i].peer, &m);
        }
    }
}

static void tell_handed(struct repl *r, struct repl_shard *s)
{
    s->handed_us = r->now_us;
    r->env.report(r->env.arg, REPL_HANDED, s->shard, s->pterm, peer_of(r, s->handing)->id);
}

static void resign(struct repl *r, struct repl_shard *s)
{
    r->stats.handovers++;
    if (PLANTED(RESIGN_SERVES)) {
        tell_members(r, s, REPL_RESIGN);
        tell_handed(r, s);
        shard_move(r, s, REPL_SERVE);
        handover_stop(s);
        return;
    }
    shard_move(r, s, REPL_RESIGNED);
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        if (m->flow == FLOW_COPY) {
            copy_stop(r, s, m, true);
        }
        copy_unwant(r, m);
        m->joined = false;
        m->joined_us = r->now_us;
        m->flow = FLOW_NONE;
    }
    tell_members(r, s, REPL_RESIGN);
    tell_handed(r, s);
}

static void reopen(struct repl *r, struct repl_shard *s)
{
    log_event(LOG_NOTICE, "repl", "hand-over was not recorded, the shard opens again shard=%d",
              s->shard);
    handover_stop(s);
    shard_move(r, s, REPL_RECOVER);
    tell_members(r, s, REPL_REOPEN);
    primary_enter(r, s);
}

static bool all_committed(const struct repl_shard *s, const struct member *target)
{
    return target->acked == s->history.version && s->commit == s->history.version;
}

void handover_tick(struct repl *r, struct repl_shard *s)
{
    if (s->state == REPL_RESIGNED && s->revoked == 0) {
        if (r->now_us - s->since_us >= REOPEN_US) {
            reopen(r, s);
        } else if (s->handing >= 0 && r->now_us - s->handed_us >= HANDED_US) {
            tell_handed(r, s);
        }
        return;
    }
    if (s->handing < 0 || (s->state != REPL_SERVE && s->state != REPL_FENCED)) {
        return;
    }
    struct member *t = primary_member(s, s->handing);
    bool ready = t != NULL && t->in_sync && t->remove_term == 0 && t->flow == FLOW_LOG;
    int64_t limit = s->state == REPL_FENCED ? FENCE_US_MAX : HANDOVER_US_MAX;
    int64_t since = s->state == REPL_FENCED ? s->since_us : s->handing_us;
    if (r->now_us - since >= limit || (s->state == REPL_FENCED && !ready)) {
        handover_stop(s); /* the coordinator asks again */
        if (s->state == REPL_FENCED) {
            shard_move(r, s, REPL_SERVE);
        }
        return;
    }
    if (s->state == REPL_SERVE && ready && reads_are_home(r, s) &&
        s->history.version - t->acked <= TARGET_CLOSE) {
        shard_move(r, s, REPL_FENCED);
    }
    if (s->state == REPL_FENCED && reads_are_home(r, s) && all_committed(s, t)) {
        resign(r, s);
    }
}
