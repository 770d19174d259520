// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT: connections as their owners and operators see them, over all workers.
 *
 * What concerns other workers' clients is a `search`: a copied filter that every worker runs over
 * its own clients (worker_visit_fn); the asker puts the answers together. */
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/io/stream.h"
#include "common/resp/parse.h"

enum kind { KIND_ANY, KIND_NORMAL, KIND_OTHER /* master, replica, pubsub: a proxy has none */ };

struct search {
    struct request *request;
    struct exec *exec;
    uint64_t asker; /* client id */
    int proto;
    bool kill;
    bool old_form; /* CLIENT KILL addr: +OK or an error */
    bool skip_me;
    enum kind kind;
    char *addr; /* NULL: any */
    char *laddr;
    uint64_t *ids; /* n_ids 0: any */
    size_t n_ids;
};

static void search_free(struct search **sp)
{
    struct search *s = *sp;
    mem_free(s->addr);
    mem_free(s->laddr);
    mem_free(s->ids);
    mem_free(s);
    *sp = NULL;
}

static struct search *search_new(struct local_call *c)
{
    struct search *s = mem_zalloc(sizeof(*s));
    s->request = c->request;
    s->exec = c->exec;
    s->asker = c->session->id;
    s->proto = c->w->proto;
    return s;
}

static char *copy_text(struct slice v)
{
    struct str s = {0};
    str_append_slice(&s, v);
    return str_steal(&s);
}

/* --- one client as a line --- */

static void describe(struct client *c, struct str *to)
{
    const struct session *s = &c->session;
    struct stream *st = c->stream;
    int64_t now_ms = loop_now_ms(c->worker->loop);
    char peer[64];
    char local[64];
    stream_peer(st, peer, sizeof(peer));
    stream_local(st, local, sizeof(local));
    size_t unread = inbuf_unread(&st->in).len;
    size_t in_memory = stream_in_memory(st);
    size_t out = st->out.bytes == 0 ? 0 : stream_out_memory(st);
    size_t parser = c->parser == NULL ? 0 : resp_parser_memory(c->parser);
    str_printf(to, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s%s",
               (unsigned long long)s->id, peer, local, st->fd, s->name == NULL ? "" : s->name,
               (long long)((now_ms - c->created_ms) / 1000),
               (long long)((now_ms - st->active_us / 1000) / 1000), s->multi ? "x" : "",
               s->no_evict ? "e" : "");
    if (!s->multi && !s->no_evict) {
        str_append_char(to, 'N');
    }
    str_printf(to,
               " db=%d sub=0 psub=0 ssub=0 multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%zu "
               "multi-mem=0 rbs=%d rbp=%d obl=0 oll=%u omem=%zu tot-mem=%zu events=%s cmd=%s "
               "user=default redir=-1 resp=%d\n",
               s->db, s->multi ? (int)s->queued : -1, unread,
               in_memory > unread ? in_memory - unread : 0, parser, OUTBUF_CHUNK, OUTBUF_CHUNK,
               st->out.count, out, sizeof(*c) + in_memory + out + parser,
               st->out.bytes > 0 ? "rw" : "r",
               s->last_command == NULL ? "NULL" : s->last_command->full_name, s->proto);
}

/* --- search: LIST and KILL --- */

static bool matches(const struct search *s, struct client *c)
{
    char text[64];
    if (c->doomed || s->kind == KIND_OTHER || (s->skip_me && c->session.id == s->asker)) {
        return false;
    }
    bool found = s->n_ids == 0;
    for (size_t i = 0; i < s->n_ids && !found; i++) {
        found = s->ids[i] == c->session.id;
    }
    if (!found) {
        return false;
    }
    if (s->addr != NULL) {
        stream_peer(c->stream, text, sizeof(text));
        if (strcmp(s->addr, text) != 0) {
            return false;
        }
    }
    if (s->laddr != NULL) {
        stream_local(c->stream, text, sizeof(text));
        if (strcmp(s->laddr, text) != 0) {
            return false;
        }
    }
    return true;
}

static void visit(struct worker *w, void *arg, struct str *answer)
{
    const struct search *s = arg;
    LIST_FOREACH_SAFE(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        if (!matches(s, c)) {
            continue;
        }
        if (!s->kill) {
            describe(c, answer);
        } else {
            str_append_char(answer, 'x');
            client_kill(c, c->session.id == s->asker ? CLIENT_KILL_AFTER_REPLY : CLIENT_KILL_NOW);
        }
    }
}

static void visited(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct search *s = arg;
    struct outbuf reply = {0};
    struct resp_writer w = {.out = &reply, .proto = s->proto};
    struct str all = {0};
    exec_set_now(s->exec, loop_now_us(asker->loop));
    for (int i = 0; i < n; i++) {
        str_append_slice(&all, str_slice(&answers[i]));
    }
    if (!s->kill) {
        resp_verbatim(&w, "txt", str_slice(&all));
    } else if (!s->old_form) {
        resp_int(&w, (int64_t)all.len);
    } else if (all.len > 0) {
        resp_ok(&w);
    } else {
        resp_error(&w, "ERR No such client");
    }
    str_fini(&all);
    local_finish(s->exec, s->request, &reply);
    outbuf_fini(&reply);
    search_free(&s);
}

