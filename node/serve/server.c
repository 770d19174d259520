// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/server.h"

#include "node/keyspace/evict.h"
#include "node/link/link.h"
#include "node/serve/access.h"
#include "node/serve/account.h"
#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/holds.h"
#include "node/serve/libraries.h"
#include "node/serve/parked.h"
#include "node/serve/pause.h"
#include "node/serve/pubsub.h"
#include "node/serve/relief.h"
#include "node/serve/replicate.h"
#include "node/serve/scripting.h"
#include "node/serve/tracking.h"
#include "node/serve/waiters.h"
#include "node/types/limits.h"

#include "common/app/daemon.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cmd/keys.h"
#include "common/io/addr.h"
#include "common/resp/errors.h"

#include <sys/random.h>
#include <unistd.h>

#define OVER_MAX       64   /* connections beyond maxclients that may turn out to be lanes */
#define OVER_WAIT_MS   1000 /* ... and how long they have for it */
#define STOP_GRACE_MS  3000
#define LAZYFREE_STEP  64
#define LAZYFREE_US    500
#define EVICT_STEP     500 /* keys a turn beyond what commands need */
#define EXPIRE_LOOK    20  /* keys a step of the active expiry looks at, times effort */
#define SLOW_TURN_US   100000
#define RATE_PERIOD_US 100000

/* --- accepting --- */

static void refuse_fd(struct server *s, int fd, const char *text)
{
    s->stats.rejected_connections++;
    /* A new socket has room for this; if not, closing says enough. */
    ssize_t n = write(fd, text, strlen(text));
    (void)n;
    close(fd);
}

void server_refuse(struct client *c)
{
    struct server *s = c->server;
    struct resp_writer w = {.out = &c->stream->out, .proto = 2};
    if (c->flags & CLIENT_CLOSING) {
        return;
    }
    s->stats.rejected_connections++;
    resp_error(&w, ERR_MAX_CLIENTS);
    client_close_after_reply(c);
}

static void on_accept(void *arg, int fd)
{
    struct server *s = arg;
    size_t counted = s->n_clients - s->n_lanes - s->n_over;
    bool over = counted >= (size_t)s->settings->maxclients;
    if (over && s->n_over >= OVER_MAX) {
        refuse_fd(s, fd, "-" ERR_MAX_CLIENTS "\r\n");
        return;
    }
    if (s->settings->protected_mode && acl_user_nopass(acl_users_default(access_users(s))) &&
        !addr_peer_is_local(fd)) {
        refuse_fd(s, fd, "-" ERR_PROTECTED "\r\n");
        return;
    }
    s->stats.connections++;
    struct client *c = client_new(s, fd);
    if (over) {
        c->flags |= CLIENT_OVER;
        s->n_over++;
    }
}

static void free_listeners(struct listener **l, int n)
{
    for (int i = 0; i < n; i++) {
        listener_free(&l[i]);
    }
}

/* The next word of bind, "-" in front taken off into `*optional`. */
static bool next_host(const char **at, char *host, size_t size, bool *optional)
{
    const char *p = *at + strspn(*at, " \t");
    size_t n = strcspn(p, " \t");
    *at = p + n;
    *optional = n > 0 && p[0] == '-';
    if (*optional) {
        p++;
        n--;
    }
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(host, p, n);
    host[n] = '\0';
    return true;
}

bool server_listen(struct server *s, struct errmsg *err)
{
    struct listener *fresh[SERVER_LISTENERS_MAX];
    int n = 0;
    const char *at = s->settings->bind;
    char host[256];
    bool optional;
    int port = (int)s->settings->port;
    while (n < SERVER_LISTENERS_MAX && next_host(&at, host, sizeof(host), &optional)) {
        struct listener *l = listener_new(s->loop, host, port, (int)s->settings->tcp_backlog, false,
                                          on_accept, s, err);
        if (l == NULL && !optional) {
            free_listeners(fresh, n);
            return false;
        }
        if (l != NULL) {
            fresh[n++] = l;
            port = listener_port(l); /* 0 chose one: the others take the same */
        }
    }
    if (n == 0) {
        errmsg_set(err, "bind: no address to listen on in \"%s\"", s->settings->bind);
        return false;
    }
    free_listeners(s->listeners, s->n_listeners);
    memcpy(s->listeners, fresh, sizeof(fresh[0]) * (size_t)n);
    s->n_listeners = n;
    s->port = port;
    log_event(LOG_NOTICE, "server", "listening bind=\"%s\" port=%d", s->settings->bind, port);
    return true;
}

