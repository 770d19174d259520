// SPDX-License-Identifier: BSD-3-Clause
/* INFO of the whole: what clients do is counted by the workers, what is kept is told by the nodes.
 * First the workers are asked, then the nodes if a section needs them, then the text is made. */
#include "proxy/admin/admin_priv.h"
#include "proxy/admin/info_merge.h"
#include "proxy/control/control.h"
#include "proxy/front/observe.h"

#include "common/app/info.h"
#include "common/app/info_process.h"
#include "common/base/mem.h"
#include "common/io/stream.h"
#include "common/resp/value.h"

#include <stdio.h>
#include <unistd.h>

/* One worker's share; added up field by field. */
struct facts {
    struct counters counters;
    struct exec_counters exec;
    uint64_t clients, blocked, tracking, client_memory, open, held, rates[3];
    uint64_t in_most, out_most; /* the largest, not the sum */
    struct cmdstats *stats;     /* a copy; the asker's */
};

struct info_run {
    struct later *later;
    struct facts sum;
    struct info_merge *nodes;
    size_t n_nodes; /* that answered */
};

/* --- asking the workers --- */

static void visit(struct worker *w, void *arg, struct str *answer)
{
    struct facts f = {.counters = w->counters, .exec = *exec_counters(w->exec)};
    (void)arg;
    f.open = exec_open_requests(w->exec);
    f.held = exec_held_requests(w->exec);
    LIST_FOREACH(it, &w->clients) {
        const struct client *c = container_of(it, struct client, link);
        size_t in = stream_in_memory(c->stream), out = stream_out_memory(c->stream);
        f.clients += !c->doomed;
        f.blocked += c->session.stop == STOP_PAUSE || exec_session_blocked(&c->session);
        f.tracking += c->session.own != NULL;
        f.in_most = MAX(f.in_most, in);
        f.out_most = MAX(f.out_most, out);
        f.client_memory += client_memory(c);
        f.counters.net_in += c->stream->bytes_in;
        f.counters.net_out += c->stream->bytes_out;
    }
    for (int i = 0; i < 3; i++) {
        f.rates[i] = observe_rate(w->observe, i);
    }
    f.stats = cmdstats_new(w->observe->stats->tracking);
    cmdstats_merge(f.stats, w->observe->stats);
    str_append(answer, &f, sizeof(f));
}

static void add_facts(struct facts *to, struct facts *f)
{
#define COUNTER(field, name, text) to->counters.field += f->counters.field;
#include "proxy/front/counters.def"
#undef COUNTER
#define COUNTER(field, name, text) to->exec.field += f->exec.field;
#include "proxy/exec/counters.def"
#undef COUNTER
    to->clients += f->clients;
    to->blocked += f->blocked;
    to->tracking += f->tracking;
    to->client_memory += f->client_memory;
    to->open += f->open;
    to->held += f->held;
    to->in_most = MAX(to->in_most, f->in_most);
    to->out_most = MAX(to->out_most, f->out_most);
    for (int i = 0; i < 3; i++) {
        to->rates[i] += f->rates[i];
    }
    cmdstats_merge(to->stats, f->stats);
    cmdstats_free(&f->stats);
}

/* --- server, clients --- */

static const struct proxy_options *options(const struct info_run *r)
{
    return r->later->worker->options;
}

static void put_server(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    struct worker *w = r->later->worker;
    char exe[512] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[MAX(n, 0)] = '\0';
    int64_t now_ms = loop_wall_ms(w->loop);
    const struct info_server facts = {
        .cluster = options(r)->cluster_view == VIEW_NODES,
        .clock = "POSIX clock_gettime",
        .run_id = workers_run_id(w->all),
        .port = workers_port(w->all),
        .wall_ms = now_ms,
        .uptime_s = (loop_now_us(w->loop) - workers_started_us(w->all)) / 1000000,
        .hz = 1,
        .executable = exe,
        .conf_path = workers_conf_path(w->all),
        .threads = workers_count(w->all) > 1,
    };
    info_server(&facts, to);
}

static void put_clients(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    info_int(to, "connected_clients", (int64_t)r->sum.clients);
    info_int(to, "cluster_connections", 0);
    info_int(to, "maxclients", options(r)->maxclients);
    info_int(to, "client_recent_max_input_buffer", (int64_t)r->sum.in_most);
    info_int(to, "client_recent_max_output_buffer", (int64_t)r->sum.out_most);
    info_int(to, "blocked_clients", (int64_t)r->sum.blocked);
    info_int(to, "tracking_clients", (int64_t)r->sum.tracking);
    info_int(to, "clients_in_timeout_table", 0);
}

/* --- memory, persistence, keyspace: the nodes' --- */

