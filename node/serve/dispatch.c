// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/dispatch.h"

#include "node/serve/access.h"
#include "node/serve/account.h"
#include "node/serve/busy.h"
#include "node/serve/client.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/parked.h"
#include "node/serve/pause.h"
#include "node/serve/pubsub.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"
#include "node/serve/tracking.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"
#include "common/resp/errors.h"

#define BATCH_CALLS 64
#define BATCH_ARGS  512
/* Objects are fetched this many commands ahead of the one that runs: enough for a cache miss to
 * pass, few enough not to push each other out. */
#define AHEAD 12
/* Of a client whose command waits so much more is read. */
#define BEHIND_MAX ((size_t)1 << 20)

struct batch {
    uint32_t n;
    uint32_t n_args;
    uint32_t n_chunks;
    uint32_t at; /* the call that runs */
    bool running;
    uint64_t hook_turn; /* loop turn whose hook ran last */
    struct client *clients[BATCH_CALLS];
    uint8_t park[BATCH_CALLS];     /* enum park_mode */
    struct slice raw[BATCH_CALLS]; /* the command's bytes, to put it back */
    struct chunk *chunks[BATCH_CALLS];
    struct call calls[BATCH_CALLS];
    struct slice args[BATCH_ARGS];
};

struct batch *batch_new(void)
{
    return mem_zalloc(sizeof(struct batch));
}

void batch_free(struct batch **b)
{
    if (*b != NULL) {
        INVARIANT((*b)->n == 0);
        mem_free(*b);
        *b = NULL;
    }
}

size_t dispatch_raw_bytes(const struct server *s)
{
    const struct batch *b = s->batch;
    return b->running ? b->raw[b->at].len : 0;
}

size_t dispatch_argv_bytes(const struct server *s)
{
    const struct batch *b = s->batch;
    const struct call *k = &b->calls[b->at];
    size_t bytes = 0;
    for (size_t i = 0; b->running && i < k->argc; i++) {
        bytes += k->argv[i].len;
    }
    return bytes;
}

/* --- refusals --- */

static void reject(struct server *s, struct client *c, struct call *k, const char *text)
{
    session_tx_failed(&c->session);
    resp_error(&k->w, text);
    account_rejected(s, k->cmd, k->w.code);
}

/* EXEC's transaction ends with it. */
static void reject_or_abort(struct server *s, struct client *c, struct call *k, const char *why)
{
    if (k->cmd->id != CMD_EXEC || !c->session.in_multi) {
        reject(s, c, k, why);
        return;
    }
    session_discard(&c->session, s->ks);
    resp_errorf(&k->w, "EXECABORT Transaction discarded because of: %s", why);
    account_rejected(s, k->cmd, k->w.code);
}

static void reject_busy(struct server *s, struct client *c, struct call *k)
{
    reject_or_abort(s, c, k, script_busy_error(scripts_busy(s->scripts)));
}

static bool is_protected(const struct server *s, const struct client *c, const struct call *k)
{
    int64_t how = k->cmd->id == CMD_DEBUG ? s->settings->enable_debug_command : PROTECT_NO;
    return how == PROTECT_NO || (how == PROTECT_LOCAL && (c->flags & CLIENT_LOCAL) == 0);
}

static void reject_protected(struct server *s, struct client *c, struct call *k)
{
    const char *what = k->cmd->id == CMD_DEBUG ? "DEBUG" : "MODULE";
    struct str text = {0};
    str_printf(&text,
               "ERR %s command not allowed. If the enable-%s-command option is set to \"local\", "
               "you can run it from a local connection, otherwise you need to set this option in "
               "the configuration file, and then restart the server.",
               what, k->cmd->id == CMD_DEBUG ? "debug" : "module");
    reject(s, c, k, str_cstr(&text));
    str_fini(&text);
}

static void reject_unknown(struct server *s, struct client *c, struct call *k)
{
    char error[COMMAND_ERROR_MAX];
    if (command_is_http(k->argv[0])) {
        log_event(LOG_WARNING, "client", "closed: it speaks HTTP client=%llu addr=%s",
                  (unsigned long long)c->id, c->peer);
        client_kill(c);
        return;
    }
    command_error_unknown(error, k->argv, k->argc);
    reject(s, c, k, error);
}