/* As many descriptors as maxclients needs; fewer clients if the system gives fewer. */
static void raise_fd_limit(struct server *s)
{
    int64_t can = daemon_clients_possible(s->settings->maxclients, SERVER_SPARE_FDS);
    if (can < s->settings->maxclients) {
        log_event(LOG_WARNING, "server", "maxclients lowered: too few open files from=%lld to=%lld",
                  (long long)s->settings->maxclients, (long long)can);
        s->settings->maxclients = can;
    }
}

/* --- clients --- */

struct client *server_client(const struct server *s, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&s->by_id, id * 0x9E3779B97F4A7C15ULL); n != NULL;
         n = hmap_same(n)) {
        struct client *c = container_of(n, struct client, id_node);
        if (c->id == id) {
            return c;
        }
    }
    return NULL;
}

static void check_client(struct server *s, struct client *c)
{
    int64_t now_ms = loop_now_ms(s->loop);
    int64_t idle_ms = now_ms - c->stream->active_us / 1000;
    if ((c->flags & CLIENT_OVER) != 0 && now_ms - c->since_ms > OVER_WAIT_MS) {
        server_refuse(c);
        return;
    }
    bool exempt = (c->flags & (CLIENT_LANE | CLIENT_MONITOR | CLIENT_PAUSED | CLIENT_BLOCKED |
                               CLIENT_LISTENS | CLIENT_FOLLOWS)) != 0;
    if (s->settings->timeout_ms > 0 && idle_ms > s->settings->timeout_ms && !exempt) {
        s->stats.idle_kills++;
        log_event(LOG_VERBOSE, "client", "closed: idle client=%llu addr=%s",
                  (unsigned long long)c->id, c->peer);
        client_kill(c);
        return;
    }
    if (c->stream->out.bytes > 0) {
        client_check_output(c);
    }
    /* What one very long command made it grow to, unless that command is still to run. */
    if (idle_ms > 2000 || (c->flags & (CLIENT_PAUSED | CLIENT_BLOCKED)) == 0) {
        resp_parser_trim(&c->parser);
    }
    client_account(c);
}

/* Looks at every client about once a second: the front of the list, which then goes to its end. */
static void walk_clients(struct server *s)
{
    size_t n = s->n_clients / (size_t)s->settings->hz;
    n = MIN(MAX(n, 5), s->n_clients);
    for (size_t i = 0; i < n; i++) {
        struct list *l = s->round.next;
        list_remove(l);
        list_append(&s->round, l);
        check_client(s, container_of(l, struct client, round));
    }
}

/* --- periodic work --- */

static void sample(struct rate *r, uint64_t total, int64_t now_us)
{
    if (r->last_us != 0 && now_us > r->last_us) {
        uint64_t more = total > r->last ? total - r->last : 0; /* connections may go */
        r->per_second[r->next++ % SERVER_RATE_SAMPLES] =
            more * 1000000 / (uint64_t)(now_us - r->last_us);
    }
    r->last = total;
    r->last_us = now_us;
}

uint64_t rate_now(const struct rate *r)
{
    uint64_t sum = 0;
    for (int i = 0; i < SERVER_RATE_SAMPLES; i++) {
        sum += r->per_second[i];
    }
    return sum / SERVER_RATE_SAMPLES;
}

static void add_link(void *arg, struct link *l)
{
    struct server_traffic *out = arg;
    struct link_stats stats;
    link_stats(l, &stats);
    out->links_in += stats.bytes_in;
    out->links_out += stats.bytes_out;
}

void server_traffic(const struct server *s, struct server_traffic *out)
{
    *out = (struct server_traffic){.bytes_in = s->stats.closed_in,
                                   .bytes_out = s->stats.closed_out,
                                   .reads = s->stats.closed_reads,
                                   .writes = s->stats.closed_writes};
    LIST_FOREACH(it, &s->clients) {
        const struct stream *st = container_of(it, struct client, link)->stream;
        out->bytes_in += st->bytes_in;
        out->bytes_out += st->bytes_out;
        out->reads += st->reads;
        out->writes += st->writes;
    }
    if (s->links != NULL) {
        links_each(s->links, add_link, out);
    }
}

static void sample_rates(struct server *s)
{
    int64_t now_us = loop_now_us(s->loop);
    if (now_us - s->ops.last_us < RATE_PERIOD_US) {
        return;
    }
    struct server_traffic t;
    server_traffic(s, &t);
    sample(&s->ops, s->stats.commands, now_us);
    sample(&s->bytes_in, t.bytes_in, now_us);
    sample(&s->bytes_out, t.bytes_out, now_us);
    sample(&s->links_in, t.links_in, now_us);
    sample(&s->links_out, t.links_out, now_us);
}

