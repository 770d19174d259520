// SPDX-License-Identifier: BSD-3-Clause
/* What workers say to each other and to the coordinator, by mail. */
#include "proxy/control/control.h"
#include "proxy/front/client.h"
#include "proxy/front/listening.h"
#include "proxy/front/options.h"
#include "proxy/front/users.h"
#include "proxy/front/worker_priv.h"

#include "common/app/acl_command.h"
#include "common/base/mem.h"

/* --- one question to all workers --- */

struct ask {
    struct worker *asker;
    worker_visit_fn visit;
    workers_done_fn done;
    void *arg;
    struct str *answers;
    int left;
};

/* Goes to a worker (MAIL_ASK) and comes back with its answer (MAIL_ASKED). */
struct ask_mail {
    struct mail mail;
    struct ask *ask;
    int index;
    struct str answer;
};

static void ask_end(struct ask *ask)
{
    int n = ask->asker->all->n;
    ask->done(ask->asker, ask->arg, ask->answers, n);
    for (int i = 0; i < n; i++) {
        str_fini(&ask->answers[i]);
    }
    mem_free(ask->answers);
    mem_free(ask);
}

void workers_ask(struct worker *asker, worker_visit_fn visit, void *arg, workers_done_fn done)
{
    struct workers *a = asker->all;
    struct ask *ask = mem_zalloc(sizeof(*ask));
    *ask = (struct ask){.asker = asker, .visit = visit, .done = done, .arg = arg, .left = a->n};
    ask->answers = mem_zalloc((size_t)a->n * sizeof(*ask->answers));
    for (int i = 0; i < a->n; i++) {
        if (a->all[i] != asker) {
            struct ask_mail *m = mem_zalloc(sizeof(*m));
            m->mail.kind = MAIL_ASK;
            m->ask = ask;
            m->index = i;
            mailbox_send(a->all[i]->mailbox, &m->mail);
        }
    }
    visit(asker, arg, &ask->answers[asker->index]);
    if (--ask->left == 0) {
        ask_end(ask);
    }
}

static void asked(struct worker *w, struct ask_mail *m)
{
    m->ask->visit(w, m->ask->arg, &m->answer);
    m->mail.kind = MAIL_ASKED;
    mailbox_send(m->ask->asker->mailbox, &m->mail);
}

static void answered(struct ask_mail *m)
{
    struct ask *ask = m->ask;
    ask->answers[m->index] = m->answer;
    mem_free(m);
    if (--ask->left == 0) {
        ask_end(ask);
    }
}

/* --- the coordinator --- */

enum local_result worker_ask_control(struct local_call *c, const struct slice *argv, size_t argc)
{
    struct worker *w = c->worker;
    struct control_wait *wait;
    if (w->all->control == NULL) {
        resp_error(c->w, "ERR this proxy has no coordinator");
        return LOCAL_DONE;
    }
    wait = mem_zalloc(sizeof(*wait));
    wait->id = ++w->impl->ask_last;
    wait->request = c->request;
    list_append(&w->impl->control_waits, &wait->link);
    control_admin(w->all->control, w->mailbox, wait->id, c->w->proto, argv, argc);
    return LOCAL_LATER;
}

static void control_answered(struct worker *w, struct control_answer_mail *m)
{
    LIST_FOREACH_SAFE(it, &w->impl->control_waits) {
        struct control_wait *wait = container_of(it, struct control_wait, link);
        if (wait->id == m->request_id) {
            list_remove(&wait->link);
            local_finish_slice(w->exec, wait->request, str_slice(&m->reply));
            mem_free(wait);
            break;
        }
    }
    str_fini(&m->reply);
    mem_free(m);
}

void worker_drop_waits(struct worker *w)
{
    LIST_FOREACH_SAFE(it, &w->impl->control_waits) {
        struct control_wait *wait = container_of(it, struct control_wait, link);
        list_remove(&wait->link);
        local_finish_slice(w->exec, wait->request, SLICE("-ERR shutting down\r\n"));
        mem_free(wait);
    }
}

/* --- options --- */

struct options_mail {
    struct mail mail;
    struct proxy_options *options;
};

static void take_options(struct worker *w, struct proxy_options *next)
{
    options_fini(proxy_options_table(), w->options);
    mem_free(w->options);
    w->options = next;
    listening_move(w);
    worker_take_users(w, false, 0); /* requirepass; applies the options too */
}