static void put_memory(void *arg, struct str *to)
{
    struct info_run *r = arg;
    struct mem_stats m;
    mem_stats(&m);
    info_merge_add_to(r->nodes, "Memory", "used_memory", (int64_t)m.used);
    info_merge_add_to(r->nodes, "Memory", "used_memory_rss", (int64_t)m.rss);
    info_merge_add_to(r->nodes, "Memory", "used_memory_overhead", (int64_t)m.used);
    info_merge_add_to(r->nodes, "Memory", "allocator_allocated", (int64_t)m.used);
    info_merge_add_to(r->nodes, "Memory", "allocator_active", (int64_t)m.active);
    info_merge_add_to(r->nodes, "Memory", "allocator_resident", (int64_t)m.resident);
    info_merge_add_to(r->nodes, "Memory", "mem_clients_normal", (int64_t)r->sum.client_memory);
    if (info_merge_get(r->nodes, "used_memory_peak") < info_merge_get(r->nodes, "used_memory")) {
        info_merge_add_to(r->nodes, "Memory", "used_memory_peak",
                          info_merge_get(r->nodes, "used_memory") -
                              info_merge_get(r->nodes, "used_memory_peak"));
    }
    /* A value counts once, however many copies it has; some may still wait. */
    int64_t copies = info_merge_get(r->nodes, "lazyfreed_copies");
    info_merge_add_to(r->nodes, "Memory", "lazyfreed_objects",
                      -MIN(copies, info_merge_get(r->nodes, "lazyfreed_objects")));
    info_merge_set(r->nodes, "Memory", "mem_allocator", m.name);
    info_merge_section(r->nodes, "Memory", to);
}

static void put_persistence(void *arg, struct str *to)
{
    struct info_run *r = arg;
    info_merge_add_to(r->nodes, "Persistence", "loading", 0);
    /* A change counts once, however many copies it has. */
    info_merge_add_to(r->nodes, "Persistence", "rdb_changes_since_last_save",
                      -info_merge_get(r->nodes, "replicated_changes_since_last_save"));
    info_merge_section(r->nodes, "Persistence", to);
}

static void put_keyspace(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    info_merge_keyspace(r->nodes, to);
}

/* --- stats --- */

/* Counted where the data is, in Redis's order. */
static const char *const node_stats[] = {"expired_keys",
                                         "expired_stale_perc",
                                         "expired_time_cap_reached_count",
                                         "expire_cycle_cpu_milliseconds",
                                         "evicted_keys",
                                         "total_eviction_exceeded_time",
                                         "current_eviction_exceeded_time",
                                         "keyspace_hits",
                                         "keyspace_misses",
                                         "pubsub_channels",
                                         "pubsub_patterns",
                                         "pubsubshard_channels",
                                         "latest_fork_usec",
                                         "total_forks",
                                         "migrate_cached_sockets",
                                         "slave_expires_tracked_keys",
                                         "active_defrag_hits",
                                         "active_defrag_misses",
                                         "active_defrag_key_hits",
                                         "active_defrag_key_misses",
                                         "total_active_defrag_time",
                                         "current_active_defrag_time",
                                         "tracking_total_keys",
                                         "tracking_total_items",
                                         "tracking_total_prefixes",
                                         "dump_payload_sanitizations"};

/* Channels are known to each copy of their shard, and count once. */
static int64_t node_stat(const struct info_merge *nodes, const char *name)
{
    if (strcmp(name, "pubsub_channels") == 0) {
        return info_merge_get(nodes, "served_channels") +
               info_merge_get(nodes, "channels_everywhere");
    }
    return info_merge_get(nodes, strcmp(name, "pubsubshard_channels") == 0 ? "served_shardchannels"
                                                                           : name);
}

