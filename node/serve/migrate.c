// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/migrate.h"

#include "node/cmd/args.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/watch.h"
#include "node/serve/client.h"
#include "node/serve/dispatch.h"
#include "node/serve/parked.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"
#include "node/types/rdb.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/io/resp_link.h"

#include <errno.h>

enum {
    TIMEOUT_MS = 1000, /* where none above 0 is given */
    HOST_MAX = 255,
    WINDOW_KEYS = 128,          /* sent and not acknowledged */
    WINDOW_BYTES = 4 * 1 << 20, /* not taken by the system */
    SENDINGS_MAX = 100,         /* of a key that changes all the time */
};

#define IO_CONNECTING "IOERR error or timeout connecting to the client"
#define IO_REFUSED    "IOERR error or timeout writing to target instance"
#define IO_TALKING    "IOERR error or timeout reading to target instance"

struct options {
    bool copy;
    bool replace;
    int64_t db;
    int64_t timeout_ms;
    size_t user; /* arguments; 0: not given */
    size_t password;
    size_t first; /* key */
    size_t n;
};

enum state { WAITING, SENT, ACKNOWLEDGED, ABSENT, REFUSED };

struct moving {
    size_t arg;
    enum state state;
    uint32_t sendings;
    bool removal;           /* it went here while it was moved: so it shall there */
    struct watcher watcher; /* since it was read */
};

struct migration {
    struct client *client;
    const struct command *cmd;
    const struct slice *argv; /* with their bytes */
    size_t argc;
    uint64_t lane;
    uint64_t number;
    struct options options;
    struct resp_link *link;
    struct loop_timer timer;
    bool up;
    unsigned preface; /* answers to AUTH and SELECT that are still to come */
    struct moving *keys;
    size_t n;
    size_t next;   /* key to be sent for the first time */
    size_t *queue; /* of `n`: keys in the order in which they were sent */
    size_t queue_first;
    size_t queued;
    struct str error; /* the first one */
    bool finishing;   /* the handler runs again */
};

/* ---- the end ---- */

static void free_migration(struct migration **mp)
{
    struct migration *m = *mp;
    struct keyspace *ks = m->client->server->ks;
    *mp = NULL;
    for (size_t i = 0; i < m->n; i++) {
        watch_clear(&m->keys[i].watcher, ks);
    }
    resp_link_free(&m->link);
    loop_timer_fini(&m->timer);
    str_fini(&m->error);
    mem_free((void *)(uintptr_t)m->argv);
    mem_free(m->keys);
    mem_free(m->queue);
    mem_free(m);
}

void migrate_forget(struct client *c)
{
    if (c->migration != NULL) {
        free_migration(&c->migration);
    }
}

/* The handler again: it removes and answers. */
static void finish(struct migration *m)
{
    struct client *c = m->client;
    struct server *s = c->server;
    if ((c->flags & CLIENT_CLOSING) != 0) {
        migrate_forget(c);
        return;
    }
    struct call k = {.cmd = m->cmd,
                     .argv = m->argv,
                     .argc = m->argc,
                     .w = {.out = client_out(c), .proto = c->session.proto},
                     .session = &c->session,
                     .ks = s->ks,
                     .rng = &s->rng,
                     .now_ms = loop_wall_ms(s->loop),
                     .lane = m->lane,
                     .number = m->number,
                     .server = s};
    m->finishing = true;
    dispatch_again(s, c, &k, NULL);
    migrate_forget(c);
    dispatch_answered(c);
    client_unblock(c);
    client_check_output(c);
    parked_serve(s);
    dispatch_turn_is_due(s);
}

static void fail(struct migration *m, const char *error)
{
    if (m->error.len == 0) {
        str_appendz(&m->error, error);
    }
    finish(m);
}

static void on_timeout(struct loop_timer *t)
{
    struct migration *m = t->arg;
    fail(m, m->up ? IO_TALKING : IO_CONNECTING);
}

/* ---- sending ---- */

static void still_alive(struct migration *m)
{
    loop_timer_start(&m->timer, m->options.timeout_ms, 0);
}

static void send_words(struct migration *m, const struct slice *words, size_t n)
{
    resp_link_send(m->link, words, n);
}

