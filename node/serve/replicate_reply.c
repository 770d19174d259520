// SPDX-License-Identifier: BSD-3-Clause
/* Of the replication of a node: which command may run, which reply has to wait. */
#include "node/serve/client.h"
#include "node/serve/holds.h"
#include "node/serve/replicate_priv.h"

#include "common/base/mem.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"
#include "common/resp/errors.h"

/* --- may it? --- */

static bool is_primary(const struct server *s, int shard)
{
    return s->map != NULL && s->self != NODE_NONE && s->map->shards[shard].primary == s->self;
}

enum repl_answer replicate_may(struct server *s, const struct client *c, int shard, bool write)
{
    struct replication *r = s->repl;
    if (r == NULL) {
        return REPL_YES;
    }
    struct said *a = &r->said[shard];
    if (a->batch != r->batch) {
        a->batch = r->batch;
        a->write = (uint8_t)repl_may_write(r->core, shard);
        a->read = (uint8_t)repl_may_read(r->core, shard, r->now_us);
    }
    if (write) {
        return (enum repl_answer)a->write;
    }
    if (UNLIKELY((c->flags & (CLIENT_LANE | CLIENT_READONLY)) == 0) && !is_primary(s, shard)) {
        /* A plain client reads where it writes, unless it said READONLY. */
        return a->write == REPL_DOWN ? REPL_DOWN : REPL_MOVED;
    }
    return (enum repl_answer)a->read;
}

bool replicate_serves(struct server *s, int shard)
{
    struct replication *r = s->repl;
    return repl_state(r->core, shard) == REPL_SERVE &&
           repl_may_read(r->core, shard, replicate_now(r)) == REPL_YES;
}

uint64_t replicate_touched(const struct server *s, int shard, uint64_t hash)
{
    return repl_touched(s->repl->core, shard, hash);
}

static void tell_moved(struct server *s, const struct client *c, int shard, uint32_t slot,
                       bool write, struct str *to)
{
    const struct map *m = s->map;
    int primary = m == NULL || !m->assigned ? NODE_NONE : m->shards[shard].primary;
    bool reads_here = !write && (c->flags & (CLIENT_LANE | CLIENT_READONLY)) != 0;
    if (primary == NODE_NONE) {
        s->stats.slot_refusals++;
        str_appendz(to, ERR_CLUSTERDOWN);
    } else if (primary == s->self) {
        /* The core knows of a newer primary than the map. */
        s->stats.slot_refusals++;
        s->repl->stats.refused_tryagain++;
        str_printf(to, "TRYAGAIN Shard %d has got another primary", shard);
    } else if (reads_here && map_node_holds(m, s->self, shard)) {
        s->repl->stats.refused_masterdown++;
        str_appendz(to, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set "
                        "to 'no'.");
    } else {
        s->stats.redirects++;
        str_printf(to, "MOVED %u %s:%d", slot, m->nodes[primary].host, m->nodes[primary].port);
    }
}

void replicate_refusal(struct server *s, const struct client *c, enum repl_answer why,
                       uint32_t slot, bool write, struct str *to)
{
    int shard = keyspace_shard_of(s->ks, (int)slot);
    switch (why) {
    case REPL_YES:
    case REPL_MOVED:
        tell_moved(s, c, shard, slot, write, to);
        break;
    case REPL_DOWN:
        s->stats.slot_refusals++;
        str_appendz(to, ERR_CLUSTERDOWN);
        break;
    case REPL_TRYAGAIN:
        s->stats.slot_refusals++;
        s->repl->stats.refused_tryagain++;
        str_printf(to, "TRYAGAIN Shard %d is not served at this moment (%s)", shard,
                   repl_state_name(repl_state(s->repl->core, shard)));
        break;
    case REPL_NOREPLICAS:
        s->repl->stats.refused_noreplicas++;
        str_appendz(to, "NOREPLICAS Not enough good replicas to write.");
        break;
    }
}

/* --- a command --- */

