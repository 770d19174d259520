// SPDX-License-Identifier: BSD-3-Clause
#include "node/agent/agent.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/io/resp_link.h"
#include "common/resp/parse.h"
#include "common/wire/version.h"
#include "common/wire/wire.h"

#include <stdio.h>

#define AGENT_MAGIC        0x41474e54u
#define AREA               "agent"
#define CONNECT_MS         2000
#define REGISTER_MS        5000 /* WELCOME must have come by then */
#define RETRY_MS_MIN       100
#define RETRY_MS_MAX       3000
#define REFUSED_MS         2000 /* a refusal does not change within milliseconds */
#define HEARTBEAT_MS_FIRST 1000 /* until WELCOME tells */
#define SILENT_INTERVALS   6    /* a coordinator that says nothing for so long is tried anew */
#define PROGRESS_MS        1000 /* of copies that run */
#define HEARTBEAT_MS_SANE  (24LL * 3600 * 1000)

/* What an operator asked for. */
struct ask {
    uint64_t number;
    agent_answer_fn fn;
    void *arg;
    bool join; /* waits for the registration */
    bool answered;
    uint64_t epoch; /* what the answer tells is in this map */
    struct str reply;
};

/* Where the coordinator is, when who was taken for it turned out to be a node or a proxy. */
enum way {
    WAY_KNOWN,
    WAY_ASKED,       /* after it did not understand REGISTER */
    WAY_ASKED_FIRST, /* it closes connections whose first words it does not understand */
    WAY_LED,         /* told; not asked again */
};

struct agent {
    uint32_t magic;
    struct loop *loop;
    struct agent_settings settings;
    char *password; /* settings.password */
    struct agent_port port;
    struct rng rng; /* jitter only */
    enum agent_state state;
    struct resp_link *link; /* NULL: between two tries */
    struct loop_timer retry;
    struct loop_timer heartbeat;
    struct loop_timer deadline; /* of registering */
    struct loop_timer progress;
    struct loop_task report;
    struct wire_changes changes; /* to be reported */
    struct loop_task answer;     /* gives the askers what has come */
    struct ask *asks;
    size_t n_asks;
    uint64_t ask_last;
    enum way way;
    unsigned way_skips; /* answers that come before the one about the way */
    int64_t retry_ms;
    int64_t interval_ms;
    int64_t heard_ms; /* -1: never */
    char host[NODE_HOST_MAX];
    int coordinator_port; /* 0: none is known */
    int64_t alive_ms;     /* agent_alive sent a heartbeat */
    char coordinator[NODE_HOST_MAX + 8];
    char why[200];
    char cluster_id[NODE_ID_LEN + 1];
    struct map *map;
    int self;
};

const char *agent_state_name(enum agent_state s)
{
    static const char *const names[] = {"idle", "connecting", "registering", "member", "forgotten"};
    INVARIANT((size_t)s < ARRAY_LEN(names));
    return names[s];
}

/* ---- sending ---- */

static void send_message(struct agent *a, const struct wire_message *m)
{
    struct wire_frame f = {0};
    wire_encode(m, &f);
    resp_link_send(a->link, f.argv, f.argc);
    wire_frame_fini(&f);
}

/* The shards that are here, with what the node knows of each. */
static void list_held(struct agent *a, struct wire_shards *to)
{
    int n = a->port.n_shards(a->port.arg);
    for (int i = 0; i < n; i++) {
        struct wire_shard s = {.shard = i};
        if (a->port.shard_held(a->port.arg, i, &s.term, &s.version)) {
            s.keys = a->port.shard_keys(a->port.arg, i);
            s.bytes = a->port.shard_bytes(a->port.arg, i);
            wire_shards_add(to, s);
        }
    }
}

static void send_register(struct agent *a)
{
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = WIRE_VERSION;
    r->incarnation = a->settings.incarnation;
    r->port = (uint64_t)a->settings.port;
    r->weight = a->settings.weight;
    r->epoch = a->map == NULL ? 0 : a->map->epoch;
    memcpy(r->id, a->settings.id, sizeof(r->id));
    memcpy(r->cluster_id, a->cluster_id, sizeof(r->cluster_id));
    memcpy(r->host, a->settings.host, sizeof(r->host));
    memcpy(r->zone, a->settings.zone, sizeof(r->zone));
    r->durable = a->settings.durable;
    r->password = slice_str(a->settings.password);
    list_held(a, &r->held);
    send_message(a, &m);
    wire_message_fini(&m);
}

