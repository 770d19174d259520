// SPDX-License-Identifier: BSD-3-Clause
/* INFO: sections as Redis has them, with what this node knows; what it does not do is told as the
 * zero that it is, so that tools find their fields. */
#include "node/admin/admin_priv.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/watch.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/membership.h"
#include "node/serve/parked.h"
#include "node/serve/pubsub.h"
#include "node/serve/replicate.h"
#include "node/serve/tracking.h"

#include "common/app/cmdstats.h"
#include "common/app/info.h"
#include "common/app/info_process.h"
#include "common/base/mem.h"

#include <unistd.h>

typedef unsigned long long ull;

/* --- server, clients --- */

static void put_server(void *arg, struct str *to)
{
    struct server *s = arg;
    const struct info_server facts = {
        .cluster = !s->settings->stand_alone,
        .clock = s->scale.counter ? "processor counter" : "POSIX clock_gettime",
        .run_id = s->run_id,
        .port = s->port,
        .wall_ms = loop_wall_ms(s->loop),
        .uptime_s = (loop_now_us(s->loop) - s->started_us) / 1000000,
        .hz = s->settings->hz,
        .executable = s->executable,
        .conf_path = s->conf_path,
    };
    info_server(&facts, to);
    info_str(to, "node_id", s->id);
}

static void put_clients(void *arg, struct str *to)
{
    struct server *s = arg;
    size_t in_most = 0, out_most = 0, paused = 0, timed = 0;
    LIST_FOREACH(it, &s->clients) {
        const struct client *c = container_of(it, struct client, link);
        in_most = MAX(in_most, stream_in_memory(c->stream));
        out_most = MAX(out_most, stream_out_memory(c->stream));
        paused += (c->flags & (CLIENT_PAUSED | CLIENT_BLOCKED)) != 0;
        paused += parked_aside(c);
        timed += parked_has_timeout(c);
    }
    str_printf(to, "connected_clients:%zu\r\ncluster_connections:0\r\nmaxclients:%lld\r\n",
               s->n_clients - s->n_lanes, (long long)s->settings->maxclients);
    str_printf(to, "client_recent_max_input_buffer:%zu\r\nclient_recent_max_output_buffer:%zu\r\n",
               in_most, out_most);
    struct tracking_stats tracking;
    tracking_stats(s, &tracking);
    str_printf(to,
               "blocked_clients:%zu\r\ntracking_clients:%zu\r\nclients_in_timeout_table:%zu\r\n",
               paused, tracking.clients, timed);
    str_printf(to, "total_blocking_keys:%zu\r\n", s->ks->blocked_keys);
    str_printf(to, "proxy_lanes:%zu\r\nmonitors:%zu\r\ncron_turns:%llu\r\n", s->n_lanes,
               s->n_monitors, (ull)s->stats.cron_turns);
}

/* --- memory --- */

static void put_script_memory(const struct server *s, struct str *to)
{
    struct script_stats c;
    scripts_stats(s->scripts, &c);
    info_bytes(to, "used_memory_lua", c.eval_bytes);
    str_printf(to, "used_memory_vm_eval:%zu\r\nused_memory_scripts_eval:%zu\r\n", c.eval_bytes,
               c.cached_bytes);
    str_printf(to, "number_of_cached_scripts:%zu\r\nnumber_of_functions:%zu\r\n", c.cached,
               c.functions);
    str_printf(to, "number_of_libraries:%zu\r\nused_memory_vm_functions:%zu\r\n", c.libraries,
               c.function_bytes);
    info_bytes(to, "used_memory_vm_total", c.eval_bytes + c.function_bytes);
    str_printf(to, "used_memory_functions:%zu\r\n", c.bytes_of_libraries);
    info_bytes(to, "used_memory_scripts", c.cached_bytes + c.bytes_of_libraries);
}

