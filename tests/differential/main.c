// SPDX-License-Identifier: BSD-3-Clause
/* Sends the same random commands to two servers and compares what they answer, and at the end what
 * every key holds.
 *
 *   differential --grammar FILE --left HOST:PORT --right HOST:PORT [--commands N] [--seed S]
 *                [--proto 2|3] [--spread 1] [--batch N] [--only-state 1] [--most N]
 *                [--leave-out NAME]...
 *
 * --spread: keys of many slots. --only-state: no commands, only the comparison of all keys.
 * --most: ends after so many differences (20). What differs is printed with the commands before it
 * that named one of its keys, and these keys are removed on both sides, so that each difference is
 * told once. A seed makes the same commands again. Ends with 1 after a difference, 2 when it cannot
 * go on. */
#include "common/base/mem.h"
#include "common/resp/skip.h"

#include "tests/differential/compare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH_MAX = 256,
    HISTORY = 4096, /* commands that are kept to explain a difference */
    HISTORY_SHOWN = 14,
    PATIENCE_MS = 60000,
    SHOWN_MAX = 600, /* bytes of a reply */
};

struct side {
    const char *name;
    int fd;
    struct str out;
    size_t sent;
    struct str in;
    struct resp_skip skip;
    size_t n; /* whole replies in `in`, ending at ends[] */
    size_t ends[BATCH_MAX];
    size_t done; /* bytes in whole replies */
};

struct command {
    enum mode mode;
    size_t n;
    struct str bytes; /* the words, one behind the other */
    size_t ends[WORDS_MAX];
};

struct run {
    struct grammar *grammar;
    struct rng rng;
    struct side sides[2];
    struct command history[HISTORY];
    uint64_t commands;
    uint64_t errors; /* replies that were errors on both sides */
    uint64_t differences;
    uint64_t beyond; /* differences by what redis-server reads behind a value's end */
    uint64_t most;
    bool spread;
};

static _Noreturn void give_up(const char *what, const char *name)
{
    fprintf(stderr, "differential: %s: %s\n", name, what);
    exit(2);
}

/* ---- connections ---- */

