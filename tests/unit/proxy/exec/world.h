// SPDX-License-Identifier: BSD-3-Clause
/* An exec on lanes made of memory: tests see what was sent to which node, answer for the nodes,
 * break connections and move the time. */
#pragma once

#include "proxy/exec/exec.h"
#include "proxy/exec/lane.h"
#include "proxy/exec/local.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/cmd/command.h"
#include "common/cmd/slot.h"
#include "common/resp/parse.h"
#include "common/resp/write.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define LANES_MAX 512
#define SHARDS    4

struct wire {
    struct lane *lane; /* NULL: closed */
    struct outbuf out;
    struct str sent; /* what "the socket" took */
};

static struct world {
    struct exec *x;
    struct wire wires[LANES_MAX];
    int n_wires;
    int64_t now_us;
    int64_t wake_us;
    int resumed;
    int closed;
    int refused;
    struct local_table *local;
    struct exec_settings settings;
} world;

struct person {
    struct session session;
    struct outbuf out;
};

static struct wire *wire_of(const struct lane *l)
{
    return l->io;
}

static void fake_open(void *back, struct lane *l)
{
    (void)back;
    assert_true(world.n_wires < LANES_MAX);
    struct wire *w = &world.wires[world.n_wires++];
    *w = (struct wire){.lane = l};
    l->io = w;
    l->out = &w->out;
}

static void fake_flush(void *back, struct lane *l)
{
    (void)back;
    (void)l;
}

static void fake_close(void *back, struct lane *l)
{
    (void)back;
    wire_of(l)->lane = NULL;
    outbuf_fini(&wire_of(l)->out);
    l->io = NULL;
}

static uint64_t fake_written(void *back, const struct lane *l)
{
    (void)back;
    return wire_of(l)->sent.len;
}

static void fake_session(void *front, struct session *s)
{
    (void)front;
    (void)s;
}

static void fake_resume(void *front, struct session *s)
{
    (void)front;
    (void)s;
    world.resumed++;
}

static void fake_session_close(void *front, struct session *s)
{
    (void)front;
    (void)s;
    world.closed++;
}

static void fake_wake(void *front, int64_t at_us)
{
    (void)front;
    world.wake_us = at_us;
}

static void fake_refused(void *back, const char *node_id, const char *answer)
{
    (void)answer;
    (void)back;
    (void)node_id;
    world.refused++;
}

static const struct exec_port fake_port = {.lane_open = fake_open,
                                           .lane_flush = fake_flush,
                                           .lane_close = fake_close,
                                           .lane_written = fake_written,
                                           .session_flush = fake_session,
                                           .session_resume = fake_resume,
                                           .session_close = fake_session_close,
                                           .session_over = fake_session,
                                           .session_http = fake_session_close,
                                           .wake_at = fake_wake,
                                           .refused = fake_refused};

/* Nodes 0..n-1; shard i belongs to node i % n, the next one is an in-sync replica if asked for. */
static struct map *map_of(int n, bool replicas)
{
    struct map *m = map_build_new(SHARDS, "0123456789012345678901234567890123456789");
    for (int i = 0; i < n; i++) {
        struct map_node node = {.port = 7000 + i, .weight = 100, .state = NODE_HEALTHY};
        memset(node.id, 'a' + i, NODE_ID_LEN);
        snprintf(node.host, sizeof(node.host), "127.0.0.1");
        (void)map_build_add_node(m, &node);
    }
    for (int i = 0; i < SHARDS; i++) {
        struct map_shard *s = &m->shards[i];
        assert_true(map_build_add_member(s, i % n));
        map_build_set_primary(s, i % n);
        if (replicas && n > 1) {
            int replica = (i + 1) % n;
            assert_true(map_build_add_member(s, replica));
            struct map_member *member = &s->members[map_shard_member(s, replica)];
            member->state = REPLICA_ACTIVE;
            member->in_sync = true;
        }
    }
    m->assigned = true;
    return m;
}

