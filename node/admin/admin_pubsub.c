// SPDX-License-Identifier: BSD-3-Clause
/* Channels: SUBSCRIBE and its kin, PUBLISH, PUBSUB, and a proxy worker's ear. */
#include "node/admin/admin_priv.h"
#include "node/serve/pubsub.h"

#include "common/base/glob.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"

/* --- subscribing --- */

static void subscribe(struct call *k, enum subject what)
{
    for (size_t i = 1; i < k->argc; i++) {
        pubsub_subscribe(client_of(k), what, k->argv[i]);
    }
}

static void unsubscribe(struct call *k, enum subject what)
{
    if (k->argc == 1) {
        pubsub_unsubscribe_all(client_of(k), what);
    }
    for (size_t i = 1; i < k->argc; i++) {
        pubsub_unsubscribe(client_of(k), what, k->argv[i]);
    }
}

static void do_subscribe(struct call *k)
{
    subscribe(k, SUBJECT_CHANNEL);
}

static void do_unsubscribe(struct call *k)
{
    unsubscribe(k, SUBJECT_CHANNEL);
}

static void do_psubscribe(struct call *k)
{
    subscribe(k, SUBJECT_PATTERN);
}

static void do_punsubscribe(struct call *k)
{
    unsubscribe(k, SUBJECT_PATTERN);
}

static void do_ssubscribe(struct call *k)
{
    subscribe(k, SUBJECT_SHARD);
}

static void do_sunsubscribe(struct call *k)
{
    unsubscribe(k, SUBJECT_SHARD);
}

/* --- publishing --- */

static void do_publish(struct call *k)
{
    resp_int(&k->w, (int64_t)pubsub_publish(server_of(k), k->argv[1], k->argv[2], false));
}

static void do_spublish(struct call *k)
{
    resp_int(&k->w, (int64_t)pubsub_publish(server_of(k), k->argv[1], k->argv[2], true));
}

/* --- PUBSUB --- */

struct listing {
    const struct server *server;
    struct slice pattern; /* empty: all */
    bool here;            /* only what this node publishes on */
    struct resp_writer w;
    size_t n;
};

static void list_name(void *arg, struct slice name)
{
    struct listing *l = arg;
    if ((l->pattern.ptr == NULL || glob_match(l->pattern, name, false)) &&
        (!l->here || pubsub_is_notification(name) || pubsub_lives_here(l->server, name))) {
        resp_bulk(&l->w, name);
        l->n++;
    }
}

static void list_names(struct call *k, enum subject what)
{
    if (k->argc > 3) {
        resp_errorf(&k->w, ERR_WRONG_ARGS, k->cmd->full_name);
        return;
    }
    struct outbuf out = {0};
    struct listing l = {.server = server_of(k),
                        .pattern = k->argc == 3 ? k->argv[2] : (struct slice){0},
                        .here = (client_of(k)->flags & CLIENT_LANE) != 0,
                        .w = {.out = &out, .proto = k->w.proto}};
    channels_each(server_of(k)->channels, what, list_name, &l);
    resp_array(&k->w, l.n);
    outbuf_splice(k->w.out, &out);
    outbuf_fini(&out);
}

static void count_names(struct call *k, enum subject what)
{
    resp_array(&k->w, 2 * (k->argc - 2));
    for (size_t i = 2; i < k->argc; i++) {
        resp_bulk(&k->w, k->argv[i]);
        resp_int(&k->w, (int64_t)channels_weight(server_of(k)->channels, what, k->argv[i]));
    }
}

static void do_channels(struct call *k)
{
    list_names(k, SUBJECT_CHANNEL);
}

static void do_shardchannels(struct call *k)
{
    list_names(k, SUBJECT_SHARD);
}

static void do_numsub(struct call *k)
{
    count_names(k, SUBJECT_CHANNEL);
}

static void do_shardnumsub(struct call *k)
{
    count_names(k, SUBJECT_SHARD);
}

