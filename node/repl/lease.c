// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

/* Clocks of two nodes may differ in rate by this much. */
int64_t lease_less_drift(int64_t us)
{
    return us - us / 16;
}

int64_t lease_primary_until(const struct repl *r, const struct repl_shard *s, int but)
{
    int64_t until = INT64_MAX;
    for (int i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];
        if (member_counts(m) && m->peer != but) {
            int64_t held = m->joined ? peer_of(r, m->peer)->held_us : NEVER;
            until = MIN(until, held);
        }
    }
    return until;
}

void lease_beacons(struct repl *r)
{
    if (!repl_leases(r) ||
        (r->beaconed_us != NEVER && r->now_us - r->beaconed_us < r->set.lease_us / 4)) {
        return;
    }
    r->beaconed_us = r->now_us;
    struct repl_message m = {
        .kind = REPL_BEACON,
        .beacon = {.time_us = r->now_us, .lease_us = r->set.lease_us},
    };
    for (int i = 0; i < r->n_peers; i++) {
        if (r->peers[i]->up && r->peers[i]->in_map) {
            repl_send(r, i, &m);
        }
    }
}

/* How long the reads of this peer may rely on us: no longer than our own leases stand in all shards
 * in which it is, or may soon be, counted. A shard whose leases are about to end is taken out, so
 * that it does not shorten the promise for the rest. */
static int64_t reads_promised(struct repl *r, const struct peer *p, int64_t lease_us)
{
    int64_t left = lease_us;
    if (!repl_leases(r)) {
        return 0;
    }
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        struct member *m = shard_is_primary(s) ? primary_member(s, p->handle) : NULL;
        if (m == NULL || !member_counts(m)) {
            continue;
        }
        int64_t own = lease_primary_until(r, s, p->handle);
        if (own == INT64_MAX || PLANTED(NO_CHAIN)) {
            continue;
        }
        if (own == NEVER || own - r->now_us < r->set.lease_us / 4) {
            primary_uncount(r, s, m);
        } else {
            left = MIN(left, own - r->now_us);
        }
    }
    return left;
}

void lease_promise(struct repl *r, struct peer *p)
{
    p->asked = false;
    int64_t lease = p->beacon.lease_us;
    if (lease <= 0 || lease > INT64_C(3600) * 1000000) {
        return;
    }
    struct repl_message m = {
        .kind = REPL_PROMISE,
        .promise = {.time_us = p->beacon.time_us,
                    .lease_us = lease,
                    .read_us = reads_promised(r, p, lease)},
    };
    p->given_member_us = MAX(p->given_member_us, r->now_us + lease);
    p->given_primary_us = MAX(p->given_primary_us, r->now_us + m.promise.read_us);
    repl_send(r, p->handle, &m);
}

void lease_promised(struct repl *r, struct peer *p, const struct repl_promise *m)
{
    if (m->time_us > r->now_us || m->lease_us < 0 || m->read_us < 0 || m->read_us > m->lease_us ||
        m->lease_us > INT64_C(3600) * 1000000) {
        repl_bad(r, p->handle, "promise");
        return;
    }
    int64_t from = PLANTED(LEASE_FROM_RECEIPT) ? r->now_us : m->time_us;
    p->held_us = MAX(p->held_us, from + lease_less_drift(m->lease_us));
    p->read_us = MAX(p->read_us, from + lease_less_drift(m->read_us));
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        if (s->trouble && shard_is_primary(s)) {
            repl_kick(r, s);
        }
    }
}