/* --- is the shard ours --- */

/* What stands in a command's way. */
struct obstacle {
    enum repl_answer why; /* REPL_YES: nothing */
    uint32_t slot;
    bool write;
    bool reads;    /* and may read, too: a primary without leases takes writes only */
    uint32_t only; /* as that of the call */
};

static bool look_at(struct server *s, struct client *c, uint32_t slot, struct obstacle *o)
{
    int shard = keyspace_shard_of(s->ks, (int)slot);
    o->why = replicate_may(s, c, shard, o->write);
    if (UNLIKELY(o->reads) && o->why == REPL_YES) {
        o->why = replicate_may(s, c, shard, false);
    }
    o->slot = slot;
    return o->why == REPL_YES;
}

/* A replica's copy has a key whose time is over: its primary answers, and removes it on the way, so
 * that a read that went by the proxy has done what it does on one server. Plain clients that said
 * READONLY read what Redis's replicas say: nothing. */
static bool is_for_primary(struct server *s, const struct client *c, uint32_t slot,
                           struct slice key, struct obstacle *o)
{
    const struct shard *shard = s->ks->shards[keyspace_shard_of(s->ks, (int)slot)];
    if (LIKELY(shard == NULL || !shard->passive) || o->write || (c->flags & CLIENT_LANE) == 0) {
        return false;
    }
    struct db db = {
        .ks = s->ks, .index = c->session.db, .now_ms = loop_wall_ms(s->loop), .no_touch = true};
    o->why = db_hides(&db, (int)slot, key) ? REPL_MOVED : REPL_YES;
    return o->why != REPL_YES;
}

static bool look_at_key(struct server *s, struct client *c, struct slice key, struct obstacle *o)
{
    uint32_t slot = slot_of(key);
    return look_at(s, c, slot, o) && !is_for_primary(s, c, slot, key, o);
}

/* Commands without keys that concern all there is: what this node should serve and cannot now would
 * be left out of the answer. */
static bool concerns_all(const struct command *cmd)
{
    switch (cmd->id) {
    case CMD_DBSIZE:
    case CMD_FLUSHALL:
    case CMD_FLUSHDB:
    case CMD_KEYS:
    case CMD_RANDOMKEY:
    case CMD_SCAN:
    case CMD_SWAPDB:
        return true;
    default:
        return false;
    }
}

static bool may_touch_all(struct server *s, struct client *c, struct obstacle *o)
{
    const struct map *m = s->map;
    if (o->only != 0) {
        uint64_t n = (uint64_t)s->ks->n_shards;
        return look_at(s, c, (uint32_t)(((o->only - 1) * KEYSPACE_SLOTS + n - 1) / n), o);
    }
    for (int i = 0; m != NULL && s->self != NODE_NONE && i < m->n_shards; i++) {
        if (m->shards[i].primary == s->self &&
            !look_at(s, c, (uint32_t)m->shards[i].first_slot, o)) {
            return false;
        }
    }
    return true;
}

/* A proxy sends a cursor to where its shard is served: elsewhere the shard would be passed by. */
static bool may_scan(struct server *s, struct client *c, struct slice cursor, struct obstacle *o)
{
    uint64_t at;
    if (!num_parse_u64(cursor, &at) || (at & (KEYSPACE_SLOTS - 1)) >= (uint64_t)s->ks->n_shards) {
        return true; /* the handler says what is wrong */
    }
    uint64_t shard = at & (KEYSPACE_SLOTS - 1);
    uint64_t n = (uint64_t)s->ks->n_shards;
    o->slot = (uint32_t)((shard * KEYSPACE_SLOTS + n - 1) / n);
    o->why = replicate_may(s, c, (int)shard, true) == REPL_NOREPLICAS
                 ? REPL_YES
                 : replicate_may(s, c, (int)shard, true);
    return o->why == REPL_YES;
}

static bool may_be_heard(struct server *s, struct client *c, struct slice channel,
                         struct obstacle *o)
{
    o->slot = slot_of(channel);
    o->write = true;
    enum repl_answer why = replicate_may(s, c, keyspace_shard_of(s->ks, (int)o->slot), true);
    o->why = why == REPL_NOREPLICAS || pubsub_is_notification(channel) ? REPL_YES : why;
    return o->why == REPL_YES;
}

