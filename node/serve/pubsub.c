// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/pubsub.h"

#include "node/keyspace/keyspace.h"
#include "node/keyspace/notify.h"
#include "node/serve/client.h"
#include "node/serve/server.h"

#include "common/base/mem.h"
#include "common/cmd/slot.h"

/* --- one message --- */

struct message {
    struct server *server;
    struct slice channel;
    struct slice text;
    bool shard;
    struct chunk *tail; /* channel and text as two bulk strings; NULL: nobody has listened yet */
};

static void put_bulk(struct str *to, struct slice v)
{
    str_printf(to, "$%zu\r\n", v.len);
    str_append_slice(to, v);
    str_appendz(to, "\r\n");
}

static void encode(struct message *m)
{
    struct str text = {0};
    put_bulk(&text, m->channel);
    put_bulk(&text, m->text);
    m->tail = chunk_new(text.len);
    memcpy(m->tail->data, text.ptr, text.len);
    m->tail->len = text.len;
    str_fini(&text);
}

static void hear(void *arg, struct subscriber *sub, const struct slice *pattern)
{
    struct message *m = arg;
    struct client *c = container_of(sub, struct client, subscriber);
    if ((c->flags & CLIENT_CLOSING) != 0) {
        return;
    }
    if (m->tail == NULL) {
        encode(m);
    }
    struct outbuf *out = client_push(c);
    struct resp_writer w = {.out = out, .proto = c->session.proto};
    resp_push(&w, pattern == NULL ? 3 : 4);
    if (pattern == NULL) {
        resp_bulkz(&w, m->shard ? "smessage" : "message");
    } else {
        resp_bulkz(&w, "pmessage");
        resp_bulk(&w, *pattern);
    }
    outbuf_append_from(out, m->tail, m->tail->data, m->tail->len);
    client_pushed(c);
    if (out == &c->stream->out) {
        stream_flush_first(c->stream); /* what was counted has left before the count does */
    }
}

static uint64_t tell(struct server *s, struct slice channel, struct slice text, bool shard)
{
    struct message m = {.server = s, .channel = channel, .text = text, .shard = shard};
    uint64_t n = channels_publish(s->channels, channel, shard, hear, &m);
    if (m.tail != NULL) {
        chunk_unref(&m.tail);
    }
    return n;
}

/* --- where channels live --- */

bool pubsub_is_notification(struct slice channel)
{
    static const char *const prefixes[] = {"__keyspace@", "__keyevent@"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t len = strlen(prefixes[i]);
        if (channel.len >= len && memcmp(channel.ptr, prefixes[i], len) == 0) {
            return true;
        }
    }
    return false;
}

bool pubsub_lives_here(const struct server *s, struct slice channel)
{
    return s->repl == NULL ||
           keyspace_serves(s->ks, keyspace_shard_of(s->ks, (int)slot_of(channel)));
}

static void forward(struct server *s, struct slice channel, struct slice text)
{
    LIST_FOREACH(it, &s->ears) {
        struct client *c = container_of(it, struct client, ear);
        if ((c->flags & CLIENT_CLOSING) == 0) {
            struct resp_writer w = {.out = client_push(c), .proto = c->session.proto};
            resp_push(&w, 3);
            resp_bulkz(&w, "forward");
            resp_bulk(&w, channel);
            resp_bulk(&w, text);
            client_pushed(c);
            return;
        }
    }
}

uint64_t pubsub_publish(struct server *s, struct slice channel, struct slice message, bool shard)
{
    if (!shard && !pubsub_is_notification(channel) && !pubsub_lives_here(s, channel)) {
        forward(s, channel, message);
        return 0;
    }
    return tell(s, channel, message, shard);
}

/* --- notifications --- */

static void on_notify(void *arg, int db, uint32_t class, const char *event, struct slice key)
{
    struct server *s = arg;
    struct str channel = {0};
    (void)class;
    if (s->ks->settings.notify_events & NOTIFY_KEYSPACE) {
        str_printf(&channel, "__keyspace@%d__:", db);
        str_append_slice(&channel, key);
        tell(s, str_slice(&channel), slice_str(event), false);
    }
    if (s->ks->settings.notify_events & NOTIFY_KEYEVENT) {
        str_clear(&channel);
        str_printf(&channel, "__keyevent@%d__:%s", db, event);
        tell(s, str_slice(&channel), key, false);
    }
    str_fini(&channel);
}

