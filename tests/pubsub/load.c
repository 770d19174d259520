// SPDX-License-Identifier: BSD-3-Clause
/* Many subscribers and a steady stream of messages, each of which is accounted for.
 *
 *   pubsub-load --port P [--subscribers N] [--channels C] [--publishers N] [--rate MESSAGES_PER_S]
 *               [--seconds S]
 *
 * Subscriber i listens to channel i modulo C. Each publisher numbers its messages channel by
 * channel, so a subscriber knows what it missed, had twice or in the wrong order. When a node is
 * about to be killed the caller says "killing" in a line, which is said back, and "killed" when it
 * is gone. The failover has ended when of every channel a message that was sent behind that was
 * answered with the number of those who listen. Prints "name value" lines at the end, times since
 * the begin:
 *
 *   published, delivered, twice, disordered
 *   lost, refused, miscounted   deliveries that did not come, publishes answered by an error, or by
 *                               another number of receivers than there are; each again with:
 *   -before -during -after      sent before the kill, from then to the failover's end, after it
 *   unanswered                  publishes
 *   lost-answered               of the lost: PUBLISH had counted all receivers
 *   refused-early               of refused and miscounted: it was said before the kill
 *   killed-ms, ended-ms, trouble-first-ms, trouble-last-ms (when the first and last message was
 *   sent that was lost, refused or miscounted); -1: never
 *   broken                      connections that broke
 *
 * Ends with 1 if something came twice or in the wrong order, a connection broke, the failover did
 * not end, or something was lost or refused that was not under way in it: sent after its end,
 * answered before the kill, or counted. One thread. */
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
    uint32_t number;
};

struct message {
    int32_t at_ms;
    bool counted; /* its PUBLISH was answered with the number of those who listen */
    uint16_t lost;
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

enum { BEFORE, DURING, AFTER, TIMES };

/* By when they were sent. */
struct trouble {
    uint64_t all;
    uint64_t in[TIMES];
};

struct counts {
    uint64_t published;
    uint64_t delivered;
    uint64_t twice;
    uint64_t disordered;
    uint64_t broken;
    struct trouble lost;
    struct trouble refused;
    struct trouble miscounted;
    uint64_t unanswered;
    uint64_t lost_answered;
    uint64_t refused_early;
    int64_t trouble_first;
    int64_t trouble_last;
};

/* -1: not yet. */
struct failover {
    int64_t killing_ms;
    int64_t killed_ms;
    int64_t ended_ms;
    bool *served; /* by channel */
    int n_served;
};

static struct options opt = {0, 1000, 500, 4, 50000, 30};
static struct counts counts = {.trouble_first = -1, .trouble_last = -1};
static struct failover failover = {-1, -1, -1, NULL, 0};
static struct connection *connections;
static int epoll_fd;
static int64_t began_ms;
static int ready;
/* All that were sent: [publisher][channel] grows. */
static struct message **messages;
static uint32_t *messages_cap;

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

static int64_t passed_ms(void)
{
    return now_ms() - began_ms;
}

static void trouble(struct trouble *t, int64_t at_ms)
{
    bool ended = failover.ended_ms >= 0 && at_ms > failover.ended_ms;
    bool began = failover.killing_ms >= 0 && at_ms >= failover.killing_ms;
    t->all++;
    t->in[ended ? AFTER : began ? DURING : BEFORE]++;
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
    int32_t at = (int32_t)passed_ms();
    if (number >= messages_cap[slot]) {
        messages_cap[slot] = MAX(messages_cap[slot] * 2, 64);
        messages[slot] = mem_realloc(messages[slot], messages_cap[slot] * sizeof(**messages));
    }
    messages[slot][number] = (struct message){.at_ms = at};
    int n = snprintf(name, sizeof(name), "channel:%d", channel);
    int len = snprintf(text, sizeof(text), "%d %u %0*d", c->index, number, PADDING, 0);
    str_printf(&c->out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", n, name, len, text);
    c->queue[(c->first + c->n++) % DEPTH_MAX] = (struct sent){channel, number};
    counts.published++;
}

static int listeners(int channel)
{
    return opt.subscribers / opt.channels + (channel < opt.subscribers % opt.channels);
}

/* The channel is served, by a node that lives. */
static void note_served(int channel)
{
    if (!failover.served[channel]) {
        failover.served[channel] = true;
        failover.n_served++;
        failover.ended_ms = failover.n_served == opt.channels ? passed_ms() : -1;
    }
}

static void published(struct connection *c, struct slice reply)
{
    struct sent s = c->queue[c->first];
    struct message *m = &messages[c->index * opt.channels + s.channel][s.number];
    int64_t n = -1;
    c->first = (c->first + 1) % DEPTH_MAX;
    c->n--;
    m->counted = reply.ptr[0] == ':' && num_parse_i64(slice_of(reply.ptr + 1, reply.len - 3), &n) &&
                 n == listeners(s.channel);
    if (!m->counted) {
        trouble(reply.ptr[0] == ':' ? &counts.miscounted : &counts.refused, m->at_ms);
        counts.refused_early += failover.killing_ms < 0;
    } else if (failover.killed_ms >= 0 && m->at_ms > failover.killed_ms) {
        note_served(s.channel);
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
            messages[slot][expected].lost++; /* how it was answered is perhaps not known yet */
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

static void say(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
}

static void hear_caller(void)
{
    char line[64];
    if (fgets(line, sizeof(line), stdin) == NULL) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    } else if (strcmp(line, "killing\n") == 0) {
        failover.killing_ms = passed_ms();
        say("killing");
    } else if (strcmp(line, "killed\n") == 0) {
        failover.killed_ms = passed_ms();
    }
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c == NULL) {
            hear_caller();
            continue;
        }
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
    messages = mem_zalloc((size_t)(opt.publishers * opt.channels) * sizeof(*messages));
    messages_cap = mem_zalloc((size_t)(opt.publishers * opt.channels) * sizeof(*messages_cap));
    failover.served = mem_zalloc((size_t)opt.channels * sizeof(*failover.served));
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
    say("started");
    for (;;) {
        int64_t passed = passed_ms();
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
                messages[p * opt.channels + channel][n].lost++;
            }
        }
    }
}

