// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/latency.h"

#include "common/app/help.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

#include <inttypes.h>
#include <stdio.h>

#define LATENCY_MAGIC 0x6c617465u
#define SAMPLES       160
#define EVENTS_MAX    32
#define GRAPH_ROWS    4
#define GRAPH_COLUMNS 80

struct sample {
    int64_t time_s;
    int64_t ms;
};

/* A ring: samples are first..first+count-1. */
struct event {
    const char *name;
    int64_t ms_max; /* ever */
    size_t first;
    size_t count;
    struct sample samples[SAMPLES];
};

struct latency {
    uint32_t magic;
    int64_t threshold_ms;
    size_t count;
    struct event *events[EVENTS_MAX];
};

struct latency *latency_new(void)
{
    struct latency *l = mem_zalloc(sizeof(*l));
    l->magic = LATENCY_MAGIC;
    return l;
}

void latency_free(struct latency **lp)
{
    struct latency *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->events[i]);
    }
    l->magic = 0;
    mem_free(l);
}

void latency_set_threshold(struct latency *l, int64_t ms)
{
    l->threshold_ms = ms;
}

static struct event *find(const struct latency *l, struct slice name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (slice_eq(name, slice_str(l->events[i]->name))) {
            return l->events[i];
        }
    }
    return NULL;
}

static struct sample *at(struct event *e, size_t i)
{
    return &e->samples[(e->first + i) % SAMPLES];
}

void latency_add(struct latency *l, const char *name, int64_t wall_ms, int64_t ms)
{
    CHECK_OBJ(l, LATENCY_MAGIC);
    if (!latency_wants(l->threshold_ms, ms)) {
        return;
    }
    struct event *e = find(l, slice_str(name));
    if (e == NULL) {
        INVARIANT(l->count < EVENTS_MAX);
        e = mem_zalloc(sizeof(*e));
        e->name = name;
        l->events[l->count++] = e;
    }
    int64_t now_s = wall_ms / 1000;
    e->ms_max = MAX(e->ms_max, ms);
    if (e->count > 0 && at(e, e->count - 1)->time_s == now_s) {
        /* One a second: the worst. */
        struct sample *last = at(e, e->count - 1);
        last->ms = MAX(last->ms, ms);
        return;
    }
    if (e->count == SAMPLES) {
        e->first = (e->first + 1) % SAMPLES;
        e->count--;
    }
    *at(e, e->count++) = (struct sample){.time_s = now_s, .ms = ms};
}

static void drop(struct latency *l, size_t i)
{
    mem_free(l->events[i]);
    l->events[i] = l->events[--l->count];
}

/* --- LATEST, HISTORY, RESET --- */

static void latest(const struct latency *l, struct resp_writer *w)
{
    resp_array(w, l->count);
    for (size_t i = 0; i < l->count; i++) {
        struct event *e = l->events[i];
        const struct sample *last = at(e, e->count - 1);
        resp_array(w, 4);
        resp_bulkz(w, e->name);
        resp_int(w, last->time_s);
        resp_int(w, last->ms);
        resp_int(w, e->ms_max);
    }
}

static void history(const struct latency *l, struct slice name, struct resp_writer *w)
{
    struct event *e = find(l, name);
    resp_array(w, e == NULL ? 0 : e->count);
    for (size_t i = 0; e != NULL && i < e->count; i++) {
        resp_array(w, 2);
        resp_int(w, at(e, i)->time_s);
        resp_int(w, at(e, i)->ms);
    }
}

static void reset(struct latency *l, const struct slice *names, size_t count, struct resp_writer *w)
{
    int64_t dropped = 0;
    for (size_t i = l->count; i-- > 0;) {
        bool named = count == 0;
        for (size_t j = 0; j < count; j++) {
            named = named || slice_eq(names[j], slice_str(l->events[i]->name));
        }
        if (named) {
            drop(l, i);
            dropped++;
        }
    }
    resp_int(w, dropped);
}

/* --- GRAPH --- */

