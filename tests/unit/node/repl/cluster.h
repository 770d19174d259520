// SPDX-License-Identifier: BSD-3-Clause
/* A small cluster of replication cores in one process, for the tests of this folder: counters as
 * data, links that delay, stall and break, a coordinator that records what it is asked. Everything
 * is decided by a seed. */
#pragma once

#include "node/repl/frame.h"
#include "node/repl/repl.h"

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define N_NODES    4
#define N_SHARDS   2
#define N_KEYS     24
#define N_COUNTERS 16 /* the keys behind are copies of counters */
/* Copies come before the counters that they are of: a write behind which a key's turn comes later
 * matters then. */
#define PLACE(key) ((uint64_t)(N_KEYS - 1 - (key)) << 40)
#define TOUCH(key) ((uint64_t)(key) << 32)
#define STEP_US    500
#define LEASE_US   200000

struct packet {
    struct packet *next;
    int64_t due_us;
    uint64_t session;
    bool on; /* a new session begins for the receiver */
    bool off;
    size_t len;
    char bytes[];
};

/* From one node to another. */
struct wire {
    struct packet *first;
    struct packet **last;
    size_t queued;
    bool blocked;
};

struct op {
    int node;
    int shard;
    uint64_t term;
    uint64_t version;
    int key;
};

struct data {
    bool held;
    uint64_t values[N_KEYS]; /* 0: not there */
};

/* A key that goes out in parts, and one that comes in. */
struct portrait {
    bool used;
    char bytes[8];
    size_t at;
};
struct draft {
    bool used;
    int shard;
    uint64_t number;
    int key;
    char bytes[8];
    size_t at;
};

struct node {
    bool no_copy_time;
    bool told[N_SHARDS]; /* of writes, since a copy has begun */
    struct cluster *c;
    int index;
    struct repl *r;
    bool alive;
    uint64_t incarnation;
    uint64_t sessions[N_NODES]; /* with each other one; 0: none */
    struct data data[N_SHARDS];
    struct str scan;
    struct portrait portraits[256];
    struct draft drafts[256];
    struct repl_portrait given;
    char head;
    bool durable_lags;
    uint64_t written[N_SHARDS];
    int64_t map_due_us;  /* a newer map is on its way */
    uint64_t lane_ended; /* the last one */
};

struct request {
    int64_t due_us;
    int from;
    enum repl_report what;
    int shard;
    uint64_t term;
    int node;
};

struct cluster {
    struct rng rng;
    int64_t now_us;
    struct node nodes[N_NODES];
    struct wire wires[N_NODES][N_NODES];
    uint64_t session;
    struct map *map;
    struct request requests[256];
    int n_requests;
    struct op *ops;
    size_t n_ops;
    size_t cap_ops;
    uint64_t acked[N_SHARDS][N_COUNTERS];
    uint64_t tried[N_SHARDS][N_COUNTERS];
    uint64_t seen[N_SHARDS][N_COUNTERS]; /* by strong reads */
    uint64_t n_acked;
    struct repl_settings settings;
    struct repl_frame_room room;
    int down_dead; /* killed nodes that the coordinator has not noticed */
    bool stop_coordinator;
    uint64_t reads_primary;
    uint64_t reads_replica;
    uint64_t portraits; /* keys of copies that came in parts */
};

static inline void node_id(int i, char *to)
{
    (void)snprintf(to, NODE_ID_LEN + 1, "%040x", i + 1);
}

static inline int id_node(const char *id)
{
    return (int)strtol(id + NODE_ID_LEN - 4, NULL, 16) - 1;
}

static inline int peer_handle(struct node *n, int other)
{
    char id[NODE_ID_LEN + 1];
    node_id(other, id);
    return repl_peer(n->r, id);
}

/* -- env -------------------------------------------------------------------------------------- */

static inline void env_send(void *arg, int peer, const struct repl_message *m)
{
    struct node *n = arg;
    int to = id_node(repl_peer_id(n->r, peer));
    if (n->sessions[to] == 0) {
        return;
    }
    struct wire *w = &n->c->wires[n->index][to];
    struct str s = {0};
    struct slice body;
    repl_frame_write(m, &s, &body);
    str_append_slice(&s, body);
    struct packet *p = mem_zalloc(sizeof(*p) + s.len);
    int64_t delay = (int64_t)rng_below(&n->c->rng, 2000);
    p->due_us = n->c->now_us + delay;
    p->session = n->sessions[to];
    p->len = s.len;
    memcpy(p->bytes, s.ptr, s.len);
    w->queued += s.len;
    *w->last = p;
    w->last = &p->next;
    str_fini(&s);
}

