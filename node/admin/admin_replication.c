// SPDX-License-Identifier: BSD-3-Clause
/* Copies of shards, as an operator and other nodes see them: ROLE, WAIT, WAITAOF, MIGRATE, INFO
 * replication, SHOAL LINK, SHOAL SHARDS. */
#include "node/admin/admin_priv.h"
#include "node/link/link.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/holds.h"
#include "node/serve/migrate.h"
#include "node/serve/replicate.h"
#include "node/serve/replicate_priv.h"
#include "node/serve/waiters.h"

#include "common/base/mem.h"
#include "common/base/num.h"

typedef unsigned long long ull;

/* --- another node says who it is --- */

static bool take_word(char *to, size_t size, struct slice word)
{
    if (word.len >= size || memchr(word.ptr, '\0', word.len) != NULL) {
        return false;
    }
    memcpy(to, word.ptr, word.len);
    to[word.len] = '\0';
    return true;
}

void admin_shoal_link(struct call *k)
{
    struct server *s = server_of(k);
    struct client *c = client_of(k);
    uint64_t version, incarnation;
    char id[NODE_ID_LEN + 1] = "", cluster[NODE_ID_LEN + 1] = "";
    if (k->argc != 6 || !num_parse_u64(k->argv[2], &version) ||
        !take_word(id, sizeof(id), k->argv[3]) || !num_parse_u64(k->argv[4], &incarnation) ||
        !take_word(cluster, sizeof(cluster), k->argv[5])) {
        resp_error(&k->w, "ERR SHOAL LINK takes version, id, incarnation and cluster");
        return;
    }
    const char *error = s->links == NULL ? "ERR this node stands alone"
                                         : links_welcome(s->links, version, id, cluster);
    if (error != NULL) {
        resp_error(&k->w, error);
    } else if (c->in_batch > 0 || (c->flags & (CLIENT_LANE | CLIENT_MONITOR)) != 0) {
        resp_error(&k->w, "ERR SHOAL LINK is the last that a connection says");
    } else {
        resp_int(&k->w, (int64_t)s->incarnation);
        client_becomes_link(c, id, incarnation);
    }
}

/* --- views --- */

struct totals {
    uint64_t versions; /* sum of the shards served here */
    int shards;
    struct {
        uint64_t acked;
        uint64_t lag_versions;
        uint64_t lag_bytes;
        int64_t lag_us;
        int shards;
        int in_sync;
    } of[NODES_MAX];
};

static bool is_served(const struct server *s, int shard)
{
    enum repl_state at = repl_state(s->repl->core, shard);
    return at == REPL_SERVE || at == REPL_FENCED;
}

static void add_up(const struct server *s, struct totals *t)
{
    memset(t, 0, sizeof(*t));
    for (int i = 0; s->repl != NULL && i < s->ks->n_shards; i++) {
        struct repl_lag lags[MEMBERS_MAX];
        if (!is_served(s, i)) {
            continue;
        }
        t->shards++;
        t->versions += repl_version(s->repl->core, i);
        int n = repl_lags(s->repl->core, i, loop_clock_us(), lags, MEMBERS_MAX);
        for (int j = 0; j < MIN(n, MEMBERS_MAX); j++) {
            if (lags[j].peer >= NODES_MAX) {
                continue;
            }
            t->of[lags[j].peer].acked += lags[j].acked;
            t->of[lags[j].peer].lag_versions += lags[j].versions;
            t->of[lags[j].peer].lag_bytes += lags[j].bytes;
            t->of[lags[j].peer].lag_us = MAX(t->of[lags[j].peer].lag_us, lags[j].us);
            t->of[lags[j].peer].shards++;
            t->of[lags[j].peer].in_sync += lags[j].in_sync;
        }
    }
}

