// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT: connections as their owners and operators see them. */
#include "node/admin/admin_priv.h"
#include "node/serve/pause.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"

static void do_id(struct call *k)
{
    resp_int(&k->w, (int64_t)client_of(k)->id);
}

static void do_info(struct call *k)
{
    struct str line = {0};
    client_describe(client_of(k), &line);
    resp_verbatim(&k->w, "txt", str_slice(&line));
    str_fini(&line);
}

/* --- the types that LIST and KILL know --- */

enum kind { KIND_NORMAL, KIND_MASTER, KIND_REPLICA, KIND_PUBSUB, KIND_UNKNOWN };

static enum kind kind_named(struct slice name)
{
    static const struct {
        const char *name;
        enum kind kind;
    } names[] = {{"normal", KIND_NORMAL},
                 {"master", KIND_MASTER},
                 {"slave", KIND_REPLICA},
                 {"replica", KIND_REPLICA},
                 {"pubsub", KIND_PUBSUB}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is(name, names[i].name)) {
            return names[i].kind;
        }
    }
    return KIND_UNKNOWN;
}

static enum kind kind_of(const struct client *c)
{
    return client_class(c) == OUTPUT_REPLICA ? KIND_REPLICA : KIND_NORMAL;
}

static bool read_kind(struct call *k, struct slice name, enum kind *out)
{
    *out = kind_named(name);
    if (*out == KIND_UNKNOWN) {
        resp_errorf(&k->w, "ERR Unknown client type '%.*s'", ARG_PRINT(name));
        return false;
    }
    return true;
}

/* --- LIST --- */

static void list_kind(struct call *k, struct str *to, bool all, enum kind kind)
{
    LIST_FOREACH(it, &server_of(k)->clients) {
        const struct client *c = container_of(it, struct client, link);
        if ((c->flags & CLIENT_CLOSING) == 0 && (all || kind_of(c) == kind)) {
            client_describe(c, to);
        }
    }
}

static bool list_ids(struct call *k, struct str *to)
{
    for (size_t i = 3; i < k->argc; i++) {
        int64_t id;
        if (!num_parse_i64(k->argv[i], &id)) {
            resp_error(&k->w, "ERR Invalid client ID");
            return false;
        }
        const struct client *c = server_client(server_of(k), (uint64_t)id);
        if (c != NULL && (c->flags & CLIENT_CLOSING) == 0) {
            client_describe(c, to);
        }
    }
    return true;
}

static void do_list(struct call *k)
{
    struct str text = {0};
    enum kind kind = KIND_UNKNOWN;
    bool ok = true;
    if (k->argc == 2) {
        list_kind(k, &text, true, kind);
    } else if (k->argc == 4 && slice_is(k->argv[2], "type")) {
        ok = read_kind(k, k->argv[3], &kind);
        if (ok) {
            list_kind(k, &text, false, kind);
        }
    } else if (k->argc > 3 && slice_is(k->argv[2], "id")) {
        ok = list_ids(k, &text);
    } else {
        resp_error(&k->w, ERR_SYNTAX);
        ok = false;
    }
    if (ok) {
        resp_verbatim(&k->w, "txt", str_slice(&text));
    }
    str_fini(&text);
}

/* --- KILL --- */

struct victims {
    uint64_t id; /* 0: any */
    enum kind kind;
    struct slice addr; /* ptr NULL: any */
    struct slice laddr;
    struct slice user;
    bool skip_me;
};

