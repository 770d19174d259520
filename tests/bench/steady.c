// SPDX-License-Identifier: BSD-3-Clause
/* A steady mixed load, for what a hand-over costs those who use the cluster meanwhile: operations
 * are due at a fixed rate, whatever became of those before, and an operation's time counts from
 * when it was due: so a pause is felt by all that would have been sent in it.
 *
 *   steady --port P [--mb MEGABYTES] --fill 1
 *   steady --port P [--mb MEGABYTES] [--rate R] [--connections N]
 *
 * The data: half of it strings of 100 to 1900 bytes, a fifth strings of 100 to 300 KB, a tenth
 * strings of 10 MB, a fifth hashes, sets, sorted sets, lists and streams of some 10 MB each. The
 * load: nine in ten operations concern small strings and counters, one in twelve an element (a few
 * bytes) of a large value, the others fetch or replace a string of 100 to 300 KB.
 *
 * "mark" on its input prints what was since the last mark, as "name=value" words and lines of the
 * slowest operations, and begins anew; "end" waits for what is under way, reads the counters and
 * ends with 1 if one of them is not the number of its acknowledged increments. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/resp/skip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX   1024
#define ERRORS_MAX  16
#define SLOW_KEPT   8
#define COUNTERS    1000
#define ELEMENTS    100000
#define HUGE_BYTES  10000000
#define FILL_BYTES  ((size_t)1 << 20) /* under way */
#define BUCKETS     1024
#define BUCKET_BITS 5       /* 32 a power of two: 3% */
#define LARGE       "large" /* operations that carry much: counted apart */

struct options {
    int port;
    int connections;
    double rate;
    size_t mb;
    bool fill;
};

struct op {
    int64_t due_us;
    const char *what;
    uint32_t key;
    bool large;
    bool counts;
};

struct connection {
    int fd;
    struct str out;
    size_t out_sent;
    struct str in;
    struct resp_skip skip;
    struct op queue[DEPTH_MAX];
    size_t head;
    size_t count;
};

struct tally {
    uint64_t buckets[BUCKETS];
    uint64_t count;
    int64_t max_us;
};

struct slow {
    struct op op;
    int64_t at_us;
    int64_t took_us;
};

struct steady {
    struct options o;
    struct rng rng;
    int64_t now_us;
    int64_t marked_us;
    struct connection *connections;
    struct tally small;
    struct tally large;
    int64_t late_us_max; /* this process itself was */
    struct slow slow[SLOW_KEPT];
    struct {
        char text[200];
        uint64_t count;
    } errors[ERRORS_MAX];
    size_t n_errors;
    uint64_t counted[COUNTERS];
    int64_t *reads; /* where replies to the last reads of the counters go */
    size_t n_reads;
    struct str value;
    uint64_t written;
};

static int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- what there is --- */

static uint32_t n_small(const struct steady *s)
{
    return (uint32_t)(s->o.mb * 500);
}

static uint32_t n_middle(const struct steady *s)
{
    return (uint32_t)s->o.mb;
}

static uint32_t n_huge(const struct steady *s)
{
    return (uint32_t)MAX(s->o.mb / 100, (size_t)1);
}

/* Of each type. */
static uint32_t n_collections(const struct steady *s)
{
    return (uint32_t)MAX(s->o.mb / 250, (size_t)1);
}

static uint32_t below(struct steady *s, uint32_t n)
{
    return (uint32_t)rng_below(&s->rng, n);
}

/* --- commands --- */

static void begin(struct str *to, int words)
{
    str_printf(to, "*%d\r\n", words);
}

static void put(struct str *to, const char *bytes, size_t len)
{
    str_printf(to, "$%zu\r\n", len);
    str_append(to, bytes, len);
    str_append(to, "\r\n", 2);
}

