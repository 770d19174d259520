// SPDX-License-Identifier: BSD-3-Clause
/* What a connection says about itself: AUTH, HELLO, RESET, PING, and SHOAL for our own programs. */
#include "node/admin/admin_priv.h"
#include "node/serve/access.h"
#include "node/serve/config.h"
#include "node/serve/fate.h"
#include "node/serve/membership.h"
#include "node/serve/parked.h"
#include "node/serve/pause.h"
#include "node/serve/pubsub.h"
#include "node/serve/tracking.h"

#include "common/app/acl_command.h"
#include "common/app/hello.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"

#define PAUSE_EXPIRY_MS_MAX (INT64_MAX / 4000)

/* --- who --- */

static void do_auth(struct call *k)
{
    struct slice user, pass;
    if (auth_read(access_users(server_of(k)), k->argv, k->argc, &user, &pass, &k->w) &&
        access_login(client_of(k), k, user, pass)) {
        resp_ok(&k->w);
    }
}

static void do_hello(struct call *k)
{
    struct client *c = client_of(k);
    struct hello h;
    if (!hello_read(k->argv, k->argc, &h, &k->w)) {
        return;
    }
    if (h.auth && !access_login(c, k, h.user, h.pass)) {
        return;
    }
    if ((c->flags & CLIENT_AUTHENTICATED) == 0 && auth_needed(access_users(c->server))) {
        resp_error(&k->w, ERR_NOAUTH_HELLO);
        return;
    }
    if (h.named && !client_set_name(c, h.name)) {
        resp_error(&k->w, ERR_CLIENT_NAME);
        return;
    }
    if (h.proto != 0) {
        c->session.proto = h.proto;
        k->w.proto = h.proto;
    }
    hello_reply(c->id, server_of(k)->settings->stand_alone ? "standalone" : "cluster", &k->w);
}

/* --- the rest of a connection's small talk --- */

static void do_ping(struct call *k)
{
    if (k->argc > 2) {
        resp_errorf(&k->w, ERR_WRONG_ARGS, k->cmd->full_name);
    } else if (k->w.proto == 2 && (client_of(k)->flags & CLIENT_LISTENS) != 0) {
        resp_array(&k->w, 2); /* among messages */
        resp_bulkz(&k->w, "pong");
        resp_bulk(&k->w, k->argc == 2 ? k->argv[1] : SLICE(""));
    } else if (k->argc == 2) {
        resp_bulk(&k->w, k->argv[1]);
    } else {
        resp_simple(&k->w, "PONG");
    }
}

static void do_echo(struct call *k)
{
    resp_bulk(&k->w, k->argv[1]);
}

static void do_reset(struct call *k)
{
    struct server *s = server_of(k);
    struct client *c = client_of(k);
    session_discard(&c->session, s->ks);
    pubsub_forget(c);
    tracking_forget(c);
    c->session.db = 0;
    c->session.proto = 2;
    c->session.no_touch = false;
    if (c->flags & CLIENT_MONITOR) {
        s->n_monitors--;
    }
    c->flags &= ~(uint32_t)(CLIENT_MONITOR | CLIENT_REPLY_OFF | CLIENT_SKIP_NEXT | CLIENT_SKIPPING |
                            CLIENT_READONLY | CLIENT_NO_EVICT);
    access_reset(c);
    (void)client_set_name(c, SLICE(""));
    k->w.out = client_out(c);
    k->w.proto = 2;
    resp_simple(&k->w, "RESET");
}

static bool needs_cluster(struct call *k)
{
    if (server_of(k)->settings->stand_alone) {
        resp_error(&k->w, "ERR This instance has cluster support disabled");
        return false;
    }
    return true;
}

static void do_readonly(struct call *k)
{
    if (needs_cluster(k)) {
        client_of(k)->flags |= CLIENT_READONLY;
        resp_ok(&k->w);
    }
}

static void do_readwrite(struct call *k)
{
    if (needs_cluster(k)) {
        client_of(k)->flags &= ~(uint32_t)CLIENT_READONLY;
        resp_ok(&k->w);
    }
}

/* Shards move as a whole and are never half here: there is nothing to ask for. */
static void do_asking(struct call *k)
{
    if (needs_cluster(k)) {
        resp_ok(&k->w);
    }
}

/* --- SHOAL: what our own programs say to a node --- */

