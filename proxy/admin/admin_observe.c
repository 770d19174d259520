// SPDX-License-Identifier: BSD-3-Clause
/* SLOWLOG and LATENCY: what this proxy's clients waited for, over all workers. */
#include "proxy/admin/admin_priv.h"
#include "proxy/front/monitor.h"
#include "proxy/front/observe.h"

#include "common/base/mem.h"

static void run_slowlog(struct worker *first, const struct later *l, struct resp_writer *w)
{
    slowlog_command(first->observe->slowlog, l->argv, l->argc, w);
}

static enum local_result do_slowlog(struct local_call *c)
{
    return ask_first_worker(c, run_slowlog);
}

/* --- LATENCY: histograms are every worker's, the monitor is the first one's --- */

struct latency_ask {
    struct later *later;
    struct cmdstats *stats; /* of all workers */
};

/* Each answers with a pointer to a copy, which is the asker's then. */
static void visit_stats(struct worker *w, void *arg, struct str *answer)
{
    struct cmdstats *copy = cmdstats_new(w->observe->stats->tracking);
    (void)arg;
    cmdstats_merge(copy, w->observe->stats);
    str_append(answer, &copy, sizeof(struct cmdstats *));
}

static void visit_latency(struct worker *w, void *arg, struct str *answer)
{
    struct latency_ask *a = arg;
    if (w->index == 0) {
        struct outbuf out = {0};
        struct resp_writer writer = {.out = &out, .proto = a->later->w.proto};
        latency_command(w->observe->latency, a->stats, loop_wall_ms(w->loop), a->later->argv,
                        a->later->argc, &writer);
        outbuf_to_str(&out, answer);
    }
}

static void latency_answered(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct latency_ask *a = arg;
    (void)asker;
    (void)n;
    outbuf_append(a->later->w.out, answers[0].ptr, answers[0].len);
    later_finish(&a->later);
    cmdstats_free(&a->stats);
    mem_free(a);
}

static void stats_answered(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct latency_ask *a = arg;
    for (int i = 0; i < n; i++) {
        struct cmdstats *copy;
        INVARIANT(answers[i].len == sizeof(copy));
        memcpy(&copy, answers[i].ptr, sizeof(copy));
        cmdstats_merge(a->stats, copy);
        cmdstats_free(&copy);
    }
    workers_ask(asker, visit_latency, a, latency_answered);
}

static enum local_result do_latency(struct local_call *c)
{
    struct latency_ask *a = mem_zalloc(sizeof(*a));
    a->later = later_new(c);
    a->stats = cmdstats_new(true);
    workers_ask(worker_of(c), visit_stats, a, stats_answered);
    return LOCAL_LATER;
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
    local_table_set(t, CMD_LATENCY, do_latency, LOCAL_ORDERED);
}
