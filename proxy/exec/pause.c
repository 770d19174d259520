// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT PAUSE: who comes with a command that may not run now is not parsed on until the end. */
#include "proxy/exec/exec_priv.h"
#include "proxy/exec/tx.h"

bool pause_holds(struct exec *x, struct session *s, const struct command *c)
{
    const uint32_t changing = CF_WRITE | CF_MAY_REPLICATE;
    bool may_change =
        (c->flags & changing) != 0 || (c->id == CMD_EXEC && s->multi && tx_may_change(s));
    if (s->inner || (x->pause == EXEC_PAUSE_WRITE && !may_change)) {
        return false;
    }
    session_stop(x, s, STOP_PAUSE);
    list_append(&x->paused, &s->wait);
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
    if (x->pause == EXEC_PAUSE_NOT) {
        return;
    }
    if (x->now_us >= x->pause_until_us) {
        exec_unpause(x);
    } else {
        exec_wake(x, x->pause_until_us);
    }
}
