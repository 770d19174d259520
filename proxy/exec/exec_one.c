// SPDX-License-Identifier: BSD-3-Clause
/* One shard, one reply: the hot path. */
#include "proxy/exec/exec_priv.h"
#include "proxy/route/router.h"

/* A read of that shard is still under way by a read lane: a write sent now could overtake it. */
static bool reads_shard(const struct session *s, int shard)
{
    for (const struct request *r = s->head; r != NULL; r = r->next) {
        if (r->gather != NULL) {
            return true; /* which shards its parts touch is not worth a look */
        }
        if (r->call.read_lane && r->call.lane != NULL && r->call.shard == shard) {
            return true;
        }
    }
    return false;
}

/* From now on its reads go by the lanes of its writes, so that order costs no waiting. */
static bool write_must_wait(struct session *s, int shard)
{
    s->mixes = MIX_STICKY;
    return shard < 0 || reads_shard(s, shard);
}

static void note_mixing(struct session *s)
{
    if (s->writes_open > 0) {
        s->mixes = MIX_STICKY;
    } else if (s->pending == 0) {
        s->mixes--;
    }
}

static void fill(struct call *c, struct session *s, int shard, bool write)
{
    c->shard = shard;
    c->db = s->db;
    c->write = write;
}

/* Nobody takes it right now, or it has to find out whether somebody does. */
static enum exec_verdict not_now(struct exec *x, struct session *s, const struct command *c,
                                 const struct exec_input *in, int shard)
{
    struct request *r = request_take(x, s, c);
    fill(&r->call, s, shard, !(c->flags & CF_READONLY));
    r->call.primary = router_primary_only(c);
    call_keep_bytes(x, &r->call, in, &x->park);
    if (s->pending > 1) {
        call_hold(x, &r->call, x->now_us + 1000); /* what it has under way may still be refused */
    } else {
        call_send(x, &r->call);
    }
    return EXEC_TAKEN;
}

enum exec_verdict exec_one(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, int shard)
{
    bool write = !(c->flags & CF_READONLY);
    bool own_primary = UNLIKELY(router_primary_only(c));
    enum lane_kind kind = LANE_WRITE;
    struct target *t;
    if (UNLIKELY(s->own != NULL)) {
        return exec_own(x, s, c, in, shard);
    }
    if (write) {
        if (UNLIKELY(s->reads_open > 0) && write_must_wait(s, shard)) {
            session_stop(x, s, STOP_READS);
            return EXEC_STOP;
        }
        t = shard >= 0 ? x->routes[shard].primary : x->any;
    } else if (UNLIKELY(s->writes_open > 0 || s->mixes > 0)) {
        note_mixing(s);
        t = shard >= 0 ? x->routes[shard].primary : x->any;
    } else {
        kind = LANE_READ;
        t = shard < 0                                      ? x->any
            : UNLIKELY(own_primary || must_read_own(x, s)) ? x->routes[shard].primary
                                                           : pick_reader(x, shard);
    }
    if (UNLIKELY(t == NULL)) {
        return not_now(x, s, c, in, shard);
    }
    struct lane *l = t->lanes[kind][s->proto - 2];
    if (UNLIKELY(l == NULL)) {
        l = lane_of(x, t, kind, s->proto);
    }
    if (UNLIKELY(l->state == LANE_DOWN) && !lane_ready(x, l)) {
        return not_now(x, s, c, in, shard);
    }
    if (UNLIKELY(!lane_has_room(x, l))) {
        session_stop(x, s, STOP_LANE);
        list_append(&l->stopped, &s->wait);
        l->full = true;
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    fill(&r->call, s, shard, write);
    r->call.primary = own_primary;
    lane_put(x, l, &r->call, in);
    return EXEC_TAKEN;
}
