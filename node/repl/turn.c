// SPDX-License-Identifier: BSD-3-Clause
/* What leaves at the end of a turn: entries and commit versions of primaries, acknowledgements of
 * replicas, promises, slices of copies. */
#include "node/repl/repl_priv.h"

#include "common/base/mem.h"

bool turn_send_entries(struct repl *r, struct repl_shard *s, struct member *m, bool force)
{
    /* One that is counted would have to leave the in-sync set if the backlog lost what it lacks. */
    size_t fill = m->in_set ? MAX(r->set.link_fill, r->set.link_overrun / 4) : r->set.link_fill;
    while (m->sent < s->history.version) {
        if (!force && r->env.queued(r->env.arg, m->peer) >= fill) {
            return false;
        }
        struct repl_message msg = {
            .kind = REPL_ENTRIES, .shard = (uint32_t)s->shard, .term = s->pterm};
        uint64_t last = m->sent;
        msg.entries.bytes = backlog_read(r->backlog, s->shard, m->sent + 1, ENTRIES_MAX, &last);
        if (msg.entries.bytes.len == 0) {
            primary_lost(r, s, m);
            return false;
        }
        if (m->acked == m->sent) {
            m->progress_us = r->now_us; /* begins to owe us something */
        }
        repl_send(r, m->peer, &msg);
        r->stats.entries_sent += last - m->sent;
        r->stats.bytes_sent += msg.entries.bytes.len;
        m->sent = last;
    }
    return true;
}

static void add_mark(struct repl_mark **items, size_t *n, size_t *cap, struct repl_mark k)
{
    if (*n == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        *items = mem_realloc(*items, sizeof(k) * *cap);
    }
    (*items)[(*n)++] = k;
}

/* `more` is NULL: no copies. */
static void end_of_primary(struct repl *r, struct repl_shard *s, bool *more)
{
    bool unfinished = false;
    bool commits = s->commit > s->commit_sent;
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        if (m->flow == FLOW_LOG) {
            unfinished = !turn_send_entries(r, s, m, false) || unfinished;
            struct peer *p = peer_of(r, m->peer);
            if (commits && m->flow == FLOW_LOG) {
                add_mark(&p->commits, &p->n_commits, &p->cap_commits,
                         (struct repl_mark){
                             .shard = (uint32_t)s->shard, .term = s->pterm, .version = s->commit});
            }
        } else if (m->flow == FLOW_COPY) {
            unfinished = true;
            if (more != NULL) {
                *more = copy_step(r, s, m) || *more;
            }
        }
    }
    s->commit_sent = s->commit;
    if (unfinished) {
        repl_dirty(r, s);
    }
}

static void end_of_replica(struct repl *r, struct repl_shard *s, bool *more)
{
    if (more != NULL) {
        *more = inbox_step(r, s) || *more;
    } else if (s->inbox != NULL) {
        repl_dirty(r, s);
    }
    if (s->state != REPL_FOLLOW) {
        return;
    }
    uint64_t own = shard_own(r, s);
    if (own <= s->acked && s->durable <= s->acked_durable) {
        return;
    }
    struct peer *p = peer_of(r, s->primary);
    add_mark(&p->acks, &p->n_acks, &p->cap_acks,
             (struct repl_mark){.shard = (uint32_t)s->shard,
                                .term = s->pterm,
                                .version = own,
                                .durable = MIN(s->durable, own)});
    s->acked = own;
    s->acked_durable = s->durable;
}

static void send_marks(struct repl *r, struct peer *p)
{
    if (p->n_acks == 0 && p->n_commits == 0) {
        return; /* before the large message is cleared: this is of every turn */
    }
    struct repl_message m = {.kind = REPL_ACK, .marks = {.items = p->acks, .count = p->n_acks}};
    if (p->n_acks > 0) {
        p->n_acks = 0;
        r->stats.acks_sent++;
        repl_send(r, p->handle, &m);
    }
    if (p->n_commits > 0) {
        m.kind = REPL_COMMIT;
        m.marks = (struct repl_marks){.items = p->commits, .count = p->n_commits};
        p->n_commits = 0;
        repl_send(r, p->handle, &m);
    }
}

static void fill_tokens(struct repl *r)
{
    double rate = (double)r->set.copy_bandwidth;
    r->copy_tokens += rate * (double)(r->now_us - r->copy_tokens_us) / 1e6;
    r->copy_tokens = MIN(r->copy_tokens, MAX(rate / 20, COPY_SLICE)); /* 50 ms' worth */
    r->copy_tokens_us = r->now_us;
}

static void keep_promises(struct repl *r)
{
    for (int i = 0; i < r->n_peers; i++) {
        if (r->peers[i]->asked) {
            lease_promise(r, r->peers[i]);
        }
    }
}

static void end_of_shards(struct repl *r, bool *more)
{
    /* Shards that are not finished are put in again, behind those of this turn. */
    size_t n = r->dirty.count;
    for (size_t i = 0; i < n; i++) {
        struct repl_shard *s = shard_of(r, r->dirty.items[i]);
        s->dirty = false;
        if (s->state == REPL_SERVE || s->state == REPL_RECOVER || s->state == REPL_FENCED) {
            end_of_primary(r, s, more);
        } else {
            end_of_replica(r, s, more);
        }
    }
    if (n > 0) {
        memmove(r->dirty.items, r->dirty.items + n,
                sizeof(r->dirty.items[0]) * (r->dirty.count - n));
        r->dirty.count -= n;
    }
    for (int i = 0; i < r->n_peers; i++) {
        send_marks(r, r->peers[i]);
    }
}

bool repl_is_meanwhile(enum repl_kind kind)
{
    return kind == REPL_ACK || kind == REPL_BEACON || kind == REPL_PROMISE;
}

void repl_meanwhile(struct repl *r, int64_t now_us)
{
    CHECK_OBJ(r, REPL_MAGIC);
    r->now_us = MAX(r->now_us, now_us);
    lease_beacons(r);
    keep_promises(r);
    end_of_shards(r, NULL);
}

bool repl_turn_end(struct repl *r, int64_t now_us)
{
    CHECK_OBJ(r, REPL_MAGIC);
    r->now_us = MAX(r->now_us, now_us);
    r->reads_until_us = INT64_MAX;
    bool more = false;
    for (size_t i = 0; i < r->kicked.count; i++) {
        struct repl_shard *s = shard_of(r, r->kicked.items[i]);
        s->kicked = false;
        shard_tick(r, s);
        r->trouble = r->trouble || s->trouble;
    }
    r->kicked.count = 0;
    keep_promises(r);
    r->deaf -= r->deaf > 0;
    fill_tokens(r);
    if (r->copies_queued > 0 && r->stats.copies_running < r->set.copies_max) {
        copy_schedule(r);
    }
    end_of_shards(r, &more);
    r->copy_left = r->take_left = COPY_SLICE;
    r->turn++; /* last: what was read as a shard came to be served says nothing of the next turn */
    return more;
}
