// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT: connections as their owners and operators see them, over all workers.
 *
 * What concerns other workers' clients is a `search`: a filter that every worker runs over its own
 * clients (worker_visit_fn); the asker puts the answers together. */
#include "proxy/admin/admin_priv.h"

#include "common/app/client_command.h"
#include "common/app/client_filter.h"
#include "common/base/mem.h"
#include "common/cmd/acl.h"
#include "common/io/stream.h"
#include "common/resp/parse.h"

#include <stdio.h>

struct search {
    struct later *later;
    uint64_t asker; /* client id */
    bool kill;
    struct client_filter filter;
};

/* --- search: LIST and KILL --- */

static void visit(struct worker *w, void *arg, struct str *answer)
{
    const struct search *s = arg;
    LIST_FOREACH_SAFE(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        bool me = c->session.id == s->asker;
        enum client_kind kind = client_class(c) == OUTPUT_PUBSUB ? CLIENT_PUBSUB : CLIENT_NORMAL;
        if (c->doomed || !client_filter_matches(&s->filter, c->session.id, kind, me,
                                                acl_user_name(c->session.user), c->stream)) {
            continue;
        }
        if (!s->kill) {
            client_describe(c, answer);
        } else {
            str_append_char(answer, 'x');
            client_kill(c, me ? CLIENT_KILL_AFTER_REPLY : CLIENT_KILL_NOW);
        }
    }
}

static void search_free(struct search **sp)
{
    client_filter_fini(&(*sp)->filter);
    mem_free(*sp);
    *sp = NULL;
}

static void visited(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct search *s = arg;
    struct resp_writer *w = &s->later->w;
    struct str all = {0};
    (void)asker;
    for (int i = 0; i < n; i++) {
        str_append_slice(&all, str_slice(&answers[i]));
    }
    if (s->kill) {
        client_filter_killed(&s->filter, all.len, w);
    } else {
        resp_verbatim(w, "txt", str_slice(&all));
    }
    str_fini(&all);
    later_finish(&s->later);
    search_free(&s);
}

static enum local_result search_start(struct local_call *c, bool kill)
{
    struct search *s = mem_zalloc(sizeof(*s));
    bool ok = kill
                  ? client_filter_read_kill(&s->filter, worker_of(c)->users, c->argv, c->argc, c->w)
                  : client_filter_read_list(&s->filter, c->argv, c->argc, c->w);
    if (!ok) {
        search_free(&s);
        return LOCAL_DONE;
    }
    s->kill = kill;
    s->asker = c->session->id;
    s->later = later_new(c);
    workers_ask(worker_of(c), visit, s, visited);
    return LOCAL_LATER;
}

static enum local_result do_list(struct local_call *c)
{
    return search_start(c, false);
}

static enum local_result do_kill(struct local_call *c)
{
    return search_start(c, true);
}

/* --- what this connection is --- */

static enum local_result do_id(struct local_call *c)
{
    resp_int(c->w, (int64_t)c->session->id);
    return LOCAL_DONE;
}

static enum local_result do_info(struct local_call *c)
{
    struct str line = {0};
    struct client *client = client_or_null(c);
    if (client != NULL) {
        client_describe(client, &line);
    }
    resp_verbatim(c->w, "txt", str_slice(&line));
    str_fini(&line);
    return LOCAL_DONE;
}

static enum local_result do_getname(struct local_call *c)
{
    if (c->session->name == NULL) {
        resp_nil(c->w);
    } else {
        resp_bulkz(c->w, c->session->name);
    }
    return LOCAL_DONE;
}

static enum local_result do_setname(struct local_call *c)
{
    if (!client_name_ok(c->argv[2])) {
        return refuse(c, ERR_CLIENT_NAME);
    }
    session_set_name(c->session, c->argv[2].ptr, c->argv[2].len);
    resp_ok(c->w);
    return LOCAL_DONE;
}

static enum local_result do_setinfo(struct local_call *c)
{
    client_setinfo(c->argv, &c->session->lib_name, &c->session->lib_version, c->w);
    return LOCAL_DONE;
}

/* Redis writes nothing for OFF and SKIP: their request is silent. */
static enum local_result do_reply(struct local_call *c)
{
    struct session *s = c->session;
    switch (client_read_reply(c->argv[2], c->w)) {
    case CLIENT_SAY_ON:
        s->reply_mode = REPLY_ON;
        c->request->silent = false;
        resp_ok(c->w);
        break;
    case CLIENT_SAY_OFF:
        s->reply_mode = REPLY_OFF;
        c->request->silent = true;
        resp_ok(c->w);
        break;
    case CLIENT_SAY_SKIP:
        s->reply_mode = s->reply_mode == REPLY_OFF ? REPLY_OFF : REPLY_SKIP_NEXT;
        c->request->silent = true;
        resp_ok(c->w);
        break;
    case CLIENT_SAY_BAD:
        break;
    }
    return LOCAL_DONE;
}

