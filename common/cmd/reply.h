// SPDX-License-Identifier: BSD-3-Clause
/* Answers the COMMAND family from the table, in the shapes of Redis 7.0, RESP2 and RESP3. Pure. */
#pragma once

#include "common/cmd/command.h"

struct resp_writer;

/* One whole reply to COMMAND, COMMAND INFO, DOCS, COUNT, LIST, GETKEYS, GETKEYSANDFLAGS or HELP.
 * argv is the whole request, known to be one of these and of fitting arity (command_resolve). */
void command_reply(struct resp_writer *w, const struct slice *argv, size_t argc);

/* The reply to MODULE HELP. */
void command_module_help(struct resp_writer *w);

/* SCRIPT DEBUG YES|SYNC|NO. False: a debugging session is wanted, which there is not. Then the
 * connection ends behind the error: a debugger would send the script next, to be rolled back
 * afterwards, and here it would be executed. */
bool command_script_debug(struct resp_writer *w, struct slice mode) MUSTCHECK;

/* The reply to CONTAINER HELP: its lines, NULL-terminated, between Redis's usual first line and
 * what it says of HELP itself. `name` in capitals: "CLIENT". */
void command_help_reply(struct resp_writer *w, const char *name, const char *const *lines);