/* Channels live where their slots are served. Within a transaction PUBLISH goes anywhere: the node
 * hands it on. */
static bool may_tell(struct server *s, struct client *c, const struct command *cmd,
                     const struct slice *argv, size_t argc, struct obstacle *o)
{
    switch (cmd->id) {
    case CMD_PUBLISH:
        return c->session.in_multi || argc < 2 || may_be_heard(s, c, argv[1], o);
    case CMD_SPUBLISH:
        return argc < 2 || may_be_heard(s, c, argv[1], o);
    case CMD_SUBSCRIBE:
    case CMD_SSUBSCRIBE:
        for (size_t i = 1; i < argc; i++) {
            if (!may_be_heard(s, c, argv[i], o)) {
                return false;
            }
        }
        return true;
    default:
        return true;
    }
}

/* False: one of its keys is in a shard with which this may not be done now. */
static bool may_touch(struct server *s, struct client *c, const struct command *cmd,
                      const struct slice *argv, size_t argc, struct obstacle *o)
{
    if (UNLIKELY((cmd->flags & CF_PUBSUB) != 0)) {
        return may_tell(s, c, cmd, argv, argc, o);
    }
    uint32_t single = keys_single(cmd);
    o->write = (cmd->flags & (CF_WRITE | CF_MAY_REPLICATE)) != 0;
    /* What a script wrote before it was refused a read would stay. */
    o->reads = (cmd->flags & CF_MAY_REPLICATE) != 0;
    if (single != 0) {
        return look_at_key(s, c, argv[single], o);
    }
    if (UNLIKELY(cmd->id == CMD_SCAN) && (c->flags & CLIENT_LANE) != 0) {
        return may_scan(s, c, argv[1], o);
    }
    if (!keys_possible(cmd) || keys_find(cmd, argv, argc, s->keys) != KEYS_OK) {
        return !concerns_all(cmd) || may_touch_all(s, c, o);
    }
    for (uint32_t i = 0; i < s->keys->count; i++) {
        if (!look_at_key(s, c, argv[s->keys->keys[i].index], o)) {
            return false;
        }
    }
    return true;
}

static bool may_touch_queued(struct server *s, struct client *c, struct obstacle *o)
{
    replicate_exec(s, -1);
    for (size_t i = 0; i < c->session.queued; i++) {
        const struct queued *q = &c->session.queue[i];
        if (!may_touch(s, c, q->cmd, q->argv, q->argc, o)) {
            return false;
        }
        if (keys_possible(q->cmd) && keys_find(q->cmd, q->argv, q->argc, s->keys) == KEYS_OK) {
            for (uint32_t j = 0; j < s->keys->count; j++) {
                uint32_t slot = slot_of(q->argv[s->keys->keys[j].index]);
                replicate_exec(s, keyspace_shard_of(s->ks, (int)slot));
            }
        }
    }
    return true;
}

static bool all_ours(struct server *s, struct client *c, struct call *k)
{
    struct obstacle o = {.only = k->only};
    if (LIKELY(may_touch(s, c, k->cmd, k->argv, k->argc, &o)) &&
        (k->cmd->id != CMD_EXEC || may_touch_queued(s, c, &o))) {
        return true;
    }
    struct str why = {0};
    replicate_refusal(s, c, o.why, o.slot, o.write, &why);
    reject(s, c, k, str_cstr(&why));
    if (k->cmd->id == CMD_EXEC) {
        session_discard(&c->session, s->ks);
    }
    str_fini(&why);
    return false;
}

/* --- running --- */

static bool writes(const struct client *c, const struct call *k)
{
    bool any = command_is_write(k->cmd);
    for (size_t i = 0; k->cmd->id == CMD_EXEC && i < c->session.queued && !any; i++) {
        any = command_is_write(c->session.queue[i].cmd);
    }
    return any;
}

/* What is written could not be kept. */
static bool may_be_kept(struct server *s, struct client *c, struct call *k)
{
    const char *why = writes(c, k) ? server_write_refusal(s) : NULL;
    if (LIKELY(why == NULL)) {
        return true;
    }
    reject_or_abort(s, c, k, why);
    return false;
}