static void word(struct str *to, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void word(struct str *to, const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    put(to, text, (size_t)len);
}

/* Bytes that differ from each other, of that length. */
static void value(struct steady *s, struct str *to, size_t len)
{
    put(to, s->value.ptr + below(s, (uint32_t)(s->value.len - len)), len);
}

static struct op get_small(struct steady *s, struct str *to)
{
    struct op op = {.what = "GET small", .key = below(s, n_small(s))};
    begin(to, 2);
    word(to, "GET");
    word(to, "small:%u", op.key);
    return op;
}

static void put_string(struct steady *s, struct str *to, const char *name, uint32_t key, size_t len)
{
    begin(to, 3);
    word(to, "SET");
    word(to, "%s:%u", name, key);
    value(s, to, len);
}

static void put_small(struct steady *s, struct str *to, uint32_t key)
{
    put_string(s, to, "small", key, 100 + below(s, 1800));
}

static struct op set_small(struct steady *s, struct str *to)
{
    struct op op = {.what = "SET small", .key = below(s, n_small(s))};
    put_small(s, to, op.key);
    return op;
}

static struct op count(struct steady *s, struct str *to)
{
    struct op op = {.what = "INCR", .key = below(s, COUNTERS), .counts = true};
    begin(to, 2);
    word(to, "INCR");
    word(to, "count:%u", op.key);
    return op;
}

static void put_middle(struct steady *s, struct str *to, uint32_t key)
{
    put_string(s, to, "middle", key, 100000 + below(s, 200000));
}

static struct op middle(struct steady *s, struct str *to)
{
    struct op op = {.what = "SET middle", .key = below(s, n_middle(s)), .large = true};
    if (below(s, 4) == 0) {
        put_middle(s, to, op.key);
        return op;
    }
    op.what = "GET middle";
    begin(to, 2);
    word(to, "GET");
    word(to, "middle:%u", op.key);
    return op;
}

static struct op range(struct steady *s, struct str *to)
{
    struct op op = {.what = "GETRANGE huge", .key = below(s, n_huge(s))};
    uint32_t at = below(s, HUGE_BYTES - 100);
    begin(to, 4);
    if (below(s, 2) == 0) {
        op.what = "SETRANGE huge";
        word(to, "SETRANGE");
        word(to, "huge:%u", op.key);
        word(to, "%u", at);
        value(s, to, 100);
        return op;
    }
    word(to, "GETRANGE");
    word(to, "huge:%u", op.key);
    word(to, "%u", at);
    word(to, "%u", at + 99);
    return op;
}

static struct op of_hash(struct steady *s, struct str *to)
{
    struct op op = {.what = "HSET", .key = below(s, n_collections(s))};
    bool writes = below(s, 2) == 0;
    begin(to, writes ? 4 : 3);
    word(to, writes ? "HSET" : "HGET");
    word(to, "hash:%u", op.key);
    word(to, "field:%u", below(s, ELEMENTS));
    if (writes) {
        value(s, to, 80);
    }
    return op;
}

static struct op of_set(struct steady *s, struct str *to)
{
    static const char *const names[] = {"SADD", "SREM", "SISMEMBER"};
    struct op op = {.what = names[below(s, 3)], .key = below(s, n_collections(s))};
    begin(to, 3);
    word(to, "%s", op.what);
    word(to, "set:%u", op.key);
    word(to, "a member of a set, of some length: %060u", below(s, ELEMENTS));
    return op;
}

static struct op of_zset(struct steady *s, struct str *to)
{
    static const char *const names[] = {"ZADD", "ZSCORE", "ZRANK"};
    struct op op = {.what = names[below(s, 3)], .key = below(s, n_collections(s))};
    bool writes = op.what == names[0];
    begin(to, writes ? 4 : 3);
    word(to, "%s", op.what);
    word(to, "zset:%u", op.key);
    if (writes) {
        word(to, "%u", below(s, 1000000));
    }
    word(to, "a member of a sorted set: %030u", below(s, ELEMENTS));
    return op;
}

static struct op of_list(struct steady *s, struct str *to)
{
    static const char *const names[] = {"LPUSH", "RPOP", "LRANGE"};
    struct op op = {.what = names[below(s, 3)], .key = below(s, n_collections(s))};
    begin(to, op.what == names[0] ? 3 : op.what == names[1] ? 2 : 4);
    word(to, "%s", op.what);
    word(to, "list:%u", op.key);
    if (op.what == names[0]) {
        value(s, to, 90);
    } else if (op.what == names[2]) {
        word(to, "0");
        word(to, "9");
    }
    return op;
}

static void put_entry(struct steady *s, struct str *to, uint32_t key)
{
    begin(to, 5);
    word(to, "XADD");
    word(to, "stream:%u", key);
    word(to, "*");
    word(to, "field");
    value(s, to, 80);
}

static struct op of_stream(struct steady *s, struct str *to)
{
    struct op op = {.what = "XADD", .key = below(s, n_collections(s))};
    if (below(s, 2) == 0) {
        put_entry(s, to, op.key);
        return op;
    }
    op.what = "XREVRANGE";
    begin(to, 6);
    word(to, "XREVRANGE");
    word(to, "stream:%u", op.key);
    word(to, "+");
    word(to, "-");
    word(to, "COUNT");
    word(to, "5");
    return op;
}

static struct op any(struct steady *s, struct str *to)
{
    static struct op (*const of_large[])(struct steady *, struct str *) = {
        range, of_hash, of_set, of_zset, of_list, of_stream};
    uint32_t at = below(s, 1000);
    if (at < 500) {
        return get_small(s, to);
    }
    if (at < 800) {
        return set_small(s, to);
    }
    if (at < 910) {
        return count(s, to);
    }
    if (at < 996) {
        return of_large[below(s, 6)](s, to);
    }
    return middle(s, to);
}

/* --- what it took --- */

static size_t bucket_of(uint64_t us)
{
    if (us < (1u << BUCKET_BITS)) {
        return (size_t)us;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    size_t sub = (size_t)(us >> (top - BUCKET_BITS)) & ((1u << BUCKET_BITS) - 1);
    return MIN(((size_t)(top - BUCKET_BITS + 1) << BUCKET_BITS) + sub, (size_t)BUCKETS - 1);
}

/* The upper end. */
static uint64_t bucket_us(size_t b)
{
    if (b < (1u << BUCKET_BITS)) {
        return b;
    }
    unsigned shift = (unsigned)(b >> BUCKET_BITS) - 1;
    return (((b & ((1u << BUCKET_BITS) - 1)) + (1u << BUCKET_BITS) + 1) << shift) - 1;
}

static void tally_add(struct tally *t, int64_t us)
{
    t->buckets[bucket_of((uint64_t)MAX(us, 0))]++;
    t->count++;
    t->max_us = MAX(t->max_us, us);
}

static uint64_t tally_at(const struct tally *t, double share)
{
    uint64_t want = (uint64_t)((double)t->count * share);
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += t->buckets[i];
        if (seen > want) {
            return MIN(bucket_us(i), (uint64_t)t->max_us);
        }
    }
    return (uint64_t)t->max_us;
}

static void keep_slow(struct steady *s, const struct op *op, int64_t took_us)
{
    size_t least = 0;
    for (size_t i = 1; i < SLOW_KEPT; i++) {
        least = s->slow[i].took_us < s->slow[least].took_us ? i : least;
    }
    if (took_us > s->slow[least].took_us) {
        s->slow[least] =
            (struct slow){.op = *op, .at_us = s->now_us - s->marked_us, .took_us = took_us};
    }
}

static void count_error(struct steady *s, struct slice text)
{
    for (size_t i = 0; i < s->n_errors; i++) {
        if (slice_is(text, s->errors[i].text)) {
            s->errors[i].count++;
            return;
        }
    }
    if (s->n_errors < ERRORS_MAX) {
        snprintf(s->errors[s->n_errors].text, sizeof(s->errors[0].text), "%.*s",
                 (int)MIN(text.len, (size_t)190), text.ptr);
        s->errors[s->n_errors++].count = 1;
    }
}

static void put_tally(const struct tally *t, const char *name)
{
    printf(" %sops=%llu %sp50_us=%llu %sp99_us=%llu %sp999_us=%llu %smax_us=%lld", name,
           (unsigned long long)t->count, name, (unsigned long long)tally_at(t, 0.50), name,
           (unsigned long long)tally_at(t, 0.99), name, (unsigned long long)tally_at(t, 0.999),
           name, (long long)t->max_us);
}

static void mark(struct steady *s)
{
    uint64_t errors = 0;
    for (size_t i = 0; i < s->n_errors; i++) {
        errors += s->errors[i].count;
    }
    printf("mark seconds=%.1f", (double)(s->now_us - s->marked_us) / 1e6);
    put_tally(&s->small, "");
    put_tally(&s->large, LARGE "_");
    printf(" late_us_max=%lld errors=%llu\n", (long long)s->late_us_max,
           (unsigned long long)errors);
    for (size_t i = 0; i < SLOW_KEPT; i++) {
        const struct slow *at = &s->slow[i];
        if (at->took_us > 0) {
            printf("slow at=%.3f took_us=%lld op=\"%s\" key=%u\n", (double)at->at_us / 1e6,
                   (long long)at->took_us, at->op.what, at->op.key);
        }
    }
    for (size_t i = 0; i < s->n_errors; i++) {
        printf("error count=%llu %s\n", (unsigned long long)s->errors[i].count, s->errors[i].text);
    }
    printf("done\n");
    fflush(stdout);
    s->small = s->large = (struct tally){0};
    memset(s->slow, 0, sizeof(s->slow));
    s->late_us_max = 0;
    s->n_errors = 0;
    s->marked_us = s->now_us = clock_us();
}

/* --- connections --- */

static void give_up(const char *why)
{
    fprintf(stderr, "steady: %s: %s\n", why, strerror(errno));
    exit(2);
}

static void open_connection(const struct steady *s, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->o.port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        give_up("connect");
    }
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    resp_skip_init(&c->skip);
}