static bool read_victim_option(struct call *k, size_t i, struct victims *v)
{
    struct slice name = k->argv[i];
    struct slice value = k->argv[i + 1];
    int64_t id;
    if (slice_is(name, "id")) {
        if (!num_parse_i64(value, &id) || id < 1) {
            resp_error(&k->w, "ERR client-id should be greater than 0");
            return false;
        }
        v->id = (uint64_t)id;
    } else if (slice_is(name, "type")) {
        return read_kind(k, value, &v->kind);
    } else if (slice_is(name, "addr")) {
        v->addr = value;
    } else if (slice_is(name, "laddr")) {
        v->laddr = value;
    } else if (slice_is(name, "user")) {
        if (!slice_eq(value, SLICE("default"))) {
            resp_errorf(&k->w, "ERR No such user '%.*s'", ARG_PRINT(value));
            return false;
        }
        v->user = value;
    } else if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        v->skip_me = slice_is(value, "yes");
    } else {
        resp_error(&k->w, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool is_victim(const struct call *k, const struct victims *v, const struct client *c)
{
    char local[64];
    if ((c->flags & CLIENT_CLOSING) != 0 || (v->skip_me && c == client_of(k))) {
        return false;
    }
    if (v->id != 0 && c->id != v->id) {
        return false;
    }
    if (v->kind != KIND_UNKNOWN && kind_of(c) != v->kind) {
        return false;
    }
    if (v->addr.ptr != NULL && !slice_eq(v->addr, slice_str(c->peer))) {
        return false;
    }
    if (v->laddr.ptr != NULL) {
        stream_local(c->stream, local, sizeof(local));
        if (!slice_eq(v->laddr, slice_str(local))) {
            return false;
        }
    }
    return v->user.ptr == NULL || (c->flags & CLIENT_AUTHENTICATED) != 0;
}

static uint64_t kill_victims(struct call *k, const struct victims *v, bool *me)
{
    uint64_t killed = 0;
    LIST_FOREACH(it, &server_of(k)->clients) {
        struct client *c = container_of(it, struct client, link);
        if (!is_victim(k, v, c)) {
            continue;
        }
        killed++;
        if (c == client_of(k)) {
            *me = true;
        } else {
            client_kill(c);
        }
    }
    return killed;
}

static void do_kill(struct call *k)
{
    struct victims v = {.kind = KIND_UNKNOWN, .skip_me = true};
    bool me = false;
    if (k->argc == 3) {
        v.addr = k->argv[2];
        v.skip_me = false;
        if (kill_victims(k, &v, &me) == 0) {
            resp_error(&k->w, "ERR No such client");
        } else {
            resp_ok(&k->w);
        }
    } else {
        for (size_t i = 2; i < k->argc; i += 2) {
            if (i + 1 == k->argc) {
                resp_error(&k->w, ERR_SYNTAX);
                return;
            }
            if (!read_victim_option(k, i, &v)) {
                return;
            }
        }
        resp_int(&k->w, (int64_t)kill_victims(k, &v, &me));
    }
    if (me) {
        client_close_after_reply(client_of(k));
    }
}

/* --- names --- */

static void do_getname(struct call *k)
{
    const struct client *c = client_of(k);
    if (c->name == NULL) {
        resp_nil(&k->w);
    } else {
        resp_bulkz(&k->w, c->name);
    }
}

static void do_setname(struct call *k)
{
    if (client_set_name(client_of(k), k->argv[2])) {
        resp_ok(&k->w);
    } else {
        resp_error(&k->w,
                   "ERR Client names cannot contain spaces, newlines or special characters.");
    }
}

static void do_setinfo(struct call *k)
{
    struct client *c = client_of(k);
    struct slice value = k->argv[3];
    bool lib = slice_is(k->argv[2], "lib-name");
    if (!lib && !slice_is(k->argv[2], "lib-ver")) {
        resp_errorf(&k->w, "ERR Unrecognized option '%.*s'", ARG_PRINT(k->argv[2]));
        return;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '!' || value.ptr[i] > '~') {
            resp_errorf(&k->w, "ERR %s cannot contain spaces, newlines or special characters.",
                        lib ? "lib-name" : "lib-ver");
            return;
        }
    }
    char **to = lib ? &c->lib_name : &c->lib_version;
    struct str copy = {0};
    str_append_slice(&copy, value);
    mem_free(*to);
    *to = str_steal(&copy);
    resp_ok(&k->w);
}

/* --- REPLY --- */

static void do_reply(struct call *k)
{
    struct client *c = client_of(k);
    if (slice_is(k->argv[2], "on")) {
        c->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_SKIPPING | CLIENT_SKIP_NEXT);
        k->w.out = client_out(c);
        resp_ok(&k->w);
    } else if (slice_is(k->argv[2], "off")) {
        c->flags |= CLIENT_REPLY_OFF;
    } else if (slice_is(k->argv[2], "skip")) {
        c->flags |= c->flags & CLIENT_REPLY_OFF ? 0 : CLIENT_SKIP_NEXT;
    } else {
        resp_error(&k->w, ERR_SYNTAX);
    }
}

static void do_no_evict(struct call *k)
{
    struct client *c = client_of(k);
    if (slice_is(k->argv[2], "on")) {
        c->flags |= CLIENT_NO_EVICT;
    } else if (slice_is(k->argv[2], "off")) {
        c->flags &= ~(uint32_t)CLIENT_NO_EVICT;
    } else {
        resp_error(&k->w, ERR_SYNTAX);
        return;
    }
    resp_ok(&k->w);
}

/* --- PAUSE --- */