static void become_lane(struct call *k)
{
    struct client *c = client_of(k);
    uint64_t lane;
    bool shared = k->argc == 4 && slice_is(k->argv[3], "shared");
    if ((k->argc != 3 && !shared) || !num_parse_u64(k->argv[2], &lane) || lane == 0) {
        resp_error(&k->w, "ERR SHOAL LANE takes the lane's number and SHARED");
        return;
    }
    if (lane != c->lane && !lanes_enter(&c->server->lanes, c, lane)) {
        resp_error(&k->w, "ERR this lane has ended");
        client_close_after_reply(c);
        return;
    }
    c->lane_from = c->commands + 1; /* this one does not count */
    client_becomes_lane(c);
    c->flags |= shared ? CLIENT_SHARED : 0;
    resp_int(&k->w, c->server->ks->n_dbs);
}

static void tell_fate(struct call *k)
{
    struct client *c = client_of(k);
    struct fate_question q;
    int64_t shard;
    if (k->argc != 6 || !num_parse_u64(k->argv[2], &q.lane) || q.lane == 0 ||
        !num_parse_i64(k->argv[3], &shard) || shard < 0 || shard >= c->server->ks->n_shards ||
        !num_parse_u64(k->argv[4], &q.from) || !num_parse_i64(k->argv[5], &q.age_ms) ||
        q.age_ms < 0) {
        resp_error(&k->w, "ERR SHOAL FATE takes lane, shard, number and age in milliseconds");
        return;
    }
    if (c->server->busy) {
        resp_error(&k->w, "TRYAGAIN A script runs, and what becomes of it is not known yet");
        return;
    }
    q.shard = (int)shard;
    fate_answer(c, k, &q);
}

static void join_cluster(struct call *k)
{
    int64_t port;
    struct errmsg err;
    if (k->argc != 4) {
        resp_error(&k->w, "ERR SHOAL JOIN takes the coordinator's host and port");
    } else if (!num_parse_i64(k->argv[3], &port) || port < 1 || port > 65535) {
        resp_error(&k->w, "ERR Invalid port");
    } else if (!membership_join(server_of(k), k->argv[2], (int)port, &err)) {
        resp_errorf(&k->w, "ERR %s", err.text);
    } else {
        resp_ok(&k->w);
    }
}

static void hold_expiry(struct call *k)
{
    int64_t ms;
    if (k->argc != 3 || !num_parse_i64(k->argv[2], &ms) || ms < 0 || ms > PAUSE_EXPIRY_MS_MAX) {
        resp_error(&k->w, "ERR SHOAL PAUSE-EXPIRY takes milliseconds");
    } else {
        pause_expiry(server_of(k), ms);
        resp_ok(&k->w);
    }
}

static void unblock_lane(struct call *k)
{
    uint64_t lane;
    bool error = k->argc == 4 && slice_is(k->argv[3], "error");
    if ((k->argc != 3 && k->argc != 4) || !num_parse_u64(k->argv[2], &lane) ||
        (k->argc == 4 && !error && !slice_is(k->argv[3], "timeout"))) {
        resp_error(&k->w, "ERR SHOAL UNBLOCK takes the lane's number and TIMEOUT or ERROR");
        return;
    }
    struct client *c = lanes_find(&server_of(k)->lanes, lane);
    resp_int(&k->w, c != NULL && parked_unblock(c, error));
}

static void unpark(struct call *k)
{
    uint64_t number;
    bool drop = k->argc == 4 && slice_is(k->argv[3], "drop");
    bool error = k->argc == 4 && slice_is(k->argv[3], "error");
    if (k->argc != 4 || !num_parse_u64(k->argv[2], &number) ||
        (!drop && !error && !slice_is(k->argv[3], "timeout"))) {
        resp_error(&k->w, "ERR SHOAL UNPARK takes the command's number and DROP, TIMEOUT or ERROR");
        return;
    }
    resp_int(&k->w, parked_unpark(client_of(k), number, drop, error));
}

