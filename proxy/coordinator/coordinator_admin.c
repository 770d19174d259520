// SPDX-License-Identifier: BSD-3-Clause
/* What an operator asks for and sees: lists of lines, each made of key=value words. */
#include "proxy/coordinator/coordinator_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/errors.h"
#include "common/resp/value.h"

#include <stdio.h>

/* ---- answers ---- */

static void flatten(struct outbuf *out, struct str *to)
{
    struct iovec iov[64];
    for (int n; (n = outbuf_iovec(out, iov, (int)ARRAY_LEN(iov))) > 0;) {
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            str_append(to, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        outbuf_consume(out, taken);
    }
}

void coordinator_reply(struct coordinator *c, uint64_t request, struct slice reply)
{
    if ((request & REQUEST_OF_NODE) == 0) {
        c->env.answer(c->env.arg, request, reply);
        return;
    }
    for (size_t i = 0; i < c->n_node_requests; i++) {
        struct node_request *r = &c->node_requests[i];
        if (r->request == request) {
            struct wire_message m = {
                .kind = WIRE_ANSWER,
                .answer = {.number = r->number, .epoch = c->published->epoch, .reply = reply}};
            c->env.send(c->env.arg, r->link, &m);
            *r = c->node_requests[--c->n_node_requests];
            return;
        }
    }
}

void coordinator_node_gone(struct coordinator *c, uint64_t link)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n_node_requests; i++) {
        if (c->node_requests[i].link != link) {
            c->node_requests[kept++] = c->node_requests[i];
        }
    }
    c->n_node_requests = kept;
}

/* The answer goes out now, or with the decision that is being made. */
static void answer(struct coordinator *c, uint64_t request, const struct str *reply, bool acts)
{
    if (!acts || (c->next == NULL && c->recording == NULL)) {
        coordinator_reply(c, request, str_slice(reply));
        return;
    }
    c->answers = mem_realloc(c->answers, sizeof(*c->answers) * (c->n_answers + 1));
    struct due_answer *d = &c->answers[c->n_answers++];
    *d = (struct due_answer){.request = request, .epoch = coordinator_latest(c)->epoch};
    str_append_slice(&d->reply, str_slice(reply));
}

void coordinator_answer_due(struct coordinator *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n_answers; i++) {
        struct due_answer *d = &c->answers[i];
        if (d->epoch <= c->published->epoch) {
            coordinator_reply(c, d->request, str_slice(&d->reply));
            str_fini(&d->reply);
        } else {
            c->answers[kept++] = *d;
        }
    }
    c->n_answers = kept;
}

/* Lines are gathered first, for the array's length. */
struct lines {
    struct str text;
    size_t *ends;
    size_t count;
};

static void end_line(struct lines *l)
{
    l->ends = mem_realloc(l->ends, sizeof(*l->ends) * (l->count + 1));
    l->ends[l->count++] = l->text.len;
}

static void send_lines(struct asked *a, struct lines *l)
{
    resp_array(&a->w, l->count);
    for (size_t i = 0; i < l->count; i++) {
        size_t start = i == 0 ? 0 : l->ends[i - 1];
        resp_bulk(&a->w, slice_of(l->text.ptr + start, l->ends[i] - start));
    }
    str_fini(&l->text);
    mem_free(l->ends);
}

static const char *yes_no(bool v)
{
    return v ? "yes" : "no";
}

static const char *id_or_dash(const struct map *m, int node)
{
    return node == NODE_NONE ? "-" : m->nodes[node].id;
}

/* ---- views ---- */

/* How a shard is: also which kind of help it needs. */
static const char *shard_state(const struct map *m, int shard)
{
    const struct map_shard *s = &m->shards[shard];
    if (s->primary == NODE_NONE) {
        return map_shard_home(s) == NODE_NONE ? "unassigned" : "down";
    }
    return m->nodes[s->primary].state == NODE_UNHEALTHY ? "unhealthy" : "ok";
}