static void flush(struct connection *c)
{
    while (c->out_sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.ptr + c->out_sent, c->out.len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            give_up("send");
        }
        c->out_sent += (size_t)n;
    }
    str_clear(&c->out);
    c->out_sent = 0;
}

static void take(struct steady *s, struct connection *c, struct slice reply)
{
    struct op op = c->queue[c->head];
    c->head = (c->head + 1) % DEPTH_MAX;
    c->count--;
    if (reply.ptr[0] == '-') {
        count_error(s, slice_of(reply.ptr + 1, reply.len - 3));
    } else if (op.counts) {
        s->counted[op.key]++;
    }
    if (s->reads != NULL) {
        const char *digits = memchr(reply.ptr, '\n', reply.len);
        s->reads[s->n_reads++] = reply.ptr[1] == '-' ? 0 : strtoll(digits + 1, NULL, 10);
        return;
    }
    int64_t took_us = s->now_us - op.due_us;
    tally_add(op.large ? &s->large : &s->small, took_us);
    if (!op.large) {
        keep_slow(s, &op, took_us);
    }
}

static void receive(struct steady *s, struct connection *c)
{
    char *room = str_reserve(&c->in, 256 * 1024);
    ssize_t n = recv(c->fd, room, 256 * 1024, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        give_up("a connection was closed");
    }
    if (n < 0) {
        return;
    }
    c->in.len += (size_t)n;
    size_t at = 0;
    size_t end;
    while (at < c->in.len &&
           resp_skip(&c->skip, slice_of(c->in.ptr + at, c->in.len - at), &end) == SKIP_OK) {
        take(s, c, slice_of(c->in.ptr + at, end));
        at += end;
    }
    memmove(c->in.ptr, c->in.ptr + at, c->in.len - at);
    c->in.len -= at;
}

