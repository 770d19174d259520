// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

#include "common/base/log.h"

struct member *primary_member(struct repl_shard *s, int peer)
{
    for (int i = 0; i < s->n_members; i++) {
        if (s->members[i].peer == peer) {
            return &s->members[i];
        }
    }
    return NULL;
}

void primary_count_set(struct repl_shard *s)
{
    s->n_set = 0;
    s->n_strong = 0;
    for (int i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        s->n_set += m->in_set && !(PLANTED(DROP_ADDS) && !m->in_sync);
        s->n_strong += member_counts(m) && m->remove_term == 0;
    }
    s->read_turn = 0;
}

/* -- counted ---------------------------------------------------------------------------------- */

void primary_tell_counted(struct repl *r, struct repl_shard *s, struct member *m, bool counted)
{
    m->told = counted;
    m->notice = ++r->notice_number;
    struct repl_message msg = {
        .kind = REPL_COUNTED,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .counted = {.counted = counted,
                    .number = m->notice,
                    .commit = s->commit,
                    .join = m->join_number},
    };
    repl_send(r, m->peer, &msg);
}

/* It may read no more: what was promised so far stands, until it answers. */
void primary_uncount(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (!m->told) {
        return;
    }
    m->cover_us = MAX(m->cover_us, peer_of(r, m->peer)->given_primary_us);
    if (peer_of(r, m->peer)->up && m->joined) {
        primary_tell_counted(r, s, m, false);
    }
    m->told = false;
    s->trouble = true;
}

void primary_uncounted(struct repl *r, struct repl_shard *s, int peer, const struct repl_counted *c)
{
    struct member *m = primary_member(s, peer);
    if (m != NULL && !m->told && m->notice == c->number) {
        m->cover_us = NEVER;
        repl_kick(r, s);
    }
}

static bool is_unwanted(const struct repl *r, const struct member *m)
{
    return m->unwanted_us != NEVER && r->now_us - m->unwanted_us < UNWANTED_US;
}

/* May it be told that it may read? It must have all that is committed, and what it was promised so
 * far may not outlast the leases that our own service rests on. */
static bool may_count(const struct repl *r, const struct repl_shard *s, const struct member *m)
{
    if (!repl_leases(r) || r->set.consistency != REPL_STRONG || s->state != REPL_SERVE ||
        s->handing >= 0 || is_unwanted(r, m) || !member_counts(m) || m->remove_term != 0 ||
        !m->joined || m->flow != FLOW_LOG || m->acked < s->commit) {
        return false;
    }
    int64_t own = lease_primary_until(r, s, m->peer);
    if (own == INT64_MAX || PLANTED(NO_CHAIN)) {
        return true;
    }
    return own >= peer_of(r, m->peer)->given_primary_us && own - r->now_us >= r->set.lease_us / 4;
}

/* -- commit ----------------------------------------------------------------------------------- */

/* Every member of the commit set has it, or is out by the coordinator's record and our promise. No
 * lease is asked for: what all have acknowledged is in the log of whoever comes next. */
void primary_commit(struct repl *r, struct repl_shard *s)
{
    if (s->state != REPL_SERVE && s->state != REPL_FENCED) {
        return;
    }
    uint64_t commit = shard_own(r, s);
    for (int i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        if (m->in_set && !(PLANTED(DROP_ADDS) && !m->in_sync)) {
            commit = MIN(commit, m->acked);
        }
    }
    if (commit > s->commit) {
        s->commit = commit;
        repl_dirty(r, s);
        shard_committed(r, s);
        if (s->state == REPL_FENCED) {
            repl_kick(r, s);
        }
    }
}

void primary_ack(struct repl *r, struct repl_shard *s, int peer, const struct repl_mark *a)
{
    struct member *m = shard_is_primary(s) ? primary_member(s, peer) : NULL;
    if (m == NULL || !m->joined || m->flow != FLOW_LOG) {
        r->stats.dropped++;
        return;
    }
    if (a->version > m->sent) {
        repl_bad(r, peer, "acknowledges what it was not sent");
        return;
    }
    m->durable = MAX(m->durable, MIN(a->durable, a->version));
    if (a->version > m->acked) {
        m->acked = a->version;
        m->progress_us = r->now_us;
        primary_commit(r, s);
    }
    if (m->goal != 0 && m->acked >= m->goal) {
        m->round_us = r->now_us - m->goal_us;
        m->goal = 0;
    }
    if (s->trouble) {
        repl_kick(r, s);
    }
}