static void send_heartbeat(struct agent *a)
{
    struct agent_load load = {0};
    a->port.load(a->port.arg, &load);
    struct wire_message m = {.kind = WIRE_HEARTBEAT};
    m.heartbeat.time_ms = (uint64_t)loop_now_ms(a->loop);
    m.heartbeat.epoch = a->map == NULL ? 0 : a->map->epoch;
    m.heartbeat.keys = load.keys;
    m.heartbeat.memory = load.memory;
    m.heartbeat.memory_limit = load.memory_limit;
    m.heartbeat.ops = load.ops;
    m.heartbeat.clients = load.clients;
    list_held(a, &m.heartbeat.held);
    send_message(a, &m);
    wire_message_fini(&m);
}

static void send_progress(struct agent *a, bool copied_only)
{
    struct wire_message m = {.kind = WIRE_PROGRESS};
    a->port.progress(a->port.arg, copied_only, &m.progress.copies);
    if (m.progress.copies.count > 0) {
        send_message(a, &m);
    }
    wire_message_fini(&m);
}

static void on_report(struct loop_task *t)
{
    struct agent *a = container_of(t, struct agent, report);
    struct wire_message m = {.kind = WIRE_REPORT, .report.changes = a->changes};
    a->changes = (struct wire_changes){0};
    if (a->state == AGENT_MEMBER && m.report.changes.count > 0) {
        send_message(a, &m);
    }
    wire_message_fini(&m);
}

void agent_report(struct agent *a, enum wire_op op, int shard, uint64_t term, const char *node)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    if (a->state != AGENT_MEMBER || a->changes.count >= WIRE_CHANGES_MAX) {
        return;
    }
    wire_changes_add(&a->changes, op, shard, term, node);
    loop_defer(a->loop, &a->report);
}

static void send_confirm(struct agent *a)
{
    struct wire_message m = {.kind = WIRE_CONFIRM};
    m.confirm.epoch = a->map->epoch;
    send_message(a, &m);
}

/* ---- connection ---- */

static void set_state(struct agent *a, enum agent_state s)
{
    if (a->state != s) {
        LOG_DEBUG_EVENT(AREA, "state from=%s to=%s", agent_state_name(a->state),
                        agent_state_name(s));
        a->state = s;
    }
}

static void set_why(struct agent *a, const char *what, const char *detail)
{
    char why[sizeof(a->why)];
    (void)snprintf(why, sizeof(why), "%s%s", what, detail);
    if (strcmp(why, a->why) != 0 && why[0] != '\0') {
        log_event(LOG_NOTICE, AREA, "not connected to the coordinator addr=%s why=\"%s\"",
                  a->coordinator, why);
    }
    memcpy(a->why, why, sizeof(why));
}

/* ---- asking ---- */

uint64_t agent_ask(struct agent *a, int proto, const struct slice *argv, size_t argc,
                   agent_answer_fn fn, void *arg)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    if (a->state != AGENT_MEMBER) {
        return 0;
    }
    a->asks = mem_realloc(a->asks, sizeof(*a->asks) * (a->n_asks + 1));
    a->asks[a->n_asks++] = (struct ask){.number = ++a->ask_last, .fn = fn, .arg = arg};
    struct str words = {0};
    str_printf(&words, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        str_printf(&words, "$%zu\r\n", argv[i].len);
        str_append_slice(&words, argv[i]);
        str_appendz(&words, "\r\n");
    }
    struct wire_message m = {
        .kind = WIRE_ASK,
        .ask = {.number = a->ask_last, .proto = (uint64_t)proto, .words = str_slice(&words)}};
    send_message(a, &m);
    str_fini(&words);
    return a->ask_last;
}

static void remove_ask(struct agent *a, size_t i)
{
    str_fini(&a->asks[i].reply);
    memmove(&a->asks[i], &a->asks[i + 1], sizeof(*a->asks) * (a->n_asks - i - 1));
    a->n_asks--;
}

void agent_unask(struct agent *a, uint64_t number)
{
    for (size_t i = 0; i < a->n_asks; i++) {
        if (a->asks[i].number == number) {
            remove_ask(a, i);
            return;
        }
    }
}

/* An asker may ask again, or let go of others. */
static void on_answer(struct loop_task *t)
{
    struct agent *a = container_of(t, struct agent, answer);
    uint64_t epoch = a->map == NULL ? 0 : a->map->epoch;
    for (size_t i = 0; i < a->n_asks;) {
        struct ask k = a->asks[i];
        if (!k.answered || k.epoch > epoch) {
            i++;
            continue;
        }
        a->asks[i].reply = (struct str){0};
        remove_ask(a, i);
        k.fn(k.arg, str_slice(&k.reply));
        str_fini(&k.reply);
        i = 0;
    }
}