static void turn(struct steady *s, int64_t wait_us, bool commands)
{
    int n = s->o.connections;
    struct pollfd *polls = mem_alloc(sizeof(*polls) * (size_t)(n + 1));
    for (int i = 0; i < n; i++) {
        const struct connection *c = &s->connections[i];
        bool writes = c->out.len > c->out_sent;
        polls[i] = (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
    }
    polls[n] = (struct pollfd){.fd = commands ? STDIN_FILENO : -1, .events = POLLIN};
    struct timespec wait = {.tv_nsec = (long)(MAX(MIN(wait_us, 100000), 0) * 1000)};
    ppoll(polls, (nfds_t)(n + 1), &wait, NULL);
    s->now_us = clock_us();
    for (int i = 0; i < n; i++) {
        if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) {
            receive(s, &s->connections[i]);
        }
        flush(&s->connections[i]);
    }
    mem_free(polls);
}

static size_t under_way(const struct steady *s)
{
    size_t n = 0;
    for (int i = 0; i < s->o.connections; i++) {
        n += s->connections[i].count;
    }
    return n;
}

/* One with nothing under way, so that an operation waits for no other; else the least busy. */
static struct connection *pick(struct steady *s)
{
    int at = (int)below(s, (uint32_t)s->o.connections);
    struct connection *best = &s->connections[at];
    for (int i = 0; i < s->o.connections && best->count > 0; i++) {
        struct connection *c = &s->connections[(at + i) % s->o.connections];
        best = c->count < best->count ? c : best;
    }
    return best;
}