/* -- joining ---------------------------------------------------------------------------------- */

/* Lanes, numbers and replies of what it has already: should it become primary, it is asked for the
 * fate of writes that are older than its process. */
static void send_window(struct repl *r, struct repl_shard *s, const struct member *m)
{
    struct str bytes = {0};
    int64_t since;
    backlog_tail(r->backlog, s->shard, m->last_version, WINDOW_MAX, &bytes, &since);
    struct repl_message msg = {
        .kind = REPL_WINDOW,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .window = {.join = m->join_number,
                   .age_us = since == INT64_MIN ? -1 : MAX(r->now_us - since, 0),
                   .bytes = str_slice(&bytes)},
    };
    if (bytes.len > 0) {
        repl_send(r, m->peer, &msg);
    }
    str_fini(&bytes);
}

static void start_flow(struct repl *r, struct repl_shard *s, struct member *m)
{
    m->flow = FLOW_LOG;
    m->pulling = false;
    m->sent = m->last_version;
    m->acked = m->last_own;
    m->durable = 0;
    m->progress_us = r->now_us;
    m->goal = 0;
    m->round_us = INT64_MAX;
    copy_unwant(r, m);
    if (m->sent < s->history.version) {
        r->stats.partial_syncs++;
    }
    primary_tell_counted(r, s, m, false);
    m->told = false;
    if (m->bare) {
        m->bare = false;
        send_window(r, s, m);
    }
    repl_dirty(r, s);
    primary_commit(r, s); /* its acknowledgement of the last entries may have been lost */
}

static bool is_ahead(const struct repl_shard *s, const struct member *m)
{
    uint64_t term = history_term(&s->history);
    return m->last_term > term || (m->last_term == term && m->last_version > s->history.version);
}

/* What its log is to ours decides: it goes on from there, we get from it what we lack, or it needs
 * a copy (never while it is in the commit set: first the coordinator takes it out). */
static void match(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (s->doubted) {
        return; /* it may have more than we; nobody is to drop anything for us yet */
    }
    bool has = history_has(&s->history, m->last_term, m->last_version) ||
               (PLANTED(TRUST_JOIN) && m->last_version <= s->history.version);
    if (has && backlog_has(r->backlog, s->shard, m->last_version + 1)) {
        start_flow(r, s, m);
        return;
    }
    if (!has && s->state == REPL_RECOVER && m->in_sync && is_ahead(s, m)) {
        if (PLANTED(NO_PULL)) {
            m->last_version = MIN(m->last_version, s->history.version);
            m->last_own = m->last_version;
            start_flow(r, s, m);
            return;
        }
        return; /* see pull_most */
    }
    if (!m->in_set) {
        copy_want(r, s, m);
    }
}

static void match_joined(struct repl *r, struct repl_shard *s)
{
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        if (m->joined && m->flow == FLOW_NONE) {
            match(r, s, m);
        }
    }
}

void primary_lost(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (m->flow == FLOW_COPY) {
        copy_stop(r, s, m, true);
        return;
    }
    m->flow = FLOW_NONE;
    m->last_version = m->last_own = m->sent;
    m->last_term = history_term_at(&s->history, m->sent);
    m->joined_us = r->now_us;
    s->trouble = true;
    primary_uncount(r, s, m);
    match(r, s, m);
}

/* Of those in sync that are ahead the one that has most: by I2 its log continues ours. */
static void pull_most(struct repl *r, struct repl_shard *s)
{
    struct member *most = NULL;
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        if (m->pulling) {
            return;
        }
        if (m->joined && m->in_sync && m->flow == FLOW_NONE && is_ahead(s, m) &&
            (most == NULL || m->last_term > most->last_term ||
             (m->last_term == most->last_term && m->last_version > most->last_version))) {
            most = m;
        }
    }
    if (most == NULL) {
        return;
    }
    most->pulling = true;
    struct repl_message msg = {
        .kind = REPL_PULL,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .pull = {.from = s->history.version + 1, .prev_term = history_term(&s->history)},
    };
    repl_send(r, most->peer, &msg);
}

void primary_pulled(struct repl *r, struct repl_shard *s, int peer, struct slice entries)
{
    struct member *m = primary_member(s, peer);
    if (m == NULL || !m->pulling) {
        r->stats.dropped++;
        return;
    }
    if (!shard_take_entries(r, s, entries)) {
        repl_bad(r, peer, "pulled entries");
        return;
    }
    if (s->history.version < m->last_version) {
        return;
    }
    m->pulling = false;
    match_joined(r, s);
    repl_kick(r, s);
}

