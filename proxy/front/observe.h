// SPDX-License-Identifier: BSD-3-Clause
/* What a worker counts of commands: calls, times, errors; and the slow log and the latency monitor,
 * which all workers share: the first worker owns them, the others send it what is worth keeping.
 *
 * A command's time is from when it was accepted until its reply is there, at the resolution of a
 * turn of the loop. Owner: the worker's thread. */
#pragma once

#include "common/app/cmdstats.h"
#include "common/app/latency.h"
#include "common/app/slowlog.h"
#include "common/resp/parse.h"

struct proxy_options;
struct request;
struct worker;

#define OBSERVE_RATES 16 /* seconds that a rate is taken over */

struct observe {
    struct cmdstats *stats;
    struct slowlog *slowlog; /* NULL but in the first worker */
    struct latency *latency; /* the same */
    int64_t slow_us;         /* slowlog-log-slower-than */
    int64_t latency_ms;      /* latency-monitor-threshold */
    int64_t notable_us;      /* the lower of both; INT64_MAX: neither is on */
    int64_t kept;            /* of what took long, this second */
    int64_t kept_max;
    /* per second, over the last OBSERVE_RATES seconds: commands, bytes in, bytes out */
    uint64_t seen[OBSERVE_RATES][3];
    uint64_t last[3];
    unsigned at;
};

struct observe *observe_new(bool first, const struct proxy_options *o);
void observe_free(struct observe **ob);
/* After CONFIG SET. */
void observe_set(struct observe *ob, const struct proxy_options *o);
/* CONFIG RESETSTAT. */
void observe_reset(struct observe *ob);
/* Once a second, with totals so far. */
void observe_second(struct observe *ob, uint64_t commands, uint64_t bytes_in, uint64_t bytes_out);
uint64_t observe_rate(const struct observe *ob, int which);

/* A request is over, so many microseconds after it was accepted. */
void observe_request(struct worker *w, const struct request *r, int64_t us);
/* The words of a request that is over, secrets blackened: its name at least, in *own. The caller
 * ends the parser, which owns them, with resp_parser_fini. */
const struct slice *observe_words(struct worker *w, const struct request *r,
                                  struct resp_parser *parser, struct slice *own, size_t *argc);
/* An error reply, "-ERR ...". */
void observe_error(struct worker *w, const char *reply, size_t len);
