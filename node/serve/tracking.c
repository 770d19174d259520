// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/tracking.h"

#include "node/cmd/tracked.h"
#include "node/keyspace/db.h"
#include "node/serve/client.h"
#include "node/serve/pubsub.h"
#include "node/serve/server.h"
#include "node/serve/tracking_priv.h"

#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"
#include "common/resp/errors.h"

#define CHANNEL     "__redis__:invalidate" /* for RESP2 connections that others redirect to */
#define EFFORT_KEYS 100                    /* told at a time above tracking-table-max-keys */

enum {
    TRACK_CACHING = 1 << 8, /* CLIENT CACHING came: of the next command */
    TRACK_BROKEN = 1 << 9,  /* whom it redirects to is gone, and it knows */
};

/* A key changed since the last broadcast. */
struct changed_key {
    struct hmap_node node;
    struct list link;
    uint64_t writer; /* the client that did it; 0: several, or nobody's command */
    bool copied;     /* by the log: where the key is served it is told as well */
    size_t len;
    char bytes[];
};

struct prefix {
    struct hmap_node node;
    struct list clients; /* struct listener.of_prefix */
    struct list link;    /* trackers.changed, while something is to be told */
    struct hmap changed;
    struct list order; /* struct changed_key.link */
    size_t n;
    size_t len;
    char bytes[];
};

/* That one client listens to one prefix. */
struct listener {
    struct list of_client;
    struct list of_prefix;
    struct client *client;
    struct prefix *prefix;
};

/* How many prefixes there are of a length. */
struct length {
    size_t len;
    size_t n;
};

/* --- telling --- */

/* A proxy's lane is told in RESP3 also where its client speaks RESP2: the proxy words it anew. */
static int proto_of(const struct client *c)
{
    return (c->flags & CLIENT_LANE) != 0 ? 3 : c->session.proto;
}

/* Begins a message to the client in whose place it is told; NULL: it cannot be. The value, an array
 * of keys or a null, follows. */
static struct client *begin(struct client *c)
{
    struct client *to = c;
    struct tracking *t = c->tracking;
    if (t->redirect != 0) {
        to = server_client(c->server, t->redirect);
        if (to == NULL || (to->flags & CLIENT_CLOSING) != 0) {
            t->flags |= TRACK_BROKEN;
            if (c->session.proto == 3) {
                struct resp_writer w = {.out = client_push(c), .proto = 3};
                resp_push(&w, 2);
                resp_bulkz(&w, "tracking-redir-broken");
                resp_int(&w, (int64_t)t->redirect);
                client_pushed(c);
            }
            return NULL;
        }
    }
    struct resp_writer w = {.out = client_push(to), .proto = proto_of(to)};
    if (w.proto == 3) {
        resp_push(&w, 2);
        resp_bulkz(&w, "invalidate");
    } else if (to != c && (to->flags & CLIENT_LISTENS) != 0) {
        resp_array(&w, 3);
        resp_bulkz(&w, "message");
        resp_bulkz(&w, CHANNEL);
    } else {
        return NULL;
    }
    return to;
}

static void tell_key(struct client *c, struct slice key)
{
    struct client *to = begin(c);
    if (to != NULL) {
        struct resp_writer w = {.out = client_push(to), .proto = proto_of(to)};
        resp_array(&w, 1);
        resp_bulk(&w, key);
        client_pushed(to);
    }
}

static void tell_everything(struct client *c)
{
    struct client *to = begin(c);
    if (to != NULL) {
        struct resp_writer w = {.out = client_push(to), .proto = proto_of(to)};
        resp_nil(&w);
        client_pushed(to);
    }
}

/* Whose command changes keys now; 0: nobody's. */
static uint64_t writer(const struct server *s)
{
    return s->current == NULL || s->ks->cause != CHANGE_BY_COMMAND ? 0 : s->current->id;
}

static void tell_clients(void *arg, struct slice key, const uint64_t *clients, size_t n)
{
    const struct server *s = arg;
    uint64_t by = writer(s);
    for (size_t i = 0; i < n; i++) {
        struct client *c = server_client(s, clients[i]);
        if (c == NULL || c->tracking == NULL || (c->flags & CLIENT_CLOSING) != 0 ||
            (c->tracking->flags & CLIENT_TRACKING_BCAST) != 0 ||
            ((c->tracking->flags & CLIENT_TRACKING_NOLOOP) != 0 && clients[i] == by)) {
            continue;
        }
        tell_key(c, key);
    }
}