/* At most a quarter of the time between two turns of the cron goes into this; a step that found few
 * expired keys ends it. */
static void expire_keys(struct server *s)
{
    struct keyspace *ks = s->ks;
    if (!ks->settings.active_expire || !ks->settings.expires_keys) {
        return;
    }
    uint64_t look = EXPIRE_LOOK * (uint64_t)s->settings->active_expire_effort;
    uint64_t most_ns = 250000000 / (uint64_t)s->settings->hz;
    uint64_t start = ticks_now(&s->scale);
    uint64_t spent_ns;
    for (;;) {
        uint64_t before = ks->stats.expired_keys;
        uint64_t looked = keyspace_expire_cycle(ks, loop_wall_ms(s->loop), look);
        uint64_t expired = ks->stats.expired_keys - before;
        spent_ns = ticks_to_ns(&s->scale, ticks_now(&s->scale) - start);
        if (looked < look || expired * 10 <= looked) {
            break;
        }
        if (spent_ns > most_ns) {
            ks->stats.expired_time_cap_reached++;
            break;
        }
    }
    ks->stats.expire_cycle_us += spent_ns / 1000;
    account_expire_cycle(s, spent_ns);
}

/* Everybody waited for it, other nodes' leases too. `cpu-ms` is at most a cron period more than the
 * turn's own: much less than `ms` means that something else had the processor, or the disk. */
static void tell_slow_turn(const struct server *s)
{
    log_event(LOG_NOTICE, "loop", "a turn took long ms=%lld cpu-ms=%lld",
              (long long)loop_took_us(s->loop) / 1000,
              (long long)(ticks_thread_cpu_us() - s->cpu_sampled_us) / 1000);
}

static void on_cron(struct loop_timer *t)
{
    struct server *s = t->arg;
    s->cpu_sampled_us = ticks_thread_cpu_us();
    durable_tick(s);
    if (s->cron_paused) {
        return;
    }
    s->stats.cron_turns++;
    s->stats.memory_peak = MAX(s->stats.memory_peak, mem_used());
    ticks_scale_update(&s->scale);
    sample_rates(s);
    expire_keys(s);
    tracking_limit(s);
    libraries_tick(s);
    walk_clients(s);
}

/* What waits to be freed goes in slices between the turns' requests: some objects are one small
 * allocation, others many, or large ones. */
static void on_lazyfree(struct loop_timer *t)
{
    struct server *s = t->arg;
    int64_t until_us = loop_clock_us() + LAZYFREE_US;
    do {
        if (!keyspace_lazyfree_step(s->ks, LAZYFREE_STEP)) {
            loop_timer_stop(t);
            return;
        }
    } while (loop_clock_us() < until_us);
}

/* Keys that have to go though no command waits for it: maxmemory was lowered, or a command's
 * patience was over. */
static void evict_more(struct server *s)
{
    if (s->ks->settings.maxmemory != 0) {
        s->ks->uncounted = replicate_memory(s) + follow_memory(s) + s->dying_bytes;
    }
    if (LIKELY(!s->ks->evicting)) {
        return;
    }
    int64_t now_us = loop_now_us(s->loop);
    (void)keyspace_evict(s->ks, loop_wall_ms(s->loop), EVICT_STEP);
    replicate_turn(s);
    if (s->ks->evicting) {
        s->evicting_since_us = s->evicting_since_us == 0 ? now_us : s->evicting_since_us;
        loop_timer_start(&s->evict_timer, 1, 0); /* another turn, though nothing may come */
    } else if (s->evicting_since_us != 0) {
        s->stats.evicting_us += now_us - s->evicting_since_us;
        s->evicting_since_us = 0;
    }
}

static void on_evict_timer(struct loop_timer *t)
{
    (void)t; /* the turn that it makes does the work */
}

static void on_turn(void *arg)
{
    struct server *s = arg;
    if (UNLIKELY(loop_took_us(s->loop) > SLOW_TURN_US)) {
        tell_slow_turn(s);
    }
    dispatch_turn(s);
    evict_more(s);
    relief_turn(s);
    if (!list_empty(&s->ks->lazyfree) && !loop_timer_active(&s->lazyfree_timer)) {
        loop_timer_start(&s->lazyfree_timer, 1, 1);
    }
}

