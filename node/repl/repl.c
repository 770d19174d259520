// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/repl_priv.h"

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"

void repl_settings_default(struct repl_settings *s)
{
    *s = (struct repl_settings){
        .mode = REPL_SYNC,
        .consistency = REPL_STRONG,
        .min_in_sync = 1,
        .lease_us = 1000000,
        .backlog_max = (size_t)64 << 20,
        .copy_bandwidth = 0,
        .copies_max = 2,
        .copy_untaken = (uint64_t)512 << 10,
        .link_fill = (size_t)1 << 20,
        .link_overrun = (size_t)256 << 20,
    };
}

void indexes_add(struct indexes *l, int v)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->items = mem_realloc(l->items, sizeof(l->items[0]) * l->cap);
    }
    l->items[l->count++] = v;
}

struct repl *repl_new(const char *id, int n_shards, const struct repl_settings *s,
                      const struct repl_env *env, bool new_node, int64_t now_us)
{
    struct repl *r = mem_zalloc(sizeof(*r));
    r->magic = REPL_MAGIC;
    r->turn = 1;
    r->self = NODE_NONE;
    r->n_shards = n_shards;
    r->set = *s;
    r->env = *env;
    r->new_node = new_node;
    r->now_us = r->started_us = r->copy_tokens_us = now_us;
    r->beaconed_us = NEVER;
    r->swept_us = now_us;
    r->copy_left = r->take_left = COPY_SLICE;
    r->reads_until_us = INT64_MAX;
    memcpy(r->id, id, NODE_ID_LEN);
    r->backlog = backlog_new(n_shards, s->backlog_max);
    r->shards = mem_zalloc(sizeof(struct repl_shard *) * (size_t)n_shards);
    return r;
}

static void shard_drop(struct repl_shard **ps)
{
    struct repl_shard *s = *ps;
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < s->n_members; i++) {
        if (s->members[i].copy != NULL) {
            mem_free(s->members[i].copy->ahead);
            mem_free(s->members[i].copy->portraits);
            mem_free(s->members[i].copy);
        }
    }
    inbox_clear(s);
    mem_free(s->lanes);
    mem_free(s);
    *ps = NULL;
}

void repl_free(struct repl **pr)
{
    struct repl *r = *pr;
    if (r == NULL) {
        return;
    }
    for (int i = 0; i < r->n_shards; i++) {
        shard_drop(&r->shards[i]);
    }
    for (int i = 0; i < r->n_peers; i++) {
        mem_free(r->peers[i]->acks);
        mem_free(r->peers[i]->commits);
        mem_free(r->peers[i]);
    }
    hmap_fini(&r->by_id);
    mem_free(r->peers);
    mem_free(r->shards);
    mem_free(r->held.items);
    mem_free(r->dirty.items);
    mem_free(r->kicked.items);
    backlog_free(&r->backlog);
    map_unref(&r->map);
    r->magic = 0;
    mem_free(r);
    *pr = NULL;
}

static void set_now(struct repl *r, int64_t now_us)
{
    CHECK_OBJ(r, REPL_MAGIC);
    r->now_us = MAX(r->now_us, now_us);
}

void repl_set(struct repl *r, const struct repl_settings *s, int64_t now_us)
{
    set_now(r, now_us);
    r->set = *s;
    backlog_set_max(r->backlog, s->backlog_max);
    /* Who may serve, and what is committed, may be different now. */
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *sh = shard_of(r, r->held.items[i]);
        sh->read_turn = 0;
        sh->trouble = true;
        repl_kick(r, sh);
        repl_dirty(r, sh);
        /* What waited for a disk that is no longer asked for: nothing else would tell of it. */
        primary_commit(r, sh);
    }
    r->beaconed_us = NEVER;
}

const struct repl_settings *repl_get(const struct repl *r)
{
    return &r->set;
}

int64_t repl_silent_until(const struct repl *r)
{
    if (r->new_node || !repl_leases(r) || PLANTED(RESTART_NOT_SILENT)) {
        return NEVER;
    }
    return r->started_us + r->set.lease_us;
}