static void take_answer(struct agent *a, const struct wire_answer *m)
{
    for (size_t i = 0; i < a->n_asks; i++) {
        struct ask *k = &a->asks[i];
        if (k->number == m->number && !k->answered) {
            k->answered = true;
            k->epoch = m->epoch;
            str_append_slice(&k->reply, m->reply);
            loop_defer(a->loop, &a->answer);
        }
    }
}

/* What had been answered, but by a map that will not come, is not known to be done either. */
static void fail_asks(struct agent *a)
{
    for (size_t i = 0; i < a->n_asks; i++) {
        struct ask *k = &a->asks[i];
        if (k->join) {
            continue;
        }
        k->answered = true;
        k->epoch = 0;
        str_clear(&k->reply);
        str_appendz(&k->reply, "-CLUSTERDOWN The connection to the coordinator was lost: what was "
                               "asked for may or may not be done\r\n");
    }
    if (a->n_asks > 0) {
        loop_defer(a->loop, &a->answer);
    }
}

uint64_t agent_await(struct agent *a, agent_answer_fn fn, void *arg)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    a->asks = mem_realloc(a->asks, sizeof(*a->asks) * (a->n_asks + 1));
    struct ask *k = &a->asks[a->n_asks++];
    *k = (struct ask){.number = ++a->ask_last, .fn = fn, .arg = arg, .join = true};
    if (a->state == AGENT_MEMBER) {
        k->answered = true;
        str_appendz(&k->reply, "+OK\r\n");
        loop_defer(a->loop, &a->answer);
    }
    return a->ask_last;
}

/* Tells those who wait for the registration. False: nobody does. */
static bool end_joins(struct agent *a, const char *error)
{
    bool any = false;
    for (size_t i = 0; i < a->n_asks; i++) {
        struct ask *k = &a->asks[i];
        if (!k->join || k->answered) {
            continue;
        }
        k->answered = true;
        if (error == NULL) {
            str_appendz(&k->reply, "+OK\r\n");
        } else {
            str_printf(&k->reply, "-ERR Not joined: %s\r\n", error);
        }
        loop_defer(a->loop, &a->answer);
        any = true;
    }
    return any;
}

static void drop_link(struct agent *a)
{
    fail_asks(a);
    a->way_skips = 0;
    loop_timer_stop(&a->heartbeat);
    loop_timer_stop(&a->deadline);
    loop_timer_stop(&a->progress);
    resp_link_free(&a->link);
}

/* Waits and tries again: twice as long each time, up to a limit, each wait shortened by chance so
 * that a cluster's nodes do not come back all at once. */
static void retry_later(struct agent *a, int64_t at_least_ms)
{
    drop_link(a);
    if (a->state == AGENT_FORGOTTEN || a->coordinator_port == 0) {
        return;
    }
    if (end_joins(a, a->why)) {
        set_state(a, AGENT_IDLE);
        a->coordinator_port = 0;
        a->coordinator[0] = '\0';
        return;
    }
    set_state(a, AGENT_CONNECTING);
    int64_t wait_ms = MAX(a->retry_ms, at_least_ms);
    wait_ms = wait_ms / 2 + (int64_t)rng_below(&a->rng, (uint64_t)wait_ms / 2 + 1);
    a->retry_ms = MIN(a->retry_ms * 2, RETRY_MS_MAX);
    loop_timer_start(&a->retry, wait_ms, 0);
}

/* Of a node or a proxy. */
static void ask_the_way(struct agent *a)
{
    a->way_skips = 0;
    if (a->settings.password[0] != '\0') {
        a->way_skips = 1;
        resp_link_send(a->link, (struct slice[]){SLICE("AUTH"), slice_str(a->settings.password)},
                       2);
    }
    resp_link_send(a->link, (struct slice[]){SLICE("INFO"), SLICE("cluster")}, 2);
}

static void on_up(struct resp_link *l)
{
    struct agent *a = resp_link_owner(l);
    set_state(a, AGENT_REGISTERING);
    loop_timer_start(&a->deadline, REGISTER_MS, 0);
    if (a->way == WAY_ASKED_FIRST) {
        ask_the_way(a);
    } else {
        send_register(a);
    }
}

static void connect_now(struct agent *a);