void server_settings_changed(struct server *s)
{
    const struct settings *o = s->settings;
    struct keyspace_settings *k = &s->ks->settings;
    k->maxmemory = (uint64_t)o->maxmemory;
    k->proto_max_bulk_len = o->proto_max_bulk_len;
    k->notify_events = o->notify_events;
    k->maxmemory_policy = o->maxmemory_policy;
    k->maxmemory_samples = o->maxmemory_samples;
    k->maxmemory_tenacity = o->maxmemory_tenacity;
    k->lfu = evict_uses_lfu(o->maxmemory_policy);
    k->lfu_log_factor = (int)o->lfu_log_factor;
    k->lfu_decay_time = (int)o->lfu_decay_time;
    k->lazy_eviction = o->lazyfree_lazy_eviction;
    s->ks->evicting = o->maxmemory != 0; /* looked at once */
    k->lazy_expire = o->lazyfree_lazy_expire;
    k->lazy_server_del = o->lazyfree_lazy_server_del;
    k->lazy_user_del = o->lazyfree_lazy_user_del;
    k->lazy_user_flush = o->lazyfree_lazy_user_flush;
    k->hll_sparse_max_bytes = (uint64_t)o->hll_sparse_max_bytes;
    k->stream_node_max_bytes = (uint64_t)o->stream_node_max_bytes;
    k->stream_node_max_entries = (uint64_t)o->stream_node_max_entries;
    struct type_limits limits = *type_limits();
    limits.hash_entries = (size_t)o->hash_max_listpack_entries;
    limits.hash_value = (size_t)o->hash_max_listpack_value;
    limits.set_intset = (size_t)o->set_max_intset_entries;
    limits.zset_entries = (size_t)o->zset_max_listpack_entries;
    limits.zset_value = (size_t)o->zset_max_listpack_value;
    limits.list_size = (int)o->list_max_listpack_size;
    limits.list_depth = (int)o->list_compress_depth;
    type_limits_set(&limits);
    log_set_level((enum log_level)o->loglevel);
    loop_gather(s->loop, o->gather_us);
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        c->parser.bulk_max = o->proto_max_bulk_len;
        stream_keepalive(c->stream, (int)(o->tcp_keepalive_ms / 1000));
        client_account(c);
    }
    loop_timer_start(&s->cron_timer, 1000 / o->hz, 1000 / o->hz);
    account_settings_changed(s);
    access_settings_changed(s);
    scripting_settings_changed(s);
    durable_settings_changed(s);
    replicate_settings_changed(s);
}

/* --- keys --- */

/* What they watch goes, and is changed by that. */
static void unwatch_all(struct server *s)
{
    LIST_FOREACH(it, &s->clients) {
        struct watcher *w = &container_of(it, struct client, link)->session.watcher;
        bool dirty = w->dirty || w->count > 0;
        watch_clear(w, s->ks);
        w->dirty = dirty;
    }
}

void server_make_keyspace(struct server *s, int n_shards)
{
    if (s->ks != NULL) {
        follow_reset(s, "the data set is another one");
        parked_end_all(s);
        unwatch_all(s);
    }
    for (int i = 0; s->ks != NULL && i < s->ks->n_shards; i++) {
        holds_lost(s->holds, i);
    }
    holds_free(&s->holds);
    s->holds = holds_new(n_shards);
    struct collector *collector = s->ks == NULL ? NULL : s->ks->collector;
    keyspace_free(&s->ks);
    s->ks = keyspace_new(n_shards, (int)s->settings->databases, s->hash_seed);
    s->ks->collector = collector;
    pubsub_hang(s, s->ks);
    tracking_new_keyspace(s);
    s->ks->settings.active_expire = true;
    s->ks->settings.expires_keys = true;
}

const char *server_write_refusal(struct server *s)
{
    const char *why = durable_refusal(s);
    return LIKELY(s->settings->min_replicas == 0) || why != NULL ? why : follow_refusal(s);
}

uint64_t server_keys(const struct server *s)
{
    uint64_t keys = 0;
    for (int i = 0; i < s->ks->n_dbs; i++) {
        keys += keyspace_keys(s->ks, i);
    }
    return keys;
}

/* --- the end --- */

static void on_stop_turn(struct loop_timer *t)
{
    struct server *s = t->arg;
    /* By now what had arrived before the stop was read, run and answered. */
    LIST_FOREACH(it, &s->clients) {
        client_close_after_reply(container_of(it, struct client, link));
    }
    if (s->n_clients == 0 || loop_now_us(s->loop) >= s->stop_deadline_us) {
        loop_timer_stop(t);
        loop_stop(s->loop);
    }
}

void server_stop(struct server *s)
{
    if (s->stopping) {
        return;
    }
    s->stopping = true;
    s->stop_deadline_us = loop_now_us(s->loop) + STOP_GRACE_MS * 1000;
    for (int i = 0; i < s->n_listeners; i++) {
        listener_stop(s->listeners[i]);
    }
    pause_end(s);
    log_event(LOG_NOTICE, "server", "stopping clients=%zu node=%s", s->n_clients, s->id);
    loop_timer_start(&s->stop_timer, 20, 20);
}

