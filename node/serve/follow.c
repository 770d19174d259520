// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/follow.h"

#include "node/keyspace/effect.h"
#include "node/serve/client.h"
#include "node/serve/follow_priv.h"
#include "node/serve/replicate.h"
#include "node/serve/waiters.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/errors.h"

#include <ctype.h>
#include <stdio.h>

#define AREA    "follow"
#define TICK_MS 1000

static bool is_live(const struct follower *f)
{
    return (f->client->flags & CLIENT_CLOSING) == 0;
}

/* --- the stream --- */

static void on_feed(void *arg, struct slice bytes)
{
    struct following *w = arg;
    spool_append(&w->spool, bytes);
    loop_defer(w->s->loop, &w->flush);
}

static void on_broken(void *arg)
{
    struct following *w = arg;
    w->broken = true;
    loop_defer(w->s->loop, &w->flush);
}

/* Says something that no command did; not in the midst of a group. */
static void say(struct following *w, const struct slice *words, size_t n)
{
    struct str text = {0};
    feed_words(&text, words, n);
    on_feed(w, str_slice(&text));
    str_fini(&text);
}

static void give(struct following *w, struct follower *f)
{
    if (f->from < w->spool.end) {
        spool_copy(&w->spool, f->from, &f->client->stream->out);
        f->from = w->spool.end;
        stream_flush_later(f->client->stream);
    }
}

/* What is neither the backlog nor somebody's still to come may go. */
static void trim(struct following *w)
{
    uint64_t keep_bytes = (uint64_t)w->s->settings->repl_backlog_size;
    uint64_t keep = w->spool.end > keep_bytes ? w->spool.end - keep_bytes : 0;
    LIST_FOREACH(it, &w->followers) {
        const struct follower *f = container_of(it, struct follower, link);
        keep = MIN(keep, is_live(f) ? f->from : keep);
    }
    spool_trim(&w->spool, keep);
}

static void on_flush(struct loop_task *t)
{
    struct following *w = container_of(t, struct following, flush);
    if (w->broken) {
        follow_reset(w->s, "the data set was changed for one shard as a whole");
        return;
    }
    LIST_FOREACH(it, &w->followers) {
        struct follower *f = container_of(it, struct follower, link);
        if (!is_live(f)) {
            continue;
        }
        if (f->state == FOLLOWER_ONLINE) {
            give(w, f);
        }
        client_check_output(f->client);
    }
    trim(w);
}

/* --- listening to the keyspace --- */

void follow_hang(struct server *s)
{
    struct following *w = s->following;
    if (w == NULL || !w->active) {
        return;
    }
    if (s->ks->collector == NULL) {
        s->ks->collector = collector_new(effect_sink_nobody());
        w->own_collector = true;
    }
    s->ks->collector->feed = &w->feed;
}

void follow_unhang(struct server *s)
{
    struct following *w = s->following;
    if (w == NULL || s->ks == NULL || s->ks->collector == NULL) {
        return;
    }
    s->ks->collector->feed = NULL;
    if (w->own_collector && s->ks->collector->open) {
        loop_defer(s->loop, &w->leave); /* a command is under way */
    } else if (w->own_collector) {
        collector_free(&s->ks->collector);
        w->own_collector = false;
    }
}

static void on_leave(struct loop_task *t)
{
    struct following *w = container_of(t, struct following, leave);
    if (!w->active) {
        follow_unhang(w->s);
    }
}

static void new_id(struct following *w)
{
    for (int i = 0; i < NODE_ID_LEN; i++) {
        w->id[i] = "0123456789abcdef"[rng_next(&w->s->rng) >> 60];
    }
}

static void activate(struct following *w)
{
    if (!w->active) {
        w->active = true;
        w->feed.db = -1;
        follow_hang(w->s);
        loop_timer_start(&w->tick, TICK_MS, TICK_MS);
    }
}

/* Nobody has followed for long: no write is told any more. Places go on, ids do not. */
static void deactivate(struct following *w)
{
    follow_unhang(w->s);
    feed_drop(&w->feed);
    w->active = false;
    w->broken = false;
    loop_timer_stop(&w->tick);
    loop_undefer(&w->flush);
    uint64_t end = w->spool.end;
    spool_fini(&w->spool);
    spool_init(&w->spool, end);
    new_id(w);
}