static void on_down(struct resp_link *l, int err)
{
    struct agent *a = resp_link_owner(l);
    if (a->state == AGENT_REGISTERING && a->way == WAY_ASKED) {
        a->way = WAY_ASKED_FIRST;
        drop_link(a);
        connect_now(a);
        return;
    }
    set_why(a, "", err == 0 ? "the coordinator closed the connection" : addr_error(err));
    retry_later(a, 0);
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc);

static void connect_now(struct agent *a)
{
    loop_timer_stop(&a->retry);
    set_state(a, AGENT_CONNECTING);
    a->link = resp_link_connect(a->loop, a->host, a->coordinator_port, CONNECT_MS, a, on_up,
                                on_message, on_down);
}

static void on_retry(struct loop_timer *t)
{
    connect_now(t->arg);
}

static void on_deadline(struct loop_timer *t)
{
    struct agent *a = t->arg;
    set_why(a, "", "the coordinator does not answer the registration");
    retry_later(a, 0);
}

static void on_heartbeat(struct loop_timer *t)
{
    struct agent *a = t->arg;
    if (loop_now_ms(a->loop) - a->heard_ms > a->interval_ms * SILENT_INTERVALS) {
        set_why(a, "", "the coordinator fell silent");
        retry_later(a, 0);
        return;
    }
    send_heartbeat(a);
    send_progress(a, false);
}

void agent_alive(struct agent *a)
{
    int64_t now_ms = loop_clock_us() / 1000; /* the loop's own stands still */
    if (a->state != AGENT_MEMBER || now_ms - a->alive_ms < a->interval_ms) {
        return;
    }
    a->alive_ms = now_ms;
    a->heard_ms = now_ms; /* it may have spoken: nobody listens */
    send_heartbeat(a);
    resp_link_flush_now(a->link);
}

static void on_progress(struct loop_timer *t)
{
    send_progress(t->arg, true);
}

/* ---- messages ---- */

static void take_welcome(struct agent *a, const struct wire_welcome *m)
{
    int64_t interval = (int64_t)MIN(m->heartbeat_interval_ms, (uint64_t)HEARTBEAT_MS_SANE);
    if (strlen(m->cluster_id) != NODE_ID_LEN || interval <= 0) {
        return;
    }
    if (a->state != AGENT_MEMBER) {
        log_event(LOG_NOTICE, AREA, "registered coordinator=%s cluster=%s heartbeat-ms=%lld",
                  a->coordinator, m->cluster_id, (long long)interval);
    }
    memcpy(a->cluster_id, m->cluster_id, sizeof(a->cluster_id));
    a->interval_ms = interval;
    a->retry_ms = RETRY_MS_MIN;
    a->why[0] = '\0';
    set_state(a, AGENT_MEMBER);
    loop_timer_stop(&a->deadline);
    loop_timer_start(&a->heartbeat, interval, interval);
    loop_timer_start(&a->progress, PROGRESS_MS, PROGRESS_MS);
    a->port.welcome(a->port.arg, m);
    send_heartbeat(a);
    (void)end_joins(a, NULL);
}

static void take_map(struct agent *a, const struct wire_map *m)
{
    if (a->state != AGENT_MEMBER) {
        return;
    }
    struct map *got = map_decode(m->map);
    if (got == NULL || strcmp(got->cluster_id, a->cluster_id) != 0) {
        log_event(LOG_WARNING, AREA, "the coordinator sent a map that is none epoch=%llu",
                  (unsigned long long)m->epoch);
        map_unref(&got);
        return;
    }
    bool same_cluster = a->map != NULL && strcmp(a->map->cluster_id, got->cluster_id) == 0;
    if (same_cluster && got->epoch < a->map->epoch) {
        /* Ours is newer: a late copy, or a coordinator that went back. Never act on it. */
        log_event(LOG_VERBOSE, AREA, "older map ignored epoch=%llu ours=%llu",
                  (unsigned long long)got->epoch, (unsigned long long)a->map->epoch);
        map_unref(&got);
        return;
    }
    bool newer = !same_cluster || got->epoch > a->map->epoch;
    if (newer) {
        map_unref(&a->map);
        a->map = got;
        a->self = map_node_by_id(got, a->settings.id);
        a->port.map(a->port.arg, got, a->self);
        loop_defer(a->loop, &a->answer);
    } else {
        map_unref(&got);
    }
    send_confirm(a);
}

static void take_refused(struct agent *a, const struct wire_refused *m)
{
    set_why(a, "refused: ", m->reason);
    retry_later(a, REFUSED_MS);
}