static struct proxy_options *copy_of(const struct proxy_options *o)
{
    struct proxy_options *copy = mem_alloc(sizeof(*copy));
    options_copy(proxy_options_table(), copy, o);
    return copy;
}

void workers_options_mail_free(struct workers_options_mail *m)
{
    options_fini(proxy_options_table(), m->options);
    mem_free(m->options);
    mem_free(m);
}

void control_settings_of(const struct proxy_options *o, struct control_settings *s)
{
    int nodes = (int)o->local_nodes;
    *s = (struct control_settings){
        .dir = o->dir,
        .host = o->control_bind,
        .port = proxy_options_control_port(o),
        .shards = (int)o->shards,
        .replication_factor = (int)o->replication_factor,
        .min_nodes = (int)o->min_nodes,
        .assignment_delay_ms = o->assignment_delay_ms,
        .heartbeat_interval_ms = o->heartbeat_interval_ms,
        .unhealthy_missed = (int)o->unhealthy_missed,
        .dead_missed = (int)o->dead_missed,
        .rebalance_on_join = o->rebalance_on_join,
        .rebalance_concurrency = (int)o->rebalance_concurrency,
        .rebalance_bandwidth = (uint64_t)o->rebalance_bandwidth,
        .replace_delay_ms = o->replica_replace_delay_ms,
        .sync = o->replication_mode == REPLICATE_SYNC,
        .strong = o->consistency == CONSISTENCY_STRONG,
        .min_in_sync = (int)o->min_in_sync,
        .lease_ms = o->lease_ms,
        .password = proxy_options_node_password(o),
    };
    if (nodes >
        0) { /* all of them come: nothing to wait for beyond, and no more copies than nodes */
        s->replication_factor = MIN(s->replication_factor, nodes);
        s->min_nodes = s->min_nodes == 0 ? nodes : s->min_nodes;
        s->assignment_delay_ms = 0;
    }
}

void workers_set_options(struct worker *from, const struct proxy_options *options)
{
    struct workers *a = from->all;
    if (strcmp(from->options->requirepass, options->requirepass) != 0) {
        users_end(a->users, acl_with_requirepass(users_begin(a->users), options->requirepass));
    }
    for (int i = 0; i < a->n; i++) {
        if (a->all[i] != from) {
            struct options_mail *m = mem_zalloc(sizeof(*m));
            m->mail.kind = MAIL_OPTIONS;
            m->options = copy_of(options);
            mailbox_send(a->all[i]->mailbox, &m->mail);
        }
    }
    take_options(from, copy_of(options));
    if (a->watcher != NULL) {
        struct workers_options_mail *m = mem_zalloc(sizeof(*m));
        m->mail.kind = WORKERS_OPTIONS;
        m->options = copy_of(options);
        mailbox_send(a->watcher, &m->mail);
    }
    if (a->control != NULL) {
        struct control_settings s;
        control_settings_of(from->options, &s);
        control_set(a->control, &s);
    }
}

/* --- receiving --- */

void worker_mail(void *arg, struct mail *m)
{
    struct worker *w = arg;
    exec_set_now(w->exec, loop_now_us(w->loop));
    switch (m->kind) {
    case MAIL_ASK:
        asked(w, container_of(m, struct ask_mail, mail));
        break;
    case MAIL_ASKED:
        answered(container_of(m, struct ask_mail, mail));
        break;
    case MAIL_OPTIONS: {
        struct options_mail *o = container_of(m, struct options_mail, mail);
        take_options(w, o->options);
        mem_free(o);
        break;
    }
    case MAIL_STOP:
        mem_free(m);
        worker_stop_soon(w);
        break;
    case CONTROL_MAP: {
        struct control_map_mail *map = container_of(m, struct control_map_mail, mail);
        exec_set_map(w->exec, map->map);
        mem_free(map);
        break;
    }
    case CONTROL_LOADS: {
        struct control_loads_mail *loads = container_of(m, struct control_loads_mail, mail);
        for (size_t i = 0; i < loads->count; i++) {
            exec_set_load(w->exec, loads->loads[i].id, loads->loads[i].percent,
                          loads->loads[i].short_of_memory);
        }
        mem_free(loads);
        break;
    }
    case CONTROL_SETTINGS: {
        struct control_settings_mail *s = container_of(m, struct control_settings_mail, mail);
        w->settings_version = s->version;
        mem_free(s);
        break;
    }
    case CONTROL_ANSWER:
        control_answered(w, container_of(m, struct control_answer_mail, mail));
        break;
    default:
        INVARIANT(!"mail of a known kind");
    }
}