void primary_join(struct repl *r, struct repl_shard *s, int peer, const struct repl_join *j)
{
    struct member *m = primary_member(s, peer);
    if (m == NULL || m->join_number == j->number) {
        /* A map that makes it a member will come; or it asked again while waiting, perhaps before
         * it heard that we had resigned: what it says behind that is of the time before, too. */
        return;
    }
    if (!m->in_map || j->since != m->since) {
        /* One of us lacks the maps by which it left the shard and came back: what it has now it
         * drops at the first of them, or has dropped. It asks again. */
        r->stats.dropped++;
        return;
    }
    if (m->flow == FLOW_COPY) {
        copy_stop(r, s, m, false);
    }
    if (m->told) { /* it has forgotten that, but may have relied on it until now */
        m->cover_us = MAX(m->cover_us, peer_of(r, peer)->given_primary_us);
        m->told = false;
    }
    m->joined = true;
    m->joined_us = r->now_us;
    m->join_number = j->number;
    m->last_term = j->last_term;
    m->last_version = j->last_version;
    m->last_own = MIN(j->own, j->last_version);
    m->bare = j->first > backlog_first(r->backlog, s->shard) && j->first <= j->last_version + 1;
    m->flow = FLOW_NONE;
    m->pulling = false;
    m->acked = 0;
    s->trouble = true;
    match(r, s, m);
    repl_kick(r, s);
}

static void unjoin(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (m->flow == FLOW_COPY) {
        copy_stop(r, s, m, false);
    }
    copy_unwant(r, m);
    if (m->told) {
        m->cover_us = MAX(m->cover_us, peer_of(r, m->peer)->given_primary_us);
        m->told = false;
    }
    m->joined = false;
    m->joined_us = r->now_us;
    m->join_number = 0;
    m->flow = FLOW_NONE;
    m->pulling = false;
    s->trouble = true;
    s->read_turn = 0;
}

/* Its JOIN of a primary term below that one, should we come to be primary in it. */
static void forget_early(struct repl_shard *s, int peer, uint64_t below)
{
    for (int i = 0; i < s->n_early; i++) {
        if (s->early[i].peer == peer && s->early[i].term < below) {
            s->early[i--] = s->early[--s->n_early];
        }
    }
}

void primary_down(struct repl *r, struct repl_shard *s, int peer)
{
    forget_early(s, peer, UINT64_MAX);
    struct member *m = shard_is_primary(s) ? primary_member(s, peer) : NULL;
    if (m != NULL) {
        unjoin(r, s, m);
    }
}

void primary_revoked(struct repl *r, struct repl_shard *s, int peer, uint64_t term)
{
    /* What it promises from now on is not for the primary terms that it has left. */
    if (!PLANTED(EARLY_KEPT)) {
        forget_early(s, peer, term == REVOKE_LEFT ? UINT64_MAX : term);
    }
    /* Of the present term: the answer to what we sent in the one before, which has come late. */
    if (!shard_is_primary(s) || (term != REVOKE_LEFT && term <= s->pterm)) {
        return;
    }
    struct member *m = primary_member(s, peer);
    if (m != NULL) {
        unjoin(r, s, m);
    }
    if (term == REVOKE_LEFT) {
        return; /* only that one has left */
    }
    if (s->state != REPL_RESIGNED) {
        r->stats.revoked++;
        handover_stop(s);
        shard_move(r, s, REPL_RESIGNED);
    }
    s->revoked = MAX(s->revoked, term);
}

/* -- the role --------------------------------------------------------------------------------- */

static struct member *add_member(struct repl *r, struct repl_shard *s, int peer, uint64_t since)
{
    if (s->n_members == REPL_PEER_MAX) {
        return NULL;
    }
    struct member *m = &s->members[s->n_members++];
    *m = (struct member){.peer = peer,
                         .since = since,
                         .cover_us = NEVER,
                         .joined_us = r->now_us,
                         .progress_us = r->now_us,
                         .round_us = INT64_MAX,
                         .copy_after_us = NEVER,
                         .unwanted_us = NEVER};
    return m;
}

/* It may be a member again by a map that it has had before us: it joined who goes now. */
static void ask_to_join(struct repl *r, const struct repl_shard *s, const struct member *m)
{
    if (peer_of(r, m->peer)->up) {
        struct repl_message again = {
            .kind = REPL_REOPEN, .shard = (uint32_t)s->shard, .term = s->pterm};
        repl_send(r, m->peer, &again);
    }
}