static void give_map(struct map *m)
{
    exec_set_map(world.x, m);
}

__attribute__((unused)) static inline void lose_shard(struct map *m, int shard)
{
    m->shards[shard].primary = NODE_NONE;
}

static void world_begin(void)
{
    world = (struct world){.now_us = 1000000};
    world.settings = (struct exec_settings){.read_from = READ_LEAST_LOADED,
                                            .retry_max_attempts = 3,
                                            .retry_initial_delay_us = 10000,
                                            .retry_max_delay_us = 100000,
                                            .retry_backoff_percent = 200,
                                            .request_timeout_us = 5000000,
                                            .failover_hold_us = 2000000,
                                            .hold_max_requests = 100,
                                            .hold_max_bytes = 1 << 20,
                                            .lane_max_in_flight = 1000,
                                            .lane_max_bytes = 1 << 20,
                                            .client_max_pending = 100,
                                            .pinned_max = 4,
                                            .databases = 16};
    world.local = local_table_new();
}

/* After local commands were added. */
static void world_start(int nodes)
{
    world.x = exec_new(&fake_port, world.local, &world.settings, 42);
    exec_set_now(world.x, world.now_us);
    if (nodes > 0) {
        give_map(map_of(nodes, false));
    }
}

static inline void world_setup(int nodes)
{
    world_begin();
    world_start(nodes);
}

static void world_end(void)
{
    exec_free(&world.x);
    local_table_free(&world.local);
    for (int i = 0; i < world.n_wires; i++) {
        assert_null(world.wires[i].lane);
        str_fini(&world.wires[i].sent);
    }
}

static inline void pass_time(int64_t us)
{
    world.now_us += us;
    exec_set_now(world.x, world.now_us);
    exec_tick(world.x);
}

static void person_init(struct person *p)
{
    *p = (struct person){0};
    session_init(&p->session, 1, &p->out);
    p->session.authenticated = true;
}

static void person_fini(struct person *p)
{
    exec_session_gone(world.x, &p->session);
    session_fini(&p->session);
    outbuf_fini(&p->out);
}

/* One command, words separated by blanks. */
static inline enum exec_verdict say(struct person *p, const char *text)
{
    struct slice argv[64];
    size_t argc = 0;
    char *copy = mem_strdup(text);
    char *rest = copy;
    char *word;
    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        argv[argc++] = slice_str(word);
    }
    struct outbuf o = {0};
    resp_request(&o, argv, argc);
    struct iovec iov[4];
    int n = outbuf_iovec(&o, iov, 4);
    assert_int_equal(n, 1);
    struct chunk *c = chunk_new(iov[0].iov_len);
    memcpy(c->data, iov[0].iov_base, iov[0].iov_len);
    c->len = iov[0].iov_len;
    outbuf_fini(&o);
    mem_free(copy);
    struct resp_parser parser;
    resp_parser_init(&parser);
    assert_int_equal(resp_parse(&parser, slice_of(c->data, c->len)), RESP_OK);
    const struct exec_input in = {
        .argv = parser.argv, .argc = parser.argc, .chunk = c, .bytes = c->data, .len = c->len};
    enum exec_verdict v = exec_command(world.x, &p->session, &in);
    resp_parser_fini(&parser);
    chunk_unref(&c);
    return v;
}

