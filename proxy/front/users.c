// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/users.h"

#include "proxy/control/control.h"
#include "proxy/exec/pubsub.h"
#include "proxy/front/client.h"
#include "proxy/front/options.h"
#include "proxy/front/worker_priv.h"

#include "common/app/acl_command.h"
#include "common/app/acl_log.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <pthread.h>

struct users {
    pthread_mutex_t lock;
    struct acl_users *latest;
    struct acl_users *filed; /* as this proxy's files have them */
    bool unrecorded;         /* at the start: the record is not there or not what is true */
};

/* The record's names, see node_settings.h. */
#define USERS_KEPT  "acl-users"
#define USERS_FILED ".acl-filed"

struct acl_sources users_sources(const struct proxy_options *o)
{
    return (struct acl_sources){.requirepass = o->requirepass,
                                .directives = o->user,
                                .file = o->aclfile,
                                .dir = o->dir,
                                .open_channels = o->acl_pubsub_default == PUBSUB_OPEN};
}

static struct acl_users *recorded(const struct control *control, const char *name)
{
    struct str text = {0};
    struct str errors = {0};
    struct acl_users *set = NULL;
    if (control_setting(control, name, &text)) {
        set = acl_file_parse(str_slice(&text), name, false, &errors);
        if (set == NULL) {
            log_event(LOG_WARNING, "acl", "the record of users can't be read: %s",
                      str_cstr(&errors));
        }
    }
    str_fini(&errors);
    str_fini(&text);
    return set;
}

/* What was recorded in an earlier run goes on. */
static void take_record(struct users *u, const struct control *control)
{
    struct acl_users *kept = recorded(control, USERS_KEPT);
    struct acl_users *then = recorded(control, USERS_FILED);
    if (kept != NULL && then != NULL) {
        struct str old = {0}, now = {0};
        acl_print_all(then, &old);
        acl_print_all(u->filed, &now);
        u->unrecorded = !slice_eq(str_slice(&old), str_slice(&now));
        acl_users_unref(&u->latest);
        u->latest = acl_merge(kept, then, u->filed);
        log_event(LOG_NOTICE, "acl", "users as they were recorded count=%zu%s",
                  acl_users_count(u->latest),
                  u->unrecorded ? " and as files have changed since" : "");
        str_fini(&old);
        str_fini(&now);
    }
    acl_users_unref(&kept);
    acl_users_unref(&then);
}

struct users *users_new(const struct proxy_options *o, const struct control *control,
                        struct errmsg *err)
{
    const struct acl_sources from = users_sources(o);
    struct acl_users *set = acl_start(&from, err);
    if (set == NULL) {
        return NULL;
    }
    struct users *u = mem_zalloc(sizeof(*u));
    (void)pthread_mutex_init(&u->lock, NULL);
    u->latest = set;
    u->filed = acl_users_ref(set);
    u->unrecorded = acl_users_count(set) > 1;
    if (control != NULL) {
        take_record(u, control);
    }
    return u;
}

void users_free(struct users **up)
{
    struct users *u = *up;
    *up = NULL;
    if (u != NULL) {
        acl_users_unref(&u->latest);
        acl_users_unref(&u->filed);
        (void)pthread_mutex_destroy(&u->lock);
        mem_free(u);
    }
}

const struct acl_users *users_begin(struct users *u)
{
    (void)pthread_mutex_lock(&u->lock);
    return u->latest;
}

void users_end(struct users *u, struct acl_users *next)
{
    struct acl_users *old = NULL;
    if (next != NULL) {
        old = u->latest;
        u->latest = next;
    }
    (void)pthread_mutex_unlock(&u->lock);
    acl_users_unref(&old);
}

struct acl_users *users_latest(struct users *u)
{
    (void)users_begin(u);
    struct acl_users *set = acl_users_ref(u->latest);
    users_end(u, NULL);
    return set;
}

/* --- the record --- */

bool users_unrecorded(const struct users *u)
{
    return u->unrecorded;
}

void users_filed(struct users *u)
{
    (void)users_begin(u);
    struct acl_users *old = u->filed;
    u->filed = acl_users_ref(u->latest);
    (void)pthread_mutex_unlock(&u->lock);
    acl_users_unref(&old);
}

struct record_words {
    struct str kept, filed;
    struct slice argv[8];
};