/* --- broadcasts --- */

static uint64_t hash_of(struct slice text)
{
    return hash_bytes(text.ptr, text.len, 0x7072656669780001ULL);
}

static struct prefix *find_prefix(const struct trackers *t, struct slice text)
{
    for (struct hmap_node *n = hmap_first(&t->prefixes, hash_of(text)); n != NULL;
         n = hmap_same(n)) {
        struct prefix *p = container_of(n, struct prefix, node);
        if (slice_eq(slice_of(p->bytes, p->len), text)) {
            return p;
        }
    }
    return NULL;
}

static void note_changed(struct trackers *t, struct prefix *p, struct slice key, uint64_t by,
                         bool copied)
{
    uint64_t hash = hash_of(key);
    for (struct hmap_node *n = hmap_first(&p->changed, hash); n != NULL; n = hmap_same(n)) {
        struct changed_key *k = container_of(n, struct changed_key, node);
        if (slice_eq(slice_of(k->bytes, k->len), key)) {
            k->writer = k->writer == by ? by : 0;
            k->copied = k->copied && copied;
            return;
        }
    }
    struct changed_key *k = mem_alloc(sizeof(*k) + key.len);
    *k = (struct changed_key){.writer = by, .copied = copied, .len = key.len};
    memcpy(k->bytes, key.ptr, key.len);
    hmap_insert(&p->changed, &k->node, hash);
    list_append(&p->order, &k->link);
    p->n++;
    if (list_empty(&p->link)) {
        list_append(&t->changed, &p->link);
    }
}

static void forget_changes(struct prefix *p)
{
    LIST_FOREACH_SAFE(it, &p->order) {
        struct changed_key *k = container_of(it, struct changed_key, link);
        hmap_remove(&p->changed, &k->node);
        mem_free(k);
    }
    list_init(&p->order);
    list_remove(&p->link);
    p->n = 0;
}

/* A proxy hears of a key from the node that serves it. */
static bool concerns(const struct client *c, const struct changed_key *k)
{
    return !((c->flags & CLIENT_LANE) != 0 && k->copied) &&
           !((c->tracking->flags & CLIENT_TRACKING_NOLOOP) != 0 && k->writer == c->id);
}

/* `c` NULL: all of them. */
static void put_keys(const struct prefix *p, const struct client *c, size_t n, struct str *to)
{
    str_printf(to, "*%zu\r\n", n);
    LIST_FOREACH(it, &p->order) {
        const struct changed_key *k = container_of(it, struct changed_key, link);
        if (c == NULL || concerns(c, k)) {
            str_printf(to, "$%zu\r\n", k->len);
            str_append_slice(to, slice_of(k->bytes, k->len));
            str_appendz(to, "\r\n");
        }
    }
}

static size_t count_keys(const struct prefix *p, const struct client *c)
{
    size_t n = 0;
    LIST_FOREACH(it, &p->order) {
        n += concerns(c, container_of(it, struct changed_key, link));
    }
    return n;
}

static void tell_text(struct client *c, struct slice text)
{
    struct client *to = begin(c);
    if (to != NULL) {
        outbuf_append(client_push(to), text.ptr, text.len);
        client_pushed(to);
    }
}

static void broadcast(const struct prefix *p)
{
    struct str all = {0};
    struct str own = {0};
    put_keys(p, NULL, p->n, &all);
    LIST_FOREACH(it, &p->clients) {
        struct client *c = container_of(it, struct listener, of_prefix)->client;
        if ((c->flags & CLIENT_CLOSING) != 0) {
            continue;
        }
        size_t n = count_keys(p, c);
        c->tracking->told = c->server->trackers->told = true; /* NOLOOP's silence counts as well */
        if (n == p->n) {
            tell_text(c, str_slice(&all));
        } else if (n > 0) {
            str_clear(&own);
            put_keys(p, c, n, &own);
            tell_text(c, str_slice(&own));
        }
    }
    str_fini(&all);
    str_fini(&own);
}

void tracking_turn(struct server *s)
{
    struct trackers *t = s->trackers;
    while (!list_empty(&t->changed)) {
        struct prefix *p = container_of(t->changed.next, struct prefix, link);
        broadcast(p);
        forget_changes(p);
    }
    if (UNLIKELY(t->n_touched > 0)) {
        tracking_tell_positions(s);
    }
}

/* --- told by the keyspace --- */