/* --- followers --- */

static struct follower *follower_of(struct client *c)
{
    if (c->follower == NULL) {
        c->follower = mem_zalloc(sizeof(*c->follower));
        c->follower->client = c;
        list_init(&c->follower->link);
    }
    return c->follower;
}

void follower_end(struct follower *f, const char *why)
{
    struct client *c = f->client;
    image_leave(f);
    if (is_live(f)) {
        log_event(LOG_NOTICE, AREA, "closed: %s client=%llu addr=%s", why,
                  (unsigned long long)c->id, c->peer);
        client_kill(c);
    }
}

void follow_forget(struct client *c)
{
    struct follower *f = c->follower;
    if (f == NULL) {
        return;
    }
    image_leave(f);
    if (f->state != FOLLOWER_NONE) {
        struct following *w = c->server->following;
        list_remove(&f->link);
        w->n--;
        w->alone_since_ms = loop_now_ms(w->s->loop);
        log_event(LOG_NOTICE, AREA, "lost client=%llu addr=%s", (unsigned long long)c->id, c->peer);
    }
    mem_free(f);
    c->follower = NULL;
}

void follow_reset(struct server *s, const char *why)
{
    struct following *w = s->following;
    if (w == NULL || !w->active) {
        return;
    }
    LIST_FOREACH(it, &w->followers) {
        follower_end(container_of(it, struct follower, link), why);
    }
    deactivate(w);
}

static void on_drained(struct stream *st)
{
    struct client *c = st->owner;
    if (c->follower != NULL && c->follower->state == FOLLOWER_GETS) {
        image_pump(c->follower);
    }
}

void follower_welcome(struct follower *f, uint64_t at)
{
    const struct following *w = f->client->server->following;
    char line[96];
    if (f->acks) {
        int n =
            snprintf(line, sizeof(line), "+FULLRESYNC %s %llu\r\n", w->id, (unsigned long long)at);
        outbuf_append(&f->client->stream->out, line, (size_t)n);
    }
}

static void go_online(struct following *w, struct follower *f)
{
    f->state = FOLLOWER_ONLINE;
    f->acked_ms = loop_now_ms(w->s->loop);
    log_event(LOG_NOTICE, AREA, "online client=%llu addr=%s", (unsigned long long)f->client->id,
              f->client->peer);
    give(w, f);
}

void follower_has_image(struct follower *f)
{
    struct following *w = f->client->server->following;
    bool direct = f->eof && w->s->settings->repl_diskless_sync;
    f->acked_ms = loop_now_ms(w->s->loop);
    if (f->image_only) {
        client_close_after_reply(f->client);
    } else if (direct) {
        /* What comes behind the mark it might take for the image. */
        f->state = FOLLOWER_SILENT;
    } else {
        go_online(w, f);
    }
}

/* --- time --- */

static void check_follower(const struct following *w, struct follower *f, int64_t now_ms,
                           bool alive)
{
    bool must_ack = f->acks && (f->state == FOLLOWER_ONLINE || f->state == FOLLOWER_SILENT);
    if (!is_live(f)) {
        return;
    }
    if (must_ack && now_ms - f->acked_ms > w->s->settings->repl_timeout_ms) {
        follower_end(f, "it acknowledges nothing");
    } else if (alive && f->state == FOLLOWER_WAITS) {
        outbuf_append(&f->client->stream->out, "\n", 1);
        stream_flush_later(f->client->stream);
    }
}

static void on_tick(struct loop_timer *t)
{
    struct following *w = t->arg;
    const struct settings *o = w->s->settings;
    int64_t now_ms = loop_now_ms(w->s->loop);
    if (w->n == 0) {
        if (o->repl_backlog_ttl_ms > 0 && now_ms - w->alone_since_ms > o->repl_backlog_ttl_ms) {
            deactivate(w);
        }
        return;
    }
    bool alive = now_ms - w->pinged_ms >= o->repl_ping_ms;
    if (alive) {
        w->pinged_ms = now_ms;
        say(w, &SLICE("PING"), 1);
    }
    LIST_FOREACH(it, &w->followers) {
        check_follower(w, container_of(it, struct follower, link), now_ms, alive);
    }
}