static inline size_t env_queued(void *arg, int peer)
{
    struct node *n = arg;
    return n->c->wires[n->index][id_node(repl_peer_id(n->r, peer))].queued;
}

static inline void env_cut(void *arg, int peer)
{
    (void)arg;
    (void)peer;
    fail_msg("a message makes no sense");
}

static inline void apply_effects(struct node *n, const struct entry *e)
{
    struct effects it = effects_of(e);
    struct effect f;
    struct slice argv[3];
    while (effects_next(&it, &f)) {
        effect_args(&f, argv);
        int a = (unsigned char)argv[1].ptr[0];
        int b = (unsigned char)argv[2].ptr[0];
        if (slice_is(argv[0], "ADD")) {
            n->data[e->shard].values[a]++;
            repl_touch(n->r, e->shard, TOUCH(a));
        } else {
            n->data[e->shard].values[b] = n->data[e->shard].values[a];
            repl_touch(n->r, e->shard, TOUCH(b));
        }
    }
}

static inline void env_logged(void *arg, const struct entry *e)
{
    struct node *n = arg;
    n->written[e->shard] = e->version;
    struct entry again;
    assert_int_equal(entry_read(e->bytes, &again), e->bytes.len);
    assert_int_equal(again.version, e->version);
}

static inline void env_apply(void *arg, const struct entry *e)
{
    apply_effects(arg, e);
}

static inline void settle_ops(struct node *n, int shard, uint64_t version)
{
    struct cluster *c = n->c;
    for (size_t i = 0; i < c->n_ops; i++) {
        struct op *o = &c->ops[i];
        if (o->node == n->index && o->shard == shard && o->version <= version) {
            if (o->term == repl_term(n->r, shard)) {
                c->acked[shard][o->key]++;
                c->n_acked++;
            }
            *o = c->ops[--c->n_ops];
            i--;
        }
    }
}

static inline void forget_ops(struct node *n, int shard)
{
    struct cluster *c = n->c;
    for (size_t i = 0; i < c->n_ops; i++) {
        struct op *o = &c->ops[i];
        if (o->node == n->index && (shard < 0 || o->shard == shard)) {
            *o = c->ops[--c->n_ops];
            i--;
        }
    }
}

static inline void env_committed(void *arg, int shard, uint64_t version)
{
    struct node *n = arg;
    assert_true(version <= repl_version(n->r, shard));
    enum repl_state s = repl_state(n->r, shard);
    if (s == REPL_SERVE || s == REPL_FENCED) {
        settle_ops(n, shard, version);
    }
}

static inline void env_lane_ended(void *arg, uint64_t lane)
{
    struct node *n = arg;
    n->lane_ended = lane;
}

static inline void env_state(void *arg, int shard, enum repl_state was, enum repl_state now)
{
    struct node *n = arg;
    LOG_DEBUG_EVENT("test", "at=%lld node=%d shard=%d now=%s", (long long)n->c->now_us, n->index,
                    shard, repl_state_name(now));
    if ((was == REPL_SERVE || was == REPL_FENCED) && now != REPL_SERVE && now != REPL_FENCED) {
        forget_ops(n, shard);
    }
}

static inline void env_discard(void *arg, int shard)
{
    struct node *n = arg;
    memset(n->data[shard].values, 0, sizeof(n->data[shard].values));
    n->written[shard] = 0;
    for (size_t i = 0; i < ARRAY_LEN(n->drafts); i++) {
        n->drafts[i].used = n->drafts[i].used && n->drafts[i].shard != shard;
    }
}

static inline void env_whole(void *arg, int shard, const struct history *h)
{
    struct node *n = arg;
    n->written[shard] = h->version;
}

static inline void encode_key(struct node *n, int shard, int key)
{
    char b[9];
    b[0] = (char)key;
    put_le64(b + 1, n->data[shard].values[key]);
    str_append(&n->scan, b, sizeof(b));
}

