// SPDX-License-Identifier: BSD-3-Clause
/* What a connection says about itself: AUTH, HELLO, SELECT, RESET, QUIT, PING. */
#include "proxy/admin/admin_priv.h"
#include "proxy/exec/exec.h"

#include "common/app/version.h"
#include "common/base/num.h"

/* Time does not tell how much of a guess was right. */
static bool same_secret(struct slice a, struct slice b)
{
    unsigned char diff = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) {
        diff |= (unsigned char)(a.ptr[i] ^ (b.len == 0 ? 1 : b.ptr[i % b.len]));
    }
    return diff == 0;
}

static bool log_in(struct local_call *c, struct slice user, struct slice pass)
{
    struct slice want = slice_str(options_of(c)->requirepass);
    if (!slice_eq(user, SLICE("default")) || (want.len != 0 && !same_secret(pass, want))) {
        resp_error(c->w, ERR_WRONGPASS);
        return false;
    }
    c->session->authenticated = true;
    return true;
}

static enum local_result do_auth(struct local_call *c)
{
    if (c->argc > 3) {
        return refuse(c, ERR_SYNTAX);
    }
    if (c->argc == 2 && options_of(c)->requirepass[0] == '\0') {
        return refuse(c, "ERR AUTH <password> called without any password configured for the "
                         "default user. Are you sure your configuration is correct?");
    }
    struct slice user = c->argc == 3 ? c->argv[1] : SLICE("default");
    if (log_in(c, user, c->argv[c->argc - 1])) {
        resp_ok(c->w);
    }
    return LOCAL_DONE;
}

/* --- HELLO --- */

struct hello {
    int proto; /* 0: stays */
    bool auth;
    struct slice user;
    struct slice pass;
    bool named;
    struct slice name;
};

static bool read_hello(struct local_call *c, struct hello *h)
{
    int64_t proto = 0;
    if (c->argc >= 2) {
        if (!num_parse_i64(c->argv[1], &proto)) {
            resp_error(c->w, "ERR Protocol version is not an integer or out of range");
            return false;
        }
        if (proto < 2 || proto > 3) {
            resp_error(c->w, ERR_NOPROTO);
            return false;
        }
        h->proto = (int)proto;
    }
    for (size_t i = 2; i < c->argc; i++) {
        size_t left = c->argc - 1 - i;
        if (slice_is(c->argv[i], "auth") && left >= 2) {
            h->auth = true;
            h->user = c->argv[i + 1];
            h->pass = c->argv[i + 2];
            i += 2;
        } else if (slice_is(c->argv[i], "setname") && left >= 1) {
            h->named = true;
            h->name = c->argv[i + 1];
            i++;
        } else {
            resp_errorf(c->w, "ERR Syntax error in HELLO option '%.*s'", ARG_PRINT(c->argv[i]));
            return false;
        }
    }
    return true;
}

static void hello_reply(struct local_call *c)
{
    struct resp_writer *w = c->w;
    resp_map(w, 7);
    resp_bulkz(w, "server");
    resp_bulkz(w, "redis");
    resp_bulkz(w, "version");
    resp_bulkz(w, SHOAL_REDIS_VERSION);
    resp_bulkz(w, "proto");
    resp_int(w, w->proto);
    resp_bulkz(w, "id");
    resp_int(w, (int64_t)c->session->id);
    resp_bulkz(w, "mode");
    resp_bulkz(w, options_of(c)->cluster_view == VIEW_NODES ? "cluster" : "standalone");
    resp_bulkz(w, "role");
    resp_bulkz(w, "master");
    resp_bulkz(w, "modules");
    resp_array(w, 0);
}

bool admin_name_ok(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '!' || name.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

static enum local_result do_hello(struct local_call *c)
{
    struct hello h = {0};
    if (!read_hello(c, &h)) {
        return LOCAL_DONE;
    }
    if (h.auth && !log_in(c, h.user, h.pass)) {
        return LOCAL_DONE;
    }
    if (options_of(c)->requirepass[0] != '\0' && !c->session->authenticated) {
        return refuse(c, ERR_NOAUTH_HELLO);
    }
    if (h.named) {
        if (!admin_name_ok(h.name)) {
            return refuse(c, ERR_CLIENT_NAME);
        }
        session_set_name(c->session, h.name.ptr, h.name.len);
    }
    if (h.proto != 0) {
        c->session->proto = (uint8_t)h.proto;
        c->w->proto = h.proto;
    }
    hello_reply(c);
    return LOCAL_DONE;
}

/* --- the rest of a connection's small talk --- */

static enum local_result do_ping(struct local_call *c)
{
    if (c->argc > 2) {
        resp_errorf(c->w, ERR_WRONG_ARGS, c->command->full_name);
    } else if (c->argc == 2) {
        resp_bulk(c->w, c->argv[1]);
    } else {
        resp_simple(c->w, "PONG");
    }
    return LOCAL_DONE;
}

static enum local_result do_echo(struct local_call *c)
{
    resp_bulk(c->w, c->argv[1]);
    return LOCAL_DONE;
}

static enum local_result do_select(struct local_call *c)
{
    int64_t db;
    if (!num_parse_i64(c->argv[1], &db)) {
        return refuse(c, ERR_NOT_INT);
    }
    if (db < INT32_MIN || db > INT32_MAX) {
        return refuse(c, "ERR value is out of range, value must between -2147483648 and "
                         "2147483647");
    }
    if (db < 0 || db >= options_of(c)->databases) {
        return refuse(c, ERR_DB_INDEX);
    }
    c->session->db = (int)db;
    resp_ok(c->w);
    return LOCAL_DONE;
}

static enum local_result do_quit(struct local_call *c)
{
    resp_ok(c->w);
    c->request->close_after = true;
    c->session->closing = true;
    return LOCAL_DONE;
}

static enum local_result do_ok(struct local_call *c)
{
    resp_ok(c->w);
    return LOCAL_DONE;
}

static enum local_result do_readonly(struct local_call *c)
{
    c->session->readonly = true;
    return do_ok(c);
}

static enum local_result do_readwrite(struct local_call *c)
{
    c->session->readonly = false;
    return do_ok(c);
}

/* Shards move as a whole and are never half here: there is nothing to ask for. */
static enum local_result do_reset(struct local_call *c)
{
    struct session *s = c->session;
    exec_session_reset_tx(c->exec, s);
    s->db = 0;
    s->proto = 2;
    s->reply_mode = REPLY_ON;
    s->no_evict = false;
    s->readonly = false;
    s->authenticated = options_of(c)->requirepass[0] == '\0';
    session_set_name(s, "", 0);
    c->w->proto = 2;
    c->request->silent = false;
    resp_simple(c->w, "RESET");
    return LOCAL_DONE;
}

void admin_session(struct local_table *t)
{
    local_table_set(t, CMD_AUTH, do_auth, LOCAL_ORDERED);
    local_table_set(t, CMD_HELLO, do_hello, LOCAL_ORDERED);
    local_table_set(t, CMD_PING, do_ping, 0);
    local_table_set(t, CMD_ECHO, do_echo, 0);
    local_table_set(t, CMD_SELECT, do_select, 0);
    local_table_set(t, CMD_QUIT, do_quit, LOCAL_IN_MULTI);
    local_table_set(t, CMD_RESET, do_reset, LOCAL_ORDERED | LOCAL_IN_MULTI);
    local_table_set(t, CMD_READONLY, do_readonly, 0);
    local_table_set(t, CMD_READWRITE, do_readwrite, 0);
    local_table_set(t, CMD_ASKING, do_ok, 0);
}
