// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/client.h"

#include "node/link/link.h"
#include "node/serve/access.h"
#include "node/serve/dispatch.h"
#include "node/serve/errand.h"
#include "node/serve/follow.h"
#include "node/serve/migrate.h"
#include "node/serve/parked.h"
#include "node/serve/pubsub.h"
#include "node/serve/server.h"
#include "node/serve/tracking.h"
#include "node/serve/waiters.h"

#include "common/app/client_command.h"
#include "common/app/client_line.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/addr.h"

#define STRANGER_OUTPUT_MAX (64 * 1024)
#define CLIENT_FLAG_LETTERS 16 /* with the end */
/* About what one of these takes, with a short name. */
#define WATCH_BYTES        160
#define SUBSCRIPTION_BYTES 224

static void on_data(struct stream *st)
{
    dispatch_data(st->owner);
}

static void on_close(struct stream *st, int err)
{
    struct client *c = st->owner;
    (void)err;
    client_free(&c);
}

struct client *client_new(struct server *s, int fd)
{
    struct client *c = mem_zalloc(sizeof(*c));
    c->magic = CLIENT_MAGIC;
    c->server = s;
    c->id = s->next_client_id++;
    c->since_ms = loop_now_ms(s->loop);
    c->stream = stream_new(s->loop, fd, c, on_data, on_close);
    if (s->settings->tcp_keepalive_ms > 0) {
        stream_keepalive(c->stream, (int)(s->settings->tcp_keepalive_ms / 1000));
    }
    stream_meanwhile(c->stream, true);
    stream_peer(c->stream, c->peer, sizeof(c->peer));
    if (addr_peer_is_local(fd)) {
        c->flags |= CLIENT_LOCAL;
    }
    resp_parser_init(&c->parser);
    c->parser.bulk_max = s->settings->proto_max_bulk_len;
    session_init(&c->session);
    access_reset(c);
    list_append(&s->clients, &c->link);
    hmap_insert(&s->by_id, &c->id_node, c->id * 0x9E3779B97F4A7C15ULL);
    list_append(&s->round, &c->round);
    list_init(&c->waiting);
    list_init(&c->aside);
    hold_ring_init(&c->holds);
    subscriber_init(&c->subscriber);
    list_init(&c->ear);
    s->n_clients++;
    return c;
}

static void leave_roles(struct client *c)
{
    struct server *s = c->server;
    if (c->flags & CLIENT_LANE) {
        s->n_lanes--;
    }
    if (c->flags & CLIENT_OVER) {
        s->n_over--;
    }
    if (c->flags & CLIENT_MONITOR) {
        s->n_monitors--;
    }
    list_remove(&c->waiting);
    s->clients_memory -= c->memory_seen;
    s->dying_bytes -= c->dying_bytes;
}

void client_free(struct client **cp)
{
    struct client *c = *cp;
    *cp = NULL;
    if (c == NULL) {
        return;
    }
    CHECK_OBJ(c, CLIENT_MAGIC);
    struct server *s = c->server;
    /* Batches run before anything is closed. */
    INVARIANT(c->in_batch == 0);
    INVARIANT(s->current != c);
    leave_roles(c);
    lanes_leave(&s->lanes, c);
    holds_forget(s->holds, c);
    waiters_forget(c);
    parked_forget(c);
    migrate_forget(c);
    follow_forget(c);
    errand_forget(c);
    pubsub_forget(c);
    tracking_forget(c);
    hmap_remove(&s->by_id, &c->id_node);
    list_remove(&c->ear);
    outbuf_fini(&c->pushes);
    list_remove(&c->link);
    list_remove(&c->round);
    s->n_clients--;
    if (c->stream != NULL) {
        s->stats.closed_in += c->stream->bytes_in;
        s->stats.closed_out += c->stream->bytes_out;
        s->stats.closed_reads += c->stream->reads;
        s->stats.closed_writes += c->stream->writes;
    }
    session_fini(&c->session, s->ks);
    resp_parser_fini(&c->parser);
    stream_free(&c->stream);
    mem_free(c->name);
    mem_free(c->lib_name);
    mem_free(c->lib_version);
    mem_free(c->link_claim);
    INVARIANT(c->parked == NULL);
    c->magic = 0;
    mem_free(c);
}

void client_kill(struct client *c)
{
    if (c->flags & CLIENT_CLOSING) {
        return;
    }
    c->flags |= CLIENT_CLOSING;
    stream_fail(c->stream, 0);
}

void client_close_after_reply(struct client *c)
{
    if (c->flags & CLIENT_CLOSING) {
        return;
    }
    c->flags |= CLIENT_CLOSING;
    stream_close_after_flush(c->stream);
}

void client_block(struct client *c)
{
    c->flags |= CLIENT_BLOCKED;
}

void client_unblock(struct client *c)
{
    if ((c->flags & CLIENT_BLOCKED) == 0) {
        return;
    }
    c->flags &= ~(uint32_t)CLIENT_BLOCKED;
    if ((c->flags & CLIENT_STOPPED) == 0) {
        stream_pause(c->stream); /* resuming gives what came meanwhile */
        stream_resume(c->stream);
    }
    stream_flush_later(c->stream);
}