/* "12s", "3m", "4h", "2d": how long ago. */
static void print_age(int64_t seconds, char *to, size_t size)
{
    static const struct {
        int64_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i < ARRAY_LEN(units) - 1 && seconds < units[i].seconds) {
        i++;
    }
    (void)snprintf(to, size, "%" PRId64 "%c", MAX(seconds, 0) / units[i].seconds, units[i].letter);
}

/* A column a sample: its height in steps, three to a row ('_', '|', '#' at the top). */
static void append_row(struct str *to, struct event *e, size_t from, int row, int64_t low,
                       int64_t high)
{
    static const char tops[] = "_|#";
    for (size_t i = from; i < e->count; i++) {
        int64_t span = MAX(high - low, 1);
        int steps = (int)((at(e, i)->ms - low) * (GRAPH_ROWS * 3 - 1) / span);
        int top = steps / 3;
        char c = ' ';
        if (row == top) {
            c = tops[steps % 3];
        } else if (row < top) {
            c = '|';
        }
        str_append_char(to, c);
    }
    str_append_char(to, '\n');
}

/* Under each column how long ago it was, read downwards. */
static void append_ages(struct str *to, struct event *e, size_t from, int64_t now_s)
{
    char age[24];
    for (size_t line = 0, more = 1; more > 0; line++) {
        more = 0;
        struct str text = {0};
        for (size_t i = from; i < e->count; i++) {
            print_age(now_s - at(e, i)->time_s, age, sizeof(age));
            bool has = line < strlen(age);
            str_append_char(&text, has ? age[line] : ' ');
            more += has;
        }
        if (more > 0) {
            str_append_slice(to, str_slice(&text));
            str_append_char(to, '\n');
        }
        str_fini(&text);
    }
}

static void graph(const struct latency *l, struct slice name, int64_t now_s, struct resp_writer *w)
{
    struct event *e = find(l, name);
    if (e == NULL) {
        resp_errorf(w, "ERR No samples available for event '%.*s'", (int)MIN(name.len, (size_t)128),
                    name.ptr);
        return;
    }
    size_t from = e->count > GRAPH_COLUMNS ? e->count - GRAPH_COLUMNS : 0;
    int64_t high = at(e, from)->ms;
    int64_t low = high;
    for (size_t i = from; i < e->count; i++) {
        high = MAX(high, at(e, i)->ms);
        low = MIN(low, at(e, i)->ms);
    }
    struct str text = {0};
    str_printf(&text,
               "%s - high %" PRId64 " ms, low %" PRId64 " ms (all time high %" PRId64 " ms)\n",
               e->name, high, low, e->ms_max);
    for (int i = 0; i < GRAPH_COLUMNS; i++) {
        str_append_char(&text, '-');
    }
    str_append_char(&text, '\n');
    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        append_row(&text, e, from, row, low, high);
    }
    str_append_char(&text, '\n');
    append_ages(&text, e, from, now_s);
    resp_verbatim(w, "txt", str_slice(&text));
    str_fini(&text);
}

/* --- DOCTOR --- */

struct advice {
    const char *event; /* prefix of its name */
    const char *text;
};

static const struct advice advices[] = {
    {"command",
     "- The slow log names the commands: SLOWLOG GET. Set slowlog-log-slower-than no "
     "higher than the threshold here.\n"
     "- Deleting, overwriting or expiring big values takes time in proportion to their "
     "size: UNLINK and the lazyfree options free them aside, smaller values avoid it.\n"},
    {"fast-command", "- Commands that should be quick were not: the process was probably held up "
                     "by the machine (CPU shared with others, swapping, huge pages).\n"},
    {"expire", "- Many keys expire at the same moment: spread their times to live, or raise "
               "active-expire-effort so that fewer pile up.\n"},
    {"eviction", "- Memory is at its limit and keys are evicted while clients wait: raise "
                 "maxmemory or add nodes.\n"},
    {"fork", "- Making a copy of the process is slow on this machine.\n"},
    {"aof", "- The disk is slow to take the log: use a faster one, or appendfsync everysec.\n"},
};

