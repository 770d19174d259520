// SPDX-License-Identifier: BSD-3-Clause
/* LATENCY: what this proxy's clients waited for, over all workers, and what the nodes alone notice
 * (expire-cycle, eviction, ...). Histograms are every worker's; the monitor is the first one's. */
#include "proxy/admin/admin_priv.h"
#include "proxy/front/observe.h"

#include "common/base/mem.h"
#include "common/resp/value.h"

#include <stdlib.h>

struct latency_ask {
    struct later *later;
    struct cmdstats *stats; /* of all workers */
    struct str own;         /* the first worker's reply */
};

static void ask_free(struct latency_ask *a)
{
    cmdstats_free(&a->stats);
    str_fini(&a->own);
    mem_free(a);
}

/* Commands' times are the proxy's: that a node took long is in them. */
static bool is_own(struct slice event)
{
    return slice_is(event, "command") || slice_is(event, "fast-command");
}

/* --- LATEST: [event, when, milliseconds, the most] --- */

struct event {
    struct slice name;
    int64_t at, ms, most;
};

static struct event *find_event(struct event *events, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(events[i].name, name)) {
            return &events[i];
        }
    }
    return NULL;
}

static size_t add_latest(const struct resp_value *v, bool own, struct event **events, size_t n)
{
    for (size_t i = 0; v != NULL && i < v->count; i++) {
        const struct resp_value *row = &v->items[i];
        if (row->count != 4 || is_own(row->items[0].text) != own) {
            continue;
        }
        struct event e = {row->items[0].text, row->items[1].number, row->items[2].number,
                          row->items[3].number};
        struct event *known = find_event(*events, n, e.name);
        if (known == NULL) {
            *events = mem_realloc(*events, (n + 1) * sizeof(**events));
            (*events)[n++] = e;
        } else {
            int64_t most = MAX(known->most, e.most);
            *known = e.at > known->at ? e : *known;
            known->most = most;
        }
    }
    return n;
}

static void put_latest(struct local_call *c, struct resp_value *const *values, size_t n_values)
{
    struct event *events = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_values; i++) {
        n = add_latest(values[i], i == 0, &events, n);
    }
    resp_array(c->w, n);
    for (size_t i = 0; i < n; i++) {
        resp_array(c->w, 4);
        resp_bulk(c->w, events[i].name);
        resp_int(c->w, events[i].at);
        resp_int(c->w, events[i].ms);
        resp_int(c->w, events[i].most);
    }
    mem_free(events);
}

/* --- HISTORY: [when, milliseconds] --- */

struct moment {
    int64_t at, ms;
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static void put_history(struct local_call *c, struct resp_value *const *values, size_t n_values)
{
    struct moment *all = NULL;
    size_t n = 0;
    for (size_t i = 1; i < n_values; i++) {
        const struct resp_value *v = values[i];
        all = v == NULL ? all : mem_realloc(all, (n + v->count + 1) * sizeof(*all));
        for (size_t k = 0; v != NULL && k < v->count; k++) {
            if (v->items[k].count == 2) {
                all[n++] =
                    (struct moment){v->items[k].items[0].number, v->items[k].items[1].number};
            }
        }
    }
    if (n > 0) {
        qsort(all, n, sizeof(*all), by_time);
    }
    resp_array(c->w, n);
    for (size_t i = 0; i < n; i++) {
        resp_array(c->w, 2);
        resp_int(c->w, all[i].at);
        resp_int(c->w, all[i].ms);
    }
    mem_free(all);
}

/* --- RESET: kinds of events; each node may have the same --- */

static void put_reset(struct local_call *c, struct resp_value *const *values, size_t n_values)
{
    int64_t most = 0;
    for (size_t i = 1; i < n_values; i++) {
        most = values[i] == NULL ? most : MAX(most, values[i]->number);
    }
    resp_int(c->w, values[0]->number + most);
}

/* --- the run --- */

/* What `words` ask of the nodes too; NULL: nothing. */
typedef void put_fn(struct local_call *c, struct resp_value *const *values, size_t n_values);
static put_fn *how_merged(const struct slice *words, size_t n)
{
    if (n == 2 && slice_is(words[1], "latest")) {
        return put_latest;
    }
    if (n == 3 && slice_is(words[1], "history") && !is_own(words[2])) {
        return put_history;
    }
    return n >= 2 && slice_is(words[1], "reset") ? put_reset : NULL;
}

/* values[0] is the proxy's own. */
static void merge(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct latency_ask *a = arg;
    struct resp_value **values = mem_zalloc((n + 1) * sizeof(struct resp_value *));
    values[0] = resp_value_parse(str_slice(&a->own));
    INVARIANT(values[0] != NULL);
    for (size_t i = 0; i < n; i++) {
        if (answers[i].reply.len > 0 && answers[i].reply.ptr[0] != '-') {
            values[i + 1] = resp_value_parse(answers[i].reply);
        }
    }
    how_merged(a->later->argv, a->later->argc)(c, values, n + 1);
    for (size_t i = 0; i <= n; i++) {
        resp_value_free(&values[i]);
    }
    mem_free(values);
    later_drop(&a->later);
    ask_free(a);
}

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
    struct later *l = a->later;
    (void)asker;
    (void)n;
    str_append(&a->own, answers[0].ptr, answers[0].len);
    if (how_merged(l->argv, l->argc) != NULL && !later_gone(l)) {
        struct local_call c = later_call(l);
        (void)local_fan(&c, l->argv, l->argc, merge, a);
        return;
    }
    outbuf_append(l->w.out, a->own.ptr, a->own.len);
    later_finish(&a->later);
    ask_free(a);
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

void admin_latency(struct local_table *t)
{
    local_table_set(t, CMD_LATENCY, do_latency, LOCAL_ORDERED);
}