/* Every third key has a value that is too large for a slice. */
static inline void give_key(struct node *n, int shard, int key, struct repl_copied *out)
{
    str_clear(&n->scan);
    out->bytes = str_slice(&n->scan);
    if (n->data[shard].values[key] == 0) {
        return;
    }
    out->keys++;
    if (key % 3 != 0) {
        encode_key(n, shard, key);
        out->bytes = str_slice(&n->scan);
        return;
    }
    uint32_t i = 0;
    while (n->portraits[i].used) {
        i++;
        assert_true(i < ARRAY_LEN(n->portraits));
    }
    struct portrait *p = &n->portraits[i];
    *p = (struct portrait){.used = true};
    put_le64(p->bytes, n->data[shard].values[key]);
    n->head = (char)key;
    n->given = (struct repl_portrait){.handle = i, .head = slice_of(&n->head, 1)};
    out->portraits = &n->given;
    out->n_portraits = 1;
}

/* One piece in two is one too many for its turn. */
static inline bool env_copy_time(void *arg)
{
    struct node *n = arg;
    return !n->no_copy_time && rng_below(&n->c->rng, 2) == 0;
}

static inline void env_copy_begins(void *arg, int shard)
{
    struct node *n = arg;
    n->told[shard] = true;
}

static inline void env_copy_scan(void *arg, int shard, struct repl_place from, size_t budget,
                                 struct repl_copied *out)
{
    struct node *n = arg;
    (void)budget;
    int at = (int)((from.hash + (UINT64_C(1) << 40) - 1) >> 40);
    give_key(n, shard, N_KEYS - 1 - at, out);
    out->next = (struct repl_place){.hash = (uint64_t)(at + 1) << 40};
    out->end = at + 1 == N_KEYS;
}

static inline void env_copy_key(void *arg, int shard, struct repl_place at, struct slice key,
                                struct repl_copied *out)
{
    (void)key;
    give_key(arg, shard, N_KEYS - 1 - (int)(at.hash >> 40), out);
}

/* A byte a turn. */
static inline bool env_copy_part(void *arg, uint32_t handle, size_t budget, struct slice *part)
{
    struct node *n = arg;
    (void)budget;
    struct portrait *p = &n->portraits[handle];
    assert_true(p->used);
    *part = slice_of(&p->bytes[p->at++], 1);
    return p->at < sizeof(p->bytes);
}

static inline void env_copy_part_end(void *arg, uint32_t handle)
{
    struct node *n = arg;
    assert_true(n->portraits[handle].used);
    n->portraits[handle].used = false;
}

static inline bool env_copy_open(void *arg, int shard, uint64_t number, struct slice head)
{
    struct node *n = arg;
    for (size_t i = 0; i < ARRAY_LEN(n->drafts); i++) {
        if (!n->drafts[i].used) {
            n->drafts[i] =
                (struct draft){.used = true, .shard = shard, .number = number, .key = head.ptr[0]};
            return true;
        }
    }
    return false;
}

static inline struct draft *draft_of(struct node *n, int shard, uint64_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(n->drafts); i++) {
        struct draft *d = &n->drafts[i];
        if (d->used && d->shard == shard && d->number == number) {
            return d;
        }
    }
    return NULL;
}

static inline bool env_copy_add(void *arg, int shard, uint64_t number, struct slice part)
{
    struct draft *d = draft_of(arg, shard, number);
    assert_non_null(d);
    assert_true(d->at + part.len <= sizeof(d->bytes));
    memcpy(d->bytes + d->at, part.ptr, part.len);
    d->at += part.len;
    return true;
}

static inline bool env_copy_close(void *arg, int shard, uint64_t number)
{
    struct node *n = arg;
    struct draft *d = draft_of(n, shard, number);
    assert_non_null(d);
    assert_true(d->at == sizeof(d->bytes));
    n->data[shard].values[d->key] = get_le64(d->bytes);
    d->used = false;
    n->c->portraits++;
    return true;
}

static inline bool env_copy_put(void *arg, int shard, struct slice keys)
{
    struct node *n = arg;
    for (; keys.len >= 9; keys = slice_of(keys.ptr + 9, keys.len - 9)) {
        n->data[shard].values[(int)keys.ptr[0]] = get_le64(keys.ptr + 1);
    }
    return keys.len == 0;
}

