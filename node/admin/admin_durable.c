// SPDX-License-Identifier: BSD-3-Clause
/* SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF. */
#include "node/admin/admin_priv.h"
#include "node/serve/durable.h"

/* `done`: what is answered when it went, or has begun; `busy`: what of. */
static void answer(struct call *k, enum durable_answer a, const char *done, const char *busy)
{
    switch (a) {
    case DURABLE_OK:
        resp_simple(&k->w, done);
        break;
    case DURABLE_BUSY:
        resp_errorf(&k->w, "ERR Background %s already in progress", busy);
        break;
    case DURABLE_FAILED:
    case DURABLE_NOTHING:
        resp_error(&k->w, "ERR");
        break;
    }
}

static void do_save(struct call *k)
{
    answer(k, durable_save(server_of(k)), "OK", "save");
}

static void do_bgsave(struct call *k)
{
    if (k->argc > 2 || (k->argc == 2 && !slice_is(k->argv[1], "schedule"))) {
        resp_error(&k->w, ERR_SYNTAX);
        return;
    }
    answer(k, durable_bgsave(server_of(k)), "Background saving started", "save");
}

static void do_rewrite(struct call *k)
{
    enum durable_answer a = durable_rewrite(server_of(k));
    /* Nothing to be done: the log is as short as can be. */
    answer(k, a == DURABLE_NOTHING ? DURABLE_OK : a,
           "Background append only file rewriting started", "append only file rewriting");
}

static void do_lastsave(struct call *k)
{
    resp_int(&k->w, durable_last_save_s(server_of(k)));
}

void admin_durable(struct call_table *t)
{
    t->fn[CMD_SAVE] = do_save;
    t->fn[CMD_BGSAVE] = do_bgsave;
    t->fn[CMD_BGREWRITEAOF] = do_rewrite;
    t->fn[CMD_LASTSAVE] = do_lastsave;
}