/* -- peers ------------------------------------------------------------------------------------ */

static struct peer *find_peer(const struct repl *r, const char *id, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&r->by_id, hash); n != NULL; n = hmap_same(n)) {
        struct peer *p = container_of(n, struct peer, node);
        if (memcmp(p->id, id, NODE_ID_LEN) == 0) {
            return p;
        }
    }
    return NULL;
}

int repl_peer(struct repl *r, const char *id)
{
    CHECK_OBJ(r, REPL_MAGIC);
    INVARIANT(strlen(id) == NODE_ID_LEN);
    uint64_t hash = hash_bytes(id, NODE_ID_LEN, 0);
    struct peer *p = find_peer(r, id, hash);
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p));
        memcpy(p->id, id, NODE_ID_LEN);
        p->handle = r->n_peers;
        p->changed_us = r->now_us;
        p->given_member_us = p->given_primary_us = p->held_us = p->read_us = NEVER;
        hmap_insert(&r->by_id, &p->node, hash);
        r->peers = mem_realloc(r->peers, sizeof(struct peer *) * (size_t)(r->n_peers + 1));
        r->peers[r->n_peers++] = p;
    }
    return p->handle;
}

const char *repl_peer_id(const struct repl *r, int peer)
{
    INVARIANT(peer >= 0 && peer < r->n_peers);
    return r->peers[peer]->id;
}

void repl_send(struct repl *r, int peer, const struct repl_message *m)
{
    r->env.send(r->env.arg, peer, m);
}

void repl_bad(struct repl *r, int peer, const char *why)
{
    log_event(LOG_WARNING, "repl", "a peer's message makes no sense: peer=%.8s what=%s",
              peer_of(r, peer)->id, why);
    r->stats.dropped++;
    r->env.cut(r->env.arg, peer);
}

void repl_peer_up(struct repl *r, int peer, uint64_t incarnation, int64_t now_us)
{
    set_now(r, now_us);
    struct peer *p = peer_of(r, peer);
    if (p->up) {
        repl_peer_down(r, peer, now_us);
    }
    p->up = true;
    p->incarnation = incarnation;
    p->changed_us = r->now_us;
    p->beacon_us = NEVER;
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        if (shard_is_replica(s) && s->primary == peer) {
            replica_up(r, s);
        }
    }
    r->beaconed_us = NEVER; /* ask it at once */
}

void repl_peer_down(struct repl *r, int peer, int64_t now_us)
{
    set_now(r, now_us);
    struct peer *p = peer_of(r, peer);
    if (!p->up) {
        return;
    }
    p->up = false;
    p->asked = false;
    p->changed_us = r->now_us;
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        primary_down(r, s, peer);
        if (shard_is_replica(s) && s->primary == peer) {
            replica_down(r, s);
        }
    }
}

/* -- the map ---------------------------------------------------------------------------------- */

static void note_peers(struct repl *r, const struct map *m)
{
    for (int i = 0; i < r->n_peers; i++) {
        r->peers[i]->in_map = false;
    }
    for (int i = 0; i < m->n_nodes; i++) {
        if (memcmp(m->nodes[i].id, r->id, NODE_ID_LEN) != 0) {
            int peer = repl_peer(r, m->nodes[i].id); /* may move the list */
            r->peers[peer]->in_map = true;
            r->peers[peer]->dead = m->nodes[i].state == NODE_DEAD;
            r->peers[peer]->incarnation_in_map = m->nodes[i].incarnation;
        }
    }
}

void repl_map(struct repl *r, struct map *m, int64_t now_us)
{
    set_now(r, now_us);
    INVARIANT(m->n_shards == r->n_shards);
    INVARIANT(r->map == NULL || m->epoch >= r->map->epoch);
    struct map *former = r->map;
    r->map = map_ref(m);
    map_unref(&former);
    note_peers(r, m);
    r->self = map_node_by_id(m, r->id);
    r->held.count = 0;
    for (int i = 0; i < m->n_shards; i++) {
        const struct map_shard *ms = &m->shards[i];
        bool held = r->self != NODE_NONE && map_shard_member(ms, r->self) >= 0;
        struct repl_shard *s = r->shards[i];
        if (held) {
            indexes_add(&r->held, i);
            s = shard_make(r, i);
        }
        if (s != NULL && (held || s->state != REPL_NONE || s->history.version != 0)) {
            shard_map(r, s, m, ms);
        }
    }
}