void pubsub_hang(struct server *s, struct keyspace *ks)
{
    ks->notify = on_notify;
    ks->notify_arg = s;
}

/* --- subscribing --- */

static const char *const words[SUBJECTS][2] = {
    [SUBJECT_CHANNEL] = {"unsubscribe", "subscribe"},
    [SUBJECT_PATTERN] = {"punsubscribe", "psubscribe"},
    [SUBJECT_SHARD] = {"sunsubscribe", "ssubscribe"},
};

/* Past CLIENT REPLY OFF, as pushes go. */
static void confirm(struct client *c, enum subject what, bool on, const struct slice *name)
{
    const uint32_t *n = c->subscriber.count;
    struct resp_writer w = {.out = &c->stream->out, .proto = c->session.proto};
    resp_push(&w, 3);
    resp_bulkz(&w, words[what][on]);
    if (name == NULL) {
        resp_nil(&w);
    } else {
        resp_bulk(&w, *name);
    }
    resp_int(&w, what == SUBJECT_SHARD ? n[SUBJECT_SHARD]
                                       : (int64_t)n[SUBJECT_CHANNEL] + n[SUBJECT_PATTERN]);
    stream_flush_later(c->stream);
}

/* RESP2 clients may say little while they are subscribed: dispatch looks at the flag alone. */
static void note_listening(struct client *c)
{
    const uint32_t *n = c->subscriber.count;
    bool any = (n[SUBJECT_CHANNEL] | n[SUBJECT_PATTERN] | n[SUBJECT_SHARD]) != 0;
    c->flags = any ? c->flags | CLIENT_LISTENS : c->flags & ~(uint32_t)CLIENT_LISTENS;
}

void pubsub_subscribe(struct client *c, enum subject what, struct slice name)
{
    (void)channels_subscribe(c->server->channels, &c->subscriber, what, name, 1);
    note_listening(c);
    confirm(c, what, true, &name);
}

void pubsub_unsubscribe(struct client *c, enum subject what, struct slice name)
{
    (void)channels_unsubscribe(c->server->channels, &c->subscriber, what, name);
    note_listening(c);
    confirm(c, what, false, &name);
}

void pubsub_unsubscribe_all(struct client *c, enum subject what)
{
    struct slice name;
    bool any = false;
    while (channels_unsubscribe_one(c->server->channels, &c->subscriber, what, &name)) {
        confirm(c, what, false, &name);
        any = true;
    }
    note_listening(c);
    if (!any) {
        confirm(c, what, false, NULL);
    }
}

void pubsub_forget(struct client *c)
{
    channels_unsubscribe_all(c->server->channels, &c->subscriber);
    note_listening(c);
}

void pubsub_ear(struct client *c)
{
    if (list_empty(&c->ear)) {
        list_append(&c->server->ears, &c->ear);
    }
}

/* --- shards that go --- */

struct leaving {
    struct server *server;
    int shard;
    enum subject what;
};

static void leave(void *arg, struct subscriber *sub, struct slice name)
{
    const struct leaving *l = arg;
    struct client *c = container_of(sub, struct client, subscriber);
    if (keyspace_shard_of(l->server->ks, (int)slot_of(name)) != l->shard ||
        (l->what == SUBJECT_CHANNEL && pubsub_is_notification(name))) {
        return;
    }
    struct str copy = {0};
    str_append_slice(&copy, name);
    pubsub_unsubscribe(c, l->what, str_slice(&copy));
    str_fini(&copy);
}

void pubsub_shard_lost(struct server *s, int shard)
{
    if (s->channels == NULL ||
        channels_count(s->channels, SUBJECT_CHANNEL) + channels_count(s->channels, SUBJECT_SHARD) ==
            0) {
        return;
    }
    LIST_FOREACH(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        if (!list_empty(&c->ear) || (c->flags & CLIENT_CLOSING) != 0) {
            continue; /* an ear subscribes by the map */
        }
        struct leaving l = {.server = s, .shard = shard, .what = SUBJECT_CHANNEL};
        channels_of(&c->subscriber, SUBJECT_CHANNEL, leave, &l);
        l.what = SUBJECT_SHARD;
        channels_of(&c->subscriber, SUBJECT_SHARD, leave, &l);
    }
}

/* --- life --- */

void pubsub_init(struct server *s)
{
    s->channels = channels_new();
    list_init(&s->ears);
}

void pubsub_fini(struct server *s)
{
    channels_free(&s->channels);
}