static void on_changed(void *arg, const struct db *db, const struct probe *probe, struct slice key)
{
    struct server *s = arg;
    struct trackers *t = s->trackers;
    bool copied = !keyspace_serves(s->ks, (int)probe->shard);
    (void)db;
    if (t->n_lengths > 0 && !copied) {
        tracking_touch(s, probe->shard);
    }
    for (size_t i = 0; i < t->n_lengths; i++) {
        if (key.len >= t->lengths[i].len) {
            struct prefix *p = find_prefix(t, slice_of(key.ptr, t->lengths[i].len));
            if (p != NULL) {
                note_changed(t, p, key, writer(s), copied);
            }
        }
    }
    tracked_take(t->keys, key, tell_clients, s);
}

static bool listens_to_all(const struct client *c)
{
    return c->tracking != NULL && (c->tracking->flags & CLIENT_TRACKING_BCAST) != 0 &&
           (c->flags & CLIENT_CLOSING) == 0;
}

static void tell_broadcasters(struct server *s, bool lanes)
{
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (listens_to_all(c) && (lanes || (c->flags & CLIENT_LANE) == 0)) {
            tell_everything(c);
            c->tracking->told = s->trackers->told = true;
        }
    }
}

/* Proxies compare what they were told with what the next primary says where it begins. */
static void tell_broadcasters_gone(struct server *s, uint32_t shard, bool served)
{
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (served && listens_to_all(c) && (c->flags & CLIENT_LANE) != 0) {
            tracking_tell_gone(s, c, shard); /* of a copy lanes heard from its primary */
        }
    }
    tell_broadcasters(s, false);
}

void tracking_shard_serves(struct server *s, int shard)
{
    if (s->trackers->n_lengths == 0) {
        return;
    }
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (listens_to_all(c) && (c->flags & CLIENT_LANE) != 0) {
            tracking_tell_told(s, c, (uint32_t)shard);
        }
    }
}

/* A lane's proxy knows what was remembered for it: it asks the next primary whether that is still
 * so. Others are told that all of it has changed. */
struct leaving {
    struct server *s;
    uint32_t shard;
};

static void tell_leaving(void *arg, struct slice key, const uint64_t *clients, size_t n)
{
    const struct leaving *l = arg;
    for (size_t i = 0; i < n; i++) {
        struct client *c = server_client(l->s, clients[i]);
        if (c == NULL || (c->flags & CLIENT_LANE) == 0) {
            tell_clients(l->s, key, &clients[i], 1);
        } else if (c->tracking != NULL && (c->flags & CLIENT_CLOSING) == 0 &&
                   c->tracking->gone != l->s->trackers->gone) {
            c->tracking->gone = l->s->trackers->gone;
            tracking_tell_gone(l->s, c, l->shard);
        }
    }
}

void tracking_shard_lost(struct server *s, int shard, bool served)
{
    struct leaving l = {.s = s, .shard = (uint32_t)shard};
    if (s->trackers->clients > 0) {
        s->trackers->gone++;
        tracking_turn(s); /* what was changed while it was served is told before */
        tracked_take_shard(s->trackers->keys, l.shard, tell_leaving, &l);
        tell_broadcasters_gone(s, l.shard, served);
    }
}

/* Once for all that it has read. */
static void tell_flushed(void *arg, struct slice key, const uint64_t *clients, size_t n)
{
    const struct server *s = arg;
    (void)key;
    for (size_t i = 0; i < n; i++) {
        struct client *c = server_client(s, clients[i]);
        if (c != NULL && c->tracking != NULL && (c->flags & CLIENT_CLOSING) == 0 &&
            c->tracking->flushed != s->trackers->flushes) {
            c->tracking->flushed = s->trackers->flushes;
            tell_everything(c);
        }
    }
}

/* A proxy flushes shard by shard: who has read something of one forgets everything, as after any
 * flush. Of a copy proxies hear where it is served. */
static void shard_flushed(struct server *s, int shard)
{
    s->trackers->flushes++;
    tracked_take_shard(s->trackers->keys, (uint32_t)shard, tell_flushed, s);
    bool serves = keyspace_serves(s->ks, shard);
    if (serves) {
        tracking_touch(s, (uint32_t)shard);
    }
    tell_broadcasters(s, serves);
}

static void on_changed_db(void *arg, int db, int shard)
{
    struct server *s = arg;
    (void)db;
    if (shard != KEYSPACE_SERVED) {
        shard_flushed(s, shard);
        return;
    }
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (c->tracking != NULL && (c->flags & CLIENT_CLOSING) == 0) {
            tell_everything(c);
        }
    }
    tracked_clear(s->trackers->keys);
}