/* In RESP2 messages and replies cannot be told apart: a subscriber may say little. */
static bool may_say(struct server *s, struct client *c, struct call *k)
{
    if ((c->flags & CLIENT_FOLLOWS) != 0) {
        return follow_may_say(c, k->cmd);
    }
    switch (k->cmd->id) {
    case CMD_PING:
    case CMD_SUBSCRIBE:
    case CMD_SSUBSCRIBE:
    case CMD_PSUBSCRIBE:
    case CMD_UNSUBSCRIBE:
    case CMD_SUNSUBSCRIBE:
    case CMD_PUNSUBSCRIBE:
    case CMD_QUIT:
    case CMD_RESET:
        return true;
    default:
        break;
    }
    if (c->session.proto == 3) {
        return true;
    }
    struct str text = {0};
    str_printf(&text,
               "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
               "RESET are allowed in this context",
               k->cmd->full_name);
    reject(s, c, k, str_cstr(&text));
    str_fini(&text);
    return false;
}

/* The order of the checks is Redis's: it decides which error a client sees. False: answered. */
static bool allowed(struct server *s, struct client *c, struct call *k)
{
    const struct command *cmd = k->cmd;
    if (UNLIKELY(cmd == NULL)) {
        reject_unknown(s, c, k);
        return false;
    }
    if (UNLIKELY(!command_arity_ok(cmd, k->argc))) {
        char error[COMMAND_ERROR_MAX];
        command_error_arity(error, cmd);
        reject(s, c, k, error);
        return false;
    }
    if (UNLIKELY((cmd->flags & CF_PROTECTED) != 0 && is_protected(s, c, k))) {
        reject_protected(s, c, k);
        return false;
    }
    if (UNLIKELY((c->flags & CLIENT_FREE) == 0)) {
        const char *why = access_refusal(c, k);
        if (why != NULL) {
            reject(s, c, k, why);
            return false;
        }
    }
    if (UNLIKELY(s->busy) && !busy_allows(c, k)) {
        reject_busy(s, c, k);
        return false;
    }
    if (UNLIKELY(c->session.in_multi && (cmd->flags & CF_NO_MULTI) != 0)) {
        reject(s, c, k, "ERR Command not allowed inside a transaction");
        return false;
    }
    return (s->repl == NULL || all_ours(s, c, k)) && may_be_kept(s, c, k) &&
           (LIKELY((c->flags & (CLIENT_LISTENS | CLIENT_FOLLOWS)) == 0) || may_say(s, c, k));
}

static void touch(struct server *s, struct client *c)
{
    if ((c->flags & CLIENT_TOUCHED) == 0) {
        c->flags |= CLIENT_TOUCHED;
        c->touched_next = s->touched;
        s->touched = c;
        stream_flush_later(c->stream);
    }
}

/* Memory is above its limit: clients that take more than they may go before any key does. */
static void relieve(struct call *k)
{
    struct server *s = k->server;
    if (s->settings->maxmemory_clients.amount != 0) {
        LIST_FOREACH(it, &s->clients) {
            client_account(container_of(it, struct client, link));
        }
        s->ks->uncounted = replicate_memory(s) + follow_memory(s) + s->dying_bytes;
    }
}

void dispatch_table(struct server *s)
{
    s->table.relieve = relieve;
}

static void settle_touched(struct server *s)
{
    bool limited = s->settings->maxmemory_clients.amount != 0;
    for (struct client *c = s->touched; c != NULL; c = c->touched_next) {
        c->flags &= ~(uint32_t)CLIENT_TOUCHED;
        client_check_output(c);
        if (UNLIKELY(limited)) {
            client_account(c);
        }
    }
    s->touched = NULL;
}

/* The rest of what this client has in the batch goes back to where it came from. */
static void put_back(struct batch *b, struct client *c, uint32_t from)
{
    const char *start = NULL;
    const char *end = NULL;
    for (uint32_t i = from; i < b->n; i++) {
        if (b->clients[i] == c) {
            start = start == NULL ? b->raw[i].ptr : start;
            end = b->raw[i].ptr + b->raw[i].len;
            c->in_batch -= i > b->at;
            b->clients[i] = NULL; /* it may go on before its turn comes */
        }
    }
    if (start != NULL) {
        client_unread(c, slice_of(start, (size_t)(end - start)));
    }
}

