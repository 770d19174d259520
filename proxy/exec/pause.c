// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT PAUSE: who comes with a command that may not run now is not parsed on until the end.
 *
 * While writes pause, a script waits unless it says of itself that it does not write. What a
 * function says only nodes know: one is asked, while the client waits as if it were paused. */
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/script.h"
#include "proxy/exec/tx.h"

#include "common/resp/value.h"

/* A session of its own that asks for the functions there are. */
struct flag_ask {
    struct list link; /* exec's flag_asks */
    struct exec *exec;
    struct session inner;
    struct outbuf out;
    struct session *outer; /* who waits; NULL: it has gone */
    struct str function;
    bool over; /* answered; freed at the next tick */
};

/* --- what a function says of itself --- */

static const struct resp_value *member(const struct resp_value *map, const char *name)
{
    for (size_t i = 0; map->type == RESP_ARRAY && i + 1 < map->count; i += 2) {
        if (slice_eq(map->items[i].text, slice_str(name))) {
            return &map->items[i + 1];
        }
    }
    return NULL;
}

static bool has_text(const struct resp_value *array, struct slice text)
{
    for (size_t i = 0; array != NULL && i < array->count; i++) {
        if (slice_eq(array->items[i].text, text)) {
            return true;
        }
    }
    return false;
}

/* In the reply to FUNCTION LIST. */
static bool says_no_writes(struct slice reply, struct slice function)
{
    bool found = false;
    struct resp_value *libraries = resp_value_parse(reply);
    for (size_t i = 0; libraries != NULL && i < libraries->count; i++) {
        const struct resp_value *functions = member(&libraries->items[i], "functions");
        for (size_t j = 0; functions != NULL && j < functions->count; j++) {
            const struct resp_value *f = &functions->items[j];
            const struct resp_value *name = member(f, "name");
            if (name != NULL && slice_eq(name->text, function)) {
                found = has_text(member(f, "flags"), SLICE("no-writes"));
            }
        }
    }
    resp_value_free(&libraries);
    return found;
}

static void let_go_on(struct exec *x, struct session *s)
{
    s->calm = true;
    if (s->stop == STOP_PAUSE) {
        list_remove(&s->wait);
        s->stop = STOP_NOT;
        session_go_on(x, s);
    }
}

static void ask_for_flags(struct exec *x, struct flag_ask *a)
{
    static const struct slice words[2] = {SLICE("FUNCTION"), SLICE("LIST")};
    const struct exec_input in = {.argv = words, .argc = 2};
    (void)exec_command(x, &a->inner, &in); /* taken, or asked again when it may go on */
}

static void flags_moved(struct exec *x, struct session *inner)
{
    struct flag_ask *a = container_of(inner, struct flag_ask, inner);
    if (a->over || inner->pending > 0) {
        return;
    }
    if (a->out.bytes == 0) {
        ask_for_flags(x, a);
        return;
    }
    struct str reply = {0};
    struct iovec iov[16];
    while (a->out.bytes > 0) {
        int n = outbuf_iovec(&a->out, iov, (int)ARRAY_LEN(iov));
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            str_append(&reply, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        outbuf_consume(&a->out, taken);
    }
    a->over = true;
    exec_wake(x, x->now_us);
    if (a->outer != NULL && says_no_writes(str_slice(&reply), str_slice(&a->function))) {
        let_go_on(x, a->outer);
    }
    str_fini(&reply);
}

static void ask_about(struct exec *x, struct session *s, struct slice function)
{
    struct flag_ask *a = mem_zalloc(sizeof(*a));
    a->exec = x;
    session_init(&a->inner, 0, &a->out);
    a->inner.inner = true;
    a->inner.moved = flags_moved;
    a->inner.authenticated = true;
    a->inner.trusted = true;
    a->outer = s;
    str_append_slice(&a->function, function);
    list_append(&x->flag_asks, &a->link);
    ask_for_flags(x, a);
}

void pause_forget(struct exec *x, const struct session *s)
{
    LIST_FOREACH(it, &x->flag_asks) {
        struct flag_ask *a = container_of(it, struct flag_ask, link);
        a->outer = a->outer == s ? NULL : a->outer;
    }
}

static void free_asks(struct exec *x, bool all)
{
    LIST_FOREACH_SAFE(it, &x->flag_asks) {
        struct flag_ask *a = container_of(it, struct flag_ask, link);
        if (a->over || all) {
            exec_session_gone(x, &a->inner);
            session_fini(&a->inner);
            outbuf_fini(&a->out);
            str_fini(&a->function);
            list_remove(&a->link);
            mem_free(a);
        }
    }
}

void pause_fini(struct exec *x)
{
    free_asks(x, true);
}

/* --- which command waits --- */

bool command_may_change(const struct exec *x, const struct command *c, const struct slice *argv,
                        size_t argc)
{
    switch ((int)c->id) {
    case CMD_EVAL:
        return argc < 2 || !script_says_no_writes(argv[1]);
    case CMD_EVALSHA:
        return argc < 2 || !script_known_not_to_write(x, argv[1]);
    default:
        return (c->flags & (CF_WRITE | CF_MAY_REPLICATE)) != 0;
    }
}

bool pause_holds(struct exec *x, struct session *s, const struct command *c,
                 const struct exec_input *in)
{
    bool calm = s->calm;
    s->calm = false;
    if (s->inner) {
        return false;
    }
    if (x->pause == EXEC_PAUSE_WRITE) {
        bool changes = c->id == CMD_EXEC ? s->multi && tx_may_change(s)
                                         : command_may_change(x, c, in->argv, in->argc);
        if (!changes || (c->id == CMD_FCALL && calm)) {
            return false;
        }
    }
    session_stop(x, s, STOP_PAUSE);
    list_append(&x->paused, &s->wait);
    if (x->pause == EXEC_PAUSE_WRITE && c->id == CMD_FCALL && !s->multi) {
        ask_about(x, s, in->argv[1]);
    }
    return true;
}

void exec_pause(struct exec *x, enum exec_pause kind, int64_t until_us)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    x->pause = MAX(x->pause, (uint8_t)kind);
    x->pause_until_us = MAX(x->pause_until_us, until_us);
    exec_wake(x, x->pause_until_us);
}

void exec_unpause(struct exec *x)
{
    CHECK_OBJ(x, EXEC_MAGIC);
    x->pause = EXEC_PAUSE_NOT;
    x->pause_until_us = 0;
    while (!list_empty(&x->paused)) {
        struct session *s = container_of(x->paused.next, struct session, wait);
        list_remove(&s->wait);
        s->stop = STOP_NOT;
        session_go_on(x, s);
    }
}

void pause_tick(struct exec *x)
{
    free_asks(x, false);
    if (x->pause == EXEC_PAUSE_NOT) {
        return;
    }
    if (x->now_us >= x->pause_until_us) {
        exec_unpause(x);
    } else {
        exec_wake(x, x->pause_until_us);
    }
}