static void put_memory(void *arg, struct str *to)
{
    struct server *s = arg;
    struct mem_stats m;
    mem_stats(&m);
    size_t peak = MAX(s->stats.memory_peak, m.used);
    size_t data = keyspace_memory(s->ks);
    size_t clients = 0;
    LIST_FOREACH(it, &s->clients) {
        clients += client_memory(container_of(it, struct client, link));
    }
    s->stats.memory_peak = peak;
    info_bytes(to, "used_memory", m.used);
    info_bytes(to, "used_memory_rss", m.rss);
    info_bytes(to, "used_memory_peak", peak);
    str_printf(to, "used_memory_peak_perc:%.2f%%\r\n", 100.0 * (double)m.used / (double)peak);
    str_printf(to,
               "used_memory_overhead:%zu\r\nused_memory_startup:%zu\r\nused_memory_dataset:%zu\r\n",
               m.used > data ? m.used - data : 0, s->memory_at_start, data);
    str_printf(to, "used_memory_dataset_perc:%.2f%%\r\n", 100.0 * (double)data / (double)m.used);
    str_printf(to, "allocator_allocated:%zu\r\nallocator_active:%zu\r\nallocator_resident:%zu\r\n",
               m.used, m.active, m.resident);
    info_bytes(to, "total_system_memory",
               (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE));
    put_script_memory(s, to);
    info_bytes(to, "maxmemory", (size_t)s->settings->maxmemory);
    struct str policy = {0};
    const struct option *o = options_find(settings_options(), SLICE("maxmemory-policy"));
    options_print(settings_options(), s->settings, o, &policy);
    str_printf(to, "maxmemory_policy:%s\r\n", str_cstr(&policy));
    str_fini(&policy);
    info_fragmentation(&m, to);
    size_t backlog = replicate_memory(s);
    str_printf(to,
               "mem_not_counted_for_evict:%zu\r\nmem_replication_backlog:%zu\r\n"
               "mem_total_replication_buffers:%zu\r\nmem_clients_slaves:0\r\n",
               backlog, backlog, backlog);
    str_printf(
        to,
        "mem_clients_normal:%zu\r\nmem_cluster_links:0\r\nmem_aof_buffer:0\r\nmem_allocator:%s\r\n",
        clients, m.name);
    str_printf(
        to,
        "active_defrag_running:0\r\nlazyfree_pending_objects:%llu\r\nlazyfreed_objects:%llu\r\n"
        "lazyfreed_copies:%llu\r\n",
        (ull)s->ks->stats.lazyfree_pending, (ull)s->ks->stats.lazyfreed_objects,
        (ull)s->ks->stats.lazyfreed_copies);
}

/* --- persistence, stats --- */

static void put_persistence(void *arg, struct str *to)
{
    durable_info(arg, to);
}