static void remove_member(struct repl *r, struct repl_shard *s, int at)
{
    struct member *m = &s->members[at];
    if (m->flow == FLOW_COPY) {
        copy_stop(r, s, m, false);
    }
    copy_unwant(r, m);
    if (m->joined) {
        ask_to_join(r, s, m);
    }
    memmove(m, m + 1, sizeof(*m) * (size_t)(s->n_members - at - 1));
    s->n_members--;
}

/* Why a member of the in-sync set is to leave it; NULL: it is well, or may soon be. */
static const char *failing(const struct repl *r, const struct repl_shard *s, const struct member *m)
{
    const struct peer *p = peer_of(r, m->peer);
    int64_t lease = r->set.lease_us;
    int64_t grace = s->state == REPL_RECOVER ? lease : lease / 4;
    if (p->dead && !m->joined) {
        grace = 0; /* the coordinator says so, and nothing here says otherwise */
    }
    if (is_unwanted(r, m) && !m->told && (!repl_leases(r) || m->cover_us <= r->now_us)) {
        return "it is to be dropped";
    }
    if (!p->up) {
        return r->now_us - MAX(p->changed_us, m->joined_us) >= grace ? "no link" : NULL;
    }
    int64_t joined = r->now_us - MAX(p->changed_us, m->joined_us);
    if (!m->joined) {
        return joined >= (p->dead ? lease / 4 : lease) ? "does not join" : NULL;
    }
    if (m->flow != FLOW_LOG) {
        return joined >= (s->state == REPL_RECOVER ? lease : 0) ? "its log is another one" : NULL;
    }
    if (m->acked < m->sent && r->now_us - m->progress_us >= lease) {
        return "does not acknowledge";
    }
    /* Writes need no lease, only reads do; one that acknowledges may just be slow to promise. */
    if (repl_leases(r) && p->held_us < r->now_us - lease / 4 && joined >= lease) {
        return "its lease is over";
    }
    return NULL;
}

/* A request of an older term has been granted, or never will be. */
static void settle_requests(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (m->remove_term != 0 && m->remove_term < s->term) {
        m->remove_term = 0;
    }
    if (m->add_term == 0 || m->add_term >= s->term) {
        return;
    }
    m->add_term = 0;
    if (!m->in_sync && m->in_map && failing(r, s, m) == NULL) {
        m->add_term = s->term; /* the same again */
        m->asked_us = NEVER;
    }
}

static void note_member(struct repl *r, struct repl_shard *s, int peer, const struct map_member *e)
{
    struct member *m = primary_member(s, peer);
    if (m == NULL) {
        m = add_member(r, s, peer, e->since);
    } else if (m->since != e->since) { /* what it told as the former one says nothing of this */
        m->since = e->since;
        m->add_term = 0;
        if (m->joined) {
            ask_to_join(r, s, m);
            unjoin(r, s, m);
        }
    }
    INVARIANT(m != NULL); /* so many cannot have left within a lease */
    m->in_map = true;
    m->in_sync = e->in_sync;
    if (m->in_sync && !m->in_set) {
        m->in_set = true;
        if (m->flow == FLOW_COPY) { /* it can be no member with half a copy: it is asked out */
            copy_stop(r, s, m, false);
        }
    }
}

/* Takes the members as the map has them. The commit set keeps those that the coordinator may have
 * recorded, and those to which a promise stands. */
void primary_map(struct repl *r, struct repl_shard *s, const struct map *m,
                 const struct map_shard *ms, bool anew)
{
    if (anew) {
        s->n_members = 0;
    }
    for (int i = 0; i < s->n_members; i++) {
        s->members[i].in_map = s->members[i].in_sync = false;
    }
    for (int i = 0; i < ms->n_members; i++) {
        if (ms->members[i].node != r->self) {
            note_member(r, s, repl_peer(r, m->nodes[ms->members[i].node].id), &ms->members[i]);
        }
    }
    for (int i = 0; i < s->n_members; i++) {
        struct member *e = &s->members[i];
        settle_requests(r, s, e);
        if (e->in_set && !member_counts(e)) {
            primary_uncount(r, s, e);
        }
        if (!e->in_map && !e->in_set) {
            remove_member(r, s, i--);
        }
    }
    primary_count_set(s);
    bool doubted = s->doubted;
    s->doubted = !map_shard_has_primary(ms);
    if (doubted && !s->doubted && !anew) {
        match_joined(r, s);
    }
    s->trouble = true;
    repl_kick(r, s);
}