static void send_preface(struct migration *m)
{
    const struct options *o = &m->options;
    if (o->password != 0) {
        struct slice words[3] = {SLICE("AUTH")};
        size_t n = 1;
        if (o->user != 0) {
            words[n++] = m->argv[o->user];
        }
        words[n++] = m->argv[o->password];
        send_words(m, words, n);
        m->preface++;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice db = slice_of(digits, num_print_i64(digits, o->db));
    send_words(m, (struct slice[]){SLICE("SELECT"), db}, 2);
    m->preface++;
}

static struct db db_of(const struct migration *m, int64_t now_ms)
{
    return (struct db){
        .ks = m->client->server->ks, .now_ms = now_ms, .index = m->client->session.db};
}

static void sent(struct migration *m, size_t i)
{
    m->keys[i].state = SENT;
    m->keys[i].sendings++;
    m->queue[(m->queue_first + m->queued++) % m->n] = i;
}

/* As it is now. What is not there is not sent. */
static void send_key(struct migration *m, size_t i)
{
    struct moving *key = &m->keys[i];
    struct slice name = m->argv[key->arg];
    struct server *s = m->client->server;
    struct db db = db_of(m, loop_wall_ms(s->loop));
    struct probe p = keyspace_probe_key(s->ks, name);
    bool again = key->sendings > 0;
    watch_clear(&key->watcher, s->ks);
    const struct object *o = db_peek(&db, &p, name);
    key->removal = o == NULL;
    if (o == NULL) {
        key->state = ABSENT;
        if (again) {
            send_words(m, (struct slice[]){SLICE("DEL"), name}, 2);
            sent(m, i);
        }
        return;
    }
    int64_t at = object_expire(o);
    char digits[NUM_I64_MAX_LEN];
    int64_t ttl = at == OBJECT_NO_EXPIRE ? 0 : MAX(at - db.now_ms, 1);
    struct str payload = {0};
    rdb_write_payload(&payload, o, true);
    struct slice words[5] = {s->settings->stand_alone ? SLICE("RESTORE") : SLICE("RESTORE-ASKING"),
                             name, slice_of(digits, num_print_i64(digits, ttl)),
                             str_slice(&payload), SLICE("REPLACE")};
    send_words(m, words, m->options.replace || again ? 5 : 4);
    str_fini(&payload);
    if (!m->options.copy) {
        watch_key(&key->watcher, &db, &p, name);
    }
    sent(m, i);
}

/* Those that changed since they were read. False: none did. */
static bool send_changed(struct migration *m)
{
    struct server *s = m->client->server;
    bool any = false;
    for (size_t i = 0; i < m->n; i++) {
        struct moving *key = &m->keys[i];
        if (key->state != ACKNOWLEDGED ||
            !watch_is_dirty(&key->watcher, s->ks, loop_wall_ms(s->loop))) {
            continue;
        }
        if (key->sendings == SENDINGS_MAX) {
            key->state = REFUSED;
            if (m->error.len == 0) {
                str_appendz(&m->error, "ERR a key changes faster than it can be moved: it was "
                                       "copied only");
            }
        } else {
            send_key(m, i);
            any |= key->state == SENT;
        }
    }
    return any;
}

static void pump(struct migration *m)
{
    while (m->next < m->n && m->queued < WINDOW_KEYS && resp_link_queued(m->link) < WINDOW_BYTES) {
        send_key(m, m->next++);
    }
    if (m->queued == 0 && m->next == m->n && m->preface == 0 && !send_changed(m)) {
        finish(m);
    }
}

/* ---- the other server ---- */

static void target_said(struct migration *m, struct slice error)
{
    if (m->error.len == 0) {
        str_printf(&m->error, "ERR Target instance replied with error: %.*s", (int)error.len,
                   error.ptr);
    }
}

static void on_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct migration *m = resp_link_owner(l);
    bool refused = type == '-' && argc > 0;
    still_alive(m);
    if (refused) {
        target_said(m, argv[0]);
    }
    if (m->preface > 0) {
        m->preface--;
        if (refused) {
            finish(m);
        } else {
            pump(m);
        }
        return;
    }
    if (m->queued == 0) {
        fail(m, IO_TALKING); /* nothing was asked */
        return;
    }
    struct moving *key = &m->keys[m->queue[m->queue_first]];
    m->queue_first = (m->queue_first + 1) % m->n;
    m->queued--;
    key->state = refused ? REFUSED : key->removal ? ABSENT : ACKNOWLEDGED;
    pump(m);
}

static void on_up(struct resp_link *l)
{
    struct migration *m = resp_link_owner(l);
    m->up = true;
    still_alive(m);
    send_preface(m);
    pump(m);
}

static void on_down(struct resp_link *l, int err)
{
    struct migration *m = resp_link_owner(l);
    bool unknown = err < 0; /* the name */
    /* Redis learns of a refusal when it writes. */
    fail(m, m->up ? IO_TALKING : unknown || err == ETIMEDOUT ? IO_CONNECTING : IO_REFUSED);
}

static void find_target(struct migration *m, int port)
{
    char host[HOST_MAX + 1];
    size_t len = MIN(m->argv[1].len, (size_t)HOST_MAX);
    memcpy(host, m->argv[1].ptr, len);
    host[len] = '\0';
    m->link = resp_link_connect(m->client->server->loop, host, port, m->options.timeout_ms, m,
                                on_up, on_message, on_down);
}

/* ---- the command ---- */