static void take_settings(struct agent *a, const struct wire_settings *m)
{
    struct resp_parser p;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    if (a->state == AGENT_MEMBER && m->pairs.len > 0 && resp_parse(&p, m->pairs) == RESP_OK &&
        p.argc % 2 == 0) {
        a->port.settings(a->port.arg, m->version, p.argv, p.argc);
    }
    resp_parser_fini(&p);
}

static void take_order(struct agent *a, const struct wire_order *m)
{
    for (size_t i = 0; i < m->changes.count && a->state == AGENT_MEMBER; i++) {
        a->port.order(a->port.arg, &m->changes.items[i]);
    }
}

static void take_forgotten(struct agent *a)
{
    log_event(LOG_WARNING, AREA, "the cluster let go of this node coordinator=%s", a->coordinator);
    set_why(a, "", "forgotten by the cluster");
    a->cluster_id[0] = '\0';
    set_state(a, AGENT_FORGOTTEN);
    drop_link(a);
}

/* ---- a node or proxy instead of the coordinator ---- */

#define COORDINATOR_FIELD "shoal_coordinator:"

/* "host:port" behind the field's name in the text of INFO; false: there is none. */
static bool find_coordinator(struct slice info, char host[NODE_HOST_MAX], int *port)
{
    const char *at = memmem(info.ptr, info.len, COORDINATOR_FIELD, strlen(COORDINATOR_FIELD));
    char text[NODE_HOST_MAX + 8];
    if (at == NULL) {
        return false;
    }
    at += strlen(COORDINATOR_FIELD);
    size_t left = info.len - (size_t)(at - info.ptr);
    const char *end = memchr(at, '\r', left);
    size_t len = end == NULL ? left : (size_t)(end - at);
    if (len == 0 || len >= sizeof(text)) {
        return false;
    }
    memcpy(text, at, len);
    text[len] = '\0';
    return addr_split(text, host, NODE_HOST_MAX, port) && *port > 0;
}