static inline void env_report(void *arg, enum repl_report what, int shard, uint64_t term,
                              const char *node)
{
    struct node *n = arg;
    struct cluster *c = n->c;
    if (c->n_requests == (int)ARRAY_LEN(c->requests)) {
        return;
    }
    c->requests[c->n_requests++] = (struct request){
        .due_us = c->now_us + (int64_t)rng_below(&c->rng, 5000),
        .from = n->index,
        .what = what,
        .shard = shard,
        .term = term,
        .node = id_node(node),
    };
}

/* -- the coordinator -------------------------------------------------------------------------- */

static inline void publish(struct cluster *c, struct map *next)
{
    next->epoch = c->map->epoch + 1;
    const char *wrong = map_check(next);
    if (wrong == NULL) {
        wrong = map_check_next(c->map, next);
    }
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    map_unref(&c->map);
    c->map = next;
    for (int i = 0; i < N_NODES; i++) {
        if (c->nodes[i].map_due_us == 0) {
            c->nodes[i].map_due_us = c->now_us + (int64_t)rng_below(&c->rng, 5000);
        }
    }
}

static inline void record(struct cluster *c, const struct request *q)
{
    struct map *next = map_build_from(c->map);
    struct map_shard *s = &next->shards[q->shard];
    int at = map_shard_member(s, q->node);
    bool ok = s->primary == q->from && at >= 0;
    if (q->what == REPL_HANDED) {
        ok = ok && q->term == s->primary_term && s->members[at].in_sync && !s->members[at].stale;
        if (ok) {
            map_build_set_primary(s, q->node);
        }
    } else {
        ok = ok && q->term == s->term && q->node != s->primary &&
             (s->members[at].in_sync ? q->what == REPL_REMOVE : true);
        if (ok && !s->members[at].in_sync && q->what == REPL_REMOVE) {
            s->term++;
        } else if (ok) {
            map_build_set_in_sync(s, q->node, q->what == REPL_ADD);
        }
    }
    LOG_DEBUG_EVENT("test", "at=%lld report=%d shard=%d from=%d node=%d ok=%d",
                    (long long)c->now_us, (int)q->what, q->shard, q->from, q->node, ok);
    if (ok) {
        publish(c, next);
    } else {
        map_unref(&next);
        if (c->nodes[q->from].map_due_us == 0) {
            c->nodes[q->from].map_due_us = c->now_us + 1000;
        }
    }
}

/* The node is out of every in-sync set that has another one; who is not, is primary next. */
static inline void fail_over(struct cluster *c, int node, bool restarted)
{
    struct map *next = map_build_from(c->map);
    for (int i = 0; i < N_SHARDS; i++) {
        struct map_shard *s = &next->shards[i];
        int at = map_shard_member(s, node);
        s->term += at >= 0 && restarted; /* no request of before counts any more */
        if (at < 0 || !s->members[at].in_sync || map_shard_in_sync(s) < 2) {
            continue;
        }
        if (s->primary == node) {
            int from = (int)rng_below(&c->rng, (uint64_t)s->n_members);
            for (int j = 0; j < s->n_members; j++) {
                int k = (from + j) % s->n_members;
                if (s->members[k].in_sync && s->members[k].node != node) {
                    map_build_set_primary(s, s->members[k].node);
                    break;
                }
            }
        }
        map_build_set_in_sync(s, node, false);
    }
    next->nodes[node].incarnation += restarted;
    LOG_DEBUG_EVENT("test", "at=%lld node=%d is given up", (long long)c->now_us, node);
    publish(c, next);
}

/* -- nodes and links -------------------------------------------------------------------------- */

static inline void turn(struct node *n)
{
    (void)repl_turn_end(n->r, n->c->now_us);
}