/* The backlog begins with what of the log was kept, if that is whole. */
static void fill_backlog(struct repl *r, const struct repl_shard *s, const struct repl_found *f)
{
    struct slice in = f->entries;
    uint64_t version = s->history.version;
    struct entry e;
    if (in.len > 0 && entry_read(in, &e) > 0 && e.version <= version) {
        backlog_open(r->backlog, s->shard, e.version - 1, MIN(f->since_us, r->now_us));
        while (in.len > 0) {
            int64_t len = entry_read(in, &e);
            if (len <= 0 || e.shard != s->shard ||
                e.version != backlog_last(r->backlog, s->shard) + 1 ||
                (e.flags & ENTRY_STRIPPED) != 0) {
                break;
            }
            (void)backlog_add_bytes(r->backlog, &e, r->now_us);
            in = slice_of(in.ptr + len, in.len - (size_t)len);
        }
    }
    if (in.len > 0 || backlog_last(r->backlog, s->shard) != version) {
        backlog_open(r->backlog, s->shard, version,
                     in.len > 0 ? r->now_us : MIN(f->since_us, r->now_us));
    }
}

void repl_recovered(struct repl *r, int shard, const struct repl_found *f, int64_t now_us)
{
    set_now(r, now_us);
    INVARIANT(r->map == NULL);
    struct repl_shard *s = shard_make(r, shard);
    s->history = f->history;
    s->durable = f->history.version;
    s->touch_all = f->history.version;
    s->bare = f->history.version > 0;
    if (s->bare) {
        fill_backlog(r, s, f);
    } else {
        backlog_open(r->backlog, shard, 0, INT64_MIN);
    }
}

/* -- messages --------------------------------------------------------------------------------- */

static void take_marks(struct repl *r, int peer, const struct repl_message *m)
{
    for (size_t i = 0; i < m->marks.count; i++) {
        const struct repl_mark *k = &m->marks.items[i];
        struct repl_shard *s = k->shard < (uint32_t)r->n_shards ? r->shards[k->shard] : NULL;
        if (s == NULL || (k->term != s->pterm && !PLANTED(TERM_CHECK))) {
            r->stats.dropped++;
            continue;
        }
        if (m->kind == REPL_ACK) {
            primary_ack(r, s, peer, k);
        } else if ((s->state == REPL_FOLLOW || s->state == REPL_COPY) &&
                   (s->primary == peer || PLANTED(TERM_CHECK)) && k->version > s->commit) {
            s->commit = k->version;
            shard_committed(r, s);
        }
    }
}

static void say_newer(struct repl *r, int peer, const struct repl_shard *s)
{
    struct repl_message m = {.kind = REPL_REVOKE, .shard = (uint32_t)s->shard, .term = s->pterm};
    repl_send(r, peer, &m);
}

/* A JOIN that we cannot take up yet: the map that makes us primary has not come. */
static void keep_early(struct repl_shard *s, int peer, const struct repl_message *m)
{
    struct early *e = NULL;
    for (int i = 0; i < s->n_early; i++) {
        if (s->early[i].peer == peer) {
            e = &s->early[i];
        }
    }
    if (e == NULL && s->n_early < MEMBERS_MAX) {
        e = &s->early[s->n_early++];
    }
    if (e != NULL) {
        *e = (struct early){.peer = peer, .term = m->term, .join = m->join};
    }
}

static void take_join(struct repl *r, struct repl_shard *s, int peer, const struct repl_message *m)
{
    bool ready = m->term == s->pterm && shard_is_primary(s) && s->state != REPL_RESIGNED;
    if (ready) {
        primary_join(r, s, peer, &m->join);
    } else {
        keep_early(s, peer, m);
    }
}