static enum local_result do_no_evict(struct local_call *c)
{
    bool on;
    if (client_read_on_off(c->argv[2], &on, c->w)) {
        c->session->no_evict = on;
        resp_ok(c->w);
    }
    return LOCAL_DONE;
}

/* --- UNBLOCK --- */

struct unblocking {
    struct later *later;
    uint64_t id;
    bool error;
};

static void visit_unblock(struct worker *w, void *arg, struct str *answer)
{
    const struct unblocking *u = arg;
    struct client *c = worker_client_by_id(w, u->id);
    exec_set_now(w->exec, loop_now_us(w->loop));
    if (c != NULL && !c->doomed && exec_unblock(w->exec, &c->session, u->error)) {
        str_append_char(answer, 'x');
    }
}

static void unblocked(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct unblocking *u = arg;
    size_t found = 0;
    (void)asker;
    for (int i = 0; i < n; i++) {
        found += answers[i].len;
    }
    resp_int(&u->later->w, found > 0);
    later_finish(&u->later);
    mem_free(u);
}

static enum local_result do_unblock(struct local_call *c)
{
    int64_t id;
    if (!client_read_unblock(c->argv, c->argc, &id, c->w)) {
        return LOCAL_DONE;
    }
    struct unblocking *u = mem_zalloc(sizeof(*u));
    u->id = (uint64_t)id;
    u->error = c->argc == 4 && slice_is(c->argv[3], "error");
    u->later = later_new(c);
    workers_ask(worker_of(c), visit_unblock, u, unblocked);
    return LOCAL_LATER;
}

/* --- PAUSE --- */

struct pausing {
    struct later *later;
    enum exec_pause kind; /* EXEC_PAUSE_NOT: UNPAUSE */
    int64_t for_us;
};

static void visit_pause(struct worker *w, void *arg, struct str *answer)
{
    const struct pausing *p = arg;
    int64_t now_us = loop_now_us(w->loop);
    (void)answer;
    exec_set_now(w->exec, now_us);
    if (p->kind == EXEC_PAUSE_NOT) {
        exec_unpause(w->exec);
    } else {
        exec_pause(w->exec, p->kind, now_us + p->for_us);
    }
}

/* Whatever the nodes said: the pause is on. One that could not be asked lets keys expire. */
static void merge_pause(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    (void)answers;
    (void)n;
    (void)arg;
    resp_ok(c->w);
}

/* Keys do not expire while clients pause: that is the nodes' part. */
static void paused(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct pausing *p = arg;
    char ms[24];
    (void)asker;
    (void)answers;
    (void)n;
    (void)snprintf(ms, sizeof(ms), "%lld", (long long)(p->for_us / 1000));
    const struct slice words[] = {SLICE("SHOAL"), SLICE("PAUSE-EXPIRY"), slice_str(ms)};
    if (later_gone(p->later)) {
        later_finish(&p->later);
    } else {
        struct local_call c = later_call(p->later);
        later_drop(&p->later);
        (void)local_fan(&c, words, ARRAY_LEN(words), merge_pause, NULL);
    }
    mem_free(p);
}

static enum local_result pause_all(struct local_call *c, enum exec_pause kind, int64_t for_ms)
{
    struct pausing *p = mem_zalloc(sizeof(*p));
    p->later = later_new(c);
    p->kind = kind;
    p->for_us = for_ms * 1000;
    workers_ask(worker_of(c), visit_pause, p, paused);
    return LOCAL_LATER;
}

static enum local_result do_pause(struct local_call *c)
{
    bool writes_only;
    int64_t ms;
    if (!client_read_pause(c->argv, c->argc, &writes_only, &ms, c->w)) {
        return LOCAL_DONE;
    }
    return pause_all(c, writes_only ? EXEC_PAUSE_WRITE : EXEC_PAUSE_ALL, ms);
}

static enum local_result do_unpause(struct local_call *c)
{
    return pause_all(c, EXEC_PAUSE_NOT, 0);
}

static enum local_result do_help(struct local_call *c)
{
    client_help(c->w);
    return LOCAL_DONE;
}

void admin_client(struct local_table *t)
{
    local_table_set(t, CMD_CLIENT_ID, do_id, 0);
    local_table_set(t, CMD_CLIENT_INFO, do_info, 0);
    local_table_set(t, CMD_CLIENT_LIST, do_list, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_KILL, do_kill, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_GETNAME, do_getname, 0);
    local_table_set(t, CMD_CLIENT_SETNAME, do_setname, 0);
    local_table_set(t, CMD_CLIENT_SETINFO, do_setinfo, 0);
    local_table_set(t, CMD_CLIENT_REPLY, do_reply, 0);
    local_table_set(t, CMD_CLIENT_NO_EVICT, do_no_evict, 0);
    local_table_set(t, CMD_CLIENT_UNBLOCK, do_unblock, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_PAUSE, do_pause, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_UNPAUSE, do_unpause, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_HELP, do_help, 0);
}