/* Calls `fn` with each node that has copies of shards served here. */
typedef void replica_fn(void *arg, const struct map_node *n, int peer);
static void each_replica(const struct server *s, const struct totals *t, replica_fn *fn, void *arg)
{
    for (int i = 0; s->repl != NULL && s->map != NULL && i < s->map->n_nodes; i++) {
        if (i == s->self) {
            continue;
        }
        int peer = repl_peer(s->repl->core, s->map->nodes[i].id);
        if (peer < NODES_MAX && t->of[peer].shards > 0) {
            fn(arg, &s->map->nodes[i], peer);
        }
    }
}

struct shown {
    const struct totals *totals;
    struct resp_writer *w;
    struct str *text;
    size_t n;
};

static void count_one(void *arg, const struct map_node *n, int peer)
{
    struct shown *v = arg;
    (void)n;
    (void)peer;
    v->n++;
}

static void role_of_follower(void *arg, const struct follow_view *f)
{
    struct shown *v = arg;
    if (f->online && v->w == NULL) {
        v->n++;
    } else if (f->online) {
        resp_array(v->w, 3);
        resp_bulkz(v->w, f->host);
        resp_bulk_int(v->w, f->port);
        resp_bulk_int(v->w, (int64_t)f->acked);
    }
}

static void role_of(void *arg, const struct map_node *n, int peer)
{
    const struct shown *v = arg;
    resp_array(v->w, 3);
    resp_bulkz(v->w, n->host);
    resp_bulk_int(v->w, n->port);
    resp_bulk_int(v->w, (int64_t)v->totals->of[peer].acked);
}

/* In a cluster the stream for Redis's replicas is a thing apart. */
static uint64_t offset_of(const struct server *s, const struct totals *t)
{
    return s->settings->stand_alone ? follow_offset(s) : t->versions;
}

static void do_role(struct call *k)
{
    const struct server *s = server_of(k);
    struct totals *t = mem_alloc(sizeof(*t));
    add_up(s, t);
    struct shown v = {.totals = t};
    each_replica(s, t, count_one, &v);
    (void)follow_each(s, role_of_follower, &v);
    v.w = &k->w;
    resp_array(&k->w, 3);
    resp_bulkz(&k->w, "master");
    resp_int(&k->w, (int64_t)offset_of(s, t));
    resp_array(&k->w, v.n);
    each_replica(s, t, role_of, &v);
    (void)follow_each(s, role_of_follower, &v);
    mem_free(t);
}

static void info_of(void *arg, const struct map_node *n, int peer)
{
    struct shown *v = arg;
    int of = v->totals->of[peer].shards, in_sync = v->totals->of[peer].in_sync;
    str_printf(v->text,
               "slave%zu:ip=%s,port=%d,state=%s,offset=%llu,lag=%lld,shards=%d,in_sync=%d,"
               "lag_versions=%llu,lag_bytes=%llu,lag_ms=%lld\r\n",
               v->n++, n->host, n->port, in_sync == of ? "online" : "wait_bgsave",
               (ull)v->totals->of[peer].acked, (long long)v->totals->of[peer].lag_us / 1000000, of,
               in_sync, (ull)v->totals->of[peer].lag_versions, (ull)v->totals->of[peer].lag_bytes,
               (long long)v->totals->of[peer].lag_us / 1000);
}

static void info_of_follower(void *arg, const struct follow_view *f)
{
    struct shown *v = arg;
    if (v->text != NULL) {
        str_printf(v->text, "slave%zu:ip=%s,port=%d,state=%s,offset=%llu,lag=%lld\r\n", v->n,
                   f->host, f->port, f->state, (ull)f->acked, (long long)f->lag_s);
    }
    v->n++;
}