/* Messages that are about one shard and its present primary term. */
static void take_shard_message(struct repl *r, int peer, const struct repl_message *m)
{
    struct repl_shard *s = m->shard < (uint32_t)r->n_shards ? r->shards[m->shard] : NULL;
    if (s == NULL || s->state == REPL_NONE) {
        r->stats.dropped++;
        return;
    }
    if (m->kind == REPL_REVOKE) {
        primary_revoked(r, s, peer, m->term);
        return;
    }
    if (m->term < s->pterm && !PLANTED(TERM_CHECK)) {
        r->stats.dropped++;
        if (m->kind != REPL_COUNTED || m->counted.answer == 0) {
            say_newer(r, peer, s);
        }
        return;
    }
    if (m->kind == REPL_JOIN) {
        take_join(r, s, peer, m);
    } else if (m->kind == REPL_RESIGN && m->term == s->pterm) {
        replica_message(r, s, peer, m);
    } else if (m->term != s->pterm && !PLANTED(TERM_CHECK)) {
        r->stats.dropped++; /* newer: the map will come */
    } else if (m->kind == REPL_COUNTED && m->counted.answer != 0) {
        primary_uncounted(r, s, peer, &m->counted);
    } else if (m->kind == REPL_ENTRIES && s->state == REPL_RECOVER) {
        primary_pulled(r, s, peer, m->entries.bytes);
    } else if (m->kind == REPL_COPY_TAKEN) {
        copy_taken(r, s, peer, &m->copy_taken);
    } else if (m->kind == REPL_COPY_ABORT && shard_is_primary(s)) {
        struct member *e = primary_member(s, peer);
        if (e != NULL && e->copy != NULL && e->copy->number == m->copy_abort) {
            copy_stop(r, s, e, false);
        }
    } else {
        replica_message(r, s, peer, m);
    }
}

/* A RESIGN may come behind the map of the next primary term: it is of the one before. */
static bool resign_of_former(struct repl *r, int peer, const struct repl_message *m)
{
    struct repl_shard *s = m->shard < (uint32_t)r->n_shards ? r->shards[m->shard] : NULL;
    if (m->kind != REPL_RESIGN || s == NULL || s->state != REPL_DEFER || m->term >= s->pterm ||
        s->promised_to != peer || s->promised_term != m->term) {
        return false;
    }
    s->promised_to = -1;
    s->defer_us = s->defer_other_us;
    shard_enter(r, s);
    return true;
}

void repl_message(struct repl *r, int peer, const struct repl_message *m, int64_t now_us)
{
    set_now(r, now_us);
    struct peer *p = peer_of(r, peer);
    if (!p->up) {
        return;
    }
    switch (m->kind) {
    case REPL_ACK:
    case REPL_COMMIT:
        take_marks(r, peer, m);
        break;
    case REPL_BEACON:
        p->asked = true;
        p->beacon = m->beacon;
        break;
    case REPL_PROMISE:
        lease_promised(r, p, &m->promise);
        break;
    case REPL_JOIN:
    case REPL_REVOKE:
    case REPL_ENTRIES:
    case REPL_COUNTED:
    case REPL_PULL:
    case REPL_RESIGN:
    case REPL_REOPEN:
    case REPL_COPY_BEGIN:
    case REPL_COPY_KEYS:
    case REPL_COPY_WINDOW:
    case REPL_COPY_END:
    case REPL_COPY_ABORT:
    case REPL_COPY_LANES:
    case REPL_WINDOW:
    case REPL_COPY_TAKEN:
    case REPL_COPY_PORTRAIT:
    case REPL_COPY_PART:
        if (!resign_of_former(r, peer, m)) {
            take_shard_message(r, peer, m);
        }
        break;
    case REPL_HELLO:
    case REPL_KINDS:
    default:
        repl_bad(r, peer, "unknown kind");
    }
}

/* -- time ------------------------------------------------------------------------------------- */

static bool tick_shards(struct repl *r, bool all)
{
    bool trouble = false;
    for (size_t i = 0; i < r->held.count; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        if (all || s->trouble) {
            shard_tick(r, s);
            trouble = trouble || s->trouble;
        }
    }
    return trouble;
}