static void do_pause(struct call *k)
{
    int64_t ms;
    enum pause_kind kind = PAUSE_ALL;
    if (k->argc > 4) {
        resp_error(&k->w, ERR_SYNTAX);
        return;
    }
    if (k->argc == 4) {
        if (slice_is(k->argv[3], "write")) {
            kind = PAUSE_WRITE;
        } else if (!slice_is(k->argv[3], "all")) {
            resp_error(&k->w, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!num_parse_i64(k->argv[2], &ms) || ms > INT64_MAX / 2000) {
        resp_error(&k->w, "ERR timeout is not an integer or out of range");
        return;
    }
    if (ms < 0) {
        resp_error(&k->w, "ERR timeout is negative");
        return;
    }
    pause_start(server_of(k), kind, ms);
    resp_ok(&k->w);
}

static void do_unpause(struct call *k)
{
    pause_end(server_of(k));
    resp_ok(&k->w);
}

/* No command of this version blocks. */
static void do_unblock(struct call *k)
{
    int64_t id;
    if (k->argc > 4 ||
        (k->argc == 4 && !slice_is(k->argv[3], "timeout") && !slice_is(k->argv[3], "error"))) {
        resp_error(&k->w, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else if (!num_parse_i64(k->argv[2], &id)) {
        resp_error(&k->w, ERR_NOT_INT);
    } else {
        resp_int(&k->w, 0);
    }
}

/* --- tracking: always off --- */

static void do_tracking(struct call *k)
{
    if (k->argc == 3 && slice_is(k->argv[2], "off")) {
        resp_ok(&k->w);
    } else if (slice_is(k->argv[2], "on") || slice_is(k->argv[2], "off")) {
        admin_not_served(k);
    } else {
        resp_error(&k->w, ERR_SYNTAX);
    }
}

static void do_caching(struct call *k)
{
    resp_error(&k->w, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                      "with OPTIN or OPTOUT mode enabled");
}

static void do_getredir(struct call *k)
{
    resp_int(&k->w, -1);
}

static void do_trackinginfo(struct call *k)
{
    resp_map(&k->w, 3);
    resp_bulkz(&k->w, "flags");
    resp_set(&k->w, 1);
    resp_bulkz(&k->w, "off");
    resp_bulkz(&k->w, "redirect");
    resp_int(&k->w, -1);
    resp_bulkz(&k->w, "prefixes");
    resp_array(&k->w, 0);
}

static void do_help(struct call *k)
{
    static const char *const lines[] = {
        "GETNAME",
        "    Return the name of this connection.",
        "GETREDIR",
        "    Return the client that tracking is redirected to: none here.",
        "ID",
        "    Return the number of this connection.",
        "INFO",
        "    Describe this connection.",
        "KILL <ip:port>",
        "    Close the connection from that address.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close the connections that match:",
        "    * ID <client-id>",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * ADDR <ip:port>, LADDR <ip:port>",
        "    * USER <username>",
        "    * SKIPME (YES|NO)",
        "LIST [TYPE <type> | ID <client-id> ...]",
        "    Describe connections, one a line.",
        "NO-EVICT (ON|OFF)",
        "    Protect this connection from being closed to save memory.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let commands wait for so many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Answer to commands, or not, or not to the next one.",
        "SETINFO <LIB-NAME|LIB-VER> <value>",
        "    Tell which client library this is.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKINGINFO",
        "    Report the state of tracking.",
        "UNPAUSE",
        "    End a pause.",
        NULL};
    command_help_reply(&k->w, "CLIENT", lines);
}

void admin_client(struct call_table *t)
{
    t->fn[CMD_CLIENT_ID] = do_id;
    t->fn[CMD_CLIENT_INFO] = do_info;
    t->fn[CMD_CLIENT_LIST] = do_list;
    t->fn[CMD_CLIENT_KILL] = do_kill;
    t->fn[CMD_CLIENT_GETNAME] = do_getname;
    t->fn[CMD_CLIENT_SETNAME] = do_setname;
    t->fn[CMD_CLIENT_SETINFO] = do_setinfo;
    t->fn[CMD_CLIENT_REPLY] = do_reply;
    t->fn[CMD_CLIENT_NO_EVICT] = do_no_evict;
    t->fn[CMD_CLIENT_PAUSE] = do_pause;
    t->fn[CMD_CLIENT_UNPAUSE] = do_unpause;
    t->fn[CMD_CLIENT_UNBLOCK] = do_unblock;
    t->fn[CMD_CLIENT_TRACKING] = do_tracking;
    t->fn[CMD_CLIENT_CACHING] = do_caching;
    t->fn[CMD_CLIENT_GETREDIR] = do_getredir;
    t->fn[CMD_CLIENT_TRACKINGINFO] = do_trackinginfo;
    t->fn[CMD_CLIENT_HELP] = do_help;
}