static void put_stats(void *arg, struct str *to)
{
    struct server *s = arg;
    const struct server_stats *t = &s->stats;
    const struct keyspace_stats *k = &s->ks->stats;
    struct server_traffic tr;
    server_traffic(s, &tr);
    str_printf(to, "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n",
               (ull)t->connections, (ull)t->commands);
    str_printf(to, "instantaneous_ops_per_sec:%llu\r\n", (ull)rate_now(&s->ops));
    str_printf(to, "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n",
               (ull)tr.bytes_in, (ull)tr.bytes_out);
    str_printf(to, "total_net_repl_input_bytes:%llu\r\ntotal_net_repl_output_bytes:%llu\r\n",
               (ull)tr.links_in, (ull)tr.links_out);
    str_printf(to, "instantaneous_input_kbps:%.2f\r\ninstantaneous_output_kbps:%.2f\r\n",
               (double)rate_now(&s->bytes_in) / 1024, (double)rate_now(&s->bytes_out) / 1024);
    str_printf(to, "instantaneous_input_repl_kbps:%.2f\r\ninstantaneous_output_repl_kbps:%.2f\r\n",
               (double)rate_now(&s->links_in) / 1024, (double)rate_now(&s->links_out) / 1024);
    const struct follow_stats *f = follow_stats(s);
    str_printf(to,
               "rejected_connections:%llu\r\nsync_full:%llu\r\nsync_partial_ok:%llu\r\n"
               "sync_partial_err:%llu\r\n",
               (ull)t->rejected_connections, (ull)f->full, (ull)f->partial,
               (ull)f->partial_refused);
    str_printf(
        to,
        "expired_keys:%llu\r\nexpired_stale_perc:0.00\r\nexpired_time_cap_reached_count:%llu\r\n",
        (ull)k->expired_keys, (ull)k->expired_time_cap_reached);
    str_printf(to, "expire_cycle_cpu_milliseconds:%llu\r\n", (ull)k->expire_cycle_us / 1000);
    const struct collector *log = s->ks->collector;
    str_printf(to, "log_entries:%llu\r\nlog_effects:%llu\r\nlog_effect_bytes:%llu\r\n",
               log == NULL ? 0 : (ull)log->entries, log == NULL ? 0 : (ull)log->effects,
               log == NULL ? 0 : (ull)log->bytes);
    str_printf(to, "evicted_keys:%llu\r\nevicted_clients:%llu\r\n", (ull)k->evicted_keys,
               (ull)t->evicted_clients);
    int64_t now_us = loop_now_us(s->loop);
    str_printf(to, "total_eviction_exceeded_time:%lld\r\ncurrent_eviction_exceeded_time:%lld\r\n",
               (long long)t->evicting_us / 1000,
               s->evicting_since_us == 0 ? 0 : (long long)(now_us - s->evicting_since_us) / 1000);
    str_printf(to, "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n", (ull)k->hits, (ull)k->misses);
    str_printf(to, "pubsub_channels:%zu\r\npubsub_patterns:%zu\r\npubsubshard_channels:%zu\r\n",
               channels_count(s->channels, SUBJECT_CHANNEL),
               channels_count(s->channels, SUBJECT_PATTERN),
               channels_count(s->channels, SUBJECT_SHARD));
    str_printf(to, "latest_fork_usec:0\r\ntotal_forks:0\r\nmigrate_cached_sockets:0\r\n");
    struct tracking_stats tracking;
    tracking_stats(s, &tracking);
    str_printf(to, "slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\n"
                   "active_defrag_misses:0\r\nactive_defrag_key_hits:0\r\n"
                   "active_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\n"
                   "current_active_defrag_time:0\r\n");
    str_printf(to, "tracking_total_keys:%zu\r\n", tracking.keys);
    str_printf(to, "tracking_total_items:%zu\r\ntracking_total_prefixes:%zu\r\n", tracking.items,
               tracking.prefixes);
    str_printf(to, "unexpected_error_replies:0\r\n");
    str_printf(to, "total_error_replies:%llu\r\ndump_payload_sanitizations:0\r\n",
               (ull)s->cmdstats->errors);
    str_printf(to, "total_reads_processed:%llu\r\ntotal_writes_processed:%llu\r\n", (ull)tr.reads,
               (ull)tr.writes);
    str_printf(to, "io_threaded_reads_processed:0\r\nio_threaded_writes_processed:0\r\n"
                   "reply_buffer_shrinks:0\r\nreply_buffer_expands:0\r\n");
    str_printf(to, "watched_keys:%zu\r\nprotocol_errors:%llu\r\nidle_clients_closed:%llu\r\n",
               watches_count(s->ks), (ull)t->protocol_errors, (ull)t->idle_kills);
    str_printf(to, "client_output_buffer_limit_disconnections:%llu\r\n",
               (ull)t->output_limit_kills);
    str_printf(to, "client_query_buffer_limit_disconnections:%llu\r\n", (ull)t->query_limit_kills);
    str_printf(to, "auth_failures:%llu\r\nmoved_replies:%llu\r\nslot_refusals:%llu\r\n",
               (ull)t->auth_failures, (ull)t->redirects, (ull)t->slot_refusals);
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
    cmdstats_info_commands(((struct server *)arg)->cmdstats, to);
}