/* --- a connection that is a node's --- */

struct link_claim {
    char id[NODE_ID_LEN + 1];
    uint64_t incarnation;
};

void client_becomes_link(struct client *c, const char *id, uint64_t incarnation)
{
    struct server *s = c->server;
    c->link_claim = mem_zalloc(sizeof(*c->link_claim));
    memcpy(c->link_claim->id, id, NODE_ID_LEN);
    c->link_claim->incarnation = incarnation;
    c->flags |= CLIENT_CLOSING; /* as a client */
    list_remove(&c->waiting);
    list_append(&s->adopted, &c->waiting);
    loop_defer(s->loop, &s->adopt_task);
}

void client_adopt_links(struct server *s)
{
    LIST_FOREACH_SAFE(it, &s->adopted) {
        struct client *c = container_of(it, struct client, waiting);
        struct link_claim claim = *c->link_claim;
        struct stream *st = c->stream;
        c->stream = NULL;
        client_free(&c);
        links_adopt(s->links, st, claim.id, claim.incarnation);
    }
}

int client_class(const struct client *c)
{
    /* A monitor takes what the server sends unasked, as Redis's replicas and monitors do. */
    return (c->flags & (CLIENT_MONITOR | CLIENT_FOLLOWS)) != 0 || !list_empty(&c->ear)
               ? OUTPUT_REPLICA
           : (c->flags & CLIENT_LISTENS) != 0 ? OUTPUT_PUBSUB
                                              : OUTPUT_NORMAL;
}

void client_check_output(struct client *c)
{
    struct server *s = c->server;
    bool unlimited = (c->flags & CLIENT_LANE) != 0 && list_empty(&c->ear);
    size_t pending = LIKELY(c->follower == NULL) ? 0 : follow_pending(c);
    if (c->stream->out.bytes + pending == 0 || unlimited || (c->flags & CLIENT_CLOSING) != 0) {
        c->soft_since_ms = 0;
        return;
    }
    const struct output_limit *l = &s->settings->output_limits.of[client_class(c)];
    size_t used = stream_out_memory(c->stream) + pending;
    bool over = l->hard != 0 && used >= l->hard;
    /* Who has not said who it is may not make this process keep much for it. */
    over |= c->parser.unauthenticated && c->stream->out.bytes > STRANGER_OUTPUT_MAX;
    if (l->soft == 0 || used < l->soft) {
        c->soft_since_ms = 0;
    } else if (c->soft_since_ms == 0) {
        c->soft_since_ms = MAX(loop_now_ms(s->loop), 1);
    } else if (loop_now_ms(s->loop) - c->soft_since_ms >= l->soft_seconds * 1000) {
        over = true;
    }
    if (over) {
        s->stats.output_limit_kills++;
        log_event(LOG_WARNING, "client",
                  "closed: output buffer limit client=%llu addr=%s bytes=%zu",
                  (unsigned long long)c->id, c->peer, used);
        client_kill(c);
    }
}

void client_unread(struct client *c, struct slice raw)
{
    struct stream *st = c->stream;
    struct slice rest = inbuf_unread(&st->in);
    struct chunk *joined = chunk_new(raw.len + rest.len);
    memcpy(joined->data, raw.ptr, raw.len);
    memcpy(joined->data + raw.len, rest.ptr, rest.len);
    joined->len = raw.len + rest.len;
    inbuf_fini(&st->in);
    st->in.chunk = joined;
    st->in.head = 0;
    struct resp_parser fresh;
    resp_parser_init(&fresh);
    fresh.bulk_max = c->parser.bulk_max;
    fresh.unauthenticated = c->parser.unauthenticated;
    resp_parser_fini(&c->parser);
    c->parser = fresh;
}

void client_becomes_lane(struct client *c)
{
    if ((c->flags & CLIENT_LANE) == 0) {
        c->flags |= CLIENT_LANE;
        c->session.relayed = true;
        c->server->n_lanes++;
    }
    if (c->flags & CLIENT_OVER) {
        c->flags &= ~(uint32_t)CLIENT_OVER;
        c->server->n_over--;
    }
}

/* Behind the reply of its command, which runs. What is evicted for it is told before. */
static bool push_waits(const struct client *c)
{
    return c == c->server->executing && c->server->ks->cause != CHANGE_BY_EVICTION;
}

struct outbuf *client_push(struct client *c)
{
    return push_waits(c) ? &c->pushes : &c->stream->out;
}

void client_pushed(struct client *c)
{
    if (!push_waits(c)) {
        stream_flush_later(c->stream);
        client_check_output(c);
        if (UNLIKELY(c->server->settings->maxmemory_clients.amount != 0)) {
            client_account(c);
        }
    }
}

struct outbuf *client_out(struct client *c)
{
    return c->flags & (CLIENT_REPLY_OFF | CLIENT_SKIPPING | CLIENT_FOLLOWS) ? &c->server->sink
                                                                            : &c->stream->out;
}

