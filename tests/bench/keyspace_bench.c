// SPDX-License-Identifier: BSD-3-Clause
/* The keyspace and its commands without sockets: nanoseconds per SET and GET, parsing and replying
 * included, at several pipeline depths, and bytes per key. No pass mark: to be read, or run under
 * perf.
 *
 *   make build/release/keyspace_bench && build/release/keyspace_bench [keys] [operations]
 * [pipeline] [plain]: nothing is logged then */
#include "node/cmd/apply.h"
#include "node/keyspace/effect.h"
#include "node/log/backlog.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/cmd/slot.h"
#include "common/resp/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SHARDS = 128, PREFETCH = 16, ROUND = 4096 };

struct bench {
    struct keyspace *ks;
    struct call_table table;
    struct session session;
    struct rng rng;
    struct outbuf out;
    struct resp_parser parsers[PREFETCH];
    uint64_t keys;
    /* "logged": what commands did goes to a backlog; "applied": from there into a copy, too */
    struct backlog *log;
    uint64_t versions[SHARDS];
    uint64_t lane;
    struct keyspace *copy;
    struct applier applier;
    struct str frame;
    bool looked; /* ahead in the frame */
};

static void take_entry(void *arg, struct entry *e)
{
    struct bench *b = arg;
    e->term = 1;
    e->version = ++b->versions[e->shard];
    backlog_add(b->log, e, 0);
    if (b->copy != NULL) {
        char *to = str_reserve(&b->frame, entry_size(e));
        entry_write(to, e);
        b->frame.len += entry_size(e);
    }
}

static bool frame_once(void *arg, struct slice *entries)
{
    struct bench *b = arg;
    *entries = str_slice(&b->frame);
    bool first = !b->looked;
    b->looked = true;
    return first && entries->len > 0;
}

/* What came of a batch, as from a link. */
static void apply_frame(struct bench *b)
{
    struct slice left = str_slice(&b->frame);
    b->looked = false;
    apply_ahead(&b->applier, b->copy, frame_once, b);
    while (left.len > 0) {
        struct entry e;
        size_t len = entry_read_trusted(left.ptr, &e);
        left = slice_of(left.ptr + len, left.len - len);
        if (!apply_entry(&b->applier, b->copy, &e)) {
            abort();
        }
    }
    str_clear(&b->frame);
}

static void take_touch(void *arg, uint32_t shard, uint64_t hash)
{
    (void)arg;
    (void)shard;
    (void)hash;
}

