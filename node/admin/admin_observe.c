// SPDX-License-Identifier: BSD-3-Clause
/* SLOWLOG, LATENCY, MEMORY: what the server saw of itself. */
#include "node/admin/admin_priv.h"
#include "node/serve/replicate.h"

#include "common/app/latency.h"
#include "common/app/slowlog.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"

#include <stdio.h>

/* What a key costs in its table besides its object: its share of a bucket at the usual filling. */
#define TABLE_BYTES_A_KEY 12

static void do_slowlog(struct call *k)
{
    slowlog_command(server_of(k)->slowlog, k->argv, k->argc, &k->w);
}

static void do_latency(struct call *k)
{
    struct server *s = server_of(k);
    latency_command(s->latency, s->cmdstats, loop_wall_ms(s->loop), k->argv, k->argc, &k->w);
}

/* --- MEMORY --- */

static void memory_usage(struct call *k)
{
    int64_t samples;
    for (size_t i = 3; i < k->argc; i += 2) {
        if (!slice_is(k->argv[i], "samples") || i + 1 == k->argc) {
            resp_error(&k->w, ERR_SYNTAX);
            return;
        }
        if (!num_parse_i64(k->argv[i + 1], &samples)) {
            resp_error(&k->w, ERR_NOT_INT);
            return;
        }
        if (samples < 0) {
            resp_error(&k->w, ERR_SYNTAX);
            return;
        }
    }
    struct probe p = keyspace_probe_key(k->ks, k->argv[2]);
    const struct object *o = db_peek(&k->db, &p, k->argv[2]);
    if (o == NULL) {
        resp_nil(&k->w);
    } else {
        resp_int(&k->w, (int64_t)(object_memory(o) + TABLE_BYTES_A_KEY));
    }
}

static void stat_int(struct resp_writer *w, const char *name, int64_t v)
{
    resp_bulkz(w, name);
    resp_int(w, v);
}

static void stat_double(struct resp_writer *w, const char *name, double v)
{
    resp_bulkz(w, name);
    resp_double(w, v);
}

/* How much more one is than the other. */
static void stat_more(struct resp_writer *w, const char *ratio, const char *bytes, size_t what,
                      size_t of)
{
    stat_double(w, ratio, (double)what / (double)MAX(of, (size_t)1));
    stat_int(w, bytes, (int64_t)what - (int64_t)of);
}

static void stat_databases(struct resp_writer *w, const struct keyspace *ks)
{
    for (int i = 0; i < ks->n_dbs; i++) {
        char name[16];
        uint64_t keys = keyspace_keys(ks, i);
        if (keys == 0) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "db.%d", i);
        resp_bulkz(w, name);
        resp_map(w, 3);
        stat_int(w, "overhead.hashtable.main", (int64_t)keys * TABLE_BYTES_A_KEY);
        stat_int(w, "overhead.hashtable.expires", 0); /* beside the key */
        stat_int(w, "overhead.hashtable.slot-to-keys", 0);
    }
}

static size_t databases(const struct keyspace *ks)
{
    size_t n = 0;
    for (int i = 0; i < ks->n_dbs; i++) {
        n += keyspace_keys(ks, i) > 0;
    }
    return n;
}

static void stat_data(struct resp_writer *w, const struct server *s, int64_t used, int64_t peak)
{
    int64_t data = (int64_t)keyspace_memory(s->ks);
    int64_t keys = (int64_t)server_keys(s);
    stat_int(w, "overhead.total", MAX(used - data, 0));
    stat_int(w, "keys.count", keys);
    stat_int(w, "keys.bytes-per-key", keys == 0 ? 0 : data / keys);
    stat_int(w, "dataset.bytes", data);
    stat_double(w, "dataset.percentage", used == 0 ? 0 : 100.0 * (double)data / (double)used);
    stat_double(w, "peak.percentage", 100.0 * (double)used / (double)peak);
}