static enum local_result search_run(struct local_call *c, struct search *s)
{
    workers_ask(worker_of(c), visit, s, visited);
    return LOCAL_LATER;
}

static bool read_kind(struct local_call *c, struct slice name, enum kind *out)
{
    if (slice_is(name, "normal")) {
        *out = KIND_NORMAL;
    } else if (slice_is(name, "master") || slice_is(name, "slave") || slice_is(name, "replica") ||
               slice_is(name, "pubsub")) {
        *out = KIND_OTHER;
    } else {
        resp_errorf(c->w, "ERR Unknown client type '%.*s'", ARG_PRINT(name));
        return false;
    }
    return true;
}

static bool read_list_ids(struct local_call *c, struct search *s)
{
    s->ids = mem_alloc((c->argc - 3) * sizeof(*s->ids));
    for (size_t i = 3; i < c->argc; i++) {
        int64_t id;
        if (!num_parse_i64(c->argv[i], &id)) {
            resp_error(c->w, "ERR Invalid client ID");
            return false;
        }
        s->ids[s->n_ids++] = (uint64_t)id;
    }
    return true;
}

static enum local_result do_list(struct local_call *c)
{
    struct search *s = search_new(c);
    bool ok = true;
    if (c->argc == 4 && slice_is(c->argv[2], "type")) {
        ok = read_kind(c, c->argv[3], &s->kind);
    } else if (c->argc > 3 && slice_is(c->argv[2], "id")) {
        ok = read_list_ids(c, s);
    } else if (c->argc != 2) {
        resp_error(c->w, ERR_SYNTAX);
        ok = false;
    }
    if (!ok) {
        search_free(&s);
        return LOCAL_DONE;
    }
    return search_run(c, s);
}