void primary_enter(struct repl *r, struct repl_shard *s)
{
    handover_stop(s);
    s->said_us = NEVER;
    for (int i = 0; i < s->n_members; i++) {
        s->members[i].joined_us = r->now_us;
    }
    for (int i = 0; i < s->n_early; i++) {
        struct early e = s->early[i];
        if (e.term <= s->pterm) {
            s->early[i--] = s->early[--s->n_early];
        }
        if (e.term == s->pterm && peer_of(r, e.peer)->up) {
            primary_join(r, s, e.peer, &e.join);
        }
    }
    repl_kick(r, s);
}

void primary_leave(struct repl *r, struct repl_shard *s)
{
    handover_stop(s);
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        primary_uncount(r, s, m); /* our next PROMISE is for other shards */
        s->hold_us = MAX(s->hold_us, m->cover_us);
        if (m->flow == FLOW_COPY) {
            copy_stop(r, s, m, false);
        }
        copy_unwant(r, m);
        m->joined = m->told = false;
        m->flow = FLOW_NONE;
    }
}

/* -- what time and news demand ---------------------------------------------------------------- */

static bool is_time_to_say(const struct repl *r, struct repl_shard *s)
{
    bool is = s->said_us == NEVER || r->now_us - s->said_us >= SAID_US;
    s->said_us = is ? r->now_us : s->said_us;
    return is;
}

/* It was chosen by guess, and is what it was chosen for. Before it serves that is to be over:
 * should it die after it has acknowledged something, nobody else may be chosen by guess. */
static void say_whole(struct repl *r, struct repl_shard *s)
{
    if (is_time_to_say(r, s)) {
        r->env.report(r->env.arg, REPL_WHOLE, s->shard, s->pterm, r->id);
    }
}

/* It was chosen for what the coordinator believed it has, when no member that is surely whole was
 * left: one of the others may have more. */
static void say_hollow(struct repl *r, struct repl_shard *s)
{
    if (is_time_to_say(r, s)) {
        log_event(LOG_WARNING, "repl", "primary of what it dropped for a full copy shard=%d",
                  s->shard);
        r->env.report(r->env.arg, REPL_HOLLOW, s->shard, s->pterm, r->id);
    }
}

static bool try_serve(struct repl *r, struct repl_shard *s)
{
    if (s->hollow && !PLANTED(HOLLOW_SERVES)) {
        say_hollow(r, s);
        return false;
    }
    if (s->doubted) {
        say_whole(r, s);
        return false;
    }
    pull_most(r, s);
    for (int i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        if (member_counts(m) && m->flow != FLOW_LOG) {
            return false;
        }
    }
    if (repl_leases(r) && (r->now_us < s->hold_us || lease_primary_until(r, s, -1) <= r->now_us)) {
        return false;
    }
    shard_move(r, s, REPL_SERVE);
    match_joined(r, s);
    primary_commit(r, s);
    repl_dirty(r, s);
    return true;
}

static void ask(struct repl *r, struct repl_shard *s, struct member *m, enum repl_report what)
{
    m->asked_us = r->now_us;
    if (what == REPL_ADD) {
        r->stats.adds++;
    } else {
        r->stats.removes++;
    }
    r->env.report(r->env.arg, what, s->shard, s->term, peer_of(r, m->peer)->id);
}

static void check_removal(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (s->doubted) {
        return; /* nothing of the set is ours to change */
    }
    if (r->deaf > 0) {
        return; /* what it has said may not have been heard yet */
    }
    const char *why = failing(r, s, m);
    if (why == NULL) {
        if (m->remove_term != 0) {
            m->remove_term = 0;
            primary_count_set(s);
        }
        return;
    }
    s->trouble = true;
    if (m->remove_term == 0) {
        const struct peer *p = peer_of(r, m->peer);
        log_event(LOG_NOTICE, "repl",
                  "member is to leave the in-sync set shard=%d node=%.8s why=%s behind=%llu "
                  "silent-ms=%lld lease-left-ms=%lld queued=%zu",
                  s->shard, p->id, why, (unsigned long long)(s->history.version - m->acked),
                  (long long)(r->now_us - m->progress_us) / 1000,
                  p->held_us == NEVER ? 0LL : (long long)(p->held_us - r->now_us) / 1000,
                  r->env.queued(r->env.arg, m->peer));
        primary_uncount(r, s, m);
        m->remove_term = s->term;
        primary_count_set(s);
        ask(r, s, m, REPL_REMOVE);
        if (PLANTED(REMOVE_AT_ONCE)) {
            m->in_set = m->in_sync = false;
            primary_count_set(s);
            primary_commit(r, s);
        }
    } else if (r->now_us - m->asked_us >= r->set.lease_us) {
        m->remove_term = s->term;
        ask(r, s, m, REPL_REMOVE);
    }
}