static void do_shoal(struct call *k)
{
    static const char *const help[] = {
        "AS <rules> <command> [<arg> ...]",
        "    Run a proxy's command for a user with these rules.",
        "EAR",
        "    A proxy's worker listens on this connection for its clients.",
        "FATE <lane> <shard> <from> <age-ms>",
        "    Ends that lane; what the shard's log has of its writes.",
        "JOIN <host> <port>",
        "    Register with the coordinator at that address.",
        "LANE <number> [SHARED]",
        "    This connection is a proxy's lane, of many clients or of one.",
        "LINK <version> <id> <incarnation> <cluster>",
        "    This connection is another node's.",
        "PARK <command> [<arg> ...]",
        "    On a lane: if the command has to wait, push its answer later.",
        "PAUSE-EXPIRY <milliseconds>",
        "    Let no key expire for so long.",
        "READY <command> [<arg> ...]",
        "    On a lane: if the command has to wait, tell when it is worth another try.",
        "REPARK <command> [<arg> ...], REREADY <command> [<arg> ...]",
        "    The same for a command that has waited elsewhere before.",
        "ROOM",
        "    QUEUED, or an error while memory is short: for a proxy that queues for EXEC.",
        "SETTINGS <version> <name> <value> [<name> <value> ...]",
        "    CONFIG SET of all nodes, by one who knows that version of the cluster's settings.",
        "SHARDS",
        "    Return the shards held here, and how far their copies are.",
        "SUBSCRIBE (CHANNEL|PATTERN|SHARD) <name> <count> [<kind> <name> <count> ...]",
        "    So many of the ear's clients are subscribed to that.",
        "TRACK <shard> <term> <version> <key> [<key> ...]",
        "    On a lane that tracks: these were read elsewhere, nothing has changed up to there.",
        "UNBLOCK <lane> [TIMEOUT|ERROR]",
        "    End the waiting of the command on that lane.",
        "UNPARK <number> DROP|TIMEOUT|ERROR",
        "    End the waiting of the command that was parked from this lane.",
        NULL};
    if (slice_is(k->argv[1], "join")) {
        join_cluster(k);
    } else if (slice_is(k->argv[1], "link")) {
        admin_shoal_link(k);
    } else if (slice_is(k->argv[1], "shards")) {
        admin_shoal_shards(k);
    } else if (slice_is(k->argv[1], "fate")) {
        tell_fate(k);
    } else if (slice_is(k->argv[1], "lane")) {
        become_lane(k);
    } else if (slice_is(k->argv[1], "ear")) {
        admin_shoal_ear(k);
    } else if (slice_is(k->argv[1], "subscribe")) {
        admin_shoal_subscribe(k);
    } else if (slice_is(k->argv[1], "unblock")) {
        unblock_lane(k);
    } else if (slice_is(k->argv[1], "unpark")) {
        unpark(k);
    } else if (slice_is(k->argv[1], "track")) {
        tracking_take_over(client_of(k), k);
    } else if (slice_is(k->argv[1], "pause-expiry")) {
        hold_expiry(k);
    } else if (slice_is(k->argv[1], "room")) {
        resp_simple(&k->w, "QUEUED"); /* else it had been refused before */
    } else if (slice_is(k->argv[1], "settings")) {
        config_set_for_all(server_of(k), (client_of(k)->flags & CLIENT_LOCAL) != 0, k->argv,
                           k->argc, &k->w);
    } else if (slice_is(k->argv[1], "help")) {
        command_help_reply(&k->w, "SHOAL", help);
    } else {
        resp_errorf(&k->w, "ERR unknown subcommand '%.*s'. Try SHOAL HELP.", ARG_PRINT(k->argv[1]));
    }
}

void admin_session(struct call_table *t)
{
    t->fn[CMD_AUTH] = do_auth;
    t->fn[CMD_HELLO] = do_hello;
    t->fn[CMD_PING] = do_ping;
    t->fn[CMD_ECHO] = do_echo;
    t->fn[CMD_RESET] = do_reset;
    t->fn[CMD_READONLY] = do_readonly;
    t->fn[CMD_READWRITE] = do_readwrite;
    t->fn[CMD_ASKING] = do_asking;
    t->fn[CMD_SHOAL] = do_shoal;
    static const enum command_id acl[] = {
        CMD_ACL_CAT,     CMD_ACL_DELUSER, CMD_ACL_DRYRUN, CMD_ACL_GENPASS, CMD_ACL_GETUSER,
        CMD_ACL_HELP,    CMD_ACL_LIST,    CMD_ACL_LOAD,   CMD_ACL_LOG,     CMD_ACL_SAVE,
        CMD_ACL_SETUSER, CMD_ACL_USERS,   CMD_ACL_WHOAMI};
    for (size_t i = 0; i < ARRAY_LEN(acl); i++) {
        t->fn[acl[i]] = access_command;
    }
}
