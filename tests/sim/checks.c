// SPDX-License-Identifier: BSD-3-Clause
/* What holds at any time: docs/REPLICATION.md, section 2, seen from above. */
#include "common/base/hash.h"
#include "common/base/mem.h"

#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define NOWHERE UINT32_MAX

/* An entry that some primary wrote. */
struct written {
    uint64_t term;
    uint64_t term_before; /* of the one before it in its log */
    uint64_t content;
    uint64_t digest; /* of the data behind it */
    uint32_t next;   /* another one of the same version */
};

struct shard_log {
    uint32_t *first; /* by version: into `written` */
    size_t n_versions;
    size_t cap_versions;
    struct written *written;
    uint32_t n_written;
    uint32_t cap_written;
    uint64_t *committed; /* by version: its term */
    size_t n_committed;  /* highest version that was */
    size_t cap_committed;
    uint64_t executed;       /* highest primary term in which a primary executed, leases held */
    bool lossy;              /* acknowledged writes may be gone, as documented */
    bool tainted[SIM_NODES]; /* lost what it had not synced, and may still count as in sync */
};

struct check_log {
    struct shard_log shards[SIM_SHARDS];
};

struct check_log *check_log_new(void)
{
    return mem_zalloc(sizeof(struct check_log));
}

void check_log_free(struct check_log **cp)
{
    struct check_log *c = *cp;
    if (c == NULL) {
        return;
    }
    for (int i = 0; i < SIM_SHARDS; i++) {
        mem_free(c->shards[i].first);
        mem_free(c->shards[i].written);
        mem_free(c->shards[i].committed);
    }
    mem_free(c);
    *cp = NULL;
}

bool check_may_have_lost(const struct sim *s, int shard)
{
    return s->log->shards[shard].lossy;
}

/* --- what was written --- */

static struct written *find(struct shard_log *l, uint64_t term, uint64_t version)
{
    if (version >= l->n_versions) {
        return NULL;
    }
    for (uint32_t i = l->first[version]; i != NOWHERE; i = l->written[i].next) {
        if (l->written[i].term == term) {
            return &l->written[i];
        }
    }
    return NULL;
}

static struct written *add(struct shard_log *l, uint64_t term, uint64_t version)
{
    while (l->n_versions <= version) {
        if (l->n_versions == l->cap_versions) {
            l->cap_versions = MAX(l->cap_versions * 2, (size_t)1024);
            l->first = mem_realloc(l->first, l->cap_versions * sizeof(*l->first));
        }
        l->first[l->n_versions++] = NOWHERE;
    }
    if (l->n_written == l->cap_written) {
        l->cap_written = MAX(l->cap_written * 2, 1024u);
        l->written = mem_realloc(l->written, l->cap_written * sizeof(*l->written));
    }
    struct written *w = &l->written[l->n_written];
    *w = (struct written){.term = term, .next = l->first[version]};
    l->first[version] = l->n_written++;
    return w;
}

static uint64_t content_of(const struct entry *e)
{
    uint64_t h = hash_bytes(e->effects.ptr, e->effects.len, e->lane * 31 + e->number);
    return h ^ hash_bytes(e->reply.ptr, e->reply.len, (uint64_t)e->time_ms);
}

#define LL(x) ((unsigned long long)(x))

void check_logged(struct sim *s, const struct sim_node *n, const struct entry *e, bool primary,
                  uint64_t term_before, uint64_t digest)
{
    struct shard_log *l = &s->log->shards[e->shard];
    struct written *w = find(l, e->term, e->version);
    if (primary) {
        if (w != NULL) {
            world_fail(&s->world, "shard %d: entry (%llu, %llu) was written twice, now by %s",
                       e->shard, LL(e->term), LL(e->version), node_id(n));
            return;
        }
        w = add(l, e->term, e->version);
        w->term_before = term_before;
        w->content = content_of(e);
        w->digest = digest;
        return;
    }
    if (w == NULL || w->content != content_of(e)) {
        world_fail(&s->world, "shard %d: %s logs an entry (%llu, %llu) that nobody wrote so",
                   e->shard, node_id(n), LL(e->term), LL(e->version));
    } else if (w->term_before != term_before && term_before != UINT64_MAX) {
        world_fail(
            &s->world, "shard %d: %s logs (%llu, %llu) behind an entry of term %llu, not of %llu",
            e->shard, node_id(n), LL(e->term), LL(e->version), LL(term_before), LL(w->term_before));
    }
}