static void add(struct connection *c, struct op op)
{
    if (c->count == DEPTH_MAX) {
        errno = ETIMEDOUT;
        give_up("nothing is answered any more");
    }
    c->queue[(c->head + c->count++) % DEPTH_MAX] = op;
}

/* --- filling --- */

static void fill_one(struct steady *s, void (*make)(struct steady *, struct str *, uint32_t),
                     uint32_t key)
{
    struct connection *c = &s->connections[key % (uint32_t)s->o.connections];
    make(s, &c->out, key);
    s->written++;
    add(c, (struct op){.due_us = s->now_us, .what = "fill"});
    flush(c);
    while (c->out.len - c->out_sent > FILL_BYTES || c->count > DEPTH_MAX / 2) {
        turn(s, 1000, false);
    }
}

static void make_huge(struct steady *s, struct str *to, uint32_t key)
{
    begin(to, 3);
    word(to, "SET");
    word(to, "huge:%u", key);
    value(s, to, HUGE_BYTES);
}

static void make_count(struct steady *s, struct str *to, uint32_t key)
{
    (void)s;
    begin(to, 3);
    word(to, "SET");
    word(to, "count:%u", key);
    word(to, "0");
}

#define STEP 100 /* elements a command */

static void make_hash(struct steady *s, struct str *to, uint32_t at)
{
    begin(to, 2 + 2 * STEP);
    word(to, "HSET");
    word(to, "hash:%u", at / (ELEMENTS / STEP));
    for (uint32_t i = 0; i < STEP; i++) {
        word(to, "field:%u", at % (ELEMENTS / STEP) * STEP + i);
        value(s, to, 80);
    }
}

static void make_set(struct steady *s, struct str *to, uint32_t at)
{
    (void)s;
    begin(to, 2 + STEP);
    word(to, "SADD");
    word(to, "set:%u", at / (ELEMENTS / STEP));
    for (uint32_t i = 0; i < STEP; i++) {
        word(to, "a member of a set, of some length: %060u", at % (ELEMENTS / STEP) * STEP + i);
    }
}

static void make_zset(struct steady *s, struct str *to, uint32_t at)
{
    begin(to, 2 + 2 * STEP);
    word(to, "ZADD");
    word(to, "zset:%u", at / (ELEMENTS / STEP));
    for (uint32_t i = 0; i < STEP; i++) {
        word(to, "%u", below(s, 1000000));
        word(to, "a member of a sorted set: %030u", at % (ELEMENTS / STEP) * STEP + i);
    }
}

static void make_list(struct steady *s, struct str *to, uint32_t at)
{
    begin(to, 2 + STEP);
    word(to, "RPUSH");
    word(to, "list:%u", at / (ELEMENTS / STEP));
    for (uint32_t i = 0; i < STEP; i++) {
        value(s, to, 90);
    }
}

static void make_entry(struct steady *s, struct str *to, uint32_t at)
{
    put_entry(s, to, at / ELEMENTS);
}