/* One connection more than maxclients: only a proxy's lane may stay. */
static bool may_go_on(struct client *c, const struct call *k)
{
    if ((c->flags & CLIENT_STOPPED) != 0) {
        return false;
    }
    if (k->cmd != NULL && k->cmd->id == CMD_SHOAL) {
        return true;
    }
    server_refuse(c);
    return false;
}

void dispatch_answered(struct client *c)
{
    struct server *s = c->server;
    if (UNLIKELY((c->flags & CLIENT_SILENT) != 0)) {
        outbuf_consume(&s->sink, s->sink.bytes);
        bool next = (c->flags & CLIENT_SKIP_NEXT) != 0;
        c->flags &= ~(uint32_t)(CLIENT_SKIPPING | CLIENT_SKIP_NEXT);
        c->flags |= next ? CLIENT_SKIPPING : 0;
    }
}

void dispatch_count(struct client *c, const struct command *cmd, const struct resp_writer *w)
{
    account_waited(c->server, cmd, w);
}

/* The answer of one that was parked aside goes behind its head. */
static void put_aside(struct client *c, struct call *k, struct outbuf *head)
{
    if (head != NULL && !k->wait.asked) {
        outbuf_splice(client_out(c), head);
        outbuf_splice(client_out(c), k->w.out);
    } else if (k->w.out == &c->server->exec_out) {
        outbuf_splice(client_out(c), k->w.out);
        k->w.out = client_out(c);
    }
}

/* Runs it; what was pushed to its own client meanwhile comes behind the reply. */
static inline void execute(struct server *s, struct client *c, struct call *k, call_run_fn *run,
                           struct outbuf *head)
{
    s->executing = c;
    if (s->repl != NULL) {
        uint64_t at = stream_end(c->stream);
        replicate_before(s);
        run(&s->table, k);
        put_aside(c, k, head);
        replicate_after(s, c, k, at);
    } else {
        run(&s->table, k);
        put_aside(c, k, head);
    }
    s->executing = NULL;
    if (UNLIKELY(c->pushes.bytes > 0)) {
        outbuf_splice(&c->stream->out, &c->pushes);
        client_pushed(c);
    }
}

void dispatch_again(struct server *s, struct client *c, struct call *k, struct outbuf *head)
{
    struct client *was = s->current;
    s->current = c;
    s->ticks_last = ticks_now(&s->scale);
    execute(s, c, k, call_again, head);
    s->current = was;
}

static void drop_words(struct call *k, size_t n)
{
    k->argv += n;
    k->argc -= n;
    k->cmd = command_find(k->argv, k->argc);
}

/* From a proxy:
 *   SHOAL AS <rules> <command ...>   the command, for a user with these rules
 *   SHOAL ON <shard> <command ...>   what the command would do to or tell of whole databases, to or
 *                                    of this shard alone; else it is no command */
static void unwrap(const struct server *s, const struct client *c, struct call *k)
{
    uint64_t shard;
    if (k->argc <= 3 || (c->flags & CLIENT_LANE) == 0) {
        return;
    }
    if (slice_is(k->argv[1], "as")) {
        k->as = k->argv[2];
        drop_words(k, 3);
    } else if (slice_is(k->argv[1], "on") && num_parse_u64(k->argv[2], &shard) &&
               shard < (uint64_t)s->ks->n_shards) {
        k->only = (uint32_t)shard + 1;
        drop_words(k, 3);
        if (k->cmd != NULL && !concerns_all(k->cmd)) {
            k->cmd = NULL;
        }
    }
}

/* Its rules count while it runs, or, in a transaction, when EXEC runs it. False: they are none. */
static bool begin_as(struct client *c, struct call *k)
{
    const struct acl_user *u = access_as(c->server, k->as);
    if (u == NULL) {
        reject(c->server, c, k, "ERR SHOAL AS: these are no rules of a user");
        return false;
    }
    c->session.as = acl_user_ref(u);
    c->session.user = u;
    return true;
}

static void end_as(struct client *c)
{
    acl_user_free(&c->session.as);
    c->session.user = acl_user_unrestricted(c->user) ? NULL : c->user;
}

static bool waits_for_script(struct server *s, struct client *c, const struct call *k)
{
    bool waits = busy_defers(k);
    if (waits) {
        pause_client(s, c);
    }
    return waits;
}