/* Recorded as out: it goes when our promise to it is over. */
static void check_leaving(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (repl_leases(r) && r->now_us < m->cover_us && !PLANTED(COMMIT_AT_REMOVE)) {
        return;
    }
    m->in_set = false;
    m->cover_us = NEVER;
    primary_count_set(s);
    primary_commit(r, s);
    repl_dirty(r, s);
    if (m->joined && m->flow == FLOW_NONE && m->in_map) {
        match(r, s, m);
    }
}

/* It is in the commit set, but the coordinator is asked only when it has all that was committed
 * without it; and not on the word of a process that is no more. */
static void ask_to_add(struct repl *r, struct repl_shard *s, struct member *m)
{
    const struct peer *p = peer_of(r, m->peer);
    const char *why = failing(r, s, m);
    if (why != NULL) {
        /* An older request may still be granted: asked out, it will not be. */
        if (m->asked_us == NEVER || r->now_us - m->asked_us >= r->set.lease_us) {
            primary_uncount(r, s, m);
            ask(r, s, m, REPL_REMOVE);
        }
        return;
    }
    bool due = m->asked_us == NEVER || r->now_us - m->asked_us >= r->set.lease_us;
    if (due && m->joined && m->flow == FLOW_LOG && m->acked >= s->commit &&
        p->incarnation == p->incarnation_in_map) {
        m->add_term = s->term;
        ask(r, s, m, REPL_ADD);
    }
}

/* Caught up: a round (from when the log's end was somewhere to when it had acknowledged that) was
 * short, so that the log's writes will not wait long for it. */
static void check_adding(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (m->add_term != 0) {
        ask_to_add(r, s, m);
        return;
    }
    const struct peer *p = peer_of(r, m->peer);
    if (m->flow != FLOW_LOG || s->state != REPL_SERVE || s->handing >= 0 || !m->in_map ||
        p->incarnation != p->incarnation_in_map) {
        return;
    }
    if (m->goal == 0) {
        m->goal = s->history.version;
        m->goal_us = r->now_us;
        if (m->acked >= m->goal) {
            m->round_us = 0;
            m->goal = 0;
        }
    }
    if (m->round_us > r->set.lease_us / 32 ||
        (repl_leases(r) && p->held_us < r->now_us + r->set.lease_us / 2)) {
        return;
    }
    m->in_set = true;
    m->add_term = s->term;
    m->asked_us = NEVER;
    primary_count_set(s);
    ask_to_add(r, s, m);
}

static void tick_member(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (m->unwanted_us != NEVER && !is_unwanted(r, m)) {
        m->unwanted_us = NEVER;
    }
    if (member_counts(m)) {
        if (m->in_sync) {
            check_removal(r, s, m);
        } else {
            check_adding(r, s, m);
        }
        if (m->told != may_count(r, s, m)) {
            if (m->told) {
                primary_uncount(r, s, m);
            } else {
                primary_tell_counted(r, s, m, true);
            }
        }
    } else if (m->in_set) {
        check_leaving(r, s, m);
    } else {
        check_adding(r, s, m);
    }
}

/* All that can be is as it should be: no need to look every tick. */
static bool is_well(const struct repl *r, const struct repl_shard *s)
{
    if (s->state != REPL_SERVE || s->handing >= 0) {
        return s->state == REPL_RESIGNED && s->revoked != 0;
    }
    bool counts = repl_leases(r) && r->set.consistency == REPL_STRONG;
    for (int i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        if (!m->in_sync || m->remove_term != 0 || m->unwanted_us != NEVER || m->flow != FLOW_LOG ||
            m->told != counts) {
            return false;
        }
    }
    return true;
}

void primary_tick(struct repl *r, struct repl_shard *s)
{
    if (s->state == REPL_RECOVER) {
        try_serve(r, s);
    }
    if (s->state == REPL_RECOVER || s->state == REPL_SERVE || s->state == REPL_FENCED) {
        for (int i = 0; i < s->n_members; i++) {
            tick_member(r, s, &s->members[i]);
            if (!s->members[i].in_map && !s->members[i].in_set) {
                remove_member(r, s, i--);
            }
        }
    }
    handover_tick(r, s);
    s->trouble = !is_well(r, s);
}