/* Only while somebody tracks. */
static void hang(struct server *s)
{
    bool any = s->trackers->clients > 0;
    s->ks->changed = any ? on_changed : NULL;
    s->ks->changed_db = any ? on_changed_db : NULL;
    s->ks->changed_arg = s;
}

void tracking_new_keyspace(struct server *s)
{
    hang(s);
    if (s->trackers->clients > 0) {
        on_changed_db(s, -1, KEYSPACE_SERVED);
    }
}

void tracking_limit(struct server *s)
{
    struct trackers *t = s->trackers;
    size_t most = (size_t)s->settings->tracking_table_max_keys;
    if (most == 0 || tracked_keys(t->keys) <= most) {
        t->effort = 0;
        return;
    }
    /* What one go does not manage the next tries harder. */
    size_t n = EFFORT_KEYS * ++t->effort;
    enum change_cause cause = s->ks->cause;
    s->ks->cause = CHANGE_BY_EVICTION; /* told at once, to whoever's turn it is as well */
    while (n-- > 0 && tracked_keys(t->keys) > most &&
           tracked_take_oldest(t->keys, tell_clients, s)) {
    }
    s->ks->cause = cause;
}

/* --- remembering --- */

static bool wants(const struct tracking *t)
{
    bool caching = (t->flags & TRACK_CACHING) != 0;
    return (t->flags & CLIENT_TRACKING_BCAST) == 0 &&
           !((t->flags & CLIENT_TRACKING_OPTIN) != 0 && !caching) &&
           !((t->flags & CLIENT_TRACKING_OPTOUT) != 0 && caching);
}

static void remember(struct server *s, struct client *c, const struct call *k)
{
    if (!wants(c->tracking) || (k->cmd->flags & CF_PUBSUB) != 0 ||
        keys_find(k->cmd, k->argv, k->argc, s->keys) != KEYS_OK) {
        return;
    }
    for (uint32_t i = 0; i < s->keys->count; i++) {
        struct slice key = k->argv[s->keys->keys[i].index];
        uint32_t shard = (uint32_t)keyspace_shard_of(s->ks, (int)slot_of(key));
        bool added = tracked_add(s->trackers->keys, key, shard, c->id);
        if (added && (c->flags & CLIENT_LANE) != 0) {
            tracking_tell_remembered(s, c, shard, key);
        }
    }
}

void tracking_after(struct server *s, const struct call *k)
{
    struct trackers *t = s->trackers;
    struct client *c = s->current;
    if (c == NULL || c->tracking == NULL) {
        return;
    }
    bool runs_scripts = k->cmd->group == GROUP_SCRIPTING;
    if (k->session != &c->session) { /* a script's: its declared keys, if it reads anything */
        t->script_read |= (k->cmd->flags & CF_READONLY) != 0 && !runs_scripts;
        return;
    }
    if (runs_scripts ? t->script_read : (k->cmd->flags & CF_READONLY) != 0) {
        remember(s, c, k);
    }
    t->script_read = false;
}

/* --- clients --- */

static void count_length(struct trackers *t, size_t len, bool more)
{
    size_t i = 0;
    while (i < t->n_lengths && t->lengths[i].len != len) {
        i++;
    }
    if (i == t->n_lengths) {
        INVARIANT(more);
        t->lengths = mem_realloc(t->lengths, (i + 1) * sizeof(*t->lengths));
        t->lengths[t->n_lengths++] = (struct length){.len = len};
    }
    t->lengths[i].n += more ? 1 : (size_t)-1;
    if (t->lengths[i].n == 0) {
        t->lengths[i] = t->lengths[--t->n_lengths];
    }
}

static struct slice text_of(const struct listener *l)
{
    return slice_of(l->prefix->bytes, l->prefix->len);
}

