// SPDX-License-Identifier: BSD-3-Clause
/* A load that remembers: many pipelined connections to a proxy, INCR, SET, SETNX, DEL, APPEND and
 * GET on some hundred keys, values never used twice, and each operation recorded with its times.
 * When it is told to end (SIGTERM, or --seconds) it waits for what is under way, reads every key
 * once more, looks for an order that explains what was seen, key by key, and counts.
 *
 *   load --port P [--host H] [--connections N] [--depth D] [--keys K] [--rate R] [--seconds S]
 *        [--round S] [--async 1]
 *
 * Keys change every --round seconds, so that histories stay short and old data is looked at after
 * many faults. An error reply means that the command was not executed, but for UNKNOWNOUTCOME; what
 * a broken connection had under way is unknown. Prints "name value" lines; ends with 1 if an
 * acknowledged write is lost or a history cannot be explained. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include "tests/support/linear.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX    64
#define ERRORS_MAX   32
#define STEPS_MAX    20000000
#define DRAIN_S      90
#define LAST_READ_S  120
#define RECONNECT_US 50000
#define FAMILIES     4

enum family { COUNTERS, REGISTERS, APPENDED, WON };

struct options {
    const char *host;
    int port;
    int connections;
    int depth;
    int keys; /* of each family, in a round */
    double rate;
    double seconds;
    double round_s;
    bool async;
    uint64_t seed;
};

struct key {
    enum family family;
    char name[32];
    struct linear_op *ops;
    bool *skip; /* of ops: refused, or a read without an answer */
    size_t count;
    size_t cap;
    struct str longest;
    int64_t last; /* of a counter, as read at the end */
    bool last_read;
};

struct pending {
    struct key *key;
    size_t op;
};

struct connection {
    int fd; /* -1: down */
    bool connecting;
    int64_t retry_us;
    struct str out;
    size_t out_sent;
    struct str in;
    struct pending queue[DEPTH_MAX];
    size_t head;
    size_t count;
};

struct load {
    struct options o;
    struct rng rng;
    int64_t began_us;
    int64_t now_us;
    struct connection *connections;
    struct key *keys; /* of all rounds; blocks of FAMILIES * o.keys */
    size_t n_keys;
    uint64_t pieces;
    uint64_t acknowledged;
    uint64_t acknowledged_kind[6];
    uint64_t reads;
    uint64_t unknown;
    uint64_t unknown_told; /* by an error of the proxy */
    uint64_t unknown_kind[6];
    uint64_t refused;
    uint64_t cut; /* connections */
    int64_t longest_us;
    struct {
        char text[48];
        uint64_t count;
    } errors[ERRORS_MAX];
    size_t n_errors;
    bool ending;
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int sig)
{
    (void)sig;
    told_to_end = 1;
}

static int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- keys --- */

static size_t round_of(const struct load *l)
{
    return (size_t)((double)(l->now_us - l->began_us) / 1e6 / l->o.round_s);
}

static struct key *pick_key(struct load *l)
{
    size_t block = (size_t)l->o.keys * FAMILIES;
    size_t want = (round_of(l) + 1) * block;
    while (l->n_keys < want) {
        static const char *const names[] = {"count", "set", "append", "won"};
        struct key *k = &l->keys[l->n_keys];
        *k = (struct key){.family = (enum family)(l->n_keys % FAMILIES)};
        snprintf(k->name, sizeof(k->name), "%s:%zu", names[k->family], l->n_keys);
        l->n_keys++;
    }
    return &l->keys[want - block + rng_below(&l->rng, block)];
}

static size_t add_op(struct key *k, int64_t call, enum linear_kind kind)
{
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 64 : k->cap * 2;
        k->ops = mem_realloc(k->ops, k->cap * sizeof(*k->ops));
        k->skip = mem_realloc(k->skip, k->cap * sizeof(*k->skip));
    }
    k->ops[k->count] = (struct linear_op){.call = call, .ret = LINEAR_NEVER, .kind = kind};
    k->skip[k->count] = kind == LINEAR_GET;
    return k->count++;
}

