// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/worker.h"

#include "proxy/control/control.h"
#include "proxy/front/client.h"
#include "proxy/front/listening.h"
#include "proxy/front/monitor.h"
#include "proxy/front/observe.h"
#include "proxy/front/options.h"
#include "proxy/front/users.h"
#include "proxy/front/worker_priv.h"

#include "common/app/acl_command.h"
#include "common/app/acl_log.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/addr.h"
#include "common/io/stream.h"
#include "common/io/ticks.h"
#include "common/resp/errors.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define MAX_CLIENTS_TEXT "-ERR max number of clients reached\r\n"

/* --- accepting --- */

static void refuse(struct worker *w, int fd, const char *text)
{
    w->counters.connections_rejected++;
    ssize_t n = write(fd, text, strlen(text)); /* a fresh socket has room; else it is just closed */
    (void)n;
    close(fd);
}

void worker_accepted(void *arg, int fd)
{
    struct worker *w = arg;
    long n = atomic_fetch_add(&w->all->n_clients, 1);
    if (n >= w->options->maxclients) {
        atomic_fetch_sub(&w->all->n_clients, 1);
        refuse(w, fd, MAX_CLIENTS_TEXT);
        return;
    }
    if (w->impl->over_memory) {
        atomic_fetch_sub(&w->all->n_clients, 1);
        refuse(w, fd, "-OOM the proxy's buffers are above maxmemory-clients\r\n");
        return;
    }
    if (w->options->protected_mode && acl_user_nopass(acl_users_default(w->users)) &&
        !addr_peer_is_local(fd)) {
        atomic_fetch_sub(&w->all->n_clients, 1);
        refuse(w, fd, "-" ERR_PROTECTED "\r\n");
        return;
    }
    (void)client_new(w, fd);
}

/* --- timers --- */

#define STALL_US (100 * 1000) /* so late is no timer that only waits for its turn */

static void on_tick(struct loop_timer *t)
{
    struct worker *w = t->arg;
    int64_t now_us = loop_now_us(w->loop);
    exec_set_now(w->exec, now_us);
    if (now_us - w->impl->tick_at_us > STALL_US) {
        exec_stalled(w->exec, now_us - w->impl->tick_at_us);
    }
    exec_tick(w->exec);
}

/* Above maxmemory-clients: the one that takes most goes. */
static void relieve_memory(struct worker *w)
{
    struct client *largest = NULL;
    size_t most = 0;
    int64_t limit = w->options->maxmemory_clients;
    w->impl->over_memory = limit > 0 && mem_used() > (size_t)limit;
    if (!w->impl->over_memory) {
        return;
    }
    LIST_FOREACH(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        size_t m = client_memory(c);
        if (m > most && !c->session.no_evict) {
            most = m;
            largest = c;
        }
    }
    if (largest != NULL && most > 64 * 1024) {
        log_event(LOG_NOTICE, "client", "closed to free memory id=%llu bytes=%zu",
                  (unsigned long long)largest->session.id, most);
        w->counters.evicted++;
        client_kill(largest, CLIENT_KILL_NOW);
    }
}

static void on_cron(struct loop_timer *t)
{
    struct worker *w = t->arg;
    int64_t now_us = loop_now_us(w->loop);
    uint64_t in = w->counters.net_in, out = w->counters.net_out;
    LIST_FOREACH(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        in += c->stream->bytes_in;
        out += c->stream->bytes_out;
        client_cron(c, now_us);
    }
    observe_second(w->observe, w->counters.commands, in, out);
    mem_publish();
    relieve_memory(w);
}

static void bury_doomed(struct loop_task *t)
{
    struct worker_impl *i = container_of(t, struct worker_impl, bury);
    struct worker *w = i->cron.arg;
    LIST_FOREACH_SAFE(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        if (c->doomed) {
            client_free(&c);
        }
    }
}

/* --- stopping --- */