static int compare(struct slice a, struct slice b)
{
    int order = MIN(a.len, b.len) == 0 ? 0 : memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static void listen_to(struct client *c, struct slice text)
{
    struct trackers *t = c->server->trackers;
    struct prefix *p = find_prefix(t, text);
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p) + text.len);
        p->len = text.len;
        if (text.len > 0) {
            memcpy(p->bytes, text.ptr, text.len);
        }
        list_init(&p->clients);
        list_init(&p->link);
        list_init(&p->order);
        hmap_insert(&t->prefixes, &p->node, hash_of(text));
        count_length(t, text.len, true);
    }
    struct list *at = c->tracking->listens.next;
    while (at != &c->tracking->listens) {
        struct slice there = text_of(container_of(at, struct listener, of_client));
        int order = compare(there, text);
        if (order == 0) {
            return;
        }
        if (order > 0) {
            break;
        }
        at = at->next;
    }
    struct listener *l = mem_alloc(sizeof(*l));
    *l = (struct listener){.client = c, .prefix = p};
    list_append(&p->clients, &l->of_prefix);
    list_append(at, &l->of_client);
    c->tracking->n_listens++;
}

size_t tracking_memory(const struct client *c)
{
    /* A prefix that it alone listens to is its own. */
    return c->tracking == NULL
               ? 0
               : sizeof(*c->tracking) + c->tracking->n_listens *
                                            (sizeof(struct listener) + sizeof(struct prefix) + 32);
}

static void listen_no_more(struct trackers *t, struct listener *l)
{
    struct prefix *p = l->prefix;
    list_remove(&l->of_client);
    list_remove(&l->of_prefix);
    mem_free(l);
    if (list_empty(&p->clients)) {
        forget_changes(p);
        hmap_remove(&t->prefixes, &p->node);
        hmap_fini(&p->changed);
        count_length(t, p->len, false);
        mem_free(p);
    }
}

static bool overlaps(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    return n == 0 || memcmp(a.ptr, b.ptr, n) == 0;
}

static void say_overlap(struct resp_writer *w, struct slice a, const char *what, struct slice b)
{
    resp_errorf(w,
                "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                "must not overlap.",
                (int)a.len, a.ptr, what, (int)b.len, b.ptr);
}

static bool apart_from_its_own(struct tracking *t, struct slice one, struct resp_writer *w)
{
    LIST_FOREACH(it, &t->listens) {
        struct slice there = text_of(container_of(it, struct listener, of_client));
        if (overlaps(one, there)) {
            say_overlap(w, one, "an existing", there);
            return false;
        }
    }
    return true;
}

static bool prefixes_apart(const struct client *c, const struct client_tracking *wish,
                           struct resp_writer *w)
{
    for (size_t i = 0; i < wish->n_prefixes; i++) {
        struct slice one = wish->prefixes[i];
        if (c->tracking != NULL && !apart_from_its_own(c->tracking, one, w)) {
            return false;
        }
        for (size_t j = i + 1; j < wish->n_prefixes; j++) {
            if (overlaps(one, wish->prefixes[j])) {
                say_overlap(w, one, "another provided", wish->prefixes[j]);
                return false;
            }
        }
    }
    return true;
}

bool tracking_set(struct client *c, const struct client_tracking *wish, struct resp_writer *w)
{
    struct trackers *all = c->server->trackers;
    if (!client_tracking_fits(wish, c->tracking != NULL,
                              c->tracking == NULL ? 0 : c->tracking->flags, w) ||
        !prefixes_apart(c, wish, w)) {
        return false;
    }
    if (c->tracking == NULL) {
        c->tracking = mem_zalloc(sizeof(*c->tracking));
        list_init(&c->tracking->listens);
        all->clients++;
        hang(c->server);
    }
    c->tracking->flags = wish->flags;
    c->tracking->redirect = wish->redirect;
    if ((wish->flags & CLIENT_TRACKING_BCAST) != 0) {
        if (wish->n_prefixes == 0) {
            listen_to(c, SLICE(""));
        }
        for (size_t i = 0; i < wish->n_prefixes; i++) {
            listen_to(c, wish->prefixes[i]);
        }
        if ((c->flags & CLIENT_LANE) != 0) {
            tracking_tell_begin(c->server, c);
        }
    }
    return true;
}

void tracking_forget(struct client *c)
{
    struct trackers *all = c->server->trackers;
    if (c->tracking == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &c->tracking->listens) {
        listen_no_more(all, container_of(it, struct listener, of_client));
    }
    mem_free(c->tracking);
    c->tracking = NULL;
    if (--all->clients == 0) {
        tracked_clear(all->keys);
        hang(c->server);
    }
}