static int connect_to(const char *where)
{
    const char *colon = strrchr(where, ':');
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64];
    if (colon == NULL || (size_t)(colon - where) >= sizeof(host)) {
        give_up("not host:port", where);
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
    to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || fd < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        give_up(strerror(errno), where);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void put_command(struct side *s, const struct slice *words, size_t n)
{
    str_printf(&s->out, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++) {
        str_printf(&s->out, "$%zu\r\n", words[i].len);
        str_append_slice(&s->out, words[i]);
        str_append(&s->out, "\r\n", 2);
    }
}

static void find_replies(struct side *s)
{
    size_t end;
    while (s->n < BATCH_MAX && s->done < s->in.len) {
        enum resp_skip_status status =
            resp_skip(&s->skip, slice_of(s->in.ptr + s->done, s->in.len - s->done), &end);
        if (status == SKIP_MORE) {
            return;
        }
        if (status == SKIP_BAD) {
            give_up("answered what is no RESP", s->name);
        }
        s->done += end;
        s->ends[s->n++] = s->done;
    }
}

static void move_bytes(struct side *s)
{
    if (s->sent < s->out.len) {
        ssize_t n =
            send(s->fd, s->out.ptr + s->sent, s->out.len - s->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        s->sent += n > 0 ? (size_t)n : 0;
    }
    enum { CHUNK = 65536 };
    ssize_t n = recv(s->fd, str_reserve(&s->in, CHUNK), CHUNK, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        give_up("closed the connection", s->name);
    }
    s->in.len += n > 0 ? (size_t)n : 0;
    find_replies(s);
}

/* Sends what is to be sent and waits for `n` replies of both. */
static void converse(struct run *r, size_t n)
{
    for (size_t i = 0; i < 2; i++) {
        struct side *s = &r->sides[i];
        s->sent = 0;
        s->n = 0;
        s->done = 0;
        str_clear(&s->in);
    }
    for (;;) {
        struct pollfd fds[2];
        bool done = true;
        for (size_t i = 0; i < 2; i++) {
            const struct side *s = &r->sides[i];
            done &= s->n >= n;
            fds[i].fd = s->n >= n ? -1 : s->fd;
            fds[i].events = (short)(POLLIN | (s->sent < s->out.len ? POLLOUT : 0));
            fds[i].revents = 0;
        }
        if (done) {
            break;
        }
        if (poll(fds, 2, PATIENCE_MS) <= 0) {
            give_up("does not answer", r->sides[r->sides[0].n >= n ? 1 : 0].name);
        }
        for (size_t i = 0; i < 2; i++) {
            if (fds[i].revents != 0) {
                move_bytes(&r->sides[i]);
            }
        }
    }
    for (size_t i = 0; i < 2; i++) {
        str_clear(&r->sides[i].out);
    }
}

static struct slice reply(const struct side *s, size_t i)
{
    size_t from = i == 0 ? 0 : s->ends[i - 1];
    return slice_of(s->in.ptr + from, s->ends[i] - from);
}

/* ---- commands ---- */

static struct slice word(const struct command *c, size_t i)
{
    size_t from = i == 0 ? 0 : c->ends[i - 1];
    return slice_of(c->bytes.ptr + from, c->ends[i] - from);
}

static struct command *remember(struct run *r, uint64_t number, const struct saying *s)
{
    struct command *c = &r->history[number % HISTORY];
    c->mode = s->mode;
    c->n = s->n;
    str_clear(&c->bytes);
    str_reserve(&c->bytes, 1);
    for (size_t i = 0; i < s->n; i++) {
        str_append_slice(&c->bytes, s->words[i]);
        c->ends[i] = c->bytes.len;
    }
    return c;
}

static bool is_key(struct slice w)
{
    static const char *const kinds[] = {"str",    "list", "set", "zset", "hash",
                                        "stream", "hll",  "geo", "even", "sorted"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i]);
        if (w.len > n && w.len < n + 5 && memcmp(w.ptr, kinds[i], n) == 0 && w.ptr[n] >= '0' &&
            w.ptr[n] <= '9') {
            return true;
        }
    }
    return false;
}

static bool shares_key(const struct command *a, const struct command *b)
{
    for (size_t i = 1; i < a->n; i++) {
        for (size_t j = 1; is_key(word(a, i)) && j < b->n; j++) {
            if (slice_eq(word(a, i), word(b, j))) {
                return true;
            }
        }
    }
    return false;
}

/* ---- differences ---- */

static void print_command(const struct command *c)
{
    struct str text = {0};
    for (size_t i = 0; i < c->n; i++) {
        str_append_char(&text, ' ');
        str_append_quoted(&text, slice_of(word(c, i).ptr, MIN(word(c, i).len, (size_t)SHOWN_MAX)));
    }
    printf("   %s\n", str_cstr(&text));
    str_fini(&text);
}

static void print_reply(const char *name, struct slice v)
{
    struct str text = {0};
    str_append_quoted(&text, slice_of(v.ptr, MIN(v.len, (size_t)SHOWN_MAX)));
    printf("  %-5s  %s%s\n", name, str_cstr(&text), v.len > SHOWN_MAX ? " ..." : "");
    str_fini(&text);
}

static void explain(struct run *r, uint64_t number, const struct command *c, size_t i)
{
    printf("difference %llu, in command %llu:\n", (unsigned long long)r->differences,
           (unsigned long long)number);
    uint64_t found[HISTORY_SHOWN];
    size_t n = 0;
    uint64_t first = number > HISTORY - BATCH_MAX ? number - (HISTORY - BATCH_MAX) : 0;
    for (uint64_t at = number; at > first && n < HISTORY_SHOWN; at--) {
        if (shares_key(c, &r->history[(at - 1) % HISTORY])) {
            found[n++] = at - 1;
        }
    }
    while (n > 0) {
        print_command(&r->history[found[--n] % HISTORY]);
    }
    printf("  then\n");
    print_command(c);
    print_reply(r->sides[0].name, reply(&r->sides[0], i));
    print_reply(r->sides[1].name, reply(&r->sides[1], i));
    fflush(stdout);
}

