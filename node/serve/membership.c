// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/membership.h"

#include "node/link/link.h"
#include "node/serve/config.h"
#include "node/serve/dispatch.h"
#include "node/serve/durable.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"

/* --- what the agent asks of the node --- */

static void take_map(void *arg, struct map *m, int self)
{
    struct server *s = arg;
    struct errmsg err;
    dispatch_run(s); /* what waits was meant for the map before */
    if (!durable_cluster(s, m->cluster_id, m->n_shards, &err)) {
        log_event(LOG_WARNING, "cluster", "this node cannot take part: %s", err.text);
        s->failed = true;
        server_stop(s);
        return;
    }
    if (m->n_shards != s->ks->n_shards) {
        replicate_stop(s);
        server_make_keyspace(s, m->n_shards);
        server_settings_changed(s);
        replicate_start(s, m->n_shards, s->fresh);
    }
    replicate_map(s, m, self);
    int primary, replica;
    replicate_roles(s, &primary, &replica);
    log_event(LOG_NOTICE, "cluster",
              "map taken epoch=%llu held=%d primaries=%d replicas=%d serving=%d following=%d "
              "node=%s",
              (unsigned long long)m->epoch, s->ks->held,
              self == NODE_NONE ? 0 : map_node_primaries(m, self),
              self == NODE_NONE ? 0 : map_node_replicas(m, self), primary, replica, s->id);
}

void membership_take_seed(struct server *s, struct slice text)
{
    uint64_t seed;
    if (!num_parse_u64(text, &seed) || seed == s->hash_seed) {
        return;
    }
    if (s->ks->held > 0 || !durable_seed(s, seed)) {
        log_event(LOG_NOTICE, "cluster",
                  "this node's data keeps a seed of its own: where it takes "
                  "over, cursors of SCAN may miss keys");
        return;
    }
    dispatch_run(s); /* what waits was decoded for the keyspace before */
    replicate_stop(s);
    s->hash_seed = seed;
    server_make_keyspace(s, s->ks->n_shards);
    server_settings_changed(s);
    replicate_start(s, s->ks->n_shards, s->fresh);
}

static int n_shards(void *arg)
{
    const struct server *s = arg;
    return s->ks->n_shards;
}

static uint64_t shard_keys(void *arg, int shard)
{
    const struct server *s = arg;
    return shard < s->ks->n_shards ? keyspace_shard_keys(s->ks, shard) : 0;
}

static uint64_t shard_bytes(void *arg, int shard)
{
    const struct server *s = arg;
    return shard < s->ks->n_shards ? keyspace_shard_memory(s->ks, shard) : 0;
}

static bool shard_held(void *arg, int shard, uint64_t *term, uint64_t *version)
{
    const struct server *s = arg;
    return shard < s->ks->n_shards && s->ks->shards[shard] != NULL &&
           replicate_held(s, shard, term, version);
}

static void take_welcome(void *arg, const struct wire_welcome *w)
{
    struct server *s = arg;
    s->settings_version = 0; /* what it told before on another connection is told anew */
    replicate_welcome(s, w);
}

static void take_settings(void *arg, uint64_t version, const struct slice *pairs, size_t n)
{
    config_take(arg, version, pairs, n);
}

static void take_order(void *arg, const struct wire_change *c)
{
    replicate_order(arg, c);
}

static void tell_progress(void *arg, bool copied_only, struct wire_copies *to)
{
    replicate_progress(arg, copied_only, to);
}

static void tell_load(void *arg, struct agent_load *out)
{
    const struct server *s = arg;
    out->keys = server_keys(s);
    out->memory = mem_used();
    out->memory_limit = (uint64_t)s->settings->maxmemory;
    out->ops = rate_now(&s->ops);
    out->clients = s->n_clients;
}

static void fill_port(struct server *s, struct agent_port *port)
{
    *port = (struct agent_port){.arg = s,
                                .map = take_map,
                                .n_shards = n_shards,
                                .shard_keys = shard_keys,
                                .shard_bytes = shard_bytes,
                                .shard_held = shard_held,
                                .welcome = take_welcome,
                                .settings = take_settings,
                                .order = take_order,
                                .progress = tell_progress,
                                .load = tell_load};
}

/* --- what the node asks of the agent --- */

void membership_start(struct server *s, const struct agent_settings *as)
{
    struct agent_port port;
    fill_port(s, &port);
    s->incarnation = as->incarnation;
    s->fresh = as->incarnation == 1;
    s->agent = agent_new(s->loop, as, &port);
    replicate_start(s, s->ks->n_shards, s->fresh);
}

void membership_stop(struct server *s)
{
    replicate_stop(s);
    agent_free(&s->agent);
}

bool membership_join(struct server *s, struct slice host, int port, struct errmsg *err)
{
    char name[NODE_HOST_MAX];
    if (s->agent == NULL) {
        errmsg_set(err, "this node stands alone (stand-alone yes)");
        return false;
    }
    if (host.len == 0 || host.len >= sizeof(name)) {
        errmsg_set(err, "Invalid node address specified");
        return false;
    }
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    if (!agent_join(s->agent, name, port, err)) {
        return false;
    }
    log_event(LOG_NOTICE, "cluster", "joining coordinator=%s:%d node=%s", name, port, s->id);
    return true;
}

void membership_changed(struct server *s)
{
    if (s->agent != NULL) {
        agent_set(s->agent, (uint32_t)s->settings->weight, s->settings->zone);
    }
}

void membership_password_changed(struct server *s)
{
    if (s->agent != NULL) {
        agent_password(s->agent, s->settings->requirepass);
    }
    if (s->links != NULL) {
        links_password(s->links, s->settings->requirepass);
    }
}

void membership_info(const struct server *s, struct str *to)
{
    if (s->agent == NULL) {
        return;
    }
    str_printf(to, "shoal_agent_state:%s\r\nshoal_coordinator:%s\r\nshoal_agent_why:%s\r\n",
               agent_state_name(agent_state(s->agent)), agent_coordinator(s->agent),
               agent_why(s->agent));
    str_printf(to, "shoal_epoch:%llu\r\nshoal_shards_held:%d\r\n",
               (unsigned long long)(s->map == NULL ? 0 : s->map->epoch), s->ks->held);
}