static void do_numpat(struct call *k)
{
    resp_int(&k->w, (int64_t)channels_count(server_of(k)->channels, SUBJECT_PATTERN));
}

static void do_help(struct call *k)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Return the channels that have subscribers, those that match.",
        "NUMPAT",
        "    Return how many patterns are subscribed to.",
        "NUMSUB [<channel> ...]",
        "    Return how many are subscribed to each channel, patterns left out.",
        "SHARDCHANNELS [<pattern>]",
        "    Return the shard channels that have subscribers, those that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return how many are subscribed to each shard channel.",
        NULL};
    command_help_reply(&k->w, "PUBSUB", lines);
}

/* --- a proxy worker's ear --- */

void admin_shoal_ear(struct call *k)
{
    struct client *c = client_of(k);
    if (k->argc != 2 || c->session.proto != 3) {
        resp_error(&k->w, "ERR SHOAL EAR takes nothing, on a connection in RESP3");
        return;
    }
    client_becomes_lane(c);
    pubsub_ear(c);
    resp_ok(&k->w);
}

static bool subject_of(struct slice word, enum subject *what)
{
    static const char *const names[SUBJECTS] = {
        [SUBJECT_CHANNEL] = "channel", [SUBJECT_PATTERN] = "pattern", [SUBJECT_SHARD] = "shard"};
    for (int i = 0; i < SUBJECTS; i++) {
        if (slice_is(word, names[i])) {
            *what = (enum subject)i;
            return true;
        }
    }
    return false;
}

/* Of words i to i + 2. */
static bool read_subscription(const struct call *k, size_t i, enum subject *what, uint32_t *count)
{
    int64_t n;
    if (!subject_of(k->argv[i], what) || !num_parse_i64(k->argv[i + 2], &n) || n < 0 ||
        n > UINT32_MAX) {
        return false;
    }
    *count = (uint32_t)n;
    return true;
}

void admin_shoal_subscribe(struct call *k)
{
    struct client *c = client_of(k);
    struct channels *ch = c->server->channels;
    enum subject what;
    uint32_t count;
    bool right = k->argc >= 5 && (k->argc - 2) % 3 == 0 && !list_empty(&c->ear);
    for (size_t i = 2; right && i < k->argc; i += 3) {
        right = read_subscription(k, i, &what, &count);
    }
    if (!right) {
        resp_error(&k->w, "ERR SHOAL SUBSCRIBE takes kinds, names and counts, on an ear");
        return;
    }
    for (size_t i = 2; i < k->argc && read_subscription(k, i, &what, &count); i += 3) {
        if (count == 0) {
            (void)channels_unsubscribe(ch, &c->subscriber, what, k->argv[i + 1]);
        } else {
            (void)channels_subscribe(ch, &c->subscriber, what, k->argv[i + 1], count);
        }
    }
    resp_ok(&k->w);
}

void admin_pubsub(struct call_table *t)
{
    t->fn[CMD_SUBSCRIBE] = do_subscribe;
    t->fn[CMD_UNSUBSCRIBE] = do_unsubscribe;
    t->fn[CMD_PSUBSCRIBE] = do_psubscribe;
    t->fn[CMD_PUNSUBSCRIBE] = do_punsubscribe;
    t->fn[CMD_SSUBSCRIBE] = do_ssubscribe;
    t->fn[CMD_SUNSUBSCRIBE] = do_sunsubscribe;
    t->fn[CMD_PUBLISH] = do_publish;
    t->fn[CMD_SPUBLISH] = do_spublish;
    t->fn[CMD_PUBSUB_CHANNELS] = do_channels;
    t->fn[CMD_PUBSUB_SHARDCHANNELS] = do_shardchannels;
    t->fn[CMD_PUBSUB_NUMSUB] = do_numsub;
    t->fn[CMD_PUBSUB_SHARDNUMSUB] = do_shardnumsub;
    t->fn[CMD_PUBSUB_NUMPAT] = do_numpat;
    t->fn[CMD_PUBSUB_HELP] = do_help;
}
