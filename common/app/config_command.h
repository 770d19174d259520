// SPDX-License-Identifier: BSD-3-Clause
/* CONFIG GET, SET, RESETSTAT, REWRITE and HELP over a daemon's options, as Redis 7 answers them.
 *
 * SET takes all its pairs or none: all are read first, then the program applies each one that
 * changed; if one fails, the ones before are set and applied back. Called by the thread that owns
 * the values. */
#pragma once

#include "common/app/options.h"
#include "common/resp/write.h"

struct config_context {
    const struct options_table *table;
    void *values;
    const char *path; /* of the conf file; NULL: started without one */
    bool foreign;     /* Redis's directives that are no options of ours are told and taken, too */
    bool allow_protected; /* OPT_PROTECTED options may be set by this client */
    /* The field has its new value: make it true. False with a reason: everything goes back. May be
     * NULL. */
    bool (*on_change)(void *arg, const struct option *o, struct errmsg *err);
    void (*reset_stats)(void *arg); /* may be NULL */
    void *arg;
};

/* argv[0] is CONFIG, argv[1] the subcommand; argc >= 1. */
void config_command(const struct config_context *c, const struct slice *argv, size_t argc,
                    struct resp_writer *w);
/* For redaction: whether argv[i] of a CONFIG SET is the value of an OPT_SECRET option. */
bool config_is_secret(const struct options_table *t, const struct slice *argv, size_t argc,
                      size_t i);
