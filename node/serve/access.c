// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/access.h"

#include "node/serve/client.h"
#include "node/serve/server.h"

#include "common/app/acl_command.h"
#include "common/app/acl_log.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/resp/errors.h"

#define AS_KEPT 16

struct access {
    struct acl_users *users;
    struct acl_log *log;
    struct str error;
    /* Rules that came with SHOAL AS, read; the oldest goes first. */
    struct {
        struct str rules;
        struct acl_user *user;
    } as[AS_KEPT];
    unsigned as_next;
    struct str given; /* the cluster's users, as they came */
};

static struct acl_sources sources(const struct server *s)
{
    const struct settings *o = s->settings;
    return (struct acl_sources){.requirepass = o->requirepass,
                                .directives = o->user,
                                .file = o->aclfile,
                                .dir = o->dir,
                                .open_channels = o->acl_pubsub_default == PUBSUB_OPEN};
}

const struct acl_users *access_users(const struct server *s)
{
    return s->access->users;
}

/* --- clients --- */

static void refresh(struct client *c)
{
    const struct acl_users *users = c->server->access->users;
    bool known = (c->flags & CLIENT_AUTHENTICATED) != 0 || !auth_needed(users);
    c->session.user = acl_user_unrestricted(c->user) ? NULL : c->user;
    c->parser.unauthenticated = !known;
    c->flags &= ~(uint32_t)CLIENT_FREE;
    c->flags |= known && c->session.user == NULL ? CLIENT_FREE : 0;
}

void access_reset(struct client *c)
{
    const struct acl_users *users = c->server->access->users;
    c->user = acl_users_default(users);
    c->flags &= ~(uint32_t)CLIENT_AUTHENTICATED;
    c->flags |= auth_needed(users) ? 0 : CLIENT_AUTHENTICATED;
    refresh(c);
}

/* --- refusals --- */

static void log_refusal(struct client *c, enum acl_answer why, const char *context,
                        struct slice object, struct slice user)
{
    struct server *s = c->server;
    struct str line = {0};
    if (why == ACL_NOT_BY || why == ACL_NOT_GET) {
        return;
    }
    client_describe(c, &line);
    if (line.len > 0) {
        line.len--; /* its '\n' */
    }
    acl_log_push(s->access->log, acl_log_entry_new(loop_wall_ms(s->loop), why, context, object,
                                                   user, str_slice(&line)));
    str_fini(&line);
}

/* For scripts and EXEC: see call.h. */
static void denied(struct call *k, const struct command *cmd, const struct slice *argv,
                   enum acl_answer why, size_t at, const char *context)
{
    struct server *s = k->server;
    log_refusal(s->current, why, context, at == 0 ? slice_str(cmd->full_name) : argv[at],
                acl_user_name(k->session->user));
}

const char *access_refusal(struct client *c, struct call *k)
{
    struct server *s = c->server;
    struct access *a = s->access;
    size_t at;
    bool known = (c->flags & CLIENT_AUTHENTICATED) != 0 || !auth_needed(a->users);
    if (!known && (k->cmd->flags & CF_NO_AUTH) == 0) {
        return ERR_NOAUTH;
    }
    enum acl_answer why = acl_check(c->user, k->cmd, k->argv, k->argc, s->keys, &at);
    if (why == ACL_YES) {
        return NULL;
    }
    log_refusal(c, why, c->session.in_multi ? "multi" : "toplevel",
                at == 0 ? slice_str(k->cmd->full_name) : k->argv[at], acl_user_name(c->user));
    str_clear(&a->error);
    acl_error(why, k->cmd, &a->error);
    return str_cstr(&a->error);
}

bool access_login(struct client *c, struct call *k, struct slice user, struct slice pass)
{
    struct server *s = c->server;
    const struct acl_user *u = auth_check(s->access->users, user, pass, &k->w);
    if (u == NULL) {
        s->stats.auth_failures++;
        log_refusal(c, ACL_NOT_AUTH, c->session.in_exec ? "multi" : "toplevel", k->argv[0], user);
        return false;
    }
    c->user = u;
    c->flags |= CLIENT_AUTHENTICATED;
    refresh(c);
    return true;
}

/* --- other users --- */

static void drop(struct client *c)
{
    if (c == c->server->current) {
        client_close_after_reply(c);
    } else {
        client_kill(c);
    }
}

struct hearing {
    const struct acl_user *user;
    bool pattern;
    bool refused;
};

static void check_subscription(void *arg, struct subscriber *s, struct slice name)
{
    struct hearing *h = arg;
    (void)s;
    h->refused |= !acl_channel_ok(h->user, name, h->pattern);
}

/* It listens to something that its user may not hear any more. */
static bool hears_too_much(const struct client *c, const struct acl_user *u)
{
    struct hearing h = {.user = u};
    for (int what = 0; what < SUBJECTS; what++) {
        h.pattern = what == SUBJECT_PATTERN;
        channels_of(&c->subscriber, (enum subject)what, check_subscription, &h);
    }
    return h.refused;
}

void access_install(struct server *s, struct acl_users *users, bool loaded)
{
    struct acl_users *old = s->access->users;
    s->access->users = users;
    LIST_FOREACH_SAFE(it, &s->clients) {
        struct client *c = container_of(it, struct client, link);
        struct slice name = acl_user_name(c->user);
        const struct acl_user *u = acl_users_find(users, name);
        bool stays = u != NULL && (!loaded || slice_eq(name, SLICE(ACL_DEFAULT))) &&
                     (u == c->user || !hears_too_much(c, u));
        c->user = stays ? u : acl_users_default(users);
        refresh(c);
        if (!stays) {
            drop(c);
        }
    }
    acl_users_unref(&old);
}

