// SPDX-License-Identifier: BSD-3-Clause
/* Many subscribers and a steady stream of messages, each of which is accounted for.
 *
 *   pubsub-load --port P [--subscribers N] [--channels C] [--publishers N] [--rate MESSAGES_PER_S]
 *               [--seconds S]
 *
 * Subscriber i listens to channel i modulo C. Each publisher numbers its messages channel by
 * channel, so a subscriber knows what it missed, had twice or in the wrong order. Prints "name
 * value" lines at the end:
 *
 *   published, delivered, refused (publishes answered by an error), lost, twice, disordered,
 *   miscounted (PUBLISH said another number of receivers than there are)
 *   trouble-first-ms, trouble-last-ms   since the begin, when the first and last of lost, refused
 *                                       and miscounted messages was published; -1: none
 *   broken                              connections that broke: must stay 0
 *
 * Ends with 1 if something came twice, in the wrong order, or a subscriber's connection broke; what
 * was lost and when is for the caller to judge. One thread. */
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/resp/skip.h"
#include "common/resp/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 65536,
    EVENTS = 256,
    DEPTH_MAX = 20000, /* publishes of one connection under way */
    DRAIN_MS = 10000,
    PADDING = 32, /* bytes of a message beside its numbers */
};

struct options {
    int port;
    int subscribers;
    int channels;
    int publishers;
    int rate;
    int seconds;
};

/* A message as its publisher knows it: by channel and number in the channel. */
struct sent {
    int channel;
    int32_t at_ms;
};

struct connection {
    int fd;
    bool subscriber;
    int index;
    struct str in;
    struct str out;
    size_t sent;
    struct resp_skip skip;
    bool ready; /* a subscriber: confirmed */
    /* a subscriber: the next number that it expects, by publisher */
    uint32_t *expects;
    /* a publisher: publishes under way, oldest first; and the next number by channel */
    struct sent *queue; /* DEPTH_MAX */
    size_t first;
    size_t n;
    uint32_t *next;
};

struct counts {
    uint64_t published;
    uint64_t delivered;
    uint64_t refused;
    uint64_t lost;
    uint64_t twice;
    uint64_t disordered;
    uint64_t miscounted;
    uint64_t broken;
    int64_t trouble_first;
    int64_t trouble_last;
};

static struct options opt = {0, 1000, 500, 4, 50000, 30};
static struct counts counts = {.trouble_first = -1, .trouble_last = -1};
static struct connection *connections;
static int epoll_fd;
static int64_t began_ms;
static int ready;
/* When each message was published: [publisher][channel] grows. */
static int32_t **times;
static uint32_t *times_cap;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "pubsub-load: %s\n", what);
    exit(2);
}

static void trouble(int64_t at_ms)
{
    counts.trouble_first = counts.trouble_first < 0 ? at_ms : MIN(counts.trouble_first, at_ms);
    counts.trouble_last = MAX(counts.trouble_last, at_ms);
}

/* ---- connections ---- */

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(epoll_fd, how, c->fd, &e);
}

static void connect_one(struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        give_up(strerror(errno));
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    resp_skip_init(&c->skip);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void flush(struct connection *c)
{
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.ptr + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        c->sent += (size_t)n;
    }
    str_clear(&c->out);
    c->sent = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

/* ---- messages ---- */

static void publish(struct connection *c, int channel)
{
    char text[64 + PADDING];
    char name[32];
    uint32_t number = c->next[channel]++;
    int slot = c->index * opt.channels + channel;
    int32_t at = (int32_t)(now_ms() - began_ms);
    if (number >= times_cap[slot]) {
        times_cap[slot] = MAX(times_cap[slot] * 2, 64);
        times[slot] = mem_realloc(times[slot], times_cap[slot] * sizeof(**times));
    }
    times[slot][number] = at;
    int n = snprintf(name, sizeof(name), "channel:%d", channel);
    int len = snprintf(text, sizeof(text), "%d %u %0*d", c->index, number, PADDING, 0);
    str_printf(&c->out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", n, name, len, text);
    c->queue[(c->first + c->n++) % DEPTH_MAX] = (struct sent){channel, at};
    counts.published++;
}

static int listeners(int channel)
{
    return opt.subscribers / opt.channels + (channel < opt.subscribers % opt.channels);
}

static void published(struct connection *c, struct slice reply)
{
    struct sent s = c->queue[c->first];
    int64_t n = -1;
    c->first = (c->first + 1) % DEPTH_MAX;
    c->n--;
    if (reply.ptr[0] != ':') {
        counts.refused++;
        trouble(s.at_ms);
    } else if (!num_parse_i64(slice_of(reply.ptr + 1, reply.len - 3), &n) ||
               n != listeners(s.channel)) {
        counts.miscounted++;
        trouble(s.at_ms);
    }
}

static void received(struct connection *c, struct slice reply)
{
    struct resp_value *v = resp_value_parse(reply);
    if (v == NULL || v->count != 3) {
        give_up("a subscriber got what is no message");
    }
    if (slice_is(v->items[0].text, "subscribe")) {
        c->ready = true;
        ready++;
    } else {
        char text[64 + PADDING];
        unsigned publisher;
        unsigned number;
        snprintf(text, sizeof(text), "%.*s", (int)v->items[2].text.len, v->items[2].text.ptr);
        if (sscanf(text, "%u %u", &publisher, &number) != 2 ||
            publisher >= (unsigned)opt.publishers) {
            give_up("a message is not as it was sent");
        }
        uint32_t expected = c->expects[publisher];
        int slot = (int)publisher * opt.channels + c->index % opt.channels;
        if (number < expected) {
            counts.twice += number + 1 == expected;
            counts.disordered += number + 1 != expected;
        }
        for (; expected < number; expected++) {
            counts.lost++;
            trouble(times[slot][expected]);
        }
        c->expects[publisher] = MAX(c->expects[publisher], number + 1);
        counts.delivered++;
    }
    resp_value_free(&v);
}

static void take_in(struct connection *c)
{
    ssize_t got;
    while ((got = recv(c->fd, str_reserve(&c->in, CHUNK), CHUNK, 0)) > 0) {
        c->in.len += (size_t)got;
        if (got < CHUNK) {
            break;
        }
    }
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        counts.broken++;
        watch(c, EPOLL_CTL_DEL, 0);
        return;
    }
    size_t at = 0;
    size_t end;
    while (at < c->in.len &&
           resp_skip(&c->skip, slice_of(c->in.ptr + at, c->in.len - at), &end) == SKIP_OK) {
        struct slice reply = slice_of(c->in.ptr + at, end);
        if (c->subscriber) {
            received(c, reply);
        } else {
            published(c, reply);
        }
        at += end;
    }
    memmove(c->in.ptr, c->in.ptr + at, c->in.len - at);
    c->in.len -= at;
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if ((events[i].events & EPOLLOUT) != 0) {
            flush(c);
        }
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            take_in(c);
        }
    }
}