/* --- SYNC, PSYNC --- */

/* The stream goes on where the follower has it. */
static bool go_on(struct following *w, struct follower *f, struct slice id, int64_t place)
{
    char line[64];
    if (!w->active || !slice_eq(id, slice_str(w->id)) || place < 1 ||
        (uint64_t)place - 1 < w->spool.first || (uint64_t)place - 1 > w->spool.end) {
        return false;
    }
    int n = snprintf(line, sizeof(line), "+CONTINUE %s\r\n", w->id);
    outbuf_append(&f->client->stream->out, line, (size_t)n);
    f->from = (uint64_t)place - 1;
    f->acked = f->from;
    w->stats.partial++;
    return true;
}

static const char *refusal(const struct client *c)
{
    if ((c->flags & (CLIENT_LANE | CLIENT_MONITOR | CLIENT_LISTENS)) != 0 || c->tracking != NULL ||
        c->session.in_multi) {
        return "ERR SYNC and PSYNC are for a connection of their own";
    }
    return NULL;
}

static void enlist(struct following *w, struct follower *f)
{
    struct client *c = f->client;
    activate(w);
    if (w->n == 0) {
        w->pinged_ms = loop_now_ms(w->s->loop);
    }
    list_append(&w->followers, &f->link);
    w->n++;
    c->flags |= CLIENT_FOLLOWS;
    c->stream->on_drained = on_drained;
}

void follow_sync(struct call *k)
{
    struct server *s = k->server;
    struct client *c = s->current;
    struct following *w = s->following;
    bool partly = k->cmd->id == CMD_PSYNC;
    int64_t place = -1;
    const char *error = refusal(c);
    if (c->follower != NULL && c->follower->state != FOLLOWER_NONE) {
        return; /* it is under way */
    }
    if (error == NULL && partly && !num_parse_i64(k->argv[2], &place)) {
        error = ERR_NOT_INT;
    }
    if (error == NULL && partly && k->argc > 3) {
        error = "ERR PSYNC FAILOVER can't be sent to a master.";
    }
    if (error != NULL) {
        resp_error(&k->w, error);
        return;
    }
    struct follower *f = follower_of(c);
    f->acks = partly;
    bool known = partly && go_on(w, f, k->argv[1], place);
    enlist(w, f);
    if (known) {
        go_online(w, f);
        return;
    }
    w->stats.full++;
    w->stats.partial_refused += partly && !slice_eq(k->argv[1], SLICE("?"));
    image_for(w, f);
}

/* --- REPLCONF --- */

static bool read_filter(struct follower *f, struct slice words)
{
    unsigned without = WITHOUT_KEYS | WITHOUT_LIBRARIES;
    size_t i = 0;
    while (i < words.len) {
        size_t from = i;
        while (i < words.len && !isspace((unsigned char)words.ptr[i])) {
            i++;
        }
        struct slice word = slice_of(words.ptr + from, i - from);
        if (slice_is(word, "functions")) {
            without &= ~(unsigned)WITHOUT_LIBRARIES;
        } else if (word.len > 0) {
            return false;
        }
        i += i < words.len;
    }
    f->without = without;
    return true;
}

static void acknowledge(struct follower *f, uint64_t place)
{
    struct server *s = f->client->server;
    struct following *w = s->following;
    if (f->state == FOLLOWER_NONE || f->state == FOLLOWER_WAITS || f->state == FOLLOWER_GETS) {
        return;
    }
    f->acked = MAX(f->acked, MIN(place, w->spool.end));
    f->acked_ms = loop_now_ms(s->loop);
    if (f->state == FOLLOWER_SILENT) {
        go_online(w, f);
    }
    if (!list_empty(&s->waiters)) {
        waiters_check(s);
    }
}

enum conf_answer { CONF_OK, CONF_QUIET, CONF_WRONG };

