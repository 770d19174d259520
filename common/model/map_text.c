// SPDX-License-Identifier: BSD-3-Clause
#include "common/model/map_text.h"

#include "common/base/mem.h"
#include "common/model/map_priv.h"

/* Redis prints "port@bus port"; there is no bus here, but clients split at the '@'. */
#define BUS_PORT_OFFSET 10000

static int bus_port(int port)
{
    return port + BUS_PORT_OFFSET <= 65535 ? port + BUS_PORT_OFFSET : port;
}

/* Active members other than the primary, in the order of the map. */
static int active_replicas(const struct map_shard *s, int to[MEMBERS_MAX])
{
    int n = 0;
    for (int i = 0; i < s->n_members; i++) {
        if (s->members[i].node != s->primary && s->members[i].state == REPLICA_ACTIVE) {
            to[n++] = s->members[i].node;
        }
    }
    return n;
}

/* Shown as one: the same primary and the same active replicas. */
static bool shown_alike(const struct map_shard *a, const struct map_shard *b)
{
    int ra[MEMBERS_MAX];
    int rb[MEMBERS_MAX];
    int n = active_replicas(a, ra);
    if (map_shard_home(a) != map_shard_home(b) || a->primary != b->primary ||
        n != active_replicas(b, rb)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (map_shard_member(b, ra[i]) < 0) {
            return false;
        }
    }
    return true;
}

/* The last shard of the run of shards that starts at `first` and is shown as one range. */
static int run_end(const struct map *m, int first)
{
    int last = first;
    while (last + 1 < m->n_shards && shown_alike(&m->shards[first], &m->shards[last + 1])) {
        last++;
    }
    return last;
}

/* Slots [*first, *last] of virtual node i of n; false: none (more nodes than slots). */
static bool virtual_slots(size_t i, size_t n, int *first, int *last)
{
    *first = (int)(i * SLOTS / n);
    *last = (int)((i + 1) * SLOTS / n) - 1;
    return *last >= *first;
}

/* ---- CLUSTER SLOTS ---- */

static void slots_node(struct resp_writer *w, const char *host, int port, const char *id)
{
    resp_array(w, 4);
    resp_bulkz(w, host);
    resp_int(w, port);
    resp_bulkz(w, id);
    resp_map(w, 0);
}

static void slots_virtual(const struct map_view *v, struct resp_writer *w)
{
    resp_array(w, MIN(v->n_nodes, (size_t)SLOTS));
    for (size_t i = 0; i < v->n_nodes; i++) {
        int first;
        int last;
        if (!virtual_slots(i, v->n_nodes, &first, &last)) {
            continue;
        }
        resp_array(w, 3);
        resp_int(w, first);
        resp_int(w, last);
        slots_node(w, v->nodes[i].host, v->nodes[i].port, v->nodes[i].id);
    }
}

/* Clients take a node for a primary or for a replica as a whole, and send what is for all primaries
 * (FLUSHALL, DBSIZE) to what they took for these: a node that is a primary of some shards is not
 * shown as a replica of others. */
static int shown_replicas(const struct map *m, const struct map_shard *s, int to[MEMBERS_MAX])
{
    int shown = 0;
    int n = active_replicas(s, to);
    for (int i = 0; i < n; i++) {
        bool primary = false;
        for (int k = 0; k < m->n_shards && !primary; k++) {
            primary = m->shards[k].primary == to[i];
        }
        if (!primary) {
            to[shown++] = to[i];
        }
    }
    return shown;
}

void map_text_slots(const struct map_view *v, struct resp_writer *w)
{
    const struct map *m = v->map;
    if (v->n_nodes > 0) {
        slots_virtual(v, w);
        return;
    }
    size_t runs = 0;
    for (int i = 0; i < m->n_shards; i = run_end(m, i) + 1) {
        runs += m->shards[i].primary != NODE_NONE;
    }
    resp_array(w, runs);
    for (int i = 0, last; i < m->n_shards; i = last + 1) {
        const struct map_shard *s = &m->shards[i];
        last = run_end(m, i);
        if (s->primary == NODE_NONE) {
            continue;
        }
        int replicas[MEMBERS_MAX];
        int n = shown_replicas(m, s, replicas);
        resp_array(w, (size_t)(3 + n));
        resp_int(w, s->first_slot);
        resp_int(w, m->shards[last].last_slot);
        const struct map_node *p = &m->nodes[s->primary];
        slots_node(w, p->host, p->port, p->id);
        for (int j = 0; j < n; j++) {
            const struct map_node *r = &m->nodes[replicas[j]];
            slots_node(w, r->host, r->port, r->id);
        }
    }
}

/* ---- CLUSTER SHARDS ---- */

static void shards_node(struct resp_writer *w, const char *host, int port, const char *id,
                        const char *role, uint64_t offset, const char *health)
{
    resp_map(w, 7);
    resp_bulkz(w, "id");
    resp_bulkz(w, id);
    resp_bulkz(w, "port");
    resp_int(w, port);
    resp_bulkz(w, "ip");
    resp_bulkz(w, host);
    resp_bulkz(w, "endpoint");
    resp_bulkz(w, host);
    resp_bulkz(w, "role");
    resp_bulkz(w, role);
    resp_bulkz(w, "replication-offset");
    resp_int(w, (int64_t)offset);
    resp_bulkz(w, "health");
    resp_bulkz(w, health);
}