/* Everything in an outbuf, taken out; valid until the next call. */
static inline const char *drain(struct outbuf *o, struct str *also)
{
    static struct str text;
    struct iovec iov[64];
    str_clear(&text);
    while (o->bytes > 0) {
        int n = outbuf_iovec(o, iov, 64);
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            str_append(&text, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        outbuf_consume(o, taken);
    }
    if (also != NULL) {
        str_append(also, text.ptr, text.len);
    }
    return str_cstr(&text);
}

/* What a person has been answered since the last look. */
__attribute__((unused)) static inline const char *heard(struct person *p)
{
    return drain(&p->out, NULL);
}

/* The open wire to that node; NULL: none. */
static inline struct wire *find_wire(int node, enum lane_kind kind)
{
    for (int i = world.n_wires - 1; i >= 0; i--) {
        struct wire *w = &world.wires[i];
        if (w->lane != NULL && w->lane->target->id[0] == 'a' + node && w->lane->kind == kind) {
            return w;
        }
    }
    return NULL;
}

static inline struct wire *wire_to(int node, enum lane_kind kind)
{
    struct wire *w = find_wire(node, kind);
    assert_non_null(w);
    return w;
}

/* The socket takes what is there; returned as words: "SET a 1;GET b;". */
static inline const char *sent(struct wire *w)
{
    static struct str words;
    struct resp_parser parser;
    const char *bytes = drain(&w->out, &w->sent);
    if (w->lane != NULL && w->lane->state == LANE_CONNECTING) {
        exec_lane_up(world.x, w->lane);
    }
    struct slice rest = slice_str(bytes);
    str_clear(&words);
    resp_parser_init(&parser);
    while (rest.len > 0) {
        assert_int_equal(resp_parse(&parser, rest), RESP_OK);
        for (uint32_t i = 0; i < parser.argc; i++) {
            str_append_slice(&words, parser.argv[i]);
            str_append_char(&words, i + 1 < parser.argc ? ' ' : ';');
        }
        rest = slice_of(rest.ptr + parser.used, rest.len - parser.used);
    }
    resp_parser_fini(&parser);
    return str_cstr(&words);
}

/* The node answers. False: exec finds that this is no RESP. */
__attribute__((unused)) static inline bool answer(struct wire *w, const char *bytes)
{
    size_t want;
    INVARIANT(w != NULL);
    struct chunk *c = chunk_new(strlen(bytes) + 1);
    memcpy(c->data, bytes, strlen(bytes));
    c->len = strlen(bytes);
    size_t used = exec_replies(world.x, w->lane, c, slice_of(c->data, c->len), &want);
    bool good = used != SIZE_MAX;
    assert_true(!good || used == c->len);
    chunk_unref(&c);
    return good;
}

/* The connection breaks; what was not yet sent never left. */
__attribute__((unused)) static inline void snap(struct wire *w, enum lane_end how)
{
    struct lane *l = w->lane;
    uint64_t written = w->sent.len;
    w->lane = NULL;
    outbuf_fini(&w->out);
    l->io = NULL;
    exec_lane_down(world.x, l, how, written);
}

/* A key of that shard: "k<n>". */
__attribute__((unused)) static inline const char *key_of(int shard, int which)
{
    static char keys[8][16];
    static int next;
    char *to = keys[next++ % 8];
    for (int i = 0; i < 100000; i++) {
        snprintf(to, sizeof(keys[0]), "k%d", i);
        if ((int)slot_to_shard(slot_of(slice_str(to)), SHARDS) == shard && which-- == 0) {
            return to;
        }
    }
    return NULL;
}

#define HEARD(p, ...)                                                                              \
    do {                                                                                           \
        char want_[1024];                                                                          \
        snprintf(want_, sizeof(want_), __VA_ARGS__);                                               \
        assert_string_equal(heard(p), want_);                                                      \
    } while (0)
#define SAY(p, ...)                                                                                \
    do {                                                                                           \
        char text_[512];                                                                           \
        snprintf(text_, sizeof(text_), __VA_ARGS__);                                               \
        assert_int_equal(say((p), text_), EXEC_TAKEN);                                             \
    } while (0)
#define SAY_STOPS(p, ...)                                                                          \
    do {                                                                                           \
        char text_[512];                                                                           \
        snprintf(text_, sizeof(text_), __VA_ARGS__);                                               \
        assert_int_equal(say((p), text_), EXEC_STOP);                                              \
    } while (0)
#define SENT(w, ...)                                                                               \
    do {                                                                                           \
        char want_[512];                                                                           \
        snprintf(want_, sizeof(want_), __VA_ARGS__);                                               \
        assert_string_equal(sent(w), want_);                                                       \
    } while (0)