/* `option value`; an error is written unless it is CONF_WRONG's, of the option. */
static enum conf_answer configure(struct call *k, struct client *c, struct slice option,
                                  struct slice value, bool *failed)
{
    struct follower *f = follower_of(c);
    int64_t n = 0;
    bool number = num_parse_i64(value, &n);
    if (slice_is(option, "ack")) {
        if (number && n >= 0) {
            acknowledge(f, (uint64_t)n);
        }
        return CONF_QUIET;
    }
    if (slice_is(option, "getack")) {
        return CONF_QUIET; /* a primary's word to a replica */
    }
    if (slice_is(option, "capa")) {
        f->eof |= slice_is(value, "eof");
        return CONF_OK;
    }
    if (slice_is(option, "ip-address")) {
        if (value.len >= sizeof(f->host) || memchr(value.ptr, '\0', value.len) != NULL) {
            resp_errorf(&k->w,
                        "ERR REPLCONF ip-address provided by replica instance is too long: "
                        "%zu bytes",
                        value.len);
            *failed = true;
            return CONF_QUIET;
        }
        memcpy(f->host, value.ptr, value.len);
        f->host[value.len] = '\0';
        return CONF_OK;
    }
    bool port = slice_is(option, "listening-port");
    if (port || slice_is(option, "rdb-only")) {
        if (!number || n < 0 || n > (port ? UINT16_MAX : 1)) {
            resp_error(&k->w, number ? "ERR value is out of range" : ERR_NOT_INT);
            *failed = true;
            return CONF_QUIET;
        }
        f->port = port ? (int)n : f->port;
        f->image_only = port ? f->image_only : n == 1;
        return CONF_OK;
    }
    if (slice_is(option, "rdb-filter-only")) {
        if (!read_filter(f, value)) {
            resp_errorf(&k->w, "ERR Unsupported rdb-filter-only option: %.*s",
                        (int)MIN(value.len, (size_t)64), value.ptr);
            *failed = true;
            return CONF_QUIET;
        }
        return CONF_OK;
    }
    return CONF_WRONG;
}

void follow_conf(struct call *k)
{
    const struct server *s = k->server;
    struct client *c = s->current;
    bool quiet = false;
    bool failed = false;
    if (k->argc % 2 == 0) {
        resp_error(&k->w, "ERR syntax error");
        return;
    }
    for (size_t i = 1; i < k->argc && !failed; i += 2) {
        switch (configure(k, c, k->argv[i], k->argv[i + 1], &failed)) {
        case CONF_OK:
            break;
        case CONF_QUIET:
            quiet = true;
            break;
        case CONF_WRONG:
            resp_errorf(&k->w, "ERR Unrecognized REPLCONF option: %.*s",
                        (int)MIN(k->argv[i].len, (size_t)64), k->argv[i].ptr);
            return;
        }
    }
    if (!quiet) {
        resp_ok(&k->w);
    }
}

bool follow_may_say(struct client *c, const struct command *cmd)
{
    switch (cmd->id) {
    case CMD_REPLCONF:
    case CMD_SYNC:
    case CMD_PSYNC:
        return true;
    default:
        follower_end(c->follower, "it sends commands");
        return false;
    }
}

/* --- views --- */

size_t follow_pending(const struct client *c)
{
    const struct follower *f = c->follower;
    return f == NULL || f->state == FOLLOWER_NONE
               ? 0
               : (size_t)(c->server->following->spool.end - f->from);
}

size_t follow_memory(const struct server *s)
{
    const struct following *w = s->following;
    size_t bytes = w->spool.memory;
    LIST_FOREACH(it, &w->followers) {
        bytes += container_of(it, struct follower, link)->client->stream->out.bytes;
    }
    return bytes;
}

uint64_t follow_offset(const struct server *s)
{
    return s->following->spool.end;
}

int follow_acked(const struct server *s, uint64_t offset)
{
    int n = 0;
    LIST_FOREACH(it, &s->following->followers) {
        const struct follower *f = container_of(it, struct follower, link);
        n += f->state == FOLLOWER_ONLINE && is_live(f) && f->acked >= offset;
    }
    return n;
}

const char *follow_refusal(const struct server *s)
{
    const struct settings *o = s->settings;
    if (LIKELY(o->min_replicas == 0 || o->min_replicas_lag_ms == 0)) {
        return NULL;
    }
    int64_t good = 0;
    LIST_FOREACH(it, &s->following->followers) {
        const struct follower *f = container_of(it, struct follower, link);
        good += f->state == FOLLOWER_ONLINE && is_live(f) &&
                loop_now_ms(s->loop) - f->acked_ms <= o->min_replicas_lag_ms;
    }
    return good >= o->min_replicas ? NULL : "NOREPLICAS Not enough good replicas to write.";
}