static void replace(struct acl_users **set, struct acl_users *next)
{
    acl_users_unref(set);
    *set = next;
}

void access_take(struct server *s, struct slice text)
{
    struct access *a = s->access;
    struct str errors = {0};
    if (slice_eq(str_slice(&a->given), text)) {
        return;
    }
    struct acl_users *given = acl_file_parse(text, "cluster", false, &errors);
    if (given == NULL) {
        log_event(LOG_WARNING, "acl", "the cluster's users can't be read: %s", str_cstr(&errors));
        str_fini(&errors);
        return;
    }
    struct acl_users *before = acl_file_parse(str_slice(&a->given), "cluster", false, &errors);
    INVARIANT(before != NULL); /* it was read before */
    struct acl_users *next = acl_users_ref(a->users);
    for (size_t i = 0; i < acl_users_count(before); i++) {
        struct slice name = acl_user_name(acl_users_at(before, i));
        if (acl_users_find(given, name) == NULL && acl_users_find(next, name) != NULL) {
            replace(&next, acl_users_without(next, name));
        }
    }
    for (size_t i = 0; i < acl_users_count(given); i++) {
        const struct acl_user *u = acl_users_at(given, i);
        if (!slice_eq(acl_user_name(u), SLICE(ACL_DEFAULT))) {
            replace(&next, acl_users_with(next, acl_user_ref(u)));
        }
    }
    str_clear(&a->given);
    str_append_slice(&a->given, text);
    acl_users_unref(&given);
    acl_users_unref(&before);
    access_install(s, next, false);
}

void access_requirepass(struct server *s)
{
    access_install(s, acl_with_requirepass(s->access->users, s->settings->requirepass), false);
}

void access_fill_directives(struct server *s)
{
    struct str text = {0};
    acl_print_needed(s->access->users, s->settings->requirepass, s->settings->aclfile, &text);
    mem_free(s->settings->user);
    s->settings->user = str_steal(&text);
}

void access_settings_changed(struct server *s)
{
    acl_log_set_len_max(s->access->log, s->settings->acllog_max_len);
}

/* --- the proxy's word for a user --- */

/* As acl_user_print prints them: words apart by single blanks, the name first. */
static struct slice *split_rules(struct slice rules, size_t *n)
{
    size_t most = 1;
    for (size_t i = 0; i < rules.len; i++) {
        most += rules.ptr[i] == ' ';
    }
    struct slice *words = mem_alloc(most * sizeof(*words));
    size_t from = 0;
    for (*n = 0; *n < most; (*n)++) {
        const char *blank =
            from == rules.len ? NULL : memchr(rules.ptr + from, ' ', rules.len - from);
        size_t end = blank == NULL ? rules.len : (size_t)(blank - rules.ptr);
        words[*n] = slice_of(rules.ptr + from, end - from);
        from = end + 1;
    }
    return words;
}

static struct acl_user *read_rules(struct slice rules)
{
    size_t n;
    struct str error = {0};
    struct slice *words = split_rules(rules, &n);
    struct acl_user *u = acl_user_new(words[0], false);
    if (!acl_user_apply(u, words + 1, n - 1, false, &error)) {
        acl_user_free(&u);
    }
    mem_free(words);
    str_fini(&error);
    return u;
}

const struct acl_user *access_as(struct server *s, struct slice rules)
{
    struct access *a = s->access;
    for (size_t i = 0; i < AS_KEPT; i++) {
        if (a->as[i].user != NULL && slice_eq(str_slice(&a->as[i].rules), rules)) {
            return a->as[i].user;
        }
    }
    struct acl_user *u = read_rules(rules);
    if (u == NULL) {
        return NULL;
    }
    unsigned at = a->as_next++ % AS_KEPT;
    acl_user_free(&a->as[at].user);
    str_clear(&a->as[at].rules);
    str_append_slice(&a->as[at].rules, rules);
    a->as[at].user = u;
    return u;
}

/* --- ACL --- */

void access_command(struct call *k)
{
    struct server *s = k->server;
    struct client *c = s->current;
    if (k->cmd->id == CMD_ACL_LOG) {
        if (k->argc > 3) {
            resp_errorf(&k->w,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL "
                        "HELP.",
                        ARG_PRINT(k->argv[1]));
            return;
        }
        acl_log_command(s->access->log, k->argv, k->argc, loop_wall_ms(s->loop), &k->w);
        return;
    }
    if (acl_command_read(s->access->users, c->user, k->cmd, k->argv, k->argc, s->keys, &k->w)) {
        return;
    }
    const struct acl_sources from = sources(s);
    struct acl_users *next =
        acl_command_change(s->access->users, &from, k->cmd, k->argv, k->argc, &k->w);
    if (next != NULL) {
        log_event(LOG_NOTICE, "acl", "users changed by=\"%s\" client=%llu", k->cmd->full_name,
                  (unsigned long long)c->id);
        access_install(s, next, k->cmd->id == CMD_ACL_LOAD);
    }
}

/* --- life --- */

bool access_init(struct server *s, struct errmsg *err)
{
    struct access *a = mem_zalloc(sizeof(*a));
    const struct acl_sources from = sources(s);
    s->access = a;
    a->log = acl_log_new();
    a->users = acl_start(&from, err);
    s->table.denied = denied;
    return a->users != NULL;
}

void access_fini(struct server *s)
{
    struct access *a = s->access;
    s->access = NULL;
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < AS_KEPT; i++) {
        acl_user_free(&a->as[i].user);
        str_fini(&a->as[i].rules);
    }
    acl_users_unref(&a->users);
    acl_log_free(&a->log);
    str_fini(&a->error);
    str_fini(&a->given);
    mem_free(a);
}
