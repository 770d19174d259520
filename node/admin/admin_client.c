// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT: connections as their owners and operators see them. */
#include "node/admin/admin_priv.h"
#include "node/serve/access.h"
#include "node/serve/parked.h"
#include "node/serve/pause.h"
#include "node/serve/tracking.h"

#include "common/app/client_command.h"
#include "common/app/client_filter.h"

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

/* --- LIST and KILL --- */

static enum client_kind kind_of(const struct client *c)
{
    switch (client_class(c)) {
    case OUTPUT_REPLICA:
        return CLIENT_REPLICA;
    case OUTPUT_PUBSUB:
        return CLIENT_PUBSUB;
    default:
        return CLIENT_NORMAL;
    }
}

static bool is_meant(const struct call *k, const struct client_filter *f, const struct client *c)
{
    return (c->flags & CLIENT_CLOSING) == 0 &&
           client_filter_matches(f, c->id, kind_of(c), c == client_of(k), acl_user_name(c->user),
                                 c->stream);
}

static void list_all(const struct call *k, const struct client_filter *f, struct str *to)
{
    LIST_FOREACH(it, &server_of(k)->clients) {
        const struct client *c = container_of(it, struct client, link);
        if (is_meant(k, f, c)) {
            client_describe(c, to);
        }
    }
}

/* In the order in which they were asked for. */
static void list_ids(const struct call *k, const struct client_filter *f, struct str *to)
{
    for (size_t i = 0; i < f->n_ids; i++) {
        const struct client *c = server_client(server_of(k), f->ids[i]);
        if (c != NULL && is_meant(k, f, c)) {
            client_describe(c, to);
        }
    }
}

static void do_list(struct call *k)
{
    struct client_filter f;
    if (client_filter_read_list(&f, k->argv, k->argc, &k->w)) {
        struct str text = {0};
        if (f.n_ids > 0) {
            list_ids(k, &f, &text);
        } else {
            list_all(k, &f, &text);
        }
        resp_verbatim(&k->w, "txt", str_slice(&text));
        str_fini(&text);
    }
    client_filter_fini(&f);
}

static void kill_meant(struct call *k, const struct client_filter *f)
{
    uint64_t killed = 0;
    bool me = false;
    LIST_FOREACH(it, &server_of(k)->clients) {
        struct client *c = container_of(it, struct client, link);
        if (!is_meant(k, f, c)) {
            continue;
        }
        killed++;
        if (c == client_of(k)) {
            me = true;
        } else {
            client_kill(c);
        }
    }
    client_filter_killed(f, killed, &k->w);
    if (me) {
        client_close_after_reply(client_of(k));
    }
}

static void do_kill(struct call *k)
{
    struct client_filter f;
    if (client_filter_read_kill(&f, access_users(server_of(k)), k->argv, k->argc, &k->w)) {
        kill_meant(k, &f);
    }
    client_filter_fini(&f);
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
        resp_error(&k->w, ERR_CLIENT_NAME);
    }
}

static void do_setinfo(struct call *k)
{
    struct client *c = client_of(k);
    client_setinfo(k->argv, &c->lib_name, &c->lib_version, &k->w);
}

/* --- how it is treated --- */

static void do_reply(struct call *k)
{
    struct client *c = client_of(k);
    switch (client_read_reply(k->argv[2], &k->w)) {
    case CLIENT_SAY_ON:
        c->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_SKIPPING | CLIENT_SKIP_NEXT);
        k->w.out = client_out(c);
        resp_ok(&k->w);
        break;
    case CLIENT_SAY_OFF:
        c->flags |= CLIENT_REPLY_OFF;
        break;
    case CLIENT_SAY_SKIP:
        c->flags |= c->flags & CLIENT_REPLY_OFF ? 0 : CLIENT_SKIP_NEXT;
        break;
    case CLIENT_SAY_BAD:
        break;
    }
}

static void do_no_evict(struct call *k)
{
    struct client *c = client_of(k);
    bool on;
    if (client_read_on_off(k->argv[2], &on, &k->w)) {
        c->flags = on ? c->flags | CLIENT_NO_EVICT : c->flags & ~(uint32_t)CLIENT_NO_EVICT;
        resp_ok(&k->w);
    }
}

static void do_pause(struct call *k)
{
    bool writes_only;
    int64_t ms;
    if (client_read_pause(k->argv, k->argc, &writes_only, &ms, &k->w)) {
        pause_start(server_of(k), writes_only ? PAUSE_WRITE : PAUSE_ALL, ms);
        resp_ok(&k->w);
    }
}

static void do_unpause(struct call *k)
{
    pause_end(server_of(k));
    resp_ok(&k->w);
}

static void do_unblock(struct call *k)
{
    int64_t id;
    if (client_read_unblock(k->argv, k->argc, &id, &k->w)) {
        struct client *c = id < 0 ? NULL : server_client(server_of(k), (uint64_t)id);
        bool error = k->argc == 4 && slice_is(k->argv[3], "error");
        resp_int(&k->w, c != NULL && parked_unblock(c, error));
    }
}

static bool client_exists(void *arg, uint64_t id)
{
    return server_client(arg, id) != NULL;
}

static void do_tracking(struct call *k)
{
    struct client *c = client_of(k);
    struct client_tracking wish;
    if (client_read_tracking(k->argv, k->argc, client_exists, server_of(k), &wish, &k->w)) {
        if (!wish.on) {
            tracking_forget(c);
            resp_ok(&k->w);
        } else if (tracking_set(c, &wish, &k->w)) {
            resp_ok(&k->w);
        }
    }
    client_tracking_fini(&wish);
}

static void do_caching(struct call *k)
{
    tracking_caching(client_of(k), k->argv[2], &k->w);
}

static void do_getredir(struct call *k)
{
    resp_int(&k->w, tracking_redirect(client_of(k)));
}

static void do_trackinginfo(struct call *k)
{
    tracking_info(client_of(k), &k->w);
}

static void do_help(struct call *k)
{
    client_help(&k->w);
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