/* The process was stopped, or got no processor: what others sent meanwhile lies in the sockets.
 * Before that is taken they are not said to be silent. */
static void note_stall(struct repl *r)
{
    bool late = r->now_us - r->ticked_us > r->set.lease_us / 8 + TICK_US;
    r->ticked_us = r->now_us;
    r->stalls = late ? r->stalls + 1 : 0;
    if (late && r->stalls <= STALLS_MAX) {
        r->deaf = DEAF_TURNS;
    }
}

void repl_tick(struct repl *r, int64_t now_us)
{
    set_now(r, now_us);
    note_stall(r);
    lease_beacons(r);
    bool sweep = r->now_us - r->swept_us >= r->set.lease_us / 8;
    if (sweep) {
        r->swept_us = r->now_us;
    }
    r->trouble = tick_shards(r, sweep);
}

int64_t repl_next_us(const struct repl *r)
{
    int64_t next = r->swept_us + r->set.lease_us / 8;
    if (r->trouble || r->kicked.count > 0) {
        next = MIN(next, r->now_us + TICK_US);
    }
    return next;
}

/* -- the primary's writes --------------------------------------------------------------------- */

uint64_t repl_append(struct repl *r, struct entry *e, int64_t now_us)
{
    r->now_us = MAX(r->now_us, now_us);
    struct repl_shard *s = shard_of(r, e->shard);
    INVARIANT(s != NULL);
    INVARIANT(s->state == REPL_SERVE || s->state == REPL_FENCED);
    e->term = s->pterm;
    if (PLANTED(VERSION_REUSE) && s->history.version > 0) {
        e->term = history_term(&s->history);
    }
    e->version = s->history.version + 1;
    history_add(&s->history, e->term);
    const char *at = backlog_add(r->backlog, e, r->now_us);
    e->bytes = slice_of(at, entry_size(e));
    r->env.logged(r->env.arg, e);
    /* Alone, and nothing waits: committed as it is written. */
    if (s->n_set == 0 && !r->set.durable && s->commit == e->version - 1 &&
        s->commit_told == s->commit) {
        s->commit = s->commit_told = e->version;
    }
    if (UNLIKELY(s->copies > 0)) {
        copy_appended(s);
    }
    repl_dirty(r, s);
    return e->version;
}

void repl_durable(struct repl *r, int shard, uint64_t version, int64_t now_us)
{
    set_now(r, now_us);
    struct repl_shard *s = shard_of(r, shard);
    if (s == NULL || s->state == REPL_NONE || version <= s->durable) {
        return;
    }
    s->durable = MIN(version, s->history.version);
    if (shard_is_primary(s)) {
        primary_commit(r, s);
    }
    repl_dirty(r, s);
}

void repl_handover(struct repl *r, int shard, uint64_t term, const char *target, int64_t now_us)
{
    set_now(r, now_us);
    struct repl_shard *s = shard_of(r, shard);
    if (s == NULL || s->pterm != term || s->state != REPL_SERVE || strlen(target) != NODE_ID_LEN ||
        memcmp(target, r->id, NODE_ID_LEN) == 0) {
        return;
    }
    int peer = repl_peer(r, target);
    if (s->handing != peer) {
        s->handing = peer;
        s->handing_us = r->now_us;
    }
    s->trouble = true;
    repl_kick(r, s);
}

void repl_drop(struct repl *r, int shard, uint64_t term, const char *node, int64_t now_us)
{
    set_now(r, now_us);
    struct repl_shard *s = shard_of(r, shard);
    if (s == NULL || s->pterm != term || s->state != REPL_SERVE || strlen(node) != NODE_ID_LEN ||
        memcmp(node, r->id, NODE_ID_LEN) == 0) {
        return;
    }
    struct member *m = primary_member(s, repl_peer(r, node));
    if (m != NULL && m->in_sync) {
        m->unwanted_us = r->now_us;
        s->trouble = true;
        repl_kick(r, s);
    }
}