void check_applied(struct sim *s, const struct sim_node *n, int shard, uint64_t term,
                   uint64_t version, uint64_t digest)
{
    struct shard_log *l = &s->log->shards[shard];
    const struct written *w = find(l, term, version);
    if (version == 0 ? digest != 0 : w == NULL || w->digest != digest) {
        world_fail(&s->world, "shard %d: the data of %s is not that of (%llu, %llu)", shard,
                   node_id(n), LL(term), LL(version));
    }
}

/* --- what was committed --- */

/* Every living member of the recorded in-sync set has it, on disk if it must be. */
static void check_isr_has(struct sim *s, int shard, uint64_t term, uint64_t version)
{
    const struct map *m = coordinators_map(s->coordinator);
    const struct map_shard *ms = &m->shards[shard];
    for (int i = 0; i < ms->n_members; i++) {
        const struct map_node *mn = &m->nodes[ms->members[i].node];
        const struct sim_node *n = s->nodes[mn->port - 7000];
        if (!ms->members[i].in_sync || ms->members[i].stale || !node_is_up(n) ||
            (node_incarnation(n) != mn->incarnation && s->set.fsync != FSYNC_ALWAYS)) {
            continue;
        }
        struct repl *r = node_repl(n);
        bool has = history_term_at(repl_history(r, shard), version) == term;
        if (!has || (s->set.fsync == FSYNC_ALWAYS && node_durable(n, shard) < version)) {
            world_fail(&s->world,
                       "shard %d: (%llu, %llu) was committed, but %s, which is recorded in sync, "
                       "has it %s",
                       shard, LL(term), LL(version), node_id(n), has ? "not on disk" : "not");
        }
    }
}

void check_committed(struct sim *s, const struct sim_node *n, int shard, uint64_t version)
{
    struct shard_log *l = &s->log->shards[shard];
    struct repl *r = node_repl(n);
    const struct history *h = repl_history(r, shard);
    if (version > h->version) {
        world_fail(&s->world, "shard %d: %s commits %llu, its log ends at %llu", shard, node_id(n),
                   LL(version), LL(h->version));
        return;
    }
    if (!s->set.sync || l->lossy) {
        return;
    }
    enum repl_state state = repl_state(r, shard);
    bool primary = state == REPL_SERVE || state == REPL_FENCED;
    while (l->n_committed < version) {
        if (l->n_committed + 1 >= l->cap_committed) {
            l->cap_committed = MAX(l->cap_committed * 2, (size_t)1024);
            l->committed = mem_realloc(l->committed, l->cap_committed * sizeof(uint64_t));
        }
        l->n_committed++;
        l->committed[l->n_committed] = history_term_at(h, l->n_committed);
    }
    uint64_t term = history_term_at(h, version);
    if (version != 0 && term != 0 && term != l->committed[version]) {
        world_fail(&s->world, "shard %d: %s commits (%llu, %llu), but (%llu, %llu) was", shard,
                   node_id(n), LL(term), LL(version), LL(l->committed[version]), LL(version));
    } else if (primary && version != 0) {
        check_isr_has(s, shard, term, version);
    }
}

