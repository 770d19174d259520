// SPDX-License-Identifier: BSD-3-Clause
/* What happened to each command, by its id: calls, time, rejections, failures, a histogram of its
 * durations; and how often each error code was answered. For INFO commandstats, errorstats and
 * latencystats, and LATENCY HISTOGRAM.
 *
 * One thread owns one; others hand a copy over to be merged (cmdstats_merge). Counting a call
 * touches one line and a bucket; it reads no clock and allocates once per command and process. */
#pragma once

#include "common/app/histogram.h"
#include "common/base/str.h"
#include "common/cmd/command.h"
#include "common/resp/write.h"

struct cmdstat {
    uint64_t calls;
    uint64_t ns;
    uint64_t rejected;           /* not executed: arity, ACL, OOM, loading */
    uint64_t failed;             /* executed, answered with an error */
    struct histogram *histogram; /* NULL until the first call that is tracked */
};

/* Codes beyond this many are counted together, as "OTHER": scripts can make up any. */
#define CMDSTATS_CODES_MAX 128
struct errorstat {
    char code[RESP_CODE_MAX];
    uint64_t count;
};

struct cmdstats {
    uint32_t magic;
    bool tracking; /* latency-tracking: whether histograms are kept */
    uint64_t errors;
    size_t code_count;
    struct errorstat codes[CMDSTATS_CODES_MAX];
    struct cmdstat of[CMD_MAX];
};

struct cmdstats *cmdstats_new(bool tracking);
void cmdstats_free(struct cmdstats **s);
/* CONFIG RESETSTAT; tracking stays as it is. */
void cmdstats_reset(struct cmdstats *s);
void cmdstats_merge(struct cmdstats *to, const struct cmdstats *from);

void cmdstats_make_histogram(struct cmdstat *c);

static inline void cmdstats_called(struct cmdstats *s, unsigned id, int64_t ns, bool failed)
{
    struct cmdstat *c = &s->of[id];
    c->calls++;
    c->ns += (uint64_t)ns;
    c->failed += failed;
    if (LIKELY(s->tracking)) {
        if (UNLIKELY(c->histogram == NULL)) {
            cmdstats_make_histogram(c);
        }
        histogram_add(c->histogram, ns);
    }
}

static inline void cmdstats_rejected(struct cmdstats *s, unsigned id)
{
    s->of[id].rejected++;
}

/* An error reply was sent; `code` is its first word ("ERR", see struct resp_writer). */
void cmdstats_error(struct cmdstats *s, const char *code);

/* The lines of INFO's sections, without their headings. */
void cmdstats_info_commands(const struct cmdstats *s, struct str *to);
/* Adds what such lines tell, wherever in `text` they are: of calls, what has a number. */
void cmdstats_add_info(struct cmdstats *to, struct slice text);
void cmdstats_info_errors(const struct cmdstats *s, struct str *to);
void cmdstats_info_latency(const struct cmdstats *s, const double *percents, size_t count,
                           struct str *to);
/* LATENCY HISTOGRAM [name ...]; names without calls are left out, a container gives its
 * subcommands. */
void cmdstats_histogram_reply(const struct cmdstats *s, const struct slice *names, size_t count,
                              struct resp_writer *w);