static void run_one(struct server *s, struct batch *b, uint32_t i, int64_t now_ms)
{
    struct client *c = b->clients[i];
    struct call *k = &b->calls[i];
    if (UNLIKELY(c == NULL)) {
        return;
    }
    c->in_batch--;
    if (UNLIKELY((c->flags & (CLIENT_STOPPED | CLIENT_OVER)) != 0) && !may_go_on(c, k)) {
        return;
    }
    b->at = i;
    s->current = c;
    s->ran = false;
    k->now_ms = now_ms;
    k->w.out = client_out(c);
    k->reply_max =
        (c->flags & CLIENT_LANE) != 0 ? 0 : s->settings->output_limits.of[client_class(c)].hard;
    k->lane = c->lane;
    k->number = c->commands + 1 - c->lane_from;
    touch(s, c);
    if (UNLIKELY(k->cmd != NULL && k->cmd->id == CMD_QUIT)) {
        resp_ok(&k->w);
        client_close_after_reply(c);
    } else if (allowed(s, c, k) && (LIKELY(k->as.ptr == NULL) || begin_as(c, k))) {
        if (UNLIKELY(s->pause != PAUSE_NONE && pause_holds(s, c, k)) ||
            (UNLIKELY(s->busy) && waits_for_script(s, c, k))) {
            end_as(c);
            put_back(b, c, i);
            s->current = NULL;
            return;
        }
        if (UNLIKELY(s->ks->changed != NULL)) {
            tracking_limit(s);
        }
        c->last_cmd = k->cmd;
        if (UNLIKELY(k->cmd->id == CMD_EXEC)) {
            s->exec_ticks = s->ticks_last; /* its commands move ticks_last on */
            k->w.out = (c->flags & CLIENT_LANE) != 0 ? &s->exec_out : k->w.out;
        }
        execute(s, c, k, call_run, NULL);
        if (UNLIKELY(!s->ran && k->w.errors > 0)) {
            account_rejected(s, k->cmd, k->w.code);
        }
        if (UNLIKELY(k->wait.asked)) {
            parked_begin(s, c, k, (enum park_mode)b->park[i]);
        }
        if (UNLIKELY(call_reply_full(k))) {
            client_check_output(c); /* nothing that comes next should still see it */
        }
        if (UNLIKELY(k->as.ptr != NULL)) {
            end_as(c);
        }
        if (UNLIKELY((c->flags & CLIENT_BLOCKED) != 0)) {
            put_back(b, c, i + 1);
        }
    }
    c->commands++;
    s->current = NULL;
    if (LIKELY((c->flags & CLIENT_BLOCKED) == 0)) {
        dispatch_answered(c);
    }
    if (UNLIKELY(c->tracking != NULL)) {
        tracking_command_over(c, k);
    }
    if (UNLIKELY(s->ks->blocked_keys > 0) && !s->busy) {
        parked_serve(s);
    }
    if (UNLIKELY((c->flags & CLIENT_SPENT) != 0) && !s->busy) {
        client_close_after_reply(c); /* its command was the slow script */
    }
}

void dispatch_run(struct server *s)
{
    struct batch *b = s->batch;
    if (b->n == 0) {
        return;
    }
    INVARIANT(!b->running);
    b->running = true;
    int64_t now_ms = loop_wall_ms(s->loop);
    s->ticks_last = ticks_now(&s->scale);
    replicate_batch(s);
    for (uint32_t i = 0; i < MIN(b->n, AHEAD); i++) {
        call_prefetch_object(&b->calls[i]);
    }
    for (uint32_t i = 0; i < b->n; i++) {
        if (i + AHEAD < b->n) {
            call_prefetch_object(&b->calls[i + AHEAD]);
        }
        run_one(s, b, i, now_ms);
        if (UNLIKELY(replicate_is_full(s)) && !s->busy) {
            replicate_turn(s);
        }
    }
    b->running = false;
    b->n = 0;
    b->n_args = 0;
    for (uint32_t i = 0; i < b->n_chunks; i++) {
        chunk_unref(&b->chunks[i]);
    }
    b->n_chunks = 0;
    settle_touched(s);
}

/* --- collecting --- */