static void shards_virtual(const struct map_view *v, struct resp_writer *w)
{
    resp_array(w, v->n_nodes);
    for (size_t i = 0; i < v->n_nodes; i++) {
        int first;
        int last;
        bool some = virtual_slots(i, v->n_nodes, &first, &last);
        resp_map(w, 2);
        resp_bulkz(w, "slots");
        resp_array(w, some ? 2 : 0);
        if (some) {
            resp_int(w, first);
            resp_int(w, last);
        }
        resp_bulkz(w, "nodes");
        resp_array(w, 1);
        shards_node(w, v->nodes[i].host, v->nodes[i].port, v->nodes[i].id, "master", 0, "online");
    }
}

static const char *health_of(const struct map *m, int node)
{
    return m->nodes[node].state == NODE_DEAD || m->nodes[node].state == NODE_LEFT ? "fail"
                                                                                  : "online";
}

/* One entry: the shards of `runs` that are shown like the shard `first`. */
static void shards_group(const struct map *m, struct resp_writer *w, int first, const int *group,
                         size_t n_runs)
{
    const struct map_shard *s = &m->shards[first];
    resp_map(w, 2);
    resp_bulkz(w, "slots");
    resp_array(w, n_runs * 2);
    for (int i = first; i < m->n_shards; i = run_end(m, i) + 1) {
        if (group[i] == first) {
            resp_int(w, m->shards[i].first_slot);
            resp_int(w, m->shards[run_end(m, i)].last_slot);
        }
    }
    int replicas[MEMBERS_MAX];
    int n = active_replicas(s, replicas);
    resp_bulkz(w, "nodes");
    resp_array(w, (size_t)(1 + n));
    int home = map_shard_home(s);
    const struct map_node *p = &m->nodes[home];
    shards_node(w, p->host, p->port, p->id, "master", s->version, health_of(m, home));
    for (int j = 0; j < n; j++) {
        const struct map_node *r = &m->nodes[replicas[j]];
        shards_node(w, r->host, r->port, r->id, "replica", s->version, health_of(m, replicas[j]));
    }
}

void map_text_shards(const struct map_view *v, struct resp_writer *w)
{
    const struct map *m = v->map;
    if (v->n_nodes > 0) {
        shards_virtual(v, w);
        return;
    }
    /* group[i]: the first shard that run i is shown together with; -1: nobody has it. */
    int *group = mem_alloc(sizeof(*group) * (size_t)m->n_shards);
    size_t *runs = mem_zalloc(sizeof(*runs) * (size_t)m->n_shards);
    int *firsts = mem_alloc(sizeof(*firsts) * (size_t)m->n_shards);
    size_t groups = 0;
    for (int i = 0; i < m->n_shards; i = run_end(m, i) + 1) {
        group[i] = -1;
        if (map_shard_home(&m->shards[i]) == NODE_NONE) {
            continue;
        }
        for (size_t g = 0; g < groups && group[i] < 0; g++) {
            group[i] = shown_alike(&m->shards[firsts[g]], &m->shards[i]) ? firsts[g] : -1;
        }
        if (group[i] < 0) {
            group[i] = i;
            firsts[groups++] = i;
        }
        runs[group[i]]++;
    }
    resp_array(w, groups);
    for (size_t g = 0; g < groups; g++) {
        shards_group(m, w, firsts[g], group, runs[firsts[g]]);
    }
    mem_free(firsts);
    mem_free(runs);
    mem_free(group);
}

/* ---- CLUSTER NODES ---- */

static void nodes_line(struct str *t, const struct map_view_node *n, bool self, const char *flags,
                       uint64_t epoch, const char *link)
{
    str_printf(t, "%s %s:%d@%d %s%s - 0 0 %llu %s", n->id, n->host, n->port, bus_port(n->port),
               self ? "myself," : "", flags, (unsigned long long)epoch, link);
}

static void guest_line(struct str *t, const struct map_view *v)
{
    const struct map *m = v->map;
    const struct map_view_node *n = v->guest;
    const char *of = "-";
    for (int i = 0; i < m->n_nodes && of[0] == '-'; i++) {
        of = map_node_primaries(m, i) > 0 ? m->nodes[i].id : of;
    }
    str_printf(t, "%s %s:%d@%d myself,%s %s 0 0 %llu connected\n", n->id, n->host, n->port,
               bus_port(n->port), of[0] == '-' ? "master" : "slave", of,
               (unsigned long long)m->epoch);
}

static void put_range(struct str *t, int first, int last)
{
    if (first == last) {
        str_printf(t, " %d", first);
    } else {
        str_printf(t, " %d-%d", first, last);
    }
}

