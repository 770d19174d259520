// SPDX-License-Identifier: BSD-3-Clause
/* Every write exactly once: exec against model nodes whose shards have a log with a committed
 * prefix, from a seed. Nodes are killed, freeze and come back; shards move; connections are cut at
 * any byte while the node still runs what it got; backlogs are trimmed. Each client knows of its
 * own keys exactly how often they were written, from what it was answered.
 *
 * With plain arguments: `once_test SEED [PLANT]` runs that seed alone; `once_test 0 0 N` N seeds.
 * Planted mistakes, of the proxy and of the nodes, must all be found. */
static int plant;
#define PLANTED(what) (plant == (what))
enum { PLANT_NOT, PLANT_RESEND, PLANT_SELECT, PLANT_FENCE, PLANT_COMMIT, PLANT_TRIM, PLANTS };
#include "proxy/exec/fate.c"
#include "proxy/exec/lane.c"

#include "tests/unit/proxy/exec/world.h"

#include <stdlib.h>

#define NODES      3
#define PEOPLE     3
#define LIVES      12
#define SHARED     LIVES /* the key that all write */
#define DBS        2
#define KEYS       (SHARDS * (LIVES + 1) * DBS)
#define LOG_MAX    4096
#define EXPECT_MAX 64
#define STEPS      500
#define HOLD_US    (20 * 1000 * 1000)

struct entry {
    int keys[2]; /* -1: none */
    uint64_t lane;
    uint64_t number;
    int64_t at_us;
    char reply[48]; /* "": too long to be kept */
};

struct shard {
    int primary; /* -1: nobody */
    bool told;   /* the map names it: only then it moves on, as a coordinator does it */
    int64_t serves_us;
    int64_t moved_us; /* it does not move there and back while a command is under way */
    struct entry log[LOG_MAX];
    int n;
    int committed;
    int trimmed; /* so many are not in the backlog any more */
};

struct node {
    bool dead;
    int64_t back_us;   /* dead: when it starts again */
    int64_t frozen_us; /* does nothing until then */
    int64_t synced_us; /* as a replica answers nothing before */
    uint64_t refused[LANES_MAX];
    int n_refused;
};

/* An answer that waits for its entries to be committed. */
struct reply {
    char text[160];
    int shard[2];
    int version[2];
    bool fate;
    uint64_t lane, from, age_ms;
};

/* The node's end of a connection; it lives on when the proxy's end is cut. */
struct end {
    bool open, cut;
    int node;
    struct str pipe; /* on its way to the node */
    struct str inbox;
    struct str outbox;
    uint64_t lane, count;
    int db;
    bool multi, dirty;
    char queue[4][64];
    int queued;
    int watched, watched_count;
    struct reply replies[256];
    int first, n;
};

enum kind { INCR, READ, DEL, MULTI, QUEUED, EXEC, WATCH };
struct said {
    enum kind kind;
    int keys[2];
    bool watched;
};
struct life {
    struct person person;
    int id;
    struct said expected[EXPECT_MAX];
    int first, count;
    char again[128];
    struct said again_said;
    struct said script[4]; /* of a transaction under way */
    char script_text[4][96];
    int scripted, script_at;
};

static struct {
    uint64_t seed;
    struct rng rng;
    struct shard shards[SHARDS];
    struct node nodes[NODES];
    struct end ends[LANES_MAX];
    struct life lives[PEOPLE];
    int next_id;
    int count[KEYS];               /* the truth */
    int lo[KEYS], hi[KEYS];        /* what its client knows of a key of its own */
    int acked[KEYS], unsure[KEYS]; /* of the shared ones */
    uint8_t seen[KEYS][LOG_MAX];
    char tags[SHARDS][16];
    bool flaps, trims, freezes, large; /* of this seed: it refuses at random, ... */
    bool lazy;                         /* its commits are slow */
    int kill_soon;                     /* in so many steps; 0: not */
    int n_acked, n_unknown, n_errors;
    char failure[256];
} once;

static uint64_t only_seed;