/* How far the moves are. */
static void put_progress(const struct coordinator *c, struct str *to)
{
    struct rebalance_figures f = rebalance_figures(c);
    str_printf(to, "active=%s paused=%s copying=%d handing=%d dropping=%d planned=%d waiting=%d",
               yes_no(c->rebalancing), yes_no(c->paused), f.states[MOVE_COPYING],
               f.states[MOVE_HANDING], f.states[MOVE_DROPPING], f.states[MOVE_PLANNED],
               f.states[MOVE_WAITING]);
    str_printf(to, " handed=%llu done=%llu left=%d bytes-done=%llu bytes-left=%llu",
               (unsigned long long)c->handed, (unsigned long long)f.done, f.left,
               (unsigned long long)f.bytes_done, (unsigned long long)f.bytes_left);
    str_printf(to, " bytes-per-second=%llu seconds-left=%lld",
               (unsigned long long)f.bytes_per_second, (long long)f.seconds_left);
}

static void show_info(struct coordinator *c, struct asked *a)
{
    const struct map *m = c->published;
    int states[NODE_LEFT + 1] = {0};
    int down = 0;
    int thin = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        states[m->nodes[i].state]++;
    }
    for (int i = 0; i < m->n_shards; i++) {
        down += m->shards[i].primary == NODE_NONE;
        thin += map_shard_in_sync(&m->shards[i]) < c->settings.replication_factor;
    }
    struct lines l = {0};
    str_printf(&l.text, "cluster=%s epoch=%llu assigned=%s", m->cluster_id,
               (unsigned long long)m->epoch, yes_no(m->assigned));
    if (!m->assigned) {
        str_printf(&l.text, " why=\"%s\"", m->why);
    }
    end_line(&l);
    str_printf(&l.text, "nodes=%d healthy=%d unhealthy=%d dead=%d draining=%d", m->n_nodes,
               states[NODE_HEALTHY], states[NODE_UNHEALTHY], states[NODE_DEAD],
               states[NODE_DRAINING]);
    end_line(&l);
    str_printf(&l.text, "shards=%d served=%d down=%d under-replicated=%d replication-factor=%d",
               m->n_shards, m->n_shards - down, down, thin, c->settings.replication_factor);
    end_line(&l);
    str_printf(&l.text, "replication-mode=%s consistency=%s min-in-sync=%d lease-ms=%lld",
               c->settings.sync ? "sync" : "async", c->settings.strong ? "strong" : "eventual",
               c->settings.min_in_sync, (long long)c->settings.lease_ms);
    end_line(&l);
    put_progress(c, &l.text);
    str_printf(&l.text, " rebalance-on-join=%s", yes_no(c->settings.rebalance_on_join));
    end_line(&l);
    const struct measures *k = &c->measures;
    str_printf(&l.text,
               "failovers=%llu failover-last-ms=%lld failover-max-ms=%lld in-sync-added=%llu "
               "in-sync-removed=%llu requests-overtaken=%llu",
               (unsigned long long)k->failovers, (long long)k->failover_last_ms,
               (long long)k->failover_max_ms, (unsigned long long)k->added,
               (unsigned long long)k->removed, (unsigned long long)k->refused);
    end_line(&l);
    str_printf(&l.text, "heartbeat-interval-ms=%lld unhealthy-after=%d dead-after=%d",
               (long long)c->settings.heartbeat_interval_ms, c->settings.unhealthy_missed,
               c->settings.dead_missed);
    end_line(&l);
    send_lines(a, &l);
}

static void show_nodes(struct coordinator *c, struct asked *a)
{
    const struct map *m = c->published;
    struct lines l = {0};
    for (int i = 0; i < m->n_nodes; i++) {
        const struct map_node *n = &m->nodes[i];
        const struct peer *p = registry_find(&c->registry, n->id);
        int primaries = map_node_primaries(m, i);
        int replicas = map_node_replicas(m, i);
        const char *draining = n->draining ? primaries + replicas == 0 ? "done" : "yes" : "no";
        str_printf(&l.text, "id=%s addr=%s:%d state=%s connected=%s heartbeat-ms=%lld", n->id,
                   n->host, n->port, node_state_name(n->state), yes_no(p != NULL && p->link != 0),
                   p == NULL ? -1LL : (long long)detector_silence_ms(&p->detector, a->now_ms));
        str_printf(&l.text, " primary=%d replica=%d zone=%s weight=%u", primaries, replicas,
                   n->zone[0] != '\0' ? n->zone : "-", n->weight);
        str_printf(&l.text, " keys=%llu memory=%llu ops=%llu clients=%llu draining=%s epoch=%llu",
                   p == NULL ? 0ULL : (unsigned long long)p->keys,
                   p == NULL ? 0ULL : (unsigned long long)p->memory,
                   p == NULL ? 0ULL : (unsigned long long)p->ops,
                   p == NULL ? 0ULL : (unsigned long long)p->clients, draining,
                   p == NULL ? 0ULL : (unsigned long long)p->confirmed);
        if (p != NULL && peer_turns_away(p, a->now_ms)) {
            str_printf(&l.text, " turns-away=\"%s\"", p->turned_away);
        }
        end_line(&l);
    }
    send_lines(a, &l);
}