void check_serves(struct sim *s, const struct sim_node *n, int shard)
{
    struct shard_log *l = &s->log->shards[shard];
    struct repl *r = node_repl(n);
    if (!s->set.sync || !node_serves(n, shard)) {
        return; /* one whose fence was lifted may have lost its leases behind it: it executes
                   nothing */
    }
    const struct history *h = repl_history(r, shard);
    uint64_t term = history_term_at(h, l->n_committed);
    /* A history keeps its last terms: below, nothing is said. */
    bool told =
        l->n_committed > h->version || h->n < HISTORY_MAX || l->n_committed >= h->items[0].first;
    if (l->n_committed != 0 && !l->lossy && told && term != l->committed[l->n_committed]) {
        world_fail(&s->world,
                   "shard %d: %s serves in primary term %llu without the committed (%llu, %llu)",
                   shard, node_id(n), LL(repl_term(r, shard)), LL(l->committed[l->n_committed]),
                   LL(l->n_committed));
        return;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (s->nodes[i] != n && node_serves(s->nodes[i], shard)) {
            world_fail(&s->world,
                       "shard %d: %s serves in primary term %llu while %s serves in %llu", shard,
                       node_id(n), LL(repl_term(r, shard)), node_id(s->nodes[i]),
                       LL(repl_term(node_repl(s->nodes[i]), shard)));
        }
    }
}

void check_executed(struct sim *s, const struct sim_node *n, int shard)
{
    struct shard_log *l = &s->log->shards[shard];
    struct repl *r = node_repl(n);
    if (!s->set.sync || repl_state(r, shard) != REPL_SERVE) {
        return;
    }
    uint64_t term = repl_term(r, shard);
    if (term < l->executed) {
        world_fail(&s->world, "shard %d: %s executes in primary term %llu after another in %llu",
                   shard, node_id(n), LL(term), LL(l->executed));
    }
    l->executed = MAX(l->executed, term);
}

/* --- what the coordinator decides --- */

static void say_shard(const struct sim *s, const struct map *m, int shard)
{
    const struct map_shard *ms = &m->shards[shard];
    char text[200];
    int n = 0;
    for (int i = 0; i < ms->n_members; i++) {
        const struct map_member *k = &ms->members[i];
        n +=
            snprintf(text + n, sizeof(text) - (size_t)n, " %.2s%s%s%s", m->nodes[k->node].id,
                     k->node == ms->primary ? "*" : "", k->in_sync ? "" : "-", k->stale ? "?" : "");
    }
    world_say(&s->world, "recorded: epoch %llu shard %d: term %llu, primary term %llu,%s",
              LL(m->epoch), shard, LL(ms->term), LL(ms->primary_term), text);
}

/* A member that was in sync, or was taken in or elected as the best of a whole set in the same
 * record: it was one, whatever else. */
static bool may_be_primary(const struct map *was, const struct map *now, int shard)
{
    const struct map_shard *a = &was->shards[shard];
    int before = map_node_by_id(was, now->nodes[now->shards[shard].primary].id);
    return map_shard_in_sync(a) == 0 || (before != NODE_NONE && map_shard_member(a, before) >= 0);
}

static bool is_in_sync(const struct map *m, int shard, const char *id)
{
    int node = map_node_by_id(m, id);
    int at = node == NODE_NONE ? -1 : map_shard_member(&m->shards[shard], node);
    return at >= 0 && m->shards[shard].members[at].in_sync;
}

static bool has_tainted(const struct sim *s, const struct map *m, int shard)
{
    bool any = false;
    for (int i = 0; i < s->n_nodes; i++) {
        bool *t = &s->log->shards[shard].tainted[i];
        *t = *t && is_in_sync(m, shard, node_id(s->nodes[i]));
        any |= *t;
    }
    return any;
}

/* The coordinator knows the process that runs there now, and counts it as whole. */
static bool is_trusted(const struct map *m, int shard, const struct sim_node *n)
{
    int node = map_node_by_id(m, node_id(n));
    int at = map_shard_member(&m->shards[shard], node);
    return node_is_up(n) && m->nodes[node].incarnation == node_incarnation(n) &&
           !m->shards[shard].members[at].stale;
}