/* The slots whose data the node has, neighbours joined whatever their replicas are. */
static void put_node_slots(struct str *t, const struct map *m, int node)
{
    for (int i = 0; i < m->n_shards; i++) {
        if (map_shard_home(&m->shards[i]) != node) {
            continue;
        }
        int first = i;
        while (i + 1 < m->n_shards && map_shard_home(&m->shards[i + 1]) == node) {
            i++;
        }
        put_range(t, m->shards[first].first_slot, m->shards[i].last_slot);
    }
}

static const char *flags_of(enum node_state s)
{
    switch (s) {
    case NODE_UNHEALTHY:
        return "master,fail?";
    case NODE_DEAD:
    case NODE_LEFT:
        return "master,fail";
    case NODE_HEALTHY:
    case NODE_DRAINING:
        break;
    }
    return "master";
}

void map_text_nodes(const struct map_view *v, struct resp_writer *w)
{
    const struct map *m = v->map;
    struct str t = {0};
    for (size_t i = 0; i < v->n_nodes; i++) {
        int first;
        int last;
        nodes_line(&t, &v->nodes[i], i == 0, "master", m->epoch, "connected");
        if (virtual_slots(i, v->n_nodes, &first, &last)) {
            put_range(&t, first, last);
        }
        str_append_char(&t, '\n');
    }
    if (v->guest != NULL && v->n_nodes == 0 && v->self == NODE_NONE) {
        guest_line(&t, v);
    }
    for (int i = 0; i < m->n_nodes && v->n_nodes == 0; i++) {
        const struct map_node *n = &m->nodes[i];
        struct map_view_node shown = {.id = n->id, .host = n->host, .port = n->port};
        nodes_line(&t, &shown, i == v->self, flags_of(n->state), m->epoch,
                   n->state == NODE_DEAD || n->state == NODE_LEFT ? "disconnected" : "connected");
        put_node_slots(&t, m, i);
        str_append_char(&t, '\n');
    }
    resp_verbatim(w, "txt", str_slice(&t));
    str_fini(&t);
}

/* ---- CLUSTER INFO, LINKS ---- */

struct slot_counts {
    int assigned; /* some node has or had the data */
    int ok;
    int unhealthy; /* their primary missed heartbeats */
};

static struct slot_counts count_slots(const struct map *m)
{
    struct slot_counts c = {0};
    for (int i = 0; i < m->n_shards; i++) {
        const struct map_shard *s = &m->shards[i];
        int slots = s->last_slot - s->first_slot + 1;
        c.assigned += map_shard_home(s) != NODE_NONE ? slots : 0;
        if (s->primary == NODE_NONE) {
            continue;
        }
        if (m->nodes[s->primary].state == NODE_UNHEALTHY) {
            c.unhealthy += slots;
        } else {
            c.ok += slots;
        }
    }
    return c;
}

static size_t nodes_with_slots(const struct map *m)
{
    bool *has = mem_zalloc(sizeof(*has) * (size_t)MAX(m->n_nodes, 1));
    size_t n = 0;
    for (int i = 0; i < m->n_shards; i++) {
        int home = map_shard_home(&m->shards[i]);
        if (home != NODE_NONE && !has[home]) {
            has[home] = true;
            n++;
        }
    }
    mem_free(has);
    return n;
}

void map_text_info(const struct map_view *v, struct resp_writer *w)
{
    const struct map *m = v->map;
    struct slot_counts c = count_slots(m);
    size_t known = v->n_nodes > 0 ? v->n_nodes : (size_t)m->n_nodes;
    size_t size = v->n_nodes > 0 ? v->n_nodes : nodes_with_slots(m);
    struct str t = {0};
    str_printf(&t, "cluster_state:%s\r\n", c.ok + c.unhealthy == SLOTS ? "ok" : "fail");
    str_printf(&t, "cluster_slots_assigned:%d\r\n", c.assigned);
    str_printf(&t, "cluster_slots_ok:%d\r\n", c.ok);
    str_printf(&t, "cluster_slots_pfail:%d\r\n", c.unhealthy);
    str_printf(&t, "cluster_slots_fail:%d\r\n", c.assigned - c.ok - c.unhealthy);
    str_printf(&t, "cluster_known_nodes:%zu\r\n", known);
    str_printf(&t, "cluster_size:%zu\r\n", size);
    str_printf(&t, "cluster_current_epoch:%llu\r\n", (unsigned long long)m->epoch);
    str_printf(&t, "cluster_my_epoch:%llu\r\n", (unsigned long long)m->epoch);
    str_appendz(&t, "cluster_stats_messages_sent:0\r\n"
                    "cluster_stats_messages_received:0\r\n"
                    "total_cluster_links_buffer_limit_exceeded:0\r\n");
    str_printf(&t, "shoal_cluster_id:%s\r\n", m->cluster_id);
    str_printf(&t, "shoal_shards:%d\r\n", m->n_shards);
    if (!m->assigned) {
        str_printf(&t, "shoal_down_reason:%s\r\n", m->why);
    }
    resp_verbatim(w, "txt", str_slice(&t));
    str_fini(&t);
}

void map_text_links(const struct map_view *v, struct resp_writer *w)
{
    (void)v;
    resp_array(w, 0);
}