/* The largest that may go; lanes and those under CLIENT NO-EVICT may not. */
static struct client *largest(struct server *s)
{
    struct client *most = NULL;
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if ((c->flags & (CLIENT_LANE | CLIENT_NO_EVICT | CLIENT_CLOSING | CLIENT_FOLLOWS)) == 0 &&
            (most == NULL || c->memory_seen > most->memory_seen)) {
            most = c;
        }
    }
    return most;
}

void client_account(struct client *c)
{
    struct server *s = c->server;
    uint64_t limit = settings_clients_limit(s->settings);
    size_t now = c->flags & CLIENT_CLOSING ? 0 : client_memory(c);
    s->clients_memory += now - c->memory_seen;
    c->memory_seen = now;
    while (limit > 0 && s->clients_memory > limit) {
        struct client *victim = largest(s);
        if (victim == NULL) {
            return;
        }
        s->stats.evicted_clients++;
        log_event(LOG_NOTICE, "client", "closed: maxmemory-clients client=%llu addr=%s bytes=%zu",
                  (unsigned long long)victim->id, victim->peer, victim->memory_seen);
        s->clients_memory -= victim->memory_seen;
        victim->dying_bytes = victim->memory_seen;
        s->dying_bytes += victim->dying_bytes;
        victim->memory_seen = 0;
        client_kill(victim);
    }
}

size_t client_memory(const struct client *c)
{
    /* What a long value has announced counts before it is here. */
    size_t coming = inbuf_unread(&c->stream->in).len + c->stream->want;
    return sizeof(*c) + MAX(stream_in_memory(c->stream), coming) + stream_out_memory(c->stream) +
           resp_parser_memory(&c->parser) + c->session.queue_bytes +
           c->session.watcher.count * WATCH_BYTES +
           ((size_t)c->subscriber.count[SUBJECT_CHANNEL] + c->subscriber.count[SUBJECT_PATTERN] +
            c->subscriber.count[SUBJECT_SHARD]) *
               SUBSCRIPTION_BYTES +
           tracking_memory(c);
}

static const char *flags_of(const struct client *c, char to[CLIENT_FLAG_LETTERS])
{
    const struct {
        bool set;
        char letter;
    } flags[] = {{(c->flags & CLIENT_MONITOR) != 0, 'O'},
                 {(c->flags & CLIENT_FOLLOWS) != 0, 'S'},
                 {(c->flags & CLIENT_LISTENS) != 0, 'P'},
                 {(c->flags & CLIENT_LANE) != 0, 'L'},
                 {(c->flags & (CLIENT_PAUSED | CLIENT_BLOCKED)) != 0, 'b'},
                 {c->session.in_multi, 'x'},
                 {c->session.watcher.dirty, 'd'},
                 {(c->flags & CLIENT_CLOSING) != 0, 'c'},
                 {(c->flags & CLIENT_READONLY) != 0, 'r'},
                 {(c->flags & CLIENT_NO_EVICT) != 0, 'e'}};
    size_t n = tracking_letters(c, to);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        INVARIANT(n + 1 < CLIENT_FLAG_LETTERS);
        if (flags[i].set) {
            to[n++] = flags[i].letter;
        }
    }
    to[n] = '\0';
    return to;
}

void client_describe(const struct client *c, struct str *to)
{
    const struct server *s = c->server;
    const struct stream *st = c->stream;
    bool current = c == s->current;
    /* Without what is parsed already of a command that is not whole yet. */
    size_t unread = inbuf_unread(&st->in).len;
    char flags[CLIENT_FLAG_LETTERS];
    const struct client_line line = {
        .id = c->id,
        .stream = st,
        .name = c->name,
        .since_ms = c->since_ms,
        .now_ms = loop_now_ms(s->loop),
        .flags = flags_of(c, flags),
        .db = c->session.db,
        .queued = c->session.in_multi ? (int)c->session.queued : -1,
        /* The command under way was taken from the buffer already; Redis counts it. */
        .unread = unread - MIN(c->parser.pos, unread) + (current ? dispatch_raw_bytes(s) : 0),
        .argv_bytes = current ? dispatch_argv_bytes(s) : 0,
        .queue_bytes = c->session.queue_bytes,
        .memory = client_memory(c),
        .replying = st->out.bytes > 0 && !current,
        .last = c->last_cmd,
        .proto = c->session.proto,
        .channels = c->subscriber.count[SUBJECT_CHANNEL],
        .patterns = c->subscriber.count[SUBJECT_PATTERN],
        .shard_channels = c->subscriber.count[SUBJECT_SHARD],
        .redirect = tracking_redirect(c),
        .user = acl_user_name(c->user),
    };
    client_line(&line, to);
}

bool client_set_name(struct client *c, struct slice name)
{
    if (!client_name_ok(name)) {
        return false;
    }
    mem_free(c->name);
    c->name = NULL;
    if (name.len > 0) {
        struct str copy = {0};
        str_append_slice(&copy, name);
        c->name = str_steal(&copy);
    }
    return true;
}