static bool any_event(const struct latency *l, const char *prefix)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strncmp(l->events[i]->name, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

static void append_event(struct str *to, struct event *e, size_t number, int64_t now_s)
{
    int64_t sum = 0;
    int64_t deviation = 0;
    for (size_t i = 0; i < e->count; i++) {
        sum += at(e, i)->ms;
    }
    int64_t count = (int64_t)e->count;
    INVARIANT(count > 0); /* an event is made by its first sample */
    int64_t mean = sum / count;
    for (size_t i = 0; i < e->count; i++) {
        int64_t off = at(e, i)->ms - mean;
        deviation += off < 0 ? -off : off;
    }
    double period = (double)(now_s - at(e, 0)->time_s) / (double)count;
    str_printf(to,
               "%zu. %s: %" PRId64 " latency spikes (average %" PRId64 "ms, mean deviation %" PRId64
               "ms, period %.2f sec). Worst all time event %" PRId64 "ms.\n",
               number, e->name, count, mean, deviation / count, period, e->ms_max);
}

static void doctor(const struct latency *l, int64_t now_s, struct resp_writer *w)
{
    struct str text = {0};
    if (l->count == 0 && l->threshold_ms <= 0) {
        str_appendz(&text, "The latency monitor is off. CONFIG SET latency-monitor-threshold "
                           "<milliseconds> turns it on.\n");
    } else if (l->count == 0) {
        str_printf(&text,
                   "Nothing took %" PRId64 " ms or more since the start or the last "
                   "LATENCY RESET.\n",
                   l->threshold_ms);
    } else {
        str_appendz(&text, "These took longer than the threshold:\n\n");
        for (size_t i = 0; i < l->count; i++) {
            append_event(&text, l->events[i], i + 1, now_s);
        }
        str_appendz(&text, "\nWhat may help:\n\n");
        for (size_t i = 0; i < ARRAY_LEN(advices); i++) {
            if (any_event(l, advices[i].event)) {
                str_appendz(&text, advices[i].text);
            }
        }
        str_appendz(&text, "- A busy or swapping machine slows down everything: look at its load "
                           "first.\n");
    }
    resp_verbatim(w, "txt", str_slice(&text));
    str_fini(&text);
}

static void help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    A report in words, with advice.",
        "GRAPH <event>",
        "    The event's samples drawn with letters.",
        "HISTOGRAM [<command> ...]",
        "    How the durations of commands are distributed, of all that were called by default.",
        "HISTORY <event>",
        "    The event's samples: time and milliseconds.",
        "LATEST",
        "    Of each event: its newest sample and its worst ever.",
        "RESET [<event> ...]",
        "    Forgets the samples of these events, of all by default.",
        NULL,
    };
    command_help_reply(w, "LATENCY", lines);
}

void latency_command(struct latency *l, const struct cmdstats *stats, int64_t wall_ms,
                     const struct slice *argv, size_t argc, struct resp_writer *w)
{
    CHECK_OBJ(l, LATENCY_MAGIC);
    if (argc < 2) {
        resp_errorf(w, ERR_WRONG_ARGS, "latency");
        return;
    }
    struct slice sub = argv[1];
    if (argc == 2 && slice_is(sub, "latest")) {
        latest(l, w);
    } else if (argc == 3 && slice_is(sub, "history")) {
        history(l, argv[2], w);
    } else if (argc >= 2 && slice_is(sub, "reset")) {
        reset(l, argv + 2, argc - 2, w);
    } else if (argc == 3 && slice_is(sub, "graph")) {
        graph(l, argv[2], wall_ms / 1000, w);
    } else if (argc == 2 && slice_is(sub, "doctor")) {
        doctor(l, wall_ms / 1000, w);
    } else if (slice_is(sub, "histogram")) {
        cmdstats_histogram_reply(stats, argv + 2, argc - 2, w);
    } else if (argc == 2 && slice_is(sub, "help")) {
        help(w);
    } else {
        help_unknown(w, "LATENCY", sub);
    }
}