static void put_scriptstats(void *arg, struct str *to)
{
    cmdstats_info_commands(((struct server *)arg)->scriptstats, to);
}

/* Of the channels that ears listen to here, those that this node publishes on, and those that every
 * node does: copies of a shard have them all. */
struct served {
    const struct server *server;
    size_t channels;
    size_t everywhere;
};

static void count_served(void *arg, struct slice name)
{
    struct served *n = arg;
    bool notified = pubsub_is_notification(name);
    n->everywhere += notified;
    n->channels += !notified && pubsub_lives_here(n->server, name);
}

static void put_pubsubstats(void *arg, struct str *to)
{
    struct server *s = arg;
    struct served plain = {.server = s}, shard = {.server = s};
    channels_each(s->channels, SUBJECT_CHANNEL, count_served, &plain);
    channels_each(s->channels, SUBJECT_SHARD, count_served, &shard);
    str_printf(to, "served_channels:%zu\r\nserved_shardchannels:%zu\r\nchannels_everywhere:%zu\r\n",
               plain.channels, shard.channels + shard.everywhere, plain.everywhere);
}

static void put_errorstats(void *arg, struct str *to)
{
    cmdstats_info_errors(((struct server *)arg)->cmdstats, to);
}

static void put_latencystats(void *arg, struct str *to)
{
    const struct server *s = arg;
    const struct percentiles *p = &s->settings->latency_percentiles;
    if (s->settings->latency_tracking) {
        cmdstats_info_latency(s->cmdstats, p->at, (size_t)p->count, to);
    }
}

/* --- cluster, keyspace --- */

static void put_cluster(void *arg, struct str *to)
{
    struct server *s = arg;
    str_printf(to, "cluster_enabled:%d\r\n", !s->settings->stand_alone);
    membership_info(s, to);
}

static void put_keyspace(void *arg, struct str *to)
{
    struct server *s = arg;
    for (int i = 0; i < s->ks->n_dbs; i++) {
        uint64_t keys = keyspace_keys(s->ks, i);
        if (keys > 0) {
            str_printf(to, "db%d:keys=%llu,expires=%llu,avg_ttl=%lld\r\n", i, (ull)keys,
                       (ull)keyspace_expires(s->ks, i),
                       (long long)keyspace_avg_ttl(s->ks, i, loop_wall_ms(s->loop)));
        }
    }
}

/* --- the sections, in Redis's order --- */

static const struct info_section sections[] = {
    {"server", "Server", INFO_DEFAULT, put_server},
    {"clients", "Clients", INFO_DEFAULT, put_clients},
    {"memory", "Memory", INFO_DEFAULT, put_memory},
    {"persistence", "Persistence", INFO_DEFAULT, put_persistence},
    {"stats", "Stats", INFO_DEFAULT, put_stats},
    {"replication", "Replication", INFO_DEFAULT, admin_put_replication},
    {"cpu", "CPU", INFO_DEFAULT, put_cpu},
    {"modules", "Modules", INFO_EVERYTHING, put_modules},
    {"commandstats", "Commandstats", INFO_ALL, put_commandstats},
    {"scriptstats", "Scriptstats", INFO_NAMED, put_scriptstats},
    {"pubsubstats", "Pubsubstats", INFO_NAMED, put_pubsubstats},
    {"errorstats", "Errorstats", INFO_DEFAULT, put_errorstats},
    {"latencystats", "Latencystats", INFO_ALL, put_latencystats},
    {"cluster", "Cluster", INFO_DEFAULT, put_cluster},
    {"keyspace", "Keyspace", INFO_DEFAULT, put_keyspace},
};

static void do_info(struct call *k)
{
    info_reply(sections, ARRAY_LEN(sections), k->argv + 1, k->argc - 1, server_of(k), &k->w);
}

void admin_info(struct call_table *t)
{
    t->fn[CMD_INFO] = do_info;
}
