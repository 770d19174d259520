// SPDX-License-Identifier: BSD-3-Clause
/* SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF. */
#include "node/admin/admin_priv.h"
#include "node/serve/durable.h"

static void do_save(struct call *k)
{
    switch (durable_save(server_of(k))) {
    case DURABLE_OK:
        resp_ok(&k->w);
        break;
    case DURABLE_BUSY:
        resp_error(&k->w, "ERR Background save already in progress");
        break;
    case DURABLE_FAILED:
    case DURABLE_NOTHING:
        resp_error(&k->w, "ERR");
        break;
    }
}

static void do_bgsave(struct call *k)
{
    if (k->argc > 2 || (k->argc == 2 && !slice_is(k->argv[1], "schedule"))) {
        resp_error(&k->w, ERR_SYNTAX);
        return;
    }
    switch (durable_bgsave(server_of(k))) {
    case DURABLE_OK:
        resp_simple(&k->w, "Background saving started");
        break;
    case DURABLE_BUSY:
        resp_error(&k->w, "ERR Background save already in progress");
        break;
    case DURABLE_FAILED:
    case DURABLE_NOTHING:
        resp_error(&k->w, "ERR");
        break;
    }
}

static void do_rewrite(struct call *k)
{
    switch (durable_rewrite(server_of(k))) {
    case DURABLE_OK:
    case DURABLE_NOTHING: /* the log is as short as can be */
        resp_simple(&k->w, "Background append only file rewriting started");
        break;
    case DURABLE_BUSY:
        resp_error(&k->w, "ERR Background append only file rewriting already in progress");
        break;
    case DURABLE_FAILED:
        resp_error(&k->w, "ERR");
        break;
    }
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