static void put_stats(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    const struct counters *c = &r->sum.counters;
    info_int(to, "total_connections_received", (int64_t)c->connections_received);
    info_int(to, "total_commands_processed", (int64_t)c->commands);
    info_int(to, "instantaneous_ops_per_sec", (int64_t)r->sum.rates[0]);
    info_int(to, "total_net_input_bytes", (int64_t)c->net_in);
    info_int(to, "total_net_output_bytes", (int64_t)c->net_out);
    /* Between nodes; the two sums differ by what is under way. */
    info_int(to, "total_net_repl_input_bytes",
             info_merge_get(r->nodes, "total_net_repl_input_bytes"));
    info_int(to, "total_net_repl_output_bytes",
             info_merge_get(r->nodes, "total_net_repl_output_bytes"));
    info_double(to, "instantaneous_input_kbps", (double)r->sum.rates[1] / 1024);
    info_double(to, "instantaneous_output_kbps", (double)r->sum.rates[2] / 1024);
    info_double(to, "instantaneous_input_repl_kbps",
                info_merge_real(r->nodes, "instantaneous_input_repl_kbps"));
    info_double(to, "instantaneous_output_repl_kbps",
                info_merge_real(r->nodes, "instantaneous_output_repl_kbps"));
    info_int(to, "rejected_connections", (int64_t)c->connections_rejected);
    str_appendz(to, "sync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\n");
    for (size_t i = 0; i < ARRAY_LEN(node_stats); i++) {
        info_int(to, node_stats[i], node_stat(r->nodes, node_stats[i]));
    }
    str_appendz(to, "unexpected_error_replies:0\r\n");
    info_int(to, "total_error_replies", (int64_t)r->sum.stats->errors);
    info_int(to, "total_reads_processed", (int64_t)r->sum.exec.calls_read);
    info_int(to, "total_writes_processed", (int64_t)r->sum.exec.calls_write);
    str_appendz(to, "io_threaded_reads_processed:0\r\nio_threaded_writes_processed:0\r\n");
    str_appendz(to, "reply_buffer_shrinks:0\r\nreply_buffer_expands:0\r\n");
    info_int(to, "evicted_clients", (int64_t)c->evicted);
    info_int(to, "client_output_buffer_limit_disconnections", (int64_t)c->killed_output);
    info_int(to, "client_query_buffer_limit_disconnections", (int64_t)c->killed_query);
}

/* --- replication, cpu, modules --- */

static void put_replication(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    str_appendz(to, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n");
    info_str(to, "master_replid", workers_run_id(r->later->worker->all));
    str_printf(to, "master_replid2:%040d\r\n", 0);
    str_appendz(to, "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n"
                    "repl_backlog_size:0\r\nrepl_backlog_first_byte_offset:0\r\n"
                    "repl_backlog_histlen:0\r\n");
}

static void put_cpu(void *arg, struct str *to)
{
    (void)arg;
    info_cpu(to);
}

static void put_modules(void *arg, struct str *to)
{
    (void)arg;
    (void)to;
}

/* --- commands --- */

static void put_commandstats(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    cmdstats_info_commands(r->sum.stats, to);
}

static void put_errorstats(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    cmdstats_info_errors(r->sum.stats, to);
}

static void put_latencystats(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    const struct percentiles *p = &options(r)->latency_percentiles;
    if (options(r)->latency_tracking) {
        cmdstats_info_latency(r->sum.stats, p->at, (size_t)p->count, to);
    }
}

/* --- cluster, and our own --- */

/* Where nodes register; a node that is told to join by this proxy's address looks here. */
static void put_cluster(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    const char *bind = options(r)->control_bind;
    struct control *control = workers_control(r->later->worker->all);
    char host[NODE_HOST_MAX];
    bool any = bind[0] == '\0' || bind[0] == '*' || strcmp(bind, "0.0.0.0") == 0 ||
               strcmp(bind, "::") == 0;
    info_int(to, "cluster_enabled", 1);
    if (control == NULL) {
        return;
    }
    if (any) {
        struct local_call c = later_call(r->later);
        own_host(&c, host, sizeof(host));
    } else {
        snprintf(host, sizeof(host), "%s", bind);
    }
    str_printf(to,
               strchr(host, ':') != NULL ? "shoal_coordinator:[%s]:%d\r\n"
                                         : "shoal_coordinator:%s:%d\r\n",
               host, control_port(control));
}

static int count_nodes(const struct map *m, enum node_state state)
{
    int n = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        n += m->nodes[i].state == state;
    }
    return n;
}

static void put_map(const struct map *m, struct str *to)
{
    int served = 0;
    for (int i = 0; i < m->n_shards; i++) {
        served += m->shards[i].primary != NODE_NONE;
    }
    info_int(to, "epoch", (int64_t)m->epoch);
    info_str(to, "cluster_id", m->cluster_id);
    info_str(to, "assigned", m->assigned ? "yes" : "no");
    info_int(to, "nodes", m->n_nodes);
    info_int(to, "nodes_healthy", count_nodes(m, NODE_HEALTHY));
    info_int(to, "nodes_unhealthy", count_nodes(m, NODE_UNHEALTHY));
    info_int(to, "nodes_dead", count_nodes(m, NODE_DEAD));
    info_int(to, "shards", m->n_shards);
    info_int(to, "shards_served", served);
}