/* --- sending --- */

static void put_words(struct str *to, const char *const *words, size_t n)
{
    str_printf(to, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++) {
        str_printf(to, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    }
}

static void send_op(struct load *l, struct connection *c, struct key *k, enum linear_kind kind)
{
    char value[32];
    int len = snprintf(value, sizeof(value), "%llx.", (unsigned long long)++l->pieces);
    const char *words[3] = {linear_kind_name(kind), k->name, value};
    bool valued = kind == LINEAR_SET || kind == LINEAR_SETNX || kind == LINEAR_APPEND;
    put_words(&c->out, words, valued ? 3 : 2);
    size_t op = add_op(k, l->now_us * 2, kind);
    k->ops[op].value = linear_bytes(value, (size_t)len);
    c->queue[(c->head + c->count++) % DEPTH_MAX] = (struct pending){k, op};
}

static enum linear_kind pick_kind(struct load *l, enum family f)
{
    static const enum linear_kind kinds[FAMILIES][4] = {
        {LINEAR_INCR, LINEAR_INCR, LINEAR_INCR, LINEAR_GET},
        {LINEAR_SET, LINEAR_SET, LINEAR_GET, LINEAR_GET},
        {LINEAR_APPEND, LINEAR_APPEND, LINEAR_GET, LINEAR_GET},
        {LINEAR_SETNX, LINEAR_SETNX, LINEAR_DEL, LINEAR_GET},
    };
    return kinds[f][rng_below(&l->rng, 4)];
}

/* --- replies --- */

static void count_error(struct load *l, const char *text, size_t len)
{
    size_t word = 0;
    while (word < len && text[word] != ' ' && word < 40) {
        word++;
    }
    for (size_t i = 0; i < l->n_errors; i++) {
        if (strncmp(l->errors[i].text, text, word) == 0 && l->errors[i].text[word] == '\0') {
            l->errors[i].count++;
            return;
        }
    }
    if (l->n_errors < ERRORS_MAX) {
        memcpy(l->errors[l->n_errors].text, text, word);
        l->errors[l->n_errors++].count = 1;
    }
}

static void take_error(struct load *l, struct key *k, size_t op, struct slice text)
{
    count_error(l, text.ptr, text.len);
    bool unknown = text.len >= 14 && memcmp(text.ptr, "UNKNOWNOUTCOME", 14) == 0;
    if (unknown) {
        l->unknown++;
        l->unknown_told += k->ops[op].kind != LINEAR_GET;
        l->unknown_kind[k->ops[op].kind]++;
    } else {
        l->refused++;
        k->skip[op] = true;
    }
}

static void take_value(struct load *l, struct key *k, size_t op, const struct slice *bulk,
                       int64_t number)
{
    struct linear_op *o = &k->ops[op];
    o->ret = l->now_us * 2 + 1;
    o->number = number;
    l->longest_us = MAX(l->longest_us, l->now_us - o->call / 2);
    if (o->kind != LINEAR_GET) {
        l->acknowledged++;
        l->acknowledged_kind[o->kind]++;
        return;
    }
    l->reads++;
    k->skip[op] = false;
    o->value = bulk == NULL ? linear_nil() : linear_bytes(bulk->ptr, bulk->len);
    if (bulk != NULL && k->family == APPENDED && bulk->len > k->longest.len) {
        str_clear(&k->longest);
        str_append_slice(&k->longest, *bulk);
    }
    if (l->ending) {
        k->last_read = true;
        k->last = bulk == NULL ? 0 : strtoll(bulk->ptr, NULL, 10);
    }
}

/* One reply at the front of what came; false: not whole yet. */
static bool take_reply(struct load *l, struct connection *c, size_t *at)
{
    const char *p = c->in.ptr + *at;
    const char *end = memchr(p, '\n', c->in.len - *at);
    if (end == NULL) {
        return false;
    }
    size_t line = (size_t)(end - p) + 1;
    struct slice bulk = {0};
    int64_t number = p[0] == ':' || p[0] == '$' ? strtoll(p + 1, NULL, 10) : 0;
    if (p[0] == '$' && number >= 0) {
        if (c->in.len - *at < line + (size_t)number + 2) {
            return false;
        }
        bulk = slice_of(p + line, (size_t)number);
        line += (size_t)number + 2;
    }
    if (c->count == 0) {
        fprintf(stderr, "a reply to nothing: %.60s\n", p);
        exit(2);
    }
    struct pending d = c->queue[c->head];
    c->head = (c->head + 1) % DEPTH_MAX;
    c->count--;
    if (p[0] == '-') {
        take_error(l, d.key, d.op, slice_of(p + 1, (size_t)(end - p) - 2));
    } else {
        take_value(l, d.key, d.op, p[0] == '$' && number >= 0 ? &bulk : NULL, number);
    }
    *at += line;
    return true;
}

/* --- connections --- */

static void drop(struct load *l, struct connection *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        l->cut += !c->connecting;
    }
    c->fd = -1;
    c->connecting = false;
    c->retry_us = l->now_us + RECONNECT_US;
    for (; c->count != 0; c->count--) {
        struct pending d = c->queue[c->head];
        l->unknown += d.key->ops[d.op].kind != LINEAR_GET;
        c->head = (c->head + 1) % DEPTH_MAX;
    }
    str_clear(&c->out);
    str_clear(&c->in);
    c->out_sent = 0;
}