#define HOLDS(cond)                                                                                \
    do {                                                                                           \
        if (!(cond) && once.failure[0] == '\0') {                                                  \
            snprintf(once.failure, sizeof(once.failure), "seed %llu line %d: %s",                  \
                     (unsigned long long)once.seed, __LINE__, #cond);                              \
        }                                                                                          \
    } while (0)

static int dice(int n)
{
    return (int)rng_below(&once.rng, (uint64_t)n);
}

/* --- nodes --- */

static int key_id(int shard, int who, int db)
{
    return (shard * (LIVES + 1) + who) * DBS + db;
}

/* "{tag}who" */
static int key_named(struct slice name, int db, int *shard)
{
    int64_t who = 0;
    const char *close = memchr(name.ptr, '}', name.len);
    *shard = (int)slot_to_shard(slot_of(name), SHARDS);
    HOLDS(num_parse_i64(slice_of(close + 1, (size_t)(name.ptr + name.len - close - 1)), &who));
    return key_id(*shard, (int)who, db);
}

static void undo_to(struct shard *s, int n)
{
    while (s->n > n) {
        const struct entry *e = &s->log[--s->n];
        for (int k = 0; k < 2; k++) {
            if (e->keys[k] >= 0) {
                once.count[e->keys[k]]--;
            }
        }
    }
}

static struct reply *reply_add(struct end *e, const char *text)
{
    HOLDS(e->n < 256);
    struct reply *r = &e->replies[(e->first + e->n++) % 256];
    *r = (struct reply){.shard = {-1, -1}};
    snprintf(r->text, sizeof(r->text), "%s", text);
    return r;
}

static void log_add(int shard, const struct end *e, int key0, int key1, const char *text)
{
    struct shard *s = &once.shards[shard];
    struct entry *to = &s->log[s->n++];
    HOLDS(s->n < LOG_MAX);
    *to = (struct entry){
        .keys = {key0, key1}, .lane = e->lane, .number = e->count, .at_us = world.now_us};
    snprintf(to->reply, sizeof(to->reply), "%s", text);
}

static bool serves(int node, int shard)
{
    const struct shard *s = &once.shards[shard];
    return s->primary == node && world.now_us >= s->serves_us;
}

/* The count of a key in what is committed: a replica's. */
static int committed_count(int shard, int key)
{
    const struct shard *s = &once.shards[shard];
    int v = once.count[key];
    for (int i = s->committed; i < s->n; i++) {
        v -= (s->log[i].keys[0] == key) + (s->log[i].keys[1] == key);
    }
    return v;
}

static void answer_wait(struct reply *r, int at, int shard)
{
    r->shard[at] = shard;
    r->version[at] = once.shards[shard].n;
}

/* False: refused, and answered so. */
static bool takes(struct end *e, int shard)
{
    if (once.shards[shard].primary != e->node) {
        (void)reply_add(e, "-MOVED 1 127.0.0.1:1\r\n");
    } else if (!serves(e->node, shard)) {
        (void)reply_add(e, "-TRYAGAIN not yet\r\n");
    } else if (once.flaps && dice(50) == 0) {
        (void)reply_add(e, dice(2) ? "-LOADING it is\r\n" : "-TRYAGAIN\r\n");
    } else {
        return true;
    }
    e->dirty = true;
    return false;
}

static void do_incr(struct end *e, struct slice name)
{
    int shard;
    char text[48];
    int key = key_named(name, e->db, &shard);
    if (!takes(e, shard)) {
        return;
    }
    if (e->multi) {
        snprintf(e->queue[e->queued++], sizeof(e->queue[0]), "%.*s", (int)name.len, name.ptr);
        (void)reply_add(e, "+QUEUED\r\n");
        return;
    }
    snprintf(text, sizeof(text), ":%d\r\n", ++once.count[key]);
    bool kept = !once.large || dice(10) != 0;
    log_add(shard, e, key, -1, kept ? text : "");
    answer_wait(reply_add(e, text), 0, shard);
}

static void do_exec_(struct end *e)
{
    int shard = 0;
    char text[48];
    bool dirty = e->dirty;
    bool changed = e->watched >= 0 && once.count[e->watched] != e->watched_count;
    e->multi = e->dirty = false;
    e->watched = -1;
    if (dirty) {
        (void)reply_add(e, "-EXECABORT Transaction discarded\r\n");
        return;
    }
    if (changed) {
        (void)reply_add(e, "*-1\r\n");
        return;
    }
    int key = key_named(slice_str(e->queue[0]), e->db, &shard);
    if (!takes(e, shard)) {
        e->dirty = false;
        return;
    }
    snprintf(text, sizeof(text), "*1\r\n:%d\r\n", ++once.count[key]);
    log_add(shard, e, key, -1, text);
    answer_wait(reply_add(e, text), 0, shard);
}

static void do_watch_(struct end *e, struct slice name)
{
    int shard;
    int key = key_named(name, e->db, &shard);
    if (takes(e, shard)) {
        e->watched = key;
        e->watched_count = once.count[key];
        answer_wait(reply_add(e, "+OK\r\n"), 0, shard);
    }
}

static void do_del(struct end *e, const struct slice *names, size_t n)
{
    int shards[2], keys[2];
    char text[48];
    HOLDS(n <= 2);
    for (size_t i = 0; i < n; i++) {
        keys[i] = key_named(names[i], e->db, &shards[i]);
        if (!takes(e, shards[i])) {
            e->dirty = false;
            return;
        }
    }
    for (size_t i = 0; i < n; i++) {
        once.count[keys[i]]++;
    }
    snprintf(text, sizeof(text), ":%zu\r\n", n);
    struct reply *r = reply_add(e, text);
    if (n == 2 && shards[0] == shards[1]) {
        log_add(shards[0], e, keys[0], keys[1], text);
        answer_wait(r, 0, shards[0]);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        log_add(shards[i], e, keys[i], -1, ":1\r\n"); /* its part */
        answer_wait(r, (int)i, shards[i]);
    }
}

static void do_read(struct end *e, struct slice name)
{
    int shard;
    char text[48];
    int key = key_named(name, e->db, &shard);
    int primary = once.shards[shard].primary;
    bool replica = primary >= 0 && (primary + 1) % NODES == e->node &&
                   world.now_us >= once.nodes[e->node].synced_us;
    if (replica) {
        if (dice(10) == 0) {
            (void)reply_add(e, "-MASTERDOWN no lease\r\n");
        } else {
            snprintf(text, sizeof(text), ":%d\r\n", committed_count(shard, key));
            (void)reply_add(e, text);
        }
    } else if (takes(e, shard)) {
        snprintf(text, sizeof(text), ":%d\r\n", once.count[key]);
        answer_wait(reply_add(e, text), 0, shard);
    }
}

static void end_close(struct end *e)
{
    e->open = false;
    str_clear(&e->pipe);
    str_clear(&e->inbox);
    e->n = 0;
}

static void fence(int node, uint64_t lane)
{
    struct node *n = &once.nodes[node];
    n->refused[n->n_refused++ % LANES_MAX] = lane;
    for (int i = 0; i < world.n_wires; i++) {
        if (once.ends[i].open && once.ends[i].node == node && once.ends[i].lane == lane) {
            end_close(&once.ends[i]);
        }
    }
}

static uint64_t number_of(struct slice s)
{
    uint64_t v = 0;
    HOLDS(num_parse_u64(s, &v));
    return v;
}

static void do_shoal(struct end *e, const struct slice *argv)
{
    if (slice_is(argv[1], "LANE")) {
        e->lane = number_of(argv[2]);
        e->count = 0;
        for (int i = 0; i < MIN(once.nodes[e->node].n_refused, LANES_MAX); i++) {
            if (once.nodes[e->node].refused[i] == e->lane) {
                end_close(e);
                return;
            }
        }
        char text[16];
        snprintf(text, sizeof(text), ":%d\r\n", DBS);
        (void)reply_add(e, text);
        return;
    }
    int shard = (int)number_of(argv[3]);
    if (!serves(e->node, shard)) {
        (void)reply_add(e, dice(2) ? "-TRYAGAIN\r\n" : "-MOVED 1 127.0.0.1:1\r\n");
        return;
    }
    if (!PLANTED(PLANT_FENCE)) {
        fence(e->node, number_of(argv[2]));
    }
    struct reply *r = reply_add(e, "");
    r->fate = true;
    r->lane = number_of(argv[2]);
    r->from = number_of(argv[4]);
    r->age_ms = number_of(argv[5]);
    answer_wait(r, 0, shard);
}

static void serve(struct end *e, const struct slice *argv, size_t argc)
{
    e->count++;
    if (slice_is(argv[0], "SHOAL")) {
        do_shoal(e, argv);
    } else if (slice_is(argv[0], "SELECT")) {
        e->db = (int)number_of(argv[1]);
        (void)reply_add(e, "+OK\r\n");
    } else if (slice_is(argv[0], "MULTI")) {
        e->multi = true;
        e->dirty = false;
        e->queued = 0;
        (void)reply_add(e, "+OK\r\n");
    } else if (slice_is(argv[0], "EXEC")) {
        do_exec_(e);
    } else if (slice_is(argv[0], "WATCH")) {
        do_watch_(e, argv[1]);
    } else if (slice_is(argv[0], "UNWATCH")) {
        e->watched = -1;
        (void)reply_add(e, "+OK\r\n");
    } else if (slice_is(argv[0], "INCR")) {
        do_incr(e, argv[1]);
    } else if (slice_is(argv[0], "DEL")) {
        do_del(e, argv + 1, argc - 1);
    } else {
        HOLDS(slice_is(argv[0], "STRLEN"));
        do_read(e, argv[1]);
    }
}

static bool is_away(int node)
{
    return once.nodes[node].dead || world.now_us < once.nodes[node].frozen_us;
}

/* The node reads what has come, and runs up to n commands. */
static void serve_some(struct end *e, int n)
{
    struct resp_parser p;
    if (!e->open || is_away(e->node)) {
        return;
    }
    size_t come = e->pipe.len == 0 ? 0 : 1 + (size_t)dice((int)e->pipe.len);
    str_append(&e->inbox, e->pipe.ptr, come);
    memmove(e->pipe.ptr, e->pipe.ptr + come, e->pipe.len - come);
    e->pipe.len -= come;
    size_t used = 0;
    resp_parser_init(&p);
    while (n-- > 0 && e->open && e->n < 200 &&
           resp_parse(&p, slice_of(e->inbox.ptr + used, e->inbox.len - used)) == RESP_OK) {
        serve(e, p.argv, p.argc);
        used += p.used;
    }
    resp_parser_fini(&p);
    if (e->open && used > 0) {
        memmove(e->inbox.ptr, e->inbox.ptr + used, e->inbox.len - used);
        e->inbox.len -= used;
    }
    if (e->cut && e->pipe.len == 0 && dice(10) == 0) {
        end_close(e); /* the node has seen the end */
    }
}

static void tell_fate(const struct reply *r, int node, struct str *out)
{
    const struct shard *s = &once.shards[r->shard[0]];
    if (s->primary != node) {
        str_appendz(out, "-MOVED 1 127.0.0.1:1\r\n");
        return;
    }
    int64_t since = world.now_us - (int64_t)(r->age_ms * 1000 + r->age_ms * 125 + 100000);
    bool complete = s->trimmed == 0 || s->log[s->trimmed - 1].at_us < since || PLANTED(PLANT_TRIM);
    struct str text = {0};
    int n = 0;
    for (int i = s->trimmed; i < s->n; i++) {
        const struct entry *e = &s->log[i];
        if (e->lane != r->lane || e->number < r->from) {
            continue;
        }
        n++;
        str_printf(&text, ":%llu\r\n", (unsigned long long)e->number);
        if (e->reply[0] == '\0') {
            str_appendz(&text, "$-1\r\n");
        } else {
            str_printf(&text, "$%zu\r\n%s\r\n", strlen(e->reply), e->reply);
        }
    }
    str_printf(out, "*2\r\n:%d\r\n*%d\r\n", complete, n * 2);
    str_append_slice(out, str_slice(&text));
    str_fini(&text);
}

/* Answers whose entries are committed leave, in order. */
static void release_replies(struct end *e)
{
    while (e->open && e->n > 0) {
        const struct reply *r = &e->replies[e->first];
        for (int i = 0; i < 2; i++) {
            bool wait = r->shard[i] >= 0 && once.shards[r->shard[i]].committed < r->version[i];
            if (wait && !(r->fate && PLANTED(PLANT_COMMIT))) {
                return;
            }
        }
        if (r->fate) {
            tell_fate(r, e->node, &e->outbox);
        } else {
            str_appendz(&e->outbox, r->text);
        }
        e->first = (e->first + 1) % 256;
        e->n--;
    }
}

/* --- connections --- */

static struct end *end_of(const struct wire *w)
{
    return &once.ends[w - world.wires];
}

static void wire_gone(struct wire *w, enum lane_end how)
{
    end_of(w)->cut = true;
    snap(w, how);
}

static void take_some(struct wire *w)
{
    struct iovec iov[8];
    struct end *e = end_of(w);
    if (w->lane->state == LANE_CONNECTING && !e->open) {
        int node = w->lane->target->id[0] - 'a';
        if (once.nodes[node].dead) {
            wire_gone(w, LANE_REFUSED);
            return;
        }
        struct str pipe = e->pipe, inbox = e->inbox, outbox = e->outbox;
        *e = (struct end){.open = true,
                          .node = node,
                          .watched = -1,
                          .pipe = pipe,
                          .inbox = inbox,
                          .outbox = outbox};
        exec_lane_up(world.x, w->lane);
    }
    int n = outbuf_iovec(&w->out, iov, 8);
    if (n == 0) {
        return;
    }
    size_t len = dice(3) == 0 ? 1 + (size_t)dice((int)iov[0].iov_len) : iov[0].iov_len;
    str_append(&e->pipe, iov[0].iov_base, len);
    str_append(&w->sent, iov[0].iov_base, len);
    outbuf_consume(&w->out, len);
}

static void hear_some(struct wire *w)
{
    struct end *e = end_of(w);
    size_t len = e->outbox.len;
    size_t want;
    if (len == 0) {
        if (!e->open && w->lane->state == LANE_UP) {
            wire_gone(w, LANE_BROKEN); /* the node has ended it */
        }
        return;
    }
    if (dice(3) == 0) {
        len = 1 + (size_t)dice((int)len);
    }
    struct chunk *c = chunk_new(len);
    memcpy(c->data, e->outbox.ptr, len);
    c->len = len;
    size_t used = exec_replies(world.x, w->lane, c, slice_of(c->data, len), &want);
    chunk_unref(&c);
    HOLDS(used <= len);
    used = MIN(used, len);
    memmove(e->outbox.ptr, e->outbox.ptr + used, e->outbox.len - used);
    e->outbox.len -= used;
}

/* The proxy's end goes; a part of what it wrote still arrives. */
static void cut_wire(struct wire *w)
{
    struct end *e = end_of(w);
    if (e->open) {
        e->pipe.len = e->pipe.len == 0 ? 0 : (size_t)dice((int)e->pipe.len + 1);
        wire_gone(w, LANE_BROKEN);
    }
}

static void each_wire(void (*fn)(struct wire *w), int one_in)
{
    int n = world.n_wires;
    for (int i = 0; i < n; i++) {
        if (world.wires[i].lane != NULL && dice(one_in) == 0) {
            fn(&world.wires[i]);
        }
    }
}

/* --- faults --- */

static void publish(void)
{
    struct map *m = map_of(NODES, false);
    for (int i = 0; i < SHARDS; i++) {
        struct map_shard *s = &m->shards[i];
        int owner = once.shards[i].primary;
        once.shards[i].told = true;
        if (owner < 0) {
            lose_shard(m, i);
            continue;
        }
        int replica = (owner + 1) % NODES;
        HOLDS(map_build_add_member(s, owner));
        map_build_set_primary(s, owner);
        HOLDS(map_build_add_member(s, replica));
        s->members[map_shard_member(s, replica)].state = REPLICA_ACTIVE;
        s->members[map_shard_member(s, replica)].in_sync = true;
        for (int k = s->n_members - 1; k >= 0; k--) {
            if (s->members[k].node != owner && s->members[k].node != replica) {
                map_build_drop_member(s, s->members[k].node);
            }
        }
    }
    for (int i = 0; i < NODES; i++) {
        m->nodes[i].state = once.nodes[i].dead ? NODE_DEAD : NODE_HEALTHY;
    }
    give_map(m);
}

static void kill_node(int node)
{
    once.nodes[node].dead = true;
    once.nodes[node].back_us = world.now_us + 20000 + dice(150000);
    for (int i = 0; i < world.n_wires; i++) {
        if (once.ends[i].open && once.ends[i].node == node) {
            end_close(&once.ends[i]);
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &once.shards[i];
        if (s->primary == node) {
            s->primary = -1;
            undo_to(s, s->committed + dice(s->n - s->committed + 1));
        }
    }
}

/* A node may be made primary: it is there, has what it needs, and has read what its connections
 * held before: a command that came under an earlier primary term is not run under the new one. */
static bool can_lead(int node)
{
    for (int i = 0; i < world.n_wires; i++) {
        once.ends[i].cut |= world.wires[i].lane == NULL; /* exec may have ended it by itself */
    }
    if (is_away(node) || world.now_us < once.nodes[node].synced_us) {
        return false;
    }
    for (int i = 0; i < world.n_wires; i++) {
        struct end *e = &once.ends[i];
        for (int k = 0; k < 100 && e->open && e->cut && e->node == node && e->pipe.len > 0; k++) {
            serve_some(e, 1000);
        }
        if (e->open && e->cut && e->node == node) {
            serve_some(e, 1000);
        }
    }
    return true;
}

/* Elects, restarts, commits, trims: what goes on by itself. */
static void nodes_go_on(bool calm)
{
    for (int i = 0; i < NODES; i++) {
        struct node *n = &once.nodes[i];
        if (n->dead && world.now_us >= n->back_us) {
            n->dead = false;
            n->synced_us = world.now_us + 50000;
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &once.shards[i];
        if (s->primary < 0 && dice(10) == 0 && world.now_us - s->moved_us > 200000) {
            int to = dice(NODES);
            if (can_lead(to)) {
                s->primary = to;
                s->told = false;
                s->serves_us = world.now_us + dice(30000);
            }
        }
        if (s->primary >= 0 && (calm || dice(once.lazy ? 15 : 3) == 0) && serves(s->primary, i)) {
            s->committed += dice(s->n - s->committed + 1);
            if (calm) {
                s->committed = s->n;
            }
        }
        if (once.trims && s->committed > s->trimmed && dice(100) == 0) {
            s->trimmed += dice(s->committed - s->trimmed + 1);
        }
    }
}

static void move_shard(int shard)
{
    struct shard *s = &once.shards[shard];
    int to = dice(NODES);
    if (s->primary >= 0 && serves(s->primary, shard) && to != s->primary && s->told &&
        world.now_us - s->moved_us > 200000 && can_lead(to)) {
        s->moved_us = world.now_us;
        s->committed = s->n;
        s->primary = to;
        s->told = false;
        s->serves_us = world.now_us + dice(10000);
    }
}

static void some_fault(void)
{
    int alive = 0;
    for (int i = 0; i < NODES; i++) {
        alive += !once.nodes[i].dead && world.now_us >= once.nodes[i].synced_us;
    }
    switch (dice(once.freezes ? 4 : 3)) {
    case 0:
        if (alive == NODES) {
            kill_node(dice(NODES));
        }
        break;
    case 1:
        each_wire(cut_wire, 2);
        if (alive == NODES && dice(2) == 0) {
            once.kill_soon = 1 + dice(12); /* while the proxy finds out what became of its writes */
        }
        break;
    case 2:
        move_shard(dice(SHARDS));
        break;
    default:
        once.nodes[dice(NODES)].frozen_us = world.now_us + dice(500000);
    }
}

/* --- clients --- */

static void be_born(struct life *l)
{
    *l = (struct life){.id = once.next_id++};
    person_init(&l->person);
}

static void utter(struct life *l, const char *text, const struct said *s)
{
    if (say(&l->person, text) == EXEC_TAKEN) {
        HOLDS(l->count < EXPECT_MAX);
        l->expected[(l->first + l->count++) % EXPECT_MAX] = *s;
        l->again[0] = '\0';
    } else if (l->again != text) {
        snprintf(l->again, sizeof(l->again), "%s", text);
        l->again_said = *s;
    }
}

static void script(struct life *l, enum kind kind, bool watched, int key, const char *text)
{
    l->script[l->scripted] = (struct said){.kind = kind, .watched = watched, .keys = {key, -1}};
    snprintf(l->script_text[l->scripted++], sizeof(l->script_text[0]), "%s", text);
}

static void plan_transaction(struct life *l, const char *tag, int key)
{
    char name[32], text[64];
    bool watched = dice(3) == 0;
    snprintf(name, sizeof(name), "{%s}%d", tag, l->id);
    l->scripted = l->script_at = 0;
    if (watched) {
        snprintf(text, sizeof(text), "WATCH %s", name);
        script(l, WATCH, true, key, text);
    }
    script(l, MULTI, watched, key, "MULTI");
    snprintf(text, sizeof(text), "INCR %s", name);
    script(l, QUEUED, watched, key, text);
    script(l, EXEC, watched, key, "EXEC");
}

static void say_something(struct life *l)
{
    char text[96];
    if (l->script_at < l->scripted) {
        int at = l->script_at++;
        utter(l, l->script_text[at], &l->script[at]);
        return;
    }
    int db = dice(4) == 0 ? dice(DBS) : l->person.session.db;
    int a = dice(SHARDS), b = dice(SHARDS);
    int who = dice(4) == 0 ? SHARED : l->id;
    l->person.session.db = db;
    struct said s = {.keys = {key_id(a, who, db), -1}};
    switch (dice(8)) {
    case 0:
    case 1:
        s.kind = READ;
        s.keys[0] = key_id(a, l->id, db);
        snprintf(text, sizeof(text), "STRLEN {%s}%d", once.tags[a], l->id);
        break;
    case 2:
        s.kind = DEL;
        s.keys[0] = key_id(a, l->id, db);
        s.keys[1] = key_id(b, l->id, db);
        snprintf(text, sizeof(text), "DEL {%s}%d {%s}%d", once.tags[a], l->id, once.tags[b], l->id);
        break;
    case 3:
        plan_transaction(l, once.tags[a], key_id(a, l->id, db));
        return;
    default:
        s.kind = INCR;
        snprintf(text, sizeof(text), "INCR {%s}%d", once.tags[a], who);
    }
    utter(l, text, &s);
}

static bool is_shared(int key)
{
    return key / DBS % (LIVES + 1) == SHARED;
}

static void maybe(int key)
{
    if (key < 0) {
        return;
    }
    once.hi[key]++;
    once.unsure[key]++;
}

static void hear_error(const struct said *s, const char *text)
{
    if (only_seed != 0) {
        print_message("kind %d: %s", s->kind, text);
    }
    once.n_errors++;
    if (strncmp(text, "-UNKNOWNOUTCOME", 15) == 0) {
        once.n_unknown++;
        HOLDS(s->kind != READ);
        HOLDS(once.trims || once.freezes || once.large);
        maybe(s->keys[0]);
        maybe(s->keys[1]);
        return;
    }
    HOLDS(strncmp(text, "-CLUSTERDOWN", 12) == 0 || strncmp(text, "-TRYAGAIN", 9) == 0 ||
          strncmp(text, "-LOADING", 8) == 0);
    if (!once.flaps && !once.freezes && !once.trims && !once.large) {
        /* Only what stood before a write of the same key: a lost read, and a command over two
         * shards that was refused for one of them. */
        HOLDS(s->kind == READ || s->kind == DEL);
        HOLDS(strncmp(text, "-" ERR_OVERTAKEN, 20) == 0);
    }
    if (s->kind == DEL) {
        maybe(s->keys[0]); /* one part may have been done */
        maybe(s->keys[1]);
    }
}

static void hear_value(int key, int v, bool wrote)
{
    if (is_shared(key)) {
        HOLDS(v > 0 && v < LOG_MAX && !once.seen[key][v]);
        once.seen[key][v % LOG_MAX] = 1;
        once.acked[key]++;
        return;
    }
    HOLDS(v >= once.lo[key] + wrote);
    HOLDS(v <= once.hi[key] + wrote);
    once.lo[key] = once.hi[key] = v;
}

static void hear(const struct said *s, const char *text)
{
    int v = 0;
    if (*text == '-') {
        hear_error(s, text);
        return;
    }
    once.n_acked++;
    switch (s->kind) {
    case INCR:
    case READ:
        HOLDS(sscanf(text, ":%d\r\n", &v) == 1);
        hear_value(s->keys[0], v, s->kind == INCR);
        break;
    case DEL:
        HOLDS(strcmp(text, ":2\r\n") == 0);
        for (int i = 0; i < 2; i++) {
            once.lo[s->keys[i]]++;
            once.hi[s->keys[i]]++;
        }
        break;
    case EXEC:
        if (s->watched && strcmp(text, "*-1\r\n") == 0) {
            break;
        }
        HOLDS(sscanf(text, "*1\r\n:%d\r\n", &v) == 1);
        hear_value(s->keys[0], v, true);
        break;
    case MULTI:
    case WATCH:
        HOLDS(strcmp(text, "+OK\r\n") == 0);
        break;
    case QUEUED:
        HOLDS(strcmp(text, "+QUEUED\r\n") == 0);
        break;
    }
}

static void listen_to(struct life *l)
{
    struct resp_skip skip;
    struct str text = {0};
    str_appendz(&text, heard(&l->person));
    size_t at = 0;
    resp_skip_init(&skip);
    while (at < text.len && once.failure[0] == '\0') {
        size_t end = 0;
        char reply[256];
        HOLDS(resp_skip(&skip, slice_of(text.ptr + at, text.len - at), &end) == SKIP_OK);
        HOLDS(l->count > 0);
        snprintf(reply, sizeof(reply), "%.*s", (int)end, text.ptr + at);
        const struct said s = l->expected[l->first];
        l->first = (l->first + 1) % EXPECT_MAX;
        l->count--;
        hear(&s, reply);
        at += end;
    }
    str_fini(&text);
}

/* Who leaves does not know what became of what it had under way. */
static void leave(struct life *l)
{
    for (int i = 0; i < l->count; i++) {
        const struct said *s = &l->expected[(l->first + i) % EXPECT_MAX];
        if (s->kind == INCR || s->kind == EXEC || s->kind == DEL) {
            maybe(s->keys[0]);
            maybe(s->keys[1]);
        }
    }
    person_fini(&l->person);
}

/* --- a run --- */

static bool too_many_wires(void)
{
    return world.n_wires > LANES_MAX - 40;
}

static void step(bool calm)
{
    for (int i = 0; i < PEOPLE; i++) {
        struct life *l = &once.lives[i];
        if (l->again[0] != '\0') {
            utter(l, l->again, &l->again_said);
        } else if ((!calm || l->script_at < l->scripted) && l->count < 24 && dice(2) == 0) {
            say_something(l);
        }
    }
    each_wire(take_some, 2);
    int n = world.n_wires;
    for (int i = 0; i < n; i++) {
        if (dice(2) == 0) {
            serve_some(&once.ends[i], 1 + dice(4));
        }
        release_replies(&once.ends[i]);
    }
    each_wire(hear_some, 2);
    nodes_go_on(calm);
    if (!calm && !too_many_wires() && dice(40) == 0) {
        some_fault();
    }
    if (once.kill_soon > 0 && --once.kill_soon == 0) {
        kill_node(dice(NODES));
    }
    if (dice(15) == 0 || (calm && dice(4) == 0)) {
        publish();
    }
    if (!calm && once.next_id < LIVES && dice(200) == 0) {
        struct life *l = &once.lives[dice(PEOPLE)];
        leave(l);
        be_born(l);
    }
    pass_time(dice(3000));
    for (int i = 0; i < PEOPLE; i++) {
        listen_to(&once.lives[i]);
    }
}

static void begin(uint64_t seed)
{
    memset(&once, 0, sizeof(once));
    once.seed = seed;
    rng_init(&once.rng, seed);
    once.flaps = seed % 4 == 1;
    once.trims = seed % 4 == 2 || seed % 16 == 7;
    once.freezes = seed % 4 == 3;
    once.large = seed % 8 == 4;
    once.lazy = seed % 3 == 0;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world.settings.lanes_announced = true;
    world.settings.retry_max_attempts = 1000;
    world.settings.retry_initial_delay_us = 2000;
    world.settings.request_timeout_us = once.freezes ? 300000 : 5000000;
    world.settings.failover_hold_us = HOLD_US;
    world.settings.client_max_pending = 4 + dice(40);
    world.settings.pinned_max = 100;
    world_start(NODES);
    for (int i = 0; i < SHARDS; i++) {
        snprintf(once.tags[i], sizeof(once.tags[i]), "%s", key_of(i, 0));
        once.shards[i].primary = i % NODES;
    }
    publish();
    for (int i = 0; i < PEOPLE; i++) {
        be_born(&once.lives[i]);
    }
}

static void check_counts(void)
{
    for (int i = 0; i < KEYS; i++) {
        if (is_shared(i)) {
            HOLDS(once.count[i] >= once.acked[i]);
            HOLDS(once.count[i] <= once.acked[i] + once.unsure[i]);
        } else {
            HOLDS(once.count[i] >= once.lo[i]);
            HOLDS(once.count[i] <= once.hi[i]);
        }
    }
}

static void finish_run(void)
{
    bool good = once.failure[0] == '\0';
    for (int i = 0; good && i < PEOPLE; i++) {
        const struct life *l = &once.lives[i];
        HOLDS(l->count == 0);
        HOLDS(l->person.session.held == 0);
        HOLDS(l->person.session.writes_open == 0);
        HOLDS(l->person.session.reads_open == 0);
    }
    if (good) {
        HOLDS(exec_open_requests(world.x) == 0);
        HOLDS(exec_held_requests(world.x) == 0);
        check_counts();
    }
    for (int i = 0; i < PEOPLE; i++) {
        person_fini(&once.lives[i].person);
    }
    world_end();
    for (int i = 0; i < LANES_MAX; i++) {
        str_fini(&once.ends[i].pipe);
        str_fini(&once.ends[i].inbox);
        str_fini(&once.ends[i].outbox);
    }
}

/* Somebody is in the midst of a transaction, or was stopped. */
static bool is_speaking(void)
{
    for (int i = 0; i < PEOPLE; i++) {
        const struct life *l = &once.lives[i];
        if (l->script_at < l->scripted || l->again[0] != '\0') {
            return true;
        }
    }
    return false;
}

/* True: all held; else once.failure tells. */
static bool run_seed(uint64_t seed)
{
    begin(seed);
    for (int i = 0; i < STEPS && once.failure[0] == '\0'; i++) {
        step(too_many_wires() && i % 4 != 0);
    }
    for (int i = 0;
         i < 20000 && (exec_open_requests(world.x) > 0 || is_speaking()) && once.failure[0] == '\0';
         i++) {
        step(true);
    }
    for (int i = 0; i < 100 && once.failure[0] == '\0'; i++) {
        step(true); /* what still lies in cut connections runs */
    }
    finish_run();
    return once.failure[0] == '\0';
}

static uint64_t n_seeds = 400;

static void test_every_write_happens_once(void **state)
{
    (void)state;
    int acked = 0, unknown = 0, replied = 0, resent = 0;
    plant = only_seed != 0 ? plant : PLANT_NOT;
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        if (!run_seed(only_seed != 0 ? only_seed : seed)) {
            fail_msg("%s", once.failure);
        }
        acked += once.n_acked;
        unknown += once.n_unknown;
        if (only_seed != 0) {
            return;
        }
    }
    (void)replied;
    (void)resent;
    print_message("acknowledged=%d unknown=%d\n", acked, unknown);
    assert_true(acked > 100 * (int)n_seeds); /* it was no dead calm */
}

static void test_planted_mistakes_are_found(void **state)
{
    (void)state;
    if (only_seed != 0) {
        return;
    }
    for (int p = PLANT_RESEND; p < PLANTS; p++) {
        uint64_t seed = 1;
        plant = p;
        while (seed < 300 && run_seed(seed)) {
            seed++;
        }
        plant = PLANT_NOT;
        print_message("planted %d: %s\n", p, once.failure);
        assert_true(once.failure[0] != '\0');
    }
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    plant = argc > 2 ? atoi(argv[2]) : PLANT_NOT;
    n_seeds = argc > 3 ? strtoull(argv[3], NULL, 10) : n_seeds;
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_write_happens_once),
        cmocka_unit_test(test_planted_mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