static bool read_kill_option(struct local_call *c, struct search *s, struct slice name,
                             struct slice value)
{
    int64_t id;
    if (slice_is(name, "id")) {
        if (!num_parse_i64(value, &id) || id < 1) {
            resp_error(c->w, "ERR client-id should be greater than 0");
            return false;
        }
        mem_free(s->ids);
        s->ids = mem_alloc(sizeof(*s->ids));
        s->ids[0] = (uint64_t)id;
        s->n_ids = 1;
    } else if (slice_is(name, "type")) {
        return read_kind(c, value, &s->kind);
    } else if (slice_is(name, "addr")) {
        mem_free(s->addr);
        s->addr = copy_text(value);
    } else if (slice_is(name, "laddr")) {
        mem_free(s->laddr);
        s->laddr = copy_text(value);
    } else if (slice_is(name, "user")) {
        if (!slice_eq(value, SLICE("default"))) {
            resp_errorf(c->w, "ERR No such user '%.*s'", ARG_PRINT(value));
            return false;
        }
    } else if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        s->skip_me = slice_is(value, "yes");
    } else {
        resp_error(c->w, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool read_kill(struct local_call *c, struct search *s)
{
    if (c->argc == 3) {
        s->old_form = true;
        s->addr = copy_text(c->argv[2]);
        return true;
    }
    s->skip_me = true;
    for (size_t i = 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
        if (!read_kill_option(c, s, c->argv[i], c->argv[i + 1])) {
            return false;
        }
    }
    return true;
}

static enum local_result do_kill(struct local_call *c)
{
    struct search *s = search_new(c);
    s->kill = true;
    if (!read_kill(c, s)) {
        search_free(&s);
        return LOCAL_DONE;
    }
    return search_run(c, s);
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
        describe(client, &line);
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
    if (!admin_name_ok(c->argv[2])) {
        return refuse(c, ERR_CLIENT_NAME);
    }
    session_set_name(c->session, c->argv[2].ptr, c->argv[2].len);
    resp_ok(c->w);
    return LOCAL_DONE;
}

static enum local_result do_setinfo(struct local_call *c)
{
    bool lib = slice_is(c->argv[2], "lib-name");
    if (!lib && !slice_is(c->argv[2], "lib-ver")) {
        resp_errorf(c->w, "ERR Unrecognized option '%.*s'", ARG_PRINT(c->argv[2]));
        return LOCAL_DONE;
    }
    if (!admin_name_ok(c->argv[3])) {
        resp_errorf(c->w, "ERR %s cannot contain spaces, newlines or special characters.",
                    lib ? "lib-name" : "lib-ver");
        return LOCAL_DONE;
    }
    char **to = lib ? &c->session->lib_name : &c->session->lib_version;
    mem_free(*to);
    *to = copy_text(c->argv[3]);
    resp_ok(c->w);
    return LOCAL_DONE;
}

/* Redis writes nothing for OFF and SKIP: their request is silent. */
static enum local_result do_reply(struct local_call *c)
{
    struct session *s = c->session;
    if (slice_is(c->argv[2], "on")) {
        s->reply_mode = REPLY_ON;
        c->request->silent = false;
        resp_ok(c->w);
    } else if (slice_is(c->argv[2], "off")) {
        s->reply_mode = REPLY_OFF;
        c->request->silent = true;
        resp_ok(c->w);
    } else if (slice_is(c->argv[2], "skip")) {
        s->reply_mode = s->reply_mode == REPLY_OFF ? REPLY_OFF : REPLY_SKIP_NEXT;
        c->request->silent = true;
        resp_ok(c->w);
    } else {
        resp_error(c->w, ERR_SYNTAX);
    }
    return LOCAL_DONE;
}

static enum local_result do_no_evict(struct local_call *c)
{
    bool on = slice_is(c->argv[2], "on");
    if (!on && !slice_is(c->argv[2], "off")) {
        return refuse(c, ERR_SYNTAX);
    }
    c->session->no_evict = on;
    resp_ok(c->w);
    return LOCAL_DONE;
}

/* No command of this version blocks. */
static enum local_result do_unblock(struct local_call *c)
{
    int64_t id;
    if (c->argc > 4 ||
        (c->argc == 4 && !slice_is(c->argv[3], "timeout") && !slice_is(c->argv[3], "error"))) {
        return refuse(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
    if (!num_parse_i64(c->argv[2], &id)) {
        return refuse(c, ERR_NOT_INT);
    }
    resp_int(c->w, 0);
    return LOCAL_DONE;
}

/* --- tracking: always off --- */

static enum local_result do_tracking(struct local_call *c)
{
    if (c->argc == 3 && slice_is(c->argv[2], "off")) {
        resp_ok(c->w);
    } else if (slice_is(c->argv[2], "on") || slice_is(c->argv[2], "off")) {
        resp_errorf(c->w, ERR_NOT_SERVED, c->command->full_name);
    } else {
        resp_error(c->w, ERR_SYNTAX);
    }
    return LOCAL_DONE;
}

static enum local_result do_caching(struct local_call *c)
{
    return refuse(c, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                     "with OPTIN or OPTOUT mode enabled");
}

static enum local_result do_getredir(struct local_call *c)
{
    resp_int(c->w, -1);
    return LOCAL_DONE;
}

static enum local_result do_trackinginfo(struct local_call *c)
{
    resp_map(c->w, 3);
    resp_bulkz(c->w, "flags");
    resp_set(c->w, 1);
    resp_bulkz(c->w, "off");
    resp_bulkz(c->w, "redirect");
    resp_int(c->w, -1);
    resp_bulkz(c->w, "prefixes");
    resp_array(c->w, 0);
    return LOCAL_DONE;
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

static void paused(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct pausing *p = arg;
    (void)asker;
    (void)answers;
    (void)n;
    resp_ok(&p->later->w);
    later_finish(&p->later);
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
    int64_t ms;
    enum exec_pause kind = EXEC_PAUSE_ALL;
    if (c->argc > 4) {
        return refuse(c, ERR_SYNTAX);
    }
    if (c->argc == 4) {
        if (slice_is(c->argv[3], "write")) {
            kind = EXEC_PAUSE_WRITE;
        } else if (!slice_is(c->argv[3], "all")) {
            return refuse(c, "ERR CLIENT PAUSE mode must be WRITE or ALL");
        }
    }
    if (!num_parse_i64(c->argv[2], &ms) || ms > INT64_MAX / 4000) {
        return refuse(c, "ERR timeout is not an integer or out of range");
    }
    if (ms < 0) {
        return refuse(c, "ERR timeout is negative");
    }
    return pause_all(c, kind, ms);
}

static enum local_result do_unpause(struct local_call *c)
{
    return pause_all(c, EXEC_PAUSE_NOT, 0);
}

static enum local_result do_help(struct local_call *c)
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
        "    Describe the connections of all workers of this proxy, one a line.",
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
    command_help_reply(c->w, "CLIENT", lines);
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
    local_table_set(t, CMD_CLIENT_UNBLOCK, do_unblock, 0);
    local_table_set(t, CMD_CLIENT_TRACKING, do_tracking, 0);
    local_table_set(t, CMD_CLIENT_CACHING, do_caching, 0);
    local_table_set(t, CMD_CLIENT_GETREDIR, do_getredir, 0);
    local_table_set(t, CMD_CLIENT_TRACKINGINFO, do_trackinginfo, 0);
    local_table_set(t, CMD_CLIENT_PAUSE, do_pause, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_UNPAUSE, do_unpause, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_HELP, do_help, 0);
}