/* ---- a run ---- */

static void start(void)
{
    connections = mem_zalloc((size_t)(opt.subscribers + opt.publishers) * sizeof(*connections));
    times = mem_zalloc((size_t)(opt.publishers * opt.channels) * sizeof(*times));
    times_cap = mem_zalloc((size_t)(opt.publishers * opt.channels) * sizeof(*times_cap));
    for (int i = 0; i < opt.subscribers + opt.publishers; i++) {
        struct connection *c = &connections[i];
        char name[32];
        c->subscriber = i < opt.subscribers;
        c->index = c->subscriber ? i : i - opt.subscribers;
        connect_one(c);
        if (!c->subscriber) {
            c->next = mem_zalloc((size_t)opt.channels * sizeof(*c->next));
            c->queue = mem_alloc(DEPTH_MAX * sizeof(*c->queue));
            continue;
        }
        c->expects = mem_zalloc((size_t)opt.publishers * sizeof(*c->expects));
        int n = snprintf(name, sizeof(name), "channel:%d", i % opt.channels);
        str_printf(&c->out, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", n, name);
        flush(c);
    }
    int64_t until = now_ms() + 60000;
    while (ready < opt.subscribers) {
        turn(100);
        if (now_ms() > until) {
            give_up("not all could subscribe");
        }
    }
}

static void stream_messages(void)
{
    int64_t sent = 0;
    int channel = 0;
    began_ms = now_ms();
    printf("started\n");
    fflush(stdout);
    for (;;) {
        int64_t passed = now_ms() - began_ms;
        if (passed >= opt.seconds * 1000) {
            return;
        }
        int64_t due = MIN(passed * opt.rate / 1000 - sent, (int64_t)opt.rate / 10);
        for (int64_t i = 0; i < due; i++, sent++) {
            struct connection *c = &connections[opt.subscribers + (int)(sent % opt.publishers)];
            if (c->n < DEPTH_MAX) {
                publish(c, channel);
                channel = (channel + 1) % opt.channels;
            }
        }
        for (int i = 0; i < opt.publishers; i++) {
            flush(&connections[opt.subscribers + i]);
        }
        turn(1);
    }
}

/* What is under way arrives; what did not by then is lost. */
static void finish(void)
{
    int64_t until = now_ms() + DRAIN_MS;
    for (uint64_t before = UINT64_MAX; now_ms() < until && before != counts.delivered;) {
        before = counts.delivered;
        for (int i = 0; i < 20; i++) {
            turn(50);
        }
    }
    for (int i = 0; i < opt.subscribers; i++) {
        const struct connection *c = &connections[i];
        for (int p = 0; p < opt.publishers; p++) {
            int channel = i % opt.channels;
            uint32_t last = connections[opt.subscribers + p].next[channel];
            for (uint32_t n = c->expects[p]; n < last; n++) {
                counts.lost++;
                trouble(times[p * opt.channels + channel][n]);
            }
        }
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},     {"subscribers", 1, NULL, 's'},
        {"channels", 1, NULL, 'c'}, {"publishers", 1, NULL, 'n'},
        {"rate", 1, NULL, 'r'},     {"seconds", 1, NULL, 't'},
        {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int number = c == '?' ? 0 : atoi(optarg);
        int *to = c == 'p'   ? &opt.port
                  : c == 's' ? &opt.subscribers
                  : c == 'c' ? &opt.channels
                  : c == 'n' ? &opt.publishers
                  : c == 'r' ? &opt.rate
                             : &opt.seconds;
        if (number <= 0) {
            give_up("an option wants a number above 0");
        }
        *to = number;
    }
    if (opt.port == 0) {
        give_up("--port is needed");
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    start();
    stream_messages();
    finish();
    printf("published %llu\ndelivered %llu\nrefused %llu\nlost %llu\ntwice %llu\ndisordered %llu\n"
           "miscounted %llu\ntrouble-first-ms %lld\ntrouble-last-ms %lld\nbroken %llu\n",
           (unsigned long long)counts.published, (unsigned long long)counts.delivered,
           (unsigned long long)counts.refused, (unsigned long long)counts.lost,
           (unsigned long long)counts.twice, (unsigned long long)counts.disordered,
           (unsigned long long)counts.miscounted, (long long)counts.trouble_first,
           (long long)counts.trouble_last, (unsigned long long)counts.broken);
    return counts.twice > 0 || counts.disordered > 0 || counts.broken > 0;
}