/* What the replica lacks: versions, bytes, milliseconds; "-" where its primary told nothing. Behind
 * that, of one that is being copied, the bytes done and left. */
static void put_lag(const struct coordinator *c, struct str *to, int shard, int node)
{
    const struct map *m = coordinator_latest(c);
    int now = map_node_by_id(m, c->published->nodes[node].id);
    const struct wire_copy *k = now == NODE_NONE ? NULL : report_copy(c, shard, now);
    if (k == NULL) {
        str_appendz(to, "-:-:-");
        return;
    }
    str_printf(to, "%llu:%llu:%llu", (unsigned long long)k->lag_versions,
               (unsigned long long)k->lag_bytes, (unsigned long long)k->lag_ms);
    if (k->done + k->left > 0) {
        str_printf(to, ":%llu:%llu", (unsigned long long)k->done, (unsigned long long)k->left);
    }
}

static void put_shard(const struct coordinator *c, struct str *to, int shard)
{
    const struct map *m = c->published;
    const struct map_shard *s = &m->shards[shard];
    str_printf(to, "shard=%d slots=%d-%d primary=%s term=%llu version=%llu state=%s keys=", shard,
               s->first_slot, s->last_slot, id_or_dash(m, s->primary), (unsigned long long)s->term,
               (unsigned long long)MAX(s->version, c->news[shard].version), shard_state(m, shard));
    if (c->news[shard].known) {
        str_printf(to, "%llu bytes=%llu", (unsigned long long)c->news[shard].keys,
                   (unsigned long long)c->news[shard].bytes);
    } else {
        str_appendz(to, "- bytes=-");
    }
    str_printf(to, " primary-term=%llu in-sync=%d in-sync-changes=%u move=%s",
               (unsigned long long)s->primary_term, map_shard_in_sync(s),
               c->news[shard].in_sync_changes, move_state_name(c->moves[shard].state));
    str_appendz(to, " replicas=");
    bool some = false;
    for (int j = 0; j < s->n_members; j++) {
        if (s->members[j].node == s->primary) {
            continue;
        }
        str_printf(to, "%s%s:%s:", some ? "," : "", id_or_dash(m, s->members[j].node),
                   s->members[j].stale ? "stale" : replica_state_name(s->members[j].state));
        put_lag(c, to, shard, s->members[j].node);
        some = true;
    }
    if (!some) {
        str_append_char(to, '-');
    }
}

static void show_shards(struct coordinator *c, struct asked *a)
{
    struct lines l = {0};
    for (int i = 0; i < c->published->n_shards; i++) {
        put_shard(c, &l.text, i);
        end_line(&l);
    }
    send_lines(a, &l);
}

/* What an even spread would change now. */
static void show_plan(struct coordinator *c, struct asked *a)
{
    const struct map *m = coordinator_latest(c);
    struct lines l = {0};
    struct plan *p = rebalance_plan(c, true);
    str_printf(&l.text, "moves=%d placements=%d new-copies=%d", p->moves, p->placements,
               p->new_copies);
    end_line(&l);
    for (int i = 0; i < m->n_nodes; i++) {
        int primaries = map_node_primaries(m, i);
        str_printf(&l.text, "node=%s primary=%d->%d copies=%d->%d", m->nodes[i].id, primaries,
                   p->primaries[i], primaries + map_node_replicas(m, i), p->copies[i]);
        end_line(&l);
    }
    for (int i = 0; i < m->n_shards; i++) {
        const struct map_shard *s = &m->shards[i];
        int home = map_shard_home(s);
        if (home == p->shards[i].home) {
            continue;
        }
        str_printf(&l.text, "shard=%d slots=%d-%d from=%s to=%s keys=%lld", i, s->first_slot,
                   s->last_slot, id_or_dash(m, home), id_or_dash(m, p->shards[i].home),
                   c->news[i].known ? (long long)c->news[i].keys : -1LL);
        end_line(&l);
    }
    plan_free(&p);
    send_lines(a, &l);
}