void follow_ask(struct server *s)
{
    if (s->following->n > 0) {
        say(s->following, (struct slice[]){SLICE("REPLCONF"), SLICE("GETACK"), SLICE("*")}, 3);
    }
}

const struct follow_stats *follow_stats(const struct server *s)
{
    return &s->following->stats;
}

const char *follow_id(const struct server *s)
{
    return s->following->id;
}

static void view(const struct following *w, const struct follower *f, struct follow_view *v,
                 char host[64])
{
    static const char *const states[] = {[FOLLOWER_NONE] = "none",
                                         [FOLLOWER_WAITS] = "wait_bgsave",
                                         [FOLLOWER_GETS] = "send_bulk",
                                         [FOLLOWER_SILENT] = "send_bulk",
                                         [FOLLOWER_ONLINE] = "online"};
    const char *colon = strrchr(f->client->peer, ':');
    size_t len = colon == NULL ? strlen(f->client->peer) : (size_t)(colon - f->client->peer);
    (void)snprintf(host, 64, "%.*s", (int)MIN(len, (size_t)63), f->client->peer);
    int64_t silent_ms = loop_now_ms(w->s->loop) - f->acked_ms;
    *v = (struct follow_view){.host = f->host[0] != '\0' ? f->host : host,
                              .port = f->port,
                              .state = states[f->state],
                              .online = f->state == FOLLOWER_ONLINE,
                              .acked = f->acked,
                              .lag_s =
                                  f->acks && f->state == FOLLOWER_ONLINE ? silent_ms / 1000 : 0};
}

size_t follow_each(const struct server *s, follow_view_fn *fn, void *arg)
{
    const struct following *w = s->following;
    size_t n = 0;
    char host[64];
    LIST_FOREACH(it, &w->followers) {
        const struct follower *f = container_of(it, struct follower, link);
        struct follow_view v;
        if (is_live(f)) {
            view(w, f, &v, host);
            fn(arg, &v);
            n++;
        }
    }
    return n;
}

void follow_info(const struct server *s, struct str *to)
{
    const struct following *w = s->following;
    if (s->repl == NULL) { /* else these are of the log for nodes */
        str_printf(to,
                   "repl_backlog_active:%d\r\nrepl_backlog_size:%lld\r\n"
                   "repl_backlog_first_byte_offset:%llu\r\nrepl_backlog_histlen:%llu\r\n",
                   w->active, (long long)s->settings->repl_backlog_size,
                   (unsigned long long)(w->active ? w->spool.first + 1 : 0),
                   (unsigned long long)(w->spool.end - w->spool.first));
    }
    str_printf(to,
               "followers_stream_active:%d\r\nfollowers_backlog_first:%llu\r\n"
               "followers_backlog_bytes:%zu\r\nfollowers_images:%llu\r\n"
               "followers_image_slice_us_max:%lld\r\n",
               w->active, (unsigned long long)w->spool.first, w->spool.memory,
               (unsigned long long)w->images_made, (long long)w->slice_us_max);
}

/* --- life --- */

void follow_init(struct server *s)
{
    struct following *w = mem_zalloc(sizeof(*w));
    s->following = w;
    w->s = s;
    list_init(&w->followers);
    spool_init(&w->spool, 0);
    feed_init(&w->feed, on_feed, w);
    w->feed.broke = on_broken;
    loop_task_init(&w->flush, on_flush);
    loop_task_init(&w->leave, on_leave);
    loop_timer_init(&w->tick, s->loop, on_tick, w);
    images_init(w);
    new_id(w);
}

void follow_fini(struct server *s)
{
    struct following *w = s->following;
    INVARIANT(w->n == 0);
    if (w->active) {
        deactivate(w);
    }
    follow_unhang(s);
    images_fini(w);
    loop_timer_fini(&w->tick);
    loop_undefer(&w->leave);
    loop_undefer(&w->flush);
    feed_fini(&w->feed);
    spool_fini(&w->spool);
    mem_free(w);
    s->following = NULL;
}
