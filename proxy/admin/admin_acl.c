// SPDX-License-Identifier: BSD-3-Clause
/* ACL: the users of this proxy's clients. */
#include "proxy/admin/admin_priv.h"
#include "proxy/front/users.h"

#include "common/app/acl_command.h"
#include "common/app/acl_log.h"
#include "common/base/log.h"
#include "common/base/mem.h"

static enum local_result do_read(struct local_call *c)
{
    struct worker *w = worker_of(c);
    const struct acl_user *self =
        c->session->user != NULL ? c->session->user : acl_users_default(w->users);
    struct key_list keys;
    key_list_init(&keys);
    bool known = acl_command_read(w->users, self, c->command, c->argv, c->argc, &keys, c->w);
    key_list_fini(&keys);
    INVARIANT(known);
    return LOCAL_DONE;
}

/* --- changes --- */

/* Answers when the coordinator has recorded it. Takes `l`. */
static void keep(struct later *l)
{
    if (workers_control(l->worker->all) == NULL) {
        later_finish(&l);
        return;
    }
    struct local_call c = later_call(l);
    struct str reply = {0};
    outbuf_to_str(&l->out, &reply);
    c.w = &l->w;
    (void)users_keep(&c, str_slice(&reply));
    str_fini(&reply);
    later_drop(&l);
}

struct change {
    struct later *later;
    bool loaded;
    uint64_t asker;
};

static void take(struct worker *w, void *arg, struct str *answer)
{
    const struct change *x = arg;
    (void)answer;
    worker_take_users(w, x->loaded, x->asker);
}

static void taken(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct change *x = arg;
    (void)asker;
    (void)answers;
    (void)n;
    keep(x->later);
    mem_free(x);
}

/* Answered when every worker goes by the new set, and it will outlive this process. */
static enum local_result do_change(struct local_call *c)
{
    struct worker *w = worker_of(c);
    const struct acl_sources from = users_sources(w->options);
    struct users *users = workers_users(w->all);
    struct later *later = later_new(c);
    struct acl_users *next =
        acl_command_change(users_begin(users), &from, c->command, c->argv, c->argc, &later->w);
    users_end(users, next);
    bool filed = c->command->id == CMD_ACL_SAVE || c->command->id == CMD_ACL_LOAD;
    if (filed && later->w.errors == 0) {
        users_filed(users);
    }
    if (next == NULL) {
        if (filed && later->w.errors == 0) {
            keep(later);
        } else {
            later_finish(&later);
        }
        return LOCAL_LATER;
    }
    log_event(LOG_NOTICE, "acl", "users changed by=\"%s\" client=%llu", c->command->full_name,
              (unsigned long long)c->session->id);
    struct change *x = mem_zalloc(sizeof(*x));
    x->later = later;
    x->loaded = c->command->id == CMD_ACL_LOAD;
    x->asker = c->session->id;
    workers_ask(w, take, x, taken);
    return LOCAL_LATER;
}

/* --- LOG --- */

static void run_log(struct worker *first, const struct later *l, struct resp_writer *w)
{
    acl_log_command(first->acl_log, l->argv, l->argc, loop_wall_ms(first->loop), w);
}

static enum local_result do_log(struct local_call *c)
{
    if (c->argc > 3) {
        resp_errorf(c->w,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
                    ARG_PRINT(c->argv[1]));
        return LOCAL_DONE;
    }
    return ask_first_worker(c, run_log);
}

void admin_acl(struct local_table *t)
{
    static const enum command_id reads[] = {CMD_ACL_CAT,     CMD_ACL_DRYRUN, CMD_ACL_GENPASS,
                                            CMD_ACL_GETUSER, CMD_ACL_HELP,   CMD_ACL_LIST,
                                            CMD_ACL_USERS,   CMD_ACL_WHOAMI};
    static const enum command_id changes[] = {CMD_ACL_DELUSER, CMD_ACL_LOAD, CMD_ACL_SAVE,
                                              CMD_ACL_SETUSER};
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        local_table_set(t, reads[i], do_read, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        local_table_set(t, changes[i], do_change, LOCAL_ORDERED);
    }
    local_table_set(t, CMD_ACL_LOG, do_log, LOCAL_ORDERED);
}