static void hold_chunk(struct batch *b, struct chunk *c)
{
    if (b->n_chunks == 0 || b->chunks[b->n_chunks - 1] != c) {
        b->chunks[b->n_chunks++] = chunk_ref(c);
    }
}

/* Adds the command that the parser holds. */
static void add(struct server *s, struct client *c, struct slice raw)
{
    struct batch *b = s->batch;
    const struct resp_parser *p = &c->parser;
    uint32_t i = b->n++;
    struct call *k = &b->calls[i];
    k->argv = p->argv;
    k->argc = p->argc;
    if (b->n_args + p->argc <= BATCH_ARGS) {
        memcpy(&b->args[b->n_args], p->argv, p->argc * sizeof(*p->argv));
        k->argv = &b->args[b->n_args];
        b->n_args += p->argc;
    }
    b->clients[i] = c;
    b->raw[i] = raw;
    c->in_batch++;
    size_t skip;
    bool again;
    b->park[i] = (uint8_t)parked_mode(c, k->argv, k->argc, &skip, &again);
    k->argv += skip;
    k->argc -= skip;
    k->cmd = command_find(k->argv, k->argc);
    k->as.ptr = NULL;
    k->only = 0;
    if (UNLIKELY(k->cmd != NULL && k->cmd->id == CMD_SHOAL)) {
        unwrap(s, c, k);
    }
    k->session = &c->session;
    k->ks = s->ks;
    k->rng = &s->rng;
    k->server = s;
    k->changes = 0;
    k->probe_arg = 0;
    k->w.errors = 0;
    k->wait = (struct call_wait){.allowed = true, .again = again};
    if (k->cmd != NULL && k->cmd->key_single != 0 && k->cmd->key_single < k->argc) {
        call_prefetch_bucket(k, k->cmd->key_single, slot_of(k->argv[k->cmd->key_single]));
    }
}

/* Whether the parser's command can wait: its arguments are copied, the bytes behind them held. */
static bool can_wait(const struct batch *b, const struct resp_parser *p)
{
    return !p->is_inline && b->n_args + p->argc <= BATCH_ARGS;
}

static void protocol_error(struct client *c)
{
    struct server *s = c->server;
    struct resp_writer w = {.out = client_out(c), .proto = c->session.proto};
    dispatch_run(s);
    if (c->flags & CLIENT_STOPPED) {
        client_unread(c, SLICE("")); /* it is found again when its turn comes */
        return;
    }
    s->stats.protocol_errors++;
    log_event(LOG_VERBOSE, "client", "closed: protocol error client=%llu addr=%s reason=\"%s\"",
              (unsigned long long)c->id, c->peer, c->parser.error);
    resp_errorf(&w, "ERR Protocol error: %s", c->parser.error);
    account_error(s, "ERR");
    client_close_after_reply(c);
}

static void wait_for_more(struct client *c)
{
    struct server *s = c->server;
    size_t have = inbuf_unread(&c->stream->in).len;
    c->stream->want = c->parser.need;
    if (have > (size_t)s->settings->client_query_buffer_limit) {
        s->stats.query_limit_kills++;
        log_event(LOG_WARNING, "client", "closed: query buffer limit client=%llu addr=%s bytes=%zu",
                  (unsigned long long)c->id, c->peer, have);
        client_kill(c);
    }
}

/* --- while a slow script runs --- */

/* Whether its stream is in the midst of something: it has to wait for the script's end. */
static bool is_engaged(const struct server *s, const struct client *c)
{
    return c == s->current || c == s->collecting;
}

static void let_wait(struct server *s, bool wait)
{
    struct client *engaged[] = {s->current, s->collecting};
    for (size_t i = 0; i < ARRAY_LEN(engaged); i++) {
        if (engaged[i] != NULL) {
            stream_meanwhile(engaged[i]->stream, !wait);
        }
    }
}

/* Those behind the script are read anew, and answered as if they had come now. */
static void give_rest_back(struct server *s)
{
    struct batch *b = s->batch;
    for (uint32_t i = b->at + 1; i < b->n; i++) {
        struct client *c = b->clients[i];
        if (c != NULL && !is_engaged(s, c)) {
            put_back(b, c, i);
            if ((c->flags & CLIENT_STOPPED) == 0) {
                stream_pause(c->stream);
                stream_resume(c->stream); /* there is something to read */
            }
        }
    }
}