/* The batch is behind us: the keys of a command with a difference go, on both sides. */
static void make_equal(struct run *r, struct str *keys)
{
    if (keys->len == 0) {
        return;
    }
    size_t n = 0;
    for (char *at = keys->ptr; at < keys->ptr + keys->len && n < BATCH_MAX; n++) {
        struct slice words[] = {SLICE("DEL"), slice_str(at)};
        put_command(&r->sides[0], words, 2);
        put_command(&r->sides[1], words, 2);
        at += words[1].len + 1;
    }
    converse(r, n);
    str_clear(keys);
}

/* Keys that hash together are all that a command is given; but where the number of keys is wrong,
 * other words are taken for keys. */
static bool is_crossslot(struct slice reply)
{
    static const char code[] = "-CROSSSLOT ";
    return reply.len > sizeof(code) && memcmp(reply.ptr, code, sizeof(code) - 1) == 0;
}

/* A walk that begins in its midst, by a cursor that was made up. */
static bool is_part(const struct command *c, struct slice a, struct slice b)
{
    return c->mode == MODE_CURSOR && c->n > 2 && !slice_is(word(c, 2), "0") && a.ptr[0] != '-' &&
           b.ptr[0] != '-';
}

/* Redis reads on behind the end of a HyperLogLog that another command has cut or overwritten. */
static bool is_read_beyond(struct slice a, struct slice b)
{
    static const char code[] = "-INVALIDOBJ ";
    return a.ptr[0] == ':' && b.len > sizeof(code) && memcmp(b.ptr, code, sizeof(code) - 1) == 0;
}

static bool is_nothing(struct slice reply)
{
    return reply.ptr[0] == '-' || slice_eq(reply, SLICE(":0\r\n"));
}

static void judge(struct run *r, uint64_t first, size_t n)
{
    struct str keys = {0};
    for (size_t i = 0; i < n; i++) {
        const struct command *c = &r->history[(first + i) % HISTORY];
        struct slice a = reply(&r->sides[0], i);
        struct slice b = reply(&r->sides[1], i);
        if (replies_agree(c->mode, a, b) || is_part(c, a, b) ||
            (r->spread && is_crossslot(b) && is_nothing(a))) {
            r->errors += a.ptr[0] == '-';
            continue;
        }
        /* Or by an earlier one of this batch with the same key. */
        bool told = is_read_beyond(a, b);
        r->beyond += told;
        for (size_t k = 1; k < c->n; k++) {
            struct slice w = word(c, k);
            if (is_key(w)) {
                told |= keys.len > 0 && memmem(keys.ptr, keys.len, w.ptr, w.len) != NULL;
                str_append_slice(&keys, w);
                str_append_char(&keys, '\0');
            }
        }
        if (!told) {
            r->differences++;
            explain(r, first + i, c, i);
        }
    }
    make_equal(r, &keys);
    str_fini(&keys);
}

/* ---- a run ---- */

static void say_commands(struct run *r, uint64_t commands, size_t batch)
{
    struct saying s;
    while (r->commands < commands && r->differences < r->most) {
        size_t n = MIN((uint64_t)batch, commands - r->commands);
        for (size_t i = 0; i < n; i++) {
            grammar_say(r->grammar, &r->rng, &s);
            remember(r, r->commands + i, &s);
            put_command(&r->sides[0], s.words, s.n);
            put_command(&r->sides[1], s.words, s.n);
        }
        converse(r, n);
        judge(r, r->commands, n);
        r->commands += n;
    }
}

static void compare_state(struct run *r)
{
    struct saying s;
    uint64_t at = r->commands;
    for (size_t key = 0; key < grammar_keys(r->grammar) && r->differences < r->most; key++) {
        size_t n = MIN(grammar_questions(r->grammar), (size_t)BATCH_MAX);
        for (size_t q = 0; q < n; q++) {
            grammar_ask(r->grammar, key, q, &s);
            remember(r, at + q, &s);
            put_command(&r->sides[0], s.words, s.n);
            put_command(&r->sides[1], s.words, s.n);
        }
        converse(r, n);
        judge(r, at, n);
        at += n;
    }
}

