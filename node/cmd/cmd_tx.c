// SPDX-License-Identifier: BSD-3-Clause
/* MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/session_priv.h"

#include "common/resp/errors.h"

void tx_abort(struct call *c, const char *reason)
{
    session_discard(c->session, c->ks);
    resp_errorf(&c->w, "EXECABORT Transaction discarded because of: %s", reason);
}

void cmd_multi(struct call *c)
{
    if (c->session->in_multi) {
        resp_error(&c->w, "ERR MULTI calls can not be nested");
        return;
    }
    c->session->in_multi = true;
    resp_ok(&c->w);
}

void cmd_discard(struct call *c)
{
    if (!c->session->in_multi) {
        resp_error(&c->w, "ERR DISCARD without MULTI");
        return;
    }
    session_discard(c->session, c->ks);
    resp_ok(&c->w);
}

void cmd_watch(struct call *c)
{
    struct session *s = c->session;
    if (s->in_multi) {
        resp_error(&c->w, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    /* Once dirty, more keys make no difference. */
    for (size_t i = 1; i < c->argc && !s->watcher.dirty; i++) {
        struct probe p = call_probe(c, i);
        watch_key(&s->watcher, &c->db, &p, c->argv[i]);
    }
    resp_ok(&c->w);
}

void cmd_unwatch(struct call *c)
{
    watch_clear(&c->session->watcher, c->ks);
    resp_ok(&c->w);
}

/* The rules may have changed since it was queued; what came by a proxy was checked there, and only
 * a script's own commands are left to be. */
static void run_queued(struct call *one, const struct queued *q)
{
    struct session *s = one->session;
    const struct acl_user *user = s->user;
    enum acl_answer why =
        q->as != NULL ? ACL_YES : call_check_user(one, one->cmd, one->argv, one->argc, "multi");
    if (UNLIKELY(why != ACL_YES)) {
        resp_error(&one->w, acl_exec_error(why));
        return;
    }
    if (UNLIKELY(!record_has_room(one))) {
        resp_error(&one->w, ERR_ENTRY);
        return;
    }
    if (UNLIKELY(q->as != NULL)) {
        s->user = q->as;
        call_handler(one);
        s->user = user;
    } else {
        call_handler(one);
    }
}

static void run_queue(struct call *c)
{
    struct session *s = c->session;
    resp_array(&c->w, s->queued);
    s->in_exec = true;
    for (size_t i = 0; i < s->queued; i++) {
        struct call one = *c;
        one.cmd = s->queue[i].cmd;
        one.argv = s->queue[i].argv;
        one.argc = s->queue[i].argc;
        one.changes = 0;
        one.error_counted = false;
        one.probe_arg = 0;
        run_queued(&one, &s->queue[i]);
        c->changes += one.changes;
    }
    s->in_exec = false;
}

void cmd_exec(struct call *c)
{
    struct session *s = c->session;
    if (!s->in_multi) {
        resp_error(&c->w, "ERR EXEC without MULTI");
        return;
    }
    if (s->tx_failed) {
        resp_error(&c->w, ERR_EXECABORT);
    } else if (watch_is_dirty(&s->watcher, c->ks, c->now_ms)) {
        resp_nil_array(&c->w);
    } else {
        /* What the transaction changes itself is not what it watches for. */
        watch_clear(&s->watcher, c->ks);
        run_queue(c);
    }
    session_discard(s, c->ks);
}