static inline void start_node(struct cluster *c, int i, bool fresh)
{
    struct node *n = &c->nodes[i];
    struct repl_env env = {
        .arg = n,
        .send = env_send,
        .queued = env_queued,
        .cut = env_cut,
        .logged = env_logged,
        .apply = env_apply,
        .committed = env_committed,
        .lane_ended = env_lane_ended,
        .state = env_state,
        .discard = env_discard,
        .whole = env_whole,
        .copy_time = env_copy_time,
        .copy_begins = env_copy_begins,
        .copy_scan = env_copy_scan,
        .copy_key = env_copy_key,
        .copy_part = env_copy_part,
        .copy_part_end = env_copy_part_end,
        .copy_put = env_copy_put,
        .copy_open = env_copy_open,
        .copy_add = env_copy_add,
        .copy_close = env_copy_close,
        .report = env_report,
    };
    char id[NODE_ID_LEN + 1];
    node_id(i, id);
    n->c = c;
    n->index = i;
    n->alive = true;
    n->incarnation++;
    n->r = repl_new(id, N_SHARDS, &c->settings, &env, fresh, c->now_us);
    memset(n->data, 0, sizeof(n->data));
    memset(n->portraits, 0, sizeof(n->portraits));
    memset(n->drafts, 0, sizeof(n->drafts));
    memset(n->written, 0, sizeof(n->written));
    n->map_due_us = c->now_us + 1;
}

static inline void end_session(struct cluster *c, int a, int b)
{
    struct node *n = &c->nodes[a];
    if (n->sessions[b] != 0) {
        n->sessions[b] = 0;
        if (n->alive) {
            repl_peer_down(n->r, peer_handle(n, b), c->now_us);
            turn(n);
        }
    }
}

static inline void drop_packets(struct wire *w)
{
    while (w->first != NULL) {
        struct packet *p = w->first;
        w->first = p->next;
        mem_free(p);
    }
    w->last = &w->first;
    w->queued = 0;
}

static inline void connect_nodes(struct cluster *c, int a, int b)
{
    end_session(c, a, b);
    end_session(c, b, a);
    drop_packets(&c->wires[a][b]);
    drop_packets(&c->wires[b][a]);
    uint64_t session = ++c->session;
    c->nodes[a].sessions[b] = c->nodes[b].sessions[a] = session;
    repl_peer_up(c->nodes[a].r, peer_handle(&c->nodes[a], b), c->nodes[b].incarnation, c->now_us);
    turn(&c->nodes[a]);
    repl_peer_up(c->nodes[b].r, peer_handle(&c->nodes[b], a), c->nodes[a].incarnation, c->now_us);
    turn(&c->nodes[b]);
}

static inline void kill_node(struct cluster *c, int i)
{
    struct node *n = &c->nodes[i];
    LOG_DEBUG_EVENT("test", "at=%lld node=%d is killed", (long long)c->now_us, i);
    n->alive = false;
    forget_ops(n, -1);
    for (int j = 0; j < N_NODES; j++) {
        if (j != i) {
            n->sessions[j] = 0;
            end_session(c, j, i);
        }
    }
    repl_free(&n->r);
    for (int q = 0; q < c->n_requests; q++) {
        if (c->requests[q].from == i) {
            c->requests[q--] = c->requests[--c->n_requests];
        }
    }
}

static inline void deliver(struct cluster *c, int from, int to)
{
    struct wire *w = &c->wires[from][to];
    struct node *n = &c->nodes[to];
    while (!w->blocked && w->first != NULL && w->first->due_us <= c->now_us) {
        struct packet *p = w->first;
        w->first = p->next;
        if (w->first == NULL) {
            w->last = &w->first;
        }
        w->queued -= p->len;
        if (n->alive && n->sessions[from] == p->session) {
            struct repl_message m;
            assert_true(repl_frame_read(slice_of(p->bytes, p->len), &m, &c->room));
            repl_message(n->r, peer_handle(n, from), &m, c->now_us);
            if (rng_below(&c->rng, 2) == 0) {
                turn(n);
            }
        }
        mem_free(p);
    }
}

/* -- load and checks -------------------------------------------------------------------------- */

/* As a keyspace does, which is guarded from the beginning of a copy on. */
static inline void tell_write(struct node *n, int shard, char key)
{
    if (n->told[shard]) {
        repl_before_write(n->r, shard, 0, PLACE(key), slice_of(&key, 1));
    }
}