static void show_status(struct coordinator *c, struct asked *a)
{
    const struct map *m = coordinator_latest(c);
    struct lines l = {0};
    put_progress(c, &l.text);
    end_line(&l);
    for (int i = 0; c->plan != NULL && i < m->n_shards; i++) {
        const struct move *move = &c->moves[i];
        if (move->state == MOVE_IDLE) {
            continue;
        }
        str_printf(&l.text, "shard=%d from=%s to=%s state=%s reason=%s seconds=%lld keys=%lld", i,
                   id_or_dash(m, m->shards[i].primary), id_or_dash(m, c->plan->shards[i].home),
                   move_state_name(move->state), move_reason_name(move->reason),
                   (long long)(a->now_ms - move->since_ms) / 1000,
                   c->news[i].known ? (long long)c->news[i].keys : -1LL);
        end_line(&l);
    }
    send_lines(a, &l);
}

/* ---- acts ---- */

/* By id, by the start of an id that fits one node only, or by host:port. Answers the error. */
static int find_node(struct coordinator *c, struct asked *a, struct slice name)
{
    const struct map *m = coordinator_latest(c);
    int found = NODE_NONE;
    int fits = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        char addr[NODE_HOST_MAX + 8];
        (void)snprintf(addr, sizeof(addr), "%s:%d", m->nodes[i].host, m->nodes[i].port);
        bool starts = name.len >= 4 && name.len <= NODE_ID_LEN &&
                      memcmp(m->nodes[i].id, name.ptr, name.len) == 0;
        if (starts || slice_is(name, addr)) {
            found = i;
            fits++;
        }
    }
    if (fits == 1) {
        return found;
    }
    char shown[NODE_ID_LEN + 1];
    (void)snprintf(shown, sizeof(shown), "%.*s", (int)MIN(name.len, (size_t)NODE_ID_LEN), name.ptr);
    if (fits == 0) {
        resp_errorf(&a->w, "ERR Unknown node %s", shown);
    } else {
        resp_errorf(&a->w, "ERR Several nodes begin with %s", shown);
    }
    return NODE_NONE;
}

/* Shards that the node is primary of, or that have no primary and wait for it. */
static int count_needed(const struct map *m, int node)
{
    int n = 0;
    for (int i = 0; i < m->n_shards; i++) {
        const struct map_shard *s = &m->shards[i];
        int at = map_shard_member(s, node);
        n += s->primary == node || (s->primary == NODE_NONE && at >= 0 && s->members[at].in_sync);
    }
    return n;
}

static void do_forget(struct coordinator *c, struct asked *a)
{
    if (operator_was_forgotten(c, a->argv[2])) {
        resp_ok(&a->w); /* tools say it to every node */
        return;
    }
    int node = find_node(c, a, a->argv[2]);
    if (node == NODE_NONE) {
        return;
    }
    const struct map *m = coordinator_latest(c);
    int homes = count_needed(m, node);
    if (homes > 0 && m->nodes[node].state == NODE_DEAD) {
        resp_errorf(&a->w,
                    "ERR The dead node has what %d shards wait for. CLUSTER FAILOVER %s "
                    "TAKEOVER gives that data up",
                    homes, m->nodes[node].id);
        return;
    }
    if (homes > 0) {
        resp_errorf(&a->w, "ERR The node is primary of %d shards. CLUSTER DRAIN it first", homes);
        return;
    }
    bool takes = !m->nodes[node].draining && m->nodes[node].weight > 0;
    if (m->nodes[node].state != NODE_DEAD && m->assigned &&
        (takes || map_node_replicas(m, node) > 0)) {
        operator_leave(c, a, node);
        return;
    }
    membership_forget(c, node);
    resp_ok(&a->w);
}