/* What was received is answered; who has nothing under way is closed. */
static void on_drain(struct loop_timer *t)
{
    struct worker *w = t->arg;
    bool late = loop_now_ms(w->loop) - w->impl->drain_since_ms > DRAIN_LIMIT_MS;
    LIST_FOREACH_SAFE(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        if (late) {
            client_kill(c, CLIENT_KILL_NOW);
        } else {
            client_drain(c);
        }
    }
    if (w->n_clients == 0 && !w->impl->idle) {
        w->impl->idle = true;
        atomic_fetch_sub(&w->all->n_busy, 1);
    }
    /* The clients of others may wait for its answer to their questions. */
    if (w->impl->idle && atomic_load(&w->all->n_busy) == 0) {
        loop_timer_stop(&w->impl->drain);
        loop_stop(w->loop);
    }
}

void worker_stop_soon(struct worker *w)
{
    struct worker_impl *i = w->impl;
    for (int k = 0; k < i->n_listeners; k++) {
        listener_stop(i->listeners[k]);
    }
    i->stopping = true;
    i->drain_since_ms = loop_now_ms(w->loop);
    /* The first look comes a moment later: what lies in the sockets is read before. */
    loop_timer_start(&i->drain, DRAIN_TICK_MS, DRAIN_TICK_MS);
}

/* --- settings --- */

static void exec_settings_of(const struct proxy_options *o, struct exec_settings *s)
{
    *s = (struct exec_settings){
        .read_from = o->read_from,
        .retry_max_attempts = o->retry_max_attempts,
        .retry_initial_delay_us = o->retry_initial_delay_ms * 1000,
        .retry_max_delay_us = o->retry_max_delay_ms * 1000,
        .retry_backoff_percent = o->retry_backoff_percent,
        .request_timeout_us = o->request_timeout_ms * 1000,
        .failover_hold_us = o->failover_hold_ms * 1000,
        .hold_max_requests = o->hold_max_requests,
        .hold_max_bytes = o->hold_max_bytes,
        .lane_max_in_flight = o->lane_max_in_flight,
        .lane_max_bytes = o->lane_max_bytes,
        .client_max_pending = o->client_max_pending,
        .pinned_max = o->pinned_max,
        .databases = o->databases,
        /* Elsewhere than in sync and strong mode a copy may lag; one that does for longer than a
         * lease is no member of the in-sync set, and after another all maps say so. */
        .own_reads_us =
            o->replication_mode == REPLICATE_SYNC && o->consistency == CONSISTENCY_STRONG
                ? 0
                : 2 * o->lease_ms * 1000,
        .node_password = proxy_options_node_password(o),
        .lanes_announced = true,
        .ears = true,
        .trace = o->slowlog_log_slower_than >= 0,
    };
}

void worker_apply_options(struct worker *w)
{
    struct exec_settings s;
    struct worker_impl *i = w->impl;
    exec_settings_of(w->options, &s);
    s.password_set = auth_needed(w->users);
    s.trace |= monitor_any(w);
    exec_set(w->exec, &s);
    loop_gather(w->loop, w->options->gather_us);
    observe_set(w->observe, w->options);
    if (w->acl_log != NULL) {
        acl_log_set_len_max(w->acl_log, w->options->acllog_max_len);
    }
    back_set(i->back, w->options->connect_timeout_ms, (int)(w->options->tcp_keepalive_ms / 1000));
    LIST_FOREACH(it, &w->clients) {
        client_limits_changed(container_of(it, struct client, link));
    }
}

/* --- life --- */

