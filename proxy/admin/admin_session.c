// SPDX-License-Identifier: BSD-3-Clause
/* What a connection says about itself: AUTH, HELLO, SELECT, RESET, QUIT, PING. */
#include "proxy/admin/admin_priv.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/own.h"
#include "proxy/exec/pubsub.h"
#include "proxy/front/monitor.h"
#include "proxy/front/users.h"

#include "common/app/acl_command.h"
#include "common/app/client_command.h"
#include "common/app/hello.h"
#include "common/base/num.h"

static bool log_in(struct local_call *c, struct slice user, struct slice pass)
{
    struct worker *w = worker_of(c);
    struct client *client = client_or_null(c);
    const struct acl_user *u = auth_check(w->users, user, pass, c->w);
    if (u == NULL) {
        worker_log_refusal(w, client, ACL_NOT_AUTH, c->session->multi ? "multi" : "toplevel",
                           c->argv[0], user);
    } else if (client != NULL) {
        client_set_user(client, u);
    }
    return u != NULL;
}

static enum local_result do_auth(struct local_call *c)
{
    struct slice user, pass;
    if (auth_read(worker_of(c)->users, c->argv, c->argc, &user, &pass, c->w) &&
        log_in(c, user, pass)) {
        resp_ok(c->w);
    }
    return LOCAL_DONE;
}

static enum local_result do_hello(struct local_call *c)
{
    struct hello h;
    if (!hello_read(c->argv, c->argc, &h, c->w)) {
        return LOCAL_DONE;
    }
    if (h.auth && !log_in(c, h.user, h.pass)) {
        return LOCAL_DONE;
    }
    if (!c->session->authenticated && auth_needed(worker_of(c)->users)) {
        return refuse(c, ERR_NOAUTH_HELLO);
    }
    if (h.named) {
        if (!client_name_ok(h.name)) {
            return refuse(c, ERR_CLIENT_NAME);
        }
        session_set_name(c->session, h.name.ptr, h.name.len);
    }
    if (h.proto != 0) {
        c->session->proto = (uint8_t)h.proto;
        c->w->proto = h.proto;
    }
    hello_reply(c->session->id,
                options_of(c)->cluster_view == VIEW_NODES ? "cluster" : "standalone", c->w);
    return LOCAL_DONE;
}

/* --- the rest of a connection's small talk --- */

static enum local_result do_ping(struct local_call *c)
{
    const char *busy = exec_busy(c->exec);
    if (c->argc > 2) {
        resp_errorf(c->w, ERR_WRONG_ARGS, c->command->full_name);
    } else if (busy != NULL) {
        resp_error(c->w, busy);
    } else if (c->w->proto == 2 && pubsub_listens(c->session)) {
        resp_array(c->w, 2); /* among messages */
        resp_bulkz(c->w, "pong");
        resp_bulk(c->w, c->argc == 2 ? c->argv[1] : SLICE(""));
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

static enum local_result do_reset(struct local_call *c)
{
    struct session *s = c->session;
    exec_session_reset_tx(c->exec, s);
    pubsub_forget(c->exec, s);
    exec_untrack(c->exec, s);
    if (client_or_null(c) != NULL) {
        monitor_stop(client_or_null(c));
        client_limits_changed(client_or_null(c));
    }
    s->db = 0;
    s->proto = 2;
    s->reply_mode = REPLY_ON;
    s->no_evict = false;
    s->readonly = false;
    if (client_or_null(c) != NULL) {
        client_reset_user(client_or_null(c));
    }
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
    /* Shards move as a whole and are never half here: there is nothing to ask for. */
    local_table_set(t, CMD_ASKING, do_ok, 0);
}