static void count_lost(void)
{
    for (int i = 0; i < opt.publishers; i++) {
        counts.unanswered += connections[opt.subscribers + i].n;
    }
    for (int i = 0; i < opt.publishers * opt.channels; i++) {
        uint32_t n = connections[opt.subscribers + i / opt.channels].next[i % opt.channels];
        for (const struct message *m = messages[i]; m < messages[i] + n; m++) {
            for (int lost = 0; lost < m->lost; lost++) {
                trouble(&counts.lost, m->at_ms);
                counts.lost_answered += m->counted;
            }
        }
    }
}

static void print_trouble(const char *name, const struct trouble *t)
{
    printf("%s %llu\n%s-before %llu\n%s-during %llu\n%s-after %llu\n", name,
           (unsigned long long)t->all, name, (unsigned long long)t->in[BEFORE], name,
           (unsigned long long)t->in[DURING], name, (unsigned long long)t->in[AFTER]);
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

static void print_counts(void)
{
    printf("published %llu\ndelivered %llu\ntwice %llu\ndisordered %llu\nbroken %llu\n",
           (unsigned long long)counts.published, (unsigned long long)counts.delivered,
           (unsigned long long)counts.twice, (unsigned long long)counts.disordered,
           (unsigned long long)counts.broken);
    print_trouble("lost", &counts.lost);
    print_trouble("refused", &counts.refused);
    print_trouble("miscounted", &counts.miscounted);
    printf(
        "unanswered %llu\nlost-answered %llu\nrefused-early %llu\nkilled-ms %lld\nended-ms %lld\n"
        "trouble-first-ms %lld\ntrouble-last-ms %lld\n",
        (unsigned long long)counts.unanswered, (unsigned long long)counts.lost_answered,
        (unsigned long long)counts.refused_early, (long long)failover.killed_ms,
        (long long)failover.ended_ms, (long long)counts.trouble_first,
        (long long)counts.trouble_last);
}

static bool is_good(void)
{
    uint64_t after = counts.lost.in[AFTER] + counts.refused.in[AFTER] + counts.miscounted.in[AFTER];
    bool ended = failover.killing_ms < 0 || failover.ended_ms >= 0;
    return ended && counts.twice == 0 && counts.disordered == 0 && counts.broken == 0 &&
           after == 0 && counts.unanswered == 0 && counts.lost_answered == 0 &&
           counts.refused_early == 0;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event caller = {.events = EPOLLIN};
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll knows of all that was not read */
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &caller);
    start();
    stream_messages();
    finish();
    count_lost();
    print_counts();
    return !is_good();
}