static void do_drain(struct coordinator *c, struct asked *a)
{
    int node = find_node(c, a, a->argv[2]);
    if (node == NODE_NONE) {
        return;
    }
    bool cancel = a->argc == 4;
    if (cancel && !slice_is(a->argv[3], "cancel")) {
        resp_error(&a->w, ERR_SYNTAX);
        return;
    }
    const struct map *m = coordinator_latest(c);
    int others = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        others += i != node && plan_takes(&m->nodes[i]);
    }
    if (!cancel && others == 0) {
        resp_error(&a->w, "ERR No other node could take its shards");
        return;
    }
    if (m->nodes[node].draining == !cancel) {
        resp_ok(&a->w);
        return;
    }
    struct map_node *n = &coordinator_edit(c)->nodes[node];
    n->draining = !cancel;
    if (n->state == NODE_HEALTHY || n->state == NODE_DRAINING) {
        n->state = cancel ? NODE_HEALTHY : NODE_DRAINING;
    }
    if (cancel && c->settings.rebalance_on_join && coordinator_latest(c)->assigned) {
        rebalance_begin(c);
    }
    c->replan = true;
    log_event(LOG_NOTICE, AREA, "drain %s node=%s", cancel ? "cancelled" : "asked for", n->id);
    resp_ok(&a->w);
}

/* The in-sync replica that takes the shard over on demand: the one with the fewest primaries; one
 * that is to be emptied only where there is no other. */
static int successor(const struct coordinator *c, int shard, const int *primaries)
{
    const struct map *m = coordinator_latest(c);
    const struct map_shard *s = &m->shards[shard];
    int best = NODE_NONE;
    for (int j = 0; j < s->n_members; j++) {
        int node = s->members[j].node;
        if (node == s->primary || !s->members[j].in_sync || s->members[j].stale ||
            !failover_there(c, node)) {
            continue;
        }
        bool takes = plan_takes(&m->nodes[node]);
        bool best_takes = best != NODE_NONE && plan_takes(&m->nodes[best]);
        if (best == NODE_NONE || takes > best_takes ||
            (takes == best_takes && primaries[node] < primaries[best])) {
            best = node;
        }
    }
    return best;
}

/* All that the node is primary of goes to replicas in sync, without a write being lost or refused.
 */
static void hand_all_over(struct coordinator *c, struct asked *a, int node)
{
    const struct map *m = coordinator_latest(c);
    int *primaries = mem_zalloc(sizeof(int) * (size_t)m->n_nodes);
    int going = 0;
    int staying = 0;
    for (int i = 0; i < m->n_nodes; i++) {
        primaries[i] = map_node_primaries(m, i);
    }
    for (int i = 0; i < m->n_shards; i++) {
        int to = m->shards[i].primary == node ? successor(c, i, primaries) : NODE_NONE;
        staying += m->shards[i].primary == node && to == NODE_NONE;
        if (to != NODE_NONE) {
            rebalance_wish(c, i, to);
            primaries[to]++;
            going++;
        }
    }
    mem_free(primaries);
    log_event(LOG_NOTICE, AREA, "hand-over asked for node=%s shards=%d without-replica=%d",
              m->nodes[node].id, going, staying);
    if (going == 0 && staying > 0) {
        resp_errorf(&a->w, "NOREPLICAS None of the node's %d shards has a replica in sync",
                    staying);
    } else if (staying > 0) {
        resp_errorf(&a->w, "NOREPLICAS %d shards are handed over, %d have no replica in sync",
                    going, staying);
    } else {
        resp_ok(&a->w);
    }
}

static void take_over(struct coordinator *c, struct asked *a, int node)
{
    char text[120];
    struct takeover t = failover_takeover(c, a->now_ms, node);
    if (t.shards == 0) {
        resp_error(&a->w, "ERR No shard waits for the node");
        return;
    }
    (void)snprintf(text, sizeof(text),
                   "OK shards=%d served=%d empty=%d; writes that only the node had are lost",
                   t.shards, t.served, t.empty);
    log_event(LOG_WARNING, AREA, "takeover by the operator node=%s %s",
              coordinator_latest(c)->nodes[node].id, text + 3);
    resp_simple(&a->w, text);
}

static void do_failover(struct coordinator *c, struct asked *a)
{
    int node = find_node(c, a, a->argv[2]);
    if (node == NODE_NONE) {
        return;
    }
    bool takeover = a->argc == 4 && slice_is(a->argv[3], "takeover");
    if (a->argc == 4 && !takeover) {
        resp_error(&a->w, ERR_SYNTAX);
    } else if (takeover) {
        take_over(c, a, node);
    } else if (coordinator_latest(c)->nodes[node].state == NODE_DEAD) {
        resp_error(&a->w, "NOREPLICAS The node is dead: replicas in sync have taken over already. "
                          "TAKEOVER gives up what only it has");
    } else {
        hand_all_over(c, a, node);
    }
}