static void set_coordinator(struct agent *a, const char *host, int port)
{
    (void)snprintf(a->host, sizeof(a->host), "%s", host);
    a->coordinator_port = port;
    (void)snprintf(a->coordinator, sizeof(a->coordinator),
                   strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
    a->retry_ms = RETRY_MS_MIN;
    a->why[0] = '\0';
}

/* True: the message belongs to asking the way. */
static bool guided(struct agent *a, char type, const struct slice *argv, size_t argc)
{
    char host[NODE_HOST_MAX];
    int port = 0;
    if (a->state != AGENT_REGISTERING || a->way == WAY_LED) {
        return false;
    }
    if (a->way == WAY_KNOWN) {
        if (type == '-') {
            a->way = WAY_ASKED;
            ask_the_way(a);
        }
        return type == '-';
    }
    if (a->way_skips > 0) {
        a->way_skips--;
        return true;
    }
    if (type == '-') {
        set_why(a, "who is there does not say where its coordinator is: ", "a password is needed");
        retry_later(a, REFUSED_MS);
        return true;
    }
    if (type != '$' || argc != 1 || !find_coordinator(argv[0], host, &port)) {
        set_why(a, "", "who is there is in no cluster of Shoal: a shoal-proxy makes one");
        retry_later(a, REFUSED_MS);
        return true;
    }
    log_event(LOG_NOTICE, AREA, "the coordinator is at %s:%d, says %s", host, port, a->coordinator);
    drop_link(a);
    set_coordinator(a, host, port);
    a->way = WAY_LED;
    connect_now(a);
    return true;
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct agent *a = resp_link_owner(l);
    struct wire_message m;
    if (type != '*' && guided(a, type, argv, argc)) {
        return;
    }
    const char *wrong = type == '*' ? wire_decode(argv, argc, &m) : "not a message";
    if (wrong != NULL) {
        set_why(a, "the coordinator is not understood: ", wrong);
        retry_later(a, REFUSED_MS);
        return;
    }
    a->heard_ms = loop_now_ms(a->loop);
    switch (m.kind) {
    case WIRE_WELCOME:
        take_welcome(a, &m.welcome);
        break;
    case WIRE_MAP:
        take_map(a, &m.map);
        break;
    case WIRE_SETTINGS:
        take_settings(a, &m.settings);
        break;
    case WIRE_REFUSED:
        take_refused(a, &m.refused);
        break;
    case WIRE_FORGOTTEN:
        take_forgotten(a);
        break;
    case WIRE_ORDER:
        take_order(a, &m.order);
        break;
    case WIRE_ANSWER:
        take_answer(a, &m.answer);
        break;
    case WIRE_ASK:
    case WIRE_HEARD:
    case WIRE_REPORT:
    case WIRE_PROGRESS:
    case WIRE_REGISTER:
    case WIRE_HEARTBEAT:
    case WIRE_CONFIRM:
    case WIRE_KINDS:
        break;
    }
    wire_message_fini(&m);
}

/* ---- life ---- */

struct agent *agent_new(struct loop *l, const struct agent_settings *s,
                        const struct agent_port *port)
{
    INVARIANT(strlen(s->id) == NODE_ID_LEN);
    INVARIANT(s->incarnation != 0);
    struct agent *a = mem_zalloc(sizeof(*a));
    a->magic = AGENT_MAGIC;
    a->loop = l;
    a->settings = *s;
    agent_password(a, s->password);
    a->port = *port;
    a->self = NODE_NONE;
    a->heard_ms = -1;
    a->retry_ms = RETRY_MS_MIN;
    a->interval_ms = HEARTBEAT_MS_FIRST;
    rng_init(&a->rng, s->incarnation);
    loop_timer_init(&a->retry, l, on_retry, a);
    loop_timer_init(&a->heartbeat, l, on_heartbeat, a);
    loop_timer_init(&a->deadline, l, on_deadline, a);
    loop_timer_init(&a->progress, l, on_progress, a);
    loop_task_init(&a->report, on_report);
    loop_task_init(&a->answer, on_answer);
    return a;
}

void agent_free(struct agent **ap)
{
    struct agent *a = *ap;
    if (a == NULL) {
        return;
    }
    CHECK_OBJ(a, AGENT_MAGIC);
    *ap = NULL;
    while (a->n_asks > 0) {
        remove_ask(a, a->n_asks - 1);
    }
    mem_free(a->asks);
    drop_link(a);
    loop_timer_fini(&a->retry);
    loop_timer_fini(&a->heartbeat);
    loop_timer_fini(&a->deadline);
    loop_timer_fini(&a->progress);
    loop_undefer(&a->report);
    loop_undefer(&a->answer);
    mem_free(a->changes.items);
    map_unref(&a->map);
    a->magic = 0;
    mem_free(a->password);
    mem_free(a);
}

bool agent_join(struct agent *a, const char *host, int port, struct errmsg *err)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    if (port < 1 || port > 65535 || strlen(host) >= sizeof(a->host)) {
        errmsg_set(err, "bad coordinator address");
        return false;
    }
    bool same = port == a->coordinator_port && strcmp(host, a->host) == 0;
    if (a->state == AGENT_MEMBER) {
        if (!same) {
            errmsg_set(err, "the node is a member of cluster %s, whose coordinator is %s",
                       a->cluster_id, a->coordinator);
        }
        return same;
    }
    drop_link(a);
    a->way = WAY_KNOWN;
    set_coordinator(a, host, port);
    connect_now(a);
    return true;
}

bool agent_reset(struct agent *a)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    if (a->state != AGENT_FORGOTTEN && a->state != AGENT_IDLE) {
        return false;
    }
    set_state(a, AGENT_IDLE);
    a->why[0] = '\0';
    a->coordinator_port = 0;
    a->coordinator[0] = '\0';
    map_unref(&a->map);
    a->self = NODE_NONE;
    return true;
}

enum agent_state agent_state(const struct agent *a)
{
    return a->state;
}

struct map *agent_map(const struct agent *a)
{
    return a->map;
}

int agent_self(const struct agent *a)
{
    return a->self;
}

const char *agent_coordinator(const struct agent *a)
{
    return a->coordinator;
}

const char *agent_why(const struct agent *a)
{
    return a->why;
}

int64_t agent_heard_ms(const struct agent *a)
{
    return a->heard_ms < 0 ? -1 : loop_now_ms(a->loop) - a->heard_ms;
}

void agent_password(struct agent *a, const char *password)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    mem_free(a->password);
    a->password = mem_strdup(password == NULL ? "" : password);
    a->settings.password = a->password;
}

void agent_set(struct agent *a, uint32_t weight, const char *zone)
{
    CHECK_OBJ(a, AGENT_MAGIC);
    a->settings.weight = weight;
    (void)snprintf(a->settings.zone, sizeof(a->settings.zone), "%s", zone);
    if (a->state == AGENT_MEMBER) {
        send_register(a);
    }
}