/* The only ones left in sync lost power without anybody knowing: the record that takes the others
 * out was on its way when they did. */
static void check_left(struct sim *s, const struct map *m, int shard)
{
    struct shard_log *l = &s->log->shards[shard];
    if (s->set.fsync == FSYNC_ALWAYS || l->lossy || !has_tainted(s, m, shard)) {
        return;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (is_in_sync(m, shard, node_id(s->nodes[i])) &&
            (!l->tainted[i] || is_trusted(m, shard, s->nodes[i]))) {
            return;
        }
    }
    l->lossy = true;
    s->counts.lost_allowed++;
}

void check_map(struct sim *s, const struct map *was, const struct map *now)
{
    const char *wrong = map_check(now);
    wrong = wrong == NULL && was != NULL ? map_check_next(was, now) : wrong;
    if (wrong != NULL) {
        world_fail(&s->world, "map of epoch %llu: %s", LL(now->epoch), wrong);
        return;
    }
    for (int i = 0; i < now->n_shards && was != NULL && was->assigned; i++) {
        const struct map_shard *a = &was->shards[i];
        const struct map_shard *b = &now->shards[i];
        s->counts.failovers += b->primary_term != a->primary_term;
        if (a->term != b->term || a->primary != b->primary) {
            say_shard(s, now, i);
            check_left(s, now, i);
        }
        if (b->primary == NODE_NONE || b->primary_term == a->primary_term) {
            continue;
        }
        if (a->primary != NODE_NONE) {
            schemes_elected(s, i, (int)was->nodes[a->primary].port - 7000,
                            (int)now->nodes[b->primary].port - 7000);
        }
        if (!may_be_primary(was, now, i) && !s->log->shards[i].lossy) {
            world_fail(&s->world, "shard %d: %s becomes primary, but was no member", i,
                       now->nodes[b->primary].id);
        }
    }
}

/* Some member of the recorded in-sync set has everything, runs and is known to: but for `but`. */
static bool is_safe(const struct sim *s, const struct map *m, int shard, const struct sim_node *but)
{
    const struct map_shard *ms = &m->shards[shard];
    for (int i = 0; i < ms->n_members; i++) {
        const struct map_node *mn = &m->nodes[ms->members[i].node];
        const struct sim_node *n = s->nodes[mn->port - 7000];
        if (n != but && ms->members[i].in_sync && !ms->members[i].stale && node_is_up(n) &&
            node_incarnation(n) == mn->incarnation &&
            !s->log->shards[shard].tainted[mn->port - 7000]) {
            return true;
        }
    }
    return false;
}

/* Without always, a set of which one lost power and all others were restarted before anybody knew
 * may lose what was not on that one's disk. */
static bool loses(const struct sim *s, const struct sim_node *n, int shard, bool power)
{
    const struct map *m = coordinators_map(s->coordinator);
    if (s->set.fsync == FSYNC_ALWAYS || m == NULL || !m->assigned) {
        return false;
    }
    bool tainted = has_tainted(s, m, shard) || (power && is_in_sync(m, shard, node_id(n)));
    return tainted && !is_safe(s, m, shard, n);
}

bool check_crash_loses(const struct sim *s, const struct sim_node *n, bool power)
{
    for (int i = 0; i < s->set.shards; i++) {
        if (loses(s, n, i, power)) {
            return true;
        }
    }
    return false;
}

void check_crash(struct sim *s, const struct sim_node *n, int index, bool power)
{
    for (int i = 0; i < s->set.shards; i++) {
        struct shard_log *l = &s->log->shards[i];
        if (loses(s, n, i, power) && !l->lossy) {
            l->lossy = true;
            s->counts.lost_allowed++;
        }
        l->tainted[index] |= power && s->set.fsync != FSYNC_ALWAYS;
    }
}