static void take_touch_all(void *arg, uint32_t shard)
{
    (void)arg;
    (void)shard;
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Requests as a client would send them, made before the clock starts. */
struct requests {
    char *bytes;
    size_t len;
    size_t ends[ROUND + 1]; /* of each batch */
    size_t batches;
};

static void make_requests(struct bench *b, struct requests *r, bool set, size_t value_len,
                          int pipeline, uint64_t *sequence)
{
    r->len = 0;
    r->batches = 0;
    for (int i = 1; i <= ROUND; i++) {
        char *to = r->bytes + r->len;
        uint64_t key = sequence != NULL ? (*sequence)++ : rng_below(&b->rng, b->keys);
        int len = set ? sprintf(to, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012lu\r\n$%zu\r\n",
                                (unsigned long)key, value_len)
                      : sprintf(to, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012lu\r\n", (unsigned long)key);
        if (set) {
            memset(to + len, 'x', value_len);
            if (value_len == 8) {
                len += sprintf(to + len, "%08lu", (unsigned long)(key % 90000000 + 10000000));
            } else {
                len += (int)value_len;
            }
            memcpy(to + len, "\r\n", 2);
            len += 2;
        }
        r->len += (size_t)len;
        if (i % pipeline == 0 || i == ROUND) {
            r->ends[r->batches++] = r->len;
        }
    }
}

/* As the server does: parse some, prefetch, run. */
static void run_batch(struct bench *b, struct slice unread, int64_t now_ms, bool prefetch)
{
    struct call calls[PREFETCH];
    char error[COMMAND_ERROR_MAX];
    while (unread.len > 0) {
        size_t n = 0;
        while (n < PREFETCH && unread.len > 0) {
            struct resp_parser *p = &b->parsers[n];
            if (resp_parse(p, unread) != RESP_OK) {
                abort();
            }
            unread = slice_of(unread.ptr + p->used, unread.len - p->used);
            struct call *c = &calls[n++];
            *c = (struct call){.argv = p->argv,
                               .argc = p->argc,
                               .w = {.out = &b->out, .proto = 2},
                               .session = &b->session,
                               .ks = b->ks,
                               .rng = &b->rng,
                               .now_ms = now_ms,
                               .lane = b->lane,
                               .number = n,
                               .cmd = command_resolve(p->argv, p->argc, error)};
            uint32_t key = c->cmd->key_single;
            int slot = slot_of(c->argv[key]);
            if (!keyspace_holds(b->ks, slot)) {
                abort();
            }
            if (prefetch) {
                call_prefetch_bucket(c, key, slot);
            }
        }
        for (size_t i = 0; prefetch && i < n; i++) {
            call_prefetch_object(&calls[i]);
        }
        for (size_t i = 0; i < n; i++) {
            call_run(&b->table, &calls[i]);
        }
        if (b->copy != NULL) {
            apply_frame(b);
        }
    }
    outbuf_consume(&b->out, b->out.bytes);
}

static void measure(struct bench *b, const char *what, bool set, size_t value_len, int pipeline,
                    uint64_t operations, uint64_t *sequence)
{
    struct requests r = {.bytes = mem_alloc(ROUND * (value_len + 128))};
    double all = 0;
    for (uint64_t done = 0; done < operations; done += ROUND) {
        make_requests(b, &r, set, value_len, pipeline, sequence);
        double start = cpu_ns();
        for (size_t i = 0; i < r.batches; i++) {
            size_t from = i == 0 ? 0 : r.ends[i - 1];
            run_batch(b, slice_of(r.bytes + from, r.ends[i] - from),
                      1700000000000 + (int64_t)(done / 1000), pipeline > 1);
        }
        all += cpu_ns() - start;
    }
    uint64_t rounds = (operations + ROUND - 1) / ROUND;
    printf("%-21s %4zu B  pipeline %2d  %5.0f ns/op\n", what, value_len, pipeline,
           all / (double)(rounds * ROUND));
    mem_free(r.bytes);
}

/* The same with what it costs to tell replicas; pipeline 16. */
static void measure_logged(struct bench *b, size_t value_len, uint64_t operations)
{
    struct effect_sink sink = {
        .arg = b, .entry = take_entry, .touched = take_touch, .touched_all = take_touch_all};
    b->log = backlog_new(SHARDS, 16 << 20);
    for (int i = 0; i < SHARDS; i++) {
        backlog_open(b->log, i, b->versions[i], INT64_MIN);
    }
    b->ks->collector = collector_new(&sink);
    measure(b, "SET logged", true, value_len, 16, operations, NULL);
    measure(b, "GET logged", false, value_len, 16, operations, NULL);
    b->lane = 7;
    measure(b, "SET logged, by a lane", true, value_len, 16, operations, NULL);
    b->lane = 0;
    b->copy = keyspace_new(SHARDS, 16, 54321);
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(b->copy, i);
    }
    applier_init(&b->applier, &b->table);
    measure(b, "SET logged, applied", true, value_len, 16, operations, NULL);
    applier_fini(&b->applier);
    collector_free(&b->ks->collector);
    backlog_free(&b->log);
    keyspace_free(&b->copy);
    str_fini(&b->frame);
}

int main(int argc, char **argv)
{
    struct bench b = {.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000};
    uint64_t operations = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    int only = argc > 3 ? atoi(argv[3]) : 0;
    b.ks = keyspace_new(SHARDS, 16, 12345);
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(b.ks, i);
    }
    call_table_data(&b.table);
    session_init(&b.session);
    rng_init(&b.rng, 1);
    for (size_t i = 0; i < PREFETCH; i++) {
        resp_parser_init(&b.parsers[i]);
    }
    static const size_t sizes[] = {8, 64};
    static const int pipelines[] = {1, 16, 64};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        size_t before = mem_used();
        uint64_t sequence = 0;
        measure(&b, "SET new", true, sizes[s], 16, b.keys, &sequence);
        printf("%zu B values: %.1f bytes/key\n", sizes[s],
               (double)(mem_used() - before) / (double)keyspace_keys(b.ks, 0));
        for (size_t i = 0; i < ARRAY_LEN(pipelines); i++) {
            if (only != 0 && only != pipelines[i]) {
                continue;
            }
            measure(&b, "SET", true, sizes[s], pipelines[i], operations, NULL);
            measure(&b, "GET", false, sizes[s], pipelines[i], operations, NULL);
        }
        if (argc <= 4) {
            measure_logged(&b, sizes[s], operations);
        }
        keyspace_flush(b.ks, -1, KEYSPACE_SERVED, false, 0);
    }
    keyspace_free(&b.ks);
    outbuf_fini(&b.out);
    return 0;
}