static void open_connection(struct load *l, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->o.port)};
    inet_pton(AF_INET, l->o.host, &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->connecting = true;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        drop(l, c);
    }
}

static void flush(struct load *l, struct connection *c)
{
    if (c->fd < 0 || c->connecting || c->out_sent == c->out.len) {
        return;
    }
    ssize_t n = send(c->fd, c->out.ptr + c->out_sent, c->out.len - c->out_sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(l, c);
        return;
    }
    c->out_sent += n > 0 ? (size_t)n : 0;
    if (c->out_sent == c->out.len) {
        str_clear(&c->out);
        c->out_sent = 0;
    }
}

static void receive(struct load *l, struct connection *c)
{
    char *room = str_reserve(&c->in, 64 * 1024);
    ssize_t n = recv(c->fd, room, 64 * 1024, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        drop(l, c);
        return;
    }
    if (n < 0) {
        return;
    }
    c->in.len += (size_t)n;
    size_t at = 0;
    while (at < c->in.len && take_reply(l, c, &at)) {
    }
    memmove(c->in.ptr, c->in.ptr + at, c->in.len - at);
    c->in.len -= at;
}

/* Waits for what comes, at most so long. */
static void turn(struct load *l, int wait_ms)
{
    struct pollfd *polls = mem_alloc(sizeof(*polls) * (size_t)l->o.connections);
    for (int i = 0; i < l->o.connections; i++) {
        struct connection *c = &l->connections[i];
        if (c->fd < 0 && l->now_us >= c->retry_us) {
            open_connection(l, c);
        }
        bool writes = c->connecting || c->out.len != c->out_sent;
        polls[i] = (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
    }
    poll(polls, (nfds_t)l->o.connections, wait_ms);
    l->now_us = clock_us();
    for (int i = 0; i < l->o.connections; i++) {
        struct connection *c = &l->connections[i];
        if (c->fd < 0 || polls[i].revents == 0) {
            continue;
        }
        if (c->connecting) {
            int err = 0;
            socklen_t len = sizeof(err);
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
            if (err != 0) {
                drop(l, c);
            } else if (polls[i].revents & POLLOUT) {
                c->connecting = false;
            }
            continue;
        }
        if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) {
            receive(l, c);
        }
        flush(l, c);
    }
    mem_free(polls);
}

static size_t under_way(const struct load *l)
{
    size_t n = 0;
    for (int i = 0; i < l->o.connections; i++) {
        n += l->connections[i].count;
    }
    return n;
}

/* --- the run --- */