static inline void write_some(struct cluster *c, struct node *n, int shard)
{
    if (repl_may_write(n->r, shard) != REPL_YES) {
        return;
    }
    int key = (int)rng_below(&c->rng, N_COUNTERS);
    char a = (char)key;
    char b = (char)(N_COUNTERS + rng_below(&c->rng, N_KEYS - N_COUNTERS));
    bool copies = rng_below(&c->rng, 3) == 0;
    struct str effects = {0};
    struct slice add[] = {SLICE("ADD"), slice_of(&a, 1), slice_of(&a, 1)};
    struct slice copy[] = {SLICE("CPY"), slice_of(&a, 1), slice_of(&b, 1)};
    effects_add(&effects, 0, add, 3);
    tell_write(n, shard, a);
    if (copies) {
        effects_add(&effects, 0, copy, 3);
        tell_write(n, shard, b);
    }
    struct entry e = {.shard = shard, .n_effects = copies ? 2 : 1, .effects = str_slice(&effects)};
    apply_effects(n, &e);
    uint64_t version = repl_append(n->r, &e, c->now_us);
    str_fini(&effects);
    c->tried[shard][key]++;
    if (repl_barrier_write(n->r, shard, version) == 0) {
        c->acked[shard][key]++;
        c->n_acked++;
        return;
    }
    if (c->n_ops == c->cap_ops) {
        c->cap_ops = c->cap_ops == 0 ? 256 : c->cap_ops * 2;
        c->ops = mem_realloc(c->ops, sizeof(*c->ops) * c->cap_ops);
    }
    c->ops[c->n_ops++] = (struct op){.node = n->index,
                                     .shard = shard,
                                     .term = repl_term(n->r, shard),
                                     .version = version,
                                     .key = key};
}

/* Whoever may read now sees every write that was acknowledged; one primary serves. */
static inline void check_reads(struct cluster *c)
{
    for (int s = 0; s < N_SHARDS; s++) {
        int primaries = 0;
        for (int i = 0; i < N_NODES; i++) {
            struct node *n = &c->nodes[i];
            if (!n->alive || repl_may_read(n->r, s, c->now_us) != REPL_YES) {
                continue;
            }
            bool primary = repl_state(n->r, s) == REPL_SERVE;
            primaries += primary;
            c->reads_primary += primary;
            c->reads_replica += !primary;
            assert_true(repl_whole(n->r, s));
            for (int k = 0; k < N_COUNTERS; k++) {
                bool strong = primary || c->settings.mode == REPL_SYNC;
                if (strong && repl_barrier(n->r, s, TOUCH(k)) == 0 &&
                    n->data[s].values[k] < MAX(c->acked[s][k], c->seen[s][k])) {
                    fail_msg("at %lld node %d, %s of shard %d at %llu: key %d is %llu, not %llu",
                             (long long)c->now_us, i, repl_state_name(repl_state(n->r, s)), s,
                             (unsigned long long)repl_version(n->r, s), k,
                             (unsigned long long)n->data[s].values[k],
                             (unsigned long long)MAX(c->acked[s][k], c->seen[s][k]));
                }
                assert_true(n->data[s].values[k] <= c->tried[s][k]);
                if (strong && repl_barrier(n->r, s, TOUCH(k)) == 0) {
                    c->seen[s][k] = MAX(c->seen[s][k], n->data[s].values[k]);
                }
            }
        }
        assert_true(primaries <= 1 || c->settings.mode == REPL_ASYNC);
    }
}

static inline void step(struct cluster *c)
{
    c->now_us += STEP_US;
    for (int i = 0; i < N_NODES; i++) {
        for (int j = 0; j < N_NODES; j++) {
            deliver(c, i, j);
        }
    }
    for (int q = 0; q < c->n_requests; q++) {
        if (c->requests[q].due_us <= c->now_us && !c->stop_coordinator) {
            struct request r = c->requests[q];
            c->n_requests--;
            memmove(&c->requests[q], &c->requests[q + 1], sizeof(r) * (size_t)(c->n_requests - q));
            q--;
            record(c, &r);
        }
    }
    for (int i = 0; i < N_NODES; i++) {
        struct node *n = &c->nodes[i];
        if (!n->alive) {
            continue;
        }
        if (n->map_due_us != 0 && n->map_due_us <= c->now_us) {
            n->map_due_us = 0;
            repl_map(n->r, c->map, c->now_us);
        }
        if (c->settings.durable) {
            for (int s = 0; s < N_SHARDS; s++) {
                if (!n->durable_lags && rng_below(&c->rng, 4) == 0) {
                    repl_durable(n->r, s, n->written[s], c->now_us);
                }
            }
        }
        if (repl_next_us(n->r) <= c->now_us) {
            repl_tick(n->r, c->now_us);
        }
        turn(n);
    }
}