static void do_start(struct coordinator *c, struct asked *a)
{
    if (!coordinator_latest(c)->assigned) {
        resp_errorf(&a->w, "CLUSTERDOWN Nothing is assigned yet: %s", coordinator_latest(c)->why);
        return;
    }
    struct plan *p = rebalance_plan(c, true);
    uint64_t bytes = 0;
    for (int i = 0; i < p->n_shards; i++) {
        const struct map_shard *s = &coordinator_latest(c)->shards[i];
        bool copied = p->shards[i].home != NODE_NONE && map_shard_member(s, p->shards[i].home) < 0;
        bytes += copied ? c->news[i].bytes : 0;
    }
    char text[160];
    (void)snprintf(text, sizeof(text), "OK moves=%d new-copies=%d bytes=%llu", p->moves,
                   p->new_copies, (unsigned long long)bytes);
    plan_free(&p);
    c->paused = false;
    rebalance_cancel(c); /* counts anew, and forgets hand-overs that were asked for */
    rebalance_begin(c);
    log_event(LOG_NOTICE, AREA, "rebalance started %s", text + 3);
    resp_simple(&a->w, text);
}

static void do_pause(struct coordinator *c, struct asked *a, bool pause)
{
    if (c->paused != pause) {
        c->paused = pause;
        (void)coordinator_edit(c);
        c->plan_dirty = true;
        log_event(LOG_NOTICE, AREA, "rebalance %s", pause ? "paused" : "resumed");
    }
    resp_ok(&a->w);
}

static void do_cancel(struct coordinator *c, struct asked *a)
{
    rebalance_cancel(c);
    log_event(LOG_NOTICE, AREA, "rebalance cancelled");
    resp_ok(&a->w);
}

/* ---- dispatch ---- */

static void send_help(struct asked *a, const char *const *text, size_t n)
{
    resp_array(&a->w, n);
    for (size_t i = 0; i < n; i++) {
        resp_simple(&a->w, text[i]);
    }
}

static void help_proxy(struct coordinator *c, struct asked *a)
{
    static const char *const text[] = {
        "PROXY <subcommand>. Subcommands are:",
        "INFO",
        "    The cluster in a few lines of key=value words.",
        "NODES",
        "    A line for each node: state, last heartbeat, shards, load.",
        "SHARDS",
        "    A line for each shard: slots, primary, term, keys, replicas as id:state:lag.",
        "PLAN",
        "    What CLUSTER REBALANCE START would change now.",
        "HELP",
        "    Prints this help.",
    };
    (void)c;
    send_help(a, text, ARRAY_LEN(text));
}

static void help_rebalance(struct asked *a)
{
    static const char *const text[] = {
        "CLUSTER REBALANCE [<subcommand>]. Subcommands are:",
        "PLAN (default)",
        "    What an even spread of the shards would change now.",
        "START",
        "    Moves shards until they are spread evenly, without an interruption: copies are made",
        "    first, then the primary's role is handed over.",
        "STATUS",
        "    How far it is, and a line for each shard that is not yet where it should be.",
        "PAUSE | RESUME",
        "    No new moves are begun, also of drains; or again. Repairs go on.",
        "CANCEL",
        "    Gives up the even spread; drains go on.",
        "HELP",
        "    Prints this help.",
    };
    send_help(a, text, ARRAY_LEN(text));
}

static void do_rebalance(struct coordinator *c, struct asked *a)
{
    struct slice what = a->argc == 2 ? SLICE("plan") : a->argv[2];
    if (slice_is(what, "plan")) {
        show_plan(c, a);
    } else if (slice_is(what, "status")) {
        show_status(c, a);
    } else if (slice_is(what, "start")) {
        do_start(c, a);
    } else if (slice_is(what, "pause")) {
        do_pause(c, a, true);
    } else if (slice_is(what, "resume")) {
        do_pause(c, a, false);
    } else if (slice_is(what, "cancel")) {
        do_cancel(c, a);
    } else if (slice_is(what, "help")) {
        help_rebalance(a);
    } else {
        resp_error(&a->w,
                   "ERR unknown subcommand of CLUSTER REBALANCE. Try CLUSTER REBALANCE HELP.");
    }
}