static void run(struct load *l)
{
    double tokens = 0;
    int64_t last = l->now_us;
    while (!told_to_end &&
           (l->o.seconds <= 0 || (double)(l->now_us - l->began_us) < l->o.seconds * 1e6)) {
        tokens = MIN(tokens + (double)(l->now_us - last) / 1e6 * l->o.rate, l->o.rate / 4);
        last = l->now_us;
        int at = (int)rng_below(&l->rng, (uint64_t)l->o.connections);
        for (int i = 0; i < l->o.connections; i++) {
            struct connection *c = &l->connections[(at + i) % l->o.connections];
            if (c->fd < 0 || c->connecting) {
                continue;
            }
            while (tokens >= 1 && c->count < (size_t)l->o.depth) {
                struct key *k = pick_key(l);
                send_op(l, c, k, pick_kind(l, k->family));
                tokens -= 1;
            }
            flush(l, c);
        }
        turn(l, 1);
    }
    told_to_end = 0;
    int64_t until = l->now_us + DRAIN_S * 1000000ll;
    while (under_way(l) != 0 && l->now_us < until) {
        turn(l, 20);
    }
}

/* Every key once more, again until it is answered. */
static size_t last_reads(struct load *l)
{
    l->ending = true;
    int64_t until = l->now_us + LAST_READ_S * 1000000ll;
    size_t left = l->n_keys;
    for (bool first = true; left != 0 && l->now_us < until; first = false) {
        for (size_t i = 0; i < l->n_keys; i++) {
            struct key *k = &l->keys[i];
            for (int j = 0; !k->last_read && j < l->o.connections; j++) {
                struct connection *c = &l->connections[(i + (size_t)j) % (size_t)l->o.connections];
                if (c->fd >= 0 && !c->connecting && c->count < DEPTH_MAX / 2) {
                    send_op(l, c, k, LINEAR_GET);
                    break;
                }
            }
            if (i % 64 == 63) {
                turn(l, 0);
            }
        }
        int64_t patience = l->now_us + 15000000ll;
        while (under_way(l) != 0 && l->now_us < patience) {
            turn(l, 20);
        }
        left = 0;
        for (size_t i = 0; i < l->n_keys; i++) {
            left += !l->keys[i].last_read;
        }
        if (left != 0 && !first) {
            turn(l, 200);
        }
    }
    return left;
}

/* Acknowledged increments and pieces that are not there. */
static uint64_t count_lost(const struct key *k)
{
    if (k->family == COUNTERS) {
        int64_t sure = 0;
        for (size_t i = 0; i < k->count; i++) {
            sure += k->ops[i].kind == LINEAR_INCR && k->ops[i].ret != LINEAR_NEVER;
        }
        return sure > k->last ? (uint64_t)(sure - k->last) : 0;
    }
    if (k->family != APPENDED) {
        return 0;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < k->count; i++) {
        bytes += k->ops[i].kind == LINEAR_APPEND && k->ops[i].ret != LINEAR_NEVER
                     ? k->ops[i].value.len
                     : 0;
    }
    return bytes > k->longest.len ? (bytes - k->longest.len + 5) / 6 : 0;
}

static bool explain(const struct load *l, size_t *broken, size_t *undecided, uint64_t *lost)
{
    for (size_t i = 0; i < l->n_keys; i++) {
        const struct key *k = &l->keys[i];
        *lost += count_lost(k);
        if (l->o.async) {
            continue;
        }
        struct linear_op *ops = mem_alloc((k->count + 1) * sizeof(*ops));
        size_t n = 0;
        for (size_t j = 0; j < k->count; j++) {
            if (!k->skip[j]) {
                ops[n++] = k->ops[j];
            }
        }
        struct linear_report r;
        enum linear_verdict v =
            linear_check(ops, n, str_cstr(&k->longest), k->longest.len, STEPS_MAX, &r);
        *undecided += v == LINEAR_UNDECIDED;
        if (v == LINEAR_BROKEN) {
            const struct linear_op *o = &ops[r.stuck];
            int64_t called_us = o->call / 2 - l->began_us;
            int64_t answered_us = o->ret / 2 - l->began_us;
            printf("# %s: no order explains %s called at %.6f s, answered %.6f s (%lld)\n", k->name,
                   linear_kind_name(o->kind), (double)called_us / 1e6, (double)answered_us / 1e6,
                   (long long)o->number);
            (*broken)++;
        }
        mem_free(ops);
    }
    return *broken == 0 && (l->o.async || *lost == 0);
}