/* --- life --- */

static void random_hex(struct server *s, char to[NODE_ID_LEN + 1])
{
    for (int i = 0; i < NODE_ID_LEN; i++) {
        to[i] = "0123456789abcdef"[rng_next(&s->rng) >> 60];
    }
    to[NODE_ID_LEN] = '\0';
}

static void seed(struct server *s)
{
    uint64_t v = 0;
    if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v)) {
        v = (uint64_t)loop_wall_ms(s->loop) ^ ((uint64_t)getpid() << 32);
    }
    rng_init(&s->rng, v);
}

static void on_adopt(struct loop_task *t)
{
    client_adopt_links(container_of(t, struct server, adopt_task));
}

static void start_timers(struct server *s)
{
    loop_timer_init(&s->cron_timer, s->loop, on_cron, s);
    loop_timer_init(&s->evict_timer, s->loop, on_evict_timer, s);
    s->relief = relief_new();
    loop_timer_init(&s->lazyfree_timer, s->loop, on_lazyfree, s);
    loop_timer_init(&s->stop_timer, s->loop, on_stop_turn, s);
    pause_init(s);
    loop_on_turn(s->loop, on_turn, s);
}

/* The keyspace, with what is on disk in it. */
static bool make_data(struct server *s, struct errmsg *err)
{
    int n_shards;
    if (!durable_open(s, &n_shards, err)) {
        return false;
    }
    server_make_keyspace(s, n_shards == 0 ? SHARDS_DEFAULT : n_shards);
    server_settings_changed(s);
    return durable_recover(s, err);
}

struct server *server_new(struct loop *l, struct settings *settings, struct errmsg *err)
{
    struct server *s = mem_zalloc(sizeof(*s));
    s->magic = SERVER_MAGIC;
    s->loop = l;
    s->settings = settings;
    s->self = NODE_NONE;
    repl_settings_default(&s->repl_settings);
    s->next_client_id = 1;
    s->started_us = loop_now_us(l);
    s->started_wall_ms = loop_wall_ms(l);
    list_init(&s->clients);
    list_init(&s->round);
    list_init(&s->adopted);
    lanes_init(&s->lanes);
    waiters_init(s);
    pubsub_init(s);
    tracking_init(s);
    loop_task_init(&s->adopt_task, on_adopt);
    seed(s);
    random_hex(s, s->run_id);
    random_hex(s, s->id);
    follow_init(s);
    ticks_scale_init(&s->scale);
    s->batch = batch_new();
    s->keys = mem_alloc(sizeof(*s->keys));
    key_list_init(s->keys);
    call_table_data(&s->table);
    dispatch_table(s);
    account_init(s);
    scripting_init(s);
    raise_fd_limit(s);
    start_timers(s);
    if (!oom_score_apply(&s->oom_score, settings, err) || !access_init(s, err) ||
        !make_data(s, err) || !server_listen(s, err)) {
        server_free(&s);
    } else if (settings->stand_alone && durable_logs(s)) {
        replicate_start(s, s->ks->n_shards, true);
        replicate_alone(s);
    }
    return s;
}

void server_free(struct server **sp)
{
    struct server *s = *sp;
    *sp = NULL;
    if (s == NULL) {
        return;
    }
    free_listeners(s->listeners, s->n_listeners);
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        client_free(&c);
    }
    follow_fini(s);
    relief_free(&s->relief);
    loop_off_turn(s->loop, on_turn, s);
    replicate_stop(s);
    durable_close(s);
    loop_timer_fini(&s->cron_timer);
    loop_timer_fini(&s->evict_timer);
    loop_timer_fini(&s->lazyfree_timer);
    loop_timer_fini(&s->stop_timer);
    pause_fini(s);
    scripting_fini(s);
    account_fini(s);
    access_fini(s);
    batch_free(&s->batch);
    lanes_fini(&s->lanes);
    pubsub_fini(s);
    hmap_fini(&s->aside);
    tracking_fini(s);
    hmap_fini(&s->by_id);
    holds_free(&s->holds);
    loop_undefer(&s->adopt_task);
    outbuf_fini(&s->sink);
    outbuf_fini(&s->exec_out);
    key_list_fini(s->keys);
    mem_free(s->keys);
    keyspace_free(&s->ks);
    map_unref(&s->map);
    mem_free(s->conf_path);
    mem_free(s->executable);
    s->magic = 0;
    mem_free(s);
}