static void begin(struct run *r, const char *proto)
{
    struct slice words[] = {SLICE("HELLO"), slice_str(proto)};
    put_command(&r->sides[0], words, 2);
    put_command(&r->sides[1], words, 2);
    converse(r, 1);
}

struct arguments {
    const char *grammar;
    const char *proto;
    uint64_t commands;
    uint64_t seed;
    uint64_t batch;
    bool spread;
    bool only_state;
    const char *left_out[256];
    size_t n_left_out;
};

static void read_arguments(struct run *r, struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"grammar", 1, NULL, 'g'},  {"left", 1, NULL, 'l'},      {"right", 1, NULL, 'r'},
        {"commands", 1, NULL, 'n'}, {"seed", 1, NULL, 's'},      {"proto", 1, NULL, 'p'},
        {"spread", 1, NULL, 'm'},   {"batch", 1, NULL, 'b'},     {"only-state", 1, NULL, 'o'},
        {"most", 1, NULL, 'd'},     {"leave-out", 1, NULL, 'x'}, {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t number = c == '?' ? 0 : strtoull(optarg, NULL, 10);
        switch (c) {
        case 'g':
            a->grammar = optarg;
            break;
        case 'l':
        case 'r':
            r->sides[c == 'r'].fd = connect_to(optarg);
            break;
        case 'n':
            a->commands = number;
            break;
        case 's':
            a->seed = number;
            break;
        case 'p':
            a->proto = optarg;
            break;
        case 'm':
            a->spread = number != 0;
            break;
        case 'b':
            a->batch = MIN(MAX(number, 1), BATCH_MAX);
            break;
        case 'o':
            a->only_state = number != 0;
            break;
        case 'd':
            r->most = number;
            break;
        case 'x':
            if (a->n_left_out < ARRAY_LEN(a->left_out)) {
                a->left_out[a->n_left_out++] = optarg;
            }
            break;
        default:
            give_up("unknown option", argv[0]);
        }
    }
    if (a->grammar == NULL || r->sides[0].fd < 0 || r->sides[1].fd < 0) {
        give_up("--grammar, --left and --right are needed", argv[0]);
    }
}

int main(int argc, char **argv)
{
    static struct run r;
    struct arguments a = {.proto = "2", .commands = 100000, .seed = 1, .batch = 50};
    struct str error = {0};
    r.most = 20;
    for (size_t i = 0; i < 2; i++) {
        r.sides[i] = (struct side){.name = i == 0 ? "left" : "right", .fd = -1};
        resp_skip_init(&r.sides[i].skip);
    }
    read_arguments(&r, &a, argc, argv);
    r.grammar = grammar_read(a.grammar, a.spread, &error);
    if (r.grammar == NULL) {
        give_up(str_cstr(&error), "grammar");
    }
    for (size_t i = 0; i < a.n_left_out; i++) {
        grammar_leave_out(r.grammar, a.left_out[i]);
    }
    r.spread = a.spread;
    rng_init(&r.rng, a.seed);
    begin(&r, a.proto);
    if (!a.only_state) {
        say_commands(&r, a.commands, a.batch);
    }
    compare_state(&r);
    printf("differential: seed %llu, protocol %s: %llu commands, %llu of them errors, "
           "%llu differences, %llu more for what redis-server reads behind a value's end\n",
           (unsigned long long)a.seed, a.proto, (unsigned long long)r.commands,
           (unsigned long long)r.errors, (unsigned long long)r.differences,
           (unsigned long long)r.beyond);
    for (size_t i = 0; i < 2; i++) {
        close(r.sides[i].fd);
        str_fini(&r.sides[i].out);
        str_fini(&r.sides[i].in);
    }
    for (size_t i = 0; i < HISTORY; i++) {
        str_fini(&r.history[i].bytes);
    }
    grammar_free(&r.grammar);
    return r.differences > 0;
}