static void fill(struct steady *s)
{
    const struct {
        void (*make)(struct steady *, struct str *, uint32_t);
        uint32_t n;
    } rows[] = {
        {put_small, n_small(s)},
        {make_count, COUNTERS},
        {put_middle, n_middle(s)},
        {make_huge, n_huge(s)},
        {make_hash, n_collections(s) * (ELEMENTS / STEP)},
        {make_set, n_collections(s) * (ELEMENTS / STEP)},
        {make_zset, n_collections(s) * (ELEMENTS / STEP)},
        {make_list, n_collections(s) * (ELEMENTS / STEP)},
        {make_entry, n_collections(s) * ELEMENTS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint32_t key = 0; key < rows[i].n; key++) {
            fill_one(s, rows[i].make, key);
        }
    }
    while (under_way(s) > 0) {
        turn(s, 10000, false);
    }
}

/* --- the run --- */

static bool told_to_end(struct steady *s)
{
    char line[64];
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0) {
        return false;
    }
    ssize_t n = read(STDIN_FILENO, line, sizeof(line)); /* a command at a time: it is answered */
    if (n > 0 && line[0] == 'm') {
        mark(s);
        return false;
    }
    return true;
}

static void run(struct steady *s)
{
    double gap_us = 1e6 / s->o.rate;
    double next = (double)s->now_us;
    s->marked_us = s->now_us;
    while (!told_to_end(s)) {
        s->now_us = clock_us();
        s->late_us_max = MAX(s->late_us_max, s->now_us - (int64_t)next);
        while (next <= (double)s->now_us) {
            struct connection *c = pick(s);
            struct op op = any(s, &c->out);
            op.due_us = (int64_t)next;
            add(c, op);
            flush(c);
            next += gap_us;
        }
        turn(s, (int64_t)next - clock_us(), true);
    }
    while (under_way(s) > 0) {
        turn(s, 10000, false);
    }
}

/* Increments that are not there, or are there twice. */
static int check(struct steady *s)
{
    int64_t found[COUNTERS] = {0};
    s->reads = found;
    for (uint32_t i = 0; i < COUNTERS; i++) {
        struct connection *c = &s->connections[0];
        begin(&c->out, 2);
        word(&c->out, "GET");
        word(&c->out, "count:%u", i);
        add(c, (struct op){.due_us = s->now_us});
    }
    while (under_way(s) > 0) {
        turn(s, 10000, false);
    }
    int wrong = 0;
    for (uint32_t i = 0; i < COUNTERS; i++) {
        wrong += found[i] != (int64_t)s->counted[i];
    }
    printf("end counters_wrong=%d\n", wrong);
    return wrong == 0 ? 0 : 1;
}

static void read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.connections = 64, .rate = 8000, .mb = 1000};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *text = argv[i + 1];
        if (strcmp(name, "--port") == 0) {
            o->port = atoi(text);
        } else if (strcmp(name, "--connections") == 0) {
            o->connections = atoi(text);
        } else if (strcmp(name, "--rate") == 0) {
            o->rate = atof(text);
        } else if (strcmp(name, "--mb") == 0) {
            o->mb = (size_t)atoi(text);
        } else if (strcmp(name, "--fill") == 0) {
            o->fill = atoi(text) != 0;
        } else {
            fprintf(stderr, "steady: what is %s?\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct steady *s = mem_zalloc(sizeof(*s));
    read_options(&s->o, argc, argv);
    (void)prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0);
    rng_init(&s->rng, (uint64_t)clock_us());
    char *bytes = str_reserve(&s->value, HUGE_BYTES + 65536);
    for (s->value.len = 0; s->value.len < HUGE_BYTES + 65536; s->value.len += 8) {
        uint64_t r = rng_next(&s->rng);
        memcpy(bytes + s->value.len, &r, 8);
    }
    s->connections = mem_zalloc(sizeof(*s->connections) * (size_t)s->o.connections);
    for (int i = 0; i < s->o.connections; i++) {
        open_connection(s, &s->connections[i]);
    }
    s->now_us = clock_us();
    if (s->o.fill) {
        fill(s);
        mark(s);
        return 0;
    }
    run(s);
    return check(s);
}