static void put_core(const struct server *s, struct str *to)
{
    const struct repl_settings *o = &s->repl_settings;
    const struct repl_stats *c = repl_stats(s->repl->core);
    const struct replicate_stats *r = replicate_stats(s);
    struct backlog_stats b;
    int primary, replica;
    backlog_stats(repl_backlog(s->repl->core), &b);
    replicate_roles(s, &primary, &replica);
    str_printf(to,
               "repl_backlog_active:1\r\nrepl_backlog_size:%zu\r\n"
               "repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:%zu\r\n",
               b.bytes_max, b.bytes);
    str_printf(to, "replication_mode:%s\r\nconsistency:%s\r\nmin_in_sync:%d\r\nlease_ms:%lld\r\n",
               o->mode == REPL_SYNC ? "sync" : "async",
               o->consistency == REPL_STRONG ? "strong" : "eventual", o->min_in_sync,
               (long long)o->lease_us / 1000);
    str_printf(to, "shards_serving:%d\r\nshards_following:%d\r\n", primary, replica);
    str_printf(to, "held_replies:%llu\r\nheld_replies_total:%llu\r\nheld_clients_ended:%llu\r\n",
               (ull)holds_count(s->holds), (ull)holds_total(s->holds), (ull)holds_ended(s->holds));
    str_printf(to,
               "repl_entries_sent:%llu\r\nrepl_entries_applied:%llu\r\nrepl_bytes_sent:%llu\r\n"
               "repl_acks_sent:%llu\r\n",
               (ull)c->entries_sent, (ull)c->entries_applied, (ull)c->bytes_sent,
               (ull)c->acks_sent);
    str_printf(to,
               "repl_copies_running:%d\r\nrepl_copies_begun:%llu\r\nrepl_copies_ended:%llu\r\n"
               "repl_copies_broken:%llu\r\nrepl_copies_taken:%llu\r\nrepl_copy_keys:%llu\r\n"
               "repl_copy_bytes:%llu\r\nrepl_partial_syncs:%llu\r\n",
               c->copies_running, (ull)c->copies_begun, (ull)c->copies_ended, (ull)c->copies_broken,
               (ull)c->copies_taken, (ull)c->copy_keys, (ull)c->copy_bytes, (ull)c->partial_syncs);
    str_printf(to, "repl_copy_portraits:%llu\r\nrepl_copy_inbox_bytes_max:%llu\r\n",
               (ull)c->copy_portraits, (ull)c->inbox_bytes_max);
    str_printf(to, "repl_copy_turn_us_max:%lld\r\nrepl_copy_turn_cpu_us_max:%lld\r\n",
               (long long)r->copy_turn_us_max, (long long)r->copy_turn_cpu_us_max);
    str_printf(to, "loop_turn_us_max:%lld\r\n", (long long)loop_took_us_max(s->loop));
    str_printf(to,
               "in_sync_joined:%llu\r\nin_sync_left:%llu\r\nin_sync_adds_asked:%llu\r\n"
               "in_sync_removes_asked:%llu\r\nhandovers:%llu\r\nrevoked:%llu\r\n"
               "repl_messages_dropped:%llu\r\n",
               (ull)r->adds, (ull)r->drops, (ull)c->adds, (ull)c->removes, (ull)c->handovers,
               (ull)c->revoked, (ull)c->dropped);
    str_printf(to,
               "refused_tryagain:%llu\r\nrefused_noreplicas:%llu\r\nrefused_masterdown:%llu\r\n",
               (ull)r->refused_tryagain, (ull)r->refused_noreplicas, (ull)r->refused_masterdown);
}

void admin_put_replication(void *arg, struct str *to)
{
    const struct server *s = arg;
    struct totals *t = mem_alloc(sizeof(*t));
    add_up(s, t);
    struct shown v = {.totals = t};
    each_replica(s, t, count_one, &v);
    (void)follow_each(s, info_of_follower, &v);
    v.text = to;
    str_printf(to, "role:master\r\nconnected_slaves:%zu\r\n", v.n);
    v.n = 0;
    each_replica(s, t, info_of, &v);
    (void)follow_each(s, info_of_follower, &v);
    str_printf(to, "master_failover_state:no-failover\r\n");
    str_printf(to, "master_replid:%s\r\nmaster_replid2:%040d\r\n",
               s->settings->stand_alone ? follow_id(s) : s->run_id, 0);
    str_printf(to, "master_repl_offset:%llu\r\nsecond_repl_offset:-1\r\n", (ull)offset_of(s, t));
    mem_free(t);
    follow_info(s, to);
    if (s->repl != NULL) {
        put_core(s, to);
    }
}