static bool parse_option(struct call *k, size_t *i, struct options *o)
{
    size_t more = k->argc - 1 - *i;
    if (arg_is(k, *i, "COPY")) {
        o->copy = true;
    } else if (arg_is(k, *i, "REPLACE")) {
        o->replace = true;
    } else if (arg_is(k, *i, "AUTH") && more >= 1) {
        o->user = 0;
        o->password = ++*i;
    } else if (arg_is(k, *i, "AUTH2") && more >= 2) {
        o->user = *i + 1;
        o->password = *i + 2;
        *i += 2;
    } else if (arg_is(k, *i, "KEYS")) {
        if (k->argv[3].len > 0) {
            resp_error(&k->w, "ERR When using MIGRATE KEYS option, the key argument must be set to "
                              "the empty string");
            return false;
        }
        o->first = *i + 1;
        o->n = more;
        *i = k->argc;
    } else {
        return arg_syntax_error(k);
    }
    return true;
}

static bool parse(struct call *k, struct options *o, int64_t *port)
{
    *o = (struct options){.first = 3, .n = 1};
    for (size_t i = 6; i < k->argc; i++) {
        if (!parse_option(k, &i, o)) {
            return false;
        }
    }
    if (!arg_int(k, 5, &o->timeout_ms) || !arg_int(k, 4, &o->db)) {
        return false;
    }
    if (o->timeout_ms <= 0) {
        o->timeout_ms = TIMEOUT_MS;
    }
    if (!num_parse_i64(k->argv[2], port) || *port < 0 || *port > UINT16_MAX ||
        memchr(k->argv[1].ptr, '\0', k->argv[1].len) != NULL) {
        resp_error(&k->w, IO_CONNECTING);
        return false;
    }
    return true;
}

/* The keys that are there. */
static size_t find_keys(struct call *k, const struct options *o, struct moving *keys)
{
    size_t n = 0;
    for (size_t i = o->first; i < o->first + o->n; i++) {
        struct probe p = call_probe(k, i);
        if (db_read(&k->db, &p, k->argv[i]) != NULL) {
            watcher_init(&keys[n].watcher);
            keys[n++].arg = i;
        }
    }
    return n;
}

static void begin(struct call *k, const struct options *o, int port)
{
    struct server *s = k->server;
    struct client *c = s->current;
    struct moving *keys = mem_zalloc(MAX(o->n, (size_t)1) * sizeof(*keys));
    size_t n = find_keys(k, o, keys);
    if (n == 0) {
        mem_free(keys);
        resp_simple(&k->w, "NOKEY");
        return;
    }
    if (!k->wait.allowed || c->session.in_exec || (c->flags & CLIENT_LANE) != 0) {
        mem_free(keys);
        resp_error(&k->w, "ERR MIGRATE of keys that exist is served to clients of the node "
                          "itself, and not in transactions or scripts");
        return;
    }
    struct migration *m = mem_zalloc(sizeof(*m));
    m->client = c;
    m->cmd = k->cmd;
    m->argv = call_copy_words(k->argv, k->argc);
    m->argc = k->argc;
    m->lane = k->lane;
    m->number = k->number;
    m->options = *o;
    m->keys = keys;
    m->n = n;
    m->queue = mem_alloc(n * sizeof(*m->queue));
    loop_timer_init(&m->timer, s->loop, on_timeout, m);
    INVARIANT(c->migration == NULL);
    c->migration = m;
    client_block(c);
    still_alive(m);
    find_target(m, port);
}

/* What the other server has and is here as it was then. */
static void remove_moved(struct call *k, struct migration *m)
{
    struct server *s = k->server;
    for (size_t i = 0; i < m->n; i++) {
        const struct moving *key = &m->keys[i];
        struct slice name = m->argv[key->arg];
        if (key->state != ACKNOWLEDGED || watch_is_dirty(&key->watcher, k->ks, k->now_ms)) {
            continue;
        }
        struct probe p = keyspace_probe_key(k->ks, name);
        enum repl_answer may =
            s->repl == NULL ? REPL_YES : replicate_may(s, m->client, (int)p.shard, true);
        struct object *o = may == REPL_YES ? db_peek(&k->db, &p, name) : NULL;
        if (may != REPL_YES && m->error.len == 0) {
            replicate_refusal(s, m->client, may, p.slot, true, &m->error);
        }
        if (o != NULL) {
            db_remove(&k->db, &p, o, true);
            record_say_del(k, &p, name, false);
            notify(&k->db, NOTIFY_GENERIC, "del", name);
            k->changes++;
        }
    }
}

void migrate_command(struct call *k)
{
    struct server *s = k->server;
    struct client *c = s->current;
    struct migration *m = c->migration;
    if (m != NULL && m->finishing) {
        if (!m->options.copy) {
            remove_moved(k, m);
        }
        if (m->error.len > 0) {
            resp_error(&k->w, str_cstr(&m->error));
        } else {
            resp_ok(&k->w);
        }
        return;
    }
    struct options o;
    int64_t port;
    if (!parse(k, &o, &port)) {
        return;
    }
    begin(k, &o, (int)port);
}
