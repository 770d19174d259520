// SPDX-License-Identifier: BSD-3-Clause
/* SLOWLOG: what this proxy's clients waited for, over all workers; and MONITOR. */
#include "proxy/admin/admin_priv.h"
#include "proxy/front/monitor.h"
#include "proxy/front/observe.h"

static void run_slowlog(struct worker *first, const struct later *l, struct resp_writer *w)
{
    slowlog_command(first->observe->slowlog, l->argv, l->argc, w);
}

static enum local_result do_slowlog(struct local_call *c)
{
    return ask_first_worker(c, run_slowlog);
}

static enum local_result do_monitor(struct local_call *c)
{
    if (client_or_null(c) != NULL) {
        monitor_start(client_or_null(c));
    }
    resp_ok(c->w);
    return LOCAL_DONE;
}

void admin_observe(struct local_table *t)
{
    local_table_set(t, CMD_MONITOR, do_monitor, LOCAL_ORDERED);
    local_table_set(t, CMD_SLOWLOG, do_slowlog, LOCAL_ORDERED);
}