static bool read_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.host = "127.0.0.1",
                          .connections = 20,
                          .depth = 8,
                          .keys = 25,
                          .rate = 3000,
                          .round_s = 30,
                          .seed = (uint64_t)clock_us()};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *n = argv[i];
        const char *v = argv[i + 1];
        if (strcmp(n, "--host") == 0) {
            o->host = v;
        } else if (strcmp(n, "--port") == 0) {
            o->port = atoi(v);
        } else if (strcmp(n, "--connections") == 0) {
            o->connections = atoi(v);
        } else if (strcmp(n, "--depth") == 0) {
            o->depth = atoi(v);
        } else if (strcmp(n, "--keys") == 0) {
            o->keys = atoi(v);
        } else if (strcmp(n, "--rate") == 0) {
            o->rate = strtod(v, NULL);
        } else if (strcmp(n, "--seconds") == 0) {
            o->seconds = strtod(v, NULL);
        } else if (strcmp(n, "--round") == 0) {
            o->round_s = strtod(v, NULL);
        } else if (strcmp(n, "--async") == 0) {
            o->async = atoi(v) != 0;
        } else {
            return false;
        }
    }
    return o->port > 0 && o->connections > 0 && o->depth > 0 && o->depth <= DEPTH_MAX / 2 &&
           o->keys > 0;
}

static void print_counts(const struct load *l)
{
    printf("acknowledged %llu\n", (unsigned long long)l->acknowledged);
    for (int k = LINEAR_SET; k <= LINEAR_INCR; k++) {
        printf("acknowledged-%s %llu\n", linear_kind_name((enum linear_kind)k),
               (unsigned long long)l->acknowledged_kind[k]);
    }
    for (int k = LINEAR_SET; k <= LINEAR_INCR; k++) {
        printf("unknown-of-%s %llu\n", linear_kind_name((enum linear_kind)k),
               (unsigned long long)l->unknown_kind[k]);
    }
    printf("reads %llu\n", (unsigned long long)l->reads);
    printf("unknown %llu\n", (unsigned long long)l->unknown);
    printf("unknown-told %llu\n", (unsigned long long)l->unknown_told);
    printf("refused %llu\n", (unsigned long long)l->refused);
    printf("connections-cut %llu\n", (unsigned long long)l->cut);
    printf("longest-ms %lld\n", (long long)l->longest_us / 1000);
    for (size_t i = 0; i < l->n_errors; i++) {
        printf("error-%s %llu\n", l->errors[i].text, (unsigned long long)l->errors[i].count);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    struct load *l = &load;
    if (!read_options(argc, argv, &l->o)) {
        fprintf(stderr, "usage: load --port P [--host H] [--connections N] [--depth D] [--keys K] "
                        "[--rate R] [--seconds S] [--round S] [--async 1]\n");
        return 2;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    rng_init(&l->rng, l->o.seed);
    l->now_us = l->began_us = clock_us();
    l->keys = mem_zalloc(sizeof(*l->keys) * (size_t)l->o.keys * FAMILIES * 4096);
    l->connections = mem_zalloc(sizeof(*l->connections) * (size_t)l->o.connections);
    for (int i = 0; i < l->o.connections; i++) {
        l->connections[i].fd = -1;
    }
    run(l);
    size_t unread = last_reads(l);
    size_t broken = 0;
    size_t undecided = 0;
    uint64_t lost = 0;
    bool good = explain(l, &broken, &undecided, &lost) && unread == 0;
    print_counts(l);
    printf("keys %zu\nkeys-unread %zu\nkeys-broken %zu\nkeys-undecided %zu\nlost %llu\n", l->n_keys,
           unread, broken, undecided, (unsigned long long)lost);
    printf("verdict %s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