static inline void run_for(struct cluster *c, int64_t us, unsigned writes)
{
    for (int64_t end = c->now_us + us; c->now_us < end;) {
        step(c);
        for (unsigned w = 0; w < writes; w++) {
            int s = (int)rng_below(&c->rng, N_SHARDS);
            int p = c->map->shards[s].primary;
            if (p != NODE_NONE && c->nodes[p].alive) {
                write_some(c, &c->nodes[p], s);
            }
        }
        check_reads(c);
    }
}

/* Every member in sync, everything committed, all data alike. */
static inline bool is_healed(struct cluster *c)
{
    for (int s = 0; s < N_SHARDS; s++) {
        const struct map_shard *ms = &c->map->shards[s];
        if (ms->primary == NODE_NONE || map_shard_in_sync(ms) != ms->n_members) {
            return false;
        }
        const struct node *p = &c->nodes[ms->primary];
        if (!p->alive || repl_state(p->r, s) != REPL_SERVE ||
            repl_commit(p->r, s) != repl_version(p->r, s)) {
            return false;
        }
        for (int i = 0; i < ms->n_members; i++) {
            const struct node *n = &c->nodes[ms->members[i].node];
            if (!n->alive || repl_version(n->r, s) != repl_version(p->r, s)) {
                return false;
            }
        }
    }
    return true;
}

static inline void heal(struct cluster *c)
{
    for (int i = 0; i < 40000 && !is_healed(c); i++) {
        step(c);
        check_reads(c);
    }
    assert_true(is_healed(c));
    for (int s = 0; s < N_SHARDS; s++) {
        const struct map_shard *ms = &c->map->shards[s];
        const struct node *p = &c->nodes[ms->primary];
        for (int i = 0; i < ms->n_members; i++) {
            const struct node *n = &c->nodes[ms->members[i].node];
            assert_memory_equal(n->data[s].values, p->data[s].values, sizeof(p->data[s].values));
        }
        for (int k = 0; k < N_COUNTERS; k++) {
            assert_true(p->data[s].values[k] >= c->acked[s][k]);
            assert_true(p->data[s].values[k] <= c->tried[s][k]);
        }
    }
}

static inline void cluster_init(struct cluster *c, uint64_t seed, int factor)
{
    memset(c, 0, sizeof(*c));
    rng_init(&c->rng, seed);
    repl_settings_default(&c->settings);
    c->settings.lease_us = LEASE_US;
    c->settings.backlog_max = (size_t)64 << 10;
    c->now_us = 1000000;
    c->map = map_build_new(N_SHARDS, "00000000000000000000000000000000000000c1");
    for (int i = 0; i < N_NODES; i++) {
        struct map_node n = {.port = 7000 + i, .weight = 100, .incarnation = 1};
        node_id(i, n.id);
        (void)snprintf(n.host, sizeof(n.host), "127.0.0.1");
        assert_int_equal(map_build_add_node(c->map, &n), i);
        for (int j = 0; j < N_NODES; j++) {
            c->wires[i][j].last = &c->wires[i][j].first;
        }
    }
    for (int s = 0; s < N_SHARDS; s++) {
        for (int i = 0; i < factor; i++) {
            assert_true(map_build_add_member(&c->map->shards[s], (s + i) % N_NODES));
        }
        map_build_set_primary(&c->map->shards[s], s);
    }
    c->map->epoch = 1;
    c->map->assigned = true;
}

static inline void cluster_start(struct cluster *c)
{
    for (int i = 0; i < N_NODES; i++) {
        start_node(c, i, true);
    }
    for (int i = 0; i < N_NODES; i++) {
        for (int j = i + 1; j < N_NODES; j++) {
            connect_nodes(c, i, j);
        }
    }
}

static inline void cluster_fini(struct cluster *c)
{
    for (int i = 0; i < N_NODES; i++) {
        repl_free(&c->nodes[i].r);
        str_fini(&c->nodes[i].scan);
        for (int j = 0; j < N_NODES; j++) {
            drop_packets(&c->wires[i][j]);
        }
    }
    map_unref(&c->map);
    mem_free(c->ops);
    repl_frame_room_fini(&c->room);
}
