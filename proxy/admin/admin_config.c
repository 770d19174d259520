// SPDX-License-Identifier: BSD-3-Clause
/* CONFIG of the whole: the proxy's own directives, and through it the nodes'.
 *
 * A directive that the proxy has is the proxy's; one that both have and that must be the same
 * (OPT_SHARED) is set on both; the rest is the nodes'. GET shows the proxy's first, then what one
 * node knows besides. SET is all or none: the proxy's part is tried on a copy, then the nodes get
 * theirs (each takes all or none; when one of them fails, the others get back what they had), and
 * only when they agreed the copy becomes what is used. What they agreed on is recorded by the
 * coordinator, for nodes that were not to be reached just now or come later (node_settings.h). */
#include "proxy/admin/admin_priv.h"
#include "proxy/front/listening.h"
#include "proxy/front/observe.h"
#include "proxy/front/users.h"

#include "common/app/acl_file.h"
#include "common/app/config_command.h"
#include "common/app/daemon.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/model/map.h"
#include "common/resp/value.h"

#include <stdio.h>

static struct config_context context_for(struct local_call *c, void *values)
{
    bool allowed = false;
    switch ((enum protection)options_of(c)->enable_protected_configs) {
    case PROTECT_YES:
        allowed = true;
        break;
    case PROTECT_LOCAL:
        allowed = client_is_local(c);
        break;
    case PROTECT_NO:
        break;
    }
    return (struct config_context){.table = proxy_options_table(),
                                   .values = values,
                                   .path = workers_conf_path(worker_of(c)->all),
                                   .allow_protected = allowed};
}

/* --- GET --- */

struct getting {
    struct outbuf own; /* the proxy's own pairs, without a heading */
    size_t pairs;
};