static void put_shoal(void *arg, struct str *to)
{
    const struct info_run *r = arg;
    struct worker *w = r->later->worker;
    const struct map *m = worker_map(w);
    struct mem_stats mem;
    mem_stats(&mem);
    info_int(to, "workers", workers_count(w->all));
    if (m != NULL) {
        put_map(m, to);
    }
    info_int(to, "nodes_answering", (int64_t)r->n_nodes);
    info_int(to, "requests_open", (int64_t)r->sum.open);
    info_int(to, "requests_waiting", (int64_t)r->sum.held);
#define COUNTER(field, name, text) info_int(to, name, (int64_t)r->sum.exec.field);
#include "proxy/exec/counters.def"
#undef COUNTER
    info_int(to, "protocol_errors", (int64_t)r->sum.counters.protocol_errors);
    info_int(to, "idle_clients_closed", (int64_t)r->sum.counters.timeouts_idle);
    info_bytes(to, "proxy_memory", mem.used);
}

static const struct info_section sections[] = {
    {"server", "Server", INFO_DEFAULT, put_server},
    {"clients", "Clients", INFO_DEFAULT, put_clients},
    {"memory", "Memory", INFO_DEFAULT, put_memory},
    {"persistence", "Persistence", INFO_DEFAULT, put_persistence},
    {"stats", "Stats", INFO_DEFAULT, put_stats},
    {"replication", "Replication", INFO_DEFAULT, put_replication},
    {"cpu", "CPU", INFO_DEFAULT, put_cpu},
    {"modules", "Modules", INFO_EVERYTHING, put_modules},
    {"commandstats", "Commandstats", INFO_ALL, put_commandstats},
    {"errorstats", "Errorstats", INFO_DEFAULT, put_errorstats},
    {"latencystats", "Latencystats", INFO_ALL, put_latencystats},
    {"cluster", "Cluster", INFO_DEFAULT, put_cluster},
    {"keyspace", "Keyspace", INFO_DEFAULT, put_keyspace},
    {"shoal", "Shoal", INFO_ALL, put_shoal},
};

/* --- the run --- */

static void finish(struct info_run *r)
{
    info_reply(sections, ARRAY_LEN(sections), r->later->argv + 1, r->later->argc - 1, r,
               &r->later->w);
}

static void run_free(struct info_run *r)
{
    info_merge_free(&r->nodes);
    cmdstats_free(&r->sum.stats);
    mem_free(r);
}

/* Of the node's address; its id if the map has none. */
static const char *host_of(const struct map *m, const char *node_id)
{
    int i = m == NULL ? NODE_NONE : map_node_by_id(m, node_id);
    return i == NODE_NONE ? node_id : m->nodes[i].host;
}

/* The whole text goes as the merged answer: the request ends with it. */
static void merge(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct info_run *r = arg;
    const struct map *map = worker_map(r->later->worker);
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        if (v != NULL && (v->type == RESP_BULK || v->type == RESP_VERBATIM)) {
            info_merge_add(r->nodes, v->text, host_of(map, answers[i].node_id));
            cmdstats_add_info(r->sum.stats, v->text);
            r->n_nodes++;
        }
        resp_value_free(&v);
    }
    finish(r);
    outbuf_splice(c->w->out, &r->later->out);
    later_drop(&r->later);
    run_free(r);
}

/* Whether a section that the nodes tell is asked for. */
static bool needs_nodes(const struct later *l)
{
    static const char *const theirs[] = {"memory",  "persistence", "stats", "keyspace",    "all",
                                         "default", "everything",  "shoal", "commandstats"};
    for (size_t i = 1; i < l->argc; i++) {
        for (size_t k = 0; k < ARRAY_LEN(theirs); k++) {
            if (slice_is(l->argv[i], theirs[k])) {
                return true;
            }
        }
    }
    return l->argc == 1;
}

static void answered(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct info_run *r = arg;
    (void)asker;
    r->sum.stats = cmdstats_new(true);
    for (int i = 0; i < n; i++) {
        struct facts f;
        INVARIANT(answers[i].len == sizeof(f));
        memcpy(&f, answers[i].ptr, sizeof(f));
        add_facts(&r->sum, &f);
    }
    if (later_gone(r->later) || !needs_nodes(r->later)) {
        finish(r);
        later_finish(&r->later);
        run_free(r);
        return;
    }
    const struct slice ask[] = {SLICE("INFO"), SLICE("default"), SLICE("scriptstats"),
                                SLICE("pubsubstats")};
    struct local_call c = later_call(r->later);
    (void)local_fan(&c, ask, ARRAY_LEN(ask), merge, r);
}

static enum local_result do_info(struct local_call *c)
{
    struct info_run *r = mem_zalloc(sizeof(*r));
    r->later = later_new(c);
    r->nodes = info_merge_new();
    workers_ask(worker_of(c), visit, r, answered);
    return LOCAL_LATER;
}

void admin_info(struct local_table *t)
{
    local_table_set(t, CMD_INFO, do_info, LOCAL_ORDERED);
}