void replicate_before(struct server *s)
{
    s->repl->n_made = 0;
}

void replicate_exec(struct server *s, int shard)
{
    struct replication *r = s->repl;
    if (shard < 0) {
        r->exec_mark++;
        r->n_exec_shards = 0;
    } else if (r->exec_seen[shard] != r->exec_mark) {
        r->exec_seen[shard] = r->exec_mark;
        r->exec_shards[r->n_exec_shards++] = shard;
    }
}

bool replicate_exec_began(const struct server *s)
{
    return s->repl->n_exec_shards > 0;
}

void replicate_entry(struct server *s, struct entry *e)
{
    struct replication *r = s->repl;
    uint64_t version = repl_append(r->core, e, r->now_us);
    r->unsent += entry_size(e);
    replicate_hold(s, e->shard, repl_barrier_write(r->core, e->shard, version));
}

void replicate_hold(struct server *s, int shard, uint64_t version)
{
    struct replication *r = s->repl;
    if (r->n_made == r->made_cap) {
        r->made_cap = MAX(r->made_cap * 2, 16);
        r->made = mem_realloc(r->made, r->made_cap * sizeof(*r->made));
    }
    r->made[r->n_made++] = (struct made){.shard = shard, .version = version};
}

static void hold(struct server *s, struct client *c, uint64_t at, int shard, uint64_t version)
{
    if (version != 0) {
        holds_add(s->holds, c, at, shard, version);
    }
}

static bool made_one_of(const struct replication *r, int shard)
{
    for (uint32_t i = 0; i < r->n_made; i++) {
        if (r->made[i].shard == shard) {
            return true;
        }
    }
    return false;
}

/* What it may have seen of others' writes. */
static void hold_for_keys(struct server *s, struct client *c, const struct call *k, uint64_t at)
{
    const struct replication *r = s->repl;
    if (keys_find(k->cmd, k->argv, k->argc, s->keys) != KEYS_OK) {
        return;
    }
    for (uint32_t i = 0; i < s->keys->count; i++) {
        struct probe p = keyspace_probe_key(s->ks, k->argv[s->keys->keys[i].index]);
        if (!made_one_of(r, (int)p.shard)) {
            hold(s, c, at, (int)p.shard, repl_barrier(r->core, (int)p.shard, p.hash));
        }
    }
}

static void hold_for_all(struct server *s, struct client *c, uint64_t at)
{
    for (int i = 0; i < s->ks->n_shards; i++) {
        if (s->ks->shards[i] != NULL && !s->ks->shards[i]->passive) {
            hold(s, c, at, i, repl_barrier_all(s->repl->core, i));
        }
    }
}

void replicate_after(struct server *s, struct client *c, const struct call *k, uint64_t at)
{
    const struct replication *r = s->repl;
    if (UNLIKELY(stream_end(c->stream) == at)) {
        return; /* it was not answered, or into the void */
    }
    for (uint32_t i = 0; i < r->n_made; i++) {
        hold(s, c, at, r->made[i].shard, r->made[i].version);
    }
    if (UNLIKELY(c->session.in_multi)) {
        return; /* queued */
    }
    if (LIKELY(k->probe_arg != 0 && keys_single(k->cmd) != 0)) {
        if (r->n_made == 0) {
            hold(s, c, at, (int)k->probe.shard,
                 repl_barrier(r->core, (int)k->probe.shard, k->probe.hash));
        }
    } else if (k->cmd->id == CMD_EXEC || command_is_script(k->cmd)) {
        for (uint32_t i = 0; i < r->n_exec_shards; i++) {
            if (!made_one_of(r, r->exec_shards[i])) {
                hold(s, c, at, r->exec_shards[i], repl_barrier_all(r->core, r->exec_shards[i]));
            }
        }
    } else if (keys_possible(k->cmd)) {
        hold_for_keys(s, c, k, at);
    } else if ((k->cmd->flags & (CF_READONLY | CF_WRITE)) != 0) {
        hold_for_all(s, c, at);
    }
}