/* The lock is held until the words are on their way, so that the last record is the newest set. */
static void record_begin(struct users *u, struct slice reply, struct record_words *r)
{
    *r = (struct record_words){0};
    acl_print_all(users_begin(u), &r->kept);
    acl_print_all(u->filed, &r->filed);
    const struct slice argv[8] = {
        SLICE("SETTINGS"),   reply,         SLICE("KEEP"),      SLICE(USERS_KEPT),
        str_slice(&r->kept), SLICE("KEEP"), SLICE(USERS_FILED), str_slice(&r->filed)};
    memcpy(r->argv, argv, sizeof(argv));
}

static void record_end(struct users *u, struct record_words *r)
{
    users_end(u, NULL);
    str_fini(&r->kept);
    str_fini(&r->filed);
}

enum local_result users_keep(struct local_call *c, struct slice reply)
{
    struct worker *w = c->worker;
    struct users *u = w->all->users;
    struct record_words r;
    record_begin(u, reply, &r);
    enum local_result result = worker_ask_control(c, r.argv, ARRAY_LEN(r.argv));
    record_end(u, &r);
    return result;
}

void users_keep_quietly(struct worker *w)
{
    struct users *u = w->all->users;
    struct record_words r;
    if (w->all->control == NULL) {
        return;
    }
    record_begin(u, SLICE("+OK\r\n"), &r);
    control_admin(w->all->control, w->mailbox, 0, 2, r.argv, ARRAY_LEN(r.argv));
    record_end(u, &r);
}

/* --- clients --- */

static void refresh(struct client *c)
{
    struct session *s = &c->session;
    bool known = s->authenticated || !auth_needed(c->worker->users);
    s->trusted = known && acl_user_unrestricted(s->user);
}

void client_reset_user(struct client *c)
{
    c->session.user = acl_users_default(c->worker->users);
    c->session.authenticated = !auth_needed(c->worker->users);
    refresh(c);
}

void client_set_user(struct client *c, const struct acl_user *u)
{
    c->session.user = u;
    c->session.authenticated = true;
    refresh(c);
}

static bool may_listen(const void *arg, enum topic_kind kind, const char *name, uint64_t len)
{
    return acl_channel_ok(arg, slice_of(name, len), kind == TOPIC_PATTERN);
}

void worker_take_users(struct worker *w, bool loaded, uint64_t asker)
{
    struct acl_users *old = w->users;
    w->users = users_latest(w->all->users);
    LIST_FOREACH_SAFE(it, &w->clients) {
        struct client *c = container_of(it, struct client, link);
        struct slice name = acl_user_name(c->session.user);
        const struct acl_user *u = acl_users_find(w->users, name);
        bool stays = u != NULL && (!loaded || slice_eq(name, SLICE(ACL_DEFAULT)));
        if (stays && u != c->session.user) {
            exec_session_user_changed(&c->session);
        }
        /* What it listens to already it may not be allowed to any more. */
        bool listens = !stays || u == c->session.user || pubsub_all(&c->session, may_listen, u);
        c->session.user = stays ? u : acl_users_default(w->users);
        refresh(c);
        if (!stays || !listens) {
            client_kill(c, c->session.id == asker ? CLIENT_KILL_AFTER_REPLY : CLIENT_KILL_NOW);
        }
    }
    acl_users_unref(&old);
    worker_apply_options(w);
}

/* --- the log, which is the first worker's --- */

static void keep(struct worker *w, void *arg, struct str *answer)
{
    (void)answer;
    if (w->index == 0) {
        acl_log_push(w->acl_log, arg);
    }
}

static void kept(struct worker *asker, void *arg, struct str *answers, int n)
{
    (void)asker;
    (void)arg;
    (void)answers;
    (void)n;
}

void worker_log_refusal(struct worker *w, struct client *c, enum acl_answer why,
                        const char *context, struct slice object, struct slice user)
{
    struct str line = {0};
    if (why == ACL_NOT_BY || why == ACL_NOT_GET) {
        return;
    }
    if (c != NULL) {
        client_describe(c, &line);
        line.len--; /* its '\n' */
    }
    struct acl_log_entry *e =
        acl_log_entry_new(loop_wall_ms(w->loop), why, context, object, user, str_slice(&line));
    str_fini(&line);
    if (w->index == 0) {
        acl_log_push(w->acl_log, e);
    } else {
        workers_ask(w, keep, e, kept);
    }
}