/* A node passes this on because it believes to be a member. */
static void do_reset(struct coordinator *c, struct asked *a)
{
    (void)c;
    resp_error(&a->w, "ERR This node is a member of a cluster: CLUSTER DRAIN and CLUSTER FORGET it "
                      "first");
}

struct admin_row {
    const char *container;
    const char *name;
    size_t argc_min, argc_max;
    bool acts;
    void (*run)(struct coordinator *c, struct asked *a);
};

static const struct admin_row rows[] = {
    {"proxy", "info", 2, 2, false, show_info},
    {"proxy", "nodes", 2, 2, false, show_nodes},
    {"proxy", "shards", 2, 2, false, show_shards},
    {"proxy", "plan", 2, 2, false, show_plan},
    {"proxy", "help", 2, 2, false, help_proxy},
    {"cluster", "forget", 3, 3, true, do_forget},
    {"cluster", "drain", 3, 4, true, do_drain},
    {"cluster", "failover", 3, 4, true, do_failover},
    {"cluster", "reset", 2, 3, false, do_reset},
    {"cluster", "setslot", 4, 5, true, operator_setslot},
    {"cluster", "rebalance", 2, 3, true, do_rebalance},
};

static const struct admin_row *find_row(struct asked *a)
{
    for (size_t i = 0; i < ARRAY_LEN(rows) && a->argc >= 2; i++) {
        if (slice_is(a->argv[0], rows[i].container) && slice_is(a->argv[1], rows[i].name)) {
            return &rows[i];
        }
    }
    return NULL;
}

static void run_row(struct coordinator *c, int64_t now_ms, uint64_t request, int proto,
                    const char *asker, const struct slice *argv, size_t argc)
{
    struct outbuf out = {0};
    struct asked a = {.request = request,
                      .argv = argv,
                      .argc = argc,
                      .now_ms = now_ms,
                      .w = {.out = &out, .proto = proto}};
    (void)snprintf(a.asker, sizeof(a.asker), "%s", asker);
    const struct admin_row *row = find_row(&a);
    if (row == NULL) {
        resp_error(&a.w, "ERR unknown subcommand. Try PROXY HELP.");
    } else if (argc < row->argc_min || argc > row->argc_max) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%s|%s", row->container, row->name);
        resp_errorf(&a.w, ERR_WRONG_ARGS, name);
    } else {
        row->run(c, &a);
    }
    struct str reply = {0};
    flatten(&out, &reply);
    outbuf_fini(&out);
    if (!a.waits) {
        answer(c, request, &reply, row != NULL && row->acts);
    }
    str_fini(&reply);
    coordinator_settle(c, now_ms);
}

void coordinator_admin(struct coordinator *c, int64_t now_ms, uint64_t request, int proto,
                       const struct slice *argv, size_t argc)
{
    run_row(c, now_ms, request, proto, "", argv, argc);
}

/* ---- from nodes ---- */

#define ASK_WORDS_MAX 16

static bool read_words(const struct resp_value *v, struct slice argv[ASK_WORDS_MAX])
{
    if (v == NULL || v->type != RESP_ARRAY || v->count == 0 || v->count > ASK_WORDS_MAX) {
        return false;
    }
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].type != RESP_BULK) {
            return false;
        }
        argv[i] = v->items[i].text;
    }
    return true;
}

void coordinator_node_asks(struct coordinator *c, int64_t now_ms, const struct peer *p,
                           const struct wire_ask *m)
{
    struct slice argv[ASK_WORDS_MAX];
    struct resp_value *v = resp_value_parse(m->words);
    c->node_requests =
        mem_realloc(c->node_requests, sizeof(*c->node_requests) * (c->n_node_requests + 1));
    struct node_request *r = &c->node_requests[c->n_node_requests++];
    *r = (struct node_request){
        .request = ++c->request_last | REQUEST_OF_NODE, .link = p->link, .number = m->number};
    uint64_t request = r->request;
    if (read_words(v, argv)) {
        char asker[NODE_ID_LEN + 1];
        memcpy(asker, p->id, sizeof(asker));
        run_row(c, now_ms, request, m->proto == 3 ? 3 : 2, asker, argv, v->count);
    } else {
        coordinator_reply(c, request, SLICE("-ERR Protocol error: these are no words\r\n"));
    }
    resp_value_free(&v);
}