/* --- SHOAL SHARDS --- */

static void put_member(const struct server *s, const struct repl_lag *g, struct str *to)
{
    str_printf(to, " member=%.8s,%s%s%s,acked=%llu,versions=%llu,bytes=%zu,ms=%lld",
               repl_peer_id(s->repl->core, g->peer), g->up ? "up" : "down",
               g->in_sync ? ",in-sync" : "", g->copying ? ",copying" : "", (ull)g->acked,
               (ull)g->versions, g->bytes, (long long)MAX(g->us, 0) / 1000);
}

/* A line a shard that is held here. */
void admin_shoal_shards(struct call *k)
{
    const struct server *s = server_of(k);
    struct str text = {0};
    for (int i = 0; s->repl != NULL && i < s->ks->n_shards; i++) {
        const struct repl *core = s->repl->core;
        struct repl_lag lags[MEMBERS_MAX];
        if (s->ks->shards[i] == NULL) {
            continue;
        }
        str_printf(&text,
                   "shard=%d state=%s term=%llu version=%llu commit=%llu whole=%d keys=%llu "
                   "backlog=%zu",
                   i, repl_state_name(repl_state(core, i)), (ull)repl_term(core, i),
                   (ull)repl_version(core, i), (ull)repl_commit(core, i), repl_whole(core, i),
                   (ull)keyspace_shard_keys(s->ks, i), backlog_shard_bytes(repl_backlog(core), i));
        int n = is_served(s, i) ? repl_lags(core, i, loop_clock_us(), lags, MEMBERS_MAX) : 0;
        for (int j = 0; j < MIN(n, MEMBERS_MAX); j++) {
            put_member(s, &lags[j], &text);
        }
        str_appendz(&text, "\n");
    }
    resp_verbatim(&k->w, "txt", str_slice(&text));
    str_fini(&text);
}

/* --- WAIT, WAITAOF --- */

static bool read_timeout(struct call *k, size_t i, int64_t *ms)
{
    if (!num_parse_i64(k->argv[i], ms)) {
        resp_error(&k->w, "ERR timeout is not an integer or out of range");
    } else if (*ms < 0) {
        resp_error(&k->w, "ERR timeout is negative");
    } else {
        return true;
    }
    return false;
}

static void do_wait(struct call *k)
{
    int64_t replicas, timeout_ms;
    if (!num_parse_i64(k->argv[1], &replicas)) {
        resp_error(&k->w, ERR_NOT_INT);
    } else if (read_timeout(k, 2, &timeout_ms)) {
        waiters_wait(server_of(k), client_of(k), k, replicas, timeout_ms);
    }
}

static void do_waitaof(struct call *k)
{
    struct server *s = server_of(k);
    int64_t local, replicas, timeout_ms;
    if (!num_parse_i64(k->argv[1], &local) || local < 0 || local > 1) {
        resp_error(&k->w, "ERR value is out of range, must be between 0 and 1");
    } else if (!num_parse_i64(k->argv[2], &replicas) || replicas < 0) {
        resp_error(&k->w, "ERR value is out of range, must be positive");
    } else if (!read_timeout(k, 3, &timeout_ms)) {
        return;
    } else if (local > 0 && !durable_logs(s)) {
        resp_error(&k->w,
                   "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    } else {
        waiters_wait_aof(s, client_of(k), k, local, replicas, timeout_ms);
    }
}

void admin_replication(struct call_table *t)
{
    t->fn[CMD_ROLE] = do_role;
    t->fn[CMD_SYNC] = follow_sync;
    t->fn[CMD_PSYNC] = follow_sync;
    t->fn[CMD_REPLCONF] = follow_conf;
    t->fn[CMD_WAIT] = do_wait;
    t->fn[CMD_WAITAOF] = do_waitaof;
    t->fn[CMD_MIGRATE] = migrate_command;
}