/* What makes a node that very node is neither shown nor set through the proxy. */
static bool is_nodes_own(struct slice name)
{
    static const char *const names[] = {"stand-alone", "coordinator", "weight", "zone"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* Pairs of a CONFIG GET reply whose names the proxy does not have. */
static size_t put_foreign(const struct resp_value *v, struct resp_writer *w)
{
    size_t n = 0;
    for (size_t i = 0; v != NULL && i + 1 < v->count; i += 2) {
        if (options_find(proxy_options_table(), v->items[i].text) == NULL &&
            !is_nodes_own(v->items[i].text)) {
            resp_bulk(w, v->items[i].text);
            resp_bulk(w, v->items[i + 1].text);
            n++;
        }
    }
    return n;
}

static void merge_get(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct getting *g = arg;
    struct outbuf theirs = {0};
    struct resp_writer w = {.out = &theirs, .proto = c->w->proto};
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        bool good = v != NULL && (v->type == RESP_MAP || v->type == RESP_ARRAY);
        if (good) {
            g->pairs += put_foreign(v, &w);
        }
        resp_value_free(&v);
        if (good) {
            break;
        }
    }
    resp_map(c->w, g->pairs);
    outbuf_splice(c->w->out, &g->own);
    outbuf_splice(c->w->out, &theirs);
    outbuf_fini(&g->own);
    outbuf_fini(&theirs);
    mem_free(g);
}

/* The own reply without its heading "*N\r\n" or "%N\r\n". */
static void take_own(struct local_call *c, struct getting *g)
{
    struct outbuf out = {0};
    struct str text = {0};
    struct resp_writer w = {.out = &out, .proto = c->w->proto};
    struct config_context cc = context_for(c, worker_of(c)->options);
    config_command(&cc, c->argv, c->argc, &w);
    outbuf_to_str(&out, &text);
    struct resp_value *v = resp_value_parse(str_slice(&text));
    INVARIANT(v != NULL);
    g->pairs = v->count / 2;
    w.out = &g->own;
    for (size_t i = 0; i < v->count; i++) {
        resp_bulk(&w, v->items[i].text);
    }
    resp_value_free(&v);
    str_fini(&text);
}

static bool all_own(const struct local_call *c)
{
    for (size_t i = 2; i < c->argc; i++) {
        if (options_find(proxy_options_table(), c->argv[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static enum local_result do_get(struct local_call *c)
{
    if (all_own(c)) {
        struct config_context cc = context_for(c, worker_of(c)->options);
        config_command(&cc, c->argv, c->argc, c->w);
        return LOCAL_DONE;
    }
    struct getting *g = mem_zalloc(sizeof(*g));
    take_own(c, g);
    return local_fan(c, c->argv, c->argc, merge_get, g);
}

/* --- SET --- */

struct set_run {
    struct later *later;
    struct proxy_options next;
    bool own;             /* the proxy's options change */
    bool memory;          /* the nodes' maxmemory does */
    struct slice *record; /* what the coordinator is told when all is done: see control_admin */
    size_t n_record;
};

static void run_free(struct set_run *r)
{
    options_fini(proxy_options_table(), &r->next);
    mem_free(r->record);
    mem_free(r);
}

#define MEMORY_DOUBT_US (10LL * 1000 * 1000) /* by then heartbeats tell of a new maxmemory */

static void doubt_memory(struct worker *w, void *arg, struct str *answer)
{
    const struct set_run *r = arg;
    (void)answer;
    if (r->memory) {
        exec_doubt_memory(w->exec, loop_now_us(w->loop) + MEMORY_DOUBT_US);
    }
}

/* Every worker has had its mail with the new options by now. */
static void applied(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct set_run *r = arg;
    (void)asker;
    (void)answers;
    (void)n;
    if (r->n_record > 0 && workers_control(r->later->worker->all) != NULL) {
        struct local_call c = later_call(r->later);
        c.w = &r->later->w;
        (void)worker_ask_control(&c, r->record, r->n_record);
        later_drop(&r->later);
    } else {
        resp_ok(&r->later->w);
        later_finish(&r->later);
    }
    run_free(r);
}

static void apply(struct set_run *r)
{
    struct worker *w = r->later->worker;
    if (r->own) {
        workers_set_options(w, &r->next);
        log_set_level((enum log_level)r->next.loglevel);
    }
    workers_ask(w, doubt_memory, r, applied);
}

#define THEIRS_HEAD 3

/* Which pairs are for the proxy, behind CONFIG SET, and which for the nodes, behind SHOAL SETTINGS
 * version. */
struct shares {
    char version[NUM_I64_MAX_LEN];
    struct slice *own, *theirs;
    size_t n_own, n_theirs;
    struct slice first_foreign; /* len 0: none */
};

/* The nodes' part of a SET: what they had before is asked for, then they are told, and when one of
 * them did not take it, those that did are told what they had. */
struct node_set {
    struct set_run *run;
    char unknown[128]; /* a directive that only nodes could know */
    struct node_before {
        char id[NODE_ID_LEN + 1];
        struct resp_value *pairs; /* as CONFIG GET told */
        struct slice *undo;       /* CONFIG SET with them */
        size_t n_undo;
    } * before;
    size_t n_before;
    struct str error; /* the reply, once one of them refused */
};

static void node_set_free(struct node_set *s)
{
    for (size_t i = 0; i < s->n_before; i++) {
        resp_value_free(&s->before[i].pairs);
        mem_free(s->before[i].undo);
    }
    mem_free(s->before);
    str_fini(&s->error);
    if (s->run != NULL) {
        later_drop(&s->run->later);
        run_free(s->run);
    }
    mem_free(s);
}

/* The node does not want it. One that was not to be reached gets it from the coordinator. */
static bool is_refusal(const struct fan_answer *a)
{
    static const struct slice away[] = {SLICE("-CLUSTERDOWN "), SLICE("-UNKNOWNOUTCOME "),
                                        SLICE("-TRYAGAIN "), SLICE("-LOADING ")};
    for (size_t i = 0; i < ARRAY_LEN(away); i++) {
        if (a->reply.len > away[i].len && memcmp(a->reply.ptr, away[i].ptr, away[i].len) == 0) {
            return false;
        }
    }
    return a->reply.len > 0 && a->reply.ptr[0] == '-';
}

static bool is_good(const struct fan_answer *a)
{
    return a->reply.len > 0 && a->reply.ptr[0] == '+';
}

static bool undo_words(void *arg, const char *node_id, const struct slice **argv, size_t *argc)
{
    const struct node_set *s = arg;
    for (size_t i = 0; i < s->n_before; i++) {
        if (strcmp(s->before[i].id, node_id) == 0 && s->before[i].n_undo > 2) {
            *argv = s->before[i].undo;
            *argc = s->before[i].n_undo;
            return true;
        }
    }
    return false;
}

/* The reply is an error; nodes that took the half of it hear from the coordinator what holds. */
static void fail(struct local_call *c, struct node_set *s)
{
    const struct slice words[2] = {SLICE("SETTINGS"), str_slice(&s->error)};
    if (workers_control(worker_of(c)->all) != NULL) {
        c->fanned = true;
        (void)worker_ask_control(c, words, ARRAY_LEN(words));
    } else {
        outbuf_append(c->w->out, s->error.ptr, s->error.len);
    }
    node_set_free(s);
}

static void merge_undo(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_good(&answers[i])) {
            log_event(LOG_WARNING, "config", "not put back after a failed CONFIG SET node=%s",
                      answers[i].node_id);
        }
    }
    fail(c, arg);
}

/* Nobody refused it, and somebody took it. */
static void accept_set(struct local_call *c, struct node_set *s)
{
    struct set_run *r = s->run;
    struct later *l = r->later;
    c->fanned = true;
    /* SHOAL SETTINGS version name value ...; what is lent is not stored, passwords neither, but
     * told to nodes that this worker's map has not got yet. */
    r->record = mem_alloc((2 + l->argc / 2 * 3) * sizeof(*r->record));
    r->record[r->n_record++] = SLICE("SETTINGS");
    r->record[r->n_record++] = SLICE("+OK\r\n");
    for (size_t i = THEIRS_HEAD; i + 1 < l->argc; i += 2) {
        const struct option *o = options_find(proxy_options_table(), l->argv[i]);
        r->record[r->n_record++] = o == NULL ? SLICE("KEEP") : SLICE("LEND");
        r->record[r->n_record++] = l->argv[i];
        r->record[r->n_record++] = l->argv[i + 1];
        r->memory = r->memory || slice_is(l->argv[i], "maxmemory");
    }
    s->run = NULL;
    node_set_free(s);
    apply(r);
}

/* All took it, or the first that did not says why. */
static void merge_set(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct node_set *s = arg;
    size_t bad = 0, away = 0;
    bool any_good = n == 0;
    for (size_t i = n; i-- > 0;) {
        any_good = any_good || is_good(&answers[i]);
        bad = is_refusal(&answers[i]) ? i + 1 : bad;
        away = is_good(&answers[i]) ? away : i;
    }
    const struct map *m = worker_map(worker_of(c));
    if (n == 0 && s->unknown[0] != '\0' && m != NULL && m->n_nodes > 0) {
        resp_error(c->w, "CLUSTERDOWN No node is there to take it");
        node_set_free(s);
    } else if (n == 0 && s->unknown[0] != '\0') {
        resp_errorf(c->w, "ERR Unknown option or number of arguments for CONFIG SET - '%s'",
                    s->unknown);
        node_set_free(s);
    } else if (bad == 0 && any_good) {
        accept_set(c, s);
    } else {
        str_append_slice(&s->error, answers[bad > 0 ? bad - 1 : away].reply);
        if (any_good && !later_gone(s->run->later)) {
            (void)local_fan_each(c, undo_words, merge_undo, s);
        } else {
            fail(c, s);
        }
    }
}

static void keep_before(struct node_set *s, const struct fan_answer *a)
{
    struct node_before *b = &s->before[s->n_before];
    *b = (struct node_before){.pairs = resp_value_parse(a->reply)};
    if (b->pairs == NULL || (b->pairs->type != RESP_MAP && b->pairs->type != RESP_ARRAY)) {
        resp_value_free(&b->pairs);
        return;
    }
    (void)snprintf(b->id, sizeof(b->id), "%s", a->node_id);
    b->undo = mem_alloc((b->pairs->count + 2) * sizeof(*b->undo));
    b->undo[0] = SLICE("CONFIG");
    b->undo[1] = SLICE("SET");
    for (size_t i = 0; i < b->pairs->count; i++) {
        b->undo[2 + i] = b->pairs->items[i].text;
    }
    b->n_undo = 2 + b->pairs->count / 2 * 2;
    s->n_before++;
}

static void merge_before(struct local_call *c, const struct fan_answer *answers, size_t n,
                         void *arg)
{
    struct node_set *s = arg;
    s->before = mem_alloc((n + 1) * sizeof(*s->before));
    for (size_t i = 0; i < n; i++) {
        keep_before(s, &answers[i]);
    }
    if (later_gone(s->run->later)) {
        node_set_free(s); /* nobody is there to be told, so nothing is done */
        return;
    }
    (void)local_fan(c, s->run->later->argv, s->run->later->argc, merge_set, s);
}

/* Takes the run. */
static enum local_result set_nodes(struct local_call *c, struct set_run *r,
                                   const struct shares *shares)
{
    struct node_set *s = mem_zalloc(sizeof(*s));
    struct slice *names = mem_alloc((shares->n_theirs + 2) * sizeof(*names));
    size_t n = 2;
    names[0] = SLICE("CONFIG");
    names[1] = SLICE("GET");
    s->run = r;
    r->later = later_of(c, shares->theirs, shares->n_theirs);
    for (size_t i = THEIRS_HEAD; i < shares->n_theirs; i += 2) {
        names[n++] = shares->theirs[i];
    }
    (void)snprintf(s->unknown, sizeof(s->unknown), "%.*s", ARG_PRINT(shares->first_foreign));
    enum local_result result = local_fan(c, names, n, merge_before, s);
    mem_free(names);
    return result;
}

static bool is_password(const struct option *o)
{
    return strcmp(o->name, "requirepass") == 0;
}

/* The version lies in `s`. */
static void share_out(const struct local_call *c, struct shares *s)
{
    bool apart = options_of(c)->node_password[0] != '\0'; /* nodes have a password of their own */
    s->own = mem_alloc(c->argc * sizeof(*s->own));
    s->theirs = mem_alloc((c->argc + 1) * sizeof(*s->theirs));
    s->own[0] = c->argv[0];
    s->own[1] = c->argv[1];
    s->n_own = 2;
    s->theirs[0] = SLICE("SHOAL");
    s->theirs[1] = SLICE("SETTINGS");
    s->theirs[2] = slice_of(s->version, num_print_u64(s->version, worker_of(c)->settings_version));
    s->n_theirs = THEIRS_HEAD;
    for (size_t i = 2; i + 1 < c->argc; i += 2) {
        const struct option *o = options_find(proxy_options_table(), c->argv[i]);
        if (o != NULL) {
            s->own[s->n_own++] = c->argv[i];
            s->own[s->n_own++] = c->argv[i + 1];
        } else if (s->first_foreign.len == 0) {
            s->first_foreign = c->argv[i];
        }
        if (o == NULL ||
            ((o->flags & OPT_SHARED) && !(o->flags & OPT_FIXED) && !(apart && is_password(o)))) {
            s->theirs[s->n_theirs++] = c->argv[i];
            s->theirs[s->n_theirs++] = c->argv[i + 1];
        }
    }
}

/* Whether it can be made true; it is when all agreed. */
struct trying {
    struct worker *worker;
    const struct proxy_options *next;
};

static bool on_change(void *arg, const struct option *o, struct errmsg *err)
{
    const struct trying *t = arg;
    int port = (int)t->next->port;
    struct errmsg why;
    if (!proxy_options_check(t->next, err)) {
        return false;
    }
    if (strcmp(o->name, "maxclients") == 0) {
        int64_t can = daemon_clients_possible(t->next->maxclients, WORKERS_SPARE_FDS);
        errmsg_set(err,
                   "The operating system is not able to handle the specified number of clients, "
                   "try with %lld",
                   (long long)can);
        return can >= t->next->maxclients;
    }
    if (strcmp(o->name, "port") != 0 || t->next->port == t->worker->options->port) {
        return true;
    }
    if (port == 0) {
        errmsg_set(err, "the system chooses a port only at the start");
        return false;
    }
    if (port != workers_port(t->worker->all) && !listening_claim(t->worker, &port, &why)) {
        log_event(LOG_WARNING, "config", "port not taken: %s", why.text);
        errmsg_set(err, "Unable to listen on this port. Check server logs.");
        return false;
    }
    return true;
}

/* False: the error is written. */
static bool try_own(struct local_call *c, const struct shares *s, struct set_run *r)
{
    struct config_context cc = context_for(c, &r->next);
    struct trying t = {.worker = worker_of(c), .next = &r->next};
    struct outbuf out = {0};
    cc.on_change = on_change;
    cc.arg = &t;
    struct resp_writer w = {.out = &out, .proto = c->w->proto};
    config_command(&cc, s->own, s->n_own, &w);
    if (w.errors > 0) {
        outbuf_splice(c->w->out, &out);
    }
    outbuf_fini(&out);
    return w.errors == 0;
}

static enum local_result do_set(struct local_call *c)
{
    struct shares s = {0};
    enum local_result result = LOCAL_LATER;
    if (c->argc % 2 != 0) {
        return refuse(c, ERR_SYNTAX);
    }
    for (size_t i = 2; i < c->argc; i += 2) {
        if (is_nodes_own(c->argv[i])) {
            resp_errorf(c->w,
                        "ERR CONFIG SET failed (possibly related to argument '%.*s') - "
                        "it is set at each node itself",
                        ARG_PRINT(c->argv[i]));
            return LOCAL_DONE;
        }
    }
    struct set_run *r = mem_zalloc(sizeof(*r));
    options_copy(proxy_options_table(), &r->next, worker_of(c)->options);
    share_out(c, &s);
    r->own = s.n_own > 2;
    if (r->own && !try_own(c, &s, r)) {
        run_free(r);
        result = LOCAL_DONE;
    } else if (s.n_theirs == THEIRS_HEAD) {
        r->later = later_new(c);
        apply(r);
    } else {
        result = set_nodes(c, r, &s);
    }
    mem_free(s.own);
    mem_free(s.theirs);
    return result;
}

/* --- RESETSTAT --- */

static void reset_worker(struct worker *w, void *arg, struct str *answer)
{
    (void)arg;
    (void)answer;
    w->counters = (struct counters){0};
    exec_reset_counters(w->exec);
    observe_reset(w->observe);
}

static void reset_done(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct later *l = arg;
    struct local_call c = later_call(l);
    (void)asker;
    (void)answers;
    (void)n;
    if (later_gone(l)) {
        resp_ok(&l->w);
        later_finish(&l);
        return;
    }
    (void)local_fan(&c, l->argv, l->argc, NULL, NULL);
    later_drop(&l);
}

static enum local_result do_resetstat(struct local_call *c)
{
    workers_ask(worker_of(c), reset_worker, later_new(c), reset_done);
    return LOCAL_LATER;
}

/* REWRITE, HELP, and what is no subcommand. The nodes keep files of their own. */
static enum local_result do_own(struct local_call *c)
{
    struct config_context cc = context_for(c, worker_of(c)->options);
    config_command(&cc, c->argv, c->argc, c->w);
    return LOCAL_DONE;
}

/* The file gets the users too, unless they have one of their own. */
static enum local_result do_rewrite(struct local_call *c)
{
    struct proxy_options now;
    struct str text = {0};
    options_copy(proxy_options_table(), &now, worker_of(c)->options);
    acl_print_needed(worker_of(c)->users, now.requirepass, now.aclfile, &text);
    mem_free(now.user);
    now.user = str_steal(&text);
    struct config_context cc = context_for(c, &now);
    size_t errors = c->w->errors;
    config_command(&cc, c->argv, c->argc, c->w);
    if (c->w->errors == errors && now.aclfile[0] == '\0') {
        users_filed(workers_users(worker_of(c)->all));
        users_keep_quietly(worker_of(c));
    }
    options_fini(proxy_options_table(), &now);
    return LOCAL_DONE;
}

void admin_config(struct local_table *t)
{
    local_table_set(t, CMD_CONFIG_GET, do_get, LOCAL_ORDERED);
    local_table_set(t, CMD_CONFIG_SET, do_set, LOCAL_ORDERED);
    local_table_set(t, CMD_CONFIG_RESETSTAT, do_resetstat, LOCAL_ORDERED);
    local_table_set(t, CMD_CONFIG_REWRITE, do_rewrite, LOCAL_ORDERED);
    local_table_set(t, CMD_CONFIG_HELP, do_own, 0);
}