void tracking_caching(struct client *c, struct slice word, struct resp_writer *w)
{
    bool yes = slice_is(word, "yes");
    uint32_t flags = c->tracking == NULL ? 0 : c->tracking->flags;
    uint32_t needs = yes ? CLIENT_TRACKING_OPTIN : CLIENT_TRACKING_OPTOUT;
    if ((flags & (CLIENT_TRACKING_OPTIN | CLIENT_TRACKING_OPTOUT)) == 0) {
        resp_error(w, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                      "with OPTIN or OPTOUT mode enabled");
    } else if (!yes && !slice_is(word, "no")) {
        resp_error(w, ERR_SYNTAX);
    } else if ((flags & needs) == 0) {
        resp_errorf(w, "ERR CLIENT CACHING %s is only valid when tracking is enabled in %s mode.",
                    yes ? "YES" : "NO", yes ? "OPTIN" : "OPTOUT");
    } else {
        c->tracking->flags |= TRACK_CACHING;
        resp_ok(w);
    }
}

void tracking_command_over(struct client *c, const struct call *k)
{
    if (!c->session.in_multi && k->cmd != NULL && k->cmd->id != CMD_CLIENT &&
        k->cmd->parent_id != CMD_CLIENT) {
        c->tracking->flags &= ~(uint32_t)TRACK_CACHING;
    }
}

int64_t tracking_redirect(const struct client *c)
{
    return c->tracking == NULL ? -1 : (int64_t)c->tracking->redirect;
}

static void put_prefixes(struct tracking *t, struct resp_writer *w)
{
    size_t n = 0;
    if (t == NULL) {
        resp_array(w, 0);
        return;
    }
    LIST_FOREACH(it, &t->listens) {
        n++;
    }
    resp_array(w, n);
    LIST_FOREACH(it, &t->listens) {
        resp_bulk(w, text_of(container_of(it, struct listener, of_client)));
    }
}

void tracking_info(const struct client *c, struct resp_writer *w)
{
    const struct tracking *t = c->tracking;
    uint32_t f = t == NULL ? 0 : t->flags;
    bool caching = (f & TRACK_CACHING) != 0;
    const struct {
        bool is;
        const char *name;
    } flags[] = {{t == NULL, "off"},
                 {t != NULL, "on"},
                 {(f & CLIENT_TRACKING_BCAST) != 0, "bcast"},
                 {(f & CLIENT_TRACKING_OPTIN) != 0, "optin"},
                 {(f & CLIENT_TRACKING_OPTIN) != 0 && caching, "caching-yes"},
                 {(f & CLIENT_TRACKING_OPTOUT) != 0, "optout"},
                 {(f & CLIENT_TRACKING_OPTOUT) != 0 && caching, "caching-no"},
                 {(f & CLIENT_TRACKING_NOLOOP) != 0, "noloop"},
                 {(f & TRACK_BROKEN) != 0, "broken_redirect"}};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        n += flags[i].is;
    }
    resp_map(w, 3);
    resp_bulkz(w, "flags");
    resp_set(w, n);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].is) {
            resp_bulkz(w, flags[i].name);
        }
    }
    resp_bulkz(w, "redirect");
    resp_int(w, tracking_redirect(c));
    resp_bulkz(w, "prefixes");
    put_prefixes(c->tracking, w);
}

size_t tracking_letters(const struct client *c, char *to)
{
    size_t n = 0;
    if (c->tracking != NULL) {
        to[n++] = 't';
        if ((c->tracking->flags & TRACK_BROKEN) != 0) {
            to[n++] = 'R';
        }
        if ((c->tracking->flags & CLIENT_TRACKING_BCAST) != 0) {
            to[n++] = 'B';
        }
    }
    return n;
}

/* --- life --- */

void tracking_init(struct server *s)
{
    s->trackers = mem_zalloc(sizeof(*s->trackers));
    s->trackers->keys = tracked_new();
    list_init(&s->trackers->changed);
    s->trackers->turn = 1;
}

void tracking_fini(struct server *s)
{
    struct trackers *t = s->trackers;
    INVARIANT(t->clients == 0 && t->prefixes.count == 0);
    tracked_free(&t->keys);
    hmap_fini(&t->prefixes);
    mem_free(t->lengths);
    mem_free(t->touched);
    mem_free(t->touched_turn);
    mem_free(t);
    s->trackers = NULL;
}

void tracking_stats(const struct server *s, struct tracking_stats *out)
{
    const struct trackers *t = s->trackers;
    *out = (struct tracking_stats){.clients = t->clients,
                                   .keys = tracked_keys(t->keys),
                                   .items = tracked_items(t->keys),
                                   .prefixes = t->prefixes.count};
}