static struct worker *worker_new(struct workers *a, int index, const struct workers_config *config,
                                 uint64_t seed)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    struct worker_impl *i = w->impl = mem_zalloc(sizeof(*i));
    struct exec_port port = {.front = w};
    struct exec_settings s;
    w->magic = WORKER_MAGIC;
    w->index = index;
    w->all = a;
    w->loop = loop_new();
    w->mailbox = mailbox_new(w->loop, worker_mail, w);
    w->options = mem_alloc(sizeof(*w->options));
    options_copy(proxy_options_table(), w->options, config->options);
    w->observe = observe_new(index == 0, w->options);
    w->acl_log = index == 0 ? acl_log_new() : NULL;
    w->users = users_latest(a->users);
    list_init(&w->clients);
    list_init(&w->open);
    list_init(&i->control_waits);
    resp_parser_init(&i->parser);
    loop_task_init(&i->bury, bury_doomed);
    loop_timer_init(&i->tick, w->loop, on_tick, w);
    loop_timer_init(&i->cron, w->loop, on_cron, w);
    loop_timer_init(&i->drain, w->loop, on_drain, w);
    i->back = back_new(w->loop, config->control);
    back_fill_port(i->back, &port);
    client_fill_port(&port);
    exec_settings_of(w->options, &s);
    w->exec = exec_new(&port, config->local, &s, seed);
    back_set_exec(i->back, w->exec);
    worker_apply_options(w);
    loop_timer_start(&i->cron, 1000, 1000);
    return w;
}

static void worker_free(struct worker **wp)
{
    struct worker *w = *wp;
    *wp = NULL;
    if (w == NULL) {
        return;
    }
    CHECK_OBJ(w, WORKER_MAGIC);
    struct worker_impl *i = w->impl;
    for (int k = 0; k < i->n_listeners; k++) {
        listener_free(&i->listeners[k]);
    }
    w->observe->notable_us = INT64_MAX; /* nobody would take it any more */
    while (!list_empty(&w->clients)) {
        struct client *c = container_of(w->clients.next, struct client, link);
        client_free(&c);
    }
    mailbox_free(&w->mailbox);
    worker_drop_waits(w);
    while (!list_empty(&w->open)) {
        struct worker_open *o = container_of(w->open.next, struct worker_open, link);
        list_remove(&o->link);
        o->end(o);
    }
    exec_free(&w->exec);
    back_free(&i->back);
    loop_undefer(&i->bury);
    loop_timer_fini(&i->tick);
    loop_timer_fini(&i->cron);
    loop_timer_fini(&i->drain);
    resp_parser_fini(&i->parser);
    while (i->n_spare > 0) {
        struct resp_parser *p = i->spare[--i->n_spare];
        resp_parser_fini(p);
        mem_free(p);
    }
    hmap_fini(&i->by_id);
    observe_free(&w->observe);
    acl_users_unref(&w->users);
    acl_log_free(&w->acl_log);
    options_fini(proxy_options_table(), w->options);
    mem_free(w->options);
    loop_free(&w->loop);
    mem_free(i);
    w->magic = 0;
    mem_free(w);
}

/* The kernel's: lanes' ids, which are never used again by anybody, begin with them. */
static uint64_t random_bits(void)
{
    uint64_t v = 0;
    ssize_t n;
    do {
        n = getrandom(&v, sizeof(v), 0);
    } while (n < 0 && errno == EINTR);
    INVARIANT(n == (ssize_t)sizeof(v));
    return v;
}