static void meanwhile_begin(struct server *s)
{
    INVARIANT(s->batch->running);
    /* Replies to what ran before leave now: the log comes first. */
    durable_turn(s);
    settle_touched(s);
    busy_begin(s, &s->batch->calls[s->batch->at]);
    give_rest_back(s);
    let_wait(s, true);
    replicate_meanwhile_begin(s);
    s->batch_outer = s->batch;
    s->batch = batch_new();
    s->batch->hook_turn = loop_turns(s->loop); /* data is run as it comes */
    s->busy = true;
}

static void run_meanwhile(void *arg)
{
    dispatch_run(arg);
}

void dispatch_meanwhile(struct server *s)
{
    if (!s->busy) {
        meanwhile_begin(s);
    }
    struct client *current = s->current;
    struct client *executing = s->executing;
    struct client *collecting = s->collecting;
    bool ran = s->ran;
    s->executing = NULL;
    loop_meanwhile(s->loop, run_meanwhile, s);
    s->current = current;
    s->executing = executing;
    s->collecting = collecting;
    s->ran = ran;
    replicate_meanwhile(s);
    busy_again(s);
}

void dispatch_meanwhile_end(struct server *s)
{
    if (!s->busy) {
        return;
    }
    INVARIANT(s->batch->n == 0);
    batch_free(&s->batch);
    s->batch = s->batch_outer;
    s->batch_outer = NULL;
    s->busy = false;
    busy_end(s);
    let_wait(s, false);
    replicate_meanwhile_end(s);
    touch(s, s->current);
    pause_release(s);
}

static void collect(struct client *c)
{
    struct server *s = c->server;
    struct batch *b = s->batch;
    struct inbuf *in = &c->stream->in;
    while ((c->flags & CLIENT_STOPPED) == 0) {
        struct slice unread = inbuf_unread(in);
        enum resp_status status = resp_parse(&c->parser, unread);
        if (status == RESP_MORE) {
            wait_for_more(c);
            return;
        }
        if (status == RESP_ERROR) {
            protocol_error(c);
            return;
        }
        c->stream->want = 0;
        if (c->parser.argc == 0) {
            inbuf_consume(in, c->parser.used);
            continue;
        }
        if (b->n > 0 && !can_wait(b, &c->parser)) {
            dispatch_run(s);
            if (c->flags & CLIENT_STOPPED) {
                break;
            }
        }
        hold_chunk(b, in->chunk);
        inbuf_consume(in, c->parser.used);
        bool waits = can_wait(b, &c->parser);
        add(s, c, slice_of(unread.ptr, c->parser.used));
        if (b->n == BATCH_CALLS || !waits) {
            dispatch_run(s);
        }
    }
}

void dispatch_data(struct client *c)
{
    CHECK_OBJ(c, CLIENT_MAGIC);
    struct server *s = c->server;
    bool limited = s->settings->maxmemory_clients.amount != 0;
    if (UNLIKELY(limited)) { /* what came may be too much before it is a whole command */
        client_account(c);
    }
    struct client *outer = s->collecting;
    s->collecting = c;
    collect(c);
    if (UNLIKELY(limited) && (c->flags & CLIENT_CLOSING) == 0) {
        client_account(c);
    }
    if ((c->flags & CLIENT_BLOCKED) != 0 && inbuf_unread(&c->stream->in).len > BEHIND_MAX) {
        stream_pause(c->stream);
    }
    if (s->batch->hook_turn == loop_turns(s->loop)) {
        dispatch_run(s); /* the turn's hook has been: nobody else would run it */
        if (LIKELY(!s->busy)) {
            tracking_turn(s);
            replicate_turn(s);
        }
    }
    s->collecting = outer;
}

void dispatch_turn_is_due(struct server *s)
{
    if (s->batch->hook_turn == loop_turns(s->loop)) {
        tracking_turn(s);
        replicate_turn(s);
    }
}

void dispatch_turn(void *arg)
{
    struct server *s = arg;
    dispatch_run(s);
    replicate_catch_up(s);
    parked_serve(s); /* for what nobody's command did: keys expired */
    tracking_turn(s);
    replicate_turn(s);
    s->batch->hook_turn = loop_turns(s->loop);
}
