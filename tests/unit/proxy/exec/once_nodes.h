// SPDX-License-Identifier: BSD-3-Clause
/* Of once_test.c, which alone includes it: the model nodes, whose shards have a log with a
 * committed prefix, what their connections carry, and the state of a run. It comes before
 * the proxy's sources, which look at `PLANTED`. */
#pragma once

#include "common/base/num.h"

#include "tests/unit/proxy/exec/world.h"

#include <stdlib.h>

/* The mistake of this run. */
static int plant;
#define PLANTED(what) (plant == (what))
enum { PLANT_NOT, PLANT_RESEND, PLANT_SELECT, PLANT_FENCE, PLANT_COMMIT, PLANT_TRIM, PLANTS };

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