static int worker_number(const struct proxy_options *o)
{
    if (o->workers > 0) {
        return (int)o->workers;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 2 ? (int)MIN(cores - 1, 256) : 1;
}

struct workers *workers_new(const struct workers_config *config, struct errmsg *err)
{
    struct workers *a = mem_zalloc(sizeof(*a));
    a->started_us = ticks_monotonic_ns() / 1000;
    a->n = worker_number(config->options);
    a->all = mem_zalloc((size_t)a->n * sizeof(struct worker *));
    a->control = config->control;
    a->conf_path = config->conf_path;
    a->watcher = config->watcher;
    a->users = users_new(config->options, config->control, err);
    if (a->users == NULL) {
        workers_free(&a);
        return NULL;
    }
    int port = (int)config->options->port;
    snprintf(a->run_id, sizeof(a->run_id), "%016llx%016llx%08x", (unsigned long long)random_bits(),
             (unsigned long long)random_bits(), (unsigned)random_bits());
    for (int k = 0; k < a->n; k++) {
        a->all[k] = worker_new(a, k, config, random_bits());
    }
    if (a->n > 1 && !listening_claim(a->all[0], &port, err)) {
        workers_free(&a);
        return NULL;
    }
    for (int k = 0; k < a->n; k++) {
        if (!listening_start(a->all[k], &port, err)) {
            workers_free(&a);
            return NULL;
        }
        if (a->control != NULL) {
            control_subscribe(a->control, a->all[k]->mailbox);
        }
    }
    return a;
}

static void run(void *arg)
{
    struct worker *w = arg;
    loop_run(w->loop);
}

void workers_start(struct workers *a)
{
    for (int k = 0; k < a->n; k++) {
        char name[24];
        snprintf(name, sizeof(name), "worker-%d", k);
        thread_start(&a->all[k]->impl->thread, name, run, a->all[k]);
    }
    a->running = true;
    if (users_unrecorded(a->users)) {
        users_keep_quietly(a->all[0]);
    }
}

static void send_stop(struct worker *w)
{
    struct mail *m = mem_zalloc(sizeof(*m));
    m->kind = MAIL_STOP;
    mailbox_send(w->mailbox, m);
}

void workers_stop(struct workers *a)
{
    if (!a->running) {
        return;
    }
    atomic_store(&a->n_busy, a->n);
    for (int k = 0; k < a->n; k++) {
        send_stop(a->all[k]);
    }
    for (int k = 0; k < a->n; k++) {
        thread_join(&a->all[k]->impl->thread);
    }
    a->running = false;
}

/* Questions that workers had for each other when they stopped: answered while all are there. */
static void settle_mail(struct workers *a)
{
    bool any = true;
    while (any) {
        any = false;
        for (int k = 0; k < a->n; k++) {
            any = (a->all[k] != NULL && mailbox_deliver(a->all[k]->mailbox)) || any;
        }
    }
}

void workers_free(struct workers **ap)
{
    struct workers *a = *ap;
    *ap = NULL;
    if (a == NULL) {
        return;
    }
    workers_stop(a);
    settle_mail(a);
    for (int k = 0; k < a->n; k++) {
        worker_free(&a->all[k]);
    }
    users_free(&a->users);
    mem_free(a->all);
    mem_free(a);
}

void workers_set_map(struct workers *a, struct map *m)
{
    for (int k = 0; k < a->n; k++) {
        struct control_map_mail *mail = mem_zalloc(sizeof(*mail));
        mail->mail.kind = CONTROL_MAP;
        mail->map = map_ref(m);
        mailbox_send(a->all[k]->mailbox, &mail->mail);
    }
    map_unref(&m);
}

/* --- what admin reads --- */

int workers_count(const struct workers *a)
{
    return a->n;
}

int64_t workers_started_us(const struct workers *a)
{
    return a->started_us;
}

int workers_port(const struct workers *a)
{
    return atomic_load(&a->port);
}

const char *workers_run_id(const struct workers *a)
{
    return a->run_id;
}

const char *workers_conf_path(const struct workers *a)
{
    return a->conf_path;
}

struct users *workers_users(const struct workers *a)
{
    return a->users;
}

struct control *workers_control(const struct workers *a)
{
    return a->control;
}

size_t workers_clients(const struct workers *a)
{
    return (size_t)atomic_load(&a->n_clients);
}

struct map *worker_map(const struct worker *w)
{
    return exec_map(w->exec);
}

struct client *worker_client_by_id(const struct worker *w, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&w->impl->by_id, id); n != NULL; n = hmap_same(n)) {
        struct client *c = container_of(n, struct client, by_id);
        if (c->session.id == id) {
            return c;
        }
    }
    return NULL;
}

void worker_back_totals(const struct worker *w, struct back_totals *out)
{
    back_totals(w->impl->back, out);
}