static void memory_stats(struct call *k)
{
    struct server *s = server_of(k);
    struct resp_writer *w = &k->w;
    struct mem_stats m;
    struct script_stats scripts;
    size_t clients = 0;
    mem_stats(&m);
    scripts_stats(s->scripts, &scripts);
    LIST_FOREACH(it, &s->clients) {
        clients += client_memory(container_of(it, struct client, link));
    }
    size_t peak = MAX(s->stats.memory_peak, m.used);
    resp_map(w, 27 + databases(s->ks));
    stat_int(w, "peak.allocated", (int64_t)peak);
    stat_int(w, "total.allocated", (int64_t)m.used);
    stat_int(w, "startup.allocated", (int64_t)s->memory_at_start);
    stat_int(w, "replication.backlog", (int64_t)replicate_memory(s));
    stat_int(w, "clients.slaves", 0);
    stat_int(w, "clients.normal", (int64_t)clients);
    stat_int(w, "cluster.links", 0);
    stat_int(w, "aof.buffer", 0);
    stat_int(w, "lua.caches", (int64_t)scripts.cached_bytes);
    stat_int(w, "functions.caches", (int64_t)scripts.bytes_of_libraries);
    stat_databases(w, s->ks);
    stat_data(w, s, (int64_t)m.used, (int64_t)peak);
    stat_int(w, "allocator.allocated", (int64_t)m.used);
    stat_int(w, "allocator.active", (int64_t)m.active);
    stat_int(w, "allocator.resident", (int64_t)m.resident);
    stat_more(w, "allocator-fragmentation.ratio", "allocator-fragmentation.bytes", m.active,
              m.used);
    stat_more(w, "allocator-rss.ratio", "allocator-rss.bytes", m.resident, m.active);
    stat_more(w, "rss-overhead.ratio", "rss-overhead.bytes", m.rss, m.resident);
    stat_more(w, "fragmentation", "fragmentation.bytes", m.rss, m.used);
}

static void memory_doctor(struct call *k)
{
    struct server *s = server_of(k);
    struct mem_stats m;
    struct str text = {0};
    mem_stats(&m);
    if (m.used < 5 * 1024 * 1024) {
        str_appendz(&text, "There is too little in memory to say anything about it.\n");
    } else {
        if (s->stats.memory_peak > m.used + m.used / 2) {
            str_printf(&text,
                       "Memory was at %zu bytes once and is at %zu now: the process may "
                       "still hold what was freed (MEMORY PURGE gives it back).\n",
                       s->stats.memory_peak, m.used);
        }
        if (m.rss > m.used + m.used * 2 / 5 && m.rss - m.used > 10 * 1024 * 1024) {
            str_printf(&text, "The process holds %zu bytes for %zu in use: fragmentation.\n", m.rss,
                       m.used);
        }
        if (s->settings->maxmemory > 0 && m.used > (size_t)s->settings->maxmemory / 10 * 9) {
            str_appendz(&text, "Less than a tenth of maxmemory is left.\n");
        }
        if (text.len == 0) {
            str_appendz(&text, "Nothing about the memory looks wrong.\n");
        }
    }
    resp_verbatim(&k->w, "txt", str_slice(&text));
    str_fini(&text);
}

static void memory_malloc_stats(struct call *k)
{
    struct mem_stats m;
    struct str text = {0};
    mem_stats(&m);
    str_printf(&text, "allocator: %s\nused: %zu\nactive: %zu\nresident: %zu\nrss: %zu\n", m.name,
               m.used, m.active, m.resident, m.rss);
    resp_verbatim(&k->w, "txt", str_slice(&text));
    str_fini(&text);
}

static void memory_purge(struct call *k)
{
    mem_purge();
    resp_ok(&k->w);
}

static void memory_help(struct call *k)
{
    static const char *const lines[] = {"DOCTOR",
                                        "    Say what looks wrong about the memory.",
                                        "MALLOC-STATS",
                                        "    Return what the allocator tells.",
                                        "PURGE",
                                        "    Give unused memory back to the system.",
                                        "STATS",
                                        "    Return what memory is used for.",
                                        "USAGE <key> [SAMPLES <count>]",
                                        "    Return the bytes that a key and its value take.",
                                        NULL};
    command_help_reply(&k->w, "MEMORY", lines);
}

void admin_observe(struct call_table *t)
{
    static const enum command_id slowlog[] = {CMD_SLOWLOG_GET, CMD_SLOWLOG_LEN, CMD_SLOWLOG_RESET,
                                              CMD_SLOWLOG_HELP};
    static const enum command_id latency[] = {
        CMD_LATENCY_DOCTOR,  CMD_LATENCY_GRAPH,  CMD_LATENCY_HELP, CMD_LATENCY_HISTOGRAM,
        CMD_LATENCY_HISTORY, CMD_LATENCY_LATEST, CMD_LATENCY_RESET};
    for (size_t i = 0; i < ARRAY_LEN(slowlog); i++) {
        t->fn[slowlog[i]] = do_slowlog;
    }
    for (size_t i = 0; i < ARRAY_LEN(latency); i++) {
        t->fn[latency[i]] = do_latency;
    }
    t->fn[CMD_MEMORY_USAGE] = memory_usage;
    t->fn[CMD_MEMORY_STATS] = memory_stats;
    t->fn[CMD_MEMORY_DOCTOR] = memory_doctor;
    t->fn[CMD_MEMORY_MALLOC_STATS] = memory_malloc_stats;
    t->fn[CMD_MEMORY_PURGE] = memory_purge;
    t->fn[CMD_MEMORY_HELP] = memory_help;
}
