// SPDX-License-Identifier: BSD-3-Clause
/* DEBUG as far as it is the same on proxy and node. */
#pragma once

#include "common/resp/write.h"

#define DEBUG_HELP_MAX 96 /* lines */

/* Answers LOG, ERROR, PROTOCOL and STRINGMATCH-TEST; `argv` is the whole request. False: it is none
 * of these, or not of their form, and nothing was written. */
bool debug_common(const struct slice *argv, size_t argc, struct resp_writer *w);
/* `lines`: what is the program's own, sorted, ends with NULL. */
void debug_help_reply(const char *const *lines, struct resp_writer *w);
/* Seconds of DEBUG SLEEP; false: an error was written. */
bool debug_read_seconds(struct slice text, double *seconds, struct resp_writer *w);

#define DEBUG_REFUSAL                                                                              \
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "  \
    "can run it from a local connection, otherwise you need to set this option in the "            \
    "configuration file, and then restart the server."
