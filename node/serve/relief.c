// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/relief.h"

#include "node/keyspace/evict.h"
#include "node/link/link.h"
#include "node/serve/replicate_priv.h"
#include "node/serve/server.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define FRAME_LEN 17
#define STEP      100   /* keys a turn and asker */
#define ASK_US    1000  /* between two requests */
#define URGE_US   20000 /* between two for what could not be evicted: the first ones take a while */
#define SHARE_MAX 4     /* a request is at most for so many times what went here */

struct relief {
    uint64_t seen_bytes; /* ks->stats.evicted_bytes, as far as others were asked for their part */
    int64_t ask_us;      /* not before */
    int64_t urge_us;
    size_t *owed; /* by the number of its link, bytes that a node asked for */
    int n_owed;
    bool any_owed;
    size_t *copies; /* by index in the map, bytes of a node's shards' copies here */
    int n_copies;
    bool *shards; /* room for a choice */
};

struct relief *relief_new(void)
{
    return mem_zalloc(sizeof(struct relief));
}

void relief_free(struct relief **rp)
{
    struct relief *r = *rp;
    *rp = NULL;
    if (r != NULL) {
        mem_free(r->owed);
        mem_free(r->copies);
        mem_free(r->shards);
        mem_free(r);
    }
}

static void make_room(size_t **numbers, int *have, int wanted)
{
    if (*have < wanted) {
        *numbers = mem_realloc(*numbers, (size_t)wanted * sizeof(**numbers));
        memset(*numbers + *have, 0, (size_t)(wanted - *have) * sizeof(**numbers));
        *have = wanted;
    }
}

/* --- asking --- */

/* Into r->copies; its own is returned. */
static size_t weigh_copies(struct server *s, struct relief *r)
{
    const struct map *m = s->map;
    size_t own = 0;
    make_room(&r->copies, &r->n_copies, m->n_nodes);
    memset(r->copies, 0, (size_t)r->n_copies * sizeof(*r->copies));
    for (int i = 0; i < m->n_shards; i++) {
        int primary = m->shards[i].primary;
        if (primary == s->self) {
            own += keyspace_shard_memory(s->ks, i);
        } else if (primary != NODE_NONE) {
            r->copies[primary] += keyspace_shard_memory(s->ks, i);
        }
    }
    return own;
}

static size_t part_of(size_t whole, size_t part, size_t all)
{
    double share = all == 0 ? 0 : (double)part / (double)all;
    return (size_t)((double)whole * MIN(share, (double)SHARE_MAX));
}

static void ask(struct server *s, int node, size_t more, size_t least)
{
    struct link *l = links_find(s->links, repl_peer(s->repl->core, s->map->nodes[node].id));
    if (l == NULL || !link_is_up(l) || (more == 0 && least == 0)) {
        return;
    }
    char frame[FRAME_LEN];
    frame[0] = (char)RELIEF_FRAME;
    put_le64(frame + 1, more);
    put_le64(frame + 9, least);
    outbuf_append(link_frame(l, sizeof(frame)), frame, sizeof(frame));
}

static void ask_all(struct server *s, struct relief *r, size_t gone, size_t excess)
{
    size_t own = weigh_copies(s, r);
    size_t copied = 0;
    for (int i = 0; i < s->map->n_nodes; i++) {
        copied += r->copies[i];
    }
    for (int i = 0; i < s->map->n_nodes; i++) {
        if (r->copies[i] > 0) {
            ask(s, i, part_of(gone, r->copies[i], own), part_of(excess, r->copies[i], copied));
        }
    }
}

static void ask_for_relief(struct server *s, struct relief *r)
{
    int64_t now_us = loop_now_us(s->loop);
    size_t gone = s->ks->stats.evicted_bytes - r->seen_bytes;
    size_t excess = s->ks->evict_failed && now_us >= r->urge_us ? evict_excess(s->ks) : 0;
    if ((gone == 0 && excess == 0) || now_us < r->ask_us) {
        return;
    }
    if (excess > 0) {
        r->urge_us = now_us + URGE_US;
    }
    s->ks->evict_failed = false; /* the next command that fails says so again */
    r->seen_bytes = s->ks->stats.evicted_bytes;
    r->ask_us = now_us + ASK_US;
    ask_all(s, r, gone, excess);
}

/* --- being asked --- */

bool relief_frame(struct server *s, int peer, struct slice frame)
{
    struct relief *r = s->relief;
    if (frame.len != FRAME_LEN) {
        return false;
    }
    uint64_t more = get_le64(frame.ptr + 1);
    uint64_t least = get_le64(frame.ptr + 9);
    make_room(&r->owed, &r->n_owed, peer + 1);
    /* No more than there is; a number from afar must not run over. */
    size_t most = keyspace_memory(s->ks);
    size_t owed = r->owed[peer] + MIN(more, (uint64_t)most);
    r->owed[peer] = MIN(MAX(owed, MIN(least, (uint64_t)most)), most);
    r->any_owed = r->any_owed || r->owed[peer] > 0;
    return true;
}

/* Shards that are served here and copied there. */
static bool choose(struct server *s, struct relief *r, int peer)
{
    const struct map *m = s->map;
    bool any = false;
    int node = 0;
    while (node < m->n_nodes && repl_peer(s->repl->core, m->nodes[node].id) != peer) {
        node++;
    }
    if (node == m->n_nodes) {
        return false;
    }
    r->shards = mem_realloc(r->shards, (size_t)m->n_shards * sizeof(*r->shards));
    for (int i = 0; i < m->n_shards; i++) {
        r->shards[i] = m->shards[i].primary == s->self && map_node_holds(m, node, i);
        any = any || r->shards[i];
    }
    return any;
}

static void relieve(struct server *s, struct relief *r)
{
    struct keyspace *ks = s->ks;
    uint64_t before = ks->stats.evicted_bytes;
    r->any_owed = false;
    for (int i = 0; i < r->n_owed; i++) {
        size_t gone = 0;
        if (r->owed[i] > 0 && choose(s, r, i)) {
            gone = keyspace_evict_for(ks, loop_wall_ms(s->loop), r->owed[i], STEP, r->shards);
        }
        r->owed[i] = gone == 0 ? 0 : r->owed[i] - MIN(gone, r->owed[i]);
        r->any_owed = r->any_owed || r->owed[i] > 0;
    }
    r->seen_bytes += ks->stats.evicted_bytes - before; /* this was not for our own sake */
    replicate_turn(s);
}

void relief_turn(struct server *s)
{
    struct relief *r = s->relief;
    if (LIKELY(s->ks->stats.evicted_bytes == r->seen_bytes && !s->ks->evict_failed &&
               !r->any_owed)) {
        return;
    }
    if (s->repl == NULL || s->links == NULL || s->map == NULL || s->self == NODE_NONE) {
        r->seen_bytes = s->ks->stats.evicted_bytes;
        s->ks->evict_failed = false;
        r->any_owed = false;
        return;
    }
    ask_for_relief(s, r);
    if (r->any_owed) {
        relieve(s, r);
    }
    if (r->any_owed || s->ks->stats.evicted_bytes != r->seen_bytes) {
        loop_timer_start(&s->evict_timer, 1, 0); /* another turn, though nothing may come */
    }
}
